#include "crash/draw.h"

#include "base/num.h"
#include "coppice.h"

#include <stdio.h>
#include <string.h>

static const char *const names[] = { "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "kk", "ll",
	"mmm", "a name with blanks", "UPPER", ".hidden", "zz", "t1", "t2", "t3", "t4", "t5", "t6",
	"\xc3\xa4\xff\x01", "x" };

/* ---- Where ----------------------------------------------------------------------------------- */

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

/* ---- Which ----------------------------------------------------------------------------------- */

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

enum op_type
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

/* ---- The rest of it -------------------------------------------------------------------------- */

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

void
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
draw_any_op(struct rng *rng, struct oracle *model, struct op *out_op)
{
	draw_op(rng, model, draw_type(rng, model), out_op);
}
