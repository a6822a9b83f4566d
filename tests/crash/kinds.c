#include "crash/kinds.h"

#include "base/num.h"
#include "crash/draw.h"
#include "crash/vocabulary.h"

#include <stdio.h>
#include <string.h>

/* ---- Random ---------------------------------------------------------------------------------- */

enum {
	RANDOM_OPS_MIN = 100,
	RANDOM_OPS_MAX = 400,
	FULL_EVERY = 3,
	FILL_OPS = 26,
	FILL_BYTES = 256 << 10,
};

static void
begin_random(struct drawing *drawing, uint64_t seed, uint64_t number)
{
	rng_seed(&drawing->rng, seed * UINT64_C(1000003) + number);
	drawing->count = RANDOM_OPS_MIN + rng_below(&drawing->rng, RANDOM_OPS_MAX - RANDOM_OPS_MIN);
	drawing->is_full = rng_below(&drawing->rng, FULL_EVERY) == 0;
}

/*
 * Free space gets scarce, piece by piece until no more is given: what replay allocates comes close
 * to what the journal names.
 */
static void
draw_filling(size_t index, struct op *out_op)
{
	*out_op = (struct op)PREALLOCATE("/extents", index * FILL_BYTES, FILL_BYTES, 1);
}

static void
next_random(struct drawing *drawing, struct oracle *model, size_t index, struct op *out_op)
{
	if (drawing->is_full && index < FILL_OPS)
		draw_filling(index, out_op);
	else
		draw_any_op(&drawing->rng, model, out_op);
}

static void
begin_settled(struct drawing *drawing, uint64_t seed, uint64_t number)
{
	rng_seed(&drawing->rng, seed * UINT64_C(1000037) + number);
	drawing->count = RANDOM_OPS_MIN;
}

/* Checkpoints where others have syncs. */
static void
next_settled(struct drawing *drawing, struct oracle *model, size_t index, struct op *out_op)
{
	(void)index;
	draw_any_op(&drawing->rng, model, out_op);
	if (out_op->type == OP_SYNC)
		out_op->type = OP_SETTLE;
}

/* ---- Laps ------------------------------------------------------------------------------------ */

enum {
	LAPS_OPS = 3000,
	LAPS_WINDOW = 256, /* operations, of which the first few have their calls cut */
	LAPS_CUT = 6,
};

static void
begin_laps(struct drawing *drawing, uint64_t seed, uint64_t number)
{
	rng_seed(&drawing->rng, seed * UINT64_C(1000033) + number);
	drawing->count = LAPS_OPS;
}

static bool
is_lap_cut(const struct drawing *drawing, size_t done)
{
	(void)drawing;
	return done % LAPS_WINDOW < LAPS_CUT;
}

/* What goes through the journal fast: little is changed, and most of it without data. */
static const struct weight laps_weights[] = {
	{ OP_CREATE, 20 },
	{ OP_WRITE, 6 },
	{ OP_UNLINK, 15 },
	{ OP_RENAME, 12 },
	{ OP_SET_ATTR, 10 },
	{ OP_XATTR_SET, 4 },
	{ OP_POLL, 8 },
};

/* A sync after each, but now and then after two. */
static void
next_lap(struct drawing *drawing, struct oracle *model, size_t index, struct op *out_op)
{
	struct rng *rng = &drawing->rng;
	enum op_type type = draw_weighted(rng, laps_weights, ARRAY_COUNT(laps_weights));

	if (index % 2 == 1 && rng_below(rng, 8) > 0) {
		*out_op = (struct op){ .type = OP_SYNC };
		return;
	}
	if (oracle_path_count(model) > OBJECTS_WANTED && rng_below(rng, 4) == 0)
		type = OP_UNLINK;
	draw_op(rng, model, type, out_op);
	if (type == OP_WRITE || type == OP_XATTR_SET)
		out_op->bytes = 1 + out_op->bytes % 300;
}

/* ---- Rounds ---------------------------------------------------------------------------------- */

enum {
	ROUNDS_OPS = 12000,
	ROUNDS_CUT_ONE_IN = 600, /* operations, and the next ones */
	ROUNDS_CUT = 3,
};

static void
begin_rounds(struct drawing *drawing, uint64_t seed, uint64_t number)
{
	rng_seed(&drawing->rng, seed * UINT64_C(1000039) + number);
	rng_seed(&drawing->cut_rng, seed * UINT64_C(1000081) + number);
	drawing->count = ROUNDS_OPS;
}

static bool
is_round_cut(const struct drawing *drawing, size_t done)
{
	(void)done;
	return drawing->cuts > 0;
}

/* The cuts are drawn apart, so that what is done does not depend on them. */
static void
draw_round_cut(struct drawing *drawing)
{
	if (drawing->cuts > 0)
		drawing->cuts--;
	else if (rng_below(&drawing->cut_rng, ROUNDS_CUT_ONE_IN) == 0)
		drawing->cuts = ROUNDS_CUT;
}

/* What fills batches: writes and values that lie in the journal, at a few dozen objects. */
static const struct weight rounds_weights[] = {
	{ OP_CREATE, 10 },
	{ OP_WRITE, 20 },
	{ OP_SET_LENGTH, 3 },
	{ OP_UNLINK, 8 },
	{ OP_RENAME, 6 },
	{ OP_XATTR_SET, 40 },
	{ OP_POLL, 4 },
};

/* Batches of every length, nearly each of them durable before the next. */
static void
next_round(struct drawing *drawing, struct oracle *model, size_t index, struct op *out_op)
{
	struct rng *rng = &drawing->rng;
	enum op_type type = draw_weighted(rng, rounds_weights, ARRAY_COUNT(rounds_weights));

	draw_round_cut(drawing);
	if (index % 2 == 1 && rng_below(rng, 8) > 0) {
		*out_op = (struct op){ .type = OP_SYNC };
		return;
	}
	if (oracle_path_count(model) > OBJECTS_WANTED && rng_below(rng, 4) == 0)
		type = OP_UNLINK;
	draw_op(rng, model, type, out_op);
	if (type == OP_WRITE) {
		out_op->offset %= 16 * COP_BLOCK_BYTES;
		out_op->bytes = 1 + out_op->bytes % (3 * COP_BLOCK_BYTES);
	} else if (type == OP_XATTR_SET) {
		out_op->bytes = 500 + out_op->seed % 1500;
	} else if (type == OP_SET_LENGTH) {
		out_op->bytes %= 16 * COP_BLOCK_BYTES;
	}
}

/* ---- Jobs ------------------------------------------------------------------------------------ */

enum {
	JOBS_OBJECTS = 2,
	JOBS_BLOCKS = 320, /* of each object, every one an extent: more than a step frees */
	JOBS_MAKING = JOBS_OBJECTS * (1 + JOBS_BLOCKS) + 1, /* then they are settled */
	JOBS_OPS = 60,
};

static void
begin_jobs(struct drawing *drawing, uint64_t seed, uint64_t number)
{
	rng_seed(&drawing->rng, seed * UINT64_C(1000099) + number);
	drawing->count = JOBS_MAKING + JOBS_OPS;
}

static bool
is_job_cut(const struct drawing *drawing, size_t done)
{
	(void)drawing;
	return done > JOBS_MAKING;
}

static void
draw_job_object(size_t index, struct op *out_op)
{
	size_t object = index / (1 + JOBS_BLOCKS);
	size_t block = index % (1 + JOBS_BLOCKS);

	if (object == JOBS_OBJECTS) {
		*out_op = (struct op){ .type = OP_SETTLE };
		return;
	}
	if (block == 0)
		*out_op = (struct op)CREATE(COP_FILE, "", index);
	else
		*out_op = (struct op)WRITE("", (block - 1) * 8192, 4096, index);
	snprintf(out_op->path, sizeof out_op->path, "/many%zu", object);
}

/*
 * All of it, or much of it, by one of the calls that leave the rest to a job; some of them beside
 * what an earlier one has left, and what meets that: a write into it, a clone.
 */
static void
draw_removal(struct rng *rng, struct op *out_op)
{
	static const struct op removals[] = {
		UNLINK(""),
		LENGTH("", 0),
		LENGTH("", 30 * 8192),
		PUNCH("", 100, 250 * 8192),
		PUNCH("", 20 * 8192, 70 * 8192),
		PUNCH("", 130 * 8192 + 10, 60 * 8192),
		PUNCH("", 220 * 8192, 80 * 8192),
		WRITE("", 50 * 8192 + 10, 9000, 0),
		WRITE("", 150 * 8192, 20000, 0),
		PREALLOCATE("", 240 * 8192, 100000, 0),
		CLONE("", "/many0"),
		CLONE("/many1", ""),
		RENAME("/inline", "", 0),
		{ .type = OP_HOLD },
	};
	char path[16];

	*out_op = removals[rng_below(rng, ARRAY_COUNT(removals))];
	out_op->seed = rng_next(rng);
	snprintf(path, sizeof path, "/many%d", (int)rng_below(rng, JOBS_OBJECTS));
	snprintf(out_op->path[0] ? out_op->path2 : out_op->path, sizeof out_op->path, "%s", path);
}

/* Step by step, with syncs, and other changes among them, some to what is being removed. */
static void
next_job(struct drawing *drawing, struct oracle *model, size_t index, struct op *out_op)
{
	struct rng *rng = &drawing->rng;
	uint64_t what;

	if (index < JOBS_MAKING) {
		draw_job_object(index, out_op);
		return;
	}
	what = rng_below(rng, 10);
	if (index == JOBS_MAKING || what < 2)
		draw_removal(rng, out_op);
	else if (what < 5)
		*out_op = (struct op){ .type = OP_POLL };
	else if (what < 8)
		*out_op = (struct op){ .type = OP_SYNC };
	else
		draw_any_op(rng, model, out_op);
}

/* ---- Leaves ---------------------------------------------------------------------------------- */

enum {
	LEAVES_EXTENTS = 140, /* of one file: more than a leaf of its tree holds */
	LEAVES_SETTLED = LEAVES_EXTENTS + 3,
	LEAVES_OPS = LEAVES_SETTLED + 90,
	LEAVES_CUT_EVERY = 18,
};

static void
begin_leaves(struct drawing *drawing, uint64_t seed, uint64_t number)
{
	rng_seed(&drawing->rng, seed * UINT64_C(1000081) + number);
	drawing->count = LEAVES_OPS;
}

static bool
is_leaf_cut(const struct drawing *drawing, size_t done)
{
	(void)drawing;
	return done > LEAVES_SETTLED && done % LEAVES_CUT_EVERY == 0;
}

/*
 * A file whose tree has several leaves, as they were in two checkpoints, every other time shared
 * with another one; then the journal changes them.
 */
static void
next_leaf(struct drawing *drawing, struct oracle *model, size_t index, struct op *out_op)
{
	struct rng *rng = &drawing->rng;
	uint64_t extent = index < LEAVES_EXTENTS ? index : rng_below(rng, LEAVES_EXTENTS);
	uint64_t choice = rng_below(rng, 32);

	if (index == LEAVES_EXTENTS || index == LEAVES_EXTENTS + 2)
		*out_op = (struct op){ .type = OP_SETTLE };
	else if (index == LEAVES_EXTENTS + 1 && choice < 16)
		*out_op = (struct op)CLONE("/tree", "/many");
	else if (index > LEAVES_SETTLED && choice < 4)
		*out_op = (struct op)WRITE("/many", extent * 8192, 4096, rng_next(rng));
	else if (index < LEAVES_EXTENTS || (index > LEAVES_SETTLED && choice < 12))
		*out_op = (struct op)WRITE("/tree", extent * 8192, 4096, rng_next(rng));
	else if (choice < 14)
		*out_op = (struct op)PUNCH("/tree", extent * 8192, 4096);
	else if (choice < 23)
		draw_op(rng, model, draw_weighted(rng, laps_weights, ARRAY_COUNT(laps_weights)),
			out_op);
	else
		*out_op = (struct op){ .type = choice == 31 ? OP_SETTLE : OP_SYNC };
}

/* ---- Clones ---------------------------------------------------------------------------------- */

enum {
	CLONES_FILES = 5,
	CLONES_EXTENTS = 150, /* of the first file, written one by one */
	CLONES_SETTLED = CLONES_FILES + CLONES_EXTENTS + 1,
	CLONES_OPS = CLONES_SETTLED + 120,
	CLONES_CUT_EVERY = 6,
};

static void
begin_clones(struct drawing *drawing, uint64_t seed, uint64_t number)
{
	rng_seed(&drawing->rng, seed * UINT64_C(1000117) + number);
	drawing->count = CLONES_OPS;
}

static bool
is_clone_cut(const struct drawing *drawing, size_t done)
{
	(void)drawing;
	return done > CLONES_SETTLED && done % CLONES_CUT_EVERY == 0;
}

static void
make_clones(size_t index, struct op *out_op)
{
	if (index == CLONES_SETTLED - 1) {
		*out_op = (struct op){ .type = OP_SETTLE };
	} else if (index < CLONES_FILES) {
		*out_op = (struct op)CREATE(COP_FILE, "", index);
		snprintf(out_op->path, sizeof out_op->path, "/c%zu", index);
	} else {
		index -= CLONES_FILES;
		*out_op = (struct op)WRITE("/c0", index * 8192, 4096, index);
	}
}

static const struct weight clones_weights[] = {
	{ OP_CLONE, 18 }, { OP_WRITE, 16 }, { OP_PUNCH, 10 }, { OP_SET_LENGTH, 6 },
	{ OP_UNLINK, 4 }, { OP_CREATE, 6 }, { OP_RENAME, 3 }, { OP_POLL, 10 }, { OP_SYNC, 15 },
	{ OP_SETTLE, 4 }, { OP_TYPES, 8 }, /* any change of anything */
};

/* A file whose tree has several leaves is cloned to and fro; its clones are changed, cut, removed
 * by jobs and made anew. */
static void
next_clone(struct drawing *drawing, struct oracle *model, size_t index, struct op *out_op)
{
	struct rng *rng = &drawing->rng;
	const uint64_t offset = rng_below(rng, CLONES_EXTENTS) * 8192;
	const uint64_t file = rng_below(rng, CLONES_FILES);
	const uint64_t other = (file + 1 + rng_below(rng, CLONES_FILES - 1)) % CLONES_FILES;
	struct op *op = out_op;

	if (index < CLONES_SETTLED) {
		make_clones(index, op);
		return;
	}
	*op = (struct op){ .type = draw_weighted(rng, clones_weights, ARRAY_COUNT(clones_weights)),
		.kind = COP_FILE,
		.seed = rng_next(rng) };
	snprintf(op->path, sizeof op->path, "/c%" PRIu64, file);
	switch (op->type) {
	case OP_TYPES:
		draw_any_op(rng, model, op);
		break;
	case OP_CLONE:
	case OP_RENAME:
		snprintf(op->path2, sizeof op->path2, "/c%" PRIu64, other);
		break;
	case OP_WRITE:
		op->offset = offset;
		op->bytes = (1 + rng_below(rng, 6)) * COP_BLOCK_BYTES;
		break;
	case OP_PUNCH:
		op->offset = offset + rng_below(rng, 3) * 100;
		op->bytes = (uint64_t)COP_BLOCK_BYTES << rng_below(rng, 9);
		break;
	case OP_SET_LENGTH:
		op->bytes = rng_below(rng, 3) ? offset + rng_below(rng, 5000) : 0;
		break;
	case OP_UNLINK:
		op->flags = COP_UNLINK_FILE;
		break;
	default:
		break;
	}
}

/* ---- The list -------------------------------------------------------------------------------- */

static const struct workload_kind kinds[] = {
	{ .name = "random", .begin = begin_random, .next = next_random },
	{ .name = "settled", .begin = begin_settled, .next = next_settled },
	{ .name = "laps",
		.begin = begin_laps,
		.next = next_lap,
		.is_cut = is_lap_cut,
		.is_rarely_cut = true },
	{ .name = "rounds",
		.begin = begin_rounds,
		.next = next_round,
		.is_cut = is_round_cut,
		.is_rarely_cut = true },
	{ .name = "jobs", .begin = begin_jobs, .next = next_job, .is_cut = is_job_cut },
	{ .name = "leaves",
		.begin = begin_leaves,
		.next = next_leaf,
		.is_cut = is_leaf_cut,
		.is_rarely_cut = true,
		.changes_leaves = true },
	{ .name = "clones", .begin = begin_clones, .next = next_clone, .is_cut = is_clone_cut },
};

const struct workload_kind *
kind_find(const char *name, size_t bytes)
{
	for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
		if (strlen(kinds[i].name) == bytes && memcmp(kinds[i].name, name, bytes) == 0)
			return &kinds[i];
	}
	return NULL;
}
