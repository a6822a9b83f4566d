#include "front/cli/address.h"

#include "device/device.h"
#include "front/cli/text.h"

#include <stdlib.h>
#include <string.h>

/* Bytes of the scheme and its colon, 0 when there is none. */
static size_t
scheme_bytes(const char *operand)
{
	return device_url_has_scheme(operand) ? strcspn(operand, ":") + 1 : 0;
}

static bool
looks_like_host_path(const char *operand)
{
	return operand[0] == '/' || strncmp(operand, "./", 2) == 0;
}

/* Where the version's '@' stands in the volume of `volume_bytes`, or `volume_bytes`. */
static size_t
find_version(const char *operand, size_t scheme, size_t volume_bytes)
{
	size_t begin = volume_bytes;
	const char *at;

	while (begin > scheme && operand[begin - 1] != '/')
		begin--;
	at = memchr(operand + begin, '@', volume_bytes - begin);
	return at ? (size_t)(at - operand) : volume_bytes;
}

int
address_parse(const char *operand, bool exists, struct address *out_address)
{
	struct address address = { .operand = operand, .kind = ADDRESS_BARE };
	size_t scheme = scheme_bytes(operand);
	const char *colon;
	size_t volume_bytes;
	size_t device_bytes;

	if (scheme == 0 && exists && looks_like_host_path(operand)) {
		address.kind = ADDRESS_HOST;
		address.device = need_copy(operand);
		address.path = need_copy("/");
		*out_address = address;
		return 0;
	}

	colon = strstr(operand + scheme, ":/");
	volume_bytes = colon ? (size_t)(colon - operand) : strlen(operand);
	if (volume_bytes == scheme && (colon || scheme == 0))
		return fail(COP_EINVAL, "no volume is named");
	device_bytes = find_version(operand, scheme, volume_bytes);
	if (device_bytes < volume_bytes &&
		(device_bytes == scheme || operand[device_bytes - 1] == '/'))
		return fail(COP_EINVAL, "no volume is named before '@'");
	if (device_bytes + 1 == volume_bytes)
		return fail(COP_EINVAL, "no version is named after '@'");

	if (scheme > 0 || colon)
		address.kind = ADDRESS_VOLUME;
	address.has_path = colon != NULL;
	address.device = need_copy_of(operand, device_bytes);
	if (device_bytes < volume_bytes) {
		address.version =
			need_copy_of(operand + device_bytes + 1, volume_bytes - device_bytes - 1);
	}
	address.path = need_copy(colon ? colon + 1 : "/");
	*out_address = address;
	return 0;
}

void
address_fini(struct address *address)
{
	free(address->device);
	free(address->version);
	free(address->path);
	*address = (struct address){ 0 };
}

char *
address_with_path(const struct address *address, const char *path)
{
	return need_format("%s%s%s:%s", address->device, address->version ? "@" : "",
		address->version ? address->version : "", path);
}
