#include "crash/hit.h"

#include "space/geometry.h"
#include "support/world.h"

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
