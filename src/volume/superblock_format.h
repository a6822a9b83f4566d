#ifndef COPPICE_VOLUME_SUPERBLOCK_FORMAT_H
#define COPPICE_VOLUME_SUPERBLOCK_FORMAT_H

/*
 * The superblock on disk: one sector, little-endian, at the start of a block whose other bytes are
 * zero. Bytes without a row are zero.
 *
 *   offset  bytes  field
 *        0      8  magic                 "coppice" and a zero byte
 *        8      4  version               1
 *       12      2  place                 0 to 3: AGs 0, 1, 3, 7; 65535: format parameters only
 *       14      2  slot                  in the ring, 0 to 3
 *       16     16  uuid                  of the volume
 *       32      8  incompat              features that a reader must know, or refuse the volume
 *       40      8  ro_compat             features that a writer must know, or only read
 *       48      8  compat                features that may be ignored
 *       56      8  generation            of the checkpoint that wrote it, from 1
 *       64      8  previous_generation   of the checkpoint before it, 0: none
 *       72      8  blocks                of the volume
 *       80      4  ag_blocks             blocks in an allocation group
 *       84      4  node_bytes            4096 to 65536
 *       88      8  journal_blocks        blocks of the journal region
 *       96      8  flags                 encryption 1, compression 2, boot 4, clean 8
 *      104      1  metadata_copies       0: two, content leaves one; 1 or 2: all
 *      105      1  checksum_algorithm    1: XXH3, 64 bits
 *      112     40  catalog               root record of the catalog
 *      152     40  shares                root record of the share tree
 *      192      8  share_stamp           generation of the newest act of sharing, 0: none ever
 *      200     32  allocation            descriptor of the allocation tree's top block
 *      232      8  free_blocks           not used in this generation
 *      240      8  awaiting_blocks       of them, freed in the period that it closes
 *      248      8  next_object           the next object number
 *      256      8  next_branch           the next branch number
 *      264      8  next_job              the next job number
 *      272      8  name_seed             of the hash that orders directories
 *      280      8  created_ns            when the volume was made, ns since 1970
 *      288      8  checkpoint_ns         when this superblock was made
 *      296      8  journal_tail          first block of the journal after the freeze
 *      304      8  journal_sequence      of the batch there
 *      312      8  retained_tail         the same for the checkpoint before
 *      320      8  retained_sequence     of the batch there
 *      328      8  epoch                 that batches before journal_tail have, 0: there are none
 *      336      8  objects               how many objects there are
 *      344     64  label                 filled with zero bytes
 *      408      8  journal_seed          of the checksums of the journal's headers
 *      504      8  checksum              of bytes 0 to 503
 *
 * A root record is 40 bytes: a pointer (addr, addr2, birth, seal, 8 bytes each), the tree's levels
 * in one byte, and 7 zero bytes.
 */

#include "base/err.h"
#include "space/space.h"
#include "tree/tree.h"

enum {
	SUPERBLOCK_BYTES = 512,
	SUPERBLOCK_VERSION = 1,
	ROOT_RECORD_BYTES = 40,
};

/* Feature bits that this version knows. */
#define SUPERBLOCK_INCOMPAT_KNOWN  UINT64_C(0)
#define SUPERBLOCK_RO_COMPAT_KNOWN UINT64_C(0)

#define SUPERBLOCK_CLEAN UINT64_C(8)

/* Of generations, and of numbers of objects, branches and jobs. Larger ones are damage: none that
 * is counted up from 1 gets there, and so none that is handed out wraps around. */
#define SUPERBLOCK_NUMBER_MAX (UINT64_MAX >> 1)

struct superblock {
	uint16_t place;
	uint16_t slot;
	uint8_t uuid[16];
	uint64_t incompat;
	uint64_t ro_compat;
	uint64_t compat;
	uint64_t generation;
	uint64_t previous_generation;
	uint64_t blocks;
	uint32_t ag_blocks;
	uint32_t node_bytes;
	uint64_t journal_blocks;
	uint64_t flags;
	uint8_t metadata_copies;
	struct tree_root catalog;
	struct tree_root shares;
	uint64_t share_stamp;
	struct space_descriptor allocation;
	uint64_t free_blocks;
	uint64_t awaiting_blocks;
	uint64_t next_object;
	uint64_t next_branch;
	uint64_t next_job;
	uint64_t name_seed;
	uint64_t journal_seed;
	int64_t created_ns;
	int64_t checkpoint_ns;
	uint64_t journal_tail;
	uint64_t journal_sequence;
	uint64_t retained_tail;
	uint64_t retained_sequence;
	uint64_t epoch;
	uint64_t objects;
	char label[COP_LABEL_BYTES_MAX + 1];
};

void root_record_encode(const struct tree_root *root, uint8_t out[static ROOT_RECORD_BYTES]);

/* COP_EFORMAT: levels and pointer contradict each other. */
MUST_CHECK int root_record_decode(
	const uint8_t in[static ROOT_RECORD_BYTES], struct tree_root *out_root);

enum { SUPERBLOCK_PLACE_PARAMETERS = 65535 };

/*
 * The block at the start of each AG without a ring: the parameters of the format, for repair, as a
 * superblock of generation 1 with no roots and no counts.
 */
void superblock_encode_parameters(const struct superblock *sb, uint8_t out[static COP_BLOCK_BYTES]);

void superblock_encode(const struct superblock *sb, uint8_t out[static SUPERBLOCK_BYTES]);

/*
 * COP_ENOTVOLUME: no magic. COP_ECHECKSUM. COP_EUNSUPPORTED: a version or feature that is unknown.
 * COP_EFORMAT: the fields make no sense. Unknown ro_compat features are for the caller to judge.
 */
MUST_CHECK int superblock_decode(
	const uint8_t in[static SUPERBLOCK_BYTES], struct superblock *out_sb);

#endif
