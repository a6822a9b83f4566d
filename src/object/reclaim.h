#ifndef COPPICE_OBJECT_RECLAIM_H
#define COPPICE_OBJECT_RECLAIM_H

/*
 * reclaim: freeing what is large in bounded steps, and what a crash has left.
 *
 * A step is one emptying transaction. It begins with as many things as are worth it, and when the
 * volume is too full for that, goes down to few enough that the reserve covers them.
 */

#include "object/object_internal.h"

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

/* Runs a job of the caller's claim to its end. */
MUST_CHECK int job_run_dismantle(struct operation *op, uint64_t number);

/* Frees the range that the record names, and ends the job: the object is one of the operation's.
 * The number of the job is looked up, or given. */
MUST_CHECK int trim_finish(struct operation *op, struct cop_object *object);
MUST_CHECK int trim_run(struct operation *op, struct cop_object *object, uint64_t number);

/* Runs every job that nobody has claimed. What fails stays. */
void jobs_run_all(struct cop_volume *volume);

/* After opening for writing: jobs and orphans that a crash has left. What fails stays. */
void reclaim_after_open(struct cop_volume *volume);

/* One step of a job that nobody is running; how many jobs are left. */
MUST_CHECK int reclaim_step(struct cop_volume *volume, uint64_t *out_pending);

#endif
