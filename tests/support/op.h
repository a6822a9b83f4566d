#ifndef COPPICE_TESTS_OP_H
#define COPPICE_TESTS_OP_H

/*
 * op: one operation of a workload, as data: the same value is run on a volume through the public
 * API (op_run) and applied to the model (oracle_apply), and both must give the same answer.
 *
 * Objects are named by absolute paths that are resolved name by name with cop_lookup(); symlinks
 * are not followed. What an operation writes is a function of its seed.
 */

#include "base/err.h"
#include "base/random.h"

#include <stdbool.h>
#include <stdint.h>

enum op_type {
	OP_CREATE = 1,   /* path, kind; mode, owner and target from the seed */
	OP_ALLOCATE,     /* cop_allocate() and cop_link(): the same without a name first */
	OP_WRITE,        /* path, offset, bytes */
	OP_SET_LENGTH,   /* path, bytes */
	OP_PUNCH,        /* path, offset, bytes */
	OP_PREALLOCATE,  /* path, offset, bytes; flags 1: grow */
	OP_LINK,         /* path to path2 */
	OP_UNLINK,       /* path; flags of cop_unlink() */
	OP_RENAME,       /* path to path2; flags of cop_rename() */
	OP_XATTR_SET,    /* path, name_number, bytes; flags of cop_xattr_set() */
	OP_XATTR_REMOVE, /* path, name_number */
	OP_SET_ATTR,     /* path; flags is the mask, values from the seed */
	OP_REF,          /* path: a reference without a name */
	OP_UNREF,        /* path */
	OP_HOLD,         /* path: keeps a handle in slot name_number */
	OP_WRITE_HELD,   /* slot name_number, offset, bytes; the object may have no name any more */
	OP_LET_GO,       /* slot name_number */
	OP_SYNC,         /* everything before it is durable when it returns */
	OP_SETTLE,
	OP_POLL,
	OP_CLONE,       /* path: its content becomes that of path2 */
	OP_SYNC_OBJECT, /* path: what was written to it is durable, and all changes before */
	OP_BARRIER,     /* what was written before it is older than what comes after */
	OP_TYPES,
};

enum {
	OP_PATH_BYTES = 544, /* two names of 255 bytes and what goes with them */
	OP_HELD = 4,
	OP_XATTR_NAMES = 6,
	OP_WRITE_BYTES_MAX = 256 << 10,
};

struct op {
	enum op_type type;
	uint32_t kind; /* enum cop_kind */
	uint32_t flags;
	uint32_t name_number;
	uint64_t offset;
	uint64_t bytes;
	uint64_t seed;
	char path[OP_PATH_BYTES];
	char path2[OP_PATH_BYTES];
};

/* What the seed of an operation stands for. */
struct op_values {
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint32_t doctype;
	uint64_t device; /* of device nodes */
	int64_t created_ns;
	int64_t modified_ns;
	int64_t accessed_ns;
	char target[128]; /* of symlinks */
	size_t target_bytes;
};

void op_values(const struct op *op, struct op_values *out_values);

/* Bytes [from, from + bytes) of what an operation with this seed writes; never a zero byte. */
void op_fill(uint64_t seed, uint64_t from, uint8_t *out, uint64_t bytes);

const char *op_xattr_name(uint32_t number);

/* The volume that operations run on, and the handles they keep. */
struct op_runner {
	struct cop_volume *volume; /* borrowed */
	struct cop_object *root;   /* owned */
	struct cop_object *held[OP_HELD];
	uint8_t *buffer; /* OP_WRITE_BYTES_MAX and a block, aligned to blocks */
};

MUST_CHECK int op_runner_init(struct op_runner *runner, struct cop_volume *volume);
void op_runner_fini(struct op_runner *runner);

/*
 * Runs one operation; its answer is the result. *out_id is the number of the object that it made,
 * or 0.
 */
int op_run(struct op_runner *runner, const struct op *op, uint64_t *out_id);

/* The object at `path`; to be released. */
MUST_CHECK int op_resolve(
	struct op_runner *runner, const char *path, struct cop_object **out_object);

/* The operation as a line of text, for reports. */
void op_print(const struct op *op, char *out, size_t out_bytes);

#endif
