#ifndef COPPICE_FRONT_CLI_IDSET_H
#define COPPICE_FRONT_CLI_IDSET_H

/*
 * idset: a map from (space, number), which identify a file, to the copy that
 * was made of it. It holds only files of
 * more than one name, so its memory follows their count and not that of all files.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct idset_row {
	uint64_t space;
	uint64_t number;
	uint64_t names_left; /* names not met yet; the row goes when there is none */
	char *place;         /* owned; NULL when the two below say it */
	uint64_t copy_space; /* which file the copy is */
	uint64_t copy_number;
	bool is_used;
};

struct idset {
	struct idset_row *rows;
	size_t count;
	size_t capacity; /* a power of two, or 0 */
};

void idset_fini(struct idset *set);

/* NULL: not there. Good until the next insertion or removal. */
struct idset_row *idset_find(struct idset *set, uint64_t space, uint64_t number);

/* The row, which must not be there yet, with everything but its key zero. */
struct idset_row *idset_insert(struct idset *set, uint64_t space, uint64_t number);

void idset_remove(struct idset *set, struct idset_row *row);

#endif
