#include "front/cli/damage.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

enum { BLOCKS = 8, BYTES = BLOCKS * COP_BLOCK_BYTES };

/* A file in which some blocks cannot be read. */
struct medium {
	bool is_bad[BLOCKS];
	uint8_t bytes[BYTES];
};

static int
read_medium(void *context, uint64_t offset, void *buffer, size_t bytes, size_t *out_bytes)
{
	const struct medium *medium = context;

	for (uint64_t at = offset; at < offset + bytes; at++) {
		if (medium->is_bad[at / COP_BLOCK_BYTES])
			return err_fail(__FILE__, __LINE__, COP_ECHECKSUM,
				"object 42, bytes %d-%d: block %d", (int)offset,
				(int)(offset + bytes - 1), (int)(at / COP_BLOCK_BYTES));
	}
	memcpy(buffer, medium->bytes + offset, bytes);
	*out_bytes = bytes;
	return 0;
}

static void
finds_the_first_run_whatever_it_is(void **state)
{
	static struct medium medium;
	static uint8_t buffer[BYTES];

	(void)state;
	for (int i = 0; i < BYTES; i++)
		medium.bytes[i] = (uint8_t)(i * 7 + i / 4096);
	for (unsigned bad = 0; bad < 1u << BLOCKS; bad++) {
		unsigned first = bad ? (unsigned)__builtin_ctz(bad) : BLOCKS;
		unsigned run = bad ? (unsigned)__builtin_ctz(~(bad >> first)) : 0;
		struct damage_range range;

		for (int i = 0; i < BLOCKS; i++)
			medium.is_bad[i] = bad >> i & 1;
		memset(buffer, 0, sizeof buffer);
		range = damage_find(read_medium, &medium, 0, buffer, BYTES);
		assert_int_equal(range.bytes, run * COP_BLOCK_BYTES);
		if (bad) {
			char note[64];

			assert_int_equal(range.offset, first * COP_BLOCK_BYTES);
			assert_int_equal(range.code, COP_ECHECKSUM);
			assert_int_equal(damage_note(&range), COP_ECHECKSUM);
			(void)snprintf(note, sizeof note, "bytes %u-%u: block %u",
				first * COP_BLOCK_BYTES, (first + run) * COP_BLOCK_BYTES - 1,
				first);
			assert_string_equal(cop_error_text(), note);
		}
		/* All before the run has been read. */
		assert_memory_equal(buffer, medium.bytes, first * COP_BLOCK_BYTES);
	}
}

static void
keeps_to_the_range_it_was_given(void **state)
{
	static struct medium medium = { .is_bad = { [2] = true, [3] = true } };
	static uint8_t buffer[BYTES];
	struct damage_range range =
		damage_find(read_medium, &medium, 5000, buffer, 2 * COP_BLOCK_BYTES);

	(void)state;
	assert_int_equal(range.offset, 8192);
	assert_int_equal(range.bytes, 5000 + 2 * COP_BLOCK_BYTES - 8192);
}

static int
read_nothing(void *context, uint64_t offset, void *buffer, size_t bytes, size_t *out_bytes)
{
	(void)offset;
	(void)buffer;
	(void)bytes;
	(void)out_bytes;
	return err_fail(__FILE__, __LINE__, COP_EIO, "%s", (const char *)context);
}

static void
keeps_a_note_of_something_else(void **state)
{
	static const char *const notes[] = { "object 42: no", "object 42, bytes 1-", "" };
	uint8_t buffer[8];

	(void)state;
	for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
		struct damage_range range =
			damage_find(read_nothing, (void *)notes[i], 5, buffer, sizeof buffer);
		char note[64];

		assert_int_equal(damage_note(&range), COP_EIO);
		(void)snprintf(note, sizeof note, "bytes 5-12: %s", notes[i]);
		assert_string_equal(cop_error_text(), note);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_first_run_whatever_it_is),
		cmocka_unit_test(keeps_to_the_range_it_was_given),
		cmocka_unit_test(keeps_a_note_of_something_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
