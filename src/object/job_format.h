#ifndef COPPICE_OBJECT_JOB_FORMAT_H
#define COPPICE_OBJECT_JOB_FORMAT_H

/*
 * The record of a job, value of {CATALOG_JOB, number} in the catalog, little-endian.
 *
 *   offset  bytes  field
 *        0      1  version       1
 *        1      1  program       1: dismantle a dead tree, 2: free ranges of an object
 *        2      1  tree_kind     dismantle: of the dead tree, a content tree today; else 0
 *        3      5  zero
 *        8      8  branch
 *       16      8  object        whose tree it was, or whose ranges they are
 *       24     40  root          dismantle: root record of the dead tree; else zero
 *       64         cursor        dismantle: where the next step begins, 0 to 512 bytes; else none
 *
 * The ranges that program 2 frees stand in the record of the object, which names the job.
 */

#include "base/bytes.h"
#include "base/err.h"
#include "tree/tree.h"
#include "volume/superblock_format.h"

#include <stdint.h>

enum {
	JOB_VERSION = 1,
	JOB_ROOT_AT = 24,
	JOB_FIXED_BYTES = 64,
	JOB_BYTES_MAX = JOB_FIXED_BYTES + TREE_KEY_BYTES_MAX,
};

enum job_program {
	JOB_DISMANTLE = 1,
	JOB_TRIM = 2,
};

struct job {
	enum job_program program;
	enum tree_kind tree_kind;
	uint64_t branch;
	uint64_t object;
	struct tree_root root;
	struct tree_cursor cursor;
};

/* Returns the view of what it wrote. */
struct view job_encode(const struct job *job, uint8_t out[static JOB_BYTES_MAX]);

/* COP_EUNSUPPORTED: an unknown program or version. COP_EFORMAT. */
MUST_CHECK int job_decode(struct view value, struct job *out_job);

#endif
