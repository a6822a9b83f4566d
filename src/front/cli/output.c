#include "front/cli/output.h"

#include "base/num.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { HALF_YEAR_SECONDS = 31556952 / 2 };
#define NS_PER_SECOND INT64_C(1000000000)

static bool
is_continuation(char byte)
{
	return ((unsigned char)byte & 0xc0) == 0x80;
}

/* The least code point that needs a sequence of this length: shorter ones are not valid. */
static uint32_t
least_of_length(size_t length)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };

	return least[length];
}

static uint32_t
decode_sequence(const char *data, size_t length)
{
	static const uint8_t head_mask[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	uint32_t point = (unsigned char)data[0] & head_mask[length];

	for (size_t i = 1; i < length; i++)
		point = point << 6 | ((unsigned char)data[i] & 0x3f);
	return point;
}

size_t
utf8_sequence(const char *data, size_t bytes)
{
	unsigned char head = (unsigned char)data[0];
	size_t length = head < 0x80 ? 1 : head < 0xc2 ? 0 : head < 0xe0 ? 2 : head < 0xf0 ? 3 : 4;
	uint32_t point;

	if (length == 0 || head > 0xf4 || length > bytes)
		return 0;
	for (size_t i = 1; i < length; i++) {
		if (!is_continuation(data[i]))
			return 0;
	}
	point = decode_sequence(data, length);
	if (point < least_of_length(length) || point > 0x10ffff)
		return 0;
	if (point >= 0xd800 && point <= 0xdfff)
		return 0;
	return length;
}

size_t
text_columns(const char *data, size_t bytes)
{
	size_t columns = 0;

	for (size_t i = 0; i < bytes; i++)
		columns += !is_continuation(data[i]);
	return columns;
}

static void
add_escape(struct text *text, unsigned char byte)
{
	static const char letters[] = "abtnvfr";

	if (byte == 0x1b)
		text_add_string(text, "\\e");
	else if (byte >= 7 && byte <= 13)
		text_add_format(text, "\\%c", letters[byte - 7]);
	else
		text_add_format(text, "\\x%02x", byte);
}

void
text_add_escaped(struct text *text, const char *data, size_t bytes)
{
	size_t at = 0;

	while (at < bytes) {
		unsigned char byte = (unsigned char)data[at];
		size_t length = utf8_sequence(data + at, bytes - at);
		bool c1 = length == 2 && decode_sequence(data + at, 2) < 0xa0;

		if (length == 0 || byte < 0x20 || byte == 0x7f) {
			add_escape(text, byte);
			at++;
		} else if (c1) {
			add_escape(text, byte);
			add_escape(text, (unsigned char)data[at + 1]);
			at += 2;
		} else if (byte == '\\') {
			text_add_string(text, "\\\\");
			at++;
		} else {
			text_add(text, data + at, length);
			at += length;
		}
	}
}

static bool
is_plain_word(const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_-./:@,+=%^";

	return word[0] != '\0' && strspn(word, plain) == strlen(word);
}

static bool
has_unprintable(const char *word)
{
	struct text escaped = { 0 };
	size_t backslashes = 0;
	bool different;

	for (const char *at = word; *at != '\0'; at++)
		backslashes += *at == '\\';
	text_add_escaped(&escaped, word, strlen(word));
	different = escaped.bytes != strlen(word) + backslashes;
	text_fini(&escaped);
	return different;
}

void
text_add_quoted(struct text *text, const char *word)
{
	struct text escaped = { 0 };
	bool dollar = has_unprintable(word);

	if (is_plain_word(word)) {
		text_add_string(text, word);
		return;
	}
	if (dollar)
		text_add_escaped(&escaped, word, strlen(word));
	else
		text_add_string(&escaped, word);
	text_add_string(text, dollar ? "$'" : "'");
	for (const char *at = text_string(&escaped); *at != '\0'; at++) {
		if (*at == '\'')
			text_add_string(text, dollar ? "\\'" : "'\\''");
		else
			text_add(text, at, 1);
	}
	text_add_string(text, "'");
	text_fini(&escaped);
}

void
format_size(uint64_t size_bytes, char out[static SIZE_TEXT_BYTES])
{
	static const char units[] = "KMGTPE";
	uint64_t unit_bytes = 1024;
	size_t unit = 0;
	uint64_t tenths;

	if (size_bytes < 1024) {
		(void)snprintf(out, SIZE_TEXT_BYTES, "%" PRIu64, size_bytes);
		return;
	}
	while (unit + 1 < strlen(units) && div_up(size_bytes, unit_bytes) >= 1024) {
		unit_bytes *= 1024;
		unit++;
	}
	/* Tenths from whole and rest, as ten times the bytes may not fit 64 bits. */
	tenths = size_bytes / unit_bytes * 10 + div_up(size_bytes % unit_bytes * 10, unit_bytes);
	if (tenths < 100)
		(void)snprintf(out, SIZE_TEXT_BYTES, "%" PRIu64 ".%" PRIu64 "%c", tenths / 10,
			tenths % 10, units[unit]);
	else
		(void)snprintf(out, SIZE_TEXT_BYTES, "%" PRIu64 "%c",
			div_up(size_bytes, unit_bytes), units[unit]);
}

static char
kind_letter(enum cop_kind kind)
{
	static const char letters[] = "?-dlpscb";

	return (size_t)kind < strlen(letters) ? letters[kind] : '?';
}

/* The execute letter of one class, which also tells setid and sticky. */
static char
execute_letter(bool execute, bool special, char both)
{
	if (special)
		return execute ? both : (char)(both - 'a' + 'A');
	return execute ? 'x' : '-';
}

void
format_mode(enum cop_kind kind, uint32_t mode, char out[static MODE_TEXT_BYTES])
{
	static const char letters[] = "rwxrwxrwx";

	out[0] = kind_letter(kind);
	for (int i = 0; i < 9; i++)
		out[i + 1] = (char)(mode & (0400u >> i) ? letters[i] : '-');
	out[3] = execute_letter(mode & 0100, mode & 04000, 's');
	out[6] = execute_letter(mode & 0010, mode & 02000, 's');
	out[9] = execute_letter(mode & 0001, mode & 01000, 't');
	out[10] = '\0';
}

static void
split_time(int64_t time_ns, time_t *out_seconds, int64_t *out_ns)
{
	int64_t seconds = time_ns / NS_PER_SECOND;
	int64_t ns = time_ns % NS_PER_SECOND;

	if (ns < 0) {
		ns += NS_PER_SECOND;
		seconds--;
	}
	*out_seconds = (time_t)seconds;
	*out_ns = ns;
}

void
format_time(int64_t time_ns, char out[static TIME_TEXT_BYTES])
{
	struct tm local;
	time_t seconds;
	int64_t ns;
	size_t bytes;

	split_time(time_ns, &seconds, &ns);
	(void)localtime_r(&seconds, &local);
	bytes = strftime(out, TIME_TEXT_BYTES, "%Y-%m-%d %H:%M:%S", &local);
	bytes += (size_t)snprintf(out + bytes, TIME_TEXT_BYTES - bytes, ".%09" PRId64, ns);
	(void)strftime(out + bytes, TIME_TEXT_BYTES - bytes, " %z", &local);
}

void
format_time_short(int64_t time_ns, int64_t now_ns, char out[static TIME_TEXT_BYTES])
{
	struct tm local;
	time_t seconds;
	time_t now;
	int64_t ns;
	bool near;

	split_time(now_ns, &now, &ns);
	split_time(time_ns, &seconds, &ns);
	near = seconds <= now && seconds > now - HALF_YEAR_SECONDS;
	(void)localtime_r(&seconds, &local);
	(void)strftime(out, TIME_TEXT_BYTES, near ? "%b %e %H:%M" : "%b %e  %Y", &local);
}

const char *
kind_name(enum cop_kind kind)
{
	switch (kind) {
	case COP_FILE:
		return "file";
	case COP_DIRECTORY:
		return "directory";
	case COP_SYMLINK:
		return "symlink";
	case COP_FIFO:
		return "fifo";
	case COP_SOCKET:
		return "socket";
	case COP_CHAR_DEVICE:
		return "character device";
	case COP_BLOCK_DEVICE:
		return "block device";
	}
	return "unknown";
}

const char *
form_name(enum cop_content_form form)
{
	switch (form) {
	case COP_FORM_NONE:
		return "none";
	case COP_FORM_INLINE:
		return "inline";
	case COP_FORM_EXTENTS:
		return "extents";
	case COP_FORM_TREE:
		return "tree";
	}
	return "unknown";
}

const char *
doctype_name(uint32_t doctype)
{
	static const char *const names[] = { "unknown", "application", "tag", "tag database" };

	return doctype < ARRAY_COUNT(names) ? names[doctype] : "unknown";
}

/* The power of 1024 that a suffix stands for, or -1. */
static int
suffix_power(const char *suffix)
{
	static const char units[] = "KMGTPE";
	const char *unit;

	if (suffix[0] == '\0')
		return 0;
	unit = strchr(units, suffix[0] >= 'a' ? suffix[0] - 'a' + 'A' : suffix[0]);
	if (!unit)
		return -1;
	if (suffix[1] != '\0' && strcmp(suffix + 1, "iB") != 0)
		return -1;
	return (int)(unit - units) + 1;
}

bool
parse_size(const char *text, uint64_t *out_bytes)
{
	uint64_t bytes = 0;
	const char *at = text;
	int power;

	for (; *at >= '0' && *at <= '9'; at++) {
		if (__builtin_mul_overflow(bytes, UINT64_C(10), &bytes) ||
			__builtin_add_overflow(bytes, (uint64_t)(*at - '0'), &bytes))
			return false;
	}
	power = suffix_power(at);
	if (at == text || power < 0)
		return false;
	for (; power > 0; power--) {
		if (__builtin_mul_overflow(bytes, UINT64_C(1024), &bytes))
			return false;
	}
	*out_bytes = bytes;
	return true;
}
