#include "object/object_internal.h"

#include <assert.h>

enum {
	REFRESH_TRIES = 8, /* newer checkpoints that a reader beside a writer moves on to */
	READING_TRIES = 2, /* before a reader waits for its turn */
};

/* ---- Queues of changes ---------------------------------------------------------------------- */

static uint64_t
queue_take_ticket_locked(struct cop_object *object)
{
	mutex_assert_held(&object->volume->lock);
	return object->tickets++;
}

static void
queue_wait_locked(struct cop_object *object, uint64_t ticket)
{
	while (object->serving != ticket)
		condition_wait(&object->volume->changed, &object->volume->lock);
}

static void
queue_leave_locked(struct cop_object *object)
{
	assert(object->serving < object->tickets);
	object->serving++;
	if (object->serving < object->tickets)
		condition_wake_all(&object->volume->changed);
}

/* ---- Operations ----------------------------------------------------------------------------- */

void
operation_begin(struct operation *op, struct cop_volume *volume)
{
	*op = (struct operation){ .volume = volume };
	volume_enter(volume->volume, &op->visit);
}

void
operation_end(struct operation *op)
{
	volume_leave(op->volume->volume, &op->visit);
}

bool
operation_again(struct operation *op, int err)
{
	struct volume *volume = op->volume->volume;
	bool moved;

	if (!err_is_damage(err) || !volume_is_read_only(volume) || op->tries == REFRESH_TRIES)
		return false;
	op->tries++;
	volume_leave(volume, &op->visit);
	moved = volume_refresh(volume, &op->visit);
	volume_enter(volume, &op->visit);
	if (moved)
		err_clear();
	return moved;
}

static bool
operation_has(const struct operation *op, const struct cop_object *object)
{
	for (size_t i = 0; i < op->count; i++) {
		if (op->objects[i] == object)
			return true;
	}
	return false;
}

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
		op->tickets[op->count] = queue_take_ticket_locked(objects[i]);
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

int
change_commit(struct operation *op, struct tx *tx)
{
	int err;

	for (size_t i = 0; i < op->count; i++)
		atomic_fetch_add(&op->objects[i]->started, 1);
	err = tx_commit(tx);
	for (size_t i = 0; i < op->count; i++)
		atomic_fetch_add(&op->objects[i]->finished, 1);
	return err;
}

/* ---- Reading beside changes ----------------------------------------------------------------- */

/* If `finished` is read first and equals `started`, no change was under way in between. */
static void
reading_look(struct reading *reading)
{
	uint64_t finished = atomic_load(&reading->object->finished);

	reading->started = atomic_load(&reading->object->started);
	reading->is_stable = finished == reading->started;
}

void
reading_begin(struct reading *reading, struct operation *op, struct cop_object *object)
{
	*reading = (struct reading){ .op = op, .object = object };
	reading_look(reading);
}

static void
reading_take_turn(struct reading *reading)
{
	struct cop_volume *volume = reading->op->volume;

	/* The change that it waits for may need what this visit keeps from being reused. */
	volume_leave(volume->volume, &reading->op->visit);
	mutex_lock(&volume->lock);
	reading->ticket = queue_take_ticket_locked(reading->object);
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
	atomic_thread_fence(memory_order_seq_cst);
	if (reading->is_stable && atomic_load(&reading->object->started) == reading->started)
		return false;
	/* An operation that has the object's turn itself reads what it changes. */
	if (operation_has(reading->op, reading->object))
		return false;
	if (err)
		err_clear();
	reading->tries++;
	if (reading->tries >= READING_TRIES)
		reading_take_turn(reading);
	else
		reading_look(reading);
	return true;
}
