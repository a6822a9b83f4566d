#ifndef COPPICE_OBJECT_CONTENT_INTERNAL_H
#define COPPICE_OBJECT_CONTENT_INTERNAL_H

/*
 * content_internal: the map of an object's content, and its changes.
 *
 * A change of content is an `edit`: the record as it was and as it will be, the extents of the part
 * of the map that is replaced, and those that replace them. Whatever the form of the content, the
 * edit is made of these lists; only edit_put() knows where extents are kept, and lets the form grow
 * from inline to extents to a tree.
 */

#include "object/data_internal.h"

enum {
	EDIT_OLD_MAX = 24,  /* extents that one edit replaces, with their neighbour before */
	EDIT_PUTS_MAX = 20, /* extents that new blocks come to, when an edit is cut down */
};

/*
 * The extents that overlap blocks [first, end), at most `max` of them; *out_more when there are
 * more. What is being freed does not count, unless `unmasked`. The caller guards it against
 * changes. The list is empty for inline content.
 */
struct gather {
	uint64_t first;
	uint64_t end;
	size_t max;
	bool unmasked;
};
MUST_CHECK int content_gather(struct cop_object *object, const struct record *record,
	const struct gather *gather, struct extents *out_extents, bool *out_more);

/* New bytes for whole blocks. Either the caller's memory or `memory`, which is owned. */
struct patch {
	struct span span;
	uint8_t *memory;
};

enum { EDIT_PATCHES_MAX = 2 };

struct edit {
	struct operation *op;
	struct cop_object *object;
	struct tx *tx; /* owned until the commit */
	bool emptying;
	struct promise *promise; /* borrowed; NULL: none */
	bool is_late;            /* whoever wrote the bytes has been told that all is well */
	bool is_sync;            /* a sync waits for it */
	struct loaded now;
	struct record next;

	/* Blocks [first, end) get what the patches hold, and are holes elsewhere. Patches ascend.
	 */
	uint64_t first;
	uint64_t end;
	struct patch patches[EDIT_PATCHES_MAX];
	uint32_t patch_count;

	struct batch late;   /* data that a planted bug has not yet written */
	struct extents old;  /* of the part that changes, and the neighbour before it */
	struct extents puts; /* instead of them */
	uint8_t content[RECORD_CONTENT_MAX]; /* of `next` */
};

/*
 * Loads the record, and prepares `next` as a copy with new times. COP_EISDIR, COP_EINVAL: no file.
 * edit_fini() in any case.
 */
MUST_CHECK int edit_init(struct edit *edit, struct operation *op, struct cop_object *object);
void edit_fini(struct edit *edit);

/*
 * Frees what a job was to free: of [first, end), so that it can be written; or the shortest range,
 * so that the record can name another one. `now` and `next` begin anew where there was any.
 */
MUST_CHECK int edit_free_trimmed(struct edit *edit);
MUST_CHECK int edit_free_shortest(struct edit *edit);

/* Blocks of patch memory, zeroed, as one more patch. */
MUST_CHECK int edit_add_memory(
	struct edit *edit, uint64_t first, uint64_t blocks, uint8_t **out_memory);

/* The caller's bytes as one more patch; what they leave of blocks at the edges is filled from the
 * old content by edit_write(). */
MUST_CHECK int edit_add_span(struct edit *edit, uint64_t offset, const void *buffer, size_t bytes);

/* Gathers `old` for [first, end); cuts `end` down when `may_cut` and there are too many. */
MUST_CHECK int edit_gather(struct edit *edit, bool may_cut, bool *out_more);

/*
 * Begins the transaction, writes the patches to new blocks, releases what they replace and makes
 * `puts`. When the device is so fragmented that the transaction would become too large, `end` is
 * cut down, unless there is more than one patch.
 */
MUST_CHECK int edit_write(struct edit *edit);

/* Adds the change of the map, and the record, to the transaction. */
MUST_CHECK int edit_put(struct edit *edit);

MUST_CHECK int edit_commit(struct edit *edit);

/* Takes one entry out of the content tree. */
MUST_CHECK int content_delete_extent(
	struct tx *tx, const struct cop_object *object, const struct extent *extent);

/* COP_EISDIR, COP_EINVAL: it has no bytes. */
MUST_CHECK int content_check_kind(const struct cop_object *object);

/* Only files are written. COP_EISDIR, COP_EINVAL. */
MUST_CHECK int edit_check_kind(const struct cop_object *object);

/* Begins edit->tx. */
MUST_CHECK int edit_begin(struct edit *edit);

/* A transaction for `next` alone. */
MUST_CHECK int content_commit_record(struct edit *edit);

/* The content stays inline, with a new length: `next.content` becomes a copy, to change. */
uint8_t *content_copy_inline(struct edit *edit, uint64_t length);

/*
 * Moves inline bytes to blocks, in a transaction of its own; nothing that a reader sees changes.
 * The edit begins anew.
 */
MUST_CHECK int content_move_out(struct edit *edit);

#endif
