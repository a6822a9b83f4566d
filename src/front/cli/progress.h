#ifndef COPPICE_FRONT_CLI_PROGRESS_H
#define COPPICE_FRONT_CLI_PROGRESS_H

/*
 * progress: one line on the terminal that says how far a long command is.
 *
 * It appears after two seconds, changes at most ten times a second, has no colour, and goes away
 * before anything else is written to the terminal. Where stderr is no terminal there is none.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress_state {
	const char *verb;
	uint64_t done_bytes;
	uint64_t total_bytes; /* 0: not known */
	uint64_t done_items;
	uint64_t total_items; /* 0: not known */
	uint64_t bytes_per_second;
	uint64_t items_per_second;
};

struct progress {
	struct progress_state state;
	bool is_enabled;
	bool is_shown;
	bool has_no_totals; /* part of what is to be done could not be counted */
	int64_t started_ns;
	int64_t drawn_ns;

	/* What was done when the rates were last measured. */
	int64_t measured_ns;
	uint64_t measured_bytes;
	uint64_t measured_items;
};

void progress_init(struct progress *progress, const char *verb);

/* Counts, and draws when it is time to. */
void progress_add(struct progress *progress, uint64_t items, uint64_t bytes);
/* Adds to the totals what is to come; 0 items: that is not known, and the totals are not. */
void progress_expect(struct progress *progress, uint64_t items, uint64_t bytes);
void progress_set(struct progress *progress, uint64_t done_bytes, uint64_t total_bytes);

/* Takes the line away, before a message or at the end. */
void progress_clear(struct progress *progress);

/* The line for `columns` columns; the longest it can be is PROGRESS_LINE_BYTES. */
enum { PROGRESS_LINE_BYTES = 160 };
void progress_line(
	const struct progress_state *state, size_t columns, char out[static PROGRESS_LINE_BYTES]);

#endif
