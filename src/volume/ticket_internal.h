#ifndef COPPICE_VOLUME_TICKET_INTERNAL_H
#define COPPICE_VOLUME_TICKET_INTERNAL_H

/*
 * ticket_internal: who may go ahead with a change, and who waits for room (rules of concurrency, 3
 * and 4). It knows what somebody takes at the worst, as it is told, not what he does with it.
 *
 * Promises
 *   - First come, first served; whoever has a ticket can prepare and apply without waiting for
 *     anybody who has none.
 *   - Dirty nodes stay within half of the memory limit, dirty nodes with all worst cases within the
 *     whole.
 *   - COP_ENOSPC only after everything was tried that may bring blocks back: tickets, checkpoints,
 *     and the operations that look on.
 *
 * Locks  The counts of tickets are guarded by volume.state. No lock held: checkpoints may run.
 * Cost   Less than a microsecond when nothing is short; who sleeps is answered by who is awake.
 */

#include "volume/room_internal.h"

/* Who wants a ticket, and what for. `worst` is asked again whenever things may have changed, on any
 * thread, with no lock held. */
struct ticket_application {
	struct volume_visit *visit; /* ends while it waits */
	struct promise *promise;    /* NULL: none */
	enum draw draw;
	bool is_replay; /* takes no room in the journal, waits for no memory, runs no checkpoint */
	uint32_t journal_bytes;
	struct reservation (*worst)(void *context);
	void *context;
};

/* Ends with the worst case set aside, and room in the journal for so many bytes. COP_ENOSPC,
 * COP_ENOMEM, COP_EIO, and a checkpoint's errors. */
MUST_CHECK int volume__ticket_take(struct volume *volume,
	const struct ticket_application *application, struct reservation *out_reservation);

/* Gives the ticket back with what was not taken: blocks to the promise (NULL: there is none). The
 * room in the journal is its owner's. */
void volume__ticket_return(struct volume *volume, const struct reservation *reservation,
	const struct reservation *taken, struct promise *promise);

/* Between these no new tickets are given out: whoever is at the head of the queue waits. */
void volume__tickets_hold(struct volume *volume);
void volume__tickets_let_go(struct volume *volume);

/*
 * Before the first block is handed out after an opening: where nothing came after the newest
 * superblock, it ceases to say so, and a newer one is durable. [What the journal before it names
 * may be free in it, and is not known: a journal that nothing follows is not read. Were it lost,
 * the one before it and the journal would find other bytes there.] A checkpoint's errors.
 */
MUST_CHECK int volume__end_cleanness(struct volume *volume, struct volume_visit *visit);

/* Blocks of data, admitted in turn with the tickets. COP_ENOSPC, and a checkpoint's errors. */
MUST_CHECK int volume__admit_in_turn(
	struct volume *volume, struct volume_visit *visit, uint64_t blocks, enum draw draw);

/* After COP_ENOSPC: waits for what may bring blocks back, a little more each time; `*tries` counts,
 * from 0. COP_ENOSPC: nothing more can be done. */
MUST_CHECK int volume__wait_for_space(
	struct volume *volume, struct volume_visit *visit, enum draw draw, int *tries);

#endif
