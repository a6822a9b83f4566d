#include "base/num.h"
#include "base/random.h"
#include "cache/cache.h"
#include "cache/cache_internal.h"
#include "fake_device.h"
#include "support/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { DEVICE_BLOCKS = 8192 };

struct world {
	struct fake *fake;
	struct cache *cache;
};

/* A cache that holds `buffers` buffers of one block. */
static void
init(struct world *world, uint64_t buffers)
{
	world->fake = fake_create(DEVICE_BLOCKS);
	assert_int_equal(
		cache_create(&world->fake->device, buffers * cache__pool_bytes(1), &world->cache),
		0);
}

static struct buffer *
get_stamped(struct world *world, uint64_t addr, uint64_t stamp, uint32_t blocks)
{
	struct cache_request request = {
		.addr = addr, .stamp = stamp, .blocks = blocks, .verify = fake_verify
	};

	assert_int_equal(cache_get(world->cache, &request), 0);
	assert_int_equal(request.result, 0);
	assert_int_equal(request.buffer->addr, addr);
	assert_int_equal(request.buffer->stamp, stamp);
	assert_int_equal(request.buffer->blocks, blocks);
	return request.buffer;
}

static struct buffer *
get(struct world *world, uint64_t addr)
{
	return get_stamped(world, addr, addr, 1);
}

static void
touch(struct world *world, uint64_t addr)
{
	cache_release(world->cache, get(world, addr));
}

static bool
is_resident(struct world *world, uint64_t addr, uint64_t stamp)
{
	struct buffer *buffer = cache_peek(world->cache, addr, stamp);

	if (buffer)
		cache_release(world->cache, buffer);
	return buffer != NULL;
}

static uint64_t
reads(struct world *world)
{
	return device_stats(&world->fake->device).reads;
}

static struct buffer *
insert(struct world *world, uint64_t addr, uint64_t stamp, uint32_t blocks)
{
	assert_int_equal(cache_reserve(world->cache, blocks, 1), 0);
	return cache_insert(world->cache, addr, 0, stamp, blocks);
}

static void
reads_a_block_once(void **state)
{
	struct cache_stats stats;
	struct world world;
	struct buffer *buffer;

	(void)state;
	init(&world, 100);
	buffer = get(&world, 5);
	assert_ptr_equal(get(&world, 5), buffer);
	assert_int_equal(fake_verify(NULL, 5, 5, buffer->data, 1), 0);
	assert_int_equal(reads(&world), 1);
	cache_release(world.cache, buffer);
	cache_release(world.cache, buffer);
	touch(&world, 5);
	assert_int_equal(reads(&world), 1);

	stats = cache_stats(world.cache);
	assert_int_equal(stats.misses, 1);
	assert_int_equal(stats.hits, 2);
	assert_int_equal(stats.bytes, cache__pool_bytes(1));
	assert_int_equal(stats.dirty_bytes, 0);
	fake_free_with(world.fake, world.cache);
}

static void
hits_without_memory_or_device(void **state)
{
	struct world world;
	uint64_t allocations;
	uint64_t requests;

	(void)state;
	init(&world, 100);
	touch(&world, 5);
	allocations = alloc_count();
	requests = atomic_load(&world.fake->submits);
	for (uint32_t i = 0; i < 100; i++) {
		touch(&world, 5);
		assert_true(is_resident(&world, 5, 5));
	}
	assert_int_equal(alloc_count(), allocations);
	assert_int_equal(atomic_load(&world.fake->submits), requests);
	fake_free_with(world.fake, world.cache);
}

static void
peeks_only_at_what_is_here_under_its_stamp(void **state)
{
	struct world world;

	(void)state;
	init(&world, 100);
	assert_null(cache_peek(world.cache, 5, 5));
	touch(&world, 5);
	assert_true(is_resident(&world, 5, 5));
	assert_false(is_resident(&world, 5, 6));
	assert_int_equal(reads(&world), 1);
	fake_free_with(world.fake, world.cache);
}

static void
keeps_what_is_pinned(void **state)
{
	struct buffer *pinned;
	struct world world;

	(void)state;
	init(&world, 64);
	pinned = get(&world, 5);
	cache_pin(world.cache, pinned);
	cache_release(world.cache, pinned);
	for (uint64_t addr = 100; addr < 1000; addr++)
		touch(&world, addr);
	cache_shrink(world.cache);
	assert_int_equal(fake_verify(NULL, 5, 5, pinned->data, 1), 0);
	assert_true(is_resident(&world, 5, 5));
	cache_release(world.cache, pinned);
	cache_shrink(world.cache);
	assert_false(is_resident(&world, 5, 5));
	assert_int_equal(cache_stats(world.cache).bytes, 0);
	fake_free_with(world.fake, world.cache);
}

static void
keeps_a_hot_set_through_a_scan_of_ten_times_the_cache(void **state)
{
	enum { BUFFERS = 400, HOT = 200 };
	struct world world;
	uint32_t kept = 0;

	(void)state;
	init(&world, BUFFERS);
	for (uint32_t round = 0; round < 4; round++) {
		for (uint64_t addr = 0; addr < HOT; addr++)
			touch(&world, addr);
	}
	for (uint64_t addr = 1000; addr < 1000 + 10 * BUFFERS; addr++)
		touch(&world, addr);
	for (uint64_t addr = 0; addr < HOT; addr++)
		kept += is_resident(&world, addr, addr);
	assert_int_equal(kept, HOT);
	fake_free_with(world.fake, world.cache);
}

/* A loop over a little more than fits is where LRU never hits at all. */
static void
serves_a_third_of_a_loop_that_nearly_fits(void **state)
{
	enum { BUFFERS = 400, LOOP = 500, ROUNDS = 20 };
	struct cache_stats stats;
	struct world world;

	(void)state;
	init(&world, BUFFERS);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		for (uint64_t addr = 0; addr < LOOP; addr++)
			touch(&world, addr);
	}
	stats = cache_stats(world.cache);
	assert_true(stats.hits > LOOP * ROUNDS / 3);
	fake_free_with(world.fake, world.cache);
}

static void
holds_the_limit_under_a_random_load_with_pins(void **state)
{
	enum { BUFFERS = 300, PINS = 40, DIRTY = 20, STEPS = 20000, SEED = 3 };
	struct buffer *pinned[PINS] = { 0 };
	struct buffer *dirty[DIRTY] = { 0 };
	struct world world;
	struct rng rng;

	(void)state;
	print_message("# seed %d\n", SEED);
	rng_seed(&rng, SEED);
	init(&world, BUFFERS);
	for (uint32_t step = 0; step < STEPS; step++) {
		uint32_t pin = (uint32_t)rng_below(&rng, PINS);
		uint32_t d = (uint32_t)rng_below(&rng, DIRTY);
		uint64_t addr = rng_below(&rng, 1000);

		if (pinned[pin])
			cache_release(world.cache, TAKE(pinned[pin]));
		else if (addr % 3 == 0)
			pinned[pin] = get_stamped(&world, 2000 + 4 * addr, addr, 4);
		else
			pinned[pin] = get(&world, addr);
		if (rng_below(&rng, 4) == 0) {
			if (dirty[d])
				cache_clean(world.cache, TAKE(dirty[d]));
			else
				dirty[d] = insert(&world, 6100 + 4 * d, step, d % 2 ? 1 : 4);
		}
		assert_true(cache_stats(world.cache).bytes <= BUFFERS * cache__pool_bytes(1));
		if (step % 256 == 0)
			cache_assert_sound(world.cache);
	}
	assert_true(cache_stats(world.cache).bytes_max <= BUFFERS * cache__pool_bytes(1));
	assert_true(cache_stats(world.cache).bytes_max > (BUFFERS - 4) * cache__pool_bytes(1));
	assert_true(cache_stats(world.cache).evictions > 1000);
	for (uint32_t i = 0; i < PINS; i++) {
		if (pinned[i])
			cache_release(world.cache, pinned[i]);
	}
	fake_free_with(world.fake, world.cache);
}

static void
gives_back_what_only_pins_kept_over_the_limit(void **state)
{
	enum { BUFFERS = 20, PINNED = 50 };
	struct buffer *pinned[PINNED];
	struct world world;

	(void)state;
	init(&world, BUFFERS);
	for (uint32_t i = 0; i < PINNED; i++)
		pinned[i] = get(&world, i);
	assert_int_equal(cache_stats(world.cache).bytes, PINNED * cache__pool_bytes(1));
	for (uint32_t i = 0; i < PINNED; i++)
		cache_release(world.cache, pinned[i]);
	assert_int_equal(cache_stats(world.cache).bytes, BUFFERS * cache__pool_bytes(1));
	fake_free_with(world.fake, world.cache);
}

/* Memory without an address counts as all buffers do, and evicts what nobody pins. */
static void
lends_blocks_within_the_limit(void **state)
{
	enum { BUFFERS = 64 };
	struct world world;
	struct buffer *taken[BUFFERS];
	struct buffer *more;
	size_t count = 0;

	(void)state;
	init(&world, BUFFERS);
	for (uint64_t addr = 0; addr < BUFFERS; addr++)
		cache_release(world.cache, get(&world, addr));
	while (count < BUFFERS && cache_take(world.cache, &taken[count]) == 0) {
		memset(taken[count]->data, 1, BLOCK_BYTES);
		count++;
	}
	assert_int_equal(count, BUFFERS);
	assert_int_equal(cache_take(world.cache, &more), COP_ENOMEM);
	assert_true(cache_stats(world.cache).bytes <= BUFFERS * cache__pool_bytes(1));
	cache_pin(world.cache, taken[0]);
	for (size_t i = 0; i < count; i++)
		cache_release(world.cache, taken[i]);
	assert_int_equal(cache_stats(world.cache).bytes, cache__pool_bytes(1));
	cache_release(world.cache, taken[0]);
	assert_int_equal(cache_stats(world.cache).bytes, 0);
	fake_free_with(world.fake, world.cache);
}

static void
holds_another_limit_from_when_it_is_set(void **state)
{
	struct world world;

	(void)state;
	init(&world, 4);
	assert_int_not_equal(cache_reserve(world.cache, 1, 8), 0);
	cache_set_limit(world.cache, 8 * cache__pool_bytes(1));
	assert_int_equal(cache_reserve(world.cache, 1, 8), 0);
	cache_unreserve(world.cache, 1, 8);
	for (uint64_t addr = 0; addr < 8; addr++)
		touch(&world, addr);
	assert_int_equal(cache_stats(world.cache).bytes, 8 * cache__pool_bytes(1));
	cache_set_limit(world.cache, 4 * cache__pool_bytes(1));
	touch(&world, 7);
	assert_true(cache_stats(world.cache).bytes <= 4 * cache__pool_bytes(1));
	assert_int_not_equal(cache_reserve(world.cache, 1, 5), 0);
	fake_free_with(world.fake, world.cache);
}

static void
replaces_an_image_with_another_stamp(void **state)
{
	struct world world;

	(void)state;
	init(&world, 100);
	cache_release(world.cache, get_stamped(&world, 5, 1, 1));
	cache_release(world.cache, get_stamped(&world, 5, 2, 1));
	assert_false(is_resident(&world, 5, 1));
	assert_true(is_resident(&world, 5, 2));
	assert_int_equal(cache_stats(world.cache).bytes, cache__pool_bytes(1));
	assert_int_equal(reads(&world), 2);
	fake_free_with(world.fake, world.cache);
}

/* Whoever has pinned a node counts on finding it, whatever others ask for meanwhile. */
static void
keeps_a_pinned_image_beside_a_newer_one(void **state)
{
	struct buffer *old;
	struct buffer *new;
	struct world world;

	(void)state;
	init(&world, 100);
	old = get_stamped(&world, 5, 1, 1);
	memset(old->data, 0xee, BLOCK_BYTES);
	new = get_stamped(&world, 5, 2, 1);
	assert_ptr_not_equal(old, new);
	assert_int_equal(fake_verify(NULL, 5, 2, new->data, 1), 0);
	assert_int_equal(old->data[100], 0xee);
	assert_true(is_resident(&world, 5, 1));
	assert_true(is_resident(&world, 5, 2));
	cache_release(world.cache, old);
	cache_release(world.cache, get_stamped(&world, 5, 3, 1));
	assert_false(is_resident(&world, 5, 1)); /* now it was stale */
	assert_true(is_resident(&world, 5, 2));
	cache_release(world.cache, new);
	fake_free_with(world.fake, world.cache);
}

static void
tells_buffers_of_different_length_apart(void **state)
{
	struct buffer *node;
	struct buffer *block;
	struct world world;

	(void)state;
	init(&world, 100);
	node = get_stamped(&world, 8, 1, 4);
	block = get_stamped(&world, 8, 1, 1);
	assert_ptr_not_equal(node, block);
	cache_release(world.cache, node);
	cache_release(world.cache, block);
	fake_free_with(world.fake, world.cache);
}

static void
inserts_zeroed_dirty_buffers_from_the_reserve(void **state)
{
	enum { COUNT = 10 };
	struct cache_stats before;
	struct world world;

	(void)state;
	init(&world, 100);
	for (uint64_t addr = 0; addr < 90; addr++)
		touch(&world, addr);
	assert_int_equal(cache_reserve(world.cache, 4, COUNT), 0);
	before = cache_stats(world.cache);
	alloc_fail_from(1); /* from here on nothing may need memory */
	for (uint32_t i = 0; i < COUNT; i++) {
		struct buffer *buffer = cache_insert(world.cache, 3000 + 4 * i, 77, 9, 4);

		assert_int_equal(buffer->addr2, 77);
		assert_int_equal(buffer->blocks, 4);
		assert_null(buffer->owner_prev);
		assert_null(buffer->owner_next);
		for (uint32_t at = 0; at < 4 * BLOCK_BYTES; at++)
			assert_int_equal(buffer->data[at], 0);
		memset(buffer->data, 0xff, 4 * BLOCK_BYTES);
	}
	alloc_fail_nth(0);
	assert_int_equal(cache_stats(world.cache).bytes, before.bytes);
	assert_int_equal(cache_stats(world.cache).dirty_bytes, COUNT * cache__pool_bytes(4));
	fake_free_with(world.fake, world.cache);
}

static void
reserves_all_or_nothing(void **state)
{
	enum { BUFFERS = 100 };
	struct world world;
	struct buffer *pinned;

	(void)state;
	init(&world, BUFFERS);
	pinned = get(&world, 1);
	assert_int_equal(cache_reserve(world.cache, 1, BUFFERS), COP_ENOMEM);
	assert_int_equal(cache_stats(world.cache).bytes, cache__pool_bytes(1));
	assert_int_equal(cache_reserve(world.cache, 1, BUFFERS - 1), 0);
	assert_int_equal(cache_reserve(world.cache, 1, 1), COP_ENOMEM);
	cache_release(world.cache, pinned);
	assert_int_equal(cache_reserve(world.cache, 1, 1), 0); /* evicts for it */
	cache_unreserve(world.cache, 1, BUFFERS);
	assert_int_equal(cache_stats(world.cache).bytes, 0);
	assert_int_equal(cache_reserve(world.cache, 4, BUFFERS / 4), 0);
	fake_free_with(
		world.fake, world.cache); /* what is left of the reserve goes with the cache */
}

static void
keeps_dirty_buffers_until_they_are_clean(void **state)
{
	enum { BUFFERS = 64 };
	struct buffer *dirty;
	struct world world;

	(void)state;
	init(&world, BUFFERS);
	dirty = insert(&world, 7000, 9, 4);
	memset(dirty->data, 0x77, 4 * BLOCK_BYTES);
	for (uint64_t addr = 0; addr < 1000; addr++)
		touch(&world, addr);
	cache_shrink(world.cache);
	assert_true(is_resident(&world, 7000, 9));
	assert_int_equal(dirty->data[3 * BLOCK_BYTES], 0x77);
	assert_int_equal(cache_stats(world.cache).dirty_bytes, cache__pool_bytes(4));

	cache_clean(world.cache, dirty);
	assert_int_equal(cache_stats(world.cache).dirty_bytes, 0);
	assert_true(is_resident(&world, 7000, 9));
	cache_shrink(world.cache);
	assert_false(is_resident(&world, 7000, 9));
	fake_free_with(world.fake, world.cache);
}

static void
inserts_over_a_clean_image(void **state)
{
	struct buffer *old;
	struct buffer *dirty;
	struct world world;

	(void)state;
	init(&world, 64);
	old = get(&world, 5);
	touch(&world, 6);
	dirty = insert(&world, 5, 99, 1);
	(void)insert(&world, 6, 99, 1);
	assert_ptr_not_equal(old, dirty);
	assert_int_equal(fake_verify(NULL, 5, 5, old->data, 1), 0);
	assert_true(is_resident(&world, 5, 5)); /* while it is pinned */
	assert_true(is_resident(&world, 5, 99));
	assert_false(is_resident(&world, 6, 6));
	assert_true(is_resident(&world, 6, 99));
	cache_release(world.cache, old);
	fake_free_with(world.fake, world.cache);
}

/* A damaged pointer into what the open generation builds must not take it from its owner. */
static void
reads_past_a_dirty_buffer_without_replacing_it(void **state)
{
	struct buffer *dirty;
	struct buffer *other;
	struct world world;

	(void)state;
	init(&world, 64);
	dirty = insert(&world, 5, 99, 1);
	other = get_stamped(&world, 5, 1, 1);
	assert_ptr_not_equal(other, dirty);
	assert_int_equal(fake_verify(NULL, 5, 1, other->data, 1), 0);
	assert_true(is_resident(&world, 5, 99));
	cache_assert_sound(world.cache);
	cache_release(world.cache, other);
	cache_release(world.cache, get_stamped(&world, 5, 2, 1));
	assert_true(is_resident(&world, 5, 99));
	fake_free_with(world.fake, world.cache);
}

static void
drops_clean_and_dirty_buffers_by_stamp(void **state)
{
	struct world world;

	(void)state;
	init(&world, 64);
	touch(&world, 5);
	(void)insert(&world, 6, 99, 1);
	cache_drop(world.cache, 5, 1);
	cache_drop(world.cache, 6, 1);
	cache_drop(world.cache, 7, 1);
	assert_true(is_resident(&world, 5, 5));
	assert_true(is_resident(&world, 6, 99));
	cache_drop(world.cache, 5, 5);
	cache_drop(world.cache, 6, 99);
	assert_false(is_resident(&world, 5, 5));
	assert_false(is_resident(&world, 6, 99));
	assert_int_equal(cache_stats(world.cache).bytes, 0);
	assert_int_equal(cache_stats(world.cache).dirty_bytes, 0);
	fake_free_with(world.fake, world.cache);
}

static void
drops_what_is_pinned_when_its_pins_go(void **state)
{
	struct buffer *clean;
	struct buffer *dirty;
	struct world world;

	(void)state;
	init(&world, 64);
	clean = get(&world, 5);
	dirty = insert(&world, 6, 99, 1);
	cache_pin(world.cache, dirty);
	memset(dirty->data, 0x66, BLOCK_BYTES);
	cache_drop(world.cache, 5, 5);
	cache_drop(world.cache, 6, 99);
	assert_int_equal(cache_stats(world.cache).dirty_bytes, 0);
	assert_int_equal(cache_stats(world.cache).bytes, 2 * cache__pool_bytes(1));
	assert_int_equal(fake_verify(NULL, 5, 5, clean->data, 1), 0);
	assert_int_equal(dirty->data[9], 0x66);

	cache_clean(
		world.cache, dirty); /* it was on its way to the device; nothing is left to do */
	cache_assert_sound(world.cache);
	cache_release(world.cache, clean);
	cache_release(world.cache, dirty);
	assert_int_equal(cache_stats(world.cache).bytes, 0);
	fake_free_with(world.fake, world.cache);
}

static void
is_created_whole_or_not_at_all(void **state)
{
	struct fake *fake = fake_create(1);
	struct cache *cache = NULL;
	uint64_t nth = 0;

	(void)state;
	while (!cache) {
		int err;

		alloc_fail_nth(++nth);
		err = cache_create(&fake->device, 1 << 20, &cache);
		alloc_fail_nth(0);
		if (err) {
			assert_int_equal(err, COP_ENOMEM);
			assert_null(cache);
		}
	}
	assert_int_equal(nth, 3 + 2 * CACHE_SHARDS); /* itself, epochs, two tables a shard */
	cache_free(cache);
	cache_free(NULL);
	fake_free(fake);
}

static void
reserves_nothing_without_memory(void **state)
{
	struct world world;
	uint64_t nth = 0;
	int err;

	(void)state;
	init(&world, 200);
	do {
		alloc_fail_from(++nth);
		err = cache_reserve(world.cache, 1, 150);
		alloc_fail_nth(0);
		if (err) {
			assert_int_equal(err, COP_ENOMEM);
			assert_int_equal(cache_stats(world.cache).bytes, 0);
		}
		cache_assert_sound(world.cache);
	} while (err);
	assert_true(nth > 4); /* two chunks, and one that has stayed */
	fake_free_with(world.fake, world.cache);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_block_once),
		cmocka_unit_test(hits_without_memory_or_device),
		cmocka_unit_test(peeks_only_at_what_is_here_under_its_stamp),
		cmocka_unit_test(keeps_what_is_pinned),
		cmocka_unit_test(keeps_a_hot_set_through_a_scan_of_ten_times_the_cache),
		cmocka_unit_test(serves_a_third_of_a_loop_that_nearly_fits),
		cmocka_unit_test(holds_the_limit_under_a_random_load_with_pins),
		cmocka_unit_test(gives_back_what_only_pins_kept_over_the_limit),
		cmocka_unit_test(holds_another_limit_from_when_it_is_set),
		cmocka_unit_test(lends_blocks_within_the_limit),
		cmocka_unit_test(replaces_an_image_with_another_stamp),
		cmocka_unit_test(keeps_a_pinned_image_beside_a_newer_one),
		cmocka_unit_test(tells_buffers_of_different_length_apart),
		cmocka_unit_test(inserts_zeroed_dirty_buffers_from_the_reserve),
		cmocka_unit_test(reserves_all_or_nothing),
		cmocka_unit_test(keeps_dirty_buffers_until_they_are_clean),
		cmocka_unit_test(inserts_over_a_clean_image),
		cmocka_unit_test(reads_past_a_dirty_buffer_without_replacing_it),
		cmocka_unit_test(drops_clean_and_dirty_buffers_by_stamp),
		cmocka_unit_test(drops_what_is_pinned_when_its_pins_go),
		cmocka_unit_test(is_created_whole_or_not_at_all),
		cmocka_unit_test(reserves_nothing_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
