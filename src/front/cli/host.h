#ifndef COPPICE_FRONT_CLI_HOST_H
#define COPPICE_FRONT_CLI_HOST_H

/*
 * host: paths of the host, of any length, and what is known of a file there.
 */

#include "base/err.h"
#include "front/cli/copy.h"

#include <sys/stat.h>

enum { HOST_PROC_BYTES = 32 + HOST_NAME_BYTES };

/*
 * The directory that holds the last name of `path`, opened with O_PATH, and where in `path` that
 * name begins. A path longer than the kernel takes is walked in portions. -1 with errno.
 */
int host_open_parent(const char *path, const char **out_name);

/* Opens a path of any length. -1 with errno. */
int host_open(const char *path, int flags);

/* COP_ENOTSUP for a kind of file that volumes do not know. */
MUST_CHECK int host_item(const struct statx *st, struct item *out_item);

enum { HOST_STATX_MASK = STATX_BASIC_STATS | STATX_BTIME };

/* A path of the kernel's own for a name in an open directory: no system call takes both. */
void host_proc_path(int directory_fd, const char *name, char out[static HOST_PROC_BYTES]);

/* Where the file system is mounted that holds `path`, or would hold it; to be freed. NULL: it is no
 * file, or nothing is known. */
char *host_file_system(const char *path);

struct timespec host_timespec(int64_t time_ns);

/* The directory above an open one, if it is still this one. -1 with errno. */
int host_open_above(int fd, uint64_t space, uint64_t number, int flags);

#endif
