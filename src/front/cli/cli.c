#include "front/cli/cli.h"

#include "device/device.h"
#include "front/cli/host.h"
#include "front/cli/interrupt.h"
#include "front/cli/output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The exit code that an error of the library or the host stands for. */
static int
exit_of(int code)
{
	switch (code) {
	case 0:
		return EXIT_FINE;
	case COP_EINVAL:
	case COP_ETOOSMALL:
		return EXIT_USAGE;
	case COP_ECHECKSUM:
	case COP_EFORMAT:
	case COP_ELOSS:
		return EXIT_INTEGRITY;
	case COP_ENOENT:
	case COP_ENODATA:
		return EXIT_NOT_FOUND;
	case COP_EBUSY:
		return EXIT_BUSY;
	case COP_ENOSPC:
		return EXIT_NO_SPACE;
	case COP_EPERM:
	case COP_EACCES:
	case COP_EROFS:
		return EXIT_NOT_PERMITTED;
	case COP_ENOTVOLUME:
	case COP_EUNSUPPORTED:
		return EXIT_NOT_A_VOLUME;
	case COP_EINTR:
		return EXIT_INTERRUPTED;
	default:
		return EXIT_ERROR;
	}
}

/* The open volume that an object lies in, or NULL. */
static const struct volume *
open_volume_of(const struct cli *cli, const char *object)
{
	const struct volume *volume = NULL;
	struct address address;

	if (address_parse(object, access(object, F_OK) == 0, &address) != 0)
		return NULL;
	for (size_t i = 0; i < cli->volumes.count; i++) {
		if (strcmp(cli->volumes.rows[i].device, address.device) == 0)
			volume = &cli->volumes.rows[i];
	}
	address_fini(&address);
	return volume;
}

/* The device part of an object's address, for hints that name a volume; to be freed. */
static char *
device_of(const char *object)
{
	struct address address;
	char *device;

	if (address_parse(object, access(object, F_OK) == 0, &address) != 0)
		return need_copy(object);
	device = need_copy(address.device);
	address_fini(&address);
	return device;
}

static char *
command_on(const char *words, const char *operand)
{
	struct text text = { 0 };

	text_add_format(&text, "%s ", words);
	text_add_quoted(&text, operand);
	return text.data;
}

static bool
has_closed_groups(struct cop_volume *volume)
{
	struct cop_space space = COP_INIT(space);

	return volume && cop_space(volume, &space) == 0 && space.closed_groups > 0;
}

/* Was it the host, and no volume, that had no room? */
static bool
is_host_full(int code)
{
	return code == COP_ENOSPC &&
	       strstr(cop_error_text(), device_result_sentence(COP_ENOSPC)) != NULL;
}

/* Space is short in a volume that is open, or on the host. */
static char *
hint_for_space(const struct cli *cli, const char *object)
{
	const struct volume *volume = open_volume_of(cli, object);

	if (!volume)
		return command_on("df -h", object);
	if (is_host_full(COP_ENOSPC))
		return command_on("df -h", volume->device);
	return command_on(
		has_closed_groups(volume->handle) ? "coppice check" : "coppice df", volume->device);
}

/* False for a source of cp, and for what it takes for a path of the host. */
static bool
puts_into_volume(const struct cli *cli, const char *object)
{
	struct address address;
	bool is_volume;

	if (strcmp(cli->command->name, "cp") != 0)
		return strcmp(cli->command->name, "mkdir") == 0;
	if (strcmp(object, cli->args.operands[cli->args.count - 1]) != 0)
		return false;
	if (address_parse(object, access(object, F_OK) == 0, &address) != 0)
		return false;
	is_volume = address.kind == ADDRESS_VOLUME;
	address_fini(&address);
	return is_volume;
}

char *
place_meant(const char *word)
{
	struct cop_volume_info info = COP_INIT(info);
	char *place = NULL;

	for (const char *at = word; !place && (at = strpbrk(at, ":/")); at++) {
		char *device = need_copy_of(word, (size_t)(at - word));

		if (device[0] != '\0' && cop_probe(device, &info) == 0)
			place = need_format("%s:/%s", device, at + 1 + strspn(at + 1, "/"));
		free(device);
	}
	err_clear();
	return place;
}

static char *
hint_for_spelling(const struct cli *cli, const char *object)
{
	char *words = need_format("coppice %s", cli->command->name);
	char *place = place_meant(object);
	char *hint = place ? command_on(words, place) : NULL;

	free(place);
	free(words);
	return hint;
}

/* What is missing or of another kind: to be looked up in its volume, or to be written otherwise. */
static char *
hint_for_name(const struct cli *cli, const char *object, int code)
{
	const struct volume *volume = open_volume_of(cli, object);
	const char *verb = cli->command->name;
	char *hint;
	char *missing;

	if (volume)
		return command_on("coppice ls", volume->device);
	hint = hint_for_spelling(cli, object);
	if (hint || code != COP_ENOENT)
		return hint;
	if (!strstr(object, ":/") && strstr(cli->command->synopsis, "VOLUME:/"))
		return need_format("coppice %s VOLUME:/%s", verb, object + strspn(object, "/"));
	if (!puts_into_volume(cli, object))
		return NULL;
	missing = device_of(object);
	hint = command_on("coppice init --size 64M", missing);
	free(missing);
	return hint;
}

/* Who has it, if that is known. */
static char *
hint_for_busy(const char *object)
{
	static const char words[] = "in use by process ";
	const char *at = strstr(cop_error_text(), words);
	long holder = at ? strtol(at + sizeof words - 1, NULL, 10) : 0;
	char *device;
	char *hint;

	if (holder > 0 && holder != getpid())
		return need_format("ps -p %ld", holder);
	device = device_of(object);
	hint = command_on("coppice info", device);
	free(device);
	return hint;
}

/* What to try, when an error of this kind comes from an object; to be freed, or NULL. */
static char *
hint_for(const struct cli *cli, const char *object, int code)
{
	static const struct {
		int code;
		const char *words;
	} rows[] = {
		{ COP_ECHECKSUM, "coppice check" },
		{ COP_EFORMAT, "coppice check" },
		{ COP_ELOSS, "coppice repair --accept-loss" },
		{ COP_ENOTVOLUME, "coppice info" },
		{ COP_EACCES, "ls -l" },
		{ COP_EROFS, "ls -l" },
	};
	char *device;
	char *hint = NULL;

	if (code == COP_EINVAL || code == COP_ETOOSMALL)
		return need_format("coppice %s --help", cli->command->name);
	if (!object)
		return NULL;
	if (code == COP_ENOSPC)
		return hint_for_space(cli, object);
	if (code == COP_ENOENT || code == COP_ENOTDIR || code == COP_EISDIR)
		return hint_for_name(cli, object, code);
	if (code == COP_EBUSY)
		return hint_for_busy(object);
	if (code == COP_EIO)
		return need_copy("dmesg"); /* the kernel knows what is wrong with the device */
	if (code == COP_EUNSUPPORTED)
		return need_copy("a newer coppice");
	if (code == COP_ENAMETOOLONG)
		return need_format("a name of at most %d bytes", COP_NAME_BYTES_MAX);
	device = device_of(object);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (rows[i].code == code)
			hint = command_on(rows[i].words, device);
	}
	free(device);
	return hint;
}

static void
say(struct cli *cli, const char *object, const char *message, const char *hint)
{
	struct text line = { 0 };
	struct text escaped = { 0 };

	if (cli->command)
		text_add_format(&line, "%s: ", cli->command->name);
	if (object)
		text_add_format(&line, "%s: ", object);
	text_add_string(&line, message);
	text_add_escaped(&escaped, line.data, line.bytes);
	progress_clear(&cli->progress);
	(void)fflush(stdout);
	(void)fprintf(
		stderr, "coppice: %s%s%s\n", escaped.data, hint ? "; try: " : "", hint ? hint : "");
	text_fini(&line);
	text_fini(&escaped);
}

static void
count_failure(struct cli *cli, int exit_code)
{
	cli->failures++;
	if (cli->first_exit == 0)
		cli->first_exit = exit_code;
}

/* The library begins some notes with the device: the message names it already. */
static const char *
note_without_device(const char *object)
{
	const char *note = cop_error_text();
	char *device = object ? device_of(object) : NULL;
	size_t bytes = device ? strlen(device) : 0;

	if (bytes > 0 && strncmp(note, device, bytes) == 0 && strncmp(note + bytes, ": ", 2) == 0)
		note += bytes + 2;
	free(device);
	return note;
}

/* The place of the host that an object lies in: that of its volume, or its own; to be freed. */
static char *
host_place_of(const struct cli *cli, const char *object)
{
	const struct volume *volume = open_volume_of(cli, object);

	return volume ? need_copy(volume->device) : device_of(object);
}

/* Nobody shall take it for the volume that is full: it may have much room, in a sparse file. */
static char *
message_of_full_host(const struct cli *cli, const char *object, const char *note)
{
	char *place = host_place_of(cli, object);
	const char *path;
	char *root = device_url_is_host_path(place, &path) ? host_file_system(path) : NULL;
	char *message = need_copy(note);

	if (root) {
		free(message);
		message = need_format(
			"the host's file system %s is full, free space there (%s)", root, note);
	}
	free(root);
	free(place);
	return message;
}

/* A place in a volume that is not there, which reads as if the place were missing. */
static bool
names_missing_volume(const struct cli *cli, const char *object)
{
	struct address address;
	const char *path;
	bool is_missing;

	if (open_volume_of(cli, object) || address_parse(object, false, &address) != 0)
		return false;
	is_missing = address.kind == ADDRESS_VOLUME && address.has_path &&
		     device_url_is_host_path(address.device, &path) && access(path, F_OK) != 0;
	address_fini(&address);
	return is_missing;
}

/*
 * The note of an error is a detail that may or may not say what kind of error it is. Where it does
 * not, the sentence of the code follows. Notes of host errors end in the host's own sentence.
 */
char *
message_of(const struct cli *cli, const char *object, int code)
{
	const char *note = note_without_device(object);
	const char *sentence = cop_error_sentence(code);
	const char *host = strerrordesc_np(cop_error_errno(code));

	if (note[0] == '\0')
		return need_copy(sentence);
	if (object && is_host_full(code))
		return message_of_full_host(cli, object, note);
	if (object && code == COP_ENOENT && names_missing_volume(cli, object))
		return need_format("there is no such volume: %s", note);
	switch (code) {
	case COP_EEXIST:
	case COP_EINVAL:
	case COP_EIO:
	case COP_EISDIR:
	case COP_ELOOP:
	case COP_ENOENT:
	case COP_ENOTDIR:
	case COP_ETOOSMALL:
		return need_copy(note); /* these always do */
	default:
		break;
	}
	if (strcasestr(note, sentence) || (host && strstr(note, host)))
		return need_copy(note);
	return need_format("%s (%s)", note, sentence);
}

void
report(struct cli *cli, const char *object, int code)
{
	char *message;
	char *hint;

	if (code == COP_EINTR && interrupt_requested())
		return;
	message = message_of(cli, object, code);
	hint = hint_for(cli, object, code);
	say(cli, object, message, hint);
	count_failure(cli, exit_of(code));
	free(message);
	free(hint);
}

void
report_and_stop(struct cli *cli, const char *object, int code)
{
	report(cli, object, code);
	if (cli->stop_exit == 0)
		cli->stop_exit = exit_of(code);
}

void
complain(struct cli *cli, const char *object, int exit_code, const char *hint, const char *format,
	...)
{
	char message[1024];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(message, sizeof message, format, args);
	va_end(args);
	say(cli, object, message, hint);
	count_failure(cli, exit_code);
}

void
complain_of(
	struct cli *cli, const char *object, int exit_code, const char *words, const char *message)
{
	char *hint = command_on(words, object);

	complain(cli, object, exit_code, hint, "%s", message);
	free(hint);
}

void
complain_of_problems(struct cli *cli, const char *object, uint64_t problems)
{
	complain(cli, object, EXIT_INTEGRITY, NULL, "%" PRIu64 " problem%s found", problems,
		problems == 1 ? "" : "s");
}

int
usage(struct cli *cli, const char *object, const char *format, ...)
{
	char message[1024];
	char *hint = cli->command ? need_format("coppice %s --help", cli->command->name)
				  : need_copy("coppice help");
	va_list args;

	va_start(args, format);
	(void)vsnprintf(message, sizeof message, format, args);
	va_end(args);
	say(cli, object, message, hint);
	count_failure(cli, EXIT_USAGE);
	if (cli->stop_exit == 0)
		cli->stop_exit = EXIT_USAGE;
	free(hint);
	return EXIT_USAGE;
}

void
warn(struct cli *cli, const char *object, const char *format, ...)
{
	char message[1024];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(message, sizeof message, format, args);
	va_end(args);
	say(cli, object, message, NULL);
}

void
warn_of_closed(
	struct cli *cli, const char *object, const char *device, const struct cop_survey *survey)
{
	char message[128];
	char *hint;

	if (survey->closed_groups == 0)
		return;
	(void)snprintf(message, sizeof message,
		"%" PRIu64 " of %" PRIu64 " allocation groups are closed by damage",
		survey->closed_groups, survey->groups);
	hint = command_on("coppice check", device);
	say(cli, object, message, hint);
	free(hint);
}

int
cli_exit_code(const struct cli *cli)
{
	if (interrupt_requested())
		return EXIT_INTERRUPTED;
	if (cli->stop_exit != 0)
		return cli->stop_exit;
	if (cli->failures == 0)
		return EXIT_FINE;
	return cli->items > cli->failures ? EXIT_SOME_FAILED : cli->first_exit;
}

void
print_name(const struct cli *cli, const char *name, size_t bytes)
{
	struct text escaped = { 0 };

	if (!cli->out_is_terminal) {
		(void)fwrite(name, 1, bytes, stdout);
		return;
	}
	text_add_escaped(&escaped, name, bytes);
	(void)fwrite(text_string(&escaped), 1, escaped.bytes, stdout);
	text_fini(&escaped);
}
