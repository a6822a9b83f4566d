#include "world.h"

static void
finds_every_flipped_copy(void **state)
{
	struct superblock newest;
	struct superblock previous;
	struct geometry geometry;
	struct world *w = world_open_closed(&newest, &previous, &geometry);

	(void)state;
	assert_int_equal(geometry_superblock_places(&geometry), 4);
	for (uint32_t place = 0; place < 4; place++) {
		uint64_t addr = geometry_superblock(&geometry, place, newest.slot);

		world_flip(w, addr);
		world_expect_one(w, COP_PROBLEM_SUPERBLOCK, 0, "of the newest superblock");
		assert_int_equal(w->found[0].block, addr);
		world_flip(w, addr);

		addr = geometry_superblock(&geometry, place, previous.slot);
		world_flip(w, addr);
		world_expect_one(w, COP_PROBLEM_SUPERBLOCK, 0, "of the previous superblock");
		assert_int_equal(w->found[0].block, addr);
		world_flip(w, addr);
	}
	world_expect_none(w);
	world_free(w);
}

/* One flipped in all places: the one before is the newest, and its predecessor is not asked for. */
static void
says_when_the_superblock_before_is_lost(void **state)
{
	struct superblock newest;
	struct superblock previous;
	struct geometry geometry;
	struct world *w = world_open_closed(&newest, &previous, &geometry);

	(void)state;
	for (uint32_t place = 0; place < 4; place++)
		world_flip(w, geometry_superblock(&geometry, place, previous.slot));
	world_expect_one(w, COP_PROBLEM_SUPERBLOCK, 0, "no copy of the superblock before");
	world_free(w);
}

/* What a crash leaves between the writes of the copies. */
static void
accepts_a_copy_that_was_not_written_yet(void **state)
{
	struct superblock newest;
	struct superblock previous;
	struct geometry geometry;
	struct world *w = world_open_closed(&newest, &previous, &geometry);
	struct superblock old = previous;
	uint8_t block[BLOCK_BYTES] = { 0 };

	(void)state;
	must(sim_poke(w->medium, geometry_superblock(&geometry, 2, newest.slot), block));
	old.generation = 1;
	old.previous_generation = 0;
	old.catalog = (struct tree_root){ 0 };
	old.allocation = (struct space_descriptor){ 0 };
	old.slot = newest.slot;
	old.place = 3;
	superblock_encode(&old, block);
	must(sim_poke(w->medium, geometry_superblock(&geometry, 3, newest.slot), block));
	world_expect_none(w);
	world_free(w);
}

static void
finds_copies_that_differ(void **state)
{
	struct superblock newest;
	struct superblock previous;
	struct geometry geometry;
	struct world *w = world_open_closed(&newest, &previous, &geometry);
	struct superblock other = newest;
	uint8_t block[BLOCK_BYTES] = { 0 };

	(void)state;
	other.checkpoint_ns++;
	other.place = 2;
	superblock_encode(&other, block);
	must(sim_poke(w->medium, geometry_superblock(&geometry, 2, newest.slot), block));
	world_expect_one(w, COP_PROBLEM_SUPERBLOCK, 0, "differs from the copy that is used");
	other = newest;
	other.place = 2;
	superblock_encode(&other, block);
	block[2000] = 1;
	must(sim_poke(w->medium, geometry_superblock(&geometry, 2, newest.slot), block));
	world_expect_one(w, COP_PROBLEM_SUPERBLOCK, 0, "not zero");
	world_free(w);
}

static void
judges_every_field_that_can_be_judged(void **state)
{
	struct superblock newest;
	struct superblock previous;
	struct geometry geometry;
	struct world *w = world_open_closed(&newest, &previous, &geometry);
	struct superblock sb;

	(void)state;
	sb = newest;
	sb.shares = sb.catalog;
	world_put_superblock(w, &sb);
	world_check(w);
	(void)world_expect_among(w, COP_PROBLEM_SUPERBLOCK, 0, "nothing was ever shared");
	sb = newest;
	sb.free_blocks--;
	world_put_superblock(w, &sb);
	world_expect_one(w, COP_PROBLEM_ALLOCATION, 0, "the allocation tree");
	sb = newest;
	sb.objects++;
	world_put_superblock(w, &sb);
	world_expect_one(w, COP_PROBLEM_STRUCTURE, 0, "objects, there are");
	sb = newest;
	sb.next_job = previous.next_job - 1;
	world_put_superblock(w, &sb);
	world_check(w);
	assert_true(w->result.problems > 0);
	sb = newest;
	sb.next_branch = 1;
	world_put_superblock(w, &sb);
	world_check(w);
	(void)world_expect_among(w, COP_PROBLEM_SUPERBLOCK, 0, "a counter of the superblock is");
	world_put_superblock(w, &newest);
	sb = previous;
	sb.name_seed++;
	world_put_superblock(w, &sb);
	world_expect_one(w, COP_PROBLEM_SUPERBLOCK, 0, "differ in what never changes");
	world_put_superblock(w, &previous);
	world_expect_none(w);
	world_free(w);
}

static void
finds_damaged_parameters(void **state)
{
	struct superblock newest;
	struct superblock previous;
	struct geometry geometry;
	struct world *w = world_open_closed(&newest, &previous, &geometry);
	bool found = false;

	(void)state;
	for (uint64_t ag = 0; ag < geometry.ag_count; ag++) {
		uint8_t block[BLOCK_BYTES];
		uint64_t addr = ag * geometry.ag_blocks;

		if (geometry_has_ring(&geometry, ag))
			continue;
		must(sim_peek(w->medium, addr, block));
		if (block[0] == 0)
			continue; /* never written */
		world_flip(w, addr);
		world_expect_one(w, COP_PROBLEM_SUPERBLOCK, 0, "the format's parameters");
		assert_int_equal(w->found[0].block, addr);
		world_flip(w, addr);
		found = true;
	}
	assert_true(found);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_every_flipped_copy),
		cmocka_unit_test(says_when_the_superblock_before_is_lost),
		cmocka_unit_test(accepts_a_copy_that_was_not_written_yet),
		cmocka_unit_test(finds_copies_that_differ),
		cmocka_unit_test(judges_every_field_that_can_be_judged),
		cmocka_unit_test(finds_damaged_parameters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
