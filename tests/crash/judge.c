#include "crash/judge.h"

#include "base/num.h"
#include "coppice.h"
#include "crash/draw.h"
#include "crash/late.h"
#include "crash/recall.h"
#include "object/open.h"
#include "support/enumerate.h"
#include "support/must.h"
#include "support/world.h"
#include "volume/volume.h"

#include <stdio.h>

enum {
	STEP_NS = 1000 * 1000 * 1000, /* the clock between two operations */
	FOLLOW_UPS = 20,
	FOLLOWED_FIRST = 4,
	FOLLOWED_EVERY = 16,
	DEEPER_PART = 10, /* of the budget of a cut, for one that is deeper */
	THIRD_ONE_IN = 4, /* second cuts */
};

/* Of the openings of one medium, which must differ: by the depth of the cut before. */
enum { SEED_RECOVERY = 23, SEED_ACCEPTING = 40 };

enum { SALT_CHECK = 1, LATEST = 4 };

struct judge_memory {
	struct recall *checks; /* owned; struct world_check */
	struct recall *sights; /* owned; struct snapshot: what the opened volume shows */

	/* Most runs show what another has shown: one snapshot for them. */
	struct snapshot *latest[LATEST]; /* owned, or NULL */
	size_t next;
};

enum second_place { IN_RECOVERY, AFTER_RECOVERY, SECOND_PLACES };

/* A cut of recovery or of what came after it. */
struct second_cut {
	struct sim_medium *medium; /* owned */
	uint64_t call;
	size_t first;
	size_t last;
};

/* All states of one cut. */
struct judging {
	const struct judgement *what;
	uint64_t new_states;      /* found by recovery so far */
	struct snapshot *matched; /* owned: what was found to be right last, or NULL */

	/* Of the state at hand. */
	struct snapshot *expected; /* owned: what an earlier run saw that read the same, or NULL */
	struct history after;      /* what was recovered, and what came after it */
	size_t recovered;          /* its number in `after`: after a kill others may come before */
	size_t promised;           /* state of it that a sync has made durable */
	bool has_flushed; /* the opening for writing has made durable what it is going to read */
	uint64_t calls;   /* since then */
	bool is_opening;
	uint64_t calls_of[SECOND_PLACES];
	struct second_cut second[SECOND_PLACES];
	struct rng second_rng; /* which of them are cut */
	struct rng rng;        /* what is done after recovery: the same in a replay */
};

static bool judge(void *context, struct sim_medium *medium, struct enumerate_run *run);

/* ---- What earlier runs have found ------------------------------------------------------------ */

static void
release_snapshot(void *found)
{
	snapshot_free(found);
}

struct judge_memory *
judge_memory_create(const struct journal_region *region)
{
	struct judge_memory *memory = must_alloc(sizeof *memory);

	memory->checks = recall_create(region, free);
	memory->sights = recall_create(region, release_snapshot);
	return memory;
}

void
judge_memory_free(struct judge_memory *memory)
{
	if (!memory)
		return;
	recall_free(memory->checks);
	recall_free(memory->sights);
	for (size_t i = 0; i < LATEST; i++)
		snapshot_free(memory->latest[i]);
	free(memory);
}

/* Takes a snapshot; returns one that shows the same. */
static struct snapshot *
share(struct judge_memory *memory, struct snapshot *snapshot)
{
	char why[256];

	for (size_t i = 0; i < LATEST; i++) {
		struct snapshot *latest = memory->latest[i];

		if (!latest || latest->unreadable ||
			!snapshot_matches(snapshot, latest, 0, why, sizeof why))
			continue;
		snapshot_free(snapshot);
		return snapshot_ref(latest);
	}
	snapshot_free(memory->latest[memory->next]);
	memory->latest[memory->next] = snapshot_ref(snapshot);
	memory->next = (memory->next + 1) % LATEST;
	return snapshot;
}

/* A replay makes every run. What was written before a kill can be lost by more than reads tell. */
static bool
remembers(const struct judging *judging)
{
	return !judging->what->is_replay && !judging->what->keeps_power;
}

/* ---- One state ------------------------------------------------------------------------------- */

static bool
may_be_found(struct judging *judging, const struct world_check *check, struct enumerate_run *run,
	const char *when, uint32_t allowed_classes)
{
	uint32_t classes = check->classes;

	if (!judging->what->is_fallback)
		classes |= check->previous_classes;
	classes &= ~(allowed_classes | judging->what->allowed_classes);
	if (classes == 0)
		return true;
	enumerate_blame(run, "%s, check finds %" PRIu64 " problems: %s", when, check->problems,
		check->first[__builtin_ctz(classes)]);
	return false;
}

static bool
check_medium(struct judging *judging, struct sim_medium *medium, struct enumerate_run *run,
	const char *when, uint32_t allowed_classes)
{
	struct world_check check;

	if (world_check(medium, &check) == 0)
		return may_be_found(judging, &check, run, when, allowed_classes);
	enumerate_blame(run, "%s, check: %s", when, cop_error_text());
	return false;
}

/* Has damage cost something that the journal would have changed? */
static void
count_loss(const struct judging *judging, struct world *world)
{
	if (volume_stats(open_volume_below(world->volume)).left_out_messages > 0)
		atomic_fetch_add(&judging->what->options->tally->losses, 1);
}

static bool
check_crashed(struct judging *judging, struct sim_medium *medium, struct enumerate_run *run)
{
	static const char when[] = "after the crash";
	struct recall *checks = judging->what->options->memory->checks;
	const struct world_check *known;
	struct world_check *check;

	if (!remembers(judging))
		return check_medium(judging, medium, run, when, JUDGE_CRASH);
	known = recall_find(checks, medium, SALT_CHECK);
	if (known)
		return may_be_found(judging, known, run, when, JUDGE_CRASH);
	check = must_alloc(sizeof *check);
	recall_listen(checks, medium, SALT_CHECK);
	if (world_check(medium, check) == 0) {
		bool sound = may_be_found(judging, check, run, when, JUDGE_CRASH);

		recall_keep(checks, medium, check);
		return sound;
	}
	recall_drop(checks, medium);
	free(check);
	enumerate_blame(run, "%s, check: %s", when, cop_error_text());
	return false;
}

/* The model as it was found, after operation `first` or a later one, and which that was; NULL:
 * after none of them. */
static struct oracle *
match_state(struct judging *judging, size_t first, const struct snapshot *found,
	struct enumerate_run *run, size_t *out_state)
{
	const struct judgement *what = judging->what;
	struct oracle *model = NULL;
	char newest[256] = "";
	char why[256] = "";

	for (size_t state = what->last + 1; state-- > first;) {
		*out_state = state;
		if (what->is_late &&
			late_matches(what->history, first, state, found, what->allow, &model))
			return model;
		if (snapshot_matches(found, oracle_snapshot(what->history->models[state]),
			    what->allow, why, sizeof why))
			return oracle_copy(what->history->models[state]);
		if (state == judging->what->last)
			snprintf(newest, sizeof newest, "%s", why);
	}
	enumerate_blame(run, "no state from %zu to %zu: %s; and %s", first, judging->what->last,
		why, newest);
	return NULL;
}

/*
 * Keeps one of the changing calls of the recovery, and one of those after it, each with the same
 * chance.
 */
static void
before_second_call(void *context, struct sim_medium *medium, uint64_t call)
{
	struct judging *judging = context;
	const struct judgement *what = judging->what;
	enum second_place place = judging->is_opening ? IN_RECOVERY : AFTER_RECOVERY;
	struct second_cut *cut;

	/* Before that nothing was read that decides what is recovered. */
	if (!judging->has_flushed) {
		judging->has_flushed = true;
		return;
	}
	judging->calls++;
	judging->calls_of[place]++;
	if (what->is_replay) {
		if (judging->calls != what->scenario->again[what->depth].cut)
			return;
	} else if (rng_below(&judging->second_rng, judging->calls_of[place]) > 0) {
		return;
	}
	(void)call;
	cut = &judging->second[place];
	sim_free(cut->medium);
	*cut = (struct second_cut){ .call = judging->calls };
	cut->last = judging->after.count;
	cut->first = judging->promised;
	if (sim_clone(medium, &cut->medium) != 0)
		must_have(NULL);
}

static uint32_t
tolerance_of(const struct judging *judging)
{
	return (judging->what->allow ? TOLERATE_DAMAGE : 0) |
	       (judging->what->hits_allocation ? TOLERATE_FULL : 0);
}

/* Twenty more operations, a sync and a settle, each with the answer that the model gives. */
static bool
go_on(struct judging *judging, struct world *world, struct enumerate_run *run)
{
	struct history *after = &judging->after;
	struct op_runner runner;
	struct op op;
	char text[ANSWER_TEXT_BYTES];
	enum answer_kind answer;
	bool sound = op_runner_init(&runner, world->volume) == 0;

	if (!sound)
		enumerate_blame(run, "after recovery: %s", cop_error_text());
	for (int i = 0; sound && i < FOLLOW_UPS + 2; i++) {
		struct oracle *model = oracle_copy(history_newest(after));

		draw_any_op(&judging->rng, model, &op);
		if (i == 0 && (judging->what->keeps_power || rng_below(&judging->rng, 2)))
			op = (struct op){ .type = OP_SYNC };
		if (i >= FOLLOW_UPS)
			op = (struct op){ .type = i == FOLLOW_UPS ? OP_SYNC : OP_SETTLE };
		world->now_ns += STEP_NS;
		if (judging->what->is_replay)
			history_tell(after, "after recovery", &op);
		answer = history_run(
			after, model, &runner, &op, world->now_ns, tolerance_of(judging), text);
		sound = answer != ANSWER_WRONG;
		if (!sound)
			enumerate_blame(run, "after recovery: %s", text);
		else if (answer == ANSWER_RIGHT &&
			 history_is_promised(after, judging->what->is_late))
			judging->promised = after->count - 1;
	}
	op_runner_fini(&runner);
	return sound;
}

static bool
ends_well(struct judging *judging, struct world *world, struct sim_medium *medium,
	struct enumerate_run *run)
{
	char why[256];
	struct snapshot *found = NULL;
	bool sound = snapshot_of_volume(world->volume, &found) == 0;

	if (!sound) {
		enumerate_blame(run, "after twenty more: %s", cop_error_text());
	} else {
		struct oracle *wanted = oracle_copy(history_newest(&judging->after));

		oracle_forget_held(wanted);
		sound = snapshot_matches(
			found, oracle_snapshot(wanted), judging->what->allow, why, sizeof why);
		oracle_free(wanted);
		if (!sound)
			enumerate_blame(run, "after twenty more: %s", why);
	}
	snapshot_free(found);
	if (world_close(world) != 0 && sound && tolerance_of(judging) == 0) {
		enumerate_blame(run, "closing after twenty more: %s", cop_error_text());
		sound = false;
	}
	return sound && check_medium(judging, medium, run, "after twenty more", 0);
}

static void
count_violation(const struct judgement *what, const char *text)
{
	what->options->violation(what->options->context, what->scenario, text);
	atomic_fetch_add(&what->options->tally->violations, 1);
}

static void
report_second(void *context, const char *script, const char *text)
{
	const struct judging *judging = context;
	struct scenario *scenario = judging->what->scenario;

	snprintf(scenario->again[judging->what->depth - 1].script, ENUMERATE_TEXT_BYTES, "%s",
		script);
	count_violation(judging->what, text);
}

/* Cuts the power of recovery itself, and judges those states by what recovery had found. */
static void
judge_second_cut(struct judging *first, const struct second_cut *cut, struct enumerate_run *run)
{
	const struct trial_options *trial = first->what->options;
	struct scenario *scenario = first->what->scenario;
	struct judgement what = *first->what;
	struct judging second = { .what = &what };
	struct enumerate_result result = { 0 };
	const uint64_t part = what.depth == 0 ? DEEPER_PART : DEEPER_PART * DEEPER_PART;
	struct enumerate_options options = {
		.runs_max = trial->runs_max / part,
		.samples = trial->samples / part,
		.seed = cut->call,
		.seen = trial->seen,
		.judge = judge,
		.violation = report_second,
		.context = &second,
	};
	char given[ENUMERATE_TEXT_BYTES];
	int err;

	what.history = &first->after;
	what.first = cut->first;
	what.last = max_u64(first->recovered, min_u64(cut->last, first->after.count - 1));
	what.keeps_power = false;
	scenario->again[what.depth].cut = cut->call;
	snprintf(given, sizeof given, "%s", scenario->again[what.depth].script);
	what.depth++;
	if (what.is_replay && given[0])
		err = enumerate_replay(cut->medium, &options, given, &result);
	else
		err = enumerate_states(cut->medium, &options, &result);
	snapshot_free(second.matched);
	if (err)
		enumerate_blame(run, "cut %" PRIu32 ": %s", what.depth + 1, cop_error_text());
	atomic_fetch_add(&trial->tally->runs, result.runs);
	atomic_fetch_add(&trial->tally->second_cuts, 1);
}

static void
judge_second_cuts(struct judging *judging, struct enumerate_run *run)
{
	const uint32_t depth = judging->what->depth;
	struct scenario *scenario = judging->what->scenario;
	char *script = depth == 0 ? scenario->script : scenario->again[depth - 1].script;
	bool is_replay = judging->what->is_replay;

	if (!is_replay)
		snprintf(script, ENUMERATE_TEXT_BYTES, "%s", enumerate_script(run));
	for (int place = 0; place < SECOND_PLACES; place++) {
		if (judging->second[place].medium)
			judge_second_cut(judging, &judging->second[place], run);
	}
	if (!is_replay) {
		script[0] = 0;
		scenario->again[depth].cut = 0;
		scenario->again[depth].script[0] = 0;
	}
}

/* Of the second cuts some get a third one, in the recovery from it. */
static bool
is_cut_again(const struct judgement *what)
{
	if (what->depth == SCENARIO_AGAIN)
		return false;
	return what->depth == 0 || what->is_replay ||
	       what->scenario->again[0].cut % THIRD_ONE_IN == 0;
}

/*
 * Most states of a cut differ in what of a torn batch is there, which recovery discards: the first
 * few are gone on with, and some of the others.
 */
static bool
is_followed(struct judging *judging)
{
	uint64_t number = judging->new_states++;

	if (judging->what->depth > 0)
		return is_cut_again(judging->what) && (number == 0 || judging->what->is_replay);
	if (judging->what->is_replay)
		return true;
	return number < FOLLOWED_FIRST || number % FOLLOWED_EVERY == 0;
}

/* An earlier run has read the same: false if that says all. */
static bool
is_to_be_opened(struct judging *judging, struct enumerate_run *run, bool *out_sound)
{
	*out_sound = judging->expected == judging->matched;
	if (!*out_sound) {
		size_t state;
		struct oracle *model =
			match_state(judging, judging->what->first, judging->expected, run, &state);

		*out_sound = model;
		oracle_free(model);
	}
	if (*out_sound && judging->expected != judging->matched) {
		snapshot_free(judging->matched);
		judging->matched = snapshot_ref(judging->expected);
	}
	return enumerate_settle(run) && *out_sound && is_followed(judging);
}

/*
 * Reads all of the volume, and keeps what it shows for later runs unless it was known. The model
 * that it agrees with, or NULL.
 */
static struct oracle *
look_around(struct judging *judging, struct world *world, struct sim_medium *medium,
	struct enumerate_run *run, size_t *out_state)
{
	struct judge_memory *memory = judging->what->options->memory;
	struct snapshot *found = NULL;
	struct oracle *model = NULL;
	char why[256];

	if (snapshot_of_volume(world->volume, &found) != 0) {
		enumerate_blame(run, "reading the volume: %s", cop_error_text());
		return NULL;
	}
	if (judging->expected &&
		!snapshot_matches(found, judging->expected, UINT32_MAX, why, sizeof why))
		enumerate_blame(run, "a run that read the same showed something else: %s", why);
	else
		model = match_state(judging, judging->what->first, found, run, out_state);
	if (remembers(judging) && !judging->expected)
		recall_keep(memory->sights, medium, share(memory, found));
	else
		snapshot_free(found);
	return model;
}

/*
 * What a killed process has written can be read, and a power cut may still take it away, as far as
 * nothing was promised: back to a state that was promised before.
 */
static void
begin_after(struct judging *judging, struct oracle *model, size_t state)
{
	const struct judgement *what = judging->what;

	for (size_t i = what->first; what->keeps_power && i < state; i++) {
		struct oracle *earlier = oracle_copy(what->history->models[i]);

		oracle_forget_held(earlier);
		history_push(&judging->after, earlier);
	}
	judging->recovered = judging->after.count;
	history_push(&judging->after, model);
	oracle_forget_held(model);
}

static bool
judge_open_volume(struct judging *judging, struct world *world, struct sim_medium *medium,
	struct enumerate_run *run)
{
	size_t state = 0;
	struct oracle *model = look_around(judging, world, medium, run, &state);
	bool sound = model;
	bool goes_on = judging->expected != NULL;

	count_loss(judging, world);
	sim_set_listener(medium, NULL, NULL);
	if (!goes_on)
		goes_on = (enumerate_settle(run) || judging->what->is_replay) && sound &&
			  is_followed(judging);
	if (!sound || !goes_on) {
		oracle_free(model);
		world_abandon(world);
		return sound;
	}
	begin_after(judging, model, state);
	if (judging->what->depth > 0) {
		world_abandon(world);
		return true;
	}
	if (go_on(judging, world, run))
		return ends_well(judging, world, medium, run);
	world_abandon(world);
	return false;
}

/* What is there after a loss, from the newest checkpoint on; owned. NULL: none of the states. */
static struct oracle *
state_left(struct judging *judging, struct world *world, struct enumerate_run *run)
{
	struct snapshot *found = NULL;
	struct oracle *model = NULL;
	size_t state;

	if (snapshot_of_volume(world->volume, &found) == 0)
		model = match_state(judging, judging->what->history->first, found, run, &state);
	else
		enumerate_blame(run, "reading the volume: %s", cop_error_text());
	snapshot_free(found);
	return model;
}

/* The damage has cost durable work, and writing was refused: what is left, from the newest
 * checkpoint on, can be read. */
static bool
judge_for_reading(struct judging *judging, struct sim_medium *medium,
	const struct world_options *options, struct enumerate_run *run)
{
	struct world_options reading = *options;
	struct oracle *model;
	struct world world;

	reading.read_only = true;
	if (world_open(&world, medium, &reading) != 0) {
		enumerate_blame(run, "opening for reading: %s", cop_error_text());
		return false;
	}
	model = state_left(judging, &world, run);
	oracle_free(model);
	world_abandon(&world);
	return model;
}

/* Which runs are alike, if they read the same. */
static uint64_t
kind_of_opening(const struct judgement *what)
{
	return what->dirty_bytes << 8 | (uint64_t)what->is_late << 7 |
	       (SEED_RECOVERY + what->depth);
}

/* When the loss is accepted, it is one of those states that is gone on from, and for good. */
static bool
judge_accepting(struct judging *judging, struct sim_medium *medium,
	const struct world_options *options, struct enumerate_run *run)
{
	struct world_options accepting = *options;
	struct oracle *model;
	struct world world;

	sim_set_hook(medium, NULL, NULL);
	accepting.accept_loss = true;
	accepting.seed = SEED_ACCEPTING;
	if (world_open(&world, medium, &accepting) != 0) {
		enumerate_blame(run, "accepting the loss: %s", cop_error_text());
		return false;
	}
	model = state_left(judging, &world, run);
	if (model) {
		history_push(&judging->after, model);
		oracle_forget_held(model);
		if (go_on(judging, &world, run))
			return ends_well(judging, &world, medium, run);
	}
	world_abandon(&world);
	return false;
}

/* Opens it, goes on with it, and cuts the power again. */
static bool
judge_by_opening(struct judging *judging, struct sim_medium *medium, struct enumerate_run *run)
{
	struct world_options options = {
		.seed = SEED_RECOVERY + judging->what->depth,
		.now_ns = judging->what->now_ns + STEP_NS,
		.dirty_bytes = judging->what->dirty_bytes,
		.buffers = judging->what->is_late,
	};
	struct judge_memory *memory = judging->what->options->memory;
	struct world world;
	bool sound;
	int err;

	if (is_cut_again(judging->what))
		sim_set_hook(medium, before_second_call, judging);
	if (remembers(judging) && !judging->expected)
		recall_listen(memory->sights, medium, kind_of_opening(judging->what));
	judging->is_opening = true;
	err = world_open(&world, medium, &options);
	judging->is_opening = false;
	if (err)
		sim_set_listener(medium, NULL, NULL);
	if (err_is_damage(err) && judging->what->may_refuse) {
		sound = judge_for_reading(judging, medium, &options, run);
		if ((enumerate_settle(run) || judging->what->is_replay) && sound &&
			judging->what->depth == 0 && is_followed(judging))
			sound = judge_accepting(judging, medium, &options, run);
	} else if (err == COP_ENOSPC && judging->what->hits_allocation) {
		/* Nothing can be replayed where every group is closed; what was before is there. */
		sound = judge_for_reading(judging, medium, &options, run);
	} else if (err) {
		enumerate_blame(run, "recovery: %s", cop_error_text());
		sound = false;
	} else {
		sound = judge_open_volume(judging, &world, medium, run);
	}
	sim_set_hook(medium, NULL, NULL);
	if (judging->after.count > 0)
		judge_second_cuts(judging, run);
	return sound;
}

/* enumerate_judge: recovers from a crash state as any user would. */
static bool
judge(void *context, struct sim_medium *medium, struct enumerate_run *run)
{
	struct judging *judging = context;
	struct judge_memory *memory = judging->what->options->memory;
	bool sound = true;

	judging->expected = NULL;
	judging->after = (struct history){ 0 };
	judging->promised = 0;
	judging->recovered = 0;
	judging->has_flushed = false;
	judging->calls = 0;
	memset(judging->calls_of, 0, sizeof judging->calls_of);
	memset(judging->second, 0, sizeof judging->second);
	rng_seed(&judging->rng, judging->what->scenario->seed + judging->what->first);
	rng_seed(&judging->second_rng, judging->what->first);
	if (!check_crashed(judging, medium, run))
		return false;
	if (remembers(judging))
		judging->expected =
			recall_find(memory->sights, medium, kind_of_opening(judging->what));
	if (judging->expected)
		(void)snapshot_ref(judging->expected);
	if (!judging->expected || is_to_be_opened(judging, run, &sound))
		sound = judge_by_opening(judging, medium, run);
	for (int place = 0; place < SECOND_PLACES; place++)
		sim_free(judging->second[place].medium);
	history_fini(&judging->after);
	snapshot_free(judging->expected);
	return sound;
}

static void
report(void *context, const char *script, const char *text)
{
	const struct judging *judging = context;
	struct scenario *scenario = judging->what->scenario;

	snprintf(scenario->script, sizeof scenario->script, "%s", script);
	count_violation(judging->what, text);
	if (!judging->what->is_replay)
		scenario->script[0] = 0;
}

int
judge_medium(const struct judgement *judgement, struct sim_medium *medium)
{
	const struct trial_options *trial = judgement->options;
	struct judging judging = { .what = judgement };
	struct enumerate_result result = { 0 };
	struct enumerate_options options = {
		.runs_max = trial->runs_max,
		.samples = trial->samples,
		.seed = judgement->scenario->cut,
		.keeps_power = judgement->keeps_power,
		.seen = trial->seen,
		.judge = judge,
		.violation = report,
		.context = &judging,
	};
	char given[ENUMERATE_TEXT_BYTES];
	int err;

	snprintf(given, sizeof given, "%s", judgement->scenario->script);
	if (judgement->is_replay && given[0])
		err = enumerate_replay(medium, &options, given, &result);
	else
		err = enumerate_states(medium, &options, &result);
	snapshot_free(judging.matched);
	if (err)
		return err;
	atomic_fetch_add(&trial->tally->runs, result.runs);
	atomic_fetch_add(&trial->tally->cuts, 1);
	atomic_fetch_add(&trial->tally->incomplete, !result.complete);
	return 0;
}
