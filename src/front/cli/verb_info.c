#include "base/num.h"
#include "front/cli/json.h"
#include "front/cli/output.h"
#include "front/cli/recognize.h"
#include "front/cli/text.h"
#include "front/cli/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UUID_TEXT_BYTES = 37 };

static void
format_uuid(const uint8_t uuid[static 16], char out[static UUID_TEXT_BYTES])
{
	size_t at = 0;

	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			out[at++] = '-';
		at += (size_t)snprintf(out + at, UUID_TEXT_BYTES - at, "%02x", uuid[i]);
	}
}

static bool
is_truncated(const struct cop_volume_info *info)
{
	return info->device_bytes > 0 && info->device_bytes < info->volume_bytes;
}

static void
print_size(const char *title, uint64_t bytes)
{
	char size[SIZE_TEXT_BYTES];

	format_size(bytes, size);
	(void)printf("%12s  %s (%" PRIu64 " bytes)\n", title, size, bytes);
}

static void
print_time(const char *title, int64_t time_ns)
{
	char text[TIME_TEXT_BYTES];

	format_time(time_ns, text);
	(void)printf("%12s  %s\n", title, text);
}

static void
print_info(const struct cli *cli, const char *operand, const struct cop_volume_info *info,
	const struct cop_survey *survey)
{
	char uuid[UUID_TEXT_BYTES];

	format_uuid(info->uuid, uuid);
	print_name(cli, operand, strlen(operand));
	(void)printf(": coppice volume, format %u\n", info->format_version);
	if (info->label[0] != '\0') {
		(void)printf("%12s  ", "label");
		print_name(cli, info->label, strlen(info->label));
		(void)putchar('\n');
	}
	(void)printf("%12s  %s\n", "uuid", uuid);
	print_size("size", info->volume_bytes);
	print_size("device", info->device_bytes);
	(void)printf("%12s  %u bytes, nodes %u bytes, journal %" PRIu64 " bytes\n", "blocks",
		info->block_bytes, info->node_bytes, info->journal_bytes);
	(void)printf("%12s  %" PRIu64 " of %u blocks", "groups", info->ag_count, info->ag_blocks);
	if (survey->closed_groups > 0)
		(void)printf(", %" PRIu64 " closed by damage", survey->closed_groups);
	(void)putchar('\n');
	(void)printf("%12s  %s\n", "metadata",
		info->metadata_copies == 1   ? "one copy"
		: info->metadata_copies == 2 ? "two copies"
					     : "two copies, content leaves one");
	(void)printf("%12s  %" PRIu64 "%s\n", "generation", info->generation,
		info->clean ? "" : ", in use or not closed properly");
	print_time("created", info->created_ns);
	print_time("checkpoint", info->checkpoint_ns);
	(void)printf("%12s  refuse %#" PRIx64 ", read-only %#" PRIx64 ", ignore %#" PRIx64
		     ", flags %#" PRIx64 "\n",
		"features", info->incompat, info->ro_compat, info->compat, info->flags);
}

static void
print_json(const char *operand, const struct cop_volume_info *info, const struct cop_survey *survey)
{
	char uuid[UUID_TEXT_BYTES];
	struct json json;

	format_uuid(info->uuid, uuid);
	json_begin(&json, stdout, "coppice.info/1");
	json_string(&json, "device", operand);
	json_bool(&json, "is_volume", true);
	json_string(&json, "label", info->label);
	json_string(&json, "uuid", uuid);
	json_unsigned(&json, "format_version", info->format_version);
	json_unsigned(&json, "volume_bytes", info->volume_bytes);
	json_unsigned(&json, "device_bytes", info->device_bytes);
	json_unsigned(&json, "block_bytes", info->block_bytes);
	json_unsigned(&json, "node_bytes", info->node_bytes);
	json_unsigned(&json, "journal_bytes", info->journal_bytes);
	json_unsigned(&json, "metadata_copies", info->metadata_copies);
	json_unsigned(&json, "ag_blocks", info->ag_blocks);
	json_unsigned(&json, "ag_count", info->ag_count);
	json_unsigned(&json, "generation", info->generation);
	if (survey->groups > 0)
		json_unsigned(&json, "closed_groups", survey->closed_groups);
	json_bool(&json, "clean", info->clean);
	json_signed(&json, "created_ns", info->created_ns);
	json_signed(&json, "checkpoint_ns", info->checkpoint_ns);
	json_unsigned(&json, "incompat", info->incompat);
	json_unsigned(&json, "ro_compat", info->ro_compat);
	json_unsigned(&json, "compat", info->compat);
	json_unsigned(&json, "flags", info->flags);
	json_end(&json);
}

/* What is no volume: what it is instead, and exit code 9. */
static void
tell_other(struct cli *cli, const struct address *address, int code)
{
	char *what = recognize(address->device);
	struct json json;

	if (!what) {
		report(cli, address->operand, code);
		return;
	}
	if (args_has(&cli->args, OPTION_JSON)) {
		json_begin(&json, stdout, "coppice.info/1");
		json_string(&json, "device", address->operand);
		json_bool(&json, "is_volume", false);
		json_string(&json, "what", what);
		json_end(&json);
	} else {
		print_name(cli, address->operand, strlen(address->operand));
		(void)printf(": %s\n", what);
	}
	complain(cli, address->operand, EXIT_NOT_A_VOLUME, "coppice help init", "%s",
		cop_error_sentence(COP_ENOTVOLUME));
	free(what);
}

static void
tell(struct cli *cli, const char *operand)
{
	struct cop_volume_info info = COP_INIT(info);
	struct cop_survey survey = COP_INIT(survey);
	struct address address;
	int err;

	cli->items++;
	if (volume_whole(cli, operand, &address) != 0)
		return;
	err = cop_probe(address.device, &info);
	if (!err && !is_truncated(&info) && cop_survey(address.device, &survey) != 0)
		survey.groups = 0; /* whoever opens it is told why */
	if (err == COP_ENOTVOLUME || err == COP_EINVAL || err == COP_EISDIR || err == COP_ENOTSUP)
		tell_other(cli, &address, err);
	else if (err)
		report(cli, operand, err);
	else if (args_has(&cli->args, OPTION_JSON))
		print_json(operand, &info, &survey);
	else
		print_info(cli, operand, &info, &survey);
	if (!err && is_truncated(&info))
		complain(cli, operand, EXIT_NOT_A_VOLUME, NULL,
			"truncated: %" PRIu64 " bytes are missing at its end",
			info.volume_bytes - info.device_bytes);
	if (!err)
		warn_of_closed(cli, operand, address.device, &survey);
	address_fini(&address);
}

int
verb_info(struct cli *cli)
{
	if (args_has(&cli->args, OPTION_JSON) && cli->args.count > 1)
		return usage(cli, NULL, "--json takes one operand");
	for (size_t i = 0; i < cli->args.count; i++)
		tell(cli, cli->args.operands[i]);
	return EXIT_FINE;
}
