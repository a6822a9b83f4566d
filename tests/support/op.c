#include "support/op.h"

#include "base/bytes.h"
#include "base/num.h"
#include "coppice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const xattr_name[OP_XATTR_NAMES] = {
	"user.a",
	"user.second",
	"system.posix_acl_access",
	"trusted.overlay.opaque",
	"user.a name that is rather longer than the others, as some are",
	"security.selinux",
};

const char *
op_xattr_name(uint32_t number)
{
	return xattr_name[number % OP_XATTR_NAMES];
}

void
op_values(const struct op *op, struct op_values *out_values)
{
	struct op_values values = { 0 };
	struct rng rng;

	rng_seed(&rng, op->seed);
	values.mode = (uint32_t)rng_below(&rng, 010000);
	values.uid = (uint32_t)rng_below(&rng, 100000);
	values.gid = (uint32_t)rng_below(&rng, 100000);
	values.doctype = (uint32_t)rng_below(&rng, 4);
	values.created_ns = (int64_t)rng_below(&rng, UINT64_C(1) << 60) + 1;
	values.modified_ns = -(int64_t)rng_below(&rng, UINT64_C(1) << 60) - 1;
	values.accessed_ns = (int64_t)rng_below(&rng, UINT64_C(1) << 60) + 1;
	if (op->kind == COP_CHAR_DEVICE || op->kind == COP_BLOCK_DEVICE)
		values.device = rng_next(&rng) >> 1;
	if (op->kind == COP_SYMLINK) {
		values.target_bytes = 1 + rng_below(&rng, sizeof values.target - 1);
		for (size_t i = 0; i < values.target_bytes; i++)
			values.target[i] = (char)('a' + rng_below(&rng, 26));
	}
	*out_values = values;
}

/* Word i is a mixture of seed and i, with a bit set in every byte: holes cannot pass for it. */
static uint64_t
fill_word(uint64_t seed, uint64_t i)
{
	uint64_t z = seed + (i + 1) * UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z | UINT64_C(0x0101010101010101);
}

void
op_fill(uint64_t seed, uint64_t from, uint8_t *out, uint64_t bytes)
{
	uint64_t at = 0;

	for (; at < bytes && (from + at) % 8 != 0; at++)
		out[at] = (uint8_t)(fill_word(seed, (from + at) / 8) >> (from + at) % 8 * 8);
	for (; at + 8 <= bytes; at += 8)
		put_le64(out + at, fill_word(seed, (from + at) / 8));
	for (; at < bytes; at++)
		out[at] = (uint8_t)(fill_word(seed, (from + at) / 8) >> (from + at) % 8 * 8);
}

void
op_print(const struct op *op, char *out, size_t out_bytes)
{
	static const char *const name[OP_TYPES] = { "?", "create", "allocate", "write",
		"set_length", "punch", "preallocate", "link", "unlink", "rename", "xattr_set",
		"xattr_remove", "set_attr", "ref", "unref", "hold", "write_held", "let_go", "sync",
		"settle", "poll", "clone", "sync_object", "barrier" };

	snprintf(out, out_bytes,
		"%s %s %s kind=%" PRIu32 " flags=%" PRIu32 " number=%" PRIu32 " offset=%" PRIu64
		" bytes=%" PRIu64 " seed=%" PRIu64,
		name[op->type], op->path, op->path2, op->kind, op->flags, op->name_number,
		op->offset, op->bytes, op->seed);
}
