#include "front/cli/verbs.h"

#include <stdio.h>

/*
 * Opening for writing and syncing makes durable what a process that was killed had left to the
 * kernel. A volume that cannot be written has nothing to be made durable by us.
 */
static int
sync_volume(struct cli *cli, const struct address *address)
{
	struct cop_volume_info info = COP_INIT(info);
	struct cop_volume *volume;
	int err = cop_probe(address->device, &info);

	if (err)
		return err;
	err = volumes_open(cli, address, true, &volume);
	if (err == COP_EROFS || err == COP_EACCES)
		return 0;
	return err ? err : cop_sync(volume);
}

int
verb_sync(struct cli *cli)
{
	for (size_t i = 0; i < cli->args.count; i++) {
		const char *operand = cli->args.operands[i];
		struct address address;
		int err;

		cli->items++;
		if (volume_address(cli, operand, &address) != 0)
			continue;
		err = sync_volume(cli, &address);
		if (err)
			report(cli, operand, err);
		address_fini(&address);
	}
	return EXIT_FINE;
}
