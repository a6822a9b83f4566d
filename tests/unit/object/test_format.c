#include "base/random.h"
#include "support/sources.h"
#include "world.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

static char dir[] = "/tmp/coppice-open-XXXXXX";
static char path[64];

static int
make_dir(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof path, "%s/volume", dir);
	return 0;
}

static int
remove_dir(void **state)
{
	(void)state;
	(void)unlink(path);
	return rmdir(dir);
}

static void
make_file(uint64_t bytes, const char *text)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	assert_int_equal(pwrite(fd, text, strlen(text), 0), (ssize_t)strlen(text));
	close(fd);
}

static void
makes_a_volume_in_a_new_file(void **state)
{
	struct cop_format_options options = COP_INIT(options);
	struct cop_volume_info info = COP_INIT(info);
	struct cop_volume *volume;
	struct cop_object *root;
	struct cop_attr attr = COP_INIT(attr);
	struct stat st;

	(void)state;
	options.volume_bytes = 16 * MIB;
	options.label = "beech";
	must(cop_format(path, &options));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 16 * MIB);

	must(cop_probe(path, &info));
	assert_string_equal(info.label, "beech");
	assert_int_equal(info.volume_bytes, 16 * MIB);
	assert_int_equal(info.node_bytes, 4096);
	assert_true(info.clean);

	must(cop_open(path, NULL, &volume));
	must(cop_root(volume, "main", &root));
	must(cop_stat(root, &attr));
	assert_int_equal(attr.id, 1);
	assert_int_equal(attr.kind, COP_DIRECTORY);
	assert_int_equal(attr.mode, 0755);
	assert_int_equal(attr.length, 0);
	assert_int_equal(cop_root(volume, "other", &root), COP_ENOENT);
	cop_release(root);
	must(cop_close(volume));
	unlink(path);
}

static void
leaves_no_file_behind_when_it_fails(void **state)
{
	struct cop_format_options options = COP_INIT(options);

	(void)state;
	assert_int_equal(cop_format(path, &options), COP_EINVAL); /* no size */
	assert_int_not_equal(access(path, F_OK), 0);
	options.volume_bytes = 4 * MIB;
	assert_int_equal(cop_format(path, &options), COP_ETOOSMALL);
	assert_int_not_equal(access(path, F_OK), 0);
	options.volume_bytes = 16 * MIB;
	options.node_bytes = 5000;
	assert_int_equal(cop_format(path, &options), COP_EINVAL);
	assert_int_not_equal(access(path, F_OK), 0);
}

static void
refuses_what_holds_data_unless_forced(void **state)
{
	struct cop_format_options options = COP_INIT(options);
	struct cop_volume_info info = COP_INIT(info);
	char text[9] = { 0 };
	int fd;

	(void)state;
	make_file(16 * MIB, "precious");
	assert_int_equal(cop_format(path, &options), COP_EEXIST);
	assert_non_null(strstr(cop_error_text(), "holds data"));
	fd = open(path, O_RDONLY);
	assert_int_equal(read(fd, text, 8), 8);
	close(fd);
	assert_string_equal(text, "precious");
	assert_int_equal(cop_probe(path, &info), COP_ENOTVOLUME);

	options.force = true;
	must(cop_format(path, &options));
	must(cop_probe(path, &info));
	options.force = false;
	assert_int_equal(cop_format(path, &options), COP_EEXIST);
	unlink(path);
}

/* Data of less than a block, and in what a file has after its last whole block. */
static void
refuses_data_that_no_block_holds(void **state)
{
	static const off_t bytes[] = { 8, 16 * MIB + 8 };
	struct cop_format_options options = COP_INIT(options);
	struct stat st;

	(void)state;
	options.volume_bytes = 16 * MIB;
	for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
		int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

		assert_int_equal(pwrite(fd, "precious", 8, bytes[i] - 8), 8);
		close(fd);
		assert_int_equal(cop_format(path, &options), COP_EEXIST);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_size, bytes[i]);
	}
	unlink(path);
}

static void
takes_an_empty_file_as_it_is(void **state)
{
	struct cop_format_options options = COP_INIT(options);
	struct cop_volume_info info = COP_INIT(info);

	(void)state;
	make_file(16 * MIB, "");
	must(cop_format(path, &options));
	must(cop_probe(path, &info));
	assert_int_equal(info.volume_bytes, 16 * MIB);
	unlink(path);

	make_file(0, "");
	options.volume_bytes = 8 * MIB;
	must(cop_format(path, &options));
	must(cop_probe(path, &info));
	assert_int_equal(info.volume_bytes, 8 * MIB);
	unlink(path);
}

/* However short the data is, and wherever it lies. */
static void
finds_data_in_every_place(void **state)
{
	static const struct {
		uint64_t bytes;
		uint64_t at;
	} cases[] = { { 100, 0 }, { 4095, 4000 }, { 16 * MIB + 10, 0 }, { 16 * MIB, 9 * MIB } };
	struct cop_format_options options = COP_INIT(options);

	(void)state;
	options.volume_bytes = 16 * MIB;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct stat st;
		int fd;

		make_file(cases[i].bytes, "");
		fd = open(path, O_WRONLY);
		assert_int_equal(pwrite(fd, "x", 1, (off_t)cases[i].at), 1);
		close(fd);
		assert_int_equal(cop_format(path, &options), COP_EEXIST);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_size, cases[i].bytes);
		unlink(path);
	}
}

static int
format_medium(struct sim_medium *medium, uint64_t seed)
{
	struct cop_format_options options = COP_INIT(options);
	struct cop_sources sources = { .random = sources_random, .clock_ns = sources_clock };
	struct device *dev;
	struct rng rng;
	int err;

	rng_seed(&rng, seed);
	sources.context = &rng;
	must(sim_open(medium, 0, &dev));
	err = cop_format_sourced_on(dev, &options, &sources);
	device_close(dev);
	return err;
}

/* Is there a volume, with a root directory? If not, that is said. */
static bool
is_there(struct device *dev, bool read_only)
{
	struct cop_open_options options = COP_INIT(options);
	struct cop_volume *volume = NULL;
	struct cop_object *root = NULL;
	int err;

	options.cache_bytes = COP_CACHE_BYTES_MIN;
	options.read_only = read_only;
	err = cop_open_on(dev, &options, &volume);
	assert_true(err == 0 || err == COP_ENOTVOLUME || err == COP_ECHECKSUM);
	if (err)
		return false;
	must(cop_root(volume, NULL, &root));
	cop_release(root);
	must(cop_close(volume));
	return true;
}

/* Wherever making it was cut short, there is a volume with a root directory, or none. */
static void
a_cut_leaves_a_whole_volume_or_none(void **state)
{
	uint64_t volumes = 0;
	uint64_t cuts = 0;
	bool ended = false;

	(void)state;
	for (; !ended; cuts++) {
		struct sim_medium *medium;
		struct device *dev;
		struct rng rng;

		must(sim_create(8 * MIB, 1, &medium));
		sim_cut_after(medium, cuts);
		ended = format_medium(medium, 1) == 0;
		rng_seed(&rng, cuts);
		sim_power_off(medium);
		sim_power_on(medium, sim_choose_random, &rng);
		must(sim_open(medium, 0, &dev));
		(void)is_there(dev, true); /* as far as it can be told without writing */
		volumes += is_there(dev, false);
		device_close(dev);
		sim_free(medium);
	}
	assert_true(volumes > 2);
	assert_true(volumes < cuts);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(makes_a_volume_in_a_new_file),
		cmocka_unit_test(leaves_no_file_behind_when_it_fails),
		cmocka_unit_test(refuses_what_holds_data_unless_forced),
		cmocka_unit_test(refuses_data_that_no_block_holds),
		cmocka_unit_test(takes_an_empty_file_as_it_is),
		cmocka_unit_test(finds_data_in_every_place),
		cmocka_unit_test(a_cut_leaves_a_whole_volume_or_none),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
