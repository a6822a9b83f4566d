#include "object/job_format.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct job
sample(void)
{
	struct job job = {
		.program = JOB_DISMANTLE,
		.tree_kind = TREE_CONTENT,
		.branch = 1,
		.object = 0x0102030405,
		.root = { .pointer = { .addr = 9, .addr2 = 8, .birth = 7, .seal = 6 },
			.levels = 2 },
		.cursor = { .bytes = 3 },
	};

	memcpy(job.cursor.key, "abc", 3);
	return job;
}

static void
encodes_to_the_documented_bytes(void **state)
{
	static const uint8_t want[] = "\1\1\5\0\0\0\0\0"
				      "\1\0\0\0\0\0\0\0"
				      "\5\4\3\2\1\0\0\0"
				      "\x09\0\0\0\0\0\0\0"
				      "\x08\0\0\0\0\0\0\0"
				      "\7\0\0\0\0\0\0\0"
				      "\6\0\0\0\0\0\0\0"
				      "\2\0\0\0\0\0\0\0"
				      "abc";
	struct job job = sample();
	uint8_t bytes[JOB_BYTES_MAX];
	struct view view = job_encode(&job, bytes);

	(void)state;
	assert_int_equal(view.bytes, sizeof want - 1);
	assert_memory_equal(view.data, want, sizeof want - 1);
}

static void
gives_back_what_was_encoded(void **state)
{
	struct job job = sample();
	struct job trim = { .program = JOB_TRIM, .branch = 1, .object = 20 };
	struct job got;
	uint8_t bytes[JOB_BYTES_MAX];

	(void)state;
	assert_int_equal(job_decode(job_encode(&job, bytes), &got), 0);
	assert_int_equal(got.object, job.object);
	assert_int_equal(got.root.levels, 2);
	assert_int_equal(got.root.pointer.seal, 6);
	assert_int_equal(got.cursor.bytes, 3);
	assert_memory_equal(got.cursor.key, "abc", 3);
	assert_int_equal(job_decode(job_encode(&trim, bytes), &got), 0);
	assert_int_equal(got.program, JOB_TRIM);
	assert_int_equal(got.object, 20);
}

static void
refuses_every_truncation(void **state)
{
	struct job job = sample();
	struct job got = { .object = 77 };
	uint8_t bytes[JOB_BYTES_MAX];

	(void)state;
	(void)job_encode(&job, bytes);
	for (size_t cut = 0; cut < JOB_FIXED_BYTES; cut++) {
		assert_int_equal(job_decode(view_of(bytes, cut), &got), COP_EFORMAT);
		assert_int_equal(got.object, 77);
	}
}

static void
refuses_what_it_does_not_know(void **state)
{
	struct job job = sample();
	struct job got;
	uint8_t bytes[JOB_BYTES_MAX];
	struct view view = job_encode(&job, bytes);

	(void)state;
	bytes[0] = 2;
	assert_int_equal(job_decode(view, &got), COP_EUNSUPPORTED);
	bytes[0] = 1;
	bytes[1] = 3;
	assert_int_equal(job_decode(view, &got), COP_EUNSUPPORTED);
	bytes[1] = 1;
	bytes[2] = TREE_CATALOG;
	assert_int_equal(job_decode(view, &got), COP_EFORMAT);
	bytes[1] = JOB_TRIM;
	bytes[2] = 0;
	assert_int_equal(job_decode(view, &got), COP_EFORMAT); /* it has no cursor */
	assert_int_equal(job_decode(view_of(bytes, JOB_FIXED_BYTES), &got), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encodes_to_the_documented_bytes),
		cmocka_unit_test(gives_back_what_was_encoded),
		cmocka_unit_test(refuses_every_truncation),
		cmocka_unit_test(refuses_what_it_does_not_know),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
