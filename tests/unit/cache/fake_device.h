#ifndef COPPICE_TESTS_FAKE_DEVICE_H
#define COPPICE_TESTS_FAKE_DEVICE_H

/*
 * fake_device: a device in memory that completes nothing by itself, counts, and fails where told.
 *
 * Requests queue until somebody waits, and then complete newest first. While it is held, waiters
 * wait. Block n begins as fake_fill() makes it.
 */

#include "cache/cache.h"
#include "device/driver.h"

enum { FAKE_QUEUE_MAX = 1024 };

struct fake {
	struct device device; /* first */
	uint8_t *data;        /* owned */

	/* Guarded by device.lock. */
	struct device_io *queue[FAKE_QUEUE_MAX];
	size_t queued;
	size_t queued_max;
	bool is_held;

	/* Set between calls of the code under test. */
	enum device_op bad_op; /* requests of this kind that touch bad_addr fail with COP_EIO */
	uint64_t bad_addr;     /* UINT64_MAX: none */

	/* Relaxed. */
	atomic_uint submits;
	atomic_uint iov_max;
};

struct fake *fake_create(uint64_t blocks);
void fake_free(struct fake *fake);

/* Frees the cache over it as well, which must be sound. */
void fake_free_with(struct fake *fake, struct cache *cache);

/* For blocks as fake_fill() made them. */
struct cache_request fake_request(uint64_t addr, uint32_t blocks);

/* The bytes of one block as the device has them at first. */
void fake_fill(uint64_t addr, uint8_t *block);

/* A cache_verify: every block is as fake_fill() made it; `context` is not used. COP_ECHECKSUM. */
int fake_verify(void *context, uint64_t addr, uint64_t stamp, uint8_t *data, uint32_t blocks);

/* Another one, to which everything is good. */
int fake_accept(void *context, uint64_t addr, uint64_t stamp, uint8_t *data, uint32_t blocks);

void fake_hold(struct fake *fake, bool is_held);

/* Until `count` requests are queued. */
void fake_await_queued(struct fake *fake, size_t count);

/* Completes everything that is queued. */
void fake_drain(struct fake *fake);

#endif
