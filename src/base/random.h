#ifndef COPPICE_BASE_RANDOM_H
#define COPPICE_BASE_RANDOM_H

/*
 * random: numbers that must differ (seals, uuids, epochs) and numbers that must repeat (tests).
 *
 * A generator is seeded once and then makes numbers without system calls. Not for keys.
 *
 * Locks   None: one thread at a time, or a lock of the caller's.
 * Source  xoshiro256** by Blackman and Vigna; its state is filled by splitmix64.
 */

#include "base/err.h"

#include <stdint.h>

struct rng {
	uint64_t state[4];
};

void rng_seed(struct rng *rng, uint64_t seed);

/* From the system. COP_EIO when it has none to give. */
MUST_CHECK int rng_seed_system(struct rng *rng);

uint64_t rng_next(struct rng *rng);

/* Uniform in [0, limit); limit is not 0. */
uint64_t rng_below(struct rng *rng, uint64_t limit);

/* Never 0: a seal, an epoch. */
uint64_t rng_nonzero(struct rng *rng);

void rng_bytes(struct rng *rng, void *out, size_t bytes);

#endif
