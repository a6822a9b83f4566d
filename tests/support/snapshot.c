#include "support/snapshot.h"

#include "base/checksum.h"
#include "coppice.h"
#include "support/must.h"

struct snapshot *
snapshot_create(void)
{
	return must_alloc(sizeof(struct snapshot));
}

struct snapshot *
snapshot_ref(struct snapshot *snapshot)
{
	snapshot->more_users++;
	return snapshot;
}

void
snapshot_free(struct snapshot *snapshot)
{
	if (!snapshot || snapshot->more_users-- > 0)
		return;
	for (size_t i = 0; i < snapshot->count; i++) {
		free(snapshot->entries[i].path);
		free(snapshot->entries[i].blocks);
	}
	free(snapshot->entries);
	free(snapshot);
}

struct snapshot_entry *
snapshot_add(struct snapshot *snapshot, const char *path)
{
	struct snapshot_entry *entry;

	snapshot->entries = must_grow(
		snapshot->entries, snapshot->count, &snapshot->capacity, sizeof *snapshot->entries);
	entry = &snapshot->entries[snapshot->count++];
	*entry = (struct snapshot_entry){ .path = must_have(strdup(path)) };
	return entry;
}

/* Blocks come in batches of 8: the capacity follows from the count. */
void
snapshot_add_block(struct snapshot_entry *entry, uint64_t index, uint64_t hash)
{
	if (entry->block_count % 8 == 0)
		entry->blocks = must_have(
			realloc(entry->blocks, (entry->block_count + 8) * sizeof *entry->blocks));
	entry->blocks[entry->block_count++] =
		(struct snapshot_block){ .index = index, .hash = hash };
}

static int
compare_paths(const void *a, const void *b)
{
	const struct snapshot_entry *left = a;
	const struct snapshot_entry *right = b;

	return strcmp(left->path, right->path);
}

void
snapshot_sort(struct snapshot *snapshot)
{
	qsort(snapshot->entries, snapshot->count, sizeof *snapshot->entries, compare_paths);
	for (size_t i = 0; i < snapshot->count; i++)
		snapshot->unreadable |= snapshot->entries[i].unreadable;
}

uint64_t
snapshot_xattr_hash(const char *name, const void *value, size_t bytes)
{
	return hash64(value, bytes, hash64(name, strlen(name), 0));
}

/* ---- Comparing ------------------------------------------------------------------------------ */

struct comparison {
	const struct snapshot *found;
	uint32_t allow;
	char *why;
	size_t why_bytes;
};

static bool
same_number(struct comparison *comparison, const char *path, const char *what, uint64_t found,
	uint64_t wanted)
{
	if (found == wanted)
		return true;
	snprintf(comparison->why, comparison->why_bytes, "%s: %s is %" PRIu64 ", not %" PRIu64,
		path, what, found, wanted);
	return false;
}

static bool
same_attributes(struct comparison *comparison, const struct snapshot_entry *found,
	const struct snapshot_entry *wanted)
{
	const char *path = found->path;

	return same_number(comparison, path, "id", found->id, wanted->id) &&
	       same_number(comparison, path, "kind", found->kind, wanted->kind) &&
	       same_number(comparison, path, "mode", found->mode, wanted->mode) &&
	       same_number(comparison, path, "uid", found->uid, wanted->uid) &&
	       same_number(comparison, path, "gid", found->gid, wanted->gid) &&
	       same_number(comparison, path, "doctype", found->doctype, wanted->doctype) &&
	       same_number(comparison, path, "links", found->links, wanted->links) &&
	       same_number(comparison, path, "length", found->length, wanted->length) &&
	       same_number(comparison, path, "device", found->device, wanted->device) &&
	       same_number(comparison, path, "created", (uint64_t)found->created_ns,
		       (uint64_t)wanted->created_ns) &&
	       same_number(comparison, path, "modified", (uint64_t)found->modified_ns,
		       (uint64_t)wanted->modified_ns) &&
	       same_number(comparison, path, "changed", (uint64_t)found->changed_ns,
		       (uint64_t)wanted->changed_ns);
}

/* Blocks that are unreadable say nothing; all others are there with the same hash. */
static bool
same_blocks(struct comparison *comparison, const struct snapshot_entry *found,
	const struct snapshot_entry *wanted)
{
	bool partial = found->unreadable & SNAPSHOT_NO_CONTENT;
	size_t at = 0;

	for (size_t i = 0; i < found->block_count; i++) {
		const struct snapshot_block *block = &found->blocks[i];

		while (partial && at < wanted->block_count &&
			wanted->blocks[at].index < block->index)
			at++;
		if (at < wanted->block_count && wanted->blocks[at].index == block->index) {
			if (block->hash != 0 && block->hash != wanted->blocks[at].hash)
				return same_number(comparison, found->path, "a wrong block's hash",
					block->hash, wanted->blocks[at].hash);
			at++;
		} else if (block->hash != 0) {
			return same_number(comparison, found->path, "a block that never was",
				block->index, UINT64_MAX);
		}
	}
	if (partial)
		return true;
	return same_number(comparison, found->path, "number of blocks with data",
		found->block_count, wanted->block_count);
}

static bool
same_entry(struct comparison *comparison, const struct snapshot_entry *found,
	const struct snapshot_entry *wanted)
{
	if (found->unreadable & ~comparison->allow) {
		snprintf(comparison->why, comparison->why_bytes, "%s: unreadable (%#x): %s",
			found->path, found->unreadable, cop_error_name(found->error));
		return false;
	}
	if (found->unreadable & SNAPSHOT_NO_OBJECT)
		return true;
	if (!same_attributes(comparison, found, wanted))
		return false;
	if (!(found->unreadable & SNAPSHOT_NO_XATTRS) &&
		(!same_number(comparison, found->path, "xattrs", found->xattrs, wanted->xattrs) ||
			!same_number(comparison, found->path, "xattrs' hash", found->xattrs_hash,
				wanted->xattrs_hash)))
		return false;
	if (found->kind == COP_SYMLINK)
		return (found->unreadable & SNAPSHOT_NO_CONTENT) ||
		       same_number(comparison, found->path, "target", found->target_hash,
			       wanted->target_hash);
	return same_blocks(comparison, found, wanted);
}

/* Is there a directory above `path` that could not be read whole? */
static bool
may_be_hidden(struct comparison *comparison, const char *path)
{
	char *above = must_have(strdup(path));
	bool hidden = false;

	while (!hidden && strcmp(above, "/") != 0) {
		char *slash = strrchr(above, '/');
		struct snapshot_entry key = { .path = above };
		const struct snapshot_entry *entry;

		slash[slash == above ? 1 : 0] = 0;
		entry = bsearch(&key, comparison->found->entries, comparison->found->count,
			sizeof key, compare_paths);
		hidden = entry && (entry->unreadable & (SNAPSHOT_NO_LISTING | SNAPSHOT_NO_OBJECT));
	}
	free(above);
	return hidden;
}

bool
snapshot_matches(const struct snapshot *found, const struct snapshot *wanted, uint32_t allow,
	char *why, size_t why_bytes)
{
	struct comparison comparison = {
		.found = found, .allow = allow, .why = why, .why_bytes = why_bytes
	};
	size_t at = 0;

	for (size_t i = 0; i < wanted->count; i++) {
		const struct snapshot_entry *entry = &wanted->entries[i];
		int order = at == found->count ? 1 : strcmp(found->entries[at].path, entry->path);

		if (order == 0) {
			if (!same_entry(&comparison, &found->entries[at++], entry))
				return false;
		} else if (order < 0) {
			snprintf(why, why_bytes, "%s should not be there", found->entries[at].path);
			return false;
		} else if (!may_be_hidden(&comparison, entry->path)) {
			snprintf(why, why_bytes, "%s is missing", entry->path);
			return false;
		}
	}
	if (at == found->count)
		return true;
	snprintf(why, why_bytes, "%s should not be there", found->entries[at].path);
	return false;
}
