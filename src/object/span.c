/*
 * A *span* is a range of bytes together with the caller's buffer. Where a block lies in memory
 * follows from it: in the caller's buffer when that has the alignment that devices want, else in a
 * bounce buffer. Blocks at the edges of which only a part belongs to the span are always bounced.
 */

#include "object/data_internal.h"

#include <assert.h>
#include <stdlib.h>

int
span_init(struct span *span, uint64_t offset, void *buffer, size_t bytes)
{
	uint64_t blocks;

	assert(bytes > 0);
	*span = (struct span){ .offset = offset, .bytes = bytes, .buffer = buffer };
	blocks = span_last(span) - span_first(span) + 1;
	span->is_direct = ((uintptr_t)buffer - offset) % BLOCK_BYTES == 0;
	span->bounce = block_buffer_alloc(span->is_direct ? 2 : blocks);
	if (!span->bounce)
		return fail(COP_ENOMEM, "buffer of %" PRIu64 " blocks", blocks);
	return 0;
}

void
span_fini(struct span *span)
{
	free(span->bounce);
	span->bounce = NULL;
}

static bool
span_block_is_whole(const struct span *span, uint64_t block)
{
	return block * BLOCK_BYTES >= span->offset &&
	       (block + 1) * BLOCK_BYTES <= span->offset + span->bytes;
}

uint8_t *
span_place(const struct span *span, uint64_t block)
{
	assert(block >= span_first(span));
	assert(block <= span_last(span));
	if (!span->is_direct)
		return span->bounce + (block - span_first(span)) * BLOCK_BYTES;
	if (span_block_is_whole(span, block))
		return span->buffer + (block * BLOCK_BYTES - span->offset);
	return span->bounce + (block == span_first(span) ? 0 : BLOCK_BYTES);
}

struct span_part
span_part(const struct span *span, uint64_t block)
{
	uint64_t start = max_u64(block * BLOCK_BYTES, span->offset);
	uint64_t end = min_u64((block + 1) * BLOCK_BYTES, span->offset + span->bytes);

	return (struct span_part){
		.in_block = start - block * BLOCK_BYTES,
		.in_buffer = start - span->offset,
		.bytes = end - start,
	};
}

static bool
span_is_in_buffer(const struct span *span, uint64_t block)
{
	return span->is_direct && span_block_is_whole(span, block);
}

void
span_copy_in(const struct span *span)
{
	for (uint64_t block = span_first(span); block <= span_last(span); block++) {
		struct span_part part = span_part(span, block);

		if (!span_is_in_buffer(span, block))
			memcpy(span_place(span, block) + part.in_block,
				span->buffer + part.in_buffer, part.bytes);
	}
}

void
span_copy_out(const struct span *span)
{
	for (uint64_t block = span_first(span); block <= span_last(span); block++) {
		struct span_part part = span_part(span, block);

		if (!span_is_in_buffer(span, block))
			memcpy(span->buffer + part.in_buffer,
				span_place(span, block) + part.in_block, part.bytes);
	}
}
