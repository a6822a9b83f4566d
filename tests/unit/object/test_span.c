#include "object/data_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { BYTES = 5 * BLOCK_BYTES };

static uint8_t *
make_buffer(void)
{
	uint8_t *buffer = block_buffer_alloc(BYTES / BLOCK_BYTES);

	assert_non_null(buffer);
	for (size_t i = 0; i < BYTES; i++)
		buffer[i] = (uint8_t)(i * 7 + i / 251);
	return buffer;
}

/* Every block of the span, wherever it is, has the caller's bytes at the right place. */
static void
expect_in_place(const struct span *span)
{
	for (uint64_t i = 0; i < span->bytes; i++) {
		uint64_t at = span->offset + i;

		assert_int_equal(
			span_place(span, at / BLOCK_BYTES)[at % BLOCK_BYTES], span->buffer[i]);
	}
}

static void
leaves_whole_blocks_where_they_are(void **state)
{
	uint8_t *buffer = make_buffer();
	struct span span;

	(void)state;
	assert_int_equal(span_init(&span, 3 * BLOCK_BYTES, buffer, 4 * BLOCK_BYTES), 0);
	assert_true(span.is_direct);
	assert_ptr_equal(span_place(&span, 3), buffer);
	assert_ptr_equal(span_place(&span, 6), buffer + 3 * BLOCK_BYTES);
	span_fini(&span);

	/* Aligned as the offset is: only the edges are copied. */
	assert_int_equal(span_init(&span, 100, buffer + 100, 3 * BLOCK_BYTES), 0);
	assert_true(span.is_direct);
	assert_ptr_equal(span_place(&span, 1), buffer + BLOCK_BYTES);
	assert_ptr_not_equal(span_place(&span, 0), buffer);
	assert_ptr_not_equal(span_place(&span, 0), span_place(&span, 3));
	span_copy_in(&span);
	expect_in_place(&span);
	span_fini(&span);
	free(buffer);
}

static void
copies_what_is_not_aligned(void **state)
{
	static const struct {
		uint64_t offset;
		size_t skip;
		size_t bytes;
	} cases[] = { { 0, 1, 4096 }, { 5, 0, 1 }, { 4095, 3, 2 }, { 4095, 0, 8194 },
		{ 4096, 17, 12288 } };
	uint8_t *buffer = make_buffer();

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		uint8_t *at = buffer + cases[i].skip;
		uint8_t *want = malloc(cases[i].bytes);
		struct span span;

		assert_non_null(want);
		memcpy(want, at, cases[i].bytes);
		assert_int_equal(span_init(&span, cases[i].offset, at, cases[i].bytes), 0);
		assert_false(span.is_direct);
		span_copy_in(&span);
		expect_in_place(&span);
		memset(at, 0, cases[i].bytes);
		span_copy_out(&span);
		assert_memory_equal(at, want, cases[i].bytes);
		span_fini(&span);
		free(want);
	}
	free(buffer);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaves_whole_blocks_where_they_are),
		cmocka_unit_test(copies_what_is_not_aligned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
