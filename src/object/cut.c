/* Cutting content: truncation and punching; and growing its length. */

#include "object/content_internal.h"
#include "object/pages_internal.h"
#include "object/reclaim.h"

/*
 * Bytes [from, to) become a hole, the length becomes `length`. Truncation is a cut to the end of
 * the largest file.
 */
struct cut {
	uint64_t from;
	uint64_t to;
	uint64_t length;
	bool one_step;   /* try to do it in one transaction */
	bool may_inline; /* what is left may move into the record */
};

static int
cut_inline(struct edit *edit, const struct cut *cut)
{
	uint64_t to = min_u64(cut->to, cut->length);
	uint8_t *bytes = content_copy_inline(edit, cut->length);

	edit->emptying = true; /* the record does not grow */
	if (cut->from < to)
		memset(bytes + cut->from, 0, to - cut->from);
	return content_commit_record(edit);
}

/*
 * Is there anything but zeros in `block`? Only then must it be rewritten to become zeros in part.
 */
static bool
block_is_written(const struct edit *edit, uint64_t block)
{
	for (size_t i = 0; i < edit->old.count; i++) {
		const struct extent *extent = &edit->old.list[i];

		if (extent->first <= block && extent_last(extent) >= block)
			return !(extent->flags & EXTENT_UNWRITTEN);
	}
	return false;
}

/* Block `block` once more, with bytes [from, to) of the content zeroed. */
static int
patch_zeros(struct edit *edit, uint64_t block, uint64_t from, uint64_t to)
{
	uint64_t start = max_u64(from, block * BLOCK_BYTES);
	uint64_t end = min_u64(to, (block + 1) * BLOCK_BYTES);
	uint8_t *memory;
	int err = edit_add_memory(edit, block, 1, &memory);

	if (err == 0)
		err = data_fetch(edit->op, &edit->old, block * BLOCK_BYTES, memory, BLOCK_BYTES);
	if (err)
		return data_fail_in(err, edit->op, edit->object);
	memset(memory + start % BLOCK_BYTES, 0, end - start);
	return 0;
}

/* Where a cut falls: blocks [whole_first, whole_end) go as a whole. */
struct cut_blocks {
	uint64_t whole_first;
	uint64_t whole_end;
	bool has_head; /* a part of the block before */
	bool has_tail; /* a part of the block after */
};

static struct cut_blocks
cut_blocks_of(const struct edit *edit, const struct cut *cut)
{
	uint64_t length = edit->now.record.length;
	uint64_t head = cut->from / BLOCK_BYTES;
	uint64_t tail = cut->to / BLOCK_BYTES;
	struct cut_blocks blocks = {
		.whole_first = div_up(cut->from, BLOCK_BYTES),
		.whole_end = tail,
	};

	/* What is past the end is zero already. */
	blocks.has_head = cut->from % BLOCK_BYTES != 0 && cut->from < length;
	blocks.has_tail = cut->to % BLOCK_BYTES != 0 && tail * BLOCK_BYTES < length;
	if (head == tail) {
		blocks.has_head = blocks.has_head || (blocks.has_tail && cut->from < length);
		blocks.has_tail = false;
		blocks.whole_first = tail + 1;
		blocks.whole_end = tail + 1;
	}
	return blocks;
}

/* Keeps of `old` only what lies across the borders of the range: the rest is for the job. */
static int
gather_borders(struct edit *edit, const struct cut_blocks *blocks)
{
	struct gather gathers[2] = {
		{ .first = edit->first, .end = blocks->whole_first, .max = EDIT_OLD_MAX },
		{ .first = blocks->whole_end, .end = edit->end, .max = EDIT_OLD_MAX },
	};

	extents_free(&edit->old);
	for (size_t i = 0; i < ARRAY_COUNT(gathers); i++) {
		struct extents found = { 0 };
		bool more;
		int err = 0;

		/* Also the extent that begins before a border and ends behind it. */
		if (gathers[i].first > 0)
			gathers[i].first--;
		if (gathers[i].end < CONTENT_BLOCKS_MAX)
			gathers[i].end++;
		if (blocks->whole_end == CONTENT_BLOCKS_MAX && i == 1)
			continue;
		err = content_gather(edit->object, &edit->now.record, &gathers[i], &found, &more);
		for (size_t j = 0; err == 0 && j < found.count; j++) {
			const struct extent *extent = &found.list[j];
			const struct extents *old = &edit->old;
			bool inside = extent->first >= blocks->whole_first &&
				      extent_last(extent) < blocks->whole_end;
			bool again =
				old->count > 0 && old->list[old->count - 1].first >= extent->first;

			if (!inside && !again)
				err = extents_add(&edit->old, extent);
		}
		extents_free(&found);
		if (err)
			return err;
	}
	return 0;
}

/* One transaction: edges zeroed, and all of the map in between; or nothing of it, which is left to
 * the job of `next`, if `trims` tell what that one frees. */
static int
cut_commit(struct edit *edit, const struct cut *cut, const struct cut_blocks *blocks,
	const struct trims *trims)
{
	int err = 0;

	if (blocks->has_head && block_is_written(edit, edit->first))
		err = patch_zeros(edit, edit->first, cut->from, cut->to);
	else if (blocks->has_head)
		edit->first++;
	if (err == 0 && blocks->has_tail && block_is_written(edit, edit->end - 1))
		err = patch_zeros(edit, edit->end - 1, cut->from, cut->to);
	else if (blocks->has_tail)
		edit->end--;
	if (err)
		return err;

	err = edit_write(edit);
	if (err == 0 && edit->puts.count > edit->old.count)
		tx_may_grow(edit->tx);
	if (err == 0 && trims) {
		edit->next.content = trims_encode(trims, edit->content);
		err = job_put_trim(edit->tx, edit->object, edit->next.trim_job);
	}
	if (err == 0)
		err = edit_put(edit);
	if (err == 0)
		err = edit_commit(edit);
	return err;
}

static int
cut_in_steps(struct edit *edit, const struct cut *cut, const struct cut_blocks *blocks)
{
	struct trims trims;
	uint64_t job;
	int err = 0;

	record_trims(&edit->now.record, &trims);
	while (err == 0 && !trims_add(&trims, blocks->whole_first, blocks->whole_end)) {
		err = edit_free_shortest(edit);
		record_trims(&edit->now.record, &trims);
	}
	if (err == 0)
		err = job_number_for(edit->object, &edit->now.record, &job);
	if (err == 0)
		err = gather_borders(edit, blocks);
	if (err)
		return err;
	edit->next.length = cut->length;
	edit->next.trim_job = job;
	err = cut_commit(edit, cut, blocks, &trims);
	if (err == 0)
		job_leave(edit->op, edit->object, job);
	return err;
}

static int
cut_extents(struct edit *edit, const struct cut *cut)
{
	struct cut_blocks blocks = cut_blocks_of(edit, cut);
	bool more = false;
	int err;

	edit->emptying = true;
	edit->next.length = cut->length;
	edit->first = blocks.whole_first - (blocks.has_head ? 1 : 0);
	edit->end = blocks.whole_end + (blocks.has_tail ? 1 : 0);
	if (edit->first >= edit->end)
		return content_commit_record(edit);
	err = edit_gather(edit, false, &more);
	if (err)
		return err;
	/* Where no block goes as a whole nothing can be left to a job. */
	if (edit->now.record.form == COP_FORM_TREE && blocks.whole_first < blocks.whole_end &&
		(more || !cut->one_step))
		return cut_in_steps(edit, cut, &blocks);
	return cut_commit(edit, cut, &blocks, NULL);
}

/*
 * Is what is left to move into the record? Where the record grows by that, only if there is more
 * room than the reserve: what frees must not use it up.
 */
static bool
is_for_record(const struct edit *edit, const struct cut *cut)
{
	if (!cut->may_inline || cut->length > edit->op->volume->content_max)
		return false;
	return cut->length <= edit->now.record.content.bytes ||
	       (cut->one_step && !reclaim_is_on_reserve(edit->op->volume));
}

/* The content becomes short enough for the record: reads it, and frees all that it was in. */
static int
cut_to_inline(struct edit *edit, const struct cut *cut)
{
	struct gather gather = { .end = CONTENT_BLOCKS_MAX, .max = INLINE_EXTENTS_MAX + 1 };
	size_t kept = min_u64(cut->length, edit->now.record.length);
	bool is_tree = edit->now.record.form == COP_FORM_TREE;
	uint64_t job;
	bool more;
	int err;

	edit->emptying = cut->length <= edit->now.record.content.bytes;
	err = content_gather(edit->object, &edit->now.record, &gather, &edit->old, &more);
	if (err == 0 && kept > 0)
		err = data_fetch(edit->op, &edit->old, 0, edit->content, kept);
	if (err)
		return data_fail_in(err, edit->op, edit->object);
	memset(edit->content + kept, 0, cut->length - kept);
	edit->next.form = COP_FORM_INLINE;
	edit->next.length = cut->length;
	edit->next.content = view_of(edit->content, cut->length);
	edit->next.allocated_blocks = 0;
	edit->next.trim_job = 0;

	err = edit_begin(edit);
	if (err)
		return err;
	if (!is_tree) {
		err = data_release(edit->tx, &edit->old);
		if (err == 0)
			err = record_put(
				edit->tx, edit->object->branch, edit->object->id, &edit->next);
		return err ? err : edit_commit(edit);
	}
	err = job_number_for(edit->object, &edit->now.record, &job);
	if (err == 0)
		err = job_put_dismantle(edit->tx, edit->object, job);
	if (err == 0)
		err = record_put(edit->tx, edit->object->branch, edit->object->id, &edit->next);
	if (err == 0)
		err = edit_commit(edit);
	if (err == 0)
		job_leave(edit->op, NULL, job);
	return err;
}

void
content_shrink(struct operation *op, struct cop_object *object)
{
	struct gather gather = { .end = CONTENT_BLOCKS_MAX, .max = INLINE_EXTENTS_MAX + 1 };
	struct edit edit;
	bool more;
	int err = edit_init(&edit, op, object);

	if (err || edit.now.record.form != COP_FORM_TREE || edit.now.record.trim_job != 0)
		goto out;
	err = content_gather(object, &edit.now.record, &gather, &edit.old, &more);
	if (err || more || !extents_fit_record(&edit.old, op->volume->content_max))
		goto out;
	edit.next = edit.now.record;
	edit.next.form = COP_FORM_EXTENTS;
	edit.next.content = extents_encode_listed(&edit.old, edit.content, sizeof edit.content);
	err = tx_begin(op->volume->volume, &op->visit, false, &edit.tx);
	for (size_t i = 0; err == 0 && i < edit.old.count; i++)
		err = content_delete_extent(edit.tx, object, &edit.old.list[i]);
	if (err == 0)
		err = record_put(edit.tx, object->branch, object->id, &edit.next);
	if (err == 0)
		err = edit_commit(&edit);

out:
	edit_fini(&edit);
	if (err)
		err_clear();
}

static int
cut_once(struct operation *op, struct cop_object *object, const struct cut *cut)
{
	struct edit edit;
	int err = edit_init(&edit, op, object);

	if (err == 0) {
		if (edit.now.record.form == COP_FORM_INLINE &&
			cut->length <= op->volume->content_max)
			err = cut_inline(&edit, cut);
		else if (is_for_record(&edit, cut))
			err = cut_to_inline(&edit, cut);
		else
			err = cut_extents(&edit, cut);
	}
	edit_fini(&edit);
	return err;
}

static int
cut_content(struct operation *op, struct cop_object *object, struct cut cut)
{
	int err;

	cut.one_step = true;
	err = cut_once(op, object, &cut);
	if (err == COP_ENOSPC) {
		/* Less at a time. */
		err_clear();
		cut.one_step = false;
		err = cut_once(op, object, &cut);
	}
	if (err == 0)
		content_shrink(op, object);
	return err;
}

/* ---- Setting the length --------------------------------------------------------------------- */

static int
grow(struct operation *op, struct cop_object *object, uint64_t length)
{
	struct edit edit;
	int err = edit_init(&edit, op, object);

	if (err == 0 && edit.now.record.form == COP_FORM_INLINE &&
		length <= op->volume->content_max) {
		content_copy_inline(&edit, length);
		err = content_commit_record(&edit);
		goto out;
	}
	if (err == 0 && edit.now.record.form == COP_FORM_INLINE)
		err = content_move_out(&edit);
	if (err == 0) {
		edit.next.length = length;
		err = content_commit_record(&edit);
	}

out:
	edit_fini(&edit);
	return err;
}

static int
set_length(struct operation *op, struct cop_object *object, uint64_t length)
{
	struct cut cut = {
		.from = length, .to = COP_FILE_BYTES_MAX, .length = length, .may_inline = true
	};
	struct loaded loaded;
	int err = record_load(object, &loaded);

	if (err)
		return err;
	if (length > loaded.record.length)
		return grow(op, object, length);
	return cut_content(op, object, cut);
}

int
cop_set_length(struct cop_object *object, uint64_t length)
{
	struct operation op = { 0 };
	int err = content_check_kind(object);

	if (err)
		return err;
	if (length > COP_FILE_BYTES_MAX)
		return fail(COP_EFBIG,
			"object %" PRIu64 ": a length of %" PRIu64 " bytes is past 16 TiB",
			object->id, length);
	while (change_turn(&op, object->volume, &object, 1, &err)) {
		err = writeback_object(&op, object, false);
		if (err == 0)
			err = set_length(&op, object, length);
	}
	return err;
}

/* ---- Punching ------------------------------------------------------------------------------- */

int
cop_punch(struct cop_object *object, uint64_t offset, uint64_t bytes)
{
	struct cut cut = { .from = offset };
	struct operation op = { 0 };
	struct loaded loaded;
	int err = content_check_kind(object);

	if (err)
		return err;
	if (bytes == 0 || offset >= COP_FILE_BYTES_MAX)
		return 0;
	cut.to = bytes > COP_FILE_BYTES_MAX - offset ? COP_FILE_BYTES_MAX : offset + bytes;
	while (change_turn(&op, object->volume, &object, 1, &err)) {
		err = writeback_object(&op, object, false);
		if (err == 0)
			err = record_load(object, &loaded);
		if (err == 0) {
			cut.length = loaded.record.length;
			err = cut_content(&op, object, cut);
		}
	}
	return err;
}
