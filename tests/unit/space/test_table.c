#include "space/space_internal.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/num.h"
#include "support/alloc.h"
#include "unit/space/slow_device.h"
#include "unit/space/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { AGS = 70 }; /* two levels over the bitmaps, two blocks on the first */

/* ---- Large volumes -------------------------------------------------------------------------- */

static void
opens_64_tib_with_a_handful_of_reads(void **state)
{
	uint64_t blocks = UINT64_C(1) << 34;
	struct sim_medium *medium;
	struct space_options options = { .node_blocks = 4, .generation = 1 };
	struct space_descriptor root;
	struct space *space;
	struct run run;
	uint64_t free_blocks;
	uint64_t awaiting;

	(void)state;
	assert_int_equal(sim_create(blocks * BLOCK_BYTES, 1, &medium), 0);
	assert_int_equal(sim_open(medium, 0, &options.dev), 0);
	assert_int_equal(geometry_init(&options.geometry, blocks, geometry_ag_blocks(blocks),
				 geometry_journal_blocks(blocks)),
		0);
	run = (struct run){ geometry_fixed_blocks(&options.geometry, 0), 16 };
	assert_int_equal(space_format(options.dev, &options.geometry, options.uuid, NULL, 1, &run,
				 1, &options.root),
		0);

	for (int i = 0; i < 2; i++) {
		uint64_t reads = device_stats(options.dev).reads;
		uint64_t writes = device_stats(options.dev).writes;

		assert_int_equal(space_open(&options, &space), 0);
		assert_int_equal(device_stats(options.dev).reads, reads);
		assert_true(space_list_bytes(space) < 8192);
		assert_int_equal(space_admit(space, 100 + 8, false), 0);
		assert_int_equal(space_take(space, SPACE_DATA, 0, 100, &run), 0);
		assert_int_equal(space_reserve_nodes(space, 1, false), 0);
		assert_true(device_stats(options.dev).reads - reads <= 3 * (4 + 1));
		assert_true(space_list_bytes(space) < 256 * 1024);

		assert_int_equal(space_reserve_lists(space, 1), 0);
		space_use(space, run);
		space_unreserve_nodes(space, 1);
		space_unadmit(space, 8);
		space_freeze(space, options.generation + 2, &free_blocks, &awaiting);
		assert_int_equal(space_write(space, &root), 0);
		space_durable(space, NULL, NULL);
		assert_int_equal(device_stats(options.dev).writes - writes, 1 + 4);
		space_check(space);
		space_free_all(space);
		options.previous_generation = options.generation;
		options.previous_root = options.root;
		options.generation++;
		options.root = root;
	}
	device_close(options.dev);
	sim_free(medium);
}

/* 2^58 bytes: the sparse table has six levels, and sums near the end of their range. */
static void
opens_the_largest_volume(void **state)
{
	struct space_options options = { .node_blocks = 4, .generation = 1 };
	uint64_t blocks = UINT64_C(1) << 46;
	struct sim_medium *medium;
	struct space *space;
	struct run run;

	(void)state;
	assert_int_equal(sim_create(blocks * BLOCK_BYTES, 1, &medium), 0);
	assert_int_equal(sim_open(medium, 0, &options.dev), 0);
	assert_int_equal(geometry_init(&options.geometry, blocks, geometry_ag_blocks(blocks),
				 geometry_journal_blocks(blocks)),
		0);
	assert_int_equal(space_open(&options, &space), 0);
	assert_int_equal(
		space_free_blocks(space), blocks - geometry_fixed_blocks_total(&options.geometry));
	assert_int_equal(space_admit(space, 50, false), 0);
	assert_int_equal(space_take(space, SPACE_DATA, blocks - 60, 50, &run), 0);
	assert_int_equal(run.addr, blocks - 60);
	space_untake(space, run);
	space_free_all(space);
	device_close(options.dev);
	sim_free(medium);
}

static void
evicts_bitmaps_that_nothing_depends_on(void **state)
{
	struct world world;
	size_t bytes;

	(void)state;
	world_init_ags(&world, 700, 4, 1);
	world_touch_all(&world);
	world_checkpoint(&world);
	world_checkpoint(&world);
	bytes = space_list_bytes(world.space);
	for (int round = 0; round < 3; round++) {
		for (uint64_t ag = 0; ag < 700; ag++) {
			struct run run;

			assert_true(world_take_near(&world, ag * 256 + 90, 5, &run));
			world_untake(&world, run);
		}
		assert_true(space_list_bytes(world.space) <= bytes);
		assert_true(world.space->idle_count <= SPACE_IDLE_AGS_MAX);
		world_judge_counters(&world);
	}
	world_fini(&world);
}

/* ---- Damage --------------------------------------------------------------------------------- */

static bool
covers(uint32_t level, uint64_t index, uint64_t addr)
{
	return addr / 256 / space__span(level) == index;
}

/* Takes everything; nothing of the closed AGs, and all else. */
static void
judge_closed(struct world *world, uint32_t level, uint64_t index)
{
	uint64_t first_ag = index * space__span(level);
	uint64_t open_blocks = 0;
	uint64_t taken_blocks = 0;
	uint32_t want = 64;
	struct run run;

	for (uint64_t i = 0; i < world->geometry.blocks; i++) {
		const struct world_block *block = &world->blocks[i];

		open_blocks += !block->fixed && !block->used && !block->awaiting &&
			       !covers(level, index, i);
	}
	while (want > 0) {
		if (space_admit(world->space, want, false)) {
			want /= 2;
			continue;
		}
		/* The damage is found only now: what was admitted may not be there. */
		if (space_take(world->space, SPACE_DATA, 0, want, &run)) {
			space_unadmit(world->space, want);
			break;
		}
		space_unadmit(world->space, want - run.blocks);
		assert_false(covers(level, index, run.addr));
		taken_blocks += run.blocks;
	}
	assert_int_equal(taken_blocks, open_blocks);
	assert_int_equal(space_closed_ags(world->space),
		min_u64(first_ag + space__span(level), AGS) - first_ag);
	assert_int_equal(space_free_blocks(world->space), 0);
	space_check(world->space);
}

static struct space_descriptor
descriptor_of(struct world *world, uint32_t level, uint64_t index)
{
	struct space_entry *entry = &world->space->root;

	for (uint32_t above = world->geometry.levels; above > level; above--)
		entry = &entry->inner->entries[index >> 6 * (above - 1 - level) & 63];
	return entry->descriptor;
}

static void
closes_only_what_a_damaged_block_covers(void **state)
{
	struct world world;

	(void)state;
	world_init_ags(&world, AGS, 1, 1);
	for (int i = 0; i < 3; i++) {
		world_touch_all(&world);
		world_checkpoint(&world);
	}
	for (uint32_t level = 0; level <= 2; level++) {
		for (uint64_t index = 0; index * space__span(level) < AGS; index++) {
			struct space_descriptor descriptor;
			uint64_t addr;
			uint32_t bit = (uint32_t)rng_below(&world.rng, 8 * BLOCK_BYTES);

			descriptor = descriptor_of(&world, level, index);
			addr = geometry_space_block(&world.geometry, level,
				index * space__span(level), descriptor.slot);
			assert_int_equal(sim_flip_bit(world.medium, addr, bit), 0);
			world_close(&world);
			world_open(&world);
			judge_closed(&world, level, index);
			assert_int_equal(sim_flip_bit(world.medium, addr, bit), 0);

			world_close(&world); /* loads everything, for the next descriptor */
			world_open(&world);
			world_touch_all(&world);
		}
	}
	world_fini(&world);
}

static void
closes_what_the_device_cannot_read(void **state)
{
	struct world world;
	struct sim_fault fault = { .kind = SIM_FAIL_READ, .blocks = 1, .persistent = true };

	(void)state;
	world_init_ags(&world, AGS, 1, 1);
	world_touch_all(&world);
	world_checkpoint(&world);
	fault.addr = geometry_space_block(&world.geometry, 0, 9, descriptor_of(&world, 0, 9).slot);
	assert_int_equal(sim_add_fault(world.medium, &fault), 0);
	world_close(&world);
	world_open(&world);
	judge_closed(&world, 0, 9);
	world_fini(&world);
}

/* What is freed in a closed AG stays used; the checkpoint goes through. */
static void
writes_past_a_closed_group(void **state)
{
	struct world world;
	struct run runs[AGS];
	uint64_t free_blocks;

	(void)state;
	world_init_ags(&world, AGS, 1, 1);
	world_touch_all(&world);
	for (size_t i = 0; i < AGS; i++)
		runs[i] = world.live[i];
	world_checkpoint(&world);
	for (uint32_t slot = 0; slot < SPACE_SLOTS; slot++)
		assert_int_equal(sim_flip_bit(world.medium,
					 geometry_space_block(&world.geometry, 0, 30, slot), 1),
			0);
	world_close(&world);
	world_open(&world);
	free_blocks = space_free_blocks(world.space);
	for (size_t i = 0; i < AGS; i++)
		world_release(&world, runs[i]);
	for (int i = 0; i < 2; i++) {
		uint64_t free_at_freeze;
		uint64_t awaiting;
		struct space_descriptor root;

		space_freeze(world.space, ++world.open_generation, &free_at_freeze, &awaiting);
		assert_int_equal(space_write(world.space, &root), 0);
		space_durable(world.space, NULL, NULL);
		space_check(world.space);
	}
	assert_int_equal(space_closed_ags(world.space), 1);
	assert_int_equal(space_pending_blocks(world.space), 0);
	for (size_t i = 0; i < AGS; i++)
		free_blocks += i == 30 ? 0 : runs[i].blocks;
	free_blocks -= descriptor_of(&world, 0, 30).free_blocks;
	assert_int_equal(space_free_blocks(world.space), free_blocks);
	world_fini(&world);
}

/* The same for P: nothing is taken where nobody knows what it uses, until it no longer counts. */
static void
waits_where_the_previous_bitmap_is_lost(void **state)
{
	struct world world;
	struct run run = { 0 };
	struct run other;
	uint64_t ag;

	(void)state;
	world_init_ags(&world, AGS, 1, 1);
	world_touch_all(&world);
	world_checkpoint(&world);
	world_touch_all(&world);
	run = world_pick_live(&world);
	world_release(&world, run);
	world_checkpoint(&world);
	ag = run.addr / 256;
	assert_int_equal(sim_flip_bit(world.medium,
				 geometry_space_block(&world.geometry, 0, ag,
					 descriptor_of(&world, 0, ag).previous_slot),
				 5),
		0);
	world_close(&world);
	world_open(&world);
	assert_true(world_take_near(&world, run.addr + 1, 10, &other));
	assert_true(other.addr / 256 != ag);
	assert_int_equal(space_closed_ags(world.space), 0);
	space_check(world.space);
	world_untake(&world, other);

	world_checkpoint(&world);
	world_judge_counters(&world);
	assert_true(world_take_near(&world, run.addr, run.blocks, &other));
	assert_int_equal(other.addr, run.addr);
	world_fini(&world);
}

/* ---- Images made to harm -------------------------------------------------------------------- */

/* The checksums of the blocks above are made to fit a changed one. */
static void
seal_upwards(struct world *world, uint32_t level, uint64_t index)
{
	uint8_t block[BLOCK_BYTES];

	for (; level <= world->geometry.levels; level++) {
		struct space_descriptor descriptor = descriptor_of(world, level, index);
		uint64_t checksum;

		assert_int_equal(sim_peek(world->medium,
					 geometry_space_block(&world->geometry, level,
						 index * space__span(level), descriptor.slot),
					 block),
			0);
		checksum = checksum64(block, BLOCK_BYTES);
		if (level == world->geometry.levels) {
			world->newest.root.checksum = checksum;
			return;
		}
		descriptor = descriptor_of(world, level + 1, index / SPACE_FANOUT);
		assert_int_equal(sim_peek(world->medium,
					 geometry_space_block(&world->geometry, level + 1,
						 index / SPACE_FANOUT * space__span(level + 1),
						 descriptor.slot),
					 block),
			0);
		put_le64(block + 64 + index % SPACE_FANOUT * SPACE_DESCRIPTOR_BYTES + 8, checksum);
		assert_int_equal(sim_poke(world->medium,
					 geometry_space_block(&world->geometry, level + 1,
						 index / SPACE_FANOUT * space__span(level + 1),
						 descriptor.slot),
					 block),
			0);
		index /= SPACE_FANOUT;
	}
}

/* Changes a few bytes of a block in force, so that all checksums are right. */
static void
forge(struct world *world)
{
	struct rng *rng = &world->rng;
	uint32_t level = (uint32_t)rng_below(rng, 3);
	uint64_t index = rng_below(rng, div_up(AGS, space__span(level)));
	uint64_t addr = geometry_space_block(&world->geometry, level, index * space__span(level),
		descriptor_of(world, level, index).slot);
	uint64_t edits = 1 + rng_below(rng, 4);
	uint8_t block[BLOCK_BYTES];

	assert_int_equal(sim_peek(world->medium, addr, block), 0);
	for (uint64_t i = 0; i < edits; i++) {
		uint64_t at = rng_below(rng, level == 0 ? 40 : 2112);

		if (rng_below(rng, 2))
			block[at] = (uint8_t)rng_below(rng, 256);
		else
			block[at] ^= (uint8_t)(1U << rng_below(rng, 8));
	}
	assert_int_equal(sim_poke(world->medium, addr, block), 0);
	seal_upwards(world, level, index);
}

/* What an opener of a damaged image may ask for: anything. */
static void
misuse(struct world *world, struct space *space)
{
	struct run runs[20] = { 0 };
	struct space_descriptor root;
	uint64_t ignored;

	for (size_t i = 0; i < ARRAY_COUNT(runs); i++) {
		uint64_t goal = rng_below(&world->rng, world->geometry.blocks);

		if (space_reserve_lists(space, 2) || space_admit(space, 10, false))
			continue;
		if (space_take(space, SPACE_DATA, goal, 10, &runs[i]) == 0)
			space_use(space, runs[i]);
		space_unadmit(space, 10 - runs[i].blocks);
		space_release(
			space, (struct run){ rng_below(&world->rng, world->geometry.blocks + 10),
				       (uint32_t)rng_below(&world->rng, 300) });
	}
	space_check(space);
	space_freeze(space, world->open_generation + 1, &ignored, &ignored);
	assert_int_equal(space_write(space, &root), 0);
	space_durable(space, NULL, NULL);
	space_check(space);
}

static void
stands_any_image(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 150; seed++) {
		struct world world;
		struct space *space;
		uint64_t forgeries;

		world_init_ags(&world, AGS, 4, seed);
		world_touch_all(&world);
		world_checkpoint(&world);
		world_touch_all(&world);
		for (int i = 0; i < 5; i++)
			world_release(&world, world_pick_live(&world));
		world_checkpoint(&world);
		forgeries = 1 + rng_below(&world.rng, 3);
		for (uint64_t i = 0; i < forgeries; i++)
			forge(&world);
		world.newest.awaiting_blocks = rng_below(&world.rng, 200);
		world_close(&world);
		assert_int_equal(world_try_open(&world, &space), 0);
		for (int i = 0; i < 3; i++) {
			misuse(&world, space);
			world.open_generation++;
		}
		space_free_all(space);
		world_fini(&world);
	}
}

/* ---- Others come in while something is read ------------------------------------------------- */

enum { BUSY_AGS = 400, READ_AG = 350 };

/* Loads the AG that the interrupted caller is reading, changes it, writes it, and has it evicted.
 */
static void
take_write_and_evict(void *context)
{
	struct world *world = context;
	struct run run;

	assert_true(world_take_near(world, READ_AG * 256 + 200, 20, &run));
	assert_int_equal(run.addr, READ_AG * 256 + 200);
	world_use(world, run);
	for (int i = 0; i < 3; i++)
		world_checkpoint(world);
	for (uint64_t ag = 0; ag < SPACE_IDLE_AGS_MAX + 10; ag++) {
		assert_true(world_take_near(world, ag * 256 + 90, 1, &run));
		world_untake(world, run);
	}
	assert_null(space__peek_ag(world->space, READ_AG));
}

/* Only loads it, and takes a run. */
static void
take_first(void *context)
{
	struct world *world = context;
	struct run run;

	assert_true(world_take_near(world, READ_AG * 256 + 200, 20, &run));
	assert_int_equal(run.addr, READ_AG * 256 + 200);
}

static void
reads_again_when_others_were_faster(void (*meanwhile)(void *context), uint32_t level)
{
	struct world world;
	struct slow_device slow;
	struct device *below;
	struct run run;

	world_init_ags(&world, BUSY_AGS, 4, 1);
	world_touch_all(&world);
	world_checkpoint(&world);
	world_touch_all(&world);
	world_checkpoint(&world);
	slow_device_init(&slow, world.dev);
	slow.addr = geometry_space_block(&world.geometry, level, level == 0 ? READ_AG : 320,
		descriptor_of(&world, level, level == 0 ? READ_AG : 5).slot);
	slow.meanwhile = meanwhile;
	slow.context = &world;
	world_close(&world);
	below = world.dev;
	world.dev = &slow.device;
	world_open(&world);

	assert_true(world_take_near(&world, READ_AG * 256 + 200, 20, &run));
	assert_null(slow.meanwhile);
	assert_int_equal(run.addr, READ_AG * 256 + 220); /* after what the other took */
	world_judge_counters(&world);
	world_use(&world, run);
	world_checkpoint(&world);
	world_judge_bitmaps(&world, &world.newest);

	world_close(&world);
	world.dev = below;
	slow_device_fini(&slow);
	world_open(&world);
	world_fini(&world);
}

static void
never_installs_what_has_become_stale(void **state)
{
	(void)state;
	reads_again_when_others_were_faster(take_write_and_evict, 0);
	reads_again_when_others_were_faster(take_write_and_evict, 1);
	reads_again_when_others_were_faster(take_first, 0);
	reads_again_when_others_were_faster(take_first, 1);
}

/* ---- Memory and device fail at every call --------------------------------------------------- */

struct counters {
	uint64_t free_blocks;
	uint64_t available_blocks;
	uint64_t pending_blocks;
};

static struct counters
counters_of(struct space *space)
{
	return (struct counters){ space_free_blocks(space), space_available_blocks(space),
		space_pending_blocks(space) };
}

static void
assert_same(struct counters a, struct counters b)
{
	assert_int_equal(a.free_blocks, b.free_blocks);
	assert_int_equal(a.available_blocks, b.available_blocks);
	assert_int_equal(a.pending_blocks, b.pending_blocks);
}

typedef int (*attempt_fn)(struct world *world);

static int
attempt_take(struct world *world)
{
	struct run run;
	int err = space_take(world->space, SPACE_DATA, 40 * 256 + 20, 10, &run);

	if (!err)
		space_untake(world->space, run);
	return err;
}

static int
attempt_nodes(struct world *world)
{
	int err = space_reserve_nodes(world->space, 30, false);

	if (!err)
		space_unreserve_nodes(world->space, 30);
	return err;
}

static int
attempt_lists(struct world *world)
{
	int err = space_reserve_lists(world->space, 2000);

	if (!err)
		space_unreserve_lists(world->space, 2000);
	return err;
}

/* The n-th allocation fails, for every n, on a table that has just been opened. */
static void
try_without_memory(struct world *world, attempt_fn attempt)
{
	int err = COP_ENOMEM;

	for (uint64_t nth = 1; err; nth++) {
		struct counters before;

		world_close(world);
		world_open(world);
		assert_int_equal(space_admit(world->space, 500, false), 0);
		before = counters_of(world->space);
		alloc_fail_nth(nth);
		err = attempt(world);
		alloc_fail_nth(0);
		if (err)
			assert_int_equal(err, COP_ENOMEM);
		assert_same(counters_of(world->space), before);
		space_check(world->space);
		assert_int_equal(attempt(world), 0);
		assert_same(counters_of(world->space), before);
		space_check(world->space);
		assert_true(nth < 1000);
	}
}

static void
changes_nothing_without_memory(void **state)
{
	struct world world;

	(void)state;
	world_init_ags(&world, AGS, 4, 1);
	for (int i = 0; i < 3; i++) {
		world_touch_all(&world);
		world_release(&world, world_pick_live(&world));
		world_checkpoint(&world);
	}
	try_without_memory(&world, attempt_take);
	try_without_memory(&world, attempt_nodes);
	try_without_memory(&world, attempt_lists);
	world_fini(&world);
}

static void
opens_or_not_without_memory(void **state)
{
	struct world world;
	struct space *space = NULL;
	int err = COP_ENOMEM;

	(void)state;
	world_init(&world, 2048, 4, 1);
	for (uint64_t nth = 1; err; nth++) {
		alloc_fail_nth(nth);
		err = world_try_open(&world, &space);
		alloc_fail_nth(0);
		if (err)
			assert_int_equal(err, COP_ENOMEM);
	}
	space_free_all(space);
	world_fini(&world);
}

/* A checkpoint that fails, for want of memory or by the device, leaves both old ones whole. */
static void
try_checkpoint(struct world *world, uint64_t nth_allocation, uint64_t nth_write, int *out_err)
{
	struct sim_fault fault = { .kind = SIM_FAIL_WRITE, .call = nth_write };
	uint64_t free_blocks;
	uint64_t awaiting;
	struct space_descriptor root;

	world_close(world);
	world_open(world);
	world_touch_all(world);
	for (int i = 0; i < 30; i++)
		world_release(world, world_pick_live(world));
	if (nth_write != 0)
		assert_int_equal(sim_add_fault(world->medium, &fault), 0);
	space_freeze(world->space, world->open_generation + 1, &free_blocks, &awaiting);
	alloc_fail_nth(nth_allocation);
	*out_err = space_write(world->space, &root);
	alloc_fail_nth(0);
	sim_clear_faults(world->medium);
	space_check(world->space);
	world_judge_bitmaps(world, &world->newest);
	world_judge_bitmaps(world, &world->previous);
}

static void
keeps_both_checkpoints_when_the_next_fails(void **state)
{
	struct world world;
	int err = COP_ENOMEM;

	(void)state;
	world_init_ags(&world, AGS, 4, 1);
	for (int i = 0; i < 3; i++) {
		world_touch_all(&world);
		world_checkpoint(&world);
	}
	for (uint64_t nth = 1; err; nth++) {
		try_checkpoint(&world, nth, 0, &err);
		if (err)
			assert_int_equal(err, COP_ENOMEM);
		assert_true(nth < 1000);
	}
	err = COP_EIO;
	for (uint64_t nth = 1; err; nth++) {
		try_checkpoint(&world, 0, nth, &err);
		if (err)
			assert_int_equal(err, COP_EIO);
		assert_int_equal(err == 0, nth == AGS + 2 + 1 + 1); /* all blocks of the tree */
	}
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_64_tib_with_a_handful_of_reads),
		cmocka_unit_test(opens_the_largest_volume),
		cmocka_unit_test(evicts_bitmaps_that_nothing_depends_on),
		cmocka_unit_test(closes_only_what_a_damaged_block_covers),
		cmocka_unit_test(closes_what_the_device_cannot_read),
		cmocka_unit_test(writes_past_a_closed_group),
		cmocka_unit_test(waits_where_the_previous_bitmap_is_lost),
		cmocka_unit_test(stands_any_image),
		cmocka_unit_test(never_installs_what_has_become_stale),
		cmocka_unit_test(changes_nothing_without_memory),
		cmocka_unit_test(opens_or_not_without_memory),
		cmocka_unit_test(keeps_both_checkpoints_when_the_next_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
