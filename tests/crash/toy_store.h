#ifndef COPPICE_TESTS_TOY_STORE_H
#define COPPICE_TESTS_TOY_STORE_H

/*
 * toy_store: the smallest crash-safe store there is, to calibrate the simulator and the enumerator.
 *
 * It keeps one value in two slots. put() writes the payload into the slot not in force, flushes,
 * writes the slot's commit record, and flushes again. Its states after a crash can be counted by
 * hand, with each flush and without it, so it tells whether the suite finds what it should and
 * nothing else.
 *
 *   block 0, 1   commit records of slot 0 and 1: one sector, sequence and checksum
 *   block 2, 3   payloads of slot 0 and 1: TOY_SECTORS sectors, the rest zeros, no checksum
 */

#include "device/device.h"

#include <stdbool.h>
#include <stdint.h>

enum { TOY_SECTORS = 3, TOY_BYTES = 4 * BLOCK_BYTES };

enum toy_flags {
	TOY_NO_FIRST_FLUSH = 1 << 0, /* between payload and commit record */
	TOY_NO_LAST_FLUSH = 1 << 1,  /* before put() returns */
	TOY_FUA = 1 << 2, /* the commit record is a durable write, and no flush follows */
};

struct toy_store {
	struct device *dev; /* borrowed */
	uint32_t flags;
	uint64_t sequence; /* of the value in force, 0: none yet */
};

/* Recovers. */
MUST_CHECK int toy_open(struct device *dev, uint32_t flags, struct toy_store *out_store);

/* Stores the next value, which is toy_value(sequence + 1). Durable when it returns 0. */
MUST_CHECK int toy_put(struct toy_store *store);

/* Reads the value; *out_whole: every sector bears it. */
MUST_CHECK int toy_get(struct toy_store *store, uint64_t *out_value, bool *out_whole);

uint64_t toy_value(uint64_t sequence);

#endif
