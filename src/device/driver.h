#ifndef COPPICE_DEVICE_DRIVER_H
#define COPPICE_DEVICE_DRIVER_H

/*
 * driver: what a device driver implements, and what device.c does for all of them.
 *
 * A driver embeds `struct device` as its first member and exports one constant table. device.c
 * checks ranges, counts, and makes blocking calls of submit and wait where a driver has none.
 *
 * Promises
 *   - A driver sees only requests that lie within the device, and none that changes a device opened
 *     for reading.
 *   - device_wait() returns after the request's `done` has returned, whoever ran it.
 *
 * Locks  `lock` guards the driver's queue and the list of running callbacks. device_complete()
 * takes it, so the driver does not hold it there.
 */

#include "base/lock.h"
#include "device/device.h"

struct device_driver {
	const char *scheme; /* "file" */

	/* `rest` is the URL without its scheme. */
	int (*open)(
		const char *rest, const struct device_options *options, struct device **out_device);

	/* Waits for what is in flight, calls device_fini(), frees. */
	void (*close)(struct device *dev);

	/* Every request is completed once, now or when somebody waits. */
	void (*submit)(struct device *dev, struct device_io *const *ios, size_t count);

	/* Until `io` is done; completes others meanwhile. */
	void (*wait)(struct device *dev, struct device_io *io);

	/*
	 * Optional: one request on the caller's thread, without the queue: its error, with a text.
	 * Nothing is put into it.
	 */
	int (*run)(struct device *dev, const struct device_io *io);

	/* Optional: cheaper than a flush. */
	int (*barrier)(struct device *dev);

	/* Optional: asked of a device that was opened without a lock. */
	bool (*has_writer)(struct device *dev);
};

struct device_callback;

struct device {
	const struct device_driver *driver;
	char *name;      /* owned */
	uint64_t blocks; /* set by open */
	bool read_only;

	/* Guarded by `lock`, rank LOCK_DEVICE_QUEUE. */
	struct mutex lock;
	struct condition changed; /* a request is done, or the driver's queue has changed */
	struct device_callback *callbacks; /* those that run now */

	/* Relaxed counters. */
	atomic_uint_fast64_t reads;
	atomic_uint_fast64_t failed_reads;
	atomic_uint_fast64_t failed_writes;
	atomic_uint_fast64_t writes;
	atomic_uint_fast64_t flushes;
	atomic_uint_fast64_t fua_writes;
	atomic_uint_fast64_t discards;
	atomic_uint_fast64_t read_bytes;
	atomic_uint_fast64_t written_bytes;
	atomic_uint_fast64_t syscalls;
	atomic_uint_fast64_t in_flight;
	atomic_uint_fast64_t in_flight_max;
};

/* Sets up the common part: `name` is copied. COP_ENOMEM: nothing is held. */
MUST_CHECK int device_init(
	struct device *dev, const struct device_driver *driver, const char *name);

/* Its end; the last thing before the driver frees the device. */
void device_fini(struct device *dev);

/* A driver calls this once for each request, without the lock: sets the result, runs `done`, wakes
 * who waits. */
void device_complete(struct device *dev, struct device_io *io, int result);

/* `count` requests begin or end to be in flight: with the host, not in a queue of the driver. */
void device_flight_begin(struct device *dev, uint64_t count);
void device_flight_end(struct device *dev, uint64_t count);

/* "64M" in bytes: digits and one of K M G T, or nothing. COP_EINVAL. */
MUST_CHECK int device__parse_bytes(const char *text, uint64_t *out_bytes);

extern const struct device_driver device_driver_file;
extern const struct device_driver device_driver_mem;
extern const struct device_driver device_driver_sim;

#endif
