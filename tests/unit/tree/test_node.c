#include "base/random.h"
#include "tree/tree_internal.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const uint32_t sizes[] = { 4096, 8192, 16384, 65536 };

static uint8_t node[TREE_NODE_BYTES_MAX];
static uint8_t other[TREE_NODE_BYTES_MAX];
static uint8_t copy[TREE_NODE_BYTES_MAX];
static uint8_t value_bytes[TREE_NODE_BYTES_MAX];

static const struct view no_fence;

static void
make(uint8_t *image, uint32_t node_bytes, uint8_t level, struct view low, struct view high)
{
	const struct node_header header = {
		.kind = TREE_OBJECTS,
		.level = level,
		.self = { .addr = 7, .addr2 = 9, .birth = 3, .seal = 11 },
	};

	node_header_encode(&header, image);
	node_clear(image, node_bytes, low, high);
}

/* `bytes` bytes: a filler, then the number, big-endian; in order of the numbers. */
static struct view
long_key(uint32_t number, size_t bytes, uint8_t out[TREE_KEY_BYTES_MAX])
{
	memset(out, 'k', bytes);
	put_be32(out + bytes - 4, number);
	return view_of(out, bytes);
}

static void
add(uint8_t *image, uint32_t node_bytes, struct view key, struct view value)
{
	uint32_t index;

	assert_false(node_search(image, key, &index));
	node_insert(image, node_bytes, index, key, value);
}

static void
add_pointer(uint8_t *image, uint32_t node_bytes, const char *key, uint64_t addr)
{
	struct tree_pointer pointer = { addr, 0, addr ? 1 : 0, addr };
	uint8_t bytes[TREE_POINTER_BYTES];

	tree_pointer_encode(&pointer, bytes);
	add(image, node_bytes, view_of(key, strlen(key)), view_of(bytes, sizeof bytes));
}

static void
assert_whole(const uint8_t *image, uint32_t node_bytes)
{
	assert_int_equal(node_check_structure(image, node_bytes), 0);
}

static void
keeps_entries_in_order_under_random_changes(void **state)
{
	static bool is_there[256];
	struct rng rng;

	(void)state;
	rng_seed(&rng, 5);
	make(node, 4096, 0, no_fence, no_fence);
	memset(is_there, 0, sizeof is_there);
	for (uint32_t step = 0; step < 20000; step++) {
		uint8_t key_bytes[TREE_KEY_BYTES_MAX];
		uint32_t number = (uint32_t)rng_below(&rng, 256);
		struct view key = long_key(number, 6, key_bytes);
		struct view value = view_of(value_bytes, rng_below(&rng, 60));
		uint32_t index;

		assert_int_equal(node_search(node, key, &index), is_there[number]);
		if (is_there[number])
			node_remove(node, 4096, index);
		else if (node_has_room(node, 4096, key, value))
			node_insert(node, 4096, index, key, value);
		else
			continue;
		is_there[number] = !is_there[number];
		if (node_count(node) > 0)
			assert_whole(node, 4096);
	}
	for (uint32_t number = 0; number < 256; number++) {
		uint8_t key_bytes[TREE_KEY_BYTES_MAX];
		uint32_t index;

		assert_int_equal(node_search(node, long_key(number, 6, key_bytes), &index),
			is_there[number]);
	}
}

static void
finds_keys_that_differ_only_in_length(void **state)
{
	static const uint8_t zeros[9];
	uint32_t index;

	(void)state;
	make(node, 4096, 0, no_fence, no_fence);
	for (size_t bytes = 0; bytes <= 8; bytes += 2)
		add(node, 4096, view_of(zeros, bytes), view_of(NULL, 0));
	assert_whole(node, 4096);
	for (size_t bytes = 0; bytes <= 9; bytes++) {
		assert_int_equal(node_search(node, view_of(zeros, bytes), &index), bytes % 2 == 0);
		assert_int_equal(index, (bytes + 1) / 2);
	}
}

static void
stores_no_prefix_that_the_fences_share(void **state)
{
	uint8_t key[TREE_KEY_BYTES_MAX];

	(void)state;
	make(node, 4096, 0, view_of("object 7, a", 11), view_of("object 7, z", 11));
	add(node, 4096, view_of("object 7, name", 14), view_of("value", 5));
	assert_int_equal(node_prefix(node).bytes, 10);
	assert_true(view_equal(node_suffix(node, 0), view_of("name", 4)));
	assert_true(
		view_equal(node_key_copy(node_key(node, 0), key), view_of("object 7, name", 14)));
	assert_whole(node, 4096);
}

/* ---- Splits --------------------------------------------------------------------------------- */

/* Are the entries of both, and their fences, those of `copy` with one more? */
static void
assert_split(uint32_t node_bytes, struct view key, struct view separator)
{
	uint32_t both = node_count(node) + node_count(other);
	uint8_t left_key[TREE_KEY_BYTES_MAX];
	uint32_t index;

	assert_whole(node, node_bytes);
	assert_whole(other, node_bytes);
	assert_int_equal(both, node_count(copy) + 1);
	assert_true(view_equal(node_low(node), node_low(copy)));
	assert_true(view_equal(node_high(node), separator));
	assert_true(view_equal(node_low(other), separator));
	assert_true(view_equal(node_high(other), node_high(copy)));
	assert_true(node_search(view_compare(key, separator) < 0 ? node : other, key, &index));
	for (uint32_t i = 0; i < node_count(copy); i++) {
		struct view old = node_key_copy(node_key(copy, i), left_key);
		const uint8_t *half = view_compare(old, separator) < 0 ? node : other;

		assert_true(node_search(half, old, &index));
		assert_true(view_equal(node_value(half, index), node_value(copy, i)));
	}
}

/*
 * Fills a node with entries of the given manner until one does not fit, and splits it. Low fence
 * and keys have the longest length and differ at the end only, so the separator is as long as it
 * can be, and the prefix is as short as the high fence makes it.
 */
static void
fill_and_split(struct rng *rng, uint32_t node_bytes, size_t low_bytes, size_t high_bytes,
	size_t key_bytes, uint32_t large_of_10)
{
	uint8_t low[TREE_KEY_BYTES_MAX];
	uint8_t high[TREE_KEY_BYTES_MAX];
	uint8_t separator[TREE_KEY_BYTES_MAX];
	uint8_t bytes[TREE_KEY_BYTES_MAX];
	uint32_t most = tree_value_bytes_max(node_bytes);

	memset(low, 'k', sizeof low);
	memset(low + sizeof low - 4, 0, 4);
	memset(high, 'z', sizeof high);
	make(node, node_bytes, 0, view_of(low, low_bytes), view_of(high, high_bytes));
	for (;;) {
		struct view key = long_key((uint32_t)rng_next(rng) | 1, key_bytes, bytes);
		bool is_large = rng_below(rng, 10) < large_of_10;
		struct view value =
			view_of(value_bytes, is_large ? most : rng_below(rng, most + 1ULL));
		struct view fence;
		uint32_t index;

		if (node_search(node, key, &index))
			continue;
		if (node_has_room(node, node_bytes, key, value)) {
			node_insert(node, node_bytes, index, key, value);
			continue;
		}
		memcpy(copy, node, node_bytes);
		make(other, node_bytes, 0, no_fence, no_fence);
		fence = node_split(node, other, node_bytes, index, key, value, separator);
		assert_split(node_bytes, key, fence);
		return;
	}
}

static void
splits_whatever_the_sizes_are(void **state)
{
	struct rng rng;

	(void)state;
	rng_seed(&rng, 6);
	for (size_t s = 0; s < ARRAY_COUNT(sizes); s++) {
		uint32_t rounds = sizes[s] == 4096 ? 400 : 20;

		for (uint32_t round = 0; round < rounds; round++) {
			size_t low_bytes = round & 1 ? TREE_KEY_BYTES_MAX : 0;
			size_t high_bytes = round & 2 ? TREE_KEY_BYTES_MAX : 0;
			size_t key_bytes = round & 4 || low_bytes ? TREE_KEY_BYTES_MAX : 5;

			fill_and_split(
				&rng, sizes[s], low_bytes, high_bytes, key_bytes, round / 8 % 11);
		}
	}
}

/* The largest of all entries, in the middle of others that leave no room for it on one side. */
static void
splits_around_an_entry_in_the_exact_middle(void **state)
{
	uint32_t most = tree_value_bytes_max(4096);

	(void)state;
	for (size_t high_bytes = 0; high_bytes <= 512; high_bytes += 512) {
		for (uint32_t small = 0; small <= most; small += 3) {
			uint8_t low[TREE_KEY_BYTES_MAX];
			uint8_t high[TREE_KEY_BYTES_MAX];
			uint8_t separator[TREE_KEY_BYTES_MAX];
			uint8_t bytes[TREE_KEY_BYTES_MAX];
			struct view fence;
			struct view key;
			uint32_t number = 2;
			uint32_t index;

			long_key(0, sizeof low, low);
			memset(high, 'z', sizeof high);
			make(node, 4096, 0, view_of(low, sizeof low), view_of(high, high_bytes));
			for (;; number += 2) {
				key = long_key(number, sizeof bytes, bytes);
				if (!node_has_room(node, 4096, key, view_of(value_bytes, small)))
					break;
				add(node, 4096, key, view_of(value_bytes, small));
			}
			key = long_key(number / 2 | 1, sizeof bytes, bytes);
			if (node_has_room(node, 4096, key, view_of(value_bytes, most)))
				continue;
			memcpy(copy, node, 4096);
			make(other, 4096, 0, no_fence, no_fence);
			(void)node_search(node, key, &index);
			fence = node_split(node, other, 4096, index, key,
				view_of(value_bytes, most), separator);
			assert_split(4096, key, fence);
		}
	}
}

static void
leaves_full_nodes_behind_an_ascending_series(void **state)
{
	uint8_t separator[TREE_KEY_BYTES_MAX];
	uint8_t bytes[TREE_KEY_BYTES_MAX];
	struct view value = view_of(value_bytes, 50);

	(void)state;
	make(node, 16384, 0, no_fence, no_fence);
	for (uint32_t number = 0;; number++) {
		struct view key = long_key(number, 8, bytes);

		if (node_has_room(node, 16384, key, value)) {
			add(node, 16384, key, value);
			continue;
		}
		make(other, 16384, 0, no_fence, no_fence);
		(void)node_split(node, other, 16384, number, key, value, separator);
		/* The separator may take the place of the last entry. */
		assert_true(node_count(node) >= number - 1);
		assert_whole(node, 16384);
		assert_whole(other, 16384);
		return;
	}
}

static void
cuts_the_separator_short(void **state)
{
	uint8_t separator[TREE_KEY_BYTES_MAX];
	struct view value = view_of(value_bytes, 700);
	struct view fence;

	(void)state;
	make(node, 4096, 0, no_fence, no_fence);
	add(node, 4096, view_of("apple pie", 9), value);
	add(node, 4096, view_of("apple tart", 10), value);
	add(node, 4096, view_of("pear and custard", 16), value);
	add(node, 4096, view_of("pear compote", 12), value);
	make(other, 4096, 0, no_fence, no_fence);
	add(node, 4096, view_of("plum cake", 9), value);
	fence = node_split(node, other, 4096, 0, view_of("aioli", 5), value, separator);
	assert_true(view_equal(fence, view_of("p", 1)));
}

static void
splits_inner_nodes_with_a_child_on_either_side(void **state)
{
	struct rng rng;

	(void)state;
	rng_seed(&rng, 8);
	for (uint32_t round = 0; round < 300; round++) {
		uint8_t separator[TREE_KEY_BYTES_MAX];
		uint8_t bytes[TREE_KEY_BYTES_MAX];
		uint8_t child[TREE_POINTER_BYTES];
		size_t key_bytes = round % 3 == 0 ? 512 : round % 3 == 1 ? 100 : 4;
		struct view low = long_key(0, key_bytes, bytes);
		bool is_empty = round % 2;

		make(node, 4096, 1, low, no_fence);
		for (uint32_t number = 0;; number += 2) {
			struct tree_pointer pointer = { is_empty ? 0 : 5, 0, is_empty ? 0 : 1,
				is_empty ? 0 : 9 };
			struct view value = view_of(child, sizeof child);
			struct view key = long_key(number, key_bytes, bytes);

			tree_pointer_encode(&pointer, child);
			is_empty = !is_empty && rng_below(&rng, 2) == 0;
			if (node_has_room(node, 4096, key, value)) {
				add(node, 4096, key, value);
				continue;
			}
			assert_whole(node, 4096);
			pointer = (struct tree_pointer){ 5, 0, 1, 9 };
			tree_pointer_encode(&pointer, child);
			key = long_key((uint32_t)rng_below(&rng, number) | 1, key_bytes, bytes);
			memcpy(copy, node, 4096);
			make(other, 4096, 1, no_fence, no_fence);
			(void)node_search(node, key, &number);
			assert_split(4096, key,
				node_split(node, other, 4096, number, key, value, separator));
			break;
		}
	}
}

/* ---- Merges --------------------------------------------------------------------------------- */

static void
merges_into_either_node(void **state)
{
	(void)state;
	for (int into_left = 0; into_left < 2; into_left++) {
		uint8_t *into = into_left ? node : other;
		uint8_t key[TREE_KEY_BYTES_MAX];

		make(node, 4096, 0, view_of("aa", 2), view_of("ab", 2));
		make(other, 4096, 0, view_of("ac", 2), view_of("b", 1));
		add(node, 4096, view_of("aax", 3), view_of("1", 1));
		add(other, 4096, view_of("acy", 3), view_of("22", 2));
		add(other, 4096, view_of("acz", 3), view_of("", 0));
		assert_true(node_merge_fits(node, other, 4096));
		node_merge(node, other, into, 4096);
		assert_whole(into, 4096);
		assert_int_equal(node_count(into), 3);
		assert_true(view_equal(node_low(into), view_of("aa", 2)));
		assert_true(view_equal(node_high(into), view_of("b", 1)));
		assert_true(view_equal(node_key_copy(node_key(into, 0), key), view_of("aax", 3)));
		assert_true(view_equal(node_key_copy(node_key(into, 2), key), view_of("acz", 3)));
		assert_true(view_equal(node_value(into, 1), view_of("22", 2)));
	}
}

static void
merging_joins_empty_ranges(void **state)
{
	(void)state;
	make(node, 4096, 1, no_fence, view_of("m", 1));
	make(other, 4096, 1, view_of("m", 1), no_fence);
	add_pointer(node, 4096, "", 5);
	add_pointer(node, 4096, "g", 0);
	add_pointer(other, 4096, "m", 0);
	add_pointer(other, 4096, "s", 6);
	node_merge(node, other, node, 4096);
	assert_whole(node, 4096);
	assert_int_equal(node_count(node), 3);
	assert_true(node_key_compare(node_child_high(node, 1), view_of("s", 1)) == 0);
}

static void
widens_only_when_the_longer_suffixes_fit(void **state)
{
	uint8_t low[400];
	uint8_t high[400];
	uint8_t key[400];
	uint32_t count = 0;

	(void)state;
	memset(low, 'k', sizeof low);
	memset(high, 'k', sizeof high);
	memset(key, 'k', sizeof key);
	low[399] = 0;
	high[399] = 255;
	make(node, 4096, 0, view_of(low, 400), view_of(high, 400));
	for (key[399] = 1; count < 7; count++, key[399]++)
		add(node, 4096, view_of(key, 400), view_of("", 0));
	assert_true(node_widen(node, 4096, no_fence, no_fence));
	assert_whole(node, 4096);
	assert_int_equal(node_count(node), 7);

	make(node, 4096, 0, view_of(low, 400), view_of(high, 400));
	for (key[399] = 1; count < 30; count++, key[399]++)
		add(node, 4096, view_of(key, 400), view_of("", 0));
	memcpy(copy, node, 4096);
	assert_false(node_widen(node, 4096, no_fence, no_fence));
	assert_memory_equal(node, copy, 4096);
}

/* ---- Judging -------------------------------------------------------------------------------- */

/* One field of a sound node, set to nonsense, and what is said about it. */
struct nonsense {
	uint32_t at;
	uint16_t value;
	const char *text;
};

/* A leaf with fences "b" and "m" and the entries cat: 1, dog: 22, owl is beyond. */
static void
make_sample(void)
{
	make(node, 4096, 0, view_of("b", 1), view_of("m", 1));
	add(node, 4096, view_of("cat", 3), view_of("1", 1));
	add(node, 4096, view_of("dog", 3), view_of("22", 2));
}

static void
names_what_makes_no_sense(void **state)
{
	enum { SLOT = NODE_HEADER_BYTES + 8, CELL_CAT = 4096 - 6, CELL_DOG = CELL_CAT - 7 };
	static const struct nonsense rows[] = {
		{ NODE_AT_ENTRIES, 0, "without entries" },
		{ NODE_AT_ENTRIES, 3, "lies at byte 0" },
		{ NODE_AT_ENTRIES, 65535, "too many" },
		{ NODE_AT_HINT, 3, "hint" },
		{ NODE_AT_HEAP_BYTES, 65535, "too many" },
		{ NODE_AT_HEAP_BYTES, 12, "lies at byte" },
		{ NODE_AT_HEAP_BYTES, 14, "not the heap" },
		{ NODE_AT_GARBAGE_BYTES, 1, "not the heap" },
		{ NODE_AT_LOW_BYTES, 513, "fences of" },
		{ NODE_AT_HIGH_BYTES, 513, "fences of" },
		{ NODE_AT_LOW_BYTES, 2, "wrong order" },
		{ NODE_AT_PREFIX_BYTES, 1, "prefix" },
		{ NODE_HEADER_BYTES, 'm' << 8 | 'm', "wrong order" },
		{ NODE_HEADER_BYTES, 'm' << 8 | 'd', "below the low fence" },
		{ NODE_HEADER_BYTES, 'd' << 8 | 'b', "past the high fence" },
		{ SLOT + SLOT_AT_OFFSET, 4090 - 8, "lies at byte" },
		{ SLOT + SLOT_AT_OFFSET, CELL_DOG, "head" },
		{ SLOT + SLOT_AT_OFFSET, 4095, "lies at byte" },
		{ SLOT + SLOT_AT_SUFFIX_BYTES, 65535, "lies at byte" },
		{ SLOT + SLOT_AT_SUFFIX_BYTES, 2, "head" },
		{ SLOT + SLOT_AT_HEAD, 'x', "head" },
		{ CELL_DOG, 737, "value of entry 1" },
		{ CELL_CAT, 2, "value of entry 0" },
	};

	(void)state;
	make_sample();
	assert_whole(node, 4096);
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		make_sample();
		put_le16(node + rows[i].at, rows[i].value);
		assert_int_equal(node_check_structure(node, 4096), COP_EFORMAT);
		if (!strstr(err_text(), rows[i].text))
			fail_msg("row %zu: %s", i, err_text());
	}
}

static void
names_what_is_wrong_with_children(void **state)
{
	(void)state;
	make(node, 4096, 1, view_of("b", 1), no_fence);
	add_pointer(node, 4096, "c", 5);
	assert_int_equal(node_check_structure(node, 4096), COP_EFORMAT);
	assert_non_null(strstr(err_text(), "not at the low fence"));

	make(node, 4096, 1, no_fence, no_fence);
	add_pointer(node, 4096, "", 0);
	assert_int_equal(node_check_structure(node, 4096), COP_EFORMAT);
	assert_non_null(strstr(err_text(), "without children"));
	add_pointer(node, 4096, "c", 0);
	assert_int_equal(node_check_structure(node, 4096), COP_EFORMAT);
	assert_non_null(strstr(err_text(), "two empty ranges"));

	make(node, 4096, 1, no_fence, no_fence);
	add_pointer(node, 4096, "", 5);
	add(node, 4096, view_of("x", 1), view_of("short", 5));
	assert_int_equal(node_check_structure(node, 4096), COP_EFORMAT);
	assert_non_null(strstr(err_text(), "a pointer of 5 bytes"));

	make(node, 4096, 1, no_fence, no_fence);
	add_pointer(node, 4096, "", 5);
	/* An address of 0 with a seal is neither a child nor none. */
	memset(node + (node_value(node, 0).data - node), 0, 8);
	assert_int_equal(node_check_structure(node, 4096), COP_EFORMAT);
	assert_non_null(strstr(err_text(), "pointer of entry 0"));
}

static void
refuses_keys_out_of_order(void **state)
{
	uint8_t slot[NODE_SLOT_BYTES];
	uint8_t *slots = node + NODE_HEADER_BYTES + 8;

	(void)state;
	make_sample();
	memcpy(slot, slots, sizeof slot);
	memcpy(slots, slots + NODE_SLOT_BYTES, sizeof slot);
	memcpy(slots + NODE_SLOT_BYTES, slot, sizeof slot);
	assert_int_equal(node_check_structure(node, 4096), COP_EFORMAT);
	assert_non_null(strstr(err_text(), "not in order"));
}

static void
refuses_two_slots_of_one_cell(void **state)
{
	uint8_t *slots = node + NODE_HEADER_BYTES + 8;

	(void)state;
	make_sample();
	memcpy(slots, slots + NODE_SLOT_BYTES, NODE_SLOT_BYTES);
	assert_int_equal(node_check_structure(node, 4096), COP_EFORMAT);
	assert_non_null(strstr(err_text(), "overlaps"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_entries_in_order_under_random_changes),
		cmocka_unit_test(finds_keys_that_differ_only_in_length),
		cmocka_unit_test(stores_no_prefix_that_the_fences_share),
		cmocka_unit_test(splits_whatever_the_sizes_are),
		cmocka_unit_test(splits_around_an_entry_in_the_exact_middle),
		cmocka_unit_test(leaves_full_nodes_behind_an_ascending_series),
		cmocka_unit_test(cuts_the_separator_short),
		cmocka_unit_test(splits_inner_nodes_with_a_child_on_either_side),
		cmocka_unit_test(merges_into_either_node),
		cmocka_unit_test(merging_joins_empty_ranges),
		cmocka_unit_test(widens_only_when_the_longer_suffixes_fit),
		cmocka_unit_test(names_what_makes_no_sense),
		cmocka_unit_test(names_what_is_wrong_with_children),
		cmocka_unit_test(refuses_keys_out_of_order),
		cmocka_unit_test(refuses_two_slots_of_one_cell),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
