#ifndef COPPICE_FRONT_CLI_TEXT_H
#define COPPICE_FRONT_CLI_TEXT_H

/*
 * text: memory and growing strings for a program that ends when memory does.
 *
 * The functions here never return NULL: out of memory ends the process with a sentence and exit
 * code 1. What a volume had not been asked to make durable is then lost, as in a crash, and
 * nothing else.
 */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NEVER_NULL __attribute__((returns_nonnull))

/* Zeroed; freed with free(). */
NEVER_NULL void *need(size_t count, size_t size);
NEVER_NULL void *need_more(void *memory, size_t count, size_t size);
NEVER_NULL void *need_aligned(size_t alignment, size_t bytes);
NEVER_NULL char *need_copy(const char *text);
NEVER_NULL char *need_copy_of(const char *text, size_t bytes);
NEVER_NULL char *need_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A byte string that grows; `data` has a NUL after `bytes`, or is NULL while nothing was added. */
struct text {
	char *data;
	size_t bytes;
	size_t capacity;
};

void text_fini(struct text *text);
void text_add(struct text *text, const void *data, size_t bytes);
void text_add_string(struct text *text, const char *string);
void text_add_format(struct text *text, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Room for `bytes` more after the end, which the caller fills and then counts in `bytes`. */
NEVER_NULL char *text_room(struct text *text, size_t bytes);
void text_cut(struct text *text, size_t bytes);

/* The string, "" while empty. */
const char *text_string(const struct text *text);

/* Adds "/" unless the text ends in one, then the name: the way down in a path. */
void text_add_name(struct text *text, const char *name, size_t name_bytes);

/* The part of a path after its last '/', with slashes at the end left out; may be empty. */
void path_last(const char *path, const char **out_name, size_t *out_bytes);

/* How many bytes of `path` come before that part. */
size_t path_parent_bytes(const char *path);

bool path_ends_in_slash(const char *path);

/* True for an empty name, "." and "..": names that cannot be made or removed. */
bool name_is_special(const char *name, size_t bytes);

#endif
