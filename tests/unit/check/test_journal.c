#include "world.h"

#include "volume/journal_scan.h"

#include <stdio.h>
#include <string.h>

/* The journal of a volume that nobody has open. */
struct journal {
	struct superblock newest;
	struct superblock previous;
	struct geometry geometry;
	struct journal_region region;
	struct journal_chain chain;
};

static struct journal_place
tail_of(const struct superblock *sb)
{
	return (struct journal_place){ sb->journal_tail, sb->journal_sequence, sb->epoch };
}

static void
journal_load(struct world *w, struct journal *journal)
{
	struct journal_place newest;
	struct journal_place previous;
	struct device *dev;

	world_superblocks(w, &journal->newest, &journal->previous);
	must(geometry_init(&journal->geometry, journal->newest.blocks, journal->newest.ag_blocks,
		journal->newest.journal_blocks));
	journal->region = journal_region_of(&journal->newest, &journal->geometry);
	newest = tail_of(&journal->newest);
	previous = tail_of(&journal->previous);
	must(sim_open(w->medium, DEVICE_READ_ONLY, &dev));
	must(journal_scan(dev, &journal->region, &newest, &previous, &journal->chain));
	device_close(dev);
}

static void
write_file(struct world *w, const char *name, size_t bytes)
{
	static uint8_t data[16 * BLOCK_BYTES];
	struct cop_new new = COP_INIT(new);
	struct cop_object *file;

	memset(data, name[0], sizeof data);
	new.kind = COP_FILE;
	must(cop_create(w->root, name, strlen(name), &new, &file));
	must(cop_write(file, 0, data, bytes, NULL));
	cop_release(file);
}

static void
write_and_sync(struct world *w, const char *name, size_t bytes)
{
	write_file(w, name, bytes);
	must(cop_sync(w->volume));
}

/* Some of everything that a journal can hold, in several batches, and then nothing more. */
static struct world *
open_killed(struct journal *out_journal)
{
	struct world *w = world_open();
	struct cop_object *object;

	world_reopen(w);
	write_and_sync(w, "one", 12 * BLOCK_BYTES);
	must(cop_unlink(w->root, "comb", 4, 0)); /* a job, with a dead tree */
	must(cop_walk(w->root, "pieces", 0, &object));
	must(cop_set_length(object, 5000));
	must(cop_punch(object, 0, BLOCK_BYTES));
	must(cop_xattr_set(object, "user.more", "value", 5, 0));
	cop_release(object);
	must(cop_rename(w->root, "small", 5, w->root, "moved", 5, 0));
	write_file(w, "carried", 2 * BLOCK_BYTES); /* its bytes are in the journal */
	must(cop_sync(w->volume));
	write_and_sync(w, "two", 8 * BLOCK_BYTES);
	world_kill(w);
	journal_load(w, out_journal);
	assert_int_equal(out_journal->chain.count - out_journal->chain.newest, 3);
	return w;
}

static void
close_killed(struct world *w, struct journal *journal)
{
	journal_chain_free(&journal->chain);
	world_free(w);
}

static const struct journal_batch *
batch_after_tail(const struct journal *journal, size_t index)
{
	return &journal->chain.batches[journal->chain.newest + index];
}

static uint64_t
block_of(const struct journal *journal, const struct journal_batch *batch)
{
	return journal->region.addr + batch->position;
}

/* A batch as it lies there, to be changed and put back with right checksums. */
struct edited {
	struct batch_header header;
	uint8_t *bytes; /* owned */
};

static void
batch_take(struct world *w, const struct journal *journal, const struct journal_batch *batch,
	struct edited *out)
{
	out->bytes = block_buffer_alloc(batch->blocks);
	assert_non_null(out->bytes);
	for (uint32_t i = 0; i < batch->blocks; i++)
		must(sim_peek(w->medium, block_of(journal, batch) + i,
			out->bytes + (size_t)i * BLOCK_BYTES));
	must(batch_decode_header(out->bytes, &journal->region.owner, batch->position,
		journal->region.blocks, &out->header));
}

static void
batch_put(struct world *w, const struct journal *journal, struct edited *edited)
{
	batch_encode(&edited->header, edited->bytes);
	for (uint32_t i = 0; i < edited->header.blocks; i++)
		must(sim_poke(w->medium, journal->region.addr + edited->header.position + i,
			edited->bytes + (size_t)i * BLOCK_BYTES));
	free(edited->bytes);
}

/* The first transaction of a batch that `wants` one; where it lies in the batch. */
static uint8_t *
find_tx(struct edited *edited, bool (*wants)(const struct journal_tx *tx),
	struct journal_tx *out_tx)
{
	struct reader r = reader_over(edited->bytes + BATCH_HEADER_BYTES, edited->header.bytes);

	for (uint32_t i = 0; i < edited->header.transactions; i++) {
		size_t at = r.at;

		must(journal_decode_tx(&r, out_tx));
		if (wants(out_tx))
			return edited->bytes + BATCH_HEADER_BYTES + at;
	}
	fail_msg("no such transaction");
	return NULL;
}

static bool
takes_blocks(const struct journal_tx *tx)
{
	return tx->taken > 0 && tx->data > 0;
}

static bool
has_message(const struct journal_tx *tx)
{
	return tx->messages > 0;
}

/* ---- Sound ----------------------------------------------------------------------------------- */

static void
proves_what_replay_gives(void **state)
{
	struct journal journal;
	struct world *w = open_killed(&journal);
	uint64_t objects;

	(void)state;
	world_expect_none(w);
	objects = w->result.objects;

	/* After a recovery the same is there, in a checkpoint. */
	world_start(w);
	world_close(w);
	world_expect_none(w);
	assert_int_equal(w->result.objects, objects);
	close_killed(w, &journal);
}

static void
takes_a_torn_end_for_what_it_is(void **state)
{
	struct journal journal;
	struct world *w = open_killed(&journal);
	uint64_t objects;

	(void)state;
	world_check(w);
	objects = w->result.objects;
	world_flip(w, block_of(&journal, batch_after_tail(&journal, 2)));
	world_expect_none(w);
	assert_int_equal(w->result.objects, objects - 1);
	close_killed(w, &journal);
}

/* ---- Damage ---------------------------------------------------------------------------------- */

static void
finds_batches_that_are_lost(void **state)
{
	struct journal journal;
	struct world *w = open_killed(&journal);

	(void)state;
	world_flip(w, block_of(&journal, batch_after_tail(&journal, 0)));
	world_expect_one(w, COP_PROBLEM_JOURNAL, 0, "were durable and cannot be read");
	assert_int_equal(w->found[0].block, block_of(&journal, batch_after_tail(&journal, 0)));
	close_killed(w, &journal);
}

static void
finds_a_way_back_that_is_lost(void **state)
{
	struct journal journal;
	struct world *w = world_open();

	(void)state;
	write_and_sync(w, "one", 100);
	world_close(w);
	journal_load(w, &journal);
	assert_true(journal.chain.newest > 0);
	world_expect_none(w);
	world_flip(w, block_of(&journal, &journal.chain.batches[0]));
	world_expect_one(w, COP_PROBLEM_JOURNAL, 0, "there is no way back");
	close_killed(w, &journal);
}

static void
finds_data_that_the_journal_names_and_that_is_gone(void **state)
{
	struct journal journal;
	struct world *w = open_killed(&journal);
	struct journal_tx tx;
	struct edited edited;
	struct run run;

	(void)state;
	batch_take(w, &journal, batch_after_tail(&journal, 0), &edited);
	(void)find_tx(&edited, takes_blocks, &tx);
	run = journal_run(&tx, 0);
	batch_put(w, &journal, &edited);
	world_expect_none(w);
	world_flip(w, run.addr);
	world_check(w);
	assert_int_equal(w->found_count, 1);
	assert_int_equal(w->found[0].class_, COP_PROBLEM_DATA);
	assert_string_equal(w->found[0].path, "/one");
	assert_non_null(strstr(w->found[0].text, "after the journal: "));
	close_killed(w, &journal);
}

static void
tells_what_both_proofs_find_only_once(void **state)
{
	struct journal journal;
	struct world *w = open_killed(&journal);
	struct extent extent;

	(void)state;
	world_flip(w, journal.newest.catalog.pointer.addr2);
	world_expect_one(w, COP_PROBLEM_COPY, 0, "catalog");
	world_flip(w, journal.newest.catalog.pointer.addr2);
	close_killed(w, &journal);

	w = open_killed(&journal);
	world_start(w);
	extent = world_extent(w, world_id(w, "ahead"), 0);
	world_kill(w);
	world_flip(w, extent.addr);
	world_check(w);
	assert_int_equal(w->found_count, 1);
	close_killed(w, &journal);
}

/* ---- What superblocks say -------------------------------------------------------------------- */

static void
compares_superblocks_with_the_journal(void **state)
{
	struct journal journal;
	struct world *w = open_killed(&journal);
	struct superblock sb = journal.newest;

	(void)state;
	sb.flags |= SUPERBLOCK_CLEAN;
	world_put_superblock(w, &sb);
	world_expect_one(w, COP_PROBLEM_SUPERBLOCK, 0, "says that nothing follows");

	sb = journal.newest;
	sb.retained_sequence++;
	world_put_superblock(w, &sb);
	world_expect_one(w, COP_PROBLEM_SUPERBLOCK, 0, "the journal is kept from");

	sb = journal.newest;
	sb.journal_sequence = journal.previous.journal_sequence - 1;
	world_put_superblock(w, &sb);
	world_check(w);
	(void)world_expect_among(w, COP_PROBLEM_SUPERBLOCK, 0, "before batch");
	world_put_superblock(w, &journal.newest);
	world_expect_none(w);
	close_killed(w, &journal);
}

/* ---- What batches say ------------------------------------------------------------------------ */

static void
compares_batches_with_those_before(void **state)
{
	struct journal journal;
	struct world *w = open_killed(&journal);
	struct edited edited;

	(void)state;
	batch_take(w, &journal, batch_after_tail(&journal, 2), &edited);
	assert_true(edited.header.durable > 1);
	edited.header.durable = 1;
	batch_put(w, &journal, &edited);
	world_expect_one(w, COP_PROBLEM_JOURNAL, 0, "says that what is durable ends at batch 1");

	batch_take(w, &journal, batch_after_tail(&journal, 2), &edited);
	edited.header.durable = edited.header.sequence - 1;
	edited.header.generation--;
	batch_put(w, &journal, &edited);
	world_expect_one(w, COP_PROBLEM_JOURNAL, 0, "a counter has gone back");
	close_killed(w, &journal);
}

static void
judges_runs_and_messages(void **state)
{
	struct journal journal;
	struct world *w = open_killed(&journal);
	struct edited edited;
	struct journal_tx tx;
	uint8_t *at;
	uint64_t good;

	(void)state;
	/* A run outside of the volume: not to be replayed either. */
	batch_take(w, &journal, batch_after_tail(&journal, 2), &edited);
	at = find_tx(&edited, takes_blocks, &tx) + TX_HEADER_BYTES;
	good = get_le64(at);
	put_le64(at, journal.newest.blocks - 1);
	batch_put(w, &journal, &edited);
	world_check(w);
	(void)world_expect_among(w, COP_PROBLEM_JOURNAL, 0, "which are not all there to be had");
	(void)world_expect_among(w, COP_PROBLEM_JOURNAL, 0, "the journal cannot be replayed");

	/* One that is in use already: well-formed, but it cannot be. */
	batch_take(w, &journal, batch_after_tail(&journal, 2), &edited);
	at = find_tx(&edited, takes_blocks, &tx) + TX_HEADER_BYTES;
	put_le64(at, journal.newest.catalog.pointer.addr);
	batch_put(w, &journal, &edited);
	world_expect_one(w, COP_PROBLEM_JOURNAL, 0, "the journal cannot be replayed");

	/* A tree that cannot be. */
	batch_take(w, &journal, batch_after_tail(&journal, 2), &edited);
	at = find_tx(&edited, takes_blocks, &tx) + TX_HEADER_BYTES;
	put_le64(at, good);
	(void)find_tx(&edited, has_message, &tx);
	put_le64(edited.bytes + (tx.first_message - edited.bytes) + 8, 77);
	batch_put(w, &journal, &edited);
	world_check(w);
	(void)world_expect_among(w, COP_PROBLEM_JOURNAL, 0, "of branch 77");
	close_killed(w, &journal);
}

static bool
has_clone(const struct journal_tx *tx)
{
	struct reader r = reader_over(tx->first_message, (size_t)(tx->end - tx->first_message));
	struct journal_message message;

	for (uint32_t i = 0; i < tx->messages; i++) {
		must(journal_decode_message(&r, &message));
		if (message.op == MESSAGE_CLONE)
			return true;
	}
	return false;
}

/* The message clone of such a transaction, within the batch. */
static uint8_t *
clone_in(struct edited *edited)
{
	struct journal_tx tx;
	struct journal_message message = { .op = MESSAGE_PUT };
	struct reader r;
	size_t at = 0;

	(void)find_tx(edited, has_clone, &tx);
	r = reader_over(tx.first_message, (size_t)(tx.end - tx.first_message));
	while (message.op != MESSAGE_CLONE) {
		at = r.at;
		must(journal_decode_message(&r, &message));
	}
	return edited->bytes + (tx.first_message - edited->bytes) + at;
}

static void
judges_clones(void **state)
{
	struct journal journal;
	struct world *w = world_open();
	struct edited edited;
	uint64_t source = world_id(w, "pieces");
	uint64_t clone;
	uint8_t *message;

	(void)state;
	world_reopen(w);
	clone = world_clone(w, source);
	must(cop_sync(w->volume));
	world_kill(w);
	journal_load(w, &journal);
	world_expect_none(w);

	/* Another block than the one that both records name: too much here, too little there. */
	batch_take(w, &journal, batch_after_tail(&journal, 0), &edited);
	message = clone_in(&edited) + MESSAGE_HEADER_BYTES + CLONE_KEY_BYTES;
	put_le64(message, get_le64(message) - 1);
	batch_put(w, &journal, &edited);
	world_check(w);
	(void)world_expect_among(w, COP_PROBLEM_ALLOCATION, clone, "used by something else");
	(void)world_expect_among(w, COP_PROBLEM_LEAK, 0, "counted 2 times");

	/* Blocks that there are not, of an object that there was not: not to be replayed either. */
	batch_take(w, &journal, batch_after_tail(&journal, 0), &edited);
	message = clone_in(&edited) + MESSAGE_HEADER_BYTES + CLONE_KEY_BYTES;
	put_le64(message, journal.newest.blocks - 1);
	put_be64(message - CLONE_KEY_BYTES, UINT32_MAX);
	batch_put(w, &journal, &edited);
	world_check(w);
	(void)world_expect_among(w, COP_PROBLEM_JOURNAL, 0, "becomes a clone of object");
	(void)world_expect_among(w, COP_PROBLEM_JOURNAL, 0, "which are not all there to be had");
	(void)world_expect_among(w, COP_PROBLEM_JOURNAL, 0, "the journal cannot be replayed");
	close_killed(w, &journal);
}

/* It would lose the content: what a crash leaves never says that. */
static void
refuses_a_clone_over_content(void **state)
{
	enum { OBJECT_AT = 16 };
	struct journal journal;
	struct world *w = world_open();
	struct edited edited;
	uint64_t source = world_id(w, "comb");
	uint64_t other;

	(void)state;
	other = world_clone(w, source);
	world_reopen(w);
	(void)world_clone(w, source);
	must(cop_sync(w->volume));
	world_kill(w);
	journal_load(w, &journal);
	world_expect_none(w);

	batch_take(w, &journal, batch_after_tail(&journal, 0), &edited);
	put_le64(clone_in(&edited) + OBJECT_AT, other);
	batch_put(w, &journal, &edited);
	world_expect_one(w, COP_PROBLEM_JOURNAL, 0, "a clone over content that stays");
	close_killed(w, &journal);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(proves_what_replay_gives),
		cmocka_unit_test(takes_a_torn_end_for_what_it_is),
		cmocka_unit_test(finds_batches_that_are_lost),
		cmocka_unit_test(finds_a_way_back_that_is_lost),
		cmocka_unit_test(finds_data_that_the_journal_names_and_that_is_gone),
		cmocka_unit_test(tells_what_both_proofs_find_only_once),
		cmocka_unit_test(compares_superblocks_with_the_journal),
		cmocka_unit_test(compares_batches_with_those_before),
		cmocka_unit_test(judges_runs_and_messages),
		cmocka_unit_test(judges_clones),
		cmocka_unit_test(refuses_a_clone_over_content),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
