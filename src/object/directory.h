#ifndef COPPICE_OBJECT_DIRECTORY_H
#define COPPICE_OBJECT_DIRECTORY_H

/*
 * directory: the entries of one directory, in its record while they are few, else in a tree.
 *
 * A change loads the directory, inserts and removes entries, each of which adds its messages to the
 * transaction or edits the record in memory, and puts the record at the end. The form follows by
 * itself: a tree when the entries outgrow the record, the record again when the last one is gone.
 *
 * Locks  Changes: the directory is one of the operation's objects. Reading: see directory_find().
 */

#include "object/directory_format.h"
#include "object/object_internal.h"

struct directory {
	struct cop_object *object;
	struct loaded loaded;
	uint8_t content[RECORD_CONTENT_MAX]; /* what record.content points to once it was edited */
};

/* COP_ENOTDIR, COP_ESTALE: gone, or removed and merely still open. */
MUST_CHECK int directory_load(struct cop_object *object, struct directory *out);

/*
 * The entry of `name`; its name view is the caller's. COP_ENOENT. For a reader the caller guards
 * load and find together by a `struct reading`.
 */
MUST_CHECK int directory_find(const struct directory *dir, struct view name, struct entry *out);

enum { DIRECTORY_INSERT_MESSAGES_MAX = DIRECTORY_INLINE_ENTRIES_MAX + 1 };

/* Adds an entry whose name is not there. Counts a directory among the links. */
MUST_CHECK int directory_insert(struct directory *dir, struct tx *tx, const struct entry *entry);

/* Takes an entry away that is there. */
MUST_CHECK int directory_remove(struct directory *dir, struct tx *tx, const struct entry *entry);

/* Puts the record, with the times of a change: one message. */
MUST_CHECK int directory_put(struct directory *dir, struct tx *tx);

#endif
