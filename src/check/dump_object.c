/* One object: all its keys in the object tree, and the entries of its tree. */

#include "check/dump_internal.h"

#include "object/open.h"

#include <string.h>

struct object_dump {
	struct dump *dump;
	uint64_t id;
	bool is_found;
	bool has_root;
	enum tree_kind kind;
	struct tree_root root;
};

int
dump__resolve(struct dump *dump)
{
	struct cop_open_options options = COP_INIT(options);
	struct cop_volume *volume = NULL;
	struct cop_object *root = NULL;
	struct cop_object *object = NULL;
	int err;

	options.read_only = true;
	options.cache_bytes = dump->options.cache_bytes;
	err = cop_open_on(dump->dev, &options, &volume);
	if (err)
		return fail_in(err, "a path needs a volume that opens, a number does not");
	err = cop_root(volume, NULL, &root);
	if (err == 0)
		err = cop_walk(root, dump->options.path, COP_WALK_NOFOLLOW, &object);
	if (err == 0)
		dump->options.number = cop_id(object);
	cop_release(object);
	cop_release(root);
	(void)cop_close(volume); /* for reading: nothing can be lost */
	return err;
}

static bool
meet_key(void *context, struct view key, struct view value)
{
	struct object_dump *object = context;
	uint64_t id = key.bytes < OBJECT_KEY_BYTES ? 0 : get_be64(key.data);

	if (id != object->id)
		return false;
	object->is_found = true;
	dump__entry(object->dump, NULL, TREE_OBJECTS, key, value);
	if (key.bytes == ROOT_KEY_BYTES && key.data[OBJECT_KEY_BYTES - 1] == KEY_ROOT &&
		value.bytes == ROOT_RECORD_BYTES &&
		root_record_decode(value.data, &object->root) == 0) {
		object->kind = key.data[OBJECT_KEY_BYTES];
		object->has_root = true;
	}
	err_clear();
	return !object->dump->err;
}

static bool
meet_entry(void *context, struct view key, struct view value)
{
	struct object_dump *object = context;

	dump__entry(object->dump, NULL, object->kind, key, value);
	return true;
}

static int
show_keys(struct object_dump *object)
{
	struct dump *dump = object->dump;
	struct tree objects = { .env = dump->env, .kind = TREE_OBJECTS };
	uint8_t key[OBJECT_KEY_BYTES];
	int err = dump__objects_root(dump, &objects.root);

	if (err)
		return err;
	put_be64(key, object->id);
	dump__array(dump, "keys");
	err = tree_scan(&objects, view_of(key, 8), 0, meet_key, object);
	dump__end(dump);
	if (err && !dump->err) {
		dump__problem(dump, err);
		object->is_found = true; /* or not; nobody can tell */
	}
	if (!object->is_found && !dump->err)
		return fail(COP_ENOENT, "object %" PRIu64 " is not in %s", object->id,
			dump->volume ? "the volume"
				     : "the checkpoint; the journal was not replayed");
	return 0;
}

int
dump__object_of(struct dump *dump)
{
	struct object_dump object = { .dump = dump, .id = dump->options.number };
	int err;

	dump__unsigned(dump, "generation", dump->sb.generation);
	dump__bool(dump, "is_replayed", dump->volume != NULL);
	dump__id(dump, "object", object.id);
	err = show_keys(&object);
	if (err || !object.has_root || dump->err)
		return err;
	dump__array(dump, "tree");
	if (object.kind == TREE_CONTENT || object.kind == TREE_DIRECTORY)
		dump__walk(dump, object.kind, &object.root, meet_entry, &object);
	dump__end(dump);
	return 0;
}
