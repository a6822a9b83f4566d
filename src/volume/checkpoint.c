/*
 * Checkpoints (rules of commit, 5).
 *
 *   standing   nodes and list entries for the catalog's update are set aside long before, so that a
 *              checkpoint can always be made, on a full volume too
 *   shares     the share tree is brought up to date, in rounds, until nothing is left to do
 *   freeze     under the exclusive gate: the branch's roots go into the catalog, the open
 *              generation's nodes and lists become the frozen ones, the journal is cut, the next
 *              generation opens
 *   write      the journal up to the cut; nodes in address order, both copies; then bitmaps and
 *              allocation tree; flush
 *   superblock into the next slot of the ring, in all places; flush
 *   release    what was freed one generation earlier may be used again
 *
 * Data needs no step of its own: a transaction is applied when its data writes have completed, so
 * the first flush covers everything that the frozen generation names. Blocks whose bytes only the
 * journal holds are written to their places with the nodes.
 *
 * All memory that a checkpoint takes is had before its first write: what can be, before the freeze.
 * What cannot, because only then it is known which bitmaps are concerned, is asked for after it; if
 * there is none, the frozen generation waits for the next who wants a checkpoint. An error of the
 * device ends writing: the volume takes no more changes, and says so, until it is opened again at
 * its newest durable checkpoint.
 */

#include "volume/ticket_internal.h"

#include "base/num.h"
#include "base/plant.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	STANDING_CHECKPOINTS = 2,
	FREEZE_TRIES_FREE = 4, /* before new tickets are held back */
	NODE_ARRAY_SPARE = 64,
};

bool
volume_is_dirty(struct volume *volume)
{
	bool is_dirty;

	gate_enter_shared(volume->gate);
	is_dirty = volume->changed || volume->frozen_generation != 0;
	gate_leave_shared(volume->gate);
	return is_dirty;
}

/* ---- Freeze ---------------------------------------------------------------------------------- */

/* Part by part what `a` has more than `b`. */
static struct reservation
reservation_beyond(const struct reservation *a, const struct reservation *b)
{
	return (struct reservation){
		.nodes = a->nodes > b->nodes ? a->nodes - b->nodes : 0,
		.list_entries =
			a->list_entries > b->list_entries ? a->list_entries - b->list_entries : 0,
		.blocks = a->blocks > b->blocks ? a->blocks - b->blocks : 0,
	};
}

static bool
reservation_covers(const struct reservation *a, const struct reservation *b)
{
	return a->nodes >= b->nodes && a->list_entries >= b->list_entries && a->blocks >= b->blocks;
}

/* Gate held. Of the catalog's update in one checkpoint. */
static uint32_t
catalog_nodes_worst(const struct volume *volume)
{
	return tree_nodes_worst(volume->catalog.tree.root.levels);
}

static bool
same_root(const struct tree_root *a, const struct tree_root *b)
{
	return a->levels == b->levels && a->pointer.addr == b->pointer.addr &&
	       a->pointer.birth == b->pointer.birth && a->pointer.seal == b->pointer.seal;
}

/* Gate held. Does the catalog say where the branch is now? */
static bool
is_branch_stored(const struct volume *volume)
{
	return same_root(&volume->branch.objects, &volume->objects.tree.root);
}

/*
 * Gate held. A checkpoint that changes nothing takes no node. It has its use: where the checkpoint
 * before the newest cannot be asked what it uses, nothing can be had until there is a newer one.
 */
static bool
is_standing_enough(const struct volume *volume)
{
	struct reservation least = volume__worst(volume, catalog_nodes_worst(volume), 0);

	return is_branch_stored(volume) || reservation_covers(&volume->standing, &least);
}

/*
 * For two checkpoints, so that one can still be made when, after it, nothing could be had for the
 * next: it releases blocks, and the next asks again. What there is is kept until there is more.
 */
int
volume__ensure_standing(struct volume *volume)
{
	struct reservation want;
	struct reservation more;
	struct reservation less;
	bool is_enough;
	int err;

	gate_enter_shared(volume->gate);
	want = volume__worst(volume, STANDING_CHECKPOINTS * catalog_nodes_worst(volume), 0);
	is_enough = is_standing_enough(volume);
	gate_leave_shared(volume->gate);

	more = reservation_beyond(&want, &volume->standing);
	less = reservation_beyond(&volume->standing, &want);
	volume__unreserve(volume, &less, &(struct reservation){ 0 }, NULL);
	volume->standing = reservation_beyond(&volume->standing, &less);
	err = volume__reserve(volume, &more, NULL, DRAW_ALL);
	if (err == 0) {
		volume->standing = want;
	} else if (is_enough) {
		err_clear();
		err = 0;
	}
	return err;
}

static int
nodes_make_room(struct closing *closing, size_t want)
{
	struct buffer **grown;

	if (want <= closing->capacity)
		return 0;
	grown = realloc(closing->nodes, want * sizeof *grown);
	if (!grown)
		return fail(COP_ENOMEM, "checkpoint of %zu nodes", want);
	closing->nodes = grown;
	closing->capacity = want;
	return 0;
}

static int
superblock_make_room(struct closing *closing)
{
	if (!closing->blocks)
		closing->blocks = block_buffer_alloc(SUPERBLOCK_PLACES_MAX);
	return closing->blocks ? 0 : fail(COP_ENOMEM, "superblock");
}

void
volume__closing_fini(struct closing *closing)
{
	free(closing->nodes);
	free(closing->blocks);
	*closing = (struct closing){ 0 };
}

/* Gate exclusive: the roots of the branch go into the catalog, if they have changed. */
static void
store_branch(struct volume *volume)
{
	uint8_t key[CATALOG_KEY_BYTES];
	uint8_t value[BRANCH_RECORD_BYTES + BRANCH_NAME_BYTES_MAX];
	uint32_t bytes;

	if (is_branch_stored(volume))
		return;
	volume->branch.objects = volume->objects.tree.root;
	bytes = branch_encode(&volume->branch, value);
	tree_put(&volume->catalog.tree, catalog_key(key, CATALOG_BRANCH, BRANCH_MAIN),
		view_of(value, bytes));
}

uint16_t
volume__next_slot(const struct superblock *newest, const struct superblock *previous)
{
	uint16_t slot = (uint16_t)((newest->slot + 1) % SUPERBLOCK_RING);

	if (previous->generation != 0 && slot == previous->slot)
		slot = (uint16_t)((slot + 1) % SUPERBLOCK_RING);
	assert(slot != newest->slot);
	return slot;
}

/* Gate exclusive, catalog path prepared, room in the array: the cut. */
static void
freeze(struct volume *volume, int64_t now_ns)
{
	uint64_t generation = atomic_load(&volume->generation);
	struct closing *closing = &volume->closing;
	struct superblock *sb = &closing->sb;

	volume->taken = (struct reservation){ 0 };
	store_branch(volume);
	volume__drop_retired(volume);

	*sb = volume->newest;
	sb->slot = volume__next_slot(&volume->newest, &volume->previous);
	sb->generation = generation;
	sb->previous_generation = volume->newest.generation;
	sb->catalog = volume->catalog.tree.root;
	volume__shares_freeze(volume, sb);
	sb->flags &= ~SUPERBLOCK_CLEAN;
	if (closing->is_clean)
		sb->flags |= SUPERBLOCK_CLEAN;
	sb->retained_tail = volume->newest.journal_tail;
	sb->retained_sequence = volume->newest.journal_sequence;
	sb->next_object = atomic_load(&volume->next_object);
	sb->next_job = atomic_load(&volume->next_job);
	sb->objects = (uint64_t)atomic_load(&volume->objects_count);
	sb->checkpoint_ns = now_ns;
	closing->generation = generation;

	assert(closing->count == 0);
	assert(volume->open_node_count + volume->carried_count <= closing->capacity);
	for (struct buffer *node = volume->open_nodes; node; node = node->owner_next) {
		assert(node->owner_generation == generation);
		closing->nodes[closing->count++] = node;
	}
	assert(closing->count == volume->open_node_count);
	closing->node_count = closing->count;
	for (struct buffer *block = volume->carried; block; block = block->owner_next)
		closing->nodes[closing->count++] = block;
	assert(closing->count == closing->node_count + volume->carried_count);
	volume->open_nodes = NULL;
	volume->open_node_count = 0;
	volume->carried = NULL;
	volume->carried_count = 0;
	atomic_store(&volume->frozen_node_bytes, atomic_exchange(&volume->open_node_bytes, 0));
	volume->frozen_generation = generation;
	if (volume->replay_cut)
		journal_cut_behind(volume->journal, &volume->replay_cut->place,
			volume->replay_cut->blocks_behind);
	else
		journal_cut(volume->journal);
	space_freeze(volume->space, generation + 1, &sb->free_blocks, &sb->awaiting_blocks);
	atomic_store(&volume->generation, generation + 1);
	volume->changed = false;
}

/* The share tree, memory for the nodes, and the catalog's path. Nothing has changed on error. */
static int
prepare_freeze(struct volume *volume, struct view key, size_t want, struct tree_pins *pins)
{
	int err = volume__shares_drain(volume);

	if (err == 0)
		err = nodes_make_room(&volume->closing, want);
	if (err == 0)
		err = tree_prepare(&volume->catalog.tree, key, pins);
	return err ? err : tree_pins_reserve(pins, 1);
}

/* Loads the catalog's path, makes room for the nodes, and freezes. Nothing has changed on error. */
static int
prepare_and_freeze(struct volume *volume)
{
	uint8_t bytes[CATALOG_KEY_BYTES];
	struct view key = catalog_key(bytes, CATALOG_BRANCH, BRANCH_MAIN);
	struct closing *closing = &volume->closing;
	int64_t now_ns = volume_now_ns(volume);
	struct tree_pins pins;
	size_t want = NODE_ARRAY_SPARE;
	bool frozen = false;
	int tries = 0;
	int err;

	err = superblock_make_room(closing);
	if (err == 0)
		err = volume__ensure_standing(volume);
	if (err)
		return err;
	tree_pins_init(&pins, volume->cache);
	while (!frozen) {
		if (++tries == FREEZE_TRIES_FREE)
			volume__tickets_hold(volume);
		err = prepare_freeze(volume, key, want, &pins);
		if (err)
			break;
		gate_enter_exclusive(volume->gate);
		want = volume->open_node_count + volume->carried_count + NODE_ARRAY_SPARE;
		if (want <= closing->capacity && volume->shares.list.count == 0 &&
			tree_is_prepared(&volume->catalog.tree, key, &pins) &&
			is_standing_enough(volume)) {
			freeze(volume, now_ns);
			assert(reservation_covers(&volume->standing, &volume->taken));
			volume->standing = reservation_beyond(&volume->standing, &volume->taken);
			frozen = true;
		}
		gate_leave_exclusive(volume->gate);
		want *= 2;
		if (!frozen) {
			err = volume__ensure_standing(volume);
			if (err)
				break;
		}
	}
	if (tries >= FREEZE_TRIES_FREE)
		volume__tickets_let_go(volume);
	tree_pins_release(&pins);
	return err;
}

/* ---- Write ----------------------------------------------------------------------------------- */

static int
compare_addr(const void *a, const void *b)
{
	const struct buffer *x = *(struct buffer *const *)a;
	const struct buffer *y = *(struct buffer *const *)b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static int
write_nodes(struct volume *volume)
{
	struct closing *closing = &volume->closing;
	int err;

	if (closing->count == 0)
		return 0;
	for (size_t i = 0; i < closing->node_count; i++)
		tree_node_finish(closing->nodes[i]);
	qsort(closing->nodes, closing->count, sizeof closing->nodes[0], compare_addr);
	err = cache_sync_all(volume->cache, closing->nodes, closing->count);
	if (err)
		return fail_in(err, "writing nodes of generation %" PRIu64, closing->generation);
	atomic_fetch_add(&volume->nodes_written, closing->node_count);
	return 0;
}

/* What was freed under a damaged bitmap stays used, and the superblock says no other thing. */
static void
account_for_lost(struct superblock *sb)
{
	uint64_t free_blocks = sb->allocation.free_blocks;
	uint64_t lost = sb->free_blocks > free_blocks ? sb->free_blocks - free_blocks : 0;

	sb->free_blocks = free_blocks;
	sb->awaiting_blocks -= min_u64(lost, sb->awaiting_blocks);
	sb->awaiting_blocks = min_u64(sb->awaiting_blocks, free_blocks);
}

static int
write_all(struct volume *volume)
{
	struct closing *closing = &volume->closing;
	struct journal_place tail;
	int err;

	err = journal_write_cut(volume->journal, &tail);
	if (err)
		return err;
	closing->sb.journal_tail = tail.position;
	closing->sb.journal_sequence = tail.sequence;
	closing->sb.epoch = tail.epoch;
	err = write_nodes(volume);
	if (err)
		return err;
	err = space_write(volume->space, &closing->sb.allocation);
	if (err)
		return err;
	account_for_lost(&closing->sb);
	if (!planted(PLANT_NO_FLUSH_BEFORE_SUPERBLOCK)) {
		err = journal_flush(volume->journal);
		if (err)
			return err;
	}
	err = volume__write_superblock(
		volume->dev, &volume->geometry, &closing->sb, closing->blocks);
	if (err)
		return err;
	/* Only when nothing comes after it, which could overwrite what the one before needs. */
	if (err == 0 && !(volume->options.no_flush && closing->is_clean))
		err = journal_flush(volume->journal);
	return err;
}

/* No operation that entered up to the end of that period is still under way. */
static bool
may_release(void *context, uint64_t freed_generation)
{
	struct volume *volume = context;
	bool may;

	mutex_lock(&volume->visit_lock);
	may = !volume->visit_first || volume->visit_first->period > freed_generation;
	mutex_unlock(&volume->visit_lock);
	return may;
}

/* The frozen generation is durable: its nodes may be evicted, and older blocks used again. */
static void
finish(struct volume *volume)
{
	struct closing *closing = &volume->closing;

	gate_enter_exclusive(volume->gate);
	for (size_t i = 0; i < closing->count; i++) {
		closing->nodes[i]->owner_prev = NULL;
		closing->nodes[i]->owner_next = NULL;
		cache_clean(volume->cache, closing->nodes[i]);
	}
	volume->frozen_generation = 0;
	atomic_store(&volume->frozen_node_bytes, 0);
	atomic_fetch_sub(&volume->carried_blocks, closing->count - closing->node_count);
	gate_leave_exclusive(volume->gate);
	mutex_lock(&volume->state);
	volume->previous = volume->newest;
	volume->newest = closing->sb;
	mutex_unlock(&volume->state);
	space_durable(volume->space, may_release, volume);
	journal_trim(volume->journal);
	volume__closing_fini(closing);
	atomic_fetch_add(&volume->checkpoints, 1);
}

/* Makes the frozen generation durable. *out_fatal: it failed, and the volume with it. */
static int
write_frozen(struct volume *volume, bool *out_fatal)
{
	int err;

	err = space_prepare_write(volume->space);
	if (err == COP_ENOMEM)
		return err;
	if (err == 0)
		err = write_all(volume);
	if (err) {
		*out_fatal = true;
		return err;
	}
	finish(volume);

	/* For the next one. If it cannot be had now, the next checkpoint asks again. */
	if (volume__ensure_standing(volume) != 0)
		err_clear();
	return 0;
}

/* One checkpoint; before it, what an earlier one had no memory to write. */
static int
run_checkpoint(struct volume *volume, bool forced, bool is_clean, bool *out_fatal)
{
	int err = 0;

	if (volume->closing.generation != 0)
		err = write_frozen(volume, out_fatal);
	if (err == 0 && (forced || volume_is_dirty(volume))) {
		volume->closing.is_clean = is_clean;
		err = prepare_and_freeze(volume);
		if (err == 0)
			err = write_frozen(volume, out_fatal);
	}
	return err ? fail_in(err, "checkpoint") : 0;
}

/* Waits for a running checkpoint; then runs one, if `forced` or if there is anything to save. */
static int
checkpoint(struct volume *volume, bool forced, bool is_clean)
{
	bool fatal = false;
	int err;

	assert(!volume->options.read_only);
	lock_assert_none_held();
	mutex_lock(&volume->state);
	while (volume->turn_taken)
		condition_wait(&volume->state_changed, &volume->state);
	err = volume->failed;
	if (err == 0)
		volume->turn_taken = true;
	mutex_unlock(&volume->state);
	if (err)
		return volume_failed(volume);

	err = run_checkpoint(volume, forced, is_clean, &fatal);
	if (fatal)
		err = volume_fail(volume, err);

	mutex_lock(&volume->state);
	volume->turn_taken = false;
	condition_wake_all(&volume->state_changed);
	mutex_unlock(&volume->state);
	return err;
}

int
volume_checkpoint(struct volume *volume)
{
	return checkpoint(volume, false, false);
}

int
volume_checkpoint_clean(struct volume *volume)
{
	bool says_so;

	mutex_lock(&volume->state);
	says_so = (volume->newest.flags & SUPERBLOCK_CLEAN) != 0;
	mutex_unlock(&volume->state);
	return checkpoint(volume, !says_so, true);
}

int
volume__checkpoint_forced(struct volume *volume)
{
	return checkpoint(volume, true, false);
}

int
volume_settle(struct volume *volume)
{
	enum { CHECKPOINTS = 2 }; /* that a freed block waits for */
	int err = volume_checkpoint(volume);

	for (int i = 0; i < CHECKPOINTS && err == 0 && space_pending_blocks(volume->space) > 0; i++)
		err = volume__checkpoint_forced(volume);
	if (err || space_pending_blocks(volume->space) == 0)
		return err;

	/* An operation was in the way, or what it did came later. */
	(void)volume__wait_for_visits(volume, false); /* what goes on is not waited for */
	for (int i = 0; i < CHECKPOINTS && err == 0 && space_pending_blocks(volume->space) > 0; i++)
		err = volume__checkpoint_forced(volume);
	return err;
}
