#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

static void
gives_turns_in_the_order_of_the_tickets(void **state)
{
	struct world world;
	struct cop_object *file;
	uint64_t first;
	uint64_t second;

	(void)state;
	world_init(&world, 8 * MIB, 0, 44);
	file = world_file(&world);
	mutex_lock(&world.volume->lock);
	first = queue_take_locked(file);
	second = queue_take_locked(file);
	queue_wait_locked(file, first);
	queue_leave_locked(file);
	queue_wait_locked(file, second);
	queue_leave_locked(file);
	mutex_unlock(&world.volume->lock);
	cop_release(file);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_turns_in_the_order_of_the_tickets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
