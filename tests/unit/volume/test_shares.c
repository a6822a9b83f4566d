#include "world.h"

#include "base/num.h"
#include "support/alloc.h"
#include "volume/volume_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { A = 100, B = 101, C = 102, KEYS = 60, BYTES = 300, NODE = 4096 };

static void
grow(struct world *world, uint64_t object)
{
	world_grow_content(world, object, KEYS, BYTES);
}

static void
cloned(struct world *world)
{
	*world = (struct world){ 0 };
	world_format(world, UINT64_C(64) << 20, NODE);
	grow(world, A);
	assert_int_equal(volume_checkpoint(world->volume), 0);
	assert_int_equal(world_clone_content(world, A, B), 0);
}

static struct tree_root
root_of(struct world *world, uint64_t object)
{
	struct tree *tree;
	struct tree_root root;

	assert_int_equal(volume_tree_open(world->volume, world_content(object), &tree), 0);
	root = tree->root;
	volume_tree_release(world->volume, tree);
	return root;
}

static bool
is_shared(struct world *world, const struct tree_pointer *pointer)
{
	bool is_shared;

	assert_int_equal(volume__shares_look(world->volume, pointer, &is_shared), 0);
	return is_shared;
}

static void
expect(struct world *world, uint64_t object, uint64_t changed, uint8_t fill)
{
	world_expect_content(world, object, KEYS, changed, fill);
}

static void
a_clone_has_the_same_root(void **state)
{
	struct world world;
	struct tree_root a;
	struct tree_root b;

	(void)state;
	cloned(&world);
	a = root_of(&world, A);
	b = root_of(&world, B);
	assert_true(a.levels > 1);
	assert_int_equal(a.levels, b.levels);
	assert_memory_equal(&a.pointer, &b.pointer, sizeof a.pointer);
	assert_true(is_shared(&world, &a.pointer));
	expect(&world, B, KEYS, 0);
	assert_int_equal(world.volume->shares.list.count, 2); /* one range of one node */
	assert_int_equal(volume_checkpoint(world.volume), 0);
	assert_int_equal(world.volume->shares.list.count, 0);
	assert_int_equal(world.volume->shares.tree.tree.root.levels, 1);
	assert_true(is_shared(&world, &a.pointer));
	world_end(&world);
}

/* The way to the change is copied, its old nodes stay with the other, as if they had never been
 * shared. */
static void
a_change_parts_them(void **state)
{
	struct world world;
	struct tree_root before;

	(void)state;
	cloned(&world);
	before = root_of(&world, A);
	assert_int_equal(world_put_content(&world, B, 7, 99, BYTES, true), 0);
	expect(&world, A, KEYS, 0);
	expect(&world, B, 7, 99);
	assert_int_equal(root_of(&world, A).pointer.addr, before.pointer.addr);
	assert_false(is_shared(&world, &before.pointer));
	assert_int_not_equal(root_of(&world, B).pointer.addr, before.pointer.addr);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	world_reopen(&world);
	expect(&world, A, KEYS, 0);
	expect(&world, B, 7, 99);
	world_end(&world);
}

static void
nodes_of_the_open_generation_are_copied_as_well(void **state)
{
	struct world world = { 0 };

	(void)state;
	world_format(&world, UINT64_C(64) << 20, NODE);
	grow(&world, A);
	assert_int_equal(world_clone_content(&world, A, B), 0);
	assert_int_equal(world_clone_content(&world, B, C), 0);
	assert_int_equal(world_put_content(&world, A, 3, 90, BYTES, true), 0);
	assert_int_equal(world_put_content(&world, B, 3, 91, BYTES, true), 0);
	expect(&world, A, 3, 90);
	expect(&world, B, 3, 91);
	expect(&world, C, KEYS, 0);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	expect(&world, A, 3, 90);
	expect(&world, C, KEYS, 0);
	world_end(&world);
}

/* Nothing is asked where nothing was ever shared, nor of what was born since. */
static void
asks_only_of_what_may_be_shared(void **state)
{
	struct world world = { 0 };
	uint64_t asked;

	(void)state;
	world_format(&world, UINT64_C(64) << 20, NODE);
	grow(&world, A);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	grow(&world, A);
	assert_int_equal(volume_stats(world.volume).share_lookups, 0);
	assert_int_equal(world.volume->shares.stamp, 0);

	assert_int_equal(world_clone_content(&world, A, B), 0);
	assert_int_equal(world.volume->shares.stamp, volume_generation(world.volume));
	assert_int_equal(volume_checkpoint(world.volume), 0);
	grow(&world, C);
	asked = volume_stats(world.volume).share_lookups;
	grow(&world, C);
	assert_int_equal(volume_stats(world.volume).share_lookups, asked);
	assert_true(volume_is_unshared(world.volume, volume_generation(world.volume)));
	assert_false(volume_is_unshared(world.volume, volume_generation(world.volume) - 1));
	world_end(&world);
}

/* What the journal has is done again, in nodes at other places, with the same counts. */
static void
a_replay_shares_again(void **state)
{
	struct world world;
	struct tree_root a;
	struct tree_root b;

	(void)state;
	cloned(&world);
	assert_int_equal(world_clone_content(&world, A, C), 0);
	assert_int_equal(world_put_content(&world, B, 7, 99, BYTES, true), 0);
	assert_int_equal(volume_sync(world.volume), 0);
	world_reopen(&world);
	assert_int_equal(volume_stats(world.volume).recoveries, 1);
	expect(&world, A, KEYS, 0);
	expect(&world, B, 7, 99);
	expect(&world, C, KEYS, 0);
	a = root_of(&world, A);
	b = root_of(&world, B);
	assert_true(is_shared(&world, &a.pointer));
	assert_false(is_shared(&world, &b.pointer));
	assert_int_equal(volume_checkpoint(world.volume), 0);
	assert_true(is_shared(&world, &a.pointer));
	world_end(&world);
}

/* More changes of counts than one round of a checkpoint takes. */
static void
a_checkpoint_takes_all_changes(void **state)
{
	struct world world = { 0 };

	(void)state;
	world_format(&world, UINT64_C(64) << 20, NODE);
	grow(&world, A);
	for (uint64_t i = 0; i < 200; i++) {
		/* A record of its own, so that roots lie apart. */
		assert_int_equal(world_put_content(&world, 1000 + 2 * i, 1, 1, BYTES, true), 0);
		assert_int_equal(world_clone_content(&world, 1000 + 2 * i, 1001 + 2 * i), 0);
		assert_int_equal(world_put_content(&world, A, i % KEYS, 1, BYTES, true), 0);
	}
	assert_true(world.volume->shares.list.count > 0);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	assert_int_equal(world.volume->shares.list.count, 0);
	assert_int_equal(world.volume->shares.drained, 0);
	for (uint64_t i = 0; i < 200; i++) {
		struct tree_root root = root_of(&world, 1000 + 2 * i);

		assert_true(is_shared(&world, &root.pointer));
		assert_int_equal(world_put_content(&world, 1000 + 2 * i, 1, 2, BYTES, true), 0);
		assert_false(is_shared(&world, &root.pointer));
		assert_int_equal(world_get_content(&world, 1001 + 2 * i, 1), 1);
	}
	assert_int_equal(volume_checkpoint(world.volume), 0);
	assert_int_equal(world.volume->shares.tree.tree.root.levels, 0);
	world_end(&world);
}

/* The reserve grows with the first clone: what others were promised must not lie in it then. */
static void
the_first_clone_sets_its_reserve_aside(void **state)
{
	struct world world = { 0 };
	struct space *space;
	uint64_t left = 0;
	int err = COP_ENOSPC;

	(void)state;
	world_format(&world, UINT64_C(64) << 20, NODE);
	grow(&world, A);
	space = world.volume->space;
	while (err) {
		uint64_t others;

		left += 32;
		others = space_available_blocks(space) - left;
		assert_int_equal(space_admit(space, others, false), 0);
		err = world_clone_content(&world, A, B);
		space_unadmit(space, others);
		if (err)
			assert_int_equal(err, COP_ENOSPC);
		else
			assert_true(space_available_blocks(space) >= others);
	}
	assert_true(left > 32); /* it was refused first */
	world_end(&world);
}

/* All or nothing, whichever allocation fails. */
static void
survives_every_failing_allocation(void **state)
{
	(void)state;
	for (uint64_t nth = 1;; nth++) {
		struct world world = { .in_memory = true };
		uint64_t before;
		int err;

		world_format(&world, UINT64_C(16) << 20, NODE);
		grow(&world, A);
		assert_int_equal(volume_checkpoint(world.volume), 0);
		alloc_fail_nth(nth);
		before = alloc_count();
		err = world_clone_content(&world, A, B);
		if (err == 0)
			err = world_put_content(&world, B, 7, 99, BYTES, true);
		if (err == 0)
			err = volume_checkpoint(world.volume);
		before = alloc_count() - before;
		alloc_fail_nth(0);
		assert_true(err == 0 || err == COP_ENOMEM);
		assert_int_equal(volume_checkpoint(world.volume), 0);
		expect(&world, A, KEYS, 0);
		if (world_get_content(&world, B, 0) == 0)
			expect(&world, B, world_get_content(&world, B, 7) == 99 ? 7 : KEYS, 99);
		else
			assert_int_equal(world_get_content(&world, B, 7), COP_ENOENT);
		world_end(&world);
		if (before < nth)
			break;
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_clone_has_the_same_root),
		cmocka_unit_test(a_change_parts_them),
		cmocka_unit_test(nodes_of_the_open_generation_are_copied_as_well),
		cmocka_unit_test(asks_only_of_what_may_be_shared),
		cmocka_unit_test(a_replay_shares_again),
		cmocka_unit_test(a_checkpoint_takes_all_changes),
		cmocka_unit_test(the_first_clone_sets_its_reserve_aside),
		cmocka_unit_test(survives_every_failing_allocation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
