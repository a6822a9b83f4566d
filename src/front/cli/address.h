#ifndef COPPICE_FRONT_CLI_ADDRESS_H
#define COPPICE_FRONT_CLI_ADDRESS_H

/*
 * address: what an operand names, VOLUME[@VERSION][:/PATH] or a path of the host.
 *
 * Rules, in this order
 *   1. A registered scheme and its colon ("file:") begin the volume; rules 3 to 5 read the rest.
 *   2. Without a scheme, an operand that starts with "./" or "/" and exists on the host is a path
 *      of the host, whatever characters are in it.
 *   3. The first ":/" ends the volume; the path begins with that slash.
 *   4. In the last component of the volume, the first '@' begins the version.
 *   5. What has neither scheme nor ":/" is bare: a volume where a volume is wanted, otherwise a
 *      path of the host.
 */

#include "base/err.h"

#include <stdbool.h>

enum address_kind {
	ADDRESS_HOST,   /* rule 2 */
	ADDRESS_VOLUME, /* a scheme or ":/" says so */
	ADDRESS_BARE,   /* rule 5 */
};

struct address {
	enum address_kind kind;
	const char *operand; /* as it was given; borrowed */
	char *device;        /* what cop_open() takes; owned */
	char *version;       /* owned; NULL: the main branch */
	char *path;          /* owned; begins with '/'; "/" where none was given */
	bool has_path;
};

/*
 * `exists` says whether the operand as a whole names something on the host.
 * COP_EINVAL: no volume before ":/", or no version after '@'.
 */
MUST_CHECK int address_parse(const char *operand, bool exists, struct address *out_address);

void address_fini(struct address *address);

/* The address with another path, as it is written: DEVICE[@VERSION]:PATH. To be freed. */
char *address_with_path(const struct address *address, const char *path);

#endif
