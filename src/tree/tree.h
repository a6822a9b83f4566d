#ifndef COPPICE_TREE_H
#define COPPICE_TREE_H

/*
 * tree: the one copy-on-write B+tree: byte-string keys in memcmp order, byte-string values.
 *
 * A pointer to a node is (address, second address or 0, birth generation, seal). The seal is drawn
 * when the node is made; the node's header repeats volume, addresses, birth and seal under a
 * checksum. The first change to a node in a generation makes a new node (shadowing), later ones
 * are made in place, in memory; a checkpoint writes them. The tree knows neither space nor volume:
 * nodes come from, and go back through, a table of functions.
 *
 * Promises
 *   - A node that is stale, lost, swapped or flipped on the device is found when it is loaded: it
 *     must be the one that the pointer names. A bad first copy is repaired from a good second one.
 *   - tree_put() and tree_delete() cannot fail: whatever could was done by tree_prepare().
 *   - No image, however made, leads to a loop, an overrun or an assertion: a loaded node is checked
 *     whole before it is used; depth is bounded by TREE_LEVELS_MAX.
 *   - An empty node is removed, a root with one child is replaced by it; an empty tree has no node.
 *   - Every key lies between the fences that the parents gave its node.
 *
 * Locks  Reads take the gate shared through `enter`/`leave` for each descent and never hold it over
 *        I/O: a node that is missing is loaded outside and the descent begins again. Changes, and
 *        `root`, belong to whoever holds the gate exclusively.
 * Source Shadowing and its order: Rodeh, "B-trees, Shadowing, and Clones" (ACM TOS 2008). Slots
 * with a 4-byte head, fence keys and prefix truncation: Graefe, "Modern B-Tree Techniques" (2011).
 */

#include "base/bytes.h"
#include "base/err.h"
#include "cache/cache.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	TREE_LEVELS_MAX = 16,
	TREE_KEY_BYTES_MAX = 512,
	TREE_POINTER_BYTES = 32,
	TREE_NODE_BYTES_MIN = 4096,
	TREE_NODE_BYTES_MAX = 65536,
};

/* Which tree a node belongs to; part of the node's identity on the device. */
enum tree_kind {
	TREE_CATALOG = 1,
	TREE_OBJECTS = 2,
	TREE_TAGS = 3,
	TREE_SHARES = 4,
	TREE_CONTENT = 5,   /* of a file: extents */
	TREE_DIRECTORY = 6, /* of a directory: entries */
};

struct tree_pointer {
	uint64_t addr;  /* 0: none */
	uint64_t addr2; /* 0: one copy */
	uint64_t birth;
	uint64_t seal;
};

void tree_pointer_encode(
	const struct tree_pointer *pointer, uint8_t out[static TREE_POINTER_BYTES]);
void tree_pointer_decode(const uint8_t in[static TREE_POINTER_BYTES], struct tree_pointer *out);

/*
 * Instead of a seal: what was there could not be read when it had to change, and is lost for good.
 * The pointer keeps its addresses, so that the blocks stay used; reading it is COP_ECHECKSUM.
 */
enum { TREE_SEAL_LOST = 0 };

struct tree_root {
	struct tree_pointer pointer;
	uint8_t levels; /* 0: empty tree. 1: the root is a leaf */
};

/* What two nodes have in common: a child, or an entry of a leaf. */
struct tree_gain {
	struct tree_pointer child; /* addr of 0: it is an entry */
	struct view key;
	struct view value;
};

/*
 * What a tree needs of the floors above. All get `context`.
 *
 * new_node and free_node are called with the gate held exclusively and cannot fail: the ticket of
 * the transaction has reserved memory and space.
 */
struct tree_hooks {
	void (*enter)(void *context); /* the gate, shared */
	void (*leave)(void *context);
	uint64_t (*generation)(void *context); /* the open one: nodes born in it change in place */

	/* A new zeroed dirty buffer (node_bytes) at a new place; fills the pointer, seal drawn. */
	struct buffer *(*new_node)(void *context, enum tree_kind kind, uint8_t level,
		struct tree_pointer *out_pointer);

	/* The tree points there no more; what the node held was taken over by another one. May be a
	 * node of the open generation. */
	void (*free_node)(void *context, const struct tree_pointer *pointer);

	/*
	 * Sharing, of trees that can be cloned; all four or none. Called with the gate held
	 * exclusively. `is_shared` is asked of nodes on the way to a key that was prepared: does
	 * anybody else refer to the node? `may_be_shared` is asked of any node, and looks nothing
	 * up. When a shared node has been copied, `lose` tells that the tree points there no more,
	 * and `gain` each child or entry that the copy has in common with it.
	 */
	bool (*is_shared)(void *context, enum tree_kind kind, const struct tree_pointer *pointer);
	bool (*may_be_shared)(
		void *context, enum tree_kind kind, const struct tree_pointer *pointer);
	void (*lose)(void *context, const struct tree_pointer *pointer);
	void (*gain)(void *context, enum tree_kind kind, const struct tree_gain *gain);

	/* A first copy at `bad_addr` did not verify, the second did and is in `good`: rewrite it.
	 * Called outside the gate. NULL: this opener never repairs. */
	void (*repair)(void *context, uint64_t bad_addr, const uint8_t *good, uint32_t blocks);
};

struct tree_env {
	struct cache *cache;
	uint8_t uuid[16]; /* of the volume */
	uint32_t node_bytes;
	uint64_t device_blocks; /* pointers past it are damage */
	const struct tree_hooks *hooks;
	void *context;
	_Atomic uint64_t node_reads; /* statistics */
};

struct tree {
	struct tree_env *env; /* borrowed */
	enum tree_kind kind;
	struct tree_root root; /* guarded by the gate; born before the open generation, if read */
};

/* The largest value of an entry: a quarter of what a node has for entries beside fences of the
 * longest keys. 736 bytes in the smallest node, 16096 in the largest. */
uint32_t tree_value_bytes_max(uint32_t node_bytes);

/* ---- Reading: any thread, no lock held ------------------------------------------------------ */

/*
 * The value of `key` into `value`. COP_ENOENT. COP_ERANGE: larger than `capacity`; *out_bytes is
 * set all the same.
 */
MUST_CHECK int tree_get(
	struct tree *tree, struct view key, void *value, size_t capacity, size_t *out_bytes);

/*
 * Visits entries in order from the first key >= `from`, until `visit` returns false or the end.
 * `visit` runs under the gate: it copies what it needs, and neither waits nor calls the tree. The
 * tree may change between leaves; each key that is there throughout is visited exactly once.
 * `reads_ahead`: how many leaves to have in flight when they are not cached (0 or 1: none).
 */
typedef bool (*tree_visit)(void *context, struct view key, struct view value);
MUST_CHECK int tree_scan(
	struct tree *tree, struct view from, uint32_t reads_ahead, tree_visit visit, void *context);

/* ---- Changing ------------------------------------------------------------------------------- */

/* The pins of one transaction; all its nodes stay resident until tree_pins_release(). */
struct tree_pins {
	struct cache *cache;
	struct buffer **buffers; /* owned array, borrowed pins */
	size_t count;
	size_t capacity;
	bool met_lost; /* the last tree_prepare() has failed at a node that is marked as lost */
};

void tree_pins_init(struct tree_pins *pins, struct cache *cache);
void tree_pins_release(struct tree_pins *pins); /* and frees the array */

/* Loads and pins the path to the leaf of `key`. No lock held. All errors of loading; then nothing
 * more is pinned than before. COP_EFORMAT: the tree is higher than any real one. */
MUST_CHECK int tree_prepare(struct tree *tree, struct view key, struct tree_pins *pins);

/*
 * For a change that cannot be made because tree_prepare() has failed for damage: loads and pins
 * what there is of the path, so that tree_lose() can mark where it ends. All other errors of
 * loading. No lock held.
 */
MUST_CHECK int tree_prepare_loss(struct tree *tree, struct view key, struct tree_pins *pins);

/* Room for the pins of so many paths: tree_is_prepared() needs it. COP_ENOMEM. */
MUST_CHECK int tree_pins_reserve(struct tree_pins *pins, size_t paths);

/*
 * Gate exclusive: is every node that a change at `key` needs resident? Pins them, for the path may
 * be another one than the one that was prepared, of nodes that nobody else keeps. `pins` NULL: the
 * caller knows that nothing is evicted.
 */
bool tree_is_prepared(struct tree *tree, struct view key, struct tree_pins *pins);

/* Nodes that one put or delete may take from new_node, in a tree of `levels` (which may grow by
 * one). */
uint32_t tree_nodes_worst(uint8_t levels);

/*
 * Gate exclusive, path prepared. Sets the value of `key`, or removes it (nothing happens if it is
 * not there). tree->root changes with it. value.bytes <= tree_value_bytes_max(). Neither key nor
 * value may lie in the tree itself, as what tree_find() returns does: copy it first.
 */
void tree_put(struct tree *tree, struct view key, struct view value);
void tree_delete(struct tree *tree, struct view key);

/*
 * Gate exclusive, prepared for the loss: the first node on the path to `key` that is not at hand is
 * marked as lost, with all that is below it (TREE_SEAL_LOST). Nothing happens if all are.
 */
void tree_lose(struct tree *tree, struct view key);

/* Gate exclusive, prepared: the value in place, valid until the next change; false: no such key. */
bool tree_find(struct tree *tree, struct view key, struct view *out_value);

/*
 * Gate held, prepared: tells the nodes on the way to `key`, the root first, each with the number of
 * its entries. False: one is not resident; those before it have been told.
 */
typedef void (*tree_path_visit)(
	void *context, const struct tree_pointer *pointer, uint32_t entries);
bool tree_path(struct tree *tree, struct view key, tree_path_visit visit, void *context);

/* Makes a dirty node ready for the device: pads, checksum. After it the bytes are final. */
void tree_node_finish(struct buffer *buffer);

/* ---- Whole trees: check and reclaim --------------------------------------------------------- */

/*
 * Walks every node of an immutable tree, parents first, without recursion. `node` sees each pointer
 * with its level (0 is a leaf) and the load's result: an error there skips what is below it and the
 * walk goes on; returning false ends it. `entry` sees each entry of each good leaf. Either may be
 * NULL. Takes no gate: the tree must not change. Both copies of each node are read and verified
 * when `both_copies` (what is cached was verified already); a bad one of two is reported with
 * `copy` 1 or 2 and its error while the walk goes on with the other. Without `node`, and for want
 * of memory, an error ends the walk. `enter` is asked before a node is read; where it says no, the
 * node and what is below it are left out, untold.
 */
struct tree_walk {
	bool (*node)(void *context, const struct tree_pointer *pointer, uint8_t level, int copy,
		int result);
	bool (*entry)(void *context, struct view key, struct view value);
	void *context;
	bool both_copies;
	bool (*enter)(void *context, const struct tree_pointer *pointer, uint8_t level);

	/* Of each good node, after `node` and before its entries: its bytes. May be NULL. */
	void (*image)(void *context, const uint8_t *data);
};

MUST_CHECK int tree_walk(struct tree_env *env, enum tree_kind kind, const struct tree_root *root,
	const struct tree_walk *walk);

/*
 * One step of taking a dead tree apart: visits the entries at or after `cursor` (empty: the
 * beginning) of the first leaf there, and reports the nodes that are finished with: those whose
 * range ends after `cursor` and at or before *out_cursor, where the next step begins; with
 * *out_done, when nothing is left, all that end after `cursor`. So every node belongs to one step,
 * wherever cursors lie: they may come from a tree of the same keys with other borders. Where they
 * are this tree's own, a step's nodes are the leaf and every inner node whose last leaf it was; at
 * most two for each level in any case. The dead tree is only read. A node that cannot be read is an
 * error, and the step can be skipped by `skip_damaged`, which reports what is reachable and leaves
 * the rest allocated, the damaged node included. `cursor` and `out_cursor` may be the same.
 *
 * `is_shared`, where it is not NULL, is asked before a node is read. One that others refer to as
 * well is not entered: the step ends behind it, and reports neither it nor what is below it.
 */
struct tree_dismantle {
	void (*entry)(void *context, struct view key, struct view value);
	void (*node)(void *context, const struct tree_pointer *pointer);
	bool (*is_shared)(void *context, const struct tree_pointer *pointer, uint8_t level);
	void *context;
	bool skip_damaged;
};

struct tree_cursor {
	uint8_t key[TREE_KEY_BYTES_MAX];
	uint32_t bytes;
};

MUST_CHECK int tree_dismantle(struct tree_env *env, enum tree_kind kind,
	const struct tree_root *root, const struct tree_cursor *cursor,
	const struct tree_dismantle *visit, struct tree_cursor *out_cursor, bool *out_done);

/* Asserts order, fences, fill and levels of every resident node; gate held. For tests. */
void tree_assert_sound(struct tree *tree);

/*
 * Judges a node image by itself (magic, checksum, structure) and against what a pointer says; for
 * loading, check, dump and the fuzzer. Not compared: `uuid` if NULL, `kind` if 0, `level` if
 * negative, the pointer if `expect` is NULL. COP_ECHECKSUM: not these bytes, or not this node.
 * COP_EFORMAT: this node, but it makes no sense.
 */
MUST_CHECK int tree_node_check(const uint8_t *data, uint32_t node_bytes, const uint8_t uuid[16],
	enum tree_kind kind, int level, const struct tree_pointer *expect);

/* What an image says of itself. It has been judged, or was loaded. The views point into it. */
struct tree_image {
	enum tree_kind kind;
	uint8_t level;
	struct tree_pointer self;
	uint32_t entries;
	uint32_t heap_bytes;
	uint32_t garbage_bytes; /* of the heap */
	struct view low;
	struct view high; /* of no bytes: no upper end */
};

void tree_image_read(const uint8_t *data, struct tree_image *out_image);

/* Entry `index`: the key, put together in `key`, and the value in place: of an inner node the
 * pointer to a child, of TREE_POINTER_BYTES. */
struct view tree_image_entry(const uint8_t *data, uint32_t index,
	uint8_t key[static TREE_KEY_BYTES_MAX], struct view *out_value);

#endif
