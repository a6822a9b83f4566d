#include "unit/space/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* One random call; the model follows. */
static void
act(struct world *world)
{
	struct rng *rng = &world->rng;
	enum space_stream stream = rng_below(rng, 2) ? SPACE_DATA : SPACE_SMALL_DATA;
	struct run run;

	switch (rng_below(rng, 10)) {
	case 0:
	case 1:
		if (world_take(world, stream, 1 + (uint32_t)rng_below(rng, 60), &run))
			world_use(world, run);
		break;
	case 2:
		if (world_take(world, stream, 1 + (uint32_t)rng_below(rng, 8), &run))
			world_hold(world, run);
		break;
	case 3:
		run = world_pick_held(world);
		if (run.blocks > 1) {
			world_untake(world, (struct run){ run.addr + run.blocks - 1, 1 });
			run.blocks--;
		}
		if (run.blocks > 0 && rng_below(rng, 2))
			world_use(world, run);
		else if (run.blocks > 0)
			world_untake(world, run);
		break;
	case 4:
	case 5:
		run = world_pick_live(world);
		if (run.blocks > 0)
			world_release(world, run);
		break;
	case 6:
		run = world_pick_live(world);
		if (run.blocks > 2) { /* a hole in the middle */
			world_release(world, (struct run){ run.addr + 1, run.blocks - 2 });
		} else if (run.blocks > 0) {
			world_release(world, run);
		}
		break;
	case 7:
		(void)world_take_node(world, 1 + (uint32_t)rng_below(rng, 2), false);
		break;
	case 8:
		(void)world_take_node(world, 2, true);
		break;
	default:
		if (world->promised_blocks == 0)
			world_promise(world, 1 + (uint32_t)rng_below(rng, 150));
		else
			world_redeem(world);
	}
}

static void
act_for_a_while(struct world *world)
{
	uint64_t count = rng_below(&world->rng, 40);

	for (uint64_t i = 0; i < count; i++)
		act(world);
	world_judge_counters(world);
}

static void
run_seed(uint64_t blocks, uint32_t node_blocks, uint64_t seed)
{
	struct world world;

	print_message("# %d blocks, nodes of %u, seed %d\n", (int)blocks, node_blocks, (int)seed);
	world_init(&world, blocks, node_blocks, seed);
	space_set_reserve(world.space, 100);
	for (int i = 0; i < 60; i++) {
		act_for_a_while(&world);
		world_freeze(&world);
		act_for_a_while(&world);
		world_write(&world);
		act_for_a_while(&world);
		if (rng_below(&world.rng, 8) == 0) { /* killed before the superblock */
			world_close(&world);
			world_open(&world);
			space_set_reserve(world.space, 100);
			continue;
		}
		world_durable(&world);
		world_judge_counters(&world);
		world_judge_bitmaps(&world, &world.newest);
		if (world.previous.generation != 0)
			world_judge_bitmaps(&world, &world.previous);
		if (rng_below(&world.rng, 4) == 0) {
			world_close(&world);
			world_open(&world);
			world_judge_counters(&world);
			space_set_reserve(world.space, 100);
		}
	}
	world_fini(&world);
}

static void
does_what_the_model_does(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 6; seed++) {
		run_seed(2048, 1, seed);
		run_seed(2048, 4, seed);
		run_seed(2048 + 100, 16, seed);
	}
	run_seed(16384, 4, 7);
}

/* ---- Slots ---------------------------------------------------------------------------------- */

static void
uses_three_slots_in_turn(void **state)
{
	struct world world;

	(void)state;
	world_init(&world, 2048, 4, 1);
	for (uint8_t i = 0; i < 7; i++) {
		world_touch_all(&world);
		world_checkpoint(&world);
		assert_int_equal(world.newest.root.slot, i % 3);
		assert_int_equal(world.newest.root.previous_slot, i == 0 ? 0 : (i - 1) % 3);
		assert_int_equal(world.newest.root.generation, world.newest.generation);
	}
	world_fini(&world);
}

static void
writes_only_what_changed(void **state)
{
	struct world world;
	struct space_descriptor root;
	struct run run;
	uint64_t writes;

	(void)state;
	world_init_ags(&world, 70, 4, 1);
	world_touch_all(&world);
	world_checkpoint(&world);
	writes = device_stats(world.dev).writes;
	root = world.newest.root;
	assert_true(world_take_near(&world, 5000, 10, &run)); /* never used: nothing changes */
	world_checkpoint(&world);
	assert_int_equal(device_stats(world.dev).writes, writes);
	assert_int_equal(world.newest.root.generation, root.generation);
	assert_int_equal(world.newest.root.checksum, root.checksum);

	world_use(&world, run);
	world_checkpoint(&world);
	assert_int_equal(device_stats(world.dev).writes, writes + 3); /* one of each level */
	world_fini(&world);
}

/* What is born and freed in one period is in no bitmap, and still not free for a while. */
static void
never_writes_what_was_born_and_freed_in_one_period(void **state)
{
	struct world world;
	struct run run;
	struct run other;

	(void)state;
	world_init(&world, 2048, 4, 1);
	assert_true(world_take_near(&world, 1000, 10, &run));
	world_use(&world, run);
	world_release(&world, run);
	world_freeze(&world);
	assert_int_equal(world.frozen.awaiting_blocks, 0);
	world_write(&world);
	world_judge_bitmaps(&world, &world.frozen);
	world_durable(&world);
	assert_int_equal(space_pending_blocks(world.space), 10);
	assert_true(world_take_near(&world, 1000, 5, &other));
	assert_true(other.addr != 1000);
	world_checkpoint(&world);
	assert_int_equal(space_pending_blocks(world.space), 0);
	assert_true(world_take_near(&world, 1000, 5, &other));
	assert_int_equal(other.addr, 1000);
	world_fini(&world);
}

static void
tells_the_superblock_what_awaits_release(void **state)
{
	struct world world;
	struct run old;
	struct run young;

	(void)state;
	world_init(&world, 2048, 4, 1);
	assert_true(world_take_near(&world, 1000, 10, &old));
	world_use(&world, old);
	world_checkpoint(&world);
	assert_true(world_take_near(&world, 1010, 10, &young));
	world_use(&world, young);
	world_release(&world, (struct run){ 1005, 10 }); /* half of it is young */
	world_freeze(&world);
	assert_int_equal(world.frozen.awaiting_blocks, 5);
	world_write(&world);
	world_durable(&world);
	world_fini(&world);
}

/* ---- Readers that still look ---------------------------------------------------------------- */

struct readers {
	uint64_t oldest; /* what was freed since then is looked at */
};

static bool
nobody_looks(void *context, uint64_t freed_generation)
{
	const struct readers *readers = context;

	return freed_generation < readers->oldest;
}

static void
checkpoint_with_readers(struct world *world, struct readers *readers)
{
	world_freeze(world);
	world_write(world);
	free(world->previous.used);
	world->previous = world->newest;
	world->newest = world->frozen;
	world->frozen = (struct world_superblock){ 0 };
	space_durable(world->space, nobody_looks, readers);
	space_check(world->space);
}

static void
keeps_what_a_reader_looks_at(void **state)
{
	struct world world;
	struct readers readers;
	struct run run;

	(void)state;
	world_init(&world, 2048, 4, 1);
	assert_true(world_take_near(&world, 1000, 20, &run));
	world_use(&world, run);
	world_checkpoint(&world);
	readers.oldest = world.open_generation;
	world_release(&world, (struct run){ 1000, 10 });
	checkpoint_with_readers(&world, &readers);
	world_release(&world, (struct run){ 1010, 10 });
	for (int i = 0; i < 3; i++) {
		checkpoint_with_readers(&world, &readers);
		assert_int_equal(space_pending_blocks(world.space), 20);
	}
	readers.oldest++; /* the first reader leaves, a later one stays */
	checkpoint_with_readers(&world, &readers);
	assert_int_equal(space_pending_blocks(world.space), 10);
	readers.oldest = UINT64_MAX;
	checkpoint_with_readers(&world, &readers);
	assert_int_equal(space_pending_blocks(world.space), 0);
	world_fini(&world);
}

/* ---- Power cuts ----------------------------------------------------------------------------- */

/* The power fails in the n-th write of a checkpoint, for every n: N and P are whole. */
static bool
survives_a_cut(uint64_t calls, uint64_t seed)
{
	struct world world;
	struct space_descriptor root;
	uint64_t free_blocks;
	uint64_t awaiting;
	bool was_cut;

	world_init_ags(&world, 66, 4, seed);
	for (int i = 0; i < 3; i++) {
		world_touch_all(&world);
		for (int j = 0; j < 20; j++)
			world_release(&world, world_pick_live(&world));
		world_checkpoint(&world);
		assert_int_equal(device_flush(world.dev), 0);
	}
	world_touch_all(&world);
	space_freeze(world.space, world.open_generation + 1, &free_blocks, &awaiting);
	sim_cut_after(world.medium, calls);
	was_cut = space_write(world.space, &root) != 0;
	world_close(&world);
	device_close(world.dev);
	if (sim_is_on(world.medium))
		sim_power_off(world.medium);
	sim_power_on(world.medium, sim_choose_random, &world.rng);
	assert_int_equal(sim_open(world.medium, 0, &world.dev), 0);

	world_judge_bitmaps(&world, &world.newest);
	world_judge_bitmaps(&world, &world.previous);
	world_open(&world);
	world_judge_counters(&world);
	world_fill(&world, 50);
	assert_int_equal(space_closed_ags(world.space), 0);
	world_fini(&world);
	return was_cut;
}

static void
keeps_two_checkpoints_whole_over_any_power_cut(void **state)
{
	(void)state;
	for (uint64_t calls = 0; survives_a_cut(calls, calls + 1); calls += 3)
		assert_true(calls < 200);
}

/* ---- Parameters of the format --------------------------------------------------------------- */

static void
writes_the_parameters_with_the_first_bitmap(void **state)
{
	static uint8_t parameters[BLOCK_BYTES];
	struct world world;
	struct space_options options = { .node_blocks = 4, .parameters = parameters };
	struct space_descriptor root;
	struct space *space;
	struct run run;
	uint8_t block[BLOCK_BYTES];
	uint64_t ignored;

	(void)state;
	memset(parameters, 0x5a, sizeof parameters);
	world_init(&world, 2048, 4, 1);
	options.dev = world.dev;
	options.geometry = world.geometry;
	assert_int_equal(space_open(&options, &space), 0);
	for (uint64_t ag = 2; ag < 4; ag++) {
		assert_int_equal(space_admit(space, 1, false), 0);
		assert_int_equal(space_take(space, SPACE_DATA, ag * 256 + 50, 1, &run), 0);
		assert_int_equal(space_reserve_lists(space, 1), 0);
		space_use(space, run);
	}
	space_freeze(space, 3, &ignored, &ignored);
	assert_int_equal(space_write(space, &root), 0);
	assert_int_equal(sim_peek(world.medium, 2 * 256, block), 0);
	assert_memory_equal(block, parameters, BLOCK_BYTES);
	assert_int_equal(sim_peek(world.medium, 3 * 256, block), 0); /* a ring */
	assert_int_equal(block[0], 0);
	assert_int_equal(sim_peek(world.medium, 4 * 256, block), 0); /* not written yet */
	assert_int_equal(block[0], 0);
	space_free_all(space);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(does_what_the_model_does),
		cmocka_unit_test(uses_three_slots_in_turn),
		cmocka_unit_test(writes_only_what_changed),
		cmocka_unit_test(never_writes_what_was_born_and_freed_in_one_period),
		cmocka_unit_test(tells_the_superblock_what_awaits_release),
		cmocka_unit_test(keeps_what_a_reader_looks_at),
		cmocka_unit_test(keeps_two_checkpoints_whole_over_any_power_cut),
		cmocka_unit_test(writes_the_parameters_with_the_first_bitmap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
