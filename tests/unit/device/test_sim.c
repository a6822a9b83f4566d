#include "device/sim.h"

#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BLOCKS = 64 };

/* A medium, a handle that writes, and one block to work with. */
struct world {
	struct sim_medium *medium;
	struct device *dev;
	uint8_t *block;
};

static int
set_up(void **state)
{
	struct world *world = calloc(1, sizeof *world);

	assert_non_null(world);
	world->block = block_buffer_alloc(1);
	assert_non_null(world->block);
	assert_int_equal(sim_create(BLOCKS * BLOCK_BYTES, 7, &world->medium), 0);
	assert_int_equal(sim_open(world->medium, 0, &world->dev), 0);
	*state = world;
	return 0;
}

static int
tear_down(void **state)
{
	struct world *world = *state;

	device_close(world->dev);
	sim_free(world->medium);
	free(world->block);
	free(world);
	return 0;
}

static int
put(struct world *world, uint64_t addr, int byte)
{
	memset(world->block, byte, BLOCK_BYTES);
	return device_write(world->dev, addr, world->block, 1);
}

/* The byte that fills the block, or -1 when it is torn. */
static int
get(struct world *world, uint64_t addr)
{
	assert_int_equal(device_read(world->dev, addr, world->block, 1), 0);
	for (int i = 1; i < BLOCK_BYTES; i++) {
		if (world->block[i] != world->block[0])
			return -1;
	}
	return world->block[0];
}

/* Power off and on, and a new handle. */
static void
cycle(struct world *world, sim_choose choose, void *context)
{
	sim_power_off(world->medium);
	device_close(world->dev);
	sim_power_on(world->medium, choose, context);
	assert_int_equal(sim_open(world->medium, 0, &world->dev), 0);
}

static void
keeps_what_was_flushed_and_may_lose_the_rest(void **state)
{
	struct world *world = *state;

	assert_int_equal(put(world, 3, 1), 0);
	assert_int_equal(device_flush(world->dev), 0);
	assert_int_equal(put(world, 3, 2), 0);
	assert_int_equal(put(world, 4, 2), 0);
	assert_int_equal(get(world, 3), 2);

	cycle(world, sim_choose_oldest, NULL);
	assert_int_equal(get(world, 3), 1);
	assert_int_equal(get(world, 4), 0);
}

static void
may_keep_what_was_not_flushed(void **state)
{
	struct world *world = *state;

	assert_int_equal(put(world, 3, 1), 0);
	cycle(world, sim_choose_newest, NULL);
	assert_int_equal(get(world, 3), 1);
	cycle(world, sim_choose_oldest, NULL);
	assert_int_equal(get(world, 3), 1); /* what was read is decided */
}

static void
makes_a_forced_write_durable_by_itself(void **state)
{
	struct world *world = *state;
	struct device_io io;
	struct device_io *const ios[] = { &io };

	assert_int_equal(put(world, 4, 1), 0);
	memset(world->block, 2, BLOCK_BYTES);
	device_io_init(&io, DEVICE_WRITE, 5, 1, world->block);
	io.flags = DEVICE_FUA;
	device_submit(world->dev, ios, 1);
	device_wait(world->dev, &io);
	assert_int_equal(io.result, 0);

	cycle(world, sim_choose_oldest, NULL);
	assert_int_equal(get(world, 4), 0);
	assert_int_equal(get(world, 5), 2);
}

static void
does_not_flush_a_write_of_the_same_batch(void **state)
{
	struct world *world = *state;
	struct device_io write;
	struct device_io flush;
	struct device_io *const ios[] = { &write, &flush };

	memset(world->block, 9, BLOCK_BYTES);
	device_io_init(&write, DEVICE_WRITE, 5, 1, world->block);
	device_io_init(&flush, DEVICE_FLUSH, 0, 0, NULL);
	device_submit(world->dev, ios, 2);
	device_wait(world->dev, &write);
	device_wait(world->dev, &flush);
	cycle(world, sim_choose_oldest, NULL);
	assert_int_equal(get(world, 5), 0);
}

static void
keeps_the_cache_when_a_process_is_killed(void **state)
{
	struct world *world = *state;

	assert_int_equal(put(world, 3, 1), 0);
	device_close(world->dev);
	assert_int_equal(sim_open(world->medium, 0, &world->dev), 0);
	assert_int_equal(get(world, 3), 1);
	cycle(world, sim_choose_oldest, NULL);
	assert_int_equal(get(world, 3), 0);
}

static void
cuts_the_power_in_the_call_it_was_told(void **state)
{
	struct world *world = *state;

	sim_cut_after(world->medium, 2);
	assert_int_equal(put(world, 1, 1), 0);
	assert_int_equal(device_flush(world->dev), 0);
	assert_int_equal(put(world, 2, 1), COP_EIO);
	assert_false(sim_is_on(world->medium));
	assert_int_equal(device_read(world->dev, 1, world->block, 1), COP_EIO);
	assert_int_equal(device_flush(world->dev), COP_EIO);

	/* The old handle stays dead, and holds no lock any more. */
	sim_power_on(world->medium, sim_choose_newest, NULL);
	assert_int_equal(device_read(world->dev, 1, world->block, 1), COP_EIO);
	device_close(world->dev);
	assert_int_equal(sim_open(world->medium, 0, &world->dev), 0);
	assert_int_equal(get(world, 1), 1);
	assert_int_equal(get(world, 2), 1); /* in flight, and it got there */
}

/* Takes what it is told, one decision after the other, and records what it was asked. */
struct script {
	uint32_t picks[16];
	uint32_t alternatives[16];
	uint64_t sectors[16];
	uint32_t asked;
};

static uint32_t
choose_by_script(void *context, uint32_t alternatives, uint64_t sector)
{
	struct script *script = context;
	uint32_t k = script->asked++;

	assert_true(k < 16);
	script->alternatives[k] = alternatives;
	script->sectors[k] = sector;
	return script->picks[k];
}

static void
tears_between_sectors_as_the_chooser_says(void **state)
{
	struct world *world = *state;
	struct script script = { .picks = { 0, 1, 2, 0, 0, 0, 0, 2 } };

	assert_int_equal(put(world, 3, 1), 0);
	assert_int_equal(put(world, 3, 2), 0);
	cycle(world, choose_by_script, &script);
	assert_int_equal(script.asked, 0); /* lazily */
	assert_int_equal(get(world, 3), -1);
	assert_int_equal(script.asked, 8);
	for (uint32_t i = 0; i < 8; i++) {
		assert_int_equal(script.alternatives[i], 3);
		assert_int_equal(script.sectors[i], 3 * 8 + i);
		assert_int_equal(world->block[i * 512], script.picks[i]);
		assert_int_equal(world->block[i * 512 + 511], script.picks[i]);
	}

	/* Decided is decided. */
	assert_int_equal(get(world, 3), -1);
	assert_int_equal(script.asked, 8);
	assert_int_equal(sim_stats(world->medium).choices, 8);
}

static void
does_not_ask_where_versions_agree(void **state)
{
	struct world *world = *state;
	struct script script = { .picks = { 1 } };

	assert_int_equal(put(world, 3, 1), 0);
	assert_int_equal(device_flush(world->dev), 0);
	memset(world->block, 1, BLOCK_BYTES);
	world->block[600] = 2; /* sector 1 */
	assert_int_equal(device_write(world->dev, 3, world->block, 1), 0);
	cycle(world, choose_by_script, &script);
	assert_int_equal(get(world, 3), -1);
	assert_int_equal(script.asked, 1);
	assert_int_equal(script.sectors[0], 3 * 8 + 1);
	assert_int_equal(world->block[600], 2);
}

static void
leaves_unread_blocks_undecided_over_a_second_cut(void **state)
{
	struct world *world = *state;
	struct script script = { .picks = { 2, 2, 2, 2, 2, 2, 2, 2 } };

	assert_int_equal(put(world, 3, 1), 0);
	cycle(world, sim_choose_oldest, NULL);
	assert_int_equal(put(world, 3, 2), 0); /* over 0 or 1, nobody looked */
	assert_int_equal(get(world, 3), 2);
	cycle(world, choose_by_script, &script);
	assert_int_equal(get(world, 3), 2);
	assert_int_equal(script.alternatives[0], 3);
}

static void
clones_share_nothing_that_changes(void **state)
{
	struct world *world = *state;
	struct sim_medium *clone;
	struct device *dev;

	assert_int_equal(put(world, 3, 1), 0);
	assert_int_equal(sim_clone(world->medium, &clone), 0);
	assert_int_equal(put(world, 3, 2), 0);
	assert_int_equal(put(world, 9, 2), 0);

	assert_int_equal(sim_open(clone, 0, &dev), 0);
	assert_int_equal(device_read(dev, 3, world->block, 1), 0);
	assert_int_equal(world->block[0], 1);
	assert_int_equal(device_read(dev, 9, world->block, 1), 0);
	assert_int_equal(world->block[0], 0);
	memset(world->block, 5, BLOCK_BYTES);
	assert_int_equal(device_write(dev, 3, world->block, 1), 0);
	device_close(dev);

	/* The clone's cache is a copy of its own. */
	sim_power_off(clone);
	sim_power_on(clone, sim_choose_oldest, NULL);
	assert_int_equal(sim_peek(clone, 3, world->block), 0);
	assert_int_equal(world->block[0], 0);
	sim_free(clone);
	assert_int_equal(get(world, 3), 2);
}

static void
clone_in_hook(void *context, struct sim_medium *medium, uint64_t call)
{
	struct sim_medium **clones = context;

	assert_true(call <= 3);
	assert_int_equal(sim_clone(medium, &clones[call - 1]), 0);
}

static void
shows_every_state_before_a_call_to_the_hook(void **state)
{
	struct world *world = *state;
	struct sim_medium *clones[3] = { NULL };

	sim_set_hook(world->medium, clone_in_hook, clones);
	assert_int_equal(put(world, 1, 1), 0);
	assert_int_equal(device_flush(world->dev), 0);
	assert_int_equal(put(world, 1, 2), 0);
	sim_set_hook(world->medium, NULL, NULL);
	for (int i = 0; i < 3; i++) {
		sim_power_off(clones[i]);
		sim_power_on(clones[i], sim_choose_oldest, NULL);
		assert_int_equal(sim_peek(clones[i], 1, world->block), 0);
		assert_int_equal(world->block[0], i == 2);
		sim_free(clones[i]);
	}
}

static void
fails_the_call_it_was_told(void **state)
{
	struct world *world = *state;
	const struct sim_fault second = { .kind = SIM_FAIL_WRITE, .call = 2, .code = COP_ENOSPC };
	const struct sim_fault from_third = {
		.kind = SIM_FAIL_READ, .call = 3, .persistent = true
	};

	assert_int_equal(sim_add_fault(world->medium, &second), 0);
	assert_int_equal(sim_add_fault(world->medium, &from_third), 0);
	assert_int_equal(put(world, 1, 1), 0);
	assert_int_equal(put(world, 1, 2), COP_ENOSPC);
	assert_int_equal(get(world, 1), 1);
	assert_int_equal(put(world, 1, 3), 0);
	assert_int_equal(get(world, 1), 3);
	assert_int_equal(device_read(world->dev, 1, world->block, 1), COP_EIO);
	assert_int_equal(device_read(world->dev, 2, world->block, 1), COP_EIO);
	assert_int_equal(device_read(world->dev, UINT64_MAX, world->block, 1), COP_EINVAL);
	assert_int_equal(device_stats(world->dev).failed_reads, 2);
	assert_int_equal(device_stats(world->dev).failed_writes, 1);
	assert_int_equal(sim_faults_struck(world->medium), 3);
	assert_int_equal(sim_last_struck(world->medium).addr, 2);
	assert_int_equal(sim_last_struck(world->medium).blocks, 1);
	sim_clear_faults(world->medium);
	assert_int_equal(sim_last_struck(world->medium).blocks, 0);
	assert_int_equal(get(world, 1), 3);
}

static void
fails_only_at_the_blocks_it_was_told(void **state)
{
	struct world *world = *state;
	const struct sim_fault fault = { .kind = SIM_FAIL_READ, .addr = 10, .blocks = 2 };

	assert_int_equal(sim_add_fault(world->medium, &fault), 0);
	assert_int_equal(get(world, 9), 0);
	assert_int_equal(device_read(world->dev, 10, world->block, 1), COP_EIO);
	assert_int_equal(device_read(world->dev, 11, world->block, 1), COP_EIO);
	assert_int_equal(get(world, 12), 0);
}

static void
forgets_what_a_failed_flush_should_have_saved(void **state)
{
	struct world *world = *state;
	const struct sim_fault fault = { .kind = SIM_FAIL_FLUSH, .call = 1 };

	assert_int_equal(sim_add_fault(world->medium, &fault), 0);
	assert_int_equal(put(world, 1, 1), 0);
	assert_int_equal(device_flush(world->dev), COP_EIO);
	assert_int_equal(put(world, 2, 2), 0);
	assert_int_equal(device_flush(world->dev), 0);
	assert_int_equal(get(world, 1), 1); /* the cache still shows it */
	cycle(world, sim_choose_oldest, NULL);
	assert_int_equal(get(world, 1), 0);
	assert_int_equal(get(world, 2), 2);
}

static void
loses_and_misdirects_writes_in_silence(void **state)
{
	struct world *world = *state;
	const struct sim_fault lose = { .kind = SIM_LOSE_WRITE, .call = 1, .addr = 1, .blocks = 1 };
	const struct sim_fault misdirect = {
		.kind = SIM_MISDIRECT_WRITE, .call = 1, .addr = 2, .blocks = 1, .to_addr = 20
	};

	assert_int_equal(sim_add_fault(world->medium, &lose), 0);
	assert_int_equal(sim_add_fault(world->medium, &misdirect), 0);
	assert_int_equal(put(world, 1, 1), 0);
	assert_int_equal(put(world, 2, 2), 0);
	assert_int_equal(get(world, 1), 0);
	assert_int_equal(get(world, 2), 0);
	assert_int_equal(get(world, 20), 2);
	assert_int_equal(put(world, 1, 3), 0);
	assert_int_equal(get(world, 1), 3);
}

static void
flips_a_bit_and_brings_back_stale_blocks(void **state)
{
	struct world *world = *state;

	assert_int_equal(sim_make_stale(world->medium, 1), COP_ENOENT);
	assert_int_equal(put(world, 1, 1), 0);
	assert_int_equal(device_flush(world->dev), 0);
	assert_int_equal(put(world, 1, 2), 0);
	assert_int_equal(device_flush(world->dev), 0);
	assert_int_equal(sim_flip_bit(world->medium, 1, 8 * 100 + 3), 0);
	assert_int_equal(get(world, 1), -1);
	assert_int_equal(world->block[100], 2 ^ 8);
	assert_int_equal(sim_make_stale(world->medium, 1), 0);
	assert_int_equal(get(world, 1), 1);
}

static void
holds_a_write_back_from_a_flush(void **state)
{
	struct world *world = *state;
	const struct sim_fault hold = { .kind = SIM_HOLD_WRITE, .call = 1 };
	uint8_t *late = block_buffer_alloc(1);
	struct device_io io;
	struct device_io *const ios[] = { &io };
	struct sim_medium *clone;

	assert_non_null(late);
	memset(late, 7, BLOCK_BYTES);
	assert_int_equal(sim_add_fault(world->medium, &hold), 0);
	device_io_init(&io, DEVICE_WRITE, 1, 1, late);
	device_submit(world->dev, ios, 1);
	assert_false(atomic_load(&io.is_done));
	assert_int_equal(device_flush(world->dev), 0);
	assert_int_equal(get(world, 1), 0);

	/* It is in flight: a power cut may find it written or not. */
	assert_int_equal(sim_clone(world->medium, &clone), 0);
	sim_power_off(clone);
	sim_power_on(clone, sim_choose_newest, NULL);
	assert_int_equal(sim_peek(clone, 1, world->block), 0);
	assert_int_equal(world->block[0], 7);
	sim_free(clone);

	device_wait(world->dev, &io);
	assert_int_equal(io.result, 0);
	assert_int_equal(get(world, 1), 7);
	free(late);
}

static void
releases_held_writes_to_whoever_waits(void **state)
{
	struct world *world = *state;
	const struct sim_fault hold = { .kind = SIM_HOLD_WRITE };
	uint8_t *late = block_buffer_alloc(2);
	struct device_io ios[2];
	struct device_io *const batch[] = { &ios[0], &ios[1] };

	assert_non_null(late);
	memset(late, 7, 2 * BLOCK_BYTES);
	assert_int_equal(sim_add_fault(world->medium, &hold), 0);
	for (uint64_t i = 0; i < 2; i++)
		device_io_init(&ios[i], DEVICE_WRITE, i, 1, late + i * BLOCK_BYTES);
	device_submit(world->dev, batch, 2);
	device_wait(world->dev, &ios[0]);
	assert_true(atomic_load(&ios[0].is_done));
	assert_false(atomic_load(&ios[1].is_done)); /* nobody waits for it */

	sim_clear_faults(world->medium);
	sim_release(world->medium);
	assert_false(atomic_load(&ios[1].is_done));
	device_close(TAKE(world->dev));
	assert_true(atomic_load(&ios[1].is_done));
	assert_int_equal(ios[1].result, 0);
	assert_int_equal(sim_open(world->medium, 0, &world->dev), 0);
	assert_int_equal(get(world, 1), 7);
	free(late);
}

static void
lets_a_clone_decide_for_itself(void **state)
{
	struct world *world = *state;
	unsigned seen = 0;
	struct rng rng;

	rng_seed(&rng, 3);
	assert_int_equal(put(world, 1, 1), 0);
	cycle(world, sim_choose_oldest, NULL);
	for (int i = 0; i < 64; i++) {
		struct sim_medium *clone;

		assert_int_equal(sim_clone(world->medium, &clone), 0);
		sim_set_choose(clone, sim_choose_random, &rng);
		assert_int_equal(sim_peek(clone, 1, world->block), 0);
		assert_true(world->block[0] <= 1);
		seen |= 1U << world->block[0];
		sim_free(clone);
	}
	assert_int_equal(seen, 3);
	assert_int_equal(get(world, 1), 0);
}

static void
count_done(struct device_io *io)
{
	int **next = io->context;

	*(*next)++ = (int)io->addr;
}

/* The order in which 16 reads complete. */
static void
completion_order(uint64_t seed, int order[16])
{
	struct sim_medium *medium;
	struct device *dev;
	struct device_io ios[16];
	struct device_io *batch[16];
	uint8_t *blocks = block_buffer_alloc(16);
	int *next = order;

	assert_non_null(blocks);
	assert_int_equal(sim_create(BLOCKS * BLOCK_BYTES, seed, &medium), 0);
	assert_int_equal(sim_open(medium, 0, &dev), 0);
	sim_reorder(medium, true);
	for (int i = 0; i < 16; i++) {
		device_io_init(&ios[i], DEVICE_READ, (uint64_t)i, 1, blocks + i * BLOCK_BYTES);
		ios[i].done = count_done;
		ios[i].context = &next;
		batch[i] = &ios[i];
	}
	device_submit(dev, batch, 16);
	assert_ptr_equal(next, order); /* nobody has waited yet */
	for (int i = 0; i < 16; i++)
		device_wait(dev, &ios[i]);
	assert_ptr_equal(next, order + 16);
	assert_int_equal(device_stats(dev).in_flight_max, 16);
	device_close(dev);
	sim_free(medium);
	free(blocks);
}

static void
reorders_completions_by_its_seed(void **state)
{
	int first[16];
	int same[16];
	int other[16];

	(void)state;
	completion_order(1, first);
	completion_order(1, same);
	completion_order(2, other);
	assert_memory_equal(first, same, sizeof first);
	assert_memory_not_equal(first, other, sizeof first);
}

static void
orders_writes_by_a_barrier(void **state)
{
	struct world *world = *state;
	struct script script = { .picks = { 1, 1, 1, 1, 1, 1, 1, 1 } };

	assert_int_equal(put(world, 1, 1), 0);
	assert_int_equal(device_barrier(world->dev), 0);
	assert_int_equal(sim_stats(world->medium).flushes, 1); /* unless told otherwise */

	sim_order_barriers(world->medium, true);
	assert_int_equal(put(world, 2, 2), 0);
	assert_int_equal(device_barrier(world->dev), 0);
	assert_int_equal(sim_stats(world->medium).flushes, 1);
	assert_int_equal(put(world, 3, 3), 0);
	cycle(world, choose_by_script, &script);
	assert_int_equal(get(world, 3), 3); /* chosen to be there... */
	assert_int_equal(script.asked, 8);
	assert_int_equal(get(world, 2), 2); /* ...and so this is no question any more */
	assert_int_equal(script.asked, 8);
}

static void
forces_what_lies_before_the_barrier(void **state)
{
	struct world *world = *state;
	struct device_io io;
	struct device_io *const ios[] = { &io };

	sim_order_barriers(world->medium, true);
	assert_int_equal(put(world, 1, 1), 0);
	assert_int_equal(device_barrier(world->dev), 0);
	assert_int_equal(put(world, 2, 2), 0);
	memset(world->block, 3, BLOCK_BYTES);
	device_io_init(&io, DEVICE_WRITE, 3, 1, world->block);
	io.flags = DEVICE_FUA;
	device_submit(world->dev, ios, 1);
	device_wait(world->dev, &io);
	assert_int_equal(io.result, 0);
	cycle(world, sim_choose_oldest, NULL);
	assert_int_equal(get(world, 1), 1);
	assert_int_equal(get(world, 2), 0);
	assert_int_equal(get(world, 3), 3);
}

static void
hashes_what_was_read_since_power_came_on(void **state)
{
	struct world *world = *state;
	uint64_t hash;

	assert_int_equal(put(world, 1, 1), 0);
	assert_int_equal(device_flush(world->dev), 0);
	cycle(world, sim_choose_oldest, NULL);
	(void)get(world, 1);
	hash = sim_read_hash(world->medium);
	cycle(world, sim_choose_oldest, NULL);
	assert_int_equal(sim_read_hash(world->medium), 0);
	(void)get(world, 1);
	assert_int_equal(sim_read_hash(world->medium), hash);
	(void)get(world, 2);
	assert_true(sim_read_hash(world->medium) != hash);
}

/* It follows from what was read before; and a write from before the power cut does not. */
static void
leaves_what_the_reader_wrote_out_of_the_hash(void **state)
{
	struct world *world = *state;
	uint64_t hash;

	(void)get(world, 1);
	hash = sim_read_hash(world->medium);
	assert_int_equal(put(world, 2, 9), 0);
	assert_int_equal(get(world, 2), 9);
	assert_int_equal(device_flush(world->dev), 0);
	assert_int_equal(get(world, 2), 9);
	assert_int_equal(sim_read_hash(world->medium), hash);
	cycle(world, sim_choose_oldest, NULL);
	assert_int_equal(get(world, 2), 9);
	assert_true(sim_read_hash(world->medium) != 0);
}

struct looks {
	struct sim_look last;
	int byte;
	uint32_t count;
};

static void
take_look(void *context, const struct sim_look *look)
{
	struct looks *looks = context;

	looks->last = *look;
	looks->byte = look->err ? -1 : look->bytes[0];
	looks->count++;
}

static void
tells_a_listener_what_is_read(void **state)
{
	struct world *world = *state;
	const struct sim_fault fault = { .kind = SIM_FAIL_READ, .call = 1 };
	uint8_t *three = block_buffer_alloc(3);
	struct looks looks = { .count = 0 };

	assert_non_null(three);
	assert_int_equal(put(world, 5, 5), 0);
	cycle(world, sim_choose_newest, NULL);
	sim_set_listener(world->medium, take_look, &looks);
	assert_int_equal(device_read(world->dev, 3, three, 3), 0);
	assert_int_equal(looks.count, 3);
	assert_int_equal(looks.last.addr, 5);
	assert_int_equal(looks.last.blocks, 1);
	assert_int_equal(looks.byte, 5);
	assert_int_equal(sim_add_fault(world->medium, &fault), 0);
	assert_int_equal(device_read(world->dev, 3, three, 1), COP_EIO);
	assert_int_equal(looks.last.err, COP_EIO);
	sim_set_listener(world->medium, NULL, NULL);
	(void)get(world, 5);
	assert_int_equal(looks.count, 4);
	free(three);
}

static void
looks_at_a_block_as_a_read_does(void **state)
{
	struct world *world = *state;
	struct sim_medium *twin = NULL;
	struct sim_look look;

	assert_int_equal(put(world, 1, 1), 0);
	sim_power_off(world->medium);
	assert_int_equal(sim_clone(world->medium, &twin), 0);
	cycle(world, sim_choose_newest, NULL);
	sim_power_on(twin, sim_choose_newest, NULL);
	assert_int_equal(get(world, 1), 1);
	assert_int_equal(sim_look(twin, 1, &look), 0);
	assert_int_equal(look.bytes[0], 1);
	assert_false(look.is_torn);
	assert_int_equal(sim_read_hash(twin), sim_read_hash(world->medium));
	assert_int_equal(sim_stats(twin).choices, sim_stats(world->medium).choices);
	sim_set_read_hash(twin, 77);
	assert_int_equal(sim_read_hash(twin), 77);
	sim_free(twin);
}

static void
lets_one_handle_write(void **state)
{
	struct world *world = *state;
	struct device *second;

	assert_int_equal(sim_open(world->medium, 0, &second), COP_EBUSY);
	assert_int_equal(sim_open(world->medium, DEVICE_READ_ONLY, &second), COP_EBUSY);
	assert_int_equal(sim_open(world->medium, DEVICE_READ_ONLY | DEVICE_NO_LOCK, &second), 0);
	device_close(second);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		TEST(keeps_what_was_flushed_and_may_lose_the_rest),
		TEST(may_keep_what_was_not_flushed),
		TEST(makes_a_forced_write_durable_by_itself),
		TEST(does_not_flush_a_write_of_the_same_batch),
		TEST(keeps_the_cache_when_a_process_is_killed),
		TEST(cuts_the_power_in_the_call_it_was_told),
		TEST(tears_between_sectors_as_the_chooser_says),
		TEST(does_not_ask_where_versions_agree),
		TEST(leaves_unread_blocks_undecided_over_a_second_cut),
		TEST(clones_share_nothing_that_changes),
		TEST(shows_every_state_before_a_call_to_the_hook),
		TEST(fails_the_call_it_was_told),
		TEST(fails_only_at_the_blocks_it_was_told),
		TEST(forgets_what_a_failed_flush_should_have_saved),
		TEST(loses_and_misdirects_writes_in_silence),
		TEST(flips_a_bit_and_brings_back_stale_blocks),
		TEST(holds_a_write_back_from_a_flush),
		TEST(releases_held_writes_to_whoever_waits),
		TEST(lets_a_clone_decide_for_itself),
		TEST(reorders_completions_by_its_seed),
		TEST(orders_writes_by_a_barrier),
		TEST(forces_what_lies_before_the_barrier),
		TEST(hashes_what_was_read_since_power_came_on),
		TEST(leaves_what_the_reader_wrote_out_of_the_hash),
		TEST(tells_a_listener_what_is_read),
		TEST(looks_at_a_block_as_a_read_does),
		TEST(lets_one_handle_write),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
