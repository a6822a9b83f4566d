#include "base/checksum.h"
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

/* ---- One thread ------------------------------------------------------------------------------ */

static void
an_aborted_transaction_leaves_nothing(void **state)
{
	struct world world = { 0 };
	uint8_t key[OBJECT_KEY_BYTES];
	struct space *space;
	uint64_t free_blocks;
	uint64_t available_blocks;
	struct run run;
	struct tx *tx;

	(void)state;
	world_format(&world, 8 << 20, 0);
	space = volume_space(world.volume);
	free_blocks = space_free_blocks(space);
	available_blocks = space_available_blocks(space);
	assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
	assert_int_equal(tx_admit(tx, 50), 0);
	assert_int_equal(tx_take(tx, SPACE_DATA, 0, 32, &run), 0);
	tx_give_back(tx, (struct run){ run.addr + run.blocks - 1, 1 });
	assert_int_equal(tx_put(tx, world_objects, world_key(key, 1), view_of("x", 1)), 0);
	tx_abort(tx);
	assert_int_equal(space_free_blocks(space), free_blocks);
	assert_int_equal(space_available_blocks(space), available_blocks);
	assert_int_equal(world_get(&world, 1), COP_ENOENT);
	assert_false(volume_is_dirty(world.volume));
	world_end(&world);
}

/* The same for one that commits: what it did not take is promised to nobody any more. */
static void
a_commit_keeps_only_what_it_took(void **state)
{
	struct world world = { 0 };
	struct space *space;
	uint64_t available_blocks;
	uint64_t free_blocks;
	struct run run;
	struct tx *tx;

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(world_put(&world, 1, 1, 10), 0);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	space = volume_space(world.volume);
	free_blocks = space_free_blocks(space);
	available_blocks = space_available_blocks(space);
	assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
	assert_int_equal(tx_admit(tx, 50), 0);
	assert_int_equal(tx_take(tx, SPACE_DATA, 0, 32, &run), 0);
	tx_give_back(tx, (struct run){ run.addr + run.blocks - 2, 2 });
	assert_int_equal(tx_commit(tx), 0);
	assert_int_equal(space_free_blocks(space), free_blocks - run.blocks + 2);
	assert_int_equal(space_available_blocks(space), available_blocks - run.blocks + 2);
	world_end(&world);
}

/* What is promised stays so, whoever else asks, and comes back with what was not taken. */
static void
uses_what_was_promised_to_it(void **state)
{
	struct world world = { 0 };
	struct promise promise = { 0 };
	uint8_t key[OBJECT_KEY_BYTES];
	struct space *space;
	uint64_t available_blocks;
	uint64_t rest;
	struct run run;
	struct tx *tx;

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(world_put(&world, 2, 1, 10), 0);
	space = volume_space(world.volume);
	available_blocks = space_available_blocks(space);
	assert_int_equal(volume_promise(world.volume, 10, 0, 1, &promise), 0);
	assert_int_equal(promise.data_blocks, 10);
	assert_int_equal(space_available_blocks(space),
		available_blocks - promise.data_blocks - promise.node_blocks);
	assert_int_equal(volume_promise(world.volume, 12, 0, 1, &promise), 0); /* two more */
	assert_int_equal(promise.data_blocks, 12);
	rest = space_available_blocks(space);
	assert_int_equal(space_admit(space, rest, false), 0);
	assert_int_equal(volume_promise(world.volume, 13, 0, 1, &promise), COP_ENOSPC);
	assert_int_equal(promise.data_blocks, 12);

	assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
	tx_use_promise(tx, &promise);
	assert_int_equal(tx_admit(tx, 8), 0);
	assert_int_equal(tx_take(tx, SPACE_DATA, 0, 4, &run), 0);
	assert_int_equal(tx_put(tx, world_objects, world_key(key, 1), view_of("x", 1)), 0);
	assert_int_equal(tx_commit(tx), 0);
	assert_int_equal(promise.data_blocks, 12 - run.blocks);
	assert_true(promise.node_blocks > 0);
	assert_int_equal(space_available_blocks(space), 0);
	volume_unpromise(world.volume, &promise);
	assert_int_equal(promise.data_blocks + promise.node_blocks, 0);
	assert_true(space_available_blocks(space) > 0);
	space_unadmit(space, rest);
	world_end(&world);
}

/* A block that a transaction carries is in the cache at once, and at its place after the next
 * checkpoint; also if that one comes after a crash. */
static void
brings_what_it_carries_to_its_place(void **state)
{
	for (int crashes = 0; crashes < 2; crashes++) {
		struct world world = { 0 };
		uint8_t block[BLOCK_BYTES];
		uint8_t found[BLOCK_BYTES];
		struct buffer *buffer;
		struct run run;
		struct tx *tx;

		(void)state;
		memset(block, 0x5a, sizeof block);
		world_format(&world, 8 << 20, 0);
		assert_true(volume_may_carry(world.volume, 1));
		assert_false(volume_may_carry(world.volume, TX_CARRIED_MAX + 1));
		assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
		assert_int_equal(tx_take(tx, SPACE_DATA, 0, 1, &run), 0);
		assert_int_equal(tx_carry(tx, 20, run.addr, block), 0);
		assert_int_equal(tx_commit(tx), 0);
		assert_true(volume_carries(world.volume));
		assert_int_equal(volume_sync(world.volume), 0);
		if (crashes)
			world_reopen(&world);
		buffer = cache_peek(
			volume_cache(world.volume), run.addr, checksum64(block, sizeof block));
		assert_non_null(buffer);
		assert_memory_equal(buffer->data, block, sizeof block);
		cache_release(volume_cache(world.volume), buffer);
		assert_int_equal(device_read(world.dev, run.addr, found, 1), 0);
		assert_memory_not_equal(found, block, sizeof block);
		assert_int_equal(volume_checkpoint(world.volume), 0);
		assert_int_equal(device_read(world.dev, run.addr, found, 1), 0);
		assert_memory_equal(found, block, sizeof block);
		assert_false(volume_carries(world.volume));
		world_end(&world);
	}
}

static void
fills_to_the_brim_and_empties_to_what_it_was(void **state)
{
	struct world world = { 0 };
	uint64_t before;

	(void)state;
	world_format(&world, 8 << 20, 0);
	before = space_free_blocks(volume_space(world.volume));
	for (int round = 0; round < 3; round++) {
		uint32_t count = 0;
		int err;

		while ((err = world_put(&world, count, (uint8_t)count, 400)) == 0)
			count++;
		assert_int_equal(err, COP_ENOSPC);
		assert_true(count > 5000);
		for (uint32_t i = 0; i < count; i++) {
			assert_int_equal(world_get(&world, i), (uint8_t)i);
			if (world_delete(&world, i) != 0)
				fail_msg("round %d, %u of %u: %s", round, i, count, err_text());
		}
		world_settle(&world);
		assert_int_equal(space_free_blocks(volume_space(world.volume)), before);
		space_check(volume_space(world.volume));
	}
	world_end(&world);
}

/* The keys and values are as large as can be, so that nodes hold few of them and trees are high. */
static void
sixty_four_large_messages_fit_their_ticket(void **state)
{
	enum { KEY_BYTES = TREE_KEY_BYTES_MAX, ROUNDS = 30 };
	struct world world = { 0 };
	struct tree_name name = { .branch = BRANCH_MAIN, .kind = TREE_CONTENT };
	uint8_t key[KEY_BYTES];
	uint8_t value[4096];
	uint32_t value_bytes = tree_value_bytes_max(4096);
	struct rng rng;

	(void)state;
	memset(value, 5, sizeof value);
	rng_seed(&rng, 3);
	world_format(&world, 64 << 20, 4096);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		struct tx *tx;

		name.object = 100 + round % 2; /* an empty tree at first, a full one later */
		assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
		for (uint32_t i = 0; i < TX_MESSAGES_MAX; i++) {
			rng_bytes(&rng, key, sizeof key);
			key[0] = (uint8_t)(i * 4); /* in order or not */
			if (round % 3 == 0)
				key[0] = 0;
			assert_int_equal(tx_put(tx, name, view_of(key, sizeof key),
						 view_of(value, value_bytes)),
				0);
		}
		if (tx_commit(tx) != 0)
			fail_msg("round %u: %s", round, err_text());
	}
	world_end(&world);
}

/* Invariant 4: what is committed after a failure can never become durable. */
static void
a_transaction_begun_before_a_failure_is_refused_after_it(void **state)
{
	struct world world = { 0 };
	uint8_t key[OBJECT_KEY_BYTES];
	struct tx *tx;

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(world_put(&world, 1, 1, 10), 0);
	assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
	assert_int_equal(tx_put(tx, world_objects, world_key(key, 2), view_of("x", 1)), 0);
	sim_cut_after(world.medium, 0);
	assert_int_equal(volume_checkpoint(world.volume), COP_EIO);
	assert_int_equal(tx_commit(tx), COP_EIO);
	assert_non_null(strstr(err_text(), "no more changes"));
	assert_int_equal(world_get(&world, 2), COP_ENOENT);
	world_close(&world);
	sim_free(world.medium);
}

static void
a_commit_in_a_warm_cache_calls_no_device(void **state)
{
	struct world world = { 0 };
	struct sim_stats before;
	struct sim_stats after;

	(void)state;
	world_format(&world, 64 << 20, 0);
	for (uint32_t i = 0; i < 2000; i++)
		assert_int_equal(world_put(&world, i, (uint8_t)i, 100), 0);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	assert_int_equal(world_put(&world, 0, 1, 100), 0); /* the pool of node places is filled */

	before = sim_stats(world.medium);
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(world_put(&world, i * 2, (uint8_t)~i, 100), 0);
	after = sim_stats(world.medium);
	assert_int_equal(after.calls, before.calls);
	assert_int_equal(after.reads, before.reads);
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

/* ---- Visits in the way ----------------------------------------------------------------------- */

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
		cmocka_unit_test(an_aborted_transaction_leaves_nothing),
		cmocka_unit_test(a_commit_keeps_only_what_it_took),
		cmocka_unit_test(uses_what_was_promised_to_it),
		cmocka_unit_test(brings_what_it_carries_to_its_place),
		cmocka_unit_test(fills_to_the_brim_and_empties_to_what_it_was),
		cmocka_unit_test(sixty_four_large_messages_fit_their_ticket),
		cmocka_unit_test(a_transaction_begun_before_a_failure_is_refused_after_it),
		cmocka_unit_test(a_commit_in_a_warm_cache_calls_no_device),
		cmocka_unit_test(a_full_volume_is_emptied_though_others_look_on),
		cmocka_unit_test(emptying_waits_for_what_tickets_hold),
		cmocka_unit_test(a_full_volume_is_emptied_by_many_at_once),
		cmocka_unit_test(settling_waits_for_a_visit_that_ends),
		cmocka_unit_test(settling_ends_though_a_visit_goes_on),
		cmocka_unit_test(threads_with_small_transactions_and_a_small_cache),
		cmocka_unit_test(threads_with_large_transactions_wait_for_memory),
		cmocka_unit_test(threads_with_a_small_journal_wait_for_room_in_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
