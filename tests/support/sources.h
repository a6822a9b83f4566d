#ifndef COPPICE_TESTS_SOURCES_H
#define COPPICE_TESTS_SOURCES_H

/* sources: time and random numbers for a volume that are the same in every try. */

#include <stddef.h>
#include <stdint.h>

/* What the generator gives; `rng` is a struct rng. */
int sources_random(void *rng, void *buffer, size_t bytes);

/* A moment that does not pass. */
int64_t sources_clock(void *context);

#endif
