#include "device/device.h"

#include "base/num.h"
#include "device/driver.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A `done` function that runs now. It lies on the stack of the thread that runs it. */
struct device_callback {
	const struct device_io *io; /* compared, never followed: `done` may free it */
	struct device_callback *next;
};

static const struct device_driver *const drivers[] = {
	&device_driver_file,
	&device_driver_mem,
	&device_driver_sim,
};

/* The driver whose scheme begins `url`, and what follows the colon; NULL when none does. */
static const struct device_driver *
find_driver(const char *url, const char **out_rest)
{
	for (size_t i = 0; i < ARRAY_COUNT(drivers); i++) {
		size_t bytes = strlen(drivers[i]->scheme);

		if (strncmp(url, drivers[i]->scheme, bytes) == 0 && url[bytes] == ':') {
			*out_rest = url + bytes + 1;
			return drivers[i];
		}
	}
	return NULL;
}

static const char *
op_name(enum device_op op)
{
	switch (op) {
	case DEVICE_READ:
		return "read";
	case DEVICE_WRITE:
		return "write";
	case DEVICE_DISCARD:
		return "discard";
	case DEVICE_FLUSH:
		return "flush";
	}
	return "?";
}

static uint64_t
iov_bytes(const struct device_io *io)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < io->iov_count; i++) {
		assert(io->iov[i].iov_len % BLOCK_BYTES == 0);
		bytes += io->iov[i].iov_len;
	}
	return bytes;
}

/* What a damaged pointer or a reader's handle can get wrong is an error; the rest is asserted. */
static int
request_check(const struct device *dev, const struct device_io *io)
{
	if (io->op == DEVICE_FLUSH)
		return 0;
	assert(io->op == DEVICE_READ || io->op == DEVICE_WRITE || io->op == DEVICE_DISCARD);
	if (io->op != DEVICE_DISCARD)
		assert(iov_bytes(io) == io->blocks * BLOCK_BYTES);

	if (io->blocks == 0 || io->addr >= dev->blocks || io->blocks > dev->blocks - io->addr)
		return fail(COP_EINVAL,
			"%s: %s of %" PRIu64 " blocks at block %" PRIu64 " of %" PRIu64, dev->name,
			op_name(io->op), io->blocks, io->addr, dev->blocks);
	if (io->op != DEVICE_READ && dev->read_only)
		return fail(COP_EROFS, "%s: opened for reading", dev->name);
	return 0;
}

static void
request_count(struct device *dev, const struct device_io *io)
{
	atomic_uint_fast64_t *calls = NULL;
	atomic_uint_fast64_t *bytes = NULL;

	switch (io->op) {
	case DEVICE_READ:
		calls = &dev->reads;
		bytes = &dev->read_bytes;
		break;
	case DEVICE_WRITE:
		calls = &dev->writes;
		bytes = &dev->written_bytes;
		if (io->flags & DEVICE_FUA)
			atomic_fetch_add_explicit(&dev->fua_writes, 1, memory_order_relaxed);
		break;
	case DEVICE_DISCARD:
		calls = &dev->discards;
		break;
	case DEVICE_FLUSH:
		calls = &dev->flushes;
		break;
	}
	atomic_fetch_add_explicit(calls, 1, memory_order_relaxed);
	if (bytes)
		atomic_fetch_add_explicit(bytes, io->blocks * BLOCK_BYTES, memory_order_relaxed);
}

const char *
device_result_sentence(int result)
{
	return result == COP_ENOSPC ? "No space left on device" : cop_error_sentence(result);
}

/* COP_EINVAL: it did not come to the medium. */
static void
count_result(struct device *dev, const struct device_io *io, int result)
{
	if (result == 0 || result == COP_EINVAL)
		return;
	if (io->op == DEVICE_READ)
		atomic_fetch_add_explicit(&dev->failed_reads, 1, memory_order_relaxed);
	else if (io->op != DEVICE_DISCARD)
		atomic_fetch_add_explicit(&dev->failed_writes, 1, memory_order_relaxed);
}

/*
 * What is waited for anyway runs on this thread where the driver can: the way through a queue costs
 * as much as a flush of a fast disk, and much more when the machine is busy.
 */
static int
run_here(struct device *dev, const struct device_io *io)
{
	int err = request_check(dev, io);

	if (err)
		return err;
	request_count(dev, io);
	err = dev->driver->run(dev, io);
	count_result(dev, io, err);
	return err;
}

/* Runs `io`, and puts what failed into the note of this thread. */
static int
request_run(struct device *dev, struct device_io *io)
{
	struct device_io *const one[] = { io };

	if (dev->driver->run)
		return run_here(dev, io);
	device_submit(dev, one, 1);
	device_wait(dev, io);
	if (io->result == 0)
		return 0;
	if (io->op == DEVICE_FLUSH)
		return fail(
			io->result, "%s: flush: %s", dev->name, device_result_sentence(io->result));
	return fail(io->result, "%s: %s of %" PRIu64 " blocks at block %" PRIu64 ": %s", dev->name,
		op_name(io->op), io->blocks, io->addr, device_result_sentence(io->result));
}

void
device_io_init(
	struct device_io *io, enum device_op op, uint64_t addr, uint64_t blocks, void *buffer)
{
	*io = (struct device_io){ .op = op, .addr = addr, .blocks = blocks };
	if (buffer) {
		io->iov_one.iov_base = buffer;
		io->iov_one.iov_len = blocks * BLOCK_BYTES;
		io->iov = &io->iov_one;
		io->iov_count = 1;
	}
}

int
device_open(const char *url, const struct device_options *options, struct device **out_device)
{
	const char *rest = url;
	const struct device_driver *driver = find_driver(url, &rest);
	struct device *dev = NULL;
	char *name;
	int err;

	if (!driver)
		driver = &device_driver_file;
	name = strdup(url);
	if (!name)
		return fail(COP_ENOMEM, "device %s", url);

	err = driver->open(rest, options, &dev);
	if (err) {
		free(name);
		return err;
	}
	assert(dev->driver == driver);
	free(dev->name);
	dev->name = name;
	*out_device = dev;
	return 0;
}

void
device_close(struct device *dev)
{
	if (dev)
		dev->driver->close(dev);
}

void
device_submit(struct device *dev, struct device_io *const *ios, size_t count)
{
	size_t first = 0; /* of those that have passed the check and are not handed on yet */

	for (size_t i = 0; i < count; i++)
		atomic_store_explicit(&ios[i]->is_done, false, memory_order_relaxed);
	for (size_t i = 0; i < count; i++) {
		int err = request_check(dev, ios[i]);

		if (!err) {
			request_count(dev, ios[i]);
			continue;
		}
		if (i > first)
			dev->driver->submit(dev, ios + first, i - first);
		device_complete(dev, ios[i], err);
		first = i + 1;
	}
	if (count > first)
		dev->driver->submit(dev, ios + first, count - first);
}

static bool
callback_runs_locked(const struct device *dev, const struct device_io *io)
{
	for (const struct device_callback *c = dev->callbacks; c; c = c->next) {
		if (c->io == io)
			return true;
	}
	return false;
}

void
device_wait(struct device *dev, struct device_io *io)
{
	lock_assert_none_held();

	/* Acquire: pairs with the release in device_complete(), for the result and the buffers. */
	if (!atomic_load_explicit(&io->is_done, memory_order_acquire))
		dev->driver->wait(dev, io);
	assert(atomic_load_explicit(&io->is_done, memory_order_acquire));
	if (!io->done)
		return;

	mutex_lock(&dev->lock);
	while (callback_runs_locked(dev, io))
		condition_wait(&dev->changed, &dev->lock);
	mutex_unlock(&dev->lock);
}

void
device_run(struct device *dev, struct device_io *const *ios, size_t count)
{
	if (count == 1 && dev->driver->run && !ios[0]->done) {
		ios[0]->result = run_here(dev, ios[0]);
		atomic_store_explicit(&ios[0]->is_done, true, memory_order_relaxed);
		return;
	}
	device_submit(dev, ios, count);
	for (size_t i = 0; i < count; i++)
		device_wait(dev, ios[i]);
}

int
device_read(struct device *dev, uint64_t addr, void *buffer, uint64_t blocks)
{
	struct device_io io;

	device_io_init(&io, DEVICE_READ, addr, blocks, buffer);
	return request_run(dev, &io);
}

static int
write_with(struct device *dev, uint64_t addr, const void *buffer, uint64_t blocks, uint32_t flags)
{
	struct device_io io;

	/* The request has one field for buffers of both directions; a write only reads it. */
	device_io_init(&io, DEVICE_WRITE, addr, blocks, (void *)(uintptr_t)buffer);
	io.flags = flags;
	return request_run(dev, &io);
}

int
device_write(struct device *dev, uint64_t addr, const void *buffer, uint64_t blocks)
{
	return write_with(dev, addr, buffer, blocks, 0);
}

int
device_write_durably(struct device *dev, uint64_t addr, const void *buffer, uint64_t blocks)
{
	return write_with(dev, addr, buffer, blocks, DEVICE_FUA);
}

int
device_flush(struct device *dev)
{
	struct device_io io;

	device_io_init(&io, DEVICE_FLUSH, 0, 0, NULL);
	return request_run(dev, &io);
}

int
device_barrier(struct device *dev)
{
	if (dev->driver->barrier)
		return dev->driver->barrier(dev);
	return device_flush(dev);
}

int
device_discard(struct device *dev, uint64_t addr, uint64_t blocks)
{
	struct device_io io;

	device_io_init(&io, DEVICE_DISCARD, addr, blocks, NULL);
	return request_run(dev, &io);
}

uint64_t
device_blocks(const struct device *dev)
{
	return dev->blocks;
}

bool
device_is_read_only(const struct device *dev)
{
	return dev->read_only;
}

bool
device_has_writer(struct device *dev)
{
	return dev->driver->has_writer && dev->driver->has_writer(dev);
}

const char *
device_name(const struct device *dev)
{
	return dev->name;
}

struct device_stats
device_stats(struct device *dev)
{
	return (struct device_stats){
		.reads = atomic_load_explicit(&dev->reads, memory_order_relaxed),
		.failed_reads = atomic_load_explicit(&dev->failed_reads, memory_order_relaxed),
		.failed_writes = atomic_load_explicit(&dev->failed_writes, memory_order_relaxed),
		.writes = atomic_load_explicit(&dev->writes, memory_order_relaxed),
		.flushes = atomic_load_explicit(&dev->flushes, memory_order_relaxed),
		.fua_writes = atomic_load_explicit(&dev->fua_writes, memory_order_relaxed),
		.discards = atomic_load_explicit(&dev->discards, memory_order_relaxed),
		.read_bytes = atomic_load_explicit(&dev->read_bytes, memory_order_relaxed),
		.written_bytes = atomic_load_explicit(&dev->written_bytes, memory_order_relaxed),
		.syscalls = atomic_load_explicit(&dev->syscalls, memory_order_relaxed),
		.in_flight_max = atomic_load_explicit(&dev->in_flight_max, memory_order_relaxed),
	};
}

void *
block_buffer_alloc(uint64_t blocks)
{
	if (blocks == 0 || blocks > SIZE_MAX / BLOCK_BYTES)
		return NULL;
	return aligned_alloc(BLOCK_BYTES, blocks * BLOCK_BYTES);
}

bool
device_url_has_scheme(const char *url)
{
	const char *rest;

	return find_driver(url, &rest) != NULL;
}

bool
device_url_is_host_path(const char *url, const char **out_path)
{
	const char *rest = url;
	const struct device_driver *driver = find_driver(url, &rest);

	if (driver && driver != &device_driver_file)
		return false;
	*out_path = rest;
	return true;
}

int
device_init(struct device *dev, const struct device_driver *driver, const char *name)
{
	int err;

	*dev = (struct device){ .driver = driver };
	dev->name = strdup(name);
	if (!dev->name)
		return fail(COP_ENOMEM, "device %s", name);
	err = mutex_init(&dev->lock, LOCK_DEVICE_QUEUE);
	if (err)
		goto free_name;
	err = condition_init(&dev->changed);
	if (err)
		goto fini_lock;
	return 0;

fini_lock:
	mutex_fini(&dev->lock);
free_name:
	free(TAKE(dev->name));
	return err;
}

void
device_fini(struct device *dev)
{
	assert(!dev->callbacks);
	condition_fini(&dev->changed);
	mutex_fini(&dev->lock);
	free(TAKE(dev->name));
}

/*
 * The moment `is_done` is set, a request without `done` belongs to whoever waits for it. One with
 * `done` belongs to that function; who waits for it as well looks for it in `callbacks`.
 */
void
device_complete(struct device *dev, struct device_io *io, int result)
{
	void (*done)(struct device_io *) = io->done;
	struct device_callback callback = { .io = io };

	assert(!atomic_load_explicit(&io->is_done, memory_order_relaxed));
	io->result = result;
	count_result(dev, io, result);
	if (done) {
		mutex_lock(&dev->lock);
		callback.next = dev->callbacks;
		dev->callbacks = &callback;
		mutex_unlock(&dev->lock);
	}
	/* Release: pairs with the acquire in device_wait(). */
	atomic_store_explicit(&io->is_done, true, memory_order_release);
	if (done)
		done(io);

	mutex_lock(&dev->lock);
	if (done) {
		struct device_callback **link = &dev->callbacks;

		while (*link != &callback)
			link = &(*link)->next;
		*link = callback.next;
	}
	condition_wake_all(&dev->changed);
	mutex_unlock(&dev->lock);
}

void
device_flight_begin(struct device *dev, uint64_t count)
{
	uint64_t now =
		atomic_fetch_add_explicit(&dev->in_flight, count, memory_order_relaxed) + count;
	uint64_t max = atomic_load_explicit(&dev->in_flight_max, memory_order_relaxed);

	while (now > max && !atomic_compare_exchange_weak_explicit(&dev->in_flight_max, &max, now,
				    memory_order_relaxed, memory_order_relaxed))
		continue;
}

void
device_flight_end(struct device *dev, uint64_t count)
{
	uint64_t before = atomic_fetch_sub_explicit(&dev->in_flight, count, memory_order_relaxed);

	assert(before >= count);
	(void)before;
}

int
device__parse_bytes(const char *text, uint64_t *out_bytes)
{
	static const char units[] = "KMGT";
	const char *unit;
	uint64_t bytes = 0;
	const char *at = text;

	for (; *at >= '0' && *at <= '9'; at++) {
		if (__builtin_mul_overflow(bytes, 10, &bytes) ||
			__builtin_add_overflow(bytes, (uint64_t)(*at - '0'), &bytes))
			return fail(COP_EINVAL, "size '%s' is too large", text);
	}
	if (at == text)
		return fail(COP_EINVAL, "'%s' is not a size; say for example 64M", text);
	unit = *at ? strchr(units, *at) : NULL;
	if (unit) {
		unsigned shift = 10 * (unsigned)(unit - units + 1);

		if (bytes > UINT64_MAX >> shift)
			return fail(COP_EINVAL, "size '%s' is too large", text);
		bytes <<= shift;
		at++;
	}
	if (*at)
		return fail(COP_EINVAL, "'%s' is not a size; say for example 64M", text);
	*out_bytes = bytes;
	return 0;
}
