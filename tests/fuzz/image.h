#ifndef COPPICE_TESTS_FUZZ_IMAGE_H
#define COPPICE_TESTS_FUZZ_IMAGE_H

/*
 * image: a hostile volume from a few bytes.
 *
 * The input of the fuzzer is a list of patches to one good volume, which has content and
 * directories of each form. After patching, checksums are made right again, up to the superblock:
 * a mutation so gets past the first line of defence, and the code behind it must cope.
 *
 *   patch   2  block     which of the blocks in use; 0: the newest superblock, in all its places
 *           2  offset    in the block
 *           1  length    low 4 bits: bytes that follow, less one; 0x80: copy instead: the bytes are
 *                        the number of a block in use (2) and an offset (2), of 64 bytes to copy;
 *                        0x40: leave the checksums of this block wrong
 *           .  bytes
 *
 * Checksums made right: nodes, bitmaps, allocation blocks, superblocks, batches of the journal. Not
 * those of file data.
 */

#include "device/sim.h"

struct image_base;

/* The good volume. */
MUST_CHECK int image_base_create(struct image_base **out_base);

/* One that crashed, with a journal to replay; the blocks of its journal come first. */
MUST_CHECK int image_base_create_crashed(struct image_base **out_base);
void image_base_free(struct image_base *base);

/* A clone of it with the patches applied. */
MUST_CHECK int image_make(const struct image_base *base, const uint8_t *input, size_t bytes,
	struct sim_medium **out_medium);

/* Blocks in use that patches can name. */
uint32_t image_block_count(const struct image_base *base);

/* Opens, checks, walks and changes the volume; whatever is there, this comes back. */
void image_try(struct sim_medium *medium);

/* The same for writing once more, after whatever damage has lost in the journal is given up. */
void image_try_accepting_loss(struct sim_medium *medium);

#endif
