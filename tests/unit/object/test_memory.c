/* Memory under load: whatever is asked of the volume, it stays within its limit. */

#include "base/random.h"
#include "cache/cache.h"
#include "object/clone.h"
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

enum { THREADS = 4, STEPS = 250, NAMES = 10, FILE_BYTES = 400000 };

struct worker {
	pthread_t thread;
	struct world *world;
	uint64_t seed;
	struct cop_object *directory;
	uint64_t dirty_max; /* out: the most that was seen */
	uint64_t windows_max;
};

static void
look_at_memory(struct worker *worker)
{
	struct cop_volume *volume = worker->world->volume;
	struct cache_stats stats = cache_stats(volume_cache(volume->volume));

	worker->dirty_max = max_u64(worker->dirty_max, stats.dirty_bytes);
	worker->windows_max = max_u64(worker->windows_max, atomic_load(&volume->cached.bytes));
}

static struct cop_object *
open_or_make(struct worker *worker, const char *name, size_t bytes)
{
	struct cop_new new = COP_INIT(new);
	struct cop_object *file;
	int err = cop_lookup(worker->directory, name, bytes, &file);

	if (err == 0)
		return file;
	new.kind = COP_FILE;
	must(cop_create(worker->directory, name, bytes, &new, &file));
	return file;
}

/* What a busy program does with its files, at random. */
static void
step(struct worker *worker, struct rng *rng, uint8_t *buffer)
{
	char name[8];
	size_t bytes = (size_t)snprintf(name, sizeof name, "%d", (int)rng_below(rng, NAMES));
	struct cop_object *file = open_or_make(worker, name, bytes);
	struct cop_object *other;
	uint64_t offset = rng_below(rng, FILE_BYTES);
	size_t part = 1 + rng_below(rng, rng_below(rng, 2) == 0 ? FILE_BYTES : 3000);
	size_t got;

	switch (rng_below(rng, 12)) {
	case 0:
		must(cop_set_length(file, offset));
		break;
	case 1:
		must(cop_unlink(worker->directory, name, bytes, COP_UNLINK_FILE));
		break;
	case 2:
		must(cop_punch(file, offset, part));
		break;
	case 3:
	case 4:
		must(cop_write(file, offset, buffer, part, NULL));
		break;
	case 5:
		name[0] = (char)('0' + rng_below(rng, NAMES)); /* maybe itself */
		other = open_or_make(worker, name, 1);
		must(object_clone(file, other));
		cop_release(other);
		break;
	default:
		for (int i = 0; i < 8; i++)
			must(cop_read(file, rng_below(rng, FILE_BYTES), buffer,
				1 + rng_below(rng, 60000), &got));
		break;
	}
	cop_release(file);
}

static void *
work(void *context)
{
	struct worker *worker = context;
	uint8_t *buffer = malloc(FILE_BYTES);
	struct rng rng;

	if (!buffer)
		abort();
	world_bytes(worker->seed, buffer, FILE_BYTES);
	rng_seed(&rng, worker->seed);
	for (int i = 0; i < STEPS; i++) {
		step(worker, &rng, buffer);
		look_at_memory(worker);
		if (rng_below(&rng, 100) == 0)
			must(cop_sync(worker->world->volume));
	}
	free(buffer);
	return NULL;
}

static struct cop_object *
make_directory(struct world *world, uint64_t number)
{
	struct cop_new new = COP_INIT(new);
	struct cop_object *directory;
	char name[8];
	size_t bytes = (size_t)snprintf(name, sizeof name, "d%d", (int)number);

	new.kind = COP_DIRECTORY;
	must(cop_create(world->root, name, bytes, &new, &directory));
	return directory;
}

static void
stays_within(uint64_t volume_bytes, uint32_t node_bytes)
{
	struct world world;
	struct worker workers[THREADS];
	const uint64_t limit = COP_CACHE_BYTES_MIN;
	struct cache_stats stats;

	world_init(&world, volume_bytes, node_bytes, 31);
	for (uint64_t i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){
			.world = &world, .seed = i + 1, .directory = make_directory(&world, i)
		};
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (uint64_t i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		/* Half of the limit; what the cache adds to each buffer comes on top. */
		assert_in_range(workers[i].dirty_max, 1, limit / 2 + limit / 32);
		assert_in_range(workers[i].windows_max, 0, limit / 16);
		cop_release(workers[i].directory);
	}
	stats = cache_stats(volume_cache(world.volume->volume));
	print_message(
		"# most in memory: %" PRIu64 " of %" PRIu64 " bytes\n", stats.bytes_max, limit);
	assert_in_range(stats.bytes_max, limit / 2, limit);
	world_fini(&world);
}

static void
stays_within_the_least_cache_on_a_small_volume(void **state)
{
	(void)state;
	stays_within(64 * MIB, 0);
}

/* Nodes of 64 KiB: a transaction may take a good part of the cache. */
static void
stays_within_it_with_the_largest_nodes(void **state)
{
	(void)state;
	stays_within(256 * MIB, 65536);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stays_within_the_least_cache_on_a_small_volume),
		cmocka_unit_test(stays_within_it_with_the_largest_nodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
