#include "world.h"

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shows_readers_each_block_of_one_write),
		cmocka_unit_test(shows_readers_no_zeros_that_never_were),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
