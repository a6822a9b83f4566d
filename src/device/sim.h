#ifndef COPPICE_DEVICE_SIM_H
#define COPPICE_DEVICE_SIM_H

/*
 * sim: a simulated disk, the device that every crash and fault test stands on.
 *
 * A *medium* outlives the handles that are opened on it. It has a volatile write cache: what a
 * write stored can be read at once, and becomes durable by a flush that was submitted after the
 * write had completed, or by itself when the write asked for that (FUA). Closing a handle without
 * a flush, as a killed process does, leaves the cache as it is.
 *
 * The power fails when it is told to. From then on every call on an open handle returns COP_EIO,
 * also after the power is back: what was open must be opened again. sim_power_on() empties the
 * cache, and then the fate of each 512-byte sector with versions that were not durable is decided
 * only when it is read: the durable version, or any newer one. A block of eight sectors so can be
 * old, new, or torn between any of its versions. A decision once made stays. Sectors that nobody
 * reads stay undecided, also over further writes, flushes and power cuts, so that what recovery
 * never looks at never multiplies the states. A version that equals an older one in a sector is no
 * alternative of its own there.
 *
 *   blocks     durable version, then cached ones    cut        read: choose() picks
 *     17       [A] [B] [C]                       -------->     A, B or C for each sector
 *
 * Promises
 *   - Same seed, same calls, same choices: same bytes and same order of completions.
 *   - sim_clone() costs the same for any size of medium: blocks are shared until they change.
 *   - Counting: writes, flushes and discards are the *changing calls*, numbered from 1 in the order
 *     in which they reach the medium.
 *
 * Locks   Any thread may call; a medium has one lock of rank LOCK_DEVICE_QUEUE. The functions that
 *         set up power and faults are for the test that owns the medium.
 */

#include "device/device.h"

#include <stdbool.h>
#include <stdint.h>

enum { SIM_SECTOR_BYTES = 512, SIM_BLOCK_SECTORS = BLOCK_BYTES / SIM_SECTOR_BYTES };

struct sim_medium;

/* An empty medium (all zeros) with its power on. COP_ENOMEM, COP_EINVAL. */
MUST_CHECK int sim_create(uint64_t bytes, uint64_t seed, struct sim_medium **out_medium);

/* No handle may be open on it. NULL is accepted. */
void sim_free(struct sim_medium *medium);

/*
 * A second medium in the same state: contents, cache, counters, power and choices made. It has no
 * handles, no faults and no hook; writes that are in flight on the original are cached writes on
 * the clone.
 */
MUST_CHECK int sim_clone(struct sim_medium *medium, struct sim_medium **out_clone);

/*
 * Opens a handle; of enum device_open_flags, DEVICE_READ_ONLY and DEVICE_NO_LOCK count. One handle
 * at a time may write: COP_EBUSY. COP_EIO: no power.
 */
MUST_CHECK int sim_open(struct sim_medium *medium, uint32_t flags, struct device **out_device);

/* ---- Power ---------------------------------------------------------------------------------- */

/* Now. */
void sim_power_off(struct sim_medium *medium);

/*
 * Lets `calls` more changing calls happen; the power fails during the one after them. If that is a
 * write, it is in flight: any of its sectors may or may not have reached the medium.
 */
void sim_cut_after(struct sim_medium *medium, uint64_t calls);
bool sim_is_on(struct sim_medium *medium);

/*
 * Chooses the version of a sector, in [0, alternatives): 0 is the durable one, then newer ones,
 * each different from all before. `alternatives` is at least 2. Called with the medium's lock held:
 * it must not call sim or device functions.
 */
typedef uint32_t (*sim_choose)(void *context, uint32_t alternatives, uint64_t sector);

/* Choosers: the extremes, and at random (`context` is a struct rng of base/random.h). */
uint32_t sim_choose_oldest(void *context, uint32_t alternatives, uint64_t sector);
uint32_t sim_choose_newest(void *context, uint32_t alternatives, uint64_t sector);
uint32_t sim_choose_random(void *context, uint32_t alternatives, uint64_t sector);

/* Power must be off. Clears the cut and the read hash; faults stay. */
void sim_power_on(struct sim_medium *medium, sim_choose choose, void *context);

/* Who decides from now on; for a clone of a medium with its power on. */
void sim_set_choose(struct sim_medium *medium, sim_choose choose, void *context);

/* ---- What happened -------------------------------------------------------------------------- */

/*
 * A hash of everything that reads returned since the medium was made or its power came on, with
 * addresses and errors: equal hashes, equal history for whoever read. What was written since then
 * is left out: it tells the writer nothing.
 */
uint64_t sim_read_hash(struct sim_medium *medium);

/* Takes back what was read since it was that. What was decided stays. */
void sim_set_read_hash(struct sim_medium *medium, uint64_t hash);

/* What a read of a block gave. */
struct sim_look {
	uint64_t addr;
	uint64_t blocks; /* of its request, from this one on */
	int err;
	uint64_t hash;        /* of equal bytes the same, never 0 */
	bool is_torn;         /* sectors of several versions, and not the bytes of one */
	const uint8_t *bytes; /* borrowed: until the block is written */
};

/*
 * Looks at a block as a read does: what is undecided is decided, and the read hash goes on. For who
 * knows what a program will read. COP_ENOMEM.
 */
MUST_CHECK int sim_look(struct sim_medium *medium, uint64_t addr, struct sim_look *out_look);

/*
 * Called for every block that goes into the read hash. With the medium's lock held: it must not
 * call sim or device functions. NULL: none.
 */
typedef void (*sim_listener)(void *context, const struct sim_look *look);
void sim_set_listener(struct sim_medium *medium, sim_listener listener, void *context);

struct sim_stats {
	uint64_t reads;
	uint64_t writes;
	uint64_t flushes;
	uint64_t discards;
	uint64_t calls;       /* changing calls: writes, flushes and discards */
	uint64_t choices;     /* decisions made by choose() */
	uint64_t not_durable; /* blocks with versions that a power cut may lose, at most */
};

struct sim_stats sim_stats(struct sim_medium *medium);

/*
 * Called before each changing call takes effect, with its number and without locks: the place to
 * sim_clone() a state for every power cut of a run. NULL: none.
 */
typedef void (*sim_hook)(void *context, struct sim_medium *medium, uint64_t call);
void sim_set_hook(struct sim_medium *medium, sim_hook hook, void *context);

/* ---- Faults --------------------------------------------------------------------------------- */

enum sim_fault_kind {
	SIM_FAIL_READ = 1,
	SIM_FAIL_WRITE, /* nothing is stored; `code` is COP_EIO, COP_ENOSPC */
	SIM_FAIL_FLUSH, /* cached writes stay readable, yet no later flush makes them durable */
	SIM_LOSE_WRITE, /* reports success, stores nothing */
	SIM_MISDIRECT_WRITE, /* reports success, stores at `to_addr` */
	SIM_HOLD_WRITE,      /* completes only when somebody waits for it, or sim_release() */
};

enum { SIM_ANY = 0 };

struct sim_fault {
	enum sim_fault_kind kind;
	uint64_t call;   /* the n-th call of its kind from now, from 1; SIM_ANY: every one */
	bool persistent; /* that call and every later one */
	uint64_t addr; /* only calls that touch these blocks, and `call` counts only those; of a */
	uint64_t
		blocks; /* write lost or misdirected, only these blocks are. `blocks` 0: wherever */
	int code;       /* of the failing kinds; 0: COP_EIO */
	uint64_t to_addr; /* of SIM_MISDIRECT_WRITE */
};

/* Up to SIM_FAULTS_MAX at once; COP_ENOSPC beyond. */
enum { SIM_FAULTS_MAX = 32 };
MUST_CHECK int sim_add_fault(struct sim_medium *medium, const struct sim_fault *fault);
void sim_clear_faults(struct sim_medium *medium);

/* How often a fault has struck since sim_clear_faults(). */
uint64_t sim_faults_struck(struct sim_medium *medium);

/* The request that a fault struck last: its blocks, none if there was no such request, and where a
 * misdirected write went instead (SIM_MISDIRECT_WRITE only). */
struct sim_struck {
	uint64_t addr;
	uint64_t blocks;
	uint64_t to_addr;
};
struct sim_struck sim_last_struck(struct sim_medium *medium);

/* Held writes may complete, in a seeded order: whoever waits next completes them. */
void sim_release(struct sim_medium *medium);

/*
 * With `on`, requests are executed only when somebody waits, one by one in a seeded order. A flush
 * never covers a write that had not completed when it was submitted, with or without this.
 */
void sim_reorder(struct sim_medium *medium, bool on);

/*
 * With `on`, device_barrier() completes what is in flight and then only orders: no write after it
 * survives a power cut where one from before it is lost. Without, it is a flush.
 */
void sim_order_barriers(struct sim_medium *medium, bool on);

/* ---- Damage: changes to the medium behind everybody's back ---------------------------------- */

/* Flips one bit, 0 to 32767, of every version of the block. COP_ENOMEM. */
MUST_CHECK int sim_flip_bit(struct sim_medium *medium, uint64_t addr, uint32_t bit);

/* The durable contents before the present ones come back. COP_ENOENT: there are none. */
MUST_CHECK int sim_make_stale(struct sim_medium *medium, uint64_t addr);

/* Reads and writes a block past cache, counters, power and faults; a peek decides what is
 * undecided, a poke is durable. COP_ENOMEM. */
MUST_CHECK int sim_peek(struct sim_medium *medium, uint64_t addr, void *block);
MUST_CHECK int sim_poke(struct sim_medium *medium, uint64_t addr, const void *block);

#endif
