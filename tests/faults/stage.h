#ifndef COPPICE_TESTS_STAGE_H
#define COPPICE_TESTS_STAGE_H

/*
 * stage: where one function of coppice.h is called while something fails.
 *
 * Faults of the device strike on a simulated disk. Failing allocations are tried on a volume in
 * memory, because the simulator itself allocates; functions that take the name of a device get a
 * file then.
 */

#include "coppice.h"
#include "device/sim.h"

#include <stdbool.h>
#include <stdint.h>

enum fault_kind {
	FAIL_MEMORY,
	FAIL_READ,
	FAIL_WRITE,
	FAIL_WRITE_FULL, /* the device has no space */
	FAIL_FLUSH,
	FAIL_KINDS,
};

/* Handles that every call finds open. */
enum stage_object {
	ROOT,
	EXTENTS,   /* /extents: extents in the record, and a large attribute */
	INLINE,    /* /inline */
	TREE,      /* /tree: a content tree */
	DIRECTORY, /* /d: a directory tree */
	SYMLINK,   /* /symlink */
	FREED,     /* /freed: a tree with a job */
	STAGE_OBJECTS,
};

/* Every other block of /freed is there, and a job has the first ones of them to free. */
enum { STAGE_FREED = 90, STAGE_FREED_ALL = 130 };

struct stage {
	struct cop_volume *volume;
	struct cop_object *objects[STAGE_OBJECTS];
	struct cop_object *result; /* what the call made or found: released at the end */
	struct device *dev;        /* of the volume */
	bool by_name;              /* devices are given by name: */
	char url[64];              /* a file with the same volume */
	char new_url[64];          /* a file that is not there */
	uint64_t answer;           /* a hash of what the call told */
	struct cop_open_options open_options;
	uint8_t buffer[1 << 17];
};

enum row_class {
	ROW_READS,      /* says something, or returns an error and says nothing */
	ROW_CHANGES,    /* happens, or returns an error and has changed nothing */
	ROW_CHECKPOINT, /* what was done before is durable, or it returns an error */
	ROW_FORMATS,    /* makes a new volume */
	ROW_CANNOT,     /* has no way to fail */
};

struct row {
	enum row_class class;
	int (*prepare)(struct stage *stage); /* comes before and must succeed; NULL: nothing */
	int (*call)(struct stage *stage);
};

struct named_row {
	const char *name;
	const struct row *row;
};

/* One for each function of the header, which the build makes sure of, and some for what they do
 * beside a job. */
extern const struct named_row rows[];
extern const size_t row_count;

/* Releases all handles. */
void stage_release(struct stage *stage);

#endif
