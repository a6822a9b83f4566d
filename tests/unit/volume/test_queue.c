/* The queue for tickets. */

#include "volume/volume_internal.h"
#include "world.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

enum { WAITERS_MAX = QUEUE_RUN + 8 };

/* What became of those who waited, in the order in which it happened. */
struct log {
	struct volume *volume;
	atomic_uint count;
	struct {
		uint32_t number;
		pthread_t thread; /* that tried, or was at the head */
		bool at_head;
	} entries[2 * WAITERS_MAX];
};

struct waiter {
	struct log *log;
	uint32_t number;
	bool can_be_answered;
	bool comes_in_person;
	bool was_head; /* out */
	pthread_t thread;
};

static void
note(struct log *log, uint32_t number, bool at_head)
{
	uint32_t index = atomic_fetch_add(&log->count, 1);

	log->entries[index].number = number;
	log->entries[index].thread = pthread_self();
	log->entries[index].at_head = at_head;
}

static bool
try_waiter(struct volume *volume, void *context)
{
	struct waiter *waiter = context;

	(void)volume;
	if (waiter->can_be_answered)
		note(waiter->log, waiter->number, false);
	return waiter->can_be_answered;
}

static void *
wait_in_queue(void *context)
{
	struct waiter *waiter = context;
	struct volume *volume = waiter->log->volume;
	struct request request = { .context = waiter };
	struct volume_visit visit;

	if (!waiter->comes_in_person)
		request.try = try_waiter;
	volume_enter(volume, &visit);
	waiter->was_head = volume__queue_enter(volume, &visit, &request);
	if (waiter->was_head) {
		note(waiter->log, waiter->number, true);
		volume__queue_leave(volume, &visit);
	}
	volume_leave(volume, &visit);
	return NULL;
}

/* Starts them one after the other, each when the one before is in the queue. */
static void
start(struct log *log, struct waiter *waiters, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint64_t before = log->volume->queue_count;
		uint64_t now;

		waiters[i].log = log;
		waiters[i].number = i;
		assert_int_equal(
			pthread_create(&waiters[i].thread, NULL, wait_in_queue, &waiters[i]), 0);
		do {
			sched_yield();
			mutex_lock(&log->volume->state);
			now = log->volume->queue_count;
			mutex_unlock(&log->volume->state);
		} while (now == before);
	}
}

/* The test's thread is at the head while they come, then leaves. All have their turn in order. */
static void
run(struct world *world, struct log *log, struct waiter *waiters, uint32_t count)
{
	const struct request in_person = { 0 };

	*log = (struct log){ .volume = world->volume };
	assert_true(volume__queue_enter(world->volume, &world->visit, &in_person));
	start(log, waiters, count);
	assert_int_equal(atomic_load(&log->count), 0);
	volume__queue_leave(world->volume, &world->visit);
	for (uint32_t i = 0; i < count; i++)
		pthread_join(waiters[i].thread, NULL);
	assert_int_equal(atomic_load(&log->count), count);
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(log->entries[i].number, i);
		assert_int_equal(log->entries[i].at_head, waiters[i].was_head);
	}
	assert_false(world->volume->queue_has_head);
}

static void
answers_those_behind_in_their_order(void **state)
{
	struct world world = { 0 };
	struct waiter waiters[8];
	struct log log;

	(void)state;
	world_format(&world, 64 * MIB, 0);
	for (size_t i = 0; i < 8; i++)
		waiters[i] = (struct waiter){ .can_be_answered = true };
	run(&world, &log, waiters, 8);
	for (size_t i = 0; i < 8; i++) {
		assert_false(waiters[i].was_head);
		assert_true(pthread_equal(log.entries[i].thread, pthread_self()));
	}
	world_end(&world);
}

static void
hands_over_to_whom_it_cannot_answer(void **state)
{
	struct world world = { 0 };
	struct waiter waiters[8];
	struct log log;

	(void)state;
	world_format(&world, 64 * MIB, 0);
	for (size_t i = 0; i < 8; i++)
		waiters[i] =
			(struct waiter){ .can_be_answered = i != 2, .comes_in_person = i == 5 };
	run(&world, &log, waiters, 8);
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(waiters[i].was_head, i == 2 || i == 5);
	assert_true(pthread_equal(log.entries[1].thread, pthread_self()));
	assert_true(pthread_equal(log.entries[4].thread, waiters[2].thread));
	assert_true(pthread_equal(log.entries[7].thread, waiters[5].thread));
	world_end(&world);
}

static void
hands_over_after_so_many(void **state)
{
	struct world world = { 0 };
	struct waiter waiters[WAITERS_MAX];
	struct log log;

	(void)state;
	world_format(&world, 64 * MIB, 0);
	for (size_t i = 0; i < WAITERS_MAX; i++)
		waiters[i] = (struct waiter){ .can_be_answered = true };
	run(&world, &log, waiters, WAITERS_MAX);
	for (size_t i = 0; i < WAITERS_MAX; i++)
		assert_int_equal(waiters[i].was_head, i == QUEUE_RUN);
	world_end(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_those_behind_in_their_order),
		cmocka_unit_test(hands_over_to_whom_it_cannot_answer),
		cmocka_unit_test(hands_over_after_so_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
