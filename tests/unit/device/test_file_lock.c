#include "device/file_internal.h"

#include "base/clock.h"
#include "host.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { LINGER_MS = 50 };

struct locked_file {
	struct host_folder folder;
	struct stat st;
	int fd;
};

static int
set_up(void **state)
{
	struct locked_file *file = calloc(1, sizeof *file);

	assert_non_null(file);
	host_folder_make(&file->folder);
	file->fd = open(file->folder.file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(file->fd >= 0);
	assert_int_equal(fstat(file->fd, &file->st), 0);
	*state = file;
	return 0;
}

static int
tear_down(void **state)
{
	struct locked_file *file = *state;

	assert_int_equal(close(file->fd), 0);
	host_folder_remove(&file->folder);
	free(file);
	return 0;
}

/*
 * A process locks the file and ends, but its lock does not: a child has inherited it, as the kernel
 * keeps it while requests of a killed process are in flight. The child ends after LINGER_MS, or,
 * `until` given, when nobody writes to that pipe any more. Returns the pid, which is a zombie.
 */
static pid_t
leave_lock_behind(const struct locked_file *file, const int until[2])
{
	pid_t holder = fork();
	siginfo_t info;

	assert_true(holder >= 0);
	if (holder == 0) {
		int fd = open(file->folder.file, O_RDWR);
		char byte;

		if (fd < 0 || file__lock(fd, file->folder.file, 0, &file->st) != 0)
			_exit(1);
		if (fork() == 0) {
			if (until) {
				(void)close(until[1]);
				(void)!read(until[0], &byte, 1);
			} else {
				(void)poll(NULL, 0, LINGER_MS);
			}
		}
		_exit(0);
	}
	assert_int_equal(waitid(P_PID, (id_t)holder, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(info.si_status, 0);
	return holder;
}

static void
waits_for_the_lock_of_one_that_has_ended(void **state)
{
	const struct locked_file *file = *state;
	pid_t holder = leave_lock_behind(file, NULL);

	assert_int_equal(file__lock(file->fd, file->folder.file, 0, &file->st), 0);
	assert_int_equal(waitpid(holder, NULL, 0), holder);
}

static void
does_not_wait_for_ever(void **state)
{
	const struct locked_file *file = *state;
	int64_t began_ns = clock_monotonic_ns();
	char text[32];
	pid_t holder;
	int until[2];

	assert_int_equal(pipe2(until, O_CLOEXEC), 0);
	holder = leave_lock_behind(file, until);
	assert_int_equal(file__lock(file->fd, file->folder.file, 0, &file->st), COP_EBUSY);
	assert_true(clock_monotonic_ns() - began_ns >= 1000 * 1000 * 1000);
	(void)snprintf(text, sizeof text, "in use by process %ld", (long)holder);
	assert_non_null(strstr(err_text(), text));
	assert_int_equal(close(until[0]), 0);
	assert_int_equal(close(until[1]), 0);
	assert_int_equal(waitpid(holder, NULL, 0), holder);
}

static void
tells_of_one_that_lives(void **state)
{
	const struct locked_file *file = *state;
	int other = open(file->folder.file, O_RDWR | O_CLOEXEC);

	assert_true(other >= 0);
	assert_int_equal(file__lock(other, file->folder.file, 0, &file->st), 0);
	assert_int_equal(file__lock(file->fd, file->folder.file, 0, &file->st), COP_EBUSY);
	assert_non_null(strstr(err_text(), "(this one)"));
	assert_int_equal(file__lock(file->fd, file->folder.file, DEVICE_NO_LOCK, &file->st), 0);
	assert_int_equal(close(other), 0);
}

static void
readers_share_and_writers_do_not(void **state)
{
	const struct locked_file *file = *state;
	int other = open(file->folder.file, O_RDWR | O_CLOEXEC);

	assert_true(other >= 0);
	assert_int_equal(file__lock(other, file->folder.file, DEVICE_READ_ONLY, &file->st), 0);
	assert_int_equal(file__lock(file->fd, file->folder.file, 0, &file->st), COP_EBUSY);
	assert_int_equal(file__lock(file->fd, file->folder.file, DEVICE_READ_ONLY, &file->st), 0);
	assert_int_equal(close(other), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		TEST(waits_for_the_lock_of_one_that_has_ended),
		TEST(does_not_wait_for_ever),
		TEST(tells_of_one_that_lives),
		TEST(readers_share_and_writers_do_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
