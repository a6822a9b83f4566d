#include "front/cli/text.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *
checked(void *memory)
{
	if (!memory) {
		(void)fputs("coppice: out of memory\n", stderr);
		_exit(1);
	}
	return memory;
}

void *
need(size_t count, size_t size)
{
	return checked(calloc(count > 0 ? count : 1, size));
}

void *
need_more(void *memory, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes))
		return checked(NULL);
	return checked(realloc(memory, bytes > 0 ? bytes : 1));
}

void *
need_aligned(size_t alignment, size_t bytes)
{
	return checked(aligned_alloc(alignment, bytes));
}

char *
need_copy(const char *text)
{
	return need_copy_of(text, strlen(text));
}

char *
need_copy_of(const char *text, size_t bytes)
{
	char *copy = need(bytes + 1, 1);

	memcpy(copy, text, bytes);
	return copy;
}

static void
add_formatted(struct text *text, const char *format, va_list args)
{
	va_list again;
	int bytes;

	assert(format);
	va_copy(again, args);
	bytes = vsnprintf(NULL, 0, format, args);
	assert(bytes >= 0);
	(void)vsnprintf(text_room(text, (size_t)bytes), (size_t)bytes + 1, format, again);
	text->bytes += (size_t)bytes;
	va_end(again);
}

char *
need_format(const char *format, ...)
{
	struct text text = { 0 };
	va_list args;

	va_start(args, format);
	add_formatted(&text, format, args);
	va_end(args);
	return text.data;
}

void
text_fini(struct text *text)
{
	free(text->data);
	*text = (struct text){ 0 };
}

char *
text_room(struct text *text, size_t bytes)
{
	size_t want = text->bytes + bytes + 1;

	if (want > text->capacity) {
		text->capacity = want + want / 2;
		text->data = need_more(text->data, text->capacity, 1);
	}
	text->data[text->bytes] = '\0';
	return text->data + text->bytes;
}

void
text_add(struct text *text, const void *data, size_t bytes)
{
	char *room = text_room(text, bytes);

	if (bytes > 0)
		memcpy(room, data, bytes);
	text->bytes += bytes;
	text->data[text->bytes] = '\0';
}

void
text_add_string(struct text *text, const char *string)
{
	text_add(text, string, strlen(string));
}

void
text_add_format(struct text *text, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_formatted(text, format, args);
	va_end(args);
}

void
text_cut(struct text *text, size_t bytes)
{
	assert(bytes <= text->bytes);
	text->bytes = bytes;
	if (text->data)
		text->data[bytes] = '\0';
}

const char *
text_string(const struct text *text)
{
	return text->data ? text->data : "";
}

void
text_add_name(struct text *text, const char *name, size_t name_bytes)
{
	if (text->bytes > 0 && text->data[text->bytes - 1] != '/')
		text_add(text, "/", 1);
	text_add(text, name, name_bytes);
}

void
path_last(const char *path, const char **out_name, size_t *out_bytes)
{
	size_t end = strlen(path);
	size_t begin;

	while (end > 0 && path[end - 1] == '/')
		end--;
	begin = end;
	while (begin > 0 && path[begin - 1] != '/')
		begin--;
	*out_name = path + begin;
	*out_bytes = end - begin;
}

size_t
path_parent_bytes(const char *path)
{
	const char *name;
	size_t bytes;

	path_last(path, &name, &bytes);
	return (size_t)(name - path);
}

bool
path_ends_in_slash(const char *path)
{
	size_t bytes = strlen(path);

	return bytes > 0 && path[bytes - 1] == '/';
}

bool
name_is_special(const char *name, size_t bytes)
{
	return bytes == 0 || (bytes == 1 && name[0] == '.') ||
	       (bytes == 2 && name[0] == '.' && name[1] == '.');
}
