/* Allocating blocks before they are written. */

#include "object/content_internal.h"
#include "object/pages_internal.h"

enum {
	PREALLOCATE_WINDOW_BLOCKS = EDIT_PUTS_MAX * EXTENT_BLOCKS_MAX,
	LOOK_EXTENTS_MAX = 1024, /* at one time, when room is counted */
};

/* Takes blocks for the hole [block, end), as much as `room` extents hold. */
static int
fill_hole(struct edit *edit, uint64_t *block, uint64_t end, uint64_t *goal, uint32_t *room)
{
	while (*block<end && * room> 0) {
		uint32_t want =
			(uint32_t)min_u64(end - *block, (uint64_t)*room * EXTENT_BLOCKS_MAX);
		struct run run;
		int err = tx_take(edit->tx, SPACE_DATA, *goal, want, &run);

		if (err)
			return err;
		*goal = run.addr + run.blocks;
		while (run.blocks > 0) {
			struct extent extent = {
				.first = *block,
				.addr = run.addr,
				.birth = volume_generation(edit->op->volume->volume),
				.blocks = (uint32_t)min_u64(run.blocks, EXTENT_BLOCKS_MAX),
				.flags = EXTENT_UNWRITTEN,
			};

			err = extents_add(&edit->puts, &extent);
			if (err)
				return err;
			*block += extent.blocks;
			run.addr += extent.blocks;
			run.blocks -= extent.blocks;
			*room -= 1;
		}
	}
	return 0;
}

static uint64_t
count_missing(const struct edit *edit)
{
	uint64_t missing = edit->end - edit->first;

	for (size_t i = 0; i < edit->old.count; i++) {
		const struct extent *extent = &edit->old.list[i];
		uint64_t first = max_u64(extent->first, edit->first);
		uint64_t end = min_u64(extent_last(extent) + 1, edit->end);

		if (first < end)
			missing -= end - first;
	}
	return missing;
}

/* Fills the holes of [first, end), or of its beginning: `end` is cut down. */
static int
fill_holes(struct edit *edit)
{
	uint32_t room = EDIT_PUTS_MAX;
	uint64_t block = edit->first;
	uint64_t goal = 0;
	size_t i = 0;
	uint64_t missing = count_missing(edit);
	int err = missing > 0 ? tx_admit(edit->tx, missing) : 0;

	for (; err == 0 && i < edit->old.count; i++) {
		const struct extent *extent = &edit->old.list[i];

		if (extent->first > block)
			err = fill_hole(
				edit, &block, min_u64(extent->first, edit->end), &goal, &room);
		if (err || room == 0)
			break;
		err = extents_add(&edit->puts, extent);
		block = max_u64(block, extent_last(extent) + 1);
		goal = extent->addr + extent->blocks;
	}
	if (err == 0 && room > 0 && block < edit->end)
		err = fill_hole(edit, &block, edit->end, &goal, &room);
	for (; err == 0 && i < edit->old.count; i++)
		err = extents_add(&edit->puts, &edit->old.list[i]);
	if (block < edit->end)
		edit->end = block;
	return err;
}

static int
preallocate_piece(struct edit *edit, uint64_t first, uint64_t end, uint64_t length)
{
	bool more;
	int err;

	if (edit->now.record.form == COP_FORM_INLINE) {
		err = content_move_out(edit);
		if (err)
			return err;
	}
	edit->first = first;
	edit->end = end;
	err = edit_free_trimmed(edit);
	if (err == 0)
		err = edit_gather(edit, true, &more);
	if (err == 0)
		err = tx_begin(edit->op->volume->volume, &edit->op->visit, false, &edit->tx);
	if (err == 0)
		err = fill_holes(edit);
	if (err)
		return err;
	/* The length comes last: until then nothing that a reader sees has changed. */
	if (edit->end == end)
		edit->next.length = max_u64(edit->now.record.length, length);
	err = edit_put(edit);
	return err ? err : edit_commit(edit);
}

/* Says that there is no room before anything is changed, where that can be known. */
static int
check_room(struct operation *op, struct cop_object *object, uint64_t first, uint64_t end)
{
	struct space *space = volume_space(op->volume->volume);
	uint64_t missing = end - first;
	uint64_t block = first;
	struct loaded loaded;
	int err;

	if (missing <= space_available_blocks(space))
		return 0;
	err = record_load(object, &loaded);
	while (err == 0 && block < end) {
		struct gather gather = { .first = block, .end = end, .max = LOOK_EXTENTS_MAX };
		struct extents found = { 0 };
		bool more;

		err = content_gather(object, &loaded.record, &gather, &found, &more);
		if (err)
			break;
		for (size_t i = 0; i < found.count; i++) {
			const struct extent *extent = &found.list[i];

			missing -= min_u64(extent_last(extent) + 1, end) -
				   max_u64(extent->first, block);
		}
		block = more ? extent_last(&found.list[found.count - 1]) + 1 : end;
		extents_free(&found);
	}
	if (err)
		return err;
	if (missing <= space_available_blocks(space) + space_pending_blocks(space))
		return 0;
	return fail(COP_ENOSPC, "%" PRIu64 " blocks are wanted, %" PRIu64 " are available", missing,
		space_available_blocks(space));
}

static int
preallocate(struct operation *op, struct cop_object *object, uint64_t offset, uint64_t bytes,
	bool grow_length)
{
	uint64_t block = offset / BLOCK_BYTES;
	uint64_t end = div_up(offset + bytes, BLOCK_BYTES);
	int err = check_room(op, object, block, end);

	while (err == 0 && block < end) {
		uint64_t piece_end = min_u64(end, block + PREALLOCATE_WINDOW_BLOCKS);
		struct edit edit;

		err = edit_init(&edit, op, object);
		if (err == 0)
			err = preallocate_piece(&edit, block, piece_end,
				grow_length && piece_end == end ? offset + bytes : 0);
		if (err == 0)
			block = edit.end;
		edit_fini(&edit);
	}
	return err;
}

int
cop_preallocate(struct cop_object *object, uint64_t offset, uint64_t bytes, bool grow)
{
	struct operation op = { 0 };
	int err = content_check_kind(object);

	if (err)
		return err;
	if (offset > COP_FILE_BYTES_MAX || bytes > COP_FILE_BYTES_MAX - offset)
		return fail(COP_EFBIG, "object %" PRIu64 ": past 16 TiB", object->id);
	if (bytes == 0)
		return 0;
	while (change_turn(&op, object->volume, &object, 1, &err)) {
		err = writeback_object(&op, object, false);
		if (err == 0)
			err = preallocate(&op, object, offset, bytes, grow);
	}
	return err;
}
