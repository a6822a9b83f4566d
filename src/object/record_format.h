#ifndef COPPICE_OBJECT_RECORD_FORMAT_H
#define COPPICE_OBJECT_RECORD_FORMAT_H

/*
 * The record of an object, value of {id, KEY_RECORD} in the object tree, little-endian.
 *
 *   offset  bytes  field
 *        0      1  version           1
 *        1      1  kind              enum cop_kind
 *        2      1  form              enum cop_content_form
 *        3      1  name_bytes        of the primary name, 0: none
 *        4      4  doctype           enum cop_doctype, or a number this version does not know
 *        8      4  mode              07777
 *       12      4  uid
 *       16      4  gid
 *       20      4  links
 *       24      8  flags
 *       32      8  length            bytes of a file or symlink, entries of a directory
 *       40      8  allocated_blocks  of content
 *       48      8  device            of device nodes: major << 32 | minor
 *       56      8  created_ns        ns since 1970, as all times
 *       64      8  changed_ns
 *       72      8  modified_ns
 *       80      8  accessed_ns
 *       88      8  owner             application object, 0: none
 *       96      8  parent            primary parent, 0: none
 *      104      8  trim_job          job that frees ranges of the content, 0: none
 *      112      2  capability_bytes  0 today
 *      114      2  xattr_bytes       0 today
 *      116      2  content_bytes
 *      118      2  zero
 *      120         name, capabilities, xattrs, content, one after the other
 *
 * Content is, by form: inline the bytes, or the entries of a directory; extents a sequence of them
 * in ascending order (extent_format.h); a tree the ranges that its job frees (trims_format.h); none
 * nothing.
 */

#include "base/bytes.h"
#include "base/err.h"
#include "object/trims_format.h"

#include <stdint.h>

enum {
	RECORD_VERSION = 1,
	RECORD_FIXED_BYTES = 120,
	RECORD_CONTENT_MAX = 8192, /* of any volume: an eighth of the largest node */
	RECORD_BYTES_MAX = 16384,  /* a quarter of it */
};

/* The views point into the value that was decoded, or wherever the caller has the bytes. */
struct record {
	enum cop_kind kind;
	enum cop_content_form form;
	uint32_t doctype;
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint32_t links;
	uint64_t flags;
	uint64_t length;
	uint64_t allocated_blocks;
	uint64_t device;
	int64_t created_ns;
	int64_t changed_ns;
	int64_t modified_ns;
	int64_t accessed_ns;
	uint64_t owner;
	uint64_t parent;
	uint64_t trim_job;
	struct view name;
	struct view capabilities;
	struct view xattrs;
	struct view content;
};

/* Bytes of content that a record may hold on a volume with such nodes: an eighth of a node, or what
 * is left of the largest value beside the longest name. */
uint32_t record_content_max(uint32_t node_bytes);

size_t record_bytes(const struct record *record);

/* Asserts that the record makes sense and that the writer had room. */
void record_encode(const struct record *record, struct writer *w);

/*
 * COP_EUNSUPPORTED: another version. COP_EFORMAT: it makes no sense. The extents in the content are
 * not looked at: record_extents_check() does that.
 */
MUST_CHECK int record_decode(struct view value, struct record *out_record);

/* The ranges of its content that are being freed. */
void record_trims(const struct record *record, struct trims *out_trims);

/* Do the extents in the content decode, ascend and not overlap? COP_EFORMAT. */
MUST_CHECK int record_extents_check(const struct record *record);

#endif
