/*
 * The contract of device/device.h, run on every driver: a test for each row and promise. A driver
 * whose media are private to a handle has no row in the tests that open one twice.
 */

#include "device/device.h"

#include "base/num.h"
#include "base/random.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { BLOCKS = 4096, THREADS = 4 };

struct row {
	const char *name;
	const char *url; /* NULL: a file in `folder` */
	const char *folder;
	uint32_t flags;
	uint64_t depth_min; /* that 64 reads reach; a pool is in the scheduler's hand */
};

static const struct row rows[] = {
	{ .name = "ring", .folder = "/var/tmp", .depth_min = 32 },
	{ .name = "pool", .folder = "/var/tmp", .flags = DEVICE_NO_URING, .depth_min = 1 },
	{ .name = "buffered ring", .folder = "/dev/shm", .flags = DEVICE_NO_DIRECT },
	{ .name = "buffered pool",
		.folder = "/dev/shm",
		.flags = DEVICE_NO_DIRECT | DEVICE_NO_URING },
	{ .name = "mem", .url = "mem:16M" },
	{ .name = "sim", .url = "sim:16M" },
};

struct world {
	const struct row *row;
	char folder[64];
	char path[96];
	const char *url;
	struct device *dev;
	uint8_t *blocks; /* 512 blocks to work with */
};

static int
set_up(void **state)
{
	const struct row *row = *state;
	struct world *world = calloc(1, sizeof *world);
	struct device_options options = { .flags = row->flags };

	assert_non_null(world);
	world->row = row;
	world->url = row->url;
	if (!row->url) {
		(void)snprintf(world->folder, sizeof world->folder, "%s/coppice-XXXXXX",
			access(row->folder, W_OK) == 0 ? row->folder : "/tmp");
		assert_non_null(mkdtemp(world->folder));
		(void)snprintf(world->path, sizeof world->path, "%s/device", world->folder);
		world->url = world->path;
		options.flags |= DEVICE_CREATE;
		options.create_bytes = (uint64_t)BLOCKS * BLOCK_BYTES;
	}
	world->blocks = block_buffer_alloc(512);
	assert_non_null(world->blocks);
	assert_int_equal(device_open(world->url, &options, &world->dev), 0);
	*state = world;
	return 0;
}

static int
tear_down(void **state)
{
	struct world *world = *state;

	device_close(world->dev);
	if (!world->row->url) {
		assert_int_equal(unlink(world->path), 0);
		assert_int_equal(rmdir(world->folder), 0);
	}
	free(world->blocks);
	free(world);
	return 0;
}

static void
fill(uint8_t *at, uint64_t blocks, uint64_t seed)
{
	struct rng rng;

	rng_seed(&rng, seed);
	rng_bytes(&rng, at, blocks * BLOCK_BYTES);
}

static void
assert_filled(const uint8_t *at, uint64_t blocks, uint64_t seed)
{
	uint8_t *want = block_buffer_alloc(blocks);

	assert_non_null(want);
	fill(want, blocks, seed);
	assert_memory_equal(at, want, blocks * BLOCK_BYTES);
	free(want);
}

static void
run(struct device *dev, struct device_io *io)
{
	struct device_io *const one[] = { io };

	device_submit(dev, one, 1);
	device_wait(dev, io);
}

static void
reopen(struct world *world, uint32_t flags)
{
	const struct device_options options = { .flags = world->row->flags | flags };

	device_close(TAKE(world->dev));
	assert_int_equal(device_open(world->url, &options, &world->dev), 0);
}

static void
has_the_size_it_was_given(void **state)
{
	struct world *world = *state;

	assert_int_equal(device_blocks(world->dev), BLOCKS);
	assert_false(device_is_read_only(world->dev));
	assert_string_equal(device_name(world->dev), world->url);
}

static void
reads_what_was_written(void **state)
{
	struct world *world = *state;

	fill(world->blocks, 100, 1);
	assert_int_equal(device_write(world->dev, BLOCKS - 100, world->blocks, 100), 0);
	memset(world->blocks, 0, 100 * BLOCK_BYTES);
	assert_int_equal(device_read(world->dev, BLOCKS - 100, world->blocks, 100), 0);
	assert_filled(world->blocks, 100, 1);

	/* Never written: zeros. */
	assert_int_equal(device_read(world->dev, 0, world->blocks, 1), 0);
	for (int i = 0; i < BLOCK_BYTES; i++)
		assert_int_equal(world->blocks[i], 0);
}

static void
scatters_and_gathers(void **state)
{
	struct world *world = *state;
	struct device_io io;
	struct iovec iov[100];
	uint64_t blocks = 0;

	/* Pieces of 1, 2, 3, 1, ... blocks, each two blocks after the one before. */
	for (uint32_t i = 0; i < ARRAY_COUNT(iov); i++) {
		iov[i].iov_base = world->blocks + 5 * i * BLOCK_BYTES;
		iov[i].iov_len = (1 + i % 3) * BLOCK_BYTES;
		fill(iov[i].iov_base, 1 + i % 3, i);
		blocks += 1 + i % 3;
	}
	device_io_init(&io, DEVICE_WRITE, 7, blocks, NULL);
	io.iov = iov;
	io.iov_count = ARRAY_COUNT(iov);
	run(world->dev, &io);
	assert_int_equal(io.result, 0);

	memset(world->blocks, 0, 500 * BLOCK_BYTES);
	assert_int_equal(device_read(world->dev, 7, world->blocks, 1), 0);
	assert_filled(world->blocks, 1, 0);
	assert_int_equal(device_read(world->dev, 8, world->blocks, 2), 0);
	assert_filled(world->blocks, 2, 1);

	memset(world->blocks, 0, 500 * BLOCK_BYTES);
	io.op = DEVICE_READ;
	run(world->dev, &io);
	assert_int_equal(io.result, 0);
	for (uint32_t i = 0; i < ARRAY_COUNT(iov); i++)
		assert_filled(iov[i].iov_base, 1 + i % 3, i);
}

static void
count_done(struct device_io *io)
{
	(*(int *)io->context)++;
}

static void
completes_batches_larger_than_any_queue(void **state)
{
	enum { COUNT = 500 };
	struct world *world = *state;
	static struct device_io ios[COUNT];
	static struct device_io *batch[COUNT];
	int done = 0;

	for (uint64_t i = 0; i < COUNT; i++) {
		uint8_t *at = world->blocks + i * BLOCK_BYTES;

		fill(at, 1, i);
		device_io_init(&ios[i], DEVICE_WRITE, 3 * i, 1, at);
		ios[i].done = count_done;
		ios[i].context = &done;
		batch[i] = &ios[i];
	}
	device_submit(world->dev, batch, COUNT);
	for (int i = COUNT; i-- > 0;) {
		device_wait(world->dev, &ios[i]);
		assert_int_equal(ios[i].result, 0);
	}
	assert_int_equal(done, COUNT);

	memset(world->blocks, 0, COUNT * BLOCK_BYTES);
	for (int i = 0; i < COUNT; i++)
		ios[i].op = DEVICE_READ;
	device_submit(world->dev, batch, COUNT);
	for (uint64_t i = 0; i < COUNT; i++) {
		device_wait(world->dev, &ios[i]);
		assert_int_equal(ios[i].result, 0);
		assert_filled(world->blocks + i * BLOCK_BYTES, 1, i);
	}
	assert_int_equal(done, 2 * COUNT);
	assert_int_equal(device_stats(world->dev).writes, COUNT);
	assert_int_equal(device_stats(world->dev).reads, COUNT);
	assert_int_equal(device_stats(world->dev).written_bytes, COUNT * BLOCK_BYTES);
}

static void
closes_with_requests_that_nobody_waited_for(void **state)
{
	struct world *world = *state;
	struct device_io ios[64];
	struct device_io *batch[64];
	int done = 0;

	for (uint64_t i = 0; i < 64; i++) {
		device_io_init(&ios[i], DEVICE_READ, i, 1, world->blocks + i * BLOCK_BYTES);
		ios[i].done = count_done;
		ios[i].context = &done;
		batch[i] = &ios[i];
	}
	device_submit(world->dev, batch, 64);
	device_close(TAKE(world->dev));
	assert_int_equal(done, 64);
}

static void
keeps_many_requests_in_flight(void **state)
{
	enum { COUNT = 64, LONG = 8 };
	struct world *world = *state;
	struct device_io ios[COUNT];
	struct device_io *batch[COUNT];

	for (uint64_t i = 0; i < COUNT; i++) {
		device_io_init(&ios[i], DEVICE_READ, i * LONG, LONG,
			world->blocks + i * LONG * BLOCK_BYTES);
		batch[i] = &ios[i];
	}
	device_submit(world->dev, batch, COUNT);
	for (int i = 0; i < COUNT; i++) {
		device_wait(world->dev, &ios[i]);
		assert_int_equal(ios[i].result, 0);
	}
	assert_true(device_stats(world->dev).in_flight_max >= world->row->depth_min);
}

struct worker {
	struct device *dev;
	uint64_t number;
	int failures;
};

/* Batches of mixed reads and writes on every THREADSth run of 8 blocks; checked by content. */
static void *
work(void *context)
{
	enum { COUNT = 16, RUN = 8, ROUNDS = 20 };
	struct worker *worker = context;
	uint8_t *blocks = block_buffer_alloc(2 * COUNT * RUN);
	struct device_io ios[2 * COUNT];
	struct device_io *batch[2 * COUNT];

	for (uint64_t round = 0; round < ROUNDS; round++) {
		/* Writes this round's runs and reads those of the round before. */
		for (uint64_t i = 0; i < 2 * COUNT; i++) {
			bool writes = i < COUNT;
			uint64_t slot = (round + !writes) % 2 * COUNT + i % COUNT;
			uint8_t *at = blocks + i * RUN * BLOCK_BYTES;

			memset(at, (int)(round * COUNT + i), writes ? RUN * BLOCK_BYTES : 0);
			device_io_init(&ios[i], writes ? DEVICE_WRITE : DEVICE_READ,
				(slot * THREADS + worker->number) * RUN, RUN, at);
			batch[i] = &ios[i];
		}
		device_submit(worker->dev, batch, 2 * COUNT);
		for (uint64_t i = 0; i < 2 * COUNT; i++) {
			const uint8_t *at = blocks + i * RUN * BLOCK_BYTES;
			int want = (uint8_t)((round - 1) * COUNT + i - COUNT);

			device_wait(worker->dev, &ios[i]);
			worker->failures += ios[i].result != 0;
			if (i >= COUNT && round > 0)
				worker->failures += at[0] != want ||
						    memcmp(at, at + 1, RUN * BLOCK_BYTES - 1) != 0;
		}
	}
	free(blocks);
	return NULL;
}

static void
serves_many_threads(void **state)
{
	struct world *world = *state;
	struct worker workers[THREADS];
	pthread_t threads[THREADS];

	for (uint64_t i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .dev = world->dev, .number = i };
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(workers[i].failures, 0);
	}
}

static void
refuses_what_lies_outside(void **state)
{
	static const struct {
		uint64_t addr;
		uint64_t blocks;
	} ranges[] = { { BLOCKS, 1 }, { BLOCKS - 1, 2 }, { UINT64_MAX, 1 }, { UINT64_MAX - 1, 3 },
		{ 0, BLOCKS + 1 }, { 5, 0 } };
	struct world *world = *state;
	struct device_io good;
	struct device_io bad;
	struct device_io last;
	struct device_io *const batch[] = { &good, &bad, &last };

	for (size_t i = 0; i < ARRAY_COUNT(ranges); i++) {
		uint64_t addr = ranges[i].addr;

		/* A read must state its buffers, so the largest is asked of discard only. */
		assert_int_equal(device_discard(world->dev, addr, ranges[i].blocks), COP_EINVAL);
		if (ranges[i].blocks > 512)
			continue;
		assert_int_equal(
			device_read(world->dev, addr, world->blocks, ranges[i].blocks), COP_EINVAL);
		assert_int_equal(device_write(world->dev, addr, world->blocks, ranges[i].blocks),
			COP_EINVAL);
	}

	/* One bad request of a batch harms no other. */
	device_io_init(&good, DEVICE_READ, 0, 1, world->blocks);
	device_io_init(&bad, DEVICE_READ, BLOCKS, 1, world->blocks + BLOCK_BYTES);
	device_io_init(&last, DEVICE_READ, 1, 1, world->blocks + 2 * BLOCK_BYTES);
	device_submit(world->dev, batch, 3);
	for (int i = 0; i < 3; i++)
		device_wait(world->dev, batch[i]);
	assert_int_equal(good.result, 0);
	assert_int_equal(bad.result, COP_EINVAL);
	assert_int_equal(last.result, 0);
}

static void
writes_nothing_when_opened_for_reading(void **state)
{
	struct world *world = *state;

	reopen(world, DEVICE_READ_ONLY);
	assert_true(device_is_read_only(world->dev));
	assert_int_equal(device_write(world->dev, 0, world->blocks, 1), COP_EROFS);
	assert_int_equal(device_discard(world->dev, 0, 1), COP_EROFS);
	assert_int_equal(device_read(world->dev, 0, world->blocks, 1), 0);
}

static void
flushes_orders_and_forces(void **state)
{
	struct world *world = *state;
	struct device_io flush;
	struct device_io forced;

	fill(world->blocks, 2, 4);
	assert_int_equal(device_write(world->dev, 1, world->blocks, 1), 0);
	assert_int_equal(device_flush(world->dev), 0);
	assert_int_equal(device_barrier(world->dev), 0);
	device_io_init(&flush, DEVICE_FLUSH, 0, 0, NULL);
	run(world->dev, &flush);
	assert_int_equal(flush.result, 0);
	assert_true(device_stats(world->dev).flushes >= 2);

	device_io_init(&forced, DEVICE_WRITE, 9, 2, world->blocks);
	forced.flags = DEVICE_FUA;
	run(world->dev, &forced);
	assert_int_equal(forced.result, 0);
	memset(world->blocks, 0, 2 * BLOCK_BYTES);
	assert_int_equal(device_read(world->dev, 9, world->blocks, 2), 0);
	assert_filled(world->blocks, 2, 4);
}

static void
discards_nothing_but_what_it_was_told(void **state)
{
	struct world *world = *state;

	fill(world->blocks, 64, 2);
	assert_int_equal(device_write(world->dev, 64, world->blocks, 64), 0);
	assert_int_equal(device_discard(world->dev, 80, 16), 0);
	assert_int_equal(device_stats(world->dev).discards, 1);
	memset(world->blocks, 0, 64 * BLOCK_BYTES);
	assert_int_equal(device_read(world->dev, 64, world->blocks, 64), 0);
	fill(world->blocks + 16 * BLOCK_BYTES, 16, 3);
	assert_int_equal(device_write(world->dev, 80, world->blocks + 16 * BLOCK_BYTES, 16), 0);
	assert_int_equal(device_read(world->dev, 80, world->blocks + 64 * BLOCK_BYTES, 16), 0);
	assert_filled(world->blocks + 64 * BLOCK_BYTES, 16, 3);

	/* The neighbours are as they were. */
	memcpy(world->blocks + 100 * BLOCK_BYTES, world->blocks, 64 * BLOCK_BYTES);
	fill(world->blocks, 64, 2);
	assert_memory_equal(world->blocks, world->blocks + 100 * BLOCK_BYTES, 16 * BLOCK_BYTES);
	assert_memory_equal(world->blocks + 32 * BLOCK_BYTES, world->blocks + 132 * BLOCK_BYTES,
		32 * BLOCK_BYTES);
}

static void
keeps_its_contents_over_a_close(void **state)
{
	struct world *world = *state;

	if (world->row->url)
		return; /* vanishes, and says so */
	fill(world->blocks, 3, 5);
	assert_int_equal(device_write(world->dev, 17, world->blocks, 3), 0);
	reopen(world, 0);
	assert_int_equal(device_blocks(world->dev), BLOCKS);
	memset(world->blocks, 0, 3 * BLOCK_BYTES);
	assert_int_equal(device_read(world->dev, 17, world->blocks, 3), 0);
	assert_filled(world->blocks, 3, 5);
}

static void
lets_one_opener_write_and_names_it(void **state)
{
	struct world *world = *state;
	struct device_options options = { .flags = world->row->flags };
	struct device *second = NULL;
	char pid[32];

	if (world->row->url)
		return; /* every handle has a medium of its own */
	(void)snprintf(pid, sizeof pid, "process %ld", (long)getpid());
	assert_int_equal(device_open(world->url, &options, &second), COP_EBUSY);
	assert_non_null(strstr(err_text(), pid));
	options.flags |= DEVICE_READ_ONLY;
	assert_int_equal(device_open(world->url, &options, &second), COP_EBUSY);
	assert_null(second);

	/* A reader that takes no lock comes in; so does everyone when the writer has gone. */
	options.flags |= DEVICE_NO_LOCK;
	assert_int_equal(device_open(world->url, &options, &second), 0);
	device_close(TAKE(second));
	device_close(TAKE(world->dev));
	options.flags = world->row->flags;
	assert_int_equal(device_open(world->url, &options, &world->dev), 0);
}

static void
keeps_other_processes_out(void **state)
{
	struct world *world = *state;
	const struct device_options options = { .flags = world->row->flags };
	char pid[32];
	pid_t child;
	int status;

	if (world->row->url)
		return; /* every handle has a medium of its own */
	(void)snprintf(pid, sizeof pid, "process %ld", (long)getpid());
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct device *dev;
		int err = device_open(world->url, &options, &dev);

		_exit(err == COP_EBUSY && strstr(err_text(), pid) ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	TEST(has_the_size_it_was_given),
	TEST(reads_what_was_written),
	TEST(scatters_and_gathers),
	TEST(completes_batches_larger_than_any_queue),
	TEST(closes_with_requests_that_nobody_waited_for),
	TEST(keeps_many_requests_in_flight),
	TEST(serves_many_threads),
	TEST(refuses_what_lies_outside),
	TEST(writes_nothing_when_opened_for_reading),
	TEST(flushes_orders_and_forces),
	TEST(discards_nothing_but_what_it_was_told),
	TEST(keeps_its_contents_over_a_close),
	TEST(lets_one_opener_write_and_names_it),
	TEST(keeps_other_processes_out),
#undef TEST
};

int
main(void)
{
	static struct CMUnitTest all[ARRAY_COUNT(rows) * ARRAY_COUNT(tests)];
	static char names[ARRAY_COUNT(all)][96];

	for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
		const struct row *row = &rows[i / ARRAY_COUNT(tests)];

		all[i] = tests[i % ARRAY_COUNT(tests)];
		(void)snprintf(names[i], sizeof names[i], "%s: %s", row->name, all[i].name);
		all[i].name = names[i];
		all[i].initial_state = (void *)(uintptr_t)row;
	}
	return cmocka_run_group_tests(all, NULL, NULL);
}
