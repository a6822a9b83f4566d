#include "front/cli/document.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct page {
	struct document document;
	FILE *stream;
	char *text;
	size_t bytes;
};

static void
page_begin(struct page *page)
{
	page->stream = open_memstream(&page->text, &page->bytes);
	assert_non_null(page->stream);
	document_begin(&page->document, page->stream);
}

static void
page_end(struct page *page, const char *want)
{
	document_end(&page->document);
	assert_int_equal(fclose(page->stream), 0);
	assert_string_equal(page->text, want);
	free(page->text);
}

static void
put(struct page *page, enum cop_dump_type type, const char *name, uint64_t number)
{
	struct cop_dump_item item = COP_INIT(item);

	item.type = type;
	item.name = name;
	item.number = number;
	document_put(&page->document, &item);
}

static void
put_data(struct page *page, enum cop_dump_type type, const char *name, const char *data)
{
	struct cop_dump_item item = COP_INIT(item);

	item.type = type;
	item.name = name;
	item.data = data;
	item.bytes = strlen(data);
	document_put(&page->document, &item);
}

static void
puts_what_lies_in_another_below_it(void **state)
{
	struct page page;

	(void)state;
	page_begin(&page);
	put(&page, COP_DUMP_UNSIGNED, "generation", 7);
	put(&page, COP_DUMP_BEGIN_ARRAY, "batches", 0);
	for (uint64_t i = 1; i <= 2; i++) {
		put(&page, COP_DUMP_BEGIN_OBJECT, NULL, 0);
		put(&page, COP_DUMP_UNSIGNED, "sequence", i);
		put(&page, COP_DUMP_BOOL, "is_whole", i == 1);
		put(&page, COP_DUMP_BEGIN_ARRAY, "runs", 0);
		put(&page, COP_DUMP_BEGIN_OBJECT, NULL, 0);
		put(&page, COP_DUMP_UNSIGNED, "addr", 10 * i);
		put(&page, COP_DUMP_END, NULL, 0);
		put(&page, COP_DUMP_END, NULL, 0);
		put(&page, COP_DUMP_SIGNED, "objects", (uint64_t)-3);
		put(&page, COP_DUMP_END, NULL, 0);
	}
	put(&page, COP_DUMP_END, NULL, 0);
	put(&page, COP_DUMP_BEGIN_OBJECT, "root", 0);
	put(&page, COP_DUMP_WORD, "seal", 0xabc);
	put(&page, COP_DUMP_END, NULL, 0);
	put(&page, COP_DUMP_ID, "object", UINT64_MAX);
	page_end(&page, "generation 7\n"
			"batches:\n"
			"  - sequence 1, is_whole yes\n"
			"    runs:\n"
			"      - addr 10\n"
			"    objects -3\n"
			"  - sequence 2, is_whole no\n"
			"    runs:\n"
			"      - addr 20\n"
			"    objects -3\n"
			"root: seal 0000000000000abc\n"
			"object 18446744073709551615\n");
}

static void
escapes_names_and_shows_bytes_as_digits(void **state)
{
	struct page page;

	(void)state;
	page_begin(&page);
	put_data(&page, COP_DUMP_TEXT, "name", "a\033[31m");
	put_data(&page, COP_DUMP_BYTES, "key", "\x01\xff");
	put_data(&page, COP_DUMP_BYTES, "low", "");
	page_end(&page, "name \"a\\e[31m\", key 01ff, low -\n");
}

static void
breaks_long_lines(void **state)
{
	struct page page;
	const char *at;

	(void)state;
	page_begin(&page);
	put(&page, COP_DUMP_BEGIN_ARRAY, "words", 0);
	for (int i = 0; i < 20; i++)
		put(&page, COP_DUMP_WORD, NULL, UINT64_MAX);
	put(&page, COP_DUMP_END, NULL, 0);
	document_end(&page.document);
	assert_int_equal(fclose(page.stream), 0);
	for (at = page.text; *at != '\0'; at += strcspn(at, "\n") + 1)
		assert_true(strcspn(at, "\n") <= 101);
	assert_non_null(strstr(page.text, "ffff,\n"));
	free(page.text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(puts_what_lies_in_another_below_it),
		cmocka_unit_test(escapes_names_and_shows_bytes_as_digits),
		cmocka_unit_test(breaks_long_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
