/*
 * Calibration: on a store whose crash states can be counted by hand, the simulator and the
 * enumerator must find exactly those, no violation where there is none, and every one there is.
 */

#include "crash/toy_store.h"

#include "device/sim.h"
#include "support/enumerate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PUTS = 6, CUTS_MAX = 64, SCRIPTS_MAX = 512 };

/* One power cut: what the medium was, and which sequences may be found. */
struct cut {
	struct sim_medium *medium;
	uint64_t acknowledged;
	uint64_t issued;
};

struct trial {
	uint32_t flags;
	uint64_t acknowledged;
	uint64_t issued;
	struct cut cut[CUTS_MAX];
	size_t cuts;
	const struct cut *judged;
	struct hashset *seen;
	struct enumerate_result total;
	char script[SCRIPTS_MAX][64]; /* of the violations, with their cut */
	const struct cut *script_cut[SCRIPTS_MAX];
	size_t scripts;
};

static void
remember_cut(struct trial *trial, struct sim_medium *medium)
{
	struct cut *cut = &trial->cut[trial->cuts++];

	assert_true(trial->cuts <= CUTS_MAX);
	assert_int_equal(sim_clone(medium, &cut->medium), 0);
	cut->acknowledged = trial->acknowledged;
	cut->issued = trial->issued;
}

static void
before_call(void *context, struct sim_medium *medium, uint64_t call)
{
	(void)call;
	remember_cut(context, medium);
}

static bool
judge(void *context, struct sim_medium *medium, struct enumerate_run *run)
{
	struct trial *trial = context;
	struct device *dev = NULL;
	struct toy_store store;
	uint64_t value = 0;
	bool whole = true;

	assert_int_equal(sim_open(medium, 0, &dev), 0);
	assert_int_equal(toy_open(dev, 0, &store), 0);
	if (store.sequence > 0) {
		assert_int_equal(toy_get(&store, &value, &whole), 0);
		if (!whole)
			enumerate_blame(run, "torn");
		else if (value != toy_value(store.sequence))
			enumerate_blame(run, "not the value that was put");
	}
	if (store.sequence < trial->judged->acknowledged)
		enumerate_blame(run, "lost what was acknowledged");
	if (store.sequence > trial->judged->issued)
		enumerate_blame(run, "has what was never put");
	device_close(dev);
	return store.sequence >= trial->judged->acknowledged &&
	       store.sequence <= trial->judged->issued && whole &&
	       (store.sequence == 0 || value == toy_value(store.sequence));
}

static void
keep_script(void *context, const char *script, const char *text)
{
	struct trial *trial = context;

	assert_true(text[0] != 0);
	if (trial->scripts == SCRIPTS_MAX)
		return;
	trial->script_cut[trial->scripts] = trial->judged;
	snprintf(trial->script[trial->scripts++], sizeof trial->script[0], "%s", script);
}

static struct enumerate_options
options_of(struct trial *trial)
{
	return (struct enumerate_options){
		.runs_max = 10000,
		.seen = trial->seen,
		.judge = judge,
		.violation = keep_script,
		.context = trial,
	};
}

static void
run_puts(struct trial *trial)
{
	struct sim_medium *medium = NULL;
	struct device *dev = NULL;
	struct toy_store store;

	assert_int_equal(sim_create(TOY_BYTES, 1, &medium), 0);
	assert_int_equal(sim_open(medium, 0, &dev), 0);
	assert_int_equal(toy_open(dev, trial->flags, &store), 0);
	sim_set_hook(medium, before_call, trial);
	for (int i = 0; i < PUTS; i++) {
		trial->issued++;
		assert_int_equal(toy_put(&store), 0);
		trial->acknowledged++;
	}
	remember_cut(trial, medium);
	device_close(dev);
	sim_free(medium);
}

static struct trial *
try_all_cuts(uint32_t flags)
{
	struct trial *trial = calloc(1, sizeof *trial);

	assert_non_null(trial);
	trial->flags = flags;
	assert_int_equal(hashset_create(1 << 16, &trial->seen), 0);
	run_puts(trial);
	for (size_t i = 0; i < trial->cuts; i++) {
		struct enumerate_options options = options_of(trial);
		struct enumerate_result result;

		trial->judged = &trial->cut[i];
		assert_int_equal(enumerate_states(trial->cut[i].medium, &options, &result), 0);
		assert_true(result.complete);
		trial->total.runs += result.runs;
		trial->total.distinct += result.distinct;
		trial->total.violations += result.violations;
	}
	return trial;
}

static void
trial_free(struct trial *trial)
{
	for (size_t i = 0; i < trial->cuts; i++)
		sim_free(trial->cut[i].medium);
	hashset_free(trial->seen);
	free(trial);
}

/*
 * Of the four calls of a put, only a cut before the last leaves anything to decide that recovery
 * reads: the commit record is there or not. So the states are the values 0 to PUTS.
 */
static void
with_its_flushes_it_has_one_state_for_each_value_and_no_violation(void **state)
{
	struct trial *trial = try_all_cuts(0);

	(void)state;
	assert_int_equal(trial->total.violations, 0);
	assert_int_equal(trial->total.distinct, PUTS + 1);
	assert_int_equal(trial->total.runs, PUTS * (1 + 1 + 1 + 2) + 1);
	trial_free(trial);
}

/*
 * Three calls a put. Before the last one the commit record is there or not, and if it is, each of
 * the sectors of the payload is old or new: all combinations but the one that is all new are wrong.
 */
static void
without_the_first_flush_every_mixture_of_sectors_is_found(void **state)
{
	struct trial *trial = try_all_cuts(TOY_NO_FIRST_FLUSH);
	const uint64_t mixtures = 1 << TOY_SECTORS;

	(void)state;
	assert_int_equal(trial->total.violations, PUTS * (mixtures - 1));
	assert_int_equal(trial->total.distinct, PUTS + 1 + PUTS * (mixtures - 1));
	assert_int_equal(trial->total.runs, PUTS * (1 + 1 + 1 + mixtures) + 1);
	trial_free(trial);
}

/*
 * Two cuts for each put are after it was acknowledged and before the next flush: in the first the
 * value may be lost, in the second the slot that is then in force is being written as well. After
 * the last put comes only the first of the two.
 */
static void
without_the_last_flush_lost_values_are_found(void **state)
{
	struct trial *trial = try_all_cuts(TOY_NO_LAST_FLUSH);
	const uint64_t mixtures = 1 << TOY_SECTORS;

	(void)state;
	/* Before anything was put there is no payload to read: the first put has no mixtures. */
	assert_int_equal(trial->total.violations, PUTS + (PUTS - 2) * mixtures + 1);
	trial_free(trial);
}

static void
a_durable_write_takes_the_place_of_the_last_flush(void **state)
{
	struct trial *trial = try_all_cuts(TOY_FUA);

	(void)state;
	assert_int_equal(trial->total.violations, 0);
	assert_int_equal(trial->total.distinct, PUTS + 1);
	trial_free(trial);
}

static void
the_script_of_every_violation_replays_it(void **state)
{
	struct trial *trial = try_all_cuts(TOY_NO_LAST_FLUSH);
	size_t found = trial->scripts;

	(void)state;
	assert_true(found > 0);
	assert_true(found < SCRIPTS_MAX);
	for (size_t i = 0; i < found; i++) {
		struct enumerate_options options = options_of(trial);
		struct enumerate_result result;

		trial->judged = trial->script_cut[i];
		assert_int_equal(enumerate_replay(trial->judged->medium, &options, trial->script[i],
					 &result),
			0);
		assert_int_equal(result.violations, 1);
		assert_int_equal(result.distinct, 0); /* seen before */
		assert_string_equal(trial->script[trial->scripts - 1], trial->script[i]);
		trial->scripts = found;
	}
	trial_free(trial);
}

static void
a_small_budget_is_spent_and_then_samples_find_the_rest(void **state)
{
	struct trial *trial = calloc(1, sizeof *trial);
	struct enumerate_result result = { 0 };
	uint64_t distinct = 0;

	(void)state;
	assert_non_null(trial);
	trial->flags = TOY_NO_FIRST_FLUSH;
	assert_int_equal(hashset_create(1 << 16, &trial->seen), 0);
	run_puts(trial);
	for (size_t i = 0; i < trial->cuts; i++) {
		struct enumerate_options options = options_of(trial);

		trial->judged = &trial->cut[i];
		options.runs_max = 2;
		options.samples = 200;
		options.seed = 7;
		assert_int_equal(enumerate_states(trial->cut[i].medium, &options, &result), 0);
		assert_true(result.runs == 202 || result.complete);
		distinct += result.distinct;
	}
	assert_int_equal(distinct, PUTS + 1 + PUTS * ((1 << TOY_SECTORS) - 1));
	trial_free(trial);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_its_flushes_it_has_one_state_for_each_value_and_no_violation),
		cmocka_unit_test(without_the_first_flush_every_mixture_of_sectors_is_found),
		cmocka_unit_test(without_the_last_flush_lost_values_are_found),
		cmocka_unit_test(a_durable_write_takes_the_place_of_the_last_flush),
		cmocka_unit_test(the_script_of_every_violation_replays_it),
		cmocka_unit_test(a_small_budget_is_spent_and_then_samples_find_the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
