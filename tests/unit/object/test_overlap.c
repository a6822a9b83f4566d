/* Changes of one object in their order, of different objects side by side. */

#include "cache/cache.h"
#include "unit/space/slow_device.h"
#include "world.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

enum { BLOCK = 4096 };

struct stage {
	struct world world;
	struct slow_device slow;
	struct device *below;
	struct cop_object *first;
	struct cop_object *second;

	/* A later write to `first`. */
	pthread_t later;
	atomic_bool is_later_done;

	uint32_t calls; /* of what happens meanwhile */
};

static struct cop_object *
make_file(struct world *world, char mark)
{
	struct cop_object *file = world_file(world);
	uint8_t bytes[2 * BLOCK];

	memset(bytes, mark, sizeof bytes);
	must(cop_write(file, 0, bytes, sizeof bytes, NULL));
	return file;
}

/* Two files of two blocks each, on a device that can be slow; nothing is in memory. */
static void
stage_begin(struct stage *stage)
{
	uint64_t ids[2];

	memset(stage, 0, sizeof *stage);
	world_init(&stage->world, 64 * MIB, 0, 21);
	stage->first = make_file(&stage->world, 'a');
	stage->second = make_file(&stage->world, 'b');
	ids[0] = cop_id(stage->first);
	ids[1] = cop_id(stage->second);
	cop_release(stage->first);
	cop_release(stage->second);

	stage->below = stage->world.dev;
	slow_device_init(&stage->slow, stage->below);
	stage->world.dev = &stage->slow.device;
	world_reopen(&stage->world, false);
	must(cop_get(stage->world.root, ids[0], &stage->first));
	must(cop_get(stage->world.root, ids[1], &stage->second));
	cache_shrink(volume_cache(stage->world.volume->volume));
}

static void
stage_end(struct stage *stage)
{
	cop_release(stage->first);
	cop_release(stage->second);
	stage->world.dev = stage->below;
	world_reopen(&stage->world, false);
	slow_device_fini(&stage->slow);
	world_fini(&stage->world);
}

static char
byte_at(struct cop_object *file, uint64_t offset)
{
	char byte;
	size_t got;

	must(cop_read(file, offset, &byte, 1, &got));
	assert_int_equal(got, 1);
	return byte;
}

static void *
write_later(void *context)
{
	struct stage *stage = context;

	must(cop_write(stage->first, 10, "later", 5, NULL));
	atomic_store(&stage->is_later_done, true);
	return NULL;
}

static void
await_in_queue(struct cop_object *object, uint64_t tickets)
{
	struct mutex *lock = &object->volume->lock;
	uint64_t waiting;

	do {
		sched_yield();
		mutex_lock(lock);
		waiting = object->tickets - object->serving;
		mutex_unlock(lock);
	} while (waiting < tickets);
}

/* While a write to the first object waits for the block that it changes a part of. */
static void
change_both(void *context)
{
	struct stage *stage = context;

	stage->calls++;
	assert_int_equal(pthread_create(&stage->later, NULL, write_later, stage), 0);
	await_in_queue(stage->first, 2);

	must(cop_write(stage->second, 10, "side by side", 12, NULL));
	assert_int_equal(byte_at(stage->second, 10), 's');
	must(cop_set_length(stage->second, BLOCK + 1));
	must(cop_sync(stage->world.volume));
	assert_false(atomic_load(&stage->is_later_done));
	assert_int_equal(byte_at(stage->first, BLOCK), 'a');
}

static void
others_go_on_while_one_waits_for_the_device(void **state)
{
	struct cop_extent extent = COP_INIT(extent);
	struct stage *stage = malloc(sizeof *stage);

	(void)state;
	assert_non_null(stage);
	stage_begin(stage);
	must(cop_map(stage->first, 0, &extent));
	stage->slow.addr = extent.block;
	stage->slow.meanwhile = change_both;
	stage->slow.context = stage;

	must(cop_write(stage->first, 10, "first write", 11, NULL));
	assert_int_equal(stage->calls, 1);
	pthread_join(stage->later, NULL);
	assert_int_equal(byte_at(stage->first, 10), 'l'); /* the later one came later */
	assert_int_equal(byte_at(stage->first, 15), ' ');
	assert_int_equal(byte_at(stage->first, 16), 'w');
	assert_int_equal(byte_at(stage->first, 21), 'a');
	assert_int_equal(byte_at(stage->second, 21), 'e');
	stage_end(stage);
	free(stage);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(others_go_on_while_one_waits_for_the_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
