#include "unit/space/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* One random call; the model follows. */
static void
act(struct world *world)
{
	struct rng *rng = &world->rng;
	enum space_stream stream = rng_below(rng, 2) ? SPACE_DATA : SPACE_SMALL_DATA;
	struct run run;

	switch (rng_below(rng, 8)) {
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
	default:
		(void)world_take_node(world, 1 + (uint32_t)rng_below(rng, 2), false);
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(does_what_the_model_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
