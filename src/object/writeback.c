/*
 * Write-back: dirty pages become transactions.
 *
 * A segment is one transaction, the oldest first, so that after a crash an object's bytes and
 * length are those of a prefix of its writes. (Only where free space is in pieces too small for one
 * transaction does a segment come to several, from its beginning.) Its blocks are allocated
 * together, so that what was written in one go lies in one row.
 *
 * The blocks were promised when the pages were written, so write-back does not meet COP_ENOSPC.
 * Should the promise not cover a segment's worst case after all, as when the trees have grown
 * higher or a part of the segment has used it up, then the segment goes in smaller parts, down to a
 * block: that, the reserve covers.
 * When the device fails nothing more is written, by anybody: the pages stay, the object keeps the
 * error until a sync has told it, and the volume takes no more changes. Where an object's map is
 * damaged it keeps its pages, and others go on.
 */

#include "object/content_internal.h"
#include "object/pages_internal.h"

#include <assert.h>

enum { PARTS = 4 }; /* that a segment goes in when it is too much as a whole */

static const int64_t due_after_ns = INT64_C(5000000000);

/* ---- The list of dirty objects --------------------------------------------------------------- */

void
writeback_enlist(struct cop_object *object)
{
	struct cop_volume *volume = object->volume;

	mutex_lock(&volume->lock);
	assert(object->dirty_number == 0);
	object->dirty_number = ++volume->dirty_numbers;
	object->dirty_ns = volume_now_ns(volume->volume);
	object->dirty_older = volume->dirty_newest;
	object->dirty_newer = NULL;
	if (volume->dirty_newest)
		volume->dirty_newest->dirty_newer = object;
	else
		volume->dirty_oldest = object;
	volume->dirty_newest = object;
	object->refs++;
	mutex_unlock(&volume->lock);
}

void
writeback_delist(struct cop_object *object)
{
	struct cop_volume *volume = object->volume;

	mutex_lock(&volume->lock);
	assert(object->dirty_number != 0);
	object->dirty_number = 0;
	if (object->dirty_older)
		object->dirty_older->dirty_newer = object->dirty_newer;
	else
		volume->dirty_oldest = object->dirty_newer;
	if (object->dirty_newer)
		object->dirty_newer->dirty_older = object->dirty_older;
	else
		volume->dirty_newest = object->dirty_older;
	object->dirty_older = NULL;
	object->dirty_newer = NULL;
	assert(object->refs > 0);
	object->refs--; /* whoever has the turn has a reference of its own */
	mutex_unlock(&volume->lock);
}

/* ---- One segment ----------------------------------------------------------------------------- */

static void
copy_pages(const struct pages *pages, uint64_t first, uint64_t end, uint8_t *out)
{
	for (uint64_t block = first; block < end; block++)
		memcpy(out + (block - first) * BLOCK_BYTES, pages_own(pages, block)->data,
			BLOCK_BYTES);
}

/* Times as they were when the bytes were written, unless somebody has set others since. */
static void
set_times(struct edit *edit, const struct segment *segment)
{
	const struct record *now = &edit->now.record;

	edit->next.changed_ns = now->changed_ns;
	edit->next.modified_ns = now->modified_ns;
	if (segment->keeps_times)
		return;
	edit->next.modified_ns = segment->modified_ns;
	if (edit->next.changed_ns < segment->modified_ns)
		edit->next.changed_ns = segment->modified_ns;
}

static int
write_inline(struct edit *edit, const struct segment *segment)
{
	const struct pages *pages = &edit->object->pages;
	uint64_t from = segment->first * BLOCK_BYTES;
	uint64_t to = min_u64(segment->end * BLOCK_BYTES, segment->length);
	uint8_t *content = content_copy_inline(edit, segment->length);

	for (uint64_t at = from; at < to; at += BLOCK_BYTES)
		memcpy(content + at, pages_own(pages, at / BLOCK_BYTES)->data,
			min_u64(BLOCK_BYTES, to - at));
	return content_commit_record(edit);
}

static int
write_blocks(struct edit *edit, const struct segment *segment)
{
	uint8_t *memory;
	bool more;
	int err = edit_free_trimmed(edit);

	if (err)
		return err;
	set_times(edit, segment);
	err = edit_add_memory(edit, edit->first, edit->end - edit->first, &memory);
	if (err)
		return err;
	copy_pages(&edit->object->pages, edit->first, edit->end, memory);
	edit->next.length = segment->length;
	err = edit_gather(edit, true, &more);
	if (err == 0)
		err = edit_write(edit);
	if (err)
		return err;
	edit->next.length =
		max_u64(edit->now.record.length, min_u64(segment->length, edit->end * BLOCK_BYTES));
	err = edit_put(edit);
	return err ? err : edit_commit(edit);
}

/* Does the segment replace all inline bytes? */
static bool
covers_inline(const struct record *record, const struct segment *segment)
{
	return segment->first == 0 && segment->end * BLOCK_BYTES >= record->length;
}

/* The oldest segment, or its beginning: `max` blocks of it. */
static int
write_segment(struct operation *op, struct cop_object *object, bool is_sync, uint64_t max)
{
	struct segment *segment = pages_oldest(&object->pages);
	uint64_t end = segment->end;
	struct edit edit;
	int err = edit_init(&edit, op, object);

	edit.promise = &segment->promise;
	edit.is_late = true;
	edit.is_sync = is_sync;
	if (err == 0 && edit.now.record.form == COP_FORM_INLINE &&
		segment->length <= op->volume->content_max) {
		set_times(&edit, segment);
		err = write_inline(&edit, segment);
	} else if (err == 0) {
		if (edit.now.record.form == COP_FORM_INLINE && edit.now.record.length > 0 &&
			!covers_inline(&edit.now.record, segment)) {
			set_times(&edit, segment);
			err = content_move_out(&edit);
		}
		edit.first = segment->first;
		edit.end = min_u64(segment->end, segment->first + max);
		if (err == 0)
			err = write_blocks(&edit, segment);
		end = edit.end;
	}
	edit_fini(&edit);
	if (err == 0)
		pages_written_back(object, end);
	return err;
}

int
writeback_object(struct operation *op, struct cop_object *object, bool is_sync)
{
	uint64_t max = SEGMENT_BLOCKS_MAX;
	int err = 0;

	assert(operation_has(op, object));
	if (!pages_are_clean(&object->pages))
		err = volume_failed(op->volume->volume);
	while (err == 0 && !pages_are_clean(&object->pages)) {
		err = write_segment(op, object, is_sync, max);
		if (err == COP_ENOSPC && max > 1) {
			err_clear();
			err = 0;
			max = div_up(max, PARTS);
		}
	}
	return err;
}

/* ---- Without a turn -------------------------------------------------------------------------- */

int
writeback_now(struct cop_object *object, bool is_sync)
{
	struct operation op;
	int err;

	if (pages_are_clean(&object->pages))
		return 0;
	err = change_begin(&op, object->volume, &object, 1);
	if (err)
		return err;
	err = writeback_object(&op, object, is_sync);
	change_end(&op);
	return err;
}

bool
complaint_take(struct complaint *complaint, int err)
{
	if (err == 0)
		return true;
	if (!err_is_damage(err))
		return false;
	complaint->err = err;
	err_keep(&complaint->note);
	err_clear();
	return true;
}

int
complaint_tell(const struct complaint *complaint, int err)
{
	if (err || complaint->err == 0)
		return err;
	err_put_back(&complaint->note);
	return complaint->err;
}

/* Objects that became dirty after the one numbered `passed`, at `number` or before. */
struct dirty_range {
	uint64_t passed;
	uint64_t number;
};

/* The oldest of them, counted; the next time, the one behind it. NULL: none. */
static struct cop_object *
take_oldest(struct cop_volume *volume, struct dirty_range *range)
{
	struct cop_object *object;

	mutex_lock(&volume->lock);
	object = volume->dirty_oldest;
	while (object && object->dirty_number <= range->passed)
		object = object->dirty_newer;
	if (object && object->dirty_number > range->number)
		object = NULL;
	if (object) {
		range->passed = object->dirty_number;
		object->refs++;
	}
	mutex_unlock(&volume->lock);
	return object;
}

static uint64_t
newest_number(struct cop_volume *volume)
{
	uint64_t number;

	mutex_lock(&volume->lock);
	number = volume->dirty_numbers;
	mutex_unlock(&volume->lock);
	return number;
}

int
writeback_all(struct cop_volume *volume, bool is_sync)
{
	struct dirty_range range = { .number = newest_number(volume) };
	struct complaint complaint = { .err = 0 };
	struct cop_object *object = take_oldest(volume, &range);
	int err = 0;

	while (err == 0 && object) {
		err = writeback_now(object, is_sync);
		cop_release(object);
		if (complaint_take(&complaint, err))
			err = 0;
		object = err ? NULL : take_oldest(volume, &range);
	}
	return complaint_tell(&complaint, err);
}

/* Those that have stayed dirty, of all up to `number`, are due again as if they became dirty now.
 */
static void
postpone(struct cop_volume *volume, uint64_t number, int64_t now_ns)
{
	mutex_lock(&volume->lock);
	for (struct cop_object *object = volume->dirty_oldest;
		object && object->dirty_number <= number; object = object->dirty_newer)
		object->dirty_ns = now_ns;
	mutex_unlock(&volume->lock);
}

/*
 * What is dirty is in no transaction that the timer of the volume sees, so here it has to become
 * durable as well. All of it at once: then there is one flush every five seconds, not one an
 * object. Nor are there more where an object's map is damaged: it is tried as often as others.
 */
int
writeback_due(struct cop_volume *volume)
{
	int64_t now_ns = volume_now_ns(volume->volume);
	struct complaint complaint = { .err = 0 };
	uint64_t newest = newest_number(volume);
	struct cop_object *oldest;
	bool is_due;
	int err;

	mutex_lock(&volume->lock);
	oldest = volume->dirty_oldest;
	is_due = oldest && (oldest->dirty_ns <= now_ns - due_after_ns ||
				   oldest->dirty_ns > now_ns); /* the clock was set back */
	mutex_unlock(&volume->lock);
	if (!is_due)
		return 0;
	err = writeback_all(volume, true);
	if (complaint_take(&complaint, err)) {
		postpone(volume, newest, now_ns);
		err = volume_sync(volume->volume);
	}
	return complaint_tell(&complaint, err);
}

int
writeback_for_room(struct cop_volume *volume)
{
	struct dirty_range range = { .number = UINT64_MAX };
	struct complaint complaint = { .err = 0 };
	int err = 0;

	while (err == 0 && atomic_load(&volume->dirty_pages) >= pages_max(volume)) {
		struct cop_object *object = take_oldest(volume, &range);

		if (!object)
			return complaint_tell(&complaint, 0);
		err = writeback_now(object, false);
		cop_release(object);
		if (complaint_take(&complaint, err))
			err = 0;
	}
	return err;
}
