#include "unit/space/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

enum { AGS = 150 };

struct visits {
	uint64_t count;
	uint64_t first_ag;
	uint64_t last_ag;
	uint64_t damaged_ag; /* the last one that was reported */
	int damage;
	uint64_t damages;
	uint64_t stop_at;
};

static bool
visit(void *context, uint64_t ag, const struct space_descriptor *descriptor, const uint8_t *bitmap,
	int result)
{
	struct visits *visits = context;

	assert_non_null(descriptor);
	if (visits->count == 0)
		visits->first_ag = ag;
	else
		assert_true(ag > visits->last_ag);
	visits->last_ag = ag;
	visits->count++;
	if (result) {
		assert_null(bitmap);
		visits->damage = result;
		visits->damaged_ag = ag;
		visits->damages++;
	}
	return visits->count != visits->stop_at;
}

static struct visits
walk(struct world *world, uint64_t first_ag, uint64_t ag_count, uint64_t stop_at)
{
	struct visits visits = { .stop_at = stop_at };

	assert_int_equal(space_walk(world->dev, &world->geometry, world->uuid, &world->newest.root,
				 first_ag, ag_count, visit, &visits),
		0);
	return visits;
}

static void
init(struct world *world)
{
	world_init_ags(world, AGS, 1, 1);
	world_touch_all(world);
	world_checkpoint(world);
}

static void
visits_the_groups_asked_for(void **state)
{
	struct world world;
	struct visits visits;

	(void)state;
	init(&world);
	visits = walk(&world, 0, AGS, 0);
	assert_int_equal(visits.count, AGS);
	visits = walk(&world, 60, 10, 0);
	assert_int_equal(visits.count, 10);
	assert_int_equal(visits.first_ag, 60);
	assert_int_equal(visits.last_ag, 69);
	visits = walk(&world, 140, UINT64_MAX, 0);
	assert_int_equal(visits.count, 10);
	visits = walk(&world, AGS, 5, 0);
	assert_int_equal(visits.count, 0);
	visits = walk(&world, 0, AGS, 70);
	assert_int_equal(visits.count, 70);
	world_fini(&world);
}

static void
damage(struct world *world, uint32_t level, uint64_t ag)
{
	for (uint32_t slot = 0; slot < SPACE_SLOTS; slot++)
		assert_int_equal(
			sim_flip_bit(world->medium,
				geometry_space_block(&world->geometry, level, ag, slot), 77),
			0);
}

static void
goes_on_after_damage(void **state)
{
	struct world world;
	struct visits visits;

	(void)state;
	init(&world);
	damage(&world, 0, 33);
	visits = walk(&world, 0, AGS, 0);
	assert_int_equal(visits.count, AGS);
	assert_int_equal(visits.damages, 1);
	assert_int_equal(visits.damaged_ag, 33);
	assert_int_equal(visits.damage, COP_ECHECKSUM);

	damage(&world, 1, 64);
	visits = walk(&world, 0, AGS, 0);
	assert_int_equal(visits.count, AGS - 63);
	assert_int_equal(visits.damages, 2);
	assert_int_equal(visits.damaged_ag, 64);
	visits = walk(&world, 100, 40, 0); /* begins inside */
	assert_int_equal(visits.count, 1 + 12);
	assert_int_equal(visits.damaged_ag, 100);
	assert_int_equal(visits.last_ag, 139);

	damage(&world, 2, 0);
	visits = walk(&world, 0, AGS, 0);
	assert_int_equal(visits.count, 1);
	assert_int_equal(visits.damages, 1);
	world_fini(&world);
}

static void
refuses_a_root_that_makes_no_sense(void **state)
{
	struct world world;
	struct visits visits = { 0 };

	(void)state;
	init(&world);
	world.newest.root.free_blocks = UINT64_MAX;
	assert_int_equal(space_walk(world.dev, &world.geometry, world.uuid, &world.newest.root, 0,
				 AGS, visit, &visits),
		COP_EFORMAT);
	assert_int_equal(visits.count, 0);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(visits_the_groups_asked_for),
		cmocka_unit_test(goes_on_after_damage),
		cmocka_unit_test(refuses_a_root_that_makes_no_sense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
