/* What must hold of the table, the lists and the counters at every moment. */

#include "base/num.h"
#include "space/space_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Sums of an inner block are those of its entries. */
static void
check_inner(const struct space_inner *inner)
{
	uint64_t available_blocks = 0;
	uint64_t chunks = 0;
	uint8_t class_bound = 0;

	for (uint32_t i = 0; i < SPACE_FANOUT; i++) {
		available_blocks += inner->entries[i].available_blocks;
		chunks += inner->entries[i].chunks;
		if (inner->entries[i].class_bound > class_bound)
			class_bound = inner->entries[i].class_bound;
	}
	assert(inner->above->available_blocks == available_blocks);
	assert(inner->above->chunks == chunks);
	assert(inner->above->class_bound >= class_bound);
}

/* All inner blocks: each is where its parent says. */
static void
check_inners(struct space *space)
{
	for (uint64_t ag = 0; ag < space->geometry.ag_count;) {
		struct space_entry *entry = &space->root;
		uint32_t level = space->geometry.levels;

		while (level > 0 && entry->inner) {
			uint64_t at = ag / space__span(level - 1);

			if (ag % space__span(level) == 0)
				check_inner(entry->inner);
			entry = &entry->inner->entries[at % SPACE_FANOUT];
			level--;
		}
		ag = (ag / space__span(level) + 1) * space__span(level);
	}
}

/*
 * Adds the runs of a list to the proof maps: one that has been applied, so that its runs are known
 * to be good. Those of the other lists are still among the used ones, or a damaged tree made them
 * up.
 */
static void
add_list(struct space *space, const struct run_list *list)
{
	uint64_t blocks = 0;

	for (const struct run_chunk *chunk = list->head; chunk; chunk = chunk->next) {
		for (size_t i = 0; i < chunk->count; i++) {
			struct run run = chunk->runs[i];
			struct space_ag *ag =
				space__peek_ag(space, run.addr / space->geometry.ag_blocks);
			uint32_t first = (uint32_t)(run.addr % space->geometry.ag_blocks);

			blocks += run.blocks;
			if (run.blocks == 0 || !ag)
				continue;
			assert(bitmap_count(ag->proof, first, run.blocks) == 0);
			bitmap_set(ag->proof, first, run.blocks);
		}
	}
	assert(blocks == list->blocks);
}

/* free + used + awaiting + reserved == blocks, and each block is one of these. */
static void
check_ag(struct space *space, struct space_ag *ag)
{
	const struct space_entry *entry = space__ag_entry(ag);
	size_t words = space->geometry.ag_blocks / 64;
	uint32_t taken_blocks = 0;
	uint32_t opening_blocks = 0;

	assert(entry->ag == ag);
	assert(!entry->is_closed);
	for (size_t i = 0; i < words; i++) {
		uint64_t opening = ag->opening ? ag->opening[i] : 0;
		uint64_t born = ag->born[0][i] | ag->born[1][i];
		uint64_t taken = ag->used[i] | born | ag->proof[i] | opening;

		assert((ag->used[i] & born) == 0);
		assert((opening & (ag->used[i] | born)) == 0);
		assert((taken & ~ag->busy[i]) == 0);
		taken_blocks += (uint32_t)__builtin_popcountll(taken);
		opening_blocks += (uint32_t)__builtin_popcountll(opening);
	}
	assert(ag->opening_blocks == opening_blocks);
	assert(ag->used_blocks == bitmap_count(ag->used, 0, ag->size_blocks));
	assert(ag->busy_blocks == bitmap_count(ag->busy, 0, ag->size_blocks));
	assert(ag->busy_blocks == taken_blocks + ag->reserved_blocks);
	assert(entry->available_blocks == ag->size_blocks - ag->busy_blocks);
	assert(entry->chunks_known);
	assert(entry->chunks == bitmap_chunks(ag->busy, space->node_blocks, 0, ag->size_blocks));
	assert(entry->class_bound >= space__class(bitmap_longest(ag->busy, ag->size_blocks)));
	assert(ag->is_idle == (ag->busy_blocks == ag->used_blocks && !ag->is_dirty));
}

/* A map for each loaded AG; false: no memory, and no proof then. */
static bool
make_proofs(struct space *space, struct space_link *list)
{
	for (struct space_link *link = list->next; link != list; link = link->next) {
		struct space_ag *ag = (struct space_ag *)link;

		ag->proof = calloc(1, space->geometry.ag_blocks / 8);
		if (!ag->proof)
			return false;
	}
	return true;
}

static void
free_proofs(struct space_link *list)
{
	for (struct space_link *link = list->next; link != list; link = link->next)
		free(TAKE(((struct space_ag *)link)->proof));
}

static uint64_t
check_ags(struct space *space, struct space_link *list, uint32_t *out_count)
{
	uint64_t opening_blocks = 0;

	*out_count = 0;
	for (struct space_link *link = list->next; link != list; link = link->next) {
		struct space_ag *ag = (struct space_ag *)link;

		check_ag(space, ag);
		opening_blocks += ag->opening_blocks;
		(*out_count)++;
	}
	return opening_blocks;
}

void
space_check(struct space *space)
{
	mutex_lock(&space->mutex);
	check_inners(space);
	assert(space->pool_blocks == space->node_blocks * (space->pair_count * space->node_copies +
								  space->single_count));
	assert(space->pair_count >= space->reserved_nodes);

	if (make_proofs(space, &space->idle) && make_proofs(space, &space->held)) {
		uint32_t idle_count;
		uint32_t held_count;

		uint64_t opening_blocks;

		add_list(space, &space->awaiting_list);
		if (space->frozen_is_applied)
			add_list(space, &space->frozen_list);
		opening_blocks = check_ags(space, &space->idle, &idle_count);
		assert(idle_count == space->idle_count);
		opening_blocks += check_ags(space, &space->held, &held_count);
		assert(opening_blocks == space->opening_blocks);
	}
	free_proofs(&space->idle);
	free_proofs(&space->held);
	mutex_unlock(&space->mutex);
}
