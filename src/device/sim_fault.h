#ifndef COPPICE_DEVICE_SIM_FAULT_H
#define COPPICE_DEVICE_SIM_FAULT_H

/*
 * sim_fault: the table of faults of a simulated medium, and which of them strikes a request.
 *
 * Locks  None: the medium's.
 */

#include "device/sim.h"

#include <stddef.h>

struct sim_fault_row {
	struct sim_fault what;
	uint64_t seen; /* calls of its kind, on its blocks */
};

struct sim_fault_table {
	struct sim_fault_row rows[SIM_FAULTS_MAX];
	size_t count;
	uint64_t struck;
	struct sim_struck last;
};

/* COP_ENOSPC: the table is full. */
MUST_CHECK int sim_fault__add(struct sim_fault_table *table, const struct sim_fault *fault);

void sim_fault__clear(struct sim_fault_table *table);

/* A write is held back when it is submitted; all else happens when a request is executed. */
enum sim_fault_moment { SIM_AT_SUBMISSION, SIM_AT_EXECUTION };

/* The first fault that strikes this request, or NULL. Counts it in every row that it concerns. */
const struct sim_fault *sim_fault__find(
	struct sim_fault_table *table, const struct device_io *io, enum sim_fault_moment moment);

/* Where block `addr` of a write really goes; false: nowhere. `fault` may be NULL. */
bool sim_fault__target(const struct sim_fault *fault, const struct device_io *io, uint64_t addr,
	uint64_t *out_addr);

#endif
