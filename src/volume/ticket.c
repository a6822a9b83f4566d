/*
 * Tickets, and the waiting for them.
 *
 * Before it prepares, a transaction has a ticket: its worst case of nodes, memory, space and
 * journal is set aside. They are given out one after the other, first come, first served. Whoever
 * is at the head of the queue (queue.c) waits for what is missing, with all others behind, and
 * makes it come:
 *
 *   journal   a checkpoint ends the period
 *   memory    tickets that come back, or a checkpoint, which writes dirty nodes
 *   space     tickets that come back, then two checkpoints, which release what awaits it; then the
 *             operations that still look at it, and two more
 *
 * Whoever has a ticket never waits for the queue, so the head of the queue may wait for tickets to
 * come back.
 */

#include "volume/ticket_internal.h"

#include "base/plant.h"

enum { SPACE_CHECKPOINTS = 2 }; /* that an admission waits for, twice */

/* ---- Space ----------------------------------------------------------------------------------- */

/* At the head of the queue: until all tickets have come back. False: none was out. */
static bool
wait_for_all_tickets(struct volume *volume)
{
	bool were_out;

	mutex_lock(&volume->state);
	were_out = volume->tickets_given != volume->tickets_returned;
	while (volume->tickets_given != volume->tickets_returned)
		condition_wait(&volume->state_changed, &volume->state);
	mutex_unlock(&volume->state);
	return were_out;
}

/*
 * At the head of the queue, after COP_ENOSPC; `*tries` counts. What others hold for their worst
 * case comes back with their tickets. Then two checkpoints bring back what awaits release, unless
 * an operation still looks at it, or what had a ticket freed it after the first of them: then that
 * is waited for, before two more. COP_ENOSPC: nothing more can be done.
 */
static int
make_room_in_space(struct volume *volume, enum draw draw, int *tries)
{
	int try = (*tries)++;

	if (wait_for_all_tickets(volume) && try == 0)
		return 0;
	if (space_pending_blocks(volume->space) == 0 && !volume_is_dirty(volume))
		return COP_ENOSPC;
	if (try == 1 + 2 * SPACE_CHECKPOINTS)
		return COP_ENOSPC;
	if (try == 1 + SPACE_CHECKPOINTS && !volume__wait_for_visits(volume, draw != DRAW_NOTHING))
		return COP_ENOSPC;
	return volume__checkpoint_forced(volume);
}

/* At the head of the queue. */
static int
admit_at_head(struct volume *volume, uint64_t blocks, enum draw draw)
{
	int err = volume__admit(volume, blocks, draw);
	int tries = 0;

	while (err == COP_ENOSPC) {
		err = make_room_in_space(volume, draw, &tries);
		if (err)
			return err;
		err = volume__admit(volume, blocks, draw);
	}
	return err;
}

struct admission {
	uint64_t blocks;
	enum draw draw;
};

static bool
try_admit(struct volume *volume, void *context)
{
	const struct admission *admission = context;

	if (volume__admit(volume, admission->blocks, admission->draw) == 0)
		return true;
	err_clear(); /* whoever it is for asks again, with more patience */
	return false;
}

int
volume__admit_in_turn(
	struct volume *volume, struct volume_visit *visit, uint64_t blocks, enum draw draw)
{
	struct admission admission = { .blocks = blocks, .draw = draw };
	const struct request request = { .try = try_admit, .context = &admission };
	int err;

	if (!volume__queue_enter(volume, visit, &request))
		return 0;
	err = admit_at_head(volume, blocks, draw);
	volume__queue_leave(volume, visit);
	return err;
}

int
volume__wait_for_space(
	struct volume *volume, struct volume_visit *visit, enum draw draw, int *tries)
{
	const struct request in_person = { 0 };
	int err;

	(void)volume__queue_enter(volume, visit, &in_person);
	err = make_room_in_space(volume, draw, tries);
	volume__queue_leave(volume, visit);
	return err;
}

/* ---- Memory ---------------------------------------------------------------------------------- */

/*
 * Rule concurrency.md 4. The worst case of a ticket is that every node of its paths is shadowed and
 * split; half of it is that every one is shadowed, which is what really happens, so half is what
 * counts here. It follows that dirty nodes stay within half of the limit, and dirty nodes with all
 * worst cases within the whole.
 */
static bool
is_memory_full(struct volume *volume, uint64_t want_bytes)
{
	uint64_t dirty = atomic_load(&volume->open_node_bytes) +
			 atomic_load(&volume->frozen_node_bytes) +
			 atomic_load(&volume->shares.list_bytes);

	mutex_assert_held(&volume->state);
	return dirty + (volume->ticket_bytes + want_bytes) / 2 > volume->options.cache_bytes / 2;
}

/*
 * At the head of the queue, so that no ticket is given out meanwhile: until one may be. Tickets
 * that come back make room, and checkpoints do; one alone with nothing dirty is never refused here.
 */
static int
wait_for_memory(struct volume *volume, uint64_t want_bytes)
{
	for (;;) {
		uint64_t open;
		bool is_full;
		int err;

		mutex_lock(&volume->state);
		while (volume->tickets_held_for > 0)
			condition_wait(&volume->state_changed, &volume->state);
		open = atomic_load(&volume->open_node_bytes) +
		       atomic_load(&volume->shares.list_bytes);
		is_full = is_memory_full(volume, want_bytes);
		if (is_full && open < volume->dirty_limit_bytes &&
			volume->tickets_given != volume->tickets_returned) {
			condition_wait(&volume->state_changed, &volume->state);
			mutex_unlock(&volume->state);
			continue;
		}
		mutex_unlock(&volume->state);

		if (open < volume->dirty_limit_bytes &&
			(!is_full || open + atomic_load(&volume->frozen_node_bytes) == 0))
			return 0;
		err = volume_checkpoint(volume);
		if (err)
			return err;
	}
}

/* Is there memory for so much without a checkpoint, and nobody for whom tickets are held back? */
static bool
has_memory(struct volume *volume, uint64_t want_bytes)
{
	bool has;

	mutex_lock(&volume->state);
	has = volume->tickets_held_for == 0 && volume->failed == 0 &&
	      (volume->newest.flags & SUPERBLOCK_CLEAN) == 0 &&
	      !is_memory_full(volume, want_bytes) &&
	      atomic_load(&volume->open_node_bytes) + atomic_load(&volume->shares.list_bytes) <
		      volume->dirty_limit_bytes;
	mutex_unlock(&volume->state);
	return has;
}

/* ---- Tickets --------------------------------------------------------------------------------- */

static uint64_t
tickets_returned(struct volume *volume)
{
	uint64_t returned;

	mutex_lock(&volume->state);
	returned = volume->tickets_returned;
	mutex_unlock(&volume->state);
	return returned;
}

/* At the head of the queue: waits until one more than `returned` has come back. False: all have. */
static bool
wait_for_ticket(struct volume *volume, uint64_t returned)
{
	bool has_come;

	mutex_lock(&volume->state);
	while (volume->tickets_returned == returned &&
		volume->tickets_given != volume->tickets_returned)
		condition_wait(&volume->state_changed, &volume->state);
	has_come = volume->tickets_returned != returned;
	mutex_unlock(&volume->state);
	return has_come;
}

static void
ticket_give(struct volume *volume, const struct reservation *reservation)
{
	mutex_lock(&volume->state);
	volume->tickets_given++;
	volume->ticket_bytes += volume__reservation_bytes(volume, reservation);
	mutex_unlock(&volume->state);
}

void
volume__ticket_return(struct volume *volume, const struct reservation *reservation,
	const struct reservation *taken, struct promise *promise)
{
	uint64_t bytes = volume__reservation_bytes(volume, reservation);

	volume__unreserve(volume, reservation, taken, promise);
	mutex_lock(&volume->state);
	volume->tickets_returned++;
	volume->ticket_bytes -= bytes;
	condition_wake_all(&volume->state_changed);
	mutex_unlock(&volume->state);
}

void
volume__tickets_hold(struct volume *volume)
{
	mutex_lock(&volume->state);
	volume->tickets_held_for++;
	mutex_unlock(&volume->state);
}

void
volume__tickets_let_go(struct volume *volume)
{
	mutex_lock(&volume->state);
	volume->tickets_held_for--;
	condition_wake_all(&volume->state_changed);
	mutex_unlock(&volume->state);
}

/* ---- Journal --------------------------------------------------------------------------------- */

/*
 * At the head of the queue: room in the journal for the transaction. A checkpoint ends the period
 * and trims; what others have been admitted, and hold while they prepare, comes back with their
 * tickets.
 */
static int
admit_to_journal(struct volume *volume, uint32_t bytes)
{
	for (;;) {
		uint64_t returned = tickets_returned(volume);
		int err;

		if (journal_admit(volume->journal, bytes))
			return 0;
		err = volume__checkpoint_forced(volume);
		if (err)
			return err;
		if (journal_admit(volume->journal, bytes))
			return 0;
		(void)wait_for_ticket(volume, returned);
	}
}

static bool
has_clean_mark(struct volume *volume)
{
	bool is_clean;

	mutex_lock(&volume->state);
	is_clean = (volume->newest.flags & SUPERBLOCK_CLEAN) != 0;
	mutex_unlock(&volume->state);
	return is_clean && !planted(PLANT_CLEAN_MARK_KEPT);
}

/*
 * At the head of the queue. Rules of commit, 2: the newest superblock must not say that nothing
 * came after it when something is about to.
 */
static int
clear_clean_mark(struct volume *volume)
{
	return has_clean_mark(volume) ? volume__checkpoint_forced(volume) : 0;
}

int
volume__end_cleanness(struct volume *volume, struct volume_visit *visit)
{
	const struct request in_person = { 0 };
	int err;

	if (!has_clean_mark(volume))
		return 0;
	(void)volume__queue_enter(volume, visit, &in_person); /* nobody else answers that */
	err = clear_clean_mark(volume);
	volume__queue_leave(volume, visit);
	return err;
}

/* ---- Taking one ------------------------------------------------------------------------------ */

/* At the head of the queue: the worst case of nodes and lists is set aside. */
static int
reserve_at_head(struct volume *volume, const struct ticket_application *application,
	struct reservation *out_reservation)
{
	int tries = 0;

	for (;;) {
		uint64_t returned = tickets_returned(volume);
		struct reservation want;
		int err;

		err = 0;
		want = application->worst(application->context);
		if (!application->is_replay)
			err = wait_for_memory(volume, volume__reservation_bytes(volume, &want));
		if (err == 0)
			err = volume__reserve(
				volume, &want, application->promise, application->draw);
		if (err == 0)
			*out_reservation = want;
		if (err == COP_ENOMEM && wait_for_ticket(volume, returned)) {
			err_clear(); /* what others have pinned was in the way */
			continue;
		}
		if (err == COP_ENOSPC && !application->is_replay) {
			err = make_room_in_space(volume, application->draw, &tries);
			if (err == 0)
				continue;
		}
		return err;
	}
}

struct asking {
	const struct ticket_application *application;
	struct reservation *out_reservation;
};

/* A ticket for somebody else, if nothing has to be waited for. */
static bool
try_ticket(struct volume *volume, void *context)
{
	const struct asking *asking = context;
	const struct ticket_application *application = asking->application;
	struct reservation want = application->worst(application->context);

	if (application->is_replay ||
		!has_memory(volume, volume__reservation_bytes(volume, &want)) ||
		!journal_admit(volume->journal, application->journal_bytes))
		return false;
	if (volume__reserve(volume, &want, application->promise, application->draw) != 0) {
		err_clear(); /* whoever it is for asks again, with more patience */
		journal_unadmit(volume->journal, application->journal_bytes);
		return false;
	}
	*asking->out_reservation = want;
	ticket_give(volume, &want);
	return true;
}

int
volume__ticket_take(struct volume *volume, const struct ticket_application *application,
	struct reservation *out_reservation)
{
	struct asking asking = { .application = application, .out_reservation = out_reservation };
	const struct request request = { .try = try_ticket, .context = &asking };
	bool is_replay = application->is_replay;
	int err;

	err = volume_failed(volume);
	if (err)
		return err;
	if (!volume__queue_enter(volume, application->visit, &request))
		return 0;
	err = is_replay ? 0 : clear_clean_mark(volume);
	if (err == 0 && !is_replay)
		err = admit_to_journal(volume, application->journal_bytes);
	if (err == 0) {
		err = reserve_at_head(volume, application, out_reservation);
		if (err && !is_replay)
			journal_unadmit(volume->journal, application->journal_bytes);
	}
	if (err == 0)
		ticket_give(volume, out_reservation);
	volume__queue_leave(volume, application->visit);
	return err;
}
