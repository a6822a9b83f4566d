/*
 * commits: how fast threads change small things, each an object of its own.
 *
 * usage: commits [SECONDS [THREADS]]
 *
 * Each thread sets an attribute of its own file over and over, for SECONDS
 * (1), on a volume in the current directory; with 1, 2, 4, ... up to THREADS (4) threads. Prints
 * the changes in a second of all threads together, and the processor time for one.
 */
#include "coppice.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREADS_MAX = 64, CHECK_EVERY = 16 };

struct changer {
	pthread_t thread;
	struct cop_object *file;
	double seconds;
	uint64_t count; /* out */
	double cpu_ns;  /* out: of all its changes */
};

static double
now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void
must(int err, const char *what)
{
	if (err == 0)
		return;
	fprintf(stderr, "commits: %s: %s\n", what, cop_error_text());
	exit(1);
}

static void *
change_on(void *context)
{
	struct changer *changer = context;
	struct cop_attr attr = COP_INIT(attr);
	double end = now_ns(CLOCK_MONOTONIC) + changer->seconds * 1e9;
	double cpu = now_ns(CLOCK_THREAD_CPUTIME_ID);

	do {
		for (int i = 0; i < CHECK_EVERY; i++) {
			attr.uid = (uint32_t)++changer->count;
			must(cop_set_attr(changer->file, &attr, COP_SET_UID), "cop_set_attr");
		}
	} while (now_ns(CLOCK_MONOTONIC) < end);
	changer->cpu_ns = now_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
	return NULL;
}

static struct cop_object *
make_file(struct cop_volume *volume, int number)
{
	struct cop_new new = COP_INIT(new);
	struct cop_object *root;
	struct cop_object *file;
	char name[16];

	new.kind = COP_FILE;
	snprintf(name, sizeof name, "%d", number);
	must(cop_root(volume, NULL, &root), "cop_root");
	must(cop_create(root, name, strlen(name), &new, &file), "cop_create");
	cop_release(root);
	return file;
}

static void
measure(struct changer *changers, int threads, double seconds)
{
	double start = now_ns(CLOCK_MONOTONIC);
	double cpu_ns = 0;
	uint64_t count = 0;
	double elapsed;

	for (int i = 0; i < threads; i++) {
		changers[i].count = 0;
		changers[i].seconds = seconds;
		if (pthread_create(&changers[i].thread, NULL, change_on, &changers[i]) != 0)
			exit(1);
	}
	for (int i = 0; i < threads; i++) {
		pthread_join(changers[i].thread, NULL);
		count += changers[i].count;
		cpu_ns += changers[i].cpu_ns;
	}
	elapsed = now_ns(CLOCK_MONOTONIC) - start;
	printf("%2d threads  %9.0f changes/s  %7.0f ns of processor time each\n", threads,
		(double)count * 1e9 / elapsed, cpu_ns / (double)count);
}

int
main(int argc, char **argv)
{
	double seconds = argc > 1 ? strtod(argv[1], NULL) : 1;
	int most = argc > 2 ? atoi(argv[2]) : 4;
	struct cop_open_options options = COP_INIT(options);
	struct changer changers[THREADS_MAX];
	struct cop_volume *volume;
	char path[64];
	struct cop_format_options format = COP_INIT(format);

	if (seconds <= 0 || most < 1 || most > THREADS_MAX) {
		fprintf(stderr, "usage: commits [SECONDS [THREADS]]\n");
		return 2;
	}
	snprintf(path, sizeof path, "./bench-commits-%d.volume", most);
	format.volume_bytes = UINT64_C(1) << 30;
	format.force = true;
	must(cop_format(path, &format), "cop_format");
	must(cop_open(path, &options, &volume), "cop_open");
	for (int i = 0; i < most; i++)
		changers[i].file = make_file(volume, i);
	for (int threads = 1; threads <= most; threads *= 2)
		measure(changers, threads, seconds);
	for (int i = 0; i < most; i++)
		cop_release(changers[i].file);
	must(cop_close(volume), "cop_close");
	remove(path);
	return 0;
}
