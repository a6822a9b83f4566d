#include "world.h"

#include "base/random.h"
#include "object/pages_internal.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

static void
takes_nothing_from_the_device(void **state)
{
	struct world world;
	struct cop_object *file;
	struct cop_attr attr = COP_INIT(attr);
	struct cop_stats before;
	struct cop_stats after;
	uint8_t *bytes = malloc(MIB / 2);
	uint8_t *found = malloc(MIB / 2);
	size_t got;

	(void)state;
	assert_non_null(bytes);
	assert_non_null(found);
	world_init(&world, 64 * MIB, 0, 1);
	world_bytes(1, bytes, MIB / 2);
	file = world_file(&world);
	must(cop_sync(world.volume));
	before = world_stats(&world);
	must(cop_write(file, 777, bytes, MIB / 2 - 777, NULL));
	after = world_stats(&world);
	assert_int_equal(after.device_writes, before.device_writes);
	assert_int_equal(after.device_flushes, before.device_flushes);
	assert_int_equal(after.transactions, before.transactions);

	must(cop_stat(file, &attr));
	assert_int_equal(attr.length, MIB / 2);
	assert_true(attr.allocated_bytes >= MIB / 2);
	must(cop_read(file, 0, found, MIB, &got));
	assert_int_equal(got, MIB / 2);
	for (size_t i = 0; i < 777; i++)
		assert_int_equal(found[i], 0);
	assert_memory_equal(found + 777, bytes, got - 777);
	assert_int_equal(world_stats(&world).device_reads, before.device_reads);
	cop_release(file);
	world_fini(&world);
	free(bytes);
	free(found);
}

/* The bytes at the edges come from wherever they are: record, blocks, a page, a hole. */
static void
fills_the_edges(void **state)
{
	struct world world;
	struct cop_object *file;
	uint8_t model[40000] = { 0 };
	uint8_t found[sizeof model];
	size_t got;

	(void)state;
	world_init(&world, 64 * MIB, 0, 2);
	file = world_file(&world);
	world_bytes(1, model, 100);
	must(cop_write(file, 0, model, 100, NULL));
	must(cop_sync(world.volume));
	world_bytes(2, model + 50, 10000); /* over inline bytes */
	must(cop_write(file, 50, model + 50, 10000, NULL));
	must(cop_sync(world.volume));
	world_bytes(3, model + 5000, 1000); /* inside a block */
	must(cop_write(file, 5000, model + 5000, 1000, NULL));
	world_bytes(4, model + 5500, 1000); /* on a page */
	must(cop_write(file, 5500, model + 5500, 1000, NULL));
	world_bytes(5, model + 39000, 1000); /* after a hole */
	must(cop_write(file, 39000, model + 39000, 1000, NULL));
	for (int i = 0; i < 2; i++) {
		must(cop_read(file, 0, found, sizeof found, &got));
		assert_int_equal(got, sizeof found);
		assert_memory_equal(found, model, sizeof model);
		must(cop_settle(world.volume));
	}
	cop_release(file);
	world_fini(&world);
}

/* Memory: dirty pages stay within their part, whatever is written. */
static void
stays_within_its_memory(void **state)
{
	struct world world;
	struct cop_object *files[4];
	uint8_t *bytes = malloc(MIB);
	uint64_t most = 0;

	(void)state;
	assert_non_null(bytes);
	memset(bytes, 7, MIB);
	world_init(&world, 64 * MIB, 0, 3);
	for (size_t i = 0; i < ARRAY_COUNT(files); i++)
		files[i] = world_file(&world);
	for (uint64_t at = 0; at < 6 * MIB; at += 100000) {
		for (size_t i = 0; i < ARRAY_COUNT(files); i++)
			must(cop_write(files[i], at, bytes, 100000, NULL));
		most = max_u64(most, world.volume->dirty_pages);
	}
	assert_true(most <= pages_max(world.volume) + 26);
	assert_true(most * BLOCK_BYTES <= COP_CACHE_BYTES_MIN / 4);
	assert_true(world_stats(&world).cache_bytes_max <= COP_CACHE_BYTES_MIN);
	for (size_t i = 0; i < ARRAY_COUNT(files); i++)
		cop_release(files[i]);
	world_fini(&world);
	free(bytes);
}

enum { BLOCKS = 40, ROUNDS = 300 };

struct beside {
	struct cop_object *file;
	_Atomic bool is_over;
};

/* Each block always holds one byte value only, and the length never goes back. */
static void *
read_beside(void *context)
{
	struct beside *beside = context;
	uint8_t *found = malloc(BLOCKS * BLOCK_BYTES);
	size_t before = 0;

	assert(found);
	while (!atomic_load(&beside->is_over)) {
		size_t got;

		must(cop_read(beside->file, 0, found, (size_t)BLOCKS * BLOCK_BYTES, &got));
		assert(got >= before);
		assert(got % BLOCK_BYTES == 0);
		before = got;
		for (size_t i = 0; i < got; i += BLOCK_BYTES) {
			assert(found[i] != 0);
			assert(memcmp(found + i, found + i + 1, BLOCK_BYTES - 1) == 0);
		}
	}
	free(found);
	return NULL;
}

static void
shows_whole_blocks_to_readers_beside(void **state)
{
	struct beside beside = { 0 };
	struct world world;
	pthread_t readers[2];
	uint8_t block[BLOCK_BYTES];
	struct rng rng;
	uint64_t end = 0;

	(void)state;
	rng_seed(&rng, 4);
	world_init(&world, 64 * MIB, 0, 4);
	beside.file = world_file(&world);
	for (size_t i = 0; i < ARRAY_COUNT(readers); i++)
		assert_int_equal(pthread_create(&readers[i], NULL, read_beside, &beside), 0);
	for (int i = 1; i <= ROUNDS; i++) {
		uint64_t at = rng_below(&rng, min_u64(end + 1, BLOCKS));

		memset(block, 1 + i % 255, sizeof block);
		must(cop_write(beside.file, at * BLOCK_BYTES, block, sizeof block, NULL));
		end = max_u64(end, at + 1);
		if (i % 37 == 0)
			must(cop_sync_object(beside.file));
		if (i % 91 == 0)
			must(cop_settle(world.volume));
	}
	atomic_store(&beside.is_over, true);
	for (size_t i = 0; i < ARRAY_COUNT(readers); i++)
		assert_int_equal(pthread_join(readers[i], NULL), 0);
	cop_release(beside.file);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_nothing_from_the_device),
		cmocka_unit_test(fills_the_edges),
		cmocka_unit_test(stays_within_its_memory),
		cmocka_unit_test(shows_whole_blocks_to_readers_beside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
