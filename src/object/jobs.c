/*
 * Jobs: work on the volume that is too large for one transaction.
 *
 *   dismantle   a dead content tree is walked leaf by leaf; each step releases what the leaf's
 *               extents hold and the nodes that are finished with, and moves the cursor on
 *   trim        ranges of an object's content, which its record declares holes, are freed extent
 *               by extent; each step takes what it has freed out of the record. An object has one
 *               such job, its record the number
 *
 * The record of a job lies in the catalog, and each step changes it, or ends it, in the transaction
 * that does the step's work. So after a crash a job goes on where it was. Whoever causes a job
 * leaves it to the background thread, or to cop_poll(), cop_settle() and those who find no space;
 * only where the volume lives on its reserve it is run at once, so that jobs never pile up there.
 * A claim keeps others away from a job that somebody runs. Changes of the object may free what is
 * in their way, end the job that trims it, or make another one of it: so it is looked up again at
 * the object's turn.
 */

#include "object/job_format.h"
#include "object/reclaim.h"

#include <assert.h>
#include <stdlib.h>

enum {
	DISMANTLE_RUNS_MAX = 256, /* released in one step */
	JOBS_COUNTED_MAX = 100,   /* each poll counts them */
};

static const struct tree_name catalog_name = { .kind = TREE_CATALOG };

/* ---- Claims --------------------------------------------------------------------------------- */

static bool
is_claimed_locked(const struct cop_volume *volume, uint64_t number)
{
	for (const struct job_claim *claim = volume->claims; claim; claim = claim->next) {
		if (claim->number == number)
			return true;
	}
	return false;
}

static void
claim_locked(struct cop_volume *volume, uint64_t number, struct job_claim *claim)
{
	*claim = (struct job_claim){ .number = number, .next = volume->claims };
	volume->claims = claim;
}

/* False: somebody else runs it. */
static bool
claim_try(struct cop_volume *volume, uint64_t number, struct job_claim *claim)
{
	bool is_free;

	mutex_lock(&volume->lock);
	is_free = !is_claimed_locked(volume, number);
	if (is_free)
		claim_locked(volume, number, claim);
	mutex_unlock(&volume->lock);
	return is_free;
}

/* The caller has no turn on any object: who runs the job may be waiting for it. */
static void
claim_wait(struct cop_volume *volume, uint64_t number, struct job_claim *claim)
{
	mutex_lock(&volume->lock);
	while (is_claimed_locked(volume, number))
		condition_wait(&volume->changed, &volume->lock);
	claim_locked(volume, number, claim);
	mutex_unlock(&volume->lock);
}

static void
unclaim(struct cop_volume *volume, struct job_claim *claim)
{
	struct job_claim **link = &volume->claims;

	mutex_lock(&volume->lock);
	while (*link != claim)
		link = &(*link)->next;
	*link = claim->next;
	condition_wake_all(&volume->changed);
	mutex_unlock(&volume->lock);
}

/* ---- Records of jobs ------------------------------------------------------------------------ */

static int
put_job(struct tx *tx, uint64_t number, const struct job *job)
{
	uint8_t key[CATALOG_KEY_BYTES];
	uint8_t value[JOB_BYTES_MAX];

	return tx_put(
		tx, catalog_name, catalog_key(key, CATALOG_JOB, number), job_encode(job, value));
}

int
job_delete(struct tx *tx, uint64_t number)
{
	uint8_t key[CATALOG_KEY_BYTES];

	return tx_delete(tx, catalog_name, catalog_key(key, CATALOG_JOB, number));
}

static int
load_job(struct cop_volume *volume, uint64_t number, struct job *out_job)
{
	uint8_t key[CATALOG_KEY_BYTES];
	uint8_t value[JOB_BYTES_MAX];
	size_t bytes;
	int err = tree_get(volume->catalog, catalog_key(key, CATALOG_JOB, number), value,
		sizeof value, &bytes);

	if (err == COP_ERANGE)
		err = fail(COP_EFORMAT, "job record of %zu bytes", bytes);
	if (err == 0)
		err = job_decode(view_of(value, bytes), out_job);
	return err ? fail_in(err, "job %" PRIu64, number) : 0;
}

int
job_is_trim(const struct cop_object *object, uint64_t number, bool *out_is_trim)
{
	struct job job = { .program = JOB_DISMANTLE };
	int err = load_job(object->volume, number, &job);

	if (err == COP_ENOENT) {
		err_clear();
		err = 0;
	}
	if (err == 0)
		*out_is_trim = job.program == JOB_TRIM && job.object == object->id;
	return err;
}

int
job_number_for(struct cop_object *object, const struct record *record, uint64_t *out_number)
{
	bool is_trim = false;
	int err = 0;

	if (record->trim_job != 0)
		err = job_is_trim(object, record->trim_job, &is_trim);
	if (err == 0)
		*out_number = is_trim ? record->trim_job : volume_next_job(object->volume->volume);
	return err;
}

int
job_put_dismantle(struct tx *tx, const struct cop_object *object, uint64_t number)
{
	struct tree_name name = handle_tree_name(object);
	struct job job = {
		.program = JOB_DISMANTLE,
		.tree_kind = name.kind,
		.branch = object->branch,
		.object = object->id,
	};
	uint8_t key[CATALOG_KEY_BYTES];
	int err = put_job(tx, number, &job);

	if (err)
		return err;
	return tx_bury_tree(tx, name, catalog_key(key, CATALOG_JOB, number), JOB_ROOT_AT);
}

int
job_put_trim(struct tx *tx, const struct cop_object *object, uint64_t number)
{
	struct job job = {
		.program = JOB_TRIM,
		.branch = object->branch,
		.object = object->id,
	};

	return put_job(tx, number, &job);
}

/* ---- Dismantling ---------------------------------------------------------------------------- */

/* The job's record moves on to where the next step begins, or ends. */
static int
put_step(struct tx *tx, uint64_t number, const struct job *job, const struct remains *remains)
{
	struct job next = *job;
	uint8_t key[CATALOG_KEY_BYTES];
	uint8_t value[JOB_BYTES_MAX];
	struct tx_step step = {
		.dead = { .branch = job->branch, .object = job->object, .kind = job->tree_kind },
		.job_key = catalog_key(key, CATALOG_JOB, number),
		.root_at = JOB_ROOT_AT,
		.from = &job->cursor,
		.remains = remains,
	};

	next.cursor = remains->next;
	if (!remains->is_done)
		step.value = job_encode(&next, value);
	return tx_step(tx, &step);
}

/* `runs_max` runs of data at most. ERR_MISSING: others share less of the tree than they did. */
static int
try_dismantle_step(struct operation *op, uint64_t number, size_t runs_max, bool *out_done)
{
	struct cop_volume *volume = op->volume;
	struct remains remains = { 0 };
	struct tx *tx = NULL;
	struct job job;
	int err;

	err = load_job(volume, number, &job);
	if (err == COP_ENOENT) { /* somebody has ended it before the claim */
		err_clear();
		*out_done = true;
		return 0;
	}
	if (err)
		return err;
	err = volume_remains(
		volume->volume, job.tree_kind, &job.root, &job.cursor, runs_max, &remains);
	if (err == 0)
		err = tx_begin(volume->volume, &op->visit, true, &tx);
	if (err == 0)
		err = put_step(tx, number, &job, &remains);
	if (err == 0)
		err = change_commit(op, TAKE(tx));
	if (err == 0)
		*out_done = remains.is_done;
	tx_abort(tx);
	volume_remains_free(&remains);
	return err;
}

static int
dismantle_step(struct operation *op, uint64_t number, bool *out_done)
{
	size_t runs_max = DISMANTLE_RUNS_MAX;
	int err;

	for (;;) {
		err = try_dismantle_step(op, number, runs_max, out_done);
		if (err == COP_ENOSPC && runs_max > 1) {
			err_clear();
			runs_max /= 4;
		} else if (err != ERR_MISSING) {
			return err;
		}
	}
}

static int
run_dismantle(struct operation *op, uint64_t number)
{
	bool done = false;
	int err = 0;

	while (err == 0 && !done)
		err = dismantle_step(op, number, &done);
	return err;
}

/* ---- Finding jobs --------------------------------------------------------------------------- */

struct finder {
	uint64_t number;
	struct job job;
	bool is_found;
};

static bool
is_job_key(struct view key)
{
	return key.bytes == CATALOG_KEY_BYTES && key.data[0] == CATALOG_JOB;
}

static bool
find_job_entry(void *context, struct view key, struct view value)
{
	struct finder *finder = context;
	struct job job;

	if (!is_job_key(key))
		return false;
	if (job_decode(value, &job) != 0) {
		err_clear(); /* check reports it */
		return true;
	}
	finder->number = get_be64(key.data + 1);
	finder->job = job;
	finder->is_found = true;
	return false;
}

/* The first job at or after `from`. */
static int
find_next_job(struct cop_volume *volume, uint64_t from, struct finder *finder)
{
	uint8_t key[CATALOG_KEY_BYTES];
	struct operation op;
	int err;

	*finder = (struct finder){ .is_found = false };
	operation_begin(&op, volume);
	err = tree_scan(
		volume->catalog, catalog_key(key, CATALOG_JOB, from), 0, find_job_entry, finder);
	operation_end(&op);
	return err;
}

static bool
count_job_entry(void *context, struct view key, struct view value)
{
	uint64_t *count = context;
	struct job job;

	if (!is_job_key(key))
		return false;
	if (job_decode(value, &job) == 0)
		*count += 1;
	else
		err_clear(); /* nobody can run it; check reports it */
	return *count < JOBS_COUNTED_MAX;
}

/* ---- Running --------------------------------------------------------------------------------- */

/* Frees the record of the object ranges, and does it know that this job does so? */
static int
is_trimmed_by(struct cop_object *object, uint64_t number, bool *out_is_trimmed)
{
	struct loaded loaded;
	int err = record_load(object, &loaded);

	if (err == 0)
		*out_is_trimmed = loaded.record.trim_job == number;
	return err;
}

/* At the object's turn (NULL: it is gone): is the job still what was found? */
static int
run_trim_at_turn(struct operation *op, struct cop_object *object, uint64_t number)
{
	bool is_trimmed = false;
	struct job job;
	int err = load_job(op->volume, number, &job);

	if (err == COP_ENOENT || (err == 0 && job.program != JOB_TRIM)) {
		err_clear(); /* a change of the object has ended it, or made it another one */
		return 0;
	}
	if (err == 0 && object)
		err = is_trimmed_by(object, number, &is_trimmed);
	if (err)
		return err;
	if (!is_trimmed)
		return trim_end(op, number);
	err = trim_step(op, object);
	if (err == 0)
		content_shrink(op, object); /* which it may be, after the last step */
	return err;
}

static int
run_trim(struct cop_volume *volume, const struct finder *finder)
{
	struct cop_object *object = NULL;
	struct operation op;
	int err;

	operation_begin(&op, volume);
	err = handle_open(&op, finder->job.branch, finder->job.object, &object);
	operation_end(&op);
	if (err && err != COP_ENOENT)
		return err;
	err_clear();
	err = change_begin(&op, volume, &object, object ? 1 : 0);
	if (err == 0) {
		err = run_trim_at_turn(&op, object, finder->number);
		change_end(&op);
	}
	cop_release(object);
	return err;
}

/* One step of a job that is claimed. Between two of them changes of the object have their turn. */
static int
run_step(struct cop_volume *volume, const struct finder *finder)
{
	struct operation op;
	bool done;
	int err;

	if (finder->job.program == JOB_TRIM)
		return run_trim(volume, finder);
	err = change_begin(&op, volume, NULL, 0);
	if (err)
		return err;
	err = dismantle_step(&op, finder->number, &done);
	change_end(&op);
	return err;
}

void
job_leave(struct operation *op, struct cop_object *trimmed, uint64_t number)
{
	struct cop_volume *volume = op->volume;
	struct job_claim claim;
	int err;

	if (!reclaim_is_on_reserve(volume)) {
		jobs_wake(volume);
		return;
	}
	if (!claim_try(volume, number, &claim))
		return;
	err = trimmed ? trim_run(op, trimmed) : run_dismantle(op, number);
	unclaim(volume, &claim);
	if (err)
		err_clear(); /* what caused the job has happened; the job stays */
}

bool
jobs_run_all(struct cop_volume *volume)
{
	bool has_run = false;
	uint64_t from = 0;

	for (;;) {
		struct job_claim claim;
		struct finder finder;
		int err = find_next_job(volume, from, &finder);

		if (err || !finder.is_found)
			break;
		claim_wait(volume, finder.number, &claim);
		err = run_step(volume, &finder);
		unclaim(volume, &claim);
		has_run = true;
		/* What fails stays for the next time. */
		from = finder.number + (err ? 1 : 0);
		if (err)
			err_clear();
	}
	return has_run;
}

int
jobs_run_step(struct cop_volume *volume, bool *out_has_run)
{
	bool has_run = false;
	uint64_t from = 0;
	int err = 0;

	while (!has_run) {
		struct job_claim claim;
		struct finder finder;
		int found = find_next_job(volume, from, &finder);

		if (found)
			return found;
		if (!finder.is_found)
			break;
		from = finder.number + 1;
		if (!claim_try(volume, finder.number, &claim))
			continue;
		err = run_step(volume, &finder);
		unclaim(volume, &claim);
		has_run = err == 0;
	}
	*out_has_run = has_run;
	return err;
}

int
jobs_count(struct cop_volume *volume, uint64_t *out_count)
{
	uint8_t key[CATALOG_KEY_BYTES];
	struct operation op;
	uint64_t count = 0;
	int err;

	operation_begin(&op, volume);
	err = tree_scan(
		volume->catalog, catalog_key(key, CATALOG_JOB, 0), 0, count_job_entry, &count);
	operation_end(&op);
	if (err == 0)
		*out_count = count;
	return err;
}
