#include "front/cli/output.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

static void
assert_escaped(const char *bytes, const char *want)
{
	struct text text = { 0 };

	text_add_escaped(&text, bytes, strlen(bytes));
	assert_string_equal(text_string(&text), want);
	text_fini(&text);
}

static void
escapes_what_could_steer_a_terminal(void **state)
{
	(void)state;
	assert_escaped("", "");
	assert_escaped("plain name.txt", "plain name.txt");
	assert_escaped("a\nb\tc\rd", "a\\nb\\tc\\rd");
	assert_escaped("\033[31mred", "\\e[31mred");
	assert_escaped("\x01\x7f", "\\x01\\x7f");
	assert_escaped("back\\slash", "back\\\\slash");
	/* A C1 control in UTF-8 is one, too; the character after them is not. */
	assert_escaped("\xc2\x9b"
		       "31m",
		"\\xc2\\x9b31m");
	assert_escaped("\xc2\xa0", "\xc2\xa0");
}

static void
keeps_valid_utf8_and_escapes_the_rest(void **state)
{
	(void)state;
	assert_escaped("h\xc3\xa9llo \xe2\x82\xac \xf0\x9f\x8c\xb3",
		"h\xc3\xa9llo \xe2\x82\xac \xf0\x9f\x8c\xb3");
	assert_escaped("\xff", "\\xff");
	assert_escaped("\xc3", "\\xc3");                            /* cut off */
	assert_escaped("\xc0\xaf", "\\xc0\\xaf");                   /* longer than need be */
	assert_escaped("\xe0\x80\xaf", "\\xe0\\x80\\xaf");          /* the same in three */
	assert_escaped("\xed\xa0\x80", "\\xed\\xa0\\x80");          /* a surrogate */
	assert_escaped("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"); /* past the last */
	assert_escaped("\xe2\x82"
		       "A",
		"\\xe2\\x82"
		"A");
}

static void
quotes_words_for_the_shell(void **state)
{
	static const char *const words[][2] = {
		{ "vol.cop", "vol.cop" },
		{ "a b", "'a b'" },
		{ "", "''" },
		{ "it's", "'it'\\''s'" },
		{ "$HOME", "'$HOME'" },
		{ "a\\b", "'a\\b'" },
		{ "a\nb", "$'a\\nb'" },
		{ "a\n'b\\", "$'a\\n\\'b\\\\'" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		struct text text = { 0 };

		text_add_quoted(&text, words[i][0]);
		assert_string_equal(text.data, words[i][1]);
		text_fini(&text);
	}
}

static void
writes_sizes_rounded_up_as_ls_does(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *want;
	} rows[] = { { 0, "0" }, { 1023, "1023" }, { 1024, "1.0K" }, { 1025, "1.1K" },
		{ 10239, "10K" }, { 10240, "10K" }, { 10241, "11K" }, { 1048575, "1.0M" },
		{ 1047553, "1.0M" }, { 1047552, "1023K" }, { 64 << 20, "64M" },
		{ UINT64_C(3) << 29, "1.5G" }, { UINT64_MAX, "16E" } };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char size[SIZE_TEXT_BYTES];

		format_size(rows[i].bytes, size);
		assert_string_equal(size, rows[i].want);
	}
}

static void
reads_sizes_and_refuses_nonsense(void **state)
{
	static const char *const bad[] = { "", "K", "-1", "1.5G", "1KB", "1Kib", "1 K", "0x10",
		"1KK", "18446744073709551616", "16E", "99999999999999999999", "1Z" };
	uint64_t bytes = 7;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(parse_size(bad[i], &bytes));
	assert_int_equal(bytes, 7);
	assert_true(parse_size("0", &bytes));
	assert_int_equal(bytes, 0);
	assert_true(parse_size("4096", &bytes));
	assert_int_equal(bytes, 4096);
	assert_true(parse_size("64M", &bytes));
	assert_int_equal(bytes, 64 << 20);
	assert_true(parse_size("64m", &bytes));
	assert_int_equal(bytes, 64 << 20);
	assert_true(parse_size("2TiB", &bytes));
	assert_int_equal(bytes, UINT64_C(2) << 40);
	assert_true(parse_size("18446744073709551615", &bytes));
	assert_true(bytes == UINT64_MAX);
	assert_true(parse_size("15E", &bytes));
	assert_true(bytes == UINT64_C(15) << 60);
}

static void
writes_modes_as_ls_does(void **state)
{
	static const struct {
		enum cop_kind kind;
		uint32_t mode;
		const char *want;
	} rows[] = { { COP_FILE, 0644, "-rw-r--r--" }, { COP_DIRECTORY, 01777, "drwxrwxrwt" },
		{ COP_FILE, 06755, "-rwsr-sr-x" }, { COP_FILE, 07000, "---S--S--T" },
		{ COP_SYMLINK, 0777, "lrwxrwxrwx" }, { COP_FIFO, 0600, "prw-------" },
		{ COP_SOCKET, 0, "s---------" }, { COP_CHAR_DEVICE, 0666, "crw-rw-rw-" },
		{ COP_BLOCK_DEVICE, 0660, "brw-rw----" } };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char mode[MODE_TEXT_BYTES];

		format_mode(rows[i].kind, rows[i].mode, mode);
		assert_string_equal(mode, rows[i].want);
	}
}

static void
writes_times_before_1970_too(void **state)
{
	char text[TIME_TEXT_BYTES];

	(void)state;
	(void)setenv("TZ", "UTC0", 1);
	format_time(0, text);
	assert_string_equal(text, "1970-01-01 00:00:00.000000000 +0000");
	format_time(-1, text);
	assert_string_equal(text, "1969-12-31 23:59:59.999999999 +0000");
	format_time(INT64_MAX, text);
	assert_string_equal(text, "2262-04-11 23:47:16.854775807 +0000");
	format_time(INT64_MIN, text);
	assert_string_equal(text, "1677-09-21 00:12:43.145224192 +0000");
	format_time_short(0, INT64_C(86400000000000), text);
	assert_string_equal(text, "Jan  1 00:00");
	format_time_short(0, INT64_C(1700000000000000000), text);
	assert_string_equal(text, "Jan  1  1970");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(escapes_what_could_steer_a_terminal),
		cmocka_unit_test(keeps_valid_utf8_and_escapes_the_rest),
		cmocka_unit_test(quotes_words_for_the_shell),
		cmocka_unit_test(writes_sizes_rounded_up_as_ls_does),
		cmocka_unit_test(reads_sizes_and_refuses_nonsense),
		cmocka_unit_test(writes_modes_as_ls_does),
		cmocka_unit_test(writes_times_before_1970_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
