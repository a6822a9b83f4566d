/*
 * Everything that can fail, before the gate: the nodes on the way to each key, and to the root
 * record of each tree that changes, are loaded and pinned, and how often what is older than the
 * newest act of sharing is referred to is asked. Under the gate it is looked at once more.
 *
 * Between the two another transaction may have split a node, so that the path to a key has become a
 * different one, or changed the share tree; then this one prepares again. After two such times no
 * new tickets are given out until it is through; those that have theirs are few. [Otherwise a small
 * cache livelocks.]
 */

#include "volume/tx_internal.h"

enum {
	PREPARE_TRIES_FREE = 2, /* before the third holds new tickets back */
	PATHS_OF_MESSAGE = 2,   /* its key's, and its root record's */
};

/* ---- Trees ----------------------------------------------------------------------------------- */

/* The name of the tree that a message changes first. */
static struct tree_name
changed_name(const struct message *message)
{
	const struct tree_name catalog = { .kind = TREE_CATALOG };

	return message->op == MESSAGE_STEP ? catalog : message->name;
}

int
tx__open_trees(struct tx *tx)
{
	for (uint32_t i = 0; i < tx->message_count; i++) {
		struct message *message = &tx->messages[i];
		int err = volume_tree_open(tx->volume, changed_name(message), &message->tree);

		if (err == 0 && message->op == MESSAGE_CLONE) {
			struct tree_name source = message->name;

			source.object = get_be64(message->bytes);
			err = volume_tree_open(tx->volume, source, &message->source);
		}
		if (err)
			return err;
	}
	return 0;
}

/* The tree whose path to the key of the message changes; NULL: none. */
static struct tree *
tree_of_path(struct volume *volume, const struct message *message)
{
	if (message->op == MESSAGE_CLONE)
		return NULL;
	return message->op == MESSAGE_BURY ? &volume->catalog.tree : message->tree;
}

/* ---- Loading --------------------------------------------------------------------------------- */

/* How often things are referred to that are older than the newest act of sharing. */
static int
prepare_shares(struct tx *tx)
{
	struct volume *volume = tx->volume;
	struct share_work *work = &tx->work;
	int err = 0;

	if (!volume__may_be_shared(volume, 0))
		return 0;
	volume__shares_begin(volume, work);
	for (uint32_t i = 0; err == 0 && i < tx->message_count; i++) {
		const struct message *message = &tx->messages[i];
		struct tree *tree = tree_of_path(volume, message);

		if (tree)
			err = volume__shares_ask_path(volume, work, tree, message_key(message));
	}
	for (size_t i = 0; err == 0 && i < tx->released.count; i++)
		err = volume__shares_ask(volume, work, tx->released.runs[i], tx->released_birth);
	for (size_t i = 0; err == 0 && i < tx->remains.run_count; i++)
		err = volume__shares_ask(
			volume, work, tx->remains.runs[i].run, tx->remains.runs[i].birth);
	for (size_t i = 0; err == 0 && i < tx->remains.node_count; i++) {
		const struct tree_pointer *pointer = &tx->remains.nodes[i].pointer;
		struct run run = { .addr = pointer->addr, .blocks = volume->node_blocks };

		err = volume__shares_ask(volume, work, run, pointer->birth);
	}
	return err;
}

static int
prepare(struct tx *tx, struct tree_pins *pins)
{
	struct volume *volume = tx->volume;

	for (uint32_t i = 0; i < tx->message_count; i++) {
		const struct message *message = &tx->messages[i];
		struct tree *tree = tree_of_path(volume, message);
		uint8_t key[ROOT_KEY_BYTES];
		int err = 0;

		if (tree && message->marks_loss)
			err = tree_prepare_loss(tree, message_key(message), pins);
		else if (tree)
			err = tree_prepare(tree, message_key(message), pins);
		if (err == 0 && tree_has_root_record(message->tree))
			err = tree_prepare(&volume->objects.tree, root_key_of(message, key), pins);
		if (err)
			return err;
	}
	return tree_pins_reserve(pins, PATHS_OF_MESSAGE * (size_t)tx->message_count);
}

/* ---- Looking whether all is there ------------------------------------------------------------ */

/*
 * Gate exclusive: is everything known that prepare_shares() asks for, of the paths as they are now?
 * *out_need is what the transaction takes.
 */
static bool
knows_shares(struct tx *tx, struct share_need *out_need)
{
	struct volume *volume = tx->volume;
	struct share_work *work = &tx->work;
	struct share_need *need = out_need;
	bool is_as_seen = true;

	*need = (struct share_need){
		.adds = tx__adds_of_clones(tx),
		.pieces = tx__adds_of_clones(tx),
	};
	if (!volume__may_be_shared(volume, 0))
		return true;
	work->round++;
	for (uint32_t i = 0; i < tx->message_count; i++) {
		const struct message *message = &tx->messages[i];
		struct tree *tree = tree_of_path(volume, message);

		if (tree &&
			!volume__shares_know_path(volume, work, tree, message_key(message), need))
			return false;
	}
	for (size_t i = 0; i < tx->released.count; i++) {
		if (!volume__shares_know(
			    volume, work, tx->released.runs[i], tx->released_birth, need))
			return false;
	}
	for (size_t i = 0; i < tx->remains.run_count; i++) {
		const struct remains_run *run = &tx->remains.runs[i];

		if (!volume__shares_know(volume, work, run->run, run->birth, need))
			return false;
	}
	for (size_t i = 0; i < tx->remains.node_count; i++) {
		if (!volume__shares_know_node(
			    volume, work, &tx->remains.nodes[i], need, &is_as_seen))
			return false;
		tx->is_stale = tx->is_stale || !is_as_seen;
	}
	if (need->is_copying)
		need->adds += need->last_pieces;
	return true;
}

static bool
is_prepared(struct tx *tx, struct tree_pins *pins)
{
	struct volume *volume = tx->volume;

	for (uint32_t i = 0; i < tx->message_count; i++) {
		const struct message *message = &tx->messages[i];
		struct tree *tree = tree_of_path(volume, message);
		uint8_t key[ROOT_KEY_BYTES];

		if (tree && !message->marks_loss &&
			!tree_is_prepared(tree, message_key(message), pins))
			return false;
		if (tree_has_root_record(message->tree) &&
			!tree_is_prepared(&volume->objects.tree, root_key_of(message, key), pins))
			return false;
	}
	return true;
}

int
tx__prepare(struct tx *tx, struct tree_pins *pins, bool *out_holds, struct share_need *out_need)
{
	struct volume *volume = tx->volume;

	for (int tries = 0;; tries++) {
		int err;

		if (tries == PREPARE_TRIES_FREE) {
			volume__tickets_hold(volume);
			*out_holds = true;
		}
		err = prepare(tx, pins);
		if (err == 0)
			err = prepare_shares(tx);
		if (err)
			return err;
		gate_enter_exclusive(volume->gate);
		if (is_prepared(tx, pins) && knows_shares(tx, out_need))
			return 0;
		gate_leave_exclusive(volume->gate);
	}
}
