#ifndef COPPICE_TESTS_FIXTURE_H
#define COPPICE_TESTS_FIXTURE_H

/*
 * fixture: the small volume that all workloads begin on, which has an object of each kind and
 * content of each form; and the shapes, which are what a single call can do to it.
 */

#include "support/op.h"

#include <stddef.h>

/* Operation `index` of those that make it; false: there are no more. */
bool fixture_op(size_t index, struct op *out_op);

enum {
	SHAPES = 104,
	SHAPE_OPS_MAX = 4,
};

/* An operation on the fixture; some need another one or two to make sense. Those from the first of
 * type 0 on are not there. */
struct shape {
	struct op op[SHAPE_OPS_MAX];
};

/* They are named by their index in reports and in seeds: new ones come at the end. */
const struct shape *fixture_shape(size_t index);

#endif
