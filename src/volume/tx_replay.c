/*
 * A transaction of the journal, applied again (rules of commit 6, step 7): made of what its entry
 * says, and then committed like any other. It takes no ticket's share of the journal, waits for no
 * memory and runs no checkpoint; the runs that it takes were claimed before.
 *
 * An entry was decoded, so it is well-formed. What decoding cannot know is judged here: which trees
 * there are, what their nodes hold, and where the job of a step has come to.
 */

#include "volume/tx_internal.h"

#include <stdlib.h>

enum { VALUE_BYTES_MAX = 16384 }; /* more than tree_value_bytes_max() of any node */

/* Where a message is left out, what was to be given up stays used: others may still name it. */
static int
replay_runs(struct tx *tx, const struct journal_tx *from, const struct losses *losses)
{
	bool keeps = losses->count > 0;
	int err = 0;

	for (uint32_t i = 0; err == 0 && i < from->taken; i++)
		err = tx__runs_add(&tx->taken, journal_run(from, i));
	for (uint32_t i = 0; err == 0 && !keeps && i < from->released; i++)
		err = tx__runs_add(&tx->released, journal_run(from, from->taken + i));
	return err;
}

/*
 * The dead tree of a replay has nodes of its own: what the step gives up follows from its cursors,
 * and from how far the job has come in this replay. The record keeps that, and the root. `now` is
 * the record as it is.
 */
static int
replay_step_remains(struct tx *tx, const struct journal_message *step, struct view now)
{
	struct tree_cursor cursor;
	struct tree_root root;
	int err = root_record_decode(now.data + step->root_at, &root);

	if (err)
		return err;
	now.data += step->root_at + ROOT_RECORD_BYTES;
	now.bytes -= step->root_at + ROOT_RECORD_BYTES;
	if (now.bytes > sizeof cursor.key || (root.levels > 0 && view_compare(now, step->from) < 0))
		return fail(COP_EFORMAT, "a step of a job that has not come so far");
	if (now.bytes > 0)
		memcpy(cursor.key, now.data, now.bytes);
	cursor.bytes = (uint32_t)now.bytes;
	return volume__remains_until(tx->volume, step->name.kind, &root, &cursor,
		step->is_end ? NULL : &step->until, &tx->remains);
}

static int
replay_step(struct tx *tx, const struct journal_message *from)
{
	struct journal_message step = *from;
	uint8_t now[VALUE_BYTES_MAX];
	uint8_t value[VALUE_BYTES_MAX];
	struct remains *remains = &tx->remains;
	size_t bytes;
	int err = tree_get(&tx->volume->catalog.tree, step.key, now, sizeof now, &bytes);

	if (err)
		return err == COP_ENOENT || err == COP_ERANGE
			       ? fail(COP_EFORMAT, "a step of a job that is not there")
			       : err;
	if (step.root_at + ROOT_RECORD_BYTES > bytes)
		return fail(COP_EFORMAT, "a step of a job without a tree");
	if (remains->runs || remains->nodes)
		return fail(COP_EFORMAT, "two steps in one transaction");
	err = replay_step_remains(tx, &step, view_of(now, bytes));
	if (err)
		return err;
	if (step.value.bytes > 0) {
		size_t head = step.root_at + ROOT_RECORD_BYTES;

		memcpy(value, step.value.data, step.root_at);
		memcpy(value + step.root_at, now + step.root_at, ROOT_RECORD_BYTES);
		if (remains->is_done)
			root_record_encode(&(struct tree_root){ 0 }, value + step.root_at);
		if (remains->next.bytes > 0)
			memcpy(value + head, remains->next.key, remains->next.bytes);
		step.value = view_of(value, head + remains->next.bytes);
	}
	if (step.value.bytes > tree_value_bytes_max(tx->volume->env.node_bytes))
		return fail(COP_EFORMAT, "a job record of %zu bytes", step.value.bytes);
	return tx__add_message(tx, &step);
}

static int
check_clone(const struct volume *volume, const struct journal_message *message)
{
	uint64_t blocks = volume->geometry.blocks;

	if (get_be64(message->key.data) == message->name.object)
		return fail(COP_EFORMAT, "an object that is its own clone");
	for (size_t i = 0; i < message->value.bytes / TX_RUN_BYTES; i++) {
		struct run run = journal_clone_run(message->value, i);

		if (run.addr >= blocks || run.blocks > blocks - run.addr)
			return fail(COP_EFORMAT, "%" PRIu32 " shared blocks at block %" PRIu64,
				run.blocks, run.addr);
	}
	return 0;
}

/* What decoding cannot know: which trees there are, and what their nodes hold. */
static int
check_message(const struct volume *volume, const struct journal_message *message)
{
	bool has_root = message->op == MESSAGE_BURY ||
			(message->op == MESSAGE_STEP && message->value.bytes > 0);
	enum tree_kind kind = message->name.kind;

	if (message->op == MESSAGE_DATA)
		return 0;
	if (message->value.bytes > tree_value_bytes_max(volume->env.node_bytes))
		return fail(COP_EFORMAT, "a value of %zu bytes", message->value.bytes);
	if (has_root && message->root_at + ROOT_RECORD_BYTES > message->value.bytes)
		return fail(COP_EFORMAT, "a root past the end of its value");
	if (message->op == MESSAGE_CLONE)
		return check_clone(volume, message);
	if (kind == TREE_CONTENT || kind == TREE_DIRECTORY)
		return 0;
	if ((kind == TREE_CATALOG || kind == TREE_OBJECTS) && message->op <= MESSAGE_DELETE)
		return 0;
	return fail(COP_EFORMAT, "a message for a tree of kind %d", (int)kind);
}

/* Only what the transaction takes: it is written to its place again. */
static int
replay_data(struct tx *tx, const struct journal_message *message)
{
	uint64_t addr = get_be64(message->key.data);
	bool is_taken = false;

	for (size_t i = 0; i < tx->taken.count; i++) {
		const struct run *run = &tx->taken.runs[i];

		is_taken |= addr >= run->addr && addr < run->addr + run->blocks;
	}
	for (uint32_t i = 0; i < tx->carried_count; i++)
		is_taken &= addr != tx->carried[i].addr;
	if (!is_taken || tx->carried_count == TX_CARRIED_MAX)
		return fail(COP_EFORMAT, "data for block %" PRIu64, addr);
	return tx_carry(tx, message->name.object, addr, message->value.data);
}

static int
replay_messages(struct tx *tx, const struct journal_tx *from, const struct losses *losses)
{
	struct reader r =
		reader_over(from->first_message, (size_t)(from->end - from->first_message));
	int err = 0;

	for (uint32_t i = 0; err == 0 && i < from->messages; i++) {
		struct journal_message message;

		err = journal_decode_message(&r, &message);
		if (err == 0)
			err = check_message(tx->volume, &message);
		if (err)
			break;
		if (losses->is_lost[i])
			continue;
		if (message.op == MESSAGE_DATA)
			err = replay_data(tx, &message);
		else if (tx->message_count == TX_MESSAGES_MAX)
			err = fail(COP_EFORMAT, "too many messages");
		else if (message.op == MESSAGE_STEP)
			err = replay_step(tx, &message);
		else
			err = tx__add_message(tx, &message);
	}
	return err;
}

/* Trees are open: does a tree become another one's that is not empty by then? */
static bool
clones_over_content(const struct tx *tx)
{
	for (uint32_t i = 0; i < tx->message_count; i++) {
		const struct message *clone = &tx->messages[i];
		bool is_empty = clone->tree->root.levels == 0;

		if (clone->op != MESSAGE_CLONE || clone->value_bytes > 0)
			continue;
		for (uint32_t j = 0; j < i; j++) {
			if (tx->messages[j].tree == clone->tree)
				is_empty = tx->messages[j].op == MESSAGE_BURY;
		}
		if (!is_empty)
			return true;
	}
	return false;
}

int
tx__check_replay(const struct tx *tx)
{
	if (clones_over_content(tx))
		return fail(COP_EFORMAT, "a clone over content that stays");
	return 0;
}

/* Not after COP_ENOMEM. */
static struct tx *
begin_replay(struct volume *volume, struct volume_visit *visit)
{
	struct tx *tx = calloc(1, sizeof *tx);

	if (!tx)
		return NULL;
	tx->volume = volume;
	tx->visit = visit;
	tx->emptying = true; /* what was admitted then is admitted now */
	tx->is_replay = true;
	volume_enter(volume, visit);
	return tx;
}

int
volume__tx_replay(struct volume *volume, const struct journal_tx *from, const struct losses *losses)
{
	struct volume_visit visit;
	struct tx *tx;
	int err;

	if (from->messages > TX_MESSAGES_MAX + TX_CARRIED_MAX)
		return fail(COP_EFORMAT, "a transaction of %u messages", from->messages);
	tx = begin_replay(volume, &visit);
	if (!tx)
		return fail(COP_ENOMEM, "transaction");
	tx->objects = from->objects;
	err = replay_runs(tx, from, losses);
	if (err == 0)
		err = replay_messages(tx, from, losses);
	if (err == 0)
		err = tx_commit(TAKE(tx));
	tx_abort(tx);
	volume_leave(volume, &visit);
	return err;
}

int
volume__tx_lose(struct volume *volume, struct tree_name name, struct view key)
{
	struct volume_visit visit;
	struct tx *tx = begin_replay(volume, &visit);
	int err;

	if (!tx)
		return fail(COP_ENOMEM, "transaction");
	err = tx_put(tx, name, key, view_of(NULL, 0));
	if (err == 0) {
		tx->messages[0].marks_loss = true;
		tx->work.ends_in_loss = true;
		err = tx_commit(TAKE(tx));
	}
	tx_abort(tx);
	volume_leave(volume, &visit);
	return err;
}
