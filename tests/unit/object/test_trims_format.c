#include "object/trims_format.h"

#include "base/random.h"
#include "object/extent_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct trims sample = {
	.count = 3,
	.list = { { 1, 2 }, { 0x05060708, 0x05060710 }, { 0x05060711, CONTENT_BLOCKS_MAX } },
};

static void
encodes_to_the_documented_bytes(void **state)
{
	static const uint8_t want[] = "\1\0\0\0\0\0\0\0"
				      "\2\0\0\0\0\0\0\0"
				      "\x08\7\6\5\0\0\0\0"
				      "\x10\7\6\5\0\0\0\0"
				      "\x11\7\6\5\0\0\0\0"
				      "\0\0\0\0\1\0\0\0";
	uint8_t bytes[TRIMS_BYTES_MAX];
	struct view view = trims_encode(&sample, bytes);

	(void)state;
	assert_int_equal(view.bytes, sizeof want - 1);
	assert_memory_equal(view.data, want, sizeof want - 1);
}

static void
gives_back_what_was_encoded(void **state)
{
	struct trims got;
	uint8_t bytes[TRIMS_BYTES_MAX];

	(void)state;
	assert_int_equal(trims_decode(trims_encode(&sample, bytes), &got), 0);
	assert_int_equal(got.count, sample.count);
	assert_memory_equal(got.list, sample.list, sample.count * sizeof got.list[0]);
	assert_int_equal(trims_decode(view_of(NULL, 0), &got), 0);
	assert_int_equal(got.count, 0);
}

static void
refuses_every_truncation(void **state)
{
	struct trims got = { .count = 7 };
	uint8_t bytes[TRIMS_BYTES_MAX];
	size_t length = trims_encode(&sample, bytes).bytes;

	(void)state;
	for (size_t cut = 0; cut < length; cut++) {
		if (cut % TRIM_RANGE_BYTES == 0)
			continue;
		assert_int_equal(trims_decode(view_of(bytes, cut), &got), COP_EFORMAT);
		assert_int_equal(got.count, 7);
	}
}

static void
expect_refused(size_t at, uint8_t value)
{
	struct trims got = { .count = 7 };
	uint8_t bytes[TRIMS_BYTES_MAX];
	struct view view = trims_encode(&sample, bytes);

	bytes[at] = value;
	assert_int_equal(trims_decode(view, &got), COP_EFORMAT);
	assert_int_equal(got.count, 7);
}

static void
refuses_what_makes_no_sense(void **state)
{
	uint8_t bytes[TRIMS_BYTES_MAX + TRIM_RANGE_BYTES];
	struct trims got;

	(void)state;
	expect_refused(0, 2);     /* an empty range */
	expect_refused(8, 0);     /* its end before its beginning */
	expect_refused(32, 0x10); /* it touches the one before */
	expect_refused(32, 0x09); /* or begins before that one's end */
	expect_refused(40, 1);    /* past the largest file */

	/* One place is kept for what is cut off to the end. */
	for (uint64_t i = 0; i <= TRIM_RANGES_MAX; i++) {
		put_le64(bytes + i * TRIM_RANGE_BYTES, 2 * i);
		put_le64(bytes + i * TRIM_RANGE_BYTES + 8, 2 * i + 1);
	}
	assert_int_equal(trims_decode(view_of(bytes, TRIMS_BYTES_MAX - TRIM_RANGE_BYTES), &got), 0);
	assert_int_equal(trims_decode(view_of(bytes, TRIMS_BYTES_MAX), &got), COP_EFORMAT);
	put_le64(bytes + TRIMS_BYTES_MAX - 8, CONTENT_BLOCKS_MAX);
	assert_int_equal(trims_decode(view_of(bytes, TRIMS_BYTES_MAX), &got), 0);
	assert_int_equal(trims_decode(view_of(bytes, sizeof bytes), &got), COP_EFORMAT);
}

static void
keeps_a_place_for_what_is_cut_off(void **state)
{
	struct trims trims = { .count = 0 };

	(void)state;
	for (uint64_t i = 0; i < TRIM_RANGES_MAX - 1; i++)
		assert_true(trims_add(&trims, 1000 * i, 1000 * i + 500));
	assert_false(trims_add(&trims, 100000, 100001));
	assert_false(trims_remove(&trims, 10, 20));
	assert_int_equal(trims.count, TRIM_RANGES_MAX - 1);
	assert_true(trims_add(&trims, 100000, CONTENT_BLOCKS_MAX));
	assert_int_equal(trims.count, TRIM_RANGES_MAX);
	assert_true(trims_add(&trims, 90000, CONTENT_BLOCKS_MAX));
	assert_false(trims_add(&trims, 80000, 80001));
	assert_false(trims_remove(&trims, 100000, 100001)); /* also of that one */
	assert_true(trims_remove(&trims, 90000, 100000));
	assert_true(trims_add(&trims, 400, 1100)); /* two become one */
	assert_int_equal(trims.count, TRIM_RANGES_MAX - 1);
	assert_true(trims_remove(&trims, 10, 20));
	assert_int_equal(trims.count, TRIM_RANGES_MAX);
}

static void
tells_the_shortest(void **state)
{
	const struct trims trims = { .count = 3, .list = { { 1, 9 }, { 20, 23 }, { 30, 33 } } };

	(void)state;
	assert_ptr_equal(trims_shortest(&trims), &trims.list[1]);
	assert_ptr_equal(trims_shortest(&sample), &sample.list[0]);
}

/* ---- Against a set of blocks ------------------------------------------------------------------
 */

enum { BLOCKS = 150, ROUNDS = 20000 };

static void
expect_set(const struct trims *trims, const bool set[static BLOCKS])
{
	struct trims again;
	uint8_t bytes[TRIMS_BYTES_MAX];

	assert_int_equal(trims_decode(trims_encode(trims, bytes), &again), 0);
	for (uint64_t i = 0; i < BLOCKS; i++) {
		const struct trim_range *range = trims_find(trims, i, i + 1);

		assert_int_equal(range != NULL, set[i]);
		if (range)
			assert_in_range(i, range->first, range->end - 1);
	}
}

static size_t
count_runs(const bool set[static BLOCKS])
{
	size_t count = 0;

	for (uint64_t i = 0; i < BLOCKS; i++)
		count += set[i] && (i == 0 || !set[i - 1]);
	return count;
}

static void
is_a_set_of_blocks(void **state)
{
	struct trims trims = { .count = 0 };
	bool set[BLOCKS] = { false };
	uint32_t refused = 0;
	struct rng rng;

	(void)state;
	rng_seed(&rng, 71);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		uint64_t first = rng_below(&rng, BLOCKS);
		uint64_t end = first + 1 + rng_below(&rng, rng_below(&rng, 500) ? 2 : BLOCKS);
		bool adds = rng_below(&rng, 2) == 0;
		bool next[BLOCKS];
		bool fits;

		end = end < BLOCKS ? end : BLOCKS;
		memcpy(next, set, sizeof next);
		for (uint64_t j = first; j < end; j++)
			next[j] = adds;
		fits = adds ? trims_add(&trims, first, end) : trims_remove(&trims, first, end);
		assert_int_equal(fits, count_runs(next) < TRIM_RANGES_MAX);
		if (fits)
			memcpy(set, next, sizeof set);
		refused += !fits;
		expect_set(&trims, set);
	}
	assert_in_range(refused, 1, ROUNDS / 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encodes_to_the_documented_bytes),
		cmocka_unit_test(gives_back_what_was_encoded),
		cmocka_unit_test(refuses_every_truncation),
		cmocka_unit_test(refuses_what_makes_no_sense),
		cmocka_unit_test(keeps_a_place_for_what_is_cut_off),
		cmocka_unit_test(tells_the_shortest),
		cmocka_unit_test(is_a_set_of_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
