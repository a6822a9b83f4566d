#include "device/sim_store.h"

#include "base/random.h"

#include <assert.h>
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

/* The first half of the sectors is old. */
static uint32_t
choose_half(void *context, uint32_t alternatives, uint64_t sector)
{
	(void)context;
	(void)alternatives;
	return sector % SIM_BLOCK_SECTORS >= SIM_BLOCK_SECTORS / 2;
}

/* Torn are bytes that nobody wrote: where the halves are the same, the whole is. */
static void
tells_torn_blocks_and_hashes_contents(void **state)
{
	struct sim_store store;
	struct sim_look look;
	struct sim_look other;
	uint8_t block[BLOCK_BYTES];

	(void)state;
	sim_store__init(&store, 8);
	put(&store, 1, 1);
	memset(block, 2, sizeof block);
	memset(block, 0, sizeof block / 2);
	assert_int_equal(sim_store__write(&store, 2, block, SIM_CACHED), 0);
	memset(block, 0, sizeof block);
	assert_int_equal(sim_store__write(&store, 3, block, SIM_CACHED), 0);
	sim_store__end_period(&store);
	store.choose = choose_half;
	assert_int_equal(sim_store__look(&store, 1, &look), 0);
	assert_true(look.is_torn);
	assert_int_equal(look.bytes[BLOCK_BYTES / 2 - 1], 0);
	assert_int_equal(look.bytes[BLOCK_BYTES / 2], 1);
	assert_int_equal(sim_store__look(&store, 2, &look), 0);
	assert_false(look.is_torn);
	assert_int_equal(sim_store__look(&store, 3, &other), 0);
	assert_int_not_equal(look.hash, other.hash);
	assert_int_equal(sim_store__look(&store, 4, &look), 0);
	assert_int_equal(look.hash, other.hash); /* never written: zeros as well */
	assert_int_equal(sim_store__written(&store, 4), 0);
	assert_int_equal(sim_store__written(&store, 3), 3);
	sim_store__fini(&store);
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

/*
 * Barriers, compared with brute force: short random histories on three blocks; every outcome that
 * some sequence of choices gives, against every outcome that some set of surviving writes gives.
 */
enum { HISTORY_BLOCKS = 3, HISTORY_STEPS = 9, HISTORY_VALUES = 4, OUTCOMES = 64 };
static_assert(HISTORY_VALUES * HISTORY_VALUES * HISTORY_VALUES == OUTCOMES, "a bit for each");

struct history {
	uint32_t count; /* writes that are not durable */
	uint64_t addr[HISTORY_STEPS];
	uint64_t epoch[HISTORY_STEPS];
	uint8_t value[HISTORY_STEPS];
	uint8_t durable[HISTORY_BLOCKS];
};

/* Only the first sector says anything, so that only one is asked for. */
static void
put_value(struct sim_store *store, uint64_t addr, uint8_t value)
{
	uint8_t block[BLOCK_BYTES] = { value };

	assert_int_equal(sim_store__write(store, addr, block, SIM_CACHED), 0);
}

static uint64_t
outcome_of(const uint8_t values[HISTORY_BLOCKS])
{
	uint64_t number = 0;

	for (int i = 0; i < HISTORY_BLOCKS; i++)
		number = number * HISTORY_VALUES + values[i];
	return UINT64_C(1) << number;
}

/* Writes, barriers and flushes at random; at the end the power is gone. */
static struct history
make_history(struct sim_store *store, struct rng *rng)
{
	struct history history = { .count = 0 };

	for (int step = 0; step < HISTORY_STEPS; step++) {
		uint64_t what = rng_below(rng, 10);

		if (what < 2) {
			sim_store__barrier(store);
		} else if (what < 3) {
			assert_int_equal(sim_store__flush(store, store->stamp), 0);
			for (uint32_t i = 0; i < history.count; i++)
				history.durable[history.addr[i]] = history.value[i];
			history.count = 0;
		} else {
			uint32_t i = history.count++;

			history.addr[i] = rng_below(rng, HISTORY_BLOCKS);
			history.epoch[i] = store->epoch;
			history.value[i] = (uint8_t)rng_below(rng, HISTORY_VALUES);
			put_value(store, history.addr[i], history.value[i]);
		}
	}
	sim_store__end_period(store);
	return history;
}

static bool
set_keeps_the_order(const struct history *history, uint32_t survivors)
{
	for (uint32_t late = 0; late < history->count; late++) {
		for (uint32_t early = 0; early < late; early++) {
			if (history->epoch[early] < history->epoch[late] && survivors >> late & 1 &&
				!(survivors >> early & 1))
				return false;
		}
	}
	return true;
}

static uint64_t
outcomes_by_brute_force(const struct history *history)
{
	uint64_t outcomes = 0;

	for (uint32_t survivors = 0; survivors >> history->count == 0; survivors++) {
		uint8_t values[HISTORY_BLOCKS];

		if (!set_keeps_the_order(history, survivors))
			continue;
		memcpy(values, history->durable, sizeof values);
		for (uint32_t i = 0; i < history->count; i++) {
			if (survivors >> i & 1)
				values[history->addr[i]] = history->value[i];
		}
		outcomes |= outcome_of(values);
	}
	return outcomes;
}

struct script {
	uint32_t picks[HISTORY_BLOCKS];
	uint32_t alternatives[HISTORY_BLOCKS];
	uint32_t asked;
};

static uint32_t
choose_by_script(void *context, uint32_t alternatives, uint64_t sector)
{
	struct script *script = context;

	(void)sector;
	assert_true(script->asked < HISTORY_BLOCKS);
	assert_true(alternatives >= 2);
	script->alternatives[script->asked] = alternatives;
	return script->picks[script->asked++];
}

static uint64_t
outcomes_by_choice(const struct sim_store *store)
{
	struct script script = { .asked = 0 };
	uint64_t outcomes = 0;

	for (;;) {
		struct sim_store clone;
		uint8_t values[HISTORY_BLOCKS];
		uint32_t last;

		assert_int_equal(sim_store__clone(store, &clone), 0);
		clone.choose = choose_by_script;
		clone.choose_context = &script;
		script.asked = 0;
		for (uint64_t i = 0; i < HISTORY_BLOCKS; i++)
			values[i] = (uint8_t)get(&clone, i);
		outcomes |= outcome_of(values);
		sim_store__fini(&clone);

		last = script.asked;
		while (last > 0 && script.picks[last - 1] + 1 == script.alternatives[last - 1])
			script.picks[--last] = 0;
		if (last == 0)
			return outcomes;
		script.picks[last - 1]++;
	}
}

static void
keeps_the_order_of_barriers_and_no_other(void **state)
{
	struct rng rng;

	(void)state;
	rng_seed(&rng, 5);
	for (int round = 0; round < 2000; round++) {
		struct sim_store store;
		struct history history;

		sim_store__init(&store, HISTORY_BLOCKS);
		history = make_history(&store, &rng);
		assert_int_equal(outcomes_by_choice(&store), outcomes_by_brute_force(&history));
		sim_store__fini(&store);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spans_a_medium_of_any_size),
		cmocka_unit_test(flushes_up_to_a_stamp),
		cmocka_unit_test(tells_torn_blocks_and_hashes_contents),
		cmocka_unit_test(clones_agree_with_plain_arrays),
		cmocka_unit_test(keeps_the_order_of_barriers_and_no_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
