/*
 * A journal after a crash: what the scan finds in a region, and everything that it believes.
 *
 * An input begins with where the superblocks say that the chains begin, then come pieces: a block
 * of the region, a length, and bytes, which are copied there. What identifies a batch, and its
 * checksums, are set right in each piece, unless it says that it is raw; so a later piece can tear
 * an earlier one. The region keeps nothing between inputs.
 */

#include "fuzz/fuzz.h"

#include "base/checksum.h"
#include "base/num.h"
#include "device/device.h"
#include "volume/journal_scan.h"

#include <assert.h>
#include <stdlib.h>

enum {
	REGION_AT = 8,
	REGION_BLOCKS = 64,
	DEVICE_BLOCKS = 128,
	DATA_AT = REGION_AT + REGION_BLOCKS,
	PLACES_BYTES = 6,
	PIECE_BYTES = 3, /* before its bytes: block and flag, length */
	PIECE_RAW = 0x80,

	AT_MAGIC = 8,
	AT_VERSION = 12,
	AT_UUID = 16,
	AT_POSITION = 56,
	AT_BLOCKS = 80,
	AT_WHOLE_CHECKSUM = 112,
};

static const struct journal_region region = {
	.addr = REGION_AT,
	.blocks = REGION_BLOCKS,
	.owner.uuid = "fuzz the journal",
};

static struct device *dev;
static uint8_t *image; /* of the region */
static uint8_t copy[REGION_BLOCKS / 8 * BLOCK_BYTES];

static void
end(void)
{
	device_close(dev);
	free(image);
}

static void
begin(void)
{
	struct device_options options = { 0 };

	image = block_buffer_alloc(REGION_BLOCKS);
	if (!image || device_open("mem:512K", &options, &dev) != 0)
		abort();
	atexit(end);
	assert(device_blocks(dev) == DEVICE_BLOCKS);
}

/* ---- Making a region ------------------------------------------------------------------------- */

/* Makes the block begin a batch of this volume and place, whole if its length makes sense. */
static void
set_right(uint64_t position)
{
	uint8_t *batch = image + position * BLOCK_BYTES;
	uint32_t blocks = get_le32(batch + AT_BLOCKS);

	memcpy(batch + AT_MAGIC, "copj", 4);
	put_le16(batch + AT_VERSION, BATCH_VERSION);
	memcpy(batch + AT_UUID, region.owner.uuid, sizeof region.owner.uuid);
	put_le64(batch + AT_POSITION, position);
	if (blocks > 0 && blocks <= REGION_BLOCKS - position)
		put_le64(batch + AT_WHOLE_CHECKSUM,
			checksum64(batch + BATCH_HEADER_BYTES,
				(size_t)blocks * BLOCK_BYTES - BATCH_HEADER_BYTES));
	put_le64(batch, checksum64(batch + AT_MAGIC, BATCH_HEADER_BYTES - AT_MAGIC));
}

static void
make_region(struct reader *r)
{
	memset(image, 0, (size_t)REGION_BLOCKS * BLOCK_BYTES);
	while (r->bytes - r->at > PIECE_BYTES) {
		uint8_t where = read_u8(r);
		uint64_t position = (where & ~PIECE_RAW) % REGION_BLOCKS;
		size_t room = (REGION_BLOCKS - position) * BLOCK_BYTES;
		size_t wanted = read_le16(r);
		size_t bytes = min_u64(wanted, r->bytes - r->at);

		memcpy(image + position * BLOCK_BYTES, read_bytes(r, bytes), min_u64(bytes, room));
		if (!(where & PIECE_RAW))
			set_right(position);
	}
	if (device_write(dev, REGION_AT, image, REGION_BLOCKS) != 0)
		abort();
}

static struct journal_place
read_place(struct reader *r)
{
	return (struct journal_place){
		.position = read_u8(r) % (REGION_BLOCKS + 2),
		.sequence = read_u8(r),
		.epoch = read_u8(r),
	};
}

/* ---- Using what was found -------------------------------------------------------------------- */

static void
use_messages(const struct journal_tx *tx)
{
	struct reader r = reader_over(tx->first_message, (size_t)(tx->end - tx->first_message));

	for (uint32_t i = 0; i < tx->messages; i++) {
		const uint8_t *at = r.data + r.at;
		struct journal_message message;
		uint8_t *again;
		struct writer w;
		size_t bytes;

		assert(journal_decode_message(&r, &message) == 0);
		bytes = journal_message_bytes(&message);
		again = malloc(bytes);
		if (!again)
			abort();
		w = writer_over(again, bytes);
		journal_encode_message(&w, &message);
		assert(!w.bad);
		assert(w.at == bytes);
		assert(memcmp(at, again, bytes) == 0);
		free(again);
	}
	assert(reader_is_done(&r));
}

/* No batch of such a region is longer than `copy`. */
static void
use_transaction(const struct journal_tx *tx)
{
	struct reader r = reader_over(tx->first_data, (size_t)(tx->first_message - tx->first_data));
	for (uint32_t i = 0; i < (uint32_t)tx->taken + tx->released; i++)
		assert(journal_run(tx, i).blocks > 0);
	for (uint32_t i = 0; i < tx->data; i++) {
		struct journal_data data;

		assert(journal_decode_data(&r, &data) == 0);
		memcpy(copy, data.checksums, 8 * (size_t)data.blocks); /* every byte is there */
	}
	assert(reader_is_done(&r));
	use_messages(tx);
}

static void
use_batch(const struct journal_batch *batch)
{
	uint8_t *buffer = block_buffer_alloc(batch->blocks);
	struct batch_header header;
	struct reader r;

	if (!buffer)
		abort();
	assert(journal_read_batch(dev, &region, batch, buffer) == 0);
	assert(batch_decode_header(
		       buffer, &region.owner, batch->position, REGION_BLOCKS, &header) == 0);
	r = reader_over(buffer + BATCH_HEADER_BYTES, header.bytes);
	for (uint32_t i = 0; i < header.transactions; i++) {
		struct journal_tx tx;

		assert(journal_decode_tx(&r, &tx) == 0);
		use_transaction(&tx);
	}
	assert(reader_is_done(&r));
	batch_encode(&header, buffer); /* asserts that it could have been written */
	free(buffer);
}

static void
use_chain(const struct journal_chain *chain)
{
	uint64_t blocks = 0;

	assert(chain->newest <= chain->count);
	assert(chain->end.position < REGION_BLOCKS);
	for (size_t i = 0; i < chain->count; i++) {
		struct journal_place place = journal_place_of(chain, i);

		assert(place.position == chain->batches[i].position);
		assert(place.sequence <= chain->batches[i].sequence);
		assert(chain->batches[i].sequence < chain->end.sequence);
		assert(chain->batches[i].sequence <= chain->highest_sequence);
		blocks += chain->batches[i].blocks;
		use_batch(&chain->batches[i]);
	}
	assert(blocks <= REGION_BLOCKS);
	if (chain->end.sequence > 0)
		assert(chain->durable < chain->end.sequence);
	if (chain->ends_in_opening)
		assert(chain->last_opening.sequence < chain->end.sequence);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct reader r = reader_over(data, bytes);
	struct journal_place newest = read_place(&r);
	struct journal_place previous = read_place(&r);
	struct journal_chain chain;
	size_t count;
	int err;

	if (r.bad)
		return 0;
	if (!dev)
		begin();
	make_region(&r);
	if (journal_scan(dev, &region, &newest, &previous, &chain) != 0)
		return 0;
	use_chain(&chain);
	count = chain.count;
	err = journal_verify_data(dev, &region, DEVICE_BLOCKS, &chain);
	assert(err == 0);
	assert(chain.count <= count);
	use_chain(&chain);
	journal_chain_free(&chain);
	return 0;
}

/* ---- Seeds ----------------------------------------------------------------------------------- */

/* A transaction with one of everything; its data are blocks of zeros, as on the device. */
static uint32_t
seed_transaction(uint32_t number, uint8_t *out, size_t capacity)
{
	static const uint8_t zero[BLOCK_BYTES];
	static const uint8_t job[80];
	static const uint8_t source[CLONE_KEY_BYTES] = { [CLONE_KEY_BYTES - 1] = 21 };
	static const uint8_t shared[TX_RUN_BYTES] = { DATA_AT & 0xff, DATA_AT >> 8, [8] = 1 };
	const uint64_t checksum = checksum64(zero, sizeof zero);
	const struct tree_name content = { .branch = 1, .object = 20, .kind = TREE_CONTENT };
	const struct tree_name catalog = { .kind = TREE_CATALOG };
	const struct tree_name objects = { .branch = 1, .kind = TREE_OBJECTS };
	const struct journal_message messages[] = {
		{ .op = MESSAGE_PUT,
			.name = objects,
			.key = view_of("key", 3),
			.value = view_of("value", 5) },
		{ .op = MESSAGE_DELETE, .name = content, .key = view_of("12345678", 8) },
		{ .op = MESSAGE_PUT,
			.name = catalog,
			.key = view_of("j", 1),
			.value = view_of(job, sizeof job) },
		{ .op = MESSAGE_BURY,
			.name = content,
			.key = view_of("j", 1),
			.value = view_of(job, sizeof job),
			.root_at = 24 },
		{ .op = MESSAGE_STEP,
			.name = content,
			.key = view_of("j", 1),
			.value = view_of(job, sizeof job),
			.root_at = 24,
			.until = view_of("until", 5) },
		{ .op = MESSAGE_STEP,
			.name = content,
			.key = view_of("j", 1),
			.from = view_of("until", 5),
			.is_end = true },
		{ .op = MESSAGE_CLONE, .name = content, .key = view_of(source, sizeof source) },
		{ .op = MESSAGE_CLONE,
			.name = content,
			.key = view_of(source, sizeof source),
			.value = view_of(shared, sizeof shared) },
	};
	struct journal_tx tx = {
		.messages = (uint16_t)(1 + number % ARRAY_COUNT(messages)),
		.taken = 1,
		.released = 1,
		.data = 1,
		.objects = 1,
	};
	struct writer w = writer_over(out, capacity);

	tx.bytes = TX_HEADER_BYTES + 3 * TX_RUN_BYTES + 8;
	for (uint32_t i = 0; i < tx.messages; i++)
		tx.bytes += (uint32_t)journal_message_bytes(&messages[i]);
	journal_encode_tx(&w, &tx);
	journal_encode_run(&w, (struct run){ DATA_AT + number % 8, 1 });
	journal_encode_run(&w, (struct run){ DATA_AT + 20, 3 });
	journal_encode_data(&w, DATA_AT + number % 8, 1, &checksum);
	for (uint32_t i = 0; i < tx.messages; i++)
		journal_encode_message(&w, &messages[i]);
	assert(!w.bad);
	return tx.bytes;
}

/* The piece of one batch; seeds have batches of one block, of which the zeros are left out. */
static void
seed_batch(struct writer *w, struct batch_header *header, uint32_t transactions)
{
	static uint8_t batch[8 * BLOCK_BYTES];

	memset(batch, 0, sizeof batch);
	header->owner = region.owner;
	header->bytes = 0;
	header->transactions = transactions;
	for (uint32_t i = 0; i < transactions; i++)
		header->bytes += seed_transaction((uint32_t)header->sequence + i,
			batch + BATCH_HEADER_BYTES + header->bytes,
			BLOCK_BYTES - BATCH_HEADER_BYTES - header->bytes);
	if (!(header->flags & BATCH_PAD))
		header->blocks = batch_blocks(header->bytes);
	batch_encode(header, batch);
	write_u8(w, (uint8_t)header->position);
	write_le16(w, (uint16_t)(BATCH_HEADER_BYTES + header->bytes));
	write_bytes(w, batch, BATCH_HEADER_BYTES + header->bytes);
	header->position = (header->position + header->blocks) % REGION_BLOCKS;
	header->sequence++;
	header->flags = 0;
	header->previous_epoch = 0;
	header->previous_sequence = 0;
}

/* Chains of a few batches: across the region's end, with openings, marks, gaps and torn ends. */
size_t
fuzz_seed(uint32_t index, uint8_t out[FUZZ_SEED_BYTES_MAX])
{
	struct writer w = writer_over(out, FUZZ_SEED_BYTES_MAX);
	struct batch_header header = {
		.epoch = 7,
		.sequence = 10,
		.position = index % 2 ? REGION_BLOCKS - 4 : 3,
		.generation = 4,
		.next_object = 40,
	};
	uint64_t start = header.position;

	if (index >= 8)
		return 0;
	write_u8(&w, (uint8_t)(start + 2)); /* newest, two batches after previous */
	write_u8(&w, 12);
	write_u8(&w, 7);
	write_u8(&w, (uint8_t)start);
	write_u8(&w, 10);
	write_u8(&w, 7);
	for (uint32_t i = 0; i < 3; i++)
		seed_batch(&w, &header, i);
	if (index % 2) {
		header.flags = BATCH_PAD;
		header.blocks = 1;
		seed_batch(&w, &header, 0);
	}
	header.durable = 12;
	if (index & 2) {
		header.flags = BATCH_OPENING;
		header.previous_epoch = header.epoch++;
		header.previous_sequence = header.sequence - 1;
		header.sequence += 5;
		seed_batch(&w, &header, index & 4 ? 1 : 0);
	}
	if (index & 4) {
		header.position += 2; /* what was there is torn */
		header.sequence++;
	}
	seed_batch(&w, &header, 4);
	header.durable = header.sequence - 1;
	header.flags = BATCH_MARK;
	seed_batch(&w, &header, 0);
	assert(!w.bad);
	return w.at;
}
