/*
 * Runs the smallest journal round and round.
 *
 * usage: wraps WRAPS [SEED]
 *
 * A few dozen files change at random in a volume of 8 MiB with a journal of 64 blocks, on a
 * simulated disk. Now and then the volume is closed, or the program dies, or the power goes, with
 * any of the writes that no flush had covered. After each opening every file is what it was after
 * the last sync or one of the changes since, and every few openings `check` proves the volume.
 */

#include "base/num.h"
#include "base/random.h"
#include "object/open.h"
#include "support/die.h"
#include "support/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	JOURNAL_BYTES = 256 << 10,
	FILES = 24,
	CONTENT_BYTES_MAX = 9000,
	CHANGES_MAX = 24, /* without a sync */
	OPENING_CHANGES = 700,
	CHECK_EVERY = 10, /* openings */
};

/* What is known of a name; two of the same file have the same seed. */
struct file {
	bool is_there;
	uint32_t mode;
	uint64_t bytes;
	uint64_t seed; /* of the content */
};

struct state {
	struct file files[FILES];
};

struct laps {
	struct world world;
	struct sim_medium *medium;
	struct cop_object *root;
	struct rng rng;
	uint64_t openings;

	/* After the last sync, and after each change since. */
	struct state states[CHANGES_MAX + 1];
	size_t changes;

	uint64_t wraps;
	uint64_t transactions;
	uint64_t cuts;
	uint64_t kills;
	uint64_t checks;
	uint64_t undone; /* changes that a cut took back */
};

static void
name_of(size_t index, char out[static 16])
{
	(void)snprintf(out, 16, "file %zu", index);
}

static void
content_of(uint64_t seed, uint8_t *out, size_t bytes)
{
	struct rng rng;

	rng_seed(&rng, seed);
	rng_bytes(&rng, out, bytes);
}

/* ---- Changes --------------------------------------------------------------------------------- */

static struct cop_object *
find(struct laps *laps, size_t index)
{
	struct cop_object *object;
	char name[16];

	name_of(index, name);
	must(cop_lookup(laps->root, name, strlen(name), &object), name);
	return object;
}

static void
sync_volume(struct laps *laps)
{
	must(cop_sync(laps->world.volume), "sync");
	laps->states[0] = laps->states[laps->changes];
	laps->changes = 0;
}

static struct state *
next_state(struct laps *laps)
{
	if (laps->changes == CHANGES_MAX)
		sync_volume(laps);
	laps->changes++;
	laps->states[laps->changes] = laps->states[laps->changes - 1];
	return &laps->states[laps->changes];
}

static void
create(struct laps *laps, size_t index)
{
	struct state *state = next_state(laps);
	struct cop_new new = COP_INIT(new);
	char name[16];

	new.kind = COP_FILE;
	new.mode = (uint32_t)rng_below(&laps->rng, 01000);
	name_of(index, name);
	must(cop_create(laps->root, name, strlen(name), &new, NULL), name);
	state->files[index] = (struct file){ .is_there = true, .mode = new.mode };
}

/* Buffered data is promised only by a sync, so one follows. */
static void
write_content(struct laps *laps, size_t index)
{
	struct state *state = next_state(laps);
	struct file *file = &state->files[index];
	struct cop_object *object = find(laps, index);
	uint8_t content[CONTENT_BYTES_MAX];
	size_t written;

	file->seed = rng_next(&laps->rng);
	file->bytes = 1 + rng_below(&laps->rng, CONTENT_BYTES_MAX);
	content_of(file->seed, content, file->bytes);
	must(cop_set_length(object, 0), "truncate");
	must(cop_write(object, 0, content, file->bytes, &written), "write");
	cop_release(object);
	sync_volume(laps);
}

static void
set_mode(struct laps *laps, size_t index)
{
	struct state *state = next_state(laps);
	struct cop_attr attr = COP_INIT(attr);
	struct cop_object *object = find(laps, index);

	attr.mode = (uint32_t)rng_below(&laps->rng, 01000);
	must(cop_set_attr(object, &attr, COP_SET_MODE), "mode");
	state->files[index].mode = attr.mode;
	cop_release(object);
}

static void
rename_over(struct laps *laps, size_t from, size_t to)
{
	struct state *state = next_state(laps);
	char old[16];
	char new[16];

	name_of(from, old);
	name_of(to, new);
	must(cop_rename(laps->root, old, strlen(old), laps->root, new, strlen(new), 0), "rename");
	state->files[to] = state->files[from];
	state->files[from] = (struct file){ 0 };
}

static void
remove_file(struct laps *laps, size_t index)
{
	struct state *state = next_state(laps);
	char name[16];

	name_of(index, name);
	must(cop_unlink(laps->root, name, strlen(name), 0), "unlink");
	state->files[index] = (struct file){ 0 };
}

static void
change(struct laps *laps)
{
	size_t index = rng_below(&laps->rng, FILES);
	size_t other = rng_below(&laps->rng, FILES);

	if (!laps->states[laps->changes].files[index].is_there) {
		create(laps, index);
		return;
	}
	switch (rng_below(&laps->rng, 8)) {
	case 0:
		remove_file(laps, index);
		break;
	case 1:
	case 2:
		if (other != index)
			rename_over(laps, index, other);
		else
			write_content(laps, index);
		break;
	case 3:
	case 4:
	case 5:
		write_content(laps, index);
		break;
	default:
		set_mode(laps, index);
	}
	if (rng_below(&laps->rng, 2) == 0)
		sync_volume(laps);
}

/* ---- Openings -------------------------------------------------------------------------------- */

static bool
has_content(struct cop_object *object, const struct file *file)
{
	uint8_t want[CONTENT_BYTES_MAX];
	uint8_t got[CONTENT_BYTES_MAX + 1];
	size_t bytes;

	must(cop_read(object, 0, got, sizeof got, &bytes), "read");
	if (bytes != file->bytes)
		return false;
	content_of(file->seed, want, bytes);
	return memcmp(got, want, bytes) == 0;
}

static bool
shows_file(struct laps *laps, size_t index, const struct file *file)
{
	struct cop_attr attr = COP_INIT(attr);
	struct cop_object *object;
	char name[16];
	bool is_same;
	int err;

	name_of(index, name);
	err = cop_lookup(laps->root, name, strlen(name), &object);
	if (err == COP_ENOENT)
		return !file->is_there;
	must(err, name);
	must(cop_stat(object, &attr), "stat");
	is_same = file->is_there && attr.mode == file->mode && attr.length == file->bytes &&
		  has_content(object, file);
	cop_release(object);
	return is_same;
}

static bool
shows(struct laps *laps, const struct state *state)
{
	for (size_t i = 0; i < FILES; i++) {
		if (!shows_file(laps, i, &state->files[i]))
			return false;
	}
	return true;
}

/* The newest state that the volume shows, of those that it may. */
static void
compare(struct laps *laps)
{
	size_t found = laps->changes;

	while (found > 0 && !shows(laps, &laps->states[found]))
		found--;
	if (found == 0 && !shows(laps, &laps->states[0]))
		die("opening %" PRIu64 ": not what it was after the last sync or a change since",
			laps->openings);
	laps->undone += laps->changes - found;
	laps->states[0] = laps->states[found];
	laps->changes = 0;
}

static void
open_volume(struct laps *laps)
{
	struct world_options options = {
		.seed = rng_next(&laps->rng),
		.now_ns = INT64_C(1700000000000000000),
	};

	laps->openings++;
	must(world_open(&laps->world, laps->medium, &options), "open");
	must(cop_root(laps->world.volume, NULL, &laps->root), "root");
}

static void
lose_power(struct laps *laps)
{
	laps->cuts++;
	sim_power_off(laps->medium);
	world_abandon(&laps->world);
	sim_power_on(laps->medium, sim_choose_random, &laps->rng);
}

static void
end_opening(struct laps *laps)
{
	struct volume_stats stats = volume_stats(open_volume_below(laps->world.volume));

	laps->wraps += stats.journal_wraps;
	laps->transactions += stats.transactions;
	cop_release(laps->root);
	switch (rng_below(&laps->rng, 4)) {
	case 0:
		must(world_close(&laps->world), "close");
		laps->states[0] = laps->states[laps->changes];
		laps->changes = 0;
		break;
	case 1:
		laps->kills++;
		world_abandon(&laps->world);
		break;
	default:
		lose_power(laps);
	}
}

static void
check_volume(struct laps *laps)
{
	struct world_check check = { .result = COP_INIT(check.result) };

	laps->checks++;
	must(world_check(laps->medium, &check), "check");
	for (size_t i = 0; i < WORLD_CLASSES; i++) {
		if (check.first[i][0])
			die("opening %" PRIu64 ": %s", laps->openings, check.first[i]);
	}
}

static void
format(struct laps *laps)
{
	struct cop_format_options options = COP_INIT(options);
	struct device *dev;

	options.journal_bytes = JOURNAL_BYTES;
	must(sim_create(WORLD_BYTES, 1, &laps->medium), "medium");
	must(sim_open(laps->medium, 0, &dev), "device");
	must(cop_format_on(dev, &options), "format");
	device_close(dev);
}

int
main(int argc, char **argv)
{
	struct laps *laps = calloc(1, sizeof *laps);
	uint64_t wanted;
	uint64_t seed;

	if (argc < 2 || !laps) {
		(void)fprintf(stderr, "usage: wraps WRAPS [SEED]\n");
		return 2;
	}
	wanted = strtoull(argv[1], NULL, 10);
	seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	rng_seed(&laps->rng, seed);
	format(laps);
	while (laps->wraps < wanted) {
		open_volume(laps);
		compare(laps);
		for (uint64_t i = rng_below(&laps->rng, OPENING_CHANGES); i > 0; i--)
			change(laps);
		end_opening(laps);
		if (laps->openings % CHECK_EVERY == 0)
			check_volume(laps);
	}
	open_volume(laps);
	compare(laps);
	cop_release(laps->root);
	must(world_close(&laps->world), "close");
	check_volume(laps);
	sim_free(laps->medium);
	(void)printf("seed %" PRIu64 ": %" PRIu64 " wraps, %" PRIu64 " transactions, %" PRIu64
		     " openings after %" PRIu64 " power cuts and %" PRIu64 " kills, %" PRIu64
		     " changes undone, %" PRIu64 " checks\n",
		seed, laps->wraps, laps->transactions, laps->openings, laps->cuts, laps->kills,
		laps->undone, laps->checks);
	free(laps);
	return 0;
}
