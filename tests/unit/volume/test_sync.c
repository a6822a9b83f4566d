#include "volume/volume_internal.h"
#include "world.h"

#include "base/checksum.h"
#include "base/random.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const int64_t second_ns = 1000000000;

static void
put(struct world *world, uint32_t number)
{
	assert_int_equal(world_put(world, number, 1, 100), 0);
}

static void
tick_after(struct world *world, int64_t ns)
{
	world->later_ns += ns;
	assert_int_equal(volume_tick(world->volume), 0);
}

static uint64_t
syncs(struct world *world)
{
	return volume_stats(world->volume).syncs;
}

static uint64_t
checkpoints(struct world *world)
{
	return volume_stats(world->volume).checkpoints;
}

static void
a_sync_makes_all_of_it_durable(void **state)
{
	struct world world = { 0 };

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_false(volume_needs_sync(world.volume));
	put(&world, 1);
	put(&world, 2);
	assert_true(volume_needs_sync(world.volume));
	assert_int_equal(volume_sync(world.volume), 0);
	assert_false(volume_needs_sync(world.volume));
	assert_true(volume_is_dirty(world.volume)); /* in no checkpoint */
	world_reopen(&world);
	assert_int_equal(world_get(&world, 1), 1);
	assert_int_equal(world_get(&world, 2), 1);
	world_end(&world);
}

static void
a_change_is_durable_after_five_seconds(void **state)
{
	struct world world = { 0 };

	(void)state;
	world_format(&world, 8 << 20, 0);
	tick_after(&world, 0);
	put(&world, 1);
	tick_after(&world, 0);
	tick_after(&world, 5 * second_ns - 1);
	assert_true(volume_needs_sync(world.volume));
	assert_int_equal(syncs(&world), 0);
	tick_after(&world, 1);
	assert_false(volume_needs_sync(world.volume));
	assert_int_equal(syncs(&world), 1);

	/* With nothing new there is nothing to do. */
	tick_after(&world, 10 * second_ns);
	assert_int_equal(syncs(&world), 1);
	put(&world, 2);
	tick_after(&world, 0);
	assert_true(volume_needs_sync(world.volume)); /* its five seconds begin now */
	tick_after(&world, 5 * second_ns);
	assert_int_equal(syncs(&world), 2);
	world_end(&world);
}

/* Its five seconds are its own, whatever was due or made durable before it. */
static void
a_change_after_a_sync_has_five_seconds_again(void **state)
{
	struct world world = { 0 };

	(void)state;
	world_format(&world, 8 << 20, 0);
	put(&world, 1);
	tick_after(&world, 0);
	assert_int_equal(volume_sync(world.volume), 0);
	tick_after(&world, 2 * second_ns);
	for (uint32_t i = 2; i < 5; i++) {
		put(&world, i); /* at once after a timed sync as well */
		tick_after(&world, 0);
		tick_after(&world, 5 * second_ns - 1);
		assert_true(volume_needs_sync(world.volume));
		tick_after(&world, 1);
		assert_false(volume_needs_sync(world.volume));
		assert_int_equal(syncs(&world), i);
	}
	world_end(&world);
}

static void
a_program_that_is_killed_keeps_what_came_before_a_tick(void **state)
{
	struct world world = { 0 };
	uint64_t flushes;

	(void)state;
	world_format(&world, 8 << 20, 0);
	put(&world, 1);
	flushes = sim_stats(world.medium).flushes;
	tick_after(&world, 0);
	assert_true(volume_needs_sync(world.volume));
	assert_int_equal(sim_stats(world.medium).flushes, flushes);
	world_reopen(&world);
	assert_int_equal(world_get(&world, 1), 1);
	world_end(&world);
}

static void
a_clock_that_is_set_back_delays_a_sync_by_five_seconds(void **state)
{
	struct world world = { 0 };

	(void)state;
	world_format(&world, 8 << 20, 0);
	put(&world, 1);
	tick_after(&world, 0);
	tick_after(&world, -3600 * second_ns);
	assert_int_equal(syncs(&world), 0);
	tick_after(&world, 5 * second_ns - 1);
	assert_int_equal(syncs(&world), 0);
	tick_after(&world, 1);
	assert_int_equal(syncs(&world), 1);
	world_end(&world);
}

static void
a_checkpoint_comes_after_half_a_minute(void **state)
{
	struct world world = { 0 };
	uint64_t before;

	(void)state;
	world_format(&world, 8 << 20, 0);
	put(&world, 1);
	before = checkpoints(&world);
	tick_after(&world, 0);
	for (int i = 0; i < 29; i++)
		tick_after(&world, second_ns);
	assert_int_equal(checkpoints(&world), before);
	assert_true(volume_is_dirty(world.volume));
	tick_after(&world, second_ns);
	assert_int_equal(checkpoints(&world), before + 1);
	assert_false(volume_is_dirty(world.volume));
	tick_after(&world, 60 * second_ns);
	assert_int_equal(checkpoints(&world), before + 1);
	world_end(&world);
}

static void
a_clock_that_is_set_back_delays_a_checkpoint_by_half_a_minute(void **state)
{
	struct world world = { 0 };
	uint64_t before;

	(void)state;
	world_format(&world, 8 << 20, 0);
	put(&world, 1);
	before = checkpoints(&world);
	tick_after(&world, 0);
	tick_after(&world, -3600 * second_ns);
	tick_after(&world, 30 * second_ns - 1);
	assert_int_equal(checkpoints(&world), before);
	tick_after(&world, 1);
	assert_int_equal(checkpoints(&world), before + 1);
	world_end(&world);
}

static void
a_long_journal_is_ended_by_a_checkpoint(void **state)
{
	struct world world = { 0 };
	struct superblock sb;
	uint64_t before;

	(void)state;
	world_format(&world, 8 << 20, 0);
	volume_superblock(world.volume, &sb);
	put(&world, 1);
	before = checkpoints(&world);
	for (uint32_t i = 2; checkpoints(&world) == before && i < 100; i++) {
		put(&world, i);
		assert_int_equal(volume_sync(world.volume), 0);
		tick_after(&world, 0);
		assert_true(i < sb.journal_blocks / 4 +
					2); /* a quarter of the region, a block for each sync */
	}
	assert_int_equal(checkpoints(&world), before + 1);
	world_end(&world);
}

/* So that a later opening can tell damage from a torn tail. */
static void
a_mark_follows_when_nothing_happens(void **state)
{
	struct world world = { 0 };
	uint64_t batches;

	(void)state;
	world_format(&world, 8 << 20, 0);
	put(&world, 1);
	assert_int_equal(volume_sync(world.volume), 0);
	batches = volume_stats(world.volume).journal_batches;
	tick_after(&world, 0); /* something has happened since the last look */
	assert_int_equal(volume_stats(world.volume).journal_batches, batches);
	tick_after(&world, 0);
	assert_int_equal(volume_stats(world.volume).journal_batches, batches + 1);
	tick_after(&world, 0);
	assert_int_equal(volume_stats(world.volume).journal_batches, batches + 1);
	world_end(&world);
}

static void
a_failure_stays_and_is_told_by_all(void **state)
{
	static const enum sim_fault_kind kinds[] = { SIM_FAIL_WRITE, SIM_FAIL_FLUSH };

	(void)state;
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		struct sim_fault fault = { .kind = kinds[i], .call = 1 };
		struct world world = { 0 };
		const uint64_t checksum = 1;
		struct run run;
		struct tx *tx;

		world_format(&world, 8 << 20, 0);
		put(&world, 1);
		assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
		assert_int_equal(tx_take(tx, SPACE_DATA, 0, 1, &run), 0);
		assert_int_equal(tx_data(tx, run.addr, 1, &checksum), 0); /* no FUA then */
		assert_int_equal(tx_put(tx, world_objects, view_of("a", 1), view_of("b", 1)), 0);
		assert_int_equal(tx_commit(tx), 0);
		assert_int_equal(sim_add_fault(world.medium, &fault), 0);
		assert_int_equal(volume_sync(world.volume), COP_EIO);
		for (int again = 0; again < 2; again++) {
			assert_int_equal(volume_sync(world.volume), COP_EIO);
			assert_int_equal(volume_checkpoint(world.volume), COP_EIO);
			assert_int_equal(volume_checkpoint_clean(world.volume), COP_EIO);
			assert_int_equal(world_put(&world, 2, 1, 1), COP_EIO);
			assert_non_null(strstr(err_text(), "takes no more changes"));
		}
		assert_int_equal(sim_faults_struck(world.medium), 1); /* not tried again */
		assert_true(volume_needs_sync(world.volume));
		assert_int_equal(world_get(&world, 1), 1); /* reading goes on */
		sim_clear_faults(world.medium);
		world_end(&world);
	}
}

/* What waits is written on the way; that this failed is the next change's to tell. */
static void
a_write_that_nobody_waits_for_is_told_by_the_next_change(void **state)
{
	struct sim_fault fault = { .kind = SIM_FAIL_WRITE, .call = 1 };
	struct world world = { .cache_bytes = 128 << 20 };
	uint32_t puts = 0;

	(void)state;
	world_format(&world, 512 << 20, 0);
	put(&world, 0);
	assert_int_equal(sim_add_fault(world.medium, &fault), 0);
	while (sim_faults_struck(world.medium) == 0) {
		assert_true(puts < 4000);
		assert_int_equal(world_put(&world, puts++, 1, 500), 0);
	}
	assert_int_equal(world_put(&world, 1, 2, 1), COP_EIO);
	assert_non_null(strstr(err_text(), "takes no more changes"));
	assert_int_equal(volume_sync(world.volume), COP_EIO);
	sim_clear_faults(world.medium);
	world_end(&world);
}

/* ---- Threads --------------------------------------------------------------------------------- */

enum { WRITERS = 4, KEYS = 40, STEPS = 120 };

struct thread {
	struct world *world;
	pthread_t thread;
	uint32_t number;
	_Atomic bool *stop;
	uint8_t durable[KEYS]; /* of a writer: what it has synced last, 0: nothing */
	int err;
	char text[200];
};

static uint32_t
key_of(const struct thread *thread, uint32_t key)
{
	return thread->number * KEYS + key;
}

static int
note(struct thread *thread, int err)
{
	if (err && thread->err == 0) {
		thread->err = err;
		(void)snprintf(thread->text, sizeof thread->text, "%s", err_text());
	}
	return err;
}

/* A block of data, written before the transaction that names it. */
static int
add_data(struct thread *thread, struct tx *tx, uint8_t fill)
{
	uint8_t *block = block_buffer_alloc(1);
	uint64_t checksum;
	struct run run;
	int err;

	assert_non_null(block);
	memset(block, fill, BLOCK_BYTES);
	checksum = checksum64(block, BLOCK_BYTES);
	err = tx_take(tx, SPACE_DATA, 0, 1, &run);
	if (err == 0)
		err = device_write(thread->world->dev, run.addr, block, 1);
	if (err == 0)
		err = tx_data(tx, run.addr, 1, &checksum);
	if (err == 0)
		err = tx_release(tx, run); /* nothing refers to it */
	free(block);
	return err;
}

static int
change(struct thread *thread, struct rng *rng, uint32_t key, uint8_t fill)
{
	struct volume *volume = thread->world->volume;
	uint8_t bytes[OBJECT_KEY_BYTES];
	uint8_t value[WORLD_VALUE_BYTES];
	struct volume_visit visit;
	struct tx *tx = NULL;
	int err;

	memset(value, fill, sizeof value);
	volume_enter(volume, &visit);
	err = tx_begin(volume, &visit, false, &tx);
	if (err == 0 && rng_below(rng, 3) == 0)
		err = add_data(thread, tx, fill);
	if (err == 0)
		err = tx_put(tx, world_objects, world_key(bytes, key_of(thread, key)),
			view_of(value, 1 + rng_below(rng, sizeof value)));
	if (err == 0)
		err = tx_commit(tx);
	else
		tx_abort(tx);
	volume_leave(volume, &visit);
	return err;
}

static void *
write_and_sync(void *context)
{
	struct thread *thread = context;
	uint8_t last[KEYS] = { 0 };
	struct rng rng;

	rng_seed(&rng, thread->number + 1);
	for (uint32_t step = 0; step < STEPS && thread->err == 0; step++) {
		uint32_t key = (uint32_t)rng_below(&rng, KEYS);

		last[key] = (uint8_t)(1 + step % 250);
		if (note(thread, change(thread, &rng, key, last[key])) != 0)
			break;
		if ((step == STEPS - 1 || rng_below(&rng, 2) == 0) &&
			note(thread, volume_sync(thread->world->volume)) == 0)
			memcpy(thread->durable, last, sizeof last);
	}
	return NULL;
}

static void *
read_all(void *context)
{
	struct thread *thread = context;

	for (uint32_t key = 0; !atomic_load(thread->stop) && thread->err == 0; key++) {
		struct volume_visit visit;
		int found;

		volume_enter(thread->world->volume, &visit);
		found = world_get(thread->world, key % (WRITERS * KEYS));
		volume_leave(thread->world->volume, &visit);
		if (found < 0 && found != COP_ENOENT)
			(void)note(thread, found);
	}
	return NULL;
}

static void *
keep_ticking(void *context)
{
	struct thread *thread = context;

	while (!atomic_load(thread->stop) && thread->err == 0) {
		atomic_fetch_add(&thread->world->later_ns, second_ns / 10);
		(void)note(thread, volume_tick(thread->world->volume));
	}
	return NULL;
}

static void *
keep_checkpointing(void *context)
{
	struct thread *thread = context;

	while (!atomic_load(thread->stop) && thread->err == 0)
		(void)note(thread, volume_checkpoint(thread->world->volume));
	return NULL;
}

static void
join(struct thread *threads, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(pthread_join(threads[i].thread, NULL), 0);
		if (threads[i].err)
			fail_msg("thread %zu: %s", i, threads[i].text);
	}
}

static void
threads_commit_and_sync_beside_checkpoints_timers_and_readers(void **state)
{
	static void *(*const others[])(
		void *) = { keep_ticking, keep_checkpointing, read_all, read_all };
	enum { OTHERS = sizeof others / sizeof others[0] };

	(void)state;
	for (int with_checkpoints = 0; with_checkpoints < 2; with_checkpoints++) {
		struct thread writers[WRITERS] = { 0 };
		struct thread beside[OTHERS] = { 0 };
		struct world world = { 0 };
		_Atomic bool stop = false;

		world_format(&world, with_checkpoints ? 32 << 20 : 8 << 20, 0);
		volume_leave(world.volume, &world.visit);
		for (uint32_t i = 0; i < OTHERS; i++) {
			beside[i] = (struct thread){ .world = &world, .stop = &stop };
			assert_int_equal(pthread_create(&beside[i].thread, NULL,
						 i == 1 && !with_checkpoints ? read_all : others[i],
						 &beside[i]),
				0);
		}
		for (uint32_t i = 0; i < WRITERS; i++) {
			writers[i] = (struct thread){ .world = &world, .number = i };
			assert_int_equal(pthread_create(&writers[i].thread, NULL, write_and_sync,
						 &writers[i]),
				0);
		}
		join(writers, WRITERS);
		atomic_store(&stop, true);
		join(beside, OTHERS);
		assert_true(volume_stats(world.volume).sync_flushes +
				    volume_stats(world.volume).sync_fua <=
			    volume_stats(world.volume).syncs);

		/* Each writer's last act was a sync. */
		volume_enter(world.volume, &world.visit);
		sim_power_off(world.medium);
		world_close(&world);
		sim_power_on(world.medium, sim_choose_oldest, NULL);
		world_open(&world);
		for (uint32_t i = 0; i < WRITERS; i++) {
			for (uint32_t key = 0; key < KEYS; key++) {
				int wanted = writers[i].durable[key];

				assert_int_equal(world_get(&world, key_of(&writers[i], key)),
					wanted ? wanted : COP_ENOENT);
			}
		}
		space_check(volume_space(world.volume));
		world_end(&world);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sync_makes_all_of_it_durable),
		cmocka_unit_test(a_change_is_durable_after_five_seconds),
		cmocka_unit_test(a_change_after_a_sync_has_five_seconds_again),
		cmocka_unit_test(a_program_that_is_killed_keeps_what_came_before_a_tick),
		cmocka_unit_test(a_clock_that_is_set_back_delays_a_sync_by_five_seconds),
		cmocka_unit_test(a_clock_that_is_set_back_delays_a_checkpoint_by_half_a_minute),
		cmocka_unit_test(a_checkpoint_comes_after_half_a_minute),
		cmocka_unit_test(a_long_journal_is_ended_by_a_checkpoint),
		cmocka_unit_test(a_mark_follows_when_nothing_happens),
		cmocka_unit_test(a_failure_stays_and_is_told_by_all),
		cmocka_unit_test(a_write_that_nobody_waits_for_is_told_by_the_next_change),
		cmocka_unit_test(threads_commit_and_sync_beside_checkpoints_timers_and_readers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
