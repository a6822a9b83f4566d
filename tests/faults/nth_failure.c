/*
 * nth_failure: the n-th allocation, read, write or flush fails, for every n, in every function of
 * coppice.h.
 *
 * Each function is called on a fresh copy of one volume with the fault set to strike its n-th
 * chance, once, and then from the n-th on, until a call comes through without being struck. Each
 * time: either the error of the fault comes back and nothing has changed, or the call has got over
 * it and says and does what it does without a fault. Then the volume is closed, checked, opened
 * again and compared once more; every other time the process is killed instead, and the opening has
 * a journal to replay. (What was not synced, or whose sync failed, may have been done or not.)
 *
 * When a sync has failed because the device did, no more changes are taken, and each further sync
 * says so.
 *
 *   nth_failure [FUNCTION]
 */

#include "faults/stage.h"

#include "base/num.h"
#include "base/random.h"
#include "check/check.h"
#include "object/open.h"
#include "support/alloc.h"
#include "support/die.h"
#include "support/must.h"
#include "support/op.h"
#include "support/snapshot.h"
#include "support/sources.h"
#include "support/world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SEED = 5, NTH_MAX = 20000, TREE_WRITES = 70, NAMES = 50, WHY_BYTES = 512 };

static const char *const kind_name[FAIL_KINDS] = { "allocation", "read", "write",
	"write (device full)", "flush" };

/* The volume that every call is tried on, and what it shows. */
static struct sim_medium *base_medium;
static struct snapshot *base_snapshot;
static char scratch[] = "/tmp/coppice-faults-XXXXXX";

/* What a call does when nothing fails. */
struct reference {
	struct snapshot *before; /* after what prepares the call */
	struct snapshot *after;
	uint64_t answer;
	int result;
};

static uint64_t failures;
static uint64_t tries;

static void
complain(
	const char *function, enum fault_kind kind, bool persistent, uint64_t nth, const char *text)
{
	printf("not ok: %s: %s %" PRIu64 "%s: %s\n", function, kind_name[kind], nth,
		persistent ? " and all after it" : "", text);
	failures++;
}

/* ---- The volume ----------------------------------------------------------------------------- */

static void
run(struct op_runner *runner, const struct op *op)
{
	uint64_t id;

	must(op_run(runner, op, &id), op->path);
}

static void
make(struct op_runner *runner, uint32_t kind, const char *path)
{
	struct op op = { .type = OP_CREATE, .kind = kind, .seed = 3 };

	snprintf(op.path, sizeof op.path, "%s", path);
	run(runner, &op);
}

static void
put(struct op_runner *runner, const char *path, uint64_t offset, uint64_t bytes)
{
	struct op op = { .type = OP_WRITE, .offset = offset, .bytes = bytes, .seed = offset + 7 };

	snprintf(op.path, sizeof op.path, "%s", path);
	run(runner, &op);
}

static void
fill_volume(struct world *world, struct op_runner *runner)
{
	const struct op punch = { .type = OP_PUNCH, .path = "/freed", .bytes = STAGE_FREED * 8192 };
	struct op op = { .type = OP_LINK, .path = "/inline" };
	struct cop_object *object = NULL;
	char *value = must_alloc(9000);

	make(runner, COP_FILE, "/inline");
	put(runner, "/inline", 0, 100);
	make(runner, COP_FILE, "/extents");
	put(runner, "/extents", 0, 20000);
	make(runner, COP_FILE, "/tree");
	for (uint64_t i = 0; i < TREE_WRITES; i++)
		put(runner, "/tree", i * 8192, 4096);
	make(runner, COP_SYMLINK, "/symlink");
	make(runner, COP_DIRECTORY, "/d");
	make(runner, COP_DIRECTORY, "/d/sub");
	make(runner, COP_FILE, "/d/f");
	for (int i = 0; i < NAMES; i++) {
		snprintf(op.path2, sizeof op.path2, "/d/name %d", i);
		run(runner, &op);
	}
	must(op_resolve(runner, "/extents", &object), "/extents");
	memset(value, 'v', 9000);
	must(cop_xattr_set(object, "user.large", value, 9000, 0), "a large attribute");
	free(value);
	cop_release(object);
	make(runner, COP_FILE, "/freed");
	for (uint64_t i = 0; i < STAGE_FREED_ALL; i++)
		put(runner, "/freed", i * 8192, 4096);
	must(cop_settle(world->volume), "settle");
	run(runner, &punch);
	must(snapshot_of_volume(world->volume, &base_snapshot), "snapshot");
}

static void
make_base(void)
{
	struct world_options options = { .seed = SEED, .now_ns = 1000 };
	struct op_runner runner;
	struct world world;

	must(sim_create(WORLD_BYTES, SEED, &base_medium), "medium");
	must(world_format(base_medium, SEED), "format");
	must(world_open(&world, base_medium, &options), "open");
	must(op_runner_init(&runner, world.volume), "root");
	fill_volume(&world, &runner);
	op_runner_fini(&runner);
	must(world_close(&world), "close");
}

/* ---- One try -------------------------------------------------------------------------------- */

struct
try {
	const struct named_row *named;
	enum fault_kind kind;
	bool persistent;
	uint64_t nth;
	bool killed;               /* not closed */
	struct sim_medium *medium; /* NULL for failing allocations */
	struct stage *stage;
	struct rng rng;
	bool struck;
	int result;
};

static void
copy_volume(struct sim_medium *from, struct device *to)
{
	static _Alignas(BLOCK_BYTES) uint8_t block[BLOCK_BYTES];
	static const uint8_t zeros[BLOCK_BYTES];

	for (uint64_t addr = 0; addr < device_blocks(to); addr++) {
		must(sim_peek(from, addr, block), "peek");
		if (memcmp(block, zeros, sizeof block) != 0)
			must(device_write(to, addr, block, 1), "copy");
	}
}

/* Through the host's cache: thousands of copies are made. */
static void
copy_volume_to_file(struct sim_medium *from, const char *path)
{
	static uint8_t block[BLOCK_BYTES];
	static const uint8_t zeros[BLOCK_BYTES];
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	bool good = fd >= 0 && ftruncate(fd, WORLD_BYTES) == 0;

	for (uint64_t addr = 0; good && addr < WORLD_BYTES / BLOCK_BYTES; addr++) {
		must(sim_peek(from, addr, block), "peek");
		if (memcmp(block, zeros, sizeof block) != 0)
			good = pwrite(fd, block, sizeof block, (off_t)(addr * BLOCK_BYTES)) ==
			       (ssize_t)sizeof block;
	}
	if (!good || close(fd) != 0)
		must(fail_errno(errno, "%s", path), "copy");
}

static void
open_device(struct try *try)
{
	struct stage *stage = try->stage;
	struct device_options options = { 0 };
	char url[64];

	if (try->kind != FAIL_MEMORY) {
		must(sim_clone(base_medium, &try->medium), "clone");
		must(sim_open(try->medium, 0, &stage->dev), "device");
		return;
	}
	stage->by_name = strcmp(try->named->name, "cop_open") == 0 ||
			 strcmp(try->named->name, "cop_probe") == 0 ||
			 strcmp(try->named->name, "cop_survey") == 0 ||
			 strcmp(try->named->name, "cop_check") == 0 ||
			 strcmp(try->named->name, "cop_dump") == 0 ||
			 strcmp(try->named->name, "cop_format") == 0;
	snprintf(stage->url, sizeof stage->url, "%s/volume", scratch);
	snprintf(stage->new_url, sizeof stage->new_url, "%s/new", scratch);
	unlink(stage->url);
	unlink(stage->new_url);
	if (stage->by_name) {
		copy_volume_to_file(base_medium, stage->url);
		must(device_open(stage->url, &options, &stage->dev), "device");
		return;
	}
	snprintf(url, sizeof url, "mem:%d", WORLD_BYTES);
	must(device_open(url, &options, &stage->dev), "device");
	copy_volume(base_medium, stage->dev);
}

/* By name, the call opens the file itself: nobody else may have it open. */
static void
leave_device_to_call(struct stage *stage)
{
	if (!stage->by_name)
		return;
	device_close(stage->dev);
	stage->dev = NULL;
}

static void
open_volume(struct try *try)
{
	static const char *const names[STAGE_OBJECTS] = { NULL, "extents", "inline", "tree", "d",
		"symlink", "freed" };
	struct stage *stage = try->stage;
	struct cop_open_options options = COP_INIT(options);

	rng_seed(&try->rng, SEED + 1);
	options.cache_bytes = COP_CACHE_BYTES_MIN;
	options.random = sources_random;
	options.clock_ns = sources_clock;
	options.context = &try->rng;
	stage->open_options = options;
	must(cop_open_on(stage->dev, &options, &stage->volume), "open");
	must(cop_root(stage->volume, NULL, &stage->objects[ROOT]), "root");
	for (int i = ROOT + 1; i < STAGE_OBJECTS; i++)
		must(cop_lookup(
			     stage->objects[ROOT], names[i], strlen(names[i]), &stage->objects[i]),
			names[i]);
	if (try->named->row->prepare)
		must(try->named->row->prepare(stage), "prepare");
}

static void
arm(struct try *try)
{
	static const enum sim_fault_kind sim_kind[FAIL_KINDS] = { 0, SIM_FAIL_READ, SIM_FAIL_WRITE,
		SIM_FAIL_WRITE, SIM_FAIL_FLUSH };
	struct sim_fault fault = {
		.kind = sim_kind[try->kind],
		.call = try->nth,
		.persistent = try->persistent,
		.code = try->kind == FAIL_WRITE_FULL ? COP_ENOSPC : COP_EIO,
	};

	if (try->nth == 0)
		return;
	if (try->kind == FAIL_MEMORY && try->persistent)
		alloc_fail_from(try->nth);
	else if (try->kind == FAIL_MEMORY)
		alloc_fail_nth(try->nth);
	else
		must(sim_add_fault(try->medium, &fault), "fault");
}

static void
call(struct try *try)
{
	uint64_t allocations = alloc_count();

	arm(try);
	allocations = alloc_count();
	try->result = try->named->row->call(try->stage);
	if (try->kind == FAIL_MEMORY) {
		try->struck = try->nth > 0 && alloc_count() - allocations >= try->nth;
		alloc_fail_nth(0);
	} else {
		try->struck = sim_faults_struck(try->medium) > 0;
		sim_clear_faults(try->medium);
	}
}

static bool
is_error_of(enum fault_kind kind, int result)
{
	switch (kind) {
	case FAIL_MEMORY:
		return result == COP_ENOMEM;
	case FAIL_READ: /* a bitmap that cannot be read closes its group to allocation */
	case FAIL_WRITE_FULL:
		return result == COP_ENOSPC || result == COP_EIO;
	default:
		return result == COP_EIO;
	}
}

/* What the open volume shows; false with the reason. */
static bool
shows(struct cop_volume *volume, const struct snapshot *const *wanted, size_t count,
	char why[WHY_BYTES])
{
	struct snapshot *found = NULL;
	bool matches = false;

	if (snapshot_of_volume(volume, &found) != 0) {
		snprintf(why, WHY_BYTES, "it cannot be read: %s", cop_error_text());
		return false;
	}
	for (size_t i = 0; !matches && i < count; i++)
		matches = snapshot_matches(found, wanted[i], 0, why, WHY_BYTES);
	snapshot_free(found);
	return matches;
}

static void
note_problem(void *context, const struct cop_problem *problem)
{
	snprintf(context, WHY_BYTES, "check finds: class %d: %s", (int)problem->class_,
		problem->text);
}

/* Closed, checked and opened again, the volume shows one of `wanted`. */
static bool
is_sound_afterwards(struct try *try, const struct snapshot *const *wanted, size_t count,
	bool torn_superblock, char why[WHY_BYTES])
{
	struct cop_check_options options = COP_INIT(options);
	struct cop_check_result result = COP_INIT(result);
	struct stage *stage = try->stage;
	struct cop_open_options open = stage->open_options;
	struct cop_volume *volume = NULL;
	bool sound;

	options.cache_bytes = COP_CACHE_BYTES_MIN;
	options.problem = note_problem;
	options.context = why;
	if (cop_check_on(stage->dev, &options, &result) != 0) {
		snprintf(why, WHY_BYTES, "check: %s", cop_error_text());
		return false;
	}
	if (result.problems > 0 && !torn_superblock)
		return false;
	open.read_only = true;
	if (cop_open_on(stage->dev, &open, &volume) != 0) {
		snprintf(why, WHY_BYTES, "it does not open again: %s", cop_error_text());
		return false;
	}
	sound = shows(volume, wanted, count, why);
	return cop_close(volume) == 0 && sound;
}

/* After a sync that the device has failed. */
static bool
takes_changes(const struct stage *stage)
{
	struct cop_object *object = NULL;
	struct cop_new create = COP_INIT(create);

	create.kind = COP_FILE;
	if (cop_sync(stage->volume) == 0)
		return true;
	if (cop_create(stage->objects[ROOT], "more", 4, &create, &object) != 0)
		return false;
	cop_release(object);
	return true;
}

/* Lets everything go; true when closing made all durable. */
static bool
end_stage(struct try *try)
{
	struct stage *stage = try->stage;
	struct device_options options = { 0 };
	bool closed = true;

	stage_release(stage);
	if (stage->volume && try->killed) {
		cop_abandon(TAKE(stage->volume));
		closed = false;
	} else if (stage->volume) {
		closed = cop_close(TAKE(stage->volume)) == 0;
	}
	if (stage->by_name)
		must(device_open(stage->url, &options, &stage->dev), "device");
	return closed;
}

static void
try_free(struct try *try)
{
	device_close(try->stage->dev);
	sim_free(try->medium);
	free(try->stage);
}

/* Has the call made everything durable, as it promises? */
static bool
has_synced(const struct try *try)
{
	return try->named->row->class == ROW_CHECKPOINT && try->result == 0;
}

/* What the call left behind, while the volume is open. */
static bool
is_right_before_the_end(
	const struct try *try, const struct reference *reference, char why[WHY_BYTES])
{
	const struct snapshot *before = reference->before;
	const enum row_class class = try->named->row->class;

	if (try->result == 0) {
		snprintf(why, WHY_BYTES, "it says something else");
		return try->stage->answer == reference->answer || class == ROW_FORMATS;
	}
	if (!is_error_of(try->kind, try->result)) {
		snprintf(why, WHY_BYTES, "the error is %s: %s", cop_error_name(try->result),
			cop_error_text());
		return false;
	}
	if (!try->stage->volume)
		return true;
	if (class == ROW_CHECKPOINT && try->kind >= FAIL_WRITE && takes_changes(try->stage)) {
		snprintf(why, WHY_BYTES, "changes are taken after a failed sync");
		return false;
	}
	return shows(try->stage->volume, &before, 1, why);
}

static void
judge(struct try *try, const struct reference *reference)
{
	const enum row_class class = try->named->row->class;
	const struct snapshot *wanted[] = { reference->after, reference->before, base_snapshot };
	size_t count = 1;
	char why[WHY_BYTES] = "";
	bool good = is_right_before_the_end(try, reference, why);
	bool closed = end_stage(try);

	if (class == ROW_FORMATS) {
		if (try->result != 0 && try->stage->by_name &&
			access(try->stage->new_url, F_OK) == 0) {
			snprintf(why, sizeof why, "a new file is left behind");
			good = false;
		}
	} else if (good) {
		if (try->result != 0)
			wanted[0] = reference->before;
		/* A checkpoint that failed, or the last one, or none: done or not. */
		if ((!closed && !has_synced(try)) || (class == ROW_CHECKPOINT && try->result != 0))
			count = ARRAY_COUNT(wanted);
		good = is_sound_afterwards(try, wanted, count, count > 1, why);
	}
	if (!good)
		complain(try->named->name, try->kind, try->persistent, try->nth, why);
}

static void
begin_try(struct try *try)
{
	try->stage = must_alloc(sizeof *try->stage);
	open_device(try);
	open_volume(try);
	leave_device_to_call(try->stage);
}

static void
make_reference(const struct named_row *named, enum fault_kind kind, struct reference *reference)
{
	struct try try = { .named = named, .kind = kind };
	struct cop_open_options open;
	struct cop_volume *volume = NULL;
	char why[WHY_BYTES] = "";

	begin_try(&try);
	if (try.stage->volume)
		must(snapshot_of_volume(try.stage->volume, &reference->before), "snapshot");
	else
		reference->before = NULL;
	(void)end_stage(&try); /* nothing fails here */
	try_free(&try);

	/* Again, so that the snapshot has not warmed the cache. */
	try = (struct try){ .named = named, .kind = kind };
	begin_try(&try);
	call(&try);
	must(try.result, named->name);
	reference->result = try.result;
	reference->answer = try.stage->answer;
	(void)end_stage(&try); /* an abandoned volume has nothing to close */
	open = try.stage->open_options;
	open.read_only = true;
	if (named->row->class != ROW_FORMATS) {
		must(cop_open_on(try.stage->dev, &open, &volume), "open again");
		must(snapshot_of_volume(volume, &reference->after), "snapshot");
		must(cop_close(volume), "close");
	}
	if (!reference->before)
		reference->before = reference->after;
	if (named->row->class == ROW_READS &&
		!snapshot_matches(reference->after, reference->before, 0, why, sizeof why))
		complain(named->name, kind, false, 0, why);
	try_free(&try);
}

static void
reference_fini(struct reference *reference)
{
	if (reference->before != reference->after)
		snapshot_free(reference->before);
	snapshot_free(reference->after);
}

/* Returns how often the call was struck. */
static uint64_t
try_every_nth(const struct named_row *named, enum fault_kind kind, bool persistent,
	const struct reference *reference)
{
	for (uint64_t nth = 1; nth < NTH_MAX; nth++) {
		struct try try = {
			.named = named,
			.kind = kind,
			.persistent = persistent,
			.nth = nth,
			.killed = nth % 2 == 1,
		};
		bool struck;

		begin_try(&try);
		call(&try);
		struck = try.struck;
		tries++;
		judge(&try, reference);
		try_free(&try);
		if (!struck)
			return nth - 1;
	}
	complain(named->name, kind, persistent, NTH_MAX, "it does not come to an end");
	return NTH_MAX;
}

static void
try_function(const struct named_row *named)
{
	uint64_t struck[FAIL_KINDS] = { 0 };

	for (enum fault_kind kind = 0; kind < FAIL_KINDS; kind++) {
		struct reference reference = { 0 };

		make_reference(named, kind, &reference);
		for (int persistent = 0; persistent < 2; persistent++)
			struck[kind] += try_every_nth(named, kind, persistent != 0, &reference);
		reference_fini(&reference);
	}
	printf("%-20s %5" PRIu64 " allocations %4" PRIu64 " reads %4" PRIu64 " writes %3" PRIu64
	       " flushes failed\n",
		named->name, struck[FAIL_MEMORY], struck[FAIL_READ],
		struck[FAIL_WRITE] + struck[FAIL_WRITE_FULL], struck[FAIL_FLUSH]);
	fflush(stdout);
}

static void
remove_scratch(void)
{
	char path[64];

	snprintf(path, sizeof path, "%s/volume", scratch);
	unlink(path);
	snprintf(path, sizeof path, "%s/new", scratch);
	unlink(path);
	rmdir(scratch);
}

int
main(int argc, char **argv)
{
	if (!mkdtemp(scratch)) {
		perror(scratch);
		return EXIT_FAILURE;
	}
	make_base();
	for (size_t i = 0; i < row_count; i++)
		if (argc < 2 || strcmp(argv[1], rows[i].name) == 0)
			try_function(&rows[i]);
	snapshot_free(base_snapshot);
	sim_free(base_medium);
	remove_scratch();
	printf("%" PRIu64 " tries, %" PRIu64 " failures\n", tries, failures);
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
