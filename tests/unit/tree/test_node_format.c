#include "tree/node_format.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct tree_pointer pointer = {
	.addr = 0x0102030405060708,
	.addr2 = 0x1112131415161718,
	.birth = 0x2122232425262728,
	.seal = 0x3132333435363738,
};

static struct node_header
sample(void)
{
	struct node_header header = {
		.kind = TREE_CONTENT,
		.level = 3,
		.flags = 0x0201,
		.self = pointer,
		.stored_bytes = 0x04030201,
		.compression = 2,
		.hint = 0x0605,
		.key_id = 0x08070605,
		.entries = 0x0a09,
		.heap_bytes = 0x0c0b,
		.garbage_bytes = 0x0e0d,
		.low_bytes = 0x100f,
		.high_bytes = 0x1211,
		.prefix_bytes = 0x1413,
	};

	memset(header.uuid, 'u', sizeof header.uuid);
	memset(header.nonce, 'n', sizeof header.nonce);
	memset(header.tag, 't', sizeof header.tag);
	return header;
}

/* The bytes are the contract: this fails when a field moves, grows or changes its byte order. */
static void
encodes_to_the_documented_bytes(void **state)
{
	static const uint8_t golden[NODE_HEADER_BYTES + 1] =
		"\0\0\0\0\0\0\0\0"
		"copn"
		"\x05\x03"
		"\x01\x02"
		"uuuuuuuuuuuuuuuu"
		"\x08\x07\x06\x05\x04\x03\x02\x01"
		"\x18\x17\x16\x15\x14\x13\x12\x11"
		"\x28\x27\x26\x25\x24\x23\x22\x21"
		"\x38\x37\x36\x35\x34\x33\x32\x31"
		"\x01\x02\x03\x04"
		"\x02\0"
		"\x05\x06"
		"\x05\x06\x07\x08"
		"nnnnnnnnnnnnnnnnnnnnnnnn"
		"tttttttttttttttt"
		"\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14";
	struct node_header header = sample();
	uint8_t bytes[NODE_HEADER_BYTES];

	(void)state;
	node_header_encode(&header, bytes);
	assert_memory_equal(bytes, golden, sizeof bytes);
}

/* Also the fields that no node of this version sets. */
static void
gives_back_every_field(void **state)
{
	struct node_header header = sample();
	struct node_header back;
	uint8_t bytes[NODE_HEADER_BYTES];
	uint8_t again[NODE_HEADER_BYTES];

	(void)state;
	node_header_encode(&header, bytes);
	assert_int_equal(node_header_decode(bytes, &back), 0);
	assert_int_equal(back.flags, header.flags);
	assert_int_equal(back.stored_bytes, header.stored_bytes);
	assert_int_equal(back.compression, header.compression);
	assert_int_equal(back.key_id, header.key_id);
	assert_memory_equal(back.nonce, header.nonce, sizeof back.nonce);
	assert_memory_equal(back.tag, header.tag, sizeof back.tag);
	assert_memory_equal(&back.self, &header.self, sizeof back.self);
	node_header_encode(&back, again);
	assert_memory_equal(again, bytes, sizeof again);
}

static void
refuses_another_magic_and_a_reserved_byte(void **state)
{
	struct node_header header = sample();
	struct node_header back = { .level = 7 };
	uint8_t bytes[NODE_HEADER_BYTES];

	(void)state;
	node_header_encode(&header, bytes);
	for (uint32_t bit = 8 * NODE_AT_MAGIC; bit < 8 * NODE_AT_KIND; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(node_header_decode(bytes, &back), COP_ECHECKSUM);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	bytes[NODE_AT_RESERVED] = 1;
	assert_int_equal(node_header_decode(bytes, &back), COP_EFORMAT);
	assert_int_equal(back.level, 7); /* untouched on failure */
}

static void
a_pointer_is_32_bytes(void **state)
{
	static const uint8_t golden[TREE_POINTER_BYTES + 1] = "\x08\x07\x06\x05\x04\x03\x02\x01"
							      "\x18\x17\x16\x15\x14\x13\x12\x11"
							      "\x28\x27\x26\x25\x24\x23\x22\x21"
							      "\x38\x37\x36\x35\x34\x33\x32\x31";
	uint8_t bytes[TREE_POINTER_BYTES];
	struct tree_pointer back;

	(void)state;
	tree_pointer_encode(&pointer, bytes);
	assert_memory_equal(bytes, golden, sizeof bytes);
	tree_pointer_decode(bytes, &back);
	assert_memory_equal(&back, &pointer, sizeof back);
}

static void
the_checksum_covers_all_but_itself(void **state)
{
	uint8_t node[TREE_NODE_BYTES_MIN] = { 0 };

	(void)state;
	node_checksum_put(node, sizeof node);
	for (uint32_t bit = 0; bit < 8 * sizeof node; bit++) {
		node[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(node_checksum_matches(node, sizeof node));
		node[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_true(node_checksum_matches(node, sizeof node));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encodes_to_the_documented_bytes),
		cmocka_unit_test(gives_back_every_field),
		cmocka_unit_test(refuses_another_magic_and_a_reserved_byte),
		cmocka_unit_test(a_pointer_is_32_bytes),
		cmocka_unit_test(the_checksum_covers_all_but_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
