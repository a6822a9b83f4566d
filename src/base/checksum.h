#ifndef COPPICE_BASE_CHECKSUM_H
#define COPPICE_BASE_CHECKSUM_H

/*
 * checksum: XXH3, 64 bits, seed 0: the checksum of the format. It finds accidents; it is no
 * defence against somebody who wants a collision.
 *
 * Cost  25 to 50 GB/s while the bytes are in the second-level cache.
 */

#include <stddef.h>
#include <stdint.h>

uint64_t checksum64(const void *data, size_t bytes);

/* The same with a seed: for tables, for directory keys, and for what users shall not forge. */
uint64_t hash64(const void *data, size_t bytes, uint64_t seed);

#endif
