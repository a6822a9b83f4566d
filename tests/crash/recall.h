#ifndef COPPICE_TESTS_RECALL_H
#define COPPICE_TESTS_RECALL_H

/*
 * recall: what a run found, for a later one that would read the same.
 *
 * Checking, opening and reading a volume depend on nothing but what they read from the device: the
 * clock and the random numbers are those of the suite. So the reads of a run are kept with what it
 * found, as a tree: each step names the block that is read next, and branches by what was there.
 * Where a path can be followed on a medium to its end, the run needs not be made again. To follow
 * it reads the medium as the run would: decisions are made and states are told apart just so.
 *
 *   runs read     17:A 40:B 41:C -> found 1       17:A 40:B --+-- 41:C -> found 1
 *                 17:A 40:B 41:D 9:E -> found 2               +-- 41:D 9:E -> found 2
 *
 * One thing is left out: of a block of the journal that lies in no whole batch, only its header
 * counts, if it has one that verifies. Recovery promises to look at nothing else there; the judge
 * makes every sixteenth of these runs nonetheless, and compares.
 *
 * Cost   Some 60 ns for each block read, where the run itself takes a microsecond.
 */

#include "device/sim.h"
#include "volume/journal_scan.h"

#include <stdbool.h>
#include <stdint.h>

/* The runs of one kind. */
struct recall;

/* On media with this journal. `release` gets what was kept and is no longer needed. */
struct recall *recall_create(const struct journal_region *region, void (*release)(void *found));
void recall_free(struct recall *recall);

/*
 * What the run of that salt found that read what this one would; NULL: there was none, and the
 * medium's read hash is as before. Borrowed until the next recall_keep().
 */
void *recall_find(struct recall *recall, struct sim_medium *medium, uint64_t salt);

/* Listens to a run. It ends with recall_keep(), which takes what was found, or recall_drop(). */
void recall_listen(struct recall *recall, struct sim_medium *medium, uint64_t salt);
void recall_keep(struct recall *recall, struct sim_medium *medium, void *found);
void recall_drop(struct recall *recall, struct sim_medium *medium);

#endif
