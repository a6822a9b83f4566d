#ifndef COPPICE_OBJECT_RECLAIM_H
#define COPPICE_OBJECT_RECLAIM_H

/*
 * reclaim: freeing what is large in bounded steps, and what a crash has left.
 *
 * A step is one emptying transaction. It begins with as many things as are worth it, and when the
 * volume is too full for that, goes down to few enough that the reserve covers them.
 */

#include "object/object_internal.h"

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
 * Removes an object that has no more than these belongings. A content tree is handed to job
 * `number`, which *out_has_job then says is there to be run.
 */
MUST_CHECK int removal_put(struct tx *tx, struct cop_object *object, const struct record *record,
	const struct belongings *belongings, uint64_t number, bool *out_has_job);

/* Frees an object without links whose last reference is going. What cannot be done now is done by
 * the next opening for writing. */
void reclaim_orphan(struct cop_object *object);

/* A number for a job that is claimed by the caller until job_unclaim(). */
void job_claim_new(struct cop_volume *volume, struct job_claim *claim);
void job_unclaim(struct cop_volume *volume, struct job_claim *claim);

/* Adds the job record that takes the content tree of an object apart: two messages. */
MUST_CHECK int job_put_dismantle(struct tx *tx, const struct cop_object *object, uint64_t number);

/* Adds the job record that frees the range which the record of the object names: one message. */
MUST_CHECK int job_put_trim(struct tx *tx, const struct cop_object *object, uint64_t number);

/* Ends a job: one message. */
MUST_CHECK int job_delete(struct tx *tx, uint64_t number);

/* The job that frees a range of this object; 0: there is none. */
MUST_CHECK int job_find_trim(struct cop_volume *volume, uint64_t object, uint64_t *out_number);

/* Runs a job of the caller's claim to its end. */
MUST_CHECK int job_run_dismantle(struct operation *op, uint64_t number);

/*
 * Frees the range that the record names, and ends job `number` (0: there is none); the object is
 * one of the operation's. trim_finish() looks the number up.
 */
MUST_CHECK int trim_run(struct operation *op, struct cop_object *object, uint64_t number);
MUST_CHECK int trim_finish(struct operation *op, struct cop_object *object);

/* One step: `*max` extents at most, which goes down when there is no room for so many. */
enum { TRIM_EXTENTS_MAX = 48 };
MUST_CHECK int trim_step(struct operation *op, struct cop_object *object, uint64_t number,
	size_t *max, bool *out_done);

/* The range is free already, or the object gone: only the record of the job is left. */
MUST_CHECK int trim_end(struct operation *op, uint64_t number);

/* Runs every job that nobody has claimed. What fails stays. */
void jobs_run_all(struct cop_volume *volume);

/* After opening for writing: jobs and orphans that a crash has left. What fails stays. */
void reclaim_after_open(struct cop_volume *volume);

/* One step of a job that nobody is running; how many jobs are left. */
MUST_CHECK int reclaim_step(struct cop_volume *volume, uint64_t *out_pending);

#endif
