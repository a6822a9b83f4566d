#ifndef COPPICE_BASE_BYTES_H
#define COPPICE_BASE_BYTES_H

/*
 * bytes: little-endian fields at explicit offsets, cursors over byte strings, and what is zero.
 *
 * A cursor (`struct reader`, `struct writer`) turns bad at the first overrun and stays so; one
 * check at the end covers everything done with it. A bad reader yields zeros, a bad writer drops.
 */

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* None of them is anything else; true of no bytes. */
static inline bool
bytes_are_zero(const void *bytes, size_t count)
{
	const uint8_t *at = bytes;

	return count == 0 || (at[0] == 0 && memcmp(at, at + 1, count - 1) == 0);
}

static inline uint16_t
get_le16(const void *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof value);
	return value;
}

static inline uint32_t
get_le32(const void *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof value);
	return value;
}

static inline uint64_t
get_le64(const void *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof value);
	return value;
}

static inline void
put_le16(void *at, uint16_t value)
{
	memcpy(at, &value, sizeof value);
}

static inline void
put_le32(void *at, uint32_t value)
{
	memcpy(at, &value, sizeof value);
}

static inline void
put_le64(void *at, uint64_t value)
{
	memcpy(at, &value, sizeof value);
}

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a big-endian host needs swaps here");

/* Big-endian, for keys, whose order under memcmp must be that of the numbers. */
static inline void
put_be64(void *at, uint64_t value)
{
	put_le64(at, __builtin_bswap64(value));
}

static inline uint64_t
get_be64(const void *at)
{
	return __builtin_bswap64(get_le64(at));
}

static inline void
put_be32(void *at, uint32_t value)
{
	put_le32(at, __builtin_bswap32(value));
}

static inline uint32_t
get_be32(const void *at)
{
	return __builtin_bswap32(get_le32(at));
}

/* Bytes that somebody else owns. */
struct view {
	const uint8_t *data;
	size_t bytes;
};

static inline struct view
view_of(const void *data, size_t bytes)
{
	return (struct view){ .data = data, .bytes = bytes };
}

/* memcmp order, a prefix before what it begins. */
static inline int
view_compare(struct view a, struct view b)
{
	size_t common = a.bytes < b.bytes ? a.bytes : b.bytes;
	int order = common == 0 ? 0 : memcmp(a.data, b.data, common);

	if (order != 0)
		return order;
	return a.bytes < b.bytes ? -1 : a.bytes > b.bytes;
}

static inline bool
view_equal(struct view a, struct view b)
{
	return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.data, b.data, a.bytes) == 0);
}

struct reader {
	const uint8_t *data;
	size_t bytes;
	size_t at;
	bool bad;
};

static inline struct reader
reader_over(const void *data, size_t bytes)
{
	return (struct reader){ .data = data, .bytes = bytes };
}

/* `bytes` bytes in place, or NULL and bad. */
static inline const uint8_t *
read_bytes(struct reader *r, size_t bytes)
{
	const uint8_t *at;

	if (r->bad || bytes > r->bytes - r->at) {
		r->bad = true;
		return NULL;
	}
	at = r->data + r->at;
	r->at += bytes;
	return at;
}

static inline uint8_t
read_u8(struct reader *r)
{
	const uint8_t *at = read_bytes(r, 1);

	return at ? *at : 0;
}

static inline uint16_t
read_le16(struct reader *r)
{
	const uint8_t *at = read_bytes(r, 2);

	return at ? get_le16(at) : 0;
}

static inline uint32_t
read_le32(struct reader *r)
{
	const uint8_t *at = read_bytes(r, 4);

	return at ? get_le32(at) : 0;
}

static inline uint64_t
read_le64(struct reader *r)
{
	const uint8_t *at = read_bytes(r, 8);

	return at ? get_le64(at) : 0;
}

/* Everything was there and nothing is left. */
static inline bool
reader_is_done(const struct reader *r)
{
	return !r->bad && r->at == r->bytes;
}

struct writer {
	uint8_t *data;
	size_t bytes; /* capacity */
	size_t at;
	bool bad;
};

static inline struct writer
writer_over(void *data, size_t bytes)
{
	return (struct writer){ .data = data, .bytes = bytes };
}

static inline void
write_bytes(struct writer *w, const void *from, size_t bytes)
{
	if (w->bad || bytes > w->bytes - w->at) {
		w->bad = true;
		return;
	}
	if (bytes > 0)
		memcpy(w->data + w->at, from, bytes);
	w->at += bytes;
}

static inline void
write_u8(struct writer *w, uint8_t value)
{
	write_bytes(w, &value, 1);
}

static inline void
write_le16(struct writer *w, uint16_t value)
{
	uint8_t bytes[2];

	put_le16(bytes, value);
	write_bytes(w, bytes, sizeof bytes);
}

static inline void
write_le32(struct writer *w, uint32_t value)
{
	uint8_t bytes[4];

	put_le32(bytes, value);
	write_bytes(w, bytes, sizeof bytes);
}

static inline void
write_le64(struct writer *w, uint64_t value)
{
	uint8_t bytes[8];

	put_le64(bytes, value);
	write_bytes(w, bytes, sizeof bytes);
}

#endif
