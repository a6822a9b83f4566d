#include "base/checksum.h"
#include "world.h"

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
};

static const struct manner manners[] = {
	{ "short keys", 4096, 6000, 2000, 0, 0, 100 },
	{ "large values", 4096, 4000, 300, 0, 0, 0 },
	{ "long keys", 4096, 4000, 600, 480, 24, 0 },
	{ "long keys, no values", 4096, 4000, 1000, 0, 504, 1 },
	{ "long and short", 4096, 4000, 1000, 8, 400, 0 },
	{ "16 KiB", 16384, 6000, 3000, 12, 100, 400 },
	{ "16 KiB, large values", 16384, 3000, 400, 300, 100, 0 },
	{ "64 KiB", 65536, 6000, 5000, 30, 300, 2000 },
	{ "64 KiB, large values", 65536, 1500, 300, 0, 0, 0 },
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
		struct world *w = world_open(manner->node_bytes, 2, 64 << 20);
		struct tree tree = world_tree(w, TREE_OBJECTS);
		struct model model = { 0 };

		for (uint32_t step = 0; step < manner->steps; step++) {
			random_step(w, &tree, &model, manner, step);
			if (step % 13 == 0)
				assert_gets(w, &tree, &model, manner);
			if (step % 37 == 0)
				assert_sound(w, &tree);
			if (step % 97 == 0)
				world_checkpoint(w);
			if (step % 194 == 0)
				world_forget(w);
			if (step % 388 == 0) {
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(does_what_a_sorted_array_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
