/*
 * The pool: node places that were searched, and read for, before the gate; taking one is then a
 * matter of memory. Blocks in the pool count as free until they are taken, and the promises of
 * those who reserved them stand for them.
 */

#include "space/space_internal.h"

#include <assert.h>
#include <stdlib.h>

enum {
	POOL_SURPLUS = 16, /* nodes, and single places, kept for the next transaction */
};

static struct node_places *
pair_at(struct space *space, size_t index)
{
	return &space->pairs[(space->pair_first + index) % space->pair_capacity];
}

static void
free_place(struct space *space, enum space_stream stream, uint64_t addr)
{
	space__unreserve(space, (struct run){ addr, space->node_blocks });
	space->pool_blocks -= space->node_blocks;

	/* What comes back is taken first: else the stream would leave holes behind. */
	if (space->goals[stream] == addr + space->node_blocks)
		space->goals[stream] = addr;
}

static bool
trim_singles(struct space *space, size_t keep)
{
	bool trimmed = space->single_count > keep;

	while (space->single_count > keep)
		free_place(space, SPACE_NODE_COPIES, space->singles[--space->single_count]);
	return trimmed;
}

bool
space__trim_pool(struct space *space, size_t keep)
{
	bool trimmed = trim_singles(space, keep);

	while (space->pair_count > space->reserved_nodes + keep) {
		struct node_places *pair = pair_at(space, --space->pair_count);

		if (pair->addr2 != 0)
			free_place(space, SPACE_NODE_COPIES, pair->addr2);
		free_place(space, SPACE_NODES, pair->addr);
		trimmed = true;
	}
	return trimmed;
}

/* Room for `count` nodes in the pool, and for the second places of all of them. */
static int
make_room(struct space *space, size_t count)
{
	size_t capacity = space->pair_capacity;
	struct node_places *pairs;
	uint64_t *singles;

	if (space->single_count + count > space->single_capacity) {
		singles = realloc(space->singles, (space->single_count + count) * sizeof *singles);
		if (!singles)
			return fail(COP_ENOMEM, "node places");
		space->singles = singles;
		space->single_capacity = space->single_count + count;
	}
	if (count <= capacity)
		return 0;
	capacity = 2 * count;
	pairs = calloc(capacity, sizeof *pairs);
	if (!pairs)
		return fail(COP_ENOMEM, "node places");
	for (size_t i = 0; i < space->pair_count; i++)
		pairs[i] = *pair_at(space, i);
	free(space->pairs);
	space->pairs = pairs;
	space->pair_first = 0;
	space->pair_capacity = capacity;
	return 0;
}

/* May read. One more node in the pool. COP_ENOSPC, COP_ENOMEM. */
static int
add_pair(struct space *space, bool emptying)
{
	uint64_t no_ag = space->geometry.ag_count;
	struct node_places pair = { 0 };
	int err;

	if (space__spare_chunks(space) < space->node_copies)
		trim_singles(space, 0);
	err = space__learn(space, space->node_copies);
	if (err)
		return err;
	if (!emptying && space->node_blocks > 1 && space__spare_chunks(space) < space->node_copies)
		return space__no_space(
			space, fail(COP_ENOSPC, "no place for a node but those of the reserve"));
	err = space__take_chunk(space, SPACE_NODES, no_ag, &pair.addr);
	if (err)
		return err;
	if (pair.addr == 0)
		return space__no_space(space, fail(COP_ENOSPC, "no place for a node"));
	space->pool_blocks += space->node_blocks;

	if (space->node_copies > 1) {
		err = space__take_chunk(space, SPACE_NODE_COPIES,
			pair.addr / space->geometry.ag_blocks, &pair.addr2);
		if (!err && pair.addr2 == 0)
			err = space__take_chunk(space, SPACE_NODE_COPIES, no_ag, &pair.addr2);
		if (!err && pair.addr2 == 0)
			err = space__no_space(
				space, fail(COP_ENOSPC, "no place for the copy of a node"));
		if (err) {
			free_place(space, SPACE_NODES, pair.addr);
			return err;
		}
		space->pool_blocks += space->node_blocks;
	}
	if (space->pair_count == space->pair_capacity) { /* others filled the pool meanwhile */
		if (pair.addr2 != 0)
			free_place(space, SPACE_NODE_COPIES, pair.addr2);
		free_place(space, SPACE_NODES, pair.addr);
		return 0;
	}
	*pair_at(space, space->pair_count) = pair;
	space->pair_count++;
	return 0;
}

int
space_reserve_nodes(struct space *space, uint32_t count, bool emptying)
{
	int err = 0;

	mutex_lock(&space->mutex);
	do {
		/* Others may come in while this reads: look at everything again. */
		while (!err && space->pair_count < space->reserved_nodes + count) {
			err = make_room(space, space->reserved_nodes + count + POOL_SURPLUS);
			if (!err)
				err = add_pair(space, emptying);
		}
		if (!err)
			err = make_room(space, space->reserved_nodes + count + POOL_SURPLUS);
	} while (!err && space->pair_count < space->reserved_nodes + count);

	if (!err)
		space->reserved_nodes += count;
	else
		space__trim_pool(space, 0);
	mutex_unlock(&space->mutex);
	return err;
}

void
space_unreserve_nodes(struct space *space, uint32_t count)
{
	mutex_lock(&space->mutex);
	assert(space->reserved_nodes >= count);
	space->reserved_nodes -= count;
	space__trim_pool(space, POOL_SURPLUS);
	mutex_unlock(&space->mutex);
}

void
space_take_node(struct space *space, uint32_t copies, uint64_t *out_addr, uint64_t *out_addr2)
{
	struct node_places pair = { 0 };

	mutex_lock(&space->mutex);
	assert(copies >= 1);
	assert(copies <= space->node_copies);
	assert(space->reserved_nodes > 0);
	assert(space->promised_blocks >= (uint64_t)copies * space->node_blocks);
	space->reserved_nodes--;
	if (copies == 1 && space->single_count > 0) {
		pair.addr = space->singles[--space->single_count];
	} else {
		pair = *pair_at(space, 0);
		space->pair_first = (space->pair_first + 1) % space->pair_capacity;
		space->pair_count--;
	}
	if (copies == 1 && pair.addr2 != 0) {
		assert(space->single_count < space->single_capacity);
		space->singles[space->single_count++] = pair.addr2;
		pair.addr2 = 0;
	}
	space__use(space, (struct run){ pair.addr, space->node_blocks });
	if (pair.addr2 != 0)
		space__use(space, (struct run){ pair.addr2, space->node_blocks });
	space->pool_blocks -= (uint64_t)copies * space->node_blocks;
	space->promised_blocks -= (uint64_t)copies * space->node_blocks;
	*out_addr = pair.addr;
	*out_addr2 = pair.addr2;
	mutex_unlock(&space->mutex);
}
