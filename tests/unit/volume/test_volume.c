#include "volume/volume.h"

#include "base/random.h"
#include "device/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

/* A volume on a simulated disk, without objects: puts and deletes in the object tree. */
struct world {
	struct sim_medium *medium;
	struct device *dev;
	struct volume *volume;
	struct volume_visit visit;
};

static const struct tree_name objects = { .branch = BRANCH_MAIN, .kind = TREE_OBJECTS };

static int
fixed_random(void *context, void *buffer, size_t bytes)
{
	(void)context;
	memset(buffer, 7, bytes);
	return 0;
}

static int64_t
fixed_clock(void *context)
{
	(void)context;
	return 1700000000000000000;
}

static void
world_open(struct world *world)
{
	struct volume_options options = {
		.cache_bytes = COP_CACHE_BYTES_MIN,
		.random = fixed_random,
		.clock_ns = fixed_clock,
	};

	assert_int_equal(sim_open(world->medium, 0, &world->dev), 0);
	if (volume_open(world->dev, &options, &world->volume) != 0)
		fail_msg("%s", err_text());
	volume_enter(world->volume, &world->visit);
}

static void
world_close(struct world *world)
{
	volume_leave(world->volume, &world->visit);
	volume_close(world->volume);
	device_close(world->dev);
}

static void
world_reopen(struct world *world)
{
	world_close(world);
	world_open(world);
}

static void
world_format(struct world *world, uint64_t bytes, uint32_t node_bytes)
{
	struct volume_format_options options = {
		.volume_blocks = bytes / BLOCK_BYTES,
		.node_bytes = node_bytes,
		.label = "test",
		.random = fixed_random,
		.clock_ns = fixed_clock,
	};
	struct device *dev;

	assert_int_equal(sim_create(bytes, 1, &world->medium), 0);
	assert_int_equal(sim_open(world->medium, 0, &dev), 0);
	if (volume_format(dev, &options) != 0)
		fail_msg("%s", err_text());
	device_close(dev);
	world_open(world);
}

static void
world_end(struct world *world)
{
	world_close(world);
	sim_free(world->medium);
}

/* Keys that no record claims: object numbers far away, of an unknown type; check is not asked. */
static struct view
key_of(uint8_t out[static OBJECT_KEY_BYTES], uint32_t number)
{
	return object_key(out, 1000 + number, KEY_XATTR);
}

static int
put(struct world *world, uint32_t number, uint8_t fill, size_t bytes)
{
	uint8_t key[OBJECT_KEY_BYTES];
	uint8_t value[512];
	struct tx *tx;
	int err;

	memset(value, fill, sizeof value);
	err = tx_begin(world->volume, &world->visit, false, &tx);
	if (err)
		return err;
	err = tx_put(tx, objects, key_of(key, number), view_of(value, bytes));
	assert_int_equal(err, 0);
	return tx_commit(tx);
}

static int delete (struct world *world, uint32_t number)
{
	uint8_t key[OBJECT_KEY_BYTES];
	struct tx *tx;
	int err;

	err = tx_begin(world->volume, &world->visit, true, &tx);
	if (err)
		return err;
	err = tx_delete(tx, objects, key_of(key, number));
	assert_int_equal(err, 0);
	return tx_commit(tx);
}

/* The byte that fills the value, or a negative error. */
static int
get(struct world *world, uint32_t number)
{
	uint8_t key[OBJECT_KEY_BYTES];
	uint8_t value[512];
	struct tree *tree;
	size_t bytes;
	int err;

	assert_int_equal(volume_tree_open(world->volume, objects, &tree), 0);
	err = tree_get(tree, key_of(key, number), value, sizeof value, &bytes);
	volume_tree_release(world->volume, tree);
	return err ? err : value[0];
}

static void
keeps_what_a_checkpoint_made_durable(void **state)
{
	struct world world;

	(void)state;
	world_format(&world, 8 << 20, 0);
	for (uint32_t i = 0; i < 500; i++)
		assert_int_equal(put(&world, i, (uint8_t)i, 100), 0);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	assert_int_equal(put(&world, 0, 99, 100), 0);
	assert_int_equal(get(&world, 0), 99);
	world_reopen(&world);
	assert_int_equal(get(&world, 0), 0);
	for (uint32_t i = 0; i < 500; i++)
		assert_int_equal(get(&world, i), (uint8_t)i);
	assert_int_equal(get(&world, 500), COP_ENOENT);
	world_end(&world);
}

static void
an_aborted_transaction_leaves_nothing(void **state)
{
	uint8_t key[OBJECT_KEY_BYTES];
	struct world world;
	struct run run;
	struct tx *tx;
	uint64_t free_blocks;

	(void)state;
	world_format(&world, 8 << 20, 0);
	free_blocks = space_free_blocks(volume_space(world.volume));
	assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
	assert_int_equal(tx_take(tx, SPACE_DATA, 0, 32, &run), 0);
	assert_int_equal(tx_put(tx, objects, key_of(key, 1), view_of("x", 1)), 0);
	tx_abort(tx);
	assert_int_equal(space_free_blocks(volume_space(world.volume)), free_blocks);
	assert_int_equal(get(&world, 1), COP_ENOENT);
	assert_false(volume_is_dirty(world.volume));
	world_end(&world);
}

/* A content tree: its root record comes with the first entry and goes with the last. */
static void
root_records_follow_their_trees(void **state)
{
	struct tree_name name = { .branch = BRANCH_MAIN, .object = 77, .kind = TREE_CONTENT };
	uint8_t root[ROOT_KEY_BYTES];
	uint8_t value[ROOT_RECORD_BYTES];
	uint8_t key[8];
	struct world world;
	struct tree *tree;
	struct tree *content;
	struct tx *tx;
	size_t bytes;

	(void)state;
	world_format(&world, 8 << 20, 0);
	put_be64(key, 5);
	assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
	assert_int_equal(tx_put(tx, name, view_of(key, 8), view_of("five", 4)), 0);
	assert_int_equal(tx_commit(tx), 0);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	world_reopen(&world);

	assert_int_equal(volume_tree_open(world.volume, objects, &tree), 0);
	assert_int_equal(volume_tree_open(world.volume, name, &content), 0);
	assert_int_equal(
		tree_get(tree, root_key(root, 77, TREE_CONTENT), value, sizeof value, &bytes), 0);
	assert_int_equal(tree_get(content, view_of(key, 8), value, sizeof value, &bytes), 0);
	assert_memory_equal(value, "five", 4);

	assert_int_equal(tx_begin(world.volume, &world.visit, true, &tx), 0);
	assert_int_equal(tx_delete(tx, name, view_of(key, 8)), 0);
	assert_int_equal(tx_commit(tx), 0);
	assert_int_equal(
		tree_get(tree, root_key(root, 77, TREE_CONTENT), value, sizeof value, &bytes),
		COP_ENOENT);
	assert_int_equal(content->root.levels, 0);
	volume_tree_release(world.volume, content);
	world_end(&world);
}

static void
fills_to_the_brim_and_empties_to_what_it_was(void **state)
{
	struct world world;
	uint64_t before;

	(void)state;
	world_format(&world, 8 << 20, 0);
	before = space_free_blocks(volume_space(world.volume));
	for (int round = 0; round < 3; round++) {
		uint32_t count = 0;
		int err;

		while ((err = put(&world, count, (uint8_t)count, 400)) == 0)
			count++;
		assert_int_equal(err, COP_ENOSPC);
		assert_true(count > 5000);
		for (uint32_t i = 0; i < count; i++) {
			assert_int_equal(get(&world, i), (uint8_t)i);
			if (delete (&world, i) != 0)
				fail_msg("round %d, %u of %u: %s", round, i, count, err_text());
		}
		volume_leave(world.volume, &world.visit);
		assert_int_equal(volume_settle(world.volume), 0);
		volume_enter(world.volume, &world.visit);
		assert_int_equal(space_free_blocks(volume_space(world.volume)), before);
		space_check(volume_space(world.volume));
	}
	world_end(&world);
}

static void
a_failed_write_ends_writing_and_says_so(void **state)
{
	struct world world;

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(put(&world, 1, 1, 10), 0);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	assert_int_equal(put(&world, 2, 2, 10), 0);
	sim_cut_after(world.medium, 0);
	assert_int_equal(volume_checkpoint(world.volume), COP_EIO);
	assert_int_equal(volume_checkpoint(world.volume), COP_EIO);
	assert_int_equal(put(&world, 3, 3, 10), COP_EIO);
	assert_non_null(strstr(err_text(), "no more changes"));
	assert_int_equal(get(&world, 1), 1);
	world_close(&world);
	sim_free(world.medium);
}

static void
random_changes_survive_reopening(void **state)
{
	enum { KEYS = 400, STEPS = 6000 };
	int model[KEYS];
	int durable[KEYS];
	struct world world;
	struct rng rng;

	(void)state;
	rng_seed(&rng, 4711);
	world_format(&world, 16 << 20, 0);
	for (int i = 0; i < KEYS; i++)
		model[i] = durable[i] = COP_ENOENT;
	for (int step = 0; step < STEPS; step++) {
		uint32_t number = (uint32_t)rng_below(&rng, KEYS);

		if (rng_below(&rng, 3) > 0) {
			model[number] = (int)rng_below(&rng, 256);
			assert_int_equal(put(&world, number, (uint8_t)model[number],
						 1 + rng_below(&rng, 500)),
				0);
		} else {
			model[number] = COP_ENOENT;
			assert_int_equal(delete (&world, number), 0);
		}
		if (rng_below(&rng, 100) == 0) {
			assert_int_equal(volume_checkpoint(world.volume), 0);
			memcpy(durable, model, sizeof model);
		}
		if (rng_below(&rng, 500) == 0) {
			world_reopen(&world);
			memcpy(model, durable, sizeof model);
			for (uint32_t i = 0; i < KEYS; i++)
				assert_int_equal(get(&world, i), model[i]);
		}
	}
	world_end(&world);
}

/* Every AG that has a bitmap begins with the ring or with the parameters of the format. */
static void
groups_begin_with_the_parameters_of_the_format(void **state)
{
	struct superblock sb;
	struct world world;
	uint8_t *block = block_buffer_alloc(1);
	uint32_t ag_blocks;

	(void)state;
	assert_non_null(block);
	world_format(&world, 8 << 20, 0);
	for (uint32_t i = 0; i < 500; i++)
		assert_int_equal(put(&world, i, (uint8_t)i, 400), 0);
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_what_a_checkpoint_made_durable),
		cmocka_unit_test(an_aborted_transaction_leaves_nothing),
		cmocka_unit_test(root_records_follow_their_trees),
		cmocka_unit_test(fills_to_the_brim_and_empties_to_what_it_was),
		cmocka_unit_test(a_failed_write_ends_writing_and_says_so),
		cmocka_unit_test(groups_begin_with_the_parameters_of_the_format),
		cmocka_unit_test(random_changes_survive_reopening),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
