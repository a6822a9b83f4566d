/*
 * The end of orphans: objects without links that somebody held when they lost the last one. A key
 * under object number 0 names each; the last release, or the next opening for writing, removes it.
 * What is large about it goes in steps: its content tree is handed to a job, its attributes are
 * deleted some at a time.
 */

#include "object/reclaim.h"
#include "object/content_internal.h"
#include "object/pages_internal.h"

bool
reclaim_is_on_reserve(struct cop_volume *volume)
{
	return space_available_blocks(volume_space(volume->volume)) == 0;
}

/* Removes some of the belongings, or, when there are few, the object. */
static int
reclaim_orphan_step(struct operation *op, struct cop_object *object, size_t *max, bool *out_done)
{
	struct belongings belongings = { 0 };
	uint8_t key[ORPHAN_KEY_BYTES];
	struct loaded loaded;
	struct tx *tx = NULL;
	uint64_t job = 0;
	bool is_last;
	int err;

	err = record_load(object, &loaded);
	if (err || loaded.record.links > 0) {
		*out_done = true; /* it is gone already, or has a name again */
		return err;
	}
	err = removal_collect(object, *max, &belongings);
	is_last = !belongings.more;
	if (err == 0)
		err = tx_begin(op->volume->volume, &op->visit, true, &tx);
	if (err)
		goto out;
	if (is_last) {
		err = removal_put(tx, object, &loaded.record, &belongings, &job);
		if (err == 0)
			err = tx_delete(tx, objects_name(object->branch),
				record_orphan_key(key, object->id));
	} else {
		err = removal_delete(tx, object, &belongings);
	}
	if (err == 0)
		err = change_commit(op, TAKE(tx));
	if (err == 0 && job != 0)
		job_leave(op, NULL, job);
	if (err == 0)
		*out_done = is_last;

out:
	tx_abort(tx);
	extents_free(&belongings.extents);
	return err;
}

void
reclaim_orphan(struct cop_object *object)
{
	struct err_note before;
	struct operation op;
	size_t max = BELONGINGS_MAX;
	bool done = false;
	int err;

	err_keep(&before);
	err = change_begin(&op, object->volume, &object, 1);
	if (err) {
		err_put_back(&before);
		return;
	}
	pages_discard(object);
	while (err == 0 && !done) {
		err = reclaim_orphan_step(&op, object, &max, &done);
		if (err == COP_ENOSPC && max > 1) {
			max /= 2;
			err = 0;
		}
	}
	change_end(&op);
	err_put_back(&before); /* nobody is to hear it; the orphan key stays for the next opening */
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
		err = tree_scan(
			volume->objects, record_orphan_key(key, from), 0, find_orphan, &finder);
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
	orphans_reclaim_all(volume);
	jobs_wake(volume);
}
