/*
 * crash: workloads on a simulated disk, the power cut at every write, every state that recovery
 * could tell from another recovered and judged. See trial.h for what is judged, scenario.h for how
 * a violation is named, workload.h for what is done.
 *
 *   crash [--seconds N] [--states N] [--wraps N] [--seed S] [--jobs N] [--violations N]
 *         [--workload W] [--kind KIND] [--fault FAULT] [--late] [--replay 'SCENARIO']
 *
 * KIND is random, settled, laps, rounds, jobs, leaves or clones, and a FAULT strikes every
 * workload but pairs.
 *
 * It ends when that many seconds have passed, or when that many distinct states were seen and the
 * journals have gone round that often; having fallen short of it is an error. The last line is `N
 * distinct states, N violations`; exit status 1 with a violation.
 */

#include "crash/trial.h"

#include "base/num.h"
#include "crash/hit.h"

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	JOBS_MAX = 64,
	PLACES = 1 << 26, /* of the set of states: half a gigabyte of address space */
	RUNS_MAX = 300,
	SAMPLES = 100,
	PROBES_IN_1000 = 200,
	FAULT_CALLS = 400,  /* writes or changing calls among which a fault strikes */
	FAULT_FLUSHES = 40, /* flushes */
	CLOSE_FLUSHES = 2,  /* of a close */
	FAULT_BEHIND = 80,  /* and writes behind the journal */
	FAULT_BLOCKS = 2048,
	LATE_EVERY = 3, /* of random runs */
	USAGE = 2,
};

struct settings {
	uint64_t seconds; /* 0: no limit */
	uint64_t states;  /* 0: no limit */
	uint64_t wraps;   /* of journals, after which a limit of states ends it */
	uint64_t seed;
	uint64_t jobs;
	uint64_t violations_max;   /* ends after that many, 0: no limit */
	const char *kind;          /* only workloads of this kind */
	enum scenario_fault fault; /* in every random one */
	bool is_late;              /* only workloads whose writes go through pages */
	const char *workload;
	const char *replay;
};

/* Shared by all workers. */
struct shared {
	struct tally tally;
	atomic_uint_fast64_t next;   /* workload to run */
	atomic_uint_fast64_t failed; /* workers that could not go on */
};

struct worker {
	const struct settings *settings;
	struct shared *shared;
	struct hashset *seen;
	struct timespec began;
};

static double
seconds_since(const struct timespec *began)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - began->tv_sec) + (double)(now.tv_nsec - began->tv_nsec) / 1e9;
}

static bool
is_over(void *context)
{
	const struct worker *worker = context;
	const struct settings *settings = worker->settings;

	if (settings->seconds && seconds_since(&worker->began) >= (double)settings->seconds)
		return true;
	if (settings->states && hashset_count(worker->seen) >= settings->states &&
		atomic_load(&worker->shared->tally.wraps) >= settings->wraps)
		return true;
	if (settings->violations_max &&
		atomic_load(&worker->shared->tally.violations) >= settings->violations_max)
		return true;
	return hashset_is_full(worker->seen);
}

/* One write for each report, so that those of several workers do not mix. */
static void
print_violation(void *context, const struct scenario *scenario, const char *text)
{
	char *line = malloc(SCENARIO_TEXT_BYTES + 2048);
	char *out = malloc(SCENARIO_TEXT_BYTES);

	(void)context;
	if (!line || !out)
		abort();
	scenario_print(scenario, out);
	snprintf(line, SCENARIO_TEXT_BYTES + 2048, "violation: %s\n  crash --replay '%s'\n", text,
		out);
	fputs(line, stdout);
	fflush(stdout);
	free(line);
	free(out);
}

static bool
is_random(const char *workload)
{
	return strncmp(workload, "random.", 7) == 0 || strncmp(workload, "settled.", 8) == 0;
}

/* A write lost or misdirected, a call that fails, or the power gone in the middle of one: in most
 * random workloads, in no pair, in some of all others. */
static enum scenario_fault
draw_fault(const struct settings *settings, const char *kind, const char *workload, struct rng *rng)
{
	static const enum scenario_fault faults[] = { FAULT_NONE, FAULT_NONE, FAULT_LOSE,
		FAULT_LOSE, FAULT_LOSE, FAULT_MISDIRECT, FAULT_POWER, FAULT_FAIL_WRITE,
		FAULT_FAIL_FLUSH, FAULT_FAIL_CLOSE };
	enum scenario_fault fault = faults[rng_below(rng, ARRAY_COUNT(faults))];

	if (strncmp(workload, "pair.", 5) == 0)
		return FAULT_NONE;
	if (settings->fault)
		return settings->fault;
	return is_random(workload) || (!kind && rng_below(rng, 2)) ? fault : FAULT_NONE;
}

static uint64_t
draw_fault_call(enum scenario_fault fault, struct rng *rng)
{
	switch (fault) {
	case FAULT_FAIL_FLUSH:
		return 1 + rng_below(rng, FAULT_FLUSHES);
	case FAULT_FAIL_CLOSE:
		return 1 + rng_below(rng, CLOSE_FLUSHES);
	default:
		return 1 + rng_below(rng, FAULT_CALLS);
	}
}

static void
plan_fault(const struct settings *settings, const char *kind, uint64_t number,
	struct scenario *scenario)
{
	struct rng rng;

	rng_seed(&rng, settings->seed ^ number);
	scenario->fault = draw_fault(settings, kind, scenario->workload, &rng);
	if (is_random(scenario->workload) && number % LATE_EVERY == LATE_EVERY - 1)
		scenario->is_late = true;
	if (scenario->fault == FAULT_NONE)
		return;
	scenario->fault_call = draw_fault_call(scenario->fault, &rng);
	scenario->fault_addr = rng_below(&rng, FAULT_BLOCKS);
	/* Most writes are the journal's: every other lost one is none of them. */
	if (scenario->fault == FAULT_LOSE && (kind || rng_below(&rng, 2))) {
		scenario->fault_call = 1 + rng_below(&rng, FAULT_BEHIND);
		scenario->fault_addr = hit_behind_journal();
	} else if (scenario->fault == FAULT_LOSE) {
		scenario->fault_addr = 0;
	}
}

static void
plan(const struct settings *settings, const char *kind, uint64_t number,
	struct scenario *out_scenario)
{
	struct scenario *scenario = out_scenario;

	memset(scenario, 0, sizeof *scenario);
	scenario->seed = settings->seed;
	scenario->is_late = settings->is_late;
	if (settings->workload) {
		snprintf(scenario->workload, sizeof scenario->workload, "%s", settings->workload);
		return;
	}
	if (kind)
		snprintf(
			scenario->workload, sizeof scenario->workload, "%s.%" PRIu64, kind, number);
	else
		workload_name(
			number, settings->seed, scenario->workload, sizeof scenario->workload);
	plan_fault(settings, kind, number, scenario);
}

static struct trial_options
trial_options_of(struct worker *worker, struct trial_base *base)
{
	return (struct trial_options){
		.base = base,
		.memory = trial_base_memory(base),
		.seen = worker->seen,
		.tally = &worker->shared->tally,
		.runs_max = RUNS_MAX,
		.samples = SAMPLES,
		.probes_in_1000 = PROBES_IN_1000,
		.is_over = is_over,
		.violation = print_violation,
		.context = worker,
	};
}

/* The volume that all begin on is sound, also in a build with a planted bug. */
static int
make_base(struct trial_base **out_base)
{
	const char *planted = getenv("COP_PLANT");
	char *kept = planted ? strdup(planted) : NULL;
	int err;

	unsetenv("COP_PLANT");
	err = trial_base_create(out_base);
	if (kept && setenv("COP_PLANT", kept, 1) != 0 && !err)
		err = fail_errno(errno, "COP_PLANT");
	free(kept);
	return err;
}

/* Of which kind the next workload is to be; NULL: any. Once there are states enough, the journal
 * only has to go round. */
static const char *
kind_of_next(const struct worker *worker)
{
	const struct settings *settings = worker->settings;

	if (!settings->kind && settings->states && hashset_count(worker->seen) >= settings->states)
		return "rounds";
	return settings->kind;
}

static int
work(struct worker *worker)
{
	struct trial_base *base = NULL;
	struct scenario *scenario = calloc(1, sizeof *scenario);
	int err = scenario ? make_base(&base) : fail(COP_ENOMEM, "scenario");

	while (!err && !is_over(worker)) {
		struct trial_options options = trial_options_of(worker, base);
		uint64_t number = atomic_fetch_add(&worker->shared->next, 1);

		if (worker->settings->workload && number > 0)
			break;
		plan(worker->settings, kind_of_next(worker), number, scenario);
		err = trial_run(&options, scenario, false);
		if (err)
			fprintf(stderr, "crash: %s\n", scenario->workload);
		atomic_fetch_add(&worker->shared->tally.workloads, 1);
	}
	if (err) {
		fprintf(stderr, "crash: %s\n", cop_error_text());
		atomic_fetch_add(&worker->shared->failed, 1);
	}
	trial_base_free(base);
	free(scenario);
	return err;
}

static void
work_in_processes(struct worker *worker, uint64_t jobs)
{
	for (uint64_t i = 0; i < jobs; i++) {
		pid_t child = fork();

		if (child == 0)
			exit(work(worker) ? EXIT_FAILURE : EXIT_SUCCESS);
		if (child < 0)
			atomic_fetch_add(&worker->shared->failed, 1);
	}
	for (;;) {
		int status = 0;

		if (wait(&status) < 0)
			return;
		if (WIFSIGNALED(status)) {
			printf("violation: a worker died of signal %d\n", WTERMSIG(status));
			atomic_fetch_add(&worker->shared->tally.violations, 1);
		}
	}
}

static int
replay(struct worker *worker)
{
	struct trial_base *base = NULL;
	struct scenario *scenario = calloc(1, sizeof *scenario);
	int err = scenario ? scenario_parse(worker->settings->replay, scenario)
			   : fail(COP_ENOMEM, "scenario");

	if (!err)
		err = make_base(&base);
	if (!err) {
		struct trial_options options = trial_options_of(worker, base);

		err = trial_run(&options, scenario, true);
	}
	if (err) {
		fprintf(stderr, "crash: %s\n", cop_error_text());
		atomic_fetch_add(&worker->shared->failed, 1);
	}
	trial_base_free(base);
	free(scenario);
	return err;
}

static void
print_figures(const struct worker *worker)
{
	struct tally *tally = &worker->shared->tally;
	double seconds = seconds_since(&worker->began);

	printf("seed %" PRIu64 ": %" PRIu64 " workloads, %" PRIu64 " cuts, %" PRIu64
	       " cuts in recovery, %" PRIu64 " with a fault on top, %" PRIu64
	       " recoveries in %.1f s (%.0f/s), %" PRIu64 " cuts sampled, %" PRIu64
	       " journal wraps, %" PRIu64 " recoveries with a loss\n",
		worker->settings->seed, (uint64_t)tally->workloads, (uint64_t)tally->cuts,
		(uint64_t)tally->second_cuts, (uint64_t)tally->probes, (uint64_t)tally->runs,
		seconds, (double)tally->runs / seconds, (uint64_t)tally->incomplete,
		(uint64_t)tally->wraps, (uint64_t)tally->losses);
	printf("%" PRIu64 " distinct states, %" PRIu64 " violations\n", hashset_count(worker->seen),
		(uint64_t)tally->violations);
}

static bool
parse_number(const char *text, uint64_t *out_number)
{
	char *end;

	*out_number = strtoull(text, &end, 10);
	return *text && !*end;
}

static bool
is_workload(const char *name)
{
	struct workload *workload;

	if (workload_create(name, 0, &workload) != 0)
		return false;
	workload_free(workload);
	return true;
}

static bool
parse_options(int argc, char **argv, struct settings *settings)
{
	static const struct option known[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "states", required_argument, NULL, 'n' },
		{ "wraps", required_argument, NULL, 'a' },
		{ "seed", required_argument, NULL, 'r' },
		{ "jobs", required_argument, NULL, 'j' },
		{ "violations", required_argument, NULL, 'v' },
		{ "kind", required_argument, NULL, 'k' },
		{ "fault", required_argument, NULL, 'f' },
		{ "late", no_argument, NULL, 'b' },
		{ "workload", required_argument, NULL, 'w' },
		{ "replay", required_argument, NULL, 'p' },
		{ NULL, 0, NULL, 0 },
	};
	char name[64];
	bool good = true;

	for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
		switch (option) {
		case 's':
			good = good && parse_number(optarg, &settings->seconds);
			break;
		case 'n':
			good = good && parse_number(optarg, &settings->states);
			break;
		case 'a':
			good = good && parse_number(optarg, &settings->wraps);
			break;
		case 'r':
			good = good && parse_number(optarg, &settings->seed);
			break;
		case 'j':
			good = good && parse_number(optarg, &settings->jobs);
			break;
		case 'v':
			good = good && parse_number(optarg, &settings->violations_max);
			break;
		case 'k':
			settings->kind = optarg;
			(void)snprintf(name, sizeof name, "%s.0", optarg);
			good = good && is_workload(name);
			break;
		case 'f':
			good = good && scenario_fault_of(optarg, &settings->fault);
			break;
		case 'b':
			settings->is_late = true;
			break;
		case 'w':
			settings->workload = optarg;
			good = good && is_workload(optarg);
			break;
		case 'p':
			settings->replay = optarg;
			break;
		default:
			return false;
		}
	}
	return good && optind == argc && settings->jobs <= JOBS_MAX;
}

int
main(int argc, char **argv)
{
	struct settings settings = { .seed = 1, .jobs = 1 };
	struct worker worker = { .settings = &settings };

	if (!parse_options(argc, argv, &settings)) {
		fputs("usage: crash [--seconds N] [--states N] [--wraps N] [--seed S] [--jobs N]\n"
		      "             [--violations N] [--workload W] [--kind KIND] [--fault FAULT]\n"
		      "             [--late] [--replay SCENARIO]\n",
			stderr);
		return USAGE;
	}
	if (!settings.seconds && !settings.states && !settings.workload)
		settings.seconds = 10;
	/* Volumes are opened by the thousand: memory is not given back to the host in between. */
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	mallopt(M_TOP_PAD, 16 << 20);
	clock_gettime(CLOCK_MONOTONIC, &worker.began);
	worker.shared = mmap(NULL, sizeof *worker.shared, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (worker.shared == MAP_FAILED || hashset_create(PLACES, &worker.seen) != 0) {
		fputs("crash: out of memory\n", stderr);
		return EXIT_FAILURE;
	}
	if (settings.replay)
		(void)replay(&worker); /* what went wrong is counted in `failed` */
	else if (settings.jobs <= 1)
		(void)work(&worker); /* likewise */
	else
		work_in_processes(&worker, settings.jobs);
	print_figures(&worker);
	if (worker.shared->tally.wraps < settings.wraps) {
		fprintf(stderr, "crash: the journals were to wrap %" PRIu64 " times\n",
			settings.wraps);
		return EXIT_FAILURE;
	}
	return worker.shared->tally.violations || worker.shared->failed ? EXIT_FAILURE
									: EXIT_SUCCESS;
}
