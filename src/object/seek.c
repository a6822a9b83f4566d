/* Where content lies: mapping an offset, seeking data and holes. */

#include "object/content_internal.h"
#include "object/pages_internal.h"

enum {
	SEEK_EXTENTS_MAX = 64,  /* looked at in one go */
	SEEK_EXTENTS_FIRST = 4, /* at first, when seeking: mostly one of them is it */
};

/* The record, and the extents from a block on, at one moment. */
struct outlook {
	struct loaded loaded;
	struct extents extents;
	bool more;
};

static int
look(struct cop_object *object, uint64_t block, size_t max, struct outlook *outlook)
{
	struct gather gather = {
		.first = block,
		.end = CONTENT_BLOCKS_MAX,
		.max = max,
	};
	int err;

	extents_free(&outlook->extents);
	outlook->more = false;
	err = record_load(object, &outlook->loaded);
	if (err)
		return err;
	gather.end = div_up(outlook->loaded.record.length, BLOCK_BYTES);
	if (gather.first >= gather.end)
		return 0;
	return content_gather(
		object, &outlook->loaded.record, &gather, &outlook->extents, &outlook->more);
}

static int
look_stably(struct operation *op, struct cop_object *object, uint64_t block, size_t max,
	struct outlook *outlook)
{
	struct reading reading;
	int err;

	reading_begin(&reading, op, object);
	do
		err = look(object, block, max, outlook);
	while (reading_again(&reading, err));
	return err;
}

static int
fail_past_end(const struct cop_object *object, uint64_t offset)
{
	return fail(COP_ENODATA, "object %" PRIu64 ": byte %" PRIu64 " is past the end", object->id,
		offset);
}

/* ---- Mapping --------------------------------------------------------------------------------- */

static uint32_t
public_flags(const struct extent *extent)
{
	uint32_t flags = 0;

	if (extent->flags & EXTENT_UNWRITTEN)
		flags |= COP_EXTENT_UNWRITTEN;
	if (extent->flags & EXTENT_COMPRESSED)
		flags |= COP_EXTENT_COMPRESSED;
	if (extent->flags & EXTENT_ENCRYPTED)
		flags |= COP_EXTENT_ENCRYPTED;
	if (extent->flags & EXTENT_SPLIT)
		flags |= COP_EXTENT_SHARED;
	return flags;
}

/* The first block of content after extent `at` that does not follow it on the device. */
static uint64_t
end_of_row(const struct extents *extents, size_t at)
{
	while (at + 1 < extents->count) {
		const struct extent *extent = &extents->list[at];
		const struct extent *next = &extents->list[at + 1];

		if (next->first != extent->first + extent->blocks ||
			next->addr != extent->addr + extent->blocks ||
			next->flags != extent->flags || next->birth != extent->birth ||
			extent->flags & (EXTENT_COMPRESSED | EXTENT_ENCRYPTED))
			break;
		at++;
	}
	return extent_last(&extents->list[at]) + 1;
}

static void
map_in(const struct outlook *outlook, uint64_t offset, struct cop_extent *out)
{
	const struct record *record = &outlook->loaded.record;
	const struct extents *extents = &outlook->extents;
	uint64_t block = offset / BLOCK_BYTES;
	struct cop_extent mapped = {
		.offset = offset,
		.bytes = record->length - offset,
		.offset_in_block = (uint32_t)(offset % BLOCK_BYTES),
	};

	if (record->form == COP_FORM_INLINE) {
		mapped.flags = COP_EXTENT_INLINE;
	} else if (extents->count == 0) {
		mapped.flags = COP_EXTENT_HOLE;
	} else if (extents->list[0].first > block) {
		mapped.flags = COP_EXTENT_HOLE;
		mapped.bytes = min_u64(mapped.bytes, extents->list[0].first * BLOCK_BYTES - offset);
	} else {
		const struct extent *extent = &extents->list[0];

		mapped.flags = public_flags(extent);
		mapped.block = extent->addr;
		if (!(extent->flags & (EXTENT_COMPRESSED | EXTENT_ENCRYPTED)))
			mapped.block += block - extent->first;
		mapped.birth = extent->birth;
		mapped.bytes = min_u64(mapped.bytes, end_of_row(extents, 0) * BLOCK_BYTES - offset);
	}
	*out = mapped;
}

static int
map_offset(struct operation *op, struct cop_object *object, uint64_t offset,
	struct cop_extent *out_extent)
{
	struct outlook outlook = { .extents = { 0 } };
	int err = look_stably(op, object, offset / BLOCK_BYTES, SEEK_EXTENTS_MAX, &outlook);

	if (err == 0 && offset >= outlook.loaded.record.length)
		err = fail_past_end(object, offset);
	if (err == 0)
		map_in(&outlook, offset, out_extent);
	extents_free(&outlook.extents);
	return err;
}

int
cop_map(struct cop_object *object, uint64_t offset, struct cop_extent *out_extent)
{
	struct cop_extent extent;
	struct operation op;
	int err = content_check_kind(object);

	/* What is dirty has no place yet. */
	if (err == 0)
		err = writeback_now(object, false);
	if (err)
		return err;
	operation_begin(&op, object->volume);
	do
		err = map_offset(&op, object, offset, &extent);
	while (operation_again(&op, &err));
	operation_end(&op);
	if (err == 0)
		public_copy_out(out_extent, &extent, sizeof extent);
	return err;
}

/* ---- Seeking --------------------------------------------------------------------------------- */

/* Unwritten extents read as zeros and count as holes. */
static bool
is_data(const struct extent *extent)
{
	return !(extent->flags & EXTENT_UNWRITTEN);
}

/*
 * Moves `*block` on over what has been seen, to data or to a hole. True when it has been found;
 * false: it goes on behind what has been seen.
 */
static bool
seek_in(const struct outlook *outlook, bool want_data, uint64_t *block)
{
	const struct extents *extents = &outlook->extents;

	for (size_t i = 0; i < extents->count; i++) {
		const struct extent *extent = &extents->list[i];

		if (extent->first > *block && !want_data)
			return true;
		if (is_data(extent) == want_data) {
			*block = max_u64(*block, extent->first);
			return true;
		}
		*block = extent_last(extent) + 1;
	}
	return !want_data && !outlook->more;
}

static int
seek(struct operation *op, struct cop_object *object, uint64_t offset, bool want_data,
	uint64_t *out_offset)
{
	struct outlook outlook = { .extents = { 0 } };
	uint64_t block = offset / BLOCK_BYTES;
	size_t max = SEEK_EXTENTS_FIRST;
	uint64_t length;
	bool found = false;
	int err;

	do {
		err = look_stably(op, object, block, max, &outlook);
		if (err)
			goto out;
		length = outlook.loaded.record.length;
		if (offset >= length) {
			err = fail_past_end(object, offset);
			goto out;
		}
		if (outlook.loaded.record.form == COP_FORM_INLINE) {
			*out_offset = want_data ? offset : length;
			goto out;
		}
		found = seek_in(&outlook, want_data, &block);
		max = SEEK_EXTENTS_MAX;
	} while (!found && outlook.more);

	if (want_data && (!found || block * BLOCK_BYTES >= length))
		err = fail(COP_ENODATA, "object %" PRIu64 ": no data after byte %" PRIu64,
			object->id, offset);
	else
		*out_offset = min_u64(length, max_u64(offset, block * BLOCK_BYTES));

out:
	extents_free(&outlook.extents);
	return err;
}

static int
seek_operation(struct cop_object *object, uint64_t offset, bool want_data, uint64_t *out_offset)
{
	struct operation op;
	uint64_t found;
	int err = content_check_kind(object);

	if (err == 0)
		err = writeback_now(object, false);
	if (err)
		return err;
	operation_begin(&op, object->volume);
	do
		err = seek(&op, object, offset, want_data, &found);
	while (operation_again(&op, &err));
	operation_end(&op);
	if (err == 0)
		*out_offset = found;
	return err;
}

int
cop_seek_data(struct cop_object *object, uint64_t offset, uint64_t *out_offset)
{
	return seek_operation(object, offset, true, out_offset);
}

int
cop_seek_hole(struct cop_object *object, uint64_t offset, uint64_t *out_offset)
{
	return seek_operation(object, offset, false, out_offset);
}
