/*
 * Files of a volume as a source.
 */

#include "base/num.h"
#include "front/cli/cli.h"
#include "front/cli/copy.h"

#include <stdlib.h>
#include <string.h>

static int
look(struct cop_object *object, struct item *out_item)
{
	struct cop_attr attr = COP_INIT(attr);
	int err = cop_stat(object, &attr);

	if (err)
		return err;
	*out_item = (struct item){
		.kind = attr.kind,
		.mode = attr.mode,
		.uid = attr.uid,
		.gid = attr.gid,
		.links = attr.links,
		.length = attr.length,
		/* Inline bytes take no blocks, and have no holes. */
		.allocated_bytes =
			attr.form == COP_FORM_INLINE ? attr.length : attr.allocated_bytes,
		.device = attr.device,
		.created_ns = attr.created_ns,
		.modified_ns = attr.modified_ns,
		.accessed_ns = attr.accessed_ns,
		.space = (uint64_t)(uintptr_t)cop_volume_of(object),
		.number = attr.id,
	};
	return 0;
}

static int
open_object(struct cop_object *object, struct source_file *out_file)
{
	struct source_file file = { .object = object, .fd = -1 };
	int err = look(object, &file.item);

	if (err)
		cop_release(object);
	else
		*out_file = file;
	return err;
}

static int
open_top(struct source *source, const struct address *address, bool follow,
	struct source_file *out_file)
{
	bool slash = path_ends_in_slash(address->path);
	struct cop_object *object;
	int err = cop_walk(
		source->root, address->path, follow || slash ? 0 : COP_WALK_NOFOLLOW, &object);

	if (!err)
		err = open_object(object, out_file);
	if (!err && slash && out_file->item.kind != COP_DIRECTORY) {
		cop_release(out_file->object);
		err = fail(COP_ENOTDIR, "not a directory");
	}
	return err;
}

static int
open_in(struct source *source, struct source_directory *directory, const char *name,
	size_t name_bytes, struct source_file *out_file)
{
	struct cop_object *object;
	int err = cop_lookup(directory->self.object, name, name_bytes, &object);

	(void)source;
	return err ? err : open_object(object, out_file);
}

static void
close_file(struct source_file *file)
{
	cop_release(file->object);
	file->object = NULL;
}

static int
enter(struct source *source, struct source_file *file, struct source_directory **out_directory)
{
	struct source_directory *directory = need(1, sizeof *directory);

	(void)source;
	directory->self = *file;
	file->object = NULL;
	entries_reader_init(&directory->reader, directory->self.object);
	*out_directory = directory;
	return 0;
}

static int
next(struct source_directory *directory, const char **out_name, size_t *out_name_bytes)
{
	const struct entry *entry;
	int err = entries_reader_next(&directory->reader, &entry, out_name);

	if (err)
		return err;
	if (entry)
		*out_name_bytes = entry->name_bytes;
	else
		*out_name = NULL;
	return 0;
}

static void
leave(struct source_directory *directory)
{
	entries_reader_fini(&directory->reader);
	cop_release(directory->self.object);
	free(directory);
}

static int
find_data(struct source_file *file, uint64_t offset, uint64_t *out_begin, uint64_t *out_end)
{
	uint64_t begin;
	uint64_t end;
	int err = cop_seek_data(file->object, offset, &begin);

	if (err == COP_ENODATA) {
		*out_begin = *out_end = file->item.length;
		return 0;
	}
	if (!err)
		err = cop_seek_hole(file->object, begin, &end);
	if (err)
		return err;
	*out_begin = begin;
	*out_end = end;
	return 0;
}

static int
read_content(
	struct source_file *file, uint64_t offset, void *buffer, size_t bytes, size_t *out_bytes)
{
	return cop_read(file->object, offset, buffer, bytes, out_bytes);
}

static int
read_target(struct source_file *file, struct text *out)
{
	size_t bytes = 0;
	int err = cop_readlink(file->object, NULL, 0, &bytes);

	if (!err)
		err = cop_readlink(file->object, text_room(out, bytes), bytes, &bytes);
	if (err)
		return err;
	out->bytes += bytes;
	out->data[out->bytes] = '\0';
	return 0;
}

static int
xattr_list(struct source_file *file, struct text *out)
{
	size_t bytes = 0;
	int err = cop_xattr_list(file->object, NULL, 0, &bytes);

	if (!err && bytes > 0)
		err = cop_xattr_list(file->object, text_room(out, bytes), bytes, &bytes);
	if (!err)
		out->bytes += bytes;
	return err;
}

static int
xattr_get(struct source_file *file, const char *name, struct text *out)
{
	size_t bytes = 0;
	int err = cop_xattr_get(file->object, name, NULL, 0, &bytes);

	if (!err && bytes > 0)
		err = cop_xattr_get(file->object, name, text_room(out, bytes), bytes, &bytes);
	if (!err)
		out->bytes += bytes;
	return err;
}

const struct source_ops source_volume = {
	.open_top = open_top,
	.open = open_in,
	.close = close_file,
	.enter = enter,
	.next = next,
	.leave = leave,
	.data = find_data,
	.read = read_content,
	.target = read_target,
	.xattr_list = xattr_list,
	.xattr_get = xattr_get,
};
