#include "front/cli/document.h"
#include "front/cli/interrupt.h"
#include "front/cli/json.h"
#include "front/cli/output.h"
#include "front/cli/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dumping {
	struct cli *cli;
	struct json *json; /* NULL: text for people */
	struct json json_memory;
	struct document document;
};

/* ---- What is asked for ----------------------------------------------------------------------- */

static const struct {
	const char *word;
	enum cop_dump_what what;
	bool has_name;
} whats[] = {
	{ "superblocks", COP_DUMP_SUPERBLOCKS, false },
	{ "groups", COP_DUMP_GROUPS, false },
	{ "journal", COP_DUMP_JOURNAL, false },
	{ "trees", COP_DUMP_TREES, false },
	{ "tree", COP_DUMP_TREE, true },
	{ "node", COP_DUMP_NODE, true },
	{ "object", COP_DUMP_OBJECT, true },
};

static const struct {
	const char *word;
	enum cop_dump_tree tree;
} trees[] = {
	{ "catalog", COP_DUMP_CATALOG },
	{ "objects", COP_DUMP_OBJECTS },
	{ "shares", COP_DUMP_SHARES },
	{ "content:", COP_DUMP_CONTENT },
	{ "directory:", COP_DUMP_DIRECTORY },
	{ "dead:", COP_DUMP_DEAD },
};

/* Digits of base 10 and nothing else. */
static bool
parse_number(const char *text, uint64_t *out_number)
{
	uint64_t number = 0;

	if (*text == '\0')
		return false;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9' || __builtin_mul_overflow(number, 10, &number) ||
			__builtin_add_overflow(number, (uint64_t)(*text - '0'), &number))
			return false;
	}
	*out_number = number;
	return true;
}

static bool
parse_tree(const char *name, struct cop_dump_options *options)
{
	for (size_t i = 0; i < sizeof trees / sizeof trees[0]; i++) {
		size_t bytes = strlen(trees[i].word);

		if (strncmp(name, trees[i].word, bytes) != 0)
			continue;
		options->tree = trees[i].tree;
		return trees[i].word[bytes - 1] == ':'
			       ? parse_number(name + bytes, &options->number)
			       : name[bytes] == '\0';
	}
	return false;
}

static bool
parse_name(const char *name, struct cop_dump_options *options)
{
	if (options->what == COP_DUMP_TREE)
		return parse_tree(name, options);
	if (options->what == COP_DUMP_NODE)
		return parse_number(name, &options->block);
	if (parse_number(name, &options->number))
		return true;
	options->path = name;
	return name[0] == '/';
}

static int
parse_what(struct cli *cli, struct cop_dump_options *options)
{
	const char *word = cli->args.count > 1 ? cli->args.operands[1] : whats[0].word;
	const char *name = cli->args.count > 2 ? cli->args.operands[2] : NULL;

	for (size_t i = 0; i < sizeof whats / sizeof whats[0]; i++) {
		if (strcmp(word, whats[i].word) != 0)
			continue;
		options->what = whats[i].what;
		if (whats[i].has_name && !name)
			return usage(cli, word, "which one?");
		if (!whats[i].has_name && name)
			return usage(cli, name, "%s takes no name", word);
		if (name && !parse_name(name, options))
			return usage(cli, name, "names no %s", word);
		return EXIT_FINE;
	}
	return usage(cli, word, "there is no such thing to show");
}

static void
take_flags(const struct cli *cli, struct cop_dump_options *options)
{
	if (args_has(&cli->args, OPTION_ALL))
		options->flags |= COP_DUMP_ALL;
	if (args_has(&cli->args, OPTION_PREVIOUS))
		options->flags |= COP_DUMP_PREVIOUS;
	if (args_has(&cli->args, OPTION_REPLAY))
		options->flags |= COP_DUMP_REPLAY;
	options->cache_bytes = cli->cache_bytes;
}

/* ---- What comes ------------------------------------------------------------------------------ */

static void
put_json(struct json *json, const struct cop_dump_item *item)
{
	switch (item->type) {
	case COP_DUMP_BEGIN_OBJECT:
		json_object(json, item->name);
		break;
	case COP_DUMP_BEGIN_ARRAY:
		json_array(json, item->name);
		break;
	case COP_DUMP_END:
		json_close(json);
		break;
	case COP_DUMP_UNSIGNED:
		json_unsigned(json, item->name, item->number);
		break;
	case COP_DUMP_SIGNED:
		json_signed(json, item->name, (int64_t)item->number);
		break;
	case COP_DUMP_BOOL:
		json_bool(json, item->name, item->number != 0);
		break;
	case COP_DUMP_ID:
		json_id(json, item->name, item->number);
		break;
	case COP_DUMP_WORD:
		json_word(json, item->name, item->number);
		break;
	case COP_DUMP_TEXT:
		json_bytes(json, item->name, item->data, item->bytes);
		break;
	case COP_DUMP_BYTES:
		json_hex(json, item->name, item->data, item->bytes);
		break;
	}
}

static bool
on_item(void *context, const struct cop_dump_item *item)
{
	struct dumping *dumping = context;

	if (dumping->json)
		put_json(dumping->json, item);
	else
		document_put(&dumping->document, item);
	return !interrupt_requested();
}

static void
begin(struct dumping *dumping, const char *operand)
{
	const struct arguments *args = &dumping->cli->args;

	if (!args_has(args, OPTION_JSON)) {
		document_begin(&dumping->document, stdout);
		return;
	}
	dumping->json = &dumping->json_memory;
	json_begin(dumping->json, stdout, "coppice.dump/1");
	json_string(dumping->json, "volume", operand);
	json_string(dumping->json, "what", args->count > 1 ? args->operands[1] : whats[0].word);
}

/* A document that was begun is finished, also when the dump ended in the middle. */
static void
end(struct dumping *dumping, bool is_finished, uint64_t problems)
{
	if (!dumping->json) {
		document_end(&dumping->document);
		return;
	}
	while (dumping->json->depth > 1)
		json_close(dumping->json);
	json_bool(dumping->json, "finished", is_finished);
	json_unsigned(dumping->json, "problem_count", problems);
	json_end(dumping->json);
}

/* What may be in a journal that was not looked through; else what there is. */
static void
add_hint(struct text *hint, const struct cli *cli, const struct address *address, bool has_journal)
{
	bool may_be_there = has_journal && !args_has(&cli->args, OPTION_REPLAY);

	text_add_string(hint, may_be_there ? "coppice dump --replay " : "coppice dump ");
	text_add_quoted(hint, address->device);
	for (size_t i = 1; i < cli->args.count && may_be_there; i++) {
		text_add_string(hint, " ");
		text_add_quoted(hint, cli->args.operands[i]);
	}
	if (!may_be_there)
		text_add_string(hint, " trees");
}

/* The volume, or what was to be shown of it. */
static void
report_missing(struct cli *cli, const char *operand, const struct address *address)
{
	struct cop_volume_info info = COP_INIT(info);
	char *text = need_copy(cop_error_text());
	struct text hint = { 0 };
	const bool is_path = cli->args.count == 3 && cli->args.operands[2][0] == '/';
	int err = cop_probe(address->device, &info);

	if (err) {
		report(cli, operand, err);
	} else {
		add_hint(&hint, cli, address, !info.clean);
		complain(cli, operand, EXIT_NOT_FOUND, hint.data, "%s%s%s",
			is_path ? cli->args.operands[2] : "", is_path ? ": " : "", text);
	}
	text_fini(&hint);
	free(text);
}

int
verb_dump(struct cli *cli)
{
	const char *operand = cli->args.operands[0];
	struct cop_dump_options options = COP_INIT(options);
	struct cop_dump_result result = COP_INIT(result);
	struct dumping dumping = { .cli = cli };
	struct address address;
	int err;

	if (parse_what(cli, &options) != EXIT_FINE)
		return EXIT_USAGE;
	if (volume_whole(cli, operand, &address) != 0)
		return EXIT_USAGE;
	cli->items++;
	take_flags(cli, &options);
	options.item = on_item;
	options.context = &dumping;
	begin(&dumping, operand);
	err = cop_dump(address.device, &options, &result);
	end(&dumping, !err, result.problems);
	if (err == COP_ENOENT)
		report_missing(cli, operand, &address);
	else if (err)
		report(cli, operand, err);
	else if (result.problems > 0)
		complain_of_problems(cli, operand, result.problems);
	address_fini(&address);
	return EXIT_FINE;
}
