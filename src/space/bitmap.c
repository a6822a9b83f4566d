#include "space/bitmap.h"

#include <assert.h>

enum { WORD_BITS = 64 };

/* Bits [from, to) of a word; 0 <= from < to <= 64. */
static uint64_t
word_mask(uint32_t from, uint32_t to)
{
	uint64_t below_to = to == WORD_BITS ? UINT64_MAX : (UINT64_C(1) << to) - 1;

	return below_to & (UINT64_MAX << from);
}

/* The part of [first, end) that lies in the word of `first`. */
static uint64_t
first_mask(uint32_t first, uint32_t end)
{
	uint32_t from = first % WORD_BITS;
	uint32_t room = WORD_BITS - from;

	return word_mask(from, end - first < room ? from + (end - first) : WORD_BITS);
}

static uint32_t
next_word(uint32_t at)
{
	return at - at % WORD_BITS + WORD_BITS;
}

void
bitmap_set(uint64_t *map, uint32_t first, uint32_t count)
{
	uint32_t end = first + count;

	for (uint32_t at = first; at < end; at = next_word(at))
		map[at / WORD_BITS] |= first_mask(at, end);
}

void
bitmap_clear(uint64_t *map, uint32_t first, uint32_t count)
{
	uint32_t end = first + count;

	for (uint32_t at = first; at < end; at = next_word(at))
		map[at / WORD_BITS] &= ~first_mask(at, end);
}

uint32_t
bitmap_count(const uint64_t *map, uint32_t first, uint32_t count)
{
	uint32_t end = first + count;
	uint32_t set = 0;

	for (uint32_t at = first; at < end; at = next_word(at))
		set += (uint32_t)__builtin_popcountll(map[at / WORD_BITS] & first_mask(at, end));
	return set;
}

bool
bitmap_is_set(const uint64_t *map, uint32_t first, uint32_t count)
{
	return bitmap_count(map, first, count) == count;
}

/* The lowest bit of each chunk that is wholly clear in `word`. */
static uint64_t
clear_chunks(uint64_t word, uint32_t chunk)
{
	/* By logarithm of the chunk: a bit at each multiple of it. */
	static const uint64_t heads[] = { UINT64_MAX, 0x5555555555555555, 0x1111111111111111,
		0x0101010101010101, 0x0001000100010001 };
	uint32_t log = (uint32_t)__builtin_ctz(chunk);
	uint64_t clear = ~word;

	assert(log < sizeof heads / sizeof heads[0]);
	for (uint32_t step = 1; step < chunk; step *= 2)
		clear &= clear >> step;
	return clear & heads[log];
}

uint32_t
bitmap_chunks(const uint64_t *map, uint32_t chunk, uint32_t first, uint32_t count)
{
	uint32_t end = (first + count + chunk - 1) / chunk * chunk;
	uint32_t whole = 0;

	for (uint32_t at = first / chunk * chunk; at < end; at = next_word(at)) {
		uint64_t heads = clear_chunks(map[at / WORD_BITS], chunk);

		whole += (uint32_t)__builtin_popcountll(heads & first_mask(at, end));
	}
	return whole;
}

static uint64_t
viewed_word(const uint64_t *map, enum bitmap_view view, uint32_t chunk, uint32_t index)
{
	uint64_t word = map[index];

	if (view == BITMAP_FRAGMENTS)
		word |= clear_chunks(word, chunk) * ((UINT64_C(1) << chunk) - 1);
	return word;
}

/* The first bit at or after `at` that is clear (or set, by `flip` of all ones); `bits`: none. */
static uint32_t
next_bit(const uint64_t *map, uint32_t bits, enum bitmap_view view, uint32_t chunk, uint32_t at,
	uint64_t flip)
{
	while (at < bits) {
		uint64_t word = viewed_word(map, view, chunk, at / WORD_BITS) ^ ~flip;

		word &= UINT64_MAX << at % WORD_BITS;
		if (word != 0) {
			at = at - at % WORD_BITS + (uint32_t)__builtin_ctzll(word);
			return at < bits ? at : bits;
		}
		at = next_word(at);
	}
	return bits;
}

static const uint64_t want_clear = 0;
static const uint64_t want_set = UINT64_MAX;

/* The first run in [from, to) of `want`, or the longest if that beats `longest`. */
static struct bitmap_run
find_between(const uint64_t *map, uint32_t bits, enum bitmap_view view, uint32_t chunk,
	uint32_t from, uint32_t to, uint32_t want, struct bitmap_run longest)
{
	uint32_t at = from;

	for (;;) {
		uint32_t first = next_bit(map, bits, view, chunk, at, want_clear);
		uint32_t end = bits - first > want ? first + want : bits; /* far enough */

		if (first >= to)
			return longest;
		at = next_bit(map, end, view, chunk, first, want_set);
		if (at - first > longest.count)
			longest = (struct bitmap_run){ .first = first, .count = at - first };
		if (longest.count >= want)
			return longest;
	}
}

struct bitmap_run
bitmap_find(const uint64_t *map, uint32_t bits, enum bitmap_view view, uint32_t chunk,
	uint32_t from, uint32_t want)
{
	struct bitmap_run run = { 0 };

	run = find_between(map, bits, view, chunk, from, bits, want, run);
	if (run.count < want && from > 0)
		run = find_between(map, bits, view, chunk, 0, from, want, run);
	return run;
}

struct bitmap_run
bitmap_find_chunk(const uint64_t *map, uint32_t bits, uint32_t chunk, uint32_t from)
{
	uint32_t words = (bits + WORD_BITS - 1) / WORD_BITS;

	/* From the goal's word on; round once, to the part of that word before the goal. */
	for (uint32_t i = 0; i <= words; i++) {
		uint32_t index = (from / WORD_BITS + i) % words;
		uint64_t heads = clear_chunks(map[index], chunk);

		if (i == 0)
			heads &= UINT64_MAX << from % WORD_BITS;
		if (heads != 0)
			return (struct bitmap_run){
				index * WORD_BITS + (uint32_t)__builtin_ctzll(heads), chunk
			};
	}
	return (struct bitmap_run){ 0 };
}

bool
bitmap_next_set(const uint64_t *map, uint32_t bits, uint32_t at, struct bitmap_run *out_run)
{
	uint32_t first = next_bit(map, bits, BITMAP_ALL, 1, at, want_set);

	if (first == bits)
		return false;
	at = next_bit(map, bits, BITMAP_ALL, 1, first, want_clear);
	*out_run = (struct bitmap_run){ .first = first, .count = at - first };
	return true;
}

uint32_t
bitmap_longest(const uint64_t *map, uint32_t bits)
{
	return bitmap_find(map, bits, BITMAP_ALL, 1, 0, bits).count;
}

uint32_t
bitmap_run_around(const uint64_t *map, uint32_t bits, uint32_t at)
{
	uint32_t end = next_bit(map, bits, BITMAP_ALL, 1, at, want_set);
	uint32_t first = at;

	while (first > 0) {
		uint64_t word = map[(first - 1) / WORD_BITS];
		uint32_t top = (first - 1) % WORD_BITS;

		word &= word_mask(0, top + 1);
		if (word != 0) {
			first = first - 1 - top + (WORD_BITS - (uint32_t)__builtin_clzll(word));
			break;
		}
		first -= top + 1;
	}
	return end - first;
}
