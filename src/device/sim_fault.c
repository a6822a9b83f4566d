#include "device/sim_fault.h"

#include "base/num.h"

#include <assert.h>

static enum device_op
op_of(enum sim_fault_kind kind)
{
	switch (kind) {
	case SIM_FAIL_READ:
		return DEVICE_READ;
	case SIM_FAIL_FLUSH:
		return DEVICE_FLUSH;
	case SIM_FAIL_WRITE:
	case SIM_LOSE_WRITE:
	case SIM_MISDIRECT_WRITE:
	case SIM_HOLD_WRITE:
		break;
	}
	return DEVICE_WRITE;
}

static bool
touches(const struct sim_fault *fault, uint64_t addr, uint64_t blocks)
{
	if (fault->blocks == 0)
		return true;
	return addr < fault->addr + fault->blocks && fault->addr < addr + blocks;
}

static bool
concerns(const struct sim_fault *fault, const struct device_io *io, enum sim_fault_moment moment)
{
	if ((fault->kind == SIM_HOLD_WRITE) != (moment == SIM_AT_SUBMISSION))
		return false;
	if (op_of(fault->kind) != io->op)
		return false;
	return io->op == DEVICE_FLUSH || touches(fault, io->addr, io->blocks);
}

static bool
strikes(const struct sim_fault_row *row)
{
	const struct sim_fault *what = &row->what;

	if (what->call == SIM_ANY || row->seen == what->call)
		return true;
	return what->persistent && row->seen > what->call;
}

int
sim_fault__add(struct sim_fault_table *table, const struct sim_fault *fault)
{
	struct sim_fault_row *row;

	if (table->count == SIM_FAULTS_MAX)
		return fail(COP_ENOSPC, "%d faults at once are the most", SIM_FAULTS_MAX);
	row = &table->rows[table->count++];
	*row = (struct sim_fault_row){ .what = *fault };
	if (row->what.code == 0)
		row->what.code = COP_EIO;
	return 0;
}

void
sim_fault__clear(struct sim_fault_table *table)
{
	table->count = 0;
	table->struck = 0;
	table->last = (struct sim_struck){ 0 };
}

const struct sim_fault *
sim_fault__find(
	struct sim_fault_table *table, const struct device_io *io, enum sim_fault_moment moment)
{
	const struct sim_fault *found = NULL;

	for (size_t i = 0; i < table->count; i++) {
		struct sim_fault_row *row = &table->rows[i];

		if (!concerns(&row->what, io, moment))
			continue;
		row->seen++;
		if (!found && strikes(row))
			found = &row->what;
	}
	if (found) {
		table->struck++;
		table->last = (struct sim_struck){ io->addr, io->blocks, found->to_addr };
	}
	return found;
}

bool
sim_fault__target(const struct sim_fault *fault, const struct device_io *io, uint64_t addr,
	uint64_t *out_addr)
{
	uint64_t first;

	*out_addr = addr;
	if (!fault || !touches(fault, addr, 1))
		return true;
	if (fault->kind == SIM_LOSE_WRITE)
		return false;
	assert(fault->kind == SIM_MISDIRECT_WRITE);
	first = fault->blocks == 0 ? io->addr : max_u64(io->addr, fault->addr);
	*out_addr = fault->to_addr + (addr - first);
	return true;
}
