/*
 * Freeing the ranges that the record of an object declares holes: extent by extent, in transactions
 * that begin large and become small when the volume is full. Each takes what it has been through
 * out of the list in the record; the last one ends the job.
 *
 * The job goes through the ranges from their beginning. Who writes into one of them begins where he
 * writes, and leaves a range before it and one behind it. Only when the list is full does somebody
 * have to wait: then the shortest range is freed first.
 */

#include "object/content_internal.h"
#include "object/reclaim.h"

#include <assert.h>

static int
end_job(struct tx *tx, const struct cop_object *object, uint64_t number)
{
	bool is_ours;
	int err = job_is_trim(object, number, &is_ours);

	return err || !is_ours ? err : job_delete(tx, number);
}

static int
trim_commit(struct operation *op, struct cop_object *object, const struct loaded *loaded,
	const struct extents *extents, const struct trims *left, bool grows)
{
	struct record next = loaded->record;
	uint8_t listed[TRIMS_BYTES_MAX];
	struct tx *tx = NULL;
	int err = tx_begin(op->volume->volume, &op->visit, true, &tx);

	if (err == 0 && grows)
		tx_may_grow(tx);
	for (size_t i = 0; err == 0 && i < extents->count; i++) {
		err = content_delete_extent(tx, object, &extents->list[i]);
		next.allocated_blocks -= extent_stored_blocks(&extents->list[i]);
	}
	if (err == 0)
		err = data_release(tx, extents);
	next.content = trims_encode(left, listed);
	if (err == 0 && left->count == 0) {
		err = end_job(tx, object, next.trim_job);
		next.trim_job = 0;
	}
	if (err == 0)
		err = record_put(tx, object->branch, object->id, &next);
	if (err) {
		tx_abort(tx);
		return err;
	}
	return change_commit(op, tx);
}

/*
 * One transaction: frees the first extents of `part`, which lies in one range, `max` of them at
 * most. *out_fits is false when the list has no place for what is left on both sides: then nothing
 * has changed.
 */
static int
try_part(struct operation *op, struct cop_object *object, const struct trim_range *part, size_t max,
	bool *out_fits)
{
	struct gather gather = {
		.first = part->first, .end = part->end, .max = max, .unmasked = true
	};
	struct trim_range freed = *part;
	struct extents extents = { 0 };
	struct loaded loaded;
	struct trims left;
	size_t count;
	bool more;
	int err = record_load(object, &loaded);

	if (err == 0)
		err = content_gather(object, &loaded.record, &gather, &extents, &more);
	if (err)
		return err;
	if (extents.count > 0) { /* they go as a whole, also where they begin before it */
		uint64_t end = extent_last(&extents.list[extents.count - 1]) + 1;

		freed.first = min_u64(freed.first, extents.list[0].first);
		freed.end = more ? end : max_u64(freed.end, end);
	}
	record_trims(&loaded.record, &left);
	count = left.count;
	*out_fits = trims_remove(&left, freed.first, freed.end);
	if (*out_fits)
		err = trim_commit(op, object, &loaded, &extents, &left, left.count > count);
	extents_free(&extents);
	return err;
}

/* The same with less, where there is no room for so much. */
static int
free_some(struct operation *op, struct cop_object *object, const struct trim_range *part,
	size_t *max, bool *out_fits)
{
	int err = try_part(op, object, part, *max, out_fits);

	while (err == COP_ENOSPC && *max > 1) {
		err_clear();
		*max = *max / 4 > 1 ? *max / 4 : 1;
		err = try_part(op, object, part, *max, out_fits);
	}
	return err;
}

static int
load_trims(struct cop_object *object, struct trims *out_trims)
{
	struct loaded loaded;
	int err = record_load(object, &loaded);

	if (err == 0)
		record_trims(&loaded.record, out_trims);
	return err;
}

/*
 * All of [first, end), and as much behind it as goes in the same step: who writes on finds it free.
 * Where there is no room for a record that names one range more, from the beginning of the range
 * on. *out_fits as above.
 */
static int
free_between(struct operation *op, struct cop_object *object, uint64_t first, uint64_t end,
	bool *out_fits)
{
	size_t max = TRIM_EXTENTS_MAX;
	bool splits = true;
	struct trims trims;
	int err;

	*out_fits = true;
	while ((err = load_trims(object, &trims)) == 0) {
		const struct trim_range *range = trims_find(&trims, first, end);
		struct trim_range part;

		if (!range)
			break;
		part = *range;
		if (splits)
			part.first = max_u64(range->first, first);
		err = free_some(op, object, &part, &max, out_fits);
		if (err == COP_ENOSPC && part.first > range->first) {
			err_clear();
			splits = false;
			max = TRIM_EXTENTS_MAX;
			continue;
		}
		if (err || !*out_fits)
			break;
	}
	return err;
}

int
trim_shortest(struct operation *op, struct cop_object *object)
{
	struct trims trims;
	bool fits;
	int err = load_trims(object, &trims);

	if (err == 0 && trims.count > 0) {
		const struct trim_range *shortest = trims_shortest(&trims);

		err = free_between(op, object, shortest->first, shortest->end, &fits);
		assert(err || fits); /* from its beginning on, no range becomes two */
	}
	return err;
}

int
trim_between(struct operation *op, struct cop_object *object, uint64_t first, uint64_t end)
{
	bool fits = false;
	int err = 0;

	while (err == 0 && !fits) {
		err = free_between(op, object, first, end, &fits);
		if (err == 0 && !fits)
			err = trim_shortest(op, object);
	}
	return err;
}

int
trim_step(struct operation *op, struct cop_object *object)
{
	size_t max = TRIM_EXTENTS_MAX;
	struct trims trims;
	bool fits;
	int err = load_trims(object, &trims);

	if (err == 0 && trims.count > 0) {
		err = free_some(op, object, &trims.list[0], &max, &fits);
		assert(err || fits);
	}
	return err;
}

int
trim_run(struct operation *op, struct cop_object *object)
{
	return trim_between(op, object, 0, CONTENT_BLOCKS_MAX);
}

int
trim_end(struct operation *op, uint64_t number)
{
	struct tx *tx = NULL;
	int err = tx_begin(op->volume->volume, &op->visit, true, &tx);

	if (err)
		return err;
	err = job_delete(tx, number);
	if (err) {
		tx_abort(tx);
		return err;
	}
	return change_commit(op, tx);
}
