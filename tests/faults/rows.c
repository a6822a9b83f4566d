#include "faults/stage.h"

#include "base/checksum.h"
#include "base/num.h"
#include "check/check.h"
#include "check/dump.h"
#include "functions.h"
#include "object/open.h"
#include "support/world.h"

#include <string.h>

#define ROW(function_, class_, prepare_)                                           \
	static int call_##function_(struct stage *stage);                          \
	static const struct row row_##function_ = {                                \
		.class = (class_), .prepare = (prepare_), .call = call_##function_ \
	};                                                                         \
	static int call_##function_(struct stage *stage)

static void
tell(struct stage *stage, const void *data, size_t bytes)
{
	stage->answer = hash64(data, bytes, stage->answer);
}

static int
tell_number(struct stage *stage, int err, uint64_t number)
{
	if (!err)
		tell(stage, &number, sizeof number);
	return err;
}

static void
fill(struct stage *stage, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		stage->buffer[i] = (uint8_t)(1 + i % 251);
}

void
stage_release(struct stage *stage)
{
	for (int i = 0; i < STAGE_OBJECTS; i++)
		cop_release(TAKE(stage->objects[i]));
	cop_release(TAKE(stage->result));
}

/* ---- Texts and handles: nothing in them can fail -------------------------------------------- */

ROW(cop_error_text, ROW_CANNOT, NULL)
{
	return tell_number(stage, 0, cop_error_text() != NULL);
}

ROW(cop_error_name, ROW_CANNOT, NULL)
{
	tell(stage, cop_error_name(COP_EIO), strlen("COP_EIO"));
	return 0;
}

ROW(cop_error_sentence, ROW_CANNOT, NULL)
{
	return tell_number(stage, 0, strlen(cop_error_sentence(COP_EIO)));
}

ROW(cop_error_errno, ROW_CANNOT, NULL)
{
	return tell_number(stage, 0, (uint64_t)cop_error_errno(COP_EIO));
}

ROW(cop_hold, ROW_CANNOT, NULL)
{
	stage->result = cop_hold(stage->objects[EXTENTS]);
	return 0;
}

ROW(cop_id, ROW_CANNOT, NULL)
{
	return tell_number(stage, 0, cop_id(stage->objects[EXTENTS]));
}

ROW(cop_volume_of, ROW_CANNOT, NULL)
{
	return tell_number(stage, 0, cop_volume_of(stage->objects[EXTENTS]) == stage->volume);
}

static int
unlink_open_tree(struct stage *stage)
{
	return cop_unlink(stage->objects[ROOT], "tree", 4, COP_UNLINK_FILE);
}

/* The last handle of a nameless object: frees it, or leaves that to the next opening. */
ROW(cop_release, ROW_CANNOT, unlink_open_tree)
{
	cop_release(TAKE(stage->objects[TREE]));
	return 0;
}

/* ---- Volumes -------------------------------------------------------------------------------- */

static int
close_volume(struct stage *stage)
{
	stage_release(stage);
	return cop_close(TAKE(stage->volume));
}

ROW(cop_format, ROW_FORMATS, close_volume)
{
	struct cop_format_options options = COP_INIT(options);

	options.volume_bytes = WORLD_BYTES;
	return stage->by_name ? cop_format(stage->new_url, &options)
			      : cop_format_on(stage->dev, &options);
}

ROW(cop_open, ROW_READS, close_volume)
{
	return stage->by_name ? cop_open(stage->url, &stage->open_options, &stage->volume)
			      : cop_open_on(stage->dev, &stage->open_options, &stage->volume);
}

ROW(cop_probe, ROW_READS, close_volume)
{
	struct cop_volume_info info = COP_INIT(info);
	int err = stage->by_name ? cop_probe(stage->url, &info) : cop_probe_on(stage->dev, &info);

	return tell_number(stage, err, info.volume_bytes);
}

ROW(cop_survey, ROW_READS, close_volume)
{
	struct cop_survey survey = COP_INIT(survey);
	int err = stage->by_name ? cop_survey(stage->url, &survey)
				 : cop_survey_on(stage->dev, &survey);

	if (!err && survey.closed_groups > 0)
		return COP_EIO; /* what cannot be read it has told */
	return tell_number(stage, err, survey.groups);
}

ROW(cop_check, ROW_READS, close_volume)
{
	struct cop_check_options options = COP_INIT(options);
	struct cop_check_result result = COP_INIT(result);
	int err;

	options.cache_bytes = COP_CACHE_BYTES_MIN;
	err = stage->by_name ? cop_check(stage->url, &options, &result)
			     : cop_check_on(stage->dev, &options, &result);
	if (!err && result.problems > 0)
		return COP_EIO; /* what cannot be read is a problem that it has found */
	return tell_number(stage, err, result.objects);
}

static bool
tell_item(void *context, const struct cop_dump_item *item)
{
	tell(context, &item->number, sizeof item->number);
	tell(context, item->data, item->bytes);
	return true;
}

/* All that is to be seen, but the inside of single trees and blocks. */
ROW(cop_dump, ROW_READS, close_volume)
{
	static const enum cop_dump_what whats[] = { COP_DUMP_SUPERBLOCKS, COP_DUMP_TREES,
		COP_DUMP_TREE, COP_DUMP_JOURNAL, COP_DUMP_OBJECT, COP_DUMP_GROUPS };
	struct cop_dump_options options = COP_INIT(options);
	struct cop_dump_result result = COP_INIT(result);
	int err = 0;

	options.cache_bytes = COP_CACHE_BYTES_MIN;
	options.tree = COP_DUMP_OBJECTS;
	options.number = 1;
	options.item = tell_item;
	options.context = stage;
	for (size_t i = 0; err == 0 && i < ARRAY_COUNT(whats); i++) {
		options.what = whats[i];
		err = stage->by_name ? cop_dump(stage->url, &options, &result)
				     : cop_dump_on(stage->dev, &options, &result);
		if (!err && result.problems > 0)
			err = COP_EIO; /* what cannot be read is told, and left out */
	}
	return err;
}

/* Something to make durable. */
static int
change_much(struct stage *stage)
{
	size_t written;
	int err;

	fill(stage, 30000);
	err = cop_write(stage->objects[EXTENTS], 4000, stage->buffer, 30000, &written);
	if (!err)
		err = cop_unlink(stage->objects[DIRECTORY], "f", 1, COP_UNLINK_FILE);
	return err;
}

ROW(cop_sync, ROW_CHECKPOINT, change_much)
{
	return cop_sync(stage->volume);
}

ROW(cop_sync_object, ROW_CHECKPOINT, change_much)
{
	return cop_sync_object(stage->objects[EXTENTS]);
}

/* Orders only: what it has put in order is made durable here. */
ROW(cop_barrier, ROW_CHECKPOINT, change_much)
{
	int err = cop_barrier(stage->volume);

	return err ? err : cop_sync(stage->volume);
}

ROW(cop_settle, ROW_CHECKPOINT, change_much)
{
	return cop_settle(stage->volume);
}

ROW(cop_close, ROW_CHECKPOINT, change_much)
{
	return close_volume(stage);
}

/* One change: data that waits to be written back would come after a change of names. */
static int
change_a_name(struct stage *stage)
{
	return cop_unlink(stage->objects[DIRECTORY], "f", 1, COP_UNLINK_FILE);
}

ROW(cop_poll, ROW_CHANGES, change_a_name)
{
	uint64_t pending;

	return cop_poll(stage->volume, &pending);
}

ROW(cop_abandon, ROW_CANNOT, NULL)
{
	stage_release(stage);
	cop_abandon(TAKE(stage->volume));
	return 0;
}

ROW(cop_volume_info, ROW_READS, NULL)
{
	struct cop_volume_info info = COP_INIT(info);
	int err = cop_volume_info(stage->volume, &info);

	return tell_number(stage, err, info.generation);
}

ROW(cop_space, ROW_READS, NULL)
{
	struct cop_space space = COP_INIT(space);
	int err = cop_space(stage->volume, &space);

	return tell_number(stage, err, space.used_bytes);
}

ROW(cop_stats, ROW_READS, NULL)
{
	struct cop_stats stats = COP_INIT(stats);

	return cop_stats(stage->volume, &stats);
}

/* ---- Objects -------------------------------------------------------------------------------- */

ROW(cop_stat, ROW_READS, NULL)
{
	struct cop_attr attr = COP_INIT(attr);
	int err = cop_stat(stage->objects[EXTENTS], &attr);

	return tell_number(stage, err, attr.length);
}

ROW(cop_set_attr, ROW_CHANGES, NULL)
{
	struct cop_attr attr = COP_INIT(attr);

	attr.mode = 0123;
	attr.uid = 77;
	return cop_set_attr(stage->objects[EXTENTS], &attr, COP_SET_MODE | COP_SET_UID);
}

ROW(cop_root, ROW_READS, NULL)
{
	return cop_root(stage->volume, "main", &stage->result);
}

ROW(cop_allocate, ROW_CHANGES, NULL)
{
	struct cop_new new = COP_INIT(new);

	new.kind = COP_SYMLINK;
	new.target = "somewhere";
	new.target_bytes = 9;
	return cop_allocate(stage->objects[ROOT], &new, &stage->result);
}

ROW(cop_get, ROW_READS, NULL)
{
	return cop_get(stage->objects[ROOT], cop_id(stage->objects[EXTENTS]), &stage->result);
}

ROW(cop_ref, ROW_CHANGES, NULL)
{
	return cop_ref(stage->objects[EXTENTS]);
}

static int
add_reference(struct stage *stage)
{
	return cop_ref(stage->objects[EXTENTS]);
}

ROW(cop_unref, ROW_CHANGES, add_reference)
{
	return cop_unref(stage->objects[EXTENTS]);
}

/* ---- Content -------------------------------------------------------------------------------- */

ROW(cop_read, ROW_READS, NULL)
{
	size_t bytes = 0;
	int err = cop_read(stage->objects[TREE], 100, stage->buffer, 100000, &bytes);

	if (!err)
		tell(stage, stage->buffer, bytes);
	return err;
}

ROW(cop_write, ROW_CHANGES, NULL)
{
	size_t written;

	fill(stage, 50000);
	return cop_write(stage->objects[TREE], 5000, stage->buffer, 50000, &written);
}

ROW(cop_set_length, ROW_CHANGES, NULL)
{
	return cop_set_length(stage->objects[TREE], 50001);
}

ROW(cop_punch, ROW_CHANGES, NULL)
{
	return cop_punch(stage->objects[TREE], 100, 99000);
}

ROW(cop_preallocate, ROW_CHANGES, NULL)
{
	return cop_preallocate(stage->objects[EXTENTS], 0, 80000, true);
}

ROW(cop_seek_data, ROW_READS, NULL)
{
	uint64_t offset = 0;
	int err = cop_seek_data(stage->objects[TREE], 4096, &offset);

	return tell_number(stage, err, offset);
}

ROW(cop_seek_hole, ROW_READS, NULL)
{
	uint64_t offset = 0;
	int err = cop_seek_hole(stage->objects[TREE], 8192, &offset);

	return tell_number(stage, err, offset);
}

ROW(cop_map, ROW_READS, NULL)
{
	struct cop_extent extent = COP_INIT(extent);
	int err = cop_map(stage->objects[TREE], UINT64_C(8192) * 20, &extent);

	return tell_number(stage, err, extent.block);
}

/* ---- Extended attributes -------------------------------------------------------------------- */

ROW(cop_xattr_get, ROW_READS, NULL)
{
	size_t bytes = 0;
	int err = cop_xattr_get(
		stage->objects[EXTENTS], "user.large", stage->buffer, sizeof stage->buffer, &bytes);

	if (!err)
		tell(stage, stage->buffer, bytes);
	return err;
}

ROW(cop_xattr_set, ROW_CHANGES, NULL)
{
	fill(stage, 20000);
	return cop_xattr_set(
		stage->objects[EXTENTS], "user.large", stage->buffer, 20000, COP_XATTR_REPLACE);
}

ROW(cop_xattr_remove, ROW_CHANGES, NULL)
{
	return cop_xattr_remove(stage->objects[EXTENTS], "user.large");
}

ROW(cop_xattr_list, ROW_READS, NULL)
{
	size_t bytes = 0;
	int err = cop_xattr_list(
		stage->objects[EXTENTS], (char *)stage->buffer, sizeof stage->buffer, &bytes);

	if (!err)
		tell(stage, stage->buffer, bytes);
	return err;
}

/* ---- Names ---------------------------------------------------------------------------------- */

ROW(cop_lookup, ROW_READS, NULL)
{
	return cop_lookup(stage->objects[DIRECTORY], "name 17", 7, &stage->result);
}

ROW(cop_create, ROW_CHANGES, NULL)
{
	struct cop_new new = COP_INIT(new);

	new.kind = COP_FILE;
	new.mode = 0644;
	return cop_create(stage->objects[DIRECTORY], "created", 7, &new, &stage->result);
}

ROW(cop_link, ROW_CHANGES, NULL)
{
	return cop_link(stage->objects[INLINE], stage->objects[DIRECTORY], "linked", 6);
}

ROW(cop_unlink, ROW_CHANGES, NULL)
{
	cop_release(TAKE(stage->objects[TREE]));
	return unlink_open_tree(stage);
}

ROW(cop_rename, ROW_CHANGES, NULL)
{
	return cop_rename(stage->objects[ROOT], "inline", 6, stage->objects[DIRECTORY], "f", 1, 0);
}

ROW(cop_readlink, ROW_READS, NULL)
{
	size_t bytes = 0;
	int err = cop_readlink(
		stage->objects[SYMLINK], (char *)stage->buffer, sizeof stage->buffer, &bytes);

	if (!err)
		tell(stage, stage->buffer, bytes);
	return err;
}

static bool
tell_entry(void *context, const struct cop_entry *entry)
{
	tell(context, entry->name, entry->name_bytes);
	return true;
}

ROW(cop_list, ROW_READS, NULL)
{
	uint64_t cookie = 0;
	int err = 0;

	while (!err && cookie != UINT64_MAX)
		err = cop_list(stage->objects[DIRECTORY], cookie, tell_entry, stage, &cookie);
	return err;
}

ROW(cop_walk, ROW_READS, NULL)
{
	return cop_walk(stage->objects[ROOT], "/d/../d/sub/.././f", 0, &stage->result);
}

/* ---- Beside a job ---------------------------------------------------------------------------- */

#define BESIDE_A_JOB(row_)                                               \
	row_(punch_elsewhere) row_(cut_elsewhere) row_(cut_in_the_range) \
		row_(preallocate_in_the_range) row_(remove_the_object) row_(step_of_the_job)

ROW(punch_elsewhere, ROW_CHANGES, NULL)
{
	return cop_punch(stage->objects[FREED], (STAGE_FREED + 5) * 8192, 30 * 8192);
}

ROW(cut_elsewhere, ROW_CHANGES, NULL)
{
	return cop_set_length(stage->objects[FREED], (STAGE_FREED + 5) * 8192 + 10);
}

ROW(cut_in_the_range, ROW_CHANGES, NULL)
{
	return cop_set_length(stage->objects[FREED], 20 * 8192 + 10);
}

/* The range becomes two. */
ROW(preallocate_in_the_range, ROW_CHANGES, NULL)
{
	return cop_preallocate(stage->objects[FREED], 20 * 8192, 4096, false);
}

ROW(remove_the_object, ROW_CHANGES, NULL)
{
	cop_release(TAKE(stage->objects[FREED]));
	return cop_unlink(stage->objects[ROOT], "freed", 5, COP_UNLINK_FILE);
}

ROW(step_of_the_job, ROW_CHANGES, NULL)
{
	uint64_t pending = 0;

	return cop_poll(stage->volume, &pending);
}

/* ---- The table ------------------------------------------------------------------------------ */

#define NAMED_ROW(function_) { #function_, &row_##function_ },
const struct named_row rows[] = { COP_FUNCTIONS(NAMED_ROW) BESIDE_A_JOB(NAMED_ROW) };
const size_t row_count = ARRAY_COUNT(rows);
