#include "world.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

static void
sets_what_the_mask_says_and_nothing_else(void **state)
{
	const struct cop_attr want = {
		.size_bytes = sizeof want,
		.mode = 06711,
		.uid = 1,
		.gid = 2,
		.accessed_ns = -3,
		.modified_ns = 4,
		.created_ns = 5,
		.doctype = COP_DOC_TAG,
		.flags = 6,
		.owner = 7,
		.changed_ns = 8,
	};
	struct world world;
	struct cop_object *file;
	struct cop_attr before;
	struct cop_attr after;

	(void)state;
	world_init(&world, 8 * MIB, 0, 1);
	file = world_file(&world);
	before = world_attr(file);
	must(cop_set_attr(file, &want, COP_SET_MODE | COP_SET_ACCESSED));
	after = world_attr(file);
	assert_int_equal(after.mode, 06711);
	assert_int_equal(after.accessed_ns, -3);
	assert_int_equal(after.uid, before.uid);
	assert_int_equal(after.modified_ns, before.modified_ns);
	assert_true(after.changed_ns > before.changed_ns);

	must(cop_set_attr(file, &want, (COP_SET_CHANGED << 1) - 1));
	cop_release(file);
	world_reopen(&world, false);
	must(cop_get(world.root, after.id, &file));
	after = world_attr(file);
	assert_int_equal(after.uid, 1);
	assert_int_equal(after.gid, 2);
	assert_int_equal(after.modified_ns, 4);
	assert_int_equal(after.created_ns, 5);
	assert_int_equal(after.doctype, COP_DOC_TAG);
	assert_int_equal(after.flags, 6);
	assert_int_equal(after.owner, 7);
	assert_int_equal(after.changed_ns, 8);

	assert_int_equal(cop_set_attr(file, &want, COP_SET_CHANGED << 1), COP_EINVAL);
	after.mode = 010000;
	assert_int_equal(cop_set_attr(file, &after, COP_SET_MODE), COP_EINVAL);

	/* No object owns it: it is a number of a tool's own, which check would not know. */
	after.owner = 0;
	must(cop_set_attr(file, &after, COP_SET_OWNER));
	cop_release(file);
	world_fini(&world);
}

static void
counts_references_without_names(void **state)
{
	struct world world;
	struct cop_object *file;

	(void)state;
	world_init(&world, 8 * MIB, 0, 2);
	file = world_file(&world);
	assert_int_equal(world_attr(file).links, 1);
	must(cop_ref(file));
	assert_int_equal(world_attr(file).links, 2);
	must(cop_unref(file));
	must(cop_unref(file));
	assert_int_equal(world_attr(file).links, 0);
	assert_int_equal(cop_unref(file), COP_EINVAL);
	assert_int_equal(cop_ref(world.root), COP_EINVAL);
	assert_int_equal(cop_unref(world.root), COP_EINVAL);
	cop_release(file);
	world_fini(&world);
}

static void
moves_the_times_with_what_is_done(void **state)
{
	struct world world;
	struct cop_object *file;
	struct cop_attr before;
	struct cop_attr after;
	uint8_t byte = 0;
	size_t got;

	(void)state;
	world_init(&world, 8 * MIB, 0, 3);
	file = world_file(&world);
	before = world_attr(file);
	must(cop_write(file, 0, "x", 1, NULL));
	after = world_attr(file);
	assert_true(after.modified_ns > before.modified_ns);
	assert_true(after.changed_ns > before.changed_ns);
	assert_int_equal(after.created_ns, before.created_ns);
	must(cop_read(file, 0, &byte, 1, &got));
	assert_int_equal(world_attr(file).accessed_ns, before.accessed_ns);
	cop_release(file);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sets_what_the_mask_says_and_nothing_else),
		cmocka_unit_test(counts_references_without_names),
		cmocka_unit_test(moves_the_times_with_what_is_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
