/*
 * cache_hit: what a hit of the buffer cache costs, and what a miss costs beside the device.
 *
 * usage: cache_hit [MIB [THREADS]]
 *
 * Prints one line for each case: nanoseconds for one cache_get() or cache_peek() with its release,
 * of blocks chosen at random, the best of five rounds. The device is memory.
 */
#include "base/num.h"
#include "base/random.h"
#include "cache/cache.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { GETS = 1 << 20, ROUNDS = 5, THREADS_MAX = 64, NODE_BLOCKS = 4 };

struct run {
	pthread_t thread;
	struct cache *cache;
	uint64_t places; /* addresses asked for: NODE_BLOCKS * [0, places) */
	uint64_t seed;
	bool peeks;
	double ns; /* out: for one */
};

static double
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void
get_one(struct cache *cache, uint64_t addr, bool peeks)
{
	struct cache_request request = { .addr = addr, .stamp = addr, .blocks = NODE_BLOCKS };

	if (peeks)
		request.buffer = cache_peek(cache, addr, addr);
	else if (cache_get(cache, &request) != 0)
		abort();
	if (!request.buffer)
		abort();
	cache_release(cache, request.buffer);
}

static void *
run_gets(void *context)
{
	struct run *run = context;
	struct rng rng;

	rng_seed(&rng, run->seed);
	for (int round = 0; round < ROUNDS; round++) {
		double start = now_ns();
		double ns;

		for (int i = 0; i < GETS; i++)
			get_one(run->cache, NODE_BLOCKS * rng_below(&rng, run->places), run->peeks);
		ns = (now_ns() - start) / GETS;
		if (round == 0 || ns < run->ns)
			run->ns = ns;
	}
	return NULL;
}

static void
measure(const char *name, struct cache *cache, uint64_t places, bool peeks, int threads)
{
	struct run runs[THREADS_MAX];
	struct cache_stats before = cache_stats(cache);
	struct cache_stats after;
	double worst = 0;

	for (int i = 0; i < threads; i++) {
		runs[i] = (struct run){
			.cache = cache, .places = places, .seed = (uint64_t)i, .peeks = peeks
		};
		if (pthread_create(&runs[i].thread, NULL, run_gets, &runs[i]) != 0)
			abort();
	}
	for (int i = 0; i < threads; i++) {
		pthread_join(runs[i].thread, NULL);
		worst = runs[i].ns > worst ? runs[i].ns : worst;
	}
	after = cache_stats(cache);
	printf("%-24s %8.1f ns  %5.1f %% hits\n", name, worst,
		100.0 * (double)(after.hits - before.hits) /
			(double)(after.hits - before.hits + after.misses - before.misses));
}

int
main(int argc, char **argv)
{
	uint64_t mib = argc > 1 ? strtoull(argv[1], NULL, 10) : 64;
	int threads = argc > 2 ? atoi(argv[2]) : 2;
	struct device_options options = { 0 };
	struct device *dev = NULL;
	struct cache *cache = NULL;
	uint64_t fits = mib * 1024 * 1024 / (NODE_BLOCKS * BLOCK_BYTES) * 9 / 10;
	char url[64];

	if (mib == 0 || threads < 1 || threads > THREADS_MAX) {
		fprintf(stderr, "usage: cache_hit [MIB [THREADS]]\n");
		return 2;
	}
	snprintf(url, sizeof url, "mem:%" PRIu64 "M", 2 * mib);
	if (device_open(url, &options, &dev) != 0 || cache_create(dev, mib << 20, &cache) != 0) {
		fprintf(stderr, "cache_hit: %s\n", err_text());
		return 1;
	}
	for (uint64_t i = 0; i < fits; i++)
		get_one(cache, NODE_BLOCKS * i, false);

	printf("%" PRIu64 " MiB, nodes of %d KiB\n", mib, NODE_BLOCKS * BLOCK_BYTES / 1024);
	measure("get, 64 places", cache, 64, false, 1);
	measure("get, all places", cache, fits, false, 1);
	measure("peek, 64 places", cache, 64, true, 1);
	measure("peek, all places", cache, fits, true, 1);
	measure("get, threads", cache, fits, false, threads);
	measure("get, twice the memory", cache, 2 * fits, false, 1);

	cache_free(cache);
	device_close(dev);
	return 0;
}
