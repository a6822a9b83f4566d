/*
 * Problems and progress.
 *
 * Problems of one kind are those that are made at one place of the source: they have the same
 * format. The first ones are told, all are counted; at the end the caller hears how many were not
 * told.
 */

#include "check/check_internal.h"

#include "base/checksum.h"
#include "base/num.h"

#include <stdarg.h>
#include <stdio.h>

enum { PROBLEM_TEXT_BYTES = 512 };

static struct problem_kind *
kind_of(struct checker *checker, enum cop_problem_class class_, const char *format)
{
	struct problem_kind *kind = checker->kinds;

	for (size_t i = 0; i < checker->kind_count; i++, kind++) {
		if (kind->class_ == class_ && kind->format == format)
			return kind;
	}
	if (checker->kind_count == PROBLEM_KINDS_MAX)
		return kind - 1; /* what is left shares one */
	checker->kind_count++;
	kind->class_ = class_;
	kind->format = format;
	return kind;
}

/*
 * Has the first proof told the same of the same place? What replay has left as it is is met again
 * by the second one. Those that are too many to be remembered are told twice.
 */
static bool
is_told(struct checker *checker, const struct finding *finding, const char *text)
{
	uint64_t words[] = { finding->class_, finding->object, finding->offset, finding->block };
	uint64_t hash = hash64(text, strlen(text), hash64(words, sizeof words, 0));

	if (!checker->told)
		return false;
	for (size_t i = 0; checker->is_replayed && i < checker->told_count; i++) {
		if (checker->told[i] == hash)
			return true;
	}
	if (!checker->is_replayed && checker->told_count < TOLD_MAX)
		checker->told[checker->told_count++] = hash;
	return false;
}

/* Counts a problem. NULL: it is not told. */
static struct problem_kind *
count(struct checker *checker, const struct finding *finding, const char *format, const char *text)
{
	struct problem_kind *kind;

	if (is_told(checker, finding, text))
		return NULL;
	kind = kind_of(checker, finding->class_, format);
	checker->result.problems++;
	kind->count++;
	if (!checker->options.problem || kind->count > (uint64_t)REPORTS_OF_A_KIND_MAX + 1)
		return NULL;
	return kind;
}

static void
tell(struct checker *checker, const struct finding *finding, struct problem_kind *kind,
	const char *text)
{
	struct cop_problem problem = COP_INIT(problem);
	char replayed[PROBLEM_TEXT_BYTES + 32];

	if (checker->is_replayed) {
		(void)snprintf(replayed, sizeof replayed, "after the journal: %s", text);
		text = replayed;
	}
	if (kind->count > REPORTS_OF_A_KIND_MAX) {
		(void)snprintf(
			kind->text, sizeof kind->text, "%.*s", (int)sizeof kind->text - 1, text);
		return;
	}
	problem.class_ = finding->class_;
	problem.object = finding->object;
	problem.offset = finding->offset;
	problem.bytes = finding->bytes;
	problem.block = finding->block;
	problem.text = text;
	problem.path = path__of(checker, finding->object);
	checker->options.problem(checker->options.context, &problem);
}

void
report__problem(struct checker *checker, const struct finding *finding, const char *format, ...)
{
	struct problem_kind *kind;
	char text[PROBLEM_TEXT_BYTES];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof text, format, args);
	va_end(args);
	kind = count(checker, finding, format, text);
	if (kind)
		tell(checker, finding, kind, text);
}

void
report__text(struct checker *checker, const struct finding *finding, const char *text)
{
	struct problem_kind *kind = count(checker, finding, text, text);
	char copy[PROBLEM_TEXT_BYTES]; /* the text may be that of an error, which path__of() ends */

	if (!kind)
		return;
	(void)snprintf(copy, sizeof copy, "%s", text);
	tell(checker, finding, kind, copy);
}

void
report__finish(struct checker *checker)
{
	if (!checker->options.problem)
		return;
	for (size_t i = 0; i < checker->kind_count; i++) {
		const struct problem_kind *kind = &checker->kinds[i];
		struct cop_problem problem = COP_INIT(problem);
		char text[PROBLEM_TEXT_BYTES];

		if (kind->count <= REPORTS_OF_A_KIND_MAX)
			continue;
		(void)snprintf(text, sizeof text, "%" PRIu64 " more like this one: %s",
			kind->count - REPORTS_OF_A_KIND_MAX, kind->text);
		problem.class_ = kind->class_;
		problem.text = text;
		checker->options.problem(checker->options.context, &problem);
	}
}

bool
report__progress(struct checker *checker, uint64_t bytes)
{
	struct cop_check_progress progress = {
		.total_bytes = checker->pass_count * checker->used_bytes,
	};
	uint64_t first_bytes = checker->is_replayed ? progress.total_bytes : 0;

	if (checker->err)
		return false;
	checker->pass_bytes += bytes;
	progress.done_bytes = checker->pass * checker->used_bytes +
			      min_u64(checker->pass_bytes, checker->used_bytes);
	progress.done_bytes = min_u64(progress.done_bytes, progress.total_bytes) + first_bytes;
	if (checker->has_replay)
		progress.total_bytes *= 2;
	if (checker->options.progress &&
		!checker->options.progress(checker->options.context, &progress)) {
		checker->err = fail(COP_EINTR, "the check was interrupted");
		return false;
	}
	return true;
}

const char *
report__why(int err)
{
	const char *text = err_text();

	return text[0] != '\0' ? text : cop_error_sentence(err);
}
