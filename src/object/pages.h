#ifndef COPPICE_OBJECT_PAGES_H
#define COPPICE_OBJECT_PAGES_H

/*
 * pages: what has been written to an object and is in no transaction yet.
 *
 * A buffered write copies its bytes into pages of one block and returns. The pages are cut into
 * *segments*, in the order of the writes: a run of neighbouring blocks that successive writes have
 * made. Write-back turns segments into transactions, the oldest first, one each. So after a crash
 * the bytes of an object are those of a prefix of its writes. A write to a block that an older
 * segment holds would break that order: then everything is written back before it.
 *
 * Promises
 *   - A page never changes once it can be found: a write makes a new one and swaps the pointer.
 *   - A length that has grown is published after the pages that it grew over.
 *   - A page goes only after the transaction that holds its bytes has been applied, or with its
 *     object. Whoever looks for the page first and at the map of extents after it finds one of
 *     the two.
 *   - The number of pages of a volume follows the memory limit; their memory is the cache's.
 *
 * Locks  Changes are made by whoever has the object's turn. pages_find() and pages_length() may be
 *        called by any thread between pages_enter() and pages_leave(), which never wait for I/O;
 *        nothing may be waited for between them. They touch a cache line of the thread's own.
 */

#include "base/err.h"
#include "cache/cache.h"
#include "volume/volume.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct cop_object;
struct cop_volume;
struct pages_node;

enum { SEGMENT_BLOCKS_MAX = 257 }; /* a write of COP_WRITE_ATOMIC bytes at any offset */

struct segment {
	uint64_t first; /* blocks [first, end) are pages */
	uint64_t end;
	uint64_t length;     /* of the object after its newest write */
	int64_t modified_ns; /* of its newest write */
	bool keeps_times;    /* they have been set since */
	struct promise promise;
};

/* Of one object, part of its handle. All zero: nothing is dirty. */
struct pages {
	/* Read by any thread. */
	_Atomic(struct pages_node *) root;
	_Atomic uint64_t length;     /* as the writes have made it; 0: as the record says */
	_Atomic int64_t modified_ns; /* of the newest write; 0: as the record says */
	_Atomic uint64_t count;

	/* Of whoever has the turn. */
	struct segment *segments; /* owned; the oldest is at `oldest` */
	size_t oldest;
	size_t segment_count;
	size_t segment_capacity;
	struct pages_node *nodes; /* owned */
	struct buffer *retired;   /* pinned; a reader may still look at them */
	size_t retired_count;
};

/*
 * For readers: what is found stays until pages_leave(), and longer if it is pinned (cache_pin()).
 */
void pages_enter(struct cop_volume *volume);
void pages_leave(struct cop_volume *volume);

/* The page of a block: BLOCK_BYTES at `data`. NULL: it is not dirty. Inside an epoch of the cache
 * it can be looked at without pages_enter(), and not be pinned. */
struct buffer *pages_find(const struct pages *pages, uint64_t block);

/* The length of the object, when its record says `recorded`. */
static inline uint64_t
pages_length(const struct pages *pages, uint64_t recorded)
{
	uint64_t length = atomic_load(&pages->length);

	return length > recorded ? length : recorded;
}

static inline bool
pages_are_clean(const struct pages *pages)
{
	return atomic_load(&pages->count) == 0;
}

#endif
