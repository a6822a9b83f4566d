#include "support/alloc.h"
#include "world.h"

#include <stdlib.h>

enum { NODE = 4096, KEYS = 4000, VALUE = 60, LARGE_VALUE = 736, NODES_MAX = 12000 };

static uint8_t image[TREE_NODE_BYTES_MAX];

/* What a walk or a dismantling told. */
struct told {
	struct node_told {
		struct tree_pointer pointer;
		uint8_t level;
		int copy;
		int result;
	} nodes[NODES_MAX];
	uint32_t node_count;
	uint32_t entry_count;
	uint64_t next_key;     /* entries must ascend */
	uint32_t nodes_wanted; /* then end */
	uint32_t entries_wanted;
};

static struct told *
told_new(void)
{
	struct told *told = calloc(1, sizeof *told);

	assert_non_null(told);
	told->nodes_wanted = UINT32_MAX;
	told->entries_wanted = UINT32_MAX;
	return told;
}

static bool
tell_node(void *context, const struct tree_pointer *pointer, uint8_t level, int copy, int result)
{
	struct told *told = context;

	assert_true(told->node_count < NODES_MAX);
	told->nodes[told->node_count++] = (struct node_told){ *pointer, level, copy, result };
	return told->node_count < told->nodes_wanted;
}

static bool
tell_entry(void *context, struct view key, struct view value)
{
	struct told *told = context;

	assert_int_equal(key.bytes, 8);
	assert_true(value.bytes >= VALUE);
	assert_memory_equal(key.data, value.data, 8);
	assert_true(get_be64(key.data) >= told->next_key);
	told->next_key = get_be64(key.data) + 1;
	told->entry_count++;
	return told->entry_count < told->entries_wanted;
}

static struct told *
walk(struct world *w, const struct tree *tree, bool both_copies, struct told *told)
{
	const struct tree_walk how = { tell_node, tell_entry, told, both_copies, NULL, NULL };

	assert_int_equal(tree_walk(&w->env, tree->kind, &tree->root, &how), 0);
	return told;
}

/* A tree of three levels. */
static struct tree
grow(struct world *w)
{
	struct tree tree = world_grow(w, TREE_CONTENT, KEYS, 1, VALUE);

	assert_int_equal(tree.root.levels, 3);
	return tree;
}

static void
spoil(struct world *w, uint64_t addr)
{
	memset(image, 7, NODE);
	world_write(w, addr, image);
	world_forget(w);
}

static void
walks_every_node_once_parents_first(void **state)
{
	struct world *w = world_open(NODE, 2, 16 << 20);
	struct tree tree = grow(w);
	struct told *told = walk(w, &tree, false, told_new());

	(void)state;
	assert_int_equal(told->entry_count, KEYS);
	assert_int_equal(told->node_count, world_used_places(w));
	assert_memory_equal(&told->nodes[0].pointer, &tree.root.pointer, sizeof tree.root.pointer);
	for (uint32_t i = 0; i < told->node_count; i++) {
		assert_int_equal(told->nodes[i].result, 0);
		assert_int_equal(told->nodes[i].copy, 0);
		if (i > 0) /* down one at a time */
			assert_true(told->nodes[i].level + 1 >= told->nodes[i - 1].level);
		for (uint32_t j = 0; j < i; j++)
			assert_int_not_equal(
				told->nodes[i].pointer.addr, told->nodes[j].pointer.addr);
	}
	assert_int_equal(w->env.node_reads, told->node_count);
	free(told);
	world_close(w);
}

static void
an_empty_tree_has_no_node(void **state)
{
	struct world *w = world_open(NODE, 2, 16 << 20);
	struct tree tree = world_tree(w, TREE_CONTENT);
	struct told *told = walk(w, &tree, true, told_new());

	(void)state;
	assert_int_equal(told->node_count, 0);
	free(told);
	world_close(w);
}

static void
ends_when_the_visitor_says_so(void **state)
{
	struct world *w = world_open(NODE, 2, 16 << 20);
	struct tree tree = grow(w);
	struct told *told = told_new();

	(void)state;
	told->nodes_wanted = 5;
	(void)walk(w, &tree, false, told);
	assert_int_equal(told->node_count, 5);
	free(told);

	told = told_new();
	told->entries_wanted = 100;
	(void)walk(w, &tree, false, told);
	assert_int_equal(told->entry_count, 100);
	free(told);
	world_close(w);
}

static void
goes_on_after_damage(void **state)
{
	struct world *w = world_open(NODE, 1, 16 << 20);
	struct tree tree = grow(w);
	struct told *whole = walk(w, &tree, false, told_new());

	(void)state;
	for (uint32_t i = 0; i < whole->node_count; i++) {
		const struct node_told *bad = &whole->nodes[i];
		struct tree_walk deaf = { .context = NULL };
		struct told *told;
		uint32_t below = 0; /* nodes that cannot be reached */

		if (bad->level == 0 && i % 10 != 0)
			continue; /* enough of them */
		while (i + below + 1 < whole->node_count &&
			whole->nodes[i + below + 1].level < bad->level)
			below++;
		world_read(w, bad->pointer.addr, image);
		image[NODE - 1] ^= 1;
		world_write(w, bad->pointer.addr, image);
		world_forget(w);

		told = walk(w, &tree, i % 2, told_new());
		assert_int_equal(told->node_count, whole->node_count - below);
		assert_int_equal(told->nodes[i].result, COP_ECHECKSUM);
		assert_memory_equal(&told->nodes[i].pointer, &bad->pointer, sizeof bad->pointer);
		free(told);
		assert_int_equal(tree_walk(&w->env, tree.kind, &tree.root, &deaf), COP_ECHECKSUM);

		image[NODE - 1] ^= 1;
		world_write(w, bad->pointer.addr, image);
		world_forget(w);
	}
	free(whole);
	world_close(w);
}

static void
reads_both_copies_and_names_the_bad_one(void **state)
{
	struct world *w = world_open(NODE, 2, 16 << 20);
	struct tree tree = grow(w);
	struct told *whole = walk(w, &tree, true, told_new());
	struct told *told;
	uint32_t bad = 0;

	(void)state;
	assert_int_equal(w->env.node_reads, 2 * whole->node_count);
	spoil(w, whole->nodes[3].pointer.addr);
	spoil(w, whole->nodes[5].pointer.addr2);
	spoil(w, tree.root.pointer.addr2);
	told = walk(w, &tree, true, told_new());
	assert_int_equal(told->node_count, whole->node_count + 3);
	assert_int_equal(told->entry_count, KEYS);
	for (uint32_t i = 0; i < told->node_count; i++) {
		const struct node_told *node = &told->nodes[i];

		if (node->copy == 0) {
			assert_int_equal(node->result, 0);
			continue;
		}
		bad++;
		assert_int_equal(node->result, COP_ECHECKSUM);
		assert_int_equal(
			node->copy, node->pointer.addr == whole->nodes[3].pointer.addr ? 1 : 2);
	}
	assert_int_equal(bad, 3);
	assert_int_equal(w->repairs, 0); /* a check writes nothing */
	free(told);
	free(whole);
	world_close(w);
}

/* ---- Dismantling ---------------------------------------------------------------------------- */

static void
take_node(void *context, const struct tree_pointer *pointer)
{
	(void)tell_node(context, pointer, 0, 0, 0);
}

static void
take_entry(void *context, struct view key, struct view value)
{
	(void)tell_entry(context, key, value);
}

static struct tree_dismantle
dismantle_to(struct told *told, bool skip_damaged)
{
	return (struct tree_dismantle){
		.entry = take_entry,
		.node = take_node,
		.context = told,
		.skip_damaged = skip_damaged,
	};
}

static void
dismantles_in_steps_that_can_be_repeated(void **state)
{
	struct world *w = world_open(NODE, 2, 16 << 20);
	struct tree tree = grow(w);
	struct told *told = told_new();
	struct told *again = told_new();
	struct tree_dismantle visit = dismantle_to(told, false);
	struct tree_dismantle visit_again = dismantle_to(again, false);
	struct tree_cursor cursor = { .bytes = 0 };
	bool is_done = false;
	uint32_t steps = 0;

	(void)state;
	while (!is_done) {
		struct tree_cursor next;
		struct tree_cursor same;
		uint32_t first = told->node_count;
		bool is_done_again;

		/* Twice from the same cursor: the same nodes, the same next step. */
		assert_int_equal(tree_dismantle(&w->env, tree.kind, &tree.root, &cursor, &visit,
					 &next, &is_done),
			0);
		again->node_count = 0;
		again->next_key = 0;
		assert_int_equal(tree_dismantle(&w->env, tree.kind, &tree.root, &cursor,
					 &visit_again, &same, &is_done_again),
			0);
		assert_int_equal(is_done, is_done_again);
		assert_int_equal(again->node_count, told->node_count - first);
		assert_memory_equal(again->nodes, &told->nodes[first],
			again->node_count * sizeof again->nodes[0]);
		if (!is_done) {
			assert_int_equal(next.bytes, same.bytes);
			assert_memory_equal(next.key, same.key, next.bytes);
			cursor = next;
		}
		steps++;
		if (steps % 7 == 0)
			world_forget(w);
	}
	assert_int_equal(told->entry_count, KEYS);
	assert_int_equal(told->node_count, world_used_places(w));
	for (uint32_t i = 0; i < told->node_count; i++) {
		for (uint32_t j = 0; j < i; j++)
			assert_int_not_equal(
				told->nodes[i].pointer.addr, told->nodes[j].pointer.addr);
	}
	/* The root goes last. */
	assert_int_equal(told->nodes[told->node_count - 1].pointer.addr, tree.root.pointer.addr);
	free(told);
	free(again);
	world_close(w);
}

/* All steps; the number of errors that had to be skipped is what `skip_damaged` hides. */
static int
dismantle_all(struct world *w, const struct tree *tree, bool skip_damaged, struct told *told)
{
	struct tree_dismantle visit = dismantle_to(told, skip_damaged);
	struct tree_cursor cursor = { .bytes = 0 };
	bool is_done = false;

	for (uint32_t steps = 0; !is_done; steps++) {
		int err = tree_dismantle(
			&w->env, tree->kind, &tree->root, &cursor, &visit, &cursor, &is_done);

		if (err)
			return err;
		assert_true(steps < NODES_MAX);
	}
	return 0;
}

static void
stops_at_damage_or_leaves_it_allocated(void **state)
{
	struct world *w = world_open(NODE, 1, 16 << 20);
	struct tree tree = grow(w);
	struct told *whole = walk(w, &tree, false, told_new());

	(void)state;
	for (uint32_t i = 0; i < whole->node_count; i++) {
		const struct node_told *bad = &whole->nodes[i];
		struct told *told = told_new();
		uint32_t below = 0;

		while (i + below + 1 < whole->node_count &&
			whole->nodes[i + below + 1].level < bad->level)
			below++;
		world_read(w, bad->pointer.addr, image);
		image[NODE - 1] ^= 1;
		world_write(w, bad->pointer.addr, image);
		world_forget(w);

		assert_int_equal(dismantle_all(w, &tree, false, told), COP_ECHECKSUM);
		free(told);
		told = told_new();
		assert_int_equal(dismantle_all(w, &tree, true, told), 0);
		assert_int_equal(told->node_count, whole->node_count - below - 1);
		free(told);

		image[NODE - 1] ^= 1;
		world_write(w, bad->pointer.addr, image);
		world_forget(w);
	}
	free(whole);
	world_close(w);
}

/* Empty ranges in inner nodes, at their ends as well. */
static void
passes_over_empty_ranges(void **state)
{
	struct world *w = world_open(NODE, 1, 16 << 20);
	struct tree tree = grow(w);
	uint32_t left = 0;
	struct told *told;

	(void)state;
	for (uint64_t number = 0; number < KEYS; number++) {
		uint8_t key[8];

		if (number / 300 % 2 == 0) {
			world_delete(w, &tree, key_of(number, key));
			world_forget(w); /* no sibling to merge with, if it is clean */
		} else {
			left++;
		}
		if (number % 100 == 0)
			world_checkpoint(w);
	}
	world_checkpoint(w);
	world_assert_exact(w, &tree);
	told = walk(w, &tree, false, told_new());
	assert_int_equal(told->entry_count, left);
	free(told);
	told = told_new();
	assert_int_equal(dismantle_all(w, &tree, false, told), 0);
	assert_int_equal(told->entry_count, left);
	assert_int_equal(told->node_count, world_used_places(w));
	free(told);
	world_close(w);
}

/* Wherever it starts: with the leaf that has the next key, or the one that would have it. */
static void
dismantles_from_any_cursor(void **state)
{
	struct world *w = world_open(NODE, 1, 16 << 20);
	struct tree tree = grow(w);
	uint8_t key[8];

	/* Only 1000 to 1999 are left; the root has fences or empty ranges at its ends. */
	(void)state;
	for (uint64_t number = 0; number < KEYS; number++) {
		if (number / 1000 == 1)
			continue;
		world_delete(w, &tree, key_of(number, key));
		if (number % 100 == 0) {
			world_checkpoint(w);
			world_forget(w);
		}
	}
	world_checkpoint(w);
	for (uint64_t from = 0; from < KEYS + 100; from += 50) {
		struct told *told = told_new();
		struct tree_dismantle visit = dismantle_to(told, false);
		struct tree_cursor cursor = { .bytes = 8 };
		bool is_done = false;

		put_be64(cursor.key, from);
		while (!is_done)
			assert_int_equal(tree_dismantle(&w->env, tree.kind, &tree.root, &cursor,
						 &visit, &cursor, &is_done),
				0);
		if (from < 2000) {
			assert_int_equal(told->entry_count, 2000 - max_u64(from, 1000));
			assert_int_equal(told->nodes[told->node_count - 1].pointer.addr,
				tree.root.pointer.addr);
		}
		free(told);
	}
	world_close(w);
}

static void
an_empty_tree_is_dismantled(void **state)
{
	struct world *w = world_open(NODE, 1, 16 << 20);
	struct tree tree = world_tree(w, TREE_CONTENT);
	struct told *told = told_new();

	(void)state;
	assert_int_equal(dismantle_all(w, &tree, false, told), 0);
	assert_int_equal(told->node_count, 0);
	free(told);
	world_close(w);
}

static void
refuses_more_levels_than_there_can_be(void **state)
{
	struct world *w = world_open(NODE, 1, 16 << 20);
	struct tree tree = grow(w);
	struct told *told = told_new();
	const struct tree_walk how = { tell_node, tell_entry, told, false, NULL, NULL };

	(void)state;
	tree.root.levels = TREE_LEVELS_MAX + 1;
	assert_int_equal(tree_walk(&w->env, tree.kind, &tree.root, &how), COP_EFORMAT);
	assert_int_equal(dismantle_all(w, &tree, true, told), COP_EFORMAT);
	free(told);
	world_close(w);
}

/* Leaves that lie side by side come in a few requests. */
static void
reads_many_leaves_at_once(void **state)
{
	struct world *w = world_open(NODE, 2, 16 << 20);
	struct tree tree = grow(w);
	uint64_t before = device_stats(w->dev).reads;
	struct told *told = walk(w, &tree, true, told_new());

	(void)state;
	assert_int_equal(w->env.node_reads, 2 * told->node_count);
	assert_true((device_stats(w->dev).reads - before) * 4 < w->env.node_reads);
	free(told);
	world_close(w);
}

static void
survives_every_failing_allocation(void **state)
{
	(void)state;
	for (uint64_t nth = 1;; nth++) {
		struct world *w = world_open(NODE, 2, 16 << 20);
		struct tree tree = world_grow(w, TREE_CONTENT, 200, 1, VALUE);
		struct told *told = told_new();
		const struct tree_walk how = { tell_node, tell_entry, told, true, NULL, NULL };
		struct tree_dismantle visit = dismantle_to(told, true);
		struct tree_cursor cursor = { .bytes = 0 };
		bool is_done;
		uint64_t before;
		int err;

		alloc_fail_nth(nth);
		before = alloc_count();
		err = tree_walk(&w->env, tree.kind, &tree.root, &how);
		if (!err) {
			told->next_key = 0;
			err = tree_dismantle(
				&w->env, tree.kind, &tree.root, &cursor, &visit, &cursor, &is_done);
		}
		before = alloc_count() - before;
		alloc_fail_nth(0);
		assert_true(err == 0 || err == COP_ENOMEM);
		free(told);
		world_close(w);
		if (before < nth)
			break;
	}
}

/* No child of the root but the first is entered. */
static bool
enter_first(void *context, const struct tree_pointer *pointer, uint8_t level)
{
	uint32_t *entered = context;

	(void)pointer;
	if (level != 1)
		return true;
	return (*entered)++ == 0;
}

static bool
count_nodes(void *context, const struct tree_pointer *pointer, uint8_t level, int copy, int result)
{
	uint32_t *entered = context;

	(void)pointer;
	(void)copy;
	assert_int_equal(result, 0);
	entered[1] += level == 1;
	entered[2] += level == 0;
	return true;
}

static void
leaves_out_what_is_not_entered(void **state)
{
	struct world *w = world_open(NODE, 2, 16 << 20);
	struct tree tree = grow(w);
	uint32_t entered[3] = { 0 };
	const struct tree_walk how = {
		.node = count_nodes,
		.enter = enter_first,
		.context = entered,
	};

	(void)state;
	assert_int_equal(tree_walk(&w->env, tree.kind, &tree.root, &how), 0);
	assert_true(entered[0] > 1); /* were asked for */
	assert_int_equal(entered[1], 1);
	assert_true(entered[2] > 0);
	assert_true(entered[2] < world_used_places(w) - 1 - entered[0]); /* not all leaves */
	world_close(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(walks_every_node_once_parents_first),
		cmocka_unit_test(an_empty_tree_has_no_node),
		cmocka_unit_test(ends_when_the_visitor_says_so),
		cmocka_unit_test(goes_on_after_damage),
		cmocka_unit_test(reads_both_copies_and_names_the_bad_one),
		cmocka_unit_test(dismantles_in_steps_that_can_be_repeated),
		cmocka_unit_test(stops_at_damage_or_leaves_it_allocated),
		cmocka_unit_test(passes_over_empty_ranges),
		cmocka_unit_test(dismantles_from_any_cursor),
		cmocka_unit_test(an_empty_tree_is_dismantled),
		cmocka_unit_test(refuses_more_levels_than_there_can_be),
		cmocka_unit_test(reads_many_leaves_at_once),
		cmocka_unit_test(leaves_out_what_is_not_entered),
		cmocka_unit_test(survives_every_failing_allocation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
