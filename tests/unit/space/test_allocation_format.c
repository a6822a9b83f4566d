#include "space/allocation_format.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/num.h"
#include "space/bitmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct space_descriptor sample = {
	.generation = 0x0102030405060708,
	.checksum = 0x1112131415161718,
	.free_blocks = 0x212223242526,
	.longest_class = 15,
	.slot = 2,
	.previous_slot = 1,
};

static const uint8_t sample_bytes[SPACE_DESCRIPTOR_BYTES] = "\x08\x07\x06\x05\x04\x03\x02\x01"
							    "\x18\x17\x16\x15\x14\x13\x12\x11"
							    "\x26\x25\x24\x23\x22\x21\0\0"
							    "\x0f\x02\x01\0\0\0\0";

static const uint8_t uuid[16] = "an uuid of these";

/* 64 AGs and a bit: two levels. */
static struct geometry
two_levels(void)
{
	struct geometry geometry;

	assert_int_equal(geometry_init(&geometry, 70 * 256 + 100, 256, 64), 0);
	assert_int_equal(geometry.levels, 2);
	return geometry;
}

/* An inner block of level 1 whose first AG has been written, and its own descriptor. */
struct inner {
	struct geometry geometry;
	struct space_place place;
	struct space_descriptor descriptor;
	struct space_descriptor below[SPACE_FANOUT];
	uint8_t block[BLOCK_BYTES];
};

static void
inner_seal(struct inner *inner)
{
	inner->descriptor.checksum = checksum64(inner->block, BLOCK_BYTES);
}

static void
inner_encode(struct inner *inner)
{
	inner->descriptor.free_blocks = 0;
	inner->descriptor.longest_class = 0;
	for (uint32_t i = 0; i < SPACE_FANOUT; i++) {
		inner->descriptor.free_blocks += inner->below[i].free_blocks;
		if (inner->below[i].longest_class > inner->descriptor.longest_class)
			inner->descriptor.longest_class = inner->below[i].longest_class;
	}
	space__inner_encode(&inner->place, 9, inner->below, inner->block);
	inner_seal(inner);
}

static void
inner_init(struct inner *inner)
{
	*inner = (struct inner){
		.geometry = two_levels(),
		.descriptor = { .generation = 9, .slot = 1 },
	};
	inner->place = (struct space_place){ &inner->geometry, uuid, 1, 0 };
	for (uint32_t i = 0; i < SPACE_FANOUT; i++)
		inner->below[i] = space__never_written(&inner->geometry, 0, i);
	inner->below[0] = (struct space_descriptor){
		.generation = 9,
		.checksum = 0x99,
		.free_blocks = 100,
		.longest_class = 5,
		.slot = 2,
		.previous_slot = 1,
	};
	inner_encode(inner);
}

static int
inner_decode(const struct inner *inner)
{
	struct space_descriptor below[SPACE_FANOUT];

	return space__inner_decode(&inner->place, &inner->descriptor, inner->block, below);
}

static void
encodes_descriptors_to_the_documented_bytes(void **state)
{
	struct space_descriptor decoded;
	uint8_t bytes[SPACE_DESCRIPTOR_BYTES];

	(void)state;
	space_descriptor_encode(&sample, bytes);
	assert_memory_equal(bytes, sample_bytes, sizeof bytes);
	assert_int_equal(space_descriptor_decode(bytes, &decoded), 0);
	assert_int_equal(decoded.generation, sample.generation);
	assert_int_equal(decoded.checksum, sample.checksum);
	assert_int_equal(decoded.free_blocks, sample.free_blocks);
	assert_int_equal(decoded.longest_class, sample.longest_class);
	assert_int_equal(decoded.slot, sample.slot);
	assert_int_equal(decoded.previous_slot, sample.previous_slot);
}

static void
encodes_what_was_never_written_as_zeros(void **state)
{
	struct geometry geometry = two_levels();
	struct space_descriptor descriptor = space__never_written(&geometry, 2, 0);
	uint8_t bytes[SPACE_DESCRIPTOR_BYTES];
	static const uint8_t zeros[SPACE_DESCRIPTOR_BYTES];

	(void)state;
	assert_int_equal(
		descriptor.free_blocks, geometry.blocks - geometry_fixed_blocks_total(&geometry));
	space_descriptor_encode(&descriptor, bytes);
	assert_memory_equal(bytes, zeros, sizeof bytes);
}

static void
refuses_impossible_descriptors(void **state)
{
	struct space_descriptor decoded = { .generation = 77 };
	static const struct {
		size_t at;
		uint8_t value;
	} rows[] = { { 25, 3 }, { 26, 3 }, { 26, 255 }, { 27, 1 }, { 31, 1 } };
	uint8_t bytes[SPACE_DESCRIPTOR_BYTES];

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		memcpy(bytes, sample_bytes, sizeof bytes);
		bytes[rows[i].at] = rows[i].value;
		assert_int_equal(space_descriptor_decode(bytes, &decoded), COP_EFORMAT);
	}
	memcpy(bytes, sample_bytes, sizeof bytes);
	put_le64(bytes, 0); /* generation 0 that says more than nothing */
	assert_int_equal(space_descriptor_decode(bytes, &decoded), COP_EFORMAT);
	assert_int_equal(decoded.generation, 77);
}

static void
judges_descriptors_by_their_place(void **state)
{
	struct geometry geometry = two_levels();
	struct space_place place = { &geometry, uuid, 0, 5 };
	static const struct space_descriptor good = {
		.generation = 9, .free_blocks = 252, .longest_class = 8
	};
	static const struct space_descriptor bad[] = {
		{ .generation = 10, .free_blocks = 252, .longest_class = 8 },
		{ .generation = 9, .free_blocks = 253, .longest_class = 8 },
		{ .generation = 9, .free_blocks = 252, .longest_class = 9 },
		{ .generation = 9, .free_blocks = 252, .longest_class = 0 },
		{ .generation = 9, .free_blocks = 0, .longest_class = 1 },
		{ .generation = 9, .free_blocks = 3, .longest_class = 3 },
		{ .generation = 9, .free_blocks = UINT64_MAX, .longest_class = 8 },
	};
	struct space_descriptor descriptor = good;

	(void)state;
	assert_int_equal(space__judge_descriptor(&place, 9, &descriptor), 0);
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		descriptor = bad[i];
		assert_int_equal(space__judge_descriptor(&place, 9, &descriptor), COP_EFORMAT);
	}
}

static void
encodes_inner_blocks_to_the_documented_bytes(void **state)
{
	static const uint8_t head[64] = "copalloc"
					"an uuid of these"
					"\1\0\0\0\0\0\0\0"
					"\0\0\0\0\0\0\0\0"
					"\x09\0\0\0\0\0\0\0";
	struct inner inner;
	struct space_descriptor below[SPACE_FANOUT];

	(void)state;
	inner_init(&inner);
	assert_memory_equal(inner.block, head, sizeof head);
	assert_int_equal(get_le64(inner.block + 64), 9);
	assert_int_equal(inner.block[64 + 25], 2);
	for (size_t i = 96; i < BLOCK_BYTES; i++)
		assert_int_equal(inner.block[i], 0);

	assert_int_equal(
		space__inner_decode(&inner.place, &inner.descriptor, inner.block, below), 0);
	for (uint32_t i = 0; i < SPACE_FANOUT; i++) {
		assert_int_equal(below[i].generation, inner.below[i].generation);
		assert_int_equal(below[i].checksum, inner.below[i].checksum);
		assert_int_equal(below[i].free_blocks, inner.below[i].free_blocks);
		assert_int_equal(below[i].longest_class, inner.below[i].longest_class);
		assert_int_equal(below[i].slot, inner.below[i].slot);
	}
}

static void
refuses_every_flipped_bit(void **state)
{
	struct inner inner;

	(void)state;
	inner_init(&inner);
	for (uint32_t bit = 0; bit < 8 * BLOCK_BYTES; bit++) {
		inner.block[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(inner_decode(&inner), COP_ECHECKSUM);
		inner.block[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(inner_decode(&inner), 0);
}

static void
refuses_another_block_with_a_right_checksum(void **state)
{
	static const size_t identity[] = { 0, 8, 23, 24, 32, 40 };
	static const size_t reserved[] = { 28, 31, 48, 63, 2112, BLOCK_BYTES - 1 };
	struct inner inner;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(identity); i++) {
		inner_init(&inner);
		inner.block[identity[i]] ^= 1;
		inner_seal(&inner);
		assert_int_equal(inner_decode(&inner), COP_ECHECKSUM);
	}
	for (size_t i = 0; i < ARRAY_COUNT(reserved); i++) {
		inner_init(&inner);
		inner.block[reserved[i]] ^= 1;
		inner_seal(&inner);
		assert_int_equal(inner_decode(&inner), COP_EFORMAT);
	}
}

static void
refuses_sums_that_contradict(void **state)
{
	struct inner inner;

	(void)state;
	inner_init(&inner);
	inner.descriptor.free_blocks--;
	assert_int_equal(inner_decode(&inner), COP_EFORMAT);
	inner_init(&inner);
	inner.descriptor.longest_class--;
	assert_int_equal(inner_decode(&inner), COP_EFORMAT);

	inner_init(&inner); /* a block that is newer than the one above it */
	inner.below[0].generation = 10;
	inner_encode(&inner);
	assert_int_equal(inner_decode(&inner), COP_EFORMAT);

	inner_init(&inner); /* AGs 71 and on are not there */
	inner.place.index = 1;
	for (uint32_t i = 0; i < SPACE_FANOUT; i++) {
		inner.below[i] = (struct space_descriptor){ 0 };
		if (64 + i < inner.geometry.ag_count)
			inner.below[i] = space__never_written(&inner.geometry, 0, 64 + i);
	}
	inner_encode(&inner);
	assert_int_equal(inner_decode(&inner), 0);
	inner.below[7] = (struct space_descriptor){ .generation = 9 };
	inner_encode(&inner);
	assert_int_equal(inner_decode(&inner), COP_EFORMAT);
}

struct bitmap {
	struct geometry geometry;
	struct space_place place;
	struct space_descriptor descriptor;
	uint64_t map[BLOCK_BYTES / 8];
};

static void
bitmap_seal(struct bitmap *bitmap)
{
	bitmap->descriptor.checksum = checksum64(bitmap->map, BLOCK_BYTES);
}

/* The last AG: 100 blocks, 4 of them fixed, 10 used. */
static void
bitmap_init(struct bitmap *bitmap)
{
	*bitmap = (struct bitmap){
		.geometry = two_levels(),
		.descriptor = { .generation = 9, .free_blocks = 86, .longest_class = 6 },
	};
	bitmap->place = (struct space_place){ &bitmap->geometry, uuid, 0, 70 };
	bitmap_set(bitmap->map, 0, 4);
	bitmap_set(bitmap->map, 50, 10);
	bitmap_seal(bitmap);
}

static int
bitmap_judge(const struct bitmap *bitmap)
{
	return space__bitmap_judge(
		&bitmap->place, &bitmap->descriptor, (const uint8_t *)bitmap->map);
}

static void
judges_bitmaps(void **state)
{
	struct bitmap bitmap;

	(void)state;
	bitmap_init(&bitmap);
	assert_int_equal(bitmap_judge(&bitmap), 0);
	for (uint32_t bit = 0; bit < 8 * BLOCK_BYTES; bit++) {
		bitmap.map[bit / 64] ^= UINT64_C(1) << bit % 64;
		assert_int_equal(bitmap_judge(&bitmap), COP_ECHECKSUM);
		bitmap.map[bit / 64] ^= UINT64_C(1) << bit % 64;
	}

	bitmap_set(bitmap.map, 60, 1); /* one more than the descriptor says */
	bitmap_seal(&bitmap);
	assert_int_equal(bitmap_judge(&bitmap), COP_EFORMAT);

	bitmap_init(&bitmap); /* a fixed block is free */
	bitmap_clear(bitmap.map, 3, 1);
	bitmap_set(bitmap.map, 60, 1);
	bitmap_seal(&bitmap);
	assert_int_equal(bitmap_judge(&bitmap), COP_EFORMAT);

	bitmap_init(&bitmap); /* past the end of the AG */
	bitmap_set(bitmap.map, 100, 1);
	bitmap_seal(&bitmap);
	assert_int_equal(bitmap_judge(&bitmap), COP_EFORMAT);

	bitmap_init(&bitmap);
	bitmap.descriptor.longest_class = 5;
	assert_int_equal(bitmap_judge(&bitmap), COP_EFORMAT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encodes_descriptors_to_the_documented_bytes),
		cmocka_unit_test(encodes_what_was_never_written_as_zeros),
		cmocka_unit_test(refuses_impossible_descriptors),
		cmocka_unit_test(judges_descriptors_by_their_place),
		cmocka_unit_test(encodes_inner_blocks_to_the_documented_bytes),
		cmocka_unit_test(refuses_every_flipped_bit),
		cmocka_unit_test(refuses_another_block_with_a_right_checksum),
		cmocka_unit_test(refuses_sums_that_contradict),
		cmocka_unit_test(judges_bitmaps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
