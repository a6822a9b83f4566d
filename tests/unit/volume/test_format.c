#include "volume/volume_internal.h"
#include "world.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

/* Every AG that has a bitmap begins with the ring or with the parameters of the format. */
static void
groups_begin_with_the_parameters_of_the_format(void **state)
{
	struct world world = { 0 };
	struct superblock sb;
	uint8_t *block = block_buffer_alloc(1);
	uint32_t ag_blocks;

	(void)state;
	assert_non_null(block);
	world_format(&world, 8 << 20, 0);
	for (uint32_t i = 0; i < 500; i++)
		assert_int_equal(world_put(&world, i, (uint8_t)i, 400), 0);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	volume_superblock(world.volume, &sb);
	ag_blocks = sb.ag_blocks;
	assert_int_equal(device_read(world.dev, 4 * (uint64_t)ag_blocks, block, 1), 0);
	assert_int_equal(superblock_decode(block, &sb), 0);
	assert_int_equal(sb.place, SUPERBLOCK_PLACE_PARAMETERS);
	assert_int_equal(sb.ag_blocks, ag_blocks);
	assert_int_equal(sb.catalog.levels, 0);
	assert_string_equal(sb.label, "test");
	free(block);
	world_end(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(groups_begin_with_the_parameters_of_the_format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
