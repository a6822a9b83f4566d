/*
 * The table of open objects.
 *
 * A handle is in the table from handle_open() or handle_make() to its last release. When the last
 * reference of an object without links goes, the handle stays, marked as going, while the object
 * is freed; whoever asks for it meanwhile waits and then finds that it is not there.
 */

#include "base/checksum.h"
#include "object/pages_internal.h"
#include "object/reclaim.h"

#include <assert.h>
#include <stdlib.h>

static struct cop_object **
bucket_of(struct cop_volume *volume, uint64_t branch, uint64_t id)
{
	uint64_t parts[2] = { branch, id };

	return &volume->buckets[hash64(parts, sizeof parts, 0) % HANDLE_BUCKETS];
}

static struct cop_object *
find_locked(struct cop_volume *volume, uint64_t branch, uint64_t id)
{
	struct cop_object *object = *bucket_of(volume, branch, id);

	mutex_assert_held(&volume->lock);
	while (object && (object->branch != branch || object->id != id))
		object = object->next;
	return object;
}

static void
insert_locked(struct cop_object *object)
{
	struct cop_object **bucket = bucket_of(object->volume, object->branch, object->id);

	object->next = *bucket;
	*bucket = object;
	object->volume->handles++;
}

static void
remove_locked(struct cop_object *object)
{
	struct cop_object **link = bucket_of(object->volume, object->branch, object->id);

	while (*link != object)
		link = &(*link)->next;
	*link = object->next;
	assert(object->volume->handles > 0);
	object->volume->handles--;
}

static void
object_free(struct cop_object *object)
{
	if (object && object->content)
		volume_tree_release(object->volume->volume, object->content);
	if (object) {
		pages_discard(object);
		cached_forget(object);
	}
	free(object);
}

static int
object_alloc(struct cop_volume *volume, uint64_t branch, uint64_t id, struct cop_object **out)
{
	struct cop_object *object = calloc(1, sizeof *object);

	if (!object)
		return fail(COP_ENOMEM, "handle of object %" PRIu64, id);
	object->volume = volume;
	object->branch = branch;
	object->id = id;
	object->refs = 1;
	*out = object;
	return 0;
}

/* Another reference to a handle that is there; waits while it is going. NULL: there is none. */
static struct cop_object *
get_locked(struct cop_volume *volume, uint64_t branch, uint64_t id)
{
	struct cop_object *object = find_locked(volume, branch, id);

	while (object && object->is_going) {
		condition_wait(&volume->changed, &volume->lock);
		object = find_locked(volume, branch, id);
	}
	if (object)
		object->refs++;
	return object;
}

static int
check_not_removed(struct cop_object *object, struct cop_object **out_object)
{
	bool is_removed;

	mutex_lock(&object->volume->lock);
	is_removed = object->is_removed;
	mutex_unlock(&object->volume->lock);
	if (is_removed) {
		int err = fail(COP_ENOENT, "no object %" PRIu64, object->id);

		cop_release(object);
		return err;
	}
	*out_object = object;
	return 0;
}

int
handle_open(struct operation *op, uint64_t branch, uint64_t id, struct cop_object **out_object)
{
	struct cop_volume *volume = op->volume;
	struct cop_object *made = NULL;
	struct cop_object *object;
	struct loaded loaded;
	int err;

	mutex_lock(&volume->lock);
	object = get_locked(volume, branch, id);
	mutex_unlock(&volume->lock);
	if (object)
		return check_not_removed(object, out_object);

	err = record_load_by_id(volume, branch, id, &loaded);
	if (err)
		return err;
	err = object_alloc(volume, branch, id, &made);
	if (err)
		return err;
	made->kind = loaded.record.kind;
	made->is_orphan = loaded.record.links == 0;

	mutex_lock(&volume->lock);
	object = get_locked(volume, branch, id);
	if (!object) {
		object = TAKE(made);
		insert_locked(object);
	}
	mutex_unlock(&volume->lock);
	free(made);
	return check_not_removed(object, out_object);
}

int
handle_make(struct cop_volume *volume, uint64_t branch, uint64_t id, enum cop_kind kind,
	bool is_orphan, struct cop_object **out_object)
{
	struct cop_object *object = NULL;
	int err = object_alloc(volume, branch, id, &object);

	if (err)
		return err;
	object->kind = kind;
	object->is_orphan = is_orphan;
	mutex_lock(&volume->lock);
	assert(!find_locked(volume, branch, id)); /* numbers are never given again */
	insert_locked(object);
	mutex_unlock(&volume->lock);
	*out_object = object;
	return 0;
}

void
handle_discard(struct cop_object *object)
{
	mutex_lock(&object->volume->lock);
	object->is_removed = true;
	mutex_unlock(&object->volume->lock);
	cop_release(object);
}

bool
handle_is_last_locked(const struct cop_object *object)
{
	return object->refs == (object->dirty_number == 0 ? 1 : 2);
}

void
handle_set_orphan(struct cop_object *object, bool is_orphan)
{
	mutex_lock(&object->volume->lock);
	object->is_orphan = is_orphan;
	mutex_unlock(&object->volume->lock);
}

struct tree_name
handle_tree_name(const struct cop_object *object)
{
	return (struct tree_name){
		.branch = object->branch,
		.object = object->id,
		.kind = object->kind == COP_DIRECTORY ? TREE_DIRECTORY : TREE_CONTENT,
	};
}

int
handle_tree(struct cop_object *object, struct tree **out_tree)
{
	struct cop_volume *volume = object->volume;
	struct tree *tree;
	struct tree *opened;
	int err;

	mutex_lock(&volume->lock);
	tree = object->content;
	mutex_unlock(&volume->lock);
	if (!tree) {
		err = volume_tree_open(volume->volume, handle_tree_name(object), &opened);
		if (err)
			return fail_in(err, "object %" PRIu64, object->id);
		mutex_lock(&volume->lock);
		if (!object->content)
			object->content = TAKE(opened);
		tree = object->content;
		mutex_unlock(&volume->lock);
		if (opened)
			volume_tree_release(volume->volume, opened);
	}
	*out_tree = tree;
	return 0;
}

int
handle_tree_levels(struct cop_object *object, uint8_t *out_levels)
{
	struct tree *tree;
	int err = handle_tree(object, &tree);

	if (err)
		return err;
	tree->env->hooks->enter(tree->env->context);
	*out_levels = tree->root.levels;
	tree->env->hooks->leave(tree->env->context);
	return 0;
}

/* ---- Public ---------------------------------------------------------------------------------- */

struct cop_object *
cop_hold(struct cop_object *object)
{
	mutex_lock(&object->volume->lock);
	assert(object->refs > 0);
	object->refs++;
	mutex_unlock(&object->volume->lock);
	return object;
}

void
cop_release(struct cop_object *object)
{
	struct cop_volume *volume;

	if (!object)
		return;
	volume = object->volume;
	mutex_lock(&volume->lock);
	assert(object->refs > 0);
	if (handle_is_last_locked(object) && object->is_orphan && !object->is_removed &&
		!object->is_going && !volume->is_closing && !volume_is_read_only(volume->volume)) {
		object->is_going = true;
		mutex_unlock(&volume->lock);
		reclaim_orphan(object);
		mutex_lock(&volume->lock);
		object->is_going = false;
		condition_wake_all(&volume->changed);
	}
	object->refs--;
	if (object->refs > 0) {
		mutex_unlock(&volume->lock);
		return;
	}
	remove_locked(object);
	mutex_unlock(&volume->lock);
	object_free(object);
}

void
handle_free_all(struct cop_volume *volume)
{
	for (size_t i = 0; i < HANDLE_BUCKETS; i++) {
		while (volume->buckets[i]) {
			struct cop_object *object = volume->buckets[i];

			volume->buckets[i] = object->next;
			object_free(object);
		}
	}
}

uint64_t
cop_id(const struct cop_object *object)
{
	return object->id;
}

struct cop_volume *
cop_volume_of(const struct cop_object *object)
{
	return object->volume;
}

int
cop_get(struct cop_object *near, uint64_t id, struct cop_object **out_object)
{
	struct operation op;
	int err;

	operation_begin(&op, near->volume);
	do
		err = handle_open(&op, near->branch, id, out_object);
	while (err && operation_again(&op, &err));
	operation_end(&op);
	return err;
}

int
cop_root(struct cop_volume *volume, const char *version, struct cop_object **out_root)
{
	struct operation op;
	int err;

	if (version && strcmp(version, "main") != 0)
		return fail(COP_ENOENT, "no version %s", version);
	operation_begin(&op, volume);
	do
		err = handle_open(&op, BRANCH_MAIN, OBJECT_ROOT, out_root);
	while (err && operation_again(&op, &err));
	operation_end(&op);
	return err;
}

int
cop_allocate(struct cop_object *near, const struct cop_new *new, struct cop_object **out_object)
{
	struct cop_volume *volume = near->volume;
	struct birth birth = { .branch = near->branch };
	struct cop_object *object = NULL;
	struct operation op;
	struct tx *tx = NULL;
	int err;

	if (new->kind == COP_DIRECTORY)
		return fail(COP_EINVAL, "a directory without a name");
	err = change_begin(&op, volume, NULL, 0);
	if (err)
		return err;
	birth.id = volume_next_object(volume->volume);
	err = handle_make(volume, birth.branch, birth.id, new->kind, true, &object);
	if (err)
		goto out;
	err = tx_begin(volume->volume, &op.visit, false, &tx);
	if (err)
		goto out;
	err = record_put_new(&op, tx, new, &birth);
	if (err) {
		tx_abort(tx);
		goto out;
	}
	err = change_commit(&op, tx);
	if (err)
		goto out;
	*out_object = TAKE(object);

out:
	change_end(&op);
	if (object)
		handle_discard(object);
	return err;
}
