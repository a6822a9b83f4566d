/* One block: what the geometry has it for, and the node that begins there, if one does. */

#include "check/dump_internal.h"

#include "base/num.h"
#include "tree/node_format.h"

#include <stdlib.h>
#include <string.h>

enum { SHOWN_BYTES = 256 }; /* of a block that is no node */

void
dump__image(struct dump *dump, const uint8_t *data)
{
	struct tree_image image;

	tree_image_read(data, &image);
	dump__unsigned(dump, "entries", image.entries);
	dump__unsigned(dump, "heap_bytes", image.heap_bytes);
	dump__unsigned(dump, "garbage_bytes", image.garbage_bytes);
	dump__bytes(dump, "low", image.low);
	if (image.high.bytes > 0)
		dump__bytes(dump, "high", image.high);
}

/* What a block at this place is for. */
static const char *
region_of(const struct dump *dump, uint64_t block)
{
	const struct geometry *geometry = &dump->geometry;
	uint64_t ag = block / geometry->ag_blocks;
	uint64_t at = block % geometry->ag_blocks;
	uint64_t journal = geometry_journal(geometry);

	if (block >= journal && block < journal + geometry->journal_blocks)
		return "journal";
	if (block == geometry_lock_record(geometry))
		return "lock record";
	if (at >= geometry_fixed_blocks(geometry, ag))
		return "nodes and data";
	if (geometry_has_ring(geometry, ag) && at < SUPERBLOCK_RING)
		return "superblock";
	if (at == 0)
		return "parameters of the format";
	return "allocation tree";
}

/* A header that is there, of whatever else was not good. */
static void
show_header(struct dump *dump, const struct node_header *header)
{
	dump__text(dump, "kind", dump__kind_name(header->kind));
	dump__unsigned(dump, "level", header->level);
	dump__bytes(dump, "uuid", view_of(header->uuid, sizeof header->uuid));
	dump__pointer(dump, &header->self);
}

static void
show_child(struct dump *dump, struct view key, struct view value)
{
	struct tree_pointer child;

	tree_pointer_decode(value.data, &child);
	dump__object(dump, NULL);
	dump__bytes(dump, "key", key);
	dump__pointer(dump, &child);
	dump__end(dump);
}

static void
show_entries(struct dump *dump, const uint8_t *data)
{
	uint8_t key_bytes[TREE_KEY_BYTES_MAX];
	struct tree_image image;

	tree_image_read(data, &image);
	dump__array(dump, "entry_list");
	for (uint32_t i = 0; i < image.entries && !dump->err; i++) {
		struct view value;
		struct view key = tree_image_entry(data, i, key_bytes, &value);

		if (image.level > 0)
			show_child(dump, key, value);
		else
			dump__entry(dump, NULL, image.kind, key, value);
	}
	dump__end(dump);
}

static void
show_node(struct dump *dump, const uint8_t *data, uint64_t block)
{
	struct node_header header;
	int err = node_header_decode(data, &header);

	if (err) {
		err_clear();
		dump__bool(dump, "is_node", false);
		dump__bytes(dump, "bytes", view_of(data, SHOWN_BYTES));
		return;
	}
	dump__bool(dump, "is_node", true);
	show_header(dump, &header);
	err = tree_node_check(data, dump->sb.node_bytes, dump->sb.uuid, 0, -1, NULL);
	if (err == 0 && header.self.addr != block && header.self.addr2 != block)
		err = fail(COP_ECHECKSUM, "the node of block %" PRIu64, header.self.addr);
	if (err) {
		dump__problem(dump, err);
		return;
	}
	dump__image(dump, data);
	show_entries(dump, data);
}

int
dump__node(struct dump *dump)
{
	uint64_t block = dump->options.block;
	uint64_t node_blocks = dump->sb.node_bytes / BLOCK_BYTES;
	uint64_t blocks = min_u64(dump->sb.blocks, device_blocks(dump->dev));
	uint8_t *data;
	int err;

	if (block >= dump->sb.blocks)
		return fail(COP_EINVAL,
			"block %" PRIu64 " is past the end of the volume, %" PRIu64 " blocks",
			block, dump->sb.blocks);
	data = block_buffer_alloc(node_blocks);
	if (!data)
		return fail(COP_ENOMEM, "dump");
	/* The last blocks of a volume have no room for a node. */
	memset(data, 0, dump->sb.node_bytes);
	if (block >= blocks)
		err = fail(COP_EIO, "past the end of the device");
	else
		err = device_read(dump->dev, block, data, min_u64(node_blocks, blocks - block));
	dump__unsigned(dump, "block", block);
	dump__unsigned(dump, "group", block / dump->geometry.ag_blocks);
	dump__text(dump, "region", region_of(dump, block));
	if (err)
		dump__problem(dump, err);
	else
		show_node(dump, data, block);
	free(data);
	return 0;
}
