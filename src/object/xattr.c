/*
 * Extended attributes: keys of their own beside the object's record, {object, KEY_XATTR, be64 hash
 * of the name, name}. A value that does not fit an entry of the tree lies in blocks, and its
 * extents are under {object, KEY_XATTR_BLOB, ...}. A name is under one of the two, never under
 * both.
 */

#include "object/directory_format.h"
#include "object/object_internal.h"

#include <stdlib.h>

enum {
	XATTR_KEY_BYTES_MAX = OBJECT_KEY_BYTES + 8 + COP_NAME_BYTES_MAX,
	XATTR_NAME_AT = OBJECT_KEY_BYTES + 8,
	BLOB_BYTES_MAX = TREE_NODE_BYTES_MAX / 4,
};

struct xattr_key {
	uint8_t bytes[XATTR_KEY_BYTES_MAX];
	size_t count;
};

static struct view
xattr_key(struct xattr_key *out, const struct cop_object *object, enum object_key type,
	struct view name)
{
	(void)object_key(out->bytes, object->id, type);
	put_be64(out->bytes + OBJECT_KEY_BYTES,
		name_hash(name, volume_name_seed(object->volume->volume)));
	memcpy(out->bytes + XATTR_NAME_AT, name.data, name.bytes);
	out->count = XATTR_NAME_AT + name.bytes;
	return view_of(out->bytes, out->count);
}

static int
xattr_name(const char *name, struct view *out_name)
{
	size_t bytes = strlen(name);

	if (bytes == 0)
		return fail(COP_EINVAL, "an attribute without a name");
	if (bytes > COP_NAME_BYTES_MAX)
		return fail(COP_ENAMETOOLONG, "an attribute name of %zu bytes; the most is %d",
			bytes, COP_NAME_BYTES_MAX);
	*out_name = view_of(name, bytes);
	return 0;
}

/* What is stored for a name: a value in the tree, or extents. */
struct stored {
	bool is_blob;
	uint8_t value[BLOB_BYTES_MAX];
	size_t bytes;
	uint32_t blob_bytes;
	struct extents extents;
};

static int
stored_load(struct cop_object *object, struct view name, struct stored *out)
{
	struct xattr_key key;
	int err;

	*out = (struct stored){ 0 };
	err = tree_get(object->volume->objects, xattr_key(&key, object, KEY_XATTR, name),
		out->value, sizeof out->value, &out->bytes);
	if (err == COP_ENOENT) {
		out->is_blob = true;
		err = tree_get(object->volume->objects,
			xattr_key(&key, object, KEY_XATTR_BLOB, name), out->value,
			sizeof out->value, &out->bytes);
	}
	if (err == COP_ENOENT)
		return fail(COP_ENODATA, "no such attribute");
	if (err == 0 && out->is_blob)
		err = blob_decode(view_of(out->value, out->bytes), &out->blob_bytes, &out->extents);
	if (err)
		return fail_in(err, "object %" PRIu64 ", attribute", object->id);
	err_clear();
	return 0;
}

/* ---- Get ------------------------------------------------------------------------------------- */

static int
get_once(struct operation *op, struct cop_object *object, struct view name, void *buffer,
	size_t bytes, size_t *out_bytes)
{
	struct stored stored;
	size_t have;
	int err = stored_load(object, name, &stored);

	if (err)
		return err;
	have = stored.is_blob ? stored.blob_bytes : stored.bytes;
	if (bytes != 0 && bytes < have)
		err = fail(COP_ERANGE, "an attribute of %zu bytes, a buffer of %zu", have, bytes);
	else if (bytes != 0 && stored.is_blob)
		err = data_fetch(op, &stored.extents, 0, buffer, have);
	else if (bytes != 0 && have > 0)
		memcpy(buffer, stored.value, have);
	extents_free(&stored.extents);
	if (err)
		return err;
	*out_bytes = have;
	return 0;
}

int
cop_xattr_get(
	struct cop_object *object, const char *name, void *buffer, size_t bytes, size_t *out_bytes)
{
	struct operation op;
	struct reading reading;
	struct view view;
	size_t have;
	int err = xattr_name(name, &view);

	if (err)
		return err;
	operation_begin(&op, object->volume);
	do {
		reading_begin(&reading, &op, object);
		do
			err = get_once(&op, object, view, buffer, bytes, &have);
		while (reading_again(&reading, err));
	} while (operation_again(&op, &err));
	operation_end(&op);
	if (err == 0)
		*out_bytes = have;
	return err;
}

/* ---- Set and remove -------------------------------------------------------------------------- */

/* Adds the new value to the transaction: in the tree if it fits there, else in blocks. */
static int
put_value(struct operation *op, struct tx *tx, struct cop_object *object, struct view name,
	struct view value)
{
	uint32_t max = tree_value_bytes_max(volume_node_bytes(object->volume->volume));
	struct extents extents = { 0 };
	struct xattr_key key;
	uint8_t *blob;
	size_t bytes;
	int err;

	if (value.bytes <= max)
		return tx_put(tx, objects_name(object->branch),
			xattr_key(&key, object, KEY_XATTR, name), value);
	err = data_store(op, tx, value.data, value.bytes, &extents);
	if (err)
		return err;
	blob = malloc(BLOB_BYTES_MAX);
	if (!blob) {
		extents_free(&extents);
		return fail(COP_ENOMEM, "attribute");
	}
	bytes = blob_encode((uint32_t)value.bytes, &extents, blob, BLOB_BYTES_MAX);
	extents_free(&extents);
	if (bytes > max)
		err = fail(COP_ENOSPC, "free space is too scattered for an attribute of %zu bytes",
			value.bytes);
	else
		err = tx_put(tx, objects_name(object->branch),
			xattr_key(&key, object, KEY_XATTR_BLOB, name), view_of(blob, bytes));
	free(blob);
	return err;
}

/* Adds the end of the old value to the transaction. */
static int
drop_value(struct tx *tx, struct cop_object *object, struct view name, const struct stored *old)
{
	enum object_key type = old->is_blob ? KEY_XATTR_BLOB : KEY_XATTR;
	struct xattr_key key;
	int err = tx_delete(tx, objects_name(object->branch), xattr_key(&key, object, type, name));

	if (err == 0 && old->is_blob)
		err = data_release(tx, &old->extents);
	return err;
}

/* One transaction: the old value goes, the new one (if `value`) comes, the record's time changes.
 */
static int
replace_value(struct operation *op, struct cop_object *object, struct view name,
	const struct stored *old, const struct view *value)
{
	struct loaded loaded;
	struct tx *tx = NULL;
	int err = record_load(object, &loaded);

	if (err == 0)
		err = tx_begin(op->volume->volume, &op->visit, !value, &tx);
	if (err == 0 && old)
		err = drop_value(tx, object, name, old);
	if (err == 0 && value)
		err = put_value(op, tx, object, name, *value);
	if (err == 0) {
		record_touch(op->volume, &loaded.record, false);
		err = record_put(tx, object->branch, object->id, &loaded.record);
	}
	if (err == 0)
		err = change_commit(op, TAKE(tx));
	tx_abort(tx);
	return err;
}

static int
set_in(struct operation *op, struct cop_object *object, struct view name, struct view value,
	uint32_t flags)
{
	struct stored old;
	int err = stored_load(object, name, &old);

	if (err == COP_ENODATA && !(flags & COP_XATTR_REPLACE)) {
		err_clear();
		return replace_value(op, object, name, NULL, &value);
	}
	if (err)
		return err;
	if (flags & COP_XATTR_CREATE)
		err = fail(COP_EEXIST, "the attribute exists already");
	else
		err = replace_value(op, object, name, &old, &value);
	extents_free(&old.extents);
	return err;
}

int
cop_xattr_set(struct cop_object *object, const char *name, const void *value, size_t bytes,
	uint32_t flags)
{
	struct operation op = { 0 };
	struct view view;
	int err = xattr_name(name, &view);

	if (err)
		return err;
	if (bytes > COP_XATTR_BYTES_MAX)
		return fail(COP_ERANGE, "an attribute of %zu bytes; the most is %d", bytes,
			COP_XATTR_BYTES_MAX);
	while (change_turn(&op, object->volume, &object, 1, &err))
		err = set_in(&op, object, view, view_of(value, bytes), flags);
	return err;
}

int
cop_xattr_remove(struct cop_object *object, const char *name)
{
	struct operation op = { 0 };
	struct stored old;
	struct view view;
	int err = xattr_name(name, &view);

	if (err)
		return err;
	while (change_turn(&op, object->volume, &object, 1, &err)) {
		err = stored_load(object, view, &old);
		if (err == 0) {
			err = replace_value(&op, object, view, &old, NULL);
			extents_free(&old.extents);
		}
	}
	return err;
}

/* ---- List ------------------------------------------------------------------------------------ */

struct xattr_listing {
	uint64_t object;
	enum object_key type;
	char *buffer;
	size_t capacity;
	size_t bytes; /* of all names, whether they fit or not */
};

static bool
visit_xattr(void *context, struct view key, struct view value)
{
	struct xattr_listing *listing = context;
	size_t name_bytes;

	(void)value;
	if (key.bytes <= XATTR_NAME_AT || get_be64(key.data) != listing->object ||
		key.data[OBJECT_KEY_BYTES - 1] != listing->type)
		return false;
	name_bytes = key.bytes - XATTR_NAME_AT;
	if (listing->bytes + name_bytes + 1 <= listing->capacity) {
		memcpy(listing->buffer + listing->bytes, key.data + XATTR_NAME_AT, name_bytes);
		listing->buffer[listing->bytes + name_bytes] = '\0';
	}
	listing->bytes += name_bytes + 1;
	return true;
}

static int
list_type(struct cop_object *object, enum object_key type, struct xattr_listing *listing)
{
	uint8_t from[OBJECT_KEY_BYTES];

	listing->type = type;
	return tree_scan(object->volume->objects, object_key(from, object->id, type), 0,
		visit_xattr, listing);
}

static int
list_once(struct cop_object *object, struct xattr_listing *listing)
{
	int err;

	listing->bytes = 0;
	err = list_type(object, KEY_XATTR, listing);
	return err ? err : list_type(object, KEY_XATTR_BLOB, listing);
}

int
cop_xattr_list(struct cop_object *object, char *buffer, size_t bytes, size_t *out_bytes)
{
	struct xattr_listing listing = {
		.object = object->id,
		.buffer = buffer,
		.capacity = bytes,
	};
	struct operation op;
	struct reading reading;
	int err;

	operation_begin(&op, object->volume);
	do {
		reading_begin(&reading, &op, object);
		do
			err = list_once(object, &listing);
		while (reading_again(&reading, err));
	} while (operation_again(&op, &err));
	operation_end(&op);
	if (err)
		return err;
	if (bytes != 0 && listing.bytes > bytes)
		return fail(COP_ERANGE, "attribute names of %zu bytes, a buffer of %zu",
			listing.bytes, bytes);
	*out_bytes = listing.bytes;
	return 0;
}
