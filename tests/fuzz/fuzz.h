#ifndef COPPICE_TESTS_FUZZ_H
#define COPPICE_TESTS_FUZZ_H

/*
 * fuzz: what every fuzz target gives, and its first inputs.
 *
 * A target is one file, fuzz_NAME.c. With -Dfuzz=true and clang it is linked with libFuzzer;
 * otherwise with standalone.c, which runs the target's own seeds and each file that it is given.
 */

#include <stddef.h>
#include <stdint.h>

/* Returns 0. Whatever it finds is a crash, a report of a sanitizer, or an assertion. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* Makes input number `index` at `out`; returns its length, 0: there are no more. */
enum { FUZZ_SEED_BYTES_MAX = 65536 };
size_t fuzz_seed(uint32_t index, uint8_t out[FUZZ_SEED_BYTES_MAX]);

#endif
