/*
 * Transactions: collecting messages, and the way of one through its commit.
 *
 *   collect   tx_put, tx_delete, ...: memory of the caller's only
 *   ticket    the worst case is set aside (ticket.c)
 *   prepare   nodes are loaded and pinned, with no lock held (tx_prepare.c)
 *   apply     under the exclusive gate, where nothing fails or waits (tx_apply.c)
 *
 * If the trees have outgrown the ticket when everything is at hand, it goes back, and a larger one
 * is taken.
 */

#include "volume/tx_internal.h"

#include <stdlib.h>

/* ---- Collecting ------------------------------------------------------------------------------ */

int
tx_begin(struct volume *volume, struct volume_visit *visit, bool emptying, struct tx **out_tx)
{
	struct tx *tx;
	int err;

	if (volume->options.read_only)
		return fail(COP_EROFS, "the volume is open for reading only");
	err = volume_failed(volume);
	if (err)
		return err;
	tx = calloc(1, sizeof *tx);
	if (!tx)
		return fail(COP_ENOMEM, "transaction");
	tx->volume = volume;
	tx->visit = visit;
	tx->emptying = emptying;
	*out_tx = tx;
	return 0;
}

static uint8_t *
append_view(uint8_t *at, struct view view)
{
	if (view.bytes > 0)
		memcpy(at, view.data, view.bytes);
	return at + view.bytes;
}

int
tx__add_message(struct tx *tx, const struct journal_message *from)
{
	uint8_t *bytes;
	uint8_t *at;

	assert(tx->message_count < TX_MESSAGES_MAX);
	assert(from->key.bytes > 0);
	assert(from->key.bytes <= TREE_KEY_BYTES_MAX);
	assert(from->value.bytes <= tree_value_bytes_max(tx->volume->env.node_bytes));

	bytes = malloc(from->key.bytes + from->value.bytes + from->from.bytes + from->until.bytes);
	if (!bytes)
		return fail(COP_ENOMEM, "message");
	at = append_view(bytes, from->key);
	at = append_view(at, from->value);
	at = append_view(at, from->from);
	(void)append_view(at, from->until);
	tx->messages[tx->message_count++] = (struct message){
		.op = from->op,
		.name = from->name,
		.bytes = bytes,
		.key_bytes = (uint32_t)from->key.bytes,
		.value_bytes = (uint32_t)from->value.bytes,
		.from_bytes = (uint32_t)from->from.bytes,
		.until_bytes = (uint32_t)from->until.bytes,
		.is_end = from->is_end,
		.root_at = from->root_at,
	};
	return 0;
}

int
tx_put(struct tx *tx, struct tree_name name, struct view key, struct view value)
{
	return tx__add_message(
		tx, &(struct journal_message){
			    .op = MESSAGE_PUT, .name = name, .key = key, .value = value });
}

int
tx_delete(struct tx *tx, struct tree_name name, struct view key)
{
	return tx__add_message(
		tx, &(struct journal_message){ .op = MESSAGE_DELETE, .name = name, .key = key });
}

static int
copy_remains(struct remains *to, const struct remains *from)
{
	to->runs = malloc(from->run_count * sizeof to->runs[0] + 1);
	to->nodes = malloc(from->node_count * sizeof to->nodes[0] + 1);
	if (!to->runs || !to->nodes)
		return fail(COP_ENOMEM, "step of a job");
	if (from->run_count > 0)
		memcpy(to->runs, from->runs, from->run_count * sizeof to->runs[0]);
	if (from->node_count > 0)
		memcpy(to->nodes, from->nodes, from->node_count * sizeof to->nodes[0]);
	to->run_count = from->run_count;
	to->node_count = from->node_count;
	return 0;
}

int
tx_step(struct tx *tx, const struct tx_step *step)
{
	const struct remains *remains = step->remains;
	struct journal_message message = {
		.op = MESSAGE_STEP,
		.name = step->dead,
		.key = step->job_key,
		.value = step->value,
		.root_at = step->root_at,
		.from = view_of(step->from->key, step->from->bytes),
		.is_end = remains->is_done,
	};
	int err;

	assert(step->value.bytes == 0 || step->root_at + ROOT_RECORD_BYTES <= step->value.bytes);
	assert(!tx->remains.runs);
	if (!remains->is_done)
		message.until = view_of(remains->next.key, remains->next.bytes);
	err = copy_remains(&tx->remains, remains);
	return err ? err : tx__add_message(tx, &message);
}

static int
add_clone(struct tx *tx, struct tree_name target, uint64_t source, struct view runs)
{
	uint8_t key[CLONE_KEY_BYTES];

	assert(target.kind == TREE_CONTENT);
	assert(source != target.object);
	put_be64(key, source);
	return tx__add_message(tx, &(struct journal_message){
					   .op = MESSAGE_CLONE,
					   .name = target,
					   .key = view_of(key, sizeof key),
					   .value = runs,
				   });
}

int
tx_clone_tree(struct tx *tx, struct tree_name target, uint64_t source)
{
	return add_clone(tx, target, source, view_of(NULL, 0));
}

int
tx_clone_runs(struct tx *tx, struct tree_name target, uint64_t source, const struct run *runs,
	size_t count)
{
	uint8_t value[TX_CLONE_RUNS_MAX * TX_RUN_BYTES];

	assert(count > 0);
	assert(count <= TX_CLONE_RUNS_MAX);
	for (size_t i = 0; i < count; i++)
		journal_encode_clone_run(runs[i], value + i * TX_RUN_BYTES);
	return add_clone(tx, target, source, view_of(value, count * TX_RUN_BYTES));
}

int
tx_bury_tree(struct tx *tx, struct tree_name name, struct view job_key, uint32_t root_at)
{
	const struct message *job = NULL;

	assert(name.kind == TREE_CONTENT || name.kind == TREE_DIRECTORY);
	for (uint32_t i = 0; i < tx->message_count; i++) {
		if (tx->messages[i].op == MESSAGE_PUT &&
			tx->messages[i].name.kind == TREE_CATALOG &&
			view_equal(message_key(&tx->messages[i]), job_key))
			job = &tx->messages[i];
	}
	assert(job);
	assert(root_at + ROOT_RECORD_BYTES <= job->value_bytes);
	return tx__add_message(tx, &(struct journal_message){
					   .op = MESSAGE_BURY,
					   .name = name,
					   .key = job_key,
					   .value = message_value(job),
					   .root_at = root_at,
				   });
}

void
tx_may_grow(struct tx *tx)
{
	assert(tx->emptying);
	tx->may_grow = true;
}

void
tx_count_objects(struct tx *tx, int64_t change)
{
	tx->objects += change;
}

void
tx_on_apply(struct tx *tx, void (*applying)(void *context), void *context)
{
	assert(!tx->applying);
	tx->applying = applying;
	tx->applying_context = context;
}

/* ---- Commit and abort ------------------------------------------------------------------------ */

static void
tx_free(struct tx *tx)
{
	for (uint32_t i = 0; i < tx->message_count; i++) {
		volume_tree_release(tx->volume, tx->messages[i].tree);
		volume_tree_release(tx->volume, tx->messages[i].source);
		free(tx->messages[i].bytes);
	}
	tx__blocks_free(tx);
	free(tx->entry);
	volume_remains_free(&tx->remains);
	share_work_fini(&tx->work);
	free(tx);
}

void
tx_abort(struct tx *tx)
{
	if (!tx)
		return;
	if (!tx->is_replay) /* whose runs the recovery has claimed, which ends with the opening */
		tx__untake_all(tx);
	tx_free(tx);
}

static int
take_ticket(struct tx *tx, struct reservation *out_reservation)
{
	const struct ticket_application application = {
		.visit = tx->visit,
		.promise = tx->promise,
		.draw = tx__draw_of(tx),
		.is_replay = tx->is_replay,
		.journal_bytes = tx->entry ? tx->entry->bytes : 0,
		.worst = tx__worst_now,
		.context = tx,
	};

	return volume__ticket_take(tx->volume, &application, out_reservation);
}

/*
 * One go: ticket, prepare, apply. ERR_MISSING: the trees have outgrown the ticket meanwhile,
 * nothing has happened, a new one is needed.
 */
static int
try_commit(struct tx *tx)
{
	struct volume *volume = tx->volume;
	struct reservation reservation = { 0 };
	struct reservation taken = { 0 };
	struct share_need need;
	struct tree_pins pins;
	bool holds_tickets = false;
	int err;

	err = share_spares_fill(&tx->work.spares, SHARE_POINTS_OF_ADD * tx->work.adds);
	if (err == 0)
		err = take_ticket(tx, &reservation);
	if (err)
		return err;
	tree_pins_init(&pins, volume->cache);
	err = tx__prepare(tx, &pins, &holds_tickets, &need);
	if (err == 0) {
		volume->taken = (struct reservation){ 0 };
		if (!tx->is_stale && tx__is_covered(tx, &reservation, &need))
			tx__apply(tx);
		else
			err = ERR_MISSING;
		taken = volume->taken;
		gate_leave_exclusive(volume->gate);
	}
	if (holds_tickets)
		volume__tickets_let_go(volume);
	tree_pins_release(&pins);
	if (tx->entry)
		journal_unadmit(volume->journal, tx->entry->bytes);
	volume__ticket_return(volume, &reservation, &taken, tx->promise);
	return err;
}

int
tx_commit(struct tx *tx)
{
	struct volume *volume = tx->volume;
	int err = tx__open_trees(tx);

	if (err == 0 && tx->is_replay)
		err = tx__check_replay(tx);
	if (err == 0 && !tx->is_replay)
		err = tx__encode(tx);
	if (err == 0) {
		tx__guess_need(tx);
		do
			err = try_commit(tx);
		while (err == ERR_MISSING && !tx->is_stale);
	}
	if (err) {
		tx_abort(tx);
		return err;
	}
	tx_free(tx);
	/* What goes wrong here concerns the journal, and not this change: the next one says so. */
	if (volume->journal) {
		err = journal_write_full(volume->journal);
		if (err) {
			(void)volume_fail(volume, err); /* it comes back, then */
			err_clear();
		}
	}
	return 0;
}
