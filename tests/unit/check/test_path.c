#include "world.h"

/* The path that a problem of this object bears. */
static void
expect_path(const char *at, const char *path)
{
	struct world *w = world_open();
	struct loaded_record loaded;
	uint64_t id = world_id(w, at);

	world_get_record(w, id, &loaded);
	loaded.record.capabilities = view_of("c", 1);
	world_put_record(w, id, &loaded.record);
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, id, "never writes");
	assert_string_equal(w->found[0].path, path);
	world_free(w);
}

static void
tells_the_path_from_the_root(void **state)
{
	(void)state;
	expect_path("/", "/");
	expect_path("small", "/small");
	expect_path("a/b/c", "/a/b/c");
	expect_path("big/entry-17", "/big/entry-17");
	expect_path("a/linked", "/linked"); /* the first of its names */
}

static void
an_object_without_a_name_has_no_path(void **state)
{
	struct world *w = world_open();
	struct loaded_record loaded;
	uint64_t id = world_nameless(w);

	(void)state;
	world_get_record(w, id, &loaded);
	loaded.record.capabilities = view_of("c", 1);
	world_put_record(w, id, &loaded.record);
	world_close(w);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, id, "never writes");
	assert_string_equal(w->found[0].path, "");
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_the_path_from_the_root),
		cmocka_unit_test(an_object_without_a_name_has_no_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
