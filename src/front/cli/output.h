#ifndef COPPICE_FRONT_CLI_OUTPUT_H
#define COPPICE_FRONT_CLI_OUTPUT_H

/*
 * output: bytes, sizes, times and modes for people.
 *
 * A name may hold any byte, also those that move the cursor of a terminal or recolour it. Escaped,
 * a control byte (0 to 31, 127, and the C1 controls of Unicode) and a byte that is not part of
 * valid UTF-8 becomes \a \b \t \n \v \f \r \e or \xHH; a backslash becomes two.
 */

#include "coppice.h"
#include "front/cli/text.h"

#include <stdbool.h>
#include <stdint.h>

/* Bytes of the UTF-8 sequence at `data`, 0 when it is none. `bytes` is at least 1. */
size_t utf8_sequence(const char *data, size_t bytes);

/* Columns of a terminal that the bytes take, one for each sequence. */
size_t text_columns(const char *data, size_t bytes);

void text_add_escaped(struct text *text, const char *data, size_t bytes);

/* As a word of the shell: in quotes where it needs them, control bytes by $'...'. */
void text_add_quoted(struct text *text, const char *word);

enum { SIZE_TEXT_BYTES = 16, MODE_TEXT_BYTES = 11, TIME_TEXT_BYTES = 40 };

/* "0", "812", "4.0K", "64M", "1.5G": powers of 1024, rounded up, as ls -h has them. */
void format_size(uint64_t size_bytes, char out[static SIZE_TEXT_BYTES]);

/* "drwxr-sr-t" */
void format_mode(enum cop_kind kind, uint32_t mode, char out[static MODE_TEXT_BYTES]);

/* "2026-11-21 09:05:26.000000000 +0000", in the local time zone. */
void format_time(int64_t time_ns, char out[static TIME_TEXT_BYTES]);

/* "Nov 21 09:05", or "Nov 21  2019" when it is more than half a year away from `now_ns`. */
void format_time_short(int64_t time_ns, int64_t now_ns, char out[static TIME_TEXT_BYTES]);

/* "file", "directory", ... */
const char *kind_name(enum cop_kind kind);
const char *form_name(enum cop_content_form form);
const char *doctype_name(uint32_t doctype);

/*
 * A size as a person writes it: 4096, 64K, 1.5G is not one, 2TiB is. Suffixes K M G T P E with or
 * without "iB", powers of 1024. False when it is none, or too large for 64 bits.
 */
bool parse_size(const char *text, uint64_t *out_bytes);

#endif
