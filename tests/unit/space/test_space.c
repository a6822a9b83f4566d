#include "space/space.h"

#include "unit/space/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void
admits_down_to_the_reserve(void **state)
{
	struct world world;
	uint64_t free_blocks;

	(void)state;
	world_init(&world, 2048, 4, 1);
	free_blocks = space_free_blocks(world.space);
	assert_int_equal(free_blocks, 2048 - geometry_fixed_blocks_total(&world.geometry));
	space_set_reserve(world.space, 98);
	assert_int_equal(space_available_blocks(world.space), free_blocks - 100); /* whole nodes */

	assert_int_equal(space_admit(world.space, free_blocks - 99, false), COP_ENOSPC);
	assert_int_equal(space_admit(world.space, free_blocks - 100, false), 0);
	assert_int_equal(space_available_blocks(world.space), 0);
	assert_int_equal(space_admit(world.space, 1, false), COP_ENOSPC);
	assert_int_equal(space_admit_growing(world.space, 67), COP_ENOSPC); /* a third is left */
	assert_int_equal(space_admit_growing(world.space, 66), 0);
	assert_int_equal(space_admit_growing(world.space, 1), COP_ENOSPC);
	space_unadmit(world.space, 66);
	assert_int_equal(space_admit(world.space, 101, true), COP_ENOSPC);
	assert_int_equal(space_admit(world.space, 100, true), 0);
	assert_int_equal(space_admit(world.space, 1, true), COP_ENOSPC);
	assert_int_equal(
		space_free_blocks(world.space), free_blocks); /* promises are not takings */

	space_unadmit(world.space, free_blocks);
	assert_int_equal(space_available_blocks(world.space), free_blocks - 100);
	world_fini(&world);
}

static void
refuses_numbers_that_would_overflow(void **state)
{
	struct world world;

	(void)state;
	world_init(&world, 2048, 1, 1);
	assert_int_equal(space_admit(world.space, UINT64_MAX, false), COP_ENOSPC);
	assert_int_equal(space_admit(world.space, 10, false), 0);
	assert_int_equal(space_admit(world.space, UINT64_MAX - 5, true), COP_ENOSPC);
	space_unadmit(world.space, 10);
	world_fini(&world);
}

static void
opens_without_reading(void **state)
{
	struct world world;
	uint64_t reads;

	(void)state;
	world_init(&world, 2048, 4, 1);
	world_touch_all(&world);
	world_checkpoint(&world);
	world_touch_all(&world);
	world_checkpoint(&world);
	world_close(&world);
	reads = device_stats(world.dev).reads;
	world_open(&world);
	world_judge_counters(&world);
	assert_int_equal(device_stats(world.dev).reads, reads);
	world_fini(&world);
}

static void
refuses_roots_that_make_no_sense(void **state)
{
	struct world world;
	struct world_superblock good;
	struct space *space = NULL;

	(void)state;
	world_init(&world, 2048, 4, 1);
	world_touch_all(&world);
	world_checkpoint(&world);
	good = world.newest;

	world.newest.root.generation = good.generation + 1; /* newer than its superblock */
	assert_int_equal(world_try_open(&world, &space), COP_EFORMAT);
	world.newest = good;
	world.newest.root.free_blocks = 2048;
	assert_int_equal(world_try_open(&world, &space), COP_EFORMAT);
	world.newest = good;
	world.newest.root.longest_class = 20;
	assert_int_equal(world_try_open(&world, &space), COP_EFORMAT);
	world.newest = good;
	world.newest.awaiting_blocks = good.root.free_blocks + 1;
	assert_int_equal(world_try_open(&world, &space), COP_EFORMAT);
	world.newest = good;
	world.previous.root.free_blocks = UINT64_MAX;
	world.previous.root.generation = 1;
	assert_int_equal(world_try_open(&world, &space), COP_EFORMAT);
	assert_null(space);

	assert_int_equal(world_try_open(&world, &space), COP_EFORMAT);
	world.previous.root = (struct space_descriptor){ 0 };
	assert_int_equal(world_try_open(&world, &space), 0);
	space_free_all(space);
	world_fini(&world);
}

static void
accepts_nothing_to_free(void **state)
{
	(void)state;
	space_free_all(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(admits_down_to_the_reserve),
		cmocka_unit_test(refuses_numbers_that_would_overflow),
		cmocka_unit_test(opens_without_reading),
		cmocka_unit_test(refuses_roots_that_make_no_sense),
		cmocka_unit_test(accepts_nothing_to_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
