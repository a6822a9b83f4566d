#include "space/share.h"

#include "base/num.h"

#include <assert.h>
#include <stdlib.h>

enum {
	ENTRY_BYTES = 26,   /* of a leaf: key, value, slot and head */
	CHILD_BYTES = 40,   /* of an inner node, at least */
	HEADER_BYTES = 512, /* header and fences, at most */
	LEVELS_OF_A_NEW_TREE = 1,
};

/* ---- Ranges --------------------------------------------------------------------------------- */

void
share_ranges_free(struct share_ranges *ranges)
{
	free(ranges->list);
	*ranges = (struct share_ranges){ 0 };
}

int
share_ranges_add(struct share_ranges *ranges, const struct share_range *range)
{
	if (ranges->count == ranges->capacity) {
		size_t capacity = ranges->capacity == 0 ? 16 : ranges->capacity * 2;
		struct share_range *grown = realloc(ranges->list, capacity * sizeof *grown);

		if (!grown)
			return fail(COP_ENOMEM, "counts of references");
		ranges->list = grown;
		ranges->capacity = capacity;
	}
	ranges->list[ranges->count++] = *range;
	return 0;
}

struct look {
	struct share_ranges *ranges;
	uint64_t end;
	uint64_t past; /* ranges must begin here or later */
	int err;
};

static bool
look_at(void *context, struct view key, struct view value)
{
	struct look *look = context;
	struct share_range range;

	look->err = share_decode(key, value, &range);
	if (look->err || range.addr >= look->end)
		return false;
	if (range.addr < look->past) {
		look->err =
			fail(COP_EFORMAT, "share entries overlap at block %" PRIu64, range.addr);
		return false;
	}
	look->past = share_end(&range);
	look->err = share_ranges_add(look->ranges, &range);
	return look->err == 0;
}

int
share_look(struct tree *tree, uint64_t addr, uint64_t blocks, struct share_ranges *ranges)
{
	struct look look = { .ranges = ranges, .end = addr + blocks };
	uint8_t key[SHARE_KEY_BYTES];
	int err;

	assert(tree->kind == TREE_SHARES);
	assert(blocks > 0);
	err = tree_scan(tree, share_key(addr, key), 0, look_at, &look);
	if (err == 0)
		err = look.err;
	return err ? fail_in(err, "share tree") : 0;
}

/* The last range that begins at or before `block`. */
static size_t
ranges_before(const struct share_ranges *ranges, uint64_t block)
{
	size_t low = 0;
	size_t high = ranges->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ranges->list[middle].addr <= block)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

uint32_t
share_ranges_at(const struct share_ranges *ranges, uint64_t block, uint64_t *out_end)
{
	size_t next = ranges_before(ranges, block);

	if (next > 0 && block < share_end(&ranges->list[next - 1])) {
		*out_end = share_end(&ranges->list[next - 1]);
		return ranges->list[next - 1].extra;
	}
	*out_end = next < ranges->count ? ranges->list[next].addr : UINT64_MAX;
	return 0;
}

/* ---- Plans ---------------------------------------------------------------------------------- */

static int64_t
change_at(const struct share_change *changes, size_t count, uint64_t block, uint64_t *out_end)
{
	*out_end = UINT64_MAX;
	for (size_t i = 0; i < count; i++) {
		if (block < changes[i].addr) {
			*out_end = changes[i].addr;
			return 0;
		}
		if (block < changes[i].addr + changes[i].blocks) {
			*out_end = changes[i].addr + changes[i].blocks;
			return changes[i].change;
		}
	}
	return 0;
}

/* What there is now, around all changes: with the neighbours that may become one with them. */
static int
gather(struct tree *tree, const struct share_change *changes, size_t count,
	struct share_ranges *old)
{
	int err = 0;

	for (size_t i = 0; err == 0 && i < count; i++) {
		struct share_ranges found = { 0 };
		uint64_t past = old->count > 0 ? share_end(&old->list[old->count - 1]) : 0;

		assert(changes[i].addr > 0);
		err = share_look(tree, changes[i].addr - 1, changes[i].blocks + 2, &found);
		for (size_t j = 0; err == 0 && j < found.count; j++) {
			if (found.list[j].addr >= past)
				err = share_ranges_add(old, &found.list[j]);
		}
		share_ranges_free(&found);
	}
	return err;
}

/* Adds blocks of one count; those that follow on equal ones are one range with them. */
static int
add_counted(struct share_ranges *ranges, uint64_t addr, uint64_t end, uint32_t extra)
{
	struct share_range *last = ranges->count > 0 ? &ranges->list[ranges->count - 1] : NULL;
	int err = 0;

	if (extra == 0)
		return 0;
	if (last && share_end(last) == addr && last->extra == extra) {
		uint64_t more = min_u64(end - addr, UINT32_MAX - last->blocks);

		last->blocks += (uint32_t)more;
		addr += more;
	}
	while (err == 0 && addr < end) {
		struct share_range range = {
			.addr = addr,
			.blocks = (uint32_t)min_u64(end - addr, UINT32_MAX),
			.extra = extra,
		};

		err = share_ranges_add(ranges, &range);
		addr += range.blocks;
	}
	return err;
}

/* What there shall be instead of `old`: block by block the sum of both, in runs. */
static int
add_up(const struct share_ranges *old, const struct share_change *changes, size_t count,
	struct share_ranges *new)
{
	uint64_t block =
		old->count > 0 ? min_u64(old->list[0].addr, changes[0].addr) : changes[0].addr;
	int err = 0;

	while (err == 0 && block != UINT64_MAX) {
		uint64_t old_end;
		uint64_t until;
		int64_t extra = share_ranges_at(old, block, &old_end);
		uint64_t end;

		extra += change_at(changes, count, block, &until);
		end = min_u64(old_end, until);
		if (extra < 0 || extra > UINT32_MAX)
			return fail(COP_EFORMAT,
				"share tree: block %" PRIu64 " would have %" PRId64 " references",
				block, extra + 1);
		err = add_counted(new, block, end, (uint32_t)extra);
		block = end;
	}
	return err;
}

static const struct share_range *
find_by_last(const struct share_ranges *ranges, uint64_t last)
{
	size_t next = ranges_before(ranges, last);

	if (next == 0 || share_end(&ranges->list[next - 1]) != last + 1)
		return NULL;
	return &ranges->list[next - 1];
}

/* Of `new` only what differs from `old`. */
static int
compare(const struct share_ranges *old, const struct share_ranges *new, struct share_plan *plan)
{
	int err = 0;

	if (old->count > 0) {
		plan->goes = malloc(old->count * sizeof *plan->goes);
		if (!plan->goes)
			return fail(COP_ENOMEM, "counts of references");
	}
	for (size_t i = 0; i < old->count; i++) {
		uint64_t last = share_end(&old->list[i]) - 1;

		if (!find_by_last(new, last))
			plan->goes[plan->goes_count++] = last;
	}
	for (size_t i = 0; err == 0 && i < new->count; i++) {
		const struct share_range *range = &new->list[i];
		const struct share_range *same = find_by_last(old, share_end(range) - 1);

		if (!same || same->blocks != range->blocks || same->extra != range->extra)
			err = share_ranges_add(&plan->comes, range);
	}
	return err;
}

int
share_plan_make(struct tree *tree, const struct share_change *changes, size_t count,
	struct share_plan *out_plan)
{
	struct share_ranges old = { 0 };
	struct share_ranges new = { 0 };
	struct share_plan plan = { 0 };
	int err;

	assert(count > 0);
	err = gather(tree, changes, count, &old);
	if (err == 0)
		err = add_up(&old, changes, count, &new);
	if (err == 0)
		err = compare(&old, &new, &plan);
	share_ranges_free(&old);
	share_ranges_free(&new);
	if (err) {
		share_plan_free(&plan);
		return err;
	}
	*out_plan = plan;
	return 0;
}

void
share_plan_free(struct share_plan *plan)
{
	free(plan->goes);
	share_ranges_free(&plan->comes);
	*plan = (struct share_plan){ 0 };
}

static uint64_t
last_of(const struct share_plan *plan, size_t index)
{
	if (index < plan->goes_count)
		return plan->goes[index];
	return share_end(&plan->comes.list[index - plan->goes_count]) - 1;
}

int
share_plan_prepare(const struct share_plan *plan, struct tree *tree, struct tree_pins *pins)
{
	uint8_t key[SHARE_KEY_BYTES];
	size_t count = plan->goes_count + plan->comes.count;
	int err = 0;

	for (size_t i = 0; err == 0 && i < count; i++)
		err = tree_prepare(tree, share_key(last_of(plan, i), key), pins);
	return err ? err : tree_pins_reserve(pins, count);
}

bool
share_plan_is_prepared(const struct share_plan *plan, struct tree *tree, struct tree_pins *pins)
{
	uint8_t key[SHARE_KEY_BYTES];
	size_t count = plan->goes_count + plan->comes.count;

	for (size_t i = 0; i < count; i++) {
		if (!tree_is_prepared(tree, share_key(last_of(plan, i), key), pins))
			return false;
	}
	return true;
}

void
share_plan_apply(const struct share_plan *plan, struct tree *tree)
{
	uint8_t key[SHARE_KEY_BYTES];
	uint8_t value[SHARE_VALUE_BYTES];

	for (size_t i = 0; i < plan->goes_count; i++)
		tree_delete(tree, share_key(plan->goes[i], key));
	for (size_t i = 0; i < plan->comes.count; i++) {
		const struct share_range *range = &plan->comes.list[i];

		share_encode(range, value);
		tree_put(tree, share_key(share_end(range) - 1, key), view_of(value, sizeof value));
	}
}

/* Entries that fill half of a node, at least. */
static uint64_t
half_a_node(uint64_t level, uint32_t node_bytes)
{
	uint64_t entry_bytes = level == 0 ? ENTRY_BYTES : CHILD_BYTES + SHARE_KEY_BYTES;

	return (node_bytes - HEADER_BYTES) / entry_bytes / 2;
}

/*
 * Level by level from the leaves: so many nodes are met as there are changes, or as the level has;
 * each may be shadowed, and be emptied and made again. A node splits in the middle, so each birth
 * beyond one a node needs half a node of new entries; a change adds at most two.
 */
uint64_t
share_nodes_worst(uint64_t changes, uint8_t levels, uint32_t node_bytes)
{
	uint64_t height = levels == 0 ? LEVELS_OF_A_NEW_TREE : levels;
	uint64_t met = changes;
	uint64_t added = 2 * changes;
	uint64_t nodes = 0;

	if (changes == 0)
		return 0;
	for (uint64_t level = 0; level < height; level++) {
		uint64_t half = half_a_node(level, node_bytes);
		uint64_t width = 1;

		for (uint64_t above = level + 1; above < height && width < met; above++)
			width *= node_bytes / CHILD_BYTES;
		met = min_u64(met, width);
		added = min_u64(added, met + div_up(added, half));
		nodes += 2 * met + added;
	}
	return nodes + 1 + added;
}

uint8_t
share_levels_ahead(uint8_t levels, uint8_t more, uint64_t blocks, uint32_t node_bytes)
{
	uint64_t nodes = blocks / 2 / half_a_node(0, node_bytes); /* ranges do not touch, mostly */
	uint8_t most = LEVELS_OF_A_NEW_TREE;

	for (; nodes > 1; nodes /= half_a_node(most, node_bytes))
		most++;
	if (levels < most)
		levels = (uint8_t)min_u64(levels + more, most);
	return levels == 0 ? LEVELS_OF_A_NEW_TREE : levels;
}
