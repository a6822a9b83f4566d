#include "front/cli/host.h"

#include "front/cli/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

enum { LEVELS = 60, NAME_BYTES = 200 };

/* A directory far below any path that one system call takes. */
struct deep {
	char top[32];
	struct text path; /* of a file at the bottom */
	int fds[LEVELS];
	char name[NAME_BYTES + 1];
};

static int
make_deep(void **state)
{
	static struct deep world;
	struct deep *deep = &world;
	int at;

	strcpy(deep->top, "/tmp/coppice-host-XXXXXX");
	assert_non_null(mkdtemp(deep->top));
	text_add_string(&deep->path, deep->top);
	memset(deep->name, 'n', NAME_BYTES);
	at = open(deep->top, O_RDONLY | O_DIRECTORY);
	for (int i = 0; i < LEVELS; i++) {
		deep->fds[i] = at;
		assert_int_equal(mkdirat(at, deep->name, 0700), 0);
		text_add_name(&deep->path, deep->name, NAME_BYTES);
		at = openat(at, deep->name, O_RDONLY | O_DIRECTORY);
		assert_true(at >= 0);
	}
	(void)close(openat(at, "file", O_CREAT | O_WRONLY, 0600));
	(void)close(at);
	text_add_name(&deep->path, "file", 4);
	*state = deep;
	return 0;
}

static int
remove_deep(void **state)
{
	struct deep *deep = *state;
	int last = openat(deep->fds[LEVELS - 1], deep->name, O_RDONLY | O_DIRECTORY);

	(void)unlinkat(last, "file", 0);
	(void)close(last);
	for (int i = LEVELS - 1; i >= 0; i--) {
		(void)unlinkat(deep->fds[i], deep->name, AT_REMOVEDIR);
		(void)close(deep->fds[i]);
	}
	(void)rmdir(deep->top);
	text_fini(&deep->path);
	return 0;
}

static void
opens_paths_longer_than_the_kernel_takes(void **state)
{
	struct deep *deep = *state;
	const char *name;
	int fd;

	assert_true(deep->path.bytes > 2 * PATH_MAX);
	assert_int_equal(open(deep->path.data, O_RDONLY), -1);
	assert_int_equal(errno, ENAMETOOLONG);
	fd = host_open(deep->path.data, O_RDONLY);
	assert_true(fd >= 0);
	(void)close(fd);

	fd = host_open_parent(deep->path.data, &name);
	assert_true(fd >= 0);
	assert_string_equal(name, "file");
	assert_int_equal(faccessat(fd, name, F_OK, 0), 0);
	(void)close(fd);
}

static void
says_why_a_path_cannot_be_opened(void **state)
{
	struct deep *deep = *state;

	text_cut(&deep->path, deep->path.bytes - 1);
	assert_int_equal(host_open(deep->path.data, O_RDONLY), -1);
	assert_int_equal(errno, ENOENT);
	text_add_string(&deep->path, "e/below");
	assert_int_equal(host_open(deep->path.data, O_RDONLY), -1);
	assert_int_equal(errno, ENOTDIR);
	text_cut(&deep->path, deep->path.bytes - strlen("/below"));
}

static void
finds_the_directory_above_only_if_it_is_the_same(void **state)
{
	struct deep *deep = *state;
	struct stat st;
	int fd;

	assert_int_equal(fstat(deep->fds[0], &st), 0);
	fd = host_open_above(deep->fds[1], st.st_dev, st.st_ino, O_RDONLY);
	assert_true(fd >= 0);
	(void)close(fd);
	assert_int_equal(host_open_above(deep->fds[1], st.st_dev, st.st_ino + 1, O_RDONLY), -1);
	assert_int_equal(errno, ESTALE);
}

static void
reads_times_before_1970(void **state)
{
	struct timespec time = host_timespec(-1);

	(void)state;
	assert_int_equal(time.tv_sec, -1);
	assert_int_equal(time.tv_nsec, 999999999);
	time = host_timespec(INT64_MIN);
	assert_true(time.tv_nsec >= 0);
}

/* /proc is mounted wherever the program runs. */
static void
finds_where_a_file_system_is_mounted(void **state)
{
	static const char *const paths[] = { "/proc", "/proc/", "/proc/self/status", "/proc/none",
		"/proc/none/below", "/proc/self/../none" };
	struct deep *deep = *state;
	struct stat above;
	struct stat st;
	char *path;
	char *root;

	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		root = host_file_system(paths[i]);
		assert_string_equal(root, "/proc");
		free(root);
	}
	root = host_file_system("/");
	assert_string_equal(root, "/");
	free(root);
	assert_null(host_file_system("/dev/null"));

	/* Wherever that is: it is another one above. */
	path = need_format("%s/none", deep->top);
	root = host_file_system(path);
	assert_int_equal(stat(root, &st), 0);
	assert_int_equal(stat(deep->top, &above), 0);
	assert_int_equal(st.st_dev, above.st_dev);
	assert_int_equal(strncmp(path, root, strlen(root)), 0);
	free(root);
	free(path);
	root = host_file_system("none");
	assert_non_null(root);
	assert_int_equal(root[0], '/');
	free(root);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_paths_longer_than_the_kernel_takes),
		cmocka_unit_test(says_why_a_path_cannot_be_opened),
		cmocka_unit_test(finds_the_directory_above_only_if_it_is_the_same),
		cmocka_unit_test(reads_times_before_1970),
		cmocka_unit_test(finds_where_a_file_system_is_mounted),
	};

	return cmocka_run_group_tests(tests, make_deep, remove_deep);
}
