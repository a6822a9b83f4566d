/*
 * Taking runs.
 *
 * A search goes through the AGs from a goal, by the class bounds of the table, so that full and
 * fragmented AGs are passed by without a look at their bitmaps. A bound that a scan has found too
 * high is lowered; so the next search does not come again.
 *
 * Chunks. A node needs node_blocks consecutive blocks. Were free space counted in blocks only, then
 * data could leave it in pieces too short for a node, and a full volume could not be emptied. So:
 *   1. A node place is a *chunk*: aligned to its length. Freed nodes are chunks again.
 *   2. H = min(reserve, free - promised) / node_blocks chunks are held: what is left of the
 *      reserve, in node places.
 *   3. Only emptying callers take held chunks; data does not break them, and other nodes do not
 *      take them.
 * Data that was admitted always finds blocks: admission sees to free - promised >= reserve, or to
 * free >= promised when the caller empties; taking does not change free - promised. With C whole
 * chunks, if C <= H, fragments are free - pool - node_blocks * C >= free - pool - (free - promised)
 * = promised - pool, and the promises of the pool's nodes cover the pool. If C > H, a chunk may be
 * broken.
 * C is counted from below: what is not yet known of an AG counts as the least that its longest run
 * holds, less what may await release since before the mount. Before anything is refused for want
 * of chunks, the AGs not yet known are looked at, each once.
 */

#include "base/num.h"
#include "space/space_internal.h"

#include <assert.h>

enum {
	LOOKS_MAX = 8, /* AGs searched for the full length before a shorter run will do */
};

enum what {
	WHAT_DATA,
	WHAT_FRAGMENTS,
	WHAT_CHUNK,
};

static const uint64_t NO_AG = UINT64_MAX;

struct search {
	enum what what;
	uint64_t goal_addr;
	uint32_t want_blocks;
	uint64_t avoid_ag;
};

uint64_t
space__spare_chunks(const struct space *space)
{
	uint64_t free_blocks = space__free_blocks(space);
	uint64_t left = space__less(free_blocks, space->promised_blocks);
	uint64_t held = min_u64(space->reserve_blocks, left) / space->node_blocks;
	uint64_t chunks = space->root.chunks;

	if (space->learn_ag < space->geometry.ag_count)
		chunks = space__less(chunks, space->undiscovered_blocks);
	return space__less(chunks, held);
}

int
space__learn(struct space *space, uint64_t wanted)
{
	struct space_filter filter = {
		.class = space__class(space->node_blocks),
		.unknown = true,
	};

	while (space->learn_ag < space->geometry.ag_count && space__spare_chunks(space) < wanted) {
		uint64_t ag = space->learn_ag;
		struct space_ag *loaded;
		bool found;
		int err = space__next_ag(space, &ag, space->geometry.ag_count, filter, &found);

		if (err)
			return err;
		if (found) {
			err = space__find_ag(space, ag, &loaded);
			if (err)
				return err;
			ag++;
		}
		space->learn_ag = max_u64(space->learn_ag, min_u64(ag, space->geometry.ag_count));
	}
	return 0;
}

static struct bitmap_run
find_in(const struct space *space, const struct space_ag *ag, const struct search *search)
{
	uint64_t first = ag->index * space->geometry.ag_blocks;
	uint32_t from = 0;

	if (search->goal_addr > first && search->goal_addr - first < ag->size_blocks)
		from = (uint32_t)(search->goal_addr - first);
	if (search->what == WHAT_CHUNK)
		return bitmap_find_chunk(ag->busy, ag->size_blocks, space->node_blocks, from);
	return bitmap_find(ag->busy, ag->size_blocks,
		search->what == WHAT_DATA ? BITMAP_ALL : BITMAP_FRAGMENTS, space->node_blocks, from,
		search->want_blocks);
}

/* The best place seen so far, as AG and length. */
struct best {
	uint64_t ag;
	uint32_t blocks;
	uint32_t looks;
};

static bool
is_enough(const struct search *search, const struct best *best)
{
	return best->blocks >= search->want_blocks ||
	       (best->blocks > 0 && best->looks >= LOOKS_MAX);
}

/* May read. Looks at the AGs of [from, end) until one has all that is wanted, or enough were
 * looked at. */
static int
look_between(struct space *space, const struct search *search, uint8_t class, uint64_t from,
	uint64_t end, struct best *best)
{
	struct space_filter filter = { .class = class, .chunks = search->what == WHAT_CHUNK };

	for (uint64_t ag = from; !is_enough(search, best); ag++) {
		struct space_ag *loaded;
		struct bitmap_run run;
		bool found;
		int err = space__next_ag(space, &ag, end, filter, &found);

		if (err || !found)
			return err;
		err = space__find_ag(space, ag, &loaded);
		if (err)
			return err;
		if (!loaded || ag == search->avoid_ag)
			continue;
		run = find_in(space, loaded, search);
		if (run.count > best->blocks)
			*best = (struct best){ ag, run.count, best->looks };
		if (search->what == WHAT_DATA && run.count < search->want_blocks)
			space__lower_class(loaded, space__class(run.count));
		best->looks++;
	}
	return 0;
}

/*
 * May read. Where the longest run near the goal is, or the longest of LOOKS_MAX looks; best.blocks
 * 0: nowhere. First where there may be all that is wanted, then where there may be more than what
 * was seen.
 */
static int
look_everywhere(struct space *space, const struct search *search, struct best *out_best)
{
	uint64_t goal_ag = min_u64(
		search->goal_addr / space->geometry.ag_blocks, space->geometry.ag_count - 1);
	uint8_t class = space__class(search->want_blocks);
	struct best best = { 0 };

	/* Chunks and fragments are not what classes count: any run will do. */
	if (search->what == WHAT_FRAGMENTS)
		class = 1;
	for (;;) {
		int err = look_between(
			space, search, class, goal_ag, space->geometry.ag_count, &best);

		if (!err && !is_enough(search, &best))
			err = look_between(space, search, class, 0, goal_ag, &best);
		if (err)
			return err;
		class = (uint8_t)min_u64(class - 1U, space->root.class_bound);
		if (is_enough(search, &best) || search->what == WHAT_CHUNK ||
			class <= space__class(best.blocks)) {
			*out_best = best;
			return 0;
		}
	}
}

/*
 * May read. Reserves the best run that there is; out_run->blocks 0: none. Between the search and
 * the taking nothing is read, but between two looks others may take what was seen: then again.
 */
static int
search_and_reserve(struct space *space, const struct search *search, struct run *out_run)
{
	*out_run = (struct run){ 0 };
	for (;;) {
		struct best best;
		struct space_ag *ag;
		struct bitmap_run run;
		int err = look_everywhere(space, search, &best);

		if (err || best.blocks == 0)
			return err;
		ag = space__peek_ag(space, best.ag);
		if (!ag)
			continue;
		run = find_in(space, ag, search);
		if (run.count < best.blocks)
			continue;
		run.count = (uint32_t)min_u64(run.count, search->want_blocks);
		if (search->what == WHAT_DATA && space->node_blocks > 1 &&
			bitmap_chunks(ag->busy, space->node_blocks, run.first, run.count) >
				space__spare_chunks(space))
			return 0; /* others took chunks meanwhile; the caller looks again */
		ag->reserved_blocks += run.count;
		space__mark_busy(space, ag, run.first, run.count);
		out_run->addr = ag->index * space->geometry.ag_blocks + run.first;
		out_run->blocks = run.count;
		return 0;
	}
}

int
space__take_chunk(
	struct space *space, enum space_stream stream, uint64_t avoid_ag, uint64_t *out_addr)
{
	struct search search = {
		.what = WHAT_CHUNK,
		.goal_addr = space->goals[stream],
		.want_blocks = space->node_blocks,
		.avoid_ag = avoid_ag,
	};
	struct run run;
	int err = search_and_reserve(space, &search, &run);

	if (err)
		return err;
	if (run.blocks > 0)
		space->goals[stream] = run.addr + run.blocks;
	*out_addr = run.addr;
	return 0;
}

void
space__unreserve(struct space *space, struct run run)
{
	struct space_ag *ag = space__peek_ag(space, run.addr / space->geometry.ag_blocks);

	assert(ag);
	assert(ag->reserved_blocks >= run.blocks);
	ag->reserved_blocks -= run.blocks;
	space__mark_free(space, ag, (uint32_t)(run.addr % space->geometry.ag_blocks), run.blocks);
}

void
space__use(struct space *space, struct run run)
{
	struct space_ag *ag = space__peek_ag(space, run.addr / space->geometry.ag_blocks);
	uint32_t first = (uint32_t)(run.addr % space->geometry.ag_blocks);
	unsigned side = space->open_side;

	assert(ag);
	assert(ag->reserved_blocks >= run.blocks);
	assert(bitmap_is_set(ag->busy, first, run.blocks));
	assert(bitmap_count(ag->born[side], first, run.blocks) == 0);
	ag->reserved_blocks -= run.blocks;
	bitmap_set(ag->born[side], first, run.blocks);
	if (!ag->has_born[side]) {
		ag->has_born[side] = true;
		ag->born_next[side] = space->born_ags[side];
		space->born_ags[side] = ag;
	}
	space->used_blocks += run.blocks;
	space->stats.allocated_blocks += run.blocks;
}

/* May read. Data as rule 3 at the top allows it; out_run->blocks 0: nothing now. */
static int
take_data(struct space *space, struct search search, struct run *out_run)
{
	uint64_t broken = div_up(search.want_blocks, space->node_blocks) + 1;
	uint64_t spare;
	int err;

	if (space->node_blocks == 1)
		return search_and_reserve(space, &search, out_run);

	err = space__learn(space, broken);
	if (err)
		return err;
	spare = space__spare_chunks(space);
	if (spare < broken && spare >= 2)
		search.want_blocks = (uint32_t)(spare - 1) * space->node_blocks;
	if (spare >= 2)
		return search_and_reserve(space, &search, out_run);

	search.what = WHAT_FRAGMENTS;
	err = search_and_reserve(space, &search, out_run);
	if (err || out_run->blocks > 0 || space__spare_chunks(space) == 0)
		return err;
	search.what = WHAT_DATA;
	search.want_blocks = 1;
	return search_and_reserve(space, &search, out_run);
}

int
space_take(struct space *space, enum space_stream stream, uint64_t goal_addr, uint32_t want_blocks,
	struct run *out_run)
{
	struct search search = { .what = WHAT_DATA, .avoid_ag = NO_AG };
	struct run run = { 0 };
	uint64_t spare;
	int err;

	assert(stream == SPACE_DATA || stream == SPACE_SMALL_DATA);
	mutex_lock(&space->mutex);
	assert(want_blocks > 0);
	assert(want_blocks <= space->promised_blocks);
	do {
		search.goal_addr = goal_addr != 0 ? goal_addr : space->goals[stream];
		search.want_blocks = (uint32_t)min_u64(want_blocks, space->geometry.ag_blocks);
		spare = space__spare_chunks(space);
		err = take_data(space, search, &run);
	} while (!err && run.blocks == 0 &&
		 (space__trim_pool(space, 0) || spare != space__spare_chunks(space)));

	if (!err && run.blocks == 0)
		err = space__no_space(space, fail(COP_ENOSPC, "no free block"));
	if (!err) {
		space->promised_blocks -= run.blocks;
		if (goal_addr == 0)
			space->goals[stream] = run.addr + run.blocks;
		*out_run = run;
	}
	mutex_unlock(&space->mutex);
	return err;
}

void
space_untake(struct space *space, struct run run)
{
	if (run.blocks == 0)
		return;
	mutex_lock(&space->mutex);
	space__unreserve(space, run);
	space->promised_blocks += run.blocks;
	mutex_unlock(&space->mutex);
}

void
space_use(struct space *space, struct run run)
{
	mutex_lock(&space->mutex);
	assert(space->reserved_runs > 0);
	space->reserved_runs--;
	if (run.blocks > 0 && !space__is_closed(space, run.addr / space->geometry.ag_blocks))
		space__use(space, run);
	mutex_unlock(&space->mutex);
}
