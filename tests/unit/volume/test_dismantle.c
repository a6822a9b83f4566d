#include "world.h"

#include "base/num.h"
#include "volume/volume_internal.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { A = 100, B = 101, KEYS = 60, BYTES = 300, NODE = 4096, RUNS = 16, JOB = 77, HEAD = 8 };

static const struct tree_name catalog = { .kind = TREE_CATALOG };

/* Object A has a tree, B shares it. */
static void
cloned(struct world *world)
{
	*world = (struct world){ 0 };
	world_format(world, UINT64_C(64) << 20, NODE);
	world_grow_content(world, A, KEYS, BYTES);
	assert_int_equal(world_clone_content(world, A, B), 0);
	assert_int_equal(volume_checkpoint(world->volume), 0);
}

/* The record of the job: a head, the root, the cursor. */
static struct view
job_key(uint8_t out[static CATALOG_KEY_BYTES])
{
	return catalog_key(out, CATALOG_JOB, JOB);
}

static void
bury(struct world *world, uint64_t object)
{
	uint8_t key[CATALOG_KEY_BYTES];
	uint8_t value[HEAD + ROOT_RECORD_BYTES] = { 0 };
	struct tx *tx;

	assert_int_equal(tx_begin(world->volume, &world->visit, true, &tx), 0);
	assert_int_equal(tx_put(tx, catalog, job_key(key), view_of(value, sizeof value)), 0);
	assert_int_equal(tx_bury_tree(tx, world_content(object), job_key(key), HEAD), 0);
	assert_int_equal(tx_commit(tx), 0);
}

/* The record of the job, and what its next step would do. Zero it before use. */
struct job {
	uint8_t value[1024];
	struct tree_root root;
	struct tree_cursor cursor;
	struct remains remains;
};

/* False: there is no job any more. */
static bool
look(struct world *world, struct job *job)
{
	uint8_t key[CATALOG_KEY_BYTES];
	struct tree *tree;
	size_t bytes;
	int err;

	assert_int_equal(volume_tree_open(world->volume, catalog, &tree), 0);
	err = tree_get(tree, job_key(key), job->value, sizeof job->value, &bytes);
	volume_tree_release(world->volume, tree);
	if (err == COP_ENOENT)
		return false;
	assert_int_equal(err, 0);
	assert_int_equal(root_record_decode(job->value + HEAD, &job->root), 0);
	job->cursor.bytes = (uint32_t)(bytes - HEAD - ROOT_RECORD_BYTES);
	memcpy(job->cursor.key, job->value + HEAD + ROOT_RECORD_BYTES, job->cursor.bytes);
	assert_int_equal(volume_remains(world->volume, TREE_CONTENT, &job->root, &job->cursor, RUNS,
				 &job->remains),
		0);
	return true;
}

static int
commit_step(struct world *world, struct job *job)
{
	uint8_t key[CATALOG_KEY_BYTES];
	const struct tree_cursor *next = &job->remains.next;
	struct tx_step step = {
		.dead = world_content(A),
		.job_key = job_key(key),
		.root_at = HEAD,
		.from = &job->cursor,
		.remains = &job->remains,
	};
	struct tx *tx;

	if (!job->remains.is_done) {
		memcpy(job->value + HEAD + ROOT_RECORD_BYTES, next->key, next->bytes);
		step.value = view_of(job->value, HEAD + ROOT_RECORD_BYTES + next->bytes);
	}
	assert_int_equal(tx_begin(world->volume, &world->visit, true, &tx), 0);
	assert_int_equal(tx_step(tx, &step), 0);
	return tx_commit(tx);
}

/* `count` steps, or all of them if it has less; how many there were. */
static uint32_t
run_steps(struct world *world, uint32_t count)
{
	struct job job = { 0 };
	uint32_t steps = 0;

	for (; steps < count && look(world, &job); steps++)
		assert_int_equal(commit_step(world, &job), 0);
	volume_remains_free(&job.remains);
	return steps;
}

static uint32_t
run_job(struct world *world)
{
	return run_steps(world, UINT32_MAX);
}

static void
expect(struct world *world, uint64_t object, uint64_t changed, uint8_t fill)
{
	world_expect_content(world, object, KEYS, changed, fill);
}

static uint64_t
used_blocks(struct world *world)
{
	world_settle(world);
	return world->volume->newest.blocks - world->volume->newest.free_blocks;
}

static void
leaves_a_shared_tree_in_one_step(void **state)
{
	struct world world;
	struct job job = { 0 };

	(void)state;
	cloned(&world);
	bury(&world, A);
	assert_true(look(&world, &job));
	assert_true(job.remains.is_done);
	assert_int_equal(job.remains.node_count, 1);
	assert_true(job.remains.nodes[0].is_shared);
	volume_remains_free(&job.remains);
	assert_int_equal(run_job(&world), 1);
	expect(&world, B, KEYS, 0);
	assert_int_equal(volume_checkpoint(world.volume), 0);
	assert_int_equal(world.volume->shares.tree.tree.root.levels, 0);
	world_end(&world);
}

/* Then the other one, which has it alone: all comes back. */
static void
gives_up_what_nobody_else_has(void **state)
{
	struct world world = { 0 };
	uint64_t empty;

	(void)state;
	world_format(&world, UINT64_C(64) << 20, NODE);
	empty = used_blocks(&world);
	world_end(&world);
	cloned(&world);
	assert_int_equal(world_put_content(&world, B, 20, 99, BYTES, true), 0);
	bury(&world, A);
	assert_true(run_job(&world) > 1);
	expect(&world, B, 20, 99);
	bury(&world, B);
	assert_true(run_job(&world) > 1);
	/* The branch has had an object tree since then, which is empty again. */
	assert_int_equal(used_blocks(&world), empty);
	world_end(&world);
}

/* Between the look and the commit the other one has parted from what was shared. */
static void
looks_again_when_others_share_less(void **state)
{
	struct world world;
	struct job job = { 0 };

	(void)state;
	cloned(&world);
	bury(&world, A);
	assert_true(look(&world, &job));
	assert_int_equal(world_put_content(&world, B, 20, 99, BYTES, true), 0);
	assert_int_equal(commit_step(&world, &job), ERR_MISSING);
	assert_true(look(&world, &job)); /* nothing has happened */
	assert_false(job.remains.is_done);
	assert_int_equal(job.remains.node_count, 1); /* the first leaf, which both have */
	assert_true(job.remains.nodes[0].is_shared);
	volume_remains_free(&job.remains);
	assert_true(run_job(&world) > 1);
	expect(&world, B, 20, 99);
	world_end(&world);
}

/* Wherever the job stands when the power goes: the replay gives up the same, and it goes on. */
static void
a_replay_goes_on_where_it_was(void **state)
{
	uint64_t used = 0;
	bool is_over = false;

	(void)state;
	for (uint32_t stop = 0; !is_over; stop++) {
		struct world world;

		cloned(&world);
		assert_int_equal(world_put_content(&world, B, 20, 99, BYTES, true), 0);
		bury(&world, A);
		is_over = run_steps(&world, stop) < stop;
		assert_int_equal(volume_sync(world.volume), 0);
		world_reopen(&world);
		assert_int_equal(volume_stats(world.volume).recoveries, 1);
		(void)run_job(&world);
		expect(&world, B, 20, 99);
		if (used == 0)
			used = used_blocks(&world);
		assert_int_equal(used_blocks(&world), used);
		world_end(&world);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaves_a_shared_tree_in_one_step),
		cmocka_unit_test(gives_up_what_nobody_else_has),
		cmocka_unit_test(looks_again_when_others_share_less),
		cmocka_unit_test(a_replay_goes_on_where_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
