#ifndef COPPICE_FRONT_CLI_VOLUMES_H
#define COPPICE_FRONT_CLI_VOLUMES_H

/*
 * volumes: those that a command has open, each once, however it is spelled.
 *
 * A command opens what it changes before what it only reads, so that a volume that is both is open
 * for writing once. All are closed, and what was changed made durable, by volumes_close().
 */

#include "base/err.h"
#include "front/cli/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cli;

struct volume {
	char *device;
	bool is_writable;
	bool has_identity; /* of the host's file, which `host_device` and `host_inode` are */
	dev_t host_device;
	ino_t host_inode;
	struct cop_volume *handle; /* NULL: it has just been closed */
};

struct volumes {
	struct volume *rows;
	size_t count;
};

/* Parses an operand of a command that wants a volume; reports and returns the code on failure. */
MUST_CHECK int volume_address(struct cli *cli, const char *operand, struct address *out_address);

/* The same for a command that wants a whole volume, without a version or path. */
MUST_CHECK int volume_whole(struct cli *cli, const char *operand, struct address *out_address);

/* The error is noted, not reported. */
MUST_CHECK int volumes_open(struct cli *cli, const struct address *address, bool writable,
	struct cop_volume **out_volume);

/* The root directory of the address' version. */
MUST_CHECK int volumes_root(struct cli *cli, const struct address *address, bool writable,
	struct cop_object **out_root);

/* What the address' path leads to; `walk_flags` are cop_walk()'s. */
MUST_CHECK int volumes_walk(struct cli *cli, const struct address *address, bool writable,
	uint32_t walk_flags, struct cop_object **out_object);

/* The directory of the path's last name, and that name, for what makes or removes it. */
MUST_CHECK int volumes_walk_parent(struct cli *cli, const struct address *address, bool writable,
	struct cop_object **out_directory, const char **out_name, size_t *out_name_bytes);

/* The open volume that lives in this file of the host, or NULL. */
const struct volume *volumes_in_file(const struct volumes *volumes, dev_t device, ino_t inode);

/* Reports what fails. `settle`: also waits until everything removed is free space again. */
void volumes_close(struct cli *cli, bool settle);

#endif
