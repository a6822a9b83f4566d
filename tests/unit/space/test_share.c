#include "space/share.h"

#include "base/num.h"
#include "support/alloc.h"
#include "tree/world.h"

#include <stdlib.h>

enum { NODE = 4096, BLOCKS = 3000, SPREAD = 64 };

/* A share tree, and how often each block is referred to beyond once. */
struct counted {
	struct world *w;
	struct tree tree;
	uint32_t extra[BLOCKS];
};

static void
counted_init(struct counted *c)
{
	*c = (struct counted){ .w = world_open(NODE, 2, 16 << 20) };
	c->tree = world_tree(c->w, TREE_SHARES);
}

/* As a checkpoint does it. */
static int
carry_out(struct counted *c, const struct share_change *changes, size_t count)
{
	struct world *w = c->w;
	uint64_t worst = share_nodes_worst(count, c->tree.root.levels, NODE);
	struct share_plan plan;
	struct tree_pins pins;
	int err = share_plan_make(&c->tree, changes, count, &plan);

	if (err)
		return err;
	tree_pins_init(&pins, w->cache);
	err = cache_reserve(w->cache, 1, (uint32_t)worst);
	if (err == 0)
		err = share_plan_prepare(&plan, &c->tree, &pins);
	if (err == 0) {
		uint32_t before = w->new_nodes;

		gate_enter_exclusive(w->gate);
		assert_true(share_plan_is_prepared(&plan, &c->tree, &pins));
		share_plan_apply(&plan, &c->tree);
		tree_assert_sound(&c->tree);
		gate_leave_exclusive(w->gate);
		assert_true(w->new_nodes - before <= worst);
		cache_unreserve(w->cache, 1, (uint32_t)worst - (w->new_nodes - before));
	}
	tree_pins_release(&pins);
	share_plan_free(&plan);
	return err;
}

struct seen {
	const struct counted *c;
	uint64_t next; /* ranges begin here or later */
	uint32_t last_extra;
	uint32_t ranges;
};

static bool
see(void *context, struct view key, struct view value)
{
	struct seen *seen = context;
	struct share_range range;

	assert_int_equal(share_decode(key, value, &range), 0);
	assert_true(range.addr >= seen->next);
	assert_true(range.addr > seen->next || range.extra != seen->last_extra);
	for (uint64_t block = seen->next; block < range.addr; block++)
		assert_int_equal(seen->c->extra[block], 0);
	for (uint64_t block = range.addr; block < share_end(&range); block++)
		assert_int_equal(seen->c->extra[block], range.extra);
	seen->next = share_end(&range);
	seen->last_extra = range.extra;
	seen->ranges++;
	return true;
}

/* The tree says exactly what the array says, in as few ranges as can be. */
static uint32_t
expect(struct counted *c)
{
	struct seen seen = { .c = c, .next = 0 };

	assert_int_equal(tree_scan(&c->tree, view_of(NULL, 0), 0, see, &seen), 0);
	for (uint64_t block = seen.next; block < BLOCKS; block++)
		assert_int_equal(c->extra[block], 0);
	return seen.ranges;
}

static void
change(struct counted *c, const struct share_change *changes, size_t count)
{
	assert_int_equal(carry_out(c, changes, count), 0);
	for (size_t i = 0; i < count; i++) {
		for (uint64_t at = 0; at < changes[i].blocks; at++)
			c->extra[changes[i].addr + at] += (uint32_t)changes[i].change;
	}
}

static void
keeps_ranges_as_few_as_can_be(void **state)
{
	struct counted c;

	(void)state;
	counted_init(&c);
	change(&c, &(struct share_change){ 100, 10, 1 }, 1);
	assert_int_equal(expect(&c), 1);
	change(&c, &(struct share_change){ 110, 10, 1 }, 1); /* goes on where that one ends */
	assert_int_equal(expect(&c), 1);
	change(&c, &(struct share_change){ 90, 10, 1 }, 1);
	assert_int_equal(expect(&c), 1);
	change(&c, &(struct share_change){ 104, 2, 1 }, 1); /* parts it */
	assert_int_equal(expect(&c), 3);
	change(&c, &(struct share_change){ 104, 2, -1 }, 1); /* and whole again */
	assert_int_equal(expect(&c), 1);
	change(&c, &(struct share_change){ 90, 30, -1 }, 1);
	assert_int_equal(expect(&c), 0);
	assert_int_equal(c.tree.root.levels, 0);
	world_close(c.w);
}

static int
compare_changes(const void *a, const void *b)
{
	const struct share_change *x = a;
	const struct share_change *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

/* Batches of changes that are apart from each other, of which none leaves less than nothing. */
static size_t
choose(struct counted *c, struct rng *rng, struct share_change *changes, size_t max)
{
	size_t count = 0;
	size_t kept = 0;

	for (size_t i = 0; i < max; i++) {
		uint64_t addr = 1 + rng_below(rng, BLOCKS - SPREAD - 1);
		uint64_t blocks = 1 + rng_below(rng, rng_below(rng, 4) == 0 ? SPREAD : 3);
		int64_t by = 1;

		if (rng_below(rng, 2) == 0 && c->extra[addr] > 0) {
			uint64_t same = 1;

			while (same < blocks && c->extra[addr + same] > 0)
				same++;
			blocks = same;
			by = -1;
		}
		changes[count++] = (struct share_change){ addr, blocks, by };
	}
	qsort(changes, count, sizeof changes[0], compare_changes);
	for (size_t i = 0; i < count; i++) {
		if (kept == 0 ||
			changes[i].addr >= changes[kept - 1].addr + changes[kept - 1].blocks)
			changes[kept++] = changes[i];
	}
	return kept;
}

static void
agrees_with_an_array_at_random(void **state)
{
	struct counted c;
	struct rng rng;

	(void)state;
	counted_init(&c);
	rng_seed(&rng, 99);
	for (int i = 0; i < 400; i++) {
		struct share_change changes[24];

		change(&c, changes, choose(&c, &rng, changes, 1 + rng_below(&rng, 24)));
		if (i % 10 == 0)
			expect(&c);
		if (i % 40 == 0) {
			world_checkpoint(c.w);
			world_forget(c.w);
		}
	}
	assert_int_equal(c.tree.root.levels, 2);
	for (uint64_t block = 0; block < BLOCKS; block++) {
		while (c.extra[block] > 0)
			change(&c, &(struct share_change){ block, 1, -1 }, 1);
	}
	assert_int_equal(c.tree.root.levels, 0);
	world_close(c.w);
}

/*
 * What a checkpoint relies on: going through the list in ascending order, some at a time, takes no
 * more nodes than everything at once would at the worst, though the tree grows; and with what one
 * change takes beside it there is always enough for the next.
 */
static void
rounds_take_no_more_than_all_at_once(void **state)
{
	enum { GENERATIONS = 60, CHANGES_MAX = 900, ROUND_MAX = 16, GROWTH = 2 };
	static struct share_change changes[CHANGES_MAX];
	struct counted c;
	struct rng rng;

	(void)state;
	counted_init(&c);
	rng_seed(&rng, 7);
	for (int i = 0; i < GENERATIONS; i++) {
		size_t count = choose(&c, &rng, changes, 1 + rng_below(&rng, CHANGES_MAX));
		uint8_t ahead = share_levels_ahead(c.tree.root.levels, GROWTH, BLOCKS, NODE);
		uint64_t left = share_nodes_worst(count, c.tree.root.levels, NODE) +
				share_nodes_worst(1, ahead, NODE);
		uint64_t most = 1 + rng_below(&rng, ROUND_MAX);

		if (i % 10 == 9) { /* all of it goes */
			count = 0;
			for (uint64_t block = 0; block < BLOCKS && count < CHANGES_MAX; block++) {
				if (c.extra[block] > 0)
					changes[count++] = (struct share_change){ block, 1,
						-(int64_t)c.extra[block] };
			}
			left = share_nodes_worst(count, c.tree.root.levels, NODE) +
			       share_nodes_worst(1, ahead, NODE);
		}
		for (size_t done = 0; done < count; done += most) {
			uint32_t before = c.w->new_nodes;

			assert_true(share_nodes_worst(1, c.tree.root.levels, NODE) <= left);
			change(&c, changes + done, min_u64(most, count - done));
			assert_true(c.w->new_nodes - before <= left);
			left -= c.w->new_nodes - before;
		}
		assert_true(left >= share_nodes_worst(1, ahead, NODE));
		expect(&c);
		world_checkpoint(c.w);
		if (i % 3 == 0)
			world_forget(c.w);
	}
	world_close(c.w);
}

static void
so_many_and_others_take_no_more_than_each_for_itself(void **state)
{
	(void)state;
	for (uint8_t levels = 0; levels < 5; levels++) {
		for (uint64_t a = 1; a < 3000; a += a < 50 ? 1 : 37) {
			for (uint64_t b = a; b < 3000; b += b < 50 ? 1 : 41)
				assert_true(share_nodes_worst(a + b, levels, NODE) <=
					    share_nodes_worst(a, levels, NODE) +
						    share_nodes_worst(b, levels, NODE));
		}
	}
}

static void
knows_how_high_a_tree_may_grow(void **state)
{
	(void)state;
	assert_int_equal(share_levels_ahead(0, 1, 100, NODE), 1);
	assert_int_equal(share_levels_ahead(1, 1, 100, NODE), 1); /* so few blocks */
	assert_int_equal(share_levels_ahead(1, 1, 2048, NODE), 2);
	assert_int_equal(share_levels_ahead(1, 5, 2048, NODE), 2);
	assert_int_equal(share_levels_ahead(3, 1, 2048, NODE), 3); /* though it is */
	assert_int_equal(share_levels_ahead(2, 1, 1 << 20, NODE), 3);
}

static void
looks_up_what_covers_a_range(void **state)
{
	struct share_ranges ranges = { 0 };
	struct counted c;
	uint64_t end;

	(void)state;
	counted_init(&c);
	change(&c, &(struct share_change){ 100, 10, 1 }, 1);
	change(&c, &(struct share_change){ 120, 10, 4 }, 1);
	assert_int_equal(share_look(&c.tree, 50, 50, &ranges), 0);
	assert_int_equal(ranges.count, 0);
	assert_int_equal(share_ranges_at(&ranges, 70, &end), 0);
	assert_true(end == UINT64_MAX);
	assert_int_equal(share_look(&c.tree, 109, 12, &ranges), 0);
	assert_int_equal(ranges.count, 2);
	assert_int_equal(share_ranges_at(&ranges, 99, &end), 0);
	assert_int_equal(end, 100);
	assert_int_equal(share_ranges_at(&ranges, 100, &end), 1);
	assert_int_equal(end, 110);
	assert_int_equal(share_ranges_at(&ranges, 110, &end), 0);
	assert_int_equal(end, 120);
	assert_int_equal(share_ranges_at(&ranges, 129, &end), 4);
	assert_int_equal(end, 130);
	share_ranges_free(&ranges);
	world_close(c.w);
}

static void
refuses_a_count_below_one(void **state)
{
	struct share_change change_below = { 100, 10, -1 };
	struct share_plan plan;
	struct counted c;

	(void)state;
	counted_init(&c);
	assert_int_equal(share_plan_make(&c.tree, &change_below, 1, &plan), COP_EFORMAT);
	change(&c, &(struct share_change){ 100, 9, 1 }, 1);
	assert_int_equal(share_plan_make(&c.tree, &change_below, 1, &plan), COP_EFORMAT);
	world_close(c.w);
}

/* Entries that make no sense, or overlap, are told, and nothing is made of them. */
static void
refuses_a_tree_that_makes_no_sense(void **state)
{
	struct share_change sample = { 100, 10, 1 };
	struct share_range range = { 95, 10, 1 };
	struct share_range over = { 100, 10, 1 };
	uint8_t key[SHARE_KEY_BYTES];
	uint8_t value[SHARE_VALUE_BYTES];
	struct share_plan plan;
	struct counted c;

	(void)state;
	counted_init(&c);
	share_encode(&range, value);
	world_put(
		c.w, &c.tree, share_key(share_end(&range) - 1, key), view_of(value, sizeof value));
	share_encode(&over, value);
	world_put(c.w, &c.tree, share_key(share_end(&over) - 1, key), view_of(value, sizeof value));
	assert_int_equal(share_plan_make(&c.tree, &sample, 1, &plan), COP_EFORMAT);
	world_put(c.w, &c.tree, share_key(104, key), view_of(value, 3));
	assert_int_equal(share_plan_make(&c.tree, &sample, 1, &plan), COP_EFORMAT);
	world_close(c.w);
}

static void
survives_every_failing_allocation(void **state)
{
	struct counted c;

	(void)state;
	counted_init(&c);
	change(&c, &(struct share_change){ 100, 10, 1 }, 1);
	world_checkpoint(c.w);
	for (uint64_t nth = 1;; nth++) {
		const struct share_change changes[] = { { 90, 12, 1 }, { 105, 20, 1 } };
		struct share_plan plan;
		uint64_t before;
		int err;

		alloc_fail_nth(nth);
		before = alloc_count();
		err = share_plan_make(&c.tree, changes, ARRAY_COUNT(changes), &plan);
		before = alloc_count() - before;
		alloc_fail_nth(0);
		assert_true(err == 0 || err == COP_ENOMEM);
		if (err == 0)
			share_plan_free(&plan);
		if (before < nth)
			break;
	}
	expect(&c);
	world_close(c.w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_ranges_as_few_as_can_be),
		cmocka_unit_test(agrees_with_an_array_at_random),
		cmocka_unit_test(rounds_take_no_more_than_all_at_once),
		cmocka_unit_test(so_many_and_others_take_no_more_than_each_for_itself),
		cmocka_unit_test(knows_how_high_a_tree_may_grow),
		cmocka_unit_test(looks_up_what_covers_a_range),
		cmocka_unit_test(refuses_a_count_below_one),
		cmocka_unit_test(refuses_a_tree_that_makes_no_sense),
		cmocka_unit_test(survives_every_failing_allocation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
