#include "device/device.h"
#include "front/cli/output.h"
#include "front/cli/verbs.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* False, and said, when the value of a size option is none. */
static bool
read_size(struct cli *cli, enum option_id id, const char *name, uint64_t *out_bytes)
{
	const char *value = args_value(&cli->args, id);

	if (!value || parse_size(value, out_bytes))
		return true;
	(void)usage(cli, NULL, "--%s %s is not a size such as 64M", name, value);
	return false;
}

static bool
read_options(struct cli *cli, struct cop_format_options *options)
{
	uint64_t node_bytes = 0;
	uint64_t copies = 0;

	if (!read_size(cli, OPTION_SIZE, "size", &options->volume_bytes) ||
		!read_size(cli, OPTION_NODE_SIZE, "node-size", &node_bytes) ||
		!read_size(cli, OPTION_JOURNAL, "journal", &options->journal_bytes) ||
		!read_size(cli, OPTION_COPIES, "metadata-copies", &copies))
		return false;
	if (args_has(&cli->args, OPTION_SIZE) && options->volume_bytes == 0) {
		(void)usage(cli, NULL, "--size 0: a volume has at least %d MiB",
			(int)(COP_VOLUME_BYTES_MIN >> 20));
		return false;
	}
	if (node_bytes > 65536 || (args_has(&cli->args, OPTION_NODE_SIZE) && node_bytes == 0)) {
		(void)usage(cli, NULL, "--node-size is a power of two from 4K to 64K");
		return false;
	}
	if (args_has(&cli->args, OPTION_COPIES) && (copies < 1 || copies > 2)) {
		(void)usage(cli, NULL, "--metadata-copies is 1 or 2");
		return false;
	}
	options->label = args_value(&cli->args, OPTION_LABEL);
	if (options->label && strlen(options->label) > COP_LABEL_BYTES_MAX) {
		(void)usage(cli, NULL, "a label has at most %d bytes", COP_LABEL_BYTES_MAX);
		return false;
	}
	options->node_bytes = (uint32_t)node_bytes;
	options->metadata_copies = (uint32_t)copies;
	options->preallocate = args_has(&cli->args, OPTION_PREALLOCATE);
	options->force = args_has(&cli->args, OPTION_FORCE);
	return true;
}

static bool
exists(const char *device)
{
	const char *path;

	return !device_url_is_host_path(device, &path) || access(path, F_OK) == 0;
}

/* Refusals whose remedy is another way to call init. */
static void
report_init(struct cli *cli, const struct address *address,
	const struct cop_format_options *options, int code)
{
	struct text hint = { 0 };

	text_add_string(&hint, "coppice init ");
	if (code == COP_EEXIST) {
		text_add_string(&hint, "--force ");
		if (args_has(&cli->args, OPTION_SIZE))
			text_add_format(&hint, "--size %s ", args_value(&cli->args, OPTION_SIZE));
		text_add_quoted(&hint, address->device);
		complain(cli, address->operand, EXIT_ERROR, hint.data,
			"is not empty; --force overwrites it, and all in it is lost");
	} else if (options->volume_bytes == 0 && !exists(address->device)) {
		text_add_string(&hint, "--size 64M ");
		text_add_quoted(&hint, address->device);
		complain(cli, address->operand, EXIT_USAGE, hint.data,
			"does not exist, and a new file needs --size");
	} else {
		report(cli, address->operand, code);
	}
	text_fini(&hint);
}

int
verb_init(struct cli *cli)
{
	struct cop_format_options options = COP_INIT(options);
	struct address address;
	int err;

	if (volume_whole(cli, cli->args.operands[0], &address) != 0)
		return EXIT_USAGE;
	cli->items++;
	if (read_options(cli, &options)) {
		err = cop_format(address.device, &options);
		if (err)
			report_init(cli, &address, &options, err);
	}
	address_fini(&address);
	return EXIT_FINE;
}
