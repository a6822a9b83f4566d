#include "space/space_internal.h"

#include "base/num.h"
#include "support/alloc.h"
#include "unit/space/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

enum { AGS = 70 };

static void
reopen(struct world *world)
{
	world_close(world);
	world_open(world);
}

static void
claim(struct world *world, struct run run)
{
	assert_int_equal(space_claim(world->space, run), 0);
	for (uint64_t i = run.addr; i < run.addr + run.blocks; i++) {
		world->blocks[i].reserved = true;
		world->blocks[i].awaiting = false;
	}
}

static void
unclaim(struct world *world, struct run run)
{
	space_unclaim(world->space, run);
	for (uint64_t i = run.addr; i < run.addr + run.blocks; i++)
		world->blocks[i].reserved = false;
}

/* To the model, what is held was freed in N's period. */
static void
hold(struct world *world, struct run run)
{
	assert_int_equal(space_hold(world->space, run), 0);
	for (uint64_t i = run.addr; i < run.addr + run.blocks; i++) {
		struct world_block *block = &world->blocks[i];

		if (block->fixed || block->used || block->reserved || block->awaiting)
			continue;
		block->awaiting = true;
		block->freed_period = world->durable_period;
	}
}

/* Blocks that may be allocated, from `addr` on in its AG. */
static uint32_t
free_from(const struct world *world, uint64_t addr)
{
	uint32_t count = 0;

	for (uint64_t i = addr; i < world->geometry.blocks &&
				i / world->geometry.ag_blocks == addr / world->geometry.ag_blocks;
		i++, count++) {
		const struct world_block *block = &world->blocks[i];

		if (block->fixed || block->used || block->reserved || block->awaiting)
			break;
	}
	return count;
}

/* The first block of `ag` that may be allocated, after some. */
static uint64_t
free_block(struct world *world, uint64_t ag)
{
	uint64_t addr = ag * world->geometry.ag_blocks + 30;

	while (free_from(world, addr) == 0)
		addr++;
	return addr;
}

/* ---- Claiming ------------------------------------------------------------------------------- */

static void
claims_exactly_the_run(void **state)
{
	struct world world;
	struct run run;

	(void)state;
	world_init_ags(&world, AGS, 4, 1);
	world_touch_all(&world);
	world_checkpoint(&world);
	reopen(&world);
	run = (struct run){ free_block(&world, 40), 1 };
	claim(&world, run);
	world_judge_counters(&world);

	/* Nobody else gets it, and it goes the way of all that was handed out. */
	world_fill(&world, 64);
	world_use(&world, run);
	world_judge_counters(&world);
	world_checkpoint(&world);
	world_judge_bitmaps(&world, &world.newest);
	reopen(&world);
	world_judge_counters(&world);
	world_empty(&world);
	world_judge_counters(&world);
	world_judge_bitmaps(&world, &world.newest);
	world_fini(&world);
}

static void
claims_without_an_admission(void **state)
{
	struct world world;
	struct run run = { 0 };
	uint64_t available;

	(void)state;
	world_init(&world, 2048, 1, 1);
	available = space_available_blocks(world.space);
	run = (struct run){ 1000, 20 };
	claim(&world, run);
	claim(&world, (struct run){ 0 });
	assert_int_equal(space_available_blocks(world.space), available - 20);
	unclaim(&world, (struct run){ 0 });
	unclaim(&world, run);
	assert_int_equal(space_available_blocks(world.space), available);
	world_judge_counters(&world);
	assert_true(world_take_near(&world, 1000, 20, &run));
	assert_int_equal(run.addr, 1000);
	world_fini(&world);
}

static void
refuses_what_is_not_free(void **state)
{
	struct world world;
	struct run used;
	struct run freed;
	struct run taken;

	(void)state;
	world_init(&world, 2048, 1, 1);
	assert_true(world_take_near(&world, 1030, 10, &used));
	world_use(&world, used);
	assert_true(world_take_near(&world, 1300, 10, &freed));
	world_use(&world, freed);
	world_checkpoint(&world);
	world_release(&world, freed);
	world_checkpoint(&world);
	reopen(&world);
	assert_true(world_take_near(&world, 1060, 10, &taken));
	claim(&world, (struct run){ 1100, 10 });
	hold(&world, (struct run){ 1120, 10 });

	const struct run bad[] = {
		{ 0, 1 },                   /* a superblock */
		{ 20, 5 },                  /* the journal */
		{ 256, 1 },                 /* the parameters of an AG */
		{ 1020, 10 },               /* over the border of two AGs */
		{ 2047, 2 },                /* past the end */
		{ 2048, 1 },                /* all of it */
		{ UINT64_MAX, UINT32_MAX }, /* and beyond */
		{ 300, UINT32_MAX },        /* or too long */
		{ used.addr, used.blocks }, /* used */
		{ used.addr - 1, 2 },       /* used in part */
		{ used.addr + 9, 2 },       /* at the other end */
		{ taken.addr + 5, 1 },      /* handed out */
		{ 1100, 10 },               /* claimed */
		{ 1095, 20 },               /* around what is claimed */
	};

	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		assert_int_equal(space_claim(world.space, bad[i]), COP_EFORMAT);
		world_judge_counters(&world);
	}
	claim(&world, (struct run){ 1110, 10 }); /* between the two */
	world_judge_counters(&world);
	/* A successor of N had been durable: what N waited for was handed out. */
	claim(&world, freed);
	claim(&world, (struct run){ 1125, 10 }); /* held in part */
	world_judge_counters(&world);
	world_fini(&world);
}

/* Damage closes an AG: what lies there is left alone, and nothing counts it. */
static void
leaves_a_damaged_group_alone(void **state)
{
	struct world world;
	struct run run = { 30 * 256 + 50, 10 };
	uint64_t free_blocks;

	(void)state;
	world_init_ags(&world, AGS, 1, 1);
	world_touch_all(&world);
	world_checkpoint(&world);
	for (uint32_t slot = 0; slot < SPACE_SLOTS; slot++)
		assert_int_equal(sim_flip_bit(world.medium,
					 geometry_space_block(&world.geometry, 0, 30, slot), 1),
			0);
	reopen(&world);
	assert_int_equal(space_hold(world.space, run), 0);
	free_blocks = space_free_blocks(world.space);
	assert_int_equal(space_claim(world.space, run), 0);
	assert_int_equal(space_claim(world.space, run), 0);
	space_unclaim(world.space, run);
	assert_int_equal(space_reserve_lists(world.space, 2), 0);
	space_use(world.space, run);
	assert_int_equal(space_free_blocks(world.space), free_blocks);
	assert_int_equal(space_pending_blocks(world.space), 0);
	for (int i = 0; i < 3; i++) {
		uint64_t free_at_freeze;
		uint64_t awaiting;
		struct space_descriptor root;

		if (i == 1)
			space_release(world.space, run);
		space_freeze(world.space, ++world.open_generation, &free_at_freeze, &awaiting);
		assert_int_equal(space_write(world.space, &root), 0);
		space_durable(world.space, NULL, NULL);
		space_check(world.space);
		if (i == 0)
			assert_int_equal(free_at_freeze, root.free_blocks);
	}
	assert_int_equal(space_closed_ags(world.space), 1);
	assert_int_equal(space_free_blocks(world.space), free_blocks);
	world_fini(&world);
}

/* The next opening may read the bitmap, and must then find that the journal's blocks are used. */
static void
waits_for_a_device_that_fails_to_read(void **state)
{
	struct world world;
	struct sim_fault fault = { .kind = SIM_FAIL_READ, .blocks = 3, .persistent = true };

	(void)state;
	world_init_ags(&world, AGS, 1, 1);
	world_touch_all(&world);
	world_checkpoint(&world);
	fault.addr = geometry_space_block(&world.geometry, 0, 9, 0);
	assert_int_equal(sim_add_fault(world.medium, &fault), 0);
	reopen(&world);
	assert_int_equal(space_claim(world.space, (struct run){ 9 * 256 + 50, 10 }), COP_EIO);
	assert_int_equal(space_hold(world.space, (struct run){ 9 * 256 + 50, 10 }), 0);
	space_check(world.space);
	world_fini(&world);
}

/* Where nobody knows what P uses, the journal is the better witness. */
static void
claims_where_the_previous_bitmap_is_lost(void **state)
{
	struct world world;
	struct run run;
	struct run other;
	uint64_t pending_blocks;

	(void)state;
	world_init_ags(&world, AGS, 1, 1);
	world_touch_all(&world);
	world_checkpoint(&world);
	world_touch_all(&world);
	world_checkpoint(&world);
	for (uint32_t slot = 0; slot < SPACE_SLOTS; slot++) {
		uint64_t addr = geometry_space_block(&world.geometry, 0, 20, slot);

		if (slot != space__ag_entry(space__peek_ag(world.space, 20))->descriptor.slot)
			assert_int_equal(sim_flip_bit(world.medium, addr, 5), 0);
	}
	reopen(&world);
	run = (struct run){ 20 * 256 + 30, 10 };
	claim(&world, run);
	space_check(world.space);
	pending_blocks = space_pending_blocks(world.space);
	assert_int_equal(space_claim(world.space, run), COP_EFORMAT);

	/* Given back, it waits with the others. */
	unclaim(&world, run);
	space_check(world.space);
	assert_int_equal(space_pending_blocks(world.space), pending_blocks + 10);
	claim(&world, run);
	assert_int_equal(space_pending_blocks(world.space), pending_blocks);
	world_use(&world, run);
	assert_int_equal(space_hold(world.space, (struct run){ 20 * 256, 256 }), 0);
	assert_int_equal(space_pending_blocks(world.space), pending_blocks);
	space_check(world.space);

	world_checkpoint(&world);
	world_judge_counters(&world);
	world_judge_bitmaps(&world, &world.newest);
	assert_true(world_take_near(&world, 20 * 256 + 40, 10, &other));
	assert_int_equal(other.addr, 20 * 256 + 40);
	claim(&world, (struct run){ 20 * 256 + 60, 10 });
	unclaim(&world, (struct run){ 20 * 256 + 60, 10 });
	world_judge_counters(&world);
	world_fini(&world);
}

/* ---- Holding -------------------------------------------------------------------------------- */

static void
holds_until_the_next_superblock(void **state)
{
	struct world world;
	struct run used;

	(void)state;
	world_init(&world, 2048, 4, 1);
	assert_true(world_take_near(&world, 1100, 10, &used));
	world_use(&world, used);
	world_checkpoint(&world);
	world_checkpoint(&world);
	reopen(&world);
	claim(&world, (struct run){ 1200, 5 });
	hold(&world, (struct run){ 1090, 200 }); /* in part used, in part claimed, and a border */
	hold(&world, (struct run){ 1150, 500 });
	hold(&world, (struct run){ 1150, 0 });
	assert_true(space_pending_blocks(world.space) > 500);
	world_judge_counters(&world);
	world_fill(&world, 64);
	world_judge_counters(&world);
	world_use(&world, (struct run){ 1200, 5 });

	world_freeze(&world);
	world_judge_counters(&world);
	world_write(&world);
	world_judge_counters(&world);
	world_durable(&world);
	world_judge_counters(&world);
	assert_int_equal(space_pending_blocks(world.space), 0);
	world_fill(&world, 64);
	world_checkpoint(&world);
	world_judge_bitmaps(&world, &world.newest);
	world_fini(&world);
}

static void
gives_up_what_the_previous_checkpoint_kept(void **state)
{
	struct world world;
	uint64_t free_blocks;

	(void)state;
	world_init(&world, 2048, 1, 1);
	world_checkpoint(&world);
	reopen(&world);
	free_blocks = space_available_blocks(world.space);
	hold(&world, (struct run){ 1120, 10 });
	assert_int_equal(space_available_blocks(world.space), free_blocks - 10);
	assert_true(space_give_up_previous(world.space));
	assert_int_equal(space_available_blocks(world.space), free_blocks);
	assert_false(space_give_up_previous(world.space));
	world_fini(&world);
}

/* A volume with one checkpoint has no P; what is held is given back all the same. */
static void
holds_without_a_previous_checkpoint(void **state)
{
	struct world world;

	(void)state;
	world_init(&world, 2048, 1, 1);
	hold(&world, (struct run){ 0, 2048 });
	assert_int_equal(space_free_blocks(world.space), 0);
	world_judge_counters(&world);
	world_checkpoint(&world);
	world_judge_counters(&world);
	assert_int_equal(space_pending_blocks(world.space), 0);
	world_fini(&world);
}

/* What awaits release since N's period is counted once, whoever finds it. */
static void
counts_once_what_waits_already(void **state)
{
	struct world world;
	struct run runs[3];

	(void)state;
	world_init_ags(&world, AGS, 1, 1);
	for (uint32_t i = 0; i < 3; i++) {
		assert_true(world_take_near(&world, (10 + i) * 256 + 100, 20, &runs[i]));
		world_use(&world, runs[i]);
	}
	world_checkpoint(&world);
	for (uint32_t i = 0; i < 3; i++)
		world_release(&world, runs[i]);
	world_checkpoint(&world);
	reopen(&world);
	hold(&world, (struct run){ 10 * 256 + 90, 256 });
	world_judge_counters(&world);
	hold(&world, (struct run){ 12 * 256 + 110, 256 });
	world_judge_counters(&world);
	world_checkpoint(&world);
	world_judge_counters(&world);
	assert_int_equal(space_pending_blocks(world.space), 0);
	world_fini(&world);
}

static void
refuses_to_hold_past_the_end(void **state)
{
	struct world world;

	(void)state;
	world_init(&world, 2048, 1, 1);
	assert_int_equal(space_hold(world.space, (struct run){ 2000, 49 }), COP_EFORMAT);
	assert_int_equal(space_hold(world.space, (struct run){ UINT64_MAX, 1 }), COP_EFORMAT);
	world_judge_counters(&world);
	hold(&world, (struct run){ 2000, 48 });
	world_judge_counters(&world);
	world_fini(&world);
}

/* ---- Both ----------------------------------------------------------------------------------- */

static void
changes_nothing_without_memory(void **state)
{
	struct world world;
	struct run run = { 40 * 256 + 20, 4 };

	(void)state;
	world_init_ags(&world, AGS, 1, 1);
	world_touch_all(&world);
	world_checkpoint(&world);
	world_checkpoint(&world);
	for (int what = 0; what < 2; what++) {
		for (uint64_t nth = 1;; nth++) {
			int err;

			reopen(&world);
			alloc_fail_nth(nth);
			err = what == 0 ? space_claim(world.space, run)
					: space_hold(world.space, run);
			alloc_fail_nth(0);
			if (!err) {
				assert_true(nth > 2);
				break;
			}
			assert_int_equal(err, COP_ENOMEM);
			world_judge_counters(&world);
		}
	}
	world_fini(&world);
}

/* One opening after another: claims and holds at random, then work as usual. */
static void
keeps_its_promises_at_random(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 8; seed++) {
		struct world world;

		world_init_ags(&world, 20, seed % 2 == 0 ? 1 : 4, seed);
		for (int round = 0; round < 12; round++) {
			for (int i = 0; i < 40; i++) {
				struct run run = { rng_below(&world.rng, 20 * 256), 0 };
				uint32_t room = free_from(&world, run.addr);
				uint32_t want = 1 + (uint32_t)rng_below(&world.rng, 30);

				if (rng_below(&world.rng, 2) == 0) {
					run.blocks =
						(uint32_t)min_u64(2 * want, 20 * 256 - run.addr);
					hold(&world, run);
				} else if (room > 0) {
					run.blocks = (uint32_t)min_u64(room, want);
					claim(&world, run);
					if (rng_below(&world.rng, 4) == 0)
						unclaim(&world, run);
					else
						world_use(&world, run);
				}
			}
			world_judge_counters(&world);
			for (int i = 0; i < 30; i++) {
				struct run run;

				if (rng_below(&world.rng, 2) == 0) {
					run = world_pick_live(&world);
					if (run.blocks > 0)
						world_release(&world, run);
				} else if (world_take(&world, SPACE_DATA, 20, &run)) {
					world_use(&world, run);
				}
				if (rng_below(&world.rng, 10) == 0)
					world_checkpoint(&world);
			}
			world_judge_counters(&world);
			world_judge_bitmaps(&world, &world.newest);
			reopen(&world);
		}
		world_fini(&world);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(claims_exactly_the_run),
		cmocka_unit_test(claims_without_an_admission),
		cmocka_unit_test(refuses_what_is_not_free),
		cmocka_unit_test(leaves_a_damaged_group_alone),
		cmocka_unit_test(waits_for_a_device_that_fails_to_read),
		cmocka_unit_test(claims_where_the_previous_bitmap_is_lost),
		cmocka_unit_test(holds_until_the_next_superblock),
		cmocka_unit_test(holds_without_a_previous_checkpoint),
		cmocka_unit_test(gives_up_what_the_previous_checkpoint_kept),
		cmocka_unit_test(counts_once_what_waits_already),
		cmocka_unit_test(refuses_to_hold_past_the_end),
		cmocka_unit_test(changes_nothing_without_memory),
		cmocka_unit_test(keeps_its_promises_at_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
