#include "check/check_internal.h"

#include "base/num.h"

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

/* ---- The window ------------------------------------------------------------------------------ */

static uint32_t
count_clear(const uint8_t *bits, uint32_t count)
{
	uint32_t clear = 0;

	for (uint32_t i = 0; i < count; i++)
		clear += !bit_is_set(bits, i);
	return clear;
}

static void
note_bitmap(struct checker *checker, uint64_t ag, const struct space_descriptor *descriptor,
	const uint8_t *bitmap)
{
	struct references *references = &checker->references;
	struct window_ag *entry = &references->ags[references->count++];
	uint32_t clear = count_clear(bitmap, geometry_ag_size(&checker->geometry, ag));

	entry->ag = ag;
	memcpy(entry->bitmap, bitmap, BLOCK_BYTES);
	memset(entry->found, 0, BLOCK_BYTES);
	memset(entry->fresh, 0, BLOCK_BYTES);
	for (uint32_t i = 0; i < geometry_fixed_blocks(&checker->geometry, ag); i++)
		bit_set(entry->found, i);
	if (clear != descriptor->free_blocks)
		check__report(checker,
			&(struct finding){ .class_ = COP_PROBLEM_ALLOCATION,
				.block = ag * checker->geometry.ag_blocks },
			"AG %" PRIu64 " says %" PRIu64 " blocks are free, its bitmap %" PRIu32, ag,
			descriptor->free_blocks, clear);
}

static bool
visit_ag(void *context, uint64_t ag, const struct space_descriptor *descriptor,
	const uint8_t *bitmap, int result)
{
	struct checker *checker = context;
	struct references *references = &checker->references;

	if (result != 0) {
		references->has_unknown = true;
		check__report(checker,
			&(struct finding){ .class_ = COP_PROBLEM_ALLOCATION,
				.block = ag * checker->geometry.ag_blocks },
			"AG %" PRIu64 " and its like: %s", ag, err_text());
		return true;
	}
	if (!bitmap)
		return true;
	if (references->count == references->capacity) {
		references->end_ag = ag;
		return false;
	}
	note_bitmap(checker, ag, descriptor, bitmap);
	return true;
}

int
references__begin(struct checker *checker, uint64_t first_ag, size_t capacity)
{
	struct references *references = &checker->references;

	if (!references->ags) {
		references->ags = malloc(capacity * sizeof references->ags[0]);
		if (!references->ags)
			return fail(COP_ENOMEM, "check of %zu allocation groups at once", capacity);
		references->capacity = capacity;
	}
	references->count = 0;
	references->first_ag = first_ag;
	references->end_ag = checker->geometry.ag_count;
	return space_walk(checker->dev, &checker->geometry, checker->sb.uuid,
		&checker->sb.allocation, first_ag, checker->geometry.ag_count - first_ag, visit_ag,
		checker);
}

void
references__end(struct checker *checker)
{
	free(checker->references.ags);
	checker->references = (struct references){ 0 };
}

static int
compare_ag(const void *key, const void *entry)
{
	uint64_t ag = *(const uint64_t *)key;
	const struct window_ag *window = entry;

	return ag < window->ag ? -1 : ag > window->ag;
}

static struct window_ag *
find_ag(struct references *references, uint64_t ag)
{
	if (references->count == 0)
		return NULL;
	return bsearch(
		&ag, references->ags, references->count, sizeof references->ags[0], compare_ag);
}

/* ---- Adding ---------------------------------------------------------------------------------- */

static void
report_run(struct checker *checker, uint64_t object, uint64_t block, const char *what,
	const char *problem)
{
	check__report(checker,
		&(struct finding){
			.class_ = COP_PROBLEM_ALLOCATION, .object = object, .block = block },
		"%s at block %" PRIu64 " %s", what, block, problem);
}

/* A block that the newest checkpoint refers to. */
static bool
add_newest(struct checker *checker, struct window_ag *ag, uint64_t index, bool is_fresh)
{
	bool was_found = bit_is_set(ag->found, index);

	(void)checker;
	bit_set(ag->found, index);
	if (is_fresh)
		bit_set(ag->fresh, index);
	return !was_found;
}

void
references__add(struct checker *checker, uint64_t addr, uint64_t blocks, uint64_t birth,
	uint64_t object, const char *what)
{
	struct references *references = &checker->references;
	uint32_t ag_blocks = checker->geometry.ag_blocks;

	if (addr == 0 || blocks > checker->sb.blocks || addr > checker->sb.blocks - blocks) {
		if (checker->is_first_pass)
			report_run(checker, object, addr, what, "lies outside the volume");
		return;
	}
	for (uint64_t block = addr; block < addr + blocks; block++) {
		uint64_t ag = block / ag_blocks;
		struct window_ag *entry;

		if (ag < references->first_ag || ag >= references->end_ag)
			continue;
		entry = find_ag(references, ag);
		if (!entry) {
			if (!references->has_unknown && !checker->is_previous)
				report_run(checker, object, block, what,
					"is in an allocation group that counts as free");
			continue;
		}
		if (checker->is_previous) {
			/* What is born in the newest generation may lie on nothing of the one
			 * before. */
			if (bit_is_set(entry->fresh, block % ag_blocks) &&
				birth < checker->sb.generation)
				report_run(checker, object, block, what,
					"of the checkpoint before has been overwritten");
			continue;
		}
		if (!add_newest(checker, entry, block % ag_blocks, birth == checker->sb.generation))
			report_run(checker, object, block, what, "is used twice");
	}
}

/* ---- Judging --------------------------------------------------------------------------------- */

void
references__judge(struct checker *checker)
{
	struct references *references = &checker->references;

	for (size_t i = 0; i < references->count; i++) {
		const struct window_ag *entry = &references->ags[i];
		uint32_t size = geometry_ag_size(&checker->geometry, entry->ag);
		uint64_t start = entry->ag * checker->geometry.ag_blocks;

		if (memcmp(entry->bitmap, entry->found, size / 8) == 0 && size % 8 == 0)
			continue;
		for (uint32_t b = 0; b < size; b++) {
			bool used = bit_is_set(entry->bitmap, b);
			bool found = bit_is_set(entry->found, b);

			if (used && !found)
				check__report(checker,
					&(struct finding){
						.class_ = COP_PROBLEM_LEAK, .block = start + b },
					"block %" PRIu64 " is marked used and nothing refers to it",
					start + b);
			else if (!used && found)
				check__report(checker,
					&(struct finding){ .class_ = COP_PROBLEM_ALLOCATION,
						.block = start + b },
					"block %" PRIu64 " is in use and marked free", start + b);
		}
	}
}
