#include "base/num.h"
#include "base/random.h"
#include "cache/cache.h"
#include "cache/cache_internal.h"
#include "fake_device.h"
#include "support/alloc.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { DEVICE_BLOCKS = 4096, REQUESTS_MAX = 600 };

struct world {
	struct fake *fake;
	struct cache *cache;
	struct cache_request requests[REQUESTS_MAX];
};

static void
init(struct world *world, uint64_t limit_bytes)
{
	memset(world, 0, sizeof *world);
	world->fake = fake_create(DEVICE_BLOCKS);
	assert_int_equal(cache_create(&world->fake->device, limit_bytes, &world->cache), 0);
}

static void
assert_good(const struct cache_request *request)
{
	assert_int_equal(request->result, 0);
	assert_int_equal(request->buffer->addr, request->addr);
	assert_int_equal(fake_verify(NULL, request->addr, request->stamp, request->buffer->data,
				 request->blocks),
		0);
}

static bool
is_resident(struct world *world, uint64_t addr)
{
	struct buffer *buffer = cache_peek(world->cache, addr, addr + 7);

	if (buffer)
		cache_release(world->cache, buffer);
	return buffer != NULL;
}

/* Releases what was got; the others have no buffer. */
static void
release_all(struct world *world, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (world->requests[i].result == 0)
			cache_release(world->cache, world->requests[i].buffer);
		else
			assert_null(world->requests[i].buffer);
	}
}

static void
reads_neighbours_in_one_request_and_all_in_one_batch(void **state)
{
	static const uint64_t addrs[] = { 40, 12, 8, 44, 4, 100, 48 };
	struct world world;

	(void)state;
	init(&world, 8 << 20);
	for (size_t i = 0; i < ARRAY_COUNT(addrs); i++)
		world.requests[i] = fake_request(addrs[i], 4);
	assert_int_equal(cache_get_many(world.cache, world.requests, ARRAY_COUNT(addrs)), 0);
	for (size_t i = 0; i < ARRAY_COUNT(addrs); i++)
		assert_good(&world.requests[i]);
	assert_int_equal(atomic_load(&world.fake->submits), 1);
	assert_int_equal(device_stats(&world.fake->device).reads, 3); /* 4-15, 40-51, 100-103 */
	release_all(&world, ARRAY_COUNT(addrs));
	fake_free_with(world.fake, world.cache);
}

static void
bounds_the_pieces_of_one_request(void **state)
{
	struct world world;

	(void)state;
	init(&world, 8 << 20);
	for (uint32_t i = 0; i < REQUESTS_MAX; i++)
		world.requests[i] = fake_request(i, 1);
	assert_int_equal(cache_get_many(world.cache, world.requests, REQUESTS_MAX), 0);
	for (uint32_t i = 0; i < REQUESTS_MAX; i++)
		assert_good(&world.requests[i]);
	assert_int_equal(atomic_load(&world.fake->submits), 1);
	assert_int_equal(atomic_load(&world.fake->iov_max), 256);
	assert_int_equal(device_stats(&world.fake->device).reads, 3);
	release_all(&world, REQUESTS_MAX);
	fake_free_with(world.fake, world.cache);
}

static void
reads_only_what_is_missing(void **state)
{
	struct world world;

	(void)state;
	init(&world, 8 << 20);
	for (uint32_t i = 0; i < 4; i++)
		world.requests[i] = fake_request(10 * i, 1);
	assert_int_equal(cache_get_many(world.cache, world.requests, 2), 0);
	release_all(&world, 2);
	assert_int_equal(cache_get_many(world.cache, world.requests, 4), 0);
	assert_int_equal(device_stats(&world.fake->device).reads, 4);
	release_all(&world, 4);
	assert_int_equal(cache_get_many(world.cache, world.requests, 4), 0);
	assert_int_equal(device_stats(&world.fake->device).reads, 4);
	release_all(&world, 4);
	assert_int_equal(cache_get_many(world.cache, world.requests, 0), 0);
	fake_free_with(world.fake, world.cache);
}

static void
answers_the_same_question_twice_with_one_read(void **state)
{
	struct world world;

	(void)state;
	init(&world, 8 << 20);
	for (uint32_t i = 0; i < 3; i++)
		world.requests[i] = fake_request(9, 1);
	assert_int_equal(cache_get_many(world.cache, world.requests, 3), 0);
	assert_ptr_equal(world.requests[0].buffer, world.requests[1].buffer);
	assert_ptr_equal(world.requests[0].buffer, world.requests[2].buffer);
	assert_int_equal(device_stats(&world.fake->device).reads, 1);
	release_all(&world, 3);
	fake_free_with(world.fake, world.cache);
}

static void
answers_two_stamps_at_one_address(void **state)
{
	struct world world;

	(void)state;
	init(&world, 8 << 20);
	world.requests[0] = fake_request(9, 1);
	world.requests[1] = fake_request(9, 1);
	world.requests[1].stamp++;
	assert_int_equal(cache_get_many(world.cache, world.requests, 2), 0);
	assert_good(&world.requests[0]);
	assert_good(&world.requests[1]);
	assert_ptr_not_equal(world.requests[0].buffer, world.requests[1].buffer);
	release_all(&world, 2);
	fake_free_with(world.fake, world.cache);
}

static void
caches_nothing_that_does_not_verify(void **state)
{
	struct world world;

	(void)state;
	init(&world, 8 << 20);
	world.fake->data[11 * BLOCK_BYTES + 99] ^= 1;
	for (uint32_t i = 0; i < 3; i++)
		world.requests[i] = fake_request(10 + i, 1);
	assert_int_equal(cache_get_many(world.cache, world.requests, 3), COP_ECHECKSUM);
	assert_non_null(strstr(err_text(), "block 11"));
	assert_good(&world.requests[0]);
	assert_int_equal(world.requests[1].result, COP_ECHECKSUM);
	assert_good(&world.requests[2]);
	assert_false(is_resident(&world, 11));
	assert_int_equal(cache_stats(world.cache).bytes, 2 * cache__pool_bytes(1));
	release_all(&world, 3);

	/* It is asked again, not remembered. */
	world.fake->data[11 * BLOCK_BYTES + 99] ^= 1;
	assert_int_equal(cache_get(world.cache, &world.requests[1]), 0);
	cache_release(world.cache, world.requests[1].buffer);
	fake_free_with(world.fake, world.cache);
}

/* One bad block in a request of many costs that block only. */
static void
confines_an_unreadable_block(void **state)
{
	struct world world;

	(void)state;
	init(&world, 8 << 20);
	world.fake->bad_op = DEVICE_READ;
	world.fake->bad_addr = 13;
	for (uint32_t i = 0; i < 8; i++)
		world.requests[i] = fake_request(10 + i, 1);
	assert_int_equal(cache_get_many(world.cache, world.requests, 8), COP_EIO);
	assert_non_null(strstr(err_text(), "block 13"));
	for (uint32_t i = 0; i < 8; i++) {
		if (i == 3)
			assert_int_equal(world.requests[i].result, COP_EIO);
		else
			assert_good(&world.requests[i]);
	}
	assert_false(is_resident(&world, 13));
	release_all(&world, 8);
	fake_free_with(world.fake, world.cache);
}

static void
reports_an_address_past_the_device(void **state)
{
	struct world world;

	(void)state;
	init(&world, 8 << 20);
	world.requests[0] = fake_request(DEVICE_BLOCKS - 1, 1);
	world.requests[1] = fake_request(DEVICE_BLOCKS, 1);
	world.requests[2] = fake_request(UINT64_MAX, 1);
	assert_int_equal(cache_get_many(world.cache, world.requests, 3), COP_EINVAL);
	assert_good(&world.requests[0]);
	assert_int_equal(world.requests[1].result, COP_EINVAL);
	assert_int_equal(world.requests[2].result, COP_EINVAL);
	release_all(&world, 3);
	fake_free_with(world.fake, world.cache);
}

/* A verifier that knows where a good copy is. */
static int
fetch_copy(void *context, uint64_t addr, uint64_t stamp, uint8_t *data, uint32_t blocks)
{
	struct world *world = context;

	if (fake_verify(NULL, addr, stamp, data, blocks) == 0)
		return 0;
	err_clear();
	return device_read(&world->fake->device, 1000, data, blocks);
}

static void
lets_the_verifier_put_a_good_copy_in_place(void **state)
{
	struct world world;

	(void)state;
	init(&world, 8 << 20);
	for (uint32_t i = 0; i < 4; i++)
		fake_fill(12 + i, world.fake->data + (1000 + i) * BLOCK_BYTES);
	world.fake->data[13 * BLOCK_BYTES] ^= 1;
	world.requests[0] = fake_request(12, 4);
	world.requests[0].verify = fetch_copy;
	world.requests[0].context = &world;
	assert_int_equal(cache_get(world.cache, &world.requests[0]), 0);
	assert_good(&world.requests[0]);
	assert_true(is_resident(&world, 12));
	release_all(&world, 1);
	fake_free_with(world.fake, world.cache);
}

/* What one verifier lets through, another may not: bytes of a file are not yet a node. */
static void
asks_every_verifier_for_itself(void **state)
{
	struct world world;
	struct buffer *seen;

	(void)state;
	init(&world, 8 << 20);
	world.fake->data[9 * BLOCK_BYTES] ^= 1;
	world.requests[0] = fake_request(9, 1);
	world.requests[0].verify = fake_accept;
	world.requests[1] = fake_request(9, 1);
	assert_int_equal(cache_get(world.cache, &world.requests[0]), 0);

	/* Pinned, it stays what is found; the other reader has a reading of its own. */
	assert_int_equal(cache_get(world.cache, &world.requests[1]), COP_ECHECKSUM);
	seen = cache_peek(world.cache, 9, 16);
	assert_ptr_equal(seen, world.requests[0].buffer);
	assert_true(seen->verify == fake_accept);
	cache_release(world.cache, seen);
	world.fake->data[9 * BLOCK_BYTES] ^= 1;
	assert_int_equal(cache_get(world.cache, &world.requests[1]), 0);
	assert_ptr_not_equal(world.requests[1].buffer, world.requests[0].buffer);
	cache_assert_sound(world.cache);
	release_all(&world, 2);

	/* Not pinned, it makes room. */
	assert_int_equal(cache_get(world.cache, &world.requests[1]), 0);
	seen = cache_peek(world.cache, 9, 16);
	assert_true(seen->verify == fake_verify);
	cache_release(world.cache, seen);
	cache_release(world.cache, world.requests[1].buffer);
	assert_int_equal(cache_stats(world.cache).bytes, cache__pool_bytes(1));
	fake_free_with(world.fake, world.cache);
}

static void
trusts_the_device_where_nobody_verifies(void **state)
{
	struct world world;

	(void)state;
	init(&world, 8 << 20);
	world.requests[0] = fake_request(9, 1);
	world.requests[0].verify = NULL;
	assert_int_equal(cache_get(world.cache, &world.requests[0]), 0);
	release_all(&world, 1);
	world.fake->bad_op = DEVICE_READ;
	world.fake->bad_addr = 10;
	world.requests[0] = fake_request(10, 1);
	world.requests[0].verify = NULL;
	assert_int_equal(cache_get(world.cache, &world.requests[0]), COP_EIO);
	fake_free_with(world.fake, world.cache);
}

static void
fails_for_want_of_memory_with_nothing_cached(void **state)
{
	enum { COUNT = 70 };
	struct world world;
	uint64_t nth = 0;
	int err;

	(void)state;
	init(&world, 8 << 20);
	do {
		for (uint32_t i = 0; i < COUNT; i++)
			world.requests[i] = fake_request(3 * i, 1);
		alloc_fail_from(++nth);
		err = cache_get_many(world.cache, world.requests, COUNT);
		alloc_fail_nth(0);
		if (err)
			assert_int_equal(err, COP_ENOMEM);
		release_all(&world, COUNT);
		cache_assert_sound(world.cache);
		cache_shrink(world.cache);
		assert_int_equal(cache_stats(world.cache).bytes, 0);
	} while (err);
	assert_true(nth > 6);
	fake_free_with(world.fake, world.cache);

	init(&world, 8 << 20);
	world.requests[0] = fake_request(5, 1);
	alloc_fail_from(1);
	err = cache_get(world.cache, &world.requests[0]);
	alloc_fail_nth(0);
	assert_int_equal(err, COP_ENOMEM);
	fake_free_with(world.fake, world.cache);
}

/* ---- Threads ------------------------------------------------------------------------------------
 */

struct getter {
	pthread_t thread;
	struct cache *cache;
	struct cache_request *requests;
	size_t count;
	int result;
};

static void *
run_getter(void *context)
{
	struct getter *getter = context;

	if (getter->count == 1)
		getter->result = cache_get(getter->cache, getter->requests);
	else
		getter->result = cache_get_many(getter->cache, getter->requests, getter->count);
	return NULL;
}

static void
start(struct getter *getter, struct cache *cache, struct cache_request *requests, size_t count)
{
	*getter = (struct getter){ .cache = cache, .requests = requests, .count = count };
	assert_int_equal(pthread_create(&getter->thread, NULL, run_getter, getter), 0);
}

static void
finish(struct getter *getter)
{
	assert_int_equal(pthread_join(getter->thread, NULL), 0);
}

/* Until `count` threads wait for somebody else's load of `addr`. */
static void
await_waiting(struct cache *cache, uint64_t addr, uint32_t count)
{
	struct shard *shard = cache__shard(cache, addr);
	uint32_t waiting;

	do {
		mutex_lock(&shard->lock);
		waiting = shard->waiting;
		mutex_unlock(&shard->lock);
		sched_yield();
	} while (waiting < count);
}

static void
shares_one_read_among_all_who_ask(void **state)
{
	enum { GETTERS = 4 };
	struct getter getters[GETTERS];
	struct world world;

	(void)state;
	init(&world, 8 << 20);
	fake_hold(world.fake, true);
	for (uint32_t i = 0; i < GETTERS; i++) {
		world.requests[i] = fake_request(9, 1);
		start(&getters[i], world.cache, &world.requests[i], 1);
	}
	fake_await_queued(world.fake, 1);
	await_waiting(world.cache, 9, GETTERS - 1);
	assert_null(cache_peek(world.cache, 9, 16)); /* not before it is verified */
	fake_hold(world.fake, false);
	for (uint32_t i = 0; i < GETTERS; i++) {
		finish(&getters[i]);
		assert_int_equal(getters[i].result, 0);
		assert_good(&world.requests[i]);
		assert_ptr_equal(world.requests[i].buffer, world.requests[0].buffer);
	}
	assert_int_equal(device_stats(&world.fake->device).reads, 1);
	release_all(&world, GETTERS);
	fake_free_with(world.fake, world.cache);
}

static void
hands_the_error_to_all_who_ask(void **state)
{
	enum { GETTERS = 4 };
	struct getter getters[GETTERS];
	struct world world;

	(void)state;
	init(&world, 8 << 20);
	world.fake->data[9 * BLOCK_BYTES] ^= 1;
	fake_hold(world.fake, true);
	for (uint32_t i = 0; i < GETTERS; i++) {
		world.requests[i] = fake_request(9, 1);
		start(&getters[i], world.cache, &world.requests[i], 1);
	}
	fake_await_queued(world.fake, 1);
	await_waiting(world.cache, 9, GETTERS - 1);
	fake_hold(world.fake, false);
	for (uint32_t i = 0; i < GETTERS; i++) {
		finish(&getters[i]);
		assert_int_equal(getters[i].result, COP_ECHECKSUM);
		assert_null(world.requests[i].buffer);
	}
	assert_int_equal(device_stats(&world.fake->device).reads, 1);
	assert_int_equal(cache_stats(world.cache).bytes, 0);
	fake_free_with(world.fake, world.cache);
}

/* What is inserted or dropped while it is read goes its way; the reader gets what it asked for. */
static void
finishes_a_load_whose_place_was_taken(void **state)
{
	struct getter getters[2];
	struct world world;

	(void)state;
	init(&world, 8 << 20);
	assert_int_equal(cache_reserve(world.cache, 1, 1), 0);
	fake_hold(world.fake, true);
	for (uint32_t i = 0; i < 2; i++) {
		world.requests[i] = fake_request(9 + 10 * i, 1);
		start(&getters[i], world.cache, &world.requests[i], 1);
	}
	fake_await_queued(world.fake, 2);
	(void)cache_insert(world.cache, 9, 0, 1, 1);
	cache_drop(world.cache, 19, 26);
	cache_assert_sound(world.cache);
	fake_hold(world.fake, false);
	for (uint32_t i = 0; i < 2; i++) {
		finish(&getters[i]);
		assert_good(&world.requests[i]);
	}
	assert_true(is_resident(&world, 9)); /* beside the new one, while it is pinned */
	assert_false(is_resident(&world, 19));
	release_all(&world, 2);
	cache_shrink(world.cache);
	assert_int_equal(cache_stats(world.cache).bytes, cache__pool_bytes(1));
	fake_free_with(world.fake, world.cache);
}

static void
does_not_deadlock_when_calls_overlap(void **state)
{
	enum { ROUNDS = 50, COUNT = 40, GETTERS = 4 };
	struct getter getters[GETTERS];
	struct world world;

	(void)state;
	init(&world, 8 << 20);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		for (uint32_t g = 0; g < GETTERS; g++) {
			for (uint32_t i = 0; i < COUNT; i++) {
				uint32_t turned = g % 2 ? i : COUNT - 1 - i;

				world.requests[g * COUNT + i] = fake_request(4 * (turned + g), 4);
			}
		}
		for (uint32_t g = 0; g < GETTERS; g++)
			start(&getters[g], world.cache, &world.requests[g * COUNT], COUNT);
		for (uint32_t g = 0; g < GETTERS; g++) {
			finish(&getters[g]);
			assert_int_equal(getters[g].result, 0);
		}
		release_all(&world, GETTERS * COUNT);
		cache_shrink(world.cache);
		assert_int_equal(cache_stats(world.cache).bytes, 0);
	}
	assert_int_equal(device_stats(&world.fake->device).reads > 0, 1);
	fake_free_with(world.fake, world.cache);
}

/* ---- Everything at once -------------------------------------------------------------------------
 */

struct stress {
	pthread_t thread;
	struct cache *cache;
	uint32_t number;
	atomic_uint *wrong;
};

enum { STRESS_STEPS = 1500, STRESS_THREADS = 4, STRESS_BUFFERS = 64, STRESS_SPREAD = 120 };

static void
stress_read(struct stress *stress, struct rng *rng)
{
	struct cache_request requests[5];
	size_t count = rng_below(rng, ARRAY_COUNT(requests)) + 1;

	for (size_t i = 0; i < count; i++)
		requests[i] = fake_request(4 * rng_below(rng, STRESS_SPREAD), 4);
	if (cache_get_many(stress->cache, requests, count) != 0)
		atomic_fetch_add(stress->wrong, 1);
	for (size_t i = 0; i < count; i++) {
		if (requests[i].result != 0)
			continue;
		if (fake_verify(NULL, requests[i].addr, 0, requests[i].buffer->data, 4) != 0)
			atomic_fetch_add(stress->wrong, 1);
		cache_release(stress->cache, requests[i].buffer);
	}
}

/* A dirty buffer in a place of this thread's own, sometimes read by its neighbour. */
static void
stress_write(struct stress *stress, struct rng *rng)
{
	uint64_t addr = 2000 + 16 * stress->number + 4 * rng_below(rng, 4);
	uint64_t stamp = rng_nonzero(rng);
	struct buffer *buffer;
	struct buffer *peeked;

	if (cache_reserve(stress->cache, 4, 1) != 0)
		return; /* all the memory is pinned just now */
	buffer = cache_insert(stress->cache, addr, 0, stamp, 4);
	for (uint32_t i = 0; i < 4; i++)
		fake_fill(addr + i, buffer->data + (size_t)i * BLOCK_BYTES);
	peeked = cache_peek(stress->cache, addr, stamp);
	if (peeked != buffer)
		atomic_fetch_add(stress->wrong, 1);
	if (cache_sync_all(stress->cache, &buffer, 1) != 0)
		atomic_fetch_add(stress->wrong, 1);
	if (rng_below(rng, 2) == 0)
		cache_clean(stress->cache, buffer);
	else
		cache_drop(stress->cache, addr, stamp);
	if (peeked)
		cache_release(stress->cache, peeked);
}

static void *
run_stress(void *context)
{
	struct stress *stress = context;
	struct rng rng;

	rng_seed(&rng, stress->number + 1);
	for (uint32_t step = 0; step < STRESS_STEPS; step++) {
		if (rng_below(&rng, 8) == 0)
			stress_write(stress, &rng);
		else
			stress_read(stress, &rng);
	}
	return NULL;
}

static void
serves_four_threads_at_once(void **state)
{
	struct stress threads[STRESS_THREADS];
	atomic_uint wrong = 0;
	struct world world;

	(void)state;
	init(&world, STRESS_BUFFERS * cache__pool_bytes(4));
	for (uint32_t i = 0; i < STRESS_THREADS; i++) {
		threads[i] = (struct stress){ .cache = world.cache, .number = i, .wrong = &wrong };
		assert_int_equal(
			pthread_create(&threads[i].thread, NULL, run_stress, &threads[i]), 0);
	}
	for (uint32_t i = 0; i < STRESS_THREADS; i++)
		assert_int_equal(pthread_join(threads[i].thread, NULL), 0);
	assert_int_equal(atomic_load(&wrong), 0);
	assert_true(cache_stats(world.cache).bytes <= STRESS_BUFFERS * cache__pool_bytes(4));
	assert_int_equal(cache_stats(world.cache).dirty_bytes, 0);
	cache_shrink(world.cache);
	assert_int_equal(cache_stats(world.cache).bytes, 0);
	fake_free_with(world.fake, world.cache);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_neighbours_in_one_request_and_all_in_one_batch),
		cmocka_unit_test(bounds_the_pieces_of_one_request),
		cmocka_unit_test(reads_only_what_is_missing),
		cmocka_unit_test(answers_the_same_question_twice_with_one_read),
		cmocka_unit_test(answers_two_stamps_at_one_address),
		cmocka_unit_test(caches_nothing_that_does_not_verify),
		cmocka_unit_test(confines_an_unreadable_block),
		cmocka_unit_test(reports_an_address_past_the_device),
		cmocka_unit_test(lets_the_verifier_put_a_good_copy_in_place),
		cmocka_unit_test(asks_every_verifier_for_itself),
		cmocka_unit_test(trusts_the_device_where_nobody_verifies),
		cmocka_unit_test(fails_for_want_of_memory_with_nothing_cached),
		cmocka_unit_test(shares_one_read_among_all_who_ask),
		cmocka_unit_test(hands_the_error_to_all_who_ask),
		cmocka_unit_test(finishes_a_load_whose_place_was_taken),
		cmocka_unit_test(does_not_deadlock_when_calls_overlap),
		cmocka_unit_test(serves_four_threads_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
