#ifndef COPPICE_BASE_CHECKSUM_H
#define COPPICE_BASE_CHECKSUM_H

/*
 * checksum: XXH3, 64 bits, seed 0: the one checksum of the format. It finds accidents; it is no
 * defence against somebody who wants a collision.
 *
 * Cost  25 to 50 GB/s while the bytes are in the second-level cache.
 */

#include <stddef.h>
#include <stdint.h>

uint64_t checksum64(const void *data, size_t bytes);

/* A hash with a seed, for tables and for directory keys. */
uint64_t hash64(const void *data, size_t bytes, uint64_t seed);

#endif
