#include "support/snapshot.h"

#include "base/checksum.h"
#include "base/num.h"
#include "coppice.h"
#include "support/must.h"

enum {
	CHUNK_BYTES = 64 << 10,
	SPARSE_BYTES = 1 << 20, /* longer files are asked where their data is */
	ENTRIES_MAX = 20000,
	XATTR_LIST_BYTES = 8192,
	PATH_BYTES = 1 << 16,
};

/* A name met in a listing, and its directory. */
struct pending {
	char *path;
	uint64_t listed_id;
	uint32_t listed_kind;
	uint64_t parent_id;
};

struct walker {
	struct cop_volume *volume;
	struct cop_object *root;
	struct snapshot *snapshot;
	struct pending *pending; /* a stack */
	size_t pending_count;
	size_t pending_capacity;
	const char *listing_path; /* of the directory that is being listed */
	uint64_t listing_id;
	uint8_t *buffer; /* CHUNK_BYTES */
};

struct snapshot *
snapshot_create(void)
{
	return must_alloc(sizeof(struct snapshot));
}

void
snapshot_free(struct snapshot *snapshot)
{
	if (!snapshot)
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

/* ---- Reading a volume ----------------------------------------------------------------------- */

static void
mark(struct snapshot_entry *entry, uint32_t what, int error)
{
	entry->unreadable |= what;
	if (entry->error == 0)
		entry->error = error;
}

static bool
is_zero(const uint8_t *data, size_t bytes)
{
	return bytes == 0 || (data[0] == 0 && memcmp(data, data + 1, bytes - 1) == 0);
}

/* Hashes the blocks of `buffer`; the last one is filled up with zeros. */
static void
add_blocks(struct snapshot_entry *entry, uint64_t offset, uint8_t *buffer, size_t bytes)
{
	size_t whole = div_up(bytes, COP_BLOCK_BYTES) * COP_BLOCK_BYTES;

	memset(buffer + bytes, 0, whole - bytes);
	for (size_t at = 0; at < whole; at += COP_BLOCK_BYTES)
		if (!is_zero(buffer + at, COP_BLOCK_BYTES))
			snapshot_add_block(entry, (offset + at) / COP_BLOCK_BYTES,
				hash64(buffer + at, COP_BLOCK_BYTES, 0) | 1);
}

/* After the chunk could not be read whole: what can be, block by block. */
static void
read_block_by_block(struct walker *walker, struct cop_object *object, struct snapshot_entry *entry,
	uint64_t offset, uint64_t end)
{
	for (; offset < end; offset += COP_BLOCK_BYTES) {
		uint64_t bytes = min_u64(COP_BLOCK_BYTES, end - offset);
		size_t read = 0;
		int err = cop_read(object, offset, walker->buffer, bytes, &read);

		if (!err && read != bytes)
			err = COP_EFORMAT;
		if (err) {
			mark(entry, SNAPSHOT_NO_CONTENT, err);
			snapshot_add_block(entry, offset / COP_BLOCK_BYTES, 0);
		} else {
			add_blocks(entry, offset, walker->buffer, read);
		}
	}
}

static void
read_range(struct walker *walker, struct cop_object *object, struct snapshot_entry *entry,
	uint64_t offset, uint64_t end)
{
	for (; offset < end; offset += CHUNK_BYTES) {
		uint64_t bytes = min_u64(CHUNK_BYTES, end - offset);
		size_t read = 0;

		if (cop_read(object, offset, walker->buffer, bytes, &read) == 0 && read == bytes)
			add_blocks(entry, offset, walker->buffer, read);
		else
			read_block_by_block(walker, object, entry, offset, offset + bytes);
	}
}

/* Long files are read where they have data; the rest must be holes, which read as zeros. */
static void
read_content(struct walker *walker, struct cop_object *object, struct snapshot_entry *entry)
{
	uint64_t offset = 0;

	if (entry->length <= SPARSE_BYTES) {
		read_range(walker, object, entry, 0, entry->length);
		return;
	}
	while (offset < entry->length) {
		uint64_t data;
		uint64_t hole;
		int err = cop_seek_data(object, offset, &data);

		if (err == COP_ENODATA)
			return;
		if (!err)
			err = cop_seek_hole(object, data, &hole);
		if (!err && (data < offset || hole <= data))
			err = COP_EFORMAT;
		if (err) {
			mark(entry, SNAPSHOT_NO_CONTENT, err);
			return;
		}
		data -= data % COP_BLOCK_BYTES;
		hole = min_u64(div_up(hole, COP_BLOCK_BYTES) * COP_BLOCK_BYTES, entry->length);
		read_range(walker, object, entry, data, hole);
		offset = hole;
	}
}

static void
read_target(struct walker *walker, struct cop_object *object, struct snapshot_entry *entry)
{
	size_t bytes = 0;
	int err = cop_readlink(object, (char *)walker->buffer, CHUNK_BYTES, &bytes);

	if (err)
		mark(entry, SNAPSHOT_NO_CONTENT, err);
	else
		entry->target_hash = hash64(walker->buffer, bytes, 0);
}

static void
read_xattrs(struct walker *walker, struct cop_object *object, struct snapshot_entry *entry)
{
	char names[XATTR_LIST_BYTES];
	size_t bytes = 0;
	int err = cop_xattr_list(object, names, sizeof names, &bytes);

	if (err) {
		mark(entry, SNAPSHOT_NO_XATTRS, err);
		return;
	}
	for (size_t at = 0; at < bytes; at += strlen(names + at) + 1) {
		size_t value_bytes = 0;

		err = cop_xattr_get(object, names + at, walker->buffer, CHUNK_BYTES, &value_bytes);
		if (err) {
			mark(entry, SNAPSHOT_NO_XATTRS, err);
			continue;
		}
		entry->xattrs++;
		entry->xattrs_hash += snapshot_xattr_hash(names + at, walker->buffer, value_bytes);
	}
}

static bool
remember_entry(void *context, const struct cop_entry *listed)
{
	struct walker *walker = context;
	struct pending *pending;
	size_t path_bytes = strlen(walker->listing_path);
	char *path = must_alloc(path_bytes + listed->name_bytes + 2);

	memcpy(path, walker->listing_path, path_bytes);
	if (path_bytes > 1)
		path[path_bytes++] = '/';
	memcpy(path + path_bytes, listed->name, listed->name_bytes);

	walker->pending = must_grow(walker->pending, walker->pending_count,
		&walker->pending_capacity, sizeof *walker->pending);
	pending = &walker->pending[walker->pending_count++];
	*pending = (struct pending){
		.path = path,
		.listed_id = listed->id,
		.listed_kind = listed->kind,
		.parent_id = walker->listing_id,
	};
	return walker->pending_count < ENTRIES_MAX;
}

static void
list_directory(struct walker *walker, struct cop_object *directory, struct snapshot_entry *entry)
{
	uint64_t cookie = 0;

	walker->listing_path = entry->path;
	walker->listing_id = entry->id;
	while (cookie != UINT64_MAX) {
		uint64_t next = cookie;
		int err = cop_list(directory, cookie, remember_entry, walker, &next);

		if (!err && (next <= cookie || walker->pending_count >= ENTRIES_MAX))
			err = COP_EFORMAT;
		if (err) {
			mark(entry, SNAPSHOT_NO_LISTING, err);
			return;
		}
		cookie = next;
	}
}

static void
copy_attr(struct snapshot_entry *entry, const struct cop_attr *attr)
{
	entry->id = attr->id;
	entry->kind = attr->kind;
	entry->mode = attr->mode;
	entry->uid = attr->uid;
	entry->gid = attr->gid;
	entry->doctype = attr->doctype;
	entry->links = attr->kind == COP_DIRECTORY ? 0 : attr->links;
	entry->length = attr->length;
	entry->device = attr->device;
	entry->created_ns = attr->created_ns;
	entry->changed_ns = attr->changed_ns;
	entry->modified_ns = attr->modified_ns;
}

static void
read_object(struct walker *walker, struct cop_object *object, struct snapshot_entry *entry)
{
	struct cop_attr attr = COP_INIT(attr);
	int err = cop_stat(object, &attr);

	if (err) {
		mark(entry, SNAPSHOT_NO_OBJECT, err);
		return;
	}
	copy_attr(entry, &attr);
	read_xattrs(walker, object, entry);
	if (attr.kind == COP_FILE)
		read_content(walker, object, entry);
	else if (attr.kind == COP_SYMLINK)
		read_target(walker, object, entry);
	else if (attr.kind == COP_DIRECTORY)
		list_directory(walker, object, entry);
}

/* Names must lead where the listing says. */
static void
read_pending(struct walker *walker, const struct pending *pending)
{
	struct snapshot_entry *entry = snapshot_add(walker->snapshot, pending->path);
	const char *name = strrchr(pending->path, '/') + 1;
	struct cop_object *parent = NULL;
	struct cop_object *object = NULL;
	int err = cop_get(walker->root, pending->parent_id, &parent);

	if (!err)
		err = cop_lookup(parent, name, strlen(name), &object);
	if (!err && cop_id(object) != pending->listed_id)
		err = COP_EFORMAT;
	if (err) {
		entry->id = pending->listed_id;
		entry->kind = pending->listed_kind;
		mark(entry, SNAPSHOT_NO_OBJECT, err);
	} else {
		read_object(walker, object, entry);
		if (entry->kind != pending->listed_kind && !entry->unreadable)
			mark(entry, SNAPSHOT_NO_OBJECT, COP_EFORMAT);
	}
	cop_release(object);
	cop_release(parent);
}

int
snapshot_of_volume(struct cop_volume *volume, struct snapshot **out_snapshot)
{
	struct walker walker = { .volume = volume };
	int err = cop_root(volume, NULL, &walker.root);

	if (err)
		return err;
	walker.snapshot = snapshot_create();
	walker.buffer = must_alloc(CHUNK_BYTES);
	read_object(&walker, walker.root, snapshot_add(walker.snapshot, "/"));
	while (!err && walker.pending_count > 0) {
		struct pending pending = walker.pending[--walker.pending_count];

		if (strlen(pending.path) >= PATH_BYTES || walker.snapshot->count >= ENTRIES_MAX)
			err = fail(COP_EFORMAT, "a volume without end");
		else
			read_pending(&walker, &pending);
		free(pending.path);
	}
	while (walker.pending_count > 0)
		free(walker.pending[--walker.pending_count].path);
	free(walker.pending);
	free(walker.buffer);
	cop_release(walker.root);
	if (err) {
		snapshot_free(walker.snapshot);
		return err;
	}
	snapshot_sort(walker.snapshot);
	*out_snapshot = walker.snapshot;
	return 0;
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
				return same_number(comparison, found->path, "a wrong block", 1, 0);
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
