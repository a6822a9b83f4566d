#include "object/clone.h"

#include "object/content_internal.h"
#include "object/pages_internal.h"
#include "object/reclaim.h"

/* What the target had is given up. *out_job is left to whoever runs jobs; 0: there is none. */
static int
release_old(struct edit *edit, uint64_t *out_job)
{
	const struct record *now = &edit->now.record;
	struct gather gather = { .end = CONTENT_BLOCKS_MAX, .max = EDIT_OLD_MAX };
	bool more;
	int err;

	*out_job = 0;
	if (now->form == COP_FORM_TREE) {
		err = job_number_for(edit->object, now, out_job);
		return err ? err : job_put_dismantle(edit->tx, edit->object, *out_job);
	}
	err = content_gather(edit->object, now, &gather, &edit->old, &more);
	if (err == 0 && more)
		err = fail(COP_EFORMAT, "a record with more extents than it can hold");
	return err ? err : data_release(edit->tx, &edit->old);
}

/* The extents of a record are referred to by both records. */
static int
share_extents(struct edit *edit, struct cop_object *source, const struct record *record)
{
	struct gather gather = { .end = CONTENT_BLOCKS_MAX, .max = TX_CLONE_RUNS_MAX };
	struct run runs[TX_CLONE_RUNS_MAX];
	struct extents extents = { 0 };
	bool more;
	int err = content_gather(source, record, &gather, &extents, &more);

	if (err == 0 && more)
		err = fail(COP_EFORMAT, "a record with more extents than it can hold");
	for (size_t i = 0; err == 0 && i < extents.count; i++)
		runs[i] = (struct run){ extents.list[i].addr,
			extent_stored_blocks(&extents.list[i]) };
	if (err == 0 && extents.count > 0)
		err = tx_clone_runs(
			edit->tx, handle_tree_name(edit->object), source->id, runs, extents.count);
	extents_free(&extents);
	return err;
}

static int
share_content(struct edit *edit, struct cop_object *source, const struct record *record)
{
	switch (record->form) {
	case COP_FORM_TREE:
		return tx_clone_tree(edit->tx, handle_tree_name(edit->object), source->id);
	case COP_FORM_EXTENTS:
		return share_extents(edit, source, record);
	default:
		return 0; /* the bytes are in the record */
	}
}

/* What a job still frees of the source, another one frees of the target. */
static int
copy_trims(struct edit *edit, const struct record *record)
{
	edit->next.trim_job = 0;
	if (record->trim_job == 0)
		return 0;
	edit->next.trim_job = volume_next_job(edit->op->volume->volume);
	return job_put_trim(edit->tx, edit->object, edit->next.trim_job);
}

static int
clone_commit(struct edit *edit, struct cop_object *source, const struct record *record)
{
	struct cop_object *target = edit->object;
	uint64_t job;
	int err;

	edit->next.form = record->form;
	edit->next.length = record->length;
	edit->next.allocated_blocks = record->allocated_blocks;
	edit->next.content = record->content;
	err = tx_begin(edit->op->volume->volume, &edit->op->visit, false, &edit->tx);
	if (err)
		return err;
	err = release_old(edit, &job);
	if (err == 0)
		err = copy_trims(edit, record);
	if (err == 0)
		err = share_content(edit, source, record);
	if (err == 0)
		err = record_put(edit->tx, target->branch, target->id, &edit->next);
	if (err == 0)
		err = edit_commit(edit);
	if (err == 0 && job != 0)
		job_leave(edit->op, NULL, job);
	if (err == 0 && edit->next.trim_job != 0)
		job_leave(edit->op, target, edit->next.trim_job);
	return err;
}

static int
clone_at_turn(struct operation *op, struct cop_object *source, struct cop_object *target)
{
	struct loaded loaded;
	struct edit edit;
	int err = edit_init(&edit, op, target);

	if (err == 0)
		err = record_load(source, &loaded);
	if (err == 0)
		err = clone_commit(&edit, source, &loaded.record);
	edit_fini(&edit);
	return err;
}

int
object_clone(struct cop_object *source, struct cop_object *target)
{
	struct cop_object *objects[2] = { source, target };
	struct operation op = { 0 };
	int err = content_check_kind(source);

	if (err == 0 && source->kind != COP_FILE)
		err = fail(COP_EINVAL, "object %" PRIu64 " is not a file", source->id);
	if (err == 0 && source->volume != target->volume)
		err = fail(COP_EXDEV, "objects of two volumes");
	if (err || source == target)
		return err;
	while (change_turn(&op, source->volume, objects, 2, &err)) {
		/* What is dirty is cloned as well, and what it replaces is replaced first. */
		err = writeback_object(&op, source, false);
		if (err == 0)
			err = writeback_object(&op, target, false);
		if (err == 0)
			err = clone_at_turn(&op, source, target);
	}
	return err;
}
