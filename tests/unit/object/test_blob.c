#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

static void
stores_values_beside_the_content(void **state)
{
	struct world world;
	struct cop_object *file;
	struct operation op;
	struct extents extents;
	struct extents again;
	struct tx *tx;
	uint8_t value[50001];
	uint8_t got[50001];
	uint8_t encoded[4096];
	uint32_t bytes;
	size_t length;

	(void)state;
	world_init(&world, 8 * MIB, 0, 2);
	file = world_file(&world);
	world_bytes(5, value, sizeof value);
	must(change_begin(&op, world.volume, &file, 1));
	must(tx_begin(world.volume->volume, &op.visit, false, &tx));
	must(data_store(&op, tx, value, sizeof value, &extents));
	length = blob_encode(sizeof value, &extents, encoded, sizeof encoded);
	must(blob_decode(view_of(encoded, length), &bytes, &again));
	assert_int_equal(bytes, sizeof value);
	assert_int_equal(again.count, extents.count);
	must(data_fetch(&op, &again, 0, got, sizeof got));
	assert_memory_equal(got, value, sizeof got);
	must(data_fetch(&op, &again, 4090, got, 10));
	assert_memory_equal(got, value + 4090, 10);
	assert_int_equal(blob_decode(view_of(encoded, length - 1), &bytes, &again), COP_EFORMAT);
	assert_int_equal(blob_decode(view_of(encoded, 3), &bytes, &again), COP_EFORMAT);
	extents_free(&extents);
	extents_free(&again);
	tx_abort(tx);
	change_end(&op);
	cop_release(file);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stores_values_beside_the_content),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
