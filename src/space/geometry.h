#ifndef COPPICE_SPACE_GEOMETRY_H
#define COPPICE_SPACE_GEOMETRY_H

/*
 * geometry: where everything of fixed place lies; a function of three numbers.
 *
 * AG `g` is the blocks [g * ag_blocks, (g + 1) * ag_blocks), the last one shorter. It begins with
 *   - superblocks: 4 blocks (the ring) in AGs 0, 1, 3 and 7, 1 block (format parameters) elsewhere;
 *   - 3 slots of its bitmap;
 *   - 3 slots of each inner block of the allocation tree whose first AG it is: of level 1 if
 *     g % 64 == 0, of level 2 if g % 64^2 == 0, and so on up to the top level;
 *   - in AG 0, the lock record (1 block), then the journal.
 */

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	AG_BLOCKS_MIN = 256,
	AG_BLOCKS_MAX = 32768,
	AG_LAST_MIN = 64, /* more than the fixed blocks of any AG but the first */
	AG_WANTED = 8,
	SPACE_FANOUT = 64,
	SPACE_SLOTS = 3,
	SPACE_LEVELS_MAX = 8,
	SUPERBLOCK_RING = 4,
};

struct geometry {
	uint64_t blocks; /* of the volume */
	uint32_t ag_blocks;
	uint64_t journal_blocks;

	/* Derived by geometry_init(). */
	uint64_t ag_count;
	uint32_t
		levels; /* of the allocation tree over the bitmaps: 1 when there are up to 64 AGs */
};

/* The AG size for a volume: a power of two, the largest that gives 8 AGs. */
uint32_t geometry_ag_blocks(uint64_t volume_blocks);

/* The usual journal of a volume: a sixteenth, 64 to 16,384 blocks, at most half of AG 0. */
uint64_t geometry_journal_blocks(uint64_t volume_blocks);

/*
 * COP_EINVAL: no such geometry can be (the text says why). Safe on hostile numbers. What is left
 * over at the end and too short for an AG (AG_LAST_MIN) is not used: `blocks` is then less than
 * `volume_blocks`, and gives the same geometry again.
 */
MUST_CHECK int geometry_init(struct geometry *geometry, uint64_t volume_blocks, uint32_t ag_blocks,
	uint64_t journal_blocks);

/* The four blocks of ring slot `slot` in place `place` (0 to 3: AGs 0, 1, 3, 7); 0 if the AG is not
 * there (place 0 slot 0 is block 0 and always there). */
uint64_t geometry_superblock(const struct geometry *geometry, uint32_t place, uint32_t slot);
uint32_t geometry_superblock_places(const struct geometry *geometry);

/* Does `ag` begin with a ring of superblocks? The others begin with the parameters of the format.
 */
bool geometry_has_ring(const struct geometry *geometry, uint64_t ag);

/* Slot `slot` of the bitmap of `ag` (level 0) or of the inner block of `level` that `ag` begins. */
uint64_t geometry_space_block(
	const struct geometry *geometry, uint32_t level, uint64_t ag, uint32_t slot);

uint64_t geometry_lock_record(const struct geometry *geometry);
uint64_t geometry_journal(const struct geometry *geometry);

/* Blocks at the start of `ag` that are never handed out. */
uint32_t geometry_fixed_blocks(const struct geometry *geometry, uint64_t ag);
uint64_t geometry_fixed_blocks_total(const struct geometry *geometry);

/* The same, summed over the AGs before `ag`, which may be ag_count. */
uint64_t geometry_fixed_blocks_before(const struct geometry *geometry, uint64_t ag);

/* Blocks that `ag` has: ag_blocks, fewer in the last one. */
uint32_t geometry_ag_size(const struct geometry *geometry, uint64_t ag);

#endif
