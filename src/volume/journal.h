#ifndef COPPICE_VOLUME_JOURNAL_H
#define COPPICE_VOLUME_JOURNAL_H

/*
 * journal: transactions become batches, and batches durable (rules of commit, 2 and 3).
 *
 * What is applied is appended, in the order of applying. A sync gathers all that waits into
 * batches, writes them, waits, flushes once. One thread at a time does so, for everybody who waits
 * then: who comes meanwhile is served by the next round.
 *
 * Room: the region holds what came since the tail of the newest superblock's predecessor. A
 * transaction is admitted before it is applied, and only while its period stays within a third of
 * the region, so that three periods fit: the one before the newest checkpoint, the one that a
 * checkpoint is closing, and the open one.
 *
 * Promises
 *   - journal_sync() returns 0 only when all that was appended before the call is durable with the
 *     data that it names. (Invariant 4.) The caller has waited for those data writes.
 *   - `durable` in a batch is the highest sequence for which that was so when it was written.
 *   - A batch is durable by one FUA write only if it names no data and all before it is durable.
 *   - After a write or flush failed nothing is written any more, and every sync says so.
 *   - Nothing retained is overwritten: what is admitted has its room.
 *
 * Locks  LOCK_JOURNAL, taken under the gate by append and cut. Never held across I/O.
 * Cost   A sync: one write (two at the region's end), one flush, or one FUA write. Appending: none.
 */

#include "device/device.h"
#include "volume/journal_scan.h"

#include <stdbool.h>
#include <stdint.h>

struct journal;

struct journal_options {
	struct device *dev;
	struct journal_region region;
	struct journal_place end; /* where the next batch goes */
	uint64_t retained;        /* position from which batches are kept */
	uint64_t newest;          /* position of the newest superblock's tail */
	uint64_t retained_blocks; /* from `retained` to `end` */
	uint64_t newest_blocks;   /* from `newest` to `end` */
	uint64_t durable;
	uint64_t epoch; /* of this opening; end.epoch is that of before */
	bool is_open;   /* the opening batch of this epoch is written, end.epoch == epoch */
	bool no_flush;  /* a sync leaves its flush to the host */

	/* What a batch records of the volume. */
	void (*counters)(void *context, uint64_t *out_generation, uint64_t *out_next_object,
		uint64_t *out_next_job);
	void *context;
};

MUST_CHECK int journal_create(const struct journal_options *options, struct journal **out_journal);
void journal_free(struct journal *journal); /* NULL is accepted; writes nothing */

/* One transaction, encoded. */
struct journal_entry {
	struct journal_entry *next; /* the journal's */
	uint32_t bytes;
	bool names_data;
	uint8_t data[];
};

/* Is there a batch that can hold a transaction of so many bytes? */
bool journal_fits(const struct journal *journal, uint64_t bytes);

/* Promises room to a transaction of so many bytes. False: not now; a checkpoint makes room. */
bool journal_admit(struct journal *journal, uint32_t bytes);
void journal_unadmit(struct journal *journal, uint32_t bytes);

/* Is the open period so long that a checkpoint should begin? */
bool journal_is_long(struct journal *journal);

/* Gate exclusive: an admitted transaction is applied. Takes the entry (of malloc()). */
void journal_append(struct journal *journal, struct journal_entry *entry);

/* All that was appended before the call is durable when it returns 0. No lock held. */
MUST_CHECK int journal_sync(struct journal *journal);

/* Is anything not durable? */
bool journal_is_dirty(struct journal *journal);

/* Writes what waits, without a flush, when it is more than a megabyte. */
MUST_CHECK int journal_write_full(struct journal *journal);

/* Writes what waits, without a flush: a process that is killed then loses nothing of it. */
MUST_CHECK int journal_write_waiting(struct journal *journal);

/* A mark, unflushed, so that a later opening knows what was durable; nothing if it would tell
 * nothing new, or there is no room. */
MUST_CHECK int journal_mark(struct journal *journal);

/* ---- Checkpoints ---------------------------------------------------------------------------- */

/* Gate exclusive: what is appended from here on belongs to the next period. One at a time. */
void journal_cut(struct journal *journal);

/* Instead, for a checkpoint in the middle of a replay: what was written from `place` on, so many
 * blocks before the end, belongs to the next period. Nothing has been appended yet. */
void journal_cut_behind(
	struct journal *journal, const struct journal_place *place, uint64_t blocks);

/* Writes all that was appended before the cut; where the next period begins. No flush. */
MUST_CHECK int journal_write_cut(struct journal *journal, struct journal_place *out_place);

/* Flushes the device; what was written completely before is durable. Not after a failure. */
MUST_CHECK int journal_flush(struct journal *journal);

/* The superblock that holds the cut is durable: what the one before its predecessor kept goes. */
void journal_trim(struct journal *journal);

struct journal_stats {
	uint64_t batches;
	uint64_t blocks;
	uint64_t syncs;   /* calls that had something to wait for */
	uint64_t flushes; /* of syncs */
	uint64_t fua_writes;
	uint64_t pads;
	uint64_t wraps;
	uint64_t marks;
	uint64_t held_back; /* admissions refused */
};

struct journal_stats journal_stats(struct journal *journal);

#endif
