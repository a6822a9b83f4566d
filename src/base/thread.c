#include "base/thread.h"

#include <signal.h>
#include <stddef.h>

int
thread_start(pthread_t *out_thread, const pthread_attr_t *attr, void *(*run)(void *), void *context)
{
	sigset_t all;
	sigset_t old;
	int host;

	/* A thread begins with the mask of the one that makes it. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	host = pthread_create(out_thread, attr, run, context);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return host;
}
