#ifndef COPPICE_FRONT_CLI_CLI_H
#define COPPICE_FRONT_CLI_CLI_H

/*
 * cli: one run of the program, and how it speaks of what went wrong.
 *
 * A message is one line on stderr: "coppice: VERB: OBJECT: what is wrong; try: COMMAND". Control
 * bytes in it are escaped. Every failure is counted, with the items that were tried, and the exit
 * code of the run follows from that: 0 when nothing failed, the failure's own code when nothing
 * succeeded or the run had to stop, 3 when some items failed and the others went well.
 */

#include "base/err.h"
#include "front/cli/command.h"
#include "front/cli/progress.h"
#include "front/cli/volumes.h"

#include <stdbool.h>
#include <stdint.h>

enum exit_code {
	EXIT_FINE = 0,
	EXIT_ERROR = 1,
	EXIT_USAGE = 2,
	EXIT_SOME_FAILED = 3,
	EXIT_INTEGRITY = 4,
	EXIT_NOT_FOUND = 5,
	EXIT_BUSY = 6,
	EXIT_NO_SPACE = 7,
	EXIT_NOT_PERMITTED = 8,
	EXIT_NOT_A_VOLUME = 9,
	EXIT_INTERRUPTED = 130,
};

struct cli {
	const struct command *command;
	struct arguments args;
	uint64_t cache_bytes;
	bool out_is_terminal;

	uint64_t items; /* tried so far, failures among them */
	uint64_t failures;
	int first_exit;   /* of the first failure */
	int stop_exit;    /* why the run had to stop; 0: it did not */
	bool has_removed; /* something of a volume: its space is waited for at the end */

	struct volumes volumes;
	struct progress progress;
};

/* Counts the error that was just noted for this object, and says it. An interruption is neither. */
void report(struct cli *cli, const char *object, int code);

/* What report() would say of it; to be freed. */
char *message_of(const struct cli *cli, const char *object, int code);

/* report() for what the program itself found; `hint` is what to try, or NULL. */
void complain(struct cli *cli, const char *object, int exit_code, const char *hint,
	const char *format, ...) __attribute__((format(printf, 5, 6)));

/* The same with what to try on the object itself, as "coppice ls". */
void complain_of(
	struct cli *cli, const char *object, int exit_code, const char *words, const char *message);

/* So many problems were found in the volume, and are shown. */
void complain_of_problems(struct cli *cli, const char *object, uint64_t problems);

/* Where "vol.cop:a" or "vol.cop/a" was written for a place in a volume that is there: how that is
 * written; to be freed. Else NULL. */
char *place_meant(const char *word);

/* A misuse of the command: exit code 2, and the way to its help. */
int usage(struct cli *cli, const char *object, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Says something that is no failure. */
void warn(struct cli *cli, const char *object, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Says that damage has closed groups of the volume on `device`, if it has. No failure either. */
void warn_of_closed(
	struct cli *cli, const char *object, const char *device, const struct cop_survey *survey);

/* As report(), and the run ends with this error whatever else went well. */
void report_and_stop(struct cli *cli, const char *object, int code);

/* The exit code of the whole run. */
int cli_exit_code(const struct cli *cli);

/* A name on stdout: escaped on a terminal, its bytes as they are elsewhere. */
void print_name(const struct cli *cli, const char *name, size_t bytes);

#endif
