#include "space/share_list.h"

#include "base/random.h"
#include "support/alloc.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { BLOCKS = 300 };

static void
add(struct share_list *list, uint64_t addr, uint64_t blocks, int64_t change)
{
	struct share_spares spares = { 0 };

	assert_int_equal(share_spares_fill(&spares, SHARE_POINTS_OF_ADD), 0);
	share_list_add(list, &spares, addr, blocks, change);
	share_list_assert_sound(list);
	share_spares_free(&spares);
}

/* Every block by every way of asking, against a plain array. */
static void
expect(const struct share_list *list, const int *model)
{
	struct share_change change;
	uint64_t end;

	for (uint64_t block = 0; block < BLOCKS; block++) {
		uint64_t next = block;

		assert_int_equal(share_list_at(list, block, &end), model[block]);
		assert_true(end > block);
		for (uint64_t same = block; same < end && same < BLOCKS; same++)
			assert_int_equal(model[same], model[block]);
		if (end < BLOCKS)
			assert_int_not_equal(model[end], model[block]);

		while (next < BLOCKS && model[next] == 0)
			next++;
		if (next == BLOCKS) {
			assert_false(share_list_next(list, block, &change));
			continue;
		}
		assert_true(share_list_next(list, block, &change));
		assert_int_equal(change.addr, next);
		assert_int_equal(change.change, model[next]);
		assert_true(change.addr + change.blocks >= BLOCKS ||
			    model[change.addr + change.blocks] != model[next]);
	}
}

static void
counts_like_an_array(void **state)
{
	struct share_list list = { 0 };
	int model[BLOCKS] = { 0 };
	struct rng rng;

	(void)state;
	rng_seed(&rng, 4711);
	for (int i = 0; i < 600; i++) {
		uint64_t addr = rng_below(&rng, BLOCKS - 1);
		uint64_t blocks = 1 + rng_below(&rng, BLOCKS - addr - 1);
		int change = rng_below(&rng, 2) == 0 ? 1 : -1;

		if (rng_below(&rng, 3) != 0)
			blocks = 1 + blocks % 5;
		add(&list, addr, blocks, change);
		for (uint64_t block = addr; block < addr + blocks; block++)
			model[block] += change;
		if (i % 20 == 0)
			expect(&list, model);
	}
	share_list_free(&list);
	assert_int_equal(list.count, 0);
}

static void
keeps_nothing_of_what_was_gained_and_lost(void **state)
{
	struct share_list list = { 0 };

	(void)state;
	add(&list, 10, 5, 1);
	add(&list, 15, 5, 1); /* one range with the one before */
	assert_int_equal(list.count, 2);
	add(&list, 12, 2, 3);
	assert_int_equal(list.count, 4);
	add(&list, 12, 2, -3);
	assert_int_equal(list.count, 2);
	add(&list, 10, 10, -1);
	assert_int_equal(list.count, 0);
	assert_null(list.root);
}

static void
takes_no_more_than_two_points(void **state)
{
	struct share_list list = { 0 };
	struct share_spares spares = { 0 };

	(void)state;
	assert_int_equal(share_spares_fill(&spares, 2), 0);
	share_list_add(&list, &spares, 100, 50, 1);
	assert_int_equal(spares.count, 0);
	share_list_add(&list, &spares, 100, 50, -1); /* and gives them back */
	assert_int_equal(spares.count, 2);
	share_spares_free(&spares);
}

static void
fails_when_there_is_no_memory(void **state)
{
	struct share_spares spares = { 0 };

	(void)state;
	alloc_fail_nth(3);
	assert_int_equal(share_spares_fill(&spares, 5), COP_ENOMEM);
	alloc_fail_nth(0);
	assert_int_equal(spares.count, 2);
	share_spares_free(&spares);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_like_an_array),
		cmocka_unit_test(keeps_nothing_of_what_was_gained_and_lost),
		cmocka_unit_test(takes_no_more_than_two_points),
		cmocka_unit_test(fails_when_there_is_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
