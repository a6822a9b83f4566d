#include "space/allocation_format.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/num.h"
#include "space/bitmap.h"

enum {
	D_GENERATION = 0,
	D_CHECKSUM = 8,
	D_FREE_BLOCKS = 16,
	D_LONGEST_CLASS = 24,
	D_SLOT = 25,
	D_PREVIOUS_SLOT = 26,
	D_ZERO = 27,
};

enum {
	I_MAGIC = 0,
	I_UUID = 8,
	I_LEVEL = 24,
	I_ZERO = 28,
	I_INDEX = 32,
	I_GENERATION = 40,
	I_ZERO_2 = 48,
	I_DESCRIPTORS = 64,
	I_END = I_DESCRIPTORS + SPACE_FANOUT * SPACE_DESCRIPTOR_BYTES,
};
static_assert((int)I_END <= (int)BLOCK_BYTES, "an inner block is one block");
static_assert((int)AG_BLOCKS_MAX == 8 * (int)BLOCK_BYTES, "a bitmap is one block");
static_assert(SPACE_FANOUT == 1 << 6, "space__span() counts in sixes");

static const uint8_t magic[8] = { 'c', 'o', 'p', 'a', 'l', 'l', 'o', 'c' };

void
space_descriptor_encode(
	const struct space_descriptor *descriptor, uint8_t out[static SPACE_DESCRIPTOR_BYTES])
{
	assert(descriptor->slot < SPACE_SLOTS);
	assert(descriptor->previous_slot < SPACE_SLOTS);

	memset(out, 0, SPACE_DESCRIPTOR_BYTES);
	if (descriptor->generation == 0)
		return;
	put_le64(out + D_GENERATION, descriptor->generation);
	put_le64(out + D_CHECKSUM, descriptor->checksum);
	put_le64(out + D_FREE_BLOCKS, descriptor->free_blocks);
	out[D_LONGEST_CLASS] = descriptor->longest_class;
	out[D_SLOT] = descriptor->slot;
	out[D_PREVIOUS_SLOT] = descriptor->previous_slot;
}

int
space_descriptor_decode(
	const uint8_t in[static SPACE_DESCRIPTOR_BYTES], struct space_descriptor *out_descriptor)
{
	struct space_descriptor decoded = {
		.generation = get_le64(in + D_GENERATION),
		.checksum = get_le64(in + D_CHECKSUM),
		.free_blocks = get_le64(in + D_FREE_BLOCKS),
		.longest_class = in[D_LONGEST_CLASS],
		.slot = in[D_SLOT],
		.previous_slot = in[D_PREVIOUS_SLOT],
	};

	if (!bytes_are_zero(in + D_ZERO, SPACE_DESCRIPTOR_BYTES - D_ZERO))
		return fail(COP_EFORMAT, "allocation descriptor: reserved bytes are not zero");
	if (decoded.slot >= SPACE_SLOTS || decoded.previous_slot >= SPACE_SLOTS)
		return fail(COP_EFORMAT, "allocation descriptor: slot %u after %u", decoded.slot,
			decoded.previous_slot);
	if (decoded.generation == 0 && !bytes_are_zero(in, SPACE_DESCRIPTOR_BYTES))
		return fail(COP_EFORMAT, "allocation descriptor of generation 0 is not empty");

	*out_descriptor = decoded;
	return 0;
}

uint64_t
space__place_addr(const struct space_place *place, uint32_t slot)
{
	return geometry_space_block(
		place->geometry, place->level, place->index * space__span(place->level), slot);
}

/* Blocks that are not fixed, in the AGs from `first_ag` up to `end_ag`. */
static uint64_t
capacity(const struct geometry *geometry, uint64_t first_ag, uint64_t end_ag)
{
	uint64_t first = first_ag * geometry->ag_blocks;
	uint64_t end = min_u64(end_ag * geometry->ag_blocks, geometry->blocks);

	return end - first -
	       (geometry_fixed_blocks_before(geometry, end_ag) -
		       geometry_fixed_blocks_before(geometry, first_ag));
}

static uint8_t
class_of_new_ag(const struct geometry *geometry, uint64_t ag)
{
	return space__class(geometry_ag_size(geometry, ag) - geometry_fixed_blocks(geometry, ag));
}

struct space_descriptor
space__never_written(const struct geometry *geometry, uint32_t level, uint64_t index)
{
	uint64_t first = index * space__span(level);
	uint64_t end = min_u64(first + space__span(level), geometry->ag_count);
	struct space_descriptor descriptor = {
		.free_blocks = capacity(geometry, first, end),
	};

	/* All AGs but the first and the last have the same class: the first three tell. */
	for (uint64_t ag = first; ag < end && ag < first + 3; ag++) {
		uint8_t longest = class_of_new_ag(geometry, ag);

		if (longest > descriptor.longest_class)
			descriptor.longest_class = longest;
	}
	return descriptor;
}

int
space__judge_descriptor(const struct space_place *place, uint64_t generation_max,
	struct space_descriptor *descriptor)
{
	struct space_descriptor full =
		space__never_written(place->geometry, place->level, place->index);

	if (descriptor->generation == 0) {
		*descriptor = full;
		return 0;
	}
	if (descriptor->generation > generation_max)
		return fail(COP_EFORMAT,
			"allocation block %" PRIu64 " of level %" PRIu32
			" is of generation %" PRIu64 ", after %" PRIu64,
			place->index, place->level, descriptor->generation, generation_max);
	if (descriptor->free_blocks > full.free_blocks ||
		descriptor->longest_class > full.longest_class ||
		descriptor->longest_class > space__class(descriptor->free_blocks) ||
		(descriptor->longest_class == 0) != (descriptor->free_blocks == 0))
		return fail(COP_EFORMAT,
			"allocation block %" PRIu64 " of level %" PRIu32 ": %" PRIu64
			" blocks free in runs of class %u",
			place->index, place->level, descriptor->free_blocks,
			descriptor->longest_class);
	return 0;
}

void
space__inner_encode(const struct space_place *place, uint64_t generation,
	const struct space_descriptor *descriptors, uint8_t *block)
{
	memset(block, 0, BLOCK_BYTES);
	memcpy(block + I_MAGIC, magic, sizeof magic);
	memcpy(block + I_UUID, place->uuid, 16);
	put_le32(block + I_LEVEL, place->level);
	put_le64(block + I_INDEX, place->index);
	put_le64(block + I_GENERATION, generation);
	for (uint32_t i = 0; i < SPACE_FANOUT; i++)
		space_descriptor_encode(
			&descriptors[i], block + I_DESCRIPTORS + i * SPACE_DESCRIPTOR_BYTES);
}

/* The header by itself and against the place. */
static int
judge_header(const struct space_place *place, const struct space_descriptor *descriptor,
	const uint8_t *block)
{
	if (memcmp(block + I_MAGIC, magic, sizeof magic) != 0 ||
		memcmp(block + I_UUID, place->uuid, 16) != 0 ||
		get_le32(block + I_LEVEL) != place->level ||
		get_le64(block + I_INDEX) != place->index ||
		get_le64(block + I_GENERATION) != descriptor->generation)
		return fail(COP_ECHECKSUM,
			"allocation block %" PRIu64 " of level %" PRIu32
			": another block lies there",
			place->index, place->level);
	if (!bytes_are_zero(block + I_ZERO, I_INDEX - I_ZERO) ||
		!bytes_are_zero(block + I_ZERO_2, I_DESCRIPTORS - I_ZERO_2) ||
		!bytes_are_zero(block + I_END, BLOCK_BYTES - I_END))
		return fail(COP_EFORMAT,
			"allocation block %" PRIu64 " of level %" PRIu32
			": reserved bytes are not zero",
			place->index, place->level);
	return 0;
}

static int
judge_checksum(const struct space_place *place, const struct space_descriptor *descriptor,
	const uint8_t *block)
{
	if (checksum64(block, BLOCK_BYTES) == descriptor->checksum)
		return 0;
	return fail(COP_ECHECKSUM,
		"allocation block %" PRIu64 " of level %" PRIu32 " at block %" PRIu64, place->index,
		place->level, space__place_addr(place, descriptor->slot));
}

int
space__inner_decode(const struct space_place *place, const struct space_descriptor *descriptor,
	const uint8_t *block, struct space_descriptor *out_descriptors)
{
	struct space_descriptor decoded[SPACE_FANOUT];
	struct space_place below = *place;
	uint64_t child_span = space__span(place->level - 1);
	uint64_t free_blocks = 0;
	uint8_t longest_class = 0;
	int err;

	err = judge_checksum(place, descriptor, block);
	if (err)
		return err;
	err = judge_header(place, descriptor, block);
	if (err)
		return err;

	below.level--;
	for (uint32_t i = 0; i < SPACE_FANOUT; i++) {
		const uint8_t *at = block + I_DESCRIPTORS + i * SPACE_DESCRIPTOR_BYTES;

		below.index = place->index * SPACE_FANOUT + i;
		err = space_descriptor_decode(at, &decoded[i]);
		if (err)
			return err;
		if (below.index * child_span >= place->geometry->ag_count) {
			if (decoded[i].generation != 0)
				return fail(COP_EFORMAT, "allocation descriptor past the last AG");
			continue;
		}
		err = space__judge_descriptor(&below, descriptor->generation, &decoded[i]);
		if (err)
			return err;
		free_blocks += decoded[i].free_blocks;
		if (decoded[i].longest_class > longest_class)
			longest_class = decoded[i].longest_class;
	}
	if (free_blocks != descriptor->free_blocks || longest_class != descriptor->longest_class)
		return fail(COP_EFORMAT,
			"allocation block %" PRIu64 " of level %" PRIu32 " says %" PRIu64
			" blocks free, holds %" PRIu64,
			place->index, place->level, descriptor->free_blocks, free_blocks);

	memcpy(out_descriptors, decoded, sizeof decoded);
	return 0;
}

int
space__bitmap_judge(const struct space_place *place, const struct space_descriptor *descriptor,
	const uint8_t *block)
{
	const uint64_t *map = (const uint64_t *)(const void *)block;
	uint32_t size = geometry_ag_size(place->geometry, place->index);
	uint32_t fixed = geometry_fixed_blocks(place->geometry, place->index);
	uint32_t used;
	int err;

	err = judge_checksum(place, descriptor, block);
	if (err)
		return err;
	used = bitmap_count(map, 0, size);
	if (bitmap_count(map, size, AG_BLOCKS_MAX - size) != 0 || !bitmap_is_set(map, 0, fixed))
		return fail(COP_EFORMAT, "bitmap of AG %" PRIu64 ": fixed blocks", place->index);
	if (size - used != descriptor->free_blocks ||
		space__class(bitmap_longest(map, size)) != descriptor->longest_class)
		return fail(COP_EFORMAT,
			"AG %" PRIu64 " says %" PRIu64 " blocks free, has %" PRIu32, place->index,
			descriptor->free_blocks, size - used);
	return 0;
}
