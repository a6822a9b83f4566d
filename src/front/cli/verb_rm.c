/*
 * rm walks with an explicit stack of directories: files go as they are met, a directory when all
 * in it has gone. Where something could not be removed, the directories above it stay as well,
 * and only the cause is reported.
 */

#include "front/cli/entries.h"
#include "front/cli/interrupt.h"
#include "front/cli/verbs.h"

#include <stdlib.h>

struct level {
	struct cop_object *directory;
	struct entries_reader reader;
	char *name; /* in the level above */
	size_t name_bytes;
	size_t path_bytes; /* of the path before this level */
	bool keeps_something;
};

struct removal {
	struct cli *cli;
	const struct address *address;
	struct cop_object *parent; /* of the operand; borrowed */
	struct level *levels;
	size_t depth;
	size_t capacity;
	struct text path;
};

static void
report_here(struct removal *removal, int code)
{
	char *object = address_with_path(removal->address, text_string(&removal->path));

	report(removal->cli, object, code);
	if (removal->depth > 0)
		removal->levels[removal->depth - 1].keeps_something = true;
	free(object);
}

static void
enter(struct removal *removal, struct cop_object *directory, const char *name, size_t name_bytes,
	size_t path_bytes)
{
	struct level *level;

	if (removal->depth == removal->capacity) {
		removal->capacity = 2 * removal->capacity + 16;
		removal->levels =
			need_more(removal->levels, removal->capacity, sizeof *removal->levels);
	}
	level = &removal->levels[removal->depth++];
	*level = (struct level){
		.directory = directory,
		.name = need_copy_of(name, name_bytes),
		.name_bytes = name_bytes,
		.path_bytes = path_bytes,
	};
	entries_reader_init(&level->reader, directory);
}

static int
unlink_name(struct removal *removal, struct cop_object *directory, const char *name,
	size_t name_bytes, uint32_t flags)
{
	int err = cop_unlink(directory, name, name_bytes, flags);

	removal->cli->has_removed = removal->cli->has_removed || !err;
	return err;
}

static void
leave(struct removal *removal)
{
	struct level level = removal->levels[--removal->depth];
	struct cop_object *above = removal->depth > 0
					   ? removal->levels[removal->depth - 1].directory
					   : removal->parent;
	int err;

	entries_reader_fini(&level.reader);
	cop_release(level.directory);
	if (!level.keeps_something && !interrupt_requested()) {
		err = unlink_name(
			removal, above, level.name, level.name_bytes, COP_UNLINK_DIRECTORY);
		if (err)
			report_here(removal, err);
	} else if (removal->depth > 0) {
		removal->levels[removal->depth - 1].keeps_something = true;
	}
	text_cut(&removal->path, level.path_bytes);
	free(level.name);
}

static void
remove_entry(struct removal *removal, const struct entry *entry, const char *name)
{
	struct level *level = &removal->levels[removal->depth - 1];
	struct cop_object *below = NULL;
	size_t path_bytes = removal->path.bytes;
	int err;

	removal->cli->items++;
	progress_add(&removal->cli->progress, 1, 0);
	text_add_name(&removal->path, name, entry->name_bytes);
	if (entry->kind == COP_DIRECTORY) {
		err = cop_lookup(level->directory, name, entry->name_bytes, &below);
		if (!err) {
			enter(removal, below, name, entry->name_bytes, path_bytes);
			return;
		}
	} else {
		err = unlink_name(
			removal, level->directory, name, entry->name_bytes, COP_UNLINK_FILE);
	}
	if (err)
		report_here(removal, err);
	text_cut(&removal->path, path_bytes);
}

static void
walk(struct removal *removal)
{
	while (removal->depth > 0) {
		const struct entry *entry = NULL;
		const char *name;
		int err = 0;

		if (!interrupt_requested())
			err = entries_reader_next(
				&removal->levels[removal->depth - 1].reader, &entry, &name);
		if (err)
			report_here(removal, err);
		if (entry)
			remove_entry(removal, entry, name);
		else
			leave(removal);
	}
}

static void
remove_named(struct removal *removal, const char *name, size_t name_bytes)
{
	struct cli *cli = removal->cli;
	const char *operand = removal->address->operand;
	struct cop_attr attr = COP_INIT(attr);
	struct cop_object *object = NULL;
	int err = cop_lookup(removal->parent, name, name_bytes, &object);

	if (!err)
		err = cop_stat(object, &attr);
	if (!err && attr.kind != COP_DIRECTORY && path_ends_in_slash(removal->address->path))
		err = fail(COP_ENOTDIR, "not a directory");
	if (!err && attr.kind != COP_DIRECTORY)
		err = unlink_name(removal, removal->parent, name, name_bytes, COP_UNLINK_FILE);
	if (err) {
		if (err != COP_ENOENT || !args_has(&cli->args, OPTION_FORCE))
			report(cli, operand, err);
	} else if (attr.kind == COP_DIRECTORY) {
		if (args_has(&cli->args, OPTION_RECURSIVE)) {
			text_add_string(&removal->path, removal->address->path);
			enter(removal, TAKE(object), name, name_bytes, 0);
			walk(removal);
		} else {
			complain_of(cli, operand, EXIT_ERROR, "coppice rm -r", "is a directory");
		}
	}
	cop_release(object);
}

static bool
is_volume(const char *device)
{
	struct cop_volume_info info = COP_INIT(info);
	bool is = cop_probe(device, &info) == 0;

	err_clear();
	return is;
}

static void
remove_operand(struct cli *cli, const char *operand)
{
	struct removal removal = { .cli = cli };
	struct address address;
	const char *name;
	size_t name_bytes;
	int err;

	cli->items++;
	if (volume_address(cli, operand, &address) != 0)
		return;
	removal.address = &address;
	path_last(address.path, &name, &name_bytes);
	if (name_bytes == 0) {
		complain(cli, operand, EXIT_NOT_PERMITTED,
			address.has_path ? NULL : "coppice rm VOLUME:/PATH", "%s",
			address.has_path || is_volume(address.device)
				? "the root of a volume cannot be removed"
				: "is not in a volume");
	} else if (name_is_special(name, name_bytes)) {
		complain(cli, operand, EXIT_NOT_PERMITTED, NULL,
			"\".\" and \"..\" cannot be removed; name the directory itself");
	} else {
		err = volumes_walk_parent(cli, &address, true, &removal.parent, &name, &name_bytes);
		if (!err)
			remove_named(&removal, name, name_bytes);
		else if (err != COP_ENOENT || cli->volumes.count == 0 ||
			 !args_has(&cli->args, OPTION_FORCE))
			report(cli, operand, err);
		cop_release(removal.parent);
	}
	text_fini(&removal.path);
	free(removal.levels);
	address_fini(&address);
}

int
verb_rm(struct cli *cli)
{
	for (size_t i = 0; i < cli->args.count && !interrupt_requested(); i++)
		remove_operand(cli, cli->args.operands[i]);
	return EXIT_FINE;
}
