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
	const struct snapshot_entry *moved;
	const struct snapshot_entry *replaced;

	switch (op->type) {
	case OP_BARRIER:
		return true;
	case OP_SYNC_OBJECT:
	case OP_SET_LENGTH:
	case OP_PUNCH:
	case OP_PREALLOCATE:
		entry = find_path(snapshot_at(history, state), op->path);
		break;
	case OP_RENAME:
		/* Of two names of one object nothing happens. */
		moved = find_path(snapshot_at(history, state - 1), op->path);
		replaced = find_path(snapshot_at(history, state - 1), op->path2);
		if (moved && replaced && moved->id != replaced->id)
			entry = find_path(snapshot_at(history, state), op->path2);
		break;
	default:
		break;
	}
	return entry && entry->id == id;
}

static const struct snapshot_block *
find_block(const struct snapshot_entry *entry, uint64_t index)
{
	for (size_t i = 0; i < entry->block_count; i++) {
		if (entry->blocks[i].index == index)
			return &entry->blocks[i];
	}
	return NULL;
}

/* As far as it can be read. */
static bool
same_content(const struct snapshot_entry *found, const struct snapshot_entry *wanted)
{
	const bool partial = found->unreadable & SNAPSHOT_NO_CONTENT;

	if (found->length != wanted->length ||
		(!partial && found->block_count != wanted->block_count))
		return false;
	for (size_t i = 0; i < found->block_count; i++) {
		const struct snapshot_block *block =
			partial ? find_block(wanted, found->blocks[i].index) : &wanted->blocks[i];

		if (partial && found->blocks[i].hash == 0)
			continue;
		if (!block || block->index != found->blocks[i].index ||
			block->hash != found->blocks[i].hash)
			return false;
	}
	return true;
}

/* Where some of it cannot be read, contents of several states look the same; the time tells. */
static bool
is_of(const struct snapshot_entry *found, const struct snapshot_entry *wanted)
{
	const bool partial = found->unreadable & SNAPSHOT_NO_CONTENT;

	return same_content(found, wanted) &&
	       (!partial || found->modified_ns == wanted->modified_ns);
}

/*
 * Gives the wanted entry the content of an earlier state, if that is what was found, and says of
 * which. Its times are then those of the write, or what was set since.
 */
static size_t
take_earlier(const struct history *history, size_t first, size_t state,
	const struct snapshot_entry *found, struct snapshot_entry *wanted)
{
	const struct snapshot_entry newest = *wanted;
	const size_t last = state;

	if (found->unreadable & ~(uint32_t)SNAPSHOT_NO_CONTENT || found->id != wanted->id ||
		is_of(found, wanted))
		return last;
	while (state > first && !forces(history, state, wanted->id)) {
		const struct snapshot_entry *earlier =
			find_id(snapshot_at(history, --state), wanted->id);

		if (!earlier)
			return last;
		if (!is_of(found, earlier))
			continue;
		wanted->length = earlier->length;
		wanted->blocks = earlier->blocks;
		wanted->block_count = earlier->block_count;
		if (found->modified_ns == earlier->modified_ns)
			wanted->modified_ns = earlier->modified_ns;
		if (found->changed_ns >= earlier->changed_ns &&
			found->changed_ns <= newest.changed_ns)
			wanted->changed_ns = found->changed_ns;
		return state;
	}
	return last;
}

/* The model after `state` operations, with the contents of earlier ones that were found. */
static struct oracle *
make_model(const struct history *history, size_t state, const struct snapshot *wanted,
	const size_t *content_state)
{
	struct oracle *model = oracle_copy(history->models[state]);

	for (size_t i = 0; i < wanted->count; i++) {
		if (content_state[i] != state)
			oracle_take_content(
				model, history->models[content_state[i]], &wanted->entries[i]);
	}
	return model;
}

bool
late_matches(const struct history *history, size_t first, size_t state,
	const struct snapshot *found, uint32_t allow, struct oracle **out_model)
{
	const struct snapshot *newest = snapshot_at(history, state);
	struct snapshot wanted = *newest;
	size_t *content_state;
	char why[256];
	bool matches;

	if (found->count != newest->count)
		return false;
	content_state = must_alloc(newest->count * sizeof *content_state);
	wanted.entries = must_alloc(newest->count * sizeof *wanted.entries);
	memcpy(wanted.entries, newest->entries, newest->count * sizeof *wanted.entries);
	for (size_t i = 0; i < wanted.count; i++) {
		content_state[i] = state;
		if (wanted.entries[i].kind == COP_FILE &&
			strcmp(found->entries[i].path, wanted.entries[i].path) == 0)
			content_state[i] = take_earlier(
				history, first, state, &found->entries[i], &wanted.entries[i]);
	}
	matches = snapshot_matches(found, &wanted, allow, why, sizeof why);
	if (matches)
		*out_model = make_model(history, state, &wanted, content_state);
	free(wanted.entries);
	free(content_state);
	return matches;
}
