#include "front/cli/interrupt.h"

#include <signal.h>
#include <stddef.h>

/* Of the process, as signals are. */
static volatile sig_atomic_t requested;

static void
request(int number)
{
	(void)number;
	requested = 1;
}

void
interrupt_install(void)
{
	/* Without SA_RESTART, a read from a pipe returns and the loop around it can ask. */
	struct sigaction action = { .sa_handler = request, .sa_flags = (int)SA_RESETHAND };

	(void)sigemptyset(&action.sa_mask);
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);

	/* A file grown past the limit is then an error of write(), which has a sentence. */
	(void)signal(SIGXFSZ, SIG_IGN);
}

bool
interrupt_requested(void)
{
	return requested != 0;
}
