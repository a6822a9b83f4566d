#ifndef COPPICE_VOLUME_BRANCH_FORMAT_H
#define COPPICE_VOLUME_BRANCH_FORMAT_H

/*
 * The record of a branch in the catalog, little-endian. Bytes without a row are zero.
 *
 *   offset  bytes  field
 *        0      1  version        1
 *        1      1  flags          0
 *        8     40  objects        root record of the object tree
 *       48     40  tags           root record of the tag tree
 *       88      8  root_object    object number of the root directory
 *       96      8  origin         branch or snapshot it was made from, 0: none
 *      104      8  created_ns     when, ns since 1970
 *      112      2  name_bytes     length of the name, which follows
 *      114      0  name           1 to 255 bytes
 */

#include "base/bytes.h"
#include "base/err.h"
#include "tree/tree.h"

enum { BRANCH_RECORD_BYTES = 114, BRANCH_NAME_BYTES_MAX = 255 };

struct branch_record {
	struct tree_root objects;
	struct tree_root tags;
	uint64_t root_object;
	uint64_t origin;
	int64_t created_ns;
	uint16_t name_bytes;
	char name[BRANCH_NAME_BYTES_MAX + 1];
};

/* Returns the bytes written: BRANCH_RECORD_BYTES and the name. */
uint32_t branch_encode(const struct branch_record *branch,
	uint8_t out[static BRANCH_RECORD_BYTES + BRANCH_NAME_BYTES_MAX]);

MUST_CHECK int branch_decode(struct view in, struct branch_record *out_branch);

#endif
