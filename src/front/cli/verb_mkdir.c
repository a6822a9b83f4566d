#include "base/num.h"
#include "front/cli/text.h"
#include "front/cli/verbs.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct cop_new
new_directory(void)
{
	struct cop_new new = COP_INIT(new);
	mode_t mask = umask(0);

	(void)umask(mask);
	new.kind = COP_DIRECTORY;
	new.mode = 0777 & ~(uint32_t)mask;
	new.uid = geteuid();
	new.gid = getegid();
	return new;
}

static int
make_one(struct cli *cli, const struct address *address)
{
	struct cop_new new = new_directory();
	struct cop_object *parent = NULL;
	const char *name;
	size_t name_bytes;
	int err = volumes_walk_parent(cli, address, true, &parent, &name, &name_bytes);

	if (err)
		return err;
	if (name_is_special(name, name_bytes))
		err = fail(COP_EEXIST, "the directory exists already");
	else
		err = cop_create(parent, name, name_bytes, &new, NULL);
	cop_release(parent);
	return err;
}

/* One step of mkdir -p: replaces *directory by the one of this name in it, made if need be. */
static int
step_down(struct cop_object **directory, const char *name, size_t name_bytes)
{
	struct cop_new new = new_directory();
	struct cop_object *below = NULL;
	char *word = need_copy_of(name, name_bytes);
	int err = cop_walk(*directory, word, 0, &below);

	if (err == COP_ENOENT && !name_is_special(name, name_bytes))
		err = cop_create(*directory, name, name_bytes, &new, &below);
	free(word);
	if (err)
		return err;
	cop_release(*directory);
	*directory = below;
	return 0;
}

static int
require_directory(struct cop_object *object)
{
	struct cop_attr attr = COP_INIT(attr);
	int err = cop_stat(object, &attr);

	if (!err && attr.kind != COP_DIRECTORY)
		err = fail(COP_ENOTDIR, "exists, and is no directory");
	return err;
}

static int
make_path(struct cli *cli, const struct address *address)
{
	struct cop_object *directory;
	const char *at = address->path;
	int err = volumes_root(cli, address, true, &directory);

	if (err)
		return err;
	while (!err && *at != '\0') {
		size_t bytes = strcspn(at, "/");

		if (bytes > 0)
			err = step_down(&directory, at, bytes);
		if (err == COP_ENOTDIR)
			err = fail(COP_ENOTDIR, "%.*s is not a directory",
				(int)max_u64((uint64_t)(at - address->path) - 1, 1), address->path);
		at += bytes + strspn(at + bytes, "/");
	}
	if (!err)
		err = require_directory(directory);
	cop_release(directory);
	return err;
}

int
verb_mkdir(struct cli *cli)
{
	for (size_t i = 0; i < cli->args.count; i++) {
		const char *operand = cli->args.operands[i];
		struct address address;
		int err;

		cli->items++;
		if (volume_address(cli, operand, &address) != 0)
			continue;
		err = args_has(&cli->args, OPTION_PARENTS) ? make_path(cli, &address)
							   : make_one(cli, &address);
		if (err == COP_ENOENT && !args_has(&cli->args, OPTION_PARENTS) &&
			cli->volumes.count > 0)
			complain_of(cli, operand, EXIT_NOT_FOUND, "coppice mkdir -p",
				"a directory above it does not exist");
		else if (err)
			report(cli, operand, err);
		address_fini(&address);
	}
	return EXIT_FINE;
}
