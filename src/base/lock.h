#ifndef COPPICE_BASE_LOCK_H
#define COPPICE_BASE_LOCK_H

/*
 * lock: mutexes with a rank, condition variables, and the gate.
 *
 * The ranks below are the locking document. A thread that holds a lock takes only locks of higher
 * rank. Checked builds (COP_CHECKED) assert that on every acquire, and lock_assert_none_held()
 * asserts that a thread which is about to wait for a device holds nothing.
 *
 * The gate is a reader-writer lock for descents of live trees: readers are many and short, the
 * writer is one and short (rules of concurrency). A reader touches only a cache line of its own
 * slot unless a writer is there.
 *
 * Source  The gate is a "big reader" lock: readers announce themselves in a slot, the writer raises
 *         a flag and waits for every slot to be empty.
 */

#include "base/err.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Outermost first. */
enum lock_rank {
	LOCK_VOLUME_STATE = 1, /* volume: tickets, checkpoint state, sticky error */
	LOCK_HANDLES,          /* object: table of open objects and their operation queues */
	LOCK_GATE,             /* volume: live trees (the gate, shared or exclusive) */
	LOCK_JOURNAL,          /* volume: the journal's queue and its places */
	LOCK_SPACE,            /* space: allocation groups, lists, accounting */
	LOCK_CACHE,            /* cache: one shard */
	LOCK_DEVICE_QUEUE,     /* device: submission and completion of one device */
	LOCK_VISITS,           /* volume: the list of running operations */
	LOCK_RETIRED,          /* base: what waits to be freed until readers have left */
	LOCK_EPOCH,            /* no lock: inside an epoch nothing is locked or waited for */
	LOCK_RANKS,
};

struct mutex {
	pthread_mutex_t mutex;
	enum lock_rank rank;
};

/* COP_ENOMEM. */
MUST_CHECK int mutex_init(struct mutex *mutex, enum lock_rank rank);
void mutex_fini(struct mutex *mutex);
void mutex_lock(struct mutex *mutex);
void mutex_unlock(struct mutex *mutex);
void mutex_assert_held(const struct mutex *mutex);

struct condition {
	pthread_cond_t condition;
};

MUST_CHECK int condition_init(struct condition *condition);
void condition_fini(struct condition *condition);
void condition_wait(struct condition *condition, struct mutex *mutex);
void condition_wake_all(struct condition *condition);

/* As condition_wait(), but for `ns` at most. */
void condition_wait_for(struct condition *condition, struct mutex *mutex, int64_t ns);

/* Asserts, in checked builds, that this thread holds no lock at all. */
void lock_assert_none_held(void);

/* For what has a rank and is no lock: the order is asserted as for locks, in checked builds. */
void lock_rank_enter(enum lock_rank rank);
void lock_rank_leave(enum lock_rank rank);

/* How often this thread has taken a lock or the gate, in checked builds; else always 0. */
uint64_t lock_count(void);

struct gate;

MUST_CHECK int gate_create(struct gate **out_gate);
void gate_free(struct gate *gate);
void gate_enter_shared(struct gate *gate);
void gate_leave_shared(struct gate *gate);
void gate_enter_exclusive(struct gate *gate);
void gate_leave_exclusive(struct gate *gate);

/* In checked builds; otherwise they do nothing. */
void gate_assert_held(const struct gate *gate);
void gate_assert_exclusive(const struct gate *gate);

#endif
