#include "world.h"

#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

enum { THREAD_ROUNDS = 150, BLOCK = 4096, THREAD_BYTES = 40 * BLOCK };

struct writer_job {
	struct cop_object *file;
	struct world *world;
	uint8_t mark;
	atomic_bool *stop;
};

static void
fill_all(struct cop_object *file, uint8_t mark)
{
	uint8_t *bytes = malloc(THREAD_BYTES);

	assert_non_null(bytes);
	memset(bytes, mark, THREAD_BYTES);
	must(cop_write(file, 0, bytes, THREAD_BYTES, NULL));
	free(bytes);
}

/* ---- Different objects ----------------------------------------------------------------------- */

static void *
work_alone(void *context)
{
	struct writer_job *job = context;
	uint8_t bytes[3 * BLOCK];
	size_t got;
	struct rng rng;

	rng_seed(&rng, job->mark);
	for (int i = 0; i < THREAD_ROUNDS; i++) {
		uint64_t offset = rng_below(&rng, 100 * BLOCK);

		memset(bytes, job->mark, sizeof bytes);
		must(cop_write(job->file, offset, bytes, sizeof bytes, NULL));
		must(cop_read(job->file, offset, bytes, sizeof bytes, &got));
		for (size_t j = 0; j < got; j++)
			assert_int_equal(bytes[j], job->mark);
		if (i % 20 == 0)
			must(cop_set_length(job->file, rng_below(&rng, 50 * BLOCK)));
		if (i % 50 == 0)
			must(cop_sync(job->world->volume));
	}
	return NULL;
}

static void
works_on_different_objects_side_by_side(void **state)
{
	struct world world;
	struct writer_job jobs[3];
	pthread_t threads[3];

	(void)state;
	world_init(&world, 64 * MIB, 0, 41);
	for (size_t i = 0; i < 3; i++) {
		jobs[i] = (struct writer_job){
			.file = world_file(&world), .world = &world, .mark = (uint8_t)(i + 1)
		};
		assert_int_equal(pthread_create(&threads[i], NULL, work_alone, &jobs[i]), 0);
	}
	for (size_t i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		cop_release(jobs[i].file);
	}
	world_fini(&world);
}

/* ---- The same object ------------------------------------------------------------------------- */

/* Overwrites all of it with one byte, in one call: what is seen is of one call in each block. */
static void *
overwrite(void *context)
{
	struct writer_job *job = context;

	for (int i = 0; i < THREAD_ROUNDS; i++)
		fill_all(job->file, (uint8_t)(1 + i % 200));
	return NULL;
}

/* Cuts and restores: never is there a zero where the length reaches. */
static void *
cut_and_restore(void *context)
{
	struct writer_job *job = context;

	for (int i = 0; i < THREAD_ROUNDS; i++) {
		must(cop_set_length(job->file, (uint64_t)(i % 7) * BLOCK));
		fill_all(job->file, (uint8_t)(1 + i % 200));
	}
	return NULL;
}

static void *
read_until_told(void *context)
{
	struct writer_job *job = context;
	uint8_t *bytes = malloc(THREAD_BYTES);
	size_t got;

	assert_non_null(bytes);
	while (!atomic_load(job->stop)) {
		must(cop_read(job->file, 0, bytes, THREAD_BYTES, &got));
		for (size_t i = 0; i < got; i++) {
			if (bytes[i] == 0)
				fail_msg("byte %zu is zero and never was", i);
			if (i % BLOCK != 0)
				assert_int_equal(bytes[i], bytes[i - 1]);
		}
	}
	free(bytes);
	return NULL;
}

static void
read_beside(void *(*writer)(void *context))
{
	struct world world;
	atomic_bool stop = false;
	struct writer_job job = { .stop = &stop };
	pthread_t threads[3];

	world_init(&world, 64 * MIB, 0, 42);
	job.world = &world;
	job.file = world_file(&world);
	fill_all(job.file, 1);
	for (size_t i = 1; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_until_told, &job), 0);
	assert_int_equal(pthread_create(&threads[0], NULL, writer, &job), 0);
	pthread_join(threads[0], NULL);
	atomic_store(&stop, true);
	pthread_join(threads[1], NULL);
	pthread_join(threads[2], NULL);
	cop_release(job.file);
	world_fini(&world);
}

static void
shows_readers_each_block_of_one_write(void **state)
{
	(void)state;
	read_beside(overwrite);
}

static void
shows_readers_no_zeros_that_never_were(void **state)
{
	(void)state;
	read_beside(cut_and_restore);
}

/* ---- The queue ------------------------------------------------------------------------------- */

struct queue_job {
	struct cop_object *objects[2];
	struct world *world;
	int *counter; /* guarded by the objects' turns */
};

static void *
count_in_turn(void *context)
{
	struct queue_job *job = context;

	for (int i = 0; i < 500; i++) {
		struct operation op;

		must(change_begin(&op, job->world->volume, job->objects, 2));
		*job->counter += 1;
		change_end(&op);
	}
	return NULL;
}

static void
lets_one_change_of_an_object_run_at_a_time(void **state)
{
	struct world world;
	struct queue_job jobs[2];
	pthread_t threads[2];
	int counter = 0;

	(void)state;
	world_init(&world, 8 * MIB, 0, 43);
	jobs[0] = (struct queue_job){ .world = &world, .counter = &counter };
	jobs[0].objects[0] = world_file(&world);
	jobs[0].objects[1] = world_file(&world);
	jobs[1] = jobs[0];
	jobs[1].objects[0] = jobs[0].objects[1]; /* the other way round: no deadlock */
	jobs[1].objects[1] = jobs[0].objects[0];
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_in_turn, &jobs[i]), 0);
	for (size_t i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(counter, 1000);
	cop_release(jobs[0].objects[0]);
	cop_release(jobs[0].objects[1]);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(works_on_different_objects_side_by_side),
		cmocka_unit_test(shows_readers_each_block_of_one_write),
		cmocka_unit_test(shows_readers_no_zeros_that_never_were),
		cmocka_unit_test(lets_one_change_of_an_object_run_at_a_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
