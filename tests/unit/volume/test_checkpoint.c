#include "base/random.h"
#include "support/alloc.h"
#include "volume/volume_internal.h"
#include "world.h"

#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>

#include <setjmp.h>

#include <cmocka.h>

static void
keeps_what_a_checkpoint_made_durable(void **state)
{
	struct world world = { 0 };

	(void)state;
	world_format(&world, 8 << 20, 0);
	for (uint32_t i = 0; i < 500; i++)
		assert_int_equal(world_put(&world, i, (uint8_t)i, 100), 0);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	assert_int_equal(world_put(&world, 0, 99, 100), 0);
	assert_int_equal(world_get(&world, 0), 99);
	world_reopen(&world);
	assert_int_equal(world_get(&world, 0), 0);
	for (uint32_t i = 0; i < 500; i++)
		assert_int_equal(world_get(&world, i), (uint8_t)i);
	assert_int_equal(world_get(&world, 500), COP_ENOENT);
	world_end(&world);
}

static void
random_changes_survive_reopening(void **state)
{
	enum { KEYS = 400, STEPS = 6000 };
	struct world world = { 0 };
	int model[KEYS];
	int durable[KEYS];
	struct rng rng;

	(void)state;
	rng_seed(&rng, 4711);
	world_format(&world, 16 << 20, 0);
	for (int i = 0; i < KEYS; i++)
		model[i] = durable[i] = COP_ENOENT;
	for (int step = 0; step < STEPS; step++) {
		uint32_t number = (uint32_t)rng_below(&rng, KEYS);

		if (rng_below(&rng, 3) > 0) {
			model[number] = (int)rng_below(&rng, 256);
			assert_int_equal(world_put(&world, number, (uint8_t)model[number],
						 1 + rng_below(&rng, 500)),
				0);
		} else {
			model[number] = COP_ENOENT;
			assert_int_equal(world_delete(&world, number), 0);
		}
		if (rng_below(&rng, 100) == 0) {
			assert_int_equal(volume_checkpoint(world.volume), 0);
			memcpy(durable, model, sizeof model);
		}
		if (rng_below(&rng, 500) == 0) {
			world_reopen(&world);
			memcpy(model, durable, sizeof model);
			for (uint32_t i = 0; i < KEYS; i++)
				assert_int_equal(world_get(&world, i), model[i]);
		}
	}
	world_end(&world);
}

/* ---- Failure --------------------------------------------------------------------------------- */

static void
a_failed_write_ends_writing_and_says_so(void **state)
{
	struct world world = { 0 };

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(world_put(&world, 1, 1, 10), 0);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	assert_int_equal(world_put(&world, 2, 2, 10), 0);
	sim_cut_after(world.medium, 0);
	assert_int_equal(volume_checkpoint(world.volume), COP_EIO);
	assert_int_equal(volume_checkpoint(world.volume), COP_EIO);
	assert_int_equal(world_put(&world, 3, 3, 10), COP_EIO);
	assert_non_null(strstr(err_text(), "no more changes"));
	assert_int_equal(world_get(&world, 1), 1);
	assert_true(volume_is_dirty(world.volume)); /* what was committed is not durable */
	world_end(&world);
}

/*
 * On a device that takes no memory itself: whatever allocation of a checkpoint fails, everything is
 * as it was, and the next one makes all of it durable.
 */
static void
a_checkpoint_without_memory_is_made_again(void **state)
{
	struct world world = { .in_memory = true };
	bool was_whole = false;
	uint32_t failures_frozen = 0;

	(void)state;
	world_format(&world, 32 << 20, 0);
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(world_put(&world, i, 0, 500), 0);
	assert_int_equal(volume_checkpoint(world.volume), 0);

	for (uint64_t nth = 1; !was_whole; nth++) {
		uint64_t generation;
		uint64_t allocations;
		int err;

		/* Opened anew, so that bitmaps must be read for what is freed. */
		world_reopen(&world);
		for (uint32_t i = 0; i < 40; i++)
			assert_int_equal(world_put(&world, i * 25, (uint8_t)nth, 500), 0);
		assert_int_equal(world_put(&world, 2000, (uint8_t)nth, 10), 0);

		generation = volume_generation(world.volume);
		allocations = alloc_count();
		alloc_fail_nth(nth);
		err = volume_checkpoint(world.volume);
		alloc_fail_nth(0);
		was_whole = alloc_count() - allocations < nth;
		if (err) {
			assert_int_equal(err, COP_ENOMEM);
			assert_true(volume_is_dirty(world.volume));
			if (volume_generation(world.volume) > generation)
				failures_frozen++;
		}
		assert_int_equal(world_put(&world, 2001, (uint8_t)nth, 10), 0);
		assert_int_equal(volume_checkpoint(world.volume), 0);
		assert_false(volume_is_dirty(world.volume));
		space_check(volume_space(world.volume));

		world_reopen(&world);
		for (uint32_t i = 0; i < 40; i++)
			assert_int_equal(world_get(&world, i * 25), (uint8_t)nth);
		assert_int_equal(world_get(&world, 2000), (uint8_t)nth);
		assert_int_equal(world_get(&world, 2001), (uint8_t)nth);
		space_check(volume_space(world.volume));
	}
	assert_true(failures_frozen > 0); /* both kinds were met */
	world_end(&world);
}

/* Nothing can be written until memory is there: the volume lives on, and loses nothing. */
static void
commits_go_on_while_a_frozen_generation_waits(void **state)
{
	struct world world = { .in_memory = true };

	(void)state;
	world_format(&world, 16 << 20, 0);
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(world_put(&world, i, 0, 500), 0);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	world_reopen(&world);
	for (uint8_t round = 1; round < 20; round++) {
		uint64_t generation = volume_generation(world.volume);
		uint64_t allocations = 0;

		for (uint32_t i = 0; i < 1000; i++)
			assert_int_equal(world_put(&world, i, round, 500), 0);
		while (volume_generation(world.volume) == generation) {
			int err;

			alloc_fail_from(++allocations);
			err = volume_checkpoint(world.volume);
			alloc_fail_nth(0);
			if (err == 0)
				break;
			assert_int_equal(err, COP_ENOMEM);
		}
		assert_int_equal(world_get(&world, 999), round);
		if (round % 4 == 0)
			assert_int_equal(world_delete(&world, 999), 0);
	}
	assert_int_equal(volume_checkpoint(world.volume), 0);
	world_reopen(&world);
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(world_get(&world, i), 19);
	space_check(volume_space(world.volume));
	world_end(&world);
}

static uint32_t
choose_at_random(void *context, uint32_t alternatives, uint64_t sector)
{
	(void)sector;
	return (uint32_t)rng_below(context, alternatives);
}

/* Every device call of a checkpoint fails once: afterwards there is the state before or after. */
static void
a_failed_device_call_leaves_before_or_after(void **state)
{
	static const enum sim_fault_kind kinds[] = { SIM_FAIL_WRITE, SIM_FAIL_FLUSH };

	struct rng rng;

	(void)state;
	rng_seed(&rng, 99);
	for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
		bool has_struck = true;

		for (uint64_t nth = 1; has_struck; nth++) {
			struct sim_fault fault = { .kind = kinds[kind], .call = nth };
			struct world world = { 0 };
			struct superblock before;
			struct superblock after;
			int err;

			world_format(&world, 8 << 20, 0);
			for (uint32_t i = 0; i < 300; i++)
				assert_int_equal(world_put(&world, i, 1, 300), 0);
			assert_int_equal(volume_checkpoint(world.volume), 0);
			volume_superblock(world.volume, &before);
			for (uint32_t i = 0; i < 300; i += 7)
				assert_int_equal(world_put(&world, i, 2, 300), 0);

			assert_int_equal(sim_add_fault(world.medium, &fault), 0);
			err = volume_checkpoint(world.volume);
			has_struck = sim_faults_struck(world.medium) > 0;
			sim_clear_faults(world.medium);
			assert_int_equal(err, has_struck ? COP_EIO : 0);
			if (has_struck) {
				assert_int_equal(world_put(&world, 0, 3, 10), COP_EIO);
				assert_int_equal(volume_checkpoint(world.volume), COP_EIO);
				assert_int_equal(volume_settle(world.volume), COP_EIO);
			}
			world_close(&world);
			sim_power_off(world.medium);
			sim_power_on(world.medium, choose_at_random, &rng);
			world_open(&world);
			volume_superblock(world.volume, &after);
			/* The checkpoint, or else what came into the journal: a prefix. */
			assert_true(after.generation == before.generation ||
				    world_get(&world, 294) == 2);
			for (uint32_t i = 7; i < 300; i += 7)
				assert_true(
					world_get(&world, i - 7) == 2 || world_get(&world, i) == 1);
			assert_int_equal(world_get(&world, 1), 1);
			assert_int_equal(world_put(&world, 0, 3, 10), 0);
			assert_int_equal(volume_checkpoint(world.volume), 0);
			space_check(volume_space(world.volume));
			world_end(&world);
		}
	}
}

/* ---- Counted --------------------------------------------------------------------------------- */

static void
a_checkpoint_is_two_flushes_and_all_writes_are_its(void **state)
{
	struct world world = { 0 };
	struct sim_stats before;
	struct sim_stats after;

	(void)state;
	world_format(&world, 64 << 20, 0);
	assert_int_equal(world_put(&world, 0, 1, 300), 0); /* clears the clean mark */
	assert_int_equal(volume_checkpoint(world.volume), 0);
	for (uint32_t round = 0; round < 20; round++) {
		before = sim_stats(world.medium);
		for (uint32_t i = 0; i < 50; i++)
			assert_int_equal(world_put(&world, round * 30 + i, 1, 300), 0);
		after = sim_stats(world.medium);
		assert_int_equal(after.calls, before.calls);

		assert_int_equal(volume_checkpoint(world.volume), 0);
		before = sim_stats(world.medium);
		assert_int_equal(before.flushes, after.flushes + 2);
		assert_int_equal(before.discards, after.discards);

		assert_int_equal(volume_checkpoint(world.volume), 0); /* there is nothing */
		after = sim_stats(world.medium);
		assert_int_equal(after.calls, before.calls);
	}
	world_end(&world);
}

/* ---- An allocation tree that cannot be read -------------------------------------------------- */

/* Destroys the top block of the allocation tree that `sb` has. */
static void
destroy_allocation(struct world *world, const struct superblock *sb)
{
	static const uint8_t zeros[BLOCK_BYTES];
	struct geometry geometry;

	assert_int_equal(
		geometry_init(&geometry, sb->blocks, sb->ag_blocks, sb->journal_blocks), 0);
	assert_int_equal(
		sim_poke(world->medium,
			geometry_space_block(&geometry, geometry.levels, 0, sb->allocation.slot),
			zeros),
		0);
}

/* A volume of some checkpoints; closed, so that the next opening reads everything. */
static void
world_with_checkpoints(struct world *world, struct superblock *newest, struct superblock *previous)
{
	struct device *dev;

	world_format(world, 8 << 20, 0);
	for (uint32_t i = 0; i < 4; i++) {
		for (uint32_t key = 0; key < 100; key++)
			assert_int_equal(world_put(world, key, (uint8_t)i, 400), 0);
		assert_int_equal(volume_checkpoint(world->volume), 0);
	}
	world_close(world);
	assert_int_equal(sim_open(world->medium, DEVICE_READ_ONLY | DEVICE_NO_LOCK, &dev), 0);
	assert_int_equal(volume_find_superblock(dev, newest, previous), 0);
	device_close(dev);
}

/*
 * Nobody knows what the checkpoint before the newest uses: one that changes nothing makes an end of
 * that, and then there is as much room as if it had been known.
 */
static void
room_comes_back_though_the_previous_tree_is_lost(void **state)
{
	struct world world = { 0 };
	struct superblock newest;
	struct superblock previous;
	struct volume_stats stats;
	uint64_t free_blocks;

	(void)state;
	world_with_checkpoints(&world, &newest, &previous);
	world_open(&world);
	world_settle(&world);
	free_blocks = space_free_blocks(volume_space(world.volume));
	world_end(&world);

	world = (struct world){ 0 };
	world_with_checkpoints(&world, &newest, &previous);
	destroy_allocation(&world, &previous);
	world_open(&world);
	assert_int_equal(space_free_blocks(volume_space(world.volume)), 0);
	assert_int_equal(world_delete(&world, 99), 0);
	stats = volume_stats(world.volume);
	assert_int_equal(stats.checkpoints, 1);
	assert_int_equal(world_put(&world, 99, 3, 400), 0);
	world_settle(&world);
	space_check(volume_space(world.volume));
	assert_int_equal(space_free_blocks(volume_space(world.volume)), free_blocks);
	assert_int_equal(space_closed_ags(volume_space(world.volume)), 0);
	world_reopen(&world);
	for (uint32_t key = 0; key < 100; key++)
		assert_int_equal(world_get(&world, key), 3);
	world_end(&world);
}

/* Until it is repaired nothing can be changed, and the error says why; everything can be read. */
static void
a_lost_allocation_tree_is_told(void **state)
{
	struct world world = { 0 };
	struct superblock newest;
	struct superblock previous;

	(void)state;
	world_with_checkpoints(&world, &newest, &previous);
	destroy_allocation(&world, &newest);
	world_open(&world);
	assert_int_equal(world_put(&world, 1, 9, 400), COP_ENOSPC);
	assert_non_null(strstr(err_text(), "8 of 8 allocation groups are closed by damage"));
	assert_int_equal(world_delete(&world, 1), COP_ENOSPC);
	assert_non_null(strstr(err_text(), "closed by damage"));
	for (uint32_t key = 0; key < 100; key++)
		assert_int_equal(world_get(&world, key), 3);
	world_end(&world);
}

/* ---- Visits in the way ----------------------------------------------------------------------- */

struct looker {
	struct volume *volume;
	pthread_t thread;
	_Atomic bool stop;
};

static bool
is_waited_for(struct volume *volume)
{
	bool is;

	mutex_lock(&volume->visit_lock);
	is = volume->visit_waiters > 0;
	mutex_unlock(&volume->visit_lock);
	return is;
}

/* Leaves its visit when somebody waits for that. */
static void *
look_on_while_settling(void *context)
{
	struct looker *looker = context;
	struct volume_visit visit;

	volume_enter(looker->volume, &visit);
	atomic_store(&looker->stop, true);
	while (!is_waited_for(looker->volume))
		sched_yield();
	volume_leave(looker->volume, &visit);
	return NULL;
}

/* False: the looker took more than a second to leave. */
static bool
settles_with_a_looker(void)
{
	struct world world = { 0 };
	struct looker looker = { 0 };
	bool is_settled;

	world_format(&world, 8 << 20, 0);
	for (uint32_t i = 0; i < 300; i++)
		assert_int_equal(world_put(&world, i, 1, 400), 0);
	world_settle(&world);
	looker.volume = world.volume;
	assert_int_equal(pthread_create(&looker.thread, NULL, look_on_while_settling, &looker), 0);
	while (!atomic_load(&looker.stop))
		sched_yield();
	for (uint32_t i = 0; i < 300; i++)
		assert_int_equal(world_delete(&world, i), 0);
	world_settle(&world);
	is_settled = space_pending_blocks(volume_space(world.volume)) == 0;
	assert_int_equal(pthread_join(looker.thread, NULL), 0);
	world_end(&world);
	return is_settled;
}

static void
settling_waits_for_a_visit_that_ends(void **state)
{
	enum { TRIES = 20 }; /* on a machine that is very busy */
	int tries = 0;

	(void)state;
	while (tries < TRIES && !settles_with_a_looker())
		tries++;
	assert_true(tries < TRIES);
}

/* What a visit may look at is not handed out; settling ends all the same. */
static void
settling_ends_though_a_visit_goes_on(void **state)
{
	struct world world = { 0 };
	struct volume_visit other;
	uint64_t before;

	(void)state;
	world_format(&world, 8 << 20, 0);
	before = space_free_blocks(volume_space(world.volume));
	for (uint32_t i = 0; i < 300; i++)
		assert_int_equal(world_put(&world, i, 1, 400), 0);
	world_settle(&world);
	volume_enter(world.volume, &other);
	for (uint32_t i = 0; i < 300; i++)
		assert_int_equal(world_delete(&world, i), 0);
	world_settle(&world);
	assert_true(space_pending_blocks(volume_space(world.volume)) >= 40);
	assert_true(space_free_blocks(volume_space(world.volume)) < before);
	volume_leave(world.volume, &other);
	world_settle(&world);
	assert_int_equal(space_pending_blocks(volume_space(world.volume)), 0);
	assert_int_equal(space_free_blocks(volume_space(world.volume)), before);
	world_end(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_what_a_checkpoint_made_durable),
		cmocka_unit_test(random_changes_survive_reopening),
		cmocka_unit_test(a_failed_write_ends_writing_and_says_so),
		cmocka_unit_test(a_checkpoint_without_memory_is_made_again),
		cmocka_unit_test(commits_go_on_while_a_frozen_generation_waits),
		cmocka_unit_test(a_failed_device_call_leaves_before_or_after),
		cmocka_unit_test(a_checkpoint_is_two_flushes_and_all_writes_are_its),
		cmocka_unit_test(room_comes_back_though_the_previous_tree_is_lost),
		cmocka_unit_test(a_lost_allocation_tree_is_told),
		cmocka_unit_test(settling_waits_for_a_visit_that_ends),
		cmocka_unit_test(settling_ends_though_a_visit_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
