#include "space/share_format.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct share_range sample = {
	.addr = 0x0102030405,
	.blocks = 0x060708,
	.extra = 0x090a0b0c,
};

/* The bytes are the contract: this fails when a field moves, grows or changes its byte order. */
static void
encodes_to_the_documented_bytes(void **state)
{
	uint8_t key[SHARE_KEY_BYTES];
	uint8_t value[SHARE_VALUE_BYTES];

	(void)state;
	assert_memory_equal(
		share_key(share_end(&sample) - 1, key).data, "\0\0\0\1\2\x09\x0b\x0c", sizeof key);
	share_encode(&sample, value);
	assert_memory_equal(value, "\x08\7\6\0\x0c\x0b\x0a\x09", sizeof value);
}

static void
gives_back_what_was_encoded(void **state)
{
	uint8_t key[SHARE_KEY_BYTES];
	uint8_t value[SHARE_VALUE_BYTES];
	struct share_range got;

	(void)state;
	share_encode(&sample, value);
	assert_int_equal(share_decode(share_key(share_end(&sample) - 1, key),
				 view_of(value, sizeof value), &got),
		0);
	assert_memory_equal(&got, &sample, sizeof got);
}

static void
refuses_what_makes_no_sense(void **state)
{
	uint8_t key[SHARE_KEY_BYTES];
	uint8_t value[SHARE_VALUE_BYTES];
	struct share_range got = { .addr = 77 };
	struct view whole = view_of(value, sizeof value);

	(void)state;
	share_encode(&sample, value);
	for (size_t cut = 0; cut < SHARE_VALUE_BYTES; cut++)
		assert_int_equal(
			share_decode(share_key(99, key), view_of(value, cut), &got), COP_EFORMAT);
	assert_int_equal(share_decode(view_of(key, 7), whole, &got), COP_EFORMAT);
	assert_int_equal(share_decode(share_key(UINT64_MAX, key), whole, &got), COP_EFORMAT);

	/* Longer than all blocks up to its end, or over the very first one. */
	put_le32(value, 100);
	assert_int_equal(share_decode(share_key(99, key), whole, &got), COP_EFORMAT);
	assert_int_equal(share_decode(share_key(100, key), whole, &got), 0);
	assert_int_equal(got.addr, 1);
	put_le32(value, 0);
	assert_int_equal(share_decode(share_key(99, key), whole, &got), COP_EFORMAT);
	share_encode(&sample, value);
	put_le32(value + 4, 0);
	assert_int_equal(
		share_decode(share_key(share_end(&sample) - 1, key), whole, &got), COP_EFORMAT);
	assert_int_equal(got.addr, 1); /* untouched */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encodes_to_the_documented_bytes),
		cmocka_unit_test(gives_back_what_was_encoded),
		cmocka_unit_test(refuses_what_makes_no_sense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
