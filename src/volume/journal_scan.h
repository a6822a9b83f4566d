#ifndef COPPICE_VOLUME_JOURNAL_SCAN_H
#define COPPICE_VOLUME_JOURNAL_SCAN_H

/*
 * journal_scan: what a journal holds after a crash (rules of commit 6, steps 1 to 3). Only reads.
 *
 * The chain begins at a superblock's tail, with the epoch that the superblock names. A batch goes
 * on with it if it stands where the last one ended (after a pad, and at the end of the region: at
 * its start), has the next sequence and the chain's epoch; or if it is an opening one that names
 * the last batch's epoch and sequence as what it follows: then its own are the chain's from there.
 *
 * Promises
 *   - A batch is believed only when header and whole verify, for this volume and this place.
 *   - Damage is told from a torn tail. Wherever the chain stops, the whole region is looked
 * through, and any header of this volume, its batch whole or not, whose `durable` is at or past the
 *     sequence that was expected there means damage. So does a place where the device cannot be
 *     read, or bytes that verify and yet make no sense: no torn write leaves either.
 *   - Memory: some bytes for each batch in the region, a bit for each block, and a window of 2 MiB.
 *
 * Cost   Reads the region once, in large pieces, and the data that batches above `durable` name.
 */

#include "device/device.h"
#include "volume/journal_format.h"
#include "volume/superblock_format.h"

#include <stdbool.h>
#include <stddef.h>

/* Where the journal of a volume lies. */
struct journal_region {
	uint64_t addr; /* on the device */
	uint64_t blocks;
	struct journal_owner owner;
};

struct journal_region journal_region_of(
	const struct superblock *sb, const struct geometry *geometry);

/*
 * Where a chain begins, or goes on: as a superblock says it. An opening batch that is written there
 * names `epoch` and `sequence` - 1 as what it follows.
 */
struct journal_place {
	uint64_t position; /* block of the region */
	uint64_t sequence; /* of the batch there, which may not exist yet */
	uint64_t epoch;    /* that batches before it had */
};

/* Of what comes after the superblock's checkpoint. */
struct journal_place journal_tail_of(const struct superblock *sb);

struct journal_batch {
	uint64_t position;
	uint64_t sequence;
	uint64_t epoch;
	uint64_t durable;
	uint32_t blocks;
	uint32_t flags;
	uint32_t transactions;
};

struct journal_chain {
	struct journal_batch *batches; /* owned, in their order */
	size_t count;
	size_t newest;     /* index of the first batch at or after the newest superblock's tail */
	bool has_previous; /* the chain begins at the predecessor's tail and reaches `newest` */
	struct journal_place start; /* where it begins */
	struct journal_place end;   /* where the next batch would be */

	/*
	 * The last batch is an opening one without transactions, after `newest`, and can be
	 * replaced in place: by another opening one, at `last_opening`. Not when something in the
	 * region is durable past that place: if the replacement were torn, what the replaced one
	 * had opened would look lost.
	 */
	bool ends_in_opening;
	struct journal_place last_opening;

	/* Highest sequence known durable, of those before `end`: what any header in the region says
	 * is durable, and what stands before the newest tail. */
	uint64_t durable;

	/* Of every batch of this volume in the region, whole or not, in the chain or not. */
	uint64_t highest_sequence; /* at least that of what stands before the newest tail */
	uint64_t highest_durable;
	uint64_t generation; /* 0: none */
	uint64_t next_object;
	uint64_t next_job;

	/* Damage: the chain stops though something later was durable, or where nobody can tell. */
	bool is_damaged;
	uint64_t lost_sequence; /* highest that is known to be lost, or may be */
};

/*
 * Reads the chain from `previous` (sequence 0: there is none) through `newest`. When the chain from
 * `previous` does not reach `newest`, it begins at `newest`, and has_previous is false: damage
 * before `newest` costs only the fallback.
 *
 * COP_EIO: nothing of the region can be read. COP_EFORMAT: `newest` lies outside of it.
 * COP_EUNSUPPORTED: where the chain stops stands a batch of this volume that a later version wrote.
 * COP_ENOMEM.
 */
MUST_CHECK int journal_scan(struct device *dev, const struct journal_region *region,
	const struct journal_place *newest, const struct journal_place *previous,
	struct journal_chain *out_chain);
void journal_chain_free(struct journal_chain *chain);

/* Where the batch of that index was expected, or the next one if it is `count`. */
struct journal_place journal_place_of(const struct journal_chain *chain, size_t index);

/*
 * Step 3: verifies the data that batches above chain->durable name, and cuts the chain before the
 * first that does not verify, or cannot be read. The latter is damage: it may have been promised,
 * and may be readable the next time. Runs past `volume_blocks` are a mismatch. COP_ENOMEM.
 */
MUST_CHECK int journal_verify_data(struct device *dev, const struct journal_region *region,
	uint64_t volume_blocks, struct journal_chain *chain);

/*
 * Reads one batch of the chain whole into `buffer` (batch->blocks of them, block_buffer_alloc())
 * and judges it again. COP_EIO, COP_ECHECKSUM.
 */
MUST_CHECK int journal_read_batch(struct device *dev, const struct journal_region *region,
	const struct journal_batch *batch, void *buffer);

#endif
