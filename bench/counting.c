#include "counting.h"

#include "base/bytes.h"
#include "device/driver.h"
#include "tree/node_format.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct counting {
	struct device device; /* first */
	uint8_t *data;
	size_t bytes;
	uint32_t node_bytes;
	struct counts counts;
};

/* Counts what goes to block `addr`; true: it is to be kept. */
static bool
count_write(struct counting *counting, uint64_t addr, const struct iovec *iov)
{
	const uint8_t *data = iov->iov_base;

	if (iov->iov_len != counting->node_bytes || memcmp(data + NODE_AT_MAGIC, "copn", 4) != 0) {
		counting->counts.other_bytes += iov->iov_len;
		return true;
	}
	if (data[NODE_AT_LEVEL] == 0)
		counting->counts.leaf_bytes += iov->iov_len;
	else
		counting->counts.inner_bytes += iov->iov_len;
	return addr == get_le64(data + NODE_AT_ADDR);
}

static void
transfer(struct counting *counting, const struct device_io *io)
{
	uint64_t addr = io->addr;

	for (uint32_t i = 0; i < io->iov_count; i++) {
		const struct iovec *iov = &io->iov[i];
		uint8_t *at = counting->data + addr * BLOCK_BYTES;

		if (io->op == DEVICE_READ)
			memcpy(iov->iov_base, at, iov->iov_len);
		else if (count_write(counting, addr, iov))
			memcpy(at, iov->iov_base, iov->iov_len);
		else /* what was there before is of no use either; where refused, it just stays */
			(void)madvise(at, iov->iov_len, MADV_DONTNEED);
		addr += iov->iov_len / BLOCK_BYTES;
	}
}

static void
counting_submit(struct device *dev, struct device_io *const *ios, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (ios[i]->op == DEVICE_READ || ios[i]->op == DEVICE_WRITE)
			transfer((struct counting *)dev, ios[i]);
		device_complete(dev, ios[i], 0);
	}
}

/* Everything is done in counting_submit(). */
static void
counting_wait(struct device *dev, struct device_io *io)
{
	(void)dev;
	assert(atomic_load(&io->is_done));
}

static void
counting_close(struct device *dev)
{
	struct counting *counting = (struct counting *)dev;

	munmap(counting->data, counting->bytes);
	device_fini(dev);
	free(counting);
}

static const struct device_driver counting_driver = {
	.scheme = "counting",
	.close = counting_close,
	.submit = counting_submit,
	.wait = counting_wait,
};

int
counting_open(uint64_t blocks, uint32_t node_bytes, struct device **out_device)
{
	struct counting *counting = calloc(1, sizeof *counting);
	int err;

	if (!counting)
		return fail(COP_ENOMEM, "counting device");
	err = device_init(&counting->device, &counting_driver, "counting");
	if (err)
		goto free_counting;
	counting->bytes = blocks * BLOCK_BYTES;
	counting->data = mmap(NULL, counting->bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (counting->data == MAP_FAILED) {
		err = fail_errno(errno, "counting device");
		goto fini_device;
	}
	counting->node_bytes = node_bytes;
	counting->device.blocks = blocks;
	*out_device = &counting->device;
	return 0;

fini_device:
	device_fini(&counting->device);
free_counting:
	free(counting);
	return err;
}

struct counts
counting_counts(struct device *dev)
{
	return ((struct counting *)dev)->counts;
}
