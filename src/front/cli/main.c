/*
 * coppice: the command line. It finds the verb in the table, parses what follows, runs its
 * function, closes what that opened, and turns what went wrong into an exit code.
 */

#include "front/cli/cli.h"
#include "front/cli/interrupt.h"
#include "front/cli/verbs.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* "--version" and the like, which people type before they know of verbs. */
static const char *
verb_of(const char *word)
{
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		return "help";
	if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
		return "version";
	return word;
}

static void
run(struct cli *cli)
{
	int result = cli->command->run(cli);

	if (result != EXIT_FINE && cli->stop_exit == 0)
		cli->stop_exit = result;
	progress_clear(&cli->progress);
	volumes_close(cli, cli->has_removed);
	if (interrupt_requested() && cli->command->flags & COMMAND_CHANGES)
		warn(cli, NULL, "interrupted; what was done until then is kept");
}

/* What could not be written to stdout is a failure, too: the disk may be full. */
static void
finish_output(struct cli *cli)
{
	bool failed = ferror(stdout) != 0;

	failed = fflush(stdout) != 0 || failed;
	if (failed && !interrupt_requested())
		report_and_stop(cli, NULL, fail_errno(errno, "standard output"));
}

int
main(int argc, char **argv)
{
	struct cli cli = { .out_is_terminal = isatty(STDOUT_FILENO) };
	int result;

	(void)setlocale(LC_TIME, "C");
	if (argc < 2) {
		help_all();
		return EXIT_USAGE;
	}
	cli.command = command_find(verb_of(argv[1]));
	if (!cli.command)
		return help_unknown(&cli, argv[1]);
	result = command_parse(&cli, argc - 1, argv + 1);
	if (result != EXIT_FINE)
		return result;
	if (args_has(&cli.args, OPTION_HELP)) {
		help_command(cli.command);
	} else {
		interrupt_install();
		progress_init(&cli.progress, cli.command->name);
		run(&cli);
	}
	finish_output(&cli);
	return cli_exit_code(&cli);
}
