#include "object/trims_format.h"

#include "base/num.h"
#include "object/extent_format.h"

#include <assert.h>

enum {
	AT_FIRST = 0,
	AT_END = 8,
};

struct view
trims_encode(const struct trims *trims, uint8_t out[static TRIMS_BYTES_MAX])
{
	assert(trims->count <= TRIM_RANGES_MAX);
	for (size_t i = 0; i < trims->count; i++) {
		const struct trim_range *range = &trims->list[i];
		uint8_t *at = out + i * TRIM_RANGE_BYTES;

		assert(range->first < range->end);
		assert(i == 0 || range->first > trims->list[i - 1].end);
		put_le64(at + AT_FIRST, range->first);
		put_le64(at + AT_END, range->end);
	}
	assert(trims->count == 0 || trims->list[trims->count - 1].end <= CONTENT_BLOCKS_MAX);
	return view_of(out, trims->count * TRIM_RANGE_BYTES);
}

int
trims_decode(struct view value, struct trims *out_trims)
{
	struct trims trims;

	if (value.bytes % TRIM_RANGE_BYTES != 0 || value.bytes > TRIMS_BYTES_MAX)
		return fail(COP_EFORMAT, "ranges that are being freed, of %zu bytes", value.bytes);
	trims.count = value.bytes / TRIM_RANGE_BYTES;
	for (size_t i = 0; i < trims.count; i++) {
		const uint8_t *at = value.data + i * TRIM_RANGE_BYTES;
		struct trim_range range = {
			.first = get_le64(at + AT_FIRST),
			.end = get_le64(at + AT_END),
		};

		if (range.first >= range.end || range.end > CONTENT_BLOCKS_MAX ||
			(i > 0 && range.first <= trims.list[i - 1].end))
			return fail(COP_EFORMAT, "ranges that are being freed make no sense");
		if (i == TRIM_RANGES_MAX - 1 && range.end < CONTENT_BLOCKS_MAX)
			return fail(COP_EFORMAT, "too many ranges that are being freed");
		trims.list[i] = range;
	}
	out_trims->count = trims.count;
	for (size_t i = 0; i < trims.count; i++)
		out_trims->list[i] = trims.list[i];
	return 0;
}

const struct trim_range *
trims_find(const struct trims *trims, uint64_t first, uint64_t end)
{
	for (size_t i = 0; i < trims->count; i++) {
		const struct trim_range *range = &trims->list[i];

		if (range->end > first)
			return range->first < end ? range : NULL;
	}
	return NULL;
}

/* Appends to a list that is built in order. False: there is no place. */
static bool
append(struct trims *trims, uint64_t first, uint64_t end)
{
	size_t max = end == CONTENT_BLOCKS_MAX ? TRIM_RANGES_MAX : TRIM_RANGES_MAX - 1;

	if (first >= end)
		return true;
	if (trims->count >= max)
		return false;
	trims->list[trims->count++] = (struct trim_range){ .first = first, .end = end };
	return true;
}

bool
trims_add(struct trims *trims, uint64_t first, uint64_t end)
{
	struct trims next = { .count = 0 };
	size_t i = 0;
	bool fits = true;

	assert(first < end);
	assert(end <= CONTENT_BLOCKS_MAX);
	for (; i < trims->count && trims->list[i].end < first; i++)
		fits = fits && append(&next, trims->list[i].first, trims->list[i].end);
	for (; i < trims->count && trims->list[i].first <= end; i++) {
		first = min_u64(first, trims->list[i].first);
		end = max_u64(end, trims->list[i].end);
	}
	fits = fits && append(&next, first, end);
	for (; i < trims->count; i++)
		fits = fits && append(&next, trims->list[i].first, trims->list[i].end);
	if (fits)
		*trims = next;
	return fits;
}

bool
trims_remove(struct trims *trims, uint64_t first, uint64_t end)
{
	struct trims next = { .count = 0 };
	bool fits = true;

	assert(first < end);
	for (size_t i = 0; i < trims->count; i++) {
		const struct trim_range *range = &trims->list[i];

		fits = fits && append(&next, range->first, min_u64(range->end, first)) &&
		       append(&next, max_u64(range->first, end), range->end);
	}
	if (fits)
		*trims = next;
	return fits;
}

const struct trim_range *
trims_shortest(const struct trims *trims)
{
	const struct trim_range *shortest = &trims->list[0];

	assert(trims->count > 0);
	for (size_t i = 1; i < trims->count; i++) {
		if (trims->list[i].end - trims->list[i].first < shortest->end - shortest->first)
			shortest = &trims->list[i];
	}
	return shortest;
}
