/* Keys and values, by the tree that they are of. What does not decode is shown as it is. */

#include "check/dump_internal.h"

#include "object/directory_format.h"

#include <stdlib.h>

enum { XATTR_NAME_AT = OBJECT_KEY_BYTES + 8 };

const char *
dump__kind_name(enum tree_kind kind)
{
	switch (kind) {
	case TREE_CATALOG:
		return "catalog";
	case TREE_OBJECTS:
		return "objects";
	case TREE_TAGS:
		return "tags";
	case TREE_SHARES:
		return "shares";
	case TREE_CONTENT:
		return "content";
	case TREE_DIRECTORY:
		return "directory";
	}
	return "unknown";
}

/* ---- Content --------------------------------------------------------------------------------- */

void
dump__extent(struct dump *dump, const struct extent *extent)
{
	dump__unsigned(dump, "first", extent->first);
	dump__unsigned(dump, "blocks", extent->blocks);
	dump__unsigned(dump, "addr", extent->addr);
	dump__unsigned(dump, "birth", extent->birth);
	dump__unsigned(dump, "flags", extent->flags);
	if (!dump__wants_all(dump) || extent->flags & EXTENT_UNWRITTEN)
		return;
	dump__array(dump, "checksums");
	for (uint32_t i = 0; i < extent_stored_blocks(extent) && i < EXTENT_BLOCKS_MAX; i++)
		dump__word(dump, NULL, extent->checksums[i]);
	dump__end(dump);
}

static void
show_extent(struct dump *dump, struct view key, struct view value)
{
	struct extent extent;
	int err = extent_decode_entry(key, value, &extent);

	if (err)
		dump__problem(dump, err);
	else
		dump__extent(dump, &extent);
}

static void
show_listed_extents(struct dump *dump, struct view content)
{
	struct reader r = reader_over(content.data, content.bytes);

	dump__array(dump, "extents");
	while (r.at < r.bytes && !dump->err) {
		struct extent extent;
		int err = extent_decode_listed(&r, &extent);

		dump__object(dump, NULL);
		if (err)
			dump__problem(dump, err);
		else
			dump__extent(dump, &extent);
		dump__end(dump);
		if (err)
			break;
	}
	dump__end(dump);
}

/* ---- Shares ---------------------------------------------------------------------------------- */

static void
show_share(struct dump *dump, struct view key, struct view value)
{
	struct share_range range;
	int err = share_decode(key, value, &range);

	if (err) {
		dump__problem(dump, err);
		dump__bytes(dump, "value", value);
		return;
	}
	dump__unsigned(dump, "addr", range.addr);
	dump__unsigned(dump, "blocks", range.blocks);
	dump__unsigned(dump, "extra", range.extra);
}

/* ---- Directories ----------------------------------------------------------------------------- */

static void
show_entry(struct dump *dump, const struct entry *entry)
{
	dump__name(dump, "name", entry->name);
	dump__id(dump, "id", entry->id);
	dump__unsigned(dump, "kind", entry->kind);
}

static void
show_directory_entry(struct dump *dump, struct view key, struct view value)
{
	struct entry entry;
	uint64_t hash = 0;
	int err = entry_key_decode(key, dump->sb.name_seed, &hash, &entry.name);

	if (err == 0)
		err = entry_value_decode(value, &entry);
	if (err) {
		dump__problem(dump, err);
		return;
	}
	dump__word(dump, "hash", hash);
	show_entry(dump, &entry);
}

static void
show_inline_entries(struct dump *dump, struct view content)
{
	struct reader r = reader_over(content.data, content.bytes);

	dump__array(dump, "names");
	while (r.at < r.bytes && !dump->err) {
		struct entry entry;
		int err = entry_inline_decode(&r, &entry);

		dump__object(dump, NULL);
		if (err)
			dump__problem(dump, err);
		else
			show_entry(dump, &entry);
		dump__end(dump);
		if (err)
			break;
	}
	dump__end(dump);
}

/* ---- Objects --------------------------------------------------------------------------------- */

static void
show_times(struct dump *dump, const struct record *record)
{
	dump__signed(dump, "created_ns", record->created_ns);
	dump__signed(dump, "changed_ns", record->changed_ns);
	dump__signed(dump, "modified_ns", record->modified_ns);
	dump__signed(dump, "accessed_ns", record->accessed_ns);
}

static void
show_trims(struct dump *dump, const struct record *record)
{
	struct trims trims;

	record_trims(record, &trims);
	dump__unsigned(dump, "trim_job", record->trim_job);
	dump__array(dump, "trims");
	for (size_t i = 0; i < trims.count && !dump->err; i++) {
		dump__object(dump, NULL);
		dump__unsigned(dump, "first", trims.list[i].first);
		dump__unsigned(dump, "end", trims.list[i].end);
		dump__end(dump);
	}
	dump__end(dump);
}

void
dump__record(struct dump *dump, struct view value)
{
	struct record record;
	int err = record_decode(value, &record);

	if (err) {
		dump__problem(dump, err);
		dump__bytes(dump, "value", value);
		return;
	}
	dump__unsigned(dump, "kind", record.kind);
	dump__unsigned(dump, "form", record.form);
	dump__name(dump, "name", record.name);
	dump__id(dump, "parent", record.parent);
	dump__unsigned(dump, "links", record.links);
	dump__unsigned(dump, "length", record.length);
	dump__unsigned(dump, "allocated_blocks", record.allocated_blocks);
	dump__unsigned(dump, "mode", record.mode);
	dump__unsigned(dump, "uid", record.uid);
	dump__unsigned(dump, "gid", record.gid);
	dump__unsigned(dump, "doctype", record.doctype);
	dump__unsigned(dump, "flags", record.flags);
	dump__unsigned(dump, "device", record.device);
	dump__id(dump, "owner", record.owner);
	show_times(dump, &record);
	if (record.trim_job != 0)
		show_trims(dump, &record);
	if (record.form == COP_FORM_EXTENTS)
		show_listed_extents(dump, record.content);
	else if (record.form == COP_FORM_INLINE && record.kind == COP_DIRECTORY)
		show_inline_entries(dump, record.content);
	else if (record.form == COP_FORM_INLINE)
		dump__bytes(dump, "content", record.content);
}

static void
show_root(struct dump *dump, struct view key, struct view value)
{
	struct tree_root root;
	int err = 0;

	if (key.bytes == ROOT_KEY_BYTES)
		dump__text(dump, "kind", dump__kind_name(key.data[OBJECT_KEY_BYTES]));
	if (key.bytes != ROOT_KEY_BYTES || value.bytes != ROOT_RECORD_BYTES)
		err = fail(COP_EFORMAT, "a root record of %zu bytes", value.bytes);
	else
		err = root_record_decode(value.data, &root);
	if (err)
		dump__problem(dump, err);
	else
		dump__root(dump, "root", &root);
}

static void
show_further_name(struct dump *dump, struct view key)
{
	uint64_t parent = 0;
	struct view name = { 0 };
	int err = name_key_decode(key, dump->sb.name_seed, &parent, &name);

	if (err) {
		dump__problem(dump, err);
		return;
	}
	dump__id(dump, "parent", parent);
	dump__name(dump, "name", name);
}

static void
show_xattr(struct dump *dump, struct view key, struct view value, bool is_blob)
{
	if (key.bytes > XATTR_NAME_AT)
		dump__name(
			dump, "name", view_of(key.data + XATTR_NAME_AT, key.bytes - XATTR_NAME_AT));
	if (!is_blob) {
		dump__bytes(dump, "value", value);
	} else if (value.bytes >= 4) {
		dump__unsigned(dump, "value_bytes", get_le32(value.data));
		show_listed_extents(dump, view_of(value.data + 4, value.bytes - 4));
	} else {
		dump__problem(dump, fail(COP_EFORMAT, "a value of %zu bytes", value.bytes));
	}
}

static void
show_object_entry(struct dump *dump, struct view key, struct view value)
{
	static const char *const types[] = {
		[KEY_RECORD] = "record",
		[KEY_ROOT] = "root",
		[KEY_XATTR] = "xattr",
		[KEY_NAME] = "name",
		[KEY_XATTR_BLOB] = "xattr in extents",
		[KEY_ORPHAN] = "orphan",
	};
	uint8_t type = key.bytes < OBJECT_KEY_BYTES ? 0 : key.data[OBJECT_KEY_BYTES - 1];

	if (type == 0 || type >= sizeof types / sizeof types[0]) {
		dump__problem(dump, fail(COP_EFORMAT, "a key of an unknown type"));
		dump__bytes(dump, "value", value);
		return;
	}
	dump__id(dump, "object", get_be64(key.data));
	dump__text(dump, "type", types[type]);
	if (type == KEY_RECORD)
		dump__record(dump, value);
	else if (type == KEY_ROOT)
		show_root(dump, key, value);
	else if (type == KEY_NAME)
		show_further_name(dump, key);
	else if (type == KEY_ORPHAN && key.bytes == OBJECT_KEY_BYTES + 8)
		dump__id(dump, "orphan", get_be64(key.data + OBJECT_KEY_BYTES));
	else if (type != KEY_ORPHAN)
		show_xattr(dump, key, value, type == KEY_XATTR_BLOB);
}

/* ---- The catalog ----------------------------------------------------------------------------- */

static void
show_branch(struct dump *dump, struct view value)
{
	struct branch_record branch;
	int err = branch_decode(value, &branch);

	if (err) {
		dump__problem(dump, err);
		return;
	}
	dump__name(dump, "name", view_of(branch.name, branch.name_bytes));
	dump__id(dump, "root_object", branch.root_object);
	dump__unsigned(dump, "origin", branch.origin);
	dump__signed(dump, "created_ns", branch.created_ns);
	dump__root(dump, "objects", &branch.objects);
	dump__root(dump, "tags", &branch.tags);
}

static void
show_job(struct dump *dump, struct view value)
{
	struct job job;
	int err = job_decode(value, &job);

	if (err) {
		dump__problem(dump, err);
		return;
	}
	dump__text(dump, "program", job.program == JOB_DISMANTLE ? "dismantle" : "trim");
	dump__unsigned(dump, "branch", job.branch);
	dump__id(dump, "object", job.object);
	if (job.program != JOB_DISMANTLE)
		return;
	dump__text(dump, "kind", dump__kind_name(job.tree_kind));
	dump__root(dump, "root", &job.root);
	dump__bytes(dump, "cursor", view_of(job.cursor.key, job.cursor.bytes));
}

static void
show_catalog_entry(struct dump *dump, struct view key, struct view value)
{
	uint8_t type = key.bytes == 0 ? 0 : key.data[0];

	if (type == CATALOG_BRANCH_NAME) {
		dump__text(dump, "type", "branch name");
		dump__name(dump, "name", view_of(key.data + 1, key.bytes - 1));
		if (value.bytes == 8)
			dump__unsigned(dump, "number", get_be64(value.data));
		return;
	}
	if (key.bytes != CATALOG_KEY_BYTES || (type != CATALOG_BRANCH && type != CATALOG_JOB)) {
		dump__problem(dump, fail(COP_EFORMAT, "a key of an unknown type"));
		dump__bytes(dump, "value", value);
		return;
	}
	dump__text(dump, "type", type == CATALOG_JOB ? "job" : "branch");
	dump__unsigned(dump, "number", get_be64(key.data + 1));
	if (type == CATALOG_JOB)
		show_job(dump, value);
	else
		show_branch(dump, value);
}

void
dump__entry(struct dump *dump, const char *name, enum tree_kind kind, struct view key,
	struct view value)
{
	dump__object(dump, name);
	dump__bytes(dump, "key", key);
	switch (kind) {
	case TREE_CATALOG:
		show_catalog_entry(dump, key, value);
		break;
	case TREE_OBJECTS:
		show_object_entry(dump, key, value);
		break;
	case TREE_CONTENT:
		show_extent(dump, key, value);
		break;
	case TREE_DIRECTORY:
		show_directory_entry(dump, key, value);
		break;
	case TREE_SHARES:
		show_share(dump, key, value);
		break;
	case TREE_TAGS:
		dump__bytes(dump, "value", value);
		break;
	}
	dump__end(dump);
}
