#include "front/cli/interrupt.h"
#include "front/cli/text.h"
#include "front/cli/verbs.h"

#include <stdlib.h>
#include <string.h>

struct move {
	struct cli *cli;
	struct address to;
	struct cop_object *directory; /* where things go */
	const char *name;             /* under which; NULL: under their own */
	size_t name_bytes;
};

static int
is_directory(struct cop_object *object, bool *out_is)
{
	struct cop_attr attr = COP_INIT(attr);
	int err = cop_stat(object, &attr);

	if (!err)
		*out_is = attr.kind == COP_DIRECTORY;
	return err;
}

/* A destination that is a directory takes things in; any other is the name itself. */
static int
find_destination(struct move *move)
{
	struct cop_object *object = NULL;
	bool takes_in = false;
	int err = volumes_walk(move->cli, &move->to, true, 0, &object);

	if (!err)
		err = is_directory(object, &takes_in);
	else if (err == COP_ENOENT && move->cli->volumes.count > 0)
		err = 0;
	if (!err && takes_in)
		move->directory = TAKE(object);
	else if (!err && move->cli->args.count > 2)
		err = fail(COP_ENOTDIR, "several sources need a directory that exists");
	else if (!err)
		err = volumes_walk_parent(move->cli, &move->to, true, &move->directory, &move->name,
			&move->name_bytes);
	cop_release(object);
	return err;
}

static int
move_entry(struct move *move, struct cop_object *parent, const char *name, size_t name_bytes,
	bool slash)
{
	bool no_clobber = args_has(&move->cli->args, OPTION_NO_CLOBBER);
	const char *to_name = move->name ? move->name : name;
	size_t to_bytes = move->name ? move->name_bytes : name_bytes;
	struct cop_object *object = NULL;
	bool directory = false;
	int err = cop_lookup(parent, name, name_bytes, &object);

	if (!err)
		err = is_directory(object, &directory);
	cop_release(object);
	if (err)
		return err;
	if (!directory && (slash || (move->name && path_ends_in_slash(move->to.path))))
		return fail(COP_ENOTDIR, "not a directory");
	if (cop_id(parent) == cop_id(move->directory) && name_bytes == to_bytes &&
		memcmp(name, to_name, name_bytes) == 0)
		return fail(COP_EEXIST, "source and destination are the same");
	err = cop_rename(parent, name, name_bytes, move->directory, to_name, to_bytes,
		no_clobber ? COP_RENAME_NOREPLACE : 0);
	move->cli->has_removed = move->cli->has_removed || !err;
	return no_clobber && err == COP_EEXIST ? 0 : err;
}

static int
move_address(struct move *move, const struct address *from)
{
	struct cop_object *parent = NULL;
	struct cop_volume *volume;
	const char *name;
	size_t name_bytes;
	int err = volumes_open(move->cli, from, false, &volume);

	if (err)
		return err;
	if (volume != cop_volume_of(move->directory) ||
		strcmp(from->version ? from->version : "",
			move->to.version ? move->to.version : "") != 0)
		return fail(COP_EXDEV, "cannot move across volumes or versions");
	err = volumes_walk_parent(move->cli, from, true, &parent, &name, &name_bytes);
	if (!err && name_is_special(name, name_bytes))
		err = fail(COP_EPERM, name_bytes == 0 ? "the root of a volume cannot be moved"
						      : "\".\" and \"..\" cannot be moved");
	else if (!err)
		err = move_entry(move, parent, name, name_bytes, path_ends_in_slash(from->path));
	cop_release(parent);
	return err;
}

static void
move_operand(struct move *move, const char *operand)
{
	struct address from;
	int err;

	move->cli->items++;
	if (volume_address(move->cli, operand, &from) != 0)
		return;
	err = move_address(move, &from);
	if (err == COP_EXDEV)
		complain(move->cli, operand, EXIT_ERROR, "coppice cp -r, then coppice rm -r",
			"cannot move across volumes or versions");
	else if (err == COP_ENOTVOLUME && from.kind != ADDRESS_VOLUME)
		complain(move->cli, operand, EXIT_NOT_A_VOLUME, "coppice cp, then rm",
			"is not in a volume, and mv moves within one");
	else if (err)
		report(move->cli, operand, err);
	address_fini(&from);
}

int
verb_mv(struct cli *cli)
{
	const char *destination = cli->args.operands[cli->args.count - 1];
	struct move move = { .cli = cli };
	int err;

	if (volume_address(cli, destination, &move.to) != 0)
		return EXIT_USAGE;
	err = find_destination(&move);
	if (err) {
		cli->items++;
		report(cli, destination, err);
	}
	for (size_t i = 0; !err && i + 1 < cli->args.count && !interrupt_requested(); i++)
		move_operand(&move, cli->args.operands[i]);
	cop_release(move.directory);
	address_fini(&move.to);
	return EXIT_FINE;
}
