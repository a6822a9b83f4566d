#include "base/checksum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { SAMPLE_BYTES = 4096 };

static void
sample_fill(uint8_t out[static SAMPLE_BYTES])
{
	for (unsigned i = 0; i < SAMPLE_BYTES; i++)
		out[i] = (uint8_t)(i * 7);
}

/*
 * The format stands on these numbers: another library, another seed or another variant would make
 * every volume unreadable. The lengths take each of the paths inside XXH3.
 */
static void
gives_the_known_answers(void **state)
{
	static const struct {
		size_t bytes;
		uint64_t sum;
	} rows[] = {
		{ 0, UINT64_C(0x2d06800538d394c2) },
		{ 1, UINT64_C(0xc44bdff4074eecdb) },
		{ 3, UINT64_C(0xc3489259e968ad9e) },
		{ 8, UINT64_C(0xb88dee77f6bf6980) },
		{ 16, UINT64_C(0x9da23836adf2be1e) },
		{ 128, UINT64_C(0x65f3c2c00fa93185) },
		{ 240, UINT64_C(0x4917a75c0ef8eed7) },
		{ 241, UINT64_C(0x541b19226f0052e8) },
		{ 512, UINT64_C(0xf6fe51471f2fa1ec) },
		{ 4096, UINT64_C(0x8fb047a89e810965) },
	};
	uint8_t sample[SAMPLE_BYTES];

	(void)state;
	sample_fill(sample);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_int_equal(checksum64(sample, rows[i].bytes), rows[i].sum);
	assert_int_equal(checksum64("abc", 3), UINT64_C(0x78af5f94892f3950));
	assert_int_equal(hash64("abc", 3, 7), UINT64_C(0x48ff56f569e39912));
}

static void
changes_with_every_flipped_bit(void **state)
{
	uint8_t sample[SAMPLE_BYTES];
	uint64_t whole;

	(void)state;
	sample_fill(sample);
	whole = checksum64(sample, sizeof sample);
	for (unsigned bit = 0; bit < 8 * SAMPLE_BYTES; bit++) {
		sample[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_not_equal(checksum64(sample, sizeof sample), whole);
		sample[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(checksum64(sample, sizeof sample), whole);
}

static void
changes_with_the_length_of_zeros(void **state)
{
	static const uint8_t zeros[64];

	(void)state;
	for (size_t a = 0; a < sizeof zeros; a++) {
		for (size_t b = 0; b < a; b++)
			assert_int_not_equal(checksum64(zeros, a), checksum64(zeros, b));
	}
}

static void
hashes_by_the_seed(void **state)
{
	(void)state;
	assert_int_equal(hash64("name", 4, 0), checksum64("name", 4));
	assert_int_equal(hash64("name", 4, 1), hash64("name", 4, 1));
	assert_int_not_equal(hash64("name", 4, 1), hash64("name", 4, 2));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_the_known_answers),
		cmocka_unit_test(changes_with_every_flipped_bit),
		cmocka_unit_test(changes_with_the_length_of_zeros),
		cmocka_unit_test(hashes_by_the_seed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
