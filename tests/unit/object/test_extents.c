#include "object/data_internal.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void
goes_on_with_the_last_extent(void **state)
{
	struct extents extents = { 0 };

	(void)state;
	for (uint64_t i = 0; i < 40; i++)
		assert_int_equal(extents_add_block(&extents, 5 + i, 100 + i, 1, i), 0);
	assert_int_equal(extents.count, 2); /* 32 and 8 */
	assert_int_equal(extents.list[0].blocks, 32);
	assert_int_equal(extents.list[1].first, 37);
	assert_int_equal(extents.list[1].checksums[7], 39);

	assert_int_equal(extents_add_block(&extents, 46, 140, 1, 0), 0); /* a hole between */
	assert_int_equal(extents_add_block(&extents, 47, 200, 1, 0), 0); /* elsewhere */
	assert_int_equal(extents_add_block(&extents, 48, 201, 2, 0), 0); /* another generation */
	assert_int_equal(extents.count, 5);
	extents.list[4].flags = EXTENT_UNWRITTEN;
	assert_int_equal(
		extents_add_block(&extents, 49, 202, 2, 0), 0); /* written after unwritten */
	assert_int_equal(extents.count, 6);
	extents_free(&extents);
	assert_null(extents.list);
}

static void
gives_back_what_was_listed(void **state)
{
	struct extents extents = { 0 };
	struct extents got;
	uint8_t bytes[1000];
	struct view view;
	struct reader r;

	(void)state;
	assert_int_equal(extents_add_block(&extents, 5, 100, 1, 77), 0);
	assert_int_equal(extents_add_block(&extents, 9, 200, 1, 78), 0);
	view = extents_encode_listed(&extents, bytes, sizeof bytes);
	r = reader_over(view.data, view.bytes);
	assert_int_equal(extents_decode(&r, &got), 0);
	assert_int_equal(got.count, 2);
	assert_int_equal(got.list[1].first, 9);
	assert_int_equal(got.list[1].checksums[0], 78);
	extents_free(&got);

	/* Cut short, or in the wrong order. */
	r = reader_over(view.data, view.bytes - 1);
	assert_int_equal(extents_decode(&r, &got), COP_EFORMAT);
	extents.list[1].first = 5;
	view = extents_encode_listed(&extents, bytes, sizeof bytes);
	r = reader_over(view.data, view.bytes);
	assert_int_equal(extents_decode(&r, &got), COP_EFORMAT);
	extents_free(&extents);
}

static void
fits_a_record_while_they_are_few(void **state)
{
	struct extents extents = { 0 };

	(void)state;
	for (uint64_t i = 0; i < INLINE_EXTENTS_MAX; i++)
		assert_int_equal(extents_add_block(&extents, 2 * i, 100 + 2 * i, 1, 0), 0);
	assert_true(extents_fit_record(&extents, INLINE_EXTENTS_MAX * 36));
	assert_false(extents_fit_record(&extents, INLINE_EXTENTS_MAX * 36 - 1));
	assert_int_equal(extents_add_block(&extents, 1000, 5000, 1, 0), 0);
	assert_false(extents_fit_record(&extents, 100000));
	extents_free(&extents);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(goes_on_with_the_last_extent),
		cmocka_unit_test(gives_back_what_was_listed),
		cmocka_unit_test(fits_a_record_while_they_are_few),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
