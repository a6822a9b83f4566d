/* Volumes as callers see them: opening, closing, making durable, telling. */

#include "object/open.h"

#include "base/thread.h"
#include "object/pages_internal.h"
#include "object/reclaim.h"
#include "space/geometry.h"

#include <assert.h>
#include <stdlib.h>

static const uint64_t cache_bytes_default = UINT64_C(256) << 20;
static const int64_t tick_ns = INT64_C(100000000);
static const int64_t look_after_ns = INT64_C(5000000000);

/* ---- The background thread ------------------------------------------------------------------- */

/* Have five seconds passed since the last look, or was the clock set back? */
static bool
is_time_to_look(struct cop_volume *volume, int64_t *looked_ns)
{
	int64_t now_ns = volume_now_ns(volume->volume);

	if (now_ns >= *looked_ns && now_ns - *looked_ns < look_after_ns)
		return false;
	*looked_ns = now_ns;
	return true;
}

/*
 * What is due ten times a second, and jobs a step at a time while there are any. A job that fails,
 * as where there is no room for its step, or that somebody else has in hand, is looked for again
 * with the next one that comes, and every five seconds: nobody tells when there is room again.
 */
static void *
background(void *context)
{
	struct cop_volume *volume = context;
	int64_t looked_ns = volume_now_ns(volume->volume);

	mutex_lock(&volume->lock);
	while (!volume->is_closing) {
		bool has_run = false;
		bool has_jobs;

		if (!volume->has_jobs)
			condition_wait_for(&volume->wake, &volume->lock, tick_ns);
		if (volume->is_closing)
			break;
		has_jobs = volume->has_jobs;
		volume->has_jobs = false;
		volume->is_working = true;
		mutex_unlock(&volume->lock);
		/* What fails is kept by the volume, and told to the next change or sync. */
		if (writeback_due(volume) != 0)
			err_clear();
		if (volume_tick(volume->volume) != 0)
			err_clear();
		if (is_time_to_look(volume, &looked_ns))
			has_jobs = true;
		if (has_jobs && jobs_run_step(volume, &has_run) != 0)
			err_clear();
		mutex_lock(&volume->lock);
		volume->has_jobs = volume->has_jobs || has_run;
		volume->is_working = false;
		volume->work_rounds++;
		condition_wake_all(&volume->changed);
	}
	mutex_unlock(&volume->lock);
	return NULL;
}

void
jobs_wait_for_round(struct cop_volume *volume)
{
	uint64_t rounds;

	mutex_lock(&volume->lock);
	rounds = volume->work_rounds;
	while (volume->is_working && volume->work_rounds == rounds)
		condition_wait(&volume->changed, &volume->lock);
	mutex_unlock(&volume->lock);
}

void
jobs_wake(struct cop_volume *volume)
{
	mutex_lock(&volume->lock);
	volume->has_jobs = true;
	condition_wake_all(&volume->wake);
	mutex_unlock(&volume->lock);
}

static int
start_thread(struct cop_volume *volume)
{
	int host = thread_start(&volume->thread, NULL, background, volume);

	if (host != 0)
		return fail_errno(host, "background thread");
	volume->has_thread = true;
	return 0;
}

static void
stop_thread(struct cop_volume *volume)
{
	mutex_lock(&volume->lock);
	volume->is_closing = true;
	condition_wake_all(&volume->wake);
	mutex_unlock(&volume->lock);
	if (volume->has_thread)
		(void)pthread_join(volume->thread, NULL); /* it is joinable and not ours */
	volume->has_thread = false;
}

/* ---- Opening --------------------------------------------------------------------------------- */

static int
make_handle(struct cop_volume **out_volume)
{
	struct cop_volume *volume = calloc(1, sizeof *volume);
	int err;

	if (!volume)
		return fail(COP_ENOMEM, "volume");
	err = mutex_init(&volume->lock, LOCK_HANDLES);
	if (err)
		goto undo_volume;
	err = condition_init(&volume->changed);
	if (err)
		goto undo_lock;
	err = condition_init(&volume->wake);
	if (err)
		goto undo_changed;
	err = gate_create(&volume->pages_gate);
	if (err)
		goto undo_wake;
	*out_volume = volume;
	return 0;

undo_wake:
	condition_fini(&volume->wake);
undo_changed:
	condition_fini(&volume->changed);
undo_lock:
	mutex_fini(&volume->lock);
undo_volume:
	free(volume);
	return err;
}

/* Frees all of it; the device goes back to who opened it. */
static void
free_handle(struct cop_volume *volume)
{
	handle_free_all(volume);
	volume_close(volume->volume);
	if (volume->owns_device)
		device_close(volume->dev);
	gate_free(volume->pages_gate);
	condition_fini(&volume->wake);
	condition_fini(&volume->changed);
	mutex_fini(&volume->lock);
	free(volume);
}

static int
check_options(const struct cop_open_options *options)
{
	if (options->cache_bytes != 0 && options->cache_bytes < COP_CACHE_BYTES_MIN)
		return fail(COP_EINVAL, "a cache of %" PRIu64 " bytes; the least is %" PRIu64,
			options->cache_bytes, COP_CACHE_BYTES_MIN);
	if (options->threads > 1)
		return fail(COP_EINVAL, "%" PRIu32 " background threads; 0 or 1 are possible",
			options->threads);
	return 0;
}

static int
open_below(struct cop_volume *volume, const struct cop_open_options *options, uint64_t dirty_bytes)
{
	struct volume_options below = {
		.read_only = options->read_only || device_is_read_only(volume->dev),
		.no_flush = options->no_flush,
		.accept_loss = options->accept_loss,
		.cache_bytes =
			options->cache_bytes == 0 ? cache_bytes_default : options->cache_bytes,
		.dirty_bytes = dirty_bytes,
		.random = options->random,
		.clock_ns = options->clock_ns,
		.context = options->context,
		.entry_run = extent_entry_run,
	};
	uint32_t node_bytes;
	int err;

	err = volume_open(volume->dev, &below, &volume->volume);
	if (err)
		return err;
	node_bytes = volume_node_bytes(volume->volume);
	volume->content_max = record_content_max(node_bytes);
	cached_budget_init(&volume->cached, below.cache_bytes);
	assert(RECORD_FIXED_BYTES + COP_NAME_BYTES_MAX + volume->content_max <=
		tree_value_bytes_max(node_bytes));
	err = volume_tree_open(
		volume->volume, (struct tree_name){ .kind = TREE_CATALOG }, &volume->catalog);
	if (err)
		return err;
	return volume_tree_open(volume->volume, objects_name(BRANCH_MAIN), &volume->objects);
}

/*
 * Where init was cut short after its first superblock, there is a volume without a root directory:
 * whoever may write goes on with it.
 */
static int
ensure_root(struct cop_volume *volume)
{
	if (volume->objects->root.levels > 0)
		return 0;
	if (!volume_is_read_only(volume->volume))
		return format_make_root(volume);
	return fail(
		COP_ENOTVOLUME, "%s: making the volume was not finished", device_name(volume->dev));
}

int
cop_open_tight_on(struct device *dev, const struct cop_open_options *options, uint64_t dirty_bytes,
	struct cop_volume **out_volume)
{
	struct cop_open_options given;
	struct cop_volume *volume = NULL;
	int err;

	public_copy_in(&given, options, sizeof given);
	err = check_options(&given);
	if (err)
		return err;
	err = make_handle(&volume);
	if (err)
		return err;
	volume->dev = dev;
	volume->write_through = given.write_through;
	err = open_below(volume, &given, dirty_bytes);
	if (err == 0)
		err = ensure_root(volume);
	if (err)
		goto out;
	if (!volume_is_read_only(volume->volume)) {
		reclaim_after_open(volume);
		if (given.threads > 0)
			err = start_thread(volume);
	}
	if (err)
		goto out;
	*out_volume = TAKE(volume);

out:
	if (volume)
		free_handle(volume);
	return err;
}

int
cop_open_on(
	struct device *dev, const struct cop_open_options *options, struct cop_volume **out_volume)
{
	return cop_open_tight_on(dev, options, 0, out_volume);
}

int
cop_open(const char *device, const struct cop_open_options *options, struct cop_volume **out_volume)
{
	struct cop_open_options given;
	struct device_options device_options = { 0 };
	struct device *dev;
	int err;

	public_copy_in(&given, options, sizeof given);
	if (given.read_only)
		device_options.flags = DEVICE_READ_ONLY | DEVICE_NO_LOCK;
	err = device_open(device, &device_options, &dev);
	if (err)
		return err;
	err = cop_open_on(dev, &given, out_volume);
	if (err) {
		device_close(dev);
		return err;
	}
	(*out_volume)->owns_device = true;
	return 0;
}

void
cop_abandon(struct cop_volume *volume)
{
	if (!volume)
		return;
	stop_thread(volume);
	free_handle(volume);
}

/*
 * On a host that has no room for the nodes, there is room for the journal, which was written when
 * the volume was made: all is durable, and the next opening replays it.
 */
static int
checkpoint_or_sync(struct cop_volume *volume)
{
	struct err_note why;
	int err = volume_checkpoint_clean(volume->volume);

	if (err != COP_ENOSPC)
		return err;
	err_keep(&why);
	if (volume_sync_journal(volume->volume) == 0) {
		err_clear();
		return 0;
	}
	err_put_back(&why);
	return err;
}

int
cop_close(struct cop_volume *volume)
{
	struct complaint complaint = { .err = 0 };
	int err = 0;

	if (!volume)
		return 0;
	stop_thread(volume);
	if (!volume_is_read_only(volume->volume)) {
		err = writeback_all(volume, false);
		if (complaint_take(&complaint, err))
			err = checkpoint_or_sync(volume);
	}
	free_handle(volume);
	return complaint_tell(&complaint, err);
}

/* ---- Timers and jobs ------------------------------------------------------------------------- */

/* A step takes nodes, most where a clone shares them: on a full volume it waits for room. */
static int
try_job_step(struct cop_volume *volume)
{
	bool has_run;
	int err = jobs_run_step(volume, &has_run);

	if (err != COP_ENOSPC)
		return err;
	err_clear();
	return volume_failed(volume->volume); /* by a device without room, which is for good */
}

int
cop_poll(struct cop_volume *volume, uint64_t *out_pending)
{
	struct complaint complaint = { .err = 0 };
	int err;

	if (volume_is_read_only(volume->volume)) {
		*out_pending = 0;
		return 0;
	}
	err = writeback_due(volume);
	if (complaint_take(&complaint, err))
		err = volume_tick(volume->volume);
	if (err == 0)
		err = try_job_step(volume);
	if (err == 0)
		err = jobs_count(volume, out_pending);
	return complaint_tell(&complaint, err);
}

/* ---- Telling --------------------------------------------------------------------------------- */

struct volume *
open_volume_below(struct cop_volume *volume)
{
	return volume->volume;
}

static int
info_of(const struct superblock *sb, const struct device *dev, struct cop_volume_info *out_info)
{
	struct geometry geometry;
	int err = geometry_init(&geometry, sb->blocks, sb->ag_blocks, sb->journal_blocks);

	if (err)
		return err;
	*out_info = (struct cop_volume_info){
		.format_version = SUPERBLOCK_VERSION,
		.volume_bytes = sb->blocks * BLOCK_BYTES,
		.device_bytes = device_blocks(dev) * BLOCK_BYTES,
		.block_bytes = BLOCK_BYTES,
		.node_bytes = sb->node_bytes,
		.metadata_copies = sb->metadata_copies,
		.ag_blocks = sb->ag_blocks,
		.ag_count = geometry.ag_count,
		.journal_bytes = sb->journal_blocks * BLOCK_BYTES,
		.generation = sb->generation,
		.created_ns = sb->created_ns,
		.checkpoint_ns = sb->checkpoint_ns,
		.incompat = sb->incompat,
		.ro_compat = sb->ro_compat,
		.compat = sb->compat,
		.flags = sb->flags &
			 (COP_VOLUME_ENCRYPTION | COP_VOLUME_COMPRESSION | COP_VOLUME_BOOT),
		.clean = (sb->flags & SUPERBLOCK_CLEAN) != 0,
	};
	memcpy(out_info->uuid, sb->uuid, sizeof out_info->uuid);
	memcpy(out_info->label, sb->label, sizeof out_info->label);
	return 0;
}

int
cop_volume_info(struct cop_volume *volume, struct cop_volume_info *out_info)
{
	struct cop_volume_info info;
	struct superblock sb;
	int err;

	volume_superblock(volume->volume, &sb);
	err = info_of(&sb, volume->dev, &info);
	if (err == 0)
		public_copy_out(out_info, &info, sizeof info);
	return err;
}

int
cop_probe_on(struct device *dev, struct cop_volume_info *out_info)
{
	struct cop_volume_info info;
	struct superblock newest;
	struct superblock previous;
	int err = volume_find_superblock(dev, &newest, &previous);

	if (err == 0)
		err = info_of(&newest, dev, &info);
	if (err == 0)
		public_copy_out(out_info, &info, sizeof info);
	return err;
}

int
cop_probe(const char *device, struct cop_volume_info *out_info)
{
	struct device_options options = { .flags = DEVICE_READ_ONLY | DEVICE_NO_LOCK };
	struct device *dev;
	int err = device_open(device, &options, &dev);

	if (err)
		return err;
	err = cop_probe_on(dev, out_info);
	device_close(dev);
	return err;
}

int
cop_space(struct cop_volume *volume, struct cop_space *out_space)
{
	struct space *below = volume_space(volume->volume);
	struct cop_space space = { 0 };
	struct superblock sb;

	volume_superblock(volume->volume, &sb);
	space.volume_bytes = sb.blocks * BLOCK_BYTES;
	space.free_bytes = space_free_blocks(below) * BLOCK_BYTES;
	space.used_bytes = space.volume_bytes - space.free_bytes;
	space.available_bytes = space_available_blocks(below) * BLOCK_BYTES;
	space.pending_bytes = space_pending_blocks(below) * BLOCK_BYTES;
	space.objects = volume_objects(volume->volume);
	space.closed_groups = space_closed_ags(below);
	public_copy_out(out_space, &space, sizeof space);
	return 0;
}

int
cop_stats(struct cop_volume *volume, struct cop_stats *out_stats)
{
	struct device_stats device = device_stats(volume->dev);
	struct cache_stats cache = cache_stats(volume_cache(volume->volume));
	struct volume_stats below = volume_stats(volume->volume);
	struct space_stats space = space_stats(volume_space(volume->volume));
	struct cop_stats stats = {
		.device_reads = device.reads,
		.device_writes = device.writes,
		.device_flushes = device.flushes,
		.device_read_bytes = device.read_bytes,
		.device_written_bytes = device.written_bytes,
		.device_syscalls = device.syscalls,
		.device_depth_max = device.in_flight_max,
		.cache_hits = cache.hits,
		.cache_misses = cache.misses,
		.cache_evictions = cache.evictions,
		.cache_bytes = cache.bytes,
		.cache_bytes_max = cache.bytes_max,
		.node_reads = atomic_load(&volume_tree_env(volume->volume)->node_reads),
		.nodes_written = below.nodes_written,
		.checkpoints = below.checkpoints,
		.transactions = below.transactions,
		.repairs = below.repairs,
		.syncs = below.syncs,
		.sync_flushes = below.sync_flushes,
		.sync_fua_writes = below.sync_fua,
		.journal_batches = below.journal_batches,
		.journal_bytes = below.journal_blocks * BLOCK_BYTES,
		.journal_pads = below.journal_pads,
		.journal_wraps = below.journal_wraps,
		.journal_marks = below.journal_marks,
		.held_back = below.held_back,
		.recoveries = below.recoveries,
		.replayed_transactions = below.replayed_transactions,
		.allocated_bytes = space.allocated_blocks * BLOCK_BYTES,
		.freed_bytes = space.freed_blocks * BLOCK_BYTES,
		.data_read_bytes = atomic_load(&volume->data_blocks_read) * BLOCK_BYTES,
		.data_written_bytes = below.data_blocks * BLOCK_BYTES,
		.share_lookups = below.share_lookups,
	};

	public_copy_out(out_stats, &stats, sizeof stats);
	return 0;
}
