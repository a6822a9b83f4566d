/*
 * Reading an allocation tree without opening it. One block of each level is in memory; the bitmaps
 * under one block of level 1 are read many at once.
 */

#include "base/num.h"
#include "space/allocation_format.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { WALK_READS = 16 };

struct walk_level {
	uint64_t index; /* of the block whose descriptors these are */
	bool is_loaded;
	bool is_damaged;
	struct space_descriptor descriptors[SPACE_FANOUT];
};

struct walk {
	struct device *dev;
	const struct geometry *geometry;
	const uint8_t *uuid;
	struct space_descriptor root;
	space_visit visit;
	void *context;
	uint64_t end_ag;

	struct walk_level levels[SPACE_LEVELS_MAX + 1]; /* from 1 */
	struct device_io ios[WALK_READS];
	uint8_t *blocks; /* WALK_READS of them */
};

static struct space_descriptor *
descriptor_of(struct walk *walk, uint32_t level, uint64_t index)
{
	if (level == walk->geometry->levels)
		return &walk->root;
	return &walk->levels[level + 1].descriptors[index % SPACE_FANOUT];
}

/* The descriptors in block `index` of `level`, whose own descriptor is known. */
static int
load_level(struct walk *walk, uint32_t level, uint64_t index)
{
	struct space_place place = { walk->geometry, walk->uuid, level, index };
	struct space_place below = { walk->geometry, walk->uuid, level - 1, 0 };
	struct walk_level *loaded = &walk->levels[level];
	const struct space_descriptor *descriptor = descriptor_of(walk, level, index);
	int err;

	loaded->index = index;
	loaded->is_loaded = true;
	loaded->is_damaged = false;
	if (descriptor->generation == 0) {
		for (uint32_t i = 0; i < SPACE_FANOUT; i++) {
			below.index = index * SPACE_FANOUT + i;
			if (below.index * space__span(below.level) >= walk->geometry->ag_count)
				break;
			loaded->descriptors[i] =
				space__never_written(walk->geometry, below.level, below.index);
		}
		return 0;
	}
	err = device_read(walk->dev, space__place_addr(&place, descriptor->slot), walk->blocks, 1);
	if (!err)
		err = space__inner_decode(&place, descriptor, walk->blocks, loaded->descriptors);
	loaded->is_damaged = err != 0;
	return err;
}

/*
 * Has the blocks over `ag` in memory, from the top down. False: one is damaged; *ag is the first
 * AG after it, and *out_go_on what the visitor said.
 */
static bool
load_path(struct walk *walk, uint64_t *ag, bool *out_go_on)
{
	for (uint32_t level = walk->geometry->levels; level > 0; level--) {
		uint64_t index = *ag / space__span(level);
		int err;

		if (walk->levels[level].is_loaded && walk->levels[level].index == index)
			continue;
		err = load_level(walk, level, index);
		if (err) {
			*out_go_on =
				walk->visit(walk->context, max_u64(*ag, index * space__span(level)),
					descriptor_of(walk, level, index), NULL, err);
			err_clear();
			walk->levels[level].is_loaded = false;
			*ag = (index + 1) * space__span(level);
			return false;
		}
	}
	return true;
}

/* The bitmaps of [ag, end), all under one block of level 1. */
static bool
visit_bitmaps(struct walk *walk, uint64_t ag, uint64_t end)
{
	struct device_io *ios[WALK_READS];
	size_t io_count = 0;
	bool go_on = true;

	assert(end - ag <= WALK_READS);
	for (uint64_t i = ag; i < end; i++) {
		const struct space_descriptor *descriptor = descriptor_of(walk, 0, i);
		struct device_io *io = &walk->ios[i - ag];

		if (descriptor->generation == 0)
			continue;
		device_io_init(io, DEVICE_READ,
			geometry_space_block(walk->geometry, 0, i, descriptor->slot), 1,
			walk->blocks + (i - ag) * BLOCK_BYTES);
		ios[io_count++] = io;
	}
	if (io_count > 0)
		device_submit(walk->dev, ios, io_count);
	for (size_t i = 0; i < io_count; i++)
		device_wait(walk->dev, ios[i]);

	for (uint64_t i = ag; i < end && go_on; i++) {
		struct space_place place = { walk->geometry, walk->uuid, 0, i };
		const struct space_descriptor *descriptor = descriptor_of(walk, 0, i);
		const uint8_t *block = walk->blocks + (i - ag) * BLOCK_BYTES;
		int err = 0;

		if (descriptor->generation == 0) {
			block = NULL;
		} else {
			err = walk->ios[i - ag].result;
			if (err)
				err = fail(err, "bitmap of AG %" PRIu64 ": %s", i,
					cop_error_sentence(err));
			else
				err = space__bitmap_judge(&place, descriptor, block);
		}
		go_on = walk->visit(walk->context, i, descriptor, err ? NULL : block, err);
		if (err)
			err_clear();
	}
	return go_on;
}

static void
walk_ags(struct walk *walk, uint64_t ag)
{
	bool go_on = true;

	while (go_on && ag < walk->end_ag) {
		uint64_t end = min_u64(walk->end_ag, ag + WALK_READS);

		if (!load_path(walk, &ag, &go_on))
			continue;
		end = min_u64(end, (ag / SPACE_FANOUT + 1) * SPACE_FANOUT);
		go_on = visit_bitmaps(walk, ag, end);
		ag = end;
	}
}

int
space_walk(struct device *dev, const struct geometry *geometry, const uint8_t uuid[16],
	const struct space_descriptor *root, uint64_t first_ag, uint64_t ag_count,
	space_visit visit, void *context)
{
	struct space_place top = { geometry, uuid, geometry->levels, 0 };
	struct walk *walk = NULL;
	int err;

	walk = calloc(1, sizeof *walk);
	if (!walk)
		return fail(COP_ENOMEM, "walking the allocation tree");
	walk->dev = dev;
	walk->geometry = geometry;
	walk->uuid = uuid;
	walk->root = *root;
	walk->visit = visit;
	walk->context = context;
	walk->end_ag = first_ag + min_u64(ag_count, space__less(geometry->ag_count, first_ag));
	walk->blocks = block_buffer_alloc(WALK_READS);
	err = walk->blocks ? 0 : fail(COP_ENOMEM, "walking the allocation tree");
	if (!err)
		err = space__judge_descriptor(&top, UINT64_MAX, &walk->root);
	if (!err)
		walk_ags(walk, first_ag);
	free(walk->blocks);
	free(walk);
	return err;
}
