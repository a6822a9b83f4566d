#include "front/cli/verbs.h"

#include <stdio.h>
#include <string.h>

/* Opens for writing, which makes what can be had of the journal durable, and closes properly. */
static int
repair(struct cli *cli, const struct address *address)
{
	struct cop_open_options options = COP_INIT(options);
	struct cop_volume *volume;
	int err;

	options.accept_loss = args_has(&cli->args, OPTION_ACCEPT_LOSS);
	options.cache_bytes = cli->cache_bytes;
	err = cop_open(address->device, &options, &volume);
	if (err)
		return err;
	return cop_close(volume);
}

int
verb_repair(struct cli *cli)
{
	const char *operand = cli->args.operands[0];
	struct address address;
	int err;

	if (volume_whole(cli, operand, &address) != 0)
		return EXIT_USAGE;
	cli->items++;
	err = repair(cli, &address);
	address_fini(&address);
	if (err) {
		report(cli, operand, err);
		return EXIT_FINE;
	}
	print_name(cli, operand, strlen(operand));
	(void)fputs(": can be written\n", stdout);
	return EXIT_FINE;
}
