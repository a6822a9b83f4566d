/*
 * Making an empty volume: the journal region, one node with the catalog, the allocation tree, and
 * the superblock last, so that a volume appears only when all of it is there.
 */

#include "volume/volume_internal.h"

#include "base/num.h"

#include <stdlib.h>

enum {
	JOURNAL_BYTES_MIN = 256 << 10,
	SMALL_VOLUME_BYTES = 256 << 20, /* below it nodes are one block */
	/* Half the bytes of 16 KiB for an update, in trees that are as high: bench/nodes.c. */
	NODE_BYTES_DEFAULT = 8192,
	WIPE_BLOCKS = 256, /* written at once */
};

/* ---- Options --------------------------------------------------------------------------------- */

int
volume_format_options_complete(struct volume_format_options *options)
{
	uint64_t bytes = options->volume_blocks * BLOCK_BYTES;
	struct geometry geometry;

	if (options->volume_blocks > COP_VOLUME_BYTES_MAX / BLOCK_BYTES)
		return fail(COP_EINVAL,
			"a volume of %" PRIu64 " bytes is too large; the most is %" PRIu64
			" (256P)",
			bytes, COP_VOLUME_BYTES_MAX);
	if (bytes < COP_VOLUME_BYTES_MIN)
		return fail(COP_ETOOSMALL,
			"too small for a volume; the least is %" PRIu64 " bytes (8M)",
			COP_VOLUME_BYTES_MIN);
	if (options->node_bytes == 0)
		options->node_bytes =
			bytes < SMALL_VOLUME_BYTES ? TREE_NODE_BYTES_MIN : NODE_BYTES_DEFAULT;
	if (!is_power_of_two(options->node_bytes) || options->node_bytes < TREE_NODE_BYTES_MIN ||
		options->node_bytes > TREE_NODE_BYTES_MAX)
		return fail(COP_EINVAL,
			"nodes of %" PRIu32
			" bytes; 4096, 8192, 16384, 32768 or 65536 are possible",
			options->node_bytes);
	if (options->metadata_copies > 2)
		return fail(COP_EINVAL, "%" PRIu32 " copies of metadata; 1 or 2 are possible",
			options->metadata_copies);
	if (options->label && strlen(options->label) > COP_LABEL_BYTES_MAX)
		return fail(COP_EINVAL, "a label of %zu bytes; the most is %d",
			strlen(options->label), COP_LABEL_BYTES_MAX);
	if (options->journal_blocks == 0)
		options->journal_blocks = geometry_journal_blocks(options->volume_blocks);
	if (options->journal_blocks < JOURNAL_BYTES_MIN / BLOCK_BYTES)
		return fail(COP_EINVAL, "a journal of %" PRIu64 " bytes; the least is %d",
			options->journal_blocks * BLOCK_BYTES, JOURNAL_BYTES_MIN);
	return geometry_init(&geometry, options->volume_blocks,
		geometry_ag_blocks(options->volume_blocks), options->journal_blocks);
}

/* ---- Wiping ---------------------------------------------------------------------------------- */

static int
write_zeros(struct device *dev, uint64_t addr, uint64_t blocks)
{
	void *zeros = block_buffer_alloc(WIPE_BLOCKS);
	int err = 0;

	if (!zeros)
		return fail(COP_ENOMEM, "format");
	memset(zeros, 0, (size_t)WIPE_BLOCKS * BLOCK_BYTES);
	while (blocks > 0 && err == 0) {
		uint64_t part = min_u64(blocks, WIPE_BLOCKS);

		err = device_write(dev, addr, zeros, part);
		addr += part;
		blocks -= part;
	}
	free(zeros);
	return err;
}

/* One slot of the ring, wherever one could have been, whatever the AGs of an older volume. */
static int
wipe_slot(struct device *dev, uint32_t slot)
{
	static const uint64_t ags[] = { 1, 3, 7 };
	int err = write_zeros(dev, slot, 1);

	for (uint64_t ag_blocks = AG_BLOCKS_MIN; ag_blocks <= AG_BLOCKS_MAX; ag_blocks *= 2) {
		for (size_t i = 0; i < ARRAY_COUNT(ags) && err == 0; i++) {
			uint64_t addr = ags[i] * ag_blocks + slot;

			if (addr < device_blocks(dev))
				err = write_zeros(dev, addr, 1);
		}
	}
	return err;
}

/*
 * No superblock of an older volume may be found when this has returned. While it runs the newest
 * one is there or none: an older one would show a state that is long gone, and overwritten in part.
 */
static int
wipe_old_superblocks(struct device *dev)
{
	struct superblock newest;
	struct superblock previous;
	int found = volume_find_superblock(dev, &newest, &previous);
	uint32_t last = found == 0 ? newest.slot : 0;
	int err = 0;

	if (found == COP_ENOMEM)
		return found;
	err_clear();
	for (uint32_t slot = 0; slot < SUPERBLOCK_RING && err == 0; slot++) {
		if (slot != last)
			err = wipe_slot(dev, slot);
	}
	if (err == 0 && found == 0)
		err = device_flush(dev);
	if (err == 0)
		err = wipe_slot(dev, last);
	return err ? err : device_flush(dev);
}

/* ---- The first node -------------------------------------------------------------------------- */

/* Hooks of a tree with one node, at places that are known. */
struct format {
	struct device *dev;
	struct cache *cache;
	struct rng rng;
	uint32_t node_blocks;
	uint64_t addr;
	uint64_t addr2;
	struct buffer *node;
};

static void
format_gate(void *context)
{
	(void)context; /* nobody else is here */
}

static uint64_t
format_generation(void *context)
{
	(void)context;
	return 1;
}

static struct buffer *
format_new_node(void *context, enum tree_kind kind, uint8_t level, struct tree_pointer *out_pointer)
{
	struct format *format = context;

	(void)kind;
	assert(level == 0);
	assert(!format->node);
	*out_pointer = (struct tree_pointer){
		.addr = format->addr,
		.addr2 = format->addr2,
		.birth = 1,
		.seal = rng_nonzero(&format->rng),
	};
	format->node = cache_insert(
		format->cache, format->addr, format->addr2, out_pointer->seal, format->node_blocks);
	return format->node;
}

static void
format_free_node(void *context, const struct tree_pointer *pointer)
{
	(void)context;
	(void)pointer;
	assert(!"format frees nothing");
}

static const struct tree_hooks format_hooks = {
	.enter = format_gate,
	.leave = format_gate,
	.generation = format_generation,
	.new_node = format_new_node,
	.free_node = format_free_node,
};

static int
write_catalog(struct format *format, struct superblock *sb, int64_t now_ns)
{
	static const char main_name[] = "main";
	struct branch_record branch = {
		.root_object = OBJECT_ROOT,
		.created_ns = now_ns,
		.name_bytes = sizeof main_name - 1,
	};
	struct tree_env env = {
		.cache = format->cache,
		.node_bytes = sb->node_bytes,
		.device_blocks = sb->blocks,
		.hooks = &format_hooks,
		.context = format,
	};
	struct tree catalog = { .env = &env, .kind = TREE_CATALOG };
	uint8_t key[CATALOG_KEY_BYTES];
	uint8_t value[BRANCH_RECORD_BYTES + BRANCH_NAME_BYTES_MAX];
	uint8_t name_key[sizeof main_name];
	uint8_t number[8];
	uint32_t bytes;
	int err;

	memcpy(env.uuid, sb->uuid, sizeof env.uuid);
	memcpy(branch.name, main_name, branch.name_bytes);
	err = cache_reserve(format->cache, format->node_blocks, 1);
	if (err)
		return err;
	bytes = branch_encode(&branch, value);
	tree_put(&catalog, catalog_key(key, CATALOG_BRANCH, BRANCH_MAIN), view_of(value, bytes));
	name_key[0] = CATALOG_BRANCH_NAME;
	memcpy(name_key + 1, main_name, branch.name_bytes);
	put_be64(number, BRANCH_MAIN);
	tree_put(&catalog, view_of(name_key, sizeof name_key), view_of(number, sizeof number));
	assert(format->node);
	tree_node_finish(format->node);
	err = cache_sync_all(format->cache, &format->node, 1);
	cache_clean(format->cache, format->node);
	sb->catalog = catalog.root;
	return err;
}

/* ---- All of it ------------------------------------------------------------------------------- */

static int
write_volume(struct device *dev, const struct geometry *geometry, struct superblock *sb,
	struct format *format, int64_t now_ns)
{
	uint8_t parameters[COP_BLOCK_BYTES];
	uint8_t *blocks;
	struct run used[2];
	size_t used_count = 0;
	uint64_t used_blocks = 0;
	int err;

	/* Nothing of the old volume is overwritten while its superblocks may still be found. */
	err = wipe_old_superblocks(dev);
	if (err)
		return err;
	/* Written once, so that a sync later touches no metadata of a host's file system. */
	err = write_zeros(dev, geometry_journal(geometry), geometry->journal_blocks);
	if (err)
		return err;
	err = write_catalog(format, sb, now_ns);
	if (err)
		return err;

	used[used_count++] = (struct run){ .addr = format->addr, .blocks = format->node_blocks };
	if (format->addr2 != 0)
		used[used_count++] =
			(struct run){ .addr = format->addr2, .blocks = format->node_blocks };
	for (size_t i = 0; i < used_count; i++)
		used_blocks += used[i].blocks;
	superblock_encode_parameters(sb, parameters);
	err = space_format(
		dev, geometry, sb->uuid, parameters, 1, used, used_count, &sb->allocation);
	if (err)
		return err;
	sb->free_blocks = sb->blocks - geometry_fixed_blocks_total(geometry) - used_blocks;
	assert(sb->free_blocks == sb->allocation.free_blocks);
	err = device_flush(dev);
	if (err)
		return err;
	blocks = block_buffer_alloc(SUPERBLOCK_PLACES_MAX);
	if (!blocks)
		return fail(COP_ENOMEM, "superblock");
	err = volume__write_superblock(dev, geometry, sb, blocks);
	free(blocks);
	if (err)
		return err;
	return device_flush(dev);
}

int
volume_format(struct device *dev, const struct volume_format_options *asked)
{
	struct volume_format_options options = *asked;
	struct geometry geometry;
	struct superblock sb = { .generation = 1 };
	struct format format = { .dev = dev };
	uint64_t middle;
	int64_t now_ns;
	int err;

	err = volume_format_options_complete(&options);
	if (err)
		return err;
	if (options.volume_blocks > device_blocks(dev))
		return fail(COP_EINVAL, "%s: a volume of %" PRIu64 " bytes on a device of %" PRIu64,
			device_name(dev), options.volume_blocks * BLOCK_BYTES,
			device_blocks(dev) * BLOCK_BYTES);
	err = geometry_init(&geometry, options.volume_blocks,
		geometry_ag_blocks(options.volume_blocks), options.journal_blocks);
	if (err)
		return err;
	err = volume__random(options.random, options.context, &format.rng);
	if (err)
		return err;

	now_ns = volume__clock(options.clock_ns, options.context);
	rng_bytes(&format.rng, sb.uuid, sizeof sb.uuid);
	sb.uuid[6] = (uint8_t)((sb.uuid[6] & 0x0f) | 0x40); /* a UUID of version 4: random */
	sb.uuid[8] = (uint8_t)((sb.uuid[8] & 0x3f) | 0x80);
	sb.blocks = geometry.blocks;
	sb.ag_blocks = geometry.ag_blocks;
	sb.node_bytes = options.node_bytes;
	sb.journal_blocks = geometry.journal_blocks;
	sb.flags = SUPERBLOCK_CLEAN;
	sb.metadata_copies = (uint8_t)options.metadata_copies;
	sb.next_object = OBJECT_FIRST;
	sb.next_branch = BRANCH_MAIN + 1;
	sb.next_job = 1;
	sb.journal_sequence = 1;
	sb.name_seed = rng_nonzero(&format.rng);
	sb.journal_seed = rng_nonzero(&format.rng);
	sb.created_ns = now_ns;
	sb.checkpoint_ns = now_ns;
	if (options.label)
		memcpy(sb.label, options.label, strlen(options.label));

	format.node_blocks = options.node_bytes / BLOCK_BYTES;
	format.addr = geometry_fixed_blocks(&geometry, 0);
	if (volume__copies(sb.metadata_copies, TREE_CATALOG, 0) == 2) {
		middle = geometry.ag_count / 2;
		format.addr2 =
			middle * geometry.ag_blocks + geometry_fixed_blocks(&geometry, middle);
	}
	err = cache_create(dev, COP_CACHE_BYTES_MIN, &format.cache);
	if (err)
		return err;
	err = write_volume(dev, &geometry, &sb, &format, now_ns);
	cache_free(format.cache);
	return err;
}
