#ifndef COPPICE_DEVICE_DRIVER_H
#define COPPICE_DEVICE_DRIVER_H

/*
 * driver: what a device driver implements, and what device.c does for all of them.
 *
 * A driver embeds `struct device` as its first member and exports one constant table. device.c
 * checks ranges, counts, and fills in blocking calls from submit and wait where a driver leaves
 * them NULL.
 */

#include "device/device.h"

struct device_driver {
	const char *scheme; /* "file" */

	/* `rest` is the URL without its scheme. */
	int (*open)(
		const char *rest, const struct device_options *options, struct device **out_device);
	void (*close)(struct device *dev);
	void (*submit)(struct device *dev, struct device_io *const *ios, size_t count);
	void (*wait)(struct device *dev, struct device_io *io);

	/* Optional: one blocking transfer on the caller's thread. */
	int (*read)(struct device *dev, uint64_t addr, void *buffer, uint64_t blocks);
	int (*write)(struct device *dev, uint64_t addr, const void *buffer, uint64_t blocks);

	/* Optional: cheaper than a flush. */
	int (*barrier)(struct device *dev);
};

struct device {
	const struct device_driver *driver;
	char *name;      /* owned */
	uint64_t blocks; /* set by open */
	bool read_only;

	/* Relaxed counters. */
	atomic_uint_fast64_t reads;
	atomic_uint_fast64_t writes;
	atomic_uint_fast64_t flushes;
	atomic_uint_fast64_t discards;
	atomic_uint_fast64_t read_bytes;
	atomic_uint_fast64_t written_bytes;
	atomic_uint_fast64_t syscalls;
	atomic_uint_fast64_t in_flight;
	atomic_uint_fast64_t in_flight_max;
};

/* A driver calls this once for each request: sets the result, runs `done`, wakes waiters' checks.
 */
void device_complete(struct device *dev, struct device_io *io, int result);

/*
 * Opens a device that a caller made by itself (a simulator in a test) in place of a URL: name is
 * copied. After this the device is closed by device_close().
 */
MUST_CHECK int device_init(
	struct device *dev, const struct device_driver *driver, const char *name);

extern const struct device_driver device_driver_file;
extern const struct device_driver device_driver_mem;
extern const struct device_driver device_driver_sim;

#endif
