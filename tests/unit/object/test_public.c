#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

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

static void
takes_structs_of_every_size(void **state)
{
	struct cop_open_options given = COP_INIT(given);
	struct cop_open_options got;

	(void)state;
	given.read_only = true;
	given.threads = 1;
	public_copy_in(&got, &given, sizeof got);
	assert_true(got.read_only);
	assert_int_equal(got.threads, 1);

	/* What the caller does not know is zero. */
	given.size_bytes = offsetof(struct cop_open_options, threads);
	public_copy_in(&got, &given, sizeof got);
	assert_true(got.read_only);
	assert_int_equal(got.threads, 0);
	assert_int_equal(got.size_bytes, sizeof got);
	public_copy_in(&got, NULL, sizeof got);
	assert_false(got.read_only);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_structs_of_every_size),
		cmocka_unit_test(takes_structs_of_every_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
