#include "crash/workload.h"

#include "base/num.h"
#include "crash/fixture.h"
#include "crash/kinds.h"
#include "support/must.h"

#include <assert.h>

enum { RANDOM_EVERY = 4 }; /* is of another kind than a pair, until all pairs are through */

struct workload {
	size_t done;
	const struct workload_kind *kind; /* NULL: the fixture, or a pair */
	struct drawing drawing;           /* of a kind */

	/* Of a pair. */
	bool is_pair;
	struct op ops[2 * SHAPE_OPS_MAX + 2];
	size_t count;
};

struct workload *
workload_fixture(void)
{
	return must_alloc(sizeof(struct workload));
}

static void
append_shape(struct workload *workload, uint64_t shape)
{
	const struct op *ops = fixture_shape(shape)->op;

	for (size_t i = 0; i < SHAPE_OPS_MAX && ops[i].type != 0; i++)
		workload->ops[workload->count++] = ops[i];
}

static void
make_pair(struct workload *workload, uint64_t a, uint64_t b, bool has_sync_between)
{
	workload->is_pair = true;
	append_shape(workload, a);
	if (has_sync_between)
		workload->ops[workload->count++].type = OP_SYNC;
	append_shape(workload, b);
	workload->ops[workload->count++].type = OP_SYNC;
}

int
workload_create(const char *name, uint64_t seed, struct workload **out_workload)
{
	const struct workload_kind *kind = kind_find(name, strcspn(name, "."));
	struct workload *workload;
	uint64_t a;
	uint64_t b;
	uint64_t between;
	bool is_pair =
		sscanf(name, "pair.%" SCNu64 ".%" SCNu64 ".%" SCNu64, &a, &b, &between) == 3 &&
		a < SHAPES && b < SHAPES;

	if (!is_pair && (!kind || sscanf(name + strlen(kind->name), ".%" SCNu64, &a) != 1))
		return fail(COP_EINVAL, "no such workload: %s", name);
	workload = must_alloc(sizeof *workload);
	workload->kind = kind;
	if (is_pair)
		make_pair(workload, a, b, between != 0);
	else
		kind->begin(&workload->drawing, seed, a);
	*out_workload = workload;
	return 0;
}

void
workload_free(struct workload *workload)
{
	free(workload);
}

bool
workload_next(struct workload *workload, struct oracle *model, struct op *out_op)
{
	size_t index = workload->done++;

	if (workload->is_pair) {
		if (index < workload->count)
			*out_op = workload->ops[index];
		return index < workload->count;
	}
	if (!workload->kind)
		return fixture_op(index, out_op);
	if (index < workload->drawing.count)
		workload->kind->next(&workload->drawing, model, index, out_op);
	return index < workload->drawing.count;
}

bool
workload_is_rarely_cut(const struct workload *workload)
{
	return workload->kind && workload->kind->is_rarely_cut;
}

bool
workload_changes_leaves(const struct workload *workload)
{
	return workload->kind && workload->kind->changes_leaves;
}

bool
workload_is_cut(const struct workload *workload)
{
	if (!workload->kind || !workload->kind->is_cut)
		return true;
	return workload->kind->is_cut(&workload->drawing, workload->done);
}

uint64_t
workload_pairs(void)
{
	return (uint64_t)SHAPES * SHAPES * 2;
}

/* Multiplying by a number without a common factor visits every pair once, in no order. */
void
workload_name(uint64_t number, uint64_t seed, char *out, size_t out_bytes)
{
	static const char *const others[] = { "rounds", "jobs", "random", "clones", "laps",
		"random", "leaves", "random" };
	const uint64_t pairs = workload_pairs();
	const uint64_t stride = 7919;
	uint64_t index = number - (number + 1) / RANDOM_EVERY;
	uint64_t pair = (index * stride + seed * 31) % pairs;

	static_assert(SHAPES % 7919 != 0, "the stride is a prime");
	if (number % RANDOM_EVERY != RANDOM_EVERY - 1 && index < pairs)
		snprintf(out, out_bytes, "pair.%" PRIu64 ".%" PRIu64 ".%" PRIu64, pair / 2 / SHAPES,
			pair / 2 % SHAPES, pair % 2);
	else
		snprintf(out, out_bytes, "%s.%" PRIu64,
			others[number / RANDOM_EVERY % ARRAY_COUNT(others)], number);
}
