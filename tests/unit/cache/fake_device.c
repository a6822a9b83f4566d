#include "fake_device.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static bool
is_bad(const struct fake *fake, const struct device_io *io)
{
	return io->op == fake->bad_op && fake->bad_addr >= io->addr &&
	       fake->bad_addr - io->addr < io->blocks;
}

static int
perform(struct fake *fake, const struct device_io *io)
{
	uint8_t *at = fake->data + io->addr * BLOCK_BYTES;

	if (is_bad(fake, io))
		return COP_EIO;
	for (uint32_t i = 0; i < io->iov_count; i++) {
		assert(((uintptr_t)io->iov[i].iov_base & (BLOCK_BYTES - 1)) == 0);
		if (io->op == DEVICE_READ)
			memcpy(io->iov[i].iov_base, at, io->iov[i].iov_len);
		else
			memcpy(at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
	return 0;
}

static void
fake_close(struct device *dev)
{
	struct fake *fake = (struct fake *)dev;

	assert(fake->queued == 0);
	device_fini(dev);
	free(fake->data);
	free(fake);
}

static void
fake_submit(struct device *dev, struct device_io *const *ios, size_t count)
{
	struct fake *fake = (struct fake *)dev;

	atomic_fetch_add(&fake->submits, 1);
	mutex_lock(&dev->lock);
	for (size_t i = 0; i < count; i++) {
		assert(fake->queued < FAKE_QUEUE_MAX);
		fake->queue[fake->queued++] = ios[i];
		if (ios[i]->iov_count > atomic_load(&fake->iov_max))
			atomic_store(&fake->iov_max, ios[i]->iov_count);
	}
	if (fake->queued > fake->queued_max)
		fake->queued_max = fake->queued;
	condition_wake_all(&dev->changed);
	mutex_unlock(&dev->lock);
}

/* Completes the newest of the queue; the lock is open meanwhile. */
static void
complete_one_locked(struct fake *fake)
{
	struct device_io *io = fake->queue[--fake->queued];
	int result;

	mutex_unlock(&fake->device.lock);
	result = perform(fake, io);
	device_complete(&fake->device, io, result);
	mutex_lock(&fake->device.lock);
}

static void
fake_wait(struct device *dev, struct device_io *io)
{
	struct fake *fake = (struct fake *)dev;

	mutex_lock(&dev->lock);
	while (!atomic_load_explicit(&io->is_done, memory_order_acquire)) {
		if (fake->is_held || fake->queued == 0)
			condition_wait(&dev->changed, &dev->lock);
		else
			complete_one_locked(fake);
	}
	mutex_unlock(&dev->lock);
}

static const struct device_driver driver = {
	.scheme = "fake",
	.close = fake_close,
	.submit = fake_submit,
	.wait = fake_wait,
};

struct fake *
fake_create(uint64_t blocks)
{
	struct fake *fake = calloc(1, sizeof *fake);
	int err;

	assert(fake);
	err = device_init(&fake->device, &driver, "fake:");
	assert(!err);
	(void)err;
	fake->device.blocks = blocks;
	fake->bad_addr = UINT64_MAX;
	fake->data = malloc(blocks * BLOCK_BYTES);
	assert(fake->data);
	for (uint64_t addr = 0; addr < blocks; addr++)
		fake_fill(addr, fake->data + addr * BLOCK_BYTES);
	return fake;
}

void
fake_free(struct fake *fake)
{
	device_close(&fake->device);
}

void
fake_free_with(struct fake *fake, struct cache *cache)
{
	cache_assert_sound(cache);
	cache_free(cache);
	fake_free(fake);
}

struct cache_request
fake_request(uint64_t addr, uint32_t blocks)
{
	return (struct cache_request){
		.addr = addr, .stamp = addr + 7, .blocks = blocks, .verify = fake_verify
	};
}

void
fake_fill(uint64_t addr, uint8_t *block)
{
	memset(block, (int)(addr & 0xff) ^ 0x5a, BLOCK_BYTES);
	memcpy(block, &addr, sizeof addr);
}

int
fake_verify(void *context, uint64_t addr, uint64_t stamp, uint8_t *data, uint32_t blocks)
{
	uint8_t want[BLOCK_BYTES];

	(void)context;
	(void)stamp;
	for (uint32_t i = 0; i < blocks; i++) {
		fake_fill(addr + i, want);
		if (memcmp(data + (size_t)i * BLOCK_BYTES, want, BLOCK_BYTES) != 0)
			return fail(COP_ECHECKSUM, "block %" PRIu64, addr + i);
	}
	return 0;
}

int
fake_accept(void *context, uint64_t addr, uint64_t stamp, uint8_t *data, uint32_t blocks)
{
	(void)context;
	(void)addr;
	(void)stamp;
	(void)data;
	(void)blocks;
	return 0;
}

void
fake_hold(struct fake *fake, bool is_held)
{
	mutex_lock(&fake->device.lock);
	fake->is_held = is_held;
	condition_wake_all(&fake->device.changed);
	mutex_unlock(&fake->device.lock);
}

void
fake_await_queued(struct fake *fake, size_t count)
{
	mutex_lock(&fake->device.lock);
	while (fake->queued < count)
		condition_wait(&fake->device.changed, &fake->device.lock);
	mutex_unlock(&fake->device.lock);
}

void
fake_drain(struct fake *fake)
{
	mutex_lock(&fake->device.lock);
	while (fake->queued > 0)
		complete_one_locked(fake);
	mutex_unlock(&fake->device.lock);
}
