/* Content: read, write, set the length, punch, preallocate. */

#include "object/content_internal.h"
#include "object/reclaim.h"

#include <assert.h>

enum {
	READ_WINDOW_BYTES = 4 << 20, /* read at one time: 32 full extents */
	READ_EXTENTS_MAX = 1024,
	PREALLOCATE_WINDOW_BLOCKS = EDIT_PUTS_MAX * EXTENT_BLOCKS_MAX,
};

/* ---- Reading -------------------------------------------------------------------------------- */

/* What one window of a read needs: a moment's record and map. */
struct window {
	struct loaded loaded;
	struct extents extents;
	uint64_t length; /* of the object */
	uint64_t bytes;  /* that the window has, from the offset asked */
};

static int
window_load(struct cop_object *object, uint64_t offset, uint64_t bytes, struct window *window)
{
	const struct record *record = &window->loaded.record;
	struct gather gather = { .max = READ_EXTENTS_MAX };
	uint64_t end;
	bool more;
	int err;

	extents_free(&window->extents);
	err = record_load(object, &window->loaded);
	if (err)
		return err;
	window->length = record->length;
	window->bytes = 0;
	if (offset >= record->length)
		return 0;
	end = offset + min_u64(bytes, record->length - offset);
	gather.first = offset / BLOCK_BYTES;
	gather.end = div_up(end, BLOCK_BYTES);
	err = content_gather(object, record, &gather, &window->extents, &more);
	if (err)
		return err;
	if (more) {
		const struct extents *extents = &window->extents;
		uint64_t last = extent_last(&extents->list[extents->count - 1]);

		end = min_u64(end, (last + 1) * BLOCK_BYTES);
	}
	window->bytes = end - offset;
	return 0;
}

static int
read_window(struct operation *op, struct cop_object *object, uint64_t offset, uint8_t *buffer,
	uint64_t bytes, struct window *window)
{
	struct reading reading;
	int err;

	reading_begin(&reading, op, object);
	do
		err = window_load(object, offset, bytes, window);
	while (reading_again(&reading, err));
	if (err || window->bytes == 0)
		return err;

	if (window->loaded.record.form == COP_FORM_INLINE) {
		memcpy(buffer, window->loaded.record.content.data + offset, window->bytes);
		return 0;
	}
	err = data_fetch(op, &window->extents, offset, buffer, window->bytes);
	return err ? fail_in_content(err, op, object) : 0;
}

static int
content_read(struct operation *op, struct cop_object *object, uint64_t offset, void *buffer,
	size_t bytes, size_t *out_bytes)
{
	struct window window = { .extents = { 0 } };
	uint8_t *at = buffer;
	size_t done = 0;
	int err = 0;

	do {
		uint64_t want = min_u64(bytes - done, READ_WINDOW_BYTES);

		/* Windows end where devices like it. */
		if (want < bytes - done)
			want -= (offset + done) % BLOCK_BYTES;
		err = read_window(op, object, offset + done, at + done, want, &window);
		if (err || window.bytes == 0)
			break;
		done += window.bytes;
	} while (done < bytes);
	extents_free(&window.extents);
	if (err == 0)
		*out_bytes = done;
	return err;
}

static int
check_has_bytes(const struct cop_object *object)
{
	if (object->kind == COP_DIRECTORY)
		return fail(COP_EISDIR, "object %" PRIu64 " is a directory", object->id);
	if (object->kind != COP_FILE && object->kind != COP_SYMLINK)
		return fail(COP_EINVAL, "object %" PRIu64 " has no content", object->id);
	return 0;
}

int
cop_read(struct cop_object *object, uint64_t offset, void *buffer, size_t bytes, size_t *out_bytes)
{
	struct operation op;
	int err = check_has_bytes(object);

	if (err)
		return err;
	if (bytes == 0 || offset >= COP_FILE_BYTES_MAX) {
		*out_bytes = 0;
		return 0;
	}
	operation_begin(&op, object->volume);
	do
		err = content_read(&op, object, offset, buffer, bytes, out_bytes);
	while (operation_again(&op, err));
	operation_end(&op);
	return err;
}

/* ---- Inline content ------------------------------------------------------------------------- */

static int
commit_record(struct edit *edit)
{
	int err = tx_begin(edit->op->volume->volume, &edit->op->visit, edit->emptying, &edit->tx);

	if (err == 0)
		err = record_put(edit->tx, edit->object->branch, edit->object->id, &edit->next);
	if (err == 0)
		err = edit_commit(edit);
	return err;
}

/* The content stays inline, with a new length: `next.content` is a copy to change. */
static uint8_t *
copy_inline(struct edit *edit, uint64_t length)
{
	struct view old = edit->now.record.content;
	size_t kept = min_u64(old.bytes, length);

	assert(length <= edit->op->volume->content_max);
	if (kept > 0)
		memcpy(edit->content, old.data, kept);
	memset(edit->content + kept, 0, length - kept);
	edit->next.content = view_of(edit->content, length);
	edit->next.length = length;
	return edit->content;
}

/* Moves inline bytes to blocks; nothing that a reader sees changes. Leaves `now` as it is then. */
static int
move_out_of_record(struct edit *edit)
{
	struct operation *op = edit->op;
	struct cop_object *object = edit->object;
	struct view bytes = edit->now.record.content;
	uint8_t *memory;
	int err;

	assert(edit->now.record.form == COP_FORM_INLINE);
	edit->next = edit->now.record;
	edit->first = 0;
	edit->end = div_up(bytes.bytes, BLOCK_BYTES);
	if (bytes.bytes > 0) {
		err = edit_add_memory(edit, 0, edit->end, &memory);
		if (err)
			return err;
		memcpy(memory, bytes.data, bytes.bytes);
	}
	err = edit_write(edit);
	if (err == 0)
		err = edit_put(edit);
	if (err == 0)
		err = edit_commit(edit);
	edit_fini(edit);
	if (err)
		return err;
	return edit_init(edit, op, object);
}

/* ---- Writing -------------------------------------------------------------------------------- */

/* Writes a piece, or its beginning where the device is fragmented; *out_done says how much. */
static int
write_piece(struct edit *edit, uint64_t offset, const void *buffer, size_t bytes, size_t *out_done)
{
	uint64_t end = offset + bytes;
	bool more;
	int err;

	if (edit->now.record.form == COP_FORM_INLINE) {
		uint64_t length = max_u64(edit->now.record.length, end);

		if (length <= edit->op->volume->content_max) {
			memcpy(copy_inline(edit, length) + offset, buffer, bytes);
			err = commit_record(edit);
			if (err == 0)
				*out_done = bytes;
			return err;
		}
		if (edit->now.record.length > 0) {
			err = move_out_of_record(edit);
			if (err)
				return err;
		}
	}

	edit->first = offset / BLOCK_BYTES;
	edit->end = div_up(end, BLOCK_BYTES);
	edit->next.length = max_u64(edit->now.record.length, end);
	err = edit_add_span(edit, offset, buffer, bytes);
	if (err == 0)
		err = edit_gather(edit, true, &more);
	if (err == 0)
		err = edit_write(edit);
	if (err)
		return err;
	end = min_u64(end, edit->end * BLOCK_BYTES);
	edit->next.length = max_u64(edit->now.record.length, end);
	err = edit_put(edit);
	if (err == 0)
		err = edit_commit(edit);
	if (err == 0)
		*out_done = end - offset;
	return err;
}

static int
write_all(struct operation *op, struct cop_object *object, uint64_t offset, const uint8_t *buffer,
	size_t bytes, size_t *out_bytes)
{
	size_t done = 0;
	int err = 0;

	while (err == 0 && done < bytes) {
		uint64_t at = offset + done;
		size_t piece = min_u64(bytes - done, COP_WRITE_ATOMIC);
		size_t written = 0;
		struct edit edit;

		/* The pieces of a large write end where blocks do. */
		if (piece < bytes - done)
			piece -= at % BLOCK_BYTES;
		err = edit_init(&edit, op, object);
		if (err == 0)
			err = write_piece(&edit, at, buffer + done, piece, &written);
		edit_fini(&edit);
		done += written;
	}
	if (out_bytes)
		*out_bytes = done;
	return err;
}

int
cop_write(struct cop_object *object, uint64_t offset, const void *buffer, size_t bytes,
	size_t *out_bytes)
{
	struct operation op;
	int err;

	if (bytes == 0) {
		if (out_bytes)
			*out_bytes = 0;
		return check_has_bytes(object);
	}
	if (offset > COP_FILE_BYTES_MAX || bytes > COP_FILE_BYTES_MAX - offset)
		return fail(COP_EFBIG, "object %" PRIu64 ": byte %" PRIu64 " is past 16 TiB",
			object->id, offset + bytes);
	err = change_begin(&op, object->volume, &object, 1);
	if (err)
		return err;
	err = write_all(&op, object, offset, buffer, bytes, out_bytes);
	change_end(&op);
	return err;
}

/* ---- Cutting: truncation and punching ------------------------------------------------------- */

/*
 * Bytes [from, to) become a hole, the length becomes `length`. Truncation is a cut to the end of
 * the largest file.
 */
struct cut {
	uint64_t from;
	uint64_t to;
	uint64_t length;
	bool one_step; /* try to do it in one transaction */
};

static int
cut_inline(struct edit *edit, const struct cut *cut)
{
	uint64_t to = min_u64(cut->to, cut->length);
	uint8_t *bytes = copy_inline(edit, cut->length);

	if (cut->from < to)
		memset(bytes + cut->from, 0, to - cut->from);
	return commit_record(edit);
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
		return fail_in_content(err, edit->op, edit->object);
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

/* One transaction: edges zeroed, and all or nothing of the map in between. */
static int
cut_commit(struct edit *edit, const struct cut *cut, const struct cut_blocks *blocks, uint64_t job)
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
	if (err == 0 && job != 0) {
		edit->next.trim_first = blocks->whole_first;
		edit->next.trim_end = blocks->whole_end;
		err = job_put_trim(edit->tx, edit->object, job);
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
	struct cop_volume *volume = edit->op->volume;
	struct job_claim claim;
	int err;

	job_claim_new(volume, &claim);
	err = gather_borders(edit, blocks);
	if (err == 0)
		err = cut_commit(edit, cut, blocks, claim.number);
	/* The cut has happened; what cannot be freed now is left to a later run of the job. */
	if (err == 0 && trim_run(edit->op, edit->object, claim.number) != 0)
		err_clear();
	job_unclaim(volume, &claim);
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
		return commit_record(edit);
	err = edit_gather(edit, false, &more);
	if (err)
		return err;
	if (edit->now.record.form == COP_FORM_TREE && (more || !cut->one_step))
		return cut_in_steps(edit, cut, &blocks);
	return cut_commit(edit, cut, &blocks, 0);
}

/* The content becomes short enough for the record: reads it, and frees all that it was in. */
static int
cut_to_inline(struct edit *edit, const struct cut *cut)
{
	struct cop_volume *volume = edit->op->volume;
	struct gather gather = { .end = CONTENT_BLOCKS_MAX, .max = INLINE_EXTENTS_MAX + 1 };
	size_t kept = min_u64(cut->length, edit->now.record.length);
	bool is_tree = edit->now.record.form == COP_FORM_TREE;
	struct job_claim claim;
	bool more;
	int err;

	edit->emptying = true;
	err = content_gather(edit->object, &edit->now.record, &gather, &edit->old, &more);
	if (err == 0 && kept > 0)
		err = data_fetch(edit->op, &edit->old, 0, edit->content, kept);
	if (err)
		return fail_in_content(err, edit->op, edit->object);
	memset(edit->content + kept, 0, cut->length - kept);
	edit->next.form = COP_FORM_INLINE;
	edit->next.length = cut->length;
	edit->next.content = view_of(edit->content, cut->length);
	edit->next.allocated_blocks = 0;

	err = tx_begin(volume->volume, &edit->op->visit, true, &edit->tx);
	if (err)
		return err;
	if (!is_tree) {
		err = data_release(edit->tx, &edit->old);
		if (err == 0)
			err = record_put(
				edit->tx, edit->object->branch, edit->object->id, &edit->next);
		return err ? err : edit_commit(edit);
	}
	job_claim_new(volume, &claim);
	err = job_put_dismantle(edit->tx, edit->object, claim.number);
	if (err == 0)
		err = record_put(edit->tx, edit->object->branch, edit->object->id, &edit->next);
	if (err == 0)
		err = edit_commit(edit);
	/* As above. */
	if (err == 0 && job_run_dismantle(edit->op, claim.number) != 0)
		err_clear();
	job_unclaim(volume, &claim);
	return err;
}

/* A tree with so little left that it fits the record goes there. It may stay as well. */
static void
shrink_form(struct operation *op, struct cop_object *object)
{
	struct gather gather = { .end = CONTENT_BLOCKS_MAX, .max = INLINE_EXTENTS_MAX + 1 };
	struct edit edit;
	bool more;
	int err = edit_init(&edit, op, object);

	if (err || edit.now.record.form != COP_FORM_TREE)
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
cut_once(struct operation *op, struct cop_object *object, const struct cut *cut, bool may_inline)
{
	struct edit edit;
	int err = edit_init(&edit, op, object);

	if (err == 0) {
		bool fits = cut->length <= op->volume->content_max;

		if (edit.now.record.form == COP_FORM_INLINE && fits)
			err = cut_inline(&edit, cut);
		else if (may_inline && fits)
			err = cut_to_inline(&edit, cut);
		else
			err = cut_extents(&edit, cut);
	}
	edit_fini(&edit);
	return err;
}

static int
cut_content(struct operation *op, struct cop_object *object, struct cut cut, bool may_inline)
{
	int err;

	cut.one_step = true;
	err = cut_once(op, object, &cut, may_inline);
	if (err == COP_ENOSPC) {
		/* Less at a time. */
		err_clear();
		cut.one_step = false;
		err = cut_once(op, object, &cut, may_inline);
	}
	if (err == 0)
		shrink_form(op, object);
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
		copy_inline(&edit, length);
		err = commit_record(&edit);
		goto out;
	}
	if (err == 0 && edit.now.record.form == COP_FORM_INLINE)
		err = move_out_of_record(&edit);
	if (err == 0) {
		edit.next.length = length;
		err = commit_record(&edit);
	}

out:
	edit_fini(&edit);
	return err;
}

static int
set_length(struct operation *op, struct cop_object *object, uint64_t length)
{
	struct loaded loaded;
	int err = record_load(object, &loaded);

	if (err)
		return err;
	if (length > loaded.record.length)
		return grow(op, object, length);
	return cut_content(op, object,
		(struct cut){ .from = length, .to = COP_FILE_BYTES_MAX, .length = length }, true);
}

int
cop_set_length(struct cop_object *object, uint64_t length)
{
	struct operation op;
	int err = check_has_bytes(object);

	if (err)
		return err;
	if (length > COP_FILE_BYTES_MAX)
		return fail(COP_EFBIG,
			"object %" PRIu64 ": a length of %" PRIu64 " bytes is past 16 TiB",
			object->id, length);
	err = change_begin(&op, object->volume, &object, 1);
	if (err)
		return err;
	err = set_length(&op, object, length);
	change_end(&op);
	return err;
}

/* ---- Punching ------------------------------------------------------------------------------- */

int
cop_punch(struct cop_object *object, uint64_t offset, uint64_t bytes)
{
	struct cut cut = { .from = offset };
	struct operation op;
	struct loaded loaded;
	int err = check_has_bytes(object);

	if (err)
		return err;
	if (bytes == 0 || offset >= COP_FILE_BYTES_MAX)
		return 0;
	cut.to = bytes > COP_FILE_BYTES_MAX - offset ? COP_FILE_BYTES_MAX : offset + bytes;
	err = change_begin(&op, object->volume, &object, 1);
	if (err)
		return err;
	err = record_load(object, &loaded);
	if (err == 0) {
		cut.length = loaded.record.length;
		err = cut_content(&op, object, cut, false);
	}
	change_end(&op);
	return err;
}

/* ---- Preallocating -------------------------------------------------------------------------- */

/* Takes blocks for the hole [block, end), as much as `room` extents hold. */
static int
fill_hole(struct edit *edit, uint64_t *block, uint64_t end, uint64_t *goal, uint32_t *room)
{
	while (*block<end && * room> 0) {
		uint32_t want =
			(uint32_t)min_u64(end - *block, (uint64_t)*room * EXTENT_BLOCKS_MAX);
		struct run run;
		int err = tx_take(edit->tx, SPACE_DATA, *goal, want, &run);

		if (err)
			return err;
		*goal = run.addr + run.blocks;
		while (run.blocks > 0) {
			struct extent extent = {
				.first = *block,
				.addr = run.addr,
				.birth = volume_generation(edit->op->volume->volume),
				.blocks = (uint32_t)min_u64(run.blocks, EXTENT_BLOCKS_MAX),
				.flags = EXTENT_UNWRITTEN,
			};

			err = extents_add(&edit->puts, &extent);
			if (err)
				return err;
			*block += extent.blocks;
			run.addr += extent.blocks;
			run.blocks -= extent.blocks;
			*room -= 1;
		}
	}
	return 0;
}

static uint64_t
count_missing(const struct edit *edit)
{
	uint64_t missing = edit->end - edit->first;

	for (size_t i = 0; i < edit->old.count; i++) {
		const struct extent *extent = &edit->old.list[i];
		uint64_t first = max_u64(extent->first, edit->first);
		uint64_t end = min_u64(extent_last(extent) + 1, edit->end);

		if (first < end)
			missing -= end - first;
	}
	return missing;
}

/* Fills the holes of [first, end), or of its beginning: `end` is cut down. */
static int
fill_holes(struct edit *edit)
{
	uint32_t room = EDIT_PUTS_MAX;
	uint64_t block = edit->first;
	uint64_t goal = 0;
	size_t i = 0;
	uint64_t missing = count_missing(edit);
	int err = missing > 0 ? tx_admit(edit->tx, missing) : 0;

	for (; err == 0 && i < edit->old.count; i++) {
		const struct extent *extent = &edit->old.list[i];

		if (extent->first > block)
			err = fill_hole(
				edit, &block, min_u64(extent->first, edit->end), &goal, &room);
		if (err || room == 0)
			break;
		err = extents_add(&edit->puts, extent);
		block = max_u64(block, extent_last(extent) + 1);
		goal = extent->addr + extent->blocks;
	}
	if (err == 0 && room > 0 && block < edit->end)
		err = fill_hole(edit, &block, edit->end, &goal, &room);
	for (; err == 0 && i < edit->old.count; i++)
		err = extents_add(&edit->puts, &edit->old.list[i]);
	if (block < edit->end)
		edit->end = block;
	return err;
}

static int
preallocate_piece(struct edit *edit, uint64_t first, uint64_t end, uint64_t length)
{
	bool more;
	int err;

	if (edit->now.record.form == COP_FORM_INLINE) {
		err = move_out_of_record(edit);
		if (err)
			return err;
	}
	edit->first = first;
	edit->end = end;
	err = edit_gather(edit, true, &more);
	if (err == 0)
		err = tx_begin(edit->op->volume->volume, &edit->op->visit, false, &edit->tx);
	if (err == 0)
		err = fill_holes(edit);
	if (err)
		return err;
	/* The length comes last: until then nothing that a reader sees has changed. */
	if (edit->end == end)
		edit->next.length = max_u64(edit->now.record.length, length);
	err = edit_put(edit);
	return err ? err : edit_commit(edit);
}

/* Says that there is no room before anything is changed, where that can be known. */
static int
check_room(struct operation *op, struct cop_object *object, uint64_t first, uint64_t end)
{
	struct space *space = volume_space(op->volume->volume);
	uint64_t missing = end - first;
	uint64_t block = first;
	struct loaded loaded;
	int err;

	if (missing <= space_available_blocks(space))
		return 0;
	err = record_load(object, &loaded);
	while (err == 0 && block < end) {
		struct gather gather = { .first = block, .end = end, .max = READ_EXTENTS_MAX };
		struct extents found = { 0 };
		bool more;

		err = content_gather(object, &loaded.record, &gather, &found, &more);
		if (err)
			break;
		for (size_t i = 0; i < found.count; i++) {
			const struct extent *extent = &found.list[i];

			missing -= min_u64(extent_last(extent) + 1, end) -
				   max_u64(extent->first, block);
		}
		block = more ? extent_last(&found.list[found.count - 1]) + 1 : end;
		extents_free(&found);
	}
	if (err)
		return err;
	if (missing <= space_available_blocks(space) + space_pending_blocks(space))
		return 0;
	return fail(COP_ENOSPC, "%" PRIu64 " blocks are wanted, %" PRIu64 " are available", missing,
		space_available_blocks(space));
}

static int
preallocate(struct operation *op, struct cop_object *object, uint64_t offset, uint64_t bytes,
	bool grow_length)
{
	uint64_t block = offset / BLOCK_BYTES;
	uint64_t end = div_up(offset + bytes, BLOCK_BYTES);
	int err = check_room(op, object, block, end);

	while (err == 0 && block < end) {
		uint64_t piece_end = min_u64(end, block + PREALLOCATE_WINDOW_BLOCKS);
		struct edit edit;

		err = edit_init(&edit, op, object);
		if (err == 0)
			err = preallocate_piece(&edit, block, piece_end,
				grow_length && piece_end == end ? offset + bytes : 0);
		if (err == 0)
			block = edit.end;
		edit_fini(&edit);
	}
	return err;
}

int
cop_preallocate(struct cop_object *object, uint64_t offset, uint64_t bytes, bool grow)
{
	struct operation op;
	int err = check_has_bytes(object);

	if (err)
		return err;
	if (offset > COP_FILE_BYTES_MAX || bytes > COP_FILE_BYTES_MAX - offset)
		return fail(COP_EFBIG, "object %" PRIu64 ": past 16 TiB", object->id);
	if (bytes == 0)
		return 0;
	err = change_begin(&op, object->volume, &object, 1);
	if (err)
		return err;
	err = preallocate(&op, object, offset, bytes, grow);
	change_end(&op);
	return err;
}
