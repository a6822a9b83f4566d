/*
 * Is every directory below the root?
 *
 * From each directory we climb, parent by parent, until we come to the root or to a directory that
 * is known. What was learnt is marked on the whole way, in two bits for each object number; so each
 * directory is climbed over once, or a few times where there are more numbers than marks. A loop is
 * met by Brent's method: the stage that we passed last at a power of two of steps comes again.
 *
 * Source  R. P. Brent, "An improved Monte Carlo factorization algorithm" (1980), for the method.
 */

#include "check/check_internal.h"

#include "base/num.h"

#include <stdlib.h>

enum mark {
	MARK_NONE = 0,
	MARK_GOOD = 1, /* below the root */
	MARK_BAD = 2,  /* it is not, and somebody has been told */
	MARK_LOST = 3, /* the way up cannot be read */
};

enum { MARKS_PER_BYTE = 4, PROGRESS_STEPS = 1024 };

int
ancestors__begin(struct checker *checker)
{
	struct ancestors *ancestors = &checker->ancestors;

	ancestors->limit = min_u64(checker->limits.ancestor_ids, checker->sb.next_object);
	ancestors->marks = calloc(ancestors->limit / MARKS_PER_BYTE + 1, 1);
	if (!ancestors->marks)
		return fail(COP_ENOMEM, "check of %" PRIu64 " directories", ancestors->limit);
	return 0;
}

void
ancestors__end(struct checker *checker)
{
	free(checker->ancestors.marks);
	checker->ancestors = (struct ancestors){ 0 };
}

static enum mark
mark_of(const struct ancestors *ancestors, uint64_t id)
{
	if (id == OBJECT_ROOT)
		return MARK_GOOD;
	if (id >= ancestors->limit)
		return MARK_NONE;
	return ancestors->marks[id / MARKS_PER_BYTE] >> id % MARKS_PER_BYTE * 2 & 3;
}

static void
mark_set(struct ancestors *ancestors, uint64_t id, enum mark mark)
{
	uint8_t *marks;

	if (id >= ancestors->limit)
		return;
	marks = &ancestors->marks[id / MARKS_PER_BYTE];
	*marks = (uint8_t)(*marks | (unsigned)mark << id % MARKS_PER_BYTE * 2);
}

/* The parent of a directory; MARK_NONE, or why there is none. */
static enum mark
parent_of(struct checker *checker, uint64_t id, uint8_t *value, uint64_t *out_parent)
{
	struct tree objects = {
		.env = checker->env,
		.kind = TREE_OBJECTS,
		.root = checker->objects,
	};
	uint8_t key[OBJECT_KEY_BYTES];
	struct record record;
	size_t bytes;
	int err = tree_get(
		&objects, object_key(key, id, KEY_RECORD), value, RECORD_BYTES_MAX, &bytes);

	if (err == 0)
		err = record_decode(view_of(value, bytes), &record);
	if (err == COP_ENOMEM)
		checker->err = err;
	if (err && err != COP_ENOENT)
		return MARK_LOST;
	if (err || record.kind != COP_DIRECTORY)
		return MARK_BAD;
	*out_parent = record.parent;
	return MARK_NONE;
}

/* Climbs from `id`; *out_steps is how many directories were passed. */
static enum mark
climb(struct checker *checker, uint64_t id, uint64_t parent, uint8_t *value, uint64_t *out_steps,
	bool *out_is_told)
{
	uint64_t steps = 1;
	uint64_t stage = id;
	uint64_t at = parent;
	enum mark mark = mark_of(&checker->ancestors, at);

	*out_is_told = mark == MARK_BAD;
	while (mark == MARK_NONE && !checker->err) {
		if (at == stage) {
			mark = MARK_BAD;
			break;
		}
		if (is_power_of_two(steps))
			stage = at;
		if (steps % PROGRESS_STEPS == 0)
			(void)report__progress(checker, 0);
		mark = parent_of(checker, at, value, &at);
		if (mark != MARK_NONE)
			break;
		steps++;
		mark = mark_of(&checker->ancestors, at);
		*out_is_told = mark == MARK_BAD;
	}
	*out_steps = steps;
	return mark;
}

bool
ancestors__lead_to_root(struct checker *checker, uint64_t id, uint64_t parent)
{
	uint8_t *value = malloc(RECORD_BYTES_MAX);
	uint64_t steps;
	uint64_t at = id;
	uint64_t next = parent;
	bool is_told;
	enum mark mark;

	if (!value) {
		checker->err = fail(COP_ENOMEM, "check");
		return true;
	}
	mark = mark_of(&checker->ancestors, id);
	if (mark != MARK_NONE) {
		free(value);
		return true; /* it was climbed over, and what is wrong was told */
	}
	mark = climb(checker, id, parent, value, &steps, &is_told);
	while (steps-- > 0 && mark_of(&checker->ancestors, at) == MARK_NONE) {
		mark_set(&checker->ancestors, at, mark);
		at = next;
		if (steps > 0 && parent_of(checker, at, value, &next) != MARK_NONE)
			break;
	}
	free(value);
	err_clear();
	return mark != MARK_BAD || is_told;
}
