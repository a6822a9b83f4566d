/*
 * Reading what is missing, each block once, whoever asks.
 *
 * Whoever finds an address absent claims it: a frame in state LOADING goes into the table, and
 * everyone else who wants it waits for that frame. A call claims all it can, reads its claims in
 * one batch, publishes every one of them, and only then waits for the claims of others. So a claim
 * never waits for anything but the device, and calls that overlap in any order cannot deadlock.
 *
 * A claim is in the table unless something pinned or dirty is there with the same address and
 * stamp, but of another length or verifier: then it is private, seen by nobody else and gone with
 * its pin. Only damage makes such a pair, and it must not take from somebody what he counts on to
 * be there.
 */
#include "cache/cache_internal.h"

#include <assert.h>
#include <stdlib.h>

enum { READ_IOV_MAX = 256 };

/* A request that was not a hit. */
struct load {
	struct cache_request *request;
	struct frame *frame; /* pinned */
};

/* The loads of one call: its own claims first, then, from the end, those of others. */
struct batch {
	struct load *loads;
	struct device_io *ios;
	struct device_io **io_list;
	struct iovec *iovs; /* one for each claim, in their order */
	size_t claims;
	size_t waits;
	size_t io_count;
};

/* What a batch for one request needs, to have it on the stack. */
struct batch_of_one {
	struct load load;
	struct device_io io;
	struct device_io *io_pointer;
	struct iovec iov;
};

static bool
answers(const struct frame *frame, const struct cache_request *request)
{
	const struct buffer *buffer = &frame->buffer;

	return buffer->blocks == request->blocks &&
	       (!buffer->verify || buffer->verify == request->verify);
}

static bool
get_resident(struct cache *cache, struct cache_request *request)
{
	struct shard *shard = cache__shard(cache, request->addr);
	struct frame *frame;

	mutex_lock(&shard->lock);
	frame = cache__find_locked(cache, shard, request->addr, request->stamp);
	if (frame && (!answers(frame, request) || frame->state == FRAME_LOADING))
		frame = NULL;
	if (frame)
		cache__pin_hit_locked(shard, frame);
	mutex_unlock(&shard->lock);

	request->buffer = frame ? &frame->buffer : NULL;
	request->result = frame ? 0 : ERR_MISSING;
	return frame != NULL;
}

static void
begin_claim_locked(struct cache *cache, struct shard *shard, struct frame *frame,
	const struct cache_request *request)
{
	frame->buffer.addr = request->addr;
	frame->buffer.stamp = request->stamp;
	frame->buffer.verify = request->verify;
	frame->state = FRAME_LOADING;
	atomic_store_explicit(&frame->refs, 1, memory_order_relaxed);
	if (!cache__find_locked(cache, shard, request->addr, request->stamp))
		cache__attach_locked(cache, shard, frame);
	shard->misses++;
}

/*
 * Pins whatever answers the request, loaded or loading; else, with a `spare` frame, makes that the
 * claim. NULL: absent, and no spare.
 */
static struct frame *
find_or_claim(struct cache *cache, const struct cache_request *request, struct frame *spare,
	bool *out_is_loading)
{
	struct shard *shard = cache__shard(cache, request->addr);
	struct frame *stale = NULL;
	struct frame *frame;

	mutex_lock(&shard->lock);
	frame = cache__find_locked(cache, shard, request->addr, request->stamp);
	if (frame && answers(frame, request)) {
		cache__pin_hit_locked(shard, frame);
		*out_is_loading = frame->state == FRAME_LOADING;
	} else if (spare) {
		stale = cache__detach_stale_locked(cache, shard, request->addr);
		begin_claim_locked(cache, shard, spare, request);
		frame = spare;
		*out_is_loading = true;
	} else {
		frame = NULL;
	}
	mutex_unlock(&shard->lock);

	if (stale)
		cache__frame_unref(cache, stale);
	return frame;
}

/* Claims, finds a claim to wait for, or answers the request with a buffer or COP_ENOMEM. */
static void
add_load(struct cache *cache, struct batch *batch, size_t capacity, struct cache_request *request)
{
	struct frame *spare = NULL;
	bool is_loading = false;
	struct frame *frame = find_or_claim(cache, request, NULL, &is_loading);

	if (!frame) {
		spare = cache__frame_take(cache, request->blocks, true);
		if (!spare) {
			request->result =
				fail(COP_ENOMEM, "buffer for block %" PRIu64, request->addr);
			return;
		}
		frame = find_or_claim(cache, request, spare, &is_loading);
	}

	if (frame == spare) {
		batch->loads[batch->claims++] = (struct load){ request, frame };
		return;
	}
	if (spare)
		cache__frame_put(cache, spare);
	if (is_loading) {
		batch->waits++;
		batch->loads[capacity - batch->waits] = (struct load){ request, frame };
	} else {
		request->buffer = &frame->buffer;
		request->result = 0;
	}
}

static int
compare_addr(const void *a, const void *b)
{
	uint64_t x = ((const struct load *)a)->request->addr;
	uint64_t y = ((const struct load *)b)->request->addr;

	return x < y ? -1 : x > y;
}

/* Claims in order of address become requests, neighbours one together. */
static void
build_ios(struct batch *batch)
{
	struct device_io *io = NULL;

	for (size_t i = 0; i < batch->claims; i++) {
		struct buffer *buffer = &batch->loads[i].frame->buffer;

		batch->iovs[i].iov_base = buffer->data;
		batch->iovs[i].iov_len = (size_t)buffer->blocks * BLOCK_BYTES;
		if (io && io->iov_count < READ_IOV_MAX && io->addr + io->blocks == buffer->addr) {
			io->iov_count++;
			io->blocks += buffer->blocks;
			continue;
		}
		io = &batch->ios[batch->io_count];
		device_io_init(io, DEVICE_READ, buffer->addr, buffer->blocks, buffer->data);
		io->iov = &batch->iovs[i];
		batch->io_list[batch->io_count++] = io;
	}
}

/*
 * What became of one buffer after its request ended. When several failed together,
 * each is read again alone: the others may be good.
 */
static int
judge(struct cache *cache, const struct load *load, const struct device_io *io)
{
	const struct cache_request *request = load->request;
	const struct buffer *buffer = &load->frame->buffer;
	int err = io->result;

	if (err && io->iov_count > 1)
		err = device_read(cache->dev, buffer->addr, buffer->data, buffer->blocks);
	if (err)
		return fail(err, "reading block %" PRIu64, buffer->addr);
	if (!request->verify)
		return 0;
	return request->verify(
		request->context, buffer->addr, buffer->stamp, buffer->data, buffer->blocks);
}

/* Ends the claim: those who wait see the buffer or the error. */
static void
publish(struct cache *cache, struct frame *frame, int err)
{
	struct shard *shard = cache__shard(cache, frame->buffer.addr);
	bool was_in_table;

	mutex_lock(&shard->lock);
	assert(frame->state == FRAME_LOADING);
	was_in_table = frame->is_in_table;
	frame->error = err;
	frame->state = err ? FRAME_FAILED : FRAME_CLEAN;
	if (was_in_table && err)
		cache__detach_locked(cache, shard, frame);
	else if (was_in_table)
		cache__fifo_add(&shard->fifo, frame);
	/* Release: whoever sees it sees the bytes. */
	if (!err)
		atomic_store_explicit(&frame->is_readable, true, memory_order_release);
	if (shard->waiting > 0)
		condition_wake_all(&shard->loaded);
	mutex_unlock(&shard->lock);

	if (was_in_table && err)
		cache__frame_unref(cache, frame);
}

static void
answer(struct cache *cache, const struct load *load, int err)
{
	if (err)
		cache__frame_unref(cache, load->frame);
	else
		load->request->buffer = &load->frame->buffer;
	load->request->result = err;
}

static void
read_claims(struct cache *cache, struct batch *batch)
{
	const struct load *load = batch->loads;

	if (batch->claims > 1)
		qsort(batch->loads, batch->claims, sizeof *batch->loads, compare_addr);
	build_ios(batch);
	if (batch->io_count == 1)
		device_run(cache->dev, batch->io_list, 1);
	else
		device_submit(cache->dev, batch->io_list, batch->io_count);
	for (size_t i = 0; i < batch->io_count; i++) {
		const struct device_io *io = &batch->ios[i];

		device_wait(cache->dev, &batch->ios[i]);
		for (uint32_t n = 0; n < io->iov_count; n++, load++) {
			int err = judge(cache, load, io);

			publish(cache, load->frame, err);
			answer(cache, load, err);
		}
	}
}

static void
wait_for_claim(struct cache *cache, const struct load *load)
{
	struct frame *frame = load->frame;
	struct shard *shard = cache__shard(cache, frame->buffer.addr);
	int err;

	mutex_lock(&shard->lock);
	shard->waiting++;
	while (frame->state == FRAME_LOADING)
		condition_wait(&shard->loaded, &shard->lock);
	shard->waiting--;
	err = frame->error;
	mutex_unlock(&shard->lock);

	if (err)
		(void)fail(err, "block %" PRIu64 ", which another thread read", frame->buffer.addr);
	answer(cache, load, err);
}

static void
load_missing(struct cache *cache, struct batch *batch, size_t capacity,
	struct cache_request *requests, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (requests[i].result == ERR_MISSING)
			add_load(cache, batch, capacity, &requests[i]);
	}
	if (batch->claims > 0)
		read_claims(cache, batch);
	for (size_t i = capacity - batch->waits; i < capacity; i++)
		wait_for_claim(cache, &batch->loads[i]);
}

int
cache_get(struct cache *cache, struct cache_request *request)
{
	struct batch_of_one one;
	struct batch batch = {
		.loads = &one.load,
		.ios = &one.io,
		.io_list = &one.io_pointer,
		.iovs = &one.iov,
	};

	lock_assert_none_held();
	if (!get_resident(cache, request))
		load_missing(cache, &batch, 1, request, 1);
	return request->result;
}

static void
fail_missing(struct cache_request *requests, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (requests[i].result == ERR_MISSING)
			requests[i].result = fail(COP_ENOMEM, "reading %zu buffers", count);
	}
}

int
cache_get_many(struct cache *cache, struct cache_request *requests, size_t count)
{
	struct batch batch = { 0 };
	size_t missing = 0;

	lock_assert_none_held();
	for (size_t i = 0; i < count; i++)
		missing += !get_resident(cache, &requests[i]);
	if (missing == 0)
		return 0;

	batch.loads = calloc(missing, sizeof *batch.loads);
	batch.ios = calloc(missing, sizeof *batch.ios);
	batch.io_list = calloc(missing, sizeof *batch.io_list);
	batch.iovs = calloc(missing, sizeof *batch.iovs);
	if (batch.loads && batch.ios && batch.io_list && batch.iovs)
		load_missing(cache, &batch, missing, requests, count);
	else
		fail_missing(requests, count);
	free(batch.loads);
	free(batch.ios);
	free(batch.io_list);
	free(batch.iovs);

	for (size_t i = 0; i < count; i++) {
		if (requests[i].result)
			return requests[i].result;
	}
	return 0;
}
