#include "space/space_internal.h"
#include "unit/space/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

/* Many runs that do not touch one another, so that the lists have many entries. */
static void
make_many_runs(struct world *world, uint32_t ag_count)
{
	for (uint32_t ag = 1; ag < ag_count; ag++) {
		for (uint32_t at = 20; at < 240; at += 2) {
			struct run run;

			assert_true(world_take_near(world, ag * 256 + at, 1, &run));
			world_use(world, run);
		}
	}
}

/* What is reserved once is there for releases in any later period. */
static void
keeps_reserved_memory_over_checkpoints(void **state)
{
	struct world world;
	size_t left;

	(void)state;
	world_init_ags(&world, 20, 1, 1);
	make_many_runs(&world, 20);
	left = world.live_count;
	assert_int_equal(space_reserve_lists(world.space, left), 0);
	while (left > 0) {
		for (int i = 0; i < 150 && left > 0; i++) {
			struct run run = world_pick_live(&world);

			space_release(world.space, run);
			world.blocks[run.addr].used = false;
			world.blocks[run.addr].awaiting = true;
			world.blocks[run.addr].freed_period = world.period;
			left--;
		}
		world_checkpoint(&world);
		world_judge_counters(&world);
	}
	world_fini(&world);
}

/* A freeze closes a chunk of which little is used; the rest of what was reserved must fit others.
 */
static void
keeps_reserved_memory_over_a_freeze_that_wastes_some(void **state)
{
	struct world world;

	(void)state;
	world_init_ags(&world, 20, 1, 1);
	make_many_runs(&world, 20);
	world_checkpoint(&world);
	assert_int_equal(space_reserve_lists(world.space, SPACE_CHUNK_RUNS), 0);
	space_release(world.space, world.live[0]);
	world_freeze(&world);
	for (size_t i = 1; i < SPACE_CHUNK_RUNS; i++)
		space_release(world.space, world.live[2 * i]);
	assert_int_equal(space_write(world.space, &world.newest.root), 0);
	space_durable(world.space, NULL, NULL);
	space_check(world.space);
	assert_int_equal(space_pending_blocks(world.space), SPACE_CHUNK_RUNS);
	world_fini(&world);
}

static void
gives_memory_back(void **state)
{
	struct world world;
	size_t before;

	(void)state;
	world_init(&world, 2048, 1, 1);
	before = space_list_bytes(world.space);
	assert_int_equal(space_reserve_lists(world.space, 100000), 0);
	assert_true(space_list_bytes(world.space) > before + 1600000);
	space_unreserve_lists(world.space, 100000);
	assert_true(space_list_bytes(world.space) < before + 50000);
	world_fini(&world);
}

static void
merges_neighbours(void **state)
{
	struct world world;
	struct run run;
	size_t before;

	(void)state;
	world_init(&world, 16384, 1, 1);
	assert_true(world_take_near(&world, 5000, 1000, &run));
	assert_int_equal(run.blocks, 1000);
	world_use(&world, run);
	world_checkpoint(&world);
	world_release(&world, (struct run){ 5000, 1 });
	world_release(&world, (struct run){ 5001, 1 });
	before = space_list_bytes(world.space);
	for (uint32_t i = 2; i < 1000; i++)
		world_release(&world, (struct run){ 5000 + i, 1 });
	assert_int_equal(space_list_bytes(world.space), before);
	world_checkpoint(&world);
	world_checkpoint(&world);
	world_judge_counters(&world);
	world_fini(&world);
}

/* A damaged tree may release anything. Nothing that is not used becomes free by it, or is lost. */
static void
ignores_what_was_never_handed_out(void **state)
{
	struct world world;
	struct run run;
	uint64_t free_blocks;

	(void)state;
	world_init(&world, 2048, 4, 1);
	assert_true(world_take_near(&world, 1000, 10, &run));
	world_use(&world, run);
	world_checkpoint(&world);
	world_checkpoint(&world);
	free_blocks = space_free_blocks(world.space);

	assert_int_equal(space_reserve_lists(world.space, 20), 0);
	space_release(world.space, (struct run){ 0, 1 });    /* superblock */
	space_release(world.space, (struct run){ 20, 5 });   /* journal */
	space_release(world.space, (struct run){ 250, 20 }); /* over the end of an AG */
	space_release(world.space, (struct run){ 2047, 2 }); /* past the end */
	space_release(world.space, (struct run){ UINT64_MAX, 5 });
	space_release(world.space, (struct run){ 300, UINT32_MAX });
	space_release(world.space, (struct run){ 1500, 8 }); /* free */
	space_release(world.space, (struct run){ 1005, 8 }); /* used and free */
	space_release(world.space, (struct run){ 1000, 0 }); /* nothing */
	for (int i = 0; i < 3; i++) {
		uint64_t free_at_freeze;
		uint64_t awaiting;

		space_check(world.space);
		space_freeze(world.space, world.open_generation + 1, &free_at_freeze, &awaiting);
		space_check(world.space);
		assert_int_equal(space_write(world.space, &world.newest.root), 0);
		space_check(world.space);
		space_durable(world.space, NULL, NULL);
		world.open_generation++;
	}
	assert_int_equal(space_free_blocks(world.space), free_blocks);
	assert_int_equal(space_pending_blocks(world.space), 0);
	world_judge_bitmaps(&world, &world.newest);

	/* Twice the same run: once is right. */
	space_release(world.space, (struct run){ 1000, 10 });
	space_release(world.space, (struct run){ 1000, 10 });
	for (int i = 0; i < 3; i++) {
		uint64_t free_at_freeze;
		uint64_t awaiting;

		space_freeze(world.space, world.open_generation + 1, &free_at_freeze, &awaiting);
		assert_int_equal(space_write(world.space, &world.newest.root), 0);
		space_durable(world.space, NULL, NULL);
		world.open_generation++;
		space_check(world.space);
	}
	assert_int_equal(space_free_blocks(world.space), free_blocks + 10);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_reserved_memory_over_checkpoints),
		cmocka_unit_test(keeps_reserved_memory_over_a_freeze_that_wastes_some),
		cmocka_unit_test(gives_memory_back),
		cmocka_unit_test(merges_neighbours),
		cmocka_unit_test(ignores_what_was_never_handed_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
