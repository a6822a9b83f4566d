#include "device/device.h"

#include "base/num.h"
#include "device/driver.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
reads_sizes_with_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = { { "0", 0 }, { "4096", 4096 }, { "64K", 65536 }, { "16M", 16 << 20 },
		{ "3G", UINT64_C(3) << 30 }, { "2T", UINT64_C(2) << 40 },
		{ "18446744073709551615", UINT64_MAX } };
	static const char *const bad[] = { "", "M", "-1", "1MB", "1m", " 1", "1 ", "0x10",
		"18446744073709551616", "16777216T", "99999999999999999999999" };
	uint64_t bytes;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
		assert_int_equal(device__parse_bytes(good[i].text, &bytes), 0);
		assert_int_equal(bytes, good[i].bytes);
	}
	bytes = 77;
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		assert_int_equal(device__parse_bytes(bad[i], &bytes), COP_EINVAL);
		assert_int_equal(bytes, 77);
	}
}

static void
tells_schemes_from_paths(void **state)
{
	const char *path = NULL;

	(void)state;
	assert_true(device_url_has_scheme("mem:1M"));
	assert_true(device_url_has_scheme("file:/a"));
	assert_true(device_url_has_scheme("sim:"));
	assert_false(device_url_has_scheme("/a/b"));
	assert_false(device_url_has_scheme("memory:1M"));
	assert_false(device_url_has_scheme("mem"));
	assert_false(device_url_has_scheme("./mem:1M"));

	assert_true(device_url_is_host_path("a:b", &path));
	assert_string_equal(path, "a:b");
	assert_true(device_url_is_host_path("file:mem:1", &path));
	assert_string_equal(path, "mem:1");
	assert_false(device_url_is_host_path("mem:1M", &path));
}

static void
names_what_failed(void **state)
{
	struct device *dev;
	uint8_t *block = block_buffer_alloc(1);

	(void)state;
	assert_non_null(block);
	assert_int_equal(device_open("mem:1M", &(struct device_options){ .flags = 0 }, &dev), 0);
	assert_string_equal(device_name(dev), "mem:1M");
	assert_int_equal(device_read(dev, 256, block, 1), COP_EINVAL);
	assert_string_equal(err_text(), "mem:1M: read of 1 blocks at block 256 of 256");
	device_close(dev);
	device_close(NULL);
	free(block);
}

static void
allocates_aligned_buffers(void **state)
{
	uint8_t *buffer = block_buffer_alloc(3);

	(void)state;
	assert_non_null(buffer);
	assert_int_equal((uintptr_t)buffer % BLOCK_BYTES, 0);
	free(buffer);
	assert_null(block_buffer_alloc(0));
	assert_null(block_buffer_alloc(UINT64_MAX / 2));
}

/*
 * A driver that completes when it is told, to look at the order of things: a waiter must not get
 * away while `done` runs on another thread.
 */
static struct device_io *submitted;

static void
slow_submit(struct device *dev, struct device_io *const *ios, size_t count)
{
	(void)dev;
	assert_int_equal(count, 1);
	submitted = ios[0];
}

static void
slow_wait(struct device *dev, struct device_io *io)
{
	mutex_lock(&dev->lock);
	while (!atomic_load_explicit(&io->is_done, memory_order_acquire))
		condition_wait(&dev->changed, &dev->lock);
	mutex_unlock(&dev->lock);
}

static const struct device_driver slow_driver = {
	.scheme = "slow",
	.submit = slow_submit,
	.wait = slow_wait,
};

static void
full_submit(struct device *dev, struct device_io *const *ios, size_t count)
{
	for (size_t i = 0; i < count; i++)
		device_complete(dev, ios[i], COP_ENOSPC);
}

static const struct device_driver full_driver = {
	.scheme = "full",
	.submit = full_submit,
};

/* A volume on a sparse file can find its host full; that is not to be taken for a full volume. */
static void
tells_that_it_is_the_host_that_is_full(void **state)
{
	struct device dev;
	uint8_t *block = block_buffer_alloc(1);

	(void)state;
	assert_non_null(block);
	memset(block, 0, BLOCK_BYTES);
	assert_int_equal(device_init(&dev, &full_driver, "full"), 0);
	dev.blocks = 8;
	assert_int_equal(device_write(&dev, 3, block, 1), COP_ENOSPC);
	assert_string_equal(
		err_text(), "full: write of 1 blocks at block 3: No space left on device");
	assert_string_equal(device_result_sentence(COP_EIO), cop_error_sentence(COP_EIO));
	device_fini(&dev);
	free(block);
}

static void *
complete(void *context)
{
	device_complete(context, submitted, COP_EIO);
	return NULL;
}

static void
finish_slowly(struct device_io *io)
{
	for (int i = 0; i < 1000; i++)
		(void)sched_yield();
	*(int *)io->context = io->result;
}

static void
waits_until_done_has_returned(void **state)
{
	struct device dev;
	struct device_io io;
	struct device_io *const batch[] = { &io };
	pthread_t thread;
	int seen = 0;

	(void)state;
	assert_int_equal(device_init(&dev, &slow_driver, "slow"), 0);
	device_io_init(&io, DEVICE_FLUSH, 0, 0, NULL);
	io.done = finish_slowly;
	io.context = &seen;
	device_submit(&dev, batch, 1);
	assert_int_equal(pthread_create(&thread, NULL, complete, &dev), 0);
	device_wait(&dev, &io);
	assert_int_equal(seen, COP_EIO);
	assert_int_equal(pthread_join(thread, NULL), 0);
	device_fini(&dev);
}

static void
counts_the_deepest_flight(void **state)
{
	struct device dev;

	(void)state;
	assert_int_equal(device_init(&dev, &slow_driver, "slow"), 0);
	device_flight_begin(&dev, 3);
	device_flight_end(&dev, 2);
	device_flight_begin(&dev, 4);
	device_flight_end(&dev, 5);
	device_flight_begin(&dev, 1);
	assert_int_equal(device_stats(&dev).in_flight_max, 5);
	device_fini(&dev);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_sizes_with_units),
		cmocka_unit_test(tells_schemes_from_paths),
		cmocka_unit_test(names_what_failed),
		cmocka_unit_test(allocates_aligned_buffers),
		cmocka_unit_test(tells_that_it_is_the_host_that_is_full),
		cmocka_unit_test(waits_until_done_has_returned),
		cmocka_unit_test(counts_the_deepest_flight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
