#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

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

static void
refuses_changes_of_a_volume_that_is_only_read(void **state)
{
	struct cop_open_options options = COP_INIT(options);
	struct world world;
	struct operation op;

	(void)state;
	world_init(&world, 8 * MIB, 0, 45);
	cop_release(world.root);
	must(cop_close(world.volume));
	options.read_only = true;
	must(cop_open_on(world.dev, &options, &world.volume));
	must(cop_root(world.volume, NULL, &world.root));
	assert_int_equal(change_begin(&op, world.volume, &world.root, 1), COP_EROFS);
	world_fini(&world);
}

static void
takes_the_same_object_once(void **state)
{
	struct world world;
	struct cop_object *twice[2];
	struct operation op;

	(void)state;
	world_init(&world, 8 * MIB, 0, 46);
	twice[0] = world.root;
	twice[1] = world.root;
	must(change_begin(&op, world.volume, twice, 2));
	assert_true(operation_has(&op, world.root));
	change_end(&op);
	must(change_begin(&op, world.volume, twice, 2));
	change_end(&op);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lets_one_change_of_an_object_run_at_a_time),
		cmocka_unit_test(refuses_changes_of_a_volume_that_is_only_read),
		cmocka_unit_test(takes_the_same_object_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
