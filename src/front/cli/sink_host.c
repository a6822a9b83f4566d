/*
 * The host as a sink. A regular file is made without a name (O_TMPFILE) where the file system has
 * that, so that not even a kill leaves it behind, and linked when it is whole. Elsewhere, and for
 * symlinks and special files, a hidden name in the same directory is renamed at the end. A
 * directory is made closed to others, and gets its mode and times when all is in it.
 *
 * Who is not root cannot give files away: the owner is then left as it is and the setid bits are
 * cleared, as cp does. Attributes that the file system does not take are told of once.
 */

#include "front/cli/cli.h"
#include "front/cli/copy.h"
#include "front/cli/host.h"
#include "front/cli/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define ACL_ACCESS  "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"

enum { TEMPORARY_TRIES = 1000, SETID_BITS = 06000 };

/* Tries the hidden names one after the other until `make` does not say EEXIST. */
static int
try_hidden(
	struct sink_file *file, int (*make)(struct sink_file *file, void *context), void *context)
{
	int result = -1;

	errno = EEXIST;
	for (int i = 0; i < TEMPORARY_TRIES && result < 0 && errno == EEXIST; i++) {
		(void)snprintf(
			file->temporary, HOST_NAME_BYTES, ".coppice-%ld-%d", (long)getpid(), i);
		result = make(file, context);
	}
	if (result < 0)
		file->temporary[0] = '\0';
	return result;
}

static int
wrap(int fd, struct sink_directory **out_directory)
{
	struct sink_directory *directory;
	struct stat st;

	if (fstat(fd, &st) != 0) {
		int saved = errno;

		(void)close(fd);
		return fail_errno(saved, "cannot be looked at");
	}
	directory = need(1, sizeof *directory);
	directory->self = (struct sink_file){ .kind = COP_DIRECTORY, .fd = fd };
	directory->space = st.st_dev;
	directory->number = st.st_ino;
	directory->has_default_acl = fgetxattr(fd, ACL_DEFAULT, NULL, 0) > 0;
	*out_directory = directory;
	return 0;
}

/* For one sync of all that was written, at the end. */
static void
note_file_system(struct sink *sink, int fd)
{
	if (sink->sync_fd < 0)
		sink->sync_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static int
locate_directory(struct sink *sink, const char *path, struct destination *destination)
{
	int fd = host_open(path, O_RDONLY | O_DIRECTORY);

	if (fd < 0)
		return fail_errno(errno, "cannot be opened");
	note_file_system(sink, fd);
	return wrap(fd, &destination->directory);
}

/* A name in a directory: what is there, if anything, is a regular file, or will be replaced. */
static int
locate_name(struct sink *sink, const char *path, struct destination *destination)
{
	const char *name;
	size_t bytes;
	char *above;
	int err;

	path_last(path, &name, &bytes);
	if (name_is_special(name, bytes))
		return fail_errno(ENOTDIR, "cannot be made");
	above = need_copy_of(path, (size_t)(name - path));
	err = locate_directory(sink, above[0] != '\0' ? above : ".", destination);
	free(above);
	if (!err)
		destination->name = need_copy_of(name, bytes);
	return err;
}

static int
locate_stream(const char *path, struct destination *destination)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return fail_errno(errno, "cannot be opened");
	destination->is_stream = true;
	destination->stream = (struct sink_file){ .kind = COP_FILE, .fd = fd, .is_stream = true };
	return 0;
}

/* 0, or the errno for which nothing is known of the path. */
static int
look_at(const char *path, struct stat *out_st)
{
	int fd = host_open(path, O_PATH);
	int result;

	if (fd < 0)
		return errno;
	result = fstat(fd, out_st) == 0 ? 0 : errno;
	(void)close(fd);
	return result;
}

static int
locate(struct sink *sink, const struct address *address, struct destination *out)
{
	struct destination destination = { .path = need_copy(address->operand) };
	struct stat st;
	int missing = look_at(address->operand, &st);
	bool slash = path_ends_in_slash(address->operand);
	char *real = NULL;
	int err;

	if (!missing && S_ISDIR(st.st_mode)) {
		err = locate_directory(sink, address->operand, &destination);
	} else if (slash && !missing) {
		err = fail_errno(ENOTDIR, "cannot be written");
	} else if (!missing && !S_ISREG(st.st_mode) && !sink->recursive) {
		err = locate_stream(address->operand, &destination);
	} else {
		/* cp writes through a symlink to a file; one to nothing it does not touch. */
		destination.wants_directory = slash;
		if (!missing && !sink->recursive)
			real = realpath(address->operand, NULL);
		err = locate_name(sink, real ? real : address->operand, &destination);
		free(real);
	}
	if (err)
		free(destination.path);
	else
		*out = destination;
	return err;
}

static int
find(struct sink *sink, struct sink_directory *directory, const char *name, size_t name_bytes,
	struct item *out_item)
{
	struct statx st;
	int err;

	(void)name_bytes;
	if (statx(directory->self.fd, name, AT_SYMLINK_NOFOLLOW, HOST_STATX_MASK, &st) != 0)
		return fail_errno(errno, "cannot be looked at");
	err = host_item(&st, out_item);
	if (!err && volumes_in_file(&sink->cli->volumes, out_item->space, out_item->number))
		err = fail(COP_EBUSY, "is the volume itself");
	return err;
}

static int
make_regular(struct sink_file *file, void *context)
{
	(void)context;
	file->fd = openat(file->directory_fd, file->temporary,
		O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	return file->fd < 0 ? -1 : 0;
}

static int
make_symlink(struct sink_file *file, void *context)
{
	return symlinkat(context, file->directory_fd, file->temporary);
}

static int
make_special(struct sink_file *file, void *context)
{
	const struct item *item = context;
	static const mode_t types[] = {
		[COP_FIFO] = S_IFIFO,
		[COP_SOCKET] = S_IFSOCK,
		[COP_CHAR_DEVICE] = S_IFCHR,
		[COP_BLOCK_DEVICE] = S_IFBLK,
	};

	return mknodat(file->directory_fd, file->temporary, types[item->kind] | 0600,
		makedev((unsigned)(item->device >> 32), (unsigned)item->device));
}

static int
open_regular(struct sink *sink, struct sink_file *file)
{
	if (!sink->has_no_tmpfile) {
		file->fd = openat(file->directory_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (file->fd >= 0)
			return 0;
		if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL)
			return -1;
		sink->has_no_tmpfile = true;
	}
	return try_hidden(file, make_regular, NULL);
}

static void
abandon(struct sink_file *file)
{
	if (file->fd > STDERR_FILENO)
		(void)close(file->fd);
	if (file->temporary[0] != '\0')
		(void)unlinkat(file->directory_fd, file->temporary, 0);
	file->fd = -1;
	file->temporary[0] = '\0';
}

/* The owner comes first: it takes away setid bits and capabilities that come after it. */
static int
set_owner(struct sink *sink, struct sink_file *file, const struct item *item)
{
	int result = file->fd >= 0 ? fchown(file->fd, item->uid, item->gid)
				   : fchownat(file->directory_fd, file->temporary, item->uid,
					     item->gid, AT_SYMLINK_NOFOLLOW);

	if (result != 0 && sink->preserve && (errno != EPERM || geteuid() == 0))
		return fail_errno(errno, "its owner cannot be set");
	file->owner_failed = result != 0;
	return 0;
}

static int
begin(struct sink *sink, struct sink_directory *directory, const struct item *item,
	const struct text *target, struct sink_file *out_file)
{
	struct item copy = *item;
	struct sink_file file = {
		.kind = item->kind,
		.fd = -1,
		.directory_fd = directory->self.fd,
		.inherits_acl = directory->has_default_acl && item->kind != COP_SYMLINK,
	};
	int result = item->kind == COP_FILE      ? open_regular(sink, &file)
		     : item->kind == COP_SYMLINK ? try_hidden(&file, make_symlink, target->data)
						 : try_hidden(&file, make_special, &copy);
	int err;

	if (result != 0)
		return fail_errno(errno, "cannot be made");
	err = set_owner(sink, &file, item);
	if (err)
		abandon(&file);
	else
		*out_file = file;
	return err;
}

static int
write_all(struct sink_file *file, uint64_t offset, const char *buffer, size_t bytes)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t put = file->is_stream ? write(file->fd, buffer + done, bytes - done)
					      : pwrite(file->fd, buffer + done, bytes - done,
							(off_t)(offset + done));

		if (put < 0 && (errno != EINTR || interrupt_requested()))
			return fail_errno(errno, "cannot be written");
		if (put > 0)
			done += (size_t)put;
	}
	return 0;
}

/* A stream gets its holes as zeros. */
static int
stream_zeros(struct sink_file *file, uint64_t to)
{
	static const char zeros[64 << 10];

	while (file->streamed_bytes < to) {
		uint64_t left = to - file->streamed_bytes;
		size_t bytes = left < sizeof zeros ? (size_t)left : sizeof zeros;
		int err = write_all(file, 0, zeros, bytes);

		if (err)
			return err;
		file->streamed_bytes += bytes;
	}
	return 0;
}

static int
write_content(struct sink_file *file, uint64_t offset, const void *buffer, size_t bytes)
{
	int err = 0;

	if (file->is_stream) {
		err = stream_zeros(file, offset);
		file->streamed_bytes += bytes;
	}
	return err ? err : write_all(file, offset, buffer, bytes);
}

static int
set_length(struct sink_file *file, uint64_t length)
{
	if (file->is_stream)
		return stream_zeros(file, length);
	if (ftruncate(file->fd, (off_t)length) != 0)
		return fail_errno(errno, "its length cannot be set");
	return 0;
}

static int
set_one(struct sink_file *file, const char *name, const struct text *value)
{
	char path[HOST_PROC_BYTES];

	if (file->fd >= 0)
		return fsetxattr(file->fd, name, text_string(value), value->bytes, 0);
	host_proc_path(file->directory_fd, file->temporary, path);
	return lsetxattr(path, name, text_string(value), value->bytes, 0);
}

static int
xattr_set(struct sink *sink, struct sink_file *file, const char *name, const struct text *value)
{
	if (strcmp(name, ACL_ACCESS) == 0)
		file->inherits_acl = false;
	if (strcmp(name, ACL_DEFAULT) == 0)
		file->inherits_default_acl = false;
	if (set_one(file, name, value) == 0)
		return 0;
	if (errno != ENOTSUP && errno != EPERM && errno != EACCES)
		return fail_errno(errno, "attribute %s cannot be set", name);
	if (!sink->warned_attributes)
		warn(sink->cli, NULL,
			"attribute %s cannot be set here (%s); others like it are passed over",
			name, strerrordesc_np(errno));
	sink->warned_attributes = true;
	return 0;
}

static void
drop_inherited_acl(struct sink_file *file)
{
	char path[HOST_PROC_BYTES];

	/* What cannot be taken away is then as if it had been asked for. */
	if (file->inherits_default_acl)
		(void)fremovexattr(file->fd, ACL_DEFAULT);
	if (!file->inherits_acl)
		return;
	if (file->fd >= 0) {
		(void)fremovexattr(file->fd, ACL_ACCESS);
	} else {
		host_proc_path(file->directory_fd, file->temporary, path);
		(void)lremovexattr(path, ACL_ACCESS);
	}
}

static int
set_mode(struct sink_file *file, uint32_t mode)
{
	int result;

	if (file->kind == COP_SYMLINK)
		return 0;
	if (file->owner_failed)
		mode &= ~(uint32_t)SETID_BITS;
	result = file->fd >= 0 ? fchmod(file->fd, mode)
			       : fchmodat(file->directory_fd, file->temporary, mode, 0);
	return result == 0 ? 0 : fail_errno(errno, "its mode cannot be set");
}

static int
set_times(struct sink_file *file, const struct item *item)
{
	const struct timespec times[2] = {
		host_timespec(item->accessed_ns),
		host_timespec(item->modified_ns),
	};
	int result = file->fd >= 0 ? futimens(file->fd, times)
				   : utimensat(file->directory_fd, file->temporary, times,
					     AT_SYMLINK_NOFOLLOW);

	return result == 0 ? 0 : fail_errno(errno, "its times cannot be set");
}

static int
link_descriptor(struct sink_file *file, int directory_fd, const char *name)
{
	char path[64];

	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", file->fd);
	return linkat(AT_FDCWD, path, directory_fd, name, AT_SYMLINK_FOLLOW);
}

static int
link_hidden(struct sink_file *file, void *context)
{
	(void)context;
	return link_descriptor(file, file->directory_fd, file->temporary);
}

static int
give_name(struct sink_file *file, const char *name, bool replaces)
{
	if (file->temporary[0] == '\0') {
		if (!replaces && link_descriptor(file, file->directory_fd, name) == 0)
			return 0;
		if (!replaces && errno != EEXIST)
			return fail_errno(errno, "cannot be named");
		if (try_hidden(file, link_hidden, NULL) != 0)
			return fail_errno(errno, "cannot be named");
	}
	if (renameat(file->directory_fd, file->temporary, file->directory_fd, name) != 0)
		return fail_errno(errno, "cannot be named");
	file->temporary[0] = '\0';
	return 0;
}

static int
finish(struct sink *sink, struct sink_file *file, struct sink_directory *directory,
	const char *name, size_t name_bytes, const struct item *item, bool replaces)
{
	int err = 0;

	(void)name_bytes;
	if (!file->is_stream) {
		file->directory_fd = directory->self.fd;
		if (sink->preserve)
			drop_inherited_acl(file);
		err = set_mode(file, item->mode);
		if (!err && sink->preserve)
			err = set_times(file, item);
		if (!err)
			err = give_name(file, name, replaces);
	}
	abandon(file);
	return err;
}

struct old_name {
	int directory_fd;
	const char *name;
};

static int
link_old_name(struct sink_file *file, void *context)
{
	const struct old_name *old = context;

	return linkat(old->directory_fd, old->name, file->directory_fd, file->temporary, 0);
}

static int
link_again(struct sink *sink, const struct idset_row *row, struct sink_directory *directory,
	const char *name, size_t name_bytes, bool replaces)
{
	struct sink_file file = { .fd = -1, .directory_fd = directory->self.fd };
	struct old_name old = { 0 };
	int result;
	int err = 0;

	(void)sink;
	(void)name_bytes;
	old.directory_fd = host_open_parent(row->place, &old.name);
	if (old.directory_fd < 0)
		return fail_errno(errno, "its first name cannot be found");
	if (!replaces)
		result = linkat(old.directory_fd, old.name, directory->self.fd, name, 0);
	else
		result = try_hidden(&file, link_old_name, &old);
	if (result != 0)
		err = fail_errno(errno, "cannot be linked");
	else if (replaces)
		err = give_name(&file, name, true);
	abandon(&file);
	(void)close(old.directory_fd);
	return err;
}

static int
make_directory(struct sink *sink, struct sink_directory *directory, const char *name,
	size_t name_bytes, const struct item *item)
{
	(void)sink;
	(void)name_bytes;
	(void)item;
	if (mkdirat(directory->self.fd, name, 0700) != 0)
		return fail_errno(errno, "cannot be made");
	return 0;
}

static int
enter(struct sink *sink, struct sink_directory *directory, const char *name, size_t name_bytes,
	struct sink_directory **out_directory)
{
	int fd = openat(directory->self.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int err;

	(void)name_bytes;
	if (fd < 0)
		return fail_errno(errno, "cannot be opened");
	note_file_system(sink, fd);
	err = wrap(fd, out_directory);
	if (!err) {
		(*out_directory)->self.inherits_acl = (*out_directory)->has_default_acl;
		(*out_directory)->self.inherits_default_acl = (*out_directory)->has_default_acl;
	}
	return err;
}

static int
again(struct sink_directory *directory, struct sink_directory **out_directory)
{
	int fd = fcntl(directory->self.fd, F_DUPFD_CLOEXEC, 0);

	if (fd < 0)
		return fail_errno(errno, "cannot be opened");
	return wrap(fd, out_directory);
}

static int
finish_directory(struct sink *sink, struct sink_directory *directory, const struct item *item)
{
	struct sink_file *self = &directory->self;
	int err = 0;

	if (sink->preserve) {
		drop_inherited_acl(self);
		err = set_owner(sink, self, item);
	}
	if (!err)
		err = set_mode(self, item->mode);
	if (!err && sink->preserve)
		err = set_times(self, item);
	return err;
}

static void
leave(struct sink_directory *directory)
{
	abandon(&directory->self);
	free(directory);
}

static int
end(struct sink *sink)
{
	int result = 0;

	if (sink->sync_fd < 0)
		return 0;
	if (!args_has(&sink->cli->args, OPTION_NO_SYNC))
		result = syncfs(sink->sync_fd);
	if (result != 0)
		result = fail_errno(errno, "cannot be made durable");
	(void)close(sink->sync_fd);
	sink->sync_fd = -1;
	return result;
}

static void
suspend(struct sink_directory *directory)
{
	abandon(&directory->self);
	directory->is_suspended = true;
}

static int
resume(struct sink_directory *directory, struct sink_directory *below)
{
	directory->self.fd =
		host_open_above(below->self.fd, directory->space, directory->number, O_RDONLY);
	if (directory->self.fd < 0)
		return fail_errno(errno, "the directory has moved away");
	directory->is_suspended = false;
	return 0;
}

const struct sink_ops sink_host = {
	.locate = locate,
	.find = find,
	.begin = begin,
	.write = write_content,
	.set_length = set_length,
	.xattr_set = xattr_set,
	.finish = finish,
	.abandon = abandon,
	.link = link_again,
	.make_directory = make_directory,
	.enter = enter,
	.again = again,
	.finish_directory = finish_directory,
	.leave = leave,
	.end = end,
	.suspend = suspend,
	.resume = resume,
};
