#include "object/object_internal.h"

#include <stdio.h>

enum {
	REFRESH_TRIES = 32, /* newer checkpoints that a reader beside a writer moves on to */
	NOTE_BYTES = 512,   /* more of a note is cut off */
};

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

/* Another thread has moved the handle on since the operation began: it may have seen both. */
static bool
has_moved(const struct operation *op)
{
	return volume_generation(op->volume->volume) != op->visit.period;
}

bool
operation_again(struct operation *op, int *err)
{
	struct volume *volume = op->volume->volume;
	char note[NOTE_BYTES];
	bool again;

	if (!volume_is_read_only(volume) || (!has_moved(op) && !err_is_damage(*err)))
		return false;
	if (op->tries == REFRESH_TRIES) {
		if (has_moved(op))
			*err = fail(COP_EBUSY, "a writer changes the volume too fast to read it");
		return false;
	}
	op->tries++;
	(void)snprintf(note, sizeof note, "%s", err_text());
	volume_leave(volume, &op->visit);
	again = has_moved(op) || volume_refresh(volume, &op->visit);
	volume_enter(volume, &op->visit);
	if (again)
		err_clear();
	else if (*err)
		*err = fail(*err, "%s", note); /* the look for a newer checkpoint has its own */
	return again;
}

bool
operation_has(const struct operation *op, const struct cop_object *object)
{
	for (size_t i = 0; i < op->count; i++) {
		if (op->objects[i] == object)
			return true;
	}
	return false;
}
