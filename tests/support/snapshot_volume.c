#include "support/snapshot.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/num.h"
#include "coppice.h"
#include "device/device.h"
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

static void
mark(struct snapshot_entry *entry, uint32_t what, int error)
{
	entry->unreadable |= what;
	if (entry->error == 0)
		entry->error = error;
}

/* Hashes the blocks of `buffer`; the last one is filled up with zeros. */
static void
add_blocks(struct snapshot_entry *entry, uint64_t offset, uint8_t *buffer, size_t bytes)
{
	size_t whole = div_up(bytes, COP_BLOCK_BYTES) * COP_BLOCK_BYTES;

	memset(buffer + bytes, 0, whole - bytes);
	for (size_t at = 0; at < whole; at += COP_BLOCK_BYTES)
		if (!bytes_are_zero(buffer + at, COP_BLOCK_BYTES))
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

/*
 * Another name of the object that was read before this one, as in a directory full of links: the
 * same handle gives the same answers, so they are copied.
 */
static bool
copy_last(struct walker *walker, struct snapshot_entry *entry, uint64_t id)
{
	const struct snapshot_entry *last = entry - 1;
	char *path = entry->path;

	if (last < walker->snapshot->entries || last->id != id || last->kind == COP_DIRECTORY)
		return false;
	*entry = *last;
	entry->path = path;
	entry->blocks = NULL;
	entry->block_count = 0;
	for (size_t i = 0; i < last->block_count; i++)
		snapshot_add_block(entry, last->blocks[i].index, last->blocks[i].hash);
	return true;
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
	} else if (!copy_last(walker, entry, pending->listed_id)) {
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
	walker.buffer = must_have(block_buffer_alloc(CHUNK_BYTES / COP_BLOCK_BYTES));
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
