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

/*
 * One input: hands `try` a clone of the volume with the patches applied. The volume is made by the
 * first call, and is the same for all calls of a process.
 */
void image_fuzz(int (*create)(struct image_base **out_base), void (*try)(struct sim_medium *medium),
	const uint8_t *input, size_t bytes);

/* Opens, checks, walks and changes the volume; whatever is there, this comes back. */
void image_try(struct sim_medium *medium);

/* The same for writing once more, after whatever damage has lost in the journal is given up. */
void image_try_accepting_loss(struct sim_medium *medium);

#endif
