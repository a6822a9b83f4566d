#include "world.h"

#include "object/reclaim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

enum { TEETH = 200 };

static void
takes_apart_a_tree_that_a_crash_left(void **state)
{
	struct world world;
	struct cop_object *file;
	uint64_t number;
	struct operation op;
	struct loaded loaded;
	struct tx *tx;
	uint64_t before;
	uint64_t id;

	(void)state;
	world_init(&world, 64 * MIB, 0, 5);
	before = world_free_bytes(&world);
	file = world_comb(&world, TEETH);
	id = cop_id(file);
	must(change_begin(&op, world.volume, &file, 1));
	must(record_load(file, &loaded));
	loaded.record.form = COP_FORM_INLINE;
	loaded.record.length = 0;
	loaded.record.allocated_blocks = 0;
	number = volume_next_job(world.volume->volume);
	must(tx_begin(world.volume->volume, &op.visit, true, &tx));
	must(job_put_dismantle(tx, file, number));
	must(record_put(tx, file->branch, file->id, &loaded.record));
	must(change_commit(&op, tx));
	change_end(&op);
	must(cop_sync(world.volume));
	cop_release(file);
	assert_true(world.volume->handles > 0);
	world_reopen(&world, true);

	must(cop_get(world.root, id, &file));
	must(cop_unref(file));
	cop_release(file);
	assert_int_equal(world_free_bytes(&world), before);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_apart_a_tree_that_a_crash_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
