#ifndef COPPICE_SPACE_SHARE_LIST_H
#define COPPICE_SPACE_SHARE_LIST_H

/*
 * share_list: by how much counts of references differ from what the share tree says, in memory.
 *
 * A number for each block, 0 almost everywhere: kept as the points at which it changes, in a tree
 * of those points. What was gained and lost again leaves nothing behind.
 *
 * Promises  share_list_add() cannot fail: it takes its memory, two points at most, from the
 *           caller's spares, and puts there what it does not need any more.
 * Locks     None: whoever has the list guards it.
 * Cost      Adding: a search, and a step for each point within the range.
 */

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SHARE_POINTS_OF_ADD = 2 };

/* From `block` to the next point the number is `change`. */
struct share_point {
	uint64_t block;
	uint64_t rank; /* decides who stands above whom; from the block, so that it costs nothing */
	struct share_point *left; /* also the link of spares */
	struct share_point *right;
	int64_t change;
};

struct share_list {
	struct share_point *root;
	size_t count; /* of points */
};

struct share_spares {
	struct share_point *head;
	size_t count;
};

/* At least `count` points. COP_ENOMEM: some may have been added. */
MUST_CHECK int share_spares_fill(struct share_spares *spares, size_t count);
void share_spares_free(struct share_spares *spares);

/* Changes the number of each block of [addr, addr + blocks). */
void share_list_add(struct share_list *list, struct share_spares *spares, uint64_t addr,
	uint64_t blocks, int64_t change);

/* The number of a block, and where the next one begins that has another (UINT64_MAX: none does). */
int64_t share_list_at(const struct share_list *list, uint64_t block, uint64_t *out_end);

/* Consecutive blocks of the same number. */
struct share_change {
	uint64_t addr;
	uint64_t blocks;
	int64_t change; /* not 0 */
};

/* The first range at or after `from` whose number is not 0, cut off before `from`. */
bool share_list_next(const struct share_list *list, uint64_t from, struct share_change *out_change);

/* Frees all points. */
void share_list_free(struct share_list *list);

/* Asserts order, ranks and that no point is one too many. For tests. */
void share_list_assert_sound(const struct share_list *list);

#endif
