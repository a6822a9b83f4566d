#ifndef COPPICE_OBJECT_TRIMS_FORMAT_H
#define COPPICE_OBJECT_TRIMS_FORMAT_H

/*
 * The ranges of an object that a job frees. They are the content of its record when its form is a
 * tree, one after the other, little-endian.
 *
 *   offset  bytes  field
 *        0      8  first  blocks [first, end) of content are being freed and count as a hole
 *        8      8  end
 *
 * Ranges ascend and do not touch each other. Extents of the tree lie in one of them, or outside of
 * all, as a whole.
 *
 * What is cut off to the end of the largest file always finds a place: others leave one free, and
 * two such ranges are one.
 */

#include "base/bytes.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	TRIM_RANGE_BYTES = 16,
	TRIM_RANGES_MAX = 20, /* of any volume: a record of the smallest node holds them */
	TRIMS_BYTES_MAX = TRIM_RANGES_MAX * TRIM_RANGE_BYTES,
};

struct trim_range {
	uint64_t first;
	uint64_t end;
};

struct trims {
	size_t count;
	struct trim_range list[TRIM_RANGES_MAX];
};

/* Returns the view of what it wrote. */
struct view trims_encode(const struct trims *trims, uint8_t out[static TRIMS_BYTES_MAX]);

/* COP_EFORMAT: too many, or they make no sense. */
MUST_CHECK int trims_decode(struct view value, struct trims *out_trims);

/* The first range that overlaps blocks [first, end); NULL: none. */
const struct trim_range *trims_find(const struct trims *trims, uint64_t first, uint64_t end);

/* What it overlaps or touches becomes one with it. False: there are too many; nothing changed. */
MUST_CHECK bool trims_add(struct trims *trims, uint64_t first, uint64_t end);

/* What lies around it stays. False: there would be too many; nothing changed. */
MUST_CHECK bool trims_remove(struct trims *trims, uint64_t first, uint64_t end);

/* The one of the fewest blocks; there is one. */
const struct trim_range *trims_shortest(const struct trims *trims);

#endif
