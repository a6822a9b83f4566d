/*
 * The window of blocks.
 *
 * For each AG of the window that was ever written there are three maps: what the newest allocation
 * tree says is used, what the newest checkpoint was found to refer to, and what the allocation tree
 * of the checkpoint before says is used.
 *
 *   newest claims     a block found twice is a problem, unless the share tree says so. One that was
 *                     born in the newest generation may lie on nothing that the checkpoint before
 *                     uses; any other is the same thing there, and is taken off the third map.
 *   previous claims   come after all of the newest. A block found by the newest is shared: whoever
 *                     is below it has been judged. Others are taken off the third map.
 *   replayed          the first map has what replay has changed of it; there is no third one
 *   judge             the first two maps are equal, and the third is empty
 */

#include "check/check_internal.h"

#include "base/num.h"

#include <assert.h>
#include <stdlib.h>

static bool
bit_is_set(const uint8_t *bits, uint64_t index)
{
	return bits[index / 8] >> index % 8 & 1;
}

static void
bit_set(uint8_t *bits, uint64_t index)
{
	bits[index / 8] = (uint8_t)(bits[index / 8] | 1U << index % 8);
}

static void
bit_clear(uint8_t *bits, uint64_t index)
{
	bits[index / 8] = (uint8_t)(bits[index / 8] & ~(1U << index % 8));
}

/* ---- The window ------------------------------------------------------------------------------ */

static int
compare_ag(const void *key, const void *entry)
{
	uint64_t ag = *(const uint64_t *)key;
	const struct window_ag *window = entry;

	return ag < window->ag ? -1 : ag >= window->end;
}

/* NULL: its bitmap was never written, or it is not in the window. */
static struct window_ag *
find_ag(struct references *references, uint64_t ag)
{
	if (references->count == 0)
		return NULL;
	return bsearch(
		&ag, references->ags, references->count, sizeof references->ags[0], compare_ag);
}

static void
allocation_problem(struct checker *checker, uint64_t ag, int err, bool is_newest)
{
	const char *which = is_newest ? "newest" : "previous";

	report__problem(checker,
		&(struct finding){ .class_ = COP_PROBLEM_ALLOCATION,
			.block = ag * checker->geometry.ag_blocks },
		"the %s allocation tree at AG %" PRIu64 ": %s%s", which, ag, report__why(err),
		is_newest ? "; groups below it are closed" : "");
}

/* Unknown AGs reach up to the next one that the walk has come to. */
static void
end_unknown(struct references *references, uint64_t end)
{
	struct window_ag *last;

	if (references->count == 0)
		return;
	last = &references->ags[references->count - 1];
	if (last->is_unknown && last->end < end)
		last->end = end;
}

struct loading {
	struct checker *checker;
	uint8_t *block; /* for the parameters, and for a bitmap that was never written */
};

/* The bitmap of a group that the newest checkpoint has never written, if replay has used it. */
static const uint8_t *
used_by_replay(struct loading *loading, uint64_t ag)
{
	struct checker *checker = loading->checker;

	if (!checker->is_replayed)
		return NULL;
	memset(loading->block, 0, BLOCK_BYTES);
	if (!space_changes_used(volume_space(checker->volume), ag, loading->block))
		return NULL;
	for (uint32_t i = 0; i < geometry_fixed_blocks(&checker->geometry, ag); i++)
		bit_set(loading->block, i);
	return loading->block;
}

static void
meet_freed(void *context, struct run run)
{
	struct checker *checker = context;
	uint32_t ag_blocks = checker->geometry.ag_blocks;

	for (uint64_t block = run.addr; block < run.addr + run.blocks; block++) {
		struct window_ag *entry = find_ag(&checker->references, block / ag_blocks);

		if (entry && !entry->is_unknown)
			bit_clear(entry->bitmap, block % ag_blocks);
	}
}

static bool
visit_newest(void *context, uint64_t ag, const struct space_descriptor *descriptor,
	const uint8_t *bitmap, int result)
{
	struct loading *loading = context;
	struct checker *checker = loading->checker;
	struct references *references = &checker->references;
	struct window_ag *entry;

	(void)descriptor;
	end_unknown(references, ag);
	if (!bitmap && result == 0)
		bitmap = used_by_replay(loading, ag);
	if (!bitmap && result == 0)
		return true;
	if (references->count == references->capacity) {
		references->end_ag = ag;
		return false;
	}
	entry = &references->ags[references->count++];
	entry->ag = ag;
	entry->end = ag + 1;
	entry->is_unknown = result != 0;
	entry->has_previous = false;
	if (result != 0) {
		allocation_problem(checker, ag, result, true);
		return true;
	}
	memcpy(entry->bitmap, bitmap, BLOCK_BYTES);
	if (checker->is_replayed)
		(void)space_changes_used(volume_space(checker->volume), ag, entry->bitmap);
	memset(entry->found, 0, BLOCK_BYTES);
	for (uint32_t i = 0; i < geometry_fixed_blocks(&checker->geometry, ag); i++)
		bit_set(entry->found, i);
	if (!geometry_has_ring(&checker->geometry, ag) && !checker->is_replayed)
		superblocks__check_parameters(checker, ag, loading->block);
	return true;
}

static bool
visit_previous(void *context, uint64_t ag, const struct space_descriptor *descriptor,
	const uint8_t *bitmap, int result)
{
	struct checker *checker = context;
	struct window_ag *entry = find_ag(&checker->references, ag);

	(void)descriptor;
	if (result != 0) {
		/* What both trees share has been told. */
		if (!entry || !entry->is_unknown)
			allocation_problem(checker, ag, result, false);
		return true;
	}
	if (!bitmap)
		return true;
	if (!entry) {
		report__problem(checker,
			&(struct finding){ .class_ = COP_PROBLEM_ALLOCATION,
				.block = ag * checker->geometry.ag_blocks },
			"AG %" PRIu64 " counts as never written, and was in use before", ag);
		return true;
	}
	if (entry->is_unknown)
		return true;
	entry->has_previous = true;
	memcpy(entry->previous, bitmap, BLOCK_BYTES);
	for (uint32_t i = 0; i < geometry_fixed_blocks(&checker->geometry, ag); i++)
		bit_clear(entry->previous, i);
	return true;
}

/* A root that makes no sense is a problem, and then nothing is known. */
static int
load_newest(struct checker *checker, struct loading *loading)
{
	struct references *references = &checker->references;
	uint64_t ag_count = checker->geometry.ag_count;
	int err = space_walk(checker->dev, &checker->geometry, checker->sb.uuid,
		&checker->sb.allocation, references->first_ag, ag_count - references->first_ag,
		visit_newest, loading);

	if (err_is_damage(err)) {
		allocation_problem(checker, 0, err, true);
		err_clear();
		references->ags[0] = (struct window_ag){ .end = ag_count, .is_unknown = true };
		references->count = 1;
		return 0;
	}
	end_unknown(references, references->end_ag);
	if (err == 0 && checker->is_replayed)
		space_changes_freed(volume_space(checker->volume), meet_freed, checker);
	return err;
}

static int
load_previous(struct checker *checker)
{
	struct references *references = &checker->references;
	int err = space_walk(checker->dev, &checker->geometry, checker->sb.uuid,
		&checker->previous.allocation, references->first_ag,
		references->end_ag - references->first_ag, visit_previous, checker);

	if (!err_is_damage(err))
		return err;
	allocation_problem(checker, 0, err, false);
	err_clear();
	return 0;
}

int
references__begin(struct checker *checker, uint64_t first_ag)
{
	struct references *references = &checker->references;
	struct loading loading = { .checker = checker, .block = block_buffer_alloc(1) };
	size_t capacity = checker->limits.window_ags;
	int err = 0;

	assert(capacity > 0);
	if (!references->ags)
		references->ags = malloc(capacity * sizeof references->ags[0]);
	if (!references->ags || !loading.block) {
		free(loading.block);
		return fail(COP_ENOMEM, "check of %zu allocation groups at once", capacity);
	}
	references->capacity = capacity;
	references->count = 0;
	references->first_ag = first_ag;
	references->end_ag = checker->geometry.ag_count;
	if (first_ag < references->end_ag)
		err = load_newest(checker, &loading);
	if (err == 0)
		err = shares__begin(checker);
	if (err == 0 && checker->previous.generation != 0 && first_ag < references->end_ag)
		err = load_previous(checker);
	free(loading.block);
	return err;
}

void
references__end(struct checker *checker)
{
	free(checker->references.ags);
	checker->references = (struct references){ 0 };
}

static bool
visit_to_count(void *context, uint64_t ag, const struct space_descriptor *descriptor,
	const uint8_t *bitmap, int result)
{
	uint64_t *entries = context;

	(void)ag;
	(void)descriptor;
	if (bitmap || result != 0)
		(*entries)++;
	return true;
}

int
references__count_passes(struct checker *checker, uint64_t *out_passes)
{
	uint64_t ag_count = checker->geometry.ag_count;
	uint64_t entries = 0;
	int err = 0;

	if (ag_count > checker->limits.window_ags)
		err = space_walk(checker->dev, &checker->geometry, checker->sb.uuid,
			&checker->sb.allocation, 0, ag_count, visit_to_count, &entries);
	if (err_is_damage(err)) {
		err_clear();
		err = 0;
	}
	*out_passes = max_u64(1, div_up(entries, checker->limits.window_ags));
	return err;
}

/* ---- Claims ---------------------------------------------------------------------------------- */

/* Consecutive blocks of one claim with the same problem. */
struct run_of_problems {
	uint64_t first;
	uint64_t blocks;
};

static void
claim_problem(struct checker *checker, const struct claim *claim, const struct run_of_problems *run,
	const char *problem)
{
	struct finding finding = {
		.class_ = COP_PROBLEM_ALLOCATION,
		.object = claim->object,
		.block = run->first,
	};

	if (run->blocks == 0)
		return;
	if (claim->is_data) {
		finding.offset = claim->offset + (run->first - claim->addr) * BLOCK_BYTES;
		finding.bytes = run->blocks * BLOCK_BYTES;
	}
	report__problem(checker, &finding, "%s at block %" PRIu64 ", %" PRIu64 " block%s: %s",
		claim->what, run->first, run->blocks, run->blocks == 1 ? "" : "s", problem);
}

static void
run_add(struct run_of_problems *run, uint64_t block)
{
	if (run->blocks == 0)
		run->first = block;
	run->blocks = block - run->first + 1;
}

static bool
claim_is_within(struct checker *checker, const struct claim *claim)
{
	struct run_of_problems run = { .first = claim->addr, .blocks = claim->blocks };

	if (claim->addr != 0 && claim->blocks <= checker->sb.blocks &&
		claim->addr <= checker->sb.blocks - claim->blocks)
		return true;
	if (checker->is_first_pass)
		claim_problem(checker, claim, &run, "outside of the volume");
	return false;
}

enum claim_result
references__claim(struct checker *checker, const struct claim *claim)
{
	struct references *references = &checker->references;
	uint32_t ag_blocks = checker->geometry.ag_blocks;
	bool is_fresh = claim->birth == checker->sb.generation;
	struct run_of_problems twice = { 0 };
	struct run_of_problems overwrites = { 0 };
	struct run_of_problems in_free_ag = { 0 };
	struct window_ag *entry = NULL;
	uint64_t again = 0;

	if (!claim_is_within(checker, claim))
		return CLAIM_BAD;
	for (uint64_t block = claim->addr; block < claim->addr + claim->blocks; block++) {
		uint64_t ag = block / ag_blocks;
		uint64_t index = block % ag_blocks;

		if (ag < references->first_ag || ag >= references->end_ag)
			continue;
		if (!entry || ag < entry->ag || ag >= entry->end)
			entry = find_ag(references, ag);
		if (!entry) {
			run_add(&in_free_ag, block);
			continue;
		}
		if (entry->is_unknown)
			continue;
		if (bit_is_set(entry->found, index)) {
			again++;
			if (!shares__claim(checker, block, claim->birth))
				run_add(&twice, block);
		}
		bit_set(entry->found, index);
		if (!entry->has_previous)
			continue;
		if (is_fresh && bit_is_set(entry->previous, index))
			run_add(&overwrites, block);
		bit_clear(entry->previous, index);
	}
	claim_problem(checker, claim, &twice, "used by something else as well");
	claim_problem(checker, claim, &overwrites,
		"written over what the checkpoint before the newest still uses");
	claim_problem(
		checker, claim, &in_free_ag, "in an allocation group that counts as never written");
	if (twice.blocks > 0)
		return CLAIM_TWICE;
	return again == claim->blocks ? CLAIM_AGAIN : CLAIM_NEW;
}

enum claim_result
references__claim_previous(struct checker *checker, const struct claim *claim)
{
	struct references *references = &checker->references;
	uint32_t ag_blocks = checker->geometry.ag_blocks;
	struct run_of_problems unmarked = { 0 };
	bool may_be_shared = claim->birth <= checker->previous.share_stamp;
	bool is_shared = true;
	uint64_t first_ag;

	if (!claim_is_within(checker, claim))
		return CLAIM_BAD;
	for (uint64_t block = claim->addr; block < claim->addr + claim->blocks; block++) {
		uint64_t ag = block / ag_blocks;
		uint64_t index = block % ag_blocks;
		struct window_ag *entry;

		if (ag < references->first_ag || ag >= references->end_ag)
			continue;
		entry = find_ag(references, ag);
		if (entry && !entry->is_unknown && bit_is_set(entry->found, index))
			continue;
		is_shared = false; /* what is not known is judged, maybe again */
		if (!entry || !entry->has_previous)
			continue;
		if (!bit_is_set(entry->previous, index))
			run_add(&unmarked, block);
		bit_clear(entry->previous, index);
	}
	if (unmarked.blocks > 0 && may_be_shared)
		return CLAIM_AGAIN;
	claim_problem(checker, claim, &unmarked,
		"of the checkpoint before the newest: marked free there, or used twice");
	first_ag = claim->addr / ag_blocks;
	if (first_ag < references->first_ag || first_ag >= references->end_ag)
		return CLAIM_UNSEEN;
	return is_shared ? CLAIM_SHARED : CLAIM_NEW;
}

/* ---- Judging --------------------------------------------------------------------------------- */

/* Runs of blocks that are set in `a` and clear in `b`. */
static bool
next_run(const uint8_t *a, const uint8_t *b, uint32_t size, uint32_t *at, uint32_t *out_blocks)
{
	uint32_t i = *at;
	uint32_t end;

	while (i < size && (bit_is_set(b, i) || !bit_is_set(a, i)))
		i++;
	for (end = i; end < size && bit_is_set(a, end) && !bit_is_set(b, end);)
		end++;
	*at = i;
	*out_blocks = end - i;
	return end > i;
}

static void
judge_leaks(struct checker *checker, const struct window_ag *entry, uint32_t size, uint64_t start)
{
	uint32_t blocks;

	for (uint32_t at = 0; next_run(entry->bitmap, entry->found, size, &at, &blocks);
		at += blocks) {
		struct finding finding = { .class_ = COP_PROBLEM_LEAK, .block = start + at };

		if (checker->losses.nodes > 0)
			checker->leaked_blocks += blocks;
		else
			report__problem(checker, &finding,
				"%" PRIu32 " block%s marked used and nothing refers to %s", blocks,
				blocks == 1 ? " is" : "s are", blocks == 1 ? "it" : "them");
	}
}

static void
judge_unmarked(
	struct checker *checker, const struct window_ag *entry, uint32_t size, uint64_t start)
{
	uint32_t blocks;

	for (uint32_t at = 0; next_run(entry->found, entry->bitmap, size, &at, &blocks);
		at += blocks)
		report__problem(checker,
			&(struct finding){ .class_ = COP_PROBLEM_ALLOCATION, .block = start + at },
			"%" PRIu32 " block%s in use and marked free", blocks,
			blocks == 1 ? " is" : "s are");
}

static void
judge_previous(
	struct checker *checker, const struct window_ag *entry, uint32_t size, uint64_t start)
{
	static const uint8_t none[BLOCK_BYTES];
	uint32_t blocks;

	if (!entry->has_previous || checker->losses.nodes > 0 || checker->previous_losses > 0)
		return;
	for (uint32_t at = 0; next_run(entry->previous, none, size, &at, &blocks); at += blocks)
		report__problem(checker,
			&(struct finding){ .class_ = COP_PROBLEM_LEAK, .block = start + at },
			"%" PRIu32
			" block%s marked used in the checkpoint before the newest and nothing "
			"refers to %s",
			blocks, blocks == 1 ? " is" : "s are", blocks == 1 ? "it" : "them");
}

void
references__judge(struct checker *checker)
{
	struct references *references = &checker->references;

	shares__judge(checker);

	for (size_t i = 0; i < references->count; i++) {
		const struct window_ag *entry = &references->ags[i];
		uint64_t start = entry->ag * checker->geometry.ag_blocks;
		uint32_t size;

		if (entry->is_unknown)
			continue;
		size = geometry_ag_size(&checker->geometry, entry->ag);
		judge_previous(checker, entry, size, start);
		if (memcmp(entry->bitmap, entry->found, BLOCK_BYTES) == 0)
			continue;
		judge_leaks(checker, entry, size, start);
		judge_unmarked(checker, entry, size, start);
	}
}
