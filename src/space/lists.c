/*
 * What was freed, in lists of chunks. A release takes its memory from the spare chunks, which were
 * made when it was reserved: spare >= reserved / SPACE_CHUNK_RUNS + 1, rounded up. The one more is
 * for the rest of a chunk that a freeze closes; space_write() makes it good.
 */

#include "base/num.h"
#include "base/plant.h"
#include "space/space_internal.h"

#include <assert.h>
#include <stdlib.h>

enum { SPARE_SURPLUS = 4 };

static size_t
wanted_chunks(size_t runs)
{
	return div_up(runs, SPACE_CHUNK_RUNS) + 1;
}

static void
spare_push(struct space *space, struct run_chunk *chunk)
{
	chunk->next = space->spare_chunks;
	space->spare_chunks = chunk;
	space->spare_count++;
}

static struct run_chunk *
spare_pop(struct space *space)
{
	struct run_chunk *chunk = space->spare_chunks;

	assert(chunk);
	space->spare_chunks = chunk->next;
	space->spare_count--;
	return chunk;
}

static void
trim_spares(struct space *space)
{
	while (space->spare_count > wanted_chunks(space->reserved_runs) + SPARE_SURPLUS) {
		free(spare_pop(space));
		space->memory_bytes -= sizeof(struct run_chunk);
	}
}

int
space__fill_spares(struct space *space, size_t more_runs)
{
	while (space->spare_count < wanted_chunks(space->reserved_runs + more_runs)) {
		struct run_chunk *chunk = malloc(sizeof *chunk);

		if (!chunk)
			return fail(COP_ENOMEM, "list of freed runs");
		space->memory_bytes += sizeof *chunk;
		spare_push(space, chunk);
	}
	return 0;
}

int
space_reserve_lists(struct space *space, size_t count)
{
	int err;

	mutex_lock(&space->mutex);
	err = space__fill_spares(space, count);
	if (!err)
		space->reserved_runs += count;
	mutex_unlock(&space->mutex);
	return err;
}

void
space_unreserve_lists(struct space *space, size_t count)
{
	mutex_lock(&space->mutex);
	assert(space->reserved_runs >= count);
	space->reserved_runs -= count;
	trim_spares(space);
	mutex_unlock(&space->mutex);
}

void
space__list_append(struct run_list *list, struct run_list *tail)
{
	if (!tail->head)
		return;
	if (list->tail)
		list->tail->next = tail->head;
	else
		list->head = tail->head;
	list->tail = tail->tail;
	list->blocks += tail->blocks;
	*tail = (struct run_list){ 0 };
}

void
space__list_drop_head(struct space *space, struct run_list *list)
{
	struct run_chunk *chunk = list->head;

	list->head = chunk->next;
	if (!list->head)
		list->tail = NULL;
	spare_push(space, chunk);
	trim_spares(space);
}

void
space__list_free(struct run_list *list)
{
	struct run_chunk *next;

	for (struct run_chunk *chunk = list->head; chunk; chunk = next) {
		next = chunk->next;
		free(chunk);
	}
	*list = (struct run_list){ 0 };
}

static void
append(struct space *space, struct run run)
{
	struct run_list *list = &space->open_list;
	struct run_chunk *chunk = list->tail;
	struct run *last = chunk ? &chunk->runs[chunk->count - 1] : NULL;
	uint32_t ag_blocks = space->geometry.ag_blocks;

	list->blocks += run.blocks;
	if (last && last->addr + last->blocks == run.addr &&
		last->addr / ag_blocks == run.addr / ag_blocks) {
		last->blocks += run.blocks;
		chunk->blocks += run.blocks;
		return;
	}
	if (!chunk || chunk->count == SPACE_CHUNK_RUNS) {
		struct run_list one = { 0 };

		chunk = spare_pop(space);
		chunk->next = NULL;
		chunk->generation = space->open_generation;
		chunk->blocks = 0;
		chunk->count = 0;
		one.head = chunk;
		one.tail = chunk;
		space__list_append(list, &one);
	}
	chunk->runs[chunk->count++] = run;
	chunk->blocks += run.blocks;
}

bool
space__is_run(const struct space *space, struct run run)
{
	const struct geometry *geometry = &space->geometry;
	uint64_t ag = run.addr / geometry->ag_blocks;
	uint64_t first = run.addr % geometry->ag_blocks;

	return run.addr < geometry->blocks && first >= geometry_fixed_blocks(geometry, ag) &&
	       run.blocks <= geometry_ag_size(geometry, ag) - first;
}

/* What was allocated in this period is free at once, though the journal may still name it. */
static void
reuse_within_period(struct space *space, struct space_ag *ag, struct run run)
{
	uint32_t first = (uint32_t)(run.addr % space->geometry.ag_blocks);

	bitmap_clear(ag->born[space->open_side], first, run.blocks);
	space__mark_free(space, ag, first, run.blocks);
}

void
space_release(struct space *space, struct run run)
{
	struct space_ag *ag;
	uint32_t born = 0;

	mutex_lock(&space->mutex);
	assert(space->reserved_runs > 0);
	space->reserved_runs--;
	if (run.blocks > 0 && space__is_run(space, run)) {
		ag = space__peek_ag(space, run.addr / space->geometry.ag_blocks);
		if (ag)
			born = bitmap_count(ag->born[space->open_side],
				(uint32_t)(run.addr % space->geometry.ag_blocks), run.blocks);
		space->used_blocks -= run.blocks;
		space->stats.freed_blocks += run.blocks;
		space->open_freed_blocks += run.blocks - born;
		if (planted(PLANT_REUSE_WITHIN_PERIOD) && ag && born == run.blocks)
			reuse_within_period(space, ag, run);
		else
			append(space, run);
	}
	mutex_unlock(&space->mutex);
}
