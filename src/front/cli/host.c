#include "front/cli/host.h"

#include "base/num.h"
#include "front/cli/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define NS_PER_SECOND INT64_C(1000000000)

/* Replaces *fd by what `path`, shorter than PATH_MAX, leads to from it. */
static int
step(int *fd, const char *path)
{
	int below = openat(*fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (below < 0)
		return -1;
	if (*fd != AT_FDCWD)
		(void)close(*fd);
	*fd = below;
	return 0;
}

/* How many bytes of `path`, which the kernel would refuse whole, end in a '/' it takes; 0: none. */
static size_t
portion_bytes(const char *path)
{
	size_t bytes = PATH_MAX - 1;

	while (bytes > 0 && path[bytes - 1] != '/')
		bytes--;
	return bytes;
}

/* Walks to the directory that the first `bytes` of `path` name. */
static int
open_directory(const char *path, size_t bytes)
{
	char *rest = need_copy_of(path, bytes);
	size_t at = 0;
	int fd = AT_FDCWD;
	int result = 0;

	while (result == 0 && bytes - at >= PATH_MAX) {
		size_t portion = portion_bytes(rest + at);

		if (portion < 2) {
			errno = ENAMETOOLONG;
			result = -1;
			break;
		}
		rest[at + portion - 1] = '\0';
		result = step(&fd, rest + at);
		at += portion;
		at += strspn(rest + at, "/");
	}
	if (result == 0)
		result = step(&fd, rest[at] != '\0' ? rest + at : ".");
	if (result != 0 && fd != AT_FDCWD) {
		int saved = errno;

		(void)close(fd);
		errno = saved;
	}
	free(rest);
	return result == 0 ? fd : -1;
}

int
host_open_parent(const char *path, const char **out_name)
{
	const char *name;
	size_t bytes;

	path_last(path, &name, &bytes);
	*out_name = name;
	return open_directory(path, (size_t)(name - path));
}

int
host_open(const char *path, int flags)
{
	const char *name;
	int parent;
	int fd;

	if (strlen(path) < PATH_MAX)
		return open(path, flags | O_CLOEXEC);
	parent = host_open_parent(path, &name);
	if (parent < 0)
		return -1;
	fd = openat(parent, name, flags | O_CLOEXEC);
	(void)close(parent);
	return fd;
}

static int64_t
time_ns(const struct statx_timestamp *time)
{
	int64_t ns;

	/* Some 292 years around 1970 fit; a time beyond is the nearest that does. */
	if (__builtin_mul_overflow(time->tv_sec, NS_PER_SECOND, &ns) ||
		__builtin_add_overflow(ns, (int64_t)time->tv_nsec, &ns))
		return time->tv_sec < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

static int
kind_of_mode(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return COP_FILE;
	case S_IFDIR:
		return COP_DIRECTORY;
	case S_IFLNK:
		return COP_SYMLINK;
	case S_IFIFO:
		return COP_FIFO;
	case S_IFSOCK:
		return COP_SOCKET;
	case S_IFCHR:
		return COP_CHAR_DEVICE;
	case S_IFBLK:
		return COP_BLOCK_DEVICE;
	default:
		return 0;
	}
}

int
host_item(const struct statx *st, struct item *out_item)
{
	int kind = kind_of_mode(st->stx_mode);

	if (kind == 0)
		return fail(COP_ENOTSUP, "a kind of file that is not known here");
	*out_item = (struct item){
		.kind = (enum cop_kind)kind,
		.mode = st->stx_mode & 07777,
		.uid = st->stx_uid,
		.gid = st->stx_gid,
		.links = st->stx_nlink,
		.length = st->stx_size,
		.allocated_bytes = st->stx_blocks * 512,
		.device = (uint64_t)st->stx_rdev_major << 32 | st->stx_rdev_minor,
		.created_ns = st->stx_mask & STATX_BTIME ? time_ns(&st->stx_btime) : 0,
		.modified_ns = time_ns(&st->stx_mtime),
		.accessed_ns = time_ns(&st->stx_atime),
		.space = makedev(st->stx_dev_major, st->stx_dev_minor),
		.number = st->stx_ino,
	};
	return 0;
}

void
host_proc_path(int directory_fd, const char *name, char out[static HOST_PROC_BYTES])
{
	if (directory_fd == AT_FDCWD)
		(void)snprintf(out, HOST_PROC_BYTES, "%s", name);
	else
		(void)snprintf(out, HOST_PROC_BYTES, "/proc/self/fd/%d/%s", directory_fd, name);
}

/* The directory that holds `path`, without links on the way, or the next one above that there is.
 */
static char *
directory_of(const char *path)
{
	char *there = need_copy(path);
	char *real = realpath(there, NULL);
	struct stat st;

	if (!real || stat(real, &st) != 0 || !S_ISDIR(st.st_mode)) {
		do {
			free(real);
			there[path_parent_bytes(there)] = '\0';
			real = realpath(there[0] != '\0' ? there : ".", NULL);
		} while (!real && there[0] != '\0');
	}
	free(there);
	return real;
}

char *
host_file_system(const char *path)
{
	struct stat st;
	struct stat above;
	char *at;

	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return NULL;
	at = directory_of(path);
	if (!at || stat(at, &st) != 0) {
		free(at);
		return NULL;
	}
	while (strcmp(at, "/") != 0) {
		char *parent = need_copy_of(at, max_u64((uint64_t)(strrchr(at, '/') - at), 1));

		if (stat(parent, &above) != 0 || above.st_dev != st.st_dev) {
			free(parent);
			break;
		}
		free(at);
		at = parent;
	}
	return at;
}

struct timespec
host_timespec(int64_t ns)
{
	struct timespec time = { .tv_sec = ns / NS_PER_SECOND, .tv_nsec = ns % NS_PER_SECOND };

	if (time.tv_nsec < 0) {
		time.tv_nsec += NS_PER_SECOND;
		time.tv_sec--;
	}
	return time;
}

int
host_open_above(int fd, uint64_t space, uint64_t number, int flags)
{
	int above = openat(fd, "..", flags | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (above < 0)
		return -1;
	if (fstat(above, &st) != 0 || st.st_dev != space || st.st_ino != number) {
		(void)close(above);
		errno = ESTALE;
		return -1;
	}
	return above;
}
