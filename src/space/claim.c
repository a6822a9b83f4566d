/*
 * What the journal names is not free, whatever the bitmaps say: recovery takes it out of what may
 * be allocated before it allocates anything.
 *
 * Held blocks are kept where those are kept that P uses and N does not: in the opening map of their
 * AG, and for as long. Where the bitmap of P is lost, that map has every block that N leaves free.
 * What is claimed may lie in the map: it was free when it was handed out, so either P does not use
 * it, or a successor of N had been durable, which is lost, and P is no longer whole.
 */

#include "base/num.h"
#include "space/space_internal.h"

#include <assert.h>
#include <stdlib.h>

/* ---- Claiming ------------------------------------------------------------------------------- */

/* Blocks of an opening map cease to be in it; they stay busy. */
static void
leave_opening(struct space *space, struct space_ag *ag, uint32_t first, uint32_t count)
{
	bitmap_clear(ag->opening, first, count);
	ag->opening_blocks -= count;
	space->opening_blocks -= count;
}

/* Busy blocks come into the opening map. */
static void
enter_opening(struct space *space, struct space_ag *ag, uint32_t first, uint32_t count)
{
	bitmap_set(ag->opening, first, count);
	ag->opening_blocks += count;
	space->opening_blocks += count;
}

/* May read. */
static int
claim(struct space *space, struct run run)
{
	uint64_t index = run.addr / space->geometry.ag_blocks;
	uint32_t first = (uint32_t)(run.addr % space->geometry.ag_blocks);
	struct space_ag *ag;
	uint32_t kept;
	int err;

	if (!space__is_run(space, run))
		return fail(COP_EFORMAT, "%" PRIu32 " blocks at %" PRIu64 " are no place for data",
			run.blocks, run.addr);
	err = space__find_ag(space, index, &ag);
	if (err)
		return err;
	if (!ag && space__was_unread(space, index))
		return fail(COP_EIO, "the bitmap of AG %" PRIu64 " cannot be read", index);
	if (!ag)
		return 0;

	kept = ag->opening ? bitmap_count(ag->opening, first, run.blocks) : 0;
	if (bitmap_count(ag->busy, first, run.blocks) != kept)
		return fail(COP_EFORMAT, "%" PRIu32 " blocks at %" PRIu64 " are not all free",
			run.blocks, run.addr);
	if (kept == run.blocks) {
		leave_opening(space, ag, first, run.blocks);
	} else if (kept == 0) {
		space__mark_busy(space, ag, first, run.blocks);
	} else {
		for (uint32_t at = first; at < first + run.blocks; at++) {
			if (bitmap_is_set(ag->opening, at, 1))
				leave_opening(space, ag, at, 1);
			else
				space__mark_busy(space, ag, at, 1);
		}
	}
	ag->reserved_blocks += run.blocks;
	return 0;
}

int
space_claim(struct space *space, struct run run)
{
	int err;

	if (run.blocks == 0)
		return 0;
	mutex_lock(&space->mutex);
	err = claim(space, run);
	mutex_unlock(&space->mutex);
	return err;
}

void
space_unclaim(struct space *space, struct run run)
{
	struct space_ag *ag;

	if (run.blocks == 0)
		return;
	mutex_lock(&space->mutex);
	ag = space__peek_ag(space, run.addr / space->geometry.ag_blocks);
	if (ag && ag->previous_is_lost && ag->opening) {
		assert(ag->reserved_blocks >= run.blocks);
		ag->reserved_blocks -= run.blocks;
		enter_opening(
			space, ag, (uint32_t)(run.addr % space->geometry.ag_blocks), run.blocks);
	} else if (ag) {
		space__unreserve(space, run);
	}
	mutex_unlock(&space->mutex);
}

/* ---- Holding -------------------------------------------------------------------------------- */

/* The first run of blocks in [at, end) that may be allocated; count 0: there is none. */
static struct bitmap_run
next_free(const struct space_ag *ag, uint32_t at, uint32_t end)
{
	struct bitmap_run run = { at, 0 };

	while (run.first < end && bitmap_is_set(ag->busy, run.first, 1))
		run.first++;
	while (run.first + run.count < end && !bitmap_is_set(ag->busy, run.first + run.count, 1))
		run.count++;
	return run;
}

/* May read. The part of a run that lies in one AG. */
static int
hold(struct space *space, uint64_t index, uint32_t first, uint32_t count)
{
	struct space_ag *ag;
	struct bitmap_run run;
	int err = space__find_ag(space, index, &ag);

	/* Nothing is allocated in a closed AG. */
	if (err || !ag || bitmap_is_set(ag->busy, first, count))
		return err;
	if (!ag->opening) {
		ag->opening = calloc(1, space->geometry.ag_blocks / 8);
		if (!ag->opening)
			return fail(COP_ENOMEM, "blocks of the journal in AG %" PRIu64, index);
	}
	for (run = next_free(ag, first, first + count); run.count > 0;
		run = next_free(ag, run.first + run.count, first + count)) {
		space__mark_busy(space, ag, run.first, run.count);
		enter_opening(space, ag, run.first, run.count);
	}
	return 0;
}

int
space_hold(struct space *space, struct run run)
{
	uint64_t ag_blocks = space->geometry.ag_blocks;
	int err = 0;

	if (run.addr >= space->geometry.blocks || run.blocks > space->geometry.blocks - run.addr)
		return fail(COP_EFORMAT, "%" PRIu32 " blocks at %" PRIu64 " are past the end",
			run.blocks, run.addr);
	mutex_lock(&space->mutex);
	while (run.blocks > 0 && !err) {
		uint64_t first = run.addr % ag_blocks;
		uint32_t count = (uint32_t)min_u64(run.blocks, ag_blocks - first);

		err = hold(space, run.addr / ag_blocks, (uint32_t)first, count);
		run.addr += count;
		run.blocks -= count;
	}
	mutex_unlock(&space->mutex);
	return err;
}

bool
space_give_up_previous(struct space *space)
{
	bool has_some;

	mutex_lock(&space->mutex);
	has_some = space->has_previous || space->opening_blocks > 0;
	if (has_some)
		space__forget_previous(space);
	mutex_unlock(&space->mutex);
	return has_some;
}
