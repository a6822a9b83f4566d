#include "base/checksum.h"
#include "base/clock.h"
#include "base/num.h"
#include "support/alloc.h"
#include "volume/volume_internal.h"
#include "world.h"

#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

enum {
	AT_VERSION = 8, /* fields of a superblock, as its format says */
	AT_INCOMPAT = 32,
	AT_RO_COMPAT = 40,
	AT_GENERATION = 56,
	AT_CHECKSUM_ALGORITHM = 105,
	AT_NEXT_OBJECT = 248,
	AT_NEXT_BRANCH = 256,
	AT_NEXT_JOB = 264,
	AT_JOURNAL_SEQUENCE = 304,
	AT_CHECKSUM = 504,
};

static const uint64_t place_ags[SUPERBLOCK_PLACES_MAX] = { 0, 1, 3, 7 };

/* A volume whose ring is full: generations 1, and what `checkpoints` more have made. */
static void
world_with_ring(struct world *world, uint32_t checkpoints, struct superblock *out_newest)
{
	world_format(world, 8 << 20, 0);
	for (uint32_t i = 1; i <= checkpoints; i++) {
		assert_int_equal(world_put(world, i, (uint8_t)i, 100), 0);
		assert_int_equal(volume_checkpoint(world->volume), 0);
	}
	volume_superblock(world->volume, out_newest);
	world_close(world);
}

static uint64_t
addr_of(const struct superblock *sb, uint32_t place, uint32_t slot)
{
	return place_ags[place] * sb->ag_blocks + slot;
}

static void
destroy(struct world *world, uint64_t addr)
{
	assert_int_equal(sim_flip_bit(world->medium, addr, 8 * 60), 0);
}

/* Changes one byte of a copy, and its checksum with it. */
static void
patch(struct world *world, uint64_t addr, uint32_t offset, uint8_t value)
{
	uint8_t *block = block_buffer_alloc(1);

	assert_non_null(block);
	assert_int_equal(sim_peek(world->medium, addr, block), 0);
	block[offset] = value;
	put_le64(block + AT_CHECKSUM, checksum64(block, AT_CHECKSUM));
	assert_int_equal(sim_poke(world->medium, addr, block), 0);
	free(block);
}

static void
patch_all_places(struct world *world, const struct superblock *sb, uint32_t offset, uint8_t value)
{
	for (uint32_t place = 0; place < SUPERBLOCK_PLACES_MAX; place++)
		patch(world, addr_of(sb, place, sb->slot), offset, value);
}

static void
patch_number(struct world *world, const struct superblock *sb, uint32_t offset, uint64_t value)
{
	for (uint32_t i = 0; i < 8; i++)
		patch_all_places(world, sb, offset + i, (uint8_t)(value >> 8 * i));
}

/* ---- Copies lost ----------------------------------------------------------------------------- */

/* In this order: the front slot by slot, then AG 1, 3, 7; the last set left is always enough. */
static void
opens_while_one_set_of_superblocks_is_left(void **state)
{
	struct world world = { 0 };
	struct superblock newest;

	(void)state;
	world_with_ring(&world, 6, &newest);
	world.read_only = true; /* a writer would make the copies whole again */
	for (uint32_t place = 0; place < SUPERBLOCK_PLACES_MAX; place++) {
		for (uint32_t slot = 0; slot < SUPERBLOCK_RING; slot++) {
			struct superblock now;

			world_open(&world);
			volume_superblock(world.volume, &now);
			assert_int_equal(now.generation, newest.generation);
			assert_int_equal(world_get(&world, 6), 6);
			world_close(&world);
			if (place < SUPERBLOCK_PLACES_MAX - 1)
				destroy(&world, addr_of(&newest, place, slot));
		}
	}

	/* Of the last set, the newest but one wins when the newest is gone; the journal has what
	 * came after it. */
	for (uint32_t i = 0; i < SUPERBLOCK_RING; i++) {
		uint32_t slot = (newest.slot + SUPERBLOCK_RING - i) % SUPERBLOCK_RING;

		if (i < 2) {
			world_open(&world);
			for (uint32_t j = 1; j <= 6; j++)
				assert_int_equal(world_get(&world, j), (int)j);
			world_close(&world);
		}
		destroy(&world, addr_of(&newest, 3, slot));
	}
	assert_int_equal(world_try_open(&world), COP_ECHECKSUM);
	assert_non_null(strstr(err_text(), "every copy of the superblock is damaged"));
	sim_free(world.medium);
}

static void
one_good_copy_of_the_newest_is_enough(void **state)
{
	(void)state;
	for (uint32_t good = 0; good < SUPERBLOCK_PLACES_MAX; good++) {
		struct world world = { 0 };
		struct superblock newest;

		world_with_ring(&world, 6, &newest);
		for (uint32_t place = 0; place < SUPERBLOCK_PLACES_MAX; place++) {
			if (place != good)
				destroy(&world, addr_of(&newest, place, newest.slot));
		}
		world_open(&world);
		assert_int_equal(world_get(&world, 6), 6);
		assert_int_equal(world_put(&world, 7, 7, 10), 0);
		assert_int_equal(volume_checkpoint(world.volume), 0);
		world_reopen(&world);
		assert_int_equal(world_get(&world, 7), 7);
		world_end(&world);
	}
}

/* Opened at P, the volume works on, and keeps what P's own predecessor can still need. */
static void
works_on_after_the_newest_was_lost(void **state)
{
	struct world world = { 0 };
	struct superblock newest;

	(void)state;
	world_with_ring(&world, 6, &newest);
	for (uint32_t place = 0; place < SUPERBLOCK_PLACES_MAX; place++)
		destroy(&world, addr_of(&newest, place, newest.slot));
	for (uint32_t round = 0; round < 6; round++) {
		world_open(&world);
		assert_int_equal(world_get(&world, 5), 5);
		assert_int_equal(world_get(&world, 6), 6); /* out of the journal */
		for (uint32_t i = 0; i < 200; i++)
			assert_int_equal(world_put(&world, 100 + i, (uint8_t)round, 400), 0);
		assert_int_equal(volume_checkpoint(world.volume), 0);
		space_check(volume_space(world.volume));
		world_close(&world);
	}
	world_open(&world);
	for (uint32_t i = 0; i < 200; i++)
		assert_int_equal(world_get(&world, 100 + i), 5);
	world_settle(&world);
	space_check(volume_space(world.volume));
	world_end(&world);
}

static void
a_device_that_cannot_be_read_is_no_damage(void **state)
{
	struct world world = { 0 };
	struct superblock newest;
	const struct sim_fault fault = { .kind = SIM_FAIL_READ, .persistent = true };

	(void)state;
	world_with_ring(&world, 1, &newest);
	assert_int_equal(sim_add_fault(world.medium, &fault), 0);
	assert_int_equal(world_try_open(&world), COP_EIO);
	assert_non_null(strstr(err_text(), "no superblock can be read"));
	sim_clear_faults(world.medium);
	world_open(&world);
	world_end(&world);
}

/* ---- Newer formats --------------------------------------------------------------------------- */

static void
refuses_what_a_newer_version_has_written(void **state)
{
	static const struct {
		uint32_t offset;
		uint8_t value;
		const char *text;
	} rows[] = {
		{ AT_INCOMPAT, 4, "unknown features 0x4" },
		{ AT_INCOMPAT + 7, 0x80, "unknown features 0x8000000000000000" },
		{ AT_VERSION, 2, "format version 2; this coppice knows 1" },
		{ AT_CHECKSUM_ALGORITHM, 9, "checksum algorithm 9" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct world world = { 0 };
		struct superblock newest;

		/* The older ones of the ring are of before that version: they do not win. */
		world_with_ring(&world, 6, &newest);
		patch_all_places(&world, &newest, rows[i].offset, rows[i].value);
		assert_int_equal(world_try_open(&world), COP_EUNSUPPORTED);
		assert_non_null(strstr(err_text(), rows[i].text));
		assert_non_null(strstr(err_text(), "unknown format or feature"));
		sim_free(world.medium);
	}
}

static void
unknown_ro_compat_features_allow_reading_only(void **state)
{
	struct volume_options options = {
		.cache_bytes = COP_CACHE_BYTES_MIN,
		.read_only = true,
		.entry_run = world_no_run,
	};
	struct world world = { 0 };
	struct superblock newest;
	uint64_t calls;

	(void)state;
	world_with_ring(&world, 6, &newest);
	patch_all_places(&world, &newest, AT_RO_COMPAT, 1);
	calls = sim_stats(world.medium).writes;
	assert_int_equal(world_try_open(&world), COP_EUNSUPPORTED);
	assert_non_null(strstr(err_text(), "unknown features 0x1 allow reading only"));
	assert_int_equal(sim_stats(world.medium).writes, calls);

	assert_int_equal(sim_open(world.medium, DEVICE_READ_ONLY, &world.dev), 0);
	assert_int_equal(volume_open(world.dev, &options, &world.volume), 0);
	volume_enter(world.volume, &world.visit);
	assert_int_equal(world_get(&world, 6), 6);
	world_end(&world);
}

static void
refuses_generations_that_nobody_can_have_counted(void **state)
{
	struct world world = { 0 };
	struct superblock newest;

	(void)state;
	world_with_ring(&world, 6, &newest);
	patch_all_places(&world, &newest, AT_GENERATION + 7, 0xff);
	world_open(&world); /* with the one before, and the journal */
	assert_int_equal(volume_stats(world.volume).recoveries, 1);
	assert_int_equal(world_get(&world, 5), 5);
	assert_int_equal(world_get(&world, 6), 6);
	world_end(&world);
}

static void
gives_out_no_reserved_number(void **state)
{
	struct world world = { 0 };
	struct superblock newest;

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(world_put(&world, 1, 1, 100), 0);
	assert_int_equal(volume_checkpoint_clean(world.volume), 0);
	volume_superblock(world.volume, &newest);
	world_close(&world);
	assert_true(newest.next_object < 256 && newest.next_job < 256);
	patch_all_places(&world, &newest, AT_NEXT_OBJECT, 0);
	patch_all_places(&world, &newest, AT_NEXT_JOB, 0);
	world_open(&world);
	assert_int_equal(volume_stats(world.volume).recoveries, 0);
	assert_int_equal(volume_next_object(world.volume), OBJECT_FIRST);
	assert_int_equal(volume_next_job(world.volume), 1);
	world_end(&world);
}

/* What comes next would be a number that no superblock may have: the one after this opening. */
static void
writes_nothing_where_there_is_no_number_left(void **state)
{
	static const struct {
		uint32_t at;
		uint64_t number;
	} cases[] = {
		{ AT_GENERATION, SUPERBLOCK_NUMBER_MAX },
		{ AT_NEXT_OBJECT, SUPERBLOCK_NUMBER_MAX },
		{ AT_NEXT_BRANCH, SUPERBLOCK_NUMBER_MAX },
		{ AT_NEXT_JOB, SUPERBLOCK_NUMBER_MAX - (UINT64_C(1) << 40) },
		{ AT_JOURNAL_SEQUENCE, SUPERBLOCK_NUMBER_MAX },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct world world = { 0 };
		struct superblock newest;

		world_format(&world, 8 << 20, 0);
		assert_int_equal(world_put(&world, 1, 1, 100), 0);
		assert_int_equal(volume_checkpoint_clean(world.volume), 0);
		volume_superblock(world.volume, &newest);
		world_close(&world);
		patch_number(&world, &newest, cases[i].at, cases[i].number);
		assert_int_equal(world_try_open(&world), COP_EFORMAT);
		world.read_only = true;
		world_open(&world);
		assert_int_equal(world_get(&world, 1), 1);
		world_end(&world);
	}
}

/* ---- Damage ---------------------------------------------------------------------------------- */

static void
refuses_a_truncated_device(void **state)
{
	struct volume_options options = {
		.cache_bytes = COP_CACHE_BYTES_MIN,
		.entry_run = world_no_run,
	};
	struct sim_medium *small;
	struct volume *volume = NULL;
	struct world world = { 0 };
	struct superblock newest;
	struct device *dev;
	uint8_t *block = block_buffer_alloc(1);

	(void)state;
	assert_non_null(block);
	world_with_ring(&world, 6, &newest);
	assert_int_equal(sim_create(7 << 20, 1, &small), 0);
	for (uint64_t addr = 0; addr < (7 << 20) / BLOCK_BYTES; addr++) {
		assert_int_equal(sim_peek(world.medium, addr, block), 0);
		assert_int_equal(sim_poke(small, addr, block), 0);
	}
	assert_int_equal(sim_open(small, 0, &dev), 0);
	assert_int_equal(volume_open(dev, &options, &volume), COP_EFORMAT);
	assert_non_null(
		strstr(err_text(), "truncated: the volume has 8388608 bytes, the device 7340032"));
	device_close(dev);
	sim_free(small);
	sim_free(world.medium);
	free(block);
}

static void
a_damaged_catalog_root_is_repaired_from_its_copy(void **state)
{
	(void)state;
	for (int copy = 1; copy <= 2; copy++) {
		struct world world = { 0 };
		struct superblock newest;
		uint8_t *before = block_buffer_alloc(2);

		assert_non_null(before);
		world_with_ring(&world, 6, &newest);
		assert_int_equal(newest.catalog.levels, 1);
		assert_int_not_equal(newest.catalog.pointer.addr2, 0);
		assert_int_equal(sim_peek(world.medium, newest.catalog.pointer.addr, before), 0);
		destroy(&world,
			copy == 1 ? newest.catalog.pointer.addr : newest.catalog.pointer.addr2);
		world_open(&world);
		assert_int_equal(world_get(&world, 6), 6);
		assert_int_equal(volume_stats(world.volume).repairs, copy == 1 ? 1 : 0);
		if (copy == 1) {
			assert_int_equal(sim_peek(world.medium, newest.catalog.pointer.addr,
						 before + BLOCK_BYTES),
				0);
			assert_memory_equal(before, before + BLOCK_BYTES, BLOCK_BYTES);
		}
		free(before);
		world_end(&world);
	}
}

static void
a_lost_catalog_is_made_again_from_the_predecessor_and_the_journal(void **state)
{
	struct world world = { 0 };
	struct superblock newest;

	(void)state;
	world_with_ring(&world, 6, &newest);
	destroy(&world, newest.catalog.pointer.addr);
	destroy(&world, newest.catalog.pointer.addr2);
	for (uint32_t round = 0; round < 6; round++) {
		world_open(&world);
		for (uint32_t j = 1; j <= 6; j++)
			assert_int_equal(world_get(&world, j), (int)j);
		if (round > 0)
			assert_int_equal(world_get(&world, 99 + round), (int)round - 1);
		assert_int_equal(world_put(&world, 100 + round, (uint8_t)round, 100), 0);
		assert_int_equal(volume_sync(world.volume), 0);
		if (round % 2 == 1)
			assert_int_equal(volume_checkpoint(world.volume), 0);
		space_check(volume_space(world.volume));
		world_close(&world);
	}
	sim_free(world.medium);
}

static void
a_lost_catalog_without_a_predecessor_is_an_error_that_changes_nothing(void **state)
{
	struct world world = { 0 };
	struct superblock newest;
	uint64_t writes;

	(void)state;
	world_with_ring(&world, 6, &newest);
	destroy(&world, newest.catalog.pointer.addr);
	destroy(&world, newest.catalog.pointer.addr2);
	for (uint32_t place = 0; place < SUPERBLOCK_PLACES_MAX; place++) {
		for (uint32_t slot = 0; slot < SUPERBLOCK_RING; slot++) {
			if (slot != newest.slot)
				destroy(&world, addr_of(&newest, place, slot));
		}
	}
	writes = sim_stats(world.medium).writes;
	assert_int_equal(world_try_open(&world), COP_ECHECKSUM);
	assert_non_null(strstr(err_text(), "catalog"));
	assert_int_equal(sim_stats(world.medium).writes, writes);
	sim_free(world.medium);
}

/* ---- Nth failures ---------------------------------------------------------------------------- */

static void
opening_survives_every_lack_of_memory(void **state)
{
	struct world world = { 0 };
	struct superblock newest;
	int err = COP_ENOMEM;

	(void)state;
	world_with_ring(&world, 6, &newest);
	for (uint64_t nth = 1; err; nth++) {
		struct volume_options options = {
			.cache_bytes = COP_CACHE_BYTES_MIN,
			.entry_run = world_no_run,
		};

		assert_int_equal(sim_open(world.medium, 0, &world.dev), 0);
		alloc_fail_nth(nth);
		err = volume_open(world.dev, &options, &world.volume);
		alloc_fail_nth(0);
		if (err)
			assert_int_equal(err, COP_ENOMEM);
		else
			volume_close(world.volume);
		device_close(world.dev);
	}
	world_open(&world);
	assert_int_equal(world_get(&world, 6), 6);
	world_end(&world);
}

/* ---- A reader beside a writer ---------------------------------------------------------------- */

static void
reader_open(struct world *reader, struct sim_medium *medium)
{
	struct volume_options options = {
		.cache_bytes = COP_CACHE_BYTES_MIN,
		.read_only = true,
		.entry_run = world_no_run,
	};

	reader->medium = medium;
	assert_int_equal(sim_open(medium, DEVICE_READ_ONLY | DEVICE_NO_LOCK, &reader->dev), 0);
	if (volume_open(reader->dev, &options, &reader->volume) != 0)
		fail_msg("%s", err_text());
	volume_enter(reader->volume, &reader->visit);
}

/* As an operation of the object floor: again, while there is something newer. */
static int
read_again(struct world *reader, int (*read)(struct world *reader))
{
	for (;;) {
		int got = read(reader);
		bool has_moved;

		if (!err_is_damage(got))
			return got;
		volume_leave(reader->volume, &reader->visit);
		has_moved = volume_refresh(reader->volume, &reader->visit);
		volume_enter(reader->volume, &reader->visit);
		if (!has_moved)
			return got;
	}
}

static int
read_object_1(struct world *reader)
{
	return world_get(reader, 1);
}

static int
read_content_1(struct world *reader)
{
	return world_get_content(reader, 1, 1);
}

static void
a_reader_follows_over_many_checkpoints(void **state)
{
	struct tree_name name = { .branch = BRANCH_MAIN, .object = 1, .kind = TREE_CONTENT };
	struct world writer = { 0 };
	struct world reader = { 0 };
	struct tree *open; /* stays so all the time */

	(void)state;
	world_format(&writer, 8 << 20, 0);
	assert_int_equal(world_put_content(&writer, 1, 1, 0, 100, true), 0);
	assert_int_equal(volume_checkpoint(writer.volume), 0);
	reader_open(&reader, writer.medium);
	assert_int_equal(volume_tree_open(reader.volume, name, &open), 0);
	for (uint8_t round = 1; round < 30; round++) {
		struct superblock mine;
		struct superblock its;

		/* Far enough for everything that the reader knows to be overwritten. */
		for (uint32_t i = 0; i < 5; i++) {
			for (uint32_t k = 1; k < 100; k++)
				assert_int_equal(world_put(&writer, k, round, 400), 0);
			assert_int_equal(world_put_content(&writer, 1, 1, round, 100, true), 0);
			world_settle(&writer);
		}
		cache_shrink(volume_cache(reader.volume));
		volume_leave(reader.volume, &reader.visit);
		(void)volume_refresh(reader.volume, &reader.visit);
		volume_enter(reader.volume, &reader.visit);
		assert_int_equal(read_again(&reader, read_object_1), round);
		assert_int_equal(read_again(&reader, read_content_1), round);
		volume_superblock(writer.volume, &mine);
		volume_superblock(reader.volume, &its);
		assert_int_equal(its.generation, mine.generation);
	}
	volume_tree_release(reader.volume, open);
	volume_leave(reader.volume, &reader.visit);
	assert_false(volume_refresh(reader.volume, &reader.visit)); /* nothing newer */
	volume_close(reader.volume);
	device_close(reader.dev);
	world_end(&writer);
}

struct writing {
	struct world *world;
	pthread_t thread;
	_Atomic bool stop;
	int err;
};

static void *
write_on(void *context)
{
	struct writing *writing = context;

	for (uint8_t round = 1; !atomic_load(&writing->stop) && writing->err == 0; round++) {
		writing->err = world_put(writing->world, 1, round, 400);
		if (writing->err == 0)
			writing->err = world_put_content(writing->world, 1, 1, round, 100, true);
		if (writing->err == 0)
			writing->err = volume_checkpoint(writing->world->volume);
	}
	return NULL;
}

struct reading {
	struct world world;
	pthread_t thread;
	int err;
	char text[200];
};

static void *
read_on(void *context)
{
	enum { ROUNDS = 300 };
	struct reading *reading = context;

	for (int round = 0; round < ROUNDS && reading->err == 0; round++) {
		struct world mine = reading->world; /* a visit of its own */
		int got;

		volume_enter(mine.volume, &mine.visit);
		got = read_again(&mine, round % 2 == 0 ? read_object_1 : read_content_1);
		volume_leave(mine.volume, &mine.visit);
		cache_shrink(volume_cache(mine.volume));
		if (got < 0) {
			reading->err = got;
			(void)snprintf(reading->text, sizeof reading->text, "%s", err_text());
		}
	}
	return NULL;
}

static void
readers_never_take_the_haste_of_a_writer_for_damage(void **state)
{
	enum { OPENINGS = 10, READERS = 3 };
	struct world world = { 0 };
	struct writing writing = { .world = &world };

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(world_put(&world, 1, 0, 400), 0);
	assert_int_equal(world_put_content(&world, 1, 1, 0, 100, true), 0);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	assert_int_equal(pthread_create(&writing.thread, NULL, write_on, &writing), 0);
	for (int opening = 0; opening < OPENINGS; opening++) {
		struct reading readings[READERS] = { 0 };
		struct world reader = { 0 };

		reader_open(&reader, world.medium);
		volume_leave(reader.volume, &reader.visit);
		for (int i = 0; i < READERS; i++) {
			readings[i].world = reader;
			assert_int_equal(
				pthread_create(&readings[i].thread, NULL, read_on, &readings[i]),
				0);
		}
		for (int i = 0; i < READERS; i++)
			assert_int_equal(pthread_join(readings[i].thread, NULL), 0);
		volume_close(reader.volume);
		device_close(reader.dev);
		for (int i = 0; i < READERS; i++) {
			if (readings[i].err)
				fail_msg("opening %d: %s", opening, readings[i].text);
		}
	}
	atomic_store(&writing.stop, true);
	assert_int_equal(pthread_join(writing.thread, NULL), 0);
	assert_int_equal(writing.err, 0);
	world_end(&world);
}

/* ---- Visits ---------------------------------------------------------------------------------- */

/* Far less than what is waited for an old visit, and enough for some hundreds of newer ones. */
static const int64_t passing_ns = 50000000;

/* Lets go of an old visit when somebody waits for that, and many newer ones have come and gone. */
static void *
pass_by_and_let_go(void *context)
{
	struct world *world = context;
	struct volume *volume = world->volume;
	bool is_waited_for = false;
	int64_t end_ns;

	while (!is_waited_for) {
		sched_yield();
		mutex_lock(&volume->visit_lock);
		is_waited_for = volume->visit_waiters > 0;
		mutex_unlock(&volume->visit_lock);
	}
	end_ns = clock_monotonic_ns() + passing_ns;
	while (clock_monotonic_ns() < end_ns) {
		struct volume_visit passing;

		volume_enter(volume, &passing);
		volume_leave(volume, &passing);
		sched_yield();
	}
	volume_leave(volume, &world->visit);
	return NULL;
}

static void
waits_for_an_old_visit_whoever_passes_by(void **state)
{
	struct world world = { 0 };
	pthread_t thread;
	bool has_ended;

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(world_put(&world, 1, 1, 100), 0);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	assert_int_equal(pthread_create(&thread, NULL, pass_by_and_let_go, &world), 0);
	has_ended = volume__wait_for_visits(world.volume, false);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(has_ended);
	volume_enter(world.volume, &world.visit);
	world_end(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_while_one_set_of_superblocks_is_left),
		cmocka_unit_test(one_good_copy_of_the_newest_is_enough),
		cmocka_unit_test(works_on_after_the_newest_was_lost),
		cmocka_unit_test(a_device_that_cannot_be_read_is_no_damage),
		cmocka_unit_test(refuses_what_a_newer_version_has_written),
		cmocka_unit_test(unknown_ro_compat_features_allow_reading_only),
		cmocka_unit_test(refuses_generations_that_nobody_can_have_counted),
		cmocka_unit_test(gives_out_no_reserved_number),
		cmocka_unit_test(writes_nothing_where_there_is_no_number_left),
		cmocka_unit_test(refuses_a_truncated_device),
		cmocka_unit_test(a_damaged_catalog_root_is_repaired_from_its_copy),
		cmocka_unit_test(a_lost_catalog_is_made_again_from_the_predecessor_and_the_journal),
		cmocka_unit_test(
			a_lost_catalog_without_a_predecessor_is_an_error_that_changes_nothing),
		cmocka_unit_test(opening_survives_every_lack_of_memory),
		cmocka_unit_test(a_reader_follows_over_many_checkpoints),
		cmocka_unit_test(readers_never_take_the_haste_of_a_writer_for_damage),
		cmocka_unit_test(waits_for_an_old_visit_whoever_passes_by),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
