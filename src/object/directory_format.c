#include "object/directory_format.h"

#include "base/checksum.h"

enum {
	AT_ID = 0,
	AT_KIND = 8,
	AT_NAME_BYTES = 9,
	HASH_SHIFT = 2, /* 62 bits are left */
	HASH_FIRST = 3, /* 0 to 2 are kept for ".", ".." and the end */
};
static_assert(AT_KIND + 1 == ENTRY_VALUE_BYTES, "the kind ends the value");
static_assert(AT_NAME_BYTES + 1 == ENTRY_INLINE_FIXED_BYTES, "the name follows its length");

uint64_t
name_hash(struct view name, uint64_t seed)
{
	uint64_t hash = hash64(name.data, name.bytes, seed) >> HASH_SHIFT;

	return hash < HASH_FIRST ? hash + HASH_FIRST : hash;
}

struct view
entry_key(uint8_t out[static ENTRY_KEY_BYTES_MAX], struct view name, uint64_t seed)
{
	assert(name.bytes > 0);
	assert(name.bytes <= COP_NAME_BYTES_MAX);
	put_be64(out, name_hash(name, seed));
	memcpy(out + 8, name.data, name.bytes);
	return view_of(out, 8 + name.bytes);
}

int
name_check(struct view name)
{
	if (name.bytes == 0)
		return fail(COP_EINVAL, "an empty name");
	if (name.bytes > COP_NAME_BYTES_MAX)
		return fail(COP_ENAMETOOLONG, "a name of %zu bytes; the most is %d", name.bytes,
			COP_NAME_BYTES_MAX);
	if (memchr(name.data, '/', name.bytes) || memchr(name.data, '\0', name.bytes))
		return fail(COP_EINVAL, "a name with a slash or a zero byte in it");
	if ((name.bytes == 1 && name.data[0] == '.') ||
		(name.bytes == 2 && name.data[0] == '.' && name.data[1] == '.'))
		return fail(COP_EINVAL, "\".\" and \"..\" are no names");
	return 0;
}

int
entry_key_decode(struct view key, uint64_t seed, uint64_t *out_hash, struct view *out_name)
{
	struct view name;

	if (key.bytes < 8 + 1)
		return fail(COP_EFORMAT, "directory key of %zu bytes", key.bytes);
	name = view_of(key.data + 8, key.bytes - 8);
	if (name_check(name) != 0 || get_be64(key.data) != name_hash(name, seed))
		return fail(COP_EFORMAT, "directory key whose hash and name do not match");
	*out_hash = get_be64(key.data);
	*out_name = name;
	return 0;
}

static bool
kind_is_known(uint8_t kind)
{
	return kind >= COP_FILE && kind <= COP_BLOCK_DEVICE;
}

void
entry_value_encode(const struct entry *entry, uint8_t out[static ENTRY_VALUE_BYTES])
{
	assert(entry->id != OBJECT_NONE);
	put_le64(out + AT_ID, entry->id);
	out[AT_KIND] = (uint8_t)entry->kind;
}

int
entry_value_decode(struct view value, struct entry *out_entry)
{
	if (value.bytes != ENTRY_VALUE_BYTES)
		return fail(COP_EFORMAT, "directory entry of %zu bytes", value.bytes);
	if (get_le64(value.data + AT_ID) == OBJECT_NONE || !kind_is_known(value.data[AT_KIND]))
		return fail(COP_EFORMAT, "directory entry for object %" PRIu64 " of kind %u",
			get_le64(value.data + AT_ID), value.data[AT_KIND]);
	out_entry->id = get_le64(value.data + AT_ID);
	out_entry->kind = value.data[AT_KIND];
	return 0;
}

void
entry_inline_encode(const struct entry *entry, struct writer *w)
{
	assert(entry->id != OBJECT_NONE);
	assert(entry->name.bytes > 0);
	assert(entry->name.bytes <= COP_NAME_BYTES_MAX);
	write_le64(w, entry->id);
	write_u8(w, (uint8_t)entry->kind);
	write_u8(w, (uint8_t)entry->name.bytes);
	write_bytes(w, entry->name.data, entry->name.bytes);
}

int
entry_inline_decode(struct reader *r, struct entry *out_entry)
{
	uint64_t id = read_le64(r);
	uint8_t kind = read_u8(r);
	uint8_t name_bytes = read_u8(r);
	const uint8_t *name = read_bytes(r, name_bytes);

	if (r->bad || name_check(view_of(name, name_bytes)) != 0)
		return fail(COP_EFORMAT, "directory entry with a bad name");
	if (id == OBJECT_NONE || !kind_is_known(kind))
		return fail(
			COP_EFORMAT, "directory entry for object %" PRIu64 " of kind %u", id, kind);
	*out_entry = (struct entry){ .id = id, .kind = kind, .name = view_of(name, name_bytes) };
	return 0;
}

int
directory_inline_check(struct view content, uint64_t count)
{
	struct reader r = reader_over(content.data, content.bytes);
	uint64_t found = 0;

	while (r.at < r.bytes) {
		struct reader before = reader_over(content.data, r.at);
		struct entry entry;
		struct entry other;
		int err = entry_inline_decode(&r, &entry);

		if (err)
			return err;
		while (before.at < before.bytes) {
			err = entry_inline_decode(&before, &other);
			if (err)
				return err;
			if (view_equal(entry.name, other.name))
				return fail(COP_EFORMAT, "a directory with a name twice");
		}
		found++;
		if (found > DIRECTORY_INLINE_ENTRIES_MAX)
			return fail(COP_EFORMAT, "too many entries in a record");
	}
	if (found != count)
		return fail(COP_EFORMAT, "a directory of %" PRIu64 " entries has %" PRIu64, count,
			found);
	return 0;
}

struct view
name_key(uint8_t out[static NAME_KEY_BYTES_MAX], uint64_t object, uint64_t parent, struct view name,
	uint64_t seed)
{
	assert(name.bytes > 0);
	assert(name.bytes <= COP_NAME_BYTES_MAX);
	(void)object_key(out, object, KEY_NAME);
	put_be64(out + OBJECT_KEY_BYTES, parent);
	put_be64(out + OBJECT_KEY_BYTES + 8, name_hash(name, seed));
	memcpy(out + OBJECT_KEY_BYTES + 16, name.data, name.bytes);
	return view_of(out, OBJECT_KEY_BYTES + 16 + name.bytes);
}

int
name_key_decode(struct view key, uint64_t seed, uint64_t *out_parent, struct view *out_name)
{
	struct view entry;
	uint64_t hash;
	int err;

	if (key.bytes < OBJECT_KEY_BYTES + 8 || key.data[OBJECT_KEY_BYTES - 1] != KEY_NAME)
		return fail(COP_EFORMAT, "not the key of a name");
	entry = view_of(key.data + OBJECT_KEY_BYTES + 8, key.bytes - OBJECT_KEY_BYTES - 8);
	err = entry_key_decode(entry, seed, &hash, out_name);
	if (err)
		return err;
	*out_parent = get_be64(key.data + OBJECT_KEY_BYTES);
	return 0;
}
