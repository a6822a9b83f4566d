/*
 * Making durable, and putting in order.
 *
 * History is the order of transactions, and a crash leaves a prefix of it. What is dirty is in no
 * transaction yet; write-back puts it in. So a sync is write-back, then the journal; and a barrier
 * is write-back alone, for whatever comes later comes after it in history.
 */

#include "object/pages_internal.h"
#include "object/reclaim.h"

int
cop_sync(struct cop_volume *volume)
{
	struct complaint complaint = { .err = 0 };
	int err;

	if (volume_is_read_only(volume->volume))
		return 0;
	err = writeback_all(volume, true);
	if (complaint_take(&complaint, err))
		err = volume_sync(volume->volume);
	return complaint_tell(&complaint, err);
}

/* The error of a write-back that nobody has heard of yet; from now on somebody has. */
static int
take_write_error(struct cop_object *object)
{
	int err;

	mutex_lock(&object->volume->lock);
	err = object->write_error;
	object->write_error = 0;
	mutex_unlock(&object->volume->lock);
	return err;
}

static int
tell_write_error(struct cop_object *object)
{
	int err = take_write_error(object);

	if (err == 0)
		return 0;
	/* The volume had promised room: what has none is its device. */
	return fail(err, "object %" PRIu64 ": what was written before could not be stored: %s",
		object->id, device_result_sentence(err));
}

int
cop_sync_object(struct cop_object *object)
{
	struct cop_volume *volume = object->volume;
	int err;

	if (volume_is_read_only(volume->volume))
		return 0;
	err = tell_write_error(object);
	if (err)
		return err;
	err = writeback_now(object, true);
	if (err) {
		(void)take_write_error(object); /* it is this one, and now it is told */
		return err;
	}
	return volume_sync(volume->volume);
}

int
cop_barrier(struct cop_volume *volume)
{
	if (volume_is_read_only(volume->volume))
		return 0;
	return writeback_all(volume, false);
}

int
cop_settle(struct cop_volume *volume)
{
	struct complaint complaint = { .err = 0 };
	int err;

	if (volume_is_read_only(volume->volume))
		return 0;
	err = writeback_all(volume, false);
	if (!complaint_take(&complaint, err))
		return err;
	jobs_wait_for_round(volume);
	(void)jobs_run_all(volume); /* whether there were any is no matter */
	return complaint_tell(&complaint, volume_settle(volume->volume));
}
