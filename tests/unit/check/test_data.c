#include "world.h"

#include "base/checksum.h"

#include <string.h>

static void
a_sound_volume_has_no_problems(void **state)
{
	struct world *w = world_open();

	(void)state;
	world_close(w);
	world_expect_none(w);
	assert_true(w->result.data_blocks > 120);
	w->flags = COP_CHECK_METADATA;
	world_expect_none(w);
	assert_int_equal(w->result.data_blocks, 0);
	world_free(w);
}

static void
names_object_range_and_block_of_flipped_data(void **state)
{
	struct world *w = world_open();
	uint64_t id = world_id(w, "pieces");
	struct extent extent = world_extent(w, id, 1);

	(void)state;
	world_close(w);
	world_flip(w, extent.addr + 1);
	world_expect_one(w, COP_PROBLEM_DATA, id, "wrong checksum");
	assert_int_equal(w->found[0].offset, 40960 + 4096);
	assert_int_equal(w->found[0].bytes, 5000 - 4096); /* up to the end of the file */
	assert_int_equal(w->found[0].block, extent.addr + 1);
	assert_string_equal(w->found[0].path, "/pieces");

	/* Without data it is not looked at. */
	w->flags = COP_CHECK_METADATA;
	world_expect_none(w);
	world_free(w);
}

static void
tells_a_run_of_bad_blocks_as_one(void **state)
{
	struct world *w = world_open();
	uint64_t id = world_id(w, "pieces");
	struct extent extent = world_extent(w, id, 0);

	(void)state;
	world_close(w);
	world_flip(w, extent.addr);
	world_flip(w, extent.addr + 1);
	world_expect_one(w, COP_PROBLEM_DATA, id, "wrong checksum");
	assert_int_equal(w->found[0].offset, 0);
	assert_int_equal(w->found[0].bytes, 8192);
	world_free(w);
}

/* A request spans several blocks, maybe of several objects: only the bad one is told. */
static void
names_the_block_that_cannot_be_read(void **state)
{
	struct world *w = world_open();
	uint64_t id = world_id(w, "pieces");
	struct extent extent = world_extent(w, id, 0);
	struct sim_fault fault = {
		.kind = SIM_FAIL_READ,
		.persistent = true,
		.addr = extent.addr + 1,
		.blocks = 1,
	};

	(void)state;
	world_close(w);
	must(sim_add_fault(w->medium, &fault));
	world_expect_one(w, COP_PROBLEM_DATA, id, "cannot be read");
	assert_int_equal(w->found[0].offset, 4096);
	assert_int_equal(w->found[0].bytes, 4096);
	sim_clear_faults(w->medium);
	world_expect_none(w);
	world_free(w);
}

static void
finds_bytes_past_the_end_that_are_not_zero(void **state)
{
	struct world *w = world_open();
	uint64_t id = world_id(w, "pieces");
	struct loaded_record loaded;

	(void)state;
	world_get_record(w, id, &loaded);
	loaded.record.length -= 100; /* and the bytes stay */
	world_put_record(w, id, &loaded.record);
	world_close(w);
	world_expect_one(w, COP_PROBLEM_DATA, id, "bytes past the end are not zero");
	assert_int_equal(w->found[0].offset, 40960 + 4096);
	world_free(w);
}

static void
finds_damage_that_only_the_checkpoint_before_sees(void **state)
{
	struct world *w = world_open();
	struct extent extent;
	uint64_t id = world_id(w, "gone");

	(void)state;
	world_reopen(w);
	extent = world_extent(w, id, 0);
	{
		struct cop_object *gone;
		uint8_t bytes[20000] = { 1 };

		must(cop_get(w->root, id, &gone));
		must(cop_write(gone, 0, bytes, sizeof bytes, NULL));
		cop_release(gone);
	}
	world_close(w);
	world_expect_none(w);
	world_flip(w, extent.addr);
	world_expect_one(w, COP_PROBLEM_DATA, id, "of the checkpoint before the newest");
	assert_int_equal(w->found[0].block, extent.addr);
	world_free(w);
}

static void
names_the_attribute_that_is_damaged(void **state)
{
	struct world *w = world_open();
	uint64_t id = world_id(w, "attr");
	uint64_t before;
	struct superblock newest;
	struct superblock previous;
	uint8_t block[BLOCK_BYTES];
	uint8_t want[BLOCK_BYTES];

	(void)state;
	world_close(w);
	world_superblocks(w, &newest, &previous);
	memset(want, 'v', sizeof want);
	for (before = 0; before < newest.blocks; before++) {
		must(sim_peek(w->medium, before, block));
		if (memcmp(block, want, sizeof want) == 0)
			break;
	}
	world_flip(w, before);
	world_expect_one(w, COP_PROBLEM_DATA, id, "data of an attribute");
	world_free(w);
}

/* Every way of cutting reading into requests verifies the same blocks. */
static void
verifies_every_block_once_whatever_the_queue(void **state)
{
	struct world *w = world_open();
	struct cop_check_result wide;

	(void)state;
	world_close(w);
	world_expect_none(w);
	wide = w->result;
	w->has_limits = true;
	w->limits = (struct check_limits){
		.cache_bytes = 3 << 20,
		.window_ags = 100,
		.window_ids = 1000,
		.ancestor_ids = 1000,
		.data_request_blocks = EXTENT_BLOCKS_MAX,
	};
	for (uint32_t blocks = EXTENT_BLOCKS_MAX; blocks < 5000; blocks *= 3) {
		w->limits.data_blocks = blocks;
		w->limits.data_in_flight = blocks / 30;
		world_expect_none(w);
		assert_memory_equal(&w->result, &wide, sizeof wide);
	}
	world_free(w);
}

/* The first byte, or an error. */
static int
read_first(struct world *w, const char *name)
{
	uint8_t byte = 0;
	size_t read = 0;
	struct cop_object *file;
	int err;

	must(cop_lookup(w->root, name, strlen(name), &file));
	err = cop_read(file, 0, &byte, 1, &read);
	cop_release(file);
	return err ? err : byte;
}

/* Stops at the first leaf. */
static bool
take_leaf(void *context, const struct tree_pointer *pointer, uint8_t level, int copy, int result)
{
	uint64_t *addr = context;

	(void)copy;
	(void)result;
	*addr = pointer->addr;
	return level > 0;
}

static uint64_t
first_leaf(struct world *w, uint64_t id)
{
	struct tree_env *env = volume_tree_env(open_volume_below(w->volume));
	uint64_t addr = 0;
	const struct tree_walk walk = { .node = take_leaf, .context = &addr };
	struct tree_root root;

	world_get_root(w, id, TREE_CONTENT, &root);
	must(tree_walk(env, TREE_CONTENT, &root, &walk));
	return addr;
}

/*
 * A leaf of content that is damaged in both checkpoints, and that the journal changes: it costs
 * that file, which is named, and can be removed. What the lost leaf alone had named is not given
 * up.
 */
static void
names_content_that_a_replay_has_lost(void **state)
{
	struct world *w = world_open();
	uint64_t id = world_id(w, "comb");
	struct cop_object *file;
	uint8_t bytes[BLOCK_BYTES] = { 1 };
	uint64_t leaf;

	(void)state;
	world_reopen(w); /* the first change makes a second checkpoint with the leaf as it is */
	leaf = first_leaf(w, id);
	must(cop_lookup(w->root, "comb", 4, &file));
	must(cop_write(file, 0, bytes, sizeof bytes, NULL));
	must(cop_sync_object(file));
	cop_release(file);
	world_kill(w);
	world_flip(w, leaf);

	for (uint8_t again = 0; again < 3; again++) {
		world_start(w);
		assert_int_equal(read_first(w, "comb"), COP_ECHECKSUM);
		if (again > 0)
			assert_int_equal(read_first(w, "pieces"), again);
		must(cop_lookup(w->root, "comb", 4, &file));
		must(cop_write(file, 0, bytes, sizeof bytes, NULL)); /* to pages */
		assert_int_equal(cop_sync_object(file), COP_ECHECKSUM);
		cop_release(file);

		/* It is told that it could not be stored; what others have written is. */
		bytes[0] = again + 1;
		must(cop_lookup(w->root, "pieces", 6, &file));
		must(cop_write(file, 0, bytes, sizeof bytes, NULL));
		cop_release(file);
		assert_int_equal(cop_sync(w->volume), COP_ECHECKSUM);
		world_kill(w);
		world_check(w);
		(void)world_expect_among(w, COP_PROBLEM_NODE, id, "lost");
	}
	world_start(w);
	must(cop_unlink(w->root, "comb", 4, 0));
	must(cop_settle(w->volume));
	world_close(w);
	world_check(w);
	for (size_t i = 0; i < w->found_count; i++)
		assert_int_equal(w->found[i].class_, COP_PROBLEM_LEAK);
	assert_true(w->found_count > 0);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sound_volume_has_no_problems),
		cmocka_unit_test(names_object_range_and_block_of_flipped_data),
		cmocka_unit_test(tells_a_run_of_bad_blocks_as_one),
		cmocka_unit_test(names_the_block_that_cannot_be_read),
		cmocka_unit_test(finds_bytes_past_the_end_that_are_not_zero),
		cmocka_unit_test(finds_damage_that_only_the_checkpoint_before_sees),
		cmocka_unit_test(names_the_attribute_that_is_damaged),
		cmocka_unit_test(verifies_every_block_once_whatever_the_queue),
		cmocka_unit_test(names_content_that_a_replay_has_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
