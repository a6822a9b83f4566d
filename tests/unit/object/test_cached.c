/* Reads of content that is in memory: what they cost, and what they never show. */

#include "object/cached.h"

#include "base/random.h"
#include "cache/cache.h"
#include "support/alloc.h"
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

enum { BLOCK = 4096, PIECE = 12 * BLOCK, WARM = 64 };

/* ---- What a read costs ----------------------------------------------------------------------- */

/* What a cached read has nothing of. */
struct costs {
	uint64_t allocations;
	uint64_t locks;
	uint64_t device_reads;
	uint64_t device_syscalls;
};

static struct costs
costs_now(const struct world *world)
{
	struct device_stats stats = device_stats(world->dev);

	return (struct costs){
		.allocations = alloc_count(),
		.locks = lock_count(),
		.device_reads = stats.reads,
		.device_syscalls = stats.syscalls,
	};
}

static void
assert_costs_nothing(const struct world *world, const struct costs *before)
{
	struct costs now = costs_now(world);

	assert_int_equal(now.allocations, before->allocations);
	assert_int_equal(now.locks, before->locks);
	assert_int_equal(now.device_reads, before->device_reads);
	assert_int_equal(now.device_syscalls, before->device_syscalls);
}

static void
read_and_compare(struct cop_object *file, const uint8_t *want, uint64_t length, uint64_t offset,
	size_t bytes)
{
	static _Thread_local uint8_t got[1 << 16];
	size_t count = 0;
	size_t expected = offset >= length ? 0 : min_u64(bytes, length - offset);

	assert_true(bytes <= sizeof got);
	must(cop_read(file, offset, got, bytes, &count));
	assert_int_equal(count, expected);
	assert_memory_equal(got, want + offset, count);
}

/* Reads all of it until windows and blocks are there. */
static void
warm_up(struct cop_object *file, const uint8_t *want, uint64_t length)
{
	for (int i = 0; i < WARM; i++)
		read_and_compare(file, want, length, 0, BLOCK);
	for (int round = 0; round < 2; round++) {
		for (uint64_t at = 0; at < length; at += PIECE)
			read_and_compare(file, want, length, at, PIECE);
	}
}

/* Reads at random places of a file of `bytes`, warmed up, cost nothing. */
static void
cost_nothing(uint64_t bytes)
{
	struct world world;
	struct cop_object *file;
	struct costs before;
	struct rng rng;
	uint8_t *want = malloc(bytes);

	assert_non_null(want);
	world_bytes(bytes, want, bytes);
	world_init(&world, 64 * MIB, 0, 7);
	file = world_file(&world);
	must(cop_write(file, 0, want, bytes, NULL));
	warm_up(file, want, bytes);

	before = costs_now(&world);
#ifdef COP_CHECKED
	assert_true(before.locks > 0); /* they are counted */
#endif
	assert_true(before.allocations > 0);
	rng_seed(&rng, 3);
	for (int i = 0; i < 2000; i++) {
		uint64_t offset = rng_below(&rng, bytes);
		size_t part = 1 + rng_below(&rng, i % 2 == 0 ? BLOCK : 15 * BLOCK);

		read_and_compare(file, want, bytes, offset, part);
		if (i % 100 == 0) /* the pages of the test's own buffers are there by now */
			assert_costs_nothing(&world, &before);
	}
	assert_costs_nothing(&world, &before);
	cop_release(file);
	free(want);
	world_fini(&world);
}

static void
cost_nothing_in_a_tree_of_extents(void **state)
{
	(void)state;
	cost_nothing(4 * MIB + 1234);
}

static void
cost_nothing_in_a_few_extents(void **state)
{
	(void)state;
	cost_nothing(100000);
}

static void
cost_nothing_in_the_record(void **state)
{
	(void)state;
	cost_nothing(777);
}

/* A region in more pieces than a window has: the read goes on where the window ends. */
static void
finds_its_way_through_many_pieces(void **state)
{
	enum { BLOCKS = 700 };
	struct world world;
	struct cop_object *file;
	uint8_t *want = calloc(BLOCKS, BLOCK);

	(void)state;
	assert_non_null(want);
	world_init(&world, 64 * MIB, 0, 8);
	file = world_file(&world);
	must(cop_set_length(file, BLOCKS * BLOCK));
	for (uint64_t block = 0; block < BLOCKS; block += 2) {
		world_bytes(block, want + block * BLOCK, BLOCK);
		must(cop_write(file, block * BLOCK, want + block * BLOCK, BLOCK, NULL));
	}
	must(cop_preallocate(file, 3 * BLOCK, 5 * BLOCK, false));
	for (int round = 0; round < 3; round++) {
		for (uint64_t at = 0; at < BLOCKS * BLOCK; at += PIECE)
			read_and_compare(file, want, BLOCKS * BLOCK, at, PIECE);
	}
	cop_release(file);
	free(want);
	world_fini(&world);
}

static void
shows_every_change_at_once(void **state)
{
	struct world world;
	struct cop_object *file;
	struct rng rng;
	uint64_t length = 0;
	uint8_t *want = calloc(1, MIB);

	(void)state;
	assert_non_null(want);
	world_init(&world, 64 * MIB, 0, 9);
	file = world_file(&world);
	rng_seed(&rng, 9);
	for (int i = 0; i < 400; i++) {
		uint64_t offset = rng_below(&rng, MIB - PIECE);
		size_t bytes = 1 + rng_below(&rng, PIECE);

		switch (rng_below(&rng, 5)) {
		case 0:
			if (offset < length)
				memset(want + offset, 0, length - offset);
			length = offset;
			must(cop_set_length(file, length));
			break;
		case 1:
			memset(want + offset, 0, bytes);
			must(cop_punch(file, offset, bytes));
			break;
		default:
			world_bytes((uint64_t)i, want + offset, bytes);
			must(cop_write(file, offset, want + offset, bytes, NULL));
			length = max_u64(length, offset + bytes);
			break;
		}
		for (int j = 0; j < 4; j++)
			read_and_compare(file, want, length, offset, bytes);
		read_and_compare(file, want, length, length == 0 ? 0 : length - 1, BLOCK);
	}
	cop_release(file);
	free(want);
	world_fini(&world);
}

/* A window that is there, of a version that is no more. */
static void
uses_no_window_of_another_version(void **state)
{
	struct world world;
	struct cop_object *file;
	struct costs before;
	uint8_t want[2 * BLOCK];

	(void)state;
	world_bytes(1, want, sizeof want);
	world_init(&world, 64 * MIB, 0, 17);
	file = world_file(&world);
	must(cop_write(file, 0, want, sizeof want, NULL));
	warm_up(file, want, sizeof want);
	before = costs_now(&world);
	read_and_compare(file, want, sizeof want, 5, BLOCK);
	assert_costs_nothing(&world, &before);

	cached_change(&file->cached);
	assert_non_null(atomic_load(&file->cached.windows[0]));
	read_and_compare(file, want, sizeof want, 5, BLOCK);
#ifdef COP_CHECKED
	assert_true(lock_count() > before.locks);
#endif
	warm_up(file, want, sizeof want);
	before = costs_now(&world);
	read_and_compare(file, want, sizeof want, 5, BLOCK);
	assert_costs_nothing(&world, &before);
	cop_release(file);
	world_fini(&world);
}

static void
keeps_windows_within_their_share(void **state)
{
	enum { FILES = 120, BYTES = 400 * BLOCK };
	struct world world;
	struct cop_object *files[FILES];
	uint8_t *want = malloc(BYTES);
	uint64_t highest = 0;

	(void)state;
	assert_non_null(want);
	world_bytes(1, want, BYTES);
	world_init(&world, 512 * MIB, 0, 10);
	world.volume->cached.limit_bytes = 100000;
	for (size_t i = 0; i < FILES; i++) {
		files[i] = world_file(&world);
		must(cop_write(files[i], 0, want, BYTES, NULL));
		must(cop_sync(world.volume));
		for (int round = 0; round < 4; round++)
			read_and_compare(files[i], want, BYTES, (uint64_t)round * PIECE, BLOCK);
		highest = max_u64(highest, atomic_load(&world.volume->cached.bytes));
	}
	assert_true(highest > 50000);
	assert_true(highest <= 100000);
	for (size_t i = 0; i < FILES; i++)
		cop_release(files[i]);
	assert_int_equal(atomic_load(&world.volume->cached.bytes), 0);
	free(want);
	world_fini(&world);
}

/* ---- Beside changes -------------------------------------------------------------------------- */

/* For threads of their own, which cmocka's assertions cannot end. */
#define insist_equal(got, want) insist_equal_at((uint64_t)(got), (uint64_t)(want), __LINE__)

static void
insist_equal_at(uint64_t got, uint64_t want, int line)
{
	if (got == want)
		return;
	fprintf(stderr, "%s:%d: %" PRIu64 " is not %" PRIu64 "\n", __FILE__, line, got, want);
	abort();
}

enum { ROUNDS = 200, TREE_ROUNDS = 100, READERS = 2, EVERYWHERE_READS = 5000 };

struct stage {
	struct cop_object *file;
	atomic_bool is_over;
	_Atomic uint8_t written; /* all that is read from now on is at least as new */
	void (*check)(struct stage *stage, const uint8_t *bytes, size_t got);
	pthread_t readers[READERS];
};

static void
fill(struct cop_object *file, uint64_t offset, size_t bytes, uint8_t mark)
{
	uint8_t buffer[PIECE];

	assert_true(bytes <= sizeof buffer);
	memset(buffer, mark, bytes);
	must(cop_write(file, offset, buffer, bytes, NULL));
}

static void *
read_and_check(void *context)
{
	struct stage *stage = context;
	uint8_t bytes[PIECE];
	size_t got;

	while (!atomic_load(&stage->is_over)) {
		must(cop_read(stage->file, 0, bytes, sizeof bytes, &got));
		stage->check(stage, bytes, got);
	}
	return NULL;
}

static void
stage_begin(struct stage *stage, struct world *world)
{
	stage->file = world_file(world);
	atomic_store(&stage->is_over, false);
	atomic_store(&stage->written, 1);
	fill(stage->file, 0, PIECE, 1);
	for (size_t i = 0; i < READERS; i++)
		assert_int_equal(
			pthread_create(&stage->readers[i], NULL, read_and_check, stage), 0);
}

static void
stage_end(struct stage *stage)
{
	atomic_store(&stage->is_over, true);
	for (size_t i = 0; i < READERS; i++)
		pthread_join(stage->readers[i], NULL);
	cop_release(stage->file);
}

static void
check_one_mark(struct stage *stage, const uint8_t *bytes, size_t got)
{
	(void)stage;
	for (size_t i = 0; i < got; i++) {
		insist_equal(bytes[i] != 0, true);
		insist_equal(bytes[i], bytes[i - i % BLOCK]);
	}
}

/* Cut and written again, to a length that is never the same: nobody sees a zero, or two writes in
 * one block. */
static void
shows_no_zeros_that_never_were(void **state)
{
	struct world world;
	struct stage stage = { .check = check_one_mark };

	(void)state;
	world_init(&world, 64 * MIB, 0, 11);
	stage_begin(&stage, &world);
	for (int i = 0; i < ROUNDS; i++) {
		uint8_t mark = (uint8_t)(1 + i % 200);
		size_t bytes = (size_t)(1 + i % 12) * BLOCK - (size_t)(i % 3);
		size_t got;
		uint8_t first;

		must(cop_set_length(stage.file, i % 2 == 0 ? 0 : (uint64_t)(i % 5) * 1000));
		must(cop_set_length(stage.file, 0));
		fill(stage.file, 0, bytes, mark);
		/* Windows come while others read: give them the time. */
		for (int j = 0; j < 8; j++)
			must(cop_read(stage.file, 0, &first, 1, &got));
		assert_int_equal(first, mark);
	}
	stage_end(&stage);
	world_fini(&world);
}

/* Pieces far apart, so that the map is a tree of its own beside the record. */
static void
write_apart(struct cop_object *file)
{
	enum { APART = 24 };

	for (uint64_t i = 0; i < APART; i++)
		fill(file, (100 + 2 * i) * BLOCK, BLOCK, 1);
}

/* The length is in the record and the map in a tree: an old one and a new one make zeros. */
static void
shows_no_old_length_with_a_new_map(void **state)
{
	struct world world;
	struct stage stage = { .check = check_one_mark };

	(void)state;
	world_init(&world, 64 * MIB, 0, 16);
	stage_begin(&stage, &world);
	for (int i = 0; i < TREE_ROUNDS; i++) {
		uint8_t mark = (uint8_t)(1 + i % 200);
		struct loaded loaded;
		uint8_t first;
		size_t got;

		fill(stage.file, 0, PIECE, mark);
		write_apart(stage.file);
		must(cop_sync(world.volume));
		must(record_load(stage.file, &loaded));
		assert_int_equal(loaded.record.form, COP_FORM_TREE);
		fill(stage.file, 0, PIECE, (uint8_t)(mark + 1));
		must(cop_set_length(stage.file, 0));
		for (int j = 0; j < 40; j++) {
			must(cop_read(stage.file, 0, &first, 1, &got));
			assert_int_equal(got, 0);
		}
	}
	stage_end(&stage);
	world_fini(&world);
}

static uint8_t
newest(const struct stage *stage)
{
	return atomic_load(&stage->written);
}

static void *
read_what_is_new(void *context)
{
	struct stage *stage = context;
	uint8_t bytes[BLOCK];
	size_t got;

	while (!atomic_load(&stage->is_over)) {
		uint8_t least = newest(stage);

		must(cop_read(stage->file, 3 * BLOCK, bytes, sizeof bytes, &got));
		insist_equal(got, BLOCK);
		insist_equal(bytes[0] >= least, true);
		insist_equal(bytes[BLOCK - 1], bytes[0]);
	}
	return NULL;
}

/* What a write that has returned has written, everybody reads. */
static void
shows_nothing_older_than_a_finished_write(void **state)
{
	struct world world;
	struct stage stage = { .is_over = false };

	(void)state;
	world_init(&world, 64 * MIB, 0, 12);
	stage.file = world_file(&world);
	fill(stage.file, 0, PIECE, 1);
	atomic_store(&stage.written, 1);
	for (size_t i = 0; i < READERS; i++)
		assert_int_equal(
			pthread_create(&stage.readers[i], NULL, read_what_is_new, &stage), 0);
	for (int mark = 2; mark < 250; mark++) {
		uint8_t first;
		size_t got;

		fill(stage.file, 0, PIECE, (uint8_t)mark);
		if (mark % 4 == 0)
			must(cop_sync(world.volume));
		atomic_store(&stage.written, (uint8_t)mark);
		for (int j = 0; j < 8; j++)
			must(cop_read(stage.file, 3 * BLOCK, &first, 1, &got));
		assert_int_equal(first, mark);
	}
	stage_end(&stage);
	world_fini(&world);
}

/* Blocks 4 to 7 come and go; the others never do. */
static void
check_punched(struct stage *stage, const uint8_t *bytes, size_t got)
{
	(void)stage;
	insist_equal(got, PIECE);
	for (size_t i = 0; i < got; i++) {
		bool is_inside = i >= 4 * BLOCK && i < 8 * BLOCK;

		insist_equal(bytes[i], is_inside ? bytes[i - i % BLOCK] : 1);
	}
}

static void
shows_punched_blocks_whole_or_gone(void **state)
{
	struct world world;
	struct stage stage = { .check = check_punched };

	(void)state;
	world_init(&world, 64 * MIB, 0, 13);
	stage_begin(&stage, &world);
	for (int i = 0; i < ROUNDS; i++) {
		uint8_t first;
		size_t got;

		if (i % 2 == 0)
			must(cop_punch(stage.file, 4 * BLOCK, 4 * BLOCK));
		else
			fill(stage.file, 4 * BLOCK, 4 * BLOCK, 1);
		for (int j = 0; j < 8; j++)
			must(cop_read(stage.file, 5 * BLOCK, &first, 1, &got));
		assert_int_equal(first, i % 2);
	}
	stage_end(&stage);
	world_fini(&world);
}

/* As it grows, there is no byte without its mark. */
static void
check_grown(struct stage *stage, const uint8_t *bytes, size_t got)
{
	(void)stage;
	for (size_t i = 0; i < got; i++)
		insist_equal(bytes[i], 1 + i / 1000);
}

static void
shows_no_length_before_its_bytes(void **state)
{
	struct world world;
	struct stage stage = { .check = check_grown };

	(void)state;
	world_init(&world, 64 * MIB, 0, 14);
	for (int round = 0; round < 4; round++) {
		stage.file = world_file(&world);
		atomic_store(&stage.is_over, false);
		for (size_t i = 0; i < READERS; i++)
			assert_int_equal(
				pthread_create(&stage.readers[i], NULL, read_and_check, &stage), 0);
		for (uint64_t at = 0; at + 1000 <= PIECE; at += 1000) {
			uint8_t last;
			size_t got;

			fill(stage.file, at, 1000, (uint8_t)(1 + at / 1000));
			for (int j = 0; j < 3; j++)
				must(cop_read(stage.file, at + 999, &last, 1, &got));
			assert_int_equal(last, 1 + at / 1000);
			if (at % 3000 == 0)
				must(cop_sync(world.volume));
		}
		stage_end(&stage);
	}
	world_fini(&world);
}

static void *
read_the_end(void *context)
{
	struct stage *stage = context;
	uint8_t bytes[PIECE];
	size_t got;

	while (!atomic_load(&stage->is_over)) {
		must(cop_read(stage->file, 0, bytes, sizeof bytes, &got));
		insist_equal(got % BLOCK, 0);
		for (size_t i = 0; i < got; i += 512)
			insist_equal(bytes[i], 1 + i / BLOCK);
	}
	return NULL;
}

/* A file grows in pages, and they are written back: a page that has gone is in the map by then, but
 * not in a window of before. */
static void
shows_no_hole_where_a_page_was(void **state)
{
	struct world world;
	struct stage stage = { .is_over = false };

	(void)state;
	world_init(&world, 64 * MIB, 0, 18);
	for (int round = 0; round < ROUNDS * 2; round++) {
		stage.file = world_file(&world);
		atomic_store(&stage.is_over, false);
		for (size_t i = 0; i < READERS; i++)
			assert_int_equal(
				pthread_create(&stage.readers[i], NULL, read_the_end, &stage), 0);
		for (uint64_t block = 0; block < 12; block++) {
			uint8_t first;
			size_t got;

			fill(stage.file, block * BLOCK, BLOCK, (uint8_t)(1 + block));
			for (int j = 0; j < 4; j++) /* windows that end where the record does */
				must(cop_read(stage.file, 0, &first, 1, &got));
			must(cop_sync(world.volume));
		}
		stage_end(&stage);
	}
	world_fini(&world);
}

/* With a cache that is too small for what is read, buffers go while they are looked at. */
static void *
read_everywhere(void *context)
{
	struct stage *stage = context;
	uint8_t bytes[3 * BLOCK];
	struct rng rng;
	size_t got;

	rng_seed(&rng, 5);
	for (int read = 0; read < EVERYWHERE_READS; read++) {
		uint64_t block = rng_below(&rng, 4093);

		must(cop_read(stage->file, block * BLOCK, bytes, sizeof bytes, &got));
		insist_equal(got, sizeof bytes);
		for (size_t i = 0; i < 3; i++) {
			uint64_t number;

			memcpy(&number, bytes + i * BLOCK + 8, sizeof number);
			insist_equal(number, block + i);
		}
	}
	return NULL;
}

static void
reads_right_bytes_while_buffers_are_evicted(void **state)
{
	enum { BLOCKS = 4096 };
	struct world world;
	struct stage stage = { .is_over = false };
	uint8_t *bytes = calloc(BLOCKS, BLOCK);

	(void)state;
	assert_non_null(bytes);
	for (uint64_t i = 0; i < BLOCKS; i++)
		memcpy(bytes + i * BLOCK + 8, &i, sizeof i);
	world_init(&world, 128 * MIB, 0, 15);
	stage.file = world_file(&world);
	must(cop_write(stage.file, 0, bytes, BLOCKS * BLOCK, NULL));
	for (size_t i = 0; i < READERS; i++)
		assert_int_equal(
			pthread_create(&stage.readers[i], NULL, read_everywhere, &stage), 0);
	for (int i = 0; i < 300; i++)
		must(cop_write(stage.file, (uint64_t)(i % BLOCKS) * BLOCK,
			bytes + (size_t)(i % BLOCKS) * BLOCK, BLOCK, NULL));
	stage_end(&stage);
	assert_true(cache_stats(volume_cache(world.volume->volume)).evictions > 0);
	free(bytes);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cost_nothing_in_a_tree_of_extents),
		cmocka_unit_test(cost_nothing_in_a_few_extents),
		cmocka_unit_test(cost_nothing_in_the_record),
		cmocka_unit_test(finds_its_way_through_many_pieces),
		cmocka_unit_test(shows_every_change_at_once),
		cmocka_unit_test(uses_no_window_of_another_version),
		cmocka_unit_test(keeps_windows_within_their_share),
		cmocka_unit_test(shows_no_zeros_that_never_were),
		cmocka_unit_test(shows_no_old_length_with_a_new_map),
		cmocka_unit_test(shows_nothing_older_than_a_finished_write),
		cmocka_unit_test(shows_punched_blocks_whole_or_gone),
		cmocka_unit_test(shows_no_length_before_its_bytes),
		cmocka_unit_test(shows_no_hole_where_a_page_was),
		cmocka_unit_test(reads_right_bytes_while_buffers_are_evicted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
