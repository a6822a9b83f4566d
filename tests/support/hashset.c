#include "support/hashset.h"

#include "base/num.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

/* The whole set is one shared mapping: this, then the places. An empty place is 0. */
struct hashset {
	uint64_t places;
	uint64_t bytes;
	atomic_uint_fast64_t count;
	atomic_uint_fast64_t place[];
};

int
hashset_create(uint64_t places, struct hashset **out_set)
{
	struct hashset *set;
	uint64_t bytes = sizeof *set + places * sizeof set->place[0];

	assert(is_power_of_two(places));
	set = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE,
		-1, 0);
	if (set == MAP_FAILED)
		return fail_errno(errno, "a set of %" PRIu64 " hashes", places);
	set->places = places;
	set->bytes = bytes;
	*out_set = set;
	return 0;
}

void
hashset_free(struct hashset *set)
{
	if (set)
		munmap(set, set->bytes);
}

bool
hashset_is_full(const struct hashset *set)
{
	return hashset_count(set) >= set->places / 4 * 3;
}

/* Relaxed throughout: a place goes from 0 to its hash once, and nothing else hangs on it. */
bool
hashset_add(struct hashset *set, uint64_t hash)
{
	uint64_t at;

	if (hashset_is_full(set))
		return false;
	if (hash == 0)
		hash = 1;
	for (at = hash & (set->places - 1);; at = (at + 1) & (set->places - 1)) {
		uint_fast64_t there = atomic_load_explicit(&set->place[at], memory_order_relaxed);

		if (there == 0 && atomic_compare_exchange_strong_explicit(&set->place[at], &there,
					  hash, memory_order_relaxed, memory_order_relaxed)) {
			atomic_fetch_add_explicit(&set->count, 1, memory_order_relaxed);
			return true;
		}
		if (there == hash)
			return false;
	}
}

uint64_t
hashset_count(const struct hashset *set)
{
	return atomic_load_explicit(&set->count, memory_order_relaxed);
}
