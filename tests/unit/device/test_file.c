#include "device/device.h"

#include "base/num.h"
#include "device/file_internal.h"
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/loop.h>

#include <cmocka.h>

static const struct device_options plain = { .flags = 0 };

static int
set_up(void **state)
{
	struct host_folder *folder = calloc(1, sizeof *folder);

	assert_non_null(folder);
	host_folder_make(folder);
	*state = folder;
	return 0;
}

static int
tear_down(void **state)
{
	host_folder_remove(*state);
	free(*state);
	return 0;
}

static struct device *
create(const struct host_folder *folder, uint64_t blocks)
{
	const struct device_options options = {
		.flags = DEVICE_CREATE,
		.create_bytes = blocks * BLOCK_BYTES,
	};
	struct device *dev;

	assert_int_equal(device_open(folder->file, &options, &dev), 0);
	return dev;
}

static off_t
size_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

static void
refuses_what_is_neither_file_nor_disk(void **state)
{
	const struct host_folder *folder = *state;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct device *dev = NULL;
	int fd;

	assert_int_equal(device_open(folder->path, &plain, &dev), COP_EINVAL);
	assert_non_null(strstr(err_text(), "a directory"));
	assert_int_equal(device_open("/dev/null", &plain, &dev), COP_EINVAL);
	assert_non_null(strstr(err_text(), "a character device"));

	assert_int_equal(mkfifo(folder->file, 0600), 0);
	assert_int_equal(device_open(folder->file, &plain, &dev), COP_EINVAL);
	assert_non_null(strstr(err_text(), "a FIFO"));
	assert_int_equal(unlink(folder->file), 0);

	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_true(fd >= 0);
	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s", folder->file);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(device_open(folder->file, &plain, &dev), COP_EINVAL);
	assert_non_null(strstr(err_text(), "a socket"));
	assert_int_equal(close(fd), 0);
	assert_null(dev);
}

static void
says_that_nothing_is_there(void **state)
{
	const struct host_folder *folder = *state;
	struct device *dev;

	assert_int_equal(device_open(folder->file, &plain, &dev), COP_ENOENT);
	assert_non_null(strstr(err_text(), folder->file));
	assert_int_equal(device_open("", &plain, &dev), COP_ENOENT);
}

static void
creates_once_and_grows_only(void **state)
{
	const struct host_folder *folder = *state;
	struct device_options options = {
		.flags = DEVICE_CREATE,
		.create_bytes = 10 * BLOCK_BYTES,
	};
	struct device *dev;

	device_close(create(folder, 10));
	assert_int_equal(size_of(folder->file), 10 * BLOCK_BYTES);
	assert_int_equal(device_open(folder->file, &options, &dev), COP_EEXIST);

	options.flags = DEVICE_GROW;
	options.create_bytes = 20 * BLOCK_BYTES;
	assert_int_equal(device_open(folder->file, &options, &dev), 0);
	assert_int_equal(device_blocks(dev), 20);
	device_close(dev);
	options.create_bytes = 5 * BLOCK_BYTES;
	assert_int_equal(device_open(folder->file, &options, &dev), 0);
	assert_int_equal(device_blocks(dev), 20);
	device_close(dev);

	options.flags = DEVICE_GROW | DEVICE_READ_ONLY;
	assert_int_equal(device_open(folder->file, &options, &dev), COP_EINVAL);
}

static void
reserves_space_when_asked(void **state)
{
	const struct host_folder *folder = *state;
	const struct device_options options = {
		.flags = DEVICE_CREATE | DEVICE_PREALLOCATE,
		.create_bytes = 64 * BLOCK_BYTES,
	};
	struct device *dev;
	struct stat st;

	assert_int_equal(device_open(folder->file, &options, &dev), 0);
	assert_int_equal(stat(folder->file, &st), 0);
	assert_true(st.st_blocks * 512 >= 64 * BLOCK_BYTES);
	device_close(dev);
}

static void
leaves_nothing_behind_when_creation_fails(void **state)
{
	const struct host_folder *folder = *state;
	struct device_options options = { .flags = DEVICE_CREATE, .create_bytes = INT64_MAX };
	struct device *dev;

	assert_int_equal(device_open(folder->file, &options, &dev), COP_EFBIG);
	assert_int_equal(access(folder->file, F_OK), -1);
	options.create_bytes = UINT64_MAX;
	assert_int_equal(device_open(folder->file, &options, &dev), COP_EFBIG);
	assert_int_equal(access(folder->file, F_OK), -1);
}

static void
does_not_count_what_is_less_than_a_block(void **state)
{
	const struct host_folder *folder = *state;
	struct device *dev = create(folder, 3);

	device_close(dev);
	assert_int_equal(truncate(folder->file, 3 * BLOCK_BYTES - 1), 0);
	assert_int_equal(device_open(folder->file, &plain, &dev), 0);
	assert_int_equal(device_blocks(dev), 2);
	device_close(dev);
	assert_int_equal(truncate(folder->file, 0), 0);
	assert_int_equal(device_open(folder->file, &plain, &dev), 0);
	assert_int_equal(device_blocks(dev), 0);
	device_close(dev);
}

/* By the thread that waits for it, whatever carries batches. */
static void
a_single_request_is_one_system_call(void **state)
{
	const struct host_folder *folder = *state;
	struct device *dev = create(folder, 64);
	uint8_t *blocks = block_buffer_alloc(64);
	uint64_t before = device_stats(dev).syscalls;
	struct device_io io;
	struct device_io *const one[] = { &io };

	assert_non_null(blocks);
	assert_int_equal(device_read(dev, 0, blocks, 64), 0);
	assert_int_equal(device_stats(dev).syscalls, before + 1);
	assert_int_equal(device_write(dev, 0, blocks, 64), 0);
	assert_int_equal(device_stats(dev).syscalls, before + 2);
	assert_int_equal(device_flush(dev), 0);
	assert_int_equal(device_stats(dev).syscalls, before + 3);
	assert_int_equal(device_write_durably(dev, 0, blocks, 64), 0);
	assert_int_equal(device_stats(dev).syscalls, before + 4);
	assert_int_equal(device_stats(dev).fua_writes, 1);
	device_io_init(&io, DEVICE_READ, 3, 2, blocks);
	device_run(dev, one, 1);
	assert_true(io.is_done);
	assert_int_equal(io.result, 0);
	assert_int_equal(device_stats(dev).syscalls, before + 5);
	device_wait(dev, &io); /* returns at once */
	device_io_init(&io, DEVICE_READ, 63, 2, blocks);
	device_run(dev, one, 1);
	assert_int_equal(io.result, COP_EINVAL);
	assert_int_equal(device_stats(dev).syscalls, before + 5);
	assert_int_equal(device_stats(dev).failed_reads, 0);
	device_close(dev);
	free(blocks);
}

static void
goes_past_the_page_cache_unless_told(void **state)
{
	const struct host_folder *folder = *state;
	const struct device_options buffered = { .flags = DEVICE_NO_DIRECT };
	struct device *dev = create(folder, 1);
	int fd = open(folder->file, O_RDONLY | O_DIRECT | O_CLOEXEC);

	assert_int_equal(((struct file *)dev)->is_direct, fd >= 0);
	if (fd >= 0)
		assert_int_equal(close(fd), 0);
	device_close(dev);
	assert_int_equal(device_open(folder->file, &buffered, &dev), 0);
	assert_false(((struct file *)dev)->is_direct);
	device_close(dev);
}

static void
fails_where_the_file_was_cut_off(void **state)
{
	const struct host_folder *folder = *state;
	struct device *dev = create(folder, 8);
	uint8_t *blocks = block_buffer_alloc(8);
	struct device_io io;
	struct device_io *const batch[] = { &io };

	assert_non_null(blocks);
	assert_int_equal(truncate(folder->file, 5 * BLOCK_BYTES), 0);
	assert_int_equal(device_read(dev, 0, blocks, 8), COP_EIO);
	assert_non_null(strstr(err_text(), "block 5"));
	assert_int_equal(device_read(dev, 0, blocks, 5), 0);
	device_io_init(&io, DEVICE_READ, 0, 8, blocks);
	device_submit(dev, batch, 1);
	device_wait(dev, &io);
	assert_int_equal(io.result, COP_EIO);
	assert_int_equal(device_stats(dev).failed_reads, 2);
	device_close(dev);
	free(blocks);
}

/* The limit on file sizes makes the host write a part only: it must come out as the reason. */
static int
write_over_the_limit(void *context)
{
	const struct rlimit limit = { 5 * BLOCK_BYTES, 5 * BLOCK_BYTES };
	struct device *dev = context;
	uint8_t *blocks = block_buffer_alloc(8);
	int err;

	(void)signal(SIGXFSZ, SIG_IGN);
	if (!blocks || setrlimit(RLIMIT_FSIZE, &limit) != 0)
		return 2;
	memset(blocks, 9, 8 * BLOCK_BYTES);
	err = device_write(dev, 0, blocks, 8);
	free(blocks);
	return err == COP_EFBIG ? 0 : 1;
}

static void
goes_on_after_a_short_write(void **state)
{
	const struct host_folder *folder = *state;
	struct device *dev = create(folder, 8);
	uint8_t *blocks = block_buffer_alloc(8);

	assert_non_null(blocks);
	host_in_child(write_over_the_limit, dev);
	assert_int_equal(device_read(dev, 0, blocks, 8), 0);
	assert_int_equal(blocks[5 * BLOCK_BYTES - 1], 9);
	assert_int_equal(blocks[5 * BLOCK_BYTES], 0);
	device_close(dev);
	free(blocks);
}

struct refusal {
	const char *path;
	int host_errno;
	const struct file_engine *ring;
};

static int
open_without_uring(void *context)
{
	const struct refusal *refusal = context;
	struct device *dev;
	struct device_io io;
	struct device_io *const batch[] = { &io };

	host_refuse(SYS_io_uring_setup, refusal->host_errno);
	if (device_open(refusal->path, &plain, &dev) != 0)
		return 1;
	if (((struct file *)dev)->engine == refusal->ring)
		return 2;
	if (*err_text() != '\0')
		return 3;
	device_io_init(&io, DEVICE_FLUSH, 0, 0, NULL);
	device_submit(dev, batch, 1);
	device_wait(dev, &io);
	device_close(dev);
	return io.result == 0 ? 0 : 4;
}

static void
uses_threads_where_io_uring_is_refused(void **state)
{
	static const int reasons[] = { EPERM, ENOSYS, ENOMEM };
	const struct host_folder *folder = *state;
	struct device *dev = create(folder, 4);
	struct refusal refusal = { folder->file, 0, ((struct file *)dev)->engine };

	device_close(dev);
	for (size_t i = 0; i < ARRAY_COUNT(reasons); i++) {
		refusal.host_errno = reasons[i];
		host_in_child(open_without_uring, &refusal);
	}
}

/* A call of the host that fails, and what must come of the request that makes it. */
struct failure {
	long syscall_number;
	int host_errno;
	enum device_op op;
	uint32_t flags;
	uint32_t engine; /* DEVICE_NO_URING: by submission to the pool; 0: a blocking call */
	int want;
	const char *path;
};

static int
meet_failure(void *context)
{
	const struct failure *failure = context;
	const struct device_options options = { .flags = failure->engine };
	uint8_t *block = block_buffer_alloc(1);
	struct device_io io;
	struct device_io *const batch[] = { &io };
	struct device *dev;
	int result = 0;

	if (!block || device_open(failure->path, &options, &dev) != 0)
		return 1;
	memset(block, 0, BLOCK_BYTES);
	host_refuse(failure->syscall_number, failure->host_errno);
	if (failure->engine == DEVICE_NO_URING) {
		bool has_buffer = failure->op == DEVICE_READ || failure->op == DEVICE_WRITE;

		device_io_init(&io, failure->op, 1, 1, has_buffer ? block : NULL);
		io.flags = failure->flags;
		device_submit(dev, batch, 1);
		device_wait(dev, &io);
		result = io.result;
	} else if (failure->op == DEVICE_READ) {
		result = device_read(dev, 1, block, 1);
	} else if (failure->op == DEVICE_WRITE) {
		result = device_write(dev, 1, block, 1);
	} else {
		result = device_flush(dev);
	}
	device_close(dev);
	free(block);
	return result == failure->want ? 0 : 2;
}

static void
tells_the_reason_of_the_host(void **state)
{
	static const struct failure failures[] = {
		{ SYS_pread64, EIO, DEVICE_READ, 0, 0, COP_EIO, NULL },
		{ SYS_pwrite64, EIO, DEVICE_WRITE, 0, 0, COP_EIO, NULL },
		{ SYS_pwrite64, ENOSPC, DEVICE_WRITE, 0, 0, COP_ENOSPC, NULL },
		{ SYS_fdatasync, EIO, DEVICE_FLUSH, 0, 0, COP_EIO, NULL },
		{ SYS_pread64, EIO, DEVICE_READ, 0, DEVICE_NO_URING, COP_EIO, NULL },
		{ SYS_pwrite64, ENOSPC, DEVICE_WRITE, 0, DEVICE_NO_URING, COP_ENOSPC, NULL },
		{ SYS_fdatasync, EIO, DEVICE_FLUSH, 0, DEVICE_NO_URING, COP_EIO, NULL },
		{ SYS_fallocate, EIO, DEVICE_DISCARD, 0, DEVICE_NO_URING, COP_EIO, NULL },

		/* Not possible is not an error: a discard may do nothing, a flush forces too. */
		{ SYS_fallocate, EOPNOTSUPP, DEVICE_DISCARD, 0, DEVICE_NO_URING, 0, NULL },
		{ SYS_pwritev2, EOPNOTSUPP, DEVICE_WRITE, DEVICE_FUA, DEVICE_NO_URING, 0, NULL },
		{ SYS_pwritev2, EIO, DEVICE_WRITE, DEVICE_FUA, DEVICE_NO_URING, COP_EIO, NULL },
	};
	struct host_folder *folder = *state;

	device_close(create(folder, 4));
	for (size_t i = 0; i < ARRAY_COUNT(failures); i++) {
		struct failure failure = failures[i];

		failure.path = folder->file;
		host_in_child(meet_failure, &failure);
	}
}

static int
open_without_direct(void *context)
{
	uint8_t *block = block_buffer_alloc(1);
	struct device *dev;
	int err;

	host_refuse_argument(SYS_fcntl, 2, O_DIRECT, EINVAL);
	if (!block || device_open(context, &plain, &dev) != 0)
		return 1;
	if (((struct file *)dev)->is_direct)
		return 2;
	err = device_read(dev, 0, block, 1);
	device_close(dev);
	free(block);
	return err ? 3 : 0;
}

static void
goes_through_the_page_cache_where_it_must(void **state)
{
	struct host_folder *folder = *state;

	device_close(create(folder, 4));
	host_in_child(open_without_direct, folder->file);
}

/* Opens, says so, and holds the file until it is killed. */
static void
hold(const char *path, int ready)
{
	struct device *dev;

	if (device_open(path, &plain, &dev) != 0 || write(ready, "x", 1) != 1)
		_exit(1);
	for (;;)
		(void)pause();
}

static void
names_a_holder_and_outlives_it(void **state)
{
	const struct host_folder *folder = *state;
	struct device *dev = NULL;
	char text[32];
	char byte;
	pid_t child;
	int ready[2];

	device_close(create(folder, 4));
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		hold(folder->file, ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	(void)snprintf(text, sizeof text, "by process %ld", (long)child);
	assert_int_equal(device_open(folder->file, &plain, &dev), COP_EBUSY);
	assert_non_null(strstr(err_text(), text));
	assert_null(strstr(err_text(), "this one"));

	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(device_open(folder->file, &plain, &dev), 0);
	device_close(dev);
	assert_int_equal(close(ready[0]), 0);
	assert_int_equal(close(ready[1]), 0);
}

static void
shares_a_device_among_readers(void **state)
{
	const struct host_folder *folder = *state;
	const struct device_options reader = { .flags = DEVICE_READ_ONLY };
	struct device *first;
	struct device *second;
	struct device *writer;

	device_close(create(folder, 4));
	assert_int_equal(device_open(folder->file, &reader, &first), 0);
	assert_int_equal(device_open(folder->file, &reader, &second), 0);
	assert_int_equal(device_open(folder->file, &plain, &writer), COP_EBUSY);
	device_close(first);
	device_close(second);
	assert_int_equal(device_open(folder->file, &plain, &writer), 0);
	device_close(writer);
}

static int
open_as_nobody(void *context)
{
	const struct device_options reader = { .flags = DEVICE_READ_ONLY };
	struct device *dev;

	/* root is denied nothing */
	if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
		return 1;
	if (device_open(context, &plain, &dev) != COP_EACCES)
		return 2;
	if (device_open(context, &reader, &dev) != 0)
		return 3;
	device_close(dev);
	return 0;
}

static void
tells_a_read_only_file(void **state)
{
	struct host_folder *folder = *state;

	device_close(create(folder, 4));
	assert_int_equal(chmod(folder->path, 0755), 0);
	assert_int_equal(chmod(folder->file, 0444), 0);
	host_in_child(open_as_nobody, folder->file);
}

static void
punches_holes_where_it_discards(void **state)
{
	const struct host_folder *folder = *state;
	struct device *dev = create(folder, 64);
	uint8_t *blocks = block_buffer_alloc(64);
	struct stat before;
	struct stat after;

	assert_non_null(blocks);
	memset(blocks, 1, 64 * BLOCK_BYTES);
	assert_int_equal(device_write(dev, 0, blocks, 64), 0);
	assert_int_equal(device_flush(dev), 0);
	assert_int_equal(stat(folder->file, &before), 0);
	assert_int_equal(device_discard(dev, 16, 32), 0);
	assert_int_equal(stat(folder->file, &after), 0);
	assert_true(after.st_blocks < before.st_blocks);
	assert_int_equal(after.st_size, before.st_size);
	device_close(dev);
	free(blocks);
}

/* A disk of the host over the file; it goes with its last opener. NULL: the host has none. */
static char *
make_disk(const char *path, int *out_fd)
{
	static char name[32];
	const struct loop_info64 info = { .lo_flags = LO_FLAGS_AUTOCLEAR };
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int file = open(path, O_RDWR | O_CLOEXEC);
	int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
	int disk = -1;
	bool is_made = false;

	assert_true(file >= 0);
	if (number >= 0) {
		(void)snprintf(name, sizeof name, "/dev/loop%d", number);
		disk = open(name, O_RDWR | O_CLOEXEC);
		is_made = disk >= 0 && ioctl(disk, LOOP_SET_FD, file) == 0 &&
			  ioctl(disk, LOOP_SET_STATUS64, &info) == 0;
	}
	if (control >= 0)
		(void)close(control); /* nothing was written */
	(void)close(file);            /* nothing was written */
	if (!is_made && disk >= 0)
		(void)close(disk); /* nothing was written */
	*out_fd = disk;
	return is_made ? name : NULL;
}

static void
serves_a_raw_disk(void **state)
{
	const struct host_folder *folder = *state;
	struct device_options options = { .flags = DEVICE_GROW, .create_bytes = 65 * BLOCK_BYTES };
	struct device *dev = create(folder, 64);
	struct device *second;
	uint8_t *blocks = block_buffer_alloc(64);
	char *disk;
	int fd;

	device_close(dev);
	assert_non_null(blocks);
	disk = make_disk(folder->file, &fd);
	if (!disk) {
		free(blocks);
		print_message("# skipped: the host gives no loop device\n");
		skip();
	}
	assert_int_equal(device_open(disk, &options, &dev), COP_EINVAL);
	assert_non_null(strstr(err_text(), "the disk has 262144 bytes"));
	options.flags = DEVICE_CREATE;
	assert_int_equal(device_open(disk, &options, &dev), COP_EEXIST);

	assert_int_equal(device_open(disk, &plain, &dev), 0);
	assert_int_equal(device_blocks(dev), 64);
	assert_int_equal(device_open(disk, &plain, &second), COP_EBUSY);
	memset(blocks, 6, 64 * BLOCK_BYTES);
	assert_int_equal(device_write(dev, 0, blocks, 64), 0);
	assert_int_equal(device_flush(dev), 0);
	assert_int_equal(device_discard(dev, 8, 8), 0);
	assert_int_equal(device_read(dev, 0, blocks, 64), 0);
	assert_int_equal(blocks[8 * BLOCK_BYTES - 1], 6);
	assert_int_equal(blocks[16 * BLOCK_BYTES], 6);
	device_close(dev);
	assert_int_equal(close(fd), 0);
	free(blocks);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		TEST(refuses_what_is_neither_file_nor_disk),
		TEST(says_that_nothing_is_there),
		TEST(creates_once_and_grows_only),
		TEST(reserves_space_when_asked),
		TEST(leaves_nothing_behind_when_creation_fails),
		TEST(does_not_count_what_is_less_than_a_block),
		TEST(a_single_request_is_one_system_call),
		TEST(goes_past_the_page_cache_unless_told),
		TEST(fails_where_the_file_was_cut_off),
		TEST(goes_on_after_a_short_write),
		TEST(uses_threads_where_io_uring_is_refused),
		TEST(tells_the_reason_of_the_host),
		TEST(goes_through_the_page_cache_where_it_must),
		TEST(names_a_holder_and_outlives_it),
		TEST(shares_a_device_among_readers),
		TEST(tells_a_read_only_file),
		TEST(punches_holes_where_it_discards),
		TEST(serves_a_raw_disk),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
