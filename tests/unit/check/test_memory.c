/* What the check takes of memory, whatever the volume: every allocation is counted. */

#include "world.h"

#include <malloc.h>
#include <stdio.h>

static size_t now_bytes;
static size_t peak_bytes;

static void *
counted(void *memory)
{
	if (memory)
		now_bytes += malloc_usable_size(memory);
	if (now_bytes > peak_bytes)
		peak_bytes = now_bytes;
	return memory;
}

/* The linker leads the product's calls here. */
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
void *__real_aligned_alloc(size_t align, size_t bytes);
void __real_free(void *memory);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);
void *__wrap_aligned_alloc(size_t align, size_t bytes);
void __wrap_free(void *memory);

void *
__wrap_malloc(size_t bytes)
{
	return counted(__real_malloc(bytes));
}

void *
__wrap_calloc(size_t count, size_t bytes)
{
	return counted(__real_calloc(count, bytes));
}

void *
__wrap_realloc(void *memory, size_t bytes)
{
	size_t before = memory ? malloc_usable_size(memory) : 0;
	void *grown = __real_realloc(memory, bytes);

	if (grown)
		now_bytes -= before;
	return counted(grown);
}

void *
__wrap_aligned_alloc(size_t align, size_t bytes)
{
	return counted(__real_aligned_alloc(align, bytes));
}

void
__wrap_free(void *memory)
{
	if (memory)
		now_bytes -= malloc_usable_size(memory);
	__real_free(memory);
}

static struct cop_check_result
check_within(struct sim_medium *medium, uint64_t cache_bytes)
{
	struct cop_check_options options = COP_INIT(options);
	struct cop_check_result result = COP_INIT(result);
	struct device *dev;
	size_t before;

	must(sim_open(medium, DEVICE_READ_ONLY, &dev));
	options.cache_bytes = cache_bytes;
	before = now_bytes;
	peak_bytes = now_bytes;
	must(cop_check_on(dev, &options, &result));
	device_close(dev);
	print_message(
		"# %zu KiB of %zu\n", (peak_bytes - before) / 1024, (size_t)cache_bytes / 1024);
	assert_true(peak_bytes - before <= cache_bytes);
	return result;
}

static void
stays_within_its_limit_on_a_volume_with_everything(void **state)
{
	struct world *w = world_open();
	struct cop_check_result small;
	struct cop_check_result large;

	(void)state;
	world_close(w);
	small = check_within(w->medium, COP_CACHE_BYTES_MIN);
	large = check_within(w->medium, UINT64_C(64) << 20);
	assert_int_equal(small.problems, 0);
	assert_memory_equal(&small, &large, sizeof small);
	world_free(w);
}

static void
fill_volume(struct device *dev, uint64_t files, size_t bytes)
{
	struct cop_open_options options = COP_INIT(options);
	struct cop_volume *volume;
	struct cop_object *root;
	struct cop_new new = COP_INIT(new);
	uint8_t *data = calloc(1, bytes);

	assert_non_null(data);
	options.cache_bytes = UINT64_C(64) << 20;
	must(cop_open_on(dev, &options, &volume));
	must(cop_root(volume, NULL, &root));
	new.kind = COP_FILE;
	for (uint64_t i = 0; i < files; i++) {
		struct cop_object *file;
		char name[32];

		snprintf(name, sizeof name, "file-%u", (unsigned)i);
		must(cop_create(root, name, strlen(name), &new, &file));
		must(cop_write(file, 0, data, bytes, NULL));
		cop_release(file);
	}
	cop_release(root);
	must(cop_close(volume));
	free(data);
}

/* More object numbers than a small window holds, and more groups than exist on small volumes. */
static void
stays_within_its_limit_on_a_large_volume(void **state)
{
	struct world w = { 0 };
	struct cop_format_options options = COP_INIT(options);
	struct superblock newest;
	struct superblock previous;
	struct cop_check_result small;
	struct cop_check_result large;

	(void)state;
	must(sim_create(UINT64_C(64) << 40, 1, &w.medium));
	must(sim_open(w.medium, 0, &w.dev));
	must(cop_format_on(w.dev, &options));
	fill_volume(w.dev, 2000, 5000);
	device_close(w.dev);
	world_superblocks(&w, &newest, &previous);
	newest.next_object = 1000000;
	world_put_superblock(&w, &newest);
	small = check_within(w.medium, COP_CACHE_BYTES_MIN);
	large = check_within(w.medium, UINT64_C(256) << 20);
	assert_int_equal(small.problems, 0);
	assert_int_equal(small.objects, 2001);
	assert_memory_equal(&small, &large, sizeof small);
	sim_free(w.medium);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stays_within_its_limit_on_a_volume_with_everything),
		cmocka_unit_test(stays_within_its_limit_on_a_large_volume),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
