#ifndef COPPICE_VOLUME_ROOM_INTERNAL_H
#define COPPICE_VOLUME_ROOM_INTERNAL_H

/*
 * room_internal: what is set aside before a change, so that the change cannot fail. It knows of
 * blocks, nodes, list entries and buffers, not of what they are for.
 *
 * Promises
 *   - All of what is asked for, or nothing and an error. Nothing here waits for anybody, or runs a
 *     checkpoint: ticket_internal.h does.
 *   - What was set aside and not used can be given back, part by part. What was promised stays the
 *     promise's.
 *
 * Locks  None of its own; space and cache have theirs. No lock held: places for nodes may be read.
 */

#include "volume/volume_internal.h"

/* What of the reserve somebody may use: decisions/0021-three-parts-of-the-reserve.md. */
enum draw {
	DRAW_NOTHING,
	DRAW_GROWING, /* frees, and may leave the trees larger */
	DRAW_ALL,
};

/* COP_ENOSPC: not now; a checkpoint, or another's ticket, may bring some back. */
MUST_CHECK int volume__admit(struct volume *volume, uint64_t blocks, enum draw draw);

/* What so many nodes need, at the worst, and so many list entries beside. */
struct reservation volume__worst(const struct volume *volume, uint32_t nodes, size_t list_entries);

/* Memory of it, in the cache. */
uint64_t volume__reservation_bytes(
	const struct volume *volume, const struct reservation *reservation);

/*
 * Sets all of it aside, or nothing. Blocks of nodes that were promised are admitted already, and
 * leave the promise (NULL: there is none). COP_ENOSPC, COP_ENOMEM, COP_EIO.
 */
MUST_CHECK int volume__reserve(struct volume *volume, const struct reservation *want,
	struct promise *promise, enum draw draw);

/* Gives back what was not taken of it; the blocks to the promise (NULL: there is none). */
void volume__unreserve(struct volume *volume, const struct reservation *reservation,
	const struct reservation *taken, struct promise *promise);

#endif
