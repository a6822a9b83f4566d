/* Operations that change objects: their turns, and what readers are told. */

#include "object/object_internal.h"
#include "object/reclaim.h"

#include <assert.h>

int
change_begin(struct operation *op, struct cop_volume *volume, struct cop_object *const *objects,
	size_t count)
{
	assert(count <= OPERATION_OBJECTS_MAX);
	if (volume_is_read_only(volume->volume))
		return fail(COP_EROFS, "the volume is open for reading only");

	/* All tickets at one time: whoever waits for another has taken its tickets later on every
	 * object that both want, so nobody waits in a circle. */
	*op = (struct operation){ .volume = volume };
	mutex_lock(&volume->lock);
	for (size_t i = 0; i < count; i++) {
		if (operation_has(op, objects[i]))
			continue;
		op->tickets[op->count] = queue_take_locked(objects[i]);
		op->objects[op->count++] = objects[i];
	}
	for (size_t i = 0; i < op->count; i++)
		queue_wait_locked(op->objects[i], op->tickets[i]);
	mutex_unlock(&volume->lock);
	volume_enter(volume->volume, &op->visit);
	return 0;
}

void
change_end(struct operation *op)
{
	volume_leave(op->volume->volume, &op->visit);
	mutex_lock(&op->volume->lock);
	for (size_t i = 0; i < op->count; i++)
		queue_leave_locked(op->objects[i]);
	mutex_unlock(&op->volume->lock);
}

bool
change_again(struct cop_volume *volume, int err, uint32_t *tries)
{
	struct err_note why;

	if (err != COP_ENOSPC || *tries > 0)
		return false;
	++*tries;
	err_keep(&why);
	if (jobs_run_all(volume))
		return true;
	err_put_back(&why);
	return false;
}

bool
change_turn(struct operation *op, struct cop_volume *volume, struct cop_object *const *objects,
	size_t count, int *err)
{
	uint32_t tries = op->tries;

	if (op->volume) {
		change_end(op);
		if (!change_again(volume, *err, &tries))
			return false;
	}
	*err = change_begin(op, volume, objects, count);
	op->tries = tries;
	return *err == 0;
}

/* Under the exclusive gate: what is read and remembered of these objects is of yesterday. */
static void
note_change(void *context)
{
	struct operation *op = context;

	for (size_t i = 0; i < op->count; i++)
		cached_change(&op->objects[i]->cached);
}

int
change_commit(struct operation *op, struct tx *tx)
{
	int err;

	tx_on_apply(tx, note_change, op);
	err = tx_commit(tx);
	for (size_t i = 0; i < op->count; i++)
		cached_forget(op->objects[i]);
	return err;
}
