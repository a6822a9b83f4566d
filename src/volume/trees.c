#include "volume/volume_internal.h"

#include "base/checksum.h"

#include <stdlib.h>

/* Instead of a generation, which never gets there. */
static const uint64_t OWNER_RETIRED = UINT64_MAX;

/* ---- Hooks: where nodes come from and go to -------------------------------------------------- */

static void
hook_enter(void *context)
{
	struct volume *volume = context;

	gate_enter_shared(volume->gate);
}

static void
hook_leave(void *context)
{
	struct volume *volume = context;

	gate_leave_shared(volume->gate);
}

static uint64_t
hook_generation(void *context)
{
	struct volume *volume = context;

	return atomic_load_explicit(&volume->generation, memory_order_relaxed);
}

uint32_t
volume__copies(uint8_t metadata_copies, enum tree_kind kind, uint8_t level)
{
	if (metadata_copies != 0)
		return metadata_copies;
	return kind == TREE_CONTENT && level == 0 ? 1 : 2;
}

static void
open_nodes_add(struct volume *volume, struct buffer *buffer)
{
	buffer->owner_prev = NULL;
	buffer->owner_next = volume->open_nodes;
	if (volume->open_nodes)
		volume->open_nodes->owner_prev = buffer;
	volume->open_nodes = buffer;
	volume->open_node_count++;
	atomic_fetch_add(&volume->open_node_bytes, volume->env.node_bytes);
}

static void
open_nodes_remove(struct volume *volume, struct buffer *buffer)
{
	if (buffer->owner_prev)
		buffer->owner_prev->owner_next = buffer->owner_next;
	else
		volume->open_nodes = buffer->owner_next;
	if (buffer->owner_next)
		buffer->owner_next->owner_prev = buffer->owner_prev;
	buffer->owner_prev = NULL;
	buffer->owner_next = NULL;
	assert(volume->open_node_count > 0);
	volume->open_node_count--;
	atomic_fetch_sub(&volume->open_node_bytes, volume->env.node_bytes);
}

static struct buffer *
hook_new_node(void *context, enum tree_kind kind, uint8_t level, struct tree_pointer *out_pointer)
{
	struct volume *volume = context;
	struct tree_pointer pointer = { .seal = rng_nonzero(&volume->rng) };
	uint32_t copies = volume__copies(volume->metadata_copies, kind, level);
	struct buffer *buffer;

	gate_assert_exclusive(volume->gate);
	pointer.birth = atomic_load_explicit(&volume->generation, memory_order_relaxed);
	space_take_node(volume->space, copies, &pointer.addr, &pointer.addr2);
	buffer = cache_insert(
		volume->cache, pointer.addr, pointer.addr2, pointer.seal, volume->node_blocks);
	buffer->owner_generation = pointer.birth;
	open_nodes_add(volume, buffer);
	volume->taken.nodes++;
	volume->taken.blocks += (uint64_t)copies * volume->node_blocks;
	*out_pointer = pointer;
	return buffer;
}

void
volume__carry(struct volume *volume, uint64_t addr, const uint8_t *bytes)
{
	struct buffer *buffer =
		cache_insert(volume->cache, addr, 0, checksum64(bytes, BLOCK_BYTES), 1);

	gate_assert_exclusive(volume->gate);
	memcpy(buffer->data, bytes, BLOCK_BYTES);
	buffer->owner_generation = atomic_load_explicit(&volume->generation, memory_order_relaxed);
	buffer->owner_prev = NULL;
	buffer->owner_next = volume->carried;
	volume->carried = buffer;
	volume->carried_count++;
	volume->taken.carried++;
	atomic_fetch_add(&volume->carried_blocks, 1);
	atomic_fetch_add(&volume->open_node_bytes, BLOCK_BYTES);
}

void
volume__release_run(struct volume *volume, struct run run)
{
	space_release(volume->space, run);
	volume->taken.list_entries++;
}

/* A clean node, of no use to the tree that held it: out of the cache at the end of the change. */
static void
retire(struct volume *volume, const struct tree_pointer *pointer)
{
	struct buffer *buffer = cache_peek(volume->cache, pointer->addr, pointer->seal);

	if (buffer && buffer->owner_generation != OWNER_RETIRED) {
		buffer->owner_generation = OWNER_RETIRED;
		buffer->owner_next = volume->retired_nodes;
		volume->retired_nodes = buffer;
	} else if (buffer) {
		cache_release(volume->cache, buffer);
	}
}

void
volume__drop_retired(struct volume *volume)
{
	gate_assert_exclusive(volume->gate);
	while (volume->retired_nodes) {
		struct buffer *buffer = volume->retired_nodes;

		volume->retired_nodes = TAKE(buffer->owner_next);
		buffer->owner_generation = 0;
		cache_drop(volume->cache, buffer->addr, buffer->stamp);
		cache_release(volume->cache, buffer);
	}
}

/*
 * A node of the open generation was never written and leaves the list of what will be. One of the
 * frozen generation is still being written: the checkpoint that does so reaches it. Anything older
 * is clean and merely of no use any more; but of a damaged volume another tree may hold it as well,
 * which this same transaction has been prepared to change.
 */
static void
hook_free_node(void *context, const struct tree_pointer *pointer)
{
	struct volume *volume = context;
	uint64_t open = atomic_load_explicit(&volume->generation, memory_order_relaxed);

	gate_assert_exclusive(volume->gate);
	assert(pointer->birth <= open);
	volume__release_run(volume, (struct run){ pointer->addr, volume->node_blocks });
	if (pointer->addr2 != 0)
		volume__release_run(volume, (struct run){ pointer->addr2, volume->node_blocks });
	if (pointer->birth == open) {
		struct buffer *buffer = cache_peek(volume->cache, pointer->addr, pointer->seal);

		assert(buffer); /* dirty buffers stay */
		open_nodes_remove(volume, buffer);
		cache_release(volume->cache, buffer);
		cache_drop(volume->cache, pointer->addr, pointer->seal);
	} else if (volume->frozen_generation == 0 || pointer->birth != volume->frozen_generation) {
		retire(volume, pointer);
	}
}

const struct tree_hooks volume__hooks = {
	.enter = hook_enter,
	.leave = hook_leave,
	.generation = hook_generation,
	.new_node = hook_new_node,
	.free_node = hook_free_node,
	.is_shared = volume__hook_is_shared,
	.may_be_shared = volume__hook_may_be_shared,
	.lose = volume__hook_lose,
	.gain = volume__hook_gain,
	.repair = volume__hook_repair,
};

/* ---- Trees by name --------------------------------------------------------------------------- */

void
volume__tree_init(struct volume *volume, struct open_tree *tree, struct tree_name name,
	const struct tree_root *root)
{
	*tree = (struct open_tree){
		.tree = { .env = &volume->env, .kind = name.kind, .root = *root },
		.name = name,
		.stored = *root,
	};
}

void
volume__note_levels(struct volume *volume, uint8_t levels)
{
	uint8_t highest = atomic_load(&volume->content_levels);

	while (highest < levels &&
		!atomic_compare_exchange_weak(&volume->content_levels, &highest, levels))
		;
}

static bool
name_equal(struct tree_name a, struct tree_name b)
{
	return a.branch == b.branch && a.object == b.object && a.kind == b.kind;
}

static size_t
bucket_of(struct tree_name name)
{
	uint64_t parts[3] = { name.branch, name.object, (uint64_t)name.kind };

	return hash64(parts, sizeof parts, 0) % VOLUME_BUCKETS;
}

static struct open_tree *
find_locked(struct volume *volume, struct tree_name name)
{
	struct open_tree *tree = volume->trees[bucket_of(name)];

	mutex_assert_held(&volume->state);
	while (tree && !name_equal(tree->name, name))
		tree = tree->next;
	return tree;
}

/* The root that the object tree records for a content or directory tree; no record: empty. */
static int
read_root(struct tree *objects, struct tree_name name, struct tree_root *out_root)
{
	uint8_t key[ROOT_KEY_BYTES];
	uint8_t value[ROOT_RECORD_BYTES];
	size_t bytes;
	int err;

	err = tree_get(objects, root_key(key, name.object, name.kind), value, sizeof value, &bytes);
	if (err == COP_ENOENT) {
		err_clear();
		*out_root = (struct tree_root){ 0 };
		return 0;
	}
	if (err == COP_ERANGE || (err == 0 && bytes != sizeof value))
		err = fail(COP_EFORMAT, "root record of %zu bytes", bytes);
	if (err == 0)
		err = root_record_decode(value, out_root);
	if (err)
		return fail_in(err, "object %" PRIu64, name.object);
	return 0;
}

/*
 * A node that is born in the open generation changes in place, so a record may only name one if it
 * is really here, not yet written: else an image could have its own bytes changed under its feet.
 */
static bool
root_is_credible(struct volume *volume, const struct tree_root *root)
{
	uint64_t open = atomic_load(&volume->generation);
	struct buffer *buffer;

	if (root->levels == 0 || root->pointer.birth < open)
		return true;
	if (root->pointer.birth > open)
		return false;
	buffer = cache_peek(volume->cache, root->pointer.addr, root->pointer.seal);
	if (!buffer)
		return false;
	cache_release(volume->cache, buffer);
	return true;
}

/*
 * Opens a tree that is not in the table. A root record changes only through a tree that is in the
 * table; so if no root record has changed since ours was read and nobody has put the tree there
 * meanwhile, what was read is still so.
 */
static int
open_new(struct volume *volume, struct tree_name name, struct open_tree **out_tree)
{
	struct open_tree *made = calloc(1, sizeof *made);
	struct open_tree *tree = NULL;

	if (!made)
		return fail(COP_ENOMEM, "tree of object %" PRIu64, name.object);
	while (!tree) {
		uint64_t changes = atomic_load(&volume->root_changes);
		struct tree_root root;
		int err = read_root(&volume->objects.tree, name, &root);

		if (err) {
			free(made);
			return err;
		}
		mutex_lock(&volume->state);
		tree = find_locked(volume, name);
		if (!tree && changes == atomic_load(&volume->root_changes)) {
			if (!root_is_credible(volume, &root)) {
				mutex_unlock(&volume->state);
				free(made);
				return fail(COP_EFORMAT,
					"object %" PRIu64 ": a root born in generation %" PRIu64,
					name.object, root.pointer.birth);
			}
			volume__tree_init(volume, made, name, &root);
			tree = TAKE(made);
			tree->next = volume->trees[bucket_of(name)];
			volume->trees[bucket_of(name)] = tree;
			volume__note_levels(volume, root.levels);
		}
		if (tree)
			tree->refs++;
		mutex_unlock(&volume->state);
	}
	free(made);
	*out_tree = tree;
	return 0;
}

int
volume_tree_open(struct volume *volume, struct tree_name name, struct tree **out_tree)
{
	struct open_tree *tree;
	int err;

	if (name.kind == TREE_CATALOG) {
		*out_tree = &volume->catalog.tree;
		return 0;
	}
	if (name.branch != BRANCH_MAIN)
		return fail(COP_ENOENT, "no branch %" PRIu64, name.branch);
	if (name.kind == TREE_OBJECTS) {
		*out_tree = &volume->objects.tree;
		return 0;
	}

	assert(name.kind == TREE_CONTENT || name.kind == TREE_DIRECTORY);
	mutex_lock(&volume->state);
	tree = find_locked(volume, name);
	if (tree)
		tree->refs++;
	mutex_unlock(&volume->state);
	if (tree) {
		*out_tree = &tree->tree;
		return 0;
	}

	err = open_new(volume, name, &tree);
	if (err)
		return err;
	*out_tree = &tree->tree;
	return 0;
}

void
volume_tree_release(struct volume *volume, struct tree *tree)
{
	struct open_tree *open = open_tree_of(tree);
	struct open_tree **link;

	if (!tree || tree->kind == TREE_CATALOG || tree->kind == TREE_OBJECTS)
		return;
	mutex_lock(&volume->state);
	assert(open->refs > 0);
	open->refs--;
	if (open->refs > 0) {
		mutex_unlock(&volume->state);
		return;
	}
	link = &volume->trees[bucket_of(open->name)];
	while (*link != open)
		link = &(*link)->next;
	*link = open->next;
	mutex_unlock(&volume->state);
	free(open);
}

/* A reference to an open tree that was not looked up in that generation; NULL: there is none. */
static struct open_tree *
next_to_look_up(struct volume *volume, uint64_t generation)
{
	struct open_tree *tree = NULL;

	mutex_lock(&volume->state);
	for (size_t i = 0; i < VOLUME_BUCKETS && !tree; i++) {
		tree = volume->trees[i];
		while (tree && tree->next_generation == generation)
			tree = tree->next;
	}
	if (tree)
		tree->refs++;
	mutex_unlock(&volume->state);
	return tree;
}

int
volume__trees_look_up(struct volume *volume, struct tree *objects, uint64_t generation)
{
	struct open_tree *tree;
	int err = 0;

	while (err == 0 && (tree = next_to_look_up(volume, generation))) {
		err = read_root(objects, tree->name, &tree->next_root);
		if (err == 0) {
			mutex_lock(&volume->state);
			tree->next_generation = generation;
			mutex_unlock(&volume->state);
		}
		volume_tree_release(volume, &tree->tree);
	}
	return err;
}

bool
volume__trees_move(struct volume *volume, uint64_t generation)
{
	mutex_assert_held(&volume->state);
	gate_assert_exclusive(volume->gate);
	for (size_t i = 0; i < VOLUME_BUCKETS; i++) {
		for (struct open_tree *tree = volume->trees[i]; tree; tree = tree->next) {
			if (tree->next_generation != generation)
				return false;
		}
	}
	for (size_t i = 0; i < VOLUME_BUCKETS; i++) {
		for (struct open_tree *tree = volume->trees[i]; tree; tree = tree->next) {
			tree->tree.root = tree->next_root;
			tree->stored = tree->next_root;
		}
	}
	/* Whoever is opening a tree has looked at the roots of before. */
	atomic_fetch_add(&volume->root_changes, 1);
	return true;
}
