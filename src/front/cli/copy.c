/*
 * One file after the other: open it, see what is in the way, make it without a name, move its
 * bytes, its holes and its attributes, and give it its name. Directories are frames on a stack; a
 * directory is finished, with its mode and times, when all in it has been copied, and also when
 * the copy ends early.
 */

#include "front/cli/copy.h"

#include "base/num.h"
#include "front/cli/cli.h"
#include "front/cli/damage.h"
#include "front/cli/interrupt.h"
#include "front/cli/output.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER_ALIGNMENT = 4096, SKIPPED = 1 };

/* ---- Saying what failed --------------------------------------------------------------------- */

static void
report_source(struct copy *copy, int code)
{
	report(copy->cli, text_string(&copy->from), code);
}

/* An error of the sink that the next file would meet as well ends the copy. */
static void
report_sink(struct copy *copy, int code)
{
	switch (code) {
	case COP_ENOSPC:
	case COP_EIO:
	case COP_ENOMEM:
	case COP_EROFS:
		report_and_stop(copy->cli, text_string(&copy->to), code);
		copy->has_stopped = true;
		break;
	default:
		report(copy->cli, text_string(&copy->to), code);
	}
}

static bool
must_stop(const struct copy *copy)
{
	return copy->has_stopped || interrupt_requested();
}

static void
say_copied(struct copy *copy)
{
	struct text line = { 0 };

	if (!copy->verbose)
		return;
	text_add_quoted(&line, text_string(&copy->from));
	text_add_string(&line, " -> ");
	text_add_quoted(&line, text_string(&copy->to));
	progress_clear(&copy->cli->progress);
	(void)puts(line.data);
	text_fini(&line);
}

/* ---- Content -------------------------------------------------------------------------------- */

/* The content of one file on its way. Errors are reported where they are found. */
struct transfer {
	struct copy *copy;
	struct source_file *from;
	struct sink_file *to;
	uint64_t written_end;
	bool is_damaged;
};

static int
read_range(void *context, uint64_t offset, void *buffer, size_t bytes, size_t *out_bytes)
{
	struct transfer *transfer = context;

	return transfer->copy->source->ops->read(transfer->from, offset, buffer, bytes, out_bytes);
}

static int
put_range(struct transfer *transfer, uint64_t offset, size_t bytes)
{
	struct copy *copy = transfer->copy;
	int err;

	if (bytes == 0)
		return 0;
	err = copy->sink->ops->write(transfer->to, offset, copy->buffer, bytes);
	if (err) {
		report_sink(copy, err);
	} else {
		progress_add(&copy->cli->progress, 0, bytes);
		transfer->written_end = offset + bytes;
	}
	return err;
}

/*
 * After a failed read: names the bytes that are lost. With --partial, keeps those before them in
 * the range and says how far that went; without, the file is given up.
 */
static int
salvage_range(struct transfer *transfer, uint64_t offset, size_t bytes, int code, size_t *out_bytes)
{
	struct copy *copy = transfer->copy;
	struct damage_range range;
	int err;

	if (transfer->from->is_stream || interrupt_requested() || bytes == 0) {
		report_source(copy, code);
		return code;
	}
	range = damage_find(read_range, transfer, offset, copy->buffer, bytes);
	if (range.bytes == 0) {
		*out_bytes = bytes;
		return put_range(transfer, offset, bytes);
	}
	report_source(copy, damage_note(&range));
	if (!copy->partial)
		return range.code;
	transfer->is_damaged = true;
	err = put_range(transfer, offset, (size_t)(range.offset - offset));
	*out_bytes = (size_t)(range.offset + range.bytes - offset);
	return err;
}

/* Copies from `begin` up to `end`, or to the end of the file; *out_end is how far it came. */
static int
copy_range(struct transfer *transfer, uint64_t begin, uint64_t end, uint64_t *out_end)
{
	struct copy *copy = transfer->copy;
	uint64_t offset = begin;
	uint64_t length = transfer->from->item.length;

	while (offset < end) {
		/* Pieces end at multiples of the buffer, for whole extents in a volume. */
		size_t want = min_u64(COPY_BUFFER_BYTES - offset % COPY_BUFFER_BYTES, end - offset);
		size_t got = 0;
		int err;

		if (interrupt_requested())
			return COP_EINTR;
		err = read_range(transfer, offset, copy->buffer, want, &got);
		if (err) {
			want = length > offset ? min_u64(want, length - offset) : 0;
			err = salvage_range(transfer, offset, want, err, &got);
		} else {
			err = put_range(transfer, offset, got);
		}
		if (err)
			return err;
		offset += got;
		/* A file of known length that ends there needs no further read to prove it. */
		if (got == 0 || (got < want && offset == length))
			break;
	}
	*out_end = offset;
	return 0;
}

/* True when the file takes less space than its length needs: then it is worth asking for holes. */
static bool
may_have_holes(const struct source_file *file)
{
	return !file->is_stream && file->item.length > COP_BLOCK_BYTES &&
	       file->item.allocated_bytes < file->item.length;
}

/* A hole at the end is only a length. */
static int
pad_to(struct transfer *transfer, uint64_t length)
{
	int err;

	if (transfer->written_end == length)
		return 0;
	err = transfer->copy->sink->ops->set_length(transfer->to, length);
	if (err)
		report_sink(transfer->copy, err);
	return err;
}

static int
copy_around_holes(struct transfer *transfer)
{
	uint64_t length = transfer->from->item.length;
	uint64_t offset = 0;

	while (offset < length) {
		uint64_t begin;
		uint64_t end;
		int err = transfer->copy->source->ops->data(transfer->from, offset, &begin, &end);

		if (err) {
			/* Where holes cannot be found, the rest is read as a whole. */
			err_clear();
			err = copy_range(transfer, offset, length, &offset);
			return err ? err : pad_to(transfer, offset);
		}
		if (begin >= end)
			break;
		end = min_u64(end, length);
		err = copy_range(transfer, begin, end, &offset);
		if (err)
			return err;
		if (offset < end)
			return 0; /* it was cut off meanwhile */
	}
	return pad_to(transfer, length);
}

static int
copy_whole(struct transfer *transfer)
{
	uint64_t end;
	int err = copy_range(transfer, 0, UINT64_MAX, &end);

	return err ? err : pad_to(transfer, end);
}

/* *out_damaged: with --partial, parts are missing. */
static int
copy_content(struct copy *copy, struct source_file *from, struct sink_file *to, bool *out_damaged)
{
	struct transfer transfer = { .copy = copy, .from = from, .to = to };
	int err;

	if (!copy->buffer)
		copy->buffer = need_aligned(BUFFER_ALIGNMENT, COPY_BUFFER_BYTES);
	if (may_have_holes(from))
		err = copy_around_holes(&transfer);
	else
		err = copy_whole(&transfer);
	*out_damaged = transfer.is_damaged;
	return err;
}

/* ---- Attributes ----------------------------------------------------------------------------- */

static int
copy_xattrs(struct copy *copy, struct source_file *from, struct sink_file *to)
{
	int err;

	text_cut(&copy->names, 0);
	err = copy->source->ops->xattr_list(from, &copy->names);
	if (err) {
		report_source(copy, err);
		return err;
	}
	for (size_t at = 0; at < copy->names.bytes;) {
		const char *name = copy->names.data + at;

		at += strlen(name) + 1;
		text_cut(&copy->value, 0);
		err = copy->source->ops->xattr_get(from, name, &copy->value);
		if (err == COP_ENODATA)
			continue; /* removed meanwhile */
		if (err) {
			report_source(copy, err);
			return err;
		}
		err = copy->sink->ops->xattr_set(copy->sink, to, name, &copy->value);
		if (err) {
			report_sink(copy, err);
			return err;
		}
	}
	return 0;
}

/* What the copy is to be: without -r and -p, a file of who copies, as cp has it. */
static struct item
item_for(const struct copy *copy, const struct item *source, const struct item *existing)
{
	struct item item = *source;

	if (copy->preserve)
		return item;
	item.mode = existing ? existing->mode : source->mode & 0777 & ~copy->umask_bits;
	item.uid = existing ? existing->uid : geteuid();
	item.gid = existing ? existing->gid : getegid();
	item.created_ns = 0;
	return item;
}

/* ---- Names in the way, names met before ----------------------------------------------------- */

static bool
is_linked(const struct copy *copy, const struct item *item)
{
	return copy->preserve && item->links > 1 && item->kind != COP_DIRECTORY;
}

/* Notes where the copy is, for links to it. What cannot be noted is copied again. */
static void
remember(struct copy *copy, const struct item *item, struct sink_directory *to, const char *name,
	size_t name_bytes)
{
	struct idset_row *row;
	struct item made;

	if (!is_linked(copy, item) || idset_find(&copy->linked, item->space, item->number))
		return;
	if (copy->sink->ops->find(copy->sink, to, name, name_bytes, &made) != 0) {
		err_clear();
		return;
	}
	row = idset_insert(&copy->linked, item->space, item->number);
	row->names_left = item->links - 1;
	row->copy_space = made.space;
	row->copy_number = made.number;
	/* A volume opens its objects by number, the host its files by path only. */
	if (!copy->sink->root)
		row->place = need_copy(text_string(&copy->to));
}

/*
 * True when the file was copied before under another name, and this name is a link to the copy
 * now. `existing` is what is to be replaced, NULL for nothing.
 */
static bool
link_to_copy(struct copy *copy, const struct item *item, struct sink_directory *to,
	const char *name, size_t name_bytes, const struct item *existing)
{
	struct idset_row *row;
	bool is_linked_already;

	if (!is_linked(copy, item))
		return false;
	row = idset_find(&copy->linked, item->space, item->number);
	if (!row)
		return false;
	is_linked_already = existing && existing->space == row->copy_space &&
			    existing->number == row->copy_number;
	if (!is_linked_already && copy->sink->ops->link(copy->sink, row, to, name, name_bytes,
					  existing != NULL) != 0) {
		err_clear();
		return false;
	}
	if (--row->names_left == 0)
		idset_remove(&copy->linked, row);
	return true;
}

/*
 * What is there stays, and later names of the same file become links to it. With --update, it is
 * itself replaced by a link when the file was copied under an earlier name, as cp does.
 */
static int
leave_existing(struct copy *copy, const struct item *item, struct sink_directory *to,
	const char *name, size_t name_bytes, const struct item *replaceable)
{
	if (!replaceable || !link_to_copy(copy, item, to, name, name_bytes, replaceable))
		remember(copy, item, to, name, name_bytes);
	return SKIPPED;
}

/*
 * Looks at what has the name already. 0: go on, *out_exists says whether it is to be replaced.
 * SKIPPED: nothing to do. A code: reported.
 */
static int
check_existing(struct copy *copy, const struct item *item, struct sink_directory *to,
	const char *name, size_t name_bytes, struct item *out_existing, bool *out_exists)
{
	int err = copy->sink->ops->find(copy->sink, to, name, name_bytes, out_existing);

	*out_exists = !err;
	if (err == COP_ENOENT) {
		err_clear();
		return 0;
	}
	if (!err && item->kind != COP_DIRECTORY && out_existing->kind == COP_DIRECTORY)
		err = fail(COP_EISDIR, "a directory is in the way of a file");
	if (!err && item->kind == COP_DIRECTORY && out_existing->kind != COP_DIRECTORY)
		err = fail(COP_ENOTDIR, "a file is in the way of a directory");
	if (!err && item->kind != COP_DIRECTORY && item->space == out_existing->space &&
		item->number == out_existing->number && copy->source->root && copy->sink->root)
		err = fail(COP_EEXIST, "source and destination are the same file");
	if (err) {
		report_sink(copy, err);
		return err;
	}
	if (item->kind == COP_DIRECTORY)
		return 0;
	if (copy->no_clobber)
		return leave_existing(copy, item, to, name, name_bytes, NULL);
	if (copy->update && out_existing->modified_ns >= item->modified_ns)
		return leave_existing(copy, item, to, name, name_bytes, out_existing);
	return 0;
}

/* ---- One file ------------------------------------------------------------------------------- */

static int
begin_file(struct copy *copy, struct source_file *from, struct sink_directory *to,
	const struct item *item, struct sink_file *out_file)
{
	struct text target = { 0 };
	int err = 0;

	if (item->kind == COP_SYMLINK)
		err = copy->source->ops->target(from, &target);
	if (err) {
		report_source(copy, err);
	} else {
		err = copy->sink->ops->begin(copy->sink, to, item, &target, out_file);
		if (err)
			report_sink(copy, err);
	}
	text_fini(&target);
	return err;
}

/* Gives the file its name, NAME.partial when parts of it are missing. */
static int
finish_file(struct copy *copy, struct sink_file *file, struct sink_directory *to, const char *name,
	size_t name_bytes, const struct item *item, bool replaces, bool damaged)
{
	struct text partial = { 0 };
	int err;

	if (!damaged) {
		err = copy->sink->ops->finish(
			copy->sink, file, to, name, name_bytes, item, replaces);
	} else {
		text_add(&partial, name, name_bytes);
		text_add_string(&partial, ".partial");
		err = copy->sink->ops->finish(
			copy->sink, file, to, partial.data, partial.bytes, item, true);
		text_fini(&partial);
	}
	if (err)
		report_sink(copy, err);
	else if (damaged)
		warn(copy->cli, text_string(&copy->from), "what can be read of it is in %s.partial",
			text_string(&copy->to));
	return err;
}

static void
copy_file(struct copy *copy, struct source_file *from, struct sink_directory *to, const char *name,
	size_t name_bytes, const struct item *existing)
{
	struct item item = item_for(copy, &from->item, existing);
	bool damaged = false;
	struct sink_file file;

	if (begin_file(copy, from, to, &item, &file) != 0)
		return;
	if ((item.kind == COP_FILE && copy_content(copy, from, &file, &damaged) != 0) ||
		(copy->preserve && copy_xattrs(copy, from, &file) != 0)) {
		copy->sink->ops->abandon(&file);
		return;
	}
	/*
	 * The name is the last step, and what was interrupted before it gets none: whoever writes
	 * into the pipe that we read may have been interrupted as well, and this is not the end of
	 * the file that was meant.
	 */
	if (interrupt_requested()) {
		copy->sink->ops->abandon(&file);
		return;
	}
	if (finish_file(copy, &file, to, name, name_bytes, &item, existing != NULL, damaged) != 0 ||
		damaged)
		return;
	remember(copy, &from->item, to, name, name_bytes);
	say_copied(copy);
}

/* ---- Directories ---------------------------------------------------------------------------- */

static void
push(struct copy *copy, const struct copy_frame *frame)
{
	struct copy_frame *old;

	if (copy->depth == copy->capacity) {
		copy->capacity = 2 * copy->capacity + 16;
		copy->frames = need_more(copy->frames, copy->capacity, sizeof *copy->frames);
	}
	copy->frames[copy->depth++] = *frame;
	if (copy->depth <= COPY_OPEN_LEVELS)
		return;
	old = &copy->frames[copy->depth - 1 - COPY_OPEN_LEVELS];
	if (copy->source->ops->suspend && !old->from->is_suspended)
		copy->source->ops->suspend(old->from);
	if (copy->sink->ops->suspend && !old->to->is_suspended)
		copy->sink->ops->suspend(old->to);
}

/* Finds the directories above again while those below are still open. */
static int
resume_above(struct copy *copy)
{
	struct copy_frame *frame = &copy->frames[copy->depth - 1];
	struct copy_frame *above = frame - 1;
	int err = 0;

	if (copy->depth < 2)
		return 0;
	if (above->from->is_suspended)
		err = copy->source->ops->resume(above->from, frame->from);
	if (!err && above->to->is_suspended)
		err = copy->sink->ops->resume(above->to, frame->to);
	return err;
}

static void
pop(struct copy *copy)
{
	struct copy_frame *frame = &copy->frames[copy->depth - 1];
	int err = 0;

	if (!frame->from->is_suspended && !frame->to->is_suspended) {
		if (copy->preserve)
			err = copy_xattrs(copy, &frame->from->self, &frame->to->self);
		if (!err) {
			err = copy->sink->ops->finish_directory(
				copy->sink, frame->to, &frame->item);
			if (err)
				report_sink(copy, err);
		}
		err = resume_above(copy);
		if (err) {
			report_and_stop(copy->cli, text_string(&copy->from), err);
			copy->has_stopped = true;
		}
	}
	copy->source->ops->leave(frame->from);
	copy->sink->ops->leave(frame->to);
	text_cut(&copy->from, frame->from_bytes);
	text_cut(&copy->to, frame->to_bytes);
	copy->depth--;
}

/*
 * Puts a directory on the stack. `name` is NULL when its contents go into `to` itself. The paths
 * are those of the directory; they are cut back to the given lengths when it is done.
 */
static int
enter_directory(struct copy *copy, struct source_file *from, struct sink_directory *to,
	const char *name, size_t name_bytes, const struct item *existing, size_t from_bytes,
	size_t to_bytes)
{
	struct copy_frame frame = { .from_bytes = from_bytes, .to_bytes = to_bytes };
	int err;

	frame.item = item_for(copy, &from->item, existing);
	frame.is_fresh = name && !existing;
	if (frame.is_fresh) {
		err = copy->sink->ops->make_directory(
			copy->sink, to, name, name_bytes, &frame.item);
		if (err) {
			report_sink(copy, err);
			return err;
		}
	}
	err = name ? copy->sink->ops->enter(copy->sink, to, name, name_bytes, &frame.to)
		   : copy->sink->ops->again(to, &frame.to);
	if (err) {
		report_sink(copy, err);
		return err;
	}
	err = copy->source->ops->enter(copy->source, from, &frame.from);
	if (err) {
		report_source(copy, err);
		copy->sink->ops->leave(frame.to);
		return err;
	}
	push(copy, &frame);
	say_copied(copy);
	return 0;
}

/* True when the host's file is a volume that this command has open: it is left out, with a word. */
static bool
is_open_volume(struct copy *copy, const struct item *item)
{
	if (copy->source->root || item->kind == COP_DIRECTORY)
		return false;
	if (!volumes_in_file(&copy->cli->volumes, item->space, item->number))
		return false;
	warn(copy->cli, text_string(&copy->from), "is the volume itself, left out");
	return true;
}

/* Copies what is open under this name; directories are only entered. Takes the file over. */
static void
copy_item(struct copy *copy, struct source_file *from, struct sink_directory *to, const char *name,
	size_t name_bytes, bool is_fresh, size_t from_bytes, size_t to_bytes)
{
	const struct item *item = &from->item;
	struct item existing;
	bool exists = false;
	int err = 0;

	copy->cli->items++;
	if (is_open_volume(copy, item))
		err = SKIPPED;
	else if (!is_fresh)
		err = check_existing(copy, item, to, name, name_bytes, &existing, &exists);
	if (!err && item->kind == COP_DIRECTORY) {
		err = enter_directory(copy, from, to, name, name_bytes, exists ? &existing : NULL,
			from_bytes, to_bytes);
		if (!err)
			return;
	} else if (!err &&
		   !link_to_copy(copy, item, to, name, name_bytes, exists ? &existing : NULL)) {
		copy_file(copy, from, to, name, name_bytes, exists ? &existing : NULL);
	}
	copy->source->ops->close(from);
	text_cut(&copy->from, from_bytes);
	text_cut(&copy->to, to_bytes);
	if (!must_stop(copy))
		progress_add(&copy->cli->progress, 1, 0);
}

static void
copy_entry(struct copy *copy, const char *name, size_t name_bytes)
{
	struct copy_frame *frame = &copy->frames[copy->depth - 1];
	size_t from_bytes = copy->from.bytes;
	size_t to_bytes = copy->to.bytes;
	struct source_file file;
	int err;

	text_add_name(&copy->from, name, name_bytes);
	text_add_name(&copy->to, name, name_bytes);
	err = copy->source->ops->open(copy->source, frame->from, name, name_bytes, &file);
	if (err) {
		copy->cli->items++;
		report_source(copy, err);
		text_cut(&copy->from, from_bytes);
		text_cut(&copy->to, to_bytes);
		return;
	}
	copy_item(copy, &file, frame->to, name, name_bytes, frame->is_fresh, from_bytes, to_bytes);
}

static void
walk(struct copy *copy)
{
	while (copy->depth > 0) {
		const char *name = NULL;
		size_t name_bytes = 0;
		int err = 0;

		if (!must_stop(copy))
			err = copy->source->ops->next(
				copy->frames[copy->depth - 1].from, &name, &name_bytes);
		if (err)
			report_source(copy, err);
		if (!err && name)
			copy_entry(copy, name, name_bytes);
		else
			pop(copy);
	}
}

/* ---- Operands ------------------------------------------------------------------------------- */

/* Whether the directory `below` of a volume is `above`, or lies in it. */
static int
lies_within(struct cop_object *below, struct cop_object *above, bool *out_within)
{
	struct cop_object *at = cop_hold(below);
	uint64_t last = 0;
	int err = 0;

	*out_within = false;
	while (!err && cop_id(at) != last && !*out_within) {
		struct cop_object *parent = NULL;

		last = cop_id(at);
		*out_within = last == cop_id(above);
		if (!*out_within)
			err = cop_walk(at, "..", 0, &parent);
		if (parent) {
			cop_release(at);
			at = parent;
		}
	}
	cop_release(at);
	return err;
}

/* What must hold of the operand before anything is made. Reports. */
static int
check_operand(struct copy *copy, const struct source_file *from, const struct destination *to)
{
	bool within = false;
	int err = 0;

	if (from->item.kind == COP_DIRECTORY && to->is_stream) {
		complain(copy->cli, text_string(&copy->from), EXIT_ERROR, NULL,
			"is a directory, and cannot be written as a stream");
		return COP_EISDIR;
	}
	if (from->item.kind == COP_DIRECTORY && !copy->recursive) {
		complain(copy->cli, text_string(&copy->from), EXIT_ERROR, "coppice cp -r",
			"is a directory, left out");
		return COP_EISDIR;
	}
	if (from->item.kind != COP_FILE && !copy->recursive && from->object) {
		complain(copy->cli, text_string(&copy->from), EXIT_ERROR, "coppice cp -r",
			"is a %s, and has no content to copy", kind_name(from->item.kind));
		return COP_EINVAL;
	}
	if (from->item.kind != COP_DIRECTORY && to->wants_directory) {
		report(copy->cli, text_string(&copy->to), fail(COP_ENOTDIR, "not a directory"));
		return COP_ENOTDIR;
	}
	if (from->item.kind == COP_DIRECTORY && from->object && !to->is_stream &&
		to->directory->self.object &&
		cop_volume_of(from->object) == cop_volume_of(to->directory->self.object))
		err = lies_within(to->directory->self.object, from->object, &within);
	if (!err && within)
		err = fail(COP_ELOOP, "a directory cannot be copied into itself");
	if (err)
		report(copy->cli, text_string(&copy->from), err);
	return err;
}

/* Writes the content in place, to standard output, a device or a FIFO. */
static void
copy_to_stream(struct copy *copy, struct source_file *from, struct destination *to)
{
	bool damaged;

	copy->cli->items++;
	progress_expect(
		&copy->cli->progress, from->is_stream ? 0 : 1, copy_data_bytes(&from->item));
	if (copy_content(copy, from, &to->stream, &damaged) == 0)
		say_copied(copy);
}

/* The name that a source has in a directory; NULL: "." and the like, whose contents go there. */
static const char *
name_in(const struct address *address, const struct destination *to, size_t *out_bytes)
{
	const char *path = address->kind == ADDRESS_VOLUME ? address->path : address->operand;
	const char *name;

	if (to->name) {
		*out_bytes = strlen(to->name);
		return to->name;
	}
	path_last(path, &name, out_bytes);
	return name_is_special(name, *out_bytes) ? NULL : name;
}

static void
copy_to_name(struct copy *copy, const struct address *address, struct source_file *from,
	struct destination *to)
{
	size_t name_bytes;
	const char *name = name_in(address, to, &name_bytes);
	char *copied = name ? need_copy_of(name, name_bytes) : NULL;

	if (!to->name && copied)
		text_add_name(&copy->to, copied, name_bytes);
	if (!copy->recursive)
		progress_expect(&copy->cli->progress, from->is_stream ? 0 : 1,
			copy_data_bytes(&from->item));
	if (copied) {
		copy_item(copy, from, to->directory, copied, name_bytes, false, 0, 0);
	} else {
		copy->cli->items++;
		if (enter_directory(copy, from, to->directory, NULL, 0, NULL, 0, 0) != 0)
			copy->source->ops->close(from);
	}
	walk(copy);
	free(copied);
}

void
copy_operand(struct copy *copy, const struct address *address, struct destination *to)
{
	struct source_file file;
	int err;

	text_cut(&copy->from, 0);
	text_add_string(&copy->from, address->operand);
	text_cut(&copy->to, 0);
	text_add_string(&copy->to, to->path);
	err = copy->source->ops->open_top(copy->source, address, !copy->recursive, &file);
	if (!err && !copy->recursive && !file.object && file.item.kind != COP_DIRECTORY &&
		file.item.kind != COP_FILE)
		err = source_host_read_special(&file);
	if (err) {
		copy->cli->items++;
		report_source(copy, err);
		return;
	}
	if (check_operand(copy, &file, to) != 0) {
		copy->cli->items++;
		copy->source->ops->close(&file);
	} else if (to->is_stream) {
		copy_to_stream(copy, &file, to);
		copy->source->ops->close(&file);
	} else {
		copy_to_name(copy, address, &file, to);
	}
}

void
copy_stream(struct copy *copy, struct destination *to)
{
	struct source_file file;

	text_cut(&copy->from, 0);
	text_add_string(&copy->from, "standard input");
	text_cut(&copy->to, 0);
	text_add_string(&copy->to, to->path);
	source_host_stream(&file);
	if (to->is_stream) {
		copy_to_stream(copy, &file, to);
	} else if (!to->name) {
		copy->cli->items++;
		complain(copy->cli, to->path, EXIT_ERROR, NULL,
			"is a directory; what comes from standard input needs a name");
	} else {
		copy_item(copy, &file, to->directory, to->name, strlen(to->name), false, 0, 0);
	}
}

void
copy_fini(struct copy *copy)
{
	assert(copy->depth == 0);
	free(copy->frames);
	free(copy->buffer);
	text_fini(&copy->from);
	text_fini(&copy->to);
	text_fini(&copy->names);
	text_fini(&copy->value);
	idset_fini(&copy->linked);
}
