/*
 * counters: what making changes durable costs, counted at the device.
 *
 *   - No function of coppice.h but a sync asks for a flush or a durable write, or writes the
 *     journal.
 *   - A durable change is one write of the journal, and one flush or none (then that write is
 *     durable by itself).
 *   - A durable append of 4 KiB takes at most 8 KiB of journal.
 *   - Syncs of several threads share a flush.
 *
 * The first change after an opening is no part of it: it takes the clean mark away.
 */

#include "faults/stage.h"

#include "base/num.h"
#include "object/open.h"
#include "support/sources.h"
#include "support/world.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	SEED = 9,
	VOLUME_BYTES = 64 << 20,
	TREE_WRITES = 70,
	NAMES = 50,
	APPENDS = 600,
	THREADS = 8,
	ANY = -1,
};

#define must(call) must_be_fine((call), #call)

static void
must_be_fine(int err, const char *call)
{
	if (err)
		fail_msg("%s: %s", call, cop_error_text());
}

/* ---- Volumes --------------------------------------------------------------------------------- */

static struct cop_object *
make(struct cop_object *directory, const char *name, enum cop_kind kind)
{
	struct cop_new new = COP_INIT(new);
	struct cop_object *object;

	new.kind = kind;
	new.mode = 0644;
	new.target = "somewhere";
	new.target_bytes = kind == COP_SYMLINK ? strlen(new.target) : 0;
	must(cop_create(directory, name, strlen(name), &new, &object));
	return object;
}

static void
put(struct cop_object *object, uint64_t offset, size_t bytes)
{
	static uint8_t buffer[1 << 17];
	size_t written;

	assert(bytes <= sizeof buffer);
	memset(buffer, (int)(1 + offset % 251), bytes);
	must(cop_write(object, offset, buffer, bytes, &written));
}

/* What the rows expect. */
static void
fill_volume(struct cop_volume *volume)
{
	struct cop_object *root;
	struct cop_object *directory;
	struct cop_object *object;
	char name[32];

	must(cop_root(volume, NULL, &root));
	object = make(root, "inline", COP_FILE);
	put(object, 0, 100);
	directory = make(root, "d", COP_DIRECTORY);
	for (int i = 0; i < NAMES; i++) {
		(void)snprintf(name, sizeof name, "name %d", i);
		must(cop_link(object, directory, name, strlen(name)));
	}
	cop_release(object);
	cop_release(make(directory, "sub", COP_DIRECTORY));
	cop_release(make(directory, "f", COP_FILE));
	cop_release(make(root, "symlink", COP_SYMLINK));
	object = make(root, "extents", COP_FILE);
	put(object, 0, 20000);
	must(cop_xattr_set(object, "user.large", (uint8_t[9000]){ 1 }, 9000, 0));
	cop_release(object);
	object = make(root, "tree", COP_FILE);
	for (uint64_t i = 0; i < TREE_WRITES; i++)
		put(object, i * 8192, 4096);
	cop_release(object);
	object = make(root, "freed", COP_FILE);
	for (uint64_t i = 0; i < STAGE_FREED_ALL; i++)
		put(object, i * 8192, 4096);
	must(cop_sync(volume));
	must(cop_punch(object, 0, STAGE_FREED * 8192));
	cop_release(object);
	cop_release(directory);
	cop_release(root);
}

static void
format_and_open(struct device *dev, struct cop_volume **out_volume)
{
	struct cop_format_options format = COP_INIT(format);
	struct cop_open_options open = COP_INIT(open);

	must(cop_format_on(dev, &format));
	must(cop_open_on(dev, &open, out_volume));
}

/* The clean mark goes, and nothing waits. */
static void
prime(struct cop_volume *volume)
{
	struct cop_attr attr = COP_INIT(attr);
	struct cop_object *root;

	must(cop_root(volume, NULL, &root));
	attr.mode = 0751;
	must(cop_set_attr(root, &attr, COP_SET_MODE));
	cop_release(root);
	must(cop_sync(volume));
}

struct costs {
	uint64_t flushes; /* and writes that are durable by themselves */
	uint64_t batches;
	uint64_t journal_blocks;
};

static struct costs
costs_now(struct device *dev, struct cop_volume *volume)
{
	struct device_stats device = device_stats(dev);
	struct costs costs = { .flushes = device.flushes + device.fua_writes };

	if (volume) {
		struct volume_stats stats = volume_stats(open_volume_below(volume));

		costs.batches = stats.journal_batches;
		costs.journal_blocks = stats.journal_blocks;
	}
	return costs;
}

/* ---- Every function -------------------------------------------------------------------------- */

static const struct {
	const char *name;
	int flushes;
} exceptions[] = {
	{ "cop_open", 1 },        /* a killed process may have left writes in a volatile cache */
	{ "cop_sync", 1 },        /* that is what it is for */
	{ "cop_sync_object", 1 }, /* the same */
	{ "cop_barrier", 1 },     /* its row ends with a sync */
	{ "cop_settle", ANY },    /* checkpoints */
	{ "cop_close", ANY },     /* a checkpoint */
	{ "cop_format", ANY },    /* a new volume */
};

static int
flushes_expected(const char *name)
{
	for (size_t i = 0; i < ARRAY_COUNT(exceptions); i++) {
		if (strcmp(exceptions[i].name, name) == 0)
			return exceptions[i].flushes;
	}
	return 0;
}

static void
open_stage(struct stage *stage, struct sim_medium *base, struct sim_medium **out_medium)
{
	static const char *const names[STAGE_OBJECTS] = { NULL, "extents", "inline", "tree", "d",
		"symlink", "freed" };

	must(sim_clone(base, out_medium));
	must(sim_open(*out_medium, 0, &stage->dev));
	stage->open_options = (struct cop_open_options)COP_INIT(stage->open_options);
	stage->open_options.clock_ns = sources_clock;
	must(cop_open_on(stage->dev, &stage->open_options, &stage->volume));
	prime(stage->volume);
	must(cop_root(stage->volume, NULL, &stage->objects[ROOT]));
	for (int i = ROOT + 1; i < STAGE_OBJECTS; i++)
		must(cop_lookup(
			stage->objects[ROOT], names[i], strlen(names[i]), &stage->objects[i]));
}

/* On a volume of its own, in which nothing waits but what the row has prepared. */
static void
count_row(const struct named_row *named, struct sim_medium *base)
{
	bool is_sync = named->row->class == ROW_CHECKPOINT;
	int expected = flushes_expected(named->name);
	struct stage *stage = calloc(1, sizeof *stage);
	struct sim_medium *medium = NULL;
	struct cop_volume *opened;
	struct costs before;
	struct costs after;

	assert_non_null(stage);
	open_stage(stage, base, &medium);
	if (named->row->prepare)
		must(named->row->prepare(stage));
	if (stage->volume && !is_sync)
		must(cop_sync(stage->volume));
	opened = stage->volume;
	before = costs_now(stage->dev, opened);
	must(named->row->call(stage));
	after = costs_now(stage->dev, stage->volume);
	if (expected != ANY && after.flushes - before.flushes != (uint64_t)expected)
		fail_msg("%s: %d flushes, %d expected", named->name,
			(int)(after.flushes - before.flushes), expected);
	if (opened && stage->volume && !is_sync)
		assert_int_equal(after.batches, before.batches);
	stage_release(stage);
	cop_abandon(stage->volume);
	device_close(stage->dev);
	sim_free(medium);
	free(stage);
}

static void
nothing_but_a_sync_flushes_or_writes_the_journal(void **state)
{
	struct sim_medium *base;
	struct cop_volume *volume;
	struct device *dev;

	(void)state;
	must(sim_create(VOLUME_BYTES, SEED, &base));
	must(sim_open(base, 0, &dev));
	format_and_open(dev, &volume);
	fill_volume(volume);
	must(cop_close(volume));
	device_close(dev);
	for (size_t i = 0; i < row_count; i++)
		count_row(&rows[i], base);
	sim_free(base);
}

/* ---- One change ------------------------------------------------------------------------------ */

enum change {
	ATTRIBUTES,
	CREATION,
	APPEND,
	LARGE_APPEND,
	OVERWRITE,
	RENAME,
	REMOVAL,
	CHANGES,
};

static void
change(enum change what, struct cop_object *root, struct cop_object *file, int round)
{
	struct cop_attr attr = COP_INIT(attr);
	char name[32];

	(void)snprintf(name, sizeof name, "new %d", round);
	switch (what) {
	case ATTRIBUTES:
		attr.mode = (uint32_t)round;
		must(cop_set_attr(file, &attr, COP_SET_MODE));
		break;
	case CREATION:
		cop_release(make(root, name, COP_FILE));
		break;
	case APPEND:
		must(cop_stat(file, &attr));
		put(file, attr.length, 4096);
		break;
	case LARGE_APPEND:
		must(cop_stat(file, &attr));
		put(file, attr.length, 100000);
		break;
	case OVERWRITE:
		put(file, 1000, 5000);
		break;
	case RENAME:
		must(cop_rename(root, name, strlen(name), root, "renamed", 7, 0));
		break;
	case REMOVAL:
		must(cop_unlink(root, "renamed", 7, COP_UNLINK_FILE));
		break;
	case CHANGES:
		break;
	}
}

/* On any device. */
static void
count_changes_on(struct device *dev)
{
	struct cop_volume *volume;
	struct cop_object *root;
	struct cop_object *file;

	format_and_open(dev, &volume);
	must(cop_root(volume, NULL, &root));
	file = make(root, "file", COP_FILE);
	prime(volume);
	for (int round = 0; round < 3; round++) {
		for (enum change what = 0; what < CHANGES; what++) {
			struct costs before = costs_now(dev, volume);
			struct costs after;

			change(what, root, file, round);
			assert_int_equal(costs_now(dev, volume).flushes, before.flushes);
			must(cop_sync(volume));
			after = costs_now(dev, volume);
			assert_int_equal(after.flushes - before.flushes, 1);
			assert_int_equal(after.batches - before.batches, 1);

			/* All is durable: a sync costs nothing. */
			must(cop_sync(volume));
			assert_int_equal(costs_now(dev, volume).flushes, after.flushes);
			assert_int_equal(costs_now(dev, volume).batches, after.batches);
		}
	}
	cop_release(file);
	cop_release(root);
	must(cop_close(volume));
}

static void
a_durable_change_is_one_flush_on_a_simulated_disk(void **state)
{
	struct sim_medium *medium;
	struct device *dev;

	(void)state;
	must(sim_create(VOLUME_BYTES, SEED, &medium));
	must(sim_open(medium, 0, &dev));
	count_changes_on(dev);
	device_close(dev);
	sim_free(medium);
}

static void
count_changes_in_a_file(uint32_t flags)
{
	struct device_options options = { .flags = DEVICE_GROW | flags,
		.create_bytes = VOLUME_BYTES };
	char path[] = "/tmp/coppice-counters-XXXXXX";
	int fd = mkstemp(path);
	struct device *dev;

	assert_true(fd >= 0);
	assert_int_equal(close(fd), 0);
	must(device_open(path, &options, &dev));
	count_changes_on(dev);
	device_close(dev);
	assert_int_equal(unlink(path), 0);
}

static void
a_durable_change_is_one_flush_in_a_file(void **state)
{
	(void)state;
	count_changes_in_a_file(0);
}

static void
a_durable_change_is_one_flush_in_a_file_without_a_ring(void **state)
{
	(void)state;
	count_changes_in_a_file(DEVICE_NO_URING);
}

/* From an empty file to a content tree, over checkpoints, which the counters of batches leave out:
 * they write none. */
static void
a_durable_append_of_4_kib_takes_at_most_8_kib_of_journal(void **state)
{
	struct sim_medium *medium;
	struct cop_volume *volume;
	struct cop_object *root;
	struct cop_object *file;
	struct device *dev;

	(void)state;
	must(sim_create(VOLUME_BYTES, SEED, &medium));
	must(sim_open(medium, 0, &dev));
	format_and_open(dev, &volume);
	must(cop_root(volume, NULL, &root));
	file = make(root, "file", COP_FILE);
	prime(volume);
	for (uint64_t i = 0; i < APPENDS; i++) {
		struct costs before = costs_now(dev, volume);
		struct costs after;

		put(file, i * 4096, 4096);
		must(cop_sync(volume));
		after = costs_now(dev, volume);
		assert_in_range(
			(after.journal_blocks - before.journal_blocks) * BLOCK_BYTES, 1, 8192);
	}
	assert_true(volume_stats(open_volume_below(volume)).journal_blocks <= 2 * APPENDS + 8);
	cop_release(file);
	cop_release(root);
	must(cop_close(volume));
	device_close(dev);
	sim_free(medium);
}

/* ---- Many threads ---------------------------------------------------------------------------- */

/*
 * The first thread's sync is held in the device until all others have made their changes. Theirs
 * wait in the journal then, and whoever leads the next round takes all of them.
 */
struct crowd {
	struct cop_volume *volume;
	struct cop_object *files[THREADS];
	atomic_bool is_held;    /* the first thread stands in the device */
	atomic_int changed;     /* threads that have made their change */
	atomic_bool holds_next; /* the next call at the device */
};

static void
hold(void *context, struct sim_medium *medium, uint64_t call)
{
	struct crowd *crowd = context;

	(void)medium;
	(void)call;
	if (!atomic_exchange(&crowd->holds_next, false))
		return;
	atomic_store(&crowd->is_held, true);
	while (atomic_load(&crowd->changed) < THREADS)
		(void)usleep(100);
}

struct member {
	struct crowd *crowd;
	int number;
	int err;
};

static void *
change_and_sync(void *context)
{
	struct member *member = context;
	struct crowd *crowd = member->crowd;
	struct cop_attr attr = COP_INIT(attr);

	if (member->number > 0) {
		while (!atomic_load(&crowd->is_held))
			(void)usleep(100);
	}
	attr.mode = (uint32_t)member->number;
	member->err = cop_set_attr(crowd->files[member->number], &attr, COP_SET_MODE);
	atomic_fetch_add(&crowd->changed, 1);
	if (member->err == 0)
		member->err = cop_sync(crowd->volume);
	return NULL;
}

static void
syncs_of_many_threads_share_a_flush(void **state)
{
	struct crowd crowd = { .holds_next = true };
	struct member members[THREADS];
	pthread_t threads[THREADS];
	struct sim_medium *medium;
	struct cop_object *root;
	struct device *dev;
	struct costs before;
	struct costs after;

	(void)state;
	must(sim_create(VOLUME_BYTES, SEED, &medium));
	must(sim_open(medium, 0, &dev));
	format_and_open(dev, &crowd.volume);
	must(cop_root(crowd.volume, NULL, &root));
	for (int i = 0; i < THREADS; i++) {
		char name[16];

		(void)snprintf(name, sizeof name, "%d", i);
		crowd.files[i] = make(root, name, COP_FILE);
	}
	prime(crowd.volume);
	before = costs_now(dev, crowd.volume);
	sim_set_hook(medium, hold, &crowd);
	for (int i = 0; i < THREADS; i++) {
		members[i] = (struct member){ .crowd = &crowd, .number = i };
		assert_int_equal(
			pthread_create(&threads[i], NULL, change_and_sync, &members[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(members[i].err, 0);
	}
	sim_set_hook(medium, NULL, NULL);
	after = costs_now(dev, crowd.volume);
	assert_int_equal(after.flushes - before.flushes, 2); /* the first one's, all others' */
	assert_int_equal(after.batches - before.batches, 2);
	for (int i = 0; i < THREADS; i++)
		cop_release(crowd.files[i]);
	cop_release(root);
	must(cop_close(crowd.volume));
	device_close(dev);
	sim_free(medium);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_but_a_sync_flushes_or_writes_the_journal),
		cmocka_unit_test(a_durable_change_is_one_flush_on_a_simulated_disk),
		cmocka_unit_test(a_durable_change_is_one_flush_in_a_file),
		cmocka_unit_test(a_durable_change_is_one_flush_in_a_file_without_a_ring),
		cmocka_unit_test(a_durable_append_of_4_kib_takes_at_most_8_kib_of_journal),
		cmocka_unit_test(syncs_of_many_threads_share_a_flush),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
