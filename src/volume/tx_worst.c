/*
 * What a transaction takes at the worst, and what of the reserve it may use for that: what its
 * ticket sets aside. The trees may grow, and be shared, before it is applied; then the ticket may
 * have become too small, and the transaction needs another one.
 */

#include "volume/tx_internal.h"

enum { PARTS_OF_RUN = 3 }; /* of a clone: itself, and what is released across its ends */

enum draw
tx__draw_of(const struct tx *tx)
{
	if (tx->promise)
		return DRAW_ALL;
	/* A cut of what a clone has as well takes nodes, and frees nothing. */
	if (!tx->emptying || (tx->work.is_copying && !tx->is_replay))
		return DRAW_NOTHING;
	return tx->may_grow ? DRAW_GROWING : DRAW_ALL;
}

/* ---- Nodes and entries of lists -------------------------------------------------------------- */

static bool
is_first_of_tree(const struct tx *tx, uint32_t index)
{
	for (uint32_t i = 0; i < index; i++) {
		if (tx->messages[i].tree == tx->messages[index].tree)
			return false;
	}
	return true;
}

/*
 * An empty tree has grown by the time of its second message. What puts alone make of it has a leaf
 * for each at the most, and fewer nodes than leaves above them.
 */
static uint32_t
nodes_of_message(const struct tree *tree, enum message_op op)
{
	enum { NODES_OF_FIRST_PUTS = 2 };

	if (tree->root.levels == 0 && op == MESSAGE_PUT)
		return NODES_OF_FIRST_PUTS;
	return tree_nodes_worst(tree->root.levels == 0 ? 1 : tree->root.levels);
}

/* Nodes that the whole transaction may take at the worst. The trees are open, the gate is held. */
static uint32_t
nodes_worst(const struct tx *tx)
{
	const struct volume *volume = tx->volume;
	uint32_t nodes = 0;

	gate_assert_held(volume->gate);
	for (uint32_t i = 0; i < tx->message_count; i++) {
		const struct tree *tree = tx->messages[i].tree;

		if (tx->messages[i].op == MESSAGE_BURY)
			nodes += nodes_of_message(&volume->catalog.tree, MESSAGE_PUT);
		else if (tx->messages[i].op != MESSAGE_CLONE)
			nodes += nodes_of_message(tree, tx->messages[i].op);
		if (tree_has_root_record(tree) && is_first_of_tree(tx, i))
			nodes += nodes_of_message(&volume->objects.tree, MESSAGE_PUT);
	}
	return nodes;
}

/* Entries of the lists of space: a node that is given up has two copies. */
static size_t
list_entries_worst(const struct tx *tx)
{
	return tx->taken.count + tx->released.count + tx->remains.run_count +
	       NODE_COPIES_MAX * tx->remains.node_count + tx->work.pieces;
}

struct reservation
tx__worst_now(void *context)
{
	struct tx *tx = context;
	struct volume *volume = tx->volume;
	struct reservation want;

	gate_enter_shared(volume->gate);
	want = volume__worst(volume, nodes_worst(tx), list_entries_worst(tx));
	want.carried = tx->carried_count;
	tx->work.promised_blocks =
		volume__shares_blocks(volume, SHARE_POINTS_OF_ADD * tx->work.adds);
	want.blocks += tx->work.promised_blocks;
	if (tx__adds_of_clones(tx) > 0 && !volume__may_be_shared(volume, 0) && !tx->is_replay)
		want.blocks += volume__reserve_of_first_clone(volume);
	gate_leave_shared(volume->gate);
	return want;
}

/* ---- Counts of references -------------------------------------------------------------------- */

uint64_t
tx__adds_of_clones(const struct tx *tx)
{
	uint64_t adds = 0;

	for (uint32_t i = 0; i < tx->message_count; i++) {
		if (tx->messages[i].op == MESSAGE_CLONE)
			adds += 1 +
				PARTS_OF_RUN * (uint64_t)tx->messages[i].value_bytes / TX_RUN_BYTES;
	}
	return adds;
}

void
tx__guess_need(struct tx *tx)
{
	tx->work.adds = tx__adds_of_clones(tx);
	for (size_t i = 0; i < tx->remains.node_count; i++)
		tx->work.adds += tx->remains.nodes[i].is_shared;
	tx->work.pieces = tx__adds_of_clones(tx);
	if (volume__may_be_shared(tx->volume, 0))
		tx->work.pieces +=
			tx->released.count + tx->remains.run_count + tx->remains.node_count;
}

bool
tx__is_covered(struct tx *tx, const struct reservation *reservation, const struct share_need *need)
{
	struct share_work *work = &tx->work;
	uint64_t changes = SHARE_POINTS_OF_ADD * work->adds;
	bool is_covered = need->adds <= work->adds && need->pieces <= work->pieces;

	if (nodes_worst(tx) > reservation->nodes ||
		volume__shares_blocks(tx->volume, changes) > work->promised_blocks)
		return false;
	work->is_copying = need->is_copying;
	if (need->adds > work->adds)
		work->adds = need->adds;
	if (need->pieces > work->pieces)
		work->pieces = need->pieces;
	return is_covered;
}
