/*
 * There is always room in the journal for recovery: for an opening batch, for another one when the
 * first lies before a tail and cannot be replaced, and for a mark. However full the journal is,
 * and however often a crash follows an opening, the next opening succeeds, keeps what was synced,
 * overwrites nothing that is retained, and goes on.
 */

#include "base/random.h"
#include "volume/journal_scan.h"
#include "volume/volume_internal.h"
#include "world.h"

#include <stdarg.h>
#include <stddef.h>

#include <setjmp.h>

#include <cmocka.h>

enum {
	VOLUME_BYTES = 8 << 20,
	JOURNAL_BLOCKS = 64, /* the least */
	NUMBERS = 20,
	FILLS = 3 * JOURNAL_BLOCKS,
	OPENINGS = 12,
	LOOPS = 300,
};

struct model {
	int fill[NUMBERS]; /* COP_ENOENT: not there */
	uint32_t puts;
};

static void
model_init(struct model *model)
{
	*model = (struct model){ 0 };
	for (int i = 0; i < NUMBERS; i++)
		model->fill[i] = COP_ENOENT;
}

static void
put_and_sync(struct world *world, struct model *model)
{
	uint32_t number = model->puts % NUMBERS;
	uint8_t fill = (uint8_t)(1 + model->puts % 251);

	assert_int_equal(world_put(world, number, fill, 400), 0);
	assert_int_equal(volume_sync(world->volume), 0);
	model->fill[number] = fill;
	model->puts++;
}

static void
compare(struct world *world, const struct model *model)
{
	for (uint32_t i = 0; i < NUMBERS; i++)
		assert_int_equal(world_get(world, i), model->fill[i]);
}

/* The chain goes from the predecessor's tail through the newest tail to its end: nothing of it has
 * been overwritten. */
static void
expect_whole_chain(struct world *world)
{
	struct superblock newest;
	struct superblock previous;
	struct journal_region region;
	struct journal_place from;
	struct journal_place before;
	struct journal_chain chain;
	struct geometry geometry;

	assert_int_equal(volume_find_superblock(world->dev, &newest, &previous), 0);
	assert_int_equal(
		geometry_init(&geometry, newest.blocks, newest.ag_blocks, newest.journal_blocks),
		0);
	region = journal_region_of(&newest, &geometry);
	assert_int_equal(region.blocks, JOURNAL_BLOCKS);
	from = journal_tail_of(&newest);
	before = journal_tail_of(&previous);
	assert_int_equal(journal_scan(world->dev, &region, &from, &before, &chain), 0);
	assert_false(chain.is_damaged);
	assert_true(chain.has_previous);
	journal_chain_free(&chain);
}

static void
lose_power(struct world *world, struct rng *rng)
{
	sim_power_off(world->medium);
	world_close(world);
	sim_power_on(world->medium, sim_choose_random, rng);
}

static void
begin(struct world *world, struct model *model)
{
	*world = (struct world){ .journal_blocks = JOURNAL_BLOCKS };
	model_init(model);
	world_format(world, VOLUME_BYTES, 0);
	put_and_sync(world, model);
}

/* Opens with the power failing after so many calls; or it comes through, and the power goes then.
 */
static void
crash_while_opening(struct world *world, struct rng *rng)
{
	int err;

	sim_cut_after(world->medium, rng_below(rng, 5));
	err = world_try_open(world);
	if (err == 0) {
		lose_power(world, rng);
	} else {
		assert_int_equal(err, COP_EIO);
		if (sim_is_on(world->medium))
			sim_power_off(world->medium);
		sim_power_on(world->medium, sim_choose_random, rng);
	}
}

static void
opens_again_and_again_however_full_the_journal_is(void **state)
{
	struct model model;
	struct world world;
	struct rng rng;

	(void)state;
	rng_seed(&rng, 1);
	begin(&world, &model);
	for (int fill = 0; fill < FILLS; fill++) {
		struct model copy = model;
		struct world other = { .openings = world.openings };

		assert_int_equal(sim_clone(world.medium, &other.medium), 0);
		sim_power_off(other.medium);
		sim_power_on(other.medium, sim_choose_random, &rng);
		for (int i = 0; i < OPENINGS; i++)
			crash_while_opening(&other, &rng);
		world_open(&other);
		expect_whole_chain(&other);
		compare(&other, &copy);
		for (int i = 0; i < JOURNAL_BLOCKS; i++)
			put_and_sync(&other, &copy);
		world_reopen(&other);
		compare(&other, &copy);
		world_end(&other);
		put_and_sync(&world, &model);
	}
	world_end(&world);
}

/* Could a transaction of put_and_sync() go on, without a checkpoint? */
static bool
has_room(struct world *world)
{
	enum { BYTES = 800 }; /* more than it has */
	struct journal *journal = world->volume->journal;
	bool has = journal_admit(journal, BYTES);

	if (has)
		journal_unadmit(journal, BYTES);
	return has;
}

static void
fill_period(struct world *world, struct model *model)
{
	while (has_room(world))
		put_and_sync(world, model);
}

struct late {
	struct world *world;
	struct model *model;
	bool is_done;
};

/* While a checkpoint writes its first block, the period that it has opened fills as well; then the
 * power goes. */
static void
fill_third_period(void *context, struct sim_medium *medium, uint64_t call)
{
	struct late *late = context;

	(void)call;
	if (late->is_done)
		return;
	late->is_done = true;
	fill_period(late->world, late->model);
	sim_power_off(medium);
}

static void
opens_again_and_again_when_three_periods_are_full(void **state)
{
	struct model model;
	struct world world;
	struct late late = { .world = &world, .model = &model };
	struct rng rng;

	(void)state;
	rng_seed(&rng, 5);
	begin(&world, &model);
	fill_period(&world, &model);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	fill_period(&world, &model);
	sim_set_hook(world.medium, fill_third_period, &late);
	assert_int_equal(volume_checkpoint(world.volume), COP_EIO);
	assert_true(late.is_done);
	sim_set_hook(world.medium, NULL, NULL);
	lose_power(&world, &rng);
	for (int i = 0; i < OPENINGS; i++)
		crash_while_opening(&world, &rng);
	world_open(&world);
	expect_whole_chain(&world);
	compare(&world, &model);
	for (int i = 0; i < JOURNAL_BLOCKS; i++)
		put_and_sync(&world, &model);
	world_reopen(&world);
	compare(&world, &model);
	world_end(&world);
}

/* Each round leaves an opening batch that the next cannot replace. */
static void
opens_after_every_change_that_a_crash_follows(void **state)
{
	struct model model;
	struct world world;
	struct rng rng;

	(void)state;
	rng_seed(&rng, 2);
	begin(&world, &model);
	for (int i = 0; i < LOOPS; i++) {
		lose_power(&world, &rng);
		world_open(&world);
		compare(&world, &model);
		put_and_sync(&world, &model);
		expect_whole_chain(&world);
	}
	world_end(&world);
}

/* A mark, torn or whole, is durable past the opening batch, which then may not be replaced. */
static void
opens_after_every_mark_that_a_crash_follows(void **state)
{
	struct model model;
	struct world world;
	struct rng rng;

	(void)state;
	rng_seed(&rng, 3);
	begin(&world, &model);
	for (int i = 0; i < LOOPS; i++) {
		lose_power(&world, &rng);
		world_open(&world);
		if (rng_below(&rng, 2) == 0)
			put_and_sync(&world, &model);
		assert_int_equal(volume_tick(world.volume), 0);
		sim_cut_after(world.medium, rng_below(&rng, 2));
		/* Nothing has happened since: the mark, whether it comes through or not. */
		if (volume_tick(world.volume) != 0)
			err_clear();
	}
	world_end(&world);
}

/* A checkpoint puts a tail behind the opening batch, so that the next one needs a place of its own.
 */
static void
opens_after_every_checkpoint_that_a_crash_follows(void **state)
{
	struct model model;
	struct world world;
	struct rng rng;

	(void)state;
	rng_seed(&rng, 4);
	begin(&world, &model);
	for (int i = 0; i < LOOPS; i++) {
		lose_power(&world, &rng);
		world_open(&world);
		compare(&world, &model);
		expect_whole_chain(&world);
		sim_cut_after(world.medium, rng_below(&rng, 20));
		if (volume_checkpoint(world.volume) != 0)
			err_clear(); /* whether it comes through is no matter */
	}
	world_end(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_again_and_again_however_full_the_journal_is),
		cmocka_unit_test(opens_again_and_again_when_three_periods_are_full),
		cmocka_unit_test(opens_after_every_change_that_a_crash_follows),
		cmocka_unit_test(opens_after_every_mark_that_a_crash_follows),
		cmocka_unit_test(opens_after_every_checkpoint_that_a_crash_follows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
