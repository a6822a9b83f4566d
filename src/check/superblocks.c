/*
 * Superblocks: all that can be said of them without a walk, and the parameters of the format that
 * every other group begins with.
 *
 * A place that holds an older superblock of this volume, or nothing yet, is what a crash leaves
 * between the writes of the copies: the next checkpoint writes another slot, so it may stay like
 * that. Anything else is damage.
 */

#include "check/check_internal.h"

#include "base/num.h"

#include <stdlib.h>

/* ---- Copies ---------------------------------------------------------------------------------- */

static int
judge_copy(const struct superblock *sb, uint32_t place, const uint8_t *block)
{
	struct superblock want = *sb;
	uint8_t bytes[SUPERBLOCK_BYTES];
	struct superblock copy;
	int err;

	if (bytes_are_zero(block, BLOCK_BYTES))
		return 0;
	err = superblock_decode(block, &copy);
	if (err)
		return err;
	if (copy.place != place || copy.slot != sb->slot ||
		memcmp(copy.uuid, sb->uuid, sizeof sb->uuid) != 0)
		return fail(COP_ECHECKSUM, "the superblock of another place or volume");
	if (copy.generation > sb->generation)
		return fail(COP_ECHECKSUM, "generation %" PRIu64 " in place of %" PRIu64,
			copy.generation, sb->generation);
	if (!bytes_are_zero(block + SUPERBLOCK_BYTES, BLOCK_BYTES - SUPERBLOCK_BYTES))
		return fail(COP_EFORMAT, "bytes that follow it are not zero");
	if (copy.generation < sb->generation)
		return 0;
	want.place = (uint16_t)place;
	superblock_encode(&want, bytes);
	if (memcmp(bytes, block, sizeof bytes) != 0)
		return fail(COP_EFORMAT, "differs from the copy that is used");
	return 0;
}

static int
check_copies(struct checker *checker, const struct superblock *sb, const char *which)
{
	uint8_t *block = block_buffer_alloc(1);

	if (!block)
		return fail(COP_ENOMEM, "check");
	for (uint32_t place = 0; place < geometry_superblock_places(&checker->geometry); place++) {
		uint64_t addr = geometry_superblock(&checker->geometry, place, sb->slot);
		int err = device_read(checker->dev, addr, block, 1);

		if (err == 0)
			err = judge_copy(sb, place, block);
		if (err)
			report__problem(checker,
				&(struct finding){
					.class_ = COP_PROBLEM_SUPERBLOCK, .block = addr },
				"copy %" PRIu32 " of the %s superblock: %s", place + 1, which,
				report__why(err));
	}
	err_clear();
	free(block);
	return 0;
}

/* ---- Fields ---------------------------------------------------------------------------------- */

static void
field_problem(struct checker *checker, const char *text)
{
	report__text(checker, &(struct finding){ .class_ = COP_PROBLEM_SUPERBLOCK }, text);
}

static void
check_fields(struct checker *checker)
{
	const struct superblock *sb = &checker->sb;

	if (sb->shares.levels != 0 && sb->share_stamp == 0)
		field_problem(
			checker, "the superblock has a share tree, and nothing was ever shared");
	if (sb->share_stamp < checker->previous.share_stamp)
		field_problem(checker, "the newest act of sharing is older than it was before");
	if (sb->next_object < OBJECT_FIRST || sb->next_branch <= BRANCH_MAIN || sb->next_job == 0)
		field_problem(checker, "a counter of the superblock is behind what was given");
	if (sb->catalog.levels == 0)
		field_problem(checker, "the superblock has no catalog");
	if (sb->free_blocks != sb->allocation.free_blocks)
		report__problem(checker, &(struct finding){ .class_ = COP_PROBLEM_ALLOCATION },
			"the superblock says %" PRIu64
			" blocks are free, the allocation tree %" PRIu64,
			sb->free_blocks, sb->allocation.free_blocks);
}

/* Does the superblock before belong to the newest one? What does not is not walked. */
static bool
previous_is_good(struct checker *checker)
{
	const struct superblock *sb = &checker->sb;
	const struct superblock *previous = &checker->previous;

	if (previous->blocks != sb->blocks || previous->ag_blocks != sb->ag_blocks ||
		previous->node_bytes != sb->node_bytes ||
		previous->journal_blocks != sb->journal_blocks ||
		previous->metadata_copies != sb->metadata_copies ||
		previous->name_seed != sb->name_seed ||
		previous->journal_seed != sb->journal_seed ||
		previous->created_ns != sb->created_ns) {
		field_problem(checker, "the two newest superblocks differ in what never changes");
		return false;
	}
	if (previous->next_object > sb->next_object || previous->next_job > sb->next_job ||
		previous->next_branch > sb->next_branch)
		field_problem(checker, "a counter of the superblock has gone back");
	if (previous->slot == sb->slot)
		field_problem(checker, "the two newest superblocks lie in the same slot");
	return true;
}

int
superblocks__check(struct checker *checker)
{
	int err = check_copies(checker, &checker->sb, "newest");

	if (err)
		return err;
	check_fields(checker);
	if (checker->sb.previous_generation == 0)
		return 0;
	if (checker->previous.generation == 0) {
		report__problem(checker, &(struct finding){ .class_ = COP_PROBLEM_SUPERBLOCK },
			"no copy of the superblock before the newest, of generation %" PRIu64
			", is left",
			checker->sb.previous_generation);
		return 0;
	}
	err = check_copies(checker, &checker->previous, "previous");
	if (err == 0 && !previous_is_good(checker))
		checker->previous = (struct superblock){ 0 };
	return err;
}

/* ---- Parameters ------------------------------------------------------------------------------ */

void
superblocks__check_parameters(struct checker *checker, uint64_t ag, uint8_t *block)
{
	uint64_t addr = ag * checker->geometry.ag_blocks;
	int err = device_read(checker->dev, addr, block, 1);

	if (err == 0 && memcmp(block, checker->parameters, BLOCK_BYTES) != 0)
		err = fail(COP_ECHECKSUM, "not what the superblock says");
	if (err)
		report__problem(checker,
			&(struct finding){ .class_ = COP_PROBLEM_SUPERBLOCK, .block = addr },
			"the format's parameters at the start of AG %" PRIu64 ": %s", ag,
			report__why(err));
	err_clear();
}
