#include "cache/cache_internal.h"

#include "base/num.h"

#include <assert.h>
#include <stdlib.h>

/* ---- One buffer, with a callback ----------------------------------------------------------------
 */

struct sync {
	struct device_io ios[2];
	struct buffer *buffer; /* borrowed */
	cache_synced done;
	void *context;
	atomic_int first_error;
	atomic_uint unfinished;
};

static void
write_done(struct device_io *io)
{
	struct sync *sync = io->context;
	int none = 0;
	cache_synced done = sync->done;
	void *context = sync->context;
	struct buffer *buffer = sync->buffer;
	int result;

	/* The copies may end on two threads: release what each knows, acquire it in the last. */
	if (io->result)
		atomic_compare_exchange_strong_explicit(&sync->first_error, &none, io->result,
			memory_order_relaxed, memory_order_relaxed);
	if (atomic_fetch_sub_explicit(&sync->unfinished, 1, memory_order_acq_rel) > 1)
		return;
	result = atomic_load_explicit(&sync->first_error, memory_order_relaxed);
	free(sync);
	done(context, buffer, result);
}

int
cache_sync(struct cache *cache, struct buffer *buffer, cache_synced done, void *context)
{
	struct sync *sync = malloc(sizeof *sync);
	uint64_t addrs[2] = { buffer->addr, buffer->addr2 };
	uint32_t copies = buffer->addr2 == 0 ? 1 : 2;
	struct device_io *ios[2];

	if (!sync)
		return fail(COP_ENOMEM, "writing block %" PRIu64, buffer->addr);
	sync->buffer = buffer;
	sync->done = done;
	sync->context = context;
	atomic_init(&sync->first_error, 0);
	atomic_init(&sync->unfinished, copies);
	for (uint32_t i = 0; i < copies; i++) {
		ios[i] = &sync->ios[i];
		device_io_init(ios[i], DEVICE_WRITE, addrs[i], buffer->blocks, buffer->data);
		ios[i]->done = write_done;
		ios[i]->context = sync;
	}
	device_submit(cache->dev, ios, copies); /* `sync` may be gone from here on */
	return 0;
}

/* ---- Many, waiting ------------------------------------------------------------------------------
 */

/*
 * A ring of requests, oldest first. All of it is on the stack, so that writing back needs no memory
 * at the moment when there may be none.
 */
enum {
	WRITES_MAX = 64,
	WRITE_IOV_MAX = 16, /* 256 KiB of nodes: more in one request gains nothing */
	SUBMIT_AT = 16,     /* requests for one call of device_submit() */
};

struct write {
	struct device_io io;
	struct iovec iov[WRITE_IOV_MAX];
};

struct write_ring {
	struct device *dev;
	struct write writes[WRITES_MAX];
	size_t begun;     /* requests ever made; the ring holds the last ones */
	size_t submitted; /* of them */
	size_t finished;  /* of them */
	int first_error;
	uint64_t first_error_addr;
};

static void
submit_begun(struct write_ring *ring)
{
	struct device_io *ios[WRITES_MAX];
	size_t count = 0;

	while (ring->submitted < ring->begun)
		ios[count++] = &ring->writes[ring->submitted++ % WRITES_MAX].io;
	if (count > 0)
		device_submit(ring->dev, ios, count);
}

static void
finish_oldest(struct write_ring *ring)
{
	struct device_io *io = &ring->writes[ring->finished % WRITES_MAX].io;

	assert(ring->finished < ring->submitted);
	device_wait(ring->dev, io);
	if (io->result && !ring->first_error) {
		ring->first_error = io->result;
		ring->first_error_addr = io->addr;
	}
	ring->finished++;
}

/* Makes the next request of the neighbours at the front of `buffers`; returns how many they are. */
static size_t
begin_write(struct write_ring *ring, struct buffer *const *buffers, size_t count, bool second)
{
	struct write *write;
	uint64_t addr = second ? buffers[0]->addr2 : buffers[0]->addr;
	uint64_t blocks = 0;
	uint32_t merged = 0;

	if (ring->begun - ring->submitted == SUBMIT_AT)
		submit_begun(ring);
	if (ring->begun - ring->finished == WRITES_MAX)
		finish_oldest(ring);

	write = &ring->writes[ring->begun++ % WRITES_MAX];
	while (merged < count && merged < WRITE_IOV_MAX) {
		const struct buffer *buffer = buffers[merged];

		if ((second ? buffer->addr2 : buffer->addr) != addr + blocks)
			break;
		write->iov[merged].iov_base = buffer->data;
		write->iov[merged].iov_len = (size_t)buffer->blocks * BLOCK_BYTES;
		blocks += buffer->blocks;
		merged++;
	}
	device_io_init(&write->io, DEVICE_WRITE, addr, blocks, buffers[0]->data);
	write->io.iov = write->iov;
	write->io.iov_count = merged;
	return merged;
}

int
cache_sync_all(struct cache *cache, struct buffer *const *buffers, size_t count)
{
	struct write_ring ring;
	size_t first = 0;  /* next buffer whose first copy is not begun */
	size_t second = 0; /* the same for second copies; these follow close behind */

	lock_assert_none_held();
	ring.dev = cache->dev;
	ring.begun = 0;
	ring.submitted = 0;
	ring.finished = 0;
	ring.first_error = 0;

	while (first < count) {
		first += begin_write(&ring, buffers + first, count - first, false);
		while (second < first) {
			if (buffers[second]->addr2 == 0)
				second++;
			else
				second +=
					begin_write(&ring, buffers + second, first - second, true);
		}
	}
	submit_begun(&ring);
	while (ring.finished < ring.begun)
		finish_oldest(&ring);
	if (ring.first_error)
		return fail(ring.first_error, "writing block %" PRIu64 ": %s",
			ring.first_error_addr, device_result_sentence(ring.first_error));
	return 0;
}
