#ifndef COPPICE_FRONT_CLI_ENTRIES_H
#define COPPICE_FRONT_CLI_ENTRIES_H

/*
 * entries: the names in a directory of a volume, all of them sorted, or in portions.
 *
 * A reader holds one portion of at most ENTRIES_PORTION names at a time, so its memory does not
 * depend on the directory. Entries may be removed while it goes on.
 */

#include "base/err.h"
#include "front/cli/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ENTRIES_PORTION = 1024 };

struct entry {
	enum cop_kind kind;
	uint64_t id;
	uint64_t cookie;
	size_t name_at; /* in `names`, with a NUL after it */
	size_t name_bytes;
};

struct entries {
	struct entry *rows;
	size_t count;
	size_t capacity;
	struct text names;
};

const char *entry_name(const struct entries *entries, const struct entry *entry);

/* All entries, sorted by the bytes of their names. */
MUST_CHECK int entries_load(struct cop_object *directory, struct entries *out_entries);
void entries_fini(struct entries *entries);

struct entries_reader {
	struct cop_object *directory; /* borrowed */
	struct entries portion;
	size_t next;
	uint64_t cookie;
};

void entries_reader_init(struct entries_reader *reader, struct cop_object *directory);
void entries_reader_fini(struct entries_reader *reader);

/* *out_entry is NULL at the end; it and its name are good until the next call. */
MUST_CHECK int entries_reader_next(
	struct entries_reader *reader, const struct entry **out_entry, const char **out_name);

#endif
