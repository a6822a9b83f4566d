#ifndef COPPICE_TESTS_OBJECT_WORLD_H
#define COPPICE_TESTS_OBJECT_WORLD_H

/*
 * world: a volume on a disk in memory, with a clock and random numbers that repeat.
 */

#include "device/sim.h"
#include "object/object_internal.h"

struct world {
	struct sim_medium *medium; /* NULL: plain memory */
	struct device *dev;
	struct cop_volume *volume;
	struct cop_object *root;
	uint64_t seed;
	_Atomic int64_t now_ns;
};

/* Volumes are opened without pages: a write is a transaction. Set it before the first call. */
extern bool world_writes_through;

/* Formats and opens; node_bytes 0: by the size. */
void world_init(struct world *world, uint64_t bytes, uint32_t node_bytes, uint64_t seed);

/* The same on a simulated disk. */
void world_init_on_sim(struct world *world, uint64_t bytes, uint64_t seed);

/* Opens the volume on `dev` again, after it has been closed or abandoned. */
void world_open(struct world *world);

/* Closes, and proves that the volume is sound. */
void world_fini(struct world *world);

/* Proves that what is on the device is sound; the volume is closed, or has just been synced. */
void world_check(struct world *world);

/* Closes and opens again; abandoned: without a checkpoint. */
void world_reopen(struct world *world, bool abandoned);

/* A file without a name, that keeps one reference, so that it outlives its handle. */
struct cop_object *world_file(struct world *world);

/* Such a file with `teeth` blocks, a hole of a block after each; block i has the bytes of seed i.
 */
struct cop_object *world_comb(struct world *world, uint64_t teeth);

struct cop_attr world_attr(struct cop_object *object);

/* Fills with bytes that follow from `seed`. */
void world_bytes(uint64_t seed, uint8_t *out, size_t bytes);

/* Writes the bytes of `seed`, all of them. */
void world_write(struct cop_object *file, uint64_t seed, uint64_t offset, size_t bytes);

/* Reads, and proves that they are the bytes of `seed`. */
void world_expect(struct cop_object *file, uint64_t seed, uint64_t offset, size_t bytes);

struct cop_stats world_stats(const struct world *world);

uint64_t world_free_bytes(struct world *world);

/* Calls that must succeed; a failure prints the library's text. */
#define must(call) world_must((call), #call, __FILE__, __LINE__)
void world_must(int err, const char *call, const char *file, int line);

#endif
