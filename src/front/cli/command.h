#ifndef COPPICE_FRONT_CLI_COMMAND_H
#define COPPICE_FRONT_CLI_COMMAND_H

/*
 * command: the one table of commands, from which parser, help, man page and completion come.
 *
 * A new command is a row in commands.c and a function. Every command has --help and --cache;
 * COMMAND_QUERY adds --json, COMMAND_CHANGES adds --no-sync.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli;

enum option_id {
	OPTION_NONE = 0, /* ends a list of options */
	OPTION_HELP,
	OPTION_CACHE,
	OPTION_JSON,
	OPTION_NO_SYNC,
	OPTION_ACCEPT_LOSS,
	OPTION_ALL,
	OPTION_COPIES,
	OPTION_DIRECTORY,
	OPTION_FORCE,
	OPTION_HUMAN,
	OPTION_JOURNAL,
	OPTION_LABEL,
	OPTION_LONG,
	OPTION_MAN,
	OPTION_METADATA,
	OPTION_NODE_SIZE,
	OPTION_NO_CLOBBER,
	OPTION_PARENTS,
	OPTION_PARTIAL,
	OPTION_PREALLOCATE,
	OPTION_PRESERVE,
	OPTION_PREVIOUS,
	OPTION_RECURSIVE,
	OPTION_REPLAY,
	OPTION_SIZE,
	OPTION_SUMMARY,
	OPTION_UPDATE,
	OPTION_VERBOSE,
	OPTION_COUNT,
};

struct option_row {
	enum option_id id;
	char letter;          /* 0: none */
	char second_letter;   /* another of the same meaning; 0: none */
	const char *name;     /* without the dashes */
	const char *argument; /* NULL: takes none */
	const char *help;
};

enum command_flags {
	COMMAND_QUERY = 1 << 0,
	COMMAND_CHANGES = 1 << 1,
};

/* What the operands are, for completion. */
enum operand_kind { OPERAND_NONE, OPERAND_VOLUME, OPERAND_PATH, OPERAND_VERB, OPERAND_SHELL };

struct command {
	const char *name;
	const char *synopsis; /* what follows the name */
	const char *summary;  /* a line, in the imperative */
	const char *text;     /* paragraphs, lines of at most 79 columns */
	const char *examples; /* lines "COMMAND\tMEANING\n" */
	const struct option_row *options;
	uint32_t flags;
	enum operand_kind operand;
	uint32_t operands_min;
	uint32_t operands_max;       /* OPERANDS_ANY: no limit */
	int (*run)(struct cli *cli); /* an exit code; what it reported counts as well */
};

enum { OPERANDS_ANY = UINT32_MAX };

extern const struct command commands[];
extern const size_t command_count;

/* NULL: there is no such command. */
const struct command *command_find(const char *name);

/* The command that was meant by another one's word, or by a misspelled name; NULL: none is near. */
const struct command *command_nearest(const char *name);

struct arguments {
	const char *values[OPTION_COUNT]; /* "" for an option without argument; NULL: not given */
	char **operands;
	size_t count;
};

bool args_has(const struct arguments *args, enum option_id id);
const char *args_value(const struct arguments *args, enum option_id id);

/* `argv[0]` is the verb. Reports misuse and returns its exit code. */
int command_parse(struct cli *cli, int argc, char **argv);

/* The options of a command with those that it shares with others; COMMAND_OPTIONS_MAX at most. */
enum { COMMAND_OPTIONS_MAX = 24 };
size_t command_options(
	const struct command *command, const struct option_row *rows[static COMMAND_OPTIONS_MAX]);

#endif
