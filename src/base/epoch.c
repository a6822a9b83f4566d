/*
 * Each slot holds the epoch in which its reader entered, or 0. Every retirement begins a new epoch:
 * it notes the current one, r, and moves on to r + 1. The item may go when no slot holds r or less.
 *
 *   - A reader that holds more than r read the epoch after it had moved on, so after the item had
 *     been taken out of reach: it never sees it.
 *   - A reader that holds r or less, and that the scan does not see, has written its slot after the
 *     scan: so all its loads come after the item had been taken out of reach.
 *
 * The second is Dekker's argument (store, then load, on both sides) and wants sequential
 * consistency of the slot, the epoch and the pointers that are followed.
 */

#include "base/epoch.h"

#include "base/lock.h"

#include <assert.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { CACHE_LINE_BYTES = 64 };

struct epoch_slot {
	_Alignas(CACHE_LINE_BYTES) _Atomic uint64_t entered; /* 0: nobody */
};

struct epoch {
	struct epoch_slot slots[EPOCH_SLOTS];

	_Alignas(CACHE_LINE_BYTES) _Atomic uint64_t now; /* from 1; changed under `lock` */
	_Atomic uint32_t slots_used;                     /* those from here on were never used */

	struct mutex lock; /* LOCK_RETIRED */
	struct epoch_item *first;
	struct epoch_item **last;
};

/* Where a thread looks for a free slot first: threads get numbers in turn. */
static atomic_uint next_number;
static _Thread_local uint32_t my_number_plus_one;

static uint32_t
my_number(void)
{
	if (my_number_plus_one == 0)
		my_number_plus_one = atomic_fetch_add(&next_number, 1) % EPOCH_SLOTS + 1;
	return my_number_plus_one - 1;
}

int
epoch_create(struct epoch **out_epoch)
{
	struct epoch *epoch = aligned_alloc(CACHE_LINE_BYTES, sizeof *epoch);
	int err;

	if (!epoch)
		return fail(COP_ENOMEM, "epochs");
	for (uint32_t i = 0; i < EPOCH_SLOTS; i++)
		atomic_init(&epoch->slots[i].entered, 0);
	atomic_init(&epoch->now, 1);
	atomic_init(&epoch->slots_used, 0);
	epoch->first = NULL;
	epoch->last = &epoch->first;
	err = mutex_init(&epoch->lock, LOCK_RETIRED);
	if (err) {
		free(epoch);
		return err;
	}
	*out_epoch = epoch;
	return 0;
}

void
epoch_free(struct epoch *epoch)
{
	if (!epoch)
		return;
	(void)epoch_collect(epoch); /* nothing may be there */
	assert(!epoch->first);      /* nobody is inside */
	mutex_fini(&epoch->lock);
	free(epoch);
}

/* Slots are used from the first on, so that a scan is short where threads are few. */
static void
note_used(struct epoch *epoch, uint32_t slot)
{
	uint32_t used = atomic_load_explicit(&epoch->slots_used, memory_order_acquire);

	while (used <= slot && !atomic_compare_exchange_weak(&epoch->slots_used, &used, slot + 1))
		;
}

bool
epoch_enter(struct epoch *epoch, uint32_t *out_slot)
{
	uint32_t first = my_number();

	for (uint32_t i = 0; i < EPOCH_SLOTS; i++) {
		uint32_t slot = (first + i) % EPOCH_SLOTS;
		uint64_t nobody = 0;

		/* Before the slot says that somebody is there: a scan must not miss it. */
		note_used(epoch, slot);
		if (atomic_compare_exchange_strong(
			    &epoch->slots[slot].entered, &nobody, atomic_load(&epoch->now))) {
			lock_rank_enter(LOCK_EPOCH);
			*out_slot = slot;
			return true;
		}
	}
	return false;
}

void
epoch_leave(struct epoch *epoch, uint32_t slot)
{
	assert(slot < EPOCH_SLOTS);
	lock_rank_leave(LOCK_EPOCH);

	/* Release: whoever finds the slot empty may free what this reader has read. */
	atomic_store_explicit(&epoch->slots[slot].entered, 0, memory_order_release);
}

/* The oldest epoch that somebody inside has entered in. */
static uint64_t
oldest_inside(struct epoch *epoch)
{
	uint32_t used = atomic_load(&epoch->slots_used);
	uint64_t oldest = UINT64_MAX;

	for (uint32_t i = 0; i < used; i++) {
		uint64_t entered = atomic_load(&epoch->slots[i].entered);

		if (entered != 0 && entered < oldest)
			oldest = entered;
	}
	return oldest;
}

/* Takes what can be freed off the list. */
static struct epoch_item *
take_free_locked(struct epoch *epoch)
{
	struct epoch_item *first = epoch->first;
	struct epoch_item **end = &epoch->first;
	uint64_t oldest;

	mutex_assert_held(&epoch->lock);
	if (!first)
		return NULL;
	oldest = oldest_inside(epoch);
	while (*end && (*end)->since < oldest)
		end = &(*end)->next;
	if (end == &epoch->first)
		return NULL;
	epoch->first = *end;
	if (!epoch->first)
		epoch->last = &epoch->first;
	*end = NULL;
	return first;
}

static void
free_all(struct epoch_item *item)
{
	while (item) {
		struct epoch_item *next = item->next;

		item->free(item->context, item);
		item = next;
	}
}

void
epoch_retire(struct epoch *epoch, struct epoch_item *item)
{
	struct epoch_item *freed;

	assert(item->free);
	mutex_lock(&epoch->lock);
	item->next = NULL;
	item->since = atomic_fetch_add(&epoch->now, 1);
	*epoch->last = item;
	epoch->last = &item->next;
	freed = take_free_locked(epoch);
	mutex_unlock(&epoch->lock);
	free_all(freed);
}

bool
epoch_collect(struct epoch *epoch)
{
	struct epoch_item *freed;

	mutex_lock(&epoch->lock);
	freed = take_free_locked(epoch);
	mutex_unlock(&epoch->lock);
	free_all(freed);
	return freed != NULL;
}

bool
epoch_wait(struct epoch *epoch)
{
	for (;;) {
		bool is_empty;

		if (epoch_collect(epoch))
			return true;
		mutex_lock(&epoch->lock);
		is_empty = !epoch->first;
		mutex_unlock(&epoch->lock);
		if (is_empty)
			return false;
		sched_yield(); /* who is inside copies a few blocks at most */
	}
}
