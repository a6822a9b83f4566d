#ifndef COPPICE_TESTS_WORKLOAD_H
#define COPPICE_TESTS_WORKLOAD_H

/*
 * workload: what is done to a volume before the power fails.
 *
 * All workloads begin on the same small volume (fixture.h). A workload is named by text, so that a
 * failure can be replayed:
 *
 *   pair.A.B.M     shape A, then shape B of the list of shapes, then a sync; with M 1 a sync
 *                  between them too
 *   random.N       hundreds with many syncs, some of them on a volume that is nearly full
 *   settled.N      a hundred of them, with two checkpoints in place of each sync
 *   laps.N         thousands of small ones, each synced: the journal goes round; few are cut
 *   rounds.N       thousands that fill long batches: the journal goes round a hundred times; cuts
 *                  are drawn from all of it
 *   jobs.N         two objects of many extents, removed, cut and punched by jobs, step by step
 *   leaves.N       changes of one file's content, whose tree has several leaves; few are cut, and
 *                  most of the leaves are as they were in the two newest checkpoints
 *   clones.N       a file of several leaves is cloned to and fro, and all of them are changed, cut,
 *                  removed by jobs and made anew; few are cut
 */

#include "support/oracle.h"

struct workload;

/* The operations that make the fixture on an empty volume, ending with a sync. */
struct workload *workload_fixture(void);

/* COP_EINVAL: no such workload. */
MUST_CHECK int workload_create(const char *name, uint64_t seed, struct workload **out_workload);
void workload_free(struct workload *workload);

/*
 * The next operation, or false at the end. `model` is the state that it will be run on: the random
 * ones look there for what can be done.
 */
bool workload_next(struct workload *workload, struct oracle *model, struct op *out_op);

/* Is the power to be cut in the operation that workload_next() gave last? */
bool workload_is_cut(const struct workload *workload);
bool workload_is_rarely_cut(const struct workload *workload); /* each cut is worth a lot */

/* Is damage of content's trees what it is for? */
bool workload_changes_leaves(const struct workload *workload);

/* The name of workload `number`: all pairs, shuffled, with random ones among them and after them.
 */
void workload_name(uint64_t number, uint64_t seed, char *out, size_t out_bytes);
uint64_t workload_pairs(void);

#endif
