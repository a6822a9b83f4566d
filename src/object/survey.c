/* Which groups damage has closed, seen from outside an open volume. */

#include "object/object_internal.h"

enum { SURVEY_TRIES = 8 }; /* newer checkpoints of a writer that goes on meanwhile */

struct surveying {
	uint64_t open_groups;
	uint64_t closed_blocks;
};

static bool
count_group(void *context, uint64_t ag, const struct space_descriptor *descriptor,
	const uint8_t *bitmap, int result)
{
	struct surveying *surveying = context;

	(void)ag;
	(void)bitmap;
	if (result == 0)
		surveying->open_groups++;
	else /* of this group, or of all below one block over it */
		surveying->closed_blocks += descriptor->free_blocks;
	return true;
}

static int
survey_checkpoint(struct device *dev, const struct superblock *sb, struct cop_survey *out_survey)
{
	struct surveying surveying = { 0 };
	struct geometry geometry;
	int err = geometry_init(&geometry, sb->blocks, sb->ag_blocks, sb->journal_blocks);

	if (err == 0)
		err = space_walk(dev, &geometry, sb->uuid, &sb->allocation, 0, geometry.ag_count,
			count_group, &surveying);
	if (err)
		return err;
	*out_survey = (struct cop_survey){
		.groups = geometry.ag_count,
		.closed_groups = geometry.ag_count - surveying.open_groups,
		.closed_bytes = surveying.closed_blocks * BLOCK_BYTES,
	};
	return 0;
}

int
cop_survey_on(struct device *dev, struct cop_survey *out_survey)
{
	struct cop_survey survey = { 0 };
	uint64_t generation = 0;

	for (int tries = 0; tries < SURVEY_TRIES; tries++) {
		struct superblock newest;
		struct superblock previous;
		int err = volume_find_superblock(dev, &newest, &previous);

		if (err)
			return err;
		/* What a writer has overwritten since is no damage: then there is a newer one. */
		if (tries > 0 && (survey.closed_groups == 0 || newest.generation == generation))
			break;
		generation = newest.generation;
		err = survey_checkpoint(dev, &newest, &survey);
		if (err)
			return err;
	}
	public_copy_out(out_survey, &survey, sizeof survey);
	return 0;
}

int
cop_survey(const char *device, struct cop_survey *out_survey)
{
	struct device_options options = { .flags = DEVICE_READ_ONLY | DEVICE_NO_LOCK };
	struct device *dev;
	int err = device_open(device, &options, &dev);

	if (err)
		return err;
	err = cop_survey_on(dev, out_survey);
	device_close(dev);
	return err;
}
