#ifndef COPPICE_SPACE_ALLOCATION_FORMAT_H
#define COPPICE_SPACE_ALLOCATION_FORMAT_H

/*
 * The blocks of the allocation tree on disk, little-endian. A descriptor says where a block of the
 * tree lies, what it must be, and what is below it; the top block's is in the superblock.
 *
 *   offset  bytes  field
 *        0      8  generation     that wrote the block; 0: never written, and all is zero
 *        8      8  checksum       of the whole block
 *       16      8  free_blocks    below it, not used in that generation
 *       24      1  longest_class  of the longest free run: 0 none, c: 2^(c-1) blocks or more
 *       25      1  slot           where it lies, 0 to 2
 *       26      1  previous_slot  where it lay before
 *       27      5  zero
 *
 * A bitmap, level 0, is 4096 bytes of bits: the lowest bit of the first byte is the first block of
 * the AG, 1 is used; bits past the end of the AG are 0. A block of a level above is
 *
 *        0      8  magic          "copalloc"
 *        8     16  uuid           of the volume
 *       24      4  level          1 and up
 *       28      4  zero
 *       32      8  index          among the blocks of its level
 *       40      8  generation     that wrote it
 *       48     16  zero
 *       64   2048  descriptors    of the 64 blocks below; zero where there is none
 *     2112   1984  zero
 *
 * Neither bears a checksum of itself. Every field is judged when it is decoded, by itself and
 * against the descriptor above.
 *
 * Locks  None.
 */

#include "space/space.h"

/* What a descriptor says and what it is about: block `index` of `level`, 0 being bitmaps. */
struct space_place {
	const struct geometry *geometry;
	const uint8_t *uuid;
	uint32_t level;
	uint64_t index;
};

/* AGs below one block of `level`. */
static inline uint64_t
space__span(uint32_t level)
{
	return UINT64_C(1) << (6 * level);
}

/* Longest runs of one class lie within a factor of two. */
static inline uint8_t
space__class(uint64_t blocks)
{
	return blocks == 0 ? 0 : (uint8_t)(64 - __builtin_clzll(blocks));
}

/* a - b, or 0. */
static inline uint64_t
space__less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

uint64_t space__place_addr(const struct space_place *place, uint32_t slot);

/* Generation 0, with the free blocks and the class that it stands for. */
struct space_descriptor space__never_written(
	const struct geometry *geometry, uint32_t level, uint64_t index);

/*
 * Is this a descriptor that may stand for this place, under a block or superblock of
 * `generation_max`? Fills in what generation 0 stands for. COP_EFORMAT.
 */
MUST_CHECK int space__judge_descriptor(const struct space_place *place, uint64_t generation_max,
	struct space_descriptor *descriptor);

/* `block` has BLOCK_BYTES. The descriptors are those of the blocks below, SPACE_FANOUT of them. */
void space__inner_encode(const struct space_place *place, uint64_t generation,
	const struct space_descriptor *descriptors, uint8_t *block);

/* COP_ECHECKSUM, COP_EFORMAT. Sums that differ from those of `descriptor` are damage. */
MUST_CHECK int space__inner_decode(const struct space_place *place,
	const struct space_descriptor *descriptor, const uint8_t *block,
	struct space_descriptor *out_descriptors);

/* A bitmap block of generation > 0. COP_ECHECKSUM, COP_EFORMAT. */
MUST_CHECK int space__bitmap_judge(const struct space_place *place,
	const struct space_descriptor *descriptor, const uint8_t *block);

#endif
