/*
 * Whole trees that nobody changes: the walk of a check, and taking a dead tree apart leaf by leaf.
 *
 * Both keep one pinned node for each level, and no more. Each node is compared with what its parent
 * says, so that no image can lead to the same node twice: fences of siblings do not overlap and
 * levels only fall.
 */

#include "tree/tree_internal.h"

/* The way from the root to where we are. */
struct trail {
	struct tree_env *env;
	enum tree_kind kind;
	uint8_t levels;
	struct stage {
		struct buffer *buffer; /* a pin */
		struct tree_pointer pointer;
		uint32_t index; /* of the entry under way, or to be looked at next */
	} stages[TREE_LEVELS_MAX];

	/* Leaves of one parent that were read together, up to entry `ahead_end`; pins or NULL. */
	struct buffer *ahead[TREE_READS_AHEAD_MAX];
	uint32_t ahead_end;
};

static int
trail_init(struct trail *trail, struct tree_env *env, enum tree_kind kind,
	const struct tree_root *root)
{
	*trail = (struct trail){ .env = env, .kind = kind, .levels = root->levels };
	if (root->levels > TREE_LEVELS_MAX)
		return fail(COP_EFORMAT, "a tree of %u levels", root->levels);
	return 0;
}

static void
trail_leave(struct trail *trail, uint32_t level)
{
	if (trail->stages[level].buffer)
		cache_release(trail->env->cache, trail->stages[level].buffer);
	trail->stages[level] = (struct stage){ 0 };
}

static void
trail_fini(struct trail *trail)
{
	load_release(trail->env, trail->ahead, ARRAY_COUNT(trail->ahead));
	for (uint32_t level = 0; level < TREE_LEVELS_MAX; level++)
		trail_leave(trail, level);
}

static const uint8_t *
trail_node(const struct trail *trail, uint32_t level)
{
	return trail->stages[level].buffer->data;
}

/* Reads the leaf under way, of the node at level 1, together with those that follow it. */
static void
trail_read_ahead(struct trail *trail, uint32_t copies)
{
	const struct stage *parent = &trail->stages[1];
	const uint8_t *node = parent->buffer->data;
	struct load_target targets[TREE_READS_AHEAD_MAX];
	uint32_t index = parent->index;
	uint32_t count = 0;

	while (index < node_count(node) && (count + 1) * copies <= TREE_READS_AHEAD_MAX) {
		struct tree_pointer pointer = node_child(node, index);

		if (load_check_pointer(trail->env, &pointer, node_self(node).birth) != 0)
			err_clear(); /* it will be told when its turn comes */
		else
			targets[count++] = (struct load_target){ pointer, 0 };
		index = node_next_child(node, index + 1);
	}
	load_release(trail->env, trail->ahead, ARRAY_COUNT(trail->ahead));
	if (count > 1)
		load_ahead(trail->env, trail->kind, targets, count, copies, trail->ahead);
	trail->ahead_end = index;
}

/*
 * Makes the node under `pointer` the one of `level`. With `results`, both copies are read, and what
 * became of each is told there.
 */
static int
trail_enter(struct trail *trail, const struct tree_pointer *pointer, uint32_t level, int *results)
{
	bool is_root = level + 1 == trail->levels;
	const struct stage *parent = is_root ? NULL : &trail->stages[level + 1];
	uint64_t birth_max = is_root ? UINT64_MAX : node_self(parent->buffer->data).birth;
	struct load_target target = { *pointer, (uint8_t)level };
	struct buffer *buffer = NULL;
	int err = load_check_pointer(trail->env, pointer, birth_max);

	if (!err && results)
		err = load_copies(trail->env, trail->kind, &target, results, &buffer);
	else if (!err)
		err = load_node(trail->env, trail->kind, &target, &buffer);
	if (!err && parent)
		err = load_check_fences(parent->buffer->data, parent->index, buffer->data);
	if (err) {
		if (buffer)
			cache_release(trail->env->cache, buffer);
		return fail_in(err, "level %" PRIu32, level);
	}
	trail->stages[level] = (struct stage){ .buffer = buffer, .pointer = *pointer };
	return 0;
}

/* ---- Walk ----------------------------------------------------------------------------------- */

/* Whether the walk goes on after this node has been told. */
static bool
tell_node(const struct tree_walk *walk, const struct tree_pointer *pointer, uint32_t level,
	const int results[2], int result)
{
	for (int copy = 1; !result && copy <= 2; copy++) {
		if (results[copy - 1] != 0 && !walk->node(walk->context, pointer, (uint8_t)level,
						      copy, results[copy - 1]))
			return false;
	}
	return walk->node(walk->context, pointer, (uint8_t)level, 0, result);
}

static bool
tell_entries(const struct tree_walk *walk, const uint8_t *leaf)
{
	uint8_t key[TREE_KEY_BYTES_MAX];

	for (uint32_t i = 0; walk->entry && i < node_count(leaf); i++) {
		if (!walk->entry(walk->context, node_key_copy(node_key(leaf, i), key),
			    node_value(leaf, i)))
			return false;
	}
	return true;
}

/*
 * Enters a node and tells it. *out_goes_on is false when the walk shall end. Damage is an error
 * only where nobody is told.
 */
static int
visit_node(struct trail *trail, const struct tree_walk *walk, const struct tree_pointer *pointer,
	uint32_t level, bool *out_goes_on)
{
	int results[2] = { 0, 0 };
	int err;

	*out_goes_on = true;
	if (walk->enter && !walk->enter(walk->context, pointer, (uint8_t)level))
		return 0;
	if (level == 0 && trail->levels > 1 && trail->stages[1].index >= trail->ahead_end)
		trail_read_ahead(trail, walk->both_copies ? 2 : 1);
	if (level == 1)
		trail->ahead_end = 0;

	err = trail_enter(trail, pointer, level, walk->both_copies ? results : NULL);
	if (err == COP_ENOMEM || (err && !walk->node))
		return err;
	*out_goes_on = !walk->node || tell_node(walk, pointer, level, results, err);
	if (err)
		err_clear();
	if (!err && walk->image && *out_goes_on)
		walk->image(walk->context, trail_node(trail, level));
	if (!err && level == 0 && *out_goes_on)
		*out_goes_on = tell_entries(walk, trail_node(trail, 0));
	return 0;
}

int
tree_walk(struct tree_env *env, enum tree_kind kind, const struct tree_root *root,
	const struct tree_walk *walk)
{
	struct trail trail;
	uint32_t level = root->levels;
	bool goes_on = true;
	int err = trail_init(&trail, env, kind, root);

	if (err || root->levels == 0)
		return err;
	err = visit_node(&trail, walk, &root->pointer, --level, &goes_on);

	while (!err && goes_on && level < trail.levels) {
		struct stage *stage = &trail.stages[level];
		struct tree_pointer pointer;

		if (level > 0 && stage->buffer)
			stage->index = node_next_child(stage->buffer->data, stage->index);
		if (level == 0 || !stage->buffer ||
			stage->index == node_count(stage->buffer->data)) {
			trail_leave(&trail, level++);
			if (level < trail.levels)
				trail.stages[level].index++;
			continue;
		}
		pointer = node_child(stage->buffer->data, stage->index);
		err = visit_node(&trail, walk, &pointer, --level, &goes_on);
	}
	trail_fini(&trail);
	return err;
}

/* ---- Dismantle ------------------------------------------------------------------------------ */

/*
 * A dead tree is taken apart in the order of its keys, and a cursor says how far that has come. A
 * node is finished with when its range ends at or before the cursor; so every node belongs to one
 * step, wherever the borders of the nodes are: the one from a cursor before its end to a cursor at
 * or after it. A cursor may come from another tree of the same keys, as after a replay.
 */

/* The entry of an inner node that covers the cursor, or the first when the cursor is before it. */
static uint32_t
entry_at(const uint8_t *node, struct view cursor)
{
	if (node_covers(node, cursor))
		return node_search_child(node, cursor);
	return view_compare(cursor, node_low(node)) < 0 ? 0 : node_count(node);
}

/* Nodes that the cursor lies in, though all their leaves are before it. */
struct passed {
	struct tree_pointer nodes[TREE_LEVELS_MAX];
	uint32_t count;
};

static bool
is_shared(const struct tree_dismantle *visit, const struct tree_pointer *pointer, uint32_t level)
{
	return visit->is_shared && visit->is_shared(visit->context, pointer, (uint8_t)level);
}

/*
 * To the first leaf at or after the cursor: *out_level is 0. Where that way leads to a node that is
 * shared, or damaged and may be skipped, *out_level is that of its parent. The number of levels:
 * nothing is left.
 */
static int
find_leaf(struct trail *trail, const struct tree_pointer *root, struct view cursor,
	const struct tree_dismantle *visit, struct passed *out_passed, uint32_t *out_level)
{
	uint32_t level = trail->levels - 1U;
	int err;

	if (is_shared(visit, root, level)) {
		*out_level = trail->levels;
		return 0;
	}
	err = trail_enter(trail, root, level, NULL);

	while (!err && level > 0) {
		struct stage *stage = &trail->stages[level];
		struct tree_pointer pointer;

		if (stage[-1].buffer) { /* nothing was left below: to the next child */
			trail_leave(trail, level - 1);
			stage->index++;
		} else {
			stage->index = entry_at(stage->buffer->data, cursor);
		}
		stage->index = node_next_child(stage->buffer->data, stage->index);
		if (stage->index == node_count(stage->buffer->data)) {
			if (node_covers(stage->buffer->data, cursor)) /* one of a level does */
				out_passed->nodes[out_passed->count++] = stage->pointer;
			if (++level == trail->levels)
				break;
			continue;
		}
		pointer = node_child(stage->buffer->data, stage->index);
		if (is_shared(visit, &pointer, level - 1))
			break;
		err = trail_enter(trail, &pointer, level - 1, NULL);
		if (!err)
			level--;
	}
	if (err && visit->skip_damaged && err != COP_ENOMEM) {
		err_clear();
		err = 0;
		level = trail->stages[trail->levels - 1].buffer ? level : trail->levels;
	}
	*out_level = level;
	return err;
}

static void
tell_entries_from(const struct tree_dismantle *visit, const uint8_t *leaf, struct view cursor)
{
	uint8_t key[TREE_KEY_BYTES_MAX];

	for (uint32_t i = 0; i < node_count(leaf); i++) {
		struct node_key whole = node_key(leaf, i);

		if (node_key_compare(whole, cursor) >= 0)
			visit->entry(
				visit->context, node_key_copy(whole, key), node_value(leaf, i));
	}
}

int
tree_dismantle(struct tree_env *env, enum tree_kind kind, const struct tree_root *root,
	const struct tree_cursor *cursor, const struct tree_dismantle *visit,
	struct tree_cursor *out_cursor, bool *out_done)
{
	struct view from = view_of(cursor->key, cursor->bytes);
	struct passed passed = { .count = 0 };
	struct trail trail;
	uint32_t level;
	int err = trail_init(&trail, env, kind, root);

	assert(cursor->bytes <= TREE_KEY_BYTES_MAX);
	if (err)
		return err;
	if (root->levels == 0) {
		*out_done = true;
		return 0;
	}
	err = find_leaf(&trail, &root->pointer, from, visit, &passed, &level);
	if (err)
		goto out;

	for (uint32_t i = 0; i < passed.count; i++)
		visit->node(visit->context, &passed.nodes[i]);
	if (level == 0) {
		tell_entries_from(visit, trail_node(&trail, 0), from);
		visit->node(visit->context, &trail.stages[0].pointer);
		level = 1;
	}

	/* What has no further child goes with this leaf. */
	for (; level < trail.levels; level++) {
		const uint8_t *node = trail_node(&trail, level);
		uint32_t next = node_next_child(node, trail.stages[level].index + 1);

		if (next < node_count(node)) {
			out_cursor->bytes =
				(uint32_t)node_key_copy(node_key(node, next), out_cursor->key)
					.bytes;
			break;
		}
		visit->node(visit->context, &trail.stages[level].pointer);
	}
	*out_done = level == trail.levels;
out:
	trail_fini(&trail);
	return err;
}
