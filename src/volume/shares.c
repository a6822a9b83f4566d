/*
 * Counts of references on the write path (rules of sharing, 1; rules of space, 3).
 *
 * A transaction changes no count in the share tree. It asks for those that it needs while it
 * prepares (of the nodes on its paths, and of what it releases), which may read, and only for what
 * is older than the newest act of sharing. Under the gate it knows therefore what the tree says;
 * what has changed since stands in the list, to which it adds. If the tree was changed meanwhile,
 * or the paths were, it asks again.
 *
 *   count of a block = 1 + what the share tree says + what the list says
 *
 * A checkpoint brings the tree up to date before its freeze: some changes at a time are planned
 * with no lock held, for nobody else changes this tree, and carried out under the gate, where the
 * list loses what the tree has gained. When the list is empty under the gate, the freeze follows.
 * So the tree of a generation says exactly how often each of its blocks is referred to, its own
 * nodes are nodes of that generation like any other, and recovery begins with an empty list.
 *
 * That must be possible when nothing is free, since a checkpoint is what makes something free. So
 * blocks are promised to it, from the tickets of those who change counts, such that at any time
 *
 *   promised = one round of one change + what all changes of the period take at the worst
 *              - what the rounds of this period have taken
 *
 * A round is as large as the free blocks allow, down to one change: that, the promise covers.
 * Rounds go through the list in ascending order, so that together they take no more than all
 * changes at once would: what they take comes out of the second part, and the first stays.
 *
 * Increments and decrements of one block meet in one number, and a block is released only when the
 * number says that it is referred to once; so nothing depends on the order in which a checkpoint
 * applies them. Within a transaction the order matters: the messages come first, which hand out the
 * references of shared nodes, and then the releases.
 */

#include "volume/room_internal.h"

#include "base/num.h"
#include "base/plant.h"

#include <stdlib.h>

enum {
	DRAIN_CHANGES = 16, /* planned and carried out at one time, where there is room for it */
	DRAIN_LESS = 4,     /* times less, where there is not */
	DRAIN_ROUNDS_SPARE = 4,
	DRAIN_LEVELS = 2, /* that the tree may grow by while it is brought up to date */
	PATH_LEVELS_MAX = TREE_LEVELS_MAX,
};

/* ---- Telling --------------------------------------------------------------------------------- */

bool
volume__may_be_shared(struct volume *volume, uint64_t birth)
{
	uint64_t stamp = atomic_load_explicit(&volume->shares.stamp, memory_order_acquire);

	return stamp != 0 && birth <= stamp;
}

bool
volume_is_unshared(struct volume *volume, uint64_t birth)
{
	return !volume__may_be_shared(volume, birth);
}

static bool
can_be_shared(enum tree_kind kind)
{
	return kind == TREE_CONTENT;
}

/* ---- Blocks for bringing the tree up to date ------------------------------------------------- */

static uint64_t
blocks_worst(const struct volume *volume, uint64_t changes, uint8_t levels)
{
	return share_nodes_worst(changes, levels, volume->env.node_bytes) * NODE_COPIES_MAX *
	       volume->node_blocks;
}

/* Of one round of one change, also when the tree has grown in the rounds before it. */
static uint64_t
round_blocks(const struct volume *volume)
{
	uint8_t levels = share_levels_ahead(volume->shares.levels, DRAIN_LEVELS,
		volume->geometry.blocks, volume->env.node_bytes);

	return blocks_worst(volume, 1, levels);
}

uint64_t
volume__shares_blocks(const struct volume *volume, uint64_t changes)
{
	uint64_t round;

	if (changes == 0)
		return 0;
	round = round_blocks(volume);
	return blocks_worst(volume, changes, volume->shares.levels) + round -
	       min_u64(round, volume->shares.promised_blocks + volume->shares.in_round_blocks);
}

uint64_t
volume__shares_worst(const struct volume *volume, uint64_t changes)
{
	uint8_t levels = share_levels_ahead(volume->shares.tree.tree.root.levels, 1,
		volume->geometry.blocks, volume->env.node_bytes);

	return blocks_worst(volume, changes, levels) + round_blocks(volume);
}

/* What should be promised now that the list holds something. */
static uint64_t
wanted_blocks(const struct volume *volume)
{
	const struct shares *shares = &volume->shares;
	uint64_t worst = blocks_worst(volume, shares->list.count + shares->drained, shares->levels);

	return round_blocks(volume) + worst - min_u64(worst, shares->drained_blocks);
}

/* Gate exclusive: what the list will cost a checkpoint counts as dirty memory. */
static void
note_list(struct volume *volume)
{
	struct shares *shares = &volume->shares;
	uint64_t nodes = share_nodes_worst(
		shares->list.count, shares->tree.tree.root.levels, volume->env.node_bytes);

	atomic_store(&shares->list_bytes,
		shares->list.count * sizeof(struct share_point) + nodes * volume->env.node_bytes);
}

/* ---- What a transaction knows ---------------------------------------------------------------- */

void
share_work_fini(struct share_work *work)
{
	free(work->asked);
	share_ranges_free(&work->ranges);
	share_spares_free(&work->spares);
	*work = (struct share_work){ 0 };
}

void
volume__shares_begin(struct volume *volume, struct share_work *work)
{
	uint64_t version = atomic_load(&volume->shares.version);

	if (work->version == version)
		return;
	work->version = version;
	work->asked_count = 0;
	work->ranges.count = 0;
}

/* The first that begins at or after `addr`. */
static size_t
place_of_asked(const struct share_work *work, uint64_t addr)
{
	size_t low = 0;
	size_t high = work->asked_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (work->asked[middle].addr < addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct share_asked *
find_asked(const struct share_work *work, uint64_t addr)
{
	size_t place = place_of_asked(work, addr);

	if (place == work->asked_count || work->asked[place].addr != addr)
		return NULL;
	return &work->asked[place];
}

static int
add_asked(struct share_work *work, uint64_t addr, uint32_t blocks)
{
	size_t place = place_of_asked(work, addr);

	if (work->asked_count == work->asked_capacity) {
		size_t capacity = work->asked_capacity == 0 ? 16 : work->asked_capacity * 2;
		struct share_asked *grown = realloc(work->asked, capacity * sizeof *grown);

		if (!grown)
			return fail(COP_ENOMEM, "counts of references");
		work->asked = grown;
		work->asked_capacity = capacity;
	}
	memmove(&work->asked[place + 1], &work->asked[place],
		(work->asked_count - place) * sizeof work->asked[0]);
	work->asked[place] = (struct share_asked){ .addr = addr, .blocks = blocks };
	work->asked_count++;
	return 0;
}

/* Ranges stay in order; one that was found before is not added again. */
static int
add_range(struct share_ranges *ranges, const struct share_range *range)
{
	size_t place = ranges->count;
	int err;

	while (place > 0 && ranges->list[place - 1].addr > range->addr)
		place--;
	if (place > 0 && ranges->list[place - 1].addr == range->addr)
		return 0;
	err = share_ranges_add(ranges, range);
	if (err)
		return err;
	memmove(&ranges->list[place + 1], &ranges->list[place],
		(ranges->count - 1 - place) * sizeof ranges->list[0]);
	ranges->list[place] = *range;
	return 0;
}

int
volume__shares_ask(struct volume *volume, struct share_work *work, struct run run, uint64_t birth)
{
	struct share_ranges found = { 0 };
	struct share_asked *asked;
	int err;

	if (!volume__may_be_shared(volume, birth))
		return 0;
	asked = find_asked(work, run.addr);
	if (asked && asked->blocks >= run.blocks)
		return 0;
	atomic_fetch_add_explicit(&volume->share_lookups, 1, memory_order_relaxed);
	err = share_look(&volume->shares.tree.tree, run.addr, run.blocks, &found);
	for (size_t i = 0; err == 0 && i < found.count; i++)
		err = add_range(&work->ranges, &found.list[i]);
	share_ranges_free(&found);
	if (err == 0 && asked)
		asked->blocks = run.blocks;
	else if (err == 0)
		err = add_asked(work, run.addr, run.blocks);
	return err;
}

struct path {
	struct tree_pointer pointers[PATH_LEVELS_MAX];
	uint32_t entries[PATH_LEVELS_MAX];
	uint32_t count;
};

static void
note_path(void *context, const struct tree_pointer *pointer, uint32_t entries)
{
	struct path *path = context;

	assert(path->count < PATH_LEVELS_MAX);
	path->pointers[path->count] = *pointer;
	path->entries[path->count++] = entries;
}

static struct run
run_of(const struct volume *volume, const struct tree_pointer *pointer)
{
	return (struct run){ .addr = pointer->addr, .blocks = volume->node_blocks };
}

int
volume__shares_ask_path(
	struct volume *volume, struct share_work *work, struct tree *tree, struct view key)
{
	struct path path = { .count = 0 };
	int err = 0;

	if (!can_be_shared(tree->kind))
		return 0;
	/* What is not there is found missing under the gate, and prepared again. */
	gate_enter_shared(volume->gate);
	(void)tree_path(tree, key, note_path, &path);
	gate_leave_shared(volume->gate);
	for (uint32_t i = 0; err == 0 && i < path.count; i++)
		err = volume__shares_ask(
			volume, work, run_of(volume, &path.pointers[i]), path.pointers[i].birth);
	return err;
}

/* References beyond the first, and up to where that is so. Gate held. */
static int64_t
extra_at(const struct volume *volume, const struct share_work *work, uint64_t block,
	uint64_t *out_end)
{
	uint64_t tree_end;
	uint64_t list_end;
	int64_t extra = share_ranges_at(&work->ranges, block, &tree_end);

	extra += share_list_at(&volume->shares.list, block, &list_end);
	*out_end = min_u64(tree_end, list_end);
	return extra;
}

static bool
node_is_shared(const struct volume *volume, const struct share_work *work,
	const struct tree_pointer *pointer)
{
	uint64_t end;

	return extra_at(volume, work, pointer->addr, &end) > 0;
}

bool
volume__shares_know(struct volume *volume, const struct share_work *work, struct run run,
	uint64_t birth, struct share_need *need)
{
	const struct share_asked *asked;
	uint64_t end;

	if (!volume__may_be_shared(volume, birth))
		return true;
	asked = find_asked(work, run.addr);
	if (work->version != atomic_load(&volume->shares.version) || !asked ||
		asked->blocks < run.blocks)
		return false;
	for (uint64_t block = run.addr; block < run.addr + run.blocks; block = end) {
		if (extra_at(volume, work, block, &end) > 0)
			need->adds++;
		else
			need->last_pieces++;
		need->pieces++;
	}
	return true;
}

/* What copying it adds to the list, counted once. */
static void
need_copy(struct share_work *work, const struct tree_pointer *pointer, uint32_t entries,
	struct share_need *need)
{
	struct share_asked *asked = find_asked(work, pointer->addr);

	if (asked->round == work->round)
		return;
	asked->round = work->round;
	/* What is released with them may be parted where they begin and end, and what was referred
	 * to once may be so no more. */
	need->is_copying = true;
	need->adds += 1 + 3 * (uint64_t)entries;
	need->pieces += 2 * (uint64_t)entries;
}

bool
volume__shares_know_path(struct volume *volume, struct share_work *work, struct tree *tree,
	struct view key, struct share_need *need)
{
	struct path path = { .count = 0 };
	bool is_shared = false;

	if (!can_be_shared(tree->kind))
		return true;
	if (!tree_path(tree, key, note_path, &path) && !work->ends_in_loss)
		return false;
	for (uint32_t i = 0; i < path.count; i++) {
		struct share_need ignored = { 0 };
		const struct tree_pointer *pointer = &path.pointers[i];

		if (!volume__may_be_shared(volume, pointer->birth))
			continue;
		if (!volume__shares_know(
			    volume, work, run_of(volume, pointer), pointer->birth, &ignored))
			return false;
		/* A copy above hands out references to all below. */
		is_shared = is_shared || node_is_shared(volume, work, pointer);
		if (is_shared)
			need_copy(work, pointer, path.entries[i], need);
	}
	return true;
}

bool
volume__shares_know_node(struct volume *volume, const struct share_work *work,
	const struct remains_node *node, struct share_need *need, bool *out_is_as_seen)
{
	const struct tree_pointer *pointer = &node->pointer;

	*out_is_as_seen = true;
	if (!volume__may_be_shared(volume, pointer->birth))
		return true;
	if (!volume__shares_know(volume, work, run_of(volume, pointer), pointer->birth, need))
		return false;
	*out_is_as_seen = node->is_shared == node_is_shared(volume, work, pointer);
	return true;
}

int
volume__shares_look(struct volume *volume, const struct tree_pointer *pointer, bool *out_is_shared)
{
	struct share_work work = { 0 };
	struct share_need need = { 0 };
	bool is_known = false;
	int err = 0;

	*out_is_shared = false;
	if (!volume__may_be_shared(volume, pointer->birth))
		return 0;
	while (err == 0 && !is_known) {
		volume__shares_begin(volume, &work);
		err = volume__shares_ask(volume, &work, run_of(volume, pointer), pointer->birth);
		if (err)
			break;
		gate_enter_shared(volume->gate);
		is_known = volume__shares_know(
			volume, &work, run_of(volume, pointer), pointer->birth, &need);
		if (is_known)
			*out_is_shared = node_is_shared(volume, &work, pointer);
		gate_leave_shared(volume->gate);
	}
	share_work_fini(&work);
	return err;
}

bool
volume_share_change(struct volume *volume, uint64_t from, struct share_change *out_change)
{
	bool is_there;

	gate_enter_shared(volume->gate);
	is_there = share_list_next(&volume->shares.list, from, out_change);
	gate_leave_shared(volume->gate);
	return is_there;
}

/* ---- Under the gate -------------------------------------------------------------------------- */

static void
change(struct volume *volume, struct run run, int64_t by)
{
	struct shares *shares = &volume->shares;

	gate_assert_exclusive(volume->gate);
	assert(shares->work);
	shares->adds++;
	share_list_add(&shares->list, &shares->work->spares, run.addr, run.blocks, by);
}

void
volume__shares_gain(struct volume *volume, struct run run)
{
	change(volume, run, 1);
}

void
volume__drop_run(struct volume *volume, struct run run, uint64_t birth)
{
	uint64_t run_end = run.addr + run.blocks;

	if (!volume__may_be_shared(volume, birth) || planted(PLANT_SHARED_RELEASED)) {
		volume__release_run(volume, run);
		return;
	}
	while (run.addr < run_end) {
		uint64_t end;
		int64_t extra = extra_at(volume, volume->shares.work, run.addr, &end);

		run.blocks = (uint32_t)(min_u64(end, run_end) - run.addr);
		if (extra > 0)
			change(volume, run, -1);
		else
			volume__release_run(volume, run);
		run.addr += run.blocks;
	}
}

void
volume__drop_node(struct volume *volume, const struct remains_node *node)
{
	struct run run = run_of(volume, &node->pointer);

	if (node->is_shared) {
		change(volume, run, -1);
		return;
	}
	volume__release_run(volume, run);
	run.addr = node->pointer.addr2;
	if (run.addr != 0)
		volume__release_run(volume, run);
}

void
volume__shares_stamp(struct volume *volume)
{
	uint64_t open = atomic_load(&volume->generation);

	gate_assert_exclusive(volume->gate);
	assert(atomic_load(&volume->shares.stamp) <= open);
	atomic_store_explicit(&volume->shares.stamp, open, memory_order_release);
}

void
volume__shares_apply(struct volume *volume, struct share_work *work)
{
	gate_assert_exclusive(volume->gate);
	assert(!volume->shares.work);
	volume->shares.work = work;
	volume->shares.adds = 0;
}

/* What the ticket has set aside for the share tree's nodes stays so until a checkpoint. */
void
volume__shares_applied(struct volume *volume)
{
	struct shares *shares = &volume->shares;
	const struct share_work *work = shares->work;
	uint64_t have;
	uint64_t want;

	assert(shares->adds <= work->adds);
	shares->work = NULL;
	if (shares->adds == 0)
		return;
	want = wanted_blocks(volume);
	have = shares->promised_blocks + shares->in_round_blocks;
	if (want > have) {
		uint64_t more = min_u64(want - have, work->promised_blocks);

		volume->taken.blocks += more;
		shares->promised_blocks += more;
	}
#ifdef COP_CHECKED
	assert(shares->promised_blocks + shares->in_round_blocks >= want);
#endif
	note_list(volume);
}

/* ---- Hooks of trees -------------------------------------------------------------------------- */

bool
volume__hook_may_be_shared(void *context, enum tree_kind kind, const struct tree_pointer *pointer)
{
	return can_be_shared(kind) && volume__may_be_shared(context, pointer->birth);
}

/* A node that nobody asked for was made in this very transaction. */
bool
volume__hook_is_shared(void *context, enum tree_kind kind, const struct tree_pointer *pointer)
{
	struct volume *volume = context;
	const struct share_work *work = volume->shares.work;

	if (!volume__hook_may_be_shared(context, kind, pointer))
		return false;
	assert(work);
	if (!find_asked(work, pointer->addr)) {
		assert(pointer->birth == atomic_load(&volume->generation));
		return false;
	}
	return node_is_shared(volume, work, pointer);
}

void
volume__hook_lose(void *context, const struct tree_pointer *pointer)
{
	struct volume *volume = context;

	change(volume, run_of(volume, pointer), -1);
}

void
volume__hook_gain(void *context, enum tree_kind kind, const struct tree_gain *gain)
{
	struct volume *volume = context;
	struct run run;
	uint64_t birth;

	if (planted(PLANT_CHILDREN_NOT_COUNTED))
		return;
	if (gain->child.addr != 0)
		volume__shares_gain(volume, run_of(volume, &gain->child));
	else if (volume->options.entry_run(kind, gain->key, gain->value, &run, &birth))
		volume__shares_gain(volume, run);
}

/* ---- Checkpoints ----------------------------------------------------------------------------- */

/* Up to `most` of them. */
static size_t
first_changes(struct volume *volume, size_t most, struct share_change changes[static DRAIN_CHANGES])
{
	uint64_t from = 0;
	size_t count = 0;

	assert(most <= DRAIN_CHANGES);
	gate_enter_shared(volume->gate);
	while (count < most && share_list_next(&volume->shares.list, from, &changes[count])) {
		from = changes[count].addr + changes[count].blocks;
		count++;
	}
	gate_leave_shared(volume->gate);
	return count;
}

/* Of the promise, what the round has not taken is there again; how much that is. */
static uint64_t
give_back_promise(struct volume *volume)
{
	struct shares *shares = &volume->shares;
	uint64_t left;

	gate_enter_exclusive(volume->gate);
	left = shares->in_round_blocks;
	shares->in_round_blocks = 0;
	shares->promised_blocks += left;
	gate_leave_exclusive(volume->gate);
	return left;
}

/* Blocks come from what transactions have set aside, as far as that goes. */
static int
reserve_round(struct volume *volume, size_t count, struct reservation *out_reservation)
{
	struct shares *shares = &volume->shares;
	uint64_t nodes =
		share_nodes_worst(count, shares->tree.tree.root.levels, volume->env.node_bytes);
	struct reservation want = volume__worst(volume, (uint32_t)nodes, 0);
	struct reservation more = want;
	uint64_t promised;
	int err;

	gate_enter_exclusive(volume->gate);
	promised = min_u64(shares->promised_blocks, want.blocks);
	assert(shares->in_round_blocks == 0);
	shares->promised_blocks -= promised;
	shares->in_round_blocks = promised;
	gate_leave_exclusive(volume->gate);
	more.blocks -= promised;
	err = volume__reserve(volume, &more, NULL, DRAW_ALL);
	if (err)
		(void)give_back_promise(volume);
	else
		*out_reservation = want;
	return err;
}

/* What it has taken, the promise pays first. */
static void
unreserve_round(
	struct volume *volume, struct reservation *reservation, const struct reservation *taken)
{
	reservation->blocks -= give_back_promise(volume);
	volume__unreserve(volume, reservation, taken, NULL);
}

/* The tree gains what the list loses. */
static void
carry_out(struct volume *volume, const struct share_plan *plan, const struct share_change *changes,
	size_t count, struct share_spares *spares)
{
	struct shares *shares = &volume->shares;

	if (!planted(PLANT_COUNTS_LOST))
		share_plan_apply(plan, &shares->tree.tree);
	volume__drop_retired(volume);
	for (size_t i = 0; i < count; i++)
		share_list_add(&shares->list, spares, changes[i].addr, changes[i].blocks,
			-changes[i].change);
	shares->drained += count;
	shares->drained_blocks += volume->taken.blocks;
	shares->in_round_blocks -= min_u64(shares->in_round_blocks, volume->taken.blocks);
	atomic_fetch_add(&shares->version, 1);
	note_list(volume);
}

static int
drain_some(struct volume *volume, const struct share_change *changes, size_t count)
{
	struct tree *tree = &volume->shares.tree.tree;
	struct reservation taken = { 0 };
	struct share_spares spares = { 0 };
	struct reservation reservation;
	struct share_plan plan;
	struct tree_pins pins;
	int err = share_plan_make(tree, changes, count, &plan);

	if (err)
		return err;
	tree_pins_init(&pins, volume->cache);
	err = share_spares_fill(&spares, SHARE_POINTS_OF_ADD * count);
	if (err == 0)
		err = reserve_round(volume, count, &reservation);
	if (err)
		goto out;
	err = share_plan_prepare(&plan, tree, &pins);
	if (err == 0) {
		gate_enter_exclusive(volume->gate);
		volume->taken = (struct reservation){ 0 };
		/* Nobody else changes this tree, and its nodes are pinned. */
		if (share_plan_is_prepared(&plan, tree, &pins))
			carry_out(volume, &plan, changes, count, &spares);
		taken = volume->taken;
		gate_leave_exclusive(volume->gate);
	}
	unreserve_round(volume, &reservation, &taken);

out:
	tree_pins_release(&pins);
	share_spares_free(&spares);
	share_plan_free(&plan);
	return err;
}

/* Rounds of so many that the list takes. */
static size_t
rounds_of(struct volume *volume, size_t most)
{
	size_t rounds;

	gate_enter_shared(volume->gate);
	rounds = volume->shares.list.count / most + DRAIN_ROUNDS_SPARE;
	gate_leave_shared(volume->gate);
	return rounds;
}

int
volume__shares_drain(struct volume *volume)
{
	struct share_change changes[DRAIN_CHANGES];
	size_t most = DRAIN_CHANGES;

	/* Others may add to it as fast as it is worked off: then the caller sees to it. */
	for (size_t rounds = rounds_of(volume, most); rounds > 0; rounds--) {
		size_t count = first_changes(volume, most, changes);
		int err = count == 0 ? 0 : drain_some(volume, changes, count);

		if (err == COP_ENOSPC && most > 1) {
			err_clear();
			most /= DRAIN_LESS;
			rounds = rounds_of(volume, most);
			continue;
		}
		if (err || count == 0)
			return err;
	}
	return 0;
}

void
volume__shares_freeze(struct volume *volume, struct superblock *sb)
{
	struct shares *shares = &volume->shares;
	uint64_t kept;

	gate_assert_exclusive(volume->gate);
	assert(shares->list.count == 0);
	sb->shares = shares->tree.tree.root;
	if (!planted(PLANT_STAMP_NOT_KEPT))
		sb->share_stamp = atomic_load(&shares->stamp);
	shares->levels = shares->tree.tree.root.levels;
	shares->drained = 0;
	shares->drained_blocks = 0;
	kept = min_u64(shares->promised_blocks, round_blocks(volume));
	space_unadmit(volume->space, shares->promised_blocks - kept);
	shares->promised_blocks = kept;
}

void
volume__shares_init(struct volume *volume, const struct superblock *sb)
{
	struct shares *shares = &volume->shares;

	share_list_free(&shares->list);
	shares->promised_blocks = 0;
	shares->in_round_blocks = 0;
	shares->drained = 0;
	shares->drained_blocks = 0;
	shares->levels = sb->shares.levels;
	volume__tree_init(
		volume, &shares->tree, (struct tree_name){ .kind = TREE_SHARES }, &sb->shares);
	atomic_store(&shares->stamp, sb->share_stamp);
	atomic_fetch_add(&shares->version, 1);
}

void
volume__shares_fini(struct volume *volume)
{
	share_list_free(&volume->shares.list);
}
