#ifndef COPPICE_TESTS_ENUMERATE_H
#define COPPICE_TESTS_ENUMERATE_H

/*
 * enumerate: every crash state that a recovery could tell from another.
 *
 * The simulator asks, when recovery reads a sector that was not durable at the power cut, which of
 * its versions is there. The answers given in one run are its *script*. The enumerator runs the
 * recovery again and again from a clone of the medium and walks the tree of scripts in depth first:
 * each run follows the script before it up to its last answer that can still be raised, raises it,
 * and answers 0 (the oldest version) from there on. What no recovery reads is never asked, so all
 * scripts together are all states that the recovery can tell apart.
 *
 *   run 1   asked 2, 2, 3 alternatives    script 0.0.0
 *   run 2                                        0.0.1
 *   run 3                                        0.0.2
 *   run 4   now asks only one more               0.1      (and so on, until nothing can be raised)
 *
 * Where the tree is larger than the budget, scripts at random sample the rest.
 *
 * Promises
 *   - Distinct states are counted by the hash of all that the recovery read.
 *   - A script replays its run exactly, given the same medium and judge.
 */

#include "device/sim.h"
#include "support/hashset.h"

#include <stdbool.h>
#include <stdint.h>

/* Answers in one script; a run that is asked more often gets hashes, which nothing branches on. */
enum { ENUMERATE_SCRIPT_MAX = 2048, ENUMERATE_TEXT_BYTES = 8192 };

struct enumerate_run;

/*
 * Recovers from `medium`, whose power is on, and judges what it finds; the medium is its own and
 * goes away afterwards. True: sound. False: a violation, which enumerate_blame() has described.
 */
typedef bool (*enumerate_judge)(
	void *context, struct sim_medium *medium, struct enumerate_run *run);

/*
 * For a judge, once it has read all that recovery reads: counts the state, and nothing branches
 * from here on. True when the state is new. Called for the judge at its end if it never does.
 */
bool enumerate_settle(struct enumerate_run *run);

/* For a judge: what is wrong; the first description stays. */
void enumerate_blame(struct enumerate_run *run, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The answers of this run so far, as text: "0.1.2", or "-" for none. */
const char *enumerate_script(struct enumerate_run *run);

struct enumerate_options {
	uint64_t runs_max;    /* of the exhaustive walk */
	uint64_t samples;     /* scripts at random when that was not enough */
	uint64_t seed;        /* of the samples */
	bool keeps_power;     /* only the process ended: there is one state, the present one */
	struct hashset *seen; /* borrowed: distinct states are counted here */
	enumerate_judge judge;

	/* Called for each violation, with the script and the judge's description. */
	void (*violation)(void *context, const char *script, const char *text);
	void *context; /* handed to both */
};

struct enumerate_result {
	uint64_t runs;
	uint64_t distinct; /* that were new in `seen` */
	uint64_t violations;
	bool complete; /* every script was run */
};

/*
 * Cuts the power of clones of `medium` and judges every state. The medium itself stays as it is.
 * COP_ENOMEM, or an error of the simulator: then the result is not complete.
 */
MUST_CHECK int enumerate_states(struct sim_medium *medium, const struct enumerate_options *options,
	struct enumerate_result *out_result);

/* One run, by a script as enumerate_script() gave it. COP_EINVAL: that is no script. */
MUST_CHECK int enumerate_replay(struct sim_medium *medium, const struct enumerate_options *options,
	const char *script, struct enumerate_result *out_result);

#endif
