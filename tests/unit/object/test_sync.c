#include "world.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

/* What a cut of the power now would leave at the least; the volume is gone. */
static void
cut_and_reopen(struct world *world)
{
	cop_release(world->root);
	cop_abandon(world->volume);
	device_close(world->dev);
	sim_power_off(world->medium);
	sim_power_on(world->medium, sim_choose_oldest, NULL);
	must(sim_open(world->medium, 0, &world->dev));
	world_open(world);
}

static struct cop_object *
reopened(struct world *world, uint64_t id)
{
	struct cop_object *file;

	must(cop_get(world->root, id, &file));
	return file;
}

static void
assert_holds(struct cop_object *file, uint64_t offset, const uint8_t *bytes, size_t count)
{
	uint8_t *found = malloc(count);
	size_t got;

	assert_non_null(found);
	must(cop_read(file, offset, found, count, &got));
	assert_int_equal(got, count);
	assert_memory_equal(found, bytes, count);
	free(found);
}

/* ---- What it costs --------------------------------------------------------------------------- */

static void
makes_an_append_durable_by_one_write(void **state)
{
	struct world world;
	struct cop_object *file;
	uint8_t bytes[8 * BLOCK_BYTES];
	uint64_t id;

	(void)state;
	world_init_on_sim(&world, 64 * MIB, 1);
	world_bytes(7, bytes, sizeof bytes);
	file = world_file(&world);
	id = cop_id(file);
	must(cop_write(file, 0, bytes, 4 * BLOCK_BYTES, NULL));
	must(cop_sync_object(file));
	for (uint64_t block = 4; block < 8; block++) {
		struct cop_stats before = world_stats(&world);
		struct cop_stats after;

		must(cop_write(
			file, block * BLOCK_BYTES, bytes + block * BLOCK_BYTES, BLOCK_BYTES, NULL));
		after = world_stats(&world);
		assert_int_equal(after.device_writes, before.device_writes);
		assert_int_equal(after.transactions, before.transactions);
		must(cop_sync_object(file));
		after = world_stats(&world);
		assert_int_equal(after.device_writes - before.device_writes + after.device_flushes -
					 before.device_flushes,
			1);
		assert_true(after.device_written_bytes - before.device_written_bytes <=
			    2 * BLOCK_BYTES);
	}
	assert_holds(file, 0, bytes, sizeof bytes);
	cop_release(file);

	/* Twice: what the journal alone held is written to its place by the checkpoint. */
	for (int i = 0; i < 2; i++) {
		cut_and_reopen(&world);
		file = reopened(&world, id);
		assert_holds(file, 0, bytes, sizeof bytes);
		cop_release(file);
		must(cop_settle(world.volume));
	}
	world_fini(&world);
}

/* Reads past the cache find what only the journal holds, too. */
static void
reads_at_once_what_the_journal_carries(void **state)
{
	struct world world;
	struct cop_object *file;
	uint8_t *bytes = malloc(MIB);

	(void)state;
	assert_non_null(bytes);
	world_init_on_sim(&world, 64 * MIB, 2);
	world_bytes(8, bytes, MIB);
	file = world_file(&world);
	must(cop_write(file, 0, bytes, MIB, NULL));
	must(cop_sync_object(file));
	world_bytes(9, bytes + 5 * BLOCK_BYTES, 2 * BLOCK_BYTES);
	must(cop_write(file, 5 * BLOCK_BYTES, bytes + 5 * BLOCK_BYTES, 2 * BLOCK_BYTES, NULL));
	must(cop_sync_object(file));
	assert_holds(file, 0, bytes, MIB);
	must(cop_settle(world.volume));
	assert_holds(file, 0, bytes, MIB);
	cop_release(file);
	world_fini(&world);
	free(bytes);
}

/* ---- One object and the others --------------------------------------------------------------- */

struct holding {
	struct world *world;
	struct cop_object *slow;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	bool is_slow_thread_known;
	bool is_held;
	bool may_go_on;
};

/* Holds back the first changing call of the thread that syncs the slow object. */
static void
hold_back(void *context, struct sim_medium *medium, uint64_t call)
{
	struct holding *holding = context;

	(void)medium;
	(void)call;
	pthread_mutex_lock(&holding->mutex);
	if (holding->is_slow_thread_known && pthread_equal(pthread_self(), holding->thread)) {
		holding->is_held = true;
		pthread_cond_broadcast(&holding->changed);
		while (!holding->may_go_on)
			pthread_cond_wait(&holding->changed, &holding->mutex);
	}
	pthread_mutex_unlock(&holding->mutex);
}

static void *
sync_slow(void *context)
{
	struct holding *holding = context;

	pthread_mutex_lock(&holding->mutex);
	holding->thread = pthread_self();
	holding->is_slow_thread_known = true;
	pthread_mutex_unlock(&holding->mutex);
	must(cop_sync_object(holding->slow));
	return NULL;
}

static void
does_not_wait_for_slow_data_of_another(void **state)
{
	struct world world;
	struct holding holding = {
		.world = &world,
		.mutex = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
	};
	struct cop_object *quick;
	uint8_t *bytes = malloc(MIB);
	pthread_t thread;
	uint64_t slow_id;
	uint64_t quick_id;

	(void)state;
	assert_non_null(bytes);
	world_bytes(3, bytes, MIB);
	world_init_on_sim(&world, 64 * MIB, 3);
	holding.slow = world_file(&world);
	quick = world_file(&world);
	slow_id = cop_id(holding.slow);
	quick_id = cop_id(quick);
	must(cop_sync(world.volume));
	must(cop_write(holding.slow, 0, bytes, MIB / 2, NULL));
	must(cop_write(quick, 0, bytes, 20000, NULL));
	sim_set_hook(world.medium, hold_back, &holding);
	assert_int_equal(pthread_create(&thread, NULL, sync_slow, &holding), 0);
	pthread_mutex_lock(&holding.mutex);
	while (!holding.is_held)
		pthread_cond_wait(&holding.changed, &holding.mutex);
	pthread_mutex_unlock(&holding.mutex);

	must(cop_sync_object(quick)); /* while the other one's data does not get anywhere */
	pthread_mutex_lock(&holding.mutex);
	assert_false(holding.may_go_on);
	holding.may_go_on = true;
	pthread_cond_broadcast(&holding.changed);
	pthread_mutex_unlock(&holding.mutex);
	assert_int_equal(pthread_join(thread, NULL), 0);
	sim_set_hook(world.medium, NULL, NULL);
	cop_release(quick);
	cop_release(holding.slow);

	cut_and_reopen(&world);
	quick = reopened(&world, quick_id);
	assert_holds(quick, 0, bytes, 20000);
	cop_release(quick);
	quick = reopened(&world, slow_id);
	assert_holds(quick, 0, bytes, MIB / 2);
	cop_release(quick);
	world_fini(&world);
	free(bytes);
}

/* The data of others need not be there after the sync of one object; after a barrier it must. */
static void
puts_what_comes_before_a_barrier_first(void **state)
{
	for (int with_barrier = 0; with_barrier < 2; with_barrier++) {
		struct world world;
		struct cop_object *early;
		struct cop_object *late;
		struct cop_stats before;
		struct cop_stats after;
		uint8_t bytes[50000];
		uint64_t id;

		(void)state;
		world_init_on_sim(&world, 64 * MIB, 4);
		world_bytes(5, bytes, sizeof bytes);
		early = world_file(&world);
		id = cop_id(early);
		late = world_file(&world);
		must(cop_sync(world.volume));
		must(cop_write(early, 0, bytes, sizeof bytes, NULL));
		before = world_stats(&world);
		if (with_barrier)
			must(cop_barrier(world.volume));
		after = world_stats(&world);
		assert_int_equal(after.device_flushes, before.device_flushes);
		must(cop_write(late, 0, bytes, 100, NULL));
		must(cop_sync_object(late));
		cop_release(early);
		cop_release(late);

		cut_and_reopen(&world);
		early = reopened(&world, id);
		assert_int_equal(world_attr(early).length, with_barrier ? sizeof bytes : 0);
		if (with_barrier)
			assert_holds(early, 0, bytes, sizeof bytes);
		cop_release(early);
		world_fini(&world);
	}
}

/* ---- Errors ---------------------------------------------------------------------------------- */

static void
tells_once_what_write_back_could_not_store(void **state)
{
	const struct sim_fault fault = { .kind = SIM_FAIL_WRITE, .call = 1 };
	struct world world;
	struct cop_object *file;
	struct cop_object *other;
	uint8_t bytes[50000];
	char wanted[32];
	uint64_t pending;

	(void)state;
	world_init_on_sim(&world, 64 * MIB, 5);
	world_bytes(6, bytes, sizeof bytes);
	file = world_file(&world);
	other = world_file(&world);
	snprintf(wanted, sizeof wanted, "object %llu:", (unsigned long long)cop_id(file));
	must(cop_sync(world.volume));
	must(cop_write(file, 0, bytes, sizeof bytes, NULL));
	must(sim_add_fault(world.medium, &fault));
	world.now_ns += INT64_C(6000000000);
	assert_int_equal(cop_poll(world.volume, &pending), COP_EIO); /* nobody listens */

	assert_int_equal(cop_sync_object(file), COP_EIO);
	assert_non_null(strstr(cop_error_text(), wanted));
	assert_non_null(strstr(cop_error_text(), "could not be stored"));
	assert_int_equal(cop_sync_object(file), COP_EIO);
	assert_null(strstr(cop_error_text(), "could not be stored"));
	assert_non_null(strstr(cop_error_text(), "takes no more changes"));

	assert_int_equal(cop_write(other, 0, bytes, 10, NULL), COP_EIO);
	assert_int_equal(cop_sync(world.volume), COP_EIO);
	assert_holds(file, 0, bytes, sizeof bytes);
	cop_release(file);
	cop_release(other);
	cop_release(world.root);
	assert_int_equal(cop_close(world.volume), COP_EIO);
	world_open(&world);
	world_fini(&world);
}

static void
fails_for_good_after_a_flush_has_failed(void **state)
{
	const struct sim_fault fault = { .kind = SIM_FAIL_FLUSH, .call = 1 };
	struct world world;
	struct cop_object *file;
	uint8_t bytes[50000] = { 1 };

	(void)state;
	world_init_on_sim(&world, 64 * MIB, 6);
	file = world_file(&world);
	must(cop_sync(world.volume));
	must(cop_write(file, 0, bytes, sizeof bytes, NULL));
	must(sim_add_fault(world.medium, &fault));
	assert_int_equal(cop_sync_object(file), COP_EIO);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(cop_sync_object(file), COP_EIO);
		assert_non_null(strstr(cop_error_text(), "takes no more changes"));
	}
	assert_int_equal(cop_set_length(file, 1), COP_EIO);
	cop_release(file);
	cop_release(world.root);
	assert_int_equal(cop_close(world.volume), COP_EIO);
	world_open(&world);
	world_fini(&world);
}

/* ---- Settling -------------------------------------------------------------------------------- */

struct settling {
	struct cop_volume *volume;
	_Atomic bool is_settled;
};

static void *
settle(void *context)
{
	struct settling *settling = context;

	must(cop_settle(settling->volume));
	atomic_store(&settling->is_settled, true);
	return NULL;
}

/* The thread in the background may hold the last reference to an object that has lost its name. */
static void
settles_what_the_background_has_in_hand(void **state)
{
	enum { YIELDS = 1000 };
	struct settling settling = { 0 };
	struct cop_object *file;
	struct world world;
	uint64_t before;
	pthread_t thread;

	(void)state;
	world_init(&world, 8 * MIB, 0, 11);
	before = world_free_bytes(&world);
	file = world_file(&world);
	world_write(file, 1, 0, 300000);
	must(cop_unref(file));
	settling.volume = world.volume;
	mutex_lock(&world.volume->lock);
	world.volume->is_working = true;
	mutex_unlock(&world.volume->lock);
	assert_int_equal(pthread_create(&thread, NULL, settle, &settling), 0);
	for (int i = 0; i < YIELDS; i++)
		sched_yield();
	assert_false(atomic_load(&settling.is_settled));
	cop_release(file);
	mutex_lock(&world.volume->lock);
	world.volume->is_working = false;
	condition_wake_all(&world.volume->changed);
	mutex_unlock(&world.volume->lock);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(world_free_bytes(&world), before);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(makes_an_append_durable_by_one_write),
		cmocka_unit_test(reads_at_once_what_the_journal_carries),
		cmocka_unit_test(does_not_wait_for_slow_data_of_another),
		cmocka_unit_test(puts_what_comes_before_a_barrier_first),
		cmocka_unit_test(tells_once_what_write_back_could_not_store),
		cmocka_unit_test(fails_for_good_after_a_flush_has_failed),
		cmocka_unit_test(settles_what_the_background_has_in_hand),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
