#include "faults/crashed.h"

#include "base/num.h"
#include "coppice.h"
#include "object/open.h"
#include "support/die.h"
#include "support/must.h"
#include "support/op.h"
#include "support/world.h"
#include "volume/volume.h"

enum { SEED = 61, STEP_NS = 1000, TEETH = 40 }; /* which are too many for a record */

/* ---- What is done ---------------------------------------------------------------------------- */

static const struct op before_all[] = {
	{ .type = OP_CREATE, .kind = COP_DIRECTORY, .path = "/d" },
	{ .type = OP_CREATE, .kind = COP_FILE, .path = "/d/file" },
	{ .type = OP_WRITE, .path = "/d/file", .bytes = 20000, .seed = 4 },
	{ .type = OP_CREATE, .kind = COP_FILE, .path = "/tree" },
	{ .type = OP_CREATE, .kind = COP_FILE, .path = "/gone" },
	{ .type = OP_WRITE, .path = "/gone", .bytes = 9000, .seed = 5 },
	{ .type = OP_CREATE, .kind = COP_FILE, .path = "/comb" },
	{ .type = OP_CREATE, .kind = COP_FILE, .path = "/copy" },
	{ .type = OP_SYNC },
};

static const struct op before_predecessor[] = {
	{ .type = OP_CREATE, .kind = COP_FILE, .path = "/one" },
	{ .type = OP_SYNC },
	{ .type = OP_WRITE, .path = "/one", .bytes = 5000, .seed = 6 },
	{ .type = OP_SYNC },
};

static const struct op before_newest[] = {
	{ .type = OP_CREATE, .kind = COP_FILE, .path = "/two" },
	{ .type = OP_SYNC },
	{ .type = OP_WRITE, .path = "/two", .bytes = 12000, .seed = 7 },
	{ .type = OP_UNLINK, .path = "/one", .flags = COP_UNLINK_FILE },
	{ .type = OP_SYNC },
};

/* A transaction each. OP_POLL: a mark, after a time without work. */
static const struct op after_newest[] = {
	{ .type = OP_CREATE, .kind = COP_FILE, .path = "/three" },
	{ .type = OP_SYNC },
	{ .type = OP_WRITE, .path = "/three", .bytes = 30000, .seed = 8 },
	{ .type = OP_SYNC },
	{ .type = OP_RENAME, .path = "/d/file", .path2 = "/d/other" },
	{ .type = OP_XATTR_SET, .path = "/two", .name_number = 1, .bytes = 60, .seed = 9 },
	{ .type = OP_UNLINK, .path = "/gone", .flags = COP_UNLINK_FILE },
	{ .type = OP_SYNC },
	{ .type = OP_POLL },
	{ .type = OP_POLL },
	{ .type = OP_WRITE, .path = "/tree", .offset = 40960, .bytes = 4096, .seed = 10 },
	{ .type = OP_SYNC },
	{ .type = OP_LINK, .path = "/two", .path2 = "/d/two" },
	{ .type = OP_SET_LENGTH, .path = "/three", .bytes = 100 },
	{ .type = OP_SYNC },
	{ .type = OP_CREATE, .kind = COP_SYMLINK, .path = "/d/symlink", .seed = 11 },
	{ .type = OP_SYNC },
	{ .type = OP_WRITE, .path = "/two", .offset = 4096, .bytes = 8192, .seed = 12 },
	{ .type = OP_SYNC },
	{ .type = OP_CLONE, .path = "/comb", .path2 = "/copy" },
	{ .type = OP_SYNC },
	{ .type = OP_WRITE, .path = "/copy", .offset = 8192, .bytes = 4096, .seed = 13 },
	{ .type = OP_CLONE, .path = "/two", .path2 = "/three" },
	{ .type = OP_SYNC },
};

static void
run(struct world *world, struct op_runner *runner, const struct op *op)
{
	uint64_t id;

	world->now_ns += STEP_NS;
	must(op_run(runner, op, &id), op->path);
}

static uint64_t
transactions(struct world *world)
{
	return volume_stats(open_volume_below(world->volume)).transactions;
}

static void
add_point(struct crashed *crashed, struct world *world)
{
	if (crashed->point_count == CRASHED_POINTS_MAX)
		must(COP_ERANGE, "points");
	must(snapshot_of_volume(world->volume, &crashed->points[crashed->point_count++]),
		"snapshot");
}

/* ---- The volume ------------------------------------------------------------------------------ */

static void
fill(struct crashed *crashed, struct world *world, struct op_runner *runner)
{
	struct volume *below = open_volume_below(world->volume);
	uint64_t first;

	for (size_t i = 0; i < ARRAY_COUNT(before_all); i++)
		run(world, runner, &before_all[i]);
	for (uint32_t i = 0; i < TEETH; i++)
		run(world, runner,
			&(struct op){ .type = OP_WRITE,
				.path = "/comb",
				.offset = (uint64_t)i * 8192,
				.bytes = 4096,
				.seed = i });
	must(volume_checkpoint(below), "checkpoint");
	for (size_t i = 0; i < ARRAY_COUNT(before_predecessor); i++)
		run(world, runner, &before_predecessor[i]);
	must(volume_checkpoint(below), "checkpoint");
	for (size_t i = 0; i < ARRAY_COUNT(before_newest); i++)
		run(world, runner, &before_newest[i]);
	must(volume_checkpoint(below), "checkpoint");

	first = transactions(world);
	add_point(crashed, world);
	for (size_t i = 0; i < ARRAY_COUNT(after_newest); i++) {
		run(world, runner, &after_newest[i]);
		if (transactions(world) - first == crashed->point_count)
			add_point(crashed, world);
		if (transactions(world) - first != crashed->point_count - 1)
			must(COP_EINVAL, "more than one transaction");
	}
}

static void
find_chain(struct crashed *crashed)
{
	struct journal_place newest;
	struct journal_place before;
	struct superblock sb;
	struct superblock previous;
	struct geometry geometry;
	struct device *dev;

	must(sim_open(crashed->medium, DEVICE_READ_ONLY, &dev), "device");
	must(volume_find_superblock(dev, &sb, &previous), "superblock");
	must(geometry_init(&geometry, sb.blocks, sb.ag_blocks, sb.journal_blocks), "geometry");
	crashed->region = journal_region_of(&sb, &geometry);
	newest = (struct journal_place){ sb.journal_tail, sb.journal_sequence, sb.epoch };
	before = (struct journal_place){ previous.journal_tail, previous.journal_sequence,
		previous.epoch };
	must(journal_scan(dev, &crashed->region, &newest, &before, &crashed->chain), "scan");
	device_close(dev);
}

void
crashed_create(struct crashed *out_crashed)
{
	struct world_options options = { .seed = SEED, .now_ns = STEP_NS };
	struct crashed crashed = { 0 };
	const struct op lost = { .type = OP_CREATE, .kind = COP_FILE, .path = "/lost" };
	struct op_runner runner;
	struct world world;

	must(sim_create(WORLD_BYTES, SEED, &crashed.medium), "medium");
	must(world_format(crashed.medium, SEED), "format");
	must(world_open(&world, crashed.medium, &options), "open");
	must(op_runner_init(&runner, world.volume), "root");
	fill(&crashed, &world, &runner);
	run(&world, &runner, &lost);
	op_runner_fini(&runner);
	sim_power_off(crashed.medium);
	world_abandon(&world);
	sim_power_on(crashed.medium, sim_choose_oldest, NULL);
	crashed.now_ns = world.now_ns;
	find_chain(&crashed);
	*out_crashed = crashed;
}

void
crashed_fini(struct crashed *crashed)
{
	for (size_t i = 0; i < crashed->point_count; i++)
		snapshot_free(crashed->points[i]);
	journal_chain_free(&crashed->chain);
	sim_free(crashed->medium);
	*crashed = (struct crashed){ 0 };
}
