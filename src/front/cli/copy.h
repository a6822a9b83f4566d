#ifndef COPPICE_FRONT_CLI_COPY_H
#define COPPICE_FRONT_CLI_COPY_H

/*
 * copy: the engine of cp, between a source and a sink.
 *
 * A source is where files come from: the host, or a volume. A sink is where they go. Each is a
 * table of functions with an implementation for the host and one for volumes; the engine walks
 * the source, decides what is to be copied, and moves the bytes. It knows neither side.
 *
 * Promises
 *   - A file appears in the sink under its name when it is whole, and not before; a failed copy
 *     leaves nothing of that file.
 *   - No recursion: directories on the way down are frames on the heap. Of the host's directories
 *     at most COPY_OPEN_LEVELS are open on each side; those above are found again by "..".
 *   - Memory follows the depth, one directory's names, and the files that have several names.
 *
 * Errors  Functions return 0 or a code with a note, as the library does. The engine reports.
 */

#include "base/err.h"
#include "front/cli/address.h"
#include "front/cli/entries.h"
#include "front/cli/idset.h"
#include "front/cli/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cli;

enum {
	COPY_OPEN_LEVELS = 128,
	COPY_BUFFER_BYTES = 1 << 20,
	HOST_NAME_BYTES = 256,
};

/* What is known of a file on either side. */
struct item {
	enum cop_kind kind;
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint64_t links;
	uint64_t length;
	uint64_t allocated_bytes;
	uint64_t device;    /* major << 32 | minor */
	int64_t created_ns; /* 0: not known */
	int64_t modified_ns;
	int64_t accessed_ns;
	uint64_t space; /* with `number`, says which file it is */
	uint64_t number;
};

/* ---- Sources -------------------------------------------------------------------------------- */

struct source {
	const struct source_ops *ops;
	struct cli *cli;
	struct cop_object *root; /* of a volume; NULL for the host */
};

struct source_file {
	struct item item;
	bool is_stream;            /* read in order only, of no known length */
	struct cop_object *object; /* volume */
	int fd;                    /* host; -1 for what is not opened: symlinks, special files */
	int directory_fd;          /* host; where `name` is */
	bool owns_directory_fd;    /* else it is borrowed */
	char name[HOST_NAME_BYTES];
};

struct source_directory {
	struct source_file self;
	bool is_suspended; /* host: its descriptor is closed for now */

	/* Host: all names, each with a byte of its type before it and a NUL after it. */
	struct text names;
	size_t next;

	struct entries_reader reader; /* volume */
};

struct source_ops {
	/* What the operand's path leads to; a symlink at its end is followed if `follow`. */
	int (*open_top)(struct source *source, const struct address *address, bool follow,
		struct source_file *out_file);
	int (*open)(struct source *source, struct source_directory *directory, const char *name,
		size_t name_bytes, struct source_file *out_file);
	void (*close)(struct source_file *file);

	/* Takes over an open directory, and is undone by leave(). */
	int (*enter)(struct source *source, struct source_file *file,
		struct source_directory **out_directory);
	/* *out_name is NULL at the end, and good until the next call. */
	int (*next)(
		struct source_directory *directory, const char **out_name, size_t *out_name_bytes);
	void (*leave)(struct source_directory *directory);

	/* The next data at or after `offset`; *out_begin == *out_end: there is none. */
	int (*data)(
		struct source_file *file, uint64_t offset, uint64_t *out_begin, uint64_t *out_end);
	/* Less than asked only at the end. */
	int (*read)(struct source_file *file, uint64_t offset, void *buffer, size_t bytes,
		size_t *out_bytes);
	int (*target)(struct source_file *file, struct text *out);
	/* Names of extended attributes, each with its NUL. */
	int (*xattr_list)(struct source_file *file, struct text *out);
	int (*xattr_get)(struct source_file *file, const char *name, struct text *out);

	/* Closes descriptors for a while, and finds them again from a directory just below. */
	void (*suspend)(struct source_directory *directory);
	int (*resume)(struct source_directory *directory, struct source_directory *below);
};

extern const struct source_ops source_host;
extern const struct source_ops source_volume;

/* Standard input. */
void source_host_stream(struct source_file *out_file);

/* A FIFO or device of the host, opened by open_top(), from here on read like a file. */
MUST_CHECK int source_host_read_special(struct source_file *file);

/* ---- Sinks ---------------------------------------------------------------------------------- */

struct sink {
	const struct sink_ops *ops;
	struct cli *cli;
	bool preserve;
	bool recursive;
	struct cop_object *root; /* of a volume; NULL for the host */

	/* Host. */
	bool has_no_tmpfile;    /* files without a name cannot be had here */
	bool warned_attributes; /* that some attributes cannot be set */
	int sync_fd;            /* on the file system that is written, or -1 */
};

/* A file that is being made, or a directory. */
struct sink_file {
	enum cop_kind kind;
	struct cop_object *object;       /* volume */
	int fd;                          /* host; -1 for symlinks and special files */
	int directory_fd;                /* host; borrowed */
	char temporary[HOST_NAME_BYTES]; /* host: its name until it is whole; "": none */
	bool is_stream;                  /* host: written in order, holes as zeros */
	uint64_t streamed_bytes;
	bool inherits_acl; /* host: from the directory; to be taken away */
	bool inherits_default_acl;
	bool owner_failed; /* host: the owner could not be set */
};

struct sink_directory {
	struct sink_file self;
	bool is_suspended;
	bool has_default_acl; /* host */
	uint64_t space;       /* host: which directory it is */
	uint64_t number;
};

/* Where an operand leads: into a directory, or to a name in one. */
struct destination {
	struct sink_directory *directory;
	char *name; /* owned; NULL: into the directory, under the source's name */
	char *path; /* owned; of the directory, or of the name in it, as messages have it */
	bool wants_directory; /* the operand ends in a slash, and there is nothing yet */
	bool is_stream;       /* to be written in place: standard output, a device, a FIFO */
	struct sink_file stream;
};

struct sink_ops {
	int (*locate)(struct sink *sink, const struct address *address, struct destination *out);
	/* COP_ENOENT: there is none. A symlink is not followed. */
	int (*find)(struct sink *sink, struct sink_directory *directory, const char *name,
		size_t name_bytes, struct item *out_item);

	/*
	 * A file, symlink or special file without its name. `item` has what it is to be at the end.
	 * It ends in finish() or abandon().
	 */
	int (*begin)(struct sink *sink, struct sink_directory *directory, const struct item *item,
		const struct text *target, struct sink_file *out_file);
	int (*write)(struct sink_file *file, uint64_t offset, const void *buffer, size_t bytes);
	int (*set_length)(struct sink_file *file, uint64_t length);
	int (*xattr_set)(struct sink *sink, struct sink_file *file, const char *name,
		const struct text *value);
	/* Gives it its attributes and its name; on failure nothing is left of it. */
	int (*finish)(struct sink *sink, struct sink_file *file, struct sink_directory *directory,
		const char *name, size_t name_bytes, const struct item *item, bool replaces);
	void (*abandon)(struct sink_file *file);

	/* Another name of the copy that `row` tells of. */
	int (*link)(struct sink *sink, const struct idset_row *row,
		struct sink_directory *directory, const char *name, size_t name_bytes,
		bool replaces);

	int (*make_directory)(struct sink *sink, struct sink_directory *directory, const char *name,
		size_t name_bytes, const struct item *item);
	int (*enter)(struct sink *sink, struct sink_directory *directory, const char *name,
		size_t name_bytes, struct sink_directory **out_directory);
	/* The same directory once more. */
	int (*again)(struct sink_directory *directory, struct sink_directory **out_directory);
	int (*finish_directory)(
		struct sink *sink, struct sink_directory *directory, const struct item *item);
	void (*leave)(struct sink_directory *directory);

	/* NULL: closing the volume does what is to be done. */
	int (*end)(struct sink *sink);

	void (*suspend)(struct sink_directory *directory);
	int (*resume)(struct sink_directory *directory, struct sink_directory *below);
};

extern const struct sink_ops sink_host;
extern const struct sink_ops sink_volume;

/* ---- The engine ----------------------------------------------------------------------------- */

struct copy_frame {
	struct source_directory *from;
	struct sink_directory *to;
	struct item item;  /* what the directory is to be at the end */
	size_t from_bytes; /* of the paths before this level */
	size_t to_bytes;
	bool is_fresh; /* made by this copy: nothing can be in the way in it */
};

struct copy {
	struct cli *cli;
	struct source *source;
	struct sink *sink;
	bool recursive;
	bool preserve;
	bool no_clobber;
	bool update;
	bool partial;
	bool verbose;
	bool has_stopped; /* by an error that would meet every further file, too */
	uint32_t umask_bits;

	struct copy_frame *frames;
	size_t depth;
	size_t capacity;
	struct text from; /* path of the source at work, as messages have it */
	struct text to;
	struct text names;
	struct text value;
	struct idset linked; /* files of several names that have been copied under one */
	void *buffer;
};

/* The destination must have been located. Reports what fails. */
void copy_operand(struct copy *copy, const struct address *address, struct destination *to);
void copy_stream(struct copy *copy, struct destination *to);

/* The bytes of a file that are to be moved: not its holes. */
uint64_t copy_data_bytes(const struct item *item);

/* Tells the progress line what the operand adds to what is to be done, if it is not too much. */
void copy_count(struct copy *copy, const struct address *address);
void copy_fini(struct copy *copy);

#endif
