#include "world.h"

#include "base/random.h"
#include "check/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

bool world_writes_through;

void
world_must(int err, const char *call, const char *file, int line)
{
	if (err == 0)
		return;
	fprintf(stderr, "%s:%d: %s: %s: %s (%s)\n", file, line, call, cop_error_name(err),
		cop_error_text(), err_place());
	abort();
}

static int
world_random(void *context, void *buffer, size_t bytes)
{
	struct world *world = context;
	struct rng rng;

	rng_seed(&rng, world->seed++);
	rng_bytes(&rng, buffer, bytes);
	return 0;
}

static int64_t
world_clock(void *context)
{
	struct world *world = context;

	return atomic_fetch_add(&world->now_ns, 1000);
}

void
world_open(struct world *world)
{
	struct cop_open_options options = COP_INIT(options);

	options.cache_bytes = COP_CACHE_BYTES_MIN;
	options.write_through = world_writes_through;
	options.random = world_random;
	options.clock_ns = world_clock;
	options.context = world;
	must(cop_open_on(world->dev, &options, &world->volume));
	must(cop_root(world->volume, NULL, &world->root));
}

static void
format_and_open(struct world *world, uint32_t node_bytes)
{
	struct cop_format_options options = COP_INIT(options);
	struct cop_sources sources = {
		.random = world_random,
		.clock_ns = world_clock,
		.context = world,
	};

	options.node_bytes = node_bytes;
	must(cop_format_sourced_on(world->dev, &options, &sources));
	world_open(world);
}

void
world_init(struct world *world, uint64_t bytes, uint32_t node_bytes, uint64_t seed)
{
	struct device_options device_options = { 0 };
	char url[64];

	*world = (struct world){ .seed = seed, .now_ns = INT64_C(1700000000000000000) };
	snprintf(url, sizeof url, "mem:%llu", (unsigned long long)bytes);
	must(device_open(url, &device_options, &world->dev));
	format_and_open(world, node_bytes);
}

void
world_init_on_sim(struct world *world, uint64_t bytes, uint64_t seed)
{
	*world = (struct world){ .seed = seed, .now_ns = INT64_C(1700000000000000000) };
	must(sim_create(bytes, seed, &world->medium));
	must(sim_open(world->medium, 0, &world->dev));
	format_and_open(world, 0);
}

static void
print_problem(void *context, const struct cop_problem *problem)
{
	(void)context;
	fprintf(stderr, "check: object %llu: %s\n", (unsigned long long)problem->object,
		problem->text);
}

void
world_check(struct world *world)
{
	struct cop_check_options options = COP_INIT(options);
	struct cop_check_result result = COP_INIT(result);

	options.problem = print_problem;
	must(cop_check_on(world->dev, &options, &result));
	if (result.problems > 0)
		abort();
}

void
world_fini(struct world *world)
{
	cop_release(world->root);
	must(cop_close(world->volume));
	world_check(world);
	device_close(world->dev);
	sim_free(world->medium);
}

void
world_reopen(struct world *world, bool abandoned)
{
	cop_release(world->root);
	if (abandoned)
		cop_abandon(world->volume);
	else
		must(cop_close(world->volume));
	world_open(world);
}

struct cop_object *
world_file(struct world *world)
{
	struct cop_new new = COP_INIT(new);
	struct cop_object *object;

	new.kind = COP_FILE;
	new.mode = 0644;
	must(cop_allocate(world->root, &new, &object));
	must(cop_ref(object));
	return object;
}

struct cop_object *
world_comb(struct world *world, uint64_t teeth)
{
	struct cop_object *file = world_file(world);

	for (uint64_t i = 0; i < teeth; i++)
		world_write(file, i, i * 8192, 4096);
	return file;
}

struct cop_attr
world_attr(struct cop_object *object)
{
	struct cop_attr attr = COP_INIT(attr);

	must(cop_stat(object, &attr));
	return attr;
}

void
world_bytes(uint64_t seed, uint8_t *out, size_t bytes)
{
	struct rng rng;

	rng_seed(&rng, seed);
	rng_bytes(&rng, out, bytes);
}

void
world_write(struct cop_object *file, uint64_t seed, uint64_t offset, size_t bytes)
{
	uint8_t *buffer = malloc(bytes);
	size_t written;

	assert_non_null(buffer);
	world_bytes(seed, buffer, bytes);
	must(cop_write(file, offset, buffer, bytes, &written));
	assert_int_equal(written, bytes);
	free(buffer);
}

void
world_expect(struct cop_object *file, uint64_t seed, uint64_t offset, size_t bytes)
{
	uint8_t *want = malloc(bytes);
	uint8_t *got = malloc(bytes);
	size_t read;

	assert_non_null(want);
	assert_non_null(got);
	world_bytes(seed, want, bytes);
	must(cop_read(file, offset, got, bytes, &read));
	assert_int_equal(read, bytes);
	assert_memory_equal(want, got, bytes);
	free(want);
	free(got);
}

struct cop_stats
world_stats(const struct world *world)
{
	struct cop_stats stats = COP_INIT(stats);

	must(cop_stats(world->volume, &stats));
	return stats;
}

uint64_t
world_free_bytes(struct world *world)
{
	struct cop_space space = COP_INIT(space);

	must(cop_settle(world->volume));
	must(cop_space(world->volume, &space));
	return space.free_bytes;
}
