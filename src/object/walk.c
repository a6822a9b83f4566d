/*
 * Paths and symbolic links. A path is walked step by step, without recursion: a symbolic link puts
 * its target in front of what is left of the path.
 */

#include "object/directory.h"

#include <stdlib.h>

enum {
	SYMLINKS_MAX = 40,
	TARGET_BYTES_MAX = 65536, /* of a link that is followed */
};

/* ---- Reading a link -------------------------------------------------------------------------- */

/* The whole target of a link with that record into `buffer`, which has room for record->length. */
static int
read_target(struct operation *op, const struct record *record, void *buffer)
{
	struct extents extents = { 0 };
	struct reader r = reader_over(record->content.data, record->content.bytes);
	int err = 0;

	if (record->form == COP_FORM_INLINE) {
		if (record->content.bytes != record->length)
			return fail(COP_EFORMAT, "a link of %" PRIu64 " bytes has %zu",
				record->length, record->content.bytes);
		memcpy(buffer, record->content.data, record->content.bytes);
		return 0;
	}
	if (record->form != COP_FORM_EXTENTS)
		return fail(COP_EFORMAT, "a link without a target");
	while (r.at < r.bytes && err == 0) {
		struct extent extent;

		err = extent_decode_listed(&r, &extent);
		if (err == 0)
			err = extents_add(&extents, &extent);
	}
	if (err == 0)
		err = data_fetch(op, &extents, 0, buffer, record->length);
	extents_free(&extents);
	return err;
}

static int
load_link(struct cop_object *object, struct loaded *loaded)
{
	int err;

	if (object->kind != COP_SYMLINK)
		return fail(COP_EINVAL, "object %" PRIu64 " is not a symbolic link", object->id);
	err = record_load(object, loaded);
	if (err == 0 && loaded->record.length > TARGET_BYTES_MAX)
		err = fail(COP_EFORMAT, "a link of %" PRIu64 " bytes", loaded->record.length);
	return err;
}

static int
readlink_once(struct operation *op, struct cop_object *object, char *buffer, size_t bytes,
	size_t *out_bytes)
{
	struct loaded loaded;
	int err = load_link(object, &loaded);

	if (err)
		return fail_in(err, "object %" PRIu64, object->id);
	if (bytes != 0) {
		if (bytes < loaded.record.length)
			return fail(COP_ERANGE, "a link of %" PRIu64 " bytes, a buffer of %zu",
				loaded.record.length, bytes);
		err = read_target(op, &loaded.record, buffer);
		if (err)
			return fail_in(err, "object %" PRIu64, object->id);
	}
	*out_bytes = loaded.record.length;
	return 0;
}

int
cop_readlink(struct cop_object *object, char *buffer, size_t bytes, size_t *out_bytes)
{
	struct operation op;
	size_t have;
	int err;

	operation_begin(&op, object->volume);
	do
		err = readlink_once(&op, object, buffer, bytes, &have);
	while (operation_again(&op, &err));
	operation_end(&op);
	if (err == 0)
		*out_bytes = have;
	return err;
}

/* ---- Walking --------------------------------------------------------------------------------- */

struct walk {
	struct cop_object *at; /* held */
	char *rest;            /* owned: what is left of the path */
	size_t next;           /* in `rest` */
	uint32_t links;        /* followed so far */
	uint32_t flags;
};

/* The next component; empty at the end. *out_last: nothing but slashes follows it. */
static struct view
next_component(struct walk *walk, bool *out_last)
{
	const char *path = walk->rest + walk->next;
	size_t skip = strspn(path, "/");
	size_t bytes = strcspn(path + skip, "/");
	struct view component = view_of(path + skip, bytes);

	walk->next += skip + bytes;
	*out_last = strspn(walk->rest + walk->next, "/") == strlen(walk->rest + walk->next);
	return component;
}

static bool
view_is(struct view view, const char *text)
{
	return view_equal(view, view_of(text, strlen(text)));
}

static void
walk_move(struct walk *walk, struct cop_object *to)
{
	cop_release(walk->at);
	walk->at = to;
}

static int
walk_up(struct walk *walk)
{
	struct cop_attr attr = COP_INIT(attr);
	struct cop_object *parent;
	int err;

	if (walk->at->kind != COP_DIRECTORY)
		return fail(COP_ENOTDIR, "not a directory");
	if (walk->at->id == OBJECT_ROOT)
		return 0;
	err = cop_stat(walk->at, &attr);
	if (err == 0)
		err = cop_get(walk->at, attr.parent, &parent);
	if (err)
		return err;
	walk_move(walk, parent);
	return 0;
}

/* Puts the target of `link`, which lies in walk->at, in front of what is left. */
static int
walk_follow(struct walk *walk, struct cop_object *link)
{
	size_t rest_bytes = strlen(walk->rest + walk->next);
	struct cop_object *root;
	char *path;
	size_t bytes;
	int err;

	if (++walk->links > SYMLINKS_MAX)
		return fail(COP_ELOOP, "more than %d symbolic links", SYMLINKS_MAX);
	err = cop_readlink(link, NULL, 0, &bytes);
	if (err)
		return err;
	path = malloc(bytes + rest_bytes + 1);
	if (!path)
		return fail(COP_ENOMEM, "path");
	err = bytes == 0 ? fail(COP_ENOENT, "an empty symbolic link") : 0;
	if (err == 0)
		err = cop_readlink(link, path, bytes, &bytes);
	if (err) {
		free(path);
		return err;
	}
	memcpy(path + bytes, walk->rest + walk->next, rest_bytes + 1);
	free(walk->rest);
	walk->rest = path;
	walk->next = 0;
	if (path[0] != '/')
		return 0;
	err = cop_root(walk->at->volume, NULL, &root);
	if (err)
		return err;
	walk_move(walk, root);
	return 0;
}

static int
walk_step(struct walk *walk, struct view name, bool is_last)
{
	bool slash_follows = walk->rest[walk->next] == '/';
	struct cop_object *found;
	int err;

	if (view_is(name, "."))
		return walk->at->kind == COP_DIRECTORY ? 0 : fail(COP_ENOTDIR, "not a directory");
	if (view_is(name, ".."))
		return walk_up(walk);
	err = cop_lookup(walk->at, (const char *)name.data, name.bytes, &found);
	if (err)
		return err;
	if (found->kind == COP_SYMLINK &&
		(!is_last || slash_follows || !(walk->flags & COP_WALK_NOFOLLOW))) {
		err = walk_follow(walk, found);
		cop_release(found);
		return err;
	}
	if (found->kind != COP_DIRECTORY && (!is_last || slash_follows)) {
		cop_release(found);
		return fail(COP_ENOTDIR, "not a directory");
	}
	walk_move(walk, found);
	return 0;
}

int
cop_walk(struct cop_object *start, const char *path, uint32_t flags, struct cop_object **out_object)
{
	struct walk walk = { .flags = flags };
	bool is_last = false;
	int err = 0;

	walk.rest = strdup(path);
	if (!walk.rest)
		return fail(COP_ENOMEM, "path");
	if (path[0] == '/')
		err = cop_root(start->volume, NULL, &walk.at);
	else
		walk.at = cop_hold(start);
	while (err == 0) {
		struct view name = next_component(&walk, &is_last);

		if (name.bytes == 0)
			break;
		err = walk_step(&walk, name, is_last);
	}
	free(walk.rest);
	if (err) {
		cop_release(walk.at);
		return err;
	}
	*out_object = walk.at;
	return 0;
}
