#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void
repeats_from_a_seed(void **state)
{
	struct rng a;
	struct rng b;

	(void)state;
	rng_seed(&a, 7);
	rng_seed(&b, 7);
	for (int i = 0; i < 100; i++)
		assert_int_equal(rng_next(&a), rng_next(&b));
}

static void
stays_below_the_limit_and_reaches_every_number(void **state)
{
	struct rng rng;
	unsigned seen = 0;

	(void)state;
	rng_seed(&rng, 7);
	for (int i = 0; i < 1000; i++) {
		uint64_t n = rng_below(&rng, 10);

		assert_true(n < 10);
		seen |= 1U << n;
	}
	assert_int_equal(seen, 0x3ff);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(repeats_from_a_seed),
		cmocka_unit_test(stays_below_the_limit_and_reaches_every_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
