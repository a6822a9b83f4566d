#include "space/space.h"

#include "device/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const uint8_t uuid[16] = "an uuid of these";

struct volume {
	struct sim_medium *medium;
	struct device *dev;
	struct geometry geometry;
};

static void
volume_init(struct volume *volume, uint64_t blocks)
{
	assert_int_equal(sim_create(blocks * BLOCK_BYTES, 1, &volume->medium), 0);
	assert_int_equal(sim_open(volume->medium, 0, &volume->dev), 0);
	assert_int_equal(geometry_init(&volume->geometry, blocks, geometry_ag_blocks(blocks),
				 geometry_journal_blocks(blocks)),
		0);
}

static void
volume_fini(struct volume *volume)
{
	device_close(volume->dev);
	sim_free(volume->medium);
}

static bool
count_used(void *context, uint64_t ag, const struct space_descriptor *descriptor,
	const uint8_t *bitmap, int result)
{
	uint64_t *used = context;

	assert_int_equal(result, 0);
	assert_true((bitmap != NULL) == (ag == 0 || ag == 5));
	if (!bitmap)
		return true;
	for (uint32_t i = 0; i < AG_BLOCKS_MAX; i++)
		*used += bitmap[i / 8] >> i % 8 & 1;
	assert_int_equal(descriptor->generation, 3);
	return true;
}

static void
writes_the_groups_that_hold_something(void **state)
{
	struct volume volume;
	struct space_descriptor root;
	struct run used[3];
	uint64_t total = 0;

	(void)state;
	volume_init(&volume, 16384);
	used[0] = (struct run){ geometry_fixed_blocks(&volume.geometry, 0), 16 };
	used[1] = (struct run){ UINT64_C(5) * 2048 + 100, 4 };
	used[2] = (struct run){ used[0].addr + 16, 4 };
	assert_int_equal(
		space_format(volume.dev, &volume.geometry, uuid, NULL, 3, used, 3, &root), 0);
	assert_int_equal(root.generation, 3);
	assert_int_equal(
		root.free_blocks, 16384 - geometry_fixed_blocks_total(&volume.geometry) - 24);
	assert_int_equal(device_stats(volume.dev).writes, 3); /* two bitmaps, one inner block */

	assert_int_equal(
		space_walk(volume.dev, &volume.geometry, uuid, &root, 0, 8, count_used, &total), 0);
	assert_int_equal(total, 24 + geometry_fixed_blocks(&volume.geometry, 0) +
					geometry_fixed_blocks(&volume.geometry, 5));
	volume_fini(&volume);
}

static void
writes_no_more_for_64_tib(void **state)
{
	struct volume volume;
	struct space_descriptor root;
	struct run used;

	(void)state;
	volume_init(&volume, UINT64_C(1) << 34);
	used = (struct run){ geometry_fixed_blocks(&volume.geometry, 0), 16 };
	assert_int_equal(
		space_format(volume.dev, &volume.geometry, uuid, NULL, 1, &used, 1, &root), 0);
	assert_int_equal(device_stats(volume.dev).writes, volume.geometry.levels + 1);
	assert_int_equal(device_stats(volume.dev).reads, 0);
	assert_int_equal(root.free_blocks,
		volume.geometry.blocks - geometry_fixed_blocks_total(&volume.geometry) - 16);
	volume_fini(&volume);
}

static void
writes_nothing_for_nothing(void **state)
{
	struct volume volume;
	struct space_descriptor root;

	(void)state;
	volume_init(&volume, 2048);
	assert_int_equal(
		space_format(volume.dev, &volume.geometry, uuid, NULL, 1, NULL, 0, &root), 0);
	assert_int_equal(device_stats(volume.dev).writes, 0);
	assert_int_equal(root.generation, 0);
	volume_fini(&volume);
}

static void
says_when_the_device_fails(void **state)
{
	static const struct sim_fault fault = { .kind = SIM_FAIL_WRITE, .persistent = true };
	struct volume volume;
	struct space_descriptor root = { .generation = 77 };
	struct run used = { 200, 1 };

	(void)state;
	volume_init(&volume, 2048);
	assert_int_equal(sim_add_fault(volume.medium, &fault), 0);
	assert_int_equal(space_format(volume.dev, &volume.geometry, uuid, NULL, 1, &used, 1, &root),
		COP_EIO);
	assert_int_equal(root.generation, 77);
	volume_fini(&volume);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_the_groups_that_hold_something),
		cmocka_unit_test(writes_no_more_for_64_tib),
		cmocka_unit_test(writes_nothing_for_nothing),
		cmocka_unit_test(says_when_the_device_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
