#ifndef COPPICE_TESTS_TREE_WORLD_H
#define COPPICE_TESTS_TREE_WORLD_H

/*
 * world: a simulated disk, a cache and a toy allocator under a tree.
 *
 * The allocator hands out places for nodes of two copies, knows for each whether it is used, and
 * gives a freed one out again two checkpoints later, so that stale images lie around. It fails the
 * test when a node is freed that is not there, or twice.
 */

#include "base/lock.h"
#include "base/random.h"
#include "device/sim.h"
#include "tree/tree_internal.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { WORLD_PLACES = 24000 };

struct world {
	struct sim_medium *medium;
	struct device *dev;
	struct cache *cache;
	struct gate *gate;
	struct tree_env env;
	struct tree_hooks hooks;
	struct rng rng;
	uint64_t generation;
	uint32_t copies;

	struct place {
		bool is_used;
		uint64_t freed; /* generation, 0: never */
		struct tree_pointer pointer;
	} places[WORLD_PLACES];
	uint32_t next_place;

	struct buffer *dirty[WORLD_PLACES];
	uint32_t dirty_count;

	/* Called each time a reader has left the gate. */
	void (*after_leave)(struct world *w);
	void *test; /* for that function */

	/* Counters since the test set them to 0. */
	uint32_t new_nodes;
	uint32_t freed_nodes;
	uint32_t repairs;
};

struct world *world_open(uint32_t node_bytes, uint32_t copies, uint64_t cache_bytes);
void world_close(struct world *w);

struct tree world_tree(struct world *w, enum tree_kind kind);

/* One transaction each: reserve, prepare, apply. Asserts that tree_nodes_worst() is a bound. */
void world_put(struct world *w, struct tree *tree, struct view key, struct view value);
void world_delete(struct world *w, struct tree *tree, struct view key);

/* Finishes, writes and cleans all dirty nodes, and opens the next generation. */
void world_checkpoint(struct world *w);

/* Forgets everything that is not dirty. */
void world_forget(struct world *w);

uint32_t world_used_places(const struct world *w);

/* Used places are exactly the nodes of the tree. After a checkpoint only. */
void world_assert_exact(struct world *w, struct tree *tree);

/* The bytes of the medium, past the cache. */
void world_read(struct world *w, uint64_t addr, uint8_t *node);
void world_write(struct world *w, uint64_t addr, const uint8_t *node);

/* Big-endian, so that keys have the order of the numbers. */
struct view key_of(uint64_t number, uint8_t out[8]);

/* A tree of `count` keys 0, `step`, 2 * `step`, ...; each value is its key, filled up with zeros to
 * `value_bytes`. Written and forgotten. */
struct tree world_grow(
	struct world *w, enum tree_kind kind, uint32_t count, uint32_t step, size_t value_bytes);

/* The value of key_of(number) is as world_grow() made it. */
int world_get(struct world *w, struct tree *tree, uint64_t number);

#endif
