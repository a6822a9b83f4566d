#include "unit/space/slow_device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static int
transfer(struct device *below, const struct device_io *io)
{
	struct device_io copy = *io;
	struct device_io *const one[] = { &copy };

	copy.done = NULL;
	device_run(below, one, 1);
	return copy.result;
}

static void
slow_submit(struct device *dev, struct device_io *const *ios, size_t count)
{
	struct slow_device *slow = (struct slow_device *)dev;

	for (size_t i = 0; i < count; i++) {
		int result = transfer(slow->below, ios[i]);

		if (ios[i]->op == DEVICE_READ && ios[i]->addr == slow->addr && slow->meanwhile) {
			void (*meanwhile)(void *) = TAKE(slow->meanwhile);

			meanwhile(slow->context);
		}
		device_complete(dev, ios[i], result);
	}
}

static void
slow_wait(struct device *dev, struct device_io *io)
{
	(void)dev;
	(void)io; /* done when it was submitted */
}

static const struct device_driver driver = {
	.scheme = "slow",
	.submit = slow_submit,
	.wait = slow_wait,
};

void
slow_device_init(struct slow_device *slow, struct device *below)
{
	*slow = (struct slow_device){ .below = below };
	assert_int_equal(device_init(&slow->device, &driver, "slow"), 0);
	slow->device.blocks = device_blocks(below);
}

void
slow_device_fini(struct slow_device *slow)
{
	device_fini(&slow->device);
}
