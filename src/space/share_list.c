/*
 * The points are a treap: a search tree by block, a heap by rank. The rank is the block's number
 * stirred, so that the tree is as flat as a random one, and an image cannot choose otherwise
 * without choosing a long search for itself alone.
 */

#include "space/share_list.h"

#include "base/num.h"

#include <assert.h>
#include <stdlib.h>

/* ---- Spares --------------------------------------------------------------------------------- */

static void
spare_push(struct share_spares *spares, struct share_point *point)
{
	point->left = spares->head;
	spares->head = point;
	spares->count++;
}

static struct share_point *
spare_pop(struct share_spares *spares)
{
	struct share_point *point = spares->head;

	assert(point);
	spares->head = point->left;
	spares->count--;
	return point;
}

int
share_spares_fill(struct share_spares *spares, size_t count)
{
	while (spares->count < count) {
		struct share_point *point = malloc(sizeof *point);

		if (!point)
			return fail(COP_ENOMEM, "changes of %zu counts", count);
		spare_push(spares, point);
	}
	return 0;
}

void
share_spares_free(struct share_spares *spares)
{
	while (spares->head)
		free(spare_pop(spares));
}

/* ---- Points --------------------------------------------------------------------------------- */

static uint64_t
rank_of(uint64_t block)
{
	uint64_t x = block + UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* The last point at or before `block`; NULL: there is none. */
static struct share_point *
find_at(const struct share_list *list, uint64_t block)
{
	struct share_point *point = list->root;
	struct share_point *found = NULL;

	while (point) {
		if (point->block <= block) {
			found = point;
			point = point->right;
		} else {
			point = point->left;
		}
	}
	return found;
}

/* The first point after `block`. */
static struct share_point *
find_after(const struct share_list *list, uint64_t block)
{
	struct share_point *point = list->root;
	struct share_point *found = NULL;

	while (point) {
		if (point->block > block) {
			found = point;
			point = point->left;
		} else {
			point = point->right;
		}
	}
	return found;
}

static void
insert(struct share_list *list, struct share_point *new)
{
	struct share_point **link = &list->root;
	struct share_point **left = &new->left;
	struct share_point **right = &new->right;
	struct share_point *below;

	while (*link && (*link)->rank >= new->rank)
		link = new->block < (*link)->block ? &(*link)->left : &(*link)->right;
	below = *link;
	*link = new;
	/* What stood here is parted by the new block. */
	while (below) {
		if (below->block < new->block) {
			*left = below;
			left = &below->right;
			below = below->right;
		} else {
			*right = below;
			right = &below->left;
			below = below->left;
		}
	}
	*left = NULL;
	*right = NULL;
	list->count++;
}

static void
take_out(struct share_list *list, struct share_point *old)
{
	struct share_point **link = &list->root;
	struct share_point *left = old->left;
	struct share_point *right = old->right;

	while (*link != old)
		link = old->block < (*link)->block ? &(*link)->left : &(*link)->right;
	while (left && right) {
		if (left->rank >= right->rank) {
			*link = left;
			link = &left->right;
			left = left->right;
		} else {
			*link = right;
			link = &right->left;
			right = right->left;
		}
	}
	*link = left ? left : right;
	list->count--;
}

/* A point at `block`, which changes nothing yet. */
static void
make_point(struct share_list *list, struct share_spares *spares, uint64_t block)
{
	struct share_point *before = find_at(list, block);
	struct share_point *point;

	if (before && before->block == block)
		return;
	point = spare_pop(spares);
	*point = (struct share_point){
		.block = block,
		.rank = rank_of(block),
		.change = before ? before->change : 0,
	};
	insert(list, point);
}

/* Takes out the points of [first, last] that change nothing. */
static void
drop_idle_points(
	struct share_list *list, struct share_spares *spares, uint64_t first, uint64_t last)
{
	const struct share_point *before = first > 0 ? find_at(list, first - 1) : NULL;
	int64_t change = before ? before->change : 0;
	struct share_point *point = find_at(list, first); /* one was made there */

	while (point && point->block <= last) {
		struct share_point *next = find_after(list, point->block);

		if (point->change == change) {
			take_out(list, point);
			spare_push(spares, point);
		} else {
			change = point->change;
		}
		point = next;
	}
}

void
share_list_add(struct share_list *list, struct share_spares *spares, uint64_t addr, uint64_t blocks,
	int64_t change)
{
	uint64_t end = addr + blocks;

	assert(blocks > 0);
	assert(end > addr);
	make_point(list, spares, addr);
	make_point(list, spares, end);
	for (struct share_point *point = find_at(list, addr); point->block < end;
		point = find_after(list, point->block))
		point->change += change;
	drop_idle_points(list, spares, addr, end);
}

int64_t
share_list_at(const struct share_list *list, uint64_t block, uint64_t *out_end)
{
	const struct share_point *point = find_at(list, block);
	const struct share_point *next = find_after(list, block);

	*out_end = next ? next->block : UINT64_MAX;
	return point ? point->change : 0;
}

bool
share_list_next(const struct share_list *list, uint64_t from, struct share_change *out_change)
{
	const struct share_point *point = find_at(list, from);
	const struct share_point *next;

	if (!point || point->change == 0)
		point = find_after(list, from);
	if (!point)
		return false;
	next = find_after(list, point->block);
	assert(point->change != 0);
	assert(next); /* the last one leads back to 0 */
	out_change->addr = max_u64(point->block, from);
	out_change->blocks = next->block - out_change->addr;
	out_change->change = point->change;
	return true;
}

void
share_list_free(struct share_list *list)
{
	struct share_point *point = list->root;

	/* Turned to the right until there is no left side, then off the top. */
	while (point) {
		struct share_point *left = point->left;
		struct share_point *right = point->right;

		if (left) {
			point->left = left->right;
			left->right = point;
			point = left;
		} else {
			free(point);
			point = right;
		}
	}
	*list = (struct share_list){ 0 };
}

void
share_list_assert_sound(const struct share_list *list)
{
	const struct share_point *point = list->root;
	int64_t change = 0;
	size_t count = 0;

	while (point && point->left)
		point = point->left;
	for (; point; point = find_after(list, point->block)) {
		assert(point->change != change);
		assert(!point->left || point->left->rank <= point->rank);
		assert(!point->right || point->right->rank <= point->rank);
		change = point->change;
		count++;
	}
	assert(change == 0);
	assert(count == list->count);
}
