#include "crash/toy_store.h"

#include "base/bytes.h"
#include "base/checksum.h"

#include <stdlib.h>

enum { SECTOR_BYTES = 512, SLOTS = 2, COMMIT_BYTES = 16 };

uint64_t
toy_value(uint64_t sequence)
{
	return hash64(&sequence, sizeof sequence, 1);
}

int
toy_open(struct device *dev, uint32_t flags, struct toy_store *out_store)
{
	struct toy_store store = { .dev = dev, .flags = flags };
	uint8_t *block = block_buffer_alloc(1);
	int err = 0;

	if (!block)
		return fail(COP_ENOMEM, "toy store");
	for (uint64_t slot = 0; slot < SLOTS && !err; slot++) {
		uint64_t sequence;

		err = device_read(dev, slot, block, 1);
		if (err)
			break;
		sequence = get_le64(block);
		if (get_le64(block + 8) == checksum64(block, 8) && sequence % SLOTS == slot &&
			sequence > store.sequence)
			store.sequence = sequence;
	}
	free(block);
	if (!err)
		*out_store = store;
	return err;
}

static int
write_payload(struct toy_store *store, uint8_t *block, uint64_t sequence)
{
	memset(block, 0, BLOCK_BYTES);
	for (int i = 0; i < TOY_SECTORS * SECTOR_BYTES; i += 8)
		put_le64(block + i, toy_value(sequence));
	return device_write(store->dev, SLOTS + sequence % SLOTS, block, 1);
}

static int
write_commit(struct toy_store *store, uint8_t *block, uint64_t sequence)
{
	struct device_io io;
	struct device_io *batch[] = { &io };

	memset(block, 0, BLOCK_BYTES);
	put_le64(block, sequence);
	put_le64(block + 8, checksum64(block, 8));
	device_io_init(&io, DEVICE_WRITE, sequence % SLOTS, 1, block);
	if (store->flags & TOY_FUA)
		io.flags |= DEVICE_FUA;
	device_submit(store->dev, batch, 1);
	device_wait(store->dev, &io);
	return io.result;
}

int
toy_put(struct toy_store *store)
{
	uint64_t sequence = store->sequence + 1;
	uint8_t *block = block_buffer_alloc(1);
	int err;

	if (!block)
		return fail(COP_ENOMEM, "toy store");
	err = write_payload(store, block, sequence);
	if (!err && !(store->flags & TOY_NO_FIRST_FLUSH))
		err = device_flush(store->dev);
	if (!err)
		err = write_commit(store, block, sequence);
	if (!err && !(store->flags & (TOY_NO_LAST_FLUSH | TOY_FUA)))
		err = device_flush(store->dev);
	if (!err)
		store->sequence = sequence;
	free(block);
	return err;
}

int
toy_get(struct toy_store *store, uint64_t *out_value, bool *out_whole)
{
	uint8_t *block = block_buffer_alloc(1);
	bool whole = true;
	int err;

	if (!block)
		return fail(COP_ENOMEM, "toy store");
	err = device_read(store->dev, SLOTS + store->sequence % SLOTS, block, 1);
	for (int i = 0; i < TOY_SECTORS * SECTOR_BYTES; i += 8)
		whole = whole && get_le64(block + i) == get_le64(block);
	if (!err) {
		*out_value = get_le64(block);
		*out_whole = whole;
	}
	free(block);
	return err;
}
