#include "space/geometry.h"

#include "base/num.h"
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static struct geometry
usual(uint64_t blocks)
{
	struct geometry geometry;

	assert_int_equal(geometry_init(&geometry, blocks, geometry_ag_blocks(blocks),
				 geometry_journal_blocks(blocks)),
		0);
	return geometry;
}

/* Each fixed block of `ag` that something lies on, once; and no other. */
static void
judge_ag(const struct geometry *geometry, uint64_t ag)
{
	uint64_t first = ag * geometry->ag_blocks;
	uint32_t fixed = geometry_fixed_blocks(geometry, ag);
	uint8_t *seen = calloc(1, fixed);
	uint64_t span = 1;
	bool in_ring = false;

	assert_non_null(seen);
	assert_true(fixed < geometry_ag_size(geometry, ag));
	for (uint32_t place = 0; place < geometry_superblock_places(geometry); place++) {
		for (uint32_t slot = 0; slot < SUPERBLOCK_RING; slot++) {
			uint64_t addr = geometry_superblock(geometry, place, slot);

			if (addr / geometry->ag_blocks == ag) {
				seen[addr - first]++;
				in_ring = true;
			}
		}
	}
	if (!in_ring)
		seen[0]++; /* the copy of the format parameters */
	for (uint32_t level = 0; level <= geometry->levels && ag % span == 0; level++) {
		for (uint32_t slot = 0; slot < SPACE_SLOTS; slot++) {
			uint64_t addr = geometry_space_block(geometry, level, ag, slot);

			assert_true(addr >= first && addr < first + fixed);
			seen[addr - first]++;
		}
		span *= SPACE_FANOUT;
	}
	if (ag == 0) {
		seen[geometry_lock_record(geometry)]++;
		for (uint64_t i = 0; i < geometry->journal_blocks; i++)
			seen[geometry_journal(geometry) + i]++;
	}
	for (uint32_t i = 0; i < fixed; i++)
		assert_int_equal(seen[i], 1);
	free(seen);
}

static void
judge(const struct geometry *geometry)
{
	uint64_t total = 0;
	uint64_t ag = 0;

	assert_true(geometry->ag_count >= AG_WANTED);
	assert_int_equal(geometry_superblock_places(geometry), 4);
	while (ag < geometry->ag_count) {
		judge_ag(geometry, ag);
		assert_int_equal(geometry_fixed_blocks_before(geometry, ag), total);
		total += geometry_fixed_blocks(geometry, ag);
		ag++;
		if (ag == 300 && geometry->ag_count > 600) { /* those between are like these */
			ag = geometry->ag_count - 200;
			total = geometry_fixed_blocks_before(geometry, ag);
		}
	}
	assert_int_equal(geometry_fixed_blocks_total(geometry), total);
}

static void
fits_every_size_without_overlaps(void **state)
{
	struct rng rng;

	(void)state;
	rng_seed(&rng, 1);
	for (unsigned bits = 11; bits <= 46; bits++) {
		uint64_t blocks = UINT64_C(1) << bits;
		struct geometry geometry = usual(blocks);

		judge(&geometry);
		assert_int_equal(geometry.blocks, blocks);
		for (int i = 0; i < 8; i++) {
			geometry = usual(blocks + rng_below(&rng, blocks));
			judge(&geometry);
		}
	}
}

static void
says_where_things_are(void **state)
{
	struct geometry geometry = usual(2048); /* 8 MiB */

	(void)state;
	assert_int_equal(geometry.ag_blocks, 256);
	assert_int_equal(geometry.ag_count, 8);
	assert_int_equal(geometry.levels, 1);
	assert_int_equal(geometry.journal_blocks, 128);
	assert_int_equal(geometry_superblock(&geometry, 0, 0), 0);
	assert_int_equal(geometry_superblock(&geometry, 3, 2), 7 * 256 + 2);
	assert_int_equal(geometry_space_block(&geometry, 0, 0, 1), 5);
	assert_int_equal(geometry_space_block(&geometry, 1, 0, 2), 9);
	assert_int_equal(geometry_space_block(&geometry, 0, 2, 0), 513);
	assert_int_equal(geometry_lock_record(&geometry), 10);
	assert_int_equal(geometry_journal(&geometry), 11);
	assert_int_equal(geometry_fixed_blocks(&geometry, 0), 139);
	assert_int_equal(geometry_fixed_blocks(&geometry, 1), 7);
	assert_int_equal(geometry_fixed_blocks(&geometry, 2), 4);

	geometry = usual(UINT64_C(1) << 34); /* 64 TiB */
	assert_int_equal(geometry.ag_blocks, 32768);
	assert_int_equal(geometry.ag_count, 524288);
	assert_int_equal(geometry.levels, 4);
	assert_int_equal(geometry_space_block(&geometry, 3, 64 * 64 * 64, 0),
		UINT64_C(64) * 64 * 64 * 32768 + 1 + 9);
	assert_int_equal(geometry_fixed_blocks(&geometry, 64 * 64), 1 + 3 * 3);
}

static void
leaves_most_of_a_small_volume_free(void **state)
{
	struct geometry geometry = usual(2048);

	(void)state;
	assert_true(geometry_fixed_blocks_total(&geometry) * 100 < geometry.blocks * 10);
	geometry = usual(16384);
	assert_true(geometry_fixed_blocks_total(&geometry) * 100 < geometry.blocks * 8);
}

static void
leaves_out_an_end_too_short_for_an_ag(void **state)
{
	struct geometry geometry = usual(2048 + AG_LAST_MIN - 1);
	struct geometry again;

	(void)state;
	assert_int_equal(geometry.blocks, 2048);
	assert_int_equal(geometry.ag_count, 8);
	again = usual(geometry.blocks);
	assert_int_equal(again.ag_count, 8);
	geometry = usual(2048 + AG_LAST_MIN);
	assert_int_equal(geometry.ag_count, 9);
	assert_int_equal(geometry_ag_size(&geometry, 8), AG_LAST_MIN);
}

static void
refuses_what_cannot_be(void **state)
{
	struct geometry geometry = { .blocks = 77 };
	static const struct {
		uint64_t blocks;
		uint32_t ag_blocks;
		uint64_t journal_blocks;
	} rows[] = {
		{ 2048, 0, 64 },
		{ 2048, 128, 64 },
		{ 2048, 300, 64 },
		{ 2048, 65536, 64 },
		{ 2048, 256, 257 },
		{ 2048, 256, 240 },
		{ 2048, 256, UINT64_MAX },
		{ 255, 256, 64 },
		{ 0, 256, 64 },
		{ (UINT64_C(1) << 48) + 1, 32768, 64 },
		{ UINT64_MAX, 32768, 64 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		assert_int_equal(geometry_init(&geometry, rows[i].blocks, rows[i].ag_blocks,
					 rows[i].journal_blocks),
			COP_EINVAL);
		assert_int_equal(geometry.blocks, 77);
	}
	/* The largest there is, in the smallest AGs. */
	assert_int_equal(geometry_init(&geometry, UINT64_C(1) << 48, 256, 64), 0);
	assert_true(geometry.levels <= SPACE_LEVELS_MAX);
	judge_ag(&geometry, 0);
}

static void
says_which_places_are_not_there(void **state)
{
	struct geometry geometry;

	(void)state;
	assert_int_equal(geometry_init(&geometry, 1024, 256, 64), 0);
	assert_int_equal(geometry_superblock_places(&geometry), 3);
	assert_int_equal(geometry_superblock(&geometry, 3, 0), 0);
	assert_int_equal(geometry_superblock(&geometry, 2, 3), 771);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fits_every_size_without_overlaps),
		cmocka_unit_test(says_where_things_are),
		cmocka_unit_test(leaves_most_of_a_small_volume_free),
		cmocka_unit_test(leaves_out_an_end_too_short_for_an_ag),
		cmocka_unit_test(refuses_what_cannot_be),
		cmocka_unit_test(says_which_places_are_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
