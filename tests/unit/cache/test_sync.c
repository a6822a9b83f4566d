#include "base/num.h"
#include "cache/cache.h"
#include "cache/cache_internal.h"
#include "fake_device.h"
#include "support/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { DEVICE_BLOCKS = 4096, COUNT_MAX = 400 };

struct world {
	struct fake *fake;
	struct cache *cache;
	struct buffer *buffers[COUNT_MAX];
	size_t count;
};

static void
init(struct world *world)
{
	memset(world, 0, sizeof *world);
	world->fake = fake_create(DEVICE_BLOCKS);
	assert_int_equal(cache_create(&world->fake->device, 8 << 20, &world->cache), 0);
}

/* A dirty buffer whose every byte is `byte`. */
static struct buffer *
insert(struct world *world, uint64_t addr, uint64_t addr2, uint32_t blocks, uint8_t byte)
{
	struct buffer *buffer;

	assert_true(world->count < COUNT_MAX);
	assert_int_equal(cache_reserve(world->cache, blocks, 1), 0);
	buffer = cache_insert(world->cache, addr, addr2, addr, blocks);
	memset(buffer->data, byte, (size_t)blocks * BLOCK_BYTES);
	world->buffers[world->count++] = buffer;
	return buffer;
}

static bool
is_written(const struct world *world, uint64_t addr, uint32_t blocks, uint8_t byte)
{
	const uint8_t *at = world->fake->data + addr * BLOCK_BYTES;

	for (size_t i = 0; i < (size_t)blocks * BLOCK_BYTES; i++) {
		if (at[i] != byte)
			return false;
	}
	return true;
}

struct synced {
	struct buffer *buffer;
	int calls;
	int result;
};

static void
note_synced(void *context, struct buffer *buffer, int result)
{
	struct synced *synced = context;

	synced->buffer = buffer;
	synced->calls++;
	synced->result = result;
}

static void
writes_both_copies_and_calls_back_once(void **state)
{
	struct synced synced = { 0 };
	struct world world;
	struct buffer *buffer;

	(void)state;
	init(&world);
	buffer = insert(&world, 100, 2000, 4, 0x11);
	assert_int_equal(cache_sync(world.cache, buffer, note_synced, &synced), 0);
	assert_int_equal(synced.calls, 0); /* nobody has waited for the device yet */
	fake_drain(world.fake);
	assert_int_equal(synced.calls, 1);
	assert_int_equal(synced.result, 0);
	assert_ptr_equal(synced.buffer, buffer);
	assert_true(is_written(&world, 100, 4, 0x11));
	assert_true(is_written(&world, 2000, 4, 0x11));
	fake_free_with(world.fake, world.cache);
}

static void
writes_one_copy_where_there_is_no_second(void **state)
{
	struct synced synced = { 0 };
	struct world world;

	(void)state;
	init(&world);
	assert_int_equal(
		cache_sync(world.cache, insert(&world, 7, 0, 1, 0x22), note_synced, &synced), 0);
	fake_drain(world.fake);
	assert_int_equal(synced.calls, 1);
	assert_int_equal(device_stats(&world.fake->device).writes, 1);
	assert_true(is_written(&world, 7, 1, 0x22));
	fake_free_with(world.fake, world.cache);
}

static void
calls_back_with_the_error_of_either_copy(void **state)
{
	static const uint64_t bad[] = { 102, 2001 };

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		struct synced synced = { 0 };
		struct world world;

		init(&world);
		world.fake->bad_op = DEVICE_WRITE;
		world.fake->bad_addr = bad[i];
		assert_int_equal(cache_sync(world.cache, insert(&world, 100, 2000, 4, 0x11),
					 note_synced, &synced),
			0);
		fake_drain(world.fake);
		assert_int_equal(synced.calls, 1);
		assert_int_equal(synced.result, COP_EIO);
		fake_free_with(world.fake, world.cache);
	}
}

static void
submits_nothing_without_memory(void **state)
{
	struct synced synced = { 0 };
	struct world world;
	struct buffer *buffer;
	int err;

	(void)state;
	init(&world);
	buffer = insert(&world, 100, 0, 1, 0x11);
	alloc_fail_nth(1);
	err = cache_sync(world.cache, buffer, note_synced, &synced);
	alloc_fail_nth(0);
	assert_int_equal(err, COP_ENOMEM);
	assert_int_equal(device_stats(&world.fake->device).writes, 0);
	assert_int_equal(synced.calls, 0);
	fake_free_with(world.fake, world.cache);
}

static void
merges_neighbours_into_one_write(void **state)
{
	struct world world;

	(void)state;
	init(&world);
	for (uint32_t i = 0; i < 8; i++)
		insert(&world, 100 + 4 * i, 2000 + 4 * i, 4, (uint8_t)(i + 1));
	insert(&world, 500, 0, 1, 0x33);
	insert(&world, 501, 0, 4, 0x44);
	insert(&world, 600, 0, 1, 0x55);
	assert_int_equal(cache_sync_all(world.cache, world.buffers, world.count), 0);
	for (uint32_t i = 0; i < 8; i++) {
		assert_true(is_written(&world, 100 + 4 * i, 4, (uint8_t)(i + 1)));
		assert_true(is_written(&world, 2000 + 4 * i, 4, (uint8_t)(i + 1)));
	}
	assert_true(is_written(&world, 500, 1, 0x33));
	assert_true(is_written(&world, 501, 4, 0x44));
	assert_true(is_written(&world, 600, 1, 0x55));
	assert_int_equal(device_stats(&world.fake->device).writes, 4);
	fake_free_with(world.fake, world.cache);
}

static void
keeps_64_writes_in_flight_and_no_more(void **state)
{
	struct world world;

	(void)state;
	init(&world);
	for (uint32_t i = 0; i < COUNT_MAX; i++)
		insert(&world, 2 * i + 1, i % 3 == 0 ? 2001 + 2 * i : 0, 1, (uint8_t)i);
	assert_int_equal(cache_sync_all(world.cache, world.buffers, world.count), 0);
	for (uint32_t i = 0; i < COUNT_MAX; i++) {
		assert_true(is_written(&world, 2 * i + 1, 1, (uint8_t)i));
		if (i % 3 == 0)
			assert_true(is_written(&world, 2001 + 2 * i, 1, (uint8_t)i));
	}
	assert_int_equal(world.fake->queued_max, 64);
	assert_true(atomic_load(&world.fake->submits) <= COUNT_MAX / 8); /* many with one call */
	fake_free_with(world.fake, world.cache);
}

static void
writes_a_long_run_of_neighbours_whole(void **state)
{
	struct world world;

	(void)state;
	init(&world);
	for (uint32_t i = 0; i < COUNT_MAX; i++)
		insert(&world, 10 + i, 1000 + i, 1, (uint8_t)(i * 7));
	assert_int_equal(cache_sync_all(world.cache, world.buffers, world.count), 0);
	for (uint32_t i = 0; i < COUNT_MAX; i++) {
		assert_true(is_written(&world, 10 + i, 1, (uint8_t)(i * 7)));
		assert_true(is_written(&world, 1000 + i, 1, (uint8_t)(i * 7)));
	}
	fake_free_with(world.fake, world.cache);
}

static void
reports_the_error_of_any_write_and_writes_the_rest(void **state)
{
	struct world world;

	(void)state;
	init(&world);
	for (uint32_t i = 0; i < COUNT_MAX - 1; i++)
		insert(&world, 2 * i + 1, 0, 1, (uint8_t)i);
	world.fake->bad_op = DEVICE_WRITE;
	world.fake->bad_addr = 2 * 150 + 1;
	insert(&world, DEVICE_BLOCKS, 0, 1, 0); /* past the end: COP_EINVAL, but later */
	assert_int_equal(cache_sync_all(world.cache, world.buffers, world.count--), COP_EIO);
	assert_non_null(strstr(err_text(), "block 301"));
	for (uint32_t i = 0; i < COUNT_MAX - 1; i++)
		assert_int_equal(is_written(&world, 2 * i + 1, 1, (uint8_t)i), i != 150);
	world.fake->bad_addr = UINT64_MAX;
	assert_int_equal(cache_sync_all(world.cache, world.buffers, world.count), 0);
	assert_true(is_written(&world, 301, 1, 150));
	fake_free_with(world.fake, world.cache);
}

static void
writes_back_without_any_memory(void **state)
{
	struct world world;
	int err;

	(void)state;
	init(&world);
	for (uint32_t i = 0; i < 100; i++)
		insert(&world, 2 * i + 1, 0, 1, (uint8_t)i);
	alloc_fail_from(1);
	err = cache_sync_all(world.cache, world.buffers, world.count);
	alloc_fail_nth(0);
	assert_int_equal(err, 0);
	assert_true(is_written(&world, 2 * 99 + 1, 1, 99));
	fake_free_with(world.fake, world.cache);
}

static void
has_nothing_to_do_for_no_buffers(void **state)
{
	struct world world;

	(void)state;
	init(&world);
	assert_int_equal(cache_sync_all(world.cache, NULL, 0), 0);
	assert_int_equal(atomic_load(&world.fake->submits), 0);
	fake_free_with(world.fake, world.cache);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_both_copies_and_calls_back_once),
		cmocka_unit_test(writes_one_copy_where_there_is_no_second),
		cmocka_unit_test(calls_back_with_the_error_of_either_copy),
		cmocka_unit_test(submits_nothing_without_memory),
		cmocka_unit_test(merges_neighbours_into_one_write),
		cmocka_unit_test(keeps_64_writes_in_flight_and_no_more),
		cmocka_unit_test(writes_a_long_run_of_neighbours_whole),
		cmocka_unit_test(reports_the_error_of_any_write_and_writes_the_rest),
		cmocka_unit_test(writes_back_without_any_memory),
		cmocka_unit_test(has_nothing_to_do_for_no_buffers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
