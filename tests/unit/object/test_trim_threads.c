/* Jobs that free ranges beside reads, writes into these ranges, more cuts, and clones. */

#include "base/random.h"
#include "object/clone.h"
#include "object/reclaim.h"
#include "world.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

enum { FILES = 3, BLOCKS = 800, TEETH = 100, CUT_BLOCKS = 90, ROUNDS = 25, PIECE_BLOCKS = 16 };

struct stage {
	struct world world;
	struct cop_object *files[FILES];
	_Atomic uint64_t writes; /* numbers what is written */
	_Atomic bool is_over;
};

struct player {
	pthread_t thread;
	struct stage *stage;
	uint64_t seed;
};

/* A block of content says in every word which one it is, and which write it is of. */
static void
write_block(struct stage *stage, struct cop_object *file, uint64_t block)
{
	uint64_t write = atomic_fetch_add(&stage->writes, 1) + 1;
	uint8_t bytes[BLOCK_BYTES];

	for (size_t i = 0; i < BLOCK_BYTES; i += 8)
		put_le64(bytes + i, write << 16 | block);
	must(cop_write(file, block * BLOCK_BYTES, bytes, sizeof bytes, NULL));
}

/* Zeros, where there is a hole. */
static void
expect_block(const uint8_t *got, uint64_t block)
{
	uint64_t word = get_le64(got);

	for (size_t at = 0; at < BLOCK_BYTES; at += 8) {
		if (get_le64(got + at) != word || (word != 0 && (word & 0xffff) != block)) {
			fprintf(stderr, "block %" PRIu64 " has %016" PRIx64 " at byte %zu\n", block,
				get_le64(got + at), at);
			abort(); /* on a thread of its own */
		}
	}
}

static struct cop_object *
draw_file(struct stage *stage, struct rng *rng)
{
	return stage->files[rng_below(rng, FILES)];
}

static void *
read_beside(void *context)
{
	struct player *player = context;
	uint8_t *got = malloc(PIECE_BLOCKS * BLOCK_BYTES);
	struct rng rng;

	assert_non_null(got);
	rng_seed(&rng, player->seed);
	while (!atomic_load(&player->stage->is_over)) {
		uint64_t block = rng_below(&rng, BLOCKS);
		size_t bytes;

		must(cop_read(draw_file(player->stage, &rng), block * BLOCK_BYTES, got,
			(1 + rng_below(&rng, PIECE_BLOCKS)) * BLOCK_BYTES, &bytes));
		for (size_t at = 0; at + BLOCK_BYTES <= bytes; at += BLOCK_BYTES)
			expect_block(got + at, block + at / BLOCK_BYTES);
	}
	free(got);
	return NULL;
}

static void *
write_beside(void *context)
{
	struct player *player = context;
	struct rng rng;

	rng_seed(&rng, player->seed);
	while (!atomic_load(&player->stage->is_over)) {
		struct cop_object *file = draw_file(player->stage, &rng);

		write_block(player->stage, file, rng_below(&rng, BLOCKS));
		must(cop_sync_object(file));
	}
	return NULL;
}

static void *
step_beside(void *context)
{
	struct player *player = context;

	while (!atomic_load(&player->stage->is_over)) {
		bool has_run;

		must(jobs_run_step(player->stage->world.volume, &has_run));
	}
	return NULL;
}

static void
fill_and_cut(struct stage *stage, struct rng *rng)
{
	struct cop_object *file = draw_file(stage, rng);
	uint64_t first = rng_below(rng, BLOCKS - 2 * TEETH);

	for (uint64_t tooth = 0; tooth < TEETH; tooth++)
		write_block(stage, file, first + 2 * tooth);
	must(cop_punch(file, first * BLOCK_BYTES, CUT_BLOCKS * BLOCK_BYTES));
	must(cop_punch(file, (first + CUT_BLOCKS + 10) * BLOCK_BYTES, CUT_BLOCKS * BLOCK_BYTES));
	switch (rng_below(rng, 6)) {
	case 0:
		must(object_clone(file, draw_file(stage, rng)));
		break;
	case 1:
		must(cop_set_length(file, (first + TEETH) * BLOCK_BYTES));
		break;
	case 2:
		must(cop_settle(stage->world.volume));
		break;
	default:
		break;
	}
}

static void
frees_beside_everything(void **state)
{
	static void *(*const parts[])(
		void *) = { read_beside, read_beside, write_beside, step_beside };
	struct player players[ARRAY_COUNT(parts)];
	struct stage stage = { .writes = 0 };
	uint64_t before;
	struct rng rng;

	(void)state;
	world_init(&stage.world, 64 * MIB, 4096, 78);
	before = world_free_bytes(&stage.world);
	for (size_t i = 0; i < FILES; i++)
		stage.files[i] = world_file(&stage.world);
	for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
		players[i] = (struct player){ .stage = &stage, .seed = i + 1 };
		assert_int_equal(
			pthread_create(&players[i].thread, NULL, parts[i], &players[i]), 0);
	}
	rng_seed(&rng, 98);
	for (int round = 0; round < ROUNDS; round++)
		fill_and_cut(&stage, &rng);
	atomic_store(&stage.is_over, true);
	for (size_t i = 0; i < ARRAY_COUNT(parts); i++)
		pthread_join(players[i].thread, NULL);
	must(volume_checkpoint(stage.world.volume->volume));
	world_check(&stage.world);
	for (size_t i = 0; i < FILES; i++) {
		must(cop_unref(stage.files[i]));
		cop_release(stage.files[i]);
	}
	assert_int_equal(world_free_bytes(&stage.world), before);
	world_fini(&stage.world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frees_beside_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
