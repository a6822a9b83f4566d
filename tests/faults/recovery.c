/*
 * recovery: a crashed volume is opened while something fails, or after its journal was damaged.
 *
 * Failures: the n-th allocation, read, write or flush of an opening fails, for every n, once and
 * with all after it, for writing and for reading. The opening fails with that error, or it shows
 * what it should; the next one, when nothing fails any more, shows the whole state.
 *
 * Damage: every block of the journal's region is flipped, emptied, garbled, stale, unreadable, or
 * holds another batch. What must come of it follows from where the block lies:
 *
 *   before the newest superblock's tail, or outside of the chain   nothing is lost
 *   under what another batch says was durable, or unreadable       opened for reading: the state
 *       where the next batch would be                              before; for writing: refused,
 *                                                                  until the loss is accepted
 *   else: a torn tail                                              the state before, both ways
 *
 * Afterwards operations and a sync work, check finds nothing, and the next opening shows the same.
 *
 *   recovery [failures|damage [KIND BLOCK]]
 */

#include "base/num.h"
#include "base/random.h"
#include "coppice.h"
#include "faults/crashed.h"
#include "object/open.h"
#include "support/alloc.h"
#include "support/die.h"
#include "support/must.h"
#include "support/op.h"
#include "support/sources.h"
#include "support/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	NTH_MAX = 20000,
	WHY_BYTES = 512,
	PATIENCE_S = 60, /* for one opening; what takes longer hangs */
	SEED_OPEN = 71,
	SEED_AGAIN = 72,
};

static struct crashed crashed;
static uint64_t tries;
static uint64_t failures;

static const struct snapshot *
whole(void)
{
	return crashed.points[crashed.point_count - 1];
}

static bool
says(char why[WHY_BYTES], const char *what)
{
	snprintf(why, WHY_BYTES, "%s: %s", what, cop_error_text());
	return false;
}

/* ---- What a volume shows --------------------------------------------------------------------- */

static int
open_world(struct world *world, struct sim_medium *medium, uint64_t seed, bool read_only)
{
	struct world_options options = {
		.seed = seed, .now_ns = crashed.now_ns, .read_only = read_only
	};

	return world_open(world, medium, &options);
}

static bool
shows(struct cop_volume *volume, const struct snapshot *wanted, char why[WHY_BYTES])
{
	struct snapshot *found = NULL;
	bool matches;

	if (snapshot_of_volume(volume, &found) != 0)
		return says(why, "it cannot be read");
	matches = snapshot_matches(found, wanted, 0, why, WHY_BYTES);
	snapshot_free(found);
	return matches;
}

/* Shows `wanted`, takes changes, makes them durable, and is whole afterwards. */
static bool
goes_on(struct sim_medium *medium, const struct snapshot *wanted, char why[WHY_BYTES])
{
	static const struct op ops[] = {
		{ .type = OP_CREATE, .kind = COP_FILE, .path = "/again" },
		{ .type = OP_WRITE, .path = "/again", .bytes = 20000, .seed = 3 },
		{ .type = OP_SYNC },
	};
	struct snapshot *after = NULL;
	struct op_runner runner;
	struct world_check check;
	struct world world;
	uint64_t id;
	bool good;
	int err;

	if (open_world(&world, medium, SEED_OPEN, false) != 0)
		return says(why, "it does not open for writing");
	good = shows(world.volume, wanted, why);
	must(op_runner_init(&runner, world.volume), "root");
	for (size_t i = 0; i < ARRAY_COUNT(ops); i++) {
		err = op_run(&runner, &ops[i], &id);
		if (err && good)
			good = says(why, "it takes no changes");
	}
	op_runner_fini(&runner);
	must(snapshot_of_volume(world.volume, &after), "snapshot");
	world_abandon(&world);    /* what was synced is in the journal */
	sim_clear_faults(medium); /* what was written anew can be read */

	err = open_world(&world, medium, SEED_AGAIN, false);
	if (err && good)
		good = says(why, "it does not open again");
	if (!err && good)
		good = shows(world.volume, after, why);
	if (!err && world_close(&world) != 0 && good)
		good = says(why, "it does not close");
	snapshot_free(after);
	must(world_check(medium, &check), "check");
	for (uint32_t class = 0; good && class < WORLD_CLASSES; class ++) {
		if (check.first[class][0]) {
			snprintf(why, WHY_BYTES, "check finds: %s", check.first[class]);
			good = false;
		}
	}
	return good;
}

/* ---- Failures -------------------------------------------------------------------------------- */

enum fault_kind { FAIL_MEMORY, FAIL_READ, FAIL_WRITE, FAIL_WRITE_FULL, FAIL_FLUSH, FAIL_KINDS };

static const char *const fault_name[FAIL_KINDS] = { "allocation", "read", "write",
	"write (device full)", "flush" };

struct attempt {
	enum fault_kind kind;
	bool read_only;
	bool persistent;
	uint64_t nth;
	struct sim_medium *medium;
	struct device *memory; /* for failing allocations: the simulator itself allocates */
};

static void
complain(const struct attempt *attempt, const char *why)
{
	printf("not ok: opening for %s: %s %" PRIu64 "%s: %s\n",
		attempt->read_only ? "reading" : "writing", fault_name[attempt->kind], attempt->nth,
		attempt->persistent ? " and all after it" : "", why);
	failures++;
}

/* A block that cannot be read where the chain ends is damage, until it can be read again. */
static bool
is_error_of(const struct attempt *attempt, int err)
{
	switch (attempt->kind) {
	case FAIL_MEMORY:
		return err == COP_ENOMEM;
	case FAIL_READ: /* a bitmap that cannot be read closes its group to allocation */
		return err == COP_EIO || (err == COP_ENOSPC && !attempt->read_only) ||
		       (err == COP_ELOSS && !attempt->read_only &&
			       strstr(cop_error_text(), "damage in the journal"));
	case FAIL_WRITE_FULL:
		return err == COP_ENOSPC || err == COP_EIO;
	default:
		return err == COP_EIO;
	}
}

/* A reader that could not read a batch shows what came before. */
static bool
shows_what_it_may(const struct attempt *attempt, struct cop_volume *volume, char why[WHY_BYTES])
{
	bool any = attempt->read_only && attempt->kind == FAIL_READ;

	for (size_t i = 0; any && i < crashed.point_count; i++) {
		if (shows(volume, crashed.points[i], why))
			return true;
	}
	return shows(volume, whole(), why);
}

/* Lets the n-th chance fail while it opens. *out_struck: there was an n-th. */
static bool
open_on_medium(struct attempt *attempt, bool *out_struck, char why[WHY_BYTES])
{
	static const enum sim_fault_kind sim_kind[FAIL_KINDS] = { 0, SIM_FAIL_READ, SIM_FAIL_WRITE,
		SIM_FAIL_WRITE, SIM_FAIL_FLUSH };
	struct sim_fault fault = {
		.kind = sim_kind[attempt->kind],
		.call = attempt->nth,
		.persistent = attempt->persistent,
		.code = attempt->kind == FAIL_WRITE_FULL ? COP_ENOSPC : COP_EIO,
	};
	struct world world;
	bool good = true;
	int err;

	must(sim_add_fault(attempt->medium, &fault), "fault");
	err = open_world(&world, attempt->medium, SEED_OPEN + 2, attempt->read_only);
	if (err && !is_error_of(attempt, err))
		good = says(why, "another error");
	*out_struck = sim_faults_struck(attempt->medium) > 0;
	sim_clear_faults(attempt->medium);
	if (!err) {
		good = shows_what_it_may(attempt, world.volume, why);
		world_abandon(&world);
	}
	return good && goes_on(attempt->medium, whole(), why);
}

static void
copy_to_memory(struct attempt *attempt)
{
	static _Alignas(BLOCK_BYTES) uint8_t block[BLOCK_BYTES];
	struct device_options options = { 0 };
	char url[64];

	snprintf(url, sizeof url, "mem:%d", WORLD_BYTES);
	must(device_open(url, &options, &attempt->memory), "device");
	for (uint64_t addr = 0; addr < device_blocks(attempt->memory); addr++) {
		must(sim_peek(attempt->medium, addr, block), "peek");
		must(device_write(attempt->memory, addr, block, 1), "copy");
	}
}

static bool
open_in_memory(struct attempt *attempt, bool *out_struck, char why[WHY_BYTES])
{
	struct cop_open_options options = COP_INIT(options);
	struct cop_volume *volume = NULL;
	struct rng rng;
	bool good = true;

	rng_seed(&rng, SEED_OPEN);
	copy_to_memory(attempt);
	options.cache_bytes = COP_CACHE_BYTES_MIN;
	options.random = sources_random;
	options.context = &rng;
	options.read_only = attempt->read_only;
	for (int again = 0; good && again < 2; again++) {
		uint64_t before = alloc_count();
		int err;

		if (again == 0 && attempt->persistent)
			alloc_fail_from(attempt->nth);
		else if (again == 0)
			alloc_fail_nth(attempt->nth);
		err = cop_open_on(attempt->memory, &options, &volume);
		if (again == 0)
			*out_struck = alloc_count() - before >= attempt->nth;
		alloc_fail_nth(0);
		if (err && (again > 0 || !is_error_of(attempt, err)))
			good = says(why, "another error");
		if (!err) {
			good = shows(volume, whole(), why);
			cop_abandon(volume);
		}
	}
	device_close(attempt->memory);
	return good;
}

/* Returns how often something failed. */
static uint64_t
try_every_nth(enum fault_kind kind, bool read_only, bool persistent)
{
	for (uint64_t nth = 1; nth < NTH_MAX; nth++) {
		struct attempt attempt = {
			.kind = kind,
			.read_only = read_only,
			.persistent = persistent,
			.nth = nth,
		};
		char why[WHY_BYTES] = "";
		bool struck = false;
		bool good;

		must(sim_clone(crashed.medium, &attempt.medium), "clone");
		alarm(PATIENCE_S);
		tries++;
		good = kind == FAIL_MEMORY ? open_in_memory(&attempt, &struck, why)
					   : open_on_medium(&attempt, &struck, why);
		alarm(0);
		if (!good)
			complain(&attempt, why);
		sim_free(attempt.medium);
		if (!struck)
			return nth - 1;
	}
	must(COP_ERANGE, "it does not come to an end");
	return 0;
}

static void
try_failures(void)
{
	for (int read_only = 0; read_only < 2; read_only++) {
		uint64_t struck[FAIL_KINDS] = { 0 };

		for (enum fault_kind kind = 0; kind < FAIL_KINDS; kind++)
			for (int persistent = 0; persistent < 2; persistent++)
				struck[kind] +=
					try_every_nth(kind, read_only != 0, persistent != 0);
		printf("opening for %s: %" PRIu64 " allocations %" PRIu64 " reads %" PRIu64
		       " writes %" PRIu64 " flushes failed\n",
			read_only ? "reading" : "writing", struck[FAIL_MEMORY], struck[FAIL_READ],
			struck[FAIL_WRITE] + struck[FAIL_WRITE_FULL], struck[FAIL_FLUSH]);
	}
}

/* ---- Damage ---------------------------------------------------------------------------------- */

enum damage_kind { FLIP_FIRST, FLIP_LAST, ZERO, GARBLE, STALE, OTHER, UNREADABLE, DAMAGE_KINDS };

static const char *const damage_name[DAMAGE_KINDS] = { "flip-first", "flip-last", "zero", "garble",
	"stale", "other", "unreadable" };

struct damage {
	enum damage_kind kind;
	uint64_t block; /* of the region */
};

/* False: it cannot be done there. */
static bool
inflict(struct sim_medium *medium, const struct damage *damage)
{
	uint64_t addr = crashed.region.addr + damage->block;
	const struct sim_fault fault = {
		.kind = SIM_FAIL_READ, .persistent = true, .addr = addr, .blocks = 1
	};
	uint8_t block[BLOCK_BYTES] = { 0 };
	struct rng rng;
	int err;

	switch (damage->kind) {
	case FLIP_FIRST:
		must(sim_flip_bit(medium, addr, 600), "flip"); /* in a header, if it is one */
		return true;
	case FLIP_LAST:
		must(sim_flip_bit(medium, addr, 8 * BLOCK_BYTES - 1), "flip");
		return true;
	case STALE:
		err = sim_make_stale(medium, addr);
		if (err != COP_ENOENT)
			must(err, "stale");
		return err == 0;
	case UNREADABLE:
		must(sim_add_fault(medium, &fault), "fault");
		return true;
	case GARBLE:
		rng_seed(&rng, addr);
		rng_bytes(&rng, block, sizeof block);
		break;
	case OTHER:
		if (damage->block == crashed.chain.batches[0].position)
			return false;
		must(sim_peek(medium, crashed.region.addr + crashed.chain.batches[0].position,
			     block),
			"peek");
		break;
	default:
		break;
	}
	must(sim_poke(medium, addr, block), "poke");
	return true;
}

/* What must come of it. */
struct outcome {
	bool refused; /* for writing */
	uint64_t first_lost;
	uint64_t last_lost;
	const struct snapshot *shown;
};

static bool
was_changed(struct sim_medium *medium, uint64_t addr)
{
	uint8_t before[BLOCK_BYTES];
	uint8_t after[BLOCK_BYTES];

	must(sim_peek(crashed.medium, addr, before), "peek");
	must(sim_peek(medium, addr, after), "peek");
	return memcmp(before, after, BLOCK_BYTES) != 0;
}

static struct outcome
outcome_of(struct sim_medium *medium, const struct damage *damage)
{
	const struct journal_chain *chain = &crashed.chain;
	bool unreadable = damage->kind == UNREADABLE;
	struct outcome outcome = { .shown = whole() };
	uint64_t durable = chain->batches[chain->newest].sequence - 1;
	uint64_t transactions = 0;
	size_t hit = 0;

	while (hit < chain->count &&
		(damage->block < chain->batches[hit].position ||
			damage->block >= chain->batches[hit].position + chain->batches[hit].blocks))
		hit++;
	if (hit == chain->count) {
		outcome.refused = unreadable && damage->block == chain->end.position;
		outcome.first_lost = outcome.last_lost = chain->end.sequence;
		return outcome;
	}
	if (hit < chain->newest)
		return outcome;
	if (!unreadable && !was_changed(medium, crashed.region.addr + damage->block))
		return outcome;
	for (size_t i = chain->newest; i < chain->count; i++) {
		bool header_lost = i == hit && damage->kind != FLIP_LAST &&
				   damage->block == chain->batches[i].position;

		if (!header_lost)
			durable = max_u64(durable, chain->batches[i].durable);
		if (i < hit)
			transactions += chain->batches[i].transactions;
	}
	outcome.first_lost = chain->batches[hit].sequence;
	outcome.last_lost = max_u64(durable, outcome.first_lost);
	outcome.refused = unreadable || durable >= outcome.first_lost;
	outcome.shown = crashed.points[transactions];
	return outcome;
}

static bool
is_refused(struct sim_medium *medium, const struct outcome *outcome, char why[WHY_BYTES])
{
	struct world world;
	char wanted[80];
	int err = open_world(&world, medium, SEED_OPEN, false);

	snprintf(wanted, sizeof wanted, "batches %" PRIu64 " to %" PRIu64, outcome->first_lost,
		outcome->last_lost);
	if (err == 0) {
		world_abandon(&world);
		snprintf(why, WHY_BYTES, "it opens for writing, though %s are lost", wanted);
		return false;
	}
	if (err != COP_ELOSS || !strstr(cop_error_text(), wanted))
		return says(why, "it does not say what is lost");
	return true;
}

static bool
accept_loss(struct sim_medium *medium, char why[WHY_BYTES])
{
	return world_accept_loss(medium) == 0 || says(why, "the loss cannot be accepted");
}

static bool
reader_shows(struct sim_medium *medium, const struct snapshot *wanted, char why[WHY_BYTES])
{
	struct world world;
	bool good;

	if (open_world(&world, medium, SEED_OPEN, true) != 0)
		return says(why, "it does not open for reading");
	good = shows(world.volume, wanted, why);
	world_abandon(&world);
	return good;
}

static void
try_damage(const struct damage *damage)
{
	struct sim_medium *medium = NULL;
	struct outcome outcome;
	char why[WHY_BYTES] = "";
	bool good;

	must(sim_clone(crashed.medium, &medium), "clone");
	if (inflict(medium, damage)) {
		outcome = outcome_of(medium, damage);
		alarm(PATIENCE_S);
		tries++;
		good = reader_shows(medium, outcome.shown, why);
		if (good && outcome.refused)
			good = is_refused(medium, &outcome, why) && accept_loss(medium, why);
		if (outcome.refused)
			sim_clear_faults(medium); /* what is written anew can be read */
		good = good && goes_on(medium, outcome.shown, why);
		alarm(0);
		if (!good) {
			printf("not ok: %s %" PRIu64 ": %s\n", damage_name[damage->kind],
				damage->block, why);
			failures++;
		}
	}
	sim_free(medium);
}

static void
try_all_damage(void)
{
	struct damage damage;

	for (damage.kind = 0; damage.kind < DAMAGE_KINDS; damage.kind++)
		for (damage.block = 0; damage.block < crashed.region.blocks; damage.block++)
			try_damage(&damage);
}

static void
try_named_damage(const char *kind, const char *block)
{
	struct damage damage = { .block = strtoull(block, NULL, 10) };

	for (damage.kind = 0; damage.kind < DAMAGE_KINDS; damage.kind++) {
		if (strcmp(kind, damage_name[damage.kind]) == 0)
			try_damage(&damage);
	}
}

int
main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	setvbuf(stdout, NULL, _IOLBF, 0);
	crashed_create(&crashed);
	if (strcmp(what, "damage") != 0)
		try_failures();
	if (argc > 3)
		try_named_damage(argv[2], argv[3]);
	else if (strcmp(what, "failures") != 0)
		try_all_damage();
	crashed_fini(&crashed);
	printf("%" PRIu64 " tries, %" PRIu64 " failures\n", tries, failures);
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
