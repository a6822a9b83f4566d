/*
 * Which trees there are, and the nodes of one.
 *
 * Without a replay nothing is opened: the trees of a checkpoint are read through a cache of their
 * own, from the root records that lead to them, so that a volume that does not open is shown too.
 */

#include "check/dump_internal.h"

#include "base/num.h"

#include <stdlib.h>
#include <string.h>

/* ---- Getting at them ------------------------------------------------------------------------- */

static void
no_gate(void *context)
{
	(void)context;
}

static uint64_t
generation_of(void *context)
{
	const struct dump *dump = context;

	return dump->sb.generation;
}

static const struct tree_hooks own_hooks = {
	.enter = no_gate,
	.leave = no_gate,
	.generation = generation_of,
};

/* Half of the memory: the rest is for handles, and for what a replay keeps beside. */
static int
open_replayed(struct dump *dump)
{
	struct volume_options options = {
		.read_only = true,
		.cache_bytes = dump->options.cache_bytes / 2,
		.entry_run = extent_entry_run,
	};
	struct volume_state state;
	int err = volume_open(dump->dev, &options, &dump->volume);

	if (err)
		return err;
	volume_state(dump->volume, &state);
	dump->env = volume_tree_env(dump->volume);
	dump->sb = state.sb;
	dump->catalog = state.sb.catalog;
	dump->branch.objects = state.objects;
	dump->has_branch = true;
	return 0;
}

static int
open_checkpoint(struct dump *dump)
{
	const struct superblock *sb = &dump->sb;
	int err = cache_create(dump->dev, dump->options.cache_bytes / 2, &dump->cache);

	if (err)
		return err;
	dump->own_env = (struct tree_env){
		.cache = dump->cache,
		.node_bytes = sb->node_bytes,
		.device_blocks = min_u64(sb->blocks, device_blocks(dump->dev)),
		.hooks = &own_hooks,
		.context = dump,
	};
	memcpy(dump->own_env.uuid, sb->uuid, sizeof dump->own_env.uuid);
	dump->env = &dump->own_env;
	dump->catalog = sb->catalog;
	return 0;
}

int
dump__trees_open(struct dump *dump)
{
	if (dump->options.flags & COP_DUMP_REPLAY)
		return open_replayed(dump);
	return open_checkpoint(dump);
}

void
dump__trees_close(struct dump *dump)
{
	volume_close(dump->volume);
	cache_free(dump->cache);
	dump->volume = NULL;
	dump->cache = NULL;
}

/* The record of the branch, on which all but the catalog hangs. */
static int
load_branch(struct dump *dump)
{
	struct tree catalog = { .env = dump->env, .kind = TREE_CATALOG, .root = dump->catalog };
	uint8_t value[BRANCH_RECORD_BYTES + BRANCH_NAME_BYTES_MAX];
	uint8_t key[CATALOG_KEY_BYTES];
	size_t bytes;
	int err;

	if (dump->has_branch)
		return 0;
	err = tree_get(&catalog, catalog_key(key, CATALOG_BRANCH, BRANCH_MAIN), value, sizeof value,
		&bytes);
	if (err == 0)
		err = branch_decode(view_of(value, bytes), &dump->branch);
	if (err)
		return fail_in(err, "the branch \"main\" in the catalog");
	dump->has_branch = true;
	return 0;
}

int
dump__objects_root(struct dump *dump, struct tree_root *out_root)
{
	int err = load_branch(dump);

	if (err == 0)
		*out_root = dump->branch.objects;
	return err;
}

/* ---- Walking for entries --------------------------------------------------------------------- */

struct search {
	struct dump *dump;
	bool (*entry)(void *context, struct view key, struct view value);
	void *context;
};

static bool
pass_node(void *context, const struct tree_pointer *pointer, uint8_t level, int copy, int result)
{
	struct search *search = context;
	struct dump *dump = search->dump;

	if (result == 0 || copy != 0)
		return !dump->err;
	dump__object(dump, NULL);
	dump__unsigned(dump, "level", level);
	dump__pointer(dump, pointer);
	dump__problem(dump, result);
	dump__end(dump);
	return !dump->err;
}

static bool
pass_entry(void *context, struct view key, struct view value)
{
	struct search *search = context;

	return search->entry(search->context, key, value) && !search->dump->err;
}

void
dump__walk(struct dump *dump, enum tree_kind kind, const struct tree_root *root,
	bool (*entry)(void *context, struct view key, struct view value), void *context)
{
	struct search search = { .dump = dump, .entry = entry, .context = context };
	struct tree_walk walk = { .node = pass_node, .entry = pass_entry, .context = &search };
	int err = tree_walk(dump->env, kind, root, &walk);

	if (err && !dump->err)
		dump__problem(dump, err);
}

/* ---- Which there are ------------------------------------------------------------------------- */

static void
show_tree(struct dump *dump, const char *what, uint64_t number, const struct tree_root *root)
{
	dump__object(dump, NULL);
	dump__text(dump, "tree", what);
	if (number != 0)
		dump__id(dump, "number", number);
	dump__unsigned(dump, "levels", root->levels);
	if (root->levels > 0)
		dump__pointer(dump, &root->pointer);
	dump__end(dump);
}

static bool
meet_object_key(void *context, struct view key, struct view value)
{
	struct dump *dump = context;
	struct tree_root root;

	if (key.bytes != ROOT_KEY_BYTES || key.data[OBJECT_KEY_BYTES - 1] != KEY_ROOT)
		return true;
	if (value.bytes == ROOT_RECORD_BYTES && root_record_decode(value.data, &root) == 0) {
		show_tree(dump, dump__kind_name(key.data[OBJECT_KEY_BYTES]), get_be64(key.data),
			&root);
		return true;
	}
	dump__object(dump, NULL);
	dump__id(dump, "number", get_be64(key.data));
	dump__problem(dump, fail(COP_EFORMAT, "a root record that makes no sense"));
	dump__end(dump);
	return true;
}

static bool
meet_catalog_key(void *context, struct view key, struct view value)
{
	struct dump *dump = context;
	struct job job;

	if (key.bytes != CATALOG_KEY_BYTES || key.data[0] != CATALOG_JOB)
		return true;
	if (job_decode(value, &job) != 0) {
		dump__object(dump, NULL);
		dump__id(dump, "number", get_be64(key.data + 1));
		dump__problem(dump, fail_in(COP_EFORMAT, "a job"));
		dump__end(dump);
	} else if (job.program == JOB_DISMANTLE) {
		show_tree(dump, "dead", get_be64(key.data + 1), &job.root);
	}
	return true;
}

int
dump__trees(struct dump *dump)
{
	int err;

	dump__unsigned(dump, "generation", dump->sb.generation);
	dump__bool(dump, "is_replayed", dump->volume != NULL);
	dump__array(dump, "trees");
	show_tree(dump, "catalog", 0, &dump->catalog);
	if (dump->sb.shares.levels > 0)
		show_tree(dump, "shares", 0, &dump->sb.shares);
	err = load_branch(dump);
	if (err) {
		dump__object(dump, NULL);
		dump__text(dump, "tree", "objects");
		dump__problem(dump, err);
		dump__end(dump);
	} else {
		show_tree(dump, "objects", 0, &dump->branch.objects);
		dump__walk(dump, TREE_OBJECTS, &dump->branch.objects, meet_object_key, dump);
	}
	dump__walk(dump, TREE_CATALOG, &dump->catalog, meet_catalog_key, dump);
	dump__end(dump);
	return 0;
}

/* ---- The nodes of one ------------------------------------------------------------------------ */

/* A node stays open until the next one comes, so that its entries go into it. */
struct nodes {
	struct dump *dump;
	enum tree_kind kind;
	int results[2];
	bool is_open;
	bool has_entries;
};

static void
close_node(struct nodes *nodes)
{
	if (nodes->has_entries)
		dump__end(nodes->dump);
	if (nodes->is_open)
		dump__end(nodes->dump);
	nodes->is_open = false;
	nodes->has_entries = false;
}

static bool
meet_node(void *context, const struct tree_pointer *pointer, uint8_t level, int copy, int result)
{
	struct nodes *nodes = context;
	struct dump *dump = nodes->dump;

	if (!nodes->is_open || !(nodes->results[0] || nodes->results[1])) {
		close_node(nodes);
		dump__object(dump, NULL);
		nodes->is_open = true;
		nodes->results[0] = 0;
		nodes->results[1] = 0;
		dump__unsigned(dump, "level", level);
		dump__pointer(dump, pointer);
	}
	if (copy != 0) {
		nodes->results[copy - 1] = result;
		dump__unsigned(dump, copy == 1 ? "bad_copy_1" : "bad_copy_2",
			copy == 1 ? pointer->addr : pointer->addr2);
		dump->result.problems++;
		err_clear();
		return !dump->err;
	}
	nodes->results[0] = 0;
	nodes->results[1] = 0;
	if (result != 0)
		dump__problem(dump, result);
	return !dump->err;
}

static uint8_t
level_of(const uint8_t *data)
{
	struct tree_image image;

	tree_image_read(data, &image);
	return image.level;
}

static void
meet_image(void *context, const uint8_t *data)
{
	struct nodes *nodes = context;
	struct dump *dump = nodes->dump;

	dump__image(dump, data);
	if (!dump__wants_all(dump) || level_of(data) != 0)
		return;
	dump__array(dump, "entry_list");
	nodes->has_entries = true;
}

static bool
meet_entry(void *context, struct view key, struct view value)
{
	struct nodes *nodes = context;

	if (nodes->has_entries)
		dump__entry(nodes->dump, NULL, nodes->kind, key, value);
	return !nodes->dump->err;
}

static void
show_nodes(struct dump *dump, enum tree_kind kind, const struct tree_root *root)
{
	struct nodes nodes = { .dump = dump, .kind = kind };
	struct tree_walk walk = {
		.node = meet_node,
		.entry = meet_entry,
		.image = meet_image,
		.context = &nodes,
		.both_copies = !dump->volume, /* what was replayed lies in memory only */
	};
	int err;

	dump__root(dump, "root", root);
	dump__array(dump, "nodes");
	err = tree_walk(dump->env, kind, root, &walk);
	close_node(&nodes);
	dump__end(dump);
	if (err && !dump->err)
		dump__problem(dump, err);
}

/* ---- A dead tree: what lies before the cursor is gone ---------------------------------------- */

/* Entries and nodes come as the steps of the job would meet them. */
static void
meet_dead_entry(void *context, struct view key, struct view value)
{
	struct nodes *nodes = context;

	if (dump__wants_all(nodes->dump))
		dump__entry(nodes->dump, NULL, nodes->kind, key, value);
}

static void
meet_dead_node(void *context, const struct tree_pointer *pointer)
{
	struct nodes *nodes = context;

	dump__object(nodes->dump, NULL);
	dump__pointer(nodes->dump, pointer);
	dump__end(nodes->dump);
}

static void
show_dead(struct dump *dump, const struct job *job)
{
	struct nodes nodes = { .dump = dump, .kind = job->tree_kind };
	struct tree_dismantle visit = {
		.entry = meet_dead_entry,
		.node = meet_dead_node,
		.context = &nodes,
	};
	struct tree_cursor cursor = job->cursor;
	uint64_t steps_max = dump->sb.blocks;
	bool done = job->root.levels == 0;

	dump__root(dump, "root", &job->root);
	dump__bytes(dump, "cursor", view_of(job->cursor.key, job->cursor.bytes));
	dump__array(dump, "nodes");
	for (uint64_t step = 0; !done && !dump->err && step < steps_max; step++) {
		int err = tree_dismantle(
			dump->env, job->tree_kind, &job->root, &cursor, &visit, &cursor, &done);

		if (err == 0)
			continue;
		dump__object(dump, NULL);
		dump__problem(dump, err);
		dump__end(dump);
		if (visit.skip_damaged)
			break; /* the root itself */
		visit.skip_damaged = true;
	}
	dump__end(dump);
}

/* ---- Counts of references that the share tree does not say yet ------------------------------- */

static void
show_share_changes(struct dump *dump)
{
	struct share_change change;
	uint64_t from = 0;

	if (!dump->volume)
		return;
	dump__array(dump, "changes");
	while (!dump->err && volume_share_change(dump->volume, from, &change)) {
		dump__object(dump, NULL);
		dump__unsigned(dump, "addr", change.addr);
		dump__unsigned(dump, "blocks", change.blocks);
		dump__signed(dump, "change", change.change);
		dump__end(dump);
		from = change.addr + change.blocks;
	}
	dump__end(dump);
}

/* ---- One tree by name ------------------------------------------------------------------------ */

static int
tree_of_object(struct dump *dump, enum tree_kind kind, struct tree_root *out_root)
{
	struct tree objects = { .env = dump->env, .kind = TREE_OBJECTS };
	uint8_t value[ROOT_RECORD_BYTES];
	uint8_t key[ROOT_KEY_BYTES];
	size_t bytes;
	int err = dump__objects_root(dump, &objects.root);

	if (err)
		return err;
	err = tree_get(
		&objects, root_key(key, dump->options.number, kind), value, sizeof value, &bytes);
	if (err == COP_ENOENT)
		return fail(COP_ENOENT, "object %" PRIu64 " has no %s tree", dump->options.number,
			dump__kind_name(kind));
	if (err == 0 && bytes != sizeof value)
		err = fail(COP_EFORMAT, "a root record of %zu bytes", bytes);
	return err ? err : root_record_decode(value, out_root);
}

static int
dead_tree(struct dump *dump, struct job *out_job)
{
	struct tree catalog = { .env = dump->env, .kind = TREE_CATALOG, .root = dump->catalog };
	uint8_t value[JOB_BYTES_MAX];
	uint8_t key[CATALOG_KEY_BYTES];
	size_t bytes;
	int err = tree_get(&catalog, catalog_key(key, CATALOG_JOB, dump->options.number), value,
		sizeof value, &bytes);

	if (err == 0)
		err = job_decode(view_of(value, bytes), out_job);
	if (err == 0 && out_job->program != JOB_DISMANTLE)
		err = fail(COP_ENOENT, "it takes no tree apart");
	return err ? fail_in(err, "job %" PRIu64, dump->options.number) : 0;
}

int
dump__tree(struct dump *dump)
{
	enum tree_kind kind = TREE_CATALOG;
	struct tree_root root = dump->catalog;
	struct job job;
	int err = 0;

	switch (dump->options.tree) {
	case COP_DUMP_CATALOG:
		break;
	case COP_DUMP_OBJECTS:
		kind = TREE_OBJECTS;
		err = dump__objects_root(dump, &root);
		break;
	case COP_DUMP_SHARES:
		kind = TREE_SHARES;
		root = dump->sb.shares;
		break;
	case COP_DUMP_CONTENT:
		kind = TREE_CONTENT;
		err = tree_of_object(dump, kind, &root);
		break;
	case COP_DUMP_DIRECTORY:
		kind = TREE_DIRECTORY;
		err = tree_of_object(dump, kind, &root);
		break;
	case COP_DUMP_DEAD:
		err = dead_tree(dump, &job);
		if (err)
			return err;
		kind = job.tree_kind;
		break;
	default:
		return fail(COP_EINVAL, "a tree of kind %d", (int)dump->options.tree);
	}
	if (err)
		return err;
	dump__unsigned(dump, "generation", dump->sb.generation);
	dump__bool(dump, "is_replayed", dump->volume != NULL);
	dump__text(dump, "kind", dump__kind_name(kind));
	if (dump->options.tree == COP_DUMP_DEAD)
		show_dead(dump, &job);
	else
		show_nodes(dump, kind, &root);
	if (kind == TREE_SHARES)
		show_share_changes(dump);
	return 0;
}
