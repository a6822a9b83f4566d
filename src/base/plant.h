#ifndef COPPICE_BASE_PLANT_H
#define COPPICE_BASE_PLANT_H

/*
 * plant: bugs planted on purpose, to prove that the crash suite would find them.
 *
 * Only the build with -DCOP_PLANTS has them; there the environment variable COP_PLANT chooses one
 * by its number. Everywhere else planted() is the constant false and nothing of it is left in the
 * program, which a test shows.
 */

#include <stdbool.h>

enum plant {
	PLANT_NO_FLUSH_BEFORE_SUPERBLOCK = 1,
	PLANT_REUSE_ONE_GENERATION_EARLY = 2,
	PLANT_BITMAP_SLOT_IN_FORCE = 3,
	PLANT_SEAL_NOT_COMPARED = 4,
	PLANT_SIZE_BEFORE_DATA = 5,
	PLANT_FUA_PAST_UNFLUSHED = 6,
	PLANT_TRIM_TOO_SOON = 7,
	PLANT_REPLAY_TWICE = 8,
	PLANT_EPOCH_NOT_COMPARED = 9,
	PLANT_DAMAGE_TAKEN_FOR_TAIL = 10,
	PLANT_SYNC_ERROR_SWALLOWED = 11,
	PLANT_OPEN_WITHOUT_FLUSH = 12,
	PLANT_CLAIM_LATE = 13,
	PLANT_NO_REWRITE_IN_RECOVERY = 14,
	PLANT_DATA_NOT_VERIFIED = 15,
	PLANT_CLEAN_MARK_KEPT = 16,
	PLANT_DURABLE_BEFORE_FLUSH = 17,
	PLANT_SYNC_WITHOUT_FLUSH = 18,
	PLANT_GENERATION_REUSED = 19,
	PLANT_SHARED_RELEASED = 20,
	PLANT_CHILDREN_NOT_COUNTED = 21,
	PLANT_COUNTS_LOST = 22,
	PLANT_STAMP_NOT_KEPT = 23,
	PLANT_RELEASED_BEFORE_COUNTED = 24,
	PLANT_LOST_READS_AS_HOLE = 25,
	PLANT_REUSE_WITHIN_PERIOD = 26,
};

#ifdef COP_PLANTS
bool planted(enum plant plant);
#else
#define planted(plant) false
#endif

#endif
