#include "unit/space/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void
lays_copies_in_different_groups(void **state)
{
	struct world world;

	(void)state;
	world_init(&world, 2048, 4, 1);
	for (int i = 0; i < 150; i++) {
		struct run first;
		struct run second;

		assert_true(world_take_node(&world, 2, false));
		second = world.live[world.live_count - 1];
		first = world.live[world.live_count - 2];
		assert_true(first.addr / 256 != second.addr / 256);
		assert_int_equal(first.addr % 4, 0);
		assert_int_equal(second.addr % 4, 0);
	}
	world_fini(&world);
}

static void
lays_copies_half_a_device_apart_while_there_is_room(void **state)
{
	struct world world;

	(void)state;
	world_init(&world, 16384, 4, 1);
	for (int i = 0; i < 20; i++) {
		assert_true(world_take_node(&world, 2, false));
		assert_int_equal(world.live[world.live_count - 2].addr / 8192, 0);
		assert_int_equal(world.live[world.live_count - 1].addr / 8192, 1);
	}
	world_fini(&world);
}

/* A copy in the same group is better than no node. */
static void
uses_the_last_two_places_of_one_group(void **state)
{
	struct world world;
	struct run run = { 0 };

	(void)state;
	world_init(&world, 2048, 4, 1);
	world_fill(&world, 256);
	for (size_t i = 0; i < world.live_count; i++) {
		if (world.live[i].blocks >= 16)
			run = world.live[i];
	}
	world_release(&world, (struct run){ (run.addr + 3) / 4 * 4, 8 });
	world_checkpoint(&world);
	world_checkpoint(&world);
	assert_true(world_take_node(&world, 2, false));
	assert_int_equal(world.live[world.live_count - 2].addr / 256, run.addr / 256);
	assert_int_equal(world.live[world.live_count - 1].addr / 256, run.addr / 256);
	assert_false(world_take_node(&world, 2, false));
	world_fini(&world);
}

static void
counts_a_node_when_it_is_taken(void **state)
{
	struct world world;
	uint64_t free_blocks;
	uint64_t available;
	uint64_t addr;
	uint64_t addr2;

	(void)state;
	world_init(&world, 2048, 4, 1);
	free_blocks = space_free_blocks(world.space);
	available = space_available_blocks(world.space);
	assert_int_equal(space_admit(world.space, 80, false), 0);
	assert_int_equal(space_reserve_nodes(world.space, 10, false), 0);
	assert_int_equal(space_free_blocks(world.space), free_blocks);
	assert_int_equal(space_available_blocks(world.space), available - 80);
	space_check(world.space);

	space_take_node(world.space, 2, &addr, &addr2);
	space_take_node(world.space, 1, &addr, &addr2);
	assert_int_equal(addr2, 0);
	space_take_node(world.space, 1, &addr, &addr2);
	assert_int_equal(space_free_blocks(world.space), free_blocks - 16);
	assert_int_equal(space_available_blocks(world.space), available - 80);
	space_check(world.space);

	space_unreserve_nodes(world.space, 7);
	space_unadmit(world.space, 80 - 16);
	assert_int_equal(space_free_blocks(world.space), free_blocks - 16);
	assert_int_equal(space_available_blocks(world.space), available - 16);
	space_check(world.space);
	world_fini(&world);
}

static void
has_single_places_where_nodes_have_one_copy(void **state)
{
	struct world world;
	uint64_t addr;
	uint64_t addr2 = 1;

	(void)state;
	world_init(&world, 2048, 4, 1);
	world_close(&world);
	world.node_copies = 1;
	world_open(&world);
	assert_int_equal(space_admit(world.space, 40, false), 0);
	assert_int_equal(space_reserve_nodes(world.space, 10, false), 0);
	for (int i = 0; i < 10; i++) {
		space_take_node(world.space, 1, &addr, &addr2);
		assert_int_equal(addr2, 0);
	}
	space_check(world.space);
	world_fini(&world);
}

static void
leaves_nothing_behind_when_there_is_no_room(void **state)
{
	struct world world;
	uint64_t free_blocks;

	(void)state;
	world_init(&world, 2048, 4, 1);
	free_blocks = space_free_blocks(world.space);
	assert_int_equal(space_admit(world.space, 100, false), 0);
	assert_int_equal(space_reserve_nodes(world.space, 300, false), COP_ENOSPC);
	assert_int_equal(space_free_blocks(world.space), free_blocks);
	space_check(world.space);
	assert_int_equal(space_reserve_nodes(world.space, 12, false), 0);
	space_unreserve_nodes(world.space, 12);
	space_unadmit(world.space, 100);
	world_fill(&world, 200); /* the pool's surplus is data's when nothing else is left */
	assert_int_equal(space_free_blocks(world.space), 0);
	world_judge_counters(&world);
	world_fini(&world);
}

static void
goes_on_where_it_gave_back(void **state)
{
	struct world world;
	uint64_t first;
	uint64_t addr;
	uint64_t addr2;

	(void)state;
	world_init(&world, 16384, 4, 1);
	assert_int_equal(space_admit(world.space, 4000, false), 0);
	assert_int_equal(space_reserve_nodes(world.space, 1, false), 0);
	space_take_node(world.space, 2, &first, &addr2);
	for (int i = 1; i <= 50; i++) { /* each reserves much and takes one */
		assert_int_equal(space_reserve_nodes(world.space, 40, false), 0);
		space_take_node(world.space, 2, &addr, &addr2);
		space_unreserve_nodes(world.space, 39);
		assert_int_equal(addr, first + (uint64_t)i * 4);
	}
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lays_copies_in_different_groups),
		cmocka_unit_test(lays_copies_half_a_device_apart_while_there_is_room),
		cmocka_unit_test(uses_the_last_two_places_of_one_group),
		cmocka_unit_test(counts_a_node_when_it_is_taken),
		cmocka_unit_test(has_single_places_where_nodes_have_one_copy),
		cmocka_unit_test(leaves_nothing_behind_when_there_is_no_room),
		cmocka_unit_test(goes_on_where_it_gave_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
