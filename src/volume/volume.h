#ifndef COPPICE_VOLUME_H
#define COPPICE_VOLUME_H

/*
 * volume: the device as one set of trees that is swapped atomically: superblock, transactions,
 * tickets, the gate, checkpoints.
 *
 * A change is a transaction: a few messages (put, delete, clone) to trees that are named by
 * (branch, object, kind), the data runs that it takes and those that it gives up. tx_commit() takes
 * a ticket (memory, nodes, space for the worst case), loads and pins every node it needs, and then
 * applies all of it under the exclusive gate, where nothing can fail. A checkpoint freezes the open
 * generation and writes it out while the next one goes on.
 *
 * Promises
 *   - All or nothing: a transaction that returned an error has changed nothing.
 *   - Nothing that the two newest durable superblocks reach is overwritten. (Invariant 1.)
 *   - A checkpoint that returned 0 is durable. After a write or flush failed the volume takes no
 *     more changes, and every later commit and checkpoint says so. (Invariant 4.)
 *   - Memory: dirty nodes stay below half of the limit; at a quarter a checkpoint runs first.
 *   - A full volume can be emptied: transactions marked `emptying` may use the reserve and wait for
 *     up to two checkpoints. (Invariant 6.)
 *
 * Locks  LOCK_VOLUME_STATE: tickets and checkpoint state. LOCK_GATE: trees. Nothing is held across
 *        device I/O. Operations on one object are put in order by the object floor.
 * Cost   A commit in a warm cache does no I/O and no system call; its allocations are the messages.
 */

#include "base/err.h"
#include "space/share_list.h"
#include "space/space.h"
#include "tree/tree.h"
#include "volume/keys.h"
#include "volume/superblock_format.h"

#include <stdbool.h>
#include <stdint.h>

struct volume;
struct volume_visit;

/* ---- Opening -------------------------------------------------------------------------------- */

struct volume_options {
	bool read_only;
	bool as_is;       /* for reading: the newest checkpoint, whatever the journal holds */
	bool no_flush;    /* leave the flush of a sync, and the last one of all, to the host */
	bool accept_loss; /* write though damage has lost what was durable in the journal */
	uint64_t cache_bytes;
	uint64_t dirty_bytes; /* of changed nodes, then a checkpoint comes; 0: by the cache */
	int (*random)(void *context, void *buffer, size_t bytes); /* NULL: the system's */
	int64_t (*clock_ns)(void *context);                       /* NULL: the wall clock */
	void *context;

	/* The blocks that an entry of a tree refers to, and their birth; false: none. A replay
	 * needs it to come to the same: only `as_is` goes without. */
	bool (*entry_run)(enum tree_kind kind, struct view key, struct view value,
		struct run *out_run, uint64_t *out_birth);
};

struct volume_format_options {
	uint64_t volume_blocks;
	const char *label;
	uint32_t node_bytes;      /* 0: by size */
	uint32_t metadata_copies; /* 0: two, content leaves one */
	uint64_t journal_blocks;  /* 0: by size */
	int (*random)(void *context, void *buffer, size_t bytes);
	int64_t (*clock_ns)(void *context);
	void *context;
};

/*
 * Writes an empty volume: superblocks, a catalog with the branch "main" whose object tree holds
 * nothing (the object floor adds the root directory in the first transaction), the journal region.
 */
MUST_CHECK int volume_format(struct device *dev, const struct volume_format_options *options);

/* Judges the options without a device; fills in what was 0. COP_ETOOSMALL, COP_EINVAL. */
MUST_CHECK int volume_format_options_complete(struct volume_format_options *options);

/*
 * The newest superblock of the device, and its predecessor's (generation 0 if there is none), from
 * whatever copies are left. COP_ENOTVOLUME, COP_EUNSUPPORTED, COP_ECHECKSUM, COP_EIO.
 */
MUST_CHECK int volume_find_superblock(
	struct device *dev, struct superblock *out_newest, struct superblock *out_previous);

/* The device is borrowed: the caller closes it after volume_close(). */
MUST_CHECK int volume_open(
	struct device *dev, const struct volume_options *options, struct volume **out_volume);

/* Frees everything. No checkpoint: that is the caller's last act if it wants one. NULL accepted. */
void volume_close(struct volume *volume);

/*
 * For a reader beside a writer, after something did not verify: looks for a newer checkpoint than
 * the operation of `visit` began with, and moves to it. True when there is one: try again. False:
 * what was found is damage. The visit has been left. All roots change at one time.
 */
bool volume_refresh(struct volume *volume, const struct volume_visit *visit);

/* ---- Telling -------------------------------------------------------------------------------- */

struct cache *volume_cache(struct volume *volume);
struct space *volume_space(struct volume *volume);
struct tree_env *volume_tree_env(struct volume *volume);
void volume_superblock(struct volume *volume, struct superblock *out_sb); /* the newest durable */

/*
 * What a checkpoint of this moment would write down, as far as it is known without making one: the
 * newest superblock, with the roots, the counters and the number of the open generation, and the
 * root of the object tree, which the catalog is told of at a checkpoint only. For check and dump,
 * after a replay.
 */
struct volume_state {
	struct superblock sb;
	struct tree_root objects;
};

void volume_state(struct volume *volume, struct volume_state *out_state);

/* The first blocks at or after `from` that are referred to more often, or less, than the share tree
 * of that state says. False: there are none. */
bool volume_share_change(struct volume *volume, uint64_t from, struct share_change *out_change);

bool volume_is_read_only(const struct volume *volume);
uint32_t volume_node_bytes(const struct volume *volume);
uint64_t volume_cache_bytes(const struct volume *volume); /* the limit */

/* The error that ended writing, as an error of this thread; 0 when there is none. */
MUST_CHECK int volume_failed(struct volume *volume);

/* The device failed, or the journal: no more changes. Returns `err`, whose text is kept. */
int volume_fail(struct volume *volume, int err);
uint64_t volume_name_seed(const struct volume *volume);
int64_t volume_now_ns(struct volume *volume);
uint64_t volume_generation(struct volume *volume); /* the open one */
uint64_t volume_objects(struct volume *volume);

struct volume_stats {
	uint64_t checkpoints;
	uint64_t transactions;
	uint64_t nodes_written;
	uint64_t repairs;
	uint64_t journal_batches;
	uint64_t journal_blocks;
	uint64_t syncs;
	uint64_t sync_flushes;
	uint64_t sync_fua;
	uint64_t journal_pads;
	uint64_t journal_wraps;
	uint64_t journal_marks;
	uint64_t held_back;
	uint64_t data_blocks; /* told by tx_data() */
	uint64_t recoveries;  /* 1: this opening found a journal to replay */
	uint64_t replayed_transactions;
	uint64_t share_lookups;     /* questions to the share tree */
	uint64_t left_out_messages; /* of these, for what they change is damaged */
};

struct volume_stats volume_stats(struct volume *volume);

/* A number that was never given before. */
uint64_t volume_next_object(struct volume *volume);
uint64_t volume_next_job(struct volume *volume);

/* ---- Visits: what a running operation may still look at is not reused ----------------------- */

/*
 * Every operation that reads nodes or data enters first and leaves at its end. Blocks that were
 * freed since it entered are not handed out before it leaves.
 */
struct volume_visit {
	uint64_t period;               /* generation that was open when it entered */
	struct volume_visit *previous; /* volume.visits */
	struct volume_visit *next;
};

void volume_enter(struct volume *volume, struct volume_visit *visit);
void volume_leave(struct volume *volume, struct volume_visit *visit);

/* ---- Trees ---------------------------------------------------------------------------------- */

/* TREE_CATALOG has branch and object 0, TREE_OBJECTS and TREE_TAGS object 0. */
struct tree_name {
	uint64_t branch;
	uint64_t object;
	enum tree_kind kind;
};

/*
 * The tree of that name, shared by everyone who has it open; an empty tree if it has no root
 * record. Its root follows the changes. COP_ENOENT: no such branch. Release each.
 */
MUST_CHECK int volume_tree_open(
	struct volume *volume, struct tree_name name, struct tree **out_tree);
void volume_tree_release(struct volume *volume, struct tree *tree);

/* ---- Transactions --------------------------------------------------------------------------- */

enum {
	TX_MESSAGES_MAX = 64,
	TX_RUNS_MAX = 512, /* taken plus released */
	TX_CARRIED_MAX = 4,
};

struct tx;

/*
 * Blocks that are set aside for a transaction which does not exist yet (rule space.md 4): its data,
 * and what its nodes take at the worst. A transaction that uses the promise does not meet
 * COP_ENOSPC.
 */
struct promise {
	uint64_t data_blocks;
	uint64_t node_blocks;
};

/*
 * What an emptying transaction may hold so that the reserve always covers it: messages to object
 * trees (each content or directory tree that changes or is buried costs one more, for its root
 * record), to content and directory trees, and to the catalog. It is one of the two: it takes names
 * and objects away, or it cuts content, with up to TX_CUT_BLOCKS of data.
 */
enum {
	TX_REMOVAL_OBJECT_MESSAGES = 5,
	TX_REMOVAL_CONTENT_MESSAGES = 1,
	TX_REMOVAL_CATALOG_MESSAGES = 2,
	TX_CUT_OBJECT_MESSAGES = 2,
	TX_CUT_CONTENT_MESSAGES = 5,
	TX_CUT_CATALOG_MESSAGES = 1,
	TX_CUT_BLOCKS = 2,
	TX_EMPTYING_SHARES = 8, /* ranges of blocks whose counts of references change */
};

/*
 * Begins to collect. `visit` is the operation's; commit renews it while it waits, so what the
 * caller learnt from trees before must be protected by its own order of operations (it is: one
 * operation on an object at a time). `emptying`: only frees; may use the reserve. COP_ENOMEM,
 * COP_EROFS, COP_EIO (the volume has failed).
 */
MUST_CHECK int tx_begin(
	struct volume *volume, struct volume_visit *visit, bool emptying, struct tx **out_tx);

/* An emptying transaction that may leave the trees larger than they were: it uses only as much of
 * the reserve as leaves those that cannot what they need. */
void tx_may_grow(struct tx *tx);

/*
 * Sets aside, on top of what `promise` has, so much that it covers `data_blocks` and the nodes of
 * so many messages to a content tree and to the object tree. Waits for nothing.
 * COP_ENOSPC: not now, and nothing has changed.
 */
MUST_CHECK int volume_promise(struct volume *volume, uint64_t data_blocks,
	uint32_t content_messages, uint32_t object_messages, struct promise *promise);
void volume_unpromise(struct volume *volume, struct promise *promise);

/*
 * The transaction, which has just begun, takes as much of the promise as it needs: of data as it
 * takes blocks, of nodes at its commit. What is missing it asks for as one that empties. The rest
 * comes back to `promise`, which must outlive the transaction.
 */
void tx_use_promise(struct tx *tx, struct promise *promise);

/* Messages; key and value are copied. COP_ENOMEM. The order is the order of applying. */
MUST_CHECK int tx_put(struct tx *tx, struct tree_name name, struct view key, struct view value);
MUST_CHECK int tx_delete(struct tx *tx, struct tree_name name, struct view key);

/*
 * Takes the whole tree `name` away: its root record goes, and the value that tx_put() of `job_key`
 * in the catalog has given gets the root at its byte `root_at` (ROOT_RECORD_BYTES). The put must
 * come before. An empty tree gives a root of 0 levels.
 */
MUST_CHECK int tx_bury_tree(
	struct tx *tx, struct tree_name name, struct view job_key, uint32_t root_at);

/*
 * Data blocks for this transaction, as space_take(). The first call waits for admission (and may
 * run checkpoints); ask for all that will be wanted with tx_admit() before. COP_ENOSPC.
 */
MUST_CHECK int tx_admit(struct tx *tx, uint64_t data_blocks);
MUST_CHECK int tx_take(struct tx *tx, enum space_stream stream, uint64_t goal_addr,
	uint32_t want_blocks, struct run *out_run);

/* The rest of a run that will not be used after all (its end): free at once. */
void tx_give_back(struct tx *tx, struct run run);

/* The transaction drops a reference to each block of this run; those to which it was the last are
 * free. COP_ENOMEM. */
MUST_CHECK int tx_release(struct tx *tx, struct run run);

/* The same of a run that was born in that generation or later: what cannot be shared is not looked
 * up. */
MUST_CHECK int tx_release_born(struct tx *tx, struct run run, uint64_t birth);

/*
 * The tree `target`, which is empty or buried by this transaction, becomes that of `source`: both
 * share every node and all data, whatever their size. COP_ENOMEM.
 */
MUST_CHECK int tx_clone_tree(struct tx *tx, struct tree_name target, uint64_t source);

/* For content whose extents stand in the record, which the transaction puts: each run is referred
 * to once more. COP_ENOMEM. */
enum { TX_CLONE_RUNS_MAX = 60 };
MUST_CHECK int tx_clone_runs(struct tx *tx, struct tree_name target, uint64_t source,
	const struct run *runs, size_t count);

/*
 * Is what was born then referred to once, as can be known without looking? What others may refer to
 * is never written in place.
 */
bool volume_is_unshared(struct volume *volume, uint64_t birth);

/*
 * Data that was written for this transaction, with a checksum for each block: recovery believes the
 * transaction only if they are there. Every block that was written must be told. COP_ENOMEM.
 */
MUST_CHECK int tx_data(struct tx *tx, uint64_t addr, uint32_t blocks, const uint64_t *checksums);

/* What a part of a dead tree refers to. Zero it before use; volume_remains_free() ends it. */
struct remains {
	struct remains_run {
		struct run run;
		uint64_t birth;
	} * runs; /* owned */
	size_t run_count;
	size_t run_capacity;
	struct remains_node {
		struct tree_pointer pointer;
		bool is_shared; /* others have it, and what is below it */
	} * nodes;              /* owned */
	size_t node_count;
	size_t node_capacity;
	struct tree_cursor next; /* where the next step begins */
	bool is_done;            /* there is none */
};

/*
 * Instead of being written, the bytes of a block that was taken ride in the transaction: whoever
 * syncs it waits for one write. They are in the
 * cache from the commit on, and go to their place with the next checkpoint. At most TX_CARRIED_MAX,
 * and only if volume_may_carry(). The bytes are copied. COP_ENOMEM.
 */
MUST_CHECK int tx_carry(struct tx *tx, uint64_t object, uint64_t addr, const uint8_t *bytes);

/* Is there any such block that is not at its place yet? */
bool volume_carries(const struct volume *volume);

/* Does a batch hold a transaction with so many blocks and what else goes with them? */
bool volume_may_carry(const struct volume *volume, uint32_t blocks);

/*
 * What one step gives up that begins at `cursor`: `runs_max` runs at most. What cannot be read is
 * left out, and stays allocated. No lock held.
 */
MUST_CHECK int volume_remains(struct volume *volume, enum tree_kind kind,
	const struct tree_root *root, const struct tree_cursor *cursor, size_t runs_max,
	struct remains *remains);
void volume_remains_free(struct remains *remains);

/*
 * One step of a job that takes the dead tree `dead` apart: gives `remains` up, and puts the job's
 * record `value` under `job_key` in the catalog, or deletes it when `value` is empty. The record
 * has the dead tree's root at byte `root_at`, and behind it, to its end, the cursor: remains->next.
 * `from` is the cursor before. A replay finds out by itself what there is to give up.
 *
 * tx_commit() then returns ERR_MISSING when others have ceased to share a node since the remains
 * were looked at: they are to be collected again. COP_ENOMEM.
 */
struct tx_step {
	struct tree_name dead;
	struct view job_key;
	struct view value;
	uint32_t root_at;
	const struct tree_cursor *from;
	const struct remains *remains;
};
MUST_CHECK int tx_step(struct tx *tx, const struct tx_step *step);

/* Objects that this transaction adds to (or takes from) the volume. */
void tx_count_objects(struct tx *tx, int64_t change);

/*
 * `applying` is called once, under the exclusive gate, before the first change is made: nothing can
 * go wrong any more. It neither waits nor fails, and may run on another thread than the caller's.
 */
void tx_on_apply(struct tx *tx, void (*applying)(void *context), void *context);

/*
 * Makes it happen, or returns an error with no effect; frees the transaction either way. Data
 * writes to the runs it took must have completed.
 */
MUST_CHECK int tx_commit(struct tx *tx);

/* Gives everything back. No write to a run it took may be in flight. NULL accepted. */
void tx_abort(struct tx *tx);

/* ---- Making durable ------------------------------------------------------------------------- */

/* Everything that was committed before the call is durable when it returns 0: one batch of the
 * journal and one flush, shared by all who ask at the same time. No lock held. */
MUST_CHECK int volume_sync(struct volume *volume);

/* The same when a checkpoint has failed, and no more can be committed: what was is durable all the
 * same, unless the journal has failed too. */
MUST_CHECK int volume_sync_journal(struct volume *volume);

/* Is there anything that is not durable yet? For good after a failure. */
bool volume_needs_sync(struct volume *volume);

/*
 * What is due by now: a sync five seconds after the first change, a checkpoint when the journal is
 * long or half a minute has passed, a mark when nothing has happened for a while. What waits for a
 * sync is written meanwhile, without a flush. To be called about ten times a second.
 */
MUST_CHECK int volume_tick(struct volume *volume);

/* ---- Checkpoints ---------------------------------------------------------------------------- */

/* Everything that was committed before the call is durable when it returns 0. No lock held. */
MUST_CHECK int volume_checkpoint(struct volume *volume);

/* Checkpoints until nothing awaits release, or only what an operation may still look at that goes
 * on for more than a second. */
MUST_CHECK int volume_settle(struct volume *volume);

/* A checkpoint that says that nothing came after it; nothing if the newest one says so. The last
 * act before volume_close(). */
MUST_CHECK int volume_checkpoint_clean(struct volume *volume);

/* Is there anything that is in no checkpoint yet? Also while one is being written, and for good
 * after one has failed. */
bool volume_is_dirty(struct volume *volume);

#endif
