/* The map of content: which extents lie where. */

#include "object/content_internal.h"

#include <assert.h>

struct collector {
	const struct gather *gather;
	const struct record *record;
	struct extents *extents;
	struct trims trims; /* what is being freed and not asked for */
	uint64_t next;      /* first block that the next extent may begin at */
	uint64_t skip_to;   /* the end of what is being freed, which comes next; 0: it does not */
	bool more;
	int err;
};

/* NULL: it is content. */
static const struct trim_range *
range_of(const struct collector *collector, const struct extent *extent)
{
	uint64_t end = extent_last(extent) + 1;
	const struct trim_range *range = trims_find(&collector->trims, extent->first, end);

	return range && range->first <= extent->first && range->end >= end ? range : NULL;
}

/* False: enough. */
static bool
collect(struct collector *collector, const struct extent *extent)
{
	const struct gather *gather = collector->gather;
	const struct trim_range *freed;

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
	freed = range_of(collector, extent);
	if (freed) {
		collector->skip_to = freed->end;
		return false;
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
		collector->skip_to = 0;
		err = tree_scan(tree, view_of(key, sizeof key), 0, collect_entry, collector);
		if (err == 0)
			err = collector->err;
		if (err || collector->skip_to == 0 || collector->skip_to >= gather->end)
			break;
		/* What is being freed can be long: do not read through it. */
		first = collector->skip_to;
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
	if (!gather->unmasked)
		record_trims(record, &collector.trims);
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
