#include "world.h"

#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

enum { THREAD_ROUNDS = 150, BLOCK = 4096, THREAD_BYTES = 40 * BLOCK };

struct writer_job {
	struct cop_object *file;
	struct world *world;
	uint8_t mark;
	atomic_bool *stop;
};

static void *
work_alone(void *context)
{
	struct writer_job *job = context;
	uint8_t bytes[3 * BLOCK];
	size_t got;
	struct rng rng;

	rng_seed(&rng, job->mark);
	for (int i = 0; i < THREAD_ROUNDS; i++) {
		uint64_t offset = rng_below(&rng, 100 * BLOCK);

		memset(bytes, job->mark, sizeof bytes);
		must(cop_write(job->file, offset, bytes, sizeof bytes, NULL));
		must(cop_read(job->file, offset, bytes, sizeof bytes, &got));
		for (size_t j = 0; j < got; j++)
			assert_int_equal(bytes[j], job->mark);
		if (i % 20 == 0)
			must(cop_set_length(job->file, rng_below(&rng, 50 * BLOCK)));
		if (i % 50 == 0)
			must(cop_sync(job->world->volume));
	}
	return NULL;
}

static void
works_on_different_objects_side_by_side(void **state)
{
	struct world world;
	struct writer_job jobs[3];
	pthread_t threads[3];

	(void)state;
	world_init(&world, 64 * MIB, 0, 41);
	for (size_t i = 0; i < 3; i++) {
		jobs[i] = (struct writer_job){
			.file = world_file(&world), .world = &world, .mark = (uint8_t)(i + 1)
		};
		assert_int_equal(pthread_create(&threads[i], NULL, work_alone, &jobs[i]), 0);
	}
	for (size_t i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		cop_release(jobs[i].file);
	}
	world_fini(&world);
}

/* ---- Readers beside a writer ----------------------------------------------------------------- */

enum { FILE_BLOCKS = 40, FILE_BYTES = FILE_BLOCKS * BLOCK, READERS = 3, READS = 60 };

/* A second volume handle on the world's disk, as another process has it. */
struct beside {
	struct device *dev;
	struct cop_volume *volume;
	struct cop_object *file;
};

static void
beside_open(struct beside *beside, struct world *world, uint64_t id)
{
	struct cop_open_options options = COP_INIT(options);
	struct cop_object *root;

	options.read_only = true;
	options.cache_bytes = COP_CACHE_BYTES_MIN;
	must(sim_open(world->medium, DEVICE_READ_ONLY | DEVICE_NO_LOCK, &beside->dev));
	must(cop_open_on(beside->dev, &options, &beside->volume));
	must(cop_root(beside->volume, NULL, &root));
	must(cop_get(root, id, &beside->file));
	cop_release(root);
}

static void
beside_close(struct beside *beside)
{
	cop_release(beside->file);
	must(cop_close(beside->volume));
	device_close(beside->dev);
}

/* The whole file anew, in one operation; then two checkpoints, so that old blocks are reused. */
static void
write_all(struct world *world, struct cop_object *file, uint8_t mark)
{
	static uint8_t bytes[FILE_BYTES];

	memset(bytes, mark, sizeof bytes);
	must(cop_write(file, 0, bytes, sizeof bytes, NULL));
	must(cop_settle(world->volume));
}

/* What an operation did before another moved the handle on counts for nothing, once. */
static void
begins_again_when_the_handle_has_moved_on(void **state)
{
	struct world world;
	struct beside beside;
	struct cop_object *file;
	struct operation op;
	struct cop_attr attr = COP_INIT(attr);
	uint64_t generation;
	int err = 0;

	(void)state;
	world_init_on_sim(&world, 16 * MIB, 51);
	file = world_file(&world);
	write_all(&world, file, 1);
	beside_open(&beside, &world, cop_id(file));

	operation_begin(&op, beside.volume);
	assert_false(operation_again(&op, &err));
	generation = volume_generation(beside.volume->volume);
	for (uint8_t mark = 2; volume_generation(beside.volume->volume) == generation; mark++) {
		write_all(&world, file, mark);
		cache_shrink(volume_cache(beside.volume->volume));
		must(cop_stat(beside.file, &attr)); /* moves on when it meets what is reused */
	}
	assert_true(operation_again(&op, &err));
	assert_false(operation_again(&op, &err));
	assert_int_equal(err, 0);
	operation_end(&op);

	beside_close(&beside);
	cop_release(file);
	world_fini(&world);
}

struct read_job {
	struct beside *beside;
	uint64_t mixed; /* reads that showed two states of the file */
	int err;
};

static void *
read_beside(void *context)
{
	struct read_job *job = context;
	uint8_t *bytes = malloc(FILE_BYTES);

	assert_non_null(bytes);
	for (int i = 0; i < READS && job->err == 0; i++) {
		size_t got;

		cache_shrink(volume_cache(job->beside->volume->volume));
		job->err = cop_read(job->beside->file, 0, bytes, FILE_BYTES, &got);
		if (job->err == COP_EBUSY) { /* the writer was faster, and this says so */
			job->err = 0;
			continue;
		}
		if (job->err == 0)
			job->mixed +=
				got != FILE_BYTES || memcmp(bytes, bytes + 1, FILE_BYTES - 1) != 0;
	}
	free(bytes);
	return NULL;
}

struct write_job {
	struct world *world;
	struct cop_object *file;
	atomic_bool stop;
};

static void *
write_beside(void *context)
{
	struct write_job *job = context;

	for (uint8_t mark = 2; !atomic_load(&job->stop); mark++)
		write_all(job->world, job->file, mark);
	return NULL;
}

static void
threads_of_one_reader_never_mix_two_checkpoints(void **state)
{
	struct world world;
	struct beside beside;
	struct write_job writing = { .world = &world };
	struct read_job jobs[READERS];
	pthread_t threads[READERS];
	pthread_t writer;

	(void)state;
	world_init_on_sim(&world, 16 * MIB, 52);
	writing.file = world_file(&world);
	write_all(&world, writing.file, 1);
	beside_open(&beside, &world, cop_id(writing.file));
	assert_int_equal(pthread_create(&writer, NULL, write_beside, &writing), 0);
	for (size_t i = 0; i < READERS; i++) {
		jobs[i] = (struct read_job){ .beside = &beside };
		assert_int_equal(pthread_create(&threads[i], NULL, read_beside, &jobs[i]), 0);
	}
	for (size_t i = 0; i < READERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	atomic_store(&writing.stop, true);
	assert_int_equal(pthread_join(writer, NULL), 0);
	for (size_t i = 0; i < READERS; i++) {
		must(jobs[i].err);
		assert_int_equal(jobs[i].mixed, 0);
	}
	beside_close(&beside);
	cop_release(writing.file);
	world_fini(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(works_on_different_objects_side_by_side),
		cmocka_unit_test(begins_again_when_the_handle_has_moved_on),
		cmocka_unit_test(threads_of_one_reader_never_mix_two_checkpoints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
