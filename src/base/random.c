#include "base/random.h"

#include "base/num.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

static uint64_t
rotate_left(uint64_t value, int by)
{
	return value << by | value >> (64 - by);
}

static uint64_t
splitmix64(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

void
rng_seed(struct rng *rng, uint64_t seed)
{
	for (size_t i = 0; i < ARRAY_COUNT(rng->state); i++)
		rng->state[i] = splitmix64(&seed);
}

int
rng_seed_system(struct rng *rng)
{
	uint64_t seed;

	if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
		return fail_errno(errno, "the system gives no random numbers");
	rng_seed(rng, seed);
	return 0;
}

uint64_t
rng_next(struct rng *rng)
{
	uint64_t *s = rng->state;
	uint64_t result = rotate_left(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate_left(s[3], 45);
	return result;
}

uint64_t
rng_below(struct rng *rng, uint64_t limit)
{
	assert(limit > 0);
	return (uint64_t)((unsigned __int128)rng_next(rng) * limit >> 64);
}

uint64_t
rng_nonzero(struct rng *rng)
{
	uint64_t value;

	do
		value = rng_next(rng);
	while (value == 0);
	return value;
}

void
rng_bytes(struct rng *rng, void *out, size_t bytes)
{
	uint8_t *at = out;

	while (bytes > 0) {
		uint64_t value = rng_next(rng);
		size_t part = min_u64(bytes, sizeof value);

		memcpy(at, &value, part);
		at += part;
		bytes -= part;
	}
}
