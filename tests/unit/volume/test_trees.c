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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(root_records_follow_their_trees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
