#include "base/random.h"
#include "support/alloc.h"
#include "volume/volume_internal.h"
#include "world.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

/* Every AG that has a bitmap begins with the ring or with the parameters of the format. */
static void
groups_begin_with_the_parameters_of_the_format(void **state)
{
	struct world world = { 0 };
	struct superblock sb;
	uint8_t *block = block_buffer_alloc(1);
	uint32_t ag_blocks;

	(void)state;
	assert_non_null(block);
	world_format(&world, 8 << 20, 0);
	for (uint32_t i = 0; i < 500; i++)
		assert_int_equal(world_put(&world, i, (uint8_t)i, 400), 0);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	volume_superblock(world.volume, &sb);
	ag_blocks = sb.ag_blocks;
	assert_int_equal(device_read(world.dev, 4 * (uint64_t)ag_blocks, block, 1), 0);
	assert_int_equal(superblock_decode(block, &sb), 0);
	assert_int_equal(sb.place, SUPERBLOCK_PLACE_PARAMETERS);
	assert_int_equal(sb.ag_blocks, ag_blocks);
	assert_int_equal(sb.catalog.levels, 0);
	assert_string_equal(sb.label, "test");
	free(block);
	world_end(&world);
}

static const struct volume_format_options small = {
	.volume_blocks = (8 << 20) / BLOCK_BYTES,
	.random = world_random,
	.clock_ns = world_clock,
};

static void
an_empty_volume_has_a_branch_and_nothing_else(void **state)
{
	struct world world = { 0 };
	struct superblock sb;
	struct tree *tree;

	(void)state;
	world_format(&world, 8 << 20, 0);
	volume_superblock(world.volume, &sb);
	assert_int_equal(sb.generation, 1);
	assert_int_equal(sb.previous_generation, 0);
	assert_int_equal(sb.blocks, (8 << 20) / BLOCK_BYTES);
	assert_int_equal(sb.node_bytes, 4096);
	assert_int_equal(sb.next_object, OBJECT_FIRST);
	assert_int_equal(sb.created_ns, world_clock(NULL));
	assert_int_equal(sb.uuid[6] >> 4, 4);
	assert_int_equal(sb.uuid[8] >> 6, 2);
	assert_int_equal(volume_tree_open(world.volume, world_objects, &tree), 0);
	assert_int_equal(tree->root.levels, 0);
	assert_false(volume_is_dirty(world.volume));
	/* The requirement on what is available: 70 % of 8 MiB. */
	assert_true(space_available_blocks(volume_space(world.volume)) * 100 >= sb.blocks * 70);
	world_end(&world);
}

static void
judges_its_options(void **state)
{
	static const struct {
		struct volume_format_options options;
		int err;
		const char *text;
	} rows[] = {
		{ { .volume_blocks = 2047 }, COP_ETOOSMALL, "the least is 8388608 bytes (8M)" },
		{ { .volume_blocks = 0 }, COP_ETOOSMALL, "too small for a volume" },
		{ { .volume_blocks = UINT64_MAX }, COP_EINVAL, "the most is" },
		{ { .volume_blocks = 2048, .node_bytes = 2048 }, COP_EINVAL, "nodes of 2048" },
		{ { .volume_blocks = 2048, .node_bytes = 131072 }, COP_EINVAL, "nodes of 131072" },
		{ { .volume_blocks = 2048, .node_bytes = 5000 }, COP_EINVAL, "nodes of 5000" },
		{ { .volume_blocks = 2048, .metadata_copies = 3 }, COP_EINVAL, "3 copies" },
		{ { .volume_blocks = 2048, .journal_blocks = 63 }, COP_EINVAL, "a journal of" },
		{ { .volume_blocks = 2048, .journal_blocks = 256 }, COP_EINVAL, "is too large" },
		{ { .volume_blocks = 2048,
			  .label = "12345678901234567890123456789012345678901234567890123456789012"
				   "345678901234567890" },
			COP_EINVAL, "a label of 80 bytes" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct volume_format_options options = rows[i].options;

		assert_int_equal(volume_format_options_complete(&options), rows[i].err);
		if (!strstr(err_text(), rows[i].text))
			fail_msg("row %zu: %s", i, err_text());
	}
}

static void
nodes_are_larger_in_larger_volumes(void **state)
{
	static const struct {
		uint64_t volume_bytes;
		uint32_t node_bytes;
	} rows[] = {
		{ UINT64_C(8) << 20, 4096 },
		{ (UINT64_C(256) << 20) - BLOCK_BYTES, 4096 },
		{ UINT64_C(256) << 20, 8192 },
		{ UINT64_C(1) << 40, 8192 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct volume_format_options options = {
			.volume_blocks = rows[i].volume_bytes / BLOCK_BYTES,
		};

		assert_int_equal(volume_format_options_complete(&options), 0);
		assert_int_equal(options.node_bytes, rows[i].node_bytes);
	}
}

static void
refuses_a_device_that_is_too_small_and_leaves_it_alone(void **state)
{
	struct sim_medium *medium;
	struct device *dev;

	(void)state;
	assert_int_equal(sim_create(7 << 20, 1, &medium), 0);
	assert_int_equal(sim_open(medium, 0, &dev), 0);
	assert_int_equal(volume_format(dev, &small), COP_EINVAL);
	assert_non_null(strstr(err_text(), "on a device of 7340032"));
	assert_int_equal(sim_stats(medium).calls, 0);
	device_close(dev);
	sim_free(medium);
}

static void
formatting_survives_every_lack_of_memory(void **state)
{
	const struct device_options options = { 0 };
	struct superblock newest;
	struct superblock previous;
	struct device *dev;
	int err = COP_ENOMEM;

	(void)state;
	for (uint64_t nth = 1; err; nth++) {
		assert_int_equal(device_open("mem:8M", &options, &dev), 0);
		alloc_fail_nth(nth);
		err = volume_format(dev, &small);
		alloc_fail_nth(0);
		if (err) {
			assert_int_equal(err, COP_ENOMEM);
			assert_int_equal(
				volume_find_superblock(dev, &newest, &previous), COP_ENOTVOLUME);
		}
		device_close(dev);
	}
}

/* The superblock that is found, 0; or an error. */
static int
find(struct sim_medium *medium, struct superblock *out_newest)
{
	struct superblock previous;
	struct device *dev;
	int err;

	assert_int_equal(sim_open(medium, DEVICE_READ_ONLY | DEVICE_NO_LOCK, &dev), 0);
	err = volume_find_superblock(dev, out_newest, &previous);
	device_close(dev);
	return err;
}

/* Another volume, another number. */
static int
random_of_new(void *context, void *buffer, size_t bytes)
{
	(void)context;
	memset(buffer, 99, bytes);
	return 0;
}

/*
 * Over an old volume, the power cut at every write: what is there then is the old volume at its
 * newest checkpoint, or none, or the new one; never an older checkpoint of the old.
 */
static void
a_cut_shows_the_newest_of_the_old_volume_or_none(void **state)
{
	enum { CUTS_MAX = 1000, TRIES = 4 };
	struct volume_format_options options = small;
	struct world world = { 0 };
	struct superblock old;
	uint64_t cuts = 0;
	uint64_t gone = 0;
	bool ended = false;

	(void)state;
	options.random = random_of_new;
	world_format(&world, 8 << 20, 0);
	for (uint32_t i = 0; i < 2 * SUPERBLOCK_RING; i++) {
		assert_int_equal(world_put(&world, i, (uint8_t)i, 100), 0);
		assert_int_equal(volume_checkpoint(world.volume), 0);
	}
	world_close(&world);
	assert_int_equal(find(world.medium, &old), 0);

	for (; !ended && cuts < CUTS_MAX; cuts++) {
		for (uint64_t seed = 0; seed < TRIES; seed++) {
			struct sim_medium *medium;
			struct superblock newest;
			struct device *dev;
			struct rng rng;

			assert_int_equal(sim_clone(world.medium, &medium), 0);
			assert_int_equal(sim_open(medium, 0, &dev), 0);
			sim_cut_after(medium, cuts);
			ended = volume_format(dev, &options) == 0;
			device_close(dev);
			rng_seed(&rng, seed);
			sim_power_off(medium);
			sim_power_on(medium, sim_choose_random, &rng);
			if (find(medium, &newest) != 0)
				gone++;
			else if (memcmp(newest.uuid, old.uuid, sizeof old.uuid) == 0)
				assert_int_equal(newest.generation, old.generation);
			else
				assert_int_equal(newest.generation, 1);
			sim_free(medium);
		}
	}
	assert_true(ended);
	assert_true(gone > 0);
	sim_free(world.medium);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(groups_begin_with_the_parameters_of_the_format),
		cmocka_unit_test(an_empty_volume_has_a_branch_and_nothing_else),
		cmocka_unit_test(judges_its_options),
		cmocka_unit_test(nodes_are_larger_in_larger_volumes),
		cmocka_unit_test(refuses_a_device_that_is_too_small_and_leaves_it_alone),
		cmocka_unit_test(formatting_survives_every_lack_of_memory),
		cmocka_unit_test(a_cut_shows_the_newest_of_the_old_volume_or_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
