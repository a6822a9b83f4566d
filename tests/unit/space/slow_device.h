#ifndef COPPICE_TESTS_SPACE_SLOW_DEVICE_H
#define COPPICE_TESTS_SPACE_SLOW_DEVICE_H

/*
 * slow_device: a device over another one, on which something happens between a read and its end:
 * what another thread could do meanwhile, without the thread and without luck.
 */

#include "device/driver.h"

struct slow_device {
	struct device device; /* first */
	struct device *below; /* borrowed */

	/* Called once, after the blocks at `addr` have been read and before that is told. */
	uint64_t addr;
	void (*meanwhile)(void *context); /* NULL: nothing happens */
	void *context;
};

void slow_device_init(struct slow_device *slow, struct device *below);
void slow_device_fini(struct slow_device *slow);

#endif
