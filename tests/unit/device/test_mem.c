#include "device/device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct device_options plain = { .flags = 0 };

static void
refuses_sizes_that_make_no_sense(void **state)
{
	struct device *dev = NULL;

	(void)state;
	assert_int_equal(device_open("mem:", &plain, &dev), COP_EINVAL);
	assert_int_equal(device_open("mem:4095", &plain, &dev), COP_EINVAL);
	assert_int_equal(device_open("mem:16000000T", &plain, &dev), COP_EINVAL);
	assert_null(dev);
}

static void
counts_whole_blocks(void **state)
{
	struct device *dev;

	(void)state;
	assert_int_equal(device_open("mem:10000", &plain, &dev), 0);
	assert_int_equal(device_blocks(dev), 2);
	device_close(dev);
}

static void
takes_memory_only_for_what_is_written(void **state)
{
	struct device *dev;
	uint8_t *block = block_buffer_alloc(1);

	(void)state;
	assert_non_null(block);
	assert_int_equal(device_open("mem:64G", &plain, &dev), 0);
	memset(block, 3, BLOCK_BYTES);
	assert_int_equal(device_write(dev, device_blocks(dev) - 1, block, 1), 0);
	memset(block, 0, BLOCK_BYTES);
	assert_int_equal(device_read(dev, device_blocks(dev) - 1, block, 1), 0);
	assert_int_equal(block[4095], 3);
	assert_int_equal(device_discard(dev, 0, device_blocks(dev)), 0);
	device_close(dev);
	free(block);
}

static void
forgets_when_it_is_closed(void **state)
{
	struct device *dev;
	uint8_t *block = block_buffer_alloc(1);

	(void)state;
	assert_non_null(block);
	memset(block, 3, BLOCK_BYTES);
	assert_int_equal(device_open("mem:1M", &plain, &dev), 0);
	assert_int_equal(device_write(dev, 0, block, 1), 0);
	device_close(dev);
	assert_int_equal(device_open("mem:1M", &plain, &dev), 0);
	assert_int_equal(device_read(dev, 0, block, 1), 0);
	assert_int_equal(block[0], 0);
	device_close(dev);
	free(block);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_sizes_that_make_no_sense),
		cmocka_unit_test(counts_whole_blocks),
		cmocka_unit_test(takes_memory_only_for_what_is_written),
		cmocka_unit_test(forgets_when_it_is_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
