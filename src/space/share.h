#ifndef COPPICE_SPACE_SHARE_H
#define COPPICE_SPACE_SHARE_H

/*
 * share: counts of references (rules of sharing, 1). Blocks that are referred to once are in no
 * list and no tree; for others the share tree has a range with the number of further references.
 *
 * The write path only looks counts up, and notes changes in a share_list. A checkpoint brings the
 * tree up to date: a plan says which entries go and which come, for some changes at a time, and is
 * made while the tree stands still; then it is carried out like any change of a tree.
 *
 * Promises
 *   - What is planned leaves ranges that do not overlap, and no two that touch and are equal: no
 *     more entries than the counts themselves need. Counts that only fall never add one.
 *   - Increments and decrements of one block are one change: their order does not matter.
 */

#include "space/share_format.h"
#include "space/share_list.h"
#include "tree/tree.h"

/* Ranges in ascending order, on the heap. Zero it before use. */
struct share_ranges {
	struct share_range *list;
	size_t count;
	size_t capacity;
};

void share_ranges_free(struct share_ranges *ranges);
MUST_CHECK int share_ranges_add(struct share_ranges *ranges, const struct share_range *range);

/* Adds the ranges of the tree that have blocks in common with [addr, addr + blocks), whole. No lock
 * held; may read. COP_EFORMAT. */
MUST_CHECK int share_look(
	struct tree *tree, uint64_t addr, uint64_t blocks, struct share_ranges *ranges);

/* Of ascending ranges: how often a block is referred to beyond once, and up to where that is so. */
uint32_t share_ranges_at(const struct share_ranges *ranges, uint64_t block, uint64_t *out_end);

/* What a tree has to change. Entries that go, by their last block, and those that come. */
struct share_plan {
	uint64_t *goes; /* owned */
	size_t goes_count;
	struct share_ranges comes;
};

/* `changes` ascend. No lock held; may read. COP_EFORMAT: a count would fall below 1. */
MUST_CHECK int share_plan_make(struct tree *tree, const struct share_change *changes, size_t count,
	struct share_plan *out_plan);
void share_plan_free(struct share_plan *plan);

/* The tree's part of the transaction: prepare pins, is_prepared and apply under the gate,
 * exclusively, as in tree.h. */
MUST_CHECK int share_plan_prepare(
	const struct share_plan *plan, struct tree *tree, struct tree_pins *pins);
bool share_plan_is_prepared(
	const struct share_plan *plan, struct tree *tree, struct tree_pins *pins);
void share_plan_apply(const struct share_plan *plan, struct tree *tree);

/*
 * Nodes that so many changes may take at the worst in a tree of `levels`: carried out at one time,
 * or one after the other in ascending order, in one generation, which may make the tree higher. So
 * many changes and so many others take no more together than each for itself.
 */
uint64_t share_nodes_worst(uint64_t changes, uint8_t levels, uint32_t node_bytes);

/* Levels that a tree of `levels` may come to have when it grows by `more`: no more than the ranges
 * need that fit a volume of so many blocks. */
uint8_t share_levels_ahead(uint8_t levels, uint8_t more, uint64_t blocks, uint32_t node_bytes);

#endif
