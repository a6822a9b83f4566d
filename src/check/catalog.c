/*
 * The walk over everything that a superblock reaches: the catalog, whose branch leads to the object
 * tree (objects.c) and whose jobs lead to dead trees.
 *
 * The same walk serves every pass. The first one judges nodes, records and data; each one reports
 * claims and tallies, of which the windows keep what is theirs. The walk over the checkpoint before
 * the newest leaves out what the newest has too, and only asks whether the rest is whole.
 *
 * Bounds: a node whose blocks are claimed already is not entered, so that no image leads anywhere
 * twice; where a window does not show that, no walk enters more nodes than the volume has room for.
 */

#include "check/check_internal.h"

#include "volume/branch_format.h"

#include <stdlib.h>

void
catalog__problem(const struct walker *walker, uint64_t object, const char *text)
{
	struct finding finding = { .class_ = COP_PROBLEM_STRUCTURE, .object = object };

	if (walker->checker->is_first_pass && !walker->is_previous)
		report__text(walker->checker, &finding, text);
}

/* ---- Nodes ----------------------------------------------------------------------------------- */

/* A node that is met again, shared, counts by its first copy. */
static enum claim_result
claim_node(struct walker *walker, const struct tree_pointer *pointer, bool is_again)
{
	struct checker *checker = walker->checker;
	struct claim claim = {
		.addr = pointer->addr,
		.blocks = walker->sb->node_bytes / BLOCK_BYTES,
		.birth = pointer->birth,
		.object = walker->object,
		.what = walker->what,
	};
	enum claim_result first;
	enum claim_result second;

	if (walker->is_previous)
		first = references__claim_previous(checker, &claim);
	else
		first = references__claim(checker, &claim);
	if (pointer->addr2 == 0 || is_again)
		return first;
	claim.addr = pointer->addr2;
	if (walker->is_previous)
		second = references__claim_previous(checker, &claim);
	else
		second = references__claim(checker, &claim);
	return second == CLAIM_BAD || second == CLAIM_TWICE ? second : first;
}

/* Something below cannot be read: what hangs on it is not judged. */
static void
note_loss(struct walker *walker)
{
	struct losses *losses = &walker->checker->losses;

	walker->was_damaged = true;
	if (walker->is_previous) {
		walker->checker->previous_losses++;
		return;
	}
	losses->nodes++;
	if (walker->kind == TREE_CATALOG || walker->kind == TREE_OBJECTS)
		losses->objects++;
	if (walker->kind != TREE_CONTENT)
		losses->entries++;
	if (walker->kind == TREE_OBJECTS)
		objects__lost(walker);
}

/* A shared node that this pass has been in: false. What is below it has been met. */
static bool
enter_again(struct walker *walker, const struct tree_pointer *pointer)
{
	enum claim_result result = claim_node(walker, pointer, true);

	walker->is_partial = true;
	if (result == CLAIM_TWICE || result == CLAIM_BAD)
		note_loss(walker);
	return false;
}

static bool
enter_node(void *context, const struct tree_pointer *pointer, uint8_t level)
{
	struct walker *walker = context;
	uint64_t node_blocks = walker->sb->node_bytes / BLOCK_BYTES;

	(void)level;
	if (!walker->is_previous && shares__is_shared(walker->checker, pointer) &&
		!shares__enter(walker->checker, pointer))
		return enter_again(walker, pointer);
	if (walker->nodes_entered == walker->sb->blocks / node_blocks) {
		if (!walker->has_too_many_nodes)
			catalog__problem(walker, walker->object,
				"the trees have more nodes than the volume has room for");
		walker->has_too_many_nodes = true;
		return false;
	}
	walker->nodes_entered++;
	walker->is_judged = walker->checker->is_first_pass;
	switch (claim_node(walker, pointer, false)) {
	case CLAIM_AGAIN:
		/* Of the checkpoint before, it was entered. Of the newest, it is the first time:
		 * only something else can have been found there. */
		walker->is_partial = true;
		return !walker->is_previous;
	case CLAIM_NEW:
		walker->is_judged = walker->is_judged || walker->is_previous;
		return true;
	case CLAIM_UNSEEN:
		walker->is_judged = false;
		return true;
	case CLAIM_SHARED:
		/* Of a tree that has died since, a part may have been freed. */
		walker->is_judged = false;
		return walker->checker->dead_trees > 0 &&
		       (walker->kind == TREE_CONTENT || walker->kind == TREE_DIRECTORY);
	case CLAIM_TWICE:
	case CLAIM_BAD:
		break;
	}
	note_loss(walker);
	return false;
}

static uint32_t
copies_wanted(const struct walker *walker, uint8_t level)
{
	if (walker->sb->metadata_copies != 0)
		return walker->sb->metadata_copies;
	return walker->kind == TREE_CONTENT && level == 0 ? 1 : 2;
}

static void
judge_pointer(const struct walker *walker, const struct tree_pointer *pointer, uint8_t level,
	uint64_t bound)
{
	struct finding finding = {
		.class_ = COP_PROBLEM_NODE,
		.object = walker->object,
		.block = pointer->addr,
	};
	uint32_t copies = pointer->addr2 != 0 ? 2 : 1;

	if (pointer->birth > bound)
		report__problem(walker->checker, &finding,
			"%s, level %u: a node born in generation %" PRIu64 " where %" PRIu64
			" is the latest possible",
			walker->what, level, pointer->birth, bound);
	if (copies != copies_wanted(walker, level))
		report__problem(walker->checker, &finding,
			"%s, level %u: a node with %" PRIu32 " of %" PRIu32 " copies", walker->what,
			level, copies, copies_wanted(walker, level));
}

static void
report_node(const struct walker *walker, const struct tree_pointer *pointer, uint8_t level,
	int copy, int result)
{
	struct finding finding = {
		.class_ = copy == 0 ? COP_PROBLEM_NODE : COP_PROBLEM_COPY,
		.object = walker->object,
		.block = copy == 2 ? pointer->addr2 : pointer->addr,
	};

	if (walker->is_judged)
		report__problem(walker->checker, &finding, "%s%s, level %u%s: %s",
			walker->is_previous ? "the checkpoint before the newest, " : "",
			walker->what, level,
			copy == 0   ? ""
			: copy == 1 ? ", copy 1"
				    : ", copy 2",
			report__why(result));
	err_clear();
}

static bool
visit_node(void *context, const struct tree_pointer *pointer, uint8_t level, int copy, int result)
{
	struct walker *walker = context;
	struct checker *checker = walker->checker;
	uint64_t bytes = walker->sb->node_bytes;

	if (result == COP_ENOMEM) {
		checker->err = fail(COP_ENOMEM, "check");
		return false;
	}
	if (result != 0) {
		report_node(walker, pointer, level, copy, result);
		if (copy != 0)
			return true;
		note_loss(walker);
	}
	if (level == 0)
		walker->leaf_birth = pointer->birth;
	if (walker->is_previous)
		return report__progress(checker, 0);
	if (walker->is_judged) {
		judge_pointer(walker, pointer, level, walker->birth_max);
		checker->result.nodes++;
		checker->result.verified_bytes += bytes;
	}
	return report__progress(checker, pointer->addr2 != 0 ? 2 * bytes : bytes);
}

/* ---- Trees ----------------------------------------------------------------------------------- */

static struct walker_place
place_begin(struct walker *walker, enum tree_kind kind, const char *what, uint64_t object)
{
	struct walker_place place = {
		.kind = walker->kind,
		.what = walker->what,
		.object = walker->object,
		.birth_max = walker->birth_max,
		.leaf_birth = walker->leaf_birth,
		.was_damaged = walker->was_damaged,
	};

	walker->kind = kind;
	walker->what = what;
	walker->object = object;
	walker->birth_max = walker->leaf_birth;
	walker->was_damaged = false;
	return place;
}

static bool
place_end(struct walker *walker, const struct walker_place *place)
{
	bool was_damaged = walker->was_damaged;

	walker->kind = place->kind;
	walker->what = place->what;
	walker->object = place->object;
	walker->birth_max = place->birth_max;
	walker->leaf_birth = place->leaf_birth;
	walker->was_damaged = place->was_damaged;
	return was_damaged;
}

void
catalog__walk_tree(struct walker *walker, enum tree_kind kind, const char *what, uint64_t object,
	const struct tree_root *root,
	bool (*entry)(void *context, struct view key, struct view value), bool *out_was_damaged)
{
	struct checker *checker = walker->checker;
	struct walker_place place = place_begin(walker, kind, what, object);
	struct tree_walk walk = {
		.enter = enter_node,
		.node = visit_node,
		.entry = entry,
		.context = walker,
		/* What was replayed lies in memory only; the copies of the rest have been judged.
		 */
		.both_copies =
			(checker->is_first_pass || walker->is_previous) && !checker->is_replayed,
	};
	int err;

	if (root->levels > 0 && !checker->err) {
		err = tree_walk(checker->env, kind, root, &walk);
		if (err && !checker->err)
			checker->err = err;
	}
	*out_was_damaged = place_end(walker, &place);
}

/* ---- Dead trees ------------------------------------------------------------------------------ */

struct dead_tree {
	struct walker *walker;
	const struct job *job;
	uint8_t *copy; /* a node; owned */
	bool is_twice;

	/* What the step has left out, for others have it too. */
	struct tree_root shared;
};

/* What lies before the cursor has been freed. */
static void
dead_entry(void *context, struct view key, struct view value)
{
	const struct dead_tree *dead = context;
	struct view cursor = view_of(dead->job->cursor.key, dead->job->cursor.bytes);
	struct extent_place place = {
		.object = dead->job->object,
		.length = COP_FILE_BYTES_MAX,
		.birth_max = dead->job->root.pointer.birth,
		.what = "data of a dead tree",
	};
	struct extent extent;

	if (dead->job->tree_kind != TREE_CONTENT || view_compare(key, cursor) < 0)
		return;
	if (extent_decode_entry(key, value, &extent) == 0) {
		objects__extent(dead->walker, &extent, &place);
		return;
	}
	catalog__problem(dead->walker, dead->job->object, err_text());
	note_loss(dead->walker);
	err_clear();
}

/* Dismantling reads one good copy: here is how the other is. */
static void
judge_dead_copy(struct dead_tree *dead, const struct tree_pointer *pointer, int copy)
{
	struct checker *checker = dead->walker->checker;
	uint64_t addr = copy == 2 ? pointer->addr2 : pointer->addr;
	int err = device_read(checker->dev, addr, dead->copy, checker->sb.node_bytes / BLOCK_BYTES);

	if (err == 0)
		err = tree_node_check(dead->copy, checker->sb.node_bytes, checker->sb.uuid,
			dead->job->tree_kind, -1, pointer);
	if (err)
		report_node(dead->walker, pointer, 0, copy, err);
}

static void
dead_node(void *context, const struct tree_pointer *pointer)
{
	struct dead_tree *dead = context;
	struct walker *walker = dead->walker;
	enum claim_result result = claim_node(walker, pointer, false);

	walker->nodes_entered++;
	if (result == CLAIM_TWICE || result == CLAIM_BAD)
		dead->is_twice = true;
	walker->is_judged =
		result == CLAIM_NEW && (walker->checker->is_first_pass || walker->is_previous);
	if (walker->is_judged && pointer->addr2 != 0 && !walker->checker->is_replayed) {
		judge_dead_copy(dead, pointer, 1);
		judge_dead_copy(dead, pointer, 2);
	}
	if (walker->is_judged && !walker->is_previous) {
		walker->checker->result.nodes++;
		walker->checker->result.verified_bytes += walker->sb->node_bytes;
	}
	if (!walker->is_previous)
		(void)report__progress(walker->checker,
			(pointer->addr2 != 0 ? 2 : 1) * (uint64_t)walker->sb->node_bytes);
}

/* A step ends behind it. */
static bool
dead_is_shared(void *context, const struct tree_pointer *pointer, uint8_t level)
{
	struct dead_tree *dead = context;

	if (!shares__is_shared(dead->walker->checker, pointer))
		return false;
	dead->shared = (struct tree_root){ *pointer, (uint8_t)(level + 1) };
	return true;
}

static bool
dead_shared_entry(void *context, struct view key, struct view value)
{
	struct walker *walker = context;

	dead_entry(walker->dead, key, value);
	return !walker->checker->err;
}

/* Like a part of a living tree: entered once, by whoever comes first. */
static void
walk_dead_shared(struct dead_tree *dead)
{
	struct walker *walker = dead->walker;
	bool was_damaged;

	walker->dead = dead;
	walker->leaf_birth = dead->shared.pointer.birth;
	catalog__walk_tree(walker, dead->job->tree_kind, "dead tree", dead->job->object,
		&dead->shared, dead_shared_entry, &was_damaged);
	walker->was_damaged = walker->was_damaged || was_damaged;
	dead->shared = (struct tree_root){ 0 };
}

/* What is left of a dead tree: nodes and extents from the cursor on. */
static void
walk_dead_steps(struct dead_tree *dead)
{
	struct walker *walker = dead->walker;
	struct checker *checker = walker->checker;
	const struct job *job = dead->job;
	struct tree_dismantle visit = {
		.entry = dead_entry,
		.node = dead_node,
		.is_shared = walker->is_previous ? NULL : dead_is_shared,
		.context = dead,
	};
	struct tree_cursor cursor = job->cursor;
	uint64_t nodes_max = walker->sb->blocks / (walker->sb->node_bytes / BLOCK_BYTES);
	bool done = job->root.levels == 0;

	if (!done && job->root.pointer.birth > walker->birth_max)
		catalog__problem(walker, job->object, "a dead tree that is younger than its job");
	while (!done && !dead->is_twice && !checker->err && walker->nodes_entered < nodes_max) {
		struct tree_cursor next = { 0 };
		int err = tree_dismantle(
			checker->env, job->tree_kind, &job->root, &cursor, &visit, &next, &done);

		if (err == COP_ENOMEM) {
			checker->err = err;
			return;
		}
		if (err && visit.skip_damaged)
			return; /* the root itself */
		if (err) {
			walker->is_judged = checker->is_first_pass;
			report_node(walker, &job->root.pointer, 0, 0, err);
			note_loss(walker);
			visit.skip_damaged = true;
			continue;
		}
		if (dead->shared.levels > 0)
			walk_dead_shared(dead);
		cursor = next;
		(void)report__progress(checker, 0);
	}
}

static void
walk_dead_tree(struct walker *walker, const struct job *job)
{
	struct walker_place place = place_begin(walker, job->tree_kind, "dead tree", job->object);
	struct dead_tree dead = {
		.walker = walker,
		.job = job,
		.copy = block_buffer_alloc(walker->sb->node_bytes / BLOCK_BYTES),
	};

	walker->checker->dead_trees += !walker->is_previous;
	if (!dead.copy)
		walker->checker->err = fail(COP_ENOMEM, "check");
	else
		walk_dead_steps(&dead);
	free(dead.copy);
	(void)place_end(walker, &place);
}

/* ---- The catalog ----------------------------------------------------------------------------- */

struct catalog {
	struct walker walker; /* first: nodes are visited with a walker as context */
	struct branch_record branch;
	uint64_t leaf_birth; /* of the leaf that holds the branch */
	bool has_branch;
	uint32_t names;
};

static void
meet_branch(struct catalog *catalog, struct view key, struct view value)
{
	struct walker *walker = &catalog->walker;

	if (key.bytes != CATALOG_KEY_BYTES || get_be64(key.data + 1) != BRANCH_MAIN ||
		branch_decode(value, &catalog->branch) != 0) {
		catalog__problem(walker, 0, "a branch record that makes no sense");
		err_clear();
		return;
	}
	if (catalog->branch.tags.levels != 0 || catalog->branch.origin != 0 ||
		catalog->branch.root_object != OBJECT_ROOT)
		catalog__problem(walker, 0, "a branch record with what this version never writes");
	catalog->has_branch = true;
	catalog->leaf_birth = walker->leaf_birth;
	if (!walker->is_previous && !walker->checker->is_replayed)
		walker->checker->objects = catalog->branch.objects;
}

static void
meet_branch_name(struct catalog *catalog, struct view key, struct view value)
{
	const struct branch_record *branch = &catalog->branch;
	struct view name = view_of(key.data + 1, key.bytes - 1);

	if (!catalog->has_branch || value.bytes != 8 || get_be64(value.data) != BRANCH_MAIN ||
		!view_equal(name, view_of(branch->name, branch->name_bytes)))
		catalog__problem(&catalog->walker, 0, "the name of a branch that is not there");
	else
		catalog->names++;
}

static void
meet_job(struct walker *walker, struct view key, struct view value)
{
	uint64_t number = key.bytes == CATALOG_KEY_BYTES ? get_be64(key.data + 1) : 0;
	struct job job;

	if (job_decode(value, &job) != 0) {
		catalog__problem(walker, 0, err_text());
		err_clear();
		note_loss(walker); /* whatever tree it names */
		return;
	}
	if (number == 0 || number >= walker->sb->next_job)
		catalog__problem(walker, job.object, "a job with a number that was never given");
	if (job.branch != BRANCH_MAIN || job.object >= walker->sb->next_object)
		catalog__problem(walker, job.object, "a job of an object that was never there");
	if (job.program == JOB_DISMANTLE)
		walk_dead_tree(walker, &job);
	else if (!walker->is_previous)
		tallies__trim_job(walker->checker, job.object, number);
}

static bool
visit_catalog(void *context, struct view key, struct view value)
{
	struct catalog *catalog = context;
	struct walker *walker = &catalog->walker;

	switch (key.bytes > 0 ? key.data[0] : 0) {
	case CATALOG_BRANCH:
		meet_branch(catalog, key, value);
		break;
	case CATALOG_BRANCH_NAME:
		meet_branch_name(catalog, key, value);
		break;
	case CATALOG_JOB:
		meet_job(walker, key, value);
		break;
	default:
		catalog__problem(walker, 0, "a key of the catalog of an unknown type");
	}
	return !walker->checker->err;
}

void
catalog__walk(struct checker *checker, const struct superblock *sb)
{
	struct catalog catalog = {
		.walker = {
			.checker = checker,
			.sb = sb,
			.is_previous = sb == &checker->previous,
			.leaf_birth = sb->generation,
		},
	};
	struct walker *walker = &catalog.walker;
	bool was_damaged;

	catalog__walk_tree(
		walker, TREE_CATALOG, "catalog", 0, &sb->catalog, visit_catalog, &was_damaged);
	if (checker->err)
		return;
	/* Of the checkpoint before, the branch may have been met already, and this one not. */
	if (!walker->is_previous || sb->shares.levels > 0) {
		walker->leaf_birth = sb->generation;
		shares__walk(walker);
	}
	if (!catalog.has_branch && !was_damaged)
		catalog__problem(walker, 0, "no branch \"main\"");
	if (catalog.has_branch && catalog.names != 1 && !was_damaged)
		catalog__problem(walker, 0, "a branch without a name");
	if (!catalog.has_branch)
		return;
	if (checker->is_replayed) {
		catalog.branch.objects = checker->replayed;
		catalog.leaf_birth = sb->generation;
	}
	walker->leaf_birth = catalog.leaf_birth;
	walker->objects = catalog.branch.objects;
	objects__walk(walker, &catalog.branch.objects);
}
