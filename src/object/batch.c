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
	if (!batch->ios || !batch->pointers) {
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
	*batch = (struct batch){ 0 };
}

void
batch_add_block(struct batch *batch, enum device_op op, uint64_t addr, uint8_t *place)
{
	struct device_io *last = batch->count == 0 ? NULL : &batch->ios[batch->count - 1];

	if (last && last->addr + last->blocks == addr &&
		(uint8_t *)last->iov_one.iov_base + last->iov_one.iov_len == place) {
		last->blocks++;
		last->iov_one.iov_len += BLOCK_BYTES;
		return;
	}
	assert(batch->count < batch->capacity);
	batch->pointers[batch->count] = &batch->ios[batch->count];
	device_io_init(&batch->ios[batch->count], op, addr, 1, place);
	batch->count++;
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
