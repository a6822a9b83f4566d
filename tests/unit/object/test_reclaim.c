#include "world.h"

#include "base/num.h"
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

enum { FILES_MAX = 4096 };

/* Writes files of about `bytes` until there is no room; their numbers. */
static size_t
fill(struct world *world, struct rng *rng, size_t bytes, uint64_t ids[static FILES_MAX])
{
	struct cop_new new = COP_INIT(new);
	uint8_t *buffer = malloc(bytes);
	size_t count = 0;
	int err = 0;

	assert_non_null(buffer);
	new.kind = COP_FILE;
	while (count < FILES_MAX && err == 0) {
		struct cop_object *file;

		err = cop_allocate(world->root, &new, &file);
		if (err)
			break;
		err = cop_ref(file);
		if (err == 0) {
			size_t done = 0;

			ids[count++] = cop_id(file);
			world_bytes(rng_next(rng), buffer, bytes);
			err = cop_write(file, rng_below(rng, 3) * 1000, buffer, bytes, &done);
		}
		cop_release(file);
	}
	assert_int_equal(err, COP_ENOSPC);
	free(buffer);
	return count;
}

static void
empty(struct world *world, struct rng *rng, uint64_t *ids, size_t count)
{
	while (count > 0) {
		size_t at = rng_below(rng, count);
		struct cop_object *file;

		must(cop_get(world->root, ids[at], &file));
		switch (rng_below(rng, 4)) {
		case 0:
			must(cop_set_length(file, 5000));
			break;
		case 1:
			must(cop_punch(file, 3000, 100 * MIB));
			break;
		default:
			break;
		}
		must(cop_unref(file));
		cop_release(file);
		ids[at] = ids[--count];
	}
}

static void
fill_and_empty(uint64_t volume_bytes, uint32_t node_bytes, size_t file_bytes, uint64_t seed)
{
	static uint64_t ids[FILES_MAX];
	struct world world;
	struct rng rng;
	uint64_t before;

	rng_seed(&rng, seed);
	world_init(&world, volume_bytes, node_bytes, seed);
	before = world_free_bytes(&world);
	for (int round = 0; round < 3; round++) {
		size_t count = fill(&world, &rng, file_bytes, ids);

		if (round == 1)
			world_reopen(&world, false);
		empty(&world, &rng, ids, count);
		assert_int_equal(world_free_bytes(&world), before);
	}
	world_fini(&world);
}

static void
empties_a_full_volume_of_small_files(void **state)
{
	(void)state;
	fill_and_empty(8 * MIB, 0, 300, 1);
	fill_and_empty(8 * MIB, 0, 5000, 2);
}

static void
empties_a_full_volume_of_large_files(void **state)
{
	(void)state;
	fill_and_empty(8 * MIB, 0, 700000, 3);
	fill_and_empty(64 * MIB, 0, 10000000, 4);
	fill_and_empty(64 * MIB, 8192, 3000000, 6);
	fill_and_empty(64 * MIB, 16384, 3000000, 5);
}

static uint64_t
pending_jobs(struct world *world)
{
	uint64_t pending;

	must(cop_poll(world->volume, &pending));
	return pending;
}

static void
cuts_many_extents_in_steps(void **state)
{
	struct world world;
	struct cop_object *file;
	uint8_t block[4096];
	uint8_t want[4096];
	size_t got;

	(void)state;
	world_init(&world, 64 * MIB, 0, 11);
	file = world_comb(&world, 1000);
	assert_int_equal(world_attr(file).form, COP_FORM_TREE);
	assert_int_equal(world_attr(file).allocated_bytes, 1000 * 4096);

	must(cop_punch(file, 100 * 8192 + 1000, 800 * 8192));
	must(cop_settle(world.volume));
	assert_int_equal(world_attr(file).allocated_bytes, 201 * 4096);
	assert_int_equal(world_attr(file).length, 999 * 8192 + 4096);
	must(cop_read(file, 100 * 8192, block, sizeof block, &got));
	world_bytes(100, want, sizeof want);
	memset(want + 1000, 0, sizeof want - 1000);
	assert_memory_equal(block, want, sizeof block);
	must(cop_read(file, 900 * 8192, block, sizeof block, &got));
	world_bytes(900, want, sizeof want);
	memset(want, 0, 1000);
	assert_memory_equal(block, want, sizeof block);
	must(cop_read(file, 500 * 8192, block, sizeof block, &got));
	memset(want, 0, sizeof want);
	assert_memory_equal(block, want, sizeof block);

	must(cop_set_length(file, 50 * 8192 + 10));
	must(cop_settle(world.volume));
	assert_int_equal(world_attr(file).allocated_bytes, 51 * 4096);
	assert_int_equal(pending_jobs(&world), 0);
	cop_release(file);
	world_fini(&world);
}

/* ---- Large things at once -------------------------------------------------------------------- */

struct spent {
	uint64_t transactions;
	uint64_t written_bytes;
	uint64_t node_reads;
};

static struct spent
spent(struct world *world)
{
	struct cop_stats stats = COP_INIT(stats);

	must(cop_stats(world->volume, &stats));
	return (struct spent){ stats.transactions, stats.device_written_bytes, stats.node_reads };
}

/* Whatever hangs on a call, it is one small transaction, or two. */
static void
expect_little(struct world *world, struct spent before, const char *what)
{
	struct spent now = spent(world);

	if (now.transactions - before.transactions > 2 ||
		now.written_bytes - before.written_bytes > 8192 ||
		now.node_reads - before.node_reads > 20)
		fail_msg("%s: %llu transactions, %llu bytes written, %llu nodes read", what,
			(unsigned long long)(now.transactions - before.transactions),
			(unsigned long long)(now.written_bytes - before.written_bytes),
			(unsigned long long)(now.node_reads - before.node_reads));
}

static void
returns_at_once_however_large_it_is(void **state)
{
	static const uint64_t lengths[] = { 0, 100, 5000, 1000000 };
	struct world world;
	uint64_t before;
	uint64_t pending;

	(void)state;
	world_init(&world, 64 * MIB, 4096, 21);
	before = world_free_bytes(&world);
	for (size_t i = 0; i <= ARRAY_COUNT(lengths); i++) {
		struct cop_object *file = world_comb(&world, 2000);
		struct spent from;
		int polls = 0;

		must(cop_set_length(file, UINT64_C(64) << 30));
		must(cop_sync(world.volume));
		from = spent(&world);
		if (i < ARRAY_COUNT(lengths)) {
			must(cop_set_length(file, lengths[i]));
			expect_little(&world, from, "truncate");
			assert_int_equal(world_attr(file).length, lengths[i]);
		}
		from = spent(&world);
		must(cop_unref(file));
		cop_release(file);
		expect_little(&world, from, "remove");
		for (pending = 1; pending > 0; polls++) {
			from = spent(&world);
			must(cop_poll(world.volume, &pending));
			expect_little(&world, from, "step");
		}
		assert_true(polls > 10);
		assert_int_equal(world_free_bytes(&world), before);
	}
	world_fini(&world);
}

/* What jobs are still to free counts for whoever needs it. */
static void
finds_the_space_of_pending_jobs(void **state)
{
	static uint8_t buffer[MIB];
	struct world world;
	struct cop_space space = COP_INIT(space);
	struct cop_object *file;
	struct cop_object *other;

	(void)state;
	world_init(&world, 64 * MIB, 0, 22);
	file = world_file(&world);
	world_bytes(1, buffer, sizeof buffer);
	for (uint64_t i = 0; i < 40; i++)
		must(cop_write(file, i * MIB, buffer, sizeof buffer, NULL));
	other = world_file(&world);
	must(cop_set_length(file, 0));
	must(cop_space(world.volume, &space));
	assert_true(space.available_bytes < 30 * MIB);
	assert_true(space.available_bytes > MIB);
	for (uint64_t i = 0; i < 40; i++)
		must(cop_write(other, i * MIB, buffer, sizeof buffer, NULL));
	cop_release(file);
	cop_release(other);
	world_fini(&world);
}

/* On its reserve a volume frees at once, so that jobs do not pile up. */
static void
frees_at_once_on_a_full_volume(void **state)
{
	static uint64_t ids[FILES_MAX];
	struct world world;
	struct cop_space space = COP_INIT(space);
	struct rng rng;
	uint64_t pending;
	size_t count;

	(void)state;
	rng_seed(&rng, 23);
	world_init(&world, 64 * MIB, 4096, 23);
	count = fill(&world, &rng, 5000000, ids);
	while (count > 0) {
		struct cop_object *file;

		must(cop_space(world.volume, &space));
		must(cop_get(world.root, ids[--count], &file));
		must(cop_unref(file));
		cop_release(file);
		if (space.available_bytes == 0)
			assert_int_equal(pending_jobs(&world), 0);
		else
			break;
	}
	for (pending = 1; pending > 0;)
		pending = pending_jobs(&world);
	empty(&world, &rng, ids, count);
	world_fini(&world);
}

static void
frees_an_orphan_with_its_last_handle(void **state)
{
	struct world world;
	struct cop_object *file;
	uint64_t before;
	uint8_t block[4096];
	uint8_t want[4096];
	size_t got;

	(void)state;
	world_init(&world, 64 * MIB, 0, 12);
	before = world_free_bytes(&world);
	file = world_comb(&world, 300);
	must(cop_unref(file));
	assert_int_equal(world_attr(file).links, 0);
	assert_int_equal(cop_unref(file), COP_EINVAL);
	must(cop_read(file, 299 * 8192, block, sizeof block, &got));
	world_bytes(299, want, sizeof want);
	assert_memory_equal(block, want, sizeof want);
	cop_release(file);
	assert_int_equal(world_free_bytes(&world), before);
	world_fini(&world);
}

static void
frees_orphans_that_a_crash_left(void **state)
{
	struct world world;
	struct cop_object *file;
	struct cop_object *other;
	uint64_t before;
	uint64_t id;

	(void)state;
	world_init(&world, 64 * MIB, 0, 13);
	before = world_free_bytes(&world);
	file = world_comb(&world, 300);
	id = cop_id(file);
	must(cop_unref(file));
	must(cop_sync(world.volume));

	/* The process ends here, with the handle open: nobody releases. */
	world_reopen(&world, true);
	assert_int_equal(cop_get(world.root, id, &other), COP_ENOENT);
	assert_int_equal(world_free_bytes(&world), before);
	world_fini(&world);
}

static void
keeps_an_orphan_that_gets_a_reference(void **state)
{
	struct world world;
	struct cop_object *file;
	uint64_t id;

	(void)state;
	world_init(&world, 8 * MIB, 0, 14);
	file = world_file(&world);
	id = cop_id(file);
	must(cop_unref(file));
	must(cop_ref(file));
	cop_release(file);
	world_reopen(&world, false);
	must(cop_get(world.root, id, &file));
	assert_int_equal(world_attr(file).links, 1);
	cop_release(file);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empties_a_full_volume_of_small_files),
		cmocka_unit_test(empties_a_full_volume_of_large_files),
		cmocka_unit_test(cuts_many_extents_in_steps),
		cmocka_unit_test(returns_at_once_however_large_it_is),
		cmocka_unit_test(finds_the_space_of_pending_jobs),
		cmocka_unit_test(frees_at_once_on_a_full_volume),
		cmocka_unit_test(frees_an_orphan_with_its_last_handle),
		cmocka_unit_test(frees_orphans_that_a_crash_left),
		cmocka_unit_test(keeps_an_orphan_that_gets_a_reference),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
