/*
 * Damage in what the journal's replay must change: it costs what it lies in, and only where neither
 * of the two newest checkpoints leads past it.
 */

#include "base/num.h"
#include "support/alloc.h"
#include "volume/volume_internal.h"
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum {
	SMALL_BYTES = 32 << 20, /* nodes of one block */
	JOURNAL_BLOCKS = 512,
	ENTRIES = 60, /* of each tree: some leaves */
	ENTRY_BYTES = 500,
	OBJECT = 7,
	OTHER = 8,
	OLD = 1,
	NEW = 2,
};

static const uint8_t zeros[BLOCK_BYTES];

static void
put_content(struct world *world, uint64_t object, uint64_t key, uint8_t fill)
{
	if (world_put_content(world, object, key, fill, ENTRY_BYTES, true) != 0)
		fail_msg("%s", err_text());
}

static void
put(struct world *world, uint32_t number, uint8_t fill)
{
	if (world_put(world, number, fill, ENTRY_BYTES) != 0)
		fail_msg("%s", err_text());
}

static void
checkpoint(struct world *world)
{
	put(world, 1000, 0); /* so that there is something to write */
	assert_int_equal(volume_checkpoint(world->volume), 0);
}

/* Trees of several leaves in the newest checkpoint, and in the one before if `in_both`. */
static void
prepare(struct world *world, bool in_both)
{
	world->journal_blocks = JOURNAL_BLOCKS;
	world_format(world, SMALL_BYTES, 0);
	for (int round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < ENTRIES; i++) {
			put_content(world, OBJECT, i, OLD);
			put_content(world, OTHER, i, OLD);
			put(world, i, OLD);
		}
		checkpoint(world);
	}
	if (in_both)
		checkpoint(world);
}

/* What is only in the journal: every third entry is new. */
static void
change_and_crash(struct world *world)
{
	for (uint32_t i = 0; i < ENTRIES; i += 3) {
		put_content(world, OBJECT, i, NEW);
		put_content(world, OTHER, i, NEW);
		put(world, i, NEW);
	}
	assert_int_equal(volume_sync(world->volume), 0);
	world_lose_power(world);
}

/* ---- Damage ---------------------------------------------------------------------------------- */

/* The leaf of a tree, as it is on the device, that holds a key. */
struct search {
	struct view key;
	struct tree_pointer leaf; /* the one being walked, then the one that was found */
	bool is_found;
};

static bool
search_node(void *context, const struct tree_pointer *pointer, uint8_t level, int copy, int result)
{
	struct search *search = context;

	(void)copy;
	(void)result;
	if (level == 0 && !search->is_found)
		search->leaf = *pointer;
	return !search->is_found;
}

static bool
search_entry(void *context, struct view key, struct view value)
{
	struct search *search = context;

	(void)value;
	search->is_found |= view_equal(key, search->key);
	return true;
}

static struct tree_pointer
leaf_of(struct world *world, struct tree_name name, struct view key)
{
	const struct volume_options options = {
		.read_only = true,
		.as_is = true,
		.cache_bytes = COP_CACHE_BYTES_MIN,
	};
	struct search search = { .key = key };
	const struct tree_walk walk = {
		.node = search_node,
		.entry = search_entry,
		.context = &search,
	};
	struct volume_visit visit;
	struct volume *volume;
	struct device *dev;
	struct tree *tree;

	assert_int_equal(sim_open(world->medium, DEVICE_READ_ONLY | DEVICE_NO_LOCK, &dev), 0);
	assert_int_equal(volume_open(dev, &options, &volume), 0);
	volume_enter(volume, &visit);
	assert_int_equal(volume_tree_open(volume, name, &tree), 0);
	assert_int_equal(tree_walk(volume_tree_env(volume), name.kind, &tree->root, &walk), 0);
	volume_tree_release(volume, tree);
	volume_leave(volume, &visit);
	volume_close(volume);
	device_close(dev);
	assert_true(search.is_found);
	return search.leaf;
}

static struct tree_pointer
content_leaf(struct world *world, uint64_t object, uint64_t entry)
{
	struct tree_name name = { BRANCH_MAIN, object, TREE_CONTENT };
	uint8_t key[8];

	put_be64(key, entry);
	return leaf_of(world, name, view_of(key, sizeof key));
}

static struct tree_pointer
object_leaf(struct world *world, uint32_t number)
{
	uint8_t key[OBJECT_KEY_BYTES];

	return leaf_of(world, world_objects, world_key(key, number));
}

static void
destroy(struct world *world, const struct tree_pointer *pointer)
{
	assert_int_equal(sim_poke(world->medium, pointer->addr, zeros), 0);
	if (pointer->addr2 != 0)
		assert_int_equal(sim_poke(world->medium, pointer->addr2, zeros), 0);
}

/* ---- What is there --------------------------------------------------------------------------- */

static int
wanted(uint32_t entry)
{
	return entry % 3 == 0 ? NEW : OLD;
}

static void
content_is_whole(struct world *world, uint64_t object)
{
	for (uint32_t i = 0; i < ENTRIES; i++)
		assert_int_equal(world_get_content(world, object, i), wanted(i));
}

static void
objects_are_whole(struct world *world)
{
	for (uint32_t i = 0; i < ENTRIES; i++)
		assert_int_equal(world_get(world, i), wanted(i));
}

/* Some neighbours, `entry` among them, are lost, and nothing else is; how many. */
static uint32_t
count_lost(struct world *world, uint64_t object, uint32_t entry, int code)
{
	uint32_t lost = 0;

	for (uint32_t i = 0; i < ENTRIES; i++) {
		int found = object == 0 ? world_get(world, i) : world_get_content(world, object, i);

		if (found == code)
			lost++;
		else
			assert_int_equal(found, wanted(i));
		if (i == entry)
			assert_int_equal(found, code);
	}
	assert_in_range(lost, 1, ENTRIES / 4);
	return lost;
}

/* ---- The predecessor leads past it ----------------------------------------------------------- */

static void
loses_nothing_that_the_predecessor_has(void **state)
{
	(void)state;
	for (int read_only = 0; read_only < 2; read_only++) {
		struct world world = { 0 };
		struct tree_pointer leaf;

		prepare(&world, false);
		change_and_crash(&world);
		leaf = content_leaf(&world, OBJECT, 30);
		destroy(&world, &leaf);
		leaf = object_leaf(&world, 30);
		destroy(&world, &leaf);

		world.read_only = read_only == 1;
		world_open(&world);
		content_is_whole(&world, OBJECT);
		content_is_whole(&world, OTHER);
		objects_are_whole(&world);
		world_end(&world);
	}
}

/*
 * What the newest superblock alone reaches is overwritten after that. So it must not be gone on
 * from again, though the device may read what it did not read before.
 */
static void
does_not_come_back_to_what_it_has_left(void **state)
{
	struct world world = { 0 };
	struct sim_fault unread = { .kind = SIM_FAIL_READ, .blocks = 1, .persistent = true };
	struct sim_fault unwritten = { .kind = SIM_FAIL_WRITE, .blocks = 4, .persistent = true };
	struct tree_pointer leaf;
	struct superblock before;
	struct superblock after;

	(void)state;
	prepare(&world, false);
	volume_superblock(world.volume, &before);
	put_content(&world, OBJECT, 30, NEW);
	assert_int_equal(volume_sync(world.volume), 0);
	world_lose_power(&world);
	leaf = content_leaf(&world, OBJECT, 30);
	unread.addr = leaf.addr;
	unread.call = 1;
	assert_int_equal(sim_add_fault(world.medium, &unread), 0);

	world_open(&world);
	volume_superblock(world.volume, &after);
	assert_true(after.generation > before.generation);
	for (uint32_t i = 0; i < ENTRIES; i++) {
		put_content(&world, OTHER, i, NEW);
		put(&world, i, NEW);
	}
	assert_int_equal(volume_sync(world.volume), 0);

	/* A checkpoint gets as far as its superblock. */
	unwritten.call = 1;
	assert_int_equal(sim_add_fault(world.medium, &unwritten), 0);
	assert_int_equal(volume_checkpoint(world.volume), COP_EIO);
	world_lose_power(&world);
	sim_clear_faults(world.medium);
	world_open(&world);
	for (uint32_t i = 0; i < ENTRIES; i++) {
		assert_int_equal(world_get_content(&world, OBJECT, i), i == 30 ? NEW : OLD);
		assert_int_equal(world_get_content(&world, OTHER, i), NEW);
		assert_int_equal(world_get(&world, i), NEW);
	}
	world_end(&world);
}

/* ---- Content --------------------------------------------------------------------------------- */

static void
a_lost_leaf_of_content_costs_what_it_held(void **state)
{
	struct world world = { 0 };
	uint8_t image[BLOCK_BYTES];
	struct tree_pointer leaf;
	uint32_t lost;

	(void)state;
	prepare(&world, true);
	change_and_crash(&world);
	leaf = content_leaf(&world, OBJECT, 30);
	assert_int_equal(leaf.addr2, 0);
	assert_int_equal(sim_peek(world.medium, leaf.addr, image), 0);
	destroy(&world, &leaf);

	world.read_only = true;
	world_open(&world);
	lost = count_lost(&world, OBJECT, 30, COP_ECHECKSUM);
	objects_are_whole(&world);
	world_close(&world);

	/* It can be written, and stays as it is through crashes, also if the device reads it again:
	 * blocks that its records name may have another owner by then. */
	world.read_only = false;
	for (int round = 0; round < 3; round++) {
		world_open(&world);
		assert_int_equal(count_lost(&world, OBJECT, 30, COP_ECHECKSUM), lost);
		content_is_whole(&world, OTHER);
		objects_are_whole(&world);
		assert_int_equal(
			world_put_content(&world, OBJECT, 30, 9, ENTRY_BYTES, true), COP_ECHECKSUM);
		assert_int_equal(world_put_content(&world, OBJECT, 30, 9, 0, false), COP_ECHECKSUM);
		put(&world, 500 + (uint32_t)round, NEW);
		put_content(&world, OBJECT, 1000 + (uint64_t)round, NEW);
		assert_int_equal(volume_sync(world.volume), 0);
		if (round == 1)
			world_settle(&world);
		if (round == 1)
			assert_int_equal(sim_poke(world.medium, leaf.addr, image), 0);
		world_lose_power(&world);
	}
	world_open(&world);
	assert_int_equal(count_lost(&world, OBJECT, 30, COP_ECHECKSUM), lost);
	for (uint32_t round = 0; round < 3; round++) {
		assert_int_equal(world_get(&world, 500 + round), NEW);
		assert_int_equal(world_get_content(&world, OBJECT, 1000 + round), NEW);
	}
	world_end(&world);
}

/* The whole tree, where its only node is the leaf. */
static void
a_lost_root_costs_its_tree(void **state)
{
	struct world world = { 0 };
	struct tree_pointer leaf;

	(void)state;
	prepare(&world, false);
	put_content(&world, 9, 1, OLD);
	checkpoint(&world);
	checkpoint(&world);
	put_content(&world, 9, 2, NEW);
	change_and_crash(&world);
	leaf = content_leaf(&world, 9, 1);
	destroy(&world, &leaf);

	for (int round = 0; round < 2; round++) {
		world_open(&world);
		assert_int_equal(world_get_content(&world, 9, 1), COP_ECHECKSUM);
		assert_int_equal(world_get_content(&world, 9, 2), COP_ECHECKSUM);
		assert_int_equal(
			world_put_content(&world, 9, 3, NEW, ENTRY_BYTES, true), COP_ECHECKSUM);
		content_is_whole(&world, OBJECT);
		objects_are_whole(&world);
		world_lose_power(&world);
	}
	world_open(&world);
	world_end(&world);
}

/* Is any block of the run handed out, when all that can be is? */
static bool
is_handed_out(struct world *world, struct run run)
{
	bool is_met = false;
	struct run got;
	struct tx *tx;

	assert_int_equal(tx_begin(world->volume, &world->visit, false, &tx), 0);
	while (tx_take(tx, SPACE_DATA, 0, run.blocks, &got) == 0)
		is_met |= got.addr < run.addr + run.blocks && run.addr < got.addr + got.blocks;
	tx_abort(tx);
	return is_met;
}

/* What a transaction gives up whose other half is lost may still be named there. */
static void
what_was_given_up_with_a_loss_stays_used(void **state)
{
	(void)state;
	for (int is_damaged = 0; is_damaged < 2; is_damaged++) {
		struct world world = { 0 };
		struct tree_name name = { BRANCH_MAIN, OBJECT, TREE_CONTENT };
		struct tree_pointer leaf;
		struct run run;
		struct tx *tx;
		uint8_t key[8];

		put_be64(key, 30);
		prepare(&world, false);
		assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
		assert_int_equal(tx_take(tx, SPACE_DATA, 0, 16, &run), 0);
		assert_int_equal(tx_put(tx, name, view_of(key, 8), view_of("with data", 9)), 0);
		assert_int_equal(tx_commit(tx), 0);
		checkpoint(&world);
		checkpoint(&world);
		assert_int_equal(tx_begin(world.volume, &world.visit, true, &tx), 0);
		assert_int_equal(tx_delete(tx, name, view_of(key, 8)), 0);
		assert_int_equal(tx_release(tx, run), 0);
		assert_int_equal(tx_commit(tx), 0);
		assert_int_equal(volume_sync(world.volume), 0);
		world_lose_power(&world);

		leaf = content_leaf(&world, OBJECT, 30);
		if (is_damaged)
			destroy(&world, &leaf);
		world_open(&world);
		world_settle(&world);
		assert_true(is_handed_out(&world, run) != (is_damaged == 1));
		world_end(&world);
	}
}

/* ---- Names and objects ----------------------------------------------------------------------- */

static void
lost_objects_are_asked_about(void **state)
{
	struct world world = { 0 };
	struct tree_pointer leaf;
	uint32_t lost;

	(void)state;
	prepare(&world, true);
	change_and_crash(&world);
	leaf = object_leaf(&world, 30);
	assert_int_not_equal(leaf.addr2, 0);
	destroy(&world, &leaf);

	for (int again = 0; again < 2; again++) {
		assert_int_equal(world_try_open(&world), COP_ELOSS);
		assert_non_null(strstr(err_text(), "for reading"));
		assert_non_null(strstr(err_text(), "objects from number"));
	}
	world.read_only = true;
	world_open(&world);
	lost = count_lost(&world, 0, 30, COP_ECHECKSUM);
	content_is_whole(&world, OBJECT);
	world_close(&world);

	world.read_only = false;
	world.accept_loss = true;
	world_open(&world);
	world_lose_power(&world);

	/* Once is enough. */
	world.accept_loss = false;
	for (int round = 0; round < 2; round++) {
		world_open(&world);
		assert_int_equal(count_lost(&world, 0, 30, COP_ECHECKSUM), lost);
		content_is_whole(&world, OBJECT);
		content_is_whole(&world, OTHER);
		put(&world, 600, NEW);
		assert_int_equal(volume_sync(world.volume), 0);
		world_lose_power(&world);
	}
	world_open(&world);
	assert_int_equal(world_get(&world, 600), NEW);
	world_end(&world);
}

/* Content whose root record is lost is lost with it. */
static void
content_of_lost_objects_is_lost(void **state)
{
	struct world world = { 0 };
	uint8_t key[ROOT_KEY_BYTES];
	struct tree_pointer leaf;

	(void)state;
	prepare(&world, true);
	change_and_crash(&world);
	leaf = leaf_of(&world, world_objects, root_key(key, OBJECT, TREE_CONTENT));
	destroy(&world, &leaf);
	world.accept_loss = true;
	for (int round = 0; round < 2; round++) {
		world_open(&world);
		assert_int_equal(world_get_content(&world, OBJECT, 30), COP_ECHECKSUM);
		assert_int_equal(world_get(&world, ENTRIES - 1), wanted(ENTRIES - 1));
		world_lose_power(&world);
	}
	world_open(&world);
	world_end(&world);
}

/* ---- What the device did not read ------------------------------------------------------------ */

static void
what_was_not_read_is_not_given_up(void **state)
{
	struct world world = { 0 };
	struct tree_pointer leaf;
	struct sim_fault fault = { .kind = SIM_FAIL_READ, .blocks = 1 };

	(void)state;
	prepare(&world, true);
	change_and_crash(&world);
	leaf = content_leaf(&world, OBJECT, 30);
	fault.addr = leaf.addr;
	assert_int_equal(sim_add_fault(world.medium, &fault), 0);
	assert_int_equal(world_try_open(&world), COP_ELOSS);
	assert_non_null(strstr(err_text(), "content of object 7"));

	world.read_only = true;
	world_open(&world);
	(void)count_lost(&world, OBJECT, 30, COP_ECHECKSUM);
	world_close(&world);

	world.read_only = false;
	sim_clear_faults(world.medium);
	world_open(&world);
	content_is_whole(&world, OBJECT);
	world_end(&world);
}

/*
 * The predecessor leads past a leaf that is damaged. Were it given up because the opening that
 * tried failed for want of memory, or of a read that may succeed the next time, it would be lost
 * for nothing.
 */
static void
lack_of_memory_loses_nothing(void **state)
{
	struct world world = { 0 };
	struct tree_pointer leaf;
	int err = COP_ENOMEM;

	(void)state;
	prepare(&world, false);
	change_and_crash(&world);
	leaf = content_leaf(&world, OBJECT, 30);
	destroy(&world, &leaf);
	for (uint64_t nth = 1; err; nth++) {
		const struct volume_options options = {
			.cache_bytes = COP_CACHE_BYTES_MIN,
			.entry_run = world_no_run,
		};
		struct volume *volume;
		struct device *dev;

		assert_int_equal(sim_open(world.medium, 0, &dev), 0);
		alloc_fail_nth(nth);
		err = volume_open(dev, &options, &volume);
		alloc_fail_nth(0);
		if (err)
			assert_int_equal(err, COP_ENOMEM);
		else
			volume_close(volume);
		device_close(dev);
	}
	world_open(&world);
	content_is_whole(&world, OBJECT);
	world_end(&world);
}

static void
a_call_that_fails_loses_nothing(void **state)
{
	static const enum sim_fault_kind kinds[] = { SIM_FAIL_READ, SIM_FAIL_WRITE,
		SIM_FAIL_FLUSH };
	struct world before = { 0 };
	struct tree_pointer leaf;

	(void)state;
	prepare(&before, false);
	change_and_crash(&before);
	leaf = content_leaf(&before, OBJECT, 30);
	destroy(&before, &leaf);
	for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
		bool has_failed = true;
		uint64_t nth;

		for (nth = 1; has_failed; nth++) {
			struct world world = { .openings = before.openings };
			struct sim_fault fault = { .kind = kinds[i], .call = nth };

			assert_int_equal(sim_clone(before.medium, &world.medium), 0);
			assert_int_equal(sim_add_fault(world.medium, &fault), 0);
			if (world_try_open(&world) != 0)
				world_open(&world); /* that call succeeds now */
			has_failed = sim_faults_struck(world.medium) > 0;
			sim_clear_faults(world.medium);
			content_is_whole(&world, OBJECT);
			objects_are_whole(&world);
			world_end(&world);
		}
		assert_true(nth > 4); /* both ways of opening have made the call */
	}
	sim_free(before.medium);
}

/* ---- No room to replay in -------------------------------------------------------------------- */

enum { SLOTS = 3 };

/* Each slot of the allocation tree's top block, with what is in `blocks` by now. */
static void
exchange_top(struct world *world, uint8_t blocks[SLOTS][BLOCK_BYTES])
{
	struct geometry geometry;
	uint8_t found[BLOCK_BYTES];

	assert_int_equal(geometry_init(&geometry, SMALL_BYTES / BLOCK_BYTES,
				 geometry_ag_blocks(SMALL_BYTES / BLOCK_BYTES), JOURNAL_BLOCKS),
		0);
	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		uint64_t addr = geometry_space_block(&geometry, geometry.levels, 0, slot);

		assert_int_equal(sim_peek(world->medium, addr, found), 0);
		assert_int_equal(sim_poke(world->medium, addr, blocks[slot]), 0);
		memcpy(blocks[slot], found, BLOCK_BYTES);
	}
}

/* Where all groups are closed by damage nothing is changed and nothing is lost. */
static void
keeps_what_it_has_no_room_to_replay(void **state)
{
	struct world world = { 0 };
	static uint8_t top[SLOTS][BLOCK_BYTES];
	bool is_old = false;

	(void)state;
	prepare(&world, true);
	change_and_crash(&world);
	exchange_top(&world, top);
	assert_int_equal(world_try_open(&world), COP_ENOSPC);
	assert_non_null(strstr(err_text(), "closed by damage"));

	world.read_only = true;
	world_open(&world);
	for (uint32_t i = 0; i < ENTRIES; i++) {
		int found = world_get_content(&world, OBJECT, i);

		is_old |= found != wanted(i);
		assert_true(found == OLD || (!is_old && found == wanted(i)));
	}
	world_close(&world);

	exchange_top(&world, top);
	world.read_only = false;
	world_open(&world);
	content_is_whole(&world, OBJECT);
	content_is_whole(&world, OTHER);
	objects_are_whole(&world);
	world_end(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loses_nothing_that_the_predecessor_has),
		cmocka_unit_test(does_not_come_back_to_what_it_has_left),
		cmocka_unit_test(a_lost_leaf_of_content_costs_what_it_held),
		cmocka_unit_test(a_lost_root_costs_its_tree),
		cmocka_unit_test(what_was_given_up_with_a_loss_stays_used),
		cmocka_unit_test(lost_objects_are_asked_about),
		cmocka_unit_test(content_of_lost_objects_is_lost),
		cmocka_unit_test(what_was_not_read_is_not_given_up),
		cmocka_unit_test(lack_of_memory_loses_nothing),
		cmocka_unit_test(a_call_that_fails_loses_nothing),
		cmocka_unit_test(keeps_what_it_has_no_room_to_replay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
