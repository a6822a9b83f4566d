#include "bench.h"

#include "object/extent_format.h"

#include <errno.h>
#include <stdlib.h>

const uint32_t bench_sizes[BENCH_SIZES] = { 4096, 8192, 16384, 32768, 65536 };

void
bench_must(int err)
{
	if (err == 0)
		return;
	fprintf(stderr, "%s: %s\n", program_invocation_short_name, err_text());
	exit(1);
}

static int
seeded_random(void *context, void *buffer, size_t bytes)
{
	rng_bytes(context, buffer, bytes);
	return 0;
}

void
bench_format(uint64_t blocks, uint32_t node_bytes, struct rng *rng, struct device **out_device)
{
	struct volume_format_options options = {
		.volume_blocks = blocks,
		.node_bytes = node_bytes,
		.random = seeded_random,
		.context = rng,
	};

	bench_must(counting_open(blocks, node_bytes, out_device));
	bench_must(volume_format(*out_device, &options));
}

void
bench_open(struct device *dev, uint64_t cache_bytes, struct rng *rng, struct volume **out_volume)
{
	struct volume_options options = {
		.cache_bytes = cache_bytes,
		.random = seeded_random,
		.context = rng,
		.entry_run = extent_entry_run,
	};

	bench_must(volume_open(dev, &options, out_volume));
}

uint64_t
bench_number(const char *text, uint64_t least, void (*print_usage)(FILE *out))
{
	char *end;
	uint64_t number = strtoull(text, &end, 10);

	if (*text < '0' || *text > '9' || *end != '\0' || number < least) {
		print_usage(stderr);
		exit(2);
	}
	return number;
}
