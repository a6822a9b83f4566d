#include "cache/cache_internal.h"

#include "base/num.h"

#include <assert.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum {
	BUCKETS_MIN = 16,
	CHUNK_SLACK_DIVISOR = 8, /* an eighth of the limit for free blocks between used ones */
	CHUNK_SLACK = 2,
	RETIRED_DIVISOR = 64, /* of the limit may wait for readers before an eviction waits too */
	LOOK_STEPS_MAX = 64,  /* a chain that grows beside its reader has an end all the same */
};

static uint64_t
hash_of(uint64_t addr)
{
	return addr * UINT64_C(0x9e3779b97f4a7c15); /* the upper bits are good */
}

static uint64_t
bucket_index(const struct cache *cache, uint64_t addr)
{
	return hash_of(addr) >> 24 & cache->bucket_mask;
}

static _Atomic(struct frame *) *
bucket_of(struct cache *cache, struct shard *shard, uint64_t addr)
{
	return &shard->buckets[bucket_index(cache, addr)];
}

struct shard *
cache__shard(struct cache *cache, uint64_t addr)
{
	return &cache->shards[hash_of(addr) >> 60 & (CACHE_SHARDS - 1)];
}

/* ---- Memory -------------------------------------------------------------------------------------
 */

static void
note_bytes_max(struct cache *cache, uint64_t bytes)
{
	uint64_t max = atomic_load_explicit(&cache->bytes_max, memory_order_relaxed);

	while (max < bytes && !atomic_compare_exchange_weak_explicit(&cache->bytes_max, &max, bytes,
				      memory_order_relaxed, memory_order_relaxed))
		;
}

static bool
charge_within_limit(struct cache *cache, uint64_t bytes)
{
	uint64_t before = atomic_load_explicit(&cache->bytes, memory_order_relaxed);

	do {
		if (before + bytes > cache->limit_bytes)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&cache->bytes, &before, before + bytes,
		memory_order_relaxed, memory_order_relaxed));
	note_bytes_max(cache, before + bytes);
	return true;
}

static void
charge(struct cache *cache, uint64_t bytes)
{
	note_bytes_max(cache,
		bytes + atomic_fetch_add_explicit(&cache->bytes, bytes, memory_order_relaxed));
}

static void
uncharge(struct cache *cache, uint64_t bytes)
{
	uint64_t before = atomic_fetch_sub_explicit(&cache->bytes, bytes, memory_order_relaxed);

	assert(before >= bytes);
}

/* False: every clean buffer is pinned. Takes the shards in turn, so that they stay alike. */
static bool
evict_one(struct cache *cache)
{
	for (uint32_t i = 0; i < CACHE_SHARDS; i++) {
		uint32_t turn =
			atomic_fetch_add_explicit(&cache->next_victim, 1, memory_order_relaxed);
		struct shard *shard = &cache->shards[turn % CACHE_SHARDS];
		struct frame *victim;

		mutex_lock(&shard->lock);
		victim = cache__fifo_take_victim(&shard->fifo);
		if (victim) {
			cache__detach_locked(cache, shard, victim);
			shard->evictions++;
		}
		mutex_unlock(&shard->lock);
		if (victim) {
			cache__frame_unref(cache, victim);
			return true;
		}
	}
	return false;
}

/*
 * Makes more room, or waits for what was evicted before and not yet left by its readers; they copy,
 * and never wait. False: every clean buffer is pinned.
 */
static bool
make_room(struct cache *cache)
{
	uint64_t retired = atomic_load_explicit(&cache->retired_bytes, memory_order_relaxed);

	if (retired <= cache->limit_bytes / RETIRED_DIVISOR && evict_one(cache))
		return true;
	if (retired == 0)
		return false;
	if (!epoch_wait(cache->epoch))
		sched_yield(); /* another thread is just freeing it */
	return true;
}

bool
cache_charge(struct cache *cache, uint64_t bytes)
{
	while (!charge_within_limit(cache, bytes)) {
		if (!make_room(cache))
			return false;
	}
	return true;
}

void
cache_uncharge(struct cache *cache, uint64_t bytes)
{
	uncharge(cache, bytes);
}

struct frame *
cache__frame_take(struct cache *cache, uint32_t blocks, bool insists)
{
	uint64_t bytes = cache__pool_bytes(blocks);
	bool charged = false;
	struct frame *frame;

	do {
		if (!charged)
			charged = charge_within_limit(cache, bytes);
		if (charged) {
			frame = cache__pool_take(&cache->pool, blocks, cache->chunks_max);
			if (frame)
				return frame;
		}
	} while (make_room(cache));

	if (!charged && !insists)
		return NULL;
	if (!charged)
		charge(cache, bytes);
	frame = cache__pool_take(&cache->pool, blocks, SIZE_MAX);
	if (!frame)
		uncharge(cache, bytes);
	return frame;
}

void
cache__frame_put(struct cache *cache, struct frame *frame)
{
	uint64_t bytes = cache__pool_bytes(frame->buffer.blocks);

	cache__pool_put(&cache->pool, frame);
	uncharge(cache, bytes);
}

static void
free_retired(void *context, struct epoch_item *item)
{
	struct frame *frame = (struct frame *)((uint8_t *)item - offsetof(struct frame, retired));
	uint64_t bytes = cache__pool_bytes(frame->buffer.blocks);
	struct cache *cache = context;

	cache__frame_put(cache, frame);
	atomic_fetch_sub_explicit(&cache->retired_bytes, bytes, memory_order_relaxed);
}

void
cache__frame_unref(struct cache *cache, struct frame *frame)
{
	/* Release: what this thread did with the bytes comes before their next use. Acquire: the
	 * last one sees that all others are done. */
	unsigned before = atomic_fetch_sub_explicit(&frame->refs, 1, memory_order_acq_rel);

	assert(before > 0);
	if (before > 1)
		return;
	atomic_fetch_add_explicit(&cache->retired_bytes, cache__pool_bytes(frame->buffer.blocks),
		memory_order_relaxed);
	frame->retired = (struct epoch_item){ .free = free_retired, .context = cache };
	epoch_retire(cache->epoch, &frame->retired);
}

/* ---- The table ----------------------------------------------------------------------------------
 */

struct frame *
cache__find_locked(struct cache *cache, struct shard *shard, uint64_t addr, uint64_t stamp)
{
	struct frame *frame = *bucket_of(cache, shard, addr);

	mutex_assert_held(&shard->lock);
	while (frame && (frame->buffer.addr != addr || frame->buffer.stamp != stamp))
		frame = frame->bucket_next;
	return frame;
}

struct frame *
cache__detach_stale_locked(struct cache *cache, struct shard *shard, uint64_t addr)
{
	struct frame *frame = *bucket_of(cache, shard, addr);

	mutex_assert_held(&shard->lock);
	while (frame && (frame->buffer.addr != addr || frame->state != FRAME_CLEAN ||
				cache__frame_is_pinned(frame)))
		frame = frame->bucket_next;
	if (frame)
		cache__detach_locked(cache, shard, frame);
	return frame;
}

void
cache__attach_locked(struct cache *cache, struct shard *shard, struct frame *frame)
{
	_Atomic(struct frame *) *bucket = bucket_of(cache, shard, frame->buffer.addr);

	assert(!frame->is_in_table);
	assert(!cache__find_locked(cache, shard, frame->buffer.addr, frame->buffer.stamp));
	frame->bucket_next = *bucket;
	*bucket = frame;
	frame->is_in_table = true;
	atomic_fetch_add_explicit(&frame->refs, 1, memory_order_relaxed);
}

void
cache__detach_locked(struct cache *cache, struct shard *shard, struct frame *frame)
{
	_Atomic(struct frame *) *link = bucket_of(cache, shard, frame->buffer.addr);

	mutex_assert_held(&shard->lock);
	assert(frame->is_in_table);
	while (*link != frame)
		link = &(*link)->bucket_next;
	*link = frame->bucket_next; /* its own stays, for who stands on it */
	frame->is_in_table = false;
	if (frame->queue != QUEUE_NONE)
		cache__fifo_remove(&shard->fifo, frame);
	if (frame->state == FRAME_DIRTY) {
		frame->state = FRAME_CLEAN;
		atomic_fetch_sub_explicit(&cache->dirty_bytes,
			cache__pool_bytes(frame->buffer.blocks), memory_order_relaxed);
	}
}

static void
shard_fini(struct cache *cache, struct shard *shard)
{
	for (uint64_t i = 0; i <= cache->bucket_mask; i++) {
		while (shard->buckets[i]) {
			struct frame *frame = shard->buckets[i];

			assert(atomic_load_explicit(&frame->refs, memory_order_acquire) == 1);
			mutex_lock(&shard->lock);
			cache__detach_locked(cache, shard, frame);
			mutex_unlock(&shard->lock);
			cache__frame_unref(cache, frame);
		}
	}
	free(shard->buckets);
	cache__fifo_fini(&shard->fifo);
	condition_fini(&shard->loaded);
	mutex_fini(&shard->lock);
}

static int
shard_init(struct cache *cache, struct shard *shard)
{
	_Atomic(struct frame *) *buckets = NULL;
	int err;

	buckets = calloc(cache->bucket_mask + 1, sizeof *buckets);
	if (!buckets)
		return fail(COP_ENOMEM, "cache of %" PRIu64 " bytes", cache->limit_bytes);
	err = cache__fifo_init(&shard->fifo, cache->bucket_mask + 1);
	if (err)
		goto out;
	err = mutex_init(&shard->lock, LOCK_CACHE);
	if (err)
		goto out;
	err = condition_init(&shard->loaded);
	if (err) {
		mutex_fini(&shard->lock);
		goto out;
	}
	shard->buckets = TAKE(buckets);

out:
	if (err)
		cache__fifo_fini(&shard->fifo);
	free(buckets);
	return err;
}

/* ---- The cache ----------------------------------------------------------------------------------
 */

void
cache_set_limit(struct cache *cache, uint64_t limit_bytes)
{
	cache->limit_bytes = limit_bytes;
	cache->chunks_max = (limit_bytes + limit_bytes / CHUNK_SLACK_DIVISOR) /
				    cache__pool_bytes(CHUNK_BLOCKS) +
			    CHUNK_SLACK;
}

int
cache_create(struct device *dev, uint64_t limit_bytes, struct cache **out_cache)
{
	struct cache *cache = aligned_alloc(_Alignof(struct cache), sizeof *cache);
	uint64_t frames = limit_bytes / cache__pool_bytes(1);
	uint64_t buckets = BUCKETS_MIN;
	uint32_t shards = 0;
	int err;

	if (!cache)
		return fail(COP_ENOMEM, "cache of %" PRIu64 " bytes", limit_bytes);
	memset(cache, 0, sizeof *cache);
	while (buckets < frames / CACHE_SHARDS)
		buckets *= 2;
	cache->dev = dev;
	cache->bucket_mask = buckets - 1;
	cache_set_limit(cache, limit_bytes);

	err = epoch_create(&cache->epoch);
	if (err == 0)
		err = cache__pool_init(&cache->pool);
	if (err) {
		epoch_free(cache->epoch);
		free(cache);
		return err;
	}
	while (shards < CACHE_SHARDS) {
		err = shard_init(cache, &cache->shards[shards]);
		if (err)
			goto out;
		shards++;
	}
	*out_cache = TAKE(cache);

out:
	if (cache) {
		while (shards > 0)
			shard_fini(cache, &cache->shards[--shards]);
		epoch_free(cache->epoch);
		cache__pool_fini(&cache->pool);
		free(cache);
	}
	return err;
}

void
cache_free(struct cache *cache)
{
	if (!cache)
		return;
	for (uint32_t blocks = 1; blocks <= CACHE_BLOCKS_MAX; blocks++) {
		while (cache->reserve[blocks])
			cache_unreserve(cache, blocks, 1);
	}
	for (uint32_t i = 0; i < CACHE_SHARDS; i++)
		shard_fini(cache, &cache->shards[i]);
	epoch_free(cache->epoch);
	assert(atomic_load(&cache->bytes) == 0); /* nobody has a pin */
	cache__pool_fini(&cache->pool);
	free(cache);
}

struct buffer *
cache_peek(struct cache *cache, uint64_t addr, uint64_t stamp)
{
	struct shard *shard = cache__shard(cache, addr);
	struct frame *frame;

	mutex_lock(&shard->lock);
	frame = cache__find_locked(cache, shard, addr, stamp);
	if (frame && frame->state == FRAME_LOADING)
		frame = NULL;
	if (frame)
		cache__pin_hit_locked(shard, frame);
	mutex_unlock(&shard->lock);
	return frame ? &frame->buffer : NULL;
}

int
cache_take(struct cache *cache, struct buffer **out_buffer)
{
	struct frame *frame = cache__frame_take(cache, 1, false);

	if (!frame)
		return fail(COP_ENOMEM, "no room in the cache for a block");
	frame->state = FRAME_CLEAN;
	atomic_store_explicit(&frame->refs, 1, memory_order_relaxed);
	*out_buffer = &frame->buffer;
	return 0;
}

void
cache_release(struct cache *cache, struct buffer *buffer)
{
	cache__frame_unref(cache, frame_of(buffer));

	/* What went over the limit because of pins goes with them. */
	while (atomic_load_explicit(&cache->bytes, memory_order_relaxed) >
		cache->limit_bytes +
			atomic_load_explicit(&cache->retired_bytes, memory_order_relaxed)) {
		if (!evict_one(cache))
			break;
	}
}

struct epoch *
cache_epoch(struct cache *cache)
{
	return cache->epoch;
}

const uint8_t *
cache_look(struct cache *cache, uint32_t slot, uint64_t addr, uint64_t stamp, cache_verify verify)
{
	const struct shard *shard = cache__shard(cache, addr);
	struct frame *frame = atomic_load(&shard->buckets[bucket_index(cache, addr)]);
	atomic_uint_fast64_t *hits = &cache->looks[slot].hits;

	for (int steps = 0; frame && steps < LOOK_STEPS_MAX; steps++) {
		const struct buffer *buffer = &frame->buffer;

		if (buffer->addr == addr && buffer->stamp == stamp && buffer->verify == verify &&
			buffer->blocks == 1 &&
			/* Pairs with publish(). */
			atomic_load_explicit(&frame->is_readable, memory_order_acquire)) {
			cache__note_hit(frame);
			/* The slot is the caller's: nobody else counts there. */
			atomic_store_explicit(hits,
				atomic_load_explicit(hits, memory_order_relaxed) + 1,
				memory_order_relaxed);
			return buffer->data;
		}
		frame = atomic_load(&frame->bucket_next);
	}
	return NULL;
}

void
cache_pin(struct cache *cache, struct buffer *buffer)
{
	unsigned before =
		atomic_fetch_add_explicit(&frame_of(buffer)->refs, 1, memory_order_relaxed);

	(void)cache;
	assert(before > 0);
}

int
cache_reserve(struct cache *cache, uint32_t blocks, size_t count)
{
	struct frame *taken = NULL;
	struct frame *last = NULL;

	for (size_t i = 0; i < count; i++) {
		struct frame *frame = cache__frame_take(cache, blocks, false);

		if (!frame)
			goto no_memory;
		if (!last)
			last = frame;
		frame->queue_next = taken;
		taken = frame;
	}
	if (!taken)
		return 0;

	mutex_lock(&cache->pool.lock);
	last->queue_next = cache->reserve[blocks];
	cache->reserve[blocks] = taken;
	mutex_unlock(&cache->pool.lock);
	return 0;

no_memory:
	while (taken) {
		struct frame *frame = taken;

		taken = frame->queue_next;
		cache__frame_put(cache, frame);
	}
	return fail(COP_ENOMEM, "no room in the cache for %zu buffers of %" PRIu32 " blocks", count,
		blocks);
}

static struct frame *
take_reserved(struct cache *cache, uint32_t blocks)
{
	struct frame *frame;

	assert(blocks > 0);
	assert(blocks <= CACHE_BLOCKS_MAX);
	mutex_lock(&cache->pool.lock);
	frame = cache->reserve[blocks];
	assert(frame); /* whoever inserts has reserved */
	cache->reserve[blocks] = frame->queue_next;
	mutex_unlock(&cache->pool.lock);
	frame->queue_next = NULL;
	return frame;
}

void
cache_unreserve(struct cache *cache, uint32_t blocks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		cache__frame_put(cache, take_reserved(cache, blocks));
}

/* Two dirty buffers at one address would be one block allocated twice. */
static void
assert_none_dirty_locked(struct cache *cache, struct shard *shard, uint64_t addr)
{
	const struct frame *frame = *bucket_of(cache, shard, addr);

	for (; frame; frame = frame->bucket_next) {
		if (frame->buffer.addr == addr)
			assert(frame->state != FRAME_DIRTY);
	}
}

struct buffer *
cache_insert(struct cache *cache, uint64_t addr, uint64_t addr2, uint64_t stamp, uint32_t blocks)
{
	struct shard *shard = cache__shard(cache, addr);
	struct frame *frame = take_reserved(cache, blocks);
	struct frame *stale;
	struct frame *same;

	memset(frame->buffer.data, 0, (size_t)blocks * BLOCK_BYTES);
	frame->buffer.addr = addr;
	frame->buffer.addr2 = addr2;
	frame->buffer.stamp = stamp;
	frame->state = FRAME_DIRTY;
	atomic_fetch_add_explicit(
		&cache->dirty_bytes, cache__pool_bytes(blocks), memory_order_relaxed);

	mutex_lock(&shard->lock);
	assert_none_dirty_locked(cache, shard, addr);
	stale = cache__detach_stale_locked(cache, shard, addr);
	same = cache__find_locked(cache, shard, addr, stamp);
	if (same)
		cache__detach_locked(cache, shard, same);
	cache__attach_locked(cache, shard, frame);
	mutex_unlock(&shard->lock);

	if (stale)
		cache__frame_unref(cache, stale);
	if (same)
		cache__frame_unref(cache, same);
	return &frame->buffer;
}

void
cache_clean(struct cache *cache, struct buffer *buffer)
{
	struct frame *frame = frame_of(buffer);
	struct shard *shard = cache__shard(cache, buffer->addr);

	mutex_lock(&shard->lock);
	if (frame->state == FRAME_DIRTY) {
		frame->state = FRAME_CLEAN;
		atomic_fetch_sub_explicit(&cache->dirty_bytes, cache__pool_bytes(buffer->blocks),
			memory_order_relaxed);
		cache__fifo_add(&shard->fifo, frame);
	}
	mutex_unlock(&shard->lock);
}

void
cache_drop(struct cache *cache, uint64_t addr, uint64_t stamp)
{
	struct shard *shard = cache__shard(cache, addr);
	struct frame *frame;

	mutex_lock(&shard->lock);
	frame = cache__find_locked(cache, shard, addr, stamp);
	if (frame)
		cache__detach_locked(cache, shard, frame);
	mutex_unlock(&shard->lock);

	if (frame)
		cache__frame_unref(cache, frame);
}

void
cache_shrink(struct cache *cache)
{
	while (evict_one(cache))
		;
}

struct cache_stats
cache_stats(struct cache *cache)
{
	struct cache_stats stats = {
		.bytes = atomic_load_explicit(&cache->bytes, memory_order_relaxed),
		.bytes_max = atomic_load_explicit(&cache->bytes_max, memory_order_relaxed),
		.dirty_bytes = atomic_load_explicit(&cache->dirty_bytes, memory_order_relaxed),
	};

	for (uint32_t i = 0; i < CACHE_SHARDS; i++) {
		struct shard *shard = &cache->shards[i];

		mutex_lock(&shard->lock);
		stats.hits += shard->hits;
		stats.misses += shard->misses;
		stats.evictions += shard->evictions;
		mutex_unlock(&shard->lock);
	}
	for (uint32_t i = 0; i < EPOCH_SLOTS; i++)
		stats.hits += atomic_load_explicit(&cache->looks[i].hits, memory_order_relaxed);
	return stats;
}

static void
frame_assert_sound(struct cache *cache, struct shard *shard, struct frame *frame)
{
	assert(cache__shard(cache, frame->buffer.addr) == shard);
	assert(cache__find_locked(cache, shard, frame->buffer.addr, frame->buffer.stamp) == frame);
	assert(frame->is_in_table);
	assert(frame->state == FRAME_LOADING || frame->state == FRAME_CLEAN ||
		frame->state == FRAME_DIRTY);
	assert((frame->state == FRAME_CLEAN) == (frame->queue != QUEUE_NONE));
	assert(atomic_load_explicit(&frame->refs, memory_order_relaxed) > 0);
}

void
cache_assert_sound(struct cache *cache)
{
	uint64_t bytes = 0;
	uint64_t dirty_bytes = 0;

	for (uint32_t i = 0; i < CACHE_SHARDS; i++) {
		struct shard *shard = &cache->shards[i];

		mutex_lock(&shard->lock);
		for (uint64_t b = 0; b <= cache->bucket_mask; b++) {
			for (struct frame *frame = shard->buckets[b]; frame;
				frame = frame->bucket_next) {
				frame_assert_sound(cache, shard, frame);
				bytes += cache__pool_bytes(frame->buffer.blocks);
				if (frame->state == FRAME_DIRTY)
					dirty_bytes += cache__pool_bytes(frame->buffer.blocks);
			}
		}
		cache__fifo_assert_sound(&shard->fifo);
		mutex_unlock(&shard->lock);
	}
	cache__pool_assert_sound(&cache->pool);
	assert(bytes <= atomic_load_explicit(&cache->bytes, memory_order_relaxed));
	assert(dirty_bytes == atomic_load_explicit(&cache->dirty_bytes, memory_order_relaxed));
}
