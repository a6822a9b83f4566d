#include "volume/volume_internal.h"
#include "world.h"

#include <stdarg.h>
#include <stddef.h>

#include <setjmp.h>

#include <cmocka.h>

static void
an_aborted_transaction_leaves_nothing(void **state)
{
	struct world world = { 0 };
	uint8_t key[OBJECT_KEY_BYTES];
	struct space *space;
	uint64_t free_blocks;
	uint64_t available_blocks;
	struct run run;
	struct tx *tx;

	(void)state;
	world_format(&world, 8 << 20, 0);
	space = volume_space(world.volume);
	free_blocks = space_free_blocks(space);
	available_blocks = space_available_blocks(space);
	assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
	assert_int_equal(tx_admit(tx, 50), 0);
	assert_int_equal(tx_take(tx, SPACE_DATA, 0, 32, &run), 0);
	tx_give_back(tx, (struct run){ run.addr + run.blocks - 1, 1 });
	assert_int_equal(tx_put(tx, world_objects, world_key(key, 1), view_of("x", 1)), 0);
	tx_abort(tx);
	assert_int_equal(space_free_blocks(space), free_blocks);
	assert_int_equal(space_available_blocks(space), available_blocks);
	assert_int_equal(world_get(&world, 1), COP_ENOENT);
	assert_false(volume_is_dirty(world.volume));
	world_end(&world);
}

/* Invariant 4: what is committed after a failure can never become durable. */
static void
a_transaction_begun_before_a_failure_is_refused_after_it(void **state)
{
	struct world world = { 0 };
	uint8_t key[OBJECT_KEY_BYTES];
	struct tx *tx;

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(world_put(&world, 1, 1, 10), 0);
	assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
	assert_int_equal(tx_put(tx, world_objects, world_key(key, 2), view_of("x", 1)), 0);
	sim_cut_after(world.medium, 0);
	assert_int_equal(volume_checkpoint(world.volume), COP_EIO);
	assert_int_equal(tx_commit(tx), COP_EIO);
	assert_non_null(strstr(err_text(), "no more changes"));
	assert_int_equal(world_get(&world, 2), COP_ENOENT);
	world_close(&world);
	sim_free(world.medium);
}

static void
a_commit_in_a_warm_cache_calls_no_device(void **state)
{
	struct world world = { 0 };
	struct sim_stats before;
	struct sim_stats after;

	(void)state;
	world_format(&world, 64 << 20, 0);
	for (uint32_t i = 0; i < 2000; i++)
		assert_int_equal(world_put(&world, i, (uint8_t)i, 100), 0);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	assert_int_equal(world_put(&world, 0, 1, 100), 0); /* the pool of node places is filled */

	before = sim_stats(world.medium);
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(world_put(&world, i * 2, (uint8_t)~i, 100), 0);
	after = sim_stats(world.medium);
	assert_int_equal(after.calls, before.calls);
	assert_int_equal(after.reads, before.reads);
	world_end(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_aborted_transaction_leaves_nothing),
		cmocka_unit_test(a_transaction_begun_before_a_failure_is_refused_after_it),
		cmocka_unit_test(a_commit_in_a_warm_cache_calls_no_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
