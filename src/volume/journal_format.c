#include "volume/journal_format.h"

#include "base/checksum.h"
#include "base/num.h"
#include "volume/superblock_format.h"

#include <assert.h>

enum {
	AT_CHECKSUM = 0,
	AT_MAGIC = 8, /* what the checksum is of begins here */
	AT_VERSION = 12,
	AT_FLAGS = 14,
	AT_UUID = 16,
	AT_EPOCH = 32,
	AT_SEQUENCE = 40,
	AT_DURABLE = 48,
	AT_POSITION = 56,
	AT_PREVIOUS_EPOCH = 64,
	AT_PREVIOUS_SEQUENCE = 72,
	AT_BLOCKS = 80,
	AT_BYTES = 84,
	AT_TRANSACTIONS = 88,
	AT_NEXT_OBJECT = 96,
	AT_NEXT_JOB = 104,
	AT_WHOLE_CHECKSUM = 112,
	AT_ALGORITHM = 120,
	AT_STORED_BYTES = 124,
	AT_KEY_ID = 128,
	AT_NONCE = 132,
	AT_TAG = 156,
	AT_TAG_END = 172,
	AT_GENERATION = 176,

	FLAGS_KNOWN = BATCH_OPENING | BATCH_PAD | BATCH_MARK,
	BATCH_BLOCKS_MAX = 256,
	BATCH_PART = 8, /* of the region, so that a third of it has room for any batch */

	TX_AT_MESSAGES = 4,
	TX_AT_TAKEN = 6,
	TX_AT_RELEASED = 8,
	TX_AT_DATA = 10,
	TX_AT_OBJECTS = 12,

	OBJECTS_MAX = UINT16_MAX, /* each takes a message */
	CHECKSUM_BYTES = 8,
};
static_assert(AT_GENERATION + 8 <= BATCH_HEADER_BYTES, "the header has room for its fields");
static_assert(TX_AT_OBJECTS + 8 == TX_HEADER_BYTES, "a transaction's header ends with its last");
static_assert((int)STEP_END > (int)TREE_KEY_BYTES_MAX, "no cursor is as long as the end");

static const uint8_t magic[4] = { 'c', 'o', 'p', 'j' };

uint32_t
journal_batch_blocks_max(uint64_t region_blocks)
{
	return (uint32_t)max_u64(1, min_u64(BATCH_BLOCKS_MAX, region_blocks / BATCH_PART));
}

uint32_t
batch_blocks(uint64_t bytes)
{
	assert(bytes <= UINT32_MAX);
	return (uint32_t)div_up(BATCH_HEADER_BYTES + bytes, COP_BLOCK_BYTES);
}

/* ---- Batches --------------------------------------------------------------------------------- */

/* What encode asserts and decode asks, so that both sides of the medium hold the same. */
static const char *
what_is_wrong(const struct batch_header *header)
{
	bool is_empty = header->flags & (BATCH_PAD | BATCH_MARK);

	if (header->flags & ~FLAGS_KNOWN)
		return "unknown flags";
	if (header->flags & BATCH_PAD && header->flags & BATCH_MARK)
		return "pad and mark at once";
	if (header->epoch == 0)
		return "epoch 0";
	if (header->sequence == 0)
		return "sequence 0";
	if (header->durable >= header->sequence)
		return "says that itself is durable";
	if (header->previous_sequence >= header->sequence)
		return "follows a later one";
	if (header->flags & BATCH_OPENING && header->previous_epoch == header->epoch)
		return "opens the epoch that it follows";
	if (!(header->flags & BATCH_OPENING) &&
		(header->previous_epoch != 0 || header->previous_sequence != 0))
		return "follows an epoch, and opens none";
	if (is_empty && (header->bytes != 0 || header->transactions != 0))
		return "transactions in a pad or mark";
	if (header->blocks == 0 || header->blocks > BATCH_BLOCKS_MAX)
		return "number of blocks";
	if (!(header->flags & BATCH_PAD) && header->blocks != batch_blocks(header->bytes))
		return "blocks and bytes contradict each other";
	if (header->transactions > header->bytes / TX_HEADER_BYTES)
		return "more transactions than bytes have room for";
	return NULL;
}

/* Behind the header all is in place. */
static void
encode_header(const struct batch_header *header, uint8_t *batch)
{
	size_t bytes = (size_t)header->blocks * COP_BLOCK_BYTES;

	assert(!what_is_wrong(header));
	memset(batch, 0, BATCH_HEADER_BYTES);
	memcpy(batch + AT_MAGIC, magic, sizeof magic);
	put_le16(batch + AT_VERSION, BATCH_VERSION);
	put_le16(batch + AT_FLAGS, header->flags);
	memcpy(batch + AT_UUID, header->owner.uuid, sizeof header->owner.uuid);
	put_le64(batch + AT_EPOCH, header->epoch);
	put_le64(batch + AT_SEQUENCE, header->sequence);
	put_le64(batch + AT_DURABLE, header->durable);
	put_le64(batch + AT_POSITION, header->position);
	put_le64(batch + AT_PREVIOUS_EPOCH, header->previous_epoch);
	put_le64(batch + AT_PREVIOUS_SEQUENCE, header->previous_sequence);
	put_le32(batch + AT_BLOCKS, header->blocks);
	put_le32(batch + AT_BYTES, header->bytes);
	put_le32(batch + AT_TRANSACTIONS, header->transactions);
	put_le64(batch + AT_NEXT_OBJECT, header->next_object);
	put_le64(batch + AT_NEXT_JOB, header->next_job);
	put_le64(batch + AT_GENERATION, header->generation);
	put_le64(batch + AT_WHOLE_CHECKSUM,
		checksum64(batch + BATCH_HEADER_BYTES, bytes - BATCH_HEADER_BYTES));
	put_le64(batch + AT_CHECKSUM,
		hash64(batch + AT_MAGIC, BATCH_HEADER_BYTES - AT_MAGIC, header->owner.seed));
}

void
batch_encode(const struct batch_header *header, uint8_t *batch)
{
	size_t bytes = (size_t)header->blocks * COP_BLOCK_BYTES;
	size_t used = BATCH_HEADER_BYTES + (size_t)header->bytes;

	assert(used <= bytes);
	memset(batch + used, 0, bytes - used);
	encode_header(header, batch);
}

void
batch_encode_over(const struct batch_header *header, uint8_t *block)
{
	assert(header->blocks == 1 && header->bytes == 0);
	memset(block, 0, BATCH_SECTOR_BYTES);
	encode_header(header, block);
}

bool
batch_may_begin(const uint8_t block[static COP_BLOCK_BYTES])
{
	return memcmp(block + AT_MAGIC, magic, sizeof magic) == 0;
}

/* What an unknown version may mean differently comes after the question for the version. */
static int
identity_check(const uint8_t *block, const struct journal_owner *owner, uint64_t position)
{
	if (!batch_may_begin(block))
		return fail(
			COP_ECHECKSUM, "no batch at block %" PRIu64 " of the journal", position);
	if (get_le64(block + AT_CHECKSUM) !=
		hash64(block + AT_MAGIC, BATCH_HEADER_BYTES - AT_MAGIC, owner->seed))
		return fail(COP_ECHECKSUM,
			"header of the batch at block %" PRIu64 " of the journal", position);
	if (memcmp(block + AT_UUID, owner->uuid, sizeof owner->uuid) != 0)
		return fail(COP_ECHECKSUM,
			"the batch at block %" PRIu64 " of the journal is another volume's",
			position);
	if (get_le16(block + AT_VERSION) != BATCH_VERSION)
		return fail(COP_EUNSUPPORTED, "batch of version %u", get_le16(block + AT_VERSION));
	if (get_le64(block + AT_POSITION) != position)
		return fail(COP_ECHECKSUM,
			"the batch at block %" PRIu64 " of the journal belongs to block %" PRIu64,
			position, get_le64(block + AT_POSITION));
	if (block[AT_ALGORITHM] != 0 || get_le32(block + AT_KEY_ID) != 0)
		return fail(COP_EUNSUPPORTED, "a batch that is compressed or encrypted");
	return 0;
}

int
batch_decode_header(const uint8_t block[static COP_BLOCK_BYTES], const struct journal_owner *owner,
	uint64_t position, uint64_t region_blocks, struct batch_header *out_header)
{
	struct batch_header header = {
		.owner = *owner,
		.flags = get_le16(block + AT_FLAGS),
		.epoch = get_le64(block + AT_EPOCH),
		.sequence = get_le64(block + AT_SEQUENCE),
		.durable = get_le64(block + AT_DURABLE),
		.position = position,
		.previous_epoch = get_le64(block + AT_PREVIOUS_EPOCH),
		.previous_sequence = get_le64(block + AT_PREVIOUS_SEQUENCE),
		.blocks = get_le32(block + AT_BLOCKS),
		.bytes = get_le32(block + AT_BYTES),
		.transactions = get_le32(block + AT_TRANSACTIONS),
		.next_object = get_le64(block + AT_NEXT_OBJECT),
		.next_job = get_le64(block + AT_NEXT_JOB),
		.generation = get_le64(block + AT_GENERATION),
	};
	const char *wrong;
	int err = identity_check(block, owner, position);

	if (err)
		return err;
	wrong = what_is_wrong(&header);
	/* What is written counts up from what was read, and may so go past this. */
	if (!wrong && (header.sequence > SUPERBLOCK_NUMBER_MAX ||
			      header.generation > SUPERBLOCK_NUMBER_MAX ||
			      header.next_object > SUPERBLOCK_NUMBER_MAX ||
			      header.next_job > SUPERBLOCK_NUMBER_MAX))
		wrong = "numbers that nothing counts up to";
	if (!wrong && (position >= region_blocks || header.blocks > region_blocks - position))
		wrong = "past the end of the journal";
	if (!wrong && header.blocks > journal_batch_blocks_max(region_blocks))
		wrong = "longer than any batch";
	if (!wrong && header.flags & BATCH_PAD && header.blocks != region_blocks - position)
		wrong = "a pad that does not reach the end";
	if (!wrong && !bytes_are_zero(block + AT_STORED_BYTES, AT_TAG_END - AT_STORED_BYTES))
		wrong = "neither compressed nor encrypted, yet says how";
	if (wrong)
		return fail(COP_EFORMAT, "batch at block %" PRIu64 " of the journal: %s", position,
			wrong);
	*out_header = header;
	return 0;
}

int
batch_check(const struct batch_header *header, const uint8_t *batch)
{
	size_t bytes = (size_t)header->blocks * COP_BLOCK_BYTES;
	struct reader r = reader_over(batch + BATCH_HEADER_BYTES, header->bytes);
	struct journal_tx tx;

	if (get_le64(batch + AT_WHOLE_CHECKSUM) !=
		checksum64(batch + BATCH_HEADER_BYTES, bytes - BATCH_HEADER_BYTES))
		return fail(COP_ECHECKSUM, "batch %" PRIu64 " at block %" PRIu64 " of the journal",
			header->sequence, header->position);
	for (uint32_t i = 0; i < header->transactions; i++) {
		int err = journal_decode_tx(&r, &tx);

		if (err)
			return fail_in(err, "transaction %" PRIu32 " of batch %" PRIu64, i,
				header->sequence);
	}
	if (!reader_is_done(&r))
		return fail(COP_EFORMAT, "batch %" PRIu64 " goes on after its last transaction",
			header->sequence);
	return 0;
}

/* ---- Encoding transactions ------------------------------------------------------------------- */

size_t
journal_message_bytes(const struct journal_message *message)
{
	return MESSAGE_HEADER_BYTES + message->key.bytes + message->value.bytes +
	       message->from.bytes + message->until.bytes;
}

void
journal_encode_tx(struct writer *w, const struct journal_tx *tx)
{
	assert(tx->bytes >= TX_HEADER_BYTES);
	assert(tx->objects >= -OBJECTS_MAX);
	assert(tx->objects <= OBJECTS_MAX);

	write_le32(w, tx->bytes);
	write_le16(w, tx->messages);
	write_le16(w, tx->taken);
	write_le16(w, tx->released);
	write_le16(w, tx->data);
	write_le64(w, (uint64_t)tx->objects);
}

static bool
run_makes_sense(uint64_t addr, uint32_t blocks)
{
	return addr != 0 && blocks != 0 && blocks <= UINT64_MAX - addr;
}

void
journal_encode_run(struct writer *w, struct run run)
{
	assert(run_makes_sense(run.addr, run.blocks));

	write_le64(w, run.addr);
	write_le32(w, run.blocks);
}

void
journal_encode_data(struct writer *w, uint64_t addr, uint32_t blocks, const uint64_t *checksums)
{
	assert(run_makes_sense(addr, blocks));

	write_le64(w, addr);
	write_le32(w, blocks);
	for (uint32_t i = 0; i < blocks; i++)
		write_le64(w, checksums[i]);
}

void
journal_extend_data(struct writer *w, size_t at, uint32_t blocks, const uint64_t *checksums)
{
	uint32_t before;

	assert(!w->bad);
	assert(at + TX_RUN_BYTES <= w->at);
	before = get_le32(w->data + at + 8);
	assert(run_makes_sense(get_le64(w->data + at), before + blocks));
	put_le32(w->data + at + 8, before + blocks);
	for (uint32_t i = 0; i < blocks; i++)
		write_le64(w, checksums[i]);
}

/* Which trees a message may name. */
static bool
name_makes_sense(enum message_op op, const struct tree_name *name)
{
	switch (name->kind) {
	case TREE_CATALOG:
		return op <= MESSAGE_DELETE && name->branch == 0 && name->object == 0;
	case TREE_OBJECTS:
	case TREE_TAGS:
		return op <= MESSAGE_DELETE && name->object == 0;
	case TREE_CONTENT:
		return op == MESSAGE_STEP || name->object != 0;
	case TREE_DIRECTORY:
		return op == MESSAGE_STEP || (op != MESSAGE_CLONE && name->object != 0);
	case TREE_SHARES: /* it follows from the other trees */
		break;
	}
	return false;
}

static const char *
what_is_wrong_with_data(const struct journal_message *message)
{
	if (message->name.kind != TREE_CONTENT || message->name.object == 0)
		return "data of no object";
	if (message->key.bytes != DATA_KEY_BYTES || message->value.bytes != COP_BLOCK_BYTES)
		return "data of another length than a block";
	if (!run_makes_sense(get_be64(message->key.data), 1))
		return "data at no block";
	if (message->root_at != 0 || message->from.bytes > 0 || message->until.bytes > 0 ||
		message->is_end)
		return "data with a root or a cursor";
	return NULL;
}

static const char *
what_is_wrong_with_clone(const struct journal_message *message)
{
	if (message->key.bytes != CLONE_KEY_BYTES || get_be64(message->key.data) == 0)
		return "clones no object";
	if (message->value.bytes % TX_RUN_BYTES != 0)
		return "a part of a run";
	for (size_t i = 0; i < message->value.bytes / TX_RUN_BYTES; i++) {
		struct run run = journal_clone_run(message->value, i);

		if (!run_makes_sense(run.addr, run.blocks))
			return "a run that makes no sense";
	}
	return NULL;
}

static const char *
what_is_wrong_with_message(const struct journal_message *message)
{
	bool has_root = message->op == MESSAGE_BURY ||
			(message->op == MESSAGE_STEP && message->value.bytes > 0);

	if (message->op == MESSAGE_DATA)
		return what_is_wrong_with_data(message);
	if (message->op < MESSAGE_PUT || message->op > MESSAGE_CLONE)
		return "unknown operation";
	if (!name_makes_sense(message->op, &message->name))
		return "no such tree";
	if (message->key.bytes == 0 || message->key.bytes > TREE_KEY_BYTES_MAX)
		return "length of the key";
	if (message->value.bytes > tree_value_bytes_max(TREE_NODE_BYTES_MAX))
		return "length of the value";
	if (message->op == MESSAGE_DELETE && message->value.bytes > 0)
		return "deletes, yet has a value";
	if (has_root && (message->root_at > message->value.bytes ||
				ROOT_RECORD_BYTES > message->value.bytes - message->root_at))
		return "a root past the end of the value";
	if ((message->op <= MESSAGE_DELETE || message->op == MESSAGE_CLONE) &&
		message->root_at != 0)
		return "a root where there is none";
	if (message->from.bytes > TREE_KEY_BYTES_MAX || message->until.bytes > TREE_KEY_BYTES_MAX)
		return "length of a cursor";
	if (message->op != MESSAGE_STEP &&
		(message->from.bytes > 0 || message->until.bytes > 0 || message->is_end))
		return "a cursor where there is none";
	if (message->is_end && message->until.bytes > 0)
		return "a cursor beside the end";
	if (message->op == MESSAGE_CLONE)
		return what_is_wrong_with_clone(message);
	return NULL;
}

void
journal_encode_message(struct writer *w, const struct journal_message *message)
{
	assert(!what_is_wrong_with_message(message));

	write_u8(w, (uint8_t)message->op);
	write_u8(w, (uint8_t)message->name.kind);
	write_le16(w, (uint16_t)message->key.bytes);
	write_le16(w, (uint16_t)message->value.bytes);
	write_le16(w, (uint16_t)message->root_at);
	write_le64(w, message->name.branch);
	write_le64(w, message->name.object);
	write_le16(w, (uint16_t)message->from.bytes);
	write_le16(w, message->is_end ? STEP_END : (uint16_t)message->until.bytes);
	write_bytes(w, message->key.data, message->key.bytes);
	write_bytes(w, message->value.data, message->value.bytes);
	write_bytes(w, message->from.data, message->from.bytes);
	write_bytes(w, message->until.data, message->until.bytes);
}

/* ---- Decoding transactions ------------------------------------------------------------------- */

/* Parts are looked for, each in its bounds; `r` ends with the transaction. */
static int
parts_find(struct reader *r, struct journal_tx *tx)
{
	uint32_t runs = (uint32_t)tx->taken + tx->released;

	tx->runs = read_bytes(r, (size_t)runs * TX_RUN_BYTES);
	if (!tx->runs)
		return fail(COP_EFORMAT, "%" PRIu32 " runs in %zu bytes", runs, r->bytes);
	for (uint32_t i = 0; i < runs; i++) {
		struct run run = journal_run(tx, i);

		if (!run_makes_sense(run.addr, run.blocks))
			return fail(COP_EFORMAT, "run of %" PRIu32 " blocks at %" PRIu64,
				run.blocks, run.addr);
	}
	tx->first_data = r->data + r->at;
	for (uint32_t i = 0; i < tx->data; i++) {
		struct journal_data data;
		int err = journal_decode_data(r, &data);

		if (err)
			return err;
	}
	tx->first_message = r->data + r->at;
	for (uint32_t i = 0; i < tx->messages; i++) {
		struct journal_message message;
		int err = journal_decode_message(r, &message);

		if (err)
			return fail_in(err, "message %" PRIu32, i);
	}
	tx->end = r->data + r->at;
	if (!reader_is_done(r))
		return fail(COP_EFORMAT, "%zu bytes too many", r->bytes - r->at);
	return 0;
}

int
journal_decode_tx(struct reader *r, struct journal_tx *out_tx)
{
	struct journal_tx tx = { 0 };
	const uint8_t *start = read_bytes(r, TX_HEADER_BYTES);
	struct reader parts;
	int err;

	if (!start)
		return fail(COP_EFORMAT, "transaction: cut short");
	tx.bytes = get_le32(start);
	tx.messages = get_le16(start + TX_AT_MESSAGES);
	tx.taken = get_le16(start + TX_AT_TAKEN);
	tx.released = get_le16(start + TX_AT_RELEASED);
	tx.data = get_le16(start + TX_AT_DATA);
	tx.objects = (int64_t)get_le64(start + TX_AT_OBJECTS);
	if (tx.bytes < TX_HEADER_BYTES || !read_bytes(r, tx.bytes - TX_HEADER_BYTES))
		return fail(COP_EFORMAT, "transaction of %" PRIu32 " bytes", tx.bytes);
	if (tx.objects < -OBJECTS_MAX || tx.objects > OBJECTS_MAX)
		return fail(COP_EFORMAT, "transaction adds %" PRId64 " objects", tx.objects);
	parts = reader_over(start + TX_HEADER_BYTES, tx.bytes - TX_HEADER_BYTES);
	err = parts_find(&parts, &tx);
	if (err)
		return fail_in(err, "transaction of %" PRIu32 " bytes", tx.bytes);
	*out_tx = tx;
	return 0;
}

struct run
journal_run(const struct journal_tx *tx, uint32_t index)
{
	const uint8_t *at = tx->runs + (size_t)index * TX_RUN_BYTES;

	assert(index < (uint32_t)tx->taken + tx->released);
	return (struct run){ .addr = get_le64(at), .blocks = get_le32(at + 8) };
}

struct run
journal_clone_run(struct view value, size_t index)
{
	const uint8_t *at = value.data + index * TX_RUN_BYTES;

	assert((index + 1) * TX_RUN_BYTES <= value.bytes);
	return (struct run){ .addr = get_le64(at), .blocks = get_le32(at + 8) };
}

void
journal_encode_clone_run(struct run run, uint8_t out[static TX_RUN_BYTES])
{
	put_le64(out, run.addr);
	put_le32(out + 8, run.blocks);
}

int
journal_decode_data(struct reader *r, struct journal_data *out_data)
{
	struct journal_data data = { 0 };

	data.addr = read_le64(r);
	data.blocks = read_le32(r);
	if (r->bad)
		return fail(COP_EFORMAT, "data: cut short");
	if (!run_makes_sense(data.addr, data.blocks))
		return fail(COP_EFORMAT, "data of %" PRIu32 " blocks at %" PRIu64, data.blocks,
			data.addr);
	data.checksums = read_bytes(r, (size_t)data.blocks * CHECKSUM_BYTES);
	if (!data.checksums)
		return fail(COP_EFORMAT, "checksums of %" PRIu32 " blocks: cut short", data.blocks);
	*out_data = data;
	return 0;
}

int
journal_decode_message(struct reader *r, struct journal_message *out_message)
{
	struct journal_message message = { 0 };
	uint16_t until_bytes;
	const char *wrong;

	message.op = (enum message_op)read_u8(r);
	message.name.kind = (enum tree_kind)read_u8(r);
	message.key.bytes = read_le16(r);
	message.value.bytes = read_le16(r);
	message.root_at = read_le16(r);
	message.name.branch = read_le64(r);
	message.name.object = read_le64(r);
	message.from.bytes = read_le16(r);
	until_bytes = read_le16(r);
	message.is_end = until_bytes == STEP_END;
	message.until.bytes = message.is_end ? 0 : until_bytes;
	message.key.data = read_bytes(r, message.key.bytes);
	message.value.data = read_bytes(r, message.value.bytes);
	message.from.data = read_bytes(r, message.from.bytes);
	message.until.data = read_bytes(r, message.until.bytes);
	if (r->bad)
		return fail(COP_EFORMAT, "message: cut short");
	wrong = what_is_wrong_with_message(&message);
	if (wrong)
		return fail(COP_EFORMAT, "message: %s", wrong);
	*out_message = message;
	return 0;
}
