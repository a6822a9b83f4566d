#ifndef COPPICE_TESTS_HASHSET_H
#define COPPICE_TESTS_HASHSET_H

/*
 * hashset: a set of 64-bit hashes in memory that forked processes share.
 *
 * Made before fork(), it counts what several workers saw together. It has a fixed number of places,
 * which cost memory only once they are touched.
 *
 * Locks  None needed: any process or thread may add.
 */

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct hashset;

/* `places` is a power of two; at most three quarters of them can be filled. COP_ENOMEM. */
MUST_CHECK int hashset_create(uint64_t places, struct hashset **out_set);
void hashset_free(struct hashset *set);

/* True when `hash` was not there. A full set takes no more and says false. */
bool hashset_add(struct hashset *set, uint64_t hash);

uint64_t hashset_count(const struct hashset *set);
bool hashset_is_full(const struct hashset *set);

#endif
