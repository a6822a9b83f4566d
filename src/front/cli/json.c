#include "front/cli/json.h"

#include "coppice.h"
#include "front/cli/output.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

static void
put_escaped(FILE *stream, unsigned char byte)
{
	switch (byte) {
	case '"':
	case '\\':
		(void)fprintf(stream, "\\%c", byte);
		return;
	case '\n':
		(void)fputs("\\n", stream);
		return;
	case '\t':
		(void)fputs("\\t", stream);
		return;
	default:
		(void)fprintf(stream, "\\u%04x", byte);
	}
}

static void
put_string(FILE *stream, const char *data, size_t bytes)
{
	size_t at = 0;

	(void)putc('"', stream);
	while (at < bytes) {
		unsigned char byte = (unsigned char)data[at];
		size_t length = utf8_sequence(data + at, bytes - at);

		if (length == 0) {
			(void)fprintf(stream, "\\udc%02x", byte);
			at++;
		} else if (byte < 0x20 || byte == 0x7f || byte == '"' || byte == '\\') {
			put_escaped(stream, byte);
			at++;
		} else {
			(void)fwrite(data + at, 1, length, stream);
			at += length;
		}
	}
	(void)putc('"', stream);
}

static void
indent(struct json *json)
{
	(void)putc('\n', json->stream);
	for (uint32_t i = 0; i < json->depth; i++)
		(void)fputs("  ", json->stream);
}

/* What stands before a value: the comma, the line, the key. */
static void
begin_value(struct json *json, const char *key)
{
	uint32_t top = json->depth - 1;

	assert(json->depth > 0);
	assert(json->is_array[top] == !key);
	if (json->has_members[top])
		(void)putc(',', json->stream);
	json->has_members[top] = true;
	indent(json);
	if (key) {
		put_string(json->stream, key, strlen(key));
		(void)fputs(": ", json->stream);
	}
}

static void
open_level(struct json *json, bool is_array)
{
	assert(json->depth < JSON_DEPTH_MAX);
	(void)putc(is_array ? '[' : '{', json->stream);
	json->is_array[json->depth] = is_array;
	json->has_members[json->depth] = false;
	json->depth++;
}

void
json_begin(struct json *json, FILE *stream, const char *schema)
{
	char version[32];

	*json = (struct json){ .stream = stream };
	open_level(json, false);
	(void)snprintf(version, sizeof version, "%d.%d.%d", COP_VERSION_MAJOR, COP_VERSION_MINOR,
		COP_VERSION_PATCH);
	json_string(json, "coppice_version", version);
	json_string(json, "schema", schema);
}

void
json_end(struct json *json)
{
	assert(json->depth == 1);
	json_close(json);
	(void)putc('\n', json->stream);
}

void
json_object(struct json *json, const char *key)
{
	begin_value(json, key);
	open_level(json, false);
}

void
json_array(struct json *json, const char *key)
{
	begin_value(json, key);
	open_level(json, true);
}

void
json_close(struct json *json)
{
	assert(json->depth > 0);
	json->depth--;
	if (json->has_members[json->depth])
		indent(json);
	(void)putc(json->is_array[json->depth] ? ']' : '}', json->stream);
}

void
json_bytes(struct json *json, const char *key, const char *data, size_t bytes)
{
	begin_value(json, key);
	put_string(json->stream, data, bytes);
}

void
json_string(struct json *json, const char *key, const char *string)
{
	json_bytes(json, key, string, strlen(string));
}

void
json_unsigned(struct json *json, const char *key, uint64_t value)
{
	begin_value(json, key);
	(void)fprintf(json->stream, "%" PRIu64, value);
}

void
json_signed(struct json *json, const char *key, int64_t value)
{
	begin_value(json, key);
	(void)fprintf(json->stream, "%" PRId64, value);
}

void
json_bool(struct json *json, const char *key, bool value)
{
	begin_value(json, key);
	(void)fputs(value ? "true" : "false", json->stream);
}

void
json_null(struct json *json, const char *key)
{
	begin_value(json, key);
	(void)fputs("null", json->stream);
}

void
json_id(struct json *json, const char *key, uint64_t id)
{
	begin_value(json, key);
	(void)fprintf(json->stream, "\"%" PRIu64 "\"", id);
}

void
json_hex(struct json *json, const char *key, const uint8_t *data, size_t bytes)
{
	begin_value(json, key);
	(void)putc('"', json->stream);
	for (size_t i = 0; i < bytes; i++)
		(void)fprintf(json->stream, "%02x", data[i]);
	(void)putc('"', json->stream);
}

void
json_word(struct json *json, const char *key, uint64_t word)
{
	begin_value(json, key);
	(void)fprintf(json->stream, "\"%016" PRIx64 "\"", word);
}
