/* The map of content: which extents lie where. */

#include "object/content_internal.h"

#include <assert.h>

struct collector {
	const struct gather *gather;
	const struct record *record;
	struct extents *extents;
	uint64_t next; /* first block that the next extent may begin at */
	bool more;
	bool skips; /* what is being freed is next: to its end */
	int err;
};

static bool
is_being_freed(const struct record *record, const struct extent *extent)
{
	return extent->first >= record->trim_first && extent_last(extent) < record->trim_end;
}

/* False: enough. */
static bool
collect(struct collector *collector, const struct extent *extent)
{
	const struct gather *gather = collector->gather;

	if (extent->first < collector->next) {
		collector->err =
			fail(COP_EFORMAT, "extents overlap at block %" PRIu64, extent->first);
		return false;
	}
	if (extent->first >= gather->end)
		return false;
	collector->next = extent_last(extent) + 1;
	if (extent_last(extent) < gather->first)
		return true;
	if (!gather->unmasked && is_being_freed(collector->record, extent)) {
		collector->skips = collector->record->form == COP_FORM_TREE;
		return !collector->skips;
	}
	if (collector->extents->count == gather->max) {
		collector->more = true;
		return false;
	}
	collector->err = extents_add(collector->extents, extent);
	return collector->err == 0;
}

static bool
collect_entry(void *context, struct view key, struct view value)
{
	struct collector *collector = context;
	struct extent extent;

	collector->err = extent_decode_entry(key, value, &extent);
	return collector->err == 0 && collect(collector, &extent);
}

static int
gather_from_record(struct cop_object *object, struct collector *collector)
{
	struct view content = collector->record->content;
	struct reader r = reader_over(content.data, content.bytes);
	int err = 0;

	while (err == 0 && !reader_is_done(&r)) {
		struct extent extent;

		err = extent_decode_listed(&r, &extent);
		if (err == 0 && !collect(collector, &extent))
			break;
	}
	if (err == 0)
		err = collector->err;
	return err ? object_fail_in(err, object) : 0;
}

static int
gather_from_tree(struct cop_object *object, struct collector *collector)
{
	const struct gather *gather = collector->gather;
	uint64_t first = gather->first;
	uint8_t key[EXTENT_KEY_BYTES];
	struct tree *tree;
	int err = handle_tree(object, &tree);

	if (err)
		return err;
	for (;;) {
		extent_key(first, key);
		collector->skips = false;
		err = tree_scan(tree, view_of(key, sizeof key), 0, collect_entry, collector);
		if (err == 0)
			err = collector->err;
		if (err || !collector->skips)
			break;
		/* What is being freed can be long: do not read through it. */
		first = collector->record->trim_end;
	}
	return err ? object_fail_in(err, object) : 0;
}

int
content_gather(struct cop_object *object, const struct record *record, const struct gather *gather,
	struct extents *out_extents, bool *out_more)
{
	struct extents extents = { 0 };
	struct collector collector = {
		.gather = gather,
		.record = record,
		.extents = &extents,
	};
	int err = 0;

	assert(gather->max > 0);
	if (record->form == COP_FORM_EXTENTS)
		err = gather_from_record(object, &collector);
	else if (record->form == COP_FORM_TREE)
		err = gather_from_tree(object, &collector);
	if (err) {
		extents_free(&extents);
		return err;
	}
	*out_extents = extents;
	*out_more = collector.more;
	return 0;
}
