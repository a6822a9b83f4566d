/*
 * file_pool: batches of the file driver by threads, where the host refuses io_uring.
 *
 *   device_submit  appends to `queue`, and starts threads while there are fewer than requests
 *   a thread       takes the oldest request, runs it, appends it to `finished`
 *   device_wait    takes what is finished and runs its completions; with nothing finished it does
 *                  a request of the queue itself, and only then sleeps
 *
 * So completions run on threads of the caller only, as with io_uring, and without any thread (the
 * host refused those as well) everything still gets done.
 */

#include "base/thread.h"
#include "device/file_internal.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

enum {
	POOL_THREADS = 32, /* a disk's queue; they sleep most of the time */
	STACK_BYTES = 256 * 1024,
};

struct request_list {
	struct device_io *first; /* device_io.next; borrowed */
	struct device_io **end;
};

struct file_pool {
	struct file *file;

	/* Guarded by the device's lock. */
	struct condition work; /* something is queued, or the end has come */
	struct request_list queue;
	struct request_list finished;
	uint32_t queued;
	uint32_t running;    /* taken from the queue, not yet finished */
	uint32_t completing; /* taken from `finished`, `done` not yet returned */
	uint32_t idle;
	uint32_t thread_count;
	pthread_t threads[POOL_THREADS];
	bool is_closing;
};

static struct file_pool *
pool_of(struct file *file)
{
	return file->engine_state;
}

static void
list_init(struct request_list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

static void
list_append(struct request_list *list, struct device_io *io)
{
	io->next = NULL;
	*list->end = io;
	list->end = &io->next;
}

static struct device_io *
list_take(struct request_list *list)
{
	struct device_io *io = list->first;

	assert(io);
	list->first = io->next;
	if (!list->first)
		list->end = &list->first;
	return io;
}

/* Runs the oldest request of the queue, with the lock given up meanwhile. */
static void
run_one_locked(struct file_pool *pool)
{
	struct file *file = pool->file;
	struct device_io *io = list_take(&pool->queue);

	mutex_assert_held(&file->device.lock);
	pool->queued--;
	pool->running++;
	device_flight_begin(&file->device, 1);
	mutex_unlock(&file->device.lock);

	io->result = file__run(file, io);

	mutex_lock(&file->device.lock);
	device_flight_end(&file->device, 1);
	pool->running--;
	list_append(&pool->finished, io);
	condition_wake_all(&file->device.changed);
}

static void *
work(void *context)
{
	struct file_pool *pool = context;
	struct file *file = pool->file;

	mutex_lock(&file->device.lock);
	while (!pool->is_closing) {
		if (pool->queue.first) {
			run_one_locked(pool);
		} else {
			pool->idle++;
			condition_wait(&pool->work, &file->device.lock);
			pool->idle--;
		}
	}
	mutex_unlock(&file->device.lock);
	return NULL;
}

/* A refusal is no error: callers do the work. */
static void
start_thread_locked(struct file_pool *pool)
{
	pthread_attr_t attr;

	if (pthread_attr_init(&attr) != 0)
		return;
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES); /* else it has the usual size */
	if (thread_start(&pool->threads[pool->thread_count], &attr, work, pool) == 0)
		pool->thread_count++;
	(void)pthread_attr_destroy(&attr);
}

static void
pool_submit(struct file *file, struct device_io *const *ios, size_t count)
{
	struct file_pool *pool = pool_of(file);
	uint32_t want;

	mutex_lock(&file->device.lock);
	for (size_t i = 0; i < count; i++)
		list_append(&pool->queue, ios[i]);
	pool->queued += (uint32_t)count;

	want = pool->queued > pool->idle ? pool->queued - pool->idle : 0;
	while (want-- > 0 && pool->thread_count < POOL_THREADS) {
		uint32_t before = pool->thread_count;

		start_thread_locked(pool);
		if (pool->thread_count == before)
			break;
	}
	condition_wake_all(&pool->work);
	mutex_unlock(&file->device.lock);
}

static bool
is_finished_locked(const struct file_pool *pool, const struct device_io *io)
{
	if (io)
		return atomic_load_explicit(&io->is_done, memory_order_acquire);
	return pool->queued == 0 && pool->running == 0 && !pool->finished.first &&
	       pool->completing == 0;
}

static void
pool_wait(struct file *file, struct device_io *io)
{
	struct file_pool *pool = pool_of(file);

	mutex_lock(&file->device.lock);
	while (!is_finished_locked(pool, io)) {
		if (pool->finished.first) {
			struct device_io *done = list_take(&pool->finished);

			pool->completing++;
			mutex_unlock(&file->device.lock);
			device_complete(&file->device, done, done->result);
			mutex_lock(&file->device.lock);
			pool->completing--;
			condition_wake_all(&file->device.changed);
		} else if (pool->queue.first) {
			run_one_locked(pool);
		} else {
			condition_wait(&file->device.changed, &file->device.lock);
		}
	}
	mutex_unlock(&file->device.lock);
}

static void
pool_close(struct file *file)
{
	struct file_pool *pool = pool_of(file);

	mutex_lock(&file->device.lock);
	pool->is_closing = true;
	condition_wake_all(&pool->work);
	mutex_unlock(&file->device.lock);
	for (uint32_t i = 0; i < pool->thread_count; i++) {
		int host = pthread_join(pool->threads[i], NULL);

		assert(host == 0);
		(void)host;
	}
	condition_fini(&pool->work);
	free(pool);
}

static const struct file_engine engine_pool = {
	.submit = pool_submit,
	.wait = pool_wait,
	.close = pool_close,
};

int
file__open_pool(struct file *file)
{
	struct file_pool *pool = calloc(1, sizeof *pool);
	int err;

	if (!pool)
		return fail(COP_ENOMEM, "pool of threads");
	err = condition_init(&pool->work);
	if (err) {
		free(pool);
		return err;
	}
	list_init(&pool->queue);
	list_init(&pool->finished);
	pool->file = file;
	file->engine = &engine_pool;
	file->engine_state = pool;
	return 0;
}
