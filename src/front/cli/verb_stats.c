/*
 * stats opens a volume for reading and walks all of it, and shows what both have cost: a process
 * that serves a volume has counters of its own, in cop_stats(), which nobody else can see.
 */

#include "base/num.h"
#include "front/cli/entries.h"
#include "front/cli/interrupt.h"
#include "front/cli/json.h"
#include "front/cli/output.h"
#include "front/cli/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a walk over all names has met. */
struct totals {
	uint64_t names;
	uint64_t directories;
	uint64_t length_bytes;
	uint64_t allocated_bytes;
	uint64_t unreadable;
};

struct level {
	struct cop_object *directory;
	struct entries_reader reader;
};

struct stats {
	struct cli *cli;
	const char *operand;
	struct cop_volume_info info;
	struct cop_space space;
	struct cop_stats opened; /* after opening */
	struct cop_stats walked; /* after the walk */
	struct totals totals;
	struct level *levels;
	size_t depth;
	size_t capacity;
};

/* ---- The walk -------------------------------------------------------------------------------- */

static void
enter(struct stats *stats, struct cop_object *directory)
{
	struct level *level;

	if (stats->depth == stats->capacity) {
		stats->capacity = 2 * stats->capacity + 16;
		stats->levels = need_more(stats->levels, stats->capacity, sizeof *stats->levels);
	}
	level = &stats->levels[stats->depth++];
	level->directory = directory;
	entries_reader_init(&level->reader, directory);
}

static void
leave(struct stats *stats)
{
	struct level *level = &stats->levels[--stats->depth];

	entries_reader_fini(&level->reader);
	cop_release(level->directory);
}

static void
meet(struct stats *stats, uint64_t id)
{
	struct level *level = &stats->levels[stats->depth - 1];
	struct cop_attr attr = COP_INIT(attr);
	struct cop_object *object = NULL;
	struct totals *totals = &stats->totals;

	totals->names++;
	progress_add(&stats->cli->progress, 1, 0);
	if (cop_get(level->directory, id, &object) != 0 || cop_stat(object, &attr) != 0) {
		totals->unreadable++;
		cop_release(object);
		return;
	}
	totals->allocated_bytes += attr.allocated_bytes;
	if (attr.kind == COP_DIRECTORY) {
		totals->directories++;
		enter(stats, object);
		return;
	}
	totals->length_bytes += attr.length;
	cop_release(object);
}

/* All names; what cannot be read is counted. */
static void
walk(struct stats *stats, struct cop_object *root)
{
	enter(stats, root);
	while (stats->depth > 0) {
		struct level *level = &stats->levels[stats->depth - 1];
		const struct entry *entry = NULL;
		const char *name;

		if (!interrupt_requested() &&
			entries_reader_next(&level->reader, &entry, &name) != 0)
			stats->totals.unreadable++;
		if (entry)
			meet(stats, entry->id);
		else
			leave(stats);
	}
	free(stats->levels);
}

/* ---- Showing --------------------------------------------------------------------------------- */

/* The figures of cop_stats that reading can change. */
static const struct figure {
	const char *name; /* in JSON */
	const char *title;
	size_t at;
	bool is_state; /* not counted since the volume was opened, but as it is now */
} figures[] = {
#define FIGURE(member_, title_)                                              \
	{                                                                    \
#member_, title_, offsetof(struct cop_stats, member_), false \
	}
#define STATE(member_, title_)                                              \
	{                                                                   \
#member_, title_, offsetof(struct cop_stats, member_), true \
	}
	FIGURE(device_reads, "requests to read"),
	FIGURE(device_read_bytes, "bytes read"),
	FIGURE(device_syscalls, "system calls"),
	STATE(device_depth_max, "requests at once, at most"),
	FIGURE(node_reads, "nodes read"),
	FIGURE(data_read_bytes, "bytes of file data read"),
	FIGURE(cache_hits, "hits in the cache"),
	FIGURE(cache_misses, "misses in the cache"),
	FIGURE(cache_evictions, "evictions"),
	STATE(cache_bytes, "bytes in the cache"),
	FIGURE(recoveries, "recoveries"),
	FIGURE(replayed_transactions, "transactions of the journal replayed"),
	FIGURE(share_lookups, "questions to the share tree"),
#undef FIGURE
#undef STATE
};

static uint64_t
figure_value(const struct figure *figure, const struct cop_stats *stats)
{
	uint64_t value;

	memcpy(&value, (const uint8_t *)stats + figure->at, sizeof value);
	return value;
}

/* What came between two moments; `before` is NULL for the first. */
static uint64_t
figure_between(
	const struct figure *figure, const struct cop_stats *before, const struct cop_stats *after)
{
	uint64_t value = figure_value(figure, after);

	if (!before || figure->is_state)
		return value;
	return value - figure_value(figure, before);
}

static void
print_number(const char *title, uint64_t value)
{
	(void)printf("  %-38s %16" PRIu64 "\n", title, value);
}

static void
print_costs(const char *title, const struct cop_stats *before, const struct cop_stats *after)
{
	(void)printf("%s\n", title);
	for (size_t i = 0; i < ARRAY_COUNT(figures); i++)
		print_number(figures[i].title, figure_between(&figures[i], before, after));
}

static void
print_all(const struct stats *stats)
{
	const struct totals *totals = &stats->totals;

	print_name(stats->cli, stats->operand, strlen(stats->operand));
	(void)fputs("\nvolume\n", stdout);
	print_number("bytes", stats->space.volume_bytes);
	print_number("bytes used", stats->space.used_bytes);
	print_number("bytes pending", stats->space.pending_bytes);
	print_number("bytes of the journal", stats->info.journal_bytes);
	print_number("generation", stats->info.generation);
	print_number("objects", stats->space.objects);
	print_costs("opening it", NULL, &stats->opened);
	print_costs("looking at every object", &stats->opened, &stats->walked);
	print_number("names", totals->names);
	print_number("directories", totals->directories);
	print_number("bytes of content", totals->length_bytes);
	print_number("bytes allocated", totals->allocated_bytes);
}

static void
put_costs(struct json *json, const char *key, const struct cop_stats *before,
	const struct cop_stats *after)
{
	json_object(json, key);
	for (size_t i = 0; i < ARRAY_COUNT(figures); i++)
		json_unsigned(json, figures[i].name, figure_between(&figures[i], before, after));
	json_close(json);
}

static void
put_all(const struct stats *stats)
{
	const struct totals *totals = &stats->totals;
	struct json json;

	json_begin(&json, stdout, "coppice.stats/1");
	json_string(&json, "volume", stats->operand);
	json_unsigned(&json, "size_bytes", stats->space.volume_bytes);
	json_unsigned(&json, "used_bytes", stats->space.used_bytes);
	json_unsigned(&json, "pending_bytes", stats->space.pending_bytes);
	json_unsigned(&json, "journal_bytes", stats->info.journal_bytes);
	json_unsigned(&json, "generation", stats->info.generation);
	json_unsigned(&json, "objects", stats->space.objects);
	put_costs(&json, "opening", NULL, &stats->opened);
	put_costs(&json, "walk", &stats->opened, &stats->walked);
	json_unsigned(&json, "names", totals->names);
	json_unsigned(&json, "directories", totals->directories);
	json_unsigned(&json, "content_bytes", totals->length_bytes);
	json_unsigned(&json, "allocated_bytes", totals->allocated_bytes);
	json_unsigned(&json, "unreadable", totals->unreadable);
	json_end(&json);
}

/* Opens, walks and asks for figures in between. */
static int
gather(struct stats *stats, const struct address *address)
{
	struct cop_object *root;
	struct cop_volume *volume;
	int err = volumes_open(stats->cli, address, false, &volume);

	if (!err)
		err = cop_stats(volume, &stats->opened);
	if (!err)
		err = cop_root(volume, NULL, &root);
	if (err)
		return err;
	walk(stats, root);
	err = cop_volume_info(volume, &stats->info);
	if (!err)
		err = cop_space(volume, &stats->space);
	return err ? err : cop_stats(volume, &stats->walked);
}

int
verb_stats(struct cli *cli)
{
	struct stats stats = {
		.cli = cli,
		.operand = cli->args.operands[0],
		.info = COP_INIT(stats.info),
		.space = COP_INIT(stats.space),
		.opened = COP_INIT(stats.opened),
		.walked = COP_INIT(stats.walked),
	};
	struct address address;
	int err;

	if (volume_whole(cli, stats.operand, &address) != 0)
		return EXIT_USAGE;
	cli->items++;
	err = gather(&stats, &address);
	address_fini(&address);
	progress_clear(&cli->progress);
	if (err) {
		report(cli, stats.operand, err);
		return EXIT_FINE;
	}
	if (interrupt_requested())
		return EXIT_FINE;
	if (args_has(&cli->args, OPTION_JSON))
		put_all(&stats);
	else
		print_all(&stats);
	if (stats.totals.unreadable > 0)
		complain(cli, stats.operand, EXIT_INTEGRITY, NULL,
			"%" PRIu64 " directories or objects cannot be read",
			stats.totals.unreadable);
	return EXIT_FINE;
}
