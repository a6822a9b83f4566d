#ifndef COPPICE_TESTS_HISTORY_H
#define COPPICE_TESTS_HISTORY_H

/*
 * history: a volume and its model go side by side, one state for each operation.
 */

#include "support/op.h"
#include "support/oracle.h"

/* models[i] is the state after i operations; those before `first` are gone. */
struct history {
	struct oracle **models;
	size_t count;
	size_t capacity;
	size_t first;
	struct op *ops; /* ops[i] led to models[i]; without a type if it changed nothing */
	size_t op_capacity;
};

void history_push(struct history *history, struct oracle *model); /* takes it */
struct oracle *history_newest(const struct history *history);
void history_forget(struct history *history, size_t first); /* the states before `first` */
void history_fini(struct history *history);

enum { ANSWER_TEXT_BYTES = 1024 };
enum answer_kind { ANSWER_RIGHT, ANSWER_REFUSED, ANSWER_WRONG };

/* What a fault of the medium may excuse. */
enum tolerance {
	TOLERATE_DAMAGE = 1 << 0, /* what cannot be read cannot be changed */
	TOLERATE_FULL = 1 << 1,   /* closed groups cannot be emptied either */
};

/*
 * Runs an operation on the volume and on `model`, a copy of the newest state that becomes the next
 * one. One that the volume may refuse is not applied to either. ANSWER_WRONG: `text` says why.
 */
enum answer_kind history_run(struct history *history, struct oracle *model,
	struct op_runner *runner, const struct op *op, int64_t now_ns, uint32_t tolerance,
	char text[ANSWER_TEXT_BYTES]);

/*
 * Has the newest operation made durable all that was done before? One that was refused, rightly,
 * has not; a sync of one object leaves the pages of all others.
 */
bool history_is_promised(const struct history *history, bool is_late);

/* Prints what a replay does: its operation, and the number of the state that it leads to. */
void history_tell(const struct history *history, const char *when, const struct op *op);

#endif
