/* Readers beside changes. */

#include "object/object_internal.h"

#include <assert.h>

enum { READING_TRIES = 2 }; /* before a reader waits for its turn */

void
reading_begin(struct reading *reading, struct operation *op, struct cop_object *object)
{
	*reading = (struct reading){
		.op = op,
		.object = object,
		.version = cached_version(&object->cached),
	};
}

static void
reading_take_turn(struct reading *reading)
{
	struct cop_volume *volume = reading->op->volume;

	/* The change that it waits for may need what this visit keeps from being reused. */
	volume_leave(volume->volume, &reading->op->visit);
	mutex_lock(&volume->lock);
	reading->ticket = queue_take_locked(reading->object);
	queue_wait_locked(reading->object, reading->ticket);
	mutex_unlock(&volume->lock);
	volume_enter(volume->volume, &reading->op->visit);
	reading->has_turn = true;
}

bool
reading_again(struct reading *reading, int err)
{
	struct cop_volume *volume = reading->op->volume;

	if (reading->has_turn) {
		mutex_lock(&volume->lock);
		queue_leave_locked(reading->object);
		mutex_unlock(&volume->lock);
		reading->has_turn = false;
		return false;
	}
	/* A change moves it in the hold of the gate in which it is applied: who reads what was
	 * changed has waited for that hold, and sees it moved. */
	if (cached_version(&reading->object->cached) == reading->version)
		return false;
	/* An operation that has the object's turn itself reads what it changes. */
	if (operation_has(reading->op, reading->object))
		return false;
	assert(reading->op->count == 0); /* who has turns must not wait for another one */
	if (err)
		err_clear();
	reading->tries++;
	if (reading->tries >= READING_TRIES)
		reading_take_turn(reading);
	else
		reading->version = cached_version(&reading->object->cached);
	return true;
}
