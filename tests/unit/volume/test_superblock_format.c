#include "volume/superblock_format.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "space/geometry.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct superblock sample = {
	.place = 2,
	.slot = 3,
	.uuid = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 },
	.compat = 0x8000000000000000,
	.ro_compat = 0x4000000000000000,
	.generation = 0x0102030405060708,
	.previous_generation = 0x0102030405060707,
	.blocks = 16384,
	.ag_blocks = 2048,
	.node_bytes = 4096,
	.journal_blocks = 1024,
	.flags = COP_VOLUME_BOOT | SUPERBLOCK_CLEAN,
	.metadata_copies = 1,
	.catalog = { .pointer = { .addr = 77, .addr2 = 8888, .birth = 5, .seal = 0xabcdef },
		.levels = 2 },
	.shares = { .pointer = { .addr = 78, .addr2 = 8889, .birth = 6, .seal = 0xfedcba },
		.levels = 1 },
	.share_stamp = 4,
	.allocation = { .generation = 9,
		.checksum = 10,
		.free_blocks = 11,
		.longest_class = 3,
		.slot = 1,
		.previous_slot = 2 },
	.free_blocks = 1000,
	.awaiting_blocks = 100,
	.next_object = 16,
	.next_branch = 2,
	.next_job = 3,
	.name_seed = 0x1122334455667788,
	.journal_seed = 0x8877665544332211,
	.created_ns = -5,
	.checkpoint_ns = 1700000000000000000,
	.journal_tail = 21,
	.journal_sequence = 22,
	.retained_tail = 23,
	.retained_sequence = 24,
	.epoch = 25,
	.objects = 26,
	.label = "a label",
};

/* The bytes are the contract: this fails when a field moves, grows or changes its byte order. */
static void
encodes_to_the_documented_bytes(void **state)
{
	static const uint8_t head[16] = "coppice\0"
					"\1\0\0\0"
					"\2\0"
					"\3";
	uint8_t sector[SUPERBLOCK_BYTES];

	(void)state;
	superblock_encode(&sample, sector);
	assert_memory_equal(sector, head, sizeof head);
	assert_memory_equal(sector + 16, sample.uuid, 16);
	assert_int_equal(get_le64(sector + 56), sample.generation);
	assert_int_equal(get_le64(sector + 72), 16384);
	assert_int_equal(get_le32(sector + 80), 2048);
	assert_int_equal(get_le64(sector + 112), 77);
	assert_int_equal(sector[144], 2);
	assert_int_equal(get_le64(sector + 152), 78);
	assert_int_equal(get_le64(sector + 192), 4);
	assert_int_equal(get_le64(sector + 200), 9);
	assert_int_equal(get_le64(sector + 336), 26);
	assert_string_equal((char *)sector + 344, "a label");
	assert_int_equal(get_le64(sector + 408), 0x8877665544332211);
	assert_int_equal(checksum64(sector, SUPERBLOCK_BYTES), 0x7ed335008300534e);
}

static void
comes_back_as_it_was(void **state)
{
	struct superblock sb = { 0 };
	uint8_t sector[SUPERBLOCK_BYTES];
	uint8_t again[SUPERBLOCK_BYTES];

	(void)state;
	superblock_encode(&sample, sector);
	assert_int_equal(superblock_decode(sector, &sb), 0);
	superblock_encode(&sb, again);
	assert_memory_equal(sector, again, sizeof sector);
	assert_int_equal(sb.created_ns, -5);
	assert_int_equal(sb.shares.pointer.addr2, 8889);
	assert_int_equal(sb.ro_compat, sample.ro_compat);
}

static void
refuses_every_flipped_bit(void **state)
{
	struct superblock sb = { .generation = 77 };
	uint8_t sector[SUPERBLOCK_BYTES];

	(void)state;
	superblock_encode(&sample, sector);
	for (uint32_t bit = 0; bit < 8 * SUPERBLOCK_BYTES; bit++) {
		int want = bit < 64 ? COP_ENOTVOLUME : COP_ECHECKSUM; /* the magic is 64 bits */

		sector[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(superblock_decode(sector, &sb), want);
		assert_int_equal(sb.generation, 77);
		sector[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(superblock_decode(sector, &sb), 0);
}

static int
decode_with(uint32_t at, uint64_t value, uint32_t bytes)
{
	struct superblock sb;
	uint8_t sector[SUPERBLOCK_BYTES];

	superblock_encode(&sample, sector);
	for (uint32_t i = 0; i < bytes; i++)
		sector[at + i] = (uint8_t)(value >> 8 * i);
	put_le64(sector + 504, checksum64(sector, 504));
	return superblock_decode(sector, &sb);
}

static void
refuses_what_it_does_not_know(void **state)
{
	(void)state;
	assert_int_equal(decode_with(8, 2, 4), COP_EUNSUPPORTED);
	assert_non_null(strstr(err_text(), "version 2"));
	assert_int_equal(decode_with(32, 1, 8), COP_EUNSUPPORTED);
	assert_non_null(strstr(err_text(), "features"));
	assert_int_equal(decode_with(105, 9, 1), COP_EUNSUPPORTED);
}

static void
refuses_what_makes_no_sense(void **state)
{
	(void)state;
	assert_int_equal(decode_with(56, 0, 8), COP_EFORMAT);
	assert_int_equal(decode_with(14, 4, 2), COP_EFORMAT);
	assert_int_equal(decode_with(72, UINT64_MAX, 8), COP_EFORMAT);
	assert_int_equal(decode_with(80, 3, 4), COP_EFORMAT);
	assert_int_equal(decode_with(84, 4095, 4), COP_EFORMAT);
	assert_int_equal(decode_with(84, 1 << 20, 4), COP_EFORMAT);
	assert_int_equal(decode_with(88, UINT64_MAX, 8), COP_EFORMAT);
	assert_int_equal(decode_with(104, 3, 1), COP_EFORMAT);
	assert_int_equal(decode_with(112 + 32, 200, 1), COP_EFORMAT);
	assert_int_equal(decode_with(112, 0, 8), COP_EFORMAT);
	assert_int_equal(decode_with(232, 16385, 8), COP_EFORMAT);
	assert_int_equal(decode_with(56, UINT64_C(1) << 63, 8), COP_EFORMAT);
	assert_int_equal(decode_with(248, UINT64_C(1) << 63, 8), COP_EFORMAT);
	assert_non_null(strstr(err_text(), "next object"));
	assert_int_equal(decode_with(256, UINT64_C(1) << 63, 8), COP_EFORMAT);
	assert_int_equal(decode_with(264, UINT64_MAX, 8), COP_EFORMAT);
	assert_int_equal(decode_with(248, SUPERBLOCK_NUMBER_MAX, 8), 0);
	assert_int_equal(decode_with(192, UINT64_MAX, 8), COP_EFORMAT);
	assert_int_equal(decode_with(344 + 63, 'x', 1), COP_EFORMAT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encodes_to_the_documented_bytes),
		cmocka_unit_test(comes_back_as_it_was),
		cmocka_unit_test(refuses_every_flipped_bit),
		cmocka_unit_test(refuses_what_it_does_not_know),
		cmocka_unit_test(refuses_what_makes_no_sense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
