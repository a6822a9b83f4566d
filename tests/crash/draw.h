#ifndef COPPICE_TESTS_DRAW_H
#define COPPICE_TESTS_DRAW_H

/*
 * draw: operations at random, which mostly make sense on the state that they are run on. Equal
 * states of the random numbers and equal models draw equal operations.
 */

#include "support/oracle.h"

enum { OBJECTS_WANTED = 40 }; /* with more of them some are removed */

/* How often an operation is drawn, in proportion to the others. */
struct weight {
	enum op_type type;
	uint32_t weight;
};

enum op_type draw_weighted(struct rng *rng, const struct weight *from, size_t count);

/* All but its type, which can become OP_HOLD where nothing is held. */
void draw_op(struct rng *rng, struct oracle *model, enum op_type type, struct op *out_op);

/* Of any type. */
void draw_any_op(struct rng *rng, struct oracle *model, struct op *out_op);

#endif
