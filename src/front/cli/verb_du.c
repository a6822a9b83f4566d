/*
 * du walks with an explicit stack of directories, and adds up on the way back.
 */

#include "base/num.h"
#include "front/cli/entries.h"
#include "front/cli/idset.h"
#include "front/cli/interrupt.h"
#include "front/cli/json.h"
#include "front/cli/output.h"
#include "front/cli/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct level {
	struct cop_object *directory;
	struct entries_reader reader;
	size_t path_bytes; /* of the path before this level */
	uint64_t allocated_bytes;
	uint64_t objects;
};

struct tally {
	struct cli *cli;
	const struct address *address;
	struct json *json; /* NULL: text for people */
	struct level *levels;
	size_t depth;
	size_t capacity;
	struct text path;
	struct idset counted; /* files of several names that have been counted */
};

static void
show(struct tally *tally, const char *path, uint64_t allocated_bytes, uint64_t objects)
{
	char size[2 * SIZE_TEXT_BYTES];
	char *object;

	if (tally->json) {
		json_object(tally->json, NULL);
		json_string(tally->json, "path", path);
		json_unsigned(tally->json, "allocated_bytes", allocated_bytes);
		json_unsigned(tally->json, "objects", objects);
		json_close(tally->json);
		return;
	}
	if (args_has(&tally->cli->args, OPTION_HUMAN))
		format_size(allocated_bytes, size);
	else
		(void)snprintf(size, sizeof size, "%" PRIu64, div_up(allocated_bytes, 1024));
	object = address_with_path(tally->address, path);
	(void)printf("%s\t", size);
	print_name(tally->cli, object, strlen(object));
	(void)putchar('\n');
	free(object);
}

static void
report_here(struct tally *tally, int code)
{
	char *object = address_with_path(tally->address, text_string(&tally->path));

	report(tally->cli, object, code);
	free(object);
}

static void
enter(struct tally *tally, struct cop_object *directory, size_t path_bytes, uint64_t allocated)
{
	struct level *level;

	if (tally->depth == tally->capacity) {
		tally->capacity = 2 * tally->capacity + 16;
		tally->levels = need_more(tally->levels, tally->capacity, sizeof *tally->levels);
	}
	level = &tally->levels[tally->depth++];
	*level = (struct level){
		.directory = directory,
		.path_bytes = path_bytes,
		.allocated_bytes = allocated,
		.objects = 1,
	};
	entries_reader_init(&level->reader, directory);
}

static void
leave(struct tally *tally)
{
	struct level *level = &tally->levels[--tally->depth];

	if (tally->depth == 0 || !args_has(&tally->cli->args, OPTION_SUMMARY))
		show(tally, text_string(&tally->path), level->allocated_bytes, level->objects);
	if (tally->depth > 0) {
		tally->levels[tally->depth - 1].allocated_bytes += level->allocated_bytes;
		tally->levels[tally->depth - 1].objects += level->objects;
	}
	text_cut(&tally->path, level->path_bytes);
	entries_reader_fini(&level->reader);
	cop_release(level->directory);
}

/* True the first time that a file is met under any of its names. */
static bool
is_new(struct tally *tally, const struct cop_attr *attr)
{
	if (attr->links < 2 || attr->kind == COP_DIRECTORY)
		return true;
	if (idset_find(&tally->counted, 0, attr->id))
		return false;
	(void)idset_insert(&tally->counted, 0, attr->id);
	return true;
}

static void
count_entry(struct tally *tally, const struct entry *entry, const char *name)
{
	struct level *level = &tally->levels[tally->depth - 1];
	struct cop_attr attr = COP_INIT(attr);
	struct cop_object *object = NULL;
	size_t path_bytes = tally->path.bytes;
	int err;

	tally->cli->items++;
	progress_add(&tally->cli->progress, 1, 0);
	text_add_name(&tally->path, name, entry->name_bytes);
	err = cop_lookup(level->directory, name, entry->name_bytes, &object);
	if (!err)
		err = cop_stat(object, &attr);
	if (err) {
		report_here(tally, err);
	} else if (attr.kind == COP_DIRECTORY) {
		enter(tally, object, path_bytes, attr.allocated_bytes);
		return;
	} else if (is_new(tally, &attr)) {
		level->allocated_bytes += attr.allocated_bytes;
		level->objects++;
	}
	text_cut(&tally->path, path_bytes);
	cop_release(object);
}

static void
walk(struct tally *tally)
{
	while (tally->depth > 0) {
		const struct entry *entry = NULL;
		const char *name;
		int err = 0;

		if (!interrupt_requested())
			err = entries_reader_next(
				&tally->levels[tally->depth - 1].reader, &entry, &name);
		if (err)
			report_here(tally, err);
		if (entry)
			count_entry(tally, entry, name);
		else
			leave(tally);
	}
}

static void
count_operand(struct tally *tally, const char *operand)
{
	struct cop_attr attr = COP_INIT(attr);
	struct cop_object *object = NULL;
	struct address address;
	int err;

	if (volume_address(tally->cli, operand, &address) != 0)
		return;
	tally->cli->items++;
	tally->address = &address;
	err = volumes_walk(tally->cli, &address, false,
		path_ends_in_slash(address.path) ? 0 : COP_WALK_NOFOLLOW, &object);
	if (!err)
		err = cop_stat(object, &attr);
	if (err) {
		report(tally->cli, operand, err);
	} else if (attr.kind == COP_DIRECTORY) {
		text_cut(&tally->path, 0);
		text_add_string(&tally->path, address.path);
		enter(tally, TAKE(object), 0, attr.allocated_bytes);
		walk(tally);
	} else {
		show(tally, address.path, attr.allocated_bytes, 1);
	}
	cop_release(object);
	address_fini(&address);
}

int
verb_du(struct cli *cli)
{
	struct tally tally = { .cli = cli };
	struct json json;

	if (args_has(&cli->args, OPTION_JSON)) {
		tally.json = &json;
		json_begin(&json, stdout, "coppice.du/1");
		json_array(&json, "entries");
	}
	for (size_t i = 0; i < cli->args.count && !interrupt_requested(); i++)
		count_operand(&tally, cli->args.operands[i]);
	if (tally.json) {
		json_close(&json);
		json_end(&json);
	}
	idset_fini(&tally.counted);
	text_fini(&tally.path);
	free(tally.levels);
	return EXIT_FINE;
}
