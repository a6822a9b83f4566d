/* Changes of content when something fails: the error comes back, and nothing has changed. */

#include "world.h"

#include "base/checksum.h"
#include "support/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

enum { CONTENT_MAX = 2 << 20, TEETH = 120 };

/* What a reader sees of a file. */
struct seen {
	uint64_t length;
	uint64_t hash;
	uint32_t links;
	uint32_t mode;
};

static uint8_t *scratch;

static struct seen
look(struct cop_object *file)
{
	struct cop_attr attr = COP_INIT(attr);
	struct seen seen;
	size_t got;

	must(cop_stat(file, &attr));
	must(cop_read(file, 0, scratch, CONTENT_MAX, &got));
	seen = (struct seen){
		.length = attr.length,
		.hash = checksum64(scratch, got),
		.links = attr.links,
		.mode = attr.mode,
	};
	return seen;
}

static void
expect_seen(const struct seen *a, const struct seen *b)
{
	assert_int_equal(a->length, b->length);
	assert_int_equal(a->hash, b->hash);
	assert_int_equal(a->links, b->links);
	assert_int_equal(a->mode, b->mode);
}

/* ---- Operations ------------------------------------------------------------------------------ */

static int
write_some(struct cop_object *file, uint64_t offset, size_t bytes)
{
	size_t written;

	memset(scratch, 0x5a, bytes);
	return cop_write(file, offset, scratch, bytes, &written);
}

static int
write_inline(struct world *world, struct cop_object *file)
{
	(void)world;
	return write_some(file, 10, 50);
}

static int
write_out_of_record(struct world *world, struct cop_object *file)
{
	(void)world;
	return write_some(file, 20, 5000);
}

static int
write_large(struct world *world, struct cop_object *file)
{
	(void)world;
	return write_some(file, 3, MIB - 3);
}

static int
write_unaligned(struct world *world, struct cop_object *file)
{
	(void)world;
	return write_some(file, 300001, 70000);
}

static int
grow(struct world *world, struct cop_object *file)
{
	(void)world;
	return cop_set_length(file, CONTENT_MAX);
}

static int
preallocate(struct world *world, struct cop_object *file)
{
	(void)world;
	return cop_preallocate(file, 100, CONTENT_MAX - 100, true);
}

static int
write_comb(struct world *world, struct cop_object *file)
{
	static int tooth;

	(void)world;
	while (tooth < TEETH) {
		int err = write_some(file, (uint64_t)tooth * 8192, 4096);

		if (err)
			return err;
		tooth++;
	}
	return 0;
}

static int
punch_small(struct world *world, struct cop_object *file)
{
	(void)world;
	return cop_punch(file, 1000, 10000);
}

static int
punch_large(struct world *world, struct cop_object *file)
{
	(void)world;
	return cop_punch(file, 50000, 500000);
}

static int
cut_tail(struct world *world, struct cop_object *file)
{
	(void)world;
	return cop_set_length(file, 40001);
}

static int
cut_to_little(struct world *world, struct cop_object *file)
{
	(void)world;
	return cop_set_length(file, 30);
}

static int
set_mode(struct world *world, struct cop_object *file)
{
	struct cop_attr attr = COP_INIT(attr);

	(void)world;
	attr.mode = 0600;
	return cop_set_attr(file, &attr, COP_SET_MODE);
}

static int
add_reference(struct world *world, struct cop_object *file)
{
	(void)world;
	return cop_ref(file);
}

static int
drop_reference(struct world *world, struct cop_object *file)
{
	(void)world;
	return cop_unref(file);
}

static int
sync_volume(struct world *world, struct cop_object *file)
{
	(void)file;
	return cop_sync(world->volume);
}

/* In this order: each finds what those before it have left. */
static const struct {
	const char *name;
	int (*run)(struct world *world, struct cop_object *file);
	bool goes_in_pieces; /* what is seen may change before an error */
} operations[] = {
	{ "write inline", write_inline, false },
	{ "write out of the record", write_out_of_record, false },
	{ "write large", write_large, false },
	{ "write unaligned", write_unaligned, false },
	{ "sync", sync_volume, false },
	{ "write unaligned again", write_unaligned, false },
	{ "grow", grow, false },
	{ "preallocate", preallocate, false },
	{ "write to the preallocated", write_large, false },
	{ "write comb", write_comb, true },
	{ "punch small", punch_small, false },
	{ "cut tail", cut_tail, false },
	{ "write large again", write_large, false },
	{ "punch large", punch_large, false },
	{ "set mode", set_mode, false },
	{ "reference", add_reference, false },
	{ "drop reference", drop_reference, false },
	{ "cut to little", cut_to_little, false },
	{ "sync at the end", sync_volume, false },
};

/* ---- Memory ---------------------------------------------------------------------------------- */

static void
changes_nothing_without_memory(void **state)
{
	struct world world;
	struct cop_object *file;

	(void)state;
	world_init(&world, 64 * MIB, 0, 51);
	file = world_file(&world);
	for (size_t i = 0; i < ARRAY_COUNT(operations); i++) {
		int err = COP_ENOMEM;

		/* A checkpoint that fails half-way ends writing; that is the volume's business. */
		if (operations[i].run == sync_volume) {
			must(cop_sync(world.volume));
			continue;
		}
		for (uint64_t nth = 1; err != 0; nth++) {
			struct seen before = look(file);
			struct seen after;

			alloc_fail_nth(nth);
			err = operations[i].run(&world, file);
			alloc_fail_nth(0);
			if (err == 0)
				break;
			if (err != COP_ENOMEM)
				fail_msg("%s, allocation %llu: %s", operations[i].name,
					(unsigned long long)nth, cop_error_text());
			after = look(file);
			if (!operations[i].goes_in_pieces)
				expect_seen(&before, &after);
		}
	}
	cop_release(file);
	world_fini(&world);
}

static void
reads_nothing_without_memory(void **state)
{
	struct world world;
	struct cop_object *file;
	uint64_t id;
	int err = COP_ENOMEM;

	(void)state;
	world_init(&world, 64 * MIB, 0, 52);
	file = world_file(&world);
	id = cop_id(file);
	must(write_some(file, 1, MIB));
	cop_release(file);
	file = NULL;
	for (uint64_t nth = 1; err != 0; nth++) {
		uint64_t offset;
		size_t got;

		alloc_fail_nth(nth);
		err = cop_get(world.root, id, &file);
		if (err == 0)
			err = cop_read(file, 1, scratch, 100, &got);
		if (err == 0)
			err = cop_read(file, 1, scratch, MIB, &got);
		if (err == 0)
			err = cop_seek_data(file, 1, &offset);
		alloc_fail_nth(0);
		assert_true(err == 0 || err == COP_ENOMEM);
		cop_release(file);
		file = NULL;
	}
	world_fini(&world);
}

/* ---- The device ------------------------------------------------------------------------------ */

static void
changes_nothing_when_data_cannot_be_written(void **state)
{
	struct world world;
	struct cop_object *file;

	(void)state;
	world_init_on_sim(&world, 64 * MIB, 53);
	file = world_file(&world);
	for (size_t i = 0; i < ARRAY_COUNT(operations); i++) {
		int err = COP_EIO;

		if (operations[i].run == sync_volume)
			continue;
		for (uint64_t call = 1; err != 0; call++) {
			struct sim_fault fault = { .kind = SIM_FAIL_WRITE, .call = call };
			struct seen before = look(file);
			struct seen after;

			must(sim_add_fault(world.medium, &fault));
			err = operations[i].run(&world, file);
			sim_clear_faults(world.medium);
			if (err == 0)
				break;
			assert_int_equal(err, COP_EIO);
			after = look(file);
			if (!operations[i].goes_in_pieces)
				expect_seen(&before, &after);
		}
	}
	cop_release(file);
	world_fini(&world);
}

static int
make_scratch(void **state)
{
	(void)state;
	scratch = malloc(CONTENT_MAX);
	return scratch ? 0 : -1;
}

static int
free_scratch(void **state)
{
	(void)state;
	free(scratch);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changes_nothing_without_memory),
		cmocka_unit_test(reads_nothing_without_memory),
		cmocka_unit_test(changes_nothing_when_data_cannot_be_written),
	};

	world_writes_through = true;
	return cmocka_run_group_tests(tests, make_scratch, free_scratch);
}
