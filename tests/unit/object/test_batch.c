#include "object/data_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void
makes_one_request_of_neighbours(void **state)
{
	uint8_t *memory = block_buffer_alloc(8);
	uint8_t *back = block_buffer_alloc(8);
	struct device_options options = { 0 };
	struct device *dev;
	struct batch batch;

	(void)state;
	assert_non_null(memory);
	assert_non_null(back);
	for (size_t i = 0; i < 8; i++)
		memset(memory + i * BLOCK_BYTES, (int)i, BLOCK_BYTES);
	assert_int_equal(device_open("mem:1M", &options, &dev), 0);
	assert_int_equal(batch_init(&batch, 8), 0);
	batch_add_block(&batch, DEVICE_WRITE, 10, memory);
	batch_add_block(&batch, DEVICE_WRITE, 11, memory + BLOCK_BYTES);
	batch_add_block(&batch, DEVICE_WRITE, 13, memory + 2 * BLOCK_BYTES); /* not in a row */
	batch_add_block(&batch, DEVICE_WRITE, 14, memory + 4 * BLOCK_BYTES); /* not in memory */
	assert_int_equal(batch.count, 2);
	assert_int_equal(batch.ios[0].iov_count, 1);
	assert_int_equal(batch.ios[1].iov_count, 2);
	batch_submit(&batch, dev);
	assert_int_equal(batch_wait(&batch, dev), 0);
	batch_fini(&batch);

	assert_int_equal(device_read(dev, 10, back, 5), 0);
	assert_memory_equal(back, memory, 2 * BLOCK_BYTES);
	assert_memory_equal(back + 3 * BLOCK_BYTES, memory + 2 * BLOCK_BYTES, BLOCK_BYTES);
	assert_memory_equal(back + 4 * BLOCK_BYTES, memory + 4 * BLOCK_BYTES, BLOCK_BYTES);
	device_close(dev);
	free(memory);
	free(back);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(makes_one_request_of_neighbours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
