#include "front/cli/json.h"
#include "front/cli/output.h"
#include "front/cli/text.h"
#include "front/cli/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct details {
	struct cop_attr attr;
	struct text target;     /* of a symlink */
	struct text attributes; /* names of extended attributes, each with its NUL */
};

static void
details_fini(struct details *details)
{
	text_fini(&details->target);
	text_fini(&details->attributes);
}

static int
load_target(struct cop_object *object, struct text *out)
{
	size_t bytes = 0;
	int err = cop_readlink(object, NULL, 0, &bytes);

	if (!err)
		err = cop_readlink(object, text_room(out, bytes), bytes, &bytes);
	if (!err)
		out->bytes += bytes;
	return err;
}

static int
load_attributes(struct cop_object *object, struct text *out)
{
	size_t bytes = 0;
	int err = cop_xattr_list(object, NULL, 0, &bytes);

	if (!err && bytes > 0)
		err = cop_xattr_list(object, text_room(out, bytes), bytes, &bytes);
	if (!err)
		out->bytes += bytes;
	return err;
}

static int
load_details(struct cop_object *object, struct details *details)
{
	int err = cop_stat(object, &details->attr);

	if (!err && details->attr.kind == COP_SYMLINK)
		err = load_target(object, &details->target);
	if (!err)
		err = load_attributes(object, &details->attributes);
	return err;
}

static void
print_time(const char *title, int64_t time_ns)
{
	char text[TIME_TEXT_BYTES];

	format_time(time_ns, text);
	(void)printf("%14s  %s\n", title, text);
}

static void
print_title(const char *title)
{
	(void)printf("%14s  ", title);
}

static void
print_details(const struct cli *cli, const char *operand, const struct details *details)
{
	const struct cop_attr *attr = &details->attr;
	char mode[MODE_TEXT_BYTES];

	print_title("object");
	print_name(cli, operand, strlen(operand));
	if (attr->kind == COP_SYMLINK) {
		(void)fputs(" -> ", stdout);
		print_name(cli, text_string(&details->target), details->target.bytes);
	}
	format_mode(attr->kind, attr->mode, mode);
	(void)printf("\n%14s  %" PRIu64 "\n", "number", attr->id);
	(void)printf("%14s  %s\n", "kind", kind_name(attr->kind));
	print_title("primary name");
	print_name(cli, attr->name, attr->name_bytes);
	(void)printf("\n%14s  %" PRIu64 "\n", "parent", attr->parent);
	(void)printf("%14s  %s\n", "doctype", doctype_name(attr->doctype));
	(void)printf("%14s  %04o (%s)\n", "mode", attr->mode, mode);
	(void)printf("%14s  %u:%u\n", "owner", attr->uid, attr->gid);
	(void)printf("%14s  %u\n", "links", attr->links);
	(void)printf("%14s  %" PRIu64 "%s\n", "length", attr->length,
		attr->kind == COP_DIRECTORY ? " entries" : " bytes");
	(void)printf("%14s  %" PRIu64 " bytes\n", "allocated", attr->allocated_bytes);
	if (attr->kind == COP_CHAR_DEVICE || attr->kind == COP_BLOCK_DEVICE)
		(void)printf("%14s  %" PRIu64 ":%" PRIu64 "\n", "device", attr->device >> 32,
			attr->device & UINT32_MAX);
	print_time("created", attr->created_ns);
	print_time("last opened", attr->accessed_ns);
	print_time("last written", attr->modified_ns);
	print_time("last changed", attr->changed_ns);
	(void)printf("%14s  %#" PRIx64 "\n", "flags", attr->flags);
	(void)printf("%14s  %s, %u levels\n", "content", form_name(attr->form), attr->levels);
	for (size_t at = 0; at < details->attributes.bytes;) {
		const char *name = details->attributes.data + at;

		print_title(at == 0 ? "attributes" : "");
		print_name(cli, name, strlen(name));
		(void)putchar('\n');
		at += strlen(name) + 1;
	}
}

static void
print_json(const char *operand, const struct details *details)
{
	const struct cop_attr *attr = &details->attr;
	struct json json;

	json_begin(&json, stdout, "coppice.stat/1");
	json_string(&json, "object", operand);
	json_id(&json, "id", attr->id);
	json_string(&json, "kind", kind_name(attr->kind));
	json_bytes(&json, "primary_name", attr->name, attr->name_bytes);
	json_id(&json, "parent", attr->parent);
	json_string(&json, "doctype", doctype_name(attr->doctype));
	json_unsigned(&json, "mode", attr->mode);
	json_unsigned(&json, "uid", attr->uid);
	json_unsigned(&json, "gid", attr->gid);
	json_unsigned(&json, "links", attr->links);
	json_unsigned(
		&json, attr->kind == COP_DIRECTORY ? "entries" : "length_bytes", attr->length);
	json_unsigned(&json, "allocated_bytes", attr->allocated_bytes);
	if (attr->kind == COP_CHAR_DEVICE || attr->kind == COP_BLOCK_DEVICE) {
		json_unsigned(&json, "device_major", attr->device >> 32);
		json_unsigned(&json, "device_minor", attr->device & UINT32_MAX);
	}
	if (attr->kind == COP_SYMLINK)
		json_bytes(&json, "target", text_string(&details->target), details->target.bytes);
	json_signed(&json, "created_ns", attr->created_ns);
	json_signed(&json, "accessed_ns", attr->accessed_ns);
	json_signed(&json, "modified_ns", attr->modified_ns);
	json_signed(&json, "changed_ns", attr->changed_ns);
	json_unsigned(&json, "flags", attr->flags);
	json_id(&json, "owner", attr->owner);
	json_string(&json, "form", form_name(attr->form));
	json_unsigned(&json, "levels", attr->levels);
	json_array(&json, "attributes");
	for (size_t at = 0; at < details->attributes.bytes;) {
		const char *name = details->attributes.data + at;

		json_string(&json, NULL, name);
		at += strlen(name) + 1;
	}
	json_close(&json);
	json_end(&json);
}

static void
stat_one(struct cli *cli, const char *operand)
{
	struct details details = { .attr = COP_INIT(details.attr) };
	struct cop_object *object = NULL;
	struct address address;
	int err;

	if (volume_address(cli, operand, &address) != 0)
		return;
	err = volumes_walk(cli, &address, false,
		path_ends_in_slash(address.path) ? 0 : COP_WALK_NOFOLLOW, &object);
	if (!err)
		err = load_details(object, &details);
	if (err)
		report(cli, operand, err);
	else if (args_has(&cli->args, OPTION_JSON))
		print_json(operand, &details);
	else
		print_details(cli, operand, &details);
	cop_release(object);
	details_fini(&details);
	address_fini(&address);
}

int
verb_stat(struct cli *cli)
{
	if (args_has(&cli->args, OPTION_JSON) && cli->args.count > 1)
		return usage(cli, NULL, "--json takes one operand");
	for (size_t i = 0; i < cli->args.count; i++) {
		cli->items++;
		stat_one(cli, cli->args.operands[i]);
	}
	return EXIT_FINE;
}
