#ifndef COPPICE_CHECK_DUMP_INTERNAL_H
#define COPPICE_CHECK_DUMP_INTERNAL_H

/*
 * What the files of the dump share.
 *
 *   dump.c              options, the document
 *   dump_superblocks.c  slots and places
 *   dump_groups.c       the allocation tree
 *   dump_trees.c        where trees are, their nodes
 *   dump_entries.c      keys and values by the tree they are of
 *   dump_node.c         one block
 *   dump_journal.c      batches, transactions, messages
 *   dump_object.c       one object
 */

#include "check/check_internal.h"
#include "check/dump.h"
#include "volume/branch_format.h"

struct dump {
	struct device *dev;
	struct cop_dump_options options;
	struct cop_dump_result result;
	uint32_t depth; /* of what is open in the document */
	int err;        /* what ends the dump: no memory, or the caller said stop */

	/* The checkpoint that is shown, and the one before it; generation 0: none. */
	struct superblock sb;
	struct superblock previous;
	struct superblock newest; /* `sb`, unless that is an older one */
	struct geometry geometry;

	/* Of whoever looks at trees. */
	struct cache *cache; /* owned, unless it is the volume's */
	struct tree_env own_env;
	struct tree_env *env;
	struct volume *volume; /* owned: with COP_DUMP_REPLAY */
	struct tree_root catalog;
	struct branch_record branch;
	bool has_branch;
};

/* ---- dump.c: the document -------------------------------------------------------------------- */

/* `name` is NULL in an array. */
void dump__object(struct dump *dump, const char *name);
void dump__array(struct dump *dump, const char *name);
void dump__end(struct dump *dump);
void dump__unsigned(struct dump *dump, const char *name, uint64_t number);
void dump__signed(struct dump *dump, const char *name, int64_t number);
void dump__bool(struct dump *dump, const char *name, bool is_true);
void dump__id(struct dump *dump, const char *name, uint64_t id);
void dump__word(struct dump *dump, const char *name, uint64_t word);
void dump__text(struct dump *dump, const char *name, const char *text);
void dump__name(struct dump *dump, const char *name, struct view text);
void dump__bytes(struct dump *dump, const char *name, struct view bytes);

/* A member "problem" that says why, counted; no memory ends the dump. Clears the error. */
void dump__problem(struct dump *dump, int err);

/* An object "root", if there is one. */
void dump__pointer(struct dump *dump, const struct tree_pointer *pointer);
void dump__root(struct dump *dump, const char *name, const struct tree_root *root);

bool dump__wants_all(const struct dump *dump);

/* ---- The parts --------------------------------------------------------------------------------
 */

/* Looks for the ring itself, whatever is left of it. */
MUST_CHECK int dump__superblocks(struct dump *dump);

MUST_CHECK int dump__groups(struct dump *dump);
MUST_CHECK int dump__node(struct dump *dump);
MUST_CHECK int dump__journal(struct dump *dump);

/* Trees are open. */
MUST_CHECK int dump__trees(struct dump *dump);
MUST_CHECK int dump__tree(struct dump *dump);
MUST_CHECK int dump__object_of(struct dump *dump);

/* Before that: the number behind options.path, in the volume as opening for reading finds it. */
MUST_CHECK int dump__resolve(struct dump *dump);

/* ---- dump_trees.c -----------------------------------------------------------------------------
 */

/* Makes dump->env and the root of the catalog usable; and the end. */
MUST_CHECK int dump__trees_open(struct dump *dump);
void dump__trees_close(struct dump *dump);

/* Walks a tree: entries to `entry`, nodes that cannot be read to the document. */
void dump__walk(struct dump *dump, enum tree_kind kind, const struct tree_root *root,
	bool (*entry)(void *context, struct view key, struct view value), void *context);

/* The root of the object tree of the branch. */
MUST_CHECK int dump__objects_root(struct dump *dump, struct tree_root *out_root);

/* ---- dump_node.c ------------------------------------------------------------------------------
 */

/* Members for what a good node says of itself beside its pointer. */
void dump__image(struct dump *dump, const uint8_t *data);

/* ---- dump_entries.c ---------------------------------------------------------------------------
 */

/* An object for an entry of a leaf of such a tree. */
void dump__entry(struct dump *dump, const char *name, enum tree_kind kind, struct view key,
	struct view value);

/* Members of the object that is open. */
void dump__extent(struct dump *dump, const struct extent *extent);
void dump__record(struct dump *dump, struct view value);

const char *dump__kind_name(enum tree_kind kind);

#endif
