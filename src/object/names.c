/*
 * Names: lookup, create, link, unlink, rename.
 *
 * Every name of an object is known from both sides: as an entry of its directory, and as a back
 * reference of the object, the primary one in its record, each further one a key of its own. The
 * two sides change in one transaction.
 *
 * A change that concerns an object found by name first looks the name up, then waits for its turn
 * on directory and object, and looks again; if the name leads elsewhere by now it begins anew.
 *
 * Moving a directory to another parent could close a loop if two such moves went on at once. Each
 * takes its turn on the root directory too, so they come one after the other; nothing else changes
 * who is above whom.
 */

#include "object/directory.h"
#include "object/pages_internal.h"

enum { CHANGE_TRIES_MAX = 1000 }; /* of a name that changes every time before its turn comes */

/* ---- Lookup ---------------------------------------------------------------------------------- */

static int
lookup_entry(struct operation *op, struct cop_object *object, struct view name, struct entry *out)
{
	struct directory dir;
	struct reading reading;
	int err;

	reading_begin(&reading, op, object);
	do {
		err = directory_load(object, &dir);
		if (err == 0)
			err = directory_find(&dir, name, out);
	} while (reading_again(&reading, err));
	return err;
}

static int
lookup_object(struct operation *op, struct cop_object *directory, struct view name,
	struct cop_object **out_object)
{
	struct entry entry;
	int err = lookup_entry(op, directory, name, &entry);

	if (err)
		return err;
	return handle_open(op, directory->branch, entry.id, out_object);
}

int
cop_lookup(struct cop_object *directory, const char *name, size_t name_bytes,
	struct cop_object **out_object)
{
	struct view view = view_of(name, name_bytes);
	struct operation op;
	int err;

	if (name_bytes > COP_NAME_BYTES_MAX)
		return fail(COP_ENAMETOOLONG, "a name of %zu bytes; the most is %d", name_bytes,
			COP_NAME_BYTES_MAX);
	operation_begin(&op, directory->volume);
	do
		err = lookup_object(&op, directory, view, out_object);
	while (err && operation_again(&op, &err));
	operation_end(&op);
	return err;
}

/* ---- Back references ------------------------------------------------------------------------- */

static uint64_t
seed_of(const struct cop_object *object)
{
	return volume_name_seed(object->volume->volume);
}

static bool
is_primary(const struct record *record, uint64_t parent, struct view name)
{
	return record->parent == parent && view_equal(record->name, name);
}

/* The object gets one more name: in its record if it has none there, else a key. */
static int
name_add(struct tx *tx, const struct cop_object *object, struct record *record, uint64_t parent,
	struct view name)
{
	uint8_t key[NAME_KEY_BYTES_MAX];

	if (record->name.bytes == 0) {
		record->parent = parent;
		record->name = name;
		return 0;
	}
	return tx_put(tx, objects_name(object->branch),
		name_key(key, object->id, parent, name, seed_of(object)), view_of(NULL, 0));
}

/* A key of a further name, copied out of the tree. */
struct found_name {
	uint64_t object;
	uint64_t but_parent; /* not this one */
	struct view but_name;
	uint64_t seed;
	bool is_found;
	uint8_t key[NAME_KEY_BYTES_MAX];
	size_t key_bytes;
	int err;
};

static bool
visit_name(void *context, struct view key, struct view value)
{
	struct found_name *found = context;
	struct view name;
	uint64_t parent;

	(void)value;
	if (key.bytes <= OBJECT_KEY_BYTES || key.bytes > sizeof found->key ||
		get_be64(key.data) != found->object || key.data[8] != KEY_NAME)
		return false;
	found->err = name_key_decode(key, found->seed, &parent, &name);
	if (found->err)
		return false;
	if (parent == found->but_parent && view_equal(name, found->but_name))
		return true;
	memcpy(found->key, key.data, key.bytes);
	found->key_bytes = key.bytes;
	found->is_found = true;
	return false;
}

/* The object loses a name. Of a primary one another takes the place, if there is one; `room` keeps
 * its bytes as long as the record is used. */
static int
name_remove(struct tx *tx, struct cop_object *object, struct record *record, uint64_t parent,
	struct view name, struct found_name *room)
{
	uint8_t key[NAME_KEY_BYTES_MAX];
	uint8_t from[OBJECT_KEY_BYTES];
	struct view promoted;
	int err;

	if (!is_primary(record, parent, name))
		return tx_delete(tx, objects_name(object->branch),
			name_key(key, object->id, parent, name, seed_of(object)));

	*room = (struct found_name){
		.object = object->id,
		.but_parent = parent,
		.but_name = name,
		.seed = seed_of(object),
	};
	record->parent = OBJECT_NONE;
	record->name = view_of(NULL, 0);
	if (object->kind == COP_DIRECTORY || record->links <= 1)
		return 0;
	err = tree_scan(object->volume->objects, object_key(from, object->id, KEY_NAME), 0,
		visit_name, room);
	if (err == 0)
		err = room->err;
	if (err || !room->is_found)
		return err;
	promoted = view_of(room->key, room->key_bytes);
	err = name_key_decode(promoted, room->seed, &record->parent, &record->name);
	if (err)
		return err;
	return tx_delete(tx, objects_name(object->branch), promoted);
}

/* ---- Create ---------------------------------------------------------------------------------- */

static int
expect_absent(const struct directory *dir, struct view name)
{
	struct entry entry;
	int err = directory_find(dir, name, &entry);

	if (err == 0)
		return fail(COP_EEXIST, "the name exists already");
	if (err != COP_ENOENT)
		return err;
	err_clear();
	return 0;
}

static int
create_in(struct operation *op, struct cop_object *directory, struct view name,
	const struct cop_new *new, struct cop_object **out_object)
{
	struct cop_volume *volume = directory->volume;
	struct cop_object *made = NULL;
	struct tx *tx = NULL;
	struct directory dir;
	struct birth birth = {
		.branch = directory->branch,
		.links = new->kind == COP_DIRECTORY ? 2 : 1,
		.parent = directory->id,
		.name = name,
	};
	struct entry entry = { .kind = new->kind, .name = name };
	int err;

	err = directory_load(directory, &dir);
	if (err == 0)
		err = expect_absent(&dir, name);
	if (err == 0 && new->kind == COP_DIRECTORY && dir.loaded.record.links == COP_LINKS_MAX)
		err = fail(COP_EMLINK, "a directory with %" PRIu32 " links", COP_LINKS_MAX);
	if (err == 0)
		err = tx_begin(volume->volume, &op->visit, false, &tx);
	if (err)
		return err;

	birth.id = volume_next_object(volume->volume);
	entry.id = birth.id;
	err = record_put_new(op, tx, new, &birth);
	if (err == 0)
		err = directory_insert(&dir, tx, &entry);
	if (err == 0)
		err = directory_put(&dir, tx);
	if (err == 0)
		err = handle_make(volume, birth.branch, birth.id, new->kind, false, &made);
	if (err == 0)
		err = change_commit(op, TAKE(tx));
	tx_abort(tx);
	if (err) {
		if (made)
			handle_discard(made);
		return err;
	}
	*out_object = made;
	return 0;
}

int
cop_create(struct cop_object *directory, const char *name, size_t name_bytes,
	const struct cop_new *new, struct cop_object **out_object)
{
	struct view view = view_of(name, name_bytes);
	struct cop_object *made = NULL;
	struct operation op = { 0 };
	int err;

	err = name_check(view);
	if (err)
		return err;
	while (change_turn(&op, directory->volume, &directory, 1, &err))
		err = create_in(&op, directory, view, new, &made);
	if (err)
		return err;
	if (out_object)
		*out_object = made;
	else
		cop_release(made);
	return 0;
}

/* ---- Link ------------------------------------------------------------------------------------ */

static int
link_in(struct operation *op, struct cop_object *object, struct cop_object *directory,
	struct view name)
{
	struct entry entry = { .id = object->id, .kind = object->kind, .name = name };
	struct directory dir;
	struct loaded loaded;
	struct record *record = &loaded.record;
	struct tx *tx = NULL;
	uint32_t before;
	int err;

	err = directory_load(directory, &dir);
	if (err == 0)
		err = expect_absent(&dir, name);
	if (err == 0)
		err = record_load(object, &loaded);
	/* Who names an object only after it was written means nobody to see it before. */
	if (err == 0 && record->links == 0 && !pages_are_clean(&object->pages)) {
		err = writeback_object(op, object, false);
		if (err == 0)
			err = record_load(object, &loaded);
	}
	if (err == 0 && record->links == COP_LINKS_MAX)
		err = fail(COP_EMLINK, "object %" PRIu64 " has %" PRIu32 " links", object->id,
			COP_LINKS_MAX);
	if (err == 0)
		err = tx_begin(op->volume->volume, &op->visit, false, &tx);
	if (err)
		return err;

	before = record->links++;
	record_touch(op->volume, record, false);
	err = record_links_raised(tx, object, before);
	if (err == 0)
		err = name_add(tx, object, record, directory->id, name);
	if (err == 0)
		err = record_put(tx, object->branch, object->id, record);
	if (err == 0)
		err = directory_insert(&dir, tx, &entry);
	if (err == 0)
		err = directory_put(&dir, tx);
	if (err == 0)
		err = change_commit(op, TAKE(tx));
	tx_abort(tx);
	if (err == 0)
		handle_set_orphan(object, false);
	return err;
}

int
cop_link(struct cop_object *object, struct cop_object *directory, const char *name,
	size_t name_bytes)
{
	struct cop_object *both[] = { object, directory };
	struct view view = view_of(name, name_bytes);
	struct operation op = { 0 };
	int err;

	err = name_check(view);
	if (err)
		return err;
	if (object->volume != directory->volume || object->branch != directory->branch)
		return fail(COP_EXDEV, "a link across volumes or versions");
	if (object->kind == COP_DIRECTORY)
		return fail(COP_EPERM, "a second name for a directory");
	while (change_turn(&op, object->volume, both, ARRAY_COUNT(both), &err))
		err = link_in(&op, object, directory, view);
	return err;
}

/* ---- Unlink ---------------------------------------------------------------------------------- */

static int
expect_empty(struct cop_object *object)
{
	struct directory dir;
	int err = directory_load(object, &dir);

	if (err)
		return err;
	if (dir.loaded.record.length > 0)
		return fail(COP_ENOTEMPTY, "the directory has %" PRIu64 " entries",
			dir.loaded.record.length);
	return 0;
}

/* May what `name` names be taken away, as a file or as a directory? */
static int
check_removal(struct cop_object *object, uint32_t flags)
{
	if (object->kind == COP_DIRECTORY) {
		if (flags & COP_UNLINK_FILE)
			return fail(COP_EISDIR, "the name is that of a directory");
		return expect_empty(object);
	}
	if (flags & COP_UNLINK_DIRECTORY)
		return fail(COP_ENOTDIR, "the name is not that of a directory");
	return 0;
}

/* A name that is about to go, with what it takes to drop the object under it. */
struct removal {
	struct cop_object *object;
	struct loaded loaded;
	struct found_name room;
	struct drop drop;
};

/* The object loses the name (its entry is the caller's business) and a link; a directory, which has
 * one more for itself, both. */
static int
removal_add(struct removal *removal, struct operation *op, struct tx *tx,
	struct cop_object *directory, struct view name)
{
	struct record *record = &removal->loaded.record;
	int err = record_load(removal->object, &removal->loaded);

	if (err)
		return err;
	if (record->links == 0)
		return fail(COP_EFORMAT, "object %" PRIu64 " has a name but no links",
			removal->object->id);
	err = name_remove(tx, removal->object, record, directory->id, name, &removal->room);
	if (err)
		return err;
	record->links = removal->object->kind == COP_DIRECTORY ? 0 : record->links - 1;
	record_touch(op->volume, record, false);
	return drop_begin(op, tx, removal->object, record, &removal->drop);
}

static int
unlink_in(struct operation *op, struct cop_object *directory, struct view name,
	struct cop_object *object, uint32_t flags, bool *out_again)
{
	struct removal removal = { .object = object };
	struct directory dir;
	struct entry entry;
	struct tx *tx = NULL;
	int err;

	err = directory_load(directory, &dir);
	if (err == 0)
		err = directory_find(&dir, name, &entry);
	if (err)
		return err;
	if (entry.id != object->id) {
		*out_again = true;
		return 0;
	}
	err = check_removal(object, flags);
	if (err == 0)
		err = tx_begin(op->volume->volume, &op->visit, true, &tx);
	if (err)
		return err;

	err = directory_remove(&dir, tx, &entry);
	if (err == 0)
		err = directory_put(&dir, tx);
	if (err) {
		tx_abort(tx);
		return err;
	}
	err = removal_add(&removal, op, tx, directory, name);
	if (err) {
		tx_abort(tx);
		return err;
	}
	err = change_commit(op, tx);
	drop_end(op, &removal.drop, err == 0);
	return err;
}

static int
unlink_once(struct cop_object *directory, struct view name, uint32_t flags, bool *out_again)
{
	struct cop_object *both[2] = { directory };
	struct operation op;
	int err;

	operation_begin(&op, directory->volume);
	err = lookup_object(&op, directory, name, &both[1]);
	operation_end(&op);
	*out_again = false;
	if (err)
		return err;
	err = change_begin(&op, directory->volume, both, ARRAY_COUNT(both));
	if (err == 0) {
		err = unlink_in(&op, directory, name, both[1], flags, out_again);
		change_end(&op);
	}
	cop_release(both[1]);
	return err;
}

int
cop_unlink(struct cop_object *directory, const char *name, size_t name_bytes, uint32_t flags)
{
	struct view view = view_of(name, name_bytes);
	uint32_t room_tries = 0;
	bool again = true;
	int err = name_check(view);

	for (int tries = 0; err == 0 && again; tries++) {
		if (tries == CHANGE_TRIES_MAX)
			return fail(COP_EBUSY, "the name changes all the time");
		do
			err = unlink_once(directory, view, flags, &again);
		while (change_again(directory->volume, err, &room_tries));
	}
	return err;
}

/* ---- Rename ---------------------------------------------------------------------------------- */

struct rename {
	struct cop_object *from;
	struct cop_object *to;
	struct view from_name;
	struct view to_name;
	uint32_t flags;

	/* As they were looked up, before their turn came. */
	struct cop_object *source;
	struct cop_object *target; /* NULL: no such name */

	/* At their turn. */
	struct directory from_dir;
	struct directory to_dir; /* not used when both are the same */
	struct entry source_entry;
	struct entry target_entry;
};

/* Is `object` the directory `below` or above it? Climbs to the root; a loop on the medium ends. */
static int
check_not_above(struct cop_object *object, struct cop_object *below)
{
	uint64_t id = below->id;
	uint64_t limit = volume_objects(object->volume->volume) + 2;

	for (uint64_t steps = 0; id != OBJECT_ROOT; steps++) {
		struct loaded loaded;
		int err;

		if (id == object->id)
			return fail(COP_ELOOP, "a directory cannot be moved into itself");
		err = record_load_by_id(object->volume, object->branch, id, &loaded);
		if (err)
			return err;
		if (loaded.record.parent == OBJECT_NONE || steps > limit)
			return fail(COP_EFORMAT, "directory %" PRIu64 " is not below the root", id);
		id = loaded.record.parent;
	}
	return 0;
}

/* Do the names still lead where they led when the operation took its turn? */
static int
rename_look_again(struct rename *rename, bool *out_again)
{
	struct directory *to_dir = rename->from == rename->to ? &rename->from_dir : &rename->to_dir;
	int err;

	err = directory_load(rename->from, &rename->from_dir);
	if (err == 0 && rename->from != rename->to)
		err = directory_load(rename->to, &rename->to_dir);
	if (err == 0)
		err = directory_find(&rename->from_dir, rename->from_name, &rename->source_entry);
	if (err)
		return err;
	err = directory_find(to_dir, rename->to_name, &rename->target_entry);
	if (err && err != COP_ENOENT)
		return err;
	err_clear();
	*out_again = rename->source_entry.id != rename->source->id ||
		     (err == COP_ENOENT) != !rename->target ||
		     (rename->target && rename->target_entry.id != rename->target->id);
	return 0;
}

/* What rename(2) refuses. */
static int
rename_check(const struct rename *rename)
{
	bool exchange = rename->flags & COP_RENAME_EXCHANGE;
	int err;

	if (rename->target && (rename->flags & COP_RENAME_NOREPLACE))
		return fail(COP_EEXIST, "the new name exists already");
	if (!rename->target && exchange)
		return fail(COP_ENOENT, "nothing to exchange with");
	if (rename->source->kind == COP_DIRECTORY && rename->from != rename->to) {
		err = check_not_above(rename->source, rename->to);
		if (err)
			return err;
	}
	if (!rename->target)
		return 0;
	if (exchange) {
		if (rename->target->kind == COP_DIRECTORY && rename->from != rename->to)
			return check_not_above(rename->target, rename->from);
		return 0;
	}
	if (rename->source->kind == COP_DIRECTORY && rename->target->kind != COP_DIRECTORY)
		return fail(COP_ENOTDIR, "a directory cannot replace what is none");
	if (rename->source->kind != COP_DIRECTORY && rename->target->kind == COP_DIRECTORY)
		return fail(COP_EISDIR, "what is no directory cannot replace one");
	return rename->target->kind == COP_DIRECTORY ? expect_empty(rename->target) : 0;
}

/* An object's back reference moves from one name to another. */
static int
move_name(struct operation *op, struct tx *tx, struct cop_object *object, struct cop_object *from,
	struct view from_name, struct cop_object *to, struct view to_name)
{
	struct loaded loaded;
	struct record *record = &loaded.record;
	uint8_t key[NAME_KEY_BYTES_MAX];
	int err = record_load(object, &loaded);

	if (err)
		return err;
	if (is_primary(record, from->id, from_name)) {
		record->parent = to->id;
		record->name = to_name;
	} else {
		err = tx_delete(tx, objects_name(object->branch),
			name_key(key, object->id, from->id, from_name, seed_of(object)));
		if (err == 0)
			err = name_add(tx, object, record, to->id, to_name);
		if (err)
			return err;
	}
	record_touch(op->volume, record, false);
	return record_put(tx, object->branch, object->id, record);
}

/* The entries on both sides, and the records of the directories. */
static int
rename_entries(struct rename *rename, struct tx *tx)
{
	bool same = rename->from == rename->to;
	bool exchange = rename->flags & COP_RENAME_EXCHANGE;
	struct directory *from_dir = &rename->from_dir;
	struct directory *to_dir = same ? from_dir : &rename->to_dir;
	struct entry arrives = rename->source_entry;
	struct entry comes_back = rename->target_entry;
	int err;

	arrives.name = rename->to_name;
	comes_back.name = rename->from_name;
	err = directory_remove(from_dir, tx, &rename->source_entry);
	if (err == 0 && rename->target)
		err = directory_remove(to_dir, tx, &rename->target_entry);
	if (err == 0)
		err = directory_insert(to_dir, tx, &arrives);
	if (err == 0 && exchange)
		err = directory_insert(from_dir, tx, &comes_back);
	if (err == 0)
		err = directory_put(from_dir, tx);
	if (err == 0 && !same)
		err = directory_put(to_dir, tx);
	return err;
}

static int
rename_in(struct operation *op, struct rename *rename, bool *out_again)
{
	bool exchange = rename->flags & COP_RENAME_EXCHANGE;
	bool replaces = rename->target && !exchange;
	struct removal removal = { .object = rename->target };
	struct tx *tx = NULL;
	int err;

	err = rename_look_again(rename, out_again);
	if (err || *out_again)
		return err;
	/* Two names of one object: nothing to do, says POSIX. */
	if (rename->target == rename->source && !(rename->flags & COP_RENAME_NOREPLACE))
		return 0;
	err = rename_check(rename);
	/* Who replaces a file by a new one means to have either, not an empty one. */
	if (err == 0 && replaces)
		err = writeback_object(op, rename->source, false);
	if (err == 0)
		err = tx_begin(op->volume->volume, &op->visit, false, &tx);
	if (err)
		return err;

	err = rename_entries(rename, tx);
	if (err == 0)
		err = move_name(op, tx, rename->source, rename->from, rename->from_name, rename->to,
			rename->to_name);
	if (err == 0 && exchange)
		err = move_name(op, tx, rename->target, rename->to, rename->to_name, rename->from,
			rename->from_name);
	if (err == 0 && replaces)
		err = removal_add(&removal, op, tx, rename->to, rename->to_name);
	if (err) {
		tx_abort(tx);
		return err;
	}
	err = change_commit(op, tx);
	if (replaces)
		drop_end(op, &removal.drop, err == 0);
	return err;
}

/* Looks both names up; what is not there as a target stays NULL. */
static int
rename_look_up(struct rename *rename)
{
	struct operation op;
	int err;

	operation_begin(&op, rename->from->volume);
	err = lookup_object(&op, rename->from, rename->from_name, &rename->source);
	if (err == 0) {
		err = lookup_object(&op, rename->to, rename->to_name, &rename->target);
		if (err == COP_ENOENT) {
			err_clear();
			err = 0;
		}
	}
	operation_end(&op);
	return err;
}

static int
rename_once(struct rename *rename, bool *out_again)
{
	struct cop_object *objects[OPERATION_OBJECTS_MAX];
	struct cop_object *root = NULL;
	struct operation op;
	size_t count = 0;
	int err;

	*out_again = false;
	rename->source = NULL;
	rename->target = NULL;
	err = rename_look_up(rename);
	if (err == 0 && rename->from != rename->to)
		err = cop_root(rename->from->volume, NULL, &root);
	if (err)
		goto out;
	objects[count++] = rename->from;
	objects[count++] = rename->to;
	objects[count++] = rename->source;
	if (rename->target)
		objects[count++] = rename->target;
	if (root && (rename->source->kind == COP_DIRECTORY ||
			    (rename->target && rename->target->kind == COP_DIRECTORY)))
		objects[count++] = root;
	err = change_begin(&op, rename->from->volume, objects, count);
	if (err)
		goto out;
	err = rename_in(&op, rename, out_again);
	change_end(&op);

out:
	cop_release(root);
	cop_release(rename->source);
	cop_release(rename->target);
	return err;
}

int
cop_rename(struct cop_object *from, const char *from_name, size_t from_bytes, struct cop_object *to,
	const char *to_name, size_t to_bytes, uint32_t flags)
{
	struct rename rename = {
		.from = from,
		.to = to,
		.from_name = view_of(from_name, from_bytes),
		.to_name = view_of(to_name, to_bytes),
		.flags = flags,
	};
	uint32_t room_tries = 0;
	bool again = true;
	int err = name_check(rename.from_name);

	if (err == 0)
		err = name_check(rename.to_name);
	if (err)
		return err;
	if (from->volume != to->volume || from->branch != to->branch)
		return fail(COP_EXDEV, "a rename across volumes or versions");
	if ((flags & COP_RENAME_NOREPLACE) && (flags & COP_RENAME_EXCHANGE))
		return fail(COP_EINVAL, "exchange and no-replace exclude each other");
	for (int tries = 0; err == 0 && again; tries++) {
		if (tries == CHANGE_TRIES_MAX)
			return fail(COP_EBUSY, "the name changes all the time");
		do
			err = rename_once(&rename, &again);
		while (change_again(from->volume, err, &room_tries));
	}
	return err;
}
