#include "world.h"

#include "tree/node_format.h"

/* A volume in which the content of `comb` was cloned so often. The clones' numbers. */
enum { CLONES_MAX = 3 };

static void
clone_comb(struct world *w, size_t count, uint64_t out_ids[CLONES_MAX])
{
	for (size_t i = 0; i < count; i++)
		out_ids[i] = world_clone(w, world_id(w, "comb"));
}

static void
write_block(struct world *w, uint64_t id, uint64_t block, uint8_t fill)
{
	uint8_t bytes[BLOCK_BYTES];
	struct cop_object *object;

	memset(bytes, fill, sizeof bytes);
	assert_int_equal(cop_get(w->root, id, &object), 0);
	assert_int_equal(cop_write(object, block * BLOCK_BYTES, bytes, sizeof bytes, NULL), 0);
	cop_release(object);
}

/* Changes the one entry of a share tree of one leaf, which is `from`, in both copies. */
static void
change_entry(struct world *w, const struct share_range *from, const uint8_t to[SHARE_VALUE_BYTES])
{
	struct superblock newest;
	struct superblock previous;
	uint8_t value[SHARE_VALUE_BYTES];
	uint64_t addrs[2];
	uint32_t found = 0;
	uint32_t blocks;
	uint8_t *node;
	struct device *dev;

	world_superblocks(w, &newest, &previous);
	assert_int_equal(newest.shares.levels, 1);
	addrs[0] = newest.shares.pointer.addr;
	addrs[1] = newest.shares.pointer.addr2;
	blocks = newest.node_bytes / BLOCK_BYTES;
	node = malloc(newest.node_bytes);
	assert_non_null(node);
	assert_int_equal(sim_open(w->medium, 0, &dev), 0);
	assert_int_equal(device_read(dev, addrs[0], node, blocks), 0);
	share_encode(from, value);
	for (uint32_t at = NODE_HEADER_BYTES; at + SHARE_VALUE_BYTES <= newest.node_bytes; at++) {
		if (memcmp(node + at, value, sizeof value) != 0)
			continue;
		memcpy(node + at, to, SHARE_VALUE_BYTES);
		found++;
	}
	assert_int_equal(found, 1);
	node_checksum_put(node, newest.node_bytes);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(device_write(dev, addrs[i], node, blocks), 0);
	device_close(dev);
	free(node);
}

static struct share_range
root_range(struct world *w, uint32_t extra)
{
	struct share_range range = { .extra = extra };
	struct tree_root root;

	world_get_root(w, world_id(w, "comb"), TREE_CONTENT, &root);
	range.addr = root.pointer.addr;
	range.blocks = volume_node_bytes(open_volume_below(w->volume)) / BLOCK_BYTES;
	return range;
}

static void
finds_nothing_wrong_with_clones(void **state)
{
	struct world *w = world_open();
	uint64_t ids[CLONES_MAX];

	(void)state;
	clone_comb(w, 3, ids);
	world_reopen(w);
	write_block(w, ids[0], 4, 1);
	write_block(w, ids[1], 8, 2);
	world_close(w);
	world_expect_none(w);
	world_free(w);
}

/* One AG and few objects at a time: what is shared is met in some passes, and counted in others. */
static void
counts_in_small_windows(void **state)
{
	struct world *w = world_open();
	uint64_t ids[CLONES_MAX];

	(void)state;
	clone_comb(w, 3, ids);
	write_block(w, ids[0], 4, 1);
	write_block(w, ids[1], 8, 2);
	world_close(w);
	w->limits = (struct check_limits){
		.cache_bytes = COP_CACHE_BYTES_MIN,
		.window_ags = 1,
		.window_ids = 32,
		.ancestor_ids = 1024,
		.data_in_flight = 2,
		.data_request_blocks = EXTENT_BLOCKS_MAX,
		.data_blocks = 64,
		.window_shares = 60,
		.shared_nodes = 1000,
	};
	w->has_limits = true;
	world_expect_none(w);
	world_free(w);
}

/* Closes a volume with so many clones whose count says that there are `extra`; where they lie. */
static uint64_t
miscount(struct world *w, uint32_t clones, uint32_t extra, uint64_t ids[static CLONES_MAX])
{
	uint8_t value[SHARE_VALUE_BYTES];
	struct share_range range;

	clone_comb(w, clones, ids);
	range = root_range(w, clones);
	world_close(w);
	world_expect_none(w);
	share_encode(&(struct share_range){ range.addr, range.blocks, extra }, value);
	change_entry(w, &range, value);
	return range.addr;
}

static void
tells_a_count_that_is_too_high(void **state)
{
	struct world *w = world_open();
	uint64_t ids[CLONES_MAX];
	uint64_t addr;

	(void)state;
	addr = miscount(w, 1, 2, ids);
	world_expect_one(w, COP_PROBLEM_LEAK, 0, "counted 3 times, and 2 refer to");
	assert_int_equal(w->found[0].block, addr);
	world_free(w);
}

/* Would be freed though somebody still has it. */
static void
tells_a_count_that_is_too_low(void **state)
{
	struct world *w = world_open();
	uint64_t ids[CLONES_MAX];

	(void)state;
	(void)miscount(w, 2, 1, ids);
	world_check(w);
	(void)world_expect_among(
		w, COP_PROBLEM_ALLOCATION, ids[1], "used by something else as well");
	world_free(w);
}

static void
tells_entries_that_make_no_sense(void **state)
{
	struct world *w = world_open();
	uint8_t value[SHARE_VALUE_BYTES] = { 0 };
	struct share_range range;
	uint64_t ids[CLONES_MAX];

	(void)state;
	clone_comb(w, 1, ids);
	range = root_range(w, 1);
	world_close(w);
	change_entry(w, &range, value);
	world_check(w);
	(void)world_expect_among(w, COP_PROBLEM_STRUCTURE, 0, "a share entry of 0 blocks");
	world_free(w);
}

static void
tells_that_sharing_has_gone_back(void **state)
{
	struct world *w = world_open();
	struct superblock newest;
	struct superblock previous;
	uint64_t ids[CLONES_MAX];

	(void)state;
	clone_comb(w, 1, ids);
	world_reopen(w);
	clone_comb(w, 1, ids);
	world_close(w);
	world_superblocks(w, &newest, &previous);
	assert_true(previous.share_stamp > 1);
	newest.share_stamp = previous.share_stamp - 1;
	world_put_superblock(w, &newest);
	world_check(w);
	(void)world_expect_among(
		w, COP_PROBLEM_SUPERBLOCK, 0, "sharing is older than it was before");
	world_free(w);
}

/* Its nodes lost, nothing is said of counts; what is shared is still whole. */
static void
goes_on_without_a_share_tree(void **state)
{
	struct world *w = world_open();
	struct superblock newest;
	struct superblock previous;
	uint64_t ids[CLONES_MAX];

	(void)state;
	clone_comb(w, 2, ids);
	world_close(w);
	world_superblocks(w, &newest, &previous);
	world_flip(w, newest.shares.pointer.addr);
	world_flip(w, newest.shares.pointer.addr2);
	world_check(w);
	(void)world_expect_among(w, COP_PROBLEM_NODE, 0, "share tree");
	for (size_t i = 0; i < w->found_count; i++)
		assert_int_not_equal(w->found[i].class_, COP_PROBLEM_LEAK);
	world_free(w);
}

/* Removed, with the jobs still to be run: two dead trees share what is left. */
static void
counts_what_dead_trees_refer_to(void **state)
{
	struct world *w = world_open();
	uint64_t ids[CLONES_MAX];

	(void)state;
	clone_comb(w, 2, ids);
	write_block(w, ids[0], 4, 1);
	for (size_t i = 0; i < 2; i++) {
		struct cop_object *clone;

		assert_int_equal(cop_get(w->root, ids[i], &clone), 0);
		assert_int_equal(cop_unref(clone), 0);
		cop_release(clone);
	}
	world_close(w);
	world_expect_none(w);
	world_free(w);
}

/* What the newest checkpoint does not know yet is counted by the second proof. */
static void
counts_what_replay_has_changed(void **state)
{
	struct world *w = world_open();
	uint64_t ids[CLONES_MAX];
	struct cop_object *clone;

	(void)state;
	clone_comb(w, 1, ids); /* in the checkpoint */
	world_reopen(w);
	clone_comb(w, 2, ids);
	(void)world_clone(w, world_id(w, "pieces"));
	write_block(w, ids[0], 4, 1);
	must(cop_get(w->root, ids[1], &clone));
	must(cop_punch(clone, 0, UINT64_C(40) * BLOCK_BYTES));
	must(cop_unref(clone)); /* a dead tree that shares most of its nodes */
	cop_release(clone);
	must(cop_sync(w->volume));
	world_kill(w);
	world_expect_none(w);
	world_free(w);
}

/*
 * Steps of jobs change counts, and nothing of the branch: where the catalog has several leaves, the
 * newest checkpoint and the one before it have the same branch, and two share trees.
 */
static void
walks_the_share_tree_of_the_checkpoint_before(void **state)
{
	enum { EXTENTS = 400, CLONES = 80 };
	struct world *w = world_open();
	uint64_t many = world_nameless(w);
	struct cop_object *object;
	uint64_t ids[CLONES];
	uint64_t pending = 1;

	(void)state;
	for (uint64_t i = 0; i < EXTENTS; i++)
		write_block(w, many, 2 * i, 1);
	for (size_t i = 0; i < CLONES; i++) {
		ids[i] = world_clone(w, many);
		write_block(w, ids[i], 0, 2); /* so that taking it apart is a job */
	}
	for (size_t i = 0; i < CLONES; i++) {
		must(cop_get(w->root, ids[i], &object));
		must(cop_unref(object));
		cop_release(object);
	}
	while (pending > 0) {
		for (int steps = 0; steps < 5; steps++)
			must(cop_poll(w->volume, &pending));
		must(volume_checkpoint(open_volume_below(w->volume)));
		world_kill(w);
		world_expect_none(w);
		world_start(w);
	}
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_nothing_wrong_with_clones),
		cmocka_unit_test(counts_in_small_windows),
		cmocka_unit_test(tells_a_count_that_is_too_high),
		cmocka_unit_test(tells_a_count_that_is_too_low),
		cmocka_unit_test(tells_entries_that_make_no_sense),
		cmocka_unit_test(tells_that_sharing_has_gone_back),
		cmocka_unit_test(goes_on_without_a_share_tree),
		cmocka_unit_test(counts_what_dead_trees_refer_to),
		cmocka_unit_test(counts_what_replay_has_changed),
		cmocka_unit_test(walks_the_share_tree_of_the_checkpoint_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
