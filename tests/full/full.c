/*
 * Fills a volume to the brim and empties it again, many times.
 *
 * usage: full MIB ROUNDS [SEED]
 *
 * A round makes objects of every kind and size until there is no space, checks that the error is
 * the right one and that what was stored reads back, proves the volume, takes everything away in
 * another order, some of it by truncation first, and expects exactly the free space that there was
 * after init.
 */

#include "check/check.h"
#include "object/open.h"

#include "base/num.h"
#include "base/random.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	FILE_BYTES_MAX = 1 << 20,
	OBJECTS_MAX = 1 << 20,
	CHECK_EVERY = 10, /* rounds */
};

struct stored {
	char name[24];
	uint64_t seed;
	uint64_t bytes;
	bool is_directory;
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
	uint64_t problems;
};

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vprintf(format, args);
	va_end(args);
	(void)printf(": %s\n", cop_error_text());
	exit(1);
}

static void
open_world(struct world *world)
{
	struct cop_open_options options = COP_INIT(options);

	options.cache_bytes = UINT64_C(16) << 20;
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

	if (cop_settle(world->volume) != 0 || cop_space(world->volume, &space) != 0)
		die("space");
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

/* One more object; COP_ENOSPC when it does not fit, and then nothing of it is there. */
static int
store_one(struct world *world)
{
	struct stored *stored = &world->list[world->count];
	struct cop_new new = COP_INIT(new);
	struct cop_object *object;
	size_t written;
	int err;

	(void)snprintf(stored->name, sizeof stored->name, "object %zu", world->count);
	stored->is_directory = rng_below(&world->rng, 20) == 0;
	stored->bytes = stored->is_directory ? 0 : random_bytes(&world->rng);
	stored->seed = rng_next(&world->rng);
	new.kind = stored->is_directory ? COP_DIRECTORY : COP_FILE;
	new.mode = 0644;
	err = cop_create(world->root, stored->name, strlen(stored->name), &new, &object);
	if (err)
		return err;
	fill_bytes(world->buffer, stored->seed, stored->bytes);
	if (stored->bytes > 0)
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

static void
fill_world(struct world *world)
{
	int misses = 0;

	/* A few in a row, so that small ones find the room that large ones left. */
	while (misses < 8 && world->count < OBJECTS_MAX) {
		int err = store_one(world);

		if (err != 0 && err != COP_ENOSPC)
			die("store: %s", cop_error_name(err));
		misses = err == 0 ? 0 : misses + 1;
	}
}

static void
read_world(struct world *world)
{
	for (size_t i = 0; i < world->count; i++) {
		const struct stored *stored = &world->list[i];
		struct cop_object *object;
		size_t bytes = 0;

		if (cop_lookup(world->root, stored->name, strlen(stored->name), &object) != 0)
			die("%s", stored->name);
		fill_bytes(world->buffer, stored->seed, stored->bytes);
		if (stored->bytes > 0 &&
			cop_read(object, 0, world->back, FILE_BYTES_MAX, &bytes) != 0)
			die("%s", stored->name);
		if (bytes != stored->bytes || memcmp(world->buffer, world->back, bytes) != 0)
			die("%s: other bytes", stored->name);
		cop_release(object);
	}
}

static void
truncate_one(struct world *world, const struct stored *stored)
{
	struct cop_object *object;

	if (cop_lookup(world->root, stored->name, strlen(stored->name), &object) != 0)
		die("%s", stored->name);
	if (cop_set_length(object, stored->bytes / 3) != 0)
		die("truncate of %s on a full volume", stored->name);
	cop_release(object);
}

static void
empty_world(struct world *world)
{
	while (world->count > 0) {
		size_t at = rng_below(&world->rng, world->count);
		struct stored *stored = &world->list[at];

		if (!stored->is_directory && rng_below(&world->rng, 5) == 0)
			truncate_one(world, stored);
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

	if (argc < 3) {
		(void)fprintf(stderr, "usage: full MIB ROUNDS [SEED]\n");
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
		fill_world(&world);
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
	(void)printf("%s MiB filled and emptied %ld times, %llu bytes free after each\n", argv[1],
		rounds, (unsigned long long)before);
	return 0;
}
