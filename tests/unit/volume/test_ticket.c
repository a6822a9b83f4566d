#include "base/num.h"
#include "base/random.h"
#include "volume/volume_internal.h"
#include "world.h"

#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

/* ---- Who looks on ---------------------------------------------------------------------------- */

struct looker {
	struct volume *volume;
	pthread_t thread;
	_Atomic bool stop;
};

/* Looks on, each time until two more checkpoints have been made. */
static void *
look_on(void *context)
{
	struct looker *looker = context;

	while (!atomic_load(&looker->stop)) {
		uint64_t checkpoints = volume_stats(looker->volume).checkpoints;
		struct volume_visit visit;

		volume_enter(looker->volume, &visit);
		while (!atomic_load(&looker->stop) &&
			volume_stats(looker->volume).checkpoints < checkpoints + 2)
			sched_yield();
		volume_leave(looker->volume, &visit);
	}
	return NULL;
}

static void
a_full_volume_is_emptied_though_others_look_on(void **state)
{
	struct world world = { 0 };
	struct looker looker = { 0 };
	uint32_t count = 0;
	uint64_t before;
	int err;

	(void)state;
	world_format(&world, 8 << 20, 0);
	before = space_free_blocks(volume_space(world.volume));
	while ((err = world_put(&world, count, (uint8_t)count, 400)) == 0)
		count++;
	assert_int_equal(err, COP_ENOSPC);

	looker.volume = world.volume;
	assert_int_equal(pthread_create(&looker.thread, NULL, look_on, &looker), 0);
	err = 0;
	for (uint32_t i = 0; i < count && err == 0;
		i++) /* all over the tree: few nodes are freed */
		err = world_delete(&world, (uint32_t)((uint64_t)i * 7919 % count));
	atomic_store(&looker.stop, true);
	assert_int_equal(pthread_join(looker.thread, NULL), 0);
	if (err)
		fail_msg("%s", err_text());
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(world_delete(&world, i), 0);
	world_settle(&world);
	assert_int_equal(space_free_blocks(volume_space(world.volume)), before);
	world_end(&world);
}

/* ---- What tickets hold ----------------------------------------------------------------------- */

enum { YIELDS = 1000 };

/* One with a ticket, whose worst case is all there is: it comes back when somebody needs it. */
static void *
hold_a_ticket(void *context)
{
	struct looker *looker = context;
	struct volume *volume = looker->volume;
	uint64_t blocks = space_free_blocks(volume->space) - volume->standing.blocks;
	bool is_wanted = false;

	if (space_admit(volume->space, blocks, true) != 0)
		abort();
	mutex_lock(&volume->state);
	volume->tickets_given++;
	mutex_unlock(&volume->state);
	atomic_store(&looker->stop, true);
	while (!is_wanted) {
		sched_yield();
		mutex_lock(&volume->state);
		is_wanted = volume->queue_has_head;
		mutex_unlock(&volume->state);
	}
	for (int i = 0; i < YIELDS; i++) /* for one that does not wait to give up meanwhile */
		sched_yield();
	space_unadmit(volume->space, blocks);
	mutex_lock(&volume->state);
	volume->tickets_returned++;
	condition_wake_all(&volume->state_changed);
	mutex_unlock(&volume->state);
	return NULL;
}

static void
emptying_waits_for_what_tickets_hold(void **state)
{
	struct world world = { 0 };
	struct looker looker = { 0 };

	(void)state;
	world_format(&world, 8 << 20, 0);
	for (uint32_t i = 0; i < 300; i++)
		assert_int_equal(world_put(&world, i, 1, 400), 0);
	world_settle(&world);
	looker.volume = world.volume;
	assert_int_equal(pthread_create(&looker.thread, NULL, hold_a_ticket, &looker), 0);
	while (!atomic_load(&looker.stop))
		sched_yield();
	assert_int_equal(world_delete(&world, 7), 0);
	assert_int_equal(pthread_join(looker.thread, NULL), 0);
	world_end(&world);
}

/* Deletes every fourth entry, all over the tree. */
struct emptier {
	struct world *world;
	pthread_t thread;
	uint32_t first;
	uint32_t count;
	int err;
	char text[200];
};

static void *
empty_part(void *context)
{
	struct emptier *emptier = context;
	struct volume *volume = emptier->world->volume;

	for (uint32_t i = emptier->first; i < emptier->count && emptier->err == 0; i += 4) {
		uint8_t key[OBJECT_KEY_BYTES];
		struct volume_visit visit;
		struct tx *tx;

		volume_enter(volume, &visit);
		emptier->err = tx_begin(volume, &visit, true, &tx);
		if (emptier->err == 0)
			emptier->err = tx_delete(tx, world_objects,
				world_key(key, (uint32_t)((uint64_t)i * 7919 % emptier->count)));
		if (emptier->err == 0)
			emptier->err = tx_commit(tx);
		if (emptier->err)
			(void)snprintf(emptier->text, sizeof emptier->text, "%s", err_text());
		volume_leave(volume, &visit);
	}
	return NULL;
}

/* What others set aside for their worst case comes back with their tickets. */
static void
a_full_volume_is_emptied_by_many_at_once(void **state)
{
	struct world world = { 0 };
	struct emptier emptiers[4];
	uint32_t count = 0;
	uint64_t before;

	(void)state;
	world_format(&world, 8 << 20, 0);
	before = space_free_blocks(volume_space(world.volume));
	while (world_put(&world, count, (uint8_t)count, 400) == 0)
		count++;
	volume_leave(world.volume, &world.visit);
	for (uint32_t i = 0; i < ARRAY_COUNT(emptiers); i++) {
		emptiers[i] = (struct emptier){ .world = &world, .first = i, .count = count };
		assert_int_equal(
			pthread_create(&emptiers[i].thread, NULL, empty_part, &emptiers[i]), 0);
	}
	for (uint32_t i = 0; i < ARRAY_COUNT(emptiers); i++)
		assert_int_equal(pthread_join(emptiers[i].thread, NULL), 0);
	volume_enter(world.volume, &world.visit);
	for (uint32_t i = 0; i < ARRAY_COUNT(emptiers); i++) {
		if (emptiers[i].err)
			fail_msg("%s", emptiers[i].text);
	}
	world_settle(&world);
	assert_int_equal(space_free_blocks(volume_space(world.volume)), before);
	world_end(&world);
}

/* ---- Many threads ---------------------------------------------------------------------------- */

struct worker {
	struct world *world;
	pthread_t thread;
	uint64_t seed;
	uint32_t first;
	uint32_t keys;
	uint32_t steps;
	uint32_t messages; /* of each transaction */
	int err;
	char text[200];
	int *model; /* [keys], owned */
	uint64_t dirty_bytes_max;
};

static void
note_dirty(struct world *world, uint64_t *max)
{
	uint64_t dirty = cache_stats(volume_cache(world->volume)).dirty_bytes;

	if (dirty > *max)
		*max = dirty;
}

/* Its own keys, so that its model holds whatever the others do. */
static void *
work(void *context)
{
	struct worker *worker = context;
	struct volume_visit visit;
	uint8_t value[WORLD_VALUE_BYTES];
	struct rng rng;

	rng_seed(&rng, worker->seed);
	for (uint32_t step = 0; step < worker->steps && worker->err == 0; step++) {
		uint8_t fill = (uint8_t)rng_below(&rng, 256);
		struct tx *tx;

		memset(value, fill, sizeof value);
		volume_enter(worker->world->volume, &visit);
		worker->err = tx_begin(worker->world->volume, &visit, false, &tx);
		for (uint32_t i = 0; worker->err == 0 && i < worker->messages; i++) {
			uint32_t at = (uint32_t)rng_below(&rng, worker->keys);
			uint8_t key[OBJECT_KEY_BYTES];
			struct view view = world_key(key, worker->first + at * 8);

			if (rng_below(&rng, 4) == 0) {
				worker->err = tx_delete(tx, world_objects, view);
				worker->model[at] = COP_ENOENT;
			} else {
				worker->err = tx_put(tx, world_objects, view,
					view_of(value, 1 + rng_below(&rng, sizeof value)));
				worker->model[at] = fill;
			}
		}
		if (worker->err == 0)
			worker->err = tx_commit(tx);
		if (worker->err)
			(void)snprintf(worker->text, sizeof worker->text, "%s", err_text());
		volume_leave(worker->world->volume, &visit);
		note_dirty(worker->world, &worker->dirty_bytes_max);
	}
	return NULL;
}

struct checkpointer {
	struct world *world;
	pthread_t thread;
	_Atomic bool stop;
	uint64_t dirty_bytes_max;
	int err;
};

static void *
run_checkpoints(void *context)
{
	struct checkpointer *checkpointer = context;

	while (!atomic_load(&checkpointer->stop) && checkpointer->err == 0) {
		note_dirty(checkpointer->world, &checkpointer->dirty_bytes_max);
		checkpointer->err = volume_checkpoint(checkpointer->world->volume);
	}
	return NULL;
}

/* Keys in random order over a tree larger than the cache, while checkpoints freeze and write. */
static void
run_workers(struct world *world, uint32_t threads, const struct worker *like, bool with_checkpoints,
	struct journal_stats *out_stats)
{
	struct worker workers[8];
	struct checkpointer checkpointer = { .world = world };
	int err = 0;

	assert_true(threads <= 8);
	volume_leave(world->volume, &world->visit);
	if (with_checkpoints)
		assert_int_equal(
			pthread_create(&checkpointer.thread, NULL, run_checkpoints, &checkpointer),
			0);
	for (uint32_t i = 0; i < threads; i++) {
		workers[i] = *like;
		workers[i].world = world;
		workers[i].seed = i + 1;
		workers[i].first = i;
		workers[i].model = malloc(like->keys * sizeof(int));
		assert_non_null(workers[i].model);
		for (uint32_t k = 0; k < like->keys; k++)
			workers[i].model[k] = COP_ENOENT;
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (uint32_t i = 0; i < threads; i++) {
		assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
		if (workers[i].err) {
			print_message("# worker %u: %s\n", i, workers[i].text);
			err = workers[i].err;
		}
	}
	atomic_store(&checkpointer.stop, true);
	if (with_checkpoints)
		assert_int_equal(pthread_join(checkpointer.thread, NULL), 0);
	assert_int_equal(err, 0);
	assert_int_equal(checkpointer.err, 0);
	assert_in_range(checkpointer.dirty_bytes_max, 0, world->cache_bytes / 2);
	for (uint32_t i = 0; i < threads; i++)
		assert_in_range(workers[i].dirty_bytes_max, 0, world->cache_bytes / 2);
	volume_enter(world->volume, &world->visit);
	assert_int_equal(volume_checkpoint(world->volume), 0);
	*out_stats = journal_stats(world->volume->journal);
	world_reopen(world);
	for (uint32_t i = 0; i < threads; i++) {
		for (uint32_t k = 0; k < like->keys; k++)
			assert_int_equal(
				world_get(world, workers[i].first + k * 8), workers[i].model[k]);
		free(workers[i].model);
	}
	space_check(volume_space(world->volume));
}

static void
threads_with_small_transactions_and_a_small_cache(void **state)
{
	const struct worker like = { .keys = 6000, .steps = 500, .messages = 2 };

	(void)state;
	for (int with_checkpoints = 0; with_checkpoints < 2; with_checkpoints++) {
		struct world world = { .cache_bytes = COP_CACHE_BYTES_MIN };
		struct journal_stats stats;

		world_format(&world, 256 << 20, 16384);
		run_workers(&world, 4, &like, with_checkpoints, &stats);
		world_end(&world);
	}
}

/* Together they may need many times the cache at the worst: they wait for one another. */
static void
threads_with_large_transactions_wait_for_memory(void **state)
{
	const struct worker like = { .keys = 3000, .steps = 25, .messages = TX_MESSAGES_MAX };

	(void)state;
	for (int with_checkpoints = 0; with_checkpoints < 2; with_checkpoints++) {
		struct world world = { .cache_bytes = COP_CACHE_BYTES_MIN };
		struct journal_stats stats;

		world_format(&world, 64 << 20, 4096);
		run_workers(&world, 8, &like, with_checkpoints, &stats);
		world_end(&world);
	}
}

/* The journal is full again and again: who is at the head makes checkpoints, those behind wait. */
static void
threads_with_a_small_journal_wait_for_room_in_it(void **state)
{
	const struct worker like = { .keys = 200, .steps = 60, .messages = 32 };

	(void)state;
	for (int with_checkpoints = 0; with_checkpoints < 2; with_checkpoints++) {
		struct world world = { .cache_bytes = COP_CACHE_BYTES_MIN };
		struct journal_stats stats;

		world_format(&world, 8 << 20, 4096);
		run_workers(&world, 4, &like, with_checkpoints, &stats);
		if (!with_checkpoints)
			assert_true(stats.held_back > 0);
		world_end(&world);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_volume_is_emptied_though_others_look_on),
		cmocka_unit_test(emptying_waits_for_what_tickets_hold),
		cmocka_unit_test(a_full_volume_is_emptied_by_many_at_once),
		cmocka_unit_test(threads_with_small_transactions_and_a_small_cache),
		cmocka_unit_test(threads_with_large_transactions_wait_for_memory),
		cmocka_unit_test(threads_with_a_small_journal_wait_for_room_in_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
