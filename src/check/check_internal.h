#ifndef COPPICE_CHECK_INTERNAL_H
#define COPPICE_CHECK_INTERNAL_H

/*
 * What the files of the checker share.
 *
 *   check.c        memory, passes, the end
 *   report.c       problems and progress
 *   superblocks.c  copies, fields, the parameters of the format
 *   journal.c      batches, and whether there is anything to replay
 *   references.c   the window of blocks: who refers to what, against the bitmaps
 *   shares.c       who may be referred to more than once, and whether it is so
 *   catalog.c      branches, jobs, dead trees
 *   objects.c      the object tree: records, content, directories
 *   tallies.c      the window of object numbers: names against back references
 *   ancestors.c    is every directory below the root?
 *   path.c         the path of an object
 *   data.c         reading and verifying blocks of data
 */

#include "check/check.h"
#include "object/extent_format.h"
#include "object/job_format.h"
#include "object/record_format.h"
#include "space/share.h"
#include "volume/volume.h"

#include <stdbool.h>
#include <stdint.h>

/* ---- What each part keeps -------------------------------------------------------------------- */

/* One AG of the window, or a range of them that cannot be judged. */
struct window_ag {
	uint64_t ag;
	uint64_t end;      /* ag + 1, unless they are unknown */
	bool is_unknown;   /* the allocation tree could not be read: no maps */
	bool has_previous; /* `previous` is valid */
	uint8_t bitmap[BLOCK_BYTES];
	uint8_t found[BLOCK_BYTES]; /* what the newest checkpoint refers to */

	/* What the checkpoint before uses, less what was found to be its. */
	uint8_t previous[BLOCK_BYTES];
};

struct references {
	struct window_ag *ags; /* owned, sorted by `ag` */
	size_t count;
	size_t capacity;
	uint64_t first_ag; /* the window: AGs that are not listed are free */
	uint64_t end_ag;
};

/* Counts of references beyond the first. */
struct sharing {
	struct share_ranges expected; /* in the window, by the share tree */
	struct share_list found;      /* in the window */
	struct share_spares spares;
	bool is_unknown; /* the share tree cannot be read: nothing is expected, all may be */

	/* Shared nodes that this pass has entered: a set of addresses, 0 where there is none. */
	uint64_t *entered; /* owned */
	size_t entered_count;
	size_t entered_places; /* a power of two, or 0 */
};

/* What is known of one object number of the window. */
struct tally {
	uint64_t sum;       /* hashes of the names that lead here, less those of back references */
	uint64_t trim_sum;  /* numbers of jobs that trim it, and of the one that the record names */
	uint32_t names;     /* entries that lead here */
	uint32_t backs;     /* back references */
	uint32_t links;     /* by the record */
	uint8_t kind;       /* by the record, 0: none was seen */
	uint8_t entry_kind; /* by the entries */
	uint8_t trim_jobs;  /* up to 255 */
	uint8_t flags;      /* enum tally_flags */
};

enum tally_flags {
	TALLY_ORPHAN = 1 << 0,
	TALLY_TRIMMING = 1 << 1,
	TALLY_DAMAGED = 1 << 2, /* there is something, but it cannot be read */
};

enum { TALLY_PAGE_IDS = 16 };

/* Object numbers that lie side by side. */
struct tally_page {
	uint64_t number; /* of the page: the first object's by TALLY_PAGE_IDS */
	struct tally tallies[TALLY_PAGE_IDS];
};

struct tallies {
	struct tally_page *pages; /* owned, `page_max` of them */
	uint32_t *index;          /* owned: by hash of the number, where in `pages`, from 1 */
	uint64_t index_mask;
	uint32_t page_count;
	uint32_t page_max;
	uint64_t first_page; /* the window */
	uint64_t end_page;   /* UINT64_MAX: it has no end */
};

/* Two bits for each object number up to `limit`: what climbing from there has shown. */
struct ancestors {
	uint8_t *marks; /* owned */
	uint64_t limit;
};

struct data_queue;

/* Problems of one kind have the same class and the same format. */
struct problem_kind {
	enum cop_problem_class class_;
	const char *format;
	uint64_t count;
	char text[160]; /* of the first that was not told */
};

enum {
	REPORTS_OF_A_KIND_MAX = 1000,
	TOLD_MAX = 4096, /* problems that are remembered for the second proof */
	PROBLEM_KINDS_MAX = 128,
	CHECK_PATH_BYTES = 16384, /* a longer path is not told */
};

/* How large the parts are; what tests choose and check.c derives from the memory limit. */
struct check_limits {
	uint64_t cache_bytes;
	size_t window_ags;
	uint64_t window_ids; /* if they lie side by side */
	uint64_t ancestor_ids;
	uint32_t data_in_flight;
	uint32_t data_request_blocks; /* EXTENT_BLOCKS_MAX or more */
	uint32_t data_blocks;         /* collected before they are read in order */
	size_t window_shares;         /* ranges of the share tree at once */
	size_t shared_nodes;          /* in the whole volume */
};

/* Parts of the metadata that cannot be read. What hangs on them is not judged. */
struct losses {
	uint64_t nodes;   /* or records, of any kind: their blocks look leaked */
	uint64_t objects; /* of them, of the object tree or catalog: objects may be missing */
	uint64_t entries; /* of them, of directories or possibly so: names may be missing */
};

struct checker {
	struct device *dev;
	struct cop_check_options options;
	struct check_limits limits;
	struct cop_check_result result;
	struct superblock sb;
	struct superblock previous; /* generation 0: none */
	struct geometry geometry;
	struct volume *volume;
	struct tree_env *env;
	uint8_t parameters[BLOCK_BYTES]; /* as each AG without a ring begins */

	/* A second proof, of what replaying the journal gives, in memory. */
	bool has_replay;
	bool is_replayed;          /* this is it: `sb` is what a checkpoint would say */
	uint64_t replayed_from;    /* the newest checkpoint: what is younger was replayed */
	struct tree_root replayed; /* the object tree, which the catalog does not know yet */
	uint64_t *told;            /* owned: hashes of problems, so that none is told twice */
	size_t told_count;

	/* This pass. */
	bool is_first_pass; /* the one that judges nodes, records and data */
	struct references references;
	struct sharing sharing;
	struct tallies tallies;
	struct losses losses;     /* of the newest checkpoint */
	uint64_t previous_losses; /* nodes of the one before */
	uint64_t dead_trees;      /* that the newest checkpoint has */
	uint64_t objects_found;

	/* Over all passes. */
	struct ancestors ancestors;
	struct data_queue *data; /* owned */
	uint64_t leaked_blocks;  /* that could not be judged */
	uint64_t stray_names;    /* that lead nowhere, and could not be judged */
	uint64_t stray_objects;  /* whose names or links could not be judged */
	struct losses worst;     /* of any pass */

	/* Reporting. */
	struct problem_kind kinds[PROBLEM_KINDS_MAX];
	size_t kind_count;
	struct tree_root objects;    /* of the newest checkpoint, once the catalog was read */
	char path[CHECK_PATH_BYTES]; /* of the problem that is being reported */
	uint64_t pass;
	uint64_t pass_count;
	uint64_t pass_bytes; /* of this pass, seen so far */
	uint64_t used_bytes; /* in one pass */

	int err; /* what ends the check: no memory, or the caller said stop */
};

/* The walk over what one superblock reaches. */
struct walker {
	struct checker *checker;
	const struct superblock *sb;
	bool is_previous;         /* the checkpoint before: only what it has alone is judged */
	bool is_judged;           /* the node that has just been entered */
	struct tree_root objects; /* of the branch */
	uint64_t nodes_entered;
	bool has_too_many_nodes;

	/* The tree that is being walked. */
	enum tree_kind kind;
	const char *what;    /* names it in a problem */
	uint64_t object;     /* whose it is, 0: a tree of the volume */
	uint64_t birth_max;  /* of its root */
	uint64_t leaf_birth; /* of the leaf whose entries come */
	bool was_damaged;    /* a node of it could not be read */
	bool is_partial;     /* a part of it was met before, in another tree that shares it */

	struct gathered *gathered;     /* objects.c: of the object whose keys are being met */
	struct dead_tree *dead;        /* catalog.c: the dead tree that is being walked */
	struct share_range last_share; /* shares.c: the entry before; of no blocks: none */
};

/* Walking another tree from within the entries of one. */
struct walker_place {
	enum tree_kind kind;
	const char *what;
	uint64_t object;
	uint64_t birth_max;
	uint64_t leaf_birth;
	bool was_damaged;
};

/* ---- check.c --------------------------------------------------------------------------------- */

/* As cop_check_on(), with limits of the caller's choice; NULL: by the memory limit. */
MUST_CHECK int check__on(struct device *dev, const struct cop_check_options *options,
	const struct check_limits *limits, struct cop_check_result *out_result);

/* Structs of coppice.h come from, and go to, callers who may know less of them. */
void check__copy_known(void *to, const void *from, size_t known_bytes, size_t bytes);

/* ---- report.c -------------------------------------------------------------------------------- */

struct finding {
	enum cop_problem_class class_;
	uint64_t object;
	uint64_t offset;
	uint64_t bytes;
	uint64_t block;
};

/* `format` lives as long as the check. */
void report__problem(struct checker *checker, const struct finding *finding, const char *format,
	...) __attribute__((format(printf, 3, 4)));

/* The same with a text that lives as long as the check, or is that of the newest error. */
void report__text(struct checker *checker, const struct finding *finding, const char *text);

/* Says how many problems were not told. */
void report__finish(struct checker *checker);

/* Counts bytes for the progress; false when the check shall end (checker->err is set). */
bool report__progress(struct checker *checker, uint64_t bytes);

/* The text of the newest error, or of the code when there is none. */
const char *report__why(int err);

/* ---- path.c ---------------------------------------------------------------------------------- */

/* The path of an object in the newest checkpoint, until the next call; NULL: not known. */
const char *path__of(struct checker *checker, uint64_t id);

/* ---- superblocks.c --------------------------------------------------------------------------- */

/* Fields and copies of both superblocks. */
MUST_CHECK int superblocks__check(struct checker *checker);

/* The block at the start of an AG that has been written and has no ring. */
void superblocks__check_parameters(struct checker *checker, uint64_t ag, uint8_t *block);

/* ---- journal.c ------------------------------------------------------------------------------- */

/* Judges the journal, and finds out whether there is anything to replay. COP_ENOMEM. */
MUST_CHECK int journal__check(struct checker *checker);

/* ---- references.c ---------------------------------------------------------------------------- */

/* A run that something refers to. */
struct claim {
	uint64_t addr;
	uint64_t blocks;
	uint64_t birth;
	uint64_t object;
	uint64_t offset; /* of data: in the content */
	bool is_data;
	const char *what; /* names it in a problem */
};

enum claim_result {
	CLAIM_NEW,    /* or not in the window */
	CLAIM_TWICE,  /* somebody else has it, and may not: reported */
	CLAIM_AGAIN,  /* somebody else has it too, as the share tree says */
	CLAIM_BAD,    /* it lies outside of the volume: reported */
	CLAIM_SHARED, /* of the checkpoint before: the newest has it too */
	CLAIM_UNSEEN, /* of the checkpoint before: not in this window */
};

/* Sets up the window that begins at `first_ag`, the share tree's part of it included. */
MUST_CHECK int references__begin(struct checker *checker, uint64_t first_ag);
void references__end(struct checker *checker);

/* Passes that the volume takes. */
MUST_CHECK int references__count_passes(struct checker *checker, uint64_t *out_passes);

/* For the newest checkpoint. */
enum claim_result references__claim(struct checker *checker, const struct claim *claim);

/* For the one before, after all claims of the newest: CLAIM_NEW is what only that one has. */
enum claim_result references__claim_previous(struct checker *checker, const struct claim *claim);

/* Compares what was found with the bitmaps. */
void references__judge(struct checker *checker);

/* ---- shares.c -------------------------------------------------------------------------------- */

/* What the share tree expects in the window, which ends earlier if that is too much. */
MUST_CHECK int shares__begin(struct checker *checker);
void shares__end(struct checker *checker);

/* A reference of the newest checkpoint to a block that another one was found for. False: there are
 * more than the share tree says. */
bool shares__claim(struct checker *checker, uint64_t block, uint64_t birth);

/* Has the node another reference, in the newest checkpoint? */
bool shares__is_shared(struct checker *checker, const struct tree_pointer *pointer);

/* True the first time in a pass that it is asked for this shared node. */
bool shares__enter(struct checker *checker, const struct tree_pointer *pointer);

/* The share tree itself. */
void shares__walk(struct walker *walker);

/* Compares what was found with what was expected. */
void shares__judge(struct checker *checker);

/* ---- tallies.c ------------------------------------------------------------------------------- */

/* Sets up the first window, and then each time the one that follows. */
MUST_CHECK int tallies__begin(struct checker *checker);
void tallies__end(struct checker *checker);

/* After a pass: its window was the last. */
bool tallies__are_done(const struct checker *checker);
void tallies__entry(struct checker *checker, uint64_t directory, struct view name, uint64_t id,
	enum cop_kind kind);
void tallies__back(struct checker *checker, uint64_t id, uint64_t parent, struct view name);
void tallies__record(struct checker *checker, uint64_t id, const struct record *record);
void tallies__damaged(struct checker *checker, uint64_t id);
void tallies__orphan(struct checker *checker, uint64_t id);
void tallies__trim_job(struct checker *checker, uint64_t id, uint64_t number);
void tallies__judge(struct checker *checker);

/* ---- ancestors.c ----------------------------------------------------------------------------- */

MUST_CHECK int ancestors__begin(struct checker *checker);
void ancestors__end(struct checker *checker);

/* False: the directory, whose record names `parent`, is not below the root, and no directory above
 * it has been told so. */
bool ancestors__lead_to_root(struct checker *checker, uint64_t id, uint64_t parent);

/* ---- catalog.c ------------------------------------------------------------------------------- */

/* Walks everything that the superblock reaches. */
void catalog__walk(struct checker *checker, const struct superblock *sb);

/* A problem of what the walker has come to; not for the checkpoint before, and told once. */
void catalog__problem(const struct walker *walker, uint64_t object, const char *text);

/* Walks a tree whose root stands in a leaf of birth walker->leaf_birth. */
void catalog__walk_tree(struct walker *walker, enum tree_kind kind, const char *what,
	uint64_t object, const struct tree_root *root,
	bool (*entry)(void *context, struct view key, struct view value), bool *out_was_damaged);

/* ---- objects.c ------------------------------------------------------------------------------- */

void objects__walk(struct walker *walker, const struct tree_root *root);

/* A node of the object tree is lost: the object that is being met may be incomplete, the next one
 * too. */
void objects__lost(struct walker *walker);

/* An extent that is referred to; `length` is that of the content or value, in bytes. */
struct extent_place {
	uint64_t object;
	uint64_t length;
	uint64_t birth_max;
	const char *what;
};
void objects__extent(
	struct walker *walker, const struct extent *extent, const struct extent_place *place);

/* ---- data.c ---------------------------------------------------------------------------------- */

MUST_CHECK int data__begin(struct checker *checker);
void data__end(struct checker *checker);

/* A run to be verified, sooner or later. `bytes` of it are content; what follows in the block where
 * they end must be zero. */
struct data_run {
	uint64_t addr;
	uint64_t object;
	uint64_t offset; /* in the content */
	uint32_t blocks;
	uint32_t bytes;
	bool is_previous;
	const char *what;
	const uint64_t *checksums; /* one for each block, copied */
};
void data__verify(struct checker *checker, const struct data_run *run);
void data__finish(struct checker *checker);

#endif
