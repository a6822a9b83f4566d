#include "space/space_internal.h"
#include "unit/space/world.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Runs space_check() in a child, after `spoil`; true: it aborted. */
static bool
finds(struct world *world, void (*spoil)(struct space *space))
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		static const struct rlimit no_core = { 0 };

		(void)setrlimit(RLIMIT_CORE, &no_core);
		if (!freopen("/dev/null", "w", stderr))
			_exit(2);
		signal(SIGABRT, SIG_DFL);
		spoil(world->space);
		space_check(world->space);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void
spoil_nothing(struct space *space)
{
	(void)space;
}

static void
spoil_sum(struct space *space)
{
	space->root.available_blocks++;
}

static void
spoil_chunks(struct space *space)
{
	space->root.inner->entries[1].chunks--;
}

static void
spoil_busy(struct space *space)
{
	struct space_ag *ag = space__peek_ag(space, 1);

	bitmap_clear(ag->busy, 0, 1);
}

static void
spoil_reserved(struct space *space)
{
	space__peek_ag(space, 1)->reserved_blocks++;
}

static void
spoil_list(struct space *space)
{
	space->awaiting_list.head->runs[0].blocks++;
}

static void
spoil_pool(struct space *space)
{
	space->pool_blocks += space->node_blocks;
}

static void
finds_what_does_not_add_up(void **state)
{
	struct world world;
	struct run run;

	(void)state;
	world_init(&world, 2048, 4, 1);
	world_touch_all(&world);
	world_checkpoint(&world);
	run = world_pick_live(&world);
	world_release(&world, run);
	world_checkpoint(&world);
	assert_false(finds(&world, spoil_nothing));
	assert_true(finds(&world, spoil_sum));
	assert_true(finds(&world, spoil_chunks));
	assert_true(finds(&world, spoil_busy));
	assert_true(finds(&world, spoil_reserved));
	assert_true(finds(&world, spoil_list));
	assert_true(finds(&world, spoil_pool));
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_what_does_not_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
