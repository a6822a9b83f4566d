/*
 * Nodes from the device, and whether they are the ones that were meant.
 *
 * A node is read under the address of its first copy. If that cannot be had, for whatever reason,
 * the second copy is read under its own address, and stays cached under that one; so a peek tries
 * both. The copies are the same bytes, header included.
 *
 * What a node says about itself is judged when it is read (tree_node_check()); that it stands in
 * the right place is judged on every way to it, because the way there may be the damaged part.
 */

#include "base/plant.h"
#include "tree/tree_internal.h"

int
load_check_pointer(
	const struct tree_env *env, const struct tree_pointer *pointer, uint64_t birth_max)
{
	uint64_t blocks = env->node_bytes / BLOCK_BYTES;

	if (pointer->addr == 0 || pointer->addr >= env->device_blocks ||
		env->device_blocks - pointer->addr < blocks)
		return fail(COP_EFORMAT, "a pointer to block %" PRIu64, pointer->addr);
	if (pointer->addr2 != 0 && (pointer->addr2 >= env->device_blocks ||
					   env->device_blocks - pointer->addr2 < blocks))
		return fail(COP_EFORMAT, "a pointer to a copy at block %" PRIu64, pointer->addr2);
	if (pointer->birth == 0 || pointer->birth > birth_max)
		return fail(COP_EFORMAT,
			"a pointer born in generation %" PRIu64 " where %" PRIu64
			" is the latest possible",
			pointer->birth, birth_max);
	if (pointer->seal == TREE_SEAL_LOST)
		return fail(COP_ECHECKSUM,
			"the node that was at block %" PRIu64 " was damaged and is lost",
			pointer->addr);
	return 0;
}

int
load_check_identity(const uint8_t *node, const uint8_t uuid[NODE_UUID_BYTES], enum tree_kind kind,
	int level, const struct tree_pointer *expect)
{
	struct tree_pointer self = node_self(node);

	if (uuid && memcmp(node + NODE_AT_UUID, uuid, NODE_UUID_BYTES) != 0)
		return fail(COP_ECHECKSUM, "a node of another volume");
	if (kind != 0 && node[NODE_AT_KIND] != kind)
		return fail(
			COP_ECHECKSUM, "a node of kind %u instead of %u", node[NODE_AT_KIND], kind);
	if (level >= 0 && node[NODE_AT_LEVEL] != level)
		return fail(COP_ECHECKSUM, "a node of level %u instead of %d", node[NODE_AT_LEVEL],
			level);
	if (!expect)
		return 0;
	if (self.addr != expect->addr || self.addr2 != expect->addr2)
		return fail(COP_ECHECKSUM, "the node of block %" PRIu64, self.addr);
	if (planted(PLANT_SEAL_NOT_COMPARED))
		return 0; /* nor the birth, which tells most stale nodes from new ones as well */
	if (self.seal != expect->seal || self.birth != expect->birth)
		return fail(COP_ECHECKSUM,
			"another image: of generation %" PRIu64 " instead of %" PRIu64, self.birth,
			expect->birth);
	return 0;
}

int
load_check_fences(const uint8_t *parent, uint32_t index, const uint8_t *child)
{
	if (node_key_compare(node_key(parent, index), node_low(child)) != 0)
		return fail(COP_EFORMAT, "low fence differs from what the parent says");
	if (node_key_compare(node_child_high(parent, index), node_high(child)) != 0)
		return fail(COP_EFORMAT, "high fence differs from what the parent says");
	return 0;
}

/* The fields that are zero in this version, and those that must make sense together. */
static int
check_header(const struct node_header *header)
{
	static const uint8_t zeros[NODE_NONCE_BYTES];

	if (header->kind < TREE_CATALOG || header->kind > TREE_DIRECTORY)
		return fail(COP_EFORMAT, "a node of kind %u", header->kind);
	if (header->level >= TREE_LEVELS_MAX)
		return fail(COP_EFORMAT, "a node of level %u", header->level);
	if (header->self.addr == 0 || header->self.birth == 0 || header->self.seal == 0)
		return fail(COP_EFORMAT, "a node without address, birth or seal");
	if (header->flags != 0)
		return fail(COP_EFORMAT, "node flags %#x", header->flags);
	if (header->stored_bytes != 0 || header->compression != 0)
		return fail(COP_EFORMAT, "a compressed node, algorithm %u", header->compression);
	if (header->key_id != 0 || memcmp(header->nonce, zeros, NODE_NONCE_BYTES) != 0 ||
		memcmp(header->tag, zeros, NODE_TAG_BYTES) != 0)
		return fail(COP_EFORMAT, "an encrypted node, key %" PRIu32, header->key_id);
	return 0;
}

int
tree_node_check(const uint8_t *data, uint32_t node_bytes, const uint8_t uuid[16],
	enum tree_kind kind, int level, const struct tree_pointer *expect)
{
	struct node_header header;
	int err;

	assert(node_bytes >= TREE_NODE_BYTES_MIN);
	assert(node_bytes <= TREE_NODE_BYTES_MAX);

	if (!node_checksum_matches(data, node_bytes))
		return fail(COP_ECHECKSUM, "checksum");
	err = node_header_decode(data, &header);
	if (!err)
		err = load_check_identity(data, uuid, kind, level, expect);
	if (!err)
		err = check_header(&header);
	if (!err)
		err = node_check_structure(data, node_bytes);
	return err;
}

struct load_context {
	struct tree_env *env;
	enum tree_kind kind;
	struct load_target target;
};

static int
verify(void *context, uint64_t addr, uint64_t stamp, uint8_t *data, uint32_t blocks)
{
	const struct load_context *load = context;
	struct tree_env *env = load->env;
	int err;

	assert(stamp == load->target.pointer.seal);
	assert(blocks == env->node_bytes / BLOCK_BYTES);

	atomic_fetch_add_explicit(&env->node_reads, 1, memory_order_relaxed);
	err = tree_node_check(data, env->node_bytes, env->uuid, load->kind, load->target.level,
		&load->target.pointer);
	return err ? fail_in(err, "node at block %" PRIu64, addr) : 0;
}

static struct cache_request
request_at(struct load_context *load, uint64_t addr)
{
	return (struct cache_request){
		.addr = addr,
		.stamp = load->target.pointer.seal,
		.blocks = load->env->node_bytes / BLOCK_BYTES,
		.verify = verify,
		.context = load,
	};
}

/* What is said of a node both of whose copies could not be had: one that the device did not read,
 * it may read the next time. So the node is not known to be damaged. */
static int
error_of_both(int first_err, int second_err)
{
	return err_is_damage(first_err) && second_err ? second_err : first_err;
}

/*
 * The first copy could not be had: the second, if there is one. Then the first is written again.
 * Memory is not a matter of copies.
 */
static int
get_second(struct load_context *load, int first_err, struct cache_request *request)
{
	struct tree_env *env = load->env;
	const struct tree_pointer *pointer = &load->target.pointer;
	struct cache_request second = request_at(load, pointer->addr2);
	int err;

	if (first_err == COP_ENOMEM || pointer->addr2 == 0)
		return first_err;

	err = cache_get(env->cache, &second);
	if (err == COP_ENOMEM)
		return err;
	if (err)
		return fail_in(error_of_both(first_err, err),
			"first copy at block %" PRIu64 ", and so is the second", pointer->addr);

	err_clear();
	if (env->hooks && env->hooks->repair)
		env->hooks->repair(env->context, pointer->addr, second.buffer->data, second.blocks);
	*request = second;
	return 0;
}

/* What was read is verified; what was here already may have been asked for by another pointer. */
static int
take_buffer(struct load_context *load, struct cache_request *request, struct buffer **out_buffer)
{
	struct tree_env *env = load->env;
	struct buffer *buffer = request->buffer;
	int err = load_check_identity(
		buffer->data, env->uuid, load->kind, load->target.level, &load->target.pointer);

	if (err) {
		cache_release(env->cache, buffer);
		return fail_in(err, "node at block %" PRIu64, request->addr);
	}
	*out_buffer = buffer;
	return 0;
}

/* A node, judged as one or made here. Of a hostile image, a block of data could be in its place. */
static struct buffer *
peek_at(struct tree_env *env, uint64_t addr, uint64_t seal)
{
	struct buffer *buffer = cache_peek(env->cache, addr, seal);

	if (buffer && ((buffer->verify && buffer->verify != verify) ||
			      buffer->blocks != env->node_bytes / BLOCK_BYTES)) {
		cache_release(env->cache, buffer);
		buffer = NULL;
	}
	return buffer;
}

struct buffer *
load_peek(struct tree_env *env, const struct tree_pointer *pointer)
{
	struct buffer *buffer = peek_at(env, pointer->addr, pointer->seal);

	if (!buffer && pointer->addr2 != 0)
		buffer = peek_at(env, pointer->addr2, pointer->seal);
	return buffer;
}

int
load_node(struct tree_env *env, enum tree_kind kind, const struct load_target *target,
	struct buffer **out_buffer)
{
	struct load_context load = { env, kind, *target };
	struct cache_request request = request_at(&load, target->pointer.addr);
	int err = 0;

	request.buffer = load_peek(env, &target->pointer);
	if (!request.buffer)
		err = cache_get(env->cache, &request);
	if (err)
		err = get_second(&load, err, &request);
	if (err)
		return err;
	return take_buffer(&load, &request, out_buffer);
}

void
load_ahead(struct tree_env *env, enum tree_kind kind, const struct load_target *targets,
	uint32_t count, uint32_t copies, struct buffer **out_buffers)
{
	struct load_context loads[TREE_READS_AHEAD_MAX];
	struct cache_request requests[TREE_READS_AHEAD_MAX];
	uint32_t asked = 0;

	assert(copies == 1 || copies == 2);
	assert(count * copies <= TREE_READS_AHEAD_MAX);

	for (uint32_t i = 0; i < count * copies; i++) {
		const struct load_target *target = &targets[i % count];
		uint64_t addr = i < count ? target->pointer.addr : target->pointer.addr2;

		out_buffers[i] = NULL;
		if (addr == 0)
			continue;
		loads[asked] = (struct load_context){ env, kind, *target };
		requests[asked] = request_at(&loads[asked], addr);
		asked++;
	}
	if (cache_get_many(env->cache, requests, asked) != 0)
		err_clear(); /* each has a result of its own */

	for (uint32_t i = 0; i < asked; i++) {
		if (requests[i].result == 0 &&
			take_buffer(&loads[i], &requests[i], &out_buffers[i]) != 0)
			err_clear();
	}
}

void
load_release(struct tree_env *env, struct buffer **buffers, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (buffers[i])
			cache_release(env->cache, buffers[i]);
		buffers[i] = NULL;
	}
}

int
load_copies(struct tree_env *env, enum tree_kind kind, const struct load_target *target,
	int out_results[2], struct buffer **out_buffer)
{
	struct load_context load = { env, kind, *target };
	const struct tree_pointer *pointer = &target->pointer;
	struct cache_request requests[2] = {
		request_at(&load, pointer->addr),
		request_at(&load, pointer->addr2),
	};
	struct buffer *buffers[2] = { NULL };
	uint32_t count = pointer->addr2 != 0 ? 2 : 1;
	int err = cache_get_many(env->cache, requests, count);

	for (uint32_t i = 0; i < 2; i++) {
		out_results[i] = i < count ? requests[i].result : 0;
		if (i < count && requests[i].result == 0)
			out_results[i] = take_buffer(&load, &requests[i], &buffers[i]);
		if (!err)
			err = out_results[i];
	}
	if (!buffers[0] && !buffers[1])
		return error_of_both(err, out_results[1]);

	err_clear();
	if (buffers[0] && buffers[1])
		cache_release(env->cache, buffers[1]);
	*out_buffer = buffers[0] ? buffers[0] : buffers[1];
	return 0;
}
