#ifndef COPPICE_TESTS_TRIAL_H
#define COPPICE_TESTS_TRIAL_H

/*
 * trial: one workload on a simulated disk, the power cut before every changing call, every crash
 * state recovered and judged against the model.
 *
 * Recovery may show the model as it was after some operation between the last acknowledged sync and
 * the last one issued; judge.h says what else must hold. Cuts are also combined with one fault:
 *
 *   a flipped bit, a lost or misdirected write    content may be unreadable, never wrong; all that
 *                                                 has two copies is there; what only the journal
 *                                                 held may be gone, and if that was known durable,
 *                                                 the volume opens only to be read
 *   every copy of the newest superblock gone      nothing is lost
 *   a failed write or flush, of a close as well   nothing that was acknowledged is lost
 *   the process killed, the power cut later       what it left counts when a sync has said so
 */

#include "crash/scenario.h"
#include "crash/workload.h"
#include "support/hashset.h"

#include <stdatomic.h>

/* Sums over all trials, shared by all workers. */
struct tally {
	atomic_uint_fast64_t workloads;
	atomic_uint_fast64_t cuts;
	atomic_uint_fast64_t runs;
	atomic_uint_fast64_t second_cuts;
	atomic_uint_fast64_t probes;
	atomic_uint_fast64_t violations;
	atomic_uint_fast64_t wraps;      /* of the journals of workloads */
	atomic_uint_fast64_t losses;     /* recoveries that damage has cost something */
	atomic_uint_fast64_t incomplete; /* cuts with more scripts than the budget */
};

/* Where every workload begins, and what has been found so far. */
struct trial_base;
struct judge_memory;

MUST_CHECK int trial_base_create(struct trial_base **out_base);
void trial_base_free(struct trial_base *base);
struct judge_memory *trial_base_memory(struct trial_base *base);

struct trial_options {
	struct trial_base *base;     /* borrowed */
	struct judge_memory *memory; /* borrowed */
	struct hashset *seen;        /* borrowed */
	struct tally *tally;         /* borrowed */
	uint64_t runs_max;           /* scripts tried for each cut; then `samples` at random */
	uint64_t samples;
	uint32_t probes_in_1000;        /* cuts that get a probe as well */
	bool (*is_over)(void *context); /* time is up: end after the present operation */
	void (*violation)(void *context, const struct scenario *scenario, const char *text);
	void *context;
};

/*
 * Runs the scenario's workload with its fault and judges every cut; with scenario->replay only the
 * cut, probe and scripts that it names. Errors are for what kept the trial from running.
 */
MUST_CHECK int trial_run(
	const struct trial_options *options, const struct scenario *scenario, bool replay);

#endif
