/*
 * What a step of taking a dead tree apart gives up. The tree is only read. A node that others refer
 * to as well is not entered: the dead tree loses its reference to it, and what hangs on it stays
 * theirs. So what a step gives up depends on who refers to what, and is found out anew in a replay,
 * whose trees may have other nodes; there a step goes on to the end of whatever node it has begun,
 * and the job's own cursor says how far it came.
 */

#include "volume/volume_internal.h"

#include <stdlib.h>

struct collect {
	struct volume *volume;
	struct remains *remains;
	enum tree_kind kind;
	size_t runs_max;
	bool is_full;
	int err;
};

void
volume_remains_free(struct remains *remains)
{
	free(remains->runs);
	free(remains->nodes);
	*remains = (struct remains){ 0 };
}

static int
add_node(struct remains *remains, const struct tree_pointer *pointer, bool is_shared)
{
	if (remains->node_count == remains->node_capacity) {
		size_t capacity = remains->node_capacity == 0 ? 8 : remains->node_capacity * 2;
		struct remains_node *grown = realloc(remains->nodes, capacity * sizeof *grown);

		if (!grown)
			return fail(COP_ENOMEM, "nodes of a dead tree");
		remains->nodes = grown;
		remains->node_capacity = capacity;
	}
	remains->nodes[remains->node_count++] = (struct remains_node){ *pointer, is_shared };
	return 0;
}

static int
add_run(struct remains *remains, struct run run, uint64_t birth)
{
	if (remains->run_count == remains->run_capacity) {
		size_t capacity = remains->run_capacity == 0 ? 16 : remains->run_capacity * 2;
		struct remains_run *grown = realloc(remains->runs, capacity * sizeof *grown);

		if (!grown)
			return fail(COP_ENOMEM, "data of a dead tree");
		remains->runs = grown;
		remains->run_capacity = capacity;
	}
	remains->runs[remains->run_count++] = (struct remains_run){ run, birth };
	return 0;
}

static void
take_entry(void *context, struct view key, struct view value)
{
	struct collect *collect = context;
	struct remains *remains = collect->remains;
	struct remains_run *last =
		remains->run_count == 0 ? NULL : &remains->runs[remains->run_count - 1];
	struct run run;
	uint64_t birth;

	if (collect->is_full || collect->err ||
		!collect->volume->options.entry_run(collect->kind, key, value, &run, &birth))
		return;
	if (last && last->run.addr + last->run.blocks == run.addr) {
		last->run.blocks += run.blocks;
		last->birth = birth < last->birth ? birth : last->birth;
		return;
	}
	if (remains->run_count == collect->runs_max) {
		collect->is_full = true;
		memcpy(remains->next.key, key.data, key.bytes);
		remains->next.bytes = (uint32_t)key.bytes;
		return;
	}
	collect->err = add_run(remains, run, birth);
}

static void
take_node(void *context, const struct tree_pointer *pointer)
{
	struct collect *collect = context;

	/* When it is full, the node ends after the cursor at which its leaf comes again. */
	if (!collect->is_full && !collect->err)
		collect->err = add_node(collect->remains, pointer, false);
}

static bool
ask_shared(void *context, const struct tree_pointer *pointer, uint8_t level)
{
	struct collect *collect = context;
	bool is_shared = false;

	(void)level;
	if (collect->err == 0)
		collect->err = volume__shares_look(collect->volume, pointer, &is_shared);
	if (collect->err)
		return true; /* to come to an end */
	if (is_shared)
		collect->err = add_node(collect->remains, pointer, true);
	return is_shared;
}

/* One leaf, or one node that is shared. */
static int
collect_once(
	struct collect *collect, const struct tree_root *root, const struct tree_cursor *cursor)
{
	struct tree_dismantle visit = {
		.entry = take_entry,
		.node = take_node,
		.is_shared = ask_shared,
		.context = collect,
	};
	struct remains *remains = collect->remains;
	struct tree_cursor next = { 0 };
	size_t runs = remains->run_count;
	size_t nodes = remains->node_count;
	int err;

	for (;;) {
		remains->run_count = runs;
		remains->node_count = nodes;
		collect->is_full = false;
		err = tree_dismantle(&collect->volume->env, collect->kind, root, cursor, &visit,
			&next, &remains->is_done);
		if (!err_is_damage(err) || visit.skip_damaged || collect->err)
			break;
		/* What cannot be read cannot be freed; all else is. */
		err_clear();
		visit.skip_damaged = true;
	}
	if (collect->err)
		return collect->err;
	if (err)
		return err;
	if (collect->is_full)
		remains->is_done = false;
	else
		remains->next = next;
	return 0;
}

int
volume_remains(struct volume *volume, enum tree_kind kind, const struct tree_root *root,
	const struct tree_cursor *cursor, size_t runs_max, struct remains *remains)
{
	struct collect collect = {
		.volume = volume,
		.remains = remains,
		.kind = kind,
		.runs_max = runs_max,
	};

	remains->run_count = 0;
	remains->node_count = 0;
	remains->is_done = root->levels == 0;
	return remains->is_done ? 0 : collect_once(&collect, root, cursor);
}

static int
compare_cursor(const struct tree_cursor *a, struct view b)
{
	return view_compare(view_of(a->key, a->bytes), b);
}

int
volume__remains_until(struct volume *volume, enum tree_kind kind, const struct tree_root *root,
	const struct tree_cursor *cursor, const struct view *until, struct remains *remains)
{
	struct collect collect = {
		.volume = volume,
		.remains = remains,
		.kind = kind,
		.runs_max = SIZE_MAX,
	};
	int err = 0;

	remains->next = *cursor;
	remains->is_done = root->levels == 0;
	while (err == 0 && !remains->is_done &&
		(!until || compare_cursor(&remains->next, *until) < 0)) {
		struct tree_cursor from = remains->next;

		err = collect_once(&collect, root, &from);
	}
	return err;
}
