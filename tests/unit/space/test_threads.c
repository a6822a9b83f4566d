/* Several threads take, use, free and reserve while one makes checkpoints. */

#include "unit/space/world.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
	THREADS = 4,
	ROUNDS = 1500,
	AGS = 600, /* more than are kept in memory: bitmaps come and go meanwhile */
};

/* cmocka's assertions are for its own thread: the others set a flag. */
struct shared {
	struct space *space;
	struct geometry geometry;
	atomic_bool *owned; /* of each block: somebody has it */
	atomic_bool is_wrong;
	atomic_uint running;
	pthread_rwlock_t gate; /* as the volume's: shared for reading only */
};

struct worker {
	struct shared *shared;
	struct rng rng;
	struct run runs[ROUNDS];
	size_t run_count;
};

static void
own(struct shared *shared, struct run run, bool on)
{
	for (uint64_t i = run.addr; i < run.addr + run.blocks; i++) {
		if (atomic_exchange(&shared->owned[i], on) == on)
			atomic_store(&shared->is_wrong, true);
	}
}

static void
take_data(struct worker *worker)
{
	struct shared *shared = worker->shared;
	uint32_t want = 1 + (uint32_t)rng_below(&worker->rng, 20);
	uint64_t goal = rng_below(&worker->rng, shared->geometry.blocks);
	struct run run;

	if (space_admit(shared->space, want, false))
		return;
	if (space_take(shared->space, SPACE_DATA, goal, want, &run)) {
		atomic_store(&shared->is_wrong, true);
		space_unadmit(shared->space, want);
		return;
	}
	own(shared, run, true);
	if (rng_below(&worker->rng, 4) == 0 || space_reserve_lists(shared->space, 1)) {
		own(shared, run, false);
		space_untake(shared->space, run);
		space_unadmit(shared->space, want);
		return;
	}
	pthread_rwlock_wrlock(&shared->gate);
	space_use(shared->space, run);
	pthread_rwlock_unlock(&shared->gate);
	space_unadmit(shared->space, want - run.blocks);
	worker->runs[worker->run_count++] = run;
}

static void
take_nodes(struct worker *worker)
{
	struct shared *shared = worker->shared;
	uint64_t addr;
	uint64_t addr2;

	if (space_admit(shared->space, 5 * 8, false))
		return;
	if (space_reserve_nodes(shared->space, 5, false)) {
		space_unadmit(shared->space, 5 * 8);
		return;
	}
	pthread_rwlock_wrlock(&shared->gate);
	space_take_node(shared->space, 2, &addr, &addr2);
	pthread_rwlock_unlock(&shared->gate);
	space_unreserve_nodes(shared->space, 4);
	space_unadmit(shared->space, 4 * 8);
	own(shared, (struct run){ addr, 4 }, true);
	own(shared, (struct run){ addr2, 4 }, true);
}

static void
free_run(struct worker *worker)
{
	struct shared *shared = worker->shared;
	struct run run;

	if (worker->run_count == 0 || space_reserve_lists(shared->space, 1))
		return;
	run = worker->runs[--worker->run_count];
	own(shared, run, false);
	pthread_rwlock_wrlock(&shared->gate);
	space_release(shared->space, run);
	pthread_rwlock_unlock(&shared->gate);
}

static void *
work(void *context)
{
	struct worker *worker = context;

	for (int i = 0; i < ROUNDS; i++) {
		switch (rng_below(&worker->rng, 4)) {
		case 0:
		case 1:
			take_data(worker);
			break;
		case 2:
			free_run(worker);
			break;
		default:
			take_nodes(worker);
		}
	}
	atomic_fetch_sub(&worker->shared->running, 1);
	return NULL;
}

static bool
make_checkpoint(struct shared *shared, uint64_t next_generation)
{
	struct space_descriptor root;
	uint64_t free_blocks;
	uint64_t awaiting;

	pthread_rwlock_wrlock(&shared->gate);
	space_freeze(shared->space, next_generation, &free_blocks, &awaiting);
	pthread_rwlock_unlock(&shared->gate);
	if (space_write(shared->space, &root) || root.free_blocks != free_blocks)
		return false;
	space_durable(shared->space, NULL, NULL);
	return true;
}

static void
hands_nothing_out_twice(void **state)
{
	struct world world;
	struct shared shared = { 0 };
	struct worker *workers = calloc(THREADS, sizeof *workers);
	pthread_t threads[THREADS];
	uint64_t generation;
	uint64_t free_blocks = 0;

	(void)state;
	assert_non_null(workers);
	world_init_ags(&world, AGS, 4, 1);
	world_touch_all(&world);
	world_checkpoint(&world);
	world_close(&world);
	world_open(&world); /* cold: the threads read while they take */
	shared.space = world.space;
	shared.geometry = world.geometry;
	shared.owned = calloc(world.geometry.blocks, sizeof *shared.owned);
	assert_non_null(shared.owned);
	for (uint64_t i = 0; i < world.geometry.blocks; i++)
		atomic_init(&shared.owned[i], world.blocks[i].used || world.blocks[i].fixed);
	assert_int_equal(pthread_rwlock_init(&shared.gate, NULL), 0);
	atomic_init(&shared.running, THREADS);

	for (unsigned i = 0; i < THREADS; i++) {
		workers[i].shared = &shared;
		rng_seed(&workers[i].rng, i);
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	generation = world.open_generation;
	while (atomic_load(&shared.running) > 0)
		assert_true(make_checkpoint(&shared, ++generation));
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_false(atomic_load(&shared.is_wrong));
	space_check(world.space);

	for (int i = 0; i < 2; i++)
		assert_true(make_checkpoint(&shared, ++generation));

	for (uint64_t i = 0; i < world.geometry.blocks; i++)
		free_blocks += !atomic_load(&shared.owned[i]);
	assert_int_equal(space_free_blocks(world.space), free_blocks);

	assert_int_equal(pthread_rwlock_destroy(&shared.gate), 0);
	free(shared.owned);
	free(workers);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hands_nothing_out_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
