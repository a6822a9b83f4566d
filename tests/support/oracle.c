#include "support/oracle.h"

#include "base/checksum.h"
#include "base/num.h"
#include "coppice.h"
#include "support/must.h"

enum { ROOT = 0 };
#define NO_NODE UINT32_MAX

struct page {
	uint32_t users;
	uint64_t hash; /* 0: not yet taken */
	bool is_zero;  /* once it is taken */
	uint8_t data[COP_BLOCK_BYTES];
};

struct block {
	uint64_t index;
	struct page *page; /* counted */
};

struct entry {
	char name[COP_NAME_BYTES_MAX + 1];
	uint32_t node;
};

struct xattr {
	uint32_t name_number;
	uint64_t hash; /* of name and value */
};

struct node {
	uint32_t users; /* models that share it */
	uint64_t id;
	uint32_t kind;
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint32_t doctype;
	uint32_t links; /* names and references */
	uint64_t length;
	uint64_t device;
	int64_t created_ns;
	int64_t changed_ns;
	int64_t modified_ns;
	uint64_t target_hash;
	struct entry *entries; /* of a directory */
	size_t entry_count;
	size_t entry_capacity;
	struct xattr xattrs[OP_XATTR_NAMES];
	size_t xattr_count;
	struct block *blocks; /* by index; absent ones are zeros */
	size_t block_count;
	size_t block_capacity;
};

struct oracle {
	struct node **nodes; /* counted; NULL: gone */
	size_t count;
	size_t capacity;
	uint32_t held[OP_HELD];
	struct snapshot *snapshot; /* NULL: not made since the last change */
};

/* ---- Nodes and pages ------------------------------------------------------------------------ */

static void
page_drop(struct page *page)
{
	if (--page->users == 0)
		free(page);
}

static void
node_drop(struct node *node)
{
	if (!node || --node->users > 0)
		return;
	for (size_t i = 0; i < node->block_count; i++)
		page_drop(node->blocks[i].page);
	free(node->blocks);
	free(node->entries);
	free(node);
}

static void *
copy_array(const void *from, size_t count, size_t item_bytes)
{
	void *to = must_alloc(count * item_bytes);

	if (count > 0)
		memcpy(to, from, count * item_bytes);
	return to;
}

/* The node for changing: a copy if another model looks at it as well. */
static struct node *
own(struct oracle *oracle, uint32_t number)
{
	struct node *shared = oracle->nodes[number];
	struct node *node;

	if (shared->users == 1)
		return shared;
	node = must_alloc(sizeof *node);
	*node = *shared;
	node->users = 1;
	node->entries = copy_array(shared->entries, shared->entry_count, sizeof *node->entries);
	node->entry_capacity = shared->entry_count;
	node->blocks = copy_array(shared->blocks, shared->block_count, sizeof *node->blocks);
	node->block_capacity = shared->block_count;
	for (size_t i = 0; i < node->block_count; i++)
		node->blocks[i].page->users++;
	shared->users--;
	oracle->nodes[number] = node;
	return node;
}

static uint32_t
add_node(struct oracle *oracle)
{
	struct node *node = must_alloc(sizeof *node);

	node->users = 1;
	oracle->nodes =
		must_grow(oracle->nodes, oracle->count, &oracle->capacity, sizeof(struct node *));
	oracle->nodes[oracle->count] = node;
	return (uint32_t)oracle->count++;
}

static bool
is_held(const struct oracle *oracle, uint32_t number)
{
	for (int i = 0; i < OP_HELD; i++)
		if (oracle->held[i] == number)
			return true;
	return false;
}

/* After a name, reference or handle went: the last one takes the object along. */
static void
let_go(struct oracle *oracle, uint32_t number)
{
	if (oracle->nodes[number]->links > 0 || is_held(oracle, number))
		return;
	node_drop(oracle->nodes[number]);
	oracle->nodes[number] = NULL;
}

static void
set_held(struct oracle *oracle, uint32_t slot, uint32_t number)
{
	uint32_t before = oracle->held[slot];

	oracle->held[slot] = number;
	if (before != NO_NODE && before != number)
		let_go(oracle, before);
}

/* ---- Names ---------------------------------------------------------------------------------- */

static struct entry *
find_entry(const struct node *directory, const char *name, size_t name_bytes)
{
	for (size_t i = 0; i < directory->entry_count; i++)
		if (strlen(directory->entries[i].name) == name_bytes &&
			memcmp(directory->entries[i].name, name, name_bytes) == 0)
			return &directory->entries[i];
	return NULL;
}

static int
step(const struct oracle *oracle, uint32_t from, const char *name, size_t name_bytes,
	uint32_t *out_node)
{
	const struct node *directory = oracle->nodes[from];
	const struct entry *entry;

	if (directory->kind != COP_DIRECTORY)
		return COP_ENOTDIR;
	if (name_bytes > COP_NAME_BYTES_MAX)
		return COP_ENAMETOOLONG;
	entry = find_entry(directory, name, name_bytes);
	if (!entry)
		return COP_ENOENT;
	*out_node = entry->node;
	return 0;
}

static int
find_parent(
	const struct oracle *oracle, const char *path, uint32_t *out_parent, const char **out_name)
{
	const char *end = strrchr(path, '/');
	uint32_t at = ROOT;

	for (const char *name = path + 1; name < end;) {
		const char *slash = strchr(name, '/');
		int err = step(oracle, at, name, (size_t)(slash - name), &at);

		if (err)
			return err;
		name = slash + 1;
	}
	*out_parent = at;
	*out_name = end + 1;
	return 0;
}

static int
find(const struct oracle *oracle, const char *path, uint32_t *out_node)
{
	const char *name = NULL;
	uint32_t parent;
	int err = find_parent(oracle, path, &parent, &name);

	if (err)
		return err;
	if (*name == 0) {
		*out_node = parent;
		return 0;
	}
	return step(oracle, parent, name, strlen(name), out_node);
}

static void
touch_directory(struct node *directory, int64_t now_ns)
{
	directory->modified_ns = now_ns;
	directory->changed_ns = now_ns;
	directory->length = directory->entry_count;
}

static void
add_entry(struct oracle *oracle, uint32_t parent, const char *name, uint32_t child, int64_t now_ns)
{
	struct node *directory = own(oracle, parent);
	struct entry *entry;

	directory->entries = must_grow(directory->entries, directory->entry_count,
		&directory->entry_capacity, sizeof *directory->entries);
	entry = &directory->entries[directory->entry_count++];
	*entry = (struct entry){ .node = child };
	snprintf(entry->name, sizeof entry->name, "%s", name);
	touch_directory(directory, now_ns);
}

static void
remove_entry(struct oracle *oracle, uint32_t parent, const char *name, int64_t now_ns)
{
	struct node *directory = own(oracle, parent);
	struct entry *entry = find_entry(directory, name, strlen(name));

	*entry = directory->entries[--directory->entry_count];
	touch_directory(directory, now_ns);
}

/* The name at `path` is free for a new entry of `parent`. */
static int
check_free(const struct oracle *oracle, uint32_t parent, const char *name)
{
	uint32_t there;
	int err = step(oracle, parent, name, strlen(name), &there);

	return err == 0 ? COP_EEXIST : err == COP_ENOENT ? 0 : err;
}

static int
apply_create(struct oracle *oracle, const struct op *op, int64_t now_ns)
{
	struct op_values values;
	const char *name = NULL;
	uint32_t parent;
	uint32_t child;
	struct node *node;
	int err = find_parent(oracle, op->path, &parent, &name);

	if (!err)
		err = check_free(oracle, parent, name);
	if (err)
		return err;
	op_values(op, &values);
	child = add_node(oracle);
	node = oracle->nodes[child];
	node->kind = op->kind;
	node->mode = values.mode;
	node->uid = values.uid;
	node->gid = values.gid;
	node->device = values.device;
	node->links = 1;
	node->created_ns = now_ns;
	node->changed_ns = now_ns;
	node->modified_ns = now_ns;
	if (op->kind == COP_SYMLINK) {
		node->length = values.target_bytes;
		node->target_hash = hash64(values.target, values.target_bytes, 0);
	}
	add_entry(oracle, parent, name, child, now_ns);
	return 0;
}

static int
apply_link(struct oracle *oracle, const struct op *op, int64_t now_ns)
{
	const char *name = NULL;
	uint32_t object;
	uint32_t parent;
	struct node *node;
	int err = find(oracle, op->path, &object);

	if (!err)
		err = find_parent(oracle, op->path2, &parent, &name);
	if (err)
		return err;
	if (oracle->nodes[object]->kind == COP_DIRECTORY)
		return COP_EPERM;
	err = check_free(oracle, parent, name);
	if (err)
		return err;
	node = own(oracle, object);
	node->links++;
	node->changed_ns = now_ns;
	add_entry(oracle, parent, name, object, now_ns);
	return 0;
}

/* Takes one link away from an object whose name has just been removed. */
static void
drop_link(struct oracle *oracle, uint32_t object, int64_t now_ns)
{
	struct node *node = own(oracle, object);

	node->links--;
	node->changed_ns = now_ns;
	let_go(oracle, object);
}

static int
apply_unlink(struct oracle *oracle, const struct op *op, int64_t now_ns)
{
	const char *name = NULL;
	uint32_t parent;
	uint32_t object;
	bool is_directory;
	int err = find_parent(oracle, op->path, &parent, &name);

	if (!err)
		err = step(oracle, parent, name, strlen(name), &object);
	if (err)
		return err;
	is_directory = oracle->nodes[object]->kind == COP_DIRECTORY;
	if (is_directory && (op->flags & COP_UNLINK_FILE))
		return COP_EISDIR;
	if (!is_directory && (op->flags & COP_UNLINK_DIRECTORY))
		return COP_ENOTDIR;
	if (is_directory && oracle->nodes[object]->entry_count > 0)
		return COP_ENOTEMPTY;
	remove_entry(oracle, parent, name, now_ns);
	drop_link(oracle, object, now_ns);
	return 0;
}

/* Is `below` the directory `above`, or somewhere under it? */
static bool
is_within(const struct oracle *oracle, uint32_t above, uint32_t below)
{
	const struct node *directory = oracle->nodes[above];

	if (above == below)
		return true;
	if (directory->kind != COP_DIRECTORY)
		return false;
	for (size_t i = 0; i < directory->entry_count; i++)
		if (is_within(oracle, directory->entries[i].node, below))
			return true;
	return false;
}

struct rename {
	uint32_t from;
	uint32_t to;
	const char *from_name;
	const char *to_name;
	uint32_t object;
	uint32_t replaced; /* NO_NODE: the new name is free */
};

static int
judge_rename(const struct oracle *oracle, const struct rename *rename, uint32_t flags)
{
	const struct node *object = oracle->nodes[rename->object];
	const struct node *replaced =
		rename->replaced == NO_NODE ? NULL : oracle->nodes[rename->replaced];

	if (replaced && (flags & COP_RENAME_NOREPLACE))
		return COP_EEXIST;
	if (!replaced && (flags & COP_RENAME_EXCHANGE))
		return COP_ENOENT;
	if (object->kind == COP_DIRECTORY && is_within(oracle, rename->object, rename->to))
		return COP_ELOOP;
	if (flags & COP_RENAME_EXCHANGE)
		return replaced->kind == COP_DIRECTORY &&
				       is_within(oracle, rename->replaced, rename->from)
			       ? COP_ELOOP
			       : 0;
	if (!replaced || rename->replaced == rename->object)
		return 0;
	if (object->kind == COP_DIRECTORY && replaced->kind != COP_DIRECTORY)
		return COP_ENOTDIR;
	if (object->kind != COP_DIRECTORY && replaced->kind == COP_DIRECTORY)
		return COP_EISDIR;
	if (replaced->kind == COP_DIRECTORY && replaced->entry_count > 0)
		return COP_ENOTEMPTY;
	return 0;
}

static void
exchange(struct oracle *oracle, const struct rename *rename, int64_t now_ns)
{
	struct node *from = own(oracle, rename->from);
	struct node *to = own(oracle, rename->to);

	find_entry(from, rename->from_name, strlen(rename->from_name))->node = rename->replaced;
	find_entry(to, rename->to_name, strlen(rename->to_name))->node = rename->object;
	touch_directory(from, now_ns);
	touch_directory(to, now_ns);
	own(oracle, rename->object)->changed_ns = now_ns;
	own(oracle, rename->replaced)->changed_ns = now_ns;
}

static int
apply_rename(struct oracle *oracle, const struct op *op, int64_t now_ns)
{
	struct rename rename = { .replaced = NO_NODE };
	int err = find_parent(oracle, op->path, &rename.from, &rename.from_name);

	if (!err)
		err = find_parent(oracle, op->path2, &rename.to, &rename.to_name);
	if (!err)
		err = step(oracle, rename.from, rename.from_name, strlen(rename.from_name),
			&rename.object);
	if (!err)
		err = step(oracle, rename.to, rename.to_name, strlen(rename.to_name),
			&rename.replaced);
	else
		return err;
	if (err && err != COP_ENOENT)
		return err;
	err = judge_rename(oracle, &rename, op->flags);
	if (err || rename.replaced == rename.object)
		return err;
	if (op->flags & COP_RENAME_EXCHANGE) {
		exchange(oracle, &rename, now_ns);
		return 0;
	}
	if (rename.replaced != NO_NODE)
		remove_entry(oracle, rename.to, rename.to_name, now_ns);
	remove_entry(oracle, rename.from, rename.from_name, now_ns);
	add_entry(oracle, rename.to, rename.to_name, rename.object, now_ns);
	own(oracle, rename.object)->changed_ns = now_ns;
	if (rename.replaced != NO_NODE)
		drop_link(oracle, rename.replaced, now_ns);
	return 0;
}

/* ---- Content -------------------------------------------------------------------------------- */

/* Where the block of `index` is, or would be. */
static size_t
block_place(const struct node *node, uint64_t index)
{
	size_t low = 0;
	size_t high = node->block_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (node->blocks[middle].index < index)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The page of a block for changing; `index` gets one if it had none. */
static struct page *
own_page(struct node *node, uint64_t index)
{
	size_t at = block_place(node, index);
	struct page *page;

	if (at == node->block_count || node->blocks[at].index != index) {
		node->blocks = must_grow(node->blocks, node->block_count, &node->block_capacity,
			sizeof *node->blocks);
		memmove(&node->blocks[at + 1], &node->blocks[at],
			(node->block_count - at) * sizeof *node->blocks);
		node->block_count++;
		page = must_alloc(sizeof *page);
		page->users = 1;
		node->blocks[at] = (struct block){ .index = index, .page = page };
	} else if (node->blocks[at].page->users > 1) {
		page = must_alloc(sizeof *page);
		*page = *node->blocks[at].page;
		page->users = 1;
		node->blocks[at].page->users--;
		node->blocks[at].page = page;
	}
	page = node->blocks[at].page;
	page->hash = 0;
	return page;
}

static void
write_bytes(struct node *node, uint64_t offset, uint64_t seed, uint64_t bytes)
{
	for (uint64_t done = 0; done < bytes;) {
		uint64_t at = (offset + done) % COP_BLOCK_BYTES;
		uint64_t part = min_u64(COP_BLOCK_BYTES - at, bytes - done);
		struct page *page = own_page(node, (offset + done) / COP_BLOCK_BYTES);

		op_fill(seed, done, page->data + at, part);
		done += part;
	}
	node->length = max_u64(node->length, offset + bytes);
}

/* Zeros in [offset, end): whole blocks go, parts are overwritten. */
static void
zero_bytes(struct node *node, uint64_t offset, uint64_t end)
{
	if (end <= offset)
		return;
	for (size_t i = block_place(node, offset / COP_BLOCK_BYTES); i < node->block_count;) {
		uint64_t first = node->blocks[i].index * COP_BLOCK_BYTES;
		uint64_t from = max_u64(first, offset);
		uint64_t to = min_u64(first + COP_BLOCK_BYTES, end);

		if (first >= end)
			break;
		if (to - from < COP_BLOCK_BYTES) {
			struct page *page = own_page(node, node->blocks[i].index);

			memset(page->data + (from - first), 0, to - from);
			i++;
			continue;
		}
		page_drop(node->blocks[i].page);
		node->block_count--;
		memmove(&node->blocks[i], &node->blocks[i + 1],
			(node->block_count - i) * sizeof *node->blocks);
	}
}

static int
apply_write(struct oracle *oracle, uint32_t object, const struct op *op, int64_t now_ns)
{
	struct node *node;

	if (op->offset + op->bytes > COP_FILE_BYTES_MAX)
		return COP_EFBIG;
	if (op->bytes == 0)
		return 0;
	node = own(oracle, object);
	write_bytes(node, op->offset, op->seed, op->bytes);
	node->modified_ns = now_ns;
	node->changed_ns = now_ns;
	return 0;
}

static int
apply_set_length(struct oracle *oracle, uint32_t object, const struct op *op, int64_t now_ns)
{
	struct node *node;

	if (op->bytes > COP_FILE_BYTES_MAX)
		return COP_EFBIG;
	node = own(oracle, object);
	if (op->bytes < node->length)
		zero_bytes(node, op->bytes, UINT64_MAX);
	node->length = op->bytes;
	node->modified_ns = now_ns;
	node->changed_ns = now_ns;
	return 0;
}

static int
apply_punch(struct oracle *oracle, uint32_t object, const struct op *op, int64_t now_ns)
{
	struct node *node;

	if (op->bytes == 0)
		return 0;
	node = own(oracle, object);
	zero_bytes(node, op->offset, min_u64(op->offset + op->bytes, node->length));
	node->modified_ns = now_ns;
	node->changed_ns = now_ns;
	return 0;
}

static int
check_is_file(const struct oracle *oracle, uint32_t object)
{
	uint32_t kind = oracle->nodes[object]->kind;

	if (kind == COP_DIRECTORY)
		return COP_EISDIR;
	return kind == COP_FILE ? 0 : COP_EINVAL;
}

/* Pages are shared here as well. */
static int
apply_clone(struct oracle *oracle, const struct op *op, int64_t now_ns)
{
	const struct node *from;
	struct node *to;
	uint32_t source;
	uint32_t target;
	int err = find(oracle, op->path, &source);

	if (!err)
		err = find(oracle, op->path2, &target);
	if (!err)
		err = check_is_file(oracle, source);
	if (err || source == target)
		return err;
	err = check_is_file(oracle, target);
	if (err)
		return err;
	to = own(oracle, target);
	from = oracle->nodes[source];
	for (size_t i = 0; i < to->block_count; i++)
		page_drop(to->blocks[i].page);
	free(to->blocks);
	to->blocks = copy_array(from->blocks, from->block_count, sizeof *to->blocks);
	to->block_count = from->block_count;
	to->block_capacity = from->block_count;
	for (size_t i = 0; i < to->block_count; i++)
		to->blocks[i].page->users++;
	to->length = from->length;
	to->modified_ns = now_ns;
	to->changed_ns = now_ns;
	return 0;
}

static int
apply_preallocate(struct oracle *oracle, uint32_t object, const struct op *op, int64_t now_ns)
{
	struct node *node;

	if (op->offset + op->bytes > COP_FILE_BYTES_MAX)
		return COP_EFBIG;
	if (op->bytes == 0)
		return 0;
	node = own(oracle, object);
	if (op->flags)
		node->length = max_u64(node->length, op->offset + op->bytes);
	node->modified_ns = now_ns;
	node->changed_ns = now_ns;
	return 0;
}

/* ---- Attributes ----------------------------------------------------------------------------- */

static uint64_t
hash_xattr(uint32_t number, const struct op *op)
{
	uint8_t *value = must_alloc(op->bytes);
	uint64_t hash;

	op_fill(op->seed, 0, value, op->bytes);
	hash = snapshot_xattr_hash(op_xattr_name(number), value, op->bytes);
	free(value);
	return hash;
}

static int
apply_xattr(struct oracle *oracle, uint32_t object, const struct op *op, int64_t now_ns)
{
	struct node *node = own(oracle, object);
	uint32_t number = op->name_number % OP_XATTR_NAMES;
	size_t at = 0;

	while (at < node->xattr_count && node->xattrs[at].name_number != number)
		at++;
	if (op->type == OP_XATTR_REMOVE) {
		if (at == node->xattr_count)
			return COP_ENODATA;
		node->xattrs[at] = node->xattrs[--node->xattr_count];
	} else {
		if (at < node->xattr_count && (op->flags & COP_XATTR_CREATE))
			return COP_EEXIST;
		if (at == node->xattr_count && (op->flags & COP_XATTR_REPLACE))
			return COP_ENODATA;
		if (at == node->xattr_count)
			node->xattr_count++;
		node->xattrs[at] =
			(struct xattr){ .name_number = number, .hash = hash_xattr(number, op) };
	}
	node->changed_ns = now_ns;
	return 0;
}

static int
apply_set_attr(struct oracle *oracle, uint32_t object, const struct op *op, int64_t now_ns)
{
	struct node *node = own(oracle, object);
	struct op_values values;

	op_values(op, &values);
	if (op->flags & COP_SET_MODE)
		node->mode = values.mode;
	if (op->flags & COP_SET_UID)
		node->uid = values.uid;
	if (op->flags & COP_SET_GID)
		node->gid = values.gid;
	if (op->flags & COP_SET_DOCTYPE)
		node->doctype = values.doctype;
	if (op->flags & COP_SET_CREATED)
		node->created_ns = values.created_ns;
	if (op->flags & COP_SET_MODIFIED)
		node->modified_ns = values.modified_ns;
	node->changed_ns = now_ns;
	return 0;
}

static int
apply_ref(struct oracle *oracle, uint32_t object, const struct op *op, int64_t now_ns)
{
	const struct node *node = oracle->nodes[object];

	if (node->kind == COP_DIRECTORY || (op->type == OP_UNREF && node->links == 0))
		return COP_EINVAL;
	if (op->type == OP_UNREF) {
		drop_link(oracle, object, now_ns);
	} else {
		own(oracle, object)->links++;
		own(oracle, object)->changed_ns = now_ns;
	}
	return 0;
}

static int
apply_content(struct oracle *oracle, uint32_t object, const struct op *op, int64_t now_ns)
{
	int err = check_is_file(oracle, object);

	if (err)
		return err;
	switch (op->type) {
	case OP_SET_LENGTH:
		return apply_set_length(oracle, object, op, now_ns);
	case OP_PUNCH:
		return apply_punch(oracle, object, op, now_ns);
	case OP_PREALLOCATE:
		return apply_preallocate(oracle, object, op, now_ns);
	default:
		return apply_write(oracle, object, op, now_ns);
	}
}

static int
apply_to_object(struct oracle *oracle, const struct op *op, int64_t now_ns)
{
	uint32_t object;
	int err = find(oracle, op->path, &object);

	if (err)
		return err;
	switch (op->type) {
	case OP_XATTR_SET:
	case OP_XATTR_REMOVE:
		return apply_xattr(oracle, object, op, now_ns);
	case OP_SET_ATTR:
		return apply_set_attr(oracle, object, op, now_ns);
	case OP_REF:
	case OP_UNREF:
		return apply_ref(oracle, object, op, now_ns);
	case OP_HOLD:
		set_held(oracle, op->name_number, object);
		return 0;
	case OP_SYNC_OBJECT:
		return 0;
	default:
		return apply_content(oracle, object, op, now_ns);
	}
}

/* ---- The model ------------------------------------------------------------------------------ */

struct oracle *
oracle_create(const struct snapshot_entry *root)
{
	struct oracle *oracle = must_alloc(sizeof *oracle);
	uint32_t number = add_node(oracle);
	struct node *node = oracle->nodes[number];

	node->id = root->id;
	node->kind = root->kind;
	node->mode = root->mode;
	node->uid = root->uid;
	node->gid = root->gid;
	node->doctype = root->doctype;
	node->links = 1;
	node->created_ns = root->created_ns;
	node->changed_ns = root->changed_ns;
	node->modified_ns = root->modified_ns;
	for (int i = 0; i < OP_HELD; i++)
		oracle->held[i] = NO_NODE;
	return oracle;
}

struct oracle *
oracle_copy(const struct oracle *oracle)
{
	struct oracle *copy = must_alloc(sizeof *copy);

	*copy = *oracle;
	copy->snapshot = NULL;
	copy->nodes = copy_array(oracle->nodes, oracle->count, sizeof(struct node *));
	copy->capacity = oracle->count;
	for (size_t i = 0; i < copy->count; i++)
		if (copy->nodes[i])
			copy->nodes[i]->users++;
	return copy;
}

void
oracle_free(struct oracle *oracle)
{
	if (!oracle)
		return;
	for (size_t i = 0; i < oracle->count; i++)
		node_drop(oracle->nodes[i]);
	free(oracle->nodes);
	snapshot_free(oracle->snapshot);
	free(oracle);
}

static void
forget_snapshot(struct oracle *oracle)
{
	snapshot_free(oracle->snapshot);
	oracle->snapshot = NULL;
}

int
oracle_apply(struct oracle *oracle, const struct op *op, int64_t now_ns)
{
	uint32_t held;

	forget_snapshot(oracle);
	switch (op->type) {
	case OP_CREATE:
	case OP_ALLOCATE:
		return apply_create(oracle, op, now_ns);
	case OP_LINK:
		return apply_link(oracle, op, now_ns);
	case OP_CLONE:
		return apply_clone(oracle, op, now_ns);
	case OP_UNLINK:
		return apply_unlink(oracle, op, now_ns);
	case OP_RENAME:
		return apply_rename(oracle, op, now_ns);
	case OP_SYNC:
	case OP_SETTLE:
	case OP_POLL:
	case OP_BARRIER:
		return 0;
	case OP_WRITE_HELD:
		held = oracle->held[op->name_number % OP_HELD];
		return held == NO_NODE ? COP_ENOENT : apply_content(oracle, held, op, now_ns);
	case OP_LET_GO:
		set_held(oracle, op->name_number % OP_HELD, NO_NODE);
		return 0;
	default:
		return apply_to_object(oracle, op, now_ns);
	}
}

void
oracle_learn_id(struct oracle *oracle, const char *path, uint64_t id)
{
	uint32_t object;

	if (find(oracle, path, &object) == 0)
		own(oracle, object)->id = id;
	forget_snapshot(oracle);
}

static uint32_t
find_id(const struct oracle *oracle, uint64_t id)
{
	for (uint32_t i = 0; i < oracle->count; i++) {
		if (oracle->nodes[i] && oracle->nodes[i]->id == id)
			return i;
	}
	return NO_NODE;
}

void
oracle_take_content(
	struct oracle *oracle, const struct oracle *from, const struct snapshot_entry *as)
{
	const struct node *source = from->nodes[find_id(from, as->id)];
	struct node *node = own(oracle, find_id(oracle, as->id));

	for (size_t i = 0; i < node->block_count; i++)
		page_drop(node->blocks[i].page);
	free(node->blocks);
	node->blocks = copy_array(source->blocks, source->block_count, sizeof *node->blocks);
	node->block_count = source->block_count;
	node->block_capacity = source->block_count;
	for (size_t i = 0; i < node->block_count; i++)
		node->blocks[i].page->users++;
	node->length = as->length;
	node->modified_ns = as->modified_ns;
	node->changed_ns = as->changed_ns;
	forget_snapshot(oracle);
}

void
oracle_forget_held(struct oracle *oracle)
{
	for (uint32_t i = 0; i < OP_HELD; i++)
		set_held(oracle, i, NO_NODE);
}

bool
oracle_is_held(const struct oracle *oracle, uint32_t slot)
{
	return oracle->held[slot % OP_HELD] != NO_NODE;
}

/* ---- Snapshots ------------------------------------------------------------------------------ */

static void
describe(struct snapshot_entry *entry, const struct node *node)
{
	entry->id = node->id;
	entry->kind = node->kind;
	entry->mode = node->mode;
	entry->uid = node->uid;
	entry->gid = node->gid;
	entry->doctype = node->doctype;
	entry->links = node->kind == COP_DIRECTORY ? 0 : node->links;
	entry->length = node->length;
	entry->device = node->device;
	entry->created_ns = node->created_ns;
	entry->changed_ns = node->changed_ns;
	entry->modified_ns = node->modified_ns;
	entry->target_hash = node->target_hash;
}

static void
describe_xattrs(struct snapshot_entry *entry, const struct node *node)
{
	for (size_t i = 0; i < node->xattr_count; i++) {
		entry->xattrs++;
		entry->xattrs_hash += node->xattrs[i].hash;
	}
}

static void
describe_content(struct snapshot_entry *entry, const struct node *node)
{
	static const uint8_t zeros[COP_BLOCK_BYTES];

	for (size_t i = 0; i < node->block_count; i++) {
		struct page *page = node->blocks[i].page;

		if (page->hash == 0) {
			page->hash = hash64(page->data, sizeof page->data, 0) | 1;
			page->is_zero = memcmp(page->data, zeros, sizeof zeros) == 0;
		}
		if (!page->is_zero)
			snapshot_add_block(entry, node->blocks[i].index, page->hash);
	}
}

struct visit {
	uint32_t node;
	char *path;
};

/* Directories are walked with a stack; entry paths are theirs and a name. */
static struct snapshot *
walk(const struct oracle *oracle)
{
	struct snapshot *snapshot = snapshot_create();
	struct visit *stack = NULL;
	size_t count = 0;
	size_t capacity = 0;

	stack = must_grow(stack, count, &capacity, sizeof *stack);
	stack[count++] = (struct visit){ .node = ROOT, .path = must_have(strdup("/")) };
	while (count > 0) {
		struct visit visit = stack[--count];
		const struct node *node = oracle->nodes[visit.node];
		struct snapshot_entry *entry = snapshot_add(snapshot, visit.path);

		describe(entry, node);
		describe_xattrs(entry, node);
		describe_content(entry, node);
		for (size_t i = 0; i < node->entry_count; i++) {
			char *path = NULL;

			if (asprintf(&path, "%s/%s", visit.path[1] ? visit.path : "",
				    node->entries[i].name) < 0)
				must_have(NULL);
			stack = must_grow(stack, count, &capacity, sizeof *stack);
			stack[count++] =
				(struct visit){ .node = node->entries[i].node, .path = path };
		}
		free(visit.path);
	}
	free(stack);
	snapshot_sort(snapshot);
	return snapshot;
}

const struct snapshot *
oracle_snapshot(struct oracle *oracle)
{
	if (!oracle->snapshot)
		oracle->snapshot = walk(oracle);
	return oracle->snapshot;
}

size_t
oracle_path_count(struct oracle *oracle)
{
	return oracle_snapshot(oracle)->count - 1;
}

const struct snapshot_entry *
oracle_path(struct oracle *oracle, size_t index)
{
	return &oracle_snapshot(oracle)->entries[1 + index];
}
