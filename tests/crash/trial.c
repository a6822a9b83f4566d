#include "crash/trial.h"

#include "base/checksum.h"
#include "base/num.h"
#include "coppice.h"
#include "crash/hit.h"
#include "space/geometry.h"
#include "support/must.h"
#include "support/world.h"
#include "volume/volume.h"

enum {
	BASE_SEED = 11,
	STEP_NS = 1000 * 1000 * 1000, /* the clock between two operations */
	FOLLOW_UPS = 20,
	FOLLOWED_FIRST = 4,
	FOLLOWED_EVERY = 16,
	SECOND_PART = 10, /* of the budget of a first cut */
	SECOND_CUTS_MAX = 2,
	TEXT_BYTES = 1024,
	PEEKS_MAX = 200,
	CUTS_AFTER_FAULT = 400, /* calls in which the effect of a fault is looked for */
	CHECKPOINTS_KEPT = 4,
};

/*
 * A superblock whose writing was cut short is no damage, and yet not in all its places: until two
 * further checkpoints check may say so.
 */
#define SUPERBLOCK_CLASSES (1U << COP_PROBLEM_SUPERBLOCK | 1U << COP_PROBLEM_COPY)

/* Seeds of the openings of one medium, which must differ. */
enum { SEED_FIXTURE = 21, SEED_WORKLOAD = 22, SEED_RECOVERY = 23, SEED_SECOND = 24 };

/* ---- Models, one for each operation --------------------------------------------------------- */

/* models[i] is the state after i operations; those before `first` are gone. */
struct history {
	struct oracle **models;
	size_t count;
	size_t capacity;
	size_t first;
};

static struct oracle *
history_newest(const struct history *history)
{
	return history->models[history->count - 1];
}

static void
history_push(struct history *history, struct oracle *model)
{
	history->models = must_grow(
		history->models, history->count, &history->capacity, sizeof *history->models);
	history->models[history->count++] = model;
}

/* States before `first` will not be asked for again. */
static void
history_forget(struct history *history, size_t first)
{
	for (; history->first < first; history->first++) {
		oracle_free(history->models[history->first]);
		history->models[history->first] = NULL;
	}
}

static void
history_fini(struct history *history)
{
	history_forget(history, history->count);
	free(history->models);
}

/* ---- Where every workload begins ------------------------------------------------------------ */

struct trial_base {
	struct sim_medium *medium;
	struct oracle *model;
	int64_t now_ns;
};

enum answer_kind { ANSWER_RIGHT, ANSWER_REFUSED, ANSWER_WRONG };

enum tolerance {
	TOLERATE_DAMAGE = 1 << 0, /* what cannot be read cannot be changed */
	TOLERATE_FULL = 1 << 1,   /* closed groups cannot be emptied either */
};

/* A replay tells what it does. */
static void
tell_op(const char *when, size_t number, const struct op *op)
{
	char line[TEXT_BYTES];

	op_print(op, line, sizeof line);
	printf("%s %zu: %s\n", when, number, line);
}

/* Runs an operation on volume and model; one that the volume may refuse is not applied to either.
 */
static enum answer_kind
run_op(struct op_runner *runner, struct oracle *model, const struct op *op, int64_t now_ns,
	uint32_t tolerance, char text[TEXT_BYTES])
{
	const bool frees = op->type == OP_UNLINK || op->type == OP_SYNC || op->type == OP_SETTLE;
	char line[TEXT_BYTES / 2];
	uint64_t id;
	int got = op_run(runner, op, &id);
	int wanted;

	if (got == COP_ENOSPC && (!frees || tolerance & TOLERATE_FULL))
		return ANSWER_REFUSED;
	if (tolerance & TOLERATE_DAMAGE &&
		(err_is_damage(got) || got == COP_EIO || got == COP_EROFS))
		return ANSWER_REFUSED;
	wanted = oracle_apply(model, op, now_ns);
	if (got != wanted) {
		op_print(op, line, sizeof line);
		snprintf(text, TEXT_BYTES, "%s: the answer is %s (%s), not %s", line,
			got ? cop_error_name(got) : "0", got ? cop_error_text() : "",
			wanted ? cop_error_name(wanted) : "0");
		return ANSWER_WRONG;
	}
	if (id)
		oracle_learn_id(model, op->path, id);
	return ANSWER_RIGHT;
}

static int
make_model(struct world *world, struct oracle **out_model)
{
	struct snapshot *snapshot = NULL;
	int err = snapshot_of_volume(world->volume, &snapshot);

	if (err)
		return err;
	*out_model = oracle_create(&snapshot->entries[0]);
	snapshot_free(snapshot);
	return 0;
}

/* The fixture is worth what it covers. */
static int
must_have_form(struct op_runner *runner, const char *path, enum cop_content_form form)
{
	struct cop_attr attr = COP_INIT(attr);
	struct cop_object *object = NULL;
	int err = op_resolve(runner, path, &object);

	if (!err)
		err = cop_stat(object, &attr);
	cop_release(object);
	if (!err && attr.form != form)
		err = fail(COP_EINVAL, "fixture: %s has form %d", path, (int)attr.form);
	return err;
}

static int
run_fixture(struct trial_base *base, struct world *world, struct op_runner *runner)
{
	struct workload *fixture = workload_fixture();
	char text[TEXT_BYTES];
	struct op op;
	int err = 0;

	while (!err && workload_next(fixture, base->model, &op)) {
		world->now_ns += STEP_NS;
		if (run_op(runner, base->model, &op, world->now_ns, 0, text) != ANSWER_RIGHT)
			err = fail(COP_EINVAL, "fixture: %s", text);
	}
	if (!err)
		err = must_have_form(runner, "/inline", COP_FORM_INLINE);
	if (!err)
		err = must_have_form(runner, "/extents", COP_FORM_EXTENTS);
	if (!err)
		err = must_have_form(runner, "/many", COP_FORM_EXTENTS);
	if (!err)
		err = must_have_form(runner, "/tree", COP_FORM_TREE);
	if (!err)
		err = must_have_form(runner, "/large", COP_FORM_TREE);
	base->now_ns = world->now_ns;
	workload_free(fixture);
	return err;
}

int
trial_base_create(struct trial_base **out_base)
{
	struct trial_base *base = must_alloc(sizeof *base);
	struct world_options options = { .seed = SEED_FIXTURE, .now_ns = STEP_NS };
	struct op_runner runner = { 0 };
	struct world world = { 0 };
	int err = sim_create(WORLD_BYTES, BASE_SEED, &base->medium);

	if (!err)
		err = world_format(base->medium, BASE_SEED);
	if (!err)
		err = world_open(&world, base->medium, &options);
	if (err)
		goto out;
	err = make_model(&world, &base->model);
	if (!err)
		err = op_runner_init(&runner, world.volume);
	if (!err)
		err = run_fixture(base, &world, &runner);
	op_runner_fini(&runner);
	if (err)
		world_abandon(&world);
	else
		err = world_close(&world);
out:
	if (err) {
		trial_base_free(base);
		return err;
	}
	*out_base = base;
	return 0;
}

void
trial_base_free(struct trial_base *base)
{
	if (!base)
		return;
	sim_free(base->medium);
	oracle_free(base->model);
	free(base);
}

/* ---- Judging one crash state ---------------------------------------------------------------- */

/* A power cut: the medium as it was, and the states of `history` that recovery may show. */
struct cut {
	struct sim_medium *medium; /* owned */
	uint64_t call;
	size_t first;
	size_t last;
	size_t floor; /* where damage may take it back to */
};

struct trial {
	const struct trial_options *options;
	struct scenario scenario; /* of the run that is being judged */
	bool replay;

	/* The workload's run. */
	struct world world;
	struct op_runner runner;
	struct history history;
	size_t acknowledged; /* state that a sync has promised */
	bool is_capturing;
	struct cut *cuts; /* not yet judged */
	size_t cut_count;
	size_t cut_capacity;
	size_t floors[CHECKPOINTS_KEPT]; /* oldest state that each of the last checkpoints may hold
					  */
	uint64_t cuts_since_fault;
	bool hits_allocation; /* the fault has struck the allocation tree */
	struct rng rng;       /* which cuts get which probes */
};

/* What a judge knows about the cut it judges. */
struct judgement {
	struct trial *trial;
	const struct history *history;
	size_t first;
	size_t last;
	uint32_t allow;           /* enum snapshot_unreadable */
	uint32_t allowed_classes; /* bits of problems that check may find */
	bool hits_allocation;     /* groups may be closed, maybe all of them */
	bool is_second;           /* the cut came in recovery: go no deeper */
	bool may_refuse; /* damage may have lost what was durable: then it opens only to be read */

	/* The newest checkpoint was destroyed: what is the newest now had its predecessor
	 * overwritten, rightly. So check finds that one damaged. */
	bool is_fallback;

	/* Cuts of recovery and what came after it. */
	struct history after; /* its first state is the one that was recovered */
	size_t promised;      /* state of it that a sync has made durable */
	uint64_t new_states;  /* of this cut, found by recovery so far */
	struct cut second[SECOND_CUTS_MAX];
	size_t second_count;
	bool has_flushed; /* the opening for writing has made durable what it is going to read */
	uint64_t calls;   /* since then */
	struct rng second_rng; /* which of them are cut */
	struct rng rng;        /* what is done after recovery: the same in a replay */
};

static bool judge(void *context, struct sim_medium *medium, struct enumerate_run *run);

static bool
check_medium(struct judgement *judgement, struct sim_medium *medium, struct enumerate_run *run,
	const char *when, uint32_t allowed_classes)
{
	struct world_check check;
	int err = world_check(medium, &check);

	if (err) {
		enumerate_blame(run, "%s, check: %s", when, cop_error_text());
		return false;
	}
	if (!judgement->is_fallback)
		check.classes |= check.previous_classes;
	if (check.classes & ~(allowed_classes | judgement->allowed_classes)) {
		uint32_t worst = (uint32_t)__builtin_ctz(
			check.classes & ~(allowed_classes | judgement->allowed_classes));

		enumerate_blame(run, "%s, check finds %" PRIu64 " problems: %s", when,
			check.problems, check.first[worst]);
		return false;
	}
	return true;
}

/* The state that the volume shows; false: none that it may. */
static bool
find_state(struct judgement *judgement, struct world *world, struct enumerate_run *run,
	size_t *out_state)
{
	struct snapshot *found = NULL;
	char newest[256] = "";
	char why[256] = "";
	int err = snapshot_of_volume(world->volume, &found);

	if (err) {
		enumerate_blame(run, "reading the volume: %s", cop_error_text());
		return false;
	}
	for (size_t state = judgement->last + 1; state-- > judgement->first;) {
		if (snapshot_matches(found, oracle_snapshot(judgement->history->models[state]),
			    judgement->allow, why, sizeof why)) {
			snapshot_free(found);
			*out_state = state;
			return true;
		}
		if (state == judgement->last)
			snprintf(newest, sizeof newest, "%s", why);
	}
	enumerate_blame(run, "no state from %zu to %zu: %s; and %s", judgement->first,
		judgement->last, why, newest);
	snapshot_free(found);
	return false;
}

/* Keeps a few of the changing calls since the power came back, each with the same chance. */
static void
before_second_call(void *context, struct sim_medium *medium, uint64_t call)
{
	struct judgement *judgement = context;
	const struct trial *trial = judgement->trial;
	struct cut *cut;
	uint64_t place;

	/* Before that nothing was read that decides what is recovered. */
	if (!judgement->has_flushed) {
		judgement->has_flushed = true;
		return;
	}
	place = judgement->calls++;
	if (trial->replay) {
		if (judgement->calls != trial->scenario.cut2)
			return;
		place = 0;
	} else if (place >= SECOND_CUTS_MAX) {
		place = rng_below(&judgement->second_rng, judgement->calls);
		if (place >= SECOND_CUTS_MAX)
			return;
	}
	(void)call;
	cut = &judgement->second[place];
	sim_free(cut->medium);
	*cut = (struct cut){ .call = judgement->calls };
	cut->last = judgement->after.count;
	cut->first = judgement->promised;
	if (sim_clone(medium, &cut->medium) != 0)
		must_have(NULL);
	judgement->second_count = max_u64(judgement->second_count, place + 1);
}

static uint32_t
tolerance_of(const struct judgement *judgement)
{
	return (judgement->allow ? TOLERATE_DAMAGE : 0) |
	       (judgement->hits_allocation ? TOLERATE_FULL : 0);
}

/* Twenty more operations, a sync and a settle, each with the answer that the model gives. */
static bool
go_on(struct judgement *judgement, struct world *world, struct enumerate_run *run)
{
	struct history *after = &judgement->after;
	struct op_runner runner;
	struct op op;
	char text[TEXT_BYTES];
	enum answer_kind answer;
	bool sound = op_runner_init(&runner, world->volume) == 0;

	if (!sound)
		enumerate_blame(run, "after recovery: %s", cop_error_text());
	for (int i = 0; sound && i < FOLLOW_UPS + 2; i++) {
		struct oracle *model = oracle_copy(history_newest(after));

		workload_draw(&judgement->rng, model, &op);
		if (i >= FOLLOW_UPS)
			op = (struct op){ .type = i == FOLLOW_UPS ? OP_SYNC : OP_SETTLE };
		world->now_ns += STEP_NS;
		if (judgement->trial->replay)
			tell_op("after recovery", after->count, &op);
		answer = run_op(&runner, model, &op, world->now_ns, tolerance_of(judgement), text);
		history_push(after, model);
		sound = answer != ANSWER_WRONG;
		if (!sound)
			enumerate_blame(run, "after recovery: %s", text);
		else if (answer == ANSWER_RIGHT && (op.type == OP_SYNC || op.type == OP_SETTLE))
			judgement->promised = after->count - 1;
	}
	op_runner_fini(&runner);
	return sound;
}

static bool
ends_well(struct judgement *judgement, struct world *world, struct sim_medium *medium,
	struct enumerate_run *run)
{
	char why[256];
	struct snapshot *found = NULL;
	bool sound = snapshot_of_volume(world->volume, &found) == 0;

	if (!sound) {
		enumerate_blame(run, "after twenty more: %s", cop_error_text());
	} else {
		struct oracle *wanted = oracle_copy(history_newest(&judgement->after));

		oracle_forget_held(wanted);
		sound = snapshot_matches(
			found, oracle_snapshot(wanted), judgement->allow, why, sizeof why);
		oracle_free(wanted);
		if (!sound)
			enumerate_blame(run, "after twenty more: %s", why);
	}
	snapshot_free(found);
	if (world_close(world) != 0 && sound && tolerance_of(judgement) == 0) {
		enumerate_blame(run, "closing after twenty more: %s", cop_error_text());
		sound = false;
	}
	return sound && check_medium(judgement, medium, run, "after twenty more", 0);
}

static void
report_second(void *context, const char *script, const char *text)
{
	struct judgement *judgement = context;
	struct trial *trial = judgement->trial;

	snprintf(trial->scenario.script2, sizeof trial->scenario.script2, "%s", script);
	trial->options->violation(trial->options->context, &trial->scenario, text);
	atomic_fetch_add(&trial->options->tally->violations, 1);
}

/* Cuts the power of recovery itself, and judges those states by what recovery had found. */
static void
judge_second_cuts(struct judgement *first, struct enumerate_run *run)
{
	struct trial *trial = first->trial;
	struct scenario *scenario = &trial->scenario;

	if (!trial->replay)
		snprintf(scenario->script, sizeof scenario->script, "%s", enumerate_script(run));
	for (size_t i = 0; i < first->second_count; i++) {
		struct judgement second = *first;
		struct enumerate_result result = { 0 };
		struct enumerate_options options = {
			.runs_max = trial->options->runs_max / SECOND_PART,
			.samples = trial->options->samples / SECOND_PART,
			.seed = first->second[i].call,
			.seen = trial->options->seen,
			.judge = judge,
			.violation = report_second,
			.context = &second,
		};
		char given[ENUMERATE_TEXT_BYTES];
		int err;

		second.history = &first->after;
		second.first = first->second[i].first;
		second.last = min_u64(first->second[i].last, first->after.count - 1);
		second.is_second = true;
		second.after = (struct history){ 0 };
		second.second_count = 0;
		scenario->cut2 = first->second[i].call;
		snprintf(given, sizeof given, "%s", scenario->script2);
		if (trial->replay && given[0])
			err = enumerate_replay(first->second[i].medium, &options, given, &result);
		else
			err = enumerate_states(first->second[i].medium, &options, &result);
		if (err)
			enumerate_blame(run, "second cut: %s", cop_error_text());
		atomic_fetch_add(&trial->options->tally->runs, result.runs);
		atomic_fetch_add(&trial->options->tally->second_cuts, 1);
	}
	if (!trial->replay) {
		scenario->cut2 = 0;
		scenario->script[0] = 0;
		scenario->script2[0] = 0;
	}
}

/*
 * Most states of a cut differ in what of a torn batch is there, which recovery discards: the first
 * few are gone on with, and some of the others.
 */
static bool
is_followed(struct judgement *judgement)
{
	uint64_t number = judgement->new_states++;

	return judgement->trial->replay || number < FOLLOWED_FIRST || number % FOLLOWED_EVERY == 0;
}

static bool
judge_open_volume(struct judgement *judgement, struct world *world, struct sim_medium *medium,
	struct enumerate_run *run)
{
	size_t state = 0;
	bool sound = find_state(judgement, world, run, &state);

	if (!enumerate_settle(run) && !judgement->trial->replay) {
		world_abandon(world);
		return sound;
	}
	if (!sound || judgement->is_second || !is_followed(judgement)) {
		world_abandon(world);
		return sound;
	}
	history_push(&judgement->after, oracle_copy(judgement->history->models[state]));
	oracle_forget_held(history_newest(&judgement->after));
	if (go_on(judgement, world, run))
		return ends_well(judgement, world, medium, run);
	world_abandon(world);
	return false;
}

static bool
has_write_fault(const struct trial *trial)
{
	return trial->scenario.fault == FAULT_LOSE || trial->scenario.fault == FAULT_MISDIRECT;
}

/* The damage has cost durable work, and writing was refused: what is left can be read. */
static bool
judge_for_reading(struct judgement *judgement, struct sim_medium *medium,
	const struct world_options *options, struct enumerate_run *run)
{
	struct world_options reading = *options;
	struct world world;
	size_t state;
	bool sound;

	reading.read_only = true;
	if (world_open(&world, medium, &reading) != 0) {
		enumerate_blame(run, "opening for reading: %s", cop_error_text());
		return false;
	}
	sound = find_state(judgement, &world, run, &state);
	world_abandon(&world);
	return sound;
}

/* enumerate_judge: recovers from a crash state as any user would. */
static bool
judge(void *context, struct sim_medium *medium, struct enumerate_run *run)
{
	struct judgement *judgement = context;
	struct world_options options = {
		.seed = judgement->is_second ? SEED_SECOND : SEED_RECOVERY,
		.now_ns = judgement->trial->world.now_ns + STEP_NS,
	};
	struct world world;
	bool sound;
	int err;

	judgement->after = (struct history){ 0 };
	judgement->promised = 0;
	judgement->has_flushed = false;
	judgement->calls = 0;
	judgement->second_count = 0;
	memset(judgement->second, 0, sizeof judgement->second);
	rng_seed(&judgement->rng, judgement->trial->scenario.seed + judgement->first);
	rng_seed(&judgement->second_rng, judgement->first);
	if (!check_medium(judgement, medium, run, "after the crash", SUPERBLOCK_CLASSES))
		return false;
	if (!judgement->is_second && !has_write_fault(judgement->trial))
		sim_set_hook(medium, before_second_call, judgement);
	err = world_open(&world, medium, &options);
	if (err_is_damage(err) && judgement->may_refuse) {
		sound = judge_for_reading(judgement, medium, &options, run);
	} else if (err) {
		enumerate_blame(run, "recovery: %s", cop_error_text());
		sound = false;
	} else {
		sound = judge_open_volume(judgement, &world, medium, run);
	}
	sim_set_hook(medium, NULL, NULL);
	if (judgement->after.count > 0)
		judge_second_cuts(judgement, run);
	for (size_t i = 0; i < SECOND_CUTS_MAX; i++)
		sim_free(judgement->second[i].medium);
	history_fini(&judgement->after);
	return sound;
}

static void
report(void *context, const char *script, const char *text)
{
	struct judgement *judgement = context;
	struct trial *trial = judgement->trial;

	snprintf(trial->scenario.script, sizeof trial->scenario.script, "%s", script);
	trial->options->violation(trial->options->context, &trial->scenario, text);
	atomic_fetch_add(&trial->options->tally->violations, 1);
	if (!trial->replay)
		trial->scenario.script[0] = 0;
}

/* ---- Judging one cut ------------------------------------------------------------------------ */

static int
judge_medium(struct trial *trial, struct sim_medium *medium, struct judgement *judgement)
{
	struct enumerate_result result = { 0 };
	struct enumerate_options options = {
		.runs_max = trial->options->runs_max,
		.samples = trial->options->samples,
		.seed = trial->scenario.cut,
		.seen = trial->options->seen,
		.judge = judge,
		.violation = report,
		.context = judgement,
	};
	char given[ENUMERATE_TEXT_BYTES];
	int err;

	snprintf(given, sizeof given, "%s", trial->scenario.script);
	if (trial->replay && given[0])
		err = enumerate_replay(medium, &options, given, &result);
	else
		err = enumerate_states(medium, &options, &result);
	if (err)
		return err;
	atomic_fetch_add(&trial->options->tally->runs, result.runs);
	atomic_fetch_add(&trial->options->tally->cuts, 1);
	atomic_fetch_add(&trial->options->tally->incomplete, !result.complete);
	return 0;
}

/* What a fault of the medium during the run may have cost. */
static void
allow_for_fault(const struct trial *trial, const struct cut *cut, struct judgement *judgement)
{
	if (trial->scenario.fault != FAULT_LOSE && trial->scenario.fault != FAULT_MISDIRECT)
		return;
	judgement->allow = SNAPSHOT_NO_CONTENT | SNAPSHOT_NO_XATTRS;
	judgement->allowed_classes = UINT32_MAX;
	judgement->hits_allocation = trial->hits_allocation;
	judgement->first = cut->floor;
	judgement->may_refuse = true;
}

static int
judge_plain(struct trial *trial, const struct cut *cut)
{
	struct judgement judgement = {
		.trial = trial, .history = &trial->history, .first = cut->first, .last = cut->last
	};

	allow_for_fault(trial, cut, &judgement);
	return judge_medium(trial, cut->medium, &judgement);
}

static bool
is_zero_block(const uint8_t *block)
{
	return block[0] == 0 && memcmp(block, block + 1, BLOCK_BYTES - 1) == 0;
}

/* A block with something in it. */
static int
draw_block(struct trial *trial, struct sim_medium *medium, uint64_t *out_addr)
{
	uint8_t block[BLOCK_BYTES];
	uint64_t addr = 0;
	int err = 0;

	for (int i = 0; i < PEEKS_MAX; i++) {
		addr = rng_below(&trial->rng, WORLD_BYTES / BLOCK_BYTES);
		err = sim_peek(medium, addr, block);
		if (err || !is_zero_block(block))
			break;
	}
	*out_addr = addr;
	return err;
}

static int
judge_flipped(struct trial *trial, const struct cut *cut)
{
	struct judgement judgement = {
		.trial = trial,
		.history = &trial->history,
		.first = cut->floor,
		.last = cut->last,
		.allow = SNAPSHOT_NO_CONTENT | SNAPSHOT_NO_XATTRS,
		.allowed_classes = UINT32_MAX,
		.may_refuse = true,
	};
	struct sim_medium *medium = NULL;
	struct sim_medium *look = NULL;
	int err = sim_clone(cut->medium, &medium);

	if (!err && !trial->replay) {
		err = sim_clone(cut->medium, &look);
		if (!err)
			err = draw_block(trial, look, &trial->scenario.probe_addr);
		trial->scenario.probe_bit = (uint32_t)rng_below(&trial->rng, 8 * BLOCK_BYTES);
		sim_free(look);
	}
	judgement.hits_allocation = hit_is_allocation(trial->scenario.probe_addr, 1);
	if (!err)
		err = sim_flip_bit(medium, trial->scenario.probe_addr, trial->scenario.probe_bit);
	if (!err)
		err = judge_medium(trial, medium, &judgement);
	sim_free(medium);
	return err;
}

/* Destroys every copy of the newest durable superblock. False: it is the only one. */
static int
destroy_newest(struct sim_medium *medium, bool *out_has_previous)
{
	static const uint8_t zeros[BLOCK_BYTES];
	struct superblock newest;
	struct superblock previous;
	struct geometry geometry;
	struct device *dev = NULL;
	int err = sim_open(medium, DEVICE_READ_ONLY, &dev);

	if (err)
		return err;
	err = volume_find_superblock(dev, &newest, &previous);
	device_close(dev);
	if (!err)
		err = geometry_init(
			&geometry, newest.blocks, newest.ag_blocks, newest.journal_blocks);
	for (uint32_t place = 0; !err && place < geometry_superblock_places(&geometry); place++)
		err = sim_poke(medium, geometry_superblock(&geometry, place, newest.slot), zeros);
	if (!err)
		*out_has_previous = previous.generation != 0;
	return err;
}

/* The journal is kept from the predecessor's tail: nothing is lost. */
static int
judge_fallback(struct trial *trial, const struct cut *cut)
{
	struct judgement judgement = {
		.trial = trial,
		.history = &trial->history,
		.first = cut->first,
		.last = cut->last,
		.allowed_classes = SUPERBLOCK_CLASSES,
		.is_fallback = true,
	};
	struct sim_medium *medium = NULL;
	bool has_previous = false;
	int err = sim_clone(cut->medium, &medium);

	if (err)
		return err;
	sim_power_off(medium);
	sim_power_on(medium, sim_choose_oldest, NULL);
	err = destroy_newest(medium, &has_previous);
	if (!err && has_previous)
		err = judge_medium(trial, medium, &judgement);
	sim_free(medium);
	return err;
}

static int
judge_cut(struct trial *trial, const struct cut *cut)
{
	const struct trial_options *options = trial->options;
	struct scenario *scenario = &trial->scenario;
	int err = 0;

	scenario->cut = cut->call;
	if (!trial->replay) {
		scenario->probe = PROBE_NONE;
		err = judge_plain(trial, cut);
		if (err || scenario->fault ||
			rng_below(&trial->rng, 1000) >= options->probes_in_1000)
			return err;
		scenario->probe = rng_below(&trial->rng, 2) ? PROBE_FLIP : PROBE_FALLBACK;
		atomic_fetch_add(&options->tally->probes, 1);
	}
	if (scenario->probe == PROBE_FLIP)
		return judge_flipped(trial, cut);
	if (scenario->probe == PROBE_FALLBACK)
		return judge_fallback(trial, cut);
	return judge_plain(trial, cut);
}

/* ---- Running the workload ------------------------------------------------------------------- */

/* Until a fault strikes all is as without it; what it has done shows in any cut soon after. */
static bool
is_worth_a_cut(struct trial *trial, struct sim_medium *medium)
{
	if (sim_faults_struck(medium) == 0)
		return false;
	if (trial->replay)
		return true;
	trial->cuts_since_fault++;
	return trial->cuts_since_fault <= CUTS_AFTER_FAULT && rng_below(&trial->rng, 8) == 0;
}

static void
capture(struct trial *trial, struct sim_medium *medium, uint64_t call)
{
	struct cut *cut;

	if (!trial->is_capturing)
		return;
	if (has_write_fault(trial) && !is_worth_a_cut(trial, medium))
		return;
	trial->cuts =
		must_grow(trial->cuts, trial->cut_count, &trial->cut_capacity, sizeof *trial->cuts);
	cut = &trial->cuts[trial->cut_count++];
	*cut = (struct cut){ .call = call, .first = trial->acknowledged };
	cut->floor = min_u64(trial->acknowledged, trial->floors[CHECKPOINTS_KEPT - 2]);
	cut->last = trial->history.count; /* the state after the operation that is running */
	if (sim_clone(medium, &cut->medium) != 0)
		must_have(NULL);
}

static void
before_call(void *context, struct sim_medium *medium, uint64_t call)
{
	struct trial *trial = context;

	trial->hits_allocation = hit_has_allocation(medium);
	if (!trial->replay || trial->scenario.cut == call)
		capture(trial, medium, call);
}

static int
judge_cuts(struct trial *trial)
{
	int err = 0;

	for (size_t i = 0; i < trial->cut_count; i++) {
		struct cut *cut = &trial->cuts[i];

		cut->last = min_u64(cut->last, trial->history.count - 1);
		if (!err && !trial->options->is_over(trial->options->context))
			err = judge_cut(trial, cut);
		sim_free(cut->medium);
	}
	trial->cut_count = 0;
	return err;
}

static uint64_t
generation_of(struct trial *trial)
{
	struct cop_volume_info info = COP_INIT(info);

	return cop_volume_info(trial->world.volume, &info) == 0 ? info.generation : 0;
}

/* The newest checkpoint comes first, and stands for any state that the operation went through. */
static void
note_checkpoint(struct trial *trial, uint64_t before)
{
	size_t state = trial->history.count - 2;

	for (uint64_t now = generation_of(trial); now != before; before++) {
		memmove(trial->floors + 1, trial->floors,
			(CHECKPOINTS_KEPT - 1) * sizeof trial->floors[0]);
		trial->floors[0] = state;
	}
}

static bool
run_next(struct trial *trial, struct workload *workload, struct sim_medium *medium, int *out_err)
{
	struct oracle *model = oracle_copy(history_newest(&trial->history));
	uint32_t tolerance = (trial->scenario.fault == FAULT_NONE ? 0 : TOLERATE_DAMAGE) |
			     (trial->hits_allocation ? TOLERATE_FULL : 0);
	uint64_t before = generation_of(trial);
	char text[TEXT_BYTES];
	enum answer_kind answer;
	struct op op;

	if (!workload_next(workload, model, &op)) {
		oracle_free(model);
		return false;
	}
	trial->world.now_ns += STEP_NS;
	if (trial->replay)
		tell_op("workload", trial->history.count, &op);
	answer = run_op(&trial->runner, model, &op, trial->world.now_ns, tolerance, text);
	history_push(&trial->history, model);
	if (answer == ANSWER_WRONG) {
		trial->scenario.cut = 0;
		trial->options->violation(trial->options->context, &trial->scenario, text);
		atomic_fetch_add(&trial->options->tally->violations, 1);
		return false;
	}
	if (!sim_is_on(medium))
		return false;
	note_checkpoint(trial, before);
	if (answer == ANSWER_RIGHT && (op.type == OP_SYNC || op.type == OP_SETTLE)) {
		trial->acknowledged = trial->history.count - 1;
		trial->is_capturing = true;
	}
	*out_err = judge_cuts(trial);
	history_forget(
		&trial->history, min_u64(trial->acknowledged, trial->floors[CHECKPOINTS_KEPT - 1]));
	if (trial->cuts_since_fault > CUTS_AFTER_FAULT)
		return false;
	return *out_err == 0 && !trial->options->is_over(trial->options->context);
}

/*
 * The first half of a pair with a sync between is the same for each second half: it is cut only
 * in front of one of them.
 */
static bool
captures_from_start(const struct scenario *scenario)
{
	unsigned a;
	unsigned b;
	unsigned between;

	return sscanf(scenario->workload, "pair.%u.%u.%u", &a, &b, &between) != 3 || between == 0 ||
	       b == 0;
}

static int
add_fault(const struct scenario *scenario, struct sim_medium *medium)
{
	struct sim_fault fault = { .call = scenario->fault_call, .to_addr = scenario->fault_addr };

	switch (scenario->fault) {
	case FAULT_POWER:
		sim_cut_after(medium, scenario->fault_call);
		return 0;
	case FAULT_LOSE:
		fault.kind = SIM_LOSE_WRITE;
		return sim_add_fault(medium, &fault);
	case FAULT_MISDIRECT:
		fault.kind = SIM_MISDIRECT_WRITE;
		return sim_add_fault(medium, &fault);
	default:
		return 0;
	}
}

/* After a power failure within a call there is one cut, of the medium itself. */
static int
finish(struct trial *trial, struct sim_medium *medium)
{
	bool was_on = sim_is_on(medium);
	int err = 0;

	op_runner_fini(&trial->runner);
	if (trial->scenario.fault == FAULT_NONE && was_on)
		err = world_close(&trial->world);
	else
		world_abandon(&trial->world);
	if (err)
		return err;
	trial->is_capturing = true;
	if (trial->scenario.fault == FAULT_NONE && was_on)
		trial->acknowledged = trial->history.count - 1;
	if (!trial->replay || trial->scenario.cut == 0)
		capture(trial, medium, 0);
	return judge_cuts(trial);
}

int
trial_run(const struct trial_options *options, const struct scenario *scenario, bool replay)
{
	struct trial *trial = must_alloc(sizeof *trial);
	struct world_options open = { .seed = SEED_WORKLOAD,
		.now_ns = options->base->now_ns + STEP_NS };
	struct sim_medium *medium = NULL;
	struct workload *workload = NULL;
	int err = workload_create(scenario->workload, scenario->seed, &workload);

	trial->options = options;
	trial->scenario = *scenario;
	trial->replay = replay;
	trial->is_capturing = captures_from_start(scenario);
	rng_seed(&trial->rng,
		hash64(scenario->workload, strlen(scenario->workload), scenario->seed));
	history_push(&trial->history, oracle_copy(options->base->model));
	if (!err)
		err = sim_clone(options->base->medium, &medium);
	if (!err)
		err = world_open(&trial->world, medium, &open);
	if (!err)
		err = op_runner_init(&trial->runner, trial->world.volume);
	if (!err)
		err = add_fault(scenario, medium);
	if (!err) {
		if (scenario->fault != FAULT_POWER)
			sim_set_hook(medium, before_call, trial);
		while (run_next(trial, workload, medium, &err))
			;
		if (!err)
			err = finish(trial, medium);
		else
			world_abandon(&trial->world);
	}
	sim_set_hook(medium, NULL, NULL);
	history_fini(&trial->history);
	free(trial->cuts);
	workload_free(workload);
	sim_free(medium);
	free(trial);
	return err;
}
