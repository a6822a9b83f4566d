/*
 * The journal: what the superblocks say of it, its chain, each batch, and whether it can be
 * replayed.
 *
 * The chain is the one that recovery would find. A torn end is no problem: that is what a crash
 * leaves. What replay makes of it is proved afterwards, as a checkpoint is: check.c.
 */

#include "check/check_internal.h"

#include "base/num.h"
#include "volume/journal_scan.h"

#include <stdlib.h>
#include <string.h>

struct journal_check {
	struct checker *checker;
	struct journal_region region;
	struct journal_chain chain;
	uint8_t *buffer;          /* owned: a batch */
	struct batch_header last; /* sequence 0: none */
	uint64_t sequence;        /* of the batch that is being judged */
	uint64_t block;           /* where it begins on the device */
};

static struct finding
finding_at(const struct journal_check *journal)
{
	return (struct finding){ .class_ = COP_PROBLEM_JOURNAL, .block = journal->block };
}

/* ---- What the superblocks say ---------------------------------------------------------------- */

static void
judge_superblocks(struct checker *checker)
{
	const struct superblock *sb = &checker->sb;
	const struct superblock *previous = &checker->previous;
	struct finding finding = { .class_ = COP_PROBLEM_SUPERBLOCK };

	if (previous->generation == 0)
		return;
	if (sb->retained_tail != previous->journal_tail ||
		sb->retained_sequence != previous->journal_sequence)
		report__problem(checker, &finding,
			"the journal is kept from batch %" PRIu64 " at its block %" PRIu64
			", and the superblock before begins at batch %" PRIu64 ", block %" PRIu64,
			sb->retained_sequence, sb->retained_tail, previous->journal_sequence,
			previous->journal_tail);
	if (previous->journal_sequence > sb->journal_sequence)
		report__problem(checker, &finding,
			"the journal begins at batch %" PRIu64 ", before batch %" PRIu64
			" of the superblock before",
			sb->journal_sequence, previous->journal_sequence);
}

/* ---- The chain ------------------------------------------------------------------------------- */

static void
judge_chain(struct journal_check *journal)
{
	struct checker *checker = journal->checker;
	const struct journal_chain *chain = &journal->chain;
	struct finding finding = { .class_ = COP_PROBLEM_JOURNAL,
		.block = journal->region.addr + chain->end.position };

	if (chain->is_damaged)
		report__problem(checker, &finding,
			"batches %" PRIu64 " to %" PRIu64
			" %s durable and cannot be read: what they held is lost",
			chain->end.sequence, chain->lost_sequence,
			chain->highest_durable >= chain->end.sequence ? "were" : "may have been");
	finding.block = 0;
	if (!chain->has_previous && checker->previous.generation != 0)
		report__problem(checker, &finding,
			"the batches since the checkpoint before the newest are not whole: "
			"if the newest is lost, there is no way back");
	finding = (struct finding){ .class_ = COP_PROBLEM_SUPERBLOCK };
	if (checker->sb.flags & SUPERBLOCK_CLEAN && chain->count > chain->newest)
		report__problem(checker, &finding,
			"the newest superblock says that nothing follows, and the journal has "
			"batches %" PRIu64 " to %" PRIu64,
			chain->batches[chain->newest].sequence, chain->end.sequence - 1);
}

/* ---- Transactions ---------------------------------------------------------------------------- */

/* Could the blocks have been handed out: in one group, not over what is fixed? */
static bool
run_is_sound(const struct checker *checker, struct run run)
{
	const struct geometry *geometry = &checker->geometry;
	uint64_t ag = run.addr / geometry->ag_blocks;
	uint64_t first = run.addr % geometry->ag_blocks;

	return run.addr < geometry->blocks && first >= geometry_fixed_blocks(geometry, ag) &&
	       first <= geometry_ag_size(geometry, ag) &&
	       run.blocks <= geometry_ag_size(geometry, ag) - first;
}

static void
judge_run(struct journal_check *journal, struct run run, const char *what)
{
	struct finding finding = finding_at(journal);

	if (!run_is_sound(journal->checker, run))
		report__problem(journal->checker, &finding,
			"batch %" PRIu64 ": %s %" PRIu32 " blocks at block %" PRIu64
			", which are not all there to be had",
			journal->sequence, what, run.blocks, run.addr);
}

/* Is there such a tree? */
static bool
name_is_sound(const struct tree_name *name, uint64_t next_object)
{
	switch (name->kind) {
	case TREE_CATALOG:
		return name->branch == 0 && name->object == 0;
	case TREE_OBJECTS:
	case TREE_TAGS:
		return name->branch == BRANCH_MAIN && name->object == 0;
	case TREE_CONTENT:
	case TREE_DIRECTORY:
		return name->branch == BRANCH_MAIN && name->object != 0 &&
		       name->object < next_object;
	case TREE_SHARES:
		break;
	}
	return false;
}

/* What is shared must be there to be had, and have an object to be shared with. */
static void
judge_clone(struct journal_check *journal, const struct journal_message *message,
	const struct batch_header *header)
{
	struct finding finding = finding_at(journal);
	struct tree_name source = message->name;

	source.object = get_be64(message->key.data);
	if (!name_is_sound(&source, header->next_object) || source.object == message->name.object)
		report__problem(journal->checker, &finding,
			"batch %" PRIu64 ": object %" PRIu64 " becomes a clone of object %" PRIu64
			", which cannot be",
			journal->sequence, message->name.object, source.object);
	for (size_t i = 0; i < message->value.bytes / TX_RUN_BYTES; i++)
		judge_run(journal, journal_clone_run(message->value, i), "shares");
}

static void
judge_message(struct journal_check *journal, const struct journal_message *message,
	const struct batch_header *header)
{
	struct checker *checker = journal->checker;
	struct finding finding = finding_at(journal);

	if (!name_is_sound(&message->name, header->next_object))
		report__problem(checker, &finding,
			"batch %" PRIu64 ": a message to tree %d of branch %" PRIu64
			", object %" PRIu64 ", which cannot be",
			journal->sequence, (int)message->name.kind, message->name.branch,
			message->name.object);
	if (message->op == MESSAGE_DATA) {
		judge_run(journal, (struct run){ get_be64(message->key.data), 1 }, "carries");
		return;
	}
	if (message->op == MESSAGE_CLONE)
		judge_clone(journal, message, header);
	if (message->key.bytes == 0 || message->key.bytes > TREE_KEY_BYTES_MAX ||
		message->value.bytes > tree_value_bytes_max(checker->sb.node_bytes))
		report__problem(checker, &finding,
			"batch %" PRIu64 ": a message with a key of %zu and a value of %zu bytes",
			journal->sequence, message->key.bytes, message->value.bytes);
}

/* COP_EFORMAT: it does not decode. */
static int
judge_tx(struct journal_check *journal, const struct journal_tx *tx,
	const struct batch_header *header)
{
	struct reader data =
		reader_over(tx->first_data, (size_t)(tx->first_message - tx->first_data));
	struct reader messages =
		reader_over(tx->first_message, (size_t)(tx->end - tx->first_message));

	for (uint32_t i = 0; i < tx->taken; i++)
		judge_run(journal, journal_run(tx, i), "takes");
	for (uint32_t i = 0; i < tx->released; i++)
		judge_run(journal, journal_run(tx, tx->taken + i), "releases");
	for (uint32_t i = 0; i < tx->data; i++) {
		struct journal_data piece;
		int err = journal_decode_data(&data, &piece);

		if (err)
			return err;
		judge_run(journal, (struct run){ piece.addr, piece.blocks }, "names data in");
	}
	for (uint32_t i = 0; i < tx->messages; i++) {
		struct journal_message message;
		int err = journal_decode_message(&messages, &message);

		if (err)
			return err;
		judge_message(journal, &message, header);
	}
	return 0;
}

/* ---- Batches --------------------------------------------------------------------------------- */

/* What it says must agree with what came before it. That it follows, and does not call itself
 * durable, the chain has asked already. */
static void
judge_header(struct journal_check *journal, const struct batch_header *header)
{
	struct checker *checker = journal->checker;
	const struct batch_header *last = &journal->last;
	struct finding finding = finding_at(journal);

	if (last->sequence == 0)
		return;
	if (header->durable < last->durable)
		report__problem(checker, &finding,
			"batch %" PRIu64 " says that what is durable ends at batch %" PRIu64
			", the one before said %" PRIu64,
			header->sequence, header->durable, last->durable);
	if (header->generation < last->generation || header->next_object < last->next_object ||
		header->next_job < last->next_job)
		report__problem(checker, &finding, "batch %" PRIu64 ": a counter has gone back",
			header->sequence);
}

static int
judge_batch(struct journal_check *journal, const struct journal_batch *batch)
{
	struct batch_header header;
	struct reader r;
	int err =
		journal_read_batch(journal->checker->dev, &journal->region, batch, journal->buffer);

	if (err == 0)
		err = batch_decode_header(journal->buffer, &journal->region.owner, batch->position,
			journal->region.blocks, &header);
	if (err)
		return err;
	judge_header(journal, &header);
	journal->last = header;
	r = reader_over(journal->buffer + BATCH_HEADER_BYTES, header.bytes);
	for (uint32_t i = 0; err == 0 && i < header.transactions; i++) {
		struct journal_tx tx;

		err = journal_decode_tx(&r, &tx);
		if (err == 0)
			err = judge_tx(journal, &tx, &header);
	}
	return err;
}

static int
judge_batches(struct journal_check *journal)
{
	struct checker *checker = journal->checker;

	for (size_t i = 0; i < journal->chain.count; i++) {
		const struct journal_batch *batch = &journal->chain.batches[i];
		int err;

		journal->sequence = batch->sequence;
		journal->block = journal->region.addr + batch->position;
		err = judge_batch(journal, batch);
		if (err == COP_ENOMEM)
			return err;
		if (err) {
			struct finding finding = finding_at(journal);

			report__problem(checker, &finding, "batch %" PRIu64 ": %s", batch->sequence,
				report__why(err));
			err_clear();
		}
	}
	return 0;
}

/* ---- All of it ------------------------------------------------------------------------------- */

static int
scan(struct journal_check *journal)
{
	struct checker *checker = journal->checker;
	struct journal_place newest = journal_tail_of(&checker->sb);
	struct journal_place previous = { 0 };
	struct finding finding = { .class_ = COP_PROBLEM_JOURNAL, .block = journal->region.addr };
	int err;

	if (checker->previous.generation != 0)
		previous = journal_tail_of(&checker->previous);
	err = journal_scan(checker->dev, &journal->region, &newest, &previous, &journal->chain);
	if (err == 0 || err == COP_ENOMEM)
		return err;
	report__problem(checker, &finding, "%s", report__why(err));
	err_clear();
	return 0;
}

int
journal__check(struct checker *checker)
{
	struct journal_check journal = { .checker = checker };
	int err = 0;

	checker->has_replay = false;
	judge_superblocks(checker);
	journal.region = journal_region_of(&checker->sb, &checker->geometry);
	journal.buffer = block_buffer_alloc(journal_batch_blocks_max(journal.region.blocks));
	if (!journal.buffer)
		return fail(COP_ENOMEM, "check");
	err = scan(&journal);
	if (err == 0 && journal.chain.batches)
		err = judge_batches(&journal);
	/* What was durable is proved by the proof of what replay gives; from there on data that is
	 * not there is what a crash leaves, and ends the chain. */
	if (err == 0 && journal.chain.batches)
		err = journal_verify_data(
			checker->dev, &journal.region, checker->sb.blocks, &journal.chain);
	if (err == 0 && journal.chain.batches)
		judge_chain(&journal);
	if (err == 0)
		checker->has_replay = journal.chain.count > journal.chain.newest;
	journal_chain_free(&journal.chain);
	free(journal.buffer);
	return err;
}
