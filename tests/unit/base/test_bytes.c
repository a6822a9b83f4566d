#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void
puts_the_low_byte_first(void **state)
{
	uint8_t out[8];

	(void)state;
	put_le16(out, 0x0102);
	assert_memory_equal(out, "\x02\x01", 2);
	put_le32(out, 0x01020304);
	assert_memory_equal(out, "\x04\x03\x02\x01", 4);
	put_le64(out, UINT64_C(0x0102030405060708));
	assert_memory_equal(out, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
	assert_int_equal(get_le64(out), UINT64_C(0x0102030405060708));
	assert_int_equal(get_le32(out), 0x05060708);
	assert_int_equal(get_le16(out), 0x0708);
}

static void
puts_the_high_byte_of_a_key_first(void **state)
{
	uint8_t out[8];

	(void)state;
	put_be32(out, 0x01020304);
	assert_memory_equal(out, "\x01\x02\x03\x04", 4);
	assert_int_equal(get_be32(out), 0x01020304);
	put_be64(out, UINT64_C(0x0102030405060708));
	assert_memory_equal(out, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
	assert_int_equal(get_be64(out), UINT64_C(0x0102030405060708));
}

static void
orders_keys_as_their_numbers(void **state)
{
	static const uint64_t rising[] = { 0, 1, 255, 256, 65535, 65536, UINT64_C(1) << 32,
		UINT64_MAX - 1, UINT64_MAX };
	uint8_t a[8];
	uint8_t b[8];

	(void)state;
	for (size_t i = 1; i < sizeof rising / sizeof rising[0]; i++) {
		put_be64(a, rising[i - 1]);
		put_be64(b, rising[i]);
		assert_true(memcmp(a, b, 8) < 0);
	}
}

static void
works_at_any_alignment(void **state)
{
	uint8_t room[24] = { 0 };

	(void)state;
	for (size_t at = 0; at < 8; at++) {
		put_le64(room + at, UINT64_C(0x1122334455667788) + at);
		assert_int_equal(get_le64(room + at), UINT64_C(0x1122334455667788) + at);
	}
}

static void
compares_views_as_memcmp_with_prefixes_first(void **state)
{
	struct view empty = view_of(NULL, 0);
	struct view a = view_of("a", 1);
	struct view ab = view_of("ab", 2);
	struct view high = view_of("\xff", 1);

	(void)state;
	assert_true(view_compare(empty, empty) == 0);
	assert_true(view_compare(empty, a) < 0);
	assert_true(view_compare(a, empty) > 0);
	assert_true(view_compare(a, ab) < 0);
	assert_true(view_compare(ab, a) > 0);
	assert_true(view_compare(ab, high) < 0); /* bytes are unsigned */
	assert_true(view_equal(empty, view_of("x", 0)));
	assert_true(view_equal(a, view_of("ab", 1)));
	assert_false(view_equal(a, ab));
	assert_false(view_equal(a, high));
}

static void
reads_back_what_was_written(void **state)
{
	uint8_t room[1 + 2 + 4 + 8 + 3];
	struct writer w = writer_over(room, sizeof room);
	struct reader r = reader_over(room, sizeof room);

	(void)state;
	write_u8(&w, 0x11);
	write_le16(&w, 0x2233);
	write_le32(&w, 0x44556677);
	write_le64(&w, UINT64_C(0x8899aabbccddeeff));
	write_bytes(&w, "abc", 3);
	assert_false(w.bad);
	assert_int_equal(w.at, sizeof room);

	assert_int_equal(read_u8(&r), 0x11);
	assert_int_equal(read_le16(&r), 0x2233);
	assert_int_equal(read_le32(&r), 0x44556677);
	assert_int_equal(read_le64(&r), UINT64_C(0x8899aabbccddeeff));
	assert_false(reader_is_done(&r)); /* three bytes are left */
	assert_memory_equal(read_bytes(&r, 3), "abc", 3);
	assert_true(reader_is_done(&r));
}

/* However short the bytes are, nothing outside them is touched, and one check tells. */
static void
turns_bad_at_every_truncation_and_stays_so(void **state)
{
	static const uint8_t bytes[15] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

	(void)state;
	for (size_t length = 0; length <= sizeof bytes; length++) {
		struct reader r = reader_over(bytes, length);

		(void)read_u8(&r);
		(void)read_le16(&r);
		(void)read_le32(&r);
		(void)read_le64(&r);
		assert_int_equal(reader_is_done(&r), length == sizeof bytes);
		assert_int_equal(r.bad, length < sizeof bytes);
		if (r.bad) {
			assert_int_equal(read_u8(&r), 0); /* also what would fit */
			assert_null(read_bytes(&r, 0));
		}
	}
}

static void
does_not_wrap_around_at_a_huge_length(void **state)
{
	static volatile size_t huge = SIZE_MAX; /* a number that no compiler looks through */
	uint8_t bytes[4] = { 1, 2, 3, 4 };
	struct reader r = reader_over(bytes, sizeof bytes);
	struct writer w = writer_over(bytes, sizeof bytes);

	(void)state;
	(void)read_u8(&r);
	assert_null(read_bytes(&r, huge));
	assert_true(r.bad);
	write_u8(&w, 9);
	write_bytes(&w, bytes, huge);
	assert_true(w.bad);
	assert_int_equal(w.at, 1);
}

static void
drops_what_does_not_fit_a_writer(void **state)
{
	uint8_t room[8];
	uint8_t untouched[8];

	(void)state;
	memset(untouched, 0xee, sizeof untouched);
	for (size_t capacity = 0; capacity < 7; capacity++) {
		struct writer w = writer_over(room, capacity);

		memset(room, 0xee, sizeof room);
		write_u8(&w, 1);
		write_le16(&w, 2);
		write_le32(&w, 3);
		assert_true(w.bad);
		write_bytes(&w, "", 0);
		assert_true(w.bad);
		assert_memory_equal(room + capacity, untouched, sizeof room - capacity);
	}
}

static void
takes_nothing_from_nothing(void **state)
{
	struct reader r = reader_over(NULL, 0);
	struct writer w = writer_over(NULL, 0);

	(void)state;
	(void)read_bytes(&r, 0);
	assert_true(reader_is_done(&r));
	write_bytes(&w, NULL, 0);
	assert_false(w.bad);
	assert_int_equal(read_u8(&r), 0);
	assert_true(r.bad);
}

static void
knows_zeros_from_any_other_byte(void **state)
{
	uint8_t bytes[40] = { 0 };

	(void)state;
	assert_true(bytes_are_zero(NULL, 0));
	for (size_t count = 0; count <= sizeof bytes; count++)
		assert_true(bytes_are_zero(bytes, count));
	for (size_t at = 0; at < sizeof bytes; at++) {
		bytes[at] = (uint8_t)(1 << at % 8);
		assert_false(bytes_are_zero(bytes, sizeof bytes));
		assert_true(bytes_are_zero(bytes, at));
		assert_true(bytes_are_zero(bytes + at + 1, sizeof bytes - at - 1));
		bytes[at] = 0;
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(puts_the_low_byte_first),
		cmocka_unit_test(puts_the_high_byte_of_a_key_first),
		cmocka_unit_test(orders_keys_as_their_numbers),
		cmocka_unit_test(works_at_any_alignment),
		cmocka_unit_test(compares_views_as_memcmp_with_prefixes_first),
		cmocka_unit_test(reads_back_what_was_written),
		cmocka_unit_test(turns_bad_at_every_truncation_and_stays_so),
		cmocka_unit_test(does_not_wrap_around_at_a_huge_length),
		cmocka_unit_test(drops_what_does_not_fit_a_writer),
		cmocka_unit_test(takes_nothing_from_nothing),
		cmocka_unit_test(knows_zeros_from_any_other_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
