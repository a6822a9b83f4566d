#include "support/world.h"

#include "check/check.h"
#include "object/extent_format.h"
#include "object/open.h"
#include "volume/volume.h"

#include <stdio.h>
#include <string.h>

static int
random_bytes(void *context, void *buffer, size_t bytes)
{
	struct world *world = context;

	rng_bytes(&world->rng, buffer, bytes);
	return 0;
}

static int64_t
clock_ns(void *context)
{
	const struct world *world = context;

	return world->now_ns;
}

int
world_format(struct sim_medium *medium, uint64_t seed)
{
	struct cop_format_options options = COP_INIT(options);
	struct world world = { .now_ns = 1 };
	const struct cop_sources sources = {
		.random = random_bytes, .clock_ns = clock_ns, .context = &world
	};
	int err = sim_open(medium, 0, &world.dev);

	if (err)
		return err;
	options.journal_bytes = WORLD_JOURNAL_BYTES;
	rng_seed(&world.rng, seed);
	err = cop_format_sourced_on(world.dev, &options, &sources);
	device_close(world.dev);
	return err;
}

int
world_open(struct world *world, struct sim_medium *medium, const struct world_options *options)
{
	struct cop_open_options open = COP_INIT(open);
	int err;

	*world = (struct world){ .now_ns = options->now_ns };
	rng_seed(&world->rng, options->seed);
	err = sim_open(
		medium, options->read_only ? DEVICE_READ_ONLY | DEVICE_NO_LOCK : 0, &world->dev);
	if (err)
		return err;
	open.read_only = options->read_only;
	open.accept_loss = options->accept_loss;
	open.cache_bytes = options->cache_bytes ? options->cache_bytes : COP_CACHE_BYTES_MIN;
	open.write_through = !options->buffers;
	open.random = random_bytes;
	open.clock_ns = clock_ns;
	open.context = world;
	err = cop_open_tight_on(world->dev, &open, options->dirty_bytes, &world->volume);
	if (err) {
		device_close(world->dev);
		world->dev = NULL;
	}
	return err;
}

int
world_close(struct world *world)
{
	int err = cop_close(world->volume);

	device_close(world->dev);
	world->volume = NULL;
	world->dev = NULL;
	return err;
}

int
world_accept_loss(struct sim_medium *medium)
{
	const struct volume_options options = {
		.accept_loss = true,
		.cache_bytes = COP_CACHE_BYTES_MIN,
		.entry_run = extent_entry_run,
	};
	struct volume *volume = NULL;
	struct device *dev;
	int err = sim_open(medium, 0, &dev);

	if (err)
		return err;
	err = volume_open(dev, &options, &volume);
	volume_close(volume);
	device_close(dev);
	return err;
}

void
world_abandon(struct world *world)
{
	cop_abandon(world->volume);
	device_close(world->dev);
	world->volume = NULL;
	world->dev = NULL;
}

static void
note_problem(void *context, const struct cop_problem *problem)
{
	struct world_check *check = context;
	uint32_t class = (uint32_t)problem->class_;
	char *first;

	if (class == COP_PROBLEM_ALLOCATION && !strstr(problem->text, "allocation tree at AG"))
		class = WORLD_OWNERS;
	first = check->first[class % WORLD_CLASSES];
	if (strstr(problem->text, "before the newest") || strstr(problem->text, "the previous"))
		check->previous_classes |= 1U << class;
	else
		check->classes |= 1U << class;
	if (first[0])
		return;
	snprintf(first, sizeof check->first[0],
		"class %d, object %" PRIu64 " (%s), block %" PRIu64 ": %s", (int)problem->class_,
		problem->object, problem->path ? problem->path : "-", problem->block,
		problem->text);
}

int
world_check(struct sim_medium *medium, struct world_check *out_check)
{
	struct cop_check_options options = COP_INIT(options);
	struct world_check check = { .result = COP_INIT(check.result) };
	struct device *dev = NULL;
	int err = sim_open(medium, DEVICE_READ_ONLY, &dev);

	if (err)
		return err;
	options.cache_bytes = COP_CACHE_BYTES_MIN;
	options.problem = note_problem;
	options.context = &check;
	err = cop_check_on(dev, &options, &check.result);
	device_close(dev);
	if (err)
		return err;
	check.problems = check.result.problems;
	*out_check = check;
	return 0;
}
