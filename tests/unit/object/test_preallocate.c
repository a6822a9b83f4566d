#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

static void
keeps_what_is_preallocated(void **state)
{
	struct world world;
	struct cop_object *file;
	struct cop_extent extent = COP_INIT(extent);
	uint64_t block;

	(void)state;
	world_init(&world, 64 * MIB, 0, 34);
	file = world_file(&world);
	must(cop_preallocate(file, 0, 5 * MIB, false));
	assert_int_equal(world_attr(file).length, 0);
	assert_int_equal(world_attr(file).allocated_bytes, 5 * MIB);
	must(cop_set_length(file, 5 * MIB));
	assert_int_equal(world_attr(file).allocated_bytes, 5 * MIB);
	must(cop_map(file, 8192, &extent));
	assert_int_equal(extent.flags, COP_EXTENT_UNWRITTEN);
	block = extent.block;

	/* Written for the first time, it stays where it is; the second time it moves. */
	world_write(file, 1, 8192, 4096);
	must(cop_map(file, 8192, &extent));
	assert_int_equal(extent.flags, 0);
	assert_int_equal(extent.block, block);
	assert_int_equal(world_attr(file).allocated_bytes, 5 * MIB);
	world_write(file, 2, 8192, 4096);
	must(cop_map(file, 8192, &extent));
	assert_int_not_equal(extent.block, block);
	world_expect(file, 2, 8192, 4096);

	/* The length as it was takes what lies behind it away. */
	must(cop_preallocate(file, 5 * MIB, MIB, false));
	must(cop_set_length(file, 5 * MIB));
	assert_int_equal(world_attr(file).allocated_bytes, 5 * MIB);
	assert_int_equal(cop_preallocate(file, 0, 100 * MIB, false), COP_ENOSPC);
	assert_int_equal(world_attr(file).allocated_bytes, 5 * MIB);
	cop_release(file);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_what_is_preallocated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
