/* Everything that belongs to an object, and taking it away. */

#include "object/content_internal.h"
#include "object/reclaim.h"

#include <assert.h>

static bool
collect_belonging(void *context, struct view key, struct view value)
{
	struct belongings *belongings = context;
	struct extents extents = { 0 };
	uint32_t bytes;

	if (key.bytes < OBJECT_KEY_BYTES || get_be64(key.data) != belongings->id)
		return false;
	if (belongings->count == belongings->max) {
		belongings->more = true;
		return false;
	}
	if (key.data[8] == KEY_XATTR_BLOB) {
		belongings->err = blob_decode(value, &bytes, &extents);
		for (size_t i = 0; belongings->err == 0 && i < extents.count; i++)
			belongings->err = extents_add(&belongings->extents, &extents.list[i]);
		extents_free(&extents);
		if (belongings->err)
			return false;
	}
	memcpy(belongings->keys[belongings->count], key.data, key.bytes);
	belongings->bytes[belongings->count++] = key.bytes;
	return true;
}

int
removal_collect(struct cop_object *object, size_t max, struct belongings *belongings)
{
	uint8_t key[OBJECT_KEY_BYTES];
	int err;

	assert(max <= BELONGINGS_MAX);
	belongings->id = object->id;
	belongings->max = max;
	belongings->count = 0;
	belongings->extents = (struct extents){ 0 };
	belongings->more = false;
	belongings->err = 0;
	err = tree_scan(object->volume->objects, object_key(key, object->id, KEY_XATTR), 0,
		collect_belonging, belongings);
	return err ? err : belongings->err;
}

int
removal_delete(struct tx *tx, const struct cop_object *object, const struct belongings *belongings)
{
	int err = 0;

	for (size_t i = 0; err == 0 && i < belongings->count; i++)
		err = tx_delete(tx, objects_name(object->branch),
			view_of(belongings->keys[i], belongings->bytes[i]));
	return err ? err : data_release(tx, &belongings->extents);
}

/* Frees the content in the transaction, or hands it to a job; *out_job is 0 or its number. */
static int
put_content_removal(
	struct tx *tx, struct cop_object *object, const struct record *record, uint64_t *out_job)
{
	struct extents extents = { 0 };
	struct reader r;
	uint8_t levels;
	int err;

	*out_job = 0;
	if (record->form == COP_FORM_EXTENTS) {
		r = reader_over(record->content.data, record->content.bytes);
		err = extents_decode(&r, &extents);
		if (err == 0)
			err = data_release(tx, &extents);
		extents_free(&extents);
		return err;
	}
	if (record->form != COP_FORM_TREE)
		return 0;
	err = handle_tree_levels(object, &levels);
	if (err || (levels == 0 && record->trim_job == 0))
		return err;
	err = job_number_for(object, record, out_job);
	return err ? err : job_put_dismantle(tx, object, *out_job);
}

/* Everything of an object that has no more than these belongings. */
int
removal_put(struct tx *tx, struct cop_object *object, const struct record *record,
	const struct belongings *belongings, uint64_t *out_job)
{
	uint8_t key[OBJECT_KEY_BYTES];
	int err = put_content_removal(tx, object, record, out_job);

	if (err == 0)
		err = removal_delete(tx, object, belongings);
	if (err == 0)
		err = tx_delete(
			tx, objects_name(object->branch), object_key(key, object->id, KEY_RECORD));
	tx_count_objects(tx, -1);
	return err;
}
