/*
 * The lock of openers: flock(), so that it holds between processes as well as between two opens in
 * one process. Who holds it is looked up in /proc/locks.
 *
 * It ends with the process, but a moment later: the kernel lets go of a killed process' files when
 * the last of its requests has ended. So where nobody who lives holds the lock, the next opener
 * waits for that.
 */

#include "device/file_internal.h"

#include "base/lock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

/* A second, and longer on a busy host, where the one that has ended needs longer as well. */
static const int dead_holder_tries = 100;
static const int living_holder_tries = 3; /* file__is_locked() holds it for a moment */
static const struct timespec retry_pause = { .tv_nsec = 10 * 1000 * 1000 };

/*
 * The process that holds a lock on this file, or 0 when the host does not tell. Where stat() and
 * the table of locks name a device differently (btrfs, overlayfs), the inode number must do.
 */
static long
find_holder(const struct stat *wanted)
{
	FILE *locks = fopen("/proc/locks", "re");
	char line[256];
	long holder = 0;
	long likely = 0;

	if (!locks)
		return 0;
	/* 1: FLOCK  ADVISORY  WRITE 4711 08:01:131 0 EOF; those who wait have "->" after the
	 * number. */
	while (holder == 0 && fgets(line, sizeof line, locks)) {
		unsigned major_number;
		unsigned minor_number;
		unsigned long inode;
		long pid;

		if (sscanf(line, "%*d: FLOCK %*s %*s %ld %x:%x:%lu", &pid, &major_number,
			    &minor_number, &inode) != 4 ||
			inode != wanted->st_ino || pid <= 0)
			continue;
		if (major_number == major(wanted->st_dev) && minor_number == minor(wanted->st_dev))
			holder = pid;
		likely = pid;
	}
	(void)fclose(locks); /* read only: nothing to lose */
	return holder != 0 ? holder : likely;
}

/* False for one that has ended, though its parent may not know yet. */
static bool
is_alive(long pid)
{
	char path[48];
	char line[512];
	const char *state = NULL;
	FILE *stat_file;

	(void)snprintf(path, sizeof path, "/proc/%ld/stat", pid);
	stat_file = fopen(path, "re");
	if (!stat_file)
		return false;
	/* 4711 (name, which may hold anything) Z 1 ... */
	if (fgets(line, sizeof line, stat_file))
		state = strrchr(line, ')');
	(void)fclose(stat_file); /* read only: nothing to lose */
	return state && state[1] == ' ' && state[2] != 'Z' && state[2] != 'X';
}

/* 0, or an errno. */
static int
try_lock(int fd, int how)
{
	int host;

	do {
		host = flock(fd, how | LOCK_NB);
	} while (host != 0 && errno == EINTR);
	return host == 0 ? 0 : errno;
}

int
file__lock(int fd, const char *path, uint32_t flags, const struct stat *st)
{
	int how = flags & DEVICE_READ_ONLY ? LOCK_SH : LOCK_EX;
	int dead = 0;   /* times that nobody who lives was found */
	int living = 0; /* times that a living holder was found */
	long holder;
	int host;

	if (flags & DEVICE_NO_LOCK)
		return 0;
	for (;;) {
		host = try_lock(fd, how);
		if (host == 0)
			return 0;
		if (host != EWOULDBLOCK)
			return fail_errno(host, "%s: lock", path);
		holder = find_holder(st);
		if (holder != 0 && is_alive(holder))
			living++;
		else
			dead++;
		if (living == living_holder_tries || dead > dead_holder_tries)
			break;
		lock_assert_none_held();
		(void)nanosleep(&retry_pause, NULL); /* a shorter one does no harm */
	}
	if (holder == 0)
		return fail(COP_EBUSY, "%s: in use by another process", path);
	return fail(COP_EBUSY, "%s: in use by process %ld%s", path, holder,
		holder == getpid() ? " (this one)" : "");
}

/* A shared lock for a moment. */
bool
file__is_locked(int fd)
{
	int host = try_lock(fd, LOCK_SH);

	if (host != 0)
		return host == EWOULDBLOCK;
	(void)flock(fd, LOCK_UN); /* it was this moment's */
	return false;
}
