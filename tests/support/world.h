#ifndef COPPICE_TESTS_WORLD_H
#define COPPICE_TESTS_WORLD_H

/*
 * world: a volume on a simulated disk, with a clock that the test sets and randomness from a seed,
 * so that equal calls make equal volumes.
 *
 * Seeds of successive openings of one medium must differ: seals that repeat would make a stale node
 * look like a new one, which no real volume meets.
 */

#include "base/err.h"
#include "base/random.h"
#include "coppice.h"
#include "device/sim.h"

struct world {
	struct rng rng;
	int64_t now_ns;
	struct device *dev;        /* owned */
	struct cop_volume *volume; /* owned */
};

enum { WORLD_BYTES = 8 << 20, WORLD_JOURNAL_BYTES = 256 << 10 };

/* An empty volume as large as the medium. */
MUST_CHECK int world_format(struct sim_medium *medium, uint64_t seed);

/* `now_ns` is what the clock says until the caller moves it. `cache_bytes` 0: the least. */
struct world_options {
	uint64_t seed;
	int64_t now_ns;
	uint64_t cache_bytes;
	uint64_t dirty_bytes; /* of nodes before a checkpoint; 0: by the cache */
	bool read_only;
	bool accept_loss;
	bool buffers; /* writes go through pages, and enter history later */
};

MUST_CHECK int world_open(
	struct world *world, struct sim_medium *medium, const struct world_options *options);

/* With a checkpoint. The world is closed in any case. */
int world_close(struct world *world);

/* As a person does who was told what is lost, and goes on: opens the volume once, accepting it. */
MUST_CHECK int world_accept_loss(struct sim_medium *medium);

/* As a process that is killed. */
void world_abandon(struct world *world);

/* A class of its own, apart from blocks of the allocation tree that are damaged: blocks with two
 * owners, or in use and free. */
enum { WORLD_OWNERS = 0, WORLD_CLASSES = COP_PROBLEM_JOURNAL + 1 };

/* What a check of the whole volume found. */
struct world_check {
	uint64_t problems;
	struct cop_check_result result;
	char first[WORLD_CLASSES][200]; /* the first problem of each class, as a sentence */
	uint32_t classes;               /* bit n: a problem of class n in the newest checkpoint */
	uint32_t previous_classes;      /* likewise in the one before it */
};

MUST_CHECK int world_check(struct sim_medium *medium, struct world_check *out_check);

#endif
