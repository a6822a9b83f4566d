#ifndef COPPICE_SPACE_BITMAP_H
#define COPPICE_SPACE_BITMAP_H

/*
 * bitmap: runs and chunks in the bitmap of one allocation group; a set bit is a block that is
 * taken. Bits are counted from the lowest of the first byte.
 *
 * A *chunk* is `chunk` blocks (a power of two, up to 16) at a multiple of that number: the place of
 * a node. A *fragment* is a clear bit whose chunk has a set one.
 *
 * Locks  None.
 * Cost   One pass over 512 words at most.
 */

#include <stdbool.h>
#include <stdint.h>

enum bitmap_view {
	BITMAP_ALL,       /* every clear bit */
	BITMAP_FRAGMENTS, /* those in chunks that are not wholly clear */
};

void bitmap_set(uint64_t *map, uint32_t first, uint32_t count);
void bitmap_clear(uint64_t *map, uint32_t first, uint32_t count);
uint32_t bitmap_count(const uint64_t *map, uint32_t first, uint32_t count);
bool bitmap_is_set(const uint64_t *map, uint32_t first, uint32_t count);

/* Wholly clear chunks that [first, first + count) touches. */
uint32_t bitmap_chunks(const uint64_t *map, uint32_t chunk, uint32_t first, uint32_t count);

/* A run of clear bits. */
struct bitmap_run {
	uint32_t first;
	uint32_t count;
};

/*
 * The first `want` clear bits in a row that begin at or after `from`, else the first before it,
 * else the longest run there is. `from` is less than `bits`; a run that it lies within begins
 * there.
 */
struct bitmap_run bitmap_find(const uint64_t *map, uint32_t bits, enum bitmap_view view,
	uint32_t chunk, uint32_t from, uint32_t want);

/* The first wholly clear chunk at or after `from`, else the first; count 0: there is none. */
struct bitmap_run bitmap_find_chunk(
	const uint64_t *map, uint32_t bits, uint32_t chunk, uint32_t from);

/* The first run of set bits at or after `at`. */
bool bitmap_next_set(const uint64_t *map, uint32_t bits, uint32_t at, struct bitmap_run *out_run);

uint32_t bitmap_longest(const uint64_t *map, uint32_t bits);

/* The length of the run of clear bits around `at`, which is clear. */
uint32_t bitmap_run_around(const uint64_t *map, uint32_t bits, uint32_t at);

#endif
