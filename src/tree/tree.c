/*
 * Reading and changing one tree.
 *
 * A read descends under the shared gate through nodes that are cached. At the first that is not it
 * leaves the gate, loads and keeps that node, and starts again from the root, which may be another
 * one by then.
 *
 * A change descends under the exclusive gate through nodes that tree_prepare() has pinned, and
 * shadows from the root down: a node of an older generation is copied to a new one, its parent,
 * which was shadowed just before, gets the new pointer, and the old node goes to free_node(), which
 * is told thereby that somebody has taken over what the node held. A node that others refer to as
 * well is copied even if it is of the open generation: it loses one reference, and what it refers
 * to gains one. From the root down, so that a shared parent has handed out its references before
 * its child is asked whether it is shared.
 *
 * Siblings may be missing, so a change must not need them:
 *   - A leaf that becomes empty is freed, and its entry in the parent becomes an empty range: a key
 *     without a child. Neighbouring empty ranges become one. An inner node whose ranges are all
 *     empty is freed in the same way.
 *   - A key in an empty range gets a new leaf, and new inner nodes down to it, between the fences
 *     of that range.
 *   - A root with one child is replaced by the child. So a root may have fences. A key outside gets
 *     a new root above with empty ranges around the old one, or, where the root is a leaf and there
 *     is room, the leaf loses its fences again.
 *   - A node less than a quarter full merges with a sibling if that is cached and both fit well in
 *     one. There is no borrowing: it would change a separator, for which the parent may have no
 *     room.
 */

#include "base/plant.h"
#include "tree/tree_internal.h"

#include <stdlib.h>

enum { UNDERFULL_DEN = 4 };

static const struct tree_pointer no_child;

/* Nodes that a descent found missing: the first stopped it, the others are its right siblings. */
struct wanted {
	struct load_target targets[TREE_READS_AHEAD_MAX];
	uint32_t count;
	uint32_t ahead; /* how many to name at most, from 1 */
	bool is_lost;   /* what stopped it is marked as lost */
};

/* Where a descent came to. */
struct landing {
	struct buffer *leaf; /* a pin; NULL: the key lies in an empty range */
	bool has_next;
	struct view next; /* where the range of the leaf ends, in `next_key` */
	uint8_t next_key[TREE_KEY_BYTES_MAX];
};

static void
enter(struct tree *tree)
{
	tree->env->hooks->enter(tree->env->context);
}

static void
leave(struct tree *tree)
{
	tree->env->hooks->leave(tree->env->context);
}

static uint64_t
open_generation(const struct tree *tree)
{
	return tree->env->hooks->generation(tree->env->context);
}

/* ---- Descending ----------------------------------------------------------------------------- */

static int
get_root(struct tree *tree, struct wanted *wanted, struct buffer **out_buffer)
{
	struct tree_env *env = tree->env;
	const struct tree_root *root = &tree->root;
	struct buffer *buffer;
	int err;

	assert(root->levels > 0);
	if (root->levels > TREE_LEVELS_MAX)
		return fail(COP_EFORMAT, "a tree of %u levels", root->levels);
	wanted->is_lost = root->pointer.seal == TREE_SEAL_LOST;
	err = load_check_pointer(env, &root->pointer, open_generation(tree));
	if (err)
		return fail_in(err, "root");

	wanted->targets[0] = (struct load_target){ root->pointer, (uint8_t)(root->levels - 1) };
	wanted->count = 1;
	buffer = load_peek(env, &root->pointer);
	if (!buffer)
		return ERR_MISSING;
	err = load_check_identity(
		buffer->data, env->uuid, tree->kind, root->levels - 1, &root->pointer);
	if (err) {
		cache_release(env->cache, buffer);
		return fail_in(err, "root at block %" PRIu64, root->pointer.addr);
	}
	*out_buffer = buffer;
	return 0;
}

/* The child of entry `index`, if it is cached, and is what the parent says. */
static int
get_child(
	struct tree *tree, const struct buffer *parent, uint32_t index, struct buffer **out_buffer)
{
	struct tree_env *env = tree->env;
	struct tree_pointer pointer = node_child(parent->data, index);
	int level = (int)node_level(parent->data) - 1;
	struct buffer *buffer;
	int err = load_check_pointer(env, &pointer, node_self(parent->data).birth);

	if (err)
		return fail_in(err, "node at block %" PRIu64, parent->addr);
	buffer = load_peek(env, &pointer);
	if (!buffer)
		return ERR_MISSING;
	err = load_check_identity(buffer->data, env->uuid, tree->kind, level, &pointer);
	if (!err)
		err = load_check_fences(parent->data, index, buffer->data);
	if (err) {
		cache_release(env->cache, buffer);
		return fail_in(err, "node at block %" PRIu64, pointer.addr);
	}
	*out_buffer = buffer;
	return 0;
}

/* Names the missing child `index` and, above leaves, the missing ones that follow it. */
static void
want_children(struct tree *tree, const struct buffer *parent, uint32_t index, struct wanted *wanted)
{
	uint8_t level = (uint8_t)(node_level(parent->data) - 1);
	uint32_t most = level == 0 ? wanted->ahead : 1;

	wanted->targets[0] = (struct load_target){ node_child(parent->data, index), level };
	wanted->count = 1;
	for (;;) {
		struct tree_pointer pointer;
		struct buffer *here;

		index = node_next_child(parent->data, index + 1);
		if (wanted->count >= most || index == node_count(parent->data))
			return;
		pointer = node_child(parent->data, index);
		if (load_check_pointer(tree->env, &pointer, node_self(parent->data).birth) != 0) {
			err_clear(); /* whoever comes to it will say so */
			return;
		}
		here = load_peek(tree->env, &pointer);
		if (here)
			cache_release(tree->env->cache, here);
		else
			wanted->targets[wanted->count++] = (struct load_target){ pointer, level };
	}
}

/* The descent needs the node no more; the path of a preparation stays pinned. */
static void
pass_on(struct tree *tree, struct buffer *buffer, struct tree_pins *pins, size_t first)
{
	bool is_new = pins != NULL;

	for (size_t i = first; is_new && i < pins->count; i++)
		is_new = pins->buffers[i] != buffer;
	if (!is_new) {
		cache_release(tree->env->cache, buffer);
		return;
	}
	assert(pins->count < pins->capacity);
	pins->buffers[pins->count++] = buffer;
}

static void
land(struct landing *landing, struct buffer *leaf, struct node_key next)
{
	landing->leaf = leaf;
	landing->next = node_key_copy(next, landing->next_key);
	landing->has_next = landing->next.bytes > 0;
}

/*
 * To the leaf whose range holds `key`. Gate held. With `pins`, all nodes that it passes are kept
 * there, each once since `first`. ERR_MISSING: `wanted` says what.
 */
static int
descend(struct tree *tree, struct view key, struct tree_pins *pins, size_t first,
	struct wanted *wanted, struct landing *out_landing)
{
	struct node_key none = { view_of(NULL, 0), view_of(NULL, 0) };
	struct buffer *node;
	int err;

	if (tree->root.levels == 0) {
		land(out_landing, NULL, none);
		return 0;
	}
	err = get_root(tree, wanted, &node);
	if (err)
		return err;

	if (!node_covers(node->data, key)) {
		struct node_key low = { view_of(NULL, 0), node_low(node->data) };

		land(out_landing, NULL, node_key_compare(low, key) > 0 ? low : none);
		pass_on(tree, node, pins, first);
		return 0;
	}

	while (node_level(node->data) > 0) {
		uint32_t index = node_search_child(node->data, key);
		struct tree_pointer pointer = node_child(node->data, index);
		struct buffer *child = NULL;

		wanted->is_lost = pointer.addr != 0 && pointer.seal == TREE_SEAL_LOST;
		if (pointer.addr == 0)
			land(out_landing, NULL, node_child_high(node->data, index));
		else
			err = get_child(tree, node, index, &child);
		if (err == ERR_MISSING)
			want_children(tree, node, index, wanted);
		pass_on(tree, node, pins, first);
		if (!child)
			return err;
		node = child;
	}

	/* The caller gets a pin of its own, besides that of the path. */
	land(out_landing, node, (struct node_key){ view_of(NULL, 0), node_high(node->data) });
	if (pins) {
		cache_pin(tree->env->cache, node);
		pass_on(tree, node, pins, first);
	}
	return 0;
}

/*
 * May what stopped a descent be loaded? If it was loaded just now, and is pinned, then something
 * else, pinned as well, has its place in the cache: loading it again would not help.
 */
static int
check_wanted(const struct wanted *wanted, const struct buffer *loaded)
{
	const struct tree_pointer *pointer = &wanted->targets[0].pointer;

	if (!loaded || loaded->stamp != pointer->seal ||
		(loaded->addr != pointer->addr && loaded->addr != pointer->addr2))
		return 0;
	return fail(COP_ECHECKSUM, "node at block %" PRIu64 ": something else is in its place",
		loaded->addr);
}

static void
release_leaf(struct tree *tree, struct landing *landing)
{
	if (landing->leaf)
		cache_release(tree->env->cache, landing->leaf);
	landing->leaf = NULL;
}

/* ---- Reading -------------------------------------------------------------------------------- */

int
tree_get(struct tree *tree, struct view key, void *value, size_t capacity, size_t *out_bytes)
{
	struct wanted wanted = { .ahead = 1 };
	struct buffer *loaded = NULL;
	struct landing landing;
	struct view found;
	uint32_t index;
	int err;

	assert(key.bytes <= TREE_KEY_BYTES_MAX);
	landing.leaf = NULL;
	for (;;) {
		enter(tree);
		err = descend(tree, key, NULL, 0, &wanted, &landing);
		if (err != ERR_MISSING)
			break;
		leave(tree);

		err = check_wanted(&wanted, loaded);
		if (loaded)
			cache_release(tree->env->cache, loaded);
		loaded = NULL;
		if (!err)
			err = load_node(tree->env, tree->kind, &wanted.targets[0], &loaded);
		if (err)
			return err;
	}

	if (!err && (!landing.leaf || !node_search(landing.leaf->data, key, &index)))
		err = fail(COP_ENOENT, "no such key");
	if (!err) {
		found = node_value(landing.leaf->data, index);
		*out_bytes = found.bytes;
		if (found.bytes > capacity)
			err = fail(COP_ERANGE, "a value of %zu bytes", found.bytes);
		else if (found.bytes > 0)
			memcpy(value, found.data, found.bytes);
	}
	release_leaf(tree, &landing);
	leave(tree);
	if (loaded)
		cache_release(tree->env->cache, loaded);
	return err;
}

/* Entries of one leaf from `from`; false: the visitor has enough. */
static bool
visit_leaf(const uint8_t *leaf, struct view from, tree_visit visit, void *context)
{
	uint8_t key[TREE_KEY_BYTES_MAX];
	uint32_t index;

	for ((void)node_search(leaf, from, &index); index < node_count(leaf); index++) {
		if (!visit(context, node_key_copy(node_key(leaf, index), key),
			    node_value(leaf, index)))
			return false;
	}
	return true;
}

int
tree_scan(
	struct tree *tree, struct view from, uint32_t reads_ahead, tree_visit visit, void *context)
{
	/* Those read ahead stay pinned until the next batch: a small cache must not lose them. The
	 * last is the one that the descent needs. */
	struct buffer *loaded[TREE_READS_AHEAD_MAX + 1] = { NULL };
	struct wanted wanted = {
		.ahead = (uint32_t)max_u64(1, min_u64(reads_ahead, TREE_READS_AHEAD_MAX)),
	};
	uint8_t cursor_key[TREE_KEY_BYTES_MAX];
	struct view cursor = from;
	struct landing landing;
	bool goes_on = true;
	int err = 0;

	assert(from.bytes <= TREE_KEY_BYTES_MAX);
	while (!err && goes_on) {
		enter(tree);
		err = descend(tree, cursor, NULL, 0, &wanted, &landing);
		if (!err && landing.leaf)
			goes_on = visit_leaf(landing.leaf->data, cursor, visit, context);
		if (!err)
			release_leaf(tree, &landing);
		leave(tree);

		if (err == ERR_MISSING) {
			err = check_wanted(&wanted, loaded[TREE_READS_AHEAD_MAX]);
			load_release(tree->env, loaded, ARRAY_COUNT(loaded));
			if (!err && wanted.count > 1)
				load_ahead(tree->env, tree->kind, wanted.targets, wanted.count, 1,
					loaded);
			if (!err)
				err = load_node(tree->env, tree->kind, &wanted.targets[0],
					&loaded[TREE_READS_AHEAD_MAX]);
		} else if (!err) {
			goes_on = goes_on && landing.has_next;
			memcpy(cursor_key, landing.next_key, landing.next.bytes);
			cursor = view_of(cursor_key, landing.next.bytes);
		}
	}
	load_release(tree->env, loaded, ARRAY_COUNT(loaded));
	return err;
}

/* ---- Preparing ------------------------------------------------------------------------------ */

void
tree_pins_init(struct tree_pins *pins, struct cache *cache)
{
	*pins = (struct tree_pins){ .cache = cache };
}

static void
pins_cut(struct tree_pins *pins, size_t count)
{
	while (pins->count > count)
		cache_release(pins->cache, pins->buffers[--pins->count]);
}

void
tree_pins_release(struct tree_pins *pins)
{
	pins_cut(pins, 0);
	free(pins->buffers);
	pins->buffers = NULL;
	pins->capacity = 0;
}

int
tree_pins_reserve(struct tree_pins *pins, size_t paths)
{
	size_t more = paths * (TREE_LEVELS_MAX + 1);
	size_t capacity = pins->capacity;
	struct buffer **buffers;

	if (pins->count + more <= capacity)
		return 0;
	capacity = 2 * capacity + more;
	buffers = realloc(pins->buffers, capacity * sizeof *buffers);
	if (!buffers)
		return fail(COP_ENOMEM, "%zu pins", capacity);
	pins->buffers = buffers;
	pins->capacity = capacity;
	return 0;
}

/* Also after an error everything on the way stays pinned. */
static int
prepare(struct tree *tree, struct view key, struct tree_pins *pins)
{
	size_t first = pins->count;
	struct wanted wanted = { .ahead = 1 };
	struct buffer *loaded = NULL;
	struct landing landing;
	int err;

	assert(key.bytes <= TREE_KEY_BYTES_MAX);
	for (;;) {
		err = tree_pins_reserve(pins, 1);
		if (err)
			break;

		enter(tree);
		err = descend(tree, key, pins, first, &wanted, &landing);
		if (!err)
			release_leaf(tree, &landing);
		if (!err && tree->root.levels > TREE_LEVELS_CHANGED_MAX)
			err = fail(COP_EFORMAT, "a tree of %u levels", tree->root.levels);
		leave(tree);
		if (err != ERR_MISSING)
			break;

		err = check_wanted(&wanted, loaded);
		if (!err)
			err = load_node(tree->env, tree->kind, &wanted.targets[0], &loaded);
		if (err)
			break;
		pins->buffers[pins->count++] = loaded;
	}
	pins->met_lost = err != 0 && wanted.is_lost;
	return err;
}

int
tree_prepare(struct tree *tree, struct view key, struct tree_pins *pins)
{
	size_t first = pins->count;
	int err = prepare(tree, key, pins);

	if (err)
		pins_cut(pins, first);
	return err;
}

int
tree_prepare_loss(struct tree *tree, struct view key, struct tree_pins *pins)
{
	int err = prepare(tree, key, pins);

	if (!err_is_damage(err) && err != COP_EIO)
		return err;
	err_clear();
	return 0;
}

bool
tree_is_prepared(struct tree *tree, struct view key, struct tree_pins *pins)
{
	struct wanted wanted = { .ahead = 1 };
	struct landing landing;

	if (descend(tree, key, pins, pins ? pins->count : 0, &wanted, &landing) != 0)
		return false;
	release_leaf(tree, &landing);
	return true;
}

bool
tree_find(struct tree *tree, struct view key, struct view *out_value)
{
	struct wanted wanted = { .ahead = 1 };
	struct landing landing;
	uint32_t index;
	bool is_found;
	int err = descend(tree, key, NULL, 0, &wanted, &landing);

	assert(err == 0); /* tree_prepare() has been this way */
	is_found = landing.leaf && node_search(landing.leaf->data, key, &index);
	if (is_found)
		*out_value = node_value(landing.leaf->data, index);
	release_leaf(tree, &landing); /* the pins of the preparation remain */
	return is_found;
}

bool
tree_path(struct tree *tree, struct view key, tree_path_visit visit, void *context)
{
	struct wanted wanted = { .ahead = 1 };
	struct buffer *node;
	int err;

	if (tree->root.levels == 0)
		return true;
	err = get_root(tree, &wanted, &node);
	while (err == 0) {
		struct tree_pointer pointer = node_self(node->data);
		struct buffer *child = NULL;
		bool goes_on = node_level(node->data) > 0 && node_covers(node->data, key);
		uint32_t index = 0;

		visit(context, &pointer, node_count(node->data));
		if (goes_on) {
			index = node_search_child(node->data, key);
			goes_on = node_child(node->data, index).addr != 0;
		}
		if (goes_on)
			err = get_child(tree, node, index, &child);
		cache_release(tree->env->cache, node);
		if (!child)
			break;
		node = child;
	}
	if (err)
		err_clear();
	return err == 0;
}

uint32_t
tree_nodes_worst(uint8_t levels)
{
	/* Each level is shadowed and split, or grafted; the root grows by one. */
	return 2 * (uint32_t)levels + 1;
}

/* ---- Changing ------------------------------------------------------------------------------- */

/* The way to a change: one pinned node for each level, and the entry taken in each inner node. */
struct path {
	struct step {
		struct buffer *buffer;
		uint32_t index;
	} steps[TREE_LEVELS_MAX];
};

static void
path_release(struct tree *tree, struct path *path)
{
	for (uint32_t level = 0; level < TREE_LEVELS_MAX; level++) {
		if (path->steps[level].buffer)
			cache_release(tree->env->cache, path->steps[level].buffer);
	}
}

/* A pinned new node with nothing but its identity. */
static struct buffer *
new_node(struct tree *tree, uint32_t level, struct tree_pointer *out_pointer)
{
	struct tree_env *env = tree->env;
	struct node_header header = { .kind = (uint8_t)tree->kind, .level = (uint8_t)level };
	struct buffer *buffer =
		env->hooks->new_node(env->context, tree->kind, (uint8_t)level, &header.self);

	assert(header.self.birth == open_generation(tree));
	assert(header.self.seal != 0);
	assert(buffer->blocks == env->node_bytes / BLOCK_BYTES);
	memcpy(header.uuid, env->uuid, sizeof header.uuid);
	node_header_encode(&header, buffer->data);
	cache_pin(env->cache, buffer);
	*out_pointer = header.self;
	return buffer;
}

static void
free_node(struct tree *tree, const struct tree_pointer *pointer)
{
	tree->env->hooks->free_node(tree->env->context, pointer);
}

static bool
may_be_shared(struct tree *tree, const struct tree_pointer *pointer)
{
	const struct tree_hooks *hooks = tree->env->hooks;

	return hooks->may_be_shared &&
	       hooks->may_be_shared(tree->env->context, tree->kind, pointer);
}

/* `node` was copied and stays with its other holders: its children now have one parent more. */
static void
part_from(struct tree *tree, const uint8_t *node, const struct tree_pointer *pointer)
{
	const struct tree_hooks *hooks = tree->env->hooks;
	uint8_t key[TREE_KEY_BYTES_MAX];

	hooks->lose(tree->env->context, pointer);
	for (uint32_t i = 0; i < node_count(node); i++) {
		struct tree_gain gain = { .child = no_child };

		if (node_level(node) > 0) {
			gain.child = node_child(node, i);
			if (gain.child.addr == 0)
				continue;
		} else {
			gain.key = node_key_copy(node_key(node, i), key);
			gain.value = node_value(node, i);
		}
		hooks->gain(tree->env->context, tree->kind, &gain);
	}
}

/* Turns a pinned node into one of this tree alone, of the open generation; true: it has a new
 * place. */
static bool
shadow(struct tree *tree, struct buffer **buffer, struct tree_pointer *pointer)
{
	struct tree_env *env = tree->env;
	struct tree_pointer old_pointer = *pointer;
	struct buffer *old = *buffer;
	struct buffer *new;
	uint8_t header[NODE_HEADER_BYTES];
	bool is_shared = env->hooks->is_shared &&
			 env->hooks->is_shared(env->context, tree->kind, &old_pointer);

	if (old_pointer.birth == open_generation(tree) && !is_shared)
		return false;
	new = new_node(tree, node_level(old->data), pointer);
	memcpy(header, new->data, sizeof header);
	/* Not the checksum: a checkpoint may be writing it into the old node just now. */
	memcpy(new->data + NODE_AT_MAGIC, old->data + NODE_AT_MAGIC,
		env->node_bytes - NODE_AT_MAGIC);
	memcpy(new->data + NODE_AT_ADDR, header + NODE_AT_ADDR,
		NODE_AT_STORED_BYTES - NODE_AT_ADDR);
	*buffer = new;
	if (is_shared)
		part_from(tree, old->data, &old_pointer);
	else
		free_node(tree, &old_pointer);
	cache_release(env->cache, old);
	return true;
}

static void
take_root(struct tree *tree, struct path *path)
{
	struct wanted wanted = { .ahead = 1 };
	uint32_t top = tree->root.levels - 1U;
	struct buffer *buffer = NULL;
	int err = get_root(tree, &wanted, &buffer);

	assert(err == 0); /* prepared */
	(void)shadow(tree, &buffer, &tree->root.pointer);
	path->steps[top].buffer = buffer;
}

/*
 * Shadows from the root, which is taken already, down to `lowest`. Returns the level at which the
 * way ended: above `lowest` if there the range of the key is empty.
 */
static uint32_t
descend_shadowing(struct tree *tree, struct view key, uint32_t lowest, struct path *path)
{
	uint32_t level = tree->root.levels - 1U;

	for (; level > lowest; level--) {
		struct step *step = &path->steps[level];
		struct tree_pointer pointer;
		struct buffer *child = NULL;
		int err;

		step->index = node_search_child(step->buffer->data, key);
		pointer = node_child(step->buffer->data, step->index);
		if (pointer.addr == 0)
			break;
		err = get_child(tree, step->buffer, step->index, &child);
		assert(err == 0); /* prepared */
		if (shadow(tree, &child, &pointer))
			node_set_child(step->buffer->data, step->index, &pointer);
		path->steps[level - 1].buffer = child;
	}
	return level;
}

void
tree_lose(struct tree *tree, struct view key)
{
	struct wanted wanted = { .ahead = 1 };
	struct path path = { 0 };
	struct buffer *root;
	bool is_marked = false;

	if (tree_is_prepared(tree, key, NULL))
		return;
	if (get_root(tree, &wanted, &root) != 0) {
		err_clear();
		tree->root.pointer.seal = TREE_SEAL_LOST;
		return;
	}
	cache_release(tree->env->cache, root);
	take_root(tree, &path);
	for (uint32_t level = tree->root.levels - 1U; !is_marked; level--) {
		struct step *step = &path.steps[level];
		struct tree_pointer pointer;
		struct buffer *child;

		assert(level > 0); /* else the whole path were at hand */
		step->index = node_search_child(step->buffer->data, key);
		pointer = node_child(step->buffer->data, step->index);
		is_marked = get_child(tree, step->buffer, step->index, &child) != 0;
		if (is_marked && planted(PLANT_LOST_READS_AS_HOLE))
			pointer = no_child;
		else if (is_marked)
			pointer.seal = TREE_SEAL_LOST;
		else
			path.steps[level - 1].buffer = child;
		if (is_marked || shadow(tree, &path.steps[level - 1].buffer, &pointer))
			node_set_child(step->buffer->data, step->index, &pointer);
	}
	err_clear();
	path_release(tree, &path);
}

/* Adds a child, or none, behind the last entry of an inner node. */
static void
add_child(struct tree *tree, struct buffer *parent, struct view key,
	const struct tree_pointer *pointer)
{
	uint8_t value[TREE_POINTER_BYTES];

	tree_pointer_encode(pointer, value);
	node_insert(parent->data, tree->env->node_bytes, node_count(parent->data), key,
		view_of(value, sizeof value));
}

/* A new root between the given fences; the old one is to become a child of it. */
static void
raise_root(struct tree *tree, struct path *path, struct view low, struct view high)
{
	uint32_t level = tree->root.levels;

	assert(level < TREE_LEVELS_MAX);
	path->steps[level].buffer = new_node(tree, level, &tree->root.pointer);
	path->steps[level].index = 0;
	node_clear(path->steps[level].buffer->data, tree->env->node_bytes, low, high);
	tree->root.levels++;
}

/* The key is outside the fences of the root, which is in `path`. */
static void
widen_root(struct tree *tree, struct path *path)
{
	struct step *step = &path->steps[tree->root.levels - 1];
	struct tree_pointer old_pointer = tree->root.pointer;
	struct buffer *old = step->buffer;
	struct view none = view_of(NULL, 0);
	struct view low = node_low(old->data);
	struct view high = node_high(old->data);

	if (tree->root.levels == 1 && node_widen(old->data, tree->env->node_bytes, none, none))
		return;

	raise_root(tree, path, none, none);
	if (low.bytes > 0)
		add_child(tree, step[1].buffer, none, &no_child);
	add_child(tree, step[1].buffer, low, &old_pointer);
	if (high.bytes > 0)
		add_child(tree, step[1].buffer, high, &no_child);

	cache_release(tree->env->cache, old); /* the way to the key does not lead through it */
	step->buffer = NULL;
}

/* Grows nodes into the empty range where the path ended at `level`, down to a leaf. */
static void
graft(struct tree *tree, struct path *path, uint32_t level)
{
	for (; level > 0; level--) {
		struct step *step = &path->steps[level];
		struct buffer *parent = step->buffer;
		uint8_t low_key[TREE_KEY_BYTES_MAX];
		uint8_t high_key[TREE_KEY_BYTES_MAX];
		struct view low = node_key_copy(node_key(parent->data, step->index), low_key);
		struct view high =
			node_key_copy(node_child_high(parent->data, step->index), high_key);
		struct tree_pointer pointer;
		struct buffer *child = new_node(tree, level - 1, &pointer);

		node_clear(child->data, tree->env->node_bytes, low, high);
		if (level > 1)
			add_child(tree, child, low, &no_child);
		node_set_child(parent->data, step->index, &pointer);
		path->steps[level - 1] = (struct step){ .buffer = child, .index = 0 };
	}
}

/* Into the leaf of the path; what does not fit is split, from there up. */
static void
insert(struct tree *tree, struct path *path, struct view key, struct view value)
{
	uint32_t node_bytes = tree->env->node_bytes;
	uint8_t separators[2][TREE_KEY_BYTES_MAX]; /* the one being inserted, and the next */
	uint8_t child[TREE_POINTER_BYTES];

	for (uint32_t level = 0;; level++) {
		struct buffer *left = path->steps[level].buffer;
		struct tree_pointer left_pointer = node_self(left->data);
		struct tree_pointer pointer;
		struct buffer *right;
		uint32_t index;
		bool is_there = node_search(left->data, key, &index);

		assert(!is_there);
		if (node_has_room(left->data, node_bytes, key, value)) {
			node_insert(left->data, node_bytes, index, key, value);
			return;
		}

		right = new_node(tree, level, &pointer);
		key = node_split(left->data, right->data, node_bytes, index, key, value,
			separators[level % 2]);
		if (level + 1 == tree->root.levels) {
			raise_root(tree, path, node_low(left->data), node_high(right->data));
			add_child(tree, path->steps[level + 1].buffer, node_low(left->data),
				&left_pointer);
		}
		cache_release(tree->env->cache, right);
		tree_pointer_encode(&pointer, child);
		value = view_of(child, sizeof child);
	}
}

void
tree_put(struct tree *tree, struct view key, struct view value)
{
	uint32_t node_bytes = tree->env->node_bytes;
	struct path path = { 0 };
	uint8_t *leaf;
	uint32_t level;
	uint32_t index;

	assert(key.bytes <= TREE_KEY_BYTES_MAX);
	assert(value.bytes <= tree_value_bytes_max(node_bytes));

	if (tree->root.levels == 0)
		raise_root(tree, &path, view_of(NULL, 0), view_of(NULL, 0));
	else
		take_root(tree, &path);
	if (!node_covers(path.steps[tree->root.levels - 1].buffer->data, key))
		widen_root(tree, &path);

	level = descend_shadowing(tree, key, 0, &path);
	graft(tree, &path, level);

	leaf = path.steps[0].buffer->data;
	if (!node_search(leaf, key, &index)) {
		insert(tree, &path, key, value);
	} else if (node_value(leaf, index).bytes == value.bytes) {
		node_replace(leaf, index, value);
	} else {
		node_remove(leaf, node_bytes, index);
		insert(tree, &path, key, value);
	}
	path_release(tree, &path);
}

/* Empties the range of entry `index`, and makes one of it and its empty neighbours. */
static void
remove_child(struct tree *tree, struct step *step)
{
	uint32_t node_bytes = tree->env->node_bytes;
	uint8_t *node = step->buffer->data;
	uint32_t index = step->index;

	node_set_child(node, index, &no_child);
	if (index + 1 < node_count(node) && node_child(node, index + 1).addr == 0)
		node_remove(node, node_bytes, index + 1);
	if (index > 0 && node_child(node, index - 1).addr == 0)
		node_remove(node, node_bytes, index);
}

static bool
has_one_child(const uint8_t *node)
{
	uint32_t first = node_next_child(node, 0);

	return node_next_child(node, first + 1) >= node_count(node);
}

/*
 * The leaf of the path is gone, and so is every inner node that had no other child. Returns the
 * level of the lowest node that stays; the number of levels if there is none.
 */
static uint32_t
remove_leaf(struct tree *tree, struct path *path)
{
	for (uint32_t level = 1; level < tree->root.levels; level++) {
		struct step *step = &path->steps[level];
		struct tree_pointer pointer = node_self(step->buffer->data);

		if (!has_one_child(step->buffer->data)) {
			remove_child(tree, step);
			return level;
		}
		free_node(tree, &pointer);
	}
	tree->root = (struct tree_root){ 0 };
	return 0;
}

/* Merges the node of the path at `level` with child `sibling` of its parent, if that may be. */
static bool
merge_with(struct tree *tree, struct path *path, uint32_t level, uint32_t sibling)
{
	struct step *step = &path->steps[level + 1];
	uint8_t *parent = step->buffer->data;
	uint8_t *node = path->steps[level].buffer->data;
	uint32_t node_bytes = tree->env->node_bytes;
	uint32_t first = (uint32_t)min_u64(step->index, sibling);
	uint32_t last = (uint32_t)max_u64(step->index, sibling);
	struct tree_pointer sibling_pointer = node_child(parent, sibling);
	struct tree_pointer self = node_self(node);
	struct buffer *other;
	const uint8_t *left;
	const uint8_t *right;

	if (may_be_shared(tree, &sibling_pointer))
		return false;
	if (get_child(tree, step->buffer, sibling, &other) != 0) {
		err_clear(); /* missing, or damaged: then whoever needs it will say so */
		return false;
	}
	left = sibling < step->index ? other->data : node;
	right = sibling < step->index ? node : other->data;
	if (!node_merge_fits(left, right, node_bytes)) {
		cache_release(tree->env->cache, other);
		return false;
	}
	node_merge(left, right, node, node_bytes);
	free_node(tree, &sibling_pointer);
	cache_release(tree->env->cache, other);

	node_set_child(parent, first, &self);
	for (uint32_t i = first; i < last; i++)
		node_remove(parent, node_bytes, first + 1);
	step->index = first;
	return true;
}

/* The nearest sibling on the right, then on the left; between leaves also over an empty range. */
static bool
merge(struct tree *tree, struct path *path, uint32_t level)
{
	const uint8_t *parent = path->steps[level + 1].buffer->data;
	uint32_t index = path->steps[level + 1].index;
	uint32_t reach = level == 0 ? 2 : 1;
	uint32_t right = node_next_child(parent, index + 1);
	uint32_t left = index;

	if (right < node_count(parent) && right <= index + reach &&
		merge_with(tree, path, level, right))
		return true;
	for (uint32_t i = 1; i <= reach && i <= index && left == index; i++) {
		if (node_child(parent, index - i).addr != 0)
			left = index - i;
	}
	return left != index && merge_with(tree, path, level, left);
}

static bool
is_underfull(const struct tree *tree, const uint8_t *node)
{
	return node_used(node) < node_capacity(node, tree->env->node_bytes) / UNDERFULL_DEN;
}

/* A root that is nothing but a pointer to its only child gives way to it. */
static void
lower_root(struct tree *tree)
{
	while (tree->root.levels > 1) {
		struct wanted wanted = { .ahead = 1 };
		struct tree_pointer pointer = tree->root.pointer;
		struct tree_pointer child;
		struct buffer *buffer;
		bool is_lowered;

		if (pointer.birth != open_generation(tree) && may_be_shared(tree, &pointer))
			return; /* the next change copies it first */
		if (get_root(tree, &wanted, &buffer) != 0) {
			err_clear(); /* not cached: the next change sees to it */
			return;
		}
		child = node_child(buffer->data, node_next_child(buffer->data, 0));
		is_lowered = has_one_child(buffer->data);
		cache_release(tree->env->cache, buffer);
		if (!is_lowered)
			return;
		free_node(tree, &pointer);
		tree->root.pointer = child;
		tree->root.levels--;
	}
}

void
tree_delete(struct tree *tree, struct view key)
{
	struct path path = { 0 };
	struct tree_pointer pointer;
	struct buffer *leaf;
	struct view value;
	uint32_t level = 0;
	uint32_t index;

	if (!tree_find(tree, key, &value))
		return;

	take_root(tree, &path);
	(void)descend_shadowing(tree, key, 0, &path);
	leaf = path.steps[0].buffer;
	pointer = node_self(leaf->data);
	(void)node_search(leaf->data, key, &index);
	node_remove(leaf->data, tree->env->node_bytes, index);
	if (node_count(leaf->data) == 0) {
		free_node(tree, &pointer);
		level = remove_leaf(tree, &path);
	}

	for (; level + 1 < tree->root.levels; level++) {
		if (!is_underfull(tree, path.steps[level].buffer->data) ||
			!merge(tree, &path, level))
			break;
	}
	lower_root(tree);
	path_release(tree, &path);
}

/* ---- Soundness ------------------------------------------------------------------------------ */

void
tree_assert_sound(struct tree *tree)
{
	struct path path = { 0 };
	struct wanted wanted = { .ahead = 1 };
	uint32_t level = tree->root.levels;

	if (level == 0) {
		assert(tree->root.pointer.addr == 0);
		return;
	}
	level--;
	if (get_root(tree, &wanted, &path.steps[level].buffer) != 0) {
		err_clear();
		return;
	}
	assert(node_check_structure(path.steps[level].buffer->data, tree->env->node_bytes) == 0);

	while (level < tree->root.levels) {
		struct step *step = &path.steps[level];
		struct buffer *child = NULL;
		int err;

		if (level > 0)
			step->index = node_next_child(step->buffer->data, step->index);
		if (level == 0 || step->index == node_count(step->buffer->data)) {
			cache_release(tree->env->cache, step->buffer);
			*step = (struct step){ 0 };
			level++;
			continue;
		}
		err = get_child(tree, step->buffer, step->index++, &child);
		assert(err == 0 || err == ERR_MISSING);
		if (err)
			continue;
		assert(node_check_structure(child->data, tree->env->node_bytes) == 0);
		path.steps[--level].buffer = child;
	}
}

void
tree_node_finish(struct buffer *buffer)
{
	uint32_t node_bytes = buffer->blocks * BLOCK_BYTES;

	/* What is not used is zero at all times: nothing to pad. */
	assert(node_count(buffer->data) > 0);
	assert(get_le64(buffer->data + NODE_AT_SEAL) == buffer->stamp);
	node_checksum_put(buffer->data, node_bytes);
}
