/*
 * What is set aside before a change, part by part, so that the change cannot fail: blocks are
 * admitted, places for nodes found, entries of lists and buffers had. All of it or nothing.
 */

#include "volume/room_internal.h"

#include "base/num.h"

enum { LIST_ENTRIES_PER_NODE = 4 }; /* a node taken may free two, with two copies each */

int
volume__admit(struct volume *volume, uint64_t blocks, enum draw draw)
{
	if (draw == DRAW_GROWING)
		return space_admit_growing(volume->space, blocks);
	return space_admit(volume->space, blocks, draw == DRAW_ALL);
}

struct reservation
volume__worst(const struct volume *volume, uint32_t nodes, size_t list_entries)
{
	return (struct reservation){
		.nodes = nodes,
		.list_entries = (size_t)nodes * LIST_ENTRIES_PER_NODE + list_entries,
		.blocks = (uint64_t)nodes * NODE_COPIES_MAX * volume->node_blocks,
	};
}

uint64_t
volume__reservation_bytes(const struct volume *volume, const struct reservation *reservation)
{
	return (uint64_t)reservation->nodes * volume->env.node_bytes +
	       (uint64_t)reservation->carried * BLOCK_BYTES;
}

int
volume__reserve(struct volume *volume, const struct reservation *want, struct promise *promise,
	enum draw draw)
{
	uint64_t promised = promise ? min_u64(promise->node_blocks, want->blocks) : 0;
	int err;

	err = volume__admit(volume, want->blocks - promised, draw);
	if (err)
		return err;
	err = space_reserve_nodes(volume->space, want->nodes, draw != DRAW_NOTHING);
	if (err)
		goto undo_admission;
	err = space_reserve_lists(volume->space, want->list_entries);
	if (err)
		goto undo_nodes;
	err = cache_reserve(volume->cache, volume->node_blocks, want->nodes);
	if (err)
		goto undo_lists;
	err = cache_reserve(volume->cache, 1, want->carried);
	if (err)
		goto undo_cache;
	if (promised > 0)
		promise->node_blocks -= promised;
	return 0;

undo_cache:
	cache_unreserve(volume->cache, volume->node_blocks, want->nodes);
undo_lists:
	space_unreserve_lists(volume->space, want->list_entries);
undo_nodes:
	space_unreserve_nodes(volume->space, want->nodes);
undo_admission:
	space_unadmit(volume->space, want->blocks - promised);
	return err;
}

void
volume__unreserve(struct volume *volume, const struct reservation *reservation,
	const struct reservation *taken, struct promise *promise)
{
	uint32_t left = reservation->nodes - taken->nodes;

	assert(taken->nodes <= reservation->nodes);
	assert(taken->blocks <= reservation->blocks);
	assert(taken->list_entries <= reservation->list_entries);
	assert(taken->carried <= reservation->carried);
	cache_unreserve(volume->cache, volume->node_blocks, left);
	cache_unreserve(volume->cache, 1, reservation->carried - taken->carried);
	space_unreserve_nodes(volume->space, left);
	space_unreserve_lists(volume->space, reservation->list_entries - taken->list_entries);
	if (promise)
		promise->node_blocks += reservation->blocks - taken->blocks;
	else
		space_unadmit(volume->space, reservation->blocks - taken->blocks);
}

/* ---- Promises -------------------------------------------------------------------------------- */

int
volume_promise(struct volume *volume, uint64_t data_blocks, uint32_t content_messages,
	uint32_t object_messages, struct promise *promise)
{
	uint8_t seen = atomic_load(&volume->content_levels);
	uint64_t nodes = (uint64_t)content_messages * tree_nodes_worst(seen == 0 ? 1 : seen);
	struct promise want = { .data_blocks = data_blocks };
	uint64_t more;
	int err;

	gate_enter_shared(volume->gate);
	nodes += (uint64_t)object_messages * tree_nodes_worst(volume->objects.tree.root.levels);
	gate_leave_shared(volume->gate);
	want.node_blocks = nodes * NODE_COPIES_MAX * volume->node_blocks;
	want.data_blocks = max_u64(want.data_blocks, promise->data_blocks);
	want.node_blocks = max_u64(want.node_blocks, promise->node_blocks);
	more = want.data_blocks - promise->data_blocks + want.node_blocks - promise->node_blocks;
	err = more > 0 ? space_admit(volume->space, more, false) : 0;
	if (err == 0)
		*promise = want;
	return err;
}

void
volume_unpromise(struct volume *volume, struct promise *promise)
{
	if (promise->data_blocks + promise->node_blocks > 0)
		space_unadmit(volume->space, promise->data_blocks + promise->node_blocks);
	*promise = (struct promise){ 0 };
}
