/* The whole image: see image.h for what an input means. */

#include "base/bytes.h"
#include "base/random.h"
#include "fuzz/fuzz.h"
#include "fuzz/image.h"

enum { SEEDS = 4, SEED_PATCHES = 3, PATCH_BYTES = 13 };

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	image_fuzz(image_base_create, image_try, data, bytes);
	return 0;
}

/* Some patches of 8 bytes to blocks at random; the first seed changes nothing. */
size_t
fuzz_seed(uint32_t index, uint8_t out[FUZZ_SEED_BYTES_MAX])
{
	struct rng rng;

	if (index >= SEEDS)
		return 0;
	rng_seed(&rng, index);
	for (int i = 0; i < SEED_PATCHES; i++) {
		uint8_t *patch = out + i * PATCH_BYTES;

		put_le16(patch, (uint16_t)rng_next(&rng));
		put_le16(patch + 2, (uint16_t)rng_below(&rng, 512));
		patch[4] = index == 0 ? 0 : 7;
		rng_bytes(&rng, patch + 5, 8);
	}
	return index == 0 ? 4 : SEED_PATCHES * PATCH_BYTES;
}
