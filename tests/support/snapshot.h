#ifndef COPPICE_TESTS_SNAPSHOT_H
#define COPPICE_TESTS_SNAPSHOT_H

/*
 * snapshot: all that a client can see of a volume, as a list of paths with attributes and hashes of
 * contents. It is taken from a volume through the public API, or from the model, and two of them
 * are compared.
 *
 * What cannot be read is part of a snapshot of a volume: a damaged block must cost what it holds
 * and nothing else, and never show a wrong byte.
 *
 * Left out: times of access, allocated bytes, the form of contents, links of directories.
 */

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cop_volume;

enum snapshot_unreadable {
	SNAPSHOT_NO_OBJECT = 1 << 0,  /* the name is listed, the object does not open or stat */
	SNAPSHOT_NO_LISTING = 1 << 1, /* a directory that listed less than it holds */
	SNAPSHOT_NO_CONTENT = 1 << 2, /* some block, or the target */
	SNAPSHOT_NO_XATTRS = 1 << 3,
};

/* A block of content that is not all zeros. */
struct snapshot_block {
	uint64_t index;
	uint64_t hash; /* 0: unreadable */
};

struct snapshot_entry {
	char *path; /* owned; "/" is the root */
	uint64_t id;
	uint32_t kind;
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint32_t doctype;
	uint32_t links; /* 0 for directories */
	uint64_t length;
	uint64_t device;
	int64_t created_ns;
	int64_t changed_ns;
	int64_t modified_ns;
	uint64_t target_hash;
	uint64_t xattrs;               /* how many */
	uint64_t xattrs_hash;          /* does not depend on their order */
	struct snapshot_block *blocks; /* owned */
	size_t block_count;
	uint32_t unreadable;
	int error; /* the first one met */
};

struct snapshot {
	struct snapshot_entry *entries; /* by path */
	size_t count;
	size_t capacity;
	uint32_t unreadable; /* of all entries */
	uint32_t more_users; /* besides the first */
};

/*
 * Walks the volume. Errors of a damaged volume are in the snapshot; others come back. A directory
 * that does not end, or is deeper than any workload makes it, is COP_EFORMAT.
 */
MUST_CHECK int snapshot_of_volume(struct cop_volume *volume, struct snapshot **out_snapshot);

/* One more user, who frees it as well. */
struct snapshot *snapshot_ref(struct snapshot *snapshot);
void snapshot_free(struct snapshot *snapshot);

/*
 * Does `found` show exactly what `wanted` does? What is unreadable counts as a difference unless
 * its kind is in `allow`. `why` gets the first difference.
 */
bool snapshot_matches(const struct snapshot *found, const struct snapshot *wanted, uint32_t allow,
	char *why, size_t why_bytes);

/* The hash of an extended attribute; a snapshot sums them. */
uint64_t snapshot_xattr_hash(const char *name, const void *value, size_t bytes);

/* For whoever builds one: a new last entry, zeroed, owning a copy of `path`; then sort. */
struct snapshot_entry *snapshot_add(struct snapshot *snapshot, const char *path);
void snapshot_add_block(struct snapshot_entry *entry, uint64_t index, uint64_t hash);
void snapshot_sort(struct snapshot *snapshot);
struct snapshot *snapshot_create(void);

#endif
