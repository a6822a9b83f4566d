#include "world.h"

#include "base/random.h"
#include "object/pages_internal.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

static struct cop_object *
create(struct world *world, const char *name)
{
	struct cop_new new = COP_INIT(new);
	struct cop_object *file;

	new.kind = COP_FILE;
	new.mode = 0644;
	must(cop_create(world->root, name, strlen(name), &new, &file));
	return file;
}

/* Files that grow side by side in small pieces lie in one row each. */
static void
lays_each_file_out_in_one_row(void **state)
{
	struct cop_extent extent = COP_INIT(extent);
	struct world world;
	struct cop_object *files[3];
	uint8_t bytes[6000];

	(void)state;
	world_init(&world, 64 * MIB, 0, 1);
	for (size_t i = 0; i < ARRAY_COUNT(files); i++)
		files[i] = world_file(&world);
	for (uint64_t at = 0; at < 300000; at += sizeof bytes) {
		for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
			world_bytes(at + i, bytes, sizeof bytes);
			must(cop_write(files[i], at, bytes, sizeof bytes, NULL));
		}
	}
	must(cop_sync(world.volume));
	for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
		must(cop_map(files[i], 0, &extent));
		assert_int_equal(extent.bytes, 300000);
		cop_release(files[i]);
	}
	world_fini(&world);
}

/* All of it, with one flush. */
static void
makes_durable_after_five_seconds(void **state)
{
	struct world world;
	struct cop_object *old;
	struct cop_object *young;
	uint64_t pending;
	uint64_t flushes;

	(void)state;
	world_init_on_sim(&world, 64 * MIB, 2);
	old = world_file(&world);
	young = world_file(&world);
	must(cop_sync(world.volume));
	world_write(old, 1, 0, 100000);
	world.now_ns += INT64_C(4800000000);
	must(cop_write(young, 0, "x", 1, NULL));
	world.now_ns += INT64_C(100000000);
	flushes = sim_stats(world.medium).flushes;
	must(cop_poll(world.volume, &pending));
	assert_false(pages_are_clean(&old->pages));
	assert_int_equal(sim_stats(world.medium).flushes, flushes);
	world.now_ns += INT64_C(200000000);
	must(cop_poll(world.volume, &pending));
	assert_true(pages_are_clean(&old->pages));
	assert_true(pages_are_clean(&young->pages));
	assert_false(volume_needs_sync(world.volume->volume));
	assert_int_equal(sim_stats(world.medium).flushes, flushes + 1);
	cop_release(young);
	cop_release(old);
	world_fini(&world);
}

static void
does_not_wait_for_a_clock_that_was_set_back(void **state)
{
	struct world world;
	struct cop_object *file;
	uint64_t pending;

	(void)state;
	world_init(&world, 64 * MIB, 0, 2);
	file = world_file(&world);
	must(cop_write(file, 0, "x", 1, NULL));
	world.now_ns -= INT64_C(3600000000000);
	must(cop_poll(world.volume, &pending));
	assert_true(pages_are_clean(&file->pages));
	assert_false(volume_needs_sync(world.volume->volume));
	cop_release(file);
	world_fini(&world);
}

/* A file that nobody can write back: the root of its map is damaged, in all copies. */
static struct cop_object *
file_with_damaged_map(struct world *world)
{
	struct cop_object *file = world_comb(world, 200);
	uint64_t id = cop_id(file);
	struct tree_pointer root;
	uint64_t pending;

	must(cop_sync(world->volume));
	root = file->content->root.pointer;
	cop_release(file);
	world_reopen(world, false);
	must(sim_flip_bit(world->medium, root.addr, 800));
	if (root.addr2 != 0)
		must(sim_flip_bit(world->medium, root.addr2, 800));
	must(cop_get(world->root, id, &file));
	world_write(file, 1, 0, 4096);
	must(cop_poll(world->volume, &pending));
	return file;
}

/* What cannot be stored is tried every five seconds, and does not hurry the others. */
static void
keeps_to_five_seconds_beside_a_damaged_map(void **state)
{
	struct world world;
	struct cop_object *damaged;
	struct cop_object *file;
	uint64_t pending;

	(void)state;
	world_init_on_sim(&world, 64 * MIB, 10);
	damaged = file_with_damaged_map(&world);
	world.now_ns += INT64_C(5100000000);
	assert_int_equal(cop_poll(world.volume, &pending), COP_ECHECKSUM);
	file = world_file(&world);
	must(cop_sync_object(file));
	for (int round = 0; round < 2; round++) {
		uint64_t flushes = sim_stats(world.medium).flushes;

		must(cop_write(file, 0, "x", 1, NULL));
		for (int i = 0; i < 49; i++) {
			must(cop_poll(world.volume, &pending));
			world.now_ns += INT64_C(100000000);
		}
		assert_false(pages_are_clean(&file->pages));
		assert_int_equal(sim_stats(world.medium).flushes, flushes);
		world.now_ns += INT64_C(200000000);
		assert_int_equal(cop_poll(world.volume, &pending), COP_ECHECKSUM);
		assert_true(pages_are_clean(&file->pages));
		assert_false(volume_needs_sync(world.volume->volume));
	}
	assert_false(pages_are_clean(&damaged->pages));
	cop_release(file);
	cop_release(damaged);
	cop_release(world.root);
	cop_abandon(world.volume);
	device_close(world.dev);
	sim_free(world.medium);
}

/* Whole, and with the place at which it was made, whatever has gone wrong since. */
static void
tells_of_damage_as_it_was_found(void **state)
{
	struct complaint complaint = { .err = 0 };

	(void)state;
	assert_true(complaint_take(&complaint, 0));
	assert_int_equal(complaint_tell(&complaint, 0), 0);
	assert_false(complaint_take(&complaint, err_fail("a.c", 1, COP_EIO, "no damage")));
	assert_true(
		complaint_take(&complaint, err_fail("a.c", 2, COP_ECHECKSUM, "%0250d blocks", 7)));
	assert_string_equal(err_text(), "");
	assert_int_equal(complaint_tell(&complaint, 0), COP_ECHECKSUM);
	assert_int_equal(strlen(err_text()), 250 + strlen(" blocks"));
	(void)err_fail(
		"b.c", 3, COP_ENOMEM, "something else"); /* its own note is what is told then */
	assert_int_equal(complaint_tell(&complaint, COP_ENOMEM), COP_ENOMEM);
	assert_string_equal(err_text(), "something else");
	assert_int_equal(complaint_tell(&complaint, 0), COP_ECHECKSUM);
	assert_string_equal(err_place(), "a.c:2");
	err_clear();
}

/* Whoever has written may let go: the object stays until its bytes are stored. */
static void
keeps_what_was_released(void **state)
{
	struct world world;
	struct cop_object *file;
	uint64_t id;
	char byte = 0;
	size_t got;

	(void)state;
	world_init(&world, 64 * MIB, 0, 3);
	file = world_file(&world);
	id = cop_id(file);
	must(cop_write(file, 0, "x", 1, NULL));
	cop_release(file);
	must(cop_get(world.root, id, &file));
	must(cop_read(file, 0, &byte, 1, &got));
	assert_int_equal(byte, 'x');
	cop_release(file);
	world_reopen(&world, false);
	must(cop_get(world.root, id, &file));
	must(cop_read(file, 0, &byte, 1, &got));
	assert_int_equal(got, 1);
	assert_int_equal(byte, 'x');
	cop_release(file);
	world_fini(&world);
}

/* What has no name and no handle any more is never written. */
static void
forgets_what_is_removed(void **state)
{
	struct cop_stats before = COP_INIT(before);
	struct cop_stats after = COP_INIT(after);
	struct world world;
	struct cop_object *file;
	uint8_t bytes[100000] = { 1 };

	(void)state;
	world_init(&world, 64 * MIB, 0, 4);
	for (int is_held = 0; is_held < 2; is_held++) {
		file = create(&world, "gone");
		must(cop_sync(world.volume));
		must(cop_stats(world.volume, &before));
		must(cop_write(file, 0, bytes, sizeof bytes, NULL));
		if (!is_held)
			cop_release(file);
		must(cop_unlink(world.root, "gone", 4, COP_UNLINK_FILE));
		if (is_held) {
			must(cop_write(file, 200000, bytes, 100, NULL));
			cop_release(file);
		}
		assert_int_equal(world.volume->dirty_pages, 0);
		must(cop_sync(world.volume));
		must(cop_stats(world.volume, &after));
		assert_true(after.device_written_bytes - before.device_written_bytes < 50000);
	}
	world_fini(&world);
}

/* A name that is taken over never leads to less than the old file or the new one. */
static void
stores_a_file_before_it_replaces_another(void **state)
{
	struct world world;
	struct cop_object *file;

	(void)state;
	world_init(&world, 64 * MIB, 0, 5);
	file = create(&world, "name");
	must(cop_write(file, 0, "old", 3, NULL));
	cop_release(file);
	must(cop_sync(world.volume));
	file = create(&world, "new");
	must(cop_write(file, 0, "newer", 5, NULL));
	must(cop_rename(world.root, "new", 3, world.root, "name", 4, 0));
	assert_true(pages_are_clean(&file->pages));
	cop_release(file);
	world_fini(&world);
}

/* An object that was written without a name is whole when it gets its first one. */
static void
stores_a_file_before_its_first_name(void **state)
{
	struct cop_new new = COP_INIT(new);
	struct cop_attr attr = COP_INIT(attr);
	struct world world;
	struct cop_object *file;

	(void)state;
	world_init(&world, 64 * MIB, 0, 9);
	new.kind = COP_FILE;
	must(cop_allocate(world.root, &new, &file));
	must(cop_write(file, 0, "whole", 5, NULL));
	must(cop_link(file, world.root, "name", 4));
	assert_true(pages_are_clean(&file->pages));
	must(cop_stat(file, &attr));
	assert_int_equal(attr.length, 5);
	assert_int_equal(attr.links, 1);

	must(cop_write(file, 0, "again", 5, NULL));
	must(cop_link(file, world.root, "other", 5));
	assert_false(pages_are_clean(&file->pages));
	cop_release(file);
	world_fini(&world);
}

static void
leaves_times_alone_that_were_set_since(void **state)
{
	struct cop_attr attr = COP_INIT(attr);
	struct world world;
	struct cop_object *file;
	int64_t written_ns;

	(void)state;
	world_init(&world, 64 * MIB, 0, 6);
	file = world_file(&world);
	must(cop_write(file, 0, "x", 1, NULL));
	must(cop_stat(file, &attr));
	written_ns = attr.modified_ns;
	world.now_ns += 1000000;
	must(cop_sync(world.volume));
	must(cop_stat(file, &attr));
	assert_int_equal(attr.modified_ns, written_ns);

	must(cop_write(file, 0, "y", 1, NULL));
	attr.modified_ns = 77;
	must(cop_set_attr(file, &attr, COP_SET_MODIFIED));
	must(cop_sync(world.volume));
	must(cop_stat(file, &attr));
	assert_int_equal(attr.modified_ns, 77);
	cop_release(file);
	world_fini(&world);
}

/* ---- Space ----------------------------------------------------------------------------------- */

/* What a write was told it got, write-back gets; on a volume filled to the brim, in any order. */
static void
never_lacks_space_that_was_promised(void **state)
{
	struct world world;
	struct cop_object *files[8];
	uint8_t *bytes = malloc(MIB);
	uint8_t *found = malloc(MIB);
	struct rng rng;
	int err = 0;

	(void)state;
	assert_non_null(bytes);
	assert_non_null(found);
	rng_seed(&rng, 7);
	world_bytes(7, bytes, MIB);
	world_init(&world, 16 * MIB, 0, 7);
	for (size_t i = 0; i < ARRAY_COUNT(files); i++)
		files[i] = world_file(&world);
	for (int i = 0; i < 3000 && err == 0; i++) {
		struct cop_object *file = files[rng_below(&rng, ARRAY_COUNT(files))];
		uint64_t at = rng_below(&rng, 4 * MIB);
		size_t count = 1 + rng_below(&rng, i % 10 == 0 ? 300000 : 9000);
		size_t written;

		err = cop_write(file, at, bytes, count, &written);
		if (err) {
			assert_int_equal(err, COP_ENOSPC);
			must(cop_sync(world.volume));
			err = 0;
		}
		if (i % 300 == 299)
			must(cop_barrier(world.volume));
	}
	must(cop_sync(world.volume));
	for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
		must(cop_set_length(files[i], 0));
		cop_release(files[i]);
	}
	world_fini(&world);
	free(bytes);
	free(found);
}

/* All that can be had. */
static uint64_t
admit_everything(struct space *space)
{
	uint64_t blocks = space_free_blocks(space);

	while (space_admit(space, blocks, true) != 0)
		blocks--;
	err_clear();
	return blocks;
}

/* A third of the reserve is always there: enough for a part of a segment. */
static void
goes_in_parts_where_the_promise_falls_short(void **state)
{
	struct world world;
	struct cop_object *file;
	struct segment *segment;
	struct space *space;
	uint64_t others;
	uint64_t reserve;

	(void)state;
	world_init(&world, 16 * MIB, 0, 8);
	space = volume_space(world.volume->volume);
	file = world_comb(&world, 200);
	must(cop_settle(world.volume));
	world_write(file, 1, 5 * 4096, 100 * 4096);
	segment = pages_oldest(&file->pages);
	assert_int_equal(segment->end - segment->first, 100);
	space_unadmit(space, segment->promise.node_blocks);
	segment->promise.node_blocks = 0;

	others = space_available_blocks(space);
	must(space_admit(space, others, false));
	reserve = admit_everything(space);
	space_unadmit(space, reserve / 3);
	must(cop_sync(world.volume));
	space_unadmit(space, others + reserve - reserve / 3);
	world_expect(file, 1, 5 * 4096, 100 * 4096);
	cop_release(file);
	world_fini(&world);
}

/* ---- After a crash --------------------------------------------------------------------------- */

enum { WRITES = 24, CONTENT_MAX = 600000, CUTS_MAX = 400 };

struct story {
	struct world world;
	uint8_t *models[WRITES + 1]; /* after so many writes */
	uint64_t lengths[WRITES + 1];
	uint64_t promised; /* writes that were synced */
	uint64_t done;
	uint64_t id;
	uint64_t seed;
	struct {
		struct sim_medium *medium;
		uint64_t first;
		uint64_t last;
	} cuts[CUTS_MAX];
	size_t cut_count;
};

static void
cut_here(void *context, struct sim_medium *medium, uint64_t call)
{
	struct story *story = context;

	(void)call;
	if (story->cut_count == CUTS_MAX)
		return;
	must(sim_clone(medium, &story->cuts[story->cut_count].medium));
	story->cuts[story->cut_count].first = story->promised;
	story->cuts[story->cut_count++].last = story->done;
}

static void
tell_story(struct story *story, struct rng *rng, struct cop_object *file)
{
	uint64_t pending;

	for (uint64_t i = 1; i <= WRITES; i++) {
		uint64_t at = rng_below(rng, rng_below(rng, 2) ? 30000 : 400000);
		uint64_t count = 1 + rng_below(rng, rng_below(rng, 3) ? 9000 : 150000);

		memcpy(story->models[i], story->models[i - 1], CONTENT_MAX);
		world_bytes(i, story->models[i] + at, count);
		story->lengths[i] = max_u64(story->lengths[i - 1], at + count);
		story->done = i;
		must(cop_write(file, at, story->models[i] + at, count, NULL));
		switch (rng_below(rng, 8)) {
		case 0:
			must(cop_sync_object(file));
			story->promised = i;
			break;
		case 1:
			story->world.now_ns += INT64_C(6000000000);
			must(cop_poll(story->world.volume, &pending));
			break;
		case 2:
			must(cop_barrier(story->world.volume));
			break;
		default:
			break;
		}
	}
}

/* Is what is there the content after some number of writes, not less than was promised? */
static void
judge_cut(struct story *story, size_t number)
{
	struct world after = { .seed = 1000 + number, .now_ns = story->world.now_ns };
	struct rng rng;
	struct cop_object *file;
	uint8_t *found = malloc(CONTENT_MAX);
	bool is_prefix = false;
	size_t got;

	assert_non_null(found);
	rng_seed(&rng, story->seed + number);
	after.medium = story->cuts[number].medium;
	sim_power_off(after.medium);
	sim_power_on(after.medium, sim_choose_random, &rng);
	must(sim_open(after.medium, 0, &after.dev));
	world_open(&after);
	must(cop_get(after.root, story->id, &file));
	must(cop_read(file, 0, found, CONTENT_MAX, &got));
	for (uint64_t i = story->cuts[number].first; i <= story->cuts[number].last; i++)
		is_prefix |= got == story->lengths[i] && memcmp(found, story->models[i], got) == 0;
	if (!is_prefix)
		printf("story %llu, cut %zu of %zu: %zu bytes are no prefix of writes %llu to "
		       "%llu\n",
			(unsigned long long)story->seed, number, story->cut_count, got,
			(unsigned long long)story->cuts[number].first,
			(unsigned long long)story->cuts[number].last);
	assert_true(is_prefix);
	cop_release(file);
	world_fini(&after);
	free(found);
}

/* Invariant 3: an object's bytes and length are those of a prefix of its own writes. */
static void
leaves_a_prefix_of_the_writes_after_a_crash(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 6; seed++) {
		struct story *story = calloc(1, sizeof *story);
		struct cop_object *file;
		struct rng rng;

		assert_non_null(story);
		rng_seed(&rng, seed);
		story->seed = seed;
		for (size_t i = 0; i <= WRITES; i++) {
			story->models[i] = calloc(1, CONTENT_MAX);
			assert_non_null(story->models[i]);
		}
		world_init_on_sim(&story->world, 64 * MIB, seed);
		file = world_file(&story->world);
		story->id = cop_id(file);
		must(cop_sync(story->world.volume));
		sim_set_hook(story->world.medium, cut_here, story);
		tell_story(story, &rng, file);
		sim_set_hook(story->world.medium, NULL, NULL);
		cop_release(file);
		world_fini(&story->world);
		assert_true(story->cut_count > 5);
		for (size_t i = 0; i < story->cut_count; i++)
			judge_cut(story, i);
		for (size_t i = 0; i <= WRITES; i++)
			free(story->models[i]);
		free(story);
	}
}

/* ---- Threads --------------------------------------------------------------------------------- */

enum { THREADS = 4, FILES = 6, STEPS = 150 };

struct worker {
	struct world *world;
	struct cop_object *const *files;
	pthread_t thread;
	uint64_t seed;
};

static void *
work(void *context)
{
	struct worker *worker = context;
	uint8_t bytes[20000];
	struct rng rng;
	uint64_t pending;

	rng_seed(&rng, worker->seed);
	world_bytes(worker->seed, bytes, sizeof bytes);
	for (int i = 0; i < STEPS; i++) {
		struct cop_object *file = worker->files[rng_below(&rng, FILES)];
		uint64_t at = rng_below(&rng, 200000);
		size_t got;

		switch (rng_below(&rng, 10)) {
		case 0:
			must(cop_sync_object(file));
			break;
		case 1:
			must(cop_sync(worker->world->volume));
			break;
		case 2:
			must(cop_set_length(file, at));
			break;
		case 3:
			must(cop_punch(file, at, 30000));
			break;
		case 4:
			must(cop_poll(worker->world->volume, &pending));
			break;
		case 5:
			must(cop_read(file, at, bytes, sizeof bytes, &got));
			break;
		default:
			must(cop_write(file, at, bytes, 1 + rng_below(&rng, sizeof bytes), NULL));
			break;
		}
	}
	return NULL;
}

static void
stays_sound_with_many_threads(void **state)
{
	struct cop_object *files[FILES];
	struct worker workers[THREADS];
	struct world world;

	(void)state;
	world_init(&world, 64 * MIB, 0, 8);
	for (size_t i = 0; i < FILES; i++)
		files[i] = world_file(&world);
	for (size_t i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .world = &world, .files = files, .seed = i };
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
	for (size_t i = 0; i < FILES; i++) {
		assert_true(world_attr(files[i]).length <= 220000);
		cop_release(files[i]);
	}
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lays_each_file_out_in_one_row),
		cmocka_unit_test(makes_durable_after_five_seconds),
		cmocka_unit_test(does_not_wait_for_a_clock_that_was_set_back),
		cmocka_unit_test(keeps_to_five_seconds_beside_a_damaged_map),
		cmocka_unit_test(tells_of_damage_as_it_was_found),
		cmocka_unit_test(keeps_what_was_released),
		cmocka_unit_test(forgets_what_is_removed),
		cmocka_unit_test(stores_a_file_before_it_replaces_another),
		cmocka_unit_test(stores_a_file_before_its_first_name),
		cmocka_unit_test(leaves_times_alone_that_were_set_since),
		cmocka_unit_test(never_lacks_space_that_was_promised),
		cmocka_unit_test(goes_in_parts_where_the_promise_falls_short),
		cmocka_unit_test(leaves_a_prefix_of_the_writes_after_a_crash),
		cmocka_unit_test(stays_sound_with_many_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
