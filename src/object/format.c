/* Making volumes. */

#include "object/object_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOOK_BLOCKS = 1024 }; /* at the front and at the end of a device, for data that it holds */

/* ---- On a device that is open ---------------------------------------------------------------- */

int
format_make_root(struct cop_volume *volume)
{
	static const struct cop_new new = {
		.size_bytes = sizeof new,
		.kind = COP_DIRECTORY,
		.mode = 0755,
	};
	static const struct birth birth = {
		.branch = BRANCH_MAIN,
		.id = OBJECT_ROOT,
		.links = 2, /* its own "." and ".." */
		.parent = OBJECT_ROOT,
	};
	struct operation op;
	struct tx *tx;
	int err = change_begin(&op, volume, NULL, 0);

	if (err)
		return err;
	err = tx_begin(volume->volume, &op.visit, false, &tx);
	if (err)
		goto out;
	err = record_put_new(&op, tx, &new, &birth);
	if (err) {
		tx_abort(tx);
		goto out;
	}
	err = change_commit(&op, tx);

out:
	change_end(&op);
	return err;
}

static struct volume_format_options
options_below(const struct cop_format_options *options, uint64_t device_size_blocks)
{
	struct volume_format_options below = {
		.volume_blocks = options->volume_bytes / BLOCK_BYTES,
		.label = options->label,
		.node_bytes = options->node_bytes,
		.metadata_copies = options->metadata_copies,
		.journal_blocks = div_up(options->journal_bytes, BLOCK_BYTES),
	};

	if (options->volume_bytes == 0)
		below.volume_blocks = device_size_blocks;
	return below;
}

int
cop_format_sourced_on(struct device *dev, const struct cop_format_options *options,
	const struct cop_sources *sources)
{
	struct cop_format_options given;
	struct cop_open_options open = COP_INIT(open);
	struct volume_format_options below;
	struct cop_volume *volume;
	int err;

	public_copy_in(&given, options, sizeof given);
	below = options_below(&given, device_blocks(dev));
	if (below.volume_blocks > device_blocks(dev))
		return fail(COP_EINVAL,
			"%s has %" PRIu64 " bytes, fewer than the %" PRIu64 " asked for",
			device_name(dev), device_blocks(dev) * BLOCK_BYTES, given.volume_bytes);
	open.cache_bytes = COP_CACHE_BYTES_MIN;
	if (sources) {
		below.random = open.random = sources->random;
		below.clock_ns = open.clock_ns = sources->clock_ns;
		below.context = open.context = sources->context;
	}
	err = volume_format(dev, &below);
	if (err)
		return err;
	err = cop_open_on(dev, &open, &volume); /* makes the root directory */
	return err ? err : cop_close(volume);
}

int
cop_format_on(struct device *dev, const struct cop_format_options *options)
{
	return cop_format_sourced_on(dev, options, NULL);
}

/* ---- On a path ------------------------------------------------------------------------------- */

/* Is there anything but zeros in these blocks? */
static int
look_for_data(struct device *dev, uint64_t addr, uint64_t blocks, bool *out_found)
{
	uint8_t *buffer = block_buffer_alloc(LOOK_BLOCKS);
	int err = 0;

	if (!buffer)
		return fail(COP_ENOMEM, "buffer of %d blocks", LOOK_BLOCKS);
	while (err == 0 && blocks > 0 && !*out_found) {
		uint64_t part = min_u64(blocks, LOOK_BLOCKS);

		err = device_read(dev, addr, buffer, part);
		if (err == 0 && !bytes_are_zero(buffer, part * BLOCK_BYTES))
			*out_found = true;
		addr += part;
		blocks -= part;
	}
	free(buffer);
	return err;
}

/* A file of the host: all that it has been given, which the host can tell from holes. */
static int
look_into_file(struct device *dev, int fd, const struct stat *st, bool *out_found)
{
	uint64_t blocks = device_blocks(dev);
	off_t at = 0;

	while (!*out_found && at < st->st_size) {
		off_t data = lseek(fd, at, SEEK_DATA);
		uint64_t first;
		uint64_t end;
		int err;

		if (data < 0 && errno == ENXIO)
			return 0; /* nothing but a hole from here on */
		if (data < 0)
			data = at; /* a host that cannot tell */
		at = lseek(fd, data, SEEK_HOLE);
		if (at < 0)
			at = st->st_size;
		first = (uint64_t)data / BLOCK_BYTES;
		end = min_u64(div_up((uint64_t)at, BLOCK_BYTES), blocks);
		if (first >= end)
			return 0;
		err = look_for_data(dev, first, end - first, out_found);
		if (err)
			return err;
	}
	return 0;
}

/* A disk: its front and its end, where whoever uses one leaves traces. */
static int
look_at_disk(struct device *dev, bool *out_found)
{
	uint64_t blocks = device_blocks(dev);
	uint64_t part = min_u64(blocks, LOOK_BLOCKS);
	int err = look_for_data(dev, 0, part, out_found);

	if (err == 0)
		err = look_for_data(dev, blocks - part, part, out_found);
	return err;
}

/* COP_EEXIST: it has anything but zeros, or a volume's superblocks. `path` NULL: no file. */
static int
check_is_empty(struct device *dev, const char *path)
{
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	struct superblock newest;
	struct superblock previous;
	struct stat st;
	bool found = false;
	int err;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		err = look_into_file(dev, fd, &st, &found);
	else
		err = look_at_disk(dev, &found);
	if (fd >= 0)
		(void)close(fd); /* it was only read */
	if (err)
		return err;
	if (!found && volume_find_superblock(dev, &newest, &previous) == COP_ENOTVOLUME) {
		err_clear();
		return 0;
	}
	return fail(COP_EEXIST, "%s holds data", device_name(dev));
}

/* The same of what a file has after its last whole block, which no device shows. */
static int
check_tail_is_empty(const char *path)
{
	uint8_t tail[BLOCK_BYTES];
	struct stat st;
	ssize_t got;
	int fd;

	if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size % BLOCK_BYTES == 0)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail_errno(errno, "%s", path);
	got = pread(fd, tail, sizeof tail, st.st_size - st.st_size % BLOCK_BYTES);
	(void)close(fd);
	if (got < 0)
		return fail_errno(errno, "%s", path);
	return bytes_are_zero(tail, (size_t)got) ? 0 : fail(COP_EEXIST, "%s holds data", path);
}

/* Makes the file that is not there. On failure it is not there again. */
static int
format_new_file(const char *device, const char *path, const struct cop_format_options *options)
{
	struct volume_format_options below = options_below(options, 0);
	struct device_options device_options = {
		.flags = DEVICE_CREATE | (options->preallocate ? DEVICE_PREALLOCATE : 0),
		.create_bytes = options->volume_bytes,
	};
	struct device *dev;
	int err;

	if (options->volume_bytes == 0)
		return fail(COP_EINVAL, "%s: a new file needs a size", path);
	/* Before there is a file: an option that makes no sense leaves none behind. */
	err = volume_format_options_complete(&below);
	if (err)
		return err;
	err = device_open(device, &device_options, &dev);
	if (err)
		return err;
	err = cop_format_on(dev, options);
	device_close(dev);
	if (err && path)
		(void)unlink(path); /* the first error is the one to tell */
	return err;
}

/* `path` is the host's, or NULL. */
static int
format_existing(const char *device, const char *path, const struct cop_format_options *options)
{
	struct device_options device_options = { 0 };
	struct volume_format_options below;
	struct device *dev;
	int err;

	err = device_open(device, &device_options, &dev);
	if (err)
		return err;
	if (!options->force)
		err = check_is_empty(dev, path);
	if (err == 0 && !options->force && path)
		err = check_tail_is_empty(path);
	below = options_below(options, device_blocks(dev));
	if (err == 0)
		err = volume_format_options_complete(&below);
	if (err == 0 && (below.volume_blocks > device_blocks(dev) || options->preallocate)) {
		device_close(dev);
		device_options.flags =
			DEVICE_GROW | (options->preallocate ? DEVICE_PREALLOCATE : 0);
		device_options.create_bytes = below.volume_blocks * BLOCK_BYTES;
		err = device_open(device, &device_options, &dev);
		if (err)
			return err;
	}
	if (err == 0)
		err = cop_format_on(dev, options);
	device_close(dev);
	return err;
}

int
cop_format(const char *device, const struct cop_format_options *options)
{
	struct cop_format_options given;
	const char *path = NULL;

	public_copy_in(&given, options, sizeof given);
	if (device_url_is_host_path(device, &path) && access(path, F_OK) != 0)
		return format_new_file(device, path, &given);
	return format_existing(device, path, &given);
}
