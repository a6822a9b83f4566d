/*
 * fragments: how much of the free space of an aged volume tree nodes can still use.
 *
 * usage: fragments [--size MIB] [--rounds N] [--help]
 *
 * For each size of nodes a volume is filled to the last block with runs of data of 1 to 16 blocks,
 * as small files have them. Then, so many times, a tenth of the runs, chosen at random, is freed
 * and the space filled again with runs of new lengths. At the end a tenth, and in another volume
 * three tenths, are freed for good, and records are put into the object tree until the volume is
 * full for them. Told is how much of the free space that was: the rest lies in pieces in which no
 * node fits, or is kept for emptying the volume.
 */
#include "base/num.h"
#include "bench.h"

#include <getopt.h>
#include <stdlib.h>

enum {
	RUN_BLOCKS_MAX = 16,
	RUNS_OF_TX = 64,
	VALUE_BYTES = 140,
	TENTHS = 10,
	SEED = 1,
	CACHE_BYTES = 256 << 20,
};

static const uint32_t freed_tenths[] = { 1, 3 };

struct aged {
	struct device *dev;
	struct volume *volume;
	struct volume_visit visit;
	struct rng rng;
	struct run *runs; /* of data; owned */
	size_t run_count;
	size_t run_capacity;
};

static uint64_t
free_blocks(const struct aged *aged)
{
	return space_free_blocks(volume_space(aged->volume));
}

static struct tx *
begin(struct aged *aged)
{
	struct tx *tx;

	volume_enter(aged->volume, &aged->visit);
	bench_must(tx_begin(aged->volume, &aged->visit, false, &tx));
	return tx;
}

/* False: the volume has no room for it. */
static bool
commit(struct aged *aged, struct tx *tx)
{
	int err = tx_commit(tx);

	volume_leave(aged->volume, &aged->visit);
	if (err == COP_ENOSPC) {
		err_clear();
		return false;
	}
	bench_must(err);
	return true;
}

static void
remember(struct aged *aged, struct run run)
{
	if (aged->run_count == aged->run_capacity) {
		aged->run_capacity = 2 * aged->run_capacity + 1024;
		aged->runs = realloc(aged->runs, aged->run_capacity * sizeof *aged->runs);
		if (!aged->runs)
			bench_must(fail(COP_ENOMEM, "runs"));
	}
	aged->runs[aged->run_count++] = run;
}

/* Up to `count` runs of data in one transaction; false: there is no room for the last. */
static bool
take_runs(struct aged *aged, uint32_t count)
{
	struct tx *tx = begin(aged);
	int err = 0;

	for (uint32_t i = 0; i < count && err == 0; i++) {
		uint32_t want = 1 + (uint32_t)rng_below(&aged->rng, RUN_BLOCKS_MAX);

		while (want > 0 && err == 0) {
			struct run run;

			err = tx_take(tx, SPACE_DATA, 0, want, &run);
			if (err)
				break;
			remember(aged, run);
			want -= run.blocks;
		}
	}
	if (err != COP_ENOSPC)
		bench_must(err);
	else
		err_clear();
	if (!commit(aged, tx))
		bench_must(fail(COP_EINVAL, "runs alone need no node"));
	return err == 0;
}

static void
fill(struct aged *aged)
{
	while (take_runs(aged, RUNS_OF_TX))
		;
	bench_must(volume_settle(aged->volume));
}

static void
free_runs(struct aged *aged, uint64_t count)
{
	while (count > 0) {
		uint64_t now = min_u64(count, RUNS_OF_TX);
		struct tx *tx = begin(aged);

		for (uint64_t i = 0; i < now; i++) {
			size_t chosen = rng_below(&aged->rng, aged->run_count);

			bench_must(tx_release(tx, aged->runs[chosen]));
			aged->runs[chosen] = aged->runs[--aged->run_count];
		}
		if (!commit(aged, tx))
			bench_must(fail(COP_EINVAL, "runs alone need no node"));
		count -= now;
	}
	bench_must(volume_settle(aged->volume));
}

/* Ascending records until there is no room for one more. */
static void
put_records(struct aged *aged)
{
	const struct tree_name objects = { BRANCH_MAIN, 0, TREE_OBJECTS };
	uint64_t object = OBJECT_FIRST;
	struct tx *tx;

	/* One in each transaction, so that its worst case, for which there must be room, is small.
	 */
	do {
		static const uint8_t value[VALUE_BYTES];
		uint8_t key[OBJECT_KEY_BYTES];

		tx = begin(aged);
		bench_must(tx_put(tx, objects, object_key(key, object++, KEY_RECORD),
			view_of(value, sizeof value)));
	} while (commit(aged, tx));
	bench_must(volume_settle(aged->volume));
}

/* Percent of the free blocks that became nodes. */
static double
measure(uint32_t node_bytes, uint64_t blocks, uint64_t rounds, uint32_t tenths)
{
	struct aged aged = { 0 };
	uint64_t free_before;
	uint64_t free_after;

	rng_seed(&aged.rng, SEED);
	bench_format(blocks, node_bytes, &aged.rng, &aged.dev);
	bench_open(aged.dev, CACHE_BYTES, &aged.rng, &aged.volume);
	fill(&aged);
	for (uint64_t i = 0; i < rounds; i++) {
		free_runs(&aged, aged.run_count / TENTHS);
		fill(&aged);
	}
	free_runs(&aged, aged.run_count * tenths / TENTHS);
	free_before = free_blocks(&aged);
	put_records(&aged);
	free_after = free_blocks(&aged);

	volume_close(aged.volume);
	device_close(aged.dev);
	free(aged.runs);
	return 100.0 * (double)(free_before - free_after) / (double)free_before;
}

static void
print_usage(FILE *out)
{
	fprintf(out,
		"usage: fragments [--size MIB] [--rounds N]\n"
		"\n"
		"Fills, ages and partly empties volumes, and tells how much of the free space\n"
		"tree nodes can use.\n"
		"\n"
		"  --size MIB   of a volume, from 64 (1024)\n"
		"  --rounds N   of freeing a tenth and filling again (10)\n"
		"  --help\n");
}

int
main(int argc, char **argv)
{
	static const struct option known[] = {
		{ "size", required_argument, NULL, 's' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t mib = 1024;
	uint64_t rounds = 10;

	for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
		if (option == 's') {
			mib = bench_number(optarg, 64, print_usage);
		} else if (option == 'r') {
			rounds = bench_number(optarg, 0, print_usage);
		} else {
			print_usage(option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	if (optind != argc) {
		print_usage(stderr);
		return 2;
	}

	printf("%" PRIu64 " MiB, aged %" PRIu64 " times: percent of the free space in which nodes "
	       "found room\n%-16s",
		mib, rounds, "");
	for (size_t i = 0; i < BENCH_SIZES; i++)
		printf("%8" PRIu32 " KiB", bench_sizes[i] / 1024);
	printf("\n");
	for (size_t f = 0; f < ARRAY_COUNT(freed_tenths); f++) {
		printf("%3" PRIu32 "0 %% freed    ", freed_tenths[f]);
		for (size_t i = 0; i < BENCH_SIZES; i++) {
			printf("%12.1f", measure(bench_sizes[i], mib * (1 << 20) / BLOCK_BYTES,
						 rounds, freed_tenths[f]));
			fflush(stdout);
		}
		printf("\n");
	}
	return 0;
}
