#ifndef COPPICE_TESTS_MUST_H
#define COPPICE_TESTS_MUST_H

/* must: memory for tests, which have no use for going on without it. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void *
must_have(void *memory)
{
	if (!memory) {
		fputs("tests: out of memory\n", stderr);
		abort();
	}
	return memory;
}

/* Zeroed. */
static inline void *
must_alloc(size_t bytes)
{
	return must_have(calloc(1, bytes ? bytes : 1));
}

/* Room for one more in an array that doubles. */
static inline void *
must_grow(void *array, size_t count, size_t *capacity, size_t item_bytes)
{
	if (count < *capacity)
		return array;
	*capacity = *capacity ? 2 * *capacity : 8;
	return must_have(realloc(array, *capacity * item_bytes));
}

#endif
