/*
 * The pages of an object: a radix tree of pointers that readers follow without a lock.
 *
 * A node has 64 slots, for pages at the bottom and for nodes above. The tree grows at its root: the
 * old one becomes the first child of a new one, so a reader who holds the old one still finds what
 * was there. Nodes stay until the last page has gone.
 *
 * What a reader may still look at is not freed: it is *retired*, and when enough has come together,
 * or the object has become clean, the gate of the pages is passed once, exclusively; whoever looked
 * is through then. Readers that pass no gate are inside an epoch of the cache instead: memory of
 * pages is the cache's, which sees to that itself, and nodes go the same way.
 */

#include "object/pages_internal.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

enum {
	SLOT_BITS = 6,
	SLOTS = 1 << SLOT_BITS,
	RETIRED_MAX = 64,    /* pages that wait to be freed */
	SEGMENTS_MAX = 8192, /* of one object */
	PAGES_PART = 8,      /* of the memory limit */
};

struct pages_node {
	struct epoch_item retired;
	struct pages_node *older; /* every node of the tree, for freeing */
	uint32_t shift;           /* of the block number: which slot */
	_Atomic(void *) slots[SLOTS];
};

uint64_t
pages_max(const struct cop_volume *volume)
{
	return volume_cache_bytes(volume->volume) / PAGES_PART / BLOCK_BYTES;
}

/* ---- Readers --------------------------------------------------------------------------------- */

void
pages_enter(struct cop_volume *volume)
{
	gate_enter_shared(volume->pages_gate);
}

void
pages_leave(struct cop_volume *volume)
{
	gate_leave_shared(volume->pages_gate);
}

/* The slot of a block at the bottom; NULL: there is none yet. */
static _Atomic(void *) *
find_slot(const struct pages *pages, uint64_t block)
{
	struct pages_node *node = atomic_load_explicit(&pages->root, memory_order_acquire);

	if (!node || block >> node->shift >= SLOTS)
		return NULL;
	while (node && node->shift > 0)
		/* Pairs with the release in add_child(). */
		node = atomic_load_explicit(
			&node->slots[block >> node->shift & (SLOTS - 1)], memory_order_acquire);
	return node ? &node->slots[block & (SLOTS - 1)] : NULL;
}

struct buffer *
pages_find(const struct pages *pages, uint64_t block)
{
	_Atomic(void *) *slot = find_slot(pages, block);

	/* Pairs with the release in pages_publish(): the bytes are there. */
	return slot ? atomic_load_explicit(slot, memory_order_acquire) : NULL;
}

struct buffer *
pages_own(const struct pages *pages, uint64_t block)
{
	return pages_find(pages, block);
}

/* ---- Room ------------------------------------------------------------------------------------ */

static struct pages_node *
node_alloc(struct pages *pages, uint32_t shift)
{
	struct pages_node *node = calloc(1, sizeof *node);

	if (!node)
		return NULL;
	node->shift = shift;
	node->older = pages->nodes;
	pages->nodes = node;
	return node;
}

static bool
grow_root(struct pages *pages, uint64_t block)
{
	struct pages_node *root = atomic_load_explicit(&pages->root, memory_order_relaxed);

	while (!root || block >> root->shift >= SLOTS) {
		struct pages_node *grown = node_alloc(pages, root ? root->shift + SLOT_BITS : 0);

		if (!grown)
			return false;
		atomic_store_explicit(&grown->slots[0], root, memory_order_relaxed);
		atomic_store_explicit(&pages->root, grown, memory_order_release);
		root = grown;
	}
	return true;
}

/* Sees to it that the block has a slot. */
static bool
add_child(struct pages *pages, uint64_t block)
{
	struct pages_node *node = atomic_load_explicit(&pages->root, memory_order_relaxed);

	while (node->shift > 0) {
		_Atomic(void *) *slot = &node->slots[block >> node->shift & (SLOTS - 1)];
		struct pages_node *child = atomic_load_explicit(slot, memory_order_relaxed);

		if (!child) {
			child = node_alloc(pages, node->shift - SLOT_BITS);
			if (!child)
				return false;
			atomic_store_explicit(slot, child, memory_order_release);
		}
		node = child;
	}
	return true;
}

static int
make_slots(struct pages *pages, uint64_t first, uint64_t end)
{
	bool made = grow_root(pages, end - 1);

	for (uint64_t block = first; made && block < end; block = (block | (SLOTS - 1)) + 1)
		made = add_child(pages, block);
	return made ? 0 : fail(COP_ENOMEM, "places for pages");
}

/* ---- Segments -------------------------------------------------------------------------------- */

static struct segment *
newest_segment(const struct pages *pages)
{
	if (pages->segment_count == 0)
		return NULL;
	return &pages->segments[pages->oldest + pages->segment_count - 1];
}

struct segment *
pages_oldest(const struct pages *pages)
{
	return pages->segment_count == 0 ? NULL : &pages->segments[pages->oldest];
}

static bool
goes_on(const struct segment *segment, uint64_t first, uint64_t end)
{
	return first <= segment->end && end >= segment->first &&
	       max_u64(end, segment->end) - min_u64(first, segment->first) <= SEGMENT_BLOCKS_MAX;
}

bool
pages_conflict(const struct pages *pages, uint64_t first, uint64_t end)
{
	const struct segment *newest = newest_segment(pages);

	if (pages->segment_count == SEGMENTS_MAX)
		return true;
	for (uint64_t block = first; block < end; block++) {
		if (!pages_own(pages, block))
			continue;
		if (block < newest->first || block >= newest->end || !goes_on(newest, first, end))
			return true;
	}
	return false;
}

static int
make_room_for_segment(struct pages *pages)
{
	size_t capacity = pages->segment_capacity == 0 ? 4 : 2 * pages->segment_capacity;
	struct segment *grown;

	if (pages->oldest + pages->segment_count < pages->segment_capacity)
		return 0;
	if (pages->oldest > pages->segment_count) {
		memmove(pages->segments, pages->segments + pages->oldest,
			pages->segment_count * sizeof *pages->segments);
		pages->oldest = 0;
		return 0;
	}
	grown = realloc(pages->segments, capacity * sizeof *grown);
	if (!grown)
		return fail(COP_ENOMEM, "segments");
	pages->segments = grown;
	pages->segment_capacity = capacity;
	return 0;
}

static int
add_segment(struct pages *pages, uint64_t first)
{
	int err = make_room_for_segment(pages);

	if (err)
		return err;
	pages->segment_count++;
	*newest_segment(pages) = (struct segment){ .first = first, .end = first };
	return 0;
}

/* Each block of it may replace an extent of its own, and so may those beside it. */
static int
promise_for(struct cop_object *object, struct segment *segment, uint64_t first, uint64_t end,
	uint32_t extra_messages)
{
	enum { MESSAGES_MAX = 48, RECORD_MESSAGES = 2 };
	uint64_t from = segment->first == segment->end ? first : min_u64(first, segment->first);
	uint64_t blocks = max_u64(end, segment->end) - from;
	uint64_t messages = min_u64(2 * (blocks + 2), MESSAGES_MAX);

	return volume_promise(object->volume->volume, blocks + extra_messages,
		(uint32_t)messages + extra_messages, RECORD_MESSAGES + extra_messages,
		&segment->promise);
}

int
pages_prepare(struct cop_object *object, uint64_t first, uint64_t end, uint32_t extra_messages,
	struct segment **out_segment)
{
	struct pages *pages = &object->pages;
	struct segment *segment = newest_segment(pages);
	int err = make_slots(pages, first, end);

	if (err)
		return err;
	if (!segment || !goes_on(segment, first, end)) {
		err = add_segment(pages, first);
		if (err)
			return err;
		segment = newest_segment(pages);
	}
	err = promise_for(object, segment, first, end, extra_messages);
	if (err) {
		pages_unprepare(object);
		return err;
	}
	*out_segment = segment;
	return 0;
}

void
pages_unprepare(struct cop_object *object)
{
	struct pages *pages = &object->pages;
	struct segment *segment = newest_segment(pages);

	if (segment && segment->first == segment->end) {
		volume_unpromise(object->volume->volume, &segment->promise);
		pages->segment_count--;
	}
}

/* ---- Retiring -------------------------------------------------------------------------------- */

static void
retire(struct pages *pages, struct buffer *page)
{
	page->owner_next = pages->retired;
	pages->retired = page;
	pages->retired_count++;
}

static void
free_node(void *context, struct epoch_item *item)
{
	(void)context;
	free((uint8_t *)item - offsetof(struct pages_node, retired));
}

static void
free_retired(struct cop_object *object, bool with_nodes)
{
	struct pages *pages = &object->pages;
	struct cop_volume *volume = object->volume;

	if (with_nodes)
		atomic_store(&pages->root, NULL);
	gate_enter_exclusive(volume->pages_gate);
	gate_leave_exclusive(volume->pages_gate);
	while (pages->retired) {
		struct buffer *page = pages->retired;

		pages->retired = page->owner_next;
		cache_release(volume_cache(volume->volume), page);
	}
	pages->retired_count = 0;
	while (with_nodes && pages->nodes) {
		struct pages_node *node = pages->nodes;

		pages->nodes = node->older;
		node->retired.free = free_node;
		epoch_retire(cache_epoch(volume_cache(volume->volume)), &node->retired);
	}
}

static void
free_memory(struct cop_object *object)
{
	struct pages *pages = &object->pages;

	assert(pages->segment_count == 0);
	if (pages->nodes)
		free_retired(object, true);
	free(pages->segments);
	pages->segments = NULL;
	pages->segment_capacity = 0;
	pages->oldest = 0;
}

/* The last page has gone. */
static void
become_clean(struct cop_object *object)
{
	struct pages *pages = &object->pages;

	atomic_store(&pages->length, 0);
	atomic_store(&pages->modified_ns, 0);
	free_memory(object);
	writeback_delist(object);
}

/* ---- Changes --------------------------------------------------------------------------------- */

void
pages_publish(struct cop_object *object, struct segment *segment, uint64_t first, uint64_t end,
	struct buffer *const *fresh, uint64_t length, int64_t now_ns)
{
	struct pages *pages = &object->pages;
	bool was_clean = pages_are_clean(pages);
	uint64_t added = 0;

	for (uint64_t block = first; block < end; block++) {
		_Atomic(void *) *slot = find_slot(pages, block);
		struct buffer *old = atomic_load_explicit(slot, memory_order_relaxed);

		atomic_store_explicit(slot, fresh[block - first], memory_order_release);
		if (old)
			retire(pages, old);
		else
			added++;
	}
	segment->first = segment->first == segment->end ? first : min_u64(first, segment->first);
	segment->end = max_u64(end, segment->end);
	segment->length = length;
	segment->modified_ns = now_ns;
	segment->keeps_times = false;
	/* Who sees the length must see that there are pages. */
	atomic_fetch_add(&pages->count, added);
	atomic_store(&pages->length, length);
	atomic_store(&pages->modified_ns, now_ns);
	atomic_fetch_add(&object->volume->dirty_pages, added);
	if (pages->retired_count >= RETIRED_MAX)
		free_retired(object, false);
	if (was_clean)
		writeback_enlist(object);
}

/* Takes the pages of [first, end) away. */
static void
take_away(struct cop_object *object, uint64_t first, uint64_t end)
{
	struct pages *pages = &object->pages;

	for (uint64_t block = first; block < end; block++) {
		_Atomic(void *) *slot = find_slot(pages, block);

		retire(pages, atomic_load_explicit(slot, memory_order_relaxed));
		atomic_store_explicit(slot, NULL, memory_order_release);
	}
	atomic_fetch_sub(&pages->count, end - first);
	atomic_fetch_sub(&object->volume->dirty_pages, end - first);
}

void
pages_written_back(struct cop_object *object, uint64_t end)
{
	struct pages *pages = &object->pages;
	struct segment *segment = pages_oldest(pages);

	assert(end > segment->first);
	assert(end <= segment->end);
	take_away(object, segment->first, end);
	segment->first = end;
	if (segment->first < segment->end)
		return;
	volume_unpromise(object->volume->volume, &segment->promise);
	pages->segment_count--;
	pages->oldest++;
	if (pages->segment_count == 0)
		become_clean(object);
	else if (pages->retired_count >= RETIRED_MAX)
		free_retired(object, false);
}

void
pages_keep_times(struct cop_object *object)
{
	struct pages *pages = &object->pages;

	for (size_t i = 0; i < pages->segment_count; i++)
		pages->segments[pages->oldest + i].keeps_times = true;
	atomic_store(&pages->modified_ns, 0);
}

void
pages_discard(struct cop_object *object)
{
	struct pages *pages = &object->pages;
	bool was_clean = pages_are_clean(pages);

	for (size_t i = 0; i < pages->segment_count; i++) {
		struct segment *segment = &pages->segments[pages->oldest + i];

		take_away(object, segment->first, segment->end);
		volume_unpromise(object->volume->volume, &segment->promise);
	}
	pages->segment_count = 0;
	if (!was_clean)
		become_clean(object);
	else
		free_memory(object); /* made for a write that failed */
}
