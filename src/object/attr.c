/* Attributes, and reference counts without names. */

#include "object/pages_internal.h"

/* ---- Attributes ------------------------------------------------------------------------------ */

static int
stat_object(struct cop_object *object, struct cop_attr *out_attr)
{
	struct loaded loaded;
	const struct record *record = &loaded.record;
	/* Pages first: what has left them is in the record by then. */
	uint64_t dirty_length = pages_length(&object->pages, 0);
	int64_t dirty_ns = atomic_load(&object->pages.modified_ns);
	uint64_t dirty_blocks = atomic_load(&object->pages.count);
	uint8_t levels = 0;
	int err = record_load(object, &loaded);

	if (err == 0 && record->form == COP_FORM_TREE)
		err = handle_tree_levels(object, &levels);
	if (err)
		return err;
	*out_attr = (struct cop_attr){
		.id = object->id,
		.kind = record->kind,
		.doctype = record->doctype,
		.mode = record->mode,
		.uid = record->uid,
		.gid = record->gid,
		.links = record->links,
		.length = max_u64(record->length, dirty_length),
		.allocated_bytes = (record->allocated_blocks + dirty_blocks) * BLOCK_BYTES,
		.device = record->device,
		.created_ns = record->created_ns,
		.changed_ns = record->changed_ns,
		.modified_ns = record->modified_ns,
		.accessed_ns = record->accessed_ns,
		.flags = record->flags,
		.owner = record->owner,
		.parent = record->parent,
		.form = record->form,
		.levels = levels,
		.name_bytes = (uint32_t)record->name.bytes,
	};
	if (dirty_ns != 0)
		out_attr->modified_ns = dirty_ns;
	if (dirty_ns > out_attr->changed_ns)
		out_attr->changed_ns = dirty_ns;
	if (record->name.bytes > 0)
		memcpy(out_attr->name, record->name.data, record->name.bytes);
	return 0;
}

int
cop_stat(struct cop_object *object, struct cop_attr *out_attr)
{
	struct cop_attr attr;
	struct operation op;
	int err;

	operation_begin(&op, object->volume);
	do
		err = stat_object(object, &attr);
	while (operation_again(&op, &err));
	operation_end(&op);
	if (err == 0)
		public_copy_out(out_attr, &attr, sizeof attr);
	return err;
}

/* One transaction that changes nothing but the record. */
static int
put_record(struct operation *op, struct cop_object *object, const struct record *record)
{
	struct tx *tx;
	int err = tx_begin(op->volume->volume, &op->visit, false, &tx);

	if (err)
		return err;
	err = record_put(tx, object->branch, object->id, record);
	if (err) {
		tx_abort(tx);
		return err;
	}
	return change_commit(op, tx);
}

static int
set_attr(
	struct operation *op, struct cop_object *object, const struct cop_attr *attr, uint32_t mask)
{
	struct loaded loaded;
	struct record *record = &loaded.record;
	int err = record_load(object, &loaded);

	if (err)
		return err;
	record_touch(object->volume, record, false);
	if (mask & COP_SET_MODE)
		record->mode = attr->mode;
	if (mask & COP_SET_UID)
		record->uid = attr->uid;
	if (mask & COP_SET_GID)
		record->gid = attr->gid;
	if (mask & COP_SET_ACCESSED)
		record->accessed_ns = attr->accessed_ns;
	if (mask & COP_SET_MODIFIED)
		record->modified_ns = attr->modified_ns;
	if (mask & COP_SET_CREATED)
		record->created_ns = attr->created_ns;
	if (mask & COP_SET_DOCTYPE)
		record->doctype = attr->doctype;
	if (mask & COP_SET_FLAGS)
		record->flags = attr->flags;
	if (mask & COP_SET_OWNER)
		record->owner = attr->owner;
	if (mask & COP_SET_CHANGED)
		record->changed_ns = attr->changed_ns;
	err = put_record(op, object, record);
	if (err == 0 && mask & (COP_SET_MODIFIED | COP_SET_CHANGED))
		pages_keep_times(object);
	return err;
}

int
cop_set_attr(struct cop_object *object, const struct cop_attr *attr, uint32_t mask)
{
	const uint32_t known = (COP_SET_CHANGED << 1) - 1;
	struct cop_attr given;
	struct operation op = { 0 };
	int err;

	public_copy_in(&given, attr, sizeof given);
	if ((mask & ~known) != 0)
		return fail(COP_EINVAL, "unknown attributes %#" PRIx32, mask & ~known);
	if (mask & COP_SET_MODE && given.mode > 07777)
		return fail(COP_EINVAL, "mode %" PRIo32, given.mode);
	while (change_turn(&op, object->volume, &object, 1, &err))
		err = set_attr(&op, object, &given, mask);
	return err;
}

/* ---- References without names ---------------------------------------------------------------- */

static int
add_reference(struct operation *op, struct cop_object *object)
{
	struct loaded loaded;
	struct tx *tx = NULL;
	uint32_t before;
	int err = record_load(object, &loaded);

	if (err)
		return err;
	before = loaded.record.links;
	if (before == COP_LINKS_MAX)
		return fail(COP_EMLINK, "object %" PRIu64, object->id);
	loaded.record.links++;
	record_touch(object->volume, &loaded.record, false);
	err = tx_begin(op->volume->volume, &op->visit, false, &tx);
	if (err)
		return err;
	err = record_links_raised(tx, object, before);
	if (err == 0)
		err = record_put(tx, object->branch, object->id, &loaded.record);
	if (err) {
		tx_abort(tx);
		return err;
	}
	err = change_commit(op, tx);
	if (err == 0)
		handle_set_orphan(object, false);
	return err;
}

static int
check_may_count(const struct cop_object *object)
{
	if (object->kind == COP_DIRECTORY)
		return fail(COP_EINVAL, "object %" PRIu64 " is a directory", object->id);
	return 0;
}

int
cop_ref(struct cop_object *object)
{
	struct operation op = { 0 };
	int err = check_may_count(object);

	if (err)
		return err;
	while (change_turn(&op, object->volume, &object, 1, &err))
		err = add_reference(&op, object);
	return err;
}

struct names {
	uint64_t object;
	uint64_t count;
};

static bool
count_name(void *context, struct view key, struct view value)
{
	struct names *names = context;

	(void)value;
	if (key.bytes < OBJECT_KEY_BYTES || get_be64(key.data) != names->object ||
		key.data[OBJECT_KEY_BYTES - 1] != KEY_NAME)
		return false;
	names->count++;
	return true;
}

/* A link that belongs to a name goes with the name only, else the name would lead nowhere. */
static int
check_has_nameless_link(struct cop_object *object, const struct record *record)
{
	struct names names = { .object = object->id, .count = record->name.bytes > 0 };
	uint8_t from[OBJECT_KEY_BYTES];
	int err = tree_scan(object->volume->objects, object_key(from, object->id, KEY_NAME), 0,
		count_name, &names);

	if (err)
		return err;
	if (record->links <= names.count)
		return fail(COP_EINVAL, "object %" PRIu64 " has no references but its names",
			object->id);
	return 0;
}

static int
drop_reference(struct operation *op, struct cop_object *object)
{
	struct loaded loaded;
	struct tx *tx = NULL;
	struct drop drop;
	int err = record_load(object, &loaded);

	if (err)
		return err;
	if (loaded.record.links == 0)
		return fail(COP_EINVAL, "object %" PRIu64 " has no references", object->id);
	err = check_has_nameless_link(object, &loaded.record);
	if (err)
		return err;
	loaded.record.links--;
	record_touch(object->volume, &loaded.record, false);
	err = tx_begin(op->volume->volume, &op->visit, true, &tx);
	if (err)
		return err;
	err = drop_begin_kept(tx, object, &loaded.record, &drop);
	if (err) {
		tx_abort(tx);
		return err;
	}
	err = change_commit(op, tx);
	drop_end(op, &drop, err == 0);
	return err;
}

int
cop_unref(struct cop_object *object)
{
	struct operation op = { 0 };
	int err = check_may_count(object);

	if (err)
		return err;
	while (change_turn(&op, object->volume, &object, 1, &err))
		err = drop_reference(&op, object);
	return err;
}
