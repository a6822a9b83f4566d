#include "device/sim_store.h"

#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
put(struct sim_store *store, uint64_t addr, int byte)
{
	uint8_t block[BLOCK_BYTES];

	memset(block, byte, sizeof block);
	assert_int_equal(sim_store__write(store, addr, block, SIM_CACHED), 0);
}

static int
get(struct sim_store *store, uint64_t addr)
{
	uint8_t block[BLOCK_BYTES];

	assert_int_equal(sim_store__read(store, addr, block), 0);
	return block[0];
}

static void
spans_a_medium_of_any_size(void **state)
{
	static const uint64_t sizes[] = { 1, 64, 65, 4096, 4097, UINT64_C(1) << 34,
		UINT64_C(1) << 46 };

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct sim_store store;

		sim_store__init(&store, sizes[i]);
		put(&store, sizes[i] - 1, 5);
		assert_int_equal(get(&store, sizes[i] - 1), 5);
		assert_int_equal(get(&store, 0), sizes[i] == 1 ? 5 : 0);
		sim_store__fini(&store);
	}
}

static void
flushes_up_to_a_stamp(void **state)
{
	struct sim_store store;
	uint64_t stamp;

	(void)state;
	sim_store__init(&store, 8);
	put(&store, 1, 1);
	stamp = store.stamp;
	put(&store, 1, 2);
	put(&store, 2, 2);
	assert_int_equal(sim_store__flush(&store, stamp), 0);
	assert_int_equal(store.dirty_count, 2);
	store.choose = sim_choose_oldest;
	sim_store__end_period(&store);
	assert_int_equal(get(&store, 1), 1);
	assert_int_equal(get(&store, 2), 0);
	sim_store__fini(&store);
}

/*
 * Many clones of clones, each compared with an array: sharing must never show.
 */
static void
clones_agree_with_plain_arrays(void **state)
{
	enum { STORES = 12, BLOCKS = 200, STEPS = 3000 };
	static uint8_t model[STORES][BLOCKS];
	struct sim_store stores[STORES];
	struct rng rng;

	(void)state;
	rng_seed(&rng, 11);
	for (int i = 0; i < STORES; i++)
		sim_store__init(&stores[i], BLOCKS);
	for (int step = 0; step < STEPS; step++) {
		uint64_t a = rng_below(&rng, STORES);
		uint64_t b = rng_below(&rng, STORES);
		uint64_t addr = rng_below(&rng, BLOCKS);

		if (rng_below(&rng, 20) == 0 && a != b) {
			sim_store__fini(&stores[b]);
			assert_int_equal(sim_store__clone(&stores[a], &stores[b]), 0);
			memcpy(model[b], model[a], BLOCKS);
		} else if (rng_below(&rng, 10) == 0) {
			assert_int_equal(sim_store__flush(&stores[a], stores[a].stamp), 0);
			assert_int_equal(stores[a].dirty_count, 0);
		} else if (rng_below(&rng, 10) == 0) {
			stores[a].choose = sim_choose_newest;
			sim_store__end_period(&stores[a]);
		} else {
			model[a][addr] = (uint8_t)(1 + rng_below(&rng, 255));
			put(&stores[a], addr, model[a][addr]);
		}
		assert_int_equal(get(&stores[b], addr), model[b][addr]);
	}
	for (int i = 0; i < STORES; i++) {
		for (uint64_t addr = 0; addr < BLOCKS; addr++)
			assert_int_equal(get(&stores[i], addr), model[i][addr]);
		sim_store__fini(&stores[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spans_a_medium_of_any_size),
		cmocka_unit_test(flushes_up_to_a_stamp),
		cmocka_unit_test(clones_agree_with_plain_arrays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
