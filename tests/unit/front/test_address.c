#include "front/cli/address.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

struct row {
	const char *operand;
	bool exists;
	enum address_kind kind;
	const char *device;
	const char *version;
	const char *path;
};

static const struct row rows[] = {
	/* The plain forms. */
	{ "vol.cop", false, ADDRESS_BARE, "vol.cop", NULL, "/" },
	{ "vol.cop:/", false, ADDRESS_VOLUME, "vol.cop", NULL, "/" },
	{ "vol.cop:/a/b", false, ADDRESS_VOLUME, "vol.cop", NULL, "/a/b" },
	{ "vol.cop@old", false, ADDRESS_BARE, "vol.cop", "old", "/" },
	{ "vol.cop@old:/a", false, ADDRESS_VOLUME, "vol.cop", "old", "/a" },
	{ "dir/vol.cop:/a/", false, ADDRESS_VOLUME, "dir/vol.cop", NULL, "/a/" },

	/* The first ":/" ends the volume; a colon without a slash does not. */
	{ "v:/a:/b", false, ADDRESS_VOLUME, "v", NULL, "/a:/b" },
	{ "a:b:/c", false, ADDRESS_VOLUME, "a:b", NULL, "/c" },
	{ "a:b", false, ADDRESS_BARE, "a:b", NULL, "/" },
	{ "v:", false, ADDRESS_BARE, "v:", NULL, "/" },
	{ "v://a", false, ADDRESS_VOLUME, "v", NULL, "//a" },

	/* '@' counts in the last component of the volume, and the first one there. */
	{ "me@host/v:/a", false, ADDRESS_VOLUME, "me@host/v", NULL, "/a" },
	{ "me@host/v@x@y:/a", false, ADDRESS_VOLUME, "me@host/v", "x@y", "/a" },
	{ "v:/a@b", false, ADDRESS_VOLUME, "v", NULL, "/a@b" },
	{ "v@1:/a@b", false, ADDRESS_VOLUME, "v", "1", "/a@b" },

	/* A scheme is taken off first. */
	{ "file:v.cop", false, ADDRESS_VOLUME, "file:v.cop", NULL, "/" },
	{ "file:/srv/v.cop", false, ADDRESS_VOLUME, "file:/srv/v.cop", NULL, "/" },
	{ "file:/srv/v.cop:/a", false, ADDRESS_VOLUME, "file:/srv/v.cop", NULL, "/a" },
	{ "file:/srv/v@2:/a", false, ADDRESS_VOLUME, "file:/srv/v", "2", "/a" },
	{ "file:/srv/v.cop", true, ADDRESS_VOLUME, "file:/srv/v.cop", NULL, "/" },
	{ "sim:disk@snap:/a", false, ADDRESS_VOLUME, "sim:disk", "snap", "/a" },
	{ "mem:", false, ADDRESS_VOLUME, "mem:", NULL, "/" },
	{ "files:/a", false, ADDRESS_VOLUME, "files", NULL, "/a" },

	/* What starts with "./" or "/" and exists is the host's, whatever is in it. */
	{ "./a:/b@c", true, ADDRESS_HOST, "./a:/b@c", NULL, "/" },
	{ "/tmp/v@1", true, ADDRESS_HOST, "/tmp/v@1", NULL, "/" },
	{ "/tmp/v@1", false, ADDRESS_BARE, "/tmp/v", "1", "/" },
	{ "./a:/b@c", false, ADDRESS_VOLUME, "./a", NULL, "/b@c" },
	{ "/tmp/v:/a", false, ADDRESS_VOLUME, "/tmp/v", NULL, "/a" },
	{ "a:/b@c", true, ADDRESS_VOLUME, "a", NULL, "/b@c" },
	{ "v@1", true, ADDRESS_BARE, "v", "1", "/" },
	{ "../v@1:/x", true, ADDRESS_VOLUME, "../v", "1", "/x" },

	/* Names may hold any byte. */
	{ "v:/\x01\xff\n ", false, ADDRESS_VOLUME, "v", NULL, "/\x01\xff\n " },
	{ "dir/:/x", false, ADDRESS_VOLUME, "dir/", NULL, "/x" },
	{ "-v:/x", false, ADDRESS_VOLUME, "-v", NULL, "/x" },
};

static void
assert_text(const char *got, const char *want)
{
	if (!want)
		assert_null(got);
	else
		assert_string_equal(got, want);
}

static void
reads_each_form_as_the_grammar_says(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct address address;

		assert_int_equal(address_parse(rows[i].operand, rows[i].exists, &address), 0);
		assert_int_equal(address.kind, rows[i].kind);
		assert_text(address.device, rows[i].device);
		assert_text(address.version, rows[i].version);
		assert_text(address.path, rows[i].path);
		assert_ptr_equal(address.operand, rows[i].operand);
		address_fini(&address);
	}
}

static void
refuses_what_names_no_volume(void **state)
{
	static const char *const bad[] = { "", ":/", ":/a", "@v", "@v:/a", "v@", "v@:/a",
		"dir/@v:/a", "file:@v", "file::/a" };

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct address address = { .operand = "untouched" };

		assert_int_equal(address_parse(bad[i], false, &address), COP_EINVAL);
		assert_string_equal(address.operand, "untouched");
	}
}

static void
writes_an_address_that_reads_as_itself(void **state)
{
	struct address address;
	struct address again;
	char *text;

	(void)state;
	assert_int_equal(address_parse("dir/v@1:/a", false, &address), 0);
	text = address_with_path(&address, "/b:/c@d");
	assert_string_equal(text, "dir/v@1:/b:/c@d");
	assert_int_equal(address_parse(text, false, &again), 0);
	assert_string_equal(again.device, address.device);
	assert_string_equal(again.version, address.version);
	assert_string_equal(again.path, "/b:/c@d");
	address_fini(&again);
	free(text);
	address_fini(&address);
}

static void
takes_an_operand_of_any_length(void **state)
{
	enum { BYTES = 1 << 20 };
	char *operand = malloc(BYTES + 1);
	struct address address;

	(void)state;
	assert_non_null(operand);
	memset(operand, 'x', BYTES);
	memcpy(operand, "v:/", 3);
	operand[BYTES] = '\0';
	assert_int_equal(address_parse(operand, false, &address), 0);
	assert_string_equal(address.device, "v");
	assert_int_equal(strlen(address.path), BYTES - 2);
	address_fini(&address);
	free(operand);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_each_form_as_the_grammar_says),
		cmocka_unit_test(refuses_what_names_no_volume),
		cmocka_unit_test(writes_an_address_that_reads_as_itself),
		cmocka_unit_test(takes_an_operand_of_any_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
