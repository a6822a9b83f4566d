#include "world.h"

#include "base/checksum.h"

static void
finds_a_leaked_run_as_one(void **state)
{
	struct world *w = world_open();
	struct run run = world_take(w, 5);

	(void)state;
	world_close(w);
	world_expect_one(w, COP_PROBLEM_LEAK, 0, "5 blocks are marked used and nothing refers");
	assert_int_equal(w->found[0].block, run.addr);
	world_free(w);
}

/* It is freed in the newest generation: the one before is not concerned. */
static void
finds_what_is_in_use_and_marked_free(void **state)
{
	struct world *w = world_open();
	struct extent extent = world_extent(w, world_id(w, "pieces"), 0);

	(void)state;
	world_release(w, (struct run){ .addr = extent.addr + 1, .blocks = 2 });
	world_close(w);
	world_expect_one(w, COP_PROBLEM_ALLOCATION, 0, "2 blocks are in use and marked free");
	assert_int_equal(w->found[0].block, extent.addr + 1);
	world_free(w);
}

static void
finds_data_with_two_owners(void **state)
{
	struct world *w = world_open();
	uint64_t pieces = world_id(w, "pieces");
	uint64_t in = world_id(w, "d/in");
	struct extent theirs = world_extent(w, pieces, 1);
	struct extent ours = world_extent(w, in, 0);
	struct run run = { .addr = ours.addr, .blocks = ours.blocks };
	const struct found *found;

	(void)state;
	ours.addr = theirs.addr;
	memcpy(ours.checksums, theirs.checksums, sizeof ours.checksums);
	world_put_extents(w, in, &ours, 1);
	world_release(w, run);
	world_close(w);
	world_check(w);
	found = world_expect_among(
		w, COP_PROBLEM_ALLOCATION, in > pieces ? in : pieces, "used by something else");
	assert_int_equal(found->block, theirs.addr);
	assert_int_equal(found->bytes, 2 * BLOCK_BYTES);
	assert_int_equal(w->result.problems, 1);
	world_free(w);
}

/* A tree with two owners is told at its root, and not once for each node and extent. */
static void
finds_a_tree_with_two_owners(void **state)
{
	struct world *w = world_open();
	struct tree_root root;
	struct loaded_record loaded;
	uint8_t key[ROOT_KEY_BYTES];
	uint8_t value[ROOT_RECORD_BYTES];
	uint64_t comb = world_id(w, "comb");
	uint64_t small = world_id(w, "small");
	uint64_t length;
	uint64_t blocks;

	(void)state;
	world_get_root(w, comb, TREE_CONTENT, &root);
	world_get_record(w, comb, &loaded);
	length = loaded.record.length;
	blocks = loaded.record.allocated_blocks;
	world_get_record(w, small, &loaded);
	loaded.record.form = COP_FORM_TREE;
	loaded.record.length = length;
	loaded.record.allocated_blocks = blocks;
	loaded.record.content = view_of(NULL, 0);
	world_put_record(w, small, &loaded.record);
	root_record_encode(&root, value);
	world_put(w, world_objects(), root_key(key, small, TREE_CONTENT),
		view_of(value, sizeof value));
	world_close(w);
	world_check(w);
	(void)world_expect_among(
		w, COP_PROBLEM_ALLOCATION, small > comb ? small : comb, "content tree at block");
	for (size_t i = 0; i < w->found_count; i++)
		assert_int_equal(w->found[i].class_, COP_PROBLEM_ALLOCATION);
	assert_true(w->result.problems <= 2); /* both copies of the root */
	world_free(w);
}

static void
finds_an_extent_outside_of_the_volume(void **state)
{
	struct world *w = world_open();
	uint64_t in = world_id(w, "d/in");
	struct extent extent = world_extent(w, in, 0);
	struct run run = { .addr = extent.addr, .blocks = extent.blocks };

	(void)state;
	extent.addr = 4095;
	world_put_extents(w, in, &extent, 1);
	world_release(w, run);
	world_close(w);
	world_expect_one(w, COP_PROBLEM_ALLOCATION, in, "outside of the volume");
	assert_string_equal(w->found[0].path, "/d/in");
	assert_int_equal(w->found[0].bytes, 2 * BLOCK_BYTES);
	world_free(w);
}

/* As if a freed block had been handed out one generation too early. */
static void
finds_what_was_written_over_the_checkpoint_before(void **state)
{
	struct world *w = world_open();
	uint64_t pieces = world_id(w, "pieces");
	uint64_t in = world_id(w, "d/in");
	struct extent theirs = world_extent(w, pieces, 1);
	struct extent ours = world_extent(w, in, 0);
	struct extent first = world_extent(w, pieces, 0);
	struct run run = { .addr = ours.addr, .blocks = ours.blocks };
	struct loaded_record loaded;

	(void)state;
	world_get_record(w, pieces, &loaded);
	loaded.record.allocated_blocks -= theirs.blocks;
	world_put_record(w, pieces, &loaded.record);
	world_put_extents(w, pieces, &first, 1);
	ours.addr = theirs.addr;
	ours.birth = volume_generation(open_volume_below(w->volume));
	memcpy(ours.checksums, theirs.checksums, sizeof ours.checksums);
	world_put_extents(w, in, &ours, 1);
	world_release(w, run);
	world_close(w);
	world_expect_one(w, COP_PROBLEM_ALLOCATION, in, "written over what the checkpoint before");
	assert_int_equal(w->found[0].block, theirs.addr);
	world_free(w);
}

/* The block of the allocation tree with its bitmap. */
static uint64_t
bitmap_block(const struct superblock *sb, struct world *w, uint64_t ag)
{
	struct geometry geometry;
	uint8_t top[BLOCK_BYTES];
	struct space_descriptor descriptor;

	must(geometry_init(&geometry, sb->blocks, sb->ag_blocks, sb->journal_blocks));
	assert_int_equal(geometry.levels, 1);
	must(sim_peek(w->medium, geometry_space_block(&geometry, 1, 0, sb->allocation.slot), top));
	must(space_descriptor_decode(top + 64 + ag * SPACE_DESCRIPTOR_BYTES, &descriptor));
	return geometry_space_block(&geometry, 0, ag, descriptor.slot);
}

static void
a_damaged_bitmap_leaves_its_group_unjudged(void **state)
{
	struct superblock newest;
	struct superblock previous;
	struct world *w = world_open_closed(&newest, &previous, NULL);

	(void)state;
	world_flip(w, bitmap_block(&newest, w, 0));
	world_check(w);
	(void)world_expect_among(w, COP_PROBLEM_ALLOCATION, 0, "newest allocation tree at AG 0");
	assert_int_equal(w->result.problems, 1);
	world_free(w);
}

static void
a_damaged_allocation_tree_leaves_all_unjudged(void **state)
{
	struct superblock newest;
	struct superblock previous;
	struct geometry geometry;
	struct world *w = world_open_closed(&newest, &previous, &geometry);

	(void)state;
	world_flip(w, geometry_space_block(&geometry, 1, 0, newest.allocation.slot));
	world_check(w);
	(void)world_expect_among(w, COP_PROBLEM_ALLOCATION, 0, "newest allocation tree at AG 0");
	assert_int_equal(w->result.problems, 1);
	world_free(w);
}

static void
finds_damage_to_the_allocation_tree_of_the_checkpoint_before(void **state)
{
	struct superblock newest;
	struct superblock previous;
	struct geometry geometry;
	struct world *w = world_open_closed(&newest, &previous, &geometry);

	(void)state;
	world_flip(w, geometry_space_block(&geometry, 1, 0, previous.allocation.slot));
	world_expect_one(w, COP_PROBLEM_ALLOCATION, 0, "previous allocation tree at AG 0");
	world_free(w);
}

/* Windows of one group each, and all groups at once, see the same. */
static void
sees_the_same_through_any_window(void **state)
{
	struct world *w = world_open();
	struct extent extent = world_extent(w, world_id(w, "pieces"), 0);
	struct cop_check_result wide;
	struct found found[FOUND_MAX];
	size_t count;
	struct run run;

	(void)state;
	run = world_take(w, 2);
	world_release(w, (struct run){ .addr = extent.addr + 1, .blocks = 1 });
	world_close(w);
	world_check(w);
	assert_int_equal(w->result.problems, 2);
	(void)world_expect_among(w, COP_PROBLEM_LEAK, 0, "2 blocks are marked used");
	(void)world_expect_among(w, COP_PROBLEM_ALLOCATION, 0, "1 block is in use");
	wide = w->result;
	count = w->found_count;
	memcpy(found, w->found, sizeof found);
	w->has_limits = true;
	w->limits = (struct check_limits){
		.cache_bytes = 3 << 20,
		.window_ids = 16,
		.data_in_flight = 16,
		.data_request_blocks = EXTENT_BLOCKS_MAX,
		.data_blocks = EXTENT_BLOCKS_MAX,
	};
	for (size_t ags = 1; ags < 9; ags += 3) {
		w->limits.window_ags = ags;
		world_check(w);
		assert_int_equal(w->found_count, count);
		for (size_t i = 0; i < count; i++)
			(void)world_expect_among(w, found[i].class_, 0, found[i].text);
		assert_memory_equal(&w->result, &wide, sizeof wide);
	}
	assert_int_not_equal(run.addr, 0);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_a_leaked_run_as_one),
		cmocka_unit_test(finds_what_is_in_use_and_marked_free),
		cmocka_unit_test(finds_data_with_two_owners),
		cmocka_unit_test(finds_a_tree_with_two_owners),
		cmocka_unit_test(finds_an_extent_outside_of_the_volume),
		cmocka_unit_test(finds_what_was_written_over_the_checkpoint_before),
		cmocka_unit_test(a_damaged_bitmap_leaves_its_group_unjudged),
		cmocka_unit_test(a_damaged_allocation_tree_leaves_all_unjudged),
		cmocka_unit_test(finds_damage_to_the_allocation_tree_of_the_checkpoint_before),
		cmocka_unit_test(sees_the_same_through_any_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
