#include "base/thread.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void *
read_mask(void *context)
{
	sigset_t *mask = context;

	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, mask), 0);
	return mask;
}

static void
keeps_every_signal_from_the_thread_and_none_from_its_maker(void **state)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGALRM, SIGHUP, SIGPIPE, SIGUSR1 };
	pthread_t thread;
	sigset_t mask;
	sigset_t mine;
	void *result;

	(void)state;
	assert_int_equal(thread_start(&thread, NULL, read_mask, &mask), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_ptr_equal(result, &mask);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mine), 0);
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
		assert_int_equal(sigismember(&mask, signals[i]), 1);
		assert_int_equal(sigismember(&mine, signals[i]), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_every_signal_from_the_thread_and_none_from_its_maker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
