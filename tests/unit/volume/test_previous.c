/*
 * Invariant 1, proved by looking: after every step of a random life, with commits, checkpoints,
 * kills and power cuts, everything that the two newest durable superblocks reach is read from the
 * medium and verified: nodes in both copies, allocation trees, data.
 */

#include "base/random.h"
#include "volume/volume_internal.h"
#include "world.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

enum {
	OBJECTS = 12,
	BLOCKS_OF_OBJECT = 24, /* keys of its content tree, each with a run of data */
	DATA_BLOCKS_MAX = 4,
	VALUE_BYTES = 300, /* le64 addr, le32 blocks, u8 fill; the rest makes trees higher */
};

/* ---- Looking --------------------------------------------------------------------------------- */

struct look {
	struct device *dev;
	struct cache *cache;
	struct tree_env env;
	uint64_t generation;
	struct tree_root objects;
	struct tree_root contents[OBJECTS];
	uint8_t *block;
};

static void
no_gate(void *context)
{
	(void)context;
}

static uint64_t
look_generation(void *context)
{
	const struct look *look = context;

	return look->generation;
}

static const struct tree_hooks look_hooks = {
	.enter = no_gate,
	.leave = no_gate,
	.generation = look_generation,
};

static bool
node_is_whole(
	void *context, const struct tree_pointer *pointer, uint8_t level, int copy, int result)
{
	const struct look *look = context;

	if (result != 0)
		fail_msg("generation %" PRIu64 ": copy %d of the node at %" PRIu64 ", level %u: %s",
			look->generation, copy, pointer->addr, level, err_text());
	return true;
}

static bool
branch_entry(void *context, struct view key, struct view value)
{
	struct look *look = context;
	struct branch_record branch;

	if (key.data[0] == CATALOG_BRANCH) {
		assert_int_equal(branch_decode(value, &branch), 0);
		look->objects = branch.objects;
	}
	return true;
}

static bool
object_entry(void *context, struct view key, struct view value)
{
	struct look *look = context;
	uint64_t object = get_be64(key.data);

	if (key.data[8] == KEY_ROOT) {
		assert_in_range(object, 1, OBJECTS);
		assert_int_equal(value.bytes, ROOT_RECORD_BYTES);
		assert_int_equal(root_record_decode(value.data, &look->contents[object - 1]), 0);
	}
	return true;
}

static bool
content_entry(void *context, struct view key, struct view value)
{
	struct look *look = context;
	uint64_t addr = get_le64(value.data);
	uint32_t blocks = get_le32(value.data + 8);

	(void)key;
	for (uint32_t i = 0; i < blocks; i++) {
		assert_int_equal(device_read(look->dev, addr + i, look->block, 1), 0);
		if (look->block[0] != value.data[12] ||
			memcmp(look->block, look->block + 1, BLOCK_BYTES - 1) != 0)
			fail_msg("generation %" PRIu64 ": data at %" PRIu64, look->generation,
				addr + i);
	}
	return true;
}

static bool
bitmap_is_whole(void *context, uint64_t ag, const struct space_descriptor *descriptor,
	const uint8_t *bitmap, int result)
{
	(void)context;
	(void)descriptor;
	(void)bitmap;
	if (result != 0)
		fail_msg("bitmap of AG %" PRIu64 ": %s", ag, err_text());
	return true;
}

static void
walk(struct look *look, enum tree_kind kind, const struct tree_root *root,
	bool (*entry)(void *context, struct view key, struct view value))
{
	const struct tree_walk walk = {
		.node = node_is_whole,
		.entry = entry,
		.context = look,
		.both_copies = true,
	};

	if (root->levels > 0)
		assert_int_equal(tree_walk(&look->env, kind, root, &walk), 0);
}

static void
assert_whole(struct device *dev, const struct superblock *sb)
{
	struct look look = { .dev = dev, .generation = sb->generation };
	struct geometry geometry;

	assert_int_equal(
		geometry_init(&geometry, sb->blocks, sb->ag_blocks, sb->journal_blocks), 0);
	assert_int_equal(cache_create(dev, COP_CACHE_BYTES_MIN, &look.cache), 0);
	look.block = block_buffer_alloc(1);
	assert_non_null(look.block);
	look.env.cache = look.cache;
	look.env.node_bytes = sb->node_bytes;
	look.env.device_blocks = sb->blocks;
	look.env.hooks = &look_hooks;
	look.env.context = &look;
	memcpy(look.env.uuid, sb->uuid, sizeof look.env.uuid);

	walk(&look, TREE_CATALOG, &sb->catalog, branch_entry);
	walk(&look, TREE_OBJECTS, &look.objects, object_entry);
	for (uint32_t i = 0; i < OBJECTS; i++)
		walk(&look, TREE_CONTENT, &look.contents[i], content_entry);
	assert_int_equal(space_walk(dev, &geometry, sb->uuid, &sb->allocation, 0, geometry.ag_count,
				 bitmap_is_whole, NULL),
		0);
	free(look.block);
	cache_free(look.cache);
}

static void
look_at_both(struct world *world)
{
	struct superblock newest;
	struct superblock previous;
	struct device *dev;

	assert_int_equal(sim_open(world->medium, DEVICE_READ_ONLY | DEVICE_NO_LOCK, &dev), 0);
	assert_int_equal(volume_find_superblock(dev, &newest, &previous), 0);
	assert_whole(dev, &newest);
	if (previous.generation != 0)
		assert_whole(dev, &previous);
	device_close(dev);
}

/* ---- Living ---------------------------------------------------------------------------------- */

static uint32_t
choose_at_random(void *context, uint32_t alternatives, uint64_t sector)
{
	(void)sector;
	return (uint32_t)rng_below(context, alternatives);
}

static bool
find_entry(struct world *world, uint64_t object, uint8_t key[8], uint8_t *out_value)
{
	struct tree *tree;
	size_t bytes;
	int err;

	assert_int_equal(volume_tree_open(world->volume, world_content(object), &tree), 0);
	err = tree_get(tree, view_of(key, 8), out_value, VALUE_BYTES, &bytes);
	volume_tree_release(world->volume, tree);
	assert_true(err == 0 || err == COP_ENOENT);
	return err == 0;
}

/* New data in place of the old, or none. */
static void
write_or_erase(struct world *world, struct rng *rng)
{
	uint64_t object = 1 + rng_below(rng, OBJECTS);
	bool erases = rng_below(rng, 3) == 0;
	uint8_t value[VALUE_BYTES] = { 0 };
	uint8_t old[VALUE_BYTES];
	uint8_t key[8];
	struct tx *tx;
	int err = 0;

	put_be64(key, rng_below(rng, BLOCKS_OF_OBJECT));
	assert_int_equal(tx_begin(world->volume, &world->visit, erases, &tx), 0);
	if (find_entry(world, object, key, old))
		err = tx_release(tx, (struct run){ get_le64(old), get_le32(old + 8) });
	assert_int_equal(err, 0);
	if (erases) {
		assert_int_equal(tx_delete(tx, world_content(object), view_of(key, 8)), 0);
	} else {
		uint8_t *data = block_buffer_alloc(DATA_BLOCKS_MAX);
		uint8_t fill = (uint8_t)rng_below(rng, 256);
		struct run run;

		assert_non_null(data);
		memset(data, fill, (size_t)DATA_BLOCKS_MAX * BLOCK_BYTES);
		err = tx_take(
			tx, SPACE_DATA, 0, 1 + (uint32_t)rng_below(rng, DATA_BLOCKS_MAX), &run);
		if (err == 0)
			err = device_write(world->dev, run.addr, data, run.blocks);
		free(data);
		if (err) {
			assert_int_equal(err, COP_ENOSPC);
			tx_abort(tx);
			return;
		}
		put_le64(value, run.addr);
		put_le32(value + 8, run.blocks);
		value[12] = fill;
		assert_int_equal(tx_put(tx, world_content(object), view_of(key, 8),
					 view_of(value, sizeof value)),
			0);
	}
	err = tx_commit(tx);
	assert_true(err == 0 || err == COP_ENOSPC);
}

static void
cut_the_power(struct world *world, struct rng *rng)
{
	sim_cut_after(world->medium, rng_below(rng, 30));
	for (int i = 0; i < 5 && sim_is_on(world->medium); i++) {
		if (world_put(world, (uint32_t)rng_below(rng, 200), 1, 400) == 0)
			err_clear();
		if (volume_checkpoint(world->volume) != 0)
			err_clear();
	}
	world_close(world);
	if (sim_is_on(world->medium))
		sim_power_off(world->medium);
	sim_power_on(world->medium, choose_at_random, rng);
	world_open(world);
}

static void
live(uint64_t seed, uint64_t bytes, uint32_t node_bytes, uint8_t copies)
{
	enum { STEPS = 120 };
	struct world world = { .copies = copies };
	struct rng rng;

	rng_seed(&rng, seed);
	world_format(&world, bytes, node_bytes);
	for (int step = 0; step < STEPS; step++) {
		uint64_t what = rng_below(&rng, 20);

		if (what < 12) {
			for (uint64_t i = rng_below(&rng, 20); i > 0; i--)
				write_or_erase(&world, &rng);
		} else if (what < 17) {
			assert_int_equal(volume_checkpoint(world.volume), 0);
		} else if (what < 18) {
			world_reopen(&world);
		} else if (what < 19) {
			world_settle(&world);
		} else {
			cut_the_power(&world, &rng);
		}
		look_at_both(&world);
		space_check(volume_space(world.volume));
	}
	world_end(&world);
}

static void
the_two_newest_checkpoints_stay_whole(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 2; seed++) {
		print_message("# seed %" PRIu64 "\n", seed);
		live(seed, 8 << 20, 4096, 0);
		live(seed, 8 << 20, 16384, 2);
		live(seed, 32 << 20, 4096, 1);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_two_newest_checkpoints_stay_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
