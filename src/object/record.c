#include "object/object_internal.h"

#include <assert.h>

enum { SYMLINK_BYTES_MAX = 65536 };

int
record_load_by_id(struct cop_volume *volume, uint64_t branch, uint64_t id, struct loaded *out)
{
	uint8_t key[OBJECT_KEY_BYTES];
	size_t bytes = 0;
	int err;

	assert(branch == BRANCH_MAIN);
	(void)branch;
	err = tree_get(volume->objects, object_key(key, id, KEY_RECORD), out->value,
		sizeof out->value, &bytes);
	if (err == COP_ENOENT)
		return fail(COP_ENOENT, "no object %" PRIu64, id);
	if (err == COP_ERANGE)
		err = fail(COP_EFORMAT, "object record of %zu bytes", bytes);
	if (err == 0)
		err = record_decode(view_of(out->value, bytes), &out->record);
	if (err == 0 && out->record.content.bytes > volume->content_max)
		err = fail(COP_EFORMAT, "inline content of %zu bytes", out->record.content.bytes);
	if (err)
		return fail_in(err, "object %" PRIu64, id);
	return 0;
}

int
record_load(struct cop_object *object, struct loaded *out)
{
	int err = record_load_by_id(object->volume, object->branch, object->id, out);

	if (err == COP_ENOENT)
		return fail(COP_ESTALE, "object %" PRIu64 " is gone", object->id);
	if (err == 0 && out->record.kind != object->kind)
		return fail(COP_EFORMAT, "object %" PRIu64 " has changed its kind", object->id);
	return err;
}

int
record_put(struct tx *tx, uint64_t branch, uint64_t id, const struct record *record)
{
	uint8_t key[OBJECT_KEY_BYTES];
	uint8_t value[RECORD_BYTES_MAX];
	struct writer w = writer_over(value, sizeof value);

	record_encode(record, &w);
	return tx_put(
		tx, objects_name(branch), object_key(key, id, KEY_RECORD), view_of(value, w.at));
}

void
record_touch(struct cop_volume *volume, struct record *record, bool modified)
{
	int64_t now = volume_now_ns(volume->volume);

	record->changed_ns = now;
	if (modified)
		record->modified_ns = now;
}

struct view
record_orphan_key(uint8_t out[static ORPHAN_KEY_BYTES], uint64_t id)
{
	object_key(out, OBJECT_NONE, KEY_ORPHAN);
	put_be64(out + OBJECT_KEY_BYTES, id);
	return view_of(out, ORPHAN_KEY_BYTES);
}

int
record_links_raised(struct tx *tx, const struct cop_object *object, uint32_t before)
{
	uint8_t key[ORPHAN_KEY_BYTES];

	if (before > 0)
		return 0;
	return tx_delete(tx, objects_name(object->branch), record_orphan_key(key, object->id));
}

/* ---- New objects ----------------------------------------------------------------------------- */

static int
check_new(const struct cop_new *new)
{
	if (new->kind < COP_FILE || new->kind > COP_BLOCK_DEVICE)
		return fail(COP_EINVAL, "no such kind of object: %d", (int)new->kind);
	if (new->mode > 07777)
		return fail(COP_EINVAL, "mode %" PRIo32, new->mode);
	if (new->kind != COP_SYMLINK)
		return 0;
	if (new->target_bytes == 0 || !new->target)
		return fail(COP_ENOENT, "a symlink without a target");
	if (new->target_bytes > SYMLINK_BYTES_MAX)
		return fail(COP_ENAMETOOLONG, "target of %zu bytes", new->target_bytes);
	if (memchr(new->target, 0, new->target_bytes))
		return fail(COP_EINVAL, "a target with a zero byte");
	return 0;
}

/* The extents of a new object: into its record if they fit, else into a content tree. */
static int
put_extents(struct operation *op, struct tx *tx, const struct birth *birth,
	const struct extents *extents, struct record *record, uint8_t *content)
{
	struct tree_name name = {
		.branch = birth->branch,
		.object = birth->id,
		.kind = TREE_CONTENT,
	};
	struct writer w = writer_over(content, op->volume->content_max);
	size_t bytes = 0;
	int err = 0;

	for (size_t i = 0; i < extents->count; i++) {
		bytes += EXTENT_LISTED_BYTES + extent_bytes(&extents->list[i]);
		record->allocated_blocks += extent_stored_blocks(&extents->list[i]);
	}
	if (bytes <= op->volume->content_max) {
		for (size_t i = 0; i < extents->count; i++)
			extent_encode_listed(&extents->list[i], &w);
		record->form = COP_FORM_EXTENTS;
		record->content = view_of(content, w.at);
		return 0;
	}
	record->form = COP_FORM_TREE;
	for (size_t i = 0; err == 0 && i < extents->count; i++) {
		uint8_t key[EXTENT_KEY_BYTES];
		uint8_t value[EXTENT_BYTES_MAX];
		struct writer put = writer_over(value, sizeof value);

		extent_key(extent_last(&extents->list[i]), key);
		extent_encode(&extents->list[i], &put);
		err = tx_put(tx, name, view_of(key, sizeof key), view_of(value, put.at));
	}
	return err;
}

static int
put_target(struct operation *op, struct tx *tx, const struct cop_new *new,
	const struct birth *birth, struct record *record, uint8_t *content)
{
	struct extents extents = { 0 };
	int err;

	record->length = new->target_bytes;
	if (new->target_bytes <= op->volume->content_max) {
		record->form = COP_FORM_INLINE;
		record->content = view_of(new->target, new->target_bytes);
		return 0;
	}
	err = data_store(op, tx, new->target, new->target_bytes, &extents);
	if (err)
		return err;
	err = put_extents(op, tx, birth, &extents, record, content);
	extents_free(&extents);
	return err;
}

int
record_put_new(
	struct operation *op, struct tx *tx, const struct cop_new *new, const struct birth *birth)
{
	uint8_t content[RECORD_CONTENT_MAX];
	uint8_t key[ORPHAN_KEY_BYTES];
	int64_t now = volume_now_ns(op->volume->volume);
	struct record record = {
		.kind = new->kind,
		.form = COP_FORM_NONE,
		.doctype = new->doctype,
		.mode = new->mode,
		.uid = new->uid,
		.gid = new->gid,
		.links = birth->links,
		.created_ns = now,
		.changed_ns = now,
		.modified_ns = now,
		.accessed_ns = now,
		.parent = birth->parent,
		.name = birth->name,
	};
	int err = check_new(new);

	if (err)
		return err;
	if (new->kind == COP_FILE || new->kind == COP_DIRECTORY)
		record.form = COP_FORM_INLINE;
	if (new->kind == COP_CHAR_DEVICE || new->kind == COP_BLOCK_DEVICE)
		record.device = new->device;
	if (new->kind == COP_SYMLINK) {
		err = put_target(op, tx, new, birth, &record, content);
		if (err)
			return err;
	}
	if (birth->links == 0) {
		err = tx_put(tx, objects_name(birth->branch), record_orphan_key(key, birth->id),
			view_of(NULL, 0));
		if (err)
			return err;
	}
	tx_count_objects(tx, 1);
	return record_put(tx, birth->branch, birth->id, &record);
}
