/* What the toy store's test does not show: the order of scripts, replays of nonsense, settling. */

#include "support/enumerate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BLOCKS = 4 };

struct trace {
	struct hashset *seen;
	uint64_t reads; /* blocks that the judge reads before it settles */
	char text[4096];
};

/* A medium with one sector of each block in its cache. */
static struct sim_medium *
medium_with_cache(void)
{
	struct sim_medium *medium = NULL;
	struct device *dev = NULL;
	uint8_t *block = block_buffer_alloc(1);

	assert_non_null(block);
	assert_int_equal(sim_create(BLOCKS * BLOCK_BYTES, 1, &medium), 0);
	assert_int_equal(sim_open(medium, 0, &dev), 0);
	memset(block, 0, BLOCK_BYTES);
	for (uint64_t addr = 0; addr < BLOCKS; addr++) {
		block[0] = (uint8_t)(1 + addr);
		assert_int_equal(device_write(dev, addr, block, 1), 0);
	}
	device_close(dev);
	free(block);
	return medium;
}

static bool
judge(void *context, struct sim_medium *medium, struct enumerate_run *run)
{
	struct trace *trace = context;
	struct device *dev = NULL;
	uint8_t *block = block_buffer_alloc(1);

	assert_non_null(block);
	assert_int_equal(sim_open(medium, 0, &dev), 0);
	for (uint64_t addr = 0; addr < trace->reads; addr++)
		assert_int_equal(device_read(dev, addr, block, 1), 0);
	assert_true(enumerate_settle(run) || trace->text[0]);
	for (uint64_t addr = trace->reads; addr < BLOCKS; addr++)
		assert_int_equal(device_read(dev, addr, block, 1), 0);
	device_close(dev);
	free(block);
	strcat(trace->text, enumerate_script(run));
	strcat(trace->text, " ");
	return true;
}

static struct enumerate_options
options_of(struct trace *trace)
{
	assert_int_equal(hashset_create(1024, &trace->seen), 0);
	return (struct enumerate_options){
		.runs_max = 1000, .seen = trace->seen, .judge = judge, .context = trace
	};
}

static void
walks_scripts_depth_first_and_branches_no_more_once_settled(void **state)
{
	struct trace trace = { .reads = 2 };
	struct enumerate_options options = options_of(&trace);
	struct sim_medium *medium = medium_with_cache();
	struct enumerate_result result;

	(void)state;
	assert_int_equal(enumerate_states(medium, &options, &result), 0);
	assert_string_equal(trace.text, "0.0 0.1 1.0 1.1 ");
	assert_true(result.complete);
	assert_int_equal(result.runs, 4);
	assert_int_equal(result.distinct, 4);
	sim_free(medium);
	hashset_free(trace.seen);
}

static void
a_recovery_that_reads_nothing_has_one_state(void **state)
{
	struct trace trace = { .reads = 0 };
	struct enumerate_options options = options_of(&trace);
	struct sim_medium *medium = medium_with_cache();
	struct enumerate_result result;

	(void)state;
	assert_int_equal(enumerate_states(medium, &options, &result), 0);
	assert_string_equal(trace.text, "- ");
	assert_int_equal(result.distinct, 1);
	sim_free(medium);
	hashset_free(trace.seen);
}

static void
refuses_what_is_no_script(void **state)
{
	static const char *const wrong[] = { "", "x", "1.", "1,2", "70000" };
	struct trace trace = { .reads = 2 };
	struct enumerate_options options = options_of(&trace);
	struct sim_medium *medium = medium_with_cache();
	struct enumerate_result result;

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_int_equal(enumerate_replay(medium, &options, wrong[i], &result), COP_EINVAL);
	assert_int_equal(enumerate_replay(medium, &options, "1.0", &result), 0);
	assert_string_equal(trace.text, "1.0 ");
	sim_free(medium);
	hashset_free(trace.seen);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(walks_scripts_depth_first_and_branches_no_more_once_settled),
		cmocka_unit_test(a_recovery_that_reads_nothing_has_one_state),
		cmocka_unit_test(refuses_what_is_no_script),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
