/*
 * Slots and places. The front's four slots are where they are on every volume; the others follow
 * from the size of the groups, which any superblock that is left tells.
 */

#include "check/dump_internal.h"

#include <stdlib.h>
#include <string.h>

static void
show_format(struct dump *dump, const struct superblock *sb)
{
	dump__bytes(dump, "uuid", view_of(sb->uuid, sizeof sb->uuid));
	dump__text(dump, "label", sb->label);
	dump__unsigned(dump, "blocks", sb->blocks);
	dump__unsigned(dump, "ag_blocks", sb->ag_blocks);
	dump__unsigned(dump, "node_bytes", sb->node_bytes);
	dump__unsigned(dump, "journal_blocks", sb->journal_blocks);
	dump__unsigned(dump, "metadata_copies", sb->metadata_copies);
	dump__unsigned(dump, "incompat", sb->incompat);
	dump__unsigned(dump, "ro_compat", sb->ro_compat);
	dump__unsigned(dump, "compat", sb->compat);
	dump__unsigned(dump, "flags", sb->flags);
	dump__word(dump, "name_seed", sb->name_seed);
	dump__word(dump, "journal_seed", sb->journal_seed);
	dump__signed(dump, "created_ns", sb->created_ns);
}

static void
show_descriptor(struct dump *dump, const struct space_descriptor *descriptor)
{
	dump__object(dump, "allocation");
	dump__unsigned(dump, "generation", descriptor->generation);
	dump__word(dump, "checksum", descriptor->checksum);
	dump__unsigned(dump, "free_blocks", descriptor->free_blocks);
	dump__unsigned(dump, "longest_class", descriptor->longest_class);
	dump__unsigned(dump, "slot", descriptor->slot);
	dump__unsigned(dump, "previous_slot", descriptor->previous_slot);
	dump__end(dump);
}

static void
show_state(struct dump *dump, const struct superblock *sb)
{
	dump__unsigned(dump, "generation", sb->generation);
	dump__unsigned(dump, "previous_generation", sb->previous_generation);
	dump__bool(dump, "is_clean", (sb->flags & SUPERBLOCK_CLEAN) != 0);
	dump__signed(dump, "checkpoint_ns", sb->checkpoint_ns);
	dump__unsigned(dump, "journal_tail", sb->journal_tail);
	dump__unsigned(dump, "journal_sequence", sb->journal_sequence);
	dump__unsigned(dump, "retained_tail", sb->retained_tail);
	dump__unsigned(dump, "retained_sequence", sb->retained_sequence);
	dump__word(dump, "epoch", sb->epoch);
	dump__unsigned(dump, "free_blocks", sb->free_blocks);
	dump__unsigned(dump, "awaiting_blocks", sb->awaiting_blocks);
	dump__unsigned(dump, "objects", sb->objects);
	dump__unsigned(dump, "next_object", sb->next_object);
	dump__unsigned(dump, "next_branch", sb->next_branch);
	dump__unsigned(dump, "next_job", sb->next_job);
	dump__unsigned(dump, "share_stamp", sb->share_stamp);
	dump__root(dump, "catalog", &sb->catalog);
	dump__root(dump, "shares", &sb->shares);
	show_descriptor(dump, &sb->allocation);
}

/* What this copy is to the volume. */
static const char *
role_of(const struct dump *dump, const struct superblock *sb)
{
	if (dump->newest.generation == 0 ||
		memcmp(sb->uuid, dump->newest.uuid, sizeof sb->uuid) != 0)
		return "of another volume";
	if (sb->generation == dump->newest.generation)
		return "newest";
	if (dump->previous.generation != 0 && sb->generation == dump->previous.generation)
		return "previous";
	return "older";
}

static int
decode_here(const uint8_t *block, uint32_t place, uint32_t slot, struct superblock *out_sb)
{
	int err = superblock_decode(block, out_sb);

	if (err)
		return err;
	if (out_sb->place != place || out_sb->slot != slot)
		return fail(COP_ECHECKSUM, "the superblock of place %u, slot %u", out_sb->place,
			out_sb->slot);
	return 0;
}

static bool
is_unused(const uint8_t *block)
{
	for (size_t i = 0; i < BLOCK_BYTES; i++) {
		if (block[i] != 0)
			return false;
	}
	return true;
}

static void
show_copy(struct dump *dump, uint64_t addr, uint32_t place, uint32_t slot, uint8_t *block)
{
	struct superblock sb;
	int err = device_read(dump->dev, addr, block, 1);

	dump__object(dump, NULL);
	dump__unsigned(dump, "block", addr);
	dump__unsigned(dump, "place", place);
	dump__unsigned(dump, "slot", slot);
	if (err == 0 && is_unused(block)) {
		dump__text(dump, "role", "never written");
		dump__end(dump);
		return;
	}
	if (err == 0)
		err = decode_here(block, place, slot, &sb);
	if (err) {
		dump__problem(dump, err);
	} else {
		dump__text(dump, "role", role_of(dump, &sb));
		show_state(dump, &sb);
		if (dump__wants_all(dump))
			show_format(dump, &sb);
	}
	dump__end(dump);
}

int
dump__superblocks(struct dump *dump)
{
	uint8_t *block = block_buffer_alloc(1);
	uint32_t places = 1;
	int err;

	if (!block)
		return fail(COP_ENOMEM, "dump");
	err = volume_find_superblock(dump->dev, &dump->newest, &dump->previous);
	if (err == 0)
		err = geometry_init(&dump->geometry, dump->newest.blocks, dump->newest.ag_blocks,
			dump->newest.journal_blocks);
	if (err == 0) {
		places = geometry_superblock_places(&dump->geometry);
		dump__object(dump, "format");
		show_format(dump, &dump->newest);
		dump__end(dump);
	} else {
		dump__problem(dump, err);
	}
	dump__array(dump, "superblocks");
	for (uint32_t place = 0; place < places; place++) {
		for (uint32_t slot = 0; slot < SUPERBLOCK_RING; slot++) {
			uint64_t addr = place == 0
						? slot
						: geometry_superblock(&dump->geometry, place, slot);

			show_copy(dump, addr, place, slot, block);
		}
	}
	dump__end(dump);
	free(block);
	return 0;
}
