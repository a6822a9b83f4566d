#ifndef COPPICE_TESTS_ALLOC_H
#define COPPICE_TESTS_ALLOC_H

/*
 * alloc: counts the allocations of the product, and lets one or all of them fail.
 *
 * A test program that uses it is linked with `alloc_wrap_args`, which lead malloc, calloc, realloc,
 * aligned_alloc and strdup through here.
 *
 * Locks  None: any thread; the counters are atomic.
 */

#include <stdint.h>

/* Allocations so far, failed ones with them. */
uint64_t alloc_count(void);

/* The `nth` allocation from now on fails, once; 0: none does. */
void alloc_fail_nth(uint64_t nth);

/* Every allocation fails from the `nth` on, until alloc_fail_nth(0). */
void alloc_fail_from(uint64_t nth);

#endif
