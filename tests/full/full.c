/*
 * Fills a volume to the brim and empties it again, many times.
 *
 * usage: full [--clones] MIB ROUNDS [SEED]
 *
 * A round makes objects of every kind and size until there is no space and checks that the error is
 * the right one. Then it lives on the full volume for a while: it overwrites, which may be refused
 * and must destroy nothing then; it punches, cuts, syncs, and lets time pass, which must all
 * succeed. It checks that what was stored reads back, proves the volume, takes everything away in
 * another order, some of it by truncation first, and expects exactly the free space that there was
 * after init.
 *
 * With --clones many files are clones of others, or become it on the full volume. Then punching and
 * cutting may be refused as well, for what others hold needs nodes and frees nothing.
 *
 * The clock is the test's. Every other opening has a thread in the background; without one, timers
 * and jobs run when the test says so, and equal seeds make equal volumes.
 */

#include "check/check.h"
#include "object/clone.h"
#include "object/open.h"

#include "base/num.h"
#include "base/random.h"
#include "support/die.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	FILE_BYTES_MAX = 1 << 20,
	OBJECTS_MAX = 1 << 20,
	PATCHES_MAX = 6,
	CHANGES = 200,    /* on the full volume, in each round */
	CHECK_EVERY = 10, /* rounds */
};

static_assert(FILE_BYTES_MAX <= COP_WRITE_ATOMIC, "a write is done or refused as a whole");

static const int64_t passing_ns_max = INT64_C(12000000000);

/* Bytes that were written later. */
struct patch {
	uint64_t offset;
	uint64_t bytes;
	uint64_t seed; /* 0: zeros */
};

struct stored {
	char name[24];
	uint64_t seed;
	uint64_t bytes;
	bool is_directory;
	struct patch patches[PATCHES_MAX];
	uint32_t patch_count;
};

struct world {
	struct device *dev;
	struct cop_volume *volume;
	struct cop_object *root;
	struct stored *list;
	size_t count;
	uint8_t *buffer;
	uint8_t *back;
	struct rng rng;
	_Atomic int64_t now_ns;
	bool has_thread;
	bool has_clones;
	uint64_t opened;
	uint64_t cloned;
	uint64_t refused;
	uint64_t changed; /* on a full volume */
};

static int64_t
clock_ns(void *context)
{
	struct world *world = context;

	return atomic_load(&world->now_ns);
}

static int
random_seeded(void *context, void *buffer, size_t bytes)
{
	struct world *world = context;

	rng_bytes(&world->rng, buffer, bytes);
	return 0;
}

static void
open_world(struct world *world)
{
	struct cop_open_options options = COP_INIT(options);

	world->has_thread = world->opened++ % 2 == 1;
	options.cache_bytes = UINT64_C(16) << 20;
	options.threads = world->has_thread;
	options.clock_ns = clock_ns;
	options.random = random_seeded;
	options.context = world;
	if (cop_open_on(world->dev, &options, &world->volume) != 0 ||
		cop_root(world->volume, NULL, &world->root) != 0)
		die("open");
}

static void
close_world(struct world *world)
{
	cop_release(world->root);
	if (cop_close(world->volume) != 0)
		die("close");
}

static void
print_problem(void *context, const struct cop_problem *problem)
{
	(void)context;
	(void)printf("problem: %s: %s\n", problem->path ? problem->path : "?", problem->text);
}

static void
check_world(struct world *world)
{
	struct cop_check_options options = COP_INIT(options);
	struct cop_check_result result = COP_INIT(result);

	options.problem = print_problem;
	options.cache_bytes = UINT64_C(16) << 20;
	close_world(world);
	if (cop_check_on(world->dev, &options, &result) != 0)
		die("check");
	if (result.problems != 0)
		die("%llu problems", (unsigned long long)result.problems);
	open_world(world);
}

static uint64_t
free_bytes(struct world *world)
{
	struct cop_space space = COP_INIT(space);

	do {
		if (cop_settle(world->volume) != 0 || cop_space(world->volume, &space) != 0)
			die("space");
	} while (space.pending_bytes > 0);
	return space.free_bytes;
}

/* Small, middling and large, so that every form of content occurs. */
static uint64_t
random_bytes(struct rng *rng)
{
	switch (rng_below(rng, 4)) {
	case 0:
		return rng_below(rng, 600);
	case 1:
		return rng_below(rng, 20000);
	case 2:
		return rng_below(rng, 200000);
	default:
		return rng_below(rng, FILE_BYTES_MAX);
	}
}

static void
fill_bytes(uint8_t *buffer, uint64_t seed, uint64_t bytes)
{
	struct rng rng;

	rng_seed(&rng, seed);
	rng_bytes(&rng, buffer, bytes);
}

static void
let_time_pass(struct world *world)
{
	uint64_t pending;

	atomic_fetch_add(&world->now_ns, (int64_t)rng_below(&world->rng, passing_ns_max));
	if (!world->has_thread && cop_poll(world->volume, &pending) != 0)
		die("timers");
}

static struct cop_object *
find(struct world *world, const struct stored *stored)
{
	struct cop_object *object;

	if (cop_lookup(world->root, stored->name, strlen(stored->name), &object) != 0)
		die("%s", stored->name);
	return object;
}

/* A file that there is, or NULL. */
static const struct stored *
draw_file(struct world *world)
{
	const struct stored *stored =
		world->count == 0 ? NULL : &world->list[rng_below(&world->rng, world->count)];

	return stored && !stored->is_directory ? stored : NULL;
}

/* Makes the content of `object` that of `source`. */
static int
clone_from(struct world *world, const struct stored *source, struct stored *stored,
	struct cop_object *object)
{
	struct cop_object *from = find(world, source);
	int err = object_clone(from, object);

	cop_release(from);
	if (err)
		return err;
	world->cloned++;
	stored->seed = source->seed;
	stored->bytes = source->bytes;
	stored->patch_count = source->patch_count;
	memcpy(stored->patches, source->patches, sizeof stored->patches);
	return 0;
}

/* One more object; COP_ENOSPC when it does not fit, and then nothing of it is there. */
static int
store_one(struct world *world)
{
	struct stored *stored = &world->list[world->count];
	const struct stored *source = NULL;
	struct cop_new new = COP_INIT(new);
	struct cop_object *object;
	size_t written;
	int err;

	(void)snprintf(stored->name, sizeof stored->name, "object %zu", world->count);
	stored->patch_count = 0;
	stored->is_directory = rng_below(&world->rng, 20) == 0;
	stored->bytes = stored->is_directory ? 0 : random_bytes(&world->rng);
	stored->seed = rng_next(&world->rng);
	new.kind = stored->is_directory ? COP_DIRECTORY : COP_FILE;
	new.mode = 0644;
	err = cop_create(world->root, stored->name, strlen(stored->name), &new, &object);
	if (err)
		return err;
	if (world->has_clones && !stored->is_directory && rng_below(&world->rng, 2) == 0)
		source = draw_file(world);
	fill_bytes(world->buffer, stored->seed, stored->bytes);
	if (source)
		err = clone_from(world, source, stored, object);
	else if (stored->bytes > 0)
		err = cop_write(object, 0, world->buffer, stored->bytes, &written);
	cop_release(object);
	if (err) {
		char text[256];

		(void)snprintf(text, sizeof text, "%s", cop_error_text());
		if (cop_unlink(world->root, stored->name, strlen(stored->name), 0) != 0)
			die("unlink of what did not fit (%s)", text);
		return err;
	}
	world->count++;
	return 0;
}

/* Until so many in a row did not fit: small ones find the room that large ones left. */
static void
fill_world(struct world *world, int misses_max)
{
	int misses = 0;

	while (misses < misses_max && world->count < OBJECTS_MAX) {
		int err = store_one(world);

		if (rng_below(&world->rng, 100) == 0)
			let_time_pass(world);

		if (err != 0 && err != COP_ENOSPC)
			die("store: %s", cop_error_name(err));
		misses = err == 0 ? 0 : misses + 1;
	}
}

/* What the object holds now, into world->buffer. */
static void
fill_expected(struct world *world, const struct stored *stored)
{
	fill_bytes(world->buffer, stored->seed, stored->bytes);
	for (uint32_t i = 0; i < stored->patch_count; i++) {
		const struct patch *patch = &stored->patches[i];

		if (patch->seed == 0)
			memset(world->buffer + patch->offset, 0, patch->bytes);
		else
			fill_bytes(world->buffer + patch->offset, patch->seed, patch->bytes);
	}
}

static void
read_one(struct world *world, const struct stored *stored)
{
	struct cop_object *object = find(world, stored);
	size_t bytes = 0;

	if (!stored->is_directory && cop_read(object, 0, world->back, FILE_BYTES_MAX, &bytes) != 0)
		die("%s", stored->name);
	fill_expected(world, stored);
	if (bytes != stored->bytes || memcmp(world->buffer, world->back, bytes) != 0)
		die("%s: other bytes", stored->name);
	cop_release(object);
}

static void
read_world(struct world *world)
{
	for (size_t i = 0; i < world->count; i++)
		read_one(world, &world->list[i]);
}

/* What a clone has as well may take space to be cut. */
static bool
is_held_by_others(struct world *world, int err)
{
	if (err != COP_ENOSPC || !world->has_clones)
		return false;
	world->refused++;
	return true;
}

static void
truncate_one(struct world *world, struct stored *stored, uint64_t bytes)
{
	struct cop_object *object = find(world, stored);
	int err = cop_set_length(object, bytes);

	if (err == 0)
		stored->bytes = bytes;
	else if (!is_held_by_others(world, err))
		die("truncate of %s on a full volume", stored->name);
	cop_release(object);
}

/* ---- Living on a full volume ----------------------------------------------------------------- */

static void
sync_some(struct world *world, struct cop_object *object)
{
	int err;

	switch (rng_below(&world->rng, 3)) {
	case 0:
		err = cop_sync(world->volume);
		break;
	case 1:
		err = cop_barrier(world->volume);
		break;
	default:
		err = cop_sync_object(object);
	}
	if (err)
		die("sync on a full volume");
}

static void
overwrite_one(struct world *world, struct stored *stored, struct cop_object *object)
{
	struct patch *patch = &stored->patches[stored->patch_count];
	size_t written;
	int err;

	patch->offset = rng_below(&world->rng, stored->bytes);
	patch->bytes = 1 + rng_below(&world->rng, stored->bytes - patch->offset);
	patch->seed = rng_next(&world->rng) | 1;
	fill_bytes(world->buffer, patch->seed, patch->bytes);
	err = cop_write(object, patch->offset, world->buffer, patch->bytes, &written);
	if (err == 0)
		stored->patch_count++;
	else if (err == COP_ENOSPC)
		world->refused++;
	else
		die("overwriting %s", stored->name);
}

static void
punch_one(struct world *world, struct stored *stored, struct cop_object *object)
{
	struct patch *patch = &stored->patches[stored->patch_count];
	int err;

	patch->offset = rng_below(&world->rng, stored->bytes);
	patch->bytes = 1 + rng_below(&world->rng, stored->bytes - patch->offset);
	patch->seed = 0;
	err = cop_punch(object, patch->offset, patch->bytes);
	if (err == 0)
		stored->patch_count++;
	else if (!is_held_by_others(world, err))
		die("punch of %s on a full volume", stored->name);
}

static void
clone_over(struct world *world, struct stored *stored, struct cop_object *object)
{
	const struct stored *source = draw_file(world);
	int err = source && source != stored ? clone_from(world, source, stored, object) : 0;

	if (err == COP_ENOSPC)
		world->refused++;
	else if (err)
		die("cloning over %s on a full volume", stored->name);
}

static void
change_one(struct world *world)
{
	struct stored *stored = &world->list[rng_below(&world->rng, world->count)];
	struct cop_object *object;

	if (stored->is_directory || stored->bytes == 0)
		return;
	object = find(world, stored);
	world->changed++;
	switch (rng_below(&world->rng, world->has_clones ? 10 : 8)) {
	case 0:
		let_time_pass(world);
		break;
	case 1:
		sync_some(world, object);
		break;
	case 2:
		truncate_one(world, stored, rng_below(&world->rng, stored->bytes + 1));
		break;
	case 3:
	case 4:
		if (stored->patch_count < PATCHES_MAX)
			punch_one(world, stored, object);
		break;
	case 8:
	case 9:
		clone_over(world, stored, object);
		break;
	default:
		if (stored->patch_count < PATCHES_MAX)
			overwrite_one(world, stored, object);
	}
	cop_release(object);
	if (rng_below(&world->rng, 4) == 0)
		read_one(world, stored);
}

static void
live(struct world *world)
{
	for (int i = 0; i < CHANGES && world->count > 0; i++) {
		change_one(world);
		if (rng_below(&world->rng, 4) == 0)
			fill_world(world, 1);
	}
}

static void
empty_world(struct world *world)
{
	while (world->count > 0) {
		size_t at = rng_below(&world->rng, world->count);
		struct stored *stored = &world->list[at];

		if (rng_below(&world->rng, 50) == 0)
			let_time_pass(world);
		if (!stored->is_directory && rng_below(&world->rng, 5) == 0) {
			truncate_one(world, stored, stored->bytes / 3);
			read_one(world, stored);
		}
		if (cop_unlink(world->root, stored->name, strlen(stored->name), 0) != 0)
			die("unlink of %s on a full volume, %zu left", stored->name, world->count);
		*stored = world->list[--world->count];
	}
}

int
main(int argc, char **argv)
{
	struct cop_format_options format = COP_INIT(format);
	struct device_options options = { 0 };
	struct world world = { 0 };
	char url[64];
	uint64_t before;
	long rounds;

	if (argc > 1 && strcmp(argv[1], "--clones") == 0) {
		world.has_clones = true;
		argc--;
		argv++;
	}
	if (argc < 3) {
		(void)fprintf(stderr, "usage: full [--clones] MIB ROUNDS [SEED]\n");
		return 2;
	}
	rounds = strtol(argv[2], NULL, 10);
	rng_seed(&world.rng, argc > 3 ? strtoull(argv[3], NULL, 10) : 1);
	world.list = calloc(OBJECTS_MAX, sizeof world.list[0]);
	world.buffer = malloc(FILE_BYTES_MAX);
	world.back = malloc(FILE_BYTES_MAX);
	if (!world.list || !world.buffer || !world.back)
		die("memory");
	(void)snprintf(url, sizeof url, "mem:%sM", argv[1]);
	if (device_open(url, &options, &world.dev) != 0 || cop_format_on(world.dev, &format) != 0)
		die("init of %s", url);
	open_world(&world);
	before = free_bytes(&world);
	for (long round = 0; round < rounds; round++) {
		fill_world(&world, 8);
		live(&world);
		read_world(&world);
		if (round % CHECK_EVERY == 0)
			check_world(&world);
		empty_world(&world);
		if (free_bytes(&world) != before)
			die("round %ld: %llu bytes free, %llu at first", round,
				(unsigned long long)free_bytes(&world), (unsigned long long)before);
	}
	check_world(&world);
	close_world(&world);
	device_close(world.dev);
	free(world.list);
	free(world.buffer);
	free(world.back);
	(void)printf(
		"%s MiB filled and emptied %ld times, %llu bytes free after each; %llu changes "
		"while it was full, %llu refused, %llu clones\n",
		argv[1], rounds, (unsigned long long)before, (unsigned long long)world.changed,
		(unsigned long long)world.refused, (unsigned long long)world.cloned);
	return 0;
}
