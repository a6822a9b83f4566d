/*
 * The walk over everything that a superblock reaches: catalog, object tree, content and directory
 * trees, dead trees of jobs.
 *
 * The same walk serves every pass. The first one judges nodes, records and data; each one reports
 * references and tallies, of which the windows keep what is theirs. The walk over the checkpoint
 * before the newest only asks whether all of it is still there.
 *
 * In the object tree the keys of one object follow one another, its record first: what is learnt of
 * it is gathered until the next object's first key.
 */

#include "check/check_internal.h"

#include "object/directory_format.h"
#include "object/job_format.h"
#include "volume/branch_format.h"

#include <stdlib.h>

/* The object whose keys are being met. */
struct gathered {
	uint64_t id;
	bool is_open; /* a key of it was seen */
	bool has_record;
	bool has_root;
	enum cop_kind kind;
	enum cop_content_form form;
	uint32_t links;
	uint64_t length;
	uint64_t allocated_blocks;
	bool is_trimming;
	uint64_t content_blocks; /* found */
	uint64_t entries;        /* found */
	uint64_t directories;    /* among them */
	uint64_t next_block;     /* extents must begin here or later */
	bool is_damaged;         /* something could not be read: counts prove nothing */
};

struct walker {
	struct checker *checker;
	const struct superblock *sb;
	struct tree_root objects; /* of the branch */
	struct gathered object;
	uint64_t tree_object; /* whose tree is walked, 0: a tree of the volume */
	const char *what;     /* names the tree in a problem */
};

static void
structure_problem(struct walker *walker, const char *text)
{
	if (walker->checker->is_first_pass && !walker->checker->is_previous)
		check__report(walker->checker,
			&(struct finding){
				.class_ = COP_PROBLEM_STRUCTURE, .object = walker->object.id },
			"%s", text);
}

/* ---- Nodes ----------------------------------------------------------------------------------- */

static void
add_node(struct walker *walker, const struct tree_pointer *pointer)
{
	struct checker *checker = walker->checker;
	uint32_t blocks = walker->sb->node_bytes / BLOCK_BYTES;

	references__add(
		checker, pointer->addr, blocks, pointer->birth, walker->tree_object, walker->what);
	if (pointer->addr2 != 0)
		references__add(checker, pointer->addr2, blocks, pointer->birth,
			walker->tree_object, walker->what);
}

static bool
visit_node(void *context, const struct tree_pointer *pointer, uint8_t level, int copy, int result)
{
	struct walker *walker = context;
	struct checker *checker = walker->checker;
	struct finding finding = {
		.class_ = copy == 0 ? COP_PROBLEM_NODE : COP_PROBLEM_COPY,
		.object = walker->tree_object,
		.block = copy == 2 ? pointer->addr2 : pointer->addr,
	};

	if (result != 0) {
		if (copy == 0)
			walker->object.is_damaged = true;
		if (checker->is_first_pass)
			check__report(checker, &finding, "%s, level %u: %s", walker->what, level,
				err_text());
		err_clear();
		if (copy != 0)
			return true;
	}
	if (pointer->birth > walker->sb->generation && checker->is_first_pass)
		check__report(checker, &finding, "%s: a node born in generation %" PRIu64,
			walker->what, pointer->birth);
	if (checker->is_first_pass && !checker->is_previous) {
		checker->result.nodes++;
		checker->result.verified_bytes += walker->sb->node_bytes;
	}
	add_node(walker, pointer);
	return check__progress(checker, checker->is_first_pass ? walker->sb->node_bytes : 0);
}

static void
walk_tree(struct walker *walker, enum tree_kind kind, const struct tree_root *root,
	bool (*entry)(void *context, struct view key, struct view value))
{
	struct checker *checker = walker->checker;
	struct tree_walk walk = {
		.node = visit_node,
		.entry = entry,
		.context = walker,
		.both_copies = checker->is_first_pass && !checker->is_previous,
	};
	int err;

	if (root->levels == 0 || checker->err)
		return;
	err = tree_walk(checker->env, kind, root, &walk);
	if (err && !checker->err)
		checker->err = err;
}

/* ---- Extents --------------------------------------------------------------------------------- */

static void
add_extent(struct walker *walker, const struct extent *extent)
{
	struct checker *checker = walker->checker;

	references__add(checker, extent->addr, extent_stored_blocks(extent), extent->birth,
		walker->object.id, "data");
	if (!checker->is_first_pass)
		return;
	if (extent->birth > walker->sb->generation)
		structure_problem(walker, "data born after the checkpoint");
	if (!checker->is_previous)
		checker->result.extents++;
	if (!(checker->options->flags & COP_CHECK_METADATA))
		data__verify(checker, walker->object.id, extent);
}

static bool
visit_extent(void *context, struct view key, struct view value)
{
	struct walker *walker = context;
	struct gathered *object = &walker->object;
	struct extent extent;

	if (extent_decode_entry(key, value, &extent) != 0) {
		structure_problem(walker, err_text());
		object->is_damaged = true;
		return !walker->checker->err;
	}
	if (extent.first < object->next_block && object->content_blocks > 0)
		structure_problem(walker, "extents overlap");
	object->next_block = extent.first + extent.blocks;
	object->content_blocks += extent.blocks;
	add_extent(walker, &extent);
	return !walker->checker->err;
}

/* Extents one after the other: in a record, or in the value of a large attribute. */
static void
walk_listed(struct walker *walker, struct view listed, bool is_content)
{
	struct reader r = reader_over(listed.data, listed.bytes);

	while (r.at < r.bytes) {
		struct extent extent;

		if (extent_decode_listed(&r, &extent) != 0) {
			structure_problem(walker, err_text());
			return;
		}
		if (is_content)
			walker->object.content_blocks += extent.blocks;
		add_extent(walker, &extent);
	}
}

/* ---- Directories ----------------------------------------------------------------------------- */

static void
add_entry(struct walker *walker, const struct entry *entry)
{
	struct gathered *object = &walker->object;

	object->entries++;
	object->directories += entry->kind == COP_DIRECTORY;
	if (entry->id >= walker->sb->next_object)
		structure_problem(walker, "an entry with a number that was never given");
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
		structure_problem(walker, err_text());
		walker->object.is_damaged = true;
	} else {
		add_entry(walker, &entry);
	}
	return !walker->checker->err;
}

static void
walk_inline_entries(struct walker *walker, const struct record *record)
{
	struct reader r = reader_over(record->content.data, record->content.bytes);

	if (directory_inline_check(record->content, record->length) != 0)
		structure_problem(walker, err_text());
	while (r.at < r.bytes) {
		struct entry entry;

		if (entry_inline_decode(&r, &entry) != 0)
			return;
		add_entry(walker, &entry);
	}
}

/* Every directory is below the root: climbs there; a loop ends by the number of objects. */
static void
check_ancestors(struct walker *walker, uint64_t parent)
{
	struct tree objects = {
		.env = walker->checker->env,
		.kind = TREE_OBJECTS,
		.root = walker->objects,
	};
	uint8_t *value = malloc(RECORD_BYTES_MAX);
	uint64_t id = parent;

	if (!value) {
		walker->checker->err = fail(COP_ENOMEM, "check");
		return;
	}
	for (uint64_t steps = 0; id != OBJECT_ROOT; steps++) {
		uint8_t key[OBJECT_KEY_BYTES];
		struct record record;
		size_t bytes;
		int err = tree_get(
			&objects, object_key(key, id, KEY_RECORD), value, RECORD_BYTES_MAX, &bytes);

		if (err == 0)
			err = record_decode(view_of(value, bytes), &record);
		if (err || record.kind != COP_DIRECTORY || steps > walker->sb->objects) {
			structure_problem(walker, "a directory that is not below the root");
			break;
		}
		id = record.parent;
	}
	err_clear();
	free(value);
}

/* ---- Objects --------------------------------------------------------------------------------- */

/* All keys of an object have been met: do they agree? */
static void
finish_object(struct walker *walker)
{
	const struct gathered *object = &walker->object;

	if (!object->is_open || object->id == OBJECT_NONE)
		return;
	if (!object->has_record) {
		structure_problem(walker, "keys of an object without a record");
		return;
	}
	if (object->is_damaged)
		return;
	if (object->has_root != (object->form == COP_FORM_TREE))
		structure_problem(walker, "form and root record contradict each other");
	if (object->kind == COP_DIRECTORY) {
		if (object->entries != object->length)
			structure_problem(walker, "a directory with a wrong count of entries");
		if (object->links != 0 && object->links != object->directories + 2)
			structure_problem(walker, "a directory with a wrong count of links");
	} else if (!object->is_trimming && object->content_blocks != object->allocated_blocks) {
		structure_problem(walker, "a wrong count of allocated blocks");
	}
}

static void
begin_object(struct walker *walker, uint64_t id)
{
	finish_object(walker);
	walker->object = (struct gathered){ .id = id, .is_open = true };
	walker->tree_object = 0;
	walker->what = "object tree";
}

static void
meet_record(struct walker *walker, struct view value)
{
	struct checker *checker = walker->checker;
	struct gathered *object = &walker->object;
	struct record record;

	object->has_record = true;
	if (record_decode(value, &record) != 0) {
		structure_problem(walker, err_text());
		object->is_damaged = true;
		return;
	}
	object->kind = record.kind;
	object->form = record.form;
	object->links = record.links;
	object->length = record.length;
	object->allocated_blocks = record.allocated_blocks;
	object->is_trimming = record.trim_end != 0;
	if (!checker->is_previous) {
		checker->objects_found++;
		tallies__record(checker, object->id, &record);
	}
	if (object->id >= walker->sb->next_object ||
		(object->id < OBJECT_FIRST && object->id != OBJECT_ROOT))
		structure_problem(walker, "an object with a number that was never given");
	if (record.form == COP_FORM_EXTENTS) {
		if (record_extents_check(&record) != 0)
			structure_problem(walker, err_text());
		walk_listed(walker, record.content, true);
	} else if (record.kind == COP_DIRECTORY && record.form != COP_FORM_TREE) {
		walk_inline_entries(walker, &record);
	} else if (record.form == COP_FORM_INLINE && record.content.bytes > record.length) {
		structure_problem(walker, "more bytes than the length says");
	}
	if (record.kind == COP_DIRECTORY && object->id != OBJECT_ROOT && record.links > 0 &&
		checker->is_first_pass && !checker->is_previous)
		check_ancestors(walker, record.parent);
}

static void
meet_root(struct walker *walker, struct view key, struct view value)
{
	struct gathered *object = &walker->object;
	enum tree_kind want = object->kind == COP_DIRECTORY ? TREE_DIRECTORY : TREE_CONTENT;
	struct tree_root root;

	if (key.bytes != ROOT_KEY_BYTES || value.bytes != ROOT_RECORD_BYTES ||
		key.data[OBJECT_KEY_BYTES] != want || root_record_decode(value.data, &root) != 0 ||
		root.levels == 0) {
		structure_problem(walker, "a root record that makes no sense");
		object->is_damaged = true;
		return;
	}
	object->has_root = true;
	walker->tree_object = object->id;
	walker->what = want == TREE_DIRECTORY ? "directory tree" : "content tree";
	walk_tree(walker, want, &root, want == TREE_DIRECTORY ? visit_entry : visit_extent);
	walker->tree_object = 0;
	walker->what = "object tree";
}

static void
meet_xattr(struct walker *walker, struct view key, struct view value, bool is_blob)
{
	const size_t name_at = OBJECT_KEY_BYTES + 8;

	if (key.bytes <= name_at ||
		get_be64(key.data + OBJECT_KEY_BYTES) !=
			name_hash(view_of(key.data + name_at, key.bytes - name_at),
				walker->sb->name_seed))
		structure_problem(walker, "an attribute whose hash and name do not match");
	if (!is_blob)
		return;
	if (value.bytes < 4)
		structure_problem(walker, "an attribute without extents");
	else
		walk_listed(walker, view_of(value.data + 4, value.bytes - 4), false);
}

static void
meet_name(struct walker *walker, struct view key)
{
	struct view name;
	uint64_t parent;

	if (name_key_decode(key, walker->sb->name_seed, &parent, &name) != 0)
		structure_problem(walker, err_text());
	else
		tallies__back(walker->checker, walker->object.id, parent, name);
}

static bool
visit_object_key(void *context, struct view key, struct view value)
{
	struct walker *walker = context;
	uint64_t id;

	if (key.bytes < OBJECT_KEY_BYTES) {
		structure_problem(walker, "a key of the object tree that is too short");
		return true;
	}
	id = get_be64(key.data);
	if (!walker->object.is_open || id != walker->object.id)
		begin_object(walker, id);
	switch (key.data[OBJECT_KEY_BYTES - 1]) {
	case KEY_RECORD:
		meet_record(walker, value);
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
		meet_name(walker, key);
		break;
	case KEY_ORPHAN:
		if (id != OBJECT_NONE || key.bytes != OBJECT_KEY_BYTES + 8)
			structure_problem(walker, "an orphan's key that makes no sense");
		else
			tallies__orphan(walker->checker, get_be64(key.data + OBJECT_KEY_BYTES));
		break;
	default:
		structure_problem(walker, "a key of an unknown type");
	}
	return !walker->checker->err;
}

/* ---- Jobs and branches ----------------------------------------------------------------------- */

static void
dead_entry(void *context, struct view key, struct view value)
{
	(void)visit_extent(context, key, value);
}

static void
dead_node(void *context, const struct tree_pointer *pointer)
{
	add_node(context, pointer);
}

/* What is left of a dead tree: nodes and extents from the cursor on. */
static void
walk_dead_tree(struct walker *walker, const struct job *job)
{
	struct checker *checker = walker->checker;
	struct tree_dismantle visit = { .entry = dead_entry, .node = dead_node, .context = walker };
	struct tree_cursor cursor = job->cursor;
	bool done = job->root.levels == 0;

	walker->object = (struct gathered){ .id = job->object };
	walker->what = "dead tree";
	while (!done && !checker->err) {
		struct tree_cursor next;
		int err = tree_dismantle(
			checker->env, job->tree_kind, &job->root, &cursor, &visit, &next, &done);

		if (err) {
			if (checker->is_first_pass)
				check__report(checker,
					&(struct finding){
						.class_ = COP_PROBLEM_NODE, .object = job->object },
					"dead tree: %s", err_text());
			return;
		}
		cursor = next;
		(void)check__progress(checker, 0);
	}
}

/* What the catalog holds, copied out, because its trees are walked after it. */
enum { JOBS_MAX = 65536 };

struct catalog {
	struct walker *walker;
	struct branch_record branch;
	bool has_branch;
	struct job *jobs; /* owned */
	size_t job_count;
	size_t job_capacity;
};

static void
keep_job(struct catalog *catalog, struct view value)
{
	struct walker *walker = catalog->walker;
	struct job job;

	if (job_decode(value, &job) != 0) {
		structure_problem(walker, err_text());
		return;
	}
	if (job.program != JOB_DISMANTLE || catalog->job_count == JOBS_MAX)
		return;
	if (catalog->job_count == catalog->job_capacity) {
		size_t capacity = catalog->job_capacity == 0 ? 16 : catalog->job_capacity * 2;
		struct job *grown = realloc(catalog->jobs, capacity * sizeof *grown);

		if (!grown) {
			walker->checker->err = fail(COP_ENOMEM, "check of %zu jobs", capacity);
			return;
		}
		catalog->jobs = grown;
		catalog->job_capacity = capacity;
	}
	catalog->jobs[catalog->job_count++] = job;
}

static bool
visit_catalog(void *context, struct view key, struct view value)
{
	struct catalog *catalog = context;
	struct walker *walker = catalog->walker;

	switch (key.bytes > 0 ? key.data[0] : 0) {
	case CATALOG_BRANCH:
		if (key.bytes != CATALOG_KEY_BYTES || get_be64(key.data + 1) != BRANCH_MAIN ||
			branch_decode(value, &catalog->branch) != 0)
			structure_problem(walker, "a branch record that makes no sense");
		else
			catalog->has_branch = true;
		break;
	case CATALOG_BRANCH_NAME:
		break;
	case CATALOG_JOB:
		keep_job(catalog, value);
		break;
	default:
		structure_problem(walker, "a key of the catalog of an unknown type");
	}
	return !walker->checker->err;
}

static bool
visit_catalog_node(
	void *context, const struct tree_pointer *pointer, uint8_t level, int copy, int result)
{
	struct catalog *catalog = context;

	return visit_node(catalog->walker, pointer, level, copy, result);
}

void
objects__walk(struct checker *checker, const struct superblock *sb)
{
	struct walker walker = { .checker = checker, .sb = sb, .what = "catalog" };
	struct catalog catalog = { .walker = &walker };
	struct tree_walk walk = {
		.node = visit_catalog_node,
		.entry = visit_catalog,
		.context = &catalog,
		.both_copies = checker->is_first_pass && !checker->is_previous,
	};
	int err = 0;

	if (sb->catalog.levels > 0)
		err = tree_walk(checker->env, TREE_CATALOG, &sb->catalog, &walk);
	if (err && !checker->err)
		checker->err = err;
	if (catalog.has_branch && !checker->err) {
		walker.objects = catalog.branch.objects;
		walker.what = "object tree";
		if (!checker->is_previous)
			checker->objects = catalog.branch.objects;
		walk_tree(&walker, TREE_OBJECTS, &catalog.branch.objects, visit_object_key);
		finish_object(&walker);
	} else if (!checker->err) {
		structure_problem(&walker, "no branch \"main\"");
	}
	for (size_t i = 0; i < catalog.job_count && !checker->err; i++)
		walk_dead_tree(&walker, &catalog.jobs[i]);
	free(catalog.jobs);
}
