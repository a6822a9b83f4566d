#include "unit/space/world.h"

#include "support/must.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void
mark_fixed(struct world *world)
{
	for (uint64_t ag = 0; ag < world->geometry.ag_count; ag++) {
		uint32_t fixed = geometry_fixed_blocks(&world->geometry, ag);

		for (uint32_t i = 0; i < fixed; i++)
			world->blocks[ag * world->geometry.ag_blocks + i].fixed = true;
	}
}

static bool *
used_now(const struct world *world)
{
	bool *used = must_alloc(world->geometry.blocks * sizeof *used);

	for (uint64_t i = 0; i < world->geometry.blocks; i++)
		used[i] = world->blocks[i].used || world->blocks[i].fixed;
	return used;
}

static void
init(struct world *world, uint64_t blocks, uint32_t ag_blocks, uint64_t journal_blocks,
	uint32_t node_blocks, uint64_t seed)
{
	*world = (struct world){ .node_blocks = node_blocks, .node_copies = 2 };
	rng_seed(&world->rng, seed);
	rng_bytes(&world->rng, world->uuid, sizeof world->uuid);
	assert_int_equal(sim_create(blocks * BLOCK_BYTES, seed, &world->medium), 0);
	assert_int_equal(sim_open(world->medium, 0, &world->dev), 0);
	assert_int_equal(geometry_init(&world->geometry, blocks, ag_blocks, journal_blocks), 0);
	world->blocks = must_alloc(world->geometry.blocks * sizeof *world->blocks);
	mark_fixed(world);

	world->newest.generation = 1;
	assert_int_equal(space_format(world->dev, &world->geometry, world->uuid, NULL, 1, NULL, 0,
				 &world->newest.root),
		0);
	world->newest.used = used_now(world);
	world_open(world);
}

void
world_init(struct world *world, uint64_t blocks, uint32_t node_blocks, uint64_t seed)
{
	init(world, blocks, geometry_ag_blocks(blocks), geometry_journal_blocks(blocks),
		node_blocks, seed);
}

void
world_init_ags(struct world *world, uint64_t ag_count, uint32_t node_blocks, uint64_t seed)
{
	init(world, ag_count * AG_BLOCKS_MIN, AG_BLOCKS_MIN, 64, node_blocks, seed);
}

void
world_fini(struct world *world)
{
	world_close(world);
	free(world->newest.used);
	free(world->previous.used);
	free(world->blocks);
	free(world->live);
	free(world->held);
	device_close(world->dev);
	sim_free(world->medium);
}

void
world_close(struct world *world)
{
	space_free_all(world->space);
	world->space = NULL;
	free(world->frozen.used);
	world->frozen = (struct world_superblock){ 0 };
}

int
world_try_open(struct world *world, struct space **out_space)
{
	struct space_options options = {
		.dev = world->dev,
		.geometry = world->geometry,
		.node_blocks = world->node_blocks,
		.node_copies = world->node_copies,
		.generation = world->newest.generation,
		.open_generation = world->open_generation,
		.root = world->newest.root,
		.awaiting_blocks = world->newest.awaiting_blocks,
		.previous_generation = world->previous.generation,
		.previous_root = world->previous.root,
	};

	memcpy(options.uuid, world->uuid, sizeof options.uuid);
	return space_open(&options, out_space);
}

/* What is live is what the newest superblock reaches, in runs as they come. */
static void
find_live(struct world *world)
{
	world->live_count = 0;
	for (uint64_t at = 0; at < world->geometry.blocks; at++) {
		struct run run = { at, 0 };

		while (at < world->geometry.blocks && world->blocks[at].used &&
			!world->blocks[at].fixed &&
			run.addr / world->geometry.ag_blocks == at / world->geometry.ag_blocks) {
			run.blocks++;
			at++;
		}
		if (run.blocks == 0)
			continue;
		world->live = must_grow(
			world->live, world->live_count, &world->live_capacity, sizeof *world->live);
		world->live[world->live_count++] = run;
		at--;
	}
}

void
world_open(struct world *world)
{
	world->open_generation = world->newest.generation + 2;
	world->held_count = 0;
	world->promised_blocks = 0;
	for (uint64_t i = 0; i < world->geometry.blocks; i++) {
		struct world_block *block = &world->blocks[i];
		bool by_previous = world->previous.generation != 0 && world->previous.used[i];

		block->used = world->newest.used[i];
		block->reserved = false;
		block->awaiting = by_previous && !block->used;
		block->freed_period = world->durable_period;
	}
	world->period = world->durable_period + 1;
	find_live(world);
	assert_int_equal(world_try_open(world, &world->space), 0);
}

/* A run may be handed out if nothing stands against any of its blocks. */
static void
judge_taken(struct world *world, struct run run)
{
	assert_true(run.blocks > 0);
	assert_true(run.addr + run.blocks <= world->geometry.blocks);
	assert_int_equal(run.addr / world->geometry.ag_blocks,
		(run.addr + run.blocks - 1) / world->geometry.ag_blocks);
	for (uint64_t i = run.addr; i < run.addr + run.blocks; i++) {
		struct world_block *block = &world->blocks[i];

		assert_false(block->fixed);
		assert_false(block->used);
		assert_false(block->reserved);
		assert_false(block->awaiting);
		assert_false(world->newest.used[i]);
		if (world->previous.generation != 0)
			assert_false(world->previous.used[i]);
		block->reserved = true;
	}
}

static bool
take(struct world *world, enum space_stream stream, uint64_t goal_addr, uint32_t want,
	struct run *out_run)
{
	int err = space_admit(world->space, want, false);

	if (err) {
		assert_int_equal(err, COP_ENOSPC);
		assert_true(space_available_blocks(world->space) < want);
		return false;
	}
	err = space_take(world->space, stream, goal_addr, want, out_run);
	assert_int_equal(err, 0); /* what was admitted is there */
	space_unadmit(world->space, want - out_run->blocks);
	judge_taken(world, *out_run);
	return true;
}

bool
world_take(struct world *world, enum space_stream stream, uint32_t want, struct run *out_run)
{
	return take(world, stream, 0, want, out_run);
}

bool
world_take_near(struct world *world, uint64_t goal_addr, uint32_t want, struct run *out_run)
{
	return take(world, SPACE_DATA, goal_addr, want, out_run);
}

void
world_fill(struct world *world, uint32_t want)
{
	struct run run;

	while (want > 0) {
		if (world_take(world, SPACE_DATA, want, &run))
			world_use(world, run);
		else
			want /= 2;
	}
}

void
world_empty(struct world *world)
{
	for (;;) {
		struct run run = world_pick_live(world);

		if (run.blocks == 0)
			break;
		world_release(world, run);
	}
	for (int i = 0; i < 3; i++)
		world_checkpoint(world);
}

void
world_touch_all(struct world *world)
{
	for (uint64_t ag = 0; ag < world->geometry.ag_count; ag++) {
		uint64_t goal = ag * world->geometry.ag_blocks + 100 + rng_below(&world->rng, 100);
		struct run run;

		assert_true(world_take_near(
			world, goal, 1 + (uint32_t)rng_below(&world->rng, 10), &run));
		assert_int_equal(run.addr / world->geometry.ag_blocks, ag);
		world_use(world, run);
	}
}

void
world_hold(struct world *world, struct run run)
{
	world->held = must_grow(world->held, world->held_count, &world->held_capacity, sizeof run);
	world->held[world->held_count++] = run;
}

static void
make_live(struct world *world, struct run run)
{
	for (uint64_t i = run.addr; i < run.addr + run.blocks; i++) {
		assert_true(world->blocks[i].reserved);
		world->blocks[i].reserved = false;
		world->blocks[i].used = true;
	}
	world->live = must_grow(world->live, world->live_count, &world->live_capacity, sizeof run);
	world->live[world->live_count++] = run;
}

void
world_use(struct world *world, struct run run)
{
	assert_int_equal(space_reserve_lists(world->space, 1), 0);
	space_use(world->space, run);
	make_live(world, run);
}

void
world_untake(struct world *world, struct run run)
{
	space_untake(world->space, run);
	space_unadmit(world->space, run.blocks);
	for (uint64_t i = run.addr; i < run.addr + run.blocks; i++)
		world->blocks[i].reserved = false;
}

void
world_release(struct world *world, struct run run)
{
	assert_int_equal(space_reserve_lists(world->space, 1), 0);
	space_release(world->space, run);
	for (uint64_t i = run.addr; i < run.addr + run.blocks; i++) {
		world->blocks[i].used = false;
		world->blocks[i].awaiting = true;
		world->blocks[i].freed_period = world->period;
	}
}

void
world_promise(struct world *world, uint32_t blocks)
{
	if (!space_admit(world->space, blocks, false))
		world->promised_blocks += blocks;
}

void
world_redeem(struct world *world)
{
	while (world->promised_blocks > 0) {
		struct run run;

		assert_int_equal(
			space_take(world->space, SPACE_DATA, 0, world->promised_blocks, &run), 0);
		judge_taken(world, run);
		world->promised_blocks -= run.blocks;
		world_use(world, run);
	}
}

static struct run
pick(struct world *world, struct run *runs, size_t *count)
{
	size_t index;
	struct run run;

	if (*count == 0)
		return (struct run){ 0 };
	index = rng_below(&world->rng, *count);
	run = runs[index];
	runs[index] = runs[--*count];
	return run;
}

struct run
world_pick_live(struct world *world)
{
	return pick(world, world->live, &world->live_count);
}

struct run
world_pick_held(struct world *world)
{
	return pick(world, world->held, &world->held_count);
}

bool
world_take_node(struct world *world, uint32_t copies, bool emptying)
{
	uint32_t blocks = world->node_blocks * world->node_copies;
	uint64_t addr;
	uint64_t addr2;
	int err = space_admit(world->space, blocks, emptying);

	if (!err) {
		err = space_reserve_nodes(world->space, 1, emptying);
		if (err)
			space_unadmit(world->space, blocks);
	}
	if (err) {
		assert_int_equal(err, COP_ENOSPC);
		return false;
	}
	space_take_node(world->space, copies, &addr, &addr2);
	space_unreserve_nodes(world->space, 0);
	space_unadmit(world->space, blocks - copies * world->node_blocks);
	judge_taken(world, (struct run){ addr, world->node_blocks });
	make_live(world, (struct run){ addr, world->node_blocks });
	assert_true((addr2 != 0) == (copies == 2));
	if (copies == 2) {
		judge_taken(world, (struct run){ addr2, world->node_blocks });
		make_live(world, (struct run){ addr2, world->node_blocks });
	}
	return true;
}

void
world_freeze(struct world *world)
{
	world->frozen = (struct world_superblock){
		.generation = world->open_generation,
		.used = used_now(world),
	};
	world->open_generation++;
	space_freeze(world->space, world->open_generation, &world->frozen.free_blocks,
		&world->frozen.awaiting_blocks);
	world->period++;
}

void
world_write(struct world *world)
{
	assert_int_equal(space_write(world->space, &world->frozen.root), 0);
	assert_int_equal(world->frozen.root.free_blocks, world->frozen.free_blocks);
}

void
world_durable(struct world *world)
{
	free(world->previous.used);
	world->previous = world->newest;
	world->newest = world->frozen;
	world->frozen = (struct world_superblock){ 0 };
	world->durable_period = world->period - 1;
	for (uint64_t i = 0; i < world->geometry.blocks; i++) {
		struct world_block *block = &world->blocks[i];

		if (block->awaiting && block->freed_period < world->durable_period)
			block->awaiting = false;
	}
	space_durable(world->space, NULL, NULL);
}

void
world_checkpoint(struct world *world)
{
	world_freeze(world);
	world_write(world);
	world_durable(world);
}

void
world_judge_counters(struct world *world)
{
	uint64_t free_blocks = 0;
	uint64_t pending_blocks = 0;

	for (uint64_t i = 0; i < world->geometry.blocks; i++) {
		const struct world_block *block = &world->blocks[i];

		pending_blocks += block->awaiting;
		free_blocks +=
			!block->awaiting && !block->used && !block->reserved && !block->fixed;
	}
	assert_int_equal(space_free_blocks(world->space), free_blocks);
	assert_int_equal(space_pending_blocks(world->space), pending_blocks);
	space_check(world->space);
}

struct bitmap_judge {
	struct world *world;
	const bool *used;
	uint64_t next_ag;
};

static bool
judge_bitmap(void *context, uint64_t ag, const struct space_descriptor *descriptor,
	const uint8_t *bitmap, int result)
{
	struct bitmap_judge *judge = context;
	const struct geometry *geometry = &judge->world->geometry;
	uint32_t fixed = geometry_fixed_blocks(geometry, ag);

	assert_int_equal(result, 0);
	assert_int_equal(ag, judge->next_ag);
	assert_true((bitmap == NULL) == (descriptor->generation == 0));
	for (uint32_t i = 0; i < geometry_ag_size(geometry, ag); i++) {
		bool is_used = bitmap ? bitmap[i / 8] >> i % 8 & 1 : i < fixed;

		assert_int_equal(is_used, judge->used[ag * geometry->ag_blocks + i]);
	}
	judge->next_ag++;
	return true;
}

void
world_judge_bitmaps(struct world *world, const struct world_superblock *superblock)
{
	struct bitmap_judge judge = { .world = world, .used = superblock->used };

	assert_int_equal(space_walk(world->dev, &world->geometry, world->uuid, &superblock->root, 0,
				 world->geometry.ag_count, judge_bitmap, &judge),
		0);
	assert_int_equal(judge.next_ag, world->geometry.ag_count);
}
