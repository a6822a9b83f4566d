#include "world.h"

#include "space/geometry.h"
#include "volume/volume.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Flips a bit of the block of `level` that `ag` begins, in every slot. */
static void
damage(struct world *world, uint32_t level, uint64_t ag)
{
	struct superblock newest;
	struct superblock previous;
	struct geometry geometry;

	must(volume_find_superblock(world->dev, &newest, &previous));
	must(geometry_init(&geometry, newest.blocks, newest.ag_blocks, newest.journal_blocks));
	for (uint32_t slot = 0; slot < 3; slot++)
		must(sim_flip_bit(
			world->medium, geometry_space_block(&geometry, level, ag, slot), 9));
}

static struct cop_survey
survey_of(struct world *world)
{
	struct cop_survey survey = COP_INIT(survey);

	must(cop_survey_on(world->dev, &survey));
	return survey;
}

static void
tells_which_groups_are_closed(void **state)
{
	struct world world;
	struct cop_survey survey;
	struct cop_space space = COP_INIT(space);

	(void)state;
	world_init_on_sim(&world, 16 << 20, 1);
	must(cop_sync(world.volume));
	must(cop_space(world.volume, &space));
	survey = survey_of(&world);
	assert_int_equal(survey.groups, 8);
	assert_int_equal(survey.closed_groups, 0);
	assert_int_equal(survey.closed_bytes, 0);

	damage(&world, 0, 0);
	survey = survey_of(&world);
	assert_int_equal(survey.closed_groups, 1);
	assert_in_range(survey.closed_bytes, 1, (16 << 20) / 8);
	damage(&world, 0, 0); /* whole again */

	damage(&world, 1, 0);
	survey = survey_of(&world);
	assert_int_equal(survey.closed_groups, 8);
	assert_int_equal(survey.closed_bytes, space.free_bytes + space.pending_bytes);
	damage(&world, 1, 0);

	assert_int_equal(survey_of(&world).closed_groups, 0);
	world_fini(&world);
}

/* An open volume knows of the damage that it has met, and its errors tell of it. */
static void
an_open_volume_counts_what_it_has_met(void **state)
{
	struct world world;
	struct cop_space space = COP_INIT(space);
	struct cop_object *file = NULL;
	struct cop_new new = COP_INIT(new);

	(void)state;
	world_init_on_sim(&world, 16 << 20, 1);
	must(cop_sync(world.volume));
	damage(&world, 1, 0);
	world_reopen(&world, true);
	new.kind = COP_FILE;
	assert_int_equal(cop_create(world.root, "name", 4, &new, &file), COP_ENOSPC);
	assert_non_null(strstr(cop_error_text(), "8 of 8 allocation groups are closed by damage"));
	must(cop_space(world.volume, &space));
	assert_int_equal(space.closed_groups, 8);
	assert_int_equal(space.free_bytes, 0);
	damage(&world, 1, 0);
	world_reopen(&world, true);
	must(cop_create(world.root, "name", 4, &new, &file));
	cop_release(file);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_which_groups_are_closed),
		cmocka_unit_test(an_open_volume_counts_what_it_has_met),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
