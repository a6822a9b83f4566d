#ifndef COPPICE_TESTS_JUDGE_H
#define COPPICE_TESTS_JUDGE_H

/*
 * judge: opens every state that a power cut can leave, as any user would, and says whether it may
 * be.
 *
 * It must be as the model was after some operation from `first` to `last`; `check` must find
 * nothing; and twenty more operations, a sync and another check must go well on it. Of the changing
 * calls that recovery and those operations make, some are cut as well, and of the recovery from
 * that some again.
 */

#include "crash/history.h"
#include "crash/trial.h"
#include "volume/journal_scan.h"

/* Problems that check may find: bits of world_check.classes. */
enum {
	/* A superblock whose writing was cut short is no damage, and yet not in all its places:
	 * until two further checkpoints check may say so. */
	JUDGE_CRASH = 1 << COP_PROBLEM_SUPERBLOCK,

	/* What one damaged block can be. Never that blocks have two owners. */
	JUDGE_DAMAGE = JUDGE_CRASH | 1 << COP_PROBLEM_NODE | 1 << COP_PROBLEM_DATA |
		       1 << COP_PROBLEM_LEAK | 1 << COP_PROBLEM_COPY | 1 << COP_PROBLEM_JOURNAL,
	JUDGE_DAMAGE_IN_ALLOCATION = JUDGE_DAMAGE | 1 << COP_PROBLEM_ALLOCATION,
};

/* What earlier runs have found; see recall.h. */
struct judge_memory;

/* Of media with this journal. */
struct judge_memory *judge_memory_create(const struct journal_region *region);
void judge_memory_free(struct judge_memory *memory);

struct judgement {
	const struct trial_options *options;
	struct scenario *scenario; /* names the cut; scripts are noted here for what it reports */
	bool is_replay;            /* of the scripts of the scenario, and talks */
	const struct history *history;
	size_t first;
	size_t last;
	int64_t now_ns;
	uint64_t dirty_bytes; /* memory for changed nodes in recovery; 0: as usual */

	uint32_t allow;           /* enum snapshot_unreadable */
	uint32_t allowed_classes; /* bits of problems that check may find */
	bool hits_allocation;     /* groups may be closed, maybe all of them */
	bool may_refuse; /* damage may have lost what was durable: then it opens only to be read */
	uint32_t depth;  /* cuts before this one, in the workload or after it */
	bool is_late;    /* writes went through pages; see late.h */

	/* The newest checkpoint was destroyed: what is the newest now had its predecessor
	 * overwritten, rightly. So check finds that one damaged. */
	bool is_fallback;

	/* The process was killed, and the power stays: what it wrote can be read, and need not be
	 * durable before a sync has said so. */
	bool keeps_power;
};

/* All states of the medium, which stays as it is. Errors are for what kept it from judging. */
MUST_CHECK int judge_medium(const struct judgement *judgement, struct sim_medium *medium);

#endif
