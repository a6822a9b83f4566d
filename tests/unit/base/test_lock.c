#include "base/lock.h"

#include "base/num.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { THREADS = 8, ROUNDS = 2000 };

static void
mutex_make(struct mutex *mutex, enum lock_rank rank)
{
	assert_int_equal(mutex_init(mutex, rank), 0);
}

static void
run_threads(void *(*work)(void *), void *context)
{
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, context), 0);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
}

/* ---- Mutexes and condition variables -------------------------------------------------------- */

struct counter {
	struct mutex mutex;
	struct condition changed;
	uint64_t value; /* guarded by mutex */
};

static void
counter_init(struct counter *counter)
{
	mutex_make(&counter->mutex, LOCK_SPACE);
	assert_int_equal(condition_init(&counter->changed), 0);
	counter->value = 0;
}

static void
counter_fini(struct counter *counter)
{
	condition_fini(&counter->changed);
	mutex_fini(&counter->mutex);
}

static void *
count_up(void *context)
{
	struct counter *counter = context;

	for (unsigned i = 0; i < ROUNDS; i++) {
		mutex_lock(&counter->mutex);
		mutex_assert_held(&counter->mutex);
		counter->value++;
		mutex_unlock(&counter->mutex);
	}
	return NULL;
}

static void
lets_one_thread_in_at_a_time(void **state)
{
	struct counter counter;

	(void)state;
	counter_init(&counter);
	run_threads(count_up, &counter);
	assert_int_equal(counter.value, THREADS * ROUNDS);
	counter_fini(&counter);
}

/* Each thread waits for its turn, so this ends only if nobody misses a wake-up. */
static void *
take_turns(void *context)
{
	struct counter *counter = context;
	uint64_t me;

	mutex_lock(&counter->mutex);
	me = counter->value++ % THREADS;
	condition_wake_all(&counter->changed);
	while (counter->value < THREADS)
		condition_wait(&counter->changed, &counter->mutex);
	for (unsigned round = 0; round < 100; round++) {
		while (counter->value % THREADS != me)
			condition_wait(&counter->changed, &counter->mutex);
		counter->value++;
		condition_wake_all(&counter->changed);
	}
	mutex_unlock(&counter->mutex);
	return NULL;
}

static void
wakes_everyone_who_waits(void **state)
{
	struct counter counter;

	(void)state;
	counter_init(&counter);
	run_threads(take_turns, &counter);
	assert_int_equal(counter.value, THREADS + 100 * THREADS);
	counter_fini(&counter);
}

/* ---- The gate ------------------------------------------------------------------------------- */

/* Two plain numbers that are equal whenever nobody holds the gate exclusively. */
struct gated {
	struct gate *gate;
	uint64_t left;
	uint64_t right;
	atomic_uint started;
	atomic_uint inside;
};

static void *
read_or_write(void *context)
{
	struct gated *gated = context;
	bool writes = atomic_fetch_add(&gated->started, 1) % 4 == 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		if (writes) {
			gate_enter_exclusive(gated->gate);
			gate_assert_held(gated->gate);
			gate_assert_exclusive(gated->gate);
			gated->left++;
			gated->right++;
			gate_leave_exclusive(gated->gate);
		} else {
			gate_enter_shared(gated->gate);
			gate_assert_held(gated->gate);
			if (gated->left != gated->right)
				abort();
			gate_leave_shared(gated->gate);
		}
	}
	return NULL;
}

static void
shows_readers_no_half_change(void **state)
{
	struct gated gated = { 0 };

	(void)state;
	assert_int_equal(gate_create(&gated.gate), 0);
	run_threads(read_or_write, &gated);
	assert_int_equal(gated.left, THREADS / 4 * ROUNDS);
	assert_int_equal(gated.right, gated.left);
	gate_free(gated.gate);
}

/* Nobody leaves before all are in: this ends only if readers do not shut each other out. */
static void *
meet_inside(void *context)
{
	struct gated *gated = context;

	gate_enter_shared(gated->gate);
	atomic_fetch_add(&gated->inside, 1);
	while (atomic_load(&gated->inside) < THREADS)
		sched_yield();
	gate_leave_shared(gated->gate);
	return NULL;
}

static void
lets_readers_in_side_by_side(void **state)
{
	struct gated gated = { 0 };

	(void)state;
	assert_int_equal(gate_create(&gated.gate), 0);
	run_threads(meet_inside, &gated);
	assert_int_equal(gated.inside, THREADS);
	gate_free(gated.gate);
}

/* More threads than the gate has slots share them, one after the other and all at once. */
static void *
pass_through(void *context)
{
	struct gated *gated = context;

	gate_enter_shared(gated->gate);
	gate_leave_shared(gated->gate);
	gate_enter_exclusive(gated->gate);
	gated->left++;
	gate_leave_exclusive(gated->gate);
	return NULL;
}

static void
serves_more_threads_than_it_has_slots(void **state)
{
	struct gated gated = { 0 };

	(void)state;
	assert_int_equal(gate_create(&gated.gate), 0);
	for (unsigned i = 0; i < 10; i++)
		run_threads(pass_through, &gated);
	assert_int_equal(gated.left, 10 * THREADS);
	gate_free(gated.gate);
	gate_free(NULL);
}

/* ---- Ranks: a thread that breaks the order dies at once, in checked builds ------------------ */

#ifdef COP_CHECKED
/* True when `act` dies of an assertion, in a process of its own that leaves no core behind. */
static bool
dies(void (*act)(void))
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		const struct rlimit none = { 0, 0 };

		(void)setrlimit(RLIMIT_CORE, &none);
		(void)signal(SIGABRT, SIG_DFL);
		(void)!freopen("/dev/null", "w", stderr); /* the assertion's text is expected */
		act();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void
lock_two(enum lock_rank first, enum lock_rank second)
{
	struct mutex a;
	struct mutex b;

	mutex_make(&a, first);
	mutex_make(&b, second);
	mutex_lock(&a);
	mutex_lock(&b);
	mutex_unlock(&a); /* the order of unlocking is free */
	mutex_unlock(&b);
	lock_assert_none_held();
}

static void
lock_outward(void)
{
	lock_two(LOCK_CACHE, LOCK_SPACE);
}

static void
lock_same_rank(void)
{
	lock_two(LOCK_CACHE, LOCK_CACHE);
}

static void
enter_gate_under_cache(void)
{
	struct gate *gate;
	struct mutex mutex;

	mutex_make(&mutex, LOCK_CACHE);
	if (gate_create(&gate) == 0) {
		mutex_lock(&mutex);
		gate_enter_shared(gate);
	}
}

static void
enter_gate_twice(void)
{
	struct gate *gate;

	if (gate_create(&gate) == 0) {
		gate_enter_shared(gate);
		gate_enter_shared(gate);
	}
}

static void
wait_with_a_lock(void)
{
	struct mutex mutex;

	mutex_make(&mutex, LOCK_VISITS);
	mutex_lock(&mutex);
	lock_assert_none_held();
}

static void
claim_a_lock_not_held(void)
{
	struct mutex mutex;

	mutex_make(&mutex, LOCK_VISITS);
	mutex_assert_held(&mutex);
}

static void
claim_exclusive_while_shared(void)
{
	struct gate *gate;

	if (gate_create(&gate) == 0) {
		gate_enter_shared(gate);
		gate_assert_exclusive(gate);
	}
}

static void
refuses_locks_out_of_order(void **state)
{
	(void)state;
	assert_true(dies(lock_outward));
	assert_true(dies(lock_same_rank));
	assert_true(dies(enter_gate_under_cache));
	assert_true(dies(enter_gate_twice));
	lock_two(LOCK_SPACE, LOCK_CACHE); /* and this way round it is right */
}

static void
refuses_to_wait_with_a_lock_held(void **state)
{
	(void)state;
	assert_true(dies(wait_with_a_lock));
	lock_assert_none_held();
}

static void
refuses_a_claim_that_is_not_true(void **state)
{
	(void)state;
	assert_true(dies(claim_a_lock_not_held));
	assert_true(dies(claim_exclusive_while_shared));
}
#endif

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lets_one_thread_in_at_a_time),
		cmocka_unit_test(wakes_everyone_who_waits),
		cmocka_unit_test(shows_readers_no_half_change),
		cmocka_unit_test(lets_readers_in_side_by_side),
		cmocka_unit_test(serves_more_threads_than_it_has_slots),
#ifdef COP_CHECKED
		cmocka_unit_test(refuses_locks_out_of_order),
		cmocka_unit_test(refuses_to_wait_with_a_lock_held),
		cmocka_unit_test(refuses_a_claim_that_is_not_true),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
