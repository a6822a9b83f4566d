#ifndef COPPICE_OBJECT_INTERNAL_H
#define COPPICE_OBJECT_INTERNAL_H

/*
 * object_internal: what the files of the object floor share.
 *
 * A public function is an *operation*. One that only reads looks like this:
 *
 *	operation_begin(&op, volume);
 *	do
 *		err = stat_object(&op, object, &attr);
 *	while (operation_again(&op, &err));
 *	operation_end(&op);
 *
 * and one that changes objects like this; from change_begin() to change_end(), which are in
 * change_turn(), no other change of the same objects runs:
 *
 *	struct operation op = { 0 };
 *
 *	while (change_turn(&op, volume, objects, count, &err))
 *		err = ...;      record_load(), tx_begin(), record_put(), ..., change_commit()
 *
 * Readers do not wait for changes. What a reader takes from one tree_get() is whole; what it puts
 * together from several (record, then tree) it guards with a `struct reading`.
 *
 * Promises
 *   - Changes of one object happen one after the other, in the order of change_begin().
 *   - An object stays whole while a handle to it is held; the last release of one without links
 *     frees it.
 *   - A change moves the version of its objects (object/cached.h) in the hold of the gate in which
 *     it is applied.
 *   - The ranges that a record lists as being freed count as holes; a block of them is written only
 *     when what lies there is freed, and the range no longer says so.
 *   - Bytes on the device past the end of the content, inside its last block, are zero.
 *
 * Locks  LOCK_HANDLES (cop_volume.lock): the table of handles, the queues, what is claimed. It is
 *        never held while a tree or the device is read.
 */

#include "base/bytes.h"
#include "base/err.h"
#include "base/lock.h"
#include "base/num.h"
#include "coppice.h"
#include "object/cached.h"
#include "object/extent_format.h"
#include "object/open.h"
#include "object/pages.h"
#include "object/record_format.h"
#include "volume/volume.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	HANDLE_BUCKETS = 1024,
	OPERATION_OBJECTS_MAX = 6,
};

struct cop_object {
	/* Constant. */
	struct cop_volume *volume;
	uint64_t branch;
	uint64_t id;
	enum cop_kind kind;

	/* What no transaction holds yet; pages.h says who may do what. */
	struct pages pages;

	/* Guarded by cop_volume.lock. */
	struct cop_object *dirty_older; /* volume.dirty_newest, dirty_oldest */
	struct cop_object *dirty_newer;
	uint64_t dirty_number; /* in the order of becoming dirty; 0: clean. A dirty one holds a
				* reference to itself */
	int64_t dirty_ns;
	int write_error; /* of its write-back, until a sync has reported it */

	/* Guarded by cop_volume.lock. */
	struct cop_object *next; /* in its bucket */
	uint32_t refs;
	bool is_orphan;       /* no links: freed by the last release */
	bool is_going;        /* a change that may take it away is under way */
	bool is_removed;      /* it has been taken away */
	uint64_t tickets;     /* handed out by the queue of changes */
	uint64_t serving;     /* the ticket whose turn it is */
	struct tree *content; /* opened when first asked for; released with the handle */

	/* Of the content, for readers that take no lock. */
	struct cached cached;
};

struct job_claim {
	uint64_t number;
	struct job_claim *next;
};

struct cop_volume {
	/* Constant. */
	struct volume *volume;
	struct device *dev;
	bool owns_device;
	bool has_thread;
	struct tree *objects; /* the object tree of the main branch */
	struct tree *catalog;
	uint32_t content_max; /* bytes of content that a record may hold */
	bool write_through;   /* no pages: a write is a transaction */
	struct gate *pages_gate;
	pthread_t thread;

	struct cached_budget cached;
	_Atomic uint64_t data_blocks_read; /* of content, from the device; relaxed */

	/* Guarded by `lock`, rank LOCK_HANDLES. */
	struct mutex lock;
	struct condition changed; /* a queue moved on, an object ceased to be going, a job to be
				   * run, the thread has been through a round */
	struct condition wake;    /* the thread should end, or run jobs */
	struct cop_object *buckets[HANDLE_BUCKETS];
	uint64_t handles;
	size_t cached_cursor;     /* the bucket whose windows are given up next */
	struct job_claim *claims; /* jobs that somebody is running */
	struct cop_object *dirty_oldest;
	struct cop_object *dirty_newest;
	uint64_t dirty_numbers; /* given out */
	bool is_closing;
	bool has_jobs;        /* there may be some to run; for the thread */
	bool is_working;      /* the thread: it may hold objects, and look at what was freed */
	uint64_t work_rounds; /* that it has been through */

	_Atomic uint64_t dirty_pages;
};

/*
 * Structs of coppice.h, which begin with their size: to a caller who may know less of them than we
 * do, and from one (NULL: all zero).
 */
void public_copy_out(void *out, const void *from, size_t known_bytes);
void public_copy_in(void *to, const void *from, size_t known_bytes);

/* The first act in a new volume: its root directory, which nobody in particular owns. */
MUST_CHECK int format_make_root(struct cop_volume *volume);

/* ---- Operations ----------------------------------------------------------------------------- */

struct operation {
	struct cop_volume *volume;
	struct volume_visit visit;
	uint32_t tries;
	struct cop_object *objects[OPERATION_OBJECTS_MAX];
	uint64_t tickets[OPERATION_OBJECTS_MAX];
	size_t count;

	/* After data_fetch() has failed: which blocks could not be had, 0: no one in particular. */
	uint64_t bad_first;
	uint64_t bad_blocks;
};

/* Tickets and turns; cop_volume.lock is held. */
uint64_t queue_take_locked(struct cop_object *object);
void queue_wait_locked(struct cop_object *object, uint64_t ticket);
void queue_leave_locked(struct cop_object *object);

void operation_begin(struct operation *op, struct cop_volume *volume);
void operation_end(struct operation *op);

/*
 * True for a reader beside a writer when what it did counts for nothing: it found damage in an old
 * checkpoint, and a newer one is there now; or another thread has moved the handle to a newer one
 * meanwhile, so that it may have met two. Then try again. After many tries COP_EBUSY.
 *
 * What does not put several things together loops on errors only: a success stays one.
 */
bool operation_again(struct operation *op, int *err);

/* Has the operation this object's turn? */
bool operation_has(const struct operation *op, const struct cop_object *object);

/*
 * Waits for its turn on all of `objects` (the same one may come twice) and begins an operation.
 * COP_EROFS: nothing was begun.
 */
MUST_CHECK int change_begin(struct operation *op, struct cop_volume *volume,
	struct cop_object *const *objects, size_t count);
void change_end(struct operation *op);

/*
 * After change_end(): true when a change that met COP_ENOSPC may find room now, because jobs were
 * there and have been run. `*tries` begins as 0.
 */
bool change_again(struct cop_volume *volume, int err, uint32_t *tries);

/*
 * Both, as a loop: true when the operation has its turn, for the first time with an `op` of zeros,
 * or again because there may be room now. `*err` is what the turn before came to, and the result.
 */
bool change_turn(struct operation *op, struct cop_volume *volume, struct cop_object *const *objects,
	size_t count, int *err);

/* tx_commit(), with the readers of the operation's objects made aware. */
MUST_CHECK int change_commit(struct operation *op, struct tx *tx);

/*
 * Guards a reader that puts together what it read from a record and from a tree. After the tree
 * reads, reading_again() says whether a change was applied meanwhile: then begin anew. The third
 * time it waits for its turn in the object's queue, so that it comes to an end. An operation that
 * has turns guards nothing but objects that are among them.
 *
 *	reading_begin(&reading, op, object);
 *	do
 *		err = ...;
 *	while (reading_again(&reading, err));
 */
struct reading {
	struct operation *op;
	struct cop_object *object;
	uint64_t version;
	uint32_t tries;
	bool has_turn;
	uint64_t ticket;
};

void reading_begin(struct reading *reading, struct operation *op, struct cop_object *object);
bool reading_again(struct reading *reading, int err);

/* ---- Handles -------------------------------------------------------------------------------- */

/*
 * The handle of an object that exists; counted. COP_ENOENT: there is no such object.
 * Inside an operation that may read.
 */
MUST_CHECK int handle_open(
	struct operation *op, uint64_t branch, uint64_t id, struct cop_object **out_object);

/*
 * A handle for an object that a transaction is about to make: got before the commit, so that
 * nothing can fail after it. If the commit fails, handle_discard().
 */
MUST_CHECK int handle_make(struct cop_volume *volume, uint64_t branch, uint64_t id,
	enum cop_kind kind, bool is_orphan, struct cop_object **out_object);
void handle_discard(struct cop_object *object);

/* The tree of the object's content (TREE_CONTENT or TREE_DIRECTORY); lives with the handle. */
MUST_CHECK int handle_tree(struct cop_object *object, struct tree **out_tree);

/* Its levels as they are now; 0: it is empty. */
MUST_CHECK int handle_tree_levels(struct cop_object *object, uint8_t *out_levels);

struct tree_name handle_tree_name(const struct cop_object *object);

/* Is the caller's reference the only one, but for that of an object which is dirty? */
bool handle_is_last_locked(const struct cop_object *object);

/* Frees what callers forgot to release. No other thread uses the volume. */
void handle_free_all(struct cop_volume *volume);

/* After a commit: has the object links? Decides what the last release does. */
void handle_set_orphan(struct cop_object *object, bool is_orphan);

/* The name of the object tree that an object is recorded in. */
static inline struct tree_name
objects_name(uint64_t branch)
{
	return (struct tree_name){ .branch = branch, .kind = TREE_OBJECTS };
}

/* Puts the object in front of an error's text. */
static inline int
object_fail_in(int err, const struct cop_object *object)
{
	return fail_in(err, "object %" PRIu64, object->id);
}

/* The same after data_fetch() of its content, with the bytes that could not be had. */
int data_fail_in(int err, const struct operation *op, const struct cop_object *object);

/* ---- Records -------------------------------------------------------------------------------- */

/* A record with the bytes that its views point into. */
struct loaded {
	struct record record;
	uint8_t value[RECORD_BYTES_MAX];
};

/* COP_ESTALE: the object is gone. */
MUST_CHECK int record_load(struct cop_object *object, struct loaded *out);

/* As record_load() by number, without a handle. COP_ENOENT. */
MUST_CHECK int record_load_by_id(
	struct cop_volume *volume, uint64_t branch, uint64_t id, struct loaded *out);

/* Adds the record to the transaction: one message. */
MUST_CHECK int record_put(struct tx *tx, uint64_t branch, uint64_t id, const struct record *record);

/* The key {0, KEY_ORPHAN, id}. */
enum { ORPHAN_KEY_BYTES = OBJECT_KEY_BYTES + 8 };
struct view record_orphan_key(uint8_t out[static ORPHAN_KEY_BYTES], uint64_t id);

/* Sets `changed_ns`, and `modified_ns` if asked, from the clock of the volume. */
void record_touch(struct cop_volume *volume, struct record *record, bool modified);

/*
 * Adds the record of a new object to `tx`, and what it begins with: the target of a symlink; the
 * orphan key when `links` is 0. Counts the object. `name` is the primary name, empty without one.
 * At most NEW_MESSAGES_MAX messages. COP_EINVAL: `new` makes no sense.
 */
struct birth {
	uint64_t branch;
	uint64_t id; /* of volume_next_object() */
	uint32_t links;
	uint64_t parent;
	struct view name;
};
enum { NEW_MESSAGES_MAX = 24 };
MUST_CHECK int record_put_new(
	struct operation *op, struct tx *tx, const struct cop_new *new, const struct birth *birth);

/* ---- Links ---------------------------------------------------------------------------------- */

/*
 * The record's links have been raised from `before`: takes the orphan key away if it was 0. The
 * caller puts the record, and calls handle_set_orphan(object, false) after the commit.
 */
MUST_CHECK int record_links_raised(struct tx *tx, const struct cop_object *object, uint32_t before);

/*
 * Adds to `tx` what follows from the record having lost a link (record->links is the new number):
 * the record; or, at 0, record and orphan key; or, at 0 when nobody holds the object but the caller
 * with one reference of its own, and little hangs on it, its whole removal. At most
 * DROP_MESSAGES_MAX messages. The object must be one of the operation's. When it has succeeded,
 * drop_end() must follow, with what became of the transaction; that leaves the job which takes a
 * large content apart to whoever runs jobs. The transaction should be an emptying one.
 */
struct drop {
	struct cop_object *object;
	bool is_removed;
	bool is_orphan;
	uint64_t job; /* its number; 0: none */
};
enum { DROP_MESSAGES_MAX = 16 };
MUST_CHECK int drop_begin(struct operation *op, struct tx *tx, struct cop_object *object,
	const struct record *record, struct drop *out_drop);

/* The same for an object that is kept by its handles: it is not removed at once. */
MUST_CHECK int drop_begin_kept(struct tx *tx, struct cop_object *object,
	const struct record *record, struct drop *out_drop);
void drop_end(struct operation *op, struct drop *drop, bool committed);

/* ---- Data ----------------------------------------------------------------------------------- */

/* Extents in ascending order, on the heap. Zero it before use; extents_free() ends it. */
struct extents {
	struct extent *list;
	size_t count;
	size_t capacity;
};

MUST_CHECK int extents_add(struct extents *extents, const struct extent *extent);
void extents_free(struct extents *extents);

/* The earliest birth of any of them; UINT64_MAX when there is none. */
uint64_t extents_oldest(const struct extents *extents);

/*
 * Stores bytes in blocks of their own that `tx` takes: writes, waits, and returns extents that
 * begin at block 0. For values beside the content (large attributes). After a failure, or when the
 * transaction is aborted, nothing is left.
 */
MUST_CHECK int data_store(struct operation *op, struct tx *tx, const void *data, size_t bytes,
	struct extents *out_extents);

/*
 * Reads bytes [offset, offset + bytes) of what the extents hold, verified; holes are zeros.
 * COP_ECHECKSUM, COP_EIO: op->bad_first and bad_blocks say which part. COP_EUNSUPPORTED: compressed
 * or encrypted.
 */
MUST_CHECK int data_fetch(struct operation *op, const struct extents *extents, uint64_t offset,
	void *buffer, size_t bytes);

/* The transaction gives the blocks of these extents up. */
MUST_CHECK int data_release(struct tx *tx, const struct extents *extents);

/*
 * The value of KEY_XATTR_BLOB: le32 bytes of the value, then its extents, listed. Encode returns
 * the bytes used, and asserts that there was room. COP_EFORMAT.
 */
size_t blob_encode(uint32_t bytes, const struct extents *extents, uint8_t *out, size_t capacity);
MUST_CHECK int blob_decode(struct view value, uint32_t *out_bytes, struct extents *out_extents);

#endif
