#include "world.h"

#include "base/num.h"
#include "check/dump.h"
#include "volume/journal_format.h"

#include <stdio.h>
#include <string.h>

enum { DEPTH = 16, MEMBERS_MAX = 60000 };

/* A document, flat: "trees[1].levels" and what it is. */
struct member {
	char path[120];
	enum cop_dump_type type;
	uint64_t number;
	char text[64];
};

struct page {
	struct member *members;
	size_t count;
	size_t wanted; /* then stop */
	uint64_t problems;

	char path[DEPTH][120]; /* of what is open */
	bool is_array[DEPTH];
	uint32_t next[DEPTH];
	uint32_t depth;
};

static void
path_of(struct page *page, const char *name, char out[static 120])
{
	uint32_t top = page->depth - 1;

	if (page->depth == 0) {
		snprintf(out, 120, "%s", name);
	} else if (page->is_array[top]) {
		assert_null(name);
		snprintf(out, 120, "%.100s[%u]", page->path[top], page->next[top]++);
	} else {
		assert_non_null(name);
		snprintf(out, 120, "%.80s.%.30s", page->path[top], name);
	}
}

static bool
take(void *context, const struct cop_dump_item *item)
{
	struct page *page = context;
	struct member *member = &page->members[page->count];

	if (item->type == COP_DUMP_END) {
		assert_true(page->depth > 0);
		page->depth--;
		return true;
	}
	assert_true(page->count < MEMBERS_MAX);
	page->count++;
	path_of(page, item->name, member->path);
	member->type = item->type;
	member->number = item->number;
	if (item->data)
		snprintf(member->text, sizeof member->text, "%.*s",
			(int)min_u64(item->bytes, sizeof member->text - 1),
			(const char *)item->data);
	if (item->type == COP_DUMP_BEGIN_OBJECT || item->type == COP_DUMP_BEGIN_ARRAY) {
		assert_true(page->depth < DEPTH);
		memcpy(page->path[page->depth], member->path, sizeof member->path);
		page->is_array[page->depth] = item->type == COP_DUMP_BEGIN_ARRAY;
		page->next[page->depth++] = 0;
	}
	return page->count < page->wanted;
}

static struct page *
page_new(void)
{
	struct page *page = calloc(1, sizeof *page);

	assert_non_null(page);
	page->members = calloc(MEMBERS_MAX, sizeof *page->members);
	assert_non_null(page->members);
	page->wanted = SIZE_MAX;
	return page;
}

static void
page_free(struct page *page)
{
	free(page->members);
	free(page);
}

static const struct member *
find(const struct page *page, const char *path)
{
	for (size_t i = 0; i < page->count; i++) {
		if (strcmp(page->members[i].path, path) == 0)
			return &page->members[i];
	}
	return NULL;
}

static uint64_t
number_at(const struct page *page, const char *path)
{
	const struct member *member = find(page, path);

	if (!member)
		fprintf(stderr, "no %s\n", path);
	assert_non_null(member);
	return member->number;
}

static const char *
text_at(const struct page *page, const char *path)
{
	const struct member *member = find(page, path);

	if (!member)
		fprintf(stderr, "no %s\n", path);
	assert_non_null(member);
	return member->text;
}

/* How many members end in ".name", with this text unless it is NULL. */
static size_t
count_of(const struct page *page, const char *name, const char *text)
{
	size_t count = 0;

	for (size_t i = 0; i < page->count; i++) {
		const struct member *member = &page->members[i];
		const char *last = strrchr(member->path, '.');

		count += last && strcmp(last + 1, name) == 0 &&
			 (!text || strcmp(member->text, text) == 0);
	}
	return count;
}

static struct cop_dump_options
ask(enum cop_dump_what what, uint32_t flags)
{
	struct cop_dump_options options = COP_INIT(options);

	options.what = what;
	options.flags = flags;
	options.cache_bytes = COP_CACHE_BYTES_MIN;
	options.item = take;
	return options;
}

static int
try_dump(struct world *w, const struct cop_dump_options *options, struct page *page)
{
	struct cop_dump_options mine = *options;
	struct cop_dump_result result = COP_INIT(result);
	struct device *dev;
	int err;

	mine.context = page;
	must(sim_open(w->medium, DEVICE_READ_ONLY, &dev));
	err = cop_dump_on(dev, &mine, &result);
	device_close(dev);
	if (err == 0)
		assert_int_equal(page->depth, 0);
	page->problems = result.problems;
	return err;
}

static void
refuses(struct world *w, const struct cop_dump_options *options, int err)
{
	struct page *page = page_new();

	assert_int_equal(try_dump(w, options, page), err);
	page_free(page);
}

static struct page *
dump(struct world *w, const struct cop_dump_options *options)
{
	struct page *page = page_new();

	must(try_dump(w, options, page));
	assert_int_equal(count_of(page, "problem", NULL) + count_of(page, "bad_copy_1", NULL) +
				 count_of(page, "bad_copy_2", NULL) +
				 (find(page, "problem") ? 1 : 0),
		page->problems);
	return page;
}

static struct page *
dump_what(struct world *w, enum cop_dump_what what, uint32_t flags)
{
	struct cop_dump_options options = ask(what, flags);

	return dump(w, &options);
}

static struct page *
dump_tree(struct world *w, enum cop_dump_tree tree, uint64_t number, uint32_t flags)
{
	struct cop_dump_options options = ask(COP_DUMP_TREE, flags);

	options.tree = tree;
	options.number = number;
	return dump(w, &options);
}

static struct page *
dump_node(struct world *w, uint64_t block)
{
	struct cop_dump_options options = ask(COP_DUMP_NODE, 0);

	options.block = block;
	return dump(w, &options);
}

/* ---- Superblocks and groups ------------------------------------------------------------------ */

static void
shows_every_slot_in_every_place(void **state)
{
	struct world *w = world_open();
	struct superblock newest;
	struct superblock previous;
	struct page *page;

	(void)state;
	world_close(w);
	world_superblocks(w, &newest, &previous);
	page = dump_what(w, COP_DUMP_SUPERBLOCKS, COP_DUMP_ALL);
	assert_int_equal(count_of(page, "place", NULL), 16);
	assert_int_equal(count_of(page, "role", "newest"), 4);
	assert_int_equal(count_of(page, "role", "previous"), 4);
	assert_int_equal(page->problems, 0);
	page_free(page);

	world_flip(w, newest.slot);
	page = dump_what(w, COP_DUMP_SUPERBLOCKS, 0);
	assert_int_equal(count_of(page, "role", "newest"), 3);
	assert_int_equal(page->problems, 1);
	page_free(page);

	/* Nothing is left of any: that is told as well. */
	for (uint32_t slot = 0; slot < 4; slot++) {
		uint8_t zeros[BLOCK_BYTES] = { 0 };

		for (uint64_t ag = 0; ag < 8; ag++)
			must(sim_poke(w->medium, ag * newest.ag_blocks + slot, zeros));
	}
	page = dump_what(w, COP_DUMP_SUPERBLOCKS, 0);
	assert_int_equal(page->problems, 1);
	assert_int_equal(count_of(page, "role", "never written"), 4);
	page_free(page);
	world_free(w);
}

static void
shows_groups_with_what_they_have_free(void **state)
{
	struct world *w = world_open();
	struct superblock newest;
	struct superblock previous;
	struct page *page;

	(void)state;
	world_close(w);
	world_superblocks(w, &newest, &previous);
	page = dump_what(w, COP_DUMP_GROUPS, 0);
	assert_int_equal(number_at(page, "free_blocks"), newest.free_blocks);
	assert_int_equal(
		number_at(page, "groups[0].used_blocks") + number_at(page, "groups[0].free_blocks"),
		number_at(page, "groups[0].blocks"));
	assert_int_equal(page->problems, 0);
	world_flip(w, number_at(page, "groups[0].bitmap_block"));
	page_free(page);

	page = dump_what(w, COP_DUMP_GROUPS, 0);
	assert_int_equal(page->problems, 1);
	assert_non_null(find(page, "groups[0].problem"));
	assert_non_null(find(page, "groups[1].used_blocks"));
	page_free(page);

	page = dump_what(w, COP_DUMP_GROUPS, COP_DUMP_PREVIOUS);
	assert_int_equal(number_at(page, "generation"), previous.generation);
	page_free(page);
	world_free(w);
}

/* ---- Trees ----------------------------------------------------------------------------------- */

static void
lists_all_trees(void **state)
{
	struct world *w = world_open();
	uint64_t comb = world_id(w, "comb");
	struct superblock newest;
	struct superblock previous;
	struct page *page;
	bool has_comb = false;

	(void)state;
	world_close(w);
	world_superblocks(w, &newest, &previous);
	page = dump_what(w, COP_DUMP_TREES, 0);
	assert_string_equal(text_at(page, "trees[0].tree"), "catalog");
	assert_int_equal(number_at(page, "trees[0].addr"), newest.catalog.pointer.addr);
	assert_string_equal(text_at(page, "trees[1].tree"), "objects");
	assert_int_equal(count_of(page, "tree", "directory"), 1);
	for (size_t i = 0; i < page->count; i++)
		has_comb = has_comb || (strstr(page->members[i].path, ".number") &&
					       page->members[i].number == comb);
	assert_true(has_comb);
	assert_int_equal(page->problems, 0);
	page_free(page);

	/* Without a catalog nothing else is found, and that is told. */
	world_flip(w, newest.catalog.pointer.addr);
	world_flip(w, newest.catalog.pointer.addr2);
	page = dump_what(w, COP_DUMP_TREES, 0);
	assert_true(page->problems > 0);
	assert_string_equal(text_at(page, "trees[0].tree"), "catalog");
	page_free(page);
	page = dump_what(w, COP_DUMP_TREES, COP_DUMP_PREVIOUS);
	assert_int_equal(page->problems, 0);
	page_free(page);
	world_free(w);
}

static void
shows_the_nodes_of_a_tree_and_names_bad_ones(void **state)
{
	struct world *w = world_open();
	struct page *page;
	size_t nodes;
	size_t entries = 0;

	(void)state;
	world_close(w);
	page = dump_tree(w, COP_DUMP_OBJECTS, 0, COP_DUMP_ALL);
	nodes = count_of(page, "level", NULL);
	assert_true(nodes >= 3);
	for (size_t i = 0; i < page->count; i++) {
		const char *last = strrchr(page->members[i].path, '.');
		bool is_count = last && strcmp(last, ".entries") == 0;
		char level[130];

		if (!is_count)
			continue;
		snprintf(level, sizeof level, "%.*s.level", (int)(last - page->members[i].path),
			page->members[i].path);
		if (number_at(page, level) == 0)
			entries += page->members[i].number;
	}
	assert_int_equal(count_of(page, "key", NULL), entries);
	assert_int_equal(page->problems, 0);
	world_flip(w, number_at(page, "nodes[1].addr"));
	page_free(page);

	page = dump_tree(w, COP_DUMP_OBJECTS, 0, 0);
	assert_int_equal(page->problems, 1);
	assert_int_equal(number_at(page, "nodes[1].bad_copy_1"), number_at(page, "nodes[1].addr"));
	assert_non_null(find(page, "nodes[1].entries"));
	world_flip(w, number_at(page, "nodes[1].addr2"));
	page_free(page);

	page = dump_tree(w, COP_DUMP_OBJECTS, 0, 0);
	assert_int_equal(page->problems, 1);
	assert_non_null(find(page, "nodes[1].problem"));
	assert_null(find(page, "nodes[1].entries"));
	assert_int_equal(count_of(page, "level", NULL), nodes); /* the others are there */
	page_free(page);
	world_free(w);
}

static void
shows_what_is_left_of_a_dead_tree(void **state)
{
	struct world *w = world_open();
	struct page *page;
	struct cop_dump_options options = ask(COP_DUMP_TREE, 0);

	(void)state;
	must(cop_unlink(w->root, "comb", 4, 0));
	world_close(w);
	page = dump_what(w, COP_DUMP_TREES, 0);
	assert_int_equal(count_of(page, "tree", "dead"), 1);
	page_free(page);
	page = dump_tree(w, COP_DUMP_DEAD, 1, 0);
	assert_string_equal(text_at(page, "kind"), "content");
	assert_int_equal(page->problems, 0);
	assert_non_null(find(page, "nodes[0].addr"));
	page_free(page);

	options.tree = COP_DUMP_DEAD;
	options.number = 77;
	refuses(w, &options, COP_ENOENT);
	world_free(w);
}

/* ---- Nodes and objects ----------------------------------------------------------------------- */

static void
shows_what_lies_at_a_block(void **state)
{
	struct world *w = world_open();
	struct superblock newest;
	struct superblock previous;
	struct geometry geometry;
	struct cop_dump_options options = ask(COP_DUMP_NODE, 0);
	struct page *page;

	(void)state;
	world_close(w);
	world_superblocks(w, &newest, &previous);
	must(geometry_init(&geometry, newest.blocks, newest.ag_blocks, newest.journal_blocks));
	page = dump_node(w, newest.catalog.pointer.addr2);
	assert_string_equal(text_at(page, "kind"), "catalog");
	assert_int_equal(number_at(page, "addr"), newest.catalog.pointer.addr);
	assert_int_equal(number_at(page, "entries"), 2);
	assert_string_equal(text_at(page, "entry_list[0].name"), "main");
	page_free(page);

	world_flip(w, newest.catalog.pointer.addr);
	page = dump_node(w, newest.catalog.pointer.addr);
	assert_int_equal(page->problems, 1);
	assert_string_equal(text_at(page, "kind"), "catalog");
	page_free(page);

	page = dump_node(w, geometry_journal(&geometry));
	assert_string_equal(text_at(page, "region"), "journal");
	assert_int_equal(number_at(page, "is_node"), false);
	page_free(page);
	page = dump_node(w, 1);
	assert_string_equal(text_at(page, "region"), "superblock");
	page_free(page);
	page = dump_node(w, newest.blocks - 1);
	assert_string_equal(text_at(page, "region"), "nodes and data");
	page_free(page);

	options.block = newest.blocks;
	refuses(w, &options, COP_EINVAL);
	world_free(w);
}

static void
shows_an_object_by_number_and_by_path(void **state)
{
	struct world *w = world_open();
	struct cop_dump_options options = ask(COP_DUMP_OBJECT, COP_DUMP_ALL);
	struct extent extent = world_extent(w, world_id(w, "pieces"), 1);
	struct page *page;

	(void)state;
	options.number = world_id(w, "pieces");
	world_close(w);
	page = dump(w, &options);
	assert_string_equal(text_at(page, "keys[0].name"), "pieces");
	assert_int_equal(number_at(page, "keys[0].extents[1].addr"), extent.addr);
	assert_int_equal(number_at(page, "keys[0].extents[1].checksums[0]"), extent.checksums[0]);
	page_free(page);

	options.path = "/comb";
	page = dump(w, &options);
	assert_string_equal(text_at(page, "keys[0].name"), "comb");
	assert_non_null(find(page, "tree[2].addr"));
	assert_int_equal(page->problems, 0);
	page_free(page);
	options.path = "/attr";
	page = dump(w, &options);
	assert_int_equal(count_of(page, "type", "xattr"), 1);
	assert_int_equal(count_of(page, "type", "xattr in extents"), 1);
	page_free(page);
	options.path = "/none";
	refuses(w, &options, COP_ENOENT);
	options.path = NULL;
	options.number = 123456;
	refuses(w, &options, COP_ENOENT);
	world_free(w);
}

/* ---- The journal ----------------------------------------------------------------------------- */

/* A volume of a process that was killed after two syncs; the second says that the first is
 * durable. */
static struct world *
open_killed(uint64_t *out_id)
{
	struct world *w = world_open();
	struct cop_new new = COP_INIT(new);
	struct cop_object *file;
	uint8_t bytes[9 * BLOCK_BYTES] = { 5 };

	world_reopen(w);
	new.kind = COP_FILE;
	must(cop_create(w->root, "late", 4, &new, &file));
	must(cop_write(file, 0, bytes, sizeof bytes, NULL));
	*out_id = cop_id(file);
	must(cop_sync(w->volume));
	must(cop_set_length(file, 100));
	must(cop_sync(w->volume));
	cop_release(file);
	world_kill(w);
	return w;
}

static void
shows_the_journal_batch_by_batch(void **state)
{
	uint64_t id;
	struct world *w = open_killed(&id);
	struct page *page = dump_what(w, COP_DUMP_JOURNAL, COP_DUMP_ALL);
	struct cop_dump_options options = ask(COP_DUMP_OBJECT, 0);

	(void)state;
	assert_int_equal(number_at(page, "replayed"), 2);
	assert_int_equal(number_at(page, "discarded"), 0);
	assert_int_equal(number_at(page, "is_damaged"), false);
	assert_int_equal(count_of(page, "fate", "replayed"), 2);
	assert_true(count_of(page, "op", "put") >= 4);
	assert_int_equal(count_of(page, "name", "late"), 2 + 2);
	assert_true(count_of(page, "blocks_that_differ", NULL) >= 1);
	assert_int_equal(page->problems, 0);
	page_free(page);

	/* The checkpoint does not know the object yet. */
	options.number = id;
	refuses(w, &options, COP_ENOENT);
	options.flags = COP_DUMP_REPLAY;
	page = dump(w, &options);
	assert_string_equal(text_at(page, "keys[0].name"), "late");
	assert_int_equal(number_at(page, "keys[0].length"), 100);
	page_free(page);
	page = dump_tree(w, COP_DUMP_OBJECTS, 0, COP_DUMP_REPLAY | COP_DUMP_ALL);
	assert_int_equal(
		count_of(page, "name", "late"), 2); /* the record, and the entry in the root */
	assert_int_equal(page->problems, 0);
	page_free(page);
	world_free(w);
}

static void
shows_what_is_shared(void **state)
{
	struct world *w = world_open();
	uint64_t comb = world_id(w, "comb");
	uint64_t pieces = world_id(w, "pieces");
	struct tree_root root;
	struct extent extent;
	struct page *page;

	(void)state;
	(void)world_clone(w, comb);
	world_get_root(w, comb, TREE_CONTENT, &root);
	world_close(w);
	page = dump_tree(w, COP_DUMP_SHARES, 0, COP_DUMP_ALL);
	assert_string_equal(text_at(page, "kind"), "shares");
	assert_int_equal(number_at(page, "nodes[0].entry_list[0].addr"), root.pointer.addr);
	assert_int_equal(number_at(page, "nodes[0].entry_list[0].extra"), 1);
	assert_int_equal(count_of(page, "extra", NULL), 1);
	assert_null(find(page, "changes"));
	page_free(page);

	/* In the journal only: a list beside the tree. */
	world_start(w);
	(void)world_clone(w, comb);
	(void)world_clone(w, pieces);
	extent = world_extent(w, pieces, 0);
	must(cop_sync(w->volume));
	world_kill(w);
	page = dump_what(w, COP_DUMP_JOURNAL, 0);
	assert_int_equal(count_of(page, "op", "clone"), 2);
	assert_int_equal(count_of(page, "shared", NULL), 1);
	assert_int_equal(page->problems, 0);
	page_free(page);
	page = dump_tree(w, COP_DUMP_SHARES, 0, COP_DUMP_ALL | COP_DUMP_REPLAY);
	assert_int_equal(number_at(page, "nodes[0].entry_list[0].extra"), 1);
	assert_int_equal(count_of(page, "change", NULL), 2); /* of the root, and of the pieces */
	assert_int_equal(
		number_at(page, "changes[0].addr"), min_u64(root.pointer.addr, extent.addr));
	assert_int_equal(
		number_at(page, "changes[1].addr"), max_u64(root.pointer.addr, extent.addr));
	page_free(page);
	world_free(w);
}

static void
says_where_the_chain_ends_and_why(void **state)
{
	uint64_t id;
	struct world *w = open_killed(&id);
	struct page *page = dump_what(w, COP_DUMP_JOURNAL, 0);
	uint64_t region = number_at(page, "block");
	uint64_t last = region + number_at(page, "end.position") - 1;
	uint64_t first;
	size_t whole = (size_t)number_at(page, "batch_count");
	char path[64];

	(void)state;
	assert_string_equal(text_at(page, "ends_because"), "no batch follows");
	snprintf(path, sizeof path, "batches[%zu].position", whole - 2);
	first = region + number_at(page, path);
	page_free(page);

	/* The last one torn: nothing says that it was durable. */
	world_flip(w, last);
	page = dump_what(w, COP_DUMP_JOURNAL, 0);
	assert_int_equal(number_at(page, "batch_count"), whole - 1);
	assert_int_equal(number_at(page, "replayed"), 1);
	assert_int_equal(number_at(page, "is_damaged"), false);
	assert_int_equal(page->problems, 0);
	page_free(page);
	world_flip(w, last);

	/* The one before it: the last says that it was. */
	world_flip(w, first);
	page = dump_what(w, COP_DUMP_JOURNAL, COP_DUMP_ALL);
	assert_int_equal(number_at(page, "batch_count"), whole - 2);
	assert_int_equal(number_at(page, "is_damaged"), true);
	assert_int_equal(page->problems, 1);
	assert_non_null(strstr(text_at(page, "problem"), "were durable and are lost"));
	assert_non_null(find(page, "other_batches[0].sequence")); /* the last is still shown */
	page_free(page);
	world_free(w);
}

/* ---- Callers --------------------------------------------------------------------------------- */

static void
ends_when_it_is_told_to(void **state)
{
	struct world *w = world_open();

	(void)state;
	world_close(w);
	for (enum cop_dump_what what = COP_DUMP_SUPERBLOCKS; what <= COP_DUMP_GROUPS; what++) {
		struct cop_dump_options options = ask(what, COP_DUMP_ALL);
		struct page *page = page_new();
		size_t all;

		options.tree = COP_DUMP_OBJECTS;
		options.number = OBJECT_ROOT;
		must(try_dump(w, &options, page));
		all = page->count;
		page_free(page);
		for (size_t wanted = 1; wanted < all && wanted < 200; wanted += 7) {
			page = page_new();
			page->wanted = wanted;
			assert_int_equal(try_dump(w, &options, page), COP_EINTR);
			assert_int_equal(page->count, wanted);
			page_free(page);
		}
	}
	world_free(w);
}

static void
refuses_options_that_make_no_sense(void **state)
{
	struct world *w = world_open();
	struct cop_dump_options options = ask(COP_DUMP_GROUPS, 0);
	struct page *page = page_new();

	(void)state;
	world_close(w);
	options.what = 99;
	assert_int_equal(try_dump(w, &options, page), COP_EINVAL);
	options = ask(COP_DUMP_TREE, 0);
	assert_int_equal(try_dump(w, &options, page), COP_EINVAL);
	options = ask(COP_DUMP_TREES, COP_DUMP_PREVIOUS | COP_DUMP_REPLAY);
	assert_int_equal(try_dump(w, &options, page), COP_EINVAL);
	options = ask(COP_DUMP_JOURNAL, COP_DUMP_PREVIOUS);
	assert_int_equal(try_dump(w, &options, page), COP_EINVAL);
	options = ask(COP_DUMP_GROUPS, 0);
	options.cache_bytes = 4096;
	assert_int_equal(try_dump(w, &options, page), COP_EINVAL);
	page_free(page);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shows_every_slot_in_every_place),
		cmocka_unit_test(shows_groups_with_what_they_have_free),
		cmocka_unit_test(lists_all_trees),
		cmocka_unit_test(shows_the_nodes_of_a_tree_and_names_bad_ones),
		cmocka_unit_test(shows_what_is_left_of_a_dead_tree),
		cmocka_unit_test(shows_what_lies_at_a_block),
		cmocka_unit_test(shows_an_object_by_number_and_by_path),
		cmocka_unit_test(shows_the_journal_batch_by_batch),
		cmocka_unit_test(shows_what_is_shared),
		cmocka_unit_test(says_where_the_chain_ends_and_why),
		cmocka_unit_test(ends_when_it_is_told_to),
		cmocka_unit_test(refuses_options_that_make_no_sense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
