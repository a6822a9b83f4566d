#ifndef COPPICE_OBJECT_OPEN_H
#define COPPICE_OBJECT_OPEN_H

/*
 * open: volumes on devices that the caller has opened, for check, tests and what serves a device
 * of its own. cop_open() is device_open() and cop_open_on(), cop_format() likewise.
 */

#include "base/err.h"
#include "device/device.h"
#include "volume/volume.h"

/*
 * Makes an empty volume with a root directory on `dev`, whatever was there. `volume_bytes` 0: as
 * large as the device. `force` and `preallocate` are for whoever opened the device.
 */
MUST_CHECK int cop_format_on(struct device *dev, const struct cop_format_options *options);

/* As cop_format(), with time and randomness from the caller; NULL: the system's. */
struct cop_sources {
	int (*random)(void *context, void *buffer, size_t bytes);
	int64_t (*clock_ns)(void *context);
	void *context;
};
MUST_CHECK int cop_format_sourced_on(struct device *dev, const struct cop_format_options *options,
	const struct cop_sources *sources);

/*
 * Opens the volume on `dev`. The device is borrowed: the caller closes it after cop_close(), also
 * when this fails. Read-only when the options or the device say so.
 */
MUST_CHECK int cop_open_on(
	struct device *dev, const struct cop_open_options *options, struct cop_volume **out_volume);

/*
 * For tests: as if there were memory for so many bytes of changed nodes and no more, so that
 * checkpoints come early, also in the middle of a replay. 0: by the cache.
 */
MUST_CHECK int cop_open_tight_on(struct device *dev, const struct cop_open_options *options,
	uint64_t dirty_bytes, struct cop_volume **out_volume);

/* The floor below, for tests that plant what no call of coppice.h would write. Borrowed. */
struct volume *open_volume_below(struct cop_volume *volume);

/* The newest superblock of a device as information. Takes no lock. */
MUST_CHECK int cop_probe_on(struct device *dev, struct cop_volume_info *out_info);

/* As cop_survey(). */
MUST_CHECK int cop_survey_on(struct device *dev, struct cop_survey *out_survey);

#endif
