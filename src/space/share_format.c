#include "space/share_format.h"

#include <assert.h>

enum {
	AT_BLOCKS = 0,
	AT_EXTRA = 4,
};

struct view
share_key(uint64_t last_block, uint8_t out[static SHARE_KEY_BYTES])
{
	put_be64(out, last_block);
	return view_of(out, SHARE_KEY_BYTES);
}

void
share_encode(const struct share_range *range, uint8_t out[static SHARE_VALUE_BYTES])
{
	assert(range->blocks > 0);
	assert(range->extra > 0);
	put_le32(out + AT_BLOCKS, range->blocks);
	put_le32(out + AT_EXTRA, range->extra);
}

int
share_decode(struct view key, struct view value, struct share_range *out_range)
{
	struct share_range range;
	uint64_t last;

	if (key.bytes != SHARE_KEY_BYTES || value.bytes != SHARE_VALUE_BYTES)
		return fail(
			COP_EFORMAT, "a share entry of %zu and %zu bytes", key.bytes, value.bytes);
	last = get_be64(key.data);
	range.blocks = get_le32(value.data + AT_BLOCKS);
	range.extra = get_le32(value.data + AT_EXTRA);
	if (range.blocks == 0 || range.extra == 0)
		return fail(COP_EFORMAT, "a share entry of %" PRIu32 " blocks, counted %" PRIu32,
			range.blocks, range.extra);
	if (last >= UINT64_MAX / 2 || range.blocks > last)
		return fail(COP_EFORMAT, "a share entry of %" PRIu32 " blocks up to %" PRIu64,
			range.blocks, last);
	range.addr = last + 1 - range.blocks;
	*out_range = range;
	return 0;
}
