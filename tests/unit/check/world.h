#ifndef COPPICE_TESTS_CHECK_WORLD_H
#define COPPICE_TESTS_CHECK_WORLD_H

/*
 * world: a sound volume with one of everything on a simulated disk, ways to make it unsound on
 * purpose with right checksums, and what the checker says about it.
 *
 *	struct world *w = world_open();
 *	world_put_record(w, id, &record);     through the volume floor
 *	world_close(w);                       a checkpoint; from here on only the medium is changed
 *	world_expect_one(w, COP_PROBLEM_STRUCTURE, id, "what is said");
 *	world_free(w);
 */

#include "check/check_internal.h"
#include "device/sim.h"
#include "object/directory_format.h"
#include "object/open.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { FOUND_MAX = 64 };

struct found {
	enum cop_problem_class class_;
	uint64_t object;
	uint64_t offset;
	uint64_t bytes;
	uint64_t block;
	char path[256]; /* empty: not known */
	char text[256];
};

struct world {
	struct sim_medium *medium;
	struct device *dev;
	struct cop_volume *volume; /* NULL once it is closed */
	struct cop_object *root;
	uint64_t seed;
	int64_t now_ns;

	/* Options of the next check. */
	struct check_limits limits;
	bool has_limits;
	uint32_t flags;

	/* What the newest check has found. */
	struct found found[FOUND_MAX];
	size_t found_count;
	struct cop_check_result result;
};

/* A record with the bytes that its views point into. */
struct loaded_record {
	struct record record;
	uint8_t value[RECORD_BYTES_MAX];
};

/*
 * What world_open() makes; paths from the root:
 *
 *   small     a file in its record          pieces   a file of two extents in its record
 *   comb      a file with a content tree    ahead    a file with blocks allocated past its end
 *   d         a directory in its record     big      a directory with a tree
 *   d/in      a file                        a/b/c    directories in one another
 *   linked, d/linked, a/linked              one file
 *   link      a symlink                     fifo, device
 *   attr      a file with a small and a large attribute
 *   gone      was overwritten in the newest checkpoint, so that the one before has blocks alone
 *
 * and a file without a name that is kept by a reference.
 */
struct world *world_open(void);

/* The same, closed at once, with what is in its superblocks; `out_geometry` may be NULL. */
struct world *world_open_closed(struct superblock *out_newest, struct superblock *out_previous,
	struct geometry *out_geometry);

/* Closes with a checkpoint, or opens again. */
void world_close(struct world *w);
void world_reopen(struct world *w);

/* Closes as a process that is killed does; opens what is closed. */
void world_kill(struct world *w);
void world_start(struct world *w);
void world_free(struct world *w);

/* The number of what has this path. */
uint64_t world_id(struct world *w, const char *path);

/* Makes a file without a name, kept by a reference. */
uint64_t world_nameless(struct world *w);

/* Makes one whose content is a clone of this object's. */
uint64_t world_clone(struct world *w, uint64_t source);

/* ---- Through the volume floor, in transactions of their own ---- */

void world_put(struct world *w, struct tree_name name, struct view key, struct view value);
void world_delete(struct world *w, struct tree_name name, struct view key);
void world_get_record(struct world *w, uint64_t id, struct loaded_record *out);
void world_put_record(struct world *w, uint64_t id, const struct record *record);
void world_put_job(struct world *w, uint64_t number, const struct job *job);
void world_count_objects(struct world *w, int64_t change);

/* Takes a block without naming it, or gives one back. */
struct run world_take(struct world *w, uint32_t blocks);
void world_release(struct world *w, struct run run);

struct tree_name world_objects(void);
struct tree_name world_tree(uint64_t object, enum tree_kind kind);

/* The root record that the object tree has for a tree. */
void world_get_root(struct world *w, uint64_t id, enum tree_kind kind, struct tree_root *out);

/* The n-th extent of a record. */
struct extent world_extent(struct world *w, uint64_t id, size_t n);

/* Replaces the content of a record by these extents. */
void world_put_extents(struct world *w, uint64_t id, const struct extent *extents, size_t count);

/* ---- On the medium ---- */

void world_superblocks(
	struct world *w, struct superblock *out_newest, struct superblock *out_previous);
void world_flip(struct world *w, uint64_t block);

/* Writes a superblock with a right checksum in its slot in all places. */
void world_put_superblock(struct world *w, const struct superblock *sb);

/* ---- Checking ---- */

/* Runs the check over a device that refuses writes, and keeps what it finds. */
void world_check(struct world *w);

void world_expect_none(struct world *w);
void world_expect_one(
	struct world *w, enum cop_problem_class class_, uint64_t object, const char *text);

/* One of those found has this class, object and text; NULL: it is an error. */
const struct found *world_expect_among(
	struct world *w, enum cop_problem_class class_, uint64_t object, const char *text);
void world_print(const struct world *w);

/* Calls that must succeed; a failure prints the library's text. */
#define must(call) world_must((call), #call, __FILE__, __LINE__)
void world_must(int err, const char *call, const char *file, int line);

#endif
