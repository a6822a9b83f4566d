/* The path of an object, from its record up to the root, for whoever reads a problem. */

#include "check/check_internal.h"

#include <stdlib.h>

/* Puts "/name" in front of what is in the buffer; false when there is no room. */
static bool
prepend(struct checker *checker, size_t *start, struct view name)
{
	if (name.bytes + 1 > *start)
		return false;
	*start -= name.bytes;
	memcpy(checker->path + *start, name.data, name.bytes);
	checker->path[--*start] = '/';
	return true;
}

const char *
path__of(struct checker *checker, uint64_t id)
{
	struct tree objects = {
		.env = checker->env,
		.kind = TREE_OBJECTS,
		.root = checker->objects,
	};
	size_t start = sizeof checker->path - 1;
	const char *path = NULL;
	uint8_t *value;

	if (id == OBJECT_NONE || checker->objects.levels == 0)
		return NULL;
	value = malloc(RECORD_BYTES_MAX);
	if (!value)
		return NULL; /* the problem is told without it */
	checker->path[start] = '\0';
	if (id == OBJECT_ROOT)
		checker->path[--start] = '/';

	/* Each step takes room, so that no loop of directories has no end. */
	while (id != OBJECT_ROOT) {
		uint8_t key[OBJECT_KEY_BYTES];
		struct record record;
		size_t bytes;

		if (tree_get(&objects, object_key(key, id, KEY_RECORD), value, RECORD_BYTES_MAX,
			    &bytes) != 0 ||
			record_decode(view_of(value, bytes), &record) != 0 ||
			record.name.bytes == 0 || !prepend(checker, &start, record.name))
			goto out;
		id = record.parent;
	}
	path = checker->path + start;

out:
	free(value);
	err_clear();
	return path;
}
