#ifndef COPPICE_TESTS_SPACE_WORLD_H
#define COPPICE_TESTS_SPACE_WORLD_H

/*
 * world: a simulated disk with an allocation tree on it, the two newest superblocks as the volume
 * would keep them, and a model that says for each block what may be done with it.
 *
 * The model knows nothing of AGs, bitmaps or lists: it counts periods. A block freed in period i
 * may be handed out again when checkpoint i + 1 is durable.
 */

#include "base/random.h"
#include "device/sim.h"
#include "space/space.h"

#include <stddef.h>

struct world_superblock {
	uint64_t generation; /* 0: none */
	struct space_descriptor root;
	uint64_t free_blocks;
	uint64_t awaiting_blocks;
	bool *used; /* the model's, at its freeze; owned */
};

struct world_block {
	bool fixed;
	bool used;
	bool reserved;
	bool awaiting;
	uint64_t freed_period;
};

struct world {
	struct sim_medium *medium;
	struct device *dev;
	struct geometry geometry;
	uint8_t uuid[16];
	uint32_t node_blocks;
	uint32_t node_copies;
	struct space *space;
	struct rng rng;

	struct world_superblock newest;
	struct world_superblock previous;
	struct world_superblock frozen; /* generation 0: nothing is frozen */
	uint64_t open_generation;

	uint64_t period; /* the open one; its checkpoint has the same number */
	uint64_t durable_period;
	struct world_block *blocks;

	struct run *live; /* used runs */
	size_t live_count;
	size_t live_capacity;
	struct run *held; /* taken, not used */
	size_t held_count;
	size_t held_capacity;
	uint32_t promised_blocks; /* by world_promise() */
};

/* Formats and opens; with the usual geometry, or with AGs of a size that makes many of them. */
void world_init(struct world *world, uint64_t blocks, uint32_t node_blocks, uint64_t seed);
void world_init_ags(struct world *world, uint64_t ag_count, uint32_t node_blocks, uint64_t seed);
void world_fini(struct world *world);

/* As after a crash or a close: from the two newest superblocks. */
void world_close(struct world *world);
int world_try_open(struct world *world, struct space **out_space);
void world_open(struct world *world);

/* Every block that can be had, in runs of up to `want`, used. */
void world_fill(struct world *world, uint32_t want);

/* All that is live, and three checkpoints. */
void world_empty(struct world *world);

/* Some blocks of each AG, at random, used. */
void world_touch_all(struct world *world);

/* Admits and takes; false: no space. The model judges the run. */
bool world_take_near(struct world *world, uint64_t goal_addr, uint32_t want, struct run *out_run);
bool world_take(struct world *world, enum space_stream stream, uint32_t want, struct run *out_run);
void world_hold(struct world *world, struct run run); /* a run of world_take(), for later */
void world_use(struct world *world, struct run run);  /* becomes live */
void world_untake(struct world *world, struct run run);
void world_release(struct world *world, struct run run); /* not taken off `live` */
struct run world_pick_live(struct world *world);         /* takes one off at random */
struct run world_pick_held(struct world *world);

/* Admits now, whatever comes between, and takes all of it later. */
void world_promise(struct world *world, uint32_t blocks);
void world_redeem(struct world *world);

/* One node of `copies`; false: no space. It becomes live. */
bool world_take_node(struct world *world, uint32_t copies, bool emptying);

/* The steps of a checkpoint. */
void world_freeze(struct world *world);
void world_write(struct world *world);
void world_durable(struct world *world);
void world_checkpoint(struct world *world); /* all three */

/* Counters, bitmaps on the device, and the tables: all must say what the model says. */
void world_judge_counters(struct world *world);
void world_judge_bitmaps(struct world *world, const struct world_superblock *superblock);

#endif
