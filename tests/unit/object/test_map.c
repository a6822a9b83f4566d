#include "world.h"

#include "object/content_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

static void
expect_gathered(struct cop_object *file, struct gather gather, uint64_t trim_end, size_t count,
	uint64_t first, bool want_more)
{
	struct extents extents;
	const struct trims trims = { .count = 2, .list = { { 0, trim_end }, { 9, 10 } } };
	uint8_t listed[TRIMS_BYTES_MAX];
	struct loaded loaded;
	bool more;

	must(record_load(file, &loaded));
	if (trim_end > 0) {
		loaded.record.trim_job = 1;
		loaded.record.content = trims_encode(&trims, listed);
	}
	must(content_gather(file, &loaded.record, &gather, &extents, &more));
	assert_int_equal(extents.count, count);
	if (count > 0)
		assert_int_equal(extents.list[0].first, first);
	assert_int_equal(more, want_more);
	extents_free(&extents);
}

static void
gathers_what_overlaps(void **state)
{
	static const uint64_t teeth[] = { 6, 100 }; /* in the record, in a tree */
	struct world world;

	(void)state;
	world_init(&world, 16 * MIB, 0, 1);
	for (size_t i = 0; i < ARRAY_COUNT(teeth); i++) {
		struct cop_object *file = world_comb(&world, teeth[i]);

		expect_gathered(
			file, (struct gather){ .first = 0, .end = 11, .max = 10 }, 0, 6, 0, false);
		expect_gathered(
			file, (struct gather){ .first = 3, .end = 8, .max = 10 }, 0, 2, 4, false);
		expect_gathered(
			file, (struct gather){ .first = 3, .end = 8, .max = 1 }, 0, 1, 4, true);
		expect_gathered(
			file, (struct gather){ .first = 5, .end = 6, .max = 1 }, 0, 0, 0, false);

		if (teeth[i] < 10) {
			cop_release(file);
			continue;
		}
		/* What is being freed does not count, unless asked for. */
		expect_gathered(
			file, (struct gather){ .first = 0, .end = 11, .max = 10 }, 7, 2, 8, false);
		expect_gathered(file,
			(struct gather){ .first = 0, .end = 11, .max = 10, .unmasked = true }, 7, 6,
			0, false);
		cop_release(file);
	}
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gathers_what_overlaps),
	};

	world_writes_through = true;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
