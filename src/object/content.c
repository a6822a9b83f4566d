/* Reading and writing content. */

#include "object/content_internal.h"
#include "object/reclaim.h"

#include <assert.h>

enum {
	READ_WINDOW_BYTES = 4 << 20, /* read at one time: 32 full extents */
	READ_EXTENTS_MAX = 1024,
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
	return err ? data_fail_in(err, op, object) : 0;
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
	operation_begin(&op, object->volume);
	do
		err = content_read(&op, object, offset, buffer, bytes, &done);
	while (operation_again(&op, &err));
	operation_end(&op);
	if (err == 0)
		*out_bytes = done;
	return err;
}

/* ---- Inline content ------------------------------------------------------------------------- */

int
content_commit_record(struct edit *edit)
{
	int err = tx_begin(edit->op->volume->volume, &edit->op->visit, edit->emptying, &edit->tx);

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
	*out_bytes = done;
	return err;
}

int
cop_write(struct cop_object *object, uint64_t offset, const void *buffer, size_t bytes,
	size_t *out_bytes)
{
	struct operation op;
	uint32_t tries = 0;
	size_t done = 0;
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

		err = change_begin(&op, object->volume, &object, 1);
		if (err)
			return err;
		err = write_all(&op, object, offset + done, (const uint8_t *)buffer + done,
			bytes - done, &written);
		change_end(&op);
		done += written;
	} while (change_again(object->volume, err, &tries));
	if (out_bytes)
		*out_bytes = done;
	return err;
}
