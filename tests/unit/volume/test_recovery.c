#include "base/checksum.h"
#include "base/random.h"
#include "support/must.h"
#include "volume/volume_internal.h"
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum {
	SMALL_BYTES = 8 << 20, /* its journal has 128 blocks */
	AT_DURABLE = 48,       /* of a batch, volume/journal_format.h */
};

/* ---- Crashes --------------------------------------------------------------------------------- */

static void
put(struct world *world, uint32_t number, uint8_t fill)
{
	if (world_put(world, number, fill, 100) != 0)
		fail_msg("%s", err_text());
}

static void
sync_volume(struct world *world)
{
	if (volume_sync(world->volume) != 0)
		fail_msg("%s", err_text());
}

static uint64_t
replayed(struct world *world)
{
	return volume_stats(world->volume).replayed_transactions;
}

/* As the next opening will find it; to be freed. */
static struct journal_chain
chain_of(struct world *world, struct journal_region *out_region)
{
	struct journal_place newest = { 0 };
	struct journal_place before = { 0 };
	struct journal_chain chain;
	struct superblock sb;
	struct superblock previous;
	struct geometry geometry;
	struct device *dev;

	assert_int_equal(sim_open(world->medium, DEVICE_READ_ONLY | DEVICE_NO_LOCK, &dev), 0);
	assert_int_equal(volume_find_superblock(dev, &sb, &previous), 0);
	assert_int_equal(geometry_init(&geometry, sb.blocks, sb.ag_blocks, sb.journal_blocks), 0);
	*out_region = journal_region_of(&sb, &geometry);
	newest = (struct journal_place){ sb.journal_tail, sb.journal_sequence, sb.epoch };
	if (previous.generation != 0)
		before = (struct journal_place){ previous.journal_tail, previous.journal_sequence,
			previous.epoch };
	assert_int_equal(journal_scan(dev, out_region, &newest, &before, &chain), 0);
	device_close(dev);
	return chain;
}

/* ---- What is found again --------------------------------------------------------------------- */

static void
what_was_synced_is_there_after_a_power_cut(void **state)
{
	struct world world = { 0 };

	(void)state;
	world_format(&world, SMALL_BYTES, 0);
	for (uint32_t i = 0; i < 50; i++) {
		put(&world, i, (uint8_t)i);
		if (i % 7 == 0)
			sync_volume(&world);
	}
	world_lose_power(&world); /* the last sync was after 49 */
	for (int again = 0; again < 3; again++) {
		world_open(&world);
		assert_int_equal(volume_stats(world.volume).recoveries, 1);
		assert_int_equal(replayed(&world), 50);
		for (uint32_t i = 0; i < 50; i++)
			assert_int_equal(world_get(&world, i), (int)i);
		assert_int_equal(world_get(&world, 50), COP_ENOENT);
		world_lose_power(&world);
	}

	/* What came after the sync is lost, and nothing else. */
	world_open(&world);
	put(&world, 100, 1);
	world_lose_power(&world);
	world_open(&world);
	assert_int_equal(world_get(&world, 100), COP_ENOENT);
	put(&world, 100, 2);
	sync_volume(&world);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	world_lose_power(&world);
	world_open(&world);
	assert_int_equal(replayed(&world), 0);
	assert_int_equal(world_get(&world, 100), 2);
	assert_int_equal(world_get(&world, 49), 49);
	world_end(&world);
}

static void
a_clean_volume_is_opened_without_its_journal(void **state)
{
	struct world world = { 0 };

	(void)state;
	world_format(&world, SMALL_BYTES, 0);
	put(&world, 1, 1);
	sync_volume(&world);
	assert_int_equal(volume_checkpoint_clean(world.volume), 0);
	for (int again = 0; again < 2; again++) {
		uint64_t calls;

		world_reopen(&world);
		assert_int_equal(volume_stats(world.volume).recoveries, 0);
		assert_int_equal(world_get(&world, 1), 1);
		calls = sim_stats(world.medium).calls;
		sync_volume(&world);
		assert_int_equal(sim_stats(world.medium).calls, calls);
	}

	/* The first change takes the mark away before it can be told that it happened. */
	put(&world, 2, 2);
	sync_volume(&world);
	world_lose_power(&world);
	world_open(&world);
	assert_int_equal(volume_stats(world.volume).recoveries, 1);
	assert_int_equal(world_get(&world, 2), 2);
	world_end(&world);
}

static void
a_reader_replays_in_memory_and_writes_nothing(void **state)
{
	struct world world = { 0 };

	(void)state;
	world_format(&world, SMALL_BYTES, 0);
	for (uint32_t i = 0; i < 100; i++)
		put(&world, i, (uint8_t)i);
	sync_volume(&world);
	world_lose_power(&world);
	world.read_only = true;
	for (int again = 0; again < 2; again++) {
		uint64_t calls = sim_stats(world.medium).calls;

		world_open(&world);
		assert_int_equal(replayed(&world), 100);
		for (uint32_t i = 0; i < 100; i++)
			assert_int_equal(world_get(&world, i), (int)i);
		world_close(&world);
		assert_int_equal(sim_stats(world.medium).calls, calls);
	}
	sim_free(world.medium);
}

/* ---- The steps of a writer ------------------------------------------------------------------- */

/* Step 4. A failed flush forgets what the cache goes on showing; no later flush saves it. */
static void
what_a_failed_flush_forgot_is_written_again(void **state)
{
	struct sim_fault fault = { .kind = SIM_FAIL_FLUSH, .call = 1 };
	static const uint8_t data[BLOCK_BYTES] = "data";
	const uint64_t checksum = checksum64(data, sizeof data);
	struct world world = { 0 };
	uint8_t found[BLOCK_BYTES];
	struct run run;
	struct tx *tx;

	(void)state;
	world_format(&world, SMALL_BYTES, 0);
	put(&world, 0, 1);
	sync_volume(&world);
	put(&world, 1, 1); /* a batch that names data takes a flush */
	assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
	assert_int_equal(tx_take(tx, SPACE_DATA, 0, 1, &run), 0);
	assert_int_equal(device_write(world.dev, run.addr, data, 1), 0);
	assert_int_equal(tx_data(tx, run.addr, 1, &checksum), 0);
	assert_int_equal(tx_put(tx, world_objects, view_of("a key", 5), view_of("a value", 7)), 0);
	assert_int_equal(tx_commit(tx), 0);
	assert_int_equal(sim_add_fault(world.medium, &fault), 0);
	assert_int_equal(volume_sync(world.volume), COP_EIO);
	assert_int_equal(volume_sync(world.volume), COP_EIO); /* it is told until it is reopened */
	assert_int_equal(world_put(&world, 2, 1, 100), COP_EIO);
	assert_non_null(strstr(err_text(), "no more changes"));
	sim_clear_faults(world.medium);

	world_reopen(&world); /* the process ends, the device's cache lives on */
	assert_int_equal(world_get(&world, 1), 1);
	world_lose_power(&world);
	world_open(&world);
	assert_int_equal(world_get(&world, 0), 1);
	assert_int_equal(world_get(&world, 1), 1);
	assert_int_equal(device_read(world.dev, run.addr, found, 1), 0);
	assert_memory_equal(found, data, BLOCK_BYTES);
	world_end(&world);
}

/* The same for the superblock that the opening goes on from, when there is nothing to fall back to.
 */
static void
a_superblock_that_a_failed_flush_forgot_is_written_again(void **state)
{
	const struct sim_fault fault = { .kind = SIM_FAIL_FLUSH, .call = 2 };
	struct world world = { 0 };
	struct journal_region region;
	struct journal_chain chain;

	(void)state;
	world_format(&world, SMALL_BYTES, 0);
	for (uint32_t i = 1; i <= 3; i++) {
		put(&world, i, (uint8_t)i);
		sync_volume(&world);
		if (i == 1)
			assert_int_equal(volume_checkpoint(world.volume), 0);
	}
	assert_int_equal(sim_add_fault(world.medium, &fault), 0);
	assert_int_equal(volume_checkpoint(world.volume), COP_EIO);
	assert_int_equal(sim_faults_struck(world.medium), 1);
	sim_clear_faults(world.medium);
	world_close(&world);
	chain = chain_of(&world, &region);
	assert_int_equal(chain.newest, 2); /* it is there, and reaches back */
	assert_int_equal(
		sim_flip_bit(world.medium, region.addr + chain.batches[0].position, 9000), 0);
	journal_chain_free(&chain);

	world_open(&world);
	put(&world, 4, 4);
	sync_volume(&world);
	world_lose_power(&world);
	world_open(&world);
	for (uint32_t i = 1; i <= 4; i++)
		assert_int_equal(world_get(&world, i), (int)i);
	world_end(&world);
}

/* Step 5, and what comes before it: the superblock and the batch again, flush, opening batch,
 * flush. */
static void
an_opening_writes_and_flushes_twice_and_no_more(void **state)
{
	struct world world = { 0 };
	struct sim_stats before;
	struct sim_stats after;

	(void)state;
	world_format(&world, SMALL_BYTES, 0);
	put(&world, 1, 1);
	sync_volume(&world);
	put(&world, 2, 1);
	sync_volume(&world);
	world_lose_power(&world);
	before = sim_stats(world.medium);
	world_open(&world);
	after = sim_stats(world.medium);
	assert_int_equal(after.writes - before.writes,
		SUPERBLOCK_PLACES_MAX + 1 + 1); /* D covers the first batch */
	assert_int_equal(after.flushes - before.flushes, 1 + 2);
	world_end(&world);
}

static void
openings_that_hold_nothing_take_no_room(void **state)
{
	struct world world = { 0 };
	struct journal_region region;
	struct journal_chain chain;
	uint64_t highest = 0;
	size_t count = 0;

	(void)state;
	world_format(&world, SMALL_BYTES, 0);
	put(&world, 1, 1);
	sync_volume(&world);
	for (int i = 0; i < 100; i++) {
		world_lose_power(&world);
		world_open(&world);
		chain = chain_of(&world, &region);
		assert_true(i == 0 || chain.count == count);
		assert_true(chain.highest_sequence > highest); /* no number comes again */
		assert_true(chain.ends_in_opening);
		highest = chain.highest_sequence;
		count = chain.count;
		journal_chain_free(&chain);
	}
	assert_int_equal(world_get(&world, 1), 1);
	world_end(&world);
}

static void
batches_that_were_given_up_never_come_back(void **state)
{
	enum { HEADER_BIT = 500, LATER_BIT = 9000 };
	struct world world = { 0 };
	struct journal_region region;
	struct journal_chain chain;
	uint8_t lost[BLOCK_BYTES];
	uint64_t addr;

	(void)state;
	world_format(&world, SMALL_BYTES, 0);
	for (uint32_t i = 1; i <= 3; i++) {
		put(&world, i, (uint8_t)i);
		sync_volume(&world);
	}
	chain = chain_of(&world, &region);
	assert_int_equal(chain.count, 3);
	addr = region.addr + chain.batches[1].position;
	journal_chain_free(&chain);

	/* The second and third are lost, and nothing else says that they were durable. */
	world_close(&world);
	assert_int_equal(sim_peek(world.medium, addr + 1, lost), 0);
	assert_int_equal(sim_flip_bit(world.medium, addr, LATER_BIT), 0);
	assert_int_equal(sim_flip_bit(world.medium, addr + 1, HEADER_BIT), 0);
	world_open(&world);
	assert_int_equal(world_get(&world, 1), 1);
	assert_int_equal(world_get(&world, 2), COP_ENOENT);
	assert_int_equal(world_get(&world, 3), COP_ENOENT);

	/* The third comes back, behind the opening batch that stands where the second was. */
	world_close(&world);
	assert_int_equal(sim_poke(world.medium, addr + 1, lost), 0);
	world_open(&world);
	assert_int_equal(world_get(&world, 3), COP_ENOENT);
	put(&world, 4, 4);
	sync_volume(&world);
	world_lose_power(&world);
	world_open(&world);
	assert_int_equal(world_get(&world, 1), 1);
	assert_int_equal(world_get(&world, 2), COP_ENOENT);
	assert_int_equal(world_get(&world, 3), COP_ENOENT);
	assert_int_equal(world_get(&world, 4), 4);
	world_end(&world);
}

enum { RUN_BLOCKS = 8 };

/* A transaction with data, near the catalog's root, which changes with every checkpoint. */
static struct run
put_data(struct world *world, uint32_t number, uint8_t fill)
{
	uint8_t data[RUN_BLOCKS * BLOCK_BYTES];
	uint64_t checksums[RUN_BLOCKS];
	struct superblock sb;
	struct run run;
	struct tx *tx;

	memset(data, fill, sizeof data);
	for (uint32_t i = 0; i < RUN_BLOCKS; i++)
		checksums[i] = checksum64(data, BLOCK_BYTES);
	volume_superblock(world->volume, &sb);
	assert_int_equal(tx_begin(world->volume, &world->visit, false, &tx), 0);
	assert_int_equal(tx_take(tx, SPACE_DATA, sb.catalog.pointer.addr, RUN_BLOCKS, &run), 0);
	assert_int_equal(device_write(world->dev, run.addr, data, run.blocks), 0);
	assert_int_equal(tx_data(tx, run.addr, run.blocks, checksums), 0);
	assert_int_equal(
		tx_put(tx, world_objects, view_of(&number, sizeof number), view_of("x", 1)), 0);
	assert_int_equal(tx_commit(tx), 0);
	return run;
}

static void
expect_data(struct world *world, struct run run, uint8_t fill)
{
	uint8_t wanted[RUN_BLOCKS * BLOCK_BYTES];
	uint8_t found[RUN_BLOCKS * BLOCK_BYTES];

	memset(wanted, fill, sizeof wanted);
	assert_int_equal(device_read(world->dev, run.addr, found, run.blocks), 0);
	assert_memory_equal(found, wanted, (size_t)run.blocks * BLOCK_BYTES);
}

/* Step 6: blocks that a later message names are not taken for what is replayed before it. */
static void
nothing_lands_on_what_the_journal_names(void **state)
{
	enum { RUNS = 20 };
	struct world world = { 0 };
	struct run runs[RUNS];

	(void)state;
	world_format(&world, SMALL_BYTES, 0);
	for (uint32_t i = 0; i < RUNS; i++) {
		for (uint32_t j = 0; j < 20; j++)
			put(&world, 100 * i + j, (uint8_t)i);
		runs[i] = put_data(&world, i, (uint8_t)(i + 1));
	}
	sync_volume(&world);
	world_lose_power(&world);
	world_open(&world);
	space_check(volume_space(world.volume));
	for (uint32_t i = 0; i < 200; i++)
		put(&world, 5000 + i, 1);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	for (uint32_t i = 0; i < RUNS; i++)
		expect_data(&world, runs[i], (uint8_t)(i + 1));
	world_end(&world);
}

/* ---- A superblock that comes to light later -------------------------------------------------- */

enum { ENTRIES_BEFORE = 60, RUNS_AFTER = 12 };

/* A power cut ends a checkpoint when one copy of its superblock is on the device. */
struct unfinished {
	struct superblock sb;
	uint64_t addr; /* of that copy */
	uint8_t block[BLOCK_BYTES];
};

static void
leave_unfinished(struct world *world, struct unfinished *out)
{
	struct world before = { 0 };
	struct geometry geometry;
	uint8_t block[BLOCK_BYTES];

	world_format(world, SMALL_BYTES, 0);
	for (uint32_t i = 0; i < 4 * ENTRIES_BEFORE; i++) {
		put(world, i % ENTRIES_BEFORE, (uint8_t)i);
		if (i % ENTRIES_BEFORE == 0)
			assert_int_equal(volume_checkpoint(world->volume), 0);
	}
	sync_volume(world);
	assert_int_equal(sim_clone(world->medium, &before.medium), 0);
	assert_int_equal(volume_checkpoint(world->volume), 0);
	volume_superblock(world->volume, &out->sb);
	assert_int_equal(
		geometry_init(&geometry, out->sb.blocks, out->sb.ag_blocks, out->sb.journal_blocks),
		0);
	world_lose_power(world);
	out->addr = geometry_superblock(&geometry, 0, out->sb.slot);
	assert_int_equal(sim_peek(world->medium, out->addr, out->block), 0);
	for (uint32_t place = 1; place < geometry_superblock_places(&geometry); place++) {
		uint64_t addr = geometry_superblock(&geometry, place, out->sb.slot);

		assert_int_equal(sim_peek(before.medium, addr, block), 0);
		assert_int_equal(sim_poke(world->medium, addr, block), 0);
	}
	sim_free(before.medium);
}

static void
go_on_and_crash(struct world *world, struct run runs[static RUNS_AFTER])
{
	for (uint32_t i = 0; i < RUNS_AFTER; i++)
		runs[i] = put_data(world, 1000 + i, (uint8_t)(i + 1));
	put(world, 0, 77);
	sync_volume(world);
	world_lose_power(world);
}

static void
expect_what_went_on(struct world *world, const struct run runs[static RUNS_AFTER])
{
	assert_int_equal(world_get(world, 0), 77);
	for (uint32_t i = 1; i < ENTRIES_BEFORE; i++)
		assert_int_equal(world_get(world, i), (int)(3 * ENTRIES_BEFORE + i));
	for (uint32_t i = 0; i < RUNS_AFTER; i++)
		expect_data(world, runs[i], (uint8_t)(i + 1));
	space_check(volume_space(world->volume));
}

/*
 * The only copy of the newest superblock cannot be read, once. What is written from then on takes
 * blocks of its nodes; so it must not be the newest any more when it can be read again.
 */
static void
a_superblock_that_was_not_read_is_outdone(void **state)
{
	struct world world = { 0 };
	struct unfinished unfinished;
	struct run runs[RUNS_AFTER];
	struct superblock sb;
	struct sim_fault fault = { .kind = SIM_FAIL_READ, .call = 1, .blocks = 1 };

	(void)state;
	leave_unfinished(&world, &unfinished);
	fault.addr = unfinished.addr;
	assert_int_equal(sim_add_fault(world.medium, &fault), 0);
	world_open(&world);
	assert_int_equal(sim_faults_struck(world.medium), 1);
	sim_clear_faults(world.medium);
	volume_superblock(world.volume, &sb);
	assert_true(sb.generation > unfinished.sb.generation);
	assert_true(sb.previous_generation < unfinished.sb.generation);
	go_on_and_crash(&world, runs);
	for (int again = 0; again < 2; again++) {
		world_open(&world);
		expect_what_went_on(&world, runs);
		world_lose_power(&world);
	}
	world_open(&world);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	expect_what_went_on(&world, runs);
	world_end(&world);
}

/* Should it become the newest after all, what it says of space contradicts the journal. */
static void
a_superblock_that_the_journal_contradicts_is_passed_over(void **state)
{
	struct world world = { 0 };
	struct unfinished unfinished;
	struct run runs[RUNS_AFTER];
	static const uint8_t nothing[BLOCK_BYTES];

	(void)state;
	leave_unfinished(&world, &unfinished);
	assert_int_equal(sim_poke(world.medium, unfinished.addr, nothing), 0);
	world_open(&world);
	go_on_and_crash(&world, runs);
	assert_int_equal(sim_poke(world.medium, unfinished.addr, unfinished.block), 0);
	world_open(&world);
	expect_what_went_on(&world, runs);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	world_reopen(&world);
	expect_what_went_on(&world, runs);
	world_end(&world);
}

/* ---- Step 7: every message ------------------------------------------------------------------- */

enum {
	DEAD = 700,
	JOB = 7,
	JOB_ROOT_AT = 24,
	JOB_FIXED_BYTES = JOB_ROOT_AT + ROOT_RECORD_BYTES, /* the cursor follows */
	JOB_BYTES_MAX = JOB_FIXED_BYTES + TREE_KEY_BYTES_MAX,
	RUNS_OF_STEP = 16,
	CONTENT_ENTRIES = 300
};

static const struct tree_name catalog_name = { .kind = TREE_CATALOG };
static const struct tree_name dead_name = {
	.branch = BRANCH_MAIN, .object = DEAD, .kind = TREE_CONTENT
};

static void
bury(struct world *world)
{
	static const uint8_t record[JOB_FIXED_BYTES] = "a job";
	uint8_t bytes[CATALOG_KEY_BYTES];
	struct view key = catalog_key(bytes, CATALOG_JOB, JOB);
	struct tx *tx;

	assert_int_equal(tx_begin(world->volume, &world->visit, true, &tx), 0);
	assert_int_equal(tx_put(tx, catalog_name, key, view_of(record, sizeof record)), 0);
	assert_int_equal(tx_bury_tree(tx, dead_name, key, JOB_ROOT_AT), 0);
	assert_int_equal(tx_commit(tx), 0);
}

static bool
read_job(struct world *world, uint8_t out[static JOB_BYTES_MAX], struct tree_root *out_root,
	struct tree_cursor *out_cursor)
{
	uint8_t bytes[CATALOG_KEY_BYTES];
	struct tree *tree;
	size_t length = 0;
	int err;

	assert_int_equal(volume_tree_open(world->volume, catalog_name, &tree), 0);
	err = tree_get(tree, catalog_key(bytes, CATALOG_JOB, JOB), out, JOB_BYTES_MAX, &length);
	volume_tree_release(world->volume, tree);
	if (err == COP_ENOENT)
		return false;
	assert_int_equal(err, 0);
	assert_true(length >= JOB_FIXED_BYTES);
	assert_int_equal(root_record_decode(out + JOB_ROOT_AT, out_root), 0);
	out_cursor->bytes = (uint32_t)(length - JOB_FIXED_BYTES);
	memcpy(out_cursor->key, out + JOB_FIXED_BYTES, out_cursor->bytes);
	return true;
}

/* One step of taking the buried tree apart; true: it was the last. */
static bool
step(struct world *world)
{
	struct remains remains = { 0 };
	struct tree_cursor cursor;
	uint8_t bytes[CATALOG_KEY_BYTES];
	uint8_t record[JOB_BYTES_MAX];
	struct tx_step message = {
		.dead = dead_name,
		.job_key = catalog_key(bytes, CATALOG_JOB, JOB),
		.root_at = JOB_ROOT_AT,
		.from = &cursor,
		.remains = &remains,
	};
	struct tree_root root;
	struct tx *tx;
	bool done;

	assert_true(read_job(world, record, &root, &cursor));
	assert_int_equal(
		volume_remains(world->volume, TREE_CONTENT, &root, &cursor, RUNS_OF_STEP, &remains),
		0);
	done = remains.is_done;
	if (!done) {
		memcpy(record + JOB_FIXED_BYTES, remains.next.key, remains.next.bytes);
		message.value = view_of(record, JOB_FIXED_BYTES + remains.next.bytes);
	}
	assert_int_equal(tx_begin(world->volume, &world->visit, true, &tx), 0);
	assert_int_equal(tx_step(tx, &message), 0);
	assert_int_equal(tx_commit(tx), 0);
	volume_remains_free(&remains);
	return done;
}

/* Blocks that are free once all that was freed is. */
static uint64_t
settled_free(struct world *world)
{
	world_settle(world);
	assert_int_equal(space_pending_blocks(volume_space(world->volume)), 0);
	space_check(volume_space(world->volume));
	return space_free_blocks(volume_space(world->volume));
}

/* At each point the power fails; the rest is done after it, and the end is always the same. */
static void
replays_each_message_after_a_crash_at_each(void **state)
{
	struct world world = { 0 };
	uint64_t free_blocks = 0;
	bool crash_was_last = false;

	(void)state;
	for (int crash_at = -1; !crash_was_last; crash_at++) {
		struct tree_cursor cursor;
		struct tree_root root;
		uint8_t record[JOB_BYTES_MAX];
		bool done = false;

		world = (struct world){ 0 };
		world_format(&world, SMALL_BYTES, 0);
		for (uint32_t i = 0; i < CONTENT_ENTRIES; i++)
			assert_int_equal(world_put_content(&world, DEAD, i, 1, 200, true), 0);
		assert_int_equal(volume_checkpoint(world.volume), 0);
		for (uint32_t i = 0; i < CONTENT_ENTRIES; i += 3) {
			assert_int_equal(world_put_content(&world, DEAD, i, 2, 200, true), 0);
			assert_int_equal(world_put_content(&world, DEAD, i + 1, 0, 0, false), 0);
		}
		put(&world, 1, 1);
		put(&world, 2, 2);
		assert_int_equal(world_delete(&world, 1), 0);
		crash_was_last = true;
		for (int i = 0; !done; i++) {
			if (i == crash_at) {
				sync_volume(&world);
				world_lose_power(&world);
				world_open(&world);
				crash_was_last = false;
			}
			if (i == 0) {
				assert_int_equal(world_get_content(&world, DEAD, 3), 2);
				assert_int_equal(world_get_content(&world, DEAD, 4), COP_ENOENT);
				assert_int_equal(world_get_content(&world, DEAD, 5), 1);
				bury(&world);
			} else {
				done = step(&world);
			}
		}
		if (crash_was_last && crash_at > 0) { /* after the end, once */
			sync_volume(&world);
			world_lose_power(&world);
			world_open(&world);
		}
		assert_false(read_job(&world, record, &root, &cursor));
		assert_int_equal(world_get_content(&world, DEAD, 5), COP_ENOENT);
		assert_int_equal(world_get(&world, 1), COP_ENOENT);
		assert_int_equal(world_get(&world, 2), 2);
		if (crash_at < 0)
			free_blocks = settled_free(&world);
		else
			assert_int_equal(settled_free(&world), free_blocks);
		crash_was_last = crash_was_last && crash_at > 0;
		world_end(&world);
	}
}

/* ---- Fallback -------------------------------------------------------------------------------- */

/* Batches 1 to 3 before the newest checkpoint's predecessor, then before itself, then after it. */
static struct journal_chain
three_periods(struct world *world, struct superblock *out_newest, struct journal_region *out_region)
{
	struct journal_chain chain;

	*world = (struct world){ 0 };
	world_format(world, SMALL_BYTES, 0);
	for (uint32_t i = 1; i <= 3; i++) {
		put(world, i, (uint8_t)i);
		sync_volume(world);
		if (i < 3)
			assert_int_equal(volume_checkpoint(world->volume), 0);
	}
	volume_superblock(world->volume, out_newest);
	world_close(world);
	chain = chain_of(world, out_region);
	assert_true(chain.has_previous);
	assert_int_equal(chain.count, 2);
	assert_int_equal(chain.newest, 1);
	return chain;
}

static void
lose_trees_of(struct world *world, const struct superblock *sb)
{
	assert_int_equal(sim_flip_bit(world->medium, sb->catalog.pointer.addr, 480), 0);
	assert_int_equal(sim_flip_bit(world->medium, sb->catalog.pointer.addr2, 480), 0);
}

static void
falls_back_when_that_loses_nothing(void **state)
{
	static const struct {
		bool lose_newest;
		int lose_batch; /* of the chain; -1: none */
		bool read_only;
		int result;
		uint64_t replayed;
		uint32_t last; /* that is there */
	} rows[] = {
		{ false, -1, false, 0, 1, 3 }, { false, -1, true, 0, 1, 3 },
		{ true, -1, false, 0, 2, 3 }, { true, -1, true, 0, 2, 3 },
		{ false, 0, false, 0, 1, 3 }, /* costs the fallback only */
		{ false, 0, true, 0, 1, 3 }, { true, 0, false, COP_ECHECKSUM, 0, 0 },
		{ true, 0, true, 0, 0, 1 }, /* what there is may be read */
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct world world;
		struct superblock newest;
		struct journal_region region;
		struct journal_chain chain = three_periods(&world, &newest, &region);

		if (rows[i].lose_newest)
			lose_trees_of(&world, &newest);
		if (rows[i].lose_batch >= 0)
			assert_int_equal(
				sim_flip_bit(world.medium,
					region.addr + chain.batches[rows[i].lose_batch].position,
					9000),
				0);
		world.read_only = rows[i].read_only;
		assert_int_equal(world_try_open(&world), rows[i].result);
		if (rows[i].result == 0) {
			assert_int_equal(replayed(&world), rows[i].replayed);
			for (uint32_t j = 1; j <= 3; j++)
				assert_int_equal(world_get(&world, j),
					j <= rows[i].last ? (int)j : COP_ENOENT);
			world_close(&world);
		}
		journal_chain_free(&chain);
		sim_free(world.medium);
	}
}

/* ---- Damage ---------------------------------------------------------------------------------- */

static void
damage_under_what_was_durable_asks_before_it_writes(void **state)
{
	struct world world = { 0 };
	struct journal_region region;
	struct journal_chain chain;

	(void)state;
	world_format(&world, SMALL_BYTES, 0);
	for (uint32_t i = 1; i <= 4; i++) {
		put(&world, i, (uint8_t)i);
		sync_volume(&world);
	}
	world_close(&world);
	chain = chain_of(&world, &region);
	assert_int_equal(chain.count, 4);
	assert_int_equal(chain.durable, 3);
	assert_int_equal(
		sim_flip_bit(world.medium, region.addr + chain.batches[1].position, 9000), 0);
	journal_chain_free(&chain);

	assert_int_equal(world_try_open(&world), COP_ELOSS);
	assert_non_null(strstr(err_text(), "batches 2 to 3 were durable"));
	world.read_only = true;
	world_open(&world);
	assert_int_equal(world_get(&world, 1), 1);
	assert_int_equal(world_get(&world, 2), COP_ENOENT);
	world_close(&world);
	world.read_only = false;
	world.accept_loss = true;
	world_open(&world);
	assert_int_equal(world_get(&world, 1), 1);
	assert_int_equal(world_get(&world, 2), COP_ENOENT);
	put(&world, 5, 5);
	sync_volume(&world);

	/* It was accepted once and for all. */
	world_lose_power(&world);
	world.accept_loss = false;
	world_open(&world);
	assert_int_equal(world_get(&world, 1), 1);
	assert_int_equal(world_get(&world, 3), COP_ENOENT);
	assert_int_equal(world_get(&world, 5), 5);
	world_end(&world);
}

/*
 * Where the next batch would be, a block that cannot be read may hold one that was acknowledged:
 * nobody can tell, and so it is asked about. Anywhere else nothing is behind it.
 */
static void
a_block_that_cannot_be_read_counts_where_the_next_batch_would_be(void **state)
{
	(void)state;
	for (uint64_t behind = 0; behind < 3; behind++) {
		struct sim_fault fault = { .kind = SIM_FAIL_READ, .persistent = true, .blocks = 1 };
		struct world world = { 0 };
		struct journal_region region;
		struct journal_chain chain;

		world_format(&world, SMALL_BYTES, 0);
		put(&world, 1, 1);
		sync_volume(&world);
		world_close(&world);
		chain = chain_of(&world, &region);
		fault.addr = region.addr + chain.end.position + behind;
		journal_chain_free(&chain);
		assert_int_equal(sim_add_fault(world.medium, &fault), 0);
		if (behind == 0) {
			assert_int_equal(world_try_open(&world), COP_ELOSS);
			world.read_only = true;
			world_open(&world);
			assert_int_equal(world_get(&world, 1), 1);
			world_close(&world);
			world.read_only = false;
			world.accept_loss = true;
		}
		world_open(&world);
		assert_int_equal(world_get(&world, 1), 1);
		put(&world, 2, 2);
		sync_volume(&world);
		sim_clear_faults(world.medium);
		world_lose_power(&world);
		world.accept_loss = false;
		world_open(&world);
		assert_int_equal(world_get(&world, 1), 1);
		assert_int_equal(world_get(&world, 2), 2);
		world_end(&world);
	}
}

/* ---- Little memory --------------------------------------------------------------------------- */

enum {
	LARGE_BYTES = 128 << 20, /* its journal has 2048 blocks, its nodes 4 KiB */
	LARGE_CACHE = 256 << 20,
	KEYS = 40000,
	CHANGES = 9000, /* each in a leaf of its own, nearly */
};

static uint32_t
changed_key(uint32_t i)
{
	return (uint32_t)((uint64_t)i * 7919 % KEYS);
}

/* A crash after changes of more nodes than the least cache has room for. */
static void
change_much_and_crash(struct world *world)
{
	uint64_t checkpoints;

	*world = (struct world){ .cache_bytes = LARGE_CACHE };
	world_format(world, LARGE_BYTES, 0);
	for (uint32_t i = 0; i < KEYS; i++)
		assert_int_equal(world_put(world, i, 1, 400), 0);
	assert_int_equal(volume_checkpoint(world->volume), 0);
	checkpoints = volume_stats(world->volume).checkpoints;
	for (uint32_t i = 0; i < CHANGES; i++) {
		assert_int_equal(world_put(world, changed_key(i), 2, 60), 0);
		if (i % 500 == 499)
			sync_volume(world);
	}
	assert_int_equal(volume_stats(world->volume).checkpoints, checkpoints);
	assert_true(cache_stats(volume_cache(world->volume)).dirty_bytes > 2 * COP_CACHE_BYTES_MIN);
	world_lose_power(world);
	world->cache_bytes = 0;
}

static void
assert_all_changed(struct world *world)
{
	static uint8_t wanted[KEYS];

	memset(wanted, 1, sizeof wanted);
	for (uint32_t i = 0; i < CHANGES; i++)
		wanted[changed_key(i)] = 2;
	for (uint32_t i = 0; i < KEYS; i++)
		assert_int_equal(world_get(world, i), wanted[i]);
}

static void
the_least_cache_is_enough_for_the_longest_journal(void **state)
{
	struct world world;
	struct cache_stats stats;

	(void)state;
	change_much_and_crash(&world);
	world.read_only = true;
	world_open(&world);
	assert_int_equal(replayed(&world), CHANGES);
	assert_all_changed(&world);
	world_close(&world);

	world.read_only = false;
	world_open(&world);
	assert_int_equal(replayed(&world), CHANGES);
	assert_true(volume_stats(world.volume).checkpoints > 2);
	stats = cache_stats(volume_cache(world.volume));
	/* Over the limit: a quarter of it, and what one batch has changed. */
	assert_true(stats.bytes_max < 2 * COP_CACHE_BYTES_MIN);
	space_check(volume_space(world.volume));
	assert_all_changed(&world);
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(world_put(&world, i, 3, 100), 0);
	stats = cache_stats(volume_cache(world.volume));
	assert_true(stats.bytes <= COP_CACHE_BYTES_MIN);
	world_end(&world);
}

/* The replay goes on where a checkpoint in it has ended, and the state is the same. */
static void
a_crash_anywhere_in_a_replay_with_checkpoints_starts_over(void **state)
{
	struct world crashed;
	struct world world;
	uint64_t calls;
	struct rng rng;

	(void)state;
	change_much_and_crash(&crashed);
	world = crashed;
	assert_int_equal(sim_clone(crashed.medium, &world.medium), 0);
	calls = sim_stats(world.medium).calls;
	world_open(&world);
	calls = sim_stats(world.medium).calls - calls;
	world_end(&world);

	rng_seed(&rng, 6);
	for (int i = 0; i < 8; i++) {
		world = crashed;
		world.openings = (uint8_t)(3 * i);
		assert_int_equal(sim_clone(crashed.medium, &world.medium), 0);
		sim_cut_after(world.medium, calls * (uint64_t)i / 8 + rng_below(&rng, calls / 8));
		assert_int_equal(world_try_open(&world), COP_EIO);
		sim_power_on(world.medium, sim_choose_random, &rng);
		world_open(&world);
		assert_true(replayed(&world) <= CHANGES);
		assert_all_changed(&world);
		space_check(volume_space(world.volume));
		world_end(&world);
	}
	sim_free(crashed.medium);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_synced_is_there_after_a_power_cut),
		cmocka_unit_test(a_clean_volume_is_opened_without_its_journal),
		cmocka_unit_test(a_reader_replays_in_memory_and_writes_nothing),
		cmocka_unit_test(what_a_failed_flush_forgot_is_written_again),
		cmocka_unit_test(a_superblock_that_a_failed_flush_forgot_is_written_again),
		cmocka_unit_test(an_opening_writes_and_flushes_twice_and_no_more),
		cmocka_unit_test(openings_that_hold_nothing_take_no_room),
		cmocka_unit_test(batches_that_were_given_up_never_come_back),
		cmocka_unit_test(nothing_lands_on_what_the_journal_names),
		cmocka_unit_test(a_superblock_that_was_not_read_is_outdone),
		cmocka_unit_test(a_superblock_that_the_journal_contradicts_is_passed_over),
		cmocka_unit_test(replays_each_message_after_a_crash_at_each),
		cmocka_unit_test(falls_back_when_that_loses_nothing),
		cmocka_unit_test(damage_under_what_was_durable_asks_before_it_writes),
		cmocka_unit_test(a_block_that_cannot_be_read_counts_where_the_next_batch_would_be),
		cmocka_unit_test(the_least_cache_is_enough_for_the_longest_journal),
		cmocka_unit_test(a_crash_anywhere_in_a_replay_with_checkpoints_starts_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
