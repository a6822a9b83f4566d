#ifndef COPPICE_TREE_NODE_FORMAT_H
#define COPPICE_TREE_NODE_FORMAT_H

/*
 * node_format: the header of a tree node, and a pointer to one, as bytes on the device.
 *
 * A node on disk, little-endian; its header is this table:
 *
 *   offset  bytes  field
 *        0      8  checksum       XXH3 of bytes 8 to the end of the node
 *        8      4  magic          "copn"
 *       12      1  kind           of the tree, 1 to 6
 *       13      1  level          0: a leaf
 *       14      2  flags          0
 *       16     16  uuid           of the volume
 *       32      8  addr           block of the first copy
 *       40      8  addr2          block of the second copy, 0: none
 *       48      8  birth          generation
 *       56      8  seal           random number of this image
 *       64      4  stored_bytes   compressed length, 0: not compressed
 *       68      1  compression    algorithm, 0: none
 *       69      1  reserved       0
 *       70      2  hint           where the next entry of a series goes, 0: not known
 *       72      4  key_id         of the encryption, 0: none
 *       76     24  nonce          of the encryption, else 0
 *      100     16  tag            of the encryption, else 0
 *      116      2  entries        from 1
 *      118      2  heap_bytes     cells at the end of the node, with the garbage between them
 *      120      2  garbage_bytes  of the heap
 *      122      2  low_bytes      of the low fence
 *      124      2  high_bytes     of the high fence, 0: no upper end
 *      126      2  prefix_bytes   that the two fences, and so all keys, have in common
 *
 * Behind the header: the low fence, the high fence, zeros up to a multiple of 8; then one slot for
 * each entry in the order of the keys; then zeros; then the heap up to the end of the node.
 *
 *   slot    4  head           first bytes of the suffix, zeros behind it, big-endian
 *           2  offset         of the cell, from the start of the node
 *           2  suffix_bytes   the key without the prefix
 *
 *   cell    2  value_bytes
 *           .  suffix
 *           .  value
 *
 * In an inner node an entry is a child: its key is the child's low fence, the next key (or the
 * node's high fence) the child's high fence, its value the pointer, 32 zeros where there is no
 * child. The first key is the node's low fence; two entries without a child are not neighbours.
 *
 * A pointer on disk, little-endian, 32 bytes:
 *
 *   offset  bytes  field
 *        0      8  addr           block of the first copy, 0: none
 *        8      8  addr2          block of the second copy, 0: none
 *       16      8  birth          generation
 *       24      8  seal           random number of the image
 */

#include "tree/tree.h"

enum {
	NODE_HEADER_BYTES = 128,
	NODE_UUID_BYTES = 16,
	NODE_NONCE_BYTES = 24,
	NODE_TAG_BYTES = 16,
	NODE_SLOT_BYTES = 8,
	NODE_CELL_BYTES = 2, /* in front of the suffix */
};

enum {
	NODE_AT_CHECKSUM = 0,
	NODE_AT_MAGIC = 8,
	NODE_AT_KIND = 12,
	NODE_AT_LEVEL = 13,
	NODE_AT_FLAGS = 14,
	NODE_AT_UUID = 16,
	NODE_AT_ADDR = 32,
	NODE_AT_ADDR2 = 40,
	NODE_AT_BIRTH = 48,
	NODE_AT_SEAL = 56,
	NODE_AT_STORED_BYTES = 64,
	NODE_AT_COMPRESSION = 68,
	NODE_AT_RESERVED = 69,
	NODE_AT_HINT = 70,
	NODE_AT_KEY_ID = 72,
	NODE_AT_NONCE = 76,
	NODE_AT_TAG = 100,
	NODE_AT_ENTRIES = 116,
	NODE_AT_HEAP_BYTES = 118,
	NODE_AT_GARBAGE_BYTES = 120,
	NODE_AT_LOW_BYTES = 122,
	NODE_AT_HIGH_BYTES = 124,
	NODE_AT_PREFIX_BYTES = 126,
};
static_assert(NODE_AT_PREFIX_BYTES + 2 == NODE_HEADER_BYTES, "the table fills the header");

enum {
	SLOT_AT_HEAD = 0,
	SLOT_AT_OFFSET = 4,
	SLOT_AT_SUFFIX_BYTES = 6,
};

struct node_header {
	uint8_t kind;
	uint8_t level;
	uint16_t flags;
	uint8_t uuid[NODE_UUID_BYTES];
	struct tree_pointer self;
	uint32_t stored_bytes;
	uint8_t compression;
	uint16_t hint;
	uint32_t key_id;
	uint8_t nonce[NODE_NONCE_BYTES];
	uint8_t tag[NODE_TAG_BYTES];
	uint16_t entries;
	uint16_t heap_bytes;
	uint16_t garbage_bytes;
	uint16_t low_bytes;
	uint16_t high_bytes;
	uint16_t prefix_bytes;
};

/* Everything but the checksum, which node_checksum_put() adds over the whole node. */
void node_header_encode(const struct node_header *header, uint8_t out[static NODE_HEADER_BYTES]);

/* Only takes the fields apart; tree_node_check() judges them. COP_ECHECKSUM: not a node. */
MUST_CHECK int node_header_decode(
	const uint8_t in[static NODE_HEADER_BYTES], struct node_header *out_header);

void node_checksum_put(uint8_t *node, uint32_t node_bytes);
bool node_checksum_matches(const uint8_t *node, uint32_t node_bytes);

#endif
