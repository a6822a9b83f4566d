#ifndef COPPICE_TESTS_SCENARIO_H
#define COPPICE_TESTS_SCENARIO_H

/*
 * scenario: one crash, exactly: what to type to see a violation again.
 *
 *   workload=pair.3.7.1 seed=1 fault=lose:12 cut=40 probe=flip:977:5 script=0.1 cut2=3 script2=1
 *
 *   workload, seed   what was done; see workload.h
 *   fault            in the device while it ran, counted from the first operation that is cut:
 *                      lose:N:A       the N-th write at or behind block A was lost
 *                      misdirect:N:A  the N-th write went to block A
 *                      power:N        the power failed in the middle of changing call N + 1
 *                      failwrite:N    the N-th write failed
 *                      failflush:N    the N-th flush failed
 *                      failclose:N    so did the N-th one of the close
 *   late             1: writes went through pages; see late.h
 *   cut              the power was cut before this changing call of the run, 0: at its end
 *   probe            what came on top of the cut:
 *                      flip:A:B       bit B of block A flipped
 *                      fallback:0     every copy of the newest superblock was destroyed
 *                      kill:0         only the process ended, the power stayed
 *   script           which versions of sectors survived, in the order in which recovery asked
 *   cut2, script2    the same for a second cut, during recovery and the operations after it
 *   cut3, script3    and for a third one, during the recovery from that
 */

#include "base/err.h"
#include "support/enumerate.h"

#include <stdbool.h>
#include <stdint.h>

enum scenario_fault {
	FAULT_NONE,
	FAULT_LOSE,
	FAULT_MISDIRECT,
	FAULT_POWER,
	FAULT_FAIL_WRITE,
	FAULT_FAIL_FLUSH,
	FAULT_FAIL_CLOSE,
};
enum { SCENARIO_AGAIN = 2 }; /* cuts after the first */
enum scenario_probe { PROBE_NONE, PROBE_FLIP, PROBE_FALLBACK, PROBE_KILL };

struct scenario {
	char workload[48];
	uint64_t seed;
	enum scenario_fault fault;
	uint64_t fault_call;
	uint64_t fault_addr;
	bool is_late; /* writes go through pages */
	uint64_t cut;
	enum scenario_probe probe;
	uint64_t probe_addr;
	uint32_t probe_bit;
	char script[ENUMERATE_TEXT_BYTES]; /* empty: every script */
	struct {
		uint64_t cut; /* 0: none */
		char script[ENUMERATE_TEXT_BYTES];
	} again[SCENARIO_AGAIN];
};

enum { SCENARIO_TEXT_BYTES = (1 + SCENARIO_AGAIN) * ENUMERATE_TEXT_BYTES + 512 };

void scenario_print(const struct scenario *scenario, char out[SCENARIO_TEXT_BYTES]);

/* By its name in a scenario; false: there is none. */
bool scenario_fault_of(const char *name, enum scenario_fault *out_fault);

/* COP_EINVAL. */
MUST_CHECK int scenario_parse(const char *text, struct scenario *out_scenario);

#endif
