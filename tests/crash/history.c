#include "crash/history.h"

#include "base/num.h"
#include "coppice.h"
#include "support/must.h"

#include <stdio.h>

struct oracle *
history_newest(const struct history *history)
{
	return history->models[history->count - 1];
}

void
history_push(struct history *history, struct oracle *model)
{
	history->models = must_grow(
		history->models, history->count, &history->capacity, sizeof *history->models);
	while (history->op_capacity < history->capacity)
		history->ops = must_grow(history->ops, history->op_capacity, &history->op_capacity,
			sizeof *history->ops);
	memset(&history->ops[history->count], 0, sizeof *history->ops);
	history->models[history->count++] = model;
}

void
history_forget(struct history *history, size_t first)
{
	for (; history->first < first; history->first++) {
		oracle_free(history->models[history->first]);
		history->models[history->first] = NULL;
	}
}

void
history_fini(struct history *history)
{
	history_forget(history, history->count);
	free(history->models);
	free(history->ops);
}

void
history_tell(const struct history *history, const char *when, const struct op *op)
{
	char line[ANSWER_TEXT_BYTES];

	op_print(op, line, sizeof line);
	printf("%s %zu: %s\n", when, history->count, line);
}

bool
history_is_promised(const struct history *history, bool is_late)
{
	const struct op *op = &history->ops[history->count - 1];

	return op->type == OP_SYNC || op->type == OP_SETTLE ||
	       (op->type == OP_SYNC_OBJECT && !is_late);
}

static bool
may_refuse(const struct op *op, int answer, uint32_t tolerance)
{
	const bool frees = op->type == OP_UNLINK || op->type == OP_SYNC ||
			   op->type == OP_SYNC_OBJECT || op->type == OP_BARRIER ||
			   op->type == OP_SETTLE;

	if (answer == COP_ENOSPC)
		return !frees || tolerance & TOLERATE_FULL;
	return tolerance & TOLERATE_DAMAGE &&
	       (err_is_damage(answer) || answer == COP_EIO || answer == COP_EROFS);
}

enum answer_kind
history_run(struct history *history, struct oracle *model, struct op_runner *runner,
	const struct op *op, int64_t now_ns, uint32_t tolerance, char text[ANSWER_TEXT_BYTES])
{
	char line[ANSWER_TEXT_BYTES / 2];
	uint64_t id;
	int got = op_run(runner, op, &id);
	int wanted;

	history_push(history, model);
	if (may_refuse(op, got, tolerance))
		return ANSWER_REFUSED;
	wanted = oracle_apply(model, op, now_ns);
	if (got != wanted) {
		op_print(op, line, sizeof line);
		snprintf(text, ANSWER_TEXT_BYTES, "%s: the answer is %s (%s), not %s", line,
			got ? cop_error_name(got) : "0", got ? cop_error_text() : "",
			wanted ? cop_error_name(wanted) : "0");
		return ANSWER_WRONG;
	}
	if (id)
		oracle_learn_id(model, op->path, id);
	if (got == 0)
		history->ops[history->count - 1] = *op;
	return ANSWER_RIGHT;
}
