#include "base/lock.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

static const int64_t ns_per_second = 1000000000;

/*
 * What this thread holds: a bit for each rank. Enough to assert the order, because no rank is ever
 * held twice by one thread.
 */
#ifdef COP_CHECKED
static _Thread_local unsigned held_ranks;
static _Thread_local bool gate_is_exclusive;
static _Thread_local uint64_t locks_taken;

static void
rank_acquire(enum lock_rank rank)
{
	assert(held_ranks >> rank == 0); /* only higher ranks may follow */
	held_ranks |= 1U << rank;
	locks_taken += rank != LOCK_EPOCH;
}

static void
rank_release(enum lock_rank rank)
{
	assert(held_ranks & 1U << rank);
	held_ranks &= ~(1U << rank);
}

static void
rank_assert_held(enum lock_rank rank)
{
	assert(held_ranks & 1U << rank);
}
#else
static void
rank_acquire(enum lock_rank rank)
{
	(void)rank;
}

static void
rank_release(enum lock_rank rank)
{
	(void)rank;
}

static void
rank_assert_held(enum lock_rank rank)
{
	(void)rank;
}
#endif

void
lock_assert_none_held(void)
{
#ifdef COP_CHECKED
	assert(held_ranks == 0);
#endif
}

void
lock_rank_enter(enum lock_rank rank)
{
	rank_acquire(rank);
}

void
lock_rank_leave(enum lock_rank rank)
{
	rank_release(rank);
}

uint64_t
lock_count(void)
{
#ifdef COP_CHECKED
	return locks_taken;
#else
	return 0;
#endif
}

int
mutex_init(struct mutex *mutex, enum lock_rank rank)
{
	int host = pthread_mutex_init(&mutex->mutex, NULL);

	assert(rank > 0 && rank < LOCK_RANKS);
	if (host != 0)
		return fail_errno(host, "mutex");
	mutex->rank = rank;
	return 0;
}

void
mutex_fini(struct mutex *mutex)
{
	int host = pthread_mutex_destroy(&mutex->mutex);

	assert(host == 0);
	(void)host;
}

void
mutex_lock(struct mutex *mutex)
{
	int host;

	rank_acquire(mutex->rank);
	host = pthread_mutex_lock(&mutex->mutex);
	assert(host == 0);
	(void)host;
}

void
mutex_unlock(struct mutex *mutex)
{
	int host = pthread_mutex_unlock(&mutex->mutex);

	assert(host == 0);
	(void)host;
	rank_release(mutex->rank);
}

void
mutex_assert_held(const struct mutex *mutex)
{
	rank_assert_held(mutex->rank);
}

int
condition_init(struct condition *condition)
{
	int host = pthread_cond_init(&condition->condition, NULL);

	if (host != 0)
		return fail_errno(host, "condition variable");
	return 0;
}

void
condition_fini(struct condition *condition)
{
	int host = pthread_cond_destroy(&condition->condition);

	assert(host == 0);
	(void)host;
}

void
condition_wait(struct condition *condition, struct mutex *mutex)
{
	int host;

	mutex_assert_held(mutex);
	host = pthread_cond_wait(&condition->condition, &mutex->mutex);
	assert(host == 0);
	(void)host;
}

void
condition_wait_for(struct condition *condition, struct mutex *mutex, int64_t ns)
{
	int64_t until = clock_monotonic_ns() + ns;
	struct timespec deadline = {
		.tv_sec = until / ns_per_second,
		.tv_nsec = until % ns_per_second,
	};
	int host;

	mutex_assert_held(mutex);
	host = pthread_cond_clockwait(
		&condition->condition, &mutex->mutex, CLOCK_MONOTONIC, &deadline);
	assert(host == 0 || host == ETIMEDOUT);
	(void)host;
}

void
condition_wake_all(struct condition *condition)
{
	int host = pthread_cond_broadcast(&condition->condition);

	assert(host == 0);
	(void)host;
}

/*
 * The gate. A reader adds itself to a slot and then looks whether a writer waits; a writer raises
 * `writing` and then looks at the slots. Both orders are sequentially consistent, so that one of
 * the two always sees the other. A reader that meets a writer steps back and queues on the mutex.
 */
enum { GATE_SLOTS = 32, CACHE_LINE_BYTES = 64 };

struct gate_slot {
	_Alignas(CACHE_LINE_BYTES) atomic_uint readers;
};

struct gate {
	struct gate_slot slots[GATE_SLOTS];
	_Alignas(CACHE_LINE_BYTES) atomic_bool writing;
	pthread_mutex_t writer;
};

static atomic_uint next_slot;
static _Thread_local unsigned my_slot_plus_one;

static struct gate_slot *
my_slot(struct gate *gate)
{
	if (my_slot_plus_one == 0)
		my_slot_plus_one = atomic_fetch_add(&next_slot, 1) % GATE_SLOTS + 1;
	return &gate->slots[my_slot_plus_one - 1];
}

int
gate_create(struct gate **out_gate)
{
	struct gate *gate = aligned_alloc(CACHE_LINE_BYTES, sizeof *gate);
	int host;

	if (!gate)
		return fail(COP_ENOMEM, "gate");
	for (unsigned i = 0; i < GATE_SLOTS; i++)
		atomic_init(&gate->slots[i].readers, 0);
	atomic_init(&gate->writing, false);
	host = pthread_mutex_init(&gate->writer, NULL);
	if (host != 0) {
		free(gate);
		return fail_errno(host, "gate");
	}
	*out_gate = gate;
	return 0;
}

void
gate_free(struct gate *gate)
{
	int host;

	if (!gate)
		return;
	host = pthread_mutex_destroy(&gate->writer);
	assert(host == 0);
	(void)host;
	free(gate);
}

void
gate_enter_shared(struct gate *gate)
{
	struct gate_slot *slot = my_slot(gate);

	rank_acquire(LOCK_GATE);
	for (;;) {
		atomic_fetch_add(&slot->readers, 1);
		if (!atomic_load(&gate->writing))
			return;
		atomic_fetch_sub(&slot->readers, 1);
		pthread_mutex_lock(&gate->writer); /* until the writer is through */
		pthread_mutex_unlock(&gate->writer);
	}
}

void
gate_leave_shared(struct gate *gate)
{
	struct gate_slot *slot = my_slot(gate);

	atomic_fetch_sub(&slot->readers, 1);
	rank_release(LOCK_GATE);
}

void
gate_enter_exclusive(struct gate *gate)
{
	rank_acquire(LOCK_GATE);
	pthread_mutex_lock(&gate->writer);
	atomic_store(&gate->writing, true);
	for (unsigned i = 0; i < GATE_SLOTS; i++) {
		while (atomic_load(&gate->slots[i].readers) != 0)
			sched_yield(); /* a descent is a few microseconds */
	}
#ifdef COP_CHECKED
	gate_is_exclusive = true;
#endif
}

void
gate_leave_exclusive(struct gate *gate)
{
#ifdef COP_CHECKED
	gate_is_exclusive = false;
#endif
	atomic_store(&gate->writing, false);
	pthread_mutex_unlock(&gate->writer);
	rank_release(LOCK_GATE);
}

void
gate_assert_held(const struct gate *gate)
{
	(void)gate;
	rank_assert_held(LOCK_GATE);
}

void
gate_assert_exclusive(const struct gate *gate)
{
	(void)gate;
#ifdef COP_CHECKED
	assert(gate_is_exclusive);
#endif
}
