#include "front/cli/progress.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

enum { MIB = 1 << 20 };

static void
shows_share_rate_and_time_left(void **state)
{
	const struct progress_state half = {
		.verb = "cp",
		.done_bytes = 512 * (uint64_t)MIB,
		.total_bytes = 1024 * (uint64_t)MIB,
		.bytes_per_second = 8 * MIB,
	};
	char line[PROGRESS_LINE_BYTES];

	(void)state;
	progress_line(&half, 80, line);
	assert_string_equal(line, "cp:  50%  512M of 1.0G, 8.0M/s, 1:04 left");
}

static void
tells_the_time_of_the_slower_of_bytes_and_files(void **state)
{
	const struct progress_state many = {
		.verb = "cp",
		.done_bytes = MIB,
		.total_bytes = 2 * MIB,
		.bytes_per_second = MIB,
		.done_items = 10,
		.total_items = 1000,
		.items_per_second = 10,
	};
	char line[PROGRESS_LINE_BYTES];

	(void)state;
	progress_line(&many, 80, line);
	assert_string_equal(line, "cp:  50%  1.0M of 2.0M, 10 of 1000 files, 1.0M/s, 1:39 left");
}

static void
leaves_out_what_is_not_known(void **state)
{
	const struct progress_state unknown = {
		.verb = "rm",
		.done_items = 12345,
	};
	char line[PROGRESS_LINE_BYTES];

	(void)state;
	progress_line(&unknown, 80, line);
	assert_string_equal(line, "rm: 0, 12345 files, 0/s");
}

static void
never_fills_the_last_column(void **state)
{
	const struct progress_state long_one = {
		.verb = "a-verb-that-is-longer-than-any-that-there-is",
		.done_bytes = UINT64_MAX,
		.total_bytes = UINT64_MAX,
		.done_items = UINT64_MAX,
		.total_items = UINT64_MAX,
		.bytes_per_second = 1,
	};
	char line[PROGRESS_LINE_BYTES];

	(void)state;
	for (size_t columns = 0; columns < 2 * PROGRESS_LINE_BYTES; columns++) {
		progress_line(&long_one, columns, line);
		assert_true(strlen(line) < (columns > 0 ? columns : 1));
	}
}

static void
survives_totals_that_were_too_small(void **state)
{
	const struct progress_state over = {
		.verb = "cp",
		.done_bytes = 2 * MIB,
		.total_bytes = MIB,
		.bytes_per_second = MIB,
	};
	char line[PROGRESS_LINE_BYTES];

	(void)state;
	progress_line(&over, 80, line);
	assert_string_equal(line, "cp: 2.0M, 1.0M/s");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shows_share_rate_and_time_left),
		cmocka_unit_test(tells_the_time_of_the_slower_of_bytes_and_files),
		cmocka_unit_test(leaves_out_what_is_not_known),
		cmocka_unit_test(never_fills_the_last_column),
		cmocka_unit_test(survives_totals_that_were_too_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
