#include "check/check_internal.h"

#include "base/checksum.h"

#include <stdlib.h>

int
tallies__begin(struct checker *checker, uint64_t first, uint64_t count)
{
	struct tallies *tallies = &checker->tallies;

	free(tallies->list);
	*tallies = (struct tallies){ .first = first };
	tallies->list = calloc(count > 0 ? count : 1, sizeof tallies->list[0]);
	if (!tallies->list)
		return fail(COP_ENOMEM, "check of %" PRIu64 " objects at once", count);
	tallies->count = count;
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

	if (checker->is_previous || id < tallies->first || id - tallies->first >= tallies->count)
		return NULL;
	return &tallies->list[id - tallies->first];
}

/* One number for a name in a directory; sums of them are compared, in any order. */
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
		check__report(checker,
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
	if (record->name.bytes > 0)
		tallies__back(checker, id, record->parent, record->name);
}

void
tallies__orphan(struct checker *checker, uint64_t id)
{
	struct tally *tally = tally_of(checker, id);

	if (tally)
		tally->is_orphan = true;
}

/*
 * References without names (cop_ref) are links too, so an object may have more links than names,
 * never fewer; a directory other than the root has one name.
 */
static void
judge_one(struct checker *checker, uint64_t id, const struct tally *tally)
{
	struct finding finding = { .class_ = COP_PROBLEM_STRUCTURE, .object = id };

	if (tally->kind == 0) {
		if (tally->names > 0)
			check__report(checker, &finding,
				"%" PRIu32 " names lead to object %" PRIu64 ", which is not there",
				tally->names, id);
		if (tally->is_orphan)
			check__report(checker, &finding,
				"object %" PRIu64 " is listed as an orphan and is not there", id);
		return;
	}
	if (tally->names > 0 && tally->entry_kind != tally->kind)
		check__report(
			checker, &finding, "entries call object %" PRIu64 " by a wrong kind", id);
	if (tally->names != tally->backs || tally->sum != 0)
		check__report(checker, &finding,
			"object %" PRIu64 ": %" PRIu32 " names lead to it, it knows of %" PRIu32,
			id, tally->names, tally->backs);
	if (tally->kind == COP_DIRECTORY) {
		if (tally->links > 0 && tally->names != (id != OBJECT_ROOT))
			check__report(checker, &finding,
				"directory %" PRIu64 " has %" PRIu32 " names", id, tally->names);
	} else if (tally->names > tally->links) {
		check__report(checker, &finding,
			"object %" PRIu64 " has %" PRIu32 " names and %" PRIu32 " links", id,
			tally->names, tally->links);
	}
	if (tally->is_orphan != (tally->links == 0))
		check__report(checker, &finding,
			"object %" PRIu64 " has %" PRIu32 " links and is %slisted as an orphan", id,
			tally->links, tally->is_orphan ? "" : "not ");
}

void
tallies__judge(struct checker *checker)
{
	struct tallies *tallies = &checker->tallies;

	for (uint64_t i = 0; i < tallies->count; i++)
		judge_one(checker, tallies->first + i, &tallies->list[i]);
}
