#ifndef COPPICE_CHECK_DUMP_H
#define COPPICE_CHECK_DUMP_H

/*
 * dump: what lies on a device, for people who debug: superblocks, trees and their nodes, the
 * journal, objects, allocation groups.
 *
 * Promises
 *   - Writes nothing. Ends on every image.
 *   - What cannot be read or makes no sense is told where it belongs, and counted; all that does
 *     not hang on it is shown.
 *   - Memory stays within `cache_bytes`, but for what a replay changes: nothing is collected.
 *
 * Cost      Reads what it shows, and the way there.
 */

#include "base/err.h"
#include "device/device.h"

/* cop_dump() of a device that the caller has opened and closes. */
MUST_CHECK int cop_dump_on(struct device *dev, const struct cop_dump_options *options,
	struct cop_dump_result *out_result);

#endif
