#include "world.h"

#include "object/reclaim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

static const uint8_t value[50000];

static void
collects_what_belongs_to_an_object(void **state)
{
	static struct belongings belongings;
	struct world world;
	struct cop_object *files[2];
	char name[32];

	(void)state;
	world_init(&world, 16 * MIB, 0, 1);
	files[0] = world_file(&world);
	files[1] = world_file(&world);
	for (int i = 0; i < 5; i++) {
		snprintf(name, sizeof name, "user.%d", i);
		must(cop_xattr_set(files[i % 2], name, value, 20000, 0));
	}
	must(removal_collect(files[0], BELONGINGS_MAX, &belongings));
	assert_int_equal(belongings.count, 3);
	assert_false(belongings.more);
	assert_true(belongings.extents.count >= 3);
	extents_free(&belongings.extents);

	must(removal_collect(files[0], 2, &belongings));
	assert_int_equal(belongings.count, 2);
	assert_true(belongings.more);
	extents_free(&belongings.extents);
	cop_release(files[0]);
	cop_release(files[1]);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(collects_what_belongs_to_an_object),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
