#include "crash/fixture.h"

#include "base/num.h"
#include "crash/vocabulary.h"

#include <assert.h>
#include <stdio.h>

/* ---- The fixture ---------------------------------------------------------------------------- */

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

bool
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
static_assert(ARRAY_COUNT(shapes) == SHAPES, "the header counts them");

const struct shape *
fixture_shape(size_t index)
{
	assert(index < SHAPES);
	return &shapes[index];
}
