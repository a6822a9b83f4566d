#ifndef COPPICE_BASE_EPOCH_H
#define COPPICE_BASE_EPOCH_H

/*
 * epoch: reading shared memory without a lock, and freeing it when nobody can read it any more.
 *
 * A reader enters, follows pointers, copies what it finds, and leaves. Whoever takes a thing out of
 * reach *retires* it instead of freeing it: it is freed when everybody has left who was inside when
 * it was retired, which is at once when nobody was.
 *
 * Promises
 *   - What was reachable when a reader entered, or became so later, is not freed before it leaves.
 *   - Nobody waits for a reader for longer than the reader stays inside; so a reader neither waits
 *     nor takes a lock there (checked builds assert it: being inside is a rank of its own).
 *   - Retired things are freed in the order in which they were retired.
 *
 * Locks  Entering and leaving take none. epoch_retire(), epoch_collect() and epoch_wait() take
 *        LOCK_RETIRED, and call the functions that free without it.
 * Cost   A pair of enter and leave is one atomic exchange and one store, to a cache line that other
 *        threads only read when they retire something.
 * Source Fraser, "Practical lock freedom" (2004), chapter 5.
 */

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Readers inside at one time. */
enum { EPOCH_SLOTS = 64 };

struct epoch;

/* Part of a thing that can be retired. */
struct epoch_item {
	struct epoch_item *next;
	uint64_t since; /* the epoch in which it was retired */
	void (*free)(void *context, struct epoch_item *item);
	void *context;
};

/* COP_ENOMEM. */
MUST_CHECK int epoch_create(struct epoch **out_epoch);

/* Frees what is retired. Nobody is inside. NULL is accepted. */
void epoch_free(struct epoch *epoch);

/*
 * False: EPOCH_SLOTS others are inside; take another way. The slot is the caller's alone until it
 * leaves. Nobody enters twice.
 */
MUST_CHECK bool epoch_enter(struct epoch *epoch, uint32_t *out_slot);
void epoch_leave(struct epoch *epoch, uint32_t slot);

/*
 * The item is out of reach for whoever enters from now on: the store that made it so was
 * sequentially consistent, and so are the loads of those inside. `free` and `context` are set.
 * Frees what can be freed, this one included.
 */
void epoch_retire(struct epoch *epoch, struct epoch_item *item);

/* Frees what can be freed; true when there was anything. */
bool epoch_collect(struct epoch *epoch);

/* Waits until something could be freed; false when nothing is retired. */
bool epoch_wait(struct epoch *epoch);

#endif
