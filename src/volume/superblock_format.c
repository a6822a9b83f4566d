#include "volume/superblock_format.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/num.h"
#include "space/geometry.h"

enum {
	AT_MAGIC = 0,
	AT_VERSION = 8,
	AT_PLACE = 12,
	AT_SLOT = 14,
	AT_UUID = 16,
	AT_INCOMPAT = 32,
	AT_RO_COMPAT = 40,
	AT_COMPAT = 48,
	AT_GENERATION = 56,
	AT_PREVIOUS_GENERATION = 64,
	AT_BLOCKS = 72,
	AT_AG_BLOCKS = 80,
	AT_NODE_BYTES = 84,
	AT_JOURNAL_BLOCKS = 88,
	AT_FLAGS = 96,
	AT_METADATA_COPIES = 104,
	AT_CHECKSUM_ALGORITHM = 105,
	AT_CATALOG = 112,
	AT_SHARES = 152,
	AT_SHARE_STAMP = 192,
	AT_ALLOCATION = 200,
	AT_FREE_BLOCKS = 232,
	AT_AWAITING_BLOCKS = 240,
	AT_NEXT_OBJECT = 248,
	AT_NEXT_BRANCH = 256,
	AT_NEXT_JOB = 264,
	AT_NAME_SEED = 272,
	AT_CREATED_NS = 280,
	AT_CHECKPOINT_NS = 288,
	AT_JOURNAL_TAIL = 296,
	AT_JOURNAL_SEQUENCE = 304,
	AT_RETAINED_TAIL = 312,
	AT_RETAINED_SEQUENCE = 320,
	AT_EPOCH = 328,
	AT_OBJECTS = 336,
	AT_LABEL = 344,
	AT_JOURNAL_SEED = 408,
	AT_CHECKSUM = 504,

	CHECKSUM_XXH3 = 1,
	METADATA_COPIES_MAX = 2,
	ROOT_AT_LEVELS = 32,
};
static_assert(AT_CHECKSUM + 8 == SUPERBLOCK_BYTES, "the checksum ends the sector");
static_assert(AT_CATALOG + ROOT_RECORD_BYTES == AT_SHARES, "roots lie side by side");
static_assert(AT_ALLOCATION + SPACE_DESCRIPTOR_BYTES == AT_FREE_BLOCKS, "descriptor has its room");
static_assert(AT_LABEL + COP_LABEL_BYTES_MAX + 1 <= AT_JOURNAL_SEED,
	"the label ends before what follows");

static const uint8_t magic[8] = "coppice";

void
root_record_encode(const struct tree_root *root, uint8_t out[static ROOT_RECORD_BYTES])
{
	assert(root->levels <= TREE_LEVELS_MAX);
	assert((root->levels == 0) == (root->pointer.addr == 0));

	memset(out, 0, ROOT_RECORD_BYTES);
	tree_pointer_encode(&root->pointer, out);
	out[ROOT_AT_LEVELS] = root->levels;
}

int
root_record_decode(const uint8_t in[static ROOT_RECORD_BYTES], struct tree_root *out_root)
{
	struct tree_root root = { .levels = in[ROOT_AT_LEVELS] };

	tree_pointer_decode(in, &root.pointer);
	if (root.levels > TREE_LEVELS_MAX)
		return fail(COP_EFORMAT, "root of %u levels", root.levels);
	if ((root.levels == 0) != (root.pointer.addr == 0))
		return fail(COP_EFORMAT, "root of %u levels at block %" PRIu64, root.levels,
			root.pointer.addr);
	*out_root = root;
	return 0;
}

void
superblock_encode(const struct superblock *sb, uint8_t out[static SUPERBLOCK_BYTES])
{
	assert(sb->generation > 0);
	assert(sb->previous_generation < sb->generation);
	assert(is_power_of_two(sb->ag_blocks));
	assert(sb->slot < SUPERBLOCK_RING);
	assert((sb->incompat & ~SUPERBLOCK_INCOMPAT_KNOWN) == 0);

	memset(out, 0, SUPERBLOCK_BYTES);
	memcpy(out + AT_MAGIC, magic, sizeof magic);
	put_le32(out + AT_VERSION, SUPERBLOCK_VERSION);
	put_le16(out + AT_PLACE, sb->place);
	put_le16(out + AT_SLOT, sb->slot);
	memcpy(out + AT_UUID, sb->uuid, sizeof sb->uuid);
	put_le64(out + AT_INCOMPAT, sb->incompat);
	put_le64(out + AT_RO_COMPAT, sb->ro_compat);
	put_le64(out + AT_COMPAT, sb->compat);
	put_le64(out + AT_GENERATION, sb->generation);
	put_le64(out + AT_PREVIOUS_GENERATION, sb->previous_generation);
	put_le64(out + AT_BLOCKS, sb->blocks);
	put_le32(out + AT_AG_BLOCKS, sb->ag_blocks);
	put_le32(out + AT_NODE_BYTES, sb->node_bytes);
	put_le64(out + AT_JOURNAL_BLOCKS, sb->journal_blocks);
	put_le64(out + AT_FLAGS, sb->flags);
	out[AT_METADATA_COPIES] = sb->metadata_copies;
	out[AT_CHECKSUM_ALGORITHM] = CHECKSUM_XXH3;
	root_record_encode(&sb->catalog, out + AT_CATALOG);
	root_record_encode(&sb->shares, out + AT_SHARES);
	put_le64(out + AT_SHARE_STAMP, sb->share_stamp);
	space_descriptor_encode(&sb->allocation, out + AT_ALLOCATION);
	put_le64(out + AT_FREE_BLOCKS, sb->free_blocks);
	put_le64(out + AT_AWAITING_BLOCKS, sb->awaiting_blocks);
	put_le64(out + AT_NEXT_OBJECT, sb->next_object);
	put_le64(out + AT_NEXT_BRANCH, sb->next_branch);
	put_le64(out + AT_NEXT_JOB, sb->next_job);
	put_le64(out + AT_NAME_SEED, sb->name_seed);
	put_le64(out + AT_CREATED_NS, (uint64_t)sb->created_ns);
	put_le64(out + AT_CHECKPOINT_NS, (uint64_t)sb->checkpoint_ns);
	put_le64(out + AT_JOURNAL_TAIL, sb->journal_tail);
	put_le64(out + AT_JOURNAL_SEQUENCE, sb->journal_sequence);
	put_le64(out + AT_RETAINED_TAIL, sb->retained_tail);
	put_le64(out + AT_RETAINED_SEQUENCE, sb->retained_sequence);
	put_le64(out + AT_EPOCH, sb->epoch);
	put_le64(out + AT_OBJECTS, sb->objects);
	memcpy(out + AT_LABEL, sb->label, sizeof sb->label);
	put_le64(out + AT_JOURNAL_SEED, sb->journal_seed);
	put_le64(out + AT_CHECKSUM, checksum64(out, AT_CHECKSUM));
}

void
superblock_encode_parameters(const struct superblock *sb, uint8_t out[static COP_BLOCK_BYTES])
{
	struct superblock parameters = {
		.place = SUPERBLOCK_PLACE_PARAMETERS,
		.incompat = sb->incompat,
		.ro_compat = sb->ro_compat,
		.compat = sb->compat,
		.generation = 1,
		.blocks = sb->blocks,
		.ag_blocks = sb->ag_blocks,
		.node_bytes = sb->node_bytes,
		.journal_blocks = sb->journal_blocks,
		.metadata_copies = sb->metadata_copies,
		.name_seed = sb->name_seed,
		.journal_seed = sb->journal_seed,
		.created_ns = sb->created_ns,
	};

	memcpy(parameters.uuid, sb->uuid, sizeof parameters.uuid);
	memcpy(parameters.label, sb->label, sizeof parameters.label);
	memset(out, 0, COP_BLOCK_BYTES);
	superblock_encode(&parameters, out);
}

/* What must make sense in a superblock whose checksum is right. */
static int
fields_check(const struct superblock *sb, uint8_t checksum_algorithm)
{
	struct geometry geometry;
	int err;

	if (checksum_algorithm != CHECKSUM_XXH3)
		return fail(COP_EUNSUPPORTED, "checksum algorithm %u", checksum_algorithm);
	if (sb->generation == 0 || sb->previous_generation >= sb->generation)
		return fail(COP_EFORMAT, "superblock of generation %" PRIu64 " after %" PRIu64,
			sb->generation, sb->previous_generation);
	if (sb->generation > SUPERBLOCK_NUMBER_MAX)
		return fail(COP_EFORMAT, "superblock of generation %" PRIu64, sb->generation);
	if (sb->share_stamp > sb->generation)
		return fail(COP_EFORMAT,
			"superblock of generation %" PRIu64 ", and shared was in %" PRIu64,
			sb->generation, sb->share_stamp);
	if (sb->next_object > SUPERBLOCK_NUMBER_MAX || sb->next_branch > SUPERBLOCK_NUMBER_MAX ||
		sb->next_job > SUPERBLOCK_NUMBER_MAX)
		return fail(COP_EFORMAT,
			"next object %" PRIu64 ", branch %" PRIu64 ", job %" PRIu64,
			sb->next_object, sb->next_branch, sb->next_job);
	if (sb->journal_sequence > SUPERBLOCK_NUMBER_MAX || sb->objects > SUPERBLOCK_NUMBER_MAX)
		return fail(COP_EFORMAT, "batch %" PRIu64 " of the journal, %" PRIu64 " objects",
			sb->journal_sequence, sb->objects);
	if (sb->journal_tail != 0 && sb->journal_tail >= sb->journal_blocks)
		return fail(COP_EFORMAT, "the journal begins at its block %" PRIu64 " of %" PRIu64,
			sb->journal_tail, sb->journal_blocks);
	if (sb->slot >= SUPERBLOCK_RING)
		return fail(COP_EFORMAT, "superblock slot %u", sb->slot);
	if (!is_power_of_two(sb->node_bytes) || sb->node_bytes < TREE_NODE_BYTES_MIN ||
		sb->node_bytes > TREE_NODE_BYTES_MAX)
		return fail(COP_EFORMAT, "nodes of %" PRIu32 " bytes", sb->node_bytes);
	if (sb->metadata_copies > METADATA_COPIES_MAX)
		return fail(COP_EFORMAT, "%u metadata copies", sb->metadata_copies);
	if (sb->label[COP_LABEL_BYTES_MAX] != '\0')
		return fail(COP_EFORMAT, "label without an end");
	if (sb->free_blocks > sb->blocks || sb->awaiting_blocks > sb->free_blocks)
		return fail(COP_EFORMAT,
			"%" PRIu64 " blocks free, %" PRIu64 " awaiting, of %" PRIu64,
			sb->free_blocks, sb->awaiting_blocks, sb->blocks);
	err = geometry_init(&geometry, sb->blocks, sb->ag_blocks, sb->journal_blocks);
	if (err)
		return fail_in(COP_EFORMAT, "superblock");
	return 0;
}

int
superblock_decode(const uint8_t in[static SUPERBLOCK_BYTES], struct superblock *out_sb)
{
	struct superblock sb = {
		.place = get_le16(in + AT_PLACE),
		.slot = get_le16(in + AT_SLOT),
		.incompat = get_le64(in + AT_INCOMPAT),
		.ro_compat = get_le64(in + AT_RO_COMPAT),
		.compat = get_le64(in + AT_COMPAT),
		.generation = get_le64(in + AT_GENERATION),
		.previous_generation = get_le64(in + AT_PREVIOUS_GENERATION),
		.blocks = get_le64(in + AT_BLOCKS),
		.ag_blocks = get_le32(in + AT_AG_BLOCKS),
		.node_bytes = get_le32(in + AT_NODE_BYTES),
		.journal_blocks = get_le64(in + AT_JOURNAL_BLOCKS),
		.flags = get_le64(in + AT_FLAGS),
		.metadata_copies = in[AT_METADATA_COPIES],
		.share_stamp = get_le64(in + AT_SHARE_STAMP),
		.free_blocks = get_le64(in + AT_FREE_BLOCKS),
		.awaiting_blocks = get_le64(in + AT_AWAITING_BLOCKS),
		.next_object = get_le64(in + AT_NEXT_OBJECT),
		.next_branch = get_le64(in + AT_NEXT_BRANCH),
		.next_job = get_le64(in + AT_NEXT_JOB),
		.name_seed = get_le64(in + AT_NAME_SEED),
		.journal_seed = get_le64(in + AT_JOURNAL_SEED),
		.created_ns = (int64_t)get_le64(in + AT_CREATED_NS),
		.checkpoint_ns = (int64_t)get_le64(in + AT_CHECKPOINT_NS),
		.journal_tail = get_le64(in + AT_JOURNAL_TAIL),
		.journal_sequence = get_le64(in + AT_JOURNAL_SEQUENCE),
		.retained_tail = get_le64(in + AT_RETAINED_TAIL),
		.retained_sequence = get_le64(in + AT_RETAINED_SEQUENCE),
		.epoch = get_le64(in + AT_EPOCH),
		.objects = get_le64(in + AT_OBJECTS),
	};
	uint64_t unknown = sb.incompat & ~SUPERBLOCK_INCOMPAT_KNOWN;
	int err;

	/* The order matters: each message is true only if the questions before it passed. */
	if (memcmp(in + AT_MAGIC, magic, sizeof magic) != 0)
		return fail(COP_ENOTVOLUME, "no superblock here");
	if (get_le64(in + AT_CHECKSUM) != checksum64(in, AT_CHECKSUM))
		return fail(COP_ECHECKSUM, "superblock");
	if (get_le32(in + AT_VERSION) != SUPERBLOCK_VERSION)
		return fail(COP_EUNSUPPORTED, "format version %" PRIu32 "; this coppice knows %d",
			get_le32(in + AT_VERSION), SUPERBLOCK_VERSION);
	if (unknown != 0)
		return fail(COP_EUNSUPPORTED, "unknown features %#" PRIx64, unknown);

	memcpy(sb.uuid, in + AT_UUID, sizeof sb.uuid);
	memcpy(sb.label, in + AT_LABEL, sizeof sb.label);
	err = fields_check(&sb, in[AT_CHECKSUM_ALGORITHM]);
	if (err)
		return err;
	err = root_record_decode(in + AT_CATALOG, &sb.catalog);
	if (err)
		return fail_in(err, "catalog");
	err = root_record_decode(in + AT_SHARES, &sb.shares);
	if (err)
		return fail_in(err, "share tree");
	if (sb.catalog.pointer.birth > sb.generation || sb.shares.pointer.birth > sb.generation)
		return fail(COP_EFORMAT, "a root born after generation %" PRIu64, sb.generation);
	err = space_descriptor_decode(in + AT_ALLOCATION, &sb.allocation);
	if (err)
		return fail_in(err, "allocation tree");
	*out_sb = sb;
	return 0;
}
