/*
 * damage: every allocated block of a small volume is damaged, one at a time and in every way, and
 * so are its superblocks.
 *
 *   flip A B     bit B of block A is flipped: for every block its first and last bit and some in
 *                between
 *   zero A       block A is zeros, as if it had never been written
 *   garble A     block A is noise
 *   stale A      block A is as it was before it was last written
 *   swap A B     blocks A and B have changed places
 *   copy A B     block B is also where A was
 *
 * After each: `check` ends and finds it, or nothing that can be seen is touched; every byte that
 * can be read is right, everything but the content of single blocks can be read, and operations
 * and a sync afterwards do no harm.
 *
 *   damage [--bits N] [--swaps N] [--seed S] [--only 'flip A B']
 *
 * The last line is `N damages, N violations`; exit status 1 with a violation.
 */

#include "base/num.h"
#include "base/random.h"
#include "coppice.h"
#include "crash/draw.h"
#include "crash/workload.h"
#include "space/geometry.h"
#include "support/die.h"
#include "support/must.h"
#include "support/world.h"
#include "volume/volume.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	SEED_FORMAT = 31,
	SEED_FILL = 32,
	SEED_READ = 33,
	STEP_NS = 1000,
	BLOCKS = WORLD_BYTES / BLOCK_BYTES,
	BLOCK_BITS = 8 * BLOCK_BYTES,
	WHY_BYTES = 1024,
	PATIENCE_S = 60, /* for one damage; what takes longer hangs */
	ANSWERS = 10,    /* operations afterwards */
	USAGE = 2,
};

enum damage_kind { FLIP, ZERO, GARBLE, STALE, SWAP, COPY, DAMAGE_KINDS };

static const char *const damage_name[DAMAGE_KINDS] = { "flip", "zero", "garble", "stale", "swap",
	"copy" };

struct damage {
	enum damage_kind kind;
	uint64_t addr;
	uint64_t other; /* bit, or block */
};

struct settings {
	uint64_t bits;
	uint64_t swaps;
	uint64_t seed;
	const char *only;
};

/* The volume before it is damaged. */
static struct sim_medium *whole;
static struct oracle *model;
static int64_t now_ns;
static uint64_t used[BLOCKS];
static size_t used_count;

static uint64_t damages;
static uint64_t violations;
static uint64_t unnoticed; /* check found nothing, and nothing could be seen */

/* ---- The volume ----------------------------------------------------------------------------- */

static void
fill_volume(struct world *world)
{
	struct workload *fixture = workload_fixture();
	struct snapshot *empty = NULL;
	struct op_runner runner;
	struct op op;
	uint64_t id;

	must(snapshot_of_volume(world->volume, &empty), "an empty volume");
	model = oracle_create(&empty->entries[0]);
	snapshot_free(empty);
	must(op_runner_init(&runner, world->volume), "root");
	while (workload_next(fixture, model, &op)) {
		world->now_ns += STEP_NS;
		must(op_run(&runner, &op, &id), op.path);
		must(oracle_apply(model, &op, world->now_ns), "model");
		if (id)
			oracle_learn_id(model, op.path, id);
	}
	op_runner_fini(&runner);
	workload_free(fixture);
	now_ns = world->now_ns;
}

/* Blocks with something in them; those without are free or were never written. */
static void
find_used(void)
{
	static uint8_t block[BLOCK_BYTES];
	static const uint8_t zeros[BLOCK_BYTES];

	for (uint64_t addr = 0; addr < BLOCKS; addr++) {
		must(sim_peek(whole, addr, block), "peek");
		if (memcmp(block, zeros, sizeof block) != 0)
			used[used_count++] = addr;
	}
}

static void
make_volume(void)
{
	struct world_options options = { .seed = SEED_FILL, .now_ns = STEP_NS };
	struct world world;

	must(sim_create(WORLD_BYTES, SEED_FORMAT, &whole), "medium");
	must(world_format(whole, SEED_FORMAT), "format");
	must(world_open(&world, whole, &options), "open");
	fill_volume(&world);
	must(world_close(&world), "close");
	find_used();
}

/* ---- One damage ----------------------------------------------------------------------------- */

static void
violation(const struct damage *damage, const char *what)
{
	printf("violation: %s %" PRIu64 " %" PRIu64 ": %s\n", damage_name[damage->kind],
		damage->addr, damage->other, what);
	violations++;
}

static void
inflict(struct sim_medium *medium, const struct damage *damage)
{
	uint8_t one[BLOCK_BYTES] = { 0 };
	uint8_t two[BLOCK_BYTES];
	struct rng rng;
	int err;

	switch (damage->kind) {
	case FLIP:
		must(sim_flip_bit(medium, damage->addr, (uint32_t)damage->other), "flip");
		return;
	case ZERO:
		break;
	case GARBLE:
		rng_seed(&rng, damage->addr);
		rng_bytes(&rng, one, sizeof one);
		break;
	case STALE:
		err = sim_make_stale(medium, damage->addr);
		if (err != COP_ENOENT)
			must(err, "stale");
		return;
	case SWAP:
		must(sim_peek(medium, damage->addr, two), "peek");
		must(sim_peek(medium, damage->other, one), "peek");
		must(sim_poke(medium, damage->other, two), "poke");
		break;
	default:
		must(sim_peek(medium, damage->other, one), "peek");
	}
	must(sim_poke(medium, damage->addr, one), "poke");
}

/* Whatever they answer, they must come back. */
static void
operate(struct world *world)
{
	struct oracle *guess = oracle_copy(model);
	struct op_runner runner;
	struct rng rng;
	struct op op;
	uint64_t id;

	rng_seed(&rng, 1);
	if (op_runner_init(&runner, world->volume) == 0) {
		for (int i = 0; i < ANSWERS; i++) {
			draw_any_op(&rng, guess, &op);
			world->now_ns += STEP_NS;
			(void)op_run(&runner, &op, &id); /* damage may forbid it */
		}
		op = (struct op){ .type = OP_SYNC };
		(void)op_run(&runner, &op, &id); /* likewise */
	}
	op_runner_fini(&runner);
	oracle_free(guess);
}

/* Compares what is readable; `strict`: everything must be. */
static bool
reads_right(struct sim_medium *medium, bool strict, char why[WHY_BYTES])
{
	struct world_options options = { .seed = SEED_READ, .now_ns = now_ns };
	struct snapshot *found = NULL;
	struct world world;
	bool right;

	if (world_open(&world, medium, &options) != 0) {
		snprintf(why, WHY_BYTES, "it does not open: %s", cop_error_text());
		return false;
	}
	if (snapshot_of_volume(world.volume, &found) != 0) {
		snprintf(why, WHY_BYTES, "it cannot be walked: %s", cop_error_text());
		world_abandon(&world);
		return false;
	}
	right = snapshot_matches(found, oracle_snapshot(model),
		strict ? 0 : SNAPSHOT_NO_CONTENT | SNAPSHOT_NO_XATTRS, why, WHY_BYTES);
	snapshot_free(found);
	operate(&world);
	(void)world_close(&world); /* an error is right when something was damaged */
	return right;
}

static void
try_damage(const struct damage *damage)
{
	struct sim_medium *medium = NULL;
	struct world_check check;
	char why[WHY_BYTES] = "";
	char text[2 * WHY_BYTES];

	must(sim_clone(whole, &medium), "clone");
	inflict(medium, damage);
	alarm(PATIENCE_S);
	damages++;
	if (world_check(medium, &check) != 0) {
		snprintf(text, sizeof text, "check: %s", cop_error_text());
		violation(damage, text);
	} else {
		unnoticed += check.problems == 0;
		if (!reads_right(medium, check.problems == 0, why)) {
			snprintf(text, sizeof text, "%s (check: %s)", why,
				check.problems ? "found it" : "nothing");
			violation(damage, text);
		}
		if (world_check(medium, &check) != 0)
			violation(damage, "check does not end after further operations");
	}
	alarm(0);
	sim_free(medium);
}

/* ---- Every block ---------------------------------------------------------------------------- */

static void
damage_blocks(const struct settings *settings)
{
	struct rng rng;

	rng_seed(&rng, settings->seed);
	for (size_t i = 0; i < used_count; i++) {
		struct damage damage = { .addr = used[i] };

		for (uint64_t bit = 0; bit < settings->bits; bit++) {
			damage.kind = FLIP;
			damage.other = bit == 0   ? 0
				       : bit == 1 ? BLOCK_BITS - 1
						  : rng_below(&rng, BLOCK_BITS);
			try_damage(&damage);
		}
		damage.other = 0;
		for (damage.kind = ZERO; damage.kind <= STALE; damage.kind++)
			try_damage(&damage);
	}
}

static void
damage_pairs(const struct settings *settings)
{
	struct rng rng;

	rng_seed(&rng, settings->seed + 1);
	for (uint64_t i = 0; i < settings->swaps; i++) {
		struct damage damage = {
			.kind = rng_below(&rng, 2) ? SWAP : COPY,
			.addr = used[rng_below(&rng, used_count)],
			.other = used[rng_below(&rng, used_count)],
		};

		if (damage.addr != damage.other)
			try_damage(&damage);
	}
}

/* ---- Superblocks ---------------------------------------------------------------------------- */

/* Every set of places is destroyed: the volume opens as long as one is left. */
static void
damage_superblocks(void)
{
	static const uint8_t zeros[BLOCK_BYTES];
	struct superblock newest;
	struct superblock previous;
	struct geometry geometry;
	struct device *dev = NULL;
	uint32_t places;

	must(sim_open(whole, DEVICE_READ_ONLY, &dev), "device");
	must(volume_find_superblock(dev, &newest, &previous), "superblock");
	device_close(dev);
	must(geometry_init(&geometry, newest.blocks, newest.ag_blocks, newest.journal_blocks),
		"geometry");
	places = geometry_superblock_places(&geometry);
	for (uint32_t lost = 1; lost < 1U << places; lost++) {
		struct damage damage = { .kind = ZERO, .addr = lost };
		struct sim_medium *medium = NULL;
		char why[WHY_BYTES] = "";
		bool none_left = lost + 1 == 1U << places;

		must(sim_clone(whole, &medium), "clone");
		for (uint32_t i = 0; i < places * SUPERBLOCK_RING; i++)
			if (lost & 1U << i / SUPERBLOCK_RING)
				must(sim_poke(medium,
					     geometry_superblock(&geometry, i / SUPERBLOCK_RING,
						     i % SUPERBLOCK_RING),
					     zeros),
					"poke");
		damages++;
		if (reads_right(medium, true, why) == none_left)
			violation(&damage, none_left ? "no superblock is left, and it opens" : why);
		sim_free(medium);
	}
}

/* ---- The program ---------------------------------------------------------------------------- */

static bool
parse_number(const char *text, uint64_t *out_number)
{
	char *end;

	*out_number = strtoull(text, &end, 10);
	return *text && !*end;
}

static bool
parse_options(int argc, char **argv, struct settings *settings)
{
	static const struct option known[] = {
		{ "bits", required_argument, NULL, 'b' },
		{ "swaps", required_argument, NULL, 's' },
		{ "seed", required_argument, NULL, 'r' },
		{ "only", required_argument, NULL, 'o' },
		{ NULL, 0, NULL, 0 },
	};
	bool good = true;

	for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
		switch (option) {
		case 'b':
			good = good && parse_number(optarg, &settings->bits);
			break;
		case 's':
			good = good && parse_number(optarg, &settings->swaps);
			break;
		case 'r':
			good = good && parse_number(optarg, &settings->seed);
			break;
		case 'o':
			settings->only = optarg;
			break;
		default:
			return false;
		}
	}
	return good && optind == argc;
}

static bool
try_only(const char *text)
{
	struct damage damage = { 0 };
	char name[16];

	if (sscanf(text, "%15s %" SCNu64 " %" SCNu64, name, &damage.addr, &damage.other) < 2)
		return false;
	while (damage.kind < DAMAGE_KINDS && strcmp(name, damage_name[damage.kind]) != 0)
		damage.kind++;
	if (damage.kind == DAMAGE_KINDS || damage.addr >= BLOCKS)
		return false;
	try_damage(&damage);
	return true;
}

int
main(int argc, char **argv)
{
	struct settings settings = { .bits = 5, .swaps = 1000, .seed = 1 };

	if (!parse_options(argc, argv, &settings)) {
		fputs("usage: damage [--bits N] [--swaps N] [--seed S] [--only 'KIND A B']\n",
			stderr);
		return USAGE;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	make_volume();
	if (settings.only) {
		if (!try_only(settings.only))
			return USAGE;
	} else {
		damage_superblocks();
		damage_blocks(&settings);
		damage_pairs(&settings);
	}
	oracle_free(model);
	sim_free(whole);
	printf("%zu blocks in use; %" PRIu64 " damages hit nothing\n", used_count, unnoticed);
	printf("%" PRIu64 " damages, %" PRIu64 " violations\n", damages, violations);
	return violations ? EXIT_FAILURE : EXIT_SUCCESS;
}
