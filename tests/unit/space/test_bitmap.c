#include "space/bitmap.h"

#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { BITS = 320, WORDS = BITS / 64 };

static bool
bit(const uint64_t *map, uint32_t at)
{
	return map[at / 64] >> at % 64 & 1;
}

/* Bits, one by one, as slow as can be. */
static bool
chunk_is_clear(const uint64_t *map, uint32_t chunk, uint32_t at)
{
	uint32_t first = at / chunk * chunk;

	for (uint32_t i = first; i < first + chunk; i++) {
		if (bit(map, i))
			return false;
	}
	return true;
}

static bool
is_open(const uint64_t *map, uint32_t bits, enum bitmap_view view, uint32_t chunk, uint32_t at)
{
	return at < bits && !bit(map, at) &&
	       !(view == BITMAP_FRAGMENTS && chunk_is_clear(map, chunk, at));
}

static void
scatter(struct rng *rng, uint64_t *map)
{
	memset(map, 0, WORDS * sizeof *map);
	for (uint64_t i = rng_below(rng, 12); i > 0; i--) {
		uint32_t first = (uint32_t)rng_below(rng, BITS);
		uint32_t count =
			(uint32_t)rng_below(rng, (BITS - first < 40 ? BITS - first : 40) + 1);

		bitmap_set(map, first, count);
	}
}

static void
sets_clears_and_counts(void **state)
{
	struct rng rng;
	uint64_t map[WORDS] = { 0 };
	bool model[BITS] = { false };

	(void)state;
	rng_seed(&rng, 1);
	for (int round = 0; round < 2000; round++) {
		uint32_t first = (uint32_t)rng_below(&rng, BITS);
		uint32_t count = (uint32_t)rng_below(&rng, BITS - first + 1);
		bool on = rng_below(&rng, 2);
		uint32_t set = 0;

		if (on)
			bitmap_set(map, first, count);
		else
			bitmap_clear(map, first, count);
		for (uint32_t i = first; i < first + count; i++)
			model[i] = on;
		for (uint32_t i = 0; i < BITS; i++) {
			assert_int_equal(bit(map, i), model[i]);
			set += model[i];
		}
		assert_int_equal(bitmap_count(map, 0, BITS), set);
		assert_int_equal(bitmap_count(map, first, count), on ? count : 0);
		assert_int_equal(bitmap_is_set(map, first, count), on || count == 0);
	}
}

static void
counts_chunks(void **state)
{
	struct rng rng;
	uint64_t map[WORDS];

	(void)state;
	rng_seed(&rng, 2);
	for (int round = 0; round < 2000; round++) {
		uint32_t chunk = 1U << rng_below(&rng, 5);
		uint32_t first = (uint32_t)rng_below(&rng, BITS);
		uint32_t count = 1 + (uint32_t)rng_below(&rng, BITS - first);
		uint32_t want = 0;

		scatter(&rng, map);
		for (uint32_t at = first / chunk * chunk; at < first + count; at += chunk)
			want += chunk_is_clear(map, chunk, at);
		assert_int_equal(bitmap_chunks(map, chunk, first, count), want);
	}
}

static struct bitmap_run
slow_find(const uint64_t *map, uint32_t bits, enum bitmap_view view, uint32_t chunk, uint32_t from,
	uint32_t want)
{
	struct bitmap_run best = { 0 };

	for (int pass = 0; pass < 2 && best.count < want; pass++) {
		for (uint32_t at = pass == 0 ? from : 0; at < (pass == 0 ? bits : from); at++) {
			uint32_t count = 0;

			while (count < want && is_open(map, bits, view, chunk, at + count))
				count++;
			if (count > best.count)
				best = (struct bitmap_run){ at, count };
			if (best.count >= want)
				break;
			at += count;
		}
	}
	return best;
}

static void
finds_the_run_that_a_slow_search_finds(void **state)
{
	struct rng rng;
	uint64_t map[WORDS];

	(void)state;
	rng_seed(&rng, 3);
	for (int round = 0; round < 4000; round++) {
		enum bitmap_view view = rng_below(&rng, 2) ? BITMAP_ALL : BITMAP_FRAGMENTS;
		uint32_t chunk = 1U << rng_below(&rng, 5);
		uint32_t bits = BITS - (uint32_t)rng_below(&rng, 3) * 16;
		uint32_t from = (uint32_t)rng_below(&rng, bits);
		uint32_t want = 1 + (uint32_t)rng_below(&rng, 100);
		struct bitmap_run found;
		struct bitmap_run slow;

		scatter(&rng, map);
		found = bitmap_find(map, bits, view, chunk, from, want);
		slow = slow_find(map, bits, view, chunk, from, want);
		assert_int_equal(found.count, slow.count);
		if (slow.count > 0)
			assert_int_equal(found.first, slow.first);
	}
}

static void
finds_chunks_from_the_goal_on(void **state)
{
	struct rng rng;
	uint64_t map[WORDS];

	(void)state;
	rng_seed(&rng, 4);
	for (int round = 0; round < 2000; round++) {
		uint32_t chunk = 1U << rng_below(&rng, 5);
		uint32_t from = (uint32_t)rng_below(&rng, BITS);
		uint32_t want = UINT32_MAX;
		struct bitmap_run found;

		scatter(&rng, map);
		for (uint32_t at = 0; at < BITS; at += chunk) {
			if (!chunk_is_clear(map, chunk, at))
				continue;
			if (want == UINT32_MAX || (want < from && at >= from))
				want = at;
		}
		found = bitmap_find_chunk(map, BITS, chunk, from);
		assert_int_equal(found.count, want == UINT32_MAX ? 0 : chunk);
		if (found.count > 0)
			assert_int_equal(found.first, want);
	}
}

static void
measures_runs(void **state)
{
	struct rng rng;
	uint64_t map[WORDS];

	(void)state;
	rng_seed(&rng, 5);
	for (int round = 0; round < 2000; round++) {
		struct bitmap_run set = { 0 };
		uint32_t longest = 0;
		uint32_t set_bits = 0;

		scatter(&rng, map);
		for (uint32_t at = 0; at < BITS; at++) {
			uint32_t first = at;
			uint32_t end = at;

			if (bit(map, at))
				continue;
			while (first > 0 && !bit(map, first - 1))
				first--;
			while (end < BITS && !bit(map, end))
				end++;
			assert_int_equal(bitmap_run_around(map, BITS, at), end - first);
			if (end - first > longest)
				longest = end - first;
		}
		assert_int_equal(bitmap_longest(map, BITS), longest);
		while (bitmap_next_set(map, BITS, set.first + set.count, &set)) {
			assert_true(bitmap_is_set(map, set.first, set.count));
			set_bits += set.count;
		}
		assert_int_equal(set_bits, bitmap_count(map, 0, BITS));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sets_clears_and_counts),
		cmocka_unit_test(counts_chunks),
		cmocka_unit_test(finds_the_run_that_a_slow_search_finds),
		cmocka_unit_test(finds_chunks_from_the_goal_on),
		cmocka_unit_test(measures_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
