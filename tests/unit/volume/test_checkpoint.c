#include "base/random.h"
#include "volume/volume_internal.h"
#include "world.h"

#include <stdarg.h>
#include <stddef.h>

#include <setjmp.h>

#include <cmocka.h>

static void
keeps_what_a_checkpoint_made_durable(void **state)
{
	struct world world = { 0 };

	(void)state;
	world_format(&world, 8 << 20, 0);
	for (uint32_t i = 0; i < 500; i++)
		assert_int_equal(world_put(&world, i, (uint8_t)i, 100), 0);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	assert_int_equal(world_put(&world, 0, 99, 100), 0);
	assert_int_equal(world_get(&world, 0), 99);
	world_reopen(&world);
	assert_int_equal(world_get(&world, 0), 0);
	for (uint32_t i = 0; i < 500; i++)
		assert_int_equal(world_get(&world, i), (uint8_t)i);
	assert_int_equal(world_get(&world, 500), COP_ENOENT);
	world_end(&world);
}

static void
random_changes_survive_reopening(void **state)
{
	enum { KEYS = 400, STEPS = 6000 };
	struct world world = { 0 };
	int model[KEYS];
	int durable[KEYS];
	struct rng rng;

	(void)state;
	rng_seed(&rng, 4711);
	world_format(&world, 16 << 20, 0);
	for (int i = 0; i < KEYS; i++)
		model[i] = durable[i] = COP_ENOENT;
	for (int step = 0; step < STEPS; step++) {
		uint32_t number = (uint32_t)rng_below(&rng, KEYS);

		if (rng_below(&rng, 3) > 0) {
			model[number] = (int)rng_below(&rng, 256);
			assert_int_equal(world_put(&world, number, (uint8_t)model[number],
						 1 + rng_below(&rng, 500)),
				0);
		} else {
			model[number] = COP_ENOENT;
			assert_int_equal(world_delete(&world, number), 0);
		}
		if (rng_below(&rng, 100) == 0) {
			assert_int_equal(volume_checkpoint(world.volume), 0);
			memcpy(durable, model, sizeof model);
		}
		if (rng_below(&rng, 500) == 0) {
			world_reopen(&world);
			memcpy(model, durable, sizeof model);
			for (uint32_t i = 0; i < KEYS; i++)
				assert_int_equal(world_get(&world, i), model[i]);
		}
	}
	world_end(&world);
}

/* ---- Failure --------------------------------------------------------------------------------- */

static void
a_failed_write_ends_writing_and_says_so(void **state)
{
	struct world world = { 0 };

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(world_put(&world, 1, 1, 10), 0);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	assert_int_equal(world_put(&world, 2, 2, 10), 0);
	sim_cut_after(world.medium, 0);
	assert_int_equal(volume_checkpoint(world.volume), COP_EIO);
	assert_int_equal(volume_checkpoint(world.volume), COP_EIO);
	assert_int_equal(world_put(&world, 3, 3, 10), COP_EIO);
	assert_non_null(strstr(err_text(), "no more changes"));
	assert_int_equal(world_get(&world, 1), 1);
	assert_true(volume_is_dirty(world.volume)); /* what was committed is not durable */
	world_end(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_what_a_checkpoint_made_durable),
		cmocka_unit_test(random_changes_survive_reopening),
		cmocka_unit_test(a_failed_write_ends_writing_and_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
