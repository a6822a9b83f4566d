#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

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

/* Tests print their seed; these numbers make such a seed replay on any later version as well. */
static void
gives_the_known_numbers(void **state)
{
	struct rng rng;

	(void)state;
	rng_seed(&rng, 0);
	assert_int_equal(rng_next(&rng), UINT64_C(0x99ec5f36cb75f2b4));
	assert_int_equal(rng_next(&rng), UINT64_C(0xbf6e1f784956452a));
}

static void
differs_by_the_seed(void **state)
{
	struct rng a;
	struct rng b;

	(void)state;
	for (uint64_t seed = 0; seed < 100; seed++) {
		rng_seed(&a, seed);
		rng_seed(&b, seed + 1);
		assert_int_not_equal(rng_next(&a), rng_next(&b));
	}
	assert_int_equal(rng_seed_system(&a), 0);
	assert_int_equal(rng_seed_system(&b), 0);
	assert_int_not_equal(rng_next(&a), rng_next(&b));
}

static void
fills_any_number_of_bytes_and_no_more(void **state)
{
	uint8_t out[40];
	struct rng rng;

	(void)state;
	for (size_t bytes = 0; bytes <= 32; bytes++) {
		unsigned seen[32] = { 0 };

		for (uint64_t seed = 0; seed < 20; seed++) {
			memset(out, 0xee, sizeof out);
			rng_seed(&rng, seed);
			rng_bytes(&rng, out, bytes);
			assert_int_equal(out[bytes], 0xee);
			for (size_t i = 0; i < bytes; i++)
				seen[i] |= out[i] != 0xee;
		}
		for (size_t i = 0; i < bytes; i++)
			assert_true(seen[i]);
	}
}

static void
never_makes_a_seal_of_zero(void **state)
{
	struct rng rng;

	(void)state;
	rng_seed(&rng, 7);
	for (int i = 0; i < 1000; i++)
		assert_int_not_equal(rng_nonzero(&rng), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(repeats_from_a_seed),
		cmocka_unit_test(stays_below_the_limit_and_reaches_every_number),
		cmocka_unit_test(gives_the_known_numbers),
		cmocka_unit_test(differs_by_the_seed),
		cmocka_unit_test(fills_any_number_of_bytes_and_no_more),
		cmocka_unit_test(never_makes_a_seal_of_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
