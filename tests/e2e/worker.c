/*
 * worker: a program that uses libcoppice, for tests that watch it from outside.
 *
 *   worker trace VOLUME ring|pool   changes and syncs, and says on stderr when a sync begins and
 *                                   when it has returned, so that a trace of system calls shows
 *                                   what happened in between
 *   worker storm VOLUME SEED        changes without end, to be killed; says on stdout how far it
 * is: "begin N" before change N, "synced N" after a sync
 */

#include "coppice.h"
#include "device/device.h"
#include "object/open.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	TRACE_ROUNDS = 4,
	SMALL_BYTES = 64,
	LARGE_BYTES = 20000, /* more than a record or a batch takes: a run of its own */
	FILE_STEP = 37,
	FILE_MODULUS = 9000,
	LOG_BYTES = 16,
	KEPT_FILES = 10, /* the one that is so many files older is removed */
	KINDS = 5,
};

#define must(call) must_be_fine((call), #call)

static void
must_be_fine(int err, const char *call)
{
	if (err == 0)
		return;
	fprintf(stderr, "worker: %s: %s\n", call, cop_error_text());
	exit(1);
}

/* One call of write(), which a trace shows and a pipe delivers whole. */
static void
say(int fd, const char *word, unsigned number)
{
	char line[64];
	int bytes = snprintf(line, sizeof line, "%s %u\n", word, number);

	if (write(fd, line, (size_t)bytes) != bytes)
		exit(1);
}

static void
put(struct cop_object *object, uint64_t offset, const void *buffer, size_t bytes)
{
	size_t written;

	must(cop_write(object, offset, buffer, bytes, &written));
}

static struct cop_object *
make(struct cop_object *directory, const char *name, enum cop_kind kind)
{
	struct cop_new new = COP_INIT(new);
	struct cop_object *object;

	new.kind = kind;
	new.mode = 0755;
	must(cop_create(directory, name, strlen(name), &new, &object));
	return object;
}

static struct cop_object *
find(struct cop_object *directory, const char *name)
{
	struct cop_object *object;

	must(cop_lookup(directory, name, strlen(name), &object));
	return object;
}

/* ---- Trace ----------------------------------------------------------------------------------- */

static void
sync_loudly(struct cop_volume *volume, const char *what, unsigned round)
{
	char word[32];

	(void)snprintf(word, sizeof word, "%s begins", what);
	say(STDERR_FILENO, word, round);
	must(cop_sync(volume));
	(void)snprintf(word, sizeof word, "%s durable", what);
	say(STDERR_FILENO, word, round);
}

static void
run_trace(const char *path, bool with_ring)
{
	struct device_options device_options = { .flags = with_ring ? 0 : DEVICE_NO_URING };
	struct cop_open_options options = COP_INIT(options);
	char buffer[LARGE_BYTES];
	struct cop_volume *volume;
	struct cop_object *root;
	struct cop_object *file;
	struct device *dev;

	must(device_open(path, &device_options, &dev));
	must(cop_open_on(dev, &options, &volume));
	must(cop_root(volume, NULL, &root));
	file = make(root, "file", COP_FILE);
	must(cop_sync(volume));
	for (unsigned round = 0; round < TRACE_ROUNDS; round++) {
		struct cop_attr attr = COP_INIT(attr);

		/* Names no data: the batch may be durable by itself. */
		attr.mode = round;
		must(cop_set_attr(file, &attr, COP_SET_MODE));
		sync_loudly(volume, "names", round);

		memset(buffer, (int)round + 1, sizeof buffer);
		put(file, (uint64_t)round * sizeof buffer, buffer, sizeof buffer);
		sync_loudly(volume, "data", round);
		sync_loudly(volume, "nothing", round);
	}
	cop_release(file);
	cop_release(root);
	cop_abandon(volume);
	device_close(dev);
}

/* ---- Storm ----------------------------------------------------------------------------------- */

struct storm {
	struct cop_object *root;
	struct cop_object *directory;
	struct cop_object *log;
	uint64_t log_bytes;
};

static void
write_file(struct storm *storm, const char *name, unsigned number)
{
	struct cop_object *file = find(storm->root, name);
	char buffer[FILE_MODULUS + 1];
	size_t bytes = number * FILE_STEP % FILE_MODULUS + 1;

	for (size_t i = 0; i < bytes; i++)
		buffer[i] = (char)(number * 7 + i % 251);
	put(file, 0, buffer, bytes);
	cop_release(file);
}

/* Change `number`, from 1. Each makes one step of a file's life. */
static void
change(struct storm *storm, unsigned number)
{
	unsigned first = number - (number - 1) % KINDS; /* the change that made the file */
	char young[32];
	char old[32];
	char line[32];

	(void)snprintf(young, sizeof young, "f%07u", first);
	(void)snprintf(old, sizeof old, "g%07u", first);
	switch (number - first) {
	case 0:
		cop_release(make(storm->root, young, COP_FILE));
		break;
	case 1:
		write_file(storm, young, first);
		break;
	case 2:
		must(cop_rename(
			storm->root, young, strlen(young), storm->directory, old, strlen(old), 0));
		break;
	case 3:
		(void)snprintf(line, sizeof line, "record %08u\n", first);
		put(storm->log, storm->log_bytes, line, LOG_BYTES);
		storm->log_bytes += LOG_BYTES;
		break;
	default:
		if (first <= KINDS * KEPT_FILES)
			break;
		(void)snprintf(old, sizeof old, "g%07u", first - KINDS * KEPT_FILES);
		must(cop_unlink(storm->directory, old, strlen(old), COP_UNLINK_FILE));
	}
}

static void
run_storm(const char *path, unsigned seed)
{
	struct cop_open_options options = COP_INIT(options);
	struct cop_volume *volume;
	struct storm state = { 0 };

	options.threads = 1;
	must(cop_open(path, &options, &volume));
	must(cop_root(volume, NULL, &state.root));
	state.directory = make(state.root, "d", COP_DIRECTORY);
	state.log = make(state.root, "log", COP_FILE);
	must(cop_sync(volume));
	say(STDOUT_FILENO, "synced", 0);
	for (unsigned number = 1;; number++) {
		say(STDOUT_FILENO, "begin", number);
		change(&state, number);
		if (rand_r(&seed) % 16 == 0) {
			must(cop_sync(volume));
			say(STDOUT_FILENO, "synced", number);
		}
	}
}

int
main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "trace") == 0) {
		run_trace(argv[2], strcmp(argv[3], "ring") == 0);
		return 0;
	}
	if (argc == 4 && strcmp(argv[1], "storm") == 0)
		run_storm(argv[2], (unsigned)strtoul(argv[3], NULL, 10));
	fputs("usage: worker trace VOLUME ring|pool; worker storm VOLUME SEED\n", stderr);
	return 2;
}
