/* Lists of extents. */

#include "object/data_internal.h"

#include <stdlib.h>

int
extents_add(struct extents *extents, const struct extent *extent)
{
	if (extents->count == extents->capacity) {
		size_t capacity = extents->capacity == 0 ? 8 : extents->capacity * 2;
		struct extent *grown = realloc(extents->list, capacity * sizeof *grown);

		if (!grown)
			return fail(COP_ENOMEM, "list of extents");
		extents->list = grown;
		extents->capacity = capacity;
	}
	extents->list[extents->count++] = *extent;
	return 0;
}

void
extents_free(struct extents *extents)
{
	free(extents->list);
	*extents = (struct extents){ 0 };
}

uint64_t
extents_oldest(const struct extents *extents)
{
	uint64_t oldest = UINT64_MAX;

	for (size_t i = 0; i < extents->count; i++)
		oldest = min_u64(oldest, extents->list[i].birth);
	return oldest;
}

int
extents_add_block(
	struct extents *extents, uint64_t block, uint64_t addr, uint64_t birth, uint64_t checksum)
{
	struct extent *last = extents->count == 0 ? NULL : &extents->list[extents->count - 1];
	struct extent made = {
		.first = block, .addr = addr, .birth = birth, .blocks = 1, .checksums = { checksum }
	};

	if (last && last->flags == 0 && last->blocks < EXTENT_BLOCKS_MAX &&
		last->first + last->blocks == block && last->addr + last->blocks == addr &&
		last->birth == birth) {
		last->checksums[last->blocks++] = checksum;
		return 0;
	}
	return extents_add(extents, &made);
}

int
extents_decode(struct reader *r, struct extents *out_extents)
{
	struct extents extents = { 0 };
	uint64_t end = 0;

	while (!reader_is_done(r)) {
		struct extent extent;
		int err = extent_decode_listed(r, &extent);

		if (err == 0 && extent.first < end)
			err = fail(COP_EFORMAT, "extents overlap at block %" PRIu64, extent.first);
		if (err == 0)
			err = extents_add(&extents, &extent);
		if (err) {
			extents_free(&extents);
			return err;
		}
		end = extent_last(&extent) + 1;
	}
	*out_extents = extents;
	return 0;
}

bool
extents_fit_record(const struct extents *extents, uint32_t content_max)
{
	size_t bytes = 0;

	if (extents->count > INLINE_EXTENTS_MAX)
		return false;
	for (size_t i = 0; i < extents->count; i++)
		bytes += EXTENT_LISTED_BYTES + extent_bytes(&extents->list[i]);
	return bytes <= content_max;
}

struct view
extents_encode_listed(const struct extents *extents, uint8_t *out, size_t capacity)
{
	struct writer w = writer_over(out, capacity);

	for (size_t i = 0; i < extents->count; i++)
		extent_encode_listed(&extents->list[i], &w);
	return view_of(out, w.at);
}
