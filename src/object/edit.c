/*
 * Changing content.
 *
 *   gather   the extents of the range that is replaced, and the one before it
 *   fill     what the new bytes leave of the blocks at their edges comes from the old content
 *   place    blocks that are allocated but unwritten are written where they are: nobody can have
 *            read them; all others get new places
 *   write    all at once, checksums meanwhile; wait
 *   puts     what survives of the old extents before and after the range, and the new ones
 *   commit   extents, record, released blocks: one transaction
 *
 * Data is on the device (or in its cache) before the transaction that names it exists. So the next
 * checkpoint's flush makes both durable, and no size grows over bytes that were not written.
 */

#include "object/content_internal.h"

#include "base/checksum.h"
#include "base/plant.h"
#include "object/reclaim.h"

#include <assert.h>
#include <stdlib.h>

enum { SMALL_FILE_BYTES = 131072 }; /* shorter files are allocated among their like */

/* Blocks of one patch that lie behind each other on the device. */
struct placed {
	uint64_t first;
	uint64_t addr;
	uint64_t birth;
	uint32_t blocks;
	bool is_reused; /* was unwritten there */
};

struct placing {
	struct placed list[EDIT_PUTS_MAX + EDIT_PATCHES_MAX];
	size_t count;
	uint32_t puts; /* extents that they come to, at most */
};

/* ---- Beginning and end ---------------------------------------------------------------------- */

int
edit_check_kind(const struct cop_object *object)
{
	if (object->kind == COP_DIRECTORY)
		return fail(COP_EISDIR, "object %" PRIu64 " is a directory", object->id);
	if (object->kind != COP_FILE)
		return fail(COP_EINVAL, "object %" PRIu64 " is not a file", object->id);
	return 0;
}

static int
load_record(struct edit *edit)
{
	int err = record_load(edit->object, &edit->now);

	if (err)
		return err;
	edit->next = edit->now.record;
	record_touch(edit->object->volume, &edit->next, true);
	return 0;
}

int
edit_init(struct edit *edit, struct operation *op, struct cop_object *object)
{
	int err;

	edit->op = op;
	edit->object = object;
	edit->tx = NULL;
	edit->emptying = false;
	edit->promise = NULL;
	edit->is_late = false;
	edit->is_sync = false;
	edit->first = 0;
	edit->end = 0;
	edit->patch_count = 0;
	edit->old = (struct extents){ 0 };
	edit->puts = (struct extents){ 0 };
	edit->late = (struct batch){ 0 };

	err = edit_check_kind(object);
	if (err)
		return err;
	return load_record(edit);
}

int
edit_free_trimmed(struct edit *edit)
{
	struct trims trims;
	int err;

	record_trims(&edit->now.record, &trims);
	if (!trims_find(&trims, edit->first, edit->end))
		return 0;
	err = trim_between(edit->op, edit->object, edit->first, edit->end);
	return err ? err : load_record(edit);
}

void
edit_fini(struct edit *edit)
{
	for (uint32_t i = 0; i < edit->patch_count; i++) {
		span_fini(&edit->patches[i].span);
		free(edit->patches[i].memory);
	}
	edit->patch_count = 0;
	extents_free(&edit->old);
	extents_free(&edit->puts);
	batch_fini(&edit->late);
	tx_abort(edit->tx);
	edit->tx = NULL;
}

int
edit_free_shortest(struct edit *edit)
{
	int err = trim_shortest(edit->op, edit->object);

	return err ? err : load_record(edit);
}

int
edit_add_memory(struct edit *edit, uint64_t first, uint64_t blocks, uint8_t **out_memory)
{
	struct patch *patch = &edit->patches[edit->patch_count];
	uint8_t *memory = block_buffer_alloc(blocks);
	int err;

	assert(edit->patch_count < EDIT_PATCHES_MAX);
	if (!memory)
		return fail(COP_ENOMEM, "buffer of %" PRIu64 " blocks", blocks);
	memset(memory, 0, blocks * BLOCK_BYTES);
	err = span_init(&patch->span, first * BLOCK_BYTES, memory, blocks * BLOCK_BYTES);
	if (err) {
		free(memory);
		return err;
	}
	patch->memory = memory;
	edit->patch_count++;
	*out_memory = memory;
	return 0;
}

int
edit_add_span(struct edit *edit, uint64_t offset, const void *buffer, size_t bytes)
{
	struct patch *patch = &edit->patches[edit->patch_count];
	int err;

	assert(edit->patch_count < EDIT_PATCHES_MAX);
	/* The device only reads from it. */
	err = span_init(&patch->span, offset, (void *)(uintptr_t)buffer, bytes);
	if (err)
		return err;
	patch->memory = NULL;
	edit->patch_count++;
	return 0;
}

/* ---- Gather and fill ------------------------------------------------------------------------ */

int
edit_gather(struct edit *edit, bool may_cut, bool *out_more)
{
	struct gather gather = {
		.first = edit->first > 0 ? edit->first - 1 : 0,
		.end = edit->end,
		.max = EDIT_OLD_MAX,
	};
	bool more;
	int err = content_gather(edit->object, &edit->now.record, &gather, &edit->old, &more);

	if (err)
		return err;
	for (size_t i = 0; i < edit->old.count; i++) {
		if (edit->old.list[i].flags & (EXTENT_COMPRESSED | EXTENT_ENCRYPTED))
			return fail(COP_EUNSUPPORTED, "compressed or encrypted content");
	}
	if (more && may_cut) {
		edit->end = extent_last(&edit->old.list[edit->old.count - 1]) + 1;
		more = false;
	}
	*out_more = more;
	return 0;
}

static uint64_t
patch_first(const struct patch *patch)
{
	return patch->span.offset / BLOCK_BYTES;
}

/* Of edit->end, which may have been cut down, too. */
static uint64_t
patch_end(const struct edit *edit, const struct patch *patch)
{
	uint64_t end = div_up(patch->span.offset + patch->span.bytes, BLOCK_BYTES);

	return min_u64(end, edit->end);
}

static int
fill_edge(struct edit *edit, struct span *span, uint64_t block)
{
	int err = data_fetch(
		edit->op, &edit->old, block * BLOCK_BYTES, span_place(span, block), BLOCK_BYTES);

	return err ? data_fail_in(err, edit->op, edit->object) : 0;
}

static int
fill(struct edit *edit)
{
	for (uint32_t i = 0; i < edit->patch_count; i++) {
		struct span *span = &edit->patches[i].span;
		uint64_t end = span->offset + span->bytes;
		uint64_t first = span->offset / BLOCK_BYTES;
		uint64_t last = (end - 1) / BLOCK_BYTES;
		int err = 0;

		if (span->offset % BLOCK_BYTES != 0)
			err = fill_edge(edit, span, first);
		if (err == 0 && end % BLOCK_BYTES != 0 && last < edit->end &&
			(last != first || span->offset % BLOCK_BYTES == 0))
			err = fill_edge(edit, span, last);
		if (err)
			return err;
		span_copy_in(span);
	}
	return 0;
}

/* ---- Place ---------------------------------------------------------------------------------- */

/* The first extent of `old` that ends at or after `block`; NULL: none. */
static const struct extent *
old_from(const struct edit *edit, uint64_t block)
{
	for (size_t i = 0; i < edit->old.count; i++) {
		if (extent_last(&edit->old.list[i]) >= block)
			return &edit->old.list[i];
	}
	return NULL;
}

/*
 * The unwritten extent that covers `block`, or where the next one begins (or `end`). One that a
 * clone may have as well is none: what others refer to is not written.
 */
static const struct extent *
find_unwritten(const struct edit *edit, uint64_t block, uint64_t end, uint64_t *out_next)
{
	uint64_t next = end;

	for (size_t i = 0; i < edit->old.count; i++) {
		const struct extent *extent = &edit->old.list[i];

		if (!(extent->flags & EXTENT_UNWRITTEN) || extent_last(extent) < block ||
			!volume_is_unshared(edit->op->volume->volume, extent->birth))
			continue;
		if (extent->first <= block)
			return extent;
		next = min_u64(next, extent->first);
		break;
	}
	*out_next = next;
	return NULL;
}

static uint64_t
count_fresh_blocks(const struct edit *edit)
{
	uint64_t blocks = 0;

	for (uint32_t i = 0; i < edit->patch_count; i++) {
		uint64_t end = patch_end(edit, &edit->patches[i]);
		uint64_t block = patch_first(&edit->patches[i]);

		while (block < end) {
			uint64_t next;
			const struct extent *unwritten = find_unwritten(edit, block, end, &next);

			if (!unwritten)
				blocks += next - block;
			else
				next = extent_last(unwritten) + 1;
			block = next;
		}
	}
	return blocks;
}

/* Where data of the block before `block` ends on the device; 0: anywhere. */
static uint64_t
goal_before(const struct edit *edit, const struct placing *placing, uint64_t block)
{
	const struct extent *before;

	if (placing->count > 0) {
		const struct placed *last = &placing->list[placing->count - 1];

		if (last->first + last->blocks == block)
			return last->addr + last->blocks;
	}
	if (block == 0)
		return 0;
	before = old_from(edit, block - 1);
	if (!before || before->first > block - 1)
		return 0;
	return before->addr + (block - before->first);
}

static int
place_next(struct edit *edit, struct placing *placing, uint64_t block, uint64_t end)
{
	enum space_stream stream =
		edit->next.length <= SMALL_FILE_BYTES ? SPACE_SMALL_DATA : SPACE_DATA;
	struct placed placed = { .first = block };
	const struct extent *unwritten;
	uint64_t next;

	unwritten = find_unwritten(edit, block, end, &next);
	if (unwritten) {
		placed.addr = unwritten->addr + (block - unwritten->first);
		placed.birth = unwritten->birth;
		placed.blocks = (uint32_t)(min_u64(extent_last(unwritten) + 1, end) - block);
		placed.is_reused = true;
	} else {
		struct run run;
		int err = tx_take(edit->tx, stream, goal_before(edit, placing, block),
			(uint32_t)(next - block), &run);

		if (err)
			return err;
		placed.addr = run.addr;
		placed.birth = volume_generation(edit->op->volume->volume);
		placed.blocks = run.blocks;
	}
	placing->puts += placed.blocks / EXTENT_BLOCKS_MAX + 1;
	placing->list[placing->count++] = placed;
	return 0;
}

static int
place(struct edit *edit, struct placing *placing)
{
	uint64_t fresh = count_fresh_blocks(edit);
	int err;

	if (fresh > 0) {
		err = tx_admit(edit->tx, fresh);
		if (err)
			return err;
	}
	for (uint32_t i = 0; i < edit->patch_count; i++) {
		uint64_t block = patch_first(&edit->patches[i]);
		bool may_cut = edit->patch_count == 1;

		while (block < patch_end(edit, &edit->patches[i])) {
			const struct placed *last;

			if (placing->puts >= EDIT_PUTS_MAX) {
				if (!may_cut)
					return fail(COP_ENOSPC, "too fragmented");
				edit->end = block;
				break;
			}
			err = place_next(edit, placing, block, patch_end(edit, &edit->patches[i]));
			if (err)
				return err;
			last = &placing->list[placing->count - 1];
			block = last->first + last->blocks;
		}
	}
	return 0;
}

/* ---- Write ---------------------------------------------------------------------------------- */

static const uint8_t *
find_place(const struct edit *edit, uint64_t block)
{
	for (uint32_t i = 0; i < edit->patch_count; i++) {
		const struct patch *patch = &edit->patches[i];

		if (block >= patch_first(patch) && block < patch_end(edit, patch))
			return span_place(&patch->span, block);
	}
	assert(false); /* it is a block of a patch */
	return NULL;
}

/*
 * Rules of commit, 3: whoever wrote the bytes has gone on, so nothing that comes after may be
 * written as if they were there, and the object tells the next who syncs it.
 */
static int
keep_write_error(struct edit *edit, int err)
{
	struct cop_volume *volume = edit->op->volume;

	if (err == COP_ENOMEM)
		return err; /* nothing was written, the next write-back tries again */
	mutex_lock(&volume->lock);
	edit->object->write_error = err;
	mutex_unlock(&volume->lock);
	return volume_fail(volume->volume, err);
}

/*
 * A sync waits for these bytes, they are few, and nothing lies at their places yet: they ride in
 * the batch, and one write makes all of it durable.
 */
static bool
may_carry(const struct edit *edit, const struct placing *placing)
{
	uint32_t blocks = 0;

	for (size_t i = 0; i < placing->count; i++) {
		if (placing->list[i].is_reused || placing->list[i].blocks > TX_CARRIED_MAX)
			return false;
		blocks += placing->list[i].blocks;
	}
	return edit->is_sync && volume_may_carry(edit->op->volume->volume, blocks);
}

static int
carry_placed(struct edit *edit, const struct placing *placing)
{
	int err = 0;

	for (size_t i = 0; err == 0 && i < placing->count; i++) {
		const struct placed *placed = &placing->list[i];

		for (uint32_t j = 0; err == 0 && j < placed->blocks; j++) {
			const uint8_t *bytes = find_place(edit, placed->first + j);

			err = extents_add_block(&edit->puts, placed->first + j, placed->addr + j,
				placed->birth, checksum64(bytes, BLOCK_BYTES));
			if (err == 0)
				err = tx_carry(edit->tx, edit->object->id, placed->addr + j, bytes);
		}
	}
	return err;
}

static int
write_placed(struct edit *edit, const struct placing *placing)
{
	struct device *dev = edit->op->volume->dev;
	struct batch batch;
	int err;

	/* Blocks at the edges of a span lie apart in memory. */
	err = batch_init(&batch, placing->count + 2 * EDIT_PATCHES_MAX);
	if (err)
		return err;
	for (size_t i = 0; i < placing->count; i++) {
		const struct placed *placed = &placing->list[i];

		for (uint32_t j = 0; j < placed->blocks; j++)
			batch_add_block(&batch, DEVICE_WRITE, placed->addr + j,
				(uint8_t *)(uintptr_t)find_place(edit, placed->first + j));
	}
	if (planted(PLANT_SIZE_BEFORE_DATA)) {
		edit->late = batch;
		batch = (struct batch){ 0 };
	}
	batch_submit(&batch, dev);

	/* While the device works. */
	for (size_t i = 0; err == 0 && i < placing->count; i++) {
		const struct placed *placed = &placing->list[i];

		for (uint32_t j = 0; err == 0 && j < placed->blocks; j++) {
			uint64_t checksum =
				checksum64(find_place(edit, placed->first + j), BLOCK_BYTES);

			err = extents_add_block(&edit->puts, placed->first + j, placed->addr + j,
				placed->birth, checksum);
			if (err == 0)
				err = tx_data(edit->tx, placed->addr + j, 1, &checksum);
		}
	}
	for (size_t i = 0; i < batch.count; i++) {
		const struct device_io *io = &batch.ios[i];

		device_wait(dev, &batch.ios[i]);
		if (io->result != 0 && err == 0)
			err = fail(io->result,
				"writing %" PRIu64 " blocks at block %" PRIu64 ": %s", io->blocks,
				io->addr, device_result_sentence(io->result));
	}
	batch_fini(&batch);
	if (err)
		err = object_fail_in(err, edit->object);
	return err && edit->is_late ? keep_write_error(edit, err) : err;
}

/* ---- Puts and releases ---------------------------------------------------------------------- */

static bool
is_reused(const struct placing *placing, uint64_t block)
{
	for (size_t i = 0; i < placing->count; i++) {
		const struct placed *placed = &placing->list[i];

		if (block >= placed->first && block < placed->first + placed->blocks)
			return placed->is_reused;
	}
	return false;
}

/* Gives up the blocks of `old` in the range, except those that were written where they were. */
static int
release_replaced(struct edit *edit, const struct placing *placing)
{
	struct run run = { 0 };
	uint64_t birth = extents_oldest(&edit->old);

	for (size_t i = 0; i < edit->old.count; i++) {
		const struct extent *old = &edit->old.list[i];
		uint64_t end = min_u64(extent_last(old) + 1, edit->end);

		for (uint64_t block = max_u64(old->first, edit->first); block < end; block++) {
			uint64_t addr = old->addr + (block - old->first);
			int err;

			if (old->flags & EXTENT_UNWRITTEN && is_reused(placing, block))
				continue;
			if (run.blocks > 0 && run.addr + run.blocks == addr) {
				run.blocks++;
				continue;
			}
			if (run.blocks > 0) {
				err = tx_release_born(edit->tx, run, birth);
				if (err)
					return err;
			}
			run = (struct run){ .addr = addr, .blocks = 1 };
		}
	}
	return run.blocks > 0 ? tx_release_born(edit->tx, run, birth) : 0;
}

/* What is left of the old extents before the range. */
static int
keep_before(struct edit *edit)
{
	for (size_t i = 0; i < edit->old.count; i++) {
		struct extent extent = edit->old.list[i];
		int err;

		if (extent.first >= edit->first)
			break;
		if (extent_last(&extent) >= edit->first)
			extent_trim(&extent, extent.first, (uint32_t)(edit->first - extent.first));
		err = extents_add(&edit->puts, &extent);
		if (err)
			return err;
	}
	return 0;
}

static int
keep_after(struct edit *edit)
{
	for (size_t i = 0; i < edit->old.count; i++) {
		struct extent extent = edit->old.list[i];
		uint64_t last = extent_last(&extent);
		int err;

		if (last < edit->end)
			continue;
		if (extent.first < edit->end)
			extent_trim(&extent, edit->end, (uint32_t)(last + 1 - edit->end));
		err = extents_add(&edit->puts, &extent);
		if (err)
			return err;
	}
	return 0;
}

int
edit_begin(struct edit *edit)
{
	int err = tx_begin(edit->op->volume->volume, &edit->op->visit, edit->emptying, &edit->tx);

	if (err == 0 && edit->promise)
		tx_use_promise(edit->tx, edit->promise);
	return err;
}

int
edit_write(struct edit *edit)
{
	struct placing placing = { 0 };
	int err;

	err = fill(edit);
	if (err)
		return err;
	err = edit_begin(edit);
	if (err)
		return err;
	err = place(edit, &placing);
	if (err == 0)
		err = keep_before(edit);
	if (err == 0)
		err = may_carry(edit, &placing) ? carry_placed(edit, &placing)
						: write_placed(edit, &placing);
	if (err == 0)
		err = release_replaced(edit, &placing);
	if (err == 0)
		err = keep_after(edit);
	return err;
}

/* ---- The map -------------------------------------------------------------------------------- */

static bool
extent_is_same(const struct extent *a, const struct extent *b)
{
	return a->first == b->first && a->blocks == b->blocks && a->addr == b->addr &&
	       a->flags == b->flags && a->birth == b->birth;
}

static const struct extent *
find_by_last(const struct extents *extents, uint64_t last)
{
	for (size_t i = 0; i < extents->count; i++) {
		if (extent_last(&extents->list[i]) == last)
			return &extents->list[i];
	}
	return NULL;
}

static int
put_extent(struct tx *tx, const struct cop_object *object, const struct extent *extent)
{
	uint8_t key[EXTENT_KEY_BYTES];
	uint8_t value[EXTENT_BYTES_MAX];
	struct writer w = writer_over(value, sizeof value);

	extent_key(extent_last(extent), key);
	extent_encode(extent, &w);
	return tx_put(tx, handle_tree_name(object), view_of(key, sizeof key), view_of(value, w.at));
}

int
content_delete_extent(struct tx *tx, const struct cop_object *object, const struct extent *extent)
{
	uint8_t key[EXTENT_KEY_BYTES];

	extent_key(extent_last(extent), key);
	return tx_delete(tx, handle_tree_name(object), view_of(key, sizeof key));
}

static int
put_in_tree(struct edit *edit)
{
	for (size_t i = 0; i < edit->old.count; i++) {
		const struct extent *old = &edit->old.list[i];
		int err;

		if (find_by_last(&edit->puts, extent_last(old)))
			continue;
		err = content_delete_extent(edit->tx, edit->object, old);
		if (err)
			return err;
	}
	for (size_t i = 0; i < edit->puts.count; i++) {
		const struct extent *put = &edit->puts.list[i];
		const struct extent *old = find_by_last(&edit->old, extent_last(put));
		int err;

		if (old && extent_is_same(old, put))
			continue;
		err = put_extent(edit->tx, edit->object, put);
		if (err)
			return err;
	}
	return 0;
}

static bool
was_replaced(const struct edit *edit, const struct extent *extent)
{
	const struct extent *old = find_by_last(&edit->old, extent_last(extent));

	return old && old->first == extent->first;
}

/* All extents as they will be: those of the record that are not in `old`, and `puts` in their
 * order. */
static int
merge_with_record(const struct edit *edit, struct extents *out_all)
{
	struct reader r = reader_over(edit->now.record.content.data,
		edit->now.record.form == COP_FORM_EXTENTS ? edit->now.record.content.bytes : 0);
	struct extents all = { 0 };
	size_t put = 0;
	int err = 0;

	while (err == 0 && !reader_is_done(&r)) {
		struct extent extent;

		err = extent_decode_listed(&r, &extent);
		if (err || was_replaced(edit, &extent))
			continue;
		while (err == 0 && put < edit->puts.count &&
			edit->puts.list[put].first < extent.first)
			err = extents_add(&all, &edit->puts.list[put++]);
		if (err == 0)
			err = extents_add(&all, &extent);
	}
	while (err == 0 && put < edit->puts.count)
		err = extents_add(&all, &edit->puts.list[put++]);
	if (err) {
		extents_free(&all);
		return err;
	}
	*out_all = all;
	return 0;
}

/* The record keeps them as long as they are few; then they all move into a tree. */
static int
put_in_record(struct edit *edit)
{
	struct extents all = { 0 };
	int err = merge_with_record(edit, &all);

	if (err)
		return err;
	if (extents_fit_record(&all, edit->op->volume->content_max)) {
		edit->next.form = COP_FORM_EXTENTS;
		edit->next.content =
			extents_encode_listed(&all, edit->content, sizeof edit->content);
	} else {
		edit->next.form = COP_FORM_TREE;
		edit->next.content = view_of(NULL, 0);
		for (size_t i = 0; err == 0 && i < all.count; i++)
			err = put_extent(edit->tx, edit->object, &all.list[i]);
	}
	extents_free(&all);
	return err;
}

static uint64_t
count_blocks(const struct extents *extents)
{
	uint64_t blocks = 0;

	for (size_t i = 0; i < extents->count; i++)
		blocks += extent_stored_blocks(&extents->list[i]);
	return blocks;
}

int
edit_put(struct edit *edit)
{
	int err;

	edit->next.allocated_blocks += count_blocks(&edit->puts);
	edit->next.allocated_blocks -= count_blocks(&edit->old);
	if (edit->now.record.form == COP_FORM_TREE)
		err = put_in_tree(edit);
	else
		err = put_in_record(edit);
	if (err)
		return err;
	return record_put(edit->tx, edit->object->branch, edit->object->id, &edit->next);
}

int
edit_commit(struct edit *edit)
{
	struct cop_volume *volume = edit->op->volume;
	int err = change_commit(edit->op, TAKE(edit->tx));

	if (planted(PLANT_SIZE_BEFORE_DATA) && err == 0) {
		err = volume_checkpoint(volume->volume);
		batch_submit(&edit->late, volume->dev);
		if (err == 0)
			err = batch_wait(&edit->late, volume->dev);
	}
	return err;
}
