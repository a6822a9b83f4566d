#ifndef COPPICE_BASE_NUM_H
#define COPPICE_BASE_NUM_H

/* num: small arithmetic that everybody needs, written once. */

#include <stdbool.h>
#include <stdint.h>

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

static inline uint64_t
min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t
max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Rounded up; `divisor` is not 0. */
static inline uint64_t
div_up(uint64_t value, uint64_t divisor)
{
	return value / divisor + (value % divisor != 0);
}

static inline bool
is_power_of_two(uint64_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

#endif
