#include "base/random.h"
#include "device/sim.h"
#include "volume/journal.h"

#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

enum {
	REGION_AT = 16,
	REGION_BLOCKS = 128,
	LARGE_REGION_BLOCKS = 2048,
	MEDIUM_BLOCKS = REGION_AT + LARGE_REGION_BLOCKS + 16,
	EPOCH = 77,
};

struct world {
	struct sim_medium *medium;
	struct device *dev;
	struct journal *journal;
	struct journal_region region;
	struct journal_place newest; /* tails, as superblocks would hold them */
	struct journal_place previous;
	uint64_t appended;
};

static void
counters(void *context, uint64_t *out_generation, uint64_t *out_next_object, uint64_t *out_next_job)
{
	(void)context;
	*out_generation = 3;
	*out_next_object = 40;
	*out_next_job = 50;
}

static void
world_begin_with(struct world *world, uint64_t region_blocks)
{
	struct journal_options options = { .epoch = EPOCH, .counters = counters };

	*world = (struct world){
		.region = { .addr = REGION_AT,
			.blocks = region_blocks,
			.owner.uuid = "a test's volume" },
		.newest = { .sequence = 1 },
	};
	assert_int_equal(sim_create(MEDIUM_BLOCKS * BLOCK_BYTES, 5, &world->medium), 0);
	assert_int_equal(sim_open(world->medium, 0, &world->dev), 0);
	options.dev = world->dev;
	options.region = world->region;
	options.end = world->newest;
	assert_int_equal(journal_create(&options, &world->journal), 0);
}

static void
world_begin(struct world *world)
{
	world_begin_with(world, REGION_BLOCKS);
}

static void
world_end(struct world *world)
{
	journal_free(world->journal);
	device_close(world->dev);
	sim_free(world->medium);
}

/* A transaction of one message with a value of so many bytes; false: there is no room. */
static bool
append(struct world *world, size_t value_bytes, bool names_data)
{
	uint8_t value[16384] = { 0 };
	uint64_t checksum = 9;
	struct journal_message message = {
		.op = MESSAGE_PUT,
		.name = { .branch = 1, .kind = TREE_OBJECTS },
		.key = view_of("key", 3),
		.value = view_of(value, value_bytes),
	};
	size_t bytes = TX_HEADER_BYTES + journal_message_bytes(&message) +
		       (names_data ? TX_RUN_BYTES + sizeof checksum : 0);
	struct journal_tx tx = {
		.bytes = (uint32_t)bytes, .messages = 1, .data = names_data ? 1 : 0
	};
	struct journal_entry *entry = malloc(sizeof *entry + bytes);
	struct writer w;

	assert_non_null(entry);
	put_le64(value, world->appended);
	*entry = (struct journal_entry){ .bytes = (uint32_t)bytes, .names_data = names_data };
	w = writer_over(entry->data, bytes);
	journal_encode_tx(&w, &tx);
	if (names_data)
		journal_encode_data(&w, 7, 1, &checksum);
	journal_encode_message(&w, &message);
	assert_false(w.bad);
	assert_int_equal(w.at, bytes);
	if (!journal_admit(world->journal, entry->bytes)) {
		free(entry);
		return false;
	}
	journal_append(world->journal, entry);
	world->appended++;
	return true;
}

/* What a checkpoint does to the journal. */
static void
checkpoint(struct world *world)
{
	struct journal_place place;

	journal_cut(world->journal);
	assert_int_equal(journal_write_cut(world->journal, &place), 0);
	assert_int_equal(journal_flush(world->journal), 0);
	journal_trim(world->journal);
	world->previous = world->newest;
	world->newest = place;
}

static struct journal_chain
scan(struct world *world)
{
	struct journal_chain chain;

	assert_int_equal(
		journal_scan(world->dev, &world->region, &world->newest, &world->previous, &chain),
		0);
	assert_false(chain.is_damaged);
	return chain;
}

/* Transactions of the batches from `first` on. */
static uint64_t
transactions_from(const struct journal_chain *chain, size_t first)
{
	uint64_t count = 0;

	for (size_t i = first; i < chain->count; i++)
		count += chain->batches[i].transactions;
	return count;
}

static void
a_sync_is_one_write_and_one_flush(void **state)
{
	struct world world;
	struct sim_stats before;
	struct sim_stats after;

	(void)state;
	world_begin(&world);
	assert_true(append(&world, 100, true));
	assert_true(append(&world, 100, true));
	assert_true(journal_is_dirty(world.journal));
	before = sim_stats(world.medium);
	assert_int_equal(journal_sync(world.journal), 0);
	after = sim_stats(world.medium);
	assert_int_equal(after.writes - before.writes, 1);
	assert_int_equal(after.flushes - before.flushes, 1);
	assert_false(journal_is_dirty(world.journal));

	/* Nothing new: nothing is done. */
	assert_int_equal(journal_sync(world.journal), 0);
	assert_int_equal(sim_stats(world.medium).calls, after.calls);
	world_end(&world);
}

static void
a_batch_without_data_is_durable_by_itself_when_all_before_it_is(void **state)
{
	struct world world;
	struct sim_stats before;

	(void)state;
	world_begin(&world);
	assert_true(append(&world, 100, false));
	before = sim_stats(world.medium);
	assert_int_equal(journal_sync(world.journal), 0);
	assert_int_equal(sim_stats(world.medium).writes - before.writes, 1);
	assert_int_equal(sim_stats(world.medium).flushes, before.flushes);
	assert_int_equal(sim_stats(world.medium).not_durable, 0);

	/* One that was written without a flush is in the way. */
	assert_true(append(&world, 100, false));
	journal_cut(world.journal);
	assert_int_equal(journal_write_cut(world.journal, &world.newest), 0);
	journal_trim(world.journal);
	assert_true(append(&world, 100, false));
	before = sim_stats(world.medium);
	assert_int_equal(journal_sync(world.journal), 0);
	assert_int_equal(sim_stats(world.medium).flushes - before.flushes, 1);
	assert_int_equal(sim_stats(world.medium).not_durable, 0);
	world_end(&world);
}

static void
what_is_synced_is_found_again(void **state)
{
	struct world world;
	struct journal_chain chain;
	struct rng rng;

	(void)state;
	world_begin(&world);
	rng_seed(&rng, 12);
	for (uint64_t i = 0; i < 200; i++) {
		uint64_t since = 0;

		for (uint64_t j = rng_below(&rng, 5); j > 0; j--)
			since +=
				append(&world, 8 + rng_below(&rng, 12000), rng_below(&rng, 2) == 0);
		assert_int_equal(journal_sync(world.journal), 0);
		if (journal_is_long(world.journal)) {
			checkpoint(&world);
			since = 0;
		}
		if (rng_below(&rng, 3) == 0)
			assert_int_equal(journal_mark(world.journal), 0);
		chain = scan(&world);
		assert_true(transactions_from(&chain, chain.newest) >= since);
		if (world.previous.sequence != 0)
			assert_true(chain.has_previous);
		assert_int_equal(chain.next_object, 40);
		assert_int_equal(chain.next_job, 50);
		assert_int_equal(chain.generation, 3);
		journal_chain_free(&chain);
	}
	assert_true(journal_stats(world.journal).wraps > 3);
	assert_true(journal_stats(world.journal).pads > 0);
	assert_true(journal_stats(world.journal).marks > 0);
	world_end(&world);
}

static void
a_cut_is_crossed_by_no_batch(void **state)
{
	struct world world;
	struct journal_chain chain;
	struct journal_place place;

	(void)state;
	world_begin(&world);
	assert_true(append(&world, 100, false));
	journal_cut(world.journal);
	assert_true(append(&world, 100, false));
	assert_true(append(&world, 100, false));
	assert_int_equal(journal_sync(world.journal), 0);
	assert_int_equal(journal_write_cut(world.journal, &place), 0);
	assert_int_equal(place.position, 1);
	assert_int_equal(place.sequence, 2);
	assert_int_equal(place.epoch, EPOCH);
	chain = scan(&world);
	assert_int_equal(chain.count, 2);
	assert_int_equal(chain.batches[0].transactions, 1);
	assert_int_equal(chain.batches[1].transactions, 2);
	journal_chain_free(&chain);
	world_end(&world);
}

static void
three_periods_fit(void **state)
{
	struct world world;

	(void)state;
	world_begin(&world);
	for (int period = 0; period < 20; period++) {
		uint32_t count = 0;

		while (append(&world, 3000, true)) {
			assert_int_equal(journal_sync(world.journal), 0);
			count++;
		}
		assert_true(count >= REGION_BLOCKS / 5);
		assert_true(journal_is_long(world.journal));
		assert_false(append(&world, 10000, true));
		checkpoint(&world);
		assert_false(journal_is_long(world.journal));
	}
	world_end(&world);
}

static void
an_entry_that_fits_no_batch_is_refused(void **state)
{
	struct world world;
	uint64_t most = (uint64_t)journal_batch_blocks_max(REGION_BLOCKS) * BLOCK_BYTES -
			BATCH_HEADER_BYTES;

	(void)state;
	world_begin(&world);
	assert_true(journal_fits(world.journal, 1));
	assert_true(journal_fits(world.journal, most));
	assert_false(journal_fits(world.journal, most + 1));
	world_end(&world);
}

static void
a_failure_is_told_to_every_sync(void **state)
{
	struct world world;
	struct journal_place place;

	(void)state;
	world_begin(&world);
	assert_true(append(&world, 100, true));
	sim_power_off(world.medium);
	assert_int_equal(journal_sync(world.journal), COP_EIO);
	assert_int_equal(journal_sync(world.journal), COP_EIO);
	assert_true(journal_is_dirty(world.journal));
	journal_cut(world.journal);
	assert_int_equal(journal_write_cut(world.journal, &place), COP_EIO);
	assert_int_equal(journal_mark(world.journal), 0);
	world_end(&world);
}

/* ---- Threads --------------------------------------------------------------------------------- */

enum { LATE = 4, YIELDS = 2000 };

/* Threads that come while the first call of another is under way. */
struct late {
	struct world *world;
	uint64_t first_call;
	pthread_t threads[LATE];
	uint32_t count;
	void *(*run)(void *);
	int results[LATE];
	atomic_uint begun;
	atomic_uint ended;
};

static void *
append_and_sync(void *context)
{
	struct late *late = context;
	struct world own = { .journal = late->world->journal };
	uint32_t number;

	assert_true(append(&own, 100, true));
	number = atomic_fetch_add(&late->begun, 1);
	late->results[number] = journal_sync(own.journal);
	atomic_fetch_add(&late->ended, 1);
	return NULL;
}

static void *
flush(void *context)
{
	struct late *late = context;
	uint32_t number = atomic_fetch_add(&late->begun, 1);

	late->results[number] = journal_flush(late->world->journal);
	atomic_fetch_add(&late->ended, 1);
	return NULL;
}

/* Starts them during the first call; it ends when all have begun, and had time to go on. */
static void
come_late(void *context, struct sim_medium *medium, uint64_t call)
{
	struct late *late = context;

	(void)medium;
	if (call != late->first_call)
		return;
	for (uint32_t i = 0; i < late->count; i++)
		assert_int_equal(pthread_create(&late->threads[i], NULL, late->run, late), 0);
	while (atomic_load(&late->begun) < late->count)
		sched_yield();
	for (int i = 0; i < YIELDS && atomic_load(&late->ended) < late->count; i++)
		sched_yield();
}

static void
come_late_to(struct late *late, struct world *world)
{
	late->world = world;
	late->first_call = sim_stats(world->medium).calls + 1;
	sim_set_hook(world->medium, come_late, late);
}

static void
join(struct late *late)
{
	for (uint32_t i = 0; i < late->count; i++)
		assert_int_equal(pthread_join(late->threads[i], NULL), 0);
	sim_set_hook(late->world->medium, NULL, NULL);
}

static void
who_comes_while_one_writes_shares_the_next_flush(void **state)
{
	struct late late = { .count = LATE, .run = append_and_sync };
	struct journal_chain chain;
	struct world world;

	(void)state;
	world_begin(&world);
	assert_true(append(&world, 100, true));
	come_late_to(&late, &world);
	assert_int_equal(journal_sync(world.journal), 0);
	join(&late);
	for (uint32_t i = 0; i < LATE; i++)
		assert_int_equal(late.results[i], 0);
	assert_int_equal(journal_stats(world.journal).syncs, 1 + LATE);
	assert_int_equal(journal_stats(world.journal).flushes, 2);
	assert_int_equal(sim_stats(world.medium).not_durable, 0);
	chain = scan(&world);
	assert_int_equal(chain.count, 2);
	assert_int_equal(chain.batches[1].transactions, LATE);
	journal_chain_free(&chain);
	world_end(&world);
}

/* The host tells only one of two flushes that a write was lost: the other must not believe it. */
static void
a_flush_beside_one_that_fails_fails(void **state)
{
	const struct sim_fault fault = { .kind = SIM_FAIL_FLUSH, .call = 1 };
	struct late late = { .count = 1, .run = flush };
	struct world world;

	(void)state;
	world_begin(&world);
	assert_true(append(&world, 100, true));
	journal_cut(world.journal);
	assert_int_equal(journal_write_cut(world.journal, &world.newest), 0);
	assert_int_equal(sim_add_fault(world.medium, &fault), 0);
	come_late_to(&late, &world);
	assert_int_equal(journal_flush(world.journal), COP_EIO);
	join(&late);
	assert_int_equal(late.results[0], COP_EIO);
	assert_int_equal(journal_sync(world.journal), COP_EIO);
	world_end(&world);
}

static void
a_mark_tells_what_is_durable_once(void **state)
{
	struct world world;
	struct journal_chain chain;
	uint64_t calls;

	(void)state;
	world_begin(&world);
	assert_int_equal(journal_mark(world.journal), 0);
	assert_int_equal(journal_stats(world.journal).marks, 0);
	assert_true(append(&world, 100, true));
	assert_int_equal(journal_mark(world.journal), 0); /* not durable yet */
	assert_int_equal(journal_stats(world.journal).marks, 0);
	assert_int_equal(journal_sync(world.journal), 0);
	assert_int_equal(journal_mark(world.journal), 0);
	chain = scan(&world);
	assert_int_equal(chain.count, 2);
	assert_int_equal(chain.durable, 1);
	journal_chain_free(&chain);
	calls = sim_stats(world.medium).calls;
	assert_int_equal(journal_mark(world.journal), 0);
	assert_int_equal(sim_stats(world.medium).calls, calls);
	world_end(&world);
}

static void
much_that_waits_is_written_without_a_flush(void **state)
{
	struct world world;
	struct sim_stats before;

	(void)state;
	world_begin_with(&world, LARGE_REGION_BLOCKS);
	before = sim_stats(world.medium);
	assert_true(append(&world, 100, false));
	assert_int_equal(journal_write_full(world.journal), 0);
	assert_int_equal(sim_stats(world.medium).calls, before.calls);
	for (int i = 0; i < 90; i++)
		assert_true(append(&world, 12000, false));
	assert_int_equal(journal_write_full(world.journal), 0);
	assert_true(sim_stats(world.medium).writes > before.writes);
	assert_int_equal(sim_stats(world.medium).flushes, before.flushes);
	assert_true(journal_is_dirty(world.journal));
	world_end(&world);
}

static void
what_waits_can_be_written_without_a_flush(void **state)
{
	struct world world;
	struct journal_chain chain;
	struct sim_stats before;

	(void)state;
	world_begin(&world);
	before = sim_stats(world.medium);
	assert_int_equal(journal_write_waiting(world.journal), 0);
	assert_int_equal(sim_stats(world.medium).calls, before.calls);
	assert_true(append(&world, 100, true));
	assert_int_equal(journal_write_waiting(world.journal), 0);
	assert_int_equal(sim_stats(world.medium).writes, before.writes + 1);
	assert_int_equal(sim_stats(world.medium).flushes, before.flushes);
	chain = scan(&world);
	assert_int_equal(transactions_from(&chain, 0), 1);
	journal_chain_free(&chain);

	/* It is not durable yet, and the next sync is a flush. */
	assert_true(journal_is_dirty(world.journal));
	assert_int_equal(journal_sync(world.journal), 0);
	assert_int_equal(sim_stats(world.medium).writes, before.writes + 1);
	assert_int_equal(sim_stats(world.medium).flushes, before.flushes + 1);
	assert_false(journal_is_dirty(world.journal));
	world_end(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sync_is_one_write_and_one_flush),
		cmocka_unit_test(a_batch_without_data_is_durable_by_itself_when_all_before_it_is),
		cmocka_unit_test(what_is_synced_is_found_again),
		cmocka_unit_test(a_cut_is_crossed_by_no_batch),
		cmocka_unit_test(three_periods_fit),
		cmocka_unit_test(an_entry_that_fits_no_batch_is_refused),
		cmocka_unit_test(a_failure_is_told_to_every_sync),
		cmocka_unit_test(who_comes_while_one_writes_shares_the_next_flush),
		cmocka_unit_test(a_flush_beside_one_that_fails_fails),
		cmocka_unit_test(a_mark_tells_what_is_durable_once),
		cmocka_unit_test(much_that_waits_is_written_without_a_flush),
		cmocka_unit_test(what_waits_can_be_written_without_a_flush),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
