#ifndef COPPICE_OBJECT_RECLAIM_H
#define COPPICE_OBJECT_RECLAIM_H

/*
 * reclaim: freeing what is large in bounded steps, and what a crash has left.
 *
 * A step is one emptying transaction. It begins with as many things as are worth it, and when the
 * volume is too full for that, goes down to few enough that the reserve covers them.
 */

#include "object/object_internal.h"

/* Has the volume nothing but its reserve left? */
bool reclaim_is_on_reserve(struct cop_volume *volume);

/* Keys of the object tree that belong to an object, beside its record and the root of its tree. */
enum { BELONGINGS_MAX = 8 }; /* that one transaction removes */

struct belongings {
	uint64_t id;
	size_t max;
	uint8_t keys[BELONGINGS_MAX][TREE_KEY_BYTES_MAX];
	size_t bytes[BELONGINGS_MAX];
	size_t count;
	struct extents extents; /* of large attributes among them; owned */
	bool more;
	int err;
};

/* The first `max` of them. The caller frees the extents, also after an error. */
MUST_CHECK int removal_collect(
	struct cop_object *object, size_t max, struct belongings *belongings);

/* Deletes them in the transaction. */
MUST_CHECK int removal_delete(
	struct tx *tx, const struct cop_object *object, const struct belongings *belongings);

/*
 * Removes an object that has no more than these belongings. A content tree is handed to a job:
 * *out_job is its number, for job_leave(); 0: there is none.
 */
MUST_CHECK int removal_put(struct tx *tx, struct cop_object *object, const struct record *record,
	const struct belongings *belongings, uint64_t *out_job);

/* Frees an object without links whose last reference is going. What cannot be done now is done by
 * the next opening for writing. */
void reclaim_orphan(struct cop_object *object);

/*
 * The number for the job that frees all content of an object: that of the job which trims it, for
 * the record of the new one shall take its place, or a new one.
 */
MUST_CHECK int job_number_for(
	struct cop_object *object, const struct record *record, uint64_t *out_number);

/* Adds the job record that takes the content tree of an object apart: two messages. */
MUST_CHECK int job_put_dismantle(struct tx *tx, const struct cop_object *object, uint64_t number);

/* Adds the job record that frees the ranges which the record of the object names: one message. */
MUST_CHECK int job_put_trim(struct tx *tx, const struct cop_object *object, uint64_t number);

/* Ends a job: one message. */
MUST_CHECK int job_delete(struct tx *tx, uint64_t number);

/* Is this the job that frees ranges of the object? After a loss its record may say so, and lie. */
MUST_CHECK int job_is_trim(const struct cop_object *object, uint64_t number, bool *out_is_trim);

/*
 * The transaction that made this job is committed: somebody shall run it. `trimmed` is the object
 * whose ranges it frees, one of the operation's; NULL: it takes a tree apart. Runs it at once when
 * the volume has nothing but its reserve left.
 */
void job_leave(struct operation *op, struct cop_object *trimmed, uint64_t number);

/*
 * Of the ranges that the record of an object names, which is one of the operation's:
 *
 *   trim_step      frees TRIM_EXTENTS_MAX extents at most; does nothing where there is no range
 *   trim_run       frees all
 *   trim_between   frees blocks [first, end), so that they can be written: in one step for each
 *                  TRIM_EXTENTS_MAX extents there, unless the list is full or there is no room
 *   trim_shortest  frees one, and so makes a place in the list
 *
 * Who frees the last one ends the job.
 */
enum { TRIM_EXTENTS_MAX = 48 };
MUST_CHECK int trim_step(struct operation *op, struct cop_object *object);
MUST_CHECK int trim_run(struct operation *op, struct cop_object *object);
MUST_CHECK int trim_between(
	struct operation *op, struct cop_object *object, uint64_t first, uint64_t end);
MUST_CHECK int trim_shortest(struct operation *op, struct cop_object *object);

/* The object is gone, or knows nothing of the job: only its record is left. */
MUST_CHECK int trim_end(struct operation *op, uint64_t number);

/* A tree of so little content that the record can hold it goes there. It may stay as well. */
void content_shrink(struct operation *op, struct cop_object *object);

/* Runs every job to its end; false: there was none. What fails stays. The caller has no turn. */
bool jobs_run_all(struct cop_volume *volume);

/* One step of a job that nobody is running; the first that does not fail. */
MUST_CHECK int jobs_run_step(struct cop_volume *volume, bool *out_has_run);

/* How many there are; more than 100 are not counted. */
MUST_CHECK int jobs_count(struct cop_volume *volume, uint64_t *out_count);

/* The background thread looks for jobs. */
void jobs_wake(struct cop_volume *volume);

/* What the background thread is about to do, it has done. An object that it has in hand goes with
 * its release. The caller has no turn. */
void jobs_wait_for_round(struct cop_volume *volume);

/* After opening for writing: orphans that a crash has left, and jobs, which are left to whoever
 * runs them. What fails stays. */
void reclaim_after_open(struct cop_volume *volume);

#endif
