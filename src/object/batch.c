/* Many requests to the device at once. */

#include "object/data_internal.h"

#include <assert.h>
#include <stdlib.h>

int
batch_init(struct batch *batch, size_t capacity)
{
	*batch = (struct batch){ .capacity = capacity };
	batch->ios = calloc(capacity, sizeof *batch->ios);
	batch->pointers = calloc(capacity, sizeof *batch->pointers);
	batch->iovs = calloc(capacity, sizeof *batch->iovs);
	if (!batch->ios || !batch->pointers || !batch->iovs) {
		batch_fini(batch);
		return fail(COP_ENOMEM, "%zu requests", capacity);
	}
	return 0;
}

void
batch_fini(struct batch *batch)
{
	free(batch->ios);
	free(batch->pointers);
	free(batch->iovs);
	*batch = (struct batch){ 0 };
}

/* True: the block goes on where the newest piece of memory ends. */
static bool
extend_piece(struct batch *batch, const uint8_t *place)
{
	struct iovec *piece = &batch->iovs[batch->iov_count - 1];

	if ((uint8_t *)piece->iov_base + piece->iov_len != place)
		return false;
	piece->iov_len += BLOCK_BYTES;
	return true;
}

void
batch_add_block(struct batch *batch, enum device_op op, uint64_t addr, uint8_t *place)
{
	struct device_io *last = batch->count == 0 ? NULL : &batch->ios[batch->count - 1];
	bool goes_on = last && last->addr + last->blocks == addr;

	if (goes_on && extend_piece(batch, place)) {
		last->blocks++;
		return;
	}
	assert(batch->iov_count < batch->capacity);
	batch->iovs[batch->iov_count] = (struct iovec){ .iov_base = place, .iov_len = BLOCK_BYTES };
	if (goes_on) {
		last->blocks++;
		last->iov_count++;
	} else {
		last = &batch->ios[batch->count];
		batch->pointers[batch->count++] = last;
		device_io_init(last, op, addr, 1, NULL);
		last->iov = &batch->iovs[batch->iov_count];
		last->iov_count = 1;
	}
	batch->iov_count++;
}

void
batch_submit(struct batch *batch, struct device *dev)
{
	if (batch->count == 1)
		device_run(dev, batch->pointers, 1);
	else if (batch->count > 0)
		device_submit(dev, batch->pointers, batch->count);
}

int
batch_wait(struct batch *batch, struct device *dev)
{
	int first = 0;

	for (size_t i = 0; i < batch->count; i++) {
		device_wait(dev, &batch->ios[i]);
		if (first == 0)
			first = batch->ios[i].result;
	}
	return first;
}
