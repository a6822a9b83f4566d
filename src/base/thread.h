#ifndef COPPICE_BASE_THREAD_H
#define COPPICE_BASE_THREAD_H

/*
 * thread: the library's own threads, which no signal reaches.
 *
 * Signals are for the program's threads: one that is to end a wait for input must come to the
 * thread that waits, and a handler may not expect our stacks.
 */

#include <pthread.h>

/*
 * Starts `run(context)` with every signal blocked; `attr` may be NULL. Returns 0 or an errno, as
 * pthread_create() does, and has no effect then.
 */
int thread_start(
	pthread_t *out_thread, const pthread_attr_t *attr, void *(*run)(void *), void *context);

#endif
