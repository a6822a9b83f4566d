/* Bytes in extents: reading them with their checksums verified, writing them to new blocks. */

#include "object/data_internal.h"

#include "base/checksum.h"
#include "cache/cache.h"

#include <assert.h>
#include <stdlib.h>

enum { FETCH_CACHED_BLOCKS = FETCH_CACHED_BYTES / BLOCK_BYTES + 1 };

/* ---- Reading -------------------------------------------------------------------------------- */

/* Walks blocks and extents side by side. */
struct seeker {
	const struct extents *extents;
	size_t at;
};

/* The extent that covers `block`; NULL for a hole. Blocks are asked in ascending order. */
static const struct extent *
seeker_find(struct seeker *seeker, uint64_t block)
{
	const struct extents *extents = seeker->extents;

	while (seeker->at < extents->count && extent_last(&extents->list[seeker->at]) < block)
		seeker->at++;
	if (seeker->at == extents->count || extents->list[seeker->at].first > block)
		return NULL;
	return &extents->list[seeker->at];
}

static int
extent_check_readable(const struct operation *op, const struct extent *extent)
{
	uint64_t blocks = volume_tree_env(op->volume->volume)->device_blocks;

	if (extent->flags & EXTENT_COMPRESSED)
		return fail(COP_EUNSUPPORTED, "compressed with algorithm %u", extent->algorithm);
	if (extent->flags & EXTENT_ENCRYPTED)
		return fail(COP_EUNSUPPORTED, "encrypted with key %" PRIu32, extent->key_id);
	if (extent->addr >= blocks || extent->blocks > blocks - extent->addr)
		return fail(COP_EFORMAT,
			"extent at block %" PRIu64 " is past the end of the volume", extent->addr);
	return 0;
}

static int
fail_in_blocks(struct operation *op, int err, uint64_t first, uint64_t blocks)
{
	op->bad_first = first;
	op->bad_blocks = blocks;
	return err;
}

int
data_fail_in(int err, const struct operation *op, const struct cop_object *object)
{
	if (op->bad_blocks == 0)
		return object_fail_in(err, object);
	return fail_in(err, "object %" PRIu64 ", bytes %" PRIu64 "-%" PRIu64, object->id,
		op->bad_first * BLOCK_BYTES, (op->bad_first + op->bad_blocks) * BLOCK_BYTES - 1);
}

int
data_verify_block(void *context, uint64_t addr, uint64_t stamp, uint8_t *data, uint32_t blocks)
{
	struct cop_volume *volume = context;

	assert(blocks == 1);
	if (volume) /* what has just been read is counted */
		atomic_fetch_add_explicit(&volume->data_blocks_read, 1, memory_order_relaxed);
	if (checksum64(data, BLOCK_BYTES) != stamp)
		return fail(COP_ECHECKSUM, "data at block %" PRIu64 ": checksum", addr);
	return 0;
}

/*
 * Small reads: block by block through the cache. A request's own error text is lost when another
 * thread was the one that read, so it is said again here.
 */
static int
fetch_cached(struct operation *op, const struct extents *extents, const struct span *span)
{
	struct cache *cache = volume_cache(op->volume->volume);
	struct cache_request requests[FETCH_CACHED_BLOCKS];
	uint64_t blocks[FETCH_CACHED_BLOCKS];
	struct seeker seeker = { .extents = extents };
	size_t count = 0;
	int err = 0;

	for (uint64_t block = span_first(span); block <= span_last(span); block++) {
		const struct extent *extent = seeker_find(&seeker, block);
		struct span_part part = span_part(span, block);

		if (!extent || extent->flags & EXTENT_UNWRITTEN) {
			memset(span->buffer + part.in_buffer, 0, part.bytes);
			continue;
		}
		err = extent_check_readable(op, extent);
		if (err)
			return fail_in_blocks(op, err, block, 1);
		blocks[count] = block;
		requests[count++] = (struct cache_request){
			.addr = extent->addr + (block - extent->first),
			.stamp = extent->checksums[block - extent->first],
			.blocks = 1,
			.verify = data_verify_block,
			.context = op->volume,
		};
	}
	if (count == 0)
		return 0;

	/* Each request has its own result, looked at below. */
	(void)!cache_get_many(cache, requests, count);
	for (size_t i = 0; i < count; i++) {
		struct span_part part = span_part(span, blocks[i]);

		if (requests[i].result == 0) {
			memcpy(span->buffer + part.in_buffer,
				requests[i].buffer->data + part.in_block, part.bytes);
			cache_release(cache, requests[i].buffer);
		} else if (err == 0) {
			err = fail(requests[i].result, "data at block %" PRIu64 ": %s",
				requests[i].addr, cop_error_sentence(requests[i].result));
			err = fail_in_blocks(op, err, blocks[i], 1);
		}
	}
	return err;
}

static int
verify_span(struct operation *op, const struct extents *extents, const struct span *span)
{
	struct seeker seeker = { .extents = extents };

	for (uint64_t block = span_first(span); block <= span_last(span); block++) {
		const struct extent *extent = seeker_find(&seeker, block);
		int err;

		if (!extent || extent->flags & EXTENT_UNWRITTEN)
			continue;
		err = data_verify_block(op->volume, extent->addr + (block - extent->first),
			extent->checksums[block - extent->first], span_place(span, block), 1);
		if (err)
			return fail_in_blocks(op, err, block, 1);
	}
	return 0;
}

/* Which block a failed request belongs to, by its place in memory. */
static int
fail_in_request(struct operation *op, const struct batch *batch, const struct span *span)
{
	for (size_t i = 0; i < batch->count; i++) {
		const struct device_io *io = &batch->ios[i];
		int err;

		if (io->result == 0)
			continue;
		for (uint64_t block = span_first(span); block <= span_last(span); block++) {
			if (span_place(span, block) != io->iov[0].iov_base)
				continue;
			err = fail(io->result, "data at block %" PRIu64 ": %s", io->addr,
				cop_error_sentence(io->result));
			return fail_in_blocks(op, err, block, io->blocks);
		}
	}
	return 0;
}

/*
 * A block that the journal carries is not at its place before the next checkpoint has ended; until
 * then the cache has it.
 */
static bool
fetch_carried(struct operation *op, uint64_t addr, uint64_t checksum, uint8_t *place)
{
	struct cache *cache = volume_cache(op->volume->volume);
	struct buffer *buffer;

	buffer = cache_peek(cache, addr, checksum);
	if (!buffer)
		return false;
	memcpy(place, buffer->data, BLOCK_BYTES);
	cache_release(cache, buffer);
	return true;
}

/* Large reads: straight from the device, all at once. */
static int
fetch_direct(struct operation *op, const struct extents *extents, const struct span *span)
{
	struct device *dev = op->volume->dev;
	bool carries = volume_carries(op->volume->volume);
	struct seeker seeker = { .extents = extents };
	struct batch batch;
	int err;

	/* An extent is one request, or up to three where the edges of the span are bounced; and
	 * what is carried may part it anywhere. */
	err = batch_init(
		&batch, carries ? span_last(span) - span_first(span) + 1 : extents->count + 4);
	if (err)
		return err;
	for (uint64_t block = span_first(span); block <= span_last(span); block++) {
		const struct extent *extent = seeker_find(&seeker, block);

		if (!extent || extent->flags & EXTENT_UNWRITTEN) {
			memset(span_place(span, block), 0, BLOCK_BYTES);
			continue;
		}
		err = extent_check_readable(op, extent);
		if (err) {
			err = fail_in_blocks(op, err, block, 1);
			goto out;
		}
		if (!carries ||
			!fetch_carried(op, extent->addr + (block - extent->first),
				extent->checksums[block - extent->first], span_place(span, block)))
			batch_add_block(&batch, DEVICE_READ, extent->addr + (block - extent->first),
				span_place(span, block));
	}
	batch_submit(&batch, dev);
	err = batch_wait(&batch, dev);
	if (err) {
		err = fail_in_request(op, &batch, span);
		goto out;
	}
	err = verify_span(op, extents, span);
	if (err)
		goto out;
	span_copy_out(span);

out:
	batch_fini(&batch);
	return err;
}

int
data_fetch(struct operation *op, const struct extents *extents, uint64_t offset, void *buffer,
	size_t bytes)
{
	struct span span;
	int err;

	op->bad_blocks = 0;
	if (bytes == 0)
		return 0;
	if (bytes < FETCH_CACHED_BYTES) {
		span = (struct span){ .offset = offset, .bytes = bytes, .buffer = buffer };
		return fetch_cached(op, extents, &span);
	}
	err = span_init(&span, offset, buffer, bytes);
	if (err)
		return err;
	err = fetch_direct(op, extents, &span);
	span_fini(&span);
	return err;
}

/* ---- Writing -------------------------------------------------------------------------------- */

int
data_store(struct operation *op, struct tx *tx, const void *data, size_t bytes,
	struct extents *out_extents)
{
	struct device *dev = op->volume->dev;
	uint64_t blocks = div_up(bytes, BLOCK_BYTES);
	uint64_t birth = volume_generation(op->volume->volume);
	struct extents extents = { 0 };
	struct batch batch = { 0 };
	uint64_t checksum;
	uint8_t *padded = NULL;
	uint64_t goal = 0;
	uint64_t done = 0;
	int err;

	assert(bytes > 0);
	padded = block_buffer_alloc(blocks);
	if (!padded)
		return fail(COP_ENOMEM, "buffer of %" PRIu64 " blocks", blocks);
	memcpy(padded, data, bytes);
	memset(padded + bytes, 0, blocks * BLOCK_BYTES - bytes);
	err = batch_init(&batch, blocks);
	if (err == 0)
		err = tx_admit(tx, blocks);
	while (err == 0 && done < blocks) {
		struct run run;

		err = tx_take(tx, SPACE_SMALL_DATA, goal, (uint32_t)(blocks - done), &run);
		for (uint32_t i = 0; err == 0 && i < run.blocks; i++, done++) {
			uint8_t *place = padded + done * BLOCK_BYTES;

			batch_add_block(&batch, DEVICE_WRITE, run.addr + i, place);
			checksum = checksum64(place, BLOCK_BYTES);
			err = extents_add_block(&extents, done, run.addr + i, birth, checksum);
			if (err == 0)
				err = tx_data(tx, run.addr + i, 1, &checksum);
		}
		if (err == 0)
			goal = run.addr + run.blocks;
	}
	if (err)
		goto out;
	batch_submit(&batch, dev);
	err = batch_wait(&batch, dev);
	if (err) {
		err = fail(err, "writing %" PRIu64 " blocks of data: %s", blocks,
			device_result_sentence(err));
		goto out;
	}
	*out_extents = extents;
	extents = (struct extents){ 0 };

out:
	extents_free(&extents);
	batch_fini(&batch);
	free(padded);
	return err;
}

int
data_release(struct tx *tx, const struct extents *extents)
{
	struct run run = { 0 };
	uint64_t birth = extents_oldest(extents);

	for (size_t i = 0; i < extents->count; i++) {
		const struct extent *extent = &extents->list[i];
		uint32_t blocks = extent_stored_blocks(extent);
		int err;

		if (run.blocks > 0 && run.addr + run.blocks == extent->addr) {
			run.blocks += blocks;
			continue;
		}
		if (run.blocks > 0) {
			err = tx_release_born(tx, run, birth);
			if (err)
				return err;
		}
		run = (struct run){ .addr = extent->addr, .blocks = blocks };
	}
	return run.blocks > 0 ? tx_release_born(tx, run, birth) : 0;
}
