/*
 * Counts of references (rules of sharing, 1): the share tree against what the walk finds.
 *
 * The window of blocks has a bit for the first reference to each block. Those beyond it are counted
 * here, and may be no more than the share tree says; at the end they are as many. A shared node is
 * entered once in a pass, whoever leads to it first: what is below it has one reference from it,
 * however many lead to the node itself. Which nodes were entered is kept whether or not they lie in
 * the window.
 */

#include "check/check_internal.h"

#include "base/checksum.h"
#include "base/num.h"

#include <assert.h>
#include <stdlib.h>

enum { ENTERED_PLACES_MIN = 64 };

static struct tree
share_tree(struct checker *checker, const struct superblock *sb)
{
	return (struct tree){ .env = checker->env, .kind = TREE_SHARES, .root = sb->shares };
}

/* ---- The window ------------------------------------------------------------------------------ */

struct loading {
	struct checker *checker;
	uint64_t end; /* of the window, in blocks */
	int err;
};

/* Too much for one window: it ends before the AG of this range. */
static int
cut_window(struct checker *checker, uint64_t block)
{
	struct references *references = &checker->references;
	uint64_t ag = block / checker->geometry.ag_blocks;

	if (ag <= references->first_ag)
		return fail(COP_ENOMEM, "check of what an allocation group shares");
	references->end_ag = ag;
	while (references->count > 0 && references->ags[references->count - 1].ag >= ag)
		references->count--;
	if (references->count > 0)
		references->ags[references->count - 1].end =
			min_u64(references->ags[references->count - 1].end, ag);
	return 0;
}

static bool
load_range(void *context, struct view key, struct view value)
{
	struct loading *loading = context;
	struct checker *checker = loading->checker;
	struct share_ranges *expected = &checker->sharing.expected;
	struct share_range range;

	loading->err = share_decode(key, value, &range);
	if (loading->err || range.addr >= loading->end)
		return false;
	if (expected->count > 0 && range.addr < share_end(&expected->list[expected->count - 1])) {
		loading->err = fail(COP_EFORMAT, "share entries overlap");
		return false;
	}
	if (expected->count == checker->limits.window_shares) {
		loading->err = cut_window(checker, range.addr);
		return false;
	}
	loading->err = share_ranges_add(expected, &range);
	return loading->err == 0;
}

int
shares__begin(struct checker *checker)
{
	struct sharing *sharing = &checker->sharing;
	struct references *references = &checker->references;
	struct tree tree = share_tree(checker, &checker->sb);
	struct loading loading = {
		.checker = checker,
		.end = references->end_ag * checker->geometry.ag_blocks,
	};
	uint8_t key[SHARE_KEY_BYTES];
	int err;

	sharing->expected.count = 0;
	share_list_free(&sharing->found);
	sharing->is_unknown = false;
	if (tree.root.levels == 0)
		return 0;
	err = tree_scan(&tree, share_key(references->first_ag * checker->geometry.ag_blocks, key),
		1, load_range, &loading);
	if (err == 0)
		err = loading.err;
	if (!err_is_damage(err) && err != COP_EIO)
		return err;
	/* The walk tells it. */
	err_clear();
	sharing->is_unknown = true;
	return 0;
}

void
shares__end(struct checker *checker)
{
	struct sharing *sharing = &checker->sharing;

	share_ranges_free(&sharing->expected);
	share_list_free(&sharing->found);
	share_spares_free(&sharing->spares);
	free(sharing->entered);
	*sharing = (struct sharing){ 0 };
}

/* References beyond the first that there should be, and up to where. After a replay in memory the
 * share tree does not say everything: what the newest checkpoint does not know is a list. */
static int64_t
expected_at(struct checker *checker, const struct share_ranges *ranges, uint64_t block,
	uint64_t *out_end)
{
	int64_t extra = share_ranges_at(ranges, block, out_end);
	struct share_change change;

	if (!volume_share_change(checker->volume, block, &change))
		return extra;
	if (change.addr > block) {
		*out_end = min_u64(*out_end, change.addr);
		return extra;
	}
	*out_end = min_u64(*out_end, change.addr + change.blocks);
	return extra + change.change;
}

bool
shares__claim(struct checker *checker, uint64_t block, uint64_t birth)
{
	struct sharing *sharing = &checker->sharing;
	uint64_t end;

	if (checker->err)
		return true;
	if (birth > checker->sb.share_stamp)
		return false;
	if (sharing->is_unknown)
		return true;
	if (share_list_at(&sharing->found, block, &end) >=
		expected_at(checker, &sharing->expected, block, &end))
		return false;
	checker->err = share_spares_fill(&sharing->spares, SHARE_POINTS_OF_ADD);
	if (!checker->err)
		share_list_add(&sharing->found, &sharing->spares, block, 1, 1);
	return true;
}

/* ---- Nodes ----------------------------------------------------------------------------------- */

bool
shares__is_shared(struct checker *checker, const struct tree_pointer *pointer)
{
	struct tree tree = share_tree(checker, &checker->sb);
	struct share_ranges ranges = { 0 };
	uint64_t end;
	bool is_shared;
	int err;

	if (pointer->birth > checker->sb.share_stamp || pointer->addr == 0)
		return false;
	err = share_look(&tree, pointer->addr, 1, &ranges);
	is_shared = expected_at(checker, &ranges, pointer->addr, &end) > 0 ||
		    checker->sharing.is_unknown;
	share_ranges_free(&ranges);
	if (err == COP_ENOMEM)
		checker->err = err;
	else if (err)
		err_clear();
	return is_shared;
}

static uint64_t *
place_of(struct sharing *sharing, uint64_t addr)
{
	uint64_t at = hash64(&addr, sizeof addr, 0);

	for (;; at++) {
		uint64_t *place = &sharing->entered[at & (sharing->entered_places - 1)];

		if (*place == 0 || *place == addr)
			return place;
	}
}

static int
grow_entered(struct checker *checker)
{
	struct sharing *sharing = &checker->sharing;
	struct sharing grown = *sharing;

	if (sharing->entered_count >= checker->limits.shared_nodes)
		return fail(COP_ENOMEM, "check of %zu shared nodes", sharing->entered_count);
	grown.entered_places = max_u64(ENTERED_PLACES_MIN, 2 * sharing->entered_places);
	grown.entered = calloc(grown.entered_places, sizeof *grown.entered);
	if (!grown.entered)
		return fail(COP_ENOMEM, "check of %zu shared nodes", sharing->entered_count);
	for (size_t i = 0; i < sharing->entered_places; i++) {
		if (sharing->entered[i] != 0)
			*place_of(&grown, sharing->entered[i]) = sharing->entered[i];
	}
	free(sharing->entered);
	*sharing = grown;
	return 0;
}

bool
shares__enter(struct checker *checker, const struct tree_pointer *pointer)
{
	struct sharing *sharing = &checker->sharing;
	uint64_t *place;

	assert(pointer->addr != 0);
	if (sharing->entered_count == 0 && sharing->entered_places > 0)
		memset(sharing->entered, 0, sharing->entered_places * sizeof *sharing->entered);
	if (2 * (sharing->entered_count + 1) > sharing->entered_places) {
		int err = grow_entered(checker);

		if (err) {
			checker->err = err;
			return false;
		}
	}
	place = place_of(sharing, pointer->addr);
	if (*place != 0)
		return false;
	*place = pointer->addr;
	sharing->entered_count++;
	return true;
}

/* ---- The tree -------------------------------------------------------------------------------- */

static bool
visit_entry(void *context, struct view key, struct view value)
{
	struct walker *walker = context;
	struct share_range *last = &walker->last_share;
	struct share_range range;

	if (share_decode(key, value, &range) != 0) {
		catalog__problem(walker, 0, err_text());
		err_clear();
		return true;
	}
	if (share_end(&range) > walker->sb->blocks)
		catalog__problem(walker, 0, "a share entry past the end of the volume");
	if (last->blocks > 0 && range.addr < share_end(last))
		catalog__problem(walker, 0, "share entries that overlap");
	else if (last->blocks > 0 && range.addr == share_end(last) && range.extra == last->extra &&
		 last->blocks < UINT32_MAX)
		catalog__problem(walker, 0, "share entries that should be one");
	*last = range;
	return !walker->checker->err;
}

void
shares__walk(struct walker *walker)
{
	bool was_damaged;

	walker->last_share = (struct share_range){ 0 };
	catalog__walk_tree(walker, TREE_SHARES, "share tree", 0, &walker->sb->shares, visit_entry,
		&was_damaged);
}

/* ---- Judging --------------------------------------------------------------------------------- */

void
shares__judge(struct checker *checker)
{
	struct sharing *sharing = &checker->sharing;
	struct references *references = &checker->references;
	uint32_t ag_blocks = checker->geometry.ag_blocks;
	uint64_t block = references->first_ag * ag_blocks;
	uint64_t end = min_u64(references->end_ag * ag_blocks, checker->sb.blocks);

	if (sharing->is_unknown || checker->losses.nodes > 0)
		return;
	while (block < end) {
		uint64_t until;
		uint64_t found_until;
		int64_t extra = expected_at(checker, &sharing->expected, block, &until);
		int64_t found = share_list_at(&sharing->found, block, &found_until);

		until = min_u64(min_u64(until, found_until), end);
		if (found < extra)
			report__problem(checker,
				&(struct finding){ .class_ = COP_PROBLEM_LEAK, .block = block },
				"%" PRIu64 " block%s counted %" PRId64 " times, and %" PRId64
				" refer to %s",
				until - block, until - block == 1 ? "" : "s", extra + 1, found + 1,
				until - block == 1 ? "it" : "them");
		block = until;
	}
}
