/*
 * The window of object numbers: what directories, records and jobs say of an object, until all of
 * it can be compared. Names are compared by sums of hashes, so that their order does not matter.
 *
 * Only numbers that are met take room, a page of neighbours at a time: the numbers of a volume can
 * be far apart, and a hostile one names any. When the pages are used up, the upper half of them is
 * given up and the window ends there: what lies beyond is for the next pass. A number within the
 * window has had its page since it was first met, so at the end of a pass all is known of it.
 *
 *   first_page            end_page: falls when pages are used up
 *   |--[page]----[page]---|.....................|
 */

#include "check/check_internal.h"

#include "base/checksum.h"
#include "base/num.h"

#include <assert.h>
#include <stdlib.h>

enum { PAGES_MIN = 2 }; /* one is kept when half of them are given up: each pass gets further */

/* ---- Pages ----------------------------------------------------------------------------------- */

/* Where a page is, or would be, in the index. */
static uint32_t *
place_of(struct tallies *tallies, uint64_t number)
{
	uint64_t at = hash64(&number, sizeof number, 0);

	for (;; at++) {
		uint32_t *place = &tallies->index[at & tallies->index_mask];

		if (*place == 0 || tallies->pages[*place - 1].number == number)
			return place;
	}
}

static int
compare_page(const void *a, const void *b)
{
	const struct tally_page *x = a;
	const struct tally_page *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

static void
sort_pages(struct tallies *tallies)
{
	qsort(tallies->pages, tallies->page_count, sizeof tallies->pages[0], compare_page);
	memset(tallies->index, 0, (tallies->index_mask + 1) * sizeof tallies->index[0]);
	for (uint32_t i = 0; i < tallies->page_count; i++)
		*place_of(tallies, tallies->pages[i].number) = i + 1;
}

/* Ends the window in the middle of what it holds. */
static void
give_up_half(struct tallies *tallies)
{
	sort_pages(tallies);
	tallies->end_page = tallies->pages[tallies->page_count / 2].number;
	tallies->page_count /= 2;
	sort_pages(tallies);
}

/* NULL: it is not in the window. */
static struct tally *
tally_of(struct checker *checker, uint64_t id)
{
	struct tallies *tallies = &checker->tallies;
	uint64_t number = id / TALLY_PAGE_IDS;
	uint32_t *place;

	if (id >= checker->sb.next_object || number < tallies->first_page ||
		number >= tallies->end_page)
		return NULL;
	place = place_of(tallies, number);
	if (*place == 0 && tallies->page_count == tallies->page_max) {
		give_up_half(tallies);
		if (number >= tallies->end_page)
			return NULL;
		place = place_of(tallies, number);
	}
	if (*place == 0) {
		tallies->pages[tallies->page_count++] = (struct tally_page){ .number = number };
		*place = tallies->page_count;
	}
	return &tallies->pages[*place - 1].tallies[id % TALLY_PAGE_IDS];
}

/* ---- The window ------------------------------------------------------------------------------ */

static int
allocate(struct tallies *tallies, uint64_t ids)
{
	uint64_t pages = min_u64(max_u64(ids / TALLY_PAGE_IDS, PAGES_MIN), UINT32_MAX / 4);
	uint64_t places = 4;

	while (places < 2 * pages)
		places *= 2;
	tallies->pages = malloc(pages * sizeof tallies->pages[0]);
	tallies->index = malloc(places * sizeof tallies->index[0]);
	if (!tallies->pages || !tallies->index)
		return fail(COP_ENOMEM, "check of %" PRIu64 " objects at once", ids);
	tallies->page_max = (uint32_t)pages;
	tallies->index_mask = places - 1;
	return 0;
}

int
tallies__begin(struct checker *checker)
{
	struct tallies *tallies = &checker->tallies;

	if (!tallies->index) {
		int err = allocate(tallies, checker->limits.window_ids);

		if (err)
			return err;
	} else {
		tallies->first_page = tallies->end_page;
	}
	tallies->end_page = UINT64_MAX;
	tallies->page_count = 0;
	sort_pages(tallies);
	(void)tally_of(checker, OBJECT_ROOT); /* it is judged, whether it is met or not */
	return 0;
}

bool
tallies__are_done(const struct checker *checker)
{
	return checker->tallies.end_page == UINT64_MAX;
}

void
tallies__end(struct checker *checker)
{
	free(checker->tallies.pages);
	free(checker->tallies.index);
	checker->tallies = (struct tallies){ 0 };
}

/* ---- What is said of an object --------------------------------------------------------------- */

/* One number for a name in a directory. */
static uint64_t
name_number(uint64_t parent, struct view name)
{
	return hash64(name.data, name.bytes, parent);
}

void
tallies__entry(struct checker *checker, uint64_t directory, struct view name, uint64_t id,
	enum cop_kind kind)
{
	struct tally *tally = tally_of(checker, id);

	if (!tally)
		return;
	tally->names++;
	tally->sum += name_number(directory, name);
	if (tally->entry_kind != 0 && tally->entry_kind != kind)
		report__problem(checker,
			&(struct finding){ .class_ = COP_PROBLEM_STRUCTURE, .object = id },
			"entries call object %" PRIu64 " by different kinds", id);
	tally->entry_kind = (uint8_t)kind;
}

void
tallies__back(struct checker *checker, uint64_t id, uint64_t parent, struct view name)
{
	struct tally *tally = tally_of(checker, id);

	if (!tally)
		return;
	tally->backs++;
	tally->sum -= name_number(parent, name);
}

void
tallies__record(struct checker *checker, uint64_t id, const struct record *record)
{
	struct tally *tally = tally_of(checker, id);

	if (!tally)
		return;
	tally->kind = (uint8_t)record->kind;
	tally->links = record->links;
	if (record->trim_job != 0)
		tally->flags |= TALLY_TRIMMING;
	tally->trim_sum ^= record->trim_job;
	if (record->name.bytes > 0)
		tallies__back(checker, id, record->parent, record->name);
}

void
tallies__damaged(struct checker *checker, uint64_t id)
{
	struct tally *tally = tally_of(checker, id);

	if (tally)
		tally->flags |= TALLY_DAMAGED;
}

void
tallies__orphan(struct checker *checker, uint64_t id)
{
	struct tally *tally = tally_of(checker, id);

	if (tally)
		tally->flags |= TALLY_ORPHAN;
}

void
tallies__trim_job(struct checker *checker, uint64_t id, uint64_t number)
{
	struct tally *tally = tally_of(checker, id);

	if (!tally)
		return;
	if (tally->trim_jobs < UINT8_MAX)
		tally->trim_jobs++;
	tally->trim_sum ^= number;
}

/* ---- Judging --------------------------------------------------------------------------------- */

/* Names, an orphan's key or a job of an object that was not met. */
static void
judge_absent(struct checker *checker, uint64_t id, const struct tally *tally)
{
	struct finding finding = { .class_ = COP_PROBLEM_STRUCTURE, .object = id };

	if (checker->losses.objects > 0) {
		checker->stray_names += tally->names;
		return;
	}
	if (id == OBJECT_ROOT)
		report__text(checker, &finding, "there is no root directory");
	if (tally->names > 0)
		report__problem(checker, &finding,
			"%" PRIu32 " name%s to object %" PRIu64 ", which is not there",
			tally->names, tally->names == 1 ? " leads" : "s lead", id);
	if (tally->flags & TALLY_ORPHAN)
		report__problem(checker, &finding,
			"object %" PRIu64 " is listed as an orphan and is not there", id);
	if (tally->trim_jobs > 0)
		report__problem(checker, &finding,
			"a job frees content of object %" PRIu64 ", which is not there", id);
}

static void
judge_names(struct checker *checker, uint64_t id, const struct tally *tally)
{
	struct finding finding = { .class_ = COP_PROBLEM_STRUCTURE, .object = id };
	bool agree = tally->names == tally->backs && tally->sum == 0;

	if (!agree && (checker->losses.entries > 0 || checker->losses.objects > 0)) {
		checker->stray_objects++;
		return;
	}
	if (!agree)
		report__problem(checker, &finding,
			"object %" PRIu64 ": %" PRIu32 " name%s to it, it knows of %" PRIu32 "%s",
			id, tally->names, tally->names == 1 ? " leads" : "s lead", tally->backs,
			tally->names == tally->backs ? ", but not the same" : "");
	else if (tally->kind == COP_DIRECTORY && tally->links > 0 &&
		 tally->names != (id != OBJECT_ROOT))
		report__problem(checker, &finding, "directory %" PRIu64 " has %" PRIu32 " names",
			id, tally->names);
}

/*
 * References without names (cop_ref) are links too, so an object may have more links than names,
 * never fewer; a directory other than the root has one name.
 */
static void
judge_links(struct checker *checker, uint64_t id, const struct tally *tally)
{
	struct finding finding = { .class_ = COP_PROBLEM_STRUCTURE, .object = id };
	bool is_orphan = tally->flags & TALLY_ORPHAN;

	if (tally->names > tally->links)
		report__problem(checker, &finding,
			"object %" PRIu64 " has %" PRIu32 " names and %" PRIu32 " links", id,
			tally->names, tally->links);
	if (is_orphan && tally->links > 0)
		report__problem(checker, &finding,
			"object %" PRIu64 " has %" PRIu32 " links and is listed as an orphan", id,
			tally->links);
	if (!is_orphan && tally->links == 0 && checker->losses.objects == 0)
		report__problem(checker, &finding,
			"object %" PRIu64 " has no links and is not listed as an orphan", id);
}

static void
judge_trimming(struct checker *checker, uint64_t id, const struct tally *tally)
{
	struct finding finding = { .class_ = COP_PROBLEM_STRUCTURE, .object = id };
	bool is_trimming = tally->flags & TALLY_TRIMMING;

	if (tally->trim_jobs > 1 || (tally->trim_jobs == 1 && !is_trimming))
		report__problem(checker, &finding,
			"a job frees content of object %" PRIu64 ", which %s", id,
			is_trimming ? "another one does as well" : "knows nothing of it");
	if (is_trimming && tally->trim_jobs == 1 && tally->trim_sum != 0)
		report__problem(checker, &finding,
			"object %" PRIu64 " names another job than the one that frees its content",
			id);
	if (is_trimming && tally->trim_jobs == 0 && checker->losses.objects == 0)
		report__problem(checker, &finding,
			"object %" PRIu64 " has a range that is being freed, and no job does so",
			id);
}

static void
judge_one(struct checker *checker, uint64_t id, const struct tally *tally)
{
	struct finding finding = { .class_ = COP_PROBLEM_STRUCTURE, .object = id };

	if (tally->flags & TALLY_DAMAGED)
		return;
	if (tally->kind == 0) {
		judge_absent(checker, id, tally);
		return;
	}
	if (tally->names > 0 && tally->entry_kind != tally->kind)
		report__problem(
			checker, &finding, "entries call object %" PRIu64 " by a wrong kind", id);
	judge_names(checker, id, tally);
	judge_links(checker, id, tally);
	judge_trimming(checker, id, tally);
}

static bool
is_empty(const struct tally *tally)
{
	return tally->kind == 0 && tally->names == 0 && tally->flags == 0 && tally->trim_jobs == 0;
}

void
tallies__judge(struct checker *checker)
{
	struct tallies *tallies = &checker->tallies;

	sort_pages(tallies);
	for (uint32_t i = 0; i < tallies->page_count; i++) {
		const struct tally_page *page = &tallies->pages[i];

		for (uint64_t k = 0; k < TALLY_PAGE_IDS; k++) {
			uint64_t id = page->number * TALLY_PAGE_IDS + k;

			if (!is_empty(&page->tallies[k]) || id == OBJECT_ROOT)
				judge_one(checker, id, &page->tallies[k]);
		}
	}
}
