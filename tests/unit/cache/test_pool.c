#include "base/num.h"
#include "base/random.h"
#include "cache/cache_internal.h"
#include "support/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void
init(struct pool *pool)
{
	assert_int_equal(cache__pool_init(pool), 0);
}

static struct frame *
take(struct pool *pool, uint32_t blocks)
{
	struct frame *frame = cache__pool_take(pool, blocks, SIZE_MAX);

	assert_non_null(frame);
	assert_int_equal(frame->buffer.blocks, blocks);
	assert_int_equal((uintptr_t)frame->buffer.data % BLOCK_BYTES, 0);
	return frame;
}

static bool
is_filled(const struct frame *frame, uint8_t byte)
{
	for (size_t i = 0; i < (size_t)frame->buffer.blocks * BLOCK_BYTES; i += 64) {
		if (frame->buffer.data[i] != byte)
			return false;
	}
	return true;
}

static void
never_hands_out_a_block_twice(void **state)
{
	enum { HELD_MAX = 200, STEPS = 5000, SEED = 11 };
	static struct frame *held[HELD_MAX];
	static uint8_t byte[HELD_MAX];
	struct pool pool;
	struct rng rng;

	(void)state;
	print_message("# seed %d\n", SEED);
	rng_seed(&rng, SEED);
	init(&pool);
	for (uint32_t step = 0; step < STEPS; step++) {
		uint32_t i = (uint32_t)rng_below(&rng, HELD_MAX);

		if (held[i]) {
			assert_true(is_filled(held[i], byte[i]));
			cache__pool_put(&pool, TAKE(held[i]));
		} else {
			held[i] = take(&pool, (uint32_t)rng_below(&rng, 8) + 1);
			byte[i] = (uint8_t)rng_next(&rng);
			memset(held[i]->buffer.data, byte[i],
				(size_t)held[i]->buffer.blocks * BLOCK_BYTES);
		}
		if (step % 64 == 0)
			cache__pool_assert_sound(&pool);
	}
	for (uint32_t i = 0; i < HELD_MAX; i++) {
		if (held[i])
			cache__pool_put(&pool, TAKE(held[i]));
	}
	assert_int_equal(pool.chunk_count, 1); /* the one that is kept */
	cache__pool_fini(&pool);
}

static void
fills_a_chunk_before_it_makes_another(void **state)
{
	struct frame *frames[CHUNK_BLOCKS + 1];
	struct pool pool;

	(void)state;
	init(&pool);
	for (uint32_t i = 0; i < CHUNK_BLOCKS; i++) {
		frames[i] = take(&pool, 1);
		assert_int_equal(pool.chunk_count, 1);
	}
	frames[CHUNK_BLOCKS] = take(&pool, 1);
	assert_int_equal(pool.chunk_count, 2);
	for (uint32_t i = 0; i < ARRAY_COUNT(frames); i++)
		cache__pool_put(&pool, frames[i]);
	cache__pool_fini(&pool);
}

/* Chunks share memory of a huge page, which goes when the last of them has gone. */
static void
cuts_eight_chunks_from_one_slab(void **state)
{
	enum { CHUNKS = 9 };
	struct frame *frames[CHUNKS];
	struct pool pool;

	(void)state;
	init(&pool);
	for (uint32_t i = 0; i < CHUNKS; i++) {
		frames[i] = take(&pool, CHUNK_BLOCKS);
		assert_int_equal(pool.slabs == NULL, i == CHUNKS - 2); /* the first is full */
	}
	for (uint32_t i = 0; i < CHUNKS - 1; i++)
		assert_ptr_equal(frames[i]->buffer.data,
			frames[0]->buffer.data + (size_t)i * CHUNK_BLOCKS * BLOCK_BYTES);
	assert_int_equal((uintptr_t)frames[0]->buffer.data % (CHUNK_BLOCKS * 8 * BLOCK_BYTES), 0);
	cache__pool_put(&pool, frames[3]);
	assert_non_null(pool.slabs);
	frames[3] = take(&pool, CHUNK_BLOCKS); /* the one that was kept */
	for (uint32_t i = 0; i < CHUNKS; i++)
		cache__pool_put(&pool, frames[i]);
	assert_int_equal(pool.chunk_count, 1);
	cache__pool_fini(&pool);
	assert_null(pool.slabs);
}

/* A hole beside a taken block is filled before a free run of four is broken, though that is first.
 */
static void
keeps_long_runs_whole(void **state)
{
	struct frame *head;
	struct frame *four[2];
	struct frame *one;
	struct frame *refill;
	struct pool pool;

	(void)state;
	init(&pool);
	head = take(&pool, 4);
	four[0] = take(&pool, 4);
	one = take(&pool, 1);
	four[1] = take(&pool, 4);
	cache__pool_put(&pool, head);
	refill = take(&pool, 1);
	assert_ptr_equal(refill->buffer.data, one->buffer.data + BLOCK_BYTES);
	head = take(&pool, 4);
	assert_true(head->buffer.data < four[0]->buffer.data);

	cache__pool_put(&pool, head);
	cache__pool_put(&pool, refill);
	cache__pool_put(&pool, one);
	for (uint32_t i = 0; i < ARRAY_COUNT(four); i++)
		cache__pool_put(&pool, four[i]);
	cache__pool_fini(&pool);
}

static void
grows_only_as_far_as_allowed(void **state)
{
	struct frame *whole;
	struct frame *more;
	struct pool pool;

	(void)state;
	init(&pool);
	assert_null(cache__pool_take(&pool, 1, 0));
	whole = cache__pool_take(&pool, CHUNK_BLOCKS, 1);
	assert_non_null(whole);
	assert_null(cache__pool_take(&pool, 1, 1));
	more = cache__pool_take(&pool, 1, 2);
	assert_non_null(more);
	cache__pool_put(&pool, more);
	cache__pool_put(&pool, whole);
	cache__pool_fini(&pool);
}

static void
counts_memory_rounded_up_with_its_frames(void **state)
{
	(void)state;
	assert_int_equal(cache__pool_bytes(1), BLOCK_BYTES + sizeof(struct frame));
	assert_int_equal(cache__pool_bytes(3), cache__pool_bytes(4));
	assert_int_equal(cache__pool_bytes(4), 4 * cache__pool_bytes(1));
}

static void
has_no_frame_without_memory(void **state)
{
	struct frame *frame = NULL;
	uint64_t nth = 0;
	struct pool pool;

	(void)state;
	init(&pool);
	while (!frame) {
		alloc_fail_nth(++nth);
		frame = cache__pool_take(&pool, 1, SIZE_MAX);
		alloc_fail_nth(0);
		cache__pool_assert_sound(&pool);
		if (!frame)
			assert_int_equal(pool.chunk_count, 0);
	}
	assert_int_equal(nth, 4); /* the chunk, its slab, their data */
	cache__pool_put(&pool, frame);
	cache__pool_fini(&pool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(never_hands_out_a_block_twice),
		cmocka_unit_test(fills_a_chunk_before_it_makes_another),
		cmocka_unit_test(cuts_eight_chunks_from_one_slab),
		cmocka_unit_test(keeps_long_runs_whole),
		cmocka_unit_test(grows_only_as_far_as_allowed),
		cmocka_unit_test(counts_memory_rounded_up_with_its_frames),
		cmocka_unit_test(has_no_frame_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
