/*
 * Options, the way to the superblock, and the document: every value goes through item(), and
 * nothing more comes once somebody has said stop.
 */

#include "check/dump_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- The document ---------------------------------------------------------------------------- */

static void
tell(struct dump *dump, const struct cop_dump_item *item)
{
	if (dump->err)
		return;
	if (!dump->options.item(dump->options.context, item))
		dump->err = fail(COP_EINTR, "the dump was interrupted");
}

static void
tell_number(struct dump *dump, enum cop_dump_type type, const char *name, uint64_t number)
{
	struct cop_dump_item item = COP_INIT(item);

	item.type = type;
	item.name = name;
	item.number = number;
	tell(dump, &item);
}

static void
tell_data(struct dump *dump, enum cop_dump_type type, const char *name, struct view data)
{
	struct cop_dump_item item = COP_INIT(item);

	item.type = type;
	item.name = name;
	item.data = data.data;
	item.bytes = data.bytes;
	tell(dump, &item);
}

void
dump__object(struct dump *dump, const char *name)
{
	dump->depth++;
	tell_number(dump, COP_DUMP_BEGIN_OBJECT, name, 0);
}

void
dump__array(struct dump *dump, const char *name)
{
	dump->depth++;
	tell_number(dump, COP_DUMP_BEGIN_ARRAY, name, 0);
}

void
dump__end(struct dump *dump)
{
	assert(dump->depth > 0);
	dump->depth--;
	tell_number(dump, COP_DUMP_END, NULL, 0);
}

void
dump__unsigned(struct dump *dump, const char *name, uint64_t number)
{
	tell_number(dump, COP_DUMP_UNSIGNED, name, number);
}

void
dump__signed(struct dump *dump, const char *name, int64_t number)
{
	tell_number(dump, COP_DUMP_SIGNED, name, (uint64_t)number);
}

void
dump__bool(struct dump *dump, const char *name, bool is_true)
{
	tell_number(dump, COP_DUMP_BOOL, name, is_true);
}

void
dump__id(struct dump *dump, const char *name, uint64_t id)
{
	tell_number(dump, COP_DUMP_ID, name, id);
}

void
dump__word(struct dump *dump, const char *name, uint64_t word)
{
	tell_number(dump, COP_DUMP_WORD, name, word);
}

void
dump__text(struct dump *dump, const char *name, const char *text)
{
	tell_data(dump, COP_DUMP_TEXT, name, view_of(text, strlen(text)));
}

void
dump__name(struct dump *dump, const char *name, struct view text)
{
	tell_data(dump, COP_DUMP_TEXT, name, text);
}

void
dump__bytes(struct dump *dump, const char *name, struct view bytes)
{
	tell_data(dump, COP_DUMP_BYTES, name, bytes);
}

void
dump__problem(struct dump *dump, int err)
{
	if (err == COP_ENOMEM && !dump->err)
		dump->err = err;
	if (dump->err)
		return;
	dump->result.problems++;
	dump__text(dump, "problem", report__why(err));
	err_clear();
}

void
dump__pointer(struct dump *dump, const struct tree_pointer *pointer)
{
	dump__unsigned(dump, "addr", pointer->addr);
	dump__unsigned(dump, "addr2", pointer->addr2);
	dump__unsigned(dump, "birth", pointer->birth);
	dump__word(dump, "seal", pointer->seal);
}

void
dump__root(struct dump *dump, const char *name, const struct tree_root *root)
{
	dump__object(dump, name);
	dump__unsigned(dump, "levels", root->levels);
	if (root->levels > 0)
		dump__pointer(dump, &root->pointer);
	dump__end(dump);
}

bool
dump__wants_all(const struct dump *dump)
{
	return dump->options.flags & COP_DUMP_ALL;
}

/* ---- Which checkpoint ------------------------------------------------------------------------ */

static int
choose_checkpoint(struct dump *dump)
{
	int err = volume_find_superblock(dump->dev, &dump->newest, &dump->previous);

	if (err)
		return err;
	dump->sb = dump->newest;
	if (dump->options.flags & COP_DUMP_PREVIOUS) {
		if (dump->options.flags & COP_DUMP_REPLAY)
			return fail(COP_EINVAL,
				"the journal is replayed from the newest checkpoint, "
				"not the one before");
		if (dump->previous.generation == 0)
			return fail(COP_ENOENT, "there is no checkpoint before the newest");
		dump->sb = dump->previous;
	}
	return geometry_init(
		&dump->geometry, dump->sb.blocks, dump->sb.ag_blocks, dump->sb.journal_blocks);
}

static int
with_trees(struct dump *dump)
{
	int err = 0;

	if (dump->options.what == COP_DUMP_OBJECT && dump->options.path)
		err = dump__resolve(dump);
	if (err)
		return err;
	err = dump__trees_open(dump);
	if (err == 0) {
		switch (dump->options.what) {
		case COP_DUMP_TREES:
			err = dump__trees(dump);
			break;
		case COP_DUMP_TREE:
			err = dump__tree(dump);
			break;
		default:
			err = dump__object_of(dump);
		}
	}
	dump__trees_close(dump);
	return err;
}

static int
run(struct dump *dump)
{
	int err;

	if (dump->options.what == COP_DUMP_SUPERBLOCKS)
		return dump__superblocks(dump);
	err = choose_checkpoint(dump);
	if (err)
		return err;
	switch (dump->options.what) {
	case COP_DUMP_TREES:
	case COP_DUMP_TREE:
	case COP_DUMP_OBJECT:
		return with_trees(dump);
	case COP_DUMP_NODE:
		return dump__node(dump);
	case COP_DUMP_JOURNAL:
		return dump__journal(dump);
	case COP_DUMP_GROUPS:
		return dump__groups(dump);
	default:
		return fail(COP_EINVAL, "a dump of kind %d", (int)dump->options.what);
	}
}

int
cop_dump_on(struct device *dev, const struct cop_dump_options *options,
	struct cop_dump_result *out_result)
{
	struct dump *dump = calloc(1, sizeof *dump);
	int err;

	if (!dump)
		return fail(COP_ENOMEM, "dump");
	check__copy_known(&dump->options, options, options->size_bytes, sizeof *options);
	dump->dev = dev;
	if (dump->options.cache_bytes == 0)
		dump->options.cache_bytes = UINT64_C(256) << 20;
	if (dump->options.cache_bytes < COP_CACHE_BYTES_MIN)
		err = fail(COP_EINVAL, "%" PRIu64 " bytes of memory; the least is %" PRIu64,
			dump->options.cache_bytes, COP_CACHE_BYTES_MIN);
	else
		err = run(dump);
	assert(dump->depth == 0);
	if (dump->err)
		err = dump->err;
	if (err == 0)
		check__copy_known(
			out_result, &dump->result, out_result->size_bytes, sizeof *out_result);
	free(dump);
	return err;
}

int
cop_dump(const char *device, const struct cop_dump_options *options,
	struct cop_dump_result *out_result)
{
	struct device_options open = { .flags = DEVICE_READ_ONLY | DEVICE_NO_LOCK };
	struct device *dev;
	int err = device_open(device, &open, &dev);

	if (err)
		return err;
	err = cop_dump_on(dev, options, out_result);
	device_close(dev);
	return err;
}
