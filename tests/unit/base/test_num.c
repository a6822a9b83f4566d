#include "base/num.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void
chooses_the_smaller_and_the_larger(void **state)
{
	(void)state;
	assert_int_equal(min_u64(1, UINT64_MAX), 1);
	assert_int_equal(min_u64(UINT64_MAX, 1), 1);
	assert_int_equal(max_u64(1, UINT64_MAX), UINT64_MAX);
	assert_int_equal(max_u64(3, 3), 3);
}

static void
rounds_a_quotient_up_without_overflow(void **state)
{
	(void)state;
	assert_int_equal(div_up(0, 7), 0);
	assert_int_equal(div_up(1, 7), 1);
	assert_int_equal(div_up(7, 7), 1);
	assert_int_equal(div_up(8, 7), 2);
	assert_int_equal(div_up(UINT64_MAX, 2), UINT64_C(1) << 63);
	assert_int_equal(div_up(UINT64_MAX, 1), UINT64_MAX);
}

static void
knows_powers_of_two(void **state)
{
	(void)state;
	assert_false(is_power_of_two(0));
	for (int shift = 0; shift < 64; shift++) {
		assert_true(is_power_of_two(UINT64_C(1) << shift));
		if (shift > 1)
			assert_false(is_power_of_two((UINT64_C(1) << shift) + 1));
	}
}

static void
counts_an_array(void **state)
{
	static const uint16_t array[13];

	(void)state;
	assert_int_equal(ARRAY_COUNT(array), 13);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chooses_the_smaller_and_the_larger),
		cmocka_unit_test(rounds_a_quotient_up_without_overflow),
		cmocka_unit_test(knows_powers_of_two),
		cmocka_unit_test(counts_an_array),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
