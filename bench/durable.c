/*
 * durable: how fast small changes become durable, beside the disk's own log.
 *
 * usage: durable [SECONDS [THREADS]]
 *
 * In the current directory, for SECONDS each (1), in turns, three rounds: threads that write a
 * piece and make it durable, again and again, each in a file of its own. All of the volume has been
 * written before, so that the host's file system has nothing to do for it but to pass it on.
 *   log      pwrite and fdatasync in a file of the host that was written before: no file system can
 *            do with less
 *   append   write and fsync at the end of a growing file of the host
 *   coppice  cop_write and cop_sync_object at the end of a growing file in a volume
 *   shared   the same with one cop_sync for all that waits
 * Prints the median rate of each, and what it is of the log's.
 */
#include "coppice.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	THREADS_MAX = 64,
	ROUNDS = 3,
	PIECE_MAX = 1 << 20,
	VOLUME_BYTES = 1 << 30,
	LOG_BYTES = 64 << 20,      /* of each thread, written over from its start when it is full */
	FILE_BYTES_MAX = 64 << 20, /* a growing file begins anew there */
};

enum way { LOG, APPEND, COPPICE, SHARED, WAYS };

static const char *const way_names[WAYS] = { "log", "append", "coppice", "shared" };

static const size_t pieces[] = { 512, 4096, 65536, PIECE_MAX };

struct writer {
	pthread_t thread;
	enum way way;
	size_t piece;
	double end_ns;
	int log;
	int append;
	struct cop_volume *volume;
	struct cop_object *file;
	uint64_t log_at;
	uint64_t append_at;
	uint64_t file_at;
	uint64_t count; /* out */
};

static uint8_t bytes[PIECE_MAX];

static double
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void
must(int err, const char *what)
{
	if (err == 0)
		return;
	fprintf(stderr, "durable: %s: %s\n", what, cop_error_text());
	exit(1);
}

static void
host_must(bool is_good, const char *what)
{
	if (is_good)
		return;
	perror(what);
	exit(1);
}

static void
write_host(int fd, uint64_t at, size_t piece, int (*sync)(int fd))
{
	host_must(pwrite(fd, bytes, piece, (off_t)at) == (ssize_t)piece, "durable: write");
	host_must(sync(fd) == 0, "durable: sync");
}

static void
write_once(struct writer *w)
{
	size_t written;

	switch (w->way) {
	case LOG:
		w->log_at = w->log_at + w->piece > LOG_BYTES ? 0 : w->log_at;
		write_host(w->log, w->log_at, w->piece, fdatasync);
		w->log_at += w->piece;
		break;
	case APPEND:
		if (w->append_at + w->piece > FILE_BYTES_MAX) {
			host_must(ftruncate(w->append, 0) == 0, "durable: truncate");
			w->append_at = 0;
		}
		write_host(w->append, w->append_at, w->piece, fsync);
		w->append_at += w->piece;
		break;
	default:
		if (w->file_at + w->piece > FILE_BYTES_MAX) {
			must(cop_set_length(w->file, 0), "cop_set_length");
			w->file_at = 0;
		}
		must(cop_write(w->file, w->file_at, bytes, w->piece, &written), "cop_write");
		must(w->way == SHARED ? cop_sync(w->volume) : cop_sync_object(w->file), "sync");
		w->file_at += w->piece;
		break;
	}
}

static void *
write_on(void *context)
{
	struct writer *w = context;

	do {
		write_once(w);
		w->count++;
	} while (now_ns() < w->end_ns);
	return NULL;
}

/* All pieces lie at multiples of their size. */
static void
begin_piece(struct writer *w, size_t piece)
{
	must(cop_set_length(w->file, 0), "cop_set_length");
	host_must(ftruncate(w->append, 0) == 0, "durable: truncate");
	w->piece = piece;
	w->log_at = 0;
	w->append_at = 0;
	w->file_at = 0;
}

static double
rate_of(struct writer *writers, int threads, enum way way, size_t piece, double seconds)
{
	double start = now_ns();
	uint64_t count = 0;

	for (int i = 0; i < threads; i++) {
		writers[i].way = way;
		if (writers[i].piece != piece)
			begin_piece(&writers[i], piece);
		writers[i].count = 0;
		writers[i].end_ns = start + seconds * 1e9;
		if (pthread_create(&writers[i].thread, NULL, write_on, &writers[i]) != 0)
			exit(1);
	}
	for (int i = 0; i < threads; i++) {
		pthread_join(writers[i].thread, NULL);
		count += writers[i].count;
	}
	return (double)count * 1e9 / (now_ns() - start);
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

static void
measure(struct writer *writers, int threads, size_t piece, double seconds)
{
	double rates[WAYS][ROUNDS];

	for (int round = 0; round < ROUNDS; round++) {
		for (enum way way = 0; way < WAYS; way++)
			rates[way][round] = rate_of(writers, threads, way, piece, seconds);
	}
	printf("%2d threads  %7zu bytes ", threads, piece);
	for (enum way way = 0; way < WAYS; way++) {
		qsort(rates[way], ROUNDS, sizeof rates[way][0], compare);
		printf("  %s %7.0f/s (%.2f)", way_names[way], rates[way][ROUNDS / 2],
			rates[way][ROUNDS / 2] / rates[LOG][ROUNDS / 2]);
	}
	printf("\n");
}

static int
open_host(const char *name, int number, uint64_t size, bool is_hidden)
{
	char path[64];
	int fd;

	snprintf(path, sizeof path, "./bench-durable-%s-%d", name, number);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	host_must(fd >= 0, path);
	host_must(!is_hidden || unlink(path) == 0, path);
	for (uint64_t at = 0; at < size; at += PIECE_MAX)
		host_must(pwrite(fd, bytes, PIECE_MAX, (off_t)at) == PIECE_MAX, path);
	host_must(fsync(fd) == 0, path);
	return fd;
}

static void
writer_init(struct writer *w, int number, struct cop_volume *volume)
{
	struct cop_new new = COP_INIT(new);
	struct cop_object *root;
	char name[16];

	*w = (struct writer){
		.log = open_host("log", number, LOG_BYTES, true),
		.append = open_host("append", number, 0, true),
		.volume = volume,
	};
	new.kind = COP_FILE;
	snprintf(name, sizeof name, "%d", number);
	must(cop_root(volume, NULL, &root), "cop_root");
	must(cop_create(root, name, strlen(name), &new, &w->file), "cop_create");
	cop_release(root);
}

int
main(int argc, char **argv)
{
	double seconds = argc > 1 ? strtod(argv[1], NULL) : 1;
	int most = argc > 2 ? atoi(argv[2]) : 8;
	struct cop_open_options options = COP_INIT(options);
	struct cop_format_options format = COP_INIT(format);
	static struct writer writers[THREADS_MAX];
	static const char path[] = "./bench-durable-volume-0";
	struct cop_volume *volume;

	if (seconds <= 0 || most < 1 || most > THREADS_MAX) {
		fprintf(stderr, "usage: durable [SECONDS [THREADS]]\n");
		return 2;
	}
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i * 2654435761U >> 13);
	close(open_host("volume", 0, VOLUME_BYTES, false));
	format.force = true;
	must(cop_format(path, &format), "cop_format");
	must(cop_open(path, &options, &volume), "cop_open");
	for (int i = 0; i < most; i++)
		writer_init(&writers[i], i, volume);
	for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
		for (int threads = 1; threads <= most; threads *= 8)
			measure(writers, threads, pieces[i], seconds);
	}
	for (int i = 0; i < most; i++)
		cop_release(writers[i].file);
	must(cop_close(volume), "cop_close");
	remove(path);
	return 0;
}
