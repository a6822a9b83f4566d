#include "space/geometry.h"

#include "base/num.h"

#include <assert.h>

enum {
	SLOT_COUNT_USUAL = 1,   /* superblock blocks of an AG that is no place of the ring */
	LOCK_RECORD_BLOCKS = 1, /* in AG 0 */
	FIRST_NODES_BLOCKS =
		64, /* what AG 0 must hold beside the journal: the trees of an empty volume */
	JOURNAL_BLOCKS_MIN = 64,
	JOURNAL_BLOCKS_MAX = 16384,
	JOURNAL_SHARE = 16,
	ADDRESS_BITS = 48,
};

static const uint64_t places[] = { 0, 1, 3, 7 };

static uint32_t
superblock_blocks(uint64_t ag)
{
	for (uint32_t place = 0; place < ARRAY_COUNT(places); place++) {
		if (places[place] == ag)
			return SUPERBLOCK_RING;
	}
	return SLOT_COUNT_USUAL;
}

/* Blocks of the allocation tree that `ag` begins, the bitmap among them. */
static uint32_t
space_levels_of(const struct geometry *geometry, uint64_t ag)
{
	uint32_t levels = 1;

	while (levels <= geometry->levels && ag % SPACE_FANOUT == 0) {
		levels++;
		ag /= SPACE_FANOUT;
	}
	return levels;
}

uint32_t
geometry_ag_blocks(uint64_t volume_blocks)
{
	uint32_t ag_blocks = AG_BLOCKS_MAX;

	while (ag_blocks > AG_BLOCKS_MIN && volume_blocks / ag_blocks < AG_WANTED)
		ag_blocks /= 2;
	return ag_blocks;
}

uint64_t
geometry_journal_blocks(uint64_t volume_blocks)
{
	uint64_t blocks = volume_blocks / JOURNAL_SHARE;

	blocks = min_u64(blocks, geometry_ag_blocks(volume_blocks) / 2);
	blocks = min_u64(blocks, JOURNAL_BLOCKS_MAX);
	return max_u64(blocks, JOURNAL_BLOCKS_MIN);
}

int
geometry_init(struct geometry *geometry, uint64_t volume_blocks, uint32_t ag_blocks,
	uint64_t journal_blocks)
{
	struct geometry made = {
		.blocks = volume_blocks,
		.ag_blocks = ag_blocks,
		.journal_blocks = journal_blocks,
		.levels = 1,
	};
	uint64_t rest;
	uint64_t covered;

	if (!is_power_of_two(ag_blocks) || ag_blocks < AG_BLOCKS_MIN || ag_blocks > AG_BLOCKS_MAX)
		return fail(COP_EINVAL, "allocation groups of %" PRIu32 " blocks", ag_blocks);
	if (volume_blocks > UINT64_C(1) << ADDRESS_BITS)
		return fail(
			COP_EINVAL, "a volume of %" PRIu64 " blocks is too large", volume_blocks);
	if (volume_blocks < ag_blocks)
		return fail(
			COP_EINVAL, "a volume of %" PRIu64 " blocks is too small", volume_blocks);

	rest = volume_blocks % ag_blocks;
	if (rest < AG_LAST_MIN)
		made.blocks -= rest;
	made.ag_count = div_up(made.blocks, ag_blocks);
	for (covered = SPACE_FANOUT; covered < made.ag_count; covered *= SPACE_FANOUT)
		made.levels++;
	assert(made.levels < SPACE_LEVELS_MAX);

	if (journal_blocks > ag_blocks ||
		geometry_journal(&made) + journal_blocks + FIRST_NODES_BLOCKS > ag_blocks)
		return fail(COP_EINVAL,
			"a journal of %" PRIu64 " bytes is too large; here it has %" PRIu64
			" at the most",
			journal_blocks * COP_BLOCK_BYTES,
			(ag_blocks - geometry_journal(&made) - FIRST_NODES_BLOCKS) *
				COP_BLOCK_BYTES);

	*geometry = made;
	return 0;
}

uint64_t
geometry_superblock(const struct geometry *geometry, uint32_t place, uint32_t slot)
{
	assert(place < ARRAY_COUNT(places));
	assert(slot < SUPERBLOCK_RING);
	if (places[place] >= geometry->ag_count)
		return 0;
	return places[place] * geometry->ag_blocks + slot;
}

bool
geometry_has_ring(const struct geometry *geometry, uint64_t ag)
{
	assert(ag < geometry->ag_count);
	for (uint32_t place = 0; place < ARRAY_COUNT(places); place++) {
		if (places[place] == ag)
			return true;
	}
	return false;
}

uint32_t
geometry_superblock_places(const struct geometry *geometry)
{
	uint32_t count = 0;

	while (count < ARRAY_COUNT(places) && places[count] < geometry->ag_count)
		count++;
	return count;
}

uint64_t
geometry_space_block(const struct geometry *geometry, uint32_t level, uint64_t ag, uint32_t slot)
{
	assert(ag < geometry->ag_count);
	assert(level < space_levels_of(geometry, ag));
	assert(slot < SPACE_SLOTS);
	return ag * geometry->ag_blocks + superblock_blocks(ag) + level * SPACE_SLOTS + slot;
}

uint64_t
geometry_lock_record(const struct geometry *geometry)
{
	return superblock_blocks(0) + space_levels_of(geometry, 0) * SPACE_SLOTS;
}

uint64_t
geometry_journal(const struct geometry *geometry)
{
	return geometry_lock_record(geometry) + LOCK_RECORD_BLOCKS;
}

uint32_t
geometry_fixed_blocks(const struct geometry *geometry, uint64_t ag)
{
	if (ag == 0)
		return (uint32_t)(geometry_journal(geometry) + geometry->journal_blocks);
	return superblock_blocks(ag) + space_levels_of(geometry, ag) * SPACE_SLOTS;
}

uint64_t
geometry_fixed_blocks_before(const struct geometry *geometry, uint64_t ag)
{
	uint64_t span = SPACE_FANOUT;
	uint64_t total;

	assert(ag <= geometry->ag_count);
	if (ag == 0)
		return 0;
	total = LOCK_RECORD_BLOCKS + geometry->journal_blocks;
	total += ag * (SLOT_COUNT_USUAL + SPACE_SLOTS);
	for (uint32_t place = 0; place < ARRAY_COUNT(places); place++) {
		if (places[place] < ag)
			total += SUPERBLOCK_RING - SLOT_COUNT_USUAL;
	}
	for (uint32_t level = 1; level <= geometry->levels; level++) {
		total += div_up(ag, span) * SPACE_SLOTS;
		span *= SPACE_FANOUT;
	}
	return total;
}

uint64_t
geometry_fixed_blocks_total(const struct geometry *geometry)
{
	return geometry_fixed_blocks_before(geometry, geometry->ag_count);
}

uint32_t
geometry_ag_size(const struct geometry *geometry, uint64_t ag)
{
	assert(ag < geometry->ag_count);
	return (uint32_t)min_u64(geometry->ag_blocks, geometry->blocks - ag * geometry->ag_blocks);
}
