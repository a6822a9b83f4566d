/*
 * The checkpoint's part: freeze, write, durable.
 *
 * What was born in the frozen period is a bitmap of each AG concerned, what was freed in it a list.
 * All births are applied before all releases, so that what was born and freed in one period never
 * shows. Then every block that changed goes to the slot that is neither in force nor was before:
 * three slots, so there is always exactly one. Checksums run upwards, writes need no order: the
 * superblock comes after a flush.
 */

#include "base/checksum.h"
#include "base/num.h"
#include "base/plant.h"
#include "space/space_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void
space_freeze(struct space *space, uint64_t next_generation, uint64_t *out_free_blocks,
	uint64_t *out_awaiting_blocks)
{
	mutex_lock(&space->mutex);
	assert(next_generation > space->open_generation);
	assert(space->frozen_generation == 0);
	assert(!space->frozen_list.head);
	assert(!space->born_ags[!space->open_side]);

	*out_free_blocks = space->geometry.blocks - space->used_blocks;
	*out_awaiting_blocks = space->open_freed_blocks;
	space->frozen_generation = space->open_generation;
	space->frozen_list = space->open_list;
	space->open_list = (struct run_list){ 0 };
	space->open_side = !space->open_side;
	space->open_freed_blocks = 0;
	space->open_generation = next_generation;
	mutex_unlock(&space->mutex);
}

/* ---- Applying ------------------------------------------------------------------------------- */

static void
apply_births(struct space *space)
{
	unsigned side = !space->open_side;
	size_t words = space->geometry.ag_blocks / 64;

	while (space->born_ags[side]) {
		struct space_ag *ag = space->born_ags[side];

		space->born_ags[side] = ag->born_next[side];
		ag->has_born[side] = false;
		for (size_t i = 0; i < words; i++) {
			ag->used[i] |= ag->born[side][i];
			ag->born[side][i] = 0;
		}
		ag->used_blocks = bitmap_count(ag->used, 0, ag->size_blocks);
		space__hold_ag(space, ag);
	}
}

/*
 * A run whose blocks are not all used was freed by a damaged tree, and one in an AG that damage has
 * closed has no bitmap: nothing happens to it. It stays used; that is the safe side, and a check
 * finds it.
 */
static void
apply_release(struct space *space, struct run_chunk *chunk, struct run *run)
{
	struct space_ag *ag = space__peek_ag(space, run->addr / space->geometry.ag_blocks);
	uint32_t first = (uint32_t)(run->addr % space->geometry.ag_blocks);

	if (ag && bitmap_is_set(ag->used, first, run->blocks)) {
		assert(ag->is_dirty);
		bitmap_clear(ag->used, first, run->blocks);
		ag->used_blocks -= run->blocks;
		return;
	}
	chunk->blocks -= run->blocks;
	space->frozen_list.blocks -= run->blocks;
	space->used_blocks += run->blocks;
	run->blocks = 0;
}

/* One chunk at a time, so that nobody waits long for the lock. */
static void
apply_releases(struct space *space)
{
	for (struct run_chunk *chunk = space->frozen_list.head; chunk; chunk = chunk->next) {
		for (size_t i = 0; i < chunk->count; i++)
			apply_release(space, chunk, &chunk->runs[i]);
		mutex_unlock(&space->mutex);
		mutex_lock(&space->mutex);
	}
}

/* ---- Writing -------------------------------------------------------------------------------- */

/* Blocks on their way; only the thread that writes the checkpoint has it. */
struct space_window {
	struct device *dev;
	uint8_t *blocks;
	size_t count;
	struct device_io ios[SPACE_LOADS_MAX];
};

/* No lock held. Writes what is in the window. */
static int
window_flush(struct space_window *window)
{
	struct device_io *ios[SPACE_LOADS_MAX];
	int err = 0;

	for (size_t i = 0; i < window->count; i++)
		ios[i] = &window->ios[i];
	if (window->count > 0)
		device_submit(window->dev, ios, window->count);
	for (size_t i = 0; i < window->count; i++) {
		device_wait(window->dev, ios[i]);
		if (ios[i]->result && !err)
			err = ios[i]->result;
	}
	window->count = 0;
	return err ? fail(err, "writing the allocation tree: %s", device_result_sentence(err)) : 0;
}

static uint8_t *
window_block(struct space_window *window)
{
	return window->blocks + window->count * BLOCK_BYTES;
}

static uint8_t
next_slot(const struct space_descriptor *descriptor)
{
	if (descriptor->generation == 0)
		return 0;
	if (planted(PLANT_BITMAP_SLOT_IN_FORCE))
		return descriptor->slot;
	for (uint8_t slot = 0;; slot++) {
		if (slot != descriptor->slot && slot != descriptor->previous_slot)
			return slot;
	}
}

/* The block in the window is `entry`'s new image: its descriptor follows. */
static void
window_add(struct space *space, struct space_window *window, struct space_entry *entry,
	uint32_t level, uint64_t index, uint64_t free_blocks, uint8_t longest_class)
{
	struct space_place place = { &space->geometry, space->uuid, level, index };
	uint8_t *block = window_block(window);
	uint8_t slot = next_slot(&entry->descriptor);

	entry->descriptor = (struct space_descriptor){
		.generation = space->frozen_generation,
		.checksum = checksum64(block, BLOCK_BYTES),
		.free_blocks = free_blocks,
		.longest_class = longest_class,
		.slot = slot,
		.previous_slot = entry->descriptor.generation == 0 ? slot : entry->descriptor.slot,
	};
	device_io_init(&window->ios[window->count], DEVICE_WRITE, space__place_addr(&place, slot),
		1, block);
	window->count++;
}

static void
add_bitmap(struct space *space, struct space_window *window, struct space_ag *ag)
{
	uint8_t *block = window_block(window);

	memset(block, 0, BLOCK_BYTES);
	memcpy(block, ag->used, space->geometry.ag_blocks / 8);
	window_add(space, window, space__ag_entry(ag), 0, ag->index,
		ag->size_blocks - ag->used_blocks,
		space__class(bitmap_longest(ag->used, ag->size_blocks)));
}

/* The parameters of the format stand at the start of an AG from its first bitmap on. */
static void
add_parameters(struct space *space, struct space_window *window, uint64_t ag)
{
	memcpy(window_block(window), space->parameters, BLOCK_BYTES);
	device_io_init(&window->ios[window->count], DEVICE_WRITE, ag * space->geometry.ag_blocks, 1,
		window_block(window));
	window->count++;
}

static void
add_inner(struct space *space, struct space_window *window, struct space_inner *inner)
{
	struct space_place place = { &space->geometry, space->uuid, inner->level, inner->index };
	struct space_descriptor below[SPACE_FANOUT];
	uint64_t free_blocks = 0;
	uint8_t longest_class = 0;

	for (uint32_t i = 0; i < SPACE_FANOUT; i++) {
		below[i] = inner->entries[i].descriptor;
		free_blocks += below[i].free_blocks;
		if (below[i].longest_class > longest_class)
			longest_class = below[i].longest_class;
	}
	space__inner_encode(&place, space->frozen_generation, below, window_block(window));
	window_add(space, window, inner->above, inner->level, inner->index, free_blocks,
		longest_class);
}

/*
 * The next block of `level` to write, at or after *index: goes down by the dirty bits of the blocks
 * above. *index is the one found.
 */
static struct space_entry *
next_dirty(struct space *space, uint32_t level, uint64_t *index)
{
	uint64_t end = div_up(space->geometry.ag_count, space__span(level));

	while (*index < end) {
		struct space_entry *entry = &space->root;
		uint32_t above = space->geometry.levels;

		while (above > level) {
			uint64_t at = *index >> (6 * (above - 1 - level));
			uint64_t later = entry->inner->dirty & (UINT64_MAX << at % SPACE_FANOUT);

			if (later == 0) { /* nothing more under this block */
				*index = (at / SPACE_FANOUT + 1) << (6 * (above - level));
				break;
			}
			if ((later >> at % SPACE_FANOUT & 1) ==
				0) { /* further on under this block */
				at += (uint64_t)__builtin_ctzll(later) - at % SPACE_FANOUT;
				*index = at << (6 * (above - 1 - level));
			}
			entry = &entry->inner->entries[at % SPACE_FANOUT];
			above--;
		}
		if (above == level)
			return entry;
	}
	return NULL;
}

/* All blocks of one level. Bits of the blocks at this level are done with. */
static int
write_level(struct space *space, struct space_window *window, uint32_t level)
{
	struct space_entry *entry;
	int err = 0;

	for (uint64_t index = 0; !err && (entry = next_dirty(space, level, &index)); index++) {
		if (level == 0) {
			if (space->parameters && entry->descriptor.generation == 0 &&
				!geometry_has_ring(&space->geometry, index))
				add_parameters(space, window, index);
			add_bitmap(space, window, entry->ag);
		} else {
			add_inner(space, window, entry->inner);
			entry->inner->dirty = 0;
		}
		if (window->count >= SPACE_LOADS_MAX - 1) { /* one round adds up to two */
			mutex_unlock(&space->mutex);
			err = window_flush(window);
			mutex_lock(&space->mutex);
		}
	}
	return err;
}

static int
write_tree(struct space *space)
{
	int err = 0;

	for (uint32_t level = 0; !err && level <= space->geometry.levels; level++)
		err = write_level(space, space->window, level);
	if (!err) {
		mutex_unlock(&space->mutex);
		err = window_flush(space->window);
		mutex_lock(&space->mutex);
	}
	return err;
}

/* ---- Preparing ------------------------------------------------------------------------------ */

void
space__window_free(struct space_window *window)
{
	if (!window)
		return;
	free(window->blocks);
	free(window);
}

static int
window_create(struct device *dev, struct space_window **out_window)
{
	struct space_window *window = calloc(1, sizeof *window);

	if (window)
		window->blocks = block_buffer_alloc(SPACE_LOADS_MAX);
	if (!window || !window->blocks) {
		space__window_free(window);
		return fail(COP_ENOMEM, "writing the allocation tree");
	}
	window->dev = dev;
	*out_window = window;
	return 0;
}

/*
 * May read. Where only the device failed to read a bitmap the checkpoint fails: what it names is
 * sound, and the next opening may read it.
 */
static int
prepare_releases(struct space *space, const struct run_chunk *chunk)
{
	int err = space__hold_ags(space, chunk->runs, chunk->count);

	for (size_t i = 0; i < chunk->count && !err; i++) {
		uint64_t ag = chunk->runs[i].addr / space->geometry.ag_blocks;

		if (!space__peek_ag(space, ag) && space__was_unread(space, ag))
			err = fail(COP_EIO, "a bitmap that must change cannot be read");
	}
	return err;
}

/* May read. */
static int
prepare_write(struct space *space)
{
	struct space_window *window = NULL;
	int err;

	assert(space->frozen_generation != 0);
	if (space->window)
		return 0;
	err = window_create(space->dev, &window);
	if (!err)
		err = space__fill_spares(space, 0);
	for (struct run_chunk *chunk = space->frozen_list.head; chunk && !err; chunk = chunk->next)
		err = prepare_releases(space, chunk);
	if (!err)
		space->window = TAKE(window);
	space__window_free(window);
	return err;
}

int
space_prepare_write(struct space *space)
{
	int err;

	mutex_lock(&space->mutex);
	err = prepare_write(space);
	mutex_unlock(&space->mutex);
	return err;
}

int
space_write(struct space *space, struct space_descriptor *out_root)
{
	int err;

	mutex_lock(&space->mutex);
	err = prepare_write(space);
	if (!err) {
		apply_births(space);
		apply_releases(space);
		space->frozen_is_applied = true;
		if (space->dirty_ags)
			err = write_tree(space);
	}
	if (!err) {
		space__let_go(space);
		*out_root = space->root.descriptor;
	}
	space__window_free(TAKE(space->window));
	mutex_unlock(&space->mutex);
	return err;
}

/* ---- Releasing ------------------------------------------------------------------------------ */

static void
free_chunk(struct space *space, const struct run_chunk *chunk)
{
	for (size_t i = 0; i < chunk->count; i++) {
		struct run run = chunk->runs[i];
		struct space_ag *ag;

		if (run.blocks == 0)
			continue;
		ag = space__peek_ag(space, run.addr / space->geometry.ag_blocks);
		assert(ag); /* busy and not used: it could not be evicted */
		space__mark_free(
			space, ag, (uint32_t)(run.addr % space->geometry.ag_blocks), run.blocks);
	}
}

void
space_durable(struct space *space, bool (*may_release)(void *context, uint64_t freed_generation),
	void *context)
{
	struct run_list old;
	struct run_list kept = { 0 };
	uint64_t limit;

	mutex_lock(&space->mutex);
	assert(space->frozen_generation != 0);
	limit = space->frozen_generation;
	if (planted(PLANT_REUSE_ONE_GENERATION_EARLY))
		limit++;
	if (space->has_previous || space->opening_blocks > 0)
		space__forget_previous(space);

	old = space->awaiting_list;
	space__list_append(&old, &space->frozen_list);
	space->awaiting_list = (struct run_list){ .blocks = old.blocks };
	while (old.head) {
		struct run_chunk *chunk = old.head;
		bool ready = chunk->generation < limit;

		/* The question may take locks of its own; and nobody waits longer than a chunk. */
		mutex_unlock(&space->mutex);
		if (ready && may_release)
			ready = may_release(context, chunk->generation);
		mutex_lock(&space->mutex);
		if (ready) {
			free_chunk(space, chunk);
			space->awaiting_list.blocks -= chunk->blocks;
			space__list_drop_head(space, &old);
		} else {
			struct run_list one = { chunk, chunk, chunk->blocks };

			old.head = chunk->next;
			chunk->next = NULL;
			space__list_append(&kept, &one);
		}
	}
	kept.blocks = space->awaiting_list.blocks;
	space->awaiting_list = kept;
	space->frozen_generation = 0;
	space->frozen_is_applied = false;
	mutex_unlock(&space->mutex);
}
