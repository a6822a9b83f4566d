/*
 * What is read before anything else of a volume is known: superblocks, root records in them, the
 * record of a branch, and the entries of directories.
 *
 * The first byte says which. A superblock is tried as it is and with its checksum put right. What
 * is accepted must come through another round of encoding and decoding as it was.
 */

#include "fuzz/fuzz.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/num.h"
#include "object/directory_format.h"
#include "volume/branch_format.h"
#include "volume/superblock_format.h"

#include <assert.h>

enum input_kind { INPUT_SUPERBLOCK, INPUT_BRANCH, INPUT_DIRECTORY, INPUT_KINDS };
enum { AT_SUPERBLOCK_CHECKSUM = SUPERBLOCK_BYTES - 8 };

static void
try_superblock(struct view input)
{
	uint8_t sector[SUPERBLOCK_BYTES] = { 0 };
	uint8_t once[SUPERBLOCK_BYTES];
	uint8_t again[SUPERBLOCK_BYTES];
	struct superblock sb;

	memcpy(sector, input.data, min_u64(input.bytes, sizeof sector));
	if (superblock_decode(sector, &sb) != 0) {
		put_le64(sector + AT_SUPERBLOCK_CHECKSUM,
			checksum64(sector, AT_SUPERBLOCK_CHECKSUM));
		if (superblock_decode(sector, &sb) != 0)
			return;
	}
	superblock_encode(&sb, once);
	assert(superblock_decode(once, &sb) == 0);
	superblock_encode(&sb, again);
	assert(memcmp(once, again, sizeof once) == 0);
}

static void
try_branch(struct view value)
{
	uint8_t again[BRANCH_RECORD_BYTES + BRANCH_NAME_BYTES_MAX];
	struct branch_record branch;

	if (branch_decode(value, &branch) != 0)
		return;
	assert(branch_encode(&branch, again) == value.bytes);
	assert(branch_decode(view_of(again, value.bytes), &branch) == 0);
}

/* As an entry of a directory tree, as a further name, and as the content of a small directory. */
static void
try_directory(struct view input)
{
	struct view name;
	uint64_t number;
	struct entry entry;

	if (entry_key_decode(input, 0, &number, &name) == 0)
		assert(name.bytes <= COP_NAME_BYTES_MAX);
	if (name_key_decode(input, 0, &number, &name) == 0)
		assert(name.bytes <= COP_NAME_BYTES_MAX);
	if (entry_value_decode(input, &entry) == 0)
		assert(entry.id != OBJECT_NONE);
	for (uint64_t count = 0; count <= DIRECTORY_INLINE_ENTRIES_MAX; count++)
		(void)!directory_inline_check(input, count); /* whatever it says, it returns */
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct view rest;

	if (bytes == 0)
		return 0;
	rest = view_of(data + 1, bytes - 1);
	switch ((enum input_kind)(data[0] % INPUT_KINDS)) {
	case INPUT_SUPERBLOCK:
		try_superblock(rest);
		break;
	case INPUT_BRANCH:
		try_branch(rest);
		break;
	case INPUT_DIRECTORY:
	case INPUT_KINDS:
		try_directory(rest);
		break;
	}
	return 0;
}

static size_t
seed_superblock(uint8_t *out)
{
	struct superblock sb = {
		.generation = 7,
		.previous_generation = 5,
		.slot = 2,
		.blocks = 2048,
		.ag_blocks = 256,
		.node_bytes = 4096,
		.journal_blocks = 128,
		.catalog = { .pointer = { .addr = 150, .addr2 = 1100, .birth = 7, .seal = 9 },
			.levels = 1 },
		.free_blocks = 1000,
		.next_object = OBJECT_FIRST,
		.label = "seed",
	};

	superblock_encode(&sb, out);
	return SUPERBLOCK_BYTES;
}

static size_t
seed_branch(uint8_t *out)
{
	struct branch_record branch = {
		.objects = { .pointer = { .addr = 151, .birth = 7, .seal = 10 }, .levels = 1 },
		.root_object = OBJECT_ROOT,
		.name_bytes = 4,
		.name = "main",
	};

	return branch_encode(&branch, out);
}

static size_t
seed_directory(uint8_t *out)
{
	struct writer w = writer_over(out, FUZZ_SEED_BYTES_MAX - 1);

	for (uint64_t i = 0; i < 3; i++) {
		struct entry entry = {
			.id = OBJECT_FIRST + i,
			.kind = COP_FILE,
			.name = view_of(&"a name"[i], 6 - i),
		};

		entry_inline_encode(&entry, &w);
	}
	return w.at;
}

size_t
fuzz_seed(uint32_t index, uint8_t out[FUZZ_SEED_BYTES_MAX])
{
	out[0] = (uint8_t)index;
	switch (index) {
	case INPUT_SUPERBLOCK:
		return 1 + seed_superblock(out + 1);
	case INPUT_BRANCH:
		return 1 + seed_branch(out + 1);
	case INPUT_DIRECTORY:
		return 1 + seed_directory(out + 1);
	default:
		return 0;
	}
}
