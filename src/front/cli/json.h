#ifndef COPPICE_FRONT_CLI_JSON_H
#define COPPICE_FRONT_CLI_JSON_H

/*
 * json: writes one JSON document, as it goes, to a stream.
 *
 * Strings are byte strings. A byte that is not part of valid UTF-8 is written as the lone
 * surrogate \udc80 to \udcff, 0xdc00 plus the byte (the "surrogateescape" of PEP 383): valid UTF-8
 * never has surrogates, so every name can be had back, in Python by os.fsencode(). Times and sizes
 * are integers, in ns and bytes; object numbers, which do not fit a double, are strings.
 *
 * The writer keeps an explicit stack: nesting is what the caller's code nests, JSON_DEPTH_MAX.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { JSON_DEPTH_MAX = 16 };

struct json {
	FILE *stream;
	uint32_t depth;
	bool is_array[JSON_DEPTH_MAX];
	bool has_members[JSON_DEPTH_MAX];
};

/* Begins the document {"coppice_version": ..., "schema": "coppice.SCHEMA", ... */
void json_begin(struct json *json, FILE *stream, const char *schema);
void json_end(struct json *json);

/* `key` is NULL inside an array. */
void json_object(struct json *json, const char *key);
void json_array(struct json *json, const char *key);
void json_close(struct json *json);

void json_bytes(struct json *json, const char *key, const char *data, size_t bytes);
void json_string(struct json *json, const char *key, const char *string);
void json_unsigned(struct json *json, const char *key, uint64_t value);
void json_signed(struct json *json, const char *key, int64_t value);
void json_bool(struct json *json, const char *key, bool value);
void json_null(struct json *json, const char *key);

/* Bytes that are no text, and 64 bits that are no number: as digits of base 16. */
void json_hex(struct json *json, const char *key, const uint8_t *data, size_t bytes);
void json_word(struct json *json, const char *key, uint64_t word);

/* An object number: a string of digits. */
void json_id(struct json *json, const char *key, uint64_t id);

#endif
