#include "volume/volume_internal.h"
#include "world.h"

#include <stdarg.h>
#include <stddef.h>

#include <setjmp.h>

#include <cmocka.h>

/* A content tree: its root record comes with the first entry and goes with the last. */
static void
root_records_follow_their_trees(void **state)
{
	struct tree_name name = { .branch = BRANCH_MAIN, .object = 77, .kind = TREE_CONTENT };
	uint8_t root[ROOT_KEY_BYTES];
	uint8_t value[ROOT_RECORD_BYTES];
	struct world world = { 0 };
	struct tree *tree;
	struct tree *content;
	size_t bytes;

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(world_put_content(&world, 77, 5, 50, 4, true), 0);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	world_reopen(&world);

	assert_int_equal(volume_tree_open(world.volume, world_objects, &tree), 0);
	assert_int_equal(volume_tree_open(world.volume, name, &content), 0);
	assert_int_equal(
		tree_get(tree, root_key(root, 77, TREE_CONTENT), value, sizeof value, &bytes), 0);
	assert_int_equal(bytes, ROOT_RECORD_BYTES);
	assert_int_equal(world_get_content(&world, 77, 5), 50);

	assert_int_equal(world_put_content(&world, 77, 5, 0, 0, false), 0);
	assert_int_equal(
		tree_get(tree, root_key(root, 77, TREE_CONTENT), value, sizeof value, &bytes),
		COP_ENOENT);
	assert_int_equal(content->root.levels, 0);
	volume_tree_release(world.volume, content);
	world_end(&world);
}

struct moment {
	struct world *world;
	uint64_t transactions;
	int calls;
};

/* Before the first change, where nothing can go wrong any more. */
static void
note_moment(void *context)
{
	struct moment *moment = context;

	gate_assert_exclusive(moment->world->volume->gate);
	assert_int_equal(volume_stats(moment->world->volume).transactions, moment->transactions);
	assert_false(moment->world->volume->changed);
	moment->calls++;
}

static void
tells_that_it_happens_once_and_only_then(void **state)
{
	struct world world = { 0 };
	struct moment moment = { .world = &world };
	uint8_t key[OBJECT_KEY_BYTES];
	struct tx *tx;

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(world_put(&world, 1, 1, 10), 0);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	moment.transactions = volume_stats(world.volume).transactions;
	assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
	assert_int_equal(tx_put(tx, world_objects, world_key(key, 1), view_of("x", 1)), 0);
	tx_on_apply(tx, note_moment, &moment);
	assert_int_equal(tx_commit(tx), 0);
	assert_int_equal(moment.calls, 1);
	assert_int_equal(volume_stats(world.volume).transactions, moment.transactions + 1);

	assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
	assert_int_equal(tx_put(tx, world_objects, world_key(key, 1), view_of("y", 1)), 0);
	tx_on_apply(tx, note_moment, &moment);
	sim_cut_after(world.medium, 0);
	assert_int_equal(volume_checkpoint(world.volume), COP_EIO);
	assert_int_equal(tx_commit(tx), COP_EIO);
	assert_int_equal(moment.calls, 1);
	world_close(&world);
	sim_free(world.medium);
}

/* Later messages see what earlier ones have done. */
static void
applies_messages_in_their_order(void **state)
{
	struct world world = { 0 };
	uint8_t key[OBJECT_KEY_BYTES];
	struct tx *tx;

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
	assert_int_equal(tx_put(tx, world_objects, world_key(key, 1), view_of("a", 1)), 0);
	assert_int_equal(tx_delete(tx, world_objects, world_key(key, 1)), 0);
	assert_int_equal(tx_put(tx, world_objects, world_key(key, 2), view_of("a", 1)), 0);
	assert_int_equal(tx_put(tx, world_objects, world_key(key, 2), view_of("b", 1)), 0);
	assert_int_equal(tx_commit(tx), 0);
	assert_int_equal(world_get(&world, 1), COP_ENOENT);
	assert_int_equal(world_get(&world, 2), 'b');
	world_end(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(root_records_follow_their_trees),
		cmocka_unit_test(tells_that_it_happens_once_and_only_then),
		cmocka_unit_test(applies_messages_in_their_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
