/*
 * Repairs: a node of which one copy is bad is written again from the other.
 *
 * Not while the volume is being opened, before the journal has said which blocks are its own. [A
 * superblock that a device has brought back from the past leads to nodes that have been
 * overwritten: a repair would write over what was synced since.] What is found until then is held
 * in memory.
 */

#include "volume/volume_internal.h"

#include <stdlib.h>

enum { HELD_MAX = 64 }; /* the next reader finds the others */

struct held_repair {
	struct held_repair *next;
	uint64_t addr;
	uint32_t blocks;
	uint8_t *bytes; /* owned */
};

/* The reader has its good copy; a repair that fails is tried again by the next reader. */
static void
repair(struct volume *volume, uint64_t addr, const uint8_t *good, uint32_t blocks)
{
	if (device_write(volume->dev, addr, good, blocks) == 0)
		atomic_fetch_add(&volume->repairs, 1);
	else
		err_clear();
}

static void
hold(struct volume *volume, uint64_t addr, const uint8_t *good, uint32_t blocks)
{
	struct held_repair *held;
	uint32_t count = 0;

	for (held = volume->held_repairs; held; held = held->next)
		count++;
	held = count < HELD_MAX ? malloc(sizeof *held) : NULL;
	if (!held)
		return;
	held->addr = addr;
	held->blocks = blocks;
	held->bytes = block_buffer_alloc(blocks);
	if (!held->bytes) {
		free(held);
		return;
	}
	memcpy(held->bytes, good, (size_t)blocks * BLOCK_BYTES);
	held->next = volume->held_repairs;
	volume->held_repairs = held;
}

void
volume__hook_repair(void *context, uint64_t bad_addr, const uint8_t *good, uint32_t blocks)
{
	struct volume *volume = context;

	if (volume->options.read_only)
		return;
	if (volume->may_repair)
		repair(volume, bad_addr, good, blocks);
	else
		hold(volume, bad_addr, good, blocks);
}

static void
drop_held(struct volume *volume, bool is_true)
{
	struct held_repair *held;

	while ((held = volume->held_repairs) != NULL) {
		volume->held_repairs = held->next;
		if (is_true)
			repair(volume, held->addr, held->bytes, held->blocks);
		free(held->bytes);
		free(held);
	}
}

void
volume__repairs_begin(struct volume *volume)
{
	volume->may_repair = true;
	drop_held(volume, true);
}

void
volume__repairs_fini(struct volume *volume)
{
	drop_held(volume, false);
}
