#include "base/checksum.h"
#include "volume/volume_internal.h"
#include "world.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

static void
write_block(struct world *world, struct tx *tx, const struct run *run, uint8_t fill)
{
	uint8_t *block = block_buffer_alloc(1);
	uint64_t checksum;

	assert_non_null(block);
	memset(block, fill, BLOCK_BYTES);
	checksum = checksum64(block, BLOCK_BYTES);
	assert_int_equal(device_write(world->dev, run->addr, block, 1), 0);
	assert_int_equal(tx_data(tx, run->addr, 1, &checksum), 0);
	free(block);
}

/* Nothing of the front's ring that was not durable survives, all else does. */
static uint32_t
lose_superblocks(void *context, uint32_t alternatives, uint64_t sector)
{
	const uint64_t *ag_blocks = context;

	return sector / SIM_BLOCK_SECTORS % *ag_blocks < SUPERBLOCK_RING ? 0 : alternatives - 1;
}

/*
 * A block that was born and given up in one period is free in the checkpoint that closes it and in
 * the one before, and the journal between them names it. While the former may yet be lost, it is
 * nobody's.
 */
static void
a_clean_volume_takes_nothing_that_the_journal_before_names(void **state)
{
	const struct sim_fault last_flush = { .kind = SIM_FAIL_FLUSH, .call = 2 };
	struct world world = { 0 };
	struct superblock sb;
	uint64_t ag_blocks;
	struct run named;
	struct run run;
	struct tx *tx;

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(world_put(&world, 1, 1, 10), 0);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
	assert_int_equal(tx_take(tx, SPACE_DATA, 0, 1, &named), 0);
	write_block(&world, tx, &named, 0x5a);
	assert_int_equal(tx_commit(tx), 0);
	assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
	assert_int_equal(tx_release(tx, named), 0);
	assert_int_equal(tx_commit(tx), 0);
	assert_int_equal(world_put(&world, 2, 2, 10), 0);
	assert_int_equal(volume_sync(world.volume), 0);

	/* The device forgets the superblock of the last checkpoint, and shows it nonetheless. */
	assert_int_equal(sim_add_fault(world.medium, &last_flush), 0);
	assert_int_equal(volume_checkpoint_clean(world.volume), COP_EIO);
	sim_clear_faults(world.medium);
	world_reopen(&world);
	volume_superblock(world.volume, &sb);
	assert_true(sb.flags & SUPERBLOCK_CLEAN);
	ag_blocks = sb.ag_blocks;

	assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
	assert_int_equal(tx_take(tx, SPACE_DATA, named.addr, 1, &run), 0);
	assert_int_equal(run.addr, named.addr);
	write_block(&world, tx, &run, 0xa5);
	tx_abort(tx);
	sim_power_off(world.medium);
	world_close(&world);
	sim_power_on(world.medium, lose_superblocks, &ag_blocks);
	world_open(&world);
	assert_int_equal(world_get(&world, 2), 2);
	world_end(&world);
}

/* The same for one that commits: what it did not take is promised to nobody any more. */
static void
a_commit_keeps_only_what_it_took(void **state)
{
	struct world world = { 0 };
	struct space *space;
	uint64_t available_blocks;
	uint64_t free_blocks;
	struct run run;
	struct tx *tx;

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(world_put(&world, 1, 1, 10), 0);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	space = volume_space(world.volume);
	free_blocks = space_free_blocks(space);
	available_blocks = space_available_blocks(space);
	assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
	assert_int_equal(tx_admit(tx, 50), 0);
	assert_int_equal(tx_take(tx, SPACE_DATA, 0, 32, &run), 0);
	tx_give_back(tx, (struct run){ run.addr + run.blocks - 2, 2 });
	assert_int_equal(tx_commit(tx), 0);
	assert_int_equal(space_free_blocks(space), free_blocks - run.blocks + 2);
	assert_int_equal(space_available_blocks(space), available_blocks - run.blocks + 2);
	world_end(&world);
}

/* A block that a transaction carries is in the cache at once, and at its place after the next
 * checkpoint; also if that one comes after a crash. */
static void
brings_what_it_carries_to_its_place(void **state)
{
	for (int crashes = 0; crashes < 2; crashes++) {
		struct world world = { 0 };
		uint8_t block[BLOCK_BYTES];
		uint8_t found[BLOCK_BYTES];
		struct buffer *buffer;
		struct run run;
		struct tx *tx;

		(void)state;
		memset(block, 0x5a, sizeof block);
		world_format(&world, 8 << 20, 0);
		assert_true(volume_may_carry(world.volume, 1));
		assert_false(volume_may_carry(world.volume, TX_CARRIED_MAX + 1));
		assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
		assert_int_equal(tx_take(tx, SPACE_DATA, 0, 1, &run), 0);
		assert_int_equal(tx_carry(tx, 20, run.addr, block), 0);
		assert_int_equal(tx_commit(tx), 0);
		assert_true(volume_carries(world.volume));
		assert_int_equal(volume_sync(world.volume), 0);
		if (crashes)
			world_reopen(&world);
		buffer = cache_peek(
			volume_cache(world.volume), run.addr, checksum64(block, sizeof block));
		assert_non_null(buffer);
		assert_memory_equal(buffer->data, block, sizeof block);
		cache_release(volume_cache(world.volume), buffer);
		assert_int_equal(device_read(world.dev, run.addr, found, 1), 0);
		assert_memory_not_equal(found, block, sizeof block);
		assert_int_equal(volume_checkpoint(world.volume), 0);
		assert_int_equal(device_read(world.dev, run.addr, found, 1), 0);
		assert_memory_equal(found, block, sizeof block);
		assert_false(volume_carries(world.volume));
		world_end(&world);
	}
}

/* What is given back can be taken again by the same transaction, without being admitted again. */
static void
gives_back_the_end_of_a_run(void **state)
{
	struct world world = { 0 };
	struct space *space;
	uint64_t available_blocks;
	struct run run;
	struct run again;
	struct tx *tx;

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(world_put(&world, 1, 1, 10), 0);
	space = volume_space(world.volume);
	assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
	assert_int_equal(tx_take(tx, SPACE_DATA, 0, 20, &run), 0);
	assert_int_equal(run.blocks, 20);
	available_blocks = space_available_blocks(space);
	tx_give_back(tx, (struct run){ run.addr + 8, 12 });
	assert_int_equal(space_available_blocks(space), available_blocks);
	assert_int_equal(tx_take(tx, SPACE_DATA, run.addr + 8, 12, &again), 0);
	assert_int_equal(again.addr, run.addr + 8);
	assert_int_equal(again.blocks, 12);
	assert_int_equal(space_available_blocks(space), available_blocks);
	tx_abort(tx);
	assert_int_equal(space_available_blocks(space), available_blocks + 20);
	world_end(&world);
}

/* Used from the commit on, and for two checkpoints after it was given up. */
static void
what_is_given_up_awaits_release(void **state)
{
	struct world world = { 0 };
	struct space *space;
	uint64_t free_blocks;
	struct run run;
	struct tx *tx;

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(world_put(&world, 1, 1, 10), 0);
	world_settle(&world);
	space = volume_space(world.volume);
	free_blocks = space_free_blocks(space);
	assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
	assert_int_equal(tx_take(tx, SPACE_DATA, 0, 10, &run), 0);
	assert_int_equal(tx_commit(tx), 0);
	assert_int_equal(tx_begin(world.volume, &world.visit, true, &tx), 0);
	assert_int_equal(tx_release(tx, run), 0);
	assert_int_equal(tx_commit(tx), 0);
	assert_int_equal(space_free_blocks(space), free_blocks - 10);
	assert_true(space_pending_blocks(space) >= 10);
	world_settle(&world);
	assert_int_equal(space_free_blocks(space), free_blocks);
	world_end(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_clean_volume_takes_nothing_that_the_journal_before_names),
		cmocka_unit_test(a_commit_keeps_only_what_it_took),
		cmocka_unit_test(brings_what_it_carries_to_its_place),
		cmocka_unit_test(gives_back_the_end_of_a_run),
		cmocka_unit_test(what_is_given_up_awaits_release),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
