#ifndef COPPICE_DEVICE_SIM_STORE_H
#define COPPICE_DEVICE_SIM_STORE_H

/*
 * sim_store: what a simulated medium holds: for each block the durable version, and newer ones that
 * a power cut may lose.
 *
 * A persistent map: nodes of a radix tree, block states and block contents are counted and copied
 * only when they change and somebody else holds them too. So a clone is one more reference to the
 * root, and a medium of any size takes memory for what was written.
 *
 * A *period* is the time between two power cuts. Versions of the present period lie in the volatile
 * cache: the newest of them is what a read gives. Versions of earlier periods are candidates: the
 * power went away before they were durable, and the first read decides among them.
 *
 * A *barrier* begins a new epoch of the period and makes nothing durable. What it promises holds
 * for the decisions: the medium keeps, for each period with barriers, the epochs that have shown
 * themselves to be there or lost, and a sector is offered only versions that agree with them.
 *
 * Locks  None: the medium's. Clones may be used by other threads, for counts are atomic.
 */

#include "device/sim.h"

struct sim_node;

/* Of one sector, at most so many versions are told apart: the durable one and the newest. */
enum { SIM_ALTERNATIVES_MAX = 64 };

/* Periods whose barriers are remembered; of older ones, every version stays possible. */
enum { SIM_ORDERS_MAX = 16 };

/* What the decisions so far say of one period. */
struct sim_order {
	uint64_t period;
	uint64_t floor;   /* everything of earlier epochs reached the medium */
	uint64_t ceiling; /* nothing of later epochs did */
};

struct sim_store {
	uint64_t blocks;
	uint32_t levels;
	struct sim_node *root; /* owned reference, or NULL: all zeros */
	uint64_t period;
	uint64_t stamp;       /* of the newest write; a flush covers writes up to a stamp */
	uint64_t epoch;       /* barriers in this period */
	uint64_t epoch_stamp; /* of the newest write before the last of them */
	struct sim_order orders[SIM_ORDERS_MAX];
	uint32_t order_count;

	/* Blocks with versions of this period that are not durable; owned. */
	uint64_t *dirty;
	size_t dirty_count;
	size_t dirty_capacity;

	sim_choose choose;
	void *choose_context;
	uint64_t choices;

	uint64_t zeros_hash;
};

enum sim_store_durability {
	SIM_CACHED, /* until a flush covers it */
	SIM_DURABLE,
};

void sim_store__init(struct sim_store *store, uint64_t blocks);
void sim_store__fini(struct sim_store *store);
MUST_CHECK int sim_store__clone(const struct sim_store *store, struct sim_store *out_clone);

/* `block` NULL: zeros. COP_ENOMEM: nothing changed. */
MUST_CHECK int sim_store__write(struct sim_store *store, uint64_t addr, const uint8_t *block,
	enum sim_store_durability durability);

/* Decides what is undecided. COP_ENOMEM. */
MUST_CHECK int sim_store__read(struct sim_store *store, uint64_t addr, uint8_t *out_block);

/* Fills in what is there. Decides as a read does. */
MUST_CHECK int sim_store__look(struct sim_store *store, uint64_t addr, struct sim_look *out_look);

/* The stamp of its newest write, 0: none. */
uint64_t sim_store__written(const struct sim_store *store, uint64_t addr);

/* Makes durable what was written up to `stamp` and not forgotten. COP_ENOMEM: some of it is. */
MUST_CHECK int sim_store__flush(struct sim_store *store, uint64_t stamp);

/* What is written from now on reaches the medium after all that was written before. */
void sim_store__barrier(struct sim_store *store);

/* A flush failed: what is cached stays readable, and no later flush makes it durable. */
MUST_CHECK int sim_store__forget(struct sim_store *store);

/* What is cached becomes candidates. */
void sim_store__end_period(struct sim_store *store);

MUST_CHECK int sim_store__flip(struct sim_store *store, uint64_t addr, uint32_t bit);
MUST_CHECK int sim_store__make_stale(struct sim_store *store, uint64_t addr);

#endif
