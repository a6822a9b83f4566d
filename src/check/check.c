#include "check/check_internal.h"

#include "base/num.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	PROBLEM_TEXT_BYTES = 512,
	WINDOW_AGS_MIN = 8,
	TALLIES_MIN = 1024,
};

/* ---- Reporting ------------------------------------------------------------------------------- */

void
check__report(struct checker *checker, const struct finding *finding, const char *format, ...)
{
	char text[PROBLEM_TEXT_BYTES];
	struct cop_problem problem = COP_INIT(problem);
	va_list args;

	checker->result.problems++;
	if (!checker->options->problem)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof text, format, args);
	va_end(args);
	problem.class_ = finding->class_;
	problem.object = finding->object;
	problem.offset = finding->offset;
	problem.bytes = finding->bytes;
	problem.block = finding->block;
	problem.text = text;
	problem.path = checker->objects.levels > 0 ? check__path(checker, finding->object) : NULL;
	checker->options->problem(checker->options->context, &problem);
}

bool
check__progress(struct checker *checker, uint64_t bytes)
{
	struct cop_check_progress progress = {
		.done_bytes = checker->result.verified_bytes,
		.total_bytes = (checker->sb.blocks - checker->sb.free_blocks) * BLOCK_BYTES,
	};

	(void)bytes;
	if (checker->err)
		return false;
	if (checker->options->progress &&
		!checker->options->progress(checker->options->context, &progress)) {
		checker->err = fail(COP_EINTR, "interrupted");
		return false;
	}
	return true;
}

/* ---- Superblocks ----------------------------------------------------------------------------- */

/* Every place holds the superblock that was found, in its slot. */
static int
check_superblock(struct checker *checker, const struct superblock *sb, const char *which)
{
	uint8_t *block = block_buffer_alloc(1);

	if (!block)
		return fail(COP_ENOMEM, "check");
	for (uint32_t place = 0; place < geometry_superblock_places(&checker->geometry); place++) {
		uint64_t addr = geometry_superblock(&checker->geometry, place, sb->slot);
		struct superblock copy;
		int err = device_read(checker->dev, addr, block, 1);

		if (err == 0)
			err = superblock_decode(block, &copy);
		if (err == 0 && (copy.generation != sb->generation || copy.place != place))
			err = fail(COP_ECHECKSUM, "generation %" PRIu64 " in place of %" PRIu64,
				copy.generation, sb->generation);
		if (err)
			check__report(checker,
				&(struct finding){
					.class_ = COP_PROBLEM_SUPERBLOCK, .block = addr },
				"copy %" PRIu32 " of the %s superblock: %s", place + 1, which,
				err_text());
	}
	err_clear();
	free(block);
	return 0;
}

static void
check_totals(struct checker *checker)
{
	if (checker->sb.free_blocks != checker->sb.allocation.free_blocks)
		check__report(checker, &(struct finding){ .class_ = COP_PROBLEM_ALLOCATION },
			"the superblock says %" PRIu64
			" blocks are free, the allocation tree %" PRIu64,
			checker->sb.free_blocks, checker->sb.allocation.free_blocks);
	if (checker->result.objects != checker->sb.objects)
		check__report(checker, &(struct finding){ .class_ = COP_PROBLEM_STRUCTURE },
			"the superblock says %" PRIu64 " objects, there are %" PRIu64,
			checker->sb.objects, checker->result.objects);
}

/* ---- Passes ---------------------------------------------------------------------------------- */

static void
one_pass(struct checker *checker)
{
	checker->objects_found = 0;
	objects__walk(checker, &checker->sb);
	if (checker->is_first_pass)
		checker->result.objects = checker->objects_found;
	if (checker->previous.generation != 0 && !checker->err) {
		checker->is_previous = true;
		objects__walk(checker, &checker->previous);
		checker->is_previous = false;
	}
	data__finish(checker);
	if (checker->err)
		return;
	references__judge(checker);
	tallies__judge(checker);
}

/*
 * A quarter of the memory goes to the window of blocks and one to that of object numbers; the rest
 * is the cache's. Passes go on until both windows have covered everything.
 */
static int
all_passes(struct checker *checker, uint64_t memory)
{
	size_t window_ags = max_u64(memory / 4 / sizeof(struct window_ag), WINDOW_AGS_MIN);
	uint64_t window_ids = max_u64(memory / 4 / sizeof(struct tally), TALLIES_MIN);
	uint64_t ag = 0;
	uint64_t id = 0;
	int err;

	window_ags = min_u64(window_ags, checker->geometry.ag_count);
	checker->is_first_pass = true;
	while (ag < checker->geometry.ag_count || id < checker->sb.next_object) {
		uint64_t ids = id < checker->sb.next_object
				       ? min_u64(window_ids, checker->sb.next_object - id)
				       : 0;

		err = references__begin(checker, ag, window_ags);
		if (err == 0)
			err = tallies__begin(checker, id, ids);
		if (err)
			return err;
		one_pass(checker);
		if (checker->err)
			return checker->err;
		ag = checker->references.end_ag;
		id += ids;
		checker->is_first_pass = false;
	}
	check_totals(checker);
	return 0;
}

/* ---- All of it ------------------------------------------------------------------------------- */

static int
check_opened(struct checker *checker, uint64_t memory)
{
	int err = data__init(checker);

	if (err == 0)
		err = check_superblock(checker, &checker->sb, "newest");
	if (err == 0 && checker->previous.generation != 0)
		err = check_superblock(checker, &checker->previous, "previous");
	if (err == 0)
		err = all_passes(checker, memory);
	data__fini(checker);
	references__end(checker);
	tallies__end(checker);
	return err;
}

/* A volume that does not even open is a problem found, not a check that failed. */
static int
report_unopened(struct checker *checker, int err)
{
	if (!err_is_damage(err))
		return err;
	check__report(checker, &(struct finding){ .class_ = COP_PROBLEM_SUPERBLOCK },
		"the volume does not open: %s", err_text());
	err_clear();
	return 0;
}

int
cop_check_on(struct device *dev, const struct cop_check_options *options,
	struct cop_check_result *out_result)
{
	uint64_t memory = options->cache_bytes != 0 ? options->cache_bytes : UINT64_C(256) << 20;
	struct volume_options open = { .read_only = true, .cache_bytes = memory / 2 };
	struct checker *checker = calloc(1, sizeof *checker);
	int err;

	if (!checker)
		return fail(COP_ENOMEM, "check");
	checker->dev = dev;
	checker->options = options;
	checker->result.size_bytes = sizeof checker->result;
	err = volume_find_superblock(dev, &checker->sb, &checker->previous);
	if (err == 0)
		err = geometry_init(&checker->geometry, checker->sb.blocks, checker->sb.ag_blocks,
			checker->sb.journal_blocks);
	if (err == 0)
		err = volume_open(dev, &open, &checker->volume);
	if (err == 0) {
		checker->env = volume_tree_env(checker->volume);
		err = check_opened(checker, memory);
	} else {
		err = report_unopened(checker, err);
	}
	volume_close(checker->volume);
	if (err == 0)
		*out_result = checker->result;
	free(checker);
	return err;
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
