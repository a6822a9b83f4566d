/*
 * Counting a tree before it is copied, so that the progress line can say how long it will take.
 * Only where there is such a line, and not for longer than the line takes to appear: a tree that
 * is larger is copied without totals.
 */

#include "base/num.h"
#include "front/cli/cli.h"
#include "front/cli/copy.h"
#include "front/cli/interrupt.h"

#include <stdlib.h>
#include <time.h>

enum { COUNT_SECONDS = 2 };

struct counting {
	struct source *source;
	struct source_directory **stack;
	size_t depth;
	size_t capacity;
	uint64_t items;
	uint64_t bytes;
	time_t deadline;
};

static time_t
now_seconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static void
push(struct counting *counting, struct source_directory *directory)
{
	const struct source_ops *ops = counting->source->ops;

	if (counting->depth == counting->capacity) {
		counting->capacity = 2 * counting->capacity + 16;
		counting->stack =
			need_more(counting->stack, counting->capacity, sizeof *counting->stack);
	}
	counting->stack[counting->depth++] = directory;
	if (counting->depth > COPY_OPEN_LEVELS && ops->suspend) {
		struct source_directory *old =
			counting->stack[counting->depth - 1 - COPY_OPEN_LEVELS];

		if (!old->is_suspended)
			ops->suspend(old);
	}
}

/* False when the directory above cannot be found again. */
static bool
pop(struct counting *counting)
{
	const struct source_ops *ops = counting->source->ops;
	struct source_directory *top = counting->stack[--counting->depth];
	bool found = true;

	if (counting->depth > 0 && counting->stack[counting->depth - 1]->is_suspended)
		found = !top->is_suspended &&
			ops->resume(counting->stack[counting->depth - 1], top) == 0;
	ops->leave(top);
	return found;
}

uint64_t
copy_data_bytes(const struct item *item)
{
	return min_u64(item->length, item->allocated_bytes);
}

static void
count_file(struct counting *counting, struct source_file *file)
{
	struct source_directory *directory;

	counting->items++;
	if (file->item.kind == COP_FILE)
		counting->bytes += copy_data_bytes(&file->item);
	if (file->item.kind == COP_DIRECTORY &&
		counting->source->ops->enter(counting->source, file, &directory) == 0)
		push(counting, directory);
	else
		counting->source->ops->close(file);
}

static bool
count_next(struct counting *counting)
{
	struct source_directory *top = counting->stack[counting->depth - 1];
	struct source_file file;
	const char *name = NULL;
	size_t name_bytes;

	if (counting->source->ops->next(top, &name, &name_bytes) != 0 || !name)
		return pop(counting);
	if (counting->source->ops->open(counting->source, top, name, name_bytes, &file) == 0)
		count_file(counting, &file);
	return true;
}

void
copy_count(struct copy *copy, const struct address *address)
{
	struct counting counting = {
		.source = copy->source,
		.deadline = now_seconds() + COUNT_SECONDS,
	};
	struct source_file file;
	bool counts = copy->cli->progress.is_enabled && copy->recursive;

	if (!counts || copy->source->ops->open_top(copy->source, address, false, &file) != 0)
		return;
	count_file(&counting, &file);
	while (counting.depth > 0 && counts)
		counts = !interrupt_requested() && now_seconds() <= counting.deadline &&
			 count_next(&counting);
	while (counting.depth > 0)
		copy->source->ops->leave(counting.stack[--counting.depth]);
	free(counting.stack);
	/* What could not be opened is met again by the copy, and told of then. */
	err_clear();
	progress_expect(
		&copy->cli->progress, counts ? counting.items : 0, counts ? counting.bytes : 0);
}
