#ifndef COPPICE_VOLUME_JOURNAL_FORMAT_H
#define COPPICE_VOLUME_JOURNAL_FORMAT_H

/*
 * The journal on disk (rules of commit, 1 and 2): batches of whole blocks in a circular region,
 * little-endian. A batch is its header, then its transactions, then zeros to the end of its last
 * block. It never crosses the end of the region.
 *
 *   offset  bytes  field
 *        0      8  checksum           of bytes 8 to 191, with the seed in the superblock
 *        8      4  magic              "copj"
 *       12      2  version            1
 *       14      2  flags              opening 1, pad 2, mark 4; a pad or mark has no transactions
 *       16     16  uuid               of the volume
 *       32      8  epoch              random, of the writable opening that wrote it
 *       40      8  sequence           of the batch, never reused
 *       48      8  durable            highest sequence known durable with all the data it names
 *       56      8  position           block of the region where it begins
 *       64      8  previous_epoch     opening: of the batch that it follows; else 0
 *       72      8  previous_sequence  opening: of the batch that it follows; else 0
 *       80      4  blocks             of the batch
 *       84      4  bytes              of its transactions
 *       88      4  transactions       how many
 *       96      8  next_object        no number from here on had been given out
 *      104      8  next_job           likewise
 *      112      8  whole_checksum     of the bytes after the header, to the end of the batch
 *      120      1  algorithm          of compression, 0: none
 *      124      4  stored_bytes       compressed, else 0
 *      128      4  key_id             of encryption, 0: none
 *      132     24  nonce              else zero
 *      156     16  tag                else zero
 *      176      8  generation         that was open when it was written
 *
 * A transaction:
 *
 *   offset  bytes  field
 *        0      4  bytes      of the transaction, these four included
 *        4      2  messages   how many
 *        6      2  taken      how many runs
 *        8      2  released   how many runs
 *       10      2  data       how many pieces
 *       12      8  objects    added to the volume, signed
 *      ...         taken      runs that become used: addr (8), blocks (4)
 *      ...         released   runs of data that become free: the same
 *      ...         data       what was written for it: addr (8), blocks (4), a checksum (8) for
 *                             each block
 *      ...         messages
 *
 * A message:
 *
 *   offset  bytes  field
 *        0      1  op           put 1, delete 2, bury 3, step 4, clone 5, data 6
 *        1      1  kind         of the tree
 *        2      2  key_bytes
 *        4      2  value_bytes  put, bury, step; a step that ends the job has none; clone: 12
 *                               bytes for each run that is referred to once more: addr (8),
 *                               blocks (4); none: the whole tree is shared; data: 4096
 *        6      2  root_at      bury, step: where the root record stands in the value
 *        8      8  branch
 *       16      8  object       whose tree it is, or 0
 *       24      2  from_bytes   step: length of the cursor before it; else 0
 *       26      2  until_bytes  step: length of the cursor after it; 65535: the end; else 0
 *      ...         key          clone: be64 of the source, the message names the target; data:
 *                               the block's address, be64
 *      ...         value        data: its bytes
 *      ...         from
 *      ...         until
 *
 * Roots of trees, and nodes, are not in the journal: replay makes its own.
 */

#include "base/bytes.h"
#include "base/err.h"
#include "space/space.h"
#include "tree/tree.h"
#include "volume/volume.h"

#include <stdbool.h>

enum {
	BATCH_HEADER_BYTES = 192,
	BATCH_SECTOR_BYTES = 512, /* written whole or not at all */
	BATCH_VERSION = 1,
	TX_HEADER_BYTES = 20,
	TX_RUN_BYTES = 12,
	MESSAGE_HEADER_BYTES = 28,
};

enum batch_flags {
	BATCH_OPENING = 1 << 0, /* begins an epoch; may carry transactions, or be a pad or a mark */
	BATCH_PAD = 1 << 1,     /* fills the region to its end */
	BATCH_MARK = 1 << 2,    /* is there for its `durable` alone */
};

/*
 * Whose journal it is. Batches are looked for at every block, and blocks within a batch hold bytes
 * of users, who may know the UUID. [A file with headers in it is copied into a batch, which a power
 * cut tears: they say which batches are durable.] Nobody but the superblock tells the seed.
 */
struct journal_owner {
	uint8_t uuid[16];
	uint64_t seed;
};

struct batch_header {
	struct journal_owner owner;
	uint16_t flags;
	uint64_t epoch;
	uint64_t sequence;
	uint64_t durable;
	uint64_t position;
	uint64_t previous_epoch;
	uint64_t previous_sequence;
	uint32_t blocks;
	uint32_t bytes;
	uint32_t transactions;
	uint64_t next_object;
	uint64_t next_job;
	uint64_t generation;
};

/*
 * Completes a batch whose transactions stand behind the header's place in `batch`: zeros to the
 * end, checksums, header. `header->blocks` must be what `header->bytes` needs (a pad: any number).
 */
void batch_encode(const struct batch_header *header, uint8_t *batch);

/*
 * A batch without transactions over a block that may hold a torn one: behind its first sector all
 * stays as it is, so that no power cut leaves anything but the one or the other. [The zeros of a
 * batch written in full can complete a torn one, whose own end is zeros: what one recovery has
 * discarded the next would accept.]
 */
void batch_encode_over(const struct batch_header *header, uint8_t *block);

/* Blocks of a batch with so many bytes of transactions. */
uint32_t batch_blocks(uint64_t bytes);

/* The most blocks that a batch of this region has, a pad included. */
uint32_t journal_batch_blocks_max(uint64_t region_blocks);

/* Can a batch begin with this block? For most that do not, the quick answer. */
bool batch_may_begin(const uint8_t block[static COP_BLOCK_BYTES]);

/*
 * Judges the first block at `position`: is a batch there? COP_ECHECKSUM: none, or not of this
 * volume or place. COP_EFORMAT: its fields make no sense. COP_EUNSUPPORTED: compressed, encrypted
 * or of an unknown version.
 */
MUST_CHECK int batch_decode_header(const uint8_t block[static COP_BLOCK_BYTES],
	const struct journal_owner *owner, uint64_t position, uint64_t region_blocks,
	struct batch_header *out_header);

/* Judges the whole batch, all header->blocks of it: checksum, and that every transaction and
 * message is well-formed. COP_ECHECKSUM, COP_EFORMAT. */
MUST_CHECK int batch_check(const struct batch_header *header, const uint8_t *batch);

/* ---- Transactions --------------------------------------------------------------------------- */

enum message_op {
	MESSAGE_PUT = 1,
	MESSAGE_DELETE = 2,
	MESSAGE_BURY =
		3, /* the tree's root goes into the value that was put under `key` in the catalog */
	MESSAGE_STEP = 4,  /* a job on a dead tree moves its cursor, and drops what lies between */
	MESSAGE_CLONE = 5, /* the tree becomes another one's, or runs are referred to once more */
	MESSAGE_DATA = 6,  /* a block of content, of an object of that tree */
};

enum {
	STEP_END = 65535,
	CLONE_KEY_BYTES = 8,
	DATA_KEY_BYTES = 8,
};

/* Views point into memory of whoever filled it in. */
struct journal_message {
	enum message_op op;
	struct tree_name name;
	struct view key;
	struct view value; /* of a step that ends the job: empty; of a clone: runs */
	uint32_t root_at;
	struct view from;
	struct view until;
	bool is_end; /* step: to the end of the tree */
};

struct journal_data {
	uint64_t addr;
	uint32_t blocks;
	const uint8_t *checksums; /* 8 bytes little-endian for each block */
};

/* What a transaction holds, counted, and its parts one after the other. */
struct journal_tx {
	uint32_t bytes;
	uint16_t messages;
	uint16_t taken;
	uint16_t released;
	uint16_t data;
	int64_t objects;
	const uint8_t *runs; /* taken, then released; of what was decoded */
	const uint8_t *first_data;
	const uint8_t *first_message;
	const uint8_t *end;
};

size_t journal_message_bytes(const struct journal_message *message);

/* The writer turns bad when there is no room. First the header, then the parts in their order. */
void journal_encode_tx(struct writer *w, const struct journal_tx *tx);
void journal_encode_run(struct writer *w, struct run run);
void journal_encode_data(
	struct writer *w, uint64_t addr, uint32_t blocks, const uint64_t *checksums);
/* The piece that begins at byte `at`, the last one, goes on for so many blocks. */
void journal_extend_data(struct writer *w, size_t at, uint32_t blocks, const uint64_t *checksums);
void journal_encode_message(struct writer *w, const struct journal_message *message);

/* The next transaction of a batch; all that it holds is well-formed. COP_EFORMAT. */
MUST_CHECK int journal_decode_tx(struct reader *r, struct journal_tx *out_tx);

/* Of a decoded transaction. Runs: taken from 0, released from tx->taken. */
struct run journal_run(const struct journal_tx *tx, uint32_t index);

/* The run at `index` in the value of a clone, TX_RUN_BYTES each. */
struct run journal_clone_run(struct view value, size_t index);
void journal_encode_clone_run(struct run run, uint8_t out[static TX_RUN_BYTES]);

/* In order: begin with `r` over [first_data, first_message) or [first_message, end). COP_EFORMAT.
 */
MUST_CHECK int journal_decode_data(struct reader *r, struct journal_data *out_data);
MUST_CHECK int journal_decode_message(struct reader *r, struct journal_message *out_message);

#endif
