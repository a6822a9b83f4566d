#include "world.h"

#include "base/num.h"

#include <stdio.h>

struct listener {
	uint64_t told;
	char last[256];
};

static void
listen(void *context, const struct cop_problem *problem)
{
	struct listener *listener = context;

	listener->told++;
	snprintf(listener->last, sizeof listener->last, "%s", problem->text);
}

static void
tells_the_first_of_a_kind_and_counts_the_rest(void **state)
{
	struct checker *checker = calloc(1, sizeof *checker);
	struct finding finding = { .class_ = COP_PROBLEM_LEAK };
	struct listener listener = { 0 };

	(void)state;
	assert_non_null(checker);
	checker->options.problem = listen;
	checker->options.context = &listener;
	for (int i = 0; i < 5000; i++)
		report__problem(checker, &finding, "problem %d", i);
	report__text(checker, &finding, "another kind");
	assert_int_equal(listener.told, REPORTS_OF_A_KIND_MAX + 1);
	assert_string_equal(listener.last, "another kind");
	assert_int_equal(checker->result.problems, 5001);
	report__finish(checker);
	assert_int_equal(listener.told, REPORTS_OF_A_KIND_MAX + 2);
	assert_string_equal(listener.last, "4000 more like this one: problem 1000");
	free(checker);
}

static void
has_room_for_any_number_of_kinds(void **state)
{
	static char texts[2 * PROBLEM_KINDS_MAX][16];
	struct checker *checker = calloc(1, sizeof *checker);
	struct finding finding = { .class_ = COP_PROBLEM_STRUCTURE };
	struct listener listener = { 0 };

	(void)state;
	assert_non_null(checker);
	checker->options.problem = listen;
	checker->options.context = &listener;
	for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
		snprintf(texts[i], sizeof texts[i], "kind %zu", i);
		report__text(checker, &finding, texts[i]);
	}
	assert_int_equal(listener.told, ARRAY_COUNT(texts));
	report__finish(checker);
	assert_int_equal(listener.told, ARRAY_COUNT(texts));
	free(checker);
}

/* ---- Progress ---- */

struct meter {
	struct cop_check_progress last;
	uint64_t calls;
	uint64_t stop_at; /* the call that says stop, 0: none does */
	bool fell;
};

static bool
measure(void *context, const struct cop_check_progress *progress)
{
	struct meter *meter = context;

	meter->fell = meter->fell || progress->done_bytes < meter->last.done_bytes ||
		      (meter->calls > 0 && progress->total_bytes != meter->last.total_bytes);
	meter->last = *progress;
	return ++meter->calls != meter->stop_at;
}

static int
check_with(struct world *w, struct meter *meter, uint32_t flags, size_t window_ags)
{
	struct cop_check_options options = COP_INIT(options);
	struct cop_check_result result = COP_INIT(result);
	struct check_limits limits = {
		.cache_bytes = 3 << 20,
		.window_ags = window_ags,
		.window_ids = 50,
		.ancestor_ids = 1000,
		.data_in_flight = 16,
		.data_request_blocks = EXTENT_BLOCKS_MAX,
		.data_blocks = 100,
	};
	struct device *dev;
	int err;

	must(sim_open(w->medium, DEVICE_READ_ONLY, &dev));
	options.flags = flags;
	options.progress = measure;
	options.context = meter;
	err = check__on(dev, &options, window_ags ? &limits : NULL, &result);
	device_close(dev);
	return err;
}

static void
progress_rises_to_the_whole(void **state)
{
	struct world *w = world_open();

	(void)state;
	world_close(w);
	for (uint32_t flags = 0; flags < 2; flags++) {
		for (size_t ags = 0; ags < 4; ags++) {
			struct meter meter = { 0 };

			must(check_with(w, &meter, flags, ags));
			assert_false(meter.fell);
			assert_true(meter.last.total_bytes > 0);
			assert_int_equal(meter.last.done_bytes, meter.last.total_bytes);
		}
	}
	world_free(w);
}

/* At any of its calls. */
static void
progress_can_stop_the_check(void **state)
{
	struct world *w = world_open();
	struct meter whole = { 0 };

	(void)state;
	world_close(w);
	must(check_with(w, &whole, 0, 2));
	assert_true(whole.calls > 100);
	for (uint64_t at = 1; at <= whole.calls; at += 1 + at / 8) {
		struct meter meter = { .stop_at = at };

		assert_int_equal(check_with(w, &meter, 0, 2), COP_EINTR);
		assert_int_equal(meter.calls, at);
	}
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_the_first_of_a_kind_and_counts_the_rest),
		cmocka_unit_test(has_room_for_any_number_of_kinds),
		cmocka_unit_test(progress_rises_to_the_whole),
		cmocka_unit_test(progress_can_stop_the_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
