#include "volume/tx_internal.h"
#include "world.h"

#include <stdarg.h>
#include <stddef.h>

#include <setjmp.h>

#include <cmocka.h>

enum { OBJECT = 100, KEYS = 200, BYTES = 400 };

static const struct tree_name content = {
	.branch = BRANCH_MAIN, .object = OBJECT, .kind = TREE_CONTENT
};

/* A tree of several levels, nothing of which is cached. */
static void
grow_and_reopen(struct world *world)
{
	world_format(world, 8 << 20, 0);
	for (uint64_t key = 0; key < KEYS; key++)
		assert_int_equal(
			world_put_content(world, OBJECT, key, (uint8_t)key, BYTES, true), 0);
	assert_int_equal(volume_checkpoint(world->volume), 0);
	world_reopen(world);
}

static struct tx *
begin_with_message(struct world *world, struct tree_name name)
{
	uint8_t key[8];
	struct tx *tx;

	put_be64(key, KEYS / 2);
	assert_int_equal(tx_begin(world->volume, &world->visit, false, &tx), 0);
	assert_int_equal(tx_put(tx, name, view_of(key, sizeof key), view_of("x", 1)), 0);
	return tx;
}

/* The content's path and that of its root record. */
static void
ends_with_the_gate_and_every_node_at_hand(void **state)
{
	struct world world = { 0 };
	struct share_need need;
	struct tree_pins pins;
	struct tree *tree;
	bool holds = false;
	uint8_t key[8];
	uint8_t root[ROOT_KEY_BYTES];
	struct tx *tx;

	(void)state;
	grow_and_reopen(&world);
	tx = begin_with_message(&world, content);
	assert_int_equal(tx__open_trees(tx), 0);
	tree = tx->messages[0].tree;
	put_be64(key, KEYS / 2);
	gate_enter_exclusive(world.volume->gate);
	assert_false(tree_is_prepared(tree, view_of(key, sizeof key), NULL));
	gate_leave_exclusive(world.volume->gate);

	tree_pins_init(&pins, world.volume->cache);
	assert_int_equal(tx__prepare(tx, &pins, &holds, &need), 0);
	gate_assert_exclusive(world.volume->gate);
	assert_true(tree->root.levels > 1);
	assert_true(pins.count > tree->root.levels);
	assert_true(tree_is_prepared(tree, view_of(key, sizeof key), &pins));
	assert_true(tree_is_prepared(
		&world.volume->objects.tree, root_key(root, OBJECT, TREE_CONTENT), &pins));
	assert_false(holds);
	assert_int_equal(need.adds, 0); /* nothing is shared */
	gate_leave_exclusive(world.volume->gate);
	tree_pins_release(&pins);
	tx_abort(tx);
	world_end(&world);
}

static void
without_a_node_there_is_an_error_and_no_gate(void **state)
{
	static const uint8_t nothing[BLOCK_BYTES];
	struct world world = { 0 };
	struct share_need need;
	struct tree_pins pins;
	bool holds = false;
	struct tree *tree;
	struct tx *tx;

	(void)state;
	grow_and_reopen(&world);
	tx = begin_with_message(&world, content);
	assert_int_equal(tx__open_trees(tx), 0);
	tree = tx->messages[0].tree;
	assert_int_equal(device_write(world.dev, tree->root.pointer.addr, nothing, 1), 0);
	if (tree->root.pointer.addr2 != 0)
		assert_int_equal(device_write(world.dev, tree->root.pointer.addr2, nothing, 1), 0);
	tree_pins_init(&pins, world.volume->cache);
	assert_int_equal(tx__prepare(tx, &pins, &holds, &need), COP_ECHECKSUM);
	lock_assert_none_held();
	assert_false(holds);
	tree_pins_release(&pins);
	tx_abort(tx);
	assert_false(volume_is_dirty(world.volume));
	world_end(&world);
}

/* What is shared has to be counted: the nodes that a change will copy, with what is below them. */
static void
says_what_copying_shared_nodes_takes(void **state)
{
	struct tree_name clone = content;
	struct world world = { 0 };
	struct share_need need;
	struct tree_pins pins;
	bool holds = false;
	struct tx *tx;

	(void)state;
	grow_and_reopen(&world);
	clone.object = OBJECT + 1;
	assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
	assert_int_equal(tx_clone_tree(tx, clone, OBJECT), 0);
	assert_int_equal(tx_commit(tx), 0);
	tx = begin_with_message(&world, content);
	assert_int_equal(tx__open_trees(tx), 0);
	tree_pins_init(&pins, world.volume->cache);
	assert_int_equal(tx__prepare(tx, &pins, &holds, &need), 0);
	gate_leave_exclusive(world.volume->gate);
	assert_true(need.is_copying);
	assert_true(need.adds > tx->messages[0].tree->root.levels);
	tree_pins_release(&pins);
	tx_abort(tx);
	world_end(&world);
}

static void
no_tree_is_opened_in_a_branch_that_is_not_there(void **state)
{
	struct tree_name name = content;
	struct world world = { 0 };
	struct tx *tx;

	(void)state;
	world_format(&world, 8 << 20, 0);
	name.branch = BRANCH_MAIN + 1;
	tx = begin_with_message(&world, name);
	assert_int_equal(tx__open_trees(tx), COP_ENOENT);
	tx_abort(tx);
	world_end(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ends_with_the_gate_and_every_node_at_hand),
		cmocka_unit_test(without_a_node_there_is_an_error_and_no_gate),
		cmocka_unit_test(says_what_copying_shared_nodes_takes),
		cmocka_unit_test(no_tree_is_opened_in_a_branch_that_is_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
