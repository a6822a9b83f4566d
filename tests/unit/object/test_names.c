#include "check/check.h"
#include "device/sim.h"
#include "object/open.h"

#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A volume on a simulated disk with its root directory. */
struct world {
	struct sim_medium *medium;
	struct device *dev;
	struct cop_volume *volume;
	struct cop_object *root;
};

static void
world_open(struct world *world)
{
	struct cop_open_options options = COP_INIT(options);

	options.cache_bytes = COP_CACHE_BYTES_MIN;
	assert_int_equal(sim_open(world->medium, 0, &world->dev), 0);
	if (cop_open_on(world->dev, &options, &world->volume) != 0)
		fail_msg("%s", cop_error_text());
	assert_int_equal(cop_root(world->volume, NULL, &world->root), 0);
}

static void
world_begin(struct world *world, uint64_t bytes)
{
	struct cop_format_options options = COP_INIT(options);
	struct device *dev;

	assert_int_equal(sim_create(bytes, 1, &world->medium), 0);
	assert_int_equal(sim_open(world->medium, 0, &dev), 0);
	if (cop_format_on(dev, &options) != 0)
		fail_msg("%s", cop_error_text());
	device_close(dev);
	world_open(world);
}

static void
world_close(struct world *world)
{
	cop_release(world->root);
	if (cop_close(world->volume) != 0)
		fail_msg("%s", cop_error_text());
	device_close(world->dev);
}

static void
print_problem(void *context, const struct cop_problem *problem)
{
	(void)context;
	print_error("object %llu (%s) block %llu: %s\n", (unsigned long long)problem->object,
		problem->path ? problem->path : "?", (unsigned long long)problem->block,
		problem->text);
}

static void
world_check(struct world *world)
{
	struct cop_check_options options = COP_INIT(options);
	struct cop_check_result result = COP_INIT(result);
	struct device *dev;

	options.problem = print_problem;
	world_close(world);
	assert_int_equal(sim_open(world->medium, DEVICE_READ_ONLY, &dev), 0);
	if (cop_check_on(dev, &options, &result) != 0)
		fail_msg("%s", cop_error_text());
	device_close(dev);
	assert_int_equal(result.problems, 0);
	world_open(world);
}

static void
world_end(struct world *world)
{
	world_check(world);
	world_close(world);
	sim_free(world->medium);
}

static int
make(struct cop_object *dir, const char *name, enum cop_kind kind, struct cop_object **out)
{
	struct cop_new new = COP_INIT(new);

	new.kind = kind;
	new.mode = kind == COP_DIRECTORY ? 0755 : 0644;
	if (kind == COP_SYMLINK) {
		new.target = "target";
		new.target_bytes = 6;
	}
	return cop_create(dir, name, strlen(name), &new, out);
}

static struct cop_object *
must_walk(struct world *world, const char *path)
{
	struct cop_object *object;

	if (cop_walk(world->root, path, 0, &object) != 0)
		fail_msg("%s: %s", path, cop_error_text());
	return object;
}

static int
walk(struct world *world, const char *path)
{
	struct cop_object *object;
	int err = cop_walk(world->root, path, 0, &object);

	if (err == 0)
		cop_release(object);
	return err;
}

static struct cop_attr
stat_of(struct cop_object *object)
{
	struct cop_attr attr = COP_INIT(attr);

	assert_int_equal(cop_stat(object, &attr), 0);
	return attr;
}

static struct cop_attr
stat_path(struct world *world, const char *path)
{
	struct cop_object *object = must_walk(world, path);
	struct cop_attr attr = stat_of(object);

	cop_release(object);
	return attr;
}

static void
names_come_and_go(void **state)
{
	struct cop_object *dir;
	struct cop_object *found;
	struct world world;

	(void)state;
	world_begin(&world, 8 << 20);
	assert_int_equal(make(world.root, "a", COP_DIRECTORY, &dir), 0);
	assert_int_equal(make(world.root, "a", COP_FILE, NULL), COP_EEXIST);
	assert_int_equal(make(dir, "file", COP_FILE, NULL), 0);
	assert_int_equal(make(dir, "fifo", COP_FIFO, NULL), 0);
	assert_int_equal(cop_lookup(dir, "file", 4, &found), 0);
	assert_int_equal(stat_of(found).links, 1);
	assert_string_equal(stat_of(found).name, "file");
	assert_int_equal(stat_of(found).parent, cop_id(dir));
	cop_release(found);
	assert_int_equal(cop_lookup(dir, "none", 4, &found), COP_ENOENT);
	assert_int_equal(stat_of(dir).length, 2);
	assert_int_equal(stat_of(world.root).links, 3);
	assert_int_equal(cop_unlink(world.root, "a", 1, COP_UNLINK_FILE), COP_EISDIR);
	assert_int_equal(cop_unlink(world.root, "a", 1, COP_UNLINK_DIRECTORY), COP_ENOTEMPTY);
	assert_int_equal(cop_unlink(dir, "file", 4, COP_UNLINK_DIRECTORY), COP_ENOTDIR);
	assert_int_equal(cop_unlink(dir, "file", 4, COP_UNLINK_FILE), 0);
	assert_int_equal(cop_unlink(dir, "fifo", 4, 0), 0);
	assert_int_equal(cop_unlink(world.root, "a", 1, COP_UNLINK_DIRECTORY), 0);
	assert_int_equal(make(dir, "late", COP_FILE, NULL), COP_ESTALE);
	cop_release(dir);
	assert_int_equal(walk(&world, "a"), COP_ENOENT);
	assert_int_equal(stat_of(world.root).links, 2);
	world_end(&world);
}

static void
hard_links_know_all_their_names(void **state)
{
	struct cop_object *file;
	struct world world;
	char name[16];

	(void)state;
	world_begin(&world, 8 << 20);
	assert_int_equal(make(world.root, "first", COP_FILE, &file), 0);
	for (int i = 0; i < 100; i++) {
		(void)snprintf(name, sizeof name, "link%d", i);
		assert_int_equal(cop_link(file, world.root, name, strlen(name)), 0);
	}
	assert_int_equal(stat_of(file).links, 101);
	assert_int_equal(cop_link(file, world.root, "first", 5), COP_EEXIST);
	assert_int_equal(cop_link(world.root, world.root, "loop", 4), COP_EPERM);
	cop_release(file);
	world_check(&world);
	file = must_walk(&world, "link7");
	assert_int_equal(cop_unlink(world.root, "first", 5, 0), 0);
	assert_int_equal(stat_of(file).links, 100);
	assert_int_not_equal(stat_of(file).name_bytes, 0);
	cop_release(file);
	world_check(&world);
	file = must_walk(&world, "link7");
	for (int i = 0; i < 100; i++) {
		(void)snprintf(name, sizeof name, "link%d", i);
		assert_int_equal(cop_unlink(world.root, name, strlen(name), 0), 0);
	}
	assert_int_equal(stat_of(file).links, 0);
	cop_release(file);
	world_end(&world);
}

/* More than 16 bits count, which is where other file systems end. */
static void
links_are_counted_past_65536(void **state)
{
	struct cop_object *file;
	struct world world;
	char name[16];

	(void)state;
	world_begin(&world, 64 << 20);
	assert_int_equal(make(world.root, "first", COP_FILE, &file), 0);
	for (int i = 0; i < 65536; i++) {
		(void)snprintf(name, sizeof name, "%d", i);
		assert_int_equal(cop_link(file, world.root, name, strlen(name)), 0);
	}
	assert_int_equal(stat_of(file).links, 65537);
	cop_release(file);
	world_check(&world);
	file = must_walk(&world, "65535");
	assert_int_equal(stat_of(file).links, 65537);
	assert_int_equal(cop_unlink(world.root, "first", 5, 0), 0);
	assert_int_equal(stat_of(file).links, 65536);
	cop_release(file);
	world_end(&world);
}

static void
an_object_without_a_name_gets_one_or_vanishes(void **state)
{
	struct cop_new new = COP_INIT(new);
	struct cop_object *object;
	struct world world;
	uint64_t id;

	(void)state;
	new.kind = COP_FILE;
	world_begin(&world, 8 << 20);
	assert_int_equal(cop_allocate(world.root, &new, &object), 0);
	assert_int_equal(stat_of(object).links, 0);
	assert_int_equal(cop_link(object, world.root, "named", 5), 0);
	assert_int_equal(stat_of(object).links, 1);
	assert_string_equal(stat_of(object).name, "named");
	assert_int_equal(cop_unref(object), COP_EINVAL); /* the link is that of the name */
	assert_int_equal(cop_ref(object), 0);
	assert_int_equal(cop_unref(object), 0);
	assert_int_equal(cop_unref(object), COP_EINVAL);
	cop_release(object);
	assert_int_equal(cop_allocate(world.root, &new, &object), 0);
	id = cop_id(object);
	cop_release(object);
	assert_int_equal(cop_get(world.root, id, &object), COP_ENOENT);
	assert_int_equal(walk(&world, "named"), 0);
	world_end(&world);
}

struct collected {
	char names[400][32];
	uint64_t cookies[400];
	size_t count;
	size_t limit;
};

static bool
collect(void *context, const struct cop_entry *entry)
{
	struct collected *collected = context;

	if (collected->count == collected->limit)
		return false;
	memcpy(collected->names[collected->count], entry->name, entry->name_bytes);
	collected->names[collected->count][entry->name_bytes] = '\0';
	collected->cookies[collected->count++] = entry->cookie;
	return true;
}

/* Grows from a record to a tree and shrinks back; every listing is complete and in order. */
static void
directories_of_every_size_list_whole(void **state)
{
	static struct collected all;
	struct cop_object *dir;
	struct world world;
	char name[32];

	(void)state;
	world_begin(&world, 8 << 20);
	assert_int_equal(make(world.root, "d", COP_DIRECTORY, &dir), 0);
	for (int count = 0; count <= 300; count++) {
		uint64_t cookie = 0;

		if (count > 0) {
			(void)snprintf(name, sizeof name, "n%d", count);
			assert_int_equal(make(dir, name, COP_FILE, NULL), 0);
		}
		if (count > 20 && count % 50 != 0)
			continue;
		all.count = 0;
		while (cookie != UINT64_MAX) {
			all.limit = all.count + 7;
			assert_int_equal(cop_list(dir, cookie, collect, &all, &cookie), 0);
		}
		assert_int_equal(all.count, count);
		for (size_t i = 1; i < all.count; i++)
			assert_true(all.cookies[i - 1] < all.cookies[i]);
	}
	assert_int_equal(stat_of(dir).form, COP_FORM_TREE);
	for (int i = 1; i <= 300; i++) {
		(void)snprintf(name, sizeof name, "n%d", i);
		assert_int_equal(cop_unlink(dir, name, strlen(name), 0), 0);
	}
	assert_int_equal(stat_of(dir).length, 0);
	assert_int_equal(stat_of(dir).form, COP_FORM_INLINE);
	cop_release(dir);
	world_end(&world);
}

static void
renames_do_what_posix_says(void **state)
{
	struct cop_object *a;
	struct cop_object *b;
	struct cop_object *file;
	struct world world;
	uint64_t id;

	(void)state;
	world_begin(&world, 8 << 20);
	assert_int_equal(make(world.root, "a", COP_DIRECTORY, &a), 0);
	assert_int_equal(make(world.root, "b", COP_DIRECTORY, &b), 0);
	assert_int_equal(make(a, "f", COP_FILE, &file), 0);
	id = cop_id(file);
	assert_int_equal(cop_rename(a, "f", 1, b, "g", 1, 0), 0);
	assert_int_equal(stat_of(file).parent, cop_id(b));
	assert_string_equal(stat_of(file).name, "g");
	assert_int_equal(walk(&world, "a/f"), COP_ENOENT);
	assert_int_equal(stat_path(&world, "b/g").id, id);

	/* Over a file, over a directory, a directory over a file. */
	assert_int_equal(make(a, "old", COP_FILE, NULL), 0);
	assert_int_equal(cop_rename(b, "g", 1, a, "old", 3, COP_RENAME_NOREPLACE), COP_EEXIST);
	assert_int_equal(cop_rename(b, "g", 1, a, "old", 3, 0), 0);
	assert_int_equal(stat_path(&world, "a/old").id, id);
	assert_int_equal(cop_rename(a, "old", 3, world.root, "b", 1, 0), COP_EISDIR);
	assert_int_equal(cop_rename(world.root, "b", 1, a, "old", 3, 0), COP_ENOTDIR);
	assert_int_equal(cop_rename(world.root, "b", 1, world.root, "a", 1, 0), COP_ENOTEMPTY);
	assert_int_equal(cop_rename(world.root, "a", 1, world.root, "b", 1, 0), 0);
	assert_int_equal(stat_of(world.root).links, 3);
	cop_release(b);
	b = must_walk(&world, "b");
	assert_int_equal(cop_id(b), cop_id(a));

	/* Into itself, directly and from below. */
	cop_release(a);
	assert_int_equal(make(b, "sub", COP_DIRECTORY, &a), 0);
	assert_int_equal(cop_rename(world.root, "b", 1, a, "x", 1, 0), COP_ELOOP);
	assert_int_equal(cop_rename(world.root, "b", 1, b, "x", 1, 0), COP_ELOOP);

	/* Two names of one object; exchange. */
	assert_int_equal(cop_link(file, a, "same", 4), 0);
	assert_int_equal(cop_rename(a, "same", 4, b, "old", 3, 0), 0);
	assert_int_equal(walk(&world, "b/sub/same"), 0);
	assert_int_equal(make(world.root, "c", COP_DIRECTORY, NULL), 0);
	assert_int_equal(cop_rename(world.root, "c", 1, b, "old", 3, COP_RENAME_EXCHANGE), 0);
	assert_int_equal(stat_path(&world, "c").id, id);
	assert_int_equal(stat_path(&world, "b/old").kind, COP_DIRECTORY);
	assert_int_equal(stat_of(file).links, 2);
	assert_int_equal(
		cop_rename(b, "old", 3, world.root, "zz", 2, COP_RENAME_EXCHANGE), COP_ENOENT);
	cop_release(a);
	cop_release(b);
	cop_release(file);
	world_end(&world);
}

static void
paths_follow_links_but_not_for_ever(void **state)
{
	struct cop_new link = COP_INIT(link);
	struct cop_object *object;
	struct cop_object *dir;
	struct world world;
	char path[600];

	(void)state;
	world_begin(&world, 8 << 20);
	link.kind = COP_SYMLINK;
	link.target = "/d/./sub/../file";
	link.target_bytes = strlen(link.target);
	assert_int_equal(make(world.root, "d", COP_DIRECTORY, &dir), 0);
	assert_int_equal(make(dir, "sub", COP_DIRECTORY, NULL), 0);
	assert_int_equal(make(dir, "file", COP_FILE, NULL), 0);
	assert_int_equal(cop_create(dir, "link", 4, &link, NULL), 0);
	assert_int_equal(stat_path(&world, "d/link").kind, COP_FILE);
	assert_int_equal(cop_walk(world.root, "d/link", COP_WALK_NOFOLLOW, &object), 0);
	assert_int_equal(stat_of(object).kind, COP_SYMLINK);
	assert_int_equal(cop_readlink(object, path, sizeof path, &(size_t){ 0 }), 0);
	assert_memory_equal(path, link.target, link.target_bytes);
	assert_int_equal(cop_readlink(object, path, 3, &(size_t){ 0 }), COP_ERANGE);
	cop_release(object);

	link.target = "loop";
	link.target_bytes = 4;
	assert_int_equal(cop_create(world.root, "loop", 4, &link, NULL), 0);
	assert_int_equal(walk(&world, "loop"), COP_ELOOP);
	assert_int_equal(walk(&world, "d/file/"), COP_ENOTDIR);
	assert_int_equal(walk(&world, "d/file/x"), COP_ENOTDIR);
	assert_int_equal(walk(&world, "../../d//sub/"), 0);
	assert_int_equal(walk(&world, ""), 0);
	memset(path, 'n', sizeof path);
	path[sizeof path - 1] = '\0';
	assert_int_equal(walk(&world, path), COP_ENAMETOOLONG);
	cop_release(dir);
	world_end(&world);
}

static void
attributes_of_every_size_come_back(void **state)
{
	static const size_t sizes[] = { 0, 1, 100, 900, 1000, 4096, 5000, COP_XATTR_BYTES_MAX };
	static uint8_t value[COP_XATTR_BYTES_MAX];
	static uint8_t back[COP_XATTR_BYTES_MAX];
	struct cop_object *file;
	struct world world;
	size_t bytes;
	char list[64];

	(void)state;
	world_begin(&world, 8 << 20);
	assert_int_equal(make(world.root, "f", COP_FILE, &file), 0);
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		memset(value, (int)(i + 1), sizeof value);
		assert_int_equal(cop_xattr_set(file, "user.x", value, sizes[i], 0), 0);
		assert_int_equal(cop_xattr_get(file, "user.x", NULL, 0, &bytes), 0);
		assert_int_equal(bytes, sizes[i]);
		assert_int_equal(cop_xattr_get(file, "user.x", back, sizeof back, &bytes), 0);
		assert_memory_equal(back, value, sizes[i]);
		assert_int_equal(cop_xattr_list(file, list, sizeof list, &bytes), 0);
		assert_int_equal(bytes, 7);
	}
	assert_int_equal(cop_xattr_set(file, "user.x", value, 1, COP_XATTR_CREATE), COP_EEXIST);
	assert_int_equal(cop_xattr_set(file, "user.y", value, 1, COP_XATTR_REPLACE), COP_ENODATA);
	assert_int_equal(cop_xattr_set(file, "user.y", value, 2, COP_XATTR_CREATE), 0);
	assert_int_equal(cop_xattr_get(file, "user.y", back, 1, &bytes), COP_ERANGE);
	assert_int_equal(cop_xattr_list(file, list, 5, &bytes), COP_ERANGE);
	cop_release(file);
	world_check(&world);
	file = must_walk(&world, "f");
	assert_int_equal(cop_xattr_remove(file, "user.y"), 0);
	assert_int_equal(cop_xattr_remove(file, "user.y"), COP_ENODATA);
	assert_int_equal(cop_xattr_get(file, "user.x", back, sizeof back, &bytes), 0);
	assert_int_equal(cop_unlink(world.root, "f", 1, 0), 0);
	cop_release(file);
	world_end(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_come_and_go),
		cmocka_unit_test(hard_links_know_all_their_names),
		cmocka_unit_test(links_are_counted_past_65536),
		cmocka_unit_test(an_object_without_a_name_gets_one_or_vanishes),
		cmocka_unit_test(directories_of_every_size_list_whole),
		cmocka_unit_test(renames_do_what_posix_says),
		cmocka_unit_test(paths_follow_links_but_not_for_ever),
		cmocka_unit_test(attributes_of_every_size_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
