#include "base/num.h"
#include "cache/cache_internal.h"
#include "support/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { FRAMES = 100 };

struct world {
	struct fifo fifo;
	struct frame frames[FRAMES];
};

/* Frames as the cache has them: clean, in the table, not pinned. */
static void
init(struct world *world)
{
	memset(world, 0, sizeof *world);
	assert_int_equal(cache__fifo_init(&world->fifo, FRAMES), 0);
	for (uint32_t i = 0; i < FRAMES; i++) {
		struct frame *frame = &world->frames[i];

		frame->buffer.addr = 1000 + i;
		frame->buffer.blocks = 1;
		frame->state = FRAME_CLEAN;
		frame->is_in_table = true;
		atomic_init(&frame->refs, 1);
	}
}

static void
add(struct world *world, uint32_t first, uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++)
		cache__fifo_add(&world->fifo, &world->frames[i]);
	cache__fifo_assert_sound(&world->fifo);
}

/* The index of the next victim; FRAMES: none. */
static uint32_t
evict(struct world *world)
{
	struct frame *victim = cache__fifo_take_victim(&world->fifo);

	cache__fifo_assert_sound(&world->fifo);
	if (!victim)
		return FRAMES;
	assert_int_equal(victim->queue, QUEUE_NONE);
	return (uint32_t)(victim - world->frames);
}

static void
evicts_what_is_seen_once_in_order_of_arrival(void **state)
{
	struct world world;

	(void)state;
	init(&world);
	add(&world, 0, FRAMES);
	for (uint32_t i = 0; i < FRAMES; i++)
		assert_int_equal(evict(&world), i);
	assert_int_equal(evict(&world), FRAMES);
	cache__fifo_fini(&world.fifo);
}

static void
keeps_what_was_hit_more_than_once(void **state)
{
	struct world world;

	(void)state;
	init(&world);
	add(&world, 0, 10);
	world.frames[0].hits = 2;
	world.frames[1].hits = 1;
	assert_int_equal(evict(&world), 1);
	assert_int_equal(world.frames[0].queue, QUEUE_MAIN);
	for (uint32_t i = 2; i < 10; i++)
		assert_int_equal(evict(&world), i);
	assert_int_equal(evict(&world), 0);
	cache__fifo_fini(&world.fifo);
}

static void
lets_hits_carry_a_frame_round_the_main_queue(void **state)
{
	struct world world;

	(void)state;
	init(&world);
	for (uint32_t i = 0; i < 3; i++)
		world.frames[i].hits = FRAME_HITS_MAX;
	add(&world, 0, 4);
	assert_int_equal(evict(&world), 3); /* the others have moved on, without their hits */
	world.frames[0].hits = 1;
	assert_int_equal(evict(&world), 1);
	assert_int_equal(evict(&world), 2);
	assert_int_equal(evict(&world), 0);
	cache__fifo_fini(&world.fifo);
}

static void
takes_the_small_queue_down_to_a_tenth(void **state)
{
	struct world world;

	(void)state;
	init(&world);
	for (uint32_t i = 0; i < 50; i++)
		world.frames[i].hits = 2;
	add(&world, 0, 60);
	assert_int_equal(evict(&world), 50);
	assert_int_equal(world.fifo.main.count, 50);
	for (uint32_t i = 51; i < 55; i++)
		assert_int_equal(evict(&world), i);
	/* 5 of 55: the main queue shrinks until it is nine tenths again. */
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(evict(&world), i);
	assert_int_equal(evict(&world), 55);
	cache__fifo_fini(&world.fifo);
}

static void
remembers_who_left_and_comes_back(void **state)
{
	struct world world;

	(void)state;
	init(&world);
	add(&world, 0, 20);
	assert_int_equal(evict(&world), 0);
	add(&world, 0, 1);
	assert_int_equal(world.frames[0].queue, QUEUE_MAIN);

	/* The same place with another stamp is a stranger. */
	assert_int_equal(evict(&world), 1);
	world.frames[1].buffer.stamp = 99;
	add(&world, 1, 1);
	assert_int_equal(world.frames[1].queue, QUEUE_SMALL);
	cache__fifo_fini(&world.fifo);
}

static void
forgets_who_left_long_ago(void **state)
{
	struct world world;

	(void)state;
	init(&world);
	add(&world, 0, 60);
	for (uint32_t i = 0; i < 40; i++)
		assert_int_equal(evict(&world), i);
	add(&world, 0, 1); /* 40 have left since, 20 are here */
	assert_int_equal(world.frames[0].queue, QUEUE_SMALL);
	add(&world, 39, 1);
	assert_int_equal(world.frames[39].queue, QUEUE_MAIN);
	cache__fifo_fini(&world.fifo);
}

/* Where ghosts crowd each other out, the oldest goes. */
static void
remembers_the_last_to_leave(void **state)
{
	struct world world;
	struct frame *left[30];
	uint32_t remembered = 0;

	(void)state;
	init(&world);
	add(&world, 0, FRAMES);
	for (uint32_t i = 0; i < 10 * FRAMES; i++) {
		struct frame *frame = cache__fifo_take_victim(&world.fifo);

		frame->buffer.stamp++;
		cache__fifo_add(&world.fifo, frame);
	}
	for (uint32_t i = 0; i < ARRAY_COUNT(left); i++)
		left[i] = cache__fifo_take_victim(&world.fifo);
	for (uint32_t i = 0; i < ARRAY_COUNT(left); i++) {
		cache__fifo_add(&world.fifo, left[i]);
		remembered += left[i]->queue == QUEUE_MAIN;
	}
	assert_true(remembered >= ARRAY_COUNT(left) - 3); /* sets are small */
	cache__fifo_fini(&world.fifo);
}

static void
never_takes_what_is_pinned(void **state)
{
	struct world world;

	(void)state;
	init(&world);
	for (uint32_t i = 0; i < FRAMES; i += 2)
		atomic_store(&world.frames[i].refs, 2);
	add(&world, 0, FRAMES);
	for (uint32_t i = 1; i < FRAMES; i += 2)
		assert_int_equal(evict(&world) % 2, 1);
	assert_int_equal(evict(&world), FRAMES);

	atomic_store(&world.frames[40].refs, 1);
	assert_int_equal(evict(&world), 40);
	assert_int_equal(evict(&world), FRAMES);
	cache__fifo_fini(&world.fifo);
}

static void
weighs_frames_by_their_blocks(void **state)
{
	struct world world;

	(void)state;
	init(&world);
	world.frames[0].order = 5; /* 32 blocks */
	world.frames[0].hits = 2;
	add(&world, 0, 4);
	assert_int_equal(evict(&world), 0); /* 3 of 35 blocks: the small queue has its share */
	assert_int_equal(evict(&world), 1);
	cache__fifo_fini(&world.fifo);
}

static void
removes_from_anywhere(void **state)
{
	struct world world;

	(void)state;
	init(&world);
	add(&world, 0, 5);
	cache__fifo_remove(&world.fifo, &world.frames[2]);
	cache__fifo_remove(&world.fifo, &world.frames[0]);
	cache__fifo_remove(&world.fifo, &world.frames[4]);
	cache__fifo_assert_sound(&world.fifo);
	assert_int_equal(evict(&world), 1);
	assert_int_equal(evict(&world), 3);
	assert_int_equal(evict(&world), FRAMES);
	cache__fifo_fini(&world.fifo);
}

static void
says_when_there_is_no_memory(void **state)
{
	struct fifo fifo;

	(void)state;
	alloc_fail_nth(1);
	assert_int_equal(cache__fifo_init(&fifo, FRAMES), COP_ENOMEM);
	alloc_fail_nth(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(evicts_what_is_seen_once_in_order_of_arrival),
		cmocka_unit_test(keeps_what_was_hit_more_than_once),
		cmocka_unit_test(lets_hits_carry_a_frame_round_the_main_queue),
		cmocka_unit_test(takes_the_small_queue_down_to_a_tenth),
		cmocka_unit_test(remembers_who_left_and_comes_back),
		cmocka_unit_test(forgets_who_left_long_ago),
		cmocka_unit_test(remembers_the_last_to_leave),
		cmocka_unit_test(never_takes_what_is_pinned),
		cmocka_unit_test(weighs_frames_by_their_blocks),
		cmocka_unit_test(removes_from_anywhere),
		cmocka_unit_test(says_when_there_is_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
