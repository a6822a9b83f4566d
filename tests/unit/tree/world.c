#include "world.h"

#include <stdlib.h>

static void
enter(void *context)
{
	gate_enter_shared(((struct world *)context)->gate);
}

static void
leave(void *context)
{
	struct world *w = context;
	void (*after_leave)(struct world *) = w->after_leave;

	gate_leave_shared(w->gate);
	if (!after_leave)
		return;
	w->after_leave = NULL; /* what it does leaves the gate as well */
	after_leave(w);
	w->after_leave = after_leave;
}

static uint64_t
generation(void *context)
{
	struct world *w = context;

	gate_assert_held(w->gate);
	return w->generation;
}

static uint32_t
node_blocks(const struct world *w)
{
	return w->env.node_bytes / BLOCK_BYTES;
}

static uint64_t
addr_of(const struct world *w, uint32_t place, uint32_t copy)
{
	return (1 + place + (uint64_t)copy * WORLD_PLACES) * node_blocks(w);
}

static struct buffer *
new_node(void *context, enum tree_kind kind, uint8_t level, struct tree_pointer *out_pointer)
{
	struct world *w = context;
	struct place *place;
	uint32_t tries = 0;
	uint32_t number;
	struct buffer *buffer;

	gate_assert_exclusive(w->gate);
	assert(kind >= TREE_CATALOG);
	assert(level < TREE_LEVELS_MAX);
	for (;;) {
		number = w->next_place++ % WORLD_PLACES;
		place = &w->places[number];
		if (!place->is_used && (place->freed == 0 || place->freed + 2 <= w->generation))
			break;
		assert(++tries < WORLD_PLACES);
	}
	place->is_used = true;
	place->pointer = (struct tree_pointer){
		.addr = addr_of(w, number, 0),
		.addr2 = w->copies == 2 ? addr_of(w, number, 1) : 0,
		.birth = w->generation,
		.seal = rng_nonzero(&w->rng),
	};
	buffer = cache_insert(w->cache, place->pointer.addr, place->pointer.addr2,
		place->pointer.seal, node_blocks(w));
	w->dirty[w->dirty_count++] = buffer;
	w->new_nodes++;
	*out_pointer = place->pointer;
	return buffer;
}

static void
free_node(void *context, const struct tree_pointer *pointer)
{
	struct world *w = context;
	uint64_t number = pointer->addr / node_blocks(w) - 1;
	struct place *place = &w->places[number];

	gate_assert_exclusive(w->gate);
	assert(number < WORLD_PLACES);
	assert(place->is_used);
	assert(memcmp(&place->pointer, pointer, sizeof *pointer) == 0);
	place->is_used = false;
	place->freed = w->generation;
	for (uint32_t i = 0; i < w->dirty_count; i++) {
		if (w->dirty[i]->addr == pointer->addr) {
			assert(pointer->birth == w->generation);
			w->dirty[i] = w->dirty[--w->dirty_count];
			break;
		}
	}
	cache_drop(w->cache, pointer->addr, pointer->seal);
	w->freed_nodes++;
}

static void
repair(void *context, uint64_t bad_addr, const uint8_t *good, uint32_t blocks)
{
	struct world *w = context;

	lock_assert_none_held();
	assert(device_write(w->dev, bad_addr, good, blocks) == 0);
	w->repairs++;
}

struct world *
world_open(uint32_t node_bytes, uint32_t copies, uint64_t cache_bytes)
{
	struct world *w = calloc(1, sizeof *w);

	assert(w);
	w->env.node_bytes = node_bytes;
	w->env.device_blocks = addr_of(w, WORLD_PLACES, 1);
	assert_int_equal(sim_create(w->env.device_blocks * BLOCK_BYTES, 1, &w->medium), 0);
	assert_int_equal(sim_open(w->medium, 0, &w->dev), 0);
	assert_int_equal(cache_create(w->dev, cache_bytes, &w->cache), 0);
	assert_int_equal(gate_create(&w->gate), 0);
	rng_seed(&w->rng, 42);
	rng_bytes(&w->rng, w->env.uuid, sizeof w->env.uuid);
	w->hooks = (struct tree_hooks){
		.enter = enter,
		.leave = leave,
		.generation = generation,
		.new_node = new_node,
		.free_node = free_node,
		.repair = repair,
	};
	w->env.hooks = &w->hooks;
	w->env.context = w;
	w->env.cache = w->cache;
	w->generation = 2;
	w->copies = copies;
	return w;
}

void
world_close(struct world *w)
{
	cache_assert_sound(w->cache);
	cache_free(w->cache);
	device_close(w->dev);
	sim_free(w->medium);
	gate_free(w->gate);
	free(w);
}

struct tree
world_tree(struct world *w, enum tree_kind kind)
{
	return (struct tree){ .env = &w->env, .kind = kind };
}

/* A transaction up to where it may change `tree`; returns what it may take. */
static uint32_t
begin(struct world *w, struct tree *tree, struct view key, struct tree_pins *pins)
{
	uint32_t worst = tree_nodes_worst(tree->root.levels);

	assert_int_equal(cache_reserve(w->cache, node_blocks(w), worst), 0);
	tree_pins_init(pins, w->cache);
	assert_int_equal(tree_prepare(tree, key, pins), 0);
	gate_enter_exclusive(w->gate);
	assert_true(tree_is_prepared(tree, key, NULL));
	w->new_nodes = 0;
	return worst;
}

static void
end(struct world *w, uint32_t worst, struct tree_pins *pins)
{
	gate_leave_exclusive(w->gate);
	tree_pins_release(pins);
	assert_true(w->new_nodes <= worst);
	cache_unreserve(w->cache, node_blocks(w), worst - w->new_nodes);
}

void
world_put(struct world *w, struct tree *tree, struct view key, struct view value)
{
	struct tree_pins pins;
	struct view found;
	uint32_t worst = begin(w, tree, key, &pins);

	tree_put(tree, key, value);
	assert_true(tree_find(tree, key, &found));
	assert_true(view_equal(found, value));
	end(w, worst, &pins);
}

void
world_delete(struct world *w, struct tree *tree, struct view key)
{
	struct tree_pins pins;
	struct view found;
	uint32_t worst = begin(w, tree, key, &pins);

	tree_delete(tree, key);
	if (tree->root.levels > 0 && tree_is_prepared(tree, key, NULL))
		assert_false(tree_find(tree, key, &found));
	end(w, worst, &pins);
}

void
world_checkpoint(struct world *w)
{
	gate_enter_exclusive(w->gate);
	w->generation++;
	gate_leave_exclusive(w->gate);

	for (uint32_t i = 0; i < w->dirty_count; i++)
		tree_node_finish(w->dirty[i]);
	assert_int_equal(cache_sync_all(w->cache, w->dirty, w->dirty_count), 0);
	while (w->dirty_count > 0)
		cache_clean(w->cache, w->dirty[--w->dirty_count]);
}

void
world_forget(struct world *w)
{
	cache_shrink(w->cache);
}

uint32_t
world_used_places(const struct world *w)
{
	uint32_t used = 0;

	for (uint32_t i = 0; i < WORLD_PLACES; i++)
		used += w->places[i].is_used;
	return used;
}

static bool
count_place(void *context, const struct tree_pointer *pointer, uint8_t level, int copy, int result)
{
	struct world *w = context;
	const struct place *place = &w->places[pointer->addr / node_blocks(w) - 1];

	(void)level;
	assert_int_equal(copy, 0);
	assert_int_equal(result, 0);
	assert_true(place->is_used);
	assert_memory_equal(&place->pointer, pointer, sizeof *pointer);
	w->new_nodes++;
	return true;
}

void
world_assert_exact(struct world *w, struct tree *tree)
{
	struct tree_walk walk = { .node = count_place, .context = w };

	assert_int_equal(w->dirty_count, 0);
	w->new_nodes = 0;
	assert_int_equal(tree_walk(&w->env, tree->kind, &tree->root, &walk), 0);
	assert_int_equal(w->new_nodes, world_used_places(w));
}

void
world_read(struct world *w, uint64_t addr, uint8_t *node)
{
	assert_int_equal(device_read(w->dev, addr, node, node_blocks(w)), 0);
}

void
world_write(struct world *w, uint64_t addr, const uint8_t *node)
{
	assert_int_equal(device_write(w->dev, addr, node, node_blocks(w)), 0);
}

struct view
key_of(uint64_t number, uint8_t out[8])
{
	put_be64(out, number);
	return view_of(out, 8);
}

struct tree
world_grow(struct world *w, enum tree_kind kind, uint32_t count, uint32_t step, size_t value_bytes)
{
	struct tree tree = world_tree(w, kind);
	uint8_t value[TREE_NODE_BYTES_MAX / 4] = { 0 };
	uint8_t key[8];

	assert(value_bytes >= 8);
	for (uint32_t i = 0; i < count; i++) {
		put_be64(value, (uint64_t)i * step);
		world_put(w, &tree, key_of((uint64_t)i * step, key), view_of(value, value_bytes));
	}
	world_checkpoint(w);
	world_forget(w);
	w->env.node_reads = 0;
	return tree;
}

int
world_get(struct world *w, struct tree *tree, uint64_t number)
{
	uint8_t value[TREE_NODE_BYTES_MAX / 4];
	uint8_t key[8];
	size_t bytes;
	int err = tree_get(tree, key_of(number, key), value, sizeof value, &bytes);

	(void)w;
	if (!err)
		assert_memory_equal(value, key, 8);
	return err;
}
