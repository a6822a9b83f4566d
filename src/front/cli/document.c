#include "front/cli/document.h"

#include "front/cli/output.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum { INDENT = 2, LINE_MAX_COLUMNS = 100, NUMBER_BYTES = 24 };

/* Members of what is open stand that far in. */
static size_t
indent_of(const struct document *document)
{
	size_t columns = 0;

	for (uint32_t i = 1; i < document->depth; i++)
		columns += document->is_array[i] ? INDENT : 0;
	/* An object in an array begins with "- ". */
	for (uint32_t i = 2; i < document->depth; i++)
		columns += !document->is_array[i] ? INDENT : 0;
	return columns;
}

static void
end_line(struct document *document)
{
	if (document->is_line_open)
		(void)putc('\n', document->stream);
	document->is_line_open = false;
}

static void
begin_line(struct document *document, size_t columns)
{
	end_line(document);
	for (size_t i = 0; i < columns; i++)
		(void)putc(' ', document->stream);
	document->is_line_open = true;
	document->is_line_empty = true;
	document->column = columns;
}

static void
put_text(struct document *document, const char *text, size_t bytes)
{
	(void)fwrite(text, 1, bytes, document->stream);
	document->column += text_columns(text, bytes);
}

/* A plain member, after a comma, in this line or the next one. */
static void
put_member(struct document *document, const char *name, const char *value, size_t bytes)
{
	size_t columns = (name ? strlen(name) + 1 : 0) + text_columns(value, bytes);

	if (document->is_line_open && !document->is_line_empty) {
		put_text(document, ",", 1);
		if (document->column + 1 + columns > LINE_MAX_COLUMNS)
			begin_line(document, indent_of(document) + INDENT);
		else
			put_text(document, " ", 1);
	} else if (!document->is_line_open) {
		begin_line(document, indent_of(document));
	}
	if (name) {
		put_text(document, name, strlen(name));
		put_text(document, " ", 1);
	}
	put_text(document, value, bytes);
	document->is_line_empty = false;
}

static void
put_number(struct document *document, const struct cop_dump_item *item)
{
	char value[NUMBER_BYTES];

	switch (item->type) {
	case COP_DUMP_SIGNED:
		(void)snprintf(value, sizeof value, "%" PRId64, (int64_t)item->number);
		break;
	case COP_DUMP_BOOL:
		(void)snprintf(value, sizeof value, "%s", item->number ? "yes" : "no");
		break;
	case COP_DUMP_WORD:
		(void)snprintf(value, sizeof value, "%016" PRIx64, item->number);
		break;
	default:
		(void)snprintf(value, sizeof value, "%" PRIu64, item->number);
	}
	put_member(document, item->name, value, strlen(value));
}

static void
put_name(struct document *document, const struct cop_dump_item *item)
{
	struct text text = { 0 };

	text_add_string(&text, "\"");
	text_add_escaped(&text, item->data, item->bytes);
	text_add_string(&text, "\"");
	put_member(document, item->name, text.data, text.bytes);
	text_fini(&text);
}

static void
put_bytes(struct document *document, const struct cop_dump_item *item)
{
	const uint8_t *data = item->data;
	struct text text = { 0 };

	if (item->bytes == 0)
		text_add_string(&text, "-");
	for (size_t i = 0; i < item->bytes; i++)
		text_add_format(&text, "%02x", data[i]);
	put_member(document, item->name, text.data, text.bytes);
	text_fini(&text);
}

static void
open_level(struct document *document, const struct cop_dump_item *item)
{
	bool is_array = item->type == COP_DUMP_BEGIN_ARRAY;
	bool is_in_array = document->is_array[document->depth - 1];

	assert(document->depth < DOCUMENT_DEPTH_MAX);
	begin_line(document, indent_of(document));
	if (item->name) {
		put_text(document, item->name, strlen(item->name));
		put_text(document, is_array ? ":" : ": ", is_array ? 1 : 2);
	} else if (is_in_array) {
		put_text(document, "- ", 2);
	}
	document->is_array[document->depth++] = is_array;
	if (is_array)
		end_line(document);
}

void
document_begin(struct document *document, FILE *stream)
{
	*document = (struct document){ .stream = stream, .depth = 1 };
}

void
document_put(struct document *document, const struct cop_dump_item *item)
{
	switch (item->type) {
	case COP_DUMP_BEGIN_OBJECT:
	case COP_DUMP_BEGIN_ARRAY:
		open_level(document, item);
		break;
	case COP_DUMP_END:
		assert(document->depth > 1);
		document->depth--;
		end_line(document);
		break;
	case COP_DUMP_TEXT:
		put_name(document, item);
		break;
	case COP_DUMP_BYTES:
		put_bytes(document, item);
		break;
	default:
		put_number(document, item);
	}
}

void
document_end(struct document *document)
{
	end_line(document);
}
