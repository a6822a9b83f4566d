#include "world.h"

#include "object/pages_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

struct fixture {
	struct world world;
	struct cop_object *file;
};

static void
fixture_init(struct fixture *fixture, uint64_t seed)
{
	world_init(&fixture->world, 64 * MIB, 0, seed);
	fixture->file = world_file(&fixture->world);
}

static void
fixture_fini(struct fixture *fixture)
{
	cop_release(fixture->file);
	world_fini(&fixture->world);
}

/* Pages [first, end), each filled with `byte`; the caller is the only one with a turn. */
static int
put(struct fixture *fixture, uint64_t first, uint64_t end, int byte)
{
	struct cop_object *file = fixture->file;
	struct cache *cache = volume_cache(file->volume->volume);
	struct buffer *fresh[SEGMENT_BLOCKS_MAX];
	struct segment *segment;
	int err = pages_prepare(file, first, end, 0, &segment);

	if (err)
		return err;
	for (uint64_t block = first; block < end; block++) {
		must(cache_take(cache, &fresh[block - first]));
		memset(fresh[block - first]->data, byte, BLOCK_BYTES);
	}
	pages_publish(file, segment, first, end, fresh,
		max_u64(atomic_load(&file->pages.length), end * BLOCK_BYTES), 1);
	return 0;
}

static int
byte_at(struct fixture *fixture, uint64_t block)
{
	const struct buffer *page;
	int byte = -1;

	pages_enter(fixture->world.volume);
	page = pages_find(&fixture->file->pages, block);
	if (page)
		byte = page->data[BLOCK_BYTES - 1];
	pages_leave(fixture->world.volume);
	return byte;
}

static void
finds_what_was_put(void **state)
{
	static const uint64_t blocks[] = { 0, 1, 63, 64, 4095, 4096, 1 << 20, UINT64_C(1) << 31 };
	struct fixture fixture;

	(void)state;
	fixture_init(&fixture, 1);
	assert_int_equal(byte_at(&fixture, 0), -1);
	for (size_t i = 0; i < ARRAY_COUNT(blocks); i++)
		must(put(&fixture, blocks[i], blocks[i] + 1, (int)i + 1));
	for (size_t i = 0; i < ARRAY_COUNT(blocks); i++) {
		assert_int_equal(byte_at(&fixture, blocks[i]), i + 1);
		assert_int_equal(byte_at(&fixture, blocks[i] + 7), -1);
	}
	assert_int_equal(byte_at(&fixture, UINT64_MAX), -1);
	assert_int_equal(fixture.file->pages.count, ARRAY_COUNT(blocks));
	assert_int_equal(fixture.world.volume->dirty_pages, ARRAY_COUNT(blocks));
	pages_discard(fixture.file);
	assert_true(pages_are_clean(&fixture.file->pages));
	assert_int_equal(fixture.world.volume->dirty_pages, 0);
	for (size_t i = 0; i < ARRAY_COUNT(blocks); i++)
		assert_int_equal(byte_at(&fixture, blocks[i]), -1);
	fixture_fini(&fixture);
}

/* Who has pinned a page keeps it as it was. */
static void
never_changes_a_page(void **state)
{
	struct fixture fixture;
	struct buffer *page;

	(void)state;
	fixture_init(&fixture, 2);
	must(put(&fixture, 5, 6, 1));
	pages_enter(fixture.world.volume);
	page = pages_find(&fixture.file->pages, 5);
	cache_pin(volume_cache(fixture.world.volume->volume), page);
	pages_leave(fixture.world.volume);
	for (int i = 0; i < 200; i++)
		must(put(&fixture, 5, 6, 2));
	assert_int_equal(byte_at(&fixture, 5), 2);
	assert_int_equal(fixture.file->pages.count, 1);
	pages_discard(fixture.file);
	assert_int_equal(page->data[0], 1);
	cache_release(volume_cache(fixture.world.volume->volume), page);
	fixture_fini(&fixture);
}

static void
cuts_writes_into_segments_in_their_order(void **state)
{
	struct fixture fixture;
	const struct pages *pages;

	(void)state;
	fixture_init(&fixture, 3);
	pages = &fixture.file->pages;
	must(put(&fixture, 10, 12, 1));
	must(put(&fixture, 12, 13, 1)); /* goes on behind */
	must(put(&fixture, 9, 10, 1));  /* and before */
	must(put(&fixture, 11, 12, 1)); /* again */
	assert_int_equal(pages->segment_count, 1);
	assert_int_equal(pages_oldest(pages)->first, 9);
	assert_int_equal(pages_oldest(pages)->end, 13);
	assert_int_equal(pages_oldest(pages)->promise.data_blocks, 4);
	must(put(&fixture, 20, 21, 1));
	assert_int_equal(pages->segment_count, 2);

	assert_true(pages_conflict(pages, 12, 14)); /* an older one */
	assert_false(pages_conflict(pages, 13, 14));
	assert_false(pages_conflict(pages, 20, 22));
	assert_false(pages_conflict(pages, 20, 20 + SEGMENT_BLOCKS_MAX));
	assert_true(pages_conflict(pages, 20, 21 + SEGMENT_BLOCKS_MAX)); /* would be too long */

	pages_written_back(fixture.file, 11);
	assert_int_equal(byte_at(&fixture, 10), -1);
	assert_int_equal(byte_at(&fixture, 11), 1);
	pages_written_back(fixture.file, 13);
	assert_int_equal(pages->segment_count, 1);
	assert_int_equal(pages_oldest(pages)->first, 20);
	pages_written_back(fixture.file, 21);
	assert_true(pages_are_clean(pages));
	assert_int_equal(pages_length(pages, 77), 77);
	fixture_fini(&fixture);
}

/* What was promised is not available to others, and comes back. */
static void
promises_blocks(void **state)
{
	struct cop_space before = COP_INIT(before);
	struct cop_space now = COP_INIT(now);
	struct fixture fixture;
	uint64_t count = 0;
	int err = 0;

	(void)state;
	world_init(&fixture.world, 8 * MIB, 0, 4);
	fixture.file = world_file(&fixture.world);
	must(cop_settle(fixture.world.volume));
	must(cop_space(fixture.world.volume, &before));
	must(put(&fixture, 0, 10, 1));
	must(cop_space(fixture.world.volume, &now));
	assert_int_equal(now.free_bytes, before.free_bytes);
	assert_true(now.available_bytes <= before.available_bytes - 10 * BLOCK_BYTES);
	while (err == 0) {
		err = put(&fixture, 20 + 2 * count, 21 + 2 * count, 1);
		count += err == 0;
	}
	assert_int_equal(err, COP_ENOSPC);
	assert_true(count > 5);
	assert_int_equal(fixture.file->pages.segment_count, count + 1);
	pages_discard(fixture.file);
	must(cop_space(fixture.world.volume, &now));
	assert_int_equal(now.available_bytes, before.available_bytes);
	fixture_fini(&fixture);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_what_was_put),
		cmocka_unit_test(never_changes_a_page),
		cmocka_unit_test(cuts_writes_into_segments_in_their_order),
		cmocka_unit_test(promises_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
