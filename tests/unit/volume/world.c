#include "world.h"

#include "base/random.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

const struct tree_name world_objects = { .branch = BRANCH_MAIN, .kind = TREE_OBJECTS };

int
world_random(void *context, void *buffer, size_t bytes)
{
	const struct world *world = context;

	memset(buffer, world ? 7 + world->openings : 7, bytes);
	return 0;
}

int64_t
world_clock(void *context)
{
	const struct world *world = context;

	return 1700000000000000000 + (world ? world->later_ns : 0);
}

bool
world_no_run(enum tree_kind kind, struct view key, struct view value, struct run *out_run,
	uint64_t *out_birth)
{
	(void)kind;
	(void)key;
	(void)value;
	(void)out_run;
	(void)out_birth;
	return false;
}

/* A device in memory would forget all. */
static void
close_device(struct world *world)
{
	if (world->in_memory)
		return;
	device_close(world->dev);
	world->dev = NULL;
}

int
world_try_open(struct world *world)
{
	struct volume_options options = {
		.read_only = world->read_only,
		.accept_loss = world->accept_loss,
		.cache_bytes = world->cache_bytes == 0 ? COP_CACHE_BYTES_MIN : world->cache_bytes,
		.random = world_random,
		.clock_ns = world_clock,
		.context = world,
		.entry_run = world_no_run,
	};
	uint32_t flags = world->read_only ? DEVICE_READ_ONLY | DEVICE_NO_LOCK : 0;
	int err;

	world->openings++;
	if (!world->in_memory)
		assert_int_equal(sim_open(world->medium, flags, &world->dev), 0);
	err = volume_open(world->dev, &options, &world->volume);
	if (err) {
		world->volume = NULL;
		close_device(world);
		return err;
	}
	volume_enter(world->volume, &world->visit);
	return 0;
}

void
world_open(struct world *world)
{
	if (world_try_open(world) != 0)
		fail_msg("%s", err_text());
}

void
world_close(struct world *world)
{
	volume_leave(world->volume, &world->visit);
	volume_close(world->volume);
	world->volume = NULL;
	close_device(world);
}

void
world_reopen(struct world *world)
{
	world_close(world);
	world_open(world);
}

void
world_format(struct world *world, uint64_t bytes, uint32_t node_bytes)
{
	struct volume_format_options options = {
		.volume_blocks = bytes / BLOCK_BYTES,
		.node_bytes = node_bytes,
		.metadata_copies = world->copies,
		.journal_blocks = world->journal_blocks,
		.label = "test",
		.random = world_random,
		.clock_ns = world_clock,
	};
	const struct device_options device = { 0 };
	char url[32];

	(void)snprintf(url, sizeof url, "mem:%" PRIu64, bytes);
	if (world->in_memory) {
		assert_int_equal(device_open(url, &device, &world->dev), 0);
	} else {
		assert_int_equal(sim_create(bytes, 1, &world->medium), 0);
		assert_int_equal(sim_open(world->medium, 0, &world->dev), 0);
	}
	if (volume_format(world->dev, &options) != 0)
		fail_msg("%s", err_text());
	close_device(world);
	world_open(world);
}

void
world_end(struct world *world)
{
	world_close(world);
	sim_free(world->medium);
	if (world->in_memory)
		device_close(world->dev);
}

void
world_lose_power(struct world *world)
{
	sim_power_off(world->medium);
	world_close(world);
	sim_power_on(world->medium, sim_choose_oldest, NULL);
}

void
world_settle(struct world *world)
{
	volume_leave(world->volume, &world->visit);
	assert_int_equal(volume_settle(world->volume), 0);
	volume_enter(world->volume, &world->visit);
}

/* Object numbers far away, of a type that is not looked at here. */
struct view
world_key(uint8_t out[static OBJECT_KEY_BYTES], uint32_t number)
{
	return object_key(out, 1000 + number, KEY_XATTR);
}

int
world_put_as(struct world *world, struct volume_visit *visit, uint32_t number, uint8_t fill,
	size_t bytes)
{
	uint8_t key[OBJECT_KEY_BYTES];
	uint8_t value[WORLD_VALUE_BYTES];
	struct tx *tx;
	int err;

	assert(bytes <= sizeof value);
	memset(value, fill, sizeof value);
	err = tx_begin(world->volume, visit, false, &tx);
	if (err)
		return err;
	err = tx_put(tx, world_objects, world_key(key, number), view_of(value, bytes));
	if (err) {
		tx_abort(tx);
		return err;
	}
	return tx_commit(tx);
}

int
world_put(struct world *world, uint32_t number, uint8_t fill, size_t bytes)
{
	return world_put_as(world, &world->visit, number, fill, bytes);
}

int
world_delete(struct world *world, uint32_t number)
{
	uint8_t key[OBJECT_KEY_BYTES];
	struct tx *tx;
	int err;

	err = tx_begin(world->volume, &world->visit, true, &tx);
	if (err)
		return err;
	err = tx_delete(tx, world_objects, world_key(key, number));
	if (err) {
		tx_abort(tx);
		return err;
	}
	return tx_commit(tx);
}

int
world_get(struct world *world, uint32_t number)
{
	uint8_t key[OBJECT_KEY_BYTES];
	uint8_t value[WORLD_VALUE_BYTES];
	struct tree *tree;
	size_t bytes;
	int err;

	err = volume_tree_open(world->volume, world_objects, &tree);
	if (err)
		return err;
	err = tree_get(tree, world_key(key, number), value, sizeof value, &bytes);
	volume_tree_release(world->volume, tree);
	return err ? err : value[0];
}

struct tree_name
world_content(uint64_t object)
{
	return (struct tree_name){ .branch = BRANCH_MAIN, .object = object, .kind = TREE_CONTENT };
}

int
world_put_content(
	struct world *world, uint64_t object, uint64_t key, uint8_t fill, size_t bytes, bool is_put)
{
	uint8_t key_bytes[8];
	uint8_t value[WORLD_VALUE_BYTES];
	struct tx *tx;
	int err;

	put_be64(key_bytes, key);
	memset(value, fill, sizeof value);
	err = tx_begin(world->volume, &world->visit, !is_put, &tx);
	if (err)
		return err;
	if (is_put)
		err = tx_put(tx, world_content(object), view_of(key_bytes, sizeof key_bytes),
			view_of(value, bytes));
	else
		err = tx_delete(tx, world_content(object), view_of(key_bytes, sizeof key_bytes));
	if (err) {
		tx_abort(tx);
		return err;
	}
	return tx_commit(tx);
}

int
world_get_content(struct world *world, uint64_t object, uint64_t key)
{
	uint8_t key_bytes[8];
	uint8_t value[WORLD_VALUE_BYTES];
	struct tree *tree;
	size_t bytes;
	int err;

	put_be64(key_bytes, key);
	err = volume_tree_open(world->volume, world_content(object), &tree);
	if (err)
		return err;
	err = tree_get(tree, view_of(key_bytes, sizeof key_bytes), value, sizeof value, &bytes);
	volume_tree_release(world->volume, tree);
	return err ? err : value[0];
}

void
world_grow_content(struct world *world, uint64_t object, uint64_t count, size_t bytes)
{
	for (uint64_t key = 0; key < count; key++)
		assert_int_equal(
			world_put_content(world, object, key, (uint8_t)key, bytes, true), 0);
}

void
world_expect_content(
	struct world *world, uint64_t object, uint64_t count, uint64_t changed, uint8_t fill)
{
	for (uint64_t key = 0; key < count; key++)
		assert_int_equal(world_get_content(world, object, key),
			key == changed ? fill : (uint8_t)key);
}

int
world_clone_content(struct world *world, uint64_t from, uint64_t to)
{
	struct tx *tx;
	int err = tx_begin(world->volume, &world->visit, false, &tx);

	if (err)
		return err;
	err = tx_clone_tree(tx, world_content(to), from);
	if (err) {
		tx_abort(tx);
		return err;
	}
	return tx_commit(tx);
}
