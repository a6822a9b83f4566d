#ifndef COPPICE_TESTS_HIT_H
#define COPPICE_TESTS_HIT_H

/*
 * hit: what a fault of the medium strikes, on a volume of the usual format and WORLD_BYTES.
 *
 * A block of the allocation tree that cannot be read closes its groups to allocation: after such a
 * fault, and no other, a volume may be full that is not.
 */

#include "base/err.h"
#include "base/random.h"
#include "device/sim.h"

#include <stdbool.h>
#include <stdint.h>

/* Is one of these blocks a slot of the allocation tree? */
bool hit_is_allocation(uint64_t addr, uint64_t blocks);

/* Has a write of the allocation tree been lost, or one that went elsewhere struck it? */
bool hit_has_allocation(struct sim_medium *medium);

/* A block of the journal. */
uint64_t hit_draw_journal(struct rng *rng);

/* The first block after it. */
uint64_t hit_behind_journal(void);

/* A leaf of file content, of which there is one copy, in the newest checkpoint of the medium, whose
 * power is cut for it. False: there is none. */
MUST_CHECK int hit_draw_leaf(
	struct sim_medium *medium, struct rng *rng, uint64_t *out_addr, bool *out_is_there);

#endif
