#include "front/cli/interrupt.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

enum { REPEAT_SECONDS = 1 };

/* Of the process, as signals are. */
static volatile sig_atomic_t requested;

/*
 * A call that began to wait just after the flag was looked at would wait on: so there is another
 * signal, and another, until the command has ended.
 */
static void
interrupt_again(int number)
{
	(void)number;
	(void)alarm(REPEAT_SECONDS);
}

static void
request(int number)
{
	requested = 1;
	interrupt_again(number);
}

/* What who started us wants ignored, as nohup does and a shell without job control, stays so. */
static void
watch(int number, void (*handler)(int), int flags)
{
	/* Without SA_RESTART, a read from a pipe returns and the loop around it can ask. */
	struct sigaction action = { .sa_handler = handler, .sa_flags = flags };
	struct sigaction old;

	(void)sigemptyset(&action.sa_mask);
	if (sigaction(number, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
		(void)sigaction(number, &action, NULL);
}

void
interrupt_install(void)
{
	watch(SIGINT, request, (int)SA_RESETHAND);
	watch(SIGTERM, request, (int)SA_RESETHAND);
	watch(SIGALRM, interrupt_again, 0);

	/* A file grown past the limit is then an error of write(), which has a sentence. */
	(void)signal(SIGXFSZ, SIG_IGN);
}

bool
interrupt_requested(void)
{
	return requested != 0;
}
