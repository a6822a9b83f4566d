#include "volume/room_internal.h"

#include "base/clock.h"
#include "base/num.h"
#include "base/plant.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	NEWER_TRIES = 16,  /* checkpoints that a writer may make while a reader looks at one */
	VISIT_WAITS = 100, /* of visit_wait_ns each */
	VISIT_WAITS_PATIENT = 3000,
};

/* More than any opening counts up. */
#define NUMBERS_LEFT (UINT64_C(1) << 48)

static const int64_t visit_wait_ns = 10000000;

/* ---- Finding the superblock ------------------------------------------------------------------ */

/*
 * What a search has found. The four slots at the front are asked first; if none of them is good,
 * the places in AGs 1, 3 and 7 are tried for every size that an AG can have. All that is believed
 * must name the same volume as the newest one found at the first place that had any.
 */
struct search {
	struct device *dev;
	uint8_t *block;
	struct superblock seen[SUPERBLOCK_PLACES_MAX * SUPERBLOCK_RING];
	size_t seen_count;
	bool is_unread; /* there is a copy of which nothing is known: the device did not read it */
	int failed;     /* what ends the search: it could not be asked, for want of memory */
	int worst;      /* why one was not believed: the most telling error */
	char worst_text[128];
};

/* An unsupported volume is more telling than a damaged one, that more than none at all. */
static void
search_note(struct search *search, int err)
{
	static const int order[] = { COP_ENOTVOLUME, COP_EIO, COP_EFORMAT, COP_ECHECKSUM,
		COP_EUNSUPPORTED };
	size_t rank = 0;
	size_t worst_rank = 0;

	for (size_t i = 0; i < ARRAY_COUNT(order); i++) {
		if (order[i] == err)
			rank = i;
		if (order[i] == search->worst)
			worst_rank = i;
	}
	if (search->worst == 0 || rank > worst_rank) {
		search->worst = err;
		(void)snprintf(search->worst_text, sizeof search->worst_text, "%s", err_text());
	}
}

static const uint64_t place_ags[SUPERBLOCK_PLACES_MAX] = { 0, 1, 3, 7 };

static void
search_look(struct search *search, uint32_t ag_blocks, uint32_t place, uint32_t slot)
{
	uint64_t addr = place_ags[place] * ag_blocks + slot;
	struct superblock sb;
	int err;

	if (addr >= device_blocks(search->dev))
		return;
	err = device_read(search->dev, addr, search->block, 1);
	if (err)
		search->is_unread = true;
	if (err == COP_ENOMEM)
		search->failed = err;
	if (err == 0)
		err = superblock_decode(search->block, &sb);
	if (err == 0 && (sb.place != place || sb.slot != slot ||
				place_ags[place] * sb.ag_blocks + slot != addr))
		err = fail(COP_ECHECKSUM, "superblock of another place");
	if (err) {
		search_note(search, err);
		return;
	}
	if (search->seen_count > 0 && memcmp(sb.uuid, search->seen[0].uuid, sizeof sb.uuid) != 0)
		return; /* left over from an older volume */
	assert(search->seen_count < ARRAY_COUNT(search->seen));
	search->seen[search->seen_count++] = sb;
}

static void
search_place(struct search *search, uint32_t ag_blocks, uint32_t place)
{
	for (uint32_t slot = 0; slot < SUPERBLOCK_RING; slot++)
		search_look(search, ag_blocks, place, slot);
}

static void
search_everywhere(struct search *search)
{
	uint32_t ag_blocks;

	search_place(search, 0, 0);
	if (search->seen_count > 0) {
		ag_blocks = search->seen[0].ag_blocks;
		for (uint32_t place = 1; place < SUPERBLOCK_PLACES_MAX; place++)
			search_place(search, ag_blocks, place);
		return;
	}
	for (ag_blocks = AG_BLOCKS_MAX; ag_blocks >= AG_BLOCKS_MIN; ag_blocks /= 2) {
		for (uint32_t place = 1; place < SUPERBLOCK_PLACES_MAX; place++)
			search_place(search, ag_blocks, place);
		if (search->seen_count > 0)
			return;
	}
}

static int
search_failed(const struct search *search)
{
	const char *name = device_name(search->dev);

	switch (search->worst) {
	case COP_EUNSUPPORTED:
		return fail(COP_EUNSUPPORTED, "%s: unknown format or feature: %s", name,
			search->worst_text);
	case COP_ECHECKSUM:
	case COP_EFORMAT:
		return fail(COP_ECHECKSUM, "%s: every copy of the superblock is damaged", name);
	case COP_EIO:
		return fail(COP_EIO, "%s: no superblock can be read", name);
	default:
		return fail(COP_ENOTVOLUME, "%s: not a coppice volume", name);
	}
}

static int
find_superblocks(struct device *dev, struct superblock *out_newest, struct superblock *out_previous,
	bool *out_is_unread)
{
	struct search search = { .dev = dev };
	const struct superblock *newest;
	struct superblock previous = { 0 };

	search.block = block_buffer_alloc(1);
	if (!search.block)
		return fail(COP_ENOMEM, "superblock");
	search_everywhere(&search);
	free(search.block);
	if (search.failed)
		return fail(search.failed, "%s: superblock", device_name(dev));
	/* A newer coppice that has written one of the ring has changed what the others name. */
	if (search.seen_count == 0 || search.worst == COP_EUNSUPPORTED)
		return search_failed(&search);

	newest = &search.seen[0];
	for (size_t i = 1; i < search.seen_count; i++) {
		if (search.seen[i].generation > newest->generation)
			newest = &search.seen[i];
	}
	for (size_t i = 0; i < search.seen_count; i++) {
		if (newest->previous_generation != 0 &&
			search.seen[i].generation == newest->previous_generation)
			previous = search.seen[i];
	}
	err_clear();
	*out_newest = *newest;
	*out_previous = previous;
	*out_is_unread = search.is_unread;
	return 0;
}

int
volume_find_superblock(
	struct device *dev, struct superblock *out_newest, struct superblock *out_previous)
{
	bool ignored;

	return find_superblocks(dev, out_newest, out_previous, &ignored);
}

int
volume__write_superblock(struct device *dev, const struct geometry *geometry,
	const struct superblock *sb, uint8_t *blocks)
{
	uint32_t places = geometry_superblock_places(geometry);
	struct device_io ios[SUPERBLOCK_PLACES_MAX];
	struct device_io *batch[SUPERBLOCK_PLACES_MAX];
	int err = 0;

	assert(places <= SUPERBLOCK_PLACES_MAX);
	memset(blocks, 0, (size_t)SUPERBLOCK_PLACES_MAX * BLOCK_BYTES);
	for (uint32_t place = 0; place < places; place++) {
		struct superblock copy = *sb;
		uint8_t *block = blocks + (size_t)place * BLOCK_BYTES;

		copy.place = (uint16_t)place;
		superblock_encode(&copy, block);
		device_io_init(&ios[place], DEVICE_WRITE,
			geometry_superblock(geometry, place, sb->slot), 1, block);
		batch[place] = &ios[place];
	}
	device_submit(dev, batch, places);
	for (uint32_t place = 0; place < places; place++) {
		device_wait(dev, &ios[place]);
		if (ios[place].result != 0 && err == 0)
			err = fail(ios[place].result, "%s: writing the superblock: %s",
				device_name(dev), device_result_sentence(ios[place].result));
	}
	return err;
}

/* ---- Opening --------------------------------------------------------------------------------- */

int
volume__random(int (*random)(void *context, void *buffer, size_t bytes), void *context,
	struct rng *out_rng)
{
	uint64_t seed;
	int err;

	if (!random)
		return rng_seed_system(out_rng);
	err = random(context, &seed, sizeof seed);
	if (err)
		return fail(COP_EIO, "the caller's random numbers failed");
	rng_seed(out_rng, seed);
	return 0;
}

int64_t
volume__clock(int64_t (*clock_ns)(void *context), void *context)
{
	return clock_ns ? clock_ns(context) : clock_wall_ns();
}

static int
read_branch(struct tree *catalog, struct branch_record *out_branch)
{
	uint8_t key[CATALOG_KEY_BYTES];
	uint8_t value[BRANCH_RECORD_BYTES + BRANCH_NAME_BYTES_MAX];
	size_t bytes;
	int err;

	err = tree_get(catalog, catalog_key(key, CATALOG_BRANCH, BRANCH_MAIN), value, sizeof value,
		&bytes);
	if (err == COP_ENOENT || err == COP_ERANGE)
		err = fail(COP_EFORMAT, "no branch \"main\"");
	if (err == 0)
		err = branch_decode(view_of(value, bytes), out_branch);
	/* The checkpoint that changed it put it into the catalog. */
	if (err == 0 && out_branch->objects.pointer.birth > catalog->root.pointer.birth)
		err = fail(COP_EFORMAT, "object tree born in generation %" PRIu64,
			out_branch->objects.pointer.birth);
	if (err)
		return fail_in(err, "catalog");
	return 0;
}

static int
check_against_device(struct volume *volume, const struct superblock *sb)
{
	uint64_t have = device_blocks(volume->dev);

	if (sb->blocks > have)
		return fail(COP_EFORMAT,
			"%s: truncated: the volume has %" PRIu64 " bytes, the device %" PRIu64,
			device_name(volume->dev), sb->blocks * BLOCK_BYTES, have * BLOCK_BYTES);
	if ((sb->ro_compat & ~SUPERBLOCK_RO_COMPAT_KNOWN) != 0 && !volume->options.read_only)
		return fail(COP_EUNSUPPORTED,
			"%s: unknown features %#" PRIx64 " allow reading only",
			device_name(volume->dev), sb->ro_compat);
	return 0;
}

/* Everything that follows from the superblock, and from what the journal has seen since. */
static int
adopt_superblock(struct volume *volume, const struct recovery *recovery)
{
	const struct superblock *sb = &volume->newest;
	const struct journal_chain *chain = &recovery->chain;
	struct space_options space = {
		.dev = volume->dev,
		.node_blocks = sb->node_bytes / BLOCK_BYTES,
		.parameters = volume->parameters,
		.node_copies = sb->metadata_copies == 1 ? 1 : 2,
		.generation = sb->generation,
		.root = sb->allocation,
		.awaiting_blocks = sb->awaiting_blocks,
		.previous_generation = volume->previous.generation,
		.previous_root = volume->previous.allocation,
	};
	int err;

	err = geometry_init(&volume->geometry, sb->blocks, sb->ag_blocks, sb->journal_blocks);
	if (err)
		return err;
	/* A half-written generation of before a crash must not share its number with a new one. */
	space.open_generation = max_u64(recovery->generation, chain->generation) + 2;
	if (volume->may_have_newer)
		space.open_generation += 2; /* rewrite_superblock() takes the one below */
	if (planted(PLANT_GENERATION_REUSED))
		space.open_generation = sb->generation + 1;
	/* A reader overwrites nothing, so that it may replay wherever there is room in N. */
	if (volume->options.read_only)
		space.previous_generation = 0;
	space.geometry = volume->geometry;
	superblock_encode_parameters(sb, volume->parameters);
	memcpy(space.uuid, sb->uuid, sizeof space.uuid);
	err = space_open(&space, &volume->space);
	if (err)
		return err;

	volume->node_blocks = sb->node_bytes / BLOCK_BYTES;
	volume->metadata_copies = sb->metadata_copies;
	volume->name_seed = sb->name_seed;
	volume->env.cache = volume->cache;
	volume->env.node_bytes = sb->node_bytes;
	volume->env.device_blocks = sb->blocks;
	volume->env.hooks = &volume__hooks;
	volume->env.context = volume;
	memcpy(volume->env.uuid, sb->uuid, sizeof volume->env.uuid);
	atomic_store(&volume->generation, space.open_generation);
	/* A check says when a counter is too low; the reserved numbers are given out in no case. */
	atomic_store(&volume->next_object,
		max_u64(OBJECT_FIRST, max_u64(sb->next_object, chain->next_object)));
	atomic_store(&volume->next_job, max_u64(1, max_u64(sb->next_job, chain->next_job)));
	atomic_store(&volume->objects_count, (int64_t)sb->objects);
	volume__tree_init(
		volume, &volume->catalog, (struct tree_name){ .kind = TREE_CATALOG }, &sb->catalog);
	volume__shares_init(volume, sb);
	return 0;
}

static int
open_trees(struct volume *volume)
{
	struct volume_visit visit;
	int err;

	volume_enter(volume, &visit);
	err = read_branch(&volume->catalog.tree, &volume->branch);
	volume_leave(volume, &visit);
	if (err)
		return err;
	volume__tree_init(volume, &volume->objects,
		(struct tree_name){ .branch = BRANCH_MAIN, .kind = TREE_OBJECTS },
		&volume->branch.objects);
	return 0;
}

static int
init_locks(struct volume *volume)
{
	int err;

	err = mutex_init(&volume->state, LOCK_VOLUME_STATE);
	if (err)
		return err;
	err = mutex_init(&volume->visit_lock, LOCK_VISITS);
	if (err)
		goto undo_state;
	err = condition_init(&volume->state_changed);
	if (err)
		goto undo_visits;
	err = condition_init(&volume->visit_left);
	if (err)
		goto undo_condition;
	err = gate_create(&volume->gate);
	if (err)
		goto undo_visit_left;
	err = volume__queue_init(volume);
	if (err)
		goto undo_gate;
	return 0;

undo_gate:
	gate_free(volume->gate);
undo_visit_left:
	condition_fini(&volume->visit_left);
undo_condition:
	condition_fini(&volume->state_changed);
undo_visits:
	mutex_fini(&volume->visit_lock);
undo_state:
	mutex_fini(&volume->state);
	return err;
}

/* A reader beside a writer sees the newest checkpoint: the journal is the writer's. */
static bool
leaves_journal(const struct volume *volume)
{
	return volume->options.read_only &&
	       (volume->options.as_is || device_has_writer(volume->dev));
}

/* Space and trees of the newest superblock. */
static int
open_checkpoint(struct volume *volume, const struct recovery *recovery)
{
	int err;

	volume__repairs_fini(volume); /* of the trees that another checkpoint leads to */
	space_free_all(TAKE(volume->space));
	err = adopt_superblock(volume, recovery);
	return err ? err : open_trees(volume);
}

/* Is the journal whole from the predecessor's tail to the end? Then that has everything as well. */
static int
look_for_all_in_previous(struct volume *volume, struct recovery *recovery, bool *out_has_all)
{
	int err;

	volume__recovery_fini(recovery);
	err = volume__recovery_read(volume, true, recovery);
	*out_has_all = err == 0 && recovery->chain.has_previous && !recovery->chain.is_damaged;
	if (err == COP_ENOMEM)
		return err;
	err_clear();
	return 0;
}

/* The predecessor, and what of the journal goes on from there: for reading only. */
static int
read_from_previous(struct volume *volume, struct recovery *recovery)
{
	volume->newest = volume->previous;
	volume->previous = (struct superblock){ 0 };
	volume__recovery_fini(recovery);
	return volume__recovery_read(volume, true, recovery);
}

/*
 * Rules of commit 5, fallback: the newest superblock's trees are damaged. Its predecessor and the
 * journal since give the same state, if the chain between them is unbroken: then nothing that was
 * acknowledged is lost. Else the damage, `why`, is the answer; a reader sees what there is.
 */
static int
fall_back(struct volume *volume, struct recovery *recovery, int why)
{
	struct superblock newest = volume->newest;
	struct err_note note;
	bool has_all = false;
	int err;

	if (volume->previous.generation == 0 || leaves_journal(volume))
		return why;
	err_keep(&note);
	err = look_for_all_in_previous(volume, recovery, &has_all);
	if (err)
		return err;
	if (has_all) {
		recovery->chain.newest = 0;
		recovery->chain.has_previous = false;
		volume->newest = volume->previous;
		volume->previous = (struct superblock){ 0 };
	} else if (volume->options.read_only && volume->recovery_way != RECOVERY_PREVIOUS) {
		err = read_from_previous(volume, recovery);
	} else {
		err = why;
	}
	if (err == 0)
		err = open_checkpoint(volume, recovery);
	if (err) {
		volume->newest = newest;
		if (err == COP_ENOMEM)
			return err;
		err_put_back(&note);
		return why;
	}
	err_clear();
	volume->passed_over = newest;
	return 0;
}

/*
 * The newest checkpoint, or the one before it. A writer beside a reader may overwrite what that is
 * about to look at; then there is a newer one.
 */
static int
open_newest(struct volume *volume, struct recovery *recovery)
{
	uint64_t tried = 0;
	int err = 0;

	for (int tries = 0; tries < NEWER_TRIES; tries++) {
		struct superblock newest;
		struct superblock previous;
		int found =
			find_superblocks(volume->dev, &newest, &previous, &volume->may_have_newer);

		if (found)
			return found;
		if (tries > 0 && newest.generation <= tried)
			return err;
		tried = newest.generation;
		volume->newest = newest;
		volume->previous = previous;
		err = check_against_device(volume, &newest);
		if (err)
			return err;
		volume__recovery_fini(recovery);
		*recovery = (struct recovery){ .generation = newest.generation };
		if (!leaves_journal(volume))
			err = volume__recovery_read(volume, false, recovery);
		if (err)
			return err;
		if (volume->recovery_way == RECOVERY_PREVIOUS)
			return fall_back(volume, recovery,
				fail(COP_ENOSPC, "the journal cannot be replayed"));
		err = open_checkpoint(volume, recovery);
		if (err_is_damage(err))
			err = fall_back(volume, recovery, err);
		if (!volume->options.read_only || !err_is_damage(err))
			return err;
	}
	return err;
}

/* Is there room to count on? Nothing counts this far; were it written, it could not be read. */
static int
check_numbers(const struct volume *volume, const struct recovery *recovery)
{
	uint64_t highest = max_u64(recovery->chain.highest_sequence,
		max_u64(volume->newest.journal_sequence, volume->newest.next_branch));

	highest = max_u64(highest, atomic_load(&volume->generation));
	highest = max_u64(highest, atomic_load(&volume->next_object));
	highest = max_u64(highest, atomic_load(&volume->next_job));
	if (volume->options.read_only || highest < SUPERBLOCK_NUMBER_MAX - NUMBERS_LEFT)
		return 0;
	return fail(COP_EFORMAT,
		"%s: counts as far as %" PRIu64 ", which nothing does; it can only be read",
		device_name(volume->dev), highest);
}

static int
open_by(struct device *dev, const struct volume_options *options, enum recovery_way way,
	struct volume **out_volume, bool *out_met_damage)
{
	struct volume *volume = calloc(1, sizeof *volume);
	struct recovery recovery = { 0 };
	int err;

	if (!volume)
		return fail(COP_ENOMEM, "volume");
	volume->dev = dev;
	volume->options = *options;
	volume->recovery_way = way;
	err = init_locks(volume);
	if (err) {
		free(volume);
		return err;
	}
	/* Rules of commit 6, step 0: a process that was killed leaves its writes in a volatile
	 * cache; nothing read here may count as durable before a flush. */
	if (!options->read_only && !planted(PLANT_OPEN_WITHOUT_FLUSH)) {
		err = device_flush(dev);
		if (err)
			goto out;
	}
	err = volume__random(options->random, options->context, &volume->rng);
	if (err)
		goto out;
	err = cache_create(dev, options->cache_bytes, &volume->cache);
	if (err)
		goto out;
	volume->dirty_limit_bytes =
		options->dirty_bytes ? options->dirty_bytes : options->cache_bytes / 4;
	err = open_newest(volume, &recovery);
	if (err == 0)
		err = volume__recover(volume, &recovery);
	if (err == 0)
		err = check_numbers(volume, &recovery);
	if (err)
		goto out;
	gate_enter_exclusive(volume->gate);
	volume__update_reserve(volume);
	gate_leave_exclusive(volume->gate);
	if (!options->read_only)
		err = volume__ensure_standing(volume);
	if (err == COP_ENOSPC)
		err = 0; /* the first checkpoint asks again */
	if (err)
		goto out;
	*out_volume = TAKE(volume);

out:
	*out_met_damage = recovery.met_damage;
	volume__recovery_fini(&recovery);
	volume_close(volume);
	return err;
}

/*
 * After an opening by the predecessor has failed: may what cannot be read be given up? Not because
 * memory was short, or a write or flush failed: the next opening by it may succeed. And not without
 * a question where a read has failed, which may succeed the next time.
 */
static bool
may_give_up(int err, const struct device_stats *before, const struct device_stats *after,
	enum recovery_way *out_way)
{
	if (err == COP_ENOMEM || before->failed_writes != after->failed_writes)
		return false;
	*out_way = RECOVERY_ASKING;
	if (before->failed_reads != after->failed_reads)
		return true;
	*out_way = RECOVERY_LOSING;
	return err == COP_ENOSPC || err_is_damage(err);
}

/*
 * Where damage has closed the newest allocation tree, nothing can be replayed on it; nor can what
 * has to be changed in a node that is damaged. What the predecessor has lies elsewhere, and with
 * the journal since leads to the same state. If that is damaged as well, something is lost.
 */
int
volume_open(struct device *dev, const struct volume_options *options, struct volume **out_volume)
{
	struct device_stats before;
	struct device_stats after;
	enum recovery_way way;
	bool met_damage = false;
	bool ignored;
	int err;

	assert(options->entry_run || options->as_is);
	err = open_by(dev, options, RECOVERY_NEWEST, out_volume, &met_damage);
	if (!met_damage)
		return err;
	before = device_stats(dev);
	err = open_by(dev, options, RECOVERY_PREVIOUS, out_volume, &ignored);
	after = device_stats(dev);
	if (err != 0 && may_give_up(err, &before, &after, &way))
		err = open_by(dev, options, way, out_volume, &ignored);
	if (err == 0)
		err_clear();
	return err;
}

void
volume_close(struct volume *volume)
{
	if (!volume)
		return;
	assert(!volume->visit_first);
	for (size_t i = 0; i < VOLUME_BUCKETS; i++)
		assert(!volume->trees[i]);
	if (volume->space)
		volume__unreserve(volume, &volume->standing, &(struct reservation){ 0 }, NULL);
	volume__closing_fini(&volume->closing);
	volume__repairs_fini(volume);
	volume__shares_fini(volume);
	journal_free(volume->journal);
	space_free_all(volume->space);
	cache_free(volume->cache);
	gate_free(volume->gate);
	condition_fini(&volume->visit_left);
	volume__queue_fini(volume);
	condition_fini(&volume->state_changed);
	mutex_fini(&volume->visit_lock);
	mutex_fini(&volume->state);
	free(volume);
}

/* ---- Moving a reader on ---------------------------------------------------------------------- */

/*
 * A newer checkpoint that a reader moves to. All that the handle says of it is read first, through
 * trees of its own, and then changed under one hold of the gate, so that no operation meets the
 * roots of two checkpoints.
 */
struct newer {
	struct superblock sb;
	struct superblock previous;
	struct tree_env env;
	struct tree catalog;
	struct tree objects;
	struct branch_record branch;
};

/* Nobody else sees these trees, and they do not change. */
static void
newer_gate(void *context)
{
	(void)context;
}

static uint64_t
newer_generation(void *context)
{
	const struct newer *newer = context;

	return newer->sb.generation;
}

static const struct tree_hooks newer_hooks = {
	.enter = newer_gate,
	.leave = newer_gate,
	.generation = newer_generation,
};

static int
read_newer(struct volume *volume, struct newer *newer)
{
	int err;

	newer->env = (struct tree_env){
		.cache = volume->cache,
		.node_bytes = volume->env.node_bytes,
		.device_blocks = volume->env.device_blocks,
		.hooks = &newer_hooks,
		.context = newer,
	};
	memcpy(newer->env.uuid, volume->env.uuid, sizeof newer->env.uuid);
	newer->catalog = (struct tree){
		.env = &newer->env,
		.kind = TREE_CATALOG,
		.root = newer->sb.catalog,
	};
	err = read_branch(&newer->catalog, &newer->branch);
	if (err)
		return err;
	newer->objects = (struct tree){
		.env = &newer->env,
		.kind = TREE_OBJECTS,
		.root = newer->branch.objects,
	};
	return volume__trees_look_up(volume, &newer->objects, newer->sb.generation);
}

/* False: a tree was opened meanwhile, and has not been looked up. */
static bool
adopt_newer(struct volume *volume, const struct newer *newer)
{
	bool is_complete;

	mutex_lock(&volume->state);
	gate_enter_exclusive(volume->gate);
	is_complete = volume__trees_move(volume, newer->sb.generation);
	if (is_complete) {
		volume->catalog.tree.root = newer->sb.catalog;
		volume->branch = newer->branch;
		volume->objects.tree.root = newer->branch.objects;
		volume->newest = newer->sb;
		volume->previous = newer->previous;
		atomic_store(&volume->objects_count, (int64_t)newer->sb.objects);
		atomic_store(&volume->generation, newer->sb.generation + 2);
	}
	gate_leave_exclusive(volume->gate);
	mutex_unlock(&volume->state);
	return is_complete;
}

/* The turn is this thread's. True: it has moved on. */
static bool
move_on(struct volume *volume)
{
	uint64_t tried = volume->newest.generation;

	for (int tries = 0; tries < NEWER_TRIES; tries++) {
		struct newer newer;
		int err = volume_find_superblock(volume->dev, &newer.sb, &newer.previous);

		if (err || newer.sb.generation <= tried ||
			memcmp(newer.sb.uuid, volume->newest.uuid, sizeof newer.sb.uuid) != 0)
			return false;
		tried = newer.sb.generation;
		do
			err = read_newer(volume, &newer);
		while (err == 0 && !adopt_newer(volume, &newer));
		if (err == 0)
			return true;
	}
	return false;
}

bool
volume_refresh(struct volume *volume, const struct volume_visit *visit)
{
	bool has_moved;

	if (!volume->options.read_only)
		return false;
	mutex_lock(&volume->state);
	while (volume->turn_taken)
		condition_wait(&volume->state_changed, &volume->state);
	volume->turn_taken = true;
	mutex_unlock(&volume->state);

	/* Others may have done it since this operation began. */
	has_moved = volume_generation(volume) > visit->period || move_on(volume);

	mutex_lock(&volume->state);
	volume->turn_taken = false;
	condition_wake_all(&volume->state_changed);
	mutex_unlock(&volume->state);
	return has_moved;
}

/* ---- Visits ---------------------------------------------------------------------------------- */

void
volume_enter(struct volume *volume, struct volume_visit *visit)
{
	mutex_lock(&volume->visit_lock);
	visit->period = atomic_load(&volume->generation);
	visit->next = NULL;
	visit->previous = volume->visit_last;
	if (volume->visit_last)
		volume->visit_last->next = visit;
	else
		volume->visit_first = visit;
	volume->visit_last = visit;
	mutex_unlock(&volume->visit_lock);
}

void
volume_leave(struct volume *volume, struct volume_visit *visit)
{
	bool is_oldest;

	mutex_lock(&volume->visit_lock);
	is_oldest = !visit->previous;
	if (visit->previous)
		visit->previous->next = visit->next;
	else
		volume->visit_first = visit->next;
	if (visit->next)
		visit->next->previous = visit->previous;
	else
		volume->visit_last = visit->previous;
	/* Nobody waits for a newer one: many of them must not wear out his patience. */
	if (is_oldest && volume->visit_waiters > 0)
		condition_wake_all(&volume->visit_left);
	mutex_unlock(&volume->visit_lock);
}

static bool
has_visit_before(const struct volume *volume, uint64_t period)
{
	return volume->visit_first && volume->visit_first->period < period;
}

bool
volume__wait_for_visits(struct volume *volume, bool is_patient)
{
	int waits = is_patient ? VISIT_WAITS_PATIENT : VISIT_WAITS;
	uint64_t open = atomic_load(&volume->generation);
	bool has_some;

	lock_assert_none_held();
	mutex_lock(&volume->visit_lock);
	volume->visit_waiters++;
	for (int i = 0; i < waits && has_visit_before(volume, open); i++)
		condition_wait_for(&volume->visit_left, &volume->visit_lock, visit_wait_ns);
	volume->visit_waiters--;
	has_some = has_visit_before(volume, open);
	mutex_unlock(&volume->visit_lock);
	return !has_some;
}

/* ---- Telling --------------------------------------------------------------------------------- */

struct cache *
volume_cache(struct volume *volume)
{
	return volume->cache;
}

struct space *
volume_space(struct volume *volume)
{
	return volume->space;
}

struct tree_env *
volume_tree_env(struct volume *volume)
{
	return &volume->env;
}

void
volume_superblock(struct volume *volume, struct superblock *out_sb)
{
	mutex_lock(&volume->state);
	*out_sb = volume->newest;
	mutex_unlock(&volume->state);
}

void
volume_state(struct volume *volume, struct volume_state *out_state)
{
	struct volume_state state;

	volume_superblock(volume, &state.sb);
	gate_enter_shared(volume->gate);
	state.sb.generation = atomic_load(&volume->generation);
	state.sb.catalog = volume->catalog.tree.root;
	state.sb.next_object = atomic_load(&volume->next_object);
	state.sb.next_job = atomic_load(&volume->next_job);
	state.sb.objects = (uint64_t)atomic_load(&volume->objects_count);
	state.sb.shares = volume->shares.tree.tree.root;
	state.sb.share_stamp = atomic_load(&volume->shares.stamp);
	state.objects = volume->objects.tree.root;
	gate_leave_shared(volume->gate);
	*out_state = state;
}

bool
volume_is_read_only(const struct volume *volume)
{
	return volume->options.read_only;
}

uint32_t
volume_node_bytes(const struct volume *volume)
{
	return volume->env.node_bytes;
}

uint64_t
volume_cache_bytes(const struct volume *volume)
{
	return volume->options.cache_bytes;
}

uint64_t
volume_name_seed(const struct volume *volume)
{
	return volume->name_seed;
}

int64_t
volume_now_ns(struct volume *volume)
{
	return volume__clock(volume->options.clock_ns, volume->options.context);
}

uint64_t
volume_generation(struct volume *volume)
{
	return atomic_load(&volume->generation);
}

uint64_t
volume_objects(struct volume *volume)
{
	return (uint64_t)atomic_load(&volume->objects_count);
}

uint64_t
volume_next_object(struct volume *volume)
{
	return atomic_fetch_add(&volume->next_object, 1);
}

uint64_t
volume_next_job(struct volume *volume)
{
	return atomic_fetch_add(&volume->next_job, 1);
}

struct volume_stats
volume_stats(struct volume *volume)
{
	struct journal_stats journal = { 0 };

	if (volume->journal)
		journal = journal_stats(volume->journal);
	return (struct volume_stats){
		.checkpoints = atomic_load(&volume->checkpoints),
		.transactions = atomic_load(&volume->transactions),
		.nodes_written = atomic_load(&volume->nodes_written),
		.repairs = atomic_load(&volume->repairs),
		.journal_batches = journal.batches,
		.journal_blocks = journal.blocks,
		.syncs = journal.syncs,
		.sync_flushes = journal.flushes,
		.sync_fua = journal.fua_writes,
		.journal_pads = journal.pads,
		.journal_wraps = journal.wraps,
		.journal_marks = journal.marks,
		.held_back = journal.held_back,
		.data_blocks = atomic_load(&volume->data_blocks),
		.recoveries = atomic_load(&volume->recoveries),
		.replayed_transactions = atomic_load(&volume->replayed),
		.share_lookups = atomic_load(&volume->share_lookups),
		.left_out_messages = atomic_load(&volume->left_out),
	};
}
