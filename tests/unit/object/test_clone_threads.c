/* Clones beside reads, writes, truncation, punching and checkpoints. */

#include "base/random.h"
#include "object/clone.h"
#include "world.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

enum { FILES = 5, BLOCKS = 160, TEETH = 60, ROUNDS = 120, PIECE_BLOCKS = 8 };

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

/*
 * A block of content says which one it is, and which write it is of, in every word: so a block of
 * another place, or half of one, is seen whoever shows it.
 */
static void
fill_block(uint8_t *out, uint64_t block, uint64_t write)
{
	for (size_t i = 0; i < BLOCK_BYTES; i += 8)
		put_le64(out + i, write << 16 | block);
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
draw_file(struct player *player, struct rng *rng)
{
	return player->stage->files[rng_below(rng, FILES)];
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

		must(cop_read(draw_file(player, &rng), block * BLOCK_BYTES, got,
			PIECE_BLOCKS * BLOCK_BYTES, &bytes));
		for (size_t at = 0; at + BLOCK_BYTES <= bytes; at += BLOCK_BYTES)
			expect_block(got + at, block + at / BLOCK_BYTES);
	}
	free(got);
	return NULL;
}

static void
write_piece(struct stage *stage, struct cop_object *file, uint64_t block, uint64_t blocks)
{
	uint8_t piece[PIECE_BLOCKS * BLOCK_BYTES];
	uint64_t write = atomic_fetch_add(&stage->writes, 1) + 1;

	for (uint64_t i = 0; i < blocks; i++)
		fill_block(piece + i * BLOCK_BYTES, block + i, write);
	must(cop_write(file, block * BLOCK_BYTES, piece, blocks * BLOCK_BYTES, NULL));
}

static void *
write_beside(void *context)
{
	struct player *player = context;
	struct rng rng;

	rng_seed(&rng, player->seed);
	while (!atomic_load(&player->stage->is_over))
		write_piece(player->stage, draw_file(player, &rng), rng_below(&rng, BLOCKS),
			1 + rng_below(&rng, PIECE_BLOCKS));
	return NULL;
}

static void *
cut_beside(void *context)
{
	struct player *player = context;
	struct rng rng;

	rng_seed(&rng, player->seed);
	while (!atomic_load(&player->stage->is_over)) {
		struct cop_object *file = draw_file(player, &rng);
		uint64_t offset = rng_below(&rng, BLOCKS) * BLOCK_BYTES;

		if (rng_below(&rng, 3) == 0)
			must(cop_set_length(file, offset));
		else
			must(cop_punch(file, offset, rng_below(&rng, 40) * BLOCK_BYTES));
	}
	return NULL;
}

static void *
settle_beside(void *context)
{
	struct player *player = context;

	while (!atomic_load(&player->stage->is_over)) {
		must(volume_checkpoint(player->stage->world.volume->volume));
		must(cop_sync(player->stage->world.volume));
	}
	return NULL;
}

static uint64_t
settled_free_bytes(struct stage *stage)
{
	must(cop_settle(stage->world.volume));
	return world_free_bytes(&stage->world);
}

static void
shows_whole_blocks_of_the_right_place(void **state)
{
	static void *(*const parts[])(void *) = { read_beside, read_beside, write_beside,
		write_beside, cut_beside, settle_beside };
	struct player players[ARRAY_COUNT(parts)];
	struct stage stage = { .writes = 0 };
	uint64_t before;
	struct rng rng;

	(void)state;
	world_init(&stage.world, 64 * MIB, 4096, 77);
	before = settled_free_bytes(&stage);
	for (size_t i = 0; i < FILES; i++)
		stage.files[i] = world_file(&stage.world);
	for (uint64_t tooth = 0; tooth < TEETH; tooth++)
		write_piece(&stage, stage.files[0], 2 * tooth, 1);
	for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
		players[i] = (struct player){ .stage = &stage, .seed = i + 1 };
		assert_int_equal(
			pthread_create(&players[i].thread, NULL, parts[i], &players[i]), 0);
	}
	rng_seed(&rng, 99);
	for (int round = 0; round < ROUNDS; round++) {
		size_t from = rng_below(&rng, FILES);

		must(object_clone(stage.files[from], stage.files[rng_below(&rng, FILES)]));
	}
	atomic_store(&stage.is_over, true);
	for (size_t i = 0; i < ARRAY_COUNT(parts); i++)
		pthread_join(players[i].thread, NULL);
	must(volume_checkpoint(stage.world.volume->volume));
	world_check(&stage.world);
	for (size_t i = 0; i < FILES; i++) {
		must(cop_unref(stage.files[i]));
		cop_release(stage.files[i]);
	}
	assert_int_equal(settled_free_bytes(&stage), before);
	world_fini(&stage.world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shows_whole_blocks_of_the_right_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
