/*
 * Passes over the volume, and what is left to say at the end.
 *
 * Memory is cut into parts by the limit:
 *
 *   3/8   the cache of nodes
 *   1/4   buffers of data that is being read, 8 MiB at most; 1/32 for what waits to be read
 *   1/8   the window of blocks
 *   1/12  the window of object numbers, with its index
 *   1/32  marks of directories
 *   1/8   of what is shared: the window's part of the share tree, the nodes that were entered
 *
 * The rest is for handles and what the cache wastes. A pass walks everything and keeps of it what
 * falls into its two windows. Passes go on until both have covered everything: as many as there are
 * blocks and objects to hold, whatever numbers the superblock claims to have given.
 */

#include "check/check_internal.h"

#include "base/num.h"

#include <stdlib.h>

static const uint64_t cache_bytes_default = UINT64_C(256) << 20;

enum {
	DATA_BUFFERS_BYTES_MAX = 8 << 20,
	DATA_IN_FLIGHT_FEW = 16,
	DATA_IN_FLIGHT_MANY = 32,
	DATA_BLOCKS_MAX = 16384, /* 64 MiB */
	DATA_ITEM_BYTES = 72,    /* of memory for each block that waits, if each is by itself */
	RECORD_BYTES_LEAST = 64, /* that an object takes, to guess how many there can be */
};

static struct check_limits
limits_of(uint64_t memory)
{
	uint64_t buffers = min_u64(memory / 4, DATA_BUFFERS_BYTES_MAX);
	struct check_limits limits = {
		.cache_bytes = memory / 8 * 3,
		.window_ags = memory / 8 / sizeof(struct window_ag),
		.window_ids = memory / 13 / sizeof(struct tally_page) * TALLY_PAGE_IDS,
		.ancestor_ids = memory / 32 * 4,
		.data_in_flight =
			buffers < DATA_BUFFERS_BYTES_MAX ? DATA_IN_FLIGHT_FEW : DATA_IN_FLIGHT_MANY,
		.window_shares = memory / 16 / sizeof(struct share_range),
		.shared_nodes = memory / 16 / (2 * sizeof(uint64_t)),
		.data_blocks = (uint32_t)min_u64(memory / 32 / DATA_ITEM_BYTES, DATA_BLOCKS_MAX),
	};

	limits.data_request_blocks = (uint32_t)(buffers / limits.data_in_flight / BLOCK_BYTES);
	return limits;
}

/* ---- Passes ---------------------------------------------------------------------------------- */

static void
losses_keep_worst(struct checker *checker)
{
	struct losses *worst = &checker->worst;

	worst->nodes = max_u64(worst->nodes, checker->losses.nodes);
	worst->objects = max_u64(worst->objects, checker->losses.objects);
	worst->entries = max_u64(worst->entries, checker->losses.entries);
}

static void
one_pass(struct checker *checker)
{
	checker->objects_found = 0;
	checker->losses = (struct losses){ 0 };
	checker->previous_losses = 0;
	checker->dead_trees = 0;
	checker->sharing.entered_count = 0;
	checker->pass_bytes = 0;
	catalog__walk(checker, &checker->sb);
	if (checker->is_first_pass)
		checker->result.objects = checker->objects_found;
	if (checker->previous.generation != 0 && !checker->err)
		catalog__walk(checker, &checker->previous);
	data__finish(checker);
	if (checker->err)
		return;
	references__judge(checker);
	tallies__judge(checker);
	losses_keep_worst(checker);
}

/* A guess: how objects fall into the windows is known when they have been met. */
static int
count_passes(struct checker *checker)
{
	uint64_t fixed = geometry_fixed_blocks_total(&checker->geometry);
	uint64_t used = checker->sb.blocks - min_u64(checker->sb.blocks, checker->sb.free_blocks);
	uint64_t for_blocks;
	uint64_t objects;
	int err = references__count_passes(checker, &for_blocks);

	if (err)
		return err;
	checker->used_bytes = (used - min_u64(used, fixed)) * BLOCK_BYTES;
	objects = min_u64(checker->sb.objects, checker->used_bytes / RECORD_BYTES_LEAST);
	checker->pass_count = max_u64(for_blocks, div_up(objects, checker->limits.window_ids));
	return 0;
}

static int
all_passes(struct checker *checker)
{
	uint64_t ag = 0;
	bool is_done = false;
	int err = count_passes(checker);

	checker->is_first_pass = true;
	while (err == 0 && !is_done) {
		err = references__begin(checker, ag);
		if (err == 0)
			err = tallies__begin(checker);
		if (err)
			break;
		one_pass(checker);
		err = checker->err;
		ag = checker->references.end_ag;
		is_done = ag == checker->geometry.ag_count && tallies__are_done(checker);
		checker->pass++;
		checker->is_first_pass = false;
	}
	if (err == 0 && checker->pass < checker->pass_count) {
		checker->pass = checker->pass_count;
		(void)report__progress(checker, 0);
		err = checker->err;
	}
	return err;
}

/* ---- The end --------------------------------------------------------------------------------- */

static void
summarise(struct checker *checker)
{
	const struct losses *worst = &checker->worst;
	struct finding structure = { .class_ = COP_PROBLEM_STRUCTURE };
	struct finding leak = { .class_ = COP_PROBLEM_LEAK };

	if (checker->stray_names > 0)
		report__problem(checker, &structure,
			"%" PRIu64 " names lead to objects that were not found: not judged, "
			"because %" PRIu64 " nodes or records cannot be read",
			checker->stray_names, worst->nodes);
	if (checker->stray_objects > 0)
		report__problem(checker, &structure,
			"%" PRIu64 " objects have names that were not found: not judged, "
			"because %" PRIu64 " nodes or records cannot be read",
			checker->stray_objects, worst->nodes);
	if (checker->leaked_blocks > 0)
		report__problem(checker, &leak,
			"nothing was found to refer to %" PRIu64 " blocks: not judged, "
			"because %" PRIu64 " nodes or records cannot be read",
			checker->leaked_blocks, worst->nodes);
	if (checker->result.objects != checker->sb.objects && worst->objects == 0)
		report__problem(checker, &structure,
			"the superblock says %" PRIu64 " objects, there are %" PRIu64,
			checker->sb.objects, checker->result.objects);
}

static int
check_opened(struct checker *checker)
{
	int err = data__begin(checker);

	if (err == 0)
		err = ancestors__begin(checker);
	if (err == 0)
		err = all_passes(checker);
	if (err == 0)
		summarise(checker);
	data__end(checker);
	ancestors__end(checker);
	references__end(checker);
	shares__end(checker);
	tallies__end(checker);
	return err;
}

/* What says that the volume is damaged, rather than that the check could not run. */
static bool
is_finding(int err)
{
	return err_is_damage(err) || err == COP_EIO || err == COP_EINVAL;
}

/* A volume that does not even open is a problem found, not a check that failed. */
static int
report_unopened(struct checker *checker, int err)
{
	if (!is_finding(err))
		return err;
	report__problem(checker, &(struct finding){ .class_ = COP_PROBLEM_SUPERBLOCK },
		"the volume does not open: %s", report__why(err));
	err_clear();
	return 0;
}

/*
 * The same proof of what replaying the journal gives, in memory, as opening for reading does it.
 * Figures are those of the first, but for the objects.
 */
static int
check_replayed(struct checker *checker)
{
	struct volume_options open = {
		.read_only = true,
		.cache_bytes = checker->limits.cache_bytes,
		.entry_run = extent_entry_run,
	};
	struct cop_check_result first = checker->result;
	struct finding finding = { .class_ = COP_PROBLEM_JOURNAL };
	struct volume_state state;
	int err = volume_open(checker->dev, &open, &checker->volume);

	if (err && err != COP_ENOMEM) { /* whatever a batch has asked for */
		report__problem(
			checker, &finding, "the journal cannot be replayed: %s", report__why(err));
		err_clear();
		return 0;
	}
	if (err)
		return err;
	volume_state(checker->volume, &state);
	checker->env = volume_tree_env(checker->volume);
	checker->is_replayed = true;
	checker->replayed_from = checker->sb.generation;
	checker->replayed = state.objects;
	checker->objects = state.objects;
	checker->sb = state.sb;
	checker->previous = (struct superblock){ 0 };
	checker->pass = 0;
	checker->leaked_blocks = 0;
	checker->stray_names = 0;
	checker->stray_objects = 0;
	checker->worst = (struct losses){ 0 };
	err = check_opened(checker);
	volume_close(checker->volume);
	first.problems = checker->result.problems;
	first.objects = checker->result.objects;
	checker->result = first;
	return err;
}

static int
check_found(struct checker *checker)
{
	struct volume_options open = {
		.read_only = true,
		.as_is = true,
		.cache_bytes = checker->limits.cache_bytes,
	};
	int err = geometry_init(&checker->geometry, checker->sb.blocks, checker->sb.ag_blocks,
		checker->sb.journal_blocks);

	if (err)
		return report_unopened(checker, err);
	superblock_encode_parameters(&checker->sb, checker->parameters);
	err = superblocks__check(checker);
	if (err == 0)
		err = journal__check(checker);
	if (err)
		return err;
	err = volume_open(checker->dev, &open, &checker->volume);
	if (err)
		return report_unopened(checker, err);
	checker->env = volume_tree_env(checker->volume);
	err = check_opened(checker);
	volume_close(checker->volume);
	return err == 0 && checker->has_replay ? check_replayed(checker) : err;
}

void
check__copy_known(void *to, const void *from, size_t known_bytes, size_t bytes)
{
	memcpy((uint8_t *)to + sizeof(size_t), (const uint8_t *)from + sizeof(size_t),
		min_u64(known_bytes, bytes) - sizeof(size_t));
}

int
check__on(struct device *dev, const struct cop_check_options *options,
	const struct check_limits *limits, struct cop_check_result *out_result)
{
	struct checker *checker = calloc(1, sizeof *checker);
	uint64_t memory;
	int err;

	if (!checker)
		return fail(COP_ENOMEM, "check");
	check__copy_known(&checker->options, options, options->size_bytes, sizeof *options);
	checker->dev = dev;
	checker->told = calloc(TOLD_MAX, sizeof *checker->told);
	if (!checker->told) {
		free(checker);
		return fail(COP_ENOMEM, "check");
	}
	memory = checker->options.cache_bytes;
	if (memory == 0)
		memory = cache_bytes_default;
	checker->limits = limits ? *limits : limits_of(memory);
	if (memory < COP_CACHE_BYTES_MIN)
		err = fail(COP_EINVAL, "%" PRIu64 " bytes of memory; the least is %" PRIu64, memory,
			COP_CACHE_BYTES_MIN);
	else
		err = volume_find_superblock(dev, &checker->sb, &checker->previous);
	if (err == 0)
		err = check_found(checker);
	else if (err_is_damage(err))
		err = report_unopened(checker, err);
	if (err == 0)
		report__finish(checker);
	if (err == 0)
		check__copy_known(
			out_result, &checker->result, out_result->size_bytes, sizeof *out_result);
	free(checker->told);
	free(checker);
	return err;
}

int
cop_check_on(struct device *dev, const struct cop_check_options *options,
	struct cop_check_result *out_result)
{
	return check__on(dev, options, NULL, out_result);
}

int
cop_check(const char *device, const struct cop_check_options *options,
	struct cop_check_result *out_result)
{
	struct device_options open = { .flags = DEVICE_READ_ONLY };
	struct device *dev;
	int err = device_open(device, &open, &dev);

	if (err)
		return err;
	err = cop_check_on(dev, options, out_result);
	device_close(dev);
	return err;
}
