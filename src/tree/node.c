/*
 * One node as a slotted page; node_format.h has the picture.
 *
 * Cells are added at the low end of the heap, slots at the end of the slots, and the two grow
 * towards each other. What is removed becomes garbage in the heap, zeroed, and is won back by
 * compacting. Whatever rebuilds a node copies it to the stack first: changing a tree allocates
 * nothing.
 *
 * Keys are compared without being put together: a key within the fences begins with the prefix, so
 * only suffixes are compared, and of those first the 4 bytes in the slot.
 *
 * A split always succeeds. Let F be node_bytes less the header, E the largest entry, s a separator
 * of the longest key, S the size of all entries with the new one, and l, h the old fences, whose
 * room is rounded up to 8 bytes. Since the old entries fitted, S <= F - (l + h) + E. A boundary
 * is good when what is left of it is at most F - (l + s) - 7 and the rest at most F - (s + h) - 7;
 * these are good positions of a total length of at least F - 2s - 14 - E, and boundaries are at
 * most E apart. So if 2E + 2s + 14 <= F, there is one; the static_asserts below say so. Suffixes
 * only become shorter: the prefix of both halves is at least as long as before.
 */

#include "tree/tree_internal.h"

enum {
	FENCES_BYTES_MAX = 2 * TREE_KEY_BYTES_MAX,
	FENCES_ALIGN = 8,
	VALUES_IN_NODE = 4, /* of the largest size */
	NODE_ROOM_MIN = TREE_NODE_BYTES_MIN - NODE_HEADER_BYTES,
	ENTRY_MAX_MIN = NODE_ENTRY_BYTES + TREE_KEY_BYTES_MAX +
			(NODE_ROOM_MIN - FENCES_BYTES_MAX) / VALUES_IN_NODE,
	CHILD_MAX = NODE_ENTRY_BYTES + TREE_KEY_BYTES_MAX + TREE_POINTER_BYTES,
	MERGED_FILL_NUM = 3, /* a merged node is at most 3/4 full, so that it need not split soon */
	MERGED_FILL_DEN = 4,
};

static_assert(2 * ENTRY_MAX_MIN + FENCES_BYTES_MAX + 2 * (FENCES_ALIGN - 1) <= NODE_ROOM_MIN,
	"a leaf of the smallest size can be split; larger ones gain 1/2 of what their entries do");
static_assert(4 * CHILD_MAX + FENCES_BYTES_MAX + 2 * (FENCES_ALIGN - 1) <= NODE_ROOM_MIN,
	"an inner node can be split with a child on either side of the boundary, whatever is "
	"empty");
static_assert(TREE_NODE_BYTES_MAX - NODE_HEADER_BYTES <= UINT16_MAX, "the heap fits its field");

uint32_t
tree_value_bytes_max(uint32_t node_bytes)
{
	assert(node_bytes >= TREE_NODE_BYTES_MIN);
	assert(node_bytes <= TREE_NODE_BYTES_MAX);
	return (node_bytes - NODE_HEADER_BYTES - FENCES_BYTES_MAX) / VALUES_IN_NODE;
}

/* ---- Reading -------------------------------------------------------------------------------- */

static struct view
view_from(struct view view, size_t skip)
{
	assert(skip <= view.bytes);
	return skip == 0 ? view : view_of(view.data + skip, view.bytes - skip);
}

static uint32_t
fences_bytes(size_t low_bytes, size_t high_bytes)
{
	return (uint32_t)((low_bytes + high_bytes + FENCES_ALIGN - 1) &
			  ~(size_t)(FENCES_ALIGN - 1));
}

static uint32_t
slots_at(const uint8_t *node)
{
	return NODE_HEADER_BYTES + fences_bytes(get_le16(node + NODE_AT_LOW_BYTES),
					   get_le16(node + NODE_AT_HIGH_BYTES));
}

static uint32_t
slot_at(const uint8_t *node, uint32_t index)
{
	return slots_at(node) + index * NODE_SLOT_BYTES;
}

static uint32_t
cell_at(const uint8_t *node, uint32_t index)
{
	return get_le16(node + slot_at(node, index) + SLOT_AT_OFFSET);
}

static uint32_t
heap_at(const uint8_t *node, uint32_t node_bytes)
{
	return node_bytes - get_le16(node + NODE_AT_HEAP_BYTES);
}

struct view
node_suffix(const uint8_t *node, uint32_t index)
{
	assert(index < node_count(node));
	return view_of(node + cell_at(node, index) + NODE_CELL_BYTES,
		get_le16(node + slot_at(node, index) + SLOT_AT_SUFFIX_BYTES));
}

struct view
node_value(const uint8_t *node, uint32_t index)
{
	struct view suffix = node_suffix(node, index);

	return view_of(suffix.data + suffix.bytes, get_le16(node + cell_at(node, index)));
}

static uint32_t
cell_bytes(const uint8_t *node, uint32_t index)
{
	return (uint32_t)(NODE_CELL_BYTES + node_suffix(node, index).bytes +
			  node_value(node, index).bytes);
}

struct node_key
node_key(const uint8_t *node, uint32_t index)
{
	return (struct node_key){ node_prefix(node), node_suffix(node, index) };
}

int
node_key_compare(struct node_key key, struct view other)
{
	size_t head_bytes = min_u64(key.prefix.bytes, other.bytes);
	int order = view_compare(key.prefix, view_of(other.data, head_bytes));

	if (order != 0)
		return order;
	return view_compare(key.suffix, view_from(other, head_bytes));
}

struct view
node_key_copy(struct node_key key, uint8_t out[TREE_KEY_BYTES_MAX])
{
	struct writer w = writer_over(out, TREE_KEY_BYTES_MAX);

	write_bytes(&w, key.prefix.data, key.prefix.bytes);
	write_bytes(&w, key.suffix.data, key.suffix.bytes);
	assert(!w.bad);
	return view_of(out, w.at);
}

bool
node_covers(const uint8_t *node, struct view key)
{
	struct view high = node_high(node);

	return view_compare(node_low(node), key) <= 0 &&
	       (high.bytes == 0 || view_compare(key, high) < 0);
}

/* The first 4 bytes as a number, so that numbers compare as the bytes do; shorter: zeros. */
static uint32_t
head_of(struct view suffix)
{
	uint8_t head[4] = { 0 };

	if (suffix.bytes >= sizeof head)
		return get_be32(suffix.data);
	if (suffix.bytes > 0)
		memcpy(head, suffix.data, suffix.bytes);
	return get_be32(head);
}

bool
node_search(const uint8_t *node, struct view key, uint32_t *out_index)
{
	struct view suffix = view_from(key, node_prefix(node).bytes);
	const uint8_t *slots = node + slots_at(node);
	uint32_t head = head_of(suffix);
	uint32_t first = 0;
	uint32_t end = node_count(node);

	assert(node_covers(node, key));
	while (first < end) {
		uint32_t middle = (first + end) / 2;
		uint32_t other = get_be32(slots + middle * NODE_SLOT_BYTES + SLOT_AT_HEAD);
		int order = other < head ? -1 : other > head;

		if (order == 0)
			order = view_compare(node_suffix(node, middle), suffix);
		if (order == 0) {
			*out_index = middle;
			return true;
		}
		if (order < 0)
			first = middle + 1;
		else
			end = middle;
	}
	*out_index = first;
	return false;
}

uint32_t
node_search_child(const uint8_t *node, struct view key)
{
	uint32_t index;

	assert(node_level(node) > 0);
	if (node_search(node, key, &index))
		return index;
	assert(index > 0); /* the first key is the low fence */
	return index - 1;
}

struct tree_pointer
node_child(const uint8_t *node, uint32_t index)
{
	struct view value = node_value(node, index);
	struct tree_pointer pointer;

	assert(node_level(node) > 0);
	assert(value.bytes == TREE_POINTER_BYTES);
	tree_pointer_decode(value.data, &pointer);
	return pointer;
}

struct node_key
node_child_high(const uint8_t *node, uint32_t index)
{
	assert(node_level(node) > 0);
	assert(index < node_count(node));
	if (index + 1 < node_count(node))
		return node_key(node, index + 1);
	return (struct node_key){ view_of(node, 0), node_high(node) };
}

uint32_t
node_next_child(const uint8_t *node, uint32_t index)
{
	while (index < node_count(node) && node_child(node, index).addr == 0)
		index++;
	return index;
}

/* ---- Changing ------------------------------------------------------------------------------- */

static size_t
common_bytes(struct view a, struct view b)
{
	size_t end = min_u64(a.bytes, b.bytes);
	size_t common = 0;

	while (common < end && a.data[common] == b.data[common])
		common++;
	return common;
}

/* Of the keys between two fences. */
static size_t
prefix_bytes_between(struct view low, struct view high)
{
	return high.bytes == 0 ? 0 : common_bytes(low, high);
}

void
node_clear(uint8_t *node, uint32_t node_bytes, struct view low, struct view high)
{
	assert(low.bytes <= TREE_KEY_BYTES_MAX);
	assert(high.bytes <= TREE_KEY_BYTES_MAX);

	memset(node + NODE_HEADER_BYTES, 0, node_bytes - NODE_HEADER_BYTES);
	if (low.bytes > 0)
		memcpy(node + NODE_HEADER_BYTES, low.data, low.bytes);
	if (high.bytes > 0)
		memcpy(node + NODE_HEADER_BYTES + low.bytes, high.data, high.bytes);
	put_le16(node + NODE_AT_HINT, 0);
	put_le16(node + NODE_AT_ENTRIES, 0);
	put_le16(node + NODE_AT_HEAP_BYTES, 0);
	put_le16(node + NODE_AT_GARBAGE_BYTES, 0);
	put_le16(node + NODE_AT_LOW_BYTES, (uint16_t)low.bytes);
	put_le16(node + NODE_AT_HIGH_BYTES, (uint16_t)high.bytes);
	put_le16(node + NODE_AT_PREFIX_BYTES, (uint16_t)prefix_bytes_between(low, high));
}

uint32_t
node_capacity(const uint8_t *node, uint32_t node_bytes)
{
	return node_bytes - slots_at(node);
}

uint32_t
node_used(const uint8_t *node)
{
	return node_count(node) * NODE_SLOT_BYTES + get_le16(node + NODE_AT_HEAP_BYTES) -
	       get_le16(node + NODE_AT_GARBAGE_BYTES);
}

/* Between slots and heap. */
static uint32_t
gap_bytes(const uint8_t *node, uint32_t node_bytes)
{
	return heap_at(node, node_bytes) - slot_at(node, node_count(node));
}

bool
node_has_room(const uint8_t *node, uint32_t node_bytes, struct view key, struct view value)
{
	size_t need = NODE_ENTRY_BYTES + key.bytes - node_prefix(node).bytes + value.bytes;

	return node_used(node) + need <= node_capacity(node, node_bytes);
}

/* A cell at the low end of the heap: `skip` bytes of the key are in the prefix. */
static uint32_t
add_cell(uint8_t *node, uint32_t node_bytes, struct node_key key, size_t skip, struct view value)
{
	size_t first = min_u64(skip, key.prefix.bytes);
	struct view head = view_from(key.prefix, first);
	struct view tail = view_from(key.suffix, skip - first);
	size_t bytes = NODE_CELL_BYTES + head.bytes + tail.bytes + value.bytes;
	uint32_t at = (uint32_t)(heap_at(node, node_bytes) - bytes);
	struct writer w = writer_over(node + at, bytes);

	write_le16(&w, (uint16_t)value.bytes);
	write_bytes(&w, head.data, head.bytes);
	write_bytes(&w, tail.data, tail.bytes);
	write_bytes(&w, value.data, value.bytes);
	assert(!w.bad);
	assert(w.at == bytes);
	put_le16(node + NODE_AT_HEAP_BYTES, (uint16_t)(node_bytes - at));
	return at;
}

static void
set_slot(uint8_t *node, uint32_t index, uint32_t at, size_t suffix_bytes)
{
	uint8_t *slot = node + slot_at(node, index);
	struct view suffix = view_of(node + at + NODE_CELL_BYTES, suffix_bytes);

	put_be32(slot + SLOT_AT_HEAD, head_of(suffix));
	put_le16(slot + SLOT_AT_OFFSET, (uint16_t)at);
	put_le16(slot + SLOT_AT_SUFFIX_BYTES, (uint16_t)suffix_bytes);
}

/* Adds behind the last entry. */
static void
append(uint8_t *node, uint32_t node_bytes, struct node_key key, struct view value)
{
	size_t skip = node_prefix(node).bytes;
	size_t suffix_bytes = key.prefix.bytes + key.suffix.bytes - skip;
	uint32_t count = node_count(node);
	uint32_t at;

	assert(gap_bytes(node, node_bytes) >= NODE_ENTRY_BYTES + suffix_bytes + value.bytes);
	at = add_cell(node, node_bytes, key, skip, value);
	set_slot(node, count, at, suffix_bytes);
	put_le16(node + NODE_AT_ENTRIES, (uint16_t)(count + 1));
}

static void
append_all(uint8_t *node, uint32_t node_bytes, const uint8_t *from)
{
	for (uint32_t i = 0; i < node_count(from); i++)
		append(node, node_bytes, node_key(from, i), node_value(from, i));
}

static void
compact(uint8_t *node, uint32_t node_bytes)
{
	uint8_t old[TREE_NODE_BYTES_MAX];
	uint16_t hint = get_le16(node + NODE_AT_HINT);

	memcpy(old, node, node_bytes);
	node_clear(node, node_bytes, node_low(old), node_high(old));
	append_all(node, node_bytes, old);
	put_le16(node + NODE_AT_HINT, hint);
	assert(node_used(node) == node_used(old));
}

void
node_insert(uint8_t *node, uint32_t node_bytes, uint32_t index, struct view key, struct view value)
{
	size_t skip = node_prefix(node).bytes;
	struct node_key whole = { view_of(key.data, skip), view_from(key, skip) };
	uint32_t count = node_count(node);
	uint32_t at;

	assert(index <= count);
	assert(node_covers(node, key));
	assert(node_has_room(node, node_bytes, key, value));

	if (gap_bytes(node, node_bytes) < NODE_ENTRY_BYTES + whole.suffix.bytes + value.bytes)
		compact(node, node_bytes);

	at = add_cell(node, node_bytes, whole, skip, value);
	memmove(node + slot_at(node, index + 1), node + slot_at(node, index),
		(count - index) * NODE_SLOT_BYTES);
	set_slot(node, index, at, whole.suffix.bytes);
	put_le16(node + NODE_AT_ENTRIES, (uint16_t)(count + 1));
	put_le16(node + NODE_AT_HINT, (uint16_t)(index + 1));
}

void
node_remove(uint8_t *node, uint32_t node_bytes, uint32_t index)
{
	uint32_t count = node_count(node);
	uint32_t at = cell_at(node, index);
	uint32_t bytes = cell_bytes(node, index);
	uint32_t heap = get_le16(node + NODE_AT_HEAP_BYTES);
	uint32_t garbage = get_le16(node + NODE_AT_GARBAGE_BYTES);

	assert(index < count);
	memset(node + at, 0, bytes);
	if (at == heap_at(node, node_bytes))
		heap -= bytes;
	else
		garbage += bytes;
	memmove(node + slot_at(node, index), node + slot_at(node, index + 1),
		(count - index - 1) * NODE_SLOT_BYTES);
	memset(node + slot_at(node, count - 1), 0, NODE_SLOT_BYTES);

	put_le16(node + NODE_AT_ENTRIES, (uint16_t)(count - 1));
	put_le16(node + NODE_AT_HEAP_BYTES, (uint16_t)heap);
	put_le16(node + NODE_AT_GARBAGE_BYTES, (uint16_t)garbage);
	put_le16(node + NODE_AT_HINT, 0);
}

void
node_replace(uint8_t *node, uint32_t index, struct view value)
{
	struct view old = node_value(node, index);

	assert(value.bytes == old.bytes);
	if (value.bytes > 0)
		memmove(node + (old.data - node), value.data, value.bytes);
}

void
node_set_child(uint8_t *node, uint32_t index, const struct tree_pointer *pointer)
{
	uint8_t value[TREE_POINTER_BYTES];

	tree_pointer_encode(pointer, value);
	node_replace(node, index, view_of(value, sizeof value));
}

/* ---- Split and merge ------------------------------------------------------------------------ */

/* A full node with one more entry, which is at `index`. */
struct overfull {
	const uint8_t *node;
	uint32_t index;
	struct node_key key;
	struct view value;
};

static struct node_key
overfull_key(const struct overfull *all, uint32_t i)
{
	if (i == all->index)
		return all->key;
	return node_key(all->node, i < all->index ? i : i - 1);
}

static struct view
overfull_value(const struct overfull *all, uint32_t i)
{
	if (i == all->index)
		return all->value;
	return node_value(all->node, i < all->index ? i : i - 1);
}

static uint32_t
overfull_bytes(const struct overfull *all, uint32_t i)
{
	return (uint32_t)(NODE_ENTRY_BYTES + overfull_key(all, i).suffix.bytes +
			  overfull_value(all, i).bytes);
}

/*
 * Bytes of the fence in front of entry `i`. Between leaves the shortest that tells the two
 * neighbours apart will do; between inner nodes it must be the low fence of a child.
 */
static size_t
separator_bytes(const struct overfull *all, uint32_t i)
{
	struct node_key key = overfull_key(all, i);
	size_t common;

	if (node_level(all->node) > 0)
		return key.prefix.bytes + key.suffix.bytes;
	common = common_bytes(overfull_key(all, i - 1).suffix, key.suffix);
	assert(common < key.suffix.bytes); /* else the keys were not in order */
	return key.prefix.bytes + common + 1;
}

/* Inner nodes: each half must have a child. */
static bool
has_child_on_both_sides(const struct overfull *all, uint32_t boundary)
{
	static const uint8_t none[TREE_POINTER_BYTES];
	uint32_t last = node_count(all->node);

	if (node_level(all->node) == 0)
		return true;
	if (boundary == 1 && memcmp(overfull_value(all, 0).data, none, sizeof none) == 0)
		return false;
	return boundary < last || memcmp(overfull_value(all, last).data, none, sizeof none) != 0;
}

/* Can `left_bytes` of entries go to the left of entry `boundary`, and the others to the right? */
static bool
is_good_boundary(const struct overfull *all, uint32_t node_bytes, uint32_t boundary,
	uint32_t left_bytes, uint32_t all_bytes)
{
	uint32_t room = node_bytes - NODE_HEADER_BYTES;
	size_t separator = separator_bytes(all, boundary);

	return fences_bytes(node_low(all->node).bytes, separator) + left_bytes <= room &&
	       fences_bytes(separator, node_high(all->node).bytes) + all_bytes - left_bytes <=
		       room &&
	       has_child_on_both_sides(all, boundary);
}

/* Of the first `count` entries. */
static uint32_t
overfull_bytes_of(const struct overfull *all, uint32_t count)
{
	uint32_t bytes = 0;

	for (uint32_t i = 0; i < count; i++)
		bytes += overfull_bytes(all, i);
	return bytes;
}

/*
 * The good boundary that is nearest to the middle by bytes; or, where a series of ascending keys
 * goes on, to the end of the series, so that full nodes are left behind.
 */
static uint32_t
choose_boundary(const struct overfull *all, uint32_t node_bytes)
{
	uint32_t count = node_count(all->node) + 1;
	bool is_series = all->index > 0 && get_le16(all->node + NODE_AT_HINT) == all->index;
	uint32_t series_end = (uint32_t)min_u64(all->index + 1, count - 1);
	uint32_t all_bytes = overfull_bytes_of(all, count);
	uint32_t goal_bytes = is_series ? overfull_bytes_of(all, series_end) : all_bytes / 2;
	uint32_t left_bytes = 0;
	uint32_t best = 0;
	uint32_t best_distance = UINT32_MAX;

	for (uint32_t i = 1; i < count; i++) {
		uint32_t distance;

		left_bytes += overfull_bytes(all, i - 1);
		distance =
			left_bytes > goal_bytes ? left_bytes - goal_bytes : goal_bytes - left_bytes;
		if (distance < best_distance &&
			is_good_boundary(all, node_bytes, i, left_bytes, all_bytes)) {
			best = i;
			best_distance = distance;
		}
	}
	assert(best > 0); /* the proof at the top */
	return best;
}

struct view
node_split(uint8_t *left, uint8_t *right, uint32_t node_bytes, uint32_t index, struct view key,
	struct view value, uint8_t separator[TREE_KEY_BYTES_MAX])
{
	uint8_t old[TREE_NODE_BYTES_MAX];
	size_t skip = node_prefix(left).bytes;
	struct overfull all = {
		.node = old,
		.index = index,
		.key = { view_of(key.data, skip), view_from(key, skip) },
		.value = value,
	};
	struct writer w = writer_over(separator, TREE_KEY_BYTES_MAX);
	struct node_key first;
	struct view fence;
	uint32_t boundary;

	assert(!node_has_room(left, node_bytes, key, value));
	assert(node_covers(left, key));

	memcpy(old, left, node_bytes);
	boundary = choose_boundary(&all, node_bytes);
	first = overfull_key(&all, boundary);
	write_bytes(&w, first.prefix.data, first.prefix.bytes);
	write_bytes(&w, first.suffix.data, separator_bytes(&all, boundary) - first.prefix.bytes);
	assert(!w.bad);
	fence = view_of(separator, w.at);

	node_clear(left, node_bytes, node_low(old), fence);
	for (uint32_t i = 0; i < boundary; i++)
		append(left, node_bytes, overfull_key(&all, i), overfull_value(&all, i));
	node_clear(right, node_bytes, fence, node_high(old));
	for (uint32_t i = boundary; i <= node_count(old); i++)
		append(right, node_bytes, overfull_key(&all, i), overfull_value(&all, i));

	if (index < boundary)
		put_le16(left + NODE_AT_HINT, (uint16_t)(index + 1));
	else
		put_le16(right + NODE_AT_HINT, (uint16_t)(index - boundary + 1));
	return fence;
}

/* Of all entries, if the prefix were `prefix_bytes`, which is not more than now. */
static uint32_t
used_with_prefix(const uint8_t *node, size_t prefix_bytes)
{
	assert(prefix_bytes <= node_prefix(node).bytes);
	return (uint32_t)(node_used(node) +
			  node_count(node) * (node_prefix(node).bytes - prefix_bytes));
}

bool
node_merge_fits(const uint8_t *left, const uint8_t *right, uint32_t node_bytes)
{
	struct view low = node_low(left);
	struct view high = node_high(right);
	size_t prefix_bytes = prefix_bytes_between(low, high);
	uint32_t room = node_bytes - NODE_HEADER_BYTES;

	assert(node_level(left) == node_level(right));
	assert(view_compare(node_high(left), node_low(right)) <= 0);
	return fences_bytes(low.bytes, high.bytes) + used_with_prefix(left, prefix_bytes) +
		       used_with_prefix(right, prefix_bytes) <=
	       room / MERGED_FILL_DEN * MERGED_FILL_NUM;
}

void
node_merge(const uint8_t *left, const uint8_t *right, uint8_t *into, uint32_t node_bytes)
{
	uint8_t old[TREE_NODE_BYTES_MAX];
	const uint8_t *first = into == left ? old : left;
	const uint8_t *second = into == right ? old : right;
	uint32_t i = 0;

	assert(into == left || into == right);
	assert(node_merge_fits(left, right, node_bytes));

	memcpy(old, into, node_bytes);
	node_clear(into, node_bytes, node_low(first), node_high(second));
	append_all(into, node_bytes, first);

	/* Two ranges without a child become one. */
	if (node_level(into) > 0 && node_child(first, node_count(first) - 1).addr == 0 &&
		node_child(second, 0).addr == 0)
		i = 1;
	for (; i < node_count(second); i++)
		append(into, node_bytes, node_key(second, i), node_value(second, i));
}

bool
node_widen(uint8_t *node, uint32_t node_bytes, struct view low, struct view high)
{
	uint8_t old[TREE_NODE_BYTES_MAX];
	uint32_t need = fences_bytes(low.bytes, high.bytes) +
			used_with_prefix(node, prefix_bytes_between(low, high));

	assert(node_level(node) == 0);
	if (need > node_bytes - NODE_HEADER_BYTES)
		return false;
	memcpy(old, node, node_bytes);
	node_clear(node, node_bytes, low, high);
	append_all(node, node_bytes, old);
	return true;
}

/* ---- Judging -------------------------------------------------------------------------------- */

/* One bit for each byte of a node: who lies where. */
struct byte_map {
	uint64_t words[TREE_NODE_BYTES_MAX / 64];
};

/* False: one of the bytes was taken already. */
static bool
byte_map_take(struct byte_map *map, uint32_t at, uint32_t bytes)
{
	uint32_t end = at + bytes;

	while (at < end) {
		uint32_t shift = at % 64;
		uint32_t here = (uint32_t)min_u64(64 - shift, end - at);
		uint64_t mask = (here == 64 ? UINT64_MAX : (UINT64_C(1) << here) - 1) << shift;

		if (map->words[at / 64] & mask)
			return false;
		map->words[at / 64] |= mask;
		at += here;
	}
	return true;
}

/* Sizes in the header: after this, fences, slots and heap are within the image and apart. */
static int
check_layout(const uint8_t *node, uint32_t node_bytes)
{
	uint32_t low_bytes = get_le16(node + NODE_AT_LOW_BYTES);
	uint32_t high_bytes = get_le16(node + NODE_AT_HIGH_BYTES);
	uint32_t heap_bytes = get_le16(node + NODE_AT_HEAP_BYTES);
	uint32_t count = node_count(node);

	if (low_bytes > TREE_KEY_BYTES_MAX || high_bytes > TREE_KEY_BYTES_MAX)
		return fail(COP_EFORMAT, "fences of %" PRIu32 " and %" PRIu32 " bytes", low_bytes,
			high_bytes);
	if (count == 0)
		return fail(COP_EFORMAT, "a node without entries");
	if (get_le16(node + NODE_AT_HINT) > count)
		return fail(COP_EFORMAT, "hint past the %" PRIu32 " entries", count);
	if ((uint64_t)slots_at(node) + (uint64_t)count * NODE_SLOT_BYTES + heap_bytes > node_bytes)
		return fail(COP_EFORMAT, "%" PRIu32 " entries with %" PRIu32 " bytes are too many",
			count, heap_bytes);
	if (high_bytes > 0 && view_compare(node_low(node), node_high(node)) >= 0)
		return fail(COP_EFORMAT, "fences in the wrong order");
	if (node_prefix(node).bytes != prefix_bytes_between(node_low(node), node_high(node)))
		return fail(COP_EFORMAT, "prefix of %zu bytes", node_prefix(node).bytes);
	return 0;
}

/* One cell: after this, suffix and value are within the heap. */
static int
check_cell(const uint8_t *node, uint32_t node_bytes, uint32_t index, struct byte_map *map,
	uint32_t *sum)
{
	const uint8_t *slot = node + slot_at(node, index);
	uint32_t at = get_le16(slot + SLOT_AT_OFFSET);
	uint32_t suffix_bytes = get_le16(slot + SLOT_AT_SUFFIX_BYTES);
	uint32_t value_bytes;
	uint32_t bytes;

	if (at < heap_at(node, node_bytes) || at + NODE_CELL_BYTES + suffix_bytes > node_bytes)
		return fail(COP_EFORMAT, "entry %" PRIu32 " lies at byte %" PRIu32, index, at);
	if (node_prefix(node).bytes + suffix_bytes > TREE_KEY_BYTES_MAX)
		return fail(COP_EFORMAT, "key of entry %" PRIu32 " is too long", index);

	value_bytes = get_le16(node + at);
	bytes = NODE_CELL_BYTES + suffix_bytes + value_bytes;
	if (at + bytes > node_bytes || value_bytes > tree_value_bytes_max(node_bytes))
		return fail(COP_EFORMAT, "value of entry %" PRIu32 " has %" PRIu32 " bytes", index,
			value_bytes);
	if (!byte_map_take(map, at, bytes))
		return fail(COP_EFORMAT, "entry %" PRIu32 " overlaps another", index);
	if (get_be32(slot + SLOT_AT_HEAD) != head_of(node_suffix(node, index)))
		return fail(COP_EFORMAT, "head of entry %" PRIu32, index);
	*sum += bytes;
	return 0;
}

/* Keys ascend and lie within the fences. */
static int
check_order(const uint8_t *node)
{
	uint32_t count = node_count(node);
	struct view high = node_high(node);

	for (uint32_t i = 1; i < count; i++) {
		if (view_compare(node_suffix(node, i - 1), node_suffix(node, i)) >= 0)
			return fail(COP_EFORMAT, "entry %" PRIu32 " is not in order", i);
	}
	if (node_key_compare(node_key(node, 0), node_low(node)) < 0)
		return fail(COP_EFORMAT, "a key below the low fence");
	if (high.bytes > 0 && node_key_compare(node_key(node, count - 1), high) >= 0)
		return fail(COP_EFORMAT, "a key past the high fence");
	return 0;
}

/* No child is younger than the node: what would be is of a generation in which it may be changed in
 * place, and an image must not claim so. */
static int
check_children(const uint8_t *node)
{
	static const uint8_t none[TREE_POINTER_BYTES];
	uint64_t birth = node_self(node).birth;
	bool was_none = false;
	uint32_t children = 0;

	if (node_key_compare(node_key(node, 0), node_low(node)) != 0)
		return fail(COP_EFORMAT, "the first child is not at the low fence");

	for (uint32_t i = 0; i < node_count(node); i++) {
		struct view value = node_value(node, i);
		bool is_none;

		if (value.bytes != TREE_POINTER_BYTES)
			return fail(COP_EFORMAT, "a pointer of %zu bytes", value.bytes);
		is_none = get_le64(value.data) == 0;
		if (is_none && memcmp(value.data, none, sizeof none) != 0)
			return fail(COP_EFORMAT, "pointer of entry %" PRIu32, i);
		if (!is_none && node_child(node, i).birth > birth)
			return fail(COP_EFORMAT, "a child of entry %" PRIu32 " that is younger", i);
		if (is_none && was_none)
			return fail(COP_EFORMAT, "two empty ranges at entry %" PRIu32, i);
		was_none = is_none;
		children += !is_none;
	}
	if (children == 0)
		return fail(COP_EFORMAT, "an inner node without children");
	return 0;
}

int
node_check_structure(const uint8_t *node, uint32_t node_bytes)
{
	struct byte_map map = { 0 };
	uint32_t sum = 0;
	int err = check_layout(node, node_bytes);

	for (uint32_t i = 0; !err && i < node_count(node); i++)
		err = check_cell(node, node_bytes, i, &map, &sum);
	if (!err &&
		sum + get_le16(node + NODE_AT_GARBAGE_BYTES) != get_le16(node + NODE_AT_HEAP_BYTES))
		err = fail(COP_EFORMAT, "cells and garbage are not the heap");
	if (!err)
		err = check_order(node);
	if (!err && node_level(node) > 0)
		err = check_children(node);
	return err;
}
