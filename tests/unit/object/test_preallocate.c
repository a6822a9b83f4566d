#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

static struct cop_attr
attr_of(struct cop_object *file)
{
	struct cop_attr attr = COP_INIT(attr);

	must(cop_stat(file, &attr));
	return attr;
}

static void
write_at(struct cop_object *file, uint64_t seed, uint64_t offset, size_t bytes)
{
	uint8_t *buffer = malloc(bytes);
	size_t written;

	assert_non_null(buffer);
	world_bytes(seed, buffer, bytes);
	must(cop_write(file, offset, buffer, bytes, &written));
	assert_int_equal(written, bytes);
	free(buffer);
}

static void
expect_at(struct cop_object *file, uint64_t seed, uint64_t offset, size_t bytes)
{
	uint8_t *want = malloc(bytes);
	uint8_t *got = malloc(bytes);
	size_t read;

	assert_non_null(want);
	assert_non_null(got);
	world_bytes(seed, want, bytes);
	must(cop_read(file, offset, got, bytes, &read));
	assert_int_equal(read, bytes);
	assert_memory_equal(want, got, bytes);
	free(want);
	free(got);
}

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
	assert_int_equal(attr_of(file).length, 0);
	assert_int_equal(attr_of(file).allocated_bytes, 5 * MIB);
	must(cop_set_length(file, 5 * MIB));
	assert_int_equal(attr_of(file).allocated_bytes, 5 * MIB);
	must(cop_map(file, 8192, &extent));
	assert_int_equal(extent.flags, COP_EXTENT_UNWRITTEN);
	block = extent.block;

	/* Written for the first time, it stays where it is; the second time it moves. */
	write_at(file, 1, 8192, 4096);
	must(cop_map(file, 8192, &extent));
	assert_int_equal(extent.flags, 0);
	assert_int_equal(extent.block, block);
	assert_int_equal(attr_of(file).allocated_bytes, 5 * MIB);
	write_at(file, 2, 8192, 4096);
	must(cop_map(file, 8192, &extent));
	assert_int_not_equal(extent.block, block);
	expect_at(file, 2, 8192, 4096);

	/* The length as it was takes what lies behind it away. */
	must(cop_preallocate(file, 5 * MIB, MIB, false));
	must(cop_set_length(file, 5 * MIB));
	assert_int_equal(attr_of(file).allocated_bytes, 5 * MIB);
	assert_int_equal(cop_preallocate(file, 0, 100 * MIB, false), COP_ENOSPC);
	assert_int_equal(attr_of(file).allocated_bytes, 5 * MIB);
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
