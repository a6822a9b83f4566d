#include "world.h"

#include "base/random.h"
#include "object/clone.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define VOLUME_BYTES (UINT64_C(16) << 20)

enum { BIG_ENTRIES = 80, COMB_TEETH = 120 };

void
world_must(int err, const char *call, const char *file, int line)
{
	if (err == 0)
		return;
	fprintf(stderr, "%s:%d: %s: %s: %s\n", file, line, call, cop_error_name(err),
		cop_error_text());
	abort();
}

static int
world_random(void *context, void *buffer, size_t bytes)
{
	struct world *w = context;
	struct rng rng;

	rng_seed(&rng, w->seed++);
	rng_bytes(&rng, buffer, bytes);
	return 0;
}

static int64_t
world_clock(void *context)
{
	struct world *w = context;

	return w->now_ns += 1000;
}

/* ---- Making ---- */

static struct cop_object *
make(struct cop_object *directory, const char *name, enum cop_kind kind)
{
	struct cop_new new = COP_INIT(new);
	struct cop_object *made;

	new.kind = kind;
	new.mode = 0644;
	if (kind == COP_SYMLINK) {
		new.target = "d/in";
		new.target_bytes = 4;
	}
	if (kind == COP_CHAR_DEVICE)
		new.device = UINT64_C(1) << 32 | 3;
	must(cop_create(directory, name, strlen(name), &new, &made));
	return made;
}

static void
fill(struct cop_object *file, uint64_t offset, size_t bytes, uint64_t seed)
{
	uint8_t *buffer = malloc(bytes);
	struct rng rng;

	rng_seed(&rng, seed);
	rng_bytes(&rng, buffer, bytes);
	must(cop_write(file, offset, buffer, bytes, NULL));
	free(buffer);
}

static void
make_file(struct cop_object *directory, const char *name, size_t bytes)
{
	struct cop_object *file = make(directory, name, COP_FILE);

	fill(file, 0, bytes, bytes);
	cop_release(file);
}

static void
make_files(struct world *w)
{
	struct cop_object *file;
	uint8_t value[20000];
	struct cop_new new = COP_INIT(new);

	make_file(w->root, "small", 100);
	file = make(w->root, "pieces", COP_FILE);
	fill(file, 0, 10000, 1);
	fill(file, 40960, 5000, 2);
	cop_release(file);
	file = make(w->root, "comb", COP_FILE);
	for (uint64_t i = 0; i < COMB_TEETH; i++)
		fill(file, i * 8192, 4096, i);
	cop_release(file);
	file = make(w->root, "ahead", COP_FILE);
	fill(file, 0, 6000, 3);
	must(cop_preallocate(file, 0, 50000, false));
	cop_release(file);
	file = make(w->root, "attr", COP_FILE);
	memset(value, 'v', sizeof value);
	must(cop_xattr_set(file, "user.small", "value", 5, 0));
	must(cop_xattr_set(file, "user.large", value, sizeof value, 0));
	cop_release(file);
	make_file(w->root, "gone", 30000);
	new.kind = COP_FILE;
	must(cop_allocate(w->root, &new, &file));
	must(cop_ref(file));
	fill(file, 0, 9000, 5);
	cop_release(file);
}

static void
make_names(struct world *w)
{
	struct cop_object *d = make(w->root, "d", COP_DIRECTORY);
	struct cop_object *a = make(w->root, "a", COP_DIRECTORY);
	struct cop_object *b = make(a, "b", COP_DIRECTORY);
	struct cop_object *big = make(w->root, "big", COP_DIRECTORY);
	struct cop_object *linked = make(w->root, "linked", COP_FILE);

	make_file(d, "in", 5000);
	cop_release(make(b, "c", COP_DIRECTORY));
	for (int i = 0; i < BIG_ENTRIES; i++) {
		char name[32];

		snprintf(name, sizeof name, "entry-%d", i);
		cop_release(make(big, name, i % 8 == 0 ? COP_DIRECTORY : COP_FILE));
	}
	must(cop_link(linked, d, "linked", 6));
	must(cop_link(linked, a, "linked", 6));
	cop_release(make(w->root, "link", COP_SYMLINK));
	cop_release(make(w->root, "fifo", COP_FIFO));
	cop_release(make(w->root, "device", COP_CHAR_DEVICE));
	cop_release(linked);
	cop_release(big);
	cop_release(b);
	cop_release(a);
	cop_release(d);
}

static void
open_volume(struct world *w)
{
	struct cop_open_options options = COP_INIT(options);

	must(sim_open(w->medium, 0, &w->dev));
	options.cache_bytes = COP_CACHE_BYTES_MIN;
	options.random = world_random;
	options.clock_ns = world_clock;
	options.context = w;
	must(cop_open_on(w->dev, &options, &w->volume));
	must(cop_root(w->volume, NULL, &w->root));
}

void
world_close(struct world *w)
{
	cop_release(w->root);
	must(cop_close(w->volume));
	device_close(w->dev);
	w->volume = NULL;
	w->dev = NULL;
}

void
world_kill(struct world *w)
{
	cop_release(w->root);
	cop_abandon(w->volume);
	device_close(w->dev);
	w->volume = NULL;
	w->dev = NULL;
}

void
world_start(struct world *w)
{
	open_volume(w);
}

void
world_reopen(struct world *w)
{
	world_close(w);
	open_volume(w);
}

struct world *
world_open(void)
{
	struct world *w = calloc(1, sizeof *w);
	struct cop_format_options options = COP_INIT(options);
	struct cop_object *gone;

	assert_non_null(w);
	w->seed = 1;
	w->now_ns = INT64_C(1700000000000000000);
	must(sim_create(VOLUME_BYTES, 1, &w->medium));
	must(sim_open(w->medium, 0, &w->dev));
	must(cop_format_on(w->dev, &options));
	device_close(w->dev);
	open_volume(w);
	make_files(w);
	make_names(w);
	world_reopen(w);
	must(cop_lookup(w->root, "gone", 4, &gone));
	fill(gone, 0, 20000, 9);
	cop_release(gone);
	return w;
}

struct world *
world_open_closed(struct superblock *out_newest, struct superblock *out_previous,
	struct geometry *out_geometry)
{
	struct world *w = world_open();

	world_close(w);
	world_superblocks(w, out_newest, out_previous);
	if (out_geometry)
		must(geometry_init(out_geometry, out_newest->blocks, out_newest->ag_blocks,
			out_newest->journal_blocks));
	return w;
}

void
world_free(struct world *w)
{
	if (w->volume)
		world_close(w);
	sim_free(w->medium);
	free(w);
}

uint64_t
world_id(struct world *w, const char *path)
{
	struct cop_object *object;
	uint64_t id;

	must(cop_walk(w->root, path, COP_WALK_NOFOLLOW, &object));
	id = cop_id(object);
	cop_release(object);
	return id;
}

uint64_t
world_nameless(struct world *w)
{
	struct cop_new new = COP_INIT(new);
	struct cop_object *object;
	uint64_t id;

	new.kind = COP_FILE;
	must(cop_allocate(w->root, &new, &object));
	must(cop_ref(object));
	id = cop_id(object);
	cop_release(object);
	return id;
}

uint64_t
world_clone(struct world *w, uint64_t source)
{
	uint64_t id = world_nameless(w);
	struct cop_object *from;
	struct cop_object *to;

	must(cop_get(w->root, source, &from));
	must(cop_get(w->root, id, &to));
	must(object_clone(from, to));
	cop_release(from);
	cop_release(to);
	return id;
}

/* ---- Through the volume floor ---- */

struct tree_name
world_objects(void)
{
	return (struct tree_name){ .branch = BRANCH_MAIN, .kind = TREE_OBJECTS };
}

struct tree_name
world_tree(uint64_t object, enum tree_kind kind)
{
	return (struct tree_name){ .branch = BRANCH_MAIN, .object = object, .kind = kind };
}

static struct tx *
begin(struct world *w, struct volume_visit *visit)
{
	struct volume *volume = open_volume_below(w->volume);
	struct tx *tx;

	volume_enter(volume, visit);
	must(tx_begin(volume, visit, false, &tx));
	return tx;
}

static void
commit(struct world *w, struct volume_visit *visit, struct tx *tx)
{
	must(tx_commit(tx));
	volume_leave(open_volume_below(w->volume), visit);
}

void
world_put(struct world *w, struct tree_name name, struct view key, struct view value)
{
	struct volume_visit visit;
	struct tx *tx = begin(w, &visit);

	must(tx_put(tx, name, key, value));
	commit(w, &visit, tx);
}

void
world_delete(struct world *w, struct tree_name name, struct view key)
{
	struct volume_visit visit;
	struct tx *tx = begin(w, &visit);

	must(tx_delete(tx, name, key));
	commit(w, &visit, tx);
}

void
world_count_objects(struct world *w, int64_t change)
{
	struct volume_visit visit;
	struct tx *tx = begin(w, &visit);
	struct loaded_record loaded;
	uint8_t key[OBJECT_KEY_BYTES];
	uint8_t value[RECORD_BYTES_MAX];
	struct writer writer = writer_over(value, sizeof value);

	world_get_record(w, OBJECT_ROOT, &loaded);
	record_encode(&loaded.record, &writer);
	must(tx_put(tx, world_objects(), object_key(key, OBJECT_ROOT, KEY_RECORD),
		view_of(value, writer.at)));
	tx_count_objects(tx, change);
	commit(w, &visit, tx);
}

void
world_put_job(struct world *w, uint64_t number, const struct job *job)
{
	const struct tree_name catalog = { .kind = TREE_CATALOG };
	uint8_t key[CATALOG_KEY_BYTES];
	uint8_t value[JOB_BYTES_MAX];

	world_put(w, catalog, catalog_key(key, CATALOG_JOB, number), job_encode(job, value));
}

static size_t
get(struct world *w, struct view key, void *value, size_t capacity)
{
	struct volume *volume = open_volume_below(w->volume);
	struct volume_visit visit;
	struct tree *tree;
	size_t bytes;

	volume_enter(volume, &visit);
	must(volume_tree_open(volume, world_objects(), &tree));
	must(tree_get(tree, key, value, capacity, &bytes));
	volume_tree_release(volume, tree);
	volume_leave(volume, &visit);
	return bytes;
}

void
world_get_record(struct world *w, uint64_t id, struct loaded_record *out)
{
	uint8_t key[OBJECT_KEY_BYTES];
	size_t bytes = get(w, object_key(key, id, KEY_RECORD), out->value, sizeof out->value);

	must(record_decode(view_of(out->value, bytes), &out->record));
}

void
world_put_record(struct world *w, uint64_t id, const struct record *record)
{
	uint8_t key[OBJECT_KEY_BYTES];
	uint8_t value[RECORD_BYTES_MAX];
	struct writer writer = writer_over(value, sizeof value);

	record_encode(record, &writer);
	world_put(w, world_objects(), object_key(key, id, KEY_RECORD), view_of(value, writer.at));
}

void
world_get_root(struct world *w, uint64_t id, enum tree_kind kind, struct tree_root *out)
{
	uint8_t key[ROOT_KEY_BYTES];
	uint8_t value[ROOT_RECORD_BYTES];

	(void)get(w, root_key(key, id, kind), value, sizeof value);
	must(root_record_decode(value, out));
}

struct run
world_take(struct world *w, uint32_t blocks)
{
	struct volume_visit visit;
	struct tx *tx = begin(w, &visit);
	struct loaded_record loaded;
	uint8_t key[OBJECT_KEY_BYTES];
	uint8_t value[RECORD_BYTES_MAX];
	struct writer writer = writer_over(value, sizeof value);
	struct run run;

	/* A transaction that changes nothing might be left out: it puts what is there. */
	world_get_record(w, OBJECT_ROOT, &loaded);
	record_encode(&loaded.record, &writer);
	must(tx_put(tx, world_objects(), object_key(key, OBJECT_ROOT, KEY_RECORD),
		view_of(value, writer.at)));
	must(tx_admit(tx, blocks));
	must(tx_take(tx, SPACE_DATA, 0, blocks, &run));
	assert_int_equal(run.blocks, blocks);
	commit(w, &visit, tx);
	return run;
}

void
world_release(struct world *w, struct run run)
{
	struct volume_visit visit;
	struct tx *tx = begin(w, &visit);

	must(tx_release(tx, run));
	commit(w, &visit, tx);
}

struct extent
world_extent(struct world *w, uint64_t id, size_t n)
{
	struct loaded_record loaded;
	struct extent extent;
	struct reader r;

	world_get_record(w, id, &loaded);
	assert_int_equal(loaded.record.form, COP_FORM_EXTENTS);
	r = reader_over(loaded.record.content.data, loaded.record.content.bytes);
	for (size_t i = 0; i <= n; i++)
		must(extent_decode_listed(&r, &extent));
	return extent;
}

void
world_put_extents(struct world *w, uint64_t id, const struct extent *extents, size_t count)
{
	struct loaded_record loaded;
	uint8_t content[RECORD_CONTENT_MAX];
	struct writer writer = writer_over(content, sizeof content);

	world_get_record(w, id, &loaded);
	for (size_t i = 0; i < count; i++)
		extent_encode_listed(&extents[i], &writer);
	loaded.record.content = view_of(content, writer.at);
	world_put_record(w, id, &loaded.record);
}

/* ---- On the medium ---- */

static struct device *
open_reader(struct world *w)
{
	struct device *dev;

	must(sim_open(w->medium, DEVICE_READ_ONLY, &dev));
	return dev;
}

void
world_superblocks(struct world *w, struct superblock *out_newest, struct superblock *out_previous)
{
	struct device *dev = open_reader(w);

	must(volume_find_superblock(dev, out_newest, out_previous));
	device_close(dev);
}

void
world_flip(struct world *w, uint64_t block)
{
	must(sim_flip_bit(w->medium, block, 777));
}

void
world_put_superblock(struct world *w, const struct superblock *sb)
{
	uint8_t block[BLOCK_BYTES] = { 0 };
	struct geometry geometry;

	must(geometry_init(&geometry, sb->blocks, sb->ag_blocks, sb->journal_blocks));
	for (uint32_t place = 0; place < geometry_superblock_places(&geometry); place++) {
		struct superblock copy = *sb;

		copy.place = (uint16_t)place;
		superblock_encode(&copy, block);
		must(sim_poke(w->medium, geometry_superblock(&geometry, place, sb->slot), block));
	}
}

/* ---- Checking ---- */

static void
keep(void *context, const struct cop_problem *problem)
{
	struct world *w = context;
	struct found *found;

	if (w->found_count == FOUND_MAX)
		return;
	found = &w->found[w->found_count++];
	*found = (struct found){
		.class_ = problem->class_,
		.object = problem->object,
		.offset = problem->offset,
		.bytes = problem->bytes,
		.block = problem->block,
	};
	snprintf(found->path, sizeof found->path, "%s", problem->path ? problem->path : "");
	snprintf(found->text, sizeof found->text, "%s", problem->text);
}

void
world_check(struct world *w)
{
	struct cop_check_options options = COP_INIT(options);
	struct device *dev = open_reader(w);
	struct sim_stats before = sim_stats(w->medium);

	options.flags = w->flags;
	options.cache_bytes = COP_CACHE_BYTES_MIN;
	options.problem = keep;
	options.context = w;
	w->found_count = 0;
	w->result = (struct cop_check_result)COP_INIT(w->result);
	must(check__on(dev, &options, w->has_limits ? &w->limits : NULL, &w->result));
	assert_int_equal(sim_stats(w->medium).calls, before.calls); /* it writes nothing */
	device_close(dev);
}

void
world_print(const struct world *w)
{
	for (size_t i = 0; i < w->found_count; i++)
		fprintf(stderr,
			"# class %d, object %" PRIu64 " (%s), bytes %" PRIu64 "+%" PRIu64
			", block %" PRIu64 ": %s\n",
			(int)w->found[i].class_, w->found[i].object, w->found[i].path,
			w->found[i].offset, w->found[i].bytes, w->found[i].block, w->found[i].text);
}

void
world_expect_none(struct world *w)
{
	world_check(w);
	if (w->found_count > 0)
		world_print(w);
	assert_int_equal(w->found_count, 0);
	assert_int_equal(w->result.problems, 0);
}

const struct found *
world_expect_among(
	struct world *w, enum cop_problem_class class_, uint64_t object, const char *text)
{
	for (size_t i = 0; i < w->found_count; i++) {
		const struct found *found = &w->found[i];

		if (found->class_ == class_ && found->object == object && strstr(found->text, text))
			return found;
	}
	world_print(w);
	fail_msg("no problem of class %d, object %" PRIu64 ": %s", (int)class_, object, text);
	return NULL;
}

void
world_expect_one(struct world *w, enum cop_problem_class class_, uint64_t object, const char *text)
{
	world_check(w);
	(void)world_expect_among(w, class_, object, text);
	if (w->found_count != 1)
		world_print(w);
	assert_int_equal(w->found_count, 1);
	assert_int_equal(w->result.problems, 1);
}
