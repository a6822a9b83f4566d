#include "support/op.h"

#include "base/num.h"
#include "coppice.h"
#include "device/device.h"
#include "object/clone.h"

#include <stdlib.h>
#include <string.h>

int
op_runner_init(struct op_runner *runner, struct cop_volume *volume)
{
	*runner = (struct op_runner){ .volume = volume };
	runner->buffer = block_buffer_alloc(div_up(OP_WRITE_BYTES_MAX, COP_BLOCK_BYTES) + 1);
	if (!runner->buffer)
		return fail(COP_ENOMEM, "runner");
	return cop_root(volume, NULL, &runner->root);
}

void
op_runner_fini(struct op_runner *runner)
{
	for (int i = 0; i < OP_HELD; i++)
		cop_release(runner->held[i]);
	cop_release(runner->root);
	free(runner->buffer);
	*runner = (struct op_runner){ 0 };
}

/* The part of `path` before its last name, and that name. */
static int
resolve_parent(struct op_runner *runner, const char *path, struct cop_object **out_parent,
	const char **out_name)
{
	const char *end = strrchr(path, '/');
	struct cop_object *at = cop_hold(runner->root);

	for (const char *name = path + 1; name < end;) {
		const char *slash = strchr(name, '/');
		struct cop_object *next = NULL;
		int err = cop_lookup(at, name, (size_t)(slash - name), &next);

		cop_release(at);
		if (err)
			return err;
		at = next;
		name = slash + 1;
	}
	*out_parent = at;
	*out_name = end + 1;
	return 0;
}

int
op_resolve(struct op_runner *runner, const char *path, struct cop_object **out_object)
{
	struct cop_object *parent = NULL;
	const char *name;
	int err = resolve_parent(runner, path, &parent, &name);

	if (err)
		return err;
	if (*name == 0) {
		*out_object = parent; /* "/" */
		return 0;
	}
	err = cop_lookup(parent, name, strlen(name), out_object);
	cop_release(parent);
	return err;
}

static int
run_create(struct op_runner *runner, const struct op *op, uint64_t *out_id)
{
	struct cop_new new = COP_INIT(new);
	struct cop_object *parent = NULL;
	struct cop_object *object = NULL;
	struct op_values values;
	const char *name;
	int err = resolve_parent(runner, op->path, &parent, &name);

	if (err)
		return err;
	op_values(op, &values);
	new.kind = op->kind;
	new.mode = values.mode;
	new.uid = values.uid;
	new.gid = values.gid;
	new.device = values.device;
	if (op->kind == COP_SYMLINK) {
		new.target = values.target;
		new.target_bytes = values.target_bytes;
	}
	if (op->type == OP_CREATE) {
		err = cop_create(parent, name, strlen(name), &new, &object);
	} else {
		err = cop_allocate(parent, &new, &object);
		if (!err)
			err = cop_link(object, parent, name, strlen(name));
	}
	if (!err)
		*out_id = cop_id(object);
	cop_release(object);
	cop_release(parent);
	return err;
}

static int
write_to(struct op_runner *runner, struct cop_object *object, const struct op *op)
{
	/* Which device calls there are depends on where the bytes lie: it is the same in a replay.
	 */
	uint8_t *bytes = runner->buffer + op->seed % 2;
	size_t written = 0;

	op_fill(op->seed, 0, bytes, op->bytes);
	return cop_write(object, op->offset, bytes, op->bytes, &written);
}

static int
run_set_attr(struct cop_object *object, const struct op *op)
{
	struct cop_attr attr = COP_INIT(attr);
	struct op_values values;

	op_values(op, &values);
	attr.mode = values.mode;
	attr.uid = values.uid;
	attr.gid = values.gid;
	attr.doctype = values.doctype;
	attr.created_ns = values.created_ns;
	attr.modified_ns = values.modified_ns;
	attr.accessed_ns = values.accessed_ns;
	return cop_set_attr(object, &attr, op->flags);
}

/* The operations on one object that its path names. */
static int
run_on_object(struct op_runner *runner, const struct op *op)
{
	struct cop_object *object = NULL;
	int err = op_resolve(runner, op->path, &object);

	if (err)
		return err;
	switch (op->type) {
	case OP_WRITE:
		err = write_to(runner, object, op);
		break;
	case OP_SET_LENGTH:
		err = cop_set_length(object, op->bytes);
		break;
	case OP_PUNCH:
		err = cop_punch(object, op->offset, op->bytes);
		break;
	case OP_PREALLOCATE:
		err = cop_preallocate(object, op->offset, op->bytes, op->flags != 0);
		break;
	case OP_XATTR_SET:
		op_fill(op->seed, 0, runner->buffer, op->bytes);
		err = cop_xattr_set(object, op_xattr_name(op->name_number), runner->buffer,
			op->bytes, op->flags);
		break;
	case OP_XATTR_REMOVE:
		err = cop_xattr_remove(object, op_xattr_name(op->name_number));
		break;
	case OP_SET_ATTR:
		err = run_set_attr(object, op);
		break;
	case OP_REF:
		err = cop_ref(object);
		break;
	case OP_UNREF:
		err = cop_unref(object);
		break;
	case OP_SYNC_OBJECT:
		err = cop_sync_object(object);
		break;
	case OP_HOLD:
		cop_release(runner->held[op->name_number]);
		runner->held[op->name_number] = TAKE(object);
		break;
	default:
		err = fail(COP_EINVAL, "operation %d", (int)op->type);
	}
	cop_release(object);
	return err;
}

static int
run_link(struct op_runner *runner, const struct op *op)
{
	struct cop_object *object = NULL;
	struct cop_object *parent = NULL;
	const char *name;
	int err = op_resolve(runner, op->path, &object);

	if (!err)
		err = resolve_parent(runner, op->path2, &parent, &name);
	if (!err)
		err = cop_link(object, parent, name, strlen(name));
	cop_release(parent);
	cop_release(object);
	return err;
}

static int
run_clone(struct op_runner *runner, const struct op *op)
{
	struct cop_object *source = NULL;
	struct cop_object *target = NULL;
	int err = op_resolve(runner, op->path, &source);

	if (!err)
		err = op_resolve(runner, op->path2, &target);
	if (!err)
		err = object_clone(source, target);
	cop_release(target);
	cop_release(source);
	return err;
}

static int
run_unlink(struct op_runner *runner, const struct op *op)
{
	struct cop_object *parent = NULL;
	const char *name;
	int err = resolve_parent(runner, op->path, &parent, &name);

	if (!err)
		err = cop_unlink(parent, name, strlen(name), op->flags);
	cop_release(parent);
	return err;
}

static int
run_rename(struct op_runner *runner, const struct op *op)
{
	struct cop_object *from = NULL;
	struct cop_object *to = NULL;
	const char *from_name;
	const char *to_name;
	int err = resolve_parent(runner, op->path, &from, &from_name);

	if (!err)
		err = resolve_parent(runner, op->path2, &to, &to_name);
	if (!err)
		err = cop_rename(from, from_name, strlen(from_name), to, to_name, strlen(to_name),
			op->flags);
	cop_release(to);
	cop_release(from);
	return err;
}

int
op_run(struct op_runner *runner, const struct op *op, uint64_t *out_id)
{
	struct cop_object *held = runner->held[op->name_number % OP_HELD];
	uint64_t pending;

	*out_id = 0;
	switch (op->type) {
	case OP_CREATE:
	case OP_ALLOCATE:
		return run_create(runner, op, out_id);
	case OP_LINK:
		return run_link(runner, op);
	case OP_CLONE:
		return run_clone(runner, op);
	case OP_UNLINK:
		return run_unlink(runner, op);
	case OP_RENAME:
		return run_rename(runner, op);
	case OP_SYNC:
		return cop_sync(runner->volume);
	case OP_SETTLE:
		return cop_settle(runner->volume);
	case OP_BARRIER:
		return cop_barrier(runner->volume);
	case OP_POLL:
		return cop_poll(runner->volume, &pending);
	case OP_WRITE_HELD:
		return held ? write_to(runner, held, op) : fail(COP_ENOENT, "an empty slot");
	case OP_LET_GO:
		cop_release(held);
		runner->held[op->name_number % OP_HELD] = NULL;
		return 0;
	default:
		return run_on_object(runner, op);
	}
}
