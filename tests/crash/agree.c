/*
 * agree: volume and oracle side by side, without a crash: hundreds of operations, each with the
 * same answer, and the same contents after every few and after opening the volume again.
 *
 *   agree [--seconds N] [--traces N] [--seed S] [--only TRACE]
 *
 * The last line is `N traces, N violations`; exit status 1 with a violation.
 */

#include "crash/draw.h"
#include "support/must.h"
#include "support/world.h"

#include <getopt.h>
#include <malloc.h>
#include <time.h>

enum {
	SEED_FORMAT = 51,
	STEP_NS = 1000 * 1000 * 1000,
	OPS = 300,
	LOOK_EVERY = 20,   /* operations between two comparisons */
	REOPEN_EVERY = 90, /* operations between two openings */
	WHY_BYTES = 1024,
	USAGE = 2,
};

struct trace {
	struct sim_medium *medium;
	struct world world;
	struct op_runner runner;
	struct oracle *model;
	struct rng rng;
	uint64_t number;
	uint64_t openings;
	bool tells; /* prints every operation */
};

static bool
disagree(const struct trace *trace, int ops, const char *what)
{
	printf("violation: trace %" PRIu64 ", operation %d: %s\n", trace->number, ops, what);
	return false;
}

static bool
open_trace(struct trace *trace, int ops)
{
	struct world_options options = { .seed = SEED_FORMAT + ++trace->openings,
		.now_ns = trace->world.now_ns + STEP_NS };

	if (world_open(&trace->world, trace->medium, &options) != 0 ||
		op_runner_init(&trace->runner, trace->world.volume) != 0)
		return disagree(trace, ops, cop_error_text());
	return true;
}

static bool
looks_right(struct trace *trace, int ops)
{
	struct snapshot *found = NULL;
	char why[WHY_BYTES];
	bool right;

	if (snapshot_of_volume(trace->world.volume, &found) != 0)
		return disagree(trace, ops, cop_error_text());
	right = snapshot_matches(found, oracle_snapshot(trace->model), 0, why, sizeof why);
	snapshot_free(found);
	return right || disagree(trace, ops, why);
}

static bool
reopen(struct trace *trace, int ops)
{
	struct world_check check;

	op_runner_fini(&trace->runner);
	oracle_forget_held(trace->model);
	if (world_close(&trace->world) != 0 || world_check(trace->medium, &check) != 0)
		return disagree(trace, ops, cop_error_text());
	for (int class = 0; class < WORLD_CLASSES; class ++)
		if (check.first[class][0])
			return disagree(trace, ops, check.first[class]);
	return open_trace(trace, ops) && looks_right(trace, ops);
}

static bool
run_one(struct trace *trace, int ops)
{
	char text[WHY_BYTES];
	char line[WHY_BYTES / 2];
	struct op op;
	uint64_t id;
	int got;
	int wanted;

	draw_any_op(&trace->rng, trace->model, &op);
	op_print(&op, line, sizeof line);
	if (trace->tells)
		printf("%d: %s\n", ops, line);
	trace->world.now_ns += STEP_NS;
	got = op_run(&trace->runner, &op, &id);
	if (got == COP_ENOSPC && op.type != OP_UNLINK && op.type != OP_SYNC)
		return true;
	wanted = oracle_apply(trace->model, &op, trace->world.now_ns);
	if (id)
		oracle_learn_id(trace->model, op.path, id);
	if (got == wanted)
		return true;
	snprintf(text, sizeof text, "%s: the answer is %s, not %s", line,
		got ? cop_error_text() : "0", wanted ? cop_error_name(wanted) : "0");
	return disagree(trace, ops, text);
}

static bool
run_trace(struct trace *trace)
{
	struct snapshot *empty = NULL;
	bool right;

	if (sim_create(WORLD_BYTES, SEED_FORMAT, &trace->medium) != 0 ||
		world_format(trace->medium, SEED_FORMAT) != 0 || !open_trace(trace, 0) ||
		snapshot_of_volume(trace->world.volume, &empty) != 0)
		return disagree(trace, 0, cop_error_text());
	trace->model = oracle_create(&empty->entries[0]);
	snapshot_free(empty);
	right = looks_right(trace, 0);
	for (int ops = 1; right && ops <= OPS; ops++) {
		right = run_one(trace, ops);
		if (right && (ops % LOOK_EVERY == 0 || trace->tells))
			right = looks_right(trace, ops);
		if (right && ops % REOPEN_EVERY == 0)
			right = reopen(trace, ops);
	}
	return right;
}

static bool
try_trace(uint64_t seed, uint64_t number, bool tells)
{
	struct trace trace = { .number = number, .tells = tells };
	bool right;

	rng_seed(&trace.rng, seed * UINT64_C(1000003) + number);
	right = run_trace(&trace);
	op_runner_fini(&trace.runner);
	if (trace.world.volume)
		world_abandon(&trace.world);
	oracle_free(trace.model);
	sim_free(trace.medium);
	return right;
}

int
main(int argc, char **argv)
{
	static const struct option known[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "traces", required_argument, NULL, 'n' },
		{ "seed", required_argument, NULL, 'r' },
		{ "only", required_argument, NULL, 'o' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t seconds = 10;
	uint64_t traces = UINT64_MAX;
	uint64_t seed = 1;
	uint64_t only = UINT64_MAX;
	uint64_t number = 0;
	uint64_t violations = 0;
	time_t began = time(NULL);

	for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
		uint64_t value = optarg ? strtoull(optarg, NULL, 10) : 0;

		if (option == 's')
			seconds = value;
		else if (option == 'n')
			traces = value;
		else if (option == 'r')
			seed = value;
		else if (option == 'o')
			only = value;
		else
			return USAGE;
	}
	/* Volumes are opened by the thousand: memory is not given back to the host in between. */
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (only != UINT64_MAX)
		return try_trace(seed, only, true) ? EXIT_SUCCESS : EXIT_FAILURE;
	for (; number < traces && (uint64_t)(time(NULL) - began) < seconds; number++)
		violations += !try_trace(seed, number, false);
	printf("seed %" PRIu64 ", %d operations each\n", seed, OPS);
	printf("%" PRIu64 " traces, %" PRIu64 " violations\n", number, violations);
	return violations ? EXIT_FAILURE : EXIT_SUCCESS;
}
