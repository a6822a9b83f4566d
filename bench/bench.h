#ifndef COPPICE_BENCH_BENCH_H
#define COPPICE_BENCH_BENCH_H

/*
 * bench: what programs that measure volumes on a counting device share. They stop at the first
 * error: a figure that was measured beside one is worth nothing.
 */

#include "base/random.h"
#include "counting.h"
#include "volume/volume.h"

#include <stdio.h>

enum { BENCH_SIZES = 5 };

/* All sizes that nodes may have. */
extern const uint32_t bench_sizes[BENCH_SIZES];

/* Ends the program with the library's text, unless `err` is 0. */
void bench_must(int err);

/* Makes an empty volume on a device in memory. */
void bench_format(
	uint64_t blocks, uint32_t node_bytes, struct rng *rng, struct device **out_device);

/* Opens it; `rng` is borrowed until it is closed. */
void bench_open(
	struct device *dev, uint64_t cache_bytes, struct rng *rng, struct volume **out_volume);

/* The number that an option was given; one below `least`, or none, ends the program with 2. */
uint64_t bench_number(const char *text, uint64_t least, void (*print_usage)(FILE *out));

#endif
