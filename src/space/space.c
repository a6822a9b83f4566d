#include "space/space.h"

#include "base/num.h"
#include "space/space_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { RESERVE_PARTS = 3 };

/* Where the streams begin, in parts of the device: nodes and their copies half of it apart. */
static const struct stream_start {
	uint32_t eighths;
} starts[SPACE_STREAMS] = {
	[SPACE_DATA] = { 1 },
	[SPACE_SMALL_DATA] = { 6 },
	[SPACE_NODES] = { 0 },
	[SPACE_NODE_COPIES] = { 4 },
};

/* The root of N or P as a caller gave it, judged. */
static int
entry_from_root(struct space *space, const struct space_descriptor *root, uint64_t generation,
	struct space_entry *out_entry)
{
	struct space_place place = { &space->geometry, space->uuid, space->geometry.levels, 0 };
	struct space_entry entry = { .descriptor = *root };
	int err;

	err = space__judge_descriptor(&place, generation, &entry.descriptor);
	if (err)
		return fail_in(err, "allocation root of generation %" PRIu64, generation);
	space__entry_init(&entry, space, place.level);
	*out_entry = entry;
	return 0;
}

int
space_open(const struct space_options *options, struct space **out_space)
{
	struct space *space;
	uint64_t ag_count = options->geometry.ag_count;
	int err;

	assert(is_power_of_two(options->node_blocks));
	assert(options->node_blocks <= SPACE_NODE_BLOCKS_MAX);
	assert(options->node_copies <= 2);

	space = calloc(1, sizeof *space);
	if (!space)
		return fail(COP_ENOMEM, "space");
	space->dev = options->dev;
	space->geometry = options->geometry;
	memcpy(space->uuid, options->uuid, sizeof space->uuid);
	space->node_blocks = options->node_blocks;
	space->parameters = options->parameters;
	space->node_copies = options->node_copies == 0 ? 2 : options->node_copies;
	space->open_generation =
		options->open_generation == 0 ? options->generation + 1 : options->open_generation;
	space->has_previous = options->previous_generation != 0;
	space->idle.prev = space->idle.next = &space->idle;
	space->held.prev = space->held.next = &space->held;
	space->memory_bytes = sizeof *space;
	for (unsigned i = 0; i < SPACE_STREAMS; i++)
		space->goals[i] =
			ag_count * starts[i].eighths / AG_WANTED * space->geometry.ag_blocks;

	err = entry_from_root(space, &options->root, options->generation, &space->root);
	if (!err && space->has_previous)
		err = entry_from_root(space, &options->previous_root, options->previous_generation,
			&space->previous_root);
	if (!err && space->has_previous) {
		space->undiscovered_blocks = options->awaiting_blocks;
		if (options->awaiting_blocks > space->root.descriptor.free_blocks)
			err = fail(COP_EFORMAT,
				"%" PRIu64 " blocks await release, %" PRIu64 " are free",
				options->awaiting_blocks, space->root.descriptor.free_blocks);
	}
	if (!err)
		err = mutex_init(&space->mutex, LOCK_SPACE);
	if (err) {
		free(space);
		return err;
	}

	space->used_blocks = space->geometry.blocks - space->root.descriptor.free_blocks;
	*out_space = space;
	return 0;
}

void
space_free_all(struct space *space)
{
	struct run_list spares;

	if (!space)
		return;
	space__free_table(space);
	spares = (struct run_list){ .head = space->spare_chunks };
	space__list_free(&spares);
	space__list_free(&space->open_list);
	space__list_free(&space->frozen_list);
	space__list_free(&space->awaiting_list);
	space__window_free(space->window);
	free(space->pairs);
	free(space->singles);
	mutex_fini(&space->mutex);
	free(space);
}

/* ---- Admission ------------------------------------------------------------------------------ */

uint64_t
space__free_blocks(const struct space *space)
{
	return space__less(
		space->root.available_blocks + space->pool_blocks, space->undiscovered_blocks);
}

int
space__no_space(const struct space *space, int err)
{
	assert(err == COP_ENOSPC);
	if (space->closed_ags == 0)
		return err;
	return fail_in(err, "%" PRIu64 " of %" PRIu64 " allocation groups are closed by damage",
		space->closed_ags, space->geometry.ag_count);
}

/* Leaves `parts` of RESERVE_PARTS of the reserve alone. */
static int
admit(struct space *space, uint64_t blocks, uint32_t parts)
{
	uint64_t room;
	int err = 0;

	mutex_lock(&space->mutex);
	room = space__less(space__free_blocks(space), space->promised_blocks);
	room = space__less(room, div_up(space->reserve_blocks * parts, RESERVE_PARTS));
	if (blocks > room)
		err = space__no_space(
			space, fail(COP_ENOSPC, "%" PRIu64 " blocks wanted, %" PRIu64 " available",
				       blocks, room));
	else
		space->promised_blocks += blocks;
	mutex_unlock(&space->mutex);
	return err;
}

int
space_admit(struct space *space, uint64_t blocks, bool emptying)
{
	return admit(space, blocks, emptying ? 0 : RESERVE_PARTS);
}

int
space_admit_growing(struct space *space, uint64_t blocks)
{
	return admit(space, blocks, 1);
}

void
space_unadmit(struct space *space, uint64_t blocks)
{
	mutex_lock(&space->mutex);
	assert(space->promised_blocks >= blocks);
	space->promised_blocks -= blocks;
	mutex_unlock(&space->mutex);
}

void
space_set_reserve(struct space *space, uint64_t blocks)
{
	mutex_lock(&space->mutex);
	space->reserve_blocks = div_up(blocks, space->node_blocks) * space->node_blocks;
	mutex_unlock(&space->mutex);
}

/* ---- Telling -------------------------------------------------------------------------------- */

/* Telling changes nothing but the mutex. */
static struct space *
lock_for_telling(const struct space *space)
{
	struct space *mine = (struct space *)(uintptr_t)space;

	mutex_lock(&mine->mutex);
	return mine;
}

uint64_t
space_free_blocks(const struct space *space)
{
	struct space *mine = lock_for_telling(space);
	uint64_t blocks = space__free_blocks(mine);

	mutex_unlock(&mine->mutex);
	return blocks;
}

uint64_t
space_available_blocks(const struct space *space)
{
	struct space *mine = lock_for_telling(space);
	uint64_t blocks =
		space__less(space__free_blocks(mine), mine->reserve_blocks + mine->promised_blocks);

	mutex_unlock(&mine->mutex);
	return blocks;
}

uint64_t
space_pending_blocks(const struct space *space)
{
	struct space *mine = lock_for_telling(space);
	uint64_t blocks = mine->undiscovered_blocks + mine->opening_blocks +
			  mine->open_list.blocks + mine->frozen_list.blocks +
			  mine->awaiting_list.blocks;

	mutex_unlock(&mine->mutex);
	return blocks;
}

size_t
space_list_bytes(const struct space *space)
{
	struct space *mine = lock_for_telling(space);
	size_t bytes = mine->memory_bytes;

	mutex_unlock(&mine->mutex);
	return bytes;
}

struct space_stats
space_stats(struct space *space)
{
	struct space_stats stats;

	mutex_lock(&space->mutex);
	stats = space->stats;
	mutex_unlock(&space->mutex);
	return stats;
}

uint64_t
space_closed_ags(const struct space *space)
{
	struct space *mine = lock_for_telling(space);
	uint64_t ags = mine->closed_ags;

	mutex_unlock(&mine->mutex);
	return ags;
}
