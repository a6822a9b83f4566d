#include "volume/keys.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* The bytes are the contract: another order would make every volume unreadable. */
static void
encodes_to_the_documented_bytes(void **state)
{
	uint8_t out[ROOT_KEY_BYTES];

	(void)state;
	assert_true(view_equal(object_key(out, 0x0102030405, KEY_RECORD),
		view_of("\0\0\0\1\2\3\4\5\1", OBJECT_KEY_BYTES)));
	assert_true(view_equal(root_key(out, 16, TREE_DIRECTORY),
		view_of("\0\0\0\0\0\0\0\x10\2\6", ROOT_KEY_BYTES)));
	assert_true(view_equal(catalog_key(out, CATALOG_JOB, 258),
		view_of("\3\0\0\0\0\0\0\1\2", CATALOG_KEY_BYTES)));
}

/* What belongs to one object lies together, and objects in the order of their numbers. */
static void
keeps_together_what_belongs_to_one_object(void **state)
{
	uint8_t a[ROOT_KEY_BYTES];
	uint8_t b[ROOT_KEY_BYTES];

	(void)state;
	assert_true(view_compare(object_key(a, 16, KEY_RECORD), root_key(b, 16, TREE_CONTENT)) < 0);
	assert_true(
		view_compare(root_key(a, 16, TREE_DIRECTORY), object_key(b, 16, KEY_XATTR)) < 0);
	assert_true(view_compare(object_key(a, 16, KEY_ORPHAN), object_key(b, 17, KEY_RECORD)) < 0);
	assert_true(view_compare(object_key(a, 255, KEY_NAME), object_key(b, 256, KEY_NAME)) < 0);
	assert_true(view_compare(catalog_key(a, CATALOG_BRANCH, UINT64_MAX),
			    catalog_key(b, CATALOG_JOB, 1)) < 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encodes_to_the_documented_bytes),
		cmocka_unit_test(keeps_together_what_belongs_to_one_object),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
