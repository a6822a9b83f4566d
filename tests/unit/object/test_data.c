#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

static struct cop_object *
file_of(struct world *world, size_t bytes)
{
	struct cop_object *file = world_file(world);
	uint8_t *buffer = malloc(bytes);

	assert_non_null(buffer);
	world_bytes(bytes, buffer, bytes);
	must(cop_write(file, 0, buffer, bytes, NULL));
	free(buffer);
	return file;
}

/* Flips a bit of the block in which a byte of the file lies. */
static void
damage(struct world *world, struct cop_object *file, uint64_t offset)
{
	struct cop_extent extent = COP_INIT(extent);
	uint8_t *block = block_buffer_alloc(1);

	assert_non_null(block);
	must(cop_map(file, offset, &extent));
	must(device_read(world->dev, extent.block, block, 1));
	block[100] ^= 4;
	must(device_write(world->dev, extent.block, block, 1));
	free(block);
}

static void
names_object_and_bytes_of_damage(void **state)
{
	static const size_t sizes[] = { 4096, 300000 }; /* through the cache, and straight */
	struct world world;
	struct cop_object *file;
	uint8_t *buffer = malloc(MIB);
	uint8_t *want = malloc(MIB);
	char text[64];
	size_t got = 77;

	(void)state;
	assert_non_null(buffer);
	assert_non_null(want);
	world_init(&world, 64 * MIB, 0, 1);
	file = file_of(&world, MIB);
	damage(&world, file, 600000);
	snprintf(text, sizeof text,
		"object %llu, bytes 598016-602111: ", (unsigned long long)cop_id(file));
	for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
		assert_int_equal(cop_read(file, 600000 - sizes[i] / 2, buffer, sizes[i], &got),
			COP_ECHECKSUM);
		assert_memory_equal(cop_error_text(), text, strlen(text));
		assert_int_equal(got, 77);
	}

	/* All else can be read. */
	world_bytes(MIB, want, MIB);
	must(cop_read(file, 0, buffer, 598016, &got));
	assert_memory_equal(buffer, want, 598016);
	must(cop_read(file, 602112, buffer, MIB, &got));
	assert_int_equal(got, MIB - 602112);
	assert_memory_equal(buffer, want + 602112, got);

	/* A block that cannot be read cannot be changed in part, only as a whole. */
	assert_int_equal(cop_write(file, 600000, "x", 1, NULL), COP_ECHECKSUM);
	must(cop_write(file, 598016, want, 4096, NULL));
	must(cop_read(file, 598016, buffer, 4096, &got));
	assert_memory_equal(buffer, want, 4096);
	cop_release(file);
	world_fini(&world);
	free(buffer);
	free(want);
}

static void
says_what_it_does_not_support(void **state)
{
	struct world world;
	struct operation op;
	struct extent extent = {
		.addr = 500,
		.birth = 1,
		.blocks = 4,
		.flags = EXTENT_COMPRESSED,
		.stored_bytes = 5000,
		.whole_blocks = 4,
	};
	struct extents extents = { .list = &extent, .count = 1 };
	uint8_t *buffer = malloc(100000);

	(void)state;
	assert_non_null(buffer);
	world_init(&world, 8 * MIB, 0, 3);
	operation_begin(&op, world.volume);
	assert_int_equal(data_fetch(&op, &extents, 0, buffer, 10), COP_EUNSUPPORTED);
	assert_int_equal(data_fetch(&op, &extents, 0, buffer, 100000), COP_EUNSUPPORTED);
	extent.flags = EXTENT_ENCRYPTED;
	assert_int_equal(data_fetch(&op, &extents, 0, buffer, 10), COP_EUNSUPPORTED);
	extent.flags = 0;
	extent.addr = 100000; /* past the end of the volume */
	assert_int_equal(data_fetch(&op, &extents, 0, buffer, 10), COP_EFORMAT);
	operation_end(&op);
	world_fini(&world);
	free(buffer);
}

/* One read keeps many requests in flight, where the extents do not lie in a row. */
static void
reads_many_extents_at_once(void **state)
{
	struct cop_format_options format = COP_INIT(format);
	struct cop_open_options options = COP_INIT(options);
	struct cop_new new = COP_INIT(new);
	struct cop_stats stats = COP_INIT(stats);
	char path[] = "/tmp/coppice-data-XXXXXX";
	uint8_t *buffer = malloc(2 * MIB);
	struct cop_volume *volume;
	struct cop_object *root;
	struct cop_object *files[2];
	size_t got;

	(void)state;
	assert_non_null(buffer);
	close(mkstemp(path));
	format.volume_bytes = 64 * MIB;
	must(cop_format(path, &format));
	options.write_through = true;
	must(cop_open(path, &options, &volume));
	must(cop_root(volume, NULL, &root));
	new.kind = COP_FILE;
	must(cop_allocate(root, &new, &files[0]));
	must(cop_allocate(root, &new, &files[1]));
	for (uint64_t i = 0; i < 40; i++) {
		memset(buffer, (int)i, 32768);
		must(cop_write(files[0], i * 32768, buffer, 32768, NULL));
		must(cop_write(files[1], i * 32768, buffer, 32768, NULL));
	}
	must(cop_read(files[0], 0, buffer, 2 * MIB, &got));
	assert_int_equal(got, 40 * 32768);
	for (size_t i = 0; i < got; i++)
		assert_int_equal(buffer[i], i / 32768);
	must(cop_stats(volume, &stats));
	assert_true(stats.device_depth_max >= 16);
	cop_release(files[0]);
	cop_release(files[1]);
	cop_release(root);
	must(cop_close(volume));
	unlink(path);
	free(buffer);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_object_and_bytes_of_damage),
		cmocka_unit_test(says_what_it_does_not_support),
		cmocka_unit_test(reads_many_extents_at_once),
	};

	world_writes_through = true;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
