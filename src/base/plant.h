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
};

#ifdef COP_PLANTS
bool planted(enum plant plant);
#else
#define planted(plant) false
#endif

#endif
