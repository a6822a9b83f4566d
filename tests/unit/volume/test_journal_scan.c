#include "volume/journal_scan.h"

#include "base/checksum.h"
#include "device/sim.h"
#include "support/alloc.h"
#include "support/must.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/*
 * A region on a simulated disk, filled batch by batch as a writer would.
 */
enum {
	REGION_AT = 10,
	REGION_BLOCKS = 64,
	VOLUME_BLOCKS = 512,
	DATA_AT = 100,
	SECTOR_BYTES = 512,
	VALUE_BYTES = 1200,
	EPOCH = 0xe1,
};

struct region_world {
	struct sim_medium *medium;
	struct device *dev;
	struct journal_region region;
	struct journal_place end; /* where the next batch goes */
	struct journal_place start;
	uint64_t data_at; /* next block for data */
	struct journal_chain chain;
};

static struct region_world w;

static int
begin(void **state)
{
	(void)state;
	memset(&w, 0, sizeof w);
	assert_int_equal(sim_create((uint64_t)VOLUME_BLOCKS * BLOCK_BYTES, 1, &w.medium), 0);
	assert_int_equal(sim_open(w.medium, 0, &w.dev), 0);
	w.region = (struct journal_region){ .addr = REGION_AT, .blocks = REGION_BLOCKS };
	memset(w.region.owner.uuid, 0xab, sizeof w.region.owner.uuid);
	w.region.owner.seed = 0x5eed;
	w.start = (struct journal_place){ .position = 0, .sequence = 1, .epoch = EPOCH };
	w.end = w.start;
	w.data_at = DATA_AT;
	return 0;
}

static int
end(void **state)
{
	(void)state;
	journal_chain_free(&w.chain);
	device_close(w.dev);
	sim_free(w.medium);
	return 0;
}

/* What a batch of the test holds. */
struct spec {
	uint16_t flags;
	uint64_t durable;
	uint64_t epoch;    /* 0: that of the end; of an opening one: 0 is the next */
	uint64_t sequence; /* 0: the next */
	uint32_t messages; /* of one transaction; a block has room for three */
	uint32_t data;     /* blocks that it names, written too */
	uint32_t pad;      /* blocks, with BATCH_PAD */
	uint64_t to;       /* position where it is written, if `misdirected` */
	bool misdirected;
	bool unwritten; /* its blocks keep what was there */
	uint64_t generation;
	uint64_t next_object;
};

static void
poke(uint64_t addr, const void *block)
{
	assert_int_equal(sim_poke(w.medium, addr, block), 0);
}

static uint8_t *
block_of_data(uint64_t addr)
{
	static uint8_t block[BLOCK_BYTES];

	memset(block, (int)(addr * 7 + 1), sizeof block);
	return block;
}

static uint32_t
encode_transaction(const struct spec *spec, uint8_t *at, size_t capacity)
{
	static const uint8_t value[VALUE_BYTES] = { 9 };
	struct journal_message message = {
		.op = MESSAGE_PUT,
		.name = { .branch = 1, .kind = TREE_OBJECTS },
		.key = view_of("k", 1),
		.value = view_of(value, sizeof value),
	};
	struct journal_tx tx = { .messages = (uint16_t)spec->messages,
		.data = (uint16_t)spec->data };
	struct writer out = writer_over(at, capacity);

	tx.bytes = (uint32_t)(TX_HEADER_BYTES + spec->data * (TX_RUN_BYTES + 8) +
			      spec->messages * journal_message_bytes(&message));
	journal_encode_tx(&out, &tx);
	for (uint32_t i = 0; i < spec->data; i++) {
		uint64_t addr = w.data_at++;
		uint64_t sum = checksum64(block_of_data(addr), BLOCK_BYTES);

		poke(addr, block_of_data(addr));
		journal_encode_data(&out, addr, 1, &sum);
	}
	for (uint32_t i = 0; i < spec->messages; i++)
		journal_encode_message(&out, &message);
	assert_false(out.bad);
	assert_int_equal(out.at, tx.bytes);
	return tx.bytes;
}

/* Writes the next batch; returns its position. */
static uint64_t
add(struct spec spec)
{
	static uint8_t batch[8 * BLOCK_BYTES];
	struct batch_header header = {
		.owner = w.region.owner,
		.flags = spec.flags,
		.epoch = spec.epoch ? spec.epoch : w.end.epoch,
		.sequence = spec.sequence ? spec.sequence : w.end.sequence,
		.durable = spec.durable,
		.position = w.end.position,
		.blocks = spec.pad,
		.generation = spec.generation,
		.next_object = spec.next_object,
	};

	if (spec.flags & BATCH_OPENING) {
		header.epoch = spec.epoch ? spec.epoch : w.end.epoch + 1;
		header.previous_epoch = w.end.epoch;
		header.previous_sequence = w.end.sequence - 1;
	}
	if (spec.messages > 0 || spec.data > 0) {
		header.bytes = encode_transaction(
			&spec, batch + BATCH_HEADER_BYTES, sizeof batch - BATCH_HEADER_BYTES);
		header.transactions = 1;
	}
	if (!(spec.flags & BATCH_PAD))
		header.blocks = batch_blocks(header.bytes);
	assert_true(header.position + header.blocks <= REGION_BLOCKS);
	batch_encode(&header, batch);
	for (uint32_t i = 0; !spec.unwritten && i < header.blocks; i++)
		poke(REGION_AT + (spec.misdirected ? spec.to : header.position) + i,
			batch + (size_t)i * BLOCK_BYTES);
	w.end.position = (header.position + header.blocks) % REGION_BLOCKS;
	w.end.sequence = header.sequence + 1;
	w.end.epoch = header.epoch;
	return header.position;
}

static void
add_many(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		(void)add((struct spec){ .messages = 1 });
}

/* Overwrites the sector of a block with what no batch has. */
static void
spoil_sector(uint64_t position, uint32_t sector)
{
	uint8_t block[BLOCK_BYTES];

	assert_int_equal(sim_peek(w.medium, REGION_AT + position, block), 0);
	memset(block + (size_t)sector * SECTOR_BYTES, 0x5a, SECTOR_BYTES);
	poke(REGION_AT + position, block);
}

static void
spoil(uint64_t position)
{
	spoil_sector(position, 0);
}

static void
make_unreadable(uint64_t addr, uint64_t blocks)
{
	struct sim_fault fault = {
		.kind = SIM_FAIL_READ, .call = 1, .persistent = true, .addr = addr, .blocks = blocks
	};

	assert_int_equal(sim_add_fault(w.medium, &fault), 0);
}

static const struct journal_place nowhere;

static int
try_scan(struct journal_place newest, struct journal_place previous)
{
	journal_chain_free(&w.chain);
	return journal_scan(w.dev, &w.region, &newest, &previous, &w.chain);
}

static void
scan(struct journal_place newest, struct journal_place previous)
{
	assert_int_equal(try_scan(newest, previous), 0);
}

static void
assert_place(struct journal_place is, struct journal_place wanted)
{
	assert_true(is.position == wanted.position);
	assert_true(is.sequence == wanted.sequence);
	assert_true(is.epoch == wanted.epoch);
}

static void
assert_tail(uint32_t batches)
{
	assert_int_equal(w.chain.count, batches);
	assert_false(w.chain.is_damaged);
}

static void
assert_damage(uint64_t lost_sequence)
{
	assert_true(w.chain.is_damaged);
	assert_true(w.chain.lost_sequence == lost_sequence);
}

/* ---- The chain ------------------------------------------------------------------------------- */

static void
finds_nothing_in_an_empty_region(void **state)
{
	(void)state;
	scan(w.start, nowhere);
	assert_tail(0);
	assert_place(w.chain.end, w.start);
	assert_true(w.chain.highest_sequence == 0);
	assert_true(w.chain.durable == 0);
	assert_false(w.chain.has_previous);
	assert_false(w.chain.ends_in_opening);
	w.start.sequence = 77;
	scan(w.start, nowhere);
	assert_true(w.chain.durable == 76);
	assert_true(w.chain.highest_sequence == 76);
}

static void
follows_the_chain_and_tells_what_it_holds(void **state)
{
	(void)state;
	(void)add((struct spec){ .messages = 1, .generation = 5, .next_object = 30 });
	(void)add((struct spec){ .messages = 9, .durable = 1, .generation = 6, .next_object = 31 });
	(void)add((struct spec){ .flags = BATCH_MARK, .durable = 2 });
	scan(w.start, nowhere);
	assert_tail(3);
	assert_place(w.chain.start, w.start);
	assert_place(w.chain.end, w.end);
	assert_true(w.chain.durable == 2);
	assert_true(w.chain.highest_sequence == 3);
	assert_true(w.chain.generation == 6);
	assert_true(w.chain.next_object == 31);
	assert_int_equal(w.chain.batches[1].blocks, 3);
	assert_int_equal(w.chain.batches[1].transactions, 1);
	assert_true(w.chain.batches[1].position == 1);
	assert_int_equal(w.chain.batches[2].flags, BATCH_MARK);
	for (size_t i = 0; i < 3; i++)
		assert_true(journal_place_of(&w.chain, i).position == w.chain.batches[i].position);
}

/*
 * [A user writes a block that looks like a header: of this volume, of the place where it will lie,
 * with a `durable` that nothing has. It lies inside a batch, whose own header is overwritten in the
 * next lap.]
 */
static void
takes_no_header_that_a_user_has_made(void **state)
{
	static uint8_t block[BLOCK_BYTES];
	struct batch_header forged = {
		.owner = w.region.owner,
		.flags = BATCH_MARK,
		.epoch = 1,
		.sequence = SUPERBLOCK_NUMBER_MAX,
		.durable = UINT64_C(1) << 40,
		.position = 5,
		.blocks = 1,
		.generation = SUPERBLOCK_NUMBER_MAX,
		.next_object = SUPERBLOCK_NUMBER_MAX,
		.next_job = SUPERBLOCK_NUMBER_MAX,
	};

	(void)state;
	add_many(3);
	forged.owner.seed = 0; /* which nobody tells to a user */
	batch_encode(&forged, block);
	poke(REGION_AT + forged.position, block);
	scan(w.start, nowhere);
	assert_tail(3);
	assert_true(w.chain.highest_sequence == 3);
	assert_true(w.chain.generation == 0);

	forged.owner = w.region.owner;
	batch_encode(&forged, block);
	poke(REGION_AT + forged.position, block);
	scan(w.start, nowhere);
	assert_true(w.chain.is_damaged);
}

/* [Torn tail.] Whatever of the last batch is missing, it is left out and nothing is damaged. */
static void
leaves_out_a_batch_with_any_sector_missing(void **state)
{
	struct journal_place stop;
	uint64_t position;

	(void)state;
	add_many(2);
	stop = w.end;
	position = add((struct spec){ .messages = 9, .durable = 2 });
	assert_true(w.end.position - position == 3);
	for (uint32_t sector = 0; sector < 3 * BLOCK_BYTES / SECTOR_BYTES - 2; sector++) {
		uint64_t at = position + sector / 8;
		uint8_t block[BLOCK_BYTES];

		assert_int_equal(sim_peek(w.medium, REGION_AT + at, block), 0);
		spoil_sector(at, sector % 8);
		scan(w.start, nowhere);
		assert_tail(2);
		assert_place(w.chain.end, stop);
		/* Its sequence is taken all the same, as far as anybody can see it. */
		assert_true(w.chain.highest_sequence == (sector == 0 ? 2 : 3));
		poke(REGION_AT + at, block);
	}
	scan(w.start, nowhere);
	assert_tail(3);
}

static void
stops_at_what_an_earlier_lap_left(void **state)
{
	struct journal_place tail;

	(void)state;
	for (int lap = 0; lap < 3; lap++) {
		w.end.position = 0;
		tail = w.end;
		add_many(lap == 2 ? 5 : 20);
	}
	scan(tail, nowhere);
	assert_tail(5);
	assert_place(w.chain.end, w.end);
	assert_true(w.chain.highest_sequence == w.end.sequence - 1);
}

/* [Batches of an earlier opening glued to new ones.] The same sequence, at the right place. */
static void
stops_at_a_batch_of_an_earlier_opening(void **state)
{
	(void)state;
	add_many(3);
	(void)add((struct spec){ .messages = 1, .epoch = 0xbad });
	scan(w.start, nowhere);
	assert_tail(3);
	assert_true(w.chain.highest_sequence == 4);
}

static void
stops_at_a_batch_out_of_sequence(void **state)
{
	(void)state;
	add_many(3);
	(void)add((struct spec){ .messages = 1, .sequence = 5 });
	scan(w.start, nowhere);
	assert_tail(3);
}

static void
goes_on_at_the_start_after_a_pad(void **state)
{
	struct journal_place tail;

	(void)state;
	w.end.position = REGION_BLOCKS - 5;
	tail = w.end;
	add_many(2);
	(void)add((struct spec){ .flags = BATCH_PAD, .pad = 3 });
	add_many(2);
	scan(tail, nowhere);
	assert_tail(5);
	assert_true(w.chain.batches[3].position == 0);
	assert_place(w.chain.end, w.end);
}

static void
goes_on_at_the_start_without_a_pad(void **state)
{
	struct journal_place tail;

	(void)state;
	w.end.position = REGION_BLOCKS - 2;
	tail = w.end;
	add_many(4);
	scan(tail, nowhere);
	assert_tail(4);

	/* A superblock may say that end as it likes. */
	w.start = (struct journal_place){ REGION_BLOCKS, tail.sequence + 2, EPOCH };
	scan(w.start, tail);
	assert_int_equal(w.chain.newest, 2);
	assert_true(w.chain.has_previous);
}

static void
ends_where_it_meets_its_own_start(void **state)
{
	(void)state;
	add_many(REGION_BLOCKS);
	assert_true(w.end.position == 0);
	scan(w.start, nowhere);
	assert_tail(REGION_BLOCKS);
	assert_place(w.chain.end, w.end);
}

static void
leaves_out_other_volumes_and_misdirected_batches(void **state)
{
	(void)state;
	add_many(2);
	(void)add((struct spec){ .messages = 1, .durable = 2, .misdirected = true, .to = 40 });
	scan(w.start, nowhere);
	assert_tail(2);
	assert_true(w.chain.highest_sequence == 2);

	w.region.owner.uuid[0] ^= 1;
	scan(w.start, nowhere);
	assert_tail(0);
	assert_true(w.chain.highest_sequence == 0);
	assert_true(w.chain.highest_durable == 0);
}

/* ---- Openings -------------------------------------------------------------------------------- */

static void
follows_openings(void **state)
{
	(void)state;
	add_many(2);
	(void)add((struct spec){
		.flags = BATCH_OPENING, .sequence = 8, .messages = 1, .durable = 2 });
	add_many(2);
	scan(w.start, nowhere);
	assert_tail(5);
	assert_true(w.chain.batches[2].sequence == 8);
	assert_place(w.chain.end, w.end);
	assert_false(w.chain.ends_in_opening);
}

static void
follows_no_opening_of_another_batch(void **state)
{
	struct journal_place stop;

	(void)state;
	add_many(2);
	stop = w.end;
	w.end.epoch++; /* it names another epoch */
	(void)add((struct spec){ .flags = BATCH_OPENING, .sequence = 8 });
	scan(w.start, nowhere);
	assert_tail(2);
	w.end = stop;
	w.end.sequence++; /* another sequence */
	(void)add((struct spec){ .flags = BATCH_OPENING, .sequence = 8 });
	scan(w.start, nowhere);
	assert_tail(2);
	w.end = stop;
	(void)add((struct spec){ .flags = BATCH_OPENING, .sequence = 8 });
	scan(w.start, nowhere);
	assert_tail(3);
}

static void
tells_an_empty_opening_at_the_end(void **state)
{
	struct journal_place before;

	(void)state;
	add_many(2);
	before = w.end;
	(void)add((struct spec){ .flags = BATCH_OPENING, .sequence = 8, .durable = 2 });
	scan(w.start, nowhere);
	assert_tail(3);
	assert_true(w.chain.ends_in_opening);
	assert_place(w.chain.last_opening, before);
	assert_place(w.chain.end, w.end);

	/* Another one, in its place, goes on with the same chain. */
	w.end = before;
	(void)add(
		(struct spec){ .flags = BATCH_OPENING, .sequence = 9, .epoch = 99, .durable = 2 });
	scan(w.start, nowhere);
	assert_tail(3);
	assert_true(w.chain.batches[2].epoch == 99);
}

static void
keeps_an_opening_with_transactions(void **state)
{
	(void)state;
	(void)add((struct spec){ .flags = BATCH_OPENING, .sequence = 8, .messages = 1 });
	scan(w.start, nowhere);
	assert_tail(1);
	assert_false(w.chain.ends_in_opening);
}

/* The newest superblock's chain begins after it: in its place nothing may be replaced. */
static void
keeps_an_opening_before_the_newest_tail(void **state)
{
	(void)state;
	(void)add((struct spec){ .flags = BATCH_OPENING, .sequence = 8 });
	scan(w.end, w.start);
	assert_tail(1);
	assert_true(w.chain.has_previous);
	assert_int_equal(w.chain.newest, 1);
	assert_false(w.chain.ends_in_opening);
}

/*
 * Opening batch 8 is durable, 9 torn, 10 whole, which says so. If 8 were replaced and the
 * replacement torn by the next crash, batch 10 would tell of a loss that never was.
 */
static void
keeps_an_opening_that_something_calls_durable(void **state)
{
	struct journal_place opening;

	(void)state;
	add_many(2);
	opening = w.end;
	(void)add((struct spec){ .flags = BATCH_OPENING, .sequence = 8, .durable = 2 });
	(void)add((struct spec){ .messages = 1, .durable = 8, .unwritten = true });
	(void)add((struct spec){ .messages = 1, .durable = 8 });
	scan(w.start, nowhere);
	assert_tail(3);
	assert_false(w.chain.ends_in_opening);
	assert_true(w.chain.highest_sequence == 10);

	spoil(opening.position); /* the torn replacement */
	scan(w.start, nowhere);
	assert_damage(8);
}

/* ---- Damage ---------------------------------------------------------------------------------- */

static void
tells_rot_below_durable_from_a_tail(void **state)
{
	uint64_t positions[6];

	(void)state;
	for (uint64_t i = 0; i < 6; i++)
		positions[i] = add((struct spec){ .messages = 1, .durable = i });
	for (uint32_t i = 0; i < 6; i++) {
		uint8_t block[BLOCK_BYTES];

		assert_int_equal(sim_peek(w.medium, REGION_AT + positions[i], block), 0);
		spoil(positions[i]);
		scan(w.start, nowhere);
		assert_int_equal(w.chain.count, i);
		if (i < 5)
			assert_damage(5); /* which batch 6 says */
		else
			assert_tail(5); /* what no one can tell apart */
		assert_true(w.chain.durable == (i < 5 ? i : 4));
		poke(REGION_AT + positions[i], block);
	}
}

/* The only witness is far away, torn, and no link of any chain. */
static void
believes_a_header_whose_batch_is_torn(void **state)
{
	uint64_t rotten;
	uint64_t witness;

	(void)state;
	add_many(2);
	rotten = add((struct spec){ .messages = 1 });
	w.end.position = 50;
	witness = add((struct spec){ .messages = 9, .durable = 3 });
	spoil_sector(witness + 2, 0);
	scan(w.start, nowhere);
	assert_tail(3);
	assert_true(w.chain.durable == 3);
	spoil(rotten);
	scan(w.start, nowhere);
	assert_damage(3);
	assert_int_equal(w.chain.count, 2);
	assert_true(w.chain.durable == 2);
}

static void
tells_rot_in_an_opening_batch(void **state)
{
	uint64_t position;

	(void)state;
	add_many(2);
	position = add((struct spec){ .flags = BATCH_OPENING, .sequence = 8, .durable = 2 });
	(void)add((struct spec){ .messages = 1, .durable = 8 });
	spoil(position);
	scan(w.start, nowhere);
	assert_damage(8);
	assert_int_equal(w.chain.count, 2);
}

static void
takes_a_lost_write_below_durable_for_damage(void **state)
{
	(void)state;
	add_many(2);
	(void)add((struct spec){ .messages = 1, .misdirected = true, .to = 40 });
	(void)add((struct spec){ .messages = 1, .durable = 3 });
	scan(w.start, nowhere);
	assert_damage(3);
}

/* What recovery once discarded never says that it was durable. */
static void
takes_nothing_discarded_for_damage(void **state)
{
	struct journal_place stop;

	(void)state;
	add_many(2);
	stop = w.end;
	(void)add((struct spec){ .messages = 1, .durable = 2, .unwritten = true });
	(void)add((struct spec){ .messages = 1, .durable = 2 });
	(void)add((struct spec){ .messages = 1, .durable = 2 });
	scan(w.start, nowhere);
	assert_tail(2);
	assert_true(w.chain.highest_sequence == 5);
	w.end = stop;
	(void)add((struct spec){ .flags = BATCH_OPENING, .sequence = 6, .durable = 2 });
	scan(w.start, nowhere);
	assert_tail(3);
	assert_true(w.chain.durable == 2);
}

static void
loses_only_the_fallback_before_the_newest_tail(void **state)
{
	struct journal_place newest;
	uint64_t position;

	(void)state;
	add_many(2);
	position = add((struct spec){ .messages = 1, .durable = 2 });
	add_many(1);
	newest = w.end;
	(void)add((struct spec){ .messages = 1, .durable = 4 });
	(void)add((struct spec){ .messages = 1, .durable = 5 });

	scan(newest, w.start);
	assert_tail(6);
	assert_true(w.chain.has_previous);
	assert_int_equal(w.chain.newest, 4);
	assert_place(w.chain.start, w.start);

	spoil(position);
	scan(newest, w.start);
	assert_tail(2);
	assert_false(w.chain.has_previous);
	assert_int_equal(w.chain.newest, 0);
	assert_place(w.chain.start, newest);
	assert_place(w.chain.end, w.end);
	assert_true(w.chain.durable == 5);
}

static void
begins_at_the_newest_tail_if_the_chain_goes_by_it(void **state)
{
	struct journal_place newest;

	(void)state;
	add_many(3);
	newest = w.end;
	add_many(1);
	newest.epoch++; /* no batch there goes on with it */
	scan(newest, w.start);
	assert_tail(0);
	assert_false(w.chain.has_previous);
	newest.epoch--;
	w.start.position = REGION_BLOCKS + 1; /* no place at all */
	scan(newest, w.start);
	assert_tail(1);
	assert_false(w.chain.has_previous);
}

static void
counts_what_stands_before_the_newest_tail_as_durable(void **state)
{
	struct journal_place newest;

	(void)state;
	add_many(3);
	newest = w.end;
	add_many(2);
	scan(newest, w.start);
	assert_true(w.chain.durable == 3);
	assert_tail(5);
}

/* ---- Devices that fail ----------------------------------------------------------------------- */

static void
takes_an_unreadable_link_for_damage(void **state)
{
	uint64_t positions[3];

	(void)state;
	for (uint64_t i = 0; i < 3; i++)
		positions[i] = add((struct spec){ .messages = 9, .durable = i });
	for (uint32_t i = 0; i < 3; i++) {
		for (uint64_t block = 0; block < 3; block++) {
			make_unreadable(REGION_AT + positions[i] + block, 1);
			scan(w.start, nowhere);
			assert_int_equal(w.chain.count, i);
			assert_damage(i < 2 ? 2 : 3);
			sim_clear_faults(w.medium);
		}
	}
	scan(w.start, nowhere);
	assert_tail(3);
}

static void
minds_no_unreadable_block_elsewhere(void **state)
{
	(void)state;
	add_many(3);
	make_unreadable(REGION_AT + 30, 5);
	scan(w.start, nowhere);
	assert_tail(3);
	make_unreadable(REGION_AT + 3, 1); /* where the next batch would be: nobody can tell */
	scan(w.start, nowhere);
	assert_int_equal(w.chain.count, 3);
	assert_damage(4);
}

static void
says_that_a_region_cannot_be_read(void **state)
{
	(void)state;
	add_many(3);
	make_unreadable(REGION_AT, REGION_BLOCKS);
	assert_int_equal(try_scan(w.start, nowhere), COP_EIO);
}

/* The header's checksum is right, its fields are not: no torn write does that. */
static void
takes_a_link_that_makes_no_sense_for_damage(void **state)
{
	uint8_t block[BLOCK_BYTES];
	uint64_t position;

	(void)state;
	add_many(2);
	position = add((struct spec){ .messages = 1 });
	assert_int_equal(sim_peek(w.medium, REGION_AT + position, block), 0);
	put_le32(block + 80, 0);
	put_le64(block, hash64(block + 8, BATCH_HEADER_BYTES - 8, w.region.owner.seed));
	poke(REGION_AT + position, block);
	scan(w.start, nowhere);
	assert_damage(3);
	assert_int_equal(w.chain.count, 2);
}

static void
refuses_the_batch_of_a_later_version(void **state)
{
	uint8_t block[BLOCK_BYTES];
	uint64_t position;

	(void)state;
	add_many(2);
	position = add((struct spec){ .messages = 1 });
	assert_int_equal(sim_peek(w.medium, REGION_AT + position, block), 0);
	put_le16(block + 12, BATCH_VERSION + 1);
	put_le64(block, hash64(block + 8, BATCH_HEADER_BYTES - 8, w.region.owner.seed));
	poke(REGION_AT + position, block);
	assert_int_equal(try_scan(w.start, nowhere), COP_EUNSUPPORTED);
}

static void
refuses_a_tail_outside_of_the_region(void **state)
{
	(void)state;
	w.start.position = REGION_BLOCKS + 1;
	assert_int_equal(try_scan(w.start, nowhere), COP_EFORMAT);
}

/* ---- Long regions ---------------------------------------------------------------------------- */

/* Batches across the borders of what is read at one time. */
static void
reads_a_long_region_in_pieces(void **state)
{
	enum { BLOCKS = 4096, LONGEST = 256 };
	static uint8_t batch[LONGEST * BLOCK_BYTES];
	struct batch_header header = { .epoch = EPOCH };
	struct sim_stats before;
	struct device *dev;
	uint64_t sequence = 1;
	uint64_t position = 0;
	struct journal_region region = { .addr = 0, .blocks = BLOCKS };
	struct journal_chain chain;

	(void)state;
	device_close(w.dev);
	sim_free(w.medium);
	assert_int_equal(sim_create((uint64_t)BLOCKS * BLOCK_BYTES, 1, &w.medium), 0);
	assert_int_equal(sim_open(w.medium, 0, &w.dev), 0);
	dev = w.dev;
	while (position < BLOCKS) {
		header.sequence = sequence;
		header.position = position;
		header.flags = BATCH_MARK;
		header.blocks = 1;
		header.durable = sequence - 1;
		if (sequence % 3 == 0 && BLOCKS - position >= LONGEST) {
			/* One transaction that fills it, of runs. */
			struct writer out = writer_over(
				batch + BATCH_HEADER_BYTES, sizeof batch - BATCH_HEADER_BYTES);
			struct journal_tx tx = { .taken = UINT16_MAX };

			tx.bytes = TX_HEADER_BYTES + UINT16_MAX * TX_RUN_BYTES;
			header.flags = 0;
			header.transactions = 1;
			header.bytes = tx.bytes;
			journal_encode_tx(&out, &tx);
			for (uint32_t i = 0; i < UINT16_MAX; i++)
				journal_encode_run(&out, (struct run){ 1, 1 });
			header.blocks = batch_blocks(header.bytes);
		}
		batch_encode(&header, batch);
		for (uint32_t i = 0; i < header.blocks; i++)
			poke(position + i, batch + (size_t)i * BLOCK_BYTES);
		position += header.blocks;
		sequence++;
		header.bytes = 0;
		header.transactions = 0;
	}
	before = sim_stats(w.medium);
	w.start.epoch = EPOCH;
	assert_int_equal(journal_scan(dev, &region, &w.start, &nowhere, &chain), 0);
	assert_int_equal(chain.count, sequence - 1);
	assert_true(chain.durable == sequence - 2);
	assert_true(sim_stats(w.medium).reads - before.reads <= BLOCKS / LONGEST);
	journal_chain_free(&chain);
}

/* ---- Data ------------------------------------------------------------------------------------ */

static void
verify(void)
{
	assert_int_equal(journal_verify_data(w.dev, &w.region, VOLUME_BLOCKS, &w.chain), 0);
}

static void
cuts_before_the_first_batch_whose_data_is_missing(void **state)
{
	struct journal_place ends[7];

	(void)state;
	for (uint64_t i = 0; i < 6; i++) {
		ends[i] = w.end;
		(void)add((struct spec){
			.messages = i == 3, .data = i == 4 ? 40 : 3, .durable = i < 3 ? 0 : 1 });
	}
	scan(w.start, nowhere);
	assert_tail(6);
	verify();
	assert_tail(6);

	/* Batch 5 names the blocks from DATA_AT + 12. */
	for (uint64_t at = 12; at < 52; at += 13) {
		uint8_t zero[BLOCK_BYTES] = { 0 };

		poke(DATA_AT + at, zero);
		scan(w.start, nowhere);
		verify();
		assert_tail(4);
		assert_place(w.chain.end, ends[4]);
		poke(DATA_AT + at, block_of_data(DATA_AT + at));
	}

	/* The first of several counts. */
	assert_int_equal(sim_flip_bit(w.medium, DATA_AT + 4, 9), 0);
	assert_int_equal(sim_flip_bit(w.medium, DATA_AT + 30, 9), 0);
	scan(w.start, nowhere);
	verify();
	assert_tail(1);
}

static void
trusts_the_data_of_what_is_durable(void **state)
{
	(void)state;
	(void)add((struct spec){ .data = 3 });
	(void)add((struct spec){ .data = 3, .durable = 1 });
	assert_int_equal(sim_flip_bit(w.medium, DATA_AT, 9), 0);
	scan(w.start, nowhere);
	verify();
	assert_tail(2);
	assert_int_equal(sim_flip_bit(w.medium, DATA_AT + 3, 9), 0);
	verify();
	assert_tail(1);
}

static void
takes_unreadable_data_for_damage(void **state)
{
	(void)state;
	(void)add((struct spec){ .data = 1 });
	(void)add((struct spec){ .data = 5 });
	(void)add((struct spec){ .data = 1 });
	make_unreadable(DATA_AT + 3, 1);
	scan(w.start, nowhere);
	verify();
	assert_int_equal(w.chain.count, 1);
	assert_damage(3);
	sim_clear_faults(w.medium);
	scan(w.start, nowhere);
	verify();
	assert_tail(3);

	/* Behind a mismatch it says nothing more. */
	assert_int_equal(sim_flip_bit(w.medium, DATA_AT, 9), 0);
	make_unreadable(DATA_AT + 3, 1);
	scan(w.start, nowhere);
	verify();
	assert_tail(0);
}

static void
takes_data_past_the_volume_for_missing(void **state)
{
	(void)state;
	(void)add((struct spec){ .data = 1 });
	w.data_at = VOLUME_BLOCKS - 1;
	(void)add((struct spec){ .data = 1 });
	scan(w.start, nowhere);
	assert_int_equal(journal_verify_data(w.dev, &w.region, VOLUME_BLOCKS, &w.chain), 0);
	assert_tail(2);
	assert_int_equal(journal_verify_data(w.dev, &w.region, VOLUME_BLOCKS - 1, &w.chain), 0);
	assert_tail(1);
}

static void
tells_of_an_opening_that_a_cut_leaves_at_the_end(void **state)
{
	struct journal_place before = w.end;

	(void)state;
	(void)add((struct spec){ .flags = BATCH_OPENING, .sequence = 4 });
	(void)add((struct spec){ .data = 1 });
	scan(w.start, nowhere);
	assert_tail(2);
	assert_false(w.chain.ends_in_opening);
	assert_int_equal(sim_flip_bit(w.medium, DATA_AT, 0), 0);
	verify();
	assert_tail(1);
	assert_true(w.chain.ends_in_opening);
	assert_place(w.chain.last_opening, before);
}

static void
keeps_many_reads_in_flight(void **state)
{
	(void)state;
	sim_reorder(w.medium, true);
	for (int i = 0; i < 8; i++)
		(void)add((struct spec){ .data = 20 });
	scan(w.start, nowhere);
	verify();
	assert_tail(8);
	assert_true(device_stats(w.dev).in_flight_max >= 16);
	assert_int_equal(sim_flip_bit(w.medium, DATA_AT + 25, 0), 0);
	verify();
	assert_tail(1);
}

static void
reads_one_batch_again(void **state)
{
	void *buffer = must_have(block_buffer_alloc(8));

	(void)state;
	(void)add((struct spec){ .messages = 9 });
	(void)add((struct spec){ .messages = 1 });
	scan(w.start, nowhere);
	assert_int_equal(journal_read_batch(w.dev, &w.region, &w.chain.batches[0], buffer), 0);
	spoil_sector(2, 0);
	assert_int_equal(
		journal_read_batch(w.dev, &w.region, &w.chain.batches[0], buffer), COP_ECHECKSUM);
	make_unreadable(REGION_AT + 2, 1);
	assert_int_equal(
		journal_read_batch(w.dev, &w.region, &w.chain.batches[0], buffer), COP_EIO);
	w.end = journal_place_of(&w.chain, 1);
	w.end.sequence = 7;
	(void)add((struct spec){ .messages = 1 });
	assert_int_equal(
		journal_read_batch(w.dev, &w.region, &w.chain.batches[1], buffer), COP_ECHECKSUM);
	free(buffer);
}

/* A failure of memory is no damage, no tail and no mismatch. */
static void
tells_a_lack_of_memory_from_all_else(void **state)
{
	uint32_t failures = 0;
	int err = COP_ENOMEM;

	(void)state;
	for (int i = 0; i < 30; i++)
		(void)add((struct spec){ .data = 3, .messages = 1 });
	make_unreadable(REGION_AT + 50, 1); /* so that the region is read block by block */
	for (uint64_t nth = 1; err; nth++) {
		alloc_fail_nth(nth);
		err = try_scan(w.start, nowhere);
		alloc_fail_nth(0);
		if (err)
			assert_int_equal(err, COP_ENOMEM);
		failures += err != 0;
	}
	assert_int_equal(failures, 4); /* bits, window, what was seen, the chain */
	assert_tail(30);

	err = COP_ENOMEM;
	for (uint64_t nth = 1; err; nth++) {
		alloc_fail_nth(nth);
		err = journal_verify_data(w.dev, &w.region, VOLUME_BLOCKS, &w.chain);
		alloc_fail_nth(0);
		if (err)
			assert_int_equal(err, COP_ENOMEM);
		assert_tail(30);
		failures += err != 0;
	}
	assert_int_equal(failures, 4 + 3); /* requests, their buffers, the batch */
}

#define WITH_REGION(test) cmocka_unit_test_setup_teardown(test, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_REGION(finds_nothing_in_an_empty_region),
		WITH_REGION(follows_the_chain_and_tells_what_it_holds),
		WITH_REGION(takes_no_header_that_a_user_has_made),
		WITH_REGION(leaves_out_a_batch_with_any_sector_missing),
		WITH_REGION(stops_at_what_an_earlier_lap_left),
		WITH_REGION(stops_at_a_batch_of_an_earlier_opening),
		WITH_REGION(stops_at_a_batch_out_of_sequence),
		WITH_REGION(goes_on_at_the_start_after_a_pad),
		WITH_REGION(goes_on_at_the_start_without_a_pad),
		WITH_REGION(ends_where_it_meets_its_own_start),
		WITH_REGION(leaves_out_other_volumes_and_misdirected_batches),
		WITH_REGION(follows_openings),
		WITH_REGION(follows_no_opening_of_another_batch),
		WITH_REGION(tells_an_empty_opening_at_the_end),
		WITH_REGION(keeps_an_opening_with_transactions),
		WITH_REGION(keeps_an_opening_before_the_newest_tail),
		WITH_REGION(keeps_an_opening_that_something_calls_durable),
		WITH_REGION(tells_rot_below_durable_from_a_tail),
		WITH_REGION(believes_a_header_whose_batch_is_torn),
		WITH_REGION(tells_rot_in_an_opening_batch),
		WITH_REGION(takes_a_lost_write_below_durable_for_damage),
		WITH_REGION(takes_nothing_discarded_for_damage),
		WITH_REGION(loses_only_the_fallback_before_the_newest_tail),
		WITH_REGION(begins_at_the_newest_tail_if_the_chain_goes_by_it),
		WITH_REGION(counts_what_stands_before_the_newest_tail_as_durable),
		WITH_REGION(takes_an_unreadable_link_for_damage),
		WITH_REGION(minds_no_unreadable_block_elsewhere),
		WITH_REGION(says_that_a_region_cannot_be_read),
		WITH_REGION(takes_a_link_that_makes_no_sense_for_damage),
		WITH_REGION(refuses_the_batch_of_a_later_version),
		WITH_REGION(refuses_a_tail_outside_of_the_region),
		WITH_REGION(reads_a_long_region_in_pieces),
		WITH_REGION(cuts_before_the_first_batch_whose_data_is_missing),
		WITH_REGION(trusts_the_data_of_what_is_durable),
		WITH_REGION(takes_unreadable_data_for_damage),
		WITH_REGION(takes_data_past_the_volume_for_missing),
		WITH_REGION(tells_of_an_opening_that_a_cut_leaves_at_the_end),
		WITH_REGION(keeps_many_reads_in_flight),
		WITH_REGION(reads_one_batch_again),
		WITH_REGION(tells_a_lack_of_memory_from_all_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
