#include "front/cli/json.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

/* A document in memory. */
struct page {
	struct json json;
	FILE *stream;
	char *text;
	size_t bytes;
};

static void
page_begin(struct page *page)
{
	page->stream = open_memstream(&page->text, &page->bytes);
	assert_non_null(page->stream);
	json_begin(&page->json, page->stream, "coppice.test/1");
}

static void
page_end(struct page *page, const char *want)
{
	json_end(&page->json);
	assert_int_equal(fclose(page->stream), 0);
	assert_non_null(strstr(page->text, want));
	free(page->text);
}

static void
says_version_and_schema_first(void **state)
{
	struct page page;

	(void)state;
	page_begin(&page);
	page_end(&page, "{\n  \"coppice_version\": \"0.1.0\",\n"
			"  \"schema\": \"coppice.test/1\"\n}\n");
}

static void
nests_arrays_and_objects(void **state)
{
	struct page page;

	(void)state;
	page_begin(&page);
	json_array(&page.json, "empty");
	json_close(&page.json);
	json_array(&page.json, "rows");
	json_object(&page.json, NULL);
	json_unsigned(&page.json, "most", UINT64_MAX);
	json_signed(&page.json, "least", INT64_MIN);
	json_close(&page.json);
	json_bool(&page.json, NULL, true);
	json_null(&page.json, NULL);
	json_id(&page.json, NULL, UINT64_MAX);
	json_close(&page.json);
	page_end(&page, "  \"empty\": [],\n"
			"  \"rows\": [\n"
			"    {\n"
			"      \"most\": 18446744073709551615,\n"
			"      \"least\": -9223372036854775808\n"
			"    },\n"
			"    true,\n"
			"    null,\n"
			"    \"18446744073709551615\"\n"
			"  ]\n}\n");
}

static void
assert_string_written(const char *bytes, size_t count, const char *want)
{
	struct page page;

	page_begin(&page);
	json_bytes(&page.json, "s", bytes, count);
	page_end(&page, want);
}

static void
escapes_bytes_so_that_they_come_back(void **state)
{
	(void)state;
	assert_string_written("", 0, "\"s\": \"\"");
	assert_string_written("a\"b\\c", 5, "\"s\": \"a\\\"b\\\\c\"");
	assert_string_written("\n\t\x01\x7f\0", 5, "\"s\": \"\\n\\t\\u0001\\u007f\\u0000\"");
	assert_string_written("\xc3\xa9", 2, "\"s\": \"\xc3\xa9\"");
	/* Bytes that are no UTF-8 are the surrogates of PEP 383, those of a surrogate as well. */
	assert_string_written("\xff\x80", 2, "\"s\": \"\\udcff\\udc80\"");
	assert_string_written("\xed\xb3\xbf", 3, "\"s\": \"\\udced\\udcb3\\udcbf\"");
	assert_string_written("a\xc3", 2, "\"s\": \"a\\udcc3\"");
}

static void
writes_bytes_and_words_as_digits(void **state)
{
	static const uint8_t bytes[] = { 0, 0x9f, 0xff };
	struct page page;

	(void)state;
	page_begin(&page);
	json_hex(&page.json, "key", bytes, sizeof bytes);
	json_hex(&page.json, "none", bytes, 0);
	json_word(&page.json, "seal", 0xabcdef);
	page_end(&page, "\"key\": \"009fff\",\n  \"none\": \"\",\n"
			"  \"seal\": \"0000000000abcdef\"\n}");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_version_and_schema_first),
		cmocka_unit_test(nests_arrays_and_objects),
		cmocka_unit_test(escapes_bytes_so_that_they_come_back),
		cmocka_unit_test(writes_bytes_and_words_as_digits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
