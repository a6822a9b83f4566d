#include "world.h"

/* Changes a record, and checks. */
typedef void (*change)(struct record *record);

static void
expect_after(const char *path, change edit, const char *text)
{
	struct world *w = world_open();
	struct loaded_record loaded;
	uint64_t id = world_id(w, path);

	world_get_record(w, id, &loaded);
	edit(&loaded.record);
	world_put_record(w, id, &loaded.record);
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, id, text);
	assert_string_equal(w->found[0].path, path);
	world_free(w);
}

static void
one_more_block(struct record *record)
{
	record->allocated_blocks++;
}

static void
one_more_entry(struct record *record)
{
	record->length++;
}

static void
one_more_link(struct record *record)
{
	record->links++;
}

static void
no_target(struct record *record)
{
	record->length = 0;
	record->content = view_of(NULL, 0);
}

static void
zero_in_target(struct record *record)
{
	record->content = view_of("d\0in", 4);
}

static void
a_device(struct record *record)
{
	record->device = 1;
}

static void
some_capabilities(struct record *record)
{
	record->capabilities = view_of("c", 1);
}

static void
cut_short(struct record *record)
{
	record->length = 4096;
}

static void
finds_records_that_contradict_themselves(void **state)
{
	(void)state;
	expect_after("/pieces", one_more_block, "wrong count of allocated blocks");
	expect_after("/comb", one_more_block, "wrong count of allocated blocks");
	expect_after("/big", one_more_entry, "wrong count of entries");
	expect_after("/d", one_more_entry, "a directory of 3 entries has 2");
	expect_after("/a", one_more_link, "wrong count of links");
	expect_after("/link", no_target, "symlink without a target");
	expect_after("/link", zero_in_target, "zero byte in its target");
	expect_after("/small", a_device, "device number");
	expect_after("/small", some_capabilities, "never writes");
	expect_after("/pieces", cut_short, "data past the end");
}

static void
finds_an_extent_that_is_half_freed(void **state)
{
	struct world *w = world_open();
	const struct trims trims = { .count = 1, .list = { { 1, 2 } } };
	uint8_t listed[TRIMS_BYTES_MAX];
	struct loaded_record loaded;
	struct cop_object *file;
	uint64_t id = world_id(w, "small");

	(void)state;
	must(cop_get(w->root, id, &file));
	must(cop_preallocate(file, 0, 4 << 20, false)); /* full extents, more than a record holds */
	cop_release(file);
	world_get_record(w, id, &loaded);
	loaded.record.trim_job = 1;
	loaded.record.content = trims_encode(&trims, listed);
	world_put_record(w, id, &loaded.record);
	world_close(w);
	world_check(w);
	(void)world_expect_among(w, COP_PROBLEM_STRUCTURE, id, "across the border");
	(void)world_expect_among(w, COP_PROBLEM_STRUCTURE, id, "no job does so");
	assert_int_equal(w->result.problems, 2);
	world_free(w);
}

/* The file was cut, and has grown again before the job came by: its end lies in a block of before,
 * which reads as a hole. */
static void
expects_no_zeros_behind_the_end_in_what_is_being_freed(void **state)
{
	struct world *w = world_open();
	uint64_t id = world_id(w, "comb");
	const struct job job = { .program = JOB_TRIM, .branch = BRANCH_MAIN, .object = id };
	const struct trims trims = { .count = 1, .list = { { 21, CONTENT_BLOCKS_MAX } } };
	uint8_t listed[TRIMS_BYTES_MAX];
	struct loaded_record loaded;

	(void)state;
	world_get_record(w, id, &loaded);
	loaded.record.length = 40 * BLOCK_BYTES + 100;
	loaded.record.trim_job = volume_next_job(open_volume_below(w->volume));
	loaded.record.content = trims_encode(&trims, listed);
	world_put_record(w, id, &loaded.record);
	world_put_job(w, loaded.record.trim_job, &job);
	world_close(w);
	world_expect_none(w);
	world_free(w);
}

static void
finds_keys_without_a_record(void **state)
{
	struct world *w = world_open();
	uint8_t key[OBJECT_KEY_BYTES + 8 + 4];
	uint64_t seed = volume_name_seed(open_volume_below(w->volume));

	(void)state;
	(void)object_key(key, 15, KEY_XATTR);
	put_be64(key + OBJECT_KEY_BYTES, name_hash(view_of("user", 4), seed));
	memcpy(key + OBJECT_KEY_BYTES + 8, "user", 4);
	world_put(w, world_objects(), view_of(key, sizeof key), view_of("v", 1));
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, 15, "without a record");
	world_free(w);
}

static void
put_xattr(struct world *w, uint64_t id, const char *name, uint64_t hash)
{
	uint8_t key[OBJECT_KEY_BYTES + 8 + COP_NAME_BYTES_MAX];
	size_t bytes = strlen(name);

	(void)object_key(key, id, KEY_XATTR);
	put_be64(key + OBJECT_KEY_BYTES, hash);
	memcpy(key + OBJECT_KEY_BYTES + 8, name, bytes);
	world_put(w, world_objects(), view_of(key, OBJECT_KEY_BYTES + 8 + bytes), view_of("v", 1));
}

static void
finds_attributes_that_make_no_sense(void **state)
{
	struct world *w = world_open();
	uint64_t id = world_id(w, "attr");
	uint64_t seed = volume_name_seed(open_volume_below(w->volume));

	(void)state;
	put_xattr(w, id, "user.large", name_hash(view_of("user.large", 10), seed));
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, id, "two values");
	world_free(w);

	w = world_open();
	put_xattr(w, id, "user.other", 12345);
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, id, "hash and name do not match");
	world_free(w);
}

static void
finds_keys_of_an_unknown_type(void **state)
{
	struct world *w = world_open();
	uint8_t key[OBJECT_KEY_BYTES + 1];
	uint64_t id = world_id(w, "small");

	(void)state;
	(void)object_key(key, id, 77);
	world_put(w, world_objects(), view_of(key, OBJECT_KEY_BYTES), view_of("v", 1));
	world_put(w, world_objects(), view_of("short", 5), view_of("v", 1));
	(void)object_key(key, id, KEY_RECORD);
	key[OBJECT_KEY_BYTES] = 1;
	world_put(w, world_objects(), view_of(key, sizeof key), view_of("v", 1));
	world_close(w);
	world_check(w);
	(void)world_expect_among(w, COP_PROBLEM_STRUCTURE, id, "unknown type");
	(void)world_expect_among(w, COP_PROBLEM_STRUCTURE, id, "key of a record that is too long");
	assert_int_equal(w->result.problems, 3);
	world_free(w);
}

static void
finds_an_object_too_many(void **state)
{
	struct world *w = world_open();

	(void)state;
	world_count_objects(w, 1);
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, 0, "objects, there are");
	world_free(w);
}

/* A record that cannot be decoded is one problem, and what hangs on it is told in one sentence. */
static void
says_in_one_sentence_what_hangs_on_a_lost_record(void **state)
{
	struct world *w = world_open();
	uint8_t key[OBJECT_KEY_BYTES];
	uint64_t big = world_id(w, "big");

	(void)state;
	world_put(w, world_objects(), object_key(key, big, KEY_RECORD), view_of("nonsense", 8));
	world_close(w);
	world_check(w);
	(void)world_expect_among(w, COP_PROBLEM_STRUCTURE, big, "object record of 8 bytes");
	if (w->result.problems > 3)
		world_print(w);
	assert_in_range(w->result.problems, 1, 3);
	world_free(w);
}

/* A tree that has become empty has no root record; the form of the content stays for a while. */
static void
accepts_a_tree_that_has_become_empty(void **state)
{
	struct world *w = world_open();
	struct loaded_record loaded;
	uint64_t id = world_id(w, "small");

	(void)state;
	world_get_record(w, id, &loaded);
	loaded.record.form = COP_FORM_TREE;
	loaded.record.content = view_of(NULL, 0);
	world_put_record(w, id, &loaded.record);
	world_close(w);
	world_expect_none(w);
	world_free(w);
}

static void
finds_entries_under_a_wrong_hash(void **state)
{
	struct world *w = world_open();
	uint64_t big = world_id(w, "big");
	struct entry entry = { .id = world_id(w, "small"), .kind = COP_FILE };
	uint8_t value[ENTRY_VALUE_BYTES];
	uint8_t key[8 + 3] = { 1, 2, 3, 4, 5, 6, 7, 8, 'a', 'b', 'c' };

	(void)state;
	entry_value_encode(&entry, value);
	world_put(w, world_tree(big, TREE_DIRECTORY), view_of(key, sizeof key),
		view_of(value, sizeof value));
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, big, "hash and name do not match");
	assert_string_equal(w->found[0].path, "/big");
	world_free(w);
}

static void
finds_data_younger_than_its_checkpoint(void **state)
{
	struct world *w = world_open();
	uint64_t id = world_id(w, "d/in");
	struct extent extent = world_extent(w, id, 0);

	(void)state;
	extent.birth = 1000000;
	world_put_extents(w, id, &extent, 1);
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, id, "younger than what it hangs on");
	world_free(w);
}

static void
finds_extents_that_overlap(void **state)
{
	struct world *w = world_open();
	uint64_t id = world_id(w, "pieces");
	struct extent extents[2] = { world_extent(w, id, 0), world_extent(w, id, 1) };

	(void)state;
	extents[1].first = 2;
	world_put_extents(w, id, extents, 2);
	world_close(w);
	world_check(w);
	(void)world_expect_among(w, COP_PROBLEM_STRUCTURE, id, "extents overlap");
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_records_that_contradict_themselves),
		cmocka_unit_test(finds_an_extent_that_is_half_freed),
		cmocka_unit_test(expects_no_zeros_behind_the_end_in_what_is_being_freed),
		cmocka_unit_test(finds_keys_without_a_record),
		cmocka_unit_test(finds_attributes_that_make_no_sense),
		cmocka_unit_test(finds_keys_of_an_unknown_type),
		cmocka_unit_test(finds_an_object_too_many),
		cmocka_unit_test(says_in_one_sentence_what_hangs_on_a_lost_record),
		cmocka_unit_test(accepts_a_tree_that_has_become_empty),
		cmocka_unit_test(finds_entries_under_a_wrong_hash),
		cmocka_unit_test(finds_data_younger_than_its_checkpoint),
		cmocka_unit_test(finds_extents_that_overlap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
