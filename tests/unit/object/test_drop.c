#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

static const uint8_t value[50000];

static void
make_file(struct world *world, const char *name, size_t bytes, struct cop_object **out_file)
{
	struct cop_new new = COP_INIT(new);
	uint8_t *content = calloc(1, bytes + 1);

	assert_non_null(content);
	new.kind = COP_FILE;
	must(cop_create(world->root, name, strlen(name), &new, out_file));
	must(cop_write(*out_file, 0, content, bytes, NULL));
	free(content);
}

/* Whatever its form, an object goes with its last name, and leaves nothing. */
static void
removes_an_object_with_its_last_name(void **state)
{
	static const size_t sizes[] = { 10, 100000, 4000000 };
	struct world world;

	(void)state;
	world_init(&world, 64 * MIB, 0, 1);
	for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
		uint64_t before = world_free_bytes(&world);
		struct cop_object *file;
		uint64_t id;

		make_file(&world, "name", sizes[i], &file);
		id = cop_id(file);
		must(cop_link(file, world.root, "further", 7));
		must(cop_xattr_set(file, "user.large", value, sizeof value, 0));
		cop_release(file);
		must(cop_unlink(world.root, "name", 4, 0));
		must(cop_get(world.root, id, &file));
		cop_release(file);
		must(cop_unlink(world.root, "further", 7, 0));
		assert_int_equal(cop_get(world.root, id, &file), COP_ENOENT);
		assert_int_equal(world_free_bytes(&world), before);
	}
	world_fini(&world);
}

/* The reserve covers one attribute in the transaction; the others go with the orphan, in steps. */
static void
removes_attributes_in_steps_on_a_full_volume(void **state)
{
	struct world world;
	struct cop_object *file;
	struct space *space;
	uint64_t before;
	uint64_t others;
	uint64_t reserve;

	(void)state;
	world_init(&world, 16 * MIB, 0, 4);
	space = volume_space(world.volume->volume);
	for (int i = 0; i < 60; i++) {
		char name[16];

		(void)snprintf(name, sizeof name, "filler %d", i);
		make_file(&world, name, 300, &file);
		cop_release(file);
	}
	before = world_free_bytes(&world);
	make_file(&world, "name", 100, &file);
	for (int i = 0; i < 7; i++) {
		char name[16];

		(void)snprintf(name, sizeof name, "user.%d", i);
		must(cop_xattr_set(file, name, value, 900, 0));
	}
	cop_release(file);
	must(cop_settle(world.volume));
	others = space_available_blocks(space);
	must(space_admit(space, others, false));
	reserve = space_free_blocks(space);
	while (space_admit(space, reserve, true) != 0)
		reserve--;
	space_unadmit(space, reserve / 3);
	must(cop_unlink(world.root, "name", 4, 0));
	space_unadmit(space, others + reserve - reserve / 3);
	assert_int_equal(world_free_bytes(&world), before);
	world_fini(&world);
}

static void
keeps_an_object_that_somebody_holds(void **state)
{
	struct world world;
	struct cop_object *file;
	struct cop_object *again;
	uint8_t byte;
	size_t got;

	(void)state;
	world_init(&world, 64 * MIB, 0, 2);
	make_file(&world, "name", 300000, &file);
	must(cop_unlink(world.root, "name", 4, 0));
	must(cop_read(file, 299999, &byte, 1, &got));
	assert_int_equal(got, 1);
	must(cop_write(file, 299999, "xy", 2, NULL));

	/* It can be named again. */
	must(cop_link(file, world.root, "back", 4));
	cop_release(file);
	must(cop_lookup(world.root, "back", 4, &again));
	must(cop_read(again, 300000, &byte, 1, &got));
	assert_int_equal(byte, 'y');
	cop_release(again);
	world_fini(&world);
}

/* More belongings than one transaction removes. */
static void
removes_an_object_with_many_attributes(void **state)
{
	struct world world;
	struct cop_object *file;
	uint64_t before;
	char name[32];

	(void)state;
	world_init(&world, 64 * MIB, 0, 3);
	before = world_free_bytes(&world);
	make_file(&world, "name", 10, &file);
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof name, "user.%d", i);
		must(cop_xattr_set(file, name, value, i % 2 ? 100 : 10000, 0));
	}
	cop_release(file);
	must(cop_unlink(world.root, "name", 4, 0));
	assert_int_equal(world_free_bytes(&world), before);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(removes_an_object_with_its_last_name),
		cmocka_unit_test(removes_attributes_in_steps_on_a_full_volume),
		cmocka_unit_test(keeps_an_object_that_somebody_holds),
		cmocka_unit_test(removes_an_object_with_many_attributes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
