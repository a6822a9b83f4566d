#ifndef COPPICE_VOLUME_KEYS_H
#define COPPICE_VOLUME_KEYS_H

/*
 * keys: how the keys of the catalog and of the object trees begin.
 *
 * Catalog:      u8 type | be64 number | ...
 * Object tree:  be64 object | u8 type | ...
 *
 * A content or directory tree of an object has its root in the object tree, beside the record,
 * under {object, KEY_ROOT, tree kind}. The volume keeps these root records; nobody else writes
 * them.
 */

#include "base/bytes.h"
#include "tree/tree.h"

enum catalog_key {
	CATALOG_BRANCH = 1,      /* be64 branch -> branch record */
	CATALOG_BRANCH_NAME = 2, /* name bytes -> be64 branch */
	CATALOG_JOB = 3,         /* be64 job -> job record */
};

enum object_key {
	KEY_RECORD = 1,     /* -> object record */
	KEY_ROOT = 2,       /* u8 tree kind -> root record */
	KEY_XATTR = 3,      /* be64 hash of the name, name -> value */
	KEY_NAME = 4,       /* be64 parent, be64 hash, name -> nothing: a further name */
	KEY_XATTR_BLOB = 5, /* be64 hash, name -> extents of a large value */
	KEY_ORPHAN = 6, /* under object number 0, be64 object -> nothing: no links, still open */
};

enum {
	BRANCH_MAIN = 1,
	OBJECT_NONE = 0,
	OBJECT_ROOT = 1,
	OBJECT_TAG_DATABASE = 2,
	OBJECT_FIRST = 16, /* below it: reserved */
	OBJECT_KEY_BYTES = 9,
	ROOT_KEY_BYTES = 10,
	CATALOG_KEY_BYTES = 9,
};

/* Writes {object, type} into `out` and returns its view. */
static inline struct view
object_key(uint8_t out[static OBJECT_KEY_BYTES], uint64_t object, enum object_key type)
{
	put_be64(out, object);
	out[8] = (uint8_t)type;
	return view_of(out, OBJECT_KEY_BYTES);
}

static inline struct view
root_key(uint8_t out[static ROOT_KEY_BYTES], uint64_t object, enum tree_kind kind)
{
	put_be64(out, object);
	out[8] = KEY_ROOT;
	out[9] = (uint8_t)kind;
	return view_of(out, ROOT_KEY_BYTES);
}

static inline struct view
catalog_key(uint8_t out[static CATALOG_KEY_BYTES], enum catalog_key type, uint64_t number)
{
	out[0] = (uint8_t)type;
	put_be64(out + 1, number);
	return view_of(out, CATALOG_KEY_BYTES);
}

#endif
