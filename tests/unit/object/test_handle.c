#include "world.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

static void
shares_one_handle_for_one_object(void **state)
{
	struct world world;
	struct cop_object *file;
	struct cop_object *again;

	(void)state;
	world_init(&world, 8 * MIB, 0, 1);
	file = world_file(&world);
	must(cop_get(world.root, cop_id(file), &again));
	assert_ptr_equal(file, again);
	assert_ptr_equal(cop_hold(file), file);
	assert_ptr_equal(cop_volume_of(file), world.volume);
	cop_release(again);
	cop_release(again);
	cop_release(file);
	cop_release(NULL);
	assert_int_equal(world.volume->handles, 1); /* the root */
	world_fini(&world);
}

static void
knows_what_is_not_there(void **state)
{
	struct world world;
	struct cop_object *file;

	(void)state;
	world_init(&world, 8 * MIB, 0, 2);
	assert_int_equal(cop_get(world.root, 99, &file), COP_ENOENT);
	assert_int_equal(cop_get(world.root, 0, &file), COP_ENOENT);
	assert_int_equal(cop_get(world.root, UINT64_MAX, &file), COP_ENOENT);
	world_fini(&world);
}

static void
gives_numbers_that_were_never_given(void **state)
{
	struct cop_new new = COP_INIT(new);
	struct world world;
	struct cop_object *file;
	uint64_t last = OBJECT_FIRST - 1;

	(void)state;
	world_init(&world, 8 * MIB, 0, 3);
	new.kind = COP_FILE;
	for (int i = 0; i < 5; i++) {
		must(cop_allocate(world.root, &new, &file));
		assert_true(cop_id(file) > last);
		last = cop_id(file);
		cop_release(file); /* without links it vanishes */
		assert_int_equal(cop_get(world.root, last, &file), COP_ENOENT);
		if (i == 2)
			world_reopen(&world, false);
	}
	new.kind = COP_DIRECTORY;
	assert_int_equal(cop_allocate(world.root, &new, &file), COP_EINVAL);
	new.kind = 9;
	assert_int_equal(cop_allocate(world.root, &new, &file), COP_EINVAL);
	world_fini(&world);
}

static void
forgets_a_handle_whose_object_was_never_made(void **state)
{
	struct world world;
	struct cop_object *file;
	struct cop_object *other;
	uint64_t id;

	(void)state;
	world_init(&world, 8 * MIB, 0, 4);
	id = volume_next_object(world.volume->volume);
	must(handle_make(world.volume, BRANCH_MAIN, id, COP_FILE, true, &file));
	handle_discard(file);
	assert_int_equal(cop_get(world.root, id, &other), COP_ENOENT);
	assert_int_equal(world.volume->handles, 1);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_one_handle_for_one_object),
		cmocka_unit_test(knows_what_is_not_there),
		cmocka_unit_test(gives_numbers_that_were_never_given),
		cmocka_unit_test(forgets_a_handle_whose_object_was_never_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
