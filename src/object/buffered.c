/*
 * Buffered writes.
 *
 *   order    a write into an older segment, or past the newest one's size: what is dirty goes first
 *   pages    new ones for all blocks, within the memory limit
 *   fill     what the bytes leave of the blocks at the edges comes from the pages before, or from
 *            the content
 *   promise  blocks for data and nodes are set aside, so that write-back finds them
 *   publish  pages, then length
 *
 * Nothing is allocated on the device, written or put into the journal.
 */

#include "object/content_internal.h"
#include "object/pages_internal.h"

#include <assert.h>

struct buffering {
	struct operation *op;
	struct cop_object *object;
	uint64_t first;
	uint64_t end;
	size_t taken;
	struct buffer *fresh[SEGMENT_BLOCKS_MAX];
};

static void
release_fresh(struct buffering *b)
{
	while (b->taken > 0)
		cache_release(volume_cache(b->op->volume->volume), b->fresh[--b->taken]);
}

static int
take_fresh(struct buffering *b)
{
	int err = 0;

	while (err == 0 && b->taken < b->end - b->first) {
		err = cache_take(volume_cache(b->op->volume->volume), &b->fresh[b->taken]);
		b->taken += err == 0;
	}
	return err;
}

/* The bytes of a block that is not dirty, zeros past the end of the content. */
static int
fill_from_content(struct buffering *b, uint64_t block, const struct record *record, uint8_t *out)
{
	struct gather gather = { .first = block, .end = block + 1, .max = 1 };
	struct extents extents = { 0 };
	bool more;
	int err;

	memset(out, 0, BLOCK_BYTES);
	if (block * BLOCK_BYTES >= record->length)
		return 0;
	if (record->form == COP_FORM_INLINE) {
		memcpy(out, record->content.data + block * BLOCK_BYTES,
			min_u64(BLOCK_BYTES, record->content.bytes - block * BLOCK_BYTES));
		return 0;
	}
	err = content_gather(b->object, record, &gather, &extents, &more);
	if (err == 0)
		err = data_fetch(b->op, &extents, block * BLOCK_BYTES, out, BLOCK_BYTES);
	extents_free(&extents);
	return err ? data_fail_in(err, b->op, b->object) : 0;
}

static int
fill_edge(struct buffering *b, uint64_t block, const struct record *record)
{
	const struct buffer *page = pages_own(&b->object->pages, block);
	uint8_t *out = b->fresh[block - b->first]->data;

	if (!page)
		return fill_from_content(b, block, record, out);
	memcpy(out, page->data, BLOCK_BYTES);
	return 0;
}

static int
fill(struct buffering *b, const struct record *record, uint64_t offset, const uint8_t *buffer,
	size_t bytes)
{
	uint64_t end = offset + bytes;
	int err = 0;

	if (offset % BLOCK_BYTES != 0)
		err = fill_edge(b, b->first, record);
	if (err == 0 && end % BLOCK_BYTES != 0 &&
		(b->end - 1 != b->first || offset % BLOCK_BYTES == 0))
		err = fill_edge(b, b->end - 1, record);
	if (err)
		return err;
	while (bytes > 0) {
		struct buffer *page = b->fresh[offset / BLOCK_BYTES - b->first];
		size_t part = min_u64(bytes, BLOCK_BYTES - offset % BLOCK_BYTES);

		memcpy(page->data + offset % BLOCK_BYTES, buffer, part);
		offset += part;
		buffer += part;
		bytes -= part;
	}
	return 0;
}

int
buffered_write(struct operation *op, struct cop_object *object, uint64_t offset,
	const uint8_t *buffer, size_t bytes)
{
	enum { MOVE_OUT_EXTRA = 4 }; /* messages and blocks, when inline bytes go to blocks first */
	struct buffering b = {
		.op = op,
		.object = object,
		.first = offset / BLOCK_BYTES,
		.end = div_up(offset + bytes, BLOCK_BYTES),
	};
	struct segment *segment;
	struct loaded loaded;
	uint32_t extra;
	int err;

	assert(b.end - b.first <= SEGMENT_BLOCKS_MAX);
	err = edit_check_kind(object);
	if (err)
		return err;
	if (pages_conflict(&object->pages, b.first, b.end))
		err = writeback_object(op, object, false);
	if (err == 0)
		err = record_load(object, &loaded);
	if (err == 0)
		err = take_fresh(&b);
	if (err == 0)
		err = fill(&b, &loaded.record, offset, buffer, bytes);
	if (err == 0) {
		extra = loaded.record.form == COP_FORM_INLINE && loaded.record.length > 0
				? MOVE_OUT_EXTRA
				: 0;
		err = pages_prepare(object, b.first, b.end, extra, &segment);
	}
	if (err) {
		release_fresh(&b);
		return err;
	}
	pages_publish(object, segment, b.first, b.end, b.fresh,
		max_u64(pages_length(&object->pages, loaded.record.length), offset + bytes),
		volume_now_ns(op->volume->volume));
	return 0;
}
