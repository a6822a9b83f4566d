/* Making durable what was committed: on request, and when it is time. What failed at that ends
 * writing, and is kept. */

#include "volume/volume_internal.h"

#include "base/plant.h"

#include <stdio.h>

static const int64_t sync_after_ns = INT64_C(5000000000);
static const int64_t checkpoint_after_ns = INT64_C(30000000000);

int
volume_sync(struct volume *volume)
{
	int err;

	if (!volume->journal)
		return 0;
	err = volume_failed(volume);
	if (err)
		return err;
	err = journal_sync(volume->journal);
	if (err && planted(PLANT_SYNC_ERROR_SWALLOWED))
		return 0;
	return err ? volume_fail(volume, fail_in(err, "sync")) : 0;
}

int
volume_sync_journal(struct volume *volume)
{
	return volume->journal ? journal_sync(volume->journal) : 0;
}

int
volume_failed(struct volume *volume)
{
	int failed;

	mutex_lock(&volume->state);
	failed = volume->failed;
	mutex_unlock(&volume->state);
	if (failed == 0)
		return 0;
	return fail(failed, "the volume takes no more changes since: %s", volume->failed_text);
}

int
volume_fail(struct volume *volume, int err)
{
	mutex_lock(&volume->state);
	if (volume->failed == 0) {
		volume->failed = err;
		(void)snprintf(volume->failed_text, sizeof volume->failed_text, "%s", err_text());
	}
	mutex_unlock(&volume->state);
	return err;
}

bool
volume_needs_sync(struct volume *volume)
{
	return volume->journal && journal_is_dirty(volume->journal);
}

/*
 * Is it time? It runs from when something was first seen to wait for it, and again from now when
 * the clock has been set back. State locked.
 */
static bool
is_due_locked(int64_t *due_ns, bool wanted, int64_t now_ns, int64_t after_ns)
{
	if (!wanted) {
		*due_ns = 0;
		return false;
	}
	if (*due_ns == 0 || *due_ns - now_ns > after_ns)
		*due_ns = now_ns + after_ns;
	if (now_ns < *due_ns)
		return false;
	*due_ns = 0;
	return true;
}

int
volume_tick(struct volume *volume)
{
	uint64_t transactions = atomic_load(&volume->transactions);
	int64_t now = volume_now_ns(volume);
	bool is_dirty = volume_is_dirty(volume);
	bool needs_sync = volume_needs_sync(volume);
	bool wants_checkpoint;
	bool wants_sync;
	bool is_idle;
	int err;

	if (!volume->journal)
		return 0;
	mutex_lock(&volume->state);
	wants_checkpoint =
		is_due_locked(&volume->checkpoint_due_ns, is_dirty, now, checkpoint_after_ns);
	wants_sync = is_due_locked(&volume->sync_due_ns, needs_sync, now, sync_after_ns);
	is_idle = volume->ticked_transactions == transactions;
	volume->ticked_transactions = transactions;
	mutex_unlock(&volume->state);

	if (wants_checkpoint || journal_is_long(volume->journal))
		return volume_checkpoint(volume);
	if (wants_sync)
		return volume_sync(volume);
	err = journal_write_waiting(volume->journal);
	if (err == 0 && is_idle)
		err = journal_mark(volume->journal);
	return err ? volume_fail(volume, err) : 0;
}
