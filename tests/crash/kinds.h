#ifndef COPPICE_TESTS_KINDS_H
#define COPPICE_TESTS_KINDS_H

/*
 * kinds: the workloads whose operations are drawn one after the other, as a table. A new kind is
 * its functions and a row. workload.h says what each is for.
 */

#include "support/oracle.h"

/* One of them under way. Equal seeds and numbers, run on equal models, draw the same. */
struct drawing {
	size_t count; /* operations */
	struct rng rng;

	/* Random. */
	bool is_full; /* most of the volume is taken before anything else */

	/* Rounds. */
	struct rng cut_rng;
	uint64_t cuts; /* operations from this one on that are cut */
};

struct workload_kind {
	const char *name;
	void (*begin)(struct drawing *drawing, uint64_t seed, uint64_t number);
	void (*next)(
		struct drawing *drawing, struct oracle *model, size_t index, struct op *out_op);

	/* Is the power to be cut in the last of `done` operations? NULL: in each. */
	bool (*is_cut)(const struct drawing *drawing, size_t done);
	bool is_rarely_cut;
	bool changes_leaves;
};

/* By its name, of so many bytes; NULL: there is none. */
const struct workload_kind *kind_find(const char *name, size_t bytes);

#endif
