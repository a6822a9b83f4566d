#include "front/cli/interrupt.h"
#include "front/cli/json.h"
#include "front/cli/output.h"
#include "front/cli/verbs.h"

#include <stdio.h>
#include <string.h>

struct checking {
	struct cli *cli;
	struct json *json; /* NULL: text for people */
};

static const char *
class_name(enum cop_problem_class class_)
{
	switch (class_) {
	case COP_PROBLEM_SUPERBLOCK:
		return "superblock";
	case COP_PROBLEM_ALLOCATION:
		return "allocation";
	case COP_PROBLEM_NODE:
		return "node";
	case COP_PROBLEM_STRUCTURE:
		return "structure";
	case COP_PROBLEM_DATA:
		return "data";
	case COP_PROBLEM_LEAK:
		return "leak";
	case COP_PROBLEM_COPY:
		return "copy";
	case COP_PROBLEM_JOURNAL:
		return "journal";
	}
	return "unknown";
}

static void
put_problem(struct json *json, const struct cop_problem *problem)
{
	json_object(json, NULL);
	json_string(json, "class", class_name(problem->class_));
	json_id(json, "object", problem->object);
	if (problem->path)
		json_string(json, "path", problem->path);
	json_unsigned(json, "offset", problem->offset);
	json_unsigned(json, "bytes", problem->bytes);
	json_unsigned(json, "block", problem->block);
	json_string(json, "text", problem->text ? problem->text : "");
	json_close(json);
}

static void
print_problem(const struct cli *cli, const struct cop_problem *problem)
{
	(void)printf("%s: ", class_name(problem->class_));
	if (problem->path) {
		print_name(cli, problem->path, strlen(problem->path));
		(void)fputs(": ", stdout);
	} else if (problem->object != 0) {
		(void)printf("object %" PRIu64 ": ", problem->object);
	}
	if (problem->bytes > 0)
		(void)printf("bytes %" PRIu64 "-%" PRIu64 ": ", problem->offset,
			problem->offset + problem->bytes - 1);
	if (problem->block != 0)
		(void)printf("block %" PRIu64 ": ", problem->block);
	(void)printf("%s\n", problem->text ? problem->text : "");
}

static void
on_problem(void *context, const struct cop_problem *problem)
{
	struct checking *checking = context;

	progress_clear(&checking->cli->progress);
	if (checking->json)
		put_problem(checking->json, problem);
	else
		print_problem(checking->cli, problem);
}

static bool
on_progress(void *context, const struct cop_check_progress *progress)
{
	struct checking *checking = context;

	progress_set(&checking->cli->progress, progress->done_bytes, progress->total_bytes);
	return !interrupt_requested();
}

static void
put_result(struct json *json, const struct cop_check_result *result)
{
	json_unsigned(json, "problem_count", result->problems);
	json_unsigned(json, "objects", result->objects);
	json_unsigned(json, "nodes", result->nodes);
	json_unsigned(json, "extents", result->extents);
	json_unsigned(json, "data_blocks", result->data_blocks);
	json_unsigned(json, "verified_bytes", result->verified_bytes);
}

static void
print_result(const struct cli *cli, const char *operand, const struct cop_check_result *result)
{
	char verified[SIZE_TEXT_BYTES];

	format_size(result->verified_bytes, verified);
	print_name(cli, operand, strlen(operand));
	if (result->problems == 0)
		(void)fputs(": sound", stdout);
	else
		(void)printf(": %" PRIu64 " problem%s", result->problems,
			result->problems == 1 ? "" : "s");
	(void)printf("; %" PRIu64 " objects, %" PRIu64 " nodes, %" PRIu64 " extents, %s verified\n",
		result->objects, result->nodes, result->extents, verified);
}

static int
check(struct cli *cli, const struct address *address, struct checking *checking,
	struct cop_check_result *result)
{
	struct cop_check_options options = COP_INIT(options);

	options.flags = args_has(&cli->args, OPTION_METADATA) ? COP_CHECK_METADATA : 0;
	options.cache_bytes = cli->cache_bytes;
	options.problem = on_problem;
	options.progress = on_progress;
	options.context = checking;
	return cop_check(address->device, &options, result);
}

int
verb_check(struct cli *cli)
{
	const char *operand = cli->args.operands[0];
	struct cop_check_result result = COP_INIT(result);
	struct checking checking = { .cli = cli };
	struct address address;
	struct json json;
	int err;

	if (volume_whole(cli, operand, &address) != 0)
		return EXIT_USAGE;
	cli->items++;
	if (args_has(&cli->args, OPTION_JSON)) {
		checking.json = &json;
		json_begin(&json, stdout, "coppice.check/1");
		json_string(&json, "volume", operand);
		json_array(&json, "problems");
	}
	err = check(cli, &address, &checking, &result);
	if (checking.json) {
		json_close(&json);
		json_bool(&json, "finished", !err);
		put_result(&json, &result);
		json_end(&json);
	} else if (!err) {
		print_result(cli, operand, &result);
	}
	if (err)
		report(cli, operand, err);
	else if (result.problems > 0)
		complain_of_problems(cli, operand, result.problems);
	address_fini(&address);
	return EXIT_FINE;
}
