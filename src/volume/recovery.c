/*
 * Recovery (rules of commit, 6).
 *
 *   read      the chain of batches from the predecessor's tail, what of it was durable, whether
 *             anything was lost to damage, whether the data above is there
 *   secure    the superblock, and what is accepted though not known durable, is written again
 *   open      an opening batch begins a new epoch at the stop, durable before anything else
 *   claim     every run that the chain names is set aside
 *   replay    exactly once, from the trees of the newest superblock
 *
 * Secure: [a device may have forgotten what a failed flush should have saved, while its cache still
 * reads back; the next flush "succeeds"]. Claim: [else a node shadowed in replay takes the block
 * where a later message's data lies].
 *
 * A crash anywhere in it starts over, and gives the same state: the batches are still there, the
 * trees have not changed on the device. An opening for reading does without secure and open.
 *
 * Memory: nodes that the replay changes lie beside the cache's limit, not in it. Once they are as
 * many as may be dirty, a checkpoint between two batches writes them: an ordinary one, whose tail
 * is the batch that is replayed next. It stays one batch's change at the most over the limit; an
 * opening for reading, which cannot write, keeps all of it.
 */

#include "volume/volume_internal.h"

#include "base/checksum.h"
#include "base/num.h"
#include "base/plant.h"

#include <stdlib.h>

enum {
	COPY_BLOCKS = 256,      /* of data, written again at one time */
	UNREADABLE_FILL = 0xff, /* what no batch ends with */
};

/* ---- Read ------------------------------------------------------------------------------------ */

/*
 * The mark says that nothing follows. One look tells whether that is so: were a newer superblock
 * lost in all its places, the batch after the tail would go on from here.
 */
static int
look_behind_tail(struct volume *volume, const struct journal_region *region, bool *out_follows)
{
	struct journal_place tail = journal_tail_of(&volume->newest);
	struct batch_header header;
	uint8_t *block = block_buffer_alloc(1);
	int err;

	if (!block)
		return fail(COP_ENOMEM, "journal");
	err = device_read(volume->dev, region->addr + tail.position, block, 1);
	if (err == 0)
		err = batch_decode_header(
			block, &region->owner, tail.position, region->blocks, &header);
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
	return fail(COP_ELOSS,
		"%s: damage in the journal: batches %" PRIu64 " to %" PRIu64
		" %s durable and cannot be read; what they held is lost. It can be opened for "
		"reading, and for writing when the loss is accepted",
		device_name(volume->dev), chain->end.sequence, chain->lost_sequence,
		chain->highest_durable >= chain->end.sequence ? "were" : "may have been");
}

int
volume__recovery_read(struct volume *volume, bool always, struct recovery *out_recovery)
{
	const struct superblock *newest = &volume->newest;
	const struct superblock *previous = &volume->previous;
	struct journal_place from = journal_tail_of(newest);
	struct journal_place before = { 0 };
	struct recovery recovery = { .generation = newest->generation };
	struct geometry geometry;
	int err;

	err = geometry_init(&geometry, newest->blocks, newest->ag_blocks, newest->journal_blocks);
	if (err)
		return err;
	recovery.region = journal_region_of(newest, &geometry);
	recovery.is_needed = always || !(newest->flags & SUPERBLOCK_CLEAN);
	if (!recovery.is_needed) {
		err = look_behind_tail(volume, &recovery.region, &recovery.is_needed);
		if (err || !recovery.is_needed) {
			*out_recovery = recovery;
			return err;
		}
	}
	if (previous->generation != 0)
		before = journal_tail_of(previous);
	err = journal_scan(volume->dev, &recovery.region, &from, &before, &recovery.chain);
	if (err == 0 && !planted(PLANT_DATA_NOT_VERIFIED))
		err = journal_verify_data(
			volume->dev, &recovery.region, newest->blocks, &recovery.chain);
	if (err == 0)
		err = tell_loss(volume, &recovery.chain);
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

/* What is done with batches [first, end) of the chain. */
struct pass {
	size_t first;
	size_t end;
	int (*begin_batch)(void *context, size_t index); /* NULL: nothing */
	tx_visit visit;                                  /* for every transaction */
	void *context;
};

static int
visit_batch(struct volume *volume, const struct recovery *recovery, size_t index,
	const struct pass *pass, uint8_t *buffer)
{
	const struct journal_batch *batch = &recovery->chain.batches[index];
	struct batch_header header;
	struct reader r;
	int err;

	err = journal_read_batch(volume->dev, &recovery->region, batch, buffer);
	if (err == 0)
		err = batch_decode_header(buffer, &recovery->region.owner, batch->position,
			recovery->region.blocks, &header);
	if (err)
		return err;
	r = reader_over(buffer + BATCH_HEADER_BYTES, header.bytes);
	for (uint32_t i = 0; err == 0 && i < header.transactions; i++) {
		struct journal_tx tx;

		err = journal_decode_tx(&r, &tx);
		if (err == 0)
			err = pass->visit(pass->context, &tx);
	}
	return err;
}

static int
for_each_tx(struct volume *volume, const struct recovery *recovery, const struct pass *pass)
{
	uint8_t *buffer = block_buffer_alloc(journal_batch_blocks_max(recovery->region.blocks));
	int err = 0;

	if (!buffer)
		return fail(COP_ENOMEM, "journal");
	for (size_t i = pass->first; err == 0 && i < pass->end; i++) {
		const struct journal_batch *batch = &recovery->chain.batches[i];

		if (batch->transactions == 0)
			continue;
		if (pass->begin_batch)
			err = pass->begin_batch(pass->context, i);
		if (err == 0)
			err = visit_batch(volume, recovery, i, pass, buffer);
		if (err)
			err = fail_in(err, "batch %" PRIu64 " of the journal", batch->sequence);
	}
	free(buffer);
	return err;
}

static int
make_durable(struct volume *volume)
{
	return planted(PLANT_OPEN_WITHOUT_FLUSH) ? 0 : device_flush(volume->dev);
}

/* ---- Secure ---------------------------------------------------------------------------------- */

struct rewrite {
	struct volume *volume;
	uint8_t *buffer;
};

/* Up to COPY_BLOCKS; they were verified before, and must be what they were. */
static int
rewrite_blocks(struct rewrite *rewrite, uint64_t addr, uint32_t blocks, const uint8_t *checksums)
{
	struct device *dev = rewrite->volume->dev;
	int err = device_read(dev, addr, rewrite->buffer, blocks);

	for (uint32_t i = 0; err == 0 && i < blocks; i++) {
		if (checksum64(rewrite->buffer + (size_t)i * BLOCK_BYTES, BLOCK_BYTES) !=
			get_le64(checksums + 8 * (size_t)i))
			err = fail(COP_ECHECKSUM, "block %" PRIu64 " reads differently again",
				addr + i);
	}
	return err ? err : device_write(dev, addr, rewrite->buffer, blocks);
}

static int
rewrite_data(void *context, const struct journal_tx *tx)
{
	struct rewrite *rewrite = context;
	struct reader r = reader_over(tx->first_data, (size_t)(tx->first_message - tx->first_data));
	int err = 0;

	for (uint32_t i = 0; err == 0 && i < tx->data; i++) {
		struct journal_data data;

		err = journal_decode_data(&r, &data);
		for (uint32_t at = 0; err == 0 && at < data.blocks; at += COPY_BLOCKS)
			err = rewrite_blocks(rewrite, data.addr + at,
				(uint32_t)min_u64(COPY_BLOCKS, data.blocks - at),
				data.checksums + 8 * (size_t)at);
	}
	return err;
}

static int
rewrite_batches(struct rewrite *rewrite, const struct recovery *recovery, size_t first)
{
	struct device *dev = rewrite->volume->dev;
	int err = 0;

	for (size_t i = first; err == 0 && i < recovery->chain.count; i++) {
		const struct journal_batch *batch = &recovery->chain.batches[i];

		err = journal_read_batch(dev, &recovery->region, batch, rewrite->buffer);
		if (err == 0)
			err = device_write(dev, recovery->region.addr + batch->position,
				rewrite->buffer, batch->blocks);
	}
	return err;
}

/*
 * The superblock that all of it goes on from may have been forgotten as well. Where a copy could
 * not be read, there may be a newer one, of a checkpoint that a power cut ended; so this one gets a
 * number that is newer still. [It is read the next time, when what it names has been overwritten.]
 * One that stands in for another, which is damaged, gets its number later: supersede().
 */
static int
rewrite_superblock(struct volume *volume)
{
	struct superblock sb = volume->newest;
	uint8_t *blocks = block_buffer_alloc(SUPERBLOCK_PLACES_MAX);
	int err;

	if (!blocks)
		return fail(COP_ENOMEM, "superblock");
	if (volume->may_have_newer && volume->passed_over.generation == 0) {
		sb.slot = volume__next_slot(&volume->newest, &volume->previous);
		sb.generation = atomic_load(&volume->generation) - 1;
		sb.flags &= ~SUPERBLOCK_CLEAN;
	}
	err = volume__write_superblock(volume->dev, &volume->geometry, &sb, blocks);
	free(blocks);
	if (err)
		return err;
	mutex_lock(&volume->state);
	volume->newest = sb;
	mutex_unlock(&volume->state);
	return 0;
}

/* What was accepted, though nobody knew it to be durable. */
static int
rewrite_accepted(struct volume *volume, const struct recovery *recovery)
{
	const struct journal_chain *chain = &recovery->chain;
	struct rewrite rewrite = { .volume = volume };
	struct pass pass = {
		.first = chain->count,
		.end = chain->count,
		.visit = rewrite_data,
		.context = &rewrite,
	};
	int err;

	while (pass.first > 0 && chain->batches[pass.first - 1].sequence > chain->durable)
		pass.first--;
	if (pass.first == pass.end)
		return 0;
	rewrite.buffer = block_buffer_alloc(
		max_u64(COPY_BLOCKS, journal_batch_blocks_max(recovery->region.blocks)));
	if (!rewrite.buffer)
		return fail(COP_ENOMEM, "journal");
	err = rewrite_batches(&rewrite, recovery, pass.first);
	if (err == 0)
		err = for_each_tx(volume, recovery, &pass);
	free(rewrite.buffer);
	return err;
}

/* Step 4. */
static int
secure(struct volume *volume, const struct recovery *recovery)
{
	int err;

	if (planted(PLANT_NO_REWRITE_IN_RECOVERY))
		return 0;
	err = rewrite_superblock(volume);
	if (err == 0)
		err = rewrite_accepted(volume, recovery);
	return err ? err : make_durable(volume);
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
	header.owner = recovery->region.owner;
	header.sequence = max_u64(chain->highest_sequence + 1, chain->end.sequence);
	if (planted(PLANT_EPOCH_NOT_COMPARED))
		header.sequence = chain->end.sequence;
	header.position = at.position;
	header.previous_epoch = after.epoch;
	header.previous_sequence = after.sequence - 1;
	header.durable = header.previous_sequence;
	journal_counters(volume, &header.generation, &header.next_object, &header.next_job);
	err = device_read(volume->dev, recovery->region.addr + at.position, block, 1);
	if (err == COP_EIO && volume->options.accept_loss) {
		err_clear();
		memset(block, UNREADABLE_FILL, BLOCK_BYTES);
		err = 0;
	}
	if (err == 0) {
		batch_encode_over(&header, block);
		err = device_write(volume->dev, recovery->region.addr + at.position, block, 1);
	}
	free(block);
	if (err == 0)
		err = make_durable(volume);
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

struct replay {
	struct volume *volume;
	struct recovery *recovery;
	struct journal_place end; /* where the journal goes on */
	bool has_ended;           /* a reader sees what was before */
};

/* What the replay has changed does not count in the cache. */
static void
leave_out_of_limit(struct volume *volume)
{
	uint64_t dirty =
		atomic_load(&volume->open_node_bytes) + atomic_load(&volume->frozen_node_bytes);

	cache_set_limit(volume->cache, volume->options.cache_bytes + dirty);
}

static int
replay_or_lose(struct volume *volume, const struct journal_tx *tx)
{
	struct losses losses = { .count = 0 };
	int err = 0;

	if (volume->recovery_way >= RECOVERY_LOSING)
		err = volume__find_losses(volume, tx, &losses);
	if (err == 0)
		err = volume__tx_replay(volume, tx, &losses);
	atomic_fetch_add(&volume->left_out, losses.count);
	return err;
}

static int
replay_one(void *context, const struct journal_tx *tx)
{
	struct replay *replay = context;
	struct volume *volume = replay->volume;
	int err;

	if (replay->has_ended)
		return 0;
	err = planted(PLANT_CLAIM_LATE) ? claim_runs(volume, tx) : 0;
	if (err == 0)
		err = replay_or_lose(volume, tx);
	/* A superblock after N was durable and is lost: it had the room that P's bitmaps keep. */
	if (err == COP_ENOSPC && space_give_up_previous(volume->space)) {
		err_clear();
		err = replay_or_lose(volume, tx);
	}
	replay->recovery->met_damage = err == COP_ENOSPC || volume__may_be_left_out(err);
	/* Not where the journal itself makes no sense: that is to be told. */
	if (replay->recovery->met_damage && err != COP_EFORMAT &&
		volume->recovery_way >= RECOVERY_LOSING && volume->options.read_only) {
		replay->has_ended = true;
		err_clear();
		return 0;
	}
	if (err)
		return err;
	leave_out_of_limit(volume);
	atomic_fetch_add(&volume->replayed, 1);
	return 0;
}

/*
 * Gate not needed: nobody else is here. What is replayed after a checkpoint shadows again, at the
 * most, every node that is in it; where that could be what fills the volume, memory is spent.
 */
static bool
has_room_to_shadow_again(const struct volume *volume)
{
	uint64_t nodes = volume->open_node_count;

	return space_available_blocks(volume->space) >
	       2 * nodes * 2 * volume->node_blocks; /* copies */
}

/*
 * Rules of commit 5, fallback: what the newest superblock alone reaches is about to be overwritten,
 * so its predecessor becomes the newest, under a number of its own. [The next opening could read
 * what this one could not, and go on from there, while the rest of it is overwritten.]
 */
static int
supersede(struct volume *volume)
{
	struct superblock sb = volume->newest;
	uint8_t *blocks;
	int err;

	if (volume->passed_over.generation == 0)
		return 0;
	sb.slot = volume__next_slot(&volume->newest, &volume->passed_over);
	sb.generation = atomic_load(&volume->generation) - 1;
	sb.previous_generation = volume->newest.generation;
	sb.flags &= ~SUPERBLOCK_CLEAN;
	sb.retained_tail = sb.journal_tail;
	sb.retained_sequence = sb.journal_sequence;
	assert(sb.generation > volume->passed_over.generation);
	blocks = block_buffer_alloc(SUPERBLOCK_PLACES_MAX);
	if (!blocks)
		return fail(COP_ENOMEM, "superblock");
	err = volume__write_superblock(volume->dev, &volume->geometry, &sb, blocks);
	free(blocks);
	if (err == 0)
		err = make_durable(volume);
	if (err)
		return err;
	mutex_lock(&volume->state);
	volume->previous = volume->newest;
	volume->newest = sb;
	volume->passed_over.generation = 0;
	mutex_unlock(&volume->state);
	return 0;
}

/* A checkpoint if there is room for one; what was replayed is in memory in any case. */
static int
try_checkpoint(struct volume *volume)
{
	int err = supersede(volume);

	if (err == 0)
		err = volume__checkpoint_forced(volume);
	if (err == COP_ENOSPC) {
		err_clear();
		err = 0;
	}
	leave_out_of_limit(volume);
	return err;
}

/* What was lost is lost once, and accepted once. */
static int
settle_losses(struct volume *volume)
{
	return volume->options.read_only ? 0 : try_checkpoint(volume);
}

/*
 * A checkpoint, if there is so much to write. Without room for it the replay goes on in memory.
 * NULL: everything is replayed.
 */
static int
relieve_memory(struct volume *volume, const struct journal_cut *cut)
{
	uint64_t dirty =
		atomic_load(&volume->open_node_bytes) + atomic_load(&volume->shares.list_bytes);
	int err;

	if (volume->options.read_only || dirty < volume->dirty_limit_bytes)
		return 0;
	if (cut && !has_room_to_shadow_again(volume))
		return 0;
	volume->replay_cut = cut;
	err = try_checkpoint(volume);
	volume->replay_cut = NULL;
	return err;
}

/* All before the batch of this index is replayed. */
static int
begin_replay_of(void *context, size_t index)
{
	struct replay *replay = context;
	struct journal_cut cut = { .place = journal_place_of(&replay->recovery->chain, index) };

	cut.blocks_behind =
		distance(cut.place.position, replay->end.position, replay->recovery->region.blocks);
	return relieve_memory(replay->volume, &cut);
}

/* Steps 6 and 7. */
static int
replay(struct volume *volume, struct recovery *recovery, const struct journal_place *end)
{
	const struct journal_chain *chain = &recovery->chain;
	size_t first = planted(PLANT_REPLAY_TWICE) ? 0 : chain->newest;
	struct replay replay = { .volume = volume, .recovery = recovery, .end = *end };
	const struct pass hold = { 0, chain->newest, NULL, hold_runs, volume };
	const struct pass claim = { first, chain->count, NULL, claim_runs, volume };
	const struct pass again = { first, chain->count, begin_replay_of, replay_one, &replay };
	int err = 0;

	if (!volume->options.read_only)
		err = for_each_tx(volume, recovery, &hold);
	if (err == 0 && !planted(PLANT_CLAIM_LATE))
		err = for_each_tx(volume, recovery, &claim);
	if (err_is_damage(err))
		recovery->met_damage = true; /* the journal goes on from another checkpoint */
	if (err == 0) {
		volume__repairs_begin(volume);
		err = for_each_tx(volume, recovery, &again);
	}
	if (err == 0)
		err = relieve_memory(volume, NULL);
	if (err == 0 && volume->left_out > 0)
		err = settle_losses(volume);
	if (err == 0 && !volume->options.read_only)
		err = supersede(volume);
	if (err == 0 && !volume->options.read_only)
		cache_set_limit(volume->cache, volume->options.cache_bytes);
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
	struct journal_place end = journal_tail_of(&volume->newest);
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
		err = replay(volume, recovery, &end);
		atomic_store(&volume->recoveries, 1);
	}
	if (err == 0)
		volume__repairs_begin(volume);
	return err ? fail_in(err, "recovery") : 0;
}
