#include "world.h"

#include "base/random.h"
#include "object/clone.h"
#include "object/reclaim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

enum { TEETH = 200, TRIM_FIRST = 20, TRIM_END = 300 };

/* Declares a range a hole and leaves its freeing to a job, as a large cut does, and stops there. */
static void
begin_trim(struct world *world, struct cop_object *file)
{
	uint8_t listed[TRIMS_BYTES_MAX];
	struct trims trims;
	uint64_t number;
	struct operation op;
	struct loaded loaded;
	struct tx *tx;

	must(change_begin(&op, world->volume, &file, 1));
	must(record_load(file, &loaded));
	number = volume_next_job(world->volume->volume);
	trims = (struct trims){ .count = 1, .list = { { TRIM_FIRST, TRIM_END } } };
	loaded.record.content = trims_encode(&trims, listed);
	loaded.record.trim_job = number;
	must(tx_begin(world->volume->volume, &op.visit, true, &tx));
	must(job_put_trim(tx, file, number));
	must(record_put(tx, file->branch, file->id, &loaded.record));
	must(change_commit(&op, tx));
	change_end(&op);
}

static void
expect_trimmed(struct cop_object *file)
{
	uint8_t block[4096];
	uint8_t want[4096];
	uint64_t data;
	struct cop_extent extent = COP_INIT(extent);
	size_t got;

	for (uint64_t i = 0; i < TEETH; i++) {
		must(cop_read(file, i * 8192, block, sizeof block, &got));
		world_bytes(i, want, sizeof want);
		if (i * 2 >= TRIM_FIRST && i * 2 < TRIM_END)
			memset(want, 0, sizeof want);
		assert_memory_equal(block, want, sizeof want);
	}
	must(cop_seek_data(file, TRIM_FIRST * 4096, &data));
	assert_int_equal(data, TRIM_END * 4096);
	must(cop_map(file, 100 * 4096, &extent));
	assert_int_equal(extent.flags, COP_EXTENT_HOLE);
	assert_int_equal(extent.bytes, (TRIM_END - 100) * 4096);
}

static void
shows_a_hole_before_it_is_freed(void **state)
{
	struct world world;
	struct cop_object *file;
	uint64_t pending = 1;
	int polls = 0;

	(void)state;
	world_init(&world, 64 * MIB, 0, 1);
	file = world_comb(&world, TEETH);
	begin_trim(&world, file);
	assert_int_equal(world_attr(file).allocated_bytes, TEETH * 4096);
	expect_trimmed(file);

	/* Step by step. */
	for (; pending > 0; polls++) {
		must(cop_poll(world.volume, &pending));
		expect_trimmed(file);
	}
	assert_true(polls > 1);
	assert_int_equal(
		world_attr(file).allocated_bytes, (TEETH - (TRIM_END - TRIM_FIRST) / 2) * 4096);
	cop_release(file);
	world_fini(&world);
}

static void
finishes_a_trim_that_a_crash_left(void **state)
{
	struct cop_open_options options = COP_INIT(options);
	struct world world;
	struct cop_object *file;
	uint64_t id;

	(void)state;
	world_init(&world, 64 * MIB, 0, 2);
	file = world_comb(&world, TEETH);
	id = cop_id(file);
	begin_trim(&world, file);
	must(cop_sync(world.volume));
	cop_release(file);
	cop_release(world.root);
	cop_abandon(world.volume);

	/* A reader changes nothing and sees the hole all the same. */
	options.read_only = true;
	must(cop_open_on(world.dev, &options, &world.volume));
	must(cop_root(world.volume, NULL, &world.root));
	must(cop_get(world.root, id, &file));
	expect_trimmed(file);
	assert_int_equal(world_attr(file).allocated_bytes, TEETH * 4096);
	cop_release(file);

	world_reopen(&world, true);
	must(cop_get(world.root, id, &file));
	expect_trimmed(file);
	must(cop_settle(world.volume));
	expect_trimmed(file);
	assert_int_equal(
		world_attr(file).allocated_bytes, (TEETH - (TRIM_END - TRIM_FIRST) / 2) * 4096);
	cop_release(file);
	world_fini(&world);
}

static uint64_t
transactions(struct world *world)
{
	struct cop_stats stats = COP_INIT(stats);

	must(cop_stats(world->volume, &stats));
	return stats.transactions;
}

static void
expect_ranges(struct cop_object *file, size_t count, const struct trim_range *ranges)
{
	struct loaded loaded;
	struct trims trims;

	must(record_load(file, &loaded));
	record_trims(&loaded.record, &trims);
	assert_int_equal(trims.count, count);
	assert_int_equal(loaded.record.trim_job != 0, count > 0);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(trims.list[i].first, ranges[i].first);
		assert_int_equal(trims.list[i].end, ranges[i].end);
	}
}

/* A write frees what is in its way, one step of it, and no more; one outside of it nothing. */
static void
frees_what_it_writes_over(void **state)
{
	static const struct at {
		uint64_t block;
		uint64_t transactions;
		size_t ranges;
		struct trim_range left[2];
	} writes[] = {
		{ 5, 1, 1, { { TRIM_FIRST, TRIM_END } } },         /* before the range */
		{ TRIM_END, 1, 1, { { TRIM_FIRST, TRIM_END } } },  /* behind it */
		{ TRIM_FIRST, 2, 1, { { 115, TRIM_END } } },       /* its beginning: one step */
		{ 114, 1, 1, { { 115, TRIM_END } } },              /* that step was long enough */
		{ TRIM_END - 1, 2, 1, { { 115, TRIM_END - 1 } } }, /* its end */
		{ 140, 2, 2, { { 115, 140 }, { 235, TRIM_END - 1 } } }, /* its middle */
		{ 200, 1, 2, { { 115, 140 }, { 235, TRIM_END - 1 } } },
	};
	struct world world;
	struct cop_object *file;

	(void)state;
	world_init(&world, 64 * MIB, 0, 3);
	file = world_comb(&world, TEETH);
	begin_trim(&world, file);
	for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++) {
		uint64_t before = transactions(&world);

		world_write(file, i, writes[i].block * 4096, 4096);
		assert_int_equal(transactions(&world) - before, writes[i].transactions);
		expect_ranges(file, writes[i].ranges, writes[i].left);
		for (size_t j = 0; j <= i; j++)
			world_expect(file, j, writes[j].block * 4096, 4096);
	}
	must(cop_settle(world.volume));
	expect_ranges(file, 0, NULL);
	for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++)
		world_expect(file, i, writes[i].block * 4096, 4096);
	assert_int_equal(
		world_attr(file).allocated_bytes, (TEETH - (TRIM_END - TRIM_FIRST) / 2 + 6) * 4096);
	cop_release(file);
	world_fini(&world);
}

/* A second cut that touches the first becomes one with it. */
static void
joins_cuts_that_touch(void **state)
{
	struct world world;
	struct cop_object *file;
	uint64_t before;
	uint64_t pending;

	(void)state;
	world_init(&world, 64 * MIB, 0, 5);
	file = world_comb(&world, TEETH);
	begin_trim(&world, file);
	before = transactions(&world);
	must(cop_punch(file, TRIM_END * 4096, 60 * 4096));
	assert_int_equal(transactions(&world) - before, 1);
	expect_ranges(file, 1, &(struct trim_range){ TRIM_FIRST, TRIM_END + 60 });

	/* All from the middle of the range on, as if it were cut off. */
	before = transactions(&world);
	must(cop_set_length(file, 200 * 4096));
	must(cop_set_length(file, 250 * 4096));
	must(cop_set_length(file, 150 * 4096));
	assert_true(transactions(&world) - before <= 3);
	must(cop_punch(file, 0, 5 * 4096));
	assert_int_equal(world_attr(file).length, 150 * 4096);

	must(cop_poll(world.volume, &pending));
	assert_int_equal(pending, 1);
	must(cop_settle(world.volume));
	must(cop_poll(world.volume, &pending));
	assert_int_equal(pending, 0);
	assert_int_equal(world_attr(file).allocated_bytes, 7 * 4096);
	assert_int_equal(world_attr(file).form, COP_FORM_EXTENTS);
	cop_release(file);
	world_fini(&world);
}

/* One that does not is a second range of the same job. */
static void
lists_cuts_that_do_not_touch(void **state)
{
	static const struct trim_range two[] = { { 10, 110 }, { 200, 300 } };
	struct world world;
	struct cop_object *file;
	uint64_t before;
	uint64_t pending;

	(void)state;
	world_init(&world, 64 * MIB, 0, 6);
	file = world_comb(&world, TEETH);
	before = transactions(&world);
	must(cop_punch(file, 10 * 4096, 100 * 4096));
	must(cop_punch(file, 200 * 4096, 100 * 4096));
	assert_int_equal(transactions(&world) - before, 2);
	expect_ranges(file, 2, two);
	must(jobs_count(world.volume, &pending));
	assert_int_equal(pending, 1);
	must(cop_settle(world.volume));
	expect_ranges(file, 0, NULL);
	assert_int_equal(world_attr(file).allocated_bytes, 100 * 4096);
	for (uint64_t i = 0; i < TEETH; i++) {
		if (i * 2 < 10 || (i * 2 >= 110 && i * 2 < 200) || i * 2 >= 300)
			world_expect(file, i, i * 8192, 4096);
	}
	cop_release(file);
	world_fini(&world);
}

/* The list is full: a punch frees the shortest range, what is cut off has a place all the same. */
static void
frees_the_shortest_of_too_many(void **state)
{
	enum { EACH = 64, FULL = TRIM_RANGES_MAX - 1, MANY = (FULL + 3) * EACH };
	struct world world;
	struct cop_object *file;
	struct loaded loaded;
	struct trims trims;
	uint64_t before;

	(void)state;
	world_init(&world, 64 * MIB, 0, 8);
	file = world_comb(&world, MANY);
	before = transactions(&world);
	for (uint64_t i = 0; i < FULL; i++)
		must(cop_punch(file, i * EACH * 8192, (i == 7 ? 50 : 52) * 8192));
	assert_int_equal(transactions(&world) - before, FULL);
	must(cop_punch(file, FULL * EACH * 8192, 52 * 8192));
	assert_int_equal(transactions(&world) - before, FULL + 1 + 2); /* two steps for 50 */
	must(record_load(file, &loaded));
	record_trims(&loaded.record, &trims);
	assert_int_equal(trims.count, FULL);
	assert_null(trims_find(&trims, 7 * EACH * 2, 8 * EACH * 2));

	/* A write in the middle of one divides it, unless one step frees all that is behind. */
	before = transactions(&world);
	world_write(file, 1, 2 * EACH * 8192 + 5 * 8192, 4096);
	assert_int_equal(transactions(&world) - before, 1 + 1);
	world_write(file, 2, 3 * EACH * 8192 + 1 * 8192, 4096);
	assert_int_equal(transactions(&world) - before, 2 + 1 + 1 + 1);
	before = transactions(&world);
	must(cop_set_length(file, (FULL + 1) * EACH * 8192));
	assert_int_equal(transactions(&world) - before, 1);
	must(cop_settle(world.volume));
	expect_ranges(file, 0, NULL);
	world_expect(file, 1, 2 * EACH * 8192 + 5 * 8192, 4096);
	world_expect(file, 2, 3 * EACH * 8192 + 1 * 8192, 4096);
	assert_int_equal(
		world_attr(file).allocated_bytes, ((FULL + 1) * EACH - 50 - FULL * 52 + 2) * 4096);
	cop_release(file);
	world_fini(&world);
}

/* Both have the hole, and each frees it for itself. */
static void
clones_what_is_being_trimmed(void **state)
{
	struct world world;
	struct cop_object *file;
	struct cop_object *copy;
	uint64_t before;
	uint64_t pending;
	uint64_t used;

	(void)state;
	world_init(&world, 64 * MIB, 0, 9);
	used = world_free_bytes(&world);
	file = world_comb(&world, TEETH);
	copy = world_comb(&world, TEETH + 10);
	begin_trim(&world, file);
	begin_trim(&world, copy);
	before = transactions(&world);
	must(object_clone(file, copy));
	assert_int_equal(transactions(&world) - before, 1);
	must(jobs_count(world.volume, &pending));
	assert_int_equal(pending, 3); /* and one takes apart what the copy had */
	expect_trimmed(file);
	expect_trimmed(copy);
	for (int polls = 0; pending > 0; polls++) {
		must(cop_poll(world.volume, &pending));
		expect_trimmed(file);
		expect_trimmed(copy);
	}
	expect_ranges(file, 0, NULL);
	expect_ranges(copy, 0, NULL);
	must(cop_unref(file));
	cop_release(file);
	expect_trimmed(copy);
	must(cop_unref(copy));
	cop_release(copy);
	assert_int_equal(world_free_bytes(&world), used);
	world_fini(&world);
}

/* The tree goes as a whole, with what was to be freed of it, and under the same number. */
static void
buries_what_is_being_trimmed(void **state)
{
	struct world world;
	struct cop_object *file;
	uint64_t before;
	uint64_t pending;

	(void)state;
	world_init(&world, 64 * MIB, 0, 7);
	before = world_free_bytes(&world);
	for (int how = 0; how < 3; how++) {
		uint64_t from;

		file = world_comb(&world, TEETH);
		begin_trim(&world, file);
		from = transactions(&world);
		if (how == 0)
			must(cop_set_length(file, 100));
		must(cop_unref(file));
		cop_release(file);
		assert_true(transactions(&world) - from <= 3);
		must(cop_poll(world.volume, &pending));
		assert_int_equal(pending, 1);
		if (how == 2)
			world_reopen(&world, false);
		assert_int_equal(world_free_bytes(&world), before);
	}
	world_fini(&world);
}

static void
frees_an_object_whose_trim_is_unfinished(void **state)
{
	struct world world;
	struct cop_object *file;
	uint64_t before;

	(void)state;
	world_init(&world, 64 * MIB, 0, 4);
	before = world_free_bytes(&world);
	file = world_comb(&world, TEETH);
	begin_trim(&world, file);
	must(cop_unref(file));
	cop_release(file);
	assert_int_equal(world_free_bytes(&world), before);
	world_fini(&world);
}

/* ---- Against bytes in memory ----------------------------------------------------------------- */

enum {
	MODELS = 3,
	MODEL_BLOCKS = 1500,
	MODEL_BYTES = MODEL_BLOCKS * 4096,
	MODEL_OPS = 700,
};

struct model {
	struct cop_object *file;
	uint64_t id;
	uint64_t length;
	uint8_t *bytes; /* zeros past the length */
};

static void
model_write(struct model *model, struct rng *rng, uint64_t at, uint64_t bytes)
{
	bytes = min_u64(bytes, MODEL_BYTES - at);
	rng_bytes(rng, model->bytes + at, bytes);
	must(cop_write(model->file, at, model->bytes + at, bytes, NULL));
	model->length = max_u64(model->length, at + bytes);
}

static void
model_punch(struct model *model, uint64_t at, uint64_t bytes)
{
	must(cop_punch(model->file, at, bytes));
	memset(model->bytes + at, 0, min_u64(bytes, MODEL_BYTES - at));
}

static void
model_cut(struct model *model, uint64_t length)
{
	must(cop_set_length(model->file, length));
	if (length < model->length)
		memset(model->bytes + length, 0, model->length - length);
	model->length = length;
}

static void
model_clone(struct model *from, struct model *to)
{
	must(object_clone(from->file, to->file));
	memcpy(to->bytes, from->bytes, MODEL_BYTES);
	to->length = from->length;
}

static void
models_expect(const struct model models[static MODELS])
{
	uint8_t *back = malloc(MODEL_BYTES);
	size_t got;

	assert_non_null(back);
	for (int i = 0; i < MODELS; i++) {
		assert_int_equal(world_attr(models[i].file).length, models[i].length);
		must(cop_read(models[i].file, 0, back, MODEL_BYTES, &got));
		assert_int_equal(got, models[i].length);
		assert_memory_equal(back, models[i].bytes, got);
	}
	free(back);
}

static void
models_open(struct world *world, struct model models[static MODELS])
{
	for (int i = 0; i < MODELS; i++)
		must(cop_get(world->root, models[i].id, &models[i].file));
}

static void
models_crash(struct world *world, struct model models[static MODELS], bool abandoned)
{
	must(cop_sync(world->volume));
	for (int i = 0; i < MODELS; i++)
		cop_release(models[i].file);
	world_reopen(world, abandoned);
	models_open(world, models);
}

static void
model_change(struct model models[static MODELS], struct rng *rng)
{
	struct model *model = &models[rng_below(rng, MODELS)];
	uint64_t at = rng_below(rng, MODEL_BYTES);
	uint64_t long_bytes = 4096 + rng_below(rng, 200 * 4096);

	switch (rng_below(rng, 12)) {
	case 0:
	case 1:
	case 2: /* many extents */
		for (uint64_t i = 0; i < 250 && at < MODEL_BYTES; i++, at += 8192)
			model_write(model, rng, at, 1 + rng_below(rng, 5000));
		break;
	case 3:
		model_write(model, rng, at, 1 + rng_below(rng, 200000));
		break;
	case 4:
	case 5:
	case 6:
		model_punch(model, at, long_bytes);
		break;
	case 7:
		model_punch(model, at / 4096 * 4096, long_bytes / 4096 * 4096);
		break;
	case 8:
		if (rng_below(rng, 3) == 0)
			model_cut(model, at);
		break;
	case 9:
		model_cut(model, max_u64(model->length, at));
		break;
	case 10:
		must(cop_preallocate(model->file, at, long_bytes, false));
		break;
	default:
		if (rng_below(rng, 4) == 0)
			model_clone(model, &models[rng_below(rng, MODELS)]);
		break;
	}
}

static void
keeps_the_bytes_whatever_is_cut_beside(void **state)
{
	struct model models[MODELS];
	struct world world;
	struct rng rng;
	uint64_t pending;
	size_t most = 0;

	(void)state;
	world_init(&world, 128 * MIB, 4096, 10);
	rng_seed(&rng, 10);
	for (int i = 0; i < MODELS; i++) {
		models[i] = (struct model){ .file = world_file(&world) };
		models[i].id = cop_id(models[i].file);
		models[i].bytes = calloc(1, MODEL_BYTES);
		assert_non_null(models[i].bytes);
	}
	for (int i = 0; i < MODEL_OPS; i++) {
		struct loaded loaded;
		struct trims trims;

		model_change(models, &rng);
		must(record_load(models[i % MODELS].file, &loaded));
		record_trims(&loaded.record, &trims);
		most = max_u64(most, trims.count);
		if (rng_below(&rng, 10) == 0)
			must(cop_poll(world.volume, &pending));
		if (rng_below(&rng, 16) == 0)
			models_expect(models);
		if (rng_below(&rng, 40) == 0)
			models_crash(&world, models, rng_below(&rng, 3) > 0);
		if (rng_below(&rng, 100) == 0)
			must(cop_settle(world.volume));
	}
	assert_true(most > 2);
	models_expect(models);
	must(cop_sync(world.volume));
	world_check(&world);
	must(cop_settle(world.volume));
	models_expect(models);
	for (int i = 0; i < MODELS; i++) {
		cop_release(models[i].file);
		free(models[i].bytes);
	}
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shows_a_hole_before_it_is_freed),
		cmocka_unit_test(finishes_a_trim_that_a_crash_left),
		cmocka_unit_test(frees_what_it_writes_over),
		cmocka_unit_test(joins_cuts_that_touch),
		cmocka_unit_test(lists_cuts_that_do_not_touch),
		cmocka_unit_test(frees_the_shortest_of_too_many),
		cmocka_unit_test(clones_what_is_being_trimmed),
		cmocka_unit_test(buries_what_is_being_trimmed),
		cmocka_unit_test(frees_an_object_whose_trim_is_unfinished),
		cmocka_unit_test(keeps_the_bytes_whatever_is_cut_beside),
	};

	world_writes_through = true;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
