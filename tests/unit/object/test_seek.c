#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

/* Blocks 2 to 3 and 200 to 201 hold data, 10 to 19 are unwritten, the length is 300.5 blocks. */
static struct cop_object *
make_file(struct world *world)
{
	struct cop_object *file = world_file(world);
	uint8_t bytes[8192];

	world_bytes(1, bytes, sizeof bytes);
	must(cop_write(file, 2 * 4096, bytes, sizeof bytes, NULL));
	must(cop_write(file, 200 * 4096, bytes, sizeof bytes, NULL));
	must(cop_preallocate(file, 10 * 4096, 10 * 4096, false));
	must(cop_set_length(file, 300 * 4096 + 2048));
	return file;
}

static void
expect_map(struct cop_object *file, uint64_t offset, uint64_t bytes, uint32_t flags)
{
	struct cop_extent extent = COP_INIT(extent);

	must(cop_map(file, offset, &extent));
	assert_int_equal(extent.offset, offset);
	assert_int_equal(extent.bytes, bytes);
	assert_int_equal(extent.flags, flags);
	assert_int_equal(extent.offset_in_block, offset % 4096);
	assert_true((extent.block == 0) == ((flags & ~(uint32_t)COP_EXTENT_UNWRITTEN) != 0));
}

static void
says_where_every_byte_lies(void **state)
{
	struct world world;
	struct cop_object *file;
	struct cop_extent extent = COP_INIT(extent);

	(void)state;
	world_init(&world, 8 * MIB, 0, 1);
	file = make_file(&world);
	expect_map(file, 0, 8192, COP_EXTENT_HOLE);
	expect_map(file, 100, 8092, COP_EXTENT_HOLE);
	expect_map(file, 8192, 8192, 0);
	expect_map(file, 12300, 4084, 0);
	expect_map(file, 10 * 4096, 10 * 4096, COP_EXTENT_UNWRITTEN);
	expect_map(file, 20 * 4096, 180 * 4096, COP_EXTENT_HOLE);
	expect_map(file, 202 * 4096, 98 * 4096 + 2048, COP_EXTENT_HOLE);
	assert_int_equal(cop_map(file, 300 * 4096 + 2048, &extent), COP_ENODATA);
	cop_release(file);

	file = world_file(&world);
	must(cop_write(file, 0, "hello", 5, NULL));
	expect_map(file, 1, 4, COP_EXTENT_INLINE);
	cop_release(file);
	world_fini(&world);
}

static void
finds_data_and_holes(void **state)
{
	struct world world;
	struct cop_object *file;
	uint64_t at;

	(void)state;
	world_init(&world, 8 * MIB, 0, 2);
	file = make_file(&world);
	must(cop_seek_data(file, 0, &at));
	assert_int_equal(at, 2 * 4096);
	must(cop_seek_data(file, 9000, &at));
	assert_int_equal(at, 9000);
	must(cop_seek_hole(file, 9000, &at));
	assert_int_equal(at, 4 * 4096);
	must(cop_seek_data(file, 4 * 4096, &at)); /* over the unwritten */
	assert_int_equal(at, 200 * 4096);
	must(cop_seek_hole(file, 15 * 4096, &at));
	assert_int_equal(at, 15 * 4096);
	assert_int_equal(cop_seek_data(file, 202 * 4096, &at), COP_ENODATA);
	assert_int_equal(cop_seek_data(file, 300 * 4096 + 2048, &at), COP_ENODATA);
	assert_int_equal(cop_seek_hole(file, 300 * 4096 + 2048, &at), COP_ENODATA);

	/* The end is a hole. */
	must(cop_set_length(file, 201 * 4096 + 10));
	must(cop_seek_hole(file, 200 * 4096, &at));
	assert_int_equal(at, 201 * 4096 + 10);
	cop_release(file);

	file = world_file(&world);
	must(cop_write(file, 0, "hello", 5, NULL));
	must(cop_seek_data(file, 3, &at));
	assert_int_equal(at, 3);
	must(cop_seek_hole(file, 3, &at));
	assert_int_equal(at, 5);
	cop_release(file);
	world_fini(&world);
}

static void
looks_over_more_extents_than_at_one_time(void **state)
{
	struct world world;
	struct cop_object *file;
	uint8_t block[4096] = { 1 };
	uint64_t at = 0;

	(void)state;
	world_init(&world, 16 * MIB, 0, 3);
	file = world_file(&world);

	/* Written singly, 150 blocks in the reverse order: no extent is longer than one. */
	for (uint64_t i = 150; i > 0; i--)
		must(cop_write(file, i * 4096, block, sizeof block, NULL));
	must(cop_seek_hole(file, 4096, &at));
	assert_int_equal(at, 151 * 4096);
	must(cop_set_length(file, 151 * 4096));
	must(cop_preallocate(file, 152 * 4096, 150 * 4096, true));
	must(cop_seek_hole(file, 4096, &at));
	assert_int_equal(at, 151 * 4096);
	assert_int_equal(cop_seek_data(file, 151 * 4096, &at), COP_ENODATA);
	cop_release(file);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_where_every_byte_lies),
		cmocka_unit_test(finds_data_and_holes),
		cmocka_unit_test(looks_over_more_extents_than_at_one_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
