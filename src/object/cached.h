#ifndef COPPICE_OBJECT_CACHED_H
#define COPPICE_OBJECT_CACHED_H

/*
 * cached: reads of content that is in memory, without a lock, a system call or an allocation.
 *
 * A handle has a few *windows*: immutable pieces of its map, each of one region of 32 MiB, behind
 * atomic pointers. A window says what the content was at one *version* of the object, its length
 * with it. The version moves, under the exclusive gate, with every change that is applied. A read
 * enters an epoch, reads the version, takes windows of just that version, copies bytes out of
 * pages that are not written back, or else out of buffers that it looks up by address and checksum,
 * and reads the version again. If it has moved, the read begins anew, and the third time goes the
 * way that descends the trees. [A page that goes after its transaction was applied is not found,
 * and in a window of the version before there is a hole.]
 *
 * Promises
 *   - Every block that a read returns is what it was at one moment between its beginning and its
 *     end; so is all of it, unless a buffered write was under way. Length and map are of the same
 *     version: an old length never meets a new map.
 *   - Windows stay within a share of the cache's limit, and count against it.
 *   - A miss costs no more than a fixed part of the read that missed: windows are built from the
 *     credit that misses bring.
 *
 * Locks  None for cached_read(). cached_change() is called under the exclusive gate. cached_fill()
 *        descends trees and takes LOCK_HANDLES; the caller holds nothing.
 * Cost   A read of one block: two atomic operations on a line of the thread's own, a search among
 *        256 extents at most, one lookup in the cache, one copy.
 */

#include "base/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cop_object;
struct window;

enum {
	CACHED_WINDOWS = 8,          /* of one handle */
	CACHED_EXTENTS_MAX = 256,    /* of one window */
	CACHED_REGION_BLOCKS = 8192, /* that many full extents */
};

/* Of one object, part of its handle. All zero: nothing is known. */
struct cached {
	_Atomic uint64_t version;
	_Atomic(struct window *)
		windows[CACHED_WINDOWS]; /* that of region r is at r % CACHED_WINDOWS */
	_Atomic uint32_t credit;         /* extents that may be gathered for windows */
};

/* Of one volume: the memory of all windows. */
struct cached_budget {
	uint64_t limit_bytes;
	_Atomic uint64_t bytes;
};

void cached_budget_init(struct cached_budget *budget, uint64_t cache_bytes);

/*
 * Reads as cop_read() does, if that can be done from memory and without a lock; `bytes` is more
 * than 0. False: nothing is known of what is in the buffer now.
 */
bool cached_read(
	struct cop_object *object, uint64_t offset, void *buffer, size_t bytes, size_t *out_bytes);

/*
 * A read of so many bytes has missed: gathers the map around it, if that is due, so that the next
 * one does not. Inside an operation. What cannot be had is left.
 */
void cached_fill(struct cop_object *object, uint64_t offset, size_t bytes);

/* The object is about to change; under the exclusive gate, before the change. */
static inline void
cached_change(struct cached *cached)
{
	atomic_fetch_add(&cached->version, 1);
}

/* Moves with every change. Who reads it before and after several descents knows whether they belong
 * together. */
static inline uint64_t
cached_version(const struct cached *cached)
{
	return atomic_load(&cached->version);
}

/* Gives up the windows. Any thread that may use the handle. */
void cached_forget(struct cop_object *object);

#endif
