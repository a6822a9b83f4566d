#include "support/enumerate.h"

#include "base/checksum.h"
#include "base/random.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct answer {
	uint32_t value;
	uint32_t alternatives;
};

struct enumerate_run {
	/* Set for each run. */
	struct sim_medium *medium;
	struct hashset *seen;
	uint32_t given; /* answers that this run begins with */
	uint32_t count; /* answers so far */
	bool settled;
	bool is_new;
	bool at_random; /* what is not given is drawn, not 0 */
	struct rng rng;
	char blame[1024];
	char text[ENUMERATE_TEXT_BYTES];

	struct answer answer[ENUMERATE_SCRIPT_MAX];
};

static uint32_t
choose(void *context, uint32_t alternatives, uint64_t sector)
{
	struct enumerate_run *run = context;
	struct answer *answer;

	if (run->settled || run->count == ENUMERATE_SCRIPT_MAX)
		return (uint32_t)(hash64(&sector, sizeof sector, 0) % alternatives);
	answer = &run->answer[run->count];
	if (run->count >= run->given)
		answer->value = run->at_random ? (uint32_t)rng_below(&run->rng, alternatives) : 0;
	else if (answer->value >= alternatives)
		answer->value = alternatives - 1; /* a script of another medium */
	answer->alternatives = alternatives;
	run->count++;
	return answer->value;
}

bool
enumerate_settle(struct enumerate_run *run)
{
	if (!run->settled) {
		run->settled = true;
		run->is_new = hashset_add(run->seen, sim_read_hash(run->medium));
	}
	return run->is_new;
}

void
enumerate_blame(struct enumerate_run *run, const char *format, ...)
{
	va_list arguments;

	if (run->blame[0])
		return;
	va_start(arguments, format);
	vsnprintf(run->blame, sizeof run->blame, format, arguments);
	va_end(arguments);
}

const char *
enumerate_script(struct enumerate_run *run)
{
	size_t used = 0;

	if (run->count == 0)
		return "-";
	for (uint32_t i = 0; i < run->count && used + 16 < sizeof run->text; i++)
		used += (size_t)snprintf(run->text + used, sizeof run->text - used, "%s%" PRIu32,
			i == 0 ? "" : ".", run->answer[i].value);
	return run->text;
}

/* The next script in depth-first order; false when this was the last. */
static bool
advance(struct enumerate_run *run)
{
	while (run->count > 0) {
		struct answer *last = &run->answer[run->count - 1];

		if (last->value + 1 < last->alternatives) {
			last->value++;
			run->given = run->count;
			return true;
		}
		run->count--;
	}
	return false;
}

static int
run_once(struct sim_medium *medium, const struct enumerate_options *options,
	struct enumerate_run *run, struct enumerate_result *result)
{
	bool sound;
	int err = sim_clone(medium, &run->medium);

	if (err)
		return err;
	run->count = 0;
	run->settled = false;
	run->is_new = false;
	run->blame[0] = 0;
	if (!options->keeps_power) {
		sim_power_off(run->medium);
		sim_power_on(run->medium, choose, run);
	}
	sound = options->judge(options->context, run->medium, run);
	result->runs++;
	result->distinct += enumerate_settle(run);
	if (!sound) {
		result->violations++;
		if (options->violation)
			options->violation(options->context, enumerate_script(run), run->blame);
	}
	sim_free(run->medium);
	return 0;
}

static int
run_create(const struct enumerate_options *options, struct enumerate_run **out_run)
{
	struct enumerate_run *run = calloc(1, sizeof *run);

	if (!run)
		return fail(COP_ENOMEM, "enumerator");
	run->seen = options->seen;
	*out_run = run;
	return 0;
}

int
enumerate_states(struct sim_medium *medium, const struct enumerate_options *options,
	struct enumerate_result *out_result)
{
	struct enumerate_run *run = NULL;
	struct enumerate_result result = { .complete = true };
	int err = run_create(options, &run);

	if (err)
		return err;
	do {
		if (result.runs == options->runs_max) {
			result.complete = false;
			break;
		}
		err = run_once(medium, options, run, &result);
	} while (!err && advance(run));

	if (!result.complete) {
		rng_seed(&run->rng, options->seed);
		run->at_random = true;
		run->given = 0;
		for (uint64_t i = 0; !err && i < options->samples; i++)
			err = run_once(medium, options, run, &result);
	}
	free(run);
	if (err)
		return err;
	*out_result = result;
	return 0;
}

static int
parse_script(const char *script, struct enumerate_run *run)
{
	if (strcmp(script, "-") == 0)
		return 0;
	for (const char *at = script;; at++) {
		char *end;
		unsigned long value = strtoul(at, &end, 10);

		if (end == at || value > UINT16_MAX || run->given == ENUMERATE_SCRIPT_MAX)
			return fail(COP_EINVAL, "no script: %s", script);
		run->answer[run->given++].value = (uint32_t)value;
		at = end;
		if (*at == 0)
			return 0;
		if (*at != '.')
			return fail(COP_EINVAL, "no script: %s", script);
	}
}

int
enumerate_replay(struct sim_medium *medium, const struct enumerate_options *options,
	const char *script, struct enumerate_result *out_result)
{
	struct enumerate_run *run = NULL;
	struct enumerate_result result = { .complete = true };
	int err = run_create(options, &run);

	if (err)
		return err;
	err = parse_script(script, run);
	if (!err)
		err = run_once(medium, options, run, &result);
	free(run);
	if (err)
		return err;
	*out_result = result;
	return 0;
}
