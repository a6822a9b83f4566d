/*
 * Recovery, whole: the image of a volume that crashed, with a journal to replay. See image.h for
 * what an input means.
 */

#include "base/bytes.h"
#include "base/random.h"
#include "fuzz/fuzz.h"
#include "fuzz/image.h"

enum {
	SEEDS = 8,
	SEED_PATCHES = 3,
	PATCH_BYTES = 13,
	COPY_PATCH_BYTES = 9,
	PATCH_COPY = 0x80,
	JOURNAL_BLOCKS = 20, /* about as many, they come first */
};

static void
try_both(struct sim_medium *medium)
{
	image_try(medium);
	image_try_accepting_loss(medium);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	image_fuzz(image_base_create_crashed, try_both, data, bytes);
	return 0;
}

/* A patch of 8 bytes to a batch: first to its header, then to what is in it. */
static size_t
seed_patch(struct rng *rng, uint32_t index, uint8_t *out)
{
	put_le16(out, (uint16_t)rng_below(rng, JOURNAL_BLOCKS));
	put_le16(out + 2, (uint16_t)rng_below(rng, index % 2 ? 192 : 600));
	out[4] = 7;
	rng_bytes(rng, out + 5, 8);
	return PATCH_BYTES;
}

/* 64 bytes of one batch into another. */
static size_t
seed_copy(struct rng *rng, uint8_t *out)
{
	put_le16(out, (uint16_t)rng_below(rng, JOURNAL_BLOCKS));
	put_le16(out + 2, (uint16_t)rng_below(rng, 600));
	out[4] = PATCH_COPY;
	put_le16(out + 5, (uint16_t)rng_below(rng, JOURNAL_BLOCKS));
	put_le16(out + 7, (uint16_t)rng_below(rng, 600));
	return COPY_PATCH_BYTES;
}

/* The first seed changes nothing. */
size_t
fuzz_seed(uint32_t index, uint8_t out[FUZZ_SEED_BYTES_MAX])
{
	struct rng rng;
	size_t bytes = 0;

	if (index >= SEEDS)
		return 0;
	rng_seed(&rng, index);
	for (int i = 0; i < SEED_PATCHES; i++)
		bytes += index % 4 == 3 ? seed_copy(&rng, out + bytes)
					: seed_patch(&rng, index, out + bytes);
	return index == 0 ? 4 : bytes;
}
