#include "crash/hit.h"

#include "coppice.h"
#include "space/geometry.h"
#include "support/world.h"
#include "volume/volume.h"

#include <assert.h>

enum { SLOTS = 3, FANOUT = 64, VOLUME_BLOCKS = WORLD_BYTES / BLOCK_BYTES };

static bool
is_slot(const struct geometry *geometry, uint64_t addr)
{
	uint64_t ag = addr / geometry->ag_blocks;
	uint64_t span = 1;

	for (uint32_t level = 0; level <= geometry->levels && ag % span == 0; level++) {
		for (uint32_t slot = 0; slot < SLOTS; slot++) {
			if (geometry_space_block(geometry, level, ag, slot) == addr)
				return true;
		}
		span *= FANOUT;
	}
	return false;
}

static struct geometry
world_geometry(void)
{
	struct geometry geometry;
	int err = geometry_init(&geometry, VOLUME_BLOCKS, geometry_ag_blocks(VOLUME_BLOCKS),
		WORLD_JOURNAL_BYTES / BLOCK_BYTES);

	assert(err == 0);
	return geometry;
}

uint64_t
hit_draw_journal(struct rng *rng)
{
	struct geometry geometry = world_geometry();

	return geometry_journal(&geometry) + rng_below(rng, geometry.journal_blocks);
}

uint64_t
hit_behind_journal(void)
{
	struct geometry geometry = world_geometry();

	return geometry_journal(&geometry) + geometry.journal_blocks;
}

bool
hit_is_allocation(uint64_t addr, uint64_t blocks)
{
	struct geometry geometry = world_geometry();

	for (uint64_t i = 0; i < blocks; i++) {
		if (is_slot(&geometry, addr + i))
			return true;
	}
	return false;
}

bool
hit_has_allocation(struct sim_medium *medium)
{
	struct sim_struck struck = sim_last_struck(medium);

	return hit_is_allocation(struck.addr, struck.blocks) ||
	       hit_is_allocation(struck.to_addr, struck.to_addr ? struck.blocks : 0);
}

struct draw {
	struct volume *volume;
	struct rng *rng;
	uint64_t leaves; /* met */
	uint64_t addr;   /* of one of them, each with the same chance */
	int err;
};

static bool
draw_leaf(void *context, const struct tree_pointer *pointer, uint8_t level, int copy, int result)
{
	struct draw *draw = context;

	(void)copy;
	if (result == 0 && level == 0 && pointer->addr2 == 0 &&
		rng_below(draw->rng, ++draw->leaves) == 0)
		draw->addr = pointer->addr;
	return true;
}

static bool
draw_from_tree(void *context, struct view key, struct view value)
{
	struct draw *draw = context;
	const struct tree_walk walk = { .node = draw_leaf, .context = draw };
	struct tree_root root;

	if (key.bytes == ROOT_KEY_BYTES && key.data[8] == KEY_ROOT && key.data[9] == TREE_CONTENT) {
		draw->err = root_record_decode(value.data, &root);
		if (!draw->err)
			draw->err = tree_walk(
				volume_tree_env(draw->volume), TREE_CONTENT, &root, &walk);
	}
	return draw->err == 0;
}

static int
draw_from_volume(struct draw *draw)
{
	const struct tree_name name = { .branch = BRANCH_MAIN, .kind = TREE_OBJECTS };
	const struct tree_walk walk = { .entry = draw_from_tree, .context = draw };
	struct tree *objects;
	int err = volume_tree_open(draw->volume, name, &objects);

	if (err)
		return err;
	err = tree_walk(volume_tree_env(draw->volume), TREE_OBJECTS, &objects->root, &walk);
	volume_tree_release(draw->volume, objects);
	return err ? err : draw->err;
}

int
hit_draw_leaf(struct sim_medium *medium, struct rng *rng, uint64_t *out_addr, bool *out_is_there)
{
	const struct volume_options options = {
		.read_only = true, .as_is = true, .cache_bytes = COP_CACHE_BYTES_MIN
	};
	struct draw draw = { .rng = rng };
	struct volume_visit visit;
	struct device *dev;
	int err;

	sim_power_off(medium);
	sim_power_on(medium, sim_choose_oldest, NULL);
	err = sim_open(medium, DEVICE_READ_ONLY, &dev);
	if (err)
		return err;
	err = volume_open(dev, &options, &draw.volume);
	if (!err) {
		volume_enter(draw.volume, &visit);
		err = draw_from_volume(&draw);
		volume_leave(draw.volume, &visit);
	}
	volume_close(draw.volume);
	device_close(dev);
	*out_addr = draw.addr;
	*out_is_there = draw.leaves > 0;
	return err;
}
