#ifndef COPPICE_OBJECT_PAGES_INTERNAL_H
#define COPPICE_OBJECT_PAGES_INTERNAL_H

/*
 * pages_internal: changing the pages of an object, and writing them back. The caller has the
 * object's turn, unless it says otherwise.
 */

#include "object/object_internal.h"

/* Pages that a volume may have, by its memory limit. */
uint64_t pages_max(const struct cop_volume *volume);

/* ---- pages.c --------------------------------------------------------------------------------- */

/* The page of a block, for who has the turn: it stays until that one takes it away. */
struct buffer *pages_own(const struct pages *pages, uint64_t block);

/* The segment that is written back next; NULL: nothing is dirty. */
struct segment *pages_oldest(const struct pages *pages);

/* Has any block of [first, end) a page in another segment than the newest? */
bool pages_conflict(const struct pages *pages, uint64_t first, uint64_t end);

/*
 * What a write needs beside its pages: a place for each, and its segment, with blocks promised. The
 * newest one if the write goes on with it, else a new, empty one. COP_ENOMEM, COP_ENOSPC: nothing
 * has changed that anybody sees.
 */
MUST_CHECK int pages_prepare(struct cop_object *object, uint64_t first, uint64_t end,
	uint32_t extra_messages, struct segment **out_segment);

/* Gives up a new segment that pages_prepare() has made and nothing has come into. */
void pages_unprepare(struct cop_object *object);

/* Puts the pages in, taking them over, and then publishes length and time. Cannot fail. */
void pages_publish(struct cop_object *object, struct segment *segment, uint64_t first, uint64_t end,
	struct buffer *const *fresh, uint64_t length, int64_t now_ns);

/* Blocks up to `end` of the oldest segment are in a transaction that was applied. */
void pages_written_back(struct cop_object *object, uint64_t end);

/* Its times have been set: write-back of what is dirty now leaves them alone. */
void pages_keep_times(struct cop_object *object);

/* The object goes, or its volume: so do all its pages. */
void pages_discard(struct cop_object *object);

/* ---- buffered.c ------------------------------------------------------------------------------ */

/*
 * Writes into pages: all of it, or an error and no effect. At most COP_WRITE_ATOMIC bytes.
 * COP_ENOSPC: nothing is promised now; more may be there after write-back.
 */
MUST_CHECK int buffered_write(struct operation *op, struct cop_object *object, uint64_t offset,
	const uint8_t *buffer, size_t bytes);

/* ---- writeback.c ----------------------------------------------------------------------------- */

/* Everything that is dirty in the object becomes transactions. `is_sync`: the caller is about to
 * sync; what is small then rides in the journal. */
MUST_CHECK int writeback_object(struct operation *op, struct cop_object *object, bool is_sync);

/* The same for one that the caller has no turn of. */
MUST_CHECK int writeback_now(struct cop_object *object, bool is_sync);

/* No turn: everything that was dirty when it was called. Damage of one object is told when all
 * others are done. */
MUST_CHECK int writeback_all(struct cop_volume *volume, bool is_sync);

/* No turn: when something has been dirty for five seconds, all that is becomes durable. */
MUST_CHECK int writeback_due(struct cop_volume *volume);

/* No turn: the oldest, until there is room for some more pages. */
MUST_CHECK int writeback_for_room(struct cop_volume *volume);

/*
 * Damage where an object is to change keeps that object dirty, and is told each time; it is no
 * reason to leave all others so. True: go on, and tell it at the end.
 */
struct complaint {
	int err; /* 0: none */
	struct err_note note;
};
bool complaint_take(struct complaint *complaint, int err);

/* `err`, and if that is 0 what was taken. */
int complaint_tell(const struct complaint *complaint, int err);

/* The object has become dirty, or clean again. Holds a reference meanwhile. */
void writeback_enlist(struct cop_object *object);
void writeback_delist(struct cop_object *object);

#endif
