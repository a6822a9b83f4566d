/* The structs of coppice.h, which grow at their end. */

#include "object/object_internal.h"

void
public_copy_out(void *out, const void *from, size_t known_bytes)
{
	size_t asked;

	/* The first field says how much of the struct its owner knows, and stays. */
	memcpy(&asked, out, sizeof asked);
	if (asked > sizeof asked)
		memcpy((uint8_t *)out + sizeof asked, (const uint8_t *)from + sizeof asked,
			min_u64(asked, known_bytes) - sizeof asked);
}

void
public_copy_in(void *to, const void *from, size_t known_bytes)
{
	size_t given = 0;

	memset(to, 0, known_bytes);
	if (from)
		memcpy(&given, from, sizeof given);
	if (given > 0)
		memcpy(to, from, min_u64(given, known_bytes));
	memcpy(to, &known_bytes, sizeof known_bytes);
}
