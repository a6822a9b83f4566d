/*
 * The queue for tickets: first come, first served, and only one at its head.
 *
 * Who is at the head may wait, for memory or a checkpoint, with all others behind. Mostly he need
 * not, and is there for less than a microsecond; to wake the next thread for its own microsecond
 * would take ten times as long, and with more threads than cores each would pay that for every
 * ticket. So he who leaves the head answers those behind himself (flat combining): each has left a
 * request that can be tried without waiting. At the first that cannot be answered so, and after
 * QUEUE_RUN of them, he hands the head over.
 *
 * Source  Hendler, Incze, Shavit, Tzafrir, "Flat combining and the synchronization-parallelism
 *         tradeoff" (SPAA 2010).
 */

#include "volume/volume_internal.h"

#include <assert.h>

/* One who waits; on his stack. */
struct waiting {
	struct waiting *next;
	const struct request *request;
	struct condition *turn;
	bool is_answered;
	bool is_head;
};

int
volume__queue_init(struct volume *volume)
{
	uint32_t count = 0;
	int err = 0;

	volume->queue_last = &volume->queue_first;
	while (err == 0 && count < QUEUE_TURNS) {
		err = condition_init(&volume->queue_turns[count]);
		count += err == 0;
	}
	while (err && count > 0)
		condition_fini(&volume->queue_turns[--count]);
	return err;
}

void
volume__queue_fini(struct volume *volume)
{
	assert(!volume->queue_first);
	for (uint32_t i = 0; i < QUEUE_TURNS; i++)
		condition_fini(&volume->queue_turns[i]);
}

bool
volume__queue_enter(
	struct volume *volume, struct volume_visit *visit, const struct request *request)
{
	struct waiting mine = { .request = request };

	volume_leave(volume, visit);
	mutex_lock(&volume->state);
	if (!volume->queue_has_head) {
		volume->queue_has_head = true;
		mine.is_head = true;
	} else {
		mine.turn = &volume->queue_turns[volume->queue_count++ % QUEUE_TURNS];
		*volume->queue_last = &mine;
		volume->queue_last = &mine.next;
		while (!mine.is_head && !mine.is_answered)
			condition_wait(mine.turn, &volume->state);
	}
	mutex_unlock(&volume->state);
	if (mine.is_answered)
		volume_enter(volume, visit);
	return mine.is_head;
}

/* The next of those behind; without any, the head is free. */
static struct waiting *
take_next(struct volume *volume)
{
	struct waiting *next;

	mutex_lock(&volume->state);
	assert(volume->queue_has_head);
	next = volume->queue_first;
	if (next) {
		volume->queue_first = next->next;
		if (!volume->queue_first)
			volume->queue_last = &volume->queue_first;
	} else {
		volume->queue_has_head = false;
	}
	mutex_unlock(&volume->state);
	return next;
}

/* He may go: `waiting` is gone when this returns. */
static void
let_go(struct volume *volume, struct waiting *waiting, bool is_answered)
{
	mutex_lock(&volume->state);
	waiting->is_answered = is_answered;
	waiting->is_head = !is_answered;
	condition_wake_all(waiting->turn);
	mutex_unlock(&volume->state);
}

void
volume__queue_leave(struct volume *volume, struct volume_visit *visit)
{
	for (int run = 0;; run++) {
		struct waiting *next = take_next(volume);
		bool is_answered = false;

		if (!next)
			break;
		if (run < QUEUE_RUN && next->request->try)
			is_answered = next->request->try(volume, next->request->context);
		let_go(volume, next, is_answered);
		if (!is_answered)
			break;
	}
	volume_enter(volume, visit);
}
