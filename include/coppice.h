#ifndef COPPICE_H
#define COPPICE_H

/*
 * coppice: a copy-on-write, checksummed, crash-safe object file system in user space.
 *
 * A volume lives on one device: a file, a raw disk, or memory. It holds numbered objects; an
 * object has attributes and content, and directories give objects names. Everything here works on
 * handles: `struct cop_volume` for an open volume and `struct cop_object` for an open object.
 *
 * Promises
 *   - A call either happens whole or returns an error and has changed nothing.
 *   - A crash leaves a prefix of the changes made, with all that was done before a cop_sync() that
 *     returned 0. docs/crash-contract.md says exactly what is promised.
 *   - Every byte read from the device is verified first. A damaged block costs only what it holds:
 *     reading it returns COP_ECHECKSUM, all else stays readable.
 *   - The library prints nothing, has no global state but a per-thread error text, and starts no
 *     thread that `cop_open_options.threads` does not ask for.
 *
 * Errors     Functions that return int return 0 or a negative COP_E... code; cop_error_text() has
 *            the sentence. Results are untouched on failure.
 * Threads    Any thread may call any function on any handle; operations on one object happen one
 *            after the other, those on different objects side by side. Closing a handle that
 *            another thread still uses is the caller's mistake.
 * Evolution  Structs that begin with `size_bytes` grow at their end: set it to sizeof of the
 *            struct (COP_INIT does). No number in this file ever gets another meaning.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define COP_API        __attribute__((visibility("default")))
#define COP_MUST_CHECK __attribute__((warn_unused_result))

#define COP_VERSION_MAJOR 0
#define COP_VERSION_MINOR 1
#define COP_VERSION_PATCH 0

/* Initialises a struct that begins with its size: struct cop_attr attr = COP_INIT(attr); */
#define COP_INIT(variable)                     \
	{                                      \
		.size_bytes = sizeof(variable) \
	}

/* ---- Errors --------------------------------------------------------------------------------- */

enum cop_error {
	COP_EIO = -1,           /* the device failed */
	COP_ENOMEM = -2,        /* out of memory */
	COP_ENOSPC = -3,        /* no space left on the volume */
	COP_EINVAL = -4,        /* an argument makes no sense */
	COP_ENOENT = -5,        /* no such name, object, version or volume */
	COP_EEXIST = -6,        /* the name is taken */
	COP_ENOTDIR = -7,       /* not a directory */
	COP_EISDIR = -8,        /* a directory */
	COP_ENOTEMPTY = -9,     /* directory not empty */
	COP_ENAMETOOLONG = -10, /* a name of more than 255 bytes */
	COP_ELOOP = -11,        /* too many symbolic links, or a directory moved into itself */
	COP_EMLINK = -12,       /* too many links */
	COP_EFBIG = -13,        /* past the largest file */
	COP_EROFS = -14,        /* the volume or version is read-only */
	COP_EBUSY = -15,        /* somebody else has the volume open for writing */
	COP_EPERM = -16,        /* not permitted */
	COP_EACCES = -17,       /* the host denies access to the device */
	COP_ENODATA = -18,      /* no such attribute, or no data after this offset */
	COP_ERANGE = -19,       /* the result does not fit the buffer */
	COP_ECHECKSUM = -20,    /* damage: bytes do not match their checksum or identity */
	COP_EFORMAT = -21,      /* damage: verified bytes that make no sense */
	COP_ENOTVOLUME = -22,   /* not a coppice volume */
	COP_EUNSUPPORTED = -23, /* a format version or feature that this library does not know */
	COP_ESTALE = -24,       /* the object is gone */
	COP_EXDEV = -25,        /* across volumes or versions */
	COP_ETOOSMALL = -26,    /* the volume is too small; the text says the least that works */
	COP_ENOTSUP = -27,      /* the device or object cannot do this */
	COP_EINTR = -28,        /* interrupted by the caller */
	COP_ELOSS = -29,        /* damage has lost what was durable; writing needs accept_loss */
	COP_ELAST = -29,
};

/* What went wrong in the last call of this thread that failed: a sentence, never NULL. */
COP_API const char *cop_error_text(void);

/* A code as its name ("COP_ENOSPC"), as a short sentence, and as the errno nearest to it. */
COP_API const char *cop_error_name(int code);
COP_API const char *cop_error_sentence(int code);
COP_API int cop_error_errno(int code);

/* ---- Limits --------------------------------------------------------------------------------- */

#define COP_BLOCK_BYTES      4096
#define COP_NAME_BYTES_MAX   255
#define COP_LABEL_BYTES_MAX  63
#define COP_FILE_BYTES_MAX   (UINT64_C(1) << 44) /* 16 TiB */
#define COP_LINKS_MAX        UINT32_C(0xffffffff)
#define COP_XATTR_BYTES_MAX  65536 /* the value of one extended attribute */
#define COP_VOLUME_BYTES_MIN (UINT64_C(8) << 20)
#define COP_VOLUME_BYTES_MAX (UINT64_C(1) << 58)

/* ---- Volumes -------------------------------------------------------------------------------- */

struct cop_volume;
struct cop_object;

struct cop_format_options {
	size_t size_bytes;
	uint64_t volume_bytes; /* 0: as large as the device is; a new file needs it */
	const char *label;     /* NULL: none */
	uint32_t node_bytes; /* 0: by the size of the volume; else 4096 to 65536, a power of two */
	uint32_t metadata_copies; /* 0: 2, content leaves 1; 1 or 2 sets all */
	uint64_t journal_bytes;   /* 0: by the size of the volume */
	bool preallocate;         /* let the host reserve every block now */
	bool force;               /* overwrite what is there */
};

/*
 * Makes an empty volume on `device` (a path, or SCHEME:REST); a file that is not there is created.
 * COP_EEXIST: it is not empty and `force` is not set. COP_ETOOSMALL, COP_EINVAL: see the text.
 * On failure a file that was not there is not left behind, and one that was is untouched unless
 * writing had begun.
 */
COP_API COP_MUST_CHECK int cop_format(const char *device, const struct cop_format_options *options);

struct cop_open_options {
	size_t size_bytes;
	bool read_only;
	uint64_t cache_bytes; /* memory limit; 0: 256 MiB. At least COP_CACHE_BYTES_MIN */
	uint32_t threads;     /* background threads: 0 none, the caller drives; 1 timers and jobs */
	bool no_flush;        /* leave flushes of syncs and of close to the host; order is kept */
	int (*random)(void *context, void *buffer, size_t bytes); /* NULL: getrandom() */
	int64_t (*clock_ns)(void *context); /* NULL: the wall clock, in ns since 1970 */
	void *context;                      /* handed to the two above */
	bool write_through; /* every write enters history at once, as other changes do */
	bool accept_loss;   /* write to a volume that has lost to damage what was durable */
};

#define COP_CACHE_BYTES_MIN (UINT64_C(8) << 20)

/*
 * Opens a volume. One process at a time opens for writing (COP_EBUSY names the pid); readers see
 * the newest durable checkpoint. COP_ENOTVOLUME, COP_EUNSUPPORTED, COP_ECHECKSUM: as they say.
 * COP_ELOSS: damage has lost what was durable. In the journal: the text says which batches; the
 * volume opens for reading as it was before them, and for writing from there on when `accept_loss`
 * is set, which gives up for good what came after. In names or objects that the journal must
 * change: the text says whose; the volume opens for reading without them, and for writing when
 * `accept_loss` is set, which gives up these.
 */
COP_API COP_MUST_CHECK int cop_open(
	const char *device, const struct cop_open_options *options, struct cop_volume **out_volume);

/*
 * Makes all that was done durable and closes. Always frees the handle; an error says that the
 * last changes may be lost. All objects of the volume must have been released. NULL is accepted.
 */
COP_API int cop_close(struct cop_volume *volume);

/* Closes as a crash of the program does: what is not durable may be lost. */
COP_API void cop_abandon(struct cop_volume *volume);

/*
 * Everything done before the call is durable when it returns 0: by one write and one flush, or one
 * durable write, shared by all threads that ask at the same time. COP_EIO: something may be lost;
 * the volume takes no more changes until it is opened again, and every later sync fails.
 */
COP_API COP_MUST_CHECK int cop_sync(struct cop_volume *volume);

/* As cop_sync(), and repeats until nothing awaits release: freed space is free when it returns. */
COP_API COP_MUST_CHECK int cop_settle(struct cop_volume *volume);

/*
 * As cop_sync() for what was written to the object, its attributes, and every change of names
 * before the call. Does not wait for data of other objects that is still being written. What
 * write-back could not store is told to one such call of the object it belonged to; from then on
 * the volume takes no more changes, and every sync says so.
 */
COP_API COP_MUST_CHECK int cop_sync_object(struct cop_object *object);

/*
 * Orders without making durable: nothing that is done after the call is there after a crash unless
 * everything done before it is. Waits until the data is on its way, and flushes nothing.
 */
COP_API COP_MUST_CHECK int cop_barrier(struct cop_volume *volume);

/*
 * Runs due timers and one bounded step of a pending job; for `threads` == 0. Sets how many remain,
 * of which it counts no more than 100.
 * Freeing what is large is a job: the call that causes it returns at once, and its space comes back
 * with the job's steps. cop_settle() runs all jobs, and so does a change that finds no space. A
 * step for which the volume has no room waits: the call returns 0, the job remains pending, and a
 * later call tries again.
 */
COP_API COP_MUST_CHECK int cop_poll(struct cop_volume *volume, uint64_t *out_pending);

struct cop_volume_info {
	size_t size_bytes;
	uint8_t uuid[16];
	char label[COP_LABEL_BYTES_MAX + 1];
	uint32_t format_version;
	uint64_t volume_bytes;
	uint64_t device_bytes;
	uint32_t block_bytes;
	uint32_t node_bytes;
	uint32_t metadata_copies; /* 0: 2, content leaves 1 */
	uint32_t ag_blocks;
	uint64_t ag_count;
	uint64_t journal_bytes;
	uint64_t generation; /* of the newest checkpoint */
	int64_t created_ns;
	int64_t checkpoint_ns;
	uint64_t incompat; /* feature bits: refuse, read only, ignore if unknown */
	uint64_t ro_compat;
	uint64_t compat;
	uint64_t flags; /* COP_VOLUME_... */
	bool clean;
};

enum cop_volume_flags {
	COP_VOLUME_ENCRYPTION = 1 << 0,
	COP_VOLUME_COMPRESSION = 1 << 1,
	COP_VOLUME_BOOT = 1 << 2,
};

/* What the volume is, as its newest checkpoint says. */
COP_API COP_MUST_CHECK int cop_volume_info(
	struct cop_volume *volume, struct cop_volume_info *out_info);

/* The same from any device without opening it: reads superblocks only, takes no lock. */
COP_API COP_MUST_CHECK int cop_probe(const char *device, struct cop_volume_info *out_info);

struct cop_space {
	size_t size_bytes;
	uint64_t volume_bytes;
	uint64_t used_bytes;      /* volume - free */
	uint64_t free_bytes;      /* allocatable now */
	uint64_t available_bytes; /* free less reserve and promises: what can be stored */
	uint64_t pending_bytes;   /* comes back with the next two checkpoints or a running job */
	uint64_t objects;         /* objects on the volume */
	uint64_t closed_groups;   /* as in cop_survey(), as far as this handle has met them */
};

/* How full the volume is now. */
COP_API COP_MUST_CHECK int cop_space(struct cop_volume *volume, struct cop_space *out_space);

/*
 * The allocation groups of a volume, and how many are closed: nothing is stored in them or freed
 * there, because the block that says what they have free cannot be read. What they hold stays
 * readable. Free space in them is in cop_space() until a handle meets the damage.
 */
struct cop_survey {
	size_t size_bytes;
	uint64_t groups;
	uint64_t closed_groups;
	uint64_t closed_bytes; /* free space in them */
};

/* Reads the allocation tree of any device without opening it, one block for each group in use.
 * Takes no lock. */
COP_API COP_MUST_CHECK int cop_survey(const char *device, struct cop_survey *out_survey);

/* Counters since the volume was opened. */
struct cop_stats {
	size_t size_bytes;
	uint64_t device_reads;
	uint64_t device_writes;
	uint64_t device_flushes;
	uint64_t device_read_bytes;
	uint64_t device_written_bytes;
	uint64_t device_syscalls;
	uint64_t device_depth_max; /* most requests in flight at once */
	uint64_t cache_hits;
	uint64_t cache_misses;
	uint64_t cache_evictions;
	uint64_t cache_bytes; /* resident now */
	uint64_t cache_bytes_max;
	uint64_t node_reads;
	uint64_t nodes_written;
	uint64_t checkpoints;
	uint64_t transactions;
	uint64_t repairs; /* bad copies rewritten from good ones */

	/* Making durable: the journal. */
	uint64_t syncs;           /* that had something to make durable, timed ones included */
	uint64_t sync_flushes;    /* flushes that they took: several share one */
	uint64_t sync_fua_writes; /* durable by one write, without a flush */
	uint64_t journal_batches;
	uint64_t journal_bytes; /* of batches, pads included */
	uint64_t journal_pads;  /* batches that fill the region to its end */
	uint64_t journal_wraps; /* times that writing began at the region's start again */
	uint64_t journal_marks; /* batches that only say what is durable */
	uint64_t held_back;     /* times that a change waited for room in the journal */
	uint64_t recoveries;    /* 1: opening found changes after the newest checkpoint */
	uint64_t replayed_transactions;

	/* Space and file data. */
	uint64_t allocated_bytes;    /* that came into use, nodes and their copies included */
	uint64_t freed_bytes;        /* that went out of use */
	uint64_t data_read_bytes;    /* of files, from the device */
	uint64_t data_written_bytes; /* of files, to the device */
	uint64_t share_lookups;      /* questions to the tree of blocks that clones share */
};

/* Each counter by itself is exact; together they are no snapshot. */
COP_API COP_MUST_CHECK int cop_stats(struct cop_volume *volume, struct cop_stats *out_stats);

/* ---- Objects: attributes -------------------------------------------------------------------- */

enum cop_kind {
	COP_FILE = 1,
	COP_DIRECTORY = 2,
	COP_SYMLINK = 3,
	COP_FIFO = 4,
	COP_SOCKET = 5,
	COP_CHAR_DEVICE = 6,
	COP_BLOCK_DEVICE = 7,
};

enum cop_doctype {
	COP_DOC_UNKNOWN = 0,
	COP_DOC_APPLICATION = 1,
	COP_DOC_TAG = 2,
	COP_DOC_TAG_DATABASE = 3,
};

enum cop_content_form {
	COP_FORM_NONE = 0,    /* no content: special files */
	COP_FORM_INLINE = 1,  /* bytes or directory entries in the record */
	COP_FORM_EXTENTS = 2, /* extents in the record */
	COP_FORM_TREE = 3,    /* a content tree */
};

/* Attributes of an object. Times are ns since 1970 and may be negative. */
struct cop_attr {
	size_t size_bytes;
	uint64_t id;
	enum cop_kind kind;
	uint32_t doctype;
	uint32_t mode; /* permission, setid and sticky bits: 07777 */
	uint32_t uid;
	uint32_t gid;
	uint32_t links;
	uint64_t length; /* bytes of a file or symlink, entries of a directory */
	uint64_t allocated_bytes;
	uint64_t device; /* of device nodes: major << 32 | minor */
	int64_t created_ns;
	int64_t changed_ns;
	int64_t modified_ns;
	int64_t accessed_ns;
	uint64_t flags;
	uint64_t owner;  /* owning application object, 0: none */
	uint64_t parent; /* primary parent, 0: none */
	enum cop_content_form form;
	uint32_t levels; /* of the content tree, 0 when there is none */
	uint32_t name_bytes;
	char name[COP_NAME_BYTES_MAX + 1]; /* primary name, NUL added */
};

enum cop_attr_mask {
	COP_SET_MODE = 1 << 0,
	COP_SET_UID = 1 << 1,
	COP_SET_GID = 1 << 2,
	COP_SET_ACCESSED = 1 << 3,
	COP_SET_MODIFIED = 1 << 4,
	COP_SET_CREATED = 1 << 5,
	COP_SET_DOCTYPE = 1 << 6,
	COP_SET_FLAGS = 1 << 7,
	COP_SET_OWNER = 1 << 8,
	COP_SET_CHANGED = 1 << 9, /* for tools that restore; else the clock says */
};

/* Reads all attributes; writes those that `mask` (COP_SET_...) names, all of them or none. */
COP_API COP_MUST_CHECK int cop_stat(struct cop_object *object, struct cop_attr *out_attr);
COP_API COP_MUST_CHECK int cop_set_attr(
	struct cop_object *object, const struct cop_attr *attr, uint32_t mask);

/* ---- Objects: handles and reference counts -------------------------------------------------- */

/*
 * The root directory of a version: NULL or "main" is the main branch. The handle must be released.
 * COP_ENOENT: no such version.
 */
COP_API COP_MUST_CHECK int cop_root(
	struct cop_volume *volume, const char *version, struct cop_object **out_root);

/* What a new object begins with. Times that are 0 come from the clock. */
struct cop_new {
	size_t size_bytes;
	enum cop_kind kind;
	uint32_t doctype;
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint64_t device;    /* device nodes */
	const char *target; /* symlinks: the target, `target_bytes` long */
	size_t target_bytes;
};

/*
 * Allocates an object without a name in the version that `near` belongs to. It has no links and
 * vanishes with its last handle unless cop_link() names it before.
 */
COP_API COP_MUST_CHECK int cop_allocate(
	struct cop_object *near, const struct cop_new *initial, struct cop_object **out_object);

/* Opens the object of number `id` in the version that `near` belongs to. COP_ENOENT. */
COP_API COP_MUST_CHECK int cop_get(
	struct cop_object *near, uint64_t id, struct cop_object **out_object);

/* Another reference to the same handle, and its end. An object stays whole while one is held. */
COP_API struct cop_object *cop_hold(struct cop_object *object);
COP_API void cop_release(struct cop_object *object);

/* The number of an object, and the volume it lives on. */
COP_API uint64_t cop_id(const struct cop_object *object);
COP_API struct cop_volume *cop_volume_of(const struct cop_object *object);

/*
 * Raises or lowers the stored reference count by one without a name, for those who keep objects
 * under names of their own. An object at 0 is freed when its last handle is released.
 * COP_EMLINK, COP_EINVAL (a directory, or no link is left but those of names).
 */
COP_API COP_MUST_CHECK int cop_ref(struct cop_object *object);
COP_API COP_MUST_CHECK int cop_unref(struct cop_object *object);

/* ---- Objects: content ----------------------------------------------------------------------- */

/* Reads up to `bytes` from `offset`; *out_bytes is less only at the end. */
COP_API COP_MUST_CHECK int cop_read(
	struct cop_object *object, uint64_t offset, void *buffer, size_t bytes, size_t *out_bytes);

/* Writes all of `bytes` at `offset` or nothing (up to COP_WRITE_ATOMIC; more goes in pieces of it,
 * and then *out_bytes says how much was written when an error comes back). */
COP_API COP_MUST_CHECK int cop_write(struct cop_object *object, uint64_t offset, const void *buffer,
	size_t bytes, size_t *out_bytes);

#define COP_WRITE_ATOMIC (UINT32_C(1) << 20)

/* Cuts the content off, or extends it by a hole. COP_EFBIG: past COP_FILE_BYTES_MAX. */
COP_API COP_MUST_CHECK int cop_set_length(struct cop_object *object, uint64_t length);

/* Frees the whole blocks in the range and zeroes its edges; the length stays. */
COP_API COP_MUST_CHECK int cop_punch(struct cop_object *object, uint64_t offset, uint64_t bytes);

/* Allocates what is not yet allocated in the range; reads as zeros. `grow` extends the length. */
COP_API COP_MUST_CHECK int cop_preallocate(
	struct cop_object *object, uint64_t offset, uint64_t bytes, bool grow);

/* The next data or hole at or after `offset`. COP_ENODATA: none before the end. The end is a hole.
 */
COP_API COP_MUST_CHECK int cop_seek_data(
	struct cop_object *object, uint64_t offset, uint64_t *out_offset);
COP_API COP_MUST_CHECK int cop_seek_hole(
	struct cop_object *object, uint64_t offset, uint64_t *out_offset);

enum cop_extent_flags {
	COP_EXTENT_HOLE = 1 << 0,
	COP_EXTENT_INLINE = 1 << 1,    /* lies in the object's record */
	COP_EXTENT_UNWRITTEN = 1 << 2, /* preallocated, reads as zeros */
	COP_EXTENT_COMPRESSED = 1 << 3,
	COP_EXTENT_ENCRYPTED = 1 << 4,
	COP_EXTENT_SHARED = 1 << 5,
};

/* Where a byte lies: offset -> block, offset in the block, bytes that follow without a break. */
struct cop_extent {
	size_t size_bytes;
	uint64_t offset; /* as asked */
	uint64_t bytes;
	uint64_t block; /* on the device; 0 for a hole or inline bytes */
	uint32_t offset_in_block;
	uint32_t flags;
	uint64_t birth; /* generation that wrote it */
};

/* COP_ENODATA: at or past the end. */
COP_API COP_MUST_CHECK int cop_map(
	struct cop_object *object, uint64_t offset, struct cop_extent *out_extent);

/* ---- Extended attributes (ACLs are system.posix_acl_access and ..._default) ----------------- */

enum cop_xattr_flags { COP_XATTR_CREATE = 1 << 0, COP_XATTR_REPLACE = 1 << 1 };

/* With `bytes` 0 only the size is told. COP_ENODATA, COP_ERANGE. */
COP_API COP_MUST_CHECK int cop_xattr_get(
	struct cop_object *object, const char *name, void *buffer, size_t bytes, size_t *out_bytes);
COP_API COP_MUST_CHECK int cop_xattr_set(struct cop_object *object, const char *name,
	const void *value, size_t bytes, uint32_t flags);
COP_API COP_MUST_CHECK int cop_xattr_remove(struct cop_object *object, const char *name);

/* All names, each with its NUL, one after the other, as listxattr(2) gives them. */
COP_API COP_MUST_CHECK int cop_xattr_list(
	struct cop_object *object, char *buffer, size_t bytes, size_t *out_bytes);

/* ---- Names ---------------------------------------------------------------------------------- */
/* Names are 1 to 255 bytes of anything but '/' and NUL, and neither "." nor "..". */

/* The object of that name, which must be released. COP_ENOENT, COP_ENOTDIR, COP_ENAMETOOLONG. */
COP_API COP_MUST_CHECK int cop_lookup(struct cop_object *directory, const char *name,
	size_t name_bytes, struct cop_object **out_object);

/* Makes an object and its name in one step. `out_object` may be NULL. COP_EEXIST. */
COP_API COP_MUST_CHECK int cop_create(struct cop_object *directory, const char *name,
	size_t name_bytes, const struct cop_new *initial, struct cop_object **out_object);

/* A further name; for an object of cop_allocate() its first. Directories: COP_EPERM. */
COP_API COP_MUST_CHECK int cop_link(struct cop_object *object, struct cop_object *directory,
	const char *name, size_t name_bytes);

enum cop_unlink_flags {
	COP_UNLINK_FILE = 1 << 0,      /* COP_EISDIR for a directory */
	COP_UNLINK_DIRECTORY = 1 << 1, /* COP_ENOTDIR for anything else; COP_ENOTEMPTY */
};

/* Takes a name away; the object goes with its last name and handle. `flags` say what it may be. */
COP_API COP_MUST_CHECK int cop_unlink(
	struct cop_object *directory, const char *name, size_t name_bytes, uint32_t flags);

enum cop_rename_flags {
	COP_RENAME_NOREPLACE = 1 << 0,
	COP_RENAME_EXCHANGE = 1 << 1,
};

/* Atomic, and replaces as rename(2) does. COP_ELOOP: a directory into itself. */
COP_API COP_MUST_CHECK int cop_rename(struct cop_object *from, const char *from_name,
	size_t from_bytes, struct cop_object *to, const char *to_name, size_t to_bytes,
	uint32_t flags);

/* The target of a symlink; not terminated by NUL. With `bytes` 0 only the size is told. */
COP_API COP_MUST_CHECK int cop_readlink(
	struct cop_object *object, char *buffer, size_t bytes, size_t *out_bytes);

/*
 * Lists entries after `cookie` (0: from the start), in the order of their cookies. `visit` returns
 * true to go on; it must not call the library. *out_cookie is where to go on, UINT64_MAX at the
 * end. Every entry that is there throughout comes exactly once. "." and ".." do not come.
 */
struct cop_entry {
	uint64_t id;
	enum cop_kind kind;
	uint64_t cookie;
	const char *name;
	size_t name_bytes;
};

typedef bool (*cop_visit)(void *context, const struct cop_entry *entry);

/* Lists as said above. COP_ENOTDIR. */
COP_API COP_MUST_CHECK int cop_list(struct cop_object *directory, uint64_t cookie, cop_visit visit,
	void *context, uint64_t *out_cookie);

enum cop_walk_flags {
	COP_WALK_NOFOLLOW = 1 << 0, /* a symlink at the end is the result itself */
};

/*
 * Resolves a path of any length from `start`; a leading '/' means the version's root, symlinks are
 * followed within the volume (40 at most), ".." works.
 */
COP_API COP_MUST_CHECK int cop_walk(
	struct cop_object *start, const char *path, uint32_t flags, struct cop_object **out_object);

/* ---- Proof ---------------------------------------------------------------------------------- */

enum cop_check_flags {
	COP_CHECK_METADATA = 1 << 0, /* leave file data unread */
};

enum cop_problem_class {
	COP_PROBLEM_SUPERBLOCK = 1,
	COP_PROBLEM_ALLOCATION = 2, /* bitmaps and counts */
	COP_PROBLEM_NODE = 3,
	COP_PROBLEM_STRUCTURE = 4, /* records, links, directories that contradict each other */
	COP_PROBLEM_DATA = 5,
	COP_PROBLEM_LEAK = 6,
	COP_PROBLEM_COPY = 7,    /* one of two copies is bad; the other is good */
	COP_PROBLEM_JOURNAL = 8, /* batches that are lost or say what cannot be */
};

struct cop_problem {
	size_t size_bytes;
	enum cop_problem_class class_;
	uint64_t object; /* 0: none in particular */
	uint64_t offset; /* byte range of the object, when data is concerned */
	uint64_t bytes;
	uint64_t block;   /* on the device, 0: none in particular */
	const char *path; /* of the object, NULL when not known */
	const char *text;
};

struct cop_check_progress {
	uint64_t done_bytes;
	uint64_t total_bytes;
};

struct cop_check_options {
	size_t size_bytes;
	uint32_t flags;
	uint64_t cache_bytes;
	void (*problem)(void *context, const struct cop_problem *problem);
	bool (*progress)(
		void *context, const struct cop_check_progress *progress); /* false: stop */
	void *context;
};

struct cop_check_result {
	size_t size_bytes;
	uint64_t problems;
	uint64_t objects;
	uint64_t nodes;
	uint64_t extents;
	uint64_t data_blocks;
	uint64_t verified_bytes;
};

/*
 * Proves every invariant of the volume on `device`, of its newest checkpoint and of what the
 * journal makes of it; writes nothing. 0 with problems == 0 means sound. COP_EBUSY: open for
 * writing. Errors are for what kept the check from finishing.
 */
COP_API COP_MUST_CHECK int cop_check(const char *device, const struct cop_check_options *options,
	struct cop_check_result *out_result);

/* ---- Looking inside, for people who debug --------------------------------------------------- */

enum cop_dump_what {
	COP_DUMP_SUPERBLOCKS = 1, /* every slot in every place */
	COP_DUMP_TREES = 2,       /* which trees there are */
	COP_DUMP_TREE = 3,        /* the nodes of one */
	COP_DUMP_NODE = 4,        /* what lies at a block */
	COP_DUMP_JOURNAL = 5,     /* batch by batch, and where its chain ends and why */
	COP_DUMP_OBJECT = 6, /* what the object tree has of one object, and where its bytes lie */
	COP_DUMP_GROUPS = 7, /* allocation groups */
};

enum cop_dump_tree {
	COP_DUMP_CATALOG = 1,
	COP_DUMP_OBJECTS = 2,
	COP_DUMP_SHARES = 3,
	COP_DUMP_CONTENT = 4,   /* of the object `number` */
	COP_DUMP_DIRECTORY = 5, /* likewise */
	COP_DUMP_DEAD = 6,      /* that the job `number` takes apart */
};

enum cop_dump_flags {
	COP_DUMP_ALL = 1 << 0,      /* entries of nodes, checksums, batches of older laps as well */
	COP_DUMP_PREVIOUS = 1 << 1, /* of the checkpoint before the newest */
	COP_DUMP_REPLAY = 1 << 2,   /* as opening for reading makes it: after the journal */
};

/*
 * A dump is one document: members, objects and arrays in one another. Names and their meaning are
 * those of docs/json.md.
 */
enum cop_dump_type {
	COP_DUMP_BEGIN_OBJECT = 1,
	COP_DUMP_BEGIN_ARRAY = 2,
	COP_DUMP_END = 3, /* of the innermost object or array */
	COP_DUMP_UNSIGNED = 4,
	COP_DUMP_SIGNED = 5, /* `number` as int64_t */
	COP_DUMP_BOOL = 6,
	COP_DUMP_ID = 7,     /* the number of an object */
	COP_DUMP_WORD = 8,   /* 64 bits that are no number: a seal, an epoch, a checksum */
	COP_DUMP_TEXT = 9,   /* `data`, `bytes`: a name, or words */
	COP_DUMP_BYTES = 10, /* `data`, `bytes`: anything */
};

struct cop_dump_item {
	size_t size_bytes;
	enum cop_dump_type type;
	const char *name; /* NULL in an array */
	uint64_t number;
	const void *data;
	size_t bytes;
};

struct cop_dump_options {
	size_t size_bytes;
	enum cop_dump_what what;
	uint32_t flags;
	uint64_t cache_bytes; /* 0: 256 MiB */
	uint64_t block;       /* COP_DUMP_NODE */
	enum cop_dump_tree tree;
	uint64_t number;  /* COP_DUMP_TREE: of object or job; COP_DUMP_OBJECT */
	const char *path; /* COP_DUMP_OBJECT: instead of a number; NULL: by number */
	bool (*item)(void *context, const struct cop_dump_item *item); /* false: stop */
	void *context;
};

struct cop_dump_result {
	size_t size_bytes;
	uint64_t problems; /* what could not be read; each is a member "problem" where it belongs */
};

/*
 * Shows what lies on a device, also of a damaged one: what cannot be read is told and left out.
 * Writes nothing and takes no lock; beside a writer, what is shown need not fit together.
 * COP_ENOENT: no such tree or object. COP_EINTR: `item` said stop.
 */
COP_API COP_MUST_CHECK int cop_dump(const char *device, const struct cop_dump_options *options,
	struct cop_dump_result *out_result);

#ifdef __cplusplus
}
#endif

#endif
