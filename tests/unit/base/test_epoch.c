#include "base/epoch.h"
#include "base/lock.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <cmocka.h>

struct thing {
	struct epoch_item retired;
	uint64_t value;
	uint64_t again; /* the same */
};

static void
count_freed(void *context, struct epoch_item *item)
{
	int *freed = context;

	(void)item;
	++*freed;
}

static struct epoch_item
item_for(int *freed)
{
	return (struct epoch_item){ .free = count_freed, .context = freed };
}

static void
frees_at_once_when_nobody_is_inside(void **state)
{
	struct epoch *epoch;
	int freed = 0;
	struct epoch_item item = item_for(&freed);

	(void)state;
	assert_int_equal(epoch_create(&epoch), 0);
	epoch_retire(epoch, &item);
	assert_int_equal(freed, 1);
	assert_false(epoch_collect(epoch));
	assert_false(epoch_wait(epoch));
	epoch_free(epoch);
	epoch_free(NULL);
}

/* Enters on a thread of its own, so that the test's thread may retire. */
struct visitor {
	pthread_t thread;
	struct epoch *epoch;
	atomic_bool is_inside;
	atomic_bool may_leave;
};

static void *
visit(void *context)
{
	struct visitor *visitor = context;
	uint32_t slot;

	assert_true(epoch_enter(visitor->epoch, &slot));
	atomic_store(&visitor->is_inside, true);
	while (!atomic_load(&visitor->may_leave))
		sched_yield();
	epoch_leave(visitor->epoch, slot);
	return NULL;
}

static void
begin_visit(struct visitor *visitor, struct epoch *epoch)
{
	*visitor = (struct visitor){ .epoch = epoch };
	assert_int_equal(pthread_create(&visitor->thread, NULL, visit, visitor), 0);
	while (!atomic_load(&visitor->is_inside))
		sched_yield();
}

static void
end_visit(struct visitor *visitor)
{
	atomic_store(&visitor->may_leave, true);
	pthread_join(visitor->thread, NULL);
}

static void
keeps_what_is_retired_until_all_have_left_who_were_there(void **state)
{
	struct epoch *epoch;
	struct visitor before;
	struct visitor between;
	struct visitor after;
	int freed = 0;
	struct epoch_item first = item_for(&freed);
	struct epoch_item second = item_for(&freed);

	(void)state;
	assert_int_equal(epoch_create(&epoch), 0);
	begin_visit(&before, epoch);
	epoch_retire(epoch, &first);
	begin_visit(&between, epoch);
	epoch_retire(epoch, &second);
	begin_visit(&after, epoch);
	assert_false(epoch_collect(epoch));
	assert_int_equal(freed, 0);

	end_visit(&before);
	assert_true(epoch_collect(epoch));
	assert_int_equal(freed, 1); /* the second was there when `between` came */
	end_visit(&between);
	assert_true(epoch_wait(epoch));
	assert_int_equal(freed, 2);
	end_visit(&after);
	epoch_free(epoch);
}

static void
has_a_place_for_so_many_and_no_more(void **state)
{
	struct visitor visitors[EPOCH_SLOTS];
	struct epoch *epoch;
	uint32_t slot;

	(void)state;
	assert_int_equal(epoch_create(&epoch), 0);
	for (size_t i = 0; i < EPOCH_SLOTS; i++)
		begin_visit(&visitors[i], epoch);
	assert_false(epoch_enter(epoch, &slot));
	end_visit(&visitors[7]);
	assert_true(epoch_enter(epoch, &slot));
	epoch_leave(epoch, slot);
	for (size_t i = 0; i < EPOCH_SLOTS; i++) {
		if (i != 7)
			end_visit(&visitors[i]);
	}
	epoch_free(epoch);
}

static void
takes_no_lock_inside(void **state)
{
	struct epoch *epoch;
	uint64_t locks;
	uint32_t slot;

	(void)state;
	assert_int_equal(epoch_create(&epoch), 0);
	locks = lock_count();
	assert_true(epoch_enter(epoch, &slot));
	epoch_leave(epoch, slot);
	assert_int_equal(lock_count(), locks);
	(void)epoch_collect(epoch);
#ifdef COP_CHECKED
	assert_int_equal(lock_count(), locks + 1);
#endif
	epoch_free(epoch);
}

/* ---- Threads: what is read inside is whole ----------------------------------------------------
 */

enum { READERS = 3, CHANGES = 20000 };

struct shared {
	struct epoch *epoch;
	_Atomic(struct thing *) current;
	atomic_bool is_over;
};

static void
free_thing(void *context, struct epoch_item *item)
{
	struct thing *thing = (struct thing *)(void *)item;

	(void)context;
	thing->value = 1; /* a reader that is still there would see it */
	thing->again = 2;
	free(thing);
}

static void *
read_things(void *context)
{
	struct shared *shared = context;

	while (!atomic_load(&shared->is_over)) {
		const struct thing *thing;
		uint32_t slot;

		assert_true(epoch_enter(shared->epoch, &slot));
		thing = atomic_load(&shared->current);
		assert_int_equal(thing->value, thing->again);
		epoch_leave(shared->epoch, slot);
	}
	return NULL;
}

static struct thing *
make_thing(uint64_t value)
{
	struct thing *thing = malloc(sizeof *thing);

	assert_non_null(thing);
	*thing = (struct thing){
		.retired = { .free = free_thing },
		.value = value,
		.again = value,
	};
	return thing;
}

static void
lets_nobody_read_what_was_freed(void **state)
{
	struct shared shared = { .is_over = false };
	pthread_t readers[READERS];
	struct thing *last;

	(void)state;
	assert_int_equal(epoch_create(&shared.epoch), 0);
	atomic_store(&shared.current, make_thing(0));
	for (size_t i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, read_things, &shared), 0);
	for (uint64_t i = 1; i <= CHANGES; i++)
		epoch_retire(
			shared.epoch, &atomic_exchange(&shared.current, make_thing(i))->retired);
	atomic_store(&shared.is_over, true);
	for (size_t i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	last = atomic_load(&shared.current);
	free(last);
	epoch_free(shared.epoch);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frees_at_once_when_nobody_is_inside),
		cmocka_unit_test(keeps_what_is_retired_until_all_have_left_who_were_there),
		cmocka_unit_test(has_a_place_for_so_many_and_no_more),
		cmocka_unit_test(takes_no_lock_inside),
		cmocka_unit_test(lets_nobody_read_what_was_freed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
