#include "base/random.h"
#include "volume/volume_internal.h"
#include "world.h"

#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <setjmp.h>

#include <cmocka.h>

static void
open_trees_are_shared_by_name(void **state)
{
	struct tree_name name = { .branch = BRANCH_MAIN, .object = 77, .kind = TREE_CONTENT };
	struct tree_name directory = {
		.branch = BRANCH_MAIN, .object = 77, .kind = TREE_DIRECTORY
	};
	struct world world = { 0 };
	struct tree *a;
	struct tree *b;
	struct tree *c;

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(volume_tree_open(world.volume, name, &a), 0);
	assert_int_equal(volume_tree_open(world.volume, name, &b), 0);
	assert_int_equal(volume_tree_open(world.volume, directory, &c), 0);
	assert_ptr_equal(a, b);
	assert_ptr_not_equal(a, c);
	volume_tree_release(world.volume, a);
	assert_int_equal(world_put_content(&world, 77, 1, 9, 10, true), 0);
	assert_int_equal(b->root.levels, 1); /* follows the changes */
	volume_tree_release(world.volume, b);
	volume_tree_release(world.volume, c);
	volume_tree_release(world.volume, NULL);

	name.branch = BRANCH_MAIN + 1;
	assert_int_equal(volume_tree_open(world.volume, name, &a), COP_ENOENT);
	assert_non_null(strstr(err_text(), "no branch 2"));
	world_end(&world);
}

/* The job gets the root, the object loses it, in one transaction. */
static void
a_buried_tree_lives_on_in_its_job(void **state)
{
	enum { ROOT_AT = 4 };
	struct tree_name catalog = { .kind = TREE_CATALOG };
	struct tree_name name = { .branch = BRANCH_MAIN, .object = 77, .kind = TREE_CONTENT };
	uint8_t record[ROOT_AT + ROOT_RECORD_BYTES] = "job";
	uint8_t key[CATALOG_KEY_BYTES];
	struct world world = { 0 };
	struct tree_root before;
	struct tree_root root;
	struct tree *tree;
	struct tx *tx;
	size_t bytes;

	(void)state;
	world_format(&world, 8 << 20, 0);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(world_put_content(&world, 77, i, 1, 300, true), 0);
	assert_int_equal(volume_tree_open(world.volume, name, &tree), 0);
	before = tree->root;
	assert_int_equal(before.levels, 2);

	assert_int_equal(tx_begin(world.volume, &world.visit, true, &tx), 0);
	assert_int_equal(tx_put(tx, catalog, catalog_key(key, CATALOG_JOB, 1),
				 view_of(record, sizeof record)),
		0);
	assert_int_equal(tx_bury_tree(tx, name, catalog_key(key, CATALOG_JOB, 1), ROOT_AT), 0);
	assert_int_equal(tx_commit(tx), 0);
	assert_int_equal(tree->root.levels, 0);
	assert_int_equal(world_get_content(&world, 77, 5), COP_ENOENT);
	volume_tree_release(world.volume, tree);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	world_reopen(&world);
	assert_int_equal(world_get_content(&world, 77, 5), COP_ENOENT);

	assert_int_equal(volume_tree_open(world.volume, catalog, &tree), 0);
	assert_int_equal(
		tree_get(tree, catalog_key(key, CATALOG_JOB, 1), record, sizeof record, &bytes), 0);
	assert_int_equal(root_record_decode(record + ROOT_AT, &root), 0);
	assert_int_equal(root.pointer.addr, before.pointer.addr);
	assert_int_equal(root.levels, before.levels);
	assert_true(root.pointer.seal == before.pointer.seal);
	world_end(&world);
}

/* ---- Threads --------------------------------------------------------------------------------- */

enum { RACED_OBJECTS = 4, WRITERS = 2, READERS = 2, CHANGES = 400 };

struct racer {
	struct world world; /* with a visit of its own */
	pthread_t thread;
	uint64_t seed;
	_Atomic uint32_t *least; /* [RACED_OBJECTS]: what was committed last, at least */
	_Atomic bool *stop;
	int err;
	char text[200];
};

/* Grows and empties trees that nobody keeps open, so that their roots are read again and again. */
static void *
change_trees(void *context)
{
	struct racer *racer = context;
	struct world *world = &racer->world;

	for (uint32_t i = 1; i <= CHANGES && racer->err == 0; i++) {
		uint64_t object = racer->seed * 2 + i % 2; /* nobody else's */

		volume_enter(world->volume, &world->visit);
		racer->err = world_put_content(world, 1 + object, 1, (uint8_t)(i % 200), 300, true);
		if (racer->err == 0)
			atomic_store(&racer->least[object], i);
		for (uint64_t k = 2; k < 16 && racer->err == 0; k++)
			racer->err =
				world_put_content(world, 1 + object, k, (uint8_t)i, 500, i % 4 < 2);
		if (racer->err == 0 && i % 16 == 0)
			racer->err = volume_checkpoint(world->volume);
		if (racer->err)
			(void)snprintf(racer->text, sizeof racer->text, "%s", err_text());
		volume_leave(world->volume, &world->visit);
	}
	return NULL;
}

static void *
open_trees_again_and_again(void *context)
{
	struct racer *racer = context;
	struct world *world = &racer->world;
	struct rng rng;

	rng_seed(&rng, racer->seed);
	while (!atomic_load(racer->stop) && racer->err == 0) {
		uint64_t object = rng_below(&rng, RACED_OBJECTS);
		uint32_t before = atomic_load(&racer->least[object]);
		uint32_t after;
		int got;

		volume_enter(world->volume, &world->visit);
		got = world_get_content(world, 1 + object, 1);
		volume_leave(world->volume, &world->visit);
		after = atomic_load(&racer->least[object]);
		if (got == COP_ENOENT && before == 0)
			continue;
		/* Not older than what was committed before, nor newer than what comes next. */
		if (got < 0 || (after - before <= 2 && (uint32_t)(got + 200 - before % 200) % 200 >
							       after - before + 2)) {
			racer->err = got < 0 ? got : COP_EFORMAT;
			(void)snprintf(racer->text, sizeof racer->text,
				"object %" PRIu64 ": %d, between %u and %u: %s", object, got,
				before, after, err_text());
		}
	}
	return NULL;
}

static void
a_root_that_changes_while_it_is_opened_is_the_new_one(void **state)
{
	_Atomic uint32_t least[RACED_OBJECTS] = { 0 };
	_Atomic bool stop = false;
	struct racer racers[WRITERS + READERS] = { 0 };
	struct world world = { 0 };

	(void)state;
	world_format(&world, 64 << 20, 4096);
	volume_leave(world.volume, &world.visit);
	for (uint32_t i = 0; i < WRITERS + READERS; i++) {
		racers[i].world = world;
		racers[i].seed = i;
		racers[i].least = least;
		racers[i].stop = &stop;
		assert_int_equal(pthread_create(&racers[i].thread, NULL,
					 i < WRITERS ? change_trees : open_trees_again_and_again,
					 &racers[i]),
			0);
	}
	for (uint32_t i = 0; i < WRITERS + READERS; i++) {
		if (i == WRITERS)
			atomic_store(&stop, true);
		assert_int_equal(pthread_join(racers[i].thread, NULL), 0);
	}
	for (uint32_t i = 0; i < WRITERS + READERS; i++) {
		if (racers[i].err)
			fail_msg("racer %u: %s", i, racers[i].text);
	}
	volume_enter(world.volume, &world.visit);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	world_reopen(&world);
	for (uint64_t object = 0; object < RACED_OBJECTS; object++)
		assert_int_equal(world_get_content(&world, 1 + object, 1),
			(int)(atomic_load(&least[object]) % 200));
	space_check(volume_space(world.volume));
	world_end(&world);
}

/* ---- A damaged volume ---- */

static void
put_entry(struct tx *tx, uint64_t object, uint64_t number)
{
	struct tree_name name = { .branch = BRANCH_MAIN, .object = object, .kind = TREE_CONTENT };
	uint8_t key[8];
	uint8_t value[WORLD_VALUE_BYTES] = { 0 };

	put_be64(key, number);
	assert_int_equal(
		tx_put(tx, name, view_of(key, sizeof key), view_of(value, sizeof value)), 0);
}

static void
delete_entry(struct tx *tx, uint64_t object, uint64_t number)
{
	struct tree_name name = { .branch = BRANCH_MAIN, .object = object, .kind = TREE_CONTENT };
	uint8_t key[8];

	put_be64(key, number);
	assert_int_equal(tx_delete(tx, name, view_of(key, sizeof key)), 0);
}

/* Makes the content tree of `from` that of `to` as well. */
static void
share_root(struct world *world, uint64_t from, uint64_t to)
{
	uint8_t key[ROOT_KEY_BYTES];
	uint8_t value[ROOT_RECORD_BYTES];
	struct tree *objects;
	struct tx *tx;
	size_t bytes;

	assert_int_equal(volume_tree_open(world->volume, world_objects, &objects), 0);
	assert_int_equal(
		tree_get(objects, root_key(key, from, TREE_CONTENT), value, sizeof value, &bytes),
		0);
	assert_int_equal(tx_begin(world->volume, &world->visit, false, &tx), 0);
	assert_int_equal(
		tx_put(tx, world_objects, root_key(key, to, TREE_CONTENT), view_of(value, bytes)),
		0);
	assert_int_equal(tx_commit(tx), 0);
}

/*
 * Two trees with the same nodes, changed by one transaction: what the first frees is still there
 * for the second. Each node is freed twice, which the allocation tree bears.
 */
static void
one_transaction_changes_two_trees_that_share_their_nodes(void **state)
{
	enum { ENTRIES = 60 };
	struct world world = { 0 };
	struct tx *tx;

	(void)state;
	for (int deletes = 0; deletes < 2; deletes++) {
		world_format(&world, 8 << 20, 4096);
		for (uint64_t i = 0; i < ENTRIES; i++)
			assert_int_equal(world_put_content(&world, 5, 2 * i, 1, 400, true), 0);
		assert_int_equal(volume_checkpoint(world.volume), 0);
		share_root(&world, 5, 6);
		assert_int_equal(volume_checkpoint(world.volume), 0);
		world_reopen(&world);

		for (uint64_t i = 0; i + 10 < ENTRIES; i += 10) {
			assert_int_equal(tx_begin(world.volume, &world.visit, false, &tx), 0);
			for (uint64_t n = i; n < i + 10; n++) {
				if (deletes) {
					delete_entry(tx, 5, 2 * n);
					delete_entry(tx, 6, 2 * n);
				} else {
					put_entry(tx, 5, 2 * n + 1);
					put_entry(tx, 6, 2 * n + 1);
				}
			}
			assert_int_equal(tx_commit(tx), 0);
			assert_int_equal(volume_checkpoint(world.volume), 0);
		}
		world_reopen(&world);
		world_end(&world);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(open_trees_are_shared_by_name),
		cmocka_unit_test(a_buried_tree_lives_on_in_its_job),
		cmocka_unit_test(a_root_that_changes_while_it_is_opened_is_the_new_one),
		cmocka_unit_test(one_transaction_changes_two_trees_that_share_their_nodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
