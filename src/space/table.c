#include "space/space_internal.h"

#include "base/num.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- Lists of AGs --------------------------------------------------------------------------- */

static void
link_append(struct space_link *list, struct space_link *link)
{
	link->prev = list->prev;
	link->next = list;
	list->prev->next = link;
	list->prev = link;
}

static void
link_remove(struct space_link *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
}

static struct space_ag *
ag_of_link(struct space_link *link)
{
	return (struct space_ag *)link; /* the link is the first member */
}

static bool
can_be_evicted(const struct space_ag *ag)
{
	return ag->busy_blocks == ag->used_blocks && !ag->is_dirty;
}

/* After a change of what makes an AG idle. */
static void
relink(struct space *space, struct space_ag *ag)
{
	bool idle = can_be_evicted(ag);

	if (idle == ag->is_idle)
		return;
	link_remove(&ag->link);
	link_append(idle ? &space->idle : &space->held, &ag->link);
	space->idle_count += idle ? 1 : -1U;
	ag->is_idle = idle;
}

/* ---- Sums ----------------------------------------------------------------------------------- */

struct space_entry *
space__ag_entry(struct space_ag *ag)
{
	return &ag->parent->entries[ag->index % SPACE_FANOUT];
}

/* Numbers that go down are added modulo 2^64. */
static void
add_up(struct space_inner *inner, uint64_t available_blocks, uint64_t chunks)
{
	for (; inner; inner = inner->parent) {
		inner->above->available_blocks += available_blocks;
		inner->above->chunks += chunks;
	}
}

static void
raise_class(struct space_inner *inner, uint8_t class_bound)
{
	for (; inner && inner->above->class_bound < class_bound; inner = inner->parent)
		inner->above->class_bound = class_bound;
}

static void
lower_class(struct space_inner *inner)
{
	for (; inner; inner = inner->parent) {
		uint8_t bound = 0;

		for (uint32_t i = 0; i < SPACE_FANOUT; i++) {
			if (inner->entries[i].class_bound > bound)
				bound = inner->entries[i].class_bound;
		}
		if (inner->above->class_bound == bound)
			return;
		inner->above->class_bound = bound;
	}
}

void
space__lower_class(struct space_ag *ag, uint8_t class_bound)
{
	struct space_entry *entry = space__ag_entry(ag);

	if (class_bound >= entry->class_bound)
		return;
	entry->class_bound = class_bound;
	lower_class(ag->parent);
}

void
space__mark_busy(struct space *space, struct space_ag *ag, uint32_t first, uint32_t count)
{
	struct space_entry *entry = space__ag_entry(ag);
	uint32_t broken = bitmap_chunks(ag->busy, space->node_blocks, first, count);

	assert(bitmap_count(ag->busy, first, count) == 0);
	bitmap_set(ag->busy, first, count);
	ag->busy_blocks += count;
	entry->available_blocks -= count;
	entry->chunks -= broken;
	add_up(ag->parent, -(uint64_t)count, -(uint64_t)broken);
	relink(space, ag);
}

void
space__mark_free(struct space *space, struct space_ag *ag, uint32_t first, uint32_t count)
{
	struct space_entry *entry = space__ag_entry(ag);
	uint32_t made;
	uint8_t class_bound;

	assert(bitmap_is_set(ag->busy, first, count));
	bitmap_clear(ag->busy, first, count);
	made = bitmap_chunks(ag->busy, space->node_blocks, first, count);
	ag->busy_blocks -= count;
	entry->available_blocks += count;
	entry->chunks += made;
	add_up(ag->parent, count, made);

	/* A bound that cannot be higher needs no measuring. */
	class_bound = entry->class_bound;
	if (class_bound < space__class(ag->size_blocks - ag->fixed_blocks))
		class_bound = space__class(bitmap_run_around(ag->busy, ag->size_blocks, first));
	if (class_bound > entry->class_bound) {
		entry->class_bound = class_bound;
		raise_class(ag->parent, class_bound);
	}
	relink(space, ag);
}

/* ---- Entries and inner blocks --------------------------------------------------------------- */

/* Whole aligned places that any run of the descriptor's class holds, wherever it begins. */
static uint64_t
chunks_at_least(const struct space_descriptor *descriptor, uint32_t node_blocks)
{
	uint64_t run_blocks;

	if (node_blocks == 1)
		return descriptor->free_blocks;
	if (descriptor->longest_class == 0)
		return 0;
	run_blocks = UINT64_C(1) << (descriptor->longest_class - 1);
	return space__less(run_blocks + 1, node_blocks) / node_blocks;
}

void
space__entry_init(struct space_entry *entry, const struct space *space, uint32_t level)
{
	entry->inner = NULL;
	entry->ag = NULL;
	entry->available_blocks = entry->descriptor.free_blocks;
	entry->chunks = chunks_at_least(&entry->descriptor, space->node_blocks);
	entry->chunks_known = level == 0 && space->node_blocks == 1;
	entry->class_bound = entry->descriptor.longest_class;
	entry->is_closed = false;
	entry->was_unread = false;
}

/* The root under which an entry hangs: N's or P's. */
static const struct space_entry *
tree_of(const struct space_entry *entry, const struct space_inner *parent)
{
	for (; parent; parent = parent->parent)
		entry = parent->above;
	return entry;
}

/* Nothing below `entry` is allocated, used or written any more. */
static void
close_entry(struct space *space, struct space_entry *entry, struct space_inner *parent,
	uint32_t level, uint64_t index, int err)
{
	uint64_t first_ag = index * space__span(level);

	if (tree_of(entry, parent) == &space->root)
		space->closed_ags +=
			min_u64(first_ag + space__span(level), space->geometry.ag_count) - first_ag;
	add_up(parent, -entry->available_blocks, -entry->chunks);
	entry->available_blocks = 0;
	entry->chunks = 0;
	entry->class_bound = 0;
	entry->is_closed = true;
	entry->was_unread = !err_is_damage(err);
	lower_class(parent);
}

/* Damage and a failing device close what cannot be read; want of memory is the caller's error. */
static bool
closes(int err)
{
	return err != COP_ENOMEM;
}

/* No lock held. The descriptors of an inner block. */
static int
read_inner(struct space *space, const struct space_place *place,
	const struct space_descriptor *descriptor, struct space_descriptor *out_descriptors)
{
	uint8_t *block;
	int err;

	if (descriptor->generation == 0) {
		uint64_t child_span = space__span(place->level - 1);

		for (uint32_t i = 0; i < SPACE_FANOUT; i++) {
			uint64_t index = place->index * SPACE_FANOUT + i;

			out_descriptors[i] = (struct space_descriptor){ 0 };
			if (index * child_span < space->geometry.ag_count)
				out_descriptors[i] = space__never_written(
					&space->geometry, place->level - 1, index);
		}
		return 0;
	}

	block = block_buffer_alloc(1);
	if (!block)
		return fail(COP_ENOMEM, "allocation block");
	err = device_read(space->dev, space__place_addr(place, descriptor->slot), block, 1);
	if (!err)
		err = space__inner_decode(place, descriptor, block, out_descriptors);
	free(block);
	return err;
}

/* May read. Afterwards `entry` has its inner block, or is closed. COP_ENOMEM. */
static int
load_inner(struct space *space, struct space_entry *entry, struct space_inner *parent,
	uint32_t level, uint64_t index)
{
	struct space_place place = { &space->geometry, space->uuid, level, index };
	struct space_descriptor descriptor = entry->descriptor;
	struct space_descriptor below[SPACE_FANOUT];
	struct space_inner *inner;
	uint64_t chunks = 0;
	int err;

	inner = calloc(1, sizeof *inner);
	if (!inner)
		return fail(COP_ENOMEM, "allocation block");

	mutex_unlock(&space->mutex);
	err = read_inner(space, &place, &descriptor, below);
	mutex_lock(&space->mutex);

	/* Somebody else may have been faster; and the checkpoint may then have written the block
	 * anew while it was read here. */
	if (entry->inner || entry->is_closed) {
		free(inner);
		err_clear();
		return 0;
	}
	if (err) {
		free(inner);
		if (!closes(err))
			return err;
		err_clear();
		close_entry(space, entry, parent, level, index, err);
		return 0;
	}

	inner->parent = parent;
	inner->above = entry;
	inner->level = level;
	inner->index = index;
	for (uint32_t i = 0; i < SPACE_FANOUT; i++) {
		inner->entries[i].descriptor = below[i];
		space__entry_init(&inner->entries[i], space, level - 1);
		chunks += inner->entries[i].chunks;
	}
	/* More is known now than the class of the one longest run told. */
	add_up(inner, 0, chunks - entry->chunks);
	entry->inner = inner;
	space->memory_bytes += sizeof *inner;
	return 0;
}

static uint32_t
index_below(uint32_t level, uint64_t ag)
{
	return (uint32_t)(ag >> (6 * (level - 1))) % SPACE_FANOUT;
}

/* ---- Bitmaps -------------------------------------------------------------------------------- */

enum previous_state {
	PREVIOUS_SAME, /* P uses nothing in this AG that N does not */
	PREVIOUS_READ, /* it may: its bitmap must be read */
	PREVIOUS_LOST, /* its bitmap cannot be read: P may use anything */
};

struct ag_load {
	struct space_entry *entry;
	struct space_inner *parent;
	uint64_t ag;
	struct space_descriptor descriptor;
	struct space_descriptor previous;
	enum previous_state previous_state;
	uint8_t *blocks; /* N's bitmap, P's bitmap */
	struct space_ag *record;
	uint64_t *opening;
	struct device_io ios[2];
};

static bool
is_same_block(const struct space_descriptor *a, const struct space_descriptor *b)
{
	return a->generation == b->generation && a->checksum == b->checksum && a->slot == b->slot;
}

/* May read. What P says of `ag`, whose path in N's tree is loaded. */
static int
find_previous(struct space *space, uint64_t ag, enum previous_state *out_state,
	struct space_descriptor *out_descriptor)
{
	struct space_inner *parent = NULL;
	struct space_entry *entry = &space->previous_root;
	struct space_entry *mine = &space->root;
	uint32_t level = space->geometry.levels;

	*out_state = PREVIOUS_SAME;
	while (space->has_previous && entry->descriptor.generation != 0 &&
		!is_same_block(&entry->descriptor, &mine->descriptor)) {
		if (entry->is_closed) {
			*out_state = PREVIOUS_LOST;
			break;
		}
		if (level == 0) {
			*out_state = PREVIOUS_READ;
			*out_descriptor = entry->descriptor;
			break;
		}
		if (!entry->inner) {
			int err = load_inner(space, entry, parent, level, ag / space__span(level));

			if (err)
				return err;
			continue;
		}
		parent = entry->inner;
		entry = &parent->entries[index_below(level, ag)];
		mine = &mine->inner->entries[index_below(level, ag)];
		level--;
	}
	return 0;
}

static void
free_load(struct ag_load *load)
{
	free(load->blocks);
	free(load->record);
	free(load->opening);
}

/* May read inner blocks of P. Sets up what a load needs, so that nothing but the device can fail
 * later. */
static int
begin_load(struct space *space, struct space_entry *entry, struct space_inner *parent, uint64_t ag,
	struct ag_load *load)
{
	struct space_place place = { &space->geometry, space->uuid, 0, ag };
	size_t map_bytes = space->geometry.ag_blocks / 8;
	size_t maps = 4;
	int err;

	*load = (struct ag_load){ .entry = entry, .parent = parent, .ag = ag };
	err = find_previous(space, ag, &load->previous_state, &load->previous);
	if (err)
		return err;
	load->descriptor = entry->descriptor;

	load->blocks = block_buffer_alloc(2);
	load->record = calloc(1, sizeof *load->record + maps * map_bytes);
	if (load->previous_state != PREVIOUS_SAME)
		load->opening = calloc(1, map_bytes);
	if (!load->blocks || !load->record ||
		(load->previous_state != PREVIOUS_SAME && !load->opening)) {
		free_load(load);
		return fail(COP_ENOMEM, "bitmap of AG %" PRIu64, ag);
	}
	device_io_init(&load->ios[0], DEVICE_READ, space__place_addr(&place, load->descriptor.slot),
		1, load->blocks);
	device_io_init(&load->ios[1], DEVICE_READ, space__place_addr(&place, load->previous.slot),
		1, load->blocks + BLOCK_BYTES);
	return 0;
}

/* No lock held. */
static void
read_bitmaps(struct space *space, struct ag_load *loads, size_t count)
{
	struct device_io *ios[2 * SPACE_LOADS_MAX];
	size_t io_count = 0;

	for (size_t i = 0; i < count; i++) {
		if (loads[i].descriptor.generation != 0)
			ios[io_count++] = &loads[i].ios[0];
		if (loads[i].previous_state == PREVIOUS_READ)
			ios[io_count++] = &loads[i].ios[1];
	}
	if (io_count == 0)
		return;
	device_submit(space->dev, ios, io_count);
	for (size_t i = 0; i < io_count; i++)
		device_wait(space->dev, ios[i]);
}

/* The bitmap of N, verified, in load->blocks. */
static int
judge_current(const struct space *space, struct ag_load *load)
{
	struct space_place place = { &space->geometry, space->uuid, 0, load->ag };

	if (load->descriptor.generation == 0) {
		memset(load->blocks, 0, BLOCK_BYTES);
		bitmap_set((uint64_t *)(void *)load->blocks, 0,
			geometry_fixed_blocks(&space->geometry, load->ag));
		return 0;
	}
	if (load->ios[0].result)
		return fail(load->ios[0].result, "bitmap of AG %" PRIu64, load->ag);
	return space__bitmap_judge(&place, &load->descriptor, load->blocks);
}

/* The map of P, verified; where it cannot be, P is taken to use everything. */
static void
judge_previous(const struct space *space, struct ag_load *load)
{
	struct space_place place = { &space->geometry, space->uuid, 0, load->ag };
	uint8_t *block = load->blocks + BLOCK_BYTES;

	if (load->previous_state == PREVIOUS_READ &&
		(load->ios[1].result || space__bitmap_judge(&place, &load->previous, block) != 0)) {
		err_clear();
		load->previous_state = PREVIOUS_LOST;
	}
	if (load->previous_state == PREVIOUS_LOST) {
		memset(block, 0, BLOCK_BYTES);
		bitmap_set(
			(uint64_t *)(void *)block, 0, geometry_ag_size(&space->geometry, load->ag));
	}
}

static void
evict_idle(struct space *space)
{
	while (space->idle_count > SPACE_IDLE_AGS_MAX) {
		struct space_ag *ag = ag_of_link(space->idle.next);

		link_remove(&ag->link);
		space->idle_count--;
		space__ag_entry(ag)->ag = NULL;
		space->memory_bytes -= sizeof *ag + 4 * (space->geometry.ag_blocks / 8);
		free(ag);
	}
}

/* Puts a verified bitmap into the table. */
static void
install_ag(struct space *space, struct ag_load *load)
{
	const uint64_t *current = (const uint64_t *)(const void *)load->blocks;
	const uint64_t *previous = current + BLOCK_BYTES / sizeof *current;
	struct space_entry *entry = load->entry;
	struct space_ag *ag = TAKE(load->record);
	size_t words = space->geometry.ag_blocks / 64;
	uint64_t available_blocks;
	uint64_t chunks;

	ag->parent = load->parent;
	ag->index = load->ag;
	ag->size_blocks = geometry_ag_size(&space->geometry, load->ag);
	ag->fixed_blocks = geometry_fixed_blocks(&space->geometry, load->ag);
	ag->used = ag->maps;
	ag->busy = ag->maps + words;
	ag->born[0] = ag->maps + 2 * words;
	ag->born[1] = ag->maps + 3 * words;
	memcpy(ag->used, current, words * sizeof *current);
	memcpy(ag->busy, current, words * sizeof *current);
	ag->used_blocks = bitmap_count(ag->used, 0, ag->size_blocks);
	if (load->previous_state != PREVIOUS_SAME && space->has_previous) {
		for (size_t i = 0; i < words; i++) {
			load->opening[i] = previous[i] & ~current[i];
			ag->busy[i] |= previous[i];
		}
		ag->opening_blocks = bitmap_count(load->opening, 0, ag->size_blocks);
	}
	ag->busy_blocks = ag->used_blocks + ag->opening_blocks;
	bitmap_set(ag->busy, ag->size_blocks, space->geometry.ag_blocks - ag->size_blocks);
	if (ag->opening_blocks > 0) {
		ag->opening = TAKE(load->opening);
		ag->previous_is_lost = load->previous_state == PREVIOUS_LOST;
		space->opening_blocks += ag->opening_blocks;
		/* Where P is lost, nobody knows how many of them the superblock has counted. */
		if (load->previous_state == PREVIOUS_READ)
			space->undiscovered_blocks =
				space__less(space->undiscovered_blocks, ag->opening_blocks);
	}

	available_blocks = ag->size_blocks - ag->busy_blocks;
	chunks = bitmap_chunks(ag->busy, space->node_blocks, 0, ag->size_blocks);
	add_up(ag->parent, available_blocks - entry->available_blocks, chunks - entry->chunks);
	entry->available_blocks = available_blocks;
	entry->chunks = chunks;
	entry->chunks_known = true;
	entry->ag = ag;
	space->memory_bytes += sizeof *ag + 4 * (space->geometry.ag_blocks / 8);

	ag->is_idle = can_be_evicted(ag);
	link_append(ag->is_idle ? &space->idle : &space->held, &ag->link);
	space->idle_count += ag->is_idle;
	space__lower_class(ag, space__class(bitmap_longest(ag->busy, ag->size_blocks)));
}

/*
 * Takes over what was read. When the checkpoint has written the AG meanwhile, or somebody else has
 * loaded it, nothing happens: the caller looks again.
 */
static int
end_load(struct space *space, struct ag_load *load)
{
	struct space_entry *entry = load->entry;
	int err = 0;

	if (!entry->ag && !entry->is_closed &&
		is_same_block(&load->descriptor, &entry->descriptor)) {
		err = judge_current(space, load);
		if (err && closes(err)) {
			err_clear();
			close_entry(space, entry, load->parent, 0, load->ag, err);
			err = 0;
		} else if (!err) {
			judge_previous(space, load);
			install_ag(space, load);
		}
	}
	free_load(load);
	return err;
}

/* May read. The entry of the bitmap of `ag`; NULL: an inner block above it is closed. */
static int
find_entry(struct space *space, uint64_t ag, struct space_entry **out_entry,
	struct space_inner **out_parent)
{
	struct space_inner *parent = NULL;
	struct space_entry *entry = &space->root;
	uint32_t level = space->geometry.levels;

	assert(ag < space->geometry.ag_count);
	*out_entry = NULL;
	while (level > 0) {
		if (entry->is_closed)
			return 0;
		if (!entry->inner) {
			int err = load_inner(space, entry, parent, level, ag / space__span(level));

			if (err)
				return err;
			continue;
		}
		parent = entry->inner;
		entry = &parent->entries[index_below(level, ag)];
		level--;
	}
	*out_entry = entry;
	*out_parent = parent;
	return 0;
}

struct space_ag *
space__peek_ag(struct space *space, uint64_t ag)
{
	struct space_entry *entry = &space->root;

	for (uint32_t level = space->geometry.levels; level > 0; level--) {
		if (!entry->inner)
			return NULL;
		entry = &entry->inner->entries[index_below(level, ag)];
	}
	return entry->ag;
}

int
space__find_ag(struct space *space, uint64_t ag, struct space_ag **out_ag)
{
	for (;;) {
		struct space_entry *entry;
		struct space_inner *parent;
		struct ag_load load;
		int err = find_entry(space, ag, &entry, &parent);

		if (err)
			return err;
		if (!entry || entry->is_closed) {
			*out_ag = NULL;
			return 0;
		}
		if (entry->ag) {
			*out_ag = entry->ag;
			if (entry->ag->is_idle) { /* the most recently used */
				link_remove(&entry->ag->link);
				link_append(&space->idle, &entry->ag->link);
			}
			evict_idle(space);
			return 0;
		}
		err = begin_load(space, entry, parent, ag, &load);
		if (err)
			return err;
		mutex_unlock(&space->mutex);
		read_bitmaps(space, &load, 1);
		mutex_lock(&space->mutex);
		err = end_load(space, &load);
		if (err)
			return err;
	}
}

void
space__hold_ag(struct space *space, struct space_ag *ag)
{
	struct space_inner *inner = ag->parent;
	uint64_t index = ag->index;

	if (ag->is_dirty)
		return;
	ag->is_dirty = true;
	ag->dirty_next = space->dirty_ags;
	space->dirty_ags = ag;
	relink(space, ag);
	for (; inner; inner = inner->parent) {
		inner->dirty |= UINT64_C(1) << index % SPACE_FANOUT;
		index /= SPACE_FANOUT;
	}
}

void
space__let_go(struct space *space)
{
	while (space->dirty_ags) {
		struct space_ag *ag = space->dirty_ags;

		space->dirty_ags = ag->dirty_next;
		ag->is_dirty = false;
		relink(space, ag);
	}
	evict_idle(space);
}

static bool
is_loading(const struct ag_load *loads, size_t count, uint64_t ag)
{
	for (size_t i = 0; i < count; i++) {
		if (loads[i].ag == ag)
			return true;
	}
	return false;
}

/* May read inner blocks. Begins to load up to SPACE_LOADS_MAX AGs that are not here, holds the
 * others. */
static int
begin_loads(struct space *space, const struct run *runs, size_t count, struct ag_load *loads,
	size_t *out_count)
{
	*out_count = 0;
	for (size_t i = 0; i < count && *out_count < SPACE_LOADS_MAX; i++) {
		uint64_t ag = runs[i].addr / space->geometry.ag_blocks;
		struct space_entry *entry;
		struct space_inner *parent;
		int err = find_entry(space, ag, &entry, &parent);

		if (err)
			return err;
		if (!entry || entry->is_closed || is_loading(loads, *out_count, ag))
			continue;
		if (entry->ag) {
			space__hold_ag(space, entry->ag);
			continue;
		}
		err = begin_load(space, entry, parent, ag, &loads[*out_count]);
		if (err)
			return err;
		(*out_count)++;
	}
	return 0;
}

/* The entry that closes `ag`: its own or one above; NULL: none does, so far as is known. */
static const struct space_entry *
closed_entry(const struct space *space, uint64_t ag)
{
	const struct space_entry *entry = &space->root;

	for (uint32_t level = space->geometry.levels; level > 0 && !entry->is_closed; level--) {
		if (!entry->inner)
			return NULL;
		entry = &entry->inner->entries[index_below(level, ag)];
	}
	return entry->is_closed ? entry : NULL;
}

bool
space__is_closed(const struct space *space, uint64_t ag)
{
	return closed_entry(space, ag) != NULL;
}

bool
space__was_unread(const struct space *space, uint64_t ag)
{
	const struct space_entry *entry = closed_entry(space, ag);

	return entry && entry->was_unread;
}

int
space__hold_ags(struct space *space, const struct run *runs, size_t count)
{
	struct ag_load *loads = calloc(SPACE_LOADS_MAX, sizeof *loads);
	size_t load_count;
	int err;

	if (!loads)
		return fail(COP_ENOMEM, "bitmaps of a checkpoint");
	do {
		err = begin_loads(space, runs, count, loads, &load_count);
		if (err) {
			for (size_t i = 0; i < load_count; i++)
				free_load(&loads[i]);
			break;
		}
		mutex_unlock(&space->mutex);
		read_bitmaps(space, loads, load_count);
		mutex_lock(&space->mutex);
		for (size_t i = 0; i < load_count; i++) {
			struct space_entry *entry = loads[i].entry;
			int load_err = end_load(space, &loads[i]);

			if (entry->ag)
				space__hold_ag(space, entry->ag);
			err = err ? err : load_err;
		}
	} while (load_count > 0 && !err);
	free(loads);
	return err;
}

static bool
may_serve(const struct space_entry *entry, struct space_filter filter)
{
	return entry->class_bound >= filter.class &&
	       !(entry->chunks_known && filter.chunks && entry->chunks == 0) &&
	       !(entry->chunks_known && filter.unknown);
}

int
space__next_ag(struct space *space, uint64_t *ag, uint64_t end, struct space_filter filter,
	bool *out_found)
{
	assert(filter.class > 0);
	*out_found = false;
	while (*ag < end) {
		struct space_inner *parent = NULL;
		struct space_entry *entry = &space->root;
		uint32_t level = space->geometry.levels;

		/* Down while there may be something; a loaded path is in sums that are true. */
		while (level > 0 && entry->inner && may_serve(entry, filter)) {
			parent = entry->inner;
			entry = &parent->entries[index_below(level, *ag)];
			level--;
		}
		if (!may_serve(entry, filter)) {
			*ag = (*ag / space__span(level) + 1) * space__span(level);
		} else if (level == 0) {
			*out_found = true;
			return 0;
		} else {
			int err = load_inner(space, entry, parent, level, *ag / space__span(level));

			if (err)
				return err;
		}
	}
	return 0;
}

/* All blocks of `ag` that are set in `map`. */
static void
free_marked(struct space *space, struct space_ag *ag, const uint64_t *map)
{
	struct bitmap_run run = { 0 };

	while (bitmap_next_set(map, ag->size_blocks, run.first + run.count, &run))
		space__mark_free(space, ag, run.first, run.count);
}

void
space__forget_previous(struct space *space)
{
	struct space_link *lists[] = { &space->idle, &space->held };

	space->has_previous = false;
	space->undiscovered_blocks = 0;
	for (size_t i = 0; i < ARRAY_COUNT(lists); i++) {
		struct space_link *next;

		for (struct space_link *link = lists[i]->next; link != lists[i]; link = next) {
			struct space_ag *ag = ag_of_link(link);
			uint64_t *opening = TAKE(ag->opening);

			next = link->next;
			if (!opening)
				continue;
			space->opening_blocks -= ag->opening_blocks;
			ag->opening_blocks = 0;
			free_marked(space, ag, opening);
			free(opening);
		}
	}
}

/* Frees what is below an entry, without recursion: down to a leaf, up again. */
static void
free_below(struct space_entry *root)
{
	struct space_inner *inner = root->inner;

	while (inner) {
		struct space_inner *down = NULL;

		for (uint32_t i = 0; i < SPACE_FANOUT && !down; i++) {
			struct space_entry *entry = &inner->entries[i];

			if (entry->ag)
				free(entry->ag->opening);
			free(TAKE(entry->ag));
			down = TAKE(entry->inner);
		}
		if (!down) {
			down = inner->parent;
			free(inner);
		}
		inner = down;
	}
	root->inner = NULL;
}

void
space__free_table(struct space *space)
{
	free_below(&space->root);
	free_below(&space->previous_root);
}
