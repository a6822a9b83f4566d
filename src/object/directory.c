#include "object/directory.h"

/* ---- Reading --------------------------------------------------------------------------------- */

int
directory_load(struct cop_object *object, struct directory *out)
{
	int err;

	if (object->kind != COP_DIRECTORY)
		return fail(COP_ENOTDIR, "object %" PRIu64 " is not a directory", object->id);
	out->object = object;
	err = record_load(object, &out->loaded);
	if (err)
		return err;
	if (out->loaded.record.kind != COP_DIRECTORY)
		return fail(COP_EFORMAT, "object %" PRIu64 " is no directory any more", object->id);
	if (out->loaded.record.links == 0)
		return fail(COP_ESTALE, "directory %" PRIu64 " has been removed", object->id);
	return 0;
}

static uint64_t
seed_of(const struct directory *dir)
{
	return volume_name_seed(dir->object->volume->volume);
}

static int
find_inline(struct view content, struct view name, struct entry *out)
{
	struct reader r = reader_over(content.data, content.bytes);

	while (r.at < r.bytes) {
		struct entry entry;
		int err = entry_inline_decode(&r, &entry);

		if (err)
			return err;
		if (view_equal(entry.name, name)) {
			*out = (struct entry){ .id = entry.id, .kind = entry.kind, .name = name };
			return 0;
		}
	}
	return fail(COP_ENOENT, "not found");
}

int
directory_find(const struct directory *dir, struct view name, struct entry *out)
{
	struct entry entry = { .name = name };
	uint8_t key[ENTRY_KEY_BYTES_MAX];
	uint8_t value[ENTRY_VALUE_BYTES];
	struct tree *tree;
	size_t bytes;
	int err;

	if (dir->loaded.record.form != COP_FORM_TREE) {
		err = find_inline(dir->loaded.record.content, name, out);
	} else {
		err = handle_tree(dir->object, &tree);
		if (err == 0)
			err = tree_get(tree, entry_key(key, name, seed_of(dir)), value,
				sizeof value, &bytes);
		if (err == COP_ERANGE)
			err = fail(COP_EFORMAT, "directory entry of %zu bytes", bytes);
		if (err == 0)
			err = entry_value_decode(view_of(value, bytes), &entry);
		if (err == 0)
			*out = entry;
	}
	if (err && err != COP_ENOENT)
		return fail_in(err, "directory %" PRIu64, dir->object->id);
	return err;
}

/* ---- Changing -------------------------------------------------------------------------------- */

static int
put_in_tree(struct directory *dir, struct tx *tx, const struct entry *entry)
{
	uint8_t key[ENTRY_KEY_BYTES_MAX];
	uint8_t value[ENTRY_VALUE_BYTES];

	entry_value_encode(entry, value);
	return tx_put(tx, handle_tree_name(dir->object), entry_key(key, entry->name, seed_of(dir)),
		view_of(value, sizeof value));
}

/* Every entry of the record becomes one of the tree. */
static int
move_to_tree(struct directory *dir, struct tx *tx)
{
	struct record *record = &dir->loaded.record;
	struct reader r = reader_over(record->content.data, record->content.bytes);

	while (r.at < r.bytes) {
		struct entry entry;
		int err = entry_inline_decode(&r, &entry);

		if (err == 0)
			err = put_in_tree(dir, tx, &entry);
		if (err)
			return err;
	}
	record->content = view_of(NULL, 0);
	record->form = COP_FORM_TREE;
	return 0;
}

static bool
fits_inline(const struct directory *dir, const struct entry *entry)
{
	const struct record *record = &dir->loaded.record;
	uint32_t max = dir->object->volume->content_max;

	return record->length < DIRECTORY_INLINE_ENTRIES_MAX &&
	       record->content.bytes + ENTRY_INLINE_FIXED_BYTES + entry->name.bytes <= max;
}

int
directory_insert(struct directory *dir, struct tx *tx, const struct entry *entry)
{
	struct record *record = &dir->loaded.record;
	int err = 0;

	if (record->form != COP_FORM_TREE && fits_inline(dir, entry)) {
		struct writer w = writer_over(dir->content, sizeof dir->content);

		w.at = record->content.bytes;
		if (record->content.bytes > 0)
			memmove(dir->content, record->content.data, record->content.bytes);
		entry_inline_encode(entry, &w);
		assert(!w.bad);
		record->content = view_of(dir->content, w.at);
		record->form = COP_FORM_INLINE;
	} else {
		if (record->form != COP_FORM_TREE)
			err = move_to_tree(dir, tx);
		if (err == 0)
			err = put_in_tree(dir, tx, entry);
	}
	if (err)
		return err;
	record->length++;
	if (entry->kind == COP_DIRECTORY)
		record->links++;
	return 0;
}

static int
remove_inline(struct directory *dir, const struct entry *gone)
{
	struct record *record = &dir->loaded.record;
	struct reader r = reader_over(record->content.data, record->content.bytes);
	size_t kept = 0;

	while (r.at < r.bytes) {
		size_t start = r.at;
		struct entry entry;
		int err = entry_inline_decode(&r, &entry);

		if (err)
			return err;
		if (view_equal(entry.name, gone->name))
			continue;
		memmove(dir->content + kept, record->content.data + start, r.at - start);
		kept += r.at - start;
	}
	record->content = view_of(dir->content, kept);
	return 0;
}

int
directory_remove(struct directory *dir, struct tx *tx, const struct entry *entry)
{
	struct record *record = &dir->loaded.record;
	uint8_t key[ENTRY_KEY_BYTES_MAX];
	int err;

	if (record->length == 0)
		return fail(COP_EFORMAT, "directory %" PRIu64 " counts too few entries",
			dir->object->id);
	if (record->form == COP_FORM_TREE)
		err = tx_delete(tx, handle_tree_name(dir->object),
			entry_key(key, entry->name, seed_of(dir)));
	else
		err = remove_inline(dir, entry);
	if (err)
		return err;
	record->length--;
	if (record->length == 0 && record->form == COP_FORM_TREE) {
		record->form = COP_FORM_INLINE;
		record->content = view_of(NULL, 0);
	}
	if (entry->kind == COP_DIRECTORY) {
		if (record->links <= 2)
			return fail(COP_EFORMAT, "directory %" PRIu64 " counts too few links",
				dir->object->id);
		record->links--;
	}
	return 0;
}

int
directory_put(struct directory *dir, struct tx *tx)
{
	record_touch(dir->object->volume, &dir->loaded.record, true);
	return record_put(tx, dir->object->branch, dir->object->id, &dir->loaded.record);
}
