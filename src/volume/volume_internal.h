#ifndef COPPICE_VOLUME_INTERNAL_H
#define COPPICE_VOLUME_INTERNAL_H

/*
 * What the files of the volume share: the handle, and who guards which part of it.
 *
 *   superblock_format, branch_format   bytes on disk
 *   format.c      init
 *   open.c        finding the superblock, opening, moving a reader on, visits
 *   trees.c       trees by name, and the hooks that nodes come from
 *   room.c        what is set aside before a change; promises (room_internal.h)
 *   reserve.c     how much is kept for those who empty
 *   queue.c       the queue for tickets
 *   ticket.c      who may go ahead, and waiting for room (ticket_internal.h)
 *   tx.c, tx_*.c  transactions, from collecting to applying (tx_internal.h)
 *   shares.c      counts of references: asked for, changed, brought up to date
 *   dismantle.c   what a step of taking a dead tree apart gives up
 *   checkpoint.c  freeze, write, superblock, release
 *   journal_format, journal_scan, journal   batches: bytes, reading, writing
 *   loss.c        damage in what a replay must change
 *   recovery.c    what the journal holds beyond the newest checkpoint is done again
 */

#include "base/lock.h"
#include "base/random.h"
#include "space/share.h"
#include "volume/branch_format.h"
#include "volume/journal.h"
#include "volume/volume.h"

enum {
	VOLUME_BUCKETS = 1024,
	SUPERBLOCK_PLACES_MAX = 4,
	NODE_COPIES_MAX = 2,
};

enum {
	QUEUE_TURNS = 16, /* conditions that those in the queue are spread over */
	QUEUE_RUN = 32,   /* requests that one thread answers before it hands over */
};

/* A tree by name. Branch trees live in their branch, all others in the table. */
struct open_tree {
	struct tree tree; /* first: a struct tree is turned back into this */
	struct tree_name name;
	uint32_t refs;           /* guarded by the state mutex */
	struct open_tree *next;  /* volume.trees, guarded by the state mutex */
	struct tree_root stored; /* what the root record says; guarded by the gate */

	/* For whoever has the turn and moves a reader on: its root in that generation. */
	struct tree_root next_root;
	uint64_t next_generation;
};

/* What is set aside so that using it cannot fail, and what was used of it. */
struct reservation {
	uint32_t nodes;
	size_t list_entries;
	uint64_t blocks;  /* of the nodes, copies counted */
	uint32_t carried; /* buffers of one block */
};

/* A question that a transaction has asked the share tree. */
struct share_asked {
	uint64_t addr;
	uint32_t blocks;
	uint64_t round; /* in which its being copied was counted */
};

/* What a transaction knows of counts, and what it has for changing them. */
struct share_work {
	bool ends_in_loss;         /* a path may end before its leaf: what is missing is lost */
	struct share_asked *asked; /* owned, by address */
	size_t asked_count;
	size_t asked_capacity;
	struct share_ranges ranges; /* what the answers were */
	uint64_t version;           /* of the share tree that answered */
	uint64_t round;
	struct share_spares spares;

	/* What its ticket covers. */
	uint64_t adds;   /* changes of counts */
	bool is_copying; /* nodes that are shared */
	uint64_t pieces;
	uint64_t promised_blocks;
};

/* What a transaction would need: changes of counts, and pieces in which runs are released. */
struct share_need {
	uint64_t adds;
	uint64_t pieces;
	uint64_t last_pieces; /* of them, those that are referred to once */
	bool is_copying;      /* a node that is shared: it hands out references */
};

struct shares {
	/* Guarded by the gate. The tree changes only in a checkpoint, by whoever has the turn. */
	struct open_tree tree;
	struct share_list list;   /* changes that the tree does not show yet */
	uint64_t promised_blocks; /* admitted, for bringing the tree up to date: shares.c */
	uint64_t in_round_blocks; /* of that, what the round under way has and has not taken */
	uint64_t drained;         /* changes that have gone from the list since the last freeze */
	uint64_t drained_blocks;  /* of nodes that were taken for these */
	uint8_t levels;           /* of the tree at the last freeze */
	struct share_work *work;  /* of the transaction that is being applied */
	uint64_t adds;            /* by it */

	_Atomic uint64_t stamp;      /* S: generation of the newest act of sharing, 0: none ever */
	_Atomic uint64_t version;    /* of the tree: changed under the gate */
	_Atomic uint64_t list_bytes; /* memory of the list, and of the nodes that it will dirty */
};

/*
 * A checkpoint that is being made. It is whole from the freeze on; if there is no memory to write
 * it, it waits here for the next who wants one.
 */
struct closing {
	uint64_t generation;   /* 0: nothing is frozen */
	struct buffer **nodes; /* owned array */
	size_t capacity;
	size_t count;
	size_t node_count; /* the first of them, until they are sorted; then come carried blocks */
	uint8_t *blocks;   /* owned: for the superblock in all places */
	struct superblock sb;
	bool is_clean; /* nothing comes after it */
};

/* Where a checkpoint in the middle of a replay ends its period. */
struct journal_cut {
	struct journal_place place;
	uint64_t blocks_behind; /* from there to the end */
};

/* How an opening goes about the journal; they are tried in this order. */
enum recovery_way {
	RECOVERY_NEWEST,   /* on the newest superblock's trees, or its predecessor's if need be */
	RECOVERY_PREVIOUS, /* on its predecessor's, which lead to the same state */
	RECOVERY_LOSING,   /* like the first, and what cannot be read is left out: loss.c */
	RECOVERY_ASKING,   /* likewise, and content too is lost only when that is accepted */
};

struct volume {
	/* Set by volume_open(), never changed. */
	struct device *dev; /* borrowed */
	struct volume_options options;
	enum recovery_way recovery_way;
	struct cache *cache;
	struct space *space;
	struct journal *journal; /* NULL: open for reading only */
	struct gate *gate;
	struct geometry geometry;
	struct tree_env env;
	uint32_t node_blocks;
	uint8_t metadata_copies;
	uint64_t name_seed;
	uint8_t parameters[COP_BLOCK_BYTES]; /* as each AG without a ring begins */
	uint64_t dirty_limit_bytes;          /* of open nodes: a checkpoint comes first */

	/* Guarded by the gate: read under shared, changed under exclusive. */
	struct open_tree catalog;
	struct open_tree objects; /* of the one branch */
	struct shares shares;
	struct branch_record branch;
	_Atomic uint64_t generation; /* the open one; also read without the gate */
	uint64_t frozen_generation;  /* being written, 0: none */
	struct buffer *open_nodes;   /* owner list: born in the open generation */
	size_t open_node_count;
	struct buffer *carried; /* owner list: data that the journal alone holds */
	size_t carried_count;
	struct buffer *retired_nodes; /* owner list: freed by the change under way, clean, pinned */
	bool changed;                 /* since the last freeze */
	struct rng rng;
	struct reservation taken; /* by the transaction that is being applied */

	/* Guarded by `state`, rank LOCK_VOLUME_STATE. */
	struct mutex state;
	struct condition state_changed;
	bool queue_has_head;         /* somebody is at the head of the queue */
	struct waiting *queue_first; /* those behind, in their order */
	struct waiting **queue_last;
	uint64_t queue_count; /* of all that ever waited */
	struct condition queue_turns[QUEUE_TURNS];
	uint64_t tickets_given;
	uint64_t tickets_returned;
	uint64_t ticket_bytes;     /* nodes, at the worst, of those given and not returned */
	uint32_t tickets_held_for; /* transactions that nobody new may get in the way of */
	bool turn_taken; /* a checkpoint, or a reader's move to a newer one, is under way */
	int failed;      /* the error that ended writing, 0: none */
	char failed_text[256];
	struct open_tree *trees[VOLUME_BUCKETS];
	struct superblock newest;
	struct superblock previous;    /* generation 0: none */
	struct superblock passed_over; /* was newer than `newest`, and is damaged; 0: none */
	bool may_have_newer; /* opening: a copy of a superblock could not be read, and may be one */

	/* Of whoever has the turn. */
	const struct journal_cut *replay_cut; /* of a checkpoint in the middle of a replay */
	struct closing closing;
	struct reservation standing; /* for the catalog's update in the next checkpoints */

	/* Guarded by `visit_lock`, rank LOCK_VISITS. Oldest first. */
	struct mutex visit_lock;
	struct volume_visit *visit_first;
	struct volume_visit *visit_last;
	struct condition visit_left;
	uint32_t visit_waiters;

	/* Of volume_tick(), guarded by `state`. */
	uint64_t ticked_transactions; /* when it last looked */
	int64_t sync_due_ns;          /* 0: nothing is dirty */
	int64_t checkpoint_due_ns;    /* likewise */

	/* Counters: relaxed. */
	_Atomic uint64_t next_object;
	_Atomic uint64_t next_job;
	_Atomic int64_t objects_count;
	_Atomic uint8_t content_levels; /* highest of any content or directory tree seen so far */
	_Atomic uint64_t root_changes;  /* root records written or removed */
	_Atomic uint64_t open_node_bytes;
	_Atomic uint64_t frozen_node_bytes;
	_Atomic uint64_t carried_blocks; /* of both generations */
	_Atomic uint64_t checkpoints;
	_Atomic uint64_t transactions;
	_Atomic uint64_t nodes_written;
	_Atomic uint64_t data_blocks; /* told by tx_data() */
	_Atomic uint64_t repairs;
	bool may_repair; /* false while the volume is being opened */
	struct held_repair *held_repairs;
	_Atomic uint64_t replayed; /* transactions */
	_Atomic uint64_t left_out; /* messages of them */
	_Atomic uint64_t recoveries;
	_Atomic uint64_t share_lookups;
};

/* ---- trees.c */

extern const struct tree_hooks volume__hooks;

/* Gate exclusive, at the end of each change of trees: what it has freed leaves the cache. */
void volume__drop_retired(struct volume *volume);

/* Gate exclusive: space_release(), counted. */
void volume__release_run(struct volume *volume, struct run run);

/* Gate exclusive, reserved: a block of data, which the next checkpoint writes to its place. */
void volume__carry(struct volume *volume, uint64_t addr, const uint8_t *bytes);

/* Copies of a node of that kind and level. */
uint32_t volume__copies(uint8_t metadata_copies, enum tree_kind kind, uint8_t level);

void volume__tree_init(struct volume *volume, struct open_tree *tree, struct tree_name name,
	const struct tree_root *root);

static inline struct open_tree *
open_tree_of(struct tree *tree)
{
	return (struct open_tree *)(void *)tree;
}

/* A content or directory tree is that high: the reserve must cover its being emptied. */
void volume__note_levels(struct volume *volume, uint8_t levels);

/* The turn is the caller's: looks up in `objects`, of that generation, the roots of all open trees
 * that were not looked up there before. */
MUST_CHECK int volume__trees_look_up(
	struct volume *volume, struct tree *objects, uint64_t generation);

/* State locked, gate exclusive: gives every open tree the root that was looked up. False, and
 * nothing has changed: one was not. */
bool volume__trees_move(struct volume *volume, uint64_t generation);

/* ---- queue.c */

/*
 * What somebody wants at the head of the queue, and how the one who is there can give it to him
 * without waiting: true when it has. NULL: he must come himself.
 */
struct request {
	bool (*try)(struct volume *volume, void *context);
	void *context;
};

/*
 * Waits for the head of the queue, first come, first served. False: he who was there has answered
 * the request. The operation's visit ends meanwhile, so that a checkpoint which somebody ahead runs
 * can release what was freed before; it has begun again when this returns false.
 */
bool volume__queue_enter(
	struct volume *volume, struct volume_visit *visit, const struct request *request);

/* From the head: answers those behind as far as that goes, and hands over. */
void volume__queue_leave(struct volume *volume, struct volume_visit *visit);

/* All of it, for volume_open() and volume_close(). */
MUST_CHECK int volume__queue_init(struct volume *volume);
void volume__queue_fini(struct volume *volume);

/* ---- shares.c */

void volume__shares_init(struct volume *volume, const struct superblock *sb);
void volume__shares_fini(struct volume *volume);

/* Not without looking known to be referred to once. Any thread. */
bool volume__may_be_shared(struct volume *volume, uint64_t birth);

/* Gate held. What has to be set aside for a transaction that makes so many changes, so that a
 * checkpoint can bring the tree up to date. */
uint64_t volume__shares_blocks(const struct volume *volume, uint64_t changes);

/* The most that this is, also when the tree has grown by a level. */
uint64_t volume__shares_worst(const struct volume *volume, uint64_t changes);

/*
 * Preparing: with no lock held, what the transaction will need to know is asked; it may read.
 * Begin makes it forget what a tree has said that has changed since. A birth of 0 is not known.
 */
void volume__shares_begin(struct volume *volume, struct share_work *work);
MUST_CHECK int volume__shares_ask(
	struct volume *volume, struct share_work *work, struct run run, uint64_t birth);
MUST_CHECK int volume__shares_ask_path(
	struct volume *volume, struct share_work *work, struct tree *tree, struct view key);

/* Gate exclusive: is it known? Then what it takes is added to `need`, which begins with a new
 * work->round. */
bool volume__shares_know(struct volume *volume, const struct share_work *work, struct run run,
	uint64_t birth, struct share_need *need);
bool volume__shares_know_path(struct volume *volume, struct share_work *work, struct tree *tree,
	struct view key, struct share_need *need);
bool volume__shares_know_node(struct volume *volume, const struct share_work *work,
	const struct remains_node *node, struct share_need *need, bool *out_is_as_seen);

/* Is the node referred to more than once just now? No lock held; may read. */
MUST_CHECK int volume__shares_look(
	struct volume *volume, const struct tree_pointer *pointer, bool *out_is_shared);

void share_work_fini(struct share_work *work);

/* Gate exclusive: between these two, counts change by the means of `work`. */
void volume__shares_apply(struct volume *volume, struct share_work *work);
void volume__shares_applied(struct volume *volume);
void volume__shares_gain(struct volume *volume, struct run run);
void volume__drop_run(struct volume *volume, struct run run, uint64_t birth);
void volume__drop_node(struct volume *volume, const struct remains_node *node);

/* Gate exclusive: an act of sharing. */
void volume__shares_stamp(struct volume *volume);

bool volume__hook_may_be_shared(
	void *context, enum tree_kind kind, const struct tree_pointer *pointer);
bool volume__hook_is_shared(void *context, enum tree_kind kind, const struct tree_pointer *pointer);
void volume__hook_lose(void *context, const struct tree_pointer *pointer);
void volume__hook_gain(void *context, enum tree_kind kind, const struct tree_gain *gain);

/* The turn is the caller's, no lock held: the list goes into the tree. It is empty afterwards,
 * unless somebody has added to it meanwhile. */
MUST_CHECK int volume__shares_drain(struct volume *volume);

/* Gate exclusive, the list is empty: what the superblock says of sharing. */
void volume__shares_freeze(struct volume *volume, struct superblock *sb);

/* ---- dismantle.c */

/* As volume_remains(), step by step until the cursor has come to `until` (NULL: the end). */
MUST_CHECK int volume__remains_until(struct volume *volume, enum tree_kind kind,
	const struct tree_root *root, const struct tree_cursor *cursor, const struct view *until,
	struct remains *remains);

/* ---- reserve.c */

/* Tells space how much reserve the trees' heights ask for. Gate held. */
void volume__update_reserve(struct volume *volume);

/* What the reserve grows by when something is shared for the first time. Gate held. */
uint64_t volume__reserve_of_first_clone(const struct volume *volume);

/* ---- tx_replay.c */

/* Messages of a transaction that are left out of a replay, by their number. */
struct losses {
	uint32_t count;
	bool is_lost[TX_MESSAGES_MAX + TX_CARRIED_MAX];
};

/* Applies a transaction of the journal again; its runs are claimed. */
MUST_CHECK int volume__tx_replay(
	struct volume *volume, const struct journal_tx *from, const struct losses *losses);

/* In a replay: what cannot be read on the way to the key is marked as lost. */
MUST_CHECK int volume__tx_lose(struct volume *volume, struct tree_name name, struct view key);

/* ---- checkpoint.c */

MUST_CHECK int volume__checkpoint_forced(struct volume *volume);

/* The slot of the ring for the superblock after `newest`. */
uint16_t volume__next_slot(const struct superblock *newest, const struct superblock *previous);
void volume__closing_fini(struct closing *closing);

/* The turn is the caller's: sets aside what the catalog's update takes. */
MUST_CHECK int volume__ensure_standing(struct volume *volume);

/* ---- loss.c */

/* Is an error of reading in a replay one that another way to open the volume may do without? */
bool volume__may_be_left_out(int err);

/*
 * Which messages of the transaction cannot be applied, for what they change cannot be read; where
 * that is new, it is marked as lost. Damage: what would be lost must be accepted first.
 */
MUST_CHECK int volume__find_losses(
	struct volume *volume, const struct journal_tx *tx, struct losses *out_losses);

/* ---- recovery.c */

/* What a search of the journal has found, before anything else is opened. */
struct recovery {
	struct journal_region region;
	struct journal_chain chain;
	bool is_needed;      /* the newest superblock does not say that nothing follows */
	bool met_damage;     /* the replay has ended at what cannot be read, or had no room */
	uint64_t generation; /* highest of any superblock */
};

/* Rules of commit 6, steps 1 to 3: reads only. `always`: also when the mark says that nothing
 * follows. COP_ELOSS: damage in the journal has lost what was durable, and the volume was to be
 * written. */
MUST_CHECK int volume__recovery_read(
	struct volume *volume, bool always, struct recovery *out_recovery);
void volume__recovery_fini(struct recovery *recovery);

/*
 * Steps 4 to 7: makes sure that what is to be replayed is durable, begins an epoch, claims what the
 * journal names, replays. Volume, space and trees are those of the newest superblock. Sets
 * volume->journal unless the volume is open for reading only.
 */
MUST_CHECK int volume__recover(struct volume *volume, struct recovery *recovery);

/* ---- open.c */

/*
 * Waits, for a second at most, until the operations have ended that began before the open
 * generation. False: some go on. `is_patient`: for half a minute; all operations end, however slow
 * the device or the machine is, but those that wait for their own thread. No lock held.
 */
bool volume__wait_for_visits(struct volume *volume, bool is_patient);

MUST_CHECK int volume__random(int (*random)(void *context, void *buffer, size_t bytes),
	void *context, struct rng *out_rng);
int64_t volume__clock(int64_t (*clock_ns)(void *context), void *context);

/* Writes `sb` into slot sb->slot of every place, at once; not flushed. `blocks` is memory for
 * SUPERBLOCK_PLACES_MAX of them. */
MUST_CHECK int volume__write_superblock(struct device *dev, const struct geometry *geometry,
	const struct superblock *sb, uint8_t *blocks);

/* ---- repairs.c */

void volume__hook_repair(void *context, uint64_t bad_addr, const uint8_t *good, uint32_t blocks);

/* Nothing in the journal contradicts the trees: what was held is written, and from now on at once.
 */
void volume__repairs_begin(struct volume *volume);

/* Forgets what is still held. */
void volume__repairs_fini(struct volume *volume);

#endif
