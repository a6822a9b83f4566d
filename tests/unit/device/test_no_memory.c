/*
 * Every allocation of the drivers fails once: the error comes back, nothing is left behind, nothing
 * leaks (the leak checker of the sanitizer looks when the program ends).
 */

#include "base/num.h"
#include "device/sim.h"
#include "host.h"
#include "support/alloc.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Allocations that `device_open` makes when nothing fails. */
static uint64_t
count_for_open(const char *url, const struct device_options *options)
{
	uint64_t before = alloc_count();
	struct device *dev;

	assert_int_equal(device_open(url, options, &dev), 0);
	device_close(dev);
	return alloc_count() - before;
}

/* Opens with the n-th allocation failing; `path` is the file that it creates, or NULL. */
static void
open_fails_whole(const char *url, const struct device_options *options, const char *path)
{
	uint64_t count = count_for_open(url, options);

	if (path)
		assert_int_equal(unlink(path), 0);
	assert_true(count > 1);
	for (uint64_t n = 1; n <= count; n++) {
		struct device *dev = NULL;
		int err;

		alloc_fail_nth(n);
		err = device_open(url, options, &dev);
		alloc_fail_nth(0);
		if (err) {
			assert_int_equal(err, COP_ENOMEM);
			assert_null(dev);
			if (path)
				assert_int_equal(access(path, F_OK), -1);
			continue;
		}
		/* The ring can be done without: the pool took over. */
		device_close(dev);
		if (path)
			assert_int_equal(unlink(path), 0);
	}
}

static void
opens_whole_or_not_at_all(void **state)
{
	struct device_options options = { .flags = DEVICE_CREATE, .create_bytes = 1 << 20 };
	struct host_folder folder;

	(void)state;
	open_fails_whole("mem:1M", &(struct device_options){ .flags = 0 }, NULL);
	open_fails_whole("sim:1M", &(struct device_options){ .flags = 0 }, NULL);
	host_folder_make(&folder);
	open_fails_whole(folder.file, &options, folder.file);
	options.flags |= DEVICE_NO_URING;
	open_fails_whole(folder.file, &options, folder.file);
	host_folder_remove(&folder);
}

static void
transfers_without_memory(void **state)
{
	struct device_options options = { .flags = DEVICE_CREATE, .create_bytes = 1 << 20 };
	static const uint32_t engines[] = { 0, DEVICE_NO_URING };
	uint8_t *blocks = block_buffer_alloc(256);
	struct host_folder folder;

	(void)state;
	assert_non_null(blocks);
	host_folder_make(&folder);
	for (size_t k = 0; k < ARRAY_COUNT(engines); k++) {
		struct device_io ios[256];
		struct device_io *batch[256];
		struct device *dev;

		options.flags = DEVICE_CREATE | engines[k];
		assert_int_equal(device_open(folder.file, &options, &dev), 0);
		for (uint64_t i = 0; i < 256; i++) {
			device_io_init(&ios[i], DEVICE_READ, i, 1, blocks + i * BLOCK_BYTES);
			batch[i] = &ios[i];
		}
		alloc_fail_from(1);
		device_submit(dev, batch, 256);
		for (int i = 0; i < 256; i++)
			device_wait(dev, &ios[i]);
		assert_int_equal(device_write(dev, 0, blocks, 256), 0);
		assert_int_equal(device_flush(dev), 0);
		alloc_fail_nth(0);
		for (int i = 0; i < 256; i++)
			assert_int_equal(ios[i].result, 0);
		device_close(dev);
		assert_int_equal(unlink(folder.file), 0);
	}
	host_folder_remove(&folder);
	free(blocks);
}

/* Some of everything, on a clone, until an error comes. */
static int
use_simulator(struct sim_medium *medium, uint8_t *block)
{
	struct sim_medium *clone = NULL;
	struct device *dev = NULL;
	int err;

	err = sim_clone(medium, &clone);
	if (err)
		return err;
	err = sim_open(clone, 0, &dev);
	for (uint64_t i = 0; i < 70 && !err; i++)
		err = device_write(dev, i * 60, block, 1);
	if (!err)
		err = device_flush(dev);
	if (!err)
		err = device_write(dev, 3, block, 1);
	device_close(dev);
	sim_power_off(clone);
	sim_power_on(clone, sim_choose_oldest, NULL);
	if (!err)
		err = sim_peek(clone, 3, block);
	if (!err)
		err = sim_flip_bit(clone, 3, 9);
	sim_free(clone);
	return err;
}

static void
simulates_whole_or_not_at_all(void **state)
{
	uint8_t *block = block_buffer_alloc(1);
	struct sim_medium *medium;
	uint64_t before;
	uint64_t count;

	(void)state;
	assert_non_null(block);
	memset(block, 1, BLOCK_BYTES);
	assert_int_equal(sim_create(64 << 20, 1, &medium), 0);
	assert_int_equal(sim_poke(medium, 3, block), 0);
	before = alloc_count();
	assert_int_equal(use_simulator(medium, block), 0);
	count = alloc_count() - before;
	assert_true(count > 100);
	for (uint64_t n = 1; n <= count; n++) {
		alloc_fail_nth(n);
		assert_int_equal(use_simulator(medium, block), COP_ENOMEM);
		alloc_fail_nth(0);
	}
	assert_int_equal(sim_peek(medium, 3, block), 0);
	assert_int_equal(block[0], 1);
	sim_free(medium);
	free(block);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_whole_or_not_at_all),
		cmocka_unit_test(transfers_without_memory),
		cmocka_unit_test(simulates_whole_or_not_at_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
