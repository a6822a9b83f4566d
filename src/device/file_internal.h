#ifndef COPPICE_DEVICE_FILE_INTERNAL_H
#define COPPICE_DEVICE_FILE_INTERNAL_H

/*
 * file_internal: what the parts of the file driver share: file.c opens and transfers on the
 * caller's thread, file_lock.c locks; file_ring.c (io_uring) and file_pool.c (threads) carry
 * batches.
 */

#include "device/driver.h"

struct file;

/* An engine carries requests of one file; `state` is its own. */
struct file_engine {
	void (*submit)(struct file *file, struct device_io *const *ios, size_t count);

	/* Until `io` is done; NULL: until nothing is in flight. */
	void (*wait)(struct file *file, struct device_io *io);

	/* Nothing is in flight. */
	void (*close)(struct file *file);
};

struct file {
	struct device device; /* first */
	int fd;
	bool is_disk;
	bool is_direct; /* O_DIRECT */
	const struct file_engine *engine;
	void *engine_state; /* owned by the engine */
};

/*
 * Locks an open file as `flags`, of enum device_open_flags, ask for. COP_EBUSY names who holds it;
 * where that is nobody who lives, only after a second.
 */
struct stat;
MUST_CHECK int file__lock(int fd, const char *path, uint32_t flags, const struct stat *st);

/* Does somebody else hold the lock of a writer? Only for an fd that holds no lock of its own. */
bool file__is_locked(int fd);

/* Not 0 when the host refuses io_uring; then there is no engine yet. */
MUST_CHECK int file__open_ring(struct file *file);

/* COP_ENOMEM. Threads are started when there is work for them; without any, callers do it. */
MUST_CHECK int file__open_pool(struct file *file);

/* Runs a whole request on this thread and returns its result. */
int file__run(struct file *file, const struct device_io *io);

/* As file__run() for a read or write of which `done_bytes` are done already. */
int file__transfer(struct file *file, const struct device_io *io, uint64_t done_bytes);

void file__count_syscall(struct file *file);

#endif
