/* Looking buffers up without a lock. */

#include "base/random.h"
#include "cache/cache.h"
#include "cache/cache_internal.h"
#include "fake_device.h"
#include "support/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { DEVICE_BLOCKS = 4096, THREADS = 3, LOOKS = 30000 };

struct world {
	struct fake *fake;
	struct cache *cache;
};

static void
init(struct world *world, uint64_t limit_bytes)
{
	world->fake = fake_create(DEVICE_BLOCKS);
	assert_int_equal(cache_create(&world->fake->device, limit_bytes, &world->cache), 0);
}

static void
load(struct world *world, uint64_t addr, uint32_t blocks)
{
	struct cache_request request = fake_request(addr, blocks);

	assert_int_equal(cache_get(world->cache, &request), 0);
	cache_release(world->cache, request.buffer);
}

static bool
is_found(struct world *world, uint64_t addr, uint64_t stamp, cache_verify verify)
{
	const uint8_t *data;
	uint32_t slot;

	assert_true(epoch_enter(cache_epoch(world->cache), &slot));
	data = cache_look(world->cache, slot, addr, stamp, verify);
	if (data)
		assert_int_equal(fake_verify(NULL, addr, stamp, (uint8_t *)data, 1), 0);
	epoch_leave(cache_epoch(world->cache), slot);
	return data != NULL;
}

static void
finds_what_was_read_and_verified(void **state)
{
	struct world world;
	uint64_t allocations;
	uint64_t locks;
	uint64_t hits;

	(void)state;
	init(&world, 8 << 20);
	assert_false(is_found(&world, 9, 16, fake_verify));
	load(&world, 9, 1);
	hits = cache_stats(world.cache).hits;
	allocations = alloc_count();
	locks = lock_count();
	assert_true(is_found(&world, 9, 16, fake_verify));
	assert_int_equal(alloc_count(), allocations);
	assert_int_equal(lock_count(), locks);
	assert_int_equal(cache_stats(world.cache).hits, hits + 1);
	fake_free_with(world.fake, world.cache);
}

static void
finds_nothing_of_another_stamp_verifier_or_length(void **state)
{
	struct world world;

	(void)state;
	init(&world, 8 << 20);
	load(&world, 9, 1);
	load(&world, 12, 4);
	assert_false(is_found(&world, 9, 17, fake_verify));
	assert_false(is_found(&world, 9, 16, fake_accept));
	assert_false(is_found(&world, 12, 19, fake_verify));
	assert_true(is_found(&world, 9, 16, fake_verify));
	fake_free_with(world.fake, world.cache);
}

/* Nobody has verified what is inserted; its bytes may still be on their way. */
static void
finds_nothing_dirty(void **state)
{
	struct world world;
	struct buffer *buffer;

	(void)state;
	init(&world, 8 << 20);
	assert_int_equal(cache_reserve(world.cache, 1, 1), 0);
	buffer = cache_insert(world.cache, 9, 0, 16, 1);
	assert_false(is_found(&world, 9, 16, NULL));
	assert_false(is_found(&world, 9, 16, fake_verify));
	cache_clean(world.cache, buffer);
	assert_false(is_found(&world, 9, 16, NULL));
	fake_free_with(world.fake, world.cache);
}

static void
finds_nothing_that_was_evicted_or_dropped(void **state)
{
	struct world world;

	(void)state;
	init(&world, 8 << 20);
	load(&world, 9, 1);
	load(&world, 10, 1);
	cache_drop(world.cache, 9, 16);
	assert_false(is_found(&world, 9, 16, fake_verify));
	assert_true(is_found(&world, 10, 17, fake_verify));
	cache_shrink(world.cache);
	assert_false(is_found(&world, 10, 17, fake_verify));
	assert_int_equal(cache_stats(world.cache).bytes, 0);
	fake_free_with(world.fake, world.cache);
}

/* What somebody looks at keeps its bytes, and its memory counts, until he has left. */
static void
keeps_the_bytes_until_the_epoch_is_left(void **state)
{
	struct world world;
	const uint8_t *data;
	uint32_t slot;

	(void)state;
	init(&world, 8 << 20);
	load(&world, 9, 1);
	assert_true(epoch_enter(cache_epoch(world.cache), &slot));
	data = cache_look(world.cache, slot, 9, 16, fake_verify);
	assert_non_null(data);
	lock_rank_leave(LOCK_EPOCH); /* the test does what a reader must not */
	cache_drop(world.cache, 9, 16);
	assert_int_equal(fake_verify(NULL, 9, 16, (uint8_t *)data, 1), 0);
	assert_int_equal(cache_stats(world.cache).bytes, cache__pool_bytes(1));
	lock_rank_enter(LOCK_EPOCH);
	epoch_leave(cache_epoch(world.cache), slot);
	assert_true(epoch_collect(cache_epoch(world.cache)));
	assert_int_equal(cache_stats(world.cache).bytes, 0);
	fake_free_with(world.fake, world.cache);
}

static void
counts_memory_of_others_and_evicts_for_it(void **state)
{
	enum { LIMIT = 1 << 20, CHARGE = LIMIT / 2 };
	struct world world;

	(void)state;
	init(&world, LIMIT);
	for (uint64_t addr = 0; addr < 1000; addr++)
		load(&world, addr, 1);
	assert_true(cache_charge(world.cache, CHARGE));
	assert_true(cache_stats(world.cache).bytes <= LIMIT);
	assert_false(cache_charge(world.cache, LIMIT - CHARGE + 1));
	assert_true(cache_charge(world.cache, LIMIT - CHARGE));
	assert_int_equal(cache_stats(world.cache).bytes, LIMIT);
	cache_uncharge(world.cache, LIMIT);
	fake_free_with(world.fake, world.cache);
}

/* ---- Threads ------------------------------------------------------------------------------------
 */

struct looker {
	pthread_t thread;
	struct world *world;
	uint64_t seed;
	uint64_t found;
};

static void *
look_and_load(void *context)
{
	struct looker *looker = context;
	struct rng rng;

	rng_seed(&rng, looker->seed);
	for (int i = 0; i < LOOKS; i++) {
		uint64_t addr = rng_below(&rng, 256);

		if (is_found(looker->world, addr, addr + 7, fake_verify))
			looker->found++;
		else
			load(looker->world, addr, 1);
	}
	return NULL;
}

/* Half of the blocks fit: frames leave the table and become others all the time. */
static void
looks_beside_evictions(void **state)
{
	struct world world;
	struct looker lookers[THREADS];

	(void)state;
	init(&world, 128 * cache__pool_bytes(1));
	for (uint64_t i = 0; i < THREADS; i++) {
		lookers[i] = (struct looker){ .world = &world, .seed = i };
		assert_int_equal(
			pthread_create(&lookers[i].thread, NULL, look_and_load, &lookers[i]), 0);
	}
	for (uint64_t i = 0; i < THREADS; i++) {
		pthread_join(lookers[i].thread, NULL);
		assert_true(lookers[i].found > LOOKS / 10);
	}
	/* Each thread may insist on one more than fits. */
	assert_true(cache_stats(world.cache).bytes_max <= (128 + THREADS) * cache__pool_bytes(1));
	assert_true(cache_stats(world.cache).evictions > 0);
	fake_free_with(world.fake, world.cache);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_what_was_read_and_verified),
		cmocka_unit_test(finds_nothing_of_another_stamp_verifier_or_length),
		cmocka_unit_test(finds_nothing_dirty),
		cmocka_unit_test(finds_nothing_that_was_evicted_or_dropped),
		cmocka_unit_test(keeps_the_bytes_until_the_epoch_is_left),
		cmocka_unit_test(counts_memory_of_others_and_evicts_for_it),
		cmocka_unit_test(looks_beside_evictions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
