/*
 * What is found bad while a volume is being opened is written only when the journal has nothing
 * against it; afterwards at once.
 */

#include "volume/volume_internal.h"
#include "world.h"

#include <stdarg.h>
#include <stddef.h>

#include <setjmp.h>

#include <cmocka.h>

enum { VOLUME_BYTES = 8 << 20, MANY = 100 };

static const uint64_t at = 1000; /* nobody's: the volume is nearly empty */
static uint8_t good[2 * BLOCK_BYTES];

static void
begin(struct world *world)
{
	uint8_t found[BLOCK_BYTES];

	*world = (struct world){ 0 };
	memset(good, 7, sizeof good);
	world_format(world, VOLUME_BYTES, 0);
	assert_int_equal(sim_peek(world->medium, at, found), 0);
	assert_int_equal(found[0], 0);
}

static bool
is_written(struct world *world, uint64_t addr)
{
	uint8_t found[BLOCK_BYTES];

	assert_int_equal(device_read(world->dev, addr, found, 1), 0);
	return memcmp(found, good, sizeof found) == 0;
}

static void
an_open_volume_repairs_at_once(void **state)
{
	struct world world;

	(void)state;
	begin(&world);
	volume__hook_repair(world.volume, at, good, 2);
	assert_true(is_written(&world, at) && is_written(&world, at + 1));
	assert_int_equal(volume_stats(world.volume).repairs, 1);
	world_end(&world);
}

static void
repairs_are_held_until_the_journal_has_been_asked(void **state)
{
	struct world world;

	(void)state;
	begin(&world);
	world.volume->may_repair = false;
	for (uint64_t i = 0; i < MANY; i++) /* the last ones are left to the next reader */
		volume__hook_repair(world.volume, at + 2 * i, good, 2);
	assert_int_equal(volume_stats(world.volume).repairs, 0);
	assert_false(is_written(&world, at));
	volume__repairs_begin(world.volume);
	assert_true(is_written(&world, at) && is_written(&world, at + 1));
	assert_false(is_written(&world, at + 2 * (MANY - 1)));
	assert_in_range(volume_stats(world.volume).repairs, 1, MANY - 1);
	volume__hook_repair(world.volume, at + 2 * (MANY - 1), good, 2);
	assert_true(is_written(&world, at + 2 * (MANY - 1)));
	world_end(&world);
}

static void
repairs_of_an_opening_that_fails_are_forgotten(void **state)
{
	struct world world;

	(void)state;
	begin(&world);
	world.volume->may_repair = false;
	volume__hook_repair(world.volume, at, good, 2);
	world_reopen(&world);
	assert_false(is_written(&world, at));
	world_end(&world);
}

static void
a_reader_repairs_nothing(void **state)
{
	struct world world;

	(void)state;
	begin(&world);
	assert_int_equal(volume_checkpoint_clean(world.volume), 0);
	world.read_only = true;
	world_reopen(&world);
	volume__hook_repair(world.volume, at, good, 2);
	assert_false(is_written(&world, at));
	world_end(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_open_volume_repairs_at_once),
		cmocka_unit_test(repairs_are_held_until_the_journal_has_been_asked),
		cmocka_unit_test(repairs_of_an_opening_that_fails_are_forgotten),
		cmocka_unit_test(a_reader_repairs_nothing),
	};

	return cmocka_run_group_tests_name("volume/repairs", tests, NULL, NULL);
}
