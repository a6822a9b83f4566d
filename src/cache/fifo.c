/*
 * S3-FIFO. What is new enters the small queue, a tenth of the memory. Its oldest frame leaves the
 * cache unless it was hit more than once meanwhile; then it goes to the main queue. There the
 * oldest goes round again while it has hits, losing one each time. So what is read once, in a scan
 * of any length, passes through a tenth of the cache.
 *
 * A *ghost* remembers who left the small queue lately: asked for again, it enters the main queue.
 * A ghost counts for as many departures as there are frames now. Ghosts are prints of 32 bits in
 * sets of four; a mistaken print costs a place in the main queue and nothing else.
 *
 * Both shares are by blocks, because frames differ in size. Pinned frames go round like popular
 * ones.
 */
#include "cache/cache_internal.h"

#include "base/num.h"

#include <assert.h>
#include <stdlib.h>

enum {
	SMALL_SHARE = 10, /* the small queue is one part in this many */
	GHOST_WAYS = 4,
	HITS_TO_STAY = 2,
};

static uint64_t
ghost_hash(const struct frame *frame)
{
	uint64_t hash = frame->buffer.addr * UINT64_C(0x9e3779b97f4a7c15) ^ frame->buffer.stamp;

	hash = (hash ^ hash >> 32) * UINT64_C(0xd6e8feb86659fd93);
	return hash ^ hash >> 32;
}

static struct ghost *
ghost_set(struct fifo *fifo, uint64_t hash)
{
	return &fifo->ghosts[(hash >> 32 & (fifo->ghost_sets - 1)) * GHOST_WAYS];
}

static uint32_t
ghost_print(uint64_t hash)
{
	return (uint32_t)hash | 1;
}

static void
remember(struct fifo *fifo, const struct frame *frame)
{
	uint64_t hash = ghost_hash(frame);
	struct ghost *set = ghost_set(fifo, hash);
	struct ghost *oldest = set;

	for (struct ghost *ghost = set; ghost < set + GHOST_WAYS; ghost++) {
		if (ghost->print == 0 || ghost->print == ghost_print(hash)) {
			oldest = ghost;
			break;
		}
		if (fifo->time - ghost->time > fifo->time - oldest->time)
			oldest = ghost;
	}
	*oldest = (struct ghost){ .print = ghost_print(hash), .time = fifo->time++ };
}

/* Asks and forgets. */
static bool
recall(struct fifo *fifo, const struct frame *frame)
{
	uint64_t hash = ghost_hash(frame);
	struct ghost *set = ghost_set(fifo, hash);

	for (struct ghost *ghost = set; ghost < set + GHOST_WAYS; ghost++) {
		if (ghost->print == ghost_print(hash)) {
			ghost->print = 0;
			return fifo->time - ghost->time <= fifo->small.count + fifo->main.count;
		}
	}
	return false;
}

static struct queue *
queue_of(struct fifo *fifo, const struct frame *frame)
{
	assert(frame->queue != QUEUE_NONE);
	return frame->queue == QUEUE_SMALL ? &fifo->small : &fifo->main;
}

static void
push(struct fifo *fifo, struct frame *frame, enum frame_queue id)
{
	struct queue *queue;

	assert(frame->queue == QUEUE_NONE);
	frame->queue = (uint8_t)id;
	queue = queue_of(fifo, frame);
	frame->queue_prev = NULL;
	frame->queue_next = queue->newest;
	if (queue->newest)
		queue->newest->queue_prev = frame;
	else
		queue->oldest = frame;
	queue->newest = frame;
	queue->count++;
	queue->blocks += frame_blocks(frame);
}

static bool
small_is_full(const struct fifo *fifo)
{
	return fifo->small.count > 0 &&
	       fifo->small.blocks * SMALL_SHARE >= fifo->small.blocks + fifo->main.blocks;
}

/* The oldest of the small queue: the victim, or NULL and it is in the main queue now. */
static struct frame *
step_small(struct fifo *fifo)
{
	struct frame *frame = fifo->small.oldest;

	cache__fifo_remove(fifo, frame);
	if (!cache__frame_is_pinned(frame) && frame->hits < HITS_TO_STAY) {
		remember(fifo, frame);
		return frame;
	}
	frame->hits = 0;
	push(fifo, frame, QUEUE_MAIN);
	return NULL;
}

static struct frame *
go_round_main(struct fifo *fifo)
{
	/* After so many steps each frame has lost all its hits and was looked at once more; what
	 * was hit meanwhile has had its chance. */
	uint64_t frames = fifo->main.count;
	uint64_t steps = frames * (FRAME_HITS_MAX + 1);

	for (; steps > 0; steps--) {
		struct frame *frame = fifo->main.oldest;
		bool is_last_round = steps <= frames;

		cache__fifo_remove(fifo, frame);
		if ((frame->hits == 0 || is_last_round) && !cache__frame_is_pinned(frame))
			return frame;
		if (frame->hits > 0)
			frame->hits--;
		push(fifo, frame, QUEUE_MAIN);
	}
	return NULL;
}

int
cache__fifo_init(struct fifo *fifo, uint64_t frames)
{
	uint32_t sets = 1;

	*fifo = (struct fifo){ 0 };
	while (sets < UINT32_MAX / 2 && (uint64_t)sets * GHOST_WAYS < frames)
		sets *= 2;
	fifo->ghosts = calloc((size_t)sets * GHOST_WAYS, sizeof *fifo->ghosts);
	if (!fifo->ghosts)
		return fail(COP_ENOMEM, "cache for %" PRIu64 " buffers", frames);
	fifo->ghost_sets = sets;
	return 0;
}

void
cache__fifo_fini(struct fifo *fifo)
{
	free(fifo->ghosts);
	*fifo = (struct fifo){ 0 };
}

void
cache__fifo_add(struct fifo *fifo, struct frame *frame)
{
	push(fifo, frame, recall(fifo, frame) ? QUEUE_MAIN : QUEUE_SMALL);
}

void
cache__fifo_remove(struct fifo *fifo, struct frame *frame)
{
	struct queue *queue = queue_of(fifo, frame);

	if (frame->queue_prev)
		frame->queue_prev->queue_next = frame->queue_next;
	else
		queue->newest = frame->queue_next;
	if (frame->queue_next)
		frame->queue_next->queue_prev = frame->queue_prev;
	else
		queue->oldest = frame->queue_prev;
	queue->count--;
	queue->blocks -= frame_blocks(frame);
	frame->queue_prev = NULL;
	frame->queue_next = NULL;
	frame->queue = QUEUE_NONE;
}

struct frame *
cache__fifo_take_victim(struct fifo *fifo)
{
	struct frame *frame = NULL;

	while (!frame && small_is_full(fifo))
		frame = step_small(fifo);
	if (!frame)
		frame = go_round_main(fifo);

	/* All of the main queue is pinned: the small one is asked beyond its share. */
	while (!frame && fifo->small.count > 0)
		frame = step_small(fifo);
	if (!frame)
		frame = go_round_main(fifo); /* what has just come over */
	return frame;
}

static void
queue_assert_sound(const struct queue *queue, enum frame_queue id)
{
	const struct frame *prev = NULL;
	uint64_t count = 0;
	uint64_t blocks = 0;

	for (const struct frame *frame = queue->newest; frame; frame = frame->queue_next) {
		assert(frame->queue_prev == prev);
		assert(frame->queue == id);
		assert(frame->state == FRAME_CLEAN);
		assert(frame->is_in_table);
		assert(frame->hits <= FRAME_HITS_MAX);
		prev = frame;
		count++;
		blocks += frame_blocks(frame);
	}
	assert(queue->oldest == prev);
	assert(queue->count == count);
	assert(queue->blocks == blocks);
}

void
cache__fifo_assert_sound(const struct fifo *fifo)
{
	assert(is_power_of_two(fifo->ghost_sets));
	queue_assert_sound(&fifo->small, QUEUE_SMALL);
	queue_assert_sound(&fifo->main, QUEUE_MAIN);
}
