/* The allocation tree: each group that was ever written, with what its bitmap says. */

#include "check/dump_internal.h"

struct groups {
	struct dump *dump;
	uint64_t never_written;
	uint64_t free_blocks;
};

static uint64_t
count_used(const uint8_t *bitmap, uint32_t blocks)
{
	uint64_t used = 0;

	for (uint32_t i = 0; i < blocks; i++)
		used += bitmap[i / 8] >> i % 8 & 1;
	return used;
}

static uint32_t
longest_free(const uint8_t *bitmap, uint32_t blocks)
{
	uint32_t longest = 0;
	uint32_t run = 0;

	for (uint32_t i = 0; i < blocks; i++) {
		run = bitmap[i / 8] >> i % 8 & 1 ? 0 : run + 1;
		if (run > longest)
			longest = run;
	}
	return longest;
}

static bool
visit_group(void *context, uint64_t ag, const struct space_descriptor *descriptor,
	const uint8_t *bitmap, int result)
{
	struct groups *groups = context;
	struct dump *dump = groups->dump;
	uint32_t blocks = geometry_ag_size(&dump->geometry, ag);

	if (!bitmap && result == 0) {
		groups->never_written++;
		groups->free_blocks += descriptor->free_blocks;
		return !dump->err;
	}
	dump__object(dump, NULL);
	dump__unsigned(dump, "group", ag);
	dump__unsigned(dump, "block", ag * dump->geometry.ag_blocks);
	dump__unsigned(dump, "blocks", blocks);
	dump__unsigned(dump, "generation", descriptor->generation);
	dump__unsigned(dump, "slot", descriptor->slot);
	dump__unsigned(dump, "previous_slot", descriptor->previous_slot);
	dump__word(dump, "checksum", descriptor->checksum);
	if (result != 0) {
		dump__problem(dump, result);
	} else {
		dump__unsigned(dump, "bitmap_block",
			geometry_space_block(&dump->geometry, 0, ag, descriptor->slot));
		dump__unsigned(dump, "fixed_blocks", geometry_fixed_blocks(&dump->geometry, ag));
		dump__unsigned(dump, "used_blocks", count_used(bitmap, blocks));
		dump__unsigned(dump, "free_blocks", descriptor->free_blocks);
		dump__unsigned(dump, "longest_free_blocks", longest_free(bitmap, blocks));
		groups->free_blocks += descriptor->free_blocks;
	}
	dump__end(dump);
	return !dump->err;
}

int
dump__groups(struct dump *dump)
{
	struct groups groups = { .dump = dump };
	int err;

	dump__unsigned(dump, "generation", dump->sb.generation);
	dump__unsigned(dump, "levels", dump->geometry.levels);
	dump__unsigned(dump, "group_count", dump->geometry.ag_count);
	dump__unsigned(dump, "group_blocks", dump->geometry.ag_blocks);
	dump__array(dump, "groups");
	err = space_walk(dump->dev, &dump->geometry, dump->sb.uuid, &dump->sb.allocation, 0,
		dump->geometry.ag_count, visit_group, &groups);
	dump__end(dump);
	if (err)
		dump__problem(dump, err); /* the root itself */
	dump__unsigned(dump, "never_written", groups.never_written);
	dump__unsigned(dump, "free_blocks", groups.free_blocks);
	return 0;
}
