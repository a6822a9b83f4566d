#ifndef COPPICE_VOLUME_TX_INTERNAL_H
#define COPPICE_VOLUME_TX_INTERNAL_H

/*
 * tx_internal: a transaction from the inside, for the files that it passes through:
 *
 *   tx.c           collects messages; commits, or aborts
 *   tx_blocks.c    collects blocks: those it takes and gives up, and what they hold
 *   tx_replay.c    instead of collecting: a transaction out of an entry of the journal
 *   tx_encode.c    its own entry of the journal
 *   tx_worst.c     what it takes at the worst, for its ticket (ticket_internal.h)
 *   tx_prepare.c   every node that it needs is loaded and pinned, with no lock held
 *   tx_apply.c     under the exclusive gate, everything at hand: the change happens
 *
 * Promises
 *   - Up to tx__apply() nothing has changed that anybody else sees, and everything can be given
 *     back; from there on nothing fails.
 *   - What a ticket covers is never exceeded: tx__is_covered() is asked under the gate before.
 *
 * Locks  None of its own. A transaction belongs to the thread that made it; while that waits for
 *        its ticket, who is at the head of the queue may ask tx__worst_now() in its place.
 */

#include "volume/ticket_internal.h"

/* Key, value and the cursors of a step lie behind each other in `bytes`. */
struct message {
	enum message_op op;
	struct tree_name name;
	struct tree *tree;   /* that changes, or is buried; opened by commit */
	struct tree *source; /* of a clone */
	uint8_t *bytes;      /* owned */
	uint32_t key_bytes;
	uint32_t value_bytes;
	uint32_t from_bytes;
	uint32_t until_bytes;
	bool is_end;
	bool marks_loss;  /* of a replay: what is on the way to the key is lost */
	uint32_t root_at; /* of a bury or step, in its value */
};

struct runs {
	struct run *runs; /* owned */
	size_t count;
	size_t capacity;
};

/* A block whose bytes ride in the transaction. */
struct carried {
	uint64_t object;
	uint64_t addr;
	uint8_t *bytes; /* owned */
};

struct tx {
	/* Set when it begins. */
	struct volume *volume;
	struct volume_visit *visit;
	bool emptying;
	bool is_replay;

	/* Collected before the commit. */
	bool may_grow;
	struct promise *promise; /* borrowed; NULL: none */
	struct message messages[TX_MESSAGES_MAX];
	uint32_t message_count;
	uint64_t admitted_blocks; /* of data, not yet taken */
	struct runs taken;
	struct runs released;
	uint64_t released_birth; /* no run of them is older; 0: not known */
	struct remains remains;  /* of a step */
	struct writer data;      /* pieces, encoded; owned */
	uint32_t data_count;
	struct run data_last; /* the last piece, and where it begins */
	size_t data_last_at;
	struct carried carried[TX_CARRIED_MAX];
	uint32_t carried_count;
	int64_t objects;
	void (*applying)(void *context);
	void *applying_context;

	/* Of the commit. */
	struct journal_entry *entry; /* owned until it is appended; NULL in a replay */
	struct share_work work;
	bool is_stale; /* the remains are not what they were */
};

static inline struct view
message_key(const struct message *message)
{
	return view_of(message->bytes, message->key_bytes);
}

static inline struct view
message_value(const struct message *message)
{
	return view_of(message->bytes + message->key_bytes, message->value_bytes);
}

static inline bool
tree_has_root_record(const struct tree *tree)
{
	return tree->kind == TREE_CONTENT || tree->kind == TREE_DIRECTORY;
}

/* The object tree key of a message's root record. */
static inline struct view
root_key_of(const struct message *message, uint8_t out[static ROOT_KEY_BYTES])
{
	return root_key(out, message->name.object, message->name.kind);
}

/* ---- tx.c */

/* Copies what the views hold. COP_ENOMEM. */
MUST_CHECK int tx__add_message(struct tx *tx, const struct journal_message *from);

/* ---- tx_blocks.c */

/* COP_ENOMEM. */
MUST_CHECK int tx__runs_add(struct runs *runs, struct run run);

/* What it has taken is free again. */
void tx__untake_all(struct tx *tx);

/* What was admitted and not taken goes back, to the promise if there is one. */
void tx__blocks_free(struct tx *tx);

/* ---- tx_worst.c */

/* What of the reserve it may use. */
enum draw tx__draw_of(const struct tx *tx);

/* The trees are open: what the ticket is to set aside, of a struct tx. Takes the gate for a moment.
 */
struct reservation tx__worst_now(void *tx);

/* Changes of counts that clones make, whatever is known. */
uint64_t tx__adds_of_clones(const struct tx *tx);

/* For the first ticket: what is released is referred to once, in one piece. */
void tx__guess_need(struct tx *tx);

/* Gate held: does the ticket cover it, with what its counts need? If not for these, the next one
 * will. */
bool tx__is_covered(
	struct tx *tx, const struct reservation *reservation, const struct share_need *need);

/* ---- tx_prepare.c */

/* Opens the tree of each message; tx.c releases them. COP_ENOENT, COP_EIO, ... */
MUST_CHECK int tx__open_trees(struct tx *tx);

/*
 * Has a ticket. Ends with the gate held exclusively, every node at hand and pinned, and in
 * *out_need what the counts take; or with an error and no gate. *out_holds: new tickets are held
 * back, and the caller lets them go.
 */
MUST_CHECK int tx__prepare(
	struct tx *tx, struct tree_pins *pins, bool *out_holds, struct share_need *out_need);

/* ---- tx_encode.c */

/* Makes tx->entry. COP_ENOMEM; COP_ENOSPC: no batch of this volume can hold it. */
MUST_CHECK int tx__encode(struct tx *tx);

/* ---- tx_apply.c */

/* Gate exclusive, prepared. Takes tx->entry; what was used of the ticket is in volume->taken. */
void tx__apply(struct tx *tx);

/* ---- tx_replay.c */

/* The trees are open: what only they can tell of an entry of the journal. COP_EFORMAT. */
MUST_CHECK int tx__check_replay(const struct tx *tx);

#endif
