/*
 * The reserve (rules of space, 4): what only those who empty may use.
 *
 * It is three times what one emptying transaction may touch at the worst, A, and always enough for
 * one more of them, because of this: let S be what is free, less what is promised for long, and
 * with all that awaits release, which two checkpoints bring back.
 *   - An ordinary transaction is admitted only if S stays at 3 A or above.
 *   - One that empties and may leave the trees larger is admitted only if S stays at A or above.
 *   - Others that empty replace nodes and add none: S does not fall by them. (The entry of an
 *     orphan or a job goes as soon as there is nothing but the reserve.)
 *   - Write-back adds no more nodes than were promised to it: S does not fall by it either.
 * So S is never below A, and who waits for tickets, visits and two checkpoints gets what he needs.
 * A tree that grows in height by one makes A larger by less than a half; then S is still enough.
 */

#include "volume/volume_internal.h"

#include "base/num.h"

/* Of one transaction with so many messages to each kind of tree. */
static uint64_t
nodes_of_messages(const struct volume *volume, uint32_t object, uint32_t content, uint32_t catalog)
{
	uint8_t seen = atomic_load(&volume->content_levels);

	return (uint64_t)object * tree_nodes_worst(volume->objects.tree.root.levels) +
	       (uint64_t)content * tree_nodes_worst(seen == 0 ? 1 : seen) +
	       (uint64_t)catalog * tree_nodes_worst(volume->catalog.tree.root.levels);
}

static uint64_t
reserve_blocks(const struct volume *volume, bool is_sharing)
{
	uint64_t removal = nodes_of_messages(volume, TX_REMOVAL_OBJECT_MESSAGES,
		TX_REMOVAL_CONTENT_MESSAGES, TX_REMOVAL_CATALOG_MESSAGES);
	uint64_t cut = nodes_of_messages(
		volume, TX_CUT_OBJECT_MESSAGES, TX_CUT_CONTENT_MESSAGES, TX_CUT_CATALOG_MESSAGES);
	uint64_t blocks = max_u64(removal, cut) * NODE_COPIES_MAX * volume->node_blocks;

	if (is_sharing)
		blocks += volume__shares_worst(volume, SHARE_POINTS_OF_ADD * TX_EMPTYING_SHARES);
	return 3 * (blocks + TX_CUT_BLOCKS);
}

void
volume__update_reserve(struct volume *volume)
{
	space_set_reserve(volume->space, reserve_blocks(volume, volume__may_be_shared(volume, 0)));
}

uint64_t
volume__reserve_of_first_clone(const struct volume *volume)
{
	return reserve_blocks(volume, true) - reserve_blocks(volume, false);
}
