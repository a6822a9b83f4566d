/*
 * The object tree. The keys of one object follow one another, its record first: what is learnt of
 * it is gathered until the next object's first key.
 */

#include "check/check_internal.h"

#include "base/checksum.h"
#include "base/num.h"
#include "object/directory_format.h"

enum {
	XATTR_NAME_AT = OBJECT_KEY_BYTES + 8,
	BLOB_LENGTH_BYTES = 4, /* before the extents of a large attribute */
};

/* The object whose keys are being met. */
struct gathered {
	uint64_t id;
	bool is_open; /* a key of it was seen */
	bool has_record;
	bool has_root;
	bool has_name; /* a primary one */
	enum cop_kind kind;
	enum cop_content_form form;
	uint32_t links;
	uint64_t length;
	uint64_t allocated_blocks;
	struct trims trims;
	uint64_t content_blocks; /* found */
	uint64_t entries;        /* found */
	uint64_t directories;    /* among them */
	uint64_t next_block;     /* extents must begin here or later */
	bool is_past_end;        /* some of it, and that has been told */
	bool is_partial;         /* a part of it is shared, and was met before */
	bool is_damaged;         /* something could not be read: counts prove nothing */
	bool next_is_damaged;    /* and so for the next object */
};

static void
problem(const struct walker *walker, const char *text)
{
	catalog__problem(walker, walker->gathered->id, text);
}

/* A part of this object makes no sense: its blocks, or names, are not known. */
static void
lose_part(struct walker *walker)
{
	struct checker *checker = walker->checker;

	walker->gathered->is_damaged = true;
	if (walker->is_previous)
		checker->previous_losses++;
	else
		checker->losses.nodes++;
}

void
objects__lost(struct walker *walker)
{
	walker->gathered->is_damaged = true;
	walker->gathered->next_is_damaged = true;
}

/* ---- Extents --------------------------------------------------------------------------------- */

static void
verify_extent(struct walker *walker, const struct extent *extent, const struct extent_place *place)
{
	uint64_t first = extent->first * BLOCK_BYTES;
	uint64_t bytes = (uint64_t)extent->blocks * BLOCK_BYTES;

	/* What lies wholly past the end is being freed, or has been told. */
	if (place->length > first)
		bytes = min_u64(bytes, place->length - first);
	data__verify(walker->checker, &(struct data_run){
					      .addr = extent->addr,
					      .object = place->object,
					      .offset = first,
					      .blocks = extent->blocks,
					      .bytes = (uint32_t)bytes,
					      .is_previous = walker->is_previous,
					      .what = place->what,
					      .checksums = extent->checksums,
				      });
}

/* What the journal carries itself lies in the cache only, once it has been replayed. */
static bool
is_carried(struct checker *checker, uint64_t addr, uint64_t checksum)
{
	struct cache *cache = volume_cache(checker->volume);
	struct buffer *buffer = cache_peek(cache, addr, checksum);
	bool is_whole;

	if (!buffer)
		return false;
	is_whole = buffer->blocks == 1 && checksum64(buffer->data, BLOCK_BYTES) == checksum;
	cache_release(cache, buffer);
	return is_whole;
}

static void
verify_replayed(
	struct walker *walker, const struct extent *extent, const struct extent_place *place)
{
	for (uint32_t i = 0; i < extent->blocks; i++) {
		struct extent one = *extent;

		extent_trim(&one, extent->first + i, 1);
		if (is_carried(walker->checker, one.addr, one.checksums[0]))
			(void)report__progress(walker->checker, BLOCK_BYTES);
		else
			verify_extent(walker, &one, place);
	}
}

static void
judge_extent(
	const struct walker *walker, const struct extent *extent, const struct extent_place *place)
{
	if (extent->birth > place->birth_max)
		catalog__problem(
			walker, place->object, "an extent that is younger than what it hangs on");
	if (extent->flags & ~(uint32_t)EXTENT_UNWRITTEN)
		catalog__problem(walker, place->object,
			"an extent of a kind that this version never writes");
	walker->checker->result.extents++;
}

void
objects__extent(
	struct walker *walker, const struct extent *extent, const struct extent_place *place)
{
	struct checker *checker = walker->checker;
	struct claim claim = {
		.addr = extent->addr,
		.blocks = extent_stored_blocks(extent),
		.birth = extent->birth,
		.object = place->object,
		.offset = extent->first * BLOCK_BYTES,
		.is_data = true,
		.what = place->what,
	};
	bool is_plain =
		(extent->flags & (EXTENT_UNWRITTEN | EXTENT_COMPRESSED | EXTENT_ENCRYPTED)) == 0;
	bool wants_data = is_plain && !(checker->options.flags & COP_CHECK_METADATA);
	enum claim_result result;

	if (walker->is_previous) {
		if (references__claim_previous(checker, &claim) == CLAIM_NEW && wants_data)
			verify_extent(walker, extent, place);
		return;
	}
	if (checker->is_first_pass)
		judge_extent(walker, extent, place);
	result = references__claim(checker, &claim);
	if (result == CLAIM_BAD)
		return;
	/* After a replay: what is older was verified before it. */
	if (checker->is_replayed && extent->birth < checker->replayed_from)
		wants_data = false;
	if (result == CLAIM_AGAIN)
		wants_data = false;
	if (wants_data && checker->is_first_pass && checker->is_replayed)
		verify_replayed(walker, extent, place);
	else if (wants_data && checker->is_first_pass)
		verify_extent(walker, extent, place); /* which counts as progress */
	else
		(void)report__progress(checker, claim.blocks * BLOCK_BYTES);
}

/* Against the record: where content may be, and where only what is being freed or unwritten. */
static void
add_content(struct walker *walker, const struct extent *extent)
{
	struct gathered *object = walker->gathered;
	uint64_t end = extent->first + extent->blocks;
	const struct trim_range *trim = trims_find(&object->trims, extent->first, end);
	bool is_trimmed = trim && trim->first <= extent->first && trim->end >= end;
	/* What is being freed is no content: where that ends says nothing of its bytes. */
	struct extent_place place = {
		.object = object->id,
		.length = is_trimmed ? COP_FILE_BYTES_MAX : object->length,
		.birth_max = walker->leaf_birth,
		.what = "data",
	};

	if (extent->first < object->next_block)
		problem(walker, "extents overlap");
	if (trim && !is_trimmed)
		problem(walker, "an extent across the border of a range that is being freed");
	if (!is_trimmed && !(extent->flags & EXTENT_UNWRITTEN) &&
		end > div_up(object->length, BLOCK_BYTES) && !object->is_past_end) {
		problem(walker, "data past the end of the content");
		object->is_past_end = true;
	}
	object->next_block = end;
	object->content_blocks += extent_stored_blocks(extent);
	objects__extent(walker, extent, &place);
}

static bool
visit_extent(void *context, struct view key, struct view value)
{
	struct walker *walker = context;
	struct extent extent;

	if (extent_decode_entry(key, value, &extent) == 0) {
		add_content(walker, &extent);
	} else {
		problem(walker, err_text());
		err_clear();
		lose_part(walker);
	}
	return !walker->checker->err;
}

static void
walk_listed_content(struct walker *walker, struct view listed)
{
	struct reader r = reader_over(listed.data, listed.bytes);

	while (r.at < r.bytes) {
		struct extent extent;

		if (extent_decode_listed(&r, &extent) != 0) {
			problem(walker, err_text());
			err_clear();
			lose_part(walker);
			return;
		}
		add_content(walker, &extent);
	}
}

/* ---- Directories ----------------------------------------------------------------------------- */

static void
add_entry(struct walker *walker, const struct entry *entry)
{
	struct gathered *object = walker->gathered;

	object->entries++;
	object->directories += entry->kind == COP_DIRECTORY;
	if (entry->id >= walker->sb->next_object)
		problem(walker, "an entry with a number that was never given");
	if (!walker->is_previous)
		tallies__entry(walker->checker, object->id, entry->name, entry->id, entry->kind);
}

static bool
visit_entry(void *context, struct view key, struct view value)
{
	struct walker *walker = context;
	struct entry entry;
	uint64_t hash;

	if (entry_key_decode(key, walker->sb->name_seed, &hash, &entry.name) != 0 ||
		entry_value_decode(value, &entry) != 0) {
		problem(walker, err_text());
		err_clear();
		walker->gathered->is_damaged = true;
		walker->checker->losses.entries += !walker->is_previous;
	} else {
		add_entry(walker, &entry);
	}
	return !walker->checker->err;
}

static void
walk_inline_entries(struct walker *walker, const struct record *record)
{
	struct reader r = reader_over(record->content.data, record->content.bytes);

	if (directory_inline_check(record->content, record->length) != 0) {
		problem(walker, err_text());
		walker->gathered->is_damaged = true; /* its counts have been judged */
	}
	while (r.at < r.bytes) {
		struct entry entry;

		if (entry_inline_decode(&r, &entry) != 0) {
			walker->checker->losses.entries += !walker->is_previous;
			break;
		}
		add_entry(walker, &entry);
	}
	err_clear();
}

/* ---- Records --------------------------------------------------------------------------------- */

static const char *
wrong_with_kind(const struct record *record)
{
	bool is_device = record->kind == COP_CHAR_DEVICE || record->kind == COP_BLOCK_DEVICE;

	if (!is_device && record->device != 0)
		return "a device number of what is no device";
	if (record->form == COP_FORM_NONE && (record->length != 0 || record->allocated_blocks != 0))
		return "a special file with content";
	if (record->kind == COP_DIRECTORY && record->allocated_blocks != 0)
		return "a directory with blocks of content";
	if (record->kind == COP_SYMLINK && record->length == 0)
		return "a symlink without a target";
	if (record->kind == COP_SYMLINK && record->form == COP_FORM_INLINE &&
		memchr(record->content.data, 0, record->content.bytes))
		return "a symlink with a zero byte in its target";
	return NULL;
}

static void
judge_record(const struct walker *walker, const struct record *record)
{
	uint64_t id = walker->gathered->id;
	const char *wrong = wrong_with_kind(record);

	if (wrong)
		problem(walker, wrong);
	if (id >= walker->sb->next_object || (id < OBJECT_FIRST && id != OBJECT_ROOT))
		problem(walker, "an object with a number that was never given");
	if (record->capabilities.bytes != 0 || record->xattrs.bytes != 0)
		problem(walker, "a record with what this version never writes");
	if (record->content.bytes > record_content_max(walker->sb->node_bytes))
		problem(walker, "a record with too much content");
	if (record->name.bytes > 0 && name_check(record->name) != 0)
		problem(walker, err_text());
	if (id == OBJECT_ROOT) {
		if (record->kind != COP_DIRECTORY || record->links == 0 || record->name.bytes != 0)
			problem(walker, "object 1 is not the root directory");
	} else if ((record->name.bytes == 0) != (record->parent == OBJECT_NONE)) {
		problem(walker, "name and parent contradict each other");
	}
	err_clear();
}

static void
walk_record_content(struct walker *walker, const struct record *record)
{
	if (record->form == COP_FORM_EXTENTS)
		walk_listed_content(walker, record->content);
	else if (record->kind == COP_DIRECTORY && record->form == COP_FORM_INLINE)
		walk_inline_entries(walker, record);
}

/* A record that cannot be decoded: nothing that hangs on it is known. */
static void
lose_record(struct walker *walker)
{
	struct checker *checker = walker->checker;

	problem(walker, err_text());
	err_clear();
	lose_part(walker);
	if (walker->is_previous)
		return;
	checker->losses.entries++; /* it may have been a directory */
	tallies__damaged(checker, walker->gathered->id);
}

static void
meet_record(struct walker *walker, struct view key, struct view value)
{
	struct checker *checker = walker->checker;
	struct gathered *object = walker->gathered;
	struct record record;

	if (key.bytes != OBJECT_KEY_BYTES) {
		problem(walker, "the key of a record that is too long");
		return;
	}
	object->has_record = true;
	checker->objects_found += !walker->is_previous;
	if (record_decode(value, &record) != 0) {
		lose_record(walker);
		return;
	}
	object->kind = record.kind;
	object->form = record.form;
	object->has_name = record.name.bytes > 0;
	object->links = record.links;
	object->length = record.length;
	object->allocated_blocks = record.allocated_blocks;
	record_trims(&record, &object->trims);
	if (!walker->is_previous) {
		judge_record(walker, &record);
		tallies__record(checker, object->id, &record);
	}
	walk_record_content(walker, &record);
	if (record.kind == COP_DIRECTORY && object->id != OBJECT_ROOT && record.links > 0 &&
		checker->is_first_pass && !walker->is_previous && !checker->err &&
		!ancestors__lead_to_root(checker, object->id, record.parent))
		problem(walker, "a directory that is not below the root");
}

/* ---- The other keys of an object ------------------------------------------------------------- */

static void
meet_root(struct walker *walker, struct view key, struct view value)
{
	struct gathered *object = walker->gathered;
	bool is_directory = object->kind == COP_DIRECTORY;
	enum tree_kind want = is_directory ? TREE_DIRECTORY : TREE_CONTENT;
	struct tree_root root;
	bool was_damaged;

	if (key.bytes != ROOT_KEY_BYTES || value.bytes != ROOT_RECORD_BYTES ||
		root_record_decode(value.data, &root) != 0 || root.levels == 0 ||
		(key.data[OBJECT_KEY_BYTES] != want && object->has_record && object->kind != 0)) {
		problem(walker, "a root record that makes no sense");
		err_clear();
		lose_part(walker);
		return;
	}
	if (!object->has_record || object->kind == 0) { /* its record is lost */
		want = key.data[OBJECT_KEY_BYTES];
		is_directory = want == TREE_DIRECTORY;
	}
	if (want != TREE_DIRECTORY && want != TREE_CONTENT) {
		problem(walker, "a root record that makes no sense");
		lose_part(walker);
		return;
	}
	object->has_root = true;
	walker->is_partial = false;
	catalog__walk_tree(walker, want, is_directory ? "directory tree" : "content tree",
		object->id, &root, is_directory ? visit_entry : visit_extent, &was_damaged);
	object->is_partial = walker->is_partial;
	object->is_damaged = object->is_damaged || was_damaged;
}

/* Is there a value under the same name that lies in the tree? */
static bool
has_inline_twin(struct walker *walker, struct view blob_key)
{
	struct tree objects = {
		.env = walker->checker->env,
		.kind = TREE_OBJECTS,
		.root = walker->objects,
	};
	uint8_t key[TREE_KEY_BYTES_MAX];
	size_t bytes;
	int err;

	memcpy(key, blob_key.data, blob_key.bytes);
	key[OBJECT_KEY_BYTES - 1] = KEY_XATTR;
	err = tree_get(&objects, view_of(key, blob_key.bytes), NULL, 0, &bytes);
	err_clear();
	return err == 0 || err == COP_ERANGE;
}

/* The extents of a large attribute follow one another from block 0 to its end. */
static void
walk_blob(struct walker *walker, struct view value)
{
	struct reader r = reader_over(value.data, value.bytes);
	struct extent_place place = {
		.object = walker->gathered->id,
		.length = read_le32(&r),
		.birth_max = walker->leaf_birth,
		.what = "data of an attribute",
	};
	uint64_t next = 0;

	while (r.at < r.bytes) {
		struct extent extent;

		if (r.bad || extent_decode_listed(&r, &extent) != 0) {
			problem(walker, "an attribute whose extents make no sense");
			err_clear();
			lose_part(walker);
			return;
		}
		if (extent.first != next || extent.flags & EXTENT_UNWRITTEN)
			problem(walker, "an attribute with a hole");
		next = extent.first + extent.blocks;
		objects__extent(walker, &extent, &place);
	}
	if (r.bad || next != div_up(place.length, BLOCK_BYTES) || place.length == 0 ||
		place.length > COP_XATTR_BYTES_MAX)
		problem(walker, "an attribute whose length and extents contradict each other");
}

static void
meet_xattr(struct walker *walker, struct view key, struct view value, bool is_blob)
{
	struct view name = view_of(key.data + XATTR_NAME_AT,
		key.bytes > XATTR_NAME_AT ? key.bytes - XATTR_NAME_AT : 0);

	if (name.bytes == 0 || name.bytes > COP_NAME_BYTES_MAX ||
		memchr(name.data, 0, name.bytes) ||
		get_be64(key.data + OBJECT_KEY_BYTES) != name_hash(name, walker->sb->name_seed))
		problem(walker, "an attribute whose hash and name do not match");
	if (!is_blob)
		return;
	if (walker->checker->is_first_pass && !walker->is_previous && has_inline_twin(walker, key))
		problem(walker, "an attribute that has two values");
	walk_blob(walker, value);
}

static void
meet_name(struct walker *walker, struct view key, struct view value)
{
	struct gathered *object = walker->gathered;
	struct view name;
	uint64_t parent;

	if (name_key_decode(key, walker->sb->name_seed, &parent, &name) != 0 || value.bytes != 0) {
		problem(walker, "a further name that makes no sense");
		err_clear();
		return;
	}
	if (object->has_record && !object->is_damaged && !object->has_name)
		problem(walker, "a further name of an object without a first one");
	if (!walker->is_previous)
		tallies__back(walker->checker, object->id, parent, name);
}

static void
meet_orphan(struct walker *walker, struct view key, struct view value)
{
	uint64_t id;

	if (walker->gathered->id != OBJECT_NONE || key.bytes != OBJECT_KEY_BYTES + 8 ||
		value.bytes != 0) {
		problem(walker, "an orphan's key that makes no sense");
		return;
	}
	id = get_be64(key.data + OBJECT_KEY_BYTES);
	if (id >= walker->sb->next_object)
		catalog__problem(walker, id, "an orphan with a number that was never given");
	if (!walker->is_previous)
		tallies__orphan(walker->checker, id);
}

/* ---- Objects --------------------------------------------------------------------------------- */

static void
judge_directory(const struct walker *walker)
{
	const struct gathered *object = walker->gathered;

	if (object->entries != object->length)
		problem(walker, "a directory with a wrong count of entries");
	if (object->links == 0 && object->entries != 0)
		problem(walker, "a removed directory with entries");
	if (object->links != 0 && object->links != object->directories + 2)
		problem(walker, "a directory with a wrong count of links");
}

/* All keys of an object have been met: do they agree? A tree without entries has no root record. */
static void
finish_object(const struct walker *walker)
{
	const struct gathered *object = walker->gathered;

	if (!object->is_open || object->id == OBJECT_NONE || object->is_damaged)
		return;
	if (!object->has_record) {
		problem(walker, "keys of an object without a record");
		return;
	}
	if (object->has_root && object->form != COP_FORM_TREE)
		problem(walker, "a tree beside content of another form");
	if (object->kind == COP_DIRECTORY)
		judge_directory(walker);
	else if (!object->is_partial && object->content_blocks != object->allocated_blocks)
		problem(walker, "a wrong count of allocated blocks");
}

static void
begin_object(struct walker *walker, uint64_t id)
{
	struct gathered *object = walker->gathered;

	finish_object(walker);
	*object = (struct gathered){
		.id = id,
		.is_open = true,
		.is_damaged = object->next_is_damaged,
	};
}

static bool
visit_object_key(void *context, struct view key, struct view value)
{
	struct walker *walker = context;
	const struct gathered *object = walker->gathered;
	uint64_t id;

	if (key.bytes < OBJECT_KEY_BYTES) {
		problem(walker, "a key of the object tree that is too short");
		return true;
	}
	id = get_be64(key.data);
	if (!object->is_open || id != object->id)
		begin_object(walker, id);
	switch (key.data[OBJECT_KEY_BYTES - 1]) {
	case KEY_RECORD:
		meet_record(walker, key, value);
		break;
	case KEY_ROOT:
		meet_root(walker, key, value);
		break;
	case KEY_XATTR:
		meet_xattr(walker, key, value, false);
		break;
	case KEY_XATTR_BLOB:
		meet_xattr(walker, key, value, true);
		break;
	case KEY_NAME:
		meet_name(walker, key, value);
		break;
	case KEY_ORPHAN:
		meet_orphan(walker, key, value);
		break;
	default:
		problem(walker, "a key of an unknown type");
	}
	return !walker->checker->err;
}

void
objects__walk(struct walker *walker, const struct tree_root *root)
{
	struct gathered gathered = { 0 };
	bool was_damaged;

	walker->gathered = &gathered;
	catalog__walk_tree(
		walker, TREE_OBJECTS, "object tree", 0, root, visit_object_key, &was_damaged);
	if (!walker->checker->err)
		finish_object(walker);
	walker->gathered = NULL;
}
