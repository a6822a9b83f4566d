#include "world.h"

#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

/* ---- A flat model of one file --------------------------------------------------------------- */

enum { MODEL_BYTES = 3 << 20 };

struct model {
	uint8_t *bytes;
	uint8_t *scratch;
	uint64_t length;
	uint64_t seed;
};

static void
model_init(struct model *model, uint64_t seed)
{
	*model = (struct model){
		.bytes = calloc(1, MODEL_BYTES),
		.scratch = malloc(MODEL_BYTES + 4096),
		.seed = seed,
	};
	assert_non_null(model->bytes);
	assert_non_null(model->scratch);
}

static void
model_fini(struct model *model)
{
	free(model->bytes);
	free(model->scratch);
}

static void
model_compare(struct model *model, struct cop_object *file, uint64_t offset, size_t bytes)
{
	size_t got = 0;
	size_t want = offset >= model->length ? 0 : min_u64(bytes, model->length - offset);

	must(cop_read(file, offset, model->scratch, bytes, &got));
	assert_int_equal(got, want);
	for (size_t i = 0; i < want; i++) {
		if (model->scratch[i] != model->bytes[offset + i])
			fail_msg("seed %llu: byte %llu is %02x, not %02x",
				(unsigned long long)model->seed, (unsigned long long)(offset + i),
				model->scratch[i], model->bytes[offset + i]);
	}
}

static void
model_write(struct model *model, struct cop_object *file, struct rng *rng, uint64_t offset,
	size_t bytes)
{
	size_t written = 0;

	/* Aligned like the offset now and then, so that blocks go to the device uncopied. */
	uint8_t *at = model->scratch + (rng_below(rng, 2) ? offset % 4096 : 0);

	rng_bytes(rng, at, bytes);
	must(cop_write(file, offset, at, bytes, &written));
	assert_int_equal(written, bytes);
	memcpy(model->bytes + offset, at, bytes);
	model->length = max_u64(model->length, offset + bytes);
}

static void
model_set_length(struct model *model, struct cop_object *file, uint64_t length)
{
	must(cop_set_length(file, length));
	if (length < model->length)
		memset(model->bytes + length, 0, model->length - length);
	model->length = length;
}

static void
model_punch(struct model *model, struct cop_object *file, uint64_t offset, uint64_t bytes)
{
	must(cop_punch(file, offset, bytes));
	if (offset < model->length)
		memset(model->bytes + offset, 0, min_u64(bytes, model->length - offset));
}

static void
model_preallocate(
	struct model *model, struct cop_object *file, uint64_t offset, uint64_t bytes, bool grow)
{
	must(cop_preallocate(file, offset, bytes, grow));
	if (grow)
		model->length = max_u64(model->length, offset + bytes);
}

/* What is said to be a hole is zero, and the map covers everything. */
static void
model_check_map(struct model *model, struct cop_object *file)
{
	uint64_t offset = 0;

	while (offset < model->length) {
		struct cop_extent extent = COP_INIT(extent);

		must(cop_map(file, offset, &extent));
		assert_true(extent.bytes > 0);
		assert_true(extent.bytes <= model->length - offset);
		if (extent.flags & (COP_EXTENT_HOLE | COP_EXTENT_UNWRITTEN)) {
			for (uint64_t i = 0; i < extent.bytes; i++)
				assert_int_equal(model->bytes[offset + i], 0);
		}
		offset += extent.bytes;
	}
	for (offset = 0; offset < model->length;) {
		uint64_t data = model->length;
		uint64_t hole;
		int err = cop_seek_data(file, offset, &data);

		assert_true(err == 0 || err == COP_ENODATA);
		for (; offset < data; offset++)
			assert_int_equal(model->bytes[offset], 0);
		if (err)
			break;
		must(cop_seek_hole(file, data, &hole));
		assert_true(hole > data);
		offset = hole;
	}
}

static size_t
some_size(struct rng *rng)
{
	static const size_t sizes[] = { 1, 100, 400, 4096, 5000, 16384, 70000, 200000, 1200000 };

	return 1 + rng_below(rng, sizes[rng_below(rng, ARRAY_COUNT(sizes))]);
}

static void
some_operation(struct world *world, struct model *model, struct cop_object **file, struct rng *rng)
{
	uint64_t offset = rng_below(rng, rng_below(rng, 3) == 0 ? 1000 : MODEL_BYTES - 1);
	size_t bytes = min_u64(some_size(rng), MODEL_BYTES - offset);
	uint64_t id;

	if (rng_below(rng, 3) == 0)
		offset -= offset % 4096;
	switch (rng_below(rng, 16)) {
	case 0:
	case 1:
	case 2:
	case 3:
	case 4:
	case 5:
		model_write(model, *file, rng, offset, bytes);
		break;
	case 6:
		model_set_length(model, *file, offset);
		break;
	case 7:
	case 8:
		model_punch(model, *file, offset, bytes);
		break;
	case 9:
		model_preallocate(model, *file, offset, bytes, rng_below(rng, 2) == 0);
		break;
	case 10:
		model_check_map(model, *file);
		break;
	case 11:
		must(cop_sync(world->volume));
		break;
	case 12:
		if (rng_below(rng, 4) != 0)
			break;
		id = cop_id(*file);
		cop_release(*file);
		world_reopen(world, false);
		must(cop_get(world->root, id, file));
		break;
	default:
		model_compare(model, *file, offset, bytes);
		break;
	}
}

static void
run_model(uint64_t volume_bytes, uint32_t node_bytes, uint64_t seed, int operations)
{
	struct world world;
	struct model model;
	struct cop_object *file;
	struct rng rng;
	uint64_t free_bytes;

	rng_seed(&rng, seed);
	world_init(&world, volume_bytes, node_bytes, seed);
	model_init(&model, seed);
	free_bytes = world_free_bytes(&world);
	file = world_file(&world);
	for (int i = 0; i < operations; i++)
		some_operation(&world, &model, &file, &rng);
	model_compare(&model, file, 0, MODEL_BYTES);
	model_check_map(&model, file);

	/* Nothing is left of it in the end. */
	must(cop_unref(file));
	cop_release(file);
	assert_int_equal(world_free_bytes(&world), free_bytes);
	world_fini(&world);
	model_fini(&model);
}

static void
follows_a_flat_model_on_8_mib(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++)
		run_model(8 * MIB + 4 * MIB, 0, seed, 150);
}

static void
follows_a_flat_model_on_64_mib(void **state)
{
	(void)state;
	for (uint64_t seed = 11; seed <= 14; seed++)
		run_model(64 * MIB, 0, seed, 200);
}

static void
follows_a_flat_model_with_large_nodes(void **state)
{
	(void)state;
	run_model(128 * MIB, 8192, 23, 200);
	run_model(128 * MIB, 16384, 21, 200);
	run_model(128 * MIB, 65536, 22, 200);
}

static void
lays_a_file_out_in_one_row(void **state)
{
	struct world world;
	struct cop_object *file;
	struct cop_extent extent = COP_INIT(extent);

	(void)state;
	world_init(&world, 256 * MIB, 0, 33);
	file = world_file(&world);
	for (uint64_t i = 0; i < 20; i++)
		world_write(file, i, i * MIB, MIB);
	must(cop_map(file, 0, &extent));
	assert_true(extent.bytes >= 7 * MIB); /* but for the borders of groups */
	cop_release(file);
	world_fini(&world);
}

/* Every second block of what is free is taken: nothing lies in a row. */
static void
fragment(struct world *world)
{
	struct cop_object *files[2] = { world_file(world), world_file(world) };
	uint64_t id[2] = { cop_id(files[0]), cop_id(files[1]) };
	uint8_t block[4096];
	uint64_t length = 0;
	int err = 0;

	world_bytes(1, block, sizeof block);
	for (; err == 0; length += 8192) {
		err = cop_write(files[0], length, block, sizeof block, NULL);
		if (err == 0)
			err = cop_write(files[1], length, block, sizeof block, NULL);
	}
	assert_int_equal(err, COP_ENOSPC);
	must(cop_unref(files[1]));
	cop_release(files[0]);
	cop_release(files[1]);
	world_reopen(world, false);
	assert_int_not_equal(cop_get(world->root, id[1], &files[1]), 0);
	must(cop_settle(world->volume));
}

static void
writes_and_cuts_where_nothing_lies_in_a_row(void **state)
{
	struct world world;
	struct cop_object *file;
	uint64_t before;

	(void)state;
	world_init(&world, 16 * MIB, 0, 37);
	fragment(&world);
	before = world_free_bytes(&world);
	file = world_file(&world);
	world_write(file, 5, 100, 200);
	world_write(file, 6, 300, 2 * MIB);
	world_expect(file, 5, 100, 200);
	world_expect(file, 6, 300, 2 * MIB);
	world_write(file, 7, 5000, MIB);
	world_expect(file, 7, 5000, MIB);
	must(cop_punch(file, 10000, MIB));
	must(cop_preallocate(file, 0, 2 * MIB, false));
	world_write(file, 8, 3000, MIB);
	world_expect(file, 8, 3000, MIB);
	must(cop_set_length(file, 700000));
	must(cop_set_length(file, 100));
	must(cop_unref(file));
	cop_release(file);
	assert_int_equal(world_free_bytes(&world), before);
	world_fini(&world);
}

static void
refuses_what_is_no_file(void **state)
{
	struct world world;
	uint8_t byte = 0;
	size_t got;
	uint64_t offset;

	(void)state;
	world_init(&world, 8 * MIB, 0, 36);
	assert_int_equal(cop_read(world.root, 0, &byte, 1, &got), COP_EISDIR);
	assert_int_equal(cop_write(world.root, 0, &byte, 1, &got), COP_EISDIR);
	assert_int_equal(cop_set_length(world.root, 0), COP_EISDIR);
	assert_int_equal(cop_punch(world.root, 0, 1), COP_EISDIR);
	assert_int_equal(cop_preallocate(world.root, 0, 1, true), COP_EISDIR);
	assert_int_equal(cop_seek_data(world.root, 0, &offset), COP_EISDIR);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(follows_a_flat_model_on_8_mib),
		cmocka_unit_test(follows_a_flat_model_on_64_mib),
		cmocka_unit_test(follows_a_flat_model_with_large_nodes),
		cmocka_unit_test(lays_a_file_out_in_one_row),
		cmocka_unit_test(writes_and_cuts_where_nothing_lies_in_a_row),
		cmocka_unit_test(refuses_what_is_no_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
