#include "crash/late.h"

#include "coppice.h"
#include "support/must.h"

#include <stdlib.h>
#include <string.h>

static const struct snapshot *
snapshot_at(const struct history *history, size_t state)
{
	return oracle_snapshot(history->models[state]);
}

static const struct snapshot_entry *
find_path(const struct snapshot *snapshot, const char *path)
{
	for (size_t i = 0; i < snapshot->count; i++) {
		if (strcmp(snapshot->entries[i].path, path) == 0)
			return &snapshot->entries[i];
	}
	return NULL;
}

static const struct snapshot_entry *
find_id(const struct snapshot *snapshot, uint64_t id)
{
	for (size_t i = 0; i < snapshot->count; i++) {
		if (snapshot->entries[i].id == id)
			return &snapshot->entries[i];
	}
	return NULL;
}

/* Did the operation that led to `state` put the object's pages into history? */
static bool
forces(const struct history *history, size_t state, uint64_t id)
{
	const struct op *op = &history->ops[state];
	const struct snapshot_entry *entry = NULL;

	switch (op->type) {
	case OP_SET_LENGTH:
	case OP_PUNCH:
	case OP_PREALLOCATE:
		entry = find_path(snapshot_at(history, state), op->path);
		break;
	case OP_RENAME:
		if (find_path(snapshot_at(history, state - 1), op->path2))
			entry = find_path(snapshot_at(history, state), op->path2);
		break;
	default:
		break;
	}
	return entry && entry->id == id;
}

static bool
same_content(const struct snapshot_entry *a, const struct snapshot_entry *b)
{
	if (a->length != b->length || a->block_count != b->block_count)
		return false;
	for (size_t i = 0; i < a->block_count; i++) {
		if (a->blocks[i].index != b->blocks[i].index ||
			a->blocks[i].hash != b->blocks[i].hash)
			return false;
	}
	return true;
}

/*
 * Gives the wanted entry the content of an earlier state, if that is what was found. Its times are
 * then those of the write, or what was set since.
 */
static void
take_earlier(const struct history *history, size_t first, size_t state,
	const struct snapshot_entry *found, struct snapshot_entry *wanted)
{
	const struct snapshot_entry newest = *wanted;

	if (found->unreadable || found->id != wanted->id || same_content(found, wanted))
		return;
	while (state > first && !forces(history, state, wanted->id)) {
		const struct snapshot_entry *earlier =
			find_id(snapshot_at(history, --state), wanted->id);

		if (!earlier)
			return;
		if (!same_content(found, earlier))
			continue;
		wanted->length = earlier->length;
		wanted->blocks = earlier->blocks;
		wanted->block_count = earlier->block_count;
		if (found->modified_ns == earlier->modified_ns)
			wanted->modified_ns = earlier->modified_ns;
		if (found->changed_ns >= earlier->changed_ns &&
			found->changed_ns <= newest.changed_ns)
			wanted->changed_ns = found->changed_ns;
		return;
	}
}

bool
late_matches(
	const struct history *history, size_t first, size_t state, const struct snapshot *found)
{
	const struct snapshot *newest = snapshot_at(history, state);
	struct snapshot wanted = *newest;
	char why[256];
	bool matches;

	if (found->count != newest->count)
		return false;
	wanted.entries = must_alloc(newest->count * sizeof *wanted.entries);
	memcpy(wanted.entries, newest->entries, newest->count * sizeof *wanted.entries);
	for (size_t i = 0; i < wanted.count; i++) {
		if (wanted.entries[i].kind == COP_FILE &&
			strcmp(found->entries[i].path, wanted.entries[i].path) == 0)
			take_earlier(history, first, state, &found->entries[i], &wanted.entries[i]);
	}
	matches = snapshot_matches(found, &wanted, 0, why, sizeof why);
	free(wanted.entries);
	return matches;
}
