/*
 * recall must give what a run would have found, for every run that it spares, and no other state
 * may go unexamined: a run that reads anything else is made.
 */

#include "crash/recall.h"

#include "base/random.h"
#include "volume/journal_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BLOCKS = 128, JOURNAL = 8, JOURNAL_BLOCKS = 64, PAD = 61, SWITCH = 100, LEFT, RIGHT };

static const struct journal_region region = { .addr = JOURNAL, .blocks = JOURNAL_BLOCKS };

struct fixture {
	struct sim_medium *medium;
	struct recall *recall;
	uint8_t *blocks;
};

static int
set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof *fixture);

	assert_non_null(fixture);
	assert_int_equal(sim_create(BLOCKS * BLOCK_BYTES, 1, &fixture->medium), 0);
	fixture->recall = recall_create(&region, free);
	fixture->blocks = block_buffer_alloc(JOURNAL_BLOCKS);
	assert_non_null(fixture->blocks);
	*state = fixture;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *fixture = *state;

	recall_free(fixture->recall);
	sim_free(fixture->medium);
	free(fixture->blocks);
	free(fixture);
	return 0;
}

static void
put(struct fixture *fixture, uint64_t addr, int byte)
{
	memset(fixture->blocks, byte, BLOCK_BYTES);
	assert_int_equal(sim_poke(fixture->medium, addr, fixture->blocks), 0);
}

/* Reads the switch and what it points to, adds them, and writes the sum over the switch. */
static int
run(struct fixture *fixture)
{
	struct device *dev;
	int found;

	assert_int_equal(sim_open(fixture->medium, 0, &dev), 0);
	assert_int_equal(device_read(dev, SWITCH, fixture->blocks, 1), 0);
	found = fixture->blocks[0];
	assert_int_equal(device_read(dev, found % 2 ? RIGHT : LEFT, fixture->blocks, 1), 0);
	found += fixture->blocks[0];
	memset(fixture->blocks, found, BLOCK_BYTES);
	assert_int_equal(device_write(dev, SWITCH, fixture->blocks, 1), 0);
	assert_int_equal(device_read(dev, SWITCH, fixture->blocks, 1), 0);
	assert_int_equal(fixture->blocks[0], found);
	device_close(dev);
	return found;
}

/* Reads the journal in one request, as recovery does; finds nothing. */
static int
run_journal(struct fixture *fixture)
{
	struct device *dev;

	assert_int_equal(sim_open(fixture->medium, 0, &dev), 0);
	assert_int_equal(device_read(dev, JOURNAL, fixture->blocks, JOURNAL_BLOCKS), 0);
	device_close(dev);
	return 7;
}

/* Looks at the header of the pad first, and then at all of it. */
static int
run_journal_twice(struct fixture *fixture)
{
	struct device *dev;

	assert_int_equal(sim_open(fixture->medium, 0, &dev), 0);
	assert_int_equal(device_read(dev, JOURNAL + PAD, fixture->blocks, 1), 0);
	device_close(dev);
	return run_journal(fixture);
}

/* Is it known on a clone of the medium? If not, it is now. */
static bool
is_known(struct fixture *fixture, int (*program)(struct fixture *fixture))
{
	struct sim_medium *medium = fixture->medium;
	uint64_t hash;
	bool known;
	int *found;

	assert_int_equal(sim_clone(medium, &fixture->medium), 0);
	hash = sim_read_hash(fixture->medium);
	found = recall_find(fixture->recall, fixture->medium, 1);
	known = found;
	if (known) {
		int was = *found;

		hash = sim_read_hash(fixture->medium);
		sim_free(fixture->medium);
		assert_int_equal(sim_clone(medium, &fixture->medium), 0);
		assert_int_equal(program(fixture), was);
		assert_int_equal(sim_read_hash(fixture->medium), hash);
	} else {
		assert_int_equal(sim_read_hash(fixture->medium), hash);
		recall_listen(fixture->recall, fixture->medium, 1);
		found = malloc(sizeof *found);
		assert_non_null(found);
		*found = program(fixture);
		recall_keep(fixture->recall, fixture->medium, found);
	}
	sim_free(fixture->medium);
	fixture->medium = medium;
	return known;
}

static void
knows_a_run_by_what_it_reads(void **state)
{
	struct fixture *fixture = *state;

	put(fixture, SWITCH, 2);
	put(fixture, LEFT, 5);
	put(fixture, RIGHT, 6);
	assert_false(is_known(fixture, run));
	assert_true(is_known(fixture, run));
	put(fixture, RIGHT, 9); /* nobody reads it */
	assert_true(is_known(fixture, run));
	put(fixture, LEFT, 9);
	assert_false(is_known(fixture, run));
	assert_true(is_known(fixture, run));
	put(fixture, SWITCH, 3);
	assert_false(is_known(fixture, run));
	put(fixture, LEFT, 5);
	assert_true(is_known(fixture, run));
	put(fixture, SWITCH, 2);
	assert_true(is_known(fixture, run));
}

static void
keeps_runs_of_different_salt_apart(void **state)
{
	struct fixture *fixture = *state;

	assert_false(is_known(fixture, run));
	assert_true(is_known(fixture, run));
	assert_null(recall_find(fixture->recall, fixture->medium, 2));
}

static void
keeps_no_run_that_was_dropped_or_met_an_error(void **state)
{
	struct fixture *fixture = *state;
	const struct sim_fault fault = { .kind = SIM_FAIL_READ, .call = 1 };
	struct device *dev;

	recall_listen(fixture->recall, fixture->medium, 1);
	assert_int_equal(sim_open(fixture->medium, 0, &dev), 0);
	assert_int_equal(device_read(dev, SWITCH, fixture->blocks, 1), 0);
	recall_drop(fixture->recall, fixture->medium);
	assert_null(recall_find(fixture->recall, fixture->medium, 1));

	assert_int_equal(sim_add_fault(fixture->medium, &fault), 0);
	recall_listen(fixture->recall, fixture->medium, 1);
	assert_int_equal(device_read(dev, SWITCH, fixture->blocks, 1), COP_EIO);
	recall_keep(fixture->recall, fixture->medium, malloc(1));
	assert_null(recall_find(fixture->recall, fixture->medium, 1));
	device_close(dev);
}

/* Of a block with sectors of two writes, no checksum verifies: which sectors does not matter. */
static void
takes_one_torn_block_for_another(void **state)
{
	struct fixture *fixture = *state;
	struct sim_medium *whole = fixture->medium;
	struct device *dev;
	uint32_t known = 0;
	uint32_t made = 0;
	struct rng rng;

	put(fixture, SWITCH, 2);
	assert_int_equal(sim_open(whole, 0, &dev), 0);
	memset(fixture->blocks, 3, BLOCK_BYTES);
	assert_int_equal(device_write(dev, LEFT, fixture->blocks, 1), 0);
	device_close(dev);
	for (uint64_t seed = 1; seed <= 50; seed++) {
		assert_int_equal(sim_clone(whole, &fixture->medium), 0);
		sim_power_off(fixture->medium);
		rng_seed(&rng, seed);
		sim_power_on(fixture->medium, sim_choose_random, &rng);
		if (recall_find(fixture->recall, fixture->medium, 1)) {
			known++;
		} else {
			int *found = malloc(sizeof *found);

			assert_non_null(found);
			recall_listen(fixture->recall, fixture->medium, 1);
			*found = run(fixture);
			recall_keep(fixture->recall, fixture->medium, found);
			made++;
		}
		sim_free(fixture->medium);
	}
	fixture->medium = whole;
	assert_in_range(made, 1, 3); /* old, new, torn */
	assert_int_equal(known + made, 50);
}

static void
put_batch(struct fixture *fixture, uint64_t position, uint32_t blocks, uint64_t sequence)
{
	struct batch_header header = {
		.flags = position + blocks == JOURNAL_BLOCKS ? BATCH_PAD : BATCH_MARK,
		.epoch = 5,
		.sequence = sequence,
		.position = position,
		.blocks = blocks,
	};

	memset(fixture->blocks, 0, (size_t)blocks * BLOCK_BYTES);
	batch_encode(&header, fixture->blocks);
	for (uint32_t i = 0; i < blocks; i++)
		assert_int_equal(sim_poke(fixture->medium, JOURNAL + position + i,
					 fixture->blocks + (size_t)i * BLOCK_BYTES),
			0);
}

static void
sees_of_the_journal_whole_batches_and_headers(void **state)
{
	struct fixture *fixture = *state;

	put_batch(fixture, 0, 1, 1);
	put_batch(fixture, PAD, 3, 2); /* a pad */
	assert_false(is_known(fixture, run_journal));
	put(fixture, JOURNAL + 9, 0x77); /* of no batch */
	assert_true(is_known(fixture, run_journal));
	put(fixture, JOURNAL + 9, 0x78);
	assert_true(is_known(fixture, run_journal));
	put_batch(fixture, PAD, 3, 4); /* another one */
	assert_false(is_known(fixture, run_journal));
	assert_true(is_known(fixture, run_journal));
	put(fixture, JOURNAL + PAD + 1, 1); /* its header is left */
	assert_false(is_known(fixture, run_journal));
	put(fixture, JOURNAL + PAD + 1, 2);
	assert_true(is_known(fixture, run_journal));
	put_batch(fixture, 9, 1, 5);
	assert_false(is_known(fixture, run_journal));
}

static void
looks_again_at_a_batch_of_which_the_header_was_read_alone(void **state)
{
	struct fixture *fixture = *state;

	put_batch(fixture, PAD, 3, 2);
	put(fixture, JOURNAL + PAD + 1, 1); /* its header is left */
	assert_false(is_known(fixture, run_journal_twice));
	put_batch(fixture, PAD, 3, 2);
	assert_false(is_known(fixture, run_journal_twice));
	assert_true(is_known(fixture, run_journal_twice));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define WITH_MEDIUM(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
		WITH_MEDIUM(knows_a_run_by_what_it_reads),
		WITH_MEDIUM(keeps_runs_of_different_salt_apart),
		WITH_MEDIUM(keeps_no_run_that_was_dropped_or_met_an_error),
		WITH_MEDIUM(takes_one_torn_block_for_another),
		WITH_MEDIUM(sees_of_the_journal_whole_batches_and_headers),
		WITH_MEDIUM(looks_again_at_a_batch_of_which_the_header_was_read_alone),
	};

	return cmocka_run_group_tests_name("recall", tests, NULL, NULL);
}
