#ifndef COPPICE_CHECK_H
#define COPPICE_CHECK_H

/*
 * check: the proof of every invariant of a volume, from its bytes.
 *
 * The checker opens the volume for reading and walks everything that the newest checkpoint reaches,
 * in passes, each with a window of the device's blocks and one of the object numbers, so that its
 * memory stays within the limit whatever the size of the volume:
 *
 *   superblocks   every copy of the newest and of the one before
 *   nodes         both copies of each, their identity, order and fences
 *   references    each block is referred to once, and the bitmaps hold exactly that (invariant 7)
 *   objects       records, content, names against back references, links, counts, orphans
 *   data          every block against its checksum
 *   previous      all that the checkpoint before reaches is still whole (invariant 1)
 *
 * Promises  Writes nothing. Goes on after a problem with all that does not hang on it. Ends on
 * every image. Cost      Reads metadata once for each pass, data once, 16 requests or more in
 * flight.
 */

#include "base/err.h"
#include "device/device.h"

/* cop_check() on a device that the caller has opened and closes. */
MUST_CHECK int cop_check_on(struct device *dev, const struct cop_check_options *options,
	struct cop_check_result *out_result);

#endif
