#include "volume/branch_format.h"

#include "base/bytes.h"
#include "volume/superblock_format.h"

enum {
	AT_VERSION = 0,
	AT_FLAGS = 1,
	AT_OBJECTS = 8,
	AT_TAGS = 48,
	AT_ROOT_OBJECT = 88,
	AT_ORIGIN = 96,
	AT_CREATED_NS = 104,
	AT_NAME_BYTES = 112,
	AT_NAME = 114,
	VERSION = 1,
};
static_assert((int)AT_NAME == (int)BRANCH_RECORD_BYTES, "the name follows");
static_assert(AT_OBJECTS + ROOT_RECORD_BYTES == AT_TAGS, "roots lie side by side");

uint32_t
branch_encode(const struct branch_record *branch,
	uint8_t out[static BRANCH_RECORD_BYTES + BRANCH_NAME_BYTES_MAX])
{
	assert(branch->name_bytes > 0);
	assert(branch->name_bytes <= BRANCH_NAME_BYTES_MAX);

	memset(out, 0, BRANCH_RECORD_BYTES);
	out[AT_VERSION] = VERSION;
	root_record_encode(&branch->objects, out + AT_OBJECTS);
	root_record_encode(&branch->tags, out + AT_TAGS);
	put_le64(out + AT_ROOT_OBJECT, branch->root_object);
	put_le64(out + AT_ORIGIN, branch->origin);
	put_le64(out + AT_CREATED_NS, (uint64_t)branch->created_ns);
	put_le16(out + AT_NAME_BYTES, branch->name_bytes);
	memcpy(out + AT_NAME, branch->name, branch->name_bytes);
	return BRANCH_RECORD_BYTES + branch->name_bytes;
}

int
branch_decode(struct view in, struct branch_record *out_branch)
{
	struct branch_record branch = { 0 };
	int err;

	if (in.bytes < BRANCH_RECORD_BYTES)
		return fail(COP_EFORMAT, "branch record of %zu bytes", in.bytes);
	if (in.data[AT_VERSION] != VERSION)
		return fail(COP_EUNSUPPORTED, "branch record of version %u", in.data[AT_VERSION]);
	if (in.data[AT_FLAGS] != 0)
		return fail(COP_EUNSUPPORTED, "branch with flags %#x", in.data[AT_FLAGS]);
	branch.name_bytes = get_le16(in.data + AT_NAME_BYTES);
	if (branch.name_bytes == 0 || branch.name_bytes > BRANCH_NAME_BYTES_MAX ||
		in.bytes != (size_t)BRANCH_RECORD_BYTES + branch.name_bytes)
		return fail(COP_EFORMAT, "branch name of %u bytes in a record of %zu",
			branch.name_bytes, in.bytes);

	err = root_record_decode(in.data + AT_OBJECTS, &branch.objects);
	if (err)
		return fail_in(err, "object tree");
	err = root_record_decode(in.data + AT_TAGS, &branch.tags);
	if (err)
		return fail_in(err, "tag tree");
	branch.root_object = get_le64(in.data + AT_ROOT_OBJECT);
	branch.origin = get_le64(in.data + AT_ORIGIN);
	branch.created_ns = (int64_t)get_le64(in.data + AT_CREATED_NS);
	memcpy(branch.name, in.data + AT_NAME, branch.name_bytes);
	*out_branch = branch;
	return 0;
}
