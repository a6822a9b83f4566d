#include "check/check_internal.h"

#include "base/checksum.h"

#include <stdlib.h>

int
data__init(struct checker *checker)
{
	for (size_t i = 0; i < DATA_IN_FLIGHT; i++) {
		checker->data.reads[i].buffer = block_buffer_alloc(EXTENT_BLOCKS_MAX);
		if (!checker->data.reads[i].buffer)
			return fail(COP_ENOMEM, "check");
	}
	return 0;
}

void
data__fini(struct checker *checker)
{
	for (size_t i = 0; i < DATA_IN_FLIGHT; i++)
		free(checker->data.reads[i].buffer);
	checker->data = (struct data_queue){ 0 };
}

static void
judge(struct checker *checker, const struct data_read *read)
{
	const struct extent *extent = &read->extent;

	for (uint32_t i = 0; i < extent->blocks; i++) {
		struct finding finding = {
			.class_ = COP_PROBLEM_DATA,
			.object = read->object,
			.offset = (extent->first + i) * BLOCK_BYTES,
			.bytes = BLOCK_BYTES,
			.block = extent->addr + i,
		};

		checker->result.data_blocks++;
		if (read->io.result != 0)
			check__report(checker, &finding, "cannot be read");
		else if (checksum64(read->buffer + (size_t)i * BLOCK_BYTES, BLOCK_BYTES) !=
			 extent->checksums[i])
			check__report(checker, &finding, "%s",
				checker->is_previous
					? "checksum, in the checkpoint before the newest"
					: "checksum");
	}
	checker->result.verified_bytes += (uint64_t)extent->blocks * BLOCK_BYTES;
	(void)check__progress(checker, (uint64_t)extent->blocks * BLOCK_BYTES);
}

void
data__finish(struct checker *checker)
{
	struct data_queue *queue = &checker->data;
	struct device_io *batch[DATA_IN_FLIGHT];

	for (size_t i = 0; i < queue->count; i++)
		batch[i] = &queue->reads[i].io;
	device_submit(checker->dev, batch, queue->count);
	for (size_t i = 0; i < queue->count; i++) {
		device_wait(checker->dev, &queue->reads[i].io);
		judge(checker, &queue->reads[i]);
	}
	queue->count = 0;
}

void
data__verify(struct checker *checker, uint64_t object, const struct extent *extent)
{
	struct data_queue *queue = &checker->data;
	struct data_read *read = &queue->reads[queue->count];

	if (extent->flags & (EXTENT_UNWRITTEN | EXTENT_COMPRESSED | EXTENT_ENCRYPTED))
		return;
	if (extent->addr >= checker->sb.blocks ||
		extent->blocks > checker->sb.blocks - extent->addr)
		return; /* the references have said so */
	read->extent = *extent;
	read->object = object;
	device_io_init(&read->io, DEVICE_READ, extent->addr, extent->blocks, read->buffer);
	queue->count++;
	if (queue->count == DATA_IN_FLIGHT)
		data__finish(checker);
}
