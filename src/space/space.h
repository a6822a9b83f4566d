#ifndef COPPICE_SPACE_H
#define COPPICE_SPACE_H

/*
 * space: which blocks of the device are free, used, or awaiting release.
 *
 * The device is cut into allocation groups (AGs) with one bitmap block each. Over the bitmaps
 * stands the allocation tree of fixed shape: blocks of 64 descriptors, each with free count, class
 * of the longest free run, slots, generation and checksum of the block it describes; the descriptor
 * of the top block lies in the superblock. Each of these blocks has three slots side by side; a
 * write takes the slot that neither of the two newest checkpoints uses.
 *
 * On the write path nothing of this is touched: a generation's allocations and releases are lists
 * in memory, applied by the checkpoint in one sorted pass.
 *
 * Promises
 *   - A run handed out is handed to nobody else until it was freed in some period k (k being the
 *     one of its own birth included), superblock k+1 is durable, and no reader is left that could
 *     look at it. A run that no transaction ever named (space_untake) is free at once.
 * (Invariant 1.)
 *   - The bitmap of generation k holds exactly what is used at freeze k. (Invariant 7.)
 *   - Writing the allocation tree allocates nothing.
 *   - Ordinary admissions leave the reserve alone, so a full volume can be emptied. (Invariant 6.)
 *   - An unreadable block of the allocation tree closes its AGs to allocation and harms nothing
 * else.
 *
 * Locks  One mutex, rank LOCK_SPACE, never held across device I/O. space_take(), space_claim(),
 *        space_hold(), space_reserve_nodes() and space_write() may read: no lock held. The others
 *        may be called under the gate.
 * Cost   space_take(): a scan of one bitmap that is usually in memory.
 */

#include "base/err.h"
#include "cache/cache.h"
#include "device/device.h"
#include "space/geometry.h"

#include <stdbool.h>
#include <stdint.h>

struct space;

/* Consecutive blocks on the device, counted from its start. `blocks` of 0 means none. */
struct run {
	uint64_t addr;
	uint32_t blocks;
};

/* What a run is for: each stream has a goal of its own, so that like lies beside like. */
enum space_stream {
	SPACE_DATA = 0,
	SPACE_SMALL_DATA = 1,
	SPACE_NODES = 2,
	SPACE_NODE_COPIES = 3, /* half a device away from SPACE_NODES */
	SPACE_STREAMS = 4,
};

/* The descriptor of one block of the allocation tree; that of the top block is the root. */
struct space_descriptor {
	uint64_t generation; /* that wrote the block; 0: all free, never written */
	uint64_t checksum;
	uint64_t free_blocks;
	uint8_t longest_class; /* longest free run: 0 none, c: at least 2^(c-1) blocks */
	uint8_t slot;          /* in force, 0 to 2 */
	uint8_t previous_slot; /* before `generation`; a reader of the checkpoint before uses it */
};

enum { SPACE_DESCRIPTOR_BYTES = 32 };

void space_descriptor_encode(
	const struct space_descriptor *descriptor, uint8_t out[static SPACE_DESCRIPTOR_BYTES]);
MUST_CHECK int space_descriptor_decode(
	const uint8_t in[static SPACE_DESCRIPTOR_BYTES], struct space_descriptor *out_descriptor);

struct space_options {
	struct device *dev;
	struct geometry geometry;
	uint8_t uuid[16];
	uint32_t node_blocks;         /* a power of two, up to 16 */
	uint32_t node_copies;         /* the most that space_take_node() is asked for; 0: 2 */
	uint64_t generation;          /* of the newest checkpoint, N; the open one is greater */
	uint64_t open_generation;     /* that the first freeze closes; 0: generation + 1 */
	struct space_descriptor root; /* of N */
	uint64_t awaiting_blocks;     /* freed in N's period, as N's superblock says */

	/* One block, borrowed for as long as the space is open: written to the start of each AG
	 * that has no ring of superblocks, together with its first bitmap. NULL: nothing is. */
	const uint8_t *parameters;

	/* P, the checkpoint before N: what it uses is not allocated until N's successor is durable.
	 * `previous_generation` 0: there is none. */
	uint64_t previous_generation;
	struct space_descriptor previous_root;
};

/* What init writes: everything but the given runs is free. Returns the root for the superblock.
 * `parameters` as in the options. */
MUST_CHECK int space_format(struct device *dev, const struct geometry *geometry,
	const uint8_t uuid[16], const uint8_t *parameters, uint64_t generation,
	const struct run *used, size_t used_count, struct space_descriptor *out_root);

/* Reads nothing but the root. */
MUST_CHECK int space_open(const struct space_options *options, struct space **out_space);
void space_free_all(struct space *space); /* NULL is accepted */

/* ---- Admission: counting, no blocks yet ----------------------------------------------------- */

/*
 * Promises `blocks` to a caller, so that what it takes later is there. `emptying` may use the
 * reserve. COP_ENOSPC: not now; a checkpoint may bring some back (space_pending_blocks()).
 */
MUST_CHECK int space_admit(struct space *space, uint64_t blocks, bool emptying);

/* The same for one that frees, but may leave the trees larger: may use two thirds of the reserve,
 * so that what does not is always left the rest. */
MUST_CHECK int space_admit_growing(struct space *space, uint64_t blocks);

/* Gives back the part of a promise that was not taken. */
void space_unadmit(struct space *space, uint64_t blocks);

/* The reserve R of rule space.md 4, set by the volume whenever a height changes. */
void space_set_reserve(struct space *space, uint64_t blocks);

/* ---- Data runs ------------------------------------------------------------------------------ */

/*
 * Takes up to `want_blocks` in one run, out of an admission of the caller's; the longest it finds
 * near the stream's goal, or near `goal_addr` if that is not 0. Can be shorter than wanted, never
 * longer. May read bitmaps. COP_ENOSPC: everything readable is taken. Damage of a bitmap only
 * closes its AG.
 */
MUST_CHECK int space_take(struct space *space, enum space_stream stream, uint64_t goal_addr,
	uint32_t want_blocks, struct run *out_run);

/* A run of space_take() that no transaction ever named, with no write in flight: free at once; the
 * admission is whole again. */
void space_untake(struct space *space, struct run run);

/* Gate exclusive: the transaction that names the run is applied, in the open generation. */
void space_use(struct space *space, struct run run);

/* Gate exclusive: the last reference is gone, in the open generation. */
void space_release(struct space *space, struct run run);

/*
 * Memory for `count` more calls of use and release, so that they cannot fail; each call takes one
 * of them, and what was not taken is given back. COP_ENOMEM.
 */
MUST_CHECK int space_reserve_lists(struct space *space, size_t count);
void space_unreserve_lists(struct space *space, size_t count);

/* ---- Recovery: what the journal names ------------------------------------------------------- */

/*
 * Before anything is allocated: exactly the blocks of `run`, which the journal after N's tail
 * hands out, become taken, without an admission. The replay of its transaction says space_use(),
 * and should that transaction not want it after all, space_release() after it: then it waits as
 * everything does that the journal names. space_unclaim() is for a run that no journal names which
 * is kept. May read.
 *
 * In an AG that damage has closed, nothing happens and all is well: nothing is handed out there,
 * what lies there stays readable, and space_use() and space_release() of it count nothing. The
 * trees then use what no bitmap shows; check says so, and repair builds the bitmap anew.
 *
 * COP_EFORMAT: a block of it is used in N, taken, fixed or outside of the AG. COP_EIO: its bitmap
 * could not be read, though the next opening may. COP_ENOMEM. Then nothing has changed.
 */
MUST_CHECK int space_claim(struct space *space, struct run run);

/* Gives a claimed run back: free at once, or when what P uses is, if P's bitmap is lost. */
void space_unclaim(struct space *space, struct run run);

/*
 * Before anything is allocated: what of `run` is free now, used by nobody and not claimed, cannot
 * be allocated until N's successor is durable, and counts as pending until then. For blocks that
 * the retained journal names before N's tail. Any run, over the borders of AGs, and more than once.
 * May read. COP_EFORMAT: past the end of the volume, nothing has changed. COP_ENOMEM: a part of it
 * is held.
 */
MUST_CHECK int space_hold(struct space *space, struct run run);

/*
 * What only P uses, or is held, can be allocated from now on; P is no longer whole. False: nothing
 * was kept.
 */
bool space_give_up_previous(struct space *space);

/* ---- Nodes ---------------------------------------------------------------------------------- */

/*
 * Sees to it that `count` nodes, with as many copies as the volume's nodes have, can be taken by
 * space_take_node(), out of an admission of the caller's: copies * node_blocks for each node taken,
 * counted when it is taken. May read bitmaps. space_unreserve_nodes() gives back what was not
 * taken. COP_ENOSPC: no run of node_blocks is left outside of the reserve, which only `emptying`
 * may use; the free space can be in shorter pieces.
 */
MUST_CHECK int space_reserve_nodes(struct space *space, uint32_t count, bool emptying);
void space_unreserve_nodes(struct space *space, uint32_t count);

/* Gate exclusive, reserved: addresses for one node, used in the open generation; addr2 is 0 when
 * `copies` is 1. The copies lie in different AGs where there are two with room. */
void space_take_node(struct space *space, uint32_t copies, uint64_t *out_addr, uint64_t *out_addr2);

/* ---- Checkpoints ---------------------------------------------------------------------------- */

/*
 * Gate exclusive: closes the generation. Its lists are frozen, `next_generation` is open.
 * *out_free_blocks and *out_awaiting_blocks are what the superblock of the closing one records.
 */
void space_freeze(struct space *space, uint64_t next_generation, uint64_t *out_free_blocks,
	uint64_t *out_awaiting_blocks);

/*
 * After a freeze: reads the bitmaps that the frozen lists concern, and sets aside the memory that
 * writing takes. COP_ENOMEM: nothing has changed, and it can be called again. COP_EIO: a bitmap
 * that must change cannot be read; it will not be until the volume is opened again.
 */
MUST_CHECK int space_prepare_write(struct space *space);

/*
 * Applies the frozen lists and writes bitmaps and allocation tree, stamped with the frozen
 * generation. Not flushed. Does what space_prepare_write() does unless that was called; after it,
 * only the device can fail. An error leaves the volume read-only: it is not called again.
 */
MUST_CHECK int space_write(struct space *space, struct space_descriptor *out_root);

/*
 * The superblock of the frozen generation k is durable: what was freed in the period before it and
 * earlier is free again, except runs for which `may_release` says no (a reader still looks): those
 * stay for the next time.
 */
void space_durable(struct space *space,
	bool (*may_release)(void *context, uint64_t freed_generation), void *context);

/* ---- Telling -------------------------------------------------------------------------------- */

uint64_t space_free_blocks(const struct space *space);      /* allocatable now */
uint64_t space_available_blocks(const struct space *space); /* less reserve and promises */
uint64_t space_pending_blocks(const struct space *space);   /* awaiting release */
size_t space_list_bytes(const struct space *space);         /* memory of lists and bitmaps */

/* AGs that a damaged block of the allocation tree has closed, as far as it has been met. */
uint64_t space_closed_ags(const struct space *space);

/* Blocks that came into use and went out of it since space_open(), nodes and data. */
struct space_stats {
	uint64_t allocated_blocks;
	uint64_t freed_blocks;
};

struct space_stats space_stats(struct space *space);

/* Asserts free + used + awaiting == blocks for every loaded AG and in sum. */
void space_check(struct space *space);

/* ---- What the open generation has changed: check, after a replay ---------------------------- */

/* Sets the bits of what came into use in `ag` since the newest checkpoint; false: nothing did. */
bool space_changes_used(struct space *space, uint64_t ag, uint8_t bitmap[static COP_BLOCK_BYTES]);

/* Visits the runs that went out of use since then, some of which may have come into use since then
 * as well. `visit` calls nothing of the space. */
void space_changes_freed(
	struct space *space, void (*visit)(void *context, struct run run), void *context);

/* ---- Reading an allocation tree without opening it: check, dump ----------------------------- */

/*
 * Visits the descriptor of every AG below `root`, then `bitmap` with its 4096 bytes, verified; a
 * block that cannot be verified is reported with its result and NULL, and skipped with what is
 * below it. AGs of generation 0 come with bitmap NULL and result 0.
 */
typedef bool (*space_visit)(void *context, uint64_t ag, const struct space_descriptor *descriptor,
	const uint8_t *bitmap, int result);

MUST_CHECK int space_walk(struct device *dev, const struct geometry *geometry,
	const uint8_t uuid[16], const struct space_descriptor *root, uint64_t first_ag,
	uint64_t ag_count, space_visit visit, void *context);

#endif
