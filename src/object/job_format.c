#include "object/job_format.h"

#include <assert.h>

enum {
	AT_VERSION = 0,
	AT_PROGRAM = 1,
	AT_TREE_KIND = 2,
	AT_BRANCH = 8,
	AT_OBJECT = 16,
};
static_assert(JOB_ROOT_AT + ROOT_RECORD_BYTES == JOB_FIXED_BYTES, "the root ends the fixed part");

struct view
job_encode(const struct job *job, uint8_t out[static JOB_BYTES_MAX])
{
	assert(job->program == JOB_DISMANTLE || job->program == JOB_TRIM);
	assert(job->cursor.bytes <= TREE_KEY_BYTES_MAX);

	memset(out, 0, JOB_FIXED_BYTES);
	out[AT_VERSION] = JOB_VERSION;
	out[AT_PROGRAM] = (uint8_t)job->program;
	put_le64(out + AT_BRANCH, job->branch);
	put_le64(out + AT_OBJECT, job->object);
	if (job->program == JOB_DISMANTLE) {
		out[AT_TREE_KIND] = (uint8_t)job->tree_kind;
		root_record_encode(&job->root, out + JOB_ROOT_AT);
	}
	memcpy(out + JOB_FIXED_BYTES, job->cursor.key, job->cursor.bytes);
	return view_of(out, JOB_FIXED_BYTES + job->cursor.bytes);
}

int
job_decode(struct view value, struct job *out_job)
{
	struct job job = { 0 };
	const uint8_t *in = value.data;
	int err;

	if (value.bytes < JOB_FIXED_BYTES)
		return fail(COP_EFORMAT, "job record of %zu bytes", value.bytes);
	if (in[AT_VERSION] != JOB_VERSION)
		return fail(COP_EUNSUPPORTED, "job record of version %u", in[AT_VERSION]);
	if (in[AT_PROGRAM] != JOB_DISMANTLE && in[AT_PROGRAM] != JOB_TRIM)
		return fail(COP_EUNSUPPORTED, "job with program %u", in[AT_PROGRAM]);

	job.program = in[AT_PROGRAM];
	job.branch = get_le64(in + AT_BRANCH);
	job.object = get_le64(in + AT_OBJECT);
	job.cursor.bytes = (uint32_t)(value.bytes - JOB_FIXED_BYTES);
	if (job.cursor.bytes > TREE_KEY_BYTES_MAX)
		return fail(COP_EFORMAT, "job record of %zu bytes", value.bytes);
	if (job.program == JOB_TRIM && job.cursor.bytes > 0)
		return fail(COP_EFORMAT, "a cursor of a job that has no tree");
	memcpy(job.cursor.key, in + JOB_FIXED_BYTES, job.cursor.bytes);
	if (job.program == JOB_DISMANTLE) {
		job.tree_kind = in[AT_TREE_KIND];
		if (job.tree_kind != TREE_CONTENT && job.tree_kind != TREE_DIRECTORY)
			return fail(
				COP_EFORMAT, "job dismantles a tree of kind %u", in[AT_TREE_KIND]);
		err = root_record_decode(in + JOB_ROOT_AT, &job.root);
		if (err)
			return fail_in(err, "job record");
	}
	*out_job = job;
	return 0;
}
