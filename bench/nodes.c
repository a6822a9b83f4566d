/*
 * nodes: what one update of a record makes a volume write, for every size of tree nodes.
 *
 * usage: nodes [--records N] [--updates N] [--interval N] [--cache MIB] [--extents]
 *
 * For each size of nodes a volume is made on a device in memory and filled with records in
 * ascending order. Then records get new values of the same length, chosen at random one by one or
 * in runs of 64 neighbours, and a checkpoint is made after every so many updates, or when the
 * volume itself asks for one because the cache has as many dirty nodes as it may. The bytes of
 * nodes that reach the device are counted, both copies, and divided by the updates. Lookups are
 * counted in node reads.
 *
 * What is counted is the same in every run of the program. Times are of the processor, and are
 * there to be compared with one another only.
 */
#include "base/num.h"
#include "bench.h"

#include <assert.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	SIZE_COMPARED = 2, /* ratios are to nodes of 16 KiB */
	PATTERNS = 2,
	INTERVALS = 4,
	CLUSTER = 64, /* neighbours of a run */
	KEY_BYTES_MAX = 17,
	VALUE_BYTES_MAX = 140,
	ENTRY_BYTES = 10, /* what a node spends on an entry beside key and value */
	LOOKUPS_COLD = 1000,
	LOOKUPS_WARM = 50000,
	SEED = 1,
};

static const char *const pattern_names[PATTERNS] = { "random", "clustered" };

/* Updates between checkpoints; 0: the volume makes them when it needs memory. */
static const uint64_t all_intervals[INTERVALS] = { 1000, 10000, 100000, 0 };

/* What the records look like. */
struct shape {
	const char *name;
	struct tree_name tree;
	uint32_t key_bytes;
	uint32_t value_bytes;
};

static const struct shape shapes[] = {
	/* Object, type and hash; a record of 128 bytes with a name of 12. */
	{ "object tree", { BRANCH_MAIN, 0, TREE_OBJECTS }, 17, 140 },
	/* Last block; an extent of one block with its checksum. */
	{ "content tree", { BRANCH_MAIN, OBJECT_FIRST, TREE_CONTENT }, 8, 28 },
};

struct options {
	uint64_t records;
	uint64_t updates;
	uint64_t cache_bytes;
	const struct shape *shape;
	uint64_t intervals[INTERVALS];
	uint32_t interval_count;
};

/* All for one update. */
struct cell {
	double leaf_bytes;
	double inner_bytes;
	double other_bytes;
	double cpu_ns;
	double requests; /* to write */
	double reads;
	double updates_per_checkpoint;
};

/* What was measured with one size of nodes. */
struct figures {
	uint64_t leaves;
	uint64_t inner;
	uint8_t levels;
	double build_bytes; /* of nodes, for one record */
	double build_cpu_ns;
	double cold_reads; /* for one lookup */
	double warm_reads;
	struct cell cells[PATTERNS][INTERVALS];
};

struct bench {
	const struct options *options;
	uint32_t node_bytes;
	struct device *dev;
	struct volume *volume;
	struct volume_visit visit;
	struct rng rng;
	uint64_t version; /* makes values differ */
};

static double
cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/* ---- Volumes --------------------------------------------------------------------------------- */

/* Of one copy. Leaves that were filled in ascending order are full; the tenth is for headers. */
static uint64_t
tree_bytes_at_most(const struct options *options)
{
	uint64_t entry = options->shape->key_bytes + options->shape->value_bytes + ENTRY_BYTES;

	return options->records * entry * 11 / 10 + (1 << 20);
}

/* Room for three trees, twice: for what there is, for what was replaced and awaits release, and for
 * what replaces it now. The rest is for everything else. */
static void
make_volume(struct bench *bench)
{
	uint64_t bytes = 2 * 3 * tree_bytes_at_most(bench->options) * 9 / 8 + (UINT64_C(256) << 20);

	bench_format(bytes / BLOCK_BYTES, bench->node_bytes, &bench->rng, &bench->dev);
}

static void
close_volume(struct bench *bench)
{
	volume_close(TAKE(bench->volume));
}

/* ---- Records --------------------------------------------------------------------------------- */

static struct view
record_key(const struct bench *bench, uint64_t index, uint8_t out[static KEY_BYTES_MAX])
{
	uint64_t number = OBJECT_FIRST + index;
	uint32_t bytes = bench->options->shape->key_bytes;

	put_be64(out, number);
	if (bytes > 8) {
		out[8] = KEY_XATTR;
		put_be64(out + 9, number * UINT64_C(0x9e3779b97f4a7c15)); /* as good as a hash */
	}
	return view_of(out, bytes);
}

/* One transaction. */
static void
put_records(struct bench *bench, uint64_t first, uint32_t count)
{
	const struct shape *shape = bench->options->shape;
	uint8_t value[VALUE_BYTES_MAX] = { 0 };
	uint8_t key[KEY_BYTES_MAX];
	struct tx *tx;

	volume_enter(bench->volume, &bench->visit);
	bench_must(tx_begin(bench->volume, &bench->visit, false, &tx));
	for (uint32_t i = 0; i < count; i++) {
		put_le64(value, ++bench->version);
		bench_must(tx_put(tx, shape->tree, record_key(bench, first + i, key),
			view_of(value, shape->value_bytes)));
	}
	bench_must(tx_commit(tx));
	volume_leave(bench->volume, &bench->visit);
}

static void
get_record(struct bench *bench, struct tree *tree, uint64_t index)
{
	uint8_t value[VALUE_BYTES_MAX];
	uint8_t key[KEY_BYTES_MAX];
	size_t bytes;

	volume_enter(bench->volume, &bench->visit);
	bench_must(tree_get(tree, record_key(bench, index, key), value, sizeof value, &bytes));
	volume_leave(bench->volume, &bench->visit);
}

static uint64_t
random_record(struct bench *bench)
{
	return rng_below(&bench->rng, bench->options->records);
}

/* ---- Measuring ------------------------------------------------------------------------------- */

static void
build(struct bench *bench, struct figures *figures)
{
	uint64_t records = bench->options->records;
	double begin = cpu_ns();
	struct counts counts;

	for (uint64_t first = 0; first < records; first += TX_MESSAGES_MAX)
		put_records(bench, first, (uint32_t)min_u64(TX_MESSAGES_MAX, records - first));
	bench_must(volume_settle(bench->volume));
	counts = counting_counts(bench->dev);
	figures->build_cpu_ns = (cpu_ns() - begin) / (double)records;
	figures->build_bytes = (double)(counts.leaf_bytes + counts.inner_bytes) / (double)records;
}

/* Leaves are counted where their parents name them, and not read. */
static bool
count_node(void *context, const struct tree_pointer *pointer, uint8_t level)
{
	struct figures *figures = context;

	(void)pointer;
	if (level == 0)
		figures->leaves++;
	else
		figures->inner++;
	return level > 0;
}

static void
measure_shape(struct bench *bench, struct tree *tree, struct figures *figures)
{
	struct tree_walk walk = { .context = figures, .enter = count_node };

	volume_enter(bench->volume, &bench->visit);
	figures->levels = tree->root.levels;
	bench_must(tree_walk(tree->env, tree->kind, &tree->root, &walk));
	volume_leave(bench->volume, &bench->visit);
}

static void
measure_lookups(struct bench *bench, struct tree *tree, struct figures *figures)
{
	uint64_t before = atomic_load(&tree->env->node_reads);

	for (int i = 0; i < LOOKUPS_COLD; i++) {
		cache_shrink(volume_cache(bench->volume));
		get_record(bench, tree, random_record(bench));
	}
	figures->cold_reads = (double)(atomic_load(&tree->env->node_reads) - before) / LOOKUPS_COLD;

	for (int i = 0; i < LOOKUPS_WARM; i++)
		get_record(bench, tree, random_record(bench));
	before = atomic_load(&tree->env->node_reads);
	for (int i = 0; i < LOOKUPS_WARM; i++)
		get_record(bench, tree, random_record(bench));
	figures->warm_reads = (double)(atomic_load(&tree->env->node_reads) - before) / LOOKUPS_WARM;
}

static void
update(struct bench *bench, bool clustered, uint64_t updates, uint64_t interval)
{
	uint64_t index = 0;

	for (uint64_t i = 0; i < updates; i++) {
		if (!clustered)
			index = random_record(bench);
		else if (i % CLUSTER == 0)
			index = rng_below(&bench->rng, bench->options->records - CLUSTER + 1);
		else
			index++;
		put_records(bench, index, 1);
		if (interval != 0 && (i + 1) % interval == 0)
			bench_must(volume_checkpoint(bench->volume));
	}
	bench_must(volume_checkpoint(bench->volume));
}

/* The volume is as no case before has left it: nothing is cached and nothing awaits release. */
static void
measure_updates(struct bench *bench, bool clustered, uint64_t interval, struct cell *cell)
{
	uint64_t updates = interval == 0 ? bench->options->updates
					 : div_up(bench->options->updates, interval) * interval;
	uint64_t all_dirty = 4 * tree_bytes_at_most(bench->options) + (UINT64_C(1) << 30);
	struct tree_env *env;
	struct volume_stats stats;
	struct counts before;
	struct counts after;
	uint64_t requests;
	double begin;

	bench_open(bench->dev, interval == 0 ? bench->options->cache_bytes : all_dirty, &bench->rng,
		&bench->volume);
	env = volume_tree_env(bench->volume);
	bench_must(volume_settle(bench->volume));
	stats = volume_stats(bench->volume);
	before = counting_counts(bench->dev);
	requests = device_stats(bench->dev).writes;
	begin = cpu_ns();

	update(bench, clustered, updates, interval);

	cell->cpu_ns = (cpu_ns() - begin) / (double)updates;
	after = counting_counts(bench->dev);
	cell->leaf_bytes = (double)(after.leaf_bytes - before.leaf_bytes) / (double)updates;
	cell->inner_bytes = (double)(after.inner_bytes - before.inner_bytes) / (double)updates;
	cell->other_bytes = (double)(after.other_bytes - before.other_bytes) / (double)updates;
	cell->requests = (double)(device_stats(bench->dev).writes - requests) / (double)updates;
	cell->reads = (double)atomic_load(&env->node_reads) / (double)updates;
	cell->updates_per_checkpoint =
		(double)updates /
		(double)(volume_stats(bench->volume).checkpoints - stats.checkpoints);
	/* Had the volume made one of its own accord, the case would be another one. */
	if (interval != 0)
		assert(cell->updates_per_checkpoint == (double)interval);
	bench_must(volume_settle(bench->volume));
	close_volume(bench);
}

static void
measure_size(const struct options *options, uint32_t node_bytes, struct figures *figures)
{
	struct bench bench = { .options = options, .node_bytes = node_bytes };
	struct tree *tree;

	fprintf(stderr, "nodes of %" PRIu32 " KiB\n", node_bytes / 1024);
	rng_seed(&bench.rng, SEED);
	make_volume(&bench);
	bench_open(bench.dev, options->cache_bytes, &bench.rng, &bench.volume);
	build(&bench, figures);
	bench_must(volume_tree_open(bench.volume, options->shape->tree, &tree));
	measure_shape(&bench, tree, figures);
	measure_lookups(&bench, tree, figures);
	volume_tree_release(bench.volume, tree);
	close_volume(&bench);

	for (uint32_t pattern = 0; pattern < PATTERNS; pattern++) {
		for (uint32_t i = 0; i < options->interval_count; i++)
			measure_updates(&bench, pattern == 1, options->intervals[i],
				&figures->cells[pattern][i]);
	}
	device_close(bench.dev);
}

/* ---- Telling --------------------------------------------------------------------------------- */

static double
node_bytes_of(const struct cell *cell)
{
	return cell->leaf_bytes + cell->inner_bytes;
}

static double
inner_bytes_of(const struct cell *cell)
{
	return cell->inner_bytes;
}

static double
other_bytes_of(const struct cell *cell)
{
	return cell->other_bytes;
}

static double
requests_of(const struct cell *cell)
{
	return cell->requests;
}

static double
reads_of(const struct cell *cell)
{
	return cell->reads;
}

static double
cpu_us_of(const struct cell *cell)
{
	return cell->cpu_ns / 1000;
}

static double
updates_per_checkpoint_of(const struct cell *cell)
{
	return cell->updates_per_checkpoint;
}

/* A figure for each case and size, and how it compares with that of SIZE_COMPARED. */
struct table {
	const char *title;
	int decimals;
	bool own_only; /* of interest only where the volume makes its checkpoints itself */
	double (*value_of)(const struct cell *cell);
};

static const struct table tables[] = {
	{ "node bytes written for an update", 0, false, node_bytes_of },
	{ "of them in inner nodes", 0, false, inner_bytes_of },
	{ "other bytes written", 1, false, other_bytes_of },
	{ "write requests for an update", 3, false, requests_of },
	{ "updates for a checkpoint", 0, true, updates_per_checkpoint_of },
	{ "node reads for an update", 3, false, reads_of },
	{ "us of processor for an update", 1, false, cpu_us_of },
};

static void
print_head(const char *title)
{
	printf("\n%-32s", title);
	for (uint32_t i = 0; i < BENCH_SIZES; i++)
		printf("%10" PRIu32 " KiB", bench_sizes[i] / 1024);
	printf("\n");
}

static void
print_row(const struct table *table, const char *pattern, uint64_t interval,
	const struct cell *const cells[BENCH_SIZES])
{
	double compared = table->value_of(cells[SIZE_COMPARED]);

	if (interval == 0)
		printf("%-12s own checkpoints  ", pattern);
	else
		printf("%-12s every %-13" PRIu64, pattern, interval);
	for (uint32_t i = 0; i < BENCH_SIZES; i++) {
		double value = table->value_of(cells[i]);

		printf("%9.*f", table->decimals, value);
		if (compared > 0)
			printf(" %-4.2f", value / compared);
		else
			printf("     ");
	}
	printf("\n");
}

static void
print_table(const struct table *table, const struct options *options,
	const struct figures figures[BENCH_SIZES])
{
	print_head(table->title);
	for (uint32_t row = 0; row < PATTERNS * options->interval_count; row++) {
		uint32_t pattern = row / options->interval_count;
		uint32_t interval = row % options->interval_count;
		const struct cell *cells[BENCH_SIZES];

		if (table->own_only && options->intervals[interval] != 0)
			continue;
		for (uint32_t i = 0; i < BENCH_SIZES; i++)
			cells[i] = &figures[i].cells[pattern][interval];
		print_row(table, pattern_names[pattern], options->intervals[interval], cells);
	}
}

static void
print_trees(const struct options *options, const struct figures figures[BENCH_SIZES])
{
	print_head("trees and lookups");
	printf("%-32s", "levels");
	for (uint32_t i = 0; i < BENCH_SIZES; i++)
		printf("%14u", figures[i].levels);
	printf("\n%-32s", "leaves");
	for (uint32_t i = 0; i < BENCH_SIZES; i++)
		printf("%14" PRIu64, figures[i].leaves);
	printf("\n%-32s", "inner nodes");
	for (uint32_t i = 0; i < BENCH_SIZES; i++)
		printf("%14" PRIu64, figures[i].inner);
	printf("\n%-32s", "MiB of one copy");
	for (uint32_t i = 0; i < BENCH_SIZES; i++)
		printf("%14.1f", (double)(figures[i].leaves + figures[i].inner) *
					 (double)bench_sizes[i] / (1 << 20));
	printf("\n%-32s", "MiB of inner nodes");
	for (uint32_t i = 0; i < BENCH_SIZES; i++)
		printf("%14.1f", (double)figures[i].inner * (double)bench_sizes[i] / (1 << 20));
	printf("\n%-32s", "bytes written for each, building");
	for (uint32_t i = 0; i < BENCH_SIZES; i++)
		printf("%14.0f", figures[i].build_bytes);
	printf("\n%-32s", "node reads of a cold lookup");
	for (uint32_t i = 0; i < BENCH_SIZES; i++)
		printf("%14.2f", figures[i].cold_reads);
	printf("\n%-32s", "KiB read by a cold lookup");
	for (uint32_t i = 0; i < BENCH_SIZES; i++)
		printf("%14.1f", figures[i].cold_reads * bench_sizes[i] / 1024);
	printf("\nnode reads, cache of %4" PRIu64 " MiB   ", options->cache_bytes >> 20);
	for (uint32_t i = 0; i < BENCH_SIZES; i++)
		printf("%14.2f", figures[i].warm_reads);
	printf("\n%-32s", "us of processor, building");
	for (uint32_t i = 0; i < BENCH_SIZES; i++)
		printf("%14.1f", figures[i].build_cpu_ns / 1000);
	printf("\n");
}

static void
print_all(const struct options *options, const struct figures figures[BENCH_SIZES])
{
	printf("%s, %" PRIu64 " records with keys of %" PRIu32 " and values of %" PRIu32
	       " bytes, %" PRIu64 " updates for each figure, cache of %" PRIu64 " MiB\n",
		options->shape->name, options->records, options->shape->key_bytes,
		options->shape->value_bytes, options->updates, options->cache_bytes >> 20);
	for (size_t i = 0; i < ARRAY_COUNT(tables); i++)
		print_table(&tables[i], options, figures);
	print_trees(options, figures);
}

/* ---- Options --------------------------------------------------------------------------------- */

static void
print_usage(FILE *out)
{
	fprintf(out, "usage: nodes [--records N] [--updates N] [--interval N] [--cache MIB] "
		     "[--extents]\n"
		     "\n"
		     "Counts the bytes of tree nodes that one update makes a volume write.\n"
		     "\n"
		     "  --records N   records in the tree, from 64 (1000000)\n"
		     "  --updates N   updates for each figure (200000)\n"
		     "  --interval N  updates between two checkpoints, 0: as the volume asks for\n"
		     "                them (1000, 10000, 100000 and 0)\n"
		     "  --cache MIB   of the volume, from 64 (256)\n"
		     "  --extents     records of a file's content instead of objects\n"
		     "  --help\n");
}

static struct options
read_options(int argc, char **argv)
{
	static const struct option known[] = {
		{ "records", required_argument, NULL, 'r' },
		{ "updates", required_argument, NULL, 'u' },
		{ "interval", required_argument, NULL, 'i' },
		{ "cache", required_argument, NULL, 'c' },
		{ "extents", no_argument, NULL, 'e' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct options options = {
		.records = 1000000,
		.updates = 200000,
		.cache_bytes = UINT64_C(256) << 20,
		.shape = &shapes[0],
		.interval_count = INTERVALS,
	};

	memcpy(options.intervals, all_intervals, sizeof options.intervals);
	for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
		if (option == 'r') {
			options.records = bench_number(optarg, CLUSTER, print_usage);
		} else if (option == 'u') {
			options.updates = bench_number(optarg, 1, print_usage);
		} else if (option == 'i') {
			options.intervals[0] = bench_number(optarg, 0, print_usage);
			options.interval_count = 1;
		} else if (option == 'c') {
			options.cache_bytes = bench_number(optarg, 64, print_usage) << 20;
		} else if (option == 'e') {
			options.shape = &shapes[1];
		} else {
			print_usage(option == 'h' ? stdout : stderr);
			exit(option == 'h' ? 0 : 2);
		}
	}
	if (optind != argc) {
		print_usage(stderr);
		exit(2);
	}
	return options;
}

int
main(int argc, char **argv)
{
	struct options options = read_options(argc, argv);
	struct figures figures[BENCH_SIZES] = { 0 };

	for (uint32_t i = 0; i < BENCH_SIZES; i++)
		measure_size(&options, bench_sizes[i], &figures[i]);
	print_all(&options, figures);
	return 0;
}
