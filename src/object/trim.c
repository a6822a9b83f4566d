/*
 * Freeing a range that the record of an object declares a hole: extent by extent from its
 * beginning, in transactions that begin large and become small when the volume is full. Each leaves
 * the rest of the range in the record; the last one takes it out and ends the job.
 */

#include "object/content_internal.h"
#include "object/reclaim.h"

static int
trim_commit(struct operation *op, struct cop_object *object, const struct loaded *loaded,
	const struct extents *extents, bool more, uint64_t number)
{
	struct record next = loaded->record;
	struct tx *tx = NULL;
	int err = tx_begin(op->volume->volume, &op->visit, true, &tx);

	for (size_t i = 0; err == 0 && i < extents->count; i++) {
		err = content_delete_extent(tx, object, &extents->list[i]);
		next.allocated_blocks -= extent_stored_blocks(&extents->list[i]);
	}
	if (err == 0)
		err = data_release(tx, extents);
	if (more) {
		next.trim_first = extent_last(&extents->list[extents->count - 1]) + 1;
	} else if (err == 0) {
		next.trim_first = 0;
		next.trim_end = 0;
		if (number != 0)
			err = job_delete(tx, number);
	}
	if (err == 0)
		err = record_put(tx, object->branch, object->id, &next);
	if (err) {
		tx_abort(tx);
		return err;
	}
	return change_commit(op, tx);
}

int
trim_end(struct operation *op, uint64_t number)
{
	struct tx *tx = NULL;
	int err;

	if (number == 0)
		return 0;
	err = tx_begin(op->volume->volume, &op->visit, true, &tx);
	if (err)
		return err;
	err = job_delete(tx, number);
	if (err) {
		tx_abort(tx);
		return err;
	}
	return change_commit(op, tx);
}

static int
try_step(struct operation *op, struct cop_object *object, uint64_t number, size_t max,
	bool *out_done)
{
	struct extents extents = { 0 };
	struct loaded loaded;
	struct gather gather = { .unmasked = true, .max = max };
	bool more;
	int err = record_load(object, &loaded);

	if (err)
		return err;
	if (loaded.record.trim_end == 0) {
		*out_done = true;
		return trim_end(op, number);
	}
	gather.first = loaded.record.trim_first;
	gather.end = loaded.record.trim_end;
	err = content_gather(object, &loaded.record, &gather, &extents, &more);
	if (err)
		return err;
	err = trim_commit(op, object, &loaded, &extents, more, number);
	extents_free(&extents);
	if (err == 0)
		*out_done = !more;
	return err;
}

int
trim_step(struct operation *op, struct cop_object *object, uint64_t number, size_t *max,
	bool *out_done)
{
	int err = try_step(op, object, number, *max, out_done);

	while (err == COP_ENOSPC && *max > 1) {
		err_clear();
		*max = *max / 4 > 1 ? *max / 4 : 1;
		err = try_step(op, object, number, *max, out_done);
	}
	return err;
}

int
trim_run(struct operation *op, struct cop_object *object, uint64_t number)
{
	size_t max = TRIM_EXTENTS_MAX;
	bool done = false;
	int err = 0;

	while (err == 0 && !done)
		err = trim_step(op, object, number, &max, &done);
	return err;
}

/* Has anything of [first, end) still to be freed? */
static bool
is_to_be_trimmed(const struct record *record, uint64_t first, uint64_t end)
{
	return first < record->trim_end && end > record->trim_first;
}

int
trim_until(struct operation *op, struct cop_object *object, uint64_t first, uint64_t end)
{
	size_t max = TRIM_EXTENTS_MAX;
	struct loaded loaded;
	uint64_t number = 0;
	bool done = false;
	int err = record_load(object, &loaded);

	if (err == 0 && is_to_be_trimmed(&loaded.record, first, end))
		err = job_find_trim(op->volume, object->id, &number);
	while (err == 0 && !done && is_to_be_trimmed(&loaded.record, first, end)) {
		err = trim_step(op, object, number, &max, &done);
		if (err == 0)
			err = record_load(object, &loaded);
	}
	return err;
}
