/* Values that lie in extents of their own: large attributes. */

#include "object/data_internal.h"

#include <assert.h>

size_t
blob_encode(uint32_t bytes, const struct extents *extents, uint8_t *out, size_t capacity)
{
	struct writer w = writer_over(out, capacity);

	write_le32(&w, bytes);
	for (size_t i = 0; i < extents->count; i++)
		extent_encode_listed(&extents->list[i], &w);
	assert(!w.bad);
	return w.at;
}

int
blob_decode(struct view value, uint32_t *out_bytes, struct extents *out_extents)
{
	struct reader r = reader_over(value.data, value.bytes);
	uint32_t bytes = read_le32(&r);
	int err;

	if (r.bad)
		return fail(COP_EFORMAT, "value in extents: cut short");
	err = extents_decode(&r, out_extents);
	if (err)
		return fail_in(err, "value in extents");
	*out_bytes = bytes;
	return 0;
}
