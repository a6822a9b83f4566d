#ifndef COPPICE_TREE_INTERNAL_H
#define COPPICE_TREE_INTERNAL_H

/*
 * tree_internal: what the files of tree/ share.
 *
 * node.c works inside one node image, load.c brings images in and compares them with what points at
 * them, tree.c and walk.c are built on the two. A node image is `uint8_t *` with `node_bytes`; its
 * reading accessors need no size, because node_check_structure() has proved every offset.
 */

#include "base/num.h"
#include "tree/node_format.h"
#include "tree/tree.h"

enum {
	/* A tree as high as this is not changed any more: each change of a transaction may add a
	 * level. Real ones stay far below: 14 million leaves of the longest keys are 16 levels. */
	TREE_LEVELS_CHANGED_MAX = TREE_LEVELS_MAX - 4,
	TREE_READS_AHEAD_MAX = 32,

	/* What an entry costs beside its suffix and value. */
	NODE_ENTRY_BYTES = NODE_SLOT_BYTES + NODE_CELL_BYTES,
};

/* ---- Inside one node (node.c) --------------------------------------------------------------- */

static inline uint32_t
node_count(const uint8_t *node)
{
	return get_le16(node + NODE_AT_ENTRIES);
}

static inline uint32_t
node_level(const uint8_t *node)
{
	return node[NODE_AT_LEVEL];
}

static inline struct view
node_low(const uint8_t *node)
{
	return view_of(node + NODE_HEADER_BYTES, get_le16(node + NODE_AT_LOW_BYTES));
}

/* Of no bytes: the node has no upper end. */
static inline struct view
node_high(const uint8_t *node)
{
	return view_of(node + NODE_HEADER_BYTES + get_le16(node + NODE_AT_LOW_BYTES),
		get_le16(node + NODE_AT_HIGH_BYTES));
}

/* What all keys of the node begin with. */
static inline struct view
node_prefix(const uint8_t *node)
{
	return view_of(node + NODE_HEADER_BYTES, get_le16(node + NODE_AT_PREFIX_BYTES));
}

static inline struct tree_pointer
node_self(const uint8_t *node)
{
	return (struct tree_pointer){
		.addr = get_le64(node + NODE_AT_ADDR),
		.addr2 = get_le64(node + NODE_AT_ADDR2),
		.birth = get_le64(node + NODE_AT_BIRTH),
		.seal = get_le64(node + NODE_AT_SEAL),
	};
}

/* A key in two parts, as it lies in a node: the prefix and the suffix. */
struct node_key {
	struct view prefix;
	struct view suffix;
};

struct view node_suffix(const uint8_t *node, uint32_t index);
struct view node_value(const uint8_t *node, uint32_t index);
struct node_key node_key(const uint8_t *node, uint32_t index);

/* memcmp order. */
int node_key_compare(struct node_key key, struct view other);

/* The whole key, put together in `out`. */
struct view node_key_copy(struct node_key key, uint8_t out[TREE_KEY_BYTES_MAX]);

/* Is `key` within the fences? */
bool node_covers(const uint8_t *node, struct view key);

/* The first entry whose key is not less than `key`; true: equal. `key` is within the fences. */
bool node_search(const uint8_t *node, struct view key, uint32_t *out_index);

/* Inner node: the entry whose child covers `key`, which is within the fences. */
uint32_t node_search_child(const uint8_t *node, struct view key);

/* Inner node. `addr` of 0: there is no child. */
struct tree_pointer node_child(const uint8_t *node, uint32_t index);

/* Inner node: where the range of entry `index` ends; of no bytes: no end. */
struct node_key node_child_high(const uint8_t *node, uint32_t index);

/* Inner node: the first entry with a child at or after `index`; the count when there is none. */
uint32_t node_next_child(const uint8_t *node, uint32_t index);

/* Makes the image an empty node between two fences; identity and level in the header stay. */
void node_clear(uint8_t *node, uint32_t node_bytes, struct view low, struct view high);

/* Bytes of all entries, and the room for them. */
uint32_t node_used(const uint8_t *node);
uint32_t node_capacity(const uint8_t *node, uint32_t node_bytes);

bool node_has_room(const uint8_t *node, uint32_t node_bytes, struct view key, struct view value);

/* There is room, and `index` is the place of `key`. Compacts when needed. */
void node_insert(
	uint8_t *node, uint32_t node_bytes, uint32_t index, struct view key, struct view value);
void node_remove(uint8_t *node, uint32_t node_bytes, uint32_t index);

/* The new value is as long as the old one. */
void node_replace(uint8_t *node, uint32_t index, struct view value);
void node_set_child(uint8_t *node, uint32_t index, const struct tree_pointer *pointer);

/*
 * Inserts an entry for which there is no room, by moving the upper part of `left` to `right`, an
 * image with nothing but its identity. `separator` becomes the fence between them; it must not be
 * where `key` lies. Cannot fail: see the proof in node.c.
 */
struct view node_split(uint8_t *left, uint8_t *right, uint32_t node_bytes, uint32_t index,
	struct view key, struct view value, uint8_t separator[TREE_KEY_BYTES_MAX]);

/* Bytes that node_capacity() would have to give for the entries of both in one node. */
bool node_merge_fits(const uint8_t *left, const uint8_t *right, uint32_t node_bytes);

/* Moves all entries into `into`, which is one of the two. It fits. */
void node_merge(const uint8_t *left, const uint8_t *right, uint8_t *into, uint32_t node_bytes);

/* Sets other fences, further apart, when the longer suffixes fit; else false, unchanged. */
bool node_widen(uint8_t *node, uint32_t node_bytes, struct view low, struct view high);

/* COP_EFORMAT: the image is not what the functions above may rely on. Reads within the image only.
 */
MUST_CHECK int node_check_structure(const uint8_t *node, uint32_t node_bytes);

/* ---- From the device (load.c) --------------------------------------------------------------- */

/* Does the pointer make sense on this device, in a place for births up to `birth_max`? */
MUST_CHECK int load_check_pointer(
	const struct tree_env *env, const struct tree_pointer *pointer, uint64_t birth_max);

/* Is the image the one that the pointer means? */
MUST_CHECK int load_check_identity(const uint8_t *node, const uint8_t uuid[NODE_UUID_BYTES],
	enum tree_kind kind, int level, const struct tree_pointer *expect);

/* Has `child` the range that entry `index` of `parent` gives it? */
MUST_CHECK int load_check_fences(const uint8_t *parent, uint32_t index, const uint8_t *child);

/* What is to be loaded. */
struct load_target {
	struct tree_pointer pointer;
	uint8_t level;
};

/* A pin when the node is cached, under whichever address; else NULL. */
struct buffer *load_peek(struct tree_env *env, const struct tree_pointer *pointer);

/*
 * Pins a node, read and verified; from its second copy when the first is bad. No lock held. The
 * identity of a node that was cached already is compared again: two pointers may disagree.
 */
MUST_CHECK int load_node(struct tree_env *env, enum tree_kind kind,
	const struct load_target *target, struct buffer **out_buffer);

/*
 * Pins what it can of many nodes, read at once, of their first or of both copies; up to
 * TREE_READS_AHEAD_MAX in all, in any order, NULL for the rest. What could not be had is no error
 * yet: whoever needs it loads it, and is told then.
 */
void load_ahead(struct tree_env *env, enum tree_kind kind, const struct load_target *targets,
	uint32_t count, uint32_t copies, struct buffer **out_buffers);

/* Ends the pins that are not NULL, and makes them so. */
void load_release(struct tree_env *env, struct buffer **buffers, size_t count);

/*
 * Pins a node after reading both copies; `out_results` has what became of each, the second is 0
 * where there is only one. Fails when neither is good.
 */
MUST_CHECK int load_copies(struct tree_env *env, enum tree_kind kind,
	const struct load_target *target, int out_results[2], struct buffer **out_buffer);

#endif
