#include "front/cli/entries.h"

#include <stdlib.h>
#include <string.h>

struct collection {
	struct entries *entries;
	size_t room; /* how many more */
};

/* A portion ends between two cookies: entries of the same cookie come together or not at all. */
static bool
is_full(const struct collection *collection, uint64_t cookie)
{
	const struct entries *entries = collection->entries;

	return collection->room == 0 && entries->count > 0 &&
	       entries->rows[entries->count - 1].cookie != cookie;
}

static bool
collect(void *context, const struct cop_entry *entry)
{
	struct collection *collection = context;
	struct entries *entries = collection->entries;

	if (is_full(collection, entry->cookie))
		return false;
	if (collection->room > 0)
		collection->room--;
	if (entries->count == entries->capacity) {
		entries->capacity = entries->capacity > 0 ? 2 * entries->capacity : 16;
		entries->rows = need_more(entries->rows, entries->capacity, sizeof *entries->rows);
	}
	entries->rows[entries->count++] = (struct entry){
		.kind = entry->kind,
		.id = entry->id,
		.cookie = entry->cookie,
		.name_at = entries->names.bytes,
		.name_bytes = entry->name_bytes,
	};
	text_add(&entries->names, entry->name, entry->name_bytes);
	text_add(&entries->names, "", 1);
	return true;
}

const char *
entry_name(const struct entries *entries, const struct entry *entry)
{
	return entries->names.data + entry->name_at;
}

static int
compare_names(const void *a, const void *b, void *context)
{
	const struct entries *entries = context;

	/* Names hold no NUL, and strcmp() compares bytes as unsigned. */
	return strcmp(entry_name(entries, a), entry_name(entries, b));
}

int
entries_load(struct cop_object *directory, struct entries *out_entries)
{
	struct entries entries = { 0 };
	uint64_t cookie = 0;

	while (cookie != UINT64_MAX) {
		struct collection collection = { .entries = &entries, .room = SIZE_MAX };
		int err = cop_list(directory, cookie, collect, &collection, &cookie);

		if (err) {
			entries_fini(&entries);
			return err;
		}
	}
	if (entries.count > 0)
		qsort_r(entries.rows, entries.count, sizeof *entries.rows, compare_names, &entries);
	*out_entries = entries;
	return 0;
}

void
entries_fini(struct entries *entries)
{
	free(entries->rows);
	text_fini(&entries->names);
	*entries = (struct entries){ 0 };
}

void
entries_reader_init(struct entries_reader *reader, struct cop_object *directory)
{
	*reader = (struct entries_reader){ .directory = directory };
}

void
entries_reader_fini(struct entries_reader *reader)
{
	entries_fini(&reader->portion);
}

int
entries_reader_next(
	struct entries_reader *reader, const struct entry **out_entry, const char **out_name)
{
	struct collection collection = { .entries = &reader->portion, .room = ENTRIES_PORTION };

	while (reader->next == reader->portion.count && reader->cookie != UINT64_MAX) {
		int err;

		reader->portion.count = 0;
		reader->next = 0;
		text_cut(&reader->portion.names, 0);
		err = cop_list(
			reader->directory, reader->cookie, collect, &collection, &reader->cookie);
		if (err)
			return err;
	}
	if (reader->next == reader->portion.count) {
		*out_entry = NULL;
		return 0;
	}
	*out_entry = &reader->portion.rows[reader->next++];
	*out_name = entry_name(&reader->portion, *out_entry);
	return 0;
}
