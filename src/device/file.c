/*
 * file: a file or raw disk of the host, "file:PATH" or a plain path.
 *
 * Transfers go past the host's page cache (O_DIRECT) where its file system allows that. Batches are
 * carried by io_uring, or by a pool of threads where the host refuses it, as many containers do; a
 * single blocking transfer is one system call on the caller's thread in any case.
 *
 * Openers exclude each other by a lock on the file (file_lock.c): a writer locks exclusively, a
 * reader shared, or not at all if it asks for that.
 */

#include "device/file_internal.h"

#include "base/num.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	WINDOW = 64,        /* buffers handed to one system call */
	DIRECT_ALIGN = 512, /* a short transfer goes on at a multiple of this */
	FILE_MODE = 0666,   /* less the umask */
};

/* ---- Transfers ------------------------------------------------------------------------------ */

void
file__count_syscall(struct file *file)
{
	atomic_fetch_add_explicit(&file->device.syscalls, 1, memory_order_relaxed);
}

/* The buffers of `io` from byte `skip_bytes` on, as many as fit `window`. */
static int
window_fill(const struct device_io *io, uint64_t skip_bytes, struct iovec window[WINDOW])
{
	int count = 0;

	for (uint32_t i = 0; i < io->iov_count && count < WINDOW; i++) {
		const struct iovec *iov = &io->iov[i];

		if (skip_bytes >= iov->iov_len) {
			skip_bytes -= iov->iov_len;
			continue;
		}
		window[count].iov_base = (uint8_t *)iov->iov_base + skip_bytes;
		window[count].iov_len = iov->iov_len - skip_bytes;
		skip_bytes = 0;
		count++;
	}
	return count;
}

/* One system call: bytes transferred, or -errno. */
static ssize_t
transfer_once(struct file *file, const struct device_io *io, uint64_t done_bytes)
{
	struct iovec window[WINDOW];
	int count = window_fill(io, done_bytes, window);
	off_t offset = (off_t)(io->addr * BLOCK_BYTES + done_bytes);
	ssize_t moved;

	assert(count > 0);
	file__count_syscall(file);
	if (io->op == DEVICE_READ && count == 1)
		moved = pread(file->fd, window[0].iov_base, window[0].iov_len, offset);
	else if (io->op == DEVICE_READ)
		moved = preadv(file->fd, window, count, offset);
	else if (io->flags & DEVICE_FUA)
		moved = pwritev2(file->fd, window, count, offset, RWF_DSYNC);
	else if (count == 1)
		moved = pwrite(file->fd, window[0].iov_base, window[0].iov_len, offset);
	else
		moved = pwritev(file->fd, window, count, offset);
	return moved < 0 ? -errno : moved;
}

static int
sync_data(struct file *file)
{
	int host;

	do {
		file__count_syscall(file);
		host = fdatasync(file->fd);
	} while (host != 0 && errno == EINTR);
	if (host != 0)
		return fail_errno(errno, "%s: flush", file->device.name);
	return 0;
}

int
file__transfer(struct file *file, const struct device_io *io, uint64_t done_bytes)
{
	struct device_io request = *io; /* so that a flag can be taken off */
	uint64_t total = io->blocks * BLOCK_BYTES;

	assert(io->op == DEVICE_READ || io->op == DEVICE_WRITE);
	done_bytes -= done_bytes % DIRECT_ALIGN;
	while (done_bytes < total) {
		ssize_t moved = transfer_once(file, &request, done_bytes);

		if (moved == -EINTR)
			continue;
		if (moved == -EOPNOTSUPP && request.flags & DEVICE_FUA) {
			request.flags &= ~(uint32_t)DEVICE_FUA;
			continue;
		}
		if (moved < 0)
			return fail_errno((int)-moved, "%s: block %" PRIu64, file->device.name,
				io->addr + done_bytes / BLOCK_BYTES);
		moved -= moved % DIRECT_ALIGN;
		if (moved == 0)
			return fail(COP_EIO,
				"%s: nothing at block %" PRIu64 ": the file is shorter",
				file->device.name, io->addr + done_bytes / BLOCK_BYTES);
		done_bytes += (uint64_t)moved;
	}
	if (io->flags & DEVICE_FUA && !(request.flags & DEVICE_FUA))
		return sync_data(file);
	return 0;
}

/* Where the host cannot, the contents stay, which a discard allows. */
static int
discard(struct file *file, const struct device_io *io)
{
	uint64_t range[2] = { io->addr * BLOCK_BYTES, io->blocks * BLOCK_BYTES };
	int host;

	do {
		file__count_syscall(file);
		if (file->is_disk)
			host = ioctl(file->fd, BLKDISCARD, range);
		else
			host = fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				(off_t)range[0], (off_t)range[1]);
	} while (host != 0 && errno == EINTR);
	if (host == 0 || errno == EOPNOTSUPP || errno == ENOSYS || errno == ENOTTY)
		return 0;
	return fail_errno(errno, "%s: discard at block %" PRIu64, file->device.name, io->addr);
}

int
file__run(struct file *file, const struct device_io *io)
{
	switch (io->op) {
	case DEVICE_READ:
	case DEVICE_WRITE:
		return file__transfer(file, io, 0);
	case DEVICE_DISCARD:
		return discard(file, io);
	case DEVICE_FLUSH:
		return sync_data(file);
	}
	return COP_EINVAL;
}

/* ---- Opening -------------------------------------------------------------------------------- */

static int
refuse_kind(const char *path, mode_t mode)
{
	const char *kind = S_ISDIR(mode)    ? "a directory"
			   : S_ISCHR(mode)  ? "a character device"
			   : S_ISFIFO(mode) ? "a FIFO"
			   : S_ISSOCK(mode) ? "a socket"
					    : "something else";

	return fail(COP_EINVAL, "%s: %s; a volume lies on a file or a disk", path, kind);
}

/*
 * Opens without blocking, whatever lies there, and says what it is. A disk that the host has
 * mounted is refused by O_EXCL.
 */
static int
open_path(const char *path, const struct device_options *options, int *out_fd, struct stat *out_st)
{
	bool reads_only = options->flags & DEVICE_READ_ONLY;
	int how = (reads_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	struct stat st;
	int fd;

	if (options->flags & DEVICE_CREATE) {
		how |= O_CREAT | O_EXCL;
	} else {
		if (stat(path, &st) != 0)
			return fail_errno(errno, "%s", path);
		if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
			return refuse_kind(path, st.st_mode);
		if (S_ISBLK(st.st_mode) && !reads_only)
			how |= O_EXCL;
	}
	do {
		fd = open(path, how, FILE_MODE);
	} while (fd < 0 && errno == EINTR);
	if (fd < 0 && errno == EBUSY)
		return fail(COP_EBUSY, "%s: the host has it mounted or in use", path);
	if (fd < 0)
		return fail_errno(errno, "%s", path);

	if (fstat(fd, &st) != 0) {
		int err = fail_errno(errno, "%s", path);

		(void)close(fd); /* nothing was written */
		return err;
	}
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
		(void)close(fd); /* nothing was written */
		return refuse_kind(path, st.st_mode);
	}
	*out_fd = fd;
	*out_st = st;
	return 0;
}

static int
grow(const struct file *file, const char *path, const struct device_options *options,
	uint64_t *bytes)
{
	uint64_t wanted = options->create_bytes;
	int host;

	if (!(options->flags & (DEVICE_CREATE | DEVICE_GROW)))
		return 0;
	if (wanted > INT64_MAX)
		return fail(COP_EFBIG, "%s: %" PRIu64 " bytes", path, wanted);
	if (file->is_disk) {
		if (wanted > *bytes)
			return fail(COP_EINVAL,
				"%s: the disk has %" PRIu64 " bytes, %" PRIu64 " were asked for",
				path, *bytes, wanted);
		return 0;
	}
	if (wanted > *bytes) {
		do {
			host = ftruncate(file->fd, (off_t)wanted);
		} while (host != 0 && errno == EINTR);
		if (host != 0)
			return fail_errno(errno, "%s: %" PRIu64 " bytes", path, wanted);
		*bytes = wanted;
	}
	if (options->flags & DEVICE_PREALLOCATE && *bytes > 0) {
		do {
			host = fallocate(file->fd, 0, 0, (off_t)*bytes);
		} while (host != 0 && errno == EINTR);
		if (host != 0)
			return fail_errno(errno, "%s: reserving %" PRIu64 " bytes", path, *bytes);
	}
	return 0;
}

static int
find_size(const struct file *file, const char *path, const struct stat *st, uint64_t *out_bytes)
{
	if (!file->is_disk) {
		*out_bytes = (uint64_t)st->st_size;
		return 0;
	}
	if (ioctl(file->fd, BLKGETSIZE64, out_bytes) != 0)
		return fail_errno(errno, "%s: size", path);
	return 0;
}

/*
 * Ends O_NONBLOCK and turns O_DIRECT on where that works: some file systems refuse the flag, some
 * the first transfer.
 */
static int
set_direct(struct file *file, const char *path, bool wanted)
{
	void *block = NULL;

	if (wanted && file->device.blocks > 0 && fcntl(file->fd, F_SETFL, O_DIRECT) == 0) {
		block = block_buffer_alloc(1);
		if (!block)
			return fail(COP_ENOMEM, "%s", path);
		file->is_direct = pread(file->fd, block, BLOCK_BYTES, 0) >= 0 || errno != EINVAL;
		free(block);
	}
	if (!file->is_direct && fcntl(file->fd, F_SETFL, 0) != 0)
		return fail_errno(errno, "%s", path);
	return 0;
}

static int
choose_engine(struct file *file, uint32_t flags)
{
	if (!(flags & DEVICE_NO_URING)) {
		if (file__open_ring(file) == 0)
			return 0;
		err_clear(); /* refused: the pool does the same work */
	}
	return file__open_pool(file);
}

static int
file_open(const char *path, const struct device_options *options, struct device **out_device)
{
	struct file *file;
	struct stat st = { .st_size = 0 };
	uint64_t bytes;
	bool is_created = false;
	int err;

	if (options->flags & DEVICE_READ_ONLY && options->flags & (DEVICE_CREATE | DEVICE_GROW))
		return fail(COP_EINVAL, "%s: to grow it, open it for writing", path);
	file = calloc(1, sizeof *file);
	if (!file)
		return fail(COP_ENOMEM, "%s", path);
	err = device_init(&file->device, &device_driver_file, path);
	if (err)
		goto free_file;
	err = open_path(path, options, &file->fd, &st);
	if (err)
		goto fini_device;
	is_created = options->flags & DEVICE_CREATE;
	file->is_disk = S_ISBLK(st.st_mode);
	file->device.read_only = options->flags & DEVICE_READ_ONLY;

	err = file__lock(file->fd, path, options->flags, &st);
	if (err)
		goto close_file;
	err = find_size(file, path, &st, &bytes);
	if (err)
		goto close_file;
	err = grow(file, path, options, &bytes);
	if (err)
		goto close_file;
	file->device.blocks = bytes / BLOCK_BYTES;
	err = set_direct(file, path, !(options->flags & DEVICE_NO_DIRECT));
	if (err)
		goto close_file;
	err = choose_engine(file, options->flags);
	if (err)
		goto close_file;
	*out_device = &file->device;
	return 0;

close_file:
	if (is_created)
		(void)unlink(path); /* the first error is the one to tell */
	(void)close(file->fd);      /* nothing was written through it */
fini_device:
	device_fini(&file->device);
free_file:
	free(file);
	return err;
}

/* ---- The driver ----------------------------------------------------------------------------- */

static void
file_close(struct device *dev)
{
	struct file *file = (struct file *)dev;

	file->engine->wait(file, NULL);
	file->engine->close(file);
	(void)close(file->fd); /* errors of writes were told by the writes and flushes */
	device_fini(dev);
	free(file);
}

static void
file_submit(struct device *dev, struct device_io *const *ios, size_t count)
{
	struct file *file = (struct file *)dev;

	file->engine->submit(file, ios, count);
}

static void
file_wait(struct device *dev, struct device_io *io)
{
	struct file *file = (struct file *)dev;

	file->engine->wait(file, io);
}

static bool
file_has_writer(struct device *dev)
{
	return file__is_locked(((struct file *)dev)->fd);
}

static int
file_run(struct device *dev, const struct device_io *io)
{
	return file__run((struct file *)dev, io);
}

const struct device_driver device_driver_file = {
	.scheme = "file",
	.open = file_open,
	.close = file_close,
	.submit = file_submit,
	.wait = file_wait,
	.run = file_run,
	.has_writer = file_has_writer,
};
