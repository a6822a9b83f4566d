#include "object/record_format.h"

#include "base/num.h"
#include "object/extent_format.h"
#include "tree/tree.h"

#include <assert.h>

enum {
	AT_VERSION = 0,
	AT_KIND = 1,
	AT_FORM = 2,
	AT_NAME_BYTES = 3,
	AT_DOCTYPE = 4,
	AT_MODE = 8,
	AT_UID = 12,
	AT_GID = 16,
	AT_LINKS = 20,
	AT_FLAGS = 24,
	AT_LENGTH = 32,
	AT_ALLOCATED_BLOCKS = 40,
	AT_DEVICE = 48,
	AT_CREATED_NS = 56,
	AT_CHANGED_NS = 64,
	AT_MODIFIED_NS = 72,
	AT_ACCESSED_NS = 80,
	AT_OWNER = 88,
	AT_PARENT = 96,
	AT_TRIM_JOB = 104,
	AT_CAPABILITY_BYTES = 112,
	AT_XATTR_BYTES = 114,
	AT_CONTENT_BYTES = 116,
	AT_ZERO = 118,
};

uint32_t
record_content_max(uint32_t node_bytes)
{
	uint32_t room = tree_value_bytes_max(node_bytes) - RECORD_FIXED_BYTES - COP_NAME_BYTES_MAX;

	return (uint32_t)min_u64(room, node_bytes / 8);
}

size_t
record_bytes(const struct record *record)
{
	return RECORD_FIXED_BYTES + record->name.bytes + record->capabilities.bytes +
	       record->xattrs.bytes + record->content.bytes;
}

static bool
name_is_good(struct view name)
{
	if (name.bytes > COP_NAME_BYTES_MAX)
		return false;
	return name.bytes == 0 ||
	       (!memchr(name.data, '/', name.bytes) && !memchr(name.data, 0, name.bytes));
}

static const char *
what_is_wrong_with_trims(const struct record *record)
{
	struct trims trims;

	if ((record->trim_job != 0) != (record->content.bytes > 0))
		return "a job and the ranges that it frees contradict each other";
	if (record->content.bytes > 0 && record->kind != COP_FILE)
		return "ranges that are being freed of what is no file";
	if (trims_decode(record->content, &trims) != 0) {
		err_clear();
		return "ranges that are being freed make no sense";
	}
	return NULL;
}

static const char *
what_is_wrong_with_content(const struct record *record)
{
	bool is_bytes = record->kind == COP_FILE || record->kind == COP_SYMLINK;

	switch (record->form) {
	case COP_FORM_NONE:
		if (is_bytes || record->kind == COP_DIRECTORY)
			return "no content";
		return record->content.bytes == 0 ? NULL : "content of a special file";
	case COP_FORM_INLINE:
		if (!is_bytes && record->kind != COP_DIRECTORY)
			return "content of a special file";
		if (is_bytes && record->content.bytes != record->length)
			return "length and inline bytes differ";
		return record->allocated_blocks == 0 ? NULL : "blocks of inline content";
	case COP_FORM_EXTENTS:
		return is_bytes ? NULL : "extents of what has none";
	case COP_FORM_TREE:
		if (!is_bytes && record->kind != COP_DIRECTORY)
			return "content of a special file";
		return what_is_wrong_with_trims(record);
	}
	return "unknown form";
}

/* What encode asserts and decode asks. */
static const char *
what_is_wrong(const struct record *record)
{
	if (record->kind < COP_FILE || record->kind > COP_BLOCK_DEVICE)
		return "unknown kind";
	if (record->mode > 07777)
		return "mode";
	if (record->kind != COP_DIRECTORY && record->length > COP_FILE_BYTES_MAX)
		return "longer than the largest file";
	if (record->trim_job != 0 && record->form != COP_FORM_TREE)
		return "a job that frees ranges of no tree";
	if (!name_is_good(record->name))
		return "primary name";
	return what_is_wrong_with_content(record);
}

void
record_encode(const struct record *record, struct writer *w)
{
	uint8_t fixed[RECORD_FIXED_BYTES] = { 0 };

	assert(!what_is_wrong(record));
	assert(record->content.bytes <= RECORD_CONTENT_MAX);
	assert(record->capabilities.bytes <= UINT16_MAX);
	assert(record->xattrs.bytes <= UINT16_MAX);

	fixed[AT_VERSION] = RECORD_VERSION;
	fixed[AT_KIND] = (uint8_t)record->kind;
	fixed[AT_FORM] = (uint8_t)record->form;
	fixed[AT_NAME_BYTES] = (uint8_t)record->name.bytes;
	put_le32(fixed + AT_DOCTYPE, record->doctype);
	put_le32(fixed + AT_MODE, record->mode);
	put_le32(fixed + AT_UID, record->uid);
	put_le32(fixed + AT_GID, record->gid);
	put_le32(fixed + AT_LINKS, record->links);
	put_le64(fixed + AT_FLAGS, record->flags);
	put_le64(fixed + AT_LENGTH, record->length);
	put_le64(fixed + AT_ALLOCATED_BLOCKS, record->allocated_blocks);
	put_le64(fixed + AT_DEVICE, record->device);
	put_le64(fixed + AT_CREATED_NS, (uint64_t)record->created_ns);
	put_le64(fixed + AT_CHANGED_NS, (uint64_t)record->changed_ns);
	put_le64(fixed + AT_MODIFIED_NS, (uint64_t)record->modified_ns);
	put_le64(fixed + AT_ACCESSED_NS, (uint64_t)record->accessed_ns);
	put_le64(fixed + AT_OWNER, record->owner);
	put_le64(fixed + AT_PARENT, record->parent);
	put_le64(fixed + AT_TRIM_JOB, record->trim_job);
	put_le16(fixed + AT_CAPABILITY_BYTES, (uint16_t)record->capabilities.bytes);
	put_le16(fixed + AT_XATTR_BYTES, (uint16_t)record->xattrs.bytes);
	put_le16(fixed + AT_CONTENT_BYTES, (uint16_t)record->content.bytes);

	write_bytes(w, fixed, sizeof fixed);
	write_bytes(w, record->name.data, record->name.bytes);
	write_bytes(w, record->capabilities.data, record->capabilities.bytes);
	write_bytes(w, record->xattrs.data, record->xattrs.bytes);
	write_bytes(w, record->content.data, record->content.bytes);
	assert(!w->bad);
}

static struct view
read_view(struct reader *r, size_t bytes)
{
	const uint8_t *at = read_bytes(r, bytes);

	return view_of(at, at ? bytes : 0);
}

int
record_decode(struct view value, struct record *out_record)
{
	struct reader r = reader_over(value.data, value.bytes);
	const uint8_t *fixed = read_bytes(&r, RECORD_FIXED_BYTES);
	struct record record;
	const char *wrong;

	if (!fixed)
		return fail(COP_EFORMAT, "object record of %zu bytes", value.bytes);
	if (fixed[AT_VERSION] != RECORD_VERSION)
		return fail(COP_EUNSUPPORTED, "object record of version %u", fixed[AT_VERSION]);

	record = (struct record){
		.kind = fixed[AT_KIND],
		.form = fixed[AT_FORM],
		.doctype = get_le32(fixed + AT_DOCTYPE),
		.mode = get_le32(fixed + AT_MODE),
		.uid = get_le32(fixed + AT_UID),
		.gid = get_le32(fixed + AT_GID),
		.links = get_le32(fixed + AT_LINKS),
		.flags = get_le64(fixed + AT_FLAGS),
		.length = get_le64(fixed + AT_LENGTH),
		.allocated_blocks = get_le64(fixed + AT_ALLOCATED_BLOCKS),
		.device = get_le64(fixed + AT_DEVICE),
		.created_ns = (int64_t)get_le64(fixed + AT_CREATED_NS),
		.changed_ns = (int64_t)get_le64(fixed + AT_CHANGED_NS),
		.modified_ns = (int64_t)get_le64(fixed + AT_MODIFIED_NS),
		.accessed_ns = (int64_t)get_le64(fixed + AT_ACCESSED_NS),
		.owner = get_le64(fixed + AT_OWNER),
		.parent = get_le64(fixed + AT_PARENT),
		.trim_job = get_le64(fixed + AT_TRIM_JOB),
	};
	record.name = read_view(&r, fixed[AT_NAME_BYTES]);
	record.capabilities = read_view(&r, get_le16(fixed + AT_CAPABILITY_BYTES));
	record.xattrs = read_view(&r, get_le16(fixed + AT_XATTR_BYTES));
	record.content = read_view(&r, get_le16(fixed + AT_CONTENT_BYTES));
	if (!reader_is_done(&r))
		return fail(COP_EFORMAT, "object record: %s", r.bad ? "cut short" : "too long");
	if (record.content.bytes > RECORD_CONTENT_MAX)
		return fail(COP_EFORMAT, "object record: inline content of %zu bytes",
			record.content.bytes);
	if (get_le16(fixed + AT_ZERO) != 0)
		return fail(COP_EFORMAT, "object record: reserved bytes are set");
	wrong = what_is_wrong(&record);
	if (wrong)
		return fail(COP_EFORMAT, "object record: %s", wrong);
	*out_record = record;
	return 0;
}

void
record_trims(const struct record *record, struct trims *out_trims)
{
	out_trims->count = 0;
	if (record->trim_job != 0 && trims_decode(record->content, out_trims) != 0)
		assert(false); /* it was judged with the record */
}

int
record_extents_check(const struct record *record)
{
	struct reader r = reader_over(record->content.data, record->content.bytes);
	uint64_t end = 0;

	assert(record->form == COP_FORM_EXTENTS);
	while (!reader_is_done(&r)) {
		struct extent extent;
		int err = extent_decode_listed(&r, &extent);

		if (err)
			return err;
		if (extent.first < end)
			return fail(COP_EFORMAT, "extents overlap at block %" PRIu64, extent.first);
		end = extent_last(&extent) + 1;
	}
	return 0;
}
