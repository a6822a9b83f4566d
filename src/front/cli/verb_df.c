#include "base/num.h"
#include "front/cli/json.h"
#include "front/cli/output.h"
#include "front/cli/verbs.h"

#include <stdio.h>
#include <string.h>

static void
print_figure(const struct cli *cli, uint64_t bytes)
{
	char size[SIZE_TEXT_BYTES];

	if (args_has(&cli->args, OPTION_HUMAN)) {
		format_size(bytes, size);
		(void)printf(" %12s", size);
	} else {
		(void)printf(" %12" PRIu64, div_up(bytes, 1024));
	}
}

static void
print_row(const struct cli *cli, const char *operand, const struct cop_space *space)
{
	uint64_t taken = space->volume_bytes - min_u64(space->available_bytes, space->volume_bytes);

	print_figure(cli, space->volume_bytes);
	print_figure(cli, space->used_bytes);
	print_figure(cli, space->free_bytes);
	print_figure(cli, space->available_bytes);
	print_figure(cli, space->pending_bytes);
	(void)printf(" %3.0f%% ",
		space->volume_bytes > 0 ? (double)taken * 100 / (double)space->volume_bytes : 0);
	print_name(cli, operand, strlen(operand));
	(void)putchar('\n');
}

static void
print_json(const char *operand, const struct cop_space *space, const struct cop_survey *survey)
{
	struct json json;

	json_begin(&json, stdout, "coppice.df/1");
	json_string(&json, "volume", operand);
	json_unsigned(&json, "size_bytes", space->volume_bytes);
	json_unsigned(&json, "used_bytes", space->used_bytes);
	json_unsigned(&json, "free_bytes", space->free_bytes);
	json_unsigned(&json, "available_bytes", space->available_bytes);
	json_unsigned(&json, "pending_bytes", space->pending_bytes);
	json_unsigned(&json, "objects", space->objects);
	json_unsigned(&json, "groups", survey->groups);
	json_unsigned(&json, "closed_groups", survey->closed_groups);
	json_unsigned(&json, "closed_bytes", survey->closed_bytes);
	json_end(&json);
}

/* Free space where nothing can be stored counts as used. */
static void
take_closed(struct cop_space *space, const struct cop_survey *survey)
{
	uint64_t closed_bytes = min_u64(survey->closed_bytes, space->free_bytes);

	space->free_bytes -= closed_bytes;
	space->used_bytes += closed_bytes;
	space->available_bytes -= min_u64(closed_bytes, space->available_bytes);
}

int
verb_df(struct cli *cli)
{
	const char *operand = cli->args.operands[0];
	struct cop_survey survey = COP_INIT(survey);
	struct cop_space space = COP_INIT(space);
	struct cop_volume *volume;
	struct address address;
	int err;

	if (volume_address(cli, operand, &address) != 0)
		return EXIT_USAGE;
	cli->items++;
	err = volumes_open(cli, &address, false, &volume);
	if (!err)
		err = cop_space(volume, &space);
	if (!err)
		err = cop_survey(address.device, &survey);
	take_closed(&space, &survey);
	if (err) {
		report(cli, operand, err);
	} else if (args_has(&cli->args, OPTION_JSON)) {
		print_json(operand, &space, &survey);
	} else {
		(void)printf(" %12s %12s %12s %12s %12s Full Volume\n", "Size", "Used", "Free",
			"Available", "Pending");
		print_row(cli, operand, &space);
	}
	if (!err)
		warn_of_closed(cli, operand, address.device, &survey);
	address_fini(&address);
	return EXIT_FINE;
}
