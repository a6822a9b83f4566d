#include "world.h"

#include "object/reclaim.h"
#include "support/alloc.h"

#include <stdio.h>
#include <unistd.h>

/* ---- Any damage, anywhere ---- */

/* A flipped bit in any block that holds something: found, or nobody uses it; nothing breaks. */
static void
survives_a_flipped_bit_anywhere(void **state)
{
	struct superblock newest;
	struct superblock previous;
	struct world *w = world_open_closed(&newest, &previous, NULL);
	uint64_t tried = 0;
	uint64_t found = 0;
	uint64_t used;

	(void)state;
	used = newest.blocks - newest.free_blocks;
	for (uint64_t addr = 0; addr < newest.blocks; addr++) {
		uint8_t block[BLOCK_BYTES];

		must(sim_peek(w->medium, addr, block));
		if (bytes_are_zero(block, BLOCK_BYTES) || addr % 3 != 0)
			continue;
		must(sim_flip_bit(w->medium, addr, (uint32_t)(addr * 7919 % 32768)));
		world_check(w);
		tried++;
		found += w->result.problems > 0;
		must(sim_flip_bit(w->medium, addr, (uint32_t)(addr * 7919 % 32768)));
	}
	assert_true(tried > 50);
	assert_true(found * 2 > tried); /* the others hold old nodes, freed long ago */
	assert_true(used > 0);
	world_expect_none(w);
	world_free(w);
}

/* ---- Devices ---- */

static int
check_on(struct device *dev, struct cop_check_result *out)
{
	struct cop_check_options options = COP_INIT(options);

	options.cache_bytes = COP_CACHE_BYTES_MIN;
	*out = (struct cop_check_result)COP_INIT(*out);
	return cop_check_on(dev, &options, out);
}

static int
check_dev(struct world *w, struct cop_check_result *out)
{
	struct device *dev;
	int err;

	must(sim_open(w->medium, DEVICE_READ_ONLY, &dev));
	err = check_on(dev, out);
	device_close(dev);
	return err;
}

/* Each read in turn fails, once and for good: a problem of what lies there, never more. */
static void
survives_every_read_that_fails(void **state)
{
	struct world *w = world_open();
	struct cop_check_result result;
	struct sim_stats before;
	uint64_t reads;

	(void)state;
	world_close(w);
	before = sim_stats(w->medium);
	must(check_dev(w, &result));
	reads = sim_stats(w->medium).reads - before.reads;
	assert_int_equal(result.problems, 0);
	for (uint64_t n = 1; n <= reads; n++) {
		struct sim_fault fault = { .kind = SIM_FAIL_READ, .call = n };

		must(sim_add_fault(w->medium, &fault));
		must(check_dev(w, &result));
		sim_clear_faults(w->medium);
		fault.persistent = true;
		must(sim_add_fault(w->medium, &fault));
		if (check_dev(w, &result) == 0)
			assert_true(result.problems > 0);
		sim_clear_faults(w->medium);
	}
	must(check_dev(w, &result));
	assert_int_equal(result.problems, 0);
	world_free(w);
}

/* No memory is an error, and not a finding. */
static void
survives_every_allocation_that_fails(void **state)
{
	struct world *w = world_open();
	struct device *dev;

	(void)state;
	world_close(w);
	must(sim_open(w->medium, DEVICE_READ_ONLY, &dev));
	for (uint64_t n = 1;; n++) {
		struct cop_check_result result;
		uint64_t before;
		int err;

		alloc_fail_nth(n);
		before = alloc_count();
		err = check_on(dev, &result);
		before = alloc_count() - before;
		alloc_fail_nth(0);
		if (err != 0)
			assert_int_equal(err, COP_ENOMEM);
		else
			assert_int_equal(result.problems, 0);
		if (before < n)
			break;
	}
	device_close(dev);
	world_free(w);
}

static void
refuses_what_is_no_volume(void **state)
{
	struct world *w = world_open();
	struct cop_check_result result = COP_INIT(result);
	struct cop_check_options options = COP_INIT(options);
	struct superblock newest;
	struct superblock previous;
	struct geometry geometry;
	struct device *dev;

	(void)state;
	world_close(w);
	world_superblocks(w, &newest, &previous);
	must(geometry_init(&geometry, newest.blocks, newest.ag_blocks, newest.journal_blocks));

	options.cache_bytes = 4096;
	must(sim_open(w->medium, DEVICE_READ_ONLY, &dev));
	assert_int_equal(cop_check_on(dev, &options, &result), COP_EINVAL);
	device_close(dev);

	/* All copies damaged: a problem. Not a trace of any: not a volume. */
	for (uint32_t place = 0; place < 4; place++) {
		for (uint32_t slot = 0; slot < SUPERBLOCK_RING; slot++)
			world_flip(w, geometry_superblock(&geometry, place, slot));
	}
	must(check_dev(w, &result));
	assert_int_equal(result.problems, 1);
	sim_free(w->medium);
	must(sim_create(COP_VOLUME_BYTES_MIN, 1, &w->medium));
	assert_int_equal(check_dev(w, &result), COP_ENOTVOLUME);
	world_free(w);
}

/* The whole of the catalog is lost: nothing can be said, and that is said. */
static void
tells_a_volume_that_does_not_open(void **state)
{
	struct superblock newest;
	struct superblock previous;
	struct world *w = world_open_closed(&newest, &previous, NULL);

	(void)state;
	world_flip(w, newest.catalog.pointer.addr);
	world_flip(w, newest.catalog.pointer.addr2);
	world_expect_one(w, COP_PROBLEM_SUPERBLOCK, 0, "the volume does not open");
	world_free(w);
}

/* A host that reads past its cache is particular about memory. */
static void
reads_a_file_with_a_removal_under_way(void **state)
{
	enum { EXTENTS = 400 };
	static const uint8_t bytes[BLOCK_BYTES] = { 1 };
	struct cop_format_options format = COP_INIT(format);
	struct cop_open_options open = COP_INIT(open);
	struct cop_check_options options = COP_INIT(options);
	struct cop_check_result result = COP_INIT(result);
	struct cop_new initial = COP_INIT(initial);
	struct cop_object *root;
	struct cop_object *file;
	struct cop_volume *volume;
	char path[] = "/tmp/coppice-check-XXXXXX";
	uint64_t pending;
	size_t written;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(unlink(path), 0);
	format.volume_bytes = 2 * COP_VOLUME_BYTES_MIN;
	must(cop_format(path, &format));
	must(cop_open(path, &open, &volume));
	must(cop_root(volume, NULL, &root));
	initial.kind = COP_FILE;
	must(cop_create(root, "many", 4, &initial, &file));
	for (uint64_t i = 0; i < EXTENTS; i++)
		must(cop_write(file, 2 * i * BLOCK_BYTES, bytes, sizeof bytes, &written));
	must(cop_settle(volume));
	cop_release(file);
	must(cop_unlink(root, "many", 4, 0));
	cop_release(root);
	must(volume_checkpoint(open_volume_below(volume)));
	must(jobs_count(volume, &pending));
	assert_true(pending > 0);
	cop_abandon(volume);
	must(cop_check(path, &options, &result));
	assert_int_equal(result.problems, 0);
	assert_int_equal(unlink(path), 0);
}

static void
is_refused_beside_a_writer(void **state)
{
	struct cop_format_options format = COP_INIT(format);
	struct cop_open_options open = COP_INIT(open);
	struct cop_check_options options = COP_INIT(options);
	struct cop_check_result result = COP_INIT(result);
	struct cop_volume *volume;
	char path[] = "/tmp/coppice-check-XXXXXX";
	char pid[32];
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(cop_check(path, &options, &result), COP_ENOENT);
	format.volume_bytes = COP_VOLUME_BYTES_MIN;
	must(cop_format(path, &format));
	must(cop_open(path, &open, &volume));
	assert_int_equal(cop_check(path, &options, &result), COP_EBUSY);
	snprintf(pid, sizeof pid, "%ld", (long)getpid());
	assert_non_null(strstr(cop_error_text(), pid));
	must(cop_close(volume));
	must(cop_check(path, &options, &result));
	assert_int_equal(result.problems, 0);
	assert_int_equal(result.objects, 1);
	assert_int_equal(truncate(path, 4 << 20), 0);
	must(cop_check(path, &options, &result));
	assert_true(result.problems > 0);
	assert_int_equal(unlink(path), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(survives_a_flipped_bit_anywhere),
		cmocka_unit_test(survives_every_read_that_fails),
		cmocka_unit_test(survives_every_allocation_that_fails),
		cmocka_unit_test(refuses_what_is_no_volume),
		cmocka_unit_test(tells_a_volume_that_does_not_open),
		cmocka_unit_test(reads_a_file_with_a_removal_under_way),
		cmocka_unit_test(is_refused_beside_a_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
