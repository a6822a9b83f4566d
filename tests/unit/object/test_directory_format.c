#include "object/directory_format.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct view
text(const char *s)
{
	return view_of(s, strlen(s));
}

static void
hashes_never_collide_with_the_kept_cookies(void **state)
{
	uint8_t name[4];

	(void)state;
	for (uint32_t i = 0; i < 100000; i++) {
		put_le32(name, i);
		assert_true(name_hash(view_of(name, sizeof name), i) >= 3);
		assert_true(name_hash(view_of(name, sizeof name), i) < UINT64_C(1) << 62);
	}
	assert_int_not_equal(name_hash(text("a"), 1), name_hash(text("a"), 2));
}

static void
keys_of_entries_come_back(void **state)
{
	uint8_t key[ENTRY_KEY_BYTES_MAX];
	struct view encoded = entry_key(key, text("readme"), 7);
	struct view name;
	uint64_t hash;

	(void)state;
	assert_int_equal(encoded.bytes, 8 + 6);
	assert_int_equal(entry_key_decode(encoded, 7, &hash, &name), 0);
	assert_true(view_equal(name, text("readme")));
	assert_int_equal(hash, name_hash(text("readme"), 7));
	assert_int_equal(entry_key_decode(encoded, 8, &hash, &name), COP_EFORMAT);
	assert_int_equal(entry_key_decode(view_of(key, 8), 7, &hash, &name), COP_EFORMAT);
}

static void
encodes_to_the_documented_bytes(void **state)
{
	static const uint8_t want[] = "\x08\x07\x06\x05\x04\x03\x02\x01\x02\x03"
				      "abc";
	struct entry entry = {
		.id = 0x0102030405060708, .kind = COP_DIRECTORY, .name = text("abc")
	};
	struct entry back = { 0 };
	uint8_t value[ENTRY_VALUE_BYTES];
	uint8_t listed[64];
	struct writer w = writer_over(listed, sizeof listed);
	struct reader r;

	(void)state;
	entry_value_encode(&entry, value);
	assert_memory_equal(value, want, sizeof value);
	assert_int_equal(entry_value_decode(view_of(value, sizeof value), &back), 0);
	assert_int_equal(back.id, entry.id);
	assert_int_equal(back.kind, COP_DIRECTORY);

	entry_inline_encode(&entry, &w);
	assert_int_equal(w.at, sizeof want - 1);
	assert_memory_equal(listed, want, w.at);
	for (size_t cut = 0; cut < w.at; cut++) {
		r = reader_over(listed, cut);
		assert_int_equal(entry_inline_decode(&r, &back), COP_EFORMAT);
	}
	r = reader_over(listed, w.at);
	assert_int_equal(entry_inline_decode(&r, &back), 0);
	assert_true(view_equal(back.name, text("abc")));
}

static void
refuses_entries_that_make_no_sense(void **state)
{
	static const uint8_t nobody[9] = { 0, 0, 0, 0, 0, 0, 0, 0, 1 };
	static const uint8_t no_kind[9] = { 1, 0, 0, 0, 0, 0, 0, 0, 9 };
	struct entry entry;

	(void)state;
	assert_int_equal(entry_value_decode(view_of(nobody, 9), &entry), COP_EFORMAT);
	assert_int_equal(entry_value_decode(view_of(no_kind, 9), &entry), COP_EFORMAT);
	assert_int_equal(entry_value_decode(view_of(no_kind, 8), &entry), COP_EFORMAT);
}

static void
finds_a_name_that_is_there_twice(void **state)
{
	struct entry entry = { .id = 20, .kind = COP_FILE, .name = text("x") };
	uint8_t content[64];
	struct writer w = writer_over(content, sizeof content);

	(void)state;
	entry_inline_encode(&entry, &w);
	assert_int_equal(directory_inline_check(view_of(content, w.at), 1), 0);
	assert_int_equal(directory_inline_check(view_of(content, w.at), 2), COP_EFORMAT);
	entry_inline_encode(&entry, &w);
	assert_int_equal(directory_inline_check(view_of(content, w.at), 2), COP_EFORMAT);
	assert_non_null(strstr(err_text(), "twice"));
}

static void
keys_of_further_names_come_back(void **state)
{
	uint8_t key[NAME_KEY_BYTES_MAX];
	struct view encoded = name_key(key, 77, 88, text("other"), 7);
	struct view name;
	uint64_t parent;

	(void)state;
	assert_int_equal(name_key_decode(encoded, 7, &parent, &name), 0);
	assert_int_equal(parent, 88);
	assert_true(view_equal(name, text("other")));
	assert_int_equal(get_be64(encoded.data), 77);
	key[8] = KEY_RECORD;
	assert_int_equal(name_key_decode(encoded, 7, &parent, &name), COP_EFORMAT);
}

static void
says_what_is_no_name(void **state)
{
	char longest[256];

	(void)state;
	memset(longest, 'n', sizeof longest);
	assert_int_equal(name_check(view_of(longest, 255)), 0);
	assert_int_equal(name_check(view_of(longest, 256)), COP_ENAMETOOLONG);
	assert_int_equal(name_check(text("")), COP_EINVAL);
	assert_int_equal(name_check(text(".")), COP_EINVAL);
	assert_int_equal(name_check(text("..")), COP_EINVAL);
	assert_int_equal(name_check(text("...")), 0);
	assert_int_equal(name_check(text("a/b")), COP_EINVAL);
	assert_int_equal(name_check(view_of("a\0b", 3)), COP_EINVAL);
	assert_int_equal(name_check(text("\n\xff")), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hashes_never_collide_with_the_kept_cookies),
		cmocka_unit_test(keys_of_entries_come_back),
		cmocka_unit_test(encodes_to_the_documented_bytes),
		cmocka_unit_test(refuses_entries_that_make_no_sense),
		cmocka_unit_test(finds_a_name_that_is_there_twice),
		cmocka_unit_test(keys_of_further_names_come_back),
		cmocka_unit_test(says_what_is_no_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
