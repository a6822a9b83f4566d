#ifndef COPPICE_FRONT_CLI_INTERRUPT_H
#define COPPICE_FRONT_CLI_INTERRUPT_H

/*
 * interrupt: SIGINT and SIGTERM stop a command at its next safe point.
 *
 * The first one sets a flag that loops ask for, and ends every wait for input or output; what was
 * done so far is then finished properly, and the command exits with 130. A file that was being
 * copied gets no name. The second one ends the process at once.
 */

#include <stdbool.h>

void interrupt_install(void);
bool interrupt_requested(void);

#endif
