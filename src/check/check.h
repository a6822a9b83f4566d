#ifndef COPPICE_CHECK_H
#define COPPICE_CHECK_H

/*
 * check: the proof of every invariant of a volume, from its bytes.
 *
 * The checker opens the volume for reading and walks everything that the newest checkpoint reaches,
 * in passes, each with a window of the device's blocks and one of the object numbers, so that its
 * memory stays within the limit whatever the size of the volume:
 *
 *   superblocks   every copy of the newest and of the one before; the format's parameters in
 *                 each group
 *   nodes         both copies of each, their identity, order, fences and births
 *   references    each block is referred to once, and the bitmaps hold exactly that (invariant 7)
 *   objects       records, content, names against back references, links, counts, orphans, jobs;
 *                 every directory is below the root
 *   data          every block against its checksum; what lies past the end of a file is zero
 *   previous      what the checkpoint before reaches beside the newest is whole as well, and
 *                 nothing of it was overwritten (invariant 1)
 *   journal       the chain from the tail of the checkpoint before reaches that of the newest, and
 *                 goes on as far as anything was durable; each batch decodes, and what it says is
 *                 durable, its counters, its runs and its messages agree with those before it and
 *                 with the volume; the superblocks say of it what it is
 *   replayed      if there is anything after the newest checkpoint: all of the above again, for
 *                 what replaying the journal in memory gives. What the first proof has told is not
 *                 told again; what is told begins with "after the journal".
 *
 * Promises
 *   - Writes nothing. Ends on every image, after time that grows with the size of the volume.
 *   - Goes on after a problem with all that does not hang on it. What cannot be judged because
 *     something could not be read is told in one problem, not in one for each consequence.
 *   - Problems that follow one another on the device are one; of problems of one kind the first
 *     REPORTS_OF_A_KIND_MAX are told, and then how many more there were.
 *   - Memory stays within `cache_bytes`, but for what replaying a journal changes.
 *
 * Cost      Reads metadata once for each pass, data once, sorted by address among what is met
 *           together, 16 requests or more in flight. One pass covers (cache_bytes / 8) / 12 KiB
 *           groups that are not empty, 128 MiB each on a large volume, and (cache_bytes / 12) / 24
 *           object numbers.
 */

#include "base/err.h"
#include "device/device.h"

/* cop_check() on a device that the caller has opened and closes. */
MUST_CHECK int cop_check_on(struct device *dev, const struct cop_check_options *options,
	struct cop_check_result *out_result);

#endif
