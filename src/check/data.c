/*
 * Reading and verifying blocks of data.
 *
 * What is to be verified is collected, up to some 64 MiB of it, and then read in the order of its
 * addresses, neighbours in one request and many requests in flight. So reading is nearly sequential
 * however names and files lie. A request that fails is read again block by block: it tells which
 * blocks are bad, and it may span several objects.
 */

#include "check/check_internal.h"

#include "base/checksum.h"
#include "base/num.h"

#include <assert.h>
#include <stdlib.h>

struct data_item {
	uint64_t addr;
	uint64_t object;
	uint64_t offset;
	uint32_t blocks;
	uint32_t bytes;        /* of content; what follows in the block where they end is zero */
	uint32_t checksums_at; /* in the pool */
	bool is_previous;
	const char *what;
};

/* Items [first, end) of the queue, which lie side by side. */
struct data_request {
	struct device_io io;
	size_t first;
	size_t end;
	uint8_t *buffer; /* owned */
};

struct data_queue {
	struct data_item *items; /* owned, `capacity` of them */
	uint64_t *checksums;     /* owned, as many */
	size_t count;
	uint32_t checksum_count;
	uint32_t capacity;
	struct data_request *requests; /* owned: a ring */
	uint32_t in_flight_max;
	uint32_t request_blocks;
};

int
data__begin(struct checker *checker)
{
	const struct check_limits *limits = &checker->limits;
	struct data_queue *queue = calloc(1, sizeof *queue);

	assert(limits->data_request_blocks >= EXTENT_BLOCKS_MAX);
	assert(limits->data_blocks >= EXTENT_BLOCKS_MAX);
	if (!queue)
		return fail(COP_ENOMEM, "check");
	checker->data = queue;
	queue->capacity = limits->data_blocks;
	queue->in_flight_max = limits->data_in_flight;
	queue->request_blocks = limits->data_request_blocks;
	if (checker->options.flags & COP_CHECK_METADATA)
		return 0; /* nothing will come */
	queue->items = calloc(queue->capacity, sizeof queue->items[0]);
	queue->checksums = calloc(queue->capacity, sizeof queue->checksums[0]);
	queue->requests = calloc(queue->in_flight_max, sizeof queue->requests[0]);
	if (!queue->items || !queue->checksums || !queue->requests)
		return fail(COP_ENOMEM, "check");
	for (uint32_t i = 0; i < queue->in_flight_max; i++) {
		queue->requests[i].buffer = block_buffer_alloc(queue->request_blocks);
		if (!queue->requests[i].buffer)
			return fail(COP_ENOMEM, "check");
	}
	return 0;
}

void
data__end(struct checker *checker)
{
	struct data_queue *queue = checker->data;

	if (!queue)
		return;
	for (uint32_t i = 0; queue->requests && i < queue->in_flight_max; i++)
		free(queue->requests[i].buffer);
	free(queue->requests);
	free(queue->checksums);
	free(queue->items);
	free(queue);
	checker->data = NULL;
}

/* ---- Judging --------------------------------------------------------------------------------- */

enum verdict {
	GOOD,
	UNREADABLE,
	MISMATCH,
	NOT_ZERO, /* past the end */
};

static const char *
verdict_text(enum verdict verdict)
{
	switch (verdict) {
	case UNREADABLE:
		return "cannot be read";
	case MISMATCH:
		return "wrong checksum";
	case NOT_ZERO:
		return "bytes past the end are not zero";
	case GOOD:
		break;
	}
	return "sound";
}

static enum verdict
judge_block(struct checker *checker, const struct data_item *item, uint32_t index, uint8_t *block,
	int result)
{
	uint64_t start = (uint64_t)index * BLOCK_BYTES;
	uint64_t content = item->bytes > start ? item->bytes - start : 0;

	if (result != 0 && device_read(checker->dev, item->addr + index, block, 1) != 0) {
		err_clear();
		return UNREADABLE;
	}
	if (checksum64(block, BLOCK_BYTES) != checker->data->checksums[item->checksums_at + index])
		return MISMATCH;
	if (content > 0 && content < BLOCK_BYTES &&
		!bytes_are_zero(block + content, BLOCK_BYTES - content))
		return NOT_ZERO;
	return GOOD;
}

/* Blocks [first, end) of an item have the same verdict. */
static void
report_blocks(struct checker *checker, const struct data_item *item, uint32_t first, uint32_t end,
	enum verdict verdict)
{
	uint64_t start = (uint64_t)first * BLOCK_BYTES;
	uint64_t stop = (uint64_t)end * BLOCK_BYTES;
	struct finding finding = {
		.class_ = COP_PROBLEM_DATA,
		.object = item->object,
		.offset = item->offset + start,
		.bytes = (verdict == NOT_ZERO ? stop
					      : max_u64(start + 1, min_u64(stop, item->bytes))) -
			 start,
		.block = item->addr + first,
	};

	if (verdict == GOOD || first == end)
		return;
	report__problem(checker, &finding, "%s at byte %" PRIu64 ", block %" PRIu64 "%s: %s",
		item->what, finding.offset, finding.block,
		item->is_previous ? ", of the checkpoint before the newest" : "",
		verdict_text(verdict));
}

static void
judge_item(struct checker *checker, const struct data_item *item, uint8_t *buffer, int result)
{
	enum verdict run = GOOD;
	uint32_t run_first = 0;

	for (uint32_t i = 0; i < item->blocks; i++) {
		enum verdict verdict =
			judge_block(checker, item, i, buffer + (size_t)i * BLOCK_BYTES, result);

		if (verdict != run) {
			report_blocks(checker, item, run_first, i, run);
			run = verdict;
			run_first = i;
		}
	}
	report_blocks(checker, item, run_first, item->blocks, run);
	if (item->is_previous)
		return;
	checker->result.data_blocks += item->blocks;
	checker->result.verified_bytes += (uint64_t)item->blocks * BLOCK_BYTES;
	(void)report__progress(checker, (uint64_t)item->blocks * BLOCK_BYTES);
}

static void
judge_request(struct checker *checker, const struct data_request *request)
{
	const struct data_queue *queue = checker->data;
	uint64_t start = queue->items[request->first].addr;

	for (size_t i = request->first; i < request->end && !checker->err; i++)
		judge_item(checker, &queue->items[i],
			request->buffer + (queue->items[i].addr - start) * BLOCK_BYTES,
			request->io.result);
}

/* ---- Reading --------------------------------------------------------------------------------- */

static int
compare_item(const void *a, const void *b)
{
	const struct data_item *x = a;
	const struct data_item *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

/* The next items that lie side by side, up to a request's size. */
static void
request_fill(const struct data_queue *queue, struct data_request *request, size_t first)
{
	uint64_t addr = queue->items[first].addr;
	uint64_t blocks = 0;

	request->first = first;
	request->end = first;
	while (request->end < queue->count && queue->items[request->end].addr == addr + blocks &&
		blocks + queue->items[request->end].blocks <= queue->request_blocks)
		blocks += queue->items[request->end++].blocks;
	device_io_init(&request->io, DEVICE_READ, addr, blocks, request->buffer);
}

void
data__finish(struct checker *checker)
{
	struct data_queue *queue = checker->data;
	size_t submitted = 0; /* requests */
	size_t done = 0;
	size_t next = 0; /* item */

	if (queue->count == 0)
		return;
	qsort(queue->items, queue->count, sizeof queue->items[0], compare_item);
	while (next < queue->count || done < submitted) {
		struct device_io *batch[64];
		size_t batch_count = 0;
		struct data_request *oldest;

		while (next < queue->count && submitted - done < queue->in_flight_max &&
			batch_count < 64 && !checker->err) {
			struct data_request *request =
				&queue->requests[submitted++ % queue->in_flight_max];

			request_fill(queue, request, next);
			next = request->end;
			batch[batch_count++] = &request->io;
		}
		if (batch_count > 0)
			device_submit(checker->dev, batch, batch_count);
		if (done == submitted)
			break; /* stopped */
		oldest = &queue->requests[done++ % queue->in_flight_max];
		device_wait(checker->dev, &oldest->io);
		judge_request(checker, oldest);
	}
	queue->count = 0;
	queue->checksum_count = 0;
}

void
data__verify(struct checker *checker, const struct data_run *run)
{
	struct data_queue *queue = checker->data;

	assert(run->blocks <= EXTENT_BLOCKS_MAX);
	if (run->addr >= checker->sb.blocks || run->blocks > checker->sb.blocks - run->addr)
		return; /* the claim has said so */
	if (queue->checksum_count + run->blocks > queue->capacity)
		data__finish(checker);
	queue->items[queue->count++] = (struct data_item){
		.addr = run->addr,
		.object = run->object,
		.offset = run->offset,
		.blocks = run->blocks,
		.bytes = run->bytes,
		.checksums_at = queue->checksum_count,
		.is_previous = run->is_previous,
		.what = run->what,
	};
	memcpy(queue->checksums + queue->checksum_count, run->checksums,
		run->blocks * sizeof run->checksums[0]);
	queue->checksum_count += run->blocks;
}
