#include "front/cli/damage.h"

#include "base/num.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { DETAIL_BYTES = 1024 };

/* Of the block that `offset` lies in, or of the range, what ends first. */
static size_t
piece_bytes(uint64_t offset, size_t left)
{
	return min_u64(COP_BLOCK_BYTES - offset % COP_BLOCK_BYTES, left);
}

struct damage_range
damage_find(damage_read read, void *context, uint64_t offset, void *buffer, size_t bytes)
{
	struct damage_range range = { .offset = offset };
	uint8_t spare[COP_BLOCK_BYTES];
	size_t done = 0;

	while (done < bytes) {
		size_t piece = piece_bytes(offset + done, bytes - done);
		void *into = range.bytes > 0 ? spare : (uint8_t *)buffer + done;
		size_t got;
		int err = read(context, offset + done, into, piece, &got);

		if (!err && range.bytes > 0)
			break;
		if (err && range.bytes == 0) {
			range.offset = offset + done;
			range.code = err;
		}
		if (err)
			range.bytes += piece;
		done += piece;
	}
	/* The note now is that of the last block that failed, or of none: make it the first's. */
	if (range.bytes > 0) {
		size_t got;
		int err = read(context, range.offset, spare,
			piece_bytes(range.offset, (size_t)range.bytes), &got);

		if (err)
			range.code = err;
	}
	return range;
}

int
damage_note(const struct damage_range *range)
{
	const char *note = cop_error_text();
	char detail[DETAIL_BYTES];
	int skipped = 0;

	assert(range->bytes > 0);
	/* How the library begins it, unless the failure was not one of data. */
	(void)sscanf(note, "object %*u, bytes %*u-%*u: %n", &skipped);
	(void)snprintf(detail, sizeof detail, "%s", note + skipped);
	return fail(range->code, "bytes %" PRIu64 "-%" PRIu64 ": %s", range->offset,
		range->offset + range->bytes - 1, detail);
}
