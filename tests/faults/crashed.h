#ifndef COPPICE_TESTS_CRASHED_H
#define COPPICE_TESTS_CRASHED_H

/*
 * crashed: a volume as the power left it, with a journal to replay.
 *
 * Its journal has a batch or more before the predecessor's tail, between that and the newest
 * superblock's, and after it: with data and without, a mark, several transactions in one, and a
 * last one that nothing but itself says was durable. What the volume must show after each of its
 * last transactions is known.
 */

#include "device/sim.h"
#include "support/snapshot.h"
#include "volume/journal_scan.h"

enum { CRASHED_POINTS_MAX = 32 };

struct crashed {
	struct sim_medium *medium; /* owned; its power is on */
	struct journal_region region;
	struct journal_chain chain; /* of the journal as it is */

	/* Point i: i transactions of those after the newest checkpoint have happened. */
	struct snapshot *points[CRASHED_POINTS_MAX]; /* owned */
	size_t point_count;                          /* the last one is the whole state */
	int64_t now_ns;
};

/* Ends the process when it cannot be made. */
void crashed_create(struct crashed *out_crashed);
void crashed_fini(struct crashed *crashed);

#endif
