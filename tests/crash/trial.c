#include "crash/trial.h"

#include "base/checksum.h"
#include "base/num.h"
#include "coppice.h"
#include "crash/hit.h"
#include "crash/judge.h"
#include "object/open.h"
#include "space/geometry.h"
#include "support/must.h"
#include "support/world.h"
#include "volume/volume.h"

enum {
	BASE_SEED = 11,
	STEP_NS = 1000 * 1000 * 1000, /* the clock between two operations */
	TIGHT_EVERY = 3,              /* recoveries: */
	TIGHT_BYTES = 24 << 10, /* nodes changed before there is a checkpoint in the middle of it */
	PEEKS_MAX = 200,
	CUTS_AFTER_FAULT = 400, /* calls in which the effect of a fault is looked for */
	SYNCS_KEPT = 3,
	STATES_KEPT = 300, /* more than a period of the journal holds */
};

/* From the fixture to every recovery: after all that a workload does. */
#define LATER_NS (INT64_C(1000) * 1000 * STEP_NS)

/* Seeds of the openings of one medium, which must differ. */
enum { SEED_FIXTURE = 21, SEED_WORKLOAD = 22 };

/* ---- Where every workload begins ------------------------------------------------------------ */

struct trial_base {
	struct sim_medium *medium;
	struct oracle *model;
	struct judge_memory *memory;
	int64_t now_ns;
};

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
	struct history history = { 0 };
	char text[ANSWER_TEXT_BYTES];
	struct op op;
	int err = 0;

	history_push(&history, TAKE(base->model));
	while (!err && workload_next(fixture, history_newest(&history), &op)) {
		struct oracle *model = oracle_copy(history_newest(&history));

		world->now_ns += STEP_NS;
		if (history_run(&history, model, runner, &op, world->now_ns, 0, text) !=
			ANSWER_RIGHT)
			err = fail(COP_EINVAL, "fixture: %s", text);
	}
	base->model = oracle_copy(history_newest(&history));
	history_fini(&history);
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

static int
make_memory(struct trial_base *base)
{
	struct superblock newest;
	struct superblock previous;
	struct journal_region region;
	struct geometry geometry;
	struct device *dev = NULL;
	int err = sim_open(base->medium, DEVICE_READ_ONLY, &dev);

	if (err)
		return err;
	err = volume_find_superblock(dev, &newest, &previous);
	device_close(dev);
	if (!err)
		err = geometry_init(
			&geometry, newest.blocks, newest.ag_blocks, newest.journal_blocks);
	if (err)
		return err;
	region = journal_region_of(&newest, &geometry);
	base->memory = judge_memory_create(&region);
	return 0;
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
	if (!err)
		err = make_memory(base);
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
	judge_memory_free(base->memory);
	free(base);
}

struct judge_memory *
trial_base_memory(struct trial_base *base)
{
	return base->memory;
}

/* ---- Trials --------------------------------------------------------------------------------- */

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
	struct workload *workload; /* owned */
	struct world world;
	struct op_runner runner;
	struct history history;
	size_t acknowledged[SYNCS_KEPT]; /* states that the last syncs have promised, newest first
					  */
	bool is_capturing;
	struct cut *cuts; /* not yet judged */
	size_t cut_count;
	size_t cut_capacity;
	bool has_begun; /* what is cut: the fault counts from there */
	uint64_t cuts_since_fault;
	bool hits_allocation; /* the fault has struck the allocation tree */
	struct rng rng;       /* which cuts get which probes */
};

static bool
has_write_fault(const struct trial *trial)
{
	return trial->scenario.fault == FAULT_LOSE || trial->scenario.fault == FAULT_MISDIRECT;
}

static bool
has_failure(const struct trial *trial)
{
	return trial->scenario.fault == FAULT_FAIL_WRITE ||
	       trial->scenario.fault == FAULT_FAIL_FLUSH ||
	       trial->scenario.fault == FAULT_FAIL_CLOSE;
}

/* ---- Judging one cut ------------------------------------------------------------------------ */

static struct judgement
judgement_of(struct trial *trial, const struct cut *cut)
{
	return (struct judgement){
		.options = trial->options,
		.scenario = &trial->scenario,
		.is_replay = trial->replay,
		.history = &trial->history,
		.first = cut->first,
		.last = cut->last,
		.is_late = trial->scenario.is_late,
		.dirty_bytes = cut->call % TIGHT_EVERY == 0 ? TIGHT_BYTES : 0,
		.now_ns = trial->options->base->now_ns + LATER_NS,
	};
}

static uint32_t
damage_classes(const struct judgement *judgement)
{
	return judgement->hits_allocation ? JUDGE_DAMAGE_IN_ALLOCATION : JUDGE_DAMAGE;
}

static int
judge_plain(struct trial *trial, const struct cut *cut)
{
	struct judgement judgement = judgement_of(trial, cut);

	if (has_write_fault(trial)) {
		judgement.allow = SNAPSHOT_NO_CONTENT | SNAPSHOT_NO_XATTRS;
		judgement.hits_allocation = trial->hits_allocation;
		judgement.allowed_classes = damage_classes(&judgement);
		judgement.first = cut->floor;
		judgement.may_refuse = true;
	}
	return judge_medium(&judgement, cut->medium);
}

/* The process is killed instead. Before anything was promised, anything written may be seen. */
static int
judge_killed(struct trial *trial, const struct cut *cut)
{
	struct judgement judgement = judgement_of(trial, cut);

	judgement.keeps_power = true;
	judgement.allowed_classes = JUDGE_CRASH;
	return judge_medium(&judgement, cut->medium);
}

/* A block with something in it, every other time one of the journal; or one that the journal
 * changes. */
static int
draw_block(struct trial *trial, struct sim_medium *medium, uint64_t *out_addr)
{
	uint8_t block[BLOCK_BYTES];
	const bool in_leaf = workload_changes_leaves(trial->workload);
	const bool in_journal = !in_leaf && rng_below(&trial->rng, 2) == 0;
	bool is_drawn = false;
	uint64_t addr = 0;
	int err = 0;

	if (in_leaf) {
		err = hit_draw_leaf(medium, &trial->rng, out_addr, &is_drawn);
		if (err || is_drawn)
			return err;
	}

	for (int i = 0; i < PEEKS_MAX; i++) {
		addr = in_journal ? hit_draw_journal(&trial->rng)
				  : rng_below(&trial->rng, WORLD_BYTES / BLOCK_BYTES);
		err = sim_peek(medium, addr, block);
		if (err || !bytes_are_zero(block, sizeof block))
			break;
	}
	*out_addr = addr;
	return err;
}

static int
judge_flipped(struct trial *trial, const struct cut *cut)
{
	struct judgement judgement = judgement_of(trial, cut);
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
	judgement.allow = SNAPSHOT_NO_CONTENT | SNAPSHOT_NO_XATTRS;
	judgement.first = cut->floor;
	judgement.may_refuse = true;
	judgement.hits_allocation = hit_is_allocation(trial->scenario.probe_addr, 1);
	judgement.allowed_classes = damage_classes(&judgement);
	if (!err)
		err = sim_flip_bit(medium, trial->scenario.probe_addr, trial->scenario.probe_bit);
	if (!err)
		err = judge_medium(&judgement, medium);
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
	struct judgement judgement = judgement_of(trial, cut);
	struct sim_medium *medium = NULL;
	bool has_previous = false;
	int err = sim_clone(cut->medium, &medium);

	if (err)
		return err;
	judgement.allowed_classes = JUDGE_CRASH;
	judgement.is_fallback = true;
	sim_power_off(medium);
	sim_power_on(medium, sim_choose_oldest, NULL);
	err = destroy_newest(medium, &has_previous);
	if (!err && has_previous)
		err = judge_medium(&judgement, medium);
	sim_free(medium);
	return err;
}

static enum scenario_probe
draw_probe(struct trial *trial)
{
	static const enum scenario_probe probes[] = { PROBE_FLIP, PROBE_FALLBACK, PROBE_KILL };

	if (has_write_fault(trial) || trial->scenario.fault == FAULT_POWER)
		return PROBE_NONE;
	if (has_failure(trial))
		return PROBE_KILL;
	if (workload_changes_leaves(trial->workload))
		return PROBE_FLIP;
	if (rng_below(&trial->rng, 1000) >= trial->options->probes_in_1000 &&
		!workload_is_rarely_cut(trial->workload))
		return PROBE_NONE;
	return probes[rng_below(&trial->rng, ARRAY_COUNT(probes))];
}

static int
judge_cut(struct trial *trial, const struct cut *cut)
{
	struct scenario *scenario = &trial->scenario;
	int err = 0;

	scenario->cut = cut->call;
	if (!trial->replay) {
		scenario->probe = PROBE_NONE;
		if (!workload_changes_leaves(trial->workload) || scenario->fault != FAULT_NONE)
			err = judge_plain(trial, cut);
		if (err)
			return err;
		scenario->probe = draw_probe(trial);
		if (scenario->probe == PROBE_NONE)
			return 0;
		atomic_fetch_add(&trial->options->tally->probes, 1);
	}
	switch (scenario->probe) {
	case PROBE_FLIP:
		return judge_flipped(trial, cut);
	case PROBE_FALLBACK:
		return judge_fallback(trial, cut);
	case PROBE_KILL:
		return judge_killed(trial, cut);
	default:
		return judge_plain(trial, cut);
	}
}

/* ---- Running the workload ------------------------------------------------------------------- */

/* Until a fault strikes all is as without it; what it has done shows in any cut soon after. */
static bool
is_worth_a_cut(struct trial *trial, struct sim_medium *medium)
{
	if (sim_faults_struck(medium) == 0)
		return false;
	if (trial->replay || trial->scenario.fault == FAULT_FAIL_CLOSE)
		return true;
	trial->cuts_since_fault++;
	return trial->cuts_since_fault <= CUTS_AFTER_FAULT && rng_below(&trial->rng, 8) == 0;
}

/*
 * The last batch is known durable only by one that comes after it: damage to it, or to data that it
 * names, looks like a torn tail. So may one fault cost what the last sync made durable, and one
 * that strikes two blocks what the last two did.
 */
static size_t
floor_of(const struct trial *trial)
{
	return trial->acknowledged[trial->scenario.fault == FAULT_MISDIRECT ? 2 : 1];
}

static void
capture(struct trial *trial, struct sim_medium *medium, uint64_t call)
{
	const bool has_fault = has_write_fault(trial) || has_failure(trial);
	struct cut *cut;

	if (!trial->is_capturing ||
		(!has_fault && !trial->replay && !workload_is_cut(trial->workload)))
		return;
	if (has_fault && !is_worth_a_cut(trial, medium))
		return;
	trial->cuts =
		must_grow(trial->cuts, trial->cut_count, &trial->cut_capacity, sizeof *trial->cuts);
	cut = &trial->cuts[trial->cut_count++];
	*cut = (struct cut){ .call = call, .first = trial->acknowledged[0] };
	cut->floor = floor_of(trial);
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

/* Whatever has been durable before is known to be so by what this one has written, if anything. */
static void
acknowledge(struct trial *trial, bool has_written)
{
	if (has_written)
		memmove(trial->acknowledged + 1, trial->acknowledged,
			(SYNCS_KEPT - 1) * sizeof trial->acknowledged[0]);
	trial->acknowledged[0] = trial->history.count - 1;
}

static uint64_t
batches_of(struct trial *trial)
{
	return volume_stats(open_volume_below(trial->world.volume)).journal_batches;
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
		if (scenario->fault_addr > 0) {
			fault.addr = scenario->fault_addr;
			fault.blocks = WORLD_BYTES / BLOCK_BYTES - scenario->fault_addr;
		}
		return sim_add_fault(medium, &fault);
	case FAULT_MISDIRECT:
		fault.kind = SIM_MISDIRECT_WRITE;
		return sim_add_fault(medium, &fault);
	case FAULT_FAIL_WRITE:
		fault.kind = SIM_FAIL_WRITE;
		return sim_add_fault(medium, &fault);
	case FAULT_FAIL_FLUSH:
	case FAULT_FAIL_CLOSE:
		fault.kind = SIM_FAIL_FLUSH;
		return sim_add_fault(medium, &fault);
	default:
		return 0;
	}
}

/* What is only made to be worked on is made without one. */
static int
begin_fault(struct trial *trial, struct sim_medium *medium)
{
	if (trial->has_begun || !workload_is_cut(trial->workload))
		return 0;
	trial->has_begun = true;
	return trial->scenario.fault == FAULT_FAIL_CLOSE ? 0 : add_fault(&trial->scenario, medium);
}

static bool
run_next(struct trial *trial, struct sim_medium *medium, int *out_err)
{
	struct oracle *model = oracle_copy(history_newest(&trial->history));
	uint32_t tolerance = (trial->scenario.fault == FAULT_NONE ? 0 : TOLERATE_DAMAGE) |
			     (trial->hits_allocation ? TOLERATE_FULL : 0);
	uint64_t batches = batches_of(trial);
	char text[ANSWER_TEXT_BYTES];
	enum answer_kind answer;
	struct op op;

	if (!workload_next(trial->workload, model, &op)) {
		oracle_free(model);
		return false;
	}
	*out_err = begin_fault(trial, medium);
	if (*out_err) {
		oracle_free(model);
		return false;
	}
	trial->world.now_ns += STEP_NS;
	if (trial->replay)
		history_tell(&trial->history, "workload", &op);
	answer = history_run(
		&trial->history, model, &trial->runner, &op, trial->world.now_ns, tolerance, text);
	if (answer == ANSWER_WRONG) {
		trial->scenario.cut = 0;
		trial->options->violation(trial->options->context, &trial->scenario, text);
		atomic_fetch_add(&trial->options->tally->violations, 1);
		return false;
	}
	if (!sim_is_on(medium))
		return false;
	if (answer == ANSWER_RIGHT &&
		history_is_promised(&trial->history, trial->scenario.is_late)) {
		acknowledge(trial, batches_of(trial) != batches);
		trial->is_capturing = true;
	}
	*out_err = judge_cuts(trial);
	if (trial->history.count > STATES_KEPT)
		history_forget(&trial->history, min_u64(trial->acknowledged[SYNCS_KEPT - 1],
							trial->history.count - STATES_KEPT));
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

/* After a power failure within a call there is one cut, of the medium itself. */
static int
finish(struct trial *trial, struct sim_medium *medium)
{
	bool was_on = sim_is_on(medium);
	int err = 0;

	atomic_fetch_add(&trial->options->tally->wraps,
		volume_stats(open_volume_below(trial->world.volume)).journal_wraps);

	op_runner_fini(&trial->runner);
	if (trial->scenario.fault == FAULT_FAIL_CLOSE) {
		err = add_fault(&trial->scenario, medium);
		/* What it says of the failure is tried elsewhere. */
		(void)world_close(&trial->world);
	} else if (trial->scenario.fault == FAULT_NONE && was_on) {
		err = world_close(&trial->world);
	} else {
		world_abandon(&trial->world);
	}
	if (err)
		return err;
	trial->is_capturing = true;
	if (trial->scenario.fault == FAULT_NONE && was_on)
		acknowledge(trial, true);
	if (!trial->replay || trial->scenario.cut == 0)
		capture(trial, medium, 0);
	return judge_cuts(trial);
}

int
trial_run(const struct trial_options *options, const struct scenario *scenario, bool replay)
{
	struct trial *trial = must_alloc(sizeof *trial);
	struct world_options open = { .seed = SEED_WORKLOAD,
		.now_ns = options->base->now_ns + STEP_NS,
		.buffers = scenario->is_late };
	struct sim_medium *medium = NULL;
	int err = workload_create(scenario->workload, scenario->seed, &trial->workload);

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
	if (!err) {
		if (scenario->fault != FAULT_POWER)
			sim_set_hook(medium, before_call, trial);
		while (run_next(trial, medium, &err))
			;
		if (!err)
			err = finish(trial, medium);
		else
			world_abandon(&trial->world);
	}
	sim_set_hook(medium, NULL, NULL);
	history_fini(&trial->history);
	free(trial->cuts);
	workload_free(trial->workload);
	sim_free(medium);
	free(trial);
	return err;
}
