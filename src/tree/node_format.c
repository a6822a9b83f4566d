#include "tree/node_format.h"

#include "base/checksum.h"

static const uint8_t magic[4] = { 'c', 'o', 'p', 'n' };

enum {
	POINTER_AT_ADDR = 0,
	POINTER_AT_ADDR2 = 8,
	POINTER_AT_BIRTH = 16,
	POINTER_AT_SEAL = 24,
};
static_assert(POINTER_AT_SEAL + 8 == TREE_POINTER_BYTES, "the seal ends the pointer");

void
tree_pointer_encode(const struct tree_pointer *pointer, uint8_t out[static TREE_POINTER_BYTES])
{
	put_le64(out + POINTER_AT_ADDR, pointer->addr);
	put_le64(out + POINTER_AT_ADDR2, pointer->addr2);
	put_le64(out + POINTER_AT_BIRTH, pointer->birth);
	put_le64(out + POINTER_AT_SEAL, pointer->seal);
}

void
tree_pointer_decode(const uint8_t in[static TREE_POINTER_BYTES], struct tree_pointer *out)
{
	out->addr = get_le64(in + POINTER_AT_ADDR);
	out->addr2 = get_le64(in + POINTER_AT_ADDR2);
	out->birth = get_le64(in + POINTER_AT_BIRTH);
	out->seal = get_le64(in + POINTER_AT_SEAL);
}

void
node_header_encode(const struct node_header *header, uint8_t out[static NODE_HEADER_BYTES])
{
	assert(header->kind >= TREE_CATALOG);
	assert(header->kind <= TREE_DIRECTORY);
	assert(header->level < TREE_LEVELS_MAX);
	assert(header->self.addr != 0);

	memset(out, 0, NODE_HEADER_BYTES);
	memcpy(out + NODE_AT_MAGIC, magic, sizeof magic);
	out[NODE_AT_KIND] = header->kind;
	out[NODE_AT_LEVEL] = header->level;
	put_le16(out + NODE_AT_FLAGS, header->flags);
	memcpy(out + NODE_AT_UUID, header->uuid, NODE_UUID_BYTES);
	put_le64(out + NODE_AT_ADDR, header->self.addr);
	put_le64(out + NODE_AT_ADDR2, header->self.addr2);
	put_le64(out + NODE_AT_BIRTH, header->self.birth);
	put_le64(out + NODE_AT_SEAL, header->self.seal);
	put_le32(out + NODE_AT_STORED_BYTES, header->stored_bytes);
	out[NODE_AT_COMPRESSION] = header->compression;
	put_le16(out + NODE_AT_HINT, header->hint);
	put_le32(out + NODE_AT_KEY_ID, header->key_id);
	memcpy(out + NODE_AT_NONCE, header->nonce, NODE_NONCE_BYTES);
	memcpy(out + NODE_AT_TAG, header->tag, NODE_TAG_BYTES);
	put_le16(out + NODE_AT_ENTRIES, header->entries);
	put_le16(out + NODE_AT_HEAP_BYTES, header->heap_bytes);
	put_le16(out + NODE_AT_GARBAGE_BYTES, header->garbage_bytes);
	put_le16(out + NODE_AT_LOW_BYTES, header->low_bytes);
	put_le16(out + NODE_AT_HIGH_BYTES, header->high_bytes);
	put_le16(out + NODE_AT_PREFIX_BYTES, header->prefix_bytes);
}

int
node_header_decode(const uint8_t in[static NODE_HEADER_BYTES], struct node_header *out_header)
{
	struct node_header header = {
		.kind = in[NODE_AT_KIND],
		.level = in[NODE_AT_LEVEL],
		.flags = get_le16(in + NODE_AT_FLAGS),
		.self = {
			.addr = get_le64(in + NODE_AT_ADDR),
			.addr2 = get_le64(in + NODE_AT_ADDR2),
			.birth = get_le64(in + NODE_AT_BIRTH),
			.seal = get_le64(in + NODE_AT_SEAL),
		},
		.stored_bytes = get_le32(in + NODE_AT_STORED_BYTES),
		.compression = in[NODE_AT_COMPRESSION],
		.hint = get_le16(in + NODE_AT_HINT),
		.key_id = get_le32(in + NODE_AT_KEY_ID),
		.entries = get_le16(in + NODE_AT_ENTRIES),
		.heap_bytes = get_le16(in + NODE_AT_HEAP_BYTES),
		.garbage_bytes = get_le16(in + NODE_AT_GARBAGE_BYTES),
		.low_bytes = get_le16(in + NODE_AT_LOW_BYTES),
		.high_bytes = get_le16(in + NODE_AT_HIGH_BYTES),
		.prefix_bytes = get_le16(in + NODE_AT_PREFIX_BYTES),
	};

	if (memcmp(in + NODE_AT_MAGIC, magic, sizeof magic) != 0)
		return fail(COP_ECHECKSUM, "no tree node here");
	if (in[NODE_AT_RESERVED] != 0)
		return fail(COP_EFORMAT, "reserved byte of a node is %u", in[NODE_AT_RESERVED]);

	memcpy(header.uuid, in + NODE_AT_UUID, NODE_UUID_BYTES);
	memcpy(header.nonce, in + NODE_AT_NONCE, NODE_NONCE_BYTES);
	memcpy(header.tag, in + NODE_AT_TAG, NODE_TAG_BYTES);
	*out_header = header;
	return 0;
}

static uint64_t
checksum_of(const uint8_t *node, uint32_t node_bytes)
{
	return checksum64(node + NODE_AT_MAGIC, node_bytes - NODE_AT_MAGIC);
}

void
node_checksum_put(uint8_t *node, uint32_t node_bytes)
{
	put_le64(node + NODE_AT_CHECKSUM, checksum_of(node, node_bytes));
}

bool
node_checksum_matches(const uint8_t *node, uint32_t node_bytes)
{
	return get_le64(node + NODE_AT_CHECKSUM) == checksum_of(node, node_bytes);
}
