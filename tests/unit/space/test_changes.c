#include "space/space_internal.h"

#include "unit/space/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
clear_run(void *context, struct run run)
{
	bool *used = context;

	for (uint64_t i = run.addr; i < run.addr + run.blocks; i++) {
		assert_true(used[i]);
		used[i] = false;
	}
}

/* Used in the newest checkpoint, with what has changed since, is what the model says. */
static void
judge(struct world *world, const bool *checkpoint)
{
	bool *used = calloc(world->geometry.blocks, sizeof *used);

	assert_non_null(used);
	memcpy(used, checkpoint, world->geometry.blocks * sizeof *used);
	for (uint64_t ag = 0; ag < world->geometry.ag_count; ag++) {
		uint8_t bitmap[BLOCK_BYTES] = { 0 };
		uint8_t none[BLOCK_BYTES] = { 0 };
		bool has_some = space_changes_used(world->space, ag, bitmap);

		assert_int_equal(has_some, memcmp(bitmap, none, sizeof bitmap) != 0);
		for (uint32_t i = 0; i < geometry_ag_size(&world->geometry, ag); i++) {
			if (bitmap[i / 8] >> i % 8 & 1)
				used[ag * world->geometry.ag_blocks + i] = true;
		}
	}
	space_changes_freed(world->space, clear_run, used);
	for (uint64_t i = 0; i < world->geometry.blocks; i++)
		assert_int_equal(used[i], world->blocks[i].used);
	free(used);
}

static void
keep(const struct world *world, bool *out_used)
{
	for (uint64_t i = 0; i < world->geometry.blocks; i++)
		out_used[i] = world->blocks[i].used;
}

static void
tells_what_came_into_use_and_what_went(void **state)
{
	struct world world;
	struct run run;
	bool *used;

	(void)state;
	world_init(&world, 2048, 4, 1);
	used = calloc(world.geometry.blocks, sizeof *used);
	assert_non_null(used);
	world_touch_all(&world);
	world_checkpoint(&world);
	keep(&world, used);
	judge(&world, used); /* nothing */

	for (int i = 0; i < 20; i++) {
		assert_true(world_take(&world, SPACE_DATA, 5, &run));
		world_use(&world, run);
		if (i % 3 == 0)
			world_release(&world, world_pick_live(&world));
		judge(&world, used);
	}
	world_freeze(&world); /* what is frozen is not in the newest checkpoint yet */
	judge(&world, used);
	world_release(&world, world_pick_live(&world));
	judge(&world, used);
	world_write(&world);
	world_durable(&world);
	free(used);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_what_came_into_use_and_what_went),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
