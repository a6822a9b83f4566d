/*
 * file_ring: batches of the file driver by io_uring, without a thread of our own.
 *
 *   device_submit  queue -> ring, as many as it takes; the rest waits in `pended`
 *   device_wait    one thread at a time reaps: it sleeps in the kernel without the lock, takes what
 *                  has completed, fills the ring again, and runs the completions; all others sleep
 *                  on `changed`
 *
 * The reaper stays the reaper until its completions have run. So when nobody reaps, a request that
 * is not done is in the ring or pended, and whoever waits for it can sleep in the kernel without
 * fear that another thread has it in hand. The submission side of the ring is used under the lock,
 * the completion side by the reaper only.
 *
 * No buffers are registered: the limit of locked memory is a few megabytes for most users.
 */

#include "device/file_internal.h"

#include "base/num.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>

#include <liburing.h>

enum {
	RING_DEPTH = 128,
	REAP_MAX = 64,
	CALL_BYTES_MAX = 1 << 30, /* the host moves less than 2 GiB at once; the rest follows */
};

struct file_ring {
	struct io_uring ring;

	/* Guarded by the device's lock. */
	uint32_t in_ring; /* given to the ring and not reaped */
	bool is_reaping;
	struct device_io *pended; /* device_io.next; borrowed */
	struct device_io **pended_end;
};

struct reaped {
	struct device_io *io;
	int result; /* bytes or -errno */
};

static struct file_ring *
ring_of(struct file *file)
{
	return file->engine_state;
}

static void
prepare(const struct file *file, struct io_uring_sqe *sqe, struct device_io *io)
{
	uint64_t offset = io->addr * BLOCK_BYTES;

	if (io->op == DEVICE_FLUSH) {
		io_uring_prep_fsync(sqe, file->fd, IORING_FSYNC_DATASYNC);
	} else if (io->iov_count == 1) {
		unsigned bytes = (unsigned)min_u64(io->iov[0].iov_len, CALL_BYTES_MAX);

		if (io->op == DEVICE_READ)
			io_uring_prep_read(sqe, file->fd, io->iov[0].iov_base, bytes, offset);
		else
			io_uring_prep_write(sqe, file->fd, io->iov[0].iov_base, bytes, offset);
	} else {
		unsigned count = (unsigned)min_u64(io->iov_count, IOV_MAX);

		if (io->op == DEVICE_READ)
			io_uring_prep_readv(sqe, file->fd, io->iov, count, offset);
		else
			io_uring_prep_writev(sqe, file->fd, io->iov, count, offset);
	}
	if (io->op == DEVICE_WRITE && io->flags & DEVICE_FUA)
		sqe->rw_flags = RWF_DSYNC;
	io_uring_sqe_set_data(sqe, io);
}

/* A submission that the host puts off, for want of memory, stays in the ring for the next time. */
static void
push_locked(struct file *file)
{
	struct file_ring *ring = ring_of(file);

	mutex_assert_held(&file->device.lock);
	if (io_uring_sq_ready(&ring->ring) == 0)
		return;
	file__count_syscall(file);
	(void)io_uring_submit(&ring->ring);
}

static void
fill_locked(struct file *file)
{
	struct file_ring *ring = ring_of(file);
	uint32_t added = 0;

	mutex_assert_held(&file->device.lock);
	while (ring->pended && ring->in_ring < RING_DEPTH) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->ring);
		struct device_io *io = ring->pended;

		if (!sqe)
			break;
		ring->pended = io->next;
		if (!ring->pended)
			ring->pended_end = &ring->pended;
		prepare(file, sqe, io);
		ring->in_ring++;
		added++;
	}
	device_flight_begin(&file->device, added);
	push_locked(file);
}

static void
ring_submit(struct file *file, struct device_io *const *ios, size_t count)
{
	struct file_ring *ring = ring_of(file);

	mutex_lock(&file->device.lock);
	for (size_t i = 0; i < count; i++) {
		if (ios[i]->op == DEVICE_DISCARD)
			continue;
		ios[i]->next = NULL;
		*ring->pended_end = ios[i];
		ring->pended_end = &ios[i]->next;
	}
	fill_locked(file);
	mutex_unlock(&file->device.lock);

	/* The ring has no discard for disks; discards are few, and are done here. */
	for (size_t i = 0; i < count; i++) {
		if (ios[i]->op == DEVICE_DISCARD)
			device_complete(&file->device, ios[i], file__run(file, ios[i]));
	}
}

/* What the ring says of a request, made whole: a short transfer goes on here. */
static int
result_of(struct file *file, const struct reaped *reaped)
{
	const struct device_io *io = reaped->io;
	int result = reaped->result;

	/* Not failures of the device: interrupted, no memory at the moment, or not by this way. */
	if (result == -EINTR || result == -EAGAIN || result == -EOPNOTSUPP || result == -EINVAL)
		return file__run(file, io);
	if (result < 0)
		return fail_errno(-result, "%s: block %" PRIu64, file->device.name, io->addr);
	if (io->op == DEVICE_FLUSH)
		return 0;
	return file__transfer(file, io, (uint64_t)result);
}

/* Sleeps until something has completed; without the lock, as the reaper. */
static uint32_t
reap(struct file *file, struct reaped out[REAP_MAX])
{
	struct io_uring *ring = &ring_of(file)->ring;
	struct io_uring_cqe *cqes[REAP_MAX];
	struct io_uring_cqe *cqe;
	unsigned count;

	while (io_uring_peek_cqe(ring, &cqe) != 0) {
		file__count_syscall(file);
		if (io_uring_wait_cqe(ring, &cqe) == 0)
			break;
	}
	count = io_uring_peek_batch_cqe(ring, cqes, REAP_MAX);
	assert(count > 0);
	for (unsigned i = 0; i < count; i++) {
		out[i].io = io_uring_cqe_get_data(cqes[i]);
		out[i].result = cqes[i]->res;
	}
	io_uring_cq_advance(ring, count);
	return count;
}

/* One turn as the reaper. */
static void
reap_locked(struct file *file)
{
	struct file_ring *ring = ring_of(file);
	struct reaped reaped[REAP_MAX];
	uint32_t count;

	mutex_assert_held(&file->device.lock);
	assert(!ring->is_reaping);
	ring->is_reaping = true;

	/* Nothing the kernel knows of would ever wake us. */
	fill_locked(file);
	while (io_uring_sq_ready(&ring->ring) >= ring->in_ring) {
		mutex_unlock(&file->device.lock);
		(void)sched_yield();
		mutex_lock(&file->device.lock);
		push_locked(file);
	}
	mutex_unlock(&file->device.lock);

	count = reap(file, reaped);

	mutex_lock(&file->device.lock);
	assert(ring->in_ring >= count);
	ring->in_ring -= count;
	device_flight_end(&file->device, count);
	fill_locked(file);
	mutex_unlock(&file->device.lock);

	for (uint32_t i = 0; i < count; i++)
		device_complete(&file->device, reaped[i].io, result_of(file, &reaped[i]));

	mutex_lock(&file->device.lock);
	ring->is_reaping = false;
	condition_wake_all(&file->device.changed);
}

static bool
is_finished_locked(const struct file_ring *ring, const struct device_io *io)
{
	if (io)
		return atomic_load_explicit(&io->is_done, memory_order_acquire);
	return ring->in_ring == 0 && !ring->pended && !ring->is_reaping;
}

static void
ring_wait(struct file *file, struct device_io *io)
{
	struct file_ring *ring = ring_of(file);

	mutex_lock(&file->device.lock);
	while (!is_finished_locked(ring, io)) {
		if (ring->is_reaping || (ring->in_ring == 0 && !ring->pended))
			condition_wait(&file->device.changed, &file->device.lock);
		else
			reap_locked(file);
	}
	mutex_unlock(&file->device.lock);
}

static void
ring_close(struct file *file)
{
	struct file_ring *ring = ring_of(file);

	assert(ring->in_ring == 0);
	io_uring_queue_exit(&ring->ring);
	free(ring);
}

static const struct file_engine engine_ring = {
	.submit = ring_submit,
	.wait = ring_wait,
	.close = ring_close,
};

int
file__open_ring(struct file *file)
{
	struct file_ring *ring = calloc(1, sizeof *ring);
	int host;

	if (!ring)
		return fail(COP_ENOMEM, "io_uring");
	host = io_uring_queue_init(RING_DEPTH, &ring->ring, 0);
	if (host != 0) {
		free(ring);
		return fail_errno(-host, "io_uring");
	}
	ring->pended_end = &ring->pended;
	file->engine = &engine_ring;
	file->engine_state = ring;
	return 0;
}
