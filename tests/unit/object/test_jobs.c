#include "world.h"

#include "base/random.h"
#include "object/clone.h"
#include "object/reclaim.h"
#include "volume/volume.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

enum { TEETH = 200 };

static void
takes_apart_a_tree_that_a_crash_left(void **state)
{
	struct world world;
	struct cop_object *file;
	uint64_t number;
	struct operation op;
	struct loaded loaded;
	struct tx *tx;
	uint64_t before;
	uint64_t id;

	(void)state;
	world_init(&world, 64 * MIB, 0, 5);
	before = world_free_bytes(&world);
	file = world_comb(&world, TEETH);
	id = cop_id(file);
	must(change_begin(&op, world.volume, &file, 1));
	must(record_load(file, &loaded));
	loaded.record.form = COP_FORM_INLINE;
	loaded.record.length = 0;
	loaded.record.allocated_blocks = 0;
	number = volume_next_job(world.volume->volume);
	must(tx_begin(world.volume->volume, &op.visit, true, &tx));
	must(job_put_dismantle(tx, file, number));
	must(record_put(tx, file->branch, file->id, &loaded.record));
	must(change_commit(&op, tx));
	change_end(&op);
	must(cop_sync(world.volume));
	cop_release(file);
	assert_true(world.volume->handles > 0);
	world_reopen(&world, true);

	must(cop_get(world.root, id, &file));
	must(cop_unref(file));
	cop_release(file);
	assert_int_equal(world_free_bytes(&world), before);
	world_fini(&world);
}

/* ---- What the call costs, and each step ------------------------------------------------------ */

struct cost {
	uint64_t transactions;
	uint64_t journal_blocks;
	uint64_t node_reads;
};

/* Of everything until now; durable, so that the journal's part of it is counted. */
static struct cost
cost_so_far(struct world *world)
{
	struct volume_stats stats;

	must(cop_sync(world->volume));
	stats = volume_stats(world->volume->volume);
	return (struct cost){
		.transactions = stats.transactions,
		.journal_blocks = stats.journal_blocks,
		.node_reads = atomic_load(&volume_tree_env(world->volume->volume)->node_reads),
	};
}

static void
expect_cost(struct world *world, struct cost before, uint64_t transactions, const char *what)
{
	enum { JOURNAL_BLOCKS_MAX = 2, NODE_READS_MAX = 16 };
	struct cost now = cost_so_far(world);

	if (now.transactions - before.transactions > transactions ||
		now.journal_blocks - before.journal_blocks > JOURNAL_BLOCKS_MAX ||
		now.node_reads - before.node_reads > NODE_READS_MAX)
		fail_msg("%s: %" PRIu64 " transactions, %" PRIu64 " blocks of journal, %" PRIu64
			 " nodes read",
			what, now.transactions - before.transactions,
			now.journal_blocks - before.journal_blocks,
			now.node_reads - before.node_reads);
}

/* One step at a time; how many there were. */
static uint64_t
run_steps(struct world *world)
{
	uint64_t pending = 1;
	uint64_t steps = 0;

	for (; pending > 0; steps++) {
		struct cost before = cost_so_far(world);

		must(cop_poll(world->volume, &pending));
		expect_cost(world, before, 2, "step"); /* the last one may shrink what is left */
	}
	return steps;
}

static struct cop_object *
make_named(struct world *world, const char *name)
{
	struct cop_new new = COP_INIT(new);
	struct cop_object *file;

	new.kind = COP_FILE;
	must(cop_create(world->root, name, strlen(name), &new, &file));
	return file;
}

enum { PIECE = 16 * 4096 }; /* of scattered content */

/* Makes 1 GiB of blocks that lie scattered on the device: another file has every other piece. */
static void
scatter(struct cop_object *file, struct cop_object *other)
{
	for (uint64_t at = 0; at < 1024 * MIB; at += PIECE) {
		must(cop_preallocate(file, at, PIECE, true));
		must(cop_preallocate(other, at, PIECE, true));
	}
}

/* 64 GiB with a block here and there. */
static void
spread(struct cop_object *file)
{
	for (uint64_t i = 0; i < 1024; i++)
		world_write(file, i, i * 64 * MIB, 4096);
	must(cop_set_length(file, UINT64_C(64) << 30));
}

static void
removes_or_cuts_at_once(struct world *world, const char *name, uint64_t length, uint64_t steps_min)
{
	struct cop_object *file;
	struct cost before;

	/* Nothing of it is in memory. */
	must(cop_settle(world->volume));
	world_reopen(world, false);
	must(cop_lookup(world->root, name, strlen(name), &file));
	before = cost_so_far(world);
	if (length > 0) {
		must(cop_set_length(file, length));
		expect_cost(world, before, 1, "truncate");
		assert_int_equal(world_attr(file).length, length);
		cop_release(file);
	} else {
		cop_release(file);
		must(cop_unlink(world->root, name, strlen(name), 0));
		expect_cost(world, before, 1, "unlink");
	}
	assert_in_range(run_steps(world), steps_min, 20000);
}

static void
returns_after_one_small_transaction(void **state)
{
	struct world world;
	struct cop_object *files[2];
	uint64_t before;

	(void)state;
	world_init(&world, 2200 * MIB, 0, 31);
	before = world_free_bytes(&world);
	files[0] = make_named(&world, "sparse");
	spread(files[0]);
	cop_release(files[0]);
	removes_or_cuts_at_once(&world, "sparse", 1000, 5);
	removes_or_cuts_at_once(&world, "sparse", 0, 1);
	files[0] = make_named(&world, "sparse");
	spread(files[0]);
	cop_release(files[0]);
	removes_or_cuts_at_once(&world, "sparse", UINT64_C(32) << 30, 10);
	removes_or_cuts_at_once(&world, "sparse", 0, 2);
	assert_int_equal(world_free_bytes(&world), before);

	files[0] = make_named(&world, "scattered");
	files[1] = make_named(&world, "other");
	scatter(files[0], files[1]);
	cop_release(files[0]);
	cop_release(files[1]);
	removes_or_cuts_at_once(&world, "scattered", 512 * MIB + 7, 170);
	removes_or_cuts_at_once(&world, "other", 5, 50);
	removes_or_cuts_at_once(&world, "scattered", 0, 25);
	removes_or_cuts_at_once(&world, "other", 0, 1);
	assert_int_equal(world_free_bytes(&world), before);
	world_fini(&world);
}

/* ---- Calls beside a pending job -------------------------------------------------------------- */

enum {
	BESIDE_EXTENTS = 16384, /* every other block, waiting to be freed */
	BESIDE_BLOCKS = 2 * BESIDE_EXTENTS,
	BESIDE_GROUPS = 3, /* of live extents behind them, each with a gap before it */
	BESIDE_GROUP_EXTENTS = 200,
	BESIDE_GROUP_BLOCKS = 1024,
};

static uint64_t
group_at(uint64_t group)
{
	return (BESIDE_BLOCKS + group * BESIDE_GROUP_BLOCKS + 100) * UINT64_C(4096);
}

static void
preallocate_comb(struct cop_object *file, uint64_t at, uint64_t extents)
{
	for (uint64_t i = 0; i < extents; i++)
		must(cop_preallocate(file, at + i * 8192, 4096, true));
}

static void
punch_one_group(struct world *world, struct cop_object *file)
{
	(void)world;
	must(cop_punch(file, group_at(1), BESIDE_GROUP_EXTENTS * 8192));
}

static void
punch_one_extent(struct world *world, struct cop_object *file)
{
	(void)world;
	must(cop_punch(file, group_at(1), 4096));
}

static void
cut_in_a_group(struct world *world, struct cop_object *file)
{
	(void)world;
	must(cop_set_length(file, group_at(1) + 5000));
}

static void
cut_in_the_middle(struct world *world, struct cop_object *file)
{
	(void)world;
	must(cop_set_length(file, BESIDE_BLOCKS / 2 * 4096 + 17));
}

static void
cut_to_nothing(struct world *world, struct cop_object *file)
{
	(void)world;
	must(cop_set_length(file, 0));
}

static void
remove_it(struct world *world, struct cop_object *file)
{
	must(cop_unlink(world->root, "file", 4, 0));
	(void)file;
}

static void
seek_all(struct world *world, struct cop_object *file)
{
	uint64_t at;

	(void)world;
	must(cop_seek_data(file, 0, &at) == COP_ENODATA ? 0 : COP_EFORMAT);
	must(cop_seek_hole(file, 0, &at));
	assert_int_equal(at, 0);
}

static void
write_in_the_middle(struct world *world, struct cop_object *file)
{
	(void)world;
	world_write(file, 1, BESIDE_BLOCKS / 2 * 4096 + 17, 100);
}

static void
write_at_its_end(struct world *world, struct cop_object *file)
{
	(void)world;
	world_write(file, 1, (BESIDE_BLOCKS - 4) * 4096, 100);
}

static void
write_elsewhere(struct world *world, struct cop_object *file)
{
	(void)world;
	world_write(file, 1, group_at(0), 100);
}

static void
preallocate_in_the_middle(struct world *world, struct cop_object *file)
{
	(void)world;
	must(cop_preallocate(file, BESIDE_BLOCKS / 2 * 4096, 64 * 4096, true));
}

static void
clone_from_it(struct world *world, struct cop_object *file)
{
	struct cop_object *other;

	must(cop_lookup(world->root, "other", 5, &other));
	must(object_clone(file, other));
	cop_release(other);
}

static void
clone_over_it(struct world *world, struct cop_object *file)
{
	struct cop_object *other;

	must(cop_lookup(world->root, "other", 5, &other));
	must(object_clone(other, file));
	cop_release(other);
}

/* Who writes or allocates there frees first what is in the way. */
static const struct call {
	const char *what;
	void (*call)(struct world *world, struct cop_object *file);
	uint64_t transactions;
} calls[] = {
	{ "punch", punch_one_group, 1 },
	{ "punch of an extent", punch_one_extent, 1 },
	{ "cut behind", cut_in_a_group, 1 },
	{ "cut in the middle", cut_in_the_middle, 1 },
	{ "cut to nothing", cut_to_nothing, 1 },
	{ "unlink", remove_it, 1 },
	{ "write in the middle", write_in_the_middle, 2 },
	{ "write at the end", write_at_its_end, 2 },
	{ "write behind", write_elsewhere, 1 },
	{ "preallocation", preallocate_in_the_middle, 2 },
	{ "clone of it", clone_from_it, 1 },
	{ "clone over it", clone_over_it, 1 },
	{ "listing what there is", seek_all, 0 },
};

static void
run_beside(struct sim_medium *medium, const struct call *call)
{
	struct world world = { .now_ns = INT64_C(1800000000000000000) };
	struct cop_object *file;
	struct cost before;

	must(sim_clone(medium, &world.medium));
	must(sim_open(world.medium, 0, &world.dev));
	world_open(&world);
	must(cop_lookup(world.root, "file", 4, &file));
	before = cost_so_far(&world);
	call->call(&world, file);
	expect_cost(&world, before, call->transactions, call->what);
	cop_release(file);
	world_fini(&world);
}

static void
waits_for_no_job_elsewhere(void **state)
{
	struct world world;
	struct cop_object *file;
	struct cop_object *other;

	(void)state;
	world_init_on_sim(&world, 512 * MIB, 41);
	file = make_named(&world, "file");
	preallocate_comb(file, 0, BESIDE_EXTENTS);
	for (uint64_t i = 0; i < BESIDE_GROUPS; i++)
		preallocate_comb(file, group_at(i), BESIDE_GROUP_EXTENTS);
	other = make_named(&world, "other");
	preallocate_comb(other, 0, 100);
	cop_release(other);
	must(cop_settle(world.volume));
	must(cop_punch(file, 0, BESIDE_BLOCKS * 4096));
	cop_release(file);
	must(cop_sync(world.volume));
	cop_release(world.root);
	cop_abandon(world.volume);

	for (size_t i = 0; i < ARRAY_COUNT(calls); i++)
		run_beside(world.medium, &calls[i]);
	world_open(&world);
	world_fini(&world);
}

/* Each poll counts the jobs that are left: of many of them not all. */
static void
counts_no_more_jobs_than_a_hundred(void **state)
{
	enum { JOBS = 130, COUNTED = 100 };
	struct world world;
	struct cop_object *file;
	uint64_t pending;

	(void)state;
	world_init(&world, 64 * MIB, 0, 44);
	file = world_comb(&world, 30);
	for (int i = 0; i < JOBS; i++) {
		struct cop_object *clone = world_file(&world);

		must(object_clone(file, clone));
		must(cop_unref(clone));
		cop_release(clone);
	}
	for (int left = JOBS - 1; left >= 0; left--) {
		must(cop_poll(world.volume, &pending));
		assert_int_equal(pending, left < COUNTED ? left : COUNTED);
	}
	cop_release(file);
	world_fini(&world);
}

/* ---- Power cuts ------------------------------------------------------------------------------ */

enum verb {
	VERB_UNLINK,
	VERB_ORPHAN, /* somebody holds it meanwhile */
	VERB_EMPTY,  /* cut to nothing */
	VERB_HALVE,  /* cut in the middle */
	VERB_PUNCH,  /* the middle */
	VERB_TWICE,  /* punched, then unlinked */
	VERB_TWO,    /* two ranges are punched */
	VERB_WRITE,  /* punched, then written in the middle of the hole */
	VERB_CLONE,  /* punched, then cloned */
	VERBS,
};

enum { CUT_TEETH = 600, PUNCHED_TEETH = 400 };

static const char *const name = "file";

/* From a byte in one tooth to a byte in another: what is between these two goes. */
static void
punch_teeth(struct cop_object *file, uint64_t first, uint64_t count)
{
	must(cop_punch(file, first * 8192 + 10, count * 8192));
}

static void
clone_file(struct world *world, struct cop_object *file)
{
	struct cop_object *copy = make_named(world, "copy");

	must(object_clone(file, copy));
	cop_release(copy);
}

static void
do_verb(struct world *world, enum verb verb, struct cop_object **out_held)
{
	struct cop_object *file;

	must(cop_lookup(world->root, name, strlen(name), &file));
	switch (verb) {
	case VERB_EMPTY:
		must(cop_set_length(file, 0));
		break;
	case VERB_HALVE:
		must(cop_set_length(file, CUT_TEETH * 4096 + 100));
		break;
	case VERB_PUNCH:
	case VERB_TWICE:
		punch_teeth(file, 100, PUNCHED_TEETH);
		break;
	case VERB_TWO:
		punch_teeth(file, 100, PUNCHED_TEETH / 2);
		punch_teeth(file, 350, PUNCHED_TEETH / 2);
		break;
	case VERB_WRITE:
		punch_teeth(file, 100, PUNCHED_TEETH);
		world_write(file, 1, 300 * 8192, 4096);
		break;
	case VERB_CLONE:
		punch_teeth(file, 100, PUNCHED_TEETH);
		clone_file(world, file);
		break;
	default:
		break;
	}
	if (verb == VERB_ORPHAN)
		*out_held = cop_hold(file);
	cop_release(file);
	if (verb == VERB_UNLINK || verb == VERB_ORPHAN || verb == VERB_TWICE)
		must(cop_unlink(world->root, name, strlen(name), 0));
}

static void
steps(struct world *world, uint64_t count)
{
	uint64_t pending;

	for (uint64_t i = 0; i < count; i++)
		must(cop_poll(world->volume, &pending));
}

static void
cut_power(struct world *world, sim_choose choose, struct rng *rng, struct cop_object *held)
{
	sim_power_off(world->medium);
	cop_release(held);
	cop_release(world->root);
	cop_abandon(world->volume);
	device_close(world->dev);
	sim_power_on(world->medium, choose, rng);
	must(sim_open(world->medium, 0, &world->dev));
	world_open(world);
}

/* Blocks of data that the file has, of those that it may have. */
static uint64_t
teeth_of(struct world *world)
{
	struct cop_object *file;
	uint64_t bytes;
	int err = cop_lookup(world->root, name, strlen(name), &file);

	if (err == COP_ENOENT)
		return 0;
	must(err);
	bytes = world_attr(file).allocated_bytes;
	cop_release(file);
	return bytes / 4096;
}

struct cutting {
	struct sim_medium *before; /* the file is whole */
	uint64_t free_bytes;       /* without the file */
	struct rng rng;
};

/* May the file have so many blocks when all steps are done? */
static bool
may_be_left(enum verb verb, bool is_synced, uint64_t teeth)
{
	const uint64_t halved = CUT_TEETH / 2 + 1;
	const uint64_t punched = CUT_TEETH - PUNCHED_TEETH + 1;
	const uint64_t half_punched = CUT_TEETH - PUNCHED_TEETH / 2 + 1;

	if (!is_synced && (teeth == CUT_TEETH || (verb == VERB_TWICE && teeth == punched) ||
				  (verb == VERB_WRITE && teeth == punched) ||
				  (verb == VERB_TWO && teeth == half_punched)))
		return true;
	switch (verb) {
	case VERB_HALVE:
		return teeth == halved;
	case VERB_PUNCH:
	case VERB_CLONE:
		return teeth == punched;
	case VERB_TWO:
	case VERB_WRITE:
		return teeth == punched + 1;
	default:
		return teeth == 0;
	}
}

/* A verb, some steps, a cut, some more steps, another cut; then to the end. */
static void
cut_between_steps(struct cutting *cutting, enum verb verb, uint64_t count, uint32_t manner)
{
	const sim_choose choose = manner % 2 == 0 ? sim_choose_random : sim_choose_oldest;
	const bool is_synced = manner / 2 % 2 == 1;
	const bool is_synced_again = manner / 4 % 2 == 1;
	struct world world = { .now_ns = INT64_C(1800000000000000000) };
	struct cop_object *held = NULL;
	int err;

	world.seed = rng_next(&cutting->rng);
	must(sim_clone(cutting->before, &world.medium));
	must(sim_open(world.medium, 0, &world.dev));
	world_open(&world);
	do_verb(&world, verb, &held);
	if (is_synced)
		must(cop_sync(world.volume));
	steps(&world, count);
	cut_power(&world, choose, &cutting->rng, held);
	steps(&world, count / 2 + 1);
	if (is_synced_again)
		must(cop_sync(world.volume));
	cut_power(&world, choose, &cutting->rng, NULL);
	(void)run_steps(&world);
	if (!may_be_left(verb, is_synced, teeth_of(&world)))
		fail_msg("verb %d, %" PRIu64 " steps, manner %u: %" PRIu64 " blocks left",
			(int)verb, count, manner, teeth_of(&world));
	err = cop_unlink(world.root, name, strlen(name), 0);
	if (err != COP_ENOENT)
		must(err);
	err = cop_unlink(world.root, "copy", 4, 0);
	if (err != COP_ENOENT)
		must(err);
	assert_int_equal(world_free_bytes(&world), cutting->free_bytes);
	world_fini(&world);
}

static void
goes_on_after_a_cut_between_any_two_steps(void **state)
{
	enum { MANNERS = 8, STEPS_MAX = 16, MANNERS_EACH = 2 };
	struct cutting cutting = { 0 };
	struct cop_object *file;
	struct world world;
	uint32_t manner = 0;

	(void)state;
	rng_seed(&cutting.rng, 32);
	world_init_on_sim(&world, 16 * MIB, 32);
	cutting.free_bytes = world_free_bytes(&world);
	file = make_named(&world, name);
	for (uint64_t i = 0; i < CUT_TEETH; i++)
		world_write(file, i, i * 8192, 4096);
	cop_release(file);
	must(cop_sync(world.volume));
	must(sim_clone(world.medium, &cutting.before));
	for (int verb = 0; verb < VERBS; verb++) {
		for (uint64_t count = 0; count < STEPS_MAX; count++) {
			for (int i = 0; i < MANNERS_EACH; i++)
				cut_between_steps(
					&cutting, (enum verb)verb, count, manner++ % MANNERS);
			manner += count % 2; /* others for the next verb */
		}
	}
	sim_free(cutting.before);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_apart_a_tree_that_a_crash_left),
		cmocka_unit_test(returns_after_one_small_transaction),
		cmocka_unit_test(waits_for_no_job_elsewhere),
		cmocka_unit_test(counts_no_more_jobs_than_a_hundred),
		cmocka_unit_test(goes_on_after_a_cut_between_any_two_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
