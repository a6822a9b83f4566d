/*
 * The memory of the frames: chunks of 64 blocks, each with a word of bits, cut as buddies.
 *
 * A buffer of its own from aligned_alloc() would cost the page in front of it, where the allocator
 * keeps its header: 128 MiB resident for 64 MiB of single blocks, and 80 for runs of four. In
 * chunks it is 67. Runs of different lengths share chunks, so memory moves between data and nodes
 * as the load does; what was allocated together is evicted at about the same time, which keeps
 * free blocks together.
 *
 * A frame lives beside its data, in the chunk's array, at the index of its first block. One empty
 * chunk is kept; further ones go back to their slab.
 *
 * A *slab* is memory for eight chunks, as large and as aligned as a huge page, and asks for one:
 * with pages of 4 KiB a cached read of a random block spends as long on finding the page as on
 * copying it. A slab whose chunks are all given back goes back to the system.
 */
#include "cache/cache_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, bytes)   ((void)(at), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#endif

enum {
	SLAB_CHUNKS = 8,
	SLAB_BYTES = SLAB_CHUNKS * CHUNK_BLOCKS * BLOCK_BYTES, /* of a huge page */
	SLAB_ALL_FREE = (1 << SLAB_CHUNKS) - 1,
};

struct slab {
	struct slab *prev; /* in pool.slabs, while it has a free chunk */
	struct slab *next;
	uint8_t *data;        /* owned, SLAB_BYTES */
	uint32_t free_chunks; /* a bit for each */
};

struct chunk {
	struct chunk *prev;
	struct chunk *next;
	struct slab *slab;
	uint8_t *data;        /* CHUNK_BLOCKS blocks of the slab */
	uint64_t free_blocks; /* a bit for each */
	struct frame frames[CHUNK_BLOCKS];
};

/* Bits at the places where a run of each order may begin. */
static const uint64_t run_starts[CHUNK_ORDERS] = {
	UINT64_C(0xffffffffffffffff),
	UINT64_C(0x5555555555555555),
	UINT64_C(0x1111111111111111),
	UINT64_C(0x0101010101010101),
	UINT64_C(0x0001000100010001),
	UINT64_C(0x0000000100000001),
	UINT64_C(0x0000000000000001),
};

static uint32_t
order_of(uint32_t blocks)
{
	uint32_t order = 0;

	assert(blocks > 0);
	assert(blocks <= CACHE_BLOCKS_MAX);
	while (UINT32_C(1) << order < blocks)
		order++;
	return order;
}

static uint64_t
run_bits(uint32_t order, uint32_t index)
{
	uint64_t ones =
		order == CHUNK_ORDERS - 1 ? ~UINT64_C(0) : (UINT64_C(1) << (1U << order)) - 1;

	return ones << index;
}

/* The first bits of the aligned runs of `order` that are free in full. */
static uint64_t
free_runs(uint64_t free_blocks, uint32_t order)
{
	for (uint32_t o = 0; o < order; o++)
		free_blocks &= free_blocks >> (1U << o);
	return free_blocks & run_starts[order];
}

static uint32_t
list_of(const struct chunk *chunk)
{
	uint32_t list = CHUNK_ORDERS;

	while (list > 0 && free_runs(chunk->free_blocks, list - 1) == 0)
		list--;
	return list;
}

static void
link_chunk(struct pool *pool, struct chunk *chunk)
{
	struct chunk **head = &pool->chunks[list_of(chunk)];

	chunk->prev = NULL;
	chunk->next = *head;
	if (*head)
		(*head)->prev = chunk;
	*head = chunk;
}

static void
unlink_chunk(struct pool *pool, struct chunk *chunk)
{
	if (chunk->prev)
		chunk->prev->next = chunk->next;
	else
		pool->chunks[list_of(chunk)] = chunk->next;
	if (chunk->next)
		chunk->next->prev = chunk->prev;
}

static void
link_slab(struct pool *pool, struct slab *slab)
{
	slab->prev = NULL;
	slab->next = pool->slabs;
	if (pool->slabs)
		pool->slabs->prev = slab;
	pool->slabs = slab;
}

static void
unlink_slab(struct pool *pool, struct slab *slab)
{
	if (slab->prev)
		slab->prev->next = slab->next;
	else
		pool->slabs = slab->next;
	if (slab->next)
		slab->next->prev = slab->prev;
}

static struct slab *
slab_create(void)
{
	struct slab *slab = calloc(1, sizeof *slab);
	uint8_t *data = aligned_alloc(SLAB_BYTES, SLAB_BYTES);

	if (!slab || !data) {
		free(slab);
		free(data);
		return NULL;
	}
	/* A wish: where the host has no huge pages, the memory is as good. */
	(void)madvise(data, SLAB_BYTES, MADV_HUGEPAGE);
	slab->data = data;
	slab->free_chunks = SLAB_ALL_FREE;
	ASAN_POISON_MEMORY_REGION(data, SLAB_BYTES);
	return slab;
}

static void
slab_free(struct slab *slab)
{
	if (!slab)
		return;
	assert(slab->free_chunks == SLAB_ALL_FREE);
	ASAN_UNPOISON_MEMORY_REGION(slab->data, SLAB_BYTES);
	free(slab->data);
	free(slab);
}

/* Under the pool's lock. NULL: no memory. */
static struct chunk *
chunk_create(struct pool *pool)
{
	struct chunk *chunk = calloc(1, sizeof *chunk);
	struct slab *slab;
	uint32_t index;

	if (!chunk)
		return NULL;
	if (!pool->slabs) {
		slab = slab_create();
		if (!slab) {
			free(chunk);
			return NULL;
		}
		link_slab(pool, slab);
	}
	slab = pool->slabs;
	index = (uint32_t)__builtin_ctz(slab->free_chunks);
	slab->free_chunks &= ~(1U << index);
	if (slab->free_chunks == 0)
		unlink_slab(pool, slab);
	chunk->slab = slab;
	chunk->data = slab->data + (size_t)index * CHUNK_BLOCKS * BLOCK_BYTES;
	chunk->free_blocks = ~UINT64_C(0);
	return chunk;
}

/* Under the pool's lock. Returns the slab if that is to be freed, without the lock. */
static struct slab *
chunk_free(struct pool *pool, struct chunk *chunk)
{
	struct slab *slab = chunk->slab;
	size_t index = (size_t)(chunk->data - slab->data) / (CHUNK_BLOCKS * BLOCK_BYTES);

	if (slab->free_chunks == 0)
		link_slab(pool, slab);
	slab->free_chunks |= 1U << index;
	free(chunk);
	if (slab->free_chunks != SLAB_ALL_FREE)
		return NULL;
	unlink_slab(pool, slab);
	return slab;
}

/* The place for a run: one whose buddy is taken if there is such, so that larger runs stay whole.
 */
static uint32_t
choose_run(const struct chunk *chunk, uint32_t order)
{
	uint64_t runs = 0;

	for (uint32_t o = order; runs == 0; o++) {
		assert(o < CHUNK_ORDERS); /* the chunk has room */
		runs = free_runs(chunk->free_blocks, o);
		if (o + 1 < CHUNK_ORDERS) {
			uint64_t pairs = free_runs(chunk->free_blocks, o + 1);

			runs &= ~(pairs | pairs << (1U << o));
		}
	}
	return (uint32_t)__builtin_ctzll(runs);
}

static struct frame *
carve(struct pool *pool, struct chunk *chunk, uint32_t order)
{
	uint32_t index = choose_run(chunk, order);
	struct frame *frame = &chunk->frames[index];

	unlink_chunk(pool, chunk);
	chunk->free_blocks &= ~run_bits(order, index);
	link_chunk(pool, chunk);

	memset(frame, 0, sizeof *frame);
	frame->chunk = chunk;
	frame->order = order;
	frame->buffer.data = chunk->data + (size_t)index * BLOCK_BYTES;
	ASAN_UNPOISON_MEMORY_REGION(frame->buffer.data, (size_t)BLOCK_BYTES << order);
	return frame;
}

int
cache__pool_init(struct pool *pool)
{
	*pool = (struct pool){ 0 };
	return mutex_init(&pool->lock, LOCK_CACHE);
}

void
cache__pool_fini(struct pool *pool)
{
	struct chunk *empty = pool->chunks[CHUNK_ORDERS];

	if (empty) {
		unlink_chunk(pool, empty);
		slab_free(chunk_free(pool, empty));
		pool->chunk_count--;
	}
	assert(pool->chunk_count == 0); /* a buffer is still pinned */
	mutex_fini(&pool->lock);
}

struct frame *
cache__pool_take(struct pool *pool, uint32_t blocks, size_t chunks_max)
{
	uint32_t order = order_of(blocks);
	struct chunk *chunk = NULL;
	struct frame *frame = NULL;

	mutex_lock(&pool->lock);
	for (uint32_t list = order + 1; list <= CHUNK_ORDERS && !chunk; list++)
		chunk = pool->chunks[list];
	if (!chunk && pool->chunk_count < chunks_max) {
		chunk = chunk_create(pool);
		if (chunk) {
			link_chunk(pool, chunk);
			pool->chunk_count++;
		}
	}
	if (chunk)
		frame = carve(pool, chunk, order);
	mutex_unlock(&pool->lock);

	if (frame)
		frame->buffer.blocks = blocks;
	return frame;
}

void
cache__pool_put(struct pool *pool, struct frame *frame)
{
	struct chunk *chunk = frame->chunk;
	uint64_t run = run_bits(frame->order, (uint32_t)(frame - chunk->frames));
	struct slab *surplus = NULL;

	ASAN_POISON_MEMORY_REGION(frame->buffer.data, (size_t)BLOCK_BYTES << frame->order);

	mutex_lock(&pool->lock);
	assert((chunk->free_blocks & run) == 0);
	unlink_chunk(pool, chunk);
	chunk->free_blocks |= run;
	if (chunk->free_blocks == ~UINT64_C(0) && pool->chunks[CHUNK_ORDERS]) {
		surplus = chunk_free(pool, chunk);
		pool->chunk_count--;
	} else {
		link_chunk(pool, chunk);
	}
	mutex_unlock(&pool->lock);

	slab_free(surplus);
}

uint64_t
cache__pool_bytes(uint32_t blocks)
{
	return (BLOCK_BYTES + sizeof(struct frame)) << order_of(blocks);
}

void
cache__pool_assert_sound(struct pool *pool)
{
	size_t count = 0;

	mutex_lock(&pool->lock);
	for (uint32_t list = 0; list <= CHUNK_ORDERS; list++) {
		struct chunk *prev = NULL;

		for (struct chunk *chunk = pool->chunks[list]; chunk; chunk = chunk->next) {
			assert(chunk->prev == prev);
			assert(list_of(chunk) == list);
			prev = chunk;
			count++;
		}
	}
	assert(count == pool->chunk_count);
	mutex_unlock(&pool->lock);
}
