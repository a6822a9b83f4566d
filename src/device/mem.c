/*
 * mem: a device in memory, "mem:SIZE". Its contents vanish when it is closed.
 *
 * The host gives pages when they are first written, so a large device costs what is stored on it.
 * Requests complete in device_submit(). Nothing locks: two requests for one block at a time are the
 * caller's race, as on any disk.
 */

#include "base/num.h"
#include "device/driver.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct mem {
	struct device device; /* first */
	uint8_t *data;
	size_t bytes;
};

static uint8_t *
block_at(struct device *dev, uint64_t addr)
{
	return ((struct mem *)dev)->data + addr * BLOCK_BYTES;
}

static int
mem_open(const char *rest, const struct device_options *options, struct device **out_device)
{
	struct mem *mem;
	uint64_t bytes;
	int err;

	err = device__parse_bytes(rest, &bytes);
	if (err)
		return fail_in(err, "mem:%s", rest);
	bytes -= bytes % BLOCK_BYTES;
	if (bytes == 0 || bytes > SIZE_MAX / 2)
		return fail(COP_EINVAL,
			"mem:%s: at least one block of %d bytes, and what fits memory", rest,
			BLOCK_BYTES);

	mem = calloc(1, sizeof *mem);
	if (!mem)
		return fail(COP_ENOMEM, "mem:%s", rest);
	err = device_init(&mem->device, &device_driver_mem, rest);
	if (err)
		goto free_mem;
	mem->data = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem->data == MAP_FAILED) {
		err = fail_errno(errno, "mem:%s", rest);
		goto fini_device;
	}
	mem->bytes = bytes;
	mem->device.blocks = bytes / BLOCK_BYTES;
	mem->device.read_only = options->flags & DEVICE_READ_ONLY;
	*out_device = &mem->device;
	return 0;

fini_device:
	device_fini(&mem->device);
free_mem:
	free(mem);
	return err;
}

static void
mem_close(struct device *dev)
{
	struct mem *mem = (struct mem *)dev;
	int host = munmap(mem->data, mem->bytes);

	assert(host == 0);
	(void)host;
	device_fini(dev);
	free(mem);
}

static void
transfer(struct device *dev, const struct device_io *io)
{
	uint8_t *at = block_at(dev, io->addr);

	for (uint32_t i = 0; i < io->iov_count; i++) {
		const struct iovec *iov = &io->iov[i];

		if (io->op == DEVICE_READ)
			memcpy(iov->iov_base, at, iov->iov_len);
		else
			memcpy(at, iov->iov_base, iov->iov_len);
		at += iov->iov_len;
	}
}

static int
mem_run(struct device *dev, const struct device_io *io)
{
	if (io->op == DEVICE_READ || io->op == DEVICE_WRITE)
		transfer(dev, io);
	else if (io->op == DEVICE_DISCARD)
		/* Gives the pages back; where that is refused, the contents just stay. */
		(void)madvise(block_at(dev, io->addr), io->blocks * BLOCK_BYTES, MADV_DONTNEED);
	return 0;
}

static void
mem_submit(struct device *dev, struct device_io *const *ios, size_t count)
{
	for (size_t i = 0; i < count; i++)
		device_complete(dev, ios[i], mem_run(dev, ios[i]));
}

/* Only for a request that another thread completes in its device_submit(). */
static void
mem_wait(struct device *dev, struct device_io *io)
{
	mutex_lock(&dev->lock);
	while (!atomic_load_explicit(&io->is_done, memory_order_acquire))
		condition_wait(&dev->changed, &dev->lock);
	mutex_unlock(&dev->lock);
}

const struct device_driver device_driver_mem = {
	.scheme = "mem",
	.open = mem_open,
	.close = mem_close,
	.submit = mem_submit,
	.wait = mem_wait,
	.run = mem_run,
};
