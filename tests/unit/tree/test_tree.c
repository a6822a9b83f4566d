#include "base/checksum.h"
#include "support/alloc.h"
#include "world.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* The oracle: entries in order, in one array. */
struct model {
	struct entry {
		struct view key;
		struct view value;
		uint8_t *memory; /* of both; owned */
	} * entries;
	uint32_t count;
	uint32_t capacity;
};

static bool
model_search(const struct model *model, struct view key, uint32_t *out_index)
{
	uint32_t first = 0;
	uint32_t end = model->count;

	while (first < end) {
		uint32_t middle = (first + end) / 2;
		int order = view_compare(model->entries[middle].key, key);

		if (order < 0)
			first = middle + 1;
		else
			end = middle;
	}
	*out_index = first;
	return first < model->count && view_equal(model->entries[first].key, key);
}

static void
model_delete(struct model *model, struct view key)
{
	uint32_t index;

	if (!model_search(model, key, &index))
		return;
	free(model->entries[index].memory);
	model->count--;
	memmove(&model->entries[index], &model->entries[index + 1],
		(model->count - index) * sizeof *model->entries);
}

static void
model_put(struct model *model, struct view key, struct view value)
{
	struct entry entry = { .memory = malloc(key.bytes + value.bytes + 1) };
	uint32_t index;

	model_delete(model, key);
	(void)model_search(model, key, &index);
	assert(entry.memory);
	memcpy(entry.memory, key.data, key.bytes);
	memcpy(entry.memory + key.bytes, value.data, value.bytes);
	entry.key = view_of(entry.memory, key.bytes);
	entry.value = view_of(entry.memory + key.bytes, value.bytes);
	if (model->count == model->capacity) {
		model->capacity = 2 * model->capacity + 16;
		model->entries = realloc(model->entries, model->capacity * sizeof *model->entries);
		assert(model->entries);
	}
	memmove(&model->entries[index + 1], &model->entries[index],
		(model->count - index) * sizeof *model->entries);
	model->entries[index] = entry;
	model->count++;
}

static void
model_fini(struct model *model)
{
	while (model->count > 0)
		free(model->entries[--model->count].memory);
	free(model->entries);
}

struct compare {
	const struct model *model;
	uint32_t next;
	uint32_t end;
};

static bool
compare_entry(void *context, struct view key, struct view value)
{
	struct compare *compare = context;
	const struct entry *entry = &compare->model->entries[compare->next];

	assert_true(compare->next < compare->end);
	assert_true(view_equal(key, entry->key));
	assert_true(view_equal(value, entry->value));
	return ++compare->next < compare->end;
}

static void
assert_same_from(struct world *w, struct tree *tree, const struct model *model, struct view from,
	uint32_t most)
{
	struct compare compare = { .model = model };
	uint32_t first;

	(void)model_search(model, from, &first);
	compare.next = first;
	compare.end = (uint32_t)min_u64(model->count, (uint64_t)first + most);
	assert_int_equal(
		tree_scan(tree, from, (uint32_t)rng_below(&w->rng, 40), compare_entry, &compare),
		0);
	assert_int_equal(compare.next, compare.end);
}

static void
assert_same(struct world *w, struct tree *tree, const struct model *model)
{
	assert_same_from(w, tree, model, view_of(NULL, 0), UINT32_MAX);
}

static void
assert_sound(struct world *w, struct tree *tree)
{
	gate_enter_shared(w->gate);
	tree_assert_sound(tree);
	gate_leave_shared(w->gate);
}

/* ---- Random operations against the model ---------------------------------------------------- */

/* How keys and values are made. */
struct manner {
	const char *name;
	uint32_t node_bytes;
	uint32_t steps;
	uint64_t numbers;         /* keys come from so many */
	size_t front_bytes;       /* the same at the start of every key */
	size_t back_bytes;        /* different at its end, but only in length */
	uint32_t value_bytes_max; /* 0: what the tree allows */
	uint32_t period; /* steps between two checkpoints; after each second, all is forgotten */
	uint32_t cache_mib;
};

static const struct manner manners[] = {
	{ "short keys", 4096, 6000, 2000, 0, 0, 100, 97, 16 },
	{ "large values", 4096, 4000, 300, 0, 0, 0, 97, 16 },
	{ "long keys", 4096, 4000, 600, 480, 24, 0, 97, 16 },
	{ "long keys, no values", 4096, 4000, 1000, 0, 504, 1, 97, 16 },
	{ "long and short", 4096, 4000, 1000, 8, 400, 0, 97, 16 },
	{ "deep", 4096, 9000, 4000, 0, 504, 0, 500, 16 },
	{ "nothing is cached", 4096, 4000, 400, 100, 200, 0, 1, 16 },
	{ "little is cached", 4096, 3000, 1000, 100, 200, 0, 3, 1 },
	{ "8 KiB", 8192, 6000, 3000, 12, 100, 200, 97, 16 },
	{ "8 KiB, large values", 8192, 3000, 400, 300, 100, 0, 97, 16 },
	{ "16 KiB", 16384, 6000, 3000, 12, 100, 400, 97, 16 },
	{ "16 KiB, large values", 16384, 3000, 400, 300, 100, 0, 97, 16 },
	{ "64 KiB", 65536, 6000, 5000, 30, 300, 2000, 97, 64 },
	{ "64 KiB, large values", 65536, 1500, 300, 0, 0, 0, 97, 64 },
};

/* Depends on `number` alone. */
static struct view
key_in_manner(const struct manner *manner, uint64_t number, uint8_t out[TREE_KEY_BYTES_MAX])
{
	size_t back = manner->back_bytes == 0 ? 0
		      : number % 3 == 0
			      ? manner->back_bytes
			      : hash64(&number, sizeof number, 1) % (manner->back_bytes + 1);

	memset(out, 'k', manner->front_bytes);
	memset(out + manner->front_bytes, 'm', back);
	put_be64(out + manner->front_bytes + back,
		number % 2 ? number : hash64(&number, sizeof number, 2));
	return view_of(out, manner->front_bytes + back + 8);
}

static void
random_step(struct world *w, struct tree *tree, struct model *model, const struct manner *manner,
	uint32_t step)
{
	static uint8_t value[TREE_NODE_BYTES_MAX];
	uint8_t key_bytes[TREE_KEY_BYTES_MAX];
	uint32_t most = manner->value_bytes_max ? manner->value_bytes_max
						: tree_value_bytes_max(manner->node_bytes);
	/* It grows, shrinks, grows, and shrinks to nothing. */
	uint32_t quarter = step / (manner->steps / 4 + 1);
	uint64_t puts_of_10 = quarter % 2 == 0 ? 8 : 2;
	struct view key = key_in_manner(manner, rng_below(&w->rng, manner->numbers), key_bytes);
	size_t bytes = rng_below(&w->rng, 3) == 0 ? most : rng_below(&w->rng, most + 1ULL);

	if (rng_below(&w->rng, 10) < puts_of_10) {
		memset(value, (int)rng_below(&w->rng, 256), bytes);
		model_put(model, key, view_of(value, bytes));
		world_put(w, tree, key, view_of(value, bytes));
	} else {
		uint32_t index;

		/* Mostly one that is there. */
		if (model->count > 0 && rng_below(&w->rng, 10) > 0) {
			(void)model_search(model, key, &index);
			if (index == model->count)
				index--;
			memcpy(key_bytes, model->entries[index].key.data,
				model->entries[index].key.bytes);
			key = view_of(key_bytes, model->entries[index].key.bytes);
		}
		model_delete(model, key);
		world_delete(w, tree, key);
	}
}

static void
assert_gets(
	struct world *w, struct tree *tree, const struct model *model, const struct manner *manner)
{
	static uint8_t value[TREE_NODE_BYTES_MAX];
	uint8_t key_bytes[TREE_KEY_BYTES_MAX];
	struct view key = key_in_manner(manner, rng_below(&w->rng, manner->numbers), key_bytes);
	uint32_t index;
	size_t bytes = 7;
	bool is_there = model_search(model, key, &index);
	int err = tree_get(tree, key, value, sizeof value, &bytes);

	assert_int_equal(err, is_there ? 0 : COP_ENOENT);
	if (is_there)
		assert_true(view_equal(view_of(value, bytes), model->entries[index].value));
	assert_same_from(w, tree, model, key, 20);
}

static void
does_what_a_sorted_array_does(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(manners); i++) {
		const struct manner *manner = &manners[i];
		struct world *w =
			world_open(manner->node_bytes, 2, (uint64_t)manner->cache_mib << 20);
		struct tree tree = world_tree(w, TREE_OBJECTS);
		struct model model = { 0 };

		for (uint32_t step = 0; step < manner->steps; step++) {
			random_step(w, &tree, &model, manner, step);
			if (step % 13 == 0)
				assert_gets(w, &tree, &model, manner);
			if (step % 37 == 0)
				assert_sound(w, &tree);
			if (step % manner->period == 0)
				world_checkpoint(w);
			if (step % (2 * manner->period) == 0)
				world_forget(w);
			if (step % 500 == 0) {
				world_checkpoint(w);
				assert_same(w, &tree, &model);
				world_assert_exact(w, &tree);
			}
		}
		while (model.count > 0) {
			uint8_t key_bytes[TREE_KEY_BYTES_MAX];
			struct entry *entry = &model.entries[rng_below(&w->rng, model.count)];
			struct view key = view_of(key_bytes, entry->key.bytes);

			memcpy(key_bytes, entry->key.data, entry->key.bytes);
			model_delete(&model, key);
			world_delete(w, &tree, key);
		}
		assert_int_equal(tree.root.levels, 0);
		assert_int_equal(world_used_places(w), 0);
		model_fini(&model);
		world_close(w);
	}
}

/* ---- Shape ---------------------------------------------------------------------------------- */

struct shape {
	uint32_t nodes;
	uint32_t leaves;
};

static bool
count_node(void *context, const struct tree_pointer *pointer, uint8_t level, int copy, int result)
{
	struct shape *shape = context;

	(void)pointer;
	(void)copy;
	assert_int_equal(result, 0);
	shape->nodes++;
	shape->leaves += level == 0;
	return true;
}

static struct shape
shape_of(struct world *w, const struct tree *tree)
{
	struct shape shape = { 0 };
	const struct tree_walk walk = { .node = count_node, .context = &shape };

	assert_int_equal(tree_walk(&w->env, tree->kind, &tree->root, &walk), 0);
	return shape;
}

static void
fills_its_leaves_in_ascending_order(void **state)
{
	enum { KEYS = 5000, ENTRY = NODE_ENTRY_BYTES + 8 + 40, LEAF = 4096 - NODE_HEADER_BYTES };
	struct world *w = world_open(4096, 2, 16 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, KEYS, 1, 40);
	struct shape shape = shape_of(w, &tree);

	(void)state;
	assert_true((uint64_t)shape.leaves * LEAF * 95 / 100 < (uint64_t)KEYS * ENTRY);
	assert_int_equal(shape.nodes, world_used_places(w));
	world_close(w);
}

/* Two series side by side, each at the end of its own range. */
static void
fills_its_leaves_in_two_series_at_once(void **state)
{
	enum { KEYS = 4000, ENTRY = NODE_ENTRY_BYTES + 8 + 40, LEAF = 4096 - NODE_HEADER_BYTES };
	struct world *w = world_open(4096, 2, 16 << 20);
	struct tree tree = world_tree(w, TREE_OBJECTS);
	uint8_t value[40] = { 0 };
	uint8_t key[8];

	(void)state;
	for (uint64_t i = 0; i < KEYS / 2; i++) {
		for (uint64_t series = 0; series < 2; series++)
			world_put(w, &tree, key_of(series << 32 | i, key),
				view_of(value, sizeof value));
	}
	world_checkpoint(w);
	assert_true((uint64_t)shape_of(w, &tree).leaves * LEAF * 85 / 100 < KEYS * ENTRY);
	world_close(w);
}

static void
stays_small_as_a_queue(void **state)
{
	struct world *w = world_open(4096, 2, 16 << 20);
	struct tree tree = world_tree(w, TREE_OBJECTS);
	uint8_t value[200] = { 0 };
	uint8_t key[8];

	(void)state;
	for (uint64_t i = 0; i < 6000; i++) {
		world_put(w, &tree, key_of(i, key), view_of(value, sizeof value));
		if (i >= 100)
			world_delete(w, &tree, key_of(i - 100, key));
		if (i % 50 == 0) {
			world_checkpoint(w);
			world_forget(w);
			assert_true(world_used_places(w) < 30);
			assert_true(tree.root.levels <= 3);
		}
	}
	world_close(w);
}

static void
becomes_low_again_when_emptied_from_either_end(void **state)
{
	(void)state;
	for (int from_end = 0; from_end < 2; from_end++) {
		struct world *w = world_open(4096, 2, 16 << 20);
		struct tree tree = world_grow(w, TREE_OBJECTS, 3000, 1, 100);
		uint8_t key[8];

		assert_int_equal(tree.root.levels, 3);
		for (uint64_t i = 0; i < 2995; i++) {
			world_delete(w, &tree, key_of(from_end ? 2999 - i : i, key));
			if (i % 10 == 0) {
				world_checkpoint(w);
				world_forget(w);
			}
		}
		assert_int_equal(tree.root.levels, 1);
		assert_int_equal(world_used_places(w), 1);

		/* What is left has fences; keys outside of them have their place all the same. */
		for (uint64_t i = 0; i < 3000; i += 100)
			world_put(w, &tree, key_of(i, key), view_of(key, 8));
		for (uint64_t i = 0; i < 3000; i += 100)
			assert_int_equal(world_get(w, &tree, i), 0);
		world_close(w);
	}
}

/* What is left in the middle, between fences, is more than a leaf. */
static void
takes_keys_on_either_side_of_a_root_with_fences(void **state)
{
	struct world *w = world_open(4096, 2, 16 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 3000, 1, 100);
	uint8_t key[8];

	(void)state;
	for (uint64_t i = 0; i < 3000; i++) {
		if (i / 500 == 2)
			continue;
		world_delete(w, &tree, key_of(i, key));
		if (i % 10 == 0) {
			world_checkpoint(w);
			world_forget(w);
		}
	}
	assert_int_equal(tree.root.levels, 2);
	for (uint64_t i = 0; i < 3000; i += 7) {
		uint64_t number = i / 7 % 2 ? i : 2999 - i;

		world_put(w, &tree, key_of(number, key), view_of(key, 8));
		assert_sound(w, &tree);
	}
	for (uint64_t i = 0; i < 3000; i += 7)
		assert_int_equal(world_get(w, &tree, i / 7 % 2 ? i : 2999 - i), 0);
	world_checkpoint(w);
	world_assert_exact(w, &tree);
	world_close(w);
}

static void
refuses_to_change_a_tree_that_is_too_high(void **state)
{
	struct world *w = world_open(4096, 2, 16 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 3000, 1, 100);
	struct tree_pins pins;
	uint8_t key[8];

	(void)state;
	tree_pins_init(&pins, w->cache);
	tree.root.levels = TREE_LEVELS_MAX + 1;
	assert_int_equal(tree_prepare(&tree, key_of(1, key), &pins), COP_EFORMAT);
	assert_int_equal(pins.count, 0);
	tree_pins_release(&pins);
	world_close(w);
}

static void
deleting_what_is_not_there_changes_nothing(void **state)
{
	struct world *w = world_open(4096, 2, 16 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 500, 2, 100);
	struct tree_root before = tree.root;
	uint8_t key[8];

	(void)state;
	world_delete(w, &tree, key_of(7, key));
	assert_int_equal(w->new_nodes, 0);
	assert_memory_equal(&tree.root, &before, sizeof before);
	world_close(w);
}

static void
replaces_a_value_of_equal_size_in_place(void **state)
{
	struct world *w = world_open(4096, 2, 16 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 500, 1, 100);
	uint8_t value[200] = { 7 };
	uint8_t key[8];
	struct tree_root before;

	(void)state;
	world_put(w, &tree, key_of(7, key), view_of(value, 100));
	assert_int_equal(w->new_nodes, tree.root.levels); /* shadowed */
	before = tree.root;
	world_put(w, &tree, key_of(7, key), view_of(value, 100));
	assert_int_equal(w->new_nodes, 0);
	assert_memory_equal(&tree.root, &before, sizeof before);

	/* The leaf was full: a longer value splits it. */
	world_put(w, &tree, key_of(7, key), view_of(value, 200));
	assert_int_equal(w->new_nodes, 1);
	world_close(w);
}

/* ---- Cost ----------------------------------------------------------------------------------- */

static void
reads_one_node_for_each_level_and_none_when_cached(void **state)
{
	struct world *w = world_open(4096, 2, 16 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 4000, 1, 60);
	struct tree_pins pins;
	uint8_t key[8];

	(void)state;
	assert_int_equal(tree.root.levels, 3);
	assert_int_equal(world_get(w, &tree, 1234), 0);
	assert_int_equal(w->env.node_reads, 3);
	assert_int_equal(world_get(w, &tree, 1234), 0);
	assert_int_equal(w->env.node_reads, 3);

	world_forget(w);
	tree_pins_init(&pins, w->cache);
	assert_int_equal(tree_prepare(&tree, key_of(99, key), &pins), 0);
	assert_int_equal(w->env.node_reads, 6);
	assert_int_equal(pins.count, 3);
	world_forget(w); /* pinned, they stay */
	gate_enter_exclusive(w->gate);
	assert_true(tree_is_prepared(&tree, key_of(99, key), NULL));
	assert_false(tree_is_prepared(&tree, key_of(3999, key), NULL));
	gate_leave_exclusive(w->gate);
	tree_pins_release(&pins);

	/* So do those that were there by chance, from the moment at which they are counted on. */
	assert_int_equal(world_get(w, &tree, 3999), 0);
	tree_pins_init(&pins, w->cache);
	assert_int_equal(tree_pins_reserve(&pins, 1), 0);
	gate_enter_exclusive(w->gate);
	assert_true(tree_is_prepared(&tree, key_of(3999, key), &pins));
	assert_int_equal(pins.count, 3);
	cache_shrink(w->cache);
	assert_true(tree_is_prepared(&tree, key_of(3999, key), NULL));
	gate_leave_exclusive(w->gate);
	tree_pins_release(&pins);
	world_close(w);
}

static bool
count_entry(void *context, struct view key, struct view value)
{
	(void)key;
	(void)value;
	++*(uint32_t *)context;
	return true;
}

static void
reads_ahead_without_reading_more(void **state)
{
	struct world *w = world_open(4096, 2, 16 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 4000, 1, 60);
	struct shape shape = shape_of(w, &tree);
	uint64_t device_reads[2];

	(void)state;
	for (uint32_t ahead = 0; ahead < 2; ahead++) {
		struct device_stats before = device_stats(w->dev);
		uint32_t entries = 0;

		world_forget(w);
		w->env.node_reads = 0;
		assert_int_equal(
			tree_scan(&tree, view_of(NULL, 0), ahead * 32, count_entry, &entries), 0);
		assert_int_equal(entries, 4000);
		assert_int_equal(w->env.node_reads, shape.nodes);
		device_reads[ahead] = device_stats(w->dev).reads - before.reads;
	}
	/* Leaves of a series lie side by side: they come in one request. */
	assert_true(device_reads[1] * 4 < device_reads[0]);
	world_close(w);
}

/* ---- Scans while the tree changes ----------------------------------------------------------- */

enum { FIXED = 10 }; /* keys that are multiples of this are there throughout */

struct busy {
	struct tree *tree;
	uint64_t next; /* fixed key to come */
	uint32_t changes;
};

static void
change_something(struct world *w)
{
	struct busy *busy = w->test;
	uint8_t value[300] = { 0 };
	uint8_t key[8];

	for (uint32_t i = 0; i < 3; i++) {
		uint64_t number = rng_below(&w->rng, 20000);

		if (number % FIXED == 0)
			continue;
		put_be64(value, number);
		if (rng_below(&w->rng, 2) == 0)
			world_put(w, busy->tree, key_of(number, key),
				view_of(value, 8 + rng_below(&w->rng, 290)));
		else
			world_delete(w, busy->tree, key_of(number, key));
		busy->changes++;
	}
	if (busy->changes % 20 == 0) {
		world_checkpoint(w);
		world_forget(w);
	}
}

static bool
expect_fixed(void *context, struct view key, struct view value)
{
	struct busy *busy = context;
	uint64_t number = get_be64(key.data);

	/* Plain assertions, for cmocka's belong to the main thread. */
	assert(memcmp(key.data, value.data, 8) == 0);
	assert(number <= busy->next);
	if (number == busy->next)
		busy->next += FIXED;
	return true;
}

static void
a_scan_sees_once_what_is_there_throughout(void **state)
{
	struct world *w = world_open(4096, 2, 4 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 2000, FIXED, 60);

	(void)state;
	for (uint32_t round = 0; round < 6; round++) {
		struct busy busy = { .tree = &tree };

		w->test = &busy;
		w->after_leave = change_something;
		assert_int_equal(
			tree_scan(&tree, view_of(NULL, 0), round * 4, expect_fixed, &busy), 0);
		w->after_leave = NULL;
		assert_int_equal(busy.next, 2000 * FIXED);
		assert_true(busy.changes > 100);
		assert_sound(w, &tree);
	}
	world_close(w);
}

/* ---- Threads -------------------------------------------------------------------------------- */

struct bystander {
	pthread_t thread;
	struct world *w;
	struct tree *tree;
	atomic_bool *is_over;
	uint32_t rounds;
};

static void *
read_on(void *argument)
{
	struct bystander *reader = argument;

	while (!atomic_load(reader->is_over)) {
		uint64_t number = reader->rounds++ % 2000 * FIXED;
		struct busy busy = { .tree = reader->tree };
		uint8_t value[64];
		uint8_t key[8];
		size_t bytes;

		assert(tree_get(reader->tree, key_of(number, key), value, sizeof value, &bytes) ==
			0);
		assert(memcmp(value, key, sizeof key) == 0);
		if (reader->rounds % 100 == 0)
			assert(tree_scan(reader->tree, view_of(NULL, 0), 8, expect_fixed, &busy) ==
				0);
	}
	return NULL;
}

static void
readers_go_on_beside_a_writer(void **state)
{
	struct world *w = world_open(4096, 2, 4 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 2000, FIXED, 60);
	struct busy busy = { .tree = &tree };
	struct bystander bystanders[2];
	atomic_bool is_over = false;

	(void)state;
	w->test = &busy;
	for (size_t i = 0; i < ARRAY_COUNT(bystanders); i++) {
		bystanders[i] = (struct bystander){ .w = w, .tree = &tree, .is_over = &is_over };
		assert_int_equal(
			pthread_create(&bystanders[i].thread, NULL, read_on, &bystanders[i]), 0);
	}
	for (uint32_t i = 0; i < 100; i++)
		change_something(w);
	atomic_store(&is_over, true);
	for (size_t i = 0; i < ARRAY_COUNT(bystanders); i++)
		assert_int_equal(pthread_join(bystanders[i].thread, NULL), 0);
	assert_sound(w, &tree);
	world_close(w);
}

/* ---- Failing, and hostile ------------------------------------------------------------------- */

/* Everything that reads or prepares; the first error. */
static int
use(struct tree *tree, uint64_t number, struct tree_pins *pins)
{
	uint8_t value[TREE_NODE_BYTES_MIN];
	uint32_t entries = 0;
	uint8_t key[8];
	size_t bytes;
	int err = tree_get(tree, key_of(number, key), value, sizeof value, &bytes);

	if (!err || err == COP_ENOENT)
		err = tree_scan(tree, key_of(number, key), 8, count_entry, &entries);
	if (!err)
		err = tree_prepare(tree, key_of(number, key), pins);
	return err;
}

/* One allocation fails, or all from there on; reading ahead can do without. */
static void
survives_every_failing_allocation(void **state)
{
	uint32_t failed = 0;
	uint64_t counted = 0;

	(void)state;
	for (uint64_t nth = 1; nth == 1 || nth / 2 <= counted; nth++) {
		struct world *w = world_open(4096, 2, 4 << 20);
		struct tree tree = world_grow(w, TREE_OBJECTS, 500, 1, 60);
		struct tree_pins pins;
		int err;

		tree_pins_init(&pins, w->cache);
		counted = alloc_count();
		if (nth % 2)
			alloc_fail_nth(nth / 2 + 1);
		else
			alloc_fail_from(nth / 2);
		err = use(&tree, 77, &pins);
		alloc_fail_nth(0);
		counted = alloc_count() - counted;
		assert_true(err == 0 || err == COP_ENOMEM);
		assert_int_equal(pins.count, err ? 0 : tree.root.levels);
		failed += err != 0;
		tree_pins_release(&pins);
		assert_int_equal(world_get(w, &tree, 77), 0);
		world_close(w);
	}
	assert_true(failed > 2);
}

static void
says_that_a_value_does_not_fit_the_buffer(void **state)
{
	struct world *w = world_open(4096, 2, 4 << 20);
	struct tree tree = world_grow(w, TREE_OBJECTS, 5, 1, 60);
	uint8_t value[60];
	uint8_t key[8];
	size_t bytes = 0;

	(void)state;
	assert_int_equal(tree_get(&tree, key_of(1, key), value, 59, &bytes), COP_ERANGE);
	assert_int_equal(bytes, 60);
	assert_int_equal(tree_get(&tree, key_of(1, key), value, 60, &bytes), 0);
	world_close(w);
}

/* Spoils a few bytes of the image, but keeps it the node that it is for pointer and checksum. */
static void
spoil(struct rng *rng, uint8_t *node, uint32_t node_bytes)
{
	for (uint64_t i = 1 + rng_below(rng, 3); i > 0; i--) {
		uint64_t used = NODE_HEADER_BYTES + 16 + node_count(node) * NODE_SLOT_BYTES;
		uint64_t at = rng_below(rng, 3) == 0 ? NODE_AT_ENTRIES + rng_below(rng, 12)
			      : rng_below(rng, 2)
				      ? NODE_HEADER_BYTES + rng_below(rng, used - NODE_HEADER_BYTES)
				      : node_bytes - 1 - rng_below(rng, node_bytes / 2);

		if (at < node_bytes)
			node[at] ^= (uint8_t)(1 << rng_below(rng, 8));
	}
	node_checksum_put(node, node_bytes);
}

struct victim {
	uint64_t number; /* of the node to take */
	struct tree_pointer pointer;
};

static bool
take_victim(void *context, const struct tree_pointer *pointer, uint8_t level, int copy, int result)
{
	struct victim *victim = context;

	(void)level;
	(void)copy;
	(void)result;
	victim->pointer = *pointer;
	return victim->number-- > 0;
}

/* What it says is an error or nothing; what it must not do is crash, hang or assert. */
static void
survives_nodes_that_make_no_sense(void **state)
{
	uint32_t refused = 0;
	uint32_t accepted = 0;

	(void)state;
	for (uint32_t round = 0; round < 600; round++) {
		struct world *w = world_open(4096, 1, 4 << 20);
		struct tree tree;
		struct victim victim;
		struct tree_walk walk = { .node = take_victim, .context = &victim };
		uint8_t node[4096];

		rng_seed(&w->rng, round);
		tree = world_grow(w, TREE_OBJECTS, 150, 3, 60 + round % 5);
		victim.number = rng_below(&w->rng, shape_of(w, &tree).nodes);
		assert_int_equal(tree_walk(&w->env, tree.kind, &tree.root, &walk), 0);
		world_read(w, victim.pointer.addr, node);
		spoil(&w->rng, node, sizeof node);
		world_write(w, victim.pointer.addr, node);
		world_forget(w);

		for (uint32_t step = 0; step < 30; step++) {
			uint64_t number = rng_below(&w->rng, 460);
			struct tree_pins pins;
			uint8_t key[8];
			int err;

			tree_pins_init(&pins, w->cache);
			err = use(&tree, number, &pins);
			tree_pins_release(&pins);
			refused += err != 0;
			accepted += err == 0;
			if (!err && step % 2)
				world_put(w, &tree, key_of(number, key), view_of(node, 300));
			else if (!err)
				world_delete(w, &tree, key_of(number, key));
		}
		world_close(w);
	}
	assert_true(refused > 0);
	assert_true(accepted > 0);
}

/* ---- Loss ------------------------------------------------------------------------------------ */

static void
lose(struct world *w, struct tree *tree, struct view key)
{
	uint32_t worst = tree_nodes_worst(tree->root.levels);
	struct tree_pins pins;

	assert_int_equal(cache_reserve(w->cache, w->env.node_bytes / BLOCK_BYTES, worst), 0);
	tree_pins_init(&pins, w->cache);
	assert_int_equal(tree_prepare(tree, key, &pins), COP_ECHECKSUM);
	assert_false(pins.met_lost);
	assert_int_equal(pins.count, 0);
	assert_int_equal(tree_prepare_loss(tree, key, &pins), 0);
	gate_enter_exclusive(w->gate);
	w->new_nodes = 0;
	tree_lose(tree, key);
	assert_true(w->new_nodes < worst);
	gate_leave_exclusive(w->gate);
	cache_unreserve(w->cache, w->env.node_bytes / BLOCK_BYTES, worst - w->new_nodes);
	tree_pins_release(&pins);
}

/* What cannot be read is lost for good, whatever the device says later; all else is there. */
static void
keeps_what_is_lost_apart_from_the_rest(void **state)
{
	enum { KEYS = 150 };

	(void)state;
	for (uint32_t victim_number = 0; victim_number < 12; victim_number++) {
		struct world *w = world_open(4096, 1, 4 << 20);
		struct tree tree = world_grow(w, TREE_CONTENT, KEYS, 1, 300);
		struct victim victim = { .number = victim_number };
		struct tree_walk walk = { .node = take_victim, .context = &victim };
		static const uint8_t zeros[4096];
		struct tree_pins pins;
		bool is_lost[KEYS];
		uint32_t lost = 0;
		uint8_t whole[4096];
		uint8_t key[8];

		assert_int_equal(tree_walk(&w->env, tree.kind, &tree.root, &walk), 0);
		world_read(w, victim.pointer.addr, whole);
		world_write(w, victim.pointer.addr, zeros);
		world_forget(w);
		for (uint32_t i = 0; i < KEYS; i++) {
			is_lost[i] = world_get(w, &tree, i) != 0;
			if (is_lost[i] && lost++ == 0)
				lose(w, &tree, key_of(i, key));
		}
		assert_true(lost > 0);

		for (uint32_t round = 0; round < 3; round++) {
			for (uint32_t i = 0; i < KEYS; i++) {
				assert_int_equal(
					world_get(w, &tree, i), is_lost[i] ? COP_ECHECKSUM : 0);
				tree_pins_init(&pins, w->cache);
				assert_int_equal(tree_prepare(&tree, key_of(i, key), &pins) != 0,
					is_lost[i]);
				assert_true(pins.met_lost == is_lost[i]);
				tree_pins_release(&pins);
				if (!is_lost[i] && (i + round) % 3 == 0) {
					uint8_t value[300] = { 0 };

					world_delete(w, &tree, key_of(i, key));
					put_be64(value, i);
					world_put(w, &tree, key_of(i, key),
						view_of(value, sizeof value));
				}
			}
			if (round == 0)
				world_write(w, victim.pointer.addr, whole);
			world_checkpoint(w);
			world_forget(w);
		}
		world_close(w);
	}
}

/* Damage that has gone away by the time that it would be marked is none. */
static void
loses_nothing_that_can_be_read(void **state)
{
	struct world *w = world_open(4096, 1, 4 << 20);
	struct tree tree = world_grow(w, TREE_CONTENT, 150, 1, 300);
	uint32_t used = world_used_places(w);
	struct tree_pins pins;
	uint8_t key[8];

	(void)state;
	tree_pins_init(&pins, w->cache);
	assert_int_equal(tree_prepare_loss(&tree, key_of(7, key), &pins), 0);
	gate_enter_exclusive(w->gate);
	tree_lose(&tree, key_of(7, key));
	gate_leave_exclusive(w->gate);
	tree_pins_release(&pins);
	assert_int_equal(world_get(w, &tree, 7), 0);
	assert_int_equal(world_used_places(w), used);
	world_close(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(does_what_a_sorted_array_does),
		cmocka_unit_test(fills_its_leaves_in_ascending_order),
		cmocka_unit_test(fills_its_leaves_in_two_series_at_once),
		cmocka_unit_test(stays_small_as_a_queue),
		cmocka_unit_test(becomes_low_again_when_emptied_from_either_end),
		cmocka_unit_test(takes_keys_on_either_side_of_a_root_with_fences),
		cmocka_unit_test(refuses_to_change_a_tree_that_is_too_high),
		cmocka_unit_test(deleting_what_is_not_there_changes_nothing),
		cmocka_unit_test(replaces_a_value_of_equal_size_in_place),
		cmocka_unit_test(reads_one_node_for_each_level_and_none_when_cached),
		cmocka_unit_test(reads_ahead_without_reading_more),
		cmocka_unit_test(a_scan_sees_once_what_is_there_throughout),
		cmocka_unit_test(readers_go_on_beside_a_writer),
		cmocka_unit_test(survives_every_failing_allocation),
		cmocka_unit_test(says_that_a_value_does_not_fit_the_buffer),
		cmocka_unit_test(survives_nodes_that_make_no_sense),
		cmocka_unit_test(keeps_what_is_lost_apart_from_the_rest),
		cmocka_unit_test(loses_nothing_that_can_be_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
