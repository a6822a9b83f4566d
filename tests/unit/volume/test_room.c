#include "support/alloc.h"
#include "volume/room_internal.h"
#include "world.h"

#include <stdarg.h>
#include <stddef.h>

#include <setjmp.h>

#include <cmocka.h>

/* What is promised stays so, whoever else asks, and comes back with what was not taken. */
static void
uses_what_was_promised_to_it(void **state)
{
	struct world world = { 0 };
	struct promise promise = { 0 };
	uint8_t key[OBJECT_KEY_BYTES];
	struct space *space;
	uint64_t available_blocks;
	uint64_t rest;
	struct run run;
	struct tx *tx;

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(world_put(&world, 2, 1, 10), 0);
	space = volume_space(world.volume);
	available_blocks = space_available_blocks(space);
	assert_int_equal(volume_promise(world.volume, 10, 0, 1, &promise), 0);
	assert_int_equal(promise.data_blocks, 10);
	assert_int_equal(space_available_blocks(space),
		available_blocks - promise.data_blocks - promise.node_blocks);
	assert_int_equal(volume_promise(world.volume, 12, 0, 1, &promise), 0); /* two more */
	assert_int_equal(promise.data_blocks, 12);
	rest = space_available_blocks(space);
	assert_int_equal(space_admit(space, rest, false), 0);
	assert_int_equal(volume_promise(world.volume, 13, 0, 1, &promise), COP_ENOSPC);
	assert_int_equal(promise.data_blocks, 12);

	assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
	tx_use_promise(tx, &promise);
	assert_int_equal(tx_admit(tx, 8), 0);
	assert_int_equal(tx_take(tx, SPACE_DATA, 0, 4, &run), 0);
	assert_int_equal(tx_put(tx, world_objects, world_key(key, 1), view_of("x", 1)), 0);
	assert_int_equal(tx_commit(tx), 0);
	assert_int_equal(promise.data_blocks, 12 - run.blocks);
	assert_true(promise.node_blocks > 0);
	assert_int_equal(space_available_blocks(space), 0);
	volume_unpromise(world.volume, &promise);
	assert_int_equal(promise.data_blocks + promise.node_blocks, 0);
	assert_true(space_available_blocks(space) > 0);
	space_unadmit(space, rest);
	world_end(&world);
}

static const struct reservation nothing = { 0 };

static uint64_t
available(struct world *world)
{
	return space_available_blocks(volume_space(world->volume));
}

static void
sets_aside_all_of_it_or_nothing(void **state)
{
	struct world world = { .in_memory = true };
	struct reservation want;
	bool is_done = false;
	uint64_t before;
	int failures = 0;

	(void)state;
	world_format(&world, 8 << 20, 0);
	want = volume__worst(world.volume, 50, 30);
	want.carried = 3;
	before = available(&world);
	for (uint64_t nth = 1; !is_done; nth++) {
		int err;

		alloc_fail_nth(nth);
		err = volume__reserve(world.volume, &want, NULL, DRAW_NOTHING);
		alloc_fail_nth(0);
		is_done = err == 0;
		if (!is_done) {
			assert_int_equal(err, COP_ENOMEM);
			assert_int_equal(available(&world), before);
			failures++;
		}
	}
	assert_true(failures > 1);
	assert_int_equal(available(&world), before - want.blocks);
	volume__unreserve(world.volume, &want, &nothing, NULL);
	assert_int_equal(available(&world), before);

	/* Nor is anything kept of what there is when blocks are short. */
	want.blocks = before + 1;
	assert_int_equal(volume__reserve(world.volume, &want, NULL, DRAW_NOTHING), COP_ENOSPC);
	assert_int_equal(available(&world), before);
	assert_int_equal(volume__reserve(world.volume, &want, NULL, DRAW_ALL), 0);
	volume__unreserve(world.volume, &want, &nothing, NULL);
	assert_int_equal(available(&world), before);
	world_end(&world);
}

/* What was promised is not admitted twice; all that is not taken is the promise's again. */
static void
takes_blocks_of_nodes_out_of_a_promise(void **state)
{
	struct world world = { 0 };
	struct promise promise = { 0 };
	struct reservation want;
	uint64_t promised;
	uint64_t before;

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(volume_promise(world.volume, 0, 1, 1, &promise), 0);
	promised = promise.node_blocks;
	before = available(&world);
	want = volume__worst(world.volume, 2, 0);
	assert_true(want.blocks < promised);
	assert_int_equal(volume__reserve(world.volume, &want, &promise, DRAW_ALL), 0);
	assert_int_equal(promise.node_blocks, promised - want.blocks);
	assert_int_equal(available(&world), before);
	volume__unreserve(world.volume, &want, &nothing, &promise);
	assert_int_equal(promise.node_blocks, promised);
	assert_int_equal(available(&world), before);
	volume_unpromise(world.volume, &promise);
	world_end(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(uses_what_was_promised_to_it),
		cmocka_unit_test(sets_aside_all_of_it_or_nothing),
		cmocka_unit_test(takes_blocks_of_nodes_out_of_a_promise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
