/*
 * A node image from the device: judging it, and using what was accepted.
 *
 * The first bytes of the header and the checksum are set right, so that the fuzzer need not guess
 * them. An accepted node must bear everything that the tree may do with it: search, visiting,
 * inserting, removing, splitting, merging, compacting.
 */

#include "fuzz/fuzz.h"
#include "tree/tree_internal.h"

static uint8_t node[TREE_NODE_BYTES_MAX];
static uint8_t other[TREE_NODE_BYTES_MAX];
static uint8_t value_bytes[TREE_NODE_BYTES_MAX];

static void
use_entries(const uint8_t *image)
{
	for (uint32_t i = 0; i < node_count(image); i++) {
		uint8_t key_bytes[TREE_KEY_BYTES_MAX];
		struct view key = node_key_copy(node_key(image, i), key_bytes);
		struct view value = node_value(image, i);
		uint32_t index;

		assert(node_covers(image, key));
		assert(node_search(image, key, &index));
		assert(index == i);
		memcpy(value_bytes, value.data, value.bytes); /* every byte is there */
		if (node_level(image) == 0)
			continue;
		assert(node_search_child(image, key) == i);
		assert(node_next_child(image, i) <= i + 1);
		assert(node_key_compare(node_child_high(image, i), key) > 0 ||
			i + 1 == node_count(image));
	}
}

/* A key within the fences that is not there: one that is, and a byte more. */
static bool
new_key(const uint8_t *image, uint32_t number, uint8_t out[TREE_KEY_BYTES_MAX], struct view *key,
	uint32_t *out_index)
{
	*key = node_key_copy(node_key(image, number % node_count(image)), out);
	if (key->bytes == TREE_KEY_BYTES_MAX)
		return false;
	out[key->bytes] = (uint8_t)(number >> 8);
	key->bytes++;
	return node_covers(image, *key) && !node_search(image, *key, out_index);
}

static struct view
new_value(const uint8_t *image, uint32_t node_bytes, uint32_t number)
{
	static const struct tree_pointer child = { 1, 0, 1, 1 };
	size_t bytes = number % (tree_value_bytes_max(node_bytes) + 1);

	if (node_level(image) == 0)
		return view_of(value_bytes, bytes);
	tree_pointer_encode(&child, value_bytes);
	return view_of(value_bytes, TREE_POINTER_BYTES);
}

static void
assert_whole(const uint8_t *image, uint32_t node_bytes)
{
	int err = node_check_structure(image, node_bytes);

	assert(err == 0);
	use_entries(image);
}

/* Inserts until a split, merges again where that fits, and removes what there is. */
static void
change(uint32_t node_bytes)
{
	uint8_t separator[TREE_KEY_BYTES_MAX];
	uint8_t key_bytes[TREE_KEY_BYTES_MAX];
	uint32_t number = 12345;
	struct view key;
	uint32_t index;

	for (uint32_t i = 0; i < 200; i++) {
		struct view value;

		number = number * 1103515245 + 12345;
		if (!new_key(node, number >> 8, key_bytes, &key, &index))
			continue;
		value = new_value(node, node_bytes, number >> 4);
		if (node_has_room(node, node_bytes, key, value)) {
			node_insert(node, node_bytes, index, key, value);
			continue;
		}
		memcpy(other, node, NODE_HEADER_BYTES);
		(void)node_split(node, other, node_bytes, index, key, value, separator);
		assert_whole(other, node_bytes);
		if (node_merge_fits(node, other, node_bytes))
			node_merge(node, other, other, node_bytes);
		assert_whole(other, node_bytes);
	}
	assert_whole(node, node_bytes);
	while (node_level(node) == 0 && node_count(node) > 1) {
		number = number * 1103515245 + 12345;
		node_remove(node, node_bytes, (number >> 8) % node_count(node));
		if (number >> 28 == 0)
			assert_whole(node, node_bytes);
	}
	assert_whole(node, node_bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	uint32_t node_bytes = bytes <= 4096 ? 4096 : bytes <= 16384 ? 16384 : 65536;

	memset(node, 0, node_bytes);
	memcpy(node, data, min_u64(bytes, node_bytes));
	memcpy(node + NODE_AT_MAGIC, "copn", 4);
	node[NODE_AT_LEVEL] %= TREE_LEVELS_MAX;
	node[NODE_AT_KIND] = (uint8_t)(1 + node[NODE_AT_KIND] % TREE_DIRECTORY);
	node_checksum_put(node, node_bytes);
	if (tree_node_check(node, node_bytes, NULL, 0, -1, NULL) != 0) {
		err_clear();
		return 0;
	}
	use_entries(node);
	change(node_bytes);
	return 0;
}

/* Leaves and inner nodes of every size, with short and long keys, fences and empty ranges. */
size_t
fuzz_seed(uint32_t index, uint8_t out[FUZZ_SEED_BYTES_MAX])
{
	static const uint32_t sizes[] = { 4096, 16384, 65536 };
	uint32_t node_bytes = sizes[index % 3];
	uint8_t level = index / 3 % 2;
	size_t front = index / 6 % 2 ? 400 : 0;
	bool has_high = index / 12 % 2;
	struct node_header header = {
		.kind = TREE_OBJECTS,
		.level = level,
		.self = { .addr = 7, .addr2 = 9, .birth = 3, .seal = 11 },
	};
	uint8_t key[TREE_KEY_BYTES_MAX];
	uint8_t high[TREE_KEY_BYTES_MAX];

	if (index >= 24)
		return 0;
	memset(key, 'k', front);
	memset(high, 'k', front);
	put_be64(key + front, 0);
	put_be64(high + front, UINT64_MAX);
	node_header_encode(&header, out);
	node_clear(
		out, node_bytes, view_of(key, front + 8), view_of(high, has_high ? front + 8 : 0));
	for (uint32_t i = 0; i < 100; i++) {
		struct tree_pointer child = { i % 3 == 1 ? 0 : 5, 0, i % 3 == 1 ? 0 : 1,
			i % 3 == 1 ? 0 : 9 };
		uint8_t value[300] = { 0 };
		size_t value_size = level == 0 ? i * 3 : TREE_POINTER_BYTES;

		put_be64(key + front, i * 7);
		if (level > 0)
			tree_pointer_encode(&child, value);
		if (node_has_room(
			    out, node_bytes, view_of(key, front + 8), view_of(value, value_size)))
			node_insert(out, node_bytes, node_count(out), view_of(key, front + 8),
				view_of(value, value_size));
	}
	return node_bytes;
}
