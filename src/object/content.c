/* Reading and writing content. */

#include "object/content_internal.h"
#include "object/pages_internal.h"
#include "object/reclaim.h"

#include <assert.h>

enum {
	READ_WINDOW_BYTES = 4 << 20, /* read at one time: 32 full extents */
	READ_EXTENTS_MAX = 1024,
	READ_WINDOW_PAGES = READ_WINDOW_BYTES / BLOCK_BYTES + 1,
};

struct held_page {
	uint64_t block;
	struct buffer *buffer;
};

/* ---- Reading -------------------------------------------------------------------------------- */

/* What one window of a read needs: a moment's record, map and pages. */
struct window {
	struct loaded loaded;
	struct extents extents;
	uint64_t length; /* of the object */
	uint64_t bytes;  /* that the window has, from the offset asked */
	size_t page_count;
	struct held_page pages[READ_WINDOW_PAGES]; /* pinned, ascending */
};

static void
window_release_pages(struct cop_object *object, struct window *window)
{
	struct cache *cache = volume_cache(object->volume->volume);

	while (window->page_count > 0)
		cache_release(cache, window->pages[--window->page_count].buffer);
}

/* Pages first, then the map: what leaves the one is in the other by then. */
static void
window_take_pages(struct cop_object *object, uint64_t offset, uint64_t bytes, struct window *window)
{
	uint64_t end = div_up(offset + bytes, BLOCK_BYTES);

	window_release_pages(object, window);
	window->length = pages_length(&object->pages, 0);
	if (pages_are_clean(&object->pages))
		return;
	pages_enter(object->volume);
	for (uint64_t block = offset / BLOCK_BYTES; block < end; block++) {
		struct buffer *page = pages_find(&object->pages, block);

		if (!page)
			continue;
		cache_pin(volume_cache(object->volume->volume), page);
		window->pages[window->page_count++] =
			(struct held_page){ .block = block, .buffer = page };
	}
	pages_leave(object->volume);
}

static int
window_load(struct cop_object *object, uint64_t offset, uint64_t bytes, struct window *window)
{
	const struct record *record = &window->loaded.record;
	struct gather gather = { .max = READ_EXTENTS_MAX };
	uint64_t end;
	bool more;
	int err;

	extents_free(&window->extents);
	window_take_pages(object, offset, bytes, window);
	err = record_load(object, &window->loaded);
	if (err)
		return err;
	window->length = max_u64(window->length, record->length);
	window->bytes = 0;
	if (offset >= window->length)
		return 0;
	end = offset + min_u64(bytes, window->length - offset);
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

static void
copy_inline(const struct view *content, uint64_t offset, uint8_t *buffer, uint64_t bytes)
{
	uint64_t part = offset < content->bytes ? min_u64(bytes, content->bytes - offset) : 0;

	if (part > 0)
		memcpy(buffer, content->data + offset, part);
	memset(buffer + part, 0, bytes - part);
}

/* What is dirty takes the place of what was read. */
static void
copy_pages(const struct window *window, uint64_t offset, uint8_t *buffer)
{
	struct span span = { .offset = offset, .bytes = window->bytes, .buffer = buffer };

	for (size_t i = 0; i < window->page_count; i++) {
		struct span_part part;

		if (window->pages[i].block > span_last(&span))
			break;
		part = span_part(&span, window->pages[i].block);
		memcpy(buffer + part.in_buffer, window->pages[i].buffer->data + part.in_block,
			part.bytes);
	}
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

	if (window->loaded.record.form == COP_FORM_INLINE)
		copy_inline(&window->loaded.record.content, offset, buffer, window->bytes);
	else
		err = data_fetch(op, &window->extents, offset, buffer, window->bytes);
	if (err)
		return data_fail_in(err, op, object);
	copy_pages(window, offset, buffer);
	return 0;
}

static int
content_read(struct operation *op, struct cop_object *object, uint64_t offset, void *buffer,
	size_t bytes, size_t *out_bytes)
{
	struct window window;
	uint8_t *at = buffer;
	size_t done = 0;
	int err = 0;

	window.extents = (struct extents){ 0 };
	window.page_count = 0;
	do {
		uint64_t want = min_u64(bytes - done, READ_WINDOW_BYTES);

		/* Windows end where devices like it. */
		if (want < bytes - done)
			want -= (offset + done) % BLOCK_BYTES;
		err = read_window(op, object, offset + done, at + done, want, &window);
		if (err || window.bytes == 0)
			break;
		done += window.bytes;
		/* The end is where it was: what has grown meanwhile is of another moment. */
	} while (done < bytes && offset + done < window.length);
	extents_free(&window.extents);
	window_release_pages(object, &window);
	if (err == 0)
		*out_bytes = done;
	return err;
}

int
content_check_kind(const struct cop_object *object)
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
	size_t done;
	int err = content_check_kind(object);

	if (err)
		return err;
	if (bytes == 0 || offset >= COP_FILE_BYTES_MAX) {
		*out_bytes = 0;
		return 0;
	}
	if (bytes < FETCH_CACHED_BYTES && cached_read(object, offset, buffer, bytes, out_bytes))
		return 0;
	operation_begin(&op, object->volume);
	do
		err = content_read(&op, object, offset, buffer, bytes, &done);
	while (operation_again(&op, &err));
	if (err == 0 && bytes < FETCH_CACHED_BYTES)
		cached_fill(object, offset, done);
	operation_end(&op);
	if (err == 0)
		*out_bytes = done;
	return err;
}

/* ---- Inline content ------------------------------------------------------------------------- */

int
content_commit_record(struct edit *edit)
{
	int err = edit_begin(edit);

	if (err == 0)
		err = record_put(edit->tx, edit->object->branch, edit->object->id, &edit->next);
	if (err == 0)
		err = edit_commit(edit);
	return err;
}

uint8_t *
content_copy_inline(struct edit *edit, uint64_t length)
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

int
content_move_out(struct edit *edit)
{
	struct operation *op = edit->op;
	struct cop_object *object = edit->object;
	struct view bytes = edit->now.record.content;
	struct promise *promise = edit->promise;
	bool is_late = edit->is_late;
	bool is_sync = edit->is_sync;
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
	err = edit_init(edit, op, object);
	edit->promise = promise;
	edit->is_late = is_late;
	edit->is_sync = is_sync;
	return err;
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
			memcpy(content_copy_inline(edit, length) + offset, buffer, bytes);
			err = content_commit_record(edit);
			if (err == 0)
				*out_done = bytes;
			return err;
		}
		if (edit->now.record.length > 0) {
			err = content_move_out(edit);
			if (err)
				return err;
		}
	}

	edit->first = offset / BLOCK_BYTES;
	edit->end = div_up(end, BLOCK_BYTES);
	err = edit_free_trimmed(edit);
	if (err)
		return err;
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

/* A transaction at once. */
static int
write_through(struct operation *op, struct cop_object *object, uint64_t offset,
	const uint8_t *buffer, size_t bytes, size_t *out_written)
{
	struct edit edit;
	int err = edit_init(&edit, op, object);

	if (err == 0)
		err = write_piece(&edit, offset, buffer, bytes, out_written);
	edit_fini(&edit);
	return err;
}

static int
write_all(struct operation *op, struct cop_object *object, uint64_t offset, const uint8_t *buffer,
	size_t bytes, bool is_through, size_t *out_bytes)
{
	size_t done = 0;
	int err = 0;

	while (err == 0 && done < bytes) {
		uint64_t at = offset + done;
		size_t piece = min_u64(bytes - done, COP_WRITE_ATOMIC);
		size_t written = 0;

		/* The pieces of a large write end where blocks do. */
		if (piece < bytes - done)
			piece -= at % BLOCK_BYTES;
		if (is_through) {
			err = write_through(op, object, at, buffer + done, piece, &written);
		} else {
			err = buffered_write(op, object, at, buffer + done, piece);
			written = err ? 0 : piece;
		}
		done += written;
	}
	*out_bytes = done;
	return err;
}

/*
 * One go. Through pages, unless they have turned out to find no room: then what is dirty becomes
 * transactions first, and the bytes one of their own, which makes checkpoints while it waits for
 * room, and knows exactly what it needs.
 */
static int
write_once(struct cop_object *object, uint64_t offset, const uint8_t *buffer, size_t bytes,
	bool is_through, size_t *out_written)
{
	struct cop_volume *volume = object->volume;
	struct complaint others = { .err = 0 };
	struct operation op;
	int err = 0;

	*out_written = 0;
	if (!is_through)
		err = writeback_for_room(volume);
	else
		err = writeback_all(volume, false);
	if (is_through && complaint_take(&others, err))
		err = 0; /* if it is this object's damage, that is met again */
	if (err == 0)
		err = change_begin(&op, volume, &object, 1);
	if (err)
		return err;
	err = volume_failed(volume->volume);
	if (err == 0 && is_through)
		err = writeback_object(&op, object, false);
	if (err == 0)
		err = write_all(&op, object, offset, buffer, bytes, is_through, out_written);
	change_end(&op);
	return err;
}

int
cop_write(struct cop_object *object, uint64_t offset, const void *buffer, size_t bytes,
	size_t *out_bytes)
{
	bool is_through = object->volume->write_through;
	uint32_t tries = 0;
	size_t done = 0;
	bool again;
	int err;

	if (bytes == 0) {
		if (out_bytes)
			*out_bytes = 0;
		return content_check_kind(object);
	}
	if (offset > COP_FILE_BYTES_MAX || bytes > COP_FILE_BYTES_MAX - offset)
		return fail(COP_EFBIG, "object %" PRIu64 ": byte %" PRIu64 " is past 16 TiB",
			object->id, offset + bytes);
	do {
		size_t written;

		err = write_once(object, offset + done, (const uint8_t *)buffer + done,
			bytes - done, is_through, &written);
		done += written;
		again = err && !is_through && (err == COP_ENOSPC || err == COP_ENOMEM);
		if (again)
			is_through = true;
		else
			again = change_again(object->volume, err, &tries);
	} while (again);
	if (out_bytes)
		*out_bytes = done;
	return err;
}
