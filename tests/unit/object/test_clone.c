#include "object/clone.h"
#include "world.h"

#include "base/random.h"
#include "support/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

enum { NODE = 4096 };

/* ---- Files and what they must hold ----------------------------------------------------------- */

enum { FILES = 6, FILE_BYTES = 1 << 20 };

struct model {
	struct world world;
	struct cop_object *files[FILES];
	uint64_t ids[FILES];
	uint8_t *bytes[FILES]; /* FILE_BYTES each, zero behind the length */
	uint64_t length[FILES];
	struct rng rng;
	uint64_t seed;
};

static void
make_file(struct model *m, size_t i)
{
	m->files[i] = world_file(&m->world);
	m->ids[i] = m->files[i]->id;
	m->length[i] = 0;
	memset(m->bytes[i], 0, FILE_BYTES);
}

static void
model_init(struct model *m, uint64_t seed)
{
	*m = (struct model){ .seed = seed };
	world_init(&m->world, 48 * MIB, NODE, seed);
	rng_seed(&m->rng, seed);
	for (size_t i = 0; i < FILES; i++) {
		m->bytes[i] = malloc(FILE_BYTES);
		assert_non_null(m->bytes[i]);
		make_file(m, i);
	}
}

static void
model_release(struct model *m)
{
	for (size_t i = 0; i < FILES; i++)
		cop_release(m->files[i]);
}

static void
model_fini(struct model *m)
{
	model_release(m);
	for (size_t i = 0; i < FILES; i++)
		free(m->bytes[i]);
	world_fini(&m->world);
}

static void
write_both(struct model *m, size_t i, uint64_t offset, size_t bytes, uint64_t seed)
{
	if (bytes == 0)
		return;
	world_bytes(seed, m->bytes[i] + offset, bytes);
	must(cop_write(m->files[i], offset, m->bytes[i] + offset, bytes, NULL));
	if (m->length[i] < offset + bytes)
		m->length[i] = offset + bytes;
}

static void
clone_both(struct model *m, size_t from, size_t to)
{
	must(object_clone(m->files[from], m->files[to]));
	memcpy(m->bytes[to], m->bytes[from], FILE_BYTES);
	m->length[to] = m->length[from];
}

static void
punch_both(struct model *m, size_t i, uint64_t offset, uint64_t bytes)
{
	must(cop_punch(m->files[i], offset, bytes));
	memset(m->bytes[i] + offset, 0, bytes);
}

static void
truncate_both(struct model *m, size_t i, uint64_t length)
{
	must(cop_set_length(m->files[i], length));
	if (length < m->length[i])
		memset(m->bytes[i] + length, 0, m->length[i] - length);
	m->length[i] = length;
}

static void
remove_and_make(struct model *m, size_t i)
{
	must(cop_unref(m->files[i]));
	cop_release(m->files[i]);
	make_file(m, i);
}

static void
expect_file(struct model *m, size_t i)
{
	static uint8_t got[FILE_BYTES + 1];
	size_t bytes;

	must(cop_read(m->files[i], 0, got, sizeof got, &bytes));
	if (bytes != m->length[i] || memcmp(got, m->bytes[i], bytes) != 0)
		fail_msg("seed %llu: file %zu is not what it should be",
			(unsigned long long)m->seed, i);
}

static void
expect_all(struct model *m)
{
	for (size_t i = 0; i < FILES; i++)
		expect_file(m, i);
}

static void
checkpoint_and_check(struct model *m)
{
	must(volume_checkpoint(m->world.volume->volume));
	world_check(&m->world);
}

static void
reopen(struct model *m, bool abandoned)
{
	model_release(m);
	world_reopen(&m->world, abandoned);
	for (size_t i = 0; i < FILES; i++)
		must(cop_get(m->world.root, m->ids[i], &m->files[i]));
}

/* Many extents, so that the content is a tree. */
static void
comb(struct model *m, size_t i, uint32_t teeth)
{
	for (uint32_t tooth = 0; tooth < teeth; tooth++)
		write_both(m, i, (uint64_t)tooth * 2 * BLOCK_BYTES, BLOCK_BYTES, tooth);
}

static uint64_t
used_blocks(struct model *m)
{
	struct superblock sb;

	must(cop_settle(m->world.volume));
	volume_superblock(m->world.volume->volume, &sb);
	return sb.blocks - sb.free_blocks;
}

/* ---- Single steps ---------------------------------------------------------------------------- */

static void
shares_content_of_every_form(void **state)
{
	static const size_t sizes[] = { 0, 100, 3 * BLOCK_BYTES + 5, 40 * BLOCK_BYTES };
	struct model m;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
		model_init(&m, 1);
		write_both(&m, 0, 0, sizes[i], 7);
		clone_both(&m, 0, 1);
		expect_all(&m);
		checkpoint_and_check(&m);
		write_both(&m, 1, 0, sizes[i] / 2, 8);
		expect_all(&m);
		checkpoint_and_check(&m);
		write_both(&m, 0, sizes[i] / 3, sizes[i] / 2, 9);
		expect_all(&m);
		reopen(&m, false);
		expect_all(&m);
		model_fini(&m);
	}
}

static void
shares_a_tree_for_one_root(void **state)
{
	struct model m;
	struct superblock sb;
	uint64_t before;

	(void)state;
	model_init(&m, 2);
	comb(&m, 0, 120);
	before = used_blocks(&m);
	clone_both(&m, 0, 1);
	/* A record, a root record, and the first node of a share tree: no data, no content node. */
	assert_true(used_blocks(&m) <= before + 6);
	volume_superblock(m.world.volume->volume, &sb);
	assert_int_equal(sb.shares.levels, 1);
	assert_true(sb.share_stamp > 0);
	expect_all(&m);
	checkpoint_and_check(&m);
	model_fini(&m);
}

static void
gives_back_all_when_both_are_gone(void **state)
{
	struct model m;
	struct superblock sb;
	uint64_t before;

	(void)state;
	model_init(&m, 3);
	before = used_blocks(&m);
	comb(&m, 0, 120);
	clone_both(&m, 0, 1);
	clone_both(&m, 1, 2);
	for (uint32_t i = 0; i < 60; i += 7)
		write_both(&m, i % 3, (uint64_t)i * 2 * BLOCK_BYTES, BLOCK_BYTES, i);
	checkpoint_and_check(&m);
	expect_all(&m);
	for (size_t i = 0; i < 3; i++) {
		remove_and_make(&m, i);
		must(cop_settle(m.world.volume));
		world_check(&m.world);
		expect_all(&m);
	}
	assert_int_equal(used_blocks(&m), before);
	volume_superblock(m.world.volume->volume, &sb);
	assert_int_equal(sb.shares.levels, 0); /* nothing is counted any more */
	model_fini(&m);
}

/* What one gives up, the other keeps, whichever is first. */
static void
a_cut_leaves_the_other_whole(void **state)
{
	struct model m;

	(void)state;
	model_init(&m, 4);
	comb(&m, 0, 100);
	clone_both(&m, 0, 1);
	truncate_both(&m, 0, 40 * BLOCK_BYTES + 17);
	punch_both(&m, 1, 3 * BLOCK_BYTES, 90 * BLOCK_BYTES);
	expect_all(&m);
	checkpoint_and_check(&m);
	must(cop_settle(m.world.volume));
	world_check(&m.world);
	truncate_both(&m, 1, 0);
	expect_all(&m);
	must(cop_settle(m.world.volume));
	world_check(&m.world);
	reopen(&m, false);
	expect_all(&m);
	model_fini(&m);
}

/* Blocks that others have, and blocks that nobody else has, in turn: each is a change by itself. */
static void
gives_up_what_is_shared_in_pieces(void **state)
{
	enum { TEETH = 17, TOOTH = 14, STEP = 15 };
	struct model m;

	(void)state;
	model_init(&m, 13);
	for (uint32_t i = 0; i < TEETH; i++)
		write_both(&m, 0, (uint64_t)i * STEP * BLOCK_BYTES, TOOTH * BLOCK_BYTES, i);
	must(cop_sync(m.world.volume));
	clone_both(&m, 0, 1);
	for (uint64_t block = 0; block < TEETH * STEP; block += 2)
		punch_both(&m, 1, block * BLOCK_BYTES, BLOCK_BYTES);
	clone_both(&m, 0, 2);
	punch_both(&m, 0, 0, TEETH * STEP * BLOCK_BYTES);
	expect_all(&m);
	checkpoint_and_check(&m);
	clone_both(&m, 2, 0); /* and back again, over itself in part */
	punch_both(&m, 0, 7 * BLOCK_BYTES, 100 * BLOCK_BYTES);
	clone_both(&m, 1, 0);
	expect_all(&m);
	checkpoint_and_check(&m);
	model_fini(&m);
}

/* In the record as well: what is given up is parted where what is shared begins and ends. */
static void
becomes_a_clone_of_what_it_shares_in_part(void **state)
{
	struct model m;

	(void)state;
	model_init(&m, 14);
	write_both(&m, 0, 0, 30 * BLOCK_BYTES, 1);
	must(cop_sync(m.world.volume));
	clone_both(&m, 0, 1);
	clone_both(&m, 0, 2);
	for (uint64_t block = 3; block < 30; block += 5)
		punch_both(&m, 1, block * BLOCK_BYTES, BLOCK_BYTES);
	clone_both(&m, 1, 0);
	clone_both(&m, 2, 1);
	clone_both(&m, 0, 2);
	expect_all(&m);
	checkpoint_and_check(&m);
	model_fini(&m);
}

/* Preallocated blocks read as zeros in both, though one has written to them. */
static void
does_not_write_into_what_was_preallocated_for_both(void **state)
{
	struct model m;

	(void)state;
	model_init(&m, 5);
	write_both(&m, 0, 0, BLOCK_BYTES, 1);
	must(cop_preallocate(m.files[0], 0, 64 * BLOCK_BYTES, false));
	truncate_both(&m, 0, 64 * BLOCK_BYTES);
	clone_both(&m, 0, 1);
	write_both(&m, 0, 5 * BLOCK_BYTES, 3 * BLOCK_BYTES, 2);
	expect_all(&m);
	write_both(&m, 1, 6 * BLOCK_BYTES, 3 * BLOCK_BYTES, 3);
	expect_all(&m);
	checkpoint_and_check(&m);
	model_fini(&m);
}

static void
refuses_what_is_no_file(void **state)
{
	struct model m;

	(void)state;
	model_init(&m, 6);
	assert_int_equal(object_clone(m.world.root, m.files[0]), COP_EISDIR);
	assert_int_equal(object_clone(m.files[0], m.world.root), COP_EISDIR);
	must(object_clone(m.files[0], m.files[0]));
	model_fini(&m);
}

/* A volume in which nothing was ever cloned has no share tree, and asks for none. */
static void
costs_nothing_where_nothing_is_shared(void **state)
{
	struct model m;
	struct superblock sb;

	(void)state;
	model_init(&m, 7);
	comb(&m, 0, 100);
	truncate_both(&m, 0, 50 * BLOCK_BYTES);
	punch_both(&m, 0, 0, 20 * BLOCK_BYTES);
	checkpoint_and_check(&m);
	assert_int_equal(world_stats(&m.world).share_lookups, 0);
	volume_superblock(m.world.volume->volume, &sb);
	assert_int_equal(sb.shares.levels, 0);
	assert_int_equal(sb.share_stamp, 0);
	model_fini(&m);
}

/* Nor is anything asked of what came after the newest clone. */
static void
asks_for_nothing_that_is_younger_than_the_clone(void **state)
{
	struct model m;
	uint64_t asked;

	(void)state;
	model_init(&m, 8);
	comb(&m, 0, 100);
	clone_both(&m, 0, 1);
	must(volume_checkpoint(m.world.volume->volume));
	comb(&m, 2, 100);
	asked = world_stats(&m.world).share_lookups;
	comb(&m, 2, 100);
	punch_both(&m, 2, 0, 20 * BLOCK_BYTES);
	truncate_both(&m, 2, 50 * BLOCK_BYTES);
	assert_int_equal(world_stats(&m.world).share_lookups, asked);
	expect_all(&m);
	model_fini(&m);
}

/* Cut short wherever memory fails: each file has its old content or the new one. */
static void
survives_every_failing_allocation(void **state)
{
	static uint8_t old[FILE_BYTES];
	struct model m;

	(void)state;
	model_init(&m, 9);
	comb(&m, 0, 60);
	comb(&m, 1, 50);
	write_both(&m, 2, 0, 3 * BLOCK_BYTES, 5);
	for (uint64_t nth = 1;; nth++) {
		size_t from = nth % 2 == 0 ? 0 : 2;
		uint64_t before;
		size_t bytes;
		int err;

		alloc_fail_nth(nth);
		before = alloc_count();
		err = object_clone(m.files[from], m.files[1]);
		before = alloc_count() - before;
		alloc_fail_nth(0);
		assert_true(err == 0 || err == COP_ENOMEM);
		must(cop_read(m.files[1], 0, old, sizeof old, &bytes));
		if (err == 0) {
			memcpy(m.bytes[1], m.bytes[from], FILE_BYTES);
			m.length[1] = m.length[from];
		}
		expect_all(&m);
		if (before < nth && nth % 2 == 0)
			break;
	}
	checkpoint_and_check(&m);
	model_fini(&m);
}

/* On a volume without room: what is removed gives its references back, and at last its blocks. */
static void
a_full_volume_of_clones_can_be_emptied(void **state)
{
	enum { COPIES = 40 };
	struct cop_object *copies[COPIES];
	struct model m;
	size_t count = 0;
	uint64_t empty;
	int err = 0;

	(void)state;
	model_init(&m, 10);
	empty = used_blocks(&m);
	comb(&m, 0, 120);
	while (count < COPIES && err == 0) {
		copies[count] = world_file(&m.world);
		err = object_clone(m.files[0], copies[count++]);
	}
	must(err);
	/* Each takes blocks of its own, until there are none. */
	for (uint64_t i = 0; err == 0; i++)
		err = cop_write(copies[i % COPIES], i / COPIES * 2 * BLOCK_BYTES, m.bytes[0],
			16 * BLOCK_BYTES, NULL);
	assert_int_equal(err, COP_ENOSPC);
	err_clear();
	expect_all(&m);
	for (size_t i = 0; i < COPIES; i++) {
		must(cop_unref(copies[i]));
		cop_release(copies[i]);
	}
	expect_all(&m);
	remove_and_make(&m, 0);
	assert_int_equal(used_blocks(&m), empty);
	world_check(&m.world);
	model_fini(&m);
}

/* Of what only one file has, on a volume without room on which others are clones. */
static void
what_is_not_shared_can_be_cut_on_a_full_volume(void **state)
{
	struct model m;
	struct cop_object *filler;
	uint64_t pending = 1;
	uint64_t at = 0;
	uint64_t asked;

	(void)state;
	model_init(&m, 12);
	comb(&m, 0, 120);
	comb(&m, 1, 120);
	clone_both(&m, 1, 2);
	filler = world_file(&m.world);
	while (cop_write(filler, at, m.bytes[0], 16 * BLOCK_BYTES, NULL) == 0)
		at += 16 * BLOCK_BYTES;
	err_clear();
	must(cop_sync(m.world.volume));
	asked = world_stats(&m.world).share_lookups;
	punch_both(&m, 0, 10 * BLOCK_BYTES, 80 * BLOCK_BYTES);
	truncate_both(&m, 0, 130 * BLOCK_BYTES);
	truncate_both(&m, 0, 0);
	for (int i = 0; i < 100 && pending > 0; i++)
		must(cop_poll(m.world.volume, &pending));
	assert_int_equal(pending, 0);
	assert_true(world_stats(&m.world).share_lookups > asked); /* it is old */
	must(cop_sync(m.world.volume));
	expect_all(&m);
	cop_release(filler);
	reopen(&m, true);
	expect_all(&m);
	model_fini(&m);
}

/*
 * Where there is hardly room: what a write has said is written is so after a sync, though each
 * first change of a part that is shared takes nodes of the share tree as well.
 */
static void
what_was_written_on_a_full_volume_stays(void **state)
{
	enum { PIECE = 16 * BLOCK_BYTES, TRIES = 400 };
	struct model m;
	struct cop_object *filler;
	uint64_t at = 0;
	uint32_t refused = 0;

	(void)state;
	model_init(&m, 11);
	comb(&m, 0, 120);
	for (size_t i = 1; i < FILES; i++)
		clone_both(&m, 0, i);
	must(cop_sync(m.world.volume));
	filler = world_file(&m.world);
	while (cop_write(filler, at, m.bytes[0], PIECE, NULL) == 0)
		at += PIECE;
	err_clear();
	must(cop_settle(m.world.volume));
	for (int i = 0; i < TRIES; i++) {
		size_t file = rng_below(&m.rng, FILES);
		uint64_t offset = rng_below(&m.rng, 240) * BLOCK_BYTES;
		uint8_t bytes[BLOCK_BYTES];
		int err;

		world_bytes(1000 + i, bytes, sizeof bytes);
		err = cop_write(m.files[file], offset, bytes, sizeof bytes, NULL);
		if (err == 0) {
			memcpy(m.bytes[file] + offset, bytes, sizeof bytes);
			m.length[file] = max_u64(m.length[file], offset + sizeof bytes);
		} else {
			assert_int_equal(err, COP_ENOSPC);
			err_clear();
			if (++refused % 8 == 0 && at >= PIECE)
				must(cop_set_length(filler, at -= PIECE));
		}
		if (i % 16 == 0)
			must(cop_sync(m.world.volume));
	}
	must(cop_sync(m.world.volume));
	assert_true(refused > 0);
	expect_all(&m);
	cop_release(filler);
	reopen(&m, true);
	expect_all(&m);
	model_fini(&m);
}

/* What a cut of a clone takes is not what deleting needs: else enough of them would use it up. */
static void
cuts_of_clones_leave_what_deleting_needs(void **state)
{
	enum { COPIES = 400 };
	static struct cop_object *copies[COPIES];
	struct model m;
	struct cop_object *filler;
	uint64_t at = 0;
	uint64_t left;
	uint64_t empty;

	(void)state;
	model_init(&m, 15);
	empty = used_blocks(&m);
	comb(&m, 0, 120);
	for (size_t i = 0; i < COPIES; i++) {
		copies[i] = world_file(&m.world);
		must(object_clone(m.files[0], copies[i]));
	}
	filler = world_file(&m.world);
	for (uint64_t piece = 16 * BLOCK_BYTES; piece > 0;
		piece = piece / 4 / BLOCK_BYTES * BLOCK_BYTES) {
		while (cop_write(filler, at, m.bytes[0], piece, NULL) == 0)
			at += piece;
		err_clear();
		must(cop_settle(m.world.volume));
	}
	left = world_free_bytes(&m.world);
	for (size_t i = 0; i < COPIES; i++) {
		int err = cop_punch(copies[i], i % 100 * BLOCK_BYTES, 3 * BLOCK_BYTES);

		if (err)
			assert_int_equal(err, COP_ENOSPC);
		err_clear();
	}
	must(cop_settle(m.world.volume));
	assert_true(world_free_bytes(&m.world) >= left / 4 * 3);
	for (size_t i = 0; i < COPIES; i++) {
		must(cop_unref(copies[i]));
		cop_release(copies[i]);
	}
	must(cop_unref(filler));
	cop_release(filler);
	remove_and_make(&m, 0);
	assert_int_equal(used_blocks(&m), empty);
	model_fini(&m);
}

/* ---- At random ------------------------------------------------------------------------------- */

static void
random_step(struct model *m)
{
	size_t i = rng_below(&m->rng, FILES);
	uint64_t block = rng_below(&m->rng, FILE_BYTES / BLOCK_BYTES);
	uint64_t offset = block * BLOCK_BYTES;
	uint64_t left = FILE_BYTES - offset;

	switch (rng_below(&m->rng, 16)) {
	case 0:
	case 1:
		clone_both(m, i, rng_below(&m->rng, FILES));
		break;
	case 2:
		punch_both(m, i, offset, min_u64(left, rng_below(&m->rng, 200000)));
		break;
	case 3:
		truncate_both(m, i, rng_below(&m->rng, FILE_BYTES));
		break;
	case 4:
		if (rng_below(&m->rng, 3) == 0)
			remove_and_make(m, i);
		break;
	case 5:
		write_both(
			m, i, offset, min_u64(left, rng_below(&m->rng, 150000)), rng_next(&m->rng));
		break;
	default: /* scattered, so that there are many extents */
		for (int k = 0; k < 8; k++) {
			offset = rng_below(&m->rng, FILE_BYTES / BLOCK_BYTES) * BLOCK_BYTES;
			write_both(m, i, offset, 1 + rng_below(&m->rng, BLOCK_BYTES),
				rng_next(&m->rng));
		}
	}
}

static void
random_run(uint64_t seed, int steps)
{
	struct model m;

	model_init(&m, seed);
	for (int step = 0; step < steps; step++) {
		random_step(&m);
		switch (rng_below(&m.rng, 24)) {
		case 0:
			checkpoint_and_check(&m);
			break;
		case 1:
			reopen(&m, false);
			expect_all(&m);
			break;
		case 2: /* what was since the checkpoint is done again */
			must(cop_sync(m.world.volume));
			reopen(&m, true);
			expect_all(&m);
			checkpoint_and_check(&m);
			break;
		case 3:
			must(cop_settle(m.world.volume));
			break;
		default:
			break;
		}
	}
	expect_all(&m);
	checkpoint_and_check(&m);
	model_fini(&m);
}

static void
agrees_with_copies_at_random(void **state)
{
	const char *runs = getenv("CLONE_RUNS");
	uint64_t count = runs ? strtoull(runs, NULL, 10) : 6;

	(void)state;
	for (uint64_t seed = 100; seed < 100 + count; seed++)
		random_run(seed, 150);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_content_of_every_form),
		cmocka_unit_test(shares_a_tree_for_one_root),
		cmocka_unit_test(gives_back_all_when_both_are_gone),
		cmocka_unit_test(a_cut_leaves_the_other_whole),
		cmocka_unit_test(gives_up_what_is_shared_in_pieces),
		cmocka_unit_test(becomes_a_clone_of_what_it_shares_in_part),
		cmocka_unit_test(does_not_write_into_what_was_preallocated_for_both),
		cmocka_unit_test(refuses_what_is_no_file),
		cmocka_unit_test(costs_nothing_where_nothing_is_shared),
		cmocka_unit_test(asks_for_nothing_that_is_younger_than_the_clone),
		cmocka_unit_test(survives_every_failing_allocation),
		cmocka_unit_test(a_full_volume_of_clones_can_be_emptied),
		cmocka_unit_test(what_is_not_shared_can_be_cut_on_a_full_volume),
		cmocka_unit_test(what_was_written_on_a_full_volume_stays),
		cmocka_unit_test(cuts_of_clones_leave_what_deleting_needs),
		cmocka_unit_test(agrees_with_copies_at_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
