#include "front/cli/volumes.h"

#include "device/device.h"
#include "front/cli/cli.h"
#include "object/open.h"
#include "space/space.h"
#include "volume/volume.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

enum { BLOCKS = 600, PATIENCE_S = 60 };

static void
make_file(struct cop_object *root)
{
	static const uint8_t block[COP_BLOCK_BYTES] = { 1 };
	struct cop_new new = COP_INIT(new);
	struct cop_object *file;

	new.kind = COP_FILE;
	assert_int_equal(cop_create(root, "comb", 4, &new, &file), 0);
	for (uint64_t i = 0; i < BLOCKS; i++)
		assert_int_equal(
			cop_write(file, 2 * i * sizeof block, block, sizeof block, NULL), 0);
	cop_release(file);
}

/* Takes all space away, the reserve as well; what is freed already is free before. */
static void
take_all_room(struct cop_volume *volume)
{
	struct volume *below = open_volume_below(volume);
	struct space *space = volume_space(below);
	uint64_t blocks;

	assert_int_equal(volume_settle(below), 0);
	blocks = space_free_blocks(space);
	while (space_admit(space, blocks, true) != 0)
		blocks--;
	err_clear();
}

/* A job that finds no room for its steps does not keep a command from its end. */
static void
closes_a_volume_that_has_no_room_for_its_jobs(void **state)
{
	struct cop_format_options format = COP_INIT(format);
	struct cop_open_options options = COP_INIT(options);
	struct device_options device_options = { 0 };
	struct cli cli = { 0 };
	struct cop_object *root;
	struct cop_volume *volume;
	struct device *dev;
	uint64_t pending;

	(void)state;
	(void)alarm(PATIENCE_S); /* it would never end */
	assert_int_equal(device_open("mem:16777216", &device_options, &dev), 0);
	assert_int_equal(cop_format_on(dev, &format), 0);
	assert_int_equal(cop_open_on(dev, &options, &volume), 0);
	assert_int_equal(cop_root(volume, NULL, &root), 0);
	make_file(root);
	assert_int_equal(cop_sync(volume), 0);
	assert_int_equal(cop_unlink(root, "comb", 4, 0), 0);
	cop_release(root);
	take_all_room(volume);

	cli.volumes.rows = calloc(1, sizeof *cli.volumes.rows);
	assert_non_null(cli.volumes.rows);
	cli.volumes.rows[0] = (struct volume){
		.device = strdup("mem:"),
		.is_writable = true,
		.handle = volume,
	};
	cli.volumes.count = 1;
	volumes_close(&cli, false);
	assert_int_equal(cli.failures, 0);

	assert_int_equal(cop_open_on(dev, &options, &volume), 0);
	assert_int_equal(cop_poll(volume, &pending), 0);
	assert_int_equal(pending, 1); /* it is still there */
	assert_int_equal(cop_settle(volume), 0);
	assert_int_equal(cop_close(volume), 0);
	device_close(dev);
	(void)alarm(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(closes_a_volume_that_has_no_room_for_its_jobs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
