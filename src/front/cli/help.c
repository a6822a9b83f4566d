/*
 * Help and the manual page, from the command table.
 */

#include "front/cli/output.h"
#include "front/cli/text.h"
#include "front/cli/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_COLUMN = 26 };

static const char promise[] =
	"A volume is one file or disk: a checksummed, crash-safe file system that needs no\n"
	"mount and no privileges. A command that returns 0 has made its changes durable.\n";

static const struct {
	int code;
	const char *meaning;
} exit_rows[] = {
	{ 0, "all went well" },
	{ 1, "an error" },
	{ 2, "misuse: an unknown verb or option, an operand or size that makes no sense" },
	{ 3, "some items of many failed, the others went well" },
	{ 4, "an integrity problem: damage was found" },
	{ 5, "not found" },
	{ 6, "busy: another process has the volume open for writing" },
	{ 7, "no space left" },
	{ 8, "not permitted" },
	{ 9, "not a volume, or a format or feature that this version does not know" },
	{ 130, "interrupted" },
};

static void
print_option(const struct option_row *row)
{
	char left[64];
	int bytes = 0;

	if (row->letter)
		bytes += snprintf(left, sizeof left, "-%c, ", row->letter);
	if (row->second_letter)
		bytes += snprintf(
			left + bytes, sizeof left - (size_t)bytes, "-%c, ", row->second_letter);
	(void)snprintf(left + bytes, sizeof left - (size_t)bytes, "--%s%s%s", row->name,
		row->argument ? " " : "", row->argument ? row->argument : "");
	(void)printf("  %-*s %s\n", OPTION_COLUMN, left, row->help);
}

/* The lines "COMMAND\tMEANING\n" of a table's examples, one after the other; false at the end. */
static bool
next_example(const char **at, struct text *command, struct text *meaning)
{
	size_t line = strcspn(*at, "\n");
	size_t words = strcspn(*at, "\t\n");

	if (**at == '\0')
		return false;
	text_cut(command, 0);
	text_cut(meaning, 0);
	text_add(command, *at, words);
	if (words < line)
		text_add(meaning, *at + words + 1, line - words - 1);
	*at += line + 1;
	return true;
}

static void
print_examples(const struct command *command)
{
	const char *at = command->examples;
	struct text words = { 0 };
	struct text meaning = { 0 };

	(void)fputs("\nExamples:\n", stdout);
	while (next_example(&at, &words, &meaning)) {
		if (meaning.bytes > 0)
			(void)printf("  # %s\n", text_string(&meaning));
		(void)printf("  %s\n", words.data);
	}
	text_fini(&words);
	text_fini(&meaning);
}

void
help_command(const struct command *command)
{
	const struct option_row *rows[COMMAND_OPTIONS_MAX];
	size_t count = command_options(command, rows);

	(void)printf("Usage: coppice %s %s\n\n%c%s.\n", command->name, command->synopsis,
		command->summary[0] - 'a' + 'A', command->summary + 1);
	if (command->text)
		(void)printf("\n%s\n", command->text);
	print_examples(command);
	(void)fputs("\nOptions:\n", stdout);
	for (size_t i = 0; i < count; i++)
		print_option(rows[i]);
}

void
help_all(void)
{
	(void)printf("Usage: coppice VERB [OPTION]... OPERAND...\n\n%s\nVerbs:\n", promise);
	for (size_t i = 0; i < command_count; i++)
		(void)printf("  %-12s %s\n", commands[i].name, commands[i].summary);
	(void)fputs(
		"\nA place in a volume is VOLUME[@VERSION][:/PATH], such as vol.cop:/etc/motd.\n"
		"\nExamples:\n"
		"  coppice init --size 64M vol.cop\n"
		"  coppice cp -r /usr/include vol.cop:/\n"
		"  coppice ls -l vol.cop:/include\n"
		"  coppice check vol.cop\n"
		"\n\"coppice help VERB\" tells more of each.\n",
		stdout);
}

/* Text of a manual page: hyphens that are to be copied, and no line that begins a request. */
static void
roff(const char *text)
{
	bool line_begins = true;

	for (; *text != '\0'; text++) {
		if (line_begins && (*text == '.' || *text == '\''))
			(void)fputs("\\&", stdout);
		if (*text == '-')
			(void)fputs("\\-", stdout);
		else if (*text == '\\')
			(void)fputs("\\e", stdout);
		else
			(void)putchar(*text);
		line_begins = *text == '\n';
	}
}

static void
man_option(const struct option_row *row)
{
	(void)fputs(".TP\n.B ", stdout);
	if (row->letter)
		(void)printf("\\-%c, ", row->letter);
	if (row->second_letter)
		(void)printf("\\-%c, ", row->second_letter);
	roff("--");
	roff(row->name);
	if (row->argument)
		(void)printf(" \\fI%s\\fP", row->argument);
	(void)putchar('\n');
	roff(row->help);
	(void)putchar('\n');
}

static void
man_command(const struct command *command)
{
	const struct option_row *rows[COMMAND_OPTIONS_MAX];
	size_t count = command_options(command, rows);
	const char *at = command->examples;
	struct text words = { 0 };
	struct text meaning = { 0 };

	(void)fputs(".SS coppice ", stdout);
	roff(command->name);
	(void)putchar(' ');
	roff(command->synopsis);
	(void)printf("\n%c", command->summary[0] - 'a' + 'A');
	roff(command->summary + 1);
	(void)fputs(".\n", stdout);
	if (command->text) {
		roff(command->text);
		(void)putchar('\n');
	}
	for (size_t i = 0; i < count; i++)
		man_option(rows[i]);
	(void)fputs(".PP\n.nf\n", stdout);
	while (next_example(&at, &words, &meaning)) {
		if (meaning.bytes > 0) {
			(void)fputs("    # ", stdout);
			roff(text_string(&meaning));
			(void)putchar('\n');
		}
		(void)fputs("    ", stdout);
		roff(words.data);
		(void)putchar('\n');
	}
	(void)fputs(".fi\n", stdout);
	text_fini(&words);
	text_fini(&meaning);
}

static void
man_page(void)
{
	(void)printf(".TH COPPICE 1 \"\" \"coppice %d.%d.%d\" \"User Commands\"\n",
		COP_VERSION_MAJOR, COP_VERSION_MINOR, COP_VERSION_PATCH);
	(void)fputs(".SH NAME\ncoppice \\- copy\\-on\\-write, checksummed, crash\\-safe volumes in "
		    "one file or disk\n.SH SYNOPSIS\n.B coppice\n.I VERB\n[\\fIOPTION\\fP]... "
		    "\\fIOPERAND\\fP...\n.SH DESCRIPTION\n",
		stdout);
	roff(promise);
	(void)fputs(".SH ADDRESSES\n", stdout);
	roff("A place in a volume is VOLUME[@VERSION][:/PATH]. A scheme such as file: may stand\n"
	     "before the volume. The first \":/\" ends the volume; in the last component of the\n"
	     "volume, the first \"@\" begins the version. An operand that starts with \"./\" or\n"
	     "\"/\" and exists on the host is a path of the host, whatever is in it. Without\n"
	     "\":/PATH\" the root of the volume is meant; in cp it is then a path of the host.\n"
	     "\"--\" ends the options.\n");
	(void)fputs(".SH VERBS\n", stdout);
	for (size_t i = 0; i < command_count; i++)
		man_command(&commands[i]);
	(void)fputs(".SH EXIT STATUS\n", stdout);
	for (size_t i = 0; i < sizeof exit_rows / sizeof exit_rows[0]; i++) {
		(void)printf(".TP\n.B %d\n", exit_rows[i].code);
		roff(exit_rows[i].meaning);
		(void)putchar('\n');
	}
	(void)fputs(".SH ENVIRONMENT\n.TP\n.B TERM\n", stdout);
	roff("\"dumb\" turns the progress line off. The program writes no colours, so NO_COLOR is\n"
	     "always honoured.\n");
}

int
help_unknown(struct cli *cli, const char *word)
{
	const struct command *nearest = command_nearest(word);
	char *hint;

	if (word[0] == '-') {
		complain(cli, NULL, EXIT_USAGE, "coppice help",
			"a verb comes first, not the option %s", word);
	} else if (!nearest) {
		complain(cli, word, EXIT_USAGE, "coppice help", "no such verb");
	} else {
		hint = need_format("coppice %s", nearest->name);
		complain(cli, word, EXIT_USAGE, hint, "no such verb, did you mean \"%s\"?",
			nearest->name);
		free(hint);
	}
	return EXIT_USAGE;
}

int
verb_help(struct cli *cli)
{
	const struct command *command;

	if (args_has(&cli->args, OPTION_MAN)) {
		man_page();
	} else if (cli->args.count == 0) {
		help_all();
	} else {
		command = command_find(cli->args.operands[0]);
		if (!command)
			return help_unknown(cli, cli->args.operands[0]);
		help_command(command);
	}
	return EXIT_FINE;
}
