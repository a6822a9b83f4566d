#include "world.h"

#include <stdlib.h>

static uint8_t image[TREE_NODE_BYTES_MAX];
static uint8_t other[TREE_NODE_BYTES_MAX];

enum { NODE = 4096 };

/* Puts an altered image in place of both copies, with a checksum that fits. */
static void
forge(struct world *w, const struct tree_pointer *pointer, uint8_t *node)
{
	node_checksum_put(node, w->env.node_bytes);
	world_write(w, pointer->addr, node);
	if (pointer->addr2 != 0)
		world_write(w, pointer->addr2, node);
	world_forget(w);
}

static void
assert_damaged(struct world *w, struct tree *tree, uint64_t number, int want, const char *text)
{
	world_forget(w);
	assert_int_equal(world_get(w, tree, number), want);
	if (!strstr(err_text(), text))
		fail_msg("%s", err_text());
}

static void
finds_every_flipped_bit(void **state)
{
	struct world *w = world_open(NODE, 1, 16 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 20, 1, 50);

	(void)state;
	assert_int_equal(tree.root.levels, 1);
	world_read(w, tree.root.pointer.addr, image);
	for (uint32_t bit = 0; bit < 8 * NODE; bit++) {
		image[bit / 8] ^= (uint8_t)(1 << bit % 8);
		world_write(w, tree.root.pointer.addr, image);
		world_forget(w);
		assert_int_equal(world_get(w, &tree, 7), COP_ECHECKSUM);
		image[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	world_write(w, tree.root.pointer.addr, image);
	world_forget(w);
	assert_int_equal(world_get(w, &tree, 7), 0);
	world_close(w);
}

static void
repairs_a_bad_first_copy_from_the_second(void **state)
{
	struct world *w = world_open(NODE, 2, 16 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 20, 1, 50);

	(void)state;
	world_read(w, tree.root.pointer.addr, image);
	memset(other, 7, NODE);
	world_write(w, tree.root.pointer.addr, other);
	assert_int_equal(world_get(w, &tree, 7), 0);
	assert_int_equal(w->repairs, 1);
	assert_int_equal(w->env.node_reads, 2);

	/* It is whole again, with the same bytes, and while it is cached nothing is read. */
	world_read(w, tree.root.pointer.addr, other);
	assert_memory_equal(other, image, NODE);
	assert_int_equal(world_get(w, &tree, 8), 0);
	assert_int_equal(w->env.node_reads, 2);
	world_forget(w);
	assert_int_equal(world_get(w, &tree, 7), 0);
	assert_int_equal(w->repairs, 1);

	/* A tree that was loaded from a second copy can be changed. */
	memset(other, 7, NODE);
	world_write(w, tree.root.pointer.addr, other);
	world_forget(w);
	world_put(w, &tree, view_of("new", 3), view_of("value", 5));
	assert_int_equal(world_get(w, &tree, 7), 0);
	world_checkpoint(w);
	world_assert_exact(w, &tree);
	world_close(w);
}

static void
reads_the_second_copy_where_the_first_cannot_be_read(void **state)
{
	struct world *w = world_open(NODE, 2, 16 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 20, 1, 50);
	struct sim_fault fault = {
		.kind = SIM_FAIL_READ,
		.persistent = true,
		.addr = tree.root.pointer.addr,
		.blocks = 1,
	};

	(void)state;
	assert_int_equal(sim_add_fault(w->medium, &fault), 0);
	assert_int_equal(world_get(w, &tree, 7), 0);
	assert_int_equal(w->repairs, 1);
	fault.addr = tree.root.pointer.addr2;
	assert_int_equal(sim_add_fault(w->medium, &fault), 0);
	world_forget(w);
	assert_int_equal(world_get(w, &tree, 7), COP_EIO);
	world_close(w);
}

static void
says_when_both_copies_are_bad(void **state)
{
	struct world *w = world_open(NODE, 2, 16 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 20, 1, 50);

	(void)state;
	memset(other, 7, NODE);
	world_write(w, tree.root.pointer.addr, other);
	world_write(w, tree.root.pointer.addr2, other);
	assert_damaged(w, &tree, 7, COP_ECHECKSUM, "and so is the second");
	assert_int_equal(w->repairs, 0);
	world_close(w);
}

/* The one that cannot be read may be good, and readable the next time. */
static void
does_not_call_a_node_damaged_while_a_copy_cannot_be_read(void **state)
{
	struct world *w = world_open(NODE, 2, 16 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 20, 1, 50);
	const struct tree_pointer pointer = tree.root.pointer;

	(void)state;
	world_read(w, pointer.addr, image);
	for (int unread = 0; unread < 2; unread++) {
		const struct sim_fault fault = {
			.kind = SIM_FAIL_READ,
			.persistent = true,
			.addr = unread == 0 ? pointer.addr : pointer.addr2,
			.blocks = 1,
		};
		const uint64_t rotten = unread == 0 ? pointer.addr2 : pointer.addr;

		memset(other, 7, NODE);
		world_write(w, rotten, other);
		assert_int_equal(sim_add_fault(w->medium, &fault), 0);
		assert_damaged(w, &tree, 7, COP_EIO, "and so is the second");
		sim_clear_faults(w->medium);
		world_forget(w);
		assert_int_equal(world_get(w, &tree, 7), 0);
		world_write(w, rotten, image);
	}
	world_close(w);
}

static void
never_repairs_without_a_hook(void **state)
{
	struct world *w = world_open(NODE, 2, 16 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 20, 1, 50);
	struct sim_stats before;

	(void)state;
	w->hooks.repair = NULL;
	memset(other, 7, NODE);
	world_write(w, tree.root.pointer.addr, other);
	before = sim_stats(w->medium);
	assert_int_equal(world_get(w, &tree, 7), 0);
	assert_int_equal(sim_stats(w->medium).calls, before.calls);
	world_close(w);
}

/* ---- Whole nodes, but not the right ones ---------------------------------------------------- */

static void
finds_a_lost_write(void **state)
{
	struct world *w = world_open(NODE, 1, 16 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 1, 1, 50);
	struct tree_pointer first = tree.root.pointer;
	struct sim_fault fault = { .kind = SIM_LOSE_WRITE, .persistent = true };
	uint8_t key[8];

	/* Until the place of the first root is used again, and that write is lost. */
	(void)state;
	for (uint32_t i = 1; tree.root.pointer.addr != first.addr || i < 3; i++) {
		w->next_place = (uint32_t)(i % 4);
		if (i == 4)
			assert_int_equal(sim_add_fault(w->medium, &fault), 0);
		world_put(w, &tree, key_of(0, key), view_of(key, 8));
		world_checkpoint(w);
	}
	world_read(w, first.addr, image);
	assert_int_equal(tree_node_check(image, NODE, w->env.uuid, TREE_OBJECTS, 0, &first), 0);
	assert_damaged(w, &tree, 0, COP_ECHECKSUM, "another image");
	world_close(w);
}

static void
finds_swapped_nodes(void **state)
{
	struct world *w = world_open(NODE, 1, 16 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 20, 1, 50);
	struct tree stranger = world_grow(w, TREE_OBJECTS, 20, 1, 50);

	(void)state;
	world_read(w, stranger.root.pointer.addr, image);
	world_write(w, tree.root.pointer.addr, image);
	assert_damaged(w, &tree, 7, COP_ECHECKSUM, "the node of block");
	world_close(w);
}

static void
compares_all_of_the_identity(void **state)
{
	static const struct {
		uint32_t at;
		const char *text;
	} rows[] = {
		{ NODE_AT_UUID, "another volume" },
		{ NODE_AT_KIND, "of kind" },
		{ NODE_AT_LEVEL, "of level" },
		{ NODE_AT_ADDR, "the node of block" },
		{ NODE_AT_ADDR2, "the node of block" },
		{ NODE_AT_BIRTH, "another image" },
		{ NODE_AT_SEAL, "another image" },
		{ NODE_AT_MAGIC, "no tree node" },
	};
	struct world *w = world_open(NODE, 2, 16 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 20, 1, 50);

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		world_read(w, tree.root.pointer.addr, image);
		image[rows[i].at] ^= 1;
		forge(w, &tree.root.pointer, image);
		assert_damaged(w, &tree, 7, COP_ECHECKSUM, rows[i].text);
		image[rows[i].at] ^= 1;
		forge(w, &tree.root.pointer, image);
	}
	assert_int_equal(world_get(w, &tree, 7), 0);
	world_close(w);
}

static void
refuses_what_this_version_does_not_write(void **state)
{
	static const uint32_t rows[] = { NODE_AT_FLAGS, NODE_AT_STORED_BYTES, NODE_AT_COMPRESSION,
		NODE_AT_RESERVED, NODE_AT_KEY_ID, NODE_AT_NONCE + 23, NODE_AT_TAG + 15 };
	struct world *w = world_open(NODE, 1, 16 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 20, 1, 50);

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		world_read(w, tree.root.pointer.addr, image);
		image[rows[i]] = 1;
		forge(w, &tree.root.pointer, image);
		assert_damaged(w, &tree, 7, COP_EFORMAT, "node");
		image[rows[i]] = 0;
		forge(w, &tree.root.pointer, image);
	}
	world_close(w);
}

/* The planted bug is a build of its own; there the test shows that it is one. */
static void
finds_another_seal_unless_the_bug_is_planted(void **state)
{
	struct world *w = world_open(NODE, 1, 16 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 20, 1, 50);

	(void)state;
	world_read(w, tree.root.pointer.addr, image);
	image[NODE_AT_SEAL] ^= 1;
	forge(w, &tree.root.pointer, image);
	assert_damaged(w, &tree, 7, COP_ECHECKSUM, "another image");
#ifdef COP_PLANTS
	assert_int_equal(setenv("COP_PLANT", "4", 1), 0);
	world_forget(w);
	assert_int_equal(world_get(w, &tree, 7), 0);
	assert_int_equal(unsetenv("COP_PLANT"), 0);
#endif
	world_close(w);
}

/* ---- Whole nodes in the wrong place --------------------------------------------------------- */

/* The first child of the root, which is of level 1. */
static struct tree_pointer
first_child(struct world *w, struct tree *tree)
{
	assert_int_equal(tree->root.levels, 2);
	world_read(w, tree->root.pointer.addr, other);
	return node_child(other, 0);
}

static void
compares_fences_with_the_parent(void **state)
{
	struct world *w = world_open(NODE, 2, 16 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 200, 1, 50);
	struct tree_pointer child = first_child(w, &tree);
	struct tree_walk deaf = { .context = NULL };
	uint8_t low[8] = { 0 };

	(void)state;
	world_read(w, child.addr, image);
	assert_int_equal(node_low(image).bytes, 0);
	memcpy(other, image, NODE);
	node_clear(other, NODE, view_of(low, 3), node_high(image));
	for (uint32_t i = 1; i < node_count(image); i++) {
		uint8_t key[TREE_KEY_BYTES_MAX];

		node_insert(other, NODE, i - 1, node_key_copy(node_key(image, i), key),
			node_value(image, i));
	}
	forge(w, &child, other);
	assert_damaged(w, &tree, 7, COP_EFORMAT, "low fence differs");

	node_clear(other, NODE, node_low(image), view_of("\377", 1));
	node_insert(other, NODE, 0, view_of("x", 1), view_of("y", 1));
	forge(w, &child, other);
	assert_damaged(w, &tree, 7, COP_EFORMAT, "high fence differs");
	assert_int_equal(tree_walk(&w->env, tree.kind, &tree.root, &deaf), COP_EFORMAT);
	world_close(w);
}

static void
judges_pointers_before_it_follows_them(void **state)
{
	struct world *w = world_open(NODE, 2, 16 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 200, 1, 50);
	struct tree_pointer child = first_child(w, &tree);
	const struct {
		struct tree_pointer pointer;
		const char *text;
	} rows[] = {
		{ { w->env.device_blocks, 0, child.birth, 5 }, "a pointer to block" },
		{ { UINT64_MAX, 0, child.birth, 5 }, "a pointer to block" },
		{ { child.addr, UINT64_MAX, child.birth, 5 }, "a pointer to a copy" },
		{ { child.addr, child.addr2, child.birth + 1, child.seal }, "is younger" },
		{ { child.addr, child.addr2, 0, child.seal }, "latest possible" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		world_read(w, tree.root.pointer.addr, image);
		node_set_child(image, 0, &rows[i].pointer);
		forge(w, &tree.root.pointer, image);
		assert_damaged(w, &tree, 7, COP_EFORMAT, rows[i].text);
	}
	node_set_child(image, 0, &child);
	forge(w, &tree.root.pointer, image);
	assert_int_equal(world_get(w, &tree, 7), 0);
	assert_int_equal(world_get(w, &tree, 7), 0);

	tree.root.levels = TREE_LEVELS_MAX + 1;
	assert_damaged(w, &tree, 7, COP_EFORMAT, "levels");
	tree.root.levels = 3;
	assert_damaged(w, &tree, 7, COP_ECHECKSUM, "of level");
	world_close(w);
}

/* Two pointers to one cached image, of which one is wrong in what the cache does not compare. */
static void
compares_the_identity_of_cached_nodes(void **state)
{
	struct world *w = world_open(NODE, 2, 16 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 20, 1, 50);
	struct tree wrong = tree;
	struct load_target target = { tree.root.pointer, 0 };
	struct buffer *buffer;

	(void)state;
	assert_int_equal(world_get(w, &tree, 7), 0);
	wrong.root.pointer.birth--;
	assert_int_equal(world_get(w, &wrong, 7), COP_ECHECKSUM);
	wrong = tree;
	wrong.kind = TREE_TAGS;
	assert_int_equal(world_get(w, &wrong, 7), COP_ECHECKSUM);
	target.level = 1;
	assert_int_equal(load_node(&w->env, TREE_OBJECTS, &target, &buffer), COP_ECHECKSUM);
	world_close(w);
}

static int
lets_pass_anything(void *context, uint64_t addr, uint64_t stamp, uint8_t *data, uint32_t blocks)
{
	(void)context;
	(void)addr;
	(void)stamp;
	memset(data, 0xff, (size_t)blocks * BLOCK_BYTES);
	return 0;
}

static bool
never_visited(void *context, struct view key, struct view value)
{
	(void)context;
	(void)key;
	(void)value;
	fail_msg("there is nothing to visit");
	return false;
}

/* Under the address and seal of a node: what others have judged, and runs of other lengths. */
static void
takes_nothing_but_nodes_for_nodes(void **state)
{
	struct world *w = world_open(NODE, 2, 16 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 20, 1, 50);
	const char *text = "something else is in its place";
	struct tree_pins pins;

	(void)state;
	tree_pins_init(&pins, w->cache);
	for (uint32_t blocks = 1; blocks <= 2; blocks++) {
		struct cache_request request = {
			.addr = tree.root.pointer.addr,
			.stamp = tree.root.pointer.seal,
			.blocks = blocks,
			.verify = lets_pass_anything,
		};

		world_forget(w);
		assert_int_equal(cache_get(w->cache, &request), 0);
		assert_int_equal(world_get(w, &tree, 7), COP_ECHECKSUM);
		assert_non_null(strstr(err_text(), text));
		assert_int_equal(
			tree_scan(&tree, view_of(NULL, 0), 1, never_visited, NULL), COP_ECHECKSUM);
		assert_int_equal(tree_prepare(&tree, view_of("k", 1), &pins), COP_ECHECKSUM);
		assert_non_null(strstr(err_text(), text));
		assert_int_equal(pins.count, 0);

		/* Nobody counts on it any more: it gives way. */
		cache_release(w->cache, request.buffer);
		assert_int_equal(world_get(w, &tree, 7), 0);
	}
	tree_pins_release(&pins);
	world_close(w);
}

/* ---- Many at once --------------------------------------------------------------------------- */

static void
reads_ahead_what_it_can_get(void **state)
{
	struct world *w = world_open(NODE, 2, 16 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 200, 1, 50);
	struct load_target targets[3];
	struct buffer *buffers[6] = { NULL };

	(void)state;
	world_read(w, tree.root.pointer.addr, other);
	for (uint32_t i = 0; i < 3; i++)
		targets[i] = (struct load_target){ node_child(other, i), 0 };
	memset(image, 7, NODE);
	world_write(w, targets[1].pointer.addr, image);

	for (uint32_t copies = 1; copies <= 2; copies++) {
		uint32_t got = 0;

		w->env.node_reads = 0;
		load_ahead(&w->env, TREE_OBJECTS, targets, 3, copies, buffers);
		for (uint32_t i = 0; i < 3 * copies; i++)
			got += buffers[i] != NULL;
		assert_int_equal(got, 3 * copies - 1);
		assert_int_equal(w->env.node_reads, 3 * copies);
		load_release(&w->env, buffers, 6);
		assert_null(buffers[0]);
		world_forget(w);
	}
	world_close(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_every_flipped_bit),
		cmocka_unit_test(repairs_a_bad_first_copy_from_the_second),
		cmocka_unit_test(reads_the_second_copy_where_the_first_cannot_be_read),
		cmocka_unit_test(says_when_both_copies_are_bad),
		cmocka_unit_test(does_not_call_a_node_damaged_while_a_copy_cannot_be_read),
		cmocka_unit_test(never_repairs_without_a_hook),
		cmocka_unit_test(finds_a_lost_write),
		cmocka_unit_test(finds_swapped_nodes),
		cmocka_unit_test(compares_all_of_the_identity),
		cmocka_unit_test(refuses_what_this_version_does_not_write),
		cmocka_unit_test(finds_another_seal_unless_the_bug_is_planted),
		cmocka_unit_test(compares_fences_with_the_parent),
		cmocka_unit_test(judges_pointers_before_it_follows_them),
		cmocka_unit_test(compares_the_identity_of_cached_nodes),
		cmocka_unit_test(takes_nothing_but_nodes_for_nodes),
		cmocka_unit_test(reads_ahead_what_it_can_get),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
