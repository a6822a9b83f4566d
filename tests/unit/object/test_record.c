#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

static void
makes_records_of_every_kind(void **state)
{
	struct world world;

	(void)state;
	world_init(&world, 8 * MIB, 0, 1);
	for (int kind = COP_FILE; kind <= COP_BLOCK_DEVICE; kind++) {
		struct cop_new new = COP_INIT(new);
		struct cop_object *object;
		struct cop_attr attr = COP_INIT(attr);

		if (kind == COP_DIRECTORY)
			continue;
		new.kind = (enum cop_kind)kind;
		new.mode = 07421;
		new.uid = 5;
		new.gid = 6;
		new.device = UINT64_C(7) << 32 | 8;
		new.target = kind == COP_SYMLINK ? "there" : NULL;
		new.target_bytes = kind == COP_SYMLINK ? 5 : 0;
		must(cop_allocate(world.root, &new, &object));
		must(cop_stat(object, &attr));
		assert_int_equal(attr.kind, kind);
		assert_int_equal(attr.mode, 07421);
		assert_int_equal(attr.uid, 5);
		assert_int_equal(attr.gid, 6);
		assert_int_equal(attr.links, 0);
		assert_int_equal(attr.length, kind == COP_SYMLINK ? 5 : 0);
		if (kind == COP_CHAR_DEVICE || kind == COP_BLOCK_DEVICE)
			assert_int_equal(attr.device, new.device);
		else
			assert_int_equal(attr.device, 0);
		cop_release(object);
	}
	world_fini(&world);
}

static void
holds_targets_of_any_length(void **state)
{
	static const size_t sizes[] = { 1, 300, 400, 5000, 65536 };
	struct world world;
	char *target = malloc(65537);
	char *got = malloc(65537);
	struct cop_new new = COP_INIT(new);
	struct cop_object *object;

	(void)state;
	assert_non_null(target);
	assert_non_null(got);
	memset(target, 't', 65537);
	world_init(&world, 8 * MIB, 0, 2);
	new.kind = COP_SYMLINK;
	new.target = target;
	for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
		size_t bytes;

		new.target_bytes = sizes[i];
		must(cop_allocate(world.root, &new, &object));
		must(cop_readlink(object, got, 65537, &bytes));
		assert_int_equal(bytes, sizes[i]);
		assert_memory_equal(got, target, bytes);
		must(cop_read(object, 0, got, 65537, &bytes));
		assert_int_equal(bytes, sizes[i]);
		cop_release(object);
	}
	new.target_bytes = 65537;
	assert_int_equal(cop_allocate(world.root, &new, &object), COP_ENAMETOOLONG);
	new.target_bytes = 0;
	assert_int_equal(cop_allocate(world.root, &new, &object), COP_ENOENT);
	new.target = "a\0b";
	new.target_bytes = 3;
	assert_int_equal(cop_allocate(world.root, &new, &object), COP_EINVAL);
	world_fini(&world);
	free(target);
	free(got);
}

static void
says_that_an_object_is_gone(void **state)
{
	struct world world;
	struct cop_object *file;
	struct operation op;
	struct loaded loaded;

	(void)state;
	world_init(&world, 8 * MIB, 0, 3);
	operation_begin(&op, world.volume);
	must(handle_make(world.volume, BRANCH_MAIN, 999, COP_FILE, false, &file));
	assert_int_equal(record_load(file, &loaded), COP_ESTALE);
	assert_int_equal(record_load_by_id(world.volume, BRANCH_MAIN, 999, &loaded), COP_ENOENT);
	handle_discard(file);
	operation_end(&op);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(makes_records_of_every_kind),
		cmocka_unit_test(holds_targets_of_any_length),
		cmocka_unit_test(says_that_an_object_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
