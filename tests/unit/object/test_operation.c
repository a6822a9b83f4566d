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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(works_on_different_objects_side_by_side),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
