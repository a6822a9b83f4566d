#include "world.h"

enum { NODE = 4096, KEYS = 500, VALUE = 60 };

/* What a walk has shown. */
struct shown {
	uint32_t images;
	uint32_t leaf_entries;
	uint32_t children;
	struct tree_pointer expected; /* of the node that was told before its image */
	bool is_expected;
};

static bool
tell_node(void *context, const struct tree_pointer *pointer, uint8_t level, int copy, int result)
{
	struct shown *shown = context;

	(void)level;
	(void)copy;
	assert_int_equal(result, 0);
	shown->expected = *pointer;
	shown->is_expected = true;
	return true;
}

static void
show(void *context, const uint8_t *data)
{
	struct shown *shown = context;
	uint8_t key_bytes[TREE_KEY_BYTES_MAX];
	struct tree_image image;
	struct view last = view_of(NULL, 0);
	uint8_t last_bytes[TREE_KEY_BYTES_MAX];

	assert_true(shown->is_expected);
	shown->is_expected = false;
	tree_image_read(data, &image);
	assert_int_equal(image.kind, TREE_CONTENT);
	assert_memory_equal(&image.self, &shown->expected, sizeof image.self);
	assert_true(image.heap_bytes >= image.garbage_bytes);
	for (uint32_t i = 0; i < image.entries; i++) {
		struct view value;
		struct view key = tree_image_entry(data, i, key_bytes, &value);

		assert_true(view_compare(image.low, key) <= 0);
		assert_true(image.high.bytes == 0 || view_compare(key, image.high) < 0);
		if (i > 0)
			assert_true(view_compare(last, key) < 0);
		memcpy(last_bytes, key.data, key.bytes);
		last = view_of(last_bytes, key.bytes);
		if (image.level > 0) {
			assert_int_equal(value.bytes, TREE_POINTER_BYTES);
			shown->children++;
		} else {
			assert_int_equal(value.bytes, VALUE);
			assert_memory_equal(value.data, key.data, 8);
			shown->leaf_entries++;
		}
	}
	shown->images++;
}

static void
shows_every_node_with_its_entries(void **state)
{
	struct world *w = world_open(NODE, 2, 16 << 20);
	struct tree tree = world_grow(w, TREE_CONTENT, KEYS, 1, VALUE);
	struct shown shown = { 0 };
	struct tree_walk walk = { .node = tell_node, .image = show, .context = &shown };

	(void)state;
	assert_int_equal(tree_walk(&w->env, tree.kind, &tree.root, &walk), 0);
	assert_int_equal(shown.images, world_used_places(w));
	assert_int_equal(shown.leaf_entries, KEYS);
	assert_int_equal(shown.children, shown.images - 1); /* all but the root */
	world_close(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shows_every_node_with_its_entries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
