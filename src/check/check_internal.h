#ifndef COPPICE_CHECK_INTERNAL_H
#define COPPICE_CHECK_INTERNAL_H

/*
 * What the files of the checker share.
 *
 *   check.c        passes, superblocks, reporting
 *   references.c   the window of blocks: who refers to what, against the bitmaps
 *   objects.c      the walk over trees and records
 *   tallies.c      the window of object numbers: names against back references
 *   path.c         the path of an object
 *   data.c         reading and verifying blocks of data
 */

#include "check/check.h"
#include "object/extent_format.h"
#include "object/record_format.h"
#include "volume/volume.h"

#include <stdbool.h>
#include <stdint.h>

/* One AG of the window: what its bitmap says, and what was found to be referred to. */
struct window_ag {
	uint64_t ag;
	uint8_t bitmap[BLOCK_BYTES];
	uint8_t found[BLOCK_BYTES];
	uint8_t fresh[BLOCK_BYTES]; /* found, and born in the newest generation */
};

struct references {
	struct window_ag *ags; /* owned, sorted by `ag` */
	size_t count;
	size_t capacity;
	uint64_t first_ag; /* the window: AGs that are not listed are free */
	uint64_t end_ag;
	bool has_unknown; /* a block of the allocation tree is damaged: some AGs are not judged */
};

/* What is known of one object number of the window. */
struct tally {
	uint64_t sum;   /* hashes of the names that lead here, less those of the back references */
	uint32_t names; /* entries that lead here */
	uint32_t backs; /* back references */
	uint32_t links; /* by the record */
	uint8_t kind;   /* by the record, 0: none was seen */
	uint8_t entry_kind; /* by the entries */
	bool is_orphan;
};

struct tallies {
	struct tally *list; /* owned */
	uint64_t first;
	uint64_t count;
};

/* Reads of data that are under way. */
enum { DATA_IN_FLIGHT = 32 };

struct data_read {
	struct device_io io;
	struct extent extent;
	uint64_t object;
	uint8_t *buffer; /* EXTENT_BLOCKS_MAX blocks, owned */
};

struct data_queue {
	struct data_read reads[DATA_IN_FLIGHT];
	size_t count;
};

/* A longer path is not told. */
enum { CHECK_PATH_BYTES = 16384 };

struct checker {
	struct device *dev;
	const struct cop_check_options *options;
	struct cop_check_result result;
	struct superblock sb;
	struct superblock previous; /* generation 0: none */
	struct geometry geometry;
	struct volume *volume;
	struct tree_env *env;

	/* This pass. */
	bool is_first_pass; /* the one that judges nodes, records and data */
	bool is_previous;   /* walking the checkpoint before: only references are judged */
	struct references references;
	struct tallies tallies;
	struct data_queue data;
	uint64_t objects_found;

	struct tree_root objects;    /* of the newest checkpoint, once the catalog was read */
	char path[CHECK_PATH_BYTES]; /* of the problem that is being reported */

	int err; /* what ends the check: no memory, the device gone, or the caller said stop */
};

/* ---- check.c */

struct finding {
	enum cop_problem_class class_;
	uint64_t object;
	uint64_t offset;
	uint64_t bytes;
	uint64_t block;
};

void check__report(struct checker *checker, const struct finding *finding, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Counts bytes for the progress; false when the caller said stop (checker->err is set). */
bool check__progress(struct checker *checker, uint64_t bytes);

/* ---- path.c */

/* The path of an object in the newest checkpoint, until the next call; NULL: not known. */
const char *check__path(struct checker *checker, uint64_t id);

/* ---- references.c */

/* Sets up the window that begins at `first_ag`: as many AGs as memory allows. */
MUST_CHECK int references__begin(struct checker *checker, uint64_t first_ag, size_t capacity);
void references__end(struct checker *checker);

/* The run is referred to, by something born in `birth`; `what` names it in a problem. */
void references__add(struct checker *checker, uint64_t addr, uint64_t blocks, uint64_t birth,
	uint64_t object, const char *what);

/* Compares what was found with the bitmaps. */
void references__judge(struct checker *checker);

/* ---- tallies.c */

MUST_CHECK int tallies__begin(struct checker *checker, uint64_t first, uint64_t count);
void tallies__end(struct checker *checker);
void tallies__entry(struct checker *checker, uint64_t directory, struct view name, uint64_t id,
	enum cop_kind kind);
void tallies__back(struct checker *checker, uint64_t id, uint64_t parent, struct view name);
void tallies__record(struct checker *checker, uint64_t id, const struct record *record);
void tallies__orphan(struct checker *checker, uint64_t id);
void tallies__judge(struct checker *checker);

/* ---- objects.c */

/* Walks everything that the superblock reaches. */
void objects__walk(struct checker *checker, const struct superblock *sb);

/* ---- data.c */

MUST_CHECK int data__init(struct checker *checker);
void data__fini(struct checker *checker);

/* Verifies the blocks of an extent of `object`, sooner or later. */
void data__verify(struct checker *checker, uint64_t object, const struct extent *extent);
void data__finish(struct checker *checker);

#endif
