#include "object/extent_format.h"

#include "base/num.h"

#include <assert.h>

enum { ADDR_LIMIT_SHIFT = 48 };

uint32_t
extent_stored_blocks(const struct extent *extent)
{
	if (extent->flags & EXTENT_COMPRESSED)
		return (uint32_t)div_up(extent->stored_bytes, COP_BLOCK_BYTES);
	return extent->blocks;
}

static uint32_t
checksum_count(const struct extent *extent)
{
	return extent->flags & EXTENT_UNWRITTEN ? 0 : extent_stored_blocks(extent);
}

uint32_t
extent_bytes(const struct extent *extent)
{
	uint32_t bytes = EXTENT_FIXED_BYTES + 8 * checksum_count(extent);

	if (extent->flags & EXTENT_COMPRESSED)
		bytes += EXTENT_COMPRESSED_BYTES;
	if (extent->flags & EXTENT_ENCRYPTED)
		bytes += EXTENT_ENCRYPTED_BYTES;
	return bytes;
}

/* What encode asserts and decode asks, so that both sides of the medium hold the same. */
static const char *
what_is_wrong(const struct extent *extent)
{
	if (extent->blocks == 0 || extent->blocks > EXTENT_BLOCKS_MAX)
		return "number of blocks";
	if (extent->flags & ~(uint32_t)EXTENT_FLAGS_KNOWN)
		return "unknown flags";
	if (extent->addr == 0 || extent->addr >> ADDR_LIMIT_SHIFT != 0)
		return "address";
	if (extent->birth == 0)
		return "born in generation 0";
	if (extent->first >= CONTENT_BLOCKS_MAX ||
		extent->blocks > CONTENT_BLOCKS_MAX - extent->first)
		return "past the largest file";
	if (extent->flags & EXTENT_UNWRITTEN &&
		extent->flags & (EXTENT_COMPRESSED | EXTENT_ENCRYPTED))
		return "unwritten, yet compressed or encrypted";
	if (extent->flags & EXTENT_COMPRESSED) {
		if (extent->stored_bytes == 0 ||
			extent->stored_bytes > EXTENT_BLOCKS_MAX * COP_BLOCK_BYTES)
			return "stored bytes";
		if (extent->whole_blocks > EXTENT_BLOCKS_MAX ||
			extent->skip_blocks + extent->blocks > extent->whole_blocks)
			return "not within what is stored";
	}
	return NULL;
}

void
extent_encode(const struct extent *extent, struct writer *w)
{
	assert(!what_is_wrong(extent));

	write_le64(w, extent->addr);
	write_le64(w, extent->birth);
	write_le16(w, (uint16_t)extent->blocks);
	write_le16(w, (uint16_t)extent->flags);
	if (extent->flags & EXTENT_COMPRESSED) {
		write_le32(w, extent->stored_bytes);
		write_u8(w, extent->algorithm);
		write_u8(w, extent->whole_blocks);
		write_u8(w, extent->skip_blocks);
		write_u8(w, 0);
	}
	if (extent->flags & EXTENT_ENCRYPTED) {
		write_le32(w, extent->key_id);
		write_bytes(w, extent->nonce, sizeof extent->nonce);
		write_bytes(w, extent->tag, sizeof extent->tag);
	}
	for (uint32_t i = 0; i < checksum_count(extent); i++)
		write_le64(w, extent->checksums[i]);
	assert(!w->bad);
}

static int
extent_decode(struct reader *r, uint64_t first, struct extent *out_extent)
{
	struct extent extent = { .first = first };
	const uint8_t *bytes;
	const char *wrong;
	uint8_t zero = 0;

	extent.addr = read_le64(r);
	extent.birth = read_le64(r);
	extent.blocks = read_le16(r);
	extent.flags = read_le16(r);
	if (extent.flags & EXTENT_COMPRESSED) {
		extent.stored_bytes = read_le32(r);
		extent.algorithm = read_u8(r);
		extent.whole_blocks = read_u8(r);
		extent.skip_blocks = read_u8(r);
		zero = read_u8(r);
	}
	if (extent.flags & EXTENT_ENCRYPTED) {
		extent.key_id = read_le32(r);
		bytes = read_bytes(r, sizeof extent.nonce);
		if (bytes)
			memcpy(extent.nonce, bytes, sizeof extent.nonce);
		bytes = read_bytes(r, sizeof extent.tag);
		if (bytes)
			memcpy(extent.tag, bytes, sizeof extent.tag);
	}
	if (r->bad)
		return fail(COP_EFORMAT, "extent at block %" PRIu64 ": cut short", first);
	wrong = what_is_wrong(&extent);
	if (!wrong && zero != 0)
		wrong = "a reserved byte is set";
	if (wrong)
		return fail(COP_EFORMAT, "extent at block %" PRIu64 ": %s", first, wrong);

	for (uint32_t i = 0; i < checksum_count(&extent); i++)
		extent.checksums[i] = read_le64(r);
	if (r->bad)
		return fail(COP_EFORMAT, "extent at block %" PRIu64 ": cut short", first);
	*out_extent = extent;
	return 0;
}

void
extent_key(uint64_t last, uint8_t out[static EXTENT_KEY_BYTES])
{
	put_be64(out, last);
}

int
extent_decode_entry(struct view key, struct view value, struct extent *out_extent)
{
	struct reader r = reader_over(value.data, value.bytes);
	struct extent extent;
	uint64_t last;
	uint32_t blocks;
	int err;

	if (key.bytes != EXTENT_KEY_BYTES)
		return fail(COP_EFORMAT, "key of an extent has %zu bytes", key.bytes);
	if (value.bytes < EXTENT_FIXED_BYTES)
		return fail(COP_EFORMAT, "extent of %zu bytes", value.bytes);
	last = get_be64(key.data);
	blocks = get_le16(value.data + 16);
	if (blocks == 0 || blocks - 1 > last)
		return fail(COP_EFORMAT, "extent of %" PRIu32 " blocks ends at block %" PRIu64,
			blocks, last);
	err = extent_decode(&r, last - (blocks - 1), &extent);
	if (err)
		return err;
	if (!reader_is_done(&r))
		return fail(COP_EFORMAT, "extent at block %" PRIu64 ": too long", extent.first);
	*out_extent = extent;
	return 0;
}

bool
extent_entry_run(enum tree_kind kind, struct view key, struct view value, struct run *out_run,
	uint64_t *out_birth)
{
	struct extent extent;

	if (kind != TREE_CONTENT)
		return false;
	if (extent_decode_entry(key, value, &extent) != 0) {
		err_clear();
		return false;
	}
	*out_run = (struct run){ extent.addr, extent_stored_blocks(&extent) };
	*out_birth = extent.birth;
	return true;
}

void
extent_encode_listed(const struct extent *extent, struct writer *w)
{
	write_le64(w, extent->first);
	extent_encode(extent, w);
}

int
extent_decode_listed(struct reader *r, struct extent *out_extent)
{
	uint64_t first = read_le64(r);

	return extent_decode(r, first, out_extent);
}

void
extent_trim(struct extent *extent, uint64_t first, uint32_t blocks)
{
	uint64_t skip = first - extent->first;

	assert(first >= extent->first);
	assert(blocks > 0);
	assert(skip + blocks <= extent->blocks);
	assert(!(extent->flags & (EXTENT_COMPRESSED | EXTENT_ENCRYPTED)));

	if (!(extent->flags & EXTENT_UNWRITTEN))
		memmove(extent->checksums, extent->checksums + skip,
			blocks * sizeof extent->checksums[0]);
	extent->first = first;
	extent->addr += skip;
	extent->blocks = blocks;
}
