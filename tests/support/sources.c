#include "support/sources.h"

#include "base/random.h"

enum { MOMENT_NS = 1000 };

int
sources_random(void *rng, void *buffer, size_t bytes)
{
	rng_bytes(rng, buffer, bytes);
	return 0;
}

int64_t
sources_clock(void *context)
{
	(void)context;
	return MOMENT_NS;
}
