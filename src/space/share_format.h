#ifndef COPPICE_SPACE_SHARE_FORMAT_H
#define COPPICE_SPACE_SHARE_FORMAT_H

/*
 * The share tree on disk: which blocks are referred to more than once. Its key is be64 of the last
 * block of a range, so that a scan forward from a block meets first the range that covers it. Its
 * value has one width, little-endian:
 *
 *   offset  bytes  field
 *        0      4  blocks  of the range, from 1
 *        4      4  extra   references to each of its blocks beyond the first, from 1
 *
 * Ranges do not overlap, and two that touch differ in `extra`. A node counts by its first copy.
 */

#include "base/bytes.h"
#include "base/err.h"

#include <stdint.h>

enum {
	SHARE_KEY_BYTES = 8,
	SHARE_VALUE_BYTES = 8,
};

/* Blocks that are all referred to `extra` times more than once. */
struct share_range {
	uint64_t addr;
	uint32_t blocks;
	uint32_t extra;
};

static inline uint64_t
share_end(const struct share_range *range)
{
	return range->addr + range->blocks;
}

struct view share_key(uint64_t last_block, uint8_t out[static SHARE_KEY_BYTES]);
void share_encode(const struct share_range *range, uint8_t out[static SHARE_VALUE_BYTES]);

/* COP_EFORMAT. */
MUST_CHECK int share_decode(struct view key, struct view value, struct share_range *out_range);

#endif
