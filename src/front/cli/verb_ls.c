/*
 * ls loads a directory whole and sorts it. With -R the directories that are still to be listed
 * wait on an explicit stack, the next one on top: memory, not the C stack, follows the depth.
 */

#include "base/num.h"
#include "front/cli/entries.h"
#include "front/cli/interrupt.h"
#include "front/cli/json.h"
#include "front/cli/output.h"
#include "front/cli/verbs.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { COLUMN_GAP = 2, COLUMNS_UNKNOWN = 80, NAME_TEXT_BYTES = 64 };

struct waiting {
	char *path; /* in the volume */
	struct cop_object *directory;
};

struct listing {
	struct cli *cli;
	const struct address *address;
	struct json *json; /* NULL: text for people */
	struct waiting *stack;
	size_t depth;
	size_t capacity;
	bool prints_titles;
	bool printed_any;
	int64_t now_ns;

	/* The owner last looked up: most entries have the same. */
	uint32_t uid;
	uint32_t gid;
	char user[NAME_TEXT_BYTES];
	char group[NAME_TEXT_BYTES];
};

/* What is shown of one entry. */
struct line {
	const char *name;
	size_t name_bytes;
	const char *path;
	struct cop_attr attr;
	struct text target;
};

static void
push(struct listing *listing, const char *path, struct cop_object *directory)
{
	if (listing->depth == listing->capacity) {
		listing->capacity = 2 * listing->capacity + 16;
		listing->stack =
			need_more(listing->stack, listing->capacity, sizeof *listing->stack);
	}
	listing->stack[listing->depth++] = (struct waiting){
		.path = need_copy(path),
		.directory = directory,
	};
}

static void
look_up_owner(struct listing *listing, const struct cop_attr *attr)
{
	if (listing->user[0] == '\0' || listing->uid != attr->uid) {
		const struct passwd *user = getpwuid(attr->uid);

		listing->uid = attr->uid;
		(void)snprintf(listing->user, NAME_TEXT_BYTES, "%u", attr->uid);
		if (user)
			(void)snprintf(listing->user, NAME_TEXT_BYTES, "%s", user->pw_name);
	}
	if (listing->group[0] == '\0' || listing->gid != attr->gid) {
		const struct group *group = getgrgid(attr->gid);

		listing->gid = attr->gid;
		(void)snprintf(listing->group, NAME_TEXT_BYTES, "%u", attr->gid);
		if (group)
			(void)snprintf(listing->group, NAME_TEXT_BYTES, "%s", group->gr_name);
	}
}

static void
format_length(const struct cli *cli, const struct cop_attr *attr, char out[static NAME_TEXT_BYTES])
{
	if (attr->kind == COP_CHAR_DEVICE || attr->kind == COP_BLOCK_DEVICE)
		(void)snprintf(out, NAME_TEXT_BYTES, "%" PRIu64 ", %" PRIu64, attr->device >> 32,
			attr->device & UINT32_MAX);
	else if (args_has(&cli->args, OPTION_HUMAN))
		format_size(attr->length, out);
	else
		(void)snprintf(out, NAME_TEXT_BYTES, "%" PRIu64, attr->length);
}

static void
print_long(struct listing *listing, const struct line *line)
{
	const struct cop_attr *attr = &line->attr;
	char mode[MODE_TEXT_BYTES];
	char length[NAME_TEXT_BYTES];
	char time[TIME_TEXT_BYTES];

	look_up_owner(listing, attr);
	format_mode(attr->kind, attr->mode, mode);
	format_length(listing->cli, attr, length);
	format_time_short(attr->modified_ns, listing->now_ns, time);
	(void)printf("%s %3u %-8s %-8s %11s %s ", mode, attr->links, listing->user, listing->group,
		length, time);
	print_name(listing->cli, line->name, line->name_bytes);
	if (attr->kind == COP_SYMLINK) {
		(void)fputs(" -> ", stdout);
		print_name(listing->cli, text_string(&line->target), line->target.bytes);
	}
	(void)putchar('\n');
}

static void
put_json(struct json *json, const struct line *line)
{
	const struct cop_attr *attr = &line->attr;

	json_object(json, NULL);
	json_bytes(json, "name", line->name, line->name_bytes);
	json_string(json, "path", line->path);
	json_string(json, "kind", kind_name(attr->kind));
	json_id(json, "id", attr->id);
	json_unsigned(json, "mode", attr->mode);
	json_unsigned(json, "uid", attr->uid);
	json_unsigned(json, "gid", attr->gid);
	json_unsigned(json, "links", attr->links);
	json_unsigned(json, attr->kind == COP_DIRECTORY ? "entries" : "length_bytes", attr->length);
	json_unsigned(json, "allocated_bytes", attr->allocated_bytes);
	json_signed(json, "modified_ns", attr->modified_ns);
	if (attr->kind == COP_SYMLINK)
		json_bytes(json, "target", text_string(&line->target), line->target.bytes);
	if (attr->kind == COP_CHAR_DEVICE || attr->kind == COP_BLOCK_DEVICE) {
		json_unsigned(json, "device_major", attr->device >> 32);
		json_unsigned(json, "device_minor", attr->device & UINT32_MAX);
	}
	json_close(json);
}

static int
load_line(struct cop_object *object, struct line *line)
{
	size_t bytes = 0;
	int err = cop_stat(object, &line->attr);

	if (err || line->attr.kind != COP_SYMLINK)
		return err;
	err = cop_readlink(object, NULL, 0, &bytes);
	if (!err)
		err = cop_readlink(object, text_room(&line->target, bytes), bytes, &bytes);
	if (!err)
		line->target.bytes += bytes;
	return err;
}

static void
show(struct listing *listing, const struct line *line)
{
	if (listing->json)
		put_json(listing->json, line);
	else if (args_has(&listing->cli->args, OPTION_LONG))
		print_long(listing, line);
	else {
		print_name(listing->cli, line->name, line->name_bytes);
		(void)putchar('\n');
	}
}

/* Names only, and no walk below: then the objects need not be opened. */
static bool
names_are_enough(const struct listing *listing)
{
	return !listing->json && !args_has(&listing->cli->args, OPTION_LONG);
}

static size_t
terminal_columns(void)
{
	struct winsize size = { 0 };

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
		return COLUMNS_UNKNOWN;
	return size.ws_col;
}

static size_t
entry_columns(const struct entries *entries, size_t index)
{
	const struct entry *entry = &entries->rows[index];
	struct text escaped = { 0 };
	size_t columns;

	text_add_escaped(&escaped, entry_name(entries, entry), entry->name_bytes);
	columns = text_columns(text_string(&escaped), escaped.bytes);
	text_fini(&escaped);
	return columns;
}

/* In columns of one width, down first, as many as the terminal has room for. */
static void
print_columns(const struct cli *cli, const struct entries *entries)
{
	size_t width = 1;
	size_t across;
	size_t down;

	for (size_t i = 0; i < entries->count; i++)
		width = max_u64(width, entry_columns(entries, i) + COLUMN_GAP);
	across = max_u64((terminal_columns() + COLUMN_GAP) / width, 1);
	down = div_up(entries->count, across);
	for (size_t row = 0; row < down; row++) {
		for (size_t i = row; i < entries->count; i += down) {
			size_t columns = entry_columns(entries, i);

			print_name(cli, entry_name(entries, &entries->rows[i]),
				entries->rows[i].name_bytes);
			if (i + down < entries->count)
				(void)printf("%*s", (int)(width - columns), "");
		}
		(void)putchar('\n');
	}
}

static void
report_below(struct listing *listing, const char *path, int code)
{
	char *object = address_with_path(listing->address, path);

	report(listing->cli, object, code);
	free(object);
}

/* Shows an entry and, when directories below are wanted, puts it on the stack. */
static void
visit_entry(struct listing *listing, const struct waiting *in, const struct entries *entries,
	const struct entry *entry, bool shows)
{
	struct line line = {
		.name = entry_name(entries, entry),
		.name_bytes = entry->name_bytes,
		.attr = COP_INIT(line.attr),
	};
	struct cop_object *object = NULL;
	struct text path = { 0 };
	int err;

	text_add_string(&path, in->path);
	text_add_name(&path, line.name, line.name_bytes);
	line.path = path.data;
	listing->cli->items++;
	err = cop_lookup(in->directory, line.name, line.name_bytes, &object);
	if (!err)
		err = load_line(object, &line);
	if (err)
		report_below(listing, path.data, err);
	else if (shows)
		show(listing, &line);
	if (!err && !shows && line.attr.kind == COP_DIRECTORY)
		push(listing, path.data, TAKE(object));
	cop_release(object);
	text_fini(&line.target);
	text_fini(&path);
}

static void
print_title(struct listing *listing, const char *path)
{
	if (listing->json || !listing->prints_titles)
		return;
	if (listing->printed_any)
		(void)putchar('\n');
	print_name(listing->cli, listing->address->device, strlen(listing->address->device));
	(void)putchar(':');
	print_name(listing->cli, path, strlen(path));
	(void)fputs(":\n", stdout);
}

static void
list_directory(struct listing *listing, const struct waiting *directory)
{
	bool recursive = args_has(&listing->cli->args, OPTION_RECURSIVE);
	struct entries entries = { 0 };
	int err = entries_load(directory->directory, &entries);

	if (err) {
		report_below(listing, directory->path, err);
		return;
	}
	print_title(listing, directory->path);
	listing->printed_any = true;
	if (names_are_enough(listing) && listing->cli->out_is_terminal)
		print_columns(listing->cli, &entries);
	for (size_t i = 0; i < entries.count && !interrupt_requested(); i++) {
		const struct entry *entry = &entries.rows[i];

		if (!names_are_enough(listing)) {
			visit_entry(listing, directory, &entries, entry, true);
		} else if (!listing->cli->out_is_terminal) {
			print_name(listing->cli, entry_name(&entries, entry), entry->name_bytes);
			(void)putchar('\n');
		}
	}
	/* The last goes on the stack first, so that they come off in order. */
	for (size_t i = entries.count; recursive && i > 0; i--) {
		if (entries.rows[i - 1].kind == COP_DIRECTORY)
			visit_entry(listing, directory, &entries, &entries.rows[i - 1], false);
	}
	entries_fini(&entries);
}

static void
list_below(struct listing *listing, struct cop_object *directory)
{
	push(listing, listing->address->path, cop_hold(directory));
	while (listing->depth > 0) {
		struct waiting top = listing->stack[--listing->depth];

		if (!interrupt_requested())
			list_directory(listing, &top);
		cop_release(top.directory);
		free(top.path);
	}
}

static void
list_object(struct listing *listing, const char *operand, struct cop_object *object)
{
	struct line line = { .path = listing->address->path, .attr = COP_INIT(line.attr) };
	int err = load_line(object, &line);

	if (err) {
		report(listing->cli, operand, err);
	} else if (line.attr.kind == COP_DIRECTORY &&
		   !args_has(&listing->cli->args, OPTION_DIRECTORY)) {
		list_below(listing, object);
	} else {
		line.name = operand;
		line.name_bytes = strlen(operand);
		show(listing, &line);
		listing->printed_any = true;
	}
	text_fini(&line.target);
}

static void
list_operand(struct listing *listing, const char *operand)
{
	struct cli *cli = listing->cli;
	struct address address;
	struct cop_object *object = NULL;
	uint32_t walk_flags = 0;
	int err;

	cli->items++;
	if (volume_address(cli, operand, &address) != 0)
		return;
	/* As ls does: a symlink is shown itself where its attributes are, else what it leads to. */
	if (!path_ends_in_slash(address.path) &&
		(args_has(&cli->args, OPTION_LONG) || args_has(&cli->args, OPTION_DIRECTORY)))
		walk_flags = COP_WALK_NOFOLLOW;
	listing->address = &address;
	err = volumes_walk(cli, &address, false, walk_flags, &object);
	if (err)
		report(cli, operand, err);
	else
		list_object(listing, operand, object);
	cop_release(object);
	address_fini(&address);
}

int
verb_ls(struct cli *cli)
{
	struct json json;
	struct timespec now;
	struct listing listing = {
		.cli = cli,
		.prints_titles = cli->args.count > 1 || args_has(&cli->args, OPTION_RECURSIVE),
	};

	(void)clock_gettime(CLOCK_REALTIME, &now);
	listing.now_ns = now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
	if (args_has(&cli->args, OPTION_JSON)) {
		listing.json = &json;
		json_begin(&json, stdout, "coppice.ls/1");
		json_array(&json, "entries");
	}
	for (size_t i = 0; i < cli->args.count && !interrupt_requested(); i++)
		list_operand(&listing, cli->args.operands[i]);
	if (listing.json) {
		json_close(&json);
		json_end(&json);
	}
	free(listing.stack);
	return EXIT_FINE;
}
