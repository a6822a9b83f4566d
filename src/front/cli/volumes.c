#include "front/cli/volumes.h"

#include "device/device.h"
#include "front/cli/cli.h"
#include "front/cli/text.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int
volume_address(struct cli *cli, const char *operand, struct address *out_address)
{
	struct stat st;
	int err = address_parse(operand, lstat(operand, &st) == 0, out_address);

	if (err)
		(void)usage(cli, operand, "%s", cop_error_text());
	return err;
}

int
volume_whole(struct cli *cli, const char *operand, struct address *out_address)
{
	int err = volume_address(cli, operand, out_address);

	if (err || (!out_address->version && !out_address->has_path))
		return err;
	err = usage(cli, operand, "%s takes a volume whole: name it without %s", cli->command->name,
		out_address->has_path ? "a path" : "a version");
	address_fini(out_address);
	return err;
}

static bool
find_identity(const char *device, struct stat *out_st)
{
	const char *path;

	return device_url_is_host_path(device, &path) && stat(path, out_st) == 0;
}

static struct volume *
find_volume(struct volumes *volumes, const char *device, const struct stat *st)
{
	for (size_t i = 0; i < volumes->count; i++) {
		struct volume *volume = &volumes->rows[i];

		if (strcmp(volume->device, device) == 0)
			return volume;
		if (st && volume->has_identity && volume->host_device == st->st_dev &&
			volume->host_inode == st->st_ino)
			return volume;
	}
	return NULL;
}

int
volumes_open(struct cli *cli, const struct address *address, bool writable,
	struct cop_volume **out_volume)
{
	struct volumes *volumes = &cli->volumes;
	struct cop_open_options options = COP_INIT(options);
	struct stat st = { 0 };
	bool has_identity = find_identity(address->device, &st);
	struct volume *volume = find_volume(volumes, address->device, has_identity ? &st : NULL);
	int err;

	if (volume) {
		assert(volume->is_writable || !writable);
		*out_volume = volume->handle;
		return 0;
	}

	volumes->rows = need_more(volumes->rows, volumes->count + 1, sizeof *volumes->rows);
	volume = &volumes->rows[volumes->count];
	*volume = (struct volume){
		.is_writable = writable,
		.has_identity = has_identity,
		.host_device = st.st_dev,
		.host_inode = st.st_ino,
	};
	options.read_only = !writable;
	options.threads = writable ? 1 : 0; /* what is long becomes durable on the way */
	options.cache_bytes = cli->cache_bytes;
	options.no_flush = args_has(&cli->args, OPTION_NO_SYNC);
	err = cop_open(address->device, &options, &volume->handle);
	if (err)
		return err;
	volume->device = need_copy(address->device);
	volumes->count++;
	*out_volume = volume->handle;
	return 0;
}

int
volumes_root(
	struct cli *cli, const struct address *address, bool writable, struct cop_object **out_root)
{
	struct cop_volume *volume;
	int err = volumes_open(cli, address, writable, &volume);

	if (err)
		return err;
	return cop_root(volume, address->version, out_root);
}

int
volumes_walk(struct cli *cli, const struct address *address, bool writable, uint32_t walk_flags,
	struct cop_object **out_object)
{
	struct cop_object *root;
	int err = volumes_root(cli, address, writable, &root);

	if (err)
		return err;
	err = cop_walk(root, address->path, walk_flags, out_object);
	cop_release(root);
	return err;
}

int
volumes_walk_parent(struct cli *cli, const struct address *address, bool writable,
	struct cop_object **out_directory, const char **out_name, size_t *out_name_bytes)
{
	struct cop_object *root;
	char *parent;
	int err = volumes_root(cli, address, writable, &root);

	if (err)
		return err;
	path_last(address->path, out_name, out_name_bytes);
	parent = need_copy_of(address->path, path_parent_bytes(address->path));
	err = cop_walk(root, parent, 0, out_directory);
	free(parent);
	cop_release(root);
	return err;
}

const struct volume *
volumes_in_file(const struct volumes *volumes, dev_t device, ino_t inode)
{
	for (size_t i = 0; i < volumes->count; i++) {
		const struct volume *volume = &volumes->rows[i];

		if (volume->has_identity && volume->host_device == device &&
			volume->host_inode == inode)
			return volume;
	}
	return NULL;
}

static uint64_t
transactions_of(struct cop_volume *volume)
{
	struct cop_stats stats = COP_INIT(stats);

	return cop_stats(volume, &stats) == 0 ? stats.transactions : 0;
}

/*
 * What the command has left to be freed. A poll that leads to no transaction finds no room for the
 * next step, or that the thread in the background has the job in hand. What cannot be freed stays
 * for later; close tells of failures.
 */
static void
run_jobs(struct cop_volume *volume)
{
	enum { IDLE_POLLS_MAX = 20 };
	const struct timespec pause = { .tv_nsec = 5000000 };
	uint64_t before = transactions_of(volume);
	uint64_t pending = 0;
	int idle = 0;
	int err = cop_poll(volume, &pending);

	while (err == 0 && pending > 0 && idle < IDLE_POLLS_MAX) {
		uint64_t now = transactions_of(volume);

		idle = now == before ? idle + 1 : 0;
		before = now;
		if (idle > 0)
			(void)nanosleep(&pause, NULL); /* cut short by a signal, it is shorter */
		err = cop_poll(volume, &pending);
	}
}

/*
 * A host without room cannot take the checkpoints that bring freed space back; what the command has
 * done is durable all the same if the volume closes well.
 */
static void
close_one(struct cli *cli, struct volume *volume, bool settle)
{
	char *missing = NULL;
	int settled = 0;
	int closed;

	if (volume->is_writable && settle) {
		settled = cop_settle(volume->handle);
		if (settled == COP_ENOSPC)
			missing = message_of(cli, volume->device, settled);
		else if (settled)
			report_and_stop(cli, volume->device, settled);
	} else if (volume->is_writable) {
		run_jobs(volume->handle);
	}
	closed = cop_close(TAKE(volume->handle));
	if (missing && closed == 0)
		warn(cli, volume->device,
			"done, but what was freed stays in use until there is room: %s", missing);
	/* After another failed settle the failure of close would say the same once more. */
	else if (closed && (missing || !settled))
		report_and_stop(cli, volume->device, closed);
	free(missing);
	free(volume->device);
}

void
volumes_close(struct cli *cli, bool settle)
{
	for (size_t i = 0; i < cli->volumes.count; i++)
		close_one(cli, &cli->volumes.rows[i], settle);
	free(cli->volumes.rows);
	cli->volumes = (struct volumes){ 0 };
}
