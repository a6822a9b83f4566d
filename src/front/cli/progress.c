#include "front/cli/progress.h"

#include "base/num.h"
#include "front/cli/output.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_SECOND   INT64_C(1000000000)
#define SHOW_AFTER_NS   (2 * NS_PER_SECOND)
#define REDRAW_NS       (NS_PER_SECOND / 10)
#define MEASURE_NS      (NS_PER_SECOND / 2)
#define COLUMNS_UNKNOWN 80

static int64_t
now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

static bool
terminal_can_redraw(void)
{
	const char *term = getenv("TERM");

	return isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0);
}

void
progress_init(struct progress *progress, const char *verb)
{
	*progress = (struct progress){
		.state.verb = verb,
		.is_enabled = terminal_can_redraw(),
		.started_ns = now_ns(),
	};
	progress->measured_ns = progress->started_ns;
}

static size_t
terminal_columns(void)
{
	struct winsize size = { 0 };

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
		return COLUMNS_UNKNOWN;
	return size.ws_col;
}

/* The mean of what it was and what it is now, so that the figure does not jump about. */
static uint64_t
smooth(uint64_t old, uint64_t done, int64_t elapsed_ns)
{
	uint64_t fresh = (uint64_t)((double)done * (double)NS_PER_SECOND / (double)elapsed_ns);

	return old == 0 ? fresh : (3 * old + fresh) / 4;
}

static void
measure(struct progress *progress, int64_t now)
{
	struct progress_state *state = &progress->state;
	int64_t elapsed_ns = now - progress->measured_ns;

	if (elapsed_ns < MEASURE_NS)
		return;
	state->bytes_per_second = smooth(
		state->bytes_per_second, state->done_bytes - progress->measured_bytes, elapsed_ns);
	state->items_per_second = smooth(
		state->items_per_second, state->done_items - progress->measured_items, elapsed_ns);
	progress->measured_ns = now;
	progress->measured_bytes = state->done_bytes;
	progress->measured_items = state->done_items;
}

static void
draw(struct progress *progress)
{
	char line[PROGRESS_LINE_BYTES];
	int64_t now;

	if (!progress->is_enabled)
		return;
	now = now_ns();
	measure(progress, now);
	if (now - progress->started_ns < SHOW_AFTER_NS || now - progress->drawn_ns < REDRAW_NS)
		return;
	progress_line(&progress->state, terminal_columns(), line);
	(void)fprintf(stderr, "\r%s\033[K", line);
	(void)fflush(stderr);
	progress->drawn_ns = now;
	progress->is_shown = true;
}

void
progress_add(struct progress *progress, uint64_t items, uint64_t bytes)
{
	progress->state.done_items += items;
	progress->state.done_bytes += bytes;
	draw(progress);
}

void
progress_expect(struct progress *progress, uint64_t items, uint64_t bytes)
{
	struct progress_state *state = &progress->state;

	progress->has_no_totals = progress->has_no_totals || items == 0;
	state->total_items = progress->has_no_totals ? 0 : state->total_items + items;
	state->total_bytes = progress->has_no_totals ? 0 : state->total_bytes + bytes;
}

void
progress_set(struct progress *progress, uint64_t done_bytes, uint64_t total_bytes)
{
	progress->state.done_bytes = done_bytes;
	progress->state.total_bytes = total_bytes;
	draw(progress);
}

void
progress_clear(struct progress *progress)
{
	if (!progress->is_shown)
		return;
	(void)fputs("\r\033[K", stderr);
	(void)fflush(stderr);
	progress->is_shown = false;
}

/* Seconds to go by the slower of bytes and items, or -1 when there is no telling. */
static int64_t
seconds_left(const struct progress_state *state)
{
	int64_t seconds = -1;

	if (state->total_bytes >= state->done_bytes && state->total_bytes > 0 &&
		state->bytes_per_second > 0)
		seconds = (int64_t)div_up(
			state->total_bytes - state->done_bytes, state->bytes_per_second);
	if (state->total_items >= state->done_items && state->total_items > 0 &&
		state->items_per_second > 0) {
		int64_t by_items = (int64_t)div_up(
			state->total_items - state->done_items, state->items_per_second);

		seconds = by_items > seconds ? by_items : seconds;
	}
	return seconds;
}

static void
add_amounts(struct text *text, const struct progress_state *state)
{
	char done[SIZE_TEXT_BYTES];
	char total[SIZE_TEXT_BYTES];

	format_size(state->done_bytes, done);
	format_size(state->total_bytes, total);
	if (state->total_bytes > 0 && state->total_bytes >= state->done_bytes) {
		text_add_format(text, " %3u%%  %s of %s",
			(unsigned)((double)state->done_bytes * 100 / (double)state->total_bytes),
			done, total);
	} else {
		text_add_format(text, " %s", done);
	}
	if (state->total_items > 0)
		text_add_format(text, ", %" PRIu64 " of %" PRIu64 " files", state->done_items,
			state->total_items);
	else if (state->done_items > 0)
		text_add_format(text, ", %" PRIu64 " files", state->done_items);
}

void
progress_line(
	const struct progress_state *state, size_t columns, char out[static PROGRESS_LINE_BYTES])
{
	struct text text = { 0 };
	char rate[SIZE_TEXT_BYTES];
	int64_t left = seconds_left(state);
	size_t room = min_u64(columns > 0 ? columns - 1 : 0, PROGRESS_LINE_BYTES - 1);

	text_add_format(&text, "%s:", state->verb);
	add_amounts(&text, state);
	format_size(state->bytes_per_second, rate);
	text_add_format(&text, ", %s/s", rate);
	if (left >= 0)
		text_add_format(&text, ", %" PRId64 ":%02" PRId64 " left", left / 60, left % 60);
	(void)snprintf(out, PROGRESS_LINE_BYTES, "%.*s", (int)room, text_string(&text));
	text_fini(&text);
}
