#include "front/cli/text.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

static void
grows_and_is_cut_back(void **state)
{
	struct text text = { 0 };

	(void)state;
	assert_string_equal(text_string(&text), "");
	text_cut(&text, 0);
	for (int i = 0; i < 1000; i++)
		text_add_format(&text, "%d,", i);
	assert_int_equal(text.bytes, 3890);
	assert_string_equal(text.data + 3882, "998,999,");
	text_fini(&text);
}

static void
goes_down_and_up_a_path(void **state)
{
	struct text text = { 0 };

	(void)state;
	text_add_string(&text, "v:/");
	text_add_name(&text, "a", 1);
	assert_string_equal(text.data, "v:/a");
	text_add_name(&text, "bc", 2);
	assert_string_equal(text.data, "v:/a/bc");
	text_cut(&text, 4);
	assert_string_equal(text.data, "v:/a");
	text_fini(&text);
	text_add_name(&text, "x", 1);
	assert_string_equal(text.data, "x");
	text_fini(&text);
}

static void
finds_the_last_name_of_a_path(void **state)
{
	static const struct {
		const char *path;
		const char *name;
		size_t parent_bytes;
	} rows[] = { { "a", "a", 0 }, { "a/b", "b", 2 }, { "/a/b//", "b", 3 }, { "/", "", 0 },
		{ "///", "", 0 }, { "", "", 0 }, { "/a", "a", 1 }, { "a/..", "..", 2 } };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *name;
		size_t bytes;

		path_last(rows[i].path, &name, &bytes);
		assert_int_equal(bytes, strlen(rows[i].name));
		assert_memory_equal(name, rows[i].name, bytes);
		assert_int_equal(path_parent_bytes(rows[i].path), rows[i].parent_bytes);
	}
	assert_true(name_is_special("..", 2));
	assert_true(name_is_special(".", 1));
	assert_true(name_is_special("", 0));
	assert_false(name_is_special("...", 3));
	assert_true(path_ends_in_slash("a/"));
	assert_false(path_ends_in_slash(""));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grows_and_is_cut_back),
		cmocka_unit_test(goes_down_and_up_a_path),
		cmocka_unit_test(finds_the_last_name_of_a_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
