#include "world.h"

/*
 * a/b becomes a loop of its own: a is in b, b in a, all with right names, kinds and counts, and the
 * root has no entry for either.
 */
static void
finds_a_loop_of_directories(void **state)
{
	struct world *w = world_open();
	struct loaded_record root;
	struct loaded_record a;
	struct loaded_record b;
	uint8_t content[RECORD_CONTENT_MAX];
	uint8_t grown[RECORD_CONTENT_MAX];
	struct writer writer = writer_over(content, sizeof content);
	struct writer into = writer_over(grown, sizeof grown);
	struct entry entry;
	struct reader r;
	uint64_t a_id = world_id(w, "a");
	uint64_t b_id = world_id(w, "a/b");

	(void)state;
	world_get_record(w, OBJECT_ROOT, &root);
	if (root.record.form == COP_FORM_TREE) {
		uint8_t key[ENTRY_KEY_BYTES_MAX];

		world_delete(w, world_tree(OBJECT_ROOT, TREE_DIRECTORY),
			entry_key(key, view_of("a", 1),
				volume_name_seed(open_volume_below(w->volume))));
	} else {
		r = reader_over(root.record.content.data, root.record.content.bytes);
		while (!reader_is_done(&r)) {
			must(entry_inline_decode(&r, &entry));
			if (!view_equal(entry.name, view_of("a", 1)))
				entry_inline_encode(&entry, &writer);
		}
		root.record.content = view_of(content, writer.at);
	}
	root.record.length--;
	root.record.links--;
	world_put_record(w, OBJECT_ROOT, &root.record);

	world_get_record(w, a_id, &a);
	a.record.parent = b_id;
	world_put_record(w, a_id, &a.record);
	world_get_record(w, b_id, &b);
	write_bytes(&into, b.record.content.data, b.record.content.bytes);
	entry = (struct entry){ .id = a_id, .kind = COP_DIRECTORY, .name = view_of("a", 1) };
	entry_inline_encode(&entry, &into);
	b.record.content = view_of(grown, into.at);
	b.record.length++;
	b.record.links++;
	world_put_record(w, b_id, &b.record);
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, a_id, "not below the root");

	/* Without marks each directory that leads into the loop says so; still it ends. */
	w->has_limits = true;
	w->limits = (struct check_limits){
		.cache_bytes = 3 << 20,
		.window_ags = 100,
		.window_ids = 1000,
		.data_in_flight = 16,
		.data_request_blocks = EXTENT_BLOCKS_MAX,
		.data_blocks = 1000,
	};
	world_check(w);
	assert_int_equal(w->result.problems, 3); /* a, b and c */
	for (size_t i = 0; i < w->found_count; i++)
		assert_non_null(strstr(w->found[i].text, "not below the root"));
	world_free(w);
}

/* As deep as it is, each directory is climbed over once. */
static void
accepts_a_deep_tree(void **state)
{
	struct world *w = world_open();
	struct cop_object *at = cop_hold(w->root);
	struct cop_new new = COP_INIT(new);
	struct sim_stats before;
	uint64_t reads;

	(void)state;
	new.kind = COP_DIRECTORY;
	for (int depth = 0; depth < 1000; depth++) {
		struct cop_object *next;

		must(cop_create(at, "deeper", 6, &new, &next));
		cop_release(at);
		at = next;
	}
	cop_release(at);
	world_close(w);
	before = sim_stats(w->medium);
	world_expect_none(w);
	reads = sim_stats(w->medium).reads - before.reads;
	assert_true(reads < 2000);
	w->has_limits = true;
	w->limits = (struct check_limits){
		.cache_bytes = 3 << 20,
		.window_ags = 100,
		.window_ids = 1000,
		.ancestor_ids = 300, /* the rest climbs without marks */
		.data_in_flight = 16,
		.data_request_blocks = EXTENT_BLOCKS_MAX,
		.data_blocks = 1000,
	};
	world_expect_none(w);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_a_loop_of_directories),
		cmocka_unit_test(accepts_a_deep_tree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
