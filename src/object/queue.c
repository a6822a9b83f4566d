/* The queues of changes: whoever wants to change an object takes a ticket, and waits for its turn.
 */

#include "object/object_internal.h"

#include <assert.h>

uint64_t
queue_take_locked(struct cop_object *object)
{
	mutex_assert_held(&object->volume->lock);
	return object->tickets++;
}

void
queue_wait_locked(struct cop_object *object, uint64_t ticket)
{
	while (object->serving != ticket)
		condition_wait(&object->volume->changed, &object->volume->lock);
}

void
queue_leave_locked(struct cop_object *object)
{
	assert(object->serving < object->tickets);
	object->serving++;
	if (object->serving < object->tickets)
		condition_wake_all(&object->volume->changed);
}
