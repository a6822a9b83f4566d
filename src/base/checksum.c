#include "base/checksum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t
checksum64(const void *data, size_t bytes)
{
	return XXH3_64bits(data, bytes);
}

uint64_t
hash64(const void *data, size_t bytes, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, bytes, seed);
}
