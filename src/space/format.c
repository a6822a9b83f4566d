/* An empty allocation tree, by way of an ordinary first checkpoint on one that was never written.
 */

#include "base/num.h"
#include "space/space_internal.h"

#include <assert.h>
#include <string.h>

/* May read nothing: all is of generation 0. */
static int
mark_used(struct space *space, struct run run)
{
	uint64_t ag_index = run.addr / space->geometry.ag_blocks;
	uint32_t first = (uint32_t)(run.addr % space->geometry.ag_blocks);
	struct space_ag *ag;
	int err;

	assert(run.addr + run.blocks <= space->geometry.blocks);
	err = space__find_ag(space, ag_index, &ag);
	if (err)
		return err;
	assert(ag);
	assert(run.blocks <= ag->size_blocks - first);
	ag->reserved_blocks += run.blocks;
	space__mark_busy(space, ag, first, run.blocks);
	space__use(space, run);
	return 0;
}

int
space_format(struct device *dev, const struct geometry *geometry, const uint8_t uuid[16],
	const uint8_t *parameters, uint64_t generation, const struct run *used, size_t used_count,
	struct space_descriptor *out_root)
{
	struct space_options options = {
		.dev = dev,
		.geometry = *geometry,
		.node_blocks = 1,
		.parameters = parameters,
		.open_generation = generation,
	};
	struct space *space;
	uint64_t free_blocks;
	uint64_t awaiting_blocks;
	int err;

	assert(generation > 0);
	memcpy(options.uuid, uuid, sizeof options.uuid);
	err = space_open(&options, &space);
	if (err)
		return err;

	mutex_lock(&space->mutex);
	for (size_t i = 0; i < used_count && !err; i++)
		err = mark_used(space, used[i]);
	mutex_unlock(&space->mutex);
	if (!err) {
		space_freeze(space, generation + 1, &free_blocks, &awaiting_blocks);
		err = space_write(space, out_root);
	}
	space_free_all(space);
	return err;
}
