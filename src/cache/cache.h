#ifndef COPPICE_CACHE_H
#define COPPICE_CACHE_H

/*
 * cache: buffers by physical address, so that clones share memory as they share blocks.
 *
 * A buffer is a run of blocks with a *stamp*: the seal of a node, the checksum of a data block. A
 * buffer is found only by address and stamp together, so an image that was cached before its
 * blocks got a new owner is never mistaken for the new one. Asking for the new one replaces the
 * old, unless that is pinned: then both are here.
 *
 * A buffer is clean (its bytes are those on the device; it may be evicted while nobody pins it) or
 * dirty (made by cache_insert(); stays until cache_clean() or cache_drop()).
 *
 * Promises
 *   - cache_get() gives bytes that have passed the request's own verifier, or come from
 *     cache_insert(): what another verifier let through is read again.
 *   - What cache_peek() has found, it finds until that is unpinned or dropped.
 *   - Clean buffers plus dirty ones plus the reserve stay within the limit; only pins and the
 *     dirty buffers that their owner insists on can exceed it. Free memory between buffers of
 *     different lengths may come to another eighth.
 *   - cache_insert() takes from the reserve and cannot fail.
 *   - A scan does not wash out the working set: eviction is S3-FIFO.
 *
 * Locks   One per shard, rank LOCK_CACHE, never across device I/O. cache_get() and cache_sync_all()
 *         wait for the device: the caller holds no lock. cache_peek() and cache_insert() may be
 *         called under the gate. cache_look() takes no lock.
 * Cost    A hit is one hash lookup under the shard's lock; no allocation, no system call.
 *         cache_look() is the lookup alone.
 * Source  S3-FIFO: Yang et al., "FIFO queues are all you need for cache eviction" (SOSP 2023).
 */

#include "base/epoch.h"
#include "base/err.h"
#include "device/device.h"

#include <stdbool.h>
#include <stdint.h>

struct cache;

/* The longest buffer. Memory for one is rounded up to a power of two. */
enum { CACHE_BLOCKS_MAX = 64 };

/*
 * Judges bytes that were just read from `addr`; runs without locks and may read the device itself
 * to fetch a good copy into `data`. An error is handed to everyone who waits for the buffer.
 */
typedef int (*cache_verify)(
	void *context, uint64_t addr, uint64_t stamp, uint8_t *data, uint32_t blocks);

struct buffer {
	/* Set when the buffer is made, constant while it is pinned or dirty. */
	uint8_t *data; /* blocks * BLOCK_BYTES, aligned to BLOCK_BYTES */
	uint64_t addr;
	uint64_t addr2; /* where a second copy is written, 0: none */
	uint64_t stamp;
	uint32_t blocks;
	cache_verify verify; /* who judged the bytes; NULL: nobody, or made by cache_insert() */

	/* For the owner of a dirty buffer, or one that it pins and will drop: its lists. */
	struct buffer *owner_prev;
	struct buffer *owner_next;
	uint64_t owner_generation;
};

struct cache_request {
	uint64_t addr;
	uint64_t stamp;
	uint32_t blocks;
	cache_verify verify;
	void *context;

	struct buffer *buffer; /* out: pinned when result is 0 */
	int result;
};

/* `limit_bytes` covers all buffers. COP_ENOMEM. The device is borrowed. */
MUST_CHECK int cache_create(struct device *dev, uint64_t limit_bytes, struct cache **out_cache);

/*
 * Another limit from now on, while no other thread uses the cache. What is over a lower one goes as
 * it is evicted.
 */
void cache_set_limit(struct cache *cache, uint64_t limit_bytes);

/* No buffer may be pinned. Dirty ones are forgotten. NULL is accepted. */
void cache_free(struct cache *cache);

/* Pins one buffer, reading it if it is not here. */
MUST_CHECK int cache_get(struct cache *cache, struct cache_request *request);

/*
 * Pins many: everything missing is read at once, neighbours in one request. Every request has its
 * own result; returns the first error, or 0. Those whose result is 0 are pinned either way.
 */
MUST_CHECK int cache_get_many(struct cache *cache, struct cache_request *requests, size_t count);

/* Pinned if it is here and verified, by whomever: see `verify` of the buffer. Never waits. */
struct buffer *cache_peek(struct cache *cache, uint64_t addr, uint64_t stamp);

/*
 * Memory of one block that is in no table and has no address, pinned once; its bytes are undefined.
 * It counts against the limit until its last pin has gone. COP_ENOMEM.
 */
MUST_CHECK int cache_take(struct cache *cache, struct buffer **out_buffer);

/* Ends a pin of cache_get(), cache_peek() or cache_take(), adds another. */
void cache_release(struct cache *cache, struct buffer *buffer);
void cache_pin(struct cache *cache, struct buffer *buffer);

/* ---- Without a lock ----------------------------------------------------------------------------
 */

/* Of what the cache holds, and of anything else that its readers follow. Lives with the cache. */
struct epoch *cache_epoch(struct cache *cache);

/*
 * Inside an epoch, whose slot is `slot`: the bytes of a clean buffer of one block that `verify` has
 * let through, good until the epoch is left. NULL: it is not here, or could not be found without a
 * lock; cache_get() then knows.
 */
const uint8_t *cache_look(
	struct cache *cache, uint32_t slot, uint64_t addr, uint64_t stamp, cache_verify verify);

/*
 * Memory that belongs to somebody else counts against the limit, evicting as needed. False: there
 * is no room, and it does not count.
 */
bool cache_charge(struct cache *cache, uint64_t bytes);
void cache_uncharge(struct cache *cache, uint64_t bytes);

/* ---- Dirty buffers -----------------------------------------------------------------------------
 */

/*
 * Sets memory aside for `count` more buffers of `blocks` blocks, evicting as needed, and gives back
 * what was not used. COP_ENOMEM: nothing was set aside.
 */
MUST_CHECK int cache_reserve(struct cache *cache, uint32_t blocks, size_t count);
void cache_unreserve(struct cache *cache, uint32_t blocks, size_t count);

/*
 * A new dirty buffer out of the reserve, zeroed, not pinned. No other at its address is dirty: the
 * owner has dropped it. A clean one with the same stamp is forgotten.
 */
struct buffer *cache_insert(
	struct cache *cache, uint64_t addr, uint64_t addr2, uint64_t stamp, uint32_t blocks);

/* A dirty buffer has been written: it may be evicted from now on. */
void cache_clean(struct cache *cache, struct buffer *buffer);

/* Forgets the buffer at `addr`, clean or dirty, if it has this stamp; memory goes with its last
 * pin. */
void cache_drop(struct cache *cache, uint64_t addr, uint64_t stamp);

/*
 * Writes one buffer to its address, and to its second one if it has one, and calls `done` once with
 * 0 or the first error, from any thread that waits for the device. Its bytes must not change
 * meanwhile; the caller keeps it pinned or dirty. COP_ENOMEM: nothing was submitted and `done` will
 * not be called.
 */
typedef void (*cache_synced)(void *context, struct buffer *buffer, int result);
MUST_CHECK int cache_sync(
	struct cache *cache, struct buffer *buffer, cache_synced done, void *context);

/* Writes all of them, many at once, in the order given; waits; returns the first error. */
MUST_CHECK int cache_sync_all(struct cache *cache, struct buffer *const *buffers, size_t count);

/* Evicts every clean buffer that nobody pins: tests, and readers that start again. */
void cache_shrink(struct cache *cache);

struct cache_stats {
	uint64_t hits;
	uint64_t misses;
	uint64_t evictions;
	uint64_t bytes;     /* resident: clean, dirty and reserve */
	uint64_t bytes_max; /* highest ever */
	uint64_t dirty_bytes;
};

struct cache_stats cache_stats(struct cache *cache);

/* Asserts the structure of every shard; for tests. */
void cache_assert_sound(struct cache *cache);

#endif
