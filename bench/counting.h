#ifndef COPPICE_BENCH_COUNTING_H
#define COPPICE_BENCH_COUNTING_H

/*
 * counting: a device in memory that tells tree nodes from everything else it is given to write.
 *
 * Promises
 *   - A node is counted once for each copy, in whatever request it comes.
 *   - Second copies are counted and not kept: a volume takes half the memory. They read as zeros,
 *     which is never noticed as long as the first copies are whole.
 *
 * Locks  None: one thread.
 */

#include "device/device.h"

struct counts {
	uint64_t leaf_bytes;  /* of nodes, both copies */
	uint64_t inner_bytes; /* the same */
	uint64_t other_bytes; /* bitmaps, allocation tree, superblocks, journal */
};

/* Memory for the blocks is taken when they are first written. COP_ENOMEM. */
MUST_CHECK int counting_open(uint64_t blocks, uint32_t node_bytes, struct device **out_device);

struct counts counting_counts(struct device *dev);

#endif
