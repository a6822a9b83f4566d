#include "fuzz/image.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/num.h"
#include "base/random.h"
#include "check/dump.h"
#include "coppice.h"
#include "crash/draw.h"
#include "crash/workload.h"
#include "faults/crashed.h"
#include "space/geometry.h"
#include "support/must.h"
#include "support/world.h"
#include "tree/node_format.h"
#include "volume/journal_format.h"
#include "volume/volume.h"

enum {
	BLOCKS = WORLD_BYTES / BLOCK_BYTES,
	SEED = 41,
	PATCH_BYTES = 5,
	COPY_BYTES = 64,
	PATCH_COPY = 0x80,
	PATCH_LEAVE = 0x40,
	PATCHES_MAX = 64,
	OPERATIONS = 12,
	BATCH_MAGIC_AT = 8, /* volume/journal_format.h */
	BATCH_BLOCKS_AT = 80,
	BATCH_WHOLE_CHECKSUM_AT = 112,
	NODE_MAGIC_AT = 8,              /* tree/node_format.h */
	SUPERBLOCK_ALLOCATION_AT = 200, /* volume/superblock_format.h */
	SUPERBLOCK_CHECKSUM_AT = 504,
	DESCRIPTORS_AT = 64, /* space/allocation_format.h */
	DESCRIPTOR_CHECKSUM_AT = 8,
	DESCRIPTOR_SLOT_AT = 25,
};

struct image_base {
	struct sim_medium *medium;
	struct superblock superblock;
	struct geometry geometry;
	uint64_t used[BLOCKS]; /* after place 0, which stands for the superblock */
	uint32_t used_count;
};

/* ---- The good volume ------------------------------------------------------------------------ */

/* On top of what the crash suite begins with: a tree that three have, and not all of it. */
static const struct op clones[] = {
	{ .type = OP_CLONE, .path = "/tree", .path2 = "/many" },
	{ .type = OP_CLONE, .path = "/tree", .path2 = "/one" },
	{ .type = OP_CLONE, .path = "/extents", .path2 = "/d/file" },
	{ .type = OP_SETTLE },
	{ .type = OP_WRITE, .path = "/many", .offset = 81920, .bytes = 4096, .seed = 12 },
	{ .type = OP_PUNCH, .path = "/one", .offset = 0, .bytes = 163840 },
	{ .type = OP_SYNC },
};

static int
fill_volume(struct world *world)
{
	struct workload *fixture = workload_fixture();
	struct op_runner runner;
	struct op op;
	uint64_t id;
	int err = op_runner_init(&runner, world->volume);

	while (!err && workload_next(fixture, NULL, &op)) {
		world->now_ns++;
		err = op_run(&runner, &op, &id);
	}
	for (size_t i = 0; !err && i < ARRAY_COUNT(clones); i++)
		err = op_run(&runner, &clones[i], &id);
	op_runner_fini(&runner);
	workload_free(fixture);
	return err;
}

static bool
is_in_journal(const struct image_base *base, uint64_t addr)
{
	uint64_t first = geometry_journal(&base->geometry);

	return addr >= first && addr < first + base->geometry.journal_blocks;
}

static int
find_used_of(struct image_base *base, bool in_journal)
{
	static const uint8_t zeros[BLOCK_BYTES];
	uint8_t block[BLOCK_BYTES];

	for (uint64_t addr = 0; addr < BLOCKS; addr++) {
		int err = sim_peek(base->medium, addr, block);

		if (err)
			return err;
		if (memcmp(block, zeros, sizeof block) != 0 &&
			is_in_journal(base, addr) == in_journal)
			base->used[base->used_count++] = addr;
	}
	return 0;
}

/* Those of the journal first. */
static int
find_used(struct image_base *base)
{
	int err = find_used_of(base, true);

	return err ? err : find_used_of(base, false);
}

static int
find_superblock(struct image_base *base)
{
	struct superblock previous;
	struct device *dev = NULL;
	int err = sim_open(base->medium, DEVICE_READ_ONLY, &dev);

	if (err)
		return err;
	err = volume_find_superblock(dev, &base->superblock, &previous);
	device_close(dev);
	if (err)
		return err;
	return geometry_init(&base->geometry, base->superblock.blocks, base->superblock.ag_blocks,
		base->superblock.journal_blocks);
}

/* Learns what a base's medium holds. */
static int
finish(struct image_base *base, int err, struct image_base **out_base)
{
	if (!err)
		err = find_superblock(base);
	if (!err)
		err = find_used(base);
	if (err) {
		sim_free(base->medium);
		free(base);
		return err;
	}
	*out_base = base;
	return 0;
}

int
image_base_create(struct image_base **out_base)
{
	struct image_base *base = must_alloc(sizeof *base);
	struct world_options options = { .seed = SEED, .now_ns = 1 };
	struct world world;
	int err = sim_create(WORLD_BYTES, SEED, &base->medium);

	if (!err)
		err = world_format(base->medium, SEED);
	if (!err)
		err = world_open(&world, base->medium, &options);
	if (!err) {
		err = fill_volume(&world);
		if (err)
			world_abandon(&world);
		else
			err = world_close(&world);
	}
	return finish(base, err, out_base);
}

int
image_base_create_crashed(struct image_base **out_base)
{
	struct image_base *base = must_alloc(sizeof *base);
	struct crashed crashed;

	crashed_create(&crashed);
	base->medium = TAKE(crashed.medium);
	crashed_fini(&crashed);
	return finish(base, 0, out_base);
}

/* Blocks in use that patches can name. */
static uint32_t
block_count(const struct image_base *base)
{
	return 1 + base->used_count;
}

/* ---- Patching ------------------------------------------------------------------------------- */

struct patching {
	const struct image_base *base;
	struct sim_medium *medium;
	uint8_t superblock[BLOCK_BYTES]; /* written in all places at the end */
	bool superblock_touched;
	uint64_t touched[PATCHES_MAX]; /* blocks whose checksums are to be made right */
	size_t touched_count;
};

static int
load_block(struct patching *patching, uint32_t number, uint8_t block[BLOCK_BYTES])
{
	number %= block_count(patching->base);
	if (number > 0)
		return sim_peek(patching->medium, patching->base->used[number - 1], block);
	memcpy(block, patching->superblock, BLOCK_BYTES);
	return 0;
}

static int
store_block(struct patching *patching, uint32_t number, const uint8_t block[BLOCK_BYTES])
{
	number %= block_count(patching->base);
	if (number > 0)
		return sim_poke(patching->medium, patching->base->used[number - 1], block);
	memcpy(patching->superblock, block, BLOCK_BYTES);
	patching->superblock_touched = true;
	return 0;
}

static int
apply_patch(struct patching *patching, struct reader *input)
{
	uint8_t block[BLOCK_BYTES];
	uint8_t source[BLOCK_BYTES];
	uint32_t number = read_le16(input);
	uint32_t offset = read_le16(input) % BLOCK_BYTES;
	uint8_t length = read_u8(input);
	int err = load_block(patching, number, block);

	if (err)
		return err;
	if (length & PATCH_COPY) {
		uint32_t from = read_le16(input);
		uint32_t from_offset = read_le16(input) % BLOCK_BYTES;
		uint32_t bytes =
			(uint32_t)min_u64(COPY_BYTES, BLOCK_BYTES - max_u64(offset, from_offset));

		err = load_block(patching, from, source);
		memcpy(block + offset, source + from_offset, bytes);
	} else {
		for (uint32_t i = 0; i <= (length & 15U); i++)
			block[(offset + i) % BLOCK_BYTES] = read_u8(input);
	}
	if (!err)
		err = store_block(patching, number, block);
	number %= block_count(patching->base);
	if (!err && number > 0 && !(length & PATCH_LEAVE))
		patching->touched[patching->touched_count++] = patching->base->used[number - 1];
	return err;
}

static int
fix_node(struct patching *patching, uint64_t addr)
{
	uint8_t block[BLOCK_BYTES];
	int err = sim_peek(patching->medium, addr, block);

	if (err || memcmp(block + NODE_MAGIC_AT, "copn", 4) != 0)
		return err;
	put_le64(block, checksum64(block + 8, BLOCK_BYTES - 8));
	return sim_poke(patching->medium, addr, block);
}

static bool
is_touched(const struct patching *patching, uint64_t addr, uint64_t blocks)
{
	for (size_t i = 0; i < patching->touched_count; i++) {
		if (patching->touched[i] >= addr && patching->touched[i] < addr + blocks)
			return true;
	}
	return false;
}

/* A batch at that block of the journal, if there is one and a patch has touched it. */
static int
fix_batch(struct patching *patching, uint64_t position)
{
	static uint8_t batch[BLOCKS * BLOCK_BYTES];
	const struct geometry *geometry = &patching->base->geometry;
	uint64_t addr = geometry_journal(geometry) + position;
	uint64_t blocks;
	int err = sim_peek(patching->medium, addr, batch);

	if (err || memcmp(batch + BATCH_MAGIC_AT, "copj", 4) != 0)
		return err;
	blocks = get_le32(batch + BATCH_BLOCKS_AT);
	if (blocks == 0 || blocks > geometry->journal_blocks - position)
		blocks = 1;
	if (!is_touched(patching, addr, blocks))
		return 0;
	for (uint64_t i = 1; !err && i < blocks; i++)
		err = sim_peek(patching->medium, addr + i, batch + i * BLOCK_BYTES);
	put_le64(batch + BATCH_WHOLE_CHECKSUM_AT,
		checksum64(batch + BATCH_HEADER_BYTES, blocks * BLOCK_BYTES - BATCH_HEADER_BYTES));
	put_le64(batch, hash64(batch + BATCH_MAGIC_AT, BATCH_HEADER_BYTES - BATCH_MAGIC_AT,
				patching->base->superblock.journal_seed));
	return err ? err : sim_poke(patching->medium, addr, batch);
}

static int
fix_journal(struct patching *patching)
{
	int err = 0;

	for (uint64_t i = 0; !err && i < patching->base->geometry.journal_blocks; i++)
		err = fix_batch(patching, i);
	return err;
}

/* Bitmaps in force, the block above them, and the descriptor in the superblock. */
static int
fix_allocation(struct patching *patching)
{
	const struct geometry *geometry = &patching->base->geometry;
	uint8_t *top_descriptor = patching->superblock + SUPERBLOCK_ALLOCATION_AT;
	uint64_t top_addr = geometry_space_block(
		geometry, geometry->levels, 0, top_descriptor[DESCRIPTOR_SLOT_AT] % SPACE_SLOTS);
	uint8_t top[BLOCK_BYTES];
	uint8_t bitmap[BLOCK_BYTES];
	int err = sim_peek(patching->medium, top_addr, top);

	for (uint64_t ag = 0; !err && ag < geometry->ag_count; ag++) {
		uint8_t *descriptor = top + DESCRIPTORS_AT + ag * SPACE_DESCRIPTOR_BYTES;

		if (get_le64(descriptor) == 0)
			continue;
		err = sim_peek(patching->medium,
			geometry_space_block(
				geometry, 0, ag, descriptor[DESCRIPTOR_SLOT_AT] % SPACE_SLOTS),
			bitmap);
		put_le64(descriptor + DESCRIPTOR_CHECKSUM_AT, checksum64(bitmap, BLOCK_BYTES));
	}
	if (!err)
		err = sim_poke(patching->medium, top_addr, top);
	put_le64(top_descriptor + DESCRIPTOR_CHECKSUM_AT, checksum64(top, BLOCK_BYTES));
	return err;
}

static int
fix_superblocks(struct patching *patching)
{
	const struct image_base *base = patching->base;
	int err = 0;

	for (uint32_t place = 0; !err && place < geometry_superblock_places(&base->geometry);
		place++) {
		put_le16(patching->superblock + 12, (uint16_t)place);
		put_le64(patching->superblock + SUPERBLOCK_CHECKSUM_AT,
			checksum64(patching->superblock, SUPERBLOCK_CHECKSUM_AT));
		err = sim_poke(patching->medium,
			geometry_superblock(&base->geometry, place, base->superblock.slot),
			patching->superblock);
	}
	return err;
}

static int
patch(struct patching *patching, const uint8_t *input, size_t bytes)
{
	const struct image_base *base = patching->base;
	struct reader reader = reader_over(input, bytes);
	int err = sim_peek(patching->medium,
		geometry_superblock(&base->geometry, 0, base->superblock.slot),
		patching->superblock);

	for (int i = 0; !err && i < PATCHES_MAX && reader.bytes - reader.at > PATCH_BYTES; i++)
		err = apply_patch(patching, &reader);
	for (size_t i = 0; !err && i < patching->touched_count; i++)
		err = fix_node(patching, patching->touched[i]);
	if (!err && patching->touched_count > 0)
		err = fix_journal(patching);
	if (!err && patching->touched_count > 0)
		err = fix_allocation(patching);
	if (!err)
		err = fix_superblocks(patching);
	return err;
}

/* A clone of the volume with the patches applied. */
static int
make(const struct image_base *base, const uint8_t *input, size_t bytes,
	struct sim_medium **out_medium)
{
	struct patching *patching = must_alloc(sizeof *patching);
	int err = sim_clone(base->medium, &patching->medium);

	patching->base = base;
	if (!err)
		err = patch(patching, input, bytes);
	if (err)
		sim_free(patching->medium);
	else
		*out_medium = patching->medium;
	free(patching);
	return err;
}

/* ---- Using it ------------------------------------------------------------------------------- */

static void
walk(struct sim_medium *medium, bool read_only, uint64_t seed)
{
	struct world_options options = { .seed = seed, .now_ns = 1000, .read_only = read_only };
	struct snapshot *found = NULL;
	struct world world;
	struct op_runner runner;
	struct rng rng;

	if (world_open(&world, medium, &options) != 0)
		return;
	if (snapshot_of_volume(world.volume, &found) == 0 && !read_only) {
		struct oracle *guess = oracle_create(&found->entries[0]);

		rng_seed(&rng, seed);
		if (op_runner_init(&runner, world.volume) == 0)
			for (int i = 0; i < OPERATIONS; i++) {
				struct op op;
				uint64_t id;

				draw_any_op(&rng, guess, &op);
				if (rng_below(&rng, 2))
					snprintf(op.path, sizeof op.path, "%.400s",
						found->entries[rng_below(&rng, found->count)].path);
				(void)op_run(&runner, &op, &id); /* anything may be wrong */
			}
		op_runner_fini(&runner);
		oracle_free(guess);
	}
	snapshot_free(found);
	(void)world_close(&world); /* likewise */
}

static bool
look(void *context, const struct cop_dump_item *item)
{
	const uint8_t *data = item->data;
	uint64_t *sum = context;

	for (size_t i = 0; i < item->bytes; i++)
		*sum += data[i];
	return true;
}

/* Every kind of dump; of the blocks some. */
static void
show(struct sim_medium *medium)
{
	static const uint32_t flags[] = { COP_DUMP_ALL, COP_DUMP_PREVIOUS,
		COP_DUMP_ALL | COP_DUMP_REPLAY };
	struct cop_dump_options options = COP_INIT(options);
	struct cop_dump_result result = COP_INIT(result);
	struct device *dev;
	uint64_t sum = 0;

	options.cache_bytes = COP_CACHE_BYTES_MIN;
	options.item = look;
	options.context = &sum;
	if (sim_open(medium, DEVICE_READ_ONLY | DEVICE_NO_LOCK, &dev) != 0)
		return;
	for (size_t i = 0; i < ARRAY_COUNT(flags); i++) {
		options.flags = flags[i];
		options.number = OBJECT_ROOT;
		for (int what = COP_DUMP_SUPERBLOCKS; what <= COP_DUMP_GROUPS; what++) {
			options.what = what;
			options.tree = what == COP_DUMP_TREE ? COP_DUMP_OBJECTS : 0;
			options.block = 177 * (1 + i);
			if (cop_dump_on(dev, &options, &result) != 0)
				err_clear(); /* any answer will do here as well */
		}
	}
	device_close(dev);
}

void
image_try(struct sim_medium *medium)
{
	struct world_check check;

	if (world_check(medium, &check) != 0)
		err_clear(); /* any answer will do, if there is one */
	show(medium);
	walk(medium, true, SEED + 1);
	walk(medium, false, SEED + 2);
}

void
image_try_accepting_loss(struct sim_medium *medium)
{
	if (world_accept_loss(medium) != 0)
		err_clear(); /* there is other damage */
	walk(medium, false, SEED + 3);
}

/* ---- One input ------------------------------------------------------------------------------- */

void
image_fuzz(int (*create)(struct image_base **out_base), void (*try)(struct sim_medium *medium),
	const uint8_t *input, size_t bytes)
{
	static struct image_base *base; /* one of a process, made once for millions of inputs */
	struct sim_medium *medium = NULL;

	if (!base && create(&base) != 0)
		abort();
	if (make(base, input, bytes, &medium) != 0)
		return;
	try(medium);
	sim_free(medium);
}
