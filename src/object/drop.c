/*
 * Losing a link. The transaction that takes an object's last link removes the object as well, if
 * nobody holds it and little hangs on it; else it makes it an orphan.
 */

#include "object/pages_internal.h"
#include "object/reclaim.h"

static bool
claim_removal(struct cop_object *object)
{
	bool is_mine;

	mutex_lock(&object->volume->lock);
	is_mine = handle_is_last_locked(object) && !object->is_going;
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
		err = tx_put(tx, objects_name(object->branch), record_orphan_key(key, object->id),
			view_of(NULL, 0));
	return err ? err : record_put(tx, object->branch, object->id, record);
}

int
drop_begin(struct operation *op, struct tx *tx, struct cop_object *object,
	const struct record *record, struct drop *out_drop)
{
	struct drop *drop = out_drop;
	/* The reserve covers one of them; an orphan loses the others in steps. */
	size_t max = reclaim_is_on_reserve(op->volume) ? 1 : BELONGINGS_MAX;
	struct belongings belongings;
	int err;

	if (record->links > 0 || !claim_removal(object))
		return drop_begin_kept(tx, object, record, drop);

	*drop = (struct drop){ .object = object, .is_removed = true };
	err = removal_collect(object, max, &belongings);
	if (err == 0 && belongings.more) {
		extents_free(&belongings.extents);
		drop_end(op, drop, false);
		return drop_begin_kept(tx, object, record, drop);
	}
	if (err == 0)
		err = removal_put(tx, object, record, &belongings, &drop->job);
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
	if (drop->is_removed && committed)
		pages_discard(object);
	if (committed && drop->job != 0)
		job_leave(op, NULL, drop->job);
}
