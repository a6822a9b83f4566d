#include "support/hashset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void
counts_each_hash_once(void **state)
{
	struct hashset *set = NULL;

	(void)state;
	assert_int_equal(hashset_create(1024, &set), 0);
	for (uint64_t i = 0; i < 700; i++)
		assert_true(hashset_add(set, i * UINT64_C(0x9e3779b97f4a7c15)));
	for (uint64_t i = 0; i < 700; i++)
		assert_false(hashset_add(set, i * UINT64_C(0x9e3779b97f4a7c15)));
	assert_int_equal(hashset_count(set), 700);
	hashset_free(set);
}

static void
takes_no_more_when_it_is_full(void **state)
{
	struct hashset *set = NULL;

	(void)state;
	assert_int_equal(hashset_create(16, &set), 0);
	for (uint64_t i = 1; i <= 12; i++)
		assert_true(hashset_add(set, i));
	assert_true(hashset_is_full(set));
	assert_false(hashset_add(set, 100));
	assert_int_equal(hashset_count(set), 12);
	hashset_free(set);
}

static void
is_shared_with_children(void **state)
{
	struct hashset *set = NULL;
	pid_t child;
	int status = 0;

	(void)state;
	assert_int_equal(hashset_create(1024, &set), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(hashset_add(set, 7) ? 0 : 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_false(hashset_add(set, 7));
	hashset_free(set);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_each_hash_once),
		cmocka_unit_test(takes_no_more_when_it_is_full),
		cmocka_unit_test(is_shared_with_children),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
