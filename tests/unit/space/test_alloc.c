#include "unit/space/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void
begins_at_the_goal_and_goes_on_from_there(void **state)
{
	struct world world;
	struct run run;
	struct run next;

	(void)state;
	world_init(&world, 16384, 4, 1);
	assert_true(world_take_near(&world, 5000, 100, &run));
	assert_int_equal(run.addr, 5000);
	assert_int_equal(run.blocks, 100);
	assert_true(world_take_near(&world, 5000, 10, &run)); /* taken: the next free one */
	assert_int_equal(run.addr, 5100);

	assert_true(world_take(&world, SPACE_DATA, 33, &run));
	assert_true(world_take(&world, SPACE_DATA, 50, &next));
	assert_int_equal(next.addr, run.addr + run.blocks);
	world_fini(&world);
}

static void
keeps_streams_apart(void **state)
{
	struct world world;
	struct run run;
	struct run small;
	struct run next;

	(void)state;
	world_init(&world, 16384, 4, 1);
	assert_true(world_take(&world, SPACE_DATA, 1, &run));
	assert_true(world_take(&world, SPACE_SMALL_DATA, 1, &small));
	assert_true(world_take(&world, SPACE_DATA, 1, &next));
	assert_int_equal(next.addr, run.addr + 1);
	assert_true(small.addr / 2048 != run.addr / 2048);
	world_fini(&world);
}

static void
takes_the_longest_when_none_is_long_enough(void **state)
{
	struct world world;
	struct run run;
	struct run small = { 0 };

	(void)state;
	world_init(&world, 2048, 1, 1);
	world_fill(&world, 256);
	for (size_t i = 0; i < world.live_count; i++) { /* a hole of 5 and some of 3 */
		run = world.live[i];
		if (run.blocks < 20)
			continue;
		if (small.blocks == 0)
			small = (struct run){ run.addr + 10, 5 };
		world_release(
			&world, (struct run){ run.addr + 10, small.addr == run.addr + 10 ? 5 : 3 });
		world.live[i].blocks = 10;
	}
	for (int i = 0; i < 2; i++)
		world_checkpoint(&world);
	assert_true(world_take(&world, SPACE_DATA, 8, &run));
	assert_int_equal(run.addr, small.addr);
	assert_int_equal(run.blocks, 5);
	assert_true(world_take(&world, SPACE_DATA, 8, &run));
	assert_int_equal(run.blocks, 3);
	world_fini(&world);
}

static void
fills_and_empties_a_hundred_times(uint64_t blocks, uint32_t node_blocks)
{
	struct world world;
	uint64_t free_blocks;

	world_init(&world, blocks, node_blocks, blocks + node_blocks);
	space_set_reserve(world.space, 64);
	free_blocks = space_free_blocks(world.space);
	for (int i = 0; i < 100; i++) {
		world_fill(&world, 1 + (uint32_t)rng_below(&world.rng, 200));
		assert_int_equal(space_available_blocks(world.space), 0);
		assert_int_equal(space_free_blocks(world.space), 64);
		world_checkpoint(&world);
		if (i % 10 == 0) {
			world_close(&world);
			world_open(&world);
			space_set_reserve(world.space, 64);
		}
		world_judge_counters(&world);
		world_empty(&world);
		assert_int_equal(space_free_blocks(world.space), free_blocks);
		assert_int_equal(space_pending_blocks(world.space), 0);
	}
	world_fini(&world);
}

static void
fills_and_empties_without_a_loss(void **state)
{
	(void)state;
	fills_and_empties_a_hundred_times(2048, 1);
	fills_and_empties_a_hundred_times(2048, 4);
	fills_and_empties_a_hundred_times(16384 + 77, 4);
}

/* Every run of one block is freed or not by a coin: nearly no node place would be left. */
static void
keeps_node_places_from_data(void **state)
{
	enum { RESERVE = 160, NODES = RESERVE / 8 };
	struct world world;
	struct run run;

	(void)state;
	world_init(&world, 4096, 4, 1);
	space_set_reserve(world.space, RESERVE);
	for (int round = 0; round < 8; round++) {
		size_t count;

		world_fill(&world, 1);
		count = world.live_count / 2;
		for (size_t i = 0; i < count; i++)
			world_release(&world, world_pick_live(&world));
		world_checkpoint(&world);
		world_checkpoint(&world);
		if (round % 2 == 0) {
			world_close(&world);
			world_open(&world);
			space_set_reserve(world.space, RESERVE);
		}
		world_judge_counters(&world);
	}
	world_fill(&world, 1);
	assert_false(world_take(&world, SPACE_DATA, 1, &run));
	assert_false(world_take_node(&world, 2, false));
	for (int i = 0; i < NODES; i++)
		assert_true(world_take_node(&world, 2, true));
	assert_false(world_take_node(&world, 2, true));
	assert_int_equal(space_free_blocks(world.space), 0);
	world_fini(&world);
}

/* Ordinary nodes too leave the reserve's places alone, while there are single blocks enough. */
static void
keeps_node_places_from_ordinary_nodes(void **state)
{
	enum { RESERVE = 160, NODES = RESERVE / 8 };
	struct world world;
	int nodes = 0;

	(void)state;
	world_init(&world, 4096, 4, 1);
	space_set_reserve(world.space, RESERVE);
	world_fill(&world, 1);
	for (size_t i = 0; i < world.live_count;) { /* every second block is free */
		if (world.live[i].addr % 2 == 0) {
			world_release(&world, world.live[i]);
			world.live_count--;
			world.live[i] = world.live[world.live_count];
		} else {
			i++;
		}
	}
	world_checkpoint(&world);
	world_checkpoint(&world);
	assert_true(space_available_blocks(world.space) > 1000);
	assert_false(world_take_node(&world, 2, false));
	while (world_take_node(&world, 2, true))
		nodes++;
	assert_true(nodes >= NODES);
	world_fini(&world);
}

static void
looks_at_few_bitmaps_of_a_full_volume(void **state)
{
	struct world world;
	struct run run;
	struct run hole;
	uint64_t reads;

	(void)state;
	world_init_ags(&world, 300, 1, 1);
	world_fill(&world, 256);
	hole = world.live[world.live_count / 2];
	world_release(&world, hole);
	for (int i = 0; i < 3; i++)
		world_checkpoint(&world);
	world_close(&world);
	world_open(&world);
	reads = device_stats(world.dev).reads;
	assert_true(world_take(&world, SPACE_DATA, 20, &run));
	assert_true(run.addr >= hole.addr && run.addr + run.blocks <= hole.addr + hole.blocks);
	assert_true(device_stats(world.dev).reads - reads <= 4); /* one bitmap and its path */
	world_fini(&world);
}

static void
gives_what_was_never_named_back_at_once(void **state)
{
	struct world world;
	struct run run;
	uint64_t available;

	(void)state;
	world_init(&world, 2048, 4, 1);
	available = space_available_blocks(world.space);
	assert_int_equal(space_admit(world.space, 50, false), 0);
	assert_int_equal(space_take(world.space, SPACE_DATA, 900, 50, &run), 0);
	assert_int_equal(space_available_blocks(world.space), available - 50);
	space_untake(world.space, (struct run){ run.addr + 20, 30 });
	space_untake(world.space, (struct run){ run.addr, 20 });
	assert_int_equal(space_available_blocks(world.space), available - 50); /* admitted still */
	space_unadmit(world.space, 50);
	assert_int_equal(space_available_blocks(world.space), available);
	assert_true(world_take_near(&world, 900, 50, &run));
	assert_int_equal(run.addr, 900);
	assert_int_equal(run.blocks, 50);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(begins_at_the_goal_and_goes_on_from_there),
		cmocka_unit_test(keeps_streams_apart),
		cmocka_unit_test(takes_the_longest_when_none_is_long_enough),
		cmocka_unit_test(fills_and_empties_without_a_loss),
		cmocka_unit_test(keeps_node_places_from_data),
		cmocka_unit_test(keeps_node_places_from_ordinary_nodes),
		cmocka_unit_test(looks_at_few_bitmaps_of_a_full_volume),
		cmocka_unit_test(gives_what_was_never_named_back_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
