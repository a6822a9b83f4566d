#include "device/device.h"

#include "host.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include <cmocka.h>

enum { COUNT = 100 };

static int
open_pool(const struct host_folder *folder, struct device **out_device)
{
	const struct device_options options = {
		.flags = DEVICE_GROW | DEVICE_NO_URING,
		.create_bytes = COUNT * BLOCK_BYTES,
	};

	return device_open(folder->file, &options, out_device);
}

static int
set_up(void **state)
{
	struct host_folder *folder = calloc(1, sizeof *folder);
	const struct device_options options = {
		.flags = DEVICE_CREATE,
		.create_bytes = COUNT * BLOCK_BYTES,
	};
	struct device *dev;

	assert_non_null(folder);
	host_folder_make(folder);
	assert_int_equal(device_open(folder->file, &options, &dev), 0);
	device_close(dev);
	*state = folder;
	return 0;
}

static int
tear_down(void **state)
{
	host_folder_remove(*state);
	free(*state);
	return 0;
}

/* Writes and reads every block in batches; the number of what went wrong. */
static int
work(struct device *dev)
{
	static struct device_io ios[COUNT];
	static struct device_io *batch[COUNT];
	uint8_t *blocks = block_buffer_alloc(COUNT);
	int failures = 0;

	if (!blocks)
		return 1;
	for (int i = 0; i < COUNT; i++) {
		memset(blocks + i * BLOCK_BYTES, i, BLOCK_BYTES);
		device_io_init(&ios[i], DEVICE_WRITE, (uint64_t)i, 1, blocks + i * BLOCK_BYTES);
		batch[i] = &ios[i];
	}
	device_submit(dev, batch, COUNT);
	for (int i = 0; i < COUNT; i++) {
		device_wait(dev, &ios[i]);
		failures += ios[i].result != 0;
		ios[i].op = DEVICE_READ;
	}
	memset(blocks, 0xff, COUNT * BLOCK_BYTES);
	device_submit(dev, batch, COUNT);
	for (int i = COUNT; i-- > 0;) {
		device_wait(dev, &ios[i]);
		failures += ios[i].result != 0 || blocks[i * BLOCK_BYTES] != i;
	}
	free(blocks);
	return failures;
}

static void
ends_its_threads_when_closed(void **state)
{
	struct device *dev;
	int before;

	host_start_first_thread();
	before = host_thread_count();
	assert_int_equal(open_pool(*state, &dev), 0);
	assert_int_equal(host_thread_count(), before); /* none without work */
	assert_int_equal(work(dev), 0);
	assert_true(host_thread_count() > before);
	assert_true(host_thread_count() <= before + 32);
	device_close(dev);
	assert_int_equal(host_thread_count(), before);
}

static int
work_without_threads(void *context)
{
	struct device *dev;
	int before = host_thread_count();
	int failures;

	host_refuse(SYS_clone3, EAGAIN);
	host_refuse(SYS_clone, EAGAIN);
	if (open_pool(context, &dev) != 0)
		return 1;
	failures = work(dev);
	if (host_thread_count() != before)
		return 2;
	device_close(dev);
	return failures == 0 ? 0 : 3;
}

static void
works_without_any_thread(void **state)
{
	host_in_child(work_without_threads, *state);
}

static pthread_t completed_by;

static void
note_thread(struct device_io *io)
{
	(void)io;
	completed_by = pthread_self();
}

static void
completes_on_the_thread_that_waits(void **state)
{
	struct device *dev;
	struct device_io io;
	struct device_io *const batch[] = { &io };

	assert_int_equal(open_pool(*state, &dev), 0);
	device_io_init(&io, DEVICE_FLUSH, 0, 0, NULL);
	io.done = note_thread;
	device_submit(dev, batch, 1);
	device_wait(dev, &io);
	assert_true(pthread_equal(completed_by, pthread_self()));
	device_close(dev);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		TEST(ends_its_threads_when_closed),
		TEST(works_without_any_thread),
		TEST(completes_on_the_thread_that_waits),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
