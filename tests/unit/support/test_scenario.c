#include "crash/scenario.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void
is_the_same_after_text(void **state)
{
	static struct scenario scenario = {
		.workload = "random.17",
		.seed = 99,
		.fault = FAULT_MISDIRECT,
		.fault_call = 12,
		.fault_addr = 1234,
		.cut = 40,
		.probe = PROBE_FLIP,
		.probe_addr = 977,
		.probe_bit = 5,
		.script = "0.1.2",
		.again = { { 3, "-" }, { 21, "1.0" } },
	};
	static struct scenario again;
	char text[SCENARIO_TEXT_BYTES];

	(void)state;
	scenario_print(&scenario, text);
	assert_string_equal(text,
		"workload=random.17 seed=99 fault=misdirect:12:1234 cut=40 probe=flip:977:5 "
		"script=0.1.2 cut2=3 script2=- cut3=21 script3=1.0");
	assert_int_equal(scenario_parse(text, &again), 0);
	assert_memory_equal(&again, &scenario, sizeof scenario);
}

static void
refuses_what_is_no_scenario(void **state)
{
	static const char *const wrong[] = { "", "seed=1", "workload=pair.1.2.0 nonsense",
		"workload=pair.1.2.0 fault=soup:1", "workload=pair.1.2.0 probe=flip" };
	static struct scenario scenario;

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_int_equal(scenario_parse(wrong[i], &scenario), COP_EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_the_same_after_text),
		cmocka_unit_test(refuses_what_is_no_scenario),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
