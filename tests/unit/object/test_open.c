#include "world.h"

#include "device/sim.h"
#include "object/reclaim.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

/* ---- Opening --------------------------------------------------------------------------------- */

static void
refuses_options_that_make_no_sense(void **state)
{
	struct cop_open_options options = COP_INIT(options);
	struct world world;
	struct cop_volume *volume;

	(void)state;
	world_init(&world, 8 * MIB, 0, 1);
	options.cache_bytes = 4096;
	assert_int_equal(cop_open_on(world.dev, &options, &volume), COP_EINVAL);
	options.cache_bytes = 0;
	options.threads = 2;
	assert_int_equal(cop_open_on(world.dev, &options, &volume), COP_EINVAL);
	world_fini(&world);
}

static void
changes_nothing_when_it_only_reads(void **state)
{
	struct cop_open_options options = COP_INIT(options);
	struct cop_new new = COP_INIT(new);
	struct world world;
	struct cop_object *file;
	struct cop_attr attr = COP_INIT(attr);
	uint64_t pending;
	uint64_t id;
	char byte;
	size_t got;

	(void)state;
	world_init(&world, 8 * MIB, 0, 2);
	file = world_file(&world);
	must(cop_write(file, 0, "x", 1, NULL));
	id = cop_id(file);
	cop_release(file);
	cop_release(world.root);
	must(cop_close(world.volume));

	options.read_only = true;
	must(cop_open_on(world.dev, &options, &world.volume));
	must(cop_root(world.volume, NULL, &world.root));
	must(cop_get(world.root, id, &file));
	must(cop_read(file, 0, &byte, 1, &got));
	assert_int_equal(byte, 'x');
	assert_int_equal(cop_write(file, 0, "y", 1, NULL), COP_EROFS);
	assert_int_equal(cop_set_length(file, 0), COP_EROFS);
	assert_int_equal(cop_punch(file, 0, 1), COP_EROFS);
	assert_int_equal(cop_preallocate(file, 0, 1, true), COP_EROFS);
	assert_int_equal(cop_set_attr(file, &attr, COP_SET_MODE), COP_EROFS);
	assert_int_equal(cop_ref(file), COP_EROFS);
	assert_int_equal(cop_unref(file), COP_EROFS);
	new.kind = COP_FILE;
	assert_int_equal(cop_allocate(world.root, &new, &file), COP_EROFS);
	must(cop_sync(world.volume));
	must(cop_settle(world.volume));
	must(cop_poll(world.volume, &pending));
	assert_int_equal(pending, 0);
	cop_release(file);
	world_fini(&world);
}

static void
forgets_what_came_after_the_checkpoint_when_abandoned(void **state)
{
	struct world world;
	struct cop_object *file;
	struct cop_attr attr = COP_INIT(attr);
	uint64_t id;

	(void)state;
	world_init(&world, 8 * MIB, 0, 3);
	file = world_file(&world);
	id = cop_id(file);
	must(cop_set_length(file, 100));
	must(cop_sync(world.volume));
	must(cop_set_length(file, 200));
	cop_release(file);
	world_reopen(&world, true);
	must(cop_get(world.root, id, &file));
	must(cop_stat(file, &attr));
	assert_int_equal(attr.length, 100);
	cop_release(file);
	world_fini(&world);
}

static void
makes_a_checkpoint_when_one_is_due(void **state)
{
	struct world world;
	struct cop_object *file;
	struct cop_stats before = COP_INIT(before);
	struct cop_stats after = COP_INIT(after);
	uint64_t pending;

	(void)state;
	world_init(&world, 8 * MIB, 0, 4);
	file = world_file(&world);
	must(cop_stats(world.volume, &before));
	must(cop_poll(world.volume, &pending));
	must(cop_poll(world.volume, &pending));
	must(cop_stats(world.volume, &after));
	assert_int_equal(after.checkpoints, before.checkpoints);
	world.now_ns += INT64_C(30000000000);
	must(cop_poll(world.volume, &pending));
	must(cop_stats(world.volume, &after));
	assert_int_equal(after.checkpoints, before.checkpoints + 1);
	cop_release(file);
	world_fini(&world);
}

/* As a replay does whose nodes no longer fit. */
static void
makes_checkpoints_early_when_memory_is_tight(void **state)
{
	struct cop_open_options options = COP_INIT(options);
	struct cop_stats stats = COP_INIT(stats);
	struct world world;
	struct cop_object *file;

	(void)state;
	world_init(&world, 8 * MIB, 0, 4);
	file = world_file(&world);
	must(cop_stats(world.volume, &stats));
	for (uint64_t i = 0; i < 20; i++) {
		must(cop_set_length(file, i));
		must(cop_sync(world.volume));
	}
	must(cop_stats(world.volume, &stats));
	assert_int_equal(stats.checkpoints, 1); /* the one that takes the clean mark away */
	cop_release(file);
	cop_release(world.root);
	cop_abandon(world.volume);

	must(cop_open_tight_on(world.dev, &options, 1, &world.volume));
	must(cop_stats(world.volume, &stats));
	assert_in_range(stats.replayed_transactions, 20, 22);
	assert_in_range(stats.checkpoints, 20, 23);
	must(cop_root(world.volume, NULL, &world.root));
	world_fini(&world);
}

/* ---- Counting -------------------------------------------------------------------------------- */

static void
counts_what_it_does_to_be_durable(void **state)
{
	static uint8_t bytes[8 * 4096];
	struct world world;
	struct cop_object *file;
	struct cop_stats before;
	struct cop_stats after;
	uint64_t id;
	size_t got;

	(void)state;
	world_init(&world, 8 * MIB, 0, 7);
	world_bytes(1, bytes, sizeof bytes);
	file = world_file(&world);
	id = cop_id(file);
	must(cop_sync(world.volume));
	before = world_stats(&world);
	must(cop_write(file, 0, bytes, sizeof bytes, NULL));
	must(cop_sync(world.volume));
	must(cop_sync(world.volume)); /* there is nothing to do */
	after = world_stats(&world);
	assert_int_equal(after.syncs, before.syncs + 1);
	assert_int_equal(after.sync_flushes + after.sync_fua_writes,
		before.sync_flushes + before.sync_fua_writes + 1);
	assert_true(after.journal_batches > before.journal_batches);
	assert_true(after.journal_bytes >= before.journal_bytes + 4096);
	assert_int_equal(after.journal_bytes % 4096, 0);
	assert_int_equal(after.data_written_bytes, before.data_written_bytes + sizeof bytes);
	assert_true(after.allocated_bytes >= before.allocated_bytes + sizeof bytes);
	assert_int_equal(after.recoveries, 0);

	must(cop_set_length(file, 0));
	assert_true(world_stats(&world).freed_bytes >= after.freed_bytes + sizeof bytes);
	must(cop_write(file, 0, bytes, sizeof bytes, NULL));
	must(cop_sync(world.volume));
	cop_release(file);

	world_reopen(&world, true);
	after = world_stats(&world);
	assert_int_equal(after.recoveries, 1);
	assert_true(after.replayed_transactions >= 3);
	must(cop_get(world.root, id, &file));
	must(cop_read(file, 0, bytes, 4096, &got));
	assert_int_equal(world_stats(&world).data_read_bytes, 4096);
	must(cop_read(file, 0, bytes, 4096, &got)); /* cached */
	assert_int_equal(world_stats(&world).data_read_bytes, 4096);
	cop_release(file);
	world_fini(&world);
}

/* ---- Damage in the journal ------------------------------------------------------------------- */

/* Flips a bit in the first batch after the newest superblock's tail. */
static void
damage_first_batch(struct world *world)
{
	uint8_t block[4096];
	struct geometry geometry;
	struct superblock newest;
	struct superblock previous;
	uint64_t addr;

	must(volume_find_superblock(world->dev, &newest, &previous));
	must(geometry_init(&geometry, newest.blocks, newest.ag_blocks, newest.journal_blocks));
	addr = geometry_journal(&geometry) + newest.journal_tail;
	must(sim_peek(world->medium, addr, block));
	block[100] ^= 1;
	must(sim_poke(world->medium, addr, block));
}

static void
writes_after_a_loss_only_when_it_is_accepted(void **state)
{
	struct cop_open_options options = COP_INIT(options);
	struct world world;
	struct cop_volume *volume = NULL;
	struct cop_object *file;
	uint64_t id;

	(void)state;
	world_init_on_sim(&world, 8 * MIB, 8);
	must(cop_sync(world.volume));
	cop_release(world.root);
	must(cop_close(world.volume));
	must(cop_open_on(world.dev, &options, &world.volume));
	must(cop_root(world.volume, NULL, &world.root));
	file = world_file(&world);
	id = cop_id(file);
	must(cop_sync(world.volume));
	must(cop_set_length(file, 5000));
	must(cop_sync(world.volume)); /* says that the batch before is durable */
	cop_release(file);
	cop_release(world.root);
	cop_abandon(world.volume);
	damage_first_batch(&world);

	assert_int_equal(cop_open_on(world.dev, &options, &volume), COP_ELOSS);
	assert_non_null(strstr(cop_error_text(), "were durable and cannot be read"));
	assert_int_equal(cop_open_on(world.dev, &options, &volume), COP_ELOSS); /* still */
	options.read_only = true;
	must(cop_open_on(world.dev, &options, &world.volume));
	must(cop_root(world.volume, NULL, &world.root));
	assert_int_equal(cop_get(world.root, id, &file), COP_ENOENT);
	cop_release(world.root);
	must(cop_close(world.volume));

	options.read_only = false;
	options.accept_loss = true;
	must(cop_open_on(world.dev, &options, &world.volume));
	must(cop_close(world.volume));
	options.accept_loss = false;
	must(cop_open_on(world.dev, &options, &world.volume));
	must(cop_root(world.volume, NULL, &world.root));
	cop_release(world_file(&world));
	world_fini(&world);
}

/* ---- The background thread ------------------------------------------------------------------- */

static void
ends_its_thread_with_the_volume(void **state)
{
	struct cop_open_options options = COP_INIT(options);
	struct world world;

	(void)state;
	world_init(&world, 8 * MIB, 0, 5);
	cop_release(world.root);
	must(cop_close(world.volume));
	options.threads = 1;
	must(cop_open_on(world.dev, &options, &world.volume));
	must(cop_root(world.volume, NULL, &world.root));
	cop_release(world_file(&world));
	world_fini(&world);
}

/* What was removed is freed in the background. */
static void
runs_jobs_in_its_thread(void **state)
{
	struct cop_open_options options = COP_INIT(options);
	struct world world;
	struct cop_object *file;
	uint64_t pending = 1;
	uint8_t block[4096] = { 1 };

	(void)state;
	world_init(&world, 64 * MIB, 0, 6);
	cop_release(world.root);
	must(cop_close(world.volume));
	options.threads = 1;
	must(cop_open_on(world.dev, &options, &world.volume));
	must(cop_root(world.volume, NULL, &world.root));
	file = world_file(&world);
	for (uint64_t i = 0; i < 300; i++)
		must(cop_write(file, i * 8192, block, sizeof block, NULL));
	must(cop_punch(file, 0, 300 * 4096));
	must(cop_unref(file));
	cop_release(file);
	while (pending > 0) {
		struct timespec moment = { .tv_nsec = 1000000 };

		nanosleep(&moment, NULL);
		must(jobs_count(world.volume, &pending));
	}
	world_fini(&world);
}

/* ---- Jobs without room ----------------------------------------------------------------------- */

/* Takes all space away, the reserve as well; what is freed already is free before. */
static uint64_t
take_all_room(struct world *world)
{
	struct volume *below = world->volume->volume;
	struct space *space = volume_space(below);
	uint64_t blocks;

	must(volume_settle(below));
	blocks = space_free_blocks(space);
	while (space_admit(space, blocks, true) != 0)
		blocks--;
	err_clear();
	return blocks;
}

/* It has a tree, so that removing it leaves a job of several steps. */
static void
remove_large_file(struct world *world)
{
	struct cop_object *file = world_comb(world, 600);

	must(cop_sync(world->volume));
	must(cop_unref(file));
	cop_release(file);
}

static uint64_t
jobs_left(struct world *world)
{
	uint64_t count;

	must(jobs_count(world->volume, &count));
	return count;
}

static void
lets_a_job_wait_for_room(void **state)
{
	struct world world;
	uint64_t pending = 0;
	uint64_t taken;
	bool has_run;

	(void)state;
	world_init(&world, 16 * MIB, 0, 9);
	remove_large_file(&world);
	taken = take_all_room(&world);
	assert_int_equal(jobs_run_step(world.volume, &has_run), COP_ENOSPC);
	err_clear();
	for (int i = 0; i < 3; i++) {
		must(cop_poll(world.volume, &pending));
		assert_int_equal(pending, 1);
	}
	space_unadmit(volume_space(world.volume->volume), taken);
	for (int i = 0; i < 20 && pending > 0; i++)
		must(cop_poll(world.volume, &pending));
	assert_int_equal(pending, 0);
	world_fini(&world);
}

/* A device without room is another matter: after that the volume takes no more changes. */
static void
tells_that_the_device_has_no_room(void **state)
{
	const struct sim_fault full = {
		.kind = SIM_FAIL_WRITE, .persistent = true, .code = COP_ENOSPC
	};
	struct world world;
	uint64_t pending;

	(void)state;
	world_init_on_sim(&world, 16 * MIB, 11);
	remove_large_file(&world);
	must(sim_add_fault(world.medium, &full));
	assert_int_equal(cop_sync(world.volume), COP_ENOSPC);
	assert_int_equal(cop_poll(world.volume, &pending), COP_ENOSPC);
	assert_non_null(strstr(cop_error_text(), "takes no more changes"));
	assert_int_equal(jobs_left(&world), 1);
	sim_clear_faults(world.medium);
	cop_release(world.root);
	cop_abandon(world.volume);
	world_open(&world);
	must(cop_settle(world.volume));
	world_fini(&world);
}

/* ---- The thread and the clock ---------------------------------------------------------------- */

/* A clock that lets the thread in the background wait for the test. */
struct gated {
	struct world world; /* first: it is the context of its other functions */
	pthread_t test;
	pthread_mutex_t gate;
};

static int64_t
gated_clock(void *context)
{
	struct gated *gated = context;

	if (!pthread_equal(pthread_self(), gated->test)) {
		pthread_mutex_lock(&gated->gate);
		pthread_mutex_unlock(&gated->gate);
	}
	return atomic_load(&gated->world.now_ns);
}

/* Until the thread has been through so many rounds, each of which begins after the call. */
static void
wait_for_rounds(struct world *world, uint64_t count)
{
	struct cop_volume *volume = world->volume;
	uint64_t end;

	mutex_lock(&volume->lock);
	end = volume->work_rounds + count + (volume->is_working ? 1 : 0);
	while (volume->work_rounds < end)
		condition_wait(&volume->changed, &volume->lock);
	mutex_unlock(&volume->lock);
}

/* It has looked for jobs that were there. */
static void
gated_init(struct gated *gated, uint64_t seed)
{
	struct cop_open_options options = COP_INIT(options);

	world_init(&gated->world, 16 * MIB, 0, seed);
	gated->test = pthread_self();
	assert_int_equal(pthread_mutex_init(&gated->gate, NULL), 0);
	cop_release(gated->world.root);
	must(cop_close(gated->world.volume));
	options.threads = 1;
	options.clock_ns = gated_clock;
	options.context = gated;
	must(cop_open_on(gated->world.dev, &options, &gated->world.volume));
	must(cop_root(gated->world.volume, NULL, &gated->world.root));
	wait_for_rounds(&gated->world, 1);
}

static void
gated_fini(struct gated *gated)
{
	world_fini(&gated->world);
	pthread_mutex_destroy(&gated->gate);
}

static void
makes_durable_in_its_thread(void **state)
{
	struct gated gated;
	struct world *world = &gated.world;
	struct cop_object *file;

	(void)state;
	gated_init(&gated, 12);
	file = world_file(world); /* a transaction */
	wait_for_rounds(world, 1);
	assert_true(volume_needs_sync(world->volume->volume));
	world->now_ns += INT64_C(5000000000);
	wait_for_rounds(world, 1);
	assert_false(volume_needs_sync(world->volume->volume));

	must(cop_write(file, 0, "x", 1, NULL)); /* a page */
	wait_for_rounds(world, 1);
	assert_int_equal(atomic_load(&world->volume->dirty_pages), 1);
	world->now_ns += INT64_C(5000000000);
	wait_for_rounds(world, 1);
	assert_int_equal(atomic_load(&world->volume->dirty_pages), 0);
	assert_false(volume_needs_sync(world->volume->volume));
	cop_release(file);
	gated_fini(&gated);
}

/* After five seconds, and at once when the clock is set back. */
static void
goes_on_in_its_thread_when_there_is_room_again(void **state)
{
	static const int64_t later_ns[] = { INT64_C(5000000000), INT64_C(-3600000000000) };
	enum { STEPS_MAX = 10 };

	(void)state;
	for (uint64_t i = 0; i < ARRAY_COUNT(later_ns); i++) {
		struct gated gated;
		struct world *world = &gated.world;
		uint64_t taken;

		gated_init(&gated, 13 + i);
		pthread_mutex_lock(&gated.gate);
		remove_large_file(world);
		taken = take_all_room(world);
		pthread_mutex_unlock(&gated.gate);
		wait_for_rounds(world, 1);
		assert_int_equal(jobs_left(world), 1);
		space_unadmit(volume_space(world->volume->volume), taken);
		wait_for_rounds(world, 2);
		assert_int_equal(jobs_left(world), 1); /* it is not tried all the time */
		world->now_ns += later_ns[i];
		wait_for_rounds(world, STEPS_MAX);
		assert_int_equal(jobs_left(world), 0);
		gated_fini(&gated);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_options_that_make_no_sense),
		cmocka_unit_test(changes_nothing_when_it_only_reads),
		cmocka_unit_test(forgets_what_came_after_the_checkpoint_when_abandoned),
		cmocka_unit_test(makes_a_checkpoint_when_one_is_due),
		cmocka_unit_test(makes_checkpoints_early_when_memory_is_tight),
		cmocka_unit_test(counts_what_it_does_to_be_durable),
		cmocka_unit_test(writes_after_a_loss_only_when_it_is_accepted),
		cmocka_unit_test(ends_its_thread_with_the_volume),
		cmocka_unit_test(runs_jobs_in_its_thread),
		cmocka_unit_test(lets_a_job_wait_for_room),
		cmocka_unit_test(tells_that_the_device_has_no_room),
		cmocka_unit_test(makes_durable_in_its_thread),
		cmocka_unit_test(goes_on_in_its_thread_when_there_is_room_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
