#include "object/record_format.h"

#include "object/extent_format.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct record
sample(void)
{
	return (struct record){
		.kind = COP_FILE,
		.form = COP_FORM_INLINE,
		.doctype = COP_DOC_TAG,
		.mode = 04755,
		.uid = 0x01020304,
		.gid = 0x05060708,
		.links = 3,
		.flags = 0x8000000000000001,
		.length = 5,
		.device = 0,
		.created_ns = -1,
		.changed_ns = 2,
		.modified_ns = 3,
		.accessed_ns = 4,
		.owner = 20,
		.parent = 1,
		.name = { (const uint8_t *)"name", 4 },
		.capabilities = { (const uint8_t *)"cap", 3 },
		.xattrs = { (const uint8_t *)"xa", 2 },
		.content = { (const uint8_t *)"hello", 5 },
	};
}

static size_t
encode(const struct record *record, uint8_t out[static RECORD_BYTES_MAX])
{
	struct writer w = writer_over(out, RECORD_BYTES_MAX);

	record_encode(record, &w);
	assert_int_equal(w.at, record_bytes(record));
	return w.at;
}

static void
encodes_to_the_documented_bytes(void **state)
{
	static const uint8_t want[] = "\1\1\1\4"
				      "\2\0\0\0"
				      "\xed\x09\0\0"
				      "\4\3\2\1"
				      "\x08\7\6\5"
				      "\3\0\0\0"
				      "\1\0\0\0\0\0\0\x80"
				      "\5\0\0\0\0\0\0\0"
				      "\0\0\0\0\0\0\0\0"
				      "\0\0\0\0\0\0\0\0"
				      "\xff\xff\xff\xff\xff\xff\xff\xff"
				      "\2\0\0\0\0\0\0\0"
				      "\3\0\0\0\0\0\0\0"
				      "\4\0\0\0\0\0\0\0"
				      "\x14\0\0\0\0\0\0\0"
				      "\1\0\0\0\0\0\0\0"
				      "\0\0\0\0\0\0\0\0"
				      "\3\0\2\0\5\0\0\0"
				      "namecapxahello";
	struct record record = sample();
	uint8_t bytes[RECORD_BYTES_MAX];

	(void)state;
	assert_int_equal(encode(&record, bytes), sizeof want - 1);
	assert_memory_equal(bytes, want, sizeof want - 1);
}

static void
gives_back_what_was_encoded(void **state)
{
	struct record record = sample();
	struct record got;
	uint8_t bytes[RECORD_BYTES_MAX];
	uint8_t again[RECORD_BYTES_MAX];
	size_t length = encode(&record, bytes);

	(void)state;
	assert_int_equal(record_decode(view_of(bytes, length), &got), 0);
	assert_int_equal(got.created_ns, -1);
	assert_int_equal(got.parent, 1);
	assert_true(view_equal(got.content, record.content));
	assert_true(view_equal(got.capabilities, record.capabilities));
	assert_int_equal(encode(&got, again), length);
	assert_memory_equal(bytes, again, length);
}

static void
refuses_every_truncation(void **state)
{
	struct record record = sample();
	struct record got = { .uid = 77 };
	uint8_t bytes[RECORD_BYTES_MAX];
	size_t length = encode(&record, bytes);

	(void)state;
	for (size_t cut = 0; cut < length; cut++) {
		assert_int_equal(record_decode(view_of(bytes, cut), &got), COP_EFORMAT);
		assert_int_equal(got.uid, 77);
	}
	assert_int_equal(record_decode(view_of(bytes, length + 1), &got), COP_EFORMAT);
}

static void
expect_refused(size_t at, uint8_t value, int want)
{
	struct record record = sample();
	struct record got;
	uint8_t bytes[RECORD_BYTES_MAX];
	size_t length = encode(&record, bytes);

	bytes[at] = value;
	assert_int_equal(record_decode(view_of(bytes, length), &got), want);
}

static void
refuses_fields_that_make_no_sense(void **state)
{
	(void)state;
	expect_refused(0, 2, COP_EUNSUPPORTED);
	expect_refused(1, 0, COP_EFORMAT);
	expect_refused(1, 8, COP_EFORMAT);
	expect_refused(1, COP_FIFO, COP_EFORMAT);      /* has no content */
	expect_refused(2, COP_FORM_NONE, COP_EFORMAT); /* a file has some */
	expect_refused(2, COP_FORM_TREE, COP_EFORMAT); /* and none here then */
	expect_refused(2, 4, COP_EFORMAT);
	expect_refused(9, 0x10, COP_EFORMAT);  /* mode */
	expect_refused(32, 6, COP_EFORMAT);    /* the length is not that of the bytes */
	expect_refused(39, 1, COP_EFORMAT);    /* past the largest file */
	expect_refused(40, 1, COP_EFORMAT);    /* inline, yet blocks */
	expect_refused(104, 8, COP_EFORMAT);   /* a job, and no tree */
	expect_refused(118, 1, COP_EFORMAT);   /* reserved */
	expect_refused(120, '/', COP_EFORMAT); /* no name */
	expect_refused(121, 0, COP_EFORMAT);
}

/* A tree may have ranges that are being freed, and then a job that does so. */
static void
knows_the_ranges_that_are_being_freed(void **state)
{
	const struct trims trims = { .count = 2, .list = { { 1, 2 }, { 5, 9 } } };
	uint8_t listed[TRIMS_BYTES_MAX];
	struct record record = {
		.kind = COP_FILE,
		.form = COP_FORM_TREE,
		.trim_job = 0x0102030405060708,
		.content = trims_encode(&trims, listed),
	};
	struct record got;
	struct trims got_trims;
	uint8_t bytes[RECORD_BYTES_MAX];
	size_t length = encode(&record, bytes);

	(void)state;
	assert_int_equal(length, RECORD_FIXED_BYTES + 2 * TRIM_RANGE_BYTES);
	assert_memory_equal(bytes + 104, "\x08\7\6\5\4\3\2\1", 8);
	assert_memory_equal(bytes + RECORD_FIXED_BYTES, listed, 2 * TRIM_RANGE_BYTES);
	assert_int_equal(record_decode(view_of(bytes, length), &got), 0);
	assert_int_equal(got.trim_job, record.trim_job);
	record_trims(&got, &got_trims);
	assert_int_equal(got_trims.count, 2);
	assert_int_equal(got_trims.list[1].end, 9);

	bytes[1] = COP_DIRECTORY;
	assert_int_equal(record_decode(view_of(bytes, length), &got), COP_EFORMAT);
	bytes[1] = COP_FILE;
	bytes[RECORD_FIXED_BYTES] = 2; /* empty */
	assert_int_equal(record_decode(view_of(bytes, length), &got), COP_EFORMAT);
	bytes[RECORD_FIXED_BYTES] = 1;
	memset(bytes + 104, 0, 8); /* nobody frees them */
	assert_int_equal(record_decode(view_of(bytes, length), &got), COP_EFORMAT);
	bytes[104] = 1;
	bytes[116] = 0; /* nothing to free */
	assert_int_equal(record_decode(view_of(bytes, RECORD_FIXED_BYTES), &got), COP_EFORMAT);
	bytes[104] = 0;
	assert_int_equal(record_decode(view_of(bytes, RECORD_FIXED_BYTES), &got), 0);
	record_trims(&got, &got_trims);
	assert_int_equal(got_trims.count, 0);
}

static void
judges_the_extents_in_it(void **state)
{
	struct extent extents[2] = {
		{ .first = 10, .addr = 100, .birth = 1, .blocks = 4 },
		{ .first = 14, .addr = 200, .birth = 1, .blocks = 1 },
	};
	uint8_t content[2 * (EXTENT_LISTED_BYTES + EXTENT_BYTES_MAX)];
	struct writer w = writer_over(content, sizeof content);
	struct record record = { .kind = COP_FILE, .form = COP_FORM_EXTENTS };

	(void)state;
	assert_int_equal(record_extents_check(&record), 0);
	extent_encode_listed(&extents[0], &w);
	extent_encode_listed(&extents[1], &w);
	record.content = view_of(content, w.at);
	assert_int_equal(record_extents_check(&record), 0);
	record.content.bytes--;
	assert_int_equal(record_extents_check(&record), COP_EFORMAT);

	extents[1].first = 13;
	w = writer_over(content, sizeof content);
	extent_encode_listed(&extents[0], &w);
	extent_encode_listed(&extents[1], &w);
	record.content = view_of(content, w.at);
	assert_int_equal(record_extents_check(&record), COP_EFORMAT);
}

static void
leaves_room_for_name_and_content(void **state)
{
	(void)state;
	for (uint32_t node = 4096; node <= 65536; node *= 2) {
		uint32_t content = record_content_max(node);

		assert_true(content >= EXTENT_LISTED_BYTES + EXTENT_FIXED_BYTES +
					       8 * EXTENT_BLOCKS_MAX); /* one full extent */
		assert_true(content >= TRIMS_BYTES_MAX);
		assert_true(content <= RECORD_CONTENT_MAX);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encodes_to_the_documented_bytes),
		cmocka_unit_test(gives_back_what_was_encoded),
		cmocka_unit_test(refuses_every_truncation),
		cmocka_unit_test(refuses_fields_that_make_no_sense),
		cmocka_unit_test(knows_the_ranges_that_are_being_freed),
		cmocka_unit_test(judges_the_extents_in_it),
		cmocka_unit_test(leaves_room_for_name_and_content),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
