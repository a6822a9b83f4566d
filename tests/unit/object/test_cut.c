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
changes_form_in_both_directions(void **state)
{
	struct world world;
	struct cop_object *file;
	uint64_t before;

	(void)state;
	world_init(&world, 64 * MIB, 0, 31);
	file = world_file(&world);
	must(cop_settle(world.volume));
	before = world_free_bytes(&world);
	assert_int_equal(attr_of(file).form, COP_FORM_INLINE);

	write_at(file, 1, 0, 300);
	assert_int_equal(attr_of(file).form, COP_FORM_INLINE);
	assert_int_equal(attr_of(file).allocated_bytes, 0);

	write_at(file, 2, 300, 100000);
	assert_int_equal(attr_of(file).form, COP_FORM_EXTENTS);
	assert_int_equal(attr_of(file).allocated_bytes, 25 * 4096);
	expect_at(file, 1, 0, 300);
	expect_at(file, 2, 300, 100000);

	write_at(file, 3, 300, 3000000);
	assert_int_equal(attr_of(file).form, COP_FORM_TREE);
	assert_true(attr_of(file).levels >= 1);
	expect_at(file, 1, 0, 300);
	expect_at(file, 3, 300, 3000000);

	must(cop_set_length(file, 60000));
	assert_int_equal(attr_of(file).form, COP_FORM_EXTENTS);
	assert_int_equal(attr_of(file).levels, 0);
	assert_int_equal(attr_of(file).allocated_bytes, 15 * 4096);
	expect_at(file, 1, 0, 300);

	must(cop_set_length(file, 300));
	assert_int_equal(attr_of(file).form, COP_FORM_INLINE);
	assert_int_equal(attr_of(file).allocated_bytes, 0);
	expect_at(file, 1, 0, 300);

	must(cop_set_length(file, 0));
	assert_int_equal(world_free_bytes(&world), before);
	cop_release(file);
	world_fini(&world);
}

static void
never_shows_old_bytes_when_it_grows_again(void **state)
{
	static const uint64_t lengths[] = { 0, 1, 99, 4096, 5000, 100000, 1000001 };
	struct world world;
	struct cop_object *file;
	uint8_t byte;
	size_t got;

	(void)state;
	world_init(&world, 64 * MIB, 0, 35);
	file = world_file(&world);
	for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
		write_at(file, i, 0, 1500000);
		must(cop_set_length(file, lengths[i]));
		must(cop_set_length(file, 2000000));
		for (uint64_t at = lengths[i]; at < 1500000; at += 1 + at / 7) {
			must(cop_read(file, at, &byte, 1, &got));
			assert_int_equal(byte, 0);
		}
	}
	cop_release(file);
	world_fini(&world);
}

static void
holds_sparse_files_up_to_16_tib(void **state)
{
	const uint64_t end = COP_FILE_BYTES_MAX;
	struct world world;
	struct cop_object *file;
	uint64_t offset;
	uint8_t byte = 1;
	size_t got;

	(void)state;
	world_init(&world, 8 * MIB, 0, 32);
	file = world_file(&world);
	must(cop_set_length(file, end));
	assert_int_equal(attr_of(file).length, end);
	assert_int_equal(attr_of(file).allocated_bytes, 0);
	assert_int_equal(cop_seek_data(file, 0, &offset), COP_ENODATA);

	for (uint64_t at = 4096; at < end; at *= 2)
		write_at(file, at, at - 50, 100);
	write_at(file, 7, end - 10, 10);
	for (uint64_t at = 4096; at < end; at *= 2)
		expect_at(file, at, at - 50, 100);
	expect_at(file, 7, end - 10, 10);
	must(cop_read(file, end - 5000, &byte, 1, &got));
	assert_int_equal(byte, 0);
	must(cop_read(file, end, &byte, 1, &got));
	assert_int_equal(got, 0);

	must(cop_seek_data(file, end / 2 + 4096, &offset));
	assert_int_equal(offset, end - 4096);
	assert_int_equal(cop_write(file, end - 1, "ab", 2, NULL), COP_EFBIG);
	assert_int_equal(cop_set_length(file, end + 1), COP_EFBIG);
	assert_int_equal(cop_preallocate(file, end, 1, true), COP_EFBIG);

	must(cop_punch(file, 0, end));
	must(cop_settle(world.volume));
	assert_int_equal(attr_of(file).allocated_bytes, 0);
	assert_int_equal(attr_of(file).length, end);
	cop_release(file);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changes_form_in_both_directions),
		cmocka_unit_test(never_shows_old_bytes_when_it_grows_again),
		cmocka_unit_test(holds_sparse_files_up_to_16_tib),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
