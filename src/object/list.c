/*
 * Listing a directory. Entries come in the order of (hash of the name, name); the hash is the
 * cookie. Nothing is remembered between requests: each seeks its cookie in the tree as it is now.
 */

#include "object/directory.h"

#include <stdlib.h>

enum { LISTING_LEAVES_AHEAD = 8 };

/* Entries go to the visitor as they are met; `reached` is where to go on after a retry. */
struct listing {
	cop_visit visit;
	void *context;
	uint64_t seed;
	uint64_t reached; /* the cookie that was last given to the visitor */
	uint64_t before;  /* the one before it: where to go on when the visitor refuses */
	bool refused;
	int err;
};

static bool
listing_give(struct listing *listing, uint64_t hash, const struct entry *entry)
{
	struct cop_entry out = {
		.id = entry->id,
		.kind = entry->kind,
		.cookie = hash,
		.name = (const char *)entry->name.data,
		.name_bytes = entry->name.bytes,
	};

	if (hash != listing->reached) {
		listing->before = listing->reached;
		listing->reached = hash;
	}
	listing->refused = !listing->visit(listing->context, &out);
	return !listing->refused;
}

static bool
visit_entry(void *context, struct view key, struct view value)
{
	struct listing *listing = context;
	struct entry entry;
	uint64_t hash;

	listing->err = entry_key_decode(key, listing->seed, &hash, &entry.name);
	if (listing->err == 0)
		listing->err = entry_value_decode(value, &entry);
	return listing->err == 0 && listing_give(listing, hash, &entry);
}

/* An entry of a record, for sorting. */
struct hashed {
	uint64_t hash;
	struct entry entry;
};

static int
compare_hashed(const void *a, const void *b)
{
	const struct hashed *x = a;
	const struct hashed *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return view_compare(x->entry.name, y->entry.name);
}

static int
list_inline(struct listing *listing, struct view content, uint64_t cookie)
{
	struct hashed sorted[DIRECTORY_INLINE_ENTRIES_MAX];
	struct reader r = reader_over(content.data, content.bytes);
	size_t count = 0;

	while (r.at < r.bytes) {
		int err;

		if (count == ARRAY_COUNT(sorted))
			return fail(COP_EFORMAT, "too many entries in a record");
		err = entry_inline_decode(&r, &sorted[count].entry);
		if (err)
			return err;
		sorted[count].hash = name_hash(sorted[count].entry.name, listing->seed);
		count++;
	}
	qsort(sorted, count, sizeof sorted[0], compare_hashed);
	for (size_t i = 0; i < count; i++) {
		if (sorted[i].hash > cookie &&
			!listing_give(listing, sorted[i].hash, &sorted[i].entry))
			break;
	}
	return 0;
}

static int
list_tree(struct listing *listing, struct cop_object *directory, uint64_t cookie)
{
	uint8_t from[8];
	struct tree *tree;
	int err = handle_tree(directory, &tree);

	if (err)
		return err;
	put_be64(from, cookie + 1);
	err = tree_scan(
		tree, view_of(from, sizeof from), LISTING_LEAVES_AHEAD, visit_entry, listing);
	return err ? err : listing->err;
}

/*
 * What stays in the directory throughout is met, whatever its form does meanwhile: a record is read
 * whole, and a tree gives way to a record only when the last entry has gone.
 */
static int
list_once(struct cop_object *directory, struct listing *listing)
{
	struct directory dir;
	int err = directory_load(directory, &dir);

	listing->err = 0;
	if (err)
		return err;
	if (dir.loaded.record.form == COP_FORM_TREE)
		return list_tree(listing, directory, listing->reached);
	return list_inline(listing, dir.loaded.record.content, listing->reached);
}

int
cop_list(struct cop_object *directory, uint64_t cookie, cop_visit visit, void *context,
	uint64_t *out_cookie)
{
	struct listing listing = {
		.visit = visit,
		.context = context,
		.seed = volume_name_seed(directory->volume->volume),
		.reached = cookie,
		.before = cookie,
	};
	struct operation op;
	int err;

	if (cookie == UINT64_MAX) {
		*out_cookie = cookie;
		return 0;
	}
	operation_begin(&op, directory->volume);
	do
		err = list_once(directory, &listing);
	while (err && operation_again(&op, &err));
	operation_end(&op);
	if (err)
		return err;
	*out_cookie = listing.refused ? listing.before : UINT64_MAX;
	return 0;
}
