/*
 * The blocks of a transaction: those that it takes for data, those that it gives up, what recovery
 * shall find in those it has written, and the few whose bytes ride in the transaction itself.
 */

#include "volume/tx_internal.h"

#include "base/num.h"

#include <stdlib.h>

/* ---- Taking ---------------------------------------------------------------------------------- */

/* What was promised and admitted and not taken goes back to the promise. */
static void
return_data_promise(struct tx *tx)
{
	if (tx->promise) {
		tx->promise->data_blocks += tx->admitted_blocks;
		tx->admitted_blocks = 0;
	}
}

void
tx_use_promise(struct tx *tx, struct promise *promise)
{
	assert(tx->admitted_blocks == 0);
	tx->promise = promise;
}

int
tx_admit(struct tx *tx, uint64_t data_blocks)
{
	uint64_t promised = 0;
	int err = 0;

	if (tx->promise)
		promised = min_u64(tx->promise->data_blocks, data_blocks);
	if (promised < data_blocks)
		err = volume__admit_in_turn(
			tx->volume, tx->visit, data_blocks - promised, tx__draw_of(tx));
	if (err)
		return err;
	if (promised > 0)
		tx->promise->data_blocks -= promised;
	tx->admitted_blocks += data_blocks;
	return 0;
}

/*
 * What was admitted is there, unless a bitmap turns out to be damaged: that of the newest
 * checkpoint closes its group for good, that of the one before until there is a newer one.
 */
static int
take_run(struct tx *tx, enum space_stream stream, uint64_t goal_addr, uint32_t want_blocks,
	struct run *out_run)
{
	struct volume *volume = tx->volume;
	int err = space_take(volume->space, stream, goal_addr, want_blocks, out_run);
	int tries = 0;

	while (err == COP_ENOSPC) {
		err = volume__wait_for_space(volume, tx->visit, tx__draw_of(tx), &tries);
		if (err)
			return err;
		err = space_take(volume->space, stream, goal_addr, want_blocks, out_run);
	}
	return err;
}

int
tx_take(struct tx *tx, enum space_stream stream, uint64_t goal_addr, uint32_t want_blocks,
	struct run *out_run)
{
	struct run run;
	int err;

	assert(want_blocks > 0);
	if (tx->admitted_blocks < want_blocks) {
		err = tx_admit(tx, want_blocks - tx->admitted_blocks);
		if (err)
			return err;
	}
	err = volume__end_cleanness(tx->volume, tx->visit);
	if (err == 0)
		err = take_run(tx, stream, goal_addr, want_blocks, &run);
	if (err)
		return err;
	assert(run.blocks > 0);
	assert(run.blocks <= want_blocks);
	err = tx__runs_add(&tx->taken, run);
	if (err) {
		space_untake(tx->volume->space, run);
		return err;
	}
	tx->admitted_blocks -= run.blocks;
	*out_run = run;
	return 0;
}

void
tx_give_back(struct tx *tx, struct run run)
{
	for (size_t i = 0; i < tx->taken.count; i++) {
		struct run *taken = &tx->taken.runs[i];

		if (run.addr < taken->addr || run.addr >= taken->addr + taken->blocks)
			continue;
		assert(run.addr + run.blocks == taken->addr + taken->blocks); /* its end */
		taken->blocks -= run.blocks;
		space_untake(tx->volume->space, run);
		tx->admitted_blocks += run.blocks;
		return;
	}
	assert(!"a run that this transaction has taken");
}

/* ---- Giving up ------------------------------------------------------------------------------- */

int
tx__runs_add(struct runs *runs, struct run run)
{
	if (runs->count == runs->capacity) {
		size_t capacity = runs->capacity == 0 ? 16 : runs->capacity * 2;
		struct run *grown = realloc(runs->runs, capacity * sizeof *grown);

		if (!grown)
			return fail(COP_ENOMEM, "runs of a transaction");
		runs->runs = grown;
		runs->capacity = capacity;
	}
	runs->runs[runs->count++] = run;
	return 0;
}

int
tx_release(struct tx *tx, struct run run)
{
	return tx_release_born(tx, run, 0);
}

int
tx_release_born(struct tx *tx, struct run run, uint64_t birth)
{
	assert(run.blocks > 0);
	if (tx->released.count == 0 || birth < tx->released_birth)
		tx->released_birth = birth;
	return tx__runs_add(&tx->released, run);
}

/* ---- What they hold -------------------------------------------------------------------------- */

static int
data_make_room(struct writer *data, size_t bytes)
{
	size_t capacity = data->bytes == 0 ? 256 : data->bytes;
	uint8_t *grown;

	if (bytes <= data->bytes - data->at)
		return 0;
	while (capacity - data->at < bytes)
		capacity *= 2;
	grown = realloc(data->data, capacity);
	if (!grown)
		return fail(COP_ENOMEM, "checksums of a transaction");
	data->data = grown;
	data->bytes = capacity;
	return 0;
}

int
tx_data(struct tx *tx, uint64_t addr, uint32_t blocks, const uint64_t *checksums)
{
	int err = data_make_room(&tx->data, TX_RUN_BYTES + (size_t)blocks * sizeof *checksums);

	assert(blocks > 0);
	if (err)
		return err;
	if (tx->data_count > 0 && tx->data_last.addr + tx->data_last.blocks == addr) {
		tx->data_last.blocks += blocks;
		journal_extend_data(&tx->data, tx->data_last_at, blocks, checksums);
	} else {
		tx->data_last = (struct run){ .addr = addr, .blocks = blocks };
		tx->data_last_at = tx->data.at;
		journal_encode_data(&tx->data, addr, blocks, checksums);
		tx->data_count++;
	}
	assert(!tx->data.bad);
	atomic_fetch_add(&tx->volume->data_blocks, blocks);
	return 0;
}

int
tx_carry(struct tx *tx, uint64_t object, uint64_t addr, const uint8_t *bytes)
{
	uint8_t *copy = malloc(BLOCK_BYTES);

	assert(tx->carried_count < TX_CARRIED_MAX);
	if (!copy)
		return fail(COP_ENOMEM, "block of a transaction");
	memcpy(copy, bytes, BLOCK_BYTES);
	tx->carried[tx->carried_count++] =
		(struct carried){ .object = object, .addr = addr, .bytes = copy };
	return 0;
}

bool
volume_carries(const struct volume *volume)
{
	return atomic_load(&volume->carried_blocks) > 0;
}

bool
volume_may_carry(const struct volume *volume, uint32_t blocks)
{
	enum { BESIDE_BYTES = 4096 }; /* record, extents, runs */
	uint64_t each = MESSAGE_HEADER_BYTES + DATA_KEY_BYTES + BLOCK_BYTES;

	return blocks <= TX_CARRIED_MAX &&
	       journal_fits(volume->journal, blocks * each + BESIDE_BYTES);
}

/* ---- The end --------------------------------------------------------------------------------- */

void
tx__untake_all(struct tx *tx)
{
	for (size_t i = 0; i < tx->taken.count; i++) {
		space_untake(tx->volume->space, tx->taken.runs[i]);
		tx->admitted_blocks += tx->taken.runs[i].blocks;
	}
}

void
tx__blocks_free(struct tx *tx)
{
	for (uint32_t i = 0; i < tx->carried_count; i++)
		free(tx->carried[i].bytes);
	return_data_promise(tx);
	space_unadmit(tx->volume->space, tx->admitted_blocks);
	free(tx->data.data);
	free(tx->taken.runs);
	free(tx->released.runs);
}
