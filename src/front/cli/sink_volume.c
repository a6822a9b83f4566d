/*
 * A volume as a sink. A file is made without a name and linked when it is whole; where a name is
 * taken, it is linked under a hidden name first and renamed over the old one.
 */

#include "front/cli/cli.h"
#include "front/cli/copy.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SYMLINKS_MAX = 40, TEMPORARY_BYTES = 64, TEMPORARY_TRIES = 1000 };

static struct sink_directory *
wrap(struct cop_object *object)
{
	struct sink_directory *directory = need(1, sizeof *directory);

	directory->self = (struct sink_file){
		.kind = COP_DIRECTORY,
		.object = object,
		.fd = -1,
	};
	return directory;
}

/* Opens the directory that holds the last name of `path`. */
static int
locate_parent(struct cop_object *start, const char *path, struct destination *destination)
{
	struct cop_object *parent;
	const char *name;
	size_t bytes;
	char *above;
	int err;

	path_last(path, &name, &bytes);
	if (name_is_special(name, bytes))
		return fail(COP_ENOTDIR, "not a directory");
	above = need_copy_of(path, (size_t)(name - path));
	err = cop_walk(start, above[0] != '\0' ? above : ".", 0, &parent);
	free(above);
	if (err)
		return err;
	destination->directory = wrap(parent);
	destination->name = need_copy_of(name, bytes);
	return 0;
}

static void
forget(struct destination *destination)
{
	if (destination->directory) {
		cop_release(destination->directory->self.object);
		free(destination->directory);
	}
	free(destination->name);
	destination->directory = NULL;
	destination->name = NULL;
}

/* Replaces a destination that is a symlink to a file by that file, as cp writes through it. */
static int
follow(struct destination *destination, bool *out_followed)
{
	struct cop_object *parent = destination->directory->self.object;
	struct cop_attr attr = COP_INIT(attr);
	struct cop_object *object;
	struct destination next = { 0 };
	struct text target = { 0 };
	size_t bytes = 0;
	int err = cop_lookup(parent, destination->name, strlen(destination->name), &object);

	*out_followed = false;
	if (err)
		return err == COP_ENOENT ? 0 : err;
	err = cop_stat(object, &attr);
	if (!err && attr.kind == COP_SYMLINK) {
		err = cop_readlink(object, NULL, 0, &bytes);
		if (!err)
			err = cop_readlink(object, text_room(&target, bytes), bytes, &bytes);
		if (!err) {
			target.bytes += bytes;
			target.data[bytes] = '\0';
			err = locate_parent(parent, target.data, &next);
		}
		if (!err) {
			forget(destination);
			destination->directory = next.directory;
			destination->name = next.name;
			*out_followed = true;
		}
	}
	text_fini(&target);
	cop_release(object);
	return err;
}

static int
locate_name(struct sink *sink, const char *path, struct destination *destination)
{
	bool followed = !sink->recursive;
	int err = locate_parent(sink->root, path, destination);

	for (int i = 0; !err && followed; i++) {
		err = i < SYMLINKS_MAX ? follow(destination, &followed)
				       : fail(COP_ELOOP, "too many symbolic links");
	}
	if (err)
		forget(destination);
	return err;
}

static int
locate(struct sink *sink, const struct address *address, struct destination *out)
{
	struct destination destination = { 0 };
	struct cop_attr attr = COP_INIT(attr);
	struct cop_object *object = NULL;
	int err = cop_walk(sink->root, address->path, 0, &object);

	if (!err)
		err = cop_stat(object, &attr);
	else if (err == COP_ENOENT)
		err = 0;
	if (!err && object && attr.kind == COP_DIRECTORY) {
		destination.directory = wrap(TAKE(object));
	} else if (!err) {
		destination.wants_directory = path_ends_in_slash(address->path);
		if (object && destination.wants_directory)
			err = fail(COP_ENOTDIR, "not a directory");
		else
			err = locate_name(sink, address->path, &destination);
	}
	cop_release(object);
	if (err)
		return err;
	destination.path = address_with_path(address, address->path);
	*out = destination;
	return 0;
}

static int
find(struct sink *sink, struct sink_directory *directory, const char *name, size_t name_bytes,
	struct item *out_item)
{
	struct cop_attr attr = COP_INIT(attr);
	struct cop_object *object;
	int err = cop_lookup(directory->self.object, name, name_bytes, &object);

	(void)sink;
	if (err)
		return err;
	err = cop_stat(object, &attr);
	if (!err) {
		*out_item = (struct item){
			.kind = attr.kind,
			.mode = attr.mode,
			.uid = attr.uid,
			.gid = attr.gid,
			.links = attr.links,
			.length = attr.length,
			.modified_ns = attr.modified_ns,
			.space = (uint64_t)(uintptr_t)cop_volume_of(object),
			.number = attr.id,
		};
	}
	cop_release(object);
	return err;
}

static struct cop_new
new_of(const struct item *item)
{
	struct cop_new new = COP_INIT(new);

	new.kind = item->kind;
	new.mode = item->mode;
	new.uid = item->uid;
	new.gid = item->gid;
	new.device = item->device;
	return new;
}

static int
begin(struct sink *sink, struct sink_directory *directory, const struct item *item,
	const struct text *target, struct sink_file *out_file)
{
	struct cop_new new = new_of(item);
	struct sink_file file = { .kind = item->kind, .fd = -1 };
	int err;

	(void)sink;
	if (item->kind == COP_SYMLINK) {
		new.target = text_string(target);
		new.target_bytes = target->bytes;
	}
	err = cop_allocate(directory->self.object, &new, &file.object);
	if (!err)
		*out_file = file;
	return err;
}

static int
write_content(struct sink_file *file, uint64_t offset, const void *buffer, size_t bytes)
{
	size_t done = 0;

	while (done < bytes) {
		size_t put = 0;
		int err = cop_write(file->object, offset + done, (const char *)buffer + done,
			bytes - done, &put);

		if (err)
			return err;
		assert(put > 0);
		done += put;
	}
	return 0;
}

static int
set_length(struct sink_file *file, uint64_t length)
{
	return cop_set_length(file->object, length);
}

static int
xattr_set(struct sink *sink, struct sink_file *file, const char *name, const struct text *value)
{
	(void)sink;
	return cop_xattr_set(file->object, name, text_string(value), value->bytes, 0);
}

static int
set_attributes(struct cop_object *object, const struct item *item, uint32_t mask)
{
	struct cop_attr attr = COP_INIT(attr);

	attr.mode = item->mode;
	attr.uid = item->uid;
	attr.gid = item->gid;
	attr.accessed_ns = item->accessed_ns;
	attr.modified_ns = item->modified_ns;
	attr.created_ns = item->created_ns;
	mask |= COP_SET_ACCESSED | COP_SET_MODIFIED;
	if (item->created_ns != 0)
		mask |= COP_SET_CREATED;
	return cop_set_attr(object, &attr, mask);
}

/* Links the object under a hidden name that nobody has. */
static int
link_hidden(struct cop_object *object, struct cop_object *directory, char *out_name)
{
	int err = COP_EEXIST;

	for (int i = 0; i < TEMPORARY_TRIES && err == COP_EEXIST; i++) {
		(void)snprintf(out_name, TEMPORARY_BYTES, ".coppice-%ld-%d", (long)getpid(), i);
		err = cop_link(object, directory, out_name, strlen(out_name));
	}
	return err;
}

static int
name_object(struct cop_object *object, struct cop_object *directory, const char *name,
	size_t name_bytes, bool replaces)
{
	char hidden[TEMPORARY_BYTES];
	int err;

	if (!replaces)
		return cop_link(object, directory, name, name_bytes);
	err = link_hidden(object, directory, hidden);
	if (err)
		return err;
	err = cop_rename(directory, hidden, strlen(hidden), directory, name, name_bytes, 0);
	if (err && cop_unlink(directory, hidden, strlen(hidden), COP_UNLINK_FILE) != 0)
		err = fail_in(err, "the file stays under the name %s", hidden);
	return err;
}

static void
abandon(struct sink_file *file)
{
	cop_release(file->object);
	file->object = NULL;
}

static int
finish(struct sink *sink, struct sink_file *file, struct sink_directory *directory,
	const char *name, size_t name_bytes, const struct item *item, bool replaces)
{
	int err = sink->preserve ? set_attributes(file->object, item, 0) : 0;

	if (!err)
		err = name_object(file->object, directory->self.object, name, name_bytes, replaces);
	abandon(file);
	return err;
}

static int
link_again(struct sink *sink, const struct idset_row *row, struct sink_directory *directory,
	const char *name, size_t name_bytes, bool replaces)
{
	struct cop_object *object;
	int err = cop_get(directory->self.object, row->copy_number, &object);

	(void)sink;
	if (err)
		return err;
	err = name_object(object, directory->self.object, name, name_bytes, replaces);
	cop_release(object);
	return err;
}

static int
make_directory(struct sink *sink, struct sink_directory *directory, const char *name,
	size_t name_bytes, const struct item *item)
{
	struct cop_new new = new_of(item);

	(void)sink;
	return cop_create(directory->self.object, name, name_bytes, &new, NULL);
}

static int
enter(struct sink *sink, struct sink_directory *directory, const char *name, size_t name_bytes,
	struct sink_directory **out_directory)
{
	struct cop_object *object;
	int err = cop_lookup(directory->self.object, name, name_bytes, &object);

	(void)sink;
	if (!err)
		*out_directory = wrap(object);
	return err;
}

static int
again(struct sink_directory *directory, struct sink_directory **out_directory)
{
	*out_directory = wrap(cop_hold(directory->self.object));
	return 0;
}

static int
finish_directory(struct sink *sink, struct sink_directory *directory, const struct item *item)
{
	if (!sink->preserve)
		return 0;
	return set_attributes(
		directory->self.object, item, COP_SET_MODE | COP_SET_UID | COP_SET_GID);
}

static void
leave(struct sink_directory *directory)
{
	abandon(&directory->self);
	free(directory);
}

const struct sink_ops sink_volume = {
	.locate = locate,
	.find = find,
	.begin = begin,
	.write = write_content,
	.set_length = set_length,
	.xattr_set = xattr_set,
	.finish = finish,
	.abandon = abandon,
	.link = link_again,
	.make_directory = make_directory,
	.enter = enter,
	.again = again,
	.finish_directory = finish_directory,
	.leave = leave,
};
