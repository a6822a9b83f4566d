/*
 * Recovery (rules of commit, 6).
 *
 *   read      the chain of batches from the predecessor's tail, what of it was durable, whether
 *             anything was lost to damage, whether the data above is there
 *   secure    what is to be replayed and was not known durable is written again, with identical
 *             bytes, and flushed. [A device may have forgotten what a failed flush should have
 * saved, while its cache still reads back; the next flush "succeeds".] open      an opening batch
 * begins a new epoch at the stop, durable before anything else claim     every run that the chain
 * names is set aside. [Else a node shadowed in replay takes the block where a later message's data
 * lies.] replay    exactly once, from the trees of the newest superblock
 *
 * A crash anywhere in it starts over, and gives the same state: the batches are still there, the
 * trees have not changed on the device. An opening for reading does without secure and open, and
 * keeps what it replays in memory.
 */

#include "volume/volume_internal.h"

#include "base/num.h"
#include "base/plant.h"

#include <stdlib.h>

enum { COPY_BLOCKS = 256 }; /* written again at one time */

static struct journal_place
tail_of(const struct superblock *sb)
{
	return (struct journal_place){
		.position = sb->journal_tail,
		.sequence = max_u64(sb->journal_sequence, 1), /* 0: the journal was never used */
		.epoch = sb->epoch,
	};
}

/* ---- Read ------------------------------------------------------------------------------------ */

/*
 * The mark says that nothing follows. One look tells whether that is so: were a newer superblock
 * lost in all its places, the batch after the tail would go on from here.
 */
static int
look_behind_tail(struct volume *volume, const struct journal_region *region, bool *out_follows)
{
	struct journal_place tail = tail_of(&volume->newest);
	struct batch_header header;
	uint8_t *block = block_buffer_alloc(1);
	int err;

	if (!block)
		return fail(COP_ENOMEM, "journal");
	err = device_read(volume->dev, region->addr + tail.position, block, 1);
	if (err == 0)
		err = batch_decode_header(
			block, region->uuid, tail.position, region->blocks, &header);
	*out_follows = err == 0 && !planted(PLANT_CLEAN_MARK_KEPT) &&
		       (header.flags & BATCH_OPENING) && header.previous_epoch == tail.epoch &&
		       header.previous_sequence + 1 == tail.sequence;
	free(block);
	if (err == COP_ENOMEM)
		return err;
	err_clear();
	return 0;
}

static int
tell_loss(struct volume *volume, const struct journal_chain *chain)
{
	if (!chain->is_damaged || planted(PLANT_DAMAGE_TAKEN_FOR_TAIL))
		return 0;
	if (volume->options.read_only || volume->options.accept_loss)
		return 0;
	return fail(COP_ECHECKSUM,
		"%s: damage in the journal: batches %" PRIu64 " to %" PRIu64
		" were durable and cannot be read; what they held is lost. It can be opened for "
		"reading, and for writing when the loss is accepted",
		device_name(volume->dev), chain->end.sequence, chain->lost_sequence);
}

int
volume__recovery_read(struct volume *volume, bool always, struct recovery *out_recovery)
{
	const struct superblock *newest = &volume->newest;
	const struct superblock *previous = &volume->previous;
	struct journal_place from = tail_of(newest);
	struct journal_place before = { 0 };
	struct recovery recovery = { .generation = newest->generation };
	struct geometry geometry;
	int err;

	err = geometry_init(&geometry, newest->blocks, newest->ag_blocks, newest->journal_blocks);
	if (err)
		return err;
	recovery.region.addr = geometry_journal(&geometry);
	recovery.region.blocks = newest->journal_blocks;
	memcpy(recovery.region.uuid, newest->uuid, sizeof recovery.region.uuid);
	recovery.is_needed = always || !(newest->flags & SUPERBLOCK_CLEAN);
	if (!recovery.is_needed) {
		err = look_behind_tail(volume, &recovery.region, &recovery.is_needed);
		if (err || !recovery.is_needed) {
			*out_recovery = recovery;
			return err;
		}
	}
	if (previous->generation != 0)
		before = tail_of(previous);
	err = journal_scan(volume->dev, &recovery.region, &from, &before, &recovery.chain);
	if (err == 0)
		err = tell_loss(volume, &recovery.chain);
	if (err == 0 && !planted(PLANT_DATA_NOT_VERIFIED))
		err = journal_verify_data(
			volume->dev, &recovery.region, newest->blocks, &recovery.chain);
	if (err) {
		journal_chain_free(&recovery.chain);
		return err;
	}
	*out_recovery = recovery;
	return 0;
}

void
volume__recovery_fini(struct recovery *recovery)
{
	journal_chain_free(&recovery->chain);
}

/* ---- Batch by batch -------------------------------------------------------------------------- */

typedef int (*tx_visit)(void *context, const struct journal_tx *tx);

/* Every transaction of batches [first, end) of the chain. */
static int
for_each_tx(struct volume *volume, const struct recovery *recovery, size_t first, size_t end,
	tx_visit visit, void *context)
{
	uint8_t *buffer = block_buffer_alloc(journal_batch_blocks_max(recovery->region.blocks));
	int err = 0;

	if (!buffer)
		return fail(COP_ENOMEM, "journal");
	for (size_t i = first; err == 0 && i < end; i++) {
		const struct journal_batch *batch = &recovery->chain.batches[i];
		struct batch_header header;
		struct reader r;

		if (batch->transactions == 0)
			continue;
		err = journal_read_batch(volume->dev, &recovery->region, batch, buffer);
		if (err == 0)
			err = batch_decode_header(buffer, recovery->region.uuid, batch->position,
				recovery->region.blocks, &header);
		if (err)
			break;
		r = reader_over(buffer + BATCH_HEADER_BYTES, header.bytes);
		for (uint32_t j = 0; err == 0 && j < header.transactions; j++) {
			struct journal_tx tx;

			err = journal_decode_tx(&r, &tx);
			if (err == 0)
				err = visit(context, &tx);
		}
		if (err)
			err = fail_in(err, "batch %" PRIu64 " of the journal", batch->sequence);
	}
	free(buffer);
	return err;
}

/* ---- Secure ---------------------------------------------------------------------------------- */

static int
rewrite_run(struct volume *volume, uint64_t addr, uint64_t blocks, uint8_t *buffer)
{
	int err = 0;

	while (err == 0 && blocks > 0) {
		uint64_t part = min_u64(blocks, COPY_BLOCKS);

		err = device_read(volume->dev, addr, buffer, part);
		if (err == 0)
			err = device_write(volume->dev, addr, buffer, part);
		addr += part;
		blocks -= part;
	}
	return err;
}

struct rewrite {
	struct volume *volume;
	uint8_t *buffer;
};

static int
rewrite_data(void *context, const struct journal_tx *tx)
{
	struct rewrite *rewrite = context;
	struct reader r = reader_over(tx->first_data, (size_t)(tx->first_message - tx->first_data));
	int err = 0;

	for (uint32_t i = 0; err == 0 && i < tx->data; i++) {
		struct journal_data data;

		err = journal_decode_data(&r, &data);
		if (err == 0)
			err = rewrite_run(rewrite->volume, data.addr, data.blocks, rewrite->buffer);
	}
	return err;
}

/* Step 4: what was accepted, though nobody knew it to be durable. */
static int
secure(struct volume *volume, const struct recovery *recovery)
{
	const struct journal_chain *chain = &recovery->chain;
	struct rewrite rewrite = { .volume = volume };
	size_t first = chain->count;
	int err = 0;

	while (first > 0 && chain->batches[first - 1].sequence > chain->durable)
		first--;
	if (planted(PLANT_NO_REWRITE_IN_RECOVERY))
		return 0;
	if (first == chain->count)
		return 0;
	rewrite.buffer = block_buffer_alloc(COPY_BLOCKS);
	if (!rewrite.buffer)
		return fail(COP_ENOMEM, "journal");
	for (size_t i = first; err == 0 && i < chain->count; i++) {
		const struct journal_batch *batch = &chain->batches[i];

		err = rewrite_run(volume, recovery->region.addr + batch->position, batch->blocks,
			rewrite.buffer);
	}
	if (err == 0)
		err = for_each_tx(volume, recovery, first, chain->count, rewrite_data, &rewrite);
	free(rewrite.buffer);
	if (err == 0)
		err = device_flush(volume->dev);
	return err;
}

/* ---- Open ------------------------------------------------------------------------------------ */

static uint64_t
distance(uint64_t from, uint64_t to, uint64_t region_blocks)
{
	return (to + region_blocks - from) % region_blocks;
}

static void
journal_counters(
	void *context, uint64_t *out_generation, uint64_t *out_next_object, uint64_t *out_next_job)
{
	struct volume *volume = context;

	*out_generation = atomic_load(&volume->generation);
	*out_next_object = atomic_load(&volume->next_object);
	*out_next_job = atomic_load(&volume->next_job);
}

static int
create_journal(struct volume *volume, const struct recovery *recovery,
	const struct journal_place *end, uint64_t epoch, uint64_t durable)
{
	const struct superblock *newest = &volume->newest;
	uint64_t blocks = recovery->region.blocks;
	bool has_previous = recovery->is_needed ? recovery->chain.has_previous
						: volume->previous.generation != 0;
	struct journal_options options = {
		.dev = volume->dev,
		.region = recovery->region,
		.end = *end,
		.newest = newest->journal_tail,
		.newest_blocks = distance(newest->journal_tail, end->position, blocks),
		.durable = durable,
		.epoch = epoch,
		.is_open = recovery->is_needed,
		.no_flush = volume->options.no_flush,
		.counters = journal_counters,
		.context = volume,
	};

	options.retained = has_previous ? volume->previous.journal_tail : options.newest;
	options.retained_blocks = distance(options.retained, end->position, blocks);
	return journal_create(&options, &volume->journal);
}

/* Step 5: the opening batch, where the chain has ended, or instead of one that holds nothing. */
static int
begin_epoch(struct volume *volume, const struct recovery *recovery, uint64_t epoch,
	struct journal_place *out_end)
{
	const struct journal_chain *chain = &recovery->chain;
	struct journal_place after = chain->end;
	struct journal_place at = chain->end;
	struct batch_header header = {
		.flags = BATCH_OPENING,
		.epoch = epoch,
		.blocks = 1,
	};
	uint8_t *block = block_buffer_alloc(1);
	int err;

	if (!block)
		return fail(COP_ENOMEM, "journal");
	/* Not one that a superblock's tail lies behind: the chain from there goes on after it. */
	if (chain->ends_in_opening && chain->count > chain->newest) {
		after = chain->last_opening;
		at.position = chain->batches[chain->count - 1].position;
	}
	memcpy(header.uuid, recovery->region.uuid, sizeof header.uuid);
	header.sequence = max_u64(chain->highest_sequence + 1, chain->end.sequence);
	header.position = at.position;
	header.previous_epoch = after.epoch;
	header.previous_sequence = after.sequence - 1;
	header.durable = header.previous_sequence;
	journal_counters(volume, &header.generation, &header.next_object, &header.next_job);
	err = device_read(volume->dev, recovery->region.addr + at.position, block, 1);
	if (err == 0) {
		batch_encode_over(&header, block);
		err = device_write(volume->dev, recovery->region.addr + at.position, block, 1);
	}
	free(block);
	if (err == 0)
		err = device_flush(volume->dev);
	if (err)
		return err;
	*out_end = (struct journal_place){
		.position = (at.position + 1) % recovery->region.blocks,
		.sequence = header.sequence + 1,
		.epoch = epoch,
	};
	return 0;
}

/* ---- Claim and replay ------------------------------------------------------------------------ */

static int
claim_runs(void *context, const struct journal_tx *tx)
{
	struct volume *volume = context;
	int err = 0;

	for (uint32_t i = 0; err == 0 && i < tx->taken; i++)
		err = space_claim(volume->space, journal_run(tx, i));
	return err;
}

static int
hold_runs(void *context, const struct journal_tx *tx)
{
	struct volume *volume = context;
	int err = 0;

	for (uint32_t i = 0; err == 0 && i < tx->taken; i++)
		err = space_hold(volume->space, journal_run(tx, i));
	return err;
}

static int
replay_one(void *context, const struct journal_tx *tx)
{
	struct volume *volume = context;
	int err = planted(PLANT_NODES_OVER_NAMED_DATA) ? claim_runs(context, tx) : 0;

	if (err == 0)
		err = volume__tx_replay(volume, tx);
	/* A superblock after N was durable and is lost: it had the room that P's bitmaps keep. */
	if (err == COP_ENOSPC && space_give_up_previous(volume->space)) {
		err_clear();
		err = volume__tx_replay(volume, tx);
	}
	if (err == COP_ENOMEM)
		return fail_in(err, "replaying the journal: a larger cache is needed");
	if (err == 0)
		atomic_fetch_add(&volume->replayed, 1);
	return err;
}

/* Steps 6 and 7. */
static int
replay(struct volume *volume, const struct recovery *recovery)
{
	const struct journal_chain *chain = &recovery->chain;
	size_t first = planted(PLANT_REPLAY_TWICE) ? 0 : chain->newest;
	int err = 0;

	if (!volume->options.read_only)
		err = for_each_tx(volume, recovery, 0, chain->newest, hold_runs, volume);
	if (err == 0 && !planted(PLANT_NODES_OVER_NAMED_DATA))
		err = for_each_tx(volume, recovery, first, chain->count, claim_runs, volume);
	if (err == 0)
		err = for_each_tx(volume, recovery, first, chain->count, replay_one, volume);
	return err;
}

/* Another one than any that the next batch may follow. */
static uint64_t
new_epoch(struct volume *volume, const struct recovery *recovery)
{
	uint64_t epoch;

	do
		epoch = rng_nonzero(&volume->rng);
	while (epoch == volume->newest.epoch || epoch == recovery->chain.end.epoch ||
		epoch == recovery->chain.last_opening.epoch);
	return epoch;
}

int
volume__recover(struct volume *volume, struct recovery *recovery)
{
	struct journal_place end = tail_of(&volume->newest);
	uint64_t durable = end.sequence - 1;
	uint64_t epoch = new_epoch(volume, recovery);
	int err = 0;

	if (recovery->is_needed && !volume->options.read_only) {
		err = secure(volume, recovery);
		if (err == 0)
			err = begin_epoch(volume, recovery, epoch, &end);
		durable = end.sequence - 1;
	}
	if (err == 0 && !volume->options.read_only)
		err = create_journal(volume, recovery, &end, epoch, durable);
	if (err == 0 && recovery->is_needed) {
		err = replay(volume, recovery);
		atomic_store(&volume->recoveries, 1);
	}
	return err ? fail_in(err, "recovery") : 0;
}
