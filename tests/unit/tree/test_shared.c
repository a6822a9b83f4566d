/*
 * Trees that share nodes: what tree.h asks of those who count references, with a toy that does.
 */

#include "world.h"

#include <stdlib.h>

enum { NODE = 4096, TREES = 4, KEYS = 1500, ENTRIES = 200000, VALUE_BYTES = 60 };

/* How often each node and each entry is referred to. An entry's value begins with its number. */
struct counts {
	struct world *w;
	struct tree trees[TREES];
	uint32_t model[TREES][KEYS];  /* number of the entry, 0: none */
	uint32_t nodes[WORLD_PLACES]; /* references beyond the first */
	uint32_t entries[ENTRIES];
	uint32_t next_entry;
	struct rng rng;
};

static uint32_t *
count_of(struct counts *c, const struct tree_pointer *pointer)
{
	return &c->nodes[pointer->addr / (NODE / BLOCK_BYTES) - 1];
}

static bool
is_shared(void *context, enum tree_kind kind, const struct tree_pointer *pointer)
{
	struct world *w = context;

	(void)kind;
	return *count_of(w->test, pointer) > 0;
}

static void
lose(void *context, const struct tree_pointer *pointer)
{
	struct world *w = context;

	assert_true(*count_of(w->test, pointer) > 0);
	--*count_of(w->test, pointer);
}

static void
gain(void *context, enum tree_kind kind, const struct tree_gain *what)
{
	struct world *w = context;
	struct counts *c = w->test;

	(void)kind;
	if (what->child.addr != 0)
		++*count_of(c, &what->child);
	else
		c->entries[get_le32(what->value.data)]++;
}

static void
counts_init(struct counts *c, uint64_t seed)
{
	memset(c, 0, sizeof *c);
	c->w = world_open(NODE, 2, 64 << 20);
	c->w->test = c;
	c->w->hooks.is_shared = is_shared;
	c->w->hooks.may_be_shared = is_shared;
	c->w->hooks.lose = lose;
	c->w->hooks.gain = gain;
	rng_seed(&c->rng, seed);
	for (size_t i = 0; i < TREES; i++)
		c->trees[i] = world_tree(c->w, TREE_CONTENT);
}

static void
put(struct counts *c, size_t tree, uint32_t number)
{
	uint8_t value[VALUE_BYTES] = { 0 };
	uint8_t key[8];
	uint32_t *entry = &c->model[tree][number];
	uint32_t old = *entry;

	assert_true(c->next_entry + 1 < ENTRIES);
	*entry = ++c->next_entry;
	c->entries[*entry] = 1;
	put_le32(value, *entry);
	world_put(c->w, &c->trees[tree], key_of(number, key), view_of(value, sizeof value));
	c->entries[old] -= old != 0;
}

static void delete (struct counts *c, size_t tree, uint32_t number)
{
	uint8_t key[8];
	uint32_t old = c->model[tree][number];

	c->model[tree][number] = 0;
	world_delete(c->w, &c->trees[tree], key_of(number, key));
	c->entries[old] -= old != 0;
}

/* ---- Taking apart ---------------------------------------------------------------------------- */

static void
drop_entry(void *context, struct view key, struct view value)
{
	struct counts *c = context;

	(void)key;
	assert_true(c->entries[get_le32(value.data)] > 0);
	c->entries[get_le32(value.data)]--;
}

static void
drop_node(void *context, const struct tree_pointer *pointer)
{
	struct counts *c = context;

	assert_int_equal(*count_of(c, pointer), 0);
	gate_enter_exclusive(c->w->gate);
	c->w->hooks.free_node(c->w, pointer);
	gate_leave_exclusive(c->w->gate);
}

static bool
drop_shared(void *context, const struct tree_pointer *pointer, uint8_t level)
{
	struct counts *c = context;

	assert_true(level < TREE_LEVELS_MAX);
	if (*count_of(c, pointer) == 0)
		return false;
	--*count_of(c, pointer);
	return true;
}

static void
take_apart(struct counts *c, size_t tree)
{
	struct tree_dismantle visit = {
		.entry = drop_entry,
		.node = drop_node,
		.is_shared = drop_shared,
		.context = c,
	};
	struct tree_cursor cursor = { .bytes = 0 };
	bool is_done = false;

	world_checkpoint(c->w);
	while (!is_done)
		assert_int_equal(tree_dismantle(&c->w->env, TREE_CONTENT, &c->trees[tree].root,
					 &cursor, &visit, &cursor, &is_done),
			0);
	c->trees[tree].root = (struct tree_root){ 0 };
	memset(c->model[tree], 0, sizeof c->model[tree]);
}

static void
clone_tree(struct counts *c, size_t from, size_t to)
{
	if (from == to)
		return;
	take_apart(c, to);
	c->trees[to].root = c->trees[from].root;
	if (c->trees[to].root.levels > 0)
		++*count_of(c, &c->trees[to].root.pointer);
	memcpy(c->model[to], c->model[from], sizeof c->model[to]);
}

/* ---- What must be so ------------------------------------------------------------------------- */

struct met {
	struct counts *c;
	uint32_t nodes[WORLD_PLACES]; /* how often each was led to */
	uint32_t *entries;
	size_t tree;
	uint32_t found;
};

static bool
meet_node(void *context, const struct tree_pointer *pointer, uint8_t level)
{
	struct met *met = context;

	(void)level;
	return met->nodes[pointer->addr / (NODE / BLOCK_BYTES) - 1]++ == 0;
}

static bool
meet_entry(void *context, struct view key, struct view value)
{
	struct met *met = context;

	(void)key;
	met->entries[get_le32(value.data)]++;
	return true;
}

/* Every count is the number of pointers that lead there. */
static void
expect_counts(struct counts *c)
{
	struct met *met = calloc(1, sizeof *met);
	struct tree_walk walk = { .enter = meet_node, .entry = meet_entry, .context = met };

	assert_non_null(met);
	met->c = c;
	met->entries = calloc(ENTRIES, sizeof *met->entries);
	assert_non_null(met->entries);
	world_checkpoint(c->w);
	for (size_t i = 0; i < TREES; i++)
		assert_int_equal(tree_walk(&c->w->env, TREE_CONTENT, &c->trees[i].root, &walk), 0);
	for (size_t i = 0; i < WORLD_PLACES; i++) {
		assert_int_equal(met->nodes[i] > 0, c->w->places[i].is_used);
		if (met->nodes[i] > 0)
			assert_int_equal(met->nodes[i], c->nodes[i] + 1);
	}
	for (uint32_t i = 1; i <= c->next_entry; i++)
		assert_int_equal(met->entries[i], c->entries[i]);
	free(met->entries);
	free(met);
}

static void
expect_content(struct counts *c)
{
	for (size_t i = 0; i < TREES; i++) {
		for (uint32_t number = 0; number < KEYS; number++) {
			uint8_t value[VALUE_BYTES];
			uint8_t key[8];
			size_t bytes;
			int err = tree_get(
				&c->trees[i], key_of(number, key), value, sizeof value, &bytes);

			assert_int_equal(err, c->model[i][number] == 0 ? COP_ENOENT : 0);
			if (err == 0)
				assert_int_equal(get_le32(value), c->model[i][number]);
		}
	}
}

static void
random_step(struct counts *c)
{
	size_t tree = rng_below(&c->rng, TREES);
	uint32_t first = (uint32_t)rng_below(&c->rng, KEYS);
	uint32_t count = 1 + (uint32_t)rng_below(&c->rng, 60);

	switch (rng_below(&c->rng, 12)) {
	case 0:
		clone_tree(c, tree, rng_below(&c->rng, TREES));
		break;
	case 1:
		world_checkpoint(c->w);
		world_forget(c->w);
		break;
	case 2:
	case 3:
	case 4: /* also whole nodes, so that there are empty ranges and merges */
		for (uint32_t i = first; i < KEYS && i < first + 3 * count; i++)
			delete (c, tree, i);
		break;
	default:
		for (uint32_t i = first; i < KEYS && i < first + count; i++)
			put(c, tree, i);
	}
}

static void
counts_follow_every_change(void **state)
{
	static struct counts c;

	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++) {
		counts_init(&c, seed);
		for (int i = 0; i < 300; i++) {
			random_step(&c);
			if (i % 10 == 0)
				expect_counts(&c);
			if (i % 60 == 0)
				expect_content(&c);
		}
		expect_content(&c);
		for (size_t i = 0; i < TREES; i++) {
			take_apart(&c, i);
			expect_counts(&c);
			expect_content(&c);
		}
		assert_int_equal(world_used_places(c.w), 0);
		world_close(c.w);
	}
}

/* One change of a clone copies the way to it, and nothing else. */
static void
a_change_copies_one_path(void **state)
{
	static struct counts c;
	uint32_t before;

	(void)state;
	counts_init(&c, 1);
	for (uint32_t i = 0; i < KEYS; i++)
		put(&c, 0, i);
	assert_int_equal(c.trees[0].root.levels, 2);
	clone_tree(&c, 0, 1);
	before = world_used_places(c.w);
	put(&c, 1, 700);
	assert_int_equal(world_used_places(c.w), before + 2);
	put(&c, 1, 700); /* in place: the copies are its own */
	assert_int_equal(world_used_places(c.w), before + 2);
	expect_counts(&c);
	expect_content(&c);
	world_close(c.w);
}

/* What was made and cloned in one generation is copied all the same. */
static void
copies_what_is_shared_in_the_open_generation(void **state)
{
	static struct counts c;

	(void)state;
	counts_init(&c, 1);
	put(&c, 0, 1);
	c.trees[1].root = c.trees[0].root;
	memcpy(c.model[1], c.model[0], sizeof c.model[1]);
	++*count_of(&c, &c.trees[1].root.pointer);
	put(&c, 1, 1);
	put(&c, 0, 2);
	expect_content(&c);
	expect_counts(&c);
	world_close(c.w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_follow_every_change),
		cmocka_unit_test(a_change_copies_one_path),
		cmocka_unit_test(copies_what_is_shared_in_the_open_generation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
