/* What the open generation has changed, for check after a replay that is in memory only. */

#include "base/bytes.h"
#include "space/space_internal.h"

bool
space_changes_used(struct space *space, uint64_t ag, uint8_t bitmap[static BLOCK_BYTES])
{
	struct space_ag *found;
	bool has_some = false;

	mutex_lock(&space->mutex);
	found = space__peek_ag(space, ag);
	for (uint32_t i = 0; found && i < space->geometry.ag_blocks / 64; i++) {
		uint64_t born = found->born[0][i] | found->born[1][i];

		if (born == 0)
			continue;
		has_some = true;
		put_le64(bitmap + 8 * (size_t)i, get_le64(bitmap + 8 * (size_t)i) | born);
	}
	mutex_unlock(&space->mutex);
	return has_some;
}

static void
visit_list(const struct run_list *list, void (*visit)(void *context, struct run run), void *context)
{
	for (const struct run_chunk *chunk = list->head; chunk; chunk = chunk->next) {
		for (size_t i = 0; i < chunk->count; i++)
			visit(context, chunk->runs[i]);
	}
}

void
space_changes_freed(
	struct space *space, void (*visit)(void *context, struct run run), void *context)
{
	mutex_lock(&space->mutex);
	visit_list(&space->frozen_list, visit, context);
	visit_list(&space->open_list, visit, context);
	mutex_unlock(&space->mutex);
}
