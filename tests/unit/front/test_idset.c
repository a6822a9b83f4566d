#include "front/cli/idset.h"

#include "front/cli/text.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

enum { KEYS = 500, SPACES = 2, STEPS = 20000 };

/* Numbers as they come on a disk: near each other, some far. */
static uint64_t
number_of(uint32_t key)
{
	return key % 3 == 0 ? (uint64_t)key << 32 : key;
}

static void
holds_what_a_plain_table_holds(void **state)
{
	bool model[SPACES][KEYS] = { 0 };
	struct idset set = { 0 };
	uint32_t random = 1;
	size_t count = 0;

	(void)state;
	for (int step = 0; step < STEPS; step++) {
		uint32_t space;
		uint32_t key;
		struct idset_row *row;

		random = random * 1664525 + 1013904223;
		space = random >> 20 & 1;
		key = (random >> 8) % KEYS;
		row = idset_find(&set, space, number_of(key));
		assert_true(!row == !model[space][key]);
		if (row) {
			assert_int_equal(row->copy_number, 1000 * space + key);
			idset_remove(&set, row);
			count--;
		} else {
			row = idset_insert(&set, space, number_of(key));
			assert_int_equal(row->names_left, 0);
			row->copy_number = 1000 * space + key;
			row->place = need_format("%u", key);
			count++;
		}
		model[space][key] = !model[space][key];
		assert_int_equal(set.count, count);
	}
	for (uint32_t space = 0; space < SPACES; space++) {
		for (uint32_t key = 0; key < KEYS; key++)
			assert_true(!idset_find(&set, space, number_of(key)) == !model[space][key]);
	}
	idset_fini(&set);
	assert_null(idset_find(&set, 0, 1));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holds_what_a_plain_table_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
