#include "world.h"

static const struct tree_name catalog_name = { .kind = TREE_CATALOG };

static void
finds_one_flipped_copy_of_a_node(void **state)
{
	struct world *w = world_open();
	struct tree_root root;
	uint64_t big = world_id(w, "big");

	(void)state;
	world_get_root(w, big, TREE_DIRECTORY, &root);
	world_close(w);
	assert_int_not_equal(root.pointer.addr2, 0);
	world_flip(w, root.pointer.addr);
	world_expect_one(w, COP_PROBLEM_COPY, big, "directory tree, level");
	assert_int_equal(w->found[0].block, root.pointer.addr);
	assert_string_equal(w->found[0].path, "/big");
	world_flip(w, root.pointer.addr);
	world_flip(w, root.pointer.addr2);
	world_expect_one(w, COP_PROBLEM_COPY, big, "directory tree, level");
	assert_int_equal(w->found[0].block, root.pointer.addr2);
	world_free(w);
}

/* Both copies are lost: the names below are gone, their objects and blocks are not blamed. */
static void
says_in_few_sentences_what_hangs_on_a_lost_node(void **state)
{
	struct world *w = world_open();
	struct tree_root root;
	uint64_t big = world_id(w, "big");

	(void)state;
	world_get_root(w, big, TREE_DIRECTORY, &root);
	world_close(w);
	world_flip(w, root.pointer.addr);
	world_flip(w, root.pointer.addr2);
	world_check(w);
	(void)world_expect_among(w, COP_PROBLEM_NODE, big, "directory tree, level");
	(void)world_expect_among(w, COP_PROBLEM_STRUCTURE, 0,
		"80 objects have names that were not found: not judged");
	assert_in_range(w->result.problems, 2, 3); /* leaves below it may look leaked */
	world_free(w);
}

static void
does_not_call_the_blocks_of_a_lost_leaf_leaked(void **state)
{
	struct world *w = world_open();
	struct tree_root root;
	uint64_t comb = world_id(w, "comb");
	const struct found *found;

	(void)state;
	world_get_root(w, comb, TREE_CONTENT, &root);
	world_close(w);
	world_flip(w, root.pointer.addr);
	if (root.pointer.addr2 != 0)
		world_flip(w, root.pointer.addr2);
	world_check(w);
	(void)world_expect_among(w, COP_PROBLEM_NODE, comb, "content tree, level");
	found = world_expect_among(w, COP_PROBLEM_LEAK, 0, "not judged, because 1 nodes");
	assert_non_null(found);
	assert_int_equal(w->result.problems, 2);
	world_free(w);
}

static struct tree_root
objects_root(struct world *w)
{
	struct superblock newest;
	struct superblock previous;
	struct device *dev;
	struct volume_options options = {
		.read_only = true,
		.cache_bytes = COP_CACHE_BYTES_MIN,
		.entry_run = extent_entry_run,
	};
	struct volume *volume;
	struct tree *tree;
	struct tree_root root;

	world_superblocks(w, &newest, &previous);
	must(sim_open(w->medium, DEVICE_READ_ONLY, &dev));
	must(volume_open(dev, &options, &volume));
	must(volume_tree_open(volume, world_objects(), &tree));
	root = tree->root;
	volume_tree_release(volume, tree);
	volume_close(volume);
	device_close(dev);
	return root;
}

/* Each leaf of the object tree, lost: never more than a handful of sentences. */
static void
a_lost_leaf_of_the_object_tree_is_no_flood(void **state)
{
	struct world *w = world_open();
	uint8_t node[BLOCK_BYTES];
	struct tree_root root;
	uint32_t leaves = 0;

	(void)state;
	world_close(w);
	root = objects_root(w);
	assert_true(root.levels > 1);
	for (uint64_t addr = 1; addr < 4096; addr++) {
		struct superblock newest;
		struct superblock previous;
		struct tree_pointer self;

		world_superblocks(w, &newest, &previous);
		must(sim_peek(w->medium, addr, node));
		if (tree_node_check(node, sizeof node, newest.uuid, TREE_OBJECTS, 0, NULL) != 0)
			continue;
		tree_pointer_decode(node + 32, &self);
		if (self.addr != addr)
			continue;
		world_flip(w, self.addr);
		world_flip(w, self.addr2);
		world_check(w);
		if (w->result.problems > 0) {
			leaves++;
			if (w->result.problems > 5)
				world_print(w);
			assert_in_range(w->result.problems, 1, 5);
		}
		world_flip(w, self.addr);
		world_flip(w, self.addr2);
	}
	assert_true(leaves > 1);
	world_expect_none(w);
	world_free(w);
}

/* As a crash leaves it: the tree hangs on a job, and is partly freed, up to within a leaf. */
static void
follows_a_dead_tree_from_its_cursor(void **state)
{
	struct world *w = world_open();
	struct tree_root root;
	struct loaded_record loaded;
	struct job job = { .program = JOB_DISMANTLE, .tree_kind = TREE_CONTENT };
	uint64_t comb = world_id(w, "comb");
	uint8_t key[ROOT_KEY_BYTES];

	(void)state;
	world_get_root(w, comb, TREE_CONTENT, &root);
	world_get_record(w, comb, &loaded);
	loaded.record.allocated_blocks = 0;
	loaded.record.form = COP_FORM_INLINE;
	loaded.record.length = 0;
	world_put_record(w, comb, &loaded.record);
	world_delete(w, world_objects(), root_key(key, comb, TREE_CONTENT));
	job.branch = BRANCH_MAIN;
	job.object = comb;
	job.root = root;
	world_put_job(w, volume_next_job(open_volume_below(w->volume)), &job);
	world_close(w);
	world_expect_none(w);

	/* Only what comes after the cursor counts: what is before it was not freed here. */
	w->volume = NULL;
	world_free(w);
	w = world_open();
	world_put_record(w, comb, &loaded.record);
	world_delete(w, world_objects(), root_key(key, comb, TREE_CONTENT));
	put_be64(job.cursor.key, 5);
	job.cursor.bytes = 8;
	world_put_job(w, volume_next_job(open_volume_below(w->volume)), &job);
	world_close(w);
	world_check(w);
	for (size_t i = 0; i < w->found_count; i++) {
		assert_int_equal(w->found[i].class_, COP_PROBLEM_LEAK);
		assert_non_null(strstr(w->found[i].text, "marked used and nothing refers"));
	}
	assert_in_range(w->found_count, 1, 3); /* blocks 0, 2 and 4 of the content */
	world_free(w);
}

static void
finds_jobs_that_make_no_sense(void **state)
{
	struct world *w = world_open();
	struct job job = { .program = JOB_DISMANTLE, .tree_kind = TREE_CONTENT };
	uint64_t number = volume_next_job(open_volume_below(w->volume));

	(void)state;
	job.branch = 7;
	world_put_job(w, number + 100, &job);
	world_put(w, catalog_name, view_of("\x09what", 5), view_of("v", 1));
	world_put(w, catalog_name, view_of("\x02other", 6), view_of("\0\0\0\0\0\0\0\1", 8));
	world_close(w);
	world_check(w);
	(void)world_expect_among(w, COP_PROBLEM_STRUCTURE, 0, "number that was never given");
	(void)world_expect_among(w, COP_PROBLEM_STRUCTURE, 0, "never there");
	(void)world_expect_among(w, COP_PROBLEM_STRUCTURE, 0, "unknown type");
	(void)world_expect_among(w, COP_PROBLEM_STRUCTURE, 0, "name of a branch");
	assert_int_equal(w->result.problems, 4);
	world_free(w);
}

static void
finds_a_branch_without_a_name(void **state)
{
	struct world *w = world_open();

	(void)state;
	world_delete(w, catalog_name, view_of("\x02main", 5));
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, 0, "a branch without a name");
	world_free(w);
}

/* Damage to what only the checkpoint before has is told as that. */
static void
finds_damage_to_the_nodes_of_the_checkpoint_before(void **state)
{
	struct superblock newest;
	struct superblock previous;
	struct world *w = world_open_closed(&newest, &previous, NULL);

	(void)state;
	assert_int_not_equal(newest.catalog.pointer.addr, previous.catalog.pointer.addr);
	world_flip(w, previous.catalog.pointer.addr2);
	world_expect_one(w, COP_PROBLEM_COPY, 0, "the checkpoint before the newest, catalog");
	world_flip(w, previous.catalog.pointer.addr);
	world_expect_one(w, COP_PROBLEM_NODE, 0, "the checkpoint before the newest, catalog");
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_one_flipped_copy_of_a_node),
		cmocka_unit_test(says_in_few_sentences_what_hangs_on_a_lost_node),
		cmocka_unit_test(does_not_call_the_blocks_of_a_lost_leaf_leaked),
		cmocka_unit_test(a_lost_leaf_of_the_object_tree_is_no_flood),
		cmocka_unit_test(follows_a_dead_tree_from_its_cursor),
		cmocka_unit_test(finds_jobs_that_make_no_sense),
		cmocka_unit_test(finds_a_branch_without_a_name),
		cmocka_unit_test(finds_damage_to_the_nodes_of_the_checkpoint_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
