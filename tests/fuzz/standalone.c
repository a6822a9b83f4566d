/*
 * Runs a fuzz target without a fuzzer.
 *
 *   fuzz_NAME                  its seeds, as they are and with bytes altered
 *   fuzz_NAME PATH...          the inputs in these files, or in all files of these directories
 *   fuzz_NAME --write DIR      writes the seeds, a corpus for the fuzzer to begin with
 */

#include "base/random.h"
#include "fuzz/fuzz.h"

#include <assert.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALTERED = 1000 };

static uint8_t input[FUZZ_SEED_BYTES_MAX];

static int
run_seeds(void)
{
	struct rng rng;
	uint32_t seeds = 0;
	size_t bytes;

	rng_seed(&rng, 1);
	for (; (bytes = fuzz_seed(seeds, input)) > 0; seeds++) {
		(void)LLVMFuzzerTestOneInput(input, bytes);
		for (uint32_t i = 0; i < ALTERED; i++) {
			size_t at = rng_below(&rng, rng_below(&rng, 2) ? bytes : 256) % bytes;
			uint8_t old = input[at];

			input[at] = (uint8_t)rng_next(&rng);
			(void)LLVMFuzzerTestOneInput(input, bytes);
			if (rng_below(&rng, 4) > 0)
				input[at] = old; /* else the alterations add up */
			if (i % 50 == 0)
				bytes = fuzz_seed(seeds, input);
		}
	}
	assert(seeds > 0);
	printf("%u seeds, %u inputs each\n", seeds, 1 + ALTERED);
	return 0;
}

static int
run_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = malloc(FUZZ_SEED_BYTES_MAX);
	size_t bytes;

	if (!file || !data) {
		fprintf(stderr, "%s: cannot be read\n", path);
		free(data);
		if (file)
			(void)fclose(file);
		return 1;
	}
	bytes = fread(data, 1, FUZZ_SEED_BYTES_MAX, file);
	(void)fclose(file); /* it was only read */
	(void)LLVMFuzzerTestOneInput(data, bytes);
	free(data);
	return 0;
}

/* The name comes first: an input that crashes or hangs is then the last one named. */
static int
run_directory(DIR *dir, const char *path)
{
	const struct dirent *entry;
	int failures = 0;

	while ((entry = readdir(dir))) {
		char file[PATH_MAX];

		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
		printf("%s\n", file);
		(void)fflush(stdout);
		failures += run_file(file);
	}
	return failures;
}

static int
run_path(const char *path)
{
	DIR *dir = opendir(path);
	int failures;

	if (!dir)
		return run_file(path);
	failures = run_directory(dir, path);
	(void)closedir(dir); /* it was only read */
	return failures;
}

static int
write_seeds(const char *dir)
{
	size_t bytes;

	for (uint32_t i = 0; (bytes = fuzz_seed(i, input)) > 0; i++) {
		char path[4096];
		FILE *file;
		size_t written;

		(void)snprintf(path, sizeof path, "%s/seed-%03u", dir, i);
		file = fopen(path, "wb");
		written = file ? fwrite(input, 1, bytes, file) : 0;
		if (!file || fclose(file) != 0 || written != bytes) {
			fprintf(stderr, "%s: cannot be written\n", path);
			return 1;
		}
	}
	return 0;
}

int
main(int argc, char **argv)
{
	int failures = 0;

	if (argc == 3 && strcmp(argv[1], "--write") == 0)
		return write_seeds(argv[2]);
	if (argc == 1)
		return run_seeds();
	for (int i = 1; i < argc; i++)
		failures += run_path(argv[i]);
	return failures > 0;
}
