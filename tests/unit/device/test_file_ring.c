#include "device/device.h"

#include "host.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct device *
create(const struct host_folder *folder, uint64_t blocks)
{
	const struct device_options options = {
		.flags = DEVICE_CREATE,
		.create_bytes = blocks * BLOCK_BYTES,
	};
	struct device *dev;

	assert_int_equal(device_open(folder->file, &options, &dev), 0);
	return dev;
}

static void
takes_more_buffers_than_one_system_call(void **state)
{
	enum { COUNT = IOV_MAX + 76 };
	struct host_folder folder;
	struct device *dev;
	uint8_t *blocks = block_buffer_alloc(COUNT);
	struct iovec *iov = calloc(COUNT, sizeof *iov);
	struct device_io io;
	struct device_io *const batch[] = { &io };

	(void)state;
	assert_non_null(blocks);
	assert_non_null(iov);
	host_folder_make(&folder);
	dev = create(&folder, COUNT);

	/* The last buffer comes first. */
	for (int i = 0; i < COUNT; i++) {
		iov[i].iov_base = blocks + (COUNT - 1 - i) * BLOCK_BYTES;
		iov[i].iov_len = BLOCK_BYTES;
		memset(iov[i].iov_base, i % 251, BLOCK_BYTES);
	}
	device_io_init(&io, DEVICE_WRITE, 0, COUNT, NULL);
	io.iov = iov;
	io.iov_count = COUNT;
	device_submit(dev, batch, 1);
	device_wait(dev, &io);
	assert_int_equal(io.result, 0);

	memset(blocks, 0, COUNT * BLOCK_BYTES);
	assert_int_equal(device_read(dev, 0, blocks, COUNT), 0);
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(blocks[i * BLOCK_BYTES + i % BLOCK_BYTES], i % 251);
	device_close(dev);
	host_folder_remove(&folder);
	free(iov);
	free(blocks);
}

static void
fills_the_ring_and_no_more(void **state)
{
	enum { COUNT = 400 };
	static struct device_io ios[COUNT];
	static struct device_io *batch[COUNT];
	struct host_folder folder;
	struct device *dev;
	uint8_t *blocks = block_buffer_alloc(COUNT);

	(void)state;
	assert_non_null(blocks);
	host_folder_make(&folder);
	dev = create(&folder, COUNT);
	for (uint64_t i = 0; i < COUNT; i++) {
		device_io_init(&ios[i], DEVICE_READ, i, 1, blocks + i * BLOCK_BYTES);
		batch[i] = &ios[i];
	}
	device_submit(dev, batch, COUNT);
	for (int i = 0; i < COUNT; i++)
		device_wait(dev, &ios[i]);
	assert_int_equal(device_stats(dev).in_flight_max, 128);

	/* A batch costs far fewer system calls than requests. */
	assert_true(device_stats(dev).syscalls < COUNT / 2);
	device_close(dev);
	host_folder_remove(&folder);
	free(blocks);
}

static void
starts_no_thread(void **state)
{
	struct host_folder folder;
	struct device *dev;
	struct device_io io;
	struct device_io *const batch[] = { &io };
	int before;

	(void)state;
	host_start_first_thread();
	before = host_thread_count();
	host_folder_make(&folder);
	dev = create(&folder, 4);
	device_io_init(&io, DEVICE_FLUSH, 0, 0, NULL);
	device_submit(dev, batch, 1);
	device_wait(dev, &io);
	assert_int_equal(io.result, 0);
	assert_int_equal(host_thread_count(), before);
	device_close(dev);
	host_folder_remove(&folder);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_more_buffers_than_one_system_call),
		cmocka_unit_test(fills_the_ring_and_no_more),
		cmocka_unit_test(starts_no_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
