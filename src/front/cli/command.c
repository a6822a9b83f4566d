#include "front/cli/command.h"

#include "base/num.h"
#include "front/cli/cli.h"
#include "front/cli/output.h"

#include <assert.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

/* Values of getopt_long() for long options; letters are below. */
enum { LONG_BASE = 256 };

/* A name at most this far from what was typed is worth a question. */
enum { DISTANCE_MAX = 2, VERB_BYTES_MAX = 32 };

static const struct option_row shared_rows[] = {
	{ OPTION_CACHE, 0, 0, "cache", "BYTES", "memory to use at most, such as 64M (256M)" },
	{ OPTION_HELP, 0, 0, "help", NULL, "show this help" },
};
static const struct option_row json_row = { OPTION_JSON, 0, 0, "json", NULL,
	"print one JSON document" };
static const struct option_row no_sync_row = { OPTION_NO_SYNC, 0, 0, "no-sync", NULL,
	"leave the last flush to the kernel; the order is kept" };

const struct command *
command_find(const char *name)
{
	for (size_t i = 0; i < command_count; i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

/* Insertions, deletions, replacements and swaps of neighbours between two short words. */
static size_t
edit_distance(const char *a, const char *b)
{
	size_t cost[VERB_BYTES_MAX + 1][VERB_BYTES_MAX + 1];
	size_t a_bytes = strlen(a);
	size_t b_bytes = strlen(b);

	if (a_bytes > VERB_BYTES_MAX || b_bytes > VERB_BYTES_MAX)
		return VERB_BYTES_MAX;
	for (size_t i = 0; i <= a_bytes; i++) {
		for (size_t j = 0; j <= b_bytes; j++) {
			if (i == 0 || j == 0) {
				cost[i][j] = i + j;
				continue;
			}
			cost[i][j] = min_u64(cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]),
				min_u64(cost[i - 1][j], cost[i][j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				cost[i][j] = min_u64(cost[i][j], cost[i - 2][j - 2] + 1);
		}
	}
	return cost[a_bytes][b_bytes];
}

const struct command *
command_nearest(const char *name)
{
	/* What the same thing is called elsewhere. */
	static const struct {
		const char *word;
		const char *verb;
	} known[] = {
		{ "copy", "cp" },
		{ "create", "init" },
		{ "delete", "rm" },
		{ "dir", "ls" },
		{ "format", "init" },
		{ "fsck", "check" },
		{ "list", "ls" },
		{ "mkfs", "init" },
		{ "move", "mv" },
		{ "remove", "rm" },
		{ "rename", "mv" },
		{ "rmdir", "rm" },
		{ "unlink", "rm" },
		{ "verify", "check" },
	};
	const struct command *nearest = NULL;
	size_t least = DISTANCE_MAX + 1;

	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		if (strcmp(name, known[i].word) == 0)
			return command_find(known[i].verb);
	}
	for (size_t i = 0; i < command_count; i++) {
		size_t distance = edit_distance(name, commands[i].name);

		/* Half of a short name changed is another name. */
		if (distance < least && distance * 2 <= strlen(commands[i].name)) {
			least = distance;
			nearest = &commands[i];
		}
	}
	return nearest;
}

bool
args_has(const struct arguments *args, enum option_id id)
{
	return args->values[id] != NULL;
}

const char *
args_value(const struct arguments *args, enum option_id id)
{
	return args->values[id];
}

size_t
command_options(
	const struct command *command, const struct option_row *rows[static COMMAND_OPTIONS_MAX])
{
	size_t count = 0;

	for (const struct option_row *row = command->options; row && row->id != OPTION_NONE; row++)
		rows[count++] = row;
	if (command->flags & COMMAND_QUERY)
		rows[count++] = &json_row;
	if (command->flags & COMMAND_CHANGES)
		rows[count++] = &no_sync_row;
	for (size_t i = 0; i < ARRAY_COUNT(shared_rows); i++)
		rows[count++] = &shared_rows[i];
	assert(count <= COMMAND_OPTIONS_MAX);
	return count;
}

/* What getopt_long() wants to know; `longs` ends in an empty row. */
static void
fill_getopt(const struct option_row *const *rows, size_t count, struct text *letters,
	struct option longs[static COMMAND_OPTIONS_MAX + 1])
{
	/* The colon makes a missing argument a ':' instead of a message of the C library. */
	text_add_string(letters, ":");
	for (size_t i = 0; i < count; i++) {
		if (rows[i]->letter)
			text_add_format(
				letters, "%c%s", rows[i]->letter, rows[i]->argument ? ":" : "");
		if (rows[i]->second_letter)
			text_add_format(letters, "%c", rows[i]->second_letter);
		longs[i] = (struct option){
			.name = rows[i]->name,
			.has_arg = rows[i]->argument ? required_argument : no_argument,
			.val = LONG_BASE + (int)i,
		};
	}
	longs[count] = (struct option){ 0 };
}

static const struct option_row *
row_of(const struct option_row *const *rows, size_t count, int value)
{
	if (value >= LONG_BASE)
		return rows[value - LONG_BASE];
	for (size_t i = 0; i < count; i++) {
		if (rows[i]->letter == value || rows[i]->second_letter == value)
			return rows[i];
	}
	return NULL;
}

static int
refuse_option(struct cli *cli, int value, char **argv)
{
	/* For a long option optopt is 0 or its value, and the word itself is the one before. */
	if (optopt > 0 && optopt < LONG_BASE) {
		return usage(cli, NULL,
			value == ':' ? "option -%c needs an argument" : "unknown option -%c",
			optopt);
	}
	return usage(cli, NULL,
		value == ':'  ? "option %s needs an argument"
		: optopt == 0 ? "unknown option %s"
			      : "option %s takes no argument",
		argv[optind - 1]);
}

static int
parse_cache(struct cli *cli)
{
	const char *value = args_value(&cli->args, OPTION_CACHE);

	if (!value)
		return EXIT_FINE;
	if (!parse_size(value, &cli->cache_bytes))
		return usage(cli, NULL, "--cache %s is not a size such as 64M", value);
	if (cli->cache_bytes < COP_CACHE_BYTES_MIN)
		return usage(cli, NULL, "--cache %s is too little, the least is %dM", value,
			(int)(COP_CACHE_BYTES_MIN >> 20));
	return EXIT_FINE;
}

static int
check_operands(struct cli *cli)
{
	const struct command *command = cli->command;

	if (cli->args.count < command->operands_min) {
		return usage(cli, NULL, "too few operands: coppice %s %s", command->name,
			command->synopsis);
	}
	if (cli->args.count > command->operands_max) {
		return usage(cli, cli->args.operands[command->operands_max],
			"too many operands: coppice %s %s", command->name, command->synopsis);
	}
	for (size_t i = 0; i < cli->args.count; i++) {
		if (cli->args.operands[i][0] == '\0')
			return usage(cli, NULL, "an empty operand names nothing");
	}
	return EXIT_FINE;
}

int
command_parse(struct cli *cli, int argc, char **argv)
{
	const struct option_row *rows[COMMAND_OPTIONS_MAX];
	struct option longs[COMMAND_OPTIONS_MAX + 1];
	size_t count = command_options(cli->command, rows);
	struct text letters = { 0 };
	int result = EXIT_FINE;
	int value;

	/* "-h" alone asks for help, also where it means human sizes beside operands. */
	if (argc == 2 && strcmp(argv[1], "-h") == 0) {
		cli->args.values[OPTION_HELP] = "";
		return EXIT_FINE;
	}

	fill_getopt(rows, count, &letters, longs);
	while (result == EXIT_FINE &&
		(value = getopt_long(argc, argv, letters.data, longs, NULL)) != -1) {
		const struct option_row *row = row_of(rows, count, value);

		if (row)
			cli->args.values[row->id] = row->argument ? optarg : "";
		else
			result = refuse_option(cli, value, argv);
	}
	text_fini(&letters);
	if (result != EXIT_FINE || args_has(&cli->args, OPTION_HELP))
		return result;

	cli->args.operands = argv + optind;
	cli->args.count = (size_t)(argc - optind);
	result = parse_cache(cli);
	return result != EXIT_FINE ? result : check_operands(cli);
}
