#include "world.h"

#include "device/sim.h"

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

/* ---- Making volumes -------------------------------------------------------------------------- */

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

/* ---- Opening --------------------------------------------------------------------------------- */

static void
refuses_options_that_make_no_sense(void **state)
{
	struct cop_open_options options = COP_INIT(options);
	struct world world;
	struct cop_volume *volume;

	(void)state;
	world_init(&world, 8 * MIB, 0, 1);
	options.cache_bytes = 4096;
	assert_int_equal(cop_open_on(world.dev, &options, &volume), COP_EINVAL);
	options.cache_bytes = 0;
	options.threads = 2;
	assert_int_equal(cop_open_on(world.dev, &options, &volume), COP_EINVAL);
	world_fini(&world);
}

static void
changes_nothing_when_it_only_reads(void **state)
{
	struct cop_open_options options = COP_INIT(options);
	struct cop_new new = COP_INIT(new);
	struct world world;
	struct cop_object *file;
	struct cop_attr attr = COP_INIT(attr);
	uint64_t pending;
	uint64_t id;
	char byte;
	size_t got;

	(void)state;
	world_init(&world, 8 * MIB, 0, 2);
	file = world_file(&world);
	must(cop_write(file, 0, "x", 1, NULL));
	id = cop_id(file);
	cop_release(file);
	cop_release(world.root);
	must(cop_close(world.volume));

	options.read_only = true;
	must(cop_open_on(world.dev, &options, &world.volume));
	must(cop_root(world.volume, NULL, &world.root));
	must(cop_get(world.root, id, &file));
	must(cop_read(file, 0, &byte, 1, &got));
	assert_int_equal(byte, 'x');
	assert_int_equal(cop_write(file, 0, "y", 1, NULL), COP_EROFS);
	assert_int_equal(cop_set_length(file, 0), COP_EROFS);
	assert_int_equal(cop_punch(file, 0, 1), COP_EROFS);
	assert_int_equal(cop_preallocate(file, 0, 1, true), COP_EROFS);
	assert_int_equal(cop_set_attr(file, &attr, COP_SET_MODE), COP_EROFS);
	assert_int_equal(cop_ref(file), COP_EROFS);
	assert_int_equal(cop_unref(file), COP_EROFS);
	new.kind = COP_FILE;
	assert_int_equal(cop_allocate(world.root, &new, &file), COP_EROFS);
	must(cop_sync(world.volume));
	must(cop_settle(world.volume));
	must(cop_poll(world.volume, &pending));
	assert_int_equal(pending, 0);
	cop_release(file);
	world_fini(&world);
}

static void
forgets_what_came_after_the_checkpoint_when_abandoned(void **state)
{
	struct world world;
	struct cop_object *file;
	struct cop_attr attr = COP_INIT(attr);
	uint64_t id;

	(void)state;
	world_init(&world, 8 * MIB, 0, 3);
	file = world_file(&world);
	id = cop_id(file);
	must(cop_set_length(file, 100));
	must(cop_sync(world.volume));
	must(cop_set_length(file, 200));
	cop_release(file);
	world_reopen(&world, true);
	must(cop_get(world.root, id, &file));
	must(cop_stat(file, &attr));
	assert_int_equal(attr.length, 100);
	cop_release(file);
	world_fini(&world);
}

static void
makes_a_checkpoint_when_one_is_due(void **state)
{
	struct world world;
	struct cop_object *file;
	struct cop_stats before = COP_INIT(before);
	struct cop_stats after = COP_INIT(after);
	uint64_t pending;

	(void)state;
	world_init(&world, 8 * MIB, 0, 4);
	file = world_file(&world);
	must(cop_stats(world.volume, &before));
	must(cop_poll(world.volume, &pending));
	must(cop_poll(world.volume, &pending));
	must(cop_stats(world.volume, &after));
	assert_int_equal(after.checkpoints, before.checkpoints);
	world.now_ns += INT64_C(5000000000);
	must(cop_poll(world.volume, &pending));
	must(cop_stats(world.volume, &after));
	assert_int_equal(after.checkpoints, before.checkpoints + 1);
	cop_release(file);
	world_fini(&world);
}

static void
ends_its_thread_with_the_volume(void **state)
{
	struct cop_open_options options = COP_INIT(options);
	struct world world;

	(void)state;
	world_init(&world, 8 * MIB, 0, 5);
	cop_release(world.root);
	must(cop_close(world.volume));
	options.threads = 1;
	must(cop_open_on(world.dev, &options, &world.volume));
	must(cop_root(world.volume, NULL, &world.root));
	cop_release(world_file(&world));
	world_fini(&world);
}

static void
tells_structs_of_every_size(void **state)
{
	struct world world;
	struct cop_space space = COP_INIT(space);

	(void)state;
	world_init(&world, 8 * MIB, 0, 6);
	/* A caller who was built when the struct ended after the second field. */
	space.size_bytes = offsetof(struct cop_space, free_bytes);
	space.free_bytes = 77;
	must(cop_space(world.volume, &space));
	assert_int_equal(space.volume_bytes, 8 * MIB);
	assert_int_equal(space.free_bytes, 77);
	assert_int_equal(space.size_bytes, offsetof(struct cop_space, free_bytes));
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(makes_a_volume_in_a_new_file),
		cmocka_unit_test(leaves_no_file_behind_when_it_fails),
		cmocka_unit_test(refuses_what_holds_data_unless_forced),
		cmocka_unit_test(takes_an_empty_file_as_it_is),
		cmocka_unit_test(refuses_options_that_make_no_sense),
		cmocka_unit_test(changes_nothing_when_it_only_reads),
		cmocka_unit_test(forgets_what_came_after_the_checkpoint_when_abandoned),
		cmocka_unit_test(makes_a_checkpoint_when_one_is_due),
		cmocka_unit_test(ends_its_thread_with_the_volume),
		cmocka_unit_test(tells_structs_of_every_size),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
