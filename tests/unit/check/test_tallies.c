#include "world.h"

/* Puts an entry into a directory that lies in its record, or takes the first away. */
static void
edit_directory(struct world *w, uint64_t id, const struct entry *add, const char *remove)
{
	struct loaded_record loaded;
	uint8_t content[RECORD_CONTENT_MAX];
	struct writer writer = writer_over(content, sizeof content);
	struct reader r;

	world_get_record(w, id, &loaded);
	assert_int_equal(loaded.record.form, COP_FORM_INLINE);
	r = reader_over(loaded.record.content.data, loaded.record.content.bytes);
	loaded.record.length = 0;
	while (!reader_is_done(&r)) {
		struct entry entry;

		must(entry_inline_decode(&r, &entry));
		if (remove && view_equal(entry.name, view_of(remove, strlen(remove))))
			continue;
		entry_inline_encode(&entry, &writer);
		loaded.record.length++;
	}
	if (add) {
		entry_inline_encode(add, &writer);
		loaded.record.length++;
	}
	loaded.record.content = view_of(content, writer.at);
	world_put_record(w, id, &loaded.record);
}

static void
finds_a_name_without_its_back_reference(void **state)
{
	struct world *w = world_open();
	uint8_t key[NAME_KEY_BYTES_MAX];
	uint64_t id = world_id(w, "linked");
	uint64_t seed = volume_name_seed(open_volume_below(w->volume));

	(void)state;
	world_delete(w, world_objects(),
		name_key(key, id, world_id(w, "d"), view_of("linked", 6), seed));
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, id, "3 names lead to it, it knows of 2");
	assert_string_equal(w->found[0].path, "/linked");
	world_free(w);
}

static void
finds_a_back_reference_without_its_name(void **state)
{
	struct world *w = world_open();
	uint64_t id = world_id(w, "d/linked");

	(void)state;
	edit_directory(w, world_id(w, "d"), NULL, "linked");
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, id, "2 names lead to it, it knows of 3");
	world_free(w);
}

static void
finds_names_that_differ(void **state)
{
	struct world *w = world_open();
	struct entry entry = { .kind = COP_FILE, .name = view_of("other", 5) };

	(void)state;
	entry.id = world_id(w, "d/in");
	edit_directory(w, world_id(w, "d"), &entry, "in");
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, entry.id, "but not the same");
	world_free(w);
}

static void
finds_a_name_that_leads_nowhere(void **state)
{
	struct world *w = world_open();
	struct entry entry = { .id = 15, .kind = COP_FILE, .name = view_of("nowhere", 7) };

	(void)state;
	edit_directory(w, world_id(w, "d"), &entry, NULL);
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, 15, "1 name leads to object 15");
	world_free(w);
}

static void
finds_a_wrong_kind_in_an_entry(void **state)
{
	struct world *w = world_open();
	struct entry entry = { .kind = COP_FIFO, .name = view_of("in", 2) };

	(void)state;
	entry.id = world_id(w, "d/in");
	edit_directory(w, world_id(w, "d"), &entry, "in");
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, entry.id, "wrong kind");
	world_free(w);
}

static void
finds_a_second_name_of_a_directory(void **state)
{
	struct world *w = world_open();
	struct loaded_record loaded;
	struct entry entry = { .kind = COP_DIRECTORY, .name = view_of("again", 5) };
	uint8_t key[NAME_KEY_BYTES_MAX];
	uint64_t d = world_id(w, "d");
	uint64_t seed = volume_name_seed(open_volume_below(w->volume));

	(void)state;
	entry.id = world_id(w, "a/b/c");
	edit_directory(w, d, &entry, NULL);
	world_get_record(w, d, &loaded);
	loaded.record.links++;
	world_put_record(w, d, &loaded.record);
	world_put(
		w, world_objects(), name_key(key, entry.id, d, entry.name, seed), view_of(NULL, 0));
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, entry.id, "has 2 names");
	world_free(w);
}

static void
finds_more_names_than_links(void **state)
{
	struct world *w = world_open();
	struct loaded_record loaded;
	uint64_t id = world_id(w, "linked");

	(void)state;
	world_get_record(w, id, &loaded);
	assert_int_equal(loaded.record.links, 3);
	loaded.record.links = 2;
	world_put_record(w, id, &loaded.record);
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, id, "3 names and 2 links");
	world_free(w);
}

/* References without names are links too. */
static void
accepts_more_links_than_names(void **state)
{
	struct world *w = world_open();
	struct loaded_record loaded;
	uint64_t id = world_id(w, "linked");

	(void)state;
	world_get_record(w, id, &loaded);
	loaded.record.links = 7;
	world_put_record(w, id, &loaded.record);
	world_close(w);
	world_expect_none(w);
	world_free(w);
}

static void
put_orphan(struct world *w, uint64_t id)
{
	uint8_t key[OBJECT_KEY_BYTES + 8];

	(void)object_key(key, OBJECT_NONE, KEY_ORPHAN);
	put_be64(key + OBJECT_KEY_BYTES, id);
	world_put(w, world_objects(), view_of(key, sizeof key), view_of(NULL, 0));
}

static void
finds_an_orphan_that_is_none(void **state)
{
	struct world *w = world_open();
	uint64_t id = world_id(w, "small");

	(void)state;
	put_orphan(w, id);
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, id, "1 links and is listed as an orphan");
	world_free(w);
}

static void
finds_an_orphan_that_is_not_there(void **state)
{
	struct world *w = world_open();

	(void)state;
	put_orphan(w, 14);
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, 14, "is listed as an orphan and is not there");
	world_free(w);
}

static void
finds_an_object_that_nobody_would_free(void **state)
{
	struct world *w = world_open();
	struct loaded_record loaded;
	uint64_t id = world_nameless(w);

	(void)state;
	world_get_record(w, id, &loaded);
	loaded.record.links = 0;
	world_put_record(w, id, &loaded.record);
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, id, "no links and is not listed as an orphan");
	world_free(w);
}

static void
put_trim_job(struct world *w, uint64_t number, uint64_t object)
{
	const struct job job = { .program = JOB_TRIM, .branch = BRANCH_MAIN, .object = object };

	world_put_job(w, number, &job);
}

static uint64_t
new_job(struct world *w)
{
	return volume_next_job(open_volume_below(w->volume));
}

static void
compares_jobs_and_ranges(void **state)
{
	struct world *w = world_open();
	const struct trims trims = { .count = 1, .list = { { 20, 40 } } };
	uint8_t listed[TRIMS_BYTES_MAX];
	struct loaded_record loaded;
	uint64_t comb = world_id(w, "comb");
	uint64_t small = world_id(w, "small");
	uint64_t number = new_job(w);

	(void)state;
	world_get_record(w, comb, &loaded);
	loaded.record.trim_job = number;
	loaded.record.content = trims_encode(&trims, listed);
	world_put_record(w, comb, &loaded.record);
	put_trim_job(w, number, comb);
	world_close(w);
	world_expect_none(w);
	world_free(w);

	w = world_open();
	world_put_record(w, comb, &loaded.record);
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, comb, "and no job does so");
	world_free(w);

	w = world_open();
	world_put_record(w, comb, &loaded.record);
	(void)new_job(w);
	put_trim_job(w, new_job(w), comb);
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, comb, "names another job");
	world_free(w);

	w = world_open();
	put_trim_job(w, new_job(w), small);
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, small, "knows nothing of it");
	world_free(w);

	w = world_open();
	world_put_record(w, comb, &loaded.record);
	put_trim_job(w, new_job(w), comb);
	put_trim_job(w, new_job(w), comb);
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, comb, "another one does as well");
	world_free(w);

	w = world_open();
	put_trim_job(w, new_job(w), 13);
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, 13, "a job frees content of object 13");
	world_free(w);
}

static void
finds_a_volume_without_a_root(void **state)
{
	struct world *w = world_open();
	uint8_t key[OBJECT_KEY_BYTES];

	(void)state;
	world_delete(w, world_objects(), object_key(key, OBJECT_ROOT, KEY_RECORD));
	world_close(w);
	world_check(w);
	(void)world_expect_among(w, COP_PROBLEM_STRUCTURE, OBJECT_ROOT, "there is no root");
	world_free(w);
}

/* ---- Numbers that lie far apart ---- */

enum { FAR_COUNT = 500, FAR_WINDOW_IDS = 4 * TALLY_PAGE_IDS };

struct far_apart {
	uint64_t ids[FAR_COUNT];
	uint64_t told[FAR_COUNT];
	size_t told_count;
};

static void
note_told(void *context, const struct cop_problem *problem)
{
	struct far_apart *far = context;

	if (problem->object == OBJECT_ROOT)
		return;
	assert_true(far->told_count < FAR_COUNT);
	far->told[far->told_count++] = problem->object;
}

static int
compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Passes over the same numbers, in the order in which they are listed. */
static uint64_t
judge_all(struct checker *checker, const struct far_apart *far)
{
	uint64_t passes = 0;

	do {
		must(tallies__begin(checker));
		for (size_t i = 0; i < FAR_COUNT; i++)
			tallies__orphan(checker, far->ids[i]);
		for (size_t i = 0; i < FAR_COUNT; i++)
			tallies__orphan(checker, far->ids[i]);
		tallies__judge(checker);
		passes++;
	} while (!tallies__are_done(checker));
	tallies__end(checker);
	return passes;
}

/* Each number is told once, in rising order, however they are met and whatever lies between. */
static void
meets_numbers_far_apart_in_few_passes(void **state)
{
	struct checker *checker = calloc(1, sizeof *checker);
	struct far_apart *far = calloc(1, sizeof *far);
	uint64_t steps[] = { 1, 3, TALLY_PAGE_IDS, UINT64_C(1) << 32, UINT64_MAX / 2 / FAR_COUNT };

	(void)state;
	assert_non_null(checker);
	assert_non_null(far);
	checker->sb.next_object = SUPERBLOCK_NUMBER_MAX;
	checker->limits.window_ids = FAR_WINDOW_IDS;
	checker->options.problem = note_told;
	checker->options.context = far;
	for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++) {
		for (int order = 0; order < 3; order++) {
			uint64_t passes;

			for (uint64_t i = 0; i < FAR_COUNT; i++)
				far->ids[order == 0   ? i
					 : order == 1 ? FAR_COUNT - 1 - i
						      : i * 7 % FAR_COUNT] =
					OBJECT_FIRST + i * steps[s];
			far->told_count = 0;
			passes = judge_all(checker, far);
			qsort(far->ids, FAR_COUNT, sizeof far->ids[0], compare_ids);
			assert_int_equal(far->told_count, FAR_COUNT);
			assert_memory_equal(far->told, far->ids, sizeof far->ids);
			assert_true(
				passes <= FAR_COUNT / 2 + 1); /* half of four pages, each time */
			memset(checker->kinds, 0, sizeof checker->kinds);
			checker->kind_count = 0;
		}
	}
	free(far);
	free(checker);
}

static void
no_numbers_take_no_passes(void **state)
{
	struct checker *checker = calloc(1, sizeof *checker);

	(void)state;
	assert_non_null(checker);
	checker->sb.next_object = SUPERBLOCK_NUMBER_MAX;
	checker->limits.window_ids = 1;
	must(tallies__begin(checker));
	assert_true(tallies__are_done(checker));
	tallies__end(checker);
	free(checker);
}

/* As many numbers as can be have been given, and nothing of it is a reason to walk them. */
static void
cares_for_objects_and_not_for_numbers(void **state)
{
	struct superblock newest;
	struct superblock previous;
	struct world *w = world_open_closed(&newest, &previous, NULL);

	(void)state;
	newest.next_object = SUPERBLOCK_NUMBER_MAX;
	world_put_superblock(w, &newest);
	world_expect_none(w);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_a_name_without_its_back_reference),
		cmocka_unit_test(finds_a_back_reference_without_its_name),
		cmocka_unit_test(finds_names_that_differ),
		cmocka_unit_test(finds_a_name_that_leads_nowhere),
		cmocka_unit_test(finds_a_wrong_kind_in_an_entry),
		cmocka_unit_test(finds_a_second_name_of_a_directory),
		cmocka_unit_test(finds_more_names_than_links),
		cmocka_unit_test(accepts_more_links_than_names),
		cmocka_unit_test(finds_an_orphan_that_is_none),
		cmocka_unit_test(finds_an_orphan_that_is_not_there),
		cmocka_unit_test(finds_an_object_that_nobody_would_free),
		cmocka_unit_test(compares_jobs_and_ranges),
		cmocka_unit_test(finds_a_volume_without_a_root),
		cmocka_unit_test(meets_numbers_far_apart_in_few_passes),
		cmocka_unit_test(no_numbers_take_no_passes),
		cmocka_unit_test(cares_for_objects_and_not_for_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
