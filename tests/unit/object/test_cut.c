#include "object/clone.h"
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

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
	assert_int_equal(world_attr(file).form, COP_FORM_INLINE);

	world_write(file, 1, 0, 300);
	assert_int_equal(world_attr(file).form, COP_FORM_INLINE);
	assert_int_equal(world_attr(file).allocated_bytes, 0);

	world_write(file, 2, 300, 100000);
	assert_int_equal(world_attr(file).form, COP_FORM_EXTENTS);
	assert_int_equal(world_attr(file).allocated_bytes, 25 * 4096);
	world_expect(file, 1, 0, 300);
	world_expect(file, 2, 300, 100000);

	world_write(file, 3, 300, 3000000);
	assert_int_equal(world_attr(file).form, COP_FORM_TREE);
	assert_true(world_attr(file).levels >= 1);
	world_expect(file, 1, 0, 300);
	world_expect(file, 3, 300, 3000000);

	must(cop_set_length(file, 60000));
	assert_int_equal(world_attr(file).form, COP_FORM_EXTENTS);
	assert_int_equal(world_attr(file).levels, 0);
	assert_int_equal(world_attr(file).allocated_bytes, 15 * 4096);
	world_expect(file, 1, 0, 300);

	must(cop_set_length(file, 300));
	assert_int_equal(world_attr(file).form, COP_FORM_INLINE);
	assert_int_equal(world_attr(file).allocated_bytes, 0);
	world_expect(file, 1, 0, 300);

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
		world_write(file, i, 0, 1500000);
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
	assert_int_equal(world_attr(file).length, end);
	assert_int_equal(world_attr(file).allocated_bytes, 0);
	assert_int_equal(cop_seek_data(file, 0, &offset), COP_ENODATA);

	for (uint64_t at = 4096; at < end; at *= 2)
		world_write(file, at, at - 50, 100);
	world_write(file, 7, end - 10, 10);
	for (uint64_t at = 4096; at < end; at *= 2)
		world_expect(file, at, at - 50, 100);
	world_expect(file, 7, end - 10, 10);
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
	assert_int_equal(world_attr(file).allocated_bytes, 0);
	assert_int_equal(world_attr(file).length, end);
	cop_release(file);
	world_fini(&world);
}

/* ---- Full volumes ---------------------------------------------------------------------------- */

/* What is free beside the reserve is promised to others: not even a record can be changed. */
static uint64_t
fill_to_the_brim(struct world *world, struct cop_object *file)
{
	struct space *space = volume_space(world->volume->volume);
	struct cop_attr attr = COP_INIT(attr);
	uint64_t blocks;

	must(cop_settle(world->volume));
	blocks = space_available_blocks(space);
	must(space_admit(space, blocks, false));
	assert_int_equal(cop_set_attr(file, &attr, COP_SET_MODE), COP_ENOSPC);
	return blocks;
}

static void
cuts_every_form_on_a_full_volume(void **state)
{
	static const uint64_t lengths[] = { 300, 3000, 100000, 900000 };
	enum { EACH = 20, FILES = EACH * ARRAY_COUNT(lengths) };
	struct cop_object *files[FILES];
	struct world world;
	uint64_t promised;

	(void)state;
	world_init(&world, 64 * MIB, 0, 36);
	for (size_t i = 0; i < FILES; i++) {
		files[i] = world_file(&world);
		world_write(files[i], i, 0, lengths[i % ARRAY_COUNT(lengths)]);
	}
	promised = fill_to_the_brim(&world, files[0]);
	for (size_t i = 0; i < FILES; i++) {
		uint64_t length = lengths[i % ARRAY_COUNT(lengths)];

		must(cop_punch(files[i], length / 4, length / 4));
		must(cop_set_length(files[i], length - length / 8));
		world_expect(files[i], i, 0, length / 4);
	}
	for (size_t i = 0; i < FILES; i++) {
		must(cop_set_length(files[i], lengths[i % ARRAY_COUNT(lengths)] / 8));
		world_expect(files[i], i, 0, lengths[i % ARRAY_COUNT(lengths)] / 8);
		cop_release(files[i]);
	}
	space_unadmit(volume_space(world.volume->volume), promised);
	world_fini(&world);
}

/* There is nothing that a job could do later: it is refused, and nothing has happened. */
static void
refuses_a_punch_within_a_block_where_there_is_no_room(void **state)
{
	enum { EXTENTS = 150 };
	struct cop_object *clone;
	struct cop_object *file;
	struct world world;
	uint64_t promised;

	(void)state;
	world_init(&world, 64 * MIB, 0, 38);
	file = world_file(&world);
	for (uint64_t i = 0; i < EXTENTS; i++)
		world_write(file, i, i * 8192, 4096);
	assert_int_equal(world_attr(file).form, COP_FORM_TREE);
	clone = world_file(&world);
	must(object_clone(file, clone));
	promised = fill_to_the_brim(&world, file);
	assert_int_equal(cop_punch(file, 70 * 8192 + 100, 10), COP_ENOSPC);
	assert_int_equal(cop_punch(file, 70 * 8192 + 4000, 5000), COP_ENOSPC);
	world_expect(file, 70, 70 * 8192, 4096);
	space_unadmit(volume_space(world.volume->volume), promised);
	must(cop_punch(file, 70 * 8192 + 100, 10));
	world_expect(file, 70, 70 * 8192, 100);
	world_expect(clone, 70, 70 * 8192, 4096);
	cop_release(file);
	cop_release(clone);
	world_fini(&world);
}

/* What may be refused, and must leave everything as it is. */
static void
may_lack_space(int err, uint32_t *refused)
{
	if (err == COP_ENOSPC)
		++*refused;
	else
		must(err);
}

static void
punch_often(struct cop_object *file, size_t i, size_t bytes, uint32_t *refused)
{
	may_lack_space(cop_punch(file, MIB + 1000 + i, 10 + i), refused);
	for (uint64_t at = 4096; at < bytes; at += 2 * 4096)
		may_lack_space(cop_punch(file, MIB + at + i, 10), refused);
}

static void
cut_often(struct cop_object *file, size_t i, uint32_t *refused)
{
	may_lack_space(cop_set_length(file, 3 * MIB - i), refused);
	may_lack_space(cop_set_length(file, MIB + 300 + i), refused);
	may_lack_space(cop_set_length(file, 300), refused);
}

/*
 * Cuts that free little and may make the trees larger. Some can be refused when the volume is full
 * of such files, but they never use up the reserve: all can be made empty, or taken away.
 */
static uint32_t
cut_many(uint64_t volume_bytes, size_t count, size_t bytes)
{
	struct cop_object **files = calloc(count, sizeof *files);
	struct world world;
	uint64_t promised;
	uint32_t refused = 0;

	assert_non_null(files);
	world_init(&world, volume_bytes, 0, 37);
	for (size_t i = 0; i < count; i++) {
		files[i] = world_file(&world);
		must(cop_set_length(files[i], 4 * MIB));
		if (bytes > 0)
			world_write(files[i], i, MIB, bytes);
	}
	promised = fill_to_the_brim(&world, files[0]);
	for (size_t i = 0; i < count; i++)
		punch_often(files[i], i, bytes, &refused);
	for (size_t i = 0; i < count; i++)
		cut_often(files[i], i, &refused);
	for (size_t i = 0; i < count; i++) {
		if (i % 2 == 0)
			must(cop_set_length(files[i], 0));
		must(cop_unref(files[i]));
		cop_release(files[i]);
	}
	free(files);
	space_unadmit(volume_space(world.volume->volume), promised);
	world_fini(&world);
	return refused;
}

static void
cuts_never_use_up_the_reserve(void **state)
{
	(void)state;
	assert_int_equal(cut_many(8 * MIB, 2500, 0), 0);
	assert_int_equal(cut_many(64 * MIB, 1200, 12000), 0);
	assert_in_range(cut_many(64 * MIB, 400, 60000), 1, 3000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changes_form_in_both_directions),
		cmocka_unit_test(never_shows_old_bytes_when_it_grows_again),
		cmocka_unit_test(holds_sparse_files_up_to_16_tib),
		cmocka_unit_test(cuts_every_form_on_a_full_volume),
		cmocka_unit_test(refuses_a_punch_within_a_block_where_there_is_no_room),
		cmocka_unit_test(cuts_never_use_up_the_reserve),
	};

	world_writes_through = true;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
