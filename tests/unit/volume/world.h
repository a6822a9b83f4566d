#ifndef COPPICE_TESTS_VOLUME_WORLD_H
#define COPPICE_TESTS_VOLUME_WORLD_H

/*
 * A volume on a simulated disk, without the object floor: what the unit tests of volume/ share.
 *
 * Its contents are entries of the object tree under keys that no record claims, each filled with
 * one byte, so that a model is an array of ints. Functions that return nothing fail the test.
 */

#include "device/sim.h"
#include "volume/volume.h"

struct world {
	struct sim_medium *medium; /* NULL when `in_memory` */
	struct device *dev;
	struct volume *volume;
	struct volume_visit visit; /* open from world_open() to world_close() */
	uint64_t cache_bytes;      /* of the next world_open() */
	uint8_t copies;            /* of metadata, for world_format() */
	uint64_t journal_blocks;   /* for world_format(); 0: by size */
	bool in_memory;            /* on a device that takes no memory itself */
	bool read_only;            /* of the next world_open() */
	bool accept_loss;          /* likewise */
	uint8_t openings;          /* seeds of successive ones differ */
	_Atomic int64_t later_ns;  /* what the clock has moved on by */
};

extern const struct tree_name world_objects;

enum { WORLD_VALUE_BYTES = 512 };

/* The same number again and again, a struct world's own or 7, and a time that stands still but for
 * later_ns. */
int world_random(void *context, void *buffer, size_t bytes);
int64_t world_clock(void *context);

/* volume_options.entry_run: what is put in trees here refers to no blocks. */
bool world_no_run(enum tree_kind kind, struct view key, struct view value, struct run *out_run,
	uint64_t *out_birth);

/* A new volume on a new medium, opened. `node_bytes` 0: by size. */
void world_format(struct world *world, uint64_t bytes, uint32_t node_bytes);

/* Opens device and volume on world->medium; the error of the volume's opening. */
MUST_CHECK int world_try_open(struct world *world);
void world_open(struct world *world);
void world_close(struct world *world); /* without a checkpoint */
void world_reopen(struct world *world);
void world_end(struct world *world);

/* Closes; what no flush has made durable is lost. */
void world_lose_power(struct world *world);

/* For a checkpoint that is to release: the world's own visit is left meanwhile. */
void world_settle(struct world *world);

struct view world_key(uint8_t out[static OBJECT_KEY_BYTES], uint32_t number);

/* One transaction each, in the visit of the caller; the errors of commit. */
MUST_CHECK int world_put_as(struct world *world, struct volume_visit *visit, uint32_t number,
	uint8_t fill, size_t bytes);
MUST_CHECK int world_put(struct world *world, uint32_t number, uint8_t fill, size_t bytes);
MUST_CHECK int world_delete(struct world *world, uint32_t number);

/* The byte that fills the value, or a negative error. */
int world_get(struct world *world, uint32_t number);

/* The content tree of `object`. */
struct tree_name world_content(uint64_t object);

/* Puts an entry into it, or deletes it. */
MUST_CHECK int world_put_content(struct world *world, uint64_t object, uint64_t key, uint8_t fill,
	size_t bytes, bool is_put);
int world_get_content(struct world *world, uint64_t object, uint64_t key);

/* Entries 0 to `count` - 1, each filled with its number; and whether they are there, but that entry
 * `changed` is filled with `fill`. */
void world_grow_content(struct world *world, uint64_t object, uint64_t count, size_t bytes);
void world_expect_content(
	struct world *world, uint64_t object, uint64_t count, uint64_t changed, uint8_t fill);

/* In one transaction; the errors of commit. */
MUST_CHECK int world_clone_content(struct world *world, uint64_t from, uint64_t to);

#endif
