#include "object/object_internal.h"

enum {
	REFRESH_TRIES = 8, /* newer checkpoints that a reader beside a writer moves on to */
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

bool
operation_has(const struct operation *op, const struct cop_object *object)
{
	for (size_t i = 0; i < op->count; i++) {
		if (op->objects[i] == object)
			return true;
	}
	return false;
}
