#include "base/plant.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#ifdef COP_PLANTS
static void
is_the_one_that_the_environment_chooses(void **state)
{
	(void)state;
	assert_int_equal(setenv("COP_PLANT", "3", 1), 0);
	assert_true(planted(PLANT_BITMAP_SLOT_IN_FORCE));
	assert_false(planted(PLANT_NO_FLUSH_BEFORE_SUPERBLOCK));
	assert_int_equal(unsetenv("COP_PLANT"), 0);
	assert_false(planted(PLANT_BITMAP_SLOT_IN_FORCE));
}
#else
static void
is_never_there_whatever_the_environment_says(void **state)
{
	(void)state;
	assert_int_equal(setenv("COP_PLANT", "3", 1), 0);
	assert_false(planted(PLANT_BITMAP_SLOT_IN_FORCE));
	assert_int_equal(unsetenv("COP_PLANT"), 0);
}
#endif

int
main(void)
{
	const struct CMUnitTest tests[] = {
#ifdef COP_PLANTS
		cmocka_unit_test(is_the_one_that_the_environment_chooses),
#else
		cmocka_unit_test(is_never_there_whatever_the_environment_says),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
