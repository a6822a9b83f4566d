#ifndef COPPICE_DEVICE_H
#define COPPICE_DEVICE_H

/*
 * device: block devices behind one interface.
 *
 * A driver is a table of functions under a URL scheme (file: mem: sim:; a plain path means file:);
 * the registry in device.c lists the tables. Addresses and lengths are in blocks of 4 KiB.
 *
 * Promises
 *   - A batch of requests completes in any order; each is done exactly once, with its own result.
 *   - flush() makes every write durable that had completed before it was submitted.
 *   - barrier() orders writes submitted before it against those after it; it may be a flush.
 *   - One opener at a time may write: COP_EBUSY says who holds the device.
 *   - A failed request has the host's reason in its result; a short one is COP_EIO.
 *
 * Locks    Any thread may call. device_wait() must be called with no lock held: it may sleep, and
 *          it runs the `done` functions of whatever completes meanwhile, also other threads'.
 * Threads  The drivers start none, but for the pool of the file driver where the host refuses
 *          io_uring.
 * Cost     device_read() of one run on the file driver is one system call.
 */

#include "base/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum { BLOCK_BYTES = COP_BLOCK_BYTES, BLOCK_SHIFT = 12 };

struct device;

enum device_op {
	DEVICE_READ = 1,
	DEVICE_WRITE = 2,
	DEVICE_DISCARD = 3, /* contents become undefined; may do nothing */
	DEVICE_FLUSH = 4,
};

enum device_io_flags {
	DEVICE_FUA = 1 << 0, /* this write is durable when it completes */
};

/*
 * One request. The caller owns it and its buffers until `done` has been called or device_wait()
 * has returned. Buffers are aligned to BLOCK_BYTES, each a multiple of BLOCK_BYTES long; those of
 * a write must not change while it is in flight.
 */
struct device_io {
	enum device_op op;
	uint32_t flags;
	uint64_t addr;   /* blocks */
	uint64_t blocks; /* the sum of `iov` for reads and writes */
	struct iovec *iov;
	uint32_t iov_count;
	struct iovec iov_one; /* for device_io_init(): the usual single buffer */

	/* Called once, from device_submit() or any thread's device_wait(); may be NULL. It must not
	 * wait or submit. The request may be reused or freed from here on. */
	void (*done)(struct device_io *io);
	void *context;

	int result; /* 0 or COP_E..., valid once is_done */
	atomic_bool is_done;

	struct device_io *next; /* the driver's queue */
	void *driver;           /* the driver's own */
	uint64_t driver_number;
};

/* Sets up a request with one buffer; `buffer` is NULL for discard and flush. */
void device_io_init(
	struct device_io *io, enum device_op op, uint64_t addr, uint64_t blocks, void *buffer);

enum device_open_flags {
	DEVICE_READ_ONLY = 1 << 0,
	DEVICE_CREATE = 1 << 1,  /* make the file, `create_bytes` long; COP_EEXIST if it is there */
	DEVICE_NO_LOCK = 1 << 2, /* a reader: takes no lock, others may write */
	DEVICE_GROW = 1 << 3,    /* make the file at least `create_bytes` long */
	DEVICE_NO_URING = 1 << 4, /* the file driver uses its thread pool */
	DEVICE_PREALLOCATE =
		1 << 5, /* with DEVICE_CREATE or DEVICE_GROW: have the host reserve space */
	DEVICE_NO_DIRECT = 1 << 6, /* the file driver goes through the host's page cache */
};

struct device_options {
	uint32_t flags;
	uint64_t create_bytes;
};

/*
 * COP_ENOENT, COP_EACCES, COP_EROFS, COP_EBUSY (the text names the pid of the holder), COP_EINVAL
 * (a size that makes no sense, or not a file or disk).
 */
MUST_CHECK int device_open(
	const char *url, const struct device_options *options, struct device **out_device);

/* Waits for what is in flight. NULL is accepted. Never flushes. */
void device_close(struct device *dev);

/* Hands a batch to the device. Cannot fail: errors come back in the requests. */
void device_submit(struct device *dev, struct device_io *const *ios, size_t count);

/* Until `io` is done. */
void device_wait(struct device *dev, struct device_io *io);

/*
 * What the result of a request means, for a note: a device never speaks of space on the volume, but
 * of that on the host.
 */
const char *device_result_sentence(int result);

/* As submit and wait for each. One alone runs on the caller's thread where the driver can. */
void device_run(struct device *dev, struct device_io *const *ios, size_t count);

/* Blocking, on the caller's thread. Durably: what is written, and nothing else, is durable. */
MUST_CHECK int device_read(struct device *dev, uint64_t addr, void *buffer, uint64_t blocks);
MUST_CHECK int device_write(struct device *dev, uint64_t addr, const void *buffer, uint64_t blocks);
MUST_CHECK int device_write_durably(
	struct device *dev, uint64_t addr, const void *buffer, uint64_t blocks);
MUST_CHECK int device_flush(struct device *dev);
MUST_CHECK int device_barrier(struct device *dev);
MUST_CHECK int device_discard(struct device *dev, uint64_t addr, uint64_t blocks);

/* Whole blocks; what is left over at the end of the medium does not count. */
uint64_t device_blocks(const struct device *dev);

/* True when the device was opened for reading only. */
bool device_is_read_only(const struct device *dev);

/* Has somebody else opened the device for writing, now? What cannot be known is no. */
bool device_has_writer(struct device *dev);

/* The URL as it was given, for messages. */
const char *device_name(const struct device *dev);

struct device_stats {
	uint64_t reads;
	uint64_t failed_reads;  /* that the medium did not answer */
	uint64_t failed_writes; /* and flushes */
	uint64_t writes;
	uint64_t flushes;
	uint64_t fua_writes; /* of the writes, those that are durable by themselves */
	uint64_t discards;
	uint64_t read_bytes;
	uint64_t written_bytes;
	uint64_t syscalls; /* of the file driver */
	uint64_t in_flight_max;
};

struct device_stats device_stats(struct device *dev);

/* Buffers as devices want them: aligned to BLOCK_BYTES, contents undefined. free() releases. */
void *block_buffer_alloc(uint64_t blocks);

/* True when `url` begins with a registered scheme and its colon. */
bool device_url_has_scheme(const char *url);

/* True when the scheme stands for files of the host: a new file may be created there. */
bool device_url_is_host_path(const char *url, const char **out_path);

#endif
