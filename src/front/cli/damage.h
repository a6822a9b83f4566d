#ifndef COPPICE_FRONT_CLI_DAMAGE_H
#define COPPICE_FRONT_CLI_DAMAGE_H

/*
 * damage: which bytes of a range cannot be read.
 *
 * A read of a large range fails as a whole; reading it again block by block tells the bytes that
 * are lost from those that are not.
 */

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* Reads up to `bytes` at `offset`, as cop_read() does. */
typedef int (*damage_read)(
	void *context, uint64_t offset, void *buffer, size_t bytes, size_t *out_bytes);

struct damage_range {
	uint64_t offset;
	uint64_t bytes; /* 0: everything can be read after all */
	int code;       /* of the first block that failed, and its note is the newest */
};

/*
 * The first run of unreadable blocks in `bytes` from `offset`, as far as the range goes. The
 * buffer holds what comes before it, from its start. `buffer` has room for `bytes`.
 */
struct damage_range damage_find(
	damage_read read, void *context, uint64_t offset, void *buffer, size_t bytes);

/*
 * Directly after damage_find(): makes the note speak of the whole range, in place of the object's
 * number and the first block's bytes. Returns the range's code.
 */
int damage_note(const struct damage_range *range);

#endif
