#include "crash/workload.h"

#include "base/num.h"
#include "coppice.h"
#include "support/must.h"

#include <assert.h>

enum {
	RANDOM_OPS_MIN = 100,
	RANDOM_OPS_MAX = 400,
	OBJECTS_WANTED = 40,
	SHAPE_OPS_MAX = 4,
	SHAPE_COUNT_MAX = 128,
	RANDOM_EVERY = 4,
	FULL_EVERY = 3,
	FILL_OPS = 26,
	FILL_BYTES = 256 << 10,
	LAPS_OPS = 3000,
	LAPS_WINDOW = 256, /* operations, of which the first few have their calls cut */
	LAPS_CUT = 6,
	ROUNDS_OPS = 12000,
	ROUNDS_CUT_ONE_IN = 600, /* operations, and the next ones */
	ROUNDS_CUT = 3,
	JOBS_OBJECTS = 2,
	JOBS_BLOCKS = 320, /* of each object, every one an extent: more than a step frees */
	JOBS_OPS = 60,
	LEAVES_EXTENTS = 140, /* of one file: more than a leaf of its tree holds */
	LEAVES_SETTLED = LEAVES_EXTENTS + 3,
	LEAVES_OPS = LEAVES_SETTLED + 90,
	LEAVES_CUT_EVERY = 18,
};

/* ---- The fixture ---------------------------------------------------------------------------- */

#define CREATE(kind_, path_, seed_)                                                  \
	{                                                                            \
		.type = OP_CREATE, .kind = (kind_), .path = (path_), .seed = (seed_) \
	}
#define WRITE(path_, offset_, bytes_, seed_)                                               \
	{                                                                                  \
		.type = OP_WRITE, .path = (path_), .offset = (offset_), .bytes = (bytes_), \
		.seed = (seed_)                                                            \
	}
#define XATTR(path_, number_, bytes_, seed_)                                     \
	{                                                                        \
		.type = OP_XATTR_SET, .path = (path_), .name_number = (number_), \
		.bytes = (bytes_), .seed = (seed_)                               \
	}
#define LINK(path_, path2_)                                         \
	{                                                           \
		.type = OP_LINK, .path = (path_), .path2 = (path2_) \
	}
#define RENAME(path_, path2_, flags_)                                                    \
	{                                                                                \
		.type = OP_RENAME, .path = (path_), .path2 = (path2_), .flags = (flags_) \
	}
#define UNLINK(path_)                                                        \
	{                                                                    \
		.type = OP_UNLINK, .path = (path_), .flags = COP_UNLINK_FILE \
	}
#define RMDIR(path_)                                                              \
	{                                                                         \
		.type = OP_UNLINK, .path = (path_), .flags = COP_UNLINK_DIRECTORY \
	}
#define LENGTH(path_, bytes_)                                             \
	{                                                                 \
		.type = OP_SET_LENGTH, .path = (path_), .bytes = (bytes_) \
	}
#define PUNCH(path_, offset_, bytes_)                                                     \
	{                                                                                 \
		.type = OP_PUNCH, .path = (path_), .offset = (offset_), .bytes = (bytes_) \
	}
#define PREALLOCATE(path_, offset_, bytes_, grow_)                                               \
	{                                                                                        \
		.type = OP_PREALLOCATE, .path = (path_), .offset = (offset_), .bytes = (bytes_), \
		.flags = (grow_)                                                                 \
	}
#define CLONE(path_, path2_)                                         \
	{                                                            \
		.type = OP_CLONE, .path = (path_), .path2 = (path2_) \
	}

static const struct op fixture_head[] = {
	CREATE(COP_DIRECTORY, "/d", 1),
	CREATE(COP_DIRECTORY, "/d/empty", 2),
	CREATE(COP_FILE, "/d/file", 3),
	WRITE("/d/file", 0, 20000, 4),
	CREATE(COP_FILE, "/inline", 5),
	WRITE("/inline", 0, 100, 6),
	CREATE(COP_FILE, "/extents", 7),
	WRITE("/extents", 0, 5 * 4096 + 700, 8),
	CREATE(COP_FILE, "/one", 9),
	WRITE("/one", 0, 10, 10),
	LINK("/one", "/two"),
	CREATE(COP_SYMLINK, "/symlink", 11),
	CREATE(COP_FIFO, "/fifo", 12),
	CREATE(COP_FILE, "/xattrs", 13),
	XATTR("/xattrs", 0, 40, 14),
	XATTR("/xattrs", 1, 2000, 15),
	XATTR("/xattrs", 2, 20000, 16),
	CREATE(COP_FILE, "/preallocated", 17),
	PREALLOCATE("/preallocated", 0, 6 * 4096, 1),
	CREATE(COP_FILE, "/many", 18),
	CREATE(COP_FILE, "/tree", 19),
	CREATE(COP_DIRECTORY, "/large", 20),
	CREATE(COP_FILE, "/large/first", 21),
};

/* After the head: every other block of two files, and many names of one object in a directory. */
enum { FIXTURE_MANY = 6, FIXTURE_TREE = 40, FIXTURE_NAMES = 40 };

static bool
fixture_op(size_t index, struct op *out_op)
{
	struct op op = { 0 };

	if (index < ARRAY_COUNT(fixture_head)) {
		*out_op = fixture_head[index];
		return true;
	}
	index -= ARRAY_COUNT(fixture_head);
	if (index < FIXTURE_MANY) {
		op = (struct op)WRITE("/many", index * 8192, 4096, 100 + index);
	} else if (index < FIXTURE_MANY + FIXTURE_TREE) {
		index -= FIXTURE_MANY;
		op = (struct op)WRITE("/tree", index * 8192, 4096, 200 + index);
	} else if (index < FIXTURE_MANY + FIXTURE_TREE + FIXTURE_NAMES) {
		index -= FIXTURE_MANY + FIXTURE_TREE;
		op = (struct op)LINK("/large/first", "");
		snprintf(op.path2, sizeof op.path2, "/large/a further name, number %zu", index);
	} else if (index == FIXTURE_MANY + FIXTURE_TREE + FIXTURE_NAMES) {
		op.type = OP_SETTLE;
	} else {
		return false;
	}
	*out_op = op;
	return true;
}

/* ---- Shapes --------------------------------------------------------------------------------- */

/* An operation on the fixture as part of a pair; some need another one or two to make sense. */
struct shape {
	struct op op[SHAPE_OPS_MAX];
};

static const struct shape shapes[] = {
	{ { CREATE(COP_FILE, "/new", 31) } },
	{ { CREATE(COP_FILE, "/large/new", 32) } },
	{ { CREATE(COP_DIRECTORY, "/d/new", 33) } },
	{ { CREATE(COP_SYMLINK, "/d/symlink", 34) } },
	{ { CREATE(COP_FIFO, "/new fifo", 35) } },
	{ { CREATE(COP_SOCKET, "/socket", 36) } },
	{ { CREATE(COP_CHAR_DEVICE, "/char", 37) } },
	{ { CREATE(COP_BLOCK_DEVICE, "/block", 38) } },
	{ { { .type = OP_ALLOCATE, .kind = COP_FILE, .path = "/allocated", .seed = 39 } } },
	{ { CREATE(COP_FILE, "/written", 40), WRITE("/written", 0, 30000, 41) } },

	{ { WRITE("/inline", 100, 50, 42) } },
	{ { WRITE("/inline", 50, 100, 43) } },
	{ { WRITE("/inline", 0, 8000, 44) } },
	{ { WRITE("/inline", 100000, 10, 45) } },
	{ { WRITE("/extents", 5000, 9000, 46) } },
	{ { WRITE("/extents", 4096, 4096, 47) } },
	{ { WRITE("/extents", 5 * 4096 + 700, 300, 48) } },
	{ { WRITE("/extents", 5 * 4096 + 700, 70000, 49) } },
	{ { WRITE("/extents", UINT64_C(1) << 30, 4096, 50) } },
	{ { WRITE("/many", 0, FIXTURE_MANY * 8192, 51) } },
	{ { WRITE("/many", FIXTURE_MANY * 8192, 4096, 52),
		WRITE("/many", (FIXTURE_MANY + 1) * 8192, 4096, 53),
		WRITE("/many", (FIXTURE_MANY + 2) * 8192, 4096, 54) } },
	{ { WRITE("/tree", 8192 * 10 + 100, 5000, 55) } },
	{ { WRITE("/tree", 0, 200000, 56) } },
	{ { WRITE("/tree", 8192 * FIXTURE_TREE, 100, 57) } },
	{ { WRITE("/preallocated", 4096, 5000, 58) } },
	{ { WRITE("/xattrs", 0, 3000, 59) } },

	{ { LENGTH("/inline", 10) } },
	{ { LENGTH("/inline", 0) } },
	{ { LENGTH("/inline", 5000) } },
	{ { LENGTH("/extents", 9000) } },
	{ { LENGTH("/extents", 50) } },
	{ { LENGTH("/extents", 0) } },
	{ { LENGTH("/extents", 1000000) } },
	{ { LENGTH("/tree", 8192 * 30 + 10) } },
	{ { LENGTH("/tree", 3) } },
	{ { LENGTH("/tree", 0) } },
	{ { LENGTH("/tree", UINT64_C(1) << 40) } },
	{ { LENGTH("/many", 8192 * 3) } },
	{ { LENGTH("/preallocated", 4096) } },

	{ { PUNCH("/inline", 10, 20) } },
	{ { PUNCH("/extents", 4096, 8192) } },
	{ { PUNCH("/extents", 100, 9000) } },
	{ { PUNCH("/tree", 8192 * 5, 8192 * 30) } },
	{ { PUNCH("/tree", 0, 8192 * FIXTURE_TREE) } },
	{ { PUNCH("/preallocated", 0, 8192) } },
	{ { PREALLOCATE("/inline", 0, 10000, 1) } },
	{ { PREALLOCATE("/extents", 0, 100000, 1) } },
	{ { PREALLOCATE("/extents", 8192, 50000, 0) } },
	{ { PREALLOCATE("/tree", 0, 8192 * 20, 0) } },

	{ { LINK("/inline", "/d/link") } },
	{ { LINK("/tree", "/large/link") } },
	{ { LINK("/symlink", "/symlink2") } },
	{ { UNLINK("/inline") } },
	{ { UNLINK("/extents") } },
	{ { UNLINK("/tree") } },
	{ { UNLINK("/one") } },
	{ { UNLINK("/one"), UNLINK("/two") } },
	{ { UNLINK("/symlink") } },
	{ { UNLINK("/xattrs") } },
	{ { UNLINK("/large/first") } },
	{ { UNLINK("/large/a further name, number 7") } },
	{ { UNLINK("/preallocated") } },
	{ { RMDIR("/d/empty") } },
	{ { UNLINK("/d/file"), RMDIR("/d/empty"), RMDIR("/d") } },

	{ { RENAME("/inline", "/renamed", 0) } },
	{ { RENAME("/inline", "/extents", 0) } },
	{ { RENAME("/extents", "/tree", 0) } },
	{ { RENAME("/tree", "/two", 0) } },
	{ { RENAME("/d/file", "/large/from d", 0) } },
	{ { RENAME("/d/empty", "/moved", 0) } },
	{ { RENAME("/large", "/d/empty", 0) } },
	{ { RENAME("/large/first", "/first", 0) } },
	{ { RENAME("/d", "/large/d", COP_RENAME_NOREPLACE) } },
	{ { RENAME("/inline", "/extents", COP_RENAME_EXCHANGE) } },
	{ { RENAME("/d", "/symlink", COP_RENAME_EXCHANGE) } },
	{ { RENAME("/one", "/two", 0) } },
	{ { RENAME("/fifo", "/symlink", 0) } },
	{ { RENAME("/d", "/d/empty/inside", 0) } },

	{ { XATTR("/inline", 0, 10, 60) } },
	{ { XATTR("/inline", 3, 3000, 61) } },
	{ { XATTR("/d", 2, 30000, 62) } },
	{ { XATTR("/xattrs", 0, 50, 63) } },
	{ { XATTR("/xattrs", 2, 100, 64) } },
	{ { XATTR("/xattrs", 0, 9000, 65) } },
	{ { { .type = OP_XATTR_REMOVE, .path = "/xattrs", .name_number = 0 } } },
	{ { { .type = OP_XATTR_REMOVE, .path = "/xattrs", .name_number = 2 } } },
	{ { { .type = OP_SET_ATTR,
		.path = "/tree",
		.flags = COP_SET_MODE | COP_SET_UID,
		.seed = 66 } } },
	{ { { .type = OP_SET_ATTR,
		.path = "/d",
		.flags = COP_SET_MODIFIED | COP_SET_CREATED,
		.seed = 67 } } },
	{ { { .type = OP_SET_ATTR,
		.path = "/symlink",
		.flags = COP_SET_GID | COP_SET_DOCTYPE,
		.seed = 68 } } },

	{ { { .type = OP_REF, .path = "/one" } } },
	{ { { .type = OP_HOLD, .path = "/tree", .name_number = 0 }, UNLINK("/tree") } },
	{ { { .type = OP_HOLD, .path = "/extents", .name_number = 1 }, UNLINK("/extents"),
		{ .type = OP_WRITE_HELD,
			.name_number = 1,
			.offset = 3000,
			.bytes = 60000,
			.seed = 69 },
		{ .type = OP_LET_GO, .name_number = 1 } } },
	{ { { .type = OP_HOLD, .path = "/inline", .name_number = 2 },
		RENAME("/extents", "/inline", 0),
		{ .type = OP_WRITE_HELD,
			.name_number = 2,
			.offset = 0,
			.bytes = 9000,
			.seed = 70 } } },
	{ { { .type = OP_SYNC } } },
	{ { { .type = OP_SETTLE } } },

	{ { CLONE("/inline", "/tree") } },
	{ { CLONE("/extents", "/d/file") } },
	{ { CLONE("/preallocated", "/one"), WRITE("/one", 4096, 5000, 71) } },
	{ { CLONE("/tree", "/many") } },
	{ { CLONE("/tree", "/many"), WRITE("/many", 8192 * 10, 8192 * 5, 72) } },
	{ { CLONE("/tree", "/many"), UNLINK("/tree"), PUNCH("/many", 0, 8192 * 20) } },
	{ { CLONE("/tree", "/extents"), LENGTH("/tree", 8192 * 7 + 9) } },

	{ { WRITE("/extents", 5000, 9000, 73), { .type = OP_SYNC_OBJECT, .path = "/extents" } } },
	{ { WRITE("/inline", 10, 50, 74), { .type = OP_BARRIER } } },
};
static_assert(ARRAY_COUNT(shapes) <= SHAPE_COUNT_MAX, "shapes have small numbers");

enum { SHAPES = ARRAY_COUNT(shapes) };

uint64_t
workload_pairs(void)
{
	return (uint64_t)SHAPES * SHAPES * 2;
}

/* ---- Drawing operations --------------------------------------------------------------------- */

static const char *const names[] = { "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "kk", "ll",
	"mmm", "a name with blanks", "UPPER", ".hidden", "zz", "t1", "t2", "t3", "t4", "t5", "t6",
	"\xc3\xa4\xff\x01", "x" };

/* A path that exists, of `kind` if there is one (0: any); "/nothing" on an empty volume. */
static const char *
draw_path(struct rng *rng, struct oracle *model, uint32_t kind)
{
	size_t count = oracle_path_count(model);

	for (int try = 0; count > 0 && try < 50; try++) {
		const struct snapshot_entry *entry = oracle_path(model, rng_below(rng, count));

		if (kind == 0 || entry->kind == kind || try == 49)
			return entry->path;
	}
	return "/nothing";
}

/* A path in some directory, which may or may not exist. */
static void
draw_new_path(struct rng *rng, struct oracle *model, char out[OP_PATH_BYTES])
{
	const char *parent = rng_below(rng, 3) == 0 ? "" : draw_path(rng, model, COP_DIRECTORY);
	const char *name = names[rng_below(rng, ARRAY_COUNT(names))];

	if (strlen(parent) > 200)
		parent = "";
	if (rng_below(rng, 40) == 0)
		snprintf(out, OP_PATH_BYTES, "%s/%0255d", parent, (int)rng_below(rng, 3));
	else
		snprintf(out, OP_PATH_BYTES, "%s/%s", parent, name);
}

static uint64_t
draw_offset(struct rng *rng)
{
	switch (rng_below(rng, 12)) {
	case 0:
		return rng_below(rng, 1 << 20);
	case 1:
		return (UINT64_C(1) << 32) + rng_below(rng, 100000);
	case 2:
	case 3:
		return rng_below(rng, 48) * COP_BLOCK_BYTES;
	case 4:
	case 5:
	case 6:
		return 0;
	default:
		return rng_below(rng, 120000);
	}
}

static uint64_t
draw_bytes(struct rng *rng)
{
	switch (rng_below(rng, 8)) {
	case 0:
	case 1:
		return 1 + rng_below(rng, 200);
	case 2:
	case 3:
		return 1 + rng_below(rng, 3000);
	case 4:
	case 5:
		return (1 + rng_below(rng, 4)) * COP_BLOCK_BYTES;
	case 6:
		return 1 + rng_below(rng, 20000);
	default:
		return 1 + rng_below(rng, 60000);
	}
}

struct weight {
	enum op_type type;
	uint32_t weight;
};

static const struct weight weights[] = {
	{ OP_CREATE, 14 },
	{ OP_ALLOCATE, 2 },
	{ OP_WRITE, 26 },
	{ OP_SET_LENGTH, 6 },
	{ OP_PUNCH, 5 },
	{ OP_PREALLOCATE, 3 },
	{ OP_LINK, 4 },
	{ OP_UNLINK, 9 },
	{ OP_RENAME, 7 },
	{ OP_XATTR_SET, 5 },
	{ OP_XATTR_REMOVE, 2 },
	{ OP_SET_ATTR, 3 },
	{ OP_HOLD, 3 },
	{ OP_WRITE_HELD, 4 },
	{ OP_LET_GO, 2 },
	{ OP_SYNC, 14 },
	{ OP_SETTLE, 4 },
	{ OP_POLL, 8 },
	{ OP_CLONE, 5 },
	{ OP_SYNC_OBJECT, 4 },
	{ OP_BARRIER, 3 },
};

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

static enum op_type
draw_weighted(struct rng *rng, const struct weight *from, size_t count)
{
	uint32_t sum = 0;
	uint64_t at;

	for (size_t i = 0; i < count; i++)
		sum += from[i].weight;
	at = rng_below(rng, sum);
	for (size_t i = 0;; i++) {
		if (at < from[i].weight)
			return from[i].type;
		at -= from[i].weight;
	}
}

static enum op_type
draw_type(struct rng *rng, struct oracle *model)
{
	if (oracle_path_count(model) > OBJECTS_WANTED && rng_below(rng, 4) == 0)
		return OP_UNLINK;
	return draw_weighted(rng, weights, ARRAY_COUNT(weights));
}

static void
draw_kind(struct rng *rng, struct op *op)
{
	static const uint32_t kinds[] = { COP_FILE, COP_FILE, COP_FILE, COP_FILE, COP_FILE,
		COP_DIRECTORY, COP_DIRECTORY, COP_SYMLINK, COP_FIFO, COP_SOCKET, COP_CHAR_DEVICE,
		COP_BLOCK_DEVICE };

	op->kind = kinds[rng_below(rng, ARRAY_COUNT(kinds))];
}

static void
draw_xattr(struct rng *rng, struct op *op)
{
	static const uint64_t sizes[] = { 0, 8, 30, 100, 700, 1500, 5000, 30000 };

	op->name_number = (uint32_t)rng_below(rng, OP_XATTR_NAMES);
	op->bytes = sizes[rng_below(rng, ARRAY_COUNT(sizes))];
	if (rng_below(rng, 6) == 0)
		op->flags = rng_below(rng, 2) ? COP_XATTR_CREATE : COP_XATTR_REPLACE;
}

static void
draw_op(struct rng *rng, struct oracle *model, enum op_type type, struct op *out_op)
{
	struct op *op = out_op;
	uint32_t kind = rng_below(rng, 10) == 0 ? 0 : COP_FILE;

	*op = (struct op){ .type = type, .seed = rng_next(rng) };
	switch (op->type) {
	case OP_CREATE:
	case OP_ALLOCATE:
		draw_kind(rng, op);
		if (op->type == OP_ALLOCATE)
			op->kind = COP_FILE;
		draw_new_path(rng, model, op->path);
		return;
	case OP_LINK:
	case OP_RENAME:
		snprintf(op->path, sizeof op->path, "%s", draw_path(rng, model, 0));
		if (rng_below(rng, 3) == 0)
			snprintf(op->path2, sizeof op->path2, "%s", draw_path(rng, model, kind));
		else
			draw_new_path(rng, model, op->path2);
		if (op->type == OP_RENAME && rng_below(rng, 5) == 0)
			op->flags = rng_below(rng, 2) ? COP_RENAME_EXCHANGE : COP_RENAME_NOREPLACE;
		return;
	case OP_CLONE:
		snprintf(op->path, sizeof op->path, "%s", draw_path(rng, model, kind));
		snprintf(op->path2, sizeof op->path2, "%s", draw_path(rng, model, kind));
		return;
	case OP_UNLINK:
		snprintf(op->path, sizeof op->path, "%s", draw_path(rng, model, 0));
		op->flags = rng_below(rng, 4) ? 0 : 1U << rng_below(rng, 2);
		return;
	case OP_XATTR_SET:
	case OP_XATTR_REMOVE:
		snprintf(op->path, sizeof op->path, "%s", draw_path(rng, model, 0));
		draw_xattr(rng, op);
		return;
	case OP_SET_ATTR:
		snprintf(op->path, sizeof op->path, "%s", draw_path(rng, model, 0));
		op->flags = (uint32_t)rng_below(rng, 1 << 7);
		return;
	case OP_WRITE_HELD:
	case OP_LET_GO:
	case OP_HOLD:
		op->name_number = (uint32_t)rng_below(rng, OP_HELD);
		if (op->type != OP_LET_GO && !oracle_is_held(model, op->name_number))
			op->type = OP_HOLD;
		break;
	default:
		break;
	}
	snprintf(op->path, sizeof op->path, "%s", draw_path(rng, model, kind));
	op->offset = draw_offset(rng);
	op->bytes = draw_bytes(rng);
	op->flags = (uint32_t)rng_below(rng, 2);
	if (op->type == OP_SET_LENGTH && rng_below(rng, 3) > 0)
		op->bytes = rng_below(rng, 4) == 0 ? 0 : draw_offset(rng);
}

void
workload_draw(struct rng *rng, struct oracle *model, struct op *out_op)
{
	draw_op(rng, model, draw_type(rng, model), out_op);
}

/* ---- Workloads ------------------------------------------------------------------------------ */

/* Objects of many extents, whose removal takes several steps; then they are settled. */
enum { JOBS_MAKING = JOBS_OBJECTS * (1 + JOBS_BLOCKS) + 1 };

enum workload_kind { FIXTURE, PAIR, RANDOM, LAPS, ROUNDS, JOBS, LEAVES };

struct workload {
	enum workload_kind kind;
	size_t done;

	/* Pair. */
	struct op ops[2 * SHAPE_OPS_MAX + 2];
	size_t count;

	/* All others. */
	struct rng rng;
	bool is_full;    /* most of the volume is taken before anything else */
	bool is_settled; /* checkpoints where others have syncs */

	/* Rounds. */
	struct rng cut_rng;
	uint64_t cuts; /* operations from this one on that are cut */
};

struct workload *
workload_fixture(void)
{
	struct workload *workload = must_alloc(sizeof *workload);

	workload->kind = FIXTURE;
	return workload;
}

static void
append_shape(struct workload *workload, uint64_t shape)
{
	for (size_t i = 0; i < SHAPE_OPS_MAX && shapes[shape].op[i].type != 0; i++)
		workload->ops[workload->count++] = shapes[shape].op[i];
}

int
workload_create(const char *name, uint64_t seed, struct workload **out_workload)
{
	struct workload *workload = must_alloc(sizeof *workload);
	uint64_t a;
	uint64_t b;
	uint64_t between;

	if (sscanf(name, "pair.%" SCNu64 ".%" SCNu64 ".%" SCNu64, &a, &b, &between) == 3 &&
		a < SHAPES && b < SHAPES) {
		workload->kind = PAIR;
		append_shape(workload, a);
		if (between)
			workload->ops[workload->count++].type = OP_SYNC;
		append_shape(workload, b);
		workload->ops[workload->count++].type = OP_SYNC;
	} else if (sscanf(name, "random.%" SCNu64, &a) == 1) {
		workload->kind = RANDOM;
		rng_seed(&workload->rng, seed * UINT64_C(1000003) + a);
		workload->count =
			RANDOM_OPS_MIN + rng_below(&workload->rng, RANDOM_OPS_MAX - RANDOM_OPS_MIN);
		workload->is_full = rng_below(&workload->rng, FULL_EVERY) == 0;
	} else if (sscanf(name, "settled.%" SCNu64, &a) == 1) {
		workload->kind = RANDOM;
		workload->is_settled = true;
		rng_seed(&workload->rng, seed * UINT64_C(1000037) + a);
		workload->count = RANDOM_OPS_MIN;
	} else if (sscanf(name, "laps.%" SCNu64, &a) == 1) {
		workload->kind = LAPS;
		rng_seed(&workload->rng, seed * UINT64_C(1000033) + a);
		workload->count = LAPS_OPS;
	} else if (sscanf(name, "rounds.%" SCNu64, &a) == 1) {
		workload->kind = ROUNDS;
		rng_seed(&workload->rng, seed * UINT64_C(1000039) + a);
		rng_seed(&workload->cut_rng, seed * UINT64_C(1000081) + a);
		workload->count = ROUNDS_OPS;
	} else if (sscanf(name, "jobs.%" SCNu64, &a) == 1) {
		workload->kind = JOBS;
		rng_seed(&workload->rng, seed * UINT64_C(1000099) + a);
		workload->count = JOBS_MAKING + JOBS_OPS;
	} else if (sscanf(name, "leaves.%" SCNu64, &a) == 1) {
		workload->kind = LEAVES;
		rng_seed(&workload->rng, seed * UINT64_C(1000081) + a);
		workload->count = LEAVES_OPS;
	} else {
		free(workload);
		return fail(COP_EINVAL, "no such workload: %s", name);
	}
	*out_workload = workload;
	return 0;
}

void
workload_free(struct workload *workload)
{
	free(workload);
}

/* A sync after each, but now and then after two. */
static void
draw_lap_op(struct rng *rng, struct oracle *model, size_t index, struct op *out_op)
{
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

/* Batches of every length, nearly each of them durable before the next. */
static void
draw_round_op(struct rng *rng, struct oracle *model, size_t index, struct op *out_op)
{
	enum op_type type = draw_weighted(rng, rounds_weights, ARRAY_COUNT(rounds_weights));

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

/* The cuts are drawn apart, so that what is done does not depend on them. */
static void
draw_round_cut(struct workload *workload)
{
	if (workload->cuts > 0)
		workload->cuts--;
	else if (rng_below(&workload->cut_rng, ROUNDS_CUT_ONE_IN) == 0)
		workload->cuts = ROUNDS_CUT;
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
draw_job_op(struct rng *rng, struct oracle *model, size_t index, struct op *out_op)
{
	uint64_t what = rng_below(rng, 10);

	if (index == 0 || what < 2)
		draw_removal(rng, out_op);
	else if (what < 5)
		*out_op = (struct op){ .type = OP_POLL };
	else if (what < 8)
		*out_op = (struct op){ .type = OP_SYNC };
	else
		workload_draw(rng, model, out_op);
}

/*
 * A file whose tree has several leaves, as they were in two checkpoints, every other time shared
 * with another one; then the journal changes them.
 */
static void
draw_leaf_op(struct rng *rng, struct oracle *model, size_t index, struct op *out_op)
{
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

/*
 * Free space gets scarce, piece by piece until no more is given: what replay allocates comes close
 * to what the journal names.
 */
static void
draw_filling(size_t index, struct op *out_op)
{
	*out_op = (struct op)PREALLOCATE("/extents", index * FILL_BYTES, FILL_BYTES, 1);
}

bool
workload_next(struct workload *workload, struct oracle *model, struct op *out_op)
{
	size_t index = workload->done++;

	if (workload->kind == FIXTURE)
		return fixture_op(index, out_op);
	if (index >= workload->count)
		return false;
	if (workload->kind == PAIR)
		*out_op = workload->ops[index];
	else if (workload->kind == LAPS)
		draw_lap_op(&workload->rng, model, index, out_op);
	else if (workload->kind == ROUNDS)
		draw_round_op(&workload->rng, model, index, out_op);
	else if (workload->kind == JOBS && index < JOBS_MAKING)
		draw_job_object(index, out_op);
	else if (workload->kind == JOBS)
		draw_job_op(&workload->rng, model, index - JOBS_MAKING, out_op);
	else if (workload->kind == LEAVES)
		draw_leaf_op(&workload->rng, model, index, out_op);
	else if (workload->is_full && index < FILL_OPS)
		draw_filling(index, out_op);
	else
		workload_draw(&workload->rng, model, out_op);
	if (workload->kind == ROUNDS)
		draw_round_cut(workload);
	if (workload->is_settled && out_op->type == OP_SYNC)
		out_op->type = OP_SETTLE;
	return true;
}

bool
workload_is_rarely_cut(const struct workload *workload)
{
	return workload->kind == LAPS || workload->kind == ROUNDS || workload->kind == LEAVES;
}

bool
workload_changes_leaves(const struct workload *workload)
{
	return workload->kind == LEAVES;
}

bool
workload_is_cut(const struct workload *workload)
{
	if (workload->kind == ROUNDS)
		return workload->cuts > 0;
	if (workload->kind == JOBS)
		return workload->done > JOBS_MAKING;
	if (workload->kind == LEAVES)
		return workload->done > LEAVES_SETTLED && workload->done % LEAVES_CUT_EVERY == 0;
	return workload->kind != LAPS || workload->done % LAPS_WINDOW < LAPS_CUT;
}

/*
 * Every fourth is random, laps or leaves, until all pairs are through. Multiplying by a number
 * without a common factor visits every pair once, in no order.
 */
void
workload_name(uint64_t number, uint64_t seed, char *out, size_t out_bytes)
{
	static const char *const others[] = { "rounds", "jobs", "random", "random", "laps",
		"random", "leaves", "random" };
	const uint64_t pairs = workload_pairs();
	const uint64_t stride = 7919;
	uint64_t index = number - (number + 1) / RANDOM_EVERY;
	uint64_t pair = (index * stride + seed * 31) % pairs;

	static_assert(ARRAY_COUNT(shapes) % 7919 != 0, "the stride is a prime");
	if (number % RANDOM_EVERY != RANDOM_EVERY - 1 && index < pairs)
		snprintf(out, out_bytes, "pair.%" PRIu64 ".%" PRIu64 ".%" PRIu64, pair / 2 / SHAPES,
			pair / 2 % SHAPES, pair % 2);
	else
		snprintf(out, out_bytes, "%s.%" PRIu64,
			others[number / RANDOM_EVERY % ARRAY_COUNT(others)], number);
}
