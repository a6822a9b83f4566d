/*
 * reads: cached reads of 4 KiB through the library, beside pread() of the host's page cache.
 *
 * usage: reads [MIB [SECONDS]]
 *
 * A file of MIB mebibytes (64) is written to a volume in a file, and another to the host, both in
 * the current directory; both are read until nothing comes from a device any more. Then threads
 * read 4 KiB at random places, through the library and by pread() in turn, in each of nine rounds,
 * SECONDS (0.2) each. Prints the median of each, in processor time of the reading thread, which
 * other load disturbs least, and the median of the ratios: above 1, the library is faster.
 */
#include "base/num.h"
#include "base/random.h"
#include "coppice.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 4096, ROUNDS = 9, THREADS_MAX = 2, CHUNK = 1 << 20, CHECK_EVERY = 64 };

struct bench {
	struct cop_volume *volume;
	struct cop_object *file;
	int host; /* a file descriptor */
	uint64_t blocks;
	double seconds;
};

struct reader {
	pthread_t thread;
	const struct bench *bench;
	uint64_t seed;
	bool is_host;
	double ns; /* out: for one read */
};

static double
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void
must(int err, const char *what)
{
	if (err == 0)
		return;
	fprintf(stderr, "reads: %s: %s\n", what, cop_error_text());
	exit(1);
}

static void
read_one(const struct bench *bench, bool is_host, uint64_t block, uint8_t *buffer)
{
	size_t got = 0;

	if (is_host) {
		ssize_t count = pread(bench->host, buffer, READ_BYTES, (off_t)(block * READ_BYTES));

		if (count != READ_BYTES)
			exit(1);
		return;
	}
	must(cop_read(bench->file, block * READ_BYTES, buffer, READ_BYTES, &got), "cop_read");
}

static void *
read_on(void *context)
{
	struct reader *reader = context;
	const struct bench *bench = reader->bench;
	_Alignas(64) uint8_t buffer[READ_BYTES];
	double start = now_ns();
	double end = start + bench->seconds * 1e9;
	uint64_t count = 0;
	double now;
	struct rng rng;

	rng_seed(&rng, reader->seed);
	do {
		for (int i = 0; i < CHECK_EVERY; i++)
			read_one(bench, reader->is_host, rng_below(&rng, bench->blocks), buffer);
		count += CHECK_EVERY;
		now = now_ns();
	} while (now < end);
	reader->ns = (now - start) / (double)count;
	return NULL;
}

/* Nanoseconds for one read, on each of the threads; the slowest counts. */
static double
measure(const struct bench *bench, bool is_host, int threads)
{
	struct reader readers[THREADS_MAX];
	double worst = 0;

	for (int i = 0; i < threads; i++) {
		readers[i] = (struct reader){
			.bench = bench, .seed = (uint64_t)i + 1, .is_host = is_host
		};
		if (pthread_create(&readers[i].thread, NULL, read_on, &readers[i]) != 0)
			exit(1);
	}
	for (int i = 0; i < threads; i++) {
		pthread_join(readers[i].thread, NULL);
		worst = readers[i].ns > worst ? readers[i].ns : worst;
	}
	return worst;
}

static int
compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double
median(double *values)
{
	qsort(values, ROUNDS, sizeof *values, compare_doubles);
	return values[ROUNDS / 2];
}

static void
compare(const struct bench *bench, int threads)
{
	double ours[ROUNDS];
	double host[ROUNDS];
	double ratios[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		ours[i] = measure(bench, false, threads);
		host[i] = measure(bench, true, threads);
		ratios[i] = host[i] / ours[i];
	}
	printf("%d thread%s  cop_read %7.0f ns  pread %7.0f ns  ratio %5.2f\n", threads,
		threads == 1 ? " " : "s", median(ours), median(host), median(ratios));
}

static void
write_both(struct bench *bench, uint64_t bytes)
{
	uint8_t *chunk = malloc(CHUNK);
	struct rng rng;

	if (!chunk)
		exit(1);
	rng_seed(&rng, 1);
	for (uint64_t at = 0; at < bytes; at += CHUNK) {
		rng_bytes(&rng, chunk, CHUNK);
		must(cop_write(bench->file, at, chunk, CHUNK, NULL), "cop_write");
		if (pwrite(bench->host, chunk, CHUNK, (off_t)at) != CHUNK)
			exit(1);
	}
	must(cop_sync(bench->volume), "cop_sync");
	free(chunk);
}

static void
warm_up(const struct bench *bench)
{
	uint8_t buffer[READ_BYTES];

	for (int round = 0; round < 3; round++) {
		for (uint64_t block = 0; block < bench->blocks; block++) {
			read_one(bench, false, block, buffer);
			read_one(bench, true, block, buffer);
		}
	}
}

static void
open_both(struct bench *bench, uint64_t bytes, char *url, char *path)
{
	struct cop_format_options format = COP_INIT(format);
	struct cop_open_options options = COP_INIT(options);
	struct cop_new new = COP_INIT(new);
	struct cop_object *root;

	format.volume_bytes = 4 * bytes;
	snprintf(url, 64, "./bench-reads-%ld.volume", (long)getpid());
	must(cop_format(url, &format), "cop_format");
	options.cache_bytes = max_u64(2 * bytes, COP_CACHE_BYTES_MIN);
	must(cop_open(url, &options, &bench->volume), "cop_open");
	must(cop_root(bench->volume, NULL, &root), "cop_root");
	new.kind = COP_FILE;
	must(cop_create(root, "file", 4, &new, &bench->file), "cop_create");
	cop_release(root);
	snprintf(path, 64, "./bench-reads-%ld.host", (long)getpid());
	bench->host = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (bench->host < 0)
		exit(1);
}

int
main(int argc, char **argv)
{
	uint64_t mib = argc > 1 ? strtoull(argv[1], NULL, 10) : 64;
	struct bench bench = { .seconds = argc > 2 ? strtod(argv[2], NULL) : 0.2 };
	struct cop_stats before = COP_INIT(before);
	struct cop_stats after = COP_INIT(after);
	char url[64];
	char path[64];

	if (mib == 0 || bench.seconds <= 0) {
		fprintf(stderr, "usage: reads [MIB [SECONDS]]\n");
		return 2;
	}
	bench.blocks = (mib << 20) / READ_BYTES;
	open_both(&bench, mib << 20, url, path);
	write_both(&bench, mib << 20);
	warm_up(&bench);
	printf("%" PRIu64 " MiB, %d bytes at random places, medians of %d rounds\n", mib,
		READ_BYTES, ROUNDS);
	must(cop_stats(bench.volume, &before), "cop_stats");
	for (int threads = 1; threads <= THREADS_MAX; threads++)
		compare(&bench, threads);
	must(cop_stats(bench.volume, &after), "cop_stats");
	printf("from the device meanwhile: %" PRIu64 " reads\n",
		after.device_reads - before.device_reads);
	cop_release(bench.file);
	must(cop_close(bench.volume), "cop_close");
	close(bench.host);
	(void)unlink(url);
	(void)unlink(path);
	return 0;
}
