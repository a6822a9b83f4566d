/*
 * The end of objects.
 *
 * An object that has lost its last link is removed by the transaction that took the link, if nobody
 * holds it and little hangs on it. Else it becomes an orphan: a key under object number 0 names it,
 * and the last release, or the next opening for writing, removes it. What is large about it goes
 * first, in steps: its content tree is handed to a job, its attributes are deleted some at a time.
 */

#include "object/reclaim.h"
#include "object/content_internal.h"

#include <assert.h>
#include <stdlib.h>

enum {
	BELONGINGS_MAX = 8, /* keys beside the record that one transaction removes */
};

/* Keys of the object tree that belong to an object, beside its record and the root of its tree. */
struct belongings {
	uint64_t id;
	size_t max;
	uint8_t keys[BELONGINGS_MAX][TREE_KEY_BYTES_MAX];
	size_t bytes[BELONGINGS_MAX];
	size_t count;
	struct extents extents; /* of large attributes among them */
	bool more;
	int err;
};

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

static int
belongings_collect(struct cop_object *object, size_t max, struct belongings *belongings)
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

static int
belongings_delete(
	struct tx *tx, const struct cop_object *object, const struct belongings *belongings)
{
	int err = 0;

	for (size_t i = 0; err == 0 && i < belongings->count; i++)
		err = tx_delete(tx, objects_name(object->branch),
			view_of(belongings->keys[i], belongings->bytes[i]));
	return err ? err : data_release(tx, &belongings->extents);
}

/* ---- Removal -------------------------------------------------------------------------------- */

static int
tree_levels(struct cop_object *object, uint8_t *out_levels)
{
	struct tree *tree;
	int err = handle_tree(object, &tree);

	if (err)
		return err;
	tree->env->hooks->enter(tree->env->context);
	*out_levels = tree->root.levels;
	tree->env->hooks->leave(tree->env->context);
	return 0;
}

/* Frees the content in the transaction, or hands it to job `number`; *out_has_job says which. */
static int
put_content_removal(struct tx *tx, struct cop_object *object, const struct record *record,
	uint64_t number, bool *out_has_job)
{
	struct extents extents = { 0 };
	struct reader r;
	uint8_t levels;
	int err;

	*out_has_job = false;
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
	err = tree_levels(object, &levels);
	if (err || levels == 0)
		return err;
	*out_has_job = true;
	return job_put_dismantle(tx, object, number);
}

/* Everything of an object that has no more than these belongings. */
static int
put_removal(struct tx *tx, struct cop_object *object, const struct record *record,
	const struct belongings *belongings, uint64_t number, bool *out_has_job)
{
	uint8_t key[OBJECT_KEY_BYTES];
	int err = put_content_removal(tx, object, record, number, out_has_job);

	if (err == 0)
		err = belongings_delete(tx, object, belongings);
	if (err == 0)
		err = tx_delete(
			tx, objects_name(object->branch), object_key(key, object->id, KEY_RECORD));
	tx_count_objects(tx, -1);
	return err;
}

/* ---- Losing a link -------------------------------------------------------------------------- */

static bool
claim_removal(struct cop_object *object)
{
	bool is_mine;

	mutex_lock(&object->volume->lock);
	is_mine = object->refs == 1 && !object->is_going;
	if (is_mine)
		object->is_going = true;
	mutex_unlock(&object->volume->lock);
	return is_mine;
}

int
drop_begin_kept(struct tx *tx, struct cop_object *object, const struct record *record,
	struct drop *out_drop)
{
	uint8_t key[ORPHAN_KEY_BYTES];
	int err = 0;

	*out_drop = (struct drop){ .object = object, .is_orphan = record->links == 0 };
	if (out_drop->is_orphan)
		err = tx_put(tx, objects_name(object->branch), orphan_key(key, object->id),
			view_of(NULL, 0));
	return err ? err : record_put(tx, object->branch, object->id, record);
}

int
drop_begin(struct operation *op, struct tx *tx, struct cop_object *object,
	const struct record *record, struct drop *out_drop)
{
	struct drop *drop = out_drop;
	struct belongings belongings;
	int err;

	if (record->links > 0 || record->trim_end != 0 || !claim_removal(object))
		return drop_begin_kept(tx, object, record, drop);

	*drop = (struct drop){ .object = object, .is_removed = true };
	job_claim_new(op->volume, &drop->claim);
	err = belongings_collect(object, BELONGINGS_MAX, &belongings);
	if (err == 0 && belongings.more) {
		extents_free(&belongings.extents);
		drop_end(op, drop, false);
		return drop_begin_kept(tx, object, record, drop);
	}
	if (err == 0)
		err = put_removal(
			tx, object, record, &belongings, drop->claim.number, &drop->has_job);
	extents_free(&belongings.extents);
	if (err)
		drop_end(op, drop, false);
	return err;
}

void
drop_end(struct operation *op, struct drop *drop, bool committed)
{
	struct cop_object *object = drop->object;
	struct cop_volume *volume = op->volume;

	mutex_lock(&volume->lock);
	if (drop->is_orphan && committed)
		object->is_orphan = true;
	if (drop->is_removed) {
		object->is_removed = committed;
		object->is_going = false;
		condition_wake_all(&volume->changed);
	}
	mutex_unlock(&volume->lock);
	if (!drop->is_removed)
		return;

	/* If it fails the job stays, for cop_poll() or the next opening: the link is gone. */
	if (committed && drop->has_job && job_run_dismantle(op, drop->claim.number) != 0)
		err_clear();
	job_unclaim(volume, &drop->claim);
}

/* ---- Orphans -------------------------------------------------------------------------------- */

/* Removes some of the belongings, or, when there are few, the object. */
static int
reclaim_orphan_step(struct operation *op, struct cop_object *object, size_t *max, bool *out_done)
{
	struct cop_volume *volume = op->volume;
	struct belongings belongings = { 0 };
	uint8_t key[ORPHAN_KEY_BYTES];
	struct job_claim claim;
	struct loaded loaded;
	struct tx *tx = NULL;
	bool has_job = false;
	bool is_last;
	int err;

	err = record_load(object, &loaded);
	if (err == 0 && loaded.record.links == 0 && loaded.record.trim_end != 0) {
		err = trim_finish(op, object);
		if (err == 0)
			err = record_load(object, &loaded);
	}
	if (err || loaded.record.links > 0) {
		*out_done = true; /* it is gone already, or has a name again */
		return err;
	}
	job_claim_new(volume, &claim);
	err = belongings_collect(object, *max, &belongings);
	is_last = !belongings.more;
	if (err == 0)
		err = tx_begin(volume->volume, &op->visit, true, &tx);
	if (err)
		goto out;
	if (is_last) {
		err = put_removal(tx, object, &loaded.record, &belongings, claim.number, &has_job);
		if (err == 0)
			err = tx_delete(
				tx, objects_name(object->branch), orphan_key(key, object->id));
	} else {
		err = belongings_delete(tx, object, &belongings);
	}
	if (err == 0)
		err = change_commit(op, TAKE(tx));
	if (err == 0 && has_job)
		err = job_run_dismantle(op, claim.number);
	if (err == 0)
		*out_done = is_last;

out:
	tx_abort(tx);
	extents_free(&belongings.extents);
	job_unclaim(volume, &claim);
	return err;
}

void
reclaim_orphan(struct cop_object *object)
{
	struct operation op;
	size_t max = BELONGINGS_MAX;
	bool done = false;
	int err = change_begin(&op, object->volume, &object, 1);

	if (err)
		return;
	while (err == 0 && !done) {
		err = reclaim_orphan_step(&op, object, &max, &done);
		if (err == COP_ENOSPC && max > 1) {
			max /= 2;
			err = 0;
		}
	}
	change_end(&op);
	err_clear(); /* nobody is there to hear it; the orphan key stays for the next opening */
}

struct orphan_finder {
	uint64_t id;
	bool is_found;
};

static bool
find_orphan(void *context, struct view key, struct view value)
{
	struct orphan_finder *finder = context;

	(void)value;
	if (key.bytes != ORPHAN_KEY_BYTES || get_be64(key.data) != OBJECT_NONE ||
		key.data[8] != KEY_ORPHAN)
		return false;
	finder->id = get_be64(key.data + OBJECT_KEY_BYTES);
	finder->is_found = true;
	return false;
}

static void
orphans_reclaim_all(struct cop_volume *volume)
{
	uint64_t from = 0;

	for (;;) {
		struct orphan_finder finder = { 0 };
		struct cop_object *object = NULL;
		uint8_t key[ORPHAN_KEY_BYTES];
		struct operation op;
		int err;

		operation_begin(&op, volume);
		err = tree_scan(volume->objects, orphan_key(key, from), 0, find_orphan, &finder);
		if (err == 0 && finder.is_found)
			err = handle_open(&op, BRANCH_MAIN, finder.id, &object);
		operation_end(&op);
		if (!finder.is_found || finder.id == UINT64_MAX)
			break;
		cop_release(object); /* the last one: it has no links */
		from = finder.id + 1;
	}
	err_clear();
}

void
reclaim_after_open(struct cop_volume *volume)
{
	jobs_run_all(volume);
	orphans_reclaim_all(volume);
}
