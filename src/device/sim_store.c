#include "device/sim_store.h"

#include "base/checksum.h"
#include "base/num.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { FANOUT_SHIFT = 6, FANOUT = 1 << FANOUT_SHIFT };

/* Contents, never changed once they are shared. NULL stands for zeros. */
struct chunk {
	atomic_uint refs;
	atomic_uint_fast64_t hash; /* 0: not asked for yet. Relaxed: it follows from the data */
	bool is_torn;
	uint8_t data[BLOCK_BYTES];
};

struct version {
	struct chunk *chunk; /* counted */
	uint64_t period;
	uint64_t epoch;
	uint64_t stamp;
	bool is_forgotten;
};

/* One block. versions[0] is durable, and so of no period that matters. */
struct cell {
	atomic_uint refs;
	uint32_t count; /* at least 1 */
	uint32_t capacity;
	bool has_previous;
	struct chunk *previous; /* durable before versions[0]; counted */
	uint64_t listed_period; /* it is in `dirty` if this is the present one */
	uint64_t written;       /* stamp of the newest write */
	struct version versions[];
};

struct sim_node {
	atomic_uint refs;
	void *slots[FANOUT]; /* nodes, or cells on the lowest level; counted */
};

static const uint8_t zeros[BLOCK_BYTES];

/* ---- Counted things ------------------------------------------------------------------------- */

static void
ref_take(atomic_uint *refs)
{
	atomic_fetch_add_explicit(refs, 1, memory_order_relaxed);
}

/* True when it was the last one. Acquire and release: the others' use comes before the freeing. */
static bool
ref_drop(atomic_uint *refs)
{
	return atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel) == 1;
}

/* Acquire: whoever dropped the second to last reference is done with the thing. */
static bool
ref_is_alone(atomic_uint *refs)
{
	return atomic_load_explicit(refs, memory_order_acquire) == 1;
}

static struct chunk *
chunk_create(const uint8_t *block)
{
	struct chunk *chunk = malloc(sizeof *chunk);

	if (!chunk)
		return NULL;
	atomic_init(&chunk->refs, 1);
	atomic_init(&chunk->hash, 0);
	chunk->is_torn = false;
	memcpy(chunk->data, block, BLOCK_BYTES);
	return chunk;
}

static struct chunk *
chunk_ref(struct chunk *chunk)
{
	if (chunk)
		ref_take(&chunk->refs);
	return chunk;
}

static void
chunk_unref(struct chunk *chunk)
{
	if (chunk && ref_drop(&chunk->refs))
		free(chunk);
}

static const uint8_t *
chunk_data(const struct chunk *chunk)
{
	return chunk ? chunk->data : zeros;
}

static uint64_t
hash_of(const uint8_t *data)
{
	return hash64(data, BLOCK_BYTES, 0) | 1;
}

/* Hashed once, however often it is read and by whatever clones. */
static uint64_t
chunk_hash(struct chunk *chunk)
{
	uint64_t hash = atomic_load_explicit(&chunk->hash, memory_order_relaxed);

	if (hash == 0) {
		hash = hash_of(chunk->data);
		atomic_store_explicit(&chunk->hash, hash, memory_order_relaxed);
	}
	return hash;
}

static struct cell *
cell_create(uint32_t capacity)
{
	struct cell *cell = malloc(sizeof *cell + capacity * sizeof cell->versions[0]);

	if (!cell)
		return NULL;
	*cell = (struct cell){ .count = 1, .capacity = capacity };
	atomic_init(&cell->refs, 1);
	cell->versions[0] = (struct version){ .chunk = NULL };
	return cell;
}

static void
cell_unref(struct cell *cell)
{
	if (!cell || !ref_drop(&cell->refs))
		return;
	for (uint32_t i = 0; i < cell->count; i++)
		chunk_unref(cell->versions[i].chunk);
	chunk_unref(cell->previous);
	free(cell);
}

static struct cell *
cell_copy(const struct cell *cell, uint32_t capacity)
{
	struct cell *copy = cell_create(capacity);

	assert(capacity >= cell->count);
	if (!copy)
		return NULL;
	copy->count = cell->count;
	copy->has_previous = cell->has_previous;
	copy->previous = chunk_ref(cell->previous);
	copy->listed_period = cell->listed_period;
	copy->written = cell->written;
	for (uint32_t i = 0; i < cell->count; i++) {
		copy->versions[i] = cell->versions[i];
		(void)chunk_ref(copy->versions[i].chunk);
	}
	return copy;
}

/* Recursion as deep as the tree: 9 levels span all addresses. */
static void
node_unref(struct sim_node *node, uint32_t level) /* NOLINT(misc-no-recursion) */
{
	if (!node || !ref_drop(&node->refs))
		return;
	for (uint32_t i = 0; i < FANOUT; i++) {
		if (level > 0)
			node_unref(node->slots[i], level - 1);
		else
			cell_unref(node->slots[i]);
	}
	free(node);
}

static struct sim_node *
node_copy(const struct sim_node *node, uint32_t level)
{
	struct sim_node *copy = malloc(sizeof *copy);

	if (!copy)
		return NULL;
	memcpy(copy->slots, node->slots, sizeof copy->slots);
	atomic_init(&copy->refs, 1);
	for (uint32_t i = 0; i < FANOUT; i++) {
		if (!copy->slots[i])
			continue;
		if (level > 0)
			ref_take(&((struct sim_node *)copy->slots[i])->refs);
		else
			ref_take(&((struct cell *)copy->slots[i])->refs);
	}
	return copy;
}

/* ---- The map -------------------------------------------------------------------------------- */

static uint32_t
slot_of(uint64_t addr, uint32_t level)
{
	return (uint32_t)(addr >> level * FANOUT_SHIFT) & (FANOUT - 1);
}

/* The state of a block, to look at; NULL: never written. */
static struct cell *
cell_find(const struct sim_store *store, uint64_t addr)
{
	struct sim_node *node = store->root;

	assert(addr < store->blocks);
	for (uint32_t level = store->levels - 1; node && level > 0; level--)
		node = node->slots[slot_of(addr, level)];
	return node ? node->slots[slot_of(addr, 0)] : NULL;
}

/* Makes the node in `link` one that only we hold. */
static int
node_own(struct sim_node **link, uint32_t level)
{
	struct sim_node *node = *link;

	if (node && ref_is_alone(&node->refs))
		return 0;
	if (node) {
		node = node_copy(node, level);
	} else {
		node = calloc(1, sizeof *node);
		if (node)
			atomic_init(&node->refs, 1);
	}
	if (!node)
		return fail(COP_ENOMEM, "simulated medium");
	node_unref(*link, level);
	*link = node;
	return 0;
}

/* The state of a block, to change: ours alone, with room for `spare` more versions. */
static int
cell_own(struct sim_store *store, uint64_t addr, uint32_t spare, struct cell **out_cell)
{
	struct sim_node **link = &store->root;
	struct cell *cell;
	void **slot = NULL;
	uint32_t capacity;
	int err;

	assert(addr < store->blocks);
	for (uint32_t level = store->levels; level-- > 0;) {
		err = node_own(link, level);
		if (err)
			return err;
		slot = &(*link)->slots[slot_of(addr, level)];
		link = (struct sim_node **)slot;
	}

	cell = *slot;
	if (cell && ref_is_alone(&cell->refs) && cell->count + spare <= cell->capacity) {
		*out_cell = cell;
		return 0;
	}
	capacity = (cell ? cell->count : 1) + spare;
	capacity += capacity / 2;
	cell = cell ? cell_copy(cell, capacity) : cell_create(capacity);
	if (!cell)
		return fail(COP_ENOMEM, "simulated medium");
	cell_unref(*slot);
	*slot = cell;
	*out_cell = cell;
	return 0;
}

/* ---- Versions ------------------------------------------------------------------------------- */

/* Takes the reference to `chunk`. Version `index` and all before it give way to it. */
static void
cell_set_durable(struct cell *cell, uint32_t index, struct chunk *chunk)
{
	assert(index < cell->count);
	if (chunk == cell->versions[0].chunk) {
		chunk_unref(chunk);
	} else {
		chunk_unref(cell->previous);
		cell->previous = cell->versions[0].chunk;
		cell->has_previous = true;
	}
	for (uint32_t i = 1; i <= index; i++)
		chunk_unref(cell->versions[i].chunk);
	memmove(&cell->versions[1], &cell->versions[index + 1],
		(cell->count - index - 1) * sizeof cell->versions[0]);
	cell->count -= index;
	cell->versions[0] = (struct version){ .chunk = chunk };
}

static bool
version_is_cached(const struct sim_store *store, const struct cell *cell, uint32_t index)
{
	return index > 0 && cell->versions[index].period == store->period;
}

static int
dirty_add(struct sim_store *store, uint64_t addr)
{
	if (store->dirty_count == store->dirty_capacity) {
		size_t capacity = store->dirty_capacity ? 2 * store->dirty_capacity : 64;
		uint64_t *dirty = realloc(store->dirty, capacity * sizeof *dirty);

		if (!dirty)
			return fail(COP_ENOMEM, "simulated medium");
		store->dirty = dirty;
		store->dirty_capacity = capacity;
	}
	store->dirty[store->dirty_count++] = addr;
	return 0;
}

/* ---- The order that barriers promise -------------------------------------------------------- */

/* What is known of the period of a candidate; NULL: it had no barriers, so there is no order. */
static struct sim_order *
order_of(struct sim_store *store, const struct version *version)
{
	for (uint32_t i = 0; i < store->order_count; i++) {
		if (store->orders[i].period == version->period)
			return &store->orders[i];
	}
	return NULL;
}

/* The versions of a cell that agree with all decisions: from the newest that must have reached the
 * medium, those that can have. */
static uint32_t
find_possible(struct sim_store *store, const struct cell *cell, uint32_t *out_indices)
{
	uint32_t count = 0;

	out_indices[count++] = 0;
	for (uint32_t i = 1; i < cell->count; i++) {
		const struct version *version = &cell->versions[i];
		const struct sim_order *order = order_of(store, version);

		if (order && version->epoch < order->floor)
			count = 0;
		if (order && version->epoch > order->ceiling)
			continue;
		if (count == SIM_ALTERNATIVES_MAX)
			count--;
		out_indices[count++] = i;
	}
	assert(count > 0);
	return count;
}

/* Version `index` turned out to be there, and so none of the newer ones. */
static void
learn(struct sim_store *store, const struct cell *cell, uint32_t index)
{
	for (uint32_t i = index; i < cell->count; i++) {
		const struct version *version = &cell->versions[i];
		struct sim_order *order = i > 0 ? order_of(store, version) : NULL;

		if (!order)
			continue;
		if (i == index)
			order->floor = max_u64(order->floor, version->epoch);
		else
			order->ceiling = min_u64(order->ceiling, version->epoch);
		assert(order->floor <= order->ceiling);
	}
}

/* ---- Decisions ------------------------------------------------------------------------------ */

/* Nobody can tell these two apart: the same bytes, which say the same about the order. */
static bool
looks_the_same(
	struct sim_store *store, const struct version *a, const struct version *b, uint32_t offset)
{
	const struct sim_order *order_a = order_of(store, a);
	const struct sim_order *order_b = order_of(store, b);

	if (order_a != order_b || (order_a && a->epoch != b->epoch))
		return false;
	return memcmp(chunk_data(a->chunk) + offset, chunk_data(b->chunk) + offset,
		       SIM_SECTOR_BYTES) == 0;
}

/*
 * Leaves, of versions that look the same in a sector, one, in the place of the oldest. It is the
 * newest of them: that one leaves open all that the others would, and that nothing newer is lost.
 */
static uint32_t
drop_doubles(struct sim_store *store, const struct cell *cell, uint32_t offset, uint32_t *indices,
	uint32_t count)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct version *version = &cell->versions[indices[i]];
		uint32_t k = 0;

		while (k < kept &&
			!looks_the_same(store, &cell->versions[indices[k]], version, offset))
			k++;
		indices[k] = indices[i];
		if (k == kept)
			kept++;
	}
	return kept;
}

/* All have the same bytes in the sector: a read tells nothing about the order. */
static bool
are_equal(const struct cell *cell, uint32_t offset, const uint32_t *indices, uint32_t count)
{
	const uint8_t *first = chunk_data(cell->versions[indices[0]].chunk) + offset;

	for (uint32_t i = 1; i < count; i++) {
		const uint8_t *other = chunk_data(cell->versions[indices[i]].chunk) + offset;

		if (first != other && memcmp(first, other, SIM_SECTOR_BYTES) != 0)
			return false;
	}
	return true;
}

/* Picks for one sector among the possible versions that differ there. */
static uint32_t
choose_version(struct sim_store *store, const struct cell *cell, uint64_t addr, uint32_t sector)
{
	uint32_t offset = sector * SIM_SECTOR_BYTES;
	uint32_t indices[SIM_ALTERNATIVES_MAX];
	uint32_t count = find_possible(store, cell, indices);
	uint32_t pick;

	if (are_equal(cell, offset, indices, count))
		return indices[0];

	/* The extremes mean versions, also where the newest equals the oldest and another not. */
	if (store->choose == sim_choose_oldest) {
		pick = 0;
	} else if (store->choose == sim_choose_newest) {
		pick = count - 1;
	} else {
		count = drop_doubles(store, cell, offset, indices, count);
		pick = store->choose(
			store->choose_context, count, addr * SIM_BLOCK_SECTORS + sector);
		store->choices++;
	}
	assert(pick < count);
	learn(store, cell, indices[pick]);
	return indices[pick];
}

/* A version with just these bytes, or NULL. */
static const struct version *
find_equal(const struct cell *cell, const uint8_t *block)
{
	for (uint32_t i = 0; i < cell->count; i++) {
		if (memcmp(chunk_data(cell->versions[i].chunk), block, BLOCK_BYTES) == 0)
			return &cell->versions[i];
	}
	return NULL;
}

/* Settles which version every sector of a block has: one durable version is left. */
static int
decide(struct sim_store *store, uint64_t addr)
{
	uint8_t block[BLOCK_BYTES];
	const struct version *equal;
	struct chunk *chunk = NULL;
	struct cell *cell;
	int err;

	err = cell_own(store, addr, 0, &cell);
	if (err)
		return err;
	for (uint32_t sector = 0; sector < SIM_BLOCK_SECTORS; sector++) {
		uint32_t index = choose_version(store, cell, addr, sector);

		memcpy(block + sector * SIM_SECTOR_BYTES,
			chunk_data(cell->versions[index].chunk) + sector * SIM_SECTOR_BYTES,
			SIM_SECTOR_BYTES);
	}
	equal = find_equal(cell, block);
	if (equal) {
		chunk = chunk_ref(equal->chunk);
	} else {
		chunk = chunk_create(block);
		if (!chunk)
			return fail(COP_ENOMEM, "simulated medium");
		chunk->is_torn = true;
	}
	cell_set_durable(cell, cell->count - 1, chunk);
	return 0;
}

/* ---- The interface -------------------------------------------------------------------------- */

void
sim_store__init(struct sim_store *store, uint64_t blocks)
{
	assert(blocks > 0);
	assert(blocks <= UINT64_MAX / BLOCK_BYTES);
	*store = (struct sim_store){ .blocks = blocks, .levels = 1, .period = 1 };
	while ((blocks - 1) >> store->levels * FANOUT_SHIFT != 0)
		store->levels++;
	store->choose = sim_choose_newest;
	store->zeros_hash = hash_of(zeros);
}

void
sim_store__fini(struct sim_store *store)
{
	node_unref(store->root, store->levels - 1);
	free(store->dirty);
}

int
sim_store__clone(const struct sim_store *store, struct sim_store *out_clone)
{
	struct sim_store clone = *store;

	clone.dirty = NULL;
	clone.dirty_capacity = store->dirty_count;
	if (store->dirty_count > 0) {
		clone.dirty = malloc(store->dirty_count * sizeof *clone.dirty);
		if (!clone.dirty)
			return fail(COP_ENOMEM, "simulated medium");
		memcpy(clone.dirty, store->dirty, store->dirty_count * sizeof *clone.dirty);
	}
	if (clone.root)
		ref_take(&clone.root->refs);
	*out_clone = clone;
	return 0;
}

int
sim_store__write(struct sim_store *store, uint64_t addr, const uint8_t *block,
	enum sim_store_durability durability)
{
	struct chunk *chunk = NULL;
	struct cell *cell;
	int err;

	if (block) {
		chunk = chunk_create(block);
		if (!chunk)
			return fail(COP_ENOMEM, "simulated medium");
	}
	err = cell_own(store, addr, 1, &cell);
	if (err)
		goto out;
	if (durability == SIM_DURABLE) {
		cell_set_durable(cell, cell->count - 1, TAKE(chunk));
		cell->written = ++store->stamp;
		goto out;
	}
	if (cell->listed_period != store->period) {
		err = dirty_add(store, addr);
		if (err)
			goto out;
		cell->listed_period = store->period;
	}
	cell->versions[cell->count++] = (struct version){
		.chunk = TAKE(chunk),
		.period = store->period,
		.epoch = store->epoch,
		.stamp = ++store->stamp,
	};
	cell->written = store->stamp;

out:
	chunk_unref(chunk);
	return err;
}

/* The version that a read gives; NULL: zeros. */
static int
find_contents(struct sim_store *store, uint64_t addr, struct chunk **out_chunk)
{
	struct cell *cell = cell_find(store, addr);

	if (cell && cell->count > 1 && !version_is_cached(store, cell, cell->count - 1)) {
		int err = decide(store, addr);

		if (err)
			return err;
		cell = cell_find(store, addr);
	}
	*out_chunk = cell ? cell->versions[cell->count - 1].chunk : NULL;
	return 0;
}

int
sim_store__read(struct sim_store *store, uint64_t addr, uint8_t *out_block)
{
	struct chunk *chunk;
	int err = find_contents(store, addr, &chunk);

	if (!err)
		memcpy(out_block, chunk_data(chunk), BLOCK_BYTES);
	return err;
}

int
sim_store__look(struct sim_store *store, uint64_t addr, struct sim_look *out_look)
{
	struct chunk *chunk;
	int err = find_contents(store, addr, &chunk);

	if (err)
		return err;
	out_look->hash = chunk ? chunk_hash(chunk) : store->zeros_hash;
	out_look->is_torn = chunk && chunk->is_torn;
	out_look->bytes = chunk_data(chunk);
	return 0;
}

uint64_t
sim_store__written(const struct sim_store *store, uint64_t addr)
{
	const struct cell *cell = cell_find(store, addr);

	return cell ? cell->written : 0;
}

int
sim_store__flush(struct sim_store *store, uint64_t stamp)
{
	size_t kept = 0;
	int err = 0;

	for (size_t k = 0; k < store->dirty_count; k++) {
		uint64_t addr = store->dirty[k];
		struct cell *cell;
		uint32_t newest = 0;

		if (!err)
			err = cell_own(store, addr, 0, &cell);
		if (err) {
			store->dirty[kept++] = addr;
			continue;
		}
		for (uint32_t i = 1; i < cell->count; i++) {
			const struct version *version = &cell->versions[i];

			if (version_is_cached(store, cell, i) && !version->is_forgotten &&
				version->stamp <= stamp)
				newest = i;
		}
		if (newest > 0)
			cell_set_durable(cell, newest, chunk_ref(cell->versions[newest].chunk));
		if (version_is_cached(store, cell, cell->count - 1))
			store->dirty[kept++] = addr;
		else
			cell->listed_period = 0;
	}
	store->dirty_count = kept;
	return err;
}

int
sim_store__forget(struct sim_store *store)
{
	for (size_t k = 0; k < store->dirty_count; k++) {
		struct cell *cell;
		int err = cell_own(store, store->dirty[k], 0, &cell);

		if (err)
			return err;
		for (uint32_t i = 1; i < cell->count; i++) {
			if (version_is_cached(store, cell, i))
				cell->versions[i].is_forgotten = true;
		}
	}
	return 0;
}

void
sim_store__barrier(struct sim_store *store)
{
	store->epoch++;
	store->epoch_stamp = store->stamp;
}

void
sim_store__end_period(struct sim_store *store)
{
	if (store->epoch > 0) {
		if (store->order_count == SIM_ORDERS_MAX) {
			store->order_count--;
			memmove(store->orders, store->orders + 1,
				store->order_count * sizeof store->orders[0]);
		}
		store->orders[store->order_count++] = (struct sim_order){
			.period = store->period,
			.ceiling = UINT64_MAX,
		};
	}
	store->epoch = 0;
	store->period++;
	store->dirty_count = 0;
}

int
sim_store__flip(struct sim_store *store, uint64_t addr, uint32_t bit)
{
	struct cell *cell;
	int err;

	assert(bit < 8 * BLOCK_BYTES);
	err = cell_own(store, addr, 0, &cell);
	if (err)
		return err;
	for (uint32_t i = 0; i < cell->count; i++) {
		struct version *version = &cell->versions[i];
		struct chunk *chunk = chunk_create(chunk_data(version->chunk));

		if (!chunk)
			return fail(COP_ENOMEM, "simulated medium");
		chunk->data[bit / 8] ^= (uint8_t)(1U << bit % 8);
		chunk_unref(version->chunk);
		version->chunk = chunk;
	}
	return 0;
}

int
sim_store__make_stale(struct sim_store *store, uint64_t addr)
{
	struct cell *cell = cell_find(store, addr);
	int err;

	if (!cell || !cell->has_previous)
		return fail(COP_ENOENT, "block %" PRIu64 " was never overwritten", addr);
	err = cell_own(store, addr, 0, &cell);
	if (err)
		return err;
	cell_set_durable(cell, cell->count - 1, chunk_ref(cell->previous));
	return 0;
}
