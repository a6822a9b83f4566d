#include "object/extent_format.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct extent plain = {
	.first = 0x01020304,
	.addr = 0x060708090a0b,
	.birth = 0x1112131415161718,
	.blocks = 2,
	.checksums = { 0x2122232425262728, 0x3132333435363738 },
};

static struct extent
with_everything(void)
{
	struct extent extent = {
		.first = 77,
		.addr = 1000,
		.birth = 5,
		.blocks = 4,
		.flags = EXTENT_COMPRESSED | EXTENT_ENCRYPTED | EXTENT_SPLIT,
		.stored_bytes = 9000,
		.algorithm = 2,
		.whole_blocks = 32,
		.skip_blocks = 28,
		.key_id = 0xa1a2a3a4,
		.checksums = { 1, 2, 3 },
	};

	memset(extent.nonce, 0xcc, sizeof extent.nonce);
	memset(extent.tag, 0xdd, sizeof extent.tag);
	return extent;
}

static size_t
encode(const struct extent *extent, uint8_t out[static EXTENT_BYTES_MAX])
{
	struct writer w = writer_over(out, EXTENT_BYTES_MAX);

	extent_encode(extent, &w);
	assert_int_equal(w.at, extent_bytes(extent));
	return w.at;
}

static void
expect_equal(const struct extent *a, const struct extent *b)
{
	assert_int_equal(a->first, b->first);
	assert_int_equal(a->addr, b->addr);
	assert_int_equal(a->birth, b->birth);
	assert_int_equal(a->blocks, b->blocks);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->stored_bytes, b->stored_bytes);
	assert_int_equal(a->algorithm, b->algorithm);
	assert_int_equal(a->whole_blocks, b->whole_blocks);
	assert_int_equal(a->skip_blocks, b->skip_blocks);
	assert_int_equal(a->key_id, b->key_id);
	assert_memory_equal(a->nonce, b->nonce, sizeof a->nonce);
	assert_memory_equal(a->tag, b->tag, sizeof a->tag);
	assert_memory_equal(a->checksums, b->checksums, sizeof a->checksums);
}

static void
encodes_to_the_documented_bytes(void **state)
{
	static const uint8_t want[] = "\x0b\x0a\x09\x08\x07\x06\0\0"
				      "\x18\x17\x16\x15\x14\x13\x12\x11"
				      "\2\0"
				      "\0\0"
				      "\x28\x27\x26\x25\x24\x23\x22\x21"
				      "\x38\x37\x36\x35\x34\x33\x32\x31";
	uint8_t bytes[EXTENT_BYTES_MAX];
	uint8_t key[EXTENT_KEY_BYTES];

	(void)state;
	assert_int_equal(encode(&plain, bytes), sizeof want - 1);
	assert_memory_equal(bytes, want, sizeof want - 1);
	extent_key(extent_last(&plain), key);
	assert_memory_equal(key, "\0\0\0\0\1\2\3\5", sizeof key);
}

static void
encodes_the_parts_that_come_later(void **state)
{
	static const uint8_t head[] = "\xe8\3\0\0\0\0\0\0"
				      "\5\0\0\0\0\0\0\0"
				      "\4\0"
				      "\x0e\0"
				      "\x28\x23\0\0"
				      "\2\x20\x1c\0"
				      "\xa4\xa3\xa2\xa1";
	struct extent extent = with_everything();
	uint8_t bytes[EXTENT_BYTES_MAX];

	(void)state;
	assert_int_equal(encode(&extent, bytes), 20 + 8 + 44 + 3 * 8);
	assert_memory_equal(bytes, head, sizeof head - 1);
	assert_int_equal(extent_stored_blocks(&extent), 3);
}

static void
gives_back_what_was_encoded(void **state)
{
	struct extent samples[3] = { plain, with_everything(), plain };
	uint8_t bytes[EXTENT_BYTES_MAX];
	uint8_t key[EXTENT_KEY_BYTES];

	(void)state;
	samples[2].flags = EXTENT_UNWRITTEN;
	memset(samples[2].checksums, 0, sizeof samples[2].checksums);
	for (size_t i = 0; i < 3; i++) {
		size_t length = encode(&samples[i], bytes);
		struct extent got;

		extent_key(extent_last(&samples[i]), key);
		assert_int_equal(
			extent_decode_entry(view_of(key, sizeof key), view_of(bytes, length), &got),
			0);
		expect_equal(&got, &samples[i]);
	}
}

static void
refuses_every_truncation(void **state)
{
	struct extent samples[2] = { plain, with_everything() };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		uint8_t bytes[EXTENT_BYTES_MAX];
		uint8_t key[EXTENT_KEY_BYTES];
		size_t length = encode(&samples[i], bytes);
		struct extent got = { .addr = 77 };

		extent_key(extent_last(&samples[i]), key);
		for (size_t cut = 0; cut < length; cut++) {
			assert_int_equal(extent_decode_entry(view_of(key, sizeof key),
						 view_of(bytes, cut), &got),
				COP_EFORMAT);
			assert_int_equal(got.addr, 77);
		}
		/* Nor anything more. */
		assert_int_equal(extent_decode_entry(view_of(key, sizeof key),
					 view_of(bytes, length + 1), &got),
			COP_EFORMAT);
	}
}

static void
expect_refused(size_t at, uint8_t value)
{
	uint8_t bytes[EXTENT_BYTES_MAX];
	uint8_t key[EXTENT_KEY_BYTES];
	size_t length = encode(&plain, bytes);
	struct extent got;

	extent_key(extent_last(&plain), key);
	bytes[at] = value;
	assert_int_equal(
		extent_decode_entry(view_of(key, sizeof key), view_of(bytes, length), &got),
		COP_EFORMAT);
}

static void
refuses_fields_that_make_no_sense(void **state)
{
	struct extent got;
	uint8_t bytes[EXTENT_BYTES_MAX];
	uint8_t key[EXTENT_KEY_BYTES];
	size_t length = encode(&plain, bytes);

	(void)state;
	expect_refused(7, 1);   /* past 48 bits */
	expect_refused(16, 0);  /* no blocks */
	expect_refused(16, 33); /* too many */
	expect_refused(18, 16); /* an unknown flag */

	/* It would begin before the content does, or end past the largest file. */
	extent_key(0, key);
	assert_int_equal(
		extent_decode_entry(view_of(key, sizeof key), view_of(bytes, length), &got),
		COP_EFORMAT);
	extent_key(CONTENT_BLOCKS_MAX, key);
	assert_int_equal(
		extent_decode_entry(view_of(key, sizeof key), view_of(bytes, length), &got),
		COP_EFORMAT);
	assert_int_equal(
		extent_decode_entry(view_of(key, 7), view_of(bytes, length), &got), COP_EFORMAT);
}

static void
cuts_down_to_a_part(void **state)
{
	struct extent extent = {
		.first = 100, .addr = 5000, .birth = 3, .blocks = 4, .checksums = { 10, 11, 12, 13 }
	};

	(void)state;
	extent_trim(&extent, 101, 2);
	assert_int_equal(extent.first, 101);
	assert_int_equal(extent.addr, 5001);
	assert_int_equal(extent.blocks, 2);
	assert_int_equal(extent.checksums[0], 11);
	assert_int_equal(extent.checksums[1], 12);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encodes_to_the_documented_bytes),
		cmocka_unit_test(encodes_the_parts_that_come_later),
		cmocka_unit_test(gives_back_what_was_encoded),
		cmocka_unit_test(refuses_every_truncation),
		cmocka_unit_test(refuses_fields_that_make_no_sense),
		cmocka_unit_test(cuts_down_to_a_part),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
