#include "volume/journal_format.h"

#include "base/checksum.h"
#include "volume/superblock_format.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { REGION_BLOCKS = 64, BATCH_BYTES_MAX = 8 * COP_BLOCK_BYTES };

static const struct journal_owner owner = {
	.uuid = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 },
	.seed = 0x5eed,
};

static struct batch_header
sample_header(void)
{
	struct batch_header header = {
		.owner = owner,
		.epoch = 0x1122334455667788,
		.sequence = 0x0102030405060708,
		.durable = 0x0102030405060706,
		.position = 7,
		.blocks = 1,
		.next_object = 0x99,
		.next_job = 0x77,
		.generation = 0x0a0b0c0d,
	};

	return header;
}

static const uint64_t checksums[3] = { 0x1111, 0x2222, 0x3333 };

static const struct journal_message put = {
	.op = MESSAGE_PUT,
	.name = { .branch = 1, .kind = TREE_OBJECTS },
	.key = { .data = (const uint8_t *)"key", .bytes = 3 },
	.value = { .data = (const uint8_t *)"value", .bytes = 5 },
};

static const struct journal_message erase = {
	.op = MESSAGE_DELETE,
	.name = { .branch = 1, .object = 20, .kind = TREE_DIRECTORY },
	.key = { .data = (const uint8_t *)"name", .bytes = 4 },
};

static const uint8_t job[64] = { 1, 2, 3 };

static const struct journal_message bury = {
	.op = MESSAGE_BURY,
	.name = { .branch = 1, .object = 21, .kind = TREE_CONTENT },
	.key = { .data = (const uint8_t *)"job", .bytes = 3 },
	.value = { .data = job, .bytes = sizeof job },
	.root_at = 24,
};

static const struct journal_message step = {
	.op = MESSAGE_STEP,
	.name = { .branch = 1, .object = 21, .kind = TREE_CONTENT },
	.key = { .data = (const uint8_t *)"job", .bytes = 3 },
	.value = { .data = job, .bytes = sizeof job },
	.root_at = 8,
	.from = { .data = (const uint8_t *)"from", .bytes = 4 },
	.until = { .data = (const uint8_t *)"until", .bytes = 5 },
};

static const struct journal_message last_step = {
	.op = MESSAGE_STEP,
	.name = { .branch = 1, .object = 21, .kind = TREE_CONTENT },
	.key = { .data = (const uint8_t *)"job", .bytes = 3 },
	.from = { .data = (const uint8_t *)"until", .bytes = 5 },
	.is_end = true,
};

static const struct journal_message clone_runs = {
	.op = MESSAGE_CLONE,
	.name = { .branch = 1, .object = 22, .kind = TREE_CONTENT },
	.key = { .data = (const uint8_t *)"\0\0\0\0\0\0\0\x15", .bytes = 8 },
	.value = { .data = (const uint8_t *)"\x70\0\0\0\0\0\0\0\3\0\0\0"
					    "\x90\0\0\0\0\0\0\0\1\0\0\0",
		.bytes = 24 },
};

static const struct journal_message clone_tree = {
	.op = MESSAGE_CLONE,
	.name = { .branch = 1, .object = 22, .kind = TREE_CONTENT },
	.key = { .data = (const uint8_t *)"\0\0\0\0\0\0\0\x15", .bytes = 8 },
};

static const struct journal_message *const messages[] = { &put, &erase, &bury, &step, &last_step,
	&clone_runs, &clone_tree };
enum { MESSAGES = sizeof messages / sizeof messages[0] };

/* A transaction with one of everything; its bytes. */
static uint32_t
encode_sample_tx(uint8_t *out, size_t capacity)
{
	struct journal_tx tx = {
		.messages = MESSAGES, .taken = 2, .released = 1, .data = 2, .objects = -3
	};
	struct writer w = writer_over(out, capacity);

	tx.bytes = TX_HEADER_BYTES + 3 * TX_RUN_BYTES + 2 * 12 + 4 * 8;
	for (size_t i = 0; i < MESSAGES; i++)
		tx.bytes += (uint32_t)journal_message_bytes(messages[i]);
	journal_encode_tx(&w, &tx);
	journal_encode_run(&w, (struct run){ 100, 1 });
	journal_encode_run(&w, (struct run){ 200, 3 });
	journal_encode_run(&w, (struct run){ 300, 7 });
	journal_encode_data(&w, 100, 1, checksums);
	journal_encode_data(&w, 200, 3, checksums);
	for (size_t i = 0; i < MESSAGES; i++)
		journal_encode_message(&w, messages[i]);
	assert_false(w.bad);
	assert_int_equal(w.at, tx.bytes);
	return tx.bytes;
}

/* A batch of `count` sample transactions. */
static struct batch_header
encode_sample(uint8_t batch[static BATCH_BYTES_MAX], uint32_t count)
{
	struct batch_header header = sample_header();
	uint8_t *at = batch + BATCH_HEADER_BYTES;

	memset(batch, 0xee, BATCH_BYTES_MAX);
	for (uint32_t i = 0; i < count; i++)
		header.bytes += encode_sample_tx(
			at + header.bytes, BATCH_BYTES_MAX - BATCH_HEADER_BYTES - header.bytes);
	header.transactions = count;
	header.blocks = batch_blocks(header.bytes);
	batch_encode(&header, batch);
	return header;
}

static int
decode(const uint8_t *batch, struct batch_header *out_header)
{
	int err = batch_decode_header(batch, &owner, 7, REGION_BLOCKS, out_header);

	return err ? err : batch_check(out_header, batch);
}

/* ---- Batches --------------------------------------------------------------------------------- */

/* The bytes are the contract: this fails when a field moves, grows or changes its byte order. */
static void
encodes_to_the_documented_bytes(void **state)
{
	static const uint8_t fields[BATCH_HEADER_BYTES - 8] =
		"copj"
		"\1\0"
		"\1\0"
		"\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20"
		"\x88\x77\x66\x55\x44\x33\x22\x11"
		"\x08\x07\x06\x05\x04\x03\x02\x01"
		"\x06\x07\x06\x05\x04\x03\x02\x01"
		"\7\0\0\0\0\0\0\0"
		"\x0d\xf0\0\0\0\0\0\0"
		"\x05\x07\x06\x05\x04\x03\x02\x01"
		"\1\0\0\0"
		"\0\0\0\0"
		"\0\0\0\0"
		"\0\0\0\0"
		"\x99\0\0\0\0\0\0\0"
		"\x77\0\0\0\0\0\0\0";
	uint8_t batch[COP_BLOCK_BYTES];
	uint8_t rest[COP_BLOCK_BYTES - 120] = { 0 };
	struct batch_header header = sample_header();

	(void)state;
	header.flags = BATCH_OPENING;
	header.previous_epoch = 0xf00d;
	header.previous_sequence = header.sequence - 3;
	put_le64(rest + 176 - 120, header.generation);
	batch_encode(&header, batch);
	assert_memory_equal(batch + 8, fields, 112 - 8);
	assert_memory_equal(batch + 120, rest, sizeof rest);
	assert_true(get_le64(batch) == hash64(batch + 8, BATCH_HEADER_BYTES - 8, 0x5eed));
	assert_true(get_le64(batch + 112) ==
		    checksum64(batch + BATCH_HEADER_BYTES, sizeof batch - BATCH_HEADER_BYTES));
}

static void
gives_back_what_was_encoded(void **state)
{
	static uint8_t batch[BATCH_BYTES_MAX];
	struct batch_header in = encode_sample(batch, 12);
	struct batch_header out;

	(void)state;
	assert_true(in.blocks > 1);
	assert_int_equal(decode(batch, &out), 0);
	assert_memory_equal(&out.owner, &owner, sizeof owner);
	assert_true(out.epoch == in.epoch);
	assert_true(out.sequence == in.sequence);
	assert_true(out.durable == in.durable);
	assert_true(out.position == in.position);
	assert_int_equal(out.blocks, in.blocks);
	assert_int_equal(out.bytes, in.bytes);
	assert_int_equal(out.transactions, 12);
	assert_true(out.next_object == in.next_object);
	assert_true(out.next_job == in.next_job);
	assert_true(out.generation == in.generation);
	assert_int_equal(out.flags, 0);
}

static void
refuses_every_flipped_bit(void **state)
{
	static uint8_t batch[BATCH_BYTES_MAX];
	struct batch_header in = encode_sample(batch, 1);
	struct batch_header out;

	(void)state;
	assert_int_equal(in.blocks, 1);
	for (uint32_t bit = 0; bit < 8 * COP_BLOCK_BYTES; bit++) {
		batch[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(decode(batch, &out), COP_ECHECKSUM);
		batch[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(decode(batch, &out), 0);
}

static void
refuses_a_batch_with_any_sector_missing(void **state)
{
	static uint8_t batch[BATCH_BYTES_MAX];
	static uint8_t torn[BATCH_BYTES_MAX];
	struct batch_header in = encode_sample(batch, 30);
	struct batch_header out;
	size_t used = BATCH_HEADER_BYTES + in.bytes;

	(void)state;
	assert_true(in.blocks > 2);
	for (size_t at = 0; at < used; at += 512) {
		memcpy(torn, batch, sizeof torn);
		memset(torn + at, 0x55, 512);
		assert_int_equal(decode(torn, &out), COP_ECHECKSUM);
	}
}

/* The header with one field changed, and its checksum made right again. */
static int
decode_with(size_t at, size_t bytes, uint64_t value)
{
	static uint8_t batch[BATCH_BYTES_MAX];
	struct batch_header out;
	uint8_t field[8];

	(void)encode_sample(batch, 1);
	put_le64(field, value);
	memcpy(batch + at, field, bytes);
	put_le64(batch, hash64(batch + 8, BATCH_HEADER_BYTES - 8, owner.seed));
	return decode(batch, &out);
}

static void
refuses_what_is_not_of_this_volume_or_place(void **state)
{
	static uint8_t batch[BATCH_BYTES_MAX];
	struct journal_owner other = owner;
	struct batch_header out;

	(void)state;
	(void)encode_sample(batch, 1);
	other.uuid[0] ^= 1;
	assert_int_equal(batch_decode_header(batch, &other, 7, REGION_BLOCKS, &out), COP_ECHECKSUM);
	other.uuid[0] ^= 1;
	assert_int_equal(batch_decode_header(batch, &other, 7, REGION_BLOCKS, &out), 0);
	other.seed++; /* as somebody makes it who knows the UUID */
	assert_int_equal(batch_decode_header(batch, &other, 7, REGION_BLOCKS, &out), COP_ECHECKSUM);
	assert_int_equal(batch_decode_header(batch, &owner, 8, REGION_BLOCKS, &out), COP_ECHECKSUM);
	assert_int_equal(decode_with(56, 8, 8), COP_ECHECKSUM); /* position */
	assert_true(batch_may_begin(batch));
	batch[8] = 'x';
	assert_false(batch_may_begin(batch));
}

static void
refuses_fields_that_make_no_sense(void **state)
{
	uint64_t sequence = sample_header().sequence;

	(void)state;
	assert_int_equal(decode_with(12, 2, 1), 0); /* as it is: the others fail for their reason */
	assert_int_equal(decode_with(12, 2, 2), COP_EUNSUPPORTED);      /* version */
	assert_int_equal(decode_with(120, 1, 1), COP_EUNSUPPORTED);     /* algorithm */
	assert_int_equal(decode_with(128, 4, 1), COP_EUNSUPPORTED);     /* key_id */
	assert_int_equal(decode_with(14, 2, 8), COP_EFORMAT);           /* flags */
	assert_int_equal(decode_with(14, 2, BATCH_MARK), COP_EFORMAT);  /* has transactions */
	assert_int_equal(decode_with(14, 2, BATCH_PAD), COP_EFORMAT);   /* likewise */
	assert_int_equal(decode_with(32, 8, 0), COP_EFORMAT);           /* epoch */
	assert_int_equal(decode_with(40, 8, 0), COP_EFORMAT);           /* sequence */
	assert_int_equal(decode_with(40, 8, UINT64_MAX), COP_EFORMAT);  /* could wrap around */
	assert_int_equal(decode_with(48, 8, sequence), COP_EFORMAT);    /* durable */
	assert_int_equal(decode_with(64, 8, 1), COP_EFORMAT);           /* opens nothing */
	assert_int_equal(decode_with(72, 8, 1), COP_EFORMAT);           /* likewise */
	assert_int_equal(decode_with(80, 4, 0), COP_EFORMAT);           /* blocks */
	assert_int_equal(decode_with(80, 4, 2), COP_EFORMAT);           /* too many for bytes */
	assert_int_equal(decode_with(80, 4, UINT32_MAX), COP_EFORMAT);  /* past the end */
	assert_int_equal(decode_with(84, 4, UINT32_MAX), COP_EFORMAT);  /* bytes */
	assert_int_equal(decode_with(88, 4, UINT32_MAX), COP_EFORMAT);  /* transactions */
	assert_int_equal(decode_with(88, 4, 0), COP_EFORMAT);           /* bytes too many */
	assert_int_equal(decode_with(96, 8, UINT64_MAX), COP_EFORMAT);  /* next_object */
	assert_int_equal(decode_with(104, 8, UINT64_MAX), COP_EFORMAT); /* next_job */
	assert_int_equal(decode_with(176, 8, UINT64_MAX), COP_EFORMAT); /* generation */
	assert_int_equal(decode_with(124, 4, 1), COP_EFORMAT);          /* stored_bytes */
	assert_int_equal(decode_with(132, 8, 1), COP_EFORMAT);          /* nonce */
	assert_int_equal(decode_with(164, 8, (uint64_t)1 << 63), COP_EFORMAT); /* tag */
}

static int
decode_at(const struct batch_header *header, uint64_t region_blocks)
{
	static uint8_t batch[REGION_BLOCKS * COP_BLOCK_BYTES];
	struct batch_header out;

	batch_encode(header, batch);
	return batch_decode_header(batch, &owner, header->position, region_blocks, &out);
}

static void
accepts_pads_that_reach_the_end_alone(void **state)
{
	struct batch_header header = sample_header();

	(void)state;
	header.flags = BATCH_PAD;
	header.position = REGION_BLOCKS - 5;
	header.blocks = 5;
	assert_int_equal(decode_at(&header, REGION_BLOCKS), 0);
	header.flags |= BATCH_OPENING;
	assert_int_equal(decode_at(&header, REGION_BLOCKS), 0);
	assert_int_equal(decode_at(&header, REGION_BLOCKS + 1), COP_EFORMAT);
	header.blocks = 6; /* crosses the end */
	assert_int_equal(decode_at(&header, REGION_BLOCKS), COP_EFORMAT);
	header.position = REGION_BLOCKS - 9; /* longer than any batch of such a region */
	header.blocks = 9;
	assert_int_equal(decode_at(&header, REGION_BLOCKS), COP_EFORMAT);
	assert_int_equal(decode_at(&header, REGION_BLOCKS * 2), COP_EFORMAT);
}

static void
knows_the_longest_batch(void **state)
{
	(void)state;
	assert_int_equal(journal_batch_blocks_max(1), 1);
	assert_int_equal(journal_batch_blocks_max(64), 8);
	assert_int_equal(journal_batch_blocks_max(2048), 256);
	assert_int_equal(journal_batch_blocks_max(16384), 256);
	assert_int_equal(batch_blocks(0), 1);
	assert_int_equal(batch_blocks(COP_BLOCK_BYTES - BATCH_HEADER_BYTES), 1);
	assert_int_equal(batch_blocks(COP_BLOCK_BYTES - BATCH_HEADER_BYTES + 1), 2);
}

/* ---- Transactions ---------------------------------------------------------------------------- */

static void
assert_messages_equal(const struct journal_message *a, const struct journal_message *b)
{
	assert_int_equal(a->op, b->op);
	assert_int_equal(a->name.kind, b->name.kind);
	assert_true(a->name.branch == b->name.branch);
	assert_true(a->name.object == b->name.object);
	assert_true(view_equal(a->key, b->key));
	assert_true(view_equal(a->value, b->value));
	assert_int_equal(a->root_at, b->root_at);
	assert_true(view_equal(a->from, b->from));
	assert_true(view_equal(a->until, b->until));
	assert_true(a->is_end == b->is_end);
}

static void
gives_back_a_transaction(void **state)
{
	uint8_t bytes[1024];
	uint32_t count = encode_sample_tx(bytes, sizeof bytes);
	struct reader r = reader_over(bytes, count);
	struct journal_data data;
	struct journal_tx tx;

	(void)state;
	assert_int_equal(journal_decode_tx(&r, &tx), 0);
	assert_true(reader_is_done(&r));
	assert_int_equal(tx.bytes, count);
	assert_int_equal(tx.taken, 2);
	assert_int_equal(tx.released, 1);
	assert_true(tx.objects == -3);
	assert_true(journal_run(&tx, 0).addr == 100);
	assert_true(journal_run(&tx, 1).addr == 200);
	assert_int_equal(journal_run(&tx, 1).blocks, 3);
	assert_true(journal_run(&tx, tx.taken).addr == 300);

	r = reader_over(tx.first_data, (size_t)(tx.first_message - tx.first_data));
	assert_int_equal(tx.data, 2);
	assert_int_equal(journal_decode_data(&r, &data), 0);
	assert_int_equal(journal_decode_data(&r, &data), 0);
	assert_true(reader_is_done(&r));
	assert_true(data.addr == 200);
	assert_int_equal(data.blocks, 3);
	assert_true(get_le64(data.checksums + 16) == checksums[2]);

	r = reader_over(tx.first_message, (size_t)(tx.end - tx.first_message));
	assert_int_equal(tx.messages, MESSAGES);
	for (size_t i = 0; i < MESSAGES; i++) {
		struct journal_message message;

		assert_int_equal(journal_decode_message(&r, &message), 0);
		assert_messages_equal(&message, messages[i]);
	}
	assert_true(reader_is_done(&r));
	assert_ptr_equal(tx.end, bytes + count);
}

static void
refuses_every_truncation(void **state)
{
	uint8_t bytes[1024];
	uint32_t count = encode_sample_tx(bytes, sizeof bytes);
	struct journal_tx tx;

	(void)state;
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *exact = test_malloc(i + 1);
		struct reader r = reader_over(exact, i);

		memcpy(exact, bytes, i);
		assert_int_equal(journal_decode_tx(&r, &tx), COP_EFORMAT);
		if (i >= TX_HEADER_BYTES) {
			put_le32(exact, i); /* cut short inside, too */
			r = reader_over(exact, i);
			assert_int_equal(journal_decode_tx(&r, &tx), COP_EFORMAT);
		}
		test_free(exact);
	}
}

/* The sample transaction with one field changed. */
static int
decode_tx_with(size_t at, size_t bytes, uint64_t value)
{
	uint8_t tx_bytes[1024];
	uint32_t count = encode_sample_tx(tx_bytes, sizeof tx_bytes);
	struct reader r = reader_over(tx_bytes, count);
	struct journal_tx tx;
	uint8_t field[8];

	put_le64(field, value);
	memcpy(tx_bytes + at, field, bytes);
	return journal_decode_tx(&r, &tx);
}

enum {
	AT_RUNS = TX_HEADER_BYTES,
	AT_DATA = AT_RUNS + 3 * TX_RUN_BYTES,
	AT_FIRST = AT_DATA + 2 * 12 + 4 * 8, /* put, then delete, bury, step, step */
	AT_DELETE = AT_FIRST + MESSAGE_HEADER_BYTES + 8,
	AT_BURY = AT_DELETE + MESSAGE_HEADER_BYTES + 4,
	AT_STEP = AT_BURY + MESSAGE_HEADER_BYTES + 3 + 64,
	AT_LAST = AT_STEP + MESSAGE_HEADER_BYTES + 3 + 64 + 9,
	AT_CLONE = AT_LAST + MESSAGE_HEADER_BYTES + 3 + 5,
};

static void
refuses_transactions_that_make_no_sense(void **state)
{
	(void)state;
	assert_int_equal(decode_tx_with(AT_RUNS, 8, 100), 0); /* as it is */
	assert_int_equal(decode_tx_with(0, 4, 0), COP_EFORMAT);
	assert_int_equal(decode_tx_with(0, 4, UINT32_MAX), COP_EFORMAT);
	assert_int_equal(decode_tx_with(4, 2, MESSAGES - 1), COP_EFORMAT);
	assert_int_equal(decode_tx_with(4, 2, MESSAGES + 1), COP_EFORMAT);
	assert_int_equal(decode_tx_with(6, 2, UINT16_MAX), COP_EFORMAT);
	assert_int_equal(decode_tx_with(8, 2, UINT16_MAX), COP_EFORMAT);
	assert_int_equal(decode_tx_with(10, 2, UINT16_MAX), COP_EFORMAT);
	assert_int_equal(decode_tx_with(12, 8, (uint64_t)1 << 63), COP_EFORMAT);
	assert_int_equal(decode_tx_with(AT_RUNS, 8, 0), COP_EFORMAT);
	assert_int_equal(decode_tx_with(AT_RUNS, 8, UINT64_MAX), COP_EFORMAT);
	assert_int_equal(decode_tx_with(AT_RUNS + 8, 4, 0), COP_EFORMAT);
	assert_int_equal(decode_tx_with(AT_DATA, 8, 0), COP_EFORMAT);
	assert_int_equal(decode_tx_with(AT_DATA, 8, UINT64_MAX), COP_EFORMAT);
	assert_int_equal(decode_tx_with(AT_DATA + 8, 4, 0), COP_EFORMAT);
	assert_int_equal(decode_tx_with(AT_DATA + 8, 4, UINT32_MAX), COP_EFORMAT);
}

static void
refuses_messages_that_make_no_sense(void **state)
{
	(void)state;
	assert_int_equal(decode_tx_with(AT_FIRST, 1, MESSAGE_PUT), 0); /* as it is */
	assert_int_equal(decode_tx_with(AT_FIRST, 1, 0), COP_EFORMAT);
	assert_int_equal(decode_tx_with(AT_FIRST, 1, 6), COP_EFORMAT);
	assert_int_equal(decode_tx_with(AT_FIRST, 1, MESSAGE_BURY), COP_EFORMAT);
	assert_int_equal(decode_tx_with(AT_FIRST + 1, 1, 0), COP_EFORMAT);
	assert_int_equal(decode_tx_with(AT_FIRST + 1, 1, 7), COP_EFORMAT);
	assert_int_equal(decode_tx_with(AT_FIRST + 1, 1, TREE_SHARES), COP_EFORMAT);
	assert_int_equal(decode_tx_with(AT_FIRST + 1, 1, TREE_CATALOG), COP_EFORMAT);
	assert_int_equal(decode_tx_with(AT_FIRST + 1, 1, TREE_CONTENT), COP_EFORMAT);
	assert_int_equal(decode_tx_with(AT_FIRST + 16, 8, 1), COP_EFORMAT); /* object */
	assert_int_equal(decode_tx_with(AT_FIRST + 2, 2, 0), COP_EFORMAT);  /* key */
	assert_int_equal(decode_tx_with(AT_FIRST + 2, 2, 513), COP_EFORMAT);
	assert_int_equal(decode_tx_with(AT_FIRST + 4, 2, UINT16_MAX), COP_EFORMAT);
	assert_int_equal(decode_tx_with(AT_FIRST + 6, 2, 1), COP_EFORMAT);  /* root_at */
	assert_int_equal(decode_tx_with(AT_FIRST + 24, 2, 1), COP_EFORMAT); /* from */
	assert_int_equal(decode_tx_with(AT_FIRST + 26, 2, STEP_END), COP_EFORMAT);

	assert_int_equal(decode_tx_with(AT_DELETE, 1, MESSAGE_DELETE), 0);
	assert_int_equal(decode_tx_with(AT_DELETE + 4, 2, 1), COP_EFORMAT); /* value */
	assert_int_equal(decode_tx_with(AT_DELETE + 16, 8, 0), COP_EFORMAT);

	assert_int_equal(decode_tx_with(AT_BURY, 1, MESSAGE_BURY), 0);
	assert_int_equal(decode_tx_with(AT_BURY + 6, 2, 64 - ROOT_RECORD_BYTES + 1), COP_EFORMAT);
	assert_int_equal(decode_tx_with(AT_BURY + 1, 1, TREE_OBJECTS), COP_EFORMAT);

	assert_int_equal(decode_tx_with(AT_STEP, 1, MESSAGE_STEP), 0);
	assert_int_equal(decode_tx_with(AT_STEP + 6, 2, UINT16_MAX), COP_EFORMAT);
	assert_int_equal(decode_tx_with(AT_STEP + 1, 1, TREE_CATALOG), COP_EFORMAT);
	assert_int_equal(decode_tx_with(AT_STEP + 24, 2, 513), COP_EFORMAT);
	assert_int_equal(decode_tx_with(AT_STEP + 26, 2, STEP_END - 1), COP_EFORMAT);
	assert_int_equal(decode_tx_with(AT_LAST, 1, MESSAGE_STEP), 0);

	assert_int_equal(decode_tx_with(AT_CLONE, 1, MESSAGE_CLONE), 0);
	assert_int_equal(decode_tx_with(AT_CLONE + 1, 1, TREE_DIRECTORY), COP_EFORMAT);
	assert_int_equal(decode_tx_with(AT_CLONE + 6, 2, 1), COP_EFORMAT);  /* root_at */
	assert_int_equal(decode_tx_with(AT_CLONE + 16, 8, 0), COP_EFORMAT); /* target */
	assert_int_equal(decode_tx_with(AT_CLONE + 24, 2, 1), COP_EFORMAT); /* from */
	assert_int_equal(decode_tx_with(AT_CLONE + 28, 8, 0), COP_EFORMAT); /* source */
	assert_int_equal(decode_tx_with(AT_CLONE + 36, 8, 0), COP_EFORMAT); /* run */
	assert_int_equal(decode_tx_with(AT_CLONE + 44, 4, 0), COP_EFORMAT);
	assert_int_equal(journal_clone_run(clone_runs.value, 1).addr, 0x90);
	assert_int_equal(journal_clone_run(clone_runs.value, 0).blocks, 3);
}

/* As if it had been one piece from the beginning; only the last one can grow. */
static void
a_piece_of_data_goes_on(void **state)
{
	static const uint64_t sums[4] = { 1, 2, 3, 4 };
	uint8_t whole[256];
	uint8_t grown[256];
	struct writer w = writer_over(whole, sizeof whole);
	struct writer g = writer_over(grown, sizeof grown);
	size_t at;

	(void)state;
	journal_encode_data(&w, 100, 1, sums);
	journal_encode_data(&w, 200, 4, sums);
	journal_encode_data(&g, 100, 1, sums);
	at = g.at;
	journal_encode_data(&g, 200, 1, sums);
	journal_extend_data(&g, at, 2, sums + 1);
	journal_extend_data(&g, at, 1, sums + 3);
	assert_false(g.bad);
	assert_int_equal(g.at, w.at);
	assert_memory_equal(grown, whole, w.at);

	g = writer_over(grown, g.at + 7);
	g.at = w.at;
	journal_extend_data(&g, at, 1, sums);
	assert_true(g.bad);
}

/* A block that rides in the journal. */
static void
carries_a_block_of_data(void **state)
{
	static uint8_t block[COP_BLOCK_BYTES] = { 1, 2, 3 };
	static const uint8_t key[DATA_KEY_BYTES] = { 0, 0, 0, 0, 0, 0, 0, 9 };
	static const struct {
		size_t at;
		uint8_t byte;
	} wrong[] = {
		{ 1, TREE_DIRECTORY },           /* kind */
		{ 2, 7 },                        /* key_bytes */
		{ 5, 8 },                        /* value_bytes */
		{ 6, 1 },                        /* root_at */
		{ 16, 0 },                       /* object */
		{ 24, 1 },                       /* from_bytes */
		{ 26, 1 },                       /* until_bytes */
		{ MESSAGE_HEADER_BYTES + 7, 0 }, /* address */
	};
	const struct journal_message data = {
		.op = MESSAGE_DATA,
		.name = { .branch = 1, .object = 21, .kind = TREE_CONTENT },
		.key = { .data = key, .bytes = sizeof key },
		.value = { .data = block, .bytes = sizeof block },
	};
	uint8_t bytes[MESSAGE_HEADER_BYTES + DATA_KEY_BYTES + COP_BLOCK_BYTES];
	struct writer w = writer_over(bytes, sizeof bytes);
	struct journal_message found;
	struct reader r;

	(void)state;
	journal_encode_message(&w, &data);
	assert_false(w.bad);
	assert_int_equal(w.at, sizeof bytes);
	r = reader_over(bytes, sizeof bytes);
	assert_int_equal(journal_decode_message(&r, &found), 0);
	assert_int_equal(found.op, MESSAGE_DATA);
	assert_int_equal(found.name.object, 21);
	assert_int_equal(get_be64(found.key.data), 9);
	assert_memory_equal(found.value.data, block, sizeof block);
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		uint8_t before = bytes[wrong[i].at];

		bytes[wrong[i].at] = wrong[i].byte;
		r = reader_over(bytes, sizeof bytes);
		assert_int_equal(journal_decode_message(&r, &found), COP_EFORMAT);
		bytes[wrong[i].at] = before;
	}
}

static void
turns_bad_without_room(void **state)
{
	uint8_t bytes[64];
	struct writer w = writer_over(bytes, journal_message_bytes(&put) - 1);

	(void)state;
	journal_encode_message(&w, &put);
	assert_true(w.bad);
	w = writer_over(bytes, journal_message_bytes(&put));
	journal_encode_message(&w, &put);
	assert_false(w.bad);
}

static void
keeps_what_an_opening_batch_is_written_over(void **state)
{
	uint8_t block[COP_BLOCK_BYTES];
	struct batch_header header = sample_header();
	struct batch_header found;

	(void)state;
	header.flags = BATCH_OPENING;
	header.previous_epoch = 4;
	header.previous_sequence = header.sequence - 2;
	memset(block, 0x5a, sizeof block);
	batch_encode_over(&header, block);
	for (size_t i = BATCH_SECTOR_BYTES; i < COP_BLOCK_BYTES; i++)
		assert_int_equal(block[i], 0x5a);
	assert_int_equal(
		batch_decode_header(block, &owner, header.position, REGION_BLOCKS, &found), 0);
	assert_int_equal(batch_check(&found, block), 0);
	assert_int_equal(found.sequence, header.sequence);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encodes_to_the_documented_bytes),
		cmocka_unit_test(gives_back_what_was_encoded),
		cmocka_unit_test(refuses_every_flipped_bit),
		cmocka_unit_test(refuses_a_batch_with_any_sector_missing),
		cmocka_unit_test(refuses_what_is_not_of_this_volume_or_place),
		cmocka_unit_test(refuses_fields_that_make_no_sense),
		cmocka_unit_test(accepts_pads_that_reach_the_end_alone),
		cmocka_unit_test(knows_the_longest_batch),
		cmocka_unit_test(keeps_what_an_opening_batch_is_written_over),
		cmocka_unit_test(gives_back_a_transaction),
		cmocka_unit_test(refuses_every_truncation),
		cmocka_unit_test(refuses_transactions_that_make_no_sense),
		cmocka_unit_test(refuses_messages_that_make_no_sense),
		cmocka_unit_test(a_piece_of_data_goes_on),
		cmocka_unit_test(carries_a_block_of_data),
		cmocka_unit_test(turns_bad_without_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
