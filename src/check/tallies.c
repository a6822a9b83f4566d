/*
 * The window of object numbers: what directories, records and jobs say of an object, until all of
 * it can be compared. Names are compared by sums of hashes, so that their order does not matter.
 */

#include "check/check_internal.h"

#include "base/checksum.h"

#include <stdlib.h>

int
tallies__begin(struct checker *checker, uint64_t first, uint64_t count)
{
	struct tallies *tallies = &checker->tallies;

	if (count > tallies->capacity) {
		free(tallies->list);
		tallies->capacity = 0;
		tallies->list = malloc(count * sizeof tallies->list[0]);
		if (!tallies->list)
			return fail(COP_ENOMEM, "check of %" PRIu64 " objects at once", count);
		tallies->capacity = count;
	}
	tallies->first = first;
	tallies->count = count;
	if (count > 0)
		memset(tallies->list, 0, count * sizeof tallies->list[0]);
	return 0;
}

void
tallies__end(struct checker *checker)
{
	free(checker->tallies.list);
	checker->tallies = (struct tallies){ 0 };
}

static struct tally *
tally_of(struct checker *checker, uint64_t id)
{
	struct tallies *tallies = &checker->tallies;

	if (id < tallies->first || id - tallies->first >= tallies->count)
		return NULL;
	return &tallies->list[id - tallies->first];
}

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
	if (record->trim_end != 0)
		tally->flags |= TALLY_TRIMMING;
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
tallies__trim_job(struct checker *checker, uint64_t id)
{
	struct tally *tally = tally_of(checker, id);

	if (tally && tally->trim_jobs < UINT8_MAX)
		tally->trim_jobs++;
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

	for (uint64_t i = 0; i < tallies->count; i++) {
		uint64_t id = tallies->first + i;

		if (!is_empty(&tallies->list[i]) || id == OBJECT_ROOT)
			judge_one(checker, id, &tallies->list[i]);
	}
}
