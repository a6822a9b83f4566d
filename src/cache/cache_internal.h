#ifndef COPPICE_CACHE_INTERNAL_H
#define COPPICE_CACHE_INTERNAL_H

/*
 * cache_internal: what the files of the cache share.
 *
 * A *frame* is a buffer with what only the cache knows of it. Its life:
 *
 *   (memory)  -> LOADING    a claim of what is missing
 *   LOADING   -> CLEAN      read and verified: it enters the queues
 *   LOADING   -> FAILED     out of the table; who waits takes the error and unpins it
 *   (memory)  -> DIRTY      cache_insert(); it is in no queue, so never a victim
 *   DIRTY     -> CLEAN      cache_clean(), or forgotten by cache_drop()
 *   CLEAN     -> (memory)   out of the table (victim, dropped, stale) and unpinned: retired, until
 *                           no reader without a lock can stand on it
 *
 * The table holds an address and stamp together at most once. It holds an address under several
 * stamps while old images of it are pinned; one that nobody pins is stale as soon as somebody asks
 * for the address under another stamp.
 *
 * References: one for the table and one for each pin. Pins are added under the shard's lock, or by
 * somebody who has one; they end without it. Whoever takes the last reference away gives the
 * memory back. So a frame with one reference, seen under the lock in the table, stays unpinned
 * until the lock is released, and may be evicted.
 *
 * Readers without a lock walk the chains of the table inside an epoch. What they look at does not
 * change from the moment that a frame enters the table until it is memory again: address, stamp,
 * verifier, length, and the bytes once `is_readable` is set. The links do change, and a frame that
 * has left the table keeps its own, which leads back into the chain.
 *
 * Locks  A shard's lock and the pool's lock have the same rank and are never held together.
 */

#include "base/lock.h"
#include "cache/cache.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>

enum {
	CACHE_SHARDS = 16,
	FRAME_HITS_MAX = 3, /* two bits of popularity, as S3-FIFO wants them */
	CHUNK_BLOCKS = CACHE_BLOCKS_MAX,
	CHUNK_ORDERS = 7, /* runs of 1, 2, 4, ... 64 blocks */
};
static_assert(1 << (CHUNK_ORDERS - 1) == CHUNK_BLOCKS, "the largest run is a chunk");

enum frame_state {
	FRAME_LOADING = 1,
	FRAME_CLEAN,
	FRAME_DIRTY,
	FRAME_FAILED,
};

enum frame_queue {
	QUEUE_NONE,
	QUEUE_SMALL,
	QUEUE_MAIN,
};

struct frame {
	struct buffer buffer; /* first: the cache casts between the two */

	/* Set by cache__pool_take(). */
	struct chunk *chunk;
	uint32_t order; /* of two: blocks of memory */

	atomic_uint refs;

	/* Changed under the shard's lock, read in epochs too. */
	_Atomic(struct frame *) bucket_next;
	atomic_bool is_readable; /* the bytes are verified, and stay */
	atomic_uchar hits;       /* relaxed: lost ones do not matter */

	struct epoch_item retired;

	/* Guarded by the shard's lock. */
	struct frame *queue_prev; /* towards the newest */
	struct frame *queue_next; /* towards the oldest; also the reserve's list */
	int error;                /* of FRAME_FAILED */
	uint8_t state;
	uint8_t queue;
	bool is_in_table;
};

static inline struct frame *
frame_of(struct buffer *buffer)
{
	return (struct frame *)(void *)buffer;
}

static inline uint64_t
frame_blocks(const struct frame *frame)
{
	return UINT64_C(1) << frame->order;
}

/* Of a frame in the table, under the shard's lock. */
static inline bool
cache__frame_is_pinned(struct frame *frame)
{
	/* Pairs with the release of the last pin: what it did is done before the memory goes. */
	return atomic_load_explicit(&frame->refs, memory_order_acquire) > 1;
}

/* ---- fifo.c: S3-FIFO over the clean frames of one shard ----------------------------------------
 */

struct queue {
	struct frame *newest;
	struct frame *oldest;
	uint64_t count;
	uint64_t blocks;
};

/* A frame that left the small queue not long ago. */
struct ghost {
	uint32_t print; /* 0: none */
	uint32_t time;
};

struct fifo {
	struct queue small;   /* seen once */
	struct queue main;    /* seen again */
	struct ghost *ghosts; /* owned */
	uint32_t ghost_sets;  /* a power of two */
	uint32_t time;        /* counts the frames that became ghosts */
};

/* For about `frames` frames. COP_ENOMEM. */
MUST_CHECK int cache__fifo_init(struct fifo *fifo, uint64_t frames);
void cache__fifo_fini(struct fifo *fifo);

/* To the main queue if its ghost is still known, else to the small one. */
void cache__fifo_add(struct fifo *fifo, struct frame *frame);
void cache__fifo_remove(struct fifo *fifo, struct frame *frame);

/* Takes the next frame that nobody pins out of its queue; NULL: all are pinned. */
struct frame *cache__fifo_take_victim(struct fifo *fifo);
void cache__fifo_assert_sound(const struct fifo *fifo);

/* ---- pool.c: the memory of the frames -----------------------------------------------------------
 */

struct pool {
	struct mutex lock;

	/* Guarded by `lock`. [0]: full chunks; [n]: those whose largest free run has order n - 1.
	 */
	struct chunk *chunks[CHUNK_ORDERS + 1];
	size_t chunk_count;
	struct slab *slabs; /* those with room for another chunk */
};

MUST_CHECK int cache__pool_init(struct pool *pool);

/* Every frame has been put back. */
void cache__pool_fini(struct pool *pool);

/* A frame with memory and nothing else set, in a new chunk only while there are fewer than
 * `chunks_max`. NULL: no room, or no memory. */
struct frame *cache__pool_take(struct pool *pool, uint32_t blocks, size_t chunks_max);
void cache__pool_put(struct pool *pool, struct frame *frame);

/* What a frame for `blocks` counts against the limit. */
uint64_t cache__pool_bytes(uint32_t blocks);
void cache__pool_assert_sound(struct pool *pool);

/* ---- cache.c ------------------------------------------------------------------------------------
 */

struct shard {
	_Alignas(64) struct mutex lock;

	/* Guarded by `lock`. */
	struct condition loaded;          /* some frame is not LOADING any more */
	uint32_t waiting;                 /* threads at `loaded` */
	_Atomic(struct frame *) *buckets; /* owned; read in epochs too */
	struct fifo fifo;
	uint64_t hits;
	uint64_t misses;
	uint64_t evictions;
};

/* Hits of whoever is inside an epoch in one slot. */
struct looks {
	_Alignas(64) atomic_uint_fast64_t hits;
};

struct cache {
	/* Set by cache_create(), never changed. */
	struct device *dev; /* borrowed */
	struct epoch *epoch;
	uint64_t bucket_mask;

	/* Changed by cache_set_limit() only, when nobody else is here. */
	uint64_t limit_bytes;
	size_t chunks_max;

	struct shard shards[CACHE_SHARDS];
	struct looks looks[EPOCH_SLOTS];
	struct pool pool;

	struct frame *reserve[CACHE_BLOCKS_MAX + 1]; /* by blocks; guarded by the pool's lock */

	/* Relaxed: sums of what happens under various locks. */
	atomic_uint_fast64_t bytes;
	atomic_uint_fast64_t bytes_max;
	atomic_uint_fast64_t dirty_bytes;
	atomic_uint_fast64_t retired_bytes; /* of `bytes`: free as soon as readers have left */
	atomic_uint next_victim;            /* the shard to evict from */
};

struct shard *cache__shard(struct cache *cache, uint64_t addr);

/*
 * Memory for a buffer, evicting for it. What pins and dirty buffers leave no room for is still
 * given to whoever insists. NULL: over the limit, or out of memory.
 */
struct frame *cache__frame_take(struct cache *cache, uint32_t blocks, bool insists);
void cache__frame_put(struct cache *cache, struct frame *frame);
void cache__frame_unref(struct cache *cache, struct frame *frame);

/* Under the shard's lock. */
struct frame *cache__find_locked(
	struct cache *cache, struct shard *shard, uint64_t addr, uint64_t stamp);

/*
 * Takes a clean, unpinned frame at this address out of the table, whatever its stamp; NULL: none.
 * The caller drops its reference after unlocking.
 */
struct frame *cache__detach_stale_locked(struct cache *cache, struct shard *shard, uint64_t addr);

void cache__attach_locked(struct cache *cache, struct shard *shard, struct frame *frame);

/* Somebody wanted it. */
static inline void
cache__note_hit(struct frame *frame)
{
	unsigned char hits = atomic_load_explicit(&frame->hits, memory_order_relaxed);

	/* A popular frame is not written to: its cache line stays with every reader. */
	if (hits < FRAME_HITS_MAX)
		atomic_store_explicit(
			&frame->hits, (unsigned char)(hits + 1), memory_order_relaxed);
}

/* A pin for a reader who found the frame. */
static inline void
cache__pin_hit_locked(struct shard *shard, struct frame *frame)
{
	/* Relaxed: the lock orders it after whatever made the frame. */
	atomic_fetch_add_explicit(&frame->refs, 1, memory_order_relaxed);
	cache__note_hit(frame);
	shard->hits++;
}

/* Out of the table, with the table's reference: the caller drops it after unlocking. */
void cache__detach_locked(struct cache *cache, struct shard *shard, struct frame *frame);

#endif
