#include "base/random.h"
#include "volume/tx_internal.h"
#include "world.h"

#include <stdarg.h>
#include <stddef.h>

#include <setjmp.h>

#include <cmocka.h>

/* The keys and values are as large as can be, so that nodes hold few of them and trees are high. */
static void
sixty_four_large_messages_fit_their_ticket(void **state)
{
	enum { KEY_BYTES = TREE_KEY_BYTES_MAX, ROUNDS = 30 };
	struct world world = { 0 };
	struct tree_name name = { .branch = BRANCH_MAIN, .kind = TREE_CONTENT };
	uint8_t key[KEY_BYTES];
	uint8_t value[4096];
	uint32_t value_bytes = tree_value_bytes_max(4096);
	struct rng rng;

	(void)state;
	memset(value, 5, sizeof value);
	rng_seed(&rng, 3);
	world_format(&world, 64 << 20, 4096);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		struct tx *tx;

		name.object = 100 + round % 2; /* an empty tree at first, a full one later */
		assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
		for (uint32_t i = 0; i < TX_MESSAGES_MAX; i++) {
			rng_bytes(&rng, key, sizeof key);
			key[0] = (uint8_t)(i * 4); /* in order or not */
			if (round % 3 == 0)
				key[0] = 0;
			assert_int_equal(tx_put(tx, name, view_of(key, sizeof key),
						 view_of(value, value_bytes)),
				0);
		}
		if (tx_commit(tx) != 0)
			fail_msg("round %u: %s", round, err_text());
	}
	world_end(&world);
}

/* Trees grow while a transaction waits: then it needs another ticket, which covers it. */
static void
a_ticket_that_was_outgrown_does_not_cover(void **state)
{
	struct tree_name name = { .branch = BRANCH_MAIN, .object = 100, .kind = TREE_CONTENT };
	struct world world = { 0 };
	const struct share_need need = { 0 };
	struct reservation before;
	struct reservation after;
	struct tx *tx;

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
	assert_int_equal(tx_put(tx, name, view_of("key", 3), view_of("x", 1)), 0);
	assert_int_equal(tx__open_trees(tx), 0);
	before = tx__worst_now(tx);
	for (uint64_t key = 0; key < 50; key++)
		assert_int_equal(world_put_content(&world, 100, key, 1, 400, true), 0);
	after = tx__worst_now(tx);
	assert_true(after.nodes > before.nodes);
	gate_enter_shared(world.volume->gate);
	assert_false(tx__is_covered(tx, &before, &need));
	assert_true(tx__is_covered(tx, &after, &need));
	gate_leave_shared(world.volume->gate);
	tx_abort(tx);
	world_end(&world);
}

/* Counts that were not known are covered by the next ticket. */
static void
a_ticket_covers_the_counts_that_were_found(void **state)
{
	const struct share_need need = { .adds = 30, .pieces = 20, .is_copying = true };
	struct world world = { 0 };
	struct reservation before;
	struct reservation after;
	struct tx *tx;

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(tx_begin(world.volume, &world.visit, true, &tx), 0);
	assert_int_equal(tx_delete(tx, world_objects, view_of("key", 3)), 0);
	assert_int_equal(tx__open_trees(tx), 0);
	tx__guess_need(tx);
	assert_int_equal(tx__draw_of(tx), DRAW_ALL);
	before = tx__worst_now(tx);
	gate_enter_shared(world.volume->gate);
	assert_false(tx__is_covered(tx, &before, &need));
	gate_leave_shared(world.volume->gate);
	after = tx__worst_now(tx);
	assert_int_equal(after.nodes, before.nodes);
	assert_int_equal(after.list_entries, before.list_entries + need.pieces);
	assert_true(after.blocks > before.blocks);
	gate_enter_shared(world.volume->gate);
	assert_true(tx__is_covered(tx, &after, &need));
	gate_leave_shared(world.volume->gate);
	assert_int_equal(tx__draw_of(tx), DRAW_NOTHING); /* it copies, and frees nothing */
	tx_abort(tx);
	world_end(&world);
}

static void
only_those_who_empty_draw_on_the_reserve(void **state)
{
	struct world world = { 0 };
	struct promise promise = { 0 };
	struct tx *tx;

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
	assert_int_equal(tx__draw_of(tx), DRAW_NOTHING);
	tx_use_promise(tx, &promise);
	assert_int_equal(tx__draw_of(tx), DRAW_ALL);
	tx_abort(tx);
	assert_int_equal(tx_begin(world.volume, &world.visit, true, &tx), 0);
	assert_int_equal(tx__draw_of(tx), DRAW_ALL);
	tx_may_grow(tx);
	assert_int_equal(tx__draw_of(tx), DRAW_GROWING);
	tx_abort(tx);
	world_end(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sixty_four_large_messages_fit_their_ticket),
		cmocka_unit_test(a_ticket_that_was_outgrown_does_not_cover),
		cmocka_unit_test(a_ticket_covers_the_counts_that_were_found),
		cmocka_unit_test(only_those_who_empty_draw_on_the_reserve),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
