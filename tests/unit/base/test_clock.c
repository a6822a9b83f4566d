#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

static void
counts_ns_since_1970(void **state)
{
	time_t before = time(NULL);
	int64_t now = clock_wall_ns();
	time_t after = time(NULL);

	(void)state;
	assert_true(now / 1000000000 >= before - 1); /* time() may lag by a tick */
	assert_true(now / 1000000000 <= after + 1);
}

static void
goes_forward_when_monotonic(void **state)
{
	int64_t before = clock_monotonic_ns();

	(void)state;
	for (int i = 0; i < 1000; i++) {
		int64_t now = clock_monotonic_ns();

		assert_true(now >= before);
		before = now;
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_ns_since_1970),
		cmocka_unit_test(goes_forward_when_monotonic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
