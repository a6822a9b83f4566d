/*
 * What the object floor decodes: records with the extents in them, entries of content trees, jobs,
 * and values that lie in extents; and entries of the share tree.
 *
 * The first byte says which. What is accepted must encode to the same bytes again: a decoder that
 * forgets a field, or lets one pass that has no meaning, is found.
 */

#include "fuzz/fuzz.h"
#include "object/data_internal.h"
#include "object/job_format.h"
#include "space/share_format.h"

#include <assert.h>

enum input_kind { INPUT_RECORD, INPUT_ENTRY, INPUT_JOB, INPUT_BLOB, INPUT_SHARE, INPUT_KINDS };

/* Whatever is added or removed, the list stays one that makes sense. */
static void
try_trims(const struct record *record)
{
	uint8_t again[TRIMS_BYTES_MAX];
	struct trims trims;
	uint64_t first = record->length % CONTENT_BLOCKS_MAX;
	uint64_t end = first + 1 + record->owner % (CONTENT_BLOCKS_MAX - first);

	record_trims(record, &trims);
	if (trims_add(&trims, first, end))
		assert(trims_find(&trims, first, end)->end >= end);
	assert(trims_decode(trims_encode(&trims, again), &trims) == 0);
	if (trims_remove(&trims, first, end))
		assert(!trims_find(&trims, first, end));
	assert(trims_decode(trims_encode(&trims, again), &trims) == 0);
}

static void
try_record(struct view value)
{
	static uint8_t again[FUZZ_SEED_BYTES_MAX];
	struct writer w = writer_over(again, sizeof again);
	struct record record;

	if (record_decode(value, &record) != 0)
		return;
	record_encode(&record, &w);
	assert(view_equal(view_of(again, w.at), value));
	if (record.form == COP_FORM_TREE)
		try_trims(&record);
	if (record.form == COP_FORM_EXTENTS)
		(void)!record_extents_check(&record); /* whatever it says, it returns */
}

static void
try_entry(struct view input)
{
	size_t key_bytes = min_u64(input.bytes, EXTENT_KEY_BYTES);
	struct view key = view_of(input.data, key_bytes);
	struct view value = view_of(input.data + key_bytes, input.bytes - key_bytes);
	uint8_t again[EXTENT_BYTES_MAX];
	struct writer w = writer_over(again, sizeof again);
	struct extent extent;

	if (extent_decode_entry(key, value, &extent) != 0)
		return;
	extent_encode(&extent, &w);
	assert(view_equal(view_of(again, w.at), value));
	assert(extent_last(&extent) == get_be64(key.data));
	if (!(extent.flags & (EXTENT_COMPRESSED | EXTENT_ENCRYPTED)))
		extent_trim(&extent, extent_last(&extent), 1);
}

static void
try_job(struct view value)
{
	uint8_t again[JOB_BYTES_MAX];
	struct job job;

	if (job_decode(value, &job) != 0)
		return;
	assert(job_encode(&job, again).bytes == value.bytes);
}

static void
try_blob(struct view value)
{
	static uint8_t again[FUZZ_SEED_BYTES_MAX];
	struct extents extents;
	uint32_t bytes;

	if (blob_decode(value, &bytes, &extents) != 0)
		return;
	assert(blob_encode(bytes, &extents, again, sizeof again) == value.bytes);
	assert(view_equal(view_of(again, value.bytes), value));
	extents_free(&extents);
}

static void
try_share(struct view input)
{
	size_t key_bytes = min_u64(input.bytes, SHARE_KEY_BYTES);
	struct view key = view_of(input.data, key_bytes);
	struct view value = view_of(input.data + key_bytes, input.bytes - key_bytes);
	uint8_t again[SHARE_VALUE_BYTES];
	struct share_range range;

	if (share_decode(key, value, &range) != 0)
		return;
	share_encode(&range, again);
	assert(view_equal(view_of(again, sizeof again), value));
	assert(share_end(&range) - 1 == get_be64(key.data));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct view rest;

	if (bytes == 0)
		return 0;
	rest = view_of(data + 1, bytes - 1);
	switch ((enum input_kind)(data[0] % INPUT_KINDS)) {
	case INPUT_RECORD:
		try_record(rest);
		break;
	case INPUT_ENTRY:
		try_entry(rest);
		break;
	case INPUT_JOB:
		try_job(rest);
		break;
	case INPUT_BLOB:
		try_blob(rest);
		break;
	case INPUT_SHARE:
		try_share(rest);
		break;
	case INPUT_KINDS:
		break;
	}
	err_clear();
	return 0;
}

/* ---- Seeds ----------------------------------------------------------------------------------- */

static struct extent
seed_extent(uint32_t number)
{
	static const uint32_t flags[] = { 0, EXTENT_UNWRITTEN, EXTENT_COMPRESSED,
		EXTENT_ENCRYPTED | EXTENT_SPLIT, EXTENT_COMPRESSED | EXTENT_ENCRYPTED };

	return (struct extent){
		.first = (uint64_t)number * 100,
		.addr = 1000 + number,
		.birth = 3,
		.blocks = 1 + number % 4,
		.flags = flags[number % ARRAY_COUNT(flags)],
		.stored_bytes = 8000,
		.algorithm = 1,
		.whole_blocks = 8,
		.skip_blocks = 1,
		.key_id = 5,
	};
}

static void
seed_record(uint32_t number, struct writer *w)
{
	const struct trims trims = { .count = 2, .list = { { 1, 9 }, { 20, CONTENT_BLOCKS_MAX } } };
	uint8_t content[1000] = { 0 };
	struct writer extents = writer_over(content, sizeof content);
	struct record record = {
		.kind = number % 2 ? COP_FILE : COP_DIRECTORY,
		.form = COP_FORM_INLINE,
		.mode = 0644,
		.links = 1,
		.length = 30,
		.name = { (const uint8_t *)"a name", 6 },
		.content = { content, 30 },
	};

	if (number >= 2) {
		record.kind = COP_FILE;
		record.form = COP_FORM_EXTENTS;
		for (uint32_t i = 0; i < number; i++) {
			struct extent extent = seed_extent(i);

			extent_encode_listed(&extent, &extents);
		}
		record.content.bytes = extents.at;
	}
	if (number == 4) {
		record.form = COP_FORM_TREE;
		record.trim_job = 3;
		record.content = trims_encode(&trims, content);
	}
	record_encode(&record, w);
}

static void
seed_share(uint32_t number, struct writer *w)
{
	const struct share_range range = { .addr = 500, .blocks = 4, .extra = 1 + number };
	uint8_t key[SHARE_KEY_BYTES];
	uint8_t value[SHARE_VALUE_BYTES];

	share_key(share_end(&range) - 1, key);
	share_encode(&range, value);
	write_bytes(w, key, sizeof key);
	write_bytes(w, value, sizeof value);
}

static void
seed_job(uint32_t number, struct writer *w)
{
	uint8_t bytes[JOB_BYTES_MAX];
	struct job job = {
		.program = number % 2 ? JOB_TRIM : JOB_DISMANTLE,
		.tree_kind = number % 2 ? 0 : TREE_CONTENT,
		.branch = 1,
		.object = 17,
		.cursor = { .bytes = number % 2 ? 0 : 8 },
	};
	struct view view = job_encode(&job, bytes);

	write_bytes(w, view.data, view.bytes);
}

size_t
fuzz_seed(uint32_t index, uint8_t out[FUZZ_SEED_BYTES_MAX])
{
	struct writer w = writer_over(out, FUZZ_SEED_BYTES_MAX);
	struct extent extent = seed_extent(index / INPUT_KINDS);
	uint8_t key[EXTENT_KEY_BYTES];

	if (index >= 5 * INPUT_KINDS)
		return 0;
	write_u8(&w, (uint8_t)(index % INPUT_KINDS));
	switch ((enum input_kind)(index % INPUT_KINDS)) {
	case INPUT_RECORD:
		seed_record(index / INPUT_KINDS, &w);
		break;
	case INPUT_ENTRY:
		extent_key(extent_last(&extent), key);
		write_bytes(&w, key, sizeof key);
		extent_encode(&extent, &w);
		break;
	case INPUT_JOB:
		seed_job(index / INPUT_KINDS, &w);
		break;
	case INPUT_BLOB:
		write_le32(&w, 12345);
		extent_encode_listed(&extent, &w);
		break;
	case INPUT_SHARE:
		seed_share(index / INPUT_KINDS, &w);
		break;
	case INPUT_KINDS:
		break;
	}
	return w.at;
}
