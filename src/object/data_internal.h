#ifndef COPPICE_OBJECT_DATA_INTERNAL_H
#define COPPICE_OBJECT_DATA_INTERNAL_H

/*
 * data_internal: the parts of data.c that changes of content are built from.
 */

#include "device/device.h"
#include "object/object_internal.h"

enum { FETCH_CACHED_BYTES = 65536 }; /* reads below this size go through the cache */

/* cache_verify of a block of data, whose stamp is its checksum. */
MUST_CHECK int data_verify_block(
	void *context, uint64_t addr, uint64_t stamp, uint8_t *data, uint32_t blocks);

/* Adds a block of written data, to the last extent if it goes on there. COP_ENOMEM. */
MUST_CHECK int extents_add_block(
	struct extents *extents, uint64_t block, uint64_t addr, uint64_t birth, uint64_t checksum);

/* Listed extents to the end of the reader: ascending, without overlaps. COP_EFORMAT. */
MUST_CHECK int extents_decode(struct reader *r, struct extents *out_extents);

/* Are they few enough to lie in a record? */
enum { INLINE_EXTENTS_MAX = 16 };
bool extents_fit_record(const struct extents *extents, uint32_t content_max);

/* All of them, listed; returns the view of what it wrote. */
struct view extents_encode_listed(const struct extents *extents, uint8_t *out, size_t capacity);

/* A range of bytes, the caller's buffer, and whole blocks of memory for it. */
struct span {
	uint64_t offset;
	size_t bytes;
	uint8_t *buffer; /* borrowed; only read when it is written from */
	uint8_t *bounce; /* owned */
	bool is_direct;  /* whole blocks lie in `buffer` */
};

/* `bytes` is not 0. COP_ENOMEM. */
MUST_CHECK int span_init(struct span *span, uint64_t offset, void *buffer, size_t bytes);
void span_fini(struct span *span);

/* Where a block of the span lies: BLOCK_BYTES bytes. */
uint8_t *span_place(const struct span *span, uint64_t block);

static inline uint64_t
span_first(const struct span *span)
{
	return span->offset / BLOCK_BYTES;
}

static inline uint64_t
span_last(const struct span *span)
{
	return (span->offset + span->bytes - 1) / BLOCK_BYTES;
}

/* The part of a block that belongs to the span: where in the block, where in the buffer. */
struct span_part {
	size_t in_block;
	size_t in_buffer;
	size_t bytes;
};
struct span_part span_part(const struct span *span, uint64_t block);

/* Copies the caller's bytes into the places that are not in its buffer, or back. */
void span_copy_in(const struct span *span);
void span_copy_out(const struct span *span);

/* Requests that go to the device together; neighbours in address become one. */
struct batch {
	struct device_io *ios;
	struct device_io **pointers;
	struct iovec *iovs; /* those of a request lie behind each other */
	size_t count;       /* of requests */
	size_t iov_count;
	size_t capacity; /* of either */
};

/* `capacity` pieces of memory at the most. */
MUST_CHECK int batch_init(struct batch *batch, size_t capacity);
void batch_fini(struct batch *batch);
void batch_add_block(struct batch *batch, enum device_op op, uint64_t addr, uint8_t *place);
void batch_submit(struct batch *batch, struct device *dev);

/* Waits for all; the first error. */
MUST_CHECK int batch_wait(struct batch *batch, struct device *dev);

#endif
