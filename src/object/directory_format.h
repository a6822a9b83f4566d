#ifndef COPPICE_OBJECT_DIRECTORY_FORMAT_H
#define COPPICE_OBJECT_DIRECTORY_FORMAT_H

/*
 * Directory entries on disk.
 *
 * In a directory tree the key is be64(hash of the name), then the name; the value, little-endian,
 * is
 *
 *   offset  bytes  field
 *        0      8  id    object number
 *        8      1  kind  enum cop_kind
 *
 * In the record of a small directory the entries follow one another, in no order; little-endian:
 *
 *   offset  bytes  field
 *        0      8  id          object number
 *        8      1  kind        enum cop_kind
 *        9      1  name_bytes  1 to 255
 *       10         name
 *
 * The hash has 62 bits, is seeded by the volume (superblock: name_seed), and is never 0, 1 or 2:
 * those are cookies with a meaning of their own in listings.
 *
 * A further name of an object (not its primary one) is a key in the object tree,
 * {object, KEY_NAME, be64 parent, be64 hash, name}, with an empty value.
 */

#include "base/bytes.h"
#include "base/err.h"
#include "volume/keys.h"

enum {
	ENTRY_VALUE_BYTES = 9,
	ENTRY_INLINE_FIXED_BYTES = 10,
	ENTRY_KEY_BYTES_MAX = 8 + COP_NAME_BYTES_MAX,
	NAME_KEY_BYTES_MAX = OBJECT_KEY_BYTES + 8 + 8 + COP_NAME_BYTES_MAX,
	DIRECTORY_INLINE_ENTRIES_MAX = 16, /* a tree is made of them in one transaction */
};

struct entry {
	uint64_t id;
	enum cop_kind kind;
	struct view name;
};

uint64_t name_hash(struct view name, uint64_t seed);

/* The key of a name in a directory tree. */
struct view entry_key(uint8_t out[static ENTRY_KEY_BYTES_MAX], struct view name, uint64_t seed);

/* Hash and name out of such a key. COP_EFORMAT: the hash is not that of the name, or no name. */
MUST_CHECK int entry_key_decode(
	struct view key, uint64_t seed, uint64_t *out_hash, struct view *out_name);

void entry_value_encode(const struct entry *entry, uint8_t out[static ENTRY_VALUE_BYTES]);

/* id and kind; the name stays as it is. COP_EFORMAT. */
MUST_CHECK int entry_value_decode(struct view value, struct entry *out_entry);

/* One entry of a record's content. */
void entry_inline_encode(const struct entry *entry, struct writer *w);
MUST_CHECK int entry_inline_decode(struct reader *r, struct entry *out_entry);

/* Are all the entries in this content whole, `count` of them, no name twice? COP_EFORMAT. */
MUST_CHECK int directory_inline_check(struct view content, uint64_t count);

/* The key of a further name. */
struct view name_key(uint8_t out[static NAME_KEY_BYTES_MAX], uint64_t object, uint64_t parent,
	struct view name, uint64_t seed);

/* COP_EFORMAT: not such a key. */
MUST_CHECK int name_key_decode(
	struct view key, uint64_t seed, uint64_t *out_parent, struct view *out_name);

/* 1 to 255 bytes, no '/' and no NUL, not "." or "..". COP_EINVAL, COP_ENAMETOOLONG. */
MUST_CHECK int name_check(struct view name);

#endif
