#include "support/alloc.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* The linker's names. */
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
char *__wrap_strdup(const char *text);

static atomic_uint_fast64_t counted;
static atomic_uint_fast64_t fail_first; /* the number of the first to fail, 0: none */
static atomic_bool fail_rest;

static bool
may_allocate(void)
{
	uint64_t number = atomic_fetch_add(&counted, 1) + 1;
	uint64_t first = atomic_load(&fail_first);

	if (first == 0 || number < first || (number > first && !atomic_load(&fail_rest)))
		return true;
	errno = ENOMEM;
	return false;
}

void *
__wrap_malloc(size_t bytes)
{
	return may_allocate() ? __real_malloc(bytes) : NULL;
}

void *
__wrap_calloc(size_t count, size_t bytes)
{
	return may_allocate() ? __real_calloc(count, bytes) : NULL;
}

void *
__wrap_realloc(void *old, size_t bytes)
{
	return may_allocate() ? __real_realloc(old, bytes) : NULL;
}

void *
__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
	return may_allocate() ? __real_aligned_alloc(alignment, bytes) : NULL;
}

char *
__wrap_strdup(const char *text)
{
	return may_allocate() ? __real_strdup(text) : NULL;
}

uint64_t
alloc_count(void)
{
	return atomic_load(&counted);
}

void
alloc_fail_nth(uint64_t nth)
{
	atomic_store(&fail_rest, false);
	atomic_store(&fail_first, nth == 0 ? 0 : atomic_load(&counted) + nth);
}

void
alloc_fail_from(uint64_t nth)
{
	alloc_fail_nth(nth);
	atomic_store(&fail_rest, nth != 0);
}
