#include "volume/branch_format.h"

#include "base/num.h"
#include "volume/superblock_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { SAMPLE_BYTES = BRANCH_RECORD_BYTES + 4 };

static const struct branch_record sample = {
	.objects = { .pointer = { .addr = 17, .addr2 = 4711, .birth = 3, .seal = 99 },
		.levels = 2 },
	.root_object = 1,
	.origin = 7,
	.created_ns = -2,
	.name_bytes = 4,
	.name = "main",
};

static uint32_t
sample_encode(uint8_t out[static BRANCH_RECORD_BYTES + BRANCH_NAME_BYTES_MAX])
{
	memset(out, 0xee, BRANCH_RECORD_BYTES + BRANCH_NAME_BYTES_MAX);
	return branch_encode(&sample, out);
}

/* The bytes are the contract: this fails when a field moves, grows or changes its byte order. */
static void
encodes_to_the_documented_bytes(void **state)
{
	static const uint8_t tail[] = "\1\0\0\0\0\0\0\0"                 /* root_object */
				      "\7\0\0\0\0\0\0\0"                 /* origin */
				      "\xfe\xff\xff\xff\xff\xff\xff\xff" /* created_ns */
				      "\4\0"                             /* name_bytes */
				      "main";
	uint8_t out[BRANCH_RECORD_BYTES + BRANCH_NAME_BYTES_MAX];
	uint8_t root[ROOT_RECORD_BYTES];

	(void)state;
	assert_int_equal(sample_encode(out), SAMPLE_BYTES);
	assert_memory_equal(out, "\1\0\0\0\0\0\0\0", 8);
	root_record_encode(&sample.objects, root);
	assert_memory_equal(out + 8, root, sizeof root);
	root_record_encode(&sample.tags, root);
	assert_memory_equal(out + 48, root, sizeof root);
	assert_memory_equal(out + 88, tail, sizeof tail - 1);
}

static void
decodes_what_it_encoded(void **state)
{
	uint8_t out[BRANCH_RECORD_BYTES + BRANCH_NAME_BYTES_MAX];
	uint32_t bytes = sample_encode(out);
	struct branch_record back;

	(void)state;
	assert_int_equal(branch_decode(view_of(out, bytes), &back), 0);
	assert_int_equal(back.objects.pointer.seal, sample.objects.pointer.seal);
	assert_int_equal(back.objects.levels, sample.objects.levels);
	assert_int_equal(back.tags.levels, 0);
	assert_int_equal(back.root_object, sample.root_object);
	assert_int_equal(back.origin, sample.origin);
	assert_int_equal(back.created_ns, sample.created_ns);
	assert_int_equal(back.name_bytes, sample.name_bytes);
	assert_memory_equal(back.name, "main", sizeof "main"); /* a zero byte follows */
}

static void
takes_the_longest_name(void **state)
{
	uint8_t out[BRANCH_RECORD_BYTES + BRANCH_NAME_BYTES_MAX];
	struct branch_record long_name = sample;
	struct branch_record back;

	(void)state;
	long_name.name_bytes = BRANCH_NAME_BYTES_MAX;
	memset(long_name.name, 'n', BRANCH_NAME_BYTES_MAX);
	assert_int_equal(branch_encode(&long_name, out), sizeof out);
	assert_int_equal(branch_decode(view_of(out, sizeof out), &back), 0);
	assert_memory_equal(back.name, long_name.name, BRANCH_NAME_BYTES_MAX);
}

static void
refuses_every_other_length(void **state)
{
	uint8_t out[BRANCH_RECORD_BYTES + BRANCH_NAME_BYTES_MAX];
	struct branch_record back = { .origin = 77 };

	(void)state;
	sample_encode(out);
	for (uint32_t bytes = 0; bytes <= sizeof out; bytes++) {
		if (bytes == SAMPLE_BYTES)
			continue;
		assert_int_equal(branch_decode(view_of(out, bytes), &back), COP_EFORMAT);
		assert_int_equal(back.origin, 77); /* untouched on failure */
	}
}

static void
refuses_what_it_does_not_know(void **state)
{
	static const struct {
		uint32_t at;
		uint8_t value;
		int want;
	} rows[] = {
		{ 0, 0, COP_EUNSUPPORTED },  /* version */
		{ 0, 2, COP_EUNSUPPORTED },  /* version */
		{ 1, 1, COP_EUNSUPPORTED },  /* flags */
		{ 112, 0, COP_EFORMAT },     /* no name */
		{ 113, 1, COP_EFORMAT },     /* a name of 260 bytes */
		{ 8 + 32, 0, COP_EFORMAT },  /* a root without levels */
		{ 8 + 32, 77, COP_EFORMAT }, /* more levels than a tree can have */
		{ 48 + 32, 1, COP_EFORMAT }, /* levels without a root */
	};
	uint8_t out[BRANCH_RECORD_BYTES + BRANCH_NAME_BYTES_MAX];
	struct branch_record back;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		uint32_t bytes = sample_encode(out);

		out[rows[i].at] = rows[i].value;
		assert_int_equal(branch_decode(view_of(out, bytes), &back), rows[i].want);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encodes_to_the_documented_bytes),
		cmocka_unit_test(decodes_what_it_encoded),
		cmocka_unit_test(takes_the_longest_name),
		cmocka_unit_test(refuses_every_other_length),
		cmocka_unit_test(refuses_what_it_does_not_know),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
