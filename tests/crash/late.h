#ifndef COPPICE_TESTS_LATE_H
#define COPPICE_TESTS_LATE_H

/*
 * late: what a volume may show after a crash whose writes went through pages (invariant 3).
 *
 * Names and attributes are those after some operation. What was written to an object entered
 * history later than it was written, so its bytes and length may be those after an earlier
 * operation: one that was not before the last sync, nor before the last operation that puts the
 * object's pages into history at once (a cut, a preallocation, a rename over another name, a sync
 * of the object, a barrier), as far as that operation is in history. Length and bytes are of one
 * moment, so no length ever grows before its bytes.
 */

#include "crash/history.h"

/*
 * Does `found` show what may be there after `state` operations, of which `first` are durable? Then
 * the model gets to be as it was found, for what is done next; to be freed. What is unreadable
 * counts as a difference unless its kind is in `allow`.
 */
bool late_matches(const struct history *history, size_t first, size_t state,
	const struct snapshot *found, uint32_t allow, struct oracle **out_model);

#endif
