/*
 * The journal: what its chain is, as recovery would find it, and what each batch holds.
 *
 * The chain comes from the same functions that recovery uses. What they leave out, batches of older
 * laps and headers whose batch is torn, is looked for block by block when it is asked for.
 */

#include "check/dump_internal.h"

#include "base/checksum.h"
#include "base/num.h"
#include "volume/journal_scan.h"

#include <stdlib.h>
#include <string.h>

struct journal_dump {
	struct dump *dump;
	struct journal_region region;
	struct journal_chain chain; /* as far as batches go on */
	struct journal_chain
		accepted; /* of it, as far as data verifies; its batches are borrowed */
	uint8_t *buffer;  /* owned: a batch */
	uint8_t *block;   /* owned: a block of data */
	bool is_kept;     /* of the batch that is shown: its data must still be there */
};

/* ---- Messages -------------------------------------------------------------------------------- */

static const char *
op_name(enum message_op op)
{
	switch (op) {
	case MESSAGE_PUT:
		return "put";
	case MESSAGE_DELETE:
		return "delete";
	case MESSAGE_BURY:
		return "bury";
	case MESSAGE_STEP:
		return "step";
	case MESSAGE_CLONE:
		return "clone";
	case MESSAGE_DATA:
		return "data";
	}
	return "unknown";
}

static void
show_run(struct dump *dump, struct run run)
{
	dump__object(dump, NULL);
	dump__unsigned(dump, "addr", run.addr);
	dump__unsigned(dump, "blocks", run.blocks);
	dump__end(dump);
}

/* Of no runs: a whole tree. */
static void
show_clone(struct dump *dump, const struct journal_message *message)
{
	size_t runs = message->value.bytes / TX_RUN_BYTES;

	dump__id(dump, "source", get_be64(message->key.data));
	if (runs == 0)
		return;
	dump__array(dump, "shared");
	for (size_t i = 0; i < runs && !dump->err; i++)
		show_run(dump, journal_clone_run(message->value, i));
	dump__end(dump);
}

static void
show_message(struct dump *dump, const struct journal_message *message)
{
	dump__text(dump, "op", op_name(message->op));
	dump__text(dump, "tree", dump__kind_name(message->name.kind));
	dump__unsigned(dump, "branch", message->name.branch);
	if (message->name.object != 0)
		dump__id(dump, "of_object", message->name.object);
	if (message->op == MESSAGE_BURY || message->op == MESSAGE_STEP)
		dump__unsigned(dump, "root_at", message->root_at);
	if (message->op == MESSAGE_STEP) {
		dump__bytes(dump, "from", message->from);
		if (message->is_end)
			dump__bool(dump, "to_the_end", true);
		else
			dump__bytes(dump, "until", message->until);
	}
	if (message->op == MESSAGE_DATA) {
		dump__unsigned(dump, "addr", get_be64(message->key.data));
		if (dump__wants_all(dump))
			dump__bytes(dump, "value", message->value);
	} else if (message->op == MESSAGE_PUT) {
		dump__entry(dump, "entry", message->name.kind, message->key, message->value);
	} else if (message->op == MESSAGE_CLONE) {
		show_clone(dump, message);
	} else {
		dump__bytes(dump, "key", message->key);
		if (message->value.bytes > 0)
			dump__bytes(dump, "value", message->value);
	}
}

static void
show_messages(struct dump *dump, const struct journal_tx *tx)
{
	struct reader r = reader_over(tx->first_message, (size_t)(tx->end - tx->first_message));

	dump__array(dump, "messages");
	for (uint32_t i = 0; i < tx->messages && !dump->err; i++) {
		struct journal_message message;
		int err = journal_decode_message(&r, &message);

		dump__object(dump, NULL);
		if (err)
			dump__problem(dump, err);
		else
			show_message(dump, &message);
		dump__end(dump);
		if (err)
			break;
	}
	dump__end(dump);
}

/* ---- Transactions ---------------------------------------------------------------------------- */

static void
show_runs(struct dump *dump, const char *name, const struct journal_tx *tx, uint32_t first,
	uint32_t count)
{
	if (count == 0)
		return;
	dump__array(dump, name);
	for (uint32_t i = 0; i < count && !dump->err; i++)
		show_run(dump, journal_run(tx, first + i));
	dump__end(dump);
}

/* How many blocks are not what the transaction says. */
static int
count_bad(struct journal_dump *journal, const struct journal_data *data, uint64_t *out_bad)
{
	struct dump *dump = journal->dump;
	uint64_t blocks = min_u64(dump->sb.blocks, device_blocks(dump->dev));

	*out_bad = 0;
	for (uint32_t i = 0; i < data->blocks; i++) {
		bool is_within = data->addr < blocks && i < blocks - data->addr;
		int err = 0;

		if (is_within)
			err = device_read(dump->dev, data->addr + i, journal->block, 1);
		if (err)
			return err;
		if (!is_within || checksum64(journal->block, BLOCK_BYTES) !=
					  get_le64(data->checksums + 8 * (size_t)i))
			(*out_bad)++;
	}
	return 0;
}

static void
show_piece(struct journal_dump *journal, const struct journal_data *data)
{
	struct dump *dump = journal->dump;
	uint64_t bad = 0;
	int err = journal->is_kept ? count_bad(journal, data, &bad) : 0;

	dump__unsigned(dump, "addr", data->addr);
	dump__unsigned(dump, "blocks", data->blocks);
	if (err)
		dump__problem(dump, err);
	else if (journal->is_kept)
		dump__unsigned(dump, "blocks_that_differ", bad);
	if (!dump__wants_all(dump))
		return;
	dump__array(dump, "checksums");
	for (uint32_t i = 0; i < data->blocks; i++)
		dump__word(dump, NULL, get_le64(data->checksums + 8 * (size_t)i));
	dump__end(dump);
}

static void
show_data(struct journal_dump *journal, const struct journal_tx *tx)
{
	struct dump *dump = journal->dump;
	struct reader r = reader_over(tx->first_data, (size_t)(tx->first_message - tx->first_data));

	if (tx->data == 0)
		return;
	dump__array(dump, "data");
	for (uint32_t i = 0; i < tx->data && !dump->err; i++) {
		struct journal_data data;
		int err = journal_decode_data(&r, &data);

		dump__object(dump, NULL);
		if (err)
			dump__problem(dump, err);
		else
			show_piece(journal, &data);
		dump__end(dump);
		if (err)
			break;
	}
	dump__end(dump);
}

static void
show_transactions(struct journal_dump *journal, const struct batch_header *header)
{
	struct dump *dump = journal->dump;
	struct reader r = reader_over(journal->buffer + BATCH_HEADER_BYTES, header->bytes);

	dump__array(dump, "transactions");
	for (uint32_t i = 0; i < header->transactions && !dump->err; i++) {
		struct journal_tx tx;
		int err = journal_decode_tx(&r, &tx);

		dump__object(dump, NULL);
		if (err) {
			dump__problem(dump, err);
		} else {
			dump__unsigned(dump, "bytes", tx.bytes);
			dump__signed(dump, "objects", tx.objects);
			show_runs(dump, "taken", &tx, 0, tx.taken);
			show_runs(dump, "released", &tx, tx.taken, tx.released);
			show_data(journal, &tx);
			show_messages(dump, &tx);
		}
		dump__end(dump);
		if (err)
			break;
	}
	dump__end(dump);
}

/* ---- Batches --------------------------------------------------------------------------------- */

static const char *
kind_of(const struct batch_header *header)
{
	if (header->flags & BATCH_PAD)
		return header->flags & BATCH_OPENING ? "opening pad" : "pad";
	if (header->flags & BATCH_MARK)
		return header->flags & BATCH_OPENING ? "opening mark" : "mark";
	return header->flags & BATCH_OPENING ? "opening" : "changes";
}

static void
show_header(struct dump *dump, const struct batch_header *header)
{
	dump__unsigned(dump, "position", header->position);
	dump__unsigned(dump, "sequence", header->sequence);
	dump__text(dump, "kind", kind_of(header));
	dump__unsigned(dump, "durable", header->durable);
	dump__word(dump, "epoch", header->epoch);
	if (header->flags & BATCH_OPENING) {
		dump__word(dump, "previous_epoch", header->previous_epoch);
		dump__unsigned(dump, "previous_sequence", header->previous_sequence);
	}
	dump__unsigned(dump, "blocks", header->blocks);
	dump__unsigned(dump, "bytes", header->bytes);
	dump__unsigned(dump, "generation", header->generation);
	dump__unsigned(dump, "next_object", header->next_object);
	dump__unsigned(dump, "next_job", header->next_job);
}

/* The batch at a position, whole or not; `*out_blocks` is what of the region it takes. */
static int
read_batch(struct journal_dump *journal, uint64_t position, struct batch_header *out_header,
	bool *out_has_header)
{
	struct dump *dump = journal->dump;
	const struct journal_region *region = &journal->region;
	int err = device_read(dump->dev, region->addr + position, journal->buffer, 1);

	*out_has_header = false;
	if (err == 0)
		err = batch_decode_header(
			journal->buffer, &region->owner, position, region->blocks, out_header);
	if (err)
		return err;
	*out_has_header = true;
	err = device_read(dump->dev, region->addr + position, journal->buffer, out_header->blocks);
	return err ? err : batch_check(out_header, journal->buffer);
}

/* A batch of the chain: read again, it may have become another. */
static void
show_batch(struct journal_dump *journal, size_t index)
{
	struct dump *dump = journal->dump;
	const struct journal_batch *batch = &journal->chain.batches[index];
	struct batch_header header;
	bool has_header;
	int err = read_batch(journal, batch->position, &header, &has_header);

	if (err == 0 && (header.sequence != batch->sequence || header.epoch != batch->epoch))
		err = fail(COP_ECHECKSUM, "batch %" PRIu64 " has become batch %" PRIu64,
			batch->sequence, header.sequence);
	dump__object(dump, NULL);
	if (err) {
		dump__unsigned(dump, "position", batch->position);
		dump__problem(dump, err);
		dump__end(dump);
		return;
	}
	show_header(dump, &header);
	dump__text(dump, "fate",
		index < journal->chain.newest     ? "in the newest checkpoint"
		: index < journal->accepted.count ? "replayed"
						  : "discarded: data it names is not there");
	journal->is_kept = index >= journal->chain.newest;
	show_transactions(journal, &header);
	dump__end(dump);
}

static void
show_chain(struct journal_dump *journal)
{
	struct dump *dump = journal->dump;

	dump__array(dump, "batches");
	for (size_t i = 0; i < journal->chain.count && !dump->err; i++)
		show_batch(journal, i);
	dump__end(dump);
}

/* ---- Where it ends --------------------------------------------------------------------------- */

static void
show_place(struct dump *dump, const char *name, const struct journal_place *place)
{
	dump__object(dump, name);
	dump__unsigned(dump, "position", place->position);
	dump__unsigned(dump, "sequence", place->sequence);
	dump__word(dump, "epoch", place->epoch);
	dump__end(dump);
}

static void
show_end(struct journal_dump *journal)
{
	struct dump *dump = journal->dump;
	const struct journal_chain *chain = &journal->chain;
	struct batch_header header;
	bool has_header;
	int err = read_batch(journal, chain->end.position, &header, &has_header);
	const char *why;

	if (err == COP_ENOMEM) {
		dump->err = err;
		return;
	}
	if (journal->accepted.count < chain->count)
		why = "data that a batch names cannot be had";
	else if (err == COP_EIO)
		why = "the device cannot read what follows";
	else if (has_header && err)
		why = "a torn or damaged batch follows";
	else if (err == COP_ECHECKSUM)
		why = "no batch follows";
	else if (err)
		why = "what follows makes no sense, or is of a later version";
	else
		why = "what follows is a batch of an older lap or opening";
	dump__text(dump, "ends_because", why);
	if (err == COP_EIO)
		dump__problem(dump, err);
	err_clear();
	if (has_header) {
		dump__object(dump, "follows");
		show_header(dump, &header);
		dump__end(dump);
	}
	dump__bool(dump, "is_damaged", journal->accepted.is_damaged);
	if (journal->accepted.is_damaged) {
		dump__unsigned(dump, "lost_sequence", journal->accepted.lost_sequence);
		dump__problem(dump,
			fail(COP_ELOSS,
				"batches %" PRIu64 " to %" PRIu64 " %s durable and are lost",
				journal->accepted.end.sequence, journal->accepted.lost_sequence,
				chain->highest_durable >= journal->accepted.end.sequence
					? "were"
					: "may have been"));
	}
}

static void
show_summary(struct journal_dump *journal)
{
	struct dump *dump = journal->dump;
	const struct journal_chain *chain = &journal->chain;

	show_place(dump, "start", &chain->start);
	show_place(dump, "end", &chain->end);
	dump__bool(dump, "reaches_back_to_previous", chain->has_previous);
	dump__unsigned(dump, "batch_count", chain->count);
	dump__unsigned(dump, "in_newest_checkpoint", chain->newest);
	dump__unsigned(dump, "replayed", journal->accepted.count - chain->newest);
	dump__unsigned(dump, "discarded", chain->count - journal->accepted.count);
	dump__unsigned(dump, "durable", chain->durable);
	dump__unsigned(dump, "highest_durable", chain->highest_durable);
	dump__unsigned(dump, "highest_sequence", chain->highest_sequence);
	show_end(journal);
}

/* ---- Batches that are not in the chain ------------------------------------------------------- */

static bool
is_in_chain(const struct journal_chain *chain, uint64_t position, uint64_t sequence)
{
	for (size_t i = 0; i < chain->count; i++) {
		if (chain->batches[i].position == position &&
			chain->batches[i].sequence == sequence)
			return true;
	}
	return false;
}

static void
show_stale(struct journal_dump *journal)
{
	struct dump *dump = journal->dump;
	uint64_t position = 0;

	dump__array(dump, "other_batches");
	while (position < journal->region.blocks && !dump->err) {
		struct batch_header header;
		bool has_header;
		int err = read_batch(journal, position, &header, &has_header);
		uint64_t step = err == 0 ? header.blocks : 1;

		if (err == COP_ENOMEM)
			dump->err = err;
		if (has_header && !is_in_chain(&journal->chain, position, header.sequence)) {
			dump__object(dump, NULL);
			show_header(dump, &header);
			dump__bool(dump, "is_whole", err == 0);
			journal->is_kept = false;
			if (err == 0)
				show_transactions(journal, &header);
			dump__end(dump);
		}
		err_clear();
		position += step;
	}
	dump__end(dump);
}

/* ---- All of it ------------------------------------------------------------------------------- */

static int
scan(struct journal_dump *journal)
{
	struct dump *dump = journal->dump;
	struct journal_place newest = journal_tail_of(&dump->newest);
	struct journal_place previous = { 0 };
	int err;

	if (dump->previous.generation != 0)
		previous = journal_tail_of(&dump->previous);
	err = journal_scan(dump->dev, &journal->region, &newest, &previous, &journal->chain);
	if (err)
		return err;
	/* Verifying cuts the chain; what is cut off shall be shown. */
	journal->accepted = journal->chain;
	return journal_verify_data(
		dump->dev, &journal->region, dump->sb.blocks, &journal->accepted);
}

int
dump__journal(struct dump *dump)
{
	struct journal_dump journal = { .dump = dump };
	int err;

	if (dump->options.flags & (COP_DUMP_PREVIOUS | COP_DUMP_REPLAY))
		return fail(COP_EINVAL, "the journal is that of all checkpoints");
	journal.region = journal_region_of(&dump->sb, &dump->geometry);
	journal.buffer = block_buffer_alloc(journal_batch_blocks_max(journal.region.blocks));
	journal.block = block_buffer_alloc(1);
	err = journal.buffer && journal.block ? 0 : fail(COP_ENOMEM, "dump");
	if (err)
		goto out;
	dump__unsigned(dump, "block", journal.region.addr);
	dump__unsigned(dump, "blocks", journal.region.blocks);
	dump__bool(dump, "is_clean", (dump->newest.flags & SUPERBLOCK_CLEAN) != 0);
	err = scan(&journal);
	if (err == COP_ENOMEM)
		goto out;
	if (err) {
		dump__problem(dump, err);
		err = 0;
	} else {
		show_summary(&journal);
	}
	show_chain(&journal);
	if (dump__wants_all(dump))
		show_stale(&journal);

out:
	journal_chain_free(&journal.chain);
	free(journal.buffer);
	free(journal.block);
	return err;
}
