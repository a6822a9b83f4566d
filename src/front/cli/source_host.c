/*
 * Files of the host as a source. Regular files and directories are opened, relative to the open
 * directory they are in, without following a symlink; everything else is only looked at by name,
 * as opening a FIFO or a device could wait or act.
 */

#include "base/num.h"
#include "front/cli/cli.h"
#include "front/cli/copy.h"
#include "front/cli/host.h"
#include "front/cli/interrupt.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { OPEN_FLAGS = O_RDONLY | O_NONBLOCK | O_CLOEXEC, XATTR_TRIES = 8 };

/* O_NOATIME is for owners and root. */
static int
open_quietly(int directory_fd, const char *name, int flags)
{
	int fd = openat(directory_fd, name, OPEN_FLAGS | O_NOATIME | flags);

	if (fd < 0 && errno == EPERM)
		fd = openat(directory_fd, name, OPEN_FLAGS | flags);
	return fd;
}

static int
look(int fd, const char *name, int flags, struct item *out_item)
{
	struct statx st;

	if (statx(fd, name, flags | AT_NO_AUTOMOUNT, HOST_STATX_MASK, &st) != 0)
		return fail_errno(errno, "cannot be looked at");
	return host_item(&st, out_item);
}

/* Opens what is opened and looks at it, by what `type` of readdir(3) promises, or by looking. */
static int
open_entry(int directory_fd, const char *name, unsigned char type, int nofollow,
	struct source_file *file)
{
	int follow_flag = nofollow ? AT_SYMLINK_NOFOLLOW : 0;
	int err;

	file->fd = -1;
	file->directory_fd = directory_fd;
	(void)strncpy(file->name, name, HOST_NAME_BYTES - 1);
	if (type != DT_REG && type != DT_DIR) {
		err = look(directory_fd, name, follow_flag, &file->item);
		if (err || (file->item.kind != COP_FILE && file->item.kind != COP_DIRECTORY))
			return err;
	}
	file->fd = open_quietly(directory_fd, name, nofollow);
	if (file->fd < 0)
		return fail_errno(errno, "cannot be opened");
	err = look(file->fd, "", AT_EMPTY_PATH, &file->item);
	if (err) {
		(void)close(file->fd);
		file->fd = -1;
	}
	return err;
}

static void
close_file(struct source_file *file)
{
	if (file->fd > STDIN_FILENO)
		(void)close(file->fd);
	file->fd = -1;
	if (file->owns_directory_fd)
		(void)close(file->directory_fd);
	file->owns_directory_fd = false;
}

static int
open_top(struct source *source, const struct address *address, bool follow,
	struct source_file *out_file)
{
	struct source_file file = { .fd = -1 };
	const char *name;
	int parent = host_open_parent(address->operand, &name);
	char *last = need_copy(name);
	size_t bytes = strlen(last);
	int err;

	(void)source;
	if (parent < 0) {
		free(last);
		return fail_errno(errno, "cannot be opened");
	}
	/* A slash at the end says that a symlink is to be followed; the name itself is without. */
	while (bytes > 0 && last[bytes - 1] == '/') {
		last[--bytes] = '\0';
		follow = true;
	}
	if (bytes >= HOST_NAME_BYTES)
		err = fail_errno(ENAMETOOLONG, "cannot be opened");
	else
		err = open_entry(
			parent, bytes > 0 ? last : ".", DT_UNKNOWN, follow ? 0 : O_NOFOLLOW, &file);
	if (!err && path_ends_in_slash(address->operand) && file.item.kind != COP_DIRECTORY)
		err = fail_errno(ENOTDIR, "cannot be opened");
	free(last);
	file.directory_fd = parent;
	file.owns_directory_fd = true;
	if (err)
		close_file(&file);
	else
		*out_file = file;
	return err;
}

static int
open_in(struct source *source, struct source_directory *directory, const char *name,
	size_t name_bytes, struct source_file *out_file)
{
	struct source_file file = { 0 };
	unsigned char type = (unsigned char)name[-1];
	int err;

	(void)source;
	if (name_bytes >= HOST_NAME_BYTES)
		return fail_errno(ENAMETOOLONG, "cannot be opened");
	err = open_entry(directory->self.fd, name, type, O_NOFOLLOW, &file);
	if (!err)
		*out_file = file;
	return err;
}

static int
read_names(int fd, struct text *names)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	DIR *stream = copy >= 0 ? fdopendir(copy) : NULL;
	const struct dirent *entry;

	if (!stream) {
		if (copy >= 0)
			(void)close(copy);
		return fail_errno(errno, "cannot be listed");
	}
	while (errno = 0, (entry = readdir(stream)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		text_add(names, &entry->d_type, 1);
		text_add(names, entry->d_name, strlen(entry->d_name) + 1);
	}
	if (errno != 0) {
		int saved = errno;

		(void)closedir(stream);
		return fail_errno(saved, "cannot be listed");
	}
	(void)closedir(stream);
	return 0;
}

static int
enter(struct source *source, struct source_file *file, struct source_directory **out_directory)
{
	struct source_directory *directory = need(1, sizeof *directory);
	int err;

	(void)source;
	err = read_names(file->fd, &directory->names);
	if (err) {
		text_fini(&directory->names);
		free(directory);
		return err;
	}
	directory->self = *file;
	file->fd = -1;
	*out_directory = directory;
	return 0;
}

static int
next(struct source_directory *directory, const char **out_name, size_t *out_name_bytes)
{
	if (directory->next == directory->names.bytes) {
		*out_name = NULL;
		return 0;
	}
	*out_name = directory->names.data + directory->next + 1;
	*out_name_bytes = strlen(*out_name);
	directory->next += *out_name_bytes + 2;
	return 0;
}

static void
leave(struct source_directory *directory)
{
	close_file(&directory->self);
	text_fini(&directory->names);
	free(directory);
}

static int
find_data(struct source_file *file, uint64_t offset, uint64_t *out_begin, uint64_t *out_end)
{
	off_t begin = lseek(file->fd, (off_t)offset, SEEK_DATA);
	off_t end;

	if (begin < 0 && errno == ENXIO) {
		*out_begin = *out_end = file->item.length;
		return 0;
	}
	end = begin < 0 ? -1 : lseek(file->fd, begin, SEEK_HOLE);
	/* Where the host cannot tell, all of it is data. */
	*out_begin = end < 0 ? offset : (uint64_t)begin;
	*out_end = end < 0 ? max_u64(file->item.length, offset) : (uint64_t)end;
	return 0;
}

/* One system call, again when a signal came that does not stop us. */
static ssize_t
read_once(struct source_file *file, uint64_t offset, void *buffer, size_t bytes)
{
	ssize_t got;

	do {
		got = file->is_stream ? read(file->fd, buffer, bytes)
				      : pread(file->fd, buffer, bytes, (off_t)offset);
	} while (got < 0 && errno == EINTR && !interrupt_requested());
	return got;
}

static int
read_content(
	struct source_file *file, uint64_t offset, void *buffer, size_t bytes, size_t *out_bytes)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t got = read_once(file, offset + done, (char *)buffer + done, bytes - done);

		if (got < 0)
			return fail_errno(errno, "cannot be read");
		done += (size_t)got;
		/* A regular file gives less only at its end: the usual small file is one call. */
		if (got == 0 || (!file->is_stream && offset + done == file->item.length))
			break;
	}
	*out_bytes = done;
	return 0;
}

static int
read_target(struct source_file *file, struct text *out)
{
	size_t room = file->item.length > 0 ? file->item.length + 1 : 256;

	for (;;) {
		ssize_t got =
			readlinkat(file->directory_fd, file->name, text_room(out, room), room);

		if (got < 0)
			return fail_errno(errno, "cannot be read");
		if ((size_t)got < room) {
			out->bytes += (size_t)got;
			out->data[out->bytes] = '\0';
			return 0;
		}
		room *= 2;
	}
}

static ssize_t
list_once(struct source_file *file, char *buffer, size_t bytes)
{
	char path[HOST_PROC_BYTES];

	if (file->fd >= 0)
		return flistxattr(file->fd, buffer, bytes);
	host_proc_path(file->directory_fd, file->name, path);
	return llistxattr(path, buffer, bytes);
}

static ssize_t
get_once(struct source_file *file, const char *name, char *buffer, size_t bytes)
{
	char path[HOST_PROC_BYTES];

	if (file->fd >= 0)
		return fgetxattr(file->fd, name, buffer, bytes);
	host_proc_path(file->directory_fd, file->name, path);
	return lgetxattr(path, name, buffer, bytes);
}

/* Calls again with more room until what comes fits; it may grow between two calls. */
static int
read_attribute(struct source_file *file, const char *name, struct text *out)
{
	ssize_t got = -1;
	size_t room = 256;

	errno = ERANGE;
	for (int i = 0; i < XATTR_TRIES && got < 0 && errno == ERANGE; i++) {
		char *buffer = text_room(out, room);

		got = name ? get_once(file, name, buffer, room) : list_once(file, buffer, room);
		room *= 4;
	}
	if (got >= 0)
		out->bytes += (size_t)got;
	return got < 0 ? -1 : 0;
}

static int
xattr_list(struct source_file *file, struct text *out)
{
	if (read_attribute(file, NULL, out) == 0 || errno == ENOTSUP || errno == ENOENT)
		return 0;
	return fail_errno(errno, "its attributes cannot be listed");
}

static int
xattr_get(struct source_file *file, const char *name, struct text *out)
{
	if (read_attribute(file, name, out) == 0)
		return 0;
	return fail_errno(errno, "attribute %s cannot be read", name);
}

static void
suspend(struct source_directory *directory)
{
	close_file(&directory->self);
	directory->is_suspended = true;
}

static int
resume(struct source_directory *directory, struct source_directory *below)
{
	const struct item *item = &directory->self.item;

	directory->self.fd = host_open_above(below->self.fd, item->space, item->number, OPEN_FLAGS);
	if (directory->self.fd < 0)
		return fail_errno(errno, "the directory has moved away");
	directory->is_suspended = false;
	return 0;
}

void
source_host_stream(struct source_file *out_file)
{
	*out_file = (struct source_file){
		.item = { .kind = COP_FILE, .mode = 0666, .links = 1 },
		.is_stream = true,
		.fd = STDIN_FILENO,
		.directory_fd = AT_FDCWD,
	};
}

int
source_host_read_special(struct source_file *file)
{
	int fd = openat(file->directory_fd, file->name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int saved = errno;

	close_file(file);
	if (fd < 0)
		return fail_errno(saved, "cannot be opened");
	file->fd = fd;
	file->item.kind = COP_FILE;
	file->item.length = 0;
	file->is_stream = true;
	return 0;
}

const struct source_ops source_host = {
	.open_top = open_top,
	.open = open_in,
	.close = close_file,
	.enter = enter,
	.next = next,
	.leave = leave,
	.data = find_data,
	.read = read_content,
	.target = read_target,
	.xattr_list = xattr_list,
	.xattr_get = xattr_get,
	.suspend = suspend,
	.resume = resume,
};
