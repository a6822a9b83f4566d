#include "host.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/seccomp.h>

void
host_folder_make(struct host_folder *folder)
{
	(void)snprintf(folder->path, sizeof folder->path, "/var/tmp/coppice-XXXXXX");
	if (!mkdtemp(folder->path))
		abort();
	(void)snprintf(folder->file, sizeof folder->file, "%s/device", folder->path);
}

void
host_folder_remove(const struct host_folder *folder)
{
	if (unlink(folder->file) != 0)
		assert(errno == ENOENT);
	if (rmdir(folder->path) != 0)
		abort();
}

static void
install(struct sock_filter *code, size_t count)
{
	const struct sock_fprog program = { .len = (unsigned short)count, .filter = code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		abort();
}

void
host_refuse(long syscall_number, int host_errno)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)syscall_number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)host_errno),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	install(code, sizeof code / sizeof code[0]);
}

void
host_refuse_argument(long syscall_number, int index, uint32_t value, int host_errno)
{
	/* The lower half of an argument of 64 bits. */
	uint32_t at = (uint32_t)(offsetof(struct seccomp_data, args) + 8 * (size_t)index);
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)syscall_number, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)host_errno),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	install(code, sizeof code / sizeof code[0]);
}

void
host_in_child(int (*body)(void *context), void *context)
{
	pid_t child = fork();
	int status;

	if (child < 0)
		abort();
	if (child == 0)
		_exit(body(context));
	if (waitpid(child, &status, 0) != child)
		abort();
	if (status != 0) {
		(void)fprintf(stderr, "child: status %#x\n", (unsigned)status);
		abort();
	}
}

/* The kernel shows those that it starts for io_uring among ours, by the name "iou-wrk-PID". */
static bool
is_of_the_kernel(const char *task)
{
	char path[300];
	char name[32] = "";
	FILE *file;

	(void)snprintf(path, sizeof path, "/proc/self/task/%s/comm", task);
	file = fopen(path, "re");
	if (!file)
		return true; /* it has just ended */
	if (!fgets(name, sizeof name, file))
		name[0] = '\0';
	(void)fclose(file); /* read only */
	return strncmp(name, "iou-", 4) == 0;
}

static void *
do_nothing(void *context)
{
	return context;
}

int
host_thread_count(void)
{
	DIR *tasks = opendir("/proc/self/task");
	const struct dirent *entry;
	int count = 0;

	if (!tasks)
		abort();
	while ((entry = readdir(tasks))) {
		if (entry->d_name[0] != '.' && !is_of_the_kernel(entry->d_name))
			count++;
	}
	(void)closedir(tasks);
	return count;
}

void
host_start_first_thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, do_nothing, NULL) != 0 || pthread_join(thread, NULL) != 0)
		abort();
}
