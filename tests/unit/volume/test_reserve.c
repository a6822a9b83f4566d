#include "volume/volume_internal.h"
#include "world.h"

#include <stdarg.h>
#include <stddef.h>

#include <setjmp.h>

#include <cmocka.h>

static void
fills_to_the_brim_and_empties_to_what_it_was(void **state)
{
	struct world world = { 0 };
	uint64_t before;

	(void)state;
	world_format(&world, 8 << 20, 0);
	before = space_free_blocks(volume_space(world.volume));
	for (int round = 0; round < 3; round++) {
		uint32_t count = 0;
		int err;

		while ((err = world_put(&world, count, (uint8_t)count, 400)) == 0)
			count++;
		assert_int_equal(err, COP_ENOSPC);
		assert_true(count > 5000);
		for (uint32_t i = 0; i < count; i++) {
			assert_int_equal(world_get(&world, i), (uint8_t)i);
			if (world_delete(&world, i) != 0)
				fail_msg("round %d, %u of %u: %s", round, i, count, err_text());
		}
		world_settle(&world);
		assert_int_equal(space_free_blocks(volume_space(world.volume)), before);
		space_check(volume_space(world.volume));
	}
	world_end(&world);
}

/* Trees that grow higher, and the first clone, keep more of what is free. */
static void
grows_with_what_emptying_may_touch(void **state)
{
	struct world world = { 0 };
	struct space *space;
	uint64_t kept;
	uint64_t more;

	(void)state;
	world_format(&world, 8 << 20, 0);
	space = volume_space(world.volume);
	kept = space_free_blocks(space) - space_available_blocks(space);
	for (uint64_t key = 0; key < 500; key++)
		assert_int_equal(world_put_content(&world, 100, key, 1, 400, true), 0);
	more = space_free_blocks(space) - space_available_blocks(space);
	assert_true(more > kept);

	assert_int_equal(volume_checkpoint(world.volume), 0);
	kept = space_free_blocks(space) - space_available_blocks(space);
	more = volume__reserve_of_first_clone(world.volume);
	assert_true(more > 0);
	assert_int_equal(world_clone_content(&world, 100, 101), 0);
	assert_true(space_free_blocks(space) - space_available_blocks(space) >= kept + more);
	world_end(&world);
}

enum {
	SHARES = 3,       /* acts of sharing: two fill most of a leaf of the share tree */
	SHARES_EACH = 60, /* ranges of blocks: with the third it is too many */
};

/* Blocks no two of which lie side by side, in one run. */
static struct run
take_scattered(struct world *world, uint32_t count)
{
	struct run run;
	struct tx *tx;

	assert_int_equal(tx_begin(world->volume, &world->visit, false, &tx), 0);
	assert_int_equal(tx_take(tx, SPACE_DATA, 0, 2 * count, &run), 0);
	assert_int_equal(run.blocks, 2 * count);
	assert_int_equal(tx_commit(tx), 0);
	return run;
}

/* Each is referred to once more. */
static void
share_scattered(struct world *world, struct run run)
{
	struct run runs[TX_CLONE_RUNS_MAX];
	uint32_t count = run.blocks / 2;
	struct tx *tx;

	assert_true(count <= TX_CLONE_RUNS_MAX);
	for (uint32_t i = 0; i < count; i++)
		runs[i] = (struct run){ .addr = run.addr + 2 * i, .blocks = 1 };
	assert_int_equal(tx_begin(world->volume, &world->visit, false, &tx), 0);
	assert_int_equal(tx_clone_runs(tx, world_content(101), 100, runs, count), 0);
	if (tx_commit(tx) != 0)
		fail_msg("%s", err_text());
}

/*
 * Emptying uses up what is free; what it gives up comes back with two checkpoints. These must be
 * possible then, whatever they have to do to bring the share tree up to date.
 */
static void
a_checkpoint_has_room_though_the_share_tree_grows(void **state)
{
	struct world world = { 0 };
	struct run runs[SHARES];
	uint32_t count = 0;

	(void)state;
	world_format(&world, 8 << 20, 0);
	for (uint32_t i = 0; i < SHARES; i++)
		runs[i] = take_scattered(&world, SHARES_EACH);
	for (uint32_t i = 0; i + 1 < SHARES; i++)
		share_scattered(&world, runs[i]);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	assert_int_equal(world.volume->shares.tree.tree.root.levels, 1);
	while (world_put(&world, count, (uint8_t)count, 400) == 0)
		count++;
	for (uint32_t i = 0; i < 400; i++)
		assert_int_equal(world_delete(&world, i), 0);
	world_settle(&world);
	share_scattered(&world, runs[SHARES - 1]);

	/* All over the tree: few nodes are freed. */
	for (uint32_t i = 400; i < count; i++) {
		uint32_t key = 400 + (uint32_t)((uint64_t)i * 7919 % (count - 400));
		int err = world_delete(&world, key);

		if (err)
			fail_msg("%u of %u, share tree of %u levels: %s", i, count,
				world.volume->shares.tree.tree.root.levels, err_text());
	}
	assert_int_equal(volume_checkpoint(world.volume), 0);
	assert_int_equal(world.volume->shares.tree.tree.root.levels, 2);
	world_end(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fills_to_the_brim_and_empties_to_what_it_was),
		cmocka_unit_test(grows_with_what_emptying_may_touch),
		cmocka_unit_test(a_checkpoint_has_room_though_the_share_tree_grows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
