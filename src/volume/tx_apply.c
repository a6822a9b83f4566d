/*
 * The moment at which a change happens. Everything it needs is at hand: nodes are loaded and
 * pinned, counts of references known, memory and blocks set aside, the entry of the journal made.
 * So nothing here fails, waits or reads.
 *
 * The order: messages, as they were collected; root records of the trees that they have changed;
 * then releases, since copying shared nodes has handed out references to what is below them; last
 * the journal, whose order is that of applying.
 */

#include "volume/tx_internal.h"

#include "base/plant.h"

static void
apply_bury(struct volume *volume, struct message *message)
{
	uint8_t *value = message->bytes + message->key_bytes;

	root_record_encode(&message->tree->root, value + message->root_at);
	tree_put(&volume->catalog.tree, message_key(message), message_value(message));
	message->tree->root = (struct tree_root){ 0 };
}

static void
apply_clone(struct volume *volume, const struct message *message)
{
	struct view runs = message_value(message);
	const struct tree_root *root = &message->source->root;

	for (size_t i = 0; i < runs.bytes / TX_RUN_BYTES; i++)
		volume__shares_gain(volume, journal_clone_run(runs, i));
	if (runs.bytes == 0) {
		assert(message->tree->root.levels == 0);
		message->tree->root = *root;
		if (root->levels > 0)
			volume__shares_gain(
				volume, (struct run){ root->pointer.addr, volume->node_blocks });
	}
	volume__shares_stamp(volume);
}

static bool
root_equal(const struct tree_root *a, const struct tree_root *b)
{
	return a->levels == b->levels && a->pointer.addr == b->pointer.addr &&
	       a->pointer.seal == b->pointer.seal && a->pointer.birth == b->pointer.birth;
}

/* Brings the root record of one tree up to date. */
static void
apply_root(struct volume *volume, const struct message *message)
{
	struct open_tree *tree = open_tree_of(message->tree);
	uint8_t key[ROOT_KEY_BYTES];
	uint8_t value[ROOT_RECORD_BYTES];

	if (root_equal(&tree->tree.root, &tree->stored))
		return;
	if (tree->tree.root.levels == 0) {
		tree_delete(&volume->objects.tree, root_key_of(message, key));
	} else {
		root_record_encode(&tree->tree.root, value);
		tree_put(&volume->objects.tree, root_key_of(message, key),
			view_of(value, sizeof value));
	}
	tree->stored = tree->tree.root;
	atomic_fetch_add(&volume->root_changes, 1);
	volume__note_levels(volume, tree->tree.root.levels);
}

/* What hands out references has come first. */
static void
apply_releases(struct tx *tx)
{
	struct volume *volume = tx->volume;

	for (size_t i = 0; i < tx->released.count; i++)
		volume__drop_run(volume, tx->released.runs[i], tx->released_birth);
	for (size_t i = 0; i < tx->remains.run_count; i++)
		volume__drop_run(volume, tx->remains.runs[i].run, tx->remains.runs[i].birth);
	for (size_t i = 0; i < tx->remains.node_count; i++)
		volume__drop_node(volume, &tx->remains.nodes[i]);
}

static void
apply_message(struct volume *volume, struct message *message)
{
	if (message->marks_loss) {
		tree_lose(message->tree, message_key(message));
		return;
	}
	switch (message->op) {
	case MESSAGE_PUT:
		tree_put(message->tree, message_key(message), message_value(message));
		break;
	case MESSAGE_DELETE:
		tree_delete(message->tree, message_key(message));
		break;
	case MESSAGE_BURY:
		apply_bury(volume, message);
		break;
	case MESSAGE_STEP:
		if (message->value_bytes == 0)
			tree_delete(message->tree, message_key(message));
		else
			tree_put(message->tree, message_key(message), message_value(message));
		break;
	case MESSAGE_DATA:
		assert(false); /* it is no message to a tree */
		break;
	case MESSAGE_CLONE:
		apply_clone(volume, message);
		break;
	}
}

void
tx__apply(struct tx *tx)
{
	struct volume *volume = tx->volume;

	if (tx->applying)
		tx->applying(tx->applying_context);
	volume__shares_apply(volume, &tx->work);
	if (planted(PLANT_RELEASED_BEFORE_COUNTED))
		apply_releases(tx);
	for (size_t i = 0; i < tx->taken.count; i++) {
		if (tx->taken.runs[i].blocks == 0)
			continue;
		space_use(volume->space, tx->taken.runs[i]);
		volume->taken.list_entries++;
	}
	for (uint32_t i = 0; i < tx->carried_count; i++)
		volume__carry(volume, tx->carried[i].addr, tx->carried[i].bytes);
	for (uint32_t i = 0; i < tx->message_count; i++)
		apply_message(volume, &tx->messages[i]);
	for (uint32_t i = 0; i < tx->message_count; i++) {
		if (tree_has_root_record(tx->messages[i].tree))
			apply_root(volume, &tx->messages[i]);
	}
	volume__drop_retired(volume);
	if (!planted(PLANT_RELEASED_BEFORE_COUNTED))
		apply_releases(tx);
	volume__shares_applied(volume);
	if (tx->entry)
		journal_append(volume->journal, TAKE(tx->entry));
	atomic_fetch_add(&volume->objects_count, tx->objects);
	atomic_fetch_add(&volume->transactions, 1);
	volume->changed = true;
	volume__update_reserve(volume);
}
