#ifndef COPPICE_OBJECT_EXTENT_FORMAT_H
#define COPPICE_OBJECT_EXTENT_FORMAT_H

/*
 * Extents on disk, little-endian. An extent says where up to 32 consecutive blocks of content lie.
 *
 *   offset  bytes  field
 *        0      8  addr       first block on the device
 *        8      8  birth      generation in which the blocks were allocated
 *       16      2  blocks     of content, 1 to 32
 *       18      2  flags      unwritten 1, compressed 2, encrypted 4, split 8
 *
 * With the flag compressed there follow
 *
 *        0      4  stored_bytes  on the device, from addr on
 *        4      1  algorithm     1: lz4, 2: zstd
 *        5      1  whole_blocks  of content in the whole of what is stored
 *        6      1  skip_blocks   of them, before the first of this record
 *        7      1  zero
 *
 * with the flag encrypted
 *
 *        0      4  key_id
 *        4     24  nonce
 *       28     16  tag
 *
 * and then, unless the flag unwritten is set, one checksum of 8 bytes for each block on the device.
 *
 * In a content tree an extent is the value of the key be64(last block of content), so that a scan
 * forward from block b meets the extent that covers b first. In a record, and in the value of a
 * large extended attribute, extents follow one another, each after the 8 bytes of its first block.
 */

#include "base/bytes.h"
#include "base/err.h"
#include "space/space.h"
#include "tree/tree.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	EXTENT_BLOCKS_MAX = 32,
	EXTENT_FIXED_BYTES = 20,
	EXTENT_COMPRESSED_BYTES = 8,
	EXTENT_ENCRYPTED_BYTES = 44,
	EXTENT_BYTES_MAX = EXTENT_FIXED_BYTES + EXTENT_COMPRESSED_BYTES + EXTENT_ENCRYPTED_BYTES +
			   8 * EXTENT_BLOCKS_MAX,
	EXTENT_KEY_BYTES = 8,
};

/* Blocks of the largest content. */
#define CONTENT_BLOCKS_MAX (COP_FILE_BYTES_MAX / COP_BLOCK_BYTES)

enum extent_flags {
	EXTENT_UNWRITTEN = 1 << 0,  /* allocated, reads as zeros */
	EXTENT_COMPRESSED = 1 << 1, /* not made by this version */
	EXTENT_ENCRYPTED = 1 << 2,  /* not made by this version */
	EXTENT_SPLIT = 1 << 3,      /* other records refer to the same stored whole */
	EXTENT_FLAGS_KNOWN = EXTENT_UNWRITTEN | EXTENT_COMPRESSED | EXTENT_ENCRYPTED | EXTENT_SPLIT,
};

struct extent {
	uint64_t first; /* block of content; not part of the value */
	uint64_t addr;
	uint64_t birth;
	uint32_t blocks;
	uint32_t flags;

	/* Compressed. */
	uint32_t stored_bytes;
	uint8_t algorithm;
	uint8_t whole_blocks;
	uint8_t skip_blocks;

	/* Encrypted. */
	uint32_t key_id;
	uint8_t nonce[24];
	uint8_t tag[16];

	uint64_t checksums[EXTENT_BLOCKS_MAX];
};

static inline uint64_t
extent_last(const struct extent *extent)
{
	return extent->first + extent->blocks - 1;
}

/* Blocks on the device. */
uint32_t extent_stored_blocks(const struct extent *extent);

/* Bytes of the value. */
uint32_t extent_bytes(const struct extent *extent);

/* The value. `extent` makes sense; asserts that the writer had room. */
void extent_encode(const struct extent *extent, struct writer *w);

/*
 * An entry of a content tree. COP_EFORMAT. Compressed and encrypted extents decode: whoever wants
 * their data says COP_EUNSUPPORTED.
 */
void extent_key(uint64_t last, uint8_t out[static EXTENT_KEY_BYTES]);
MUST_CHECK int extent_decode_entry(struct view key, struct view value, struct extent *out_extent);

/* Of an entry of a tree: the blocks that it refers to, and their birth. False: none, or it makes no
 * sense. As volume_options.entry_run. */
bool extent_entry_run(enum tree_kind kind, struct view key, struct view value, struct run *out_run,
	uint64_t *out_birth);

/* One of a sequence: first block, then the value. */
enum { EXTENT_LISTED_BYTES = 8 };
void extent_encode_listed(const struct extent *extent, struct writer *w);
MUST_CHECK int extent_decode_listed(struct reader *r, struct extent *out_extent);

/*
 * Cuts an extent that is stored plainly down to blocks [first, first + blocks) of content, which it
 * covers.
 */
void extent_trim(struct extent *extent, uint64_t first, uint32_t blocks);

#endif
