#ifndef COPPICE_SPACE_SPACE_INTERNAL_H
#define COPPICE_SPACE_SPACE_INTERNAL_H

/*
 * What the files of space/ share: the table of what is known of the allocation tree, the lists of
 * a generation, the pool of node runs.
 *
 *   table.c  loads blocks of the allocation tree on demand, keeps sums, evicts bitmaps
 *   alloc.c  searches and takes
 *   claim.c  takes what recovery says
 *   nodes.c  the pool of node runs
 *   lists.c  what was freed, in order of periods
 *   write.c  the checkpoint
 *
 * The table is a tree of the same shape as the one on the device, with pointers where something
 * has been loaded. An entry knows more than its descriptor: the descriptor tells of the newest
 * written checkpoint, the entry what may be allocated now.
 *
 * Locks  Functions here are called with space->mutex held, unless their comment says otherwise.
 *        Those that "may read" let go of it while they do.
 */

#include "base/lock.h"
#include "space/allocation_format.h"
#include "space/bitmap.h"
#include "space/space.h"

#include <assert.h>

enum {
	SPACE_NODE_BLOCKS_MAX = 16,
	SPACE_IDLE_AGS_MAX = 256, /* bitmaps kept though nothing depends on them: 4 MiB */
	SPACE_LOADS_MAX = 32,     /* bitmaps read or written at once */
	SPACE_CHUNK_RUNS = 254,   /* makes a chunk of a list 4 KiB */
};

struct space_inner;
struct space_ag;
struct space_window;

struct space_entry {
	struct space_descriptor descriptor; /* in force; generation 0 is filled in */
	struct space_inner *inner;          /* owned; NULL: not loaded, or this is a bitmap */
	struct space_ag *ag;                /* owned; NULL: not loaded, or this is no bitmap */
	uint64_t available_blocks;          /* allocatable now, below here */
	uint64_t chunks;     /* wholly allocatable node places below; at least, until known */
	uint8_t class_bound; /* no allocatable run below is of a higher class */
	bool is_closed;      /* damaged: nothing below is touched; counts and bound are 0 */
	bool was_unread;     /* closed because the device failed, not by damage that was seen */
	bool chunks_known;   /* of a bitmap */
};

struct space_inner {
	struct space_inner *parent; /* NULL: the top block */
	struct space_entry *above;  /* the entry that describes it */
	uint32_t level;             /* from 1 */
	uint64_t index;
	uint64_t dirty; /* a bit for each entry whose block must be written */
	struct space_entry entries[SPACE_FANOUT];
};

struct space_link {
	struct space_link *prev;
	struct space_link *next;
};

/*
 * One loaded bitmap. It is idle, and may be evicted, when busy == used and the checkpoint does not
 * hold it: then reading it again gives the same.
 */
struct space_ag {
	struct space_link link; /* space.idle or space.held; first member */
	struct space_inner *parent;
	uint64_t index;
	uint32_t size_blocks;
	uint32_t fixed_blocks;
	uint32_t used_blocks;
	uint32_t busy_blocks;
	uint32_t reserved_blocks; /* handed out or in the pool, not yet used */
	uint32_t opening_blocks;
	bool is_idle;
	bool previous_is_lost; /* `opening` is all that N leaves free */
	bool is_dirty;         /* the running checkpoint writes it */
	bool has_born[2];      /* on space.born_ags (born_next) */
	struct space_ag *born_next[2];
	struct space_ag *dirty_next; /* space.dirty_ags */
	uint64_t *used;              /* the bitmap of the newest written generation */
	uint64_t *busy;    /* not allocatable: used, reserved, awaiting, or past the end */
	uint64_t *born[2]; /* used in the open and in the frozen period, by space.open_side */
	uint64_t *proof;   /* space_check()'s own, NULL outside of it */
	uint64_t *opening; /* used in P or held, and free in N; NULL: nothing. A map of its own */
	uint64_t maps[];
};

/* A part of a list of freed runs; all of one period. */
struct run_chunk {
	struct run_chunk *next;
	uint64_t generation;
	uint64_t blocks;
	uint64_t count;
	struct run runs[SPACE_CHUNK_RUNS];
};
static_assert(sizeof(struct run_chunk) == BLOCK_BYTES, "a chunk of a list is one page");

struct run_list {
	struct run_chunk *head;
	struct run_chunk *tail;
	uint64_t blocks;
};

/* The places of one node; addr2 is 0 where nodes have one copy. */
struct node_places {
	uint64_t addr;
	uint64_t addr2;
};

struct space {
	/* Set by space_open(), never changed. */
	struct device *dev;
	struct geometry geometry;
	uint8_t uuid[16];
	uint32_t node_blocks;
	uint32_t node_copies;
	const uint8_t *parameters; /* borrowed, or NULL */

	/* All else is guarded by `mutex`, rank LOCK_SPACE. */
	struct mutex mutex;

	struct space_entry root;
	struct space_entry previous_root;
	bool has_previous; /* N's successor is not durable: what P uses is not allocated */
	uint64_t undiscovered_blocks; /* awaiting since N's period, in AGs not loaded yet */
	uint64_t opening_blocks;      /* the same in AGs that are */

	struct space_link idle; /* least recently used first */
	struct space_link held;
	uint32_t idle_count;
	uint64_t closed_ags;
	size_t memory_bytes;

	uint64_t open_generation;
	uint64_t frozen_generation;  /* 0: nothing is frozen */
	struct space_window *window; /* owned; not NULL: the frozen generation can be written */
	bool frozen_is_applied;      /* `used` of the AGs, and the awaiting lists, show it */
	unsigned open_side;
	struct space_ag *born_ags[2];
	struct space_ag *dirty_ags;

	struct run_list open_list;
	struct run_list frozen_list;
	struct run_list awaiting_list; /* written, oldest first */
	struct run_chunk *spare_chunks;
	size_t spare_count;
	size_t reserved_runs;

	uint64_t used_blocks; /* as the open generation is now */
	struct space_stats stats;
	uint64_t open_freed_blocks; /* freed in the open period though born before it */

	uint64_t promised_blocks;
	uint64_t reserve_blocks;
	uint64_t goals[SPACE_STREAMS];
	uint64_t learn_ag; /* before it, chunks of all AGs are known */

	struct node_places *pairs; /* a ring of pair_capacity, from pair_first */
	size_t pair_first;
	size_t pair_count;
	size_t pair_capacity;
	uint64_t *singles; /* second places whose node had one copy */
	size_t single_count;
	size_t single_capacity;
	size_t reserved_nodes;
	uint64_t pool_blocks;
};

/* ---- table.c -------------------------------------------------------------------------------- */

/* `entry` stands for a block that the descriptor in it describes and that is not loaded. */
void space__entry_init(struct space_entry *entry, const struct space *space, uint32_t level);

/* The record of `ag` if it is loaded. */
struct space_ag *space__peek_ag(struct space *space, uint64_t ag);

/* May read. *out_ag is NULL when damage has closed it. COP_ENOMEM. */
MUST_CHECK int space__find_ag(struct space *space, uint64_t ag, struct space_ag **out_ag);

/* Is `ag` closed, by itself or by a block above? */
bool space__is_closed(const struct space *space, uint64_t ag);

/* Is `ag` closed because the device failed to read its bitmap, or a block above? */
bool space__was_unread(const struct space *space, uint64_t ag);

/* May read. Loads the AGs of all runs, many at once, and has the checkpoint hold them. */
MUST_CHECK int space__hold_ags(struct space *space, const struct run *runs, size_t count);

/* The checkpoint writes this AG, and keeps it until space__let_go(). */
void space__hold_ag(struct space *space, struct space_ag *ag);
void space__let_go(struct space *space);

/*
 * May read inner blocks. The first AG in [*ag, end) with a run of `class` or better, so far as is
 * known; *out_found false: there is none. `chunks`: only where there may be node places, `unknown`:
 * only where their number is not known.
 */
struct space_filter {
	uint8_t class;
	bool chunks;
	bool unknown;
};

MUST_CHECK int space__next_ag(struct space *space, uint64_t *ag, uint64_t end,
	struct space_filter filter, bool *out_found);

struct space_entry *space__ag_entry(struct space_ag *ag);

/* Blocks of an AG become or cease to be busy: sums follow. */
void space__mark_busy(struct space *space, struct space_ag *ag, uint32_t first, uint32_t count);
void space__mark_free(struct space *space, struct space_ag *ag, uint32_t first, uint32_t count);

/* No run in `ag` is of a higher class. */
void space__lower_class(struct space_ag *ag, uint8_t class_bound);

/* The opening runs of all AGs are free; no bitmap is compared with P's any more. */
void space__forget_previous(struct space *space);

void space__free_table(struct space *space);

/* ---- alloc.c -------------------------------------------------------------------------------- */

/* Node places that ordinary callers may break or take: those beyond the reserve. */
uint64_t space__spare_chunks(const struct space *space);

/* May read. Learns of node places until there are `wanted` spare ones or no more are unknown. */
MUST_CHECK int space__learn(struct space *space, uint64_t wanted);

/* May read. One node place near the goal of `stream`, not in `avoid_ag`; addr 0: there is none. */
MUST_CHECK int space__take_chunk(
	struct space *space, enum space_stream stream, uint64_t avoid_ag, uint64_t *out_addr);

/* Gives reserved blocks back. */
void space__unreserve(struct space *space, struct run run);

/* Reserved blocks are used in the open generation. */
void space__use(struct space *space, struct run run);

/* ---- nodes.c -------------------------------------------------------------------------------- */

/* Frees node runs that nobody has reserved, but for `keep` nodes; true: there were any. */
bool space__trim_pool(struct space *space, size_t keep);

/* ---- lists.c -------------------------------------------------------------------------------- */

/* Memory for the runs reserved and for `more_runs`. COP_ENOMEM. */
MUST_CHECK int space__fill_spares(struct space *space, size_t more_runs);

/* `tail` is empty afterwards. */
void space__list_append(struct run_list *list, struct run_list *tail);
/* Could this run be handed out: in one AG, not over what is fixed? A damaged image may name
 * anything. */
bool space__is_run(const struct space *space, struct run run);

/* Its chunk is spare again; list->blocks is the caller's. */
void space__list_drop_head(struct space *space, struct run_list *list);
void space__list_free(struct run_list *list);

/* ---- write.c -------------------------------------------------------------------------------- */

void space__window_free(struct space_window *window); /* NULL is accepted */

/* ---- space.c -------------------------------------------------------------------------------- */

/* Allocatable, the pool included. */
uint64_t space__free_blocks(const struct space *space);

/* COP_ENOSPC was just noted: the note also tells of closed groups, if there are any. */
int space__no_space(const struct space *space, int err);

#endif
